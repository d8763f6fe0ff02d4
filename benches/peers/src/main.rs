//! The same durable appends on AOS, a hand-written reference and peers, in turn within one run.
//!
//! ```sh
//! cd benches/peers && cargo build --release
//! target/release/aos-peers append --dir DIR > ../results/NAME.json
//! RUST_LOG=off target/release/aos-peers engine --dir DIR > ../results/NAME.json   # duroxide logs to standard output else
//! ```
//!
//! Every peer is set to sync each batch before it answers; how is said in its name. Keys are 8 bytes, big-endian, ascending.
#![forbid(unsafe_code)]

mod engine;
mod log;

use aos_bench::append;
use aos_bench::contender::{EVENT_LEN, OWN, Opener};
use clap::{Parser, Subcommand};
use engine::Work;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Measures AOS beside its peers", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Append durably.
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
    },
    /// Run trivial steps durably: many runs, then one.
    Engine {
        /// Directory on the disk to measure.
        #[arg(long)]
        dir: PathBuf,
        /// Runs of 10 steps, 100 at a time.
        #[arg(long, default_value_t = 2000)]
        runs: usize,
        /// Steps of the one run.
        #[arg(long, default_value_t = 2000)]
        steps: usize,
        /// Rounds.
        #[arg(long, default_value_t = 1)]
        rounds: usize,
    },
}

fn main() -> ExitCode {
    let measured = match Args::parse().command {
        Command::Append {
            dir,
            rounds,
            seconds,
            batches,
        } => {
            let all: Vec<Opener> = OWN.into_iter().chain(log::PEERS).collect();
            let plan = append::Plan {
                dir: &dir,
                batches: &batches,
                payloads: &[EVENT_LEN],
                rounds: rounds.max(1),
                seconds,
            };
            append::batches(&all, &plan)
        }
        Command::Engine {
            dir,
            runs,
            steps,
            rounds,
        } => {
            let many = Work {
                runs,
                steps: 10,
                in_flight: 100,
            };
            let one = Work {
                runs: 1,
                steps,
                in_flight: 1,
            };
            engine::measure(&dir, &[many, one], rounds.max(1))
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
