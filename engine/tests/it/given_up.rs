//! Effects and runs that nobody waits for any more: they end, and hold nobody up.

use crate::support::*;
use aos_disk::sim::{Policy as Cut, SimDisk};
use aos_engine::clock::Clock;
use aos_engine::engine::{Begun, Engine, Signalled};
use aos_engine::fault::Fault;
use aos_engine::machine::{Answer, Control, Ended};
use aos_engine::pool::{Job, Outcome, PoolOptions, run_all};
use aos_engine::resource::Resources;
use aos_engine::skill::{AtHand, Effect, Policy, Skill, Skills};
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_format::digest::RunId;
use aos_store::RunStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// An outside that answers when nobody waits any more, and counts how often that was.
#[derive(Default)]
struct Slow(AtomicU64);

impl Effect for Slow {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }
    fn policy(&self, _: &Value) -> Policy {
        Policy::Hold
    }
    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        // Long enough that a test which waits for the answer fails by what it asserts and not by hanging.
        for _ in 0..100 {
            if hand.given_up.is_set() {
                self.0.fetch_add(1, Ordering::SeqCst);
                break;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(request.clone())
    }
}

fn skills() -> (Arc<Slow>, Skills) {
    let slow = Arc::new(Slow::default());
    let mut skills = Skills::builtin();
    skills.add("slow", "1", Skill::Effect(slow.clone()));
    (slow, skills)
}

fn real(disk: &SimDisk, skills: Skills) -> Engine {
    Engine::new(open(disk), Arc::new(skills), Clock::default()).unwrap()
}

fn document(name: &str, tasks: &str) -> Arc<Definition> {
    let text = format!(
        "document: {{dsl: '1.0.3', namespace: test, name: {name}, version: '1.0.0'}}\ndo:\n{tasks}"
    );
    Arc::new(Definition::load(text.as_bytes()).unwrap())
}

const LATE: &str = "
  - late:
      try: [ { ask: { call: slow, with: { n: 1 }, timeout: { after: PT0.05S } } } ]
      catch: { do: [ { over: { set: { status: '${ $error.status }' } } } ] }
  - race:
      fork:
        compete: true
        branches:
          - ask: { call: slow, with: { n: 2 } }
          - win: { wait: PT0.05S }
";

#[test]
fn effects_of_a_step_that_timed_out_or_lost_are_given_up() {
    let disk = SimDisk::with_seed(3);
    let (slow, skills) = skills();
    let engine = real(&disk, skills);
    finish(&engine, &request(&definition(LATE), "driven", "{}", 7));
    assert_eq!(slow.0.load(Ordering::SeqCst), 2);
    let job = Job::Start {
        tag: 0,
        request: Box::new(request(&definition(LATE), "pooled", "{}", 7)),
    };
    let options = PoolOptions {
        workers: 1,
        in_flight: 1,
        effects: 1,
        stop: Arc::default(),
    };
    run_all(&engine, std::iter::once(job), &options, |done| {
        assert!(matches!(done.outcome, Outcome::Ended(_)), "{done:?}");
    })
    .unwrap();
    assert_eq!(slow.0.load(Ordering::SeqCst), 4);
}

#[test]
fn a_call_over_the_network_is_left_to_itself_when_nobody_waits() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (skills, disk) = (Skills::builtin(), SimDisk::with_seed(3));
    let shared = Resources::new(open(&disk));
    let url = format!(
        r#"{{"url":"http://{}/","timeout_ms":5000}}"#,
        listener.local_addr().unwrap()
    );
    let Some(Skill::Effect(http)) = skills.find("http_call") else {
        panic!("a built-in skill")
    };
    let asked = http
        .request(&Value::from_json(url.as_bytes()).unwrap())
        .unwrap();
    let hand = AtHand::alone("k@l").on(&shared);
    hand.given_up.set();
    let fault = skills.perform("http_call", &asked, &hand).unwrap_err();
    assert_eq!(fault.detail, "nobody waits for the answer");
}

fn run_of(engine: &Engine, key: &str) -> RunId {
    let rows = engine.log().rows().unwrap();
    let row = rows.runs.values().find(|row| row.key.starts_with(key));
    row.expect("a run with that key").run
}

fn status(engine: &Engine, run: RunId) -> RunStatus {
    engine.log().run(run).unwrap().unwrap().status
}

#[test]
fn a_workflow_that_lost_the_race_of_its_caller_is_cancelled() {
    let inner = document(
        "inner",
        "  - long: { wait: PT5S }\n  - pay: { call: kv_put, with: { key: paid, value: 1 } }\n",
    );
    let outer = document(
        "outer",
        "  - race:
      fork:
        compete: true
        branches:
          - call: { run: { workflow: { namespace: test, name: inner } } }
          - win: { wait: PT0.05S }\n",
    );
    let disk = SimDisk::with_seed(3);
    let engine = real(&disk, Skills::builtin()).with_workflows([inner]);
    let job = Job::Start {
        tag: 0,
        request: Box::new(request(&outer, "k", "{}", 7)),
    };
    let options = PoolOptions {
        workers: 1,
        in_flight: 1,
        effects: 1,
        stop: Arc::default(),
    };
    run_all(&engine, std::iter::once(job), &options, |done| {
        assert!(
            matches!(done.outcome, Outcome::Ended(Ended::Completed(_))),
            "{done:?}"
        );
    })
    .unwrap();
    let within = run_of(&engine, "within/");
    assert_eq!(status(&engine, within), RunStatus::Cancelled);
    assert_eq!(engine.resources().kv_get("default", "paid").unwrap(), None);
}

const HEARS: &str = "  - hear: { listen: { to: { one: { with: { type: a } } } } }\n";

/// A caller whose step runs a workflow that runs another one, which listens.
fn listening(disk: &SimDisk) -> (Engine, RunId) {
    let calls = |name: &str| {
        format!("  - call: {{ run: {{ workflow: {{ namespace: test, name: {name} }} }} }}\n")
    };
    let known = [
        document("middle", &calls("inner")),
        document("inner", HEARS),
    ];
    let engine = engine(disk).with_workflows(known);
    let outer = document("outer", &calls("middle"));
    let Begun::Run(mut run) = engine.start(&request(&outer, "k", "{}", 7)).unwrap() else {
        panic!("a new key")
    };
    engine.drive(&mut run).unwrap_err();
    let id = run.id();
    engine.release(id);
    for row in engine.log().open_runs().unwrap() {
        engine.release(row.run);
    }
    (engine, id)
}

/// Ends what is open as whoever resumes everything does: first the callers, then what nobody waits for.
fn resume_all(engine: &Engine) {
    let end = |run| {
        if let Begun::Run(mut run) = engine.resume(run).unwrap() {
            engine.drive(&mut run).unwrap();
        }
    };
    for row in engine.log().open_runs().unwrap() {
        if !aos_engine::subflow::is_within(&row.key) {
            end(row.run);
        }
    }
    engine.end_orphans().unwrap();
}

#[test]
fn cancelling_a_run_cancels_what_its_steps_run_whenever_the_process_dies() {
    let whole = SimDisk::with_seed(5);
    let (engine, outer) = listening(&whole);
    let before = whole.ops();
    let cancel = || Answer::Control(Control::Cancel, "ada".into());
    let taken = engine.signal(outer, cancel()).unwrap();
    assert!(matches!(taken, Signalled::Taken(_)), "{taken:?}");
    engine.log().flush().unwrap();
    let after = whole.ops();
    assert!(after > before);
    drop(engine);
    for cut in before..=after + 1 {
        let disk = SimDisk::with_seed(5);
        let (engine, outer) = listening(&disk);
        disk.crash_at(cut);
        // Whatever fails here fails because of the crash.
        if engine.signal(outer, cancel()).is_ok() {
            let _ = engine.log().flush();
        }
        drop(engine);
        let engine = crate::support::engine(&disk.crash_image(Cut::Subset(cut)));
        let heard = engine
            .log()
            .stream(aos_format::record::StreamId::run(outer), 1)
            .unwrap()
            .iter()
            .any(|record| record.kind() == Some(aos_format::frame::Kind::Signal));
        if !heard {
            assert!(cut <= after, "the signal was durable");
            continue;
        }
        resume_all(&engine);
        let rows = engine.log().rows().unwrap();
        assert_eq!(rows.runs.len(), 3, "cut at {cut}");
        for row in rows.runs.values() {
            assert_eq!(
                row.status,
                RunStatus::Cancelled,
                "cut at {cut}: {}",
                row.key
            );
        }
    }
}
