//! A damaged log by command: looked at, repaired, salvaged.

use crate::harness::{Place, number, text};
use std::path::Path;

const RUN: &str = "run loan.yaml --log loans.aos --inputs applications.jsonl --seed 7 --stride 64K";
const SECOND: &str = "loans.aos/segments/00000000000000065536.seg";

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    found.sort();
    found
}

/// A log of 40 runs in several segments, damaged in its second.
fn damaged() -> Place {
    let place = Place::new();
    place.applications(40).aosctl(RUN).exits(0);
    place.change(SECOND, |bytes| bytes[20_000] ^= 0x80);
    place
}

#[test]
fn a_salvaged_log_replays_and_says_what_is_missing() {
    let place = damaged();
    let before = files(&place.path("loans.aos/segments"));
    let whole = place.aosctl("log fsck loans.aos -o json").exits(5);
    assert!(
        whole
            .stderr
            .contains("aosctl log salvage loans.aos --out NEW")
    );
    let said = place
        .aosctl("log salvage loans.aos --out saved.aos -o json")
        .exits(7);
    let report = said.json();
    assert_eq!(text(&report, "schema"), "aos.salvage-report.v1");
    assert_eq!(report["whole"], false);
    assert_eq!(number(&report, "lost_ranges"), 1);
    let gaps = number(&report, "runs_gap") + number(&report, "runs_end_unproven");
    assert!(gaps >= 1 && number(&report, "runs_whole") >= 1, "{report}");
    assert_eq!(
        files(&place.path("loans.aos/segments")),
        before,
        "only read"
    );
    let replayed = place.aosctl("replay saved.aos -o json").exits(7).json();
    assert_eq!(text(&replayed, "integrity"), "gap");
    assert_eq!(number(&replayed, "mismatches"), 0);
    assert_eq!(replayed["findings"][0]["code"], "AOS-R019");
    // One for the log; one for each run of which there is a beginning to put a mark behind.
    let begun = report["runs_not_whole"].as_array().unwrap();
    let begun = begun.iter().filter(|run| number(run, "kept") > 0).count() as u64;
    assert_eq!(number(&replayed, "finding_count"), begun + 1);
    // Whole runs replay as they did; a run with a gap is not gone on with.
    for run in report["runs_not_whole"].as_array().unwrap() {
        let (id, kept) = (text(run, "run"), number(run, "kept"));
        let said = place.aosctl(&format!("resume saved.aos {id}"));
        match kept {
            0 => said.exits(4).fails_with("AOS-C009", &[&id]),
            _ => said.exits(3).fails_with("AOS-E012", &[&id]),
        };
    }
    let rows = place.aosctl("runs saved.aos -o jsonl").exits(0).lines();
    let done = rows
        .iter()
        .find(|row| row["status"] == "completed")
        .unwrap();
    let run = text(done, "run");
    let said = place.aosctl(&format!("replay saved.aos --run {run} -o json"));
    assert_eq!(text(&said.exits(7).json(), "determinism"), "match");
    place
        .aosctl("log salvage loans.aos --out saved.aos")
        .exits(3)
        .fails_with("AOS-B003", &["saved.aos"]);
}

#[test]
fn nothing_is_missing_from_the_salvage_of_a_whole_log() {
    let place = Place::new();
    place.applications(20).aosctl(RUN).exits(0);
    let said = place
        .aosctl("log salvage loans.aos --out saved.aos -o json")
        .exits(0)
        .json();
    let digest = |log: &str| {
        let said = place.aosctl(&format!("replay {log} -o json")).exits(0);
        text(&said.json(), "digest")
    };
    assert_eq!(digest("saved.aos"), digest("loans.aos"));
    assert_eq!(text(&said, "digest_of_whole"), digest("loans.aos"));
}

#[test]
fn a_repaired_log_opens_verifies_and_keeps_what_it_was() {
    let place = damaged();
    place.aosctl("resume loans.aos").exits(0);
    let before = files(&place.path("loans.aos/segments"));
    let said = place.aosctl("log fsck loans.aos --repair -o json").exits(0);
    let report = said.json();
    let repaired = &report["repaired"];
    assert!(number(repaired, "cut_records") > 0 && repaired["lost"][0]["bytes"].as_u64() > Some(0));
    assert_eq!(text(&report, "integrity"), "intact");
    let saved = files(&place.path(&format!("loans.aos/{}", text(repaired, "saved_in"))));
    for (name, bytes) in &before[1..before.len() - 1] {
        assert!(saved.contains(&(name.clone(), bytes.clone())), "{name}");
    }
    place.aosctl("replay loans.aos").exits(0);
    place.aosctl(&RUN.replace(" --stride 64K", "")).exits(0);
    place.aosctl("replay loans.aos").exits(0);
    let said = place.aosctl("log fsck loans.aos --repair").exits(0);
    assert!(said.stderr.contains("nothing to repair"), "{}", said.stderr);
    place.change("loans.aos/segments/00000000000000000000.seg", |bytes| {
        bytes[70] ^= 1
    });
    place
        .aosctl("log fsck loans.aos --repair")
        .exits(5)
        .fails_with("AOS-B010", &["first group"]);
}
