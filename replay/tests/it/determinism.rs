//! The same runs again and again: what is a function of its seed stays the same, a planted impure skill is found each time.

use aos_engine::fault::Fault;
use aos_engine::seed::Stream;
use aos_engine::skill::{AtHand, Effect, Policy, Pure, Skill, Skills};
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_replay::Verdict;
use aos_replay::determinism::{Sort, Subject, Trial, Tried, skills, validate};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Answers with another number each time it is asked.
#[derive(Default)]
struct Counter(AtomicU64);

impl Counter {
    fn next(&self) -> Result<Value, Fault> {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Value::from_json(number.to_string().as_bytes())?)
    }
}

impl Pure for Counter {
    fn run(&self, _: &Value, _: &mut Stream) -> Result<Value, Fault> {
        self.next()
    }
}

impl Effect for Counter {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }
    fn policy(&self, _: &Value) -> Policy {
        Policy::Retry
    }
    fn perform(&self, _: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
        self.next()
    }
}

fn subject(name: &str, tasks: &str) -> Subject {
    let text = format!(
        "document: {{dsl: '1.0.3', namespace: test, name: {name}, version: '1.0.0'}}\ndo:\n{tasks}"
    );
    Subject {
        name: name.into(),
        definition: Arc::new(Definition::load(text.as_bytes()).unwrap()),
        input: Value::from_json(b"{}").unwrap(),
    }
}

fn draws() -> Subject {
    subject(
        "draws",
        "  - first: { call: compute, with: { op: draw, min: 1, max: 1000000 } }
  - pause: { wait: { seconds: 3600 } }
  - second: { set: { drawn: '${ . }', at: '${ now }' } }",
    )
}

fn tried(skills: Skills, subjects: &[Subject], workers: usize, stress: usize) -> Tried {
    validate(&Trial {
        workers,
        iterations: 6,
        seeds: 2,
        stress,
        skills: Arc::new(skills),
        subjects,
    })
    .unwrap()
}

#[test]
fn runs_are_the_same_on_every_worker_under_stress_and_when_replayed() {
    let tried = tried(Skills::builtin(), &[draws()], 3, 2);
    assert_eq!((tried.executions, tried.replays), (3 * 6 * 2, 18));
    assert_eq!((tried.differing, tried.replayed), (0, Verdict::Match));
    assert!(tried.is_deterministic());
    let events: u64 = tried.rows.iter().map(|row| row.events).sum();
    assert_eq!(tried.compared, events * 3 * 6);
    assert_ne!(
        tried.rows[0].digest, tried.rows[1].digest,
        "another seed, another history"
    );
}

#[test]
fn the_digest_does_not_depend_on_the_workers() {
    let one = tried(Skills::builtin(), &[draws()], 1, 0);
    assert_eq!(
        one.digest(),
        tried(Skills::builtin(), &[draws()], 3, 0).digest()
    );
}

#[test]
fn an_effect_is_performed_once_a_run_and_answers_from_the_record_ever_after() {
    let counter = Arc::new(Counter::default());
    let mut skills = Skills::builtin();
    skills.add("outside", "1", Skill::Effect(counter.clone()));
    let asks = subject(
        "asks",
        "  - ask: { call: outside }\n  - keep: { set: { was: '${ . }' } }",
    );
    let tried = tried(skills, &[asks], 3, 0);
    assert_eq!(counter.0.load(Ordering::SeqCst), 2, "once for each seed");
    assert!(tried.is_deterministic(), "{:?}", tried.differences);
}

#[test]
fn a_planted_impure_skill_is_found_in_every_execution_and_named() {
    for _ in 0..5 {
        let mut skills = Skills::builtin();
        skills.add("impure", "1", Skill::Pure(Arc::new(Counter::default())));
        let planted = subject(
            "planted",
            "  - sound: { set: { a: 1 } }\n  - bad: { call: impure }\n  - after: { set: { b: 2 } }",
        );
        let tried = tried(skills, &[draws(), planted], 2, 0);
        assert!(!tried.is_deterministic());
        assert_eq!(tried.replayed, Verdict::Mismatch);
        // Every execution of the planted subject, and none of the other.
        assert_eq!(tried.differing, 2 * 6 * 2);
        assert_eq!(tried.differences.len(), 24);
        for difference in &tried.differences {
            assert_eq!(
                (difference.subject.as_str(), difference.event),
                ("planted", 3),
                "{difference:?}"
            );
            assert_eq!(difference.activation.as_deref(), Some("/do/1/bad"));
            assert!(difference.found.is_some() && difference.found != difference.expected);
        }
    }
}

#[test]
fn a_subject_that_waits_for_somebody_is_refused() {
    let waits = subject(
        "waits",
        "  - hear: { listen: { to: { one: { with: { type: never } } } } }",
    );
    let error = validate(&Trial {
        workers: 1,
        iterations: 1,
        seeds: 1,
        stress: 0,
        skills: Arc::new(Skills::builtin()),
        subjects: &[waits],
    })
    .unwrap_err();
    assert_eq!(error.code(), "AOS-X001", "{error}");
}

#[test]
fn every_sort_is_the_same_each_time_but_the_planted_one() {
    let sound = Sort::SOUND.map(|sort| sort.subject().unwrap());
    let all = tried(skills(), &sound, 2, 0);
    assert_eq!(all.executions, 2 * 6 * 2 * 3);
    assert!(all.is_deterministic(), "{:?}", all.differences);
    let other = tried(skills(), &sound, 2, 0);
    let digest = |tried: &Tried, name: &str| {
        let row = tried.rows.iter().find(|row| row.subject == name).unwrap();
        row.digest
    };
    assert_eq!(digest(&all, "compute"), digest(&other, "compute"));
    let planted = tried(skills(), &[Sort::Planted.subject().unwrap()], 2, 0);
    assert_eq!(planted.differing, planted.executions);
    let found = planted.differences[0].activation.as_deref();
    assert_eq!(found, Some("/do/1/impure"));
}
