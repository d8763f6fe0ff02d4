//! The bytes of one file: sparse, in pages that copies share.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

/// The unit of allocation and of sharing between copies, bytes.
pub(super) const PAGE: u64 = 4096;

/// What survives a power cut as a whole unless a test says otherwise, bytes.
pub(super) const SECTOR: u64 = 512;

type Page = [u8; PAGE as usize];

/// All written-out zeros are this page, so that a zeroed file takes no memory; it still counts as allocated.
static ZEROS: LazyLock<Arc<Page>> = LazyLock::new(|| Arc::new([0; PAGE as usize]));

/// What a write carries.
#[derive(Clone, Debug)]
pub(super) enum Data {
    Zeros(u64),
    Bytes(Arc<[u8]>),
}

impl Data {
    pub(super) fn of(bytes: &[u8]) -> Self {
        if bytes.iter().all(|byte| *byte == 0) {
            Data::Zeros(bytes.len() as u64)
        } else {
            Data::Bytes(bytes.into())
        }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Data::Zeros(len) => *len,
            Data::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// The content of a file. Bytes beyond `len` in the last page are zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    pages: BTreeMap<u64, Arc<Page>>,
}

/// The pieces of a range by page: page number, range in the page, offset of the piece in the whole range.
fn pieces(at: u64, len: u64) -> impl Iterator<Item = (u64, Range<usize>, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let from = (at + done) % PAGE;
        let size = (PAGE - from).min(len - done);
        let piece = (
            (at + done) / PAGE,
            from as usize..(from + size) as usize,
            done as usize,
        );
        done += size;
        Some(piece)
    })
}

impl Content {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut content = Content::default();
        content.write(0, &Data::of(bytes), 0..bytes.len() as u64);
        content
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Where the next allocated byte stands.
    pub(super) fn data_from(&self, from: u64) -> Option<u64> {
        let (page, _) = self.pages.range(from / PAGE..).next()?;
        Some(from.max(page * PAGE)).filter(|at| *at < self.len)
    }

    /// Bytes allocated, in whole pages.
    pub(super) fn allocated(&self) -> u64 {
        self.pages.len() as u64 * PAGE
    }

    /// How many bytes of the range could be written if at most `room` bytes may be allocated for them.
    pub(super) fn writable(&self, at: u64, len: u64, room: u64) -> u64 {
        let mut free = room / PAGE;
        for (number, _, offset) in pieces(at, len) {
            if self.pages.contains_key(&number) {
                continue;
            }
            if free == 0 {
                return offset as u64;
            }
            free -= 1;
        }
        len
    }

    /// Reads up to the end; the number of bytes read.
    pub(super) fn read(&self, buf: &mut [u8], at: u64) -> usize {
        let len = (buf.len() as u64).min(self.len.saturating_sub(at));
        for (number, range, offset) in pieces(at, len) {
            let out = &mut buf[offset..offset + range.len()];
            match self.pages.get(&number) {
                Some(page) => out.copy_from_slice(&page[range]),
                None => out.fill(0),
            }
        }
        len as usize
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.read(&mut bytes, 0);
        bytes
    }

    /// Writes `part` of `data` at its place, where byte 0 of `data` belongs at offset `at`.
    pub(super) fn write(&mut self, at: u64, data: &Data, part: Range<u64>) {
        let (start, len) = (at + part.start, part.end - part.start);
        for (number, range, offset) in pieces(start, len) {
            match data {
                Data::Zeros(_) if range.len() == PAGE as usize => {
                    self.pages.insert(number, ZEROS.clone());
                }
                Data::Zeros(_) => self.fill_zero(number, range),
                Data::Bytes(bytes) => {
                    let from = part.start as usize + offset;
                    let source = &bytes[from..from + range.len()];
                    self.page(number)[range].copy_from_slice(source);
                }
            }
        }
        if len > 0 {
            self.len = self.len.max(start + len);
        }
    }

    fn page(&mut self, number: u64) -> &mut Page {
        Arc::make_mut(self.pages.entry(number).or_insert_with(|| ZEROS.clone()))
    }

    fn fill_zero(&mut self, number: u64, range: Range<usize>) {
        let page = self.pages.entry(number).or_insert_with(|| ZEROS.clone());
        if page[range.clone()].iter().any(|byte| *byte != 0) {
            Arc::make_mut(page)[range].fill(0);
        }
    }

    /// Feeds everything that can be read into a hash.
    pub(super) fn hash_into(&self, hasher: &mut impl Hasher) {
        hasher.write_u64(self.len);
        for (number, page) in &self.pages {
            let zeros = Arc::ptr_eq(page, &ZEROS) || page.iter().all(|byte| *byte == 0);
            if !zeros {
                hasher.write_u64(*number);
                hasher.write(&page[..]);
            }
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.pages.split_off(&len.div_ceil(PAGE));
            let kept = len % PAGE;
            if kept > 0 && self.pages.contains_key(&(len / PAGE)) {
                self.fill_zero(len / PAGE, kept as usize..PAGE as usize);
            }
        }
        self.len = len;
    }

    /// Makes the pages of a range, which was written to in `other`, what they are there, and the length too.
    pub(super) fn take_pages(&mut self, other: &Content, at: u64, len: u64) {
        for (number, _, _) in pieces(at, len) {
            if let Some(page) = other.pages.get(&number) {
                self.pages.insert(number, page.clone());
            }
        }
        self.len = other.len;
    }
}
