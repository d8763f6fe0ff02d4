//! `aosctl query`: where the runs of a log stand.

use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::logs;
use crate::output::{Cell, Object, Output};
use aos_engine::machine::value_limit;
use aos_engine::outcome::StepOutcome;
use aos_engine::query::{Standing, standing};
use aos_store::RunRow;
use clap::Args;
use std::path::PathBuf;

/// Runs that are told of without `--limit`, the newest.
const RUNS_SHOWN: usize = 20;

/// `query`
#[derive(Args, Debug)]
pub struct Query {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Only this run: its id, the first 6 or more digits of it, or its key
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// At most so many runs, the newest first
    #[arg(long, value_name = "N", default_value_t = RUNS_SHOWN)]
    pub limit: usize,
    /// Outcomes of each run, the last ones
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub last: usize,
}

/// Says where the runs of a log stand.
///
/// # Errors
/// Those of reading the log; no run of that name.
pub fn query(args: &Query, out: &mut Output) -> Result<Exit, Failure> {
    let reader = logs::reader(&args.log)?;
    let failed = failure::store(&args.log);
    let index = reader.index().map_err(&failed)?;
    let mut rows: Vec<RunRow> = match &args.run {
        Some(name) => vec![logs::find(&args.log, index.rows.runs.values(), name)?],
        None => index.rows.runs.values().cloned().collect(),
    };
    let all = rows.len();
    rows.sort_by_key(|row| std::cmp::Reverse(row.start));
    rows.truncate(args.limit);
    let values = logs::Stored(&reader);
    let mut standings = Vec::with_capacity(rows.len());
    for row in &rows {
        let found = standing(&reader, &values, row, args.last);
        standings.push(found.map_err(failure::engine(&args.log))?);
    }
    if out.form() == Form::Table {
        out.table(&standings.iter().map(line).collect::<Vec<_>>(), "no runs")?;
    } else {
        let stride = reader.identity().stride;
        let limits = Object::new()
            .with("record_bytes", stride.record_limit())
            .with("values_bytes", value_limit(stride));
        let runs: Vec<Object> = standings.iter().map(whole).collect();
        out.object(
            &Object::new()
                .with("schema", "aos.query.v1")
                .with("log", failure::shown(&args.log))
                .with("runs_in_log", all)
                .with("limits", limits)
                .with("runs", runs),
        )?;
    }
    super::runs::settle(&args.log, index.finding.as_ref())
}

fn line(standing: &Standing) -> Object {
    let last = standing.last.last();
    Object::new()
        .with("run", standing.row.run.to_string()[..12].to_owned())
        .with("key", standing.row.key.as_str())
        .with("status", logs::status(&standing.row))
        .with("steps", standing.row.steps)
        .with("spent", standing.spent)
        .with("remaining", standing.remaining())
        .with("last_step", last.map(|outcome| outcome.activation.clone()))
        .with("outcome", last.map(|outcome| outcome.status.name()))
        .with(
            "code",
            last.and_then(|outcome| outcome.code)
                .map(|code| code.name()),
        )
}

fn whole(standing: &Standing) -> Object {
    let skills: Vec<Object> = standing
        .skills
        .iter()
        .map(|skill| {
            Object::new()
                .with("skill", skill.name.as_str())
                .with("version", skill.version.as_str())
        })
        .collect();
    let last: Vec<Object> = standing.last.iter().map(outcome).collect();
    Object::new()
        .with("run", standing.row.run.to_string())
        .with("key", standing.row.key.as_str())
        .with("status", logs::status(&standing.row))
        .with("steps", standing.row.steps)
        .with("steps_left", standing.steps_left())
        .with("budget", standing.budget)
        .with("spent", standing.spent)
        .with("remaining", standing.remaining())
        .with("skills", skills)
        .with("last", last)
        .with("history_digest", standing.row.digest.hex())
}

/// The outcome of a step as programs read it.
pub fn outcome(outcome: &StepOutcome) -> Object {
    let json = |value: &Option<aos_engine::value::Value>| {
        value
            .as_ref()
            .map(|value| Cell::Json(value.as_str().to_owned()))
    };
    Object::new()
        .with("step", outcome.activation.as_str())
        .with("status", outcome.status.name())
        .with("effect", outcome.effect.clone())
        .with("output", json(&outcome.output))
        .with("error_class", outcome.code.map(|code| code.class().name()))
        .with("error_code", outcome.code.map(|code| code.name()))
        .with("error", json(&outcome.error))
        .with("attempts", outcome.attempts)
        .with("cost", outcome.cost)
        .with("latency_ms", outcome.latency_ms)
        .with("digest", outcome.digest.hex())
        .with("offset", outcome.offset.0)
}
