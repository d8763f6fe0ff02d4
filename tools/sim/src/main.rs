//! `aos-sim`: the whole system on a simulated disk, from one seed.
//!
//! Results go to stdout. Exit code 0: nothing wrong was found; 1: something was; 2: usage.
#![forbid(unsafe_code)]

mod args;
mod command;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    ExitCode::from(command::run(&args))
}
