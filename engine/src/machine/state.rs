//! State of a run between two events, and its form in checkpoints.
//!
//! A checkpoint's state is canonical JSON. Values that the history stores already are named by place; the others stand in it.
//! A value that several parts of the state share stands once, so that after a resume it is still one value.

use super::scope::{object, text};
use super::{EffectNeed, Ended, Subject};
use crate::chain::{Datum, Place};
use crate::fault::Fault;
use crate::skill::Policy;
use crate::value::{Val, Value, ValueError};
use crate::workflow::{Definition, TaskKind};
use aos_format::digest::Digest;
use std::sync::Arc;

/// A checkpoint's state that cannot be read. The run is then resumed from an earlier one, or from its start.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint state cannot be read: {0}")]
pub struct StateError(pub(crate) String);

impl StateError {
    /// A record that a state names is not there.
    pub fn missing(seq: u64) -> StateError {
        StateError(format!(
            "record {seq} of the run, which it names, is not there"
        ))
    }
}

impl From<&crate::history::HistoryError> for StateError {
    fn from(error: &crate::history::HistoryError) -> StateError {
        StateError(error.to_string())
    }
}

/// Everything that changes while a run goes on, but its chain.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub phase: Phase,
    /// Enclosing blocks, the document's own first.
    pub frames: Vec<Frame>,
    /// Raw input of whatever comes next.
    pub data: Datum,
    pub context: Datum,
    /// The run's input as given.
    pub input: Datum,
    pub steps: u64,
    pub waited_ms: u64,
    pub workflow_started: Option<i64>,
    /// Reading of the clock for a phase that has no step of its own.
    pub now: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) enum Phase {
    Start,
    Prepare,
    Next,
    Enter(Current),
    Iterate,
    Leave,
    Clock {
        subject: Subject,
        then: Box<Phase>,
    },
    Timer {
        current: Current,
        input: Datum,
        duration_ms: u64,
    },
    Effect {
        current: Current,
        input: Datum,
        need: EffectNeed,
    },
    /// The answer is recorded; the step is about to complete.
    Answered {
        current: Current,
        input: Datum,
        answer: Result<Datum, Fault>,
    },
    Finish(Option<Fault>),
    Ended(Ended),
}

/// One occurrence of one step.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub task: usize,
    pub visit: u64,
    pub activation: String,
    pub raw: Datum,
    pub now: Option<i64>,
    pub started: Option<i64>,
}

/// An enclosing block being executed.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// The step whose block it is; none for the document's own.
    pub owner: Option<Current>,
    /// The owner's transformed input.
    pub input: Datum,
    /// Position of the next step in the block.
    pub at: usize,
    /// Visits of each step of the block so far.
    pub visits: Vec<u64>,
    pub looping: Option<Looping>,
}

#[derive(Clone, Debug)]
pub(super) struct Looping {
    pub items: Arc<Vec<Val>>,
    pub index: u64,
}

impl State {
    pub fn new(input: Datum) -> State {
        State {
            phase: Phase::Start,
            frames: Vec::new(),
            data: input.clone(),
            context: Datum::fresh(
                Value::from_val(&object(vec![])).expect("an empty object is canonical"),
            ),
            input,
            steps: 0,
            waited_ms: 0,
            workflow_started: None,
            now: None,
        }
    }

    /// The state as a checkpoint holds it.
    pub fn save(&self) -> Result<Value, ValueError> {
        let mut data = Saver::default();
        let body = object(vec![
            ("context", data.index(&self.context)),
            ("data", data.index(&self.data)),
            (
                "frames",
                Val::from_iter(
                    self.frames
                        .iter()
                        .map(|frame| data.frame(frame))
                        .collect::<Vec<_>>(),
                ),
            ),
            ("input", data.index(&self.input)),
            ("now", time(self.now)),
            ("phase", data.phase(&self.phase)),
            ("started", time(self.workflow_started)),
            ("steps", number(self.steps)),
            ("waited_ms", number(self.waited_ms)),
        ]);
        Value::from_val(&object(vec![
            ("state", body),
            (
                "values",
                Val::from_iter(data.table.iter().map(saved_datum).collect::<Vec<_>>()),
            ),
            ("version", number(1)),
        ]))
    }

    /// Reads a checkpoint's state; `load` fetches a value that the history stores.
    pub fn restore(
        definition: &Definition,
        saved: &Value,
        load: &mut dyn FnMut(u64, u8) -> Result<(Value, Place), StateError>,
    ) -> Result<State, StateError> {
        let saved = saved.val();
        if as_u64(field(saved, "version")?)? != 1 {
            return Err(bad("another version"));
        }
        let mut table = Vec::new();
        for entry in as_array(field(saved, "values")?)? {
            table.push(match field(entry, "json") {
                Ok(value) => Datum::fresh(Value::from_val(value).map_err(|e| bad(&e.to_string()))?),
                Err(_) => {
                    let slot =
                        u8::try_from(as_u64(field(entry, "slot")?)?).map_err(|_| bad("slot"))?;
                    let (value, place) = load(as_u64(field(entry, "seq")?)?, slot)?;
                    Datum::recorded(value, place)
                }
            });
        }
        let loader = Loader { table };
        let body = field(saved, "state")?;
        let frames = as_array(field(body, "frames")?)?;
        let state = State {
            phase: loader.phase(field(body, "phase")?)?,
            frames: frames
                .iter()
                .map(|frame| loader.frame(frame))
                .collect::<Result<_, _>>()?,
            data: loader.datum(field(body, "data")?)?,
            context: loader.datum(field(body, "context")?)?,
            input: loader.datum(field(body, "input")?)?,
            steps: as_u64(field(body, "steps")?)?,
            waited_ms: as_u64(field(body, "waited_ms")?)?,
            workflow_started: as_time(field(body, "started")?)?,
            now: as_time(field(body, "now")?)?,
        };
        state.check(definition)?;
        Ok(state)
    }

    /// Whether the state is one that a run of `definition` can be in: what was read is never trusted to index anything.
    fn check(&self, definition: &Definition) -> Result<(), StateError> {
        let known = |current: &Current| {
            (current.task < definition.tasks.len() && current.visit < u64::MAX)
                .then_some(())
                .ok_or_else(|| bad("a step that the document does not have"))
        };
        for (depth, frame) in self.frames.iter().enumerate() {
            let (block, loops) = match &frame.owner {
                None => (definition.root.len(), false),
                Some(owner) => {
                    known(owner)?;
                    let loops = matches!(definition.tasks[owner.task].kind, TaskKind::For { .. });
                    (definition.block(owner.task).len(), loops)
                }
            };
            let fits = frame.owner.is_none() == (depth == 0)
                && frame.looping.is_some() == loops
                && frame.visits.len() == block
                && frame.at <= block
                && frame.visits.iter().all(|&visits| visits < u64::MAX)
                && frame
                    .looping
                    .as_ref()
                    .is_none_or(|looping| looping.index < u64::MAX);
            if !fits {
                return Err(bad("a block that is not as in the document"));
            }
        }
        let mut phase = &self.phase;
        while let Phase::Clock { then, .. } = phase {
            phase = then;
        }
        let owner = self.frames.last().and_then(|frame| frame.owner.as_ref());
        let looping = self
            .frames
            .last()
            .is_some_and(|frame| frame.looping.is_some());
        let stands = match phase {
            Phase::Start | Phase::Prepare => self.frames.is_empty(),
            Phase::Finish(_) | Phase::Ended(_) => true,
            Phase::Next => !self.frames.is_empty(),
            Phase::Iterate => looping,
            Phase::Leave => owner.is_some(),
            Phase::Enter(current)
            | Phase::Timer { current, .. }
            | Phase::Effect { current, .. }
            | Phase::Answered { current, .. } => {
                known(current)?;
                !self.frames.is_empty()
            }
            Phase::Clock { .. } => false,
        };
        (stands && self.steps < u64::MAX)
            .then_some(())
            .ok_or_else(|| bad("a phase that does not fit its blocks"))
    }
}

#[derive(Default)]
struct Saver {
    table: Vec<Datum>,
}

impl Saver {
    fn index(&mut self, datum: &Datum) -> Val {
        let index = self
            .table
            .iter()
            .position(|known| known.is(datum))
            .unwrap_or_else(|| {
                self.table.push(datum.clone());
                self.table.len() - 1
            });
        number(index as u64)
    }

    fn current(&mut self, current: &Current) -> Val {
        object(vec![
            ("activation", text(&current.activation)),
            ("now", time(current.now)),
            ("raw", self.index(&current.raw)),
            ("started", time(current.started)),
            ("task", number(current.task as u64)),
            ("visit", number(current.visit)),
        ])
    }

    fn frame(&mut self, frame: &Frame) -> Val {
        let looping = frame.looping.as_ref().map_or(Val::Null, |looping| {
            object(vec![
                ("index", number(looping.index)),
                ("items", Val::Arr(looping.items.clone())),
            ])
        });
        object(vec![
            ("at", number(frame.at as u64)),
            ("input", self.index(&frame.input)),
            ("loop", looping),
            (
                "owner",
                frame
                    .owner
                    .as_ref()
                    .map_or(Val::Null, |owner| self.current(owner)),
            ),
            (
                "visits",
                Val::from_iter(frame.visits.iter().map(|&n| number(n)).collect::<Vec<_>>()),
            ),
        ])
    }

    fn phase(&mut self, phase: &Phase) -> Val {
        match phase {
            Phase::Start => text("start"),
            Phase::Prepare => text("prepare"),
            Phase::Next => text("next"),
            Phase::Iterate => text("iterate"),
            Phase::Leave => text("leave"),
            Phase::Enter(current) => object(vec![("enter", self.current(current))]),
            Phase::Clock { subject, then } => object(vec![
                ("clock", text(subject.name())),
                ("then", self.phase(then)),
            ]),
            Phase::Timer {
                current,
                input,
                duration_ms,
            } => object(vec![
                ("duration_ms", number(*duration_ms)),
                ("input", self.index(input)),
                ("timer", self.current(current)),
            ]),
            Phase::Effect {
                current,
                input,
                need,
            } => object(vec![
                ("effect", self.current(current)),
                ("idempotency", text(&need.idempotency.hex())),
                ("input", self.index(input)),
                ("policy", text(need.policy.name())),
                ("request", need.request.val().clone()),
                ("skill", text(&need.skill)),
            ]),
            Phase::Answered {
                current,
                input,
                answer,
            } => object(vec![
                ("answered", self.current(current)),
                (
                    "fault",
                    answer
                        .as_ref()
                        .err()
                        .map_or(Val::Null, |fault| fault.problem().val().clone()),
                ),
                ("input", self.index(input)),
                (
                    "response",
                    answer.as_ref().map_or(Val::Null, |datum| self.index(datum)),
                ),
            ]),
            Phase::Finish(fault) => object(vec![(
                "finish",
                fault
                    .as_ref()
                    .map_or(Val::Null, |fault| fault.problem().val().clone()),
            )]),
            Phase::Ended(Ended::Completed(value)) => {
                object(vec![("completed", value.val().clone())])
            }
            Phase::Ended(Ended::Faulted(value)) => object(vec![("faulted", value.val().clone())]),
        }
    }
}

fn saved_datum(datum: &Datum) -> Val {
    match datum.place() {
        Some(place) => object(vec![
            ("seq", number(place.seq)),
            ("slot", number(place.slot.into())),
        ]),
        None => object(vec![("json", datum.value().val().clone())]),
    }
}

struct Loader {
    table: Vec<Datum>,
}

impl Loader {
    fn datum(&self, index: &Val) -> Result<Datum, StateError> {
        let index = usize::try_from(as_u64(index)?).map_err(|_| bad("index"))?;
        self.table
            .get(index)
            .cloned()
            .ok_or_else(|| bad("value not in the table"))
    }

    fn current(&self, saved: &Val) -> Result<Current, StateError> {
        Ok(Current {
            task: as_usize(field(saved, "task")?)?,
            visit: as_u64(field(saved, "visit")?)?,
            activation: as_text(field(saved, "activation")?)?,
            raw: self.datum(field(saved, "raw")?)?,
            now: as_time(field(saved, "now")?)?,
            started: as_time(field(saved, "started")?)?,
        })
    }

    fn frame(&self, saved: &Val) -> Result<Frame, StateError> {
        let owner = match field(saved, "owner")? {
            Val::Null => None,
            owner => Some(self.current(owner)?),
        };
        let looping = match field(saved, "loop")? {
            Val::Null => None,
            looping => Some(Looping {
                index: as_u64(field(looping, "index")?)?,
                items: match field(looping, "items")? {
                    Val::Arr(items) => items.clone(),
                    _ => return Err(bad("items are no array")),
                },
            }),
        };
        Ok(Frame {
            owner,
            input: self.datum(field(saved, "input")?)?,
            at: as_usize(field(saved, "at")?)?,
            visits: as_array(field(saved, "visits")?)?
                .iter()
                .map(as_u64)
                .collect::<Result<_, _>>()?,
            looping,
        })
    }

    fn phase(&self, saved: &Val) -> Result<Phase, StateError> {
        if let Ok(name) = as_text(saved) {
            return match name.as_str() {
                "start" => Ok(Phase::Start),
                "prepare" => Ok(Phase::Prepare),
                "next" => Ok(Phase::Next),
                "iterate" => Ok(Phase::Iterate),
                "leave" => Ok(Phase::Leave),
                _ => Err(bad("unknown phase")),
            };
        }
        let json = |value: &Val| Value::from_val(value).map_err(|e| bad(&e.to_string()));
        if let Ok(current) = field(saved, "enter") {
            return Ok(Phase::Enter(self.current(current)?));
        }
        if let Ok(subject) = field(saved, "clock") {
            let subject = match as_text(subject)?.as_str() {
                "now" => Subject::Now,
                "workflow.startedAt" => Subject::WorkflowStarted,
                "task.startedAt" => Subject::TaskStarted,
                _ => return Err(bad("unknown subject")),
            };
            return Ok(Phase::Clock {
                subject,
                then: Box::new(self.phase(field(saved, "then")?)?),
            });
        }
        if let Ok(current) = field(saved, "timer") {
            return Ok(Phase::Timer {
                current: self.current(current)?,
                input: self.datum(field(saved, "input")?)?,
                duration_ms: as_u64(field(saved, "duration_ms")?)?,
            });
        }
        if let Ok(current) = field(saved, "effect") {
            return self.effect(saved, self.current(current)?);
        }
        if let Ok(current) = field(saved, "answered") {
            let answer = match field(saved, "response")? {
                Val::Null => {
                    let problem = json(field(saved, "fault")?)?;
                    Err(Fault::from_problem(&problem).ok_or_else(|| bad("fault"))?)
                }
                response => Ok(self.datum(response)?),
            };
            return Ok(Phase::Answered {
                current: self.current(current)?,
                input: self.datum(field(saved, "input")?)?,
                answer,
            });
        }
        if let Ok(fault) = field(saved, "finish") {
            let fault = match fault {
                Val::Null => None,
                problem => Some(Fault::from_problem(&json(problem)?).ok_or_else(|| bad("fault"))?),
            };
            return Ok(Phase::Finish(fault));
        }
        if let Ok(value) = field(saved, "completed") {
            return Ok(Phase::Ended(Ended::Completed(json(value)?)));
        }
        Ok(Phase::Ended(Ended::Faulted(json(field(
            saved, "faulted",
        )?)?)))
    }

    fn effect(&self, saved: &Val, current: Current) -> Result<Phase, StateError> {
        let policy = match as_text(field(saved, "policy")?)?.as_str() {
            "retry" => Policy::Retry,
            "hold" => Policy::Hold,
            _ => return Err(bad("unknown policy")),
        };
        let need = EffectNeed {
            activation: current.activation.clone(),
            skill: as_text(field(saved, "skill")?)?,
            request: Value::from_val(field(saved, "request")?).map_err(|e| bad(&e.to_string()))?,
            policy,
            idempotency: Digest::from_hex(&as_text(field(saved, "idempotency")?)?)
                .ok_or_else(|| bad("digest"))?,
        };
        Ok(Phase::Effect {
            input: self.datum(field(saved, "input")?)?,
            current,
            need,
        })
    }
}

fn bad(why: &str) -> StateError {
    StateError(why.into())
}

/// Numbers go as decimal text: a `u64` does not fit every JSON number of the value type.
fn number(n: u64) -> Val {
    text(&n.to_string())
}

fn time(ns: Option<i64>) -> Val {
    ns.map_or(Val::Null, |ns| text(&ns.to_string()))
}

fn field<'a>(value: &'a Val, name: &str) -> Result<&'a Val, StateError> {
    match value {
        Val::Obj(map) => map
            .get(&text(name))
            .ok_or_else(|| bad(&format!("{name} is missing"))),
        _ => Err(bad("not an object")),
    }
}

fn as_array(value: &Val) -> Result<&[Val], StateError> {
    match value {
        Val::Arr(items) => Ok(items),
        _ => Err(bad("not an array")),
    }
}

fn as_text(value: &Val) -> Result<String, StateError> {
    match value {
        Val::TStr(bytes) => String::from_utf8(bytes.to_vec()).map_err(|_| bad("not UTF-8")),
        _ => Err(bad("not text")),
    }
}

fn as_u64(value: &Val) -> Result<u64, StateError> {
    as_text(value)?.parse().map_err(|_| bad("not a number"))
}

fn as_usize(value: &Val) -> Result<usize, StateError> {
    usize::try_from(as_u64(value)?).map_err(|_| bad("not a size"))
}

fn as_time(value: &Val) -> Result<Option<i64>, StateError> {
    match value {
        Val::Null => Ok(None),
        value => as_text(value)?
            .parse()
            .map(Some)
            .map_err(|_| bad("not a time")),
    }
}
