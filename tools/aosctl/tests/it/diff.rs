//! Comparing logs from the command line: exit codes, and what is said in at most 40 lines.

use crate::harness::{LOAN, Place};

/// Two logs of the same applications, the second by a workflow in which one rule is another.
fn two_logs(place: &Place) {
    place.applications(6);
    place.write(
        "changed.yaml",
        LOAN.replace("kinds: {A: 0, O: 0, W: 0}", "kinds: {A: 1, O: 0, W: 0}"),
    );
    for (workflow, log) in [("loan.yaml", "a.aos"), ("changed.yaml", "b.aos")] {
        place
            .aosctl(&format!(
                "run {workflow} --log {log} --inputs applications.jsonl --seed 7 --stride 1M"
            ))
            .exits(0);
    }
}

#[test]
fn a_changed_rule_is_found_in_every_run_and_proven() {
    let place = Place::new();
    two_logs(&place);
    let said = place.aosctl("diff a.aos b.aos -o json").exits(1);
    let report: serde_json::Value = serde_json::from_str(said.stdout.trim()).unwrap();
    assert_eq!(report["pairs"], 6);
    assert_eq!(report["differ"], 6);
    let group = &report["groups"][0];
    assert_eq!(group["causes"], "CODE_DRIFT CONFIRMED");
    assert_eq!(group["step"], "begin");
    assert_eq!(group["path"], "output/kinds/A");
    let said = place.aosctl("diff a.aos:3 b.aos -o table").exits(1);
    assert!(said.stdout.lines().count() <= 40, "{}", said.stdout);
    for part in [
        "CODE_DRIFT CONFIRMED",
        "steps: begin changed",
        "byte for byte",
        "output/kinds/A",
    ] {
        assert!(said.stdout.contains(part), "{part}:\n{}", said.stdout);
    }
}

#[test]
fn exit_codes_say_how_a_comparison_went() {
    let place = Place::new();
    two_logs(&place);
    place.aosctl("diff a.aos a.aos").exits(0);
    place.aosctl("diff a.aos:1 b.aos").exits(1);
    place.aosctl("diff a.aos:1 a.aos --ignore /").exits(2);
    place.aosctl("diff a.aos:nobody b.aos").exits(4);
    place.aosctl("diff a.aos nowhere.aos").exits(4);
    let segment = place.path("b.aos/segments/00000000000000000000.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[9_000] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let said = place.aosctl("diff a.aos:1 b.aos -o table").exits(5);
    assert!(
        said.stdout.contains("LOG_CORRUPTION CONFIRMED"),
        "{}",
        said.stdout
    );
}

#[test]
fn what_if_leaves_the_log_alone_and_shows_the_reach() {
    let place = Place::new();
    two_logs(&place);
    let said = place
        .aosctl("whatif a.aos 1 --set sample.output={\"audit\":true} --log if.aos -o json")
        .exits(1);
    let report: serde_json::Value = serde_json::from_str(said.stdout.trim()).unwrap();
    assert_eq!(
        report["first"]["event"]["b"]["step"],
        serde_json::Value::Null
    );
    assert_eq!(report["first"]["event"]["b"]["activation"], "/do/5/sample");
    place.aosctl("verify if.aos").exits(0);
    place.aosctl("verify a.aos").exits(0);
    place
        .aosctl("whatif a.aos 1 --set nobody.output=1 --log other.aos")
        .exits(5);
    place.aosctl("bisect a.aos 1 --test true").exits(0);
    place
        .aosctl("bisect a.aos 1 --test .data.amount==null")
        .exits(1);
    place.aosctl("perturb loan.yaml --input {}").exits(0);
    place.aosctl("summary . -o json").exits(1);
}

#[test]
fn an_archive_is_compared_as_the_log_it_was_made_from_and_a_changed_one_never() {
    let place = Place::new();
    two_logs(&place);
    place.aosctl("key new gold.key --name gold").exits(0);
    for (name, seeds) in [("a", "--with-seeds"), ("without", "")] {
        place
            .aosctl(&format!(
                "golden seal a.aos --all {seeds} --key gold.key --out {name}.golden"
            ))
            .exits(0);
    }
    let logs = place.aosctl("diff a.aos:3 b.aos -o json").exits(1).json();
    let archive = place
        .aosctl("diff a.golden:3 b.aos -o json")
        .exits(1)
        .json();
    for field in ["verdict", "first", "fields", "causes", "alignment"] {
        assert_eq!(archive[field], logs[field], "{field}");
    }
    assert_eq!(archive["a"]["authenticated"], "carrier");
    place.aosctl("diff a.golden a.aos").exits(0);
    // Without the seed no run can be made again, and nothing is called confirmed.
    let seedless = place
        .aosctl("diff without.golden:3 b.aos -o json")
        .exits(1)
        .json();
    let cause = &seedless["causes"][0];
    assert_eq!(cause["status"], "CONSISTENT");
    assert_eq!(cause["missing"][0], "the root seed of the run");
    let path = place.path("a.golden");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    place.write("changed.golden", bytes);
    let said = place.aosctl("diff changed.golden:3 b.aos").exits(5);
    assert!(said.stderr.contains("AOS-G"), "{}", said.stderr);
}

#[test]
fn a_map_without_runs_is_no_agreement() {
    let place = Place::new();
    two_logs(&place);
    place.write("map.txt", "\n");
    let said = place.aosctl("diff a.aos b.aos --map map.txt").exits(2);
    assert!(said.stderr.contains("names no runs"), "{}", said.stderr);
}

#[test]
fn a_summary_tells_what_it_cannot_read_and_a_log_alone_is_no_agreement() {
    let place = Place::new();
    let run = "run hello.yaml --log a.aos --seed 7 --input {\"name\":\"Ada\"}";
    place.aosctl(run).exits(0);
    place
        .aosctl("key new gold.key --name example.org/gold")
        .exits(0);
    place
        .aosctl("golden seal a.aos --all --key gold.key --out a.golden")
        .exits(0);
    std::fs::create_dir(place.path("one")).unwrap();
    std::fs::rename(place.path("a.golden"), place.path("one/a.golden")).unwrap();
    place.aosctl("summary one -o json").exits(7);

    place
        .aosctl("golden seal a.aos --all --key gold.key --out one/b.golden")
        .exits(0);
    place.write("one/notes.txt", "not a log");
    let said = place.aosctl("summary one -o json").exits(0);
    assert!(
        said.stderr
            .contains("skipped, neither a log nor an archive"),
        "{}",
        said.stderr
    );
    let path = place.path("one/b.golden");
    let writable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&path, writable).unwrap();
    place.change("one/b.golden", |bytes| {
        let at = bytes.windows(9).position(|w| w == b"hello Ada").unwrap();
        bytes[at] ^= 1;
    });
    let said = place.aosctl("summary one -o json").exits(5);
    assert!(said.stderr.contains("b.golden"), "{}", said.stderr);
}

#[test]
fn causes_that_meet_in_start_say_that_they_were_exchanged_together() {
    let place = Place::new();
    for (name, seed, log) in [
        ("Ada", 7, "a.aos"),
        ("Bob", 8, "b.aos"),
        ("Bob", 7, "c.aos"),
    ] {
        let run = "run hello.yaml --key k";
        place
            .aosctl(&format!(
                "{run} --log {log} --seed {seed} --input {{\"name\":\"{name}\"}}"
            ))
            .exits(0);
    }
    let exchanged = |other: &str| -> Vec<String> {
        let said = place
            .aosctl(&format!("diff a.aos {other} -o json"))
            .exits(1);
        let report = said.json();
        let causes = report["causes"].as_array().unwrap().iter();
        causes
            .map(|cause| {
                assert_eq!(cause["status"], "CONFIRMED", "{cause}");
                cause["experiment"]["exchanged"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    let both = "the second side's seed, together with the second side's input";
    assert_eq!(exchanged("b.aos"), [both, both]);
    assert_eq!(exchanged("c.aos"), ["the second side's input"]);
}

#[test]
fn a_cent_is_no_rounding() {
    let place = Place::new();
    place.write(
        "sum.yaml",
        "document: {dsl: 1.0.0, namespace: t, name: sum, version: 1.0.0}\ndo:\n- total:\n    set: {sum: 100000000.01}\n",
    );
    place
        .aosctl("run sum.yaml --log a.aos --seed 7 --key k")
        .exits(0);
    place
        .aosctl("whatif a.aos k --set total.output={\"sum\":100000000.02} --log b.aos -o json")
        .exits(1);
    let report = place.aosctl("diff a.aos b.aos -o json").exits(1).json();
    let classes: Vec<&str> = report["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| cause["class"].as_str().unwrap())
        .collect();
    assert!(
        !classes.is_empty() && !classes.contains(&"FLOAT_DRIFT"),
        "{classes:?}"
    );
}

#[test]
fn runs_recorded_as_digests_are_shown_and_compared_like_others() {
    let place = Place::new();
    two_logs(&place);
    for (workflow, log) in [("loan.yaml", "c.aos"), ("changed.yaml", "d.aos")] {
        place
            .aosctl(&format!(
                "run {workflow} --log {log} --inputs applications.jsonl --seed 7 --stride 1M --record digests"
            ))
            .exits(0);
    }
    place.aosctl("replay d.aos").exits(0);
    let report = |sides: &str| -> serde_json::Value {
        let said = place.aosctl(&format!("diff {sides} -o json")).exits(1);
        serde_json::from_str(said.stdout.trim()).unwrap()
    };
    let (values, digests) = (report("a.aos b.aos"), report("c.aos d.aos"));
    for part in ["pairs", "differ"] {
        assert_eq!(values[part], digests[part]);
    }
    for part in ["causes", "step", "path", "pairs"] {
        assert_eq!(values["groups"][0][part], digests["groups"][0][part]);
    }
    assert_eq!(
        report("a.aos:3 b.aos")["fields"],
        report("c.aos:3 d.aos")["fields"]
    );
    let shown = place.aosctl("show c.aos 3 -o json").exits(0);
    assert!(shown.stderr.contains("were made again"), "{}", shown.stderr);
    let values = |text: &str| -> Vec<serde_json::Value> {
        let shown: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        let history = shown["history"].as_array().unwrap();
        history
            .iter()
            .map(|record| record["values"].clone())
            .collect()
    };
    let stored = place.aosctl("show a.aos 3 -o json").exits(0);
    assert_eq!(values(&shown.stdout), values(&stored.stdout));
}
