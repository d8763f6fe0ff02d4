//! A run's history as the specification's lifecycle events, in CloudEvents' JSON format.
//!
//! They follow from the records: nothing is published while a run goes on, whoever wants them reads the log. The id of an
//! event is the digest of its record, so the same event told twice is known as one. Times are those of the wall clock at the
//! record, which no digest covers. A task is told to be created and started at the first record that names it; a step that
//! only computes has one record, its end.

use crate::history::{HistoryError, Values, read_event, recorded_value};
use crate::machine::EMIT;
use crate::value::{Val, Value, object, text};
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_store::{RunRow, StoredRecord};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

const TYPES: &str = "io.serverlessworkflow.";

/// Makes events of the records of one run.
struct Teller<'a> {
    run: String,
    name: String,
    values: &'a dyn Values,
    /// Tasks that have begun and not ended, with their lanes.
    open: BTreeMap<String, u64>,
    /// Listening steps that have heard something.
    correlating: BTreeSet<String>,
    told: Vec<Value>,
}

/// The lifecycle events of a run, and the events that it published, in the order of its records, which begin with its first.
///
/// # Errors
/// [`HistoryError`] when a record cannot be read.
pub fn events(
    row: &RunRow,
    records: &[StoredRecord],
    values: &dyn Values,
) -> Result<Vec<Value>, HistoryError> {
    let mut teller = Teller {
        run: row.run.to_string(),
        name: String::new(),
        values,
        open: BTreeMap::new(),
        correlating: BTreeSet::new(),
        told: Vec::new(),
    };
    for record in records {
        teller.record(record)?;
    }
    Ok(teller.told)
}

impl Teller<'_> {
    fn record(&mut self, record: &StoredRecord) -> Result<(), HistoryError> {
        let lane = record.view()?.lane();
        match read_event(record)? {
            Event::Start(start) => {
                self.name = format!("{}-{}.{}", start.name, self.run, start.namespace);
                let definition = object([
                    ("name", text(&start.name)),
                    ("namespace", text(&start.namespace)),
                    ("version", text(&start.version)),
                ]);
                self.workflow(
                    record,
                    "started",
                    "startedAt",
                    &[("definition", definition)],
                )
            }
            Event::Intent(intent) => {
                if intent.effect == EMIT {
                    let event = self.value(record, Kind::Intent, "request")?;
                    self.told.extend(event);
                }
                match intent.activation.is_empty() {
                    true => Ok(()),
                    false => self.begun(record, &intent.activation, lane),
                }
            }
            Event::Fork(fork) => self.begun(record, &fork.activation, lane),
            Event::Signal(signal) => match signal.signal_type.as_str() {
                "aos.suspend" => self.workflow(record, "suspended", "suspendedAt", &[]),
                "aos.resume" => self.workflow(record, "resumed", "resumedAt", &[]),
                "aos.cancel" => Ok(()),
                _ => {
                    self.begun(record, &signal.activation, lane)?;
                    match self.correlating.insert(signal.activation) {
                        true => self.workflow(record, "correlation-started", "startedAt", &[]),
                        false => Ok(()),
                    }
                }
            },
            Event::Decision(decision) => match (decision.subject.as_str(), &*decision.verdict) {
                ("retry", "retry") => {
                    self.task(record, &decision.activation, "retried", "retriedAt", &[])
                }
                ("lane", "cancelled") => self.lane_cancelled(record, lane),
                _ => Ok(()),
            },
            Event::Step(step) => {
                self.begun(record, &step.activation, lane)?;
                self.open.remove(&step.activation);
                if self.correlating.remove(&step.activation) {
                    self.workflow(record, "correlation-completed", "completedAt", &[])?;
                }
                let (what, at, member, field) = match step.outcome.as_str() {
                    "faulted" => ("faulted", "faultedAt", "error", "error"),
                    _ => ("completed", "completedAt", "output", "output"),
                };
                let value = self.value(record, Kind::Step, field)?;
                let more = value.map(|value| (member, value.val().clone()));
                self.task(record, &step.activation, what, at, more.as_slice())
            }
            Event::End(end) => {
                self.lane_cancelled(record, 0)?;
                let (what, at, member) = match end.outcome.as_str() {
                    "completed" => ("completed", "completedAt", "output"),
                    "cancelled" => ("cancelled", "cancelledAt", "error"),
                    _ => ("faulted", "faultedAt", "error"),
                };
                let value = self.value(record, Kind::End, member)?;
                let more = value.map(|value| (member, value.val().clone()));
                self.workflow(record, what, at, more.as_slice())
            }
            _ => Ok(()),
        }
    }

    /// A task is created and started, unless it was before.
    fn begun(&mut self, record: &StoredRecord, task: &str, lane: u64) -> Result<(), HistoryError> {
        if self.open.insert(task.to_owned(), lane).is_some() {
            return Ok(());
        }
        self.task(record, task, "created", "createdAt", &[])?;
        self.task(record, task, "started", "startedAt", &[])
    }

    fn lane_cancelled(&mut self, record: &StoredRecord, lane: u64) -> Result<(), HistoryError> {
        let mut gone: Vec<String> = Vec::new();
        self.open.retain(|task, at| {
            if *at == lane {
                gone.push(task.clone());
            }
            *at != lane
        });
        for task in gone {
            self.task(record, &task, "cancelled", "cancelledAt", &[])?;
        }
        Ok(())
    }

    fn workflow(
        &mut self,
        record: &StoredRecord,
        what: &str,
        at: &str,
        more: &[(&str, Val)],
    ) -> Result<(), HistoryError> {
        let mut data = vec![("name", text(&self.name))];
        data.extend(more.iter().cloned());
        self.tell(record, &format!("workflow.{what}"), "", at, data)
    }

    fn task(
        &mut self,
        record: &StoredRecord,
        task: &str,
        what: &str,
        at: &str,
        more: &[(&str, Val)],
    ) -> Result<(), HistoryError> {
        let mut data = vec![("workflow", text(&self.name)), ("task", text(task))];
        data.extend(more.iter().cloned());
        self.tell(record, &format!("task.{what}"), task, at, data)
    }

    fn tell(
        &mut self,
        record: &StoredRecord,
        what: &str,
        task: &str,
        at: &str,
        data: Vec<(&str, Val)>,
    ) -> Result<(), HistoryError> {
        let view = record.view()?;
        let time = Timestamp::from_nanosecond(i128::from(view.wall_ns()));
        let time = text(&time.map_or_else(|_| String::new(), |time| time.to_string()));
        let data = data.into_iter().chain([(at, time.clone())]);
        let data = data.map(|(name, value)| (text(name), value)).collect();
        let event = object([
            ("specversion", text("1.0")),
            (
                "id",
                text(&format!("{}/{what}/{task}", view.digest().hex())),
            ),
            ("source", text(&format!("/runs/{}", self.run))),
            ("type", text(&format!("{TYPES}{what}.v1"))),
            ("subject", text(&self.name)),
            ("time", time),
            ("datacontenttype", text("application/json")),
            ("data", Val::obj(data)),
        ]);
        // What was recorded is canonical, and the rest is text.
        self.told.extend(Value::from_val(&event).ok());
        Ok(())
    }

    /// A value of the record; none where it has none, or its bytes are not stored.
    fn value(
        &self,
        record: &StoredRecord,
        kind: Kind,
        field: &'static str,
    ) -> Result<Option<Value>, HistoryError> {
        match recorded_value(self.values, record, kind, field) {
            Ok(value) => Ok(Some(value)),
            Err(HistoryError::Value { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
