//! Which addresses a tenant may have called.
//!
//! One idea: an address is judged by what it reaches, so the forms in which IPv6 carries one of IPv4 are undone first. Must
//! never let an address pass because it is written in another way.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What clouds tell their machines about themselves, as far as it is not link-local.
const ABOUT_MACHINES: [IpAddr; 8] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200)),
];
/// Amazon's, all of it.
const AMAZON: [u16; 2] = [0xfd00, 0xec2];

/// Whether an address is one that only a machine itself may call.
pub(crate) fn is_off_limits(ip: IpAddr) -> bool {
    let ip = reached(ip);
    let local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.segments()[..2] == AMAZON,
    };
    local || ip.is_unspecified() || ip.is_multicast() || ABOUT_MACHINES.contains(&ip)
}

/// Whether an address is neither such a one nor this machine.
fn leads_out(ip: IpAddr) -> bool {
    !(is_off_limits(ip) || reached(ip).is_loopback())
}

/// Of what a name was resolved to, what a tenant may have called; an error if that is nothing.
pub(crate) fn callable(name: &str, found: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    // That name can mean nothing else, and whoever declared it was asked about it.
    let is_localhost = name.eq_ignore_ascii_case("localhost");
    let may = |ip: IpAddr| leads_out(ip) || is_localhost && reached(ip).is_loopback();
    let left: Vec<_> = found.filter(|address| may(address.ip())).collect();
    if left.is_empty() {
        let reason = "the name has no address that may be called";
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, reason));
    }
    Ok(left)
}

/// The address of IPv4 that one of IPv6 stands for (mapped, compatible, 6to4, NAT64), or itself.
fn reached(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = ip else { return ip };
    let segments = six.segments();
    let four = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => four(high, low),
        // NAT64 of an operator's own: the usual way of writing it ends in the address.
        [0x64, 0xff9b, 1, _, _, _, high, low] => four(high, low),
        [0x2002, high, low, ..] => four(high, low),
        // `::` and `::1` are none of IPv4.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => four(high, low),
        _ => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_119_addresses_by_what_they_reach() {
        for (address, out) in [
            ("203.0.113.7", true),
            ("10.0.0.7", true),
            ("2606:2800:220:1::1", true),
            ("fd12::1", true),
            ("64:ff9b::203.0.113.7", true),
            ("2002:cb00:7107::1", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("::", false),
            ("169.254.169.254", false),
            ("::ffff:169.254.169.254", false),
            ("::169.254.169.254", false),
            ("64:ff9b::169.254.169.254", false),
            ("64:ff9b:1::169.254.169.254", false),
            ("64:ff9b::127.0.0.1", false),
            ("2002:a9fe:a9fe::1", false),
            ("2002:7f00:1::", false),
            ("fe80::1", false),
            ("fd00:ec2::254", false),
            ("fd00:ec2::23", false),
            ("fd00:ec2::253", false),
            ("fd20:ce::254", false),
            ("fd00:c1::a9fe:a9fe", false),
            ("::ffff:0:169.254.169.254", false),
            ("168.63.129.16", false),
            ("192.0.0.192", false),
            ("100.100.100.200", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
        ] {
            assert_eq!(leads_out(address.parse().expect("an address")), out, "{address}");
        }
    }

    #[test]
    fn localhost_is_this_machine_and_nothing_else() {
        let at = |text: &str| vec![SocketAddr::new(text.parse().expect("an address"), 0)].into_iter();
        assert!(callable("LocalHost", at("127.0.0.1")).is_ok());
        assert!(callable("localhost", at("169.254.169.254")).is_err());
        assert!(callable("rebound.test", at("127.0.0.1")).is_err());
        assert!(callable("example.test", at("203.0.113.7")).is_ok());
    }
}
