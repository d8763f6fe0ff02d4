//! Verify: is every byte of a log what it was when it was written, as far as the log itself can tell?
//!
//! Frames, groups, segments, links, history digests, values, checkpoints. Needs nothing but the segments, writes nothing,
//! and reads with pread.

mod damage;
mod fields;
mod grid;
mod groups;
mod ids;
mod join;
mod local;
mod look;
mod record;
mod repair;
mod scan;
pub(crate) mod seals;
mod window;

use crate::error::Error;
use crate::finding::{Finding, FindingKind, code};
use crate::pool::{self, Threads};
use aos_format::digest::{Digest, RunId, log_digest};
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_format::sha_wide::Width;
use aos_store::{Aligned, LogReader, Pruned, Tail, TailState};
use grid::Grid;
use join::Joiner;
use look::Look;
use scan::{Scanned, scan};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) use join::FINDINGS_MAX;
pub(crate) use look::activation;

/// Whether the bytes of a log are whole. Worse is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Integrity {
    /// All that could be checked holds.
    Intact,
    /// Nothing false was found, but nothing proves that the last bytes are whole.
    TailUnproven,
    /// An offset that should be there is not.
    Gap,
    /// Bytes fail a CRC, digest, link or rule.
    Corrupt,
}

impl Integrity {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Integrity::Intact => "intact",
            Integrity::TailUnproven => "tail_unproven",
            Integrity::Gap => "gap",
            Integrity::Corrupt => "corrupt",
        }
    }
}

/// A run as its records say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunSeen {
    /// Its START, when one was read.
    pub start: Option<Offset>,
    /// Its newest record.
    pub head: Offset,
    /// Number of its newest record.
    pub seq: u64,
    /// Newest history digest of its first lane.
    pub digest: Digest,
    /// Whether it has an END.
    pub ended: bool,
    /// Whether records are damaged or missing.
    pub damaged: bool,
    /// Digest of its definition, when its START was read.
    pub definition: Option<Digest>,
    /// Commitment of its root seed, when its START names one.
    pub root_seed: Option<Digest>,
    /// Records that advance a history.
    pub events: u64,
    /// STEP records.
    pub steps: u64,
}

/// What verifying a log found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// The verdict.
    pub integrity: Integrity,
    /// The first findings, in order of offset.
    pub findings: Vec<Finding>,
    /// Number of all findings.
    pub finding_count: u64,
    /// Something is whole, but newer than this build.
    pub unsupported: bool,
    /// Runs.
    pub runs: BTreeMap<RunId, RunSeen>,
    /// First record of each definition.
    pub definitions: BTreeMap<Digest, Offset>,
    /// First record of each root seed.
    pub seeds: BTreeMap<Digest, Offset>,
    /// Records of all streams.
    pub records: u64,
    /// Groups.
    pub groups: u64,
    /// Records of runs that advance a history.
    pub events: u64,
    /// STEP records.
    pub steps: u64,
    /// Bytes read: from the log's start to its end.
    pub bytes: u64,
    /// Everything below agrees with the log's seals.
    pub sealed_through: Offset,
    /// What of the log's beginning was pruned, and was not looked at.
    pub pruned: Option<PrunedPart>,
}

/// The pruned beginning of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrunedPart {
    /// Where the log begins.
    pub end: Offset,
    /// Runs that are gone, with the newest digest that is kept of each.
    pub runs: BTreeMap<RunId, Digest>,
}

impl PrunedPart {
    fn of(base: &Pruned) -> PrunedPart {
        let rows = &base.rows().runs;
        let gone = base.gone().iter();
        PrunedPart {
            end: base.end(),
            runs: gone.map(|run| (*run, rows[run].digest)).collect(),
        }
    }
}

impl Verified {
    /// SHA-256 over (run id, newest digest), sorted by run id.
    pub fn digest(&self) -> Digest {
        let mut digests: BTreeMap<RunId, Digest> = self
            .runs
            .iter()
            .map(|(run, seen)| (*run, seen.digest))
            .collect();
        // Of runs that are gone what was kept, so that pruning changes no log's digest.
        digests.extend(self.pruned.iter().flat_map(|part| part.runs.clone()));
        log_digest(digests.iter())
    }
}

/// Verifies the log on `workers` threads, the caller's included.
///
/// The result does not depend on the number of workers. A log that is being written is verified up to where it stood.
///
/// # Errors
/// [`Error::Store`] when the disk fails; faults of the log are findings.
pub fn verify(reader: &LogReader, workers: usize) -> Result<Verified, Error> {
    verify_with(reader, workers, Width::best(), &|_, _| ())
}

/// As [`verify`], with digests computed at `width`; the result does not depend on it.
///
/// # Errors
/// As [`verify`].
pub fn verify_at(reader: &LogReader, workers: usize, width: Width) -> Result<Verified, Error> {
    verify_with(reader, workers, width, &|_, _| ())
}

/// As [`verify`]; `progress` is told how many bytes of how many are done.
pub(crate) fn verify_with(
    reader: &LogReader,
    workers: usize,
    width: Width,
    progress: &dyn Fn(u64, u64),
) -> Result<Verified, Error> {
    let tail = reader.tail()?;
    let end = scan_end(reader, &tail)?;
    let identity = reader.identity();
    let pruned = reader.pruned();
    let start = pruned.as_ref().map_or(Offset(0), |base| base.end());
    let grid = Grid::new(identity.stride, start, end);
    let read = |at: Offset, len: usize, mut bytes: Aligned| {
        reader.read_range_into(at.0..at.0 + len as u64, &mut bytes)?;
        Ok(bytes)
    };
    let look = Look {
        identity,
        read: &read,
        width,
    };
    let work = |index: usize, out: &mut Scanned| scan(look, &grid.chunk(index), None, out);
    let before = pruned.as_ref().map_or((0, 0, 0), |base| base.group());
    let mut joiner = Joiner::new(grid, look, before);
    if let Some(base) = &pruned {
        scan::kept(base.frames(), width, |scanned| joiner.records(scanned));
    }
    pool::in_order(
        Threads::Caller,
        workers,
        grid.len(),
        &work,
        |index, scanned: &mut Scanned| {
            progress(grid.chunk(index).to, end.0);
            joiner.join(index, scanned)
        },
    )?;
    let (mut findings, mut finding_count, mut kinds) = joiner.finish(tail.end.0);
    for finding in tail_findings(&tail) {
        // What stands behind the last group was met by the scan too, where it went that far.
        if !findings.iter().any(|known| known.offset == finding.offset) {
            kinds.insert(finding.kind);
            findings.push(finding);
            finding_count += 1;
        }
    }
    if joiner.last_group() < tail.group && findings.is_empty() {
        findings.push(
            Finding::at(
                code::GROUP,
                tail.end.0,
                format!("group {}", tail.group),
                format!("group {}", joiner.last_group()),
            )
            .field("group"),
        );
        kinds.insert(FindingKind::Corruption);
        finding_count += 1;
    }
    let control = joiner.streams.get(&StreamId::CONTROL);
    let seals = match control.map(|state| Offset(state.head.offset)) {
        Some(head) => seals::check(reader, head, workers)?,
        None => seals::Seals::default(),
    };
    for finding in seals.findings {
        kinds.insert(finding.kind);
        findings.push(finding);
        finding_count += 1;
    }
    findings.sort_by_key(|finding| finding.offset);
    let bytes = end.0.saturating_sub(start.0);
    let mut verified = summary(joiner, findings, finding_count, &kinds, bytes);
    if let Some(base) = &pruned {
        verified.pruned = Some(PrunedPart::of(base));
    }
    verified.sealed_through = Offset(seals.through);
    Ok(verified)
}

/// Where the scan ends: with the log, or with its last segment where damage hides the end.
fn scan_end(reader: &LogReader, tail: &Tail) -> Result<Offset, Error> {
    match &tail.state {
        TailState::Clean | TailState::Torn { .. } | TailState::Unproven(_) => Ok(tail.end),
        TailState::Damage(_) | TailState::Gap(_) => {
            let last = reader.segments()?.last().map(|segment| segment.start);
            let stride = reader.identity().stride;
            Ok(last
                .map_or(tail.end, |last| stride.segment_end(last))
                .max(tail.end))
        }
    }
}

fn tail_findings(tail: &Tail) -> Vec<Finding> {
    let mut findings: Vec<Finding> = tail
        .state
        .finding()
        .map(Finding::from)
        .into_iter()
        .collect();
    let clean = tail.state == TailState::Clean;
    if clean && tail.pending && !tail.writer_alive {
        let found = format!(
            "a durable word at {}, and no group behind the last",
            tail.durable
        );
        findings.push(
            Finding::at(
                code::PENDING,
                tail.durable.0,
                format!("proof that the log is durable up to {}", tail.end),
                found,
            )
            .kind(FindingKind::TailUnproven),
        );
    }
    findings
}

fn summary(
    joiner: Joiner<'_>,
    findings: Vec<Finding>,
    finding_count: u64,
    kinds: &BTreeSet<FindingKind>,
    bytes: u64,
) -> Verified {
    let integrity = kinds
        .iter()
        .map(|kind| match kind {
            // Nothing false was found in what this build cannot read.
            FindingKind::Unsupported => Integrity::Intact,
            FindingKind::TailUnproven => Integrity::TailUnproven,
            FindingKind::Gap => Integrity::Gap,
            FindingKind::Corruption | FindingKind::Mismatch | FindingKind::NotChecked => {
                Integrity::Corrupt
            }
        })
        .max()
        .unwrap_or(Integrity::Intact);
    let mut verified = Verified {
        integrity,
        findings,
        finding_count,
        unsupported: kinds.contains(&FindingKind::Unsupported),
        runs: BTreeMap::new(),
        definitions: joiner
            .definitions
            .iter()
            .map(|(digest, at)| (*digest, Offset(*at)))
            .collect(),
        seeds: joiner
            .seeds
            .iter()
            .map(|(digest, at)| (*digest, Offset(*at)))
            .collect(),
        records: joiner.records,
        groups: joiner.groups_seen,
        events: 0,
        steps: 0,
        bytes,
        sealed_through: Offset(0),
        pruned: None,
    };
    for (stream, state) in &joiner.streams {
        let Some(run) = stream.as_run() else { continue };
        verified.events += state.events;
        verified.steps += state.steps;
        verified.runs.insert(
            run,
            RunSeen {
                start: state.started.map(|started| Offset(started.offset)),
                head: Offset(state.head.offset),
                seq: state.head.seq,
                digest: state.digest(),
                ended: state.ended,
                damaged: state.damaged,
                definition: state.started.map(|started| started.definition),
                root_seed: state.started.and_then(|started| started.root_seed),
                events: state.events,
                steps: state.steps,
            },
        );
    }
    verified
}
