//! Records of imported runs: lossless, whole, found again.

use crate::support::{FIXTURES, fixture, imported, log, parse, reader, run};
use aos_disk::sim::SimDisk;
use aos_import::{Error, ErrorKind, State, Temporal, write};
use aos_replay::{Determinism, Export, ExportOptions, Options, Verdict, code, replay};
use aos_store::RunStatus;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

#[test]
fn every_event_comes_back_byte_for_byte() {
    for name in FIXTURES {
        let bytes = fixture(name);
        let imported = imported(&run(name), Some("k"));
        let reader = reader(&imported.disk);
        let mut at = 0;
        let mut events = 0;
        for record in Export::new(&reader, ExportOptions::default()).unwrap() {
            let record = record.unwrap();
            if record["kind"] != "FOREIGN" {
                continue;
            }
            let original = record["volatile"]["foreign"].as_str().unwrap();
            let original = STANDARD.decode(original).unwrap();
            let found = bytes[at..]
                .windows(original.len())
                .position(|part| part == original);
            let start = at + found.expect("the bytes of an event, behind those of the one before");
            // What is left out between events is white space and a comma.
            if events > 0 {
                let between = &bytes[at..start];
                assert!(
                    between.iter().all(|byte| b" \t\r\n,".contains(byte)),
                    "{name}"
                );
            }
            at = start + original.len();
            events += 1;
        }
        let parsed: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(events, parsed["events"].as_array().unwrap().len(), "{name}");
        let rest = &bytes[at..];
        assert!(
            rest.iter().all(|byte| b" \t\r\n]}".contains(byte)),
            "{name}"
        );
    }
}

#[test]
fn an_imported_run_verifies_and_says_why_it_is_not_executed() {
    for name in FIXTURES {
        let imported = imported(&run(name), Some("k"));
        let reader = reader(&imported.disk);
        let verified = replay(
            &reader,
            &Options {
                verify_only: true,
                ..Options::default()
            },
        )
        .unwrap();
        assert_eq!(
            verified.verdict,
            Verdict::Verified,
            "{name}: {:?}",
            verified.findings
        );
        let report = replay(&reader, &Options::default()).unwrap();
        assert_eq!(report.verdict, Verdict::Undecided, "{name}");
        assert_eq!(report.verdict.exit_code(), 7);
        assert_eq!(report.determinism, Determinism::NotChecked);
        let [finding] = &report.findings[..] else {
            panic!("{:?}", report.findings)
        };
        assert_eq!(finding.code, code::IMPORTED);
        assert!(
            finding.found.contains("imported from temporal"),
            "{}",
            finding.found
        );
    }
}

#[test]
fn a_flipped_bit_of_an_original_event_is_damage() {
    let imported = imported(&run("go_local-activity"), None);
    let record = &imported.records[2];
    let view = record.view().unwrap();
    let original = view
        .volatile_tag(aos_format::record::VOLATILE_FOREIGN)
        .unwrap();
    let at = original.as_ptr() as usize - record.body().as_ptr() as usize;
    let byte = record.offset().0 + aos_format::frame::FRAME_HEADER_LEN + at as u64;
    let path = format!("{}/segments/{:020}.seg", crate::support::LOG, 0);
    let path = std::path::Path::new(&path);
    let was = imported.disk.peek(path).unwrap()[byte as usize];
    imported.disk.poke_at(path, &[was ^ 8], byte).unwrap();
    let report = replay(&reader(&imported.disk), &Options::default()).unwrap();
    assert_eq!(report.verdict, Verdict::Corrupt);
}

#[test]
fn the_same_history_twice_changes_nothing() {
    let run = run("go_workflow1");
    let imported = imported(&run, None);
    let log = log(&imported.disk);
    let before = log.durable();
    let again = write(&log, &Temporal, &run, None).unwrap();
    assert_eq!((again.state, again.appended), (State::Unchanged, 0));
    assert_eq!(
        (again.run, again.digest),
        (imported.done.run, imported.done.digest)
    );
    assert_eq!(log.durable(), before);
    let named = write(&log, &Temporal, &run, Some("other key")).unwrap();
    assert_eq!((named.state, named.digest), (State::New, again.digest));
}

#[test]
fn another_spelling_of_the_same_history_is_told_and_not_kept() {
    let imported = imported(&run("go_workflow1"), None);
    let text = String::from_utf8(fixture("go_workflow1")).unwrap();
    let text = text
        .replace("\"1048577\"", "\"77\"")
        .replace("WorkflowTaskScheduled\"", "WorkflowTaskScheduled\" ");
    let log = log(&imported.disk);
    let again = write(&log, &Temporal, &parse(text.as_bytes()).unwrap(), None).unwrap();
    assert_eq!(again.state, State::Unchanged);
    assert_eq!(again.digest, imported.done.digest);
    assert!(again.respelled > 0);
}

#[test]
fn another_history_under_the_same_key_is_a_conflict_and_nothing_is_written() {
    let good = run("go_upsert-memo-workflow");
    let disk = Arc::new(SimDisk::new());
    let log = log(&disk);
    write(&log, &Temporal, &good, Some("k")).unwrap();
    let before = log.durable();
    let error = write(
        &log,
        &Temporal,
        &run("go_bad-upsert-memo-workflow"),
        Some("k"),
    )
    .unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("AOS-I005", ErrorKind::Conflict)
    );
    assert!(
        error
            .to_string()
            .contains("event 12, WorkflowExecutionCompleted differs"),
        "{error}"
    );
    assert_eq!(log.durable(), before);
}

#[test]
fn a_longer_history_of_the_same_run_appends_what_is_new() {
    let whole = run("go_workflow1");
    for len in 1..whole.events.len() {
        let mut part = whole.clone();
        part.events.truncate(len);
        part.ended = None;
        let imported = imported(&part, None);
        let log = log(&imported.disk);
        let row = log.run(imported.done.run).unwrap().unwrap();
        assert_eq!(row.status, RunStatus::Open);
        let more = write(&log, &Temporal, &whole, None).unwrap();
        assert_eq!(more.state, State::Extended);
        assert_eq!(more.appended as usize, whole.events.len() - len + 1);
        let row = log.run(more.run).unwrap().unwrap();
        assert_eq!(
            (row.status, row.digest),
            (RunStatus::Completed, more.digest)
        );
        // And what is older changes nothing.
        let older = write(&log, &Temporal, &part, None).unwrap();
        assert_eq!((older.state, older.digest), (State::Unchanged, more.digest));
    }
}

#[test]
fn the_outcome_of_the_last_event_is_the_outcome_of_the_run() {
    for (name, status) in [
        ("go_workflow1", RunStatus::Completed),
        ("go_continue-as-new", RunStatus::Completed),
        ("java_testChildWorkflowRetryHistory", RunStatus::Faulted),
        (
            "java_simpleHistory1_withAddedNewRandomField",
            RunStatus::Open,
        ),
        ("go_bad-history", RunStatus::Open),
    ] {
        let imported = imported(&run(name), None);
        let index = reader(&imported.disk).index().unwrap();
        assert_eq!(index.rows.runs[&imported.done.run].status, status, "{name}");
    }
}

#[test]
fn the_rules_are_in_the_log_once() {
    let disk = Arc::new(SimDisk::new());
    let log = log(&disk);
    for name in ["go_workflow1", "go_continue-as-new"] {
        write(&log, &Temporal, &run(name), Some(name)).unwrap();
    }
    log.close().unwrap();
    let records: Vec<_> = Export::new(&reader(&disk), ExportOptions::default())
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let definitions: Vec<_> = records
        .iter()
        .filter(|r| r["kind"] == "DEFINITION")
        .collect();
    assert_eq!(definitions.len(), 1);
    let source = STANDARD
        .decode(definitions[0]["values"][0]["bytes"].as_str().unwrap())
        .unwrap();
    let rules: serde_json::Value = serde_json::from_slice(&source).unwrap();
    assert_eq!(rules["tables"]["MarkerRecorded"]["markerName"], "hashed");
    assert_eq!(
        rules["tables"]["WorkflowTaskStarted"]["identity"],
        "volatile"
    );
    let starts = records.iter().filter(|r| r["kind"] == "START");
    for start in starts {
        assert_eq!(
            start["fields"]["definition"],
            definitions[0]["fields"]["digest"]
        );
    }
}

#[test]
fn a_run_without_a_name_needs_a_key() {
    let text = String::from_utf8(fixture("java_simpleHistory1_withAddedNewRandomField")).unwrap();
    let text = text.replace("ExecutionRunId", "ExecutionRunIdWas");
    let run = parse(text.as_bytes()).unwrap();
    assert_eq!(run.key, None);
    let disk = Arc::new(SimDisk::new());
    let error = write(&log(&disk), &Temporal, &run, None).unwrap_err();
    assert!(matches!(error, Error::NoKey { .. }), "{error}");
}

#[test]
fn an_event_that_the_log_cannot_take_is_told_before_anything_is_written() {
    let text = String::from_utf8(fixture("go_workflow1")).unwrap();
    let text = text.replace("helloworldActivity", &"x".repeat(300_000));
    let disk = Arc::new(SimDisk::new());
    let log = log(&disk);
    let before = log.durable();
    let error = write(&log, &Temporal, &parse(text.as_bytes()).unwrap(), None).unwrap_err();
    assert_eq!(error.code(), "AOS-I007");
    assert_eq!(error.place().unwrap().pointer, "/events/6");
    assert_eq!(log.durable(), before);
}

#[test]
fn keys_are_workflow_and_run() {
    assert_eq!(
        run("py_hello-workflow-history").key.unwrap(),
        "hello-workflow-d6d3eaae-b159-424b-aa88-e643e42a35d8/0197c192-1c61-7a41-8852-56960bd15070"
    );
    assert_eq!(
        run("go_workflow1").key.unwrap(),
        "32c62bbb-dfa3-4558-8bab-11cd5b4e17b7"
    );
}
