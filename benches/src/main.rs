//! Measurements of AOS beside its ceilings, in turn within one run.
//!
//! ```sh
//! cargo run --release -p aos-bench -- append --dir DIR > benches/results/NAME.json
//! cargo run --release -p aos-bench -- replay LOG --rounds 5 > benches/results/NAME.json
//! cargo run --release -p aos-bench -- verify LOG --rounds 5 > benches/results/NAME.json
//! cargo run --release -p aos-bench -- golden LOG --dir DIR > benches/results/NAME.json
//! cargo run --release -p aos-bench -- language > benches/results/NAME.json
//! cargo run --release -p aos-bench -- parse WORKFLOW... > benches/results/NAME.json
//! cargo run --release -p aos-bench -- bytes LOG > benches/results/NAME.json
//! ```
#![forbid(unsafe_code)]

use aos_bench::contender::{Chaining, OWN};
use aos_bench::engine::{self, Setting};
use aos_bench::workload::Workload;
use aos_bench::{append, bytes, golden, language, open, parse, read, replay, validate, verify};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Measures AOS beside its ceilings", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Count where the bytes of a log go.
    Bytes {
        /// The log.
        log: PathBuf,
    },
    /// Verify a log, beside plain SHA-256 of what is hashed in it, at every width of the machine.
    Verify {
        /// The log.
        log: PathBuf,
        /// Rounds, in each of which everything is measured in turn.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Numbers of workers to measure.
        #[arg(long, value_delimiter = ',', default_value = "1,2")]
        workers: Vec<usize>,
    },
    /// Verify and replay a log, beside plain SHA-256 over the same bytes.
    Replay {
        /// The log.
        log: PathBuf,
        /// Rounds; each figure is given as minimum, median and maximum.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Numbers of workers to measure.
        #[arg(long, value_delimiter = ',', default_value = "1,2")]
        workers: Vec<usize>,
    },
    /// Seal a log and verify the archive, beside plain SHA-256 of the same bytes.
    Golden {
        /// The log.
        log: PathBuf,
        /// Directory for the archives, which are removed.
        #[arg(long, default_value = ".")]
        dir: PathBuf,
        /// Rounds.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Numbers of workers to measure.
        #[arg(long, value_delimiter = ',', default_value = "1,2")]
        workers: Vec<usize>,
    },
    /// Run the same steps from a document and from Rust.
    Language {
        /// Rounds, in each of which both run in turn.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Steps of a run.
        #[arg(long, default_value_t = 10_000)]
        steps: usize,
    },
    /// Load workflow documents: read, check and compile them.
    Parse {
        /// The documents.
        #[arg(required = true)]
        documents: Vec<PathBuf>,
        /// Rounds.
        #[arg(long, default_value_t = 200)]
        rounds: usize,
    },
    /// Append durably, beside a hand-written log.
    Append {
        /// Directory on the disk to measure; each contender works in a new one below it.
        #[arg(long)]
        dir: PathBuf,
        /// Rounds.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Seconds for each contender in each round.
        #[arg(long, default_value_t = 1.0)]
        seconds: f64,
        /// Events a sync.
        #[arg(long, value_delimiter = ',', default_value = "1,100,1000")]
        batches: Vec<usize>,
        /// Bytes of an event.
        #[arg(long, value_delimiter = ',', default_value = "256")]
        payloads: Vec<usize>,
    },
    /// Run a workload and replay it.
    Engine {
        /// Directory on the disk to measure.
        #[arg(long)]
        dir: PathBuf,
        /// JSON lines of loan applications; computing steps without.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Runs.
        #[arg(long, default_value_t = 2000)]
        runs: usize,
        /// Steps a run.
        #[arg(long, default_value_t = 10)]
        steps: usize,
        /// Effects instead of computing steps.
        #[arg(long)]
        effects: bool,
        /// Directory in which a log of one more round stays.
        #[arg(long)]
        keep: Option<PathBuf>,
        /// Bytes of each step's output; 0 for steps that add 1.
        #[arg(long, default_value_t = 0)]
        bulk: usize,
        /// Runs in memory.
        #[arg(long, default_value_t = 100)]
        in_flight: usize,
        /// Numbers of workers.
        #[arg(long, value_delimiter = ',', default_value = "1,2")]
        workers: Vec<usize>,
        /// Rounds.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Read single records by their offset.
    Read {
        /// Directory on the disk to measure.
        #[arg(long)]
        dir: PathBuf,
        /// Records.
        #[arg(long, default_value_t = 200_000)]
        records: usize,
        /// Rounds.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Open a log: until its durable prefix is known, until every run is.
    Open {
        /// The log.
        log: PathBuf,
        /// Open it for writing too.
        #[arg(long)]
        write: bool,
        /// Rounds.
        #[arg(long, default_value_t = 10)]
        rounds: usize,
    },
    /// Make executions again and compare them.
    Validate {
        /// Numbers of workers.
        #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
        workers: Vec<usize>,
        /// Iterations.
        #[arg(long, default_value_t = 500)]
        iterations: u64,
        /// Seeds.
        #[arg(long, default_value_t = 5)]
        seeds: u64,
        /// Rounds.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Append from many threads, each with many appends in flight.
    Producers {
        /// Directory on the disk to measure.
        #[arg(long)]
        dir: PathBuf,
        /// Threads.
        #[arg(long, default_value_t = 16)]
        producers: usize,
        /// Appends of each thread that are not durable yet.
        #[arg(long, default_value_t = 256)]
        in_flight: usize,
        /// With a history digest in each event.
        #[arg(long)]
        chained: bool,
        /// Rounds.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Seconds a round.
        #[arg(long, default_value_t = 1.0)]
        seconds: f64,
    },
}

/// As the tool has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let measured = match Args::parse().command {
        Command::Bytes { log } => bytes::count(&log),
        Command::Language { rounds, steps } => language::measure(rounds.max(1), steps.max(1)),
        Command::Parse { documents, rounds } => parse::measure(&documents, rounds.max(1)),
        Command::Golden {
            log,
            dir,
            rounds,
            workers,
        } => golden::measure(&log, &dir, rounds.max(1), &workers),
        Command::Verify {
            log,
            rounds,
            workers,
        } => verify::measure(&log, rounds.max(1), &workers),
        Command::Replay {
            log,
            rounds,
            workers,
        } => replay::measure(&log, rounds.max(1), &workers),
        Command::Append {
            dir,
            rounds,
            seconds,
            batches,
            payloads,
        } => append::batches(
            &OWN,
            &append::Plan {
                dir: &dir,
                batches: &batches,
                payloads: &payloads,
                rounds: rounds.max(1),
                seconds,
            },
        ),
        Command::Engine {
            dir,
            data,
            runs,
            steps,
            effects,
            keep,
            bulk,
            in_flight,
            workers,
            rounds,
        } => {
            let settings: Vec<Setting> = workers
                .into_iter()
                .map(|workers| Setting { workers, in_flight })
                .collect();
            match data {
                _ if effects => engine::effects(&dir, steps, rounds),
                data => match data {
                    Some(data) => Workload::loans(&data),
                    None if bulk > 0 => Workload::bulky(runs, steps, bulk),
                    None => Workload::computing(runs, steps),
                }
                .and_then(|work| engine::measure(&dir, &work, &settings, rounds, keep.as_deref())),
            }
        }
        Command::Read {
            dir,
            records,
            rounds,
        } => read::measure(&dir, records.max(1000), rounds.max(1)),
        Command::Open { log, write, rounds } => open::measure(&log, rounds.max(1), write),
        Command::Validate {
            workers,
            iterations,
            seeds,
            rounds,
        } => validate::measure(&workers, iterations, seeds, rounds.max(1)),
        Command::Producers {
            dir,
            producers,
            in_flight,
            chained,
            rounds,
            seconds,
        } => {
            let chaining = match chained {
                true => Chaining::Chained,
                false => Chaining::Opaque,
            };
            let time = (rounds.max(1), seconds);
            append::producers(&dir, producers, in_flight.max(1), chaining, time)
        }
    };
    match measured {
        Ok(result) => {
            println!("{result:#}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
