//! Backups by command: taken beside a writer, continued, restored to the same digest.

use crate::harness::{Place, number, text};
use std::process::Stdio;

const RUN: &str =
    "run loan.yaml --log loans.aos --inputs applications.jsonl --seed 7 --stride 256K";

#[test]
fn a_restored_log_replays_to_the_same_digest() {
    let place = Place::new();
    place.applications(40).aosctl(RUN).exits(0);
    let said = place
        .aosctl("log backup loans.aos --out safe/loans.backup -o json")
        .exits(0);
    let report = said.json();
    assert_eq!(text(&report, "schema"), "aos.backup-report.v1");
    assert_eq!(number(&report, "copied"), number(&report, "bytes"));
    let digest = |log: &str| {
        let said = place.aosctl(&format!("replay {log} -o json")).exits(0);
        text(&said.json(), "digest")
    };
    let said = place
        .aosctl("log restore safe/loans.backup --log again.aos -o json")
        .exits(0);
    assert_eq!(said.json()["end_offset"], report["end_offset"]);
    assert_eq!(digest("again.aos"), digest("loans.aos"));
    // Up to the middle: a prefix, which resumes to the same end.
    let half = number(&report, "end_offset") / 2;
    let restore = format!("log restore safe/loans.backup --log half.aos --upto {half} -o json");
    let end = number(&place.aosctl(&restore).exits(0).json(), "end_offset");
    assert!(end <= half && end > 0, "{end} of {half}");
    let said = place.aosctl("replay half.aos -o json").exits(0).json();
    assert_eq!(text(&said, "integrity"), "intact");
    assert_ne!(text(&said, "digest"), digest("loans.aos"));
    place
        .aosctl(
            &RUN.replace("loans.aos", "half.aos")
                .replace(" --stride 256K", ""),
        )
        .exits(0);
    assert_eq!(digest("half.aos"), digest("loans.aos"));
    // Both went on: the backup knows which one it is of.
    place
        .aosctl("log backup half.aos --out safe/loans.backup")
        .exits(3)
        .fails_with("AOS-B002", &["safe/loans.backup"]);
    place
        .aosctl("log restore safe/loans.backup --log again.aos")
        .exits(3)
        .fails_with("AOS-B003", &["again.aos"]);
    place
        .aosctl("log restore loans.aos --log new.aos")
        .exits(4)
        .fails_with("AOS-B004", &["loans.aos"]);
    place
        .aosctl("log restore safe/loans.backup --log new.aos --upto 99999999")
        .exits(4)
        .fails_with("AOS-B005", &["99999999"]);
    place.change("safe/loans.backup/parts/00000000000000000000.seg", |b| {
        b[5000] ^= 1
    });
    place
        .aosctl("log restore safe/loans.backup --log new.aos")
        .exits(5)
        .fails_with("AOS-B001", &["parts/00000000000000000000.seg"]);
    place.change("safe/loans.backup/MANIFEST", |b| b[12] = b'2');
    place
        .aosctl("log backup loans.aos --out safe/loans.backup")
        .exits(7)
        .fails_with("AOS-B006", &["aos.backup.v2"]);
    assert!(!place.path("new.aos").exists());
}

#[test]
fn backups_beside_a_writer_are_prefixes_and_grow() {
    let place = Place::new();
    place.applications(2000);
    let mut child = place.start(RUN, Stdio::null());
    place.until(&mut child, "loans.aos", |log| {
        log.tail().is_ok_and(|tail| tail.group > 3)
    });
    let mut ends = Vec::new();
    for _ in 0..4 {
        let said = place
            .aosctl("log backup loans.aos --out loans.backup -o json")
            .exits(0);
        ends.push(number(&said.json(), "end_offset"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let said = place
        .aosctl("log backup loans.aos --out loans.backup --all -o json")
        .exits(0);
    ends.push(number(&said.json(), "end_offset"));
    assert!(ends.is_sorted(), "{ends:?}");
    // Each end was one that the writer had made durable: the log restored up to it is whole.
    for (index, end) in ends.iter().enumerate() {
        let log = format!("at-{index}.aos");
        let said = place.aosctl(&format!(
            "log restore loans.backup --log {log} --upto {end} -o json"
        ));
        assert_eq!(number(&said.exits(0).json(), "end_offset"), *end);
        let said = place
            .aosctl(&format!("verify {log} -o json"))
            .exits(0)
            .json();
        assert_eq!(text(&said, "integrity"), "intact", "{end}");
    }
    // The writer's log goes on from there, and so does the backup.
    place.aosctl("resume loans.aos").exits(0);
    place
        .aosctl("log backup loans.aos --out loans.backup")
        .exits(0);
}
