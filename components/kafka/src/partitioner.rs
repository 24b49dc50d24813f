//! Which partition a record goes to.
//!
//! One idea: as Dapr's own driver (its library hashes keys by FNV-1a, not by Kafka's murmur2), so that records of one key stay
//! in order when both publish to one topic. Must never give another partition for the same key.

use krafka::producer::Partitioner;

const BASIS: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;

/// By the key's hash; anywhere without a key.
pub(crate) struct ByHash;

impl Partitioner for ByHash {
    fn partition(&self, _: &str, key: Option<&[u8]>, count: usize) -> i32 {
        let count = i32::try_from(count).unwrap_or(i32::MAX).max(1);
        match key {
            Some(key) => {
                let hash = key
                    .iter()
                    .fold(BASIS, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(PRIME));
                // The remainder of the signed number, without its sign.
                (hash.cast_signed() % count).abs()
            }
            None => rand::random_range(0..count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_fnv() {
        // By FNV's own test vectors: 0x811c9dc5, 0xe40c292c and 0xbf9cf968, which are below 0 as i32: -2128831035,
        // -468965076 and -1080231576.
        for (key, count, expected) in [(&b""[..], 10, 5), (b"a", 10, 6), (b"foobar", 10, 6), (b"foobar", 7, 4)] {
            assert_eq!(ByHash.partition("t", Some(key), count), expected);
        }
        for _ in 0..100 {
            assert!((0..3).contains(&ByHash.partition("t", None, 3)));
        }
        assert_eq!(ByHash.partition("t", None, 0), 0);
    }
}
