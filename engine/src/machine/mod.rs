//! The machine: a workflow document as a pure function from answers to events.
//!
//! ```text
//!            ┌──────────────── advance(given, limit) ─────────────────┐
//!  Given ───>│ lane 0:  Start ─> Prepare ─> Next ─> Enter ─> … ─> Finish │──> events (in order), and what it waits for
//!            │ lane n:  Next ─> Enter ─> … ─> Done                    │
//!            └────────────────────────────────────────────────────────┘
//!
//!  phase     does                                                      then
//!  Start     emits START                                               Prepare
//!  Prepare   input.from, input.schema; the workflow's timeout          Next
//!  Next      picks the block's next step, or ends the block            Enter | Iterate | Leave | Heard | Finish | Done
//!  Enter     TIME events; if; input.schema, input.from                 Next | Begin
//!  Begin     the step itself; its timeout's INTENT before              Next | Timer | Effect | Join | Listen | Unwind
//!  Iterate   for: while; the next item                                 Next | Leave
//!  Leave     completes a block's own step                              Next | Unwind
//!  Timer     waits; the step completes                                 Next
//!  Effect    waits; RESULT or DECISION                                 Answered | Effect
//!  Answered  the step completes or fails                               Next | Unwind
//!  Unwind    leaves blocks until a try catches the fault               Caught | Finish | Done
//!  Caught    retry: its INTENT or DECISION; or the handler             Backoff | Retry | Next | Unwind
//!  Backoff   waits                                                     Retry
//!  Retry     DECISION; the try begins again from its own input         Next
//!  Join      waits for branches                                        Cancel | Joined
//!  Cancel    a DECISION in each lane below, which ends it              what was to come
//!  Joined    JOIN                                                      Absorbed | Unwind | Finish
//!  Absorbed  the fork's step completes                                 Next
//!  Listen    waits; SIGNAL                                             Heard
//!  Heard     foreach; until                                            Next | Listen | Leave
//!  Expired   a timeout fired and its DECISION is written               Unwind | Finish
//!  Done      a branch has ended and waits to be joined
//!  Finish    output.as, output.schema; END                             Ended
//! ```
//!
//! It reads no clock, does no I/O and draws nothing but from the run's seeded streams. What it needs from outside it asks
//! for; whoever drives it writes the events down *before* acting on the need. Replay drives the same machine with the
//! answers that are on record. Every transition that emits returns at once, so the state after the n-th event is always the
//! same, wherever a caller pauses.
//!
//! **Lanes.** Lanes take turns in the order of the tree they form, one event a turn. An answer is taken only when every lane
//! waits: computing takes no time, so what a lane computes never races with an answer that another one gets. What arrives
//! from outside has an order of its own, and the record has it.

mod blocks;
mod catch;
mod deadline;
mod effects;
mod lanes;
mod listen;
mod process;
mod refusal;
mod save;
mod scope;
mod state;
mod step;
mod substitute;
mod time;

pub(crate) use refusal::{beyond, budget_flag, refused};
pub use save::StateError;
pub use substitute::Substitute;

use crate::chain::{Chain, Datum, Emission, Naming, Place, Recording};
use crate::fault::{Code, Fault};
use crate::skill::{Policy, Skills};
use crate::value::{Val, Value, ValueError};
use crate::workflow::Definition;
use aos_format::digest::Digest;
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_format::offset::Stride;
use state::{Phase, State};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Version of what documents mean. START records it; an engine refuses others by name.
pub const SEMANTICS: u64 = 1;

/// Most steps a run takes unless its document says otherwise: 10 million.
pub const STEPS_MAX: u64 = 10_000_000;

/// The effect that publishes what `emit` says; its request is the event in CloudEvents' JSON format.
pub const EMIT: &str = "event_emit";

/// The effect that runs another workflow. Its request names the document by digest, as it was settled when the run started.
pub const RUN_WORKFLOW: &str = "workflow_run";

/// What the machine waits for.
#[derive(Clone, Debug)]
pub enum Need {
    /// Nothing: the limit of events was reached. Call again.
    More,
    /// Any of these, one at a time. They stand in the order of their lanes.
    Waits(Vec<Wait>),
    /// Nothing more, ever.
    Ended(Ended),
}

/// One thing that a lane waits for.
#[derive(Clone, Debug)]
pub struct Wait {
    /// The lane.
    pub lane: u64,
    /// Number of its INTENT in the run's stream; 0 for what has none.
    pub seq: u64,
    /// What it is.
    pub what: Waiting,
}

/// What a lane can wait for.
#[derive(Clone, Debug)]
pub enum Waiting {
    /// A reading of the clock.
    Clock(Subject),
    /// A timer; its INTENT is among the events.
    Timer {
        /// Duration.
        duration_ms: u64,
        /// When it is due, in milliseconds of waiting since the run began.
        due_ms: u64,
        /// What it times out, when it is a timeout: an activation, or empty for the whole run.
        expires: Option<String>,
    },
    /// An effect; its INTENT is among the events.
    Effect(EffectNeed),
    /// An event that [`Machine::accepts`] for this lane.
    Event {
        /// The listening step.
        activation: String,
    },
    /// Somebody who resumes the run.
    Resumption,
}

impl Need {
    /// The only thing waited for, if it is one.
    pub fn only(&self) -> Option<&Wait> {
        match self {
            Need::Waits(waits) if waits.len() == 1 => waits.first(),
            _ => None,
        }
    }
}

/// What of the clock is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// The time now.
    Now,
    /// When the run started.
    WorkflowStarted,
    /// When the current step started.
    TaskStarted,
}

impl Subject {
    /// Name in TIME events.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Now => "now",
            Subject::WorkflowStarted => "workflow.startedAt",
            Subject::TaskStarted => "task.startedAt",
        }
    }
}

/// An effect to perform.
#[derive(Clone, Debug)]
pub struct EffectNeed {
    /// Which occurrence of which step.
    pub activation: String,
    /// Skill.
    pub skill: String,
    /// Request.
    pub request: Value,
    /// What an unknown outcome leads to.
    pub policy: Policy,
    /// Idempotency key.
    pub idempotency: Digest,
}

/// An answer and what it is the answer to.
#[derive(Clone, Debug)]
pub struct Given {
    /// The lane that waits; none means the first one that waits for such an answer.
    pub lane: Option<u64>,
    /// Number of the INTENT, where the wait has one.
    pub seq: Option<u64>,
    /// The answer.
    pub answer: Answer,
}

impl Given {
    /// The answer to that wait.
    pub fn to(wait: &Wait, answer: Answer) -> Given {
        Given {
            lane: Some(wait.lane),
            seq: Some(wait.seq).filter(|&seq| seq > 0),
            answer,
        }
    }
}

impl From<Answer> for Given {
    fn from(answer: Answer) -> Given {
        Given {
            lane: None,
            seq: None,
            answer,
        }
    }
}

/// An answer to a [`Wait`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// The clock, nanoseconds since 1970.
    Clock(i64),
    /// The timer is due.
    Fired,
    /// The effect answered, or failed.
    Effect(Result<Value, Fault>),
    /// Somebody decided about an effect whose outcome is unknown.
    Resolved(Resolution),
    /// An event arrived, in CloudEvents' JSON format; `actor` sent it.
    Event {
        /// The event.
        event: Value,
        /// Who sent it.
        actor: String,
    },
    /// Somebody steers the run. It fits whatever the run waits for.
    Control(Control, String),
}

/// How a run is steered from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// Ends the run.
    Cancel,
    /// Halts it: answers of effects under way are still taken, nothing else happens.
    Suspend,
    /// Goes on.
    Resume,
}

impl Control {
    /// All of them.
    pub const ALL: [Control; 3] = [Control::Cancel, Control::Suspend, Control::Resume];

    /// Type of its SIGNAL.
    pub fn signal_type(self) -> &'static str {
        match self {
            Control::Cancel => "aos.cancel",
            Control::Suspend => "aos.suspend",
            Control::Resume => "aos.resume",
        }
    }
}

/// A decision about an effect whose outcome is unknown.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolution {
    /// What is decided.
    pub verdict: Verdict,
    /// Who decided.
    pub actor: String,
}

/// What can be decided about an unknown outcome.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// It happened, and answered this.
    Result(Value),
    /// It failed for good.
    Failed,
    /// Do it again.
    Retry,
}

impl Verdict {
    /// Name in DECISION events.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Result(_) => "result",
            Verdict::Failed => "failed",
            Verdict::Retry => "retry",
        }
    }
}

/// How a run ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Ended {
    /// With an output.
    Completed(Value),
    /// With an uncaught fault, as problem details.
    Faulted(Value),
    /// On request; problem details say whose.
    Cancelled(Value),
}

/// What START records besides the document, and does not change during the run.
#[derive(Clone, Debug)]
pub struct StartInfo {
    /// Key the run was started under; not hashed.
    pub key: String,
    /// Generation of the key, from 0; not hashed.
    pub generation: u64,
    /// Commitment of the root seed; not hashed.
    pub root_seed: Digest,
    /// Digests of the documents that the run's `run: workflow` name, by `NAMESPACE/NAME/VERSION`.
    pub pins: BTreeMap<String, Digest>,
    /// Units that its effects may cost together; START records it as the behaviour `budget=N`.
    pub budget: Option<u64>,
}

/// Most bytes of values in one record of a log of that stride: its record limit less room for the record itself.
pub fn value_limit(stride: Stride) -> u64 {
    let limit = stride.record_limit();
    limit - (limit / 2).min(16 << 10)
}

/// A run of a workflow document.
#[derive(Debug)]
pub struct Machine {
    definition: Arc<Definition>,
    skills: Arc<Skills>,
    info: StartInfo,
    chain: Chain,
    state: State,
    runtime: Val,
    value_limit: u64,
    substitutes: BTreeMap<String, Substitute>,
}

impl Machine {
    /// A run that has not begun. `stride` is that of the log it is recorded in: a step whose values do not fit into one of
    /// its records fails.
    pub fn new(
        definition: Arc<Definition>,
        skills: Arc<Skills>,
        chain: Chain,
        info: StartInfo,
        input: Value,
        stride: Stride,
    ) -> Machine {
        Machine {
            state: State::new(Datum::fresh(input), info.budget),
            runtime: scope::runtime(),
            value_limit: value_limit(stride),
            substitutes: BTreeMap::new(),
            definition,
            skills,
            info,
            chain,
        }
    }

    /// Whether the values among `data` that are not recorded yet fit into one record.
    fn fits(&self, data: &[&Datum]) -> Result<(), Fault> {
        let fresh = data.iter().filter(|datum| datum.place().is_none());
        let bytes: u64 = fresh
            .map(|datum| datum.value().canonical().len() as u64)
            .sum();
        if bytes > self.value_limit {
            let detail = format!(
                "values of {bytes} bytes exceed the {} that one record of this log takes",
                self.value_limit
            );
            return Err(Fault::new(Code::BudgetExceeded, detail));
        }
        Ok(())
    }

    /// The chain of the run's history.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Stores values in records made from now on as `recording` says; [`Recording::Values`] unless told.
    pub fn set_recording(&mut self, recording: Recording) {
        self.chain.set_recording(recording);
    }

    /// As [`Chain::follow`].
    pub fn follow(&mut self, absent: Option<u32>) {
        self.chain.follow(absent);
    }

    /// Notes a record of the stream that advances nothing: a checkpoint or mark.
    pub fn skip_record(&mut self) {
        self.chain.skip_record();
    }

    /// Makes a record that advances nothing, standing on the present head.
    pub fn note(
        &mut self,
        kind: Kind,
        make: impl FnOnce(&mut Chain, &mut Naming, u64) -> Event,
    ) -> Emission {
        assert!(!kind.advances(), "a note never advances a history");
        // A note stands on lane 0.
        self.chain.take(0);
        let mut naming = self.chain.naming(kind);
        let steps = self.steps();
        let event = make(&mut self.chain, &mut naming, steps);
        self.chain.emit(naming, &event, Vec::new())
    }

    /// Replaces the skills the machine calls.
    pub fn set_skills(&mut self, skills: Arc<Skills>) {
        self.skills = skills;
    }

    /// Steps that ended so far, control steps included; in all lanes that have not been joined.
    pub fn steps(&self) -> u64 {
        let lanes = &self.state.lanes;
        lanes.iter().map(|lane| lane.steps).sum()
    }

    /// Milliseconds of waiting on the way to where `lane` stands: how far a virtual clock is ahead.
    pub fn waited_ms(&self, lane: u64) -> u64 {
        let lane = self.state.lanes.iter().find(|known| known.id == lane);
        lane.map_or(0, |lane| lane.waited_ms)
    }

    /// Units that the run's effects cost so far; in all lanes that have not been joined.
    pub fn spent(&self) -> u64 {
        let lanes = &self.state.lanes;
        let spent = lanes.iter().map(|lane| lane.spent);
        spent.fold(0, u64::saturating_add)
    }

    /// What START says beside the history.
    pub fn info(&self) -> &StartInfo {
        &self.info
    }

    /// The run's input as given.
    pub fn input(&self) -> &Value {
        self.state.input.value()
    }

    /// The document.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// The state as canonical JSON, for a checkpoint of this very point.
    ///
    /// # Errors
    /// When the state exceeds the limits of a value; the run then goes on without this checkpoint.
    pub fn save(&self) -> Result<Value, ValueError> {
        self.state.save()
    }

    /// Goes back to a checkpointed state.
    ///
    /// # Errors
    /// [`StateError`]: the state is not one this build can read.
    pub fn restore(
        &mut self,
        saved: &Value,
        chain: Chain,
        load: &mut dyn FnMut(u64, u8) -> Result<(Value, Place), StateError>,
    ) -> Result<(), StateError> {
        let state = State::restore(&self.definition, saved, load)?;
        let known = |id: u64| chain.lanes().iter().any(|head| head.lane == id);
        if state.lanes.len() != chain.lanes().len() || !state.lanes.iter().all(|l| known(l.id)) {
            return Err(StateError("its lanes are not those of the record".into()));
        }
        let recording = self.chain.recording();
        self.state = state;
        self.chain = chain;
        self.chain.set_recording(recording);
        Ok(())
    }

    /// Whether the run has ended, and how.
    pub fn ended(&self) -> Option<&Ended> {
        match &self.state.lanes[0].phase {
            Phase::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// Whether somebody suspended the run.
    pub fn suspended(&self) -> bool {
        self.state.suspended
    }

    /// Skills the machine calls.
    pub fn skills(&self) -> &Arc<Skills> {
        &self.skills
    }

    /// Goes on until every lane waits or `limit` events were made; events are appended to `out` in order.
    ///
    /// `given` must answer one of the waits returned before, `None` after [`Need::More`] and at first.
    ///
    /// # Panics
    /// When the answer does not fit any wait: the caller's mistake, never a matter of what is on disk.
    pub fn advance(&mut self, given: Option<Given>, limit: usize, out: &mut Vec<Emission>) -> Need {
        let full = out.len() + limit;
        if let Some(given) = given {
            out.extend(self.take_answer(given));
        }
        loop {
            if let Some(need) = self.need() {
                return need;
            }
            if out.len() >= full {
                return Need::More;
            }
            self.turn(out);
        }
    }

    /// What lanes wait for already, whether or not others go on.
    pub fn pending(&self) -> Vec<Wait> {
        self.waits()
    }

    /// What the machine waits for now, without going on; none while a lane can.
    pub fn need(&self) -> Option<Need> {
        if let Some(ended) = self.ended() {
            return Some(Need::Ended(ended.clone()));
        }
        if !self.state.suspended && self.state.lanes.iter().any(|lane| self.can_go(lane)) {
            return None;
        }
        Some(Need::Waits(self.waits()))
    }
}

#[cfg(test)]
mod tests;
