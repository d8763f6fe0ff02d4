//! What a document costs before its first step: reading, checking and compiling it.

use crate::stats::{Failure, machine, percentiles};
use aos_engine::workflow::Definition;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

/// Loads each document `rounds` times, in turn.
///
/// # Errors
/// A document that cannot be read or does not load.
pub fn measure(documents: &[PathBuf], rounds: usize) -> Result<Value, Failure> {
    let read = |path: &PathBuf| -> Result<_, Failure> {
        let bytes = std::fs::read(path)?;
        let definition =
            Definition::load(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok((path.clone(), bytes, definition.tasks.len(), Vec::new()))
    };
    let mut all = documents.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..rounds {
        for (_, bytes, _, took) in &mut all {
            let start = Instant::now();
            let definition = Definition::load(bytes)?;
            took.push(start.elapsed());
            drop(definition);
        }
    }
    let mut every = Vec::new();
    let documents: Vec<Value> = all
        .into_iter()
        .map(|(path, bytes, tasks, mut took)| {
            every.extend(took.iter().copied());
            json!({
                "document": path.file_name().map(|name| name.to_string_lossy()),
                "bytes": bytes.len(),
                "tasks": tasks,
                "load_us": percentiles(&mut took),
            })
        })
        .collect();
    Ok(json!({
        "schema": "aos.bench.parse.v1",
        "machine": machine(),
        "rounds": rounds,
        "load_us": percentiles(&mut every),
        "documents": documents,
    }))
}
