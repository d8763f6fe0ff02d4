//! What would have been: a run derived again with one thing exchanged, and written into another log.

use super::Options;
use super::event::{NormEvent, Stock, names, read_all};
use super::input::{Input, RunAt};
use super::locate::Track;
use super::rerun::{Kitchen, Pantry, Recipe, Stopped, kitchen};
use crate::error::Error;
use crate::finding::pointer;
use aos_engine::machine::Substitute;
use aos_engine::value::Value;
use aos_format::frame::Kind;
use aos_format::record::{Draft, DraftValue, Stored, StreamId};
use aos_store::{Log, Source, StoredRecord};
use std::sync::Mutex;

/// What is exchanged.
#[derive(Clone, PartialEq, Debug)]
pub enum Exchange {
    /// The output of a step: its name, pointer or activation. Every occurrence of it, unless an activation is given.
    Output {
        /// The step.
        step: String,
        /// Its output instead.
        output: Value,
    },
    /// The run's input.
    Input(Value),
}

/// A history that would have been.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WhatIf {
    /// Occurrences of steps whose output was exchanged.
    pub exchanged: u64,
    /// Events written.
    pub events: u64,
    /// The answer that nobody recorded, where the run cannot go on without it.
    pub needs: Option<String>,
}

/// The recipe of a run, and its events.
pub(crate) fn recipe_of(
    input: &Input<'_>,
    run: RunAt,
    options: &Options<'_>,
) -> Result<(Recipe, Vec<NormEvent>), Error> {
    let mut track = Track::new(input, run);
    if run.records > options.events_max {
        let (records, max) = (run.records, options.events_max);
        let what = format!("a run of {records} records: at most {max} are derived again");
        return Err(Error::Unusable { what });
    }
    let records = track.range(1, run.records)?;
    let Some(start) = records.first() else {
        return Err(Error::NoRun { run: run.run });
    };
    let mut stock = Stock::new();
    let events = read_all(input, &records, &mut stock)?;
    let pantry = Mutex::new(Pantry::default());
    let Kitchen { recipe, .. } = kitchen(
        input,
        start,
        events.first(),
        &events,
        &pantry,
        &options.skills,
    )?;
    let recipe = recipe.map_err(|missing| Error::Unusable {
        what: format!("what the run is derived from: it lacks {missing}"),
    })?;
    Ok((recipe, events))
}

/// Whether a step is meant: by its name, the names on its path, its pointer or its activation.
fn is_meant(step: &str, activation: &str) -> bool {
    let named = names(activation);
    let path = pointer(&named);
    step == activation
        || step == pointer(activation)
        || step == path
        || path.rsplit('/').next() == Some(step)
}

/// Derives `run` again with `exchanges` and appends the history to `log`, with the documents and seeds it needs. Nothing
/// outside is touched: recorded answers are used, and where one is lacking the run stays open.
///
/// # Errors
/// [`Error::Unusable`] when the run cannot be derived, or no step is meant; those of reading and appending.
pub fn what_if(
    input: &Input<'_>,
    run: RunAt,
    exchanges: &[Exchange],
    options: &Options<'_>,
    log: &Log,
) -> Result<WhatIf, Error> {
    let (mut recipe, events) = recipe_of(input, run, options)?;
    let mut exchanged = 0;
    for exchange in exchanges {
        match exchange {
            Exchange::Input(value) => {
                recipe.input = value.clone();
                exchanged += 1;
            }
            Exchange::Output { step, output } => {
                let before = exchanged;
                for event in events.iter().filter(|event| event.kind == Kind::Step) {
                    let activation = event.activation();
                    if is_meant(step, &activation) {
                        let instead = Substitute {
                            output: Some(output.clone()),
                            ..Substitute::default()
                        };
                        recipe.substitutes.insert(activation, instead);
                        exchanged += 1;
                    }
                }
                if exchanged == before {
                    let what = format!("a step called {step}: the run has none");
                    return Err(Error::Unusable { what });
                }
            }
        }
    }
    recipe.stride = log.identity().stride;
    copy_control(input, log)?;
    let limit = usize::try_from(options.events_max).unwrap_or(usize::MAX);
    let (written, stopped) = recipe.record(log, limit)?;
    let needs = match stopped {
        Stopped::Needs(key) => Some(key),
        Stopped::Ended => None,
        Stopped::Limit => {
            let what = format!("what follows event {written}: no more are derived");
            return Err(Error::Unusable { what });
        }
    };
    Ok(WhatIf {
        exchanged,
        events: written,
        needs,
    })
}

/// Copies documents and seeds, linked anew behind what the other log's control stream has.
fn copy_control(input: &Input<'_>, log: &Log) -> Result<(), Error> {
    let index = input.index()?;
    let offsets = index
        .rows
        .definitions
        .values()
        .chain(index.rows.seeds.values());
    let mut offsets: Vec<_> = offsets.copied().collect();
    offsets.sort_unstable();
    for offset in offsets {
        let record = input.read(offset)?;
        let head = log.head(StreamId::CONTROL)?;
        let (digest, lane_seq, seq) = match head {
            Some(head) => (head.digest, head.lane_seq, head.seq),
            None => Default::default(),
        };
        if let Some((kind, draft)) = relinked(&record, digest, lane_seq + 1)? {
            log.append(draft, kind, seq + 1)?;
        }
    }
    Ok(())
}

/// A control record behind another predecessor.
fn relinked(
    record: &StoredRecord,
    previous: aos_format::digest::Digest,
    lane_seq: u64,
) -> Result<Option<(Kind, Draft)>, Error> {
    let Some(kind) = record
        .kind()
        .filter(|k| matches!(k, Kind::Definition | Kind::Seed))
    else {
        return Ok(None);
    };
    let view = record.view()?;
    let event = history_event(record)?;
    let values = view.values().map(|entry| {
        let bytes = view.value_bytes(&entry);
        DraftValue {
            slot: entry.slot,
            len: entry.len,
            salt: entry.salt,
            stored: bytes.map_or(Stored::Absent, |bytes| Stored::Here(bytes.into())),
        }
    });
    let draft = Draft {
        lane_seq,
        values: values.collect(),
        ..Draft::new(StreamId::CONTROL, event.encode(&previous))
    };
    Ok(Some((kind, draft)))
}

fn history_event(record: &StoredRecord) -> Result<aos_format::event::Event, Error> {
    aos_engine::history::read_event(record).map_err(|error| Error::Unusable {
        what: format!("the record at offset {}: {error}", record.offset()),
    })
}
