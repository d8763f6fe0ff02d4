//! Forensic diff: where two recorded runs part, in which field, and the proven cause.
//!
//! Both sides are authenticated first, so that damage never looks like a difference ([`Input`]). The first event that
//! differs is found by bisection over history digests; what follows is aligned by step, and values are compared by JSON
//! path. Then causes are tested in a fixed order, and each is confirmed by an experiment: the history is derived again with
//! one thing exchanged. What experiments cannot settle is called CONSISTENT or UNKNOWN, never guessed. The form of the
//! [`Report`] stands in `docs/format/diff.md`.
//!
//! ```
//! use aos_replay::diff::{Authenticate, Input, Options, Verdict, diff};
//! # use aos_disk::sim::SimDisk;
//! # use aos_engine::{clock::Clock, engine::{Begun, Engine, OnConflict, Request}, seed::RootSeed, skill::Skills, value::Value, workflow::Definition};
//! # use aos_format::digest::{LogId, RunId};
//! # use std::{path::Path, sync::Arc};
//! # let log_of = |name: &str, input: &str| -> Result<aos_store::LogReader, Box<dyn std::error::Error>> {
//! #     let disk = Arc::new(SimDisk::new());
//! #     let options = aos_store::Options { create: true, ..aos_store::Options::new(LogId([7; 16])) };
//! #     let log = Arc::new(aos_store::Log::open(disk.clone(), Path::new(name), &options)?.0);
//! #     let engine = Engine::new(log.clone(), Arc::new(Skills::builtin()), Clock::default())?;
//! #     let definition = Arc::new(Definition::load(br#"[{"skill": "compute", "params": {"op": "sha256", "value": "${ . }"}}]"#)?);
//! #     let request = Request { definition, key: Some("k".into()), input: Value::from_json(input.as_bytes())?, root: RootSeed::from_number(7), on_conflict: OnConflict::Refuse, budget: None };
//! #     if let Begun::Run(mut run) = engine.start(&request)? { engine.drive(&mut run)?; }
//! #     log.flush()?;
//! #     drop(engine);
//! #     if let Ok(log) = Arc::try_unwrap(log) { log.close()?; }
//! #     Ok(aos_store::LogReader::open(disk, Path::new(name))?)
//! # };
//! let (good, bad) = (log_of("good.aos", "1")?, log_of("bad.aos", "2")?);
//! let a = Input::log("good.aos", &good, Authenticate::Auto, 1)?;
//! let b = Input::log("bad.aos", &bad, Authenticate::Auto, 1)?;
//! let run = RunId::derive("default", "skills", "k", 0);
//! let report = diff([&a, &b], [a.run(run)?, b.run(run)?], &Options::default())?;
//! assert_eq!(report.verdict, Verdict::Differ);
//! assert_eq!(report.fields[0].path, "input");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod align;
mod bisect;
mod bulk;
mod classify;
mod compare;
mod event;
mod fields;
mod foreign;
mod ignore;
mod input;
mod locate;
mod minimize;
mod perturb;
mod report;
pub(crate) mod rerun;
mod rules;
mod sealed;
mod slice;
mod start;
mod whatif;
mod world;

pub use bisect::{Bisected, bisect};
pub use bulk::{Pairs, bulk, pair_by_key};
pub use ignore::{RULE_LEN_MAX, RuleError, Rules};
pub use input::{Authenticate, Called, Input, RunAt, VERIFIED_BYTES};
pub use minimize::{Minimized, minimize};
pub use perturb::{
    Child, Follows, Perturbed, Skipped, TRACE_MARK, Trace, perturb, processes, trace,
};
pub use report::*;
pub use whatif::{Exchange, WhatIf, what_if};
pub use world::World;

use crate::error::Error;
use aos_engine::skill::Skills;
use compare::Outcome;
use std::sync::{Arc, Mutex};

/// Makes skills as they would be in a world.
pub type Probe<'a> = dyn Fn(&World) -> Arc<Skills> + Sync + 'a;

/// How to compare.
#[derive(Clone)]
pub struct Options<'a> {
    /// What shall not count.
    pub rules: Rules,
    /// Skills that experiments may call: one registry for each version of the code that is at hand. Only pure skills run.
    pub skills: Vec<Arc<Skills>>,
    /// Skills as they would be in another world, where a caller can make them so: what shows leaks.
    pub probe: Option<&'a Probe<'a>>,
    /// Whether causes are looked for.
    pub causes: bool,
    /// Runs of up to so many records are read whole. Of longer ones 20,000 behind the first difference are read, and experiments
    /// begin at the newest checkpoint before it, if one stands among so many records. From 1.
    pub whole_max: u64,
    /// Runs of up to so many records are read whole where no such checkpoint stands, or rules may pass over differences;
    /// events derived at most. What bounds the memory. From 1.
    pub events_max: u64,
    /// Rows of the alignment that a report lists.
    pub rows_max: usize,
    /// Told of progress in bulk: pairs done, pairs in all.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            rules: Rules::default(),
            skills: vec![Arc::new(Skills::builtin())],
            probe: None,
            causes: true,
            whole_max: 50_000,
            events_max: 200_000,
            rows_max: 200,
            progress: &|_, _| (),
        }
    }
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("rules", &self.rules)
            .field("causes", &self.causes)
            .field("whole_max", &self.whole_max)
            .field("events_max", &self.events_max)
            .field("rows_max", &self.rows_max)
            .finish_non_exhaustive()
    }
}

/// Documents and seeds that were read already, a shelf for each side.
pub(crate) type Shelves = [Mutex<rerun::Pantry>; 2];

/// Compares a run of the first input with one of the second.
///
/// Needs [`aos_engine::expr::EVAL_STACK_BYTES`] of stack where causes are looked for.
///
/// # Errors
/// [`Error::NoRun`]; [`Error::Store`] when a disk fails. What is wrong with the bytes of a side is a verdict.
pub fn diff(
    inputs: [&Input<'_>; 2],
    runs: [RunAt; 2],
    options: &Options<'_>,
) -> Result<Report, Error> {
    one(inputs, runs, options, &Shelves::default())
}

/// One pair among many.
pub(crate) fn one(
    inputs: [&Input<'_>; 2],
    runs: [RunAt; 2],
    options: &Options<'_>,
    shelves: &Shelves,
) -> Result<Report, Error> {
    match compare::compare(inputs, runs, options)? {
        Outcome::Settled(report) => Ok(*report),
        Outcome::Parted(mut report, compared) => {
            if options.causes {
                classify::causes(&compared, &mut report, shelves, options)?;
            }
            compare::rows(&compared, &mut report, options.rows_max);
            Ok(*report)
        }
    }
}
