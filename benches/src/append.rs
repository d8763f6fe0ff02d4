//! Durable appends: contenders in turn, round by round, so that each ratio is of neighbours in time.

use crate::contender::{Chaining, EVENT_LEN, Opener, Stream, open_log};
use crate::stats::{Failure, machine_at, percentiles, rounded, spread};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Name of the contender that the others are divided by.
const REFERENCE: &str = "reference";

/// What is appended, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Directory on the disk to measure; each contender works in a new one below it.
    pub dir: &'a Path,
    /// Events a sync.
    pub batches: &'a [usize],
    /// Bytes of an event.
    pub payloads: &'a [usize],
    /// Rounds, in each of which every contender has its turn.
    pub rounds: usize,
    /// Seconds of a turn, after a warm-up of a tenth of that.
    pub seconds: f64,
}

/// One contender's turns at one batch and payload size.
#[derive(Default)]
struct Turns {
    what: String,
    rates: Vec<f64>,
    latencies: Vec<Duration>,
}

impl Turns {
    fn take(
        &mut self,
        open: Opener,
        plan: &Plan<'_>,
        event: &[u8],
        batch: usize,
    ) -> Result<(), Failure> {
        let place = tempfile::tempdir_in(plan.dir)?;
        let mut contender = (open.1)(place.path())?;
        self.what = contender.name().into();
        let warm = Instant::now();
        while warm.elapsed().as_secs_f64() < plan.seconds / 10.0 {
            contender.append(event, batch)?;
        }
        let (start, mut count) = (Instant::now(), 0u64);
        let mut before = start;
        while before.duration_since(start).as_secs_f64() < plan.seconds {
            contender.append(event, batch)?;
            let now = Instant::now();
            self.latencies.push(now - before);
            before = now;
            count += batch as u64;
        }
        self.rates
            .push(count as f64 / (before - start).as_secs_f64());
        Ok(())
    }
}

/// Measures contenders at each payload and batch size; the order of their turns moves on by one from round to round.
///
/// # Errors
/// What a contender or the directory said.
pub fn batches(contenders: &[Opener], plan: &Plan<'_>) -> Result<Value, Failure> {
    let machine = machine_at(plan.dir);
    let mut rows = Vec::new();
    for (&payload, &batch) in plan
        .payloads
        .iter()
        .flat_map(|payload| plan.batches.iter().map(move |batch| (payload, batch)))
    {
        let event = vec![0x5a; payload];
        let mut turns: Vec<Turns> = contenders.iter().map(|_| Turns::default()).collect();
        for round in 0..plan.rounds {
            for turn in 0..contenders.len() {
                let index = (round + turn) % contenders.len();
                turns[index].take(contenders[index], plan, &event, batch)?;
            }
        }
        let reference = contenders.iter().position(|(key, _)| *key == REFERENCE);
        let reference = reference.map(|at| turns[at].rates.clone());
        for ((key, _), turns) in contenders.iter().zip(&mut turns) {
            let ratio = reference.as_ref().map(|reference| {
                let pairs = turns.rates.iter().zip(reference);
                spread(pairs.map(|(own, other)| own / other).collect())
            });
            rows.push(json!({
                "batch": batch,
                "payload_bytes": payload,
                "contender": key,
                "what": turns.what,
                "events_per_s": spread(turns.rates.clone()),
                "ratio_to_reference": ratio,
                "sync_us": percentiles(&mut turns.latencies),
            }));
        }
    }
    Ok(json!({
        "schema": "aos.bench.append.v1",
        "machine": machine,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
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
    chaining: Chaining,
    (rounds, seconds): (usize, f64),
) -> Result<Value, Failure> {
    let machine = machine_at(dir);
    let (mut rates, mut latencies) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let place = tempfile::tempdir_in(dir)?;
        let log = Arc::new(open_log(place.path())?);
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(seconds);
        let threads: Vec<_> = (0..producers)
            .map(|number| {
                let log = log.clone();
                std::thread::spawn(move || -> Result<Vec<Duration>, aos_store::Error> {
                    let mut stream = Stream::new(number as u64, chaining);
                    let mut open = VecDeque::with_capacity(in_flight);
                    let mut taken = Vec::new();
                    let mut settle =
                        |(since, ticket): (Instant, aos_store::Ticket)| -> Result<(), aos_store::Error> {
                            log.wait(ticket)?;
                            taken.push(since.elapsed());
                            Ok(())
                        };
                    loop {
                        if open.len() == in_flight
                            && let Some(oldest) = open.pop_front()
                        {
                            settle(oldest)?;
                        }
                        // When the event begins, and whether time is up: clocks are not free.
                        let now = Instant::now();
                        if now > end {
                            break;
                        }
                        let item = stream.make(EVENT_LEN);
                        open.push_back((now, log.append(item.draft, item.kind, item.seq)?));
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
        "chained": chaining == Chaining::Chained,
        "in_flight": in_flight,
        "rounds": rounds,
        "seconds": rounded(seconds),
        "events_per_s": spread(rates),
        "durable_us": percentiles(&mut latencies),
    }))
}
