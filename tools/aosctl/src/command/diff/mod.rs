//! `aosctl diff`

mod args;
mod sides;
mod text;

pub use args::Diff;

use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host::{self, progress};
use crate::output::{Output, talk};
use aos_format::digest::RunId;
use aos_format::offset::Offset;
use aos_replay::diff::{
    Bulk, Input, Options, Pairs, Report, RuleError, Rules, RunAt, Verdict, bulk, pair_by_key,
};
use aos_replay::html;
pub use sides::Opened;
use sides::Which;
use std::collections::BTreeSet;
use std::path::Path;

/// Rows of both histories that a page is made from.
const HTML_ROWS: usize = 20_000;

/// Compares two runs, or the runs of two logs.
///
/// # Errors
/// What kept it from an answer; the answer is in the exit code.
pub fn diff(args: &Diff, out: &mut Output) -> Result<Exit, Failure> {
    let rules = Rules::parse(&args.ignore).map_err(bad_rule)?;
    let (a, b) = (Opened::open(&args.a)?, Opened::open(&args.b)?);
    let workers = args.workers.map_or_else(host::cores, usize::from);
    let inputs = [a.input(args.full, workers)?, b.input(args.full, workers)?];
    let bar = progress::bar(0);
    let defaults = Options::default();
    let options = Options {
        rules,
        causes: !args.no_cause,
        whole_max: args.events_max.unwrap_or(defaults.whole_max),
        events_max: args.events_max.unwrap_or(defaults.events_max),
        rows_max: match args.html {
            Some(_) => args.rows.max(HTML_ROWS),
            None => args.rows,
        },
        progress: &|done, total| {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(format!("comparing, {done} of {total} pairs"));
        },
        ..defaults
    };
    let inputs = [&inputs[0], &inputs[1]];
    let failed = failure::replay(&a.named.path);
    if inputs.iter().any(|input| input.damage().is_some()) {
        let nothing = RunAt {
            run: RunId([0; 16]),
            head: Offset::NONE,
            records: 0,
        };
        let report = aos_replay::diff::diff(inputs, [nothing; 2], &options).map_err(failed)?;
        page(args, || html::page(&report))?;
        return show(&report, out);
    }
    match pick([&a, &b], inputs, args.map.as_deref())? {
        Picked::Pair(runs) => {
            let report = aos_replay::diff::diff(inputs, runs, &options).map_err(failed)?;
            page(args, || html::page(&report))?;
            show(&report, out)
        }
        Picked::Many(pairs) => {
            let report = bulk(inputs, &pairs, &options, workers).map_err(failed)?;
            bar.finish_and_clear();
            page(args, || html::bulk_page(&report))?;
            show_bulk(&report, out)
        }
    }
}

/// Writes the page that was asked for.
fn page(args: &Diff, html: impl FnOnce() -> String) -> Result<(), Failure> {
    if let Some(path) = &args.html {
        std::fs::write(path, html()).map_err(|error| failure::file("write", path, &error))?;
        talk(&format!("wrote {}", failure::shown(path)));
    }
    Ok(())
}

/// Shows what a comparison of one pair came to.
///
/// # Errors
/// Those of writing.
pub fn show(report: &Report, out: &mut Output) -> Result<Exit, Failure> {
    match out.form() {
        Form::Table => {
            for line in text::lines(report, text::Paint::stdout()) {
                out.line(&line)?;
            }
        }
        Form::Json | Form::Jsonl => out.line(&report.json())?,
    }
    Ok(exit(report.verdict))
}

/// Shows what a comparison of many pairs came to.
///
/// # Errors
/// Those of writing.
pub fn show_bulk(report: &Bulk, out: &mut Output) -> Result<Exit, Failure> {
    match out.form() {
        Form::Table => {
            for line in text::bulk_lines(report, text::Paint::stdout()) {
                out.line(&line)?;
            }
        }
        Form::Json | Form::Jsonl => out.line(&report.json())?,
    }
    Ok(exit(report.verdict))
}

/// What a verdict means to the caller of the program.
pub fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Equal => Exit::Yes,
        Verdict::Differ => Exit::No,
        Verdict::Damaged => Exit::Damaged,
        Verdict::Prefix | Verdict::Undecided => Exit::Undecided,
    }
}

fn bad_rule(error: RuleError) -> Failure {
    Failure::new(failure::USAGE, Exit::Usage, error.to_string())
        .next("aosctl diff --help; a rule is [STEP:]PATH, as the report names paths")
}

/// The runs that are meant.
enum Picked {
    Pair([RunAt; 2]),
    Many(Pairs),
}

fn pick(
    opened: [&Opened; 2],
    inputs: [&Input<'_>; 2],
    map: Option<&Path>,
) -> Result<Picked, Failure> {
    if let Some(map) = map {
        return Ok(Picked::Many(mapped(opened, inputs, map)?));
    }
    let pair = match (&opened[0].named.which, &opened[1].named.which) {
        (Which::One(a), Which::One(b)) => {
            [opened[0].find(inputs[0], a)?, opened[1].find(inputs[1], b)?]
        }
        (Which::One(a), _) => {
            let a = opened[0].find(inputs[0], a)?;
            [
                a,
                counterpart(opened[0], inputs[0], a, opened[1], inputs[1])?,
            ]
        }
        (_, Which::One(b)) => {
            let b = opened[1].find(inputs[1], b)?;
            [
                counterpart(opened[1], inputs[1], b, opened[0], inputs[0])?,
                b,
            ]
        }
        (Which::Listed(file), _) => {
            let mut only = BTreeSet::new();
            for name in lines_of(file)? {
                only.insert(opened[0].find(inputs[0], &name)?.run);
            }
            return many(opened, inputs, Some(&only));
        }
        _ => match (opened[0].only(inputs[0])?, opened[1].only(inputs[1])?) {
            (Some(a), Some(b)) => [a, b],
            _ => return many(opened, inputs, None),
        },
    };
    Ok(Picked::Pair(pair))
}

fn many(
    opened: [&Opened; 2],
    inputs: [&Input<'_>; 2],
    only: Option<&BTreeSet<RunId>>,
) -> Result<Picked, Failure> {
    let pairs =
        pair_by_key(inputs[0], inputs[1], only).map_err(failure::replay(&opened[0].named.path))?;
    if pairs.pairs.is_empty() && pairs.only_a.is_empty() && pairs.only_b.is_empty() {
        return Err(sides::no_runs(&opened[0].named.path));
    }
    Ok(Picked::Many(pairs))
}

/// Pairs as a file names them.
fn mapped(opened: [&Opened; 2], inputs: [&Input<'_>; 2], map: &Path) -> Result<Pairs, Failure> {
    let mut pairs = Pairs::default();
    for line in lines_of(map)? {
        let mut names = line.split_whitespace();
        let (Some(a), Some(b), None) = (names.next(), names.next(), names.next()) else {
            let message = format!("a line of a map names two runs: {}", line.trim());
            return Err(Failure::new(failure::USAGE, Exit::Usage, message)
                .place(failure::shown(map))
                .next("aosctl diff --help"));
        };
        let runs = [opened[0].find(inputs[0], a)?, opened[1].find(inputs[1], b)?];
        pairs.pairs.push((a.to_owned(), runs));
    }
    if pairs.pairs.is_empty() {
        return Err(
            Failure::new(failure::USAGE, Exit::Usage, "the map names no runs")
                .place(failure::shown(map))
                .next("aosctl diff --help"),
        );
    }
    Ok(pairs)
}

/// Lines of a file that are not empty.
fn lines_of(path: &Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| failure::file("read", path, &e))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

/// The run of `other` that stands for `run`: the same id, else the same key.
fn counterpart(
    opened: &Opened,
    input: &Input<'_>,
    run: RunAt,
    other: &Opened,
    theirs: &Input<'_>,
) -> Result<RunAt, Failure> {
    match theirs.run(run.run) {
        Ok(found) => return Ok(found),
        Err(aos_replay::Error::NoRun { .. }) => {}
        Err(error) => return Err(failure::replay(&other.named.path)(error)),
    }
    let called = input.called(run);
    let called = called.map_err(failure::replay(&opened.named.path))?;
    other.find(theirs, &called.key)
}
