//! `aosctl whatif`

use super::diff::{self, Opened};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::input;
use crate::logs;
use crate::output::{Output, talk};
use aos_engine::value::Value;
use aos_replay::diff::{Authenticate, Exchange, Input, Options, what_if};
use clap::Args;
use std::path::{Path, PathBuf};

/// `whatif`
#[derive(Args, Debug)]
#[command(after_help = "\
Offline: recorded answers are used, nothing outside is touched, and the log asked about is not changed.
Exit code 1 says that the run would have gone another way.

  aosctl whatif loans.aos 17 --set begin.output='{\"amount\": 1}' --log whatif.aos")]
pub struct WhatIf {
    /// Log
    #[arg(value_name = "LOG")]
    pub source: String,
    /// Run: its id, the first 6 or more digits of it, or its key
    #[arg(value_name = "RUN")]
    pub run: String,
    /// What a step gives instead, or the run's input: STEP.output=JSON or input=JSON
    #[arg(long, required = true, value_name = "STEP.output=JSON")]
    pub set: Vec<String>,
    /// Log to write the other history to; it must not be there yet
    #[arg(long, value_name = "LOG")]
    pub log: PathBuf,
}

/// Derives a run again with something exchanged, writes that into a new log, and compares.
///
/// # Errors
/// Those of reading and writing logs; a step that is not there.
pub fn whatif(args: &WhatIf, out: &mut Output) -> Result<Exit, Failure> {
    let exchanges: Vec<Exchange> = args
        .set
        .iter()
        .map(|set| exchange(set))
        .collect::<Result<_, _>>()?;
    let opened = Opened::open(&args.source)?;
    let side = opened.input(false, host::cores())?;
    let run = opened.find(&side, &args.run)?;
    if args.log.exists() {
        let message = format!("{} is there already", failure::shown(&args.log));
        return Err(Failure::new(failure::USAGE, Exit::Refused, message)
            .place(failure::shown(&args.log))
            .next("another --log"));
    }
    let options = Options::default();
    let stride = aos_store::Source::identity(&side).stride.bytes();
    let beside = beside(&args.log)?;
    let log = logs::writer(&beside, Some(Some(stride)))?;
    let failed = failure::replay(&opened.named.path);
    let done = what_if(&side, run, &exchanges, &options, &log).map_err(failed)?;
    let log = std::sync::Arc::try_unwrap(log)
        .map_err(|_| Failure::new(failure::BUG, Exit::Bug, "the new log is still in use"))?;
    log.close().map_err(failure::store(&beside))?;
    put(&beside, &args.log).map_err(|error| failure::file("rename", &beside, &error))?;
    if let Some(key) = &done.needs {
        talk(&format!(
            "the run stays open: nobody recorded an answer to {key}"
        ));
    }
    let reader = logs::reader(&args.log)?;
    let name = failure::shown(&args.log);
    let other =
        Input::log(&name, &reader, Authenticate::Full, 1).map_err(failure::replay(&args.log))?;
    let there = other.run(run.run).map_err(failure::replay(&args.log))?;
    let options = Options {
        causes: false,
        ..Options::default()
    };
    let report = aos_replay::diff::diff([&side, &other], [run, there], &options)
        .map_err(failure::replay(&args.log))?;
    diff::show(&report, out)
}

/// Where the log is made, so that at its own place it is whole or not there; what a broken-off attempt left is taken away.
fn beside(log: &Path) -> Result<PathBuf, Failure> {
    let mut name = log.components().collect::<PathBuf>().into_os_string();
    name.push(".deriving");
    let path = PathBuf::from(name);
    if path.exists() {
        // Opening it shows that nobody else is at work there.
        let left = logs::writer(&path, Some(None))?;
        std::fs::remove_dir_all(&path).map_err(|error| failure::file("remove", &path, &error))?;
        drop(left);
    }
    Ok(path)
}

fn put(made: &Path, log: &Path) -> std::io::Result<()> {
    std::fs::rename(made, log)?;
    let parent = log.parent().filter(|parent| *parent != Path::new(""));
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn exchange(set: &str) -> Result<Exchange, Failure> {
    let bad = || {
        let message = format!("--set takes STEP.output=JSON or input=JSON, not {set}");
        Failure::new(failure::USAGE, Exit::Usage, message).next("aosctl whatif --help")
    };
    let (place, json) = set.split_once('=').ok_or_else(bad)?;
    let value: Value = input::argument("--set", json)?;
    if place == "input" {
        return Ok(Exchange::Input(value));
    }
    let step = place
        .strip_suffix(".output")
        .filter(|step| !step.is_empty());
    Ok(Exchange::Output {
        step: step.ok_or_else(bad)?.to_owned(),
        output: value,
    })
}
