//! A log on a simulated disk, and what tests ask of it.

use aos_disk::sim::SimDisk;
use aos_engine::clock::Clock;
use aos_engine::engine::{Begun, Engine, OnConflict, Request};
use aos_engine::machine::Ended;
use aos_engine::run::Turn;
use aos_engine::seed::RootSeed;
use aos_engine::skill::Skills;
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_format::digest::{Digest, LogId, RunId};
use aos_format::offset::Stride;
use aos_store::{Log, Mode, Options};
use std::path::Path;
use std::sync::Arc;

pub const LOG: &str = "test.aos";

pub fn options() -> Options {
    Options {
        stride: Stride::from_bytes(64 << 10).unwrap(),
        create: true,
        mode: Mode::Inline,
        ..Options::new(LogId([5; 16]))
    }
}

pub fn open(disk: &SimDisk) -> Arc<Log> {
    let (log, _) = Log::open(Arc::new(disk.clone()), Path::new(LOG), &options()).unwrap();
    Arc::new(log)
}

pub fn engine_with(disk: &SimDisk, skills: Skills) -> Engine {
    let clock = Clock {
        fixed_ns: Some(1_700_000_000_000_000_000),
        is_virtual: true,
    };
    Engine::new(open(disk), Arc::new(skills), clock).unwrap()
}

pub fn engine(disk: &SimDisk) -> Engine {
    engine_with(disk, Skills::builtin())
}

pub fn definition(tasks: &str) -> Arc<Definition> {
    let text = format!(
        "document: {{dsl: '1.0.3', namespace: test, name: t, version: '1.0.0'}}\ndo:\n{tasks}"
    );
    Arc::new(Definition::load(text.as_bytes()).unwrap())
}

pub fn request(definition: &Arc<Definition>, key: &str, input: &str, seed: u64) -> Request {
    Request {
        definition: definition.clone(),
        key: Some(key.into()),
        input: Value::from_json(input.as_bytes()).unwrap(),
        root: RootSeed::from_number(seed),
        on_conflict: OnConflict::Refuse,
        budget: None,
    }
}

/// Drives a request to its end.
pub fn finish(engine: &Engine, request: &Request) -> (RunId, Digest, Ended) {
    match engine.start(request).unwrap() {
        Begun::Run(mut run) => match engine.drive(&mut run).unwrap() {
            Turn::Ended(ended) => (run.id(), run.digest(), ended),
            turn => panic!("did not end: {turn:?}"),
        },
        Begun::Ended(past) => (past.row.run, past.row.digest, past.ended),
        Begun::InProgress(run) => panic!("run {run} is in progress"),
    }
}

pub const LOOP: &str = "
  - init: { set: { total: 0 } }
  - walk:
      for: { in: '[range(8)]' }
      do:
        - draw:
            call: compute
            with: { op: draw, min: 1, max: 1000 }
            output: { as: '{total: ($input.total + .)}' }
";
