//! What the steps of a derivation gave, as text, so that derivations of several processes can be compared.

use super::super::Options;
use super::super::event::{NormEvent, NormValue, Stock};
use super::recipe;
use crate::error::Error;
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_format::event::{self, Event};
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What stands in front of a trace in the output of a process, so that it may say other things too.
pub const TRACE_MARK: &str = "aos-trace:";

/// The steps of one derivation, in order.
#[derive(Clone, Debug)]
pub struct Trace {
    pub(super) events: Vec<NormEvent>,
}

/// An event as it is written down.
#[derive(Serialize, Deserialize)]
struct Written {
    kind: u8,
    lane_seq: u64,
    det: String,
    /// By slot.
    values: Vec<(u8, String)>,
}

/// Derives a workflow once, in this process as it is.
///
/// # Errors
/// As [`super::perturb`].
pub fn trace(
    definition: Arc<Definition>,
    input: Value,
    answers: &BTreeMap<String, Value>,
    options: &Options<'_>,
) -> Result<Trace, Error> {
    let (recipe, _) = recipe(definition, input, answers, options)?;
    let limit = usize::try_from(options.events_max).unwrap_or(usize::MAX);
    let mut events = recipe.run(limit).events;
    events.retain(|event| event.kind == Kind::Step);
    Ok(Trace { events })
}

impl Trace {
    /// The trace as one line, its mark in front.
    pub fn line(&self) -> String {
        let written: Vec<Written> = self.events.iter().map(written).collect();
        let json = serde_json::to_string(&written).expect("numbers and text are JSON");
        format!("{TRACE_MARK}{json}")
    }

    /// Finds the line of a trace in what a process said. Returns `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the line is not a trace.
    pub fn find(output: &str) -> Result<Option<Trace>, Error> {
        let Some(at) = output.find(TRACE_MARK) else {
            return Ok(None);
        };
        let rest = &output[at + TRACE_MARK.len()..];
        let line = rest.lines().next().unwrap_or_default();
        let bad = |why: String| Error::Unusable {
            what: format!("a trace from what a process said: {why}"),
        };
        let written: Vec<Written> =
            serde_json::from_str(line).map_err(|error| bad(error.to_string()))?;
        let events = written.into_iter().map(read);
        let events: Result<Vec<NormEvent>, String> = events.collect();
        Ok(Some(Trace {
            events: events.map_err(bad)?,
        }))
    }
}

fn written(event: &NormEvent) -> Written {
    let bytes = |value: &NormValue| {
        let bytes = value.bytes.as_ref()?;
        Some((value.slot, STANDARD.encode(bytes)))
    };
    Written {
        kind: event.kind as u8,
        lane_seq: event.lane_seq,
        det: STANDARD.encode(&event.det),
        values: event.values.iter().filter_map(bytes).collect(),
    }
}

fn read(written: Written) -> Result<NormEvent, String> {
    let kind = Kind::from_u8(written.kind).ok_or("a kind that nobody knows")?;
    let decode = |text: &str| STANDARD.decode(text).map_err(|error| error.to_string());
    let det = decode(&written.det)?;
    Event::decode(kind, &det).map_err(|error| error.to_string())?;
    let mut stock = Stock::new();
    for (slot, text) in &written.values {
        let bytes: Arc<[u8]> = decode(text)?.into();
        stock.insert((0, *slot), ([0; 16], bytes));
    }
    let names = event::slots(kind, &det).map_err(|error| error.to_string())?;
    let value = |(slot, name)| NormValue {
        slot,
        name,
        salt: [0; 16],
        at: (0, slot),
        bytes: stock.get(&(0, slot)).map(|(_, bytes)| bytes.clone()),
    };
    Ok(NormEvent {
        kind,
        seq: 0,
        offset: Offset::NONE,
        lane: 0,
        lane_seq: written.lane_seq,
        wall_ns: 0,
        digest: aos_format::digest::Digest::of(&det),
        values: names.into_iter().map(value).collect(),
        det,
        volatile: Vec::new(),
    })
}
