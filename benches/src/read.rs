//! Reading single records by their offset, checksums verified.

use crate::contender::{Chaining, EVENT_LEN, Stream, open_log};
use crate::stats::{Failure, machine_at, percentiles, rounded, spread};
use aos_format::offset::Offset;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

/// Reads whose time is taken together: a clock takes too long for one.
const TOGETHER: usize = 100;

/// Writes `records` records of [`EVENT_LEN`] bytes and reads them again on one thread, in an order that jumps about.
///
/// # Errors
/// What the store or the directory said.
pub fn measure(dir: &Path, records: usize, rounds: usize) -> Result<Value, Failure> {
    let place = tempfile::tempdir_in(dir)?;
    let log = open_log(place.path())?;
    let mut stream = Stream::new(0, Chaining::Opaque);
    for _ in 0..records.div_ceil(1000) {
        let batch = (0..1000).map(|_| stream.make(EVENT_LEN)).collect();
        log.wait(log.append_batch(batch)?)?;
    }
    let end = log.flush()?;
    let offsets: Vec<Offset> = log
        .reader()?
        .scan(Offset(0))?
        .map(|record| record.map(|record| record.offset()))
        .collect::<Result<_, _>>()?;
    let (mut rates, mut latencies) = (Vec::new(), Vec::new());
    // A step without a common divisor goes through all of them.
    let step = (offsets.len() / 2 + 1) | 1;
    for round in 0..=rounds {
        let (start, mut at) = (Instant::now(), 0);
        for _ in 0..offsets.len() / TOGETHER {
            let before = Instant::now();
            for _ in 0..TOGETHER {
                at = (at + step) % offsets.len();
                std::hint::black_box(log.read(offsets[at])?);
            }
            latencies.push(before.elapsed() / TOGETHER as u32);
        }
        let count = offsets.len() / TOGETHER * TOGETHER;
        if round == 0 {
            latencies.clear();
        } else {
            rates.push(rounded(count as f64 / start.elapsed().as_secs_f64()));
        }
    }
    log.close()?;
    Ok(json!({
        "schema": "aos.bench.read.v1",
        "machine": machine_at(dir),
        "rounds": rounds,
        "log_bytes": end.0,
        "records": offsets.len(),
        "event_bytes": EVENT_LEN,
        "reads_per_s": spread(rates),
        "read_us": percentiles(&mut latencies),
    }))
}
