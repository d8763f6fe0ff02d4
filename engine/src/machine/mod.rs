//! The machine: a workflow document as a pure function from answers to events.
//!
//! ```text
//!            ┌────────────── advance(answer, limit) ──────────────┐
//!  Answer ──>│ Start ─> Prepare ─> Next ─> Enter ─> … ─> Finish   │──> events (in order) and one Need
//!            └────────────────────────────────────────────────────┘
//!
//!  phase    does                                               then
//!  Start    emits START                                        Prepare
//!  Prepare  reads the clock if asked for; input.from           Next
//!  Next     picks the block's next step, or ends the block     Enter | Iterate | Leave
//!  Enter    TIME events; if; input.from; the step itself       Next | Timer | Effect | Finish
//!  Iterate  for: while; the next item                          Next | Leave
//!  Leave    completes a block's own step                       Next | Finish
//!  Timer    waits; the step completes                          Next
//!  Effect   waits; RESULT or DECISION; the step completes      Next | Finish
//!  Finish   output.as; END                                     Ended
//! ```
//!
//! It reads no clock, does no I/O and draws nothing but from the run's seeded streams. What it needs from outside it asks
//! for; whoever drives it writes the events down *before* acting on the need. Replay drives the same machine with the
//! answers that are on record. Every transition that emits returns at once, so the state after the n-th event is always the
//! same, wherever a caller pauses.

mod blocks;
mod effects;
mod scope;
mod state;
mod step;
mod substitute;
mod time;

pub use state::StateError;
pub use substitute::Substitute;

use crate::chain::{Chain, Datum, Emission, Naming, Place};
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

/// What the machine waits for.
#[derive(Clone, Debug)]
pub enum Need {
    /// Nothing: the limit of events was reached. Call again.
    More,
    /// A reading of the clock.
    Clock(Subject),
    /// A timer of that many milliseconds; its INTENT is among the events.
    Timer {
        /// Duration.
        duration_ms: u64,
    },
    /// An effect; its INTENT is among the events.
    Effect(EffectNeed),
    /// Nothing more, ever.
    Ended(Ended),
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

/// An answer to a [`Need`].
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
            state: State::new(Datum::fresh(input)),
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
        let mut naming = self.chain.naming(kind);
        let steps = self.state.steps;
        let event = make(&mut self.chain, &mut naming, steps);
        self.chain.emit(naming, &event, Vec::new())
    }

    /// Replaces the skills the machine calls.
    pub fn set_skills(&mut self, skills: Arc<Skills>) {
        self.skills = skills;
    }

    /// Steps that ended so far, control steps included.
    pub fn steps(&self) -> u64 {
        self.state.steps
    }

    /// Milliseconds of timers that fired so far: how far a virtual clock is ahead.
    pub fn waited_ms(&self) -> u64 {
        self.state.waited_ms
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
        self.state = State::restore(&self.definition, saved, load)?;
        self.chain = chain;
        Ok(())
    }

    /// Whether the run has ended, and how.
    pub fn ended(&self) -> Option<&Ended> {
        match &self.state.phase {
            Phase::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// What the machine waits for now, without going on.
    pub fn need(&self) -> Option<Need> {
        self.waits(&mut None)
    }

    /// Skills the machine calls.
    pub fn skills(&self) -> &Arc<Skills> {
        &self.skills
    }

    /// Goes on until an answer is needed or `limit` events were made; events are appended to `out` in order.
    ///
    /// `answer` must be the answer to the need returned before, `None` after [`Need::More`] and at first.
    ///
    /// # Panics
    /// When the answer does not fit the need: the caller's mistake, never a matter of what is on disk.
    pub fn advance(
        &mut self,
        answer: Option<Answer>,
        limit: usize,
        out: &mut Vec<Emission>,
    ) -> Need {
        let full = out.len() + limit;
        let mut answer = answer;
        loop {
            if let Some(need) = self.waits(&mut answer) {
                return need;
            }
            if out.len() >= full && answer.is_none() {
                return Need::More;
            }
            if let Some(emission) = self.transition(answer.take()) {
                out.push(emission);
            }
        }
    }

    /// The need of the current phase, unless `answer` fits it.
    fn waits(&self, answer: &mut Option<Answer>) -> Option<Need> {
        match (&self.state.phase, answer.as_ref()) {
            (Phase::Ended(ended), _) => Some(Need::Ended(ended.clone())),
            (Phase::Clock { subject, .. }, None) => Some(Need::Clock(*subject)),
            (Phase::Timer { duration_ms, .. }, None) => Some(Need::Timer {
                duration_ms: *duration_ms,
            }),
            (Phase::Effect { need, .. }, None) => Some(Need::Effect(need.clone())),
            (Phase::Clock { .. }, Some(Answer::Clock(_)))
            | (Phase::Timer { .. }, Some(Answer::Fired))
            | (Phase::Effect { .. }, Some(Answer::Effect(_) | Answer::Resolved(_))) => None,
            (Phase::Clock { .. } | Phase::Timer { .. } | Phase::Effect { .. }, Some(answer)) => {
                panic!("an answer that does not fit the need: {answer:?}")
            }
            (_, None) => None,
            (_, Some(answer)) => panic!("an answer nobody asked for: {answer:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
