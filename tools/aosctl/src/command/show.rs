//! `aosctl show`

use crate::args::{Form, Show};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::logs;
use crate::output::{Cell, Object, Output, printable, talk};
use crate::record::{Shown, values};
use aos_engine::outcome::outcomes;
use aos_engine::skill::Skills;
use aos_format::record::StreamId;
use aos_replay::Whole;
use aos_store::{RunRow, Source};
use std::sync::Arc;

/// Characters of a value that are shown without `--full`.
const VALUE_CHARS_MAX: usize = 100;

/// Shows the history of a run: every record with its offset, digest and values.
///
/// # Errors
/// Those of reading the log; no run of that name.
pub fn show(args: &Show, out: &mut Output) -> Result<Exit, Failure> {
    let failed = failure::store(&args.log);
    let reader = logs::reader(&args.log)?;
    let index = reader.index().map_err(&failed)?;
    let row = logs::find(&args.log, index.rows.runs.values(), &args.run)?;
    let records = reader.stream(StreamId::run(row.run), 1).map_err(&failed)?;
    let table = out.form() == Form::Table;
    if table {
        out.object(&header(&row))?;
        out.line("")?;
    }
    let whole = Whole::new(&reader, Arc::new(Skills::builtin()));
    let mut cut = 0;
    let mut rows = Vec::new();
    for record in &records {
        let shown = Shown::new(record).map_err(&failed)?;
        let values = values(&whole, record).map_err(&failed)?;
        rows.push(if table {
            let texts: Vec<String> = values
                .iter()
                .map(|(name, text)| short(name, text.as_deref(), args.full, &mut cut))
                .collect();
            Object::new()
                .with("offset", record.offset().0)
                .with("seq", record.seq())
                .with("event", shown.kind())
                .with("step", shown.activation())
                .with("what", shown.what())
                .with("digest", shown.short_digest())
                .with("values", texts.join("  "))
        } else {
            let values = values
                .into_iter()
                .fold(Object::new(), |object, (name, text)| {
                    object.with(name, text.map_or(Cell::Null, Cell::Json))
                });
            shown.object().with("values", values)
        });
    }
    if out.form() == Form::Json {
        let outcomes = outcomes(&records, &logs::Stored(&reader)).map_err(|source| {
            let run = row.run;
            failure::engine(&args.log)(aos_engine::Error::History { run, source })
        })?;
        let outcomes: Vec<Object> = outcomes.iter().map(super::query::outcome).collect();
        out.object(
            &header(&row)
                .with("schema", "aos.history.v1")
                .with("outcomes", outcomes)
                .with("history", rows),
        )?;
    } else {
        out.list(rows.into_iter(), "no records")?;
    }
    if whole.count() > 0 {
        let count = whole.count();
        talk(&format!(
            "{count} values are recorded as digests and were made again"
        ));
    }
    if cut > 0 {
        talk(&format!("{cut} values are cut; --full shows them whole"));
    }
    Ok(Exit::Yes)
}

fn header(row: &RunRow) -> Object {
    Object::new()
        .with("run", row.run.to_string())
        .with("key", row.key.as_str())
        .with("generation", row.generation)
        .with("status", logs::status(row))
        .with(
            "workflow",
            format!("{}/{} {}", row.namespace, row.name, row.version),
        )
        .with("definition", row.definition.hex())
        .with("steps", row.steps)
        .with("events", row.events)
        .with("history_digest", row.digest.hex())
}

fn short(name: &str, text: Option<&str>, full: bool, cut: &mut usize) -> String {
    let Some(text) = text else {
        return format!("{name} not stored");
    };
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) if !full => {
            *cut += 1;
            format!("{name} {}… ({} bytes)", printable(&text[..at]), text.len())
        }
        _ => format!("{name} {}", printable(text)),
    }
}
