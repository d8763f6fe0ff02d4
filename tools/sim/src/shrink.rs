//! One seed run to its end, and a failing one made small.

use crate::life::Run;
use crate::oracle::Violation;
use crate::plan::Plan;
use crate::tally::Tally;
use aos_format::controls;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Counts.
    pub tally: Tally,
    /// What happened, a line each.
    pub trace: Vec<String>,
    /// What must not be, if it was.
    pub violation: Option<Violation>,
}

thread_local! {
    /// What the last panic of this thread said, and where.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From here on panics are noted instead of told; those that [`run`] catches are violations.
pub fn note_panics() {
    std::panic::set_hook(Box::new(|panic| PANIC.set(panic.to_string())));
}

/// Runs a plan. A panic of the code under test is a violation too.
pub fn run(plan: &Plan) -> Outcome {
    let control = plan.control.and_then(crate::control::Control::in_store);
    let mut run = Run::new(plan);
    let went = controls::with(control, || catch_unwind(AssertUnwindSafe(|| run.go())));
    let violation = match went {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation),
        Err(_) => Some(Violation::new("panic", PANIC.take())),
    };
    Outcome {
        tally: run.tally,
        trace: run.trace,
        violation,
    }
}

/// Most runs that making a seed small may take.
const TRIES_MAX: u32 = 300;

/// Leaves out items of a failing plan as long as it breaks the same rule.
pub fn shrink(plan: &Plan, violation: &Violation) -> Plan {
    let mut kept: Vec<u64> = plan.numbers();
    let mut tries = 0;
    let mut fails = |kept: &[u64]| {
        tries += 1;
        let only: BTreeSet<u64> = kept.iter().copied().collect();
        let smaller = Plan::new(plan.seed, Some(only), plan.control);
        let broken = run(&smaller).violation;
        let same = broken.is_some_and(|broken| broken.rule == violation.rule);
        (same, tries >= TRIES_MAX)
    };
    let mut size = kept.len().div_ceil(2).max(1);
    'sizes: loop {
        let mut from = 0;
        while from < kept.len() {
            let mut fewer = kept.clone();
            fewer.drain(from..(from + size).min(kept.len()));
            let (same, enough) = fails(&fewer);
            if same {
                kept = fewer;
            } else {
                from += size;
            }
            if enough {
                break 'sizes;
            }
        }
        if size == 1 {
            break;
        }
        size = size.div_ceil(2);
    }
    Plan::new(plan.seed, Some(kept.into_iter().collect()), plan.control)
}
