//! The segment header and the LOCK file.
//!
//! ```text
//! segment header, 64 bytes                 LOCK, 128 bytes
//!  0 magic "AOSSEG\r\n"                     0 magic "AOSLOCK\n"
//!  8 version u16, header_len u16            8 version u16, 0 u16
//! 12 stride_log2 u32                       12 stride_log2 u32
//! 16 log_id 16                             16 log_id 16
//! 32 offset u64                            32 required u64, 0 x 20
//! 40 required u64                          60 crc u32
//! 48 epoch u32, 0 x 8                      64 durable word A, 32 bytes
//! 60 crc u32                               96 durable word B, 32 bytes
//! ```

use crate::digest::LogId;
use crate::offset::{NUMBER_MAX, Offset, Stride};
use crate::wire::{crc32, put, u16_at, u32_at, u64_at};
use crate::{Error, FORMAT_VERSION};

/// Length of a segment header in bytes.
pub const SEGMENT_HEADER_LEN: u64 = 64;
/// Length of the LOCK file in bytes.
pub const LOCK_LEN: u64 = 128;
/// Position of the first durable word in LOCK; the second follows it.
pub const WORD_AT: u64 = 64;
/// Length of a durable word in bytes.
pub const WORD_LEN: u64 = 32;

const SEGMENT_MAGIC: &[u8; 8] = b"AOSSEG\r\n";
const LOCK_MAGIC: &[u8; 8] = b"AOSLOCK\n";
/// Feature bits this version knows: none yet.
const KNOWN_FEATURES: u64 = 0;

/// What every segment of a log and its LOCK agree on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The log's name.
    pub log_id: LogId,
    /// Length of each segment.
    pub stride: Stride,
}

/// The first 64 bytes of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// The log it belongs to.
    pub identity: Identity,
    /// Offset of the segment's first byte.
    pub offset: Offset,
    /// Epoch of the group that was written with the header.
    pub epoch: u32,
}

impl SegmentHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; 64] {
        let mut b = [0; 64];
        put(&mut b, 0, SEGMENT_MAGIC);
        put(&mut b, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut b, 10, &64u16.to_le_bytes());
        put(&mut b, 12, &self.identity.stride.log2().to_le_bytes());
        put(&mut b, 16, &self.identity.log_id.0);
        put(&mut b, 32, &self.offset.0.to_le_bytes());
        put(&mut b, 48, &self.epoch.to_le_bytes());
        let crc = crc32(&b[..60]);
        put(&mut b, 60, &crc.to_le_bytes());
        b
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`Error::BadMagic`], [`Error::BadCrc`], [`Error::NewerVersion`], [`Error::UnknownFeatures`], [`Error::BadStride`],
    /// [`Error::Reserved`], [`Error::Cut`], in that order of judgement.
    pub fn decode(b: &[u8]) -> Result<SegmentHeader, Error> {
        check_preamble(b, SEGMENT_MAGIC, "segment header")?;
        check_features(u64_at(b, 40))?;
        if u16_at(b, 10) != 64 || b[52..60].iter().any(|&x| x != 0) {
            return Err(Error::Reserved {
                what: "segment header",
            });
        }
        if u64_at(b, 32) > NUMBER_MAX {
            return Err(Error::BadLink);
        }
        Ok(SegmentHeader {
            identity: identity_at(b)?,
            offset: Offset(u64_at(b, 32)),
            epoch: u32_at(b, 48),
        })
    }
}

/// The identity part of LOCK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockHeader {
    /// The log it belongs to.
    pub identity: Identity,
}

impl LockHeader {
    /// The first 64 bytes of LOCK.
    pub fn encode(&self) -> [u8; 64] {
        let mut b = [0; 64];
        put(&mut b, 0, LOCK_MAGIC);
        put(&mut b, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut b, 12, &self.identity.stride.log2().to_le_bytes());
        put(&mut b, 16, &self.identity.log_id.0);
        let crc = crc32(&b[..60]);
        put(&mut b, 60, &crc.to_le_bytes());
        b
    }

    /// Reads the first 64 bytes of LOCK.
    ///
    /// # Errors
    /// As [`SegmentHeader::decode`].
    pub fn decode(b: &[u8]) -> Result<LockHeader, Error> {
        check_preamble(b, LOCK_MAGIC, "LOCK")?;
        check_features(u64_at(b, 32))?;
        if u16_at(b, 10) != 0 || b[40..60].iter().any(|&x| x != 0) {
            return Err(Error::Reserved { what: "LOCK" });
        }
        Ok(LockHeader {
            identity: identity_at(b)?,
        })
    }
}

/// How far the log is synced, published for readers in other processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DurableWord {
    /// Every byte below it is synced.
    pub durable: Offset,
    /// Number of the last group below it.
    pub group: u64,
    /// Epoch of that group.
    pub epoch: u32,
}

impl DurableWord {
    /// The word's bytes; `salt` ties it to its log.
    pub fn encode(&self, salt: u32) -> [u8; 32] {
        let mut b = [0; 32];
        put(&mut b, 0, &self.durable.0.to_le_bytes());
        put(&mut b, 8, &self.group.to_le_bytes());
        put(&mut b, 16, &self.epoch.to_le_bytes());
        put(&mut b, 20, &salt.to_le_bytes());
        let crc = crc32(&b[..28]);
        put(&mut b, 28, &crc.to_le_bytes());
        b
    }

    /// Reads one word; `None` when it was never written, is torn, or belongs to another log.
    pub fn decode(b: &[u8], salt: u32) -> Option<DurableWord> {
        if b.len() < 32
            || u32_at(b, 28) != crc32(&b[..28])
            || u32_at(b, 20) != salt
            || u32_at(b, 24) != 0
            || u64_at(b, 0) > NUMBER_MAX
            || u64_at(b, 8) > NUMBER_MAX
        {
            return None;
        }
        Some(DurableWord {
            durable: Offset(u64_at(b, 0)),
            group: u64_at(b, 8),
            epoch: u32_at(b, 16),
        })
    }

    /// The newer of the two words in LOCK's bytes, if any is valid.
    pub fn newest(lock: &[u8], salt: u32) -> Option<DurableWord> {
        let word = |at: usize| {
            lock.get(at..at + 32)
                .and_then(|b| DurableWord::decode(b, salt))
        };
        let (a, b) = (word(64), word(96));
        match (a, b) {
            (Some(a), Some(b)) => Some(if (a.epoch, a.durable) >= (b.epoch, b.durable) {
                a
            } else {
                b
            }),
            (a, b) => a.or(b),
        }
    }
}

fn check_preamble(b: &[u8], magic: &[u8; 8], what: &'static str) -> Result<(), Error> {
    if b.len() < 64 {
        return Err(Error::Cut {
            what,
            expected: 64,
            found: b.len() as u64,
        });
    }
    if &b[..8] != magic {
        return Err(Error::BadMagic { what });
    }
    let (found, expected) = (crc32(&b[..60]), u32_at(b, 60));
    if found != expected {
        return Err(Error::BadCrc {
            what,
            expected,
            found,
        });
    }
    let version = u16_at(b, 8);
    if version != FORMAT_VERSION {
        return Err(Error::NewerVersion {
            what,
            found: version,
        });
    }
    Ok(())
}

fn check_features(required: u64) -> Result<(), Error> {
    match required & !KNOWN_FEATURES {
        0 => Ok(()),
        unknown => Err(Error::UnknownFeatures { unknown }),
    }
}

fn identity_at(b: &[u8]) -> Result<Identity, Error> {
    Ok(Identity {
        stride: Stride::from_log2(u32_at(b, 12))?,
        log_id: LogId(b[16..32].try_into().expect("sixteen bytes")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            identity: Identity {
                log_id: LogId([7; 16]),
                stride: Stride::MIN,
            },
            offset: Offset(4096),
            epoch: 3,
        }
    }

    #[test]
    fn headers_round_trip() {
        assert_eq!(SegmentHeader::decode(&header().encode()).unwrap(), header());
        let lock = LockHeader {
            identity: header().identity,
        };
        assert_eq!(LockHeader::decode(&lock.encode()).unwrap(), lock);
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_found() {
        let good = header().encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_and_unknown_features_are_named() {
        let mut newer = header().encode();
        newer[8] = 2;
        let crc = crc32(&newer[..60]);
        put(&mut newer, 60, &crc.to_le_bytes());
        assert!(matches!(
            SegmentHeader::decode(&newer),
            Err(Error::NewerVersion { found: 2, .. })
        ));

        let mut feature = header().encode();
        feature[40] = 4;
        let crc = crc32(&feature[..60]);
        put(&mut feature, 60, &crc.to_le_bytes());
        assert!(matches!(
            SegmentHeader::decode(&feature),
            Err(Error::UnknownFeatures { unknown: 4 })
        ));
    }

    #[test]
    fn the_larger_valid_durable_word_counts() {
        let word = |durable| DurableWord {
            durable: Offset(durable),
            group: durable / 64,
            epoch: 1,
        };
        let mut lock = [0u8; 128];
        assert_eq!(DurableWord::newest(&lock, 9), None);
        lock[64..96].copy_from_slice(&word(640).encode(9));
        lock[96..].copy_from_slice(&word(576).encode(9));
        assert_eq!(DurableWord::newest(&lock, 9), Some(word(640)));
        lock[64] ^= 1;
        assert_eq!(DurableWord::newest(&lock, 9), Some(word(576)));
        assert_eq!(DurableWord::newest(&lock, 8), None, "another log's salt");
    }
}
