//! Kills and power cuts at every operation; the run that goes on must be the run that would have been.

use crate::support::*;
use aos_disk::sim::{Policy, SimDisk};
use aos_engine::engine::Begun;

#[test]
fn a_run_cut_at_any_operation_resumes_to_the_same_digest() {
    let definition = definition(LOOP);
    let whole = SimDisk::with_seed(1);
    let expected = finish(
        &engine(&whole).checkpoint_every(3),
        &request(&definition, "k", "{}", 7),
    );
    let operations = whole.ops();
    assert!(operations > 20, "the workload writes: {operations}");
    for cut in 1..=operations {
        for policy in [Policy::None, Policy::All, Policy::Subset(cut)] {
            let disk = SimDisk::with_seed(1);
            disk.crash_at(cut);
            // Whatever fails here fails because of the crash.
            let _ = run_until_crash(&disk, &definition);
            let after = disk.crash_image(policy);
            let engine = engine(&after).checkpoint_every(5);
            let found = finish(&engine, &request(&definition, "k", "{}", 7));
            assert_eq!(found, expected, "cut at operation {cut}, {policy:?}");
        }
    }
}

fn run_until_crash(
    disk: &SimDisk,
    definition: &std::sync::Arc<aos_engine::workflow::Definition>,
) -> Option<()> {
    let options = options();
    let (log, _) = aos_store::Log::open(
        std::sync::Arc::new(disk.clone()),
        std::path::Path::new(LOG),
        &options,
    )
    .ok()?;
    let skills = std::sync::Arc::new(aos_engine::skill::Skills::builtin());
    let clock = aos_engine::clock::Clock {
        fixed_ns: Some(1_700_000_000_000_000_000),
        is_virtual: true,
    };
    let engine = aos_engine::engine::Engine::new(std::sync::Arc::new(log), skills, clock)
        .ok()?
        .checkpoint_every(3);
    match engine.start(&request(definition, "k", "{}", 7)).ok()? {
        Begun::Run(mut run) => engine.drive(&mut run).ok().map(|_| ()),
        _ => None,
    }
}

#[test]
fn the_same_key_with_another_input_seed_or_workflow_is_a_conflict_that_names_it() {
    let disk = SimDisk::with_seed(2);
    let engine = engine(&disk);
    let first = definition(LOOP);
    let other = definition("\n  - x: { set: { a: 1 } }");
    let past = finish(&engine, &request(&first, "k", "{}", 7));
    assert_eq!(
        finish(&engine, &request(&first, "k", "{}", 7)),
        past,
        "the same request finds the record"
    );
    for (request, differs) in [
        (request(&first, "k", "{\"x\":1}", 7), "input"),
        (request(&first, "k", "{}", 8), "seed"),
        (request(&other, "k", "{}", 7), "workflow"),
        (request(&other, "k", "[]", 8), "workflow and seed and input"),
    ] {
        let error = engine.start(&request).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), "AOS-E002");
        assert!(
            error.to_string().contains(&format!("another {differs}")),
            "{error}"
        );
    }
}

#[test]
fn a_second_generation_of_a_key_is_another_run() {
    let disk = SimDisk::with_seed(3);
    let engine = engine(&disk);
    let definition = definition(LOOP);
    let first = finish(&engine, &request(&definition, "k", "{}", 7));
    let mut again = request(&definition, "k", "{\"x\":1}", 7);
    again.on_conflict = aos_engine::engine::OnConflict::NewGeneration;
    let second = finish(&engine, &again);
    assert_ne!(first.0, second.0);
    assert_eq!(finish(&engine, &again), second, "and asking again finds it");
}

#[test]
fn checkpoints_come_as_often_as_asked_for_and_change_no_digest() {
    let definition = definition(LOOP);
    let mut digests = Vec::new();
    for (every, expected) in [(0, 0), (1, 10), (3, 3), (1000, 0)] {
        let disk = SimDisk::with_seed(4);
        let engine = engine(&disk).checkpoint_every(every);
        let (run, digest, _) = finish(&engine, &request(&definition, "k", "{}", 7));
        digests.push(digest);
        let taken = engine.log().checkpoints(run).unwrap().len();
        assert_eq!(taken, expected, "every {every} of 10 steps");
    }
    digests.dedup();
    assert_eq!(digests.len(), 1);
}

#[test]
fn checkpoints_of_a_large_state_take_no_more_room_than_the_history() {
    let of_list = |item: &str| {
        let list = format!("[range(4000) | {item}]");
        definition(&format!(
            "\n  - walk: {{ for: {{ in: '{list}' }}, do: [{{ s: {{ set: {{ n: 1 }} }} }}] }}"
        ))
    };
    for (item, expected) in [(".", 4), ("tostring + \"x\" * 500", 1)] {
        let disk = SimDisk::with_seed(5);
        let roomy = aos_store::Options {
            stride: aos_format::offset::Stride::from_log2(24).unwrap(),
            ..options()
        };
        // The log keeps its stride.
        aos_store::Log::open(
            std::sync::Arc::new(disk.clone()),
            std::path::Path::new(LOG),
            &roomy,
        )
        .unwrap();
        let engine = engine(&disk);
        let (run, _, _) = finish(&engine, &request(&of_list(item), "k", "{}", 7));
        let taken = engine.log().checkpoints(run).unwrap().len();
        assert_eq!(taken, expected, "of 4,000 steps over {item}");
    }
}
