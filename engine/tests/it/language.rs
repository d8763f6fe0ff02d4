//! Lanes, retries and timeouts on a log: kills, other workers, many effects at a time.

use crate::support::*;
use aos_disk::sim::{Policy as Cut, SimDisk};
use aos_engine::engine::{Begun, Engine};
use aos_engine::fault::{Code, Fault};
use aos_engine::machine::{Answer, Control, Ended};
use aos_engine::pool::{Job, Outcome, PoolOptions, run_all};
use aos_engine::run::Turn;
use aos_engine::skill::{AtHand, Effect, Policy, Skill, Skills};
use aos_engine::value::Value;
use aos_format::digest::{Digest, RunId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// An outside whose answer follows from the request: `fail` fails.
struct Outside;

impl Effect for Outside {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }
    fn policy(&self, _: &Value) -> Policy {
        Policy::Retry
    }
    fn perform(&self, request: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
        if request.as_str().contains("fail") {
            return Err(Fault::new(Code::Http503, "as asked"));
        }
        Ok(request.clone())
    }
}

fn skills() -> Skills {
    let mut skills = Skills::builtin();
    skills.add("outside", "1", Skill::Effect(Arc::new(Outside)));
    skills
}

const WORKFLOWS: &[&str] = &[
    "
  - both:
      fork:
        branches:
          - left: { do: [ { ask: { call: outside, with: { n: 1 } } }, { a: { set: '${ . + {left: true} }', export: { as: '$context + {l: 1}' } } } ] }
          - right: { do: [ { nap: { wait: PT5S } }, { b: { set: { right: true }, export: { as: '$context + {r: 1}' } } } ] }
          - deep: { fork: { branches: [ { c: { call: outside, with: { n: 2 } } }, { d: { call: compute, with: { op: draw, min: 1, max: 100 } } } ] } }
  - after: { set: '${ {out: ., context: $context} }' }",
    "
  - t:
      try:
        - before: { set: { n: 1 } }
        - bad: { call: outside, with: { fail: true } }
      catch:
        errors: { with: { status: 503 } }
        retry: { delay: PT2S, backoff: { exponential: {} }, jitter: { from: PT0S, to: PT1S }, limit: { attempt: { count: 3 } } }
        do: [ { gaveUp: { set: '${ {status: $error.status} }' } } ]
  - after: { set: '${ {was: .} }' }",
    "
  - t:
      try: [ { slow: { timeout: { after: PT1S }, wait: PT9S } } ]
      catch: { do: [ { late: { set: { late: true } } } ] }
  - race:
      fork: { compete: true, branches: [ { slow: { wait: PT9S } }, { quick: { wait: PT1S } } ] }",
];

#[test]
fn a_run_with_lanes_cut_at_any_operation_resumes_to_the_same_digest() {
    for (number, tasks) in (0..).zip(WORKFLOWS) {
        let definition = definition(tasks);
        let request = request(&definition, "k", "{}", 7);
        let whole = SimDisk::with_seed(number);
        let expected = finish(&engine_with(&whole, skills()).checkpoint_every(2), &request);
        assert!(
            matches!(expected.2, Ended::Completed(_)),
            "{:?}",
            expected.2
        );
        for cut in 1..=whole.ops() {
            let disk = SimDisk::with_seed(number);
            disk.crash_at(cut);
            // Whatever fails here fails because of the crash.
            let _ = until_crash(&disk, &request);
            let after = disk.crash_image(Cut::Subset(cut));
            let engine = engine_with(&after, skills()).checkpoint_every(3);
            assert_eq!(
                finish(&engine, &request),
                expected,
                "workflow {number} cut at {cut}"
            );
        }
    }
}

fn until_crash(disk: &SimDisk, request: &aos_engine::engine::Request) -> Option<()> {
    let log = aos_store::Log::open(
        Arc::new(disk.clone()),
        std::path::Path::new(LOG),
        &options(),
    );
    let clock = aos_engine::clock::Clock {
        fixed_ns: Some(1_700_000_000_000_000_000),
        is_virtual: true,
    };
    let engine = Engine::new(Arc::new(log.ok()?.0), Arc::new(skills()), clock).ok()?;
    let engine = engine.checkpoint_every(2);
    match engine.start(request).ok()? {
        Begun::Run(mut run) => engine.drive(&mut run).ok().map(drop),
        _ => None,
    }
}

fn digests(workers: usize) -> BTreeMap<RunId, Digest> {
    let disk = SimDisk::with_seed(9);
    let engine = engine_with(&disk, skills());
    let definitions: Vec<_> = WORKFLOWS.iter().map(|tasks| definition(tasks)).collect();
    let jobs = (0..60u64).map(|n| Job::Start {
        tag: n,
        request: Box::new(request(
            &definitions[n as usize % definitions.len()],
            &n.to_string(),
            "{}",
            7,
        )),
    });
    let options = PoolOptions {
        workers,
        in_flight: 16,
        effects: 4,
        stop: Arc::new(AtomicBool::new(false)),
    };
    let mut heads = BTreeMap::new();
    run_all(&engine, jobs, &options, |done| {
        assert!(
            matches!(done.outcome, Outcome::Ended(_)),
            "{:?}",
            done.outcome
        );
        heads.insert(done.run.unwrap(), done.digest);
    })
    .unwrap();
    heads
}

#[test]
fn lanes_give_one_digest_at_any_number_of_workers() {
    let one = digests(1);
    assert_eq!(one.len(), 60);
    assert_eq!(one, digests(2));
}

#[test]
fn a_cancelled_run_stays_cancelled() {
    let disk = SimDisk::with_seed(10);
    let definition = definition("\n  - hear: { listen: { to: { any: [] } } }");
    let request = request(&definition, "k", "{}", 7);
    let engine = engine_with(&disk, skills());
    let Begun::Run(mut run) = engine.start(&request).unwrap() else {
        panic!("a new key")
    };
    let turn = engine.drive(&mut run).unwrap();
    assert!(
        matches!(turn, Turn::Waits(_)),
        "it waits for an event: {turn:?}"
    );
    let Begun::Run(mut run) = engine.resume(run.id()).unwrap() else {
        panic!("it is open")
    };
    run.answer(Answer::Control(Control::Cancel, "ada".into()));
    let turn = engine.drive(&mut run).unwrap();
    assert!(matches!(turn, Turn::Ended(Ended::Cancelled(_))), "{turn:?}");
    let Begun::Ended(past) = engine.start(&request).unwrap() else {
        panic!("it has ended")
    };
    assert!(matches!(past.ended, Ended::Cancelled(_)));
}

#[test]
fn a_listening_run_goes_on_after_a_restart() {
    let disk = SimDisk::with_seed(11);
    let definition = definition(
        "\n  - hear: { listen: { to: { all: [ { with: { type: a } }, { with: { type: b } } ] } } }",
    );
    let request = request(&definition, "k", "{}", 7);
    let send = |kind: &str| {
        let engine = engine_with(&disk, skills());
        let Begun::Run(mut run) = engine.start(&request).unwrap() else {
            panic!("it is open")
        };
        engine.drive(&mut run).unwrap();
        let Begun::Run(mut run) = engine.resume(run.id()).unwrap() else {
            panic!("it is open")
        };
        let event =
            format!(r#"{{"source": "s", "id": "{kind}", "type": "{kind}", "data": "{kind}"}}"#);
        let event = Value::from_json(event.as_bytes()).unwrap();
        run.answer(Answer::Event {
            event,
            actor: "ada".into(),
        });
        engine.drive(&mut run).unwrap()
    };
    assert!(matches!(send("b"), Turn::Waits(_)));
    let Turn::Ended(Ended::Completed(output)) = send("a") else {
        panic!("both have come")
    };
    assert_eq!(output.to_string(), r#"["b","a"]"#);
}
