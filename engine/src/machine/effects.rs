//! Effects and timers: INTENT before, RESULT or DECISION after.

use super::process::workflow_cost;
use super::state::{Current, Phase};
use super::step::slot;
use super::{Answer, EffectNeed, Machine, RUN_WORKFLOW, Resolution, Verdict};
use crate::chain::{Datum, Emission};
use crate::fault::{Code, Fault};
use crate::value::Value;
use aos_format::event::{Decision, Event, Intent, Result as EffectResult};
use aos_format::frame::Kind;

impl Machine {
    pub(super) fn intend(&mut self, current: Current, input: Datum, need: EffectNeed) -> Emission {
        let mut naming = self.chain.naming(Kind::Intent);
        let request = Datum::fresh(need.request.clone());
        let event = Event::Intent(Intent {
            activation: current.activation.clone(),
            attempt: 1,
            effect: need.skill.clone(),
            request: Some(
                self.chain
                    .name(&mut naming, slot(Kind::Intent, "request"), &request),
            ),
            idempotency: Some(need.idempotency),
            policy: need.policy.name().into(),
            duration_ms: None,
            authorised: Vec::new(),
        });
        let emission = self.chain.emit(naming, &event, Vec::new());
        self.state.lane_mut().phase = Phase::Effect {
            current,
            input,
            need,
            seq: emission.seq,
        };
        emission
    }

    pub(super) fn effect_answered(
        &mut self,
        current: Current,
        input: Datum,
        need: EffectNeed,
        seq: u64,
        answer: Answer,
    ) -> Emission {
        // The record of the answer is one event, the step's completion the next: the answer waits in the phase between.
        match answer {
            Answer::Effect(answer) => self.record_result(current, input, &need, answer),
            Answer::Resolved(resolution) => {
                self.record_resolution(current, input, need, seq, resolution)
            }
            answer => unreachable!("an answer was matched with its wait: {answer:?}"),
        }
    }

    pub(super) fn record_result(
        &mut self,
        current: Current,
        input: Datum,
        need: &EffectNeed,
        answer: Result<Value, Fault>,
    ) -> Emission {
        let mut naming = self.chain.naming(Kind::Result);
        let pointer = self.definition.tasks[current.task].reference.clone();
        let answer = answer.and_then(|value| {
            let datum = Datum::fresh(value);
            self.fits(&[&datum]).map(|()| datum)
        });
        // Of the answer as it is recorded, so that replay comes to the same.
        let cost = self.charge(need, answer.as_ref().map(Datum::value));
        let (response, error, after) = match answer {
            Ok(datum) => {
                let name = self
                    .chain
                    .name(&mut naming, slot(Kind::Result, "response"), &datum);
                (Some(name), None, Ok(datum))
            }
            Err(fault) => {
                let fault = fault.at(&pointer);
                let datum = Datum::fresh(fault.problem());
                let name = self
                    .chain
                    .name(&mut naming, slot(Kind::Result, "error"), &datum);
                (None, Some(name), Err(fault))
            }
        };
        let event = Event::Result(EffectResult {
            activation: current.activation.clone(),
            attempt: 1,
            outcome: if response.is_some() { "ok" } else { "error" }.into(),
            response,
            error,
            cost: (cost > 0).then_some(cost),
        });
        self.state.lane_mut().phase = Phase::Answered {
            current,
            input,
            answer: after,
        };
        self.chain.emit(naming, &event, Vec::new())
    }

    /// Adds what an effect cost to what the run has spent.
    fn charge(&mut self, need: &EffectNeed, answer: Result<&Value, &Fault>) -> u64 {
        let cost = match need.skill.as_str() {
            RUN_WORKFLOW => workflow_cost(&need.request, answer),
            skill => self.skills.cost(skill, &need.request, answer),
        };
        let lane = self.state.lane_mut();
        lane.spent = lane.spent.saturating_add(cost);
        cost
    }

    pub(super) fn record_resolution(
        &mut self,
        current: Current,
        input: Datum,
        need: EffectNeed,
        seq: u64,
        resolution: Resolution,
    ) -> Emission {
        let mut naming = self.chain.naming(Kind::Decision);
        let pointer = self.definition.tasks[current.task].reference.clone();
        let mut value = None;
        let verdict = resolution.verdict.name().to_owned();
        let activation = current.activation.clone();
        self.state.lane_mut().phase = match resolution.verdict {
            Verdict::Retry => Phase::Effect {
                current,
                input,
                need,
                seq,
            },
            Verdict::Failed => {
                let fault = Fault::new(
                    Code::UnknownOutcome,
                    "the effect's outcome was unknown and was resolved as failed",
                );
                Phase::Answered {
                    current,
                    input,
                    answer: Err(fault.at(&pointer)),
                }
            }
            Verdict::Result(answer) => {
                self.charge(&need, Ok(&answer));
                let datum = Datum::fresh(answer);
                value = Some(
                    self.chain
                        .name(&mut naming, slot(Kind::Decision, "value"), &datum),
                );
                Phase::Answered {
                    current,
                    input,
                    answer: Ok(datum),
                }
            }
        };
        let event = Event::Decision(Decision {
            activation,
            subject: "unknown-outcome".into(),
            rule: "resolve".into(),
            rule_version: 1,
            inputs: None,
            verdict,
            value,
            actor: resolution.actor,
            key_id: String::new(),
        });
        self.chain.emit(naming, &event, Vec::new())
    }
}
