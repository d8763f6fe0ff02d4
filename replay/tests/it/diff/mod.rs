//! Diffs of planted pairs: what was planted is known, so the answer is.

mod corpus;
mod long;
mod pairs;
mod planted;
mod processes;
mod recorder;

use aos_replay::diff::{Authenticate, Input, Options, Report, diff};
use planted::honest;
use recorder::{Written, skills};

/// The skills of honest runs.
fn options() -> Options<'static> {
    Options {
        skills: vec![skills("1", honest())],
        ..Options::default()
    }
}

/// Compares the runs of two logs, each authenticated that way.
fn compared(a: &Written, b: &Written, how: Authenticate, options: &Options<'_>) -> Report {
    let (left, right) = (a.reader(), b.reader());
    let a_side = Input::log("a.aos", &left, how, 1).unwrap();
    let b_side = Input::log("b.aos", &right, how, 1).unwrap();
    let runs = [a_side.run(a.run).unwrap(), b_side.run(b.run).unwrap()];
    diff([&a_side, &b_side], runs, options).unwrap()
}
