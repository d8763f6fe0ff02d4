//! Values that a log names and does not store, made again: the run is executed over its own record, offline.

use crate::reexecute::LogValues;
use aos_engine::chain::Recording;
use aos_engine::history;
use aos_engine::material::{Material, read_definition, read_seed};
use aos_engine::skill::Skills;
use aos_format::digest::RunId;
use aos_format::event::Event;
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_format::segment::Identity;
use aos_store::{Index, Source, StoredRecord};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Longest run that is made again for its values, in records; all its values are then in memory.
pub const RECORDS_MAX: u64 = 200_000;

/// Values by number of the record and slot that name them first.
type Made = BTreeMap<(u64, u8), Arc<[u8]>>;

/// Runs whose values are kept: more than threads that compare.
const RUNS_MAX: usize = 16;

/// Makes values again of runs that were recorded as digests. The values of the last 16 runs are kept.
#[derive(Debug)]
pub struct Rederived {
    skills: Arc<Skills>,
    runs: Mutex<VecDeque<(RunId, Arc<Made>)>>,
}

impl Rederived {
    /// With the skills that runs call.
    pub fn new(skills: Arc<Skills>) -> Rederived {
        Rederived {
            skills,
            runs: Mutex::default(),
        }
    }

    /// The value in `slot` of a record whose bytes `source` does not have; `None` where it cannot be made again: no document,
    /// seed, skill or answer, a run of more than [`RECORDS_MAX`] records, or one that comes out as another value.
    ///
    /// Needs [`aos_engine::expr::EVAL_STACK_BYTES`] of stack.
    ///
    /// # Errors
    /// What the source said.
    pub fn value(
        &self,
        source: &dyn Source,
        record: &StoredRecord,
        slot: u8,
    ) -> Result<Option<Vec<u8>>, aos_store::Error> {
        let view = record.view()?;
        let Some(run) = view.stream().as_run() else {
            return Ok(None);
        };
        let Some(entry) = view.values().find(|entry| entry.slot == slot) else {
            return Ok(None);
        };
        let at = match entry.from_seq {
            0 => (record.seq(), slot),
            seq => (seq, entry.from_slot),
        };
        let made = match self.known(run) {
            Some(made) => made,
            None => {
                let made = Arc::new(self.make(source, run)?.unwrap_or_default());
                let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
                runs.truncate(RUNS_MAX - 1);
                runs.push_front((run, made.clone()));
                made
            }
        };
        Ok(made.get(&at).map(|bytes| bytes.to_vec()))
    }

    fn known(&self, run: RunId) -> Option<Arc<Made>> {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let found = runs.iter().find(|(known, _)| *known == run);
        found.map(|(_, made)| made.clone())
    }

    fn make(&self, source: &dyn Source, run: RunId) -> Result<Option<Made>, aos_store::Error> {
        let index = source.index()?;
        let row = index.rows.runs.get(&run);
        let Some(row) = row.filter(|row| row.seq <= RECORDS_MAX) else {
            return Ok(None);
        };
        let values = LogValues(source);
        let records = source.stream(StreamId::run(run), 1)?;
        let Some(Ok(Event::Start(start))) = records.first().map(history::read_event) else {
            return Ok(None);
        };
        let seed = row.root_seed.and_then(|seed| index.rows.seeds.get(&seed));
        let definition = index.rows.definitions.get(&start.definition);
        let (Some(&seed), Some(&definition)) = (seed, definition) else {
            return Ok(None);
        };
        let root = read_seed(&source.read(seed)?, &values).ok().flatten();
        let definition = read_definition(run, &source.read(definition)?, &values).ok();
        let (Some(root), Some(definition)) = (root, definition) else {
            return Ok(None);
        };
        let material = Material {
            definition: Arc::new(definition),
            skills: self.skills.clone(),
            root,
            stride: source.identity().stride,
            recording: Recording::Values,
        };
        let Ok(mut machine) = material.machine(&records[0], &values) else {
            return Ok(None);
        };
        // What comes before a divergence is what the record names, digest by digest.
        let mut made = Made::new();
        let fed = history::remake(&mut machine, &records, &values, &mut |emission| {
            made.extend(
                emission
                    .stored()
                    .map(|(slot, bytes)| ((emission.seq, slot), bytes)),
            );
        });
        match fed {
            Err(history::HistoryError::Store(error)) => Err(error),
            Ok(_) | Err(_) => Ok(Some(made)),
        }
    }
}

/// A source whose values are made again where they are not stored.
pub struct Whole<'a> {
    source: &'a dyn Source,
    made: Rederived,
    count: AtomicU64,
}

impl std::fmt::Debug for Whole<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Whole")
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

impl<'a> Whole<'a> {
    /// Of `source`.
    pub fn new(source: &'a dyn Source, skills: Arc<Skills>) -> Whole<'a> {
        Whole {
            source,
            made: Rederived::new(skills),
            count: AtomicU64::new(0),
        }
    }

    /// Values that were made again so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Source for Whole<'_> {
    fn identity(&self) -> Identity {
        self.source.identity()
    }

    fn index(&self) -> Result<Arc<Index>, aos_store::Error> {
        self.source.index()
    }

    fn read(&self, offset: Offset) -> Result<StoredRecord, aos_store::Error> {
        self.source.read(offset)
    }

    fn value(&self, record: &StoredRecord, slot: u8) -> Result<Vec<u8>, aos_store::Error> {
        let stored = self.source.value(record, slot);
        let Err(aos_store::Error::NoValue { .. }) = &stored else {
            return stored;
        };
        match self.made.value(self.source, record, slot)? {
            Some(bytes) => {
                self.count.fetch_add(1, Ordering::Relaxed);
                Ok(bytes)
            }
            None => stored,
        }
    }
}
