//! Verification beside its ceilings: plain SHA-256 of the same bytes, at every width of the machine, in turn.

use crate::replay::timed;
use crate::stats::{Failure, machine};
use aos_disk::RealDisk;
use aos_format::digest::Digest;
use aos_format::event::VALUE_LABEL;
use aos_format::offset::Offset;
use aos_format::sha_wide::{Message, Width, digest_messages};
use aos_replay::{Verified, verify_at};
use aos_store::LogReader;
use serde_json::{Map, Value, json};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Messages that the ceiling hashes in one call.
const BATCH: usize = 1024;

/// Everything that is hashed of a log, in order.
#[derive(Default)]
struct Hashed {
    arena: Vec<u8>,
    messages: Vec<(bool, Range<usize>)>,
}

impl Hashed {
    fn of(reader: &LogReader) -> Result<Hashed, Failure> {
        let mut hashed = Hashed::default();
        for record in reader.scan(Offset(0))? {
            let record = record?;
            let view = record.view()?;
            hashed.put(false, view.det());
            for value in view.values() {
                if let Some(bytes) = view.salted_bytes(&value) {
                    hashed.put(true, bytes);
                }
            }
        }
        Ok(hashed)
    }

    fn put(&mut self, labelled: bool, bytes: &[u8]) {
        let from = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.messages.push((labelled, from..self.arena.len()));
    }

    fn bytes(&self) -> usize {
        let labels = self.messages.iter().filter(|(labelled, _)| *labelled);
        self.arena.len() + labels.count() * VALUE_LABEL.len()
    }

    /// Hashes all of it on `workers` threads.
    fn hash(&self, width: Width, workers: usize) {
        let share = self.messages.len().div_ceil(workers).max(1);
        std::thread::scope(|scope| {
            for part in self.messages.chunks(share) {
                scope.spawn(move || {
                    let mut digests = [Digest::ZERO; BATCH];
                    for batch in part.chunks(BATCH) {
                        let messages: Vec<Message<'_>> = batch
                            .iter()
                            .map(|(labelled, range)| Message {
                                label: labelled.then_some(VALUE_LABEL),
                                bytes: &self.arena[range.clone()],
                            })
                            .collect();
                        digest_messages(width, &messages, &mut digests[..messages.len()]);
                        std::hint::black_box(&digests);
                    }
                });
            }
        });
    }
}

/// Seconds of one kind of work, round by round.
struct Row {
    name: String,
    width: Width,
    verify: bool,
    seconds: Vec<f64>,
}

/// Measures the log at `path`.
///
/// # Errors
/// What reading the log says.
pub fn measure(path: &Path, rounds: usize, workers: &[usize]) -> Result<Value, Failure> {
    let reader = LogReader::open(Arc::new(RealDisk), path)?;
    let hashed = Hashed::of(&reader)?;
    let warm = verify_at(&reader, 1, Width::best())?;
    let figures = workers
        .iter()
        .map(|&workers| rows(&reader, &hashed, &warm, rounds, workers))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "schema": "aos.bench.verify.v1",
        "machine": machine(),
        "rounds": rounds,
        "log": {"bytes": reader.tail()?.end.0, "events": warm.events, "records": warm.records, "hashed_messages": hashed.messages.len(),
                "hashed_bytes": hashed.bytes(), "digest": warm.digest().hex()},
        "figures": figures,
    }))
}

fn rows(
    reader: &LogReader,
    hashed: &Hashed,
    warm: &Verified,
    rounds: usize,
    workers: usize,
) -> Result<Value, Failure> {
    let mut rows = Vec::new();
    for width in Width::found() {
        for (verify, what) in [(false, "plain_sha256"), (true, "verify")] {
            rows.push(Row {
                name: format!("{what}/lanes={}", width.lanes()),
                width,
                verify,
                seconds: Vec::new(),
            });
        }
    }
    for _ in 0..rounds {
        for row in &mut rows {
            row.seconds.push(timed(|| {
                if row.verify {
                    verify_at(reader, workers, row.width)?;
                } else {
                    hashed.hash(row.width, workers);
                }
                Ok(())
            })?);
        }
    }
    let mut figures = Map::new();
    for row in &mut rows {
        row.seconds.sort_by(f64::total_cmp);
        let (best, median) = (row.seconds[0], row.seconds[row.seconds.len() / 2]);
        let rate = |count: f64| (count / best).round();
        figures.insert(
            row.name.clone(),
            json!({
                "seconds": {"min": best, "median": median},
                "events_per_s": rate(warm.events as f64),
                "hashed_gb_per_s": (hashed.bytes() as f64 / best / 1e7).round() / 100.0,
            }),
        );
    }
    let ratio = |of: &Row, to: &Row| (to.seconds[0] / of.seconds[0] * 1000.0).round() / 1000.0;
    let find = |verify: bool, lanes: usize| {
        let mut rows = rows.iter();
        rows.find(|row| row.verify == verify && row.width.lanes() == lanes)
    };
    let mut ratios = Map::new();
    for (name, of, to) in [
        (
            "verify_to_two_lanes",
            find(true, Width::best().lanes()),
            find(false, 2),
        ),
        (
            "verify_to_four_lanes",
            find(true, Width::best().lanes()),
            find(false, 4),
        ),
        (
            "verify_to_itself_on_sha2",
            find(true, Width::best().lanes()),
            find(true, 1),
        ),
        ("two_lanes_to_sha2", find(false, 2), find(false, 1)),
        ("four_lanes_to_sha2", find(false, 4), find(false, 1)),
    ] {
        if let (Some(of), Some(to)) = (of, to) {
            ratios.insert(name.into(), ratio(of, to).into());
        }
    }
    Ok(json!({"workers": workers, "each": figures, "ratios_of_the_fastest_rounds": ratios}))
}
