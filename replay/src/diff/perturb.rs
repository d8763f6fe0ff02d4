//! A check before production: which steps follow something that they should not?
//!
//! A workflow is derived again and again from the same seed and input, each time with one thing shifted. What follows the
//! clock through a reading that is recorded follows it openly; whatever else changes is a leak.

use super::Options;
use super::event::{NormEvent, Same, names, same_value};
use super::rerun::{Recipe, Stopped, clock_key};
use super::world::World;
use crate::error::Error;
use aos_engine::machine::{Answer, StartInfo};
use aos_engine::seed::RootSeed;
use aos_engine::skill::Skills;
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_format::digest::RunId;
use aos_format::frame::Kind;
use aos_format::offset::Stride;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Derivations under the same circumstances.
const REPEATS: usize = 3;

/// What a check of a workflow came to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Perturbed {
    /// Steps that ended in the first derivation.
    pub steps: u64,
    /// Derivations made.
    pub runs: u64,
    /// Steps that follow something, in the order of their first events.
    pub follows: Vec<Follows>,
    /// Whether no step follows anything that is not recorded.
    pub deterministic: bool,
    /// The answer that the workflow waits for, where it cannot be derived to its end.
    pub needs: Option<String>,
}

/// A step, and what its output follows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Follows {
    /// The step.
    pub step: String,
    /// What was shifted.
    pub what: String,
    /// Whether the run records that it reads this, so that a replay gives the same.
    pub declared: bool,
}

/// Derives a workflow under one shifted circumstance after another. `answers` are those of effects, by step.
///
/// # Errors
/// [`Error::Unusable`] when the workflow cannot be derived at all.
pub fn perturb(
    definition: Arc<Definition>,
    input: Value,
    answers: &BTreeMap<String, Value>,
    options: &Options<'_>,
) -> Result<Perturbed, Error> {
    let frozen = World::frozen();
    let at_hand = options.skills.first().cloned();
    let skills = |world: &World| -> Option<Arc<Skills>> {
        match options.probe {
            Some(probe) => Some(probe(world)),
            None => at_hand.clone(),
        }
    };
    let missing = || Error::Unusable {
        what: "a registry of skills".into(),
    };
    let root = RootSeed::from_number(0);
    let run = RunId::derive(&definition.namespace, &definition.name, "perturb", 0);
    let mut recipe = Recipe {
        skills: skills(&frozen).ok_or_else(missing)?,
        seed: root.run_seed(run),
        info: StartInfo {
            key: "perturb".into(),
            generation: 0,
            root_seed: root.commitment(),
            budget: None,
            pins: Default::default(),
        },
        definition,
        run,
        input,
        stride: Stride::DEFAULT,
        answers: Default::default(),
        substitutes: BTreeMap::new(),
    };
    let limit = usize::try_from(options.events_max).unwrap_or(usize::MAX);
    let mut needs = settle(&mut recipe, answers, frozen.clock_ns, limit);
    let first = recipe.run(limit).events;
    let mut found = Found::default();
    for _ in 1..REPEATS {
        let again = recipe.run(limit).events;
        found.compare(&first, &again, "nothing: repeated, it gives something else");
    }
    for (what, world) in frozen.shifted() {
        let mut shifted = recipe.clone();
        shifted.skills = skills(&world).ok_or_else(missing)?;
        found.compare(&first, &shifted.run(limit).events, what);
    }
    let day_ns = 86_400_000_000_000;
    let mut later = recipe.clone();
    later.answers = Default::default();
    needs = settle(&mut later, answers, frozen.clock_ns + day_ns, limit).or(needs);
    found.compare(&first, &later.run(limit).events, "the clock, as recorded");
    let follows = found.follows;
    Ok(Perturbed {
        steps: first
            .iter()
            .filter(|event| event.kind == Kind::Step)
            .count() as u64,
        runs: found.runs + 1,
        deterministic: follows.iter().all(|follows| follows.declared),
        follows,
        needs,
    })
}

/// Gives a recipe the answers that it asks for: readings of the clock, and of effects what the caller says.
fn settle(
    recipe: &mut Recipe,
    answers: &BTreeMap<String, Value>,
    clock_ns: i64,
    limit: usize,
) -> Option<String> {
    loop {
        let Stopped::Needs(key) = recipe.run(limit).stopped else {
            return None;
        };
        let answer = match key.strip_prefix("effect ") {
            None => Answer::Clock(clock_ns),
            Some(step) => {
                let name = crate::finding::pointer(step);
                let short = name.rsplit('/').next().unwrap_or(name);
                match answers.get(name).or(answers.get(short)) {
                    Some(value) => Answer::Effect(Ok(value.clone())),
                    None => return Some(key),
                }
            }
        };
        recipe.answers.put(key, answer);
    }
}

#[derive(Default)]
struct Found {
    follows: Vec<Follows>,
    runs: u64,
}

impl Found {
    /// Notes the steps whose own result differs although their input does not.
    fn compare(&mut self, first: &[NormEvent], other: &[NormEvent], what: &str) {
        self.runs += 1;
        let step = |event: &&NormEvent| event.kind == Kind::Step;
        let ours: BTreeMap<String, &NormEvent> = first
            .iter()
            .filter(step)
            .map(|e| (e.activation(), e))
            .collect();
        for event in other.iter().filter(step) {
            let activation = event.activation();
            let Some(before) = ours.get(&activation) else {
                continue;
            };
            let differs = |field| same_value(before.value(field), event.value(field)) == Same::No;
            let own = !differs("input")
                && (differs("output")
                    || differs("context")
                    || before.text("next") != event.text("next"));
            if !own {
                continue;
            }
            let key = clock_key(&activation, "now");
            let declared = first.iter().any(|known| {
                known.kind == Kind::Time
                    && clock_key(&known.activation(), &known.text("subject")) == key
            }) && what == "the clock, as recorded";
            let follows = Follows {
                step: names(&activation),
                what: what.to_owned(),
                declared,
            };
            if !self.follows.contains(&follows) {
                self.follows.push(follows);
            }
        }
    }
}
