//! The file: header, blocks, tree, manifest, notes.
//!
//! ```text
//!  0 magic "AOSGOLD\n"          40 manifest_len u32      64 blocks, payload_len bytes
//!  8 version u16 1              44 blocks u32            .. tree: one leaf hash of 32 bytes a record
//! 10 flags u16, must be 0       48 records u64           .. manifest: canonical JSON
//! 12 stride_log2 u32            56 manifest_crc u32      .. notes, to the end of the file:
//! 16 log_id 16                  60 crc u32 of 0..60         "AOSNOTE\n" | length u32 | CRC u32 | text
//! 32 payload_len u64
//! ```
//!
//! Notes are the only part that grows: signing again appends one.

use crate::error::Error;
use aos_format::digest::{Digest, LogId, hex};
use aos_format::offset::Stride;
use aos_format::segment::Identity;
use aos_format::wire::crc32;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::block::{BLOCK_HEAD_LEN, BlockHead};
use crate::note::NOTE_LEN_MAX;

/// First bytes of every archive.
pub(crate) const MAGIC: &[u8; 8] = b"AOSGOLD\n";
const NOTE_MAGIC: &[u8; 8] = b"AOSNOTE\n";
const VERSION: u16 = 1;
/// Length of the header in bytes.
pub(crate) const HEADER_LEN: u64 = 64;
const NOTE_HEAD_LEN: u64 = 16;

/// Something that bytes are read from: a file, or memory.
pub trait Input: Send + Sync {
    /// Length in bytes.
    ///
    /// # Errors
    /// When the system does not tell.
    fn len(&self) -> io::Result<u64>;

    /// Whether there is nothing.
    ///
    /// # Errors
    /// As [`Input::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buf` from byte `at`.
    ///
    /// # Errors
    /// When the medium does not give the bytes, or ends before.
    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> io::Result<()>;
}

impl Input for std::fs::File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buf, at)
    }
}

impl Input for Vec<u8> {
    fn len(&self) -> io::Result<u64> {
        Ok(Vec::len(self) as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        let start = usize::try_from(at).ok();
        let bytes = start.and_then(|start| self.get(start..)?.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// The first 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Which log the frames are of.
    pub identity: Identity,
    /// Length of all blocks in bytes.
    pub payload_len: u64,
    /// Length of the manifest in bytes.
    pub manifest_len: u32,
    /// Number of blocks.
    pub blocks: u32,
    /// Number of records.
    pub records: u64,
    /// CRC of the manifest.
    pub manifest_crc: u32,
}

impl Header {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; 64] {
        let mut b = [0; 64];
        let mut put = |at: usize, bytes: &[u8]| b[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &self.identity.stride.log2().to_le_bytes());
        put(16, &self.identity.log_id.0);
        put(32, &self.payload_len.to_le_bytes());
        put(40, &self.manifest_len.to_le_bytes());
        put(44, &self.blocks.to_le_bytes());
        put(48, &self.records.to_le_bytes());
        put(56, &self.manifest_crc.to_le_bytes());
        let crc = crc32(&b[..60]);
        b[60..].copy_from_slice(&crc.to_le_bytes());
        b
    }

    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::NotAnArchive`], [`Error::Newer`], [`Error::Corrupt`].
    pub fn decode(b: &[u8; 64]) -> Result<Header, Error> {
        if b[..8] != *MAGIC {
            return Err(Error::NotAnArchive {
                why: format!("it begins with {}, not with AOSGOLD", hex(&b[..8])),
            });
        }
        let word = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let corrupt = |at: u64, expected: String, found: String| Error::Corrupt {
            at,
            place: "header".into(),
            expected,
            found,
        };
        let crc = crc32(&b[..60]);
        if crc != word(60) {
            return Err(corrupt(
                0,
                format!("CRC {:08x}", word(60)),
                format!("{crc:08x}"),
            ));
        }
        let version = u16::from_le_bytes([b[8], b[9]]);
        if version != VERSION {
            return Err(Error::Newer { found: version });
        }
        if b[10..12] != [0, 0] {
            return Err(corrupt(10, "flags 0".into(), hex(&b[10..12])));
        }
        let stride = Stride::from_log2(word(12))
            .map_err(|error| corrupt(12, "a stride".into(), error.to_string()))?;
        let mut log_id = [0; 16];
        log_id.copy_from_slice(&b[16..32]);
        Ok(Header {
            identity: Identity {
                log_id: LogId(log_id),
                stride,
            },
            payload_len: long(32),
            manifest_len: word(40),
            blocks: word(44),
            records: long(48),
            manifest_crc: word(56),
        })
    }
}

/// One note at the end of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteBlock {
    /// Byte of the file it begins at.
    pub at: u64,
    /// Its text, signature lines included.
    pub text: Vec<u8>,
}

impl NoteBlock {
    /// The bytes of a note of that text.
    pub(crate) fn encode(text: &[u8]) -> Vec<u8> {
        let mut bytes = NOTE_MAGIC.to_vec();
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&crc32(text).to_le_bytes());
        bytes.extend_from_slice(text);
        bytes
    }

    /// What the next note in the chain of custody says of this one.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.text)
    }
}

/// An archive whose outline was read and holds: what is inside the parts is for [`crate::verify()`] to judge.
pub struct Container {
    input: Arc<dyn Input>,
    /// Name of the file in messages.
    pub file: String,
    /// Header.
    pub header: Header,
    /// The manifest, verbatim.
    pub manifest: Vec<u8>,
    /// The notes, in order.
    pub notes: Vec<NoteBlock>,
    pub(crate) heads: Vec<(u64, BlockHead)>,
    /// Length of the file in bytes.
    pub len: u64,
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container")
            .field("file", &self.file)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Container {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// As [`Container::read`]; [`Error::Io`].
    pub fn open(path: &Path) -> Result<Container, Error> {
        let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
        Container::read(Arc::new(file), &path.display().to_string())
    }

    /// Reads the outline: header, block heads, manifest, notes. Nothing larger than the file is allocated.
    ///
    /// # Errors
    /// [`Error::NotAnArchive`], [`Error::Newer`], [`Error::Corrupt`], [`Error::Io`].
    pub fn read(input: Arc<dyn Input>, file: &str) -> Result<Container, Error> {
        let io = Error::io("read", Path::new(file));
        let len = input.len().map_err(&io)?;
        if len < HEADER_LEN {
            return Err(Error::NotAnArchive {
                why: format!("it has {len} bytes"),
            });
        }
        let mut head = [0; HEADER_LEN as usize];
        input.read_exact_at(&mut head, 0).map_err(&io)?;
        let header = Header::decode(&head)?;
        let cut = |place: &str, need: u64| Error::Corrupt {
            at: len,
            place: place.into(),
            expected: format!("{need} bytes at least"),
            found: format!("the file ends at {len}"),
        };
        let tree_len = header.records.checked_mul(32);
        let notes_at = tree_len
            .and_then(|tree| tree.checked_add(header.payload_len))
            .and_then(|sum| sum.checked_add(HEADER_LEN + u64::from(header.manifest_len)))
            .ok_or_else(|| cut("header", u64::MAX))?;
        if notes_at > len {
            return Err(cut("blocks, tree or manifest", notes_at));
        }
        let mut container = Container {
            input,
            file: file.into(),
            header,
            manifest: Vec::new(),
            notes: Vec::new(),
            heads: Vec::new(),
            len,
        };
        let manifest_at = container.manifest_at();
        container.manifest = container.bytes(manifest_at, header.manifest_len as usize)?;
        let crc = crc32(&container.manifest);
        if crc != header.manifest_crc {
            return Err(Error::Corrupt {
                at: manifest_at,
                place: "manifest".into(),
                expected: format!("CRC {:08x}", header.manifest_crc),
                found: format!("{crc:08x}"),
            });
        }
        container.read_heads()?;
        container.read_notes(notes_at)?;
        Ok(container)
    }

    /// Byte of the file the tree begins at.
    pub(crate) fn tree_at(&self) -> u64 {
        HEADER_LEN + self.header.payload_len
    }

    /// Byte of the file the manifest begins at.
    pub(crate) fn manifest_at(&self) -> u64 {
        self.tree_at() + 32 * self.header.records
    }

    /// Bytes of the file, which the caller knows to be there.
    pub(crate) fn bytes(&self, at: u64, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len];
        self.read_into(&mut bytes, at)?;
        Ok(bytes)
    }

    pub(crate) fn read_into(&self, bytes: &mut [u8], at: u64) -> Result<(), Error> {
        self.input
            .read_exact_at(bytes, at)
            .map_err(Error::io("read", Path::new(&self.file)))
    }

    /// Stored leaf hashes from number `first` on.
    pub(crate) fn leaves(&self, first: u64, count: usize) -> Result<Vec<Digest>, Error> {
        let bytes = self.bytes(self.tree_at() + 32 * first, 32 * count)?;
        Ok(bytes
            .chunks_exact(32)
            .map(|chunk| Digest(chunk.try_into().expect("chunks of 32")))
            .collect())
    }

    fn read_heads(&mut self) -> Result<(), Error> {
        let (mut at, end, mut first) = (HEADER_LEN, self.tree_at(), 0);
        for number in 0..self.header.blocks {
            let corrupt = |expected: String, found: String| Error::Corrupt {
                at,
                place: format!("block {number}"),
                expected,
                found,
            };
            if end - at < BLOCK_HEAD_LEN {
                return Err(corrupt("a block".into(), "the end of the blocks".into()));
            }
            let head = self.bytes(at, BLOCK_HEAD_LEN as usize)?;
            let head = BlockHead::decode(&head).map_err(|(e, f)| corrupt(e, f))?;
            if head.first != first {
                return Err(corrupt(
                    format!("record number {first} first"),
                    format!("number {}", head.first),
                ));
            }
            if end - at - BLOCK_HEAD_LEN < u64::from(head.stored_len) {
                return Err(corrupt(
                    format!("{} bytes", head.stored_len),
                    "the end of the blocks".into(),
                ));
            }
            first += u64::from(head.count);
            self.heads.push((at, head));
            at += BLOCK_HEAD_LEN + u64::from(head.stored_len);
        }
        if at != end || first != self.header.records {
            return Err(Error::Corrupt {
                at,
                place: "blocks".into(),
                expected: format!("{} records up to byte {end}", self.header.records),
                found: format!("{first} records up to byte {at}"),
            });
        }
        Ok(())
    }

    fn read_notes(&mut self, mut at: u64) -> Result<(), Error> {
        while at < self.len {
            let corrupt = |expected: &str, found: String| Error::Corrupt {
                at,
                place: "notes".into(),
                expected: expected.into(),
                found,
            };
            if self.len - at < NOTE_HEAD_LEN {
                return Err(corrupt("a note", format!("{} bytes", self.len - at)));
            }
            let head = self.bytes(at, NOTE_HEAD_LEN as usize)?;
            let len = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
            let crc = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
            if head[..8] != *NOTE_MAGIC {
                return Err(corrupt("AOSNOTE", hex(&head[..8])));
            }
            if len as usize > NOTE_LEN_MAX || u64::from(len) > self.len - at - NOTE_HEAD_LEN {
                return Err(corrupt(
                    "a note that ends with the file",
                    format!("{len} bytes"),
                ));
            }
            let text = self.bytes(at + NOTE_HEAD_LEN, len as usize)?;
            if crc32(&text) != crc {
                return Err(corrupt(
                    &format!("CRC {crc:08x}"),
                    format!("{:08x}", crc32(&text)),
                ));
            }
            self.notes.push(NoteBlock { at, text });
            at += NOTE_HEAD_LEN + u64::from(len);
        }
        Ok(())
    }
}
