//! The budget of a Rust workflow's run: as in documents, a call that may cost more than is left is a DECISION, and is not made.

use super::{Context, slot};
use crate::chain::Datum;
use crate::error::Error;
use crate::fault::Fault;
use crate::machine::{beyond, refused};
use crate::value::Value;
use aos_format::event::Event;
use aos_format::frame::Kind;

/// What a run may spend, and has.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Purse {
    pub budget: Option<u64>,
    pub spent: u64,
}

impl Context<'_> {
    /// The fault of a call that the budget forbids, on record.
    pub(super) fn over_budget(
        &mut self,
        activation: &str,
        skill: &str,
        request: &Value,
    ) -> Result<Option<Fault>, Error> {
        let Some(budget) = self.purse.budget else {
            return Ok(None);
        };
        let estimate = self.engine.skills().estimate(skill, request);
        let Some(refusal) = beyond(skill, budget, self.purse.spent, estimate) else {
            return Ok(None);
        };
        // What is not a history event stands before it.
        self.pass_notes();
        let mut naming = self.chain.naming(Kind::Decision);
        let inputs = Datum::fresh(refusal.inputs);
        let inputs = self
            .chain
            .name(&mut naming, slot(Kind::Decision, "inputs"), &inputs);
        let event = Event::Decision(refused(activation, refusal.subject, inputs));
        let emission = self.chain.emit(naming, &event, Vec::new());
        self.put(emission)?;
        Ok(Some(refusal.fault.at(activation)))
    }

    /// Adds what an effect cost.
    pub(super) fn charge(
        &mut self,
        skill: &str,
        request: &Value,
        answer: Result<&Value, &Fault>,
    ) -> u64 {
        let cost = self.engine.skills().cost(skill, request, answer);
        self.purse.spent = self.purse.spent.saturating_add(cost);
        cost
    }
}
