//! The frame: envelope of every record, and the two structural bodies.
//!
//! ```text
//!  0 header_crc u32   CRC of 4..64           32 prev u64    stream's previous record
//!  4 body_crc u32     CRC of padded body     40 skip u64    record n - lowest set bit of n
//!  8 body_len u32                            48 seq u64     number in the stream, from 1
//! 12 kind u8, flags u8, 0 u16                56 record_len u32
//! 16 epoch u32                               60 0 u32
//! 20 salt u32                                64 body, then zeros to a multiple of 16
//! 24 offset u64      own offset
//! ```
//!
//! Invariants: a frame starts at a multiple of 16, never crosses a segment, and its header CRC covers its body CRC, so
//! whoever trusts a header may trust the body after one CRC.

use crate::Error;
use crate::controls::{self, Control};
use crate::offset::{NUMBER_MAX, Offset, Stride};
use crate::wire::{align16, crc32, put, u16_at, u32_at, u64_at};

/// Length of a frame header in bytes.
pub const FRAME_HEADER_LEN: u64 = 64;
/// Length of a COMMIT frame in bytes, header included.
pub const COMMIT_LEN: u64 = FRAME_HEADER_LEN + 32;
/// Length of the group that ends a segment: SEGMENT_END and its COMMIT.
pub const SEGMENT_END_GROUP_LEN: u64 = FRAME_HEADER_LEN + 16 + COMMIT_LEN;
/// Largest group in bytes, COMMIT included, unless it holds one larger record.
pub const GROUP_LEN_MAX: u64 = 1 << 20;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Ends a group.
    Commit = 1,
    /// Ends a segment.
    SegmentEnd = 2,
    /// The log was opened for writing.
    Open = 3,
    /// A workflow document.
    Definition = 4,
    /// A root seed.
    Seed = 5,
    /// A point a run can resume from.
    Checkpoint = 6,
    /// A run starts.
    Start = 7,
    /// A step ended.
    Step = 8,
    /// An effect is about to happen.
    Intent = 9,
    /// An effect answered.
    Result = 10,
    /// A decision that timing or a person could change.
    Decision = 11,
    /// Something arrived from outside.
    Signal = 12,
    /// Lanes open.
    Fork = 13,
    /// Lanes end.
    Join = 14,
    /// A reading of the clock.
    Time = 15,
    /// A run ended.
    End = 16,
    /// A sealed segment.
    Seal = 17,
    /// An event of another engine, imported.
    Foreign = 18,
    /// A note that advances nothing.
    Mark = 128,
}

/// The kind of each number: every frame is asked.
static BY_NUMBER: [Option<Kind>; 256] = {
    let mut table = [None; 256];
    let mut at = 0;
    while at < Kind::ALL.len() {
        table[Kind::ALL[at] as usize] = Some(Kind::ALL[at]);
        at += 1;
    }
    table
};

impl Kind {
    /// All kinds of this version.
    pub const ALL: [Kind; 19] = [
        Kind::Commit,
        Kind::SegmentEnd,
        Kind::Open,
        Kind::Definition,
        Kind::Seed,
        Kind::Checkpoint,
        Kind::Start,
        Kind::Step,
        Kind::Intent,
        Kind::Result,
        Kind::Decision,
        Kind::Signal,
        Kind::Fork,
        Kind::Join,
        Kind::Time,
        Kind::End,
        Kind::Seal,
        Kind::Foreign,
        Kind::Mark,
    ];

    /// The kind of that number.
    #[inline]
    pub fn from_u8(number: u8) -> Option<Kind> {
        BY_NUMBER[usize::from(number)]
    }

    /// Name in tools and exports: upper case, as in the format page.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Commit => "COMMIT",
            Kind::SegmentEnd => "SEGMENT_END",
            Kind::Open => "OPEN",
            Kind::Definition => "DEFINITION",
            Kind::Seed => "SEED",
            Kind::Checkpoint => "CHECKPOINT",
            Kind::Start => "START",
            Kind::Step => "STEP",
            Kind::Intent => "INTENT",
            Kind::Result => "RESULT",
            Kind::Decision => "DECISION",
            Kind::Signal => "SIGNAL",
            Kind::Fork => "FORK",
            Kind::Join => "JOIN",
            Kind::Time => "TIME",
            Kind::End => "END",
            Kind::Seal => "SEAL",
            Kind::Foreign => "FOREIGN",
            Kind::Mark => "MARK",
        }
    }

    /// Whether the frame belongs to the log's structure and carries no record.
    #[inline]
    pub fn is_structural(self) -> bool {
        matches!(self, Kind::Commit | Kind::SegmentEnd)
    }

    /// Whether a record of this kind becomes its lane's newest digest.
    #[inline]
    pub fn advances(self) -> bool {
        match self {
            Kind::Commit | Kind::SegmentEnd | Kind::Checkpoint | Kind::Seal | Kind::Mark => false,
            Kind::Open
            | Kind::Definition
            | Kind::Seed
            | Kind::Start
            | Kind::Step
            | Kind::Intent
            | Kind::Result
            | Kind::Decision
            | Kind::Signal
            | Kind::Fork
            | Kind::Join
            | Kind::Time
            | Kind::End
            | Kind::Foreign => true,
        }
    }
}

/// A decoded frame header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// CRC of the header's other bytes.
    pub header_crc: u32,
    /// CRC of the padded body.
    pub body_crc: u32,
    /// Length of the body in bytes, without padding.
    pub body_len: u32,
    /// Number of the kind; see [`Kind::from_u8`]. Numbers from 128 on may be skipped by readers that do not know them.
    pub kind: u8,
    /// Epoch of the opening that wrote it, from 1.
    pub epoch: u32,
    /// The log's salt.
    pub salt: u32,
    /// Own offset.
    pub offset: Offset,
    /// The stream's previous record.
    pub prev: Offset,
    /// The stream's record `seq - lowest set bit of seq`.
    pub skip: Offset,
    /// Number in the stream, from 1; 0 in structural frames.
    pub seq: u64,
    /// Length of the record at the body's start; values follow at the next multiple of 16.
    pub record_len: u32,
}

impl FrameHeader {
    /// Length of the whole frame in bytes: header, body and padding.
    #[inline]
    pub fn frame_len(&self) -> u64 {
        FRAME_HEADER_LEN + align16(u64::from(self.body_len))
    }

    /// First offset after the frame.
    #[inline]
    pub fn end(&self) -> Offset {
        self.offset.plus(self.frame_len())
    }

    /// The header's bytes; `header_crc` is computed, not taken from the field.
    pub fn encode(&self) -> [u8; 64] {
        let mut b = [0; 64];
        put(&mut b, 4, &self.body_crc.to_le_bytes());
        put(&mut b, 8, &self.body_len.to_le_bytes());
        b[12] = self.kind;
        put(&mut b, 16, &self.epoch.to_le_bytes());
        put(&mut b, 20, &self.salt.to_le_bytes());
        put(&mut b, 24, &self.offset.0.to_le_bytes());
        put(&mut b, 32, &self.prev.0.to_le_bytes());
        put(&mut b, 40, &self.skip.0.to_le_bytes());
        put(&mut b, 48, &self.seq.to_le_bytes());
        put(&mut b, 56, &self.record_len.to_le_bytes());
        let crc = crc32(&b[4..]);
        put(&mut b, 0, &crc.to_le_bytes());
        b
    }

    /// Reads a header and checks all that it says of itself: CRC, reserved bytes, lengths against `stride`, links that
    /// point back, own place inside one segment.
    ///
    /// Whether offset, salt and epoch are the right ones is for [`FrameHeader::belongs`].
    ///
    /// # Errors
    /// [`Error::Cut`], [`Error::BadCrc`], [`Error::Reserved`], [`Error::BadLength`], [`Error::BadLink`].
    #[inline]
    pub fn decode(b: &[u8], stride: Stride) -> Result<FrameHeader, Error> {
        if b.len() < 64 {
            return Err(Error::Cut {
                what: "frame header",
                expected: 64,
                found: b.len() as u64,
            });
        }
        let b = &b[..64];
        let (found, expected) = (crc32(&b[4..]), u32_at(b, 0));
        if found != expected && !controls::on(Control::CrcOff) {
            return Err(Error::BadCrc {
                what: "frame header",
                expected,
                found,
            });
        }
        if b[13] != 0 || u16_at(b, 14) != 0 || u32_at(b, 60) != 0 {
            return Err(Error::Reserved {
                what: "frame header",
            });
        }
        let header = FrameHeader {
            header_crc: expected,
            body_crc: u32_at(b, 4),
            body_len: u32_at(b, 8),
            kind: b[12],
            epoch: u32_at(b, 16),
            salt: u32_at(b, 20),
            offset: Offset(u64_at(b, 24)),
            prev: Offset(u64_at(b, 32)),
            skip: Offset(u64_at(b, 40)),
            seq: u64_at(b, 48),
            record_len: u32_at(b, 56),
        };
        header.check_shape(stride)?;
        Ok(header)
    }

    #[inline]
    fn check_shape(&self, stride: Stride) -> Result<(), Error> {
        let limit = stride.record_limit();
        if u64::from(self.body_len) > limit {
            return Err(Error::BadLength {
                what: "frame body",
                found: self.body_len.into(),
                limit,
            });
        }
        if self.record_len > self.body_len {
            return Err(Error::BadLength {
                what: "record",
                found: self.record_len.into(),
                limit: self.body_len.into(),
            });
        }
        let room = stride
            .bytes()
            .saturating_sub(self.offset.0 % stride.bytes());
        if self.frame_len() > room {
            return Err(Error::BadLength {
                what: "frame",
                found: self.frame_len(),
                limit: room,
            });
        }
        if self.prev >= self.offset
            || self.skip > self.prev
            || !self.offset.0.is_multiple_of(16)
            || self.epoch == 0
            || self.offset.0 > NUMBER_MAX
            || self.seq > NUMBER_MAX
        {
            return Err(Error::BadLink);
        }
        Ok(())
    }

    /// Whether the frame stands where it says, in the log it says, and is not from before `epoch_min`.
    ///
    /// # Errors
    /// [`Error::Misplaced`], [`Error::Foreign`], [`Error::Stale`].
    #[inline]
    pub fn belongs(&self, offset: Offset, salt: u32, epoch_min: u32) -> Result<(), Error> {
        if self.offset != offset && !controls::on(Control::OwnOffsetOff) {
            return Err(Error::Misplaced {
                expected: offset,
                found: self.offset,
            });
        }
        if self.salt != salt {
            return Err(Error::Foreign {
                expected: salt,
                found: self.salt,
            });
        }
        if self.epoch < epoch_min && !controls::on(Control::StaleFrameLive) {
            return Err(Error::Stale {
                expected: epoch_min,
                found: self.epoch,
            });
        }
        Ok(())
    }

    /// Checks the padded body against the header.
    ///
    /// # Errors
    /// [`Error::BadCrc`], [`Error::Cut`].
    #[inline]
    pub fn check_body(&self, body: &[u8]) -> Result<(), Error> {
        let expected = align16(u64::from(self.body_len));
        if body.len() as u64 != expected {
            return Err(Error::Cut {
                what: "frame body",
                expected,
                found: body.len() as u64,
            });
        }
        let found = crc32(body);
        if found != self.body_crc && !controls::on(Control::CrcOff) {
            return Err(Error::BadCrc {
                what: "frame body",
                expected: self.body_crc,
                found,
            });
        }
        Ok(())
    }
}

/// Body of a COMMIT frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Number of the group in the log, from 1.
    pub number: u64,
    /// Offset of the group's first frame; the COMMIT's own offset in an empty group.
    pub start: Offset,
    /// Frames before the COMMIT.
    pub count: u32,
    /// CRC of the header CRCs of those frames.
    pub frames_crc: u32,
    /// Header CRC of the COMMIT before this one in the log; 0 in group 1.
    pub prev_commit: u32,
}

impl Commit {
    /// The body's bytes.
    pub fn encode(&self) -> [u8; 32] {
        let mut b = [0; 32];
        put(&mut b, 0, &self.number.to_le_bytes());
        put(&mut b, 8, &self.start.0.to_le_bytes());
        put(&mut b, 16, &self.count.to_le_bytes());
        put(&mut b, 20, &self.frames_crc.to_le_bytes());
        put(&mut b, 24, &self.prev_commit.to_le_bytes());
        b
    }

    /// Reads the body.
    ///
    /// # Errors
    /// [`Error::Cut`], [`Error::Reserved`].
    pub fn decode(b: &[u8]) -> Result<Commit, Error> {
        structural(b, 32, 28, "commit")?;
        if u64_at(b, 0) > NUMBER_MAX || u64_at(b, 8) > NUMBER_MAX {
            return Err(Error::BadLink);
        }
        Ok(Commit {
            number: u64_at(b, 0),
            start: Offset(u64_at(b, 8)),
            count: u32_at(b, 16),
            frames_crc: u32_at(b, 20),
            prev_commit: u32_at(b, 24),
        })
    }
}

/// Body of a SEGMENT_END frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentEnd {
    /// First offset of the next segment.
    pub next: Offset,
}

impl SegmentEnd {
    /// The body's bytes.
    pub fn encode(&self) -> [u8; 16] {
        let mut b = [0; 16];
        put(&mut b, 0, &self.next.0.to_le_bytes());
        b
    }

    /// Reads the body.
    ///
    /// # Errors
    /// [`Error::Cut`], [`Error::Reserved`].
    pub fn decode(b: &[u8]) -> Result<SegmentEnd, Error> {
        structural(b, 16, 8, "segment end")?;
        Ok(SegmentEnd {
            next: Offset(u64_at(b, 0)),
        })
    }
}

fn structural(b: &[u8], len: usize, reserved_at: usize, what: &'static str) -> Result<(), Error> {
    if b.len() != len {
        return Err(Error::Cut {
            what,
            expected: len as u64,
            found: b.len() as u64,
        });
    }
    if b[reserved_at..].iter().any(|&x| x != 0) {
        return Err(Error::Reserved { what });
    }
    Ok(())
}

/// Lowest set bit of `seq`: how far back a record's skip link reaches.
pub fn skip_distance(seq: u64) -> u64 {
    seq & seq.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> FrameHeader {
        FrameHeader {
            header_crc: 0,
            body_crc: crc32(&[1; 48]),
            body_len: 48,
            kind: Kind::Step as u8,
            epoch: 2,
            salt: 0xabcd,
            offset: Offset(4096 + 128),
            prev: Offset(640),
            skip: Offset(320),
            seq: 6,
            record_len: 40,
        }
    }

    #[test]
    fn a_header_round_trips_and_checks_its_body() {
        let decoded = FrameHeader::decode(&header().encode(), Stride::MIN).unwrap();
        assert_eq!(
            FrameHeader {
                header_crc: 0,
                ..decoded
            },
            header()
        );
        decoded.check_body(&[1; 48]).unwrap();
        assert!(decoded.check_body(&[1; 47]).is_err());
        assert!(decoded.check_body(&[2; 48]).is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_frame_header_is_found() {
        let good = header().encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::decode(&bad, Stride::MIN).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_elsewhere_from_elsewhere_or_from_before_is_void() {
        let header = header();
        let at = header.offset;
        header.belongs(at, 0xabcd, 2).unwrap();
        assert!(matches!(
            header.belongs(at.plus(16), 0xabcd, 2),
            Err(Error::Misplaced { .. })
        ));
        assert!(matches!(
            header.belongs(at, 0xabce, 2),
            Err(Error::Foreign { .. })
        ));
        assert!(matches!(
            header.belongs(at, 0xabcd, 3),
            Err(Error::Stale { .. })
        ));
    }

    #[test]
    fn lengths_and_links_that_cannot_be_are_refused_with_a_good_crc() {
        let refused = |change: &dyn Fn(&mut FrameHeader)| {
            let mut bad = header();
            change(&mut bad);
            FrameHeader::decode(&bad.encode(), Stride::MIN).is_err()
        };
        assert!(
            refused(&|h| h.body_len = 1025),
            "beyond a quarter of the stride"
        );
        assert!(
            refused(&|h| h.offset = Offset(8192 - 64)),
            "crosses the segment"
        );
        assert!(refused(&|h| h.record_len = 49));
        assert!(refused(&|h| h.prev = h.offset), "points at itself");
        assert!(
            refused(&|h| h.skip = Offset(656)),
            "skips less far than prev"
        );
        assert!(refused(&|h| h.epoch = 0));
        assert!(refused(&|h| h.seq = u64::MAX), "nothing can follow it");
        assert!(refused(&|h| h.offset = Offset(u64::MAX - 4095)));
        let last = Commit {
            number: u64::MAX,
            start: Offset(64),
            count: 0,
            frames_crc: 0,
            prev_commit: 0,
        };
        assert!(Commit::decode(&last.encode()).is_err());
        assert!(!refused(&|_| ()));
    }

    #[test]
    fn kinds_have_unique_numbers_and_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_u8(kind as u8), Some(kind));
            assert_eq!(
                Kind::ALL.iter().filter(|k| k.name() == kind.name()).count(),
                1
            );
        }
        assert_eq!(Kind::from_u8(0), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_header_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), log2 in 12u32..=30) {
            let _ = FrameHeader::decode(&bytes, Stride::from_log2(log2).unwrap());
            let _ = Commit::decode(&bytes);
            let _ = SegmentEnd::decode(&bytes);
        }
    }
}
