//! The engine: steps made durable, and made again.

use crate::contender::{Contender, EVENT_LEN, Reference};
use crate::memory::Watch;
use crate::stats::{Failure, machine_at, percentiles, rounded, spread};
use crate::workload::{Workload, skills};
use aos_disk::RealDisk;
use aos_engine::clock::Clock;
use aos_engine::engine::Engine;
use aos_engine::pool::{Done, Outcome, PoolOptions, run_all};
use aos_format::digest::{Digest, LogId, log_digest};
use aos_replay::{Options, Verdict, replay};
use aos_store::{Log, LogReader, Mode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Effects at a time.
const EFFECTS: usize = 32;

/// One kind of work, at one setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Threads that compute.
    pub workers: usize,
    /// Runs in memory at a time.
    pub in_flight: usize,
}

/// What one round of a workload gave.
pub struct Round {
    /// Seconds from the first start until the last run was durable.
    pub seconds: f64,
    /// Steps that count.
    pub steps: u64,
    /// Events, all of them.
    pub events: u64,
    /// From the start of each run until it was durable.
    pub latencies: Vec<Duration>,
    /// Groups, which is syncs.
    pub syncs: u64,
    /// Length of the log.
    pub bytes: u64,
    /// Of the log.
    pub digest: Digest,
}

/// A new log below `dir`, as tools open it.
///
/// # Errors
/// What the store said.
pub fn create(dir: &Path) -> Result<Arc<Log>, Failure> {
    let options = aos_store::Options {
        create: true,
        mode: Mode::Threaded,
        ..aos_store::Options::new(LogId([7; 16]))
    };
    Ok(Arc::new(
        Log::open(Arc::new(RealDisk), &dir.join("bench.aos"), &options)?.0,
    ))
}

/// Runs a workload on a new log in `dir`, which stays there.
///
/// # Errors
/// What the engine said; a run that did not end.
pub fn run(dir: &Path, workload: &Workload, setting: Setting) -> Result<Round, Failure> {
    let log = create(dir)?;
    let before = log.reader()?.tail()?.group;
    let engine = Engine::new(log, skills(), Clock::default())?;
    let options = PoolOptions {
        workers: setting.workers,
        in_flight: setting.in_flight,
        effects: EFFECTS.min(setting.in_flight),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let mut heads = BTreeMap::new();
    let mut latencies = Vec::with_capacity(workload.len());
    let (mut steps, mut events, mut failed) = (0, 0, None);
    let start = Instant::now();
    let begun = std::cell::RefCell::new(vec![start; workload.len()]);
    let jobs = workload.jobs().enumerate().map(|(at, job)| {
        begun.borrow_mut()[at] = Instant::now();
        job
    });
    run_all(&engine, jobs, &options, |done: Done| {
        latencies.push(begun.borrow()[done.tag as usize].elapsed());
        steps += workload.counted(done.steps);
        events += done.events;
        match (done.run, &done.outcome) {
            (Some(run), Outcome::Ended(_)) => _ = heads.insert(run, done.digest),
            (_, other) => failed = Some(format!("run {}: {other:?}", done.tag)),
        }
    })?;
    let seconds = start.elapsed().as_secs_f64();
    if let Some(failed) = failed {
        return Err(failed.into());
    }
    let tail = engine.log().reader()?.tail()?;
    let round = Round {
        seconds,
        steps,
        events,
        latencies,
        syncs: tail.group - before,
        bytes: tail.end.0,
        digest: log_digest(&heads),
    };
    let log = engine.log().clone();
    drop(engine);
    Arc::into_inner(log)
        .ok_or("somebody still holds the log")?
        .close()?;
    Ok(round)
}

/// What making a log again gave.
struct Again {
    seconds: f64,
    anonymous_bytes: u64,
    steps: u64,
}

/// Opens and replays the log that [`run`] left in `dir`.
fn again(dir: &Path, workers: usize) -> Result<Again, Failure> {
    let watch = Watch::begin();
    let start = Instant::now();
    let reader = LogReader::open(Arc::new(RealDisk), &dir.join("bench.aos"))?;
    let options = Options {
        workers,
        skills: skills(),
        ..Options::default()
    };
    let report = replay(&reader, &options)?;
    let seconds = start.elapsed().as_secs_f64();
    if report.verdict != Verdict::Match {
        return Err(format!("replay found {:?}", report.findings.first()).into());
    }
    Ok(Again {
        seconds,
        anonymous_bytes: watch.end(),
        steps: report.steps,
    })
}

/// Measures a workload `rounds` times at each setting, and the replay of what it left. `keep` is a directory in which the log of
/// one more round stays.
///
/// # Errors
/// What the engine, the replay or the directory said; digests that differ between rounds.
pub fn measure(
    dir: &Path,
    workload: &Workload,
    settings: &[Setting],
    rounds: usize,
    keep: Option<&Path>,
) -> Result<Value, Failure> {
    let machine = machine_at(dir);
    let mut figures = Vec::new();
    let mut digest = None;
    for setting in settings {
        let (mut rates, mut replays, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
        let (mut replay_ms, mut anonymous) = (Vec::new(), 0);
        let mut last = None;
        for _ in 0..rounds {
            let place = tempfile::tempdir_in(dir)?;
            let round = run(place.path(), workload, *setting)?;
            if *digest.get_or_insert(round.digest) != round.digest {
                return Err("digests differ between rounds".into());
            }
            rates.push(round.steps as f64 / round.seconds);
            latencies.extend_from_slice(&round.latencies);
            let again = again(place.path(), setting.workers)?;
            replays.push(again.steps as f64 / again.seconds);
            replay_ms.push(again.seconds * 1e3);
            anonymous = anonymous.max(again.anonymous_bytes);
            last = Some(round);
        }
        let Some(last) = last else { continue };
        figures.push(json!({
            "workers": setting.workers,
            "in_flight": setting.in_flight,
            "steps_per_s": spread(rates),
            "run_durable_us": percentiles(&mut latencies),
            "replay_steps_per_s": spread(replays),
            "replay_ms": spread(replay_ms),
            "replay_anonymous_bytes": anonymous,
            "steps": last.steps,
            "events": last.events,
            "syncs": last.syncs,
            "steps_a_sync": rounded(last.steps as f64 / last.syncs.max(1) as f64),
            "log_bytes": last.bytes,
            "log_bytes_a_step": (last.bytes as f64 / last.steps.max(1) as f64).round(),
        }));
    }
    if let (Some(keep), Some(setting)) = (keep, settings.last()) {
        std::fs::create_dir_all(keep)?;
        run(keep, workload, *setting)?;
    }
    Ok(json!({
        "schema": "aos.bench.engine.v1",
        "machine": machine,
        "workload": {"name": workload.name, "runs": workload.len(), "input_bytes": workload.input_bytes()},
        "rounds": rounds,
        "digest": digest.map(|digest| digest.hex()),
        "figures": figures,
    }))
}

/// One run of sequential effects, beside the latency of one write and sync of the hand-written log, in turn.
///
/// # Errors
/// As [`measure`].
pub fn effects(dir: &Path, steps: usize, rounds: usize) -> Result<Value, Failure> {
    let machine = machine_at(dir);
    let workload = Workload::effects(1, steps)?;
    let setting = Setting {
        workers: 1,
        in_flight: 1,
    };
    let (mut rates, mut ratios, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    let mut latencies = Vec::new();
    for _ in 0..rounds {
        let place = tempfile::tempdir_in(dir)?;
        let mut reference = Reference::open(place.path())?;
        let mut own = Vec::with_capacity(steps);
        for _ in 0..steps {
            let start = Instant::now();
            reference.append(&[0x5a; EVENT_LEN], 1)?;
            own.push(start.elapsed());
        }
        let total: Duration = own.iter().sum();
        let sync_rate = steps as f64 / total.as_secs_f64();
        latencies.extend(own);
        let place = tempfile::tempdir_in(dir)?;
        let round = run(place.path(), &workload, setting)?;
        let rate = round.steps as f64 / round.seconds;
        let a_step = round.syncs as f64 / round.steps as f64;
        rates.push(rate);
        syncs.push(a_step);
        // What the disk would allow, were there nothing but those syncs.
        ratios.push(rate * a_step / sync_rate);
    }
    Ok(json!({
        "schema": "aos.bench.effects.v1",
        "machine": machine,
        "rounds": rounds,
        "steps": steps,
        "steps_per_s": spread(rates),
        "syncs_a_step": spread(syncs),
        "sync_us": percentiles(&mut latencies),
        "ratio_to_syncs_alone": spread(ratios),
    }))
}
