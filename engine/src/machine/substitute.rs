//! Counterfactuals: a machine some of whose steps end in another way than they would.
//!
//! What a substitute says replaces what the step itself gives; everything behind it is computed as ever. Only drivers that
//! ask "what if" set substitutes; a run that is recorded under its own name never has any.

use super::state::{Current, Phase};
use super::{Machine, Subject};
use crate::chain::Datum;
use crate::fault::Fault;
use crate::value::Value;
use crate::workflow::{Flow, TaskKind};
use std::collections::BTreeMap;

/// How a step ends instead. What is `None` stays as the step gives it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Substitute {
    /// Its output.
    pub output: Option<Value>,
    /// The context it exports.
    pub context: Option<Value>,
    /// Where control goes, as records name it: empty, `exit`, `end`, a case or a step of the same block.
    pub next: Option<String>,
    /// Random draws, and words taken.
    pub draws: Option<(u64, u64)>,
    /// It is skipped, or, with `false`, not skipped.
    pub skipped: Option<bool>,
    /// It fails with this; everything else is then without effect.
    pub fault: Option<Fault>,
}

impl Machine {
    /// Sets how steps end instead, by activation.
    pub fn substitute(&mut self, substitutes: BTreeMap<String, Substitute>) {
        self.substitutes = substitutes;
    }

    pub(super) fn substituted(&self, current: &Current) -> Option<&Substitute> {
        self.substitutes.get(&current.activation)
    }

    /// Output and context of a completed step, after substitution.
    pub(super) fn exchanged(
        &self,
        current: &Current,
        output: Datum,
        context: Option<Datum>,
    ) -> (Datum, Option<Datum>) {
        let Some(instead) = self.substituted(current) else {
            return (output, context);
        };
        let fresh = |value: &Option<Value>| value.clone().map(Datum::fresh);
        (
            fresh(&instead.output).unwrap_or(output),
            fresh(&instead.context).or(context),
        )
    }

    /// Where control goes instead, and the name of it; `None` where nothing says so, or the block has no such place.
    pub(super) fn diverted(&self, current: &Current) -> Option<(Flow, String)> {
        let name = self.substituted(current)?.next.clone()?;
        let definition = &self.definition;
        if let TaskKind::Switch(cases) = &definition.tasks[current.task].kind
            && let Some(case) = cases.iter().find(|case| case.name == name)
        {
            return Some((case.then.clone(), name));
        }
        let flow = match name.as_str() {
            "" => Flow::Continue,
            "exit" => Flow::Exit,
            "end" => Flow::End,
            step => {
                let lane = self.state.lane();
                let frame = lane.frames.last()?;
                let named = |task: &&usize| definition.tasks[**task].name == step;
                Flow::Task(*lane.block(definition, frame).iter().find(named)?)
            }
        };
        Some((flow, name))
    }

    /// Activation that a TIME event of the lane that waits for a reading would have now.
    pub fn clock_activation(&self, _subject: Subject) -> String {
        let lanes = self.state.lanes.iter();
        let mut asks = lanes.filter_map(|lane| match &lane.phase {
            Phase::Clock { then, .. } => Some((lane, &**then)),
            _ => None,
        });
        match asks.next() {
            Some((_, Phase::Enter(current))) => current.activation.clone(),
            None | Some((_, Phase::Prepare | Phase::Finish(_))) => String::new(),
            Some((lane, _)) => {
                let owner = lane.frames.last().and_then(|frame| frame.owner.as_ref());
                owner.map_or_else(String::new, |owner| owner.activation.clone())
            }
        }
    }
}
