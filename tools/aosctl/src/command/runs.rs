//! `aosctl runs`

use crate::args::{Form, Runs, Status};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::logs;
use crate::output::{Object, Output, talk};
use aos_store::{Error, FindingKind, RunRow};

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Waiting => "waiting",
            Status::Held => "held",
            Status::Completed => "completed",
            Status::Faulted => "faulted",
            Status::Cancelled => "cancelled",
        }
    }
}

/// Lists the runs of a log in the order they were started.
///
/// # Errors
/// Those of reading the log; what was read before damage is listed first.
pub fn runs(args: &Runs, out: &mut Output) -> Result<Exit, Failure> {
    let reader = logs::reader(&args.log)?;
    let index = reader.index().map_err(failure::store(&args.log))?;
    let mut rows: Vec<&RunRow> = index
        .rows
        .runs
        .values()
        .filter(|row| {
            args.status
                .is_none_or(|status| logs::status(row) == status.name())
        })
        .collect();
    rows.sort_by_key(|row| row.start);
    let all = rows.len();
    rows.truncate(args.limit.unwrap_or(usize::MAX));
    let short = out.form() == Form::Table;
    let pruned = reader.pruned();
    let gone = |row: &RunRow| {
        pruned
            .as_ref()
            .is_some_and(|base| base.gone().contains(&row.run))
    };
    out.list(
        rows.iter().map(|row| object(row, short, gone(row))),
        "no runs",
    )?;
    if rows.len() < all && short {
        talk(&format!(
            "{} of {all} runs; --limit {all} shows all",
            rows.len()
        ));
    }
    settle(&args.log, index.finding.as_ref())
}

/// What a reader that has shown everything it could read says of the rest.
///
/// # Errors
/// The damage, unless it is only a tail that a crash has torn.
pub fn settle(
    log: &std::path::Path,
    finding: Option<&aos_store::Finding>,
) -> Result<Exit, Failure> {
    match finding {
        None => Ok(Exit::Yes),
        Some(finding) if finding.kind == FindingKind::TailUnproven => {
            talk(&format!(
                "note[{}]: {finding}; the next run or resume recovers it",
                finding.code
            ));
            Ok(Exit::Yes)
        }
        Some(finding) => Err(failure::store(log)(Error::Finding(Box::new(
            finding.clone(),
        )))),
    }
}

fn object(row: &RunRow, short: bool, gone: bool) -> Object {
    let status = match (gone, short) {
        (true, true) => format!("{}, pruned", logs::status(row)),
        _ => logs::status(row).to_owned(),
    };
    let key = Object::new()
        .with("key", row.key.as_str())
        .with("status", status);
    let key = if gone && !short {
        key.with("pruned", true)
    } else {
        key
    };
    if short {
        return Object::new()
            .with("run", row.run.to_string())
            .and(key)
            .with("steps", row.steps)
            .with("events", row.events)
            .with("start", row.start.0)
            .with(
                "workflow",
                format!("{}/{} {}", row.namespace, row.name, row.version),
            )
            .with("digest", row.digest.hex()[..12].to_owned());
    }
    Object::new()
        .with("run", row.run.to_string())
        .and(key)
        .with("generation", row.generation)
        .with("namespace", row.namespace.as_str())
        .with("workflow", row.name.as_str())
        .with("version", row.version.as_str())
        .with("definition", row.definition.hex())
        .with("steps", row.steps)
        .with("events", row.events)
        .with("start", row.start.0)
        .with("head", row.head.0)
        .with("checkpoint", row.checkpoint.map(|offset| offset.0))
        .with("history_digest", row.digest.hex())
        .with("started_wall_ns", row.started_wall_ns)
        .with("ended_wall_ns", row.ended_wall_ns)
        .with(
            "waits_for",
            row.outstanding
                .last()
                .map(|intent| intent.activation.clone()),
        )
}
