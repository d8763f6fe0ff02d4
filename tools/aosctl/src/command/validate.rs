//! `aosctl validate`

use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::output::{Cell, Object, Output};
use aos_replay::determinism::{Difference, Row, Sort, Subject, Trial, Tried, skills, validate};
use clap::{Args, Subcommand, ValueEnum};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Iterations of the planted skill: enough to see that it is found each time.
const PLANTED_MAX: u64 = 20;

/// `validate`
#[derive(Subcommand, Debug)]
pub enum Validate {
    /// Run the same workflows again and again on several threads, and compare every step
    Determinism(Determinism),
}

/// `validate determinism`
#[derive(Args, Debug)]
#[command(after_help = "\
Each workflow is run once for each seed, the outside answering. Then every worker makes it again, every
second time as a replay of the record, and the history digest after each event is compared with the one
recorded. In the same run a skill that claims to be pure and is not must be found in every execution: a
check that finds nothing is worth as much as what it would have found. Exit code 1: something differed,
or the planted skill was missed.

  aosctl validate determinism --workers 3 --iterations 500 --seeds 5 --types compute,io,llm --stress 2")]
pub struct Determinism {
    /// Threads that all make the same runs
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=256), value_name = "N")]
    pub workers: u16,
    /// Times that each worker makes each run
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000), value_name = "N")]
    pub iterations: u64,
    /// Seeds, from 1 on
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000), value_name = "N")]
    pub seeds: u64,
    /// What is run
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "compute,io,llm",
        value_name = "TYPE"
    )]
    pub types: Vec<Type>,
    /// Threads beside the workers that do nothing but take processor time
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024), value_name = "N")]
    pub stress: u16,
}

/// A type of workflow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Type {
    // Expressions, and numbers drawn from the seed.
    Compute,
    // Reads and writes outside, and the clock.
    Io,
    // A model that answers in words.
    Llm,
    // The skill that is not pure, among the others.
    Planted,
}

impl Type {
    fn sort(self) -> Sort {
        match self {
            Type::Compute => Sort::Compute,
            Type::Io => Sort::Io,
            Type::Llm => Sort::Llm,
            Type::Planted => Sort::Planted,
        }
    }
}

/// Runs, replays, compares, and reports.
///
/// # Errors
/// What kept it from being done; that something differed is in the exit code.
pub fn run(command: &Validate, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Validate::Determinism(args) => determinism(args, out),
    }
}

fn determinism(args: &Determinism, out: &mut Output) -> Result<Exit, Failure> {
    let failed = failure::replay(Path::new("the log in memory"));
    let mut types = args.types.clone();
    types.sort_unstable();
    types.dedup();
    let subjects = types
        .iter()
        .map(|kind| kind.sort().subject())
        .collect::<Result<Vec<Subject>, _>>()
        .map_err(&failed)?;
    let trial = Trial {
        workers: args.workers.into(),
        iterations: args.iterations,
        seeds: args.seeds,
        stress: args.stress.into(),
        skills: Arc::new(skills()),
        subjects: &subjects,
    };
    let start = Instant::now();
    let tried = validate(&trial).map_err(&failed)?;
    let seconds = start.elapsed().as_secs_f64();
    let planted = Sort::Planted.subject().map_err(&failed)?;
    let control = validate(&Trial {
        iterations: args.iterations.min(PLANTED_MAX),
        subjects: &[planted],
        ..trial
    })
    .map_err(&failed)?;
    report(args, &tried, &control, seconds, out)?;
    let sound = tried.is_deterministic() && control.differing == control.executions;
    Ok(if sound { Exit::Yes } else { Exit::No })
}

fn report(
    args: &Determinism,
    tried: &Tried,
    control: &Tried,
    seconds: f64,
    out: &mut Output,
) -> Result<(), Failure> {
    let rows: Vec<Object> = tried.rows.iter().map(row).collect();
    if out.form() == Form::Table {
        out.table(&rows, "nothing was run")?;
        let differences: Vec<Object> = tried.differences.iter().map(difference).collect();
        if !differences.is_empty() {
            out.line("")?;
            out.table(&differences, "")?;
        }
        out.line("")?;
    }
    let mut report = Object::new()
        .with("schema", "aos.validate.determinism.v1")
        .with("deterministic", tried.is_deterministic())
        .with("executions", tried.executions)
        .with("replays", tried.replays)
        .with("differing", tried.differing)
        .with("digests_compared", tried.compared)
        .with("log_replay", tried.replayed.name())
        .with("digest", tried.digest().hex())
        .with("workers", args.workers)
        .with("iterations", args.iterations)
        .with("seeds", args.seeds)
        .with("stress", args.stress)
        .with("planted_executions", control.executions)
        .with("planted_found", control.differing)
        .with("seconds", Cell::Seconds(seconds))
        .with(
            "executions_per_s",
            (tried.executions as f64 / seconds.max(1e-9)).round() as u64,
        );
    if out.form() != Form::Table {
        let told: Vec<Object> = tried.differences.iter().map(difference).collect();
        report = report.with("rows", rows).with("differences", told);
    }
    out.object(&report)
}

fn row(row: &Row) -> Object {
    Object::new()
        .with("type", row.subject.as_str())
        .with("seed", row.seed)
        .with("run", row.run.to_string())
        .with("events", row.events)
        .with("digest", row.digest.hex())
        .with("differing", row.differing)
}

fn difference(found: &Difference) -> Object {
    Object::new()
        .with("type", found.subject.as_str())
        .with("seed", found.seed)
        .with("worker", found.worker)
        .with("iteration", found.iteration)
        .with("replay", found.replay)
        .with("event", found.event)
        .with("activation", found.activation.clone())
        .with("expected", found.expected.map(|digest| digest.hex()))
        .with("found", found.found.map(|digest| digest.hex()))
}
