//! The same durable appends on AOS, a hand-written reference and peers, in turn within one run.
//!
//! ```sh
//! cd benches/peers && cargo run --release -- append --dir DIR > ../results/NAME.json
//! ```
//!
//! Every peer is set to sync each batch before it answers; how is said in its name. Keys are 8 bytes, big-endian, ascending.
#![forbid(unsafe_code)]

mod log;

use aos_bench::append;
use aos_bench::contender::{OWN, Opener};
use clap::{Parser, Subcommand};
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
}

fn main() -> ExitCode {
    let Command::Append {
        dir,
        rounds,
        seconds,
        batches,
    } = Args::parse().command;
    let all: Vec<Opener> = OWN.into_iter().chain(log::PEERS).collect();
    match append::batches(&dir, &all, &batches, rounds.max(1), seconds) {
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
