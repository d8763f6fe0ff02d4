//! What the commands do when nothing is wrong, and their exit codes.

use crate::harness::{Place, number, text};

/// Fields that `run -o json` promises.
const RUN_FIELDS: [&str; 14] = [
    "schema",
    "log",
    "runs",
    "completed",
    "faulted",
    "waiting",
    "held",
    "cancelled",
    "steps",
    "events",
    "digest",
    "durable_offset",
    "elapsed_s",
    "failed",
];
/// Those of a single run.
const SINGLE_FIELDS: [&str; 5] = ["run", "status", "output", "error", "history_digest"];
/// Fields that `replay -o json` promises.
const REPLAY_FIELDS: [&str; 15] = [
    "schema",
    "verdict",
    "integrity",
    "determinism",
    "sealed_through",
    "runs",
    "open",
    "events",
    "steps",
    "bytes",
    "mismatches",
    "findings",
    "digest",
    "workers",
    "elapsed_s",
];

fn has_fields(value: &serde_json::Value, fields: &[&str]) {
    for field in fields {
        assert!(value.get(field).is_some(), "no {field} in {value}");
    }
}

#[test]
fn one_run_tells_its_output_and_everything_that_was_promised() {
    let place = Place::new();
    let said = place
        .aosctl(r#"-o json run hello.yaml --log h.aos --input {"name":"Ada"}"#)
        .exits(0)
        .json();
    has_fields(&said, &RUN_FIELDS);
    has_fields(&said, &SINGLE_FIELDS);
    assert_eq!(said["schema"], "aos.run.v1");
    assert_eq!(said["output"]["greeting"], "hello Ada");
    assert_eq!(
        (
            number(&said, "runs"),
            number(&said, "completed"),
            number(&said, "steps")
        ),
        (1, 1, 1)
    );
    assert_eq!(text(&said, "status"), "completed");
}

#[test]
fn the_same_command_again_runs_nothing_and_tells_the_same() {
    let place = Place::new();
    let command = r#"-o json run hello.yaml --log h.aos --input {"name":"Ada"} --key a"#;
    let first = place.aosctl(command).exits(0).json();
    let again = place.aosctl(command).exits(0).json();
    for field in [
        "run",
        "output",
        "history_digest",
        "digest",
        "steps",
        "events",
    ] {
        assert_eq!(first[field], again[field], "{field}");
    }
    let rows = place.aosctl("runs h.aos").exits(0).lines();
    assert_eq!(rows.len(), 1);
}

#[test]
fn a_run_that_fails_is_exit_1_with_problem_details() {
    let place = Place::new();
    let said = place
        .aosctl("-o json run fault.yaml --log f.aos")
        .exits(1)
        .json();
    assert_eq!(
        (text(&said, "status"), number(&said, "faulted")),
        ("faulted".into(), 1)
    );
    assert_eq!(
        (
            said["error"]["status"].as_u64(),
            said["error"]["instance"].as_str()
        ),
        (Some(400), Some("/do/0/fail"))
    );
}

#[test]
fn many_runs_are_a_line_each_and_then_the_summary() {
    let place = Place::new();
    place.applications(20);
    let said = place
        .aosctl("-o jsonl run loan.yaml --log l.aos --inputs applications.jsonl --seed 7")
        .exits(0)
        .lines();
    assert_eq!(said.len(), 21);
    let mut lines: Vec<u64> = said[..20].iter().map(|row| number(row, "line")).collect();
    lines.sort();
    assert_eq!(lines, (1..=20).collect::<Vec<_>>());
    let summary = &said[20];
    has_fields(summary, &RUN_FIELDS);
    assert_eq!(number(summary, "completed"), 20);
    let steps: u64 = said[..20].iter().map(|row| number(row, "steps")).sum();
    assert_eq!(number(summary, "steps"), steps);
}

#[test]
fn gzip_and_standard_input_and_workers_change_no_digest_and_another_seed_does() {
    use std::io::Write;
    let place = Place::new();
    place.applications(30);
    let plain = std::fs::read(place.path("applications.jsonl")).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    let gzip = encoder.finish().unwrap();
    place.write("applications.jsonl.gz", &gzip);
    let digest = |said: crate::harness::Said| text(&said.exits(0).json(), "digest");
    let expected =
        digest(place.aosctl(
            "-o json run loan.yaml --log a --inputs applications.jsonl --seed 7 --workers 1",
        ));
    let zipped = digest(place.aosctl(
        "-o json run loan.yaml --log b --inputs applications.jsonl.gz --seed 7 --workers 2",
    ));
    let piped = digest(place.aosctl_reads(
        "-o json run loan.yaml --log c --inputs - --seed 7 --workers 3",
        &gzip,
    ));
    let other =
        digest(place.aosctl("-o json run loan.yaml --log d --inputs applications.jsonl --seed 8"));
    assert_eq!((&zipped, &piped), (&expected, &expected));
    assert_ne!(other, expected);
}

#[test]
fn without_a_seed_the_logs_first_one_is_used_again() {
    let place = Place::new();
    place.applications(5);
    let command = "-o json run loan.yaml --log l.aos --inputs applications.jsonl";
    let first = text(&place.aosctl(command).exits(0).json(), "digest");
    assert_eq!(
        text(&place.aosctl(command).exits(0).json(), "digest"),
        first
    );
    let other = text(
        &place
            .aosctl(&command.replace("l.aos", "m.aos"))
            .exits(0)
            .json(),
        "digest",
    );
    assert_ne!(other, first, "another log has another random seed");
}

#[test]
fn replay_makes_everything_again_and_says_so_in_the_same_words_at_any_number_of_workers() {
    let place = Place::new();
    place.applications(10);
    let ran = place
        .aosctl("-o json run loan.yaml --log l.aos --inputs applications.jsonl --seed 7")
        .exits(0)
        .json();
    let mut reports = Vec::new();
    for workers in [1, 2, 5] {
        let mut report = place
            .aosctl(&format!("-o json replay l.aos --workers {workers}"))
            .exits(0)
            .json();
        has_fields(&report, &REPLAY_FIELDS);
        assert_eq!(
            (text(&report, "schema"), text(&report, "verdict")),
            ("aos.replay.v1".into(), "match".into())
        );
        assert_eq!(
            (&report["digest"], &report["steps"]),
            (&ran["digest"], &ran["steps"])
        );
        report
            .as_object_mut()
            .unwrap()
            .retain(|name, _| name != "workers" && name != "elapsed_s");
        reports.push(report);
    }
    assert!(reports.windows(2).all(|pair| pair[0] == pair[1]));
    let verified = place.aosctl("-o json verify l.aos").exits(0).json();
    assert_eq!(
        (text(&verified, "verdict"), text(&verified, "determinism")),
        ("verified".into(), "not_checked".into())
    );
}

#[test]
fn a_key_with_something_else_is_a_conflict_that_names_it() {
    let place = Place::new();
    place
        .aosctl(r#"run hello.yaml --log h.aos --key a --input {"name":"Ada"} --seed 1"#)
        .exits(0);
    let conflict = |arguments: &str, differs: &str| {
        let said = place.aosctl(arguments).exits(3);
        said.fails_with(
            "AOS-E002",
            &[&format!("another {differs}"), "--on-conflict"],
        );
    };
    conflict(
        r#"run hello.yaml --log h.aos --key a --input {"name":"Bob"} --seed 1"#,
        "input",
    );
    conflict(
        r#"run hello.yaml --log h.aos --key a --input {"name":"Ada"} --seed 2"#,
        "seed",
    );
    place.write(
        "hello2.yaml",
        crate::harness::HELLO.replace("hello \"", "hi \""),
    );
    conflict(
        r#"run hello2.yaml --log h.aos --key a --input {"name":"Ada"} --seed 1"#,
        "workflow",
    );

    let existing = r#"-o json run hello.yaml --log h.aos --key a --input {"name":"Bob"} --seed 1 --on-conflict existing"#;
    assert_eq!(
        place.aosctl(existing).exits(0).json()["output"]["greeting"],
        "hello Ada"
    );
    let generation = existing.replace("existing", "new-generation");
    assert_eq!(
        place.aosctl(&generation).exits(0).json()["output"]["greeting"],
        "hello Bob"
    );
    assert_eq!(place.aosctl("runs h.aos").exits(0).lines().len(), 2);
}

#[test]
fn keys_come_from_an_expression_and_name_runs() {
    let place = Place::new();
    place.write(
        "names.jsonl",
        "{\"name\":\"Ada\",\"id\":1}\n{\"name\":\"Bob\",\"id\":2}\n",
    );
    place
        .aosctl("run hello.yaml --log h.aos --inputs names.jsonl --key-by .name")
        .exits(0);
    let shown = place.aosctl("-o json show h.aos Bob").exits(0).json();
    assert_eq!(shown["key"], "Bob");
    let history = shown["history"].as_array().unwrap();
    assert_eq!(history.len(), 3);
    assert_eq!(
        (&history[1]["kind"], &history[1]["activation"]),
        (&"STEP".into(), &"/do/0/greet".into())
    );
    assert_eq!(history[1]["values"]["output"]["greeting"], "hello Bob");
    let run = text(&shown, "run");
    for name in [run.as_str(), &run[..6], &run.to_uppercase()] {
        assert_eq!(
            place
                .aosctl(&format!("-o json show h.aos {name}"))
                .exits(0)
                .json()["key"],
            "Bob"
        );
    }
}

#[test]
fn numbers_are_keys_too() {
    let place = Place::new();
    place.write("names.jsonl", "{\"id\":1.0}\n{\"id\":2}\n");
    place
        .aosctl("run hello.yaml --log h.aos --inputs names.jsonl --key-by .id")
        .exits(0);
    place.aosctl("show h.aos 1").exits(0);
    place.aosctl("show h.aos 2").exits(0);
}

#[test]
fn the_key_of_a_single_run_can_come_from_an_expression_too() {
    let place = Place::new();
    place
        .aosctl("run hello.yaml --log h.aos --input {\"name\":\"ada\"} --key-by .name")
        .exits(0);
    place.aosctl("show h.aos ada").exits(0);
    place
        .aosctl("run hello.yaml --log n.aos --input {\"name\":[1]} --key-by .name")
        .exits(2)
        .fails_with("AOS-C007", &["--key-by", "[1]"]);
    assert!(!place.path("n.aos").exists());
}

#[test]
fn runs_are_listed_in_the_order_they_started_and_filtered() {
    let place = Place::new();
    place
        .aosctl("run hello.yaml --log h.aos --key first")
        .exits(0);
    place
        .aosctl("run fault.yaml --log h.aos --key second")
        .exits(1);
    let keys = |arguments: &str| -> Vec<String> {
        place
            .aosctl(arguments)
            .exits(0)
            .lines()
            .iter()
            .map(|row| text(row, "key"))
            .collect()
    };
    assert_eq!(keys("runs h.aos"), ["first", "second"]);
    assert_eq!(keys("runs h.aos --status faulted"), ["second"]);
    assert_eq!(keys("runs h.aos --limit 1"), ["first"]);
    assert_eq!(keys("runs h.aos --status held"), [""; 0]);
}

#[test]
fn checkpoints_are_taken_as_often_as_asked_and_change_no_digest() {
    let place = Place::new();
    place.write(
        "loop.yaml",
        "
document: {dsl: '1.0.3', namespace: tests, name: loop, version: '1.0.0'}
do:
  - walk: {for: {each: i, in: '${ [range(1000)] }'}, do: [{add: {set: '${ {n: (.n + $i)} }'}}]}
",
    );
    let run = |log: &str, every: u64| {
        let command = format!(
            "-o json run loop.yaml --log {log} --key k --seed 7 --checkpoint-every {every}"
        );
        text(&place.aosctl(&command).exits(0).json(), "digest")
    };
    assert_eq!(run("often.aos", 100), run("never.aos", 0));
    let rows = place.aosctl("checkpoint ls often.aos k").exits(0).lines();
    assert!(rows.len() >= 3, "{rows:?}");
    assert!(
        rows.windows(2)
            .all(|pair| number(&pair[1], "steps") >= number(&pair[0], "steps") + 100),
        "{rows:?}"
    );
    assert!(
        place
            .aosctl("checkpoint ls never.aos")
            .exits(0)
            .lines()
            .is_empty()
    );
    place.aosctl("replay often.aos").exits(0);
}

#[test]
fn an_export_has_a_line_for_each_record_with_all_fields() {
    let place = Place::new();
    place
        .aosctl("run hello.yaml --log h.aos --seed 1 --key a")
        .exits(0);
    place
        .aosctl("run fault.yaml --log h.aos --seed 1 --key b")
        .exits(1);
    let said = place.aosctl("log export h.aos").exits(0);
    let records = said.lines();
    for field in [
        "offset",
        "stream",
        "run",
        "lane",
        "seq",
        "kind",
        "step",
        "activation",
        "attempt",
        "prev_offset",
        "history_digest",
        "canonical",
        "values",
    ] {
        assert!(
            records.iter().all(|record| record.get(field).is_some()),
            "{field}"
        );
    }
    assert_eq!(
        records.len(),
        place.aosctl("log cat h.aos").exits(0).lines().len()
    );
    let seed = records
        .iter()
        .find(|record| record["kind"] == "SEED")
        .unwrap();
    let with_seeds = place.aosctl("log export h.aos --with-seeds").exits(0);
    assert!(
        said.stdout.len() < with_seeds.stdout.len(),
        "seeds are left out unless asked for: {seed}"
    );
    let only = place.aosctl("log export h.aos --run a").exits(0).lines();
    assert!(only.len() == 3 && only.iter().all(|record| record["run"] == only[0]["run"]));
}

#[test]
fn stat_and_cat_tell_what_a_log_holds() {
    let place = Place::new();
    place
        .aosctl("run hello.yaml --log h.aos --stride 4K --seed 1")
        .exits(0);
    let stat = place.aosctl("-o json log stat h.aos").exits(0).json();
    assert_eq!(
        (
            number(&stat, "stride"),
            number(&stat, "steps"),
            number(&stat, "runs")
        ),
        (4096, 1, 1)
    );
    assert!(
        number(&stat, "segments") >= 1
            && number(&stat, "durable_offset") <= number(&stat, "end_offset")
    );
    let records = place.aosctl("-o jsonl log cat h.aos").exits(0).lines();
    let kinds: Vec<&str> = records
        .iter()
        .map(|row| row["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["OPEN", "DEFINITION", "SEED", "START", "STEP", "END", "SEAL"]
    );
    assert_eq!(number(&stat, "records"), kinds.len() as u64);
    let table = place.aosctl("-o table log cat h.aos").exits(0).stdout;
    assert_eq!(table.lines().count(), 1 + kinds.len());
}

#[test]
fn the_time_can_be_fixed_and_waits_skipped() {
    let place = Place::new();
    place.write(
        "now.yaml",
        "
document: {dsl: '1.0.3', namespace: tests, name: now, version: '1.0.0'}
do:
  - first: {set: {at: '${ now | floor }'}}
  - pause: {wait: {hours: 2}}
  - second: {set: {first: '${ .at }', second: '${ now | floor }'}}
",
    );
    let said = place
        .aosctl("-o json run now.yaml --log n.aos --now 1970-01-01T00:00:10Z --clock virtual")
        .exits(0)
        .json();
    assert_eq!(
        said["output"],
        serde_json::json!({"first": 10, "second": 7210})
    );
    place.aosctl("replay n.aos").exits(0);
}

#[test]
fn the_catalogue_can_be_lost_or_garbled_and_is_made_again() {
    let place = Place::new();
    place.applications(5);
    let command = "-o json run loan.yaml --log l.aos --inputs applications.jsonl --seed 7";
    let digest = text(&place.aosctl(command).exits(0).json(), "digest");
    let harm: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes.clear(),
        |bytes| bytes.fill(0x5a),
        |bytes| bytes.truncate(5000),
    ];
    for harm in harm {
        place.change("l.aos/catalog.redb", harm);
        place
            .aosctl("log fsck l.aos")
            .exits(5)
            .fails_with("AOS-C018", &["--rebuild-catalog"]);
        place.aosctl("log fsck l.aos --rebuild-catalog").exits(0);
        place.aosctl("log fsck l.aos").exits(0);
        place.change("l.aos/catalog.redb", harm);
        assert_eq!(
            text(&place.aosctl(command).exits(0).json(), "digest"),
            digest,
            "the next opening mends it too"
        );
    }
    std::fs::remove_file(place.path("l.aos/catalog.redb")).unwrap();
    place.aosctl("log fsck l.aos").exits(0);
    assert_eq!(
        text(&place.aosctl(command).exits(0).json(), "digest"),
        digest
    );
}

#[test]
fn the_demo_shows_everything_in_less_than_forty_lines() {
    let place = Place::new();
    let said = place.aosctl("demo --dir demo").exits(0);
    assert!(said.stdout.lines().count() < 40, "{}", said.stdout);
    for expected in [
        "kill -9",
        "digest",
        "match:",
        "verdict corrupt",
        "offset",
        "run ",
        "step",
        "aosctl replay demo/flipped.aos",
    ] {
        assert!(
            said.stdout.contains(expected),
            "no {expected} in\n{}",
            said.stdout
        );
    }
    place.aosctl("replay demo/loans.aos").exits(0);
    place.aosctl("replay demo/flipped.aos").exits(5);
    place
        .aosctl("demo --dir demo")
        .exits(3)
        .fails_with("AOS-C013", &["not empty"]);
}
