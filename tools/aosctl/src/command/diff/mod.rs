//! `aosctl diff`

mod args;
mod sides;
mod text;

pub use args::Diff;

use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::output::Output;
use aos_replay::diff::{Input, Options, RuleError, Rules, RunAt, Verdict};
use aos_store::{RunRow, Source};
use sides::{Opened, Which};

/// Compares two runs, or the runs of two logs.
///
/// # Errors
/// What kept it from an answer; the answer is in the exit code.
pub fn diff(args: &Diff, out: &mut Output) -> Result<Exit, Failure> {
    let rules = Rules::parse(&args.ignore).map_err(bad_rule)?;
    let (a, b) = (Opened::open(&args.a)?, Opened::open(&args.b)?);
    let workers = args.workers.map_or_else(host::cores, usize::from);
    let inputs = [a.input(args.full, workers)?, b.input(args.full, workers)?];
    let options = Options {
        rules,
        causes: !args.no_cause,
        events_max: args.events_max,
        rows_max: args.rows,
        ..Options::default()
    };
    let pair = pick([&a, &b], [&inputs[0], &inputs[1]])?;
    let report = aos_replay::diff::diff([&inputs[0], &inputs[1]], pair, &options)
        .map_err(failure::replay(&a.named.path))?;
    match out.form() {
        Form::Table => {
            for line in text::lines(&report, text::Paint::stdout()) {
                out.line(&line)?;
            }
        }
        Form::Json | Form::Jsonl => out.line(&report.json())?,
    }
    Ok(exit(report.verdict))
}

fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Equal => Exit::Yes,
        Verdict::Differ => Exit::No,
        Verdict::Damaged => Exit::Damaged,
        Verdict::Prefix | Verdict::Undecided => Exit::Undecided,
    }
}

fn bad_rule(error: RuleError) -> Failure {
    Failure::new(failure::USAGE, Exit::Usage, error.to_string())
        .next("aosctl diff --help; a rule is [STEP:]PATH, as the report names paths")
}

/// The two runs that are meant.
fn pick(opened: [&Opened; 2], inputs: [&Input<'_>; 2]) -> Result<[RunAt; 2], Failure> {
    match (&opened[0].named.which, &opened[1].named.which) {
        (Which::One(a), Which::One(b)) => {
            Ok([opened[0].find(inputs[0], a)?, opened[1].find(inputs[1], b)?])
        }
        (Which::One(a), _) => {
            let a = opened[0].find(inputs[0], a)?;
            Ok([
                a,
                counterpart(opened[0], inputs[0], a, opened[1], inputs[1])?,
            ])
        }
        (_, Which::One(b)) => {
            let b = opened[1].find(inputs[1], b)?;
            Ok([
                counterpart(opened[1], inputs[1], b, opened[0], inputs[0])?,
                b,
            ])
        }
        _ => Ok([only(opened[0], inputs[0])?, only(opened[1], inputs[1])?]),
    }
}

/// The only run of a side.
fn only(opened: &Opened, input: &Input<'_>) -> Result<RunAt, Failure> {
    let newest = input
        .newest()
        .map_err(failure::replay(&opened.named.path))?;
    if let [one] = newest[..] {
        return Ok(one);
    }
    let index = input.index().map_err(failure::store(&opened.named.path))?;
    let mut runs = index.rows.runs.values();
    runs.next()
        .map(RunAt::of)
        .ok_or_else(|| sides::no_runs(&opened.named.path))
}

/// The run of `other` that stands for `run`: the same id, else the same key.
fn counterpart(
    opened: &Opened,
    input: &Input<'_>,
    run: RunAt,
    other: &Opened,
    theirs: &Input<'_>,
) -> Result<RunAt, Failure> {
    if let Ok(found) = theirs.run(run.run) {
        return Ok(found);
    }
    let index = input.index().map_err(failure::store(&opened.named.path))?;
    let key = index
        .rows
        .runs
        .get(&run.run)
        .map(|row: &RunRow| row.key.clone());
    other.find(theirs, &key.unwrap_or_default())
}
