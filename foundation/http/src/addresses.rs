//! How many connections each source address has.
//!
//! One idea: a place is taken at accept, before a handshake costs anything, and given back when the connection ends; who has
//! no place left is hung up on, so that it cannot fill the queue of those behind it. One place for each IPv6 network of 64
//! bits: that is what one host is given. Loopback counts as any address: on a laptop it is the only one there is, strangers
//! of the same machine included. Must never remember an address that has no connection.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// The counts of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One connection's place.
#[derive(Debug)]
pub(crate) struct Place {
    addresses: Addresses,
    address: Option<IpAddr>,
}

impl Addresses {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            counts: Arc::default(),
            most,
        }
    }

    /// A place, if the address has one left. Unix sockets have no address and are not counted.
    pub(crate) fn place(&self, remote: Option<SocketAddr>) -> Option<Place> {
        let address = remote.map(|remote| network(remote.ip()));
        if let Some(address) = address {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(address).or_default();
            if *count >= self.most {
                return None;
            }
            *count += 1;
        }
        Some(Place {
            addresses: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut counts = self.addresses.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_network_and_given_back() {
        let addresses = Addresses::new(2);
        let place = |text: &str| addresses.place(Some(SocketAddr::new(text.parse().expect("address"), 1)));
        let (one, two) = (place("2001:db8::1"), place("2001:db8::2"));
        assert!(one.is_some() && two.is_some() && place("2001:db8::3").is_none());
        assert!(place("2001:db8:0:1::3").is_some(), "another network");
        let (v4, mapped) = (place("192.0.2.1"), place("::ffff:192.0.2.1"));
        assert!(v4.is_some() && mapped.is_some() && place("192.0.2.1").is_none());
        drop(one);
        assert!(place("2001:db8::3").is_some());
        drop((two, v4, mapped));
        assert!(addresses.counts.lock().expect("not poisoned").is_empty());
        assert!((0..9).all(|_| addresses.place(None).is_some()));
    }
}
