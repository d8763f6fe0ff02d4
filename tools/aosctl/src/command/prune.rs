//! `aosctl log prune`

use crate::args::parse_size;
use crate::command::golden::{self, args::Trusting};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::output::{Object, Output, talk};
use aos_disk::RealDisk;
use aos_golden::PruneOptions;
use aos_store::PruneReport;
use clap::Args;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `log prune`
#[derive(Args, Debug)]
#[command(after_help = "\
Only whole, sealed segments go, from the beginning on, and only when archives that verify hold every
record. Runs that have not ended stay whole. What proves that the rest follows stays in LOG/PRUNED.

  aosctl golden seal orders.aos --all --key gold.key --out gold/
  aosctl log prune orders.aos --archives gold/ --key gold.key --keep 256M --dry-run")]
pub struct Prune {
    /// Log; nobody may be writing it
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Keep at least so many bytes at the end of the log; with K, M or G
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub keep: u64,
    /// Archive that holds what goes, or a directory of them; may be given several times
    #[arg(long, value_name = "FILE|DIR", required = true)]
    pub archives: Vec<PathBuf>,
    /// Which keys count.
    #[command(flatten)]
    pub trusting: Trusting,
    /// Say what would go, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub force: bool,
}

/// Removes the beginning of a log whose records archives hold.
///
/// # Errors
/// An archive that does not verify, a writer, a damaged log, nobody to confirm.
pub fn prune(args: &Prune, out: &mut Output) -> Result<Exit, Failure> {
    let Some(trust) = golden::trust(&args.trusting)? else {
        let why = "which keys count is not said: archives that nobody vouches for hold nothing";
        return Err(Failure::new("AOS-G004", Exit::Refused, why)
            .place(failure::shown(&args.log))
            .next("the same command with --trust FILE or --key KEY"));
    };
    let archives = archives(&args.archives)?;
    let prune = |dry_run| {
        let options = PruneOptions {
            archives: &archives,
            trust: &trust,
            keep: args.keep,
            dry_run,
            workers: host::cores(),
        };
        aos_golden::prune(Arc::new(RealDisk), &args.log, &options)
            .map_err(golden::failed(&args.log))
    };
    let mut report = prune(true)?;
    if !args.dry_run && !report.segments.is_empty() {
        if !args.force {
            confirm(&args.log, &report)?;
        }
        report = prune(false)?;
    }
    out.object(&object(&args.log, &report, args.dry_run))?;
    let name = failure::argument(&args.log);
    if let Some(stopped) = &report.stopped {
        talk(&format!(
            "segment {} stays: {} (offset {})",
            stopped.segment, stopped.why, stopped.offset
        ));
    }
    if !report.segments.is_empty() && !args.dry_run {
        talk(&format!(
            "the log begins at offset {} now; to check it: aosctl replay {name}",
            report.end
        ));
    }
    Ok(Exit::Yes)
}

fn object(log: &Path, report: &PruneReport, dry_run: bool) -> Object {
    let stride = report.identity.stride.bytes();
    Object::new()
        .with("schema", "aos.prune.v1")
        .with("log", log.display().to_string())
        .with("log_id", report.identity.log_id.to_string())
        .with("from_offset", report.from.0)
        .with("pruned_below", report.end.0)
        .with("segments", report.segments.len())
        .with("segment_bytes", stride * report.segments.len() as u64)
        .with("records_gone", report.records)
        .with("runs_gone", report.runs)
        .with("records_kept", report.kept)
        .with("pruned_bytes", report.pruned_len)
        .with("pruned_sha256", report.pruned_sha256.hex())
        .with(
            "stopped_by",
            report.stopped.as_ref().map(|stopped| stopped.why.clone()),
        )
        .with("dry_run", dry_run)
}

/// The files that are given, and the archives in the directories, by name.
fn archives(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in given {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|e| failure::file("read", path, &e))?;
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(|e| failure::file("read", path, &e))?.path();
            if file.extension().is_some_and(|ext| ext == "golden") {
                names.push(file);
            }
        }
        names.sort();
        found.extend(names);
    }
    Ok(found)
}

/// Asks on a terminal; elsewhere nobody can answer.
fn confirm(log: &Path, report: &PruneReport) -> Result<(), Failure> {
    let refused = |message: &str| {
        Failure::new("AOS-G013", Exit::Refused, message)
            .place(failure::shown(log))
            .next("--dry-run shows what would go; --force removes it without asking")
    };
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(refused(
            "nobody is there to confirm that segments are removed",
        ));
    }
    talk(&format!(
        "remove {} segments, with {} records of runs that archives hold? yes or no",
        report.segments.len(),
        report.records
    ));
    // A prompt that cannot be shown is answered by nobody.
    let _shown = std::io::stderr().flush();
    let mut answer = String::new();
    match stdin.lock().read_line(&mut answer) {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        _ => Err(refused("not confirmed")),
    }
}
