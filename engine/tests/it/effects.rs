//! Effects: once if answered, again or held if a crash left their outcome unknown.

use crate::support::*;
use aos_disk::sim::SimDisk;
use aos_engine::engine::{Begun, Engine};
use aos_engine::fault::Fault;
use aos_engine::machine::Verdict;
use aos_engine::run::Turn;
use aos_engine::skill::{AtHand, Effect, Policy, Skill, Skills};
use aos_engine::value::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An outside that counts, and can take the disk down after it has acted.
struct Outside {
    policy: Policy,
    calls: AtomicU64,
    crash: Option<SimDisk>,
}

impl Effect for Outside {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }
    fn policy(&self, _: &Value) -> Policy {
        self.policy
    }
    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        assert!(hand.wire_key.contains('@'));
        self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(disk) = &self.crash {
            disk.crash_at(disk.ops() + 1);
        }
        Ok(request.clone())
    }
}

fn outside(policy: Policy, crash: Option<SimDisk>) -> (Arc<Outside>, Skills) {
    let outside = Arc::new(Outside {
        policy,
        calls: AtomicU64::new(0),
        crash,
    });
    let mut skills = Skills::builtin();
    skills.add("outside", "1", Skill::Effect(outside.clone()));
    (outside, skills)
}

const CALLS: &str = "
  - first: { call: outside, with: { n: 1 } }
  - second: { set: '${ {got: .n} }' }
";

/// Crashes right after the effect has happened: its INTENT is durable, its RESULT is not.
fn crashed_between(policy: Policy) -> SimDisk {
    let disk = SimDisk::with_seed(8);
    let (outside, skills) = outside(policy, Some(disk.clone()));
    let engine = engine_with(&disk, skills);
    let Begun::Run(mut run) = engine
        .start(&request(&definition(CALLS), "k", "{}", 7))
        .unwrap()
    else {
        panic!()
    };
    assert!(engine.drive(&mut run).is_err(), "the disk is gone");
    assert_eq!(outside.calls.load(Ordering::SeqCst), 1);
    disk.crash_image(aos_disk::sim::Policy::None)
}

fn resume(engine: &Engine) -> (aos_format::digest::RunId, Turn) {
    match engine
        .start(&request(&definition(CALLS), "k", "{}", 7))
        .unwrap()
    {
        Begun::Run(mut run) => (run.id(), engine.drive(&mut run).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_effect_that_may_be_repeated_is() {
    let disk = crashed_between(Policy::Retry);
    let (outside, skills) = outside(Policy::Retry, None);
    let engine = engine_with(&disk, skills);
    assert!(matches!(resume(&engine).1, Turn::Ended(_)));
    assert_eq!(outside.calls.load(Ordering::SeqCst), 1);
}

#[test]
fn an_effect_that_may_not_be_repeated_is_held_until_resolved() {
    let disk = crashed_between(Policy::Hold);
    let (outside, skills) = outside(Policy::Hold, None);
    let engine = engine_with(&disk, skills);
    let (run, turn) = resume(&engine);
    assert!(matches!(turn, Turn::Held(_)), "{turn:?}");
    assert!(
        matches!(resume(&engine).1, Turn::Held(_)),
        "resuming does not help"
    );
    assert!(
        engine
            .resolve(run, "second", Verdict::Failed, "ada")
            .is_err(),
        "another step"
    );
    let answer = Value::from_json(br#"{"n": 5}"#).unwrap();
    engine
        .resolve(run, "first", Verdict::Result(answer), "ada")
        .unwrap();
    let (_, turn) = resume(&engine);
    let Turn::Ended(ended) = turn else {
        panic!("{turn:?}")
    };
    assert!(format!("{ended:?}").contains(r#"{"got":5}"#), "{ended:?}");
    assert_eq!(
        outside.calls.load(Ordering::SeqCst),
        0,
        "it was never called again"
    );
}

#[test]
fn a_decision_to_repeat_lets_the_effect_happen_once() {
    let disk = crashed_between(Policy::Hold);
    let (outside, skills) = outside(Policy::Hold, None);
    let engine = engine_with(&disk, skills);
    let (run, _) = resume(&engine);
    engine
        .resolve(run, "/do/0/first", Verdict::Retry, "ada")
        .unwrap();
    assert!(matches!(resume(&engine).1, Turn::Ended(_)));
    assert_eq!(outside.calls.load(Ordering::SeqCst), 1);
}

#[test]
fn an_answered_effect_is_never_repeated() {
    let disk = SimDisk::with_seed(9);
    let (outside, skills) = outside(Policy::Retry, None);
    let digest = {
        let engine = engine_with(&disk, skills.clone());
        finish(&engine, &request(&definition(CALLS), "k", "{}", 7)).1
    };
    let engine = engine_with(&disk.process_crash_image(), skills);
    assert_eq!(
        finish(&engine, &request(&definition(CALLS), "k", "{}", 7)).1,
        digest
    );
    assert_eq!(outside.calls.load(Ordering::SeqCst), 1);
}

/// An outside that asks for a stop as soon as it is called.
struct Stops(Arc<std::sync::atomic::AtomicBool>, AtomicU64);

impl Effect for Stops {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }
    fn policy(&self, _: &Value) -> Policy {
        Policy::Hold
    }
    fn perform(&self, request: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
        self.0.store(true, Ordering::SeqCst);
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(request.clone())
    }
}

#[test]
fn a_stop_leaves_no_effect_in_doubt() {
    use aos_engine::pool::{Job, Outcome, PoolOptions, run_all};
    let disk = SimDisk::with_seed(20);
    let document = definition(
        "\n  - first: { call: outside, with: { n: 1 } }\n  - second: { call: outside, with: { n: 2 } }",
    );
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stops = Arc::new(Stops(stop.clone(), AtomicU64::new(0)));
    let mut skills = Skills::builtin();
    skills.add("outside", "1", Skill::Effect(stops.clone()));
    let jobs = || {
        let document = document.clone();
        (0..6u64).map(move |n| Job::Start {
            tag: n,
            request: Box::new(request(&document, &n.to_string(), "{}", 7)),
        })
    };
    let options = |stop| PoolOptions {
        workers: 2,
        in_flight: 6,
        effects: 1,
        stop,
    };
    {
        let engine = engine_with(&disk, skills.clone());
        run_all(&engine, jobs(), &options(stop), |done| {
            assert!(
                matches!(done.outcome, Outcome::Stopped),
                "{:?}",
                done.outcome
            );
        })
        .unwrap();
        engine.log().flush().unwrap();
    }
    assert_eq!(
        stops.1.load(Ordering::SeqCst),
        1,
        "one was under way when the stop came"
    );
    let engine = engine_with(&disk.process_crash_image(), skills);
    // Each effect asks for a stop, but nobody listens any more.
    let deaf = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut ended = 0;
    run_all(&engine, jobs(), &options(deaf), |done| {
        assert!(
            matches!(done.outcome, Outcome::Ended(_)),
            "{:?}",
            done.outcome
        );
        ended += 1;
    })
    .unwrap();
    assert_eq!(ended, 6);
    assert_eq!(
        stops.1.load(Ordering::SeqCst),
        12,
        "every effect happened once"
    );
}

#[test]
fn an_effect_that_panics_fails_its_own_run() {
    use aos_engine::pool::{Job, Outcome, PoolOptions, run_all};
    struct Panics;
    impl Effect for Panics {
        fn request(&self, arguments: &Value) -> Result<Value, Fault> {
            Ok(arguments.clone())
        }
        fn policy(&self, _: &Value) -> Policy {
            Policy::Retry
        }
        fn perform(&self, _: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
            panic!("planted")
        }
    }
    let disk = SimDisk::with_seed(21);
    let mut skills = Skills::builtin();
    skills.add("outside", "1", Skill::Effect(Arc::new(Panics)));
    let engine = engine_with(&disk, skills);
    let document = definition(CALLS);
    let jobs = (0..3u64).map(|n| Job::Start {
        tag: n,
        request: Box::new(request(&document, &n.to_string(), "{}", 7)),
    });
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut bugs = 0;
    run_all(
        &engine,
        jobs,
        &PoolOptions {
            workers: 1,
            in_flight: 3,
            effects: 1,
            stop,
        },
        |done| {
            assert!(matches!(&done.outcome, Outcome::Failed(error) if error.code() == "AOS-E009"));
            bugs += 1;
        },
    )
    .unwrap();
    assert_eq!(bugs, 3);
}

#[test]
fn a_fault_on_record_is_bounded_however_long_its_detail() {
    let disk = SimDisk::with_seed(22);
    let engine = engine(&disk);
    let document = definition(
        "\n  - r: { raise: { error: { type: 'https://example.com/e', status: 500, detail: '${ \"x\" * 300000 }' } } }",
    );
    let (_, _, ended) = finish(&engine, &request(&document, "k", "{}", 7));
    let text = format!("{ended:?}");
    assert!(
        text.contains("xxx…") && text.len() < 2_000,
        "{} bytes",
        text.len()
    );
}
