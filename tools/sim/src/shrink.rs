//! One seed run to its end, and a failing one made small.

use crate::life::Run;
use crate::oracle::Violation;
use crate::plan::Plan;
use crate::tally::Tally;
use aos_format::controls;
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

/// Runs a plan. A panic of the code under test is a violation too.
pub fn run(plan: &Plan) -> Outcome {
    let control = plan.control.and_then(crate::control::Control::in_store);
    let mut run = Run::new(plan);
    let went = controls::with(control, || catch_unwind(AssertUnwindSafe(|| run.go())));
    let violation = match went {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.into()));
            Some(Violation::new("panic", text.unwrap_or_default()))
        }
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
