//! `aosctl bench`

use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::output::{Output, talk};
use aos_bench::contender::{Chaining, OWN};
use aos_bench::engine::{self, Setting};
use aos_bench::workload::Workload;
use aos_bench::{append, export, open, replay, report, validate};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// `bench`
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Every figure stands beside its ceiling, measured in turn within one run: only such ratios mean anything on
another machine. Close everything else, and say which disk with --dir.

  aosctl bench append --dir . --batches 1,100,1000 > append.json
  aosctl bench report append.json --out bench.html")]
pub enum Bench {
    /// Append durably, beside a hand-written log
    Append(Append),
    /// Run workflows until they are durable, and replay them
    Engine(Engine),
    /// Verify and replay a log, beside plain SHA-256 of its bytes
    Replay(Replay),
    /// Open a log
    Open(Open),
    /// Make executions again and compare them
    Validate(Validate),
    /// Draw results as one HTML page; measures a little itself where none are given
    Report(Report),
}

/// What every measurement takes.
#[derive(Args, Debug)]
pub struct Common {
    /// Rounds, in each of which everything is measured in turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    pub rounds: u32,
    /// Form of the result; markdown on a terminal, json when piped
    #[arg(long, value_enum, value_name = "FORM")]
    pub export: Option<Export>,
}

/// Form of a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Export {
    // What `bench report` reads.
    Json,
    // Tables.
    Markdown,
}

/// `bench append`
#[derive(Args, Debug)]
pub struct Append {
    /// Directory on the disk to measure; everything in it is removed again
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Events a sync
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,100,1000",
        value_name = "N"
    )]
    pub batches: Vec<usize>,
    /// Bytes of an event
    #[arg(long, value_delimiter = ',', default_value = "256", value_name = "N")]
    pub payloads: Vec<usize>,
    /// Seconds of each turn, after a warm-up of a tenth of that
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    pub seconds: f64,
    /// Instead: this many threads, each with appends in flight
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N")]
    pub producers: Option<u16>,
    /// Appends of each thread that are not durable yet
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    pub in_flight: u32,
    #[command(flatten)]
    pub common: Common,
}

/// `bench engine`
#[derive(Args, Debug)]
pub struct Engine {
    /// Directory on the disk to measure; everything in it is removed again
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Runs
    #[arg(long, default_value_t = 2000, value_name = "N")]
    pub runs: usize,
    /// Steps of a run
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub steps: usize,
    /// Runs in memory at a time
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    pub in_flight: u32,
    /// One run in which each step has an effect, beside the syncs that takes
    #[arg(long, conflicts_with = "data")]
    pub effects: bool,
    /// Run the loan example on JSON lines instead, plain or gzip
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Numbers of threads that compute
    #[arg(long, value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N")]
    pub workers: Vec<u16>,
    #[command(flatten)]
    pub common: Common,
}

/// `bench replay`
#[derive(Args, Debug)]
pub struct Replay {
    /// The log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Numbers of workers
    #[arg(long, value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N")]
    pub workers: Vec<u16>,
    #[command(flatten)]
    pub common: Common,
}

/// `bench open`
#[derive(Args, Debug)]
pub struct Open {
    /// The log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Open it for writing too, which appends a record each time
    #[arg(long)]
    pub write: bool,
    #[command(flatten)]
    pub common: Common,
}

/// `bench validate`
#[derive(Args, Debug)]
pub struct Validate {
    /// Numbers of threads that all make the same runs
    #[arg(long, value_delimiter = ',', default_value = "1,2,3", value_parser = clap::value_parser!(u16).range(1..=256), value_name = "N")]
    pub workers: Vec<u16>,
    /// Times that each worker makes each run
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000), value_name = "N")]
    pub iterations: u64,
    /// Seeds, from 1 on
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000), value_name = "N")]
    pub seeds: u64,
    #[command(flatten)]
    pub common: Common,
}

/// `bench report`
#[derive(Args, Debug)]
pub struct Report {
    /// Results, as `--export json` wrote them
    #[arg(value_name = "RESULT")]
    pub results: Vec<PathBuf>,
    /// Page to write
    #[arg(long, default_value = "bench.html", value_name = "FILE")]
    pub out: PathBuf,
    /// Directory on the disk to measure where no results are given
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Seconds of each turn where no results are given
    #[arg(long, default_value_t = 0.3, value_name = "SECONDS")]
    pub seconds: f64,
}

/// Measures, or draws what was measured.
///
/// # Errors
/// What kept it from being done.
pub fn run(command: &Bench, out: &mut Output) -> Result<Exit, Failure> {
    let (result, common) = match command {
        Bench::Append(args) => (appended(args)?, &args.common),
        Bench::Engine(args) => (ran(args)?, &args.common),
        Bench::Replay(args) => {
            let measured = replay::measure(&args.log, rounds(&args.common), &wide(&args.workers));
            (measured.map_err(failed(&args.log))?, &args.common)
        }
        Bench::Open(args) => {
            let measured = open::measure(&args.log, rounds(&args.common), args.write);
            (measured.map_err(failed(&args.log))?, &args.common)
        }
        Bench::Validate(args) => {
            let (workers, rounds) = (wide(&args.workers), rounds(&args.common));
            let measured = validate::measure(&workers, args.iterations, args.seeds, rounds);
            let place = Path::new("the log in memory");
            (measured.map_err(failed(place))?, &args.common)
        }
        Bench::Report(args) => return drawn(args),
    };
    let form = common.export.unwrap_or(match out.form() {
        Form::Table => Export::Markdown,
        Form::Json | Form::Jsonl => Export::Json,
    });
    match form {
        Export::Json => out.line(&format!("{result:#}"))?,
        Export::Markdown => out.raw(export::markdown(&result).as_bytes())?,
    }
    Ok(Exit::Yes)
}

fn rounds(common: &Common) -> usize {
    common.rounds as usize
}

fn wide(workers: &[u16]) -> Vec<usize> {
    workers.iter().map(|&workers| workers.into()).collect()
}

/// Seconds of a turn that make sense.
fn seconds(seconds: f64) -> Result<f64, Failure> {
    if (0.001..=3600.0).contains(&seconds) {
        return Ok(seconds);
    }
    let message = format!("--seconds takes a number from 0.001 to 3600, not {seconds}");
    Err(Failure::new(failure::USAGE, Exit::Usage, message).next("aosctl bench append --help"))
}

fn positive(option: &str, numbers: &[usize], most: usize) -> Result<(), Failure> {
    match numbers.iter().find(|number| !(1..=most).contains(*number)) {
        None => Ok(()),
        Some(number) => {
            let message = format!("{option} takes numbers from 1 to {most}, not {number}");
            Err(Failure::new(failure::USAGE, Exit::Usage, message).next("aosctl bench --help"))
        }
    }
}

fn appended(args: &Append) -> Result<Value, Failure> {
    positive("--batches", &args.batches, 100_000)?;
    positive("--payloads", &args.payloads, 1 << 20)?;
    let seconds = seconds(args.seconds)?;
    let measured = match args.producers {
        Some(producers) => append::producers(
            &args.dir,
            producers.into(),
            args.in_flight as usize,
            Chaining::Opaque,
            (rounds(&args.common), seconds),
        ),
        None => append::batches(
            &OWN,
            &append::Plan {
                dir: &args.dir,
                batches: &args.batches,
                payloads: &args.payloads,
                rounds: rounds(&args.common),
                seconds,
            },
        ),
    };
    measured.map_err(failed(&args.dir))
}

fn ran(args: &Engine) -> Result<Value, Failure> {
    positive("--runs", &[args.runs], 100_000_000)?;
    positive("--steps", &[args.steps], 1_000_000)?;
    let measured = if args.effects {
        engine::effects(&args.dir, args.steps, rounds(&args.common))
    } else {
        let settings: Vec<Setting> = wide(&args.workers)
            .into_iter()
            .map(|workers| Setting {
                workers,
                in_flight: args.in_flight as usize,
            })
            .collect();
        match &args.data {
            Some(data) => Workload::loans(data),
            None => Workload::computing(args.runs, args.steps),
        }
        .and_then(|work| engine::measure(&args.dir, &work, &settings, rounds(&args.common), None))
    };
    measured.map_err(failed(&args.dir))
}

fn drawn(args: &Report) -> Result<Exit, Failure> {
    let seconds = seconds(args.seconds)?;
    let mut results = Vec::new();
    for path in &args.results {
        let bytes = std::fs::read(path).map_err(|error| failure::file("read", path, &error))?;
        let result: Value = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(
                failure::NOT_JSON,
                Exit::Damaged,
                format!("not a result: {error}"),
            )
            .place(failure::shown(path))
            .next("aosctl bench append --export json")
        })?;
        results.push((failure::shown(path), result));
    }
    if results.is_empty() {
        results = measured_here(&args.dir, seconds).map_err(failed(&args.dir))?;
    }
    let page = report::html(&results);
    std::fs::write(&args.out, page).map_err(|error| failure::file("write", &args.out, &error))?;
    talk(&format!("wrote {}", failure::shown(&args.out)));
    Ok(Exit::Yes)
}

/// A little of everything that needs no log.
fn measured_here(
    dir: &Path,
    seconds: f64,
) -> Result<Vec<(String, Value)>, aos_bench::stats::Failure> {
    let plan = append::Plan {
        dir,
        batches: &[1, 10, 100, 1000],
        payloads: &[64, 256, 1024, 4096],
        rounds: 1,
        seconds,
    };
    let settings = [1, 2].map(|workers| Setting {
        workers,
        in_flight: 1000,
    });
    let work = Workload::computing(2000, 10)?;
    Ok(vec![
        ("appends".into(), append::batches(&OWN, &plan)?),
        (
            "producers".into(),
            append::producers(dir, 16, 256, Chaining::Opaque, (1, seconds))?,
        ),
        (
            "computing steps".into(),
            engine::measure(dir, &work, &settings, 1, None)?,
        ),
        (
            "determinism".into(),
            validate::measure(&[1, 2, 3], 100, 5, 1)?,
        ),
    ])
}

/// The failure for what a measurement said.
fn failed(place: &Path) -> impl Fn(aos_bench::stats::Failure) -> Failure + '_ {
    move |error| {
        let error = match error.downcast::<aos_store::Error>() {
            Ok(error) => return failure::store(place)(*error),
            Err(error) => error,
        };
        let error = match error.downcast::<aos_replay::Error>() {
            Ok(error) => return failure::replay(place)(*error),
            Err(error) => error,
        };
        match error.downcast::<std::io::Error>() {
            Ok(error) => failure::file("measure in", place, &error),
            Err(error) => {
                let message = format!("cannot measure: {error}");
                Failure::new(failure::MEASURE, Exit::Environment, message)
                    .place(failure::shown(place))
                    .next("aosctl bench --help")
            }
        }
    }
}
