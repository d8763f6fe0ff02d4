//! What a recorded run is made again from: its document, its seed, its START.

use crate::chain::{Chain, Recording};
use crate::error::Error;
use crate::history::{self, Values};
use crate::machine::{Machine, SEMANTICS, StartInfo};
use crate::seed::RootSeed;
use crate::skill::Skills;
use crate::workflow::Definition;
use aos_format::digest::{Digest, RunId};
use aos_format::event::{Event, slot_of};
use aos_format::frame::Kind;
use aos_format::offset::Stride;
use aos_format::record::{VOLATILE_GENERATION, VOLATILE_KEY, VOLATILE_ROOT_SEED};
use aos_store::StoredRecord;
use std::sync::Arc;

/// Media of a DEFINITION that holds no workflow but the rules by which runs of another engine were imported.
pub const IMPORT_MEDIA: &str = "import";

/// Everything a machine needs besides its START.
#[derive(Clone, Debug)]
pub struct Material {
    /// Document.
    pub definition: Arc<Definition>,
    /// Skills.
    pub skills: Arc<Skills>,
    /// Root seed.
    pub root: RootSeed,
    /// Stride of the log.
    pub stride: Stride,
    /// Which values are stored of what the machine makes beyond its record.
    pub recording: Recording,
}

impl Material {
    /// The machine of a recorded run as it was before START.
    ///
    /// # Errors
    /// [`Error::Semantics`] for other semantics or unknown behaviour flags, by name; [`Error::NotRegistered`] for skills in
    /// another version; [`Error::History`] when START cannot be read.
    pub fn machine(&self, start: &StoredRecord, values: &dyn Values) -> Result<Machine, Error> {
        let view = start.view()?;
        let run = view.stream().as_run().ok_or_else(|| Error::NoRun {
            what: "in another stream".into(),
        })?;
        let bad = |source| Error::History { run, source };
        let Event::Start(event) = history::read_event(start).map_err(bad)? else {
            return Err(Error::NoRun {
                what: format!("{run} with a START"),
            });
        };
        if event.semantics != SEMANTICS {
            return Err(Error::Semantics {
                run,
                what: format!("semantics version {}", event.semantics),
            });
        }
        for skill in &event.skills {
            if self.skills.reference(&skill.name).as_ref() != Some(skill) {
                return Err(Error::NotRegistered {
                    run,
                    what: format!("skill {} version {}", skill.name, skill.version),
                });
            }
        }
        let text = |tag| {
            view.volatile_tag(tag)
                .map(|b| String::from_utf8_lossy(b).into_owned())
        };
        let generation = view
            .volatile_tag(VOLATILE_GENERATION)
            .and_then(|b| b.try_into().ok());
        let mut info = StartInfo {
            key: text(VOLATILE_KEY).unwrap_or_default(),
            generation: generation.map(u64::from_le_bytes).unwrap_or_default(),
            root_seed: view
                .volatile_tag(VOLATILE_ROOT_SEED)
                .and_then(|b| b.try_into().ok())
                .map(Digest)
                .unwrap_or_default(),
            budget: None,
            pins: Default::default(),
        };
        info.read_behaviour(&event.behaviour)
            .map_err(|flag| Error::Semantics {
                run,
                what: format!("behaviour flag {flag}"),
            })?;
        let input = history::recorded_value(values, start, Kind::Start, "input").map_err(bad)?;
        let chain = Chain::new(run, self.root.run_seed(run));
        let (definition, skills) = (self.definition.clone(), self.skills.clone());
        let mut machine = Machine::new(definition, skills, chain, info, input, self.stride);
        machine.set_recording(self.recording);
        Ok(machine)
    }
}

/// The document that a DEFINITION record holds, checked against its digest.
///
/// # Errors
/// [`Error::History`] when it cannot be read or has another digest; [`Error::Document`] when this build refuses it;
/// [`Error::NotRegistered`] when it names code that is not a document; [`Error::Imported`] when it holds the rules of an import.
pub fn read_definition(
    run: RunId,
    record: &StoredRecord,
    values: &dyn Values,
) -> Result<Definition, Error> {
    let offset = record.offset();
    let bad = |why: &str| Error::History {
        run,
        source: history::HistoryError::Value {
            offset,
            field: "source",
            why: why.into(),
        },
    };
    let event = history::read_event(record).map_err(|source| Error::History { run, source })?;
    let Event::Definition(event) = event else {
        return Err(bad("the record is no DEFINITION"));
    };
    if event.media == IMPORT_MEDIA {
        return Err(Error::Imported {
            run,
            source_name: event.namespace,
        });
    }
    if event.media == "rust" {
        return Err(Error::NotRegistered {
            run,
            what: format!("the workflow {} {}", event.name, event.version),
        });
    }
    let slot = slot_of(Kind::Definition, "source").expect("the kind's table has this slot");
    let bytes = values
        .bytes(record, slot)?
        .ok_or_else(|| bad("its bytes are not stored"))?;
    let definition = Definition::load(&bytes)?;
    if definition.digest != event.digest.0 {
        return Err(bad("the document has another digest than its record says"));
    }
    Ok(definition)
}

/// The root seed that a SEED record holds; `None` when it was cut off.
///
/// # Errors
/// [`Error::Store`].
pub fn read_seed(record: &StoredRecord, values: &dyn Values) -> Result<Option<RootSeed>, Error> {
    let slot = slot_of(Kind::Seed, "seed").expect("the kind's table has this slot");
    let bytes = values.bytes(record, slot)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(RootSeed))
}
