//! A read-only view of a file.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;
use crate::real::RealMap;
use crate::sim::SimMap;

/// A read-only view of the first `len` bytes of a file, which follows later writes.
///
/// A `&[u8]` promises the compiler that nobody changes these bytes while it lives. A file that is being appended to
/// breaks that promise, so a map does not give slices of it, with one exception: bytes that have been declared
/// **settled** ([`Map::settle`]) never change again, and [`Map::bytes`] lends them without a copy. Everything else is
/// copied through the file system, which needs no promise and turns a shrunken file into an error.
///
/// Within this process the declaration is enforced: as long as the file is open or mapped, a write or cut below the bound
/// through any handle is refused. Other processes cannot be kept away like that, and a file that one of them shrinks ends
/// this one with a SIGBUS: settle only what is durable and what a lock keeps others from, never a file that comes from
/// elsewhere (a map that is never settled is merely slower). The simulated disk counts changes instead of refusing them:
/// see [`SimDisk::broken_promises`](crate::sim::SimDisk::broken_promises).
#[derive(Debug)]
pub struct Map {
    len: u64,
    settled: Arc<AtomicU64>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Real(RealMap),
    Sim(SimMap),
}

impl Map {
    pub(crate) fn real(len: u64, map: RealMap) -> Self {
        Map {
            len,
            settled: Arc::default(),
            source: Source::Real(map),
        }
    }

    pub(crate) fn sim(len: u64, settled: Arc<AtomicU64>, map: SimMap) -> Self {
        Map {
            len,
            settled,
            source: Source::Sim(map),
        }
    }

    /// How many bytes are in view.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is in view.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Declares that the bytes before `end` never change again while this map lives. See the type for what the caller
    /// promises. The bound only grows, and never beyond the view.
    pub fn settle(&self, end: u64) {
        let end = end.min(self.len);
        if let Source::Real(map) = &self.source {
            map.settle(end);
        }
        self.settled.fetch_max(end, Ordering::AcqRel);
    }

    /// The bound below which bytes are lent without a copy.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    /// Fills `buf` with the bytes at `at` as they are now. Bytes that are being written at the same time may come out
    /// as any mixture of old and new.
    ///
    /// # Errors
    /// `UnexpectedEnd` beyond the view or if the file has been cut; `Io` if the medium fails.
    pub fn read_at(&self, buf: &mut [u8], at: u64) -> Result<(), Error> {
        let wanted = buf.len() as u64;
        let end = at.checked_add(wanted).filter(|end| *end <= self.len);
        if end.is_none() {
            return Err(Error::short("read", self.path(), at, wanted, self.len));
        }
        match &self.source {
            Source::Real(map) => map.read(buf, at),
            Source::Sim(map) => map.read(buf, at),
        }
    }

    /// The bytes of `range`: lent from the map if all of them are settled (the simulated disk always copies), a copy
    /// as by [`Map::read_at`] if not.
    ///
    /// # Errors
    /// As [`Map::read_at`]. Settled bytes of a real file give no error: if the medium cannot deliver them, or
    /// somebody has cut the file against the promise, the process gets a SIGBUS.
    pub fn bytes(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>, Error> {
        let Some(wanted) = range.end.checked_sub(range.start) else {
            let why = format!(
                "the range starts at {} and ends at {}",
                range.start, range.end
            );
            return Err(Error::new("read", self.path(), crate::Kind::Io, why));
        };
        if range.end > self.len {
            return Err(Error::short(
                "read",
                self.path(),
                range.start,
                wanted,
                self.len,
            ));
        }
        if range.end <= self.settled()
            && let Source::Real(map) = &self.source
        {
            return Ok(Cow::Borrowed(map.settled_bytes(range)));
        }
        // The view fits into memory (`map` saw to it), so every range in it does.
        let mut copy = vec![0; wanted as usize];
        self.read_at(&mut copy, range.start)?;
        Ok(Cow::Owned(copy))
    }

    fn path(&self) -> &Path {
        match &self.source {
            Source::Real(map) => map.path(),
            Source::Sim(map) => map.path(),
        }
    }
}
