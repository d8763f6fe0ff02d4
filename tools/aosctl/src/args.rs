//! The command line.

use crate::command::{Mock, Query, Simulate, SkillsArgs};
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Shown after the list of commands.
const AFTER: &str = "\
Exit codes: 0 yes, 1 no (mismatch, a run failed), 2 usage, 3 refused (conflict), 4 not found,
5 damaged, 6 environment (disk, lock, permission), 7 undecided, 8 limit, 70 a bug in AOS,
130 or 143 stopped and resumable. The worst wins.

First steps: `aosctl demo`; what an error code means: `aosctl explain CODE`";

fn styles() -> Styles {
    let bold = AnsiColor::White.on_default().bold();
    Styles::styled()
        .header(bold)
        .usage(bold)
        .literal(AnsiColor::Cyan.on_default())
}

/// Runs workflows on a log, resumes them after a crash, and replays them.
#[derive(Parser, Debug)]
#[command(name = "aosctl", version, after_help = AFTER, styles = styles(), max_term_width = 100)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    /// Form of the output; table on a terminal, jsonl when piped
    #[arg(short, long, global = true, value_enum, value_name = "FORM")]
    pub output: Option<Form>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Form of the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Form {
    // For people.
    Table,
    // One JSON document.
    Json,
    // One JSON object a line, the summary last.
    Jsonl,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show it all in ten seconds: run, kill, resume, replay, flip a byte
    Demo(Demo),
    /// Start runs of a workflow, or finish those that were started before
    Run(Run),
    /// Begin runs of a workflow when its schedule says
    #[command(subcommand)]
    Schedule(crate::command::schedule::Schedule),
    /// Finish what a crash left open
    Resume(Resume),
    /// Decide about an effect whose outcome a crash left unknown
    Resolve(Resolve),
    /// Check a log and execute its runs again, comparing everything
    Replay(Replay),
    /// Check a log without executing anything: replay --verify-only
    Verify(Verify),
    /// Compare two runs or logs: where they part, in which field, and why
    Diff(crate::command::diff::Diff),
    /// Find the first event of a run after which something no longer holds
    Bisect(crate::command::bisect::Bisect),
    /// Derive a run again with something exchanged, into a new log, and compare
    Whatif(crate::command::whatif::WhatIf),
    /// Find the smallest input with which two runs still end differently
    Minimize(crate::command::minimize::Minimize),
    /// Try a workflow under shifted circumstances: which steps follow what they should not?
    Perturb(crate::command::perturb::Perturb),
    /// Compare all logs of a directory with one of them, and count causes
    Summary(crate::command::summary::Summary),
    /// List the runs of a log
    Runs(Runs),
    /// Show the history of a run
    Show(Show),
    /// Bring recorded runs of another engine into a log
    Import(crate::command::import::args::Import),
    /// Look at a log, or at two side by side, on a terminal
    #[cfg(feature = "tui")]
    Tui(crate::command::tui::Tui),
    /// List or take checkpoints
    #[command(subcommand)]
    Checkpoint(Checkpoint),
    /// Say whether a plan can be done, what it costs, takes and risks; execute nothing
    Simulate(Simulate),
    /// Say where runs stand: limits, budget, last outcomes
    Query(Query),
    /// List the skills that steps can call, or show one
    #[command(subcommand)]
    Skills(SkillsArgs),
    /// Say what this build can do
    Capabilities,
    /// Serve what stands for the outside in tests and demonstrations
    #[command(subcommand)]
    Mock(Mock),
    /// Look into a log, or check it
    #[command(subcommand)]
    Log(Log),
    /// Seal parts of a log into signed files that anybody can verify, years later
    #[command(subcommand)]
    Golden(crate::command::golden::args::Golden),
    /// Make and rotate the keys that sign archives
    #[command(subcommand)]
    Key(crate::command::key::KeyCommand),
    /// Pack archives and reports into one signed file, and verify it
    #[command(subcommand)]
    Evidence(crate::command::evidence::Evidence),
    /// Cosign a checkpoint that continues what was seen before
    Witness(crate::command::golden::args::Witness),
    /// Try whether runs come out the same every time
    #[command(subcommand)]
    Validate(crate::command::validate::Validate),
    /// Measure this machine: appends, runs, replay, opening, determinism
    #[command(subcommand)]
    Bench(crate::command::bench::Bench),
    /// Write made-up inputs for examples and tests
    #[command(subcommand)]
    Sample(Sample),
    /// Bring an event to a run that listens, or list what happened to runs as CloudEvents
    #[command(subcommand)]
    Event(crate::command::steer::Event),
    /// End a run
    Cancel(crate::command::steer::Steer),
    /// Halt a run until it is resumed
    Suspend(crate::command::steer::Steer),
    /// Tell every problem of a workflow document
    Check(crate::command::check::Check),
    /// Draw the tasks of a workflow document
    Graph(crate::command::check::Graph),
    /// Explain an error code
    Explain(Explain),
    /// Write completions for a shell
    Completions(Completions),
}

/// What is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum DemoStory {
    // A plan of three skills: judged, run against servers of its own, replayed without them.
    Btc,
}

/// `demo`
#[derive(Args, Debug)]
pub struct Demo {
    /// `btc`: judge a plan, run it against local servers, replay it without them
    #[arg(value_enum, value_name = "STORY")]
    pub story: Option<DemoStory>,
    /// Directory to work in, kept afterwards; a temporary one by default
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// What drives runs.
#[derive(Args, Debug)]
pub struct Driving {
    /// Threads that compute; the number of cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    /// What `now` answers: RFC 3339, or seconds since 1970
    #[arg(long, value_name = "T", value_parser = parse_time, allow_hyphen_values = true)]
    pub now: Option<i64>,
    /// `virtual` skips waits
    #[arg(long, value_enum, default_value = "real", value_name = "CLOCK")]
    pub clock: ClockKind,
    /// Steps between checkpoints of a run, whatever its document says; 0 takes none
    #[arg(long, value_name = "N")]
    pub checkpoint_every: Option<u64>,
    /// What is stored of the values that steps compute: `digests` keeps their digests alone
    #[arg(long, value_enum, default_value = "values", value_name = "LEVEL")]
    pub record: Record,
}

/// What is stored of computed values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Record {
    // All of them.
    Values,
    // None: they are made again where they are needed.
    Digests,
}

/// Which clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ClockKind {
    // The machine's.
    Real,
    // Jumps over waits.
    Virtual,
}

/// What a key that was used before leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum OnConflict {
    // Take the run that exists.
    Existing,
    // Start another generation of the key.
    NewGeneration,
}

/// `run`
#[derive(Args, Debug)]
#[command(after_help = "\
Typing the same command again after a kill finishes exactly what is missing. The same key with
another input, seed or workflow is a conflict: exit 3.

  aosctl run hello.yaml --log hello.aos --input '{\"name\": \"Ada\"}'
  aosctl run loan.yaml --log loans.aos --inputs applications.jsonl.gz --seed 7")]
pub struct Run {
    /// Workflow document: Serverless Workflow DSL 1.0 in YAML or JSON, or a list of skills
    #[arg(value_name = "WORKFLOW")]
    pub workflow: PathBuf,
    /// Log to write to; created when it is missing
    #[arg(long, value_name = "LOG")]
    pub log: PathBuf,
    /// Input of one run: JSON, @FILE, or - for standard input
    #[arg(
        long,
        value_name = "JSON|@FILE|-",
        conflicts_with = "inputs",
        allow_hyphen_values = true
    )]
    pub input: Option<String>,
    /// Inputs of many runs: JSON lines, plain or gzip; - for standard input
    #[arg(long, value_name = "FILE|-")]
    pub inputs: Option<PathBuf>,
    /// Key of the one run; a digest of input and seed by default
    #[arg(long, value_name = "KEY", conflicts_with = "inputs")]
    pub key: Option<String>,
    /// Key of each run, a jq expression over its input; the line number by default
    #[arg(long, value_name = "JQ", conflicts_with = "key")]
    pub key_by: Option<String>,
    /// Stop at the first line that is not JSON, instead of going on with the others
    #[arg(long, requires = "inputs", conflicts_with = "input")]
    pub strict: bool,
    /// Seed of all randomness; by default the log's first, else a random one
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// What a key that was started with something else leads to; refused by default
    #[arg(long, value_enum, value_name = "WHAT")]
    pub on_conflict: Option<OnConflict>,
    /// Units that the effects of a run may cost together; a document may set less
    #[arg(long, value_name = "UNITS")]
    pub budget: Option<u64>,
    /// A workflow that others can run, besides those that the log holds; can be given several times
    #[arg(long, value_name = "WORKFLOW")]
    pub with: Vec<PathBuf>,
    /// Length of a segment when the log is created, a power of two; with K, M or G [default: 64M]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub stride: Option<u64>,
    /// Compare the log's runs with those of this golden archive afterwards
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// What drives the runs.
    #[command(flatten)]
    pub driving: Driving,
}

/// `resume`
#[derive(Args, Debug)]
pub struct Resume {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// One run: its id, the first 6 or more digits of it, or its key; all open runs by default. Where another process
    /// has the log open, that one goes on with the run
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// What drives the runs.
    #[command(flatten)]
    pub driving: Driving,
}

/// `resolve`
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("verdict").required(true).args(["result", "failed", "retry"]))]
pub struct Resolve {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Run: its id, the first 6 or more digits of it, or its key
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Step: its name, pointer or activation
    #[arg(value_name = "STEP")]
    pub step: String,
    /// It happened, and answered this
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    pub result: Option<String>,
    /// It failed for good
    #[arg(long)]
    pub failed: bool,
    /// Do it again
    #[arg(long)]
    pub retry: bool,
    /// Who decides, for the record; the user's name by default
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,
}

/// `replay`
#[derive(Args, Debug)]
pub struct Replay {
    /// Log, or golden archive
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Threads; the number of cores by default. The report is the same for any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    /// Check bytes, chains and digests only; execute nothing
    #[arg(long)]
    pub verify_only: bool,
    /// Only this run: its id, the first 6 or more digits of it, or its key
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Root seed, for a log whose seeds were taken out
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Compare its runs with those of this golden archive as well: the same histories, or where they part
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
}

/// `verify`
#[derive(Args, Debug)]
pub struct Verify {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Threads; the number of cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    /// Only this run: its id, the first 6 or more digits of it, or its key
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
}

/// Status of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Status {
    // Under way, or left in the middle.
    Open,
    // Waits for a timer.
    Waiting,
    // Waits for somebody to resolve an effect.
    Held,
    // Ended well.
    Completed,
    // Ended with a failure.
    Faulted,
    // Ended on request.
    Cancelled,
}

/// `runs`
#[derive(Args, Debug)]
pub struct Runs {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Only runs that stand there
    #[arg(long, value_enum, value_name = "STATUS")]
    pub status: Option<Status>,
    /// At most so many, in the order they were started
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// `show`
#[derive(Args, Debug)]
pub struct Show {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Run: its id, the first 6 or more digits of it, or its key
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Show values whole, however long
    #[arg(long)]
    pub full: bool,
}

/// `checkpoint`
#[derive(Subcommand, Debug)]
pub enum Checkpoint {
    /// List checkpoints
    Ls(LogAndRun),
    /// Take a checkpoint of a run that has not ended, or of all of them
    Take(LogAndRun),
}

/// A log, and perhaps a run.
#[derive(Args, Debug)]
pub struct LogAndRun {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Run: its id, the first 6 or more digits of it, or its key; all by default
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
}

/// `log`
#[derive(Subcommand, Debug)]
pub enum Log {
    /// Sizes and counts
    Stat(OnlyLog),
    /// List all records
    Cat(OnlyLog),
    /// Write every record as a line of JSON, with its canonical bytes and all fields
    Export(Export),
    /// Check everything, the catalogue too
    Fsck(Fsck),
    /// Copy what is durable, also beside a writer; only what is new where a backup is there already
    Backup(crate::command::backup::Backup),
    /// Make a log from a backup, whole or up to an offset
    Restore(crate::command::backup::Restore),
    /// Make a new log with all that a damaged one still holds
    Salvage(crate::command::salvage::Salvage),
    /// Remove segments whose records are in archives, and keep what proves that the rest follows
    Prune(crate::command::prune::Prune),
}

/// A log.
#[derive(Args, Debug)]
pub struct OnlyLog {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
}

/// `log export`
#[derive(Args, Debug)]
pub struct Export {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Only this run: its id, the first 6 or more digits of it, or its key
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Include the root seeds: whoever has them can compute every salt and draw
    #[arg(long)]
    pub with_seeds: bool,
}

/// `log fsck`
#[derive(Args, Debug)]
pub struct Fsck {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Build the catalogue again from the segments
    #[arg(long)]
    pub rebuild_catalog: bool,
    /// Cut a damaged log back to where it holds; the original bytes are kept in LOG/recovered
    #[arg(long)]
    pub repair: bool,
}

/// `sample`
#[derive(Subcommand, Debug)]
pub enum Sample {
    /// Loan applications for docs/examples/loan.yaml, one JSON object a line
    Loan(SampleLoan),
}

/// `sample loan`
#[derive(Args, Debug)]
pub struct SampleLoan {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub count: usize,
    /// Seed; the same seed gives the same applications
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub seed: u64,
}

/// `explain`
#[derive(Args, Debug)]
pub struct Explain {
    /// Code, such as AOS-S002; all codes by default
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
}

/// `completions`
#[derive(Args, Debug)]
pub struct Completions {
    /// Shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// RFC 3339, or seconds since 1970 with up to nine decimals: nanoseconds since 1970.
pub fn parse_time(text: &str) -> Result<i64, String> {
    let timestamp: jiff::Timestamp = match text.parse() {
        Ok(timestamp) => timestamp,
        Err(_) => {
            return seconds(text).ok_or_else(|| {
                "expected RFC 3339 (2026-01-31T12:00:00Z) or seconds since 1970".into()
            });
        }
    };
    i64::try_from(timestamp.as_nanosecond()).map_err(|_| "outside the years 1678 to 2262".into())
}

fn seconds(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse::<i64>().ok()?;
    whole
        .parse::<i64>()
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(nanoseconds)?
        .checked_mul(sign)
}

/// A number of bytes, with K, M or G for the powers of 1024.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    aos_format::offset::Stride::from_bytes(bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// A number of bytes, with K, M or G.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        _ => (text, 1u64),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "expected a number of bytes, such as 4096, 4K or 64M".to_owned())?;
    Ok(number.checked_mul(factor).ok_or("too large")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_rfc_3339_or_seconds() {
        assert_eq!(parse_time("1970-01-01T00:00:01Z"), Ok(1_000_000_000));
        assert_eq!(parse_time("1970-01-01T01:00:00+01:00"), Ok(0));
        assert_eq!(parse_time("1.5"), Ok(1_500_000_000));
        assert_eq!(parse_time("-2"), Ok(-2_000_000_000));
        for bad in ["", "-", "1.", "tomorrow", "99999999999999", "1e3"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn strides_have_units_and_are_powers_of_two() {
        assert_eq!(parse_bytes("4K"), Ok(4096));
        assert_eq!(parse_bytes("64m"), Ok(64 << 20));
        for bad in ["", "K", "5000", "2K", "2G", "99999999999999999999", "-4096"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
