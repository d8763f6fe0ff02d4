//! Re-execute: the machine and the pure skills again, over the recorded history, compared byte for byte.
//!
//! Outside answers come from the record; nothing outside is touched and nothing is written.

use crate::error::Error;
use crate::finding::{Finding, FindingKind, code};
use crate::parted;
use crate::pool::{self, Threads};
use crate::verify::{RunSeen, Verified};
use aos_engine::chain::Recording;
use aos_engine::expr::EVAL_STACK_BYTES;
use aos_engine::history::{self, Fed, HistoryError, Values};
use aos_engine::machine::Machine;
use aos_engine::material::{Material, read_definition, read_seed};
use aos_engine::seed::RootSeed;
use aos_engine::skill::Skills;
use aos_engine::workflow::Definition;
use aos_format::digest::{Digest, RunId};
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_store::{ErrorKind, Source, StoredRecord, Window};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records of a run in memory at a time.
const BATCH: u64 = 16_384;

/// What came of one run.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Every event was made again.
    Match,
    /// One was not.
    Mismatch(Box<Finding>),
    /// It could not be tried.
    NotChecked(Box<Finding>),
}

/// A definition of the log, or why it cannot be used.
type Loaded = Result<Arc<Definition>, Unusable>;

/// Why a definition cannot be used.
enum Unusable {
    /// Its record is not what its digest says.
    False(String),
    /// This build cannot run it.
    Unknown(String),
    /// It holds the rules of an import.
    Imported(String),
}

/// Everything runs are made again from.
pub(crate) struct Executor<'a> {
    reader: &'a dyn Source,
    skills: Arc<Skills>,
    definitions: BTreeMap<Digest, Loaded>,
    seeds: BTreeMap<Digest, RootSeed>,
    /// In place of every recorded root seed.
    seed: Option<RootSeed>,
}

impl<'a> Executor<'a> {
    /// Loads the definitions and seeds of a verified log.
    ///
    /// # Errors
    /// Where the disk failed.
    pub(crate) fn new(
        reader: &'a dyn Source,
        verified: &Verified,
        skills: Arc<Skills>,
        seed: Option<RootSeed>,
    ) -> Result<Executor<'a>, Error> {
        let mut executor = Executor {
            reader,
            skills,
            definitions: BTreeMap::new(),
            seeds: BTreeMap::new(),
            seed,
        };
        let offsets: Vec<(Digest, Offset)> = verified
            .definitions
            .iter()
            .map(|(digest, at)| (*digest, *at))
            .collect();
        let mut loaded = BTreeMap::new();
        let work = |index: usize, out: &mut Option<Result<Loaded, aos_store::Error>>| {
            *out = offsets.get(index).map(|(_, at)| executor.load(*at));
        };
        let stack = Threads::Stack(EVAL_STACK_BYTES);
        pool::in_order(
            stack,
            1,
            offsets.len(),
            &work,
            |index, out| -> Result<(), Error> {
                if let Some(definition) = out.take() {
                    loaded.insert(offsets[index].0, definition?);
                }
                Ok(())
            },
        )?;
        executor.definitions = loaded;
        for (&commitment, &at) in &verified.seeds {
            let root = readable(reader.read(at))?
                .and_then(|record| read_seed(&record, &LogValues(reader)).ok().flatten());
            executor.seeds.extend(root.map(|root| (commitment, root)));
        }
        Ok(executor)
    }

    fn load(&self, at: Offset) -> Result<Loaded, aos_store::Error> {
        let Some(record) = readable(self.reader.read(at))? else {
            return Ok(Err(Unusable::Unknown("its record is damaged".into())));
        };
        Ok(
            match read_definition(RunId([0; 16]), &record, &LogValues(self.reader)) {
                Ok(definition) => Ok(Arc::new(definition)),
                Err(aos_engine::Error::History { source, .. }) => {
                    Err(Unusable::False(source.to_string()))
                }
                Err(aos_engine::Error::Imported { source_name, .. }) => {
                    Err(Unusable::Imported(source_name))
                }
                Err(error) => Err(Unusable::Unknown(error.to_string())),
            },
        )
    }

    /// Definitions that are not what their digest says.
    pub(crate) fn false_definitions(&self, verified: &Verified) -> Vec<Finding> {
        let wrong = self
            .definitions
            .iter()
            .filter_map(|(digest, loaded)| match loaded {
                Err(Unusable::False(why)) => {
                    let at = verified.definitions.get(digest)?;
                    let expected = format!("the workflow document {digest}");
                    Some(
                        Finding::at(code::IDENTITY, at.0, expected, why)
                            .field("source")
                            .stream(StreamId::CONTROL),
                    )
                }
                _ => None,
            });
        wrong.collect()
    }

    /// Makes a run again.
    ///
    /// # Errors
    /// Where the disk failed.
    pub(crate) fn run(&self, run: RunId, seen: &RunSeen) -> Result<Outcome, Error> {
        let refuse = |code, expected: &str, found: String| {
            let finding = Finding::at(code, seen.start.unwrap_or(seen.head).0, expected, found);
            Ok(Outcome::NotChecked(Box::new(
                finding
                    .kind(FindingKind::NotChecked)
                    .stream(StreamId::run(run)),
            )))
        };
        if seen.damaged {
            return refuse(
                code::NOT_CHECKED,
                "a whole history",
                "damaged or missing records".into(),
            );
        }
        let Some(definition) = seen.definition else {
            return refuse(code::NOT_CHECKED, "a START", "none that can be read".into());
        };
        let definition = match self.definitions.get(&definition) {
            Some(Ok(definition)) => definition.clone(),
            Some(Err(Unusable::Imported(source))) => {
                return refuse(
                    code::IMPORTED,
                    "a run of this engine",
                    format!("imported from {source}; verify and diff apply"),
                );
            }
            Some(Err(Unusable::False(why) | Unusable::Unknown(why))) => {
                return refuse(
                    code::NOT_REGISTERED,
                    "a workflow this build can run",
                    why.clone(),
                );
            }
            None => {
                return refuse(
                    code::NOT_REGISTERED,
                    "the workflow document",
                    format!("no document {definition} in the log"),
                );
            }
        };
        let recorded = seen
            .root_seed
            .and_then(|commitment| self.seeds.get(&commitment).cloned());
        let Some(root) = self.seed.clone().or(recorded) else {
            return refuse(
                code::NO_SEED,
                "the root seed of the run",
                "no SEED in the log".into(),
            );
        };
        let stride = self.reader.identity().stride;
        let material = Material {
            definition,
            skills: self.skills.clone(),
            root,
            stride,
            recording: Recording::Values,
        };
        self.feed(run, seen, &material)
    }

    fn feed(&self, run: RunId, seen: &RunSeen, material: &Material) -> Result<Outcome, Error> {
        let mut batches = Batches::new(self.reader, run, seen)?;
        let mut machine: Option<Machine> = None;
        while let Some(records) = batches.next()? {
            let values = RunValues {
                reader: self.reader,
                records: &records,
            };
            let machine = match &mut machine {
                Some(machine) => machine,
                None => match material.machine(&records[0], &values) {
                    Ok(made) => machine.insert(made),
                    Err(error) => return refused(run, &records[0], error),
                },
            };
            match history::feed(machine, &records, &values, true) {
                Ok(Fed::Equal(_)) => {}
                Ok(Fed::Parted(divergence)) => {
                    let finding = parted::finding(&divergence, &records, &values);
                    return Ok(Outcome::Mismatch(Box::new(
                        finding.stream(StreamId::run(run)),
                    )));
                }
                Err(error) => return unreadable(run, error),
            }
        }
        Ok(Outcome::Match)
    }
}

/// A run that no machine could be made for.
fn refused(run: RunId, start: &StoredRecord, error: aos_engine::Error) -> Result<Outcome, Error> {
    let (code, expected) = match error {
        aos_engine::Error::Store(error) => return Err(error.into()),
        aos_engine::Error::History { source, .. } => return unreadable(run, source),
        aos_engine::Error::NoRun { .. } => {
            let finding = Finding::at(code::ORDER, start.offset().0, "a START", error);
            let finding = finding
                .kind(FindingKind::Mismatch)
                .field("kind")
                .stream(StreamId::run(run));
            return Ok(Outcome::Mismatch(Box::new(finding)));
        }
        _ => (
            code::NOT_REGISTERED,
            "semantics and skills that this build has",
        ),
    };
    let finding = Finding::at(code, start.offset().0, expected, error);
    Ok(Outcome::NotChecked(Box::new(
        finding
            .kind(FindingKind::NotChecked)
            .stream(StreamId::run(run)),
    )))
}

/// A run whose history could not be read on the way.
fn unreadable(run: RunId, error: HistoryError) -> Result<Outcome, Error> {
    let (offset, field, found) = match error {
        HistoryError::Store(error) => match error.finding() {
            Some(finding) => (finding.offset, None, finding.to_string()),
            None => return Err(error.into()),
        },
        HistoryError::Record { offset, source } => (offset, None, source.to_string()),
        HistoryError::Value { offset, field, why } => (offset, Some(field), why),
    };
    let mut finding = Finding::at(code::NO_VALUE, offset.0, "what re-execution needs", found)
        .kind(FindingKind::NotChecked);
    finding.field = field.map(str::to_owned);
    Ok(Outcome::NotChecked(Box::new(
        finding.stream(StreamId::run(run)),
    )))
}

/// What was read, or none where the log is damaged there.
fn readable(
    read: Result<StoredRecord, aos_store::Error>,
) -> Result<Option<StoredRecord>, aos_store::Error> {
    match read {
        Ok(record) => Ok(Some(record)),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::Damaged | ErrorKind::Gap | ErrorKind::NotFound | ErrorKind::Unsupported
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The records of a run, oldest first, some at a time.
struct Batches<'a> {
    reader: &'a dyn Source,
    stream: StreamId,
    /// Where records stand that are still to be read, newest first; empty for a run that fits one batch.
    offsets: Vec<Offset>,
    first: Option<Vec<StoredRecord>>,
    window: Window,
}

impl<'a> Batches<'a> {
    fn new(reader: &'a dyn Source, run: RunId, seen: &RunSeen) -> Result<Batches<'a>, Error> {
        let mut batches = Batches {
            reader,
            stream: StreamId::run(run),
            offsets: Vec::new(),
            first: None,
            window: Window::default(),
        };
        let long = seen.seq > BATCH;
        let (mut records, mut window) = (Vec::new(), Window::default());
        let (mut at, mut seq) = (seen.head, seen.seq);
        while seq > 0 {
            let record = reader.read_near(at, &mut window)?;
            (at, seq) = (record.header().prev, seq - 1);
            if long {
                batches.offsets.push(record.offset());
            } else {
                records.push(record);
            }
        }
        records.reverse();
        batches.first = (!long).then_some(records);
        Ok(batches)
    }

    fn next(&mut self) -> Result<Option<Vec<StoredRecord>>, Error> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first).filter(|records| !records.is_empty()));
        }
        let mut records = Vec::new();
        while records.len() < BATCH as usize
            && let Some(at) = self.offsets.pop()
        {
            let record = self.reader.read_near(at, &mut self.window)?;
            debug_assert!(record.stream().is_ok_and(|stream| stream == self.stream));
            records.push(record);
        }
        Ok(Some(records).filter(|records| !records.is_empty()))
    }
}

/// Values of a run from the records at hand, or by links where they stand before those.
pub(crate) struct RunValues<'a> {
    reader: &'a dyn Source,
    records: &'a [StoredRecord],
}

impl RunValues<'_> {
    /// The bytes that record `seq` stores in `slot`, when it is at hand.
    pub(crate) fn stored(&self, seq: u64, slot: u8) -> Option<&[u8]> {
        let first = self.records.first()?.seq();
        let record = self
            .records
            .get(usize::try_from(seq.checked_sub(first)?).ok()?)?;
        let view = record.view().ok()?;
        let entry = view.values().find(|entry| entry.slot == slot)?;
        view.value_bytes(&entry)
    }
}

impl Values for RunValues<'_> {
    fn bytes(&self, record: &StoredRecord, slot: u8) -> Result<Option<Vec<u8>>, aos_store::Error> {
        let view = record.view()?;
        let Some(entry) = view.values().find(|entry| entry.slot == slot) else {
            return Ok(None);
        };
        let at_hand = match entry.from_seq {
            0 => view.value_bytes(&entry),
            seq => self.stored(seq, entry.from_slot),
        };
        match at_hand {
            Some(bytes) => Ok(Some(bytes.to_vec())),
            None => LogValues(self.reader).bytes(record, slot),
        }
    }
}

/// Values of any record, by links.
pub(crate) struct LogValues<'a>(pub(crate) &'a dyn Source);

impl Values for LogValues<'_> {
    fn bytes(&self, record: &StoredRecord, slot: u8) -> Result<Option<Vec<u8>>, aos_store::Error> {
        match self.0.value(record, slot) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(aos_store::Error::NoValue { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether a record of this kind can be made again.
pub(crate) fn kind_name(record: &StoredRecord) -> &'static str {
    record
        .kind()
        .map_or("record of an unknown kind", Kind::name)
}
