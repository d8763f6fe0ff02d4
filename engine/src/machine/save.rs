//! The state in checkpoints.
//!
//! A checkpoint's state is canonical JSON. Values that the history stores already are named by place; the others stand in it,
//! with their place and salt where the history names them without storing them.
//! A value that several parts of the state share stands once, so that after a resume it is still one value.

use super::scope::{object, text};
use super::state::{
    Branch, Current, Deadline, Doing, Finish, Frame, Lane, LaneEnd, Listening, Phase, Rule, State,
    Timed, Timer,
};
use super::{EffectNeed, Ended, Subject};
use crate::chain::{Datum, Place};
use crate::fault::Fault;
use crate::skill::Policy;
use crate::value::{Val, Value, ValueError};
use crate::workflow::Definition;
use aos_format::digest::{Digest, from_hex, hex};
use aos_format::event::{VALUE_JSON, ValueRef};

/// Version of the form.
const VERSION: u64 = 3;

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

impl State {
    /// The state as a checkpoint holds it.
    pub fn save(&self) -> Result<Value, ValueError> {
        let mut saver = Saver::default();
        let body = object(vec![
            ("at", number(self.at as u64)),
            ("input", saver.index(&self.input)),
            (
                "lanes",
                list(self.lanes.iter().map(|lane| saver.lane(lane))),
            ),
            ("suspended", Val::Bool(self.suspended)),
            ("turn", number(self.turn as u64)),
        ]);
        Value::from_val(&object(vec![
            ("state", body),
            ("values", list(saver.table.iter().map(saved_datum))),
            ("version", number(VERSION)),
        ]))
    }

    /// Reads a checkpoint's state. `load` gives the value that record `seq` of the run's stream stores in a slot.
    pub fn restore(
        definition: &Definition,
        saved: &Value,
        load: &mut dyn FnMut(u64, u8) -> Result<(Value, Place), StateError>,
    ) -> Result<State, StateError> {
        let saved = saved.val();
        if as_u64(field(saved, "version")?)? != VERSION {
            return Err(bad("another version"));
        }
        let mut table = Vec::new();
        for entry in as_array(field(saved, "values")?)? {
            if let Ok(value) = field(entry, "json") {
                table.push(Datum::fresh(json(value)?));
                continue;
            }
            let seq = as_u64(field(entry, "seq")?)?;
            let slot = u8::try_from(as_u64(field(entry, "slot")?)?).map_err(|_| bad("slot"))?;
            let (value, place) = match field(entry, "value") {
                Ok(value) => unkept(json(value)?, seq, slot, field(entry, "salt")?)?,
                Err(_) => load(seq, slot)?,
            };
            table.push(Datum::recorded(value, place));
        }
        let loader = Loader { table };
        let body = field(saved, "state")?;
        let lanes = as_array(field(body, "lanes")?)?;
        let state = State {
            lanes: lanes
                .iter()
                .map(|lane| loader.lane(lane))
                .collect::<Result<_, _>>()?,
            at: as_usize(field(body, "at")?)?,
            turn: as_usize(field(body, "turn")?)?,
            input: loader.datum(field(body, "input")?)?,
            suspended: as_bool(field(body, "suspended")?)?,
        };
        state.check(definition)?;
        Ok(state)
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

    fn lane(&mut self, lane: &Lane) -> Val {
        let branch = lane.branch.map_or(Val::Null, |branch| {
            object(vec![
                ("number", number(branch.number as u64)),
                ("parent", number(branch.parent)),
                ("task", number(branch.task as u64)),
            ])
        });
        object(vec![
            ("branch", branch),
            ("budget", lane.budget.map_or(Val::Null, number)),
            ("context", self.index(&lane.context)),
            ("data", self.index(&lane.data)),
            (
                "deadlines",
                list(lane.deadlines.iter().map(|one| self.deadline(one))),
            ),
            (
                "frames",
                list(lane.frames.iter().map(|frame| self.frame(frame))),
            ),
            ("id", number(lane.id)),
            ("levels", list(lane.levels.iter().map(|level| text(level)))),
            ("now", time(lane.now)),
            ("phase", self.phase(&lane.phase)),
            ("plain", Val::Bool(lane.plain)),
            ("spent", number(lane.spent)),
            ("started", time(lane.workflow_started)),
            ("steps", number(lane.steps)),
            (
                "vars",
                list(
                    lane.vars
                        .iter()
                        .map(|(name, val)| list([text(name), val.clone()])),
                ),
            ),
            ("waited_ms", number(lane.waited_ms)),
        ])
    }

    fn deadline(&mut self, deadline: &Deadline) -> Val {
        let timed = match &deadline.timed {
            Timed::Workflow => Val::Null,
            Timed::Step { current, input } => object(vec![
                ("current", self.current(current)),
                ("input", self.index(input)),
            ]),
            Timed::Attempt { activation } => text(activation),
        };
        object(vec![
            ("depth", number(deadline.depth as u64)),
            ("timed", timed),
            ("timer", timer(&deadline.timer)),
        ])
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
        let owner = match &frame.owner {
            None => Val::Null,
            Some(owner) => self.current(owner),
        };
        object(vec![
            ("at", number(frame.at as u64)),
            ("doing", self.doing(&frame.doing)),
            ("input", self.index(&frame.input)),
            ("owner", owner),
            ("visits", list(frame.visits.iter().map(|&n| number(n)))),
        ])
    }

    /// What a block is there for is `[name, …]`.
    fn doing(&mut self, doing: &Doing) -> Val {
        match doing {
            Doing::Block => list([text("block")]),
            Doing::Loop { items, index } => {
                list([text("loop"), Val::Arr(items.clone()), number(*index)])
            }
            Doing::Try {
                attempt,
                since,
                context,
            } => list([
                text("try"),
                number(*attempt),
                time(*since),
                self.index(context),
            ]),
            Doing::Handler { error } => list([text("handler"), error.clone()]),
            Doing::Listen(listening) => {
                let flags = |flags: &[bool]| list(flags.iter().map(|&flag| Val::Bool(flag)));
                let pair = |(name, val): &(String, Val)| list([text(name), val.clone()]);
                list([
                    text("listen"),
                    list(listening.heard.iter().cloned()),
                    flags(&listening.met),
                    flags(&listening.until_met),
                    list(listening.expected.iter().map(pair)),
                    list(listening.item.iter().cloned()),
                    number(listening.index),
                    flags(&[listening.processed, listening.complete]),
                ])
            }
        }
    }

    /// A phase is `[name, …]`.
    fn phase(&mut self, phase: &Phase) -> Val {
        match phase {
            Phase::Start => list([text("start")]),
            Phase::Prepare => list([text("prepare")]),
            Phase::Next => list([text("next")]),
            Phase::Iterate => list([text("iterate")]),
            Phase::Leave => list([text("leave")]),
            Phase::Listen => list([text("listen")]),
            Phase::Heard => list([text("heard")]),
            Phase::Enter(current) => list([text("enter"), self.current(current)]),
            Phase::Begin { current, input } => {
                list([text("begin"), self.current(current), self.index(input)])
            }
            Phase::Clock { subject, then } => {
                list([text("clock"), text(subject.name()), self.phase(then)])
            }
            Phase::Timer {
                current,
                input,
                timer: due,
            } => list([
                text("timer"),
                self.current(current),
                self.index(input),
                timer(due),
            ]),
            Phase::Effect {
                current,
                input,
                need,
                seq,
            } => list([
                text("effect"),
                self.current(current),
                self.index(input),
                object(vec![
                    ("idempotency", text(&need.idempotency.hex())),
                    ("policy", text(need.policy.name())),
                    ("request", need.request.val().clone()),
                    ("seq", number(*seq)),
                    ("skill", text(&need.skill)),
                ]),
            ]),
            Phase::Answered {
                current,
                input,
                answer,
            } => list([
                text("answered"),
                self.current(current),
                self.index(input),
                answer.as_ref().map_or(Val::Null, |datum| self.index(datum)),
                answer.as_ref().err().map_or(Val::Null, problem),
            ]),
            Phase::Attempt => list([text("attempt")]),
            Phase::Unwind(fault) => list([text("unwind"), problem(fault)]),
            Phase::Caught(fault) => list([text("caught"), problem(fault)]),
            Phase::Backoff { fault, timer: due } => {
                list([text("backoff"), problem(fault), timer(due)])
            }
            Phase::Retry { fault, delay_ms } => {
                list([text("retry"), problem(fault), number(*delay_ms)])
            }
            Phase::Join { current, input } => {
                list([text("join"), self.current(current), self.index(input)])
            }
            Phase::Cancel {
                rule,
                activation,
                then,
            } => list([
                text("cancel"),
                text(rule.name()),
                text(activation),
                self.phase(then),
            ]),
            Phase::Joined {
                current,
                input,
                winner,
            } => list([
                text("joined"),
                self.current(current),
                self.index(input),
                winner.map_or(Val::Null, |winner| number(winner as u64)),
            ]),
            Phase::Absorbed {
                current,
                input,
                output,
                context,
            } => list([
                text("absorbed"),
                self.current(current),
                self.index(input),
                self.index(output),
                context
                    .as_ref()
                    .map_or(Val::Null, |datum| self.index(datum)),
            ]),
            Phase::Expired { deadline } => list([text("expired"), self.deadline(deadline)]),
            Phase::Done(LaneEnd::Well) => list([text("done")]),
            Phase::Done(LaneEnd::End) => list([text("done-end")]),
            Phase::Done(LaneEnd::Faulted(fault)) => list([text("done-faulted"), problem(fault)]),
            Phase::Finish(Finish::Well) => list([text("finish")]),
            Phase::Finish(Finish::Faulted(fault)) => list([text("finish-faulted"), problem(fault)]),
            Phase::Finish(Finish::Cancelled(fault)) => {
                list([text("finish-cancelled"), problem(fault)])
            }
            Phase::Ended(Ended::Completed(value)) => list([text("completed"), value.val().clone()]),
            Phase::Ended(Ended::Faulted(value)) => list([text("faulted"), value.val().clone()]),
            Phase::Ended(Ended::Cancelled(value)) => list([text("cancelled"), value.val().clone()]),
        }
    }
}

fn problem(fault: &Fault) -> Val {
    fault.problem().val().clone()
}

fn timer(timer: &Timer) -> Val {
    list([
        number(timer.seq),
        number(timer.duration_ms),
        number(timer.due_ms),
    ])
}

fn saved_datum(datum: &Datum) -> Val {
    match datum.place() {
        Some(place) if place.kept => object(vec![
            ("seq", number(place.seq)),
            ("slot", number(place.slot.into())),
        ]),
        Some(place) => object(vec![
            ("salt", text(&hex(&place.salt))),
            ("seq", number(place.seq)),
            ("slot", number(place.slot.into())),
            ("value", datum.value().val().clone()),
        ]),
        None => object(vec![("json", datum.value().val().clone())]),
    }
}

/// A value that the history names and does not store.
fn unkept(value: Value, seq: u64, slot: u8, salt: &Val) -> Result<(Value, Place), StateError> {
    let salt: [u8; 16] = from_hex(&as_text(salt)?).ok_or_else(|| bad("salt"))?;
    let name = ValueRef::of(VALUE_JSON, &salt, value.canonical());
    let place = Place {
        seq,
        slot,
        salt,
        name,
        kept: false,
    };
    Ok((value, place))
}

struct Loader {
    table: Vec<Datum>,
}

impl Loader {
    fn datum(&self, index: &Val) -> Result<Datum, StateError> {
        self.table
            .get(as_usize(index)?)
            .cloned()
            .ok_or_else(|| bad("value not in the table"))
    }

    fn maybe(&self, index: &Val) -> Result<Option<Datum>, StateError> {
        match index {
            Val::Null => Ok(None),
            index => self.datum(index).map(Some),
        }
    }

    fn lane(&self, saved: &Val) -> Result<Lane, StateError> {
        let branch = match field(saved, "branch")? {
            Val::Null => None,
            branch => Some(Branch {
                parent: as_u64(field(branch, "parent")?)?,
                task: as_usize(field(branch, "task")?)?,
                number: as_usize(field(branch, "number")?)?,
            }),
        };
        Ok(Lane {
            id: as_u64(field(saved, "id")?)?,
            branch,
            levels: each(field(saved, "levels")?, as_text)?,
            plain: as_bool(field(saved, "plain")?)?,
            vars: each(field(saved, "vars")?, named)?,
            phase: self.phase(field(saved, "phase")?)?,
            frames: each(field(saved, "frames")?, |frame| self.frame(frame))?,
            data: self.datum(field(saved, "data")?)?,
            context: self.datum(field(saved, "context")?)?,
            steps: as_u64(field(saved, "steps")?)?,
            waited_ms: as_u64(field(saved, "waited_ms")?)?,
            budget: match field(saved, "budget")? {
                Val::Null => None,
                budget => Some(as_u64(budget)?),
            },
            spent: as_u64(field(saved, "spent")?)?,
            workflow_started: as_time(field(saved, "started")?)?,
            now: as_time(field(saved, "now")?)?,
            deadlines: each(field(saved, "deadlines")?, |one| self.deadline(one))?,
        })
    }

    fn deadline(&self, saved: &Val) -> Result<Deadline, StateError> {
        let timed = match field(saved, "timed")? {
            Val::Null => Timed::Workflow,
            Val::TStr(_) => Timed::Attempt {
                activation: as_text(field(saved, "timed")?)?,
            },
            step => Timed::Step {
                current: self.current(field(step, "current")?)?,
                input: self.datum(field(step, "input")?)?,
            },
        };
        Ok(Deadline {
            timer: as_timer(field(saved, "timer")?)?,
            depth: as_usize(field(saved, "depth")?)?,
            timed,
        })
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
        Ok(Frame {
            owner,
            input: self.datum(field(saved, "input")?)?,
            at: as_usize(field(saved, "at")?)?,
            visits: each(field(saved, "visits")?, as_u64)?,
            doing: self.doing(field(saved, "doing")?)?,
        })
    }

    fn phase(&self, saved: &Val) -> Result<Phase, StateError> {
        let parts = as_array(saved)?;
        let name = as_text(parts.first().ok_or_else(|| bad("a phase without name"))?)?;
        let part = |n: usize| parts.get(n).ok_or_else(|| bad("a phase that is cut"));
        let current = || self.current(part(1)?);
        let input = || self.datum(part(2)?);
        Ok(match name.as_str() {
            "start" => Phase::Start,
            "prepare" => Phase::Prepare,
            "next" => Phase::Next,
            "iterate" => Phase::Iterate,
            "leave" => Phase::Leave,
            "listen" => Phase::Listen,
            "heard" => Phase::Heard,
            "enter" => Phase::Enter(current()?),
            "begin" => Phase::Begin {
                current: current()?,
                input: input()?,
            },
            "clock" => Phase::Clock {
                subject: as_subject(part(1)?)?,
                then: Box::new(self.phase(part(2)?)?),
            },
            "timer" => Phase::Timer {
                current: current()?,
                input: input()?,
                timer: as_timer(part(3)?)?,
            },
            "effect" => self.effect(current()?, input()?, part(3)?)?,
            "answered" => Phase::Answered {
                current: current()?,
                input: input()?,
                answer: match self.maybe(part(3)?)? {
                    Some(datum) => Ok(datum),
                    None => Err(as_fault(part(4)?)?),
                },
            },
            "attempt" => Phase::Attempt,
            "unwind" => Phase::Unwind(as_fault(part(1)?)?),
            "caught" => Phase::Caught(as_fault(part(1)?)?),
            "backoff" => Phase::Backoff {
                fault: as_fault(part(1)?)?,
                timer: as_timer(part(2)?)?,
            },
            "retry" => Phase::Retry {
                fault: as_fault(part(1)?)?,
                delay_ms: as_u64(part(2)?)?,
            },
            "join" => Phase::Join {
                current: current()?,
                input: input()?,
            },
            "cancel" => {
                let rule = as_text(part(1)?)?;
                Phase::Cancel {
                    rule: Rule::ALL
                        .into_iter()
                        .find(|known| known.name() == rule)
                        .ok_or_else(|| bad("unknown rule"))?,
                    activation: as_text(part(2)?)?,
                    then: Box::new(self.phase(part(3)?)?),
                }
            }
            "joined" => Phase::Joined {
                current: current()?,
                input: input()?,
                winner: match part(3)? {
                    Val::Null => None,
                    winner => Some(as_usize(winner)?),
                },
            },
            "absorbed" => Phase::Absorbed {
                current: current()?,
                input: input()?,
                output: self.datum(part(3)?)?,
                context: self.maybe(part(4)?)?,
            },
            "expired" => Phase::Expired {
                deadline: self.deadline(part(1)?)?,
            },
            "done" => Phase::Done(LaneEnd::Well),
            "done-end" => Phase::Done(LaneEnd::End),
            "done-faulted" => Phase::Done(LaneEnd::Faulted(as_fault(part(1)?)?)),
            "finish" => Phase::Finish(Finish::Well),
            "finish-faulted" => Phase::Finish(Finish::Faulted(as_fault(part(1)?)?)),
            "finish-cancelled" => Phase::Finish(Finish::Cancelled(as_fault(part(1)?)?)),
            "completed" => Phase::Ended(Ended::Completed(json(part(1)?)?)),
            "faulted" => Phase::Ended(Ended::Faulted(json(part(1)?)?)),
            "cancelled" => Phase::Ended(Ended::Cancelled(json(part(1)?)?)),
            _ => return Err(bad("unknown phase")),
        })
    }

    fn doing(&self, saved: &Val) -> Result<Doing, StateError> {
        let parts = as_array(saved)?;
        let part = |n: usize| parts.get(n).ok_or_else(|| bad("a block that is cut"));
        let flag = |n: usize| {
            let flags = as_array(part(7)?)?;
            flags.get(n).ok_or_else(|| bad("a flag is missing"))
        };
        Ok(match as_text(part(0)?)?.as_str() {
            "block" => Doing::Block,
            "loop" => Doing::Loop {
                items: match part(1)? {
                    Val::Arr(items) => items.clone(),
                    _ => return Err(bad("items are no array")),
                },
                index: as_u64(part(2)?)?,
            },
            "try" => Doing::Try {
                attempt: as_u64(part(1)?)?,
                since: as_time(part(2)?)?,
                context: self.datum(part(3)?)?,
            },
            "handler" => Doing::Handler {
                error: part(1)?.clone(),
            },
            "listen" => Doing::Listen(Box::new(Listening {
                heard: as_array(part(1)?)?.to_vec(),
                met: each(part(2)?, as_bool)?,
                until_met: each(part(3)?, as_bool)?,
                expected: each(part(4)?, named)?,
                item: as_array(part(5)?)?.first().cloned(),
                index: as_u64(part(6)?)?,
                processed: as_bool(flag(0)?)?,
                complete: as_bool(flag(1)?)?,
            })),
            _ => return Err(bad("unknown block")),
        })
    }

    fn effect(&self, current: Current, input: Datum, saved: &Val) -> Result<Phase, StateError> {
        let policy = match as_text(field(saved, "policy")?)?.as_str() {
            "retry" => Policy::Retry,
            "hold" => Policy::Hold,
            _ => return Err(bad("unknown policy")),
        };
        let need = EffectNeed {
            activation: current.activation.clone(),
            skill: as_text(field(saved, "skill")?)?,
            request: json(field(saved, "request")?)?,
            policy,
            idempotency: Digest::from_hex(&as_text(field(saved, "idempotency")?)?)
                .ok_or_else(|| bad("digest"))?,
        };
        Ok(Phase::Effect {
            input,
            current,
            need,
            seq: as_u64(field(saved, "seq")?)?,
        })
    }
}

fn bad(why: &str) -> StateError {
    StateError(why.into())
}

fn list(items: impl IntoIterator<Item = Val>) -> Val {
    items.into_iter().collect()
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

fn json(value: &Val) -> Result<Value, StateError> {
    Value::from_val(value).map_err(|error| bad(&error.to_string()))
}

fn as_array(value: &Val) -> Result<&[Val], StateError> {
    match value {
        Val::Arr(items) => Ok(items),
        _ => Err(bad("not an array")),
    }
}

fn each<T>(
    value: &Val,
    read: impl FnMut(&Val) -> Result<T, StateError>,
) -> Result<Vec<T>, StateError> {
    as_array(value)?.iter().map(read).collect()
}

fn named(value: &Val) -> Result<(String, Val), StateError> {
    match as_array(value)? {
        [name, val] => Ok((as_text(name)?, val.clone())),
        _ => Err(bad("no name and value")),
    }
}

fn as_bool(value: &Val) -> Result<bool, StateError> {
    match value {
        Val::Bool(value) => Ok(*value),
        _ => Err(bad("not a truth value")),
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

fn as_timer(value: &Val) -> Result<Timer, StateError> {
    match as_array(value)? {
        [seq, duration_ms, due_ms] => Ok(Timer {
            seq: as_u64(seq)?,
            duration_ms: as_u64(duration_ms)?,
            due_ms: as_u64(due_ms)?,
        }),
        _ => Err(bad("no timer")),
    }
}

fn as_subject(value: &Val) -> Result<Subject, StateError> {
    match as_text(value)?.as_str() {
        "now" => Ok(Subject::Now),
        "workflow.startedAt" => Ok(Subject::WorkflowStarted),
        "task.startedAt" => Ok(Subject::TaskStarted),
        _ => Err(bad("unknown subject")),
    }
}

fn as_fault(value: &Val) -> Result<Fault, StateError> {
    Fault::from_problem(&json(value)?).ok_or_else(|| bad("fault"))
}
