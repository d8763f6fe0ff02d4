//! `replay --against` and `run --against`

use super::golden::checked;
use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::output::{Cell, Object, Output};
use aos_format::digest::RunId;
use aos_replay::{Compared, Seen, against};
use aos_store::Source;
use std::path::Path;

/// Compares runs with those that a golden archive holds whole; with `only`, that one.
///
/// # Errors
/// An archive that does not verify, or cannot be read.
pub fn compare(
    gold: &Path,
    found: &dyn Source,
    only: Option<RunId>,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let archive = checked(gold)?;
    let held = archive.manifest().runs.iter().map(|entry| entry.run);
    let runs: Vec<RunId> = held
        .filter(|run| only.is_none_or(|only| only == *run))
        .collect();
    let compared = against(&archive, &runs, found).map_err(failure::replay(gold))?;
    let same = compared.iter().filter(|run| run.is_same()).count();
    let different: Vec<Cell> = compared
        .iter()
        .filter(|run| !run.is_same())
        .map(|run| object(run).into())
        .collect();
    // Nothing to compare is no agreement.
    let (exit, verdict) = match (same, different.is_empty()) {
        (_, false) => (Exit::No, "different"),
        (0, true) => (Exit::Undecided, "nothing_to_compare"),
        (_, true) => (Exit::Yes, "same"),
    };
    let summary = Object::new()
        .with("schema", "aos.against.v1")
        .with("gold", gold.display().to_string())
        .with("verdict", verdict)
        .with("runs", compared.len())
        .with("same", same);
    if out.form() == Form::Table {
        out.line("")?;
    }
    out.object(&summary.with("different", Cell::List(different)))?;
    Ok(exit)
}

fn object(run: &Compared) -> Object {
    let seen = |seen: &Seen| {
        Object::new()
            .with("offset", seen.offset.0)
            .with("kind", seen.kind)
            .with("activation", seen.activation.clone())
            .with("digest", seen.digest.hex())
    };
    let parted = run.parted.as_ref();
    Object::new()
        .with("run", run.run.to_string())
        .with("expected", run.expected.hex())
        .with("found", run.found.map(|digest| digest.hex()))
        .with("event", parted.map(|parted| parted.event))
        .with(
            "gold_event",
            parted.and_then(|p| p.expected.as_ref()).map(seen),
        )
        .with(
            "found_event",
            parted.and_then(|p| p.found.as_ref()).map(seen),
        )
}
