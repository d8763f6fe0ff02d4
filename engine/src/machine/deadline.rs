//! Timers and timeouts: a wait that is the step, or one that races with it.

use super::Machine;
use super::scope::Scope;
use super::state::{Current, Deadline, Finish, Phase, Rule, Timed, Timer};
use super::step::Done;
use crate::chain::{Datum, Emission};
use crate::fault::{Code, Fault};
use aos_format::event::{Decision, Event, Intent};
use aos_format::frame::Kind;

impl Machine {
    /// INTENT of a timer in the lane in hand; `effect` is `timer` or `timeout`.
    pub(super) fn timer_intent(
        &mut self,
        effect: &str,
        activation: String,
        duration_ms: u64,
    ) -> (Emission, Timer) {
        let event = Event::Intent(Intent {
            activation,
            attempt: 1,
            effect: effect.into(),
            request: None,
            idempotency: None,
            policy: "retry".into(),
            duration_ms: Some(duration_ms),
            authorised: Vec::new(),
        });
        let naming = self.chain.naming(Kind::Intent);
        let emission = self.chain.emit(naming, &event, Vec::new());
        let timer = Timer {
            seq: emission.seq,
            duration_ms,
            due_ms: self.state.lane().waited_ms.saturating_add(duration_ms),
        };
        (emission, timer)
    }

    /// The step waits.
    pub(super) fn set_timer(
        &mut self,
        current: Current,
        input: Datum,
        duration_ms: u64,
    ) -> Emission {
        let activation = current.activation.clone();
        let (emission, timer) = self.timer_intent("timer", activation, duration_ms);
        self.state.lane_mut().phase = Phase::Timer {
            current,
            input,
            timer,
        };
        emission
    }

    /// The step's timeout begins to run, if it has one; then the step begins.
    pub(super) fn time_step(&mut self, current: Current, input: Datum) -> Option<Emission> {
        let definition = self.definition.clone();
        let Some(after) = &definition.tasks[current.task].timeout else {
            self.state.lane_mut().phase = Phase::Begin { current, input };
            return None;
        };
        let data = input.value().clone();
        let scope = Scope {
            current: Some(&current),
            input: Some(data.val()),
            now: current.now,
            ..Scope::default()
        };
        match after.milliseconds(|template| self.fill(template, data.val(), scope)) {
            Err(fault) => self.fault(current, Some(input), fault),
            Ok(duration_ms) => {
                let timed = Timed::Step {
                    current: current.clone(),
                    input: input.clone(),
                };
                let activation = current.activation.clone();
                let emission = self.run_deadline(timed, activation, duration_ms);
                self.state.lane_mut().phase = Phase::Begin { current, input };
                Some(emission)
            }
        }
    }

    /// INTENT of a timeout of what begins in the innermost block.
    pub(super) fn run_deadline(
        &mut self,
        timed: Timed,
        activation: String,
        duration_ms: u64,
    ) -> Emission {
        let (emission, timer) = self.timer_intent("timeout", activation, duration_ms);
        let lane = self.state.lane_mut();
        let depth = lane.frames.len();
        lane.deadlines.push(Deadline {
            timer,
            depth,
            timed,
        });
        emission
    }

    /// A timer of the lane in hand is due.
    pub(super) fn fired(&mut self, seq: u64) -> Option<Emission> {
        let lane = self.state.lane_mut();
        if let Some(at) = lane.deadlines.iter().position(|one| one.timer.seq == seq) {
            let deadline = lane.deadlines.remove(at);
            return Some(self.expire(deadline));
        }
        match std::mem::replace(&mut lane.phase, Phase::Next) {
            Phase::Timer {
                current,
                input,
                timer,
            } => {
                lane.waited_ms = lane.waited_ms.max(timer.due_ms);
                let raw = input.clone();
                self.complete(current, Done::plain(input, raw))
            }
            Phase::Backoff { fault, timer } => {
                self.backed_off(fault, timer);
                None
            }
            phase => unreachable!("an answer was matched with its wait: {phase:?}"),
        }
    }

    /// DECISION: time is over. What runs below is cancelled, then what was timed fails.
    fn expire(&mut self, deadline: Deadline) -> Emission {
        let activation = deadline.timed.activation().to_owned();
        let event = Event::Decision(Decision {
            activation: activation.clone(),
            subject: "timeout".into(),
            rule: "timeout".into(),
            rule_version: 1,
            inputs: None,
            verdict: "expired".into(),
            value: None,
            actor: String::new(),
            key_id: String::new(),
        });
        let abandoned = match &self.state.lane().phase {
            Phase::Effect { need, .. } => self.skills.estimate(&need.skill, &need.request),
            _ => 0,
        };
        let lane = self.state.lane_mut();
        lane.spent = lane.spent.saturating_add(abandoned);
        lane.waited_ms = lane.waited_ms.max(deadline.timer.due_ms);
        lane.phase = Phase::Cancel {
            rule: Rule::Timeout,
            activation,
            then: Box::new(Phase::Expired { deadline }),
        };
        let naming = self.chain.naming(Kind::Decision);
        self.chain.emit(naming, &event, Vec::new())
    }

    pub(super) fn expired(&mut self, deadline: Deadline) -> Option<Emission> {
        let detail = format!("not done within {} ms", deadline.timer.duration_ms);
        let fault = Fault::new(Code::Timeout, detail);
        let lane = self.state.lane_mut();
        lane.frames.truncate(deadline.depth);
        lane.deadlines.retain(|other| other.depth < deadline.depth);
        match deadline.timed {
            Timed::Workflow => {
                self.end_run(Finish::Faulted(fault.at("/")));
                None
            }
            Timed::Step { current, input } => self.fault(current, Some(input), fault),
            Timed::Attempt { .. } => {
                let owner = lane.frames.last().and_then(|frame| frame.owner.as_ref());
                let at = owner.map(|owner| self.definition.tasks[owner.task].reference.clone());
                lane.phase = Phase::Unwind(fault.at(at.as_deref().unwrap_or("/")));
                None
            }
        }
    }
}
