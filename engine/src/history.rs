//! Driving a machine over its recorded history: what resume and replay share.
//!
//! The machine makes the events again; each must equal the recorded one byte for byte. Where it needs an answer from
//! outside, the next recorded event holds it. Nothing is appended and nothing outside is touched.

use crate::chain::{Emission, Place};
use crate::fault::Fault;
use crate::machine::{Answer, Control, Given, Machine, Need, Resolution, Verdict, Wait, Waiting};
use crate::value::{Value, as_text, member};
use aos_format::event::{self, Event, ValueRef};
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_format::record::{ABSENT, ValueEntry};
use aos_store::StoredRecord;

/// Where the values of a history come from: the log as its writer or a reader sees it.
pub trait Values {
    /// Bytes of the value in `slot` of `record`, following back references; `None` when they are not stored.
    ///
    /// # Errors
    /// What the log said.
    fn bytes(&self, record: &StoredRecord, slot: u8) -> Result<Option<Vec<u8>>, aos_store::Error>;
}

/// A history that cannot be driven on because of its bytes, or of the log's.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] aos_store::Error),
    /// A record cannot be read as an event.
    #[error("record at offset {offset} cannot be read: {source}")]
    Record {
        /// Where.
        offset: Offset,
        /// Why.
        source: aos_format::Error,
    },
    /// A value is not stored, or is no JSON.
    #[error("value {field} of the record at offset {offset} cannot be used: {why}")]
    Value {
        /// Where.
        offset: Offset,
        /// Name of the slot.
        field: &'static str,
        /// Why.
        why: String,
    },
}

/// The machine and the record part here.
#[derive(Debug)]
pub struct Divergence {
    /// Position in the records given; their number when the record ends too early.
    pub at: usize,
    /// What the machine made; none when it needs something else than the record holds.
    pub made: Option<Emission>,
    /// What is wrong, in words.
    pub why: String,
}

/// How far a machine was driven.
#[derive(Debug)]
pub struct Frontier {
    /// What the machine needs next; [`Need::More`] when it can go on by itself.
    pub need: Need,
    /// Events compared and found equal.
    pub events: u64,
    /// Checkpoints on the way whose state the machine agrees with.
    pub checkpoints: u64,
}

/// What came of driving a machine over a history.
#[derive(Debug)]
pub enum Fed {
    /// Everything recorded was made again.
    Equal(Frontier),
    /// Here they part.
    Parted(Box<Divergence>),
}

/// Drives `machine` over `records`, which follow its present state in its stream.
///
/// `check_checkpoints` compares the state in each CHECKPOINT too.
///
/// # Errors
/// [`HistoryError`] when a record or value cannot be read: that is damage, not a divergence.
pub fn feed(
    machine: &mut Machine,
    records: &[StoredRecord],
    values: &dyn Values,
    check_checkpoints: bool,
) -> Result<Fed, HistoryError> {
    let mut feeding = Feeding {
        machine,
        records,
        values,
        check_checkpoints,
        sink: None,
        at: 0,
        events: 0,
        checkpoints: 0,
    };
    feeding.run()
}

/// As [`feed`], and hands out the events that are made again, with all their values, as long as they are those on record.
///
/// # Errors
/// As [`feed`].
pub fn remake(
    machine: &mut Machine,
    records: &[StoredRecord],
    values: &dyn Values,
    each: &mut dyn FnMut(&Emission),
) -> Result<Fed, HistoryError> {
    let mut feeding = Feeding {
        machine,
        records,
        values,
        check_checkpoints: false,
        sink: Some(each),
        at: 0,
        events: 0,
        checkpoints: 0,
    };
    feeding.run()
}

struct Feeding<'a> {
    machine: &'a mut Machine,
    records: &'a [StoredRecord],
    values: &'a dyn Values,
    check_checkpoints: bool,
    /// Who wants the events, with their values.
    sink: Option<&'a mut dyn FnMut(&Emission)>,
    at: usize,
    events: u64,
    checkpoints: u64,
}

impl Feeding<'_> {
    fn run(&mut self) -> Result<Fed, HistoryError> {
        let mut made = Vec::new();
        let mut answer = None;
        loop {
            if let Some(parted) = self.pass_notes()? {
                return Ok(parted);
            }
            if self.at == self.records.len() {
                let need = self.machine.need().unwrap_or(Need::More);
                let (events, checkpoints) = (self.events, self.checkpoints);
                return Ok(Fed::Equal(Frontier {
                    need,
                    events,
                    checkpoints,
                }));
            }
            if self.sink.is_none() {
                let absent = absent(&self.records[self.at])?;
                self.machine.follow(Some(absent));
            }
            let need = self.machine.advance(answer.take(), 1, &mut made);
            self.machine.follow(None);
            if let Some(emission) = made.pop() {
                if let Some(parted) = self.compare(emission)? {
                    return Ok(parted);
                }
                continue;
            }
            match self.answer(&need)? {
                Ok(found) => answer = found,
                Err(why) => return Ok(self.part(None, why)),
            }
        }
    }

    /// Passes over records that advance nothing.
    fn pass_notes(&mut self) -> Result<Option<Fed>, HistoryError> {
        while let Some(record) = self.records.get(self.at) {
            match record.kind() {
                Some(kind) if kind.advances() => break,
                Some(Kind::Checkpoint) if self.check_checkpoints => {
                    let expected = self.value(record, Kind::Checkpoint, "state")?;
                    let state = self.machine.save().ok();
                    // A state in the form before this one has nothing that could be compared.
                    if member(expected.val(), "version").and_then(as_text) == Some("1") {
                        self.machine.skip_record();
                        self.at += 1;
                        continue;
                    }
                    if state.as_ref() != Some(&expected) {
                        return Ok(Some(self.part(
                            None,
                            "the checkpoint's state is not the state at this point".into(),
                        )));
                    }
                    self.checkpoints += 1;
                }
                _ => {}
            }
            self.machine.skip_record();
            self.at += 1;
        }
        Ok(None)
    }

    fn compare(&mut self, emission: Emission) -> Result<Option<Fed>, HistoryError> {
        let record = &self.records[self.at];
        let view = record.view()?;
        if record.kind() != Some(emission.kind) || view.det() != emission.draft.det.as_slice() {
            return Ok(Some(self.part(
                Some(emission),
                "the event made again is another one".into(),
            )));
        }
        self.at += 1;
        self.events += 1;
        if let Some(sink) = &mut self.sink {
            sink(&emission);
        }
        Ok(None)
    }

    /// The recorded answer to one of what `need` waits for, or why there is none.
    fn answer(&self, need: &Need) -> Result<Result<Option<Given>, String>, HistoryError> {
        let record = &self.records[self.at];
        let waits = match need {
            Need::More => return Ok(Ok(None)),
            Need::Ended(_) => {
                return Ok(Err("the run has ended, but its record goes on".into()));
            }
            Need::Waits(waits) => waits,
        };
        let event = read_event(record)?;
        if let Event::Signal(signal) = &event
            && let Some(control) = Control::ALL
                .into_iter()
                .find(|control| control.signal_type() == signal.signal_type)
            && signal.activation.is_empty()
        {
            let answer = Answer::Control(control, signal.actor.clone());
            return Ok(Ok(Some(Given::from(answer))));
        }
        let lane = record.view()?.lane();
        for wait in waits.iter().filter(|wait| wait.lane == lane) {
            if let Some(answer) = self.answer_to(record, &event, wait)? {
                return Ok(answer.map(|answer| Some(Given::to(wait, answer))));
            }
        }
        let wanted: Vec<String> = waits.iter().map(wanted).collect();
        Ok(Err(format!(
            "the machine needs {} here, the record is a {} of lane {lane}",
            wanted.join(" or "),
            kind_name(record.kind())
        )))
    }

    /// What the record answers to `wait`, if it does.
    fn answer_to(
        &self,
        record: &StoredRecord,
        event: &Event,
        wait: &Wait,
    ) -> Result<Option<Result<Answer, String>>, HistoryError> {
        let answer = match (&wait.what, event) {
            (Waiting::Clock(subject), Event::Time(time)) if time.subject == subject.name() => {
                match time.time_ns.parse() {
                    Ok(ns) => Answer::Clock(ns),
                    Err(_) => {
                        return Err(HistoryError::Value {
                            offset: record.offset(),
                            field: "time_ns",
                            why: "not a number".into(),
                        });
                    }
                }
            }
            (Waiting::Timer { expires, .. }, Event::Decision(decision)) => {
                let expired = decision.subject == "timeout";
                let fits = match expires {
                    Some(activation) => expired && *activation == decision.activation,
                    None => !expired,
                };
                if !fits {
                    return Ok(None);
                }
                Answer::Fired
            }
            (Waiting::Timer { expires: None, .. }, Event::Step(_)) => Answer::Fired,
            (Waiting::Effect(effect), Event::Result(result))
                if result.activation == effect.activation =>
            {
                Answer::Effect(if result.outcome == "ok" {
                    Ok(self.value(record, Kind::Result, "response")?)
                } else {
                    Err(self.fault(record, Kind::Result, "error")?)
                })
            }
            (Waiting::Effect(effect), Event::Decision(decision))
                if decision.rule == "resolve" && decision.activation == effect.activation =>
            {
                let verdict = match decision.verdict.as_str() {
                    "result" => Verdict::Result(self.value(record, Kind::Decision, "value")?),
                    "failed" => Verdict::Failed,
                    "retry" => Verdict::Retry,
                    other => return Ok(Some(Err(format!("unknown verdict {other}")))),
                };
                Answer::Resolved(Resolution {
                    verdict,
                    actor: decision.actor.clone(),
                })
            }
            (Waiting::Event { activation }, Event::Signal(signal))
                if signal.activation == *activation =>
            {
                let event = self.value(record, Kind::Signal, "data")?;
                if !self.machine.accepts(wait.lane, &event) {
                    let why = "an event that the listening step does not consume";
                    return Ok(Some(Err(why.into())));
                }
                Answer::Event {
                    event,
                    actor: signal.actor.clone(),
                }
            }
            _ => return Ok(None),
        };
        Ok(Some(Ok(answer)))
    }

    fn value(
        &self,
        record: &StoredRecord,
        kind: Kind,
        field: &'static str,
    ) -> Result<Value, HistoryError> {
        recorded_value(self.values, record, kind, field)
    }

    fn fault(
        &self,
        record: &StoredRecord,
        kind: Kind,
        field: &'static str,
    ) -> Result<Fault, HistoryError> {
        let problem = self.value(record, kind, field)?;
        Fault::from_problem(&problem).ok_or_else(|| HistoryError::Value {
            offset: record.offset(),
            field,
            why: "no problem details".into(),
        })
    }

    fn part(&self, made: Option<Emission>, why: String) -> Fed {
        Fed::Parted(Box::new(Divergence {
            at: self.at,
            made,
            why,
        }))
    }
}

/// Slots of a record that name a value and do not store it anywhere, as bits.
fn absent(record: &StoredRecord) -> Result<u32, aos_store::Error> {
    let values = record.view()?.values();
    Ok(values
        .filter(|entry| entry.from_seq == 0 && entry.start == ABSENT)
        .fold(0, |bits, entry| bits | 1 << entry.slot))
}

/// The MARK that says that records of the run may be lost behind it, if there is one: such a run may have gone on elsewhere.
pub fn gap(records: &[StoredRecord]) -> Option<Offset> {
    let marks = records.iter().filter(|r| r.kind() == Some(Kind::Mark));
    let mut gaps = marks
        .filter(|record| matches!(read_event(record), Ok(Event::Mark(mark)) if mark.what == "gap"));
    gaps.next().map(StoredRecord::offset)
}

/// The event a record holds.
///
/// # Errors
/// [`HistoryError`] when it is none of this version.
pub fn read_event(record: &StoredRecord) -> Result<Event, HistoryError> {
    let offset = record.offset();
    let Some(kind) = record.kind() else {
        let source = aos_format::Error::UnknownKind {
            kind: record.header().kind,
        };
        return Err(HistoryError::Record { offset, source });
    };
    let view = record.view()?;
    Event::decode(kind, view.det())
        .map(|(_, event)| event)
        .map_err(|source| HistoryError::Record { offset, source })
}

/// The JSON value in the slot `field` of a record.
///
/// # Errors
/// [`HistoryError`] when it is not stored or no JSON.
pub fn recorded_value(
    values: &dyn Values,
    record: &StoredRecord,
    kind: Kind,
    field: &'static str,
) -> Result<Value, HistoryError> {
    let bad = |why: String| HistoryError::Value {
        offset: record.offset(),
        field,
        why,
    };
    let slot = event::slot_of(kind, field).ok_or_else(|| bad("no such slot".into()))?;
    let bytes = values
        .bytes(record, slot)?
        .ok_or_else(|| bad("its bytes are not stored".into()))?;
    Value::from_json(&bytes).map_err(|error| bad(error.to_string()))
}

/// A value that `record` itself stores, together with the place that later records name it by.
///
/// # Errors
/// As [`recorded_value`].
pub fn placed_value(
    values: &dyn Values,
    record: &StoredRecord,
    slot: u8,
) -> Result<(Value, Place), HistoryError> {
    let offset = record.offset();
    let bad = |why: &str| HistoryError::Value {
        offset,
        field: "slot",
        why: why.into(),
    };
    let kind = record.kind().ok_or_else(|| bad("unknown kind"))?;
    let view = record.view()?;
    let names =
        event::slots(kind, view.det()).map_err(|source| HistoryError::Record { offset, source })?;
    let name: ValueRef = names
        .iter()
        .find(|(s, _)| *s == slot)
        .ok_or_else(|| bad("empty"))?
        .1;
    let entry: ValueEntry = view
        .values()
        .find(|v| v.slot == slot)
        .ok_or_else(|| bad("not listed"))?;
    if entry.from_seq != 0 {
        return Err(bad("it stands in an earlier record"));
    }
    let bytes = values
        .bytes(record, slot)?
        .ok_or_else(|| bad("its bytes are not stored"))?;
    if !name.matches(&entry.salt, &bytes) {
        return Err(bad("its bytes do not have its digest"));
    }
    let value = Value::from_json(&bytes).map_err(|error| HistoryError::Value {
        offset,
        field: "slot",
        why: error.to_string(),
    })?;
    Ok((
        value,
        Place {
            seq: record.seq(),
            slot,
            salt: entry.salt,
            name,
            kept: true,
        },
    ))
}

fn wanted(wait: &Wait) -> String {
    match &wait.what {
        Waiting::Clock(subject) => format!("a reading of {}", subject.name()),
        Waiting::Timer { expires: None, .. } => "what follows a timer".into(),
        Waiting::Timer { .. } => "a timeout".into(),
        Waiting::Effect(effect) => format!("the answer of the effect {}", effect.activation),
        Waiting::Event { activation } => format!("an event for {activation}"),
        Waiting::Resumption => "somebody who resumes the run".into(),
    }
}

fn kind_name(kind: Option<Kind>) -> &'static str {
    kind.map_or("record of an unknown kind", Kind::name)
}
