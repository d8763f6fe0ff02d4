//! `run`: commands and other workflows on a log, kills included.

use crate::support::*;
use aos_disk::sim::{Policy as Cut, SimDisk};
use aos_engine::Error;
use aos_engine::engine::{Begun, Engine, OnConflict, Request};
use aos_engine::history::read_event;
use aos_engine::machine::{Answer, Ended};
use aos_engine::pool::{Job, PoolOptions, TAKEN_ON, run_all};
use aos_engine::seed::RootSeed;
use aos_engine::skill::Skills;
use aos_engine::value::{Value, as_text, member};
use aos_engine::workflow::Definition;
use aos_format::event::Event;
use aos_format::record::StreamId;
use std::sync::Arc;

fn output(ended: Ended) -> String {
    match ended {
        Ended::Completed(value) => value.to_string(),
        other => panic!("{other:?}"),
    }
}

fn run(tasks: &str) -> Ended {
    let disk = SimDisk::with_seed(1);
    finish(
        &engine(&disk),
        &request(&definition(tasks), "k", r#"{"who":"me"}"#, 7),
    )
    .2
}

/// A command that uses all that it is given; `code` is its exit code.
fn shell(code: u64, returns: &str) -> String {
    format!(
        "
  - a:
      run:
        shell:
          command: 'cat; echo \"-$1 $E\"; echo oh >&2; exit $CODE'
          stdin: '${{ .who }}'
          arguments: [x y]
          environment: {{ E: '${{ .who }}', CODE: '{code}' }}
        {returns}
"
    )
}

#[test]
fn a_command_gets_its_streams_and_gives_what_is_asked_for() {
    for (code, returns, expected) in [
        (0, "", r#""me-x y me\n""#),
        (0, "return: stdout", r#""me-x y me\n""#),
        (0, "return: stderr", r#""oh\n""#),
        (3, "return: code", "3"),
        (
            3,
            "return: all",
            r#"{"code":3,"stderr":"oh\n","stdout":"me-x y me\n"}"#,
        ),
        (0, "return: none", "null"),
    ] {
        assert_eq!(output(run(&shell(code, returns))), expected, "{returns}");
    }
    match run(&shell(4, "")) {
        Ended::Faulted(problem) => {
            let detail = member(problem.val(), "detail")
                .and_then(as_text)
                .unwrap()
                .to_owned();
            assert_eq!(detail, "the process ended with code 4: oh");
        }
        other => panic!("{other:?}"),
    }
}

fn document(name: &str, version: &str, tasks: &str) -> Arc<Definition> {
    let text = format!(
        "document: {{dsl: '1.0.3', namespace: test, name: {name}, version: '{version}'}}\ndo:\n{tasks}"
    );
    Arc::new(Definition::load(text.as_bytes()).unwrap())
}

fn inner(version: &str, factor: u64) -> Arc<Definition> {
    let tasks = format!(
        "  - draw: {{ call: compute, with: {{ op: draw, min: 1, max: 1000 }}, output: {{ as: '$input + {{drawn: .}}' }} }}\n  \
         - wait: {{ wait: PT1S }}\n  - times: {{ set: {{ n: '${{ .n * {factor} }}', drawn: '${{ .drawn }}' }} }}\n"
    );
    document("inner", version, &tasks)
}

const OUTER: &str = "
  - both:
      fork:
        branches:
          - old: { run: { workflow: { namespace: test, name: inner, version: '1.2.0', input: { n: '${ .n }' } } } }
          - new: { run: { workflow: { namespace: test, name: inner, input: { n: '${ .n }' } } } }
  - sum: { set: { n: '${ .[0].n + .[1].n }', drawn: '${ map(.drawn) }' } }
";

fn asked() -> Request {
    request(&document("outer", "1.0.0", OUTER), "k", r#"{"n":1}"#, 7)
}

fn known(engine: Engine) -> Engine {
    engine.with_workflows([inner("1.10.0", 100), inner("1.2.0", 10), inner("1.9.0", 5)])
}

#[test]
fn a_workflow_runs_others_and_what_latest_was_stays() {
    let disk = SimDisk::with_seed(1);
    let engine = known(engine(&disk));
    let (run, digest, ended) = finish(&engine, &asked());
    let said = output(ended);
    assert!(said.contains(r#""n":110"#), "{said}");
    let start = &engine.log().stream(StreamId::run(run), 1).unwrap()[0];
    let Event::Start(start) = read_event(start).unwrap() else {
        panic!()
    };
    let latest = inner("1.10.0", 100).digest;
    let latest = aos_format::digest::Digest(latest).hex();
    assert!(
        start
            .behaviour
            .contains(&format!("workflow=test/inner/latest@{latest}")),
        "{:?}",
        start.behaviour
    );
    assert_eq!(
        engine.log().runs(None, 10).unwrap().len(),
        3,
        "each is a run of its own"
    );
    // A later version that the log knows by now changes nothing for this run, and is the latest for another.
    let engine = engine.with_workflows([inner("2.0.0", 1000)]);
    assert_eq!(finish(&engine, &asked()).1, digest);
    let other = Request {
        key: Some("later".into()),
        ..asked()
    };
    assert!(output(finish(&engine, &other).2).contains(r#""n":1010"#));
    drop(engine);
    // What the log holds is enough.
    let engine = crate::support::engine(&disk);
    let third = Request {
        key: Some("third".into()),
        ..asked()
    };
    assert!(output(finish(&engine, &third).2).contains(r#""n":1010"#));
}

#[test]
fn a_workflow_that_nobody_knows_is_refused_at_the_start() {
    let disk = SimDisk::with_seed(1);
    match engine(&disk).start(&asked()) {
        Err(Error::NotRegistered { what, .. }) => assert_eq!(what, "the workflow test/inner/1.2.0"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_workflow_that_runs_itself_is_refused_at_the_start() {
    let disk = SimDisk::with_seed(1);
    let runs = |name: &str, other: &str| {
        let tasks =
            format!("  - a: {{ run: {{ workflow: {{ namespace: test, name: {other} }} }} }}\n");
        document(name, "1.0.0", &tasks)
    };
    let (outer, inner) = (runs("outer", "inner"), runs("inner", "outer"));
    let engine = engine(&disk).with_workflows([outer.clone(), inner]);
    match engine.start(&request(&outer, "k", "{}", 7)) {
        Err(Error::Document(error)) => assert_eq!(error.code(), "AOS-E223", "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_within_that_waits_leaves_its_caller_open_and_is_found_when_it_has_ended() {
    let disk = SimDisk::with_seed(1);
    let hears = "  - hear: { listen: { to: { one: { with: { type: a } } } } }\n";
    let calls = "  - call: { run: { workflow: { namespace: test, name: inner } } }\n";
    let asked = request(&document("outer", "1.0.0", calls), "k", "{}", 7);
    let engine = engine(&disk).with_workflows([document("inner", "1.0.0", hears)]);
    let Begun::Run(mut run) = engine.start(&asked).unwrap() else {
        panic!("a new key")
    };
    let within = match engine.drive(&mut run) {
        Err(Error::RunWithin { run }) => run,
        other => panic!("{other:?}"),
    };
    drop((run, engine));
    let engine = crate::support::engine(&disk);
    let Begun::Run(mut run) = engine.resume(within).unwrap() else {
        panic!("it is open")
    };
    let event = Value::from_json(br#"{"source":"s","id":"1","type":"a","data":{"n":1}}"#).unwrap();
    let actor = "ada".to_owned();
    run.answer(Answer::Event { event, actor });
    engine.drive(&mut run).unwrap();
    assert_eq!(output(finish(&engine, &asked).2), r#"[{"n":1}]"#);
}

#[test]
fn runs_within_runs_cut_at_any_operation_end_the_same() {
    let whole = SimDisk::with_seed(4);
    let expected = finish(&known(engine(&whole)), &asked());
    for cut in 1..=whole.ops() {
        let disk = SimDisk::with_seed(4);
        disk.crash_at(cut);
        let log = aos_store::Log::open(
            Arc::new(disk.clone()),
            std::path::Path::new(LOG),
            &options(),
        );
        let clock = aos_engine::clock::Clock {
            fixed_ns: Some(1_700_000_000_000_000_000),
            is_virtual: true,
        };
        // Whatever fails here fails because of the crash.
        if let Ok((log, _)) = log
            && let Ok(engine) = Engine::new(Arc::new(log), Arc::new(Skills::builtin()), clock)
        {
            let engine = known(engine);
            if let Ok(Begun::Run(mut run)) = engine.start(&asked()) {
                let _ = engine.drive(&mut run);
            }
        }
        let after = disk.crash_image(Cut::Subset(cut));
        assert_eq!(
            finish(&known(engine(&after)), &asked()),
            expected,
            "cut at {cut}"
        );
    }
}

const BESIDE: &str = "
  - go: { run: { await: false, workflow: { namespace: test, name: inner, input: { n: '${ .n }' } } } }
  - on: { set: { was: '${ .n }' } }
";

fn beside(budget: Option<u64>) -> Request {
    let outer = document("outer", "1.0.0", BESIDE);
    Request {
        budget,
        ..request(&outer, "k", r#"{"n":3}"#, 7)
    }
}

/// Drives what nobody drives to its end.
fn drive_the_rest(engine: &Engine) {
    for row in engine.log().open_runs().unwrap() {
        if let Begun::Run(mut run) = engine.resume(row.run).unwrap() {
            engine.drive(&mut run).unwrap();
        }
    }
}

#[test]
fn a_workflow_that_nobody_waits_for_is_begun_and_driven_beside_its_caller() {
    let disk = SimDisk::with_seed(1);
    let engine = known(engine(&disk));
    let options = PoolOptions {
        workers: 1,
        in_flight: 1,
        effects: 1,
        stop: Arc::default(),
    };
    let job = Job::Start {
        tag: 5,
        request: Box::new(beside(Some(9))),
    };
    let mut told = Vec::new();
    run_all(&engine, std::iter::once(job), &options, |done| {
        told.push((done.tag, done.output().map(ToString::to_string)));
    })
    .unwrap();
    told.sort();
    assert_eq!(
        told[0],
        (5, Some(r#"{"was":3}"#.into())),
        "its output is its input"
    );
    assert_eq!((told.len(), told[1].0), (2, TAKEN_ON));
    assert!(
        told[1].1.as_ref().unwrap().contains(r#""n":300"#),
        "{told:?}"
    );
    let rows = engine.log().runs(None, 10).unwrap();
    let other = rows.iter().find(|row| row.key != "k").unwrap();
    assert!(other.key.starts_with("beside/"), "{}", other.key);
    // They divide what is left of the budget, as branches do.
    let start = &engine.log().stream(StreamId::run(other.run), 1).unwrap()[0];
    let Event::Start(start) = read_event(start).unwrap() else {
        panic!()
    };
    assert!(
        start.behaviour.contains(&"budget=4".to_owned()),
        "{:?}",
        start.behaviour
    );
}

#[test]
fn a_run_beside_its_caller_is_begun_once_wherever_it_is_cut() {
    let whole = SimDisk::with_seed(4);
    let engine_of_whole = known(engine(&whole));
    let expected = finish(&engine_of_whole, &beside(None));
    drive_the_rest(&engine_of_whole);
    let ends = |engine: &Engine| {
        let mut rows = engine.log().runs(None, 10).unwrap();
        rows.sort_by_key(|row| row.run);
        rows.into_iter()
            .map(|row| (row.run, row.status, row.digest))
            .collect::<Vec<_>>()
    };
    let all = ends(&engine_of_whole);
    assert_eq!(all.len(), 2);
    drop(engine_of_whole);
    for cut in 1..=whole.ops() {
        let disk = SimDisk::with_seed(4);
        disk.crash_at(cut);
        let log = aos_store::Log::open(
            Arc::new(disk.clone()),
            std::path::Path::new(LOG),
            &options(),
        );
        let clock = aos_engine::clock::Clock {
            fixed_ns: Some(1_700_000_000_000_000_000),
            is_virtual: true,
        };
        // Whatever fails here fails because of the crash.
        if let Ok((log, _)) = log
            && let Ok(engine) = Engine::new(Arc::new(log), Arc::new(Skills::builtin()), clock)
        {
            let engine = known(engine);
            if let Ok(Begun::Run(mut run)) = engine.start(&beside(None)) {
                let _ = engine.drive(&mut run);
            }
        }
        let engine = known(engine(&disk.crash_image(Cut::Subset(cut))));
        assert_eq!(finish(&engine, &beside(None)), expected, "cut at {cut}");
        drive_the_rest(&engine);
        assert_eq!(ends(&engine), all, "cut at {cut}");
    }
}

#[test]
fn what_another_workflow_costs_counts_and_its_fault_is_the_steps() {
    let disk = SimDisk::with_seed(1);
    let inner = document(
        "inner",
        "1.0.0",
        "  - a: { run: { shell: { command: 'exit 0', arguments: [] } } }\n",
    );
    let engine = engine(&disk).with_workflows([inner]);
    let tasks = "  - one: { run: { workflow: { namespace: test, name: inner } } }\n  - two: { run: { workflow: { namespace: test, name: inner } } }\n";
    let asked = |budget, key: &str| Request {
        budget,
        root: RootSeed::from_number(3),
        on_conflict: OnConflict::Refuse,
        ..request(&document("outer", "1.0.0", tasks), key, "{}", 3)
    };
    output(finish(&engine, &asked(Some(2), "enough")).2);
    match finish(&engine, &asked(Some(1), "less")).2 {
        Ended::Faulted(problem) => {
            let code = member(problem.val(), "code").and_then(as_text);
            assert_eq!(code, Some("BUDGET_EXCEEDED"), "{problem}");
        }
        other => panic!("{other:?}"),
    }
}

#[cfg(feature = "script")]
#[test]
fn a_script_reads_what_it_is_given_and_writes_the_output() {
    let tasks = "
  - a:
      run:
        script:
          language: javascript
          stdin: '${ .who }'
          arguments: [x]
          code: |
            import { readFileSync } from 'node:fs';
            console.log(readFileSync(process.stdin.fd, 'utf8') + process.argv[2]);
      output: { as: '{said: .}' }
";
    assert_eq!(output(run(tasks)), r#"{"said":"mex\n"}"#);
}
