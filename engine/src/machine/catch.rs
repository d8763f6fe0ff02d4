//! Faults on their way to a catch, retries, handlers.

use super::scope::{Scope, canonical, object, text};
use super::state::{Current, Deadline, Doing, Finish, LaneEnd, Phase, Timed, Timer};
use super::step::{slot, truth};
use super::{Machine, Subject};
use crate::chain::{Datum, Emission};
use crate::expr::Expr;
use crate::fault::{Code, Fault};
use crate::workflow::{Backoff, Catch, Retry, TaskKind, TimeReads, WAIT_MS_MAX};
use aos_format::event::{Decision, Event};
use aos_format::frame::Kind;

/// What a try does about a fault that it caught.
enum Next {
    Again {
        delay_ms: u64,
    },
    /// No more: the rule that said so.
    Stop(&'static str),
}

impl Machine {
    /// Whether the task is a try that may be done again, so that its attempts are told apart.
    pub(super) fn retries(&self, task: usize) -> bool {
        matches!(&self.definition.tasks[task].kind, TaskKind::Try { catch, .. } if catch.retry.is_some())
    }

    /// Leaves blocks until a try catches the fault, or none is left.
    pub(super) fn unwind(&mut self, fault: Fault) -> Option<Emission> {
        let definition = self.definition.clone();
        loop {
            let lane = self.state.lane();
            let Some(frame) = lane.frames.last() else {
                return self.uncaught(fault);
            };
            let Some(owner) = &frame.owner else {
                return self.uncaught(fault);
            };
            if let (TaskKind::Try { catch, .. }, Doing::Try { .. }) =
                (&definition.tasks[owner.task].kind, &frame.doing)
                && catch.filter.fits(&fault)
            {
                let reads = TimeReads::union(
                    [&catch.when, &catch.except_when].map(|e| e.as_ref().map(|e| e.reads_time())),
                );
                if let Some(subject) = self.missing_here(reads) {
                    return self.ask(subject, Phase::Unwind(fault));
                }
                let owner = owner.clone();
                match self.catches(&owner, catch, &fault) {
                    Ok(true) => {
                        self.state.lane_mut().phase = Phase::Caught(fault);
                        return None;
                    }
                    Ok(false) => {}
                    Err(other) => {
                        let input = self.leave_frame();
                        return self.fault(owner, input, other);
                    }
                }
            }
            self.leave_frame();
        }
    }

    /// Leaves the innermost block, and with it the timeouts within; its owner's input.
    pub(super) fn leave_frame(&mut self) -> Option<Datum> {
        let lane = self.state.lane_mut();
        let frame = lane.frames.pop();
        let depth = lane.frames.len();
        lane.deadlines.retain(|deadline| deadline.depth <= depth);
        frame.map(|frame| frame.input)
    }

    /// The step in the innermost block has ended: so have its timeouts.
    pub(super) fn drop_deadlines(&mut self) {
        let lane = self.state.lane_mut();
        let depth = lane.frames.len();
        lane.deadlines.retain(|deadline| {
            deadline.depth < depth
                || matches!(&deadline.timed, Timed::Attempt { .. } if deadline.depth == depth)
        });
    }

    fn uncaught(&mut self, fault: Fault) -> Option<Emission> {
        let lane = self.state.lane_mut();
        lane.deadlines.clear();
        lane.phase = match lane.branch {
            None => Phase::Finish(Finish::Faulted(fault)),
            Some(_) => Phase::Done(LaneEnd::Faulted(fault)),
        };
        None
    }

    fn catches(&mut self, owner: &Current, catch: &Catch, fault: &Fault) -> Result<bool, Fault> {
        self.conditions(owner, catch, fault, &catch.when, &catch.except_when)
    }

    fn conditions(
        &mut self,
        owner: &Current,
        catch: &Catch,
        fault: &Fault,
        when: &Option<Expr>,
        except_when: &Option<Expr>,
    ) -> Result<bool, Fault> {
        let problem = fault.problem();
        let now = self.state.lane_mut().now.take();
        let input = self.try_input();
        let data = input.value().val().clone();
        let scope = Scope {
            current: Some(owner),
            input: Some(&data),
            error: Some((&catch.as_, problem.val())),
            now,
            ..Scope::default()
        };
        let holds = |expr: &Expr| self.eval(expr, &data, scope).map(|val| truth(&val));
        Ok(when.as_ref().map_or(Ok(true), holds)?
            && !except_when.as_ref().map_or(Ok(false), holds)?)
    }

    fn try_input(&self) -> Datum {
        let frame = self.state.lane().frames.last().expect("inside a try");
        frame.input.clone()
    }

    /// The innermost try caught the fault: what now?
    pub(super) fn caught(&mut self, fault: Fault) -> Option<Emission> {
        let definition = self.definition.clone();
        let frame = self.state.lane().frames.last().expect("inside a try");
        let owner = frame.owner.clone().expect("a try owns its block");
        let TaskKind::Try { catch, .. } = &definition.tasks[owner.task].kind else {
            unreachable!("the innermost block is a try's")
        };
        // Its attempt is over, and so is that one's timeout.
        let lane = self.state.lane_mut();
        let depth = lane.frames.len();
        lane.deadlines.retain(|deadline| deadline.depth < depth);
        let Some(retry) = &catch.retry else {
            self.handle(catch, &fault);
            return None;
        };
        if let Some(subject) = self.missing_here(retry.reads_time()) {
            return self.ask(subject, Phase::Caught(fault));
        }
        match self.again(&owner, catch, retry, &fault) {
            Ok(Next::Again { delay_ms: 0 }) => {
                self.state.lane_mut().phase = Phase::Retry { fault, delay_ms: 0 };
                None
            }
            Ok(Next::Again { delay_ms }) => {
                let activation = self.attempt_activation(&owner);
                let (emission, timer) = self.timer_intent("timer", activation, delay_ms);
                self.state.lane_mut().phase = Phase::Backoff { fault, timer };
                Some(emission)
            }
            Ok(Next::Stop(rule)) => {
                let emission = self.retry_decision(&owner, rule, "stop", 0);
                if catch.has_handler {
                    self.start_handler(catch, &fault);
                } else {
                    self.leave_frame();
                    self.state.lane_mut().phase = Phase::Unwind(fault);
                }
                Some(emission)
            }
            Err(other) => {
                let input = self.leave_frame();
                self.fault(owner, input, other)
            }
        }
    }

    fn handle(&mut self, catch: &Catch, fault: &Fault) {
        if catch.has_handler {
            return self.start_handler(catch, fault);
        }
        // Caught and nothing to do about it: the try gives its input.
        let lane = self.state.lane_mut();
        lane.data = lane.frames.last().expect("inside a try").input.clone();
        lane.phase = Phase::Leave;
    }

    fn start_handler(&mut self, catch: &Catch, fault: &Fault) {
        let lane = self.state.lane_mut();
        let frame = lane.frames.last_mut().expect("inside a try");
        frame.doing = Doing::Handler {
            error: fault.problem().val().clone(),
        };
        frame.at = 0;
        frame.visits = vec![0; catch.handler.len()];
        lane.data = frame.input.clone();
        lane.phase = Phase::Next;
    }

    fn again(
        &mut self,
        owner: &Current,
        catch: &Catch,
        retry: &Retry,
        fault: &Fault,
    ) -> Result<Next, Fault> {
        let now = self.state.lane().now;
        let frame = self.state.lane().frames.last().expect("inside a try");
        let Doing::Try { attempt, since, .. } = frame.doing else {
            unreachable!("only a try's own steps are done again")
        };
        if !self.conditions(owner, catch, fault, &retry.when, &retry.except_when)? {
            return Ok(Next::Stop("when"));
        }
        if retry.count.is_some_and(|count| attempt > count) {
            return Ok(Next::Stop("attempts"));
        }
        let problem = fault.problem();
        let input = self.try_input();
        let data = input.value().val().clone();
        let scope = Scope {
            current: Some(owner),
            input: Some(&data),
            error: Some((&catch.as_, problem.val())),
            now,
            ..Scope::default()
        };
        let ms = |wait: &crate::workflow::Wait| wait.milliseconds(|t| self.fill(t, &data, scope));
        if let (Some(limit), Some(since), Some(now)) = (&retry.duration, since, now)
            && now.saturating_sub(since) >= nanoseconds(ms(limit)?)
        {
            return Ok(Next::Stop("duration"));
        }
        let delay = retry.delay.as_ref().map_or(Ok(0), ms)?;
        let mut delay_ms = match retry.backoff {
            Backoff::Constant => delay,
            Backoff::Linear => delay.saturating_mul(attempt),
            Backoff::Exponential => {
                let factor = u32::try_from(attempt - 1)
                    .ok()
                    .and_then(|n| 1u64.checked_shl(n));
                delay.saturating_mul(factor.unwrap_or(u64::MAX))
            }
        };
        if let Some((from, to)) = &retry.jitter {
            let (from, to) = (ms(from)?, ms(to)?);
            if from > to {
                let detail = format!("the jitter goes from {from} ms down to {to} ms");
                return Err(Fault::new(Code::InvalidInput, detail));
            }
            let activation = self.attempt_activation(owner);
            let mut random = self.chain.seed().stream(&activation, "retry-jitter");
            delay_ms = delay_ms.saturating_add(from + random.below(to - from + 1));
        }
        Ok(Next::Again {
            delay_ms: delay_ms.min(WAIT_MS_MAX),
        })
    }

    /// Activation of the innermost try in its present attempt.
    pub(super) fn attempt_activation(&self, owner: &Current) -> String {
        let (levels, plain) = self.levels(self.state.lane());
        let pointer = &self.definition.tasks[owner.task].pointer;
        if plain && !pointer.contains(';') {
            return pointer.clone();
        }
        format!("{pointer};{}", levels.join(","))
    }

    fn retry_decision(
        &mut self,
        owner: &Current,
        rule: &str,
        verdict: &str,
        delay_ms: u64,
    ) -> Emission {
        let frame = self.state.lane().frames.last().expect("inside a try");
        let attempt = match frame.doing {
            Doing::Try { attempt, .. } => attempt,
            _ => 0,
        };
        let inputs = object(vec![
            ("attempt", text(&attempt.to_string())),
            ("delay_ms", text(&delay_ms.to_string())),
        ]);
        let inputs = Datum::fresh(canonical(&inputs).expect("short texts are canonical"));
        let activation = self.attempt_activation(owner);
        let mut naming = self.chain.naming(Kind::Decision);
        let inputs = self
            .chain
            .name(&mut naming, slot(Kind::Decision, "inputs"), &inputs);
        let event = Event::Decision(Decision {
            activation,
            subject: "retry".into(),
            rule: rule.into(),
            rule_version: 1,
            inputs: Some(inputs),
            verdict: verdict.into(),
            value: None,
            actor: String::new(),
            key_id: String::new(),
        });
        self.chain.emit(naming, &event, Vec::new())
    }

    /// DECISION; the try begins again from its own input and context.
    pub(super) fn retry(&mut self, delay_ms: u64) -> Emission {
        let frame = self.state.lane().frames.last().expect("inside a try");
        let owner = frame.owner.clone().expect("a try owns its block");
        let emission = self.retry_decision(&owner, "policy", "retry", delay_ms);
        let lane = self.state.lane_mut();
        let frame = lane.frames.last_mut().expect("inside a try");
        if let Doing::Try {
            attempt, context, ..
        } = &mut frame.doing
        {
            *attempt += 1;
            lane.context = context.clone();
        }
        frame.at = 0;
        frame.visits.fill(0);
        lane.data = frame.input.clone();
        lane.phase = Phase::Attempt;
        emission
    }

    /// An attempt begins: its timeout first, and the reading that a limit in time needs.
    pub(super) fn attempt(&mut self) -> Option<Emission> {
        let definition = self.definition.clone();
        let frame = self.state.lane().frames.last().expect("inside a try");
        let owner = frame.owner.clone().expect("a try owns its block");
        let retry = match &definition.tasks[owner.task].kind {
            TaskKind::Try { catch, .. } => catch.retry.as_ref(),
            _ => None,
        };
        let Some(retry) = retry else {
            self.state.lane_mut().phase = Phase::Next;
            return None;
        };
        if let Doing::Try { since: None, .. } = frame.doing
            && retry.duration.is_some()
        {
            let Some(now) = self.state.lane_mut().now.take() else {
                return self.ask(Subject::Now, Phase::Attempt);
            };
            let frame = self.state.lane_mut().frames.last_mut().expect("as above");
            if let Doing::Try { since, .. } = &mut frame.doing {
                *since = Some(now);
            }
        }
        let Some(limit) = &retry.attempt_duration else {
            self.state.lane_mut().phase = Phase::Next;
            return None;
        };
        let data = self.try_input().value().clone();
        let scope = Scope {
            current: Some(&owner),
            input: Some(data.val()),
            ..Scope::default()
        };
        match limit.milliseconds(|template| self.fill(template, data.val(), scope)) {
            Ok(duration_ms) => {
                let activation = self.attempt_activation(&owner);
                let timed = Timed::Attempt {
                    activation: activation.clone(),
                };
                let (emission, timer) = self.timer_intent("timeout", activation, duration_ms);
                let lane = self.state.lane_mut();
                let depth = lane.frames.len();
                lane.deadlines.push(Deadline {
                    timer,
                    depth,
                    timed,
                });
                lane.phase = Phase::Next;
                Some(emission)
            }
            Err(fault) => {
                let input = self.leave_frame();
                self.fault(owner, input, fault)
            }
        }
    }

    /// The retry timer fired.
    pub(super) fn backed_off(&mut self, fault: Fault, timer: Timer) {
        let lane = self.state.lane_mut();
        lane.waited_ms = lane.waited_ms.max(timer.due_ms);
        lane.phase = Phase::Retry {
            fault,
            delay_ms: timer.duration_ms,
        };
    }

    /// A try begins its first attempt.
    pub(super) fn trying(&self) -> Doing {
        Doing::Try {
            attempt: 1,
            since: None,
            context: self.state.lane().context.clone(),
        }
    }
}

fn nanoseconds(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}
