//! Many runs at once.

use crate::support::*;
use aos_disk::sim::SimDisk;
use aos_engine::fault::Fault;
use aos_engine::pool::{Job, Outcome, PoolOptions, run_all};
use aos_engine::skill::{AtHand, Effect, Policy, Skill, Skills};
use aos_engine::value::Value;
use aos_format::digest::{Digest, RunId, log_digest};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn pool(workers: usize) -> PoolOptions {
    PoolOptions {
        workers,
        in_flight: 16,
        effects: 2,
        stop: Arc::new(AtomicBool::new(false)),
    }
}

fn run_keys(workers: usize, seed: u64) -> (Digest, u64) {
    let disk = SimDisk::with_seed(4);
    let engine = engine(&disk);
    let definition = definition(LOOP);
    let jobs = (0..200u64).map(|n| Job::Start {
        tag: n,
        request: Box::new(request(
            &definition,
            &n.to_string(),
            &format!("{{\"n\":{n}}}"),
            seed,
        )),
    });
    let mut heads: BTreeMap<RunId, Digest> = BTreeMap::new();
    let mut steps = 0;
    run_all(&engine, jobs, &pool(workers), |done| {
        assert!(
            matches!(done.outcome, Outcome::Ended(_)),
            "{:?}",
            done.outcome
        );
        steps += done.steps;
        heads.insert(done.run.unwrap(), done.digest);
    })
    .unwrap();
    assert_eq!(heads.len(), 200);
    (log_digest(&heads), steps)
}

#[test]
fn the_digest_is_the_same_with_any_number_of_workers() {
    let one = run_keys(1, 7);
    assert_eq!(one, run_keys(2, 7));
    assert_eq!(one, run_keys(5, 7));
    assert_ne!(one.0, run_keys(2, 8).0, "another seed, another digest");
}

#[test]
fn a_stopped_pool_leaves_runs_that_the_same_command_finishes() {
    let disk = SimDisk::with_seed(5);
    let definition = definition(LOOP);
    let jobs = || {
        let definition = definition.clone();
        (0..50u64).map(move |n| Job::Start {
            tag: n,
            request: Box::new(request(&definition, &n.to_string(), "{}", 7)),
        })
    };
    let mut ended = 0;
    {
        let engine = engine(&disk);
        let options = pool(2);
        run_all(&engine, jobs(), &options, |done| {
            if matches!(done.outcome, Outcome::Ended(_)) {
                ended += 1;
            }
            if ended == 5 {
                options
                    .stop
                    .store(true, std::sync::atomic::Ordering::Release);
            }
        })
        .unwrap();
        engine.log().flush().unwrap();
    }
    assert!((5..50).contains(&ended), "stopped in the middle: {ended}");
    let engine = engine(&disk.process_crash_image());
    let mut heads = BTreeMap::new();
    run_all(&engine, jobs(), &pool(2), |done| {
        heads.insert(done.run.unwrap(), done.digest);
    })
    .unwrap();
    let fresh = SimDisk::with_seed(6);
    let undisturbed = self::engine(&fresh);
    let mut expected = BTreeMap::new();
    run_all(&undisturbed, jobs(), &pool(1), |done| {
        expected.insert(done.run.unwrap(), done.digest);
    })
    .unwrap();
    assert_eq!(heads, expected);
}

#[test]
fn the_same_key_twice_in_one_go_is_one_run() {
    let disk = SimDisk::with_seed(7);
    let engine = engine(&disk);
    let definition = definition(LOOP);
    let jobs = (0..20u64).map(|n| Job::Start {
        tag: n,
        request: Box::new(request(&definition, "same", "{}", 7)),
    });
    let (mut ended, mut duplicates) = (0, 0);
    run_all(&engine, jobs, &pool(3), |done| match done.outcome {
        Outcome::Ended(_) => ended += 1,
        Outcome::Duplicate => duplicates += 1,
        other => panic!("{other:?}"),
    })
    .unwrap();
    assert_eq!(ended + duplicates, 20);
    assert!(ended >= 1);
    assert_eq!(engine.log().runs(None, 10).unwrap().len(), 1);
}

/// A skill that must never be written: it panics.
struct Panics;

impl aos_engine::skill::Pure for Panics {
    fn run(
        &self,
        _: &aos_engine::value::Value,
        _: &mut aos_engine::seed::Stream,
    ) -> Result<aos_engine::value::Value, aos_engine::fault::Fault> {
        panic!("planted")
    }
}

#[test]
fn a_skill_that_panics_fails_its_own_run_and_no_other() {
    let disk = SimDisk::with_seed(8);
    let mut skills = aos_engine::skill::Skills::builtin();
    skills.add(
        "panics",
        "1",
        aos_engine::skill::Skill::Pure(Arc::new(Panics)),
    );
    let engine = engine_with(&disk, skills);
    let (good, bad) = (definition(LOOP), definition("\n  - x: { call: panics }"));
    let jobs = (0..20u64).map(|n| Job::Start {
        tag: n,
        request: Box::new(request(
            if n % 5 == 0 { &bad } else { &good },
            &n.to_string(),
            "{}",
            7,
        )),
    });
    let (mut ended, mut bugs) = (0, 0);
    run_all(&engine, jobs, &pool(2), |done| match done.outcome {
        Outcome::Ended(_) => ended += 1,
        Outcome::Failed(error) if error.code() == "AOS-E009" => bugs += 1,
        other => panic!("{other:?}"),
    })
    .unwrap();
    assert_eq!((ended, bugs), (16, 4));
}

/// Answers at once.
struct Quick;

impl Effect for Quick {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }

    fn policy(&self, _request: &Value) -> Policy {
        Policy::Retry
    }

    fn perform(&self, request: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
        Ok(request.clone())
    }
}

#[test]
fn a_run_whose_last_effect_answers_while_it_takes_another_answer_goes_on() {
    let branches: String = (0..6)
        .map(|n| format!("{{b{n}: {{call: quick}}}}, "))
        .collect();
    let definition = definition(&format!("\n  - all: {{fork: {{branches: [{branches}]}}}}"));
    let disk = SimDisk::with_seed(6);
    let mut skills = Skills::builtin();
    skills.add("quick", "1", Skill::Effect(Arc::new(Quick)));
    let engine = engine_with(&disk, skills);
    let jobs = (0..300u64).map(|n| Job::Start {
        tag: n,
        request: Box::new(request(&definition, &n.to_string(), "{}", 7)),
    });
    let options = PoolOptions {
        effects: 8,
        ..pool(2)
    };
    let mut ended = 0;
    run_all(&engine, jobs, &options, |done| {
        assert!(
            matches!(done.outcome, Outcome::Ended(_)),
            "{:?}",
            done.outcome
        );
        ended += 1;
    })
    .unwrap();
    assert_eq!(ended, 300);
}
