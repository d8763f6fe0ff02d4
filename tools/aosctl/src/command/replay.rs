//! `aosctl replay` and `aosctl verify`

use super::{against, golden};
use crate::args::{Form, Replay, Verify};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host::{self, progress};
use crate::logs;
use crate::output::{Object, Output, talk};
use aos_engine::seed::RootSeed;
use aos_golden::Archive;
use aos_replay::{Finding, Integrity, Options, Phase, Report, Verdict, replay as check};
use aos_store::{LogReader, Source};
use std::path::Path;
use std::time::Instant;

/// Findings that are shown on a terminal.
const SHOWN_MAX: usize = 20;

/// Checks a log and makes its runs again.
///
/// # Errors
/// What kept it from a verdict; the verdict is in the exit code.
pub fn replay(args: &Replay, out: &mut Output) -> Result<Exit, Failure> {
    let input = Input::open(&args.log)?;
    let run = match &args.run {
        Some(name) => {
            let index = input.source().index();
            let index = index.map_err(failure::store(&args.log))?;
            Some(logs::find(&args.log, index.rows.runs.values(), name)?.run)
        }
        None => None,
    };
    let bar = progress::bar(0);
    let options = Options {
        workers: args.workers.map_or_else(host::cores, usize::from),
        verify_only: args.verify_only,
        run,
        seed: args.seed.map(RootSeed::from_number),
        progress: &|phase, done, total| {
            let (name, unit) = match phase {
                Phase::Verify => ("verifying", "bytes"),
                Phase::Reexecute => ("re-executing", "runs"),
            };
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(format!("{name}, {done} of {total} {unit}"));
        },
        ..Options::default()
    };
    let start = Instant::now();
    let report = input.report(&args.log, &options)?;
    let elapsed_s = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    match out.form() {
        Form::Table => table(&args.log, &report, elapsed_s, out)?,
        Form::Json => out.line(&report.json(elapsed_s))?,
        Form::Jsonl => {
            for row in &report.rows {
                out.line(&row.json())?;
            }
            out.line(&report.json(elapsed_s))?;
        }
    }
    let exit = exit(report.verdict);
    match &args.against {
        Some(gold) => Ok(exit.worst(against::compare(gold, input.source(), run, out)?)),
        None => Ok(exit),
    }
}

/// What is replayed.
enum Input {
    Log(Box<LogReader>),
    Archive(Box<Archive>, Integrity),
}

impl Input {
    /// A log, or an archive, which is verified first.
    fn open(path: &Path) -> Result<Input, Failure> {
        if !Archive::is_one(path) {
            return Ok(Input::Log(Box::new(logs::reader(path)?)));
        }
        let archive = golden::checked(path)?;
        Ok(Input::Archive(Box::new(archive), Integrity::Intact))
    }

    fn source(&self) -> &dyn Source {
        match self {
            Input::Log(reader) => &**reader,
            Input::Archive(archive, _) => &**archive,
        }
    }

    fn report(&self, path: &Path, options: &Options<'_>) -> Result<Report, Failure> {
        match self {
            Input::Log(reader) => report(path, reader, options),
            Input::Archive(archive, integrity) => {
                aos_replay::reexecute(&**archive, *integrity, options)
                    .map_err(failure::replay(path))
            }
        }
    }
}

/// Checks a log without executing anything.
///
/// # Errors
/// As [`replay`].
pub fn verify(args: &Verify, out: &mut Output) -> Result<Exit, Failure> {
    let Verify { log, workers, run } = args;
    replay(
        &Replay {
            log: log.clone(),
            workers: *workers,
            verify_only: true,
            run: run.clone(),
            seed: None,
            against: None,
        },
        out,
    )
}

/// The report of a replay.
///
/// # Errors
/// What kept it from a verdict.
pub fn report(log: &Path, reader: &LogReader, options: &Options<'_>) -> Result<Report, Failure> {
    check(reader, options).map_err(failure::replay(log))
}

fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Match | Verdict::Verified => Exit::Yes,
        Verdict::Mismatch => Exit::No,
        Verdict::Corrupt => Exit::Damaged,
        Verdict::Undecided => Exit::Undecided,
    }
}

fn table(log: &Path, report: &Report, elapsed_s: f64, out: &mut Output) -> Result<(), Failure> {
    out.line(&format!("{}: {}", report.verdict.name(), meaning(report)))?;
    let rate = |count: u64| {
        if elapsed_s > 0.0 {
            (count as f64 / elapsed_s) as u64
        } else {
            0
        }
    };
    let counts = Object::new()
        .with("integrity", report.integrity.name())
        .with("determinism", report.determinism.name())
        .with(
            "runs",
            format!(
                "{}, {} of them open, {} mismatches",
                report.runs, report.open, report.mismatches
            ),
        )
        .with(
            "events",
            format!("{}, {} steps", report.events, report.steps),
        )
        .with("bytes", report.bytes)
        .with(
            "sealed_through",
            if report.sealed_through == 0 {
                "nothing: only accidents can be excluded, not tampering".into()
            } else {
                report.sealed_through.to_string()
            },
        )
        .with("digest", report.digest.hex())
        .with(
            "time",
            format!(
                "{elapsed_s:.3} s, {} events/s, {} workers",
                rate(report.events),
                report.workers
            ),
        );
    out.object(&counts)?;
    for finding in report.findings.iter().take(SHOWN_MAX) {
        out.line("")?;
        for line in lines(finding) {
            out.line(&line)?;
        }
    }
    if report.finding_count > SHOWN_MAX as u64 {
        talk(&format!(
            "{} findings; -o json shows the first {}",
            report.finding_count,
            report.findings.len()
        ));
    }
    if report.verdict == Verdict::Corrupt {
        talk(&format!(
            "try: keep a copy; aosctl log fsck {}",
            failure::argument(log)
        ));
    }
    Ok(())
}

fn meaning(report: &Report) -> &'static str {
    match report.verdict {
        Verdict::Match => "every byte is whole, and every event was made again, byte for byte",
        Verdict::Verified => "every byte is whole; nothing was executed",
        Verdict::Mismatch => "the bytes are whole, but an event made again is another one",
        Verdict::Corrupt => "bytes are damaged or were changed",
        Verdict::Undecided => "nothing false was found, but not all could be checked",
    }
}

/// A finding in words: where, what, and where to read on.
pub fn lines(finding: &Finding) -> Vec<String> {
    let record = finding
        .field
        .as_ref()
        .map_or_else(String::new, |field| format!(", field {field}"));
    let file = finding
        .file
        .as_ref()
        .map_or_else(String::new, |file| format!(" in {file}"));
    let title = crate::explain::page(finding.code).map_or("", crate::explain::title);
    let mut lines = vec![format!("{} {}: {title}", finding.code, finding.kind.name())];
    lines.extend(
        finding
            .offset
            .map(|offset| format!("  offset    {offset}{file}")),
    );
    lines.extend(
        finding
            .run()
            .map(|run| format!("  run       {run}{record}")),
    );
    lines.extend(
        finding
            .activation
            .as_ref()
            .map(|activation| format!("  step      {activation}")),
    );
    lines.push(format!("  expected  {}", finding.expected));
    lines.push(format!("  found     {}", finding.found));
    lines.push(format!("  try       aosctl explain {}", finding.code));
    lines
}
