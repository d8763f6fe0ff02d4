//! The command line of AOS.
//!
//! One file a command below `command/`; what several of them need stands beside it. Nothing here decides about runs or
//! bytes: the libraries do. Data goes to stdout, everything else to stderr, and the exit code says how it went.
#![forbid(unsafe_code)]

mod args;
mod bug;
mod command;
mod drive;
mod exit;
mod explain;
mod failure;
mod host;
mod input;
mod logs;
mod mail;
mod output;
mod record;
mod tally;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, talk};
use clap::Parser;
use std::process::ExitCode;

/// Expressions live on small, short-lived values; the system's allocator takes a quarter of a job's time for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Stack of the thread that runs commands: what expressions need at their deepest.
const STACK_BYTES: usize = aos_engine::expr::EVAL_STACK_BYTES;

fn main() -> ExitCode {
    bug::install();
    let thread = std::thread::Builder::new()
        .name("aosctl".into())
        .stack_size(STACK_BYTES)
        .spawn(run);
    let exit = match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(exit)) => exit,
        Ok(Err(_panic)) => bug::uncaught(),
        Err(error) => told(Failure::new(
            failure::SYSTEM,
            Exit::Environment,
            format!("cannot start a thread: {error}"),
        )),
    };
    exit.into()
}

fn run() -> Exit {
    let given = command::check::form_of_drawing(std::env::args_os());
    let cli = match args::Cli::try_parse_from(given) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let mut out = Output::new(cli.output);
    let exit = command::run(&cli.command, &mut out).unwrap_or_else(told);
    out.flush()
        .map_or_else(|failure| told(failure).worst(exit), |()| exit)
}

fn told(failure: Failure) -> Exit {
    failure.print();
    failure.exit
}

/// Help and versions go to stdout; anything else is an error like others.
fn usage(error: &clap::Error) -> Exit {
    if error.use_stderr() {
        let text = error.render();
        let text = if output::colours() {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        let coded = format!("error[{}]", failure::USAGE);
        let is_help =
            error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        let text = if is_help {
            text
        } else {
            text.replacen("error", &coded, 1)
        };
        talk(text.trim_end());
        return Exit::Usage;
    }
    // Whoever reads help may close the pipe at any time.
    let _ = error.print();
    Exit::Yes
}
