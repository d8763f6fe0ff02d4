//! `run`: what of the end of a process is a step's output; other workflows.

use super::state::Current;
use super::step::Begun;
use super::{EffectNeed, Machine, RUN_WORKFLOW};
use crate::fault::{Code, Fault};
use crate::skill::Policy;
use crate::value::{Val, Value, as_text, member, object, text};
use crate::workflow::Returns;

impl Machine {
    /// The request for another workflow: its document by digest, its input, and what it may spend.
    pub(super) fn run_workflow(&self, current: &Current, with: &Value) -> Result<Begun, Fault> {
        if let Some(refusal) = self.not_allowed(RUN_WORKFLOW) {
            return Ok(Begun::Refused(refusal));
        }
        let reference = member(with.val(), "definition")
            .and_then(as_text)
            .unwrap_or_default();
        let Some(digest) = self.info.pins.get(reference) else {
            let why = format!("the run was started without the workflow {reference}");
            return Err(Fault::new(Code::Http404, why));
        };
        let lane = self.state.lane();
        let detached = member(with.val(), "await") == Some(&Val::Bool(false));
        // One that nobody waits for goes on beside its caller, so they divide what is left as branches do.
        let share = if detached { 2 } else { 1 };
        let left = lane
            .budget
            .map(|budget| budget.saturating_sub(lane.spent) / share);
        let units = |n: u64| Val::from(usize::try_from(n).unwrap_or(usize::MAX));
        let mut request = vec![
            ("budget", left.map_or(Val::Null, units)),
            ("definition", text(&digest.hex())),
            (
                "input",
                member(with.val(), "input").cloned().unwrap_or(Val::Null),
            ),
            ("name", text(reference)),
            ("seed", text(&self.info.root_seed.hex())),
        ];
        if detached {
            request.push(("await", Val::Bool(false)));
        }
        let request = object(request);
        Ok(Begun::Effect(EffectNeed {
            activation: current.activation.clone(),
            skill: RUN_WORKFLOW.into(),
            policy: Policy::Retry,
            request: Value::from_val(&request)?,
            idempotency: self.idempotency(current),
        }))
    }
}

/// Units that another workflow cost: what it says; all that it was given when nobody says.
pub(super) fn workflow_cost(request: &Value, answer: Result<&Value, &Fault>) -> u64 {
    let number = |value: &Value, name: &str| {
        member(value.val(), name).and_then(|cost| cost.to_string().parse().ok())
    };
    let told = answer.ok().and_then(|answer| number(answer, "cost"));
    told.or_else(|| number(request, "budget")).unwrap_or(0)
}

/// The output of a step, from what its process answered.
///
/// A process that says by its exit code that it failed fails the step, unless the code is asked for.
pub(super) fn returned(returns: Returns, answer: &Value) -> Result<Value, Fault> {
    let part = |name: &str| member(answer.val(), name).cloned().unwrap_or(Val::Null);
    if returns == Returns::Output {
        return Ok(Value::from_val(&part("output"))?);
    }
    let exit = part("exit");
    if member(answer.val(), "truncated") == Some(&Val::Bool(true)) {
        let why = "the process wrote more than is kept";
        return Err(Fault::new(Code::BudgetExceeded, why));
    }
    let asks_for_code = matches!(returns, Returns::Code | Returns::All);
    if !asks_for_code && exit != Val::from(0_usize) {
        let said = as_text(&part("stderr"))
            .unwrap_or_default()
            .trim()
            .to_owned();
        let why = format!("the process ended with code {exit}: {said}");
        return Err(Fault::new(Code::Http500, why.trim_end_matches([' ', ':'])));
    }
    let output = match returns {
        Returns::Stdout => part("stdout"),
        Returns::Stderr => part("stderr"),
        Returns::Code => exit,
        Returns::All => object([
            ("code", exit),
            ("stderr", part("stderr")),
            ("stdout", part("stdout")),
        ]),
        Returns::None | Returns::Output | Returns::Input => Val::Null,
    };
    Ok(Value::from_val(&output)?)
}
