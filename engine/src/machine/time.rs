//! Time: every reading of the clock is an answer, and an event before it is used.

use super::state::{Current, Phase};
use super::{Machine, Subject};
use crate::chain::Emission;
use crate::workflow::TimeReads;
use aos_format::event::{Event, Time};
use aos_format::frame::Kind;

impl Machine {
    pub(super) fn ask(&mut self, subject: Subject, then: Phase) -> Option<Emission> {
        self.state.lane_mut().phase = Phase::Clock {
            subject,
            then: Box::new(then),
        };
        None
    }

    /// The first reading that a step of these reads still lacks.
    pub(super) fn missing(&self, current: &Current, reads: TimeReads) -> Option<Subject> {
        if reads.workflow_started && self.state.lane().workflow_started.is_none() {
            Some(Subject::WorkflowStarted)
        } else if reads.task_started && current.started.is_none() {
            Some(Subject::TaskStarted)
        } else if reads.now && current.now.is_none() {
            Some(Subject::Now)
        } else {
            None
        }
    }

    /// The same for a transform that has no step.
    pub(super) fn missing_here(&self, reads: TimeReads) -> Option<Subject> {
        if reads.workflow_started && self.state.lane().workflow_started.is_none() {
            Some(Subject::WorkflowStarted)
        } else if reads.now && self.state.lane().now.is_none() {
            Some(Subject::Now)
        } else {
            None
        }
    }

    pub(super) fn clock_read(&mut self, subject: Subject, mut then: Phase, ns: i64) -> Emission {
        let mut activation = String::new();
        let lane = self.state.lane_mut();
        match (subject, &mut then) {
            (Subject::WorkflowStarted, _) => lane.workflow_started = Some(ns),
            (Subject::TaskStarted, Phase::Enter(current)) => current.started = Some(ns),
            (Subject::Now, Phase::Enter(current)) => current.now = Some(ns),
            (Subject::TaskStarted | Subject::Now, _) => lane.now = Some(ns),
        }
        match &then {
            Phase::Enter(current) => activation.clone_from(&current.activation),
            Phase::Prepare | Phase::Finish(_) => {}
            // What a block needs to know is its own step's question.
            _ => {
                let owner = lane.frames.last().and_then(|frame| frame.owner.as_ref());
                if let Some(owner) = owner {
                    activation.clone_from(&owner.activation);
                }
            }
        }
        lane.phase = then;
        let event = Event::Time(Time {
            activation,
            subject: subject.name().into(),
            time_ns: ns.to_string(),
        });
        let naming = self.chain.naming(Kind::Time);
        self.chain.emit(naming, &event, Vec::new())
    }
}
