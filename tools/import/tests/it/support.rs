//! Files of the fixtures, and logs in memory.

use aos_disk::sim::SimDisk;
use aos_format::digest::LogId;
use aos_format::event::Event;
use aos_format::offset::Stride;
use aos_format::record::{StreamId, VOLATILE_FOREIGN_ID};
use aos_import::{Done, Error, ForeignRun, Importer, Temporal, write};
use aos_store::{Log, LogReader, Options, Source, StoredRecord};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

pub const LOG: &str = "/log";

/// Every fixture.
pub const FIXTURES: [&str; 13] = [
    "go_bad-continue-as-new",
    "go_bad-history",
    "go_bad-local-activity",
    "go_bad-upsert-memo-workflow",
    "go_continue-as-new",
    "go_local-activity",
    "go_upsert-memo-workflow",
    "go_workflow1",
    "go_workflow_with_bad_unknown_event",
    "go_workflow_with_unknown_event",
    "java_simpleHistory1_withAddedNewRandomField",
    "java_testChildWorkflowRetryHistory",
    "py_hello-workflow-history",
];

pub fn fixture(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    std::fs::read(dir.join(format!("{name}.json"))).unwrap()
}

pub fn run(name: &str) -> ForeignRun {
    parse(&fixture(name)).unwrap()
}

pub fn parse(bytes: &[u8]) -> Result<ForeignRun, Error> {
    let mut runs = Temporal.parse("t.json", bytes)?;
    assert_eq!(runs.len(), 1);
    Ok(runs.remove(0))
}

pub fn log(disk: &Arc<SimDisk>) -> Log {
    let options = Options {
        create: true,
        stride: Stride::from_log2(20).unwrap(),
        ..Options::new(LogId([7; 16]))
    };
    Log::open(disk.clone(), Path::new(LOG), &options).unwrap().0
}

pub fn reader(disk: &Arc<SimDisk>) -> LogReader {
    LogReader::open(disk.clone(), Path::new(LOG)).unwrap()
}

/// A log with one run in it, and its records.
pub struct Imported {
    pub disk: Arc<SimDisk>,
    pub done: Done,
    pub records: Vec<StoredRecord>,
}

pub fn imported(run: &ForeignRun, key: Option<&str>) -> Imported {
    let disk = Arc::new(SimDisk::new());
    let log = log(&disk);
    let done = write(&log, &Temporal, run, key).unwrap();
    log.close().unwrap();
    let records = reader(&disk).stream(StreamId::run(done.run), 1).unwrap();
    Imported {
        disk,
        done,
        records,
    }
}

/// An imported event as its log tells it.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: String,
    pub foreign_type: String,
    pub activation: String,
    pub data: Value,
}

impl Imported {
    pub fn told(&self, index: usize) -> Option<Told> {
        let record = &self.records[index];
        let view = record.view().unwrap();
        let (_, event) = Event::decode(record.kind().unwrap(), view.det()).unwrap();
        let Event::Foreign(event) = event else {
            return None;
        };
        let id = view.volatile_tag(VOLATILE_FOREIGN_ID).unwrap();
        let data = reader(&self.disk).value(record, 2).unwrap();
        Some(Told {
            id: String::from_utf8(id.to_vec()).unwrap(),
            foreign_type: event.foreign_type,
            activation: event.activation,
            data: serde_json::from_slice(&data).unwrap(),
        })
    }
}
