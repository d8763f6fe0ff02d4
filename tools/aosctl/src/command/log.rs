//! `aosctl log stat`, `cat` and `export`

use crate::args::{Export, Form, OnlyLog};
use crate::command::runs::settle;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::logs;
use crate::output::{Object, Output};
use crate::record::Shown;
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_replay::ExportOptions;
use aos_store::{Finding, LogReader, RunStatus, StoredRecord};
use std::collections::BTreeMap;
use std::path::Path;

/// Goes over all records; returns what ended them before the end of the log.
fn scan(
    log: &Path,
    reader: &LogReader,
    mut each: impl FnMut(&StoredRecord) -> Result<bool, Failure>,
) -> Result<Option<Finding>, Failure> {
    let failed = failure::store(log);
    for record in reader.scan(Offset(0)).map_err(&failed)? {
        match record {
            Ok(record) => {
                if !each(&record)? {
                    return Ok(None);
                }
            }
            Err(error) => match error.finding() {
                Some(finding) => return Ok(Some(finding.clone())),
                None => return Err(failed(error)),
            },
        }
    }
    Ok(None)
}

/// Sizes and counts of a log.
///
/// # Errors
/// Those of reading the log; what was counted before damage is shown first.
pub fn stat(args: &OnlyLog, out: &mut Output) -> Result<Exit, Failure> {
    let failed = failure::store(&args.log);
    let reader = logs::reader(&args.log)?;
    let mut kinds: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
    let (mut records, mut bytes, mut value_bytes, mut det_bytes) = (0u64, 0u64, 0u64, 0u64);
    let finding = scan(&args.log, &reader, |record| {
        let len = record.header().frame_len();
        let kind = kinds
            .entry(record.kind().map_or("unknown", Kind::name))
            .or_default();
        *kind = (kind.0 + 1, kind.1 + len);
        records += 1;
        bytes += len;
        if let Ok(view) = record.view() {
            det_bytes += view.det().len() as u64;
            value_bytes += view
                .values()
                .filter_map(|value| view.value_bytes(&value))
                .map(|b| b.len() as u64)
                .sum::<u64>();
        }
        Ok(true)
    })?;
    let tail = reader.tail().map_err(&failed)?;
    let segments = reader.segments().map_err(&failed)?;
    let index = reader.index().map_err(&failed)?;
    let stride = reader.identity().stride.bytes();
    let steps = kinds.get("STEP").map_or(0, |(count, _)| *count);
    let ended = index
        .rows
        .runs
        .values()
        .filter(|row| row.status.is_ended())
        .count();
    let held = index
        .rows
        .runs
        .values()
        .filter(|row| matches!(&row.status, RunStatus::Pending(policy) if policy == "hold"))
        .count();
    let per_step = tail.end.0.checked_div(steps);
    let report = Object::new()
        .with("schema", "aos.stat.v1")
        .with("log", args.log.display().to_string())
        .with("log_id", reader.identity().log_id.to_string())
        .with("stride", stride)
        .with("segments", segments.len())
        .with("pruned_below", reader.pruned().map(|base| base.end().0))
        .with("end_offset", tail.end.0)
        .with("durable_offset", tail.durable.0)
        .with("disk_bytes", disk_bytes(&args.log))
        .with("groups", tail.group)
        .with("epochs", tail.epoch)
        .with("records", records)
        .with("record_bytes", bytes)
        .with("canonical_bytes", det_bytes)
        .with("value_bytes", value_bytes)
        .with("steps", steps)
        .with("bytes_a_step", per_step)
        .with("runs", index.rows.runs.len())
        .with("runs_open", index.rows.runs.len() - ended)
        .with("runs_held", held)
        .with("checkpoints", index.rows.checkpoints.len())
        .with("writer_alive", tail.writer_alive)
        .with("catalogue", catalogue(&args.log));
    let kinds: Vec<Object> = kinds
        .iter()
        .map(|(kind, (count, bytes))| {
            Object::new()
                .with("kind", *kind)
                .with("records", *count)
                .with("bytes", *bytes)
        })
        .collect();
    if out.form() == Form::Table {
        out.object(&report)?;
        out.line("")?;
        out.table(&kinds, "no records")?;
    } else {
        out.object(&report.with("kinds", kinds))?;
    }
    settle(&args.log, finding.as_ref())
}

/// Bytes that the log's files occupy: segments are sparse.
fn disk_bytes(log: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for dir in [log.to_owned(), log.join("segments"), log.join("recovered")] {
        let Ok(entries) = std::fs::read_dir(dir) else {
            continue;
        };
        for entry in entries {
            let meta = entry.ok()?.metadata().ok()?;
            bytes += if meta.is_file() {
                meta.blocks() * 512
            } else {
                0
            };
        }
    }
    Some(bytes)
}

/// Whether the catalogue is there; a reader never opens it.
fn catalogue(log: &Path) -> String {
    match std::fs::metadata(log.join("catalog.redb")) {
        Ok(meta) => format!("{} bytes", meta.len()),
        Err(_) => "missing; the next opening for writing makes it again".into(),
    }
}

/// Lists all records, in order of offset.
///
/// # Errors
/// Those of reading the log; what was read before damage is listed first.
pub fn cat(args: &OnlyLog, out: &mut Output) -> Result<Exit, Failure> {
    let failed = failure::store(&args.log);
    let reader = logs::reader(&args.log)?;
    let form = out.form();
    let mut first = true;
    if form == Form::Table {
        out.line(&columns([
            "OFFSET", "STREAM", "SEQ", "EVENT", "DIGEST", "STEP", "WHAT",
        ]))?;
    }
    let finding = scan(&args.log, &reader, |record| {
        let shown = Shown::new(record).map_err(&failed)?;
        match form {
            Form::Table => {
                let stream = record.stream().map_err(&failed)?;
                let name = stream
                    .as_run()
                    .map_or(stream.kind.name().to_owned(), |run| {
                        run.to_string()[..12].to_owned()
                    });
                let (offset, seq) = (record.offset().to_string(), record.seq().to_string());
                let (digest, what) = (shown.short_digest(), shown.what());
                out.line(&columns([
                    &offset,
                    &name,
                    &seq,
                    shown.kind(),
                    &digest,
                    shown.activation(),
                    &what,
                ]))?;
            }
            Form::Jsonl => out.json_line(&shown.object())?,
            Form::Json => {
                out.raw(if first { b"[\n" } else { b",\n" })?;
                out.raw(shown.object().to_json().as_bytes())?;
            }
        }
        first = false;
        Ok(!out.is_closed())
    })?;
    if form == Form::Json {
        out.raw(if first { b"[]\n" } else { b"\n]\n" })?;
    }
    settle(&args.log, finding.as_ref())
}

fn columns([offset, stream, seq, event, digest, step, what]: [&str; 7]) -> String {
    let line = format!("{offset:>12}  {stream:<12}  {seq:>6}  {event:<10}  {digest:<12}  {step}");
    let line = if step.is_empty() {
        format!("{line}{what}")
    } else {
        format!("{line}  {what}")
    };
    crate::output::printable(line.trim_end())
}

/// Writes every record as a line of JSON, whatever the form of the output.
///
/// # Errors
/// Those of reading the log; what was read before damage is written first.
pub fn export(args: &Export, out: &mut Output) -> Result<Exit, Failure> {
    let reader = logs::reader(&args.log)?;
    let run = match &args.run {
        Some(name) => {
            let index = reader.index().map_err(failure::store(&args.log))?;
            Some(logs::find(&args.log, index.rows.runs.values(), name)?.run)
        }
        None => None,
    };
    let options = ExportOptions {
        run,
        with_seeds: args.with_seeds,
        ..ExportOptions::default()
    };
    let failed = failure::replay(&args.log);
    let mut exit = Exit::Yes;
    for record in aos_replay::Export::new(&reader, options).map_err(&failed)? {
        match record {
            Ok(record) => out.line(&record.to_string())?,
            Err(aos_replay::Error::Store(error)) => match error.finding() {
                Some(finding) => {
                    return settle(&args.log, Some(finding)).map(|settled| settled.worst(exit));
                }
                None => return Err(failure::store(&args.log)(error)),
            },
            Err(error) => {
                let failure = failed(error);
                failure.print();
                exit = exit.worst(failure.exit);
            }
        }
        if out.is_closed() {
            break;
        }
    }
    Ok(exit)
}
