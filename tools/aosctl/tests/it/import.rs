//! `import`: recorded runs of another engine come in, and are runs like others.

use crate::harness::{Place, number, text};

/// A directory with the histories of `tools/import` in it.
fn place() -> Place {
    let place = Place::new();
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../import/tests/data");
    for name in [
        "go_workflow1",
        "go_bad-history",
        "go_upsert-memo-workflow",
        "go_bad-upsert-memo-workflow",
    ] {
        let file = format!("{name}.json");
        place.write(&file, std::fs::read(format!("{dir}/{file}")).unwrap());
    }
    place
}

#[test]
fn a_history_is_imported_once_and_shown_verified_and_not_executed() {
    let place = place();
    let import = "import temporal go_workflow1.json --log t.aos --key k -o json";
    let first = &place.aosctl(import).exits(0).json()[0];
    assert_eq!(text(first, "state"), "new");
    assert_eq!(
        (number(first, "events"), number(first, "appended")),
        (25, 27)
    );
    let again = &place.aosctl(import).exits(0).json()[0];
    assert_eq!(text(again, "state"), "unchanged");
    assert_eq!(number(again, "appended"), 0);

    place.aosctl("verify t.aos").exits(0);
    let replay = place.aosctl("replay t.aos -o json").exits(7).json();
    assert_eq!(text(&replay, "determinism"), "not_checked");
    assert_eq!(text(&replay["findings"][0], "code"), "AOS-R027");
    let shown = place.aosctl("show t.aos k -o table").exits(0).stdout;
    for part in [
        "event 7",
        "/ActivityTaskScheduled/helloworldActivity",
        "temporal/Workflow1",
    ] {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
}

#[test]
fn another_history_under_the_same_key_is_refused_by_its_event() {
    let place = place();
    place
        .aosctl("import temporal go_upsert-memo-workflow.json --log t.aos --key k")
        .exits(0);
    place
        .aosctl("import temporal go_bad-upsert-memo-workflow.json --log t.aos --key k")
        .exits(3)
        .fails_with(
            "AOS-I005",
            &["event 12, WorkflowExecutionCompleted differs"],
        );
}

#[test]
fn resume_leaves_an_open_imported_run_alone() {
    let place = place();
    place
        .aosctl("import temporal go_bad-history.json --log t.aos --key k")
        .exits(0);
    let resumed = place.aosctl("resume t.aos").exits(0);
    assert!(
        resumed.stderr.contains("no run of t.aos is open"),
        "{resumed:?}"
    );
    place
        .aosctl("resume t.aos k")
        .exits(7)
        .fails_with("AOS-E011", &["imported from temporal"]);
}

#[test]
fn a_file_that_is_no_history_is_refused_with_its_place_and_makes_no_log() {
    let place = place();
    place.write("cut.json", "{\"events\": [{\"eventId\": \"1\"");
    place
        .aosctl("import temporal go_workflow1.json cut.json --log t.aos")
        .exits(5)
        .fails_with(
            "AOS-I001",
            &["at: cut.json, line 1, column 28, byte 27, /events/0"],
        );
    place
        .aosctl("import temporal go_workflow1.json go_bad-history.json --log t.aos --key k")
        .exits(2)
        .fails_with("AOS-C001", &["names 2 runs"]);
    assert!(!place.path("t.aos").exists());
}

#[test]
fn the_table_of_what_counts_is_printed() {
    let place = Place::new();
    for explain in ["import --explain", "import temporal --explain"] {
        let rows = place.aosctl(&format!("{explain} -o json")).exits(0).json();
        let rule = |table: &str, attribute: &str| {
            let rows = rows.as_array().unwrap().iter();
            let row = rows
                .clone()
                .find(|row| row["where"] == table && row["attribute"] == attribute);
            text(row.unwrap(), "rule")
        };
        assert_eq!(rule("WorkflowTaskCompleted", "binaryChecksum"), "volatile");
        assert_eq!(rule("ActivityTaskScheduled", "activityId"), "hashed");
        assert_eq!(rule("event", "taskId"), "volatile");
    }
    let told = place.aosctl("import --explain -o table").exits(0).stdout;
    assert!(
        told.contains("what no table names is hashed as it stands"),
        "{told}"
    );
}

#[test]
fn lines_come_in_by_their_mapping() {
    let place = Place::new();
    place.write(
        "trace.jsonl",
        "{\"kind\":\"call\",\"tool\":\"search\",\"q\":1,\"at\":5}\n{\"kind\":\"stop\"}\n",
    );
    place
        .aosctl("import jsonl trace.jsonl --log t.aos --key k --type kind --subject tool --volatile at --end stop")
        .exits(0);
    let runs = &place.aosctl("runs t.aos -o json").exits(0).json()[0];
    assert_eq!(
        (text(runs, "status"), text(runs, "namespace")),
        ("completed".into(), "jsonl".into())
    );
    let shown = place.aosctl("show t.aos k -o jsonl").exits(0).lines();
    assert_eq!(text(&shown[1], "activation"), "/call/search");
    assert_eq!(
        shown[1]["values"]["data"],
        serde_json::json!({"q": 1, "tool": "search"})
    );
    place
        .aosctl("import jsonl trace.jsonl --log t.aos --type kind")
        .exits(2)
        .fails_with("AOS-I004", &["neither a workflow id nor a run id"]);
}

#[test]
fn twins_are_compared_and_the_report_is_one_html_file() {
    let place = place();
    for (file, log) in [
        ("go_bad-upsert-memo-workflow", "bad.aos"),
        ("go_upsert-memo-workflow", "good.aos"),
    ] {
        place
            .aosctl(&format!("import temporal {file}.json --log {log} --key k"))
            .exits(0);
    }
    let report = place
        .aosctl("diff bad.aos good.aos --html report.html -o json")
        .exits(1)
        .json();
    assert_eq!(text(&report, "verdict"), "differ");
    let page = std::fs::read_to_string(place.path("report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for part in ["WorkflowExecutionCompleted", "id=\"report\"", "aos.diff.v1"] {
        assert!(page.contains(part), "no {part} in the page");
    }
    place
        .aosctl("diff bad.aos good.aos --html no/such/dir.html")
        .exits(4)
        .fails_with("AOS-C002", &["cannot write no/such/dir.html"]);
}
