//! Arguments of `aos-sim`.

use aos_sim::control::Control;
use clap::{Parser, Subcommand};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Crashes, faults and damage on a simulated disk, from one seed
///
/// With --seed, one run is repeated, byte for byte. Without, seeds are run one after the other, from --from on, for --duration.
#[derive(Parser, Debug)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(clap::Args, Debug)]
pub struct RunArgs {
    /// Repeats the run of this seed and says all that happened
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Keeps only these items of the seed's plan
    #[arg(long, value_name = "N,N", value_parser = only, requires = "seed")]
    pub only: Option<Only>,
    /// Runs seeds for so long: 90s, 10m, 1h
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "seed")]
    pub duration: Option<Duration>,
    /// Runs seeds until so many different crash states were examined
    #[arg(long, value_name = "N", conflicts_with_all = ["seed", "duration"])]
    pub states: Option<u64>,
    /// First seed to run
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub from: u64,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub jobs: usize,
    /// Turns a planted fault on, which a run must catch
    #[arg(long, value_name = "NAME", value_parser = control)]
    pub control: Option<Control>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Runs the seeds of a file again
    Seeds {
        /// A seed a line, and the items to keep
        file: PathBuf,
    },
    /// Damages a closed log in every way there is, or a large one at random, and looks what is found
    Damage {
        /// So many random damages of a large log, instead of all of a small one
        #[arg(long, value_name = "N")]
        samples: Option<u64>,
        #[command(flatten)]
        how: How,
    },
    /// Fails each disk operation of each operation of a log, and cuts the power at each
    Exhaust {
        /// Only the loops that the default test suite has time for
        #[arg(long)]
        short: bool,
        #[command(flatten)]
        how: How,
    },
    /// Checks logs that nothing happened to, and looks for false alarms
    Untouched {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        logs: u64,
        #[command(flatten)]
        how: How,
    },
}

#[derive(clap::Args, Debug)]
pub struct How {
    /// Seed of what is made and chosen
    #[arg(long = "with-seed", value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Threads
    #[arg(long = "threads", value_name = "N", default_value_t = 1)]
    pub jobs: usize,
    /// Turns a planted fault of the store on
    #[arg(long = "with-control", value_name = "NAME", value_parser = control)]
    pub control: Option<Control>,
}

/// Numbers of items.
#[derive(Clone, Debug)]
pub struct Only(pub BTreeSet<u64>);

fn only(text: &str) -> Result<Only, String> {
    let numbers = text.split(',').filter(|number| !number.is_empty());
    let numbers = numbers.map(str::parse).collect::<Result<_, _>>();
    numbers
        .map(Only)
        .map_err(|_| "expected numbers with commas between them".into())
}

pub fn duration(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let parsed = units.iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*seconds)
    });
    let parsed = parsed.map(Duration::from_secs);
    parsed.ok_or_else(|| "expected a number with s, m or h behind it".into())
}

fn control(name: &str) -> Result<Control, String> {
    let names: Vec<&str> = Control::all()
        .iter()
        .map(|control| control.name())
        .collect();
    let control = Control::named(name);
    let control = control.ok_or_else(|| format!("expected one of {}", names.join(", ")))?;
    if control.is_available() {
        Ok(control)
    } else {
        Err("this build has no controls of the store: build with --features controls".into())
    }
}
