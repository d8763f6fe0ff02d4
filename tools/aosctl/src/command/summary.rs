//! `aosctl summary`

use super::diff::{self, Opened};
use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::output::{Cell, Object, Output};
use aos_golden::Archive;
use aos_replay::diff::{Bulk, Options, Verdict, bulk, pair_by_key};
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `summary`
#[derive(Args, Debug)]
#[command(after_help = "\
Every log and archive in DIR is compared with the base, runs paired by key. The base is the first of them
by name, unless --base says which.

  aosctl summary nightly/ --base nightly/monday.aos -o json")]
pub struct Summary {
    /// Directory of logs and archives
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// What the others are compared with
    #[arg(long, value_name = "LOG")]
    pub base: Option<PathBuf>,
    /// Threads; the number of cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
}

/// Compares all logs of a directory with one of them.
///
/// # Errors
/// Those of reading the directory and the base. A log or archive that cannot be opened is told, and its exit counts.
pub fn summary(args: &Summary, out: &mut Output) -> Result<Exit, Failure> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&args.dir)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .map_err(|error| failure::file("read", &args.dir, &error))?;
    paths.sort();
    let mut sides = Vec::new();
    let mut worst = Exit::Yes;
    for path in paths {
        if !is_side(&path) {
            let name = failure::shown(&path);
            crate::output::talk(&format!("skipped, neither a log nor an archive: {name}"));
            continue;
        }
        match Opened::open(&path.display().to_string()) {
            Ok(opened) => sides.push((path, opened)),
            Err(failure) => {
                worst = worst.worst(failure.exit);
                failure.print();
            }
        }
    }
    let base = match &args.base {
        Some(base) => Opened::open(&base.display().to_string())?,
        None if sides.is_empty() && worst != Exit::Yes => return Ok(worst),
        None if sides.is_empty() => return Err(no_logs(args)),
        None => sides.remove(0).1,
    };
    let same = |path: &PathBuf| path.canonicalize().ok() == base.named.path.canonicalize().ok();
    sides.retain(|(path, _)| !same(path));
    let workers = args.workers.map_or_else(host::cores, usize::from);
    let first = base.input(false, workers)?;
    let mut rows = Vec::new();
    for (path, opened) in &sides {
        let second = opened.input(false, workers)?;
        let failed = failure::replay(path);
        let pairs = match (first.damage(), second.damage()) {
            (None, None) => pair_by_key(&first, &second, None).map_err(&failed)?,
            _ => Default::default(),
        };
        rows.push(bulk([&first, &second], &pairs, &Options::default(), workers).map_err(&failed)?);
    }
    // One log alone agrees with nothing.
    let verdict = rows.iter().map(|row| row.verdict).max();
    let verdict = verdict.unwrap_or(Verdict::Undecided);
    show(args, &base, &rows, verdict, out)?;
    Ok(worst.worst(diff::exit(verdict)))
}

/// Whether a name is a log, whole or not, or a file that begins as archives do.
fn is_side(path: &Path) -> bool {
    let has = |name| path.join(name).exists();
    has("LOCK") || has("segments") || path.is_file() && Archive::is_one(path)
}

fn no_logs(args: &Summary) -> Failure {
    Failure::new(
        failure::NO_FILE,
        Exit::NotFound,
        "there is no log in this directory",
    )
    .place(failure::shown(&args.dir))
    .next(format!("ls -l {}", failure::argument(&args.dir)))
}

/// Pairs by cause over all logs.
fn by_cause(rows: &[Bulk]) -> Vec<Object> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for group in rows.iter().flat_map(|row| &row.groups) {
        *counts.entry(&group.causes).or_default() += group.count;
    }
    let mut counts: Vec<(&str, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let object =
        |(causes, count): (&str, u64)| Object::new().with("causes", causes).with("pairs", count);
    counts.into_iter().map(object).collect()
}

fn show(
    args: &Summary,
    base: &Opened,
    rows: &[Bulk],
    verdict: Verdict,
    out: &mut Output,
) -> Result<(), Failure> {
    if out.form() != Form::Table {
        let reports: Vec<Cell> = rows.iter().map(|row| Cell::Json(row.json())).collect();
        return out.object(
            &Object::new()
                .with("schema", "aos.summary.v1")
                .with("dir", failure::shown(&args.dir))
                .with("base", failure::shown(&base.named.path))
                .with("verdict", verdict.name())
                .with("causes", by_cause(rows))
                .with("reports", reports),
        );
    }
    let line = |row: &Bulk| {
        let first = row.groups.first();
        Object::new()
            .with("log", row.b.source.as_str())
            .with("verdict", row.verdict.name())
            .with("pairs", row.pairs)
            .with("equal", row.equal)
            .with("differ", row.differ)
            .with("benign", row.benign)
            .with("cause", first.map_or("", |group| group.causes.as_str()))
            .with("step", first.map_or("", |group| group.step.as_str()))
    };
    out.table(
        &rows.iter().map(line).collect::<Vec<_>>(),
        "there is nothing to compare",
    )?;
    out.line("")?;
    out.table(&by_cause(rows), "nothing differs")
}
