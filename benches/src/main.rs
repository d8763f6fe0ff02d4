//! Measurements of a whole log: replay beside plain SHA-256 over the same bytes, alternating in one run; where its bytes go.
//!
//! ```sh
//! cargo run --release -p aos-bench -- replay LOG --rounds 5 > benches/results/NAME.json
//! cargo run --release -p aos-bench -- verify LOG --rounds 5 > benches/results/NAME.json
//! cargo run --release -p aos-bench -- bytes LOG > benches/results/NAME.json
//! ```
#![forbid(unsafe_code)]

mod bytes;
mod verify;

use aos_disk::RealDisk;
use aos_format::digest::Digest;
use aos_replay::{Options, replay};
use aos_store::LogReader;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Length of the messages that the plain SHA-256 hashes, in bytes.
const MESSAGE: u64 = 1 << 20;

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
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Bytes { log } => bytes::count(&log),
        Command::Verify {
            log,
            rounds,
            workers,
        } => verify::measure(&log, rounds.max(1), &workers),
        Command::Replay {
            log,
            rounds,
            workers,
        } => measure_replay(&log, rounds.max(1), &workers),
    };
    match result {
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

pub(crate) type Failure = Box<dyn std::error::Error>;

fn measure_replay(path: &Path, rounds: usize, workers: &[usize]) -> Result<Value, Failure> {
    let reader = LogReader::open(Arc::new(RealDisk), path)?;
    let end = reader.tail()?.end.0;
    let warm = aos_replay::verify(&reader, workers.iter().copied().max().unwrap_or(1))?;
    let mut rows = Vec::new();
    for &workers in workers {
        let (mut plain, mut verified, mut replayed) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            plain.push(timed(|| plain_sha256(&reader, end, workers))?);
            verified.push(timed(|| {
                aos_replay::verify(&reader, workers)
                    .map(drop)
                    .map_err(Failure::from)
            })?);
            let options = Options {
                workers,
                ..Options::default()
            };
            replayed.push(timed(|| {
                replay(&reader, &options).map(drop).map_err(Failure::from)
            })?);
        }
        let figures = |seconds: &mut Vec<f64>| {
            seconds.sort_by(f64::total_cmp);
            let median = seconds[seconds.len() / 2];
            json!({
                "seconds": {"min": seconds[0], "median": median, "max": seconds[seconds.len() - 1]},
                "events_per_s": (warm.events as f64 / median).round(),
                "steps_per_s": (warm.steps as f64 / median).round(),
                "gb_per_s": (end as f64 / median / 1e7).round() / 100.0,
            })
        };
        let (plain, verified, replayed) = (
            figures(&mut plain),
            figures(&mut verified),
            figures(&mut replayed),
        );
        rows.push(json!({"workers": workers, "plain_sha256": plain, "verify": verified, "replay": replayed}));
    }
    Ok(json!({
        "schema": "aos.bench.replay.v1",
        "machine": machine(),
        "rounds": rounds,
        "log": {"bytes": end, "records": warm.records, "events": warm.events, "steps": warm.steps,
                "runs": warm.runs.len(), "bytes_per_step": (end as f64 / warm.steps.max(1) as f64).round(),
                "digest": warm.digest().hex()},
        "figures": rows,
    }))
}

pub(crate) fn timed(work: impl FnOnce() -> Result<(), Failure>) -> Result<f64, Failure> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

/// The ceiling: every byte of the log hashed once in long messages, read as the replay reads them.
fn plain_sha256(reader: &LogReader, end: u64, workers: usize) -> Result<(), Failure> {
    let next = AtomicU64::new(0);
    let stride = reader.identity().stride.bytes();
    let work = || -> Result<(), aos_store::Error> {
        loop {
            let at = next.fetch_add(MESSAGE, Ordering::Relaxed);
            if at >= end {
                return Ok(());
            }
            let to = (at + MESSAGE).min(end).min(at / stride * stride + stride);
            let bytes = reader.read_range(at..to)?;
            std::hint::black_box(Digest::of(&bytes));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })
}

/// What the figures were measured on.
pub(crate) fn machine() -> Value {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
            .unwrap_or_default()
    };
    let flags = field("flags");
    let sha = flags.split(' ').any(|flag| flag == "sha_ni");
    json!({
        "cpu": field("model name"),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "sha_ni": sha,
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "build": env!("CARGO_PKG_VERSION"),
    })
}
