//! What the tool does.

use crate::args::{Args, Command, How, RunArgs};
use aos_sim::control::Control;
use aos_sim::damage::{self, Target};
use aos_sim::exhaust::{self, Depth, Done};
use aos_sim::oracle::Violation;
use aos_sim::plan::Plan;
use aos_sim::shrink::{Outcome, note_panics, run as run_plan};
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
        Some(Command::Damage { samples, how }) => damaged(*samples, how),
        Some(Command::Exhaust { short, how }) => exhausted(*short, how),
        Some(Command::Untouched { logs, how }) => untouched(*logs, how),
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
    note_panics();
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
    note_panics();
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

/// Says what a loop came to, and how long it took.
fn result(mut text: String, begun: Instant, violation: Option<Violation>) -> u8 {
    let seconds = begun.elapsed().as_secs_f64();
    let _never_fails = writeln!(text, "{:<30} {seconds:>12.1}", "seconds");
    let code = match violation {
        None => YES,
        Some(violation) => {
            let Violation { rule, what } = violation;
            let _never_fails = writeln!(text, "VIOLATION {rule}: {what}");
            NO
        }
    };
    say(&text);
    code
}

/// Segments of a large log, and its length.
const LARGE: (u32, u64) = (16, 1 << 20);
/// Those of a small one: four or five segments of 4 KiB.
const SMALL: (u32, u64) = (12, 13_000);

fn damaged(samples: Option<u64>, how: &How) -> u8 {
    let begun = Instant::now();
    let (stride_log2, bytes) = if samples.is_some() { LARGE } else { SMALL };
    let target = match Target::new(how.seed, stride_log2, bytes) {
        Ok(target) => target,
        Err(error) => {
            let violation = Violation::new("simulator", error.to_string());
            return result(String::new(), begun, Some(violation));
        }
    };
    let control = how.control.and_then(Control::in_store);
    let mut text = format!("{:<30} {:>12}\n", "bytes of the log", target.len());
    match damage::run(&target, samples, how.seed, how.jobs, control) {
        Err(violation) => result(text, begun, Some(violation)),
        Ok(found) => {
            for (way, (all, located)) in &found.by_way {
                let _never_fails =
                    writeln!(text, "{way:<30} {all:>12}, at the frame hit {located}");
            }
            for (kind, count) in &found.by_kind {
                let _never_fails = writeln!(text, "{kind:<30} {count:>12}");
            }
            let all = found.all();
            let _never_fails = writeln!(text, "{:<30} {all:>12}", "found, of as many");
            let none = found.without_effect;
            let _never_fails = writeln!(text, "{:<30} {none:>12}", "changed nothing");
            result(text, begun, None)
        }
    }
}

fn exhausted(short: bool, how: &How) -> u8 {
    let begun = Instant::now();
    let depth = if short { Depth::SHORT } else { Depth::WHOLE };
    match exhaust::run(depth, how.jobs) {
        Err(violation) => result(String::new(), begun, Some(violation)),
        Ok((done, cut, tally)) => {
            let mut text = table(&done);
            let _never_fails = writeln!(text, "{:<30} {cut:>12}", "groups cut at a byte");
            text += &tally.summary();
            result(text, begun, None)
        }
    }
}

fn table(done: &[(&'static str, Done)]) -> String {
    let mut text = format!(
        "{:<24} {:>8} {:>8} {:>10} {:>12}\n",
        "operation", "writes", "reads", "failures", "power cuts"
    );
    for (name, done) in done {
        let Done {
            ops,
            reads,
            faults,
            cuts,
        } = done;
        let _never_fails = writeln!(
            text,
            "{name:<24} {ops:>8} {reads:>8} {faults:>10} {cuts:>12}"
        );
    }
    text
}

fn untouched(logs: u64, how: &How) -> u8 {
    let begun = Instant::now();
    let names = ["closed", "killed", "cut by a power cut", "being written"];
    match exhaust::untouched(logs, how.seed) {
        Err(violation) => result(String::new(), begun, Some(violation)),
        Ok(counts) => {
            let mut text = String::new();
            for (name, count) in names.iter().zip(counts) {
                let _never_fails = writeln!(text, "{name:<30} {count:>12}");
            }
            result(text, begun, None)
        }
    }
}
