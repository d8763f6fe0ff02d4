//! Kills, signals, and several processes at one log.

use crate::harness::{Place, Said, number, text};
use aos_store::RunStatus;
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Stdio};

const LOANS: &str = "-o json run loan.yaml --log l.aos --inputs applications.jsonl --seed 7";

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Starts the workflow that waits, and waits until its timer is durably on record.
fn waiting(place: &Place) -> Child {
    let mut child = place.start("-o json run hour.yaml --log w.aos --key k", Stdio::null());
    place.until(&mut child, "w.aos", |reader| {
        let index = reader.index().unwrap();
        let waits = index
            .rows
            .runs
            .values()
            .any(|row| row.status == RunStatus::Waiting);
        // A group that nothing proves yet may be lost by a kill; replay would say so.
        waits && !reader.tail().unwrap().pending
    });
    child
}

#[test]
fn the_same_command_after_kill_9_finishes_exactly_what_is_missing() {
    let place = Place::new();
    place.applications(300);
    let whole = place
        .aosctl(&LOANS.replace("l.aos", "whole.aos"))
        .exits(0)
        .json();
    let mut killed = 0;
    for mark in [64 << 10, 1 << 20, 2 << 20, 3 << 20, 4 << 20] {
        let mut child = place.start(LOANS, Stdio::null());
        place.until(&mut child, "l.aos", |reader| {
            reader
                .durable_word()
                .unwrap()
                .is_some_and(|word| word.durable.0 > mark)
        });
        child.kill().unwrap();
        killed += u64::from(child.wait().unwrap().code().is_none());
    }
    assert!(
        killed >= 3,
        "the machine must not be faster than the kills: {killed}"
    );
    let rows = place.aosctl("runs l.aos").exits(0).lines();
    assert!(rows.len() < 300, "{} runs at the last kill", rows.len());
    let again = place.aosctl(LOANS).exits(0).json();
    for field in ["digest", "runs", "completed", "steps", "events"] {
        assert_eq!(again[field], whole[field], "{field}");
    }
    let replayed = place.aosctl("-o json replay l.aos").exits(0).json();
    assert_eq!(replayed["digest"], whole["digest"]);
    place.aosctl("log fsck l.aos").exits(0);
}

#[test]
fn resume_finishes_what_a_kill_left_open() {
    let place = Place::new();
    let mut child = waiting(&place);
    child.kill().unwrap();
    child.wait().unwrap();
    let report = place.aosctl("-o json replay w.aos").exits(0).json();
    assert_eq!(
        (number(&report, "open"), text(&report, "verdict")),
        (1, "match".into()),
        "an open run is no error"
    );
    let resumed = place
        .aosctl("-o json resume w.aos --clock virtual")
        .exits(0)
        .json();
    assert_eq!(
        (number(&resumed, "completed"), number(&resumed, "runs")),
        (1, 1)
    );
    let unkilled = place
        .aosctl("-o json run hour.yaml --log u.aos --key k --clock virtual --seed 1")
        .exits(0)
        .json();
    assert_eq!(resumed["steps"], unkilled["steps"]);
    let nothing = place.aosctl("-o json resume w.aos").exits(0);
    assert!(nothing.stderr.contains("no run of w.aos is open"));
    let by_key = place.aosctl("-o json resume w.aos k").exits(0).json();
    assert_eq!(text(&by_key, "status"), "completed");
    place.aosctl("replay w.aos").exits(0);
}

#[test]
fn ctrl_c_stops_cleanly_with_130_and_sigterm_with_143() {
    for (number_of_signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new();
        let child = waiting(&place);
        signal(&child, number_of_signal);
        let said = Said::new("run", child.wait_with_output().unwrap()).exits(code);
        let summary = said
            .fails_with("AOS-C016", &["stopped by a signal", "aosctl resume w.aos"])
            .json();
        assert_eq!(
            (number(&summary, "waiting"), text(&summary, "status")),
            (1, "waiting".into())
        );
        let rows = place.aosctl("runs w.aos --status waiting").exits(0).lines();
        assert_eq!(rows.len(), 1);
        place.aosctl("log fsck w.aos").exits(0);
        place.aosctl("resume w.aos --clock virtual").exits(0);
        place.aosctl("replay w.aos").exits(0);
    }
}

#[test]
fn ctrl_c_in_the_middle_of_many_runs_loses_nothing_and_counts_what_there_is() {
    let place = Place::new();
    place.applications(1500);
    let mut child = place.start(LOANS, Stdio::null());
    place.until(&mut child, "l.aos", |reader| {
        reader
            .durable_word()
            .unwrap()
            .is_some_and(|word| word.durable.0 > 1 << 20)
    });
    signal(&child, Signal::INT);
    let said = Said::new(LOANS, child.wait_with_output().unwrap()).exits(130);
    let summary = said
        .fails_with("AOS-C016", &["the same command again"])
        .json();
    let listed = place.aosctl("runs l.aos").exits(0).lines();
    let ended = listed
        .iter()
        .filter(|row| row["status"] == "completed")
        .count() as u64;
    assert!(ended < 1500, "the signal came too late");
    assert_eq!(number(&summary, "completed"), ended);
    assert_eq!(number(&summary, "runs"), listed.len() as u64);
    let again = place.aosctl(LOANS).exits(0).json();
    let whole = place
        .aosctl(&LOANS.replace("l.aos", "whole.aos"))
        .exits(0)
        .json();
    assert_eq!(
        (&again["digest"], number(&again, "completed")),
        (&whole["digest"], 1500)
    );
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let place = Place::new();
    let mut child = waiting(&place);
    for command in [
        "run hello.yaml --log w.aos",
        "resume w.aos",
        "checkpoint take w.aos",
        "log fsck w.aos --rebuild-catalog",
    ] {
        place
            .aosctl(command)
            .exits(6)
            .fails_with("AOS-S002", &["w.aos", "aosctl runs w.aos"]);
    }
    for command in [
        "runs w.aos",
        "show w.aos k",
        "log stat w.aos",
        "log cat w.aos",
        "log fsck w.aos",
        "checkpoint ls w.aos",
        "replay w.aos",
    ] {
        place.aosctl(command).exits(0);
    }
    assert_eq!(
        place.aosctl("-o json log stat w.aos").exits(0).json()["writer_alive"],
        true
    );
    signal(&child, Signal::INT);
    child.wait().unwrap();
    place.aosctl("run hello.yaml --log w.aos").exits(0);
}

#[test]
fn a_checkpoint_of_an_open_run_can_be_taken_and_is_used() {
    let place = Place::new();
    let mut child = waiting(&place);
    child.kill().unwrap();
    child.wait().unwrap();
    let taken = place.aosctl("checkpoint take w.aos k").exits(0).lines();
    assert_eq!(taken.len(), 1);
    let listed = place.aosctl("checkpoint ls w.aos").exits(0).lines();
    assert_eq!(
        (listed.len(), &listed[0]["offset"]),
        (1, &taken[0]["offset"])
    );
    place.aosctl("resume w.aos --clock virtual").exits(0);
    let report = place.aosctl("-o json replay w.aos").exits(0).json();
    assert_eq!(report["verdict"], "match");
    assert!(
        place
            .aosctl("checkpoint take w.aos k")
            .exits(0)
            .stderr
            .contains("it is completed")
    );
}

#[test]
fn a_schedule_that_is_stopped_tells_of_every_run_that_it_began() {
    let place = Place::new();
    place.write(
        "s.yaml",
        "
document: {dsl: '1.0.3', namespace: tests, name: slow, version: '1.0.0'}
schedule: {every: {milliseconds: 20}}
do: [{a: {set: {x: 1}}}, {w: {wait: {hours: 1}}}]
",
    );
    let mut child = place.start(
        "-o jsonl schedule run s.yaml --log s.aos --seed 1 --missed all",
        Stdio::null(),
    );
    let begun = |reader: &aos_store::LogReader| {
        let index = aos_store::Source::index(reader);
        index.is_ok_and(|index| index.rows.runs.len() >= 3)
    };
    place.until(&mut child, "s.aos", begun);
    signal(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    let lines: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (summary, runs) = lines.split_last().unwrap();
    assert_eq!(summary["begun"], runs.len());
    assert_eq!(
        place.aosctl("runs s.aos").exits(0).lines().len(),
        runs.len()
    );
    assert!(
        runs.iter()
            .all(|run| run["status"] == "waiting" || run["status"] == "open")
    );
}

#[test]
fn a_signal_stops_a_run_within_a_run_too_and_both_go_on_later() {
    let place = Place::new();
    place.write(
        "outer.yaml",
        "
document: {dsl: '1.0.3', namespace: tests, name: outer, version: '1.0.0'}
do: [{call: {run: {workflow: {namespace: tests, name: hour}}}}]
",
    );
    let mut child = place.start(
        "-o jsonl run outer.yaml --with hour.yaml --log o.aos --key k --seed 1",
        Stdio::null(),
    );
    let both = |reader: &aos_store::LogReader| {
        let index = aos_store::Source::index(reader);
        index.is_ok_and(|index| {
            index
                .rows
                .runs
                .values()
                .all(|run| run.steps > 0 || run.key == "k")
                && index.rows.runs.len() == 2
        })
    };
    place.until(&mut child, "o.aos", both);
    signal(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    place.aosctl("resume o.aos --clock virtual").exits(0);
    let runs = place.aosctl("runs o.aos").exits(0).lines();
    assert!(
        runs.iter().all(|run| run["status"] == "completed"),
        "{runs:?}"
    );
    let report = place.aosctl("-o json replay o.aos").exits(0).json();
    assert_eq!(report["verdict"], "match");
}

/// Starts a run of `tasks` in a process of its own, and waits until it waits.
fn driven(place: &Place, tasks: &str) -> Child {
    place.write(
        "live.yaml",
        format!(
            "document: {{dsl: '1.0.3', namespace: test, name: live, version: '1.0.0'}}\ndo:\n{tasks}"
        ),
    );
    let command = "-o json run live.yaml --log w.aos --key k";
    let mut child = place.start(command, Stdio::null());
    place.until(&mut child, "w.aos", |reader| {
        let index = reader.index().unwrap();
        let mut rows = index.rows.runs.values();
        rows.any(|row| row.status == RunStatus::Waiting)
    });
    child
}

const LISTENS: &str = "
  - race:
      fork:
        compete: true
        branches:
          - hear: { listen: { to: { one: { with: { type: paid } } } } }
          - long: { wait: PT1H }
";

#[test]
fn what_is_sent_to_a_run_reaches_the_process_that_drives_it() {
    let place = Place::new();
    let child = driven(&place, LISTENS);
    let said = place.aosctl("event send w.aos k --type other").exits(1);
    assert_eq!(said.json()["taken"], false);
    let said = place
        .aosctl("event send w.aos k --type paid --id 1 --data {\"sum\":7}")
        .exits(0);
    assert_eq!(said.json()["taken"], true);
    let said = Said::new("run", child.wait_with_output().unwrap()).exits(0);
    assert_eq!(said.json()["output"][0]["sum"], 7);
    place.aosctl("replay w.aos").exits(0);
    assert!(!place.path("w.aos/mail").exists(), "nothing is left behind");
}

#[test]
fn a_run_is_cancelled_while_a_process_drives_it() {
    let place = Place::new();
    let child = driven(&place, "  - long: { wait: PT1H }\n");
    let said = place.aosctl("cancel w.aos k --actor ada").exits(0);
    assert_eq!(said.json()["taken"], true);
    let said = Said::new("run", child.wait_with_output().unwrap()).exits(0);
    assert_eq!(said.json()["status"], "cancelled");
    assert_eq!(said.json()["error"]["detail"], "cancelled by ada");
    place.aosctl("replay w.aos").exits(0);
}

#[test]
fn a_process_goes_on_with_a_run_that_somebody_resumes() {
    let place = Place::new();
    place.write("two.jsonl", "\"a\"\n\"b\"\n");
    place.write(
        "live.yaml",
        format!("document: {{dsl: '1.0.3', namespace: test, name: live, version: '1.0.0'}}\ndo:\n{LISTENS}"),
    );
    let command = "-o json run live.yaml --log w.aos --inputs two.jsonl --key-by .";
    let mut child = place.start(command, Stdio::null());
    place.until(&mut child, "w.aos", |reader| {
        let index = reader.index().unwrap();
        let mut waiting = index
            .rows
            .runs
            .values()
            .filter(|row| row.status == RunStatus::Waiting);
        waiting.nth(1).is_some()
    });
    place.aosctl("suspend w.aos a").exits(0);
    let all = place.aosctl("resume w.aos").exits(6);
    assert!(all.stderr.contains("name one run"), "{}", all.stderr);
    // It drives the one that nobody suspended.
    let said = place.aosctl("resume w.aos b").exits(0).json();
    assert_eq!(
        (&said["taken"], &said["already"]),
        (&false.into(), &true.into())
    );
    let said = place.aosctl("resume w.aos a").exits(0);
    assert_eq!(said.json()["taken"], true);
    assert!(
        said.stderr.contains("goes on with the run"),
        "{}",
        said.stderr
    );
    for key in ["a", "b"] {
        let said = place
            .aosctl(&format!(
                "event send w.aos {key} --type paid --id 1 --data 7"
            ))
            .exits(0);
        assert_eq!(said.json()["taken"], true);
    }
    let said = Said::new("run", child.wait_with_output().unwrap()).exits(0);
    assert_eq!(said.json()["completed"], 2);
    place.aosctl("resume w.aos a").exits(0);
    place.aosctl("replay w.aos").exits(0);
}

#[test]
fn a_run_is_suspended_while_a_process_drives_it() {
    let place = Place::new();
    let child = driven(&place, "  - long: { wait: PT1H }\n");
    let said = place.aosctl("suspend w.aos k").exits(0);
    assert_eq!(said.json()["taken"], true);
    let said = Said::new("run", child.wait_with_output().unwrap());
    assert_eq!(said.json()["status"], "suspended");
    let said = place.aosctl("suspend w.aos k").exits(0);
    assert_eq!(said.json()["already"], true);
    place.aosctl("replay w.aos").exits(0);
}
