//! Many seeds, one after the other, on some threads.

use crate::control::Control;
use crate::oracle::Violation;
use crate::plan::Plan;
use crate::shrink::{run, shrink};
use crate::tally::Tally;
use aos_engine::expr::EVAL_STACK_BYTES;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A seed that failed, made small.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The smallest plan found.
    pub plan: Plan,
    /// What must not be, and was.
    pub violation: Violation,
}

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// So many runs.
    Runs(u64),
    /// So long.
    Elapsed(Duration),
    /// So many different states.
    States(u64),
}

/// Runs seeds from `first` on, until it is enough or one fails.
pub fn soak(
    first: u64,
    until: Until,
    jobs: usize,
    control: Option<Control>,
) -> (Tally, Option<Failure>) {
    let next = AtomicU64::new(first);
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let states = AtomicU64::new(0);
    let enough = |seed: u64| match until {
        Until::Runs(runs) => seed - first >= runs,
        Until::Elapsed(time) => begun.elapsed() >= time,
        // Two threads may find the same state: a little more than asked for is gone through.
        Until::States(count) => states.load(Ordering::Relaxed) >= count + count / 64,
    };
    let work = || {
        let mut tally = Tally::default();
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if enough(seed) {
                break;
            }
            let plan = Plan::new(seed, None, control);
            let outcome = run(&plan);
            let before = tally.distinct.len();
            tally.add(outcome.tally);
            let fresh = (tally.distinct.len() - before) as u64;
            states.fetch_add(fresh, Ordering::Relaxed);
            if let Some(violation) = outcome.violation {
                stop.store(true, Ordering::Relaxed);
                let plan = shrink(&plan, &violation);
                let violation = run(&plan).violation.unwrap_or(violation);
                return (tally, Some(Failure { plan, violation }));
            }
        }
        (tally, None)
    };
    on_threads(jobs, &work).into_iter().fold(
        (Tally::default(), None),
        |(mut all, failure), (tally, found)| {
            all.add(tally);
            (all, failure.or(found))
        },
    )
}

/// Does the same work on some threads, with a stack that expressions need at their deepest.
pub fn on_threads<T: Send>(jobs: usize, work: &(impl Fn() -> T + Sync)) -> Vec<T> {
    std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..jobs.max(1))
            .filter_map(|_| {
                std::thread::Builder::new()
                    .stack_size(EVAL_STACK_BYTES)
                    .spawn_scoped(scope, work)
                    .ok()
            })
            .collect();
        let done = spawned.into_iter().map(|thread| thread.join());
        done.filter_map(Result::ok).collect()
    })
}

/// A seed, and the items of its plan to keep.
pub type Seed = (u64, Option<BTreeSet<u64>>);

/// A line of a file of seeds: a seed, and the items to keep.
///
/// # Errors
/// When the line is neither empty, a comment, nor a seed with a list of numbers.
pub fn parse_seed(line: &str) -> Result<Option<Seed>, String> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let mut words = line.split_whitespace();
    let Some(seed) = words.next() else {
        return Ok(None);
    };
    let wrong = || format!("expected SEED [N,N,...], found {line:?}");
    let seed = seed.parse().map_err(|_| wrong())?;
    let only = match words.next() {
        Some(list) => {
            let numbers = list.split(',').map(str::parse).collect::<Result<_, _>>();
            Some(numbers.map_err(|_| wrong())?)
        }
        None => None,
    };
    Ok(Some((seed, only)))
}
