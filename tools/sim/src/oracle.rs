//! What must hold of a log, whatever happened to it.
//!
//! Where nothing but crashes and faults that were told struck: everything acknowledged is there, in order, once; nothing is
//! half there or invented; the log opens. Where the medium lied: what is wrong is found, by opening, reading or checking,
//! and at most an end of the log is gone, which is counted apart.

use crate::tally::Tally;
use crate::world::{Fate, Rec, World};
use aos_disk::Disk;
use aos_disk::sim::SimDisk;
use aos_format::digest::LogId;
use aos_format::frame::Kind;
use aos_format::offset::{Offset, Stride};
use aos_format::record::StreamId;
use aos_store::{
    CatalogueState, Error, ErrorKind, Finding, FindingKind, Log, LogReader, Mode, Opening, Options,
};
use std::path::Path;
use std::sync::Arc;

/// Something that must never be, and was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which rule, in a word or two: two runs that break the same one fail alike.
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
}

impl Violation {
    /// A broken rule.
    pub fn new(rule: &'static str, what: impl Into<String>) -> Violation {
        Violation {
            rule,
            what: what.into(),
        }
    }
}

/// Fails with a violation unless a condition holds.
macro_rules! must {
    ($holds:expr, $rule:expr, $($what:tt)+) => {
        if !$holds {
            return Err($crate::oracle::Violation::new($rule, format!($($what)+)));
        }
    };
}
pub(crate) use must;

/// What a disk may have done to a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Law {
    /// The medium lied at least once.
    pub media: bool,
    /// Operations may fail while the log is looked at.
    pub faults: bool,
}

/// Where logs are on simulated disks.
pub fn log_path() -> &'static Path {
    Path::new("sim.aos")
}

/// Options of simulated logs: small segments, no threads.
pub fn options(stride_log2: u32) -> Options {
    Options {
        stride: Stride::from_log2(stride_log2).unwrap_or(Stride::MIN),
        create: true,
        mode: Mode::Inline,
        queue_records_max: 64,
        catalogue_every_records: 20,
        build: "sim".into(),
        target: "sim".into(),
        ..Options::new(LogId([7; 16]))
    }
}

/// A disk as the store takes it.
pub fn as_disk(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// Opens the log of a disk, or makes it.
///
/// # Errors
/// Those of [`Log::open`].
pub fn open(disk: &SimDisk, stride_log2: u32) -> Result<(Log, Opening), Error> {
    Log::open(as_disk(disk), log_path(), &options(stride_log2))
}

/// What reading a log gave.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Every record but openings, in order, up to where reading ended.
    pub recs: Vec<Rec>,
    /// How many of them the reader calls durable.
    pub durable: usize,
    /// Why reading ended, unless the log does.
    pub finding: Option<Finding>,
    /// Whether the last group is without proof.
    pub pending: bool,
}

/// Reads the log of a disk from its first byte; `None` when there is none.
///
/// # Errors
/// Those of the disk.
pub fn look(disk: &SimDisk) -> Result<Option<Look>, Error> {
    let reader = match LogReader::open(as_disk(disk), log_path()) {
        Ok(reader) => reader,
        // Also a directory that is all there is yet.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotALog) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut look = Look::default();
    for record in reader.scan(Offset(0))? {
        match record {
            Ok(record) => {
                look.pending |= record.is_pending();
                if record.kind() != Some(Kind::Open) {
                    look.recs.push(Rec::of(&record)?);
                    look.durable += usize::from(!record.is_pending());
                }
            }
            Err(Error::Finding(finding)) => look.finding = Some(*finding),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(look))
}

/// Compares what a log holds with what was accepted; the number of acknowledged records that are gone from its end.
///
/// # Errors
/// A record that is not there although it was acknowledged and later ones are, or one that nobody appended.
pub fn compare(found: &[Rec], world: &World) -> Result<usize, Violation> {
    let mut rest = found.iter().peekable();
    let mut lost = 0;
    for (rec, fate) in &world.accepted {
        if rest.next_if_eq(&rec).is_some() {
            must!(
                lost == 0,
                "hole",
                "{rec:?} is there, {lost} acknowledged before it are not"
            );
        } else if *fate == Fate::Acknowledged {
            lost += 1;
        } else {
            must!(
                world.failed || rest.peek().is_none(),
                "hole",
                "{rec:?} is not there, later ones are"
            );
        }
    }
    match rest.next() {
        None => Ok(lost),
        Some(rec) => Err(Violation::new(
            "invented",
            format!("{rec:?} was never appended, or stands elsewhere"),
        )),
    }
}

/// An opened log that is to be judged.
pub struct Case<'a> {
    /// Its disk.
    pub disk: &'a SimDisk,
    /// The log.
    pub log: &'a Log,
    /// What the opening said.
    pub opening: &'a Opening,
    /// What reading it gave before.
    pub before: Option<&'a Look>,
    /// What was appended, where that is known.
    pub world: Option<&'a World>,
    /// What the disk may have done.
    pub law: Law,
}

/// Checks an opening, without faults now: the log, its catalogue, and what reading it gives. Returns what it holds, or
/// `None` when a lie of the medium was found.
///
/// # Errors
/// Whatever the law does not allow.
pub fn after_opening(case: &Case<'_>, tally: &mut Tally) -> Result<Option<Vec<Rec>>, Violation> {
    let Case {
        disk,
        log,
        opening,
        before,
        world,
        law,
    } = *case;
    let seen = match look(&disk.frozen_image()) {
        Ok(Some(seen)) => seen,
        Ok(None) => return Err(Violation::new("unreadable", "no log where one is open")),
        Err(error) => return finding_or(law, tally, "unreadable", &error).map(|()| None),
    };
    if let Some(finding) = &seen.finding {
        must!(law.media, "false alarm", "reading an opened log: {finding}");
        tally.found_by_reading += 1;
        return Ok(None);
    }
    let lost = match world {
        Some(world) => compare(&seen.recs, world)?,
        None => 0,
    };
    if lost > 0 {
        must!(law.media, "lost", "{lost} acknowledged records are gone");
        let told = opening.tail_cut.is_some()
            || before.is_none_or(|before| before.finding.is_some() || before.pending);
        tally.rolled_back_told += u64::from(told);
        tally.rolled_back_unseen += u64::from(!told);
    }
    tally.records += seen.recs.len() as u64;
    tally.tails_cut += u64::from(opening.tail_cut.is_some());
    if !law.media {
        if let CatalogueState::Rebuilt { why } = &opening.catalogue {
            let of_the_future = why.contains("ahead") || why.contains("has no group");
            must!(!of_the_future, "catalogue ahead", "{why}");
        }
        if let Some(before) = before {
            must!(
                before.recs == seen.recs,
                "opening",
                "{} records before it, {} after",
                before.recs.len(),
                seen.recs.len()
            );
        }
        let broken = disk.broken_promises();
        must!(broken.is_empty(), "map", "{}", broken.join("; "));
    }
    match catalogue_agrees(disk, log, &seen.recs) {
        Ok(()) => Ok(Some(seen.recs)),
        Err(Wrong::Error(error)) if law.faults && error.finding().is_none() => Ok(None),
        Err(Wrong::Error(error)) => {
            let lied = law.faults && disk.struck().iter().any(|s| s.fault.is_silent());
            let media = law.media || lied;
            finding_or(Law { media, ..law }, tally, "catalogue", &error).map(|()| None)
        }
        Err(Wrong::Said(violation)) => Err(violation),
    }
}

/// An error where none may be, or one that tells of a lie.
fn finding_or(
    law: Law,
    tally: &mut Tally,
    rule: &'static str,
    error: &Error,
) -> Result<(), Violation> {
    must!(law.media, rule, "{error}");
    tally.found_by_reading += 1;
    Ok(())
}

enum Wrong {
    Error(Error),
    Said(Violation),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Wrong {
        Wrong::Error(error)
    }
}

/// Whether everything that can be looked up is what the segments say.
fn catalogue_agrees(disk: &SimDisk, log: &Log, recs: &[Rec]) -> Result<(), Wrong> {
    let reader = LogReader::open(as_disk(&disk.frozen_image()), log_path())?;
    let index = reader.index()?;
    if let Some(finding) = &index.finding {
        return Err(Wrong::Error(Error::Finding(Box::new(finding.clone()))));
    }
    let said = |what: String| Wrong::Said(Violation::new("catalogue", what));
    if log.rows()? != index.rows {
        return Err(said("its rows are not the fold of the log".into()));
    }
    for row in index.rows.runs.values() {
        let stream = StreamId::run(row.run);
        let read = log.stream(stream, 1)?;
        let read: Vec<Rec> = read.iter().map(Rec::of).collect::<Result<_, _>>()?;
        let expected = recs.iter().filter(|rec| rec.stream == stream);
        if !expected.eq(read.iter()) {
            return Err(said(format!("the records of run {} differ", row.run)));
        }
    }
    Ok(())
}

/// Whether a log may be refused with this error after the medium lied: it must say what is wrong, and where.
pub fn refusal(error: &Error) -> Result<(), Violation> {
    let says = match error.kind() {
        ErrorKind::Damaged | ErrorKind::Gap | ErrorKind::Unsupported => error.finding().is_some(),
        ErrorKind::NotALog | ErrorKind::NotFound => true,
        _ => false,
    };
    must!(says, "refusal", "{error}");
    let unproven = error.finding().map(|finding| finding.kind);
    must!(
        unproven != Some(FindingKind::TailUnproven),
        "refusal",
        "a torn tail is no reason to refuse: {error}"
    );
    Ok(())
}
