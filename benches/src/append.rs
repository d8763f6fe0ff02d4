//! Durable appends: contenders in turn, round by round, so that each ratio is of neighbours in time.

use crate::contender::{Chaining, EVENT_LEN, Opener, Stream, open_log};
use crate::stats::{Failure, machine, percentiles, rounded, spread};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Name of the contender that the others are divided by.
const REFERENCE: &str = "reference";

/// Measures contenders at each batch size.
///
/// Every round runs each contender once, in an order that turns by one from round to round, for `seconds` after a warm-up
/// of a tenth of that.
///
/// # Errors
/// What a contender or the directory said.
pub fn batches(
    dir: &Path,
    contenders: &[Opener],
    sizes: &[usize],
    rounds: usize,
    seconds: f64,
) -> Result<Value, Failure> {
    let machine = machine();
    let mut rows = Vec::new();
    for &size in sizes {
        let mut rates: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
        let mut latencies: Vec<Vec<Duration>> = vec![Vec::new(); contenders.len()];
        let mut names = vec![String::new(); contenders.len()];
        for round in 0..rounds {
            for turn in 0..contenders.len() {
                let index = (round + turn) % contenders.len();
                let place = tempfile::tempdir_in(dir)?;
                let mut contender = (contenders[index].1)(place.path())?;
                names[index] = contender.name().into();
                let event = [0x5a; EVENT_LEN];
                let warm = Instant::now();
                while warm.elapsed().as_secs_f64() < seconds / 10.0 {
                    contender.append(&event, size)?;
                }
                let (start, mut count) = (Instant::now(), 0u64);
                let mut before = start;
                while before.duration_since(start).as_secs_f64() < seconds {
                    contender.append(&event, size)?;
                    let now = Instant::now();
                    latencies[index].push(now - before);
                    before = now;
                    count += size as u64;
                }
                rates[index].push(count as f64 / (before - start).as_secs_f64());
            }
        }
        let reference = contenders.iter().position(|(key, _)| *key == REFERENCE);
        for (index, (key, _)) in contenders.iter().enumerate() {
            let ratio = reference.map(|reference| {
                let pairs = rates[index].iter().zip(&rates[reference]);
                spread(pairs.map(|(own, other)| own / other).collect())
            });
            rows.push(json!({
                "batch": size,
                "contender": key,
                "what": names[index],
                "events_per_s": spread(rates[index].clone()),
                "ratio_to_reference": ratio,
                "sync_us": percentiles(&mut latencies[index]),
            }));
        }
    }
    Ok(json!({
        "schema": "aos.bench.append.v1",
        "machine": machine,
        "event_bytes": EVENT_LEN,
        "rounds": rounds,
        "seconds": seconds,
        "figures": rows,
    }))
}

/// Many producers on one AOS log, each with a stream of its own and `in_flight` appends not yet durable.
///
/// # Errors
/// What the store or the directory said.
pub fn producers(
    dir: &Path,
    producers: usize,
    in_flight: usize,
    rounds: usize,
    seconds: f64,
) -> Result<Value, Failure> {
    let machine = machine();
    let (mut rates, mut latencies) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let place = tempfile::tempdir_in(dir)?;
        let log = Arc::new(open_log(place.path())?);
        let start = Instant::now();
        let threads: Vec<_> = (0..producers)
            .map(|number| {
                let log = log.clone();
                std::thread::spawn(move || -> Result<Vec<Duration>, aos_store::Error> {
                    let mut stream = Stream::new(number as u64, Chaining::Chained);
                    let mut open = VecDeque::with_capacity(in_flight);
                    let mut taken = Vec::new();
                    let mut settle =
                        |(since, ticket): (Instant, aos_store::Ticket)| -> Result<(), aos_store::Error> {
                            log.wait(ticket)?;
                            taken.push(since.elapsed());
                            Ok(())
                        };
                    while start.elapsed().as_secs_f64() < seconds {
                        if open.len() == in_flight
                            && let Some(oldest) = open.pop_front()
                        {
                            settle(oldest)?;
                        }
                        let item = stream.make(EVENT_LEN);
                        open.push_back((
                            Instant::now(),
                            log.append(item.draft, item.kind, item.seq)?,
                        ));
                    }
                    open.into_iter().try_for_each(&mut settle)?;
                    Ok(taken)
                })
            })
            .collect();
        let mut count = 0;
        for thread in threads {
            let taken = thread.join().map_err(|_| "a producer panicked")??;
            count += taken.len();
            latencies.extend(taken);
        }
        rates.push(count as f64 / start.elapsed().as_secs_f64());
    }
    Ok(json!({
        "schema": "aos.bench.producers.v1",
        "machine": machine,
        "event_bytes": EVENT_LEN,
        "producers": producers,
        "in_flight": in_flight,
        "rounds": rounds,
        "seconds": rounded(seconds),
        "events_per_s": spread(rates),
        "durable_us": percentiles(&mut latencies),
    }))
}
