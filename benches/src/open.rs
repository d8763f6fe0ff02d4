//! Opening a log: how soon it is known what is durable, and what it contains.

use crate::stats::{Failure, machine_at, percentiles};
use aos_disk::RealDisk;
use aos_format::digest::LogId;
use aos_store::{Log, LogReader, Mode, Options};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Takes the time of `work`, `rounds` times after once that does not count.
fn taken(
    rounds: usize,
    mut work: impl FnMut() -> Result<(), Failure>,
) -> Result<Vec<Duration>, Failure> {
    work()?;
    (0..rounds)
        .map(|_| {
            let start = Instant::now();
            work()?;
            Ok(start.elapsed())
        })
        .collect()
}

/// Opens the log at `path` for reading `rounds` times: until the durable prefix is known, and until every run is. With `write`
/// also for writing, which appends an OPEN record each time.
///
/// # Errors
/// What the store said.
pub fn measure(path: &Path, rounds: usize, write: bool) -> Result<Value, Failure> {
    let open = || LogReader::open(Arc::new(RealDisk), path);
    let prefix = |reader: &LogReader| reader.tail().map(|tail| tail.end.0);
    let end = prefix(&open()?)?;
    let mut kinds = vec![
        (
            "durable prefix, reading",
            taken(rounds, || Ok(prefix(&open()?).map(drop)?))?,
        ),
        (
            "every run, reading",
            taken(rounds, || Ok(open()?.index().map(drop)?))?,
        ),
    ];
    if write {
        let mut opened = Vec::new();
        for _ in 0..=rounds {
            let options = Options {
                mode: Mode::Threaded,
                ..Options::new(LogId([0; 16]))
            };
            let start = Instant::now();
            let (log, _) = Log::open(Arc::new(RealDisk), path, &options)?;
            opened.push(start.elapsed());
            log.close()?;
        }
        // The first one may find the log as a kill left it.
        let first = opened.remove(0);
        kinds.push(("writing, the first time", vec![first]));
        kinds.push(("writing", opened));
    }
    let rows: Vec<Value> = kinds
        .into_iter()
        .map(|(what, mut taken)| json!({"what": what, "latency_us": percentiles(&mut taken)}))
        .collect();
    Ok(json!({
        "schema": "aos.bench.open.v1",
        "machine": machine_at(path),
        "rounds": rounds,
        "log": {"bytes": end},
        "figures": rows,
    }))
}
