//! `aosctl import`

pub mod args;

use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::input;
use crate::logs;
use crate::output::{Object, Output, talk};
use aos_import::{Error, ErrorKind, FILE_BYTES_MAX, ForeignRun, Importer, Rules, write};
use aos_store::Log;
use args::{From, Import, Target};
use std::path::{Path, PathBuf};

/// Brings recorded runs of another engine into a log.
///
/// # Errors
/// What is wrong with a file, a key or the log. Every file is read before anything is written.
pub fn import(args: &Import, out: &mut Output) -> Result<Exit, Failure> {
    match &args.from {
        None => explain(&aos_import::Temporal.rules(), out),
        Some(From::Temporal(temporal)) => bring(
            &aos_import::Temporal,
            &temporal.histories,
            &temporal.target,
            out,
        ),
        Some(From::Jsonl(jsonl)) => {
            bring(&jsonl.importer(), jsonl.file.as_slice(), &jsonl.target, out)
        }
    }
}

fn bring(
    importer: &dyn Importer,
    files: &[PathBuf],
    target: &Target,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let Some(path) = target.log.as_ref().filter(|_| !target.explain) else {
        return explain(&importer.rules(), out);
    };
    let mut runs: Vec<ForeignRun> = Vec::new();
    for file in files {
        let bytes = input::whole(file, FILE_BYTES_MAX)?;
        let parsed = importer.parse(&failure::shown(file), &bytes);
        runs.extend(parsed.map_err(failed(path))?);
    }
    if let Some(key) = target.key.as_ref().filter(|_| runs.len() > 1) {
        let message = format!("--key {} names {} runs", failure::quoted(key), runs.len());
        return Err(Failure::new(failure::USAGE, Exit::Usage, message)
            .place("--key")
            .next("one file with one run, or the keys that the files themselves say"));
    }
    for run in &runs {
        if target.key.is_none() && run.key.is_none() {
            let file = run.file.clone();
            return Err(failed(path)(Error::NoKey { file }));
        }
    }
    let log = logs::writer(path, Some(target.stride))?;
    let written = all(&log, importer, &runs, target, path, out);
    let closed = match log_closed(log) {
        Ok(()) => Ok(()),
        Err(error) => Err(failure::store(path)(error)),
    };
    written.and_then(|exit| closed.map(|()| exit))
}

fn log_closed(log: std::sync::Arc<Log>) -> Result<(), aos_store::Error> {
    match std::sync::Arc::try_unwrap(log).map(Log::close) {
        Ok(Err(error @ aos_store::Error::Catalogue { .. })) => {
            talk(&format!("warning[{}]: {error}", error.code()));
            Ok(())
        }
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

/// Writes runs one after the other; one that is refused does not keep the others away.
fn all(
    log: &Log,
    importer: &dyn Importer,
    runs: &[ForeignRun],
    target: &Target,
    path: &Path,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Yes;
    let mut rows = Vec::new();
    for run in runs {
        for note in &run.notes {
            talk(&format!("note: {}: {note}", run.file));
        }
        let done = match write(log, importer, run, target.key.as_deref()) {
            Ok(done) => done,
            Err(error @ Error::Store(_)) => return Err(failed(path)(error)),
            Err(error) => {
                let failure = failed(path)(error);
                failure.print();
                exit = exit.worst(failure.exit);
                continue;
            }
        };
        if done.respelled > 0 {
            talk(&format!(
                "note: {}: {} events count the same but have other bytes; the log keeps those it has",
                run.file, done.respelled
            ));
        }
        let row = Object::new()
            .with("run", done.run.to_string())
            .with("key", done.key)
            .with("state", done.state.name())
            .with("events", done.events)
            .with("appended", done.appended)
            .with("workflow", format!("{}/{}", importer.source(), run.name));
        rows.push(match out.form() {
            Form::Table => row.with("digest", done.digest.hex()[..12].to_owned()),
            Form::Json | Form::Jsonl => row
                .with("history_digest", done.digest.hex())
                .with("file", run.file.as_str()),
        });
    }
    out.list(rows.into_iter(), "nothing was imported")?;
    Ok(exit)
}

/// Prints what of each event counts.
fn explain(rules: &Rules, out: &mut Output) -> Result<Exit, Failure> {
    let rows = rules.tables.iter().flat_map(|(table, attributes)| {
        attributes.iter().map(move |(name, rule)| {
            Object::new()
                .with("where", table.as_str())
                .with("attribute", name.as_str())
                .with("rule", rule.name())
        })
    });
    let rows: Vec<Object> = rows.collect();
    out.list(rows.into_iter(), "no rules")?;
    if out.form() == Form::Table {
        out.line("")?;
        out.line(&format!(
            "{}, version {}, rules {}; what no table names is {}",
            rules.source,
            rules.version,
            rules.digest(),
            rules.unknown
        ))?;
    }
    Ok(Exit::Yes)
}

/// What an import's error on the log at `log` means to the caller.
fn failed(log: &Path) -> impl Fn(Error) -> Failure + '_ {
    move |error| {
        let name = failure::argument(log);
        let place = error.place().map(ToString::to_string);
        let (exit, next) = match error.kind() {
            ErrorKind::Store => match error {
                Error::Store(error) => return failure::store(log)(error),
                _ => (Exit::Environment, format!("aosctl log fsck {name}")),
            },
            ErrorKind::BadFile => (Exit::Damaged, format!("aosctl explain {}", error.code())),
            ErrorKind::Usage => (Exit::Usage, "the same command with --key KEY".to_owned()),
            ErrorKind::Conflict => (
                Exit::Refused,
                format!("aosctl runs {name}; or another --key"),
            ),
            ErrorKind::TooLarge => (
                Exit::Limit,
                format!("aosctl log stat {name}; a log with a larger --stride takes larger events"),
            ),
            _ => (Exit::Damaged, format!("aosctl explain {}", error.code())),
        };
        let place = match &error {
            Error::Conflict { run, offset, .. } => Some(format!("run {run}, offset {offset}")),
            Error::NoKey { file } => Some(file.clone()),
            _ => place,
        };
        Failure::new(error.code(), exit, error.to_string())
            .place(place.unwrap_or_else(|| failure::shown(log)))
            .next(next)
    }
}
