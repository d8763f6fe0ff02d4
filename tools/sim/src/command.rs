//! What the tool does.

use crate::args::{Args, Command, RunArgs};
use aos_sim::oracle::Violation;
use aos_sim::plan::Plan;
use aos_sim::shrink::{Outcome, run as run_plan};
use aos_sim::soak::{Failure, Until, on_threads, parse_seed, soak};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

const YES: u8 = 0;
const NO: u8 = 1;
const USAGE: u8 = 2;

pub fn run(args: &Args) -> u8 {
    match &args.command {
        Some(Command::Seeds { file }) => seeds(file),
        None => match args.run.seed {
            Some(seed) => one(seed, &args.run),
            None => many(&args.run),
        },
    }
}

/// Writes to stdout; whoever reads it may close the pipe.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Runs one plan on a thread with stack enough, silently.
fn quietly(plan: &Plan) -> Option<Outcome> {
    std::panic::set_hook(Box::new(|_| {}));
    on_threads(1, &|| run_plan(plan)).pop()
}

fn one(seed: u64, args: &RunArgs) -> u8 {
    let only = args.only.as_ref().map(|only| only.0.clone());
    let plan = Plan::new(seed, only, args.control);
    let mut text = format!(
        "seed {seed}: {:?}, sectors of {}, segments of {}{}\n",
        plan.level,
        plan.sector,
        1u64 << plan.stride_log2,
        if plan.media {
            ", the medium may lie"
        } else {
            ""
        }
    );
    for (number, life) in plan.lives.iter().enumerate() {
        let _never_fails = writeln!(text, "life {number}, then {:?}:", life.ending);
        for (item, what) in &life.items {
            let _never_fails = writeln!(text, "  {item:>3} {what}");
        }
    }
    let Some(outcome) = quietly(&plan) else {
        return NO;
    };
    for line in &outcome.trace {
        let _never_fails = writeln!(text, "{line}");
    }
    text += &outcome.tally.summary();
    text += &outcome.tally.table();
    let code = match &outcome.violation {
        None => YES,
        Some(violation) => {
            text += &told(&plan, violation);
            NO
        }
    };
    say(&text);
    code
}

fn told(plan: &Plan, violation: &Violation) -> String {
    format!(
        "VIOLATION {}: {}\nrepeat with: {}\n",
        violation.rule,
        violation.what,
        plan.command()
    )
}

fn many(args: &RunArgs) -> u8 {
    let until = match (args.states, args.duration) {
        (Some(states), _) => Until::States(states),
        (None, time) => Until::Elapsed(time.unwrap_or(Duration::from_secs(10))),
    };
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    let (tally, failure) = soak(args.from, until, args.jobs, args.control);
    let seconds = begun.elapsed().as_secs_f64();
    let mut text = tally.summary();
    let rate = tally.states as f64 / seconds;
    let _never_fails = writeln!(text, "{:<30} {seconds:>12.1}", "seconds");
    let _never_fails = writeln!(text, "{:<30} {rate:>12.0}", "states a second");
    let _never_fails = writeln!(text, "{:<30} {:>12}", "first seed", args.from);
    text.push('\n');
    text += &tally.table();
    let code = match &failure {
        None => YES,
        Some(Failure { plan, violation }) => {
            text += &told(plan, violation);
            NO
        }
    };
    say(&text);
    code
}

fn seeds(file: &Path) -> u8 {
    let lines = match std::fs::read_to_string(file) {
        Ok(lines) => lines,
        Err(error) => {
            eprintln!("error: cannot read {}: {error}", file.display());
            return USAGE;
        }
    };
    let mut code = YES;
    for line in lines.lines() {
        let (seed, only) = match parse_seed(line) {
            Ok(Some(seed)) => seed,
            Ok(None) => continue,
            Err(error) => {
                eprintln!("error: {}: {error}", file.display());
                return USAGE;
            }
        };
        let plan = Plan::new(seed, only, None);
        match quietly(&plan).and_then(|outcome| outcome.violation) {
            None => say(&format!("{}: nothing wrong\n", plan.command())),
            Some(violation) => {
                say(&told(&plan, &violation));
                code = NO;
            }
        }
    }
    code
}
