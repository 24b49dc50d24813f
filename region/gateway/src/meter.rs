//! Measures what passes against its limit.
//!
//! One idea: a body has one limit, a stream of gRPC messages has one for each of them; lengths are believed before their
//! bytes come, so that a message that is too long is refused at its first byte. Must never hold more than one prefix.

use bytes::BytesMut;

const GRPC_PREFIX: usize = 5;

/// Measures a body against its limit.
pub(crate) enum Meter {
    /// The body as a whole.
    Whole { left: u64 },
    /// Each gRPC message: one byte of flags, four of length, then that many.
    Messages { limit: u64, prefix: BytesMut, left: u64 },
}

impl Meter {
    /// Each message of a stream may have so many bytes.
    pub(crate) fn messages(limit: u64) -> Self {
        Self::Messages {
            limit,
            prefix: BytesMut::new(),
            left: 0,
        }
    }

    /// Whether the bytes are still within the limit.
    pub(crate) fn take(&mut self, data: &[u8]) -> bool {
        match self {
            Self::Whole { left } => match left.checked_sub(data.len() as u64) {
                Some(rest) => {
                    *left = rest;
                    true
                }
                None => false,
            },
            Self::Messages { limit, prefix, left } => {
                let mut data = data;
                while !data.is_empty() {
                    if *left > 0 {
                        let step = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                        *left -= step as u64;
                        data = &data[step..];
                        continue;
                    }
                    let step = (GRPC_PREFIX - prefix.len()).min(data.len());
                    prefix.extend_from_slice(&data[..step]);
                    data = &data[step..];
                    if let [_, a, b, c, d] = prefix[..] {
                        *left = u32::from_be_bytes([a, b, c, d]).into();
                        prefix.clear();
                        if *left > *limit {
                            return false;
                        }
                    }
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_body_is_bounded() {
        let mut meter = Meter::Whole { left: 10 };
        assert!(meter.take(&[0; 6]));
        assert!(meter.take(&[0; 4]));
        assert!(!meter.take(&[0; 1]));
    }

    #[test]
    fn each_message_is_bounded_however_it_is_cut_up() {
        let stream: Vec<u8> = (0..3)
            .flat_map(|_| [0, 0, 0, 0, 10].into_iter().chain([7; 10]))
            .collect();
        for cut in 1..stream.len() {
            let mut meter = Meter::messages(10);
            assert!(stream.chunks(cut).all(|piece| meter.take(piece)), "cut {cut}");
            assert!(
                ![0, 0, 0, 0, 11].chunks(cut).all(|piece| meter.take(piece)),
                "cut {cut}"
            );
        }
    }
}
