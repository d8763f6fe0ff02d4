//! A check before production: which steps follow something that they should not?
//!
//! A workflow is derived again and again from the same seed and input, each time with one thing shifted. What follows the
//! clock through a reading that is recorded follows it openly; whatever else changes is a leak.
//!
//! Within one process the shifted things are the recorded clock, the seed of hash maps (each thread draws its own), the
//! number of threads, and whatever a caller's [`Options::probe`] can make otherwise. What a process has once, its id, its
//! environment, its working directory and the name of its host, is shifted by [`processes`], in processes of its own.

mod process;
mod trace;

pub use process::{Child, processes};
pub use trace::{TRACE_MARK, Trace, trace};

use super::Options;
use super::event::{Lens, NormEvent, names};
use super::fields;
use super::ignore::Rules;
use super::rerun::{Recipe, Stopped, clock_key};
use super::world::World;
use crate::error::Error;
use aos_engine::expr::EVAL_STACK_BYTES;
use aos_engine::machine::{Answer, StartInfo};
use aos_engine::seed::RootSeed;
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_format::digest::RunId;
use aos_format::frame::Kind;
use aos_format::offset::Stride;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Derivations under the same circumstances.
const REPEATS: usize = 3;
/// Threads that derive at the same time.
const THREADS: usize = 4;
/// Paths named of one step.
const PATHS_MAX: usize = 8;

const REPEATED: &str = "nothing: repeated, it gives something else";
const HASH_SEED: &str = "the seed of hash maps";
const THREAD_COUNT: &str = "the number of threads";
const CLOCK: &str = "the clock, as recorded";

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
    /// What was shifted, in order.
    pub shifted: Vec<String>,
    /// What could not be shifted here.
    pub skipped: Vec<Skipped>,
}

impl Perturbed {
    /// Says that something could not be shifted, and why.
    pub fn skip(&mut self, what: &str, why: &str) {
        self.skipped.push(Skipped {
            what: what.to_owned(),
            why: why.to_owned(),
        });
    }
}

/// Something that could not be shifted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Skipped {
    /// What it is.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// A step, and what its output follows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Follows {
    /// The step.
    pub step: String,
    /// What was shifted.
    pub what: String,
    /// The fields that changed with it, the first few: `output/host`.
    pub paths: Vec<String>,
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
    let (recipe, mut needs) = recipe(definition, input, answers, options)?;
    let limit = usize::try_from(options.events_max).unwrap_or(usize::MAX);
    let first = recipe.run(limit).events;
    let mut found = Found::default();
    for _ in 1..REPEATS {
        found.compare(&first, &recipe.run(limit).events, REPEATED);
    }
    for (what, threads) in [(HASH_SEED, 1), (THREAD_COUNT, THREADS)] {
        match at_once(&recipe, limit, threads) {
            Ok(all) => all.iter().for_each(|one| found.compare(&first, one, what)),
            Err(error) => found.skip(what, &error.to_string()),
        }
    }
    if let Some(probe) = options.probe {
        for (what, world) in frozen.shifted() {
            let mut shifted = recipe.clone();
            shifted.skills = probe(&world);
            found.compare(&first, &shifted.run(limit).events, what);
        }
    }
    let day_ns = 86_400_000_000_000;
    let mut later = recipe.clone();
    later.answers = Default::default();
    needs = settle(&mut later, answers, frozen.clock_ns + day_ns, limit).or(needs);
    found.compare(&first, &later.run(limit).events, CLOCK);
    let steps = first.iter().filter(|event| event.kind == Kind::Step);
    let mut perturbed = Perturbed {
        steps: steps.count() as u64,
        runs: 1,
        follows: Vec::new(),
        deterministic: true,
        needs,
        shifted: Vec::new(),
        skipped: Vec::new(),
    };
    found.settle(&mut perturbed);
    Ok(perturbed)
}

/// Derives the same history on several threads at the same time.
fn at_once(
    recipe: &Recipe,
    limit: usize,
    threads: usize,
) -> Result<Vec<Vec<NormEvent>>, std::io::Error> {
    std::thread::scope(|scope| {
        let mut running = Vec::with_capacity(threads);
        for _ in 0..threads {
            let builder = std::thread::Builder::new().stack_size(EVAL_STACK_BYTES);
            running.push(builder.spawn_scoped(scope, || recipe.run(limit).events)?);
        }
        let joined = running.into_iter().map(|thread| {
            let gone = |_| std::io::Error::other("a thread that derived the workflow panicked");
            thread.join().map_err(gone)
        });
        joined.collect()
    })
}

/// What a workflow is derived from, with all answers that it asks for; and the one it lacks.
fn recipe(
    definition: Arc<Definition>,
    input: Value,
    answers: &BTreeMap<String, Value>,
    options: &Options<'_>,
) -> Result<(Recipe, Option<String>), Error> {
    let frozen = World::frozen();
    let skills = match options.probe {
        Some(probe) => probe(&frozen),
        None => {
            let missing = || Error::Unusable {
                what: "a registry of skills".into(),
            };
            options.skills.first().cloned().ok_or_else(missing)?
        }
    };
    let root = RootSeed::from_number(0);
    let run = RunId::derive(&definition.namespace, &definition.name, "perturb", 0);
    let mut recipe = Recipe {
        skills,
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
        resume: None,
    };
    let limit = usize::try_from(options.events_max).unwrap_or(usize::MAX);
    let needs = settle(&mut recipe, answers, frozen.clock_ns, limit);
    Ok((recipe, needs))
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

/// What comparing derivations came to.
#[derive(Default)]
struct Found {
    follows: Vec<Follows>,
    runs: u64,
    shifted: Vec<String>,
    skipped: Vec<Skipped>,
    /// Fields that differ between derivations under the same circumstances: they follow everything and nothing.
    unsteady: BTreeSet<(String, String)>,
}

impl Found {
    /// Notes the steps whose own result differs although their input does not.
    fn compare(&mut self, first: &[NormEvent], other: &[NormEvent], what: &str) {
        self.runs += 1;
        if self.shifted.last().is_none_or(|last| last != what) && what != REPEATED {
            self.shifted.push(what.to_owned());
        }
        let step = |event: &&NormEvent| event.kind == Kind::Step;
        let ours: BTreeMap<String, &NormEvent> = first
            .iter()
            .filter(step)
            .map(|e| (e.activation(), e))
            .collect();
        for event in other.iter().filter(step) {
            let activation = event.activation();
            if let Some(before) = ours.get(&activation) {
                let declared = what == CLOCK && reads_clock(first, &activation);
                self.note(names(&activation), own(before, event), what, declared);
            }
        }
    }

    fn note(&mut self, step: String, paths: Vec<String>, what: &str, declared: bool) {
        let mut fresh: Vec<String> = Vec::new();
        for path in paths {
            let place = (step.clone(), path);
            if self.unsteady.contains(&place) {
                continue;
            }
            if what == REPEATED || what == HASH_SEED {
                self.unsteady.insert(place.clone());
            }
            fresh.push(place.1);
        }
        if fresh.is_empty() {
            return;
        }
        let known = |follows: &&mut Follows| follows.step == step && follows.what == what;
        match self.follows.iter_mut().find(known) {
            Some(known) => known.paths.extend(fresh),
            None => self.follows.push(Follows {
                step: step.clone(),
                what: what.to_owned(),
                paths: fresh,
                declared,
            }),
        }
        if let Some(known) = self.follows.iter_mut().find(known) {
            let mut seen = BTreeSet::new();
            known.paths.retain(|path| seen.insert(path.clone()));
            known.paths.truncate(PATHS_MAX);
        }
    }

    fn skip(&mut self, what: &str, why: &str) {
        self.skipped.push(Skipped {
            what: what.to_owned(),
            why: why.to_owned(),
        });
    }

    /// Adds what was found to a verdict.
    fn settle(self, perturbed: &mut Perturbed) {
        perturbed.runs += self.runs;
        perturbed.follows.extend(self.follows);
        perturbed.shifted.extend(self.shifted);
        perturbed.skipped.extend(self.skipped);
        perturbed.deterministic = perturbed.follows.iter().all(|follows| follows.declared);
    }
}

/// Whether a step reads the clock in the open, so that its reading is recorded.
fn reads_clock(events: &[NormEvent], activation: &str) -> bool {
    let key = clock_key(activation, "now");
    events.iter().any(|known| {
        known.kind == Kind::Time && clock_key(&known.activation(), &known.text("subject")) == key
    })
}

/// What differs in what a step makes of its input; nothing where its input differs already.
fn own(before: &NormEvent, event: &NormEvent) -> Vec<String> {
    let lens = Lens { same_run: true };
    let diffs = fields::diff(before, event, lens, &Rules::default()).diffs;
    let of = |diff: &super::report::FieldDiff, names: &[&str]| {
        names.contains(&super::slice::field_of(&diff.path))
    };
    if diffs.iter().any(|diff| of(diff, &["input"])) {
        return Vec::new();
    }
    let made = |diff: &&super::report::FieldDiff| of(diff, &["output", "context", "next", "error"]);
    diffs
        .iter()
        .filter(made)
        .map(|diff| diff.path.clone())
        .collect()
}
