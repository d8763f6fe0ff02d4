//! The first event where two histories part, by bisection over their digests.
//!
//! Each history digest covers everything before it in its lane, so two histories that agree at number n agree up to n. Any
//! record is reached from the newest over its skip links; those passed on the way are remembered, and the middle of an
//! interval is taken where the links lead.

use super::input::RunAt;
use crate::error::Error;
use crate::finding::{Finding, code, stream_name};
use aos_format::digest::{Digest, RunId};
use aos_format::event;
use aos_format::frame::{Kind, skip_distance};
use aos_format::offset::Offset;
use aos_store::{Source, StoredRecord};
use std::collections::BTreeMap;

/// One record of a stream, as far as the search looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Probe {
    pub seq: u64,
    pub offset: Offset,
    prev: Offset,
    skip: Offset,
    /// Whether it advances the first lane.
    pub advances: bool,
    /// Records that advanced the first lane, up to here.
    pub lane_seq: u64,
    /// Newest digest of the first lane here.
    pub digest: Digest,
    /// The digest it names as its predecessor's.
    pub previous: Digest,
}

/// A run's stream with what was read of it.
pub(crate) struct Track<'a> {
    source: &'a dyn Source,
    run: RunAt,
    seen: BTreeMap<u64, Probe>,
    /// Records read.
    pub reads: u64,
    /// Whether something here could not be read, or does not hold together.
    pub failed: bool,
}

impl<'a> Track<'a> {
    pub fn new(source: &'a dyn Source, run: RunAt) -> Track<'a> {
        Track {
            source,
            run,
            seen: BTreeMap::new(),
            reads: 0,
            failed: false,
        }
    }

    /// The run.
    pub fn run(&self) -> RunId {
        self.run.run
    }

    /// Where it is read from.
    pub fn source(&self) -> &'a dyn Source {
        self.source
    }

    /// The newest CHECKPOINT among the `limit` records that end with number `seq`, and where it stands.
    pub fn checkpoint(
        &mut self,
        seq: u64,
        limit: u64,
    ) -> Result<Option<(StoredRecord, Probe)>, Error> {
        let Some(mut record) = self.nth(seq)? else {
            return Ok(None);
        };
        for _ in 0..limit {
            if record.kind() == Some(Kind::Checkpoint) {
                let probe = self.probe(&record)?;
                return Ok(Some((record, probe)));
            }
            if record.seq() == 1 {
                break;
            }
            record = self.read(record.header().prev, record.seq() - 1)?;
        }
        Ok(None)
    }

    /// Reads a record of the stream and checks that it is number `seq` of it.
    fn read(&mut self, offset: Offset, seq: u64) -> Result<StoredRecord, Error> {
        self.reads += 1;
        let read = self.source.read(offset).map_err(Error::from);
        let read = read.and_then(|record| {
            if record.seq() == seq && record.stream()? == self.run.stream() {
                return Ok(record);
            }
            let expected = format!("record number {seq} of run {}", self.run.run);
            let found = format!(
                "record number {} of {}",
                record.seq(),
                stream_name(&record.stream()?)
            );
            let finding = Finding::at(code::LINK, offset.0, expected, found);
            Err(Error::Unreadable(Box::new(
                finding.stream(self.run.stream()),
            )))
        });
        read.inspect_err(|_| self.failed = true)
    }

    /// The newest record.
    pub fn head(&mut self) -> Result<Probe, Error> {
        self.load(self.run.head, self.run.records)
    }

    /// The record that a link leads to.
    fn load(&mut self, offset: Offset, seq: u64) -> Result<Probe, Error> {
        if let Some(probe) = self.seen.get(&seq) {
            return Ok(*probe);
        }
        let record = self.read(offset, seq)?;
        let probe = self.probe(&record)?;
        self.seen.insert(seq, probe);
        Ok(probe)
    }

    fn probe(&mut self, record: &StoredRecord) -> Result<Probe, Error> {
        let view = record.view()?;
        let header = record.header();
        let kind = record.kind();
        let previous = kind
            .and_then(|kind| event::previous(kind, view.det()).ok())
            .unwrap_or(Digest::ZERO);
        let advances = kind.is_some_and(Kind::advances) && view.lane() == 0;
        let (lane_seq, digest) = if view.lane() != 0 {
            self.first_lane_before(header.prev, header.seq)?
        } else if advances {
            (view.lane_seq(), view.digest())
        } else {
            (view.lane_seq(), previous)
        };
        Ok(Probe {
            seq: header.seq,
            offset: header.offset,
            prev: header.prev,
            skip: header.skip,
            advances,
            lane_seq,
            digest,
            previous,
        })
    }

    /// Where the first lane stands at a record of another lane: as at the last record before it that is of the first.
    fn first_lane_before(&mut self, mut at: Offset, mut seq: u64) -> Result<(u64, Digest), Error> {
        while let Some(offset) = at.some() {
            seq -= 1;
            let record = self.read(offset, seq)?;
            let view = record.view()?;
            if view.lane() == 0 {
                let digest = match record.kind() {
                    Some(kind) if !kind.advances() => {
                        event::previous(kind, view.det()).unwrap_or(Digest::ZERO)
                    }
                    _ => view.digest(),
                };
                return Ok((view.lane_seq(), digest));
            }
            at = record.header().prev;
        }
        Ok((0, Digest::ZERO))
    }

    /// The first record at which the first lane has `number` events: the one that advances it to there.
    pub fn at(&mut self, number: u64) -> Result<Probe, Error> {
        let mut here = match self.seen.values().find(|probe| probe.lane_seq >= number) {
            Some(probe) => *probe,
            None => self.head()?,
        };
        loop {
            if here.seq == 1 {
                return Ok(here);
            }
            let below = here.seq - skip_distance(here.seq);
            if below > 0 && below < here.seq - 1 {
                let jump = self.load(here.skip, below)?;
                if jump.lane_seq >= number {
                    here = jump;
                    continue;
                }
            }
            let before = self.load(here.prev, here.seq - 1)?;
            if before.lane_seq < number {
                return Ok(here);
            }
            here = before;
        }
    }

    /// Record number `seq` itself.
    pub fn nth(&mut self, seq: u64) -> Result<Option<StoredRecord>, Error> {
        if seq == 0 || seq > self.run.records {
            return Ok(None);
        }
        let mut here = match self.seen.range(seq..).next() {
            Some((_, probe)) => *probe,
            None => self.head()?,
        };
        while here.seq > seq {
            let below = here.seq - skip_distance(here.seq);
            here = if below >= seq {
                self.load(here.skip, below)?
            } else {
                self.load(here.prev, here.seq - 1)?
            };
        }
        Ok(Some(self.read(here.offset, seq)?))
    }

    /// Records `from..=to` of the stream, in order, as far as they are there.
    pub fn range(&mut self, from: u64, to: u64) -> Result<Vec<StoredRecord>, Error> {
        let (from, to) = (from.max(1), to.min(self.run.records));
        let mut records = Vec::new();
        let Some(last) = (from <= to).then(|| self.nth(to)).transpose()?.flatten() else {
            return Ok(records);
        };
        let mut header = *last.header();
        records.push(last);
        while header.seq > from {
            let record = self.read(header.prev, header.seq - 1)?;
            header = *record.header();
            records.push(record);
        }
        records.reverse();
        Ok(records)
    }
}

/// Where two histories part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Parting {
    /// Nowhere.
    Equal,
    /// The shorter one is a prefix of the longer one.
    Prefix {
        /// Events of the first lane of the shorter one.
        common: u64,
    },
    /// Events up to this number of the first lane are equal, the next are not.
    After {
        /// Number of the last equal event.
        common: u64,
    },
}

/// Finds where the first lanes of two runs part.
///
/// # Errors
/// [`Error::Unreadable`] when a history does not hold together where it was looked at: that is tampering, not a difference.
pub(crate) fn part(a: &mut Track<'_>, b: &mut Track<'_>) -> Result<Parting, Error> {
    let (head_a, head_b) = (a.head()?, b.head()?);
    let shorter = head_a.lane_seq.min(head_b.lane_seq);
    let (x, y) = (a.at(shorter)?, b.at(shorter)?);
    if x.digest == y.digest {
        return Ok(if head_a.lane_seq == head_b.lane_seq {
            Parting::Equal
        } else {
            Parting::Prefix { common: shorter }
        });
    }
    let (mut equal, mut differs) = (0, shorter);
    while differs - equal > 1 {
        let middle = between(equal, differs);
        if a.at(middle)?.digest == b.at(middle)?.digest {
            equal = middle;
        } else {
            differs = middle;
        }
    }
    neighbours(a, differs)?;
    neighbours(b, differs)?;
    Ok(Parting::After { common: equal })
}

/// The number strictly between two that is divisible by the largest power of two: the skip links lead there.
fn between(low: u64, high: u64) -> u64 {
    let mut step = 1u64 << 63;
    loop {
        let candidate = (low / step + 1) * step;
        if low / step < u64::MAX / step && candidate < high {
            return candidate;
        }
        step >>= 1;
    }
}

/// Checks that the event at `number` stands on the one before it and carries the one after it.
fn neighbours(track: &mut Track<'_>, number: u64) -> Result<(), Error> {
    let here = track.at(number)?;
    let newest = track.head()?.lane_seq;
    let mut chain = vec![here];
    if number > 1 {
        chain.insert(0, track.at(number - 1)?);
    }
    if number < newest {
        chain.push(track.at(number + 1)?);
    }
    for pair in chain.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        if !after.advances || after.previous != before.digest {
            let expected = format!("an event behind {}", before.digest.hex());
            let finding = Finding::at(
                code::HISTORY,
                after.offset.0,
                expected,
                after.previous.hex(),
            );
            track.failed = true;
            return Err(Error::Unreadable(Box::new(
                finding.field("previous").stream(track.run.stream()),
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_where_the_links_lead() {
        assert_eq!(between(0, 10), 8);
        assert_eq!(between(8, 10), 9);
        assert_eq!(between(4, 9), 8);
        assert_eq!(between(5, 8), 6);
        assert_eq!(between(6, 8), 7);
        assert_eq!(between(0, u64::MAX), 1 << 63);
    }
}
