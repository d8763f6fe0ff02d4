//! A log of real runs on a simulated disk, keys, and archives in memory.

use aos_disk::sim::SimDisk;
use aos_engine::clock::Clock;
use aos_engine::engine::{Begun, Engine, OnConflict, Request};
use aos_engine::seed::RootSeed;
use aos_engine::skill::Skills;
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_format::digest::{LogId, RunId};
use aos_format::offset::Stride;
use aos_golden::{
    Algorithm, Container, Key, SealOptions, Sealed, Selection, Trust, Verification, Verifier,
    VerifyOptions, seal, verify,
};
use aos_store::{Log, LogReader, Mode, Options};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

pub const LOG: &str = "test.aos";

const DOCUMENT: &str = "document: {dsl: '1.0.3', namespace: test, name: greet, version: '1.0.0'}
do:
  - greet: { set: { greeting: '${ \"hello \" + .name }', pin: '${ .pin }' } }
  - draw: { call: compute, with: { op: draw, min: 1, max: 1000 } }
";

/// A log with runs of the keys 0, 1, … of `count` people.
pub fn log(count: u64) -> LogReader {
    let disk = SimDisk::new();
    grow(&disk, 0..count);
    reader(&disk)
}

pub fn reader(disk: &SimDisk) -> LogReader {
    LogReader::open(Arc::new(disk.clone()), Path::new(LOG)).unwrap()
}

/// Adds runs to a log, in an opening of its own.
pub fn grow(disk: &SimDisk, keys: std::ops::Range<u64>) {
    grow_with(disk, keys, 64 << 10, false);
}

/// The same, with segments of `stride` bytes, and sealed where that is asked for.
pub fn grow_with(disk: &SimDisk, keys: std::ops::Range<u64>, stride: u64, seal: bool) {
    let options = Options {
        stride: Stride::from_bytes(stride).unwrap(),
        create: true,
        mode: Mode::Inline,
        seal,
        ..Options::new(LogId([5; 16]))
    };
    let (log, _) = Log::open(Arc::new(disk.clone()), Path::new(LOG), &options).unwrap();
    let log = Arc::new(log);
    let clock = Clock {
        fixed_ns: Some(1_700_000_000_000_000_000),
        is_virtual: true,
    };
    let engine = Engine::new(log.clone(), Arc::new(Skills::builtin()), clock).unwrap();
    let definition = Arc::new(Definition::load(DOCUMENT.as_bytes()).unwrap());
    for key in keys {
        let input = format!("{{\"name\":\"Ada {key}\",\"pin\":{}}}", 1000 + key);
        let request = Request {
            definition: definition.clone(),
            key: Some(key.to_string()),
            input: Value::from_json(input.as_bytes()).unwrap(),
            root: RootSeed::from_number(7),
            on_conflict: OnConflict::Refuse,
            budget: None,
        };
        let Begun::Run(mut run) = engine.start(&request).unwrap() else {
            panic!("a new key starts a run");
        };
        engine.drive(&mut run).unwrap();
    }
    drop(engine);
    Arc::try_unwrap(log).unwrap().close().unwrap();
}

/// The run of a key.
pub fn run(reader: &LogReader, key: &str) -> RunId {
    let index = reader.index().unwrap();
    index
        .rows
        .runs
        .values()
        .find(|row| row.key == key)
        .unwrap()
        .run
}

pub fn key(algorithm: Algorithm, seed: u8) -> Key {
    Key::new(
        "example.org/gold",
        algorithm,
        false,
        Zeroizing::new([seed; 32]),
    )
    .unwrap()
}

pub fn trust(keys: &[&Key]) -> Trust {
    Trust::of(keys.iter().map(|key| Verifier::of_key(key)).collect())
}

pub fn options<'a>(selection: Selection, keys: &'a [Key]) -> SealOptions<'a> {
    SealOptions {
        selection,
        keys,
        compress: false,
        seeds: false,
        build: "test",
        sealed_at: None,
        workers: 1,
    }
}

/// Seals into a directory of its own and reads the file back.
pub fn sealed(reader: &LogReader, options: &SealOptions<'_>) -> (Sealed, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let sealed = seal(reader, folder.path(), options).unwrap();
    let bytes = std::fs::read(&sealed.path).unwrap();
    (sealed, bytes)
}

pub fn container(bytes: Vec<u8>) -> Result<Container, aos_golden::Error> {
    Container::read(Arc::new(bytes), "test.golden")
}

pub fn judged(bytes: Vec<u8>, trust: &Trust, anchor: Option<&[u8]>) -> Verification {
    let options = VerifyOptions {
        trust: Some(trust),
        anchor,
        workers: 1,
    };
    verify(container(bytes), &options).unwrap()
}
