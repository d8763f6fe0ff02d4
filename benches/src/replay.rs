//! Verifying and replaying a whole log, beside plain SHA-256 over the same bytes.

use crate::stats::{Failure, machine_at, percentiles};
use aos_disk::RealDisk;
use aos_format::digest::Digest;
use aos_replay::{Options, replay};
use aos_store::LogReader;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Length of the messages that the plain SHA-256 hashes, in bytes.
const MESSAGE: u64 = 1 << 20;

/// Measures a log, `rounds` times for each number of workers.
///
/// # Errors
/// What reading the log said.
pub fn measure(path: &Path, rounds: usize, workers: &[usize]) -> Result<Value, Failure> {
    let reader = LogReader::open(Arc::new(RealDisk), path)?;
    let end = reader.tail()?.end.0;
    let warm = aos_replay::verify(&reader, workers.iter().copied().max().unwrap_or(1))?;
    let mut rows = Vec::new();
    for &workers in workers {
        let (mut plain, mut verified, mut replayed) = (Vec::new(), Vec::new(), Vec::new());
        let mut opened = Vec::new();
        for _ in 0..rounds {
            plain.push(timed(|| plain_sha256(&reader, end, workers))?);
            verified.push(timed(|| {
                aos_replay::verify(&reader, workers)
                    .map(drop)
                    .map_err(Failure::from)
            })?);
            let options = Options {
                workers,
                ..Options::default()
            };
            replayed.push(timed(|| {
                replay(&reader, &options).map(drop).map_err(Failure::from)
            })?);
            opened.push(Duration::from_secs_f64(timed(|| {
                let reader = LogReader::open(Arc::new(RealDisk), path)?;
                replay(&reader, &options).map(drop).map_err(Failure::from)
            })?));
        }
        let figures = |seconds: &mut Vec<f64>| {
            seconds.sort_by(f64::total_cmp);
            let median = seconds[seconds.len() / 2];
            json!({
                "seconds": {"min": seconds[0], "median": median, "max": seconds[seconds.len() - 1]},
                "events_per_s": (warm.events as f64 / median).round(),
                "steps_per_s": (warm.steps as f64 / median).round(),
                "gb_per_s": (end as f64 / median / 1e7).round() / 100.0,
            })
        };
        let (plain, verified, replayed) = (
            figures(&mut plain),
            figures(&mut verified),
            figures(&mut replayed),
        );
        rows.push(json!({"workers": workers, "plain_sha256": plain, "verify": verified, "replay": replayed,
            "opened_and_replayed_us": percentiles(&mut opened)}));
    }
    Ok(json!({
        "schema": "aos.bench.replay.v1",
        "machine": machine_at(path),
        "rounds": rounds,
        "log": {"bytes": end, "records": warm.records, "events": warm.events, "steps": warm.steps,
                "runs": warm.runs.len(), "bytes_per_step": (end as f64 / warm.steps.max(1) as f64).round(),
                "digest": warm.digest().hex()},
        "figures": rows,
    }))
}

pub(crate) fn timed(work: impl FnOnce() -> Result<(), Failure>) -> Result<f64, Failure> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

/// The ceiling: every byte of the log hashed once in long messages, read as the replay reads them.
fn plain_sha256(reader: &LogReader, end: u64, workers: usize) -> Result<(), Failure> {
    let next = AtomicU64::new(0);
    let stride = reader.identity().stride.bytes();
    let work = || -> Result<(), aos_store::Error> {
        loop {
            let at = next.fetch_add(MESSAGE, Ordering::Relaxed);
            if at >= end {
                return Ok(());
            }
            let to = (at + MESSAGE).min(end).min(at / stride * stride + stride);
            let bytes = reader.read_range(at..to)?;
            std::hint::black_box(Digest::of(&bytes));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })
}
