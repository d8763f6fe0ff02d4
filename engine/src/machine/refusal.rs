//! Calls that are not begun: what a run's limits forbid is a DECISION in its history, and the step fails of it.
//!
//! The verdict is a function of the lane's state, so replay comes to it again and compares it with the record.
//!
//! **A budget in lanes.** At a fork, what is left is divided equally between the branches; a branch spends its share and no
//! more. So the sum never exceeds the budget, and no branch's refusal depends on how fast another one is. At the join, what the
//! absorbed branches did not spend is there again. Of a branch that was cancelled the whole share is gone: what it had under
//! way may still cost, and nobody will say how much. An effect that was given up when its time was over counts as estimated.

use super::state::{Current, Lane, Phase};
use super::step::slot;
use super::{Machine, StartInfo};
use crate::chain::{Datum, Emission};
use crate::fault::{Code, Fault};
use crate::secret::SecretRef;
use crate::value::{Val, Value, object, text};
use aos_format::digest::Digest;
use aos_format::event::{Decision, Event, ValueRef};
use aos_format::frame::Kind;

/// Name of the behaviour that sets a budget, in START.
const BUDGET: &str = "budget=";

/// Name of the behaviour that says which document another workflow is, in START.
const WORKFLOW: &str = "workflow=";

/// What START records of a budget.
pub(crate) fn budget_flag(units: u64) -> String {
    format!("{BUDGET}{units}")
}

/// Whether a budget forbids a call that may cost `estimate` when `spent` is spent.
pub(crate) fn beyond(skill: &str, budget: u64, spent: u64, estimate: u64) -> Option<Refusal> {
    if spent.checked_add(estimate).is_some_and(|all| all <= budget) {
        return None;
    }
    let units = |n: u64| Val::from(usize::try_from(n).unwrap_or(usize::MAX));
    let inputs = object([
        ("budget", units(budget)),
        ("estimate", units(estimate)),
        ("skill", text(skill)),
        ("spent", units(spent)),
    ]);
    Some(Refusal {
        subject: "budget",
        inputs: Value::from_val(&inputs).expect("numbers and a name are canonical"),
        fault: Fault::new(
            Code::BudgetExceeded,
            format!("{skill} may cost {estimate}; {spent} of {budget} are spent"),
        ),
    })
}

/// The DECISION that a call is not begun.
pub(crate) fn refused(activation: &str, subject: &str, inputs: ValueRef) -> Decision {
    Decision {
        activation: activation.into(),
        subject: subject.into(),
        rule: subject.into(),
        rule_version: 1,
        inputs: Some(inputs),
        verdict: "refused".into(),
        value: None,
        actor: "engine".into(),
        key_id: String::new(),
    }
}

/// Why a call is not begun.
pub(crate) struct Refusal {
    /// What is decided about: `allow` or `budget`.
    pub subject: &'static str,
    /// What the verdict follows from.
    pub inputs: Value,
    /// What the step fails of.
    pub fault: Fault,
}

impl StartInfo {
    /// What START records of the budget alone, of all that [`StartInfo::behaviour`] says.
    pub(crate) fn budget_of(behaviour: &[String]) -> Vec<String> {
        let budget = |flag: &&String| flag.starts_with(BUDGET);
        behaviour.iter().filter(budget).cloned().collect()
    }

    /// What START records of the limits that the run was given.
    pub fn behaviour(&self) -> Vec<String> {
        let pin = |(reference, digest): (&String, &Digest)| {
            format!("{WORKFLOW}{reference}@{}", digest.hex())
        };
        let pins = self.pins.iter().map(pin);
        self.budget
            .map(budget_flag)
            .into_iter()
            .chain(pins)
            .collect()
    }

    /// Takes what START recorded as [`StartInfo::behaviour`].
    ///
    /// # Errors
    /// The first flag that this build does not know.
    pub fn read_behaviour(&mut self, flags: &[String]) -> Result<(), String> {
        for flag in flags {
            if let Some((reference, digest)) = flag
                .strip_prefix(WORKFLOW)
                .and_then(|pin| pin.rsplit_once('@'))
            {
                let digest = Digest::from_hex(digest)
                    .filter(|known| known.hex() == digest)
                    .ok_or_else(|| flag.clone())?;
                self.pins.insert(reference.to_owned(), digest);
                continue;
            }
            let units = flag.strip_prefix(BUDGET).and_then(|n| n.parse().ok());
            // In its one form only: what is made again must be what was read.
            if units.is_none_or(|units: u64| budget_flag(units) != *flag) || self.budget.is_some() {
                return Err(flag.clone());
            }
            self.budget = units;
        }
        Ok(())
    }
}

impl Machine {
    /// Whether the document's own list forbids this skill.
    pub(super) fn not_allowed(&self, skill: &str) -> Option<Refusal> {
        let allow = self.definition.allow.as_ref()?;
        if allow.contains(skill) {
            return None;
        }
        let allowed = allow.iter().map(|name| text(name)).collect();
        let inputs = object([("allow", allowed), ("skill", text(skill))]);
        Some(Refusal {
            subject: "allow",
            inputs: Value::from_val(&inputs).expect("names are canonical"),
            fault: Fault::new(
                Code::PermissionDenied,
                format!("{skill} is not among the skills that the document allows"),
            ),
        })
    }

    /// Whether the document names these secrets. Data could name any file, and where it is sent.
    pub(super) fn may_read(&self, skill: &str, secrets: &[SecretRef]) -> Result<(), Fault> {
        let known = &self.definition.secrets;
        match secrets.iter().find(|at| !known.contains(&at.file)) {
            None => Ok(()),
            Some(at) => Err(Fault::new(
                Code::PermissionDenied,
                format!(
                    "{skill}: the document does not name the secret in {}",
                    at.file
                ),
            )),
        }
    }

    /// Whether the budget forbids this request: what is spent and the most that it may cost exceed it.
    pub(super) fn over_budget(&self, skill: &str, request: &Value) -> Option<Refusal> {
        let lane = self.state.lane();
        let (budget, spent) = (lane.budget?, lane.spent);
        beyond(skill, budget, spent, self.skills.estimate(skill, request))
    }

    /// Records that a call is not begun; the step then fails.
    pub(super) fn refuse(&mut self, current: Current, input: Datum, refusal: Refusal) -> Emission {
        let mut naming = self.chain.naming(Kind::Decision);
        let inputs = Datum::fresh(refusal.inputs);
        let name = self
            .chain
            .name(&mut naming, slot(Kind::Decision, "inputs"), &inputs);
        let event = Event::Decision(refused(&current.activation, refusal.subject, name));
        let pointer = self.definition.tasks[current.task].reference.clone();
        self.state.lane_mut().phase = Phase::Answered {
            current,
            input,
            answer: Err(refusal.fault.at(&pointer)),
        };
        self.chain.emit(naming, &event, Vec::new())
    }
}

impl Lane {
    /// What each of `branches` may spend of what is left.
    pub fn share(&self, branches: usize) -> Option<u64> {
        let left = self.budget?.saturating_sub(self.spent);
        Some(left / u64::try_from(branches.max(1)).unwrap_or(u64::MAX))
    }

    /// A branch is not absorbed: its share is gone.
    pub fn forfeit(&mut self, branch: &Lane) {
        let share = branch.budget.unwrap_or_default();
        self.budget = self.budget.map(|budget| budget.saturating_sub(share));
    }
}
