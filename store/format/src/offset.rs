//! Positions in a log.

use crate::Error;
use std::fmt;

/// A byte position in a log's one address space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// "No such record": no frame ever stands at offset 0, a segment header does.
    pub const NONE: Offset = Offset(0);

    /// This position, unless it is [`Offset::NONE`].
    pub fn some(self) -> Option<Offset> {
        (self != Offset::NONE).then_some(self)
    }

    /// The position `bytes` further on.
    ///
    /// # Panics
    /// On overflow of the 64-bit address space.
    pub fn plus(self, bytes: u64) -> Offset {
        Offset(
            self.0
                .checked_add(bytes)
                .expect("offsets stay far below 2^64"),
        )
    }
}

/// Largest offset, group number and record number that a reader takes: no log comes near it, and what is counted on from
/// there cannot overflow.
pub const NUMBER_MAX: u64 = i64::MAX as u64;

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

/// Length of every segment of a log in bytes: a power of two from 4 KiB to 1 GiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stride(u32);

impl Stride {
    /// 64 MiB.
    pub const DEFAULT: Stride = Stride(26);
    /// 4 KiB, for exhaustive tests.
    pub const MIN: Stride = Stride(12);
    /// Largest body of a frame whatever the stride: 16 MiB.
    pub const RECORD_LIMIT_MAX: u64 = 16 << 20;

    /// A stride of `2^log2` bytes.
    ///
    /// # Errors
    /// [`Error::BadStride`] outside 12..=30.
    pub fn from_log2(log2: u32) -> Result<Stride, Error> {
        if (12..=30).contains(&log2) {
            Ok(Stride(log2))
        } else {
            Err(Error::BadStride { log2 })
        }
    }

    /// A stride of `bytes` bytes.
    ///
    /// # Errors
    /// [`Error::BadStrideBytes`] when it is no power of two from 4 KiB to 1 GiB.
    pub fn from_bytes(bytes: u64) -> Result<Stride, Error> {
        if bytes.is_power_of_two()
            && let Ok(stride) = Stride::from_log2(bytes.trailing_zeros())
        {
            return Ok(stride);
        }
        Err(Error::BadStrideBytes { bytes })
    }

    /// Binary logarithm of the length.
    pub fn log2(self) -> u32 {
        self.0
    }

    /// Length in bytes.
    pub fn bytes(self) -> u64 {
        1 << self.0
    }

    /// First offset of the segment that `offset` lies in.
    pub fn segment_start(self, offset: Offset) -> Offset {
        Offset(offset.0 & !(self.bytes() - 1))
    }

    /// First offset after the segment that `offset` lies in.
    pub fn segment_end(self, offset: Offset) -> Offset {
        self.segment_start(offset).plus(self.bytes())
    }

    /// Largest body of a frame in bytes: the smaller of 16 MiB and a quarter of the stride.
    pub fn record_limit(self) -> u64 {
        (self.bytes() / 4).min(Stride::RECORD_LIMIT_MAX)
    }
}

/// File name of the segment that starts at `start`.
pub fn segment_file_name(start: Offset) -> String {
    format!("{:020}.seg", start.0)
}

/// Reads a segment's first offset off its file name; `None` for any other name.
pub fn parse_segment_file_name(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".seg")?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits
        .parse()
        .ok()
        .filter(|&start: &u64| start <= NUMBER_MAX)
        .map(Offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stride_is_a_power_of_two_in_bounds() {
        assert_eq!(Stride::from_bytes(4096).unwrap(), Stride::MIN);
        assert_eq!(Stride::from_bytes(64 << 20).unwrap(), Stride::DEFAULT);
        for bytes in [0, 1, 2048, 4097, 2 << 30] {
            assert!(Stride::from_bytes(bytes).is_err(), "{bytes}");
        }
    }

    #[test]
    fn segment_names_round_trip() {
        let start = Offset(67_108_864);
        assert_eq!(segment_file_name(start), "00000000000067108864.seg");
        assert_eq!(
            parse_segment_file_name(&segment_file_name(start)),
            Some(start)
        );
        for name in [
            "1.seg",
            "0000000000006710886x.seg",
            "00000000000067108864.seg.tmp",
            "99999999999999999999.seg",
            "18446744073709547520.seg",
        ] {
            assert_eq!(parse_segment_file_name(name), None, "{name}");
        }
    }
}
