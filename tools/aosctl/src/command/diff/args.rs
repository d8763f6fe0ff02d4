//! Arguments of `diff`.

use clap::Args;
use std::path::PathBuf;

/// `diff`
#[derive(Args, Debug)]
#[command(after_help = "\
A side is a log, LOG:RUN for one run of it (id, first digits of it, or key), or LOG@FILE for the runs
named in FILE, one a line. Without a run, runs are paired by workflow, key and generation.

  aosctl diff good.aos:order-7 bad.aos
  aosctl diff monday.aos tuesday.aos --ignore 'output/elapsed_ms' -o json

Exit codes: 0 equal, 1 differ, 4 no such run, 5 a side is damaged, 7 undecided (a run in progress
is equal as far as it goes).")]
pub struct Diff {
    /// First side: LOG, LOG:RUN or LOG@FILE
    #[arg(value_name = "A[:RUN|@FILE]")]
    pub a: String,
    /// Second side: LOG or LOG:RUN
    #[arg(value_name = "B[:RUN]")]
    pub b: String,
    /// Pairs of runs, one a line: a run of A, white space, a run of B
    #[arg(long, value_name = "FILE")]
    pub map: Option<PathBuf>,
    /// Differences that do not count: PATH or STEP:PATH, with * and **; may be given several times
    #[arg(long, value_name = "PATH")]
    pub ignore: Vec<String>,
    /// Check every byte of both sides first; logs up to 64 MiB are checked whole in any case
    #[arg(long)]
    pub full: bool,
    /// Do not look for causes
    #[arg(long)]
    pub no_cause: bool,
    /// Also write the report as one HTML file, readable without network or script
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Threads; the number of cores by default. The report is the same for any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    /// Read runs of up to N records whole, and of longer ones 20,000 behind the first difference; without it runs of up to
    /// 50,000, and where no checkpoint stands before the difference of up to 200,000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub events_max: Option<u64>,
    /// Rows of both histories, or of differing pairs, that the JSON report lists
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub rows: usize,
}
