//! Against gold: are the histories of runs the ones that a reference holds?

use crate::error::Error;
use crate::verify::activation;
use aos_format::digest::{Digest, RunId};
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_store::{RunRow, Source, StoredRecord};

/// A run as it stands beside its reference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compared {
    /// The run, by the same id in both: derived from namespace, workflow, key and generation.
    pub run: RunId,
    /// History digest in the reference.
    pub expected: Digest,
    /// History digest found; `None` when there is no such run.
    pub found: Option<Digest>,
    /// Where the two part, when they do.
    pub parted: Option<PartedAt>,
}

impl Compared {
    /// Whether the histories are the same.
    pub fn is_same(&self) -> bool {
        self.found == Some(self.expected)
    }
}

/// The first event that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartedAt {
    /// Its number among the events of the run, from 1.
    pub event: u64,
    /// What the reference has there.
    pub expected: Option<Seen>,
    /// What was found there.
    pub found: Option<Seen>,
}

/// An event in a few words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Where it stands.
    pub offset: Offset,
    /// Its kind.
    pub kind: &'static str,
    /// Which occurrence of which step, where it names one.
    pub activation: Option<String>,
    /// Its history digest.
    pub digest: Digest,
}

/// Compares each of `runs`, which the reference `gold` holds whole, with the run of that id in `other`.
///
/// Digests of first lanes decide; where they differ, the events are compared in order. Only what is hashed counts.
///
/// # Errors
/// [`Error::Store`] when a record cannot be read.
pub fn against(
    gold: &dyn Source,
    runs: &[RunId],
    other: &dyn Source,
) -> Result<Vec<Compared>, Error> {
    let (left, right) = (gold.index()?, other.index()?);
    let mut compared = Vec::with_capacity(runs.len());
    for run in runs {
        let expected = left.rows.runs.get(run).ok_or(Error::NoRun { run: *run })?;
        let found = right.rows.runs.get(run);
        let digest = found.map(|row: &RunRow| row.digest);
        let parted = match found {
            Some(row) if row.digest != expected.digest => parted(gold, other, *run)?,
            _ => None,
        };
        compared.push(Compared {
            run: *run,
            expected: expected.digest,
            found: digest,
            parted,
        });
    }
    Ok(compared)
}

fn parted(gold: &dyn Source, other: &dyn Source, run: RunId) -> Result<Option<PartedAt>, Error> {
    let stream = StreamId::run(run);
    let (left, right) = (gold.stream(stream, 1)?, other.stream(stream, 1)?);
    let mut left = left.iter().filter(|record| advances(record));
    let mut right = right.iter().filter(|record| advances(record));
    let mut event = 0;
    loop {
        event += 1;
        let pair = (left.next(), right.next());
        let same = match pair {
            (None, None) => return Ok(None),
            (Some(expected), Some(found)) => expected.view()?.det() == found.view()?.det(),
            _ => false,
        };
        if !same {
            return Ok(Some(PartedAt {
                event,
                expected: pair.0.map(seen).transpose()?,
                found: pair.1.map(seen).transpose()?,
            }));
        }
    }
}

fn advances(record: &StoredRecord) -> bool {
    record.kind().is_some_and(Kind::advances)
}

fn seen(record: &StoredRecord) -> Result<Seen, Error> {
    let view = record.view()?;
    let kind = record.kind();
    Ok(Seen {
        offset: record.offset(),
        kind: kind.map_or("unknown", Kind::name),
        activation: kind.and_then(|kind| activation(kind, view.det())),
        digest: view.digest(),
    })
}
