//! Blocks: whole frames, verbatim and in order of offset, perhaps compressed.
//!
//! ```text
//!  0 magic "GBLK"      12 count u32   records            24 crc u32 of the stored bytes; 0 where they are plain,
//!  4 raw_len u32       16 first u64   number of the first   for frames carry CRCs of their own
//!  8 stored_len u32    (equal to raw_len: plain)         28 crc u32 of 0..28
//! ```

use crate::container::Container;
use crate::error::Error;
use aos_format::frame::{FRAME_HEADER_LEN, FrameHeader, Kind};
use aos_format::offset::{Offset, Stride};
use aos_format::segment::Identity;
use aos_format::wire::crc32;
use aos_store::Aligned;

const MAGIC: &[u8; 4] = b"GBLK";
/// Length of a block's head in bytes.
pub(crate) const BLOCK_HEAD_LEN: u64 = 32;
/// A block is closed once it holds so many bytes of frames.
pub(crate) const BLOCK_LEN: usize = 1 << 20;
/// Most bytes of frames in a block: what closes it, and one frame of the largest size.
const RAW_LEN_MAX: u64 = BLOCK_LEN as u64 + Stride::RECORD_LIMIT_MAX + 4096;

/// A block's first 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockHead {
    pub(crate) raw_len: u32,
    pub(crate) stored_len: u32,
    pub(crate) count: u32,
    pub(crate) first: u64,
    pub(crate) crc: u32,
}

impl BlockHead {
    pub(crate) fn is_plain(&self) -> bool {
        self.stored_len == self.raw_len
    }

    fn encode(&self) -> [u8; 32] {
        let mut b = [0; 32];
        b[..4].copy_from_slice(MAGIC);
        b[4..8].copy_from_slice(&self.raw_len.to_le_bytes());
        b[8..12].copy_from_slice(&self.stored_len.to_le_bytes());
        b[12..16].copy_from_slice(&self.count.to_le_bytes());
        b[16..24].copy_from_slice(&self.first.to_le_bytes());
        b[24..28].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32(&b[..28]);
        b[28..].copy_from_slice(&crc.to_le_bytes());
        b
    }

    /// Reads a head of 32 bytes; `Err` says what was expected and found.
    pub(crate) fn decode(b: &[u8]) -> Result<BlockHead, (String, String)> {
        let word = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let crc = crc32(&b[..28]);
        if crc != word(28) {
            return Err((format!("CRC {:08x}", word(28)), format!("{crc:08x}")));
        }
        let head = BlockHead {
            raw_len: word(4),
            stored_len: word(8),
            count: word(12),
            first: u64::from(word(16)) | u64::from(word(20)) << 32,
            crc: word(24),
        };
        let lengths = u64::from(head.raw_len) <= RAW_LEN_MAX
            && head.stored_len <= head.raw_len
            && head.count > 0
            && u64::from(head.count) <= u64::from(head.raw_len) / FRAME_HEADER_LEN
            && (!head.is_plain() || head.crc == 0);
        if b[..4] != *MAGIC || !lengths {
            return Err(("a block".into(), format!("{head:?}")));
        }
        Ok(head)
    }
}

/// Head of a block that holds `raw`, `count` records from number `first` on, and its bytes where they are compressed.
pub(crate) fn packed(
    raw: &[u8],
    count: u32,
    first: u64,
    compress: bool,
) -> Result<([u8; 32], Option<Vec<u8>>), String> {
    let packed = match compress {
        true => Some(zstd::bulk::compress(raw, 3).map_err(|error| error.to_string())?),
        false => None,
    };
    let packed = packed.filter(|packed| packed.len() < raw.len());
    let head = BlockHead {
        raw_len: raw.len() as u32,
        stored_len: packed.as_ref().map_or(raw.len(), Vec::len) as u32,
        count,
        first,
        crc: packed.as_ref().map_or(0, |stored| crc32(stored)),
    };
    Ok((head.encode(), packed))
}

/// The bytes of such a block.
pub(crate) fn encode(
    raw: &[u8],
    count: u32,
    first: u64,
    compress: bool,
) -> Result<Vec<u8>, String> {
    let (head, packed) = packed(raw, count, first, compress)?;
    Ok([&head, packed.as_deref().unwrap_or(raw)].concat())
}

/// A block read into memory.
pub(crate) struct Block {
    /// Byte of the file its head begins at.
    pub(crate) at: u64,
    pub(crate) head: BlockHead,
    /// Its frames.
    pub(crate) raw: Aligned,
}

/// One frame of a block.
pub(crate) struct Frame<'a> {
    pub(crate) header: FrameHeader,
    /// Header and padded body.
    pub(crate) bytes: &'a [u8],
    /// Where it begins in the block.
    pub(crate) at: usize,
}

impl<'a> Frame<'a> {
    /// The header as it stands.
    pub(crate) fn head(&self) -> &'a [u8; FRAME_HEADER_LEN as usize] {
        self.bytes.first_chunk().expect("a frame has a header")
    }

    /// The body without padding.
    pub(crate) fn body(&self) -> &'a [u8] {
        &self.bytes[FRAME_HEADER_LEN as usize..][..self.header.body_len as usize]
    }
}

impl Block {
    /// Reads block `number`.
    pub(crate) fn read(container: &Container, number: usize) -> Result<Block, Error> {
        Block::read_into(container, number, Aligned::default())
    }

    /// The same, into memory that was used before.
    pub(crate) fn read_into(
        container: &Container,
        number: usize,
        memory: Aligned,
    ) -> Result<Block, Error> {
        let (at, head) = container.heads[number];
        let mut raw = memory.reused(head.raw_len as usize);
        let body_at = at + BLOCK_HEAD_LEN;
        if head.is_plain() {
            container.read_into(&mut raw, body_at)?;
            return Ok(Block { at, head, raw });
        }
        let corrupt = |expected: String, found: String| Error::Corrupt {
            at: body_at,
            place: format!("block {number}"),
            expected,
            found,
        };
        let stored = container.bytes(body_at, head.stored_len as usize)?;
        let crc = crc32(&stored);
        if crc != head.crc {
            return Err(corrupt(
                format!("CRC {:08x}", head.crc),
                format!("{crc:08x}"),
            ));
        }
        let unpacked: &mut [u8] = &mut raw;
        let len = zstd::bulk::decompress_to_buffer(&stored, unpacked)
            .map_err(|error| corrupt("a zstd frame".into(), error.to_string()))?;
        if len != raw.len() {
            return Err(corrupt(
                format!("{} bytes unpacked", raw.len()),
                format!("{len}"),
            ));
        }
        Ok(Block { at, head, raw })
    }

    /// Offset of a record of the block, counted from its first; `None` where the frames up to it cannot be read.
    pub(crate) fn offset(&self, identity: Identity, inside: u64) -> Option<Offset> {
        let salt = identity.log_id.salt();
        let (mut at, mut after) = (0, Offset(0));
        for number in 0..=inside {
            let frame = self.frame(at, identity.stride, salt, after, number).ok()?;
            (at, after) = (at + frame.bytes.len(), frame.header.offset);
        }
        Some(after)
    }

    /// Byte of the file that a position in the block stands for: exact where the block is plain.
    pub(crate) fn byte(&self, at: usize) -> u64 {
        let inside = if self.head.is_plain() { at as u64 } else { 0 };
        self.at + BLOCK_HEAD_LEN + inside
    }

    /// The frame at a position, whose CRCs hold and which is of that log and not before `after`.
    pub(crate) fn frame(
        &self,
        at: usize,
        stride: Stride,
        salt: u32,
        after: Offset,
        number: u64,
    ) -> Result<Frame<'_>, Error> {
        let corrupt = |expected: &str, found: String| Error::Corrupt {
            at: self.byte(at),
            place: format!("record {number}"),
            expected: expected.into(),
            found,
        };
        let rest = &self.raw[at.min(self.raw.len())..];
        let header = FrameHeader::decode(rest, stride).map_err(|error| match error {
            aos_format::Error::BadCrc { .. } | aos_format::Error::Cut { .. } => {
                corrupt("a frame", error.to_string())
            }
            // Its checksum holds, so it was written like this.
            error => Error::Tampered {
                at: self.byte(at),
                place: format!("record {number}"),
                expected: "a frame".into(),
                found: error.to_string(),
            },
        })?;
        self.framed(header, at, salt, after, number)
    }

    /// The same for a frame whose header was read and is one.
    pub(crate) fn framed(
        &self,
        header: FrameHeader,
        at: usize,
        salt: u32,
        after: Offset,
        number: u64,
    ) -> Result<Frame<'_>, Error> {
        let rest = &self.raw[at.min(self.raw.len())..];
        let body = rest
            .get(FRAME_HEADER_LEN as usize..header.frame_len() as usize)
            .ok_or_else(|| Error::Tampered {
                at: self.byte(at),
                place: format!("record {number}"),
                expected: "a whole frame".into(),
                found: "the end of its block".into(),
            })?;
        header.check_body(body).map_err(|error| Error::Corrupt {
            at: self.byte(at),
            place: format!("record {number}"),
            expected: "a frame".into(),
            found: error.to_string(),
        })?;
        let tampered = |expected: String, found: String| Error::Tampered {
            at: self.byte(at),
            place: format!("record {number}"),
            expected,
            found,
        };
        if header.offset <= after && after != Offset(0) {
            return Err(tampered(
                format!("an offset above {after}"),
                format!("offset {}", header.offset),
            ));
        }
        if body[header.body_len as usize..].iter().any(|&b| b != 0) {
            return Err(tampered(
                "zeros behind the body".into(),
                "other bytes".into(),
            ));
        }
        header
            .belongs(header.offset, salt, 1)
            .map_err(|error| tampered("a frame of this log".into(), error.to_string()))?;
        if Kind::from_u8(header.kind).is_some_and(Kind::is_structural) {
            return Err(tampered("a record".into(), format!("kind {}", header.kind)));
        }
        Ok(Frame {
            header,
            bytes: &rest[..header.frame_len() as usize],
            at,
        })
    }
}
