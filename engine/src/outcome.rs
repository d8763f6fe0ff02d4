//! What became of each step of a run, as one structure: for programs that decide what to do next.
//!
//! Everything but the latency follows from the history; the latency is the wall clock's, which no digest covers.

use crate::fault::{Code, Fault};
use crate::history::{HistoryError, Values, read_event, recorded_value};
use crate::value::Value;
use aos_format::digest::Digest;
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_store::StoredRecord;
use std::collections::BTreeMap;

/// What became of one occurrence of one step.
#[derive(Clone, Debug)]
pub struct StepOutcome {
    /// Which occurrence of which step.
    pub activation: String,
    /// The effect it called, if it called one; `timer` for a wait.
    pub effect: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// Its output; none when it has none, or the log does not store it.
    pub output: Option<Value>,
    /// What it failed of, if it failed.
    pub error: Option<Value>,
    /// Code of the failure, where it is one of the taxonomy; its class follows from it.
    pub code: Option<Code>,
    /// Times that its effect was begun; 1 for a step without one.
    pub attempts: u64,
    /// Units that its effect cost.
    pub cost: u64,
    /// From its INTENT, or from the record before it, to its end.
    pub latency_ms: u64,
    /// History digest at its end, or at its newest record.
    pub digest: Digest,
    /// That record.
    pub offset: Offset,
}

/// Where a step stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Ended well.
    Completed,
    /// Its condition did not hold.
    Skipped,
    /// Ended with a failure.
    Faulted,
    /// Its effect was begun and has no answer on record, or its timer is not due.
    Pending,
}

impl Status {
    /// Name in output.
    pub fn name(self) -> &'static str {
        match self {
            Status::Completed => "completed",
            Status::Skipped => "skipped",
            Status::Faulted => "faulted",
            Status::Pending => "pending",
        }
    }
}

/// An effect between its INTENT and the end of its step.
struct Begun {
    effect: String,
    wall_ns: i64,
    attempts: u64,
    cost: u64,
    digest: Digest,
    offset: Offset,
}

/// The outcomes of all steps in `records`, the records of one run from its first on, in the order of their ends; those that
/// have not ended come last.
///
/// # Errors
/// [`HistoryError`] when a record cannot be read.
pub fn outcomes(
    records: &[StoredRecord],
    values: &dyn Values,
) -> Result<Vec<StepOutcome>, HistoryError> {
    let mut begun: BTreeMap<String, Begun> = BTreeMap::new();
    let mut ended = Vec::new();
    let mut before_ns = None;
    for record in records {
        let view = record.view()?;
        let (wall_ns, digest, offset) = (view.wall_ns(), view.digest(), record.offset());
        match read_event(record)? {
            Event::Intent(intent) => {
                let entry = begun.entry(intent.activation).or_insert(Begun {
                    effect: intent.effect,
                    wall_ns,
                    attempts: 0,
                    cost: 0,
                    digest,
                    offset,
                });
                entry.attempts += 1;
                (entry.digest, entry.offset) = (digest, offset);
            }
            Event::Mark(mark) if mark.what == "reissue" => {
                if let Some(entry) = begun.get_mut(&mark.activation) {
                    entry.attempts += 1;
                }
            }
            Event::Result(result) => {
                if let Some(entry) = begun.get_mut(&result.activation) {
                    entry.cost = entry.cost.saturating_add(result.cost.unwrap_or_default());
                    (entry.digest, entry.offset) = (digest, offset);
                }
            }
            Event::Step(step) => {
                let effect = begun.remove(&step.activation);
                let value = |field| optional(values, record, field);
                let (status, output, error) = match step.outcome.as_str() {
                    "completed" => (Status::Completed, value("output")?, None),
                    "skipped" => (Status::Skipped, value("output")?, None),
                    _ => (Status::Faulted, None, value("error")?),
                };
                let since = effect.as_ref().map(|begun| begun.wall_ns).or(before_ns);
                ended.push(StepOutcome {
                    code: error
                        .as_ref()
                        .and_then(Fault::from_problem)
                        .map(|fault| fault.code),
                    attempts: effect
                        .as_ref()
                        .map_or(1, |begun| begun.attempts)
                        .max(step.attempt),
                    cost: effect.as_ref().map_or(0, |begun| begun.cost),
                    effect: effect.map(|begun| begun.effect),
                    latency_ms: milliseconds(since.unwrap_or(wall_ns), wall_ns),
                    activation: step.activation,
                    status,
                    output,
                    error,
                    digest,
                    offset,
                });
            }
            _ => {}
        }
        before_ns = Some(wall_ns);
    }
    let last_ns = before_ns.unwrap_or_default();
    ended.extend(begun.into_iter().map(|(activation, begun)| StepOutcome {
        activation,
        effect: Some(begun.effect),
        status: Status::Pending,
        output: None,
        error: None,
        code: None,
        attempts: begun.attempts,
        cost: begun.cost,
        latency_ms: milliseconds(begun.wall_ns, last_ns),
        digest: begun.digest,
        offset: begun.offset,
    }));
    Ok(ended)
}

/// The value in a slot of a STEP; none where the slot is empty or its bytes are not stored.
fn optional(
    values: &dyn Values,
    record: &StoredRecord,
    field: &'static str,
) -> Result<Option<Value>, HistoryError> {
    match recorded_value(values, record, Kind::Step, field) {
        Ok(value) => Ok(Some(value)),
        Err(HistoryError::Value { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole milliseconds between two readings of a wall clock, which may have been set back.
pub(crate) fn milliseconds(from_ns: i64, to_ns: i64) -> u64 {
    u64::try_from(to_ns.saturating_sub(from_ns)).unwrap_or_default() / 1_000_000
}
