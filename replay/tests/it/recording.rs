//! Runs whose steps are recorded as digests: the same history, and every value can be had again.

use crate::forge::{LOG, reader};
use crate::replay::{LANES, log_options, replayed};
use aos_disk::sim::{Policy, SimDisk};
use aos_engine::chain::Recording;
use aos_engine::clock::Clock;
use aos_engine::engine::{Begun, Engine, OnConflict, Request};
use aos_engine::seed::RootSeed;
use aos_engine::skill::Skills;
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_format::digest::{Digest, RunId};
use aos_format::record::StreamId;
use aos_replay::{Verdict, Whole};
use aos_store::{Log, Source};
use std::path::Path;
use std::sync::Arc;

fn clock() -> Clock {
    Clock {
        fixed_ns: Some(0),
        is_virtual: true,
    }
}

/// Drives the run to its end on that disk, or until the disk fails.
fn drive(disk: &Arc<SimDisk>, recording: Recording) -> Option<(RunId, Digest)> {
    let (log, _) = Log::open(disk.clone(), Path::new(LOG), &log_options()).ok()?;
    let log = Arc::new(log);
    let engine = Engine::new(log.clone(), Arc::new(Skills::builtin()), clock()).ok()?;
    let engine = engine.checkpoint_every(2).recording(recording);
    let request = Request {
        definition: Arc::new(Definition::load(LANES.as_bytes()).unwrap()),
        key: Some("k".into()),
        input: Value::null(),
        root: RootSeed::from_number(7),
        on_conflict: OnConflict::Refuse,
        budget: None,
    };
    let run = match engine.start(&request).ok()? {
        Begun::Run(mut run) => {
            engine.drive(&mut run).ok()?;
            run.id()
        }
        Begun::Ended(past) => past.row.run,
        Begun::InProgress(_) => unreachable!("nobody else drives it"),
    };
    log.flush().ok()?;
    let digest = log.run(run).ok()??.digest;
    drop(engine);
    Arc::try_unwrap(log).ok()?.close().ok()?;
    Some((run, digest))
}

/// Every value of a run, by record and slot; `None` where it cannot be had.
fn values(source: &dyn Source, run: RunId) -> Vec<(u64, u8, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    for record in source.stream(StreamId::run(run), 1).unwrap() {
        let slots: Vec<u8> = record.view().unwrap().values().map(|v| v.slot).collect();
        // The states of checkpoints say what is stored where.
        if record.kind().is_some_and(|kind| kind.advances()) {
            let value = |slot| (record.seq(), slot, source.value(&record, slot).ok());
            all.extend(slots.into_iter().map(value));
        }
    }
    all
}

#[test]
fn a_history_recorded_as_digests_is_the_same_and_its_values_are_made_again() {
    let (full, short) = (Arc::new(SimDisk::new()), Arc::new(SimDisk::new()));
    let (run, digest) = drive(&full, Recording::Values).unwrap();
    assert_eq!(drive(&short, Recording::Digests), Some((run, digest)));
    assert_eq!(replayed(&short).verdict, Verdict::Match);
    let (full, short) = (reader(&full), reader(&short));
    let stored = values(&full, run);
    assert!(stored.iter().all(|(_, _, bytes)| bytes.is_some()));
    let missing = values(&short, run)
        .iter()
        .filter(|value| value.2.is_none())
        .count();
    assert!(missing > 0, "something is left out");
    let whole = Whole::new(&short, Arc::new(Skills::builtin()));
    assert_eq!(values(&whole, run), stored);
    assert_eq!(whole.count(), missing as u64);
}

#[test]
fn a_run_cut_anywhere_goes_on_at_either_level_to_the_same_history() {
    let whole = Arc::new(SimDisk::new());
    let expected = drive(&whole, Recording::Digests);
    let levels = [Recording::Digests, Recording::Values];
    for cut in 1..=whole.ops() {
        for (first, then) in [
            (levels[0], levels[1]),
            (levels[1], levels[0]),
            (levels[0], levels[0]),
        ] {
            let disk = Arc::new(SimDisk::new());
            disk.crash_at(cut);
            // Whatever fails here fails because of the crash.
            let _ = drive(&disk, first);
            let after = Arc::new(disk.crash_image(Policy::All));
            assert_eq!(
                drive(&after, then),
                expected,
                "cut at {cut}, {first:?} then {then:?}"
            );
            let report = replayed(&after);
            assert_eq!(
                report.verdict,
                Verdict::Match,
                "cut at {cut}: {}",
                report.json(0.0)
            );
        }
    }
}
