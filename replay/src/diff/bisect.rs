//! Bisecting one run: the first event after which something no longer holds.
//!
//! The state behind an event is folded from records alone: the last step's output, the context, the run's input, and the
//! event itself. So it needs no code, and imported runs have one too. A context that was set long before is taken from the
//! nearest checkpoint.

use super::event::{NormEvent, Stock};
use super::input::{Input, RunAt};
use super::locate::Track;
use super::report::EventRef;
use crate::error::Error;
use crate::reexecute::LogValues;
use aos_engine::history::{self, Values};
use aos_engine::value::{Val, Value, as_text, member, object, text};
use aos_format::frame::Kind;
use aos_store::StoredRecord;
use serde::{Deserialize, Serialize};

/// Records that are looked at behind an event for the last step and context, where there is no checkpoint.
const BACK_MAX: u64 = 100_000;

/// What bisecting a run came to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Bisected {
    /// Events of the run.
    pub events: u64,
    /// The last event after which the test held; none when it never did.
    pub good: Option<EventRef>,
    /// The first event after which it did not; none when it held to the end.
    pub bad: Option<EventRef>,
    /// The state behind the last good event, as canonical JSON.
    pub good_state: Option<String>,
    /// The state behind the first bad event.
    pub bad_state: Option<String>,
    /// How often the test was evaluated.
    pub tests: u64,
    /// Records read.
    pub reads: u64,
}

/// A folded state: `{data, context, input, event: {kind, activation, number, …}}`.
fn state(
    track: &mut Track<'_>,
    input: &Input<'_>,
    number: u64,
) -> Result<(NormEvent, Value), Error> {
    let at = track.at(number)?;
    let mut stock = Stock::new();
    let mut read = |track: &mut Track<'_>, seq: u64| -> Result<Option<NormEvent>, Error> {
        match track.nth(seq)? {
            Some(record) => NormEvent::read(input, &record, &mut stock),
            None => Ok(None),
        }
    };
    let here = read(track, at.seq)?.ok_or(Error::NoRun { run: track.run() })?;
    let start = read(track, 1)?.ok_or(Error::NoRun { run: track.run() })?;
    let value = |event: &NormEvent, name: &str| {
        let bytes = event.bytes(name)?;
        Value::from_json(bytes)
            .ok()
            .map(|value| value.val().clone())
    };
    let (mut data, mut context) = (None, None);
    let lowest = at.seq.saturating_sub(BACK_MAX).max(1);
    let mut seq = at.seq;
    while (data.is_none() || context.is_none()) && seq >= lowest {
        let Some(record) = track.nth(seq)? else { break };
        if record.kind() == Some(Kind::Checkpoint) && context.is_none() {
            context = checkpointed(track, input, &record, here.lane)?;
        } else if record.kind() == Some(Kind::Step)
            && let Some(step) = read(track, seq)?
        {
            data = data.or_else(|| value(&step, "output").or_else(|| value(&step, "error")));
            context = context.or_else(|| value(&step, "context"));
        }
        seq -= 1;
    }
    let given = value(&start, "input").unwrap_or(Val::Null);
    let mut event = vec![
        ("kind", text(here.kind.name())),
        ("activation", text(&here.activation())),
        ("number", Val::from(number as isize)),
        ("outcome", text(&here.text("outcome"))),
    ];
    for name in ["response", "data", "output", "error"] {
        event.extend(value(&here, name).map(|value| (name, value)));
    }
    let folded = object([
        ("data", data.unwrap_or_else(|| given.clone())),
        ("context", context.unwrap_or_else(|| object([]))),
        ("input", given),
        ("event", object(event)),
    ]);
    let folded = Value::from_val(&folded).map_err(|error| Error::Unusable {
        what: format!("the state behind event {number}: {error}"),
    })?;
    Ok((here, folded))
}

/// The context of a lane in a checkpoint's state; that of the first lane where the checkpoint does not know the lane.
fn checkpointed(
    track: &mut Track<'_>,
    input: &Input<'_>,
    record: &StoredRecord,
    lane: u64,
) -> Result<Option<Val>, Error> {
    let values = LogValues(input);
    let values: &dyn Values = &values;
    let Ok(saved) = history::recorded_value(values, record, Kind::Checkpoint, "state") else {
        return Ok(None);
    };
    let list = |val: &Val, name: &str| match member(val, name) {
        Some(Val::Arr(list)) => list.to_vec(),
        _ => Vec::new(),
    };
    // Numbers of a state stand in it as text.
    let number = |val: &Val, name: &str| as_text(member(val, name)?)?.parse::<u64>().ok();
    let lanes = member(saved.val(), "state").map_or_else(Vec::new, |state| list(state, "lanes"));
    let own = lanes.iter().find(|known| number(known, "id") == Some(lane));
    let Some(at) = own
        .or(lanes.first())
        .and_then(|lane| number(lane, "context"))
    else {
        return Ok(None);
    };
    let table = list(saved.val(), "values");
    let Some(entry) = usize::try_from(at).ok().and_then(|at| table.get(at)) else {
        return Ok(None);
    };
    if let Some(json) = member(entry, "json") {
        return Ok(Some(json.clone()));
    }
    let slot = number(entry, "slot").and_then(|slot| u8::try_from(slot).ok());
    let (Some(seq), Some(slot)) = (number(entry, "seq"), slot) else {
        return Ok(None);
    };
    let Some(stored) = track.nth(seq)? else {
        return Ok(None);
    };
    let value = history::placed_value(values, &stored, slot);
    Ok(value.ok().map(|(value, _)| value.val().clone()))
}

/// Finds the first event of a run after which `holds` is false, given that it stays so: bisection over the history.
///
/// `holds` gets the folded state: `{data, context, input, event}`.
///
/// # Errors
/// Those of reading; what `holds` fails with.
pub fn bisect(
    input: &Input<'_>,
    run: RunAt,
    holds: &mut dyn FnMut(&Value) -> Result<bool, Error>,
) -> Result<Bisected, Error> {
    let mut track = Track::new(input, run);
    let events = track.head()?.lane_seq;
    let mut found = Bisected {
        events,
        good: None,
        bad: None,
        good_state: None,
        bad_state: None,
        tests: 0,
        reads: 0,
    };
    // Event 0 stands for what was before START, of which nothing is said.
    let (mut low, mut high) = (0, events + 1);
    let shown = |value: &Value| Some(value.as_str().to_owned());
    while high - low > 1 {
        // The last event first: where the test holds to the end there is nothing to look for.
        let middle = if found.tests == 0 {
            events
        } else {
            low + (high - low) / 2
        };
        let (event, state) = state(&mut track, input, middle)?;
        found.tests += 1;
        if holds(&state)? {
            low = middle;
            (found.good, found.good_state) = (Some(event.reference()), shown(&state));
        } else {
            high = middle;
            (found.bad, found.bad_state) = (Some(event.reference()), shown(&state));
        }
    }
    found.reads = track.reads;
    Ok(found)
}
