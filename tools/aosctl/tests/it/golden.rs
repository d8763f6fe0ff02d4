//! Golden archives on the command line: sealed, verified, attacked, signed again, proved, witnessed.

use crate::harness::{Place, number, text};
use std::os::unix::fs::PermissionsExt;

/// A log with two runs, two keys and an archive of everything.
pub fn sealed(seal: &str) -> Place {
    let place = Place::new();
    for name in ["Ada", "Bob"] {
        let command = format!(
            "run hello.yaml --log a.aos --seed 7 --key {name} --input {{\"name\":\"{name}\"}}"
        );
        place.aosctl(&command).exits(0);
    }
    place
        .aosctl("key new gold.key --name example.org/gold")
        .exits(0);
    place
        .aosctl("key new sign.key --name example.org/sign --alg ed25519")
        .exits(0);
    place
        .aosctl(&format!("golden seal a.aos --all --out a.golden {seal}"))
        .exits(0);
    place
}

/// What `verify_golden.py` says; `None`, and a line that tells of it, without Python.
fn verify_golden_py(place: &Place, arguments: &[&str]) -> Option<std::process::Output> {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/format/verify_golden.py"
    );
    let said = std::process::Command::new("python3")
        .arg(script)
        .args(arguments)
        .current_dir(place.path(""))
        .output()
        .ok();
    if said.is_none() {
        println!("skipped: there is no python3 here");
    }
    said
}

pub fn flip(place: &Place, file: &str, at: impl FnOnce(&[u8]) -> usize) {
    let path = place.path(file);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    place.change(file, |bytes| {
        let at = at(bytes);
        bytes[at] ^= 1;
    });
}

#[test]
fn sealed_with_a_mac_it_is_valid_and_a_changed_event_is_located() {
    let place = sealed("--key gold.key");
    let said = place
        .aosctl("golden verify a.golden --key gold.key -o json")
        .exits(0);
    assert_eq!(text(&said.json(), "verdict"), "valid");
    assert!(said.stderr.contains("no anchor"), "{}", said.stderr);
    flip(&place, "a.golden", |bytes| {
        bytes.windows(9).position(|w| w == b"hello Bob").unwrap()
    });
    let said = place
        .aosctl("golden verify a.golden --key gold.key -o json")
        .exits(5);
    assert_eq!(text(&said.json(), "verdict"), "corrupt");
    assert!(number(&said.json(), "good_records") > 3);
    assert!(said.stdout.contains("record "), "{}", said.stdout);
}

#[test]
fn sealed_with_a_signature_anybody_with_the_trust_file_can_verify_and_a_forged_one_is_found() {
    let place = sealed("--key sign.key");
    let trust = place.aosctl("key export-public sign.key").exits(0).stdout;
    assert!(!trust.contains("secret"));
    place.write("trust.json", &trust);
    place
        .aosctl("golden verify a.golden --trust trust.json")
        .exits(0);
    // Nobody named, nobody trusted.
    place.aosctl("golden verify a.golden").exits(3);
    flip(&place, "a.golden", |bytes| bytes.len() - 20);
    place
        .aosctl("golden verify a.golden --trust trust.json")
        .exits(5);
}

#[test]
fn compressed_it_verifies_and_a_flip_in_the_packed_bytes_is_found() {
    let place = sealed("--key gold.key --zstd");
    place
        .aosctl("golden verify a.golden --key gold.key")
        .exits(0);
    flip(&place, "a.golden", |_| 200);
    place
        .aosctl("golden verify a.golden --key gold.key")
        .exits(5);
}

#[test]
fn signed_again_both_keys_vouch_for_it_and_an_archive_that_is_not_valid_is_not_signed() {
    let place = sealed("--key gold.key");
    let before = std::fs::read(place.path("a.golden")).unwrap();
    let resign = "golden resign a.golden --old-key gold.key --new-key sign.key --reason rotation";
    place.aosctl(resign).exits(0);
    let after = std::fs::read(place.path("a.golden")).unwrap();
    assert_eq!(after[..before.len()], before);
    for key in ["gold.key", "sign.key"] {
        let said = place
            .aosctl(&format!("golden verify a.golden --key {key} -o json"))
            .exits(0);
        assert!(said.stdout.contains("rotation"));
    }
    place.aosctl("key new other.key").exits(0);
    place
        .aosctl("golden resign a.golden --old-key other.key --new-key sign.key --reason no")
        .exits(3)
        .fails_with("AOS-G004", &["old key"]);
    flip(&place, "a.golden", |_| 300);
    place.aosctl(resign).exits(5);
}

#[test]
fn a_rotated_key_signs_anew_and_the_old_one_still_verifies_what_it_signed() {
    let place = sealed("--key sign.key");
    place.aosctl("key rotate sign.key").exits(0);
    place
        .aosctl("golden verify a.golden --key sign.key")
        .exits(3);
    place
        .aosctl("golden verify a.golden --key sign.key.g1")
        .exits(0);
    let said = place.aosctl("key ls . -o jsonl").exits(0);
    assert_eq!(said.lines().len(), 3);
    place.aosctl("key new steps.key --forward-secure").exits(0);
    std::fs::copy(place.path("steps.key"), place.path("first.key")).unwrap();
    place.aosctl("key rotate steps.key").exits(0);
    place
        .aosctl("golden seal a.aos --all --out b.golden --key steps.key")
        .exits(0);
    // Whoever kept the first secret can follow; the later one cannot go back.
    place
        .aosctl("golden verify b.golden --key first.key")
        .exits(0);
    place
        .aosctl("golden seal a.aos --all --out c.golden --key first.key")
        .exits(0);
    place
        .aosctl("golden verify c.golden --key steps.key")
        .exits(3);
}

#[test]
fn a_key_that_others_can_open_or_that_is_a_link_is_refused() {
    let place = sealed("--key gold.key");
    std::os::unix::fs::symlink(place.path("gold.key"), place.path("link.key")).unwrap();
    place
        .aosctl("golden verify a.golden --key link.key")
        .exits(3)
        .fails_with("AOS-K001", &["symbolic link"]);
    let open = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(place.path("gold.key"), open).unwrap();
    place
        .aosctl("golden verify a.golden --key gold.key")
        .exits(3)
        .fails_with("AOS-K001", &["0640"]);
    let secret = std::fs::read(place.path("gold.key")).unwrap();
    place
        .aosctl_reads("golden verify a.golden --key -", &secret)
        .exits(0);
    let said = place.aosctl_reads("key show - -o json", &secret).exits(0);
    let file: serde_json::Value = serde_json::from_slice(&secret).unwrap();
    assert!(!said.stdout.contains(&text(&file, "secret")));
}

#[test]
fn an_event_is_proved_without_the_archive_and_a_changed_proof_is_refused() {
    let place = sealed("--key sign.key");
    let trust = place.aosctl("key export-public sign.key").exits(0).stdout;
    place.write("trust.json", &trust);
    let shown = place.aosctl("golden show a.golden -o json").exits(0).json();
    let head = number(&shown["runs"][0], "head");
    let proof = place
        .aosctl(&format!("golden prove a.golden --event {head}"))
        .exits(0)
        .stdout;
    place.write("event.tlog-proof", &proof);
    let said = place
        .aosctl("golden check-proof event.tlog-proof --trust trust.json -o json")
        .exits(0)
        .json();
    assert_eq!(number(&said, "offset"), head);
    assert_eq!(
        text(&said, "history_digest"),
        text(&shown["runs"][0], "history_digest")
    );
    place.write("bad.tlog-proof", proof.replacen("index ", "index 1", 1));
    place
        .aosctl("golden check-proof bad.tlog-proof --trust trust.json")
        .exits(5)
        .fails_with("AOS-G010", &[]);
    place
        .aosctl("golden prove a.golden --event 8")
        .exits(4)
        .fails_with("AOS-G009", &["offset 8"]);
}

#[test]
fn a_witness_cosigns_what_continues_and_refuses_what_forks() {
    let place = sealed("--key sign.key");
    let trust = place.aosctl("key export-public sign.key").exits(0).stdout;
    place.write("trust.json", &trust);
    place
        .aosctl("key new witness.key --alg ed25519 --name example.net/w")
        .exits(0);
    let head = |archive: &str, file: &str| {
        let text = place
            .aosctl(&format!("golden checkpoint {archive}"))
            .exits(0)
            .stdout;
        place.write(file, &text);
    };
    head("a.golden", "old.txt");
    place
        .aosctl("run hello.yaml --log a.aos --key Cy --input {\"name\":\"Cy\"}")
        .exits(0);
    place
        .aosctl("golden seal a.aos --all --out b.golden --key sign.key")
        .exits(0);
    head("b.golden", "new.txt");
    let witness = "witness --state seen.json --trust trust.json --key witness.key";
    let cosigned = place.aosctl(&format!("{witness} old.txt")).exits(0).stdout;
    assert_eq!(cosigned.matches("\u{2014} ").count(), 2);
    // Whoever names the witness has its line checked, by AOS and without it; it vouches for nothing by itself.
    let mut both: serde_json::Value = serde_json::from_str(&trust).unwrap();
    let public = place
        .aosctl("key export-public witness.key")
        .exits(0)
        .stdout;
    let public: serde_json::Value = serde_json::from_str(&public).unwrap();
    let entries = public["keys"].as_array().unwrap().iter();
    let seen: Vec<_> = entries
        .filter(|key| key["purpose"] == "witness")
        .cloned()
        .collect();
    assert_eq!(seen.len(), 1);
    both["keys"].as_array_mut().unwrap().extend(seen.clone());
    place.write("both.json", both.to_string());
    place.write(
        "alone.json",
        serde_json::json!({"schema": "aos.trust.v1", "keys": seen}).to_string(),
    );
    place.write("good.txt", &cosigned);
    let last = cosigned.trim_end().len() - 6;
    let other = if cosigned.as_bytes()[last] == b'A' {
        "B"
    } else {
        "A"
    };
    place.write(
        "bad.txt",
        [&cosigned[..last], other, &cosigned[last + 1..]].concat(),
    );
    for (trust, anchor, code) in [
        ("both", "good", 0),
        ("both", "bad", 5),
        ("alone", "good", 3),
    ] {
        place
            .aosctl(&format!(
                "golden verify a.golden --trust {trust}.json --anchor {anchor}.txt"
            ))
            .exits(code);
        let (trust, anchor) = (format!("{trust}.json"), format!("{anchor}.txt"));
        let arguments = ["a.golden", "--trust", &trust, "--anchor", &anchor];
        if let Some(said) = verify_golden_py(&place, &arguments) {
            assert_eq!(said.status.code(), Some(code), "{said:?}");
        }
    }
    place
        .aosctl(&format!("{witness} new.txt"))
        .exits(3)
        .fails_with("AOS-G012", &["nothing shows"]);
    let proof = place
        .aosctl("golden consistency b.golden --from old.txt")
        .exits(0)
        .stdout;
    place.write("proof.txt", &proof);
    place
        .aosctl("golden check-proof proof.txt --trust trust.json")
        .exits(0);
    place
        .aosctl(&format!("{witness} new.txt --proof proof.txt"))
        .exits(0);
    place
        .aosctl(&format!("{witness} old.txt"))
        .exits(3)
        .fails_with("AOS-G012", &["rolled back"]);
    place
        .aosctl("golden verify b.golden --trust trust.json --anchor old.txt")
        .exits(0);
    place
        .aosctl("golden verify a.golden --trust trust.json --anchor new.txt")
        .exits(7);
}

#[test]
fn a_redacted_archive_verifies_and_holds_neither_value_nor_salt() {
    let place = sealed("--key gold.key --with-seeds");
    let before = std::fs::read(place.path("a.golden")).unwrap();
    let contains = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|w| w == part);
    assert!(contains(&before, b"hello Bob"));
    let said = place
        .aosctl("golden redact a.golden --out cut.golden --run Bob --step greet --path $.output -o json")
        .exits(0)
        .json();
    assert!(number(&said, "values") >= 1);
    assert_eq!(number(&said, "seeds"), 1);
    place
        .aosctl("golden verify cut.golden --key gold.key")
        .exits(0);
    let after = std::fs::read(place.path("cut.golden")).unwrap();
    assert!(!contains(&after, b"hello Bob"));
    assert!(contains(&after, b"hello Ada"));
    // The name stands in the greeting too, and that is told.
    let said = place
        .aosctl("golden redact a.golden --out name.golden --run Bob --path $.input -o json")
        .exits(0)
        .json();
    let still: Vec<String> = said["still_in"]
        .as_array()
        .unwrap()
        .iter()
        .map(|at| text(at, "field"))
        .collect();
    assert!(still.contains(&"output".to_owned()), "{said}");
    place
        .aosctl("golden redact a.golden --out no.golden --run Bob --step nowhere")
        .exits(4)
        .fails_with("AOS-G009", &["nowhere"]);
}

/// Makes an archive look as old as that.
pub fn age(place: &Place, file: &str, days: u64) {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(days * 86_400 + 60);
    let file = std::fs::File::open(place.path(file)).unwrap();
    file.set_modified(then).unwrap();
}

#[test]
fn old_archives_are_packed_checked_cleaned_up_and_restored_and_no_last_copy_is_deleted() {
    let place = sealed("--key gold.key");
    std::fs::create_dir(place.path("gold")).unwrap();
    for (name, days) in [("a", 10), ("b", 10), ("young", 1)] {
        let file = format!("gold/{name}.golden");
        place
            .aosctl(&format!(
                "golden seal a.aos --all --out {file} --key gold.key"
            ))
            .exits(0);
        age(&place, &file, days);
    }
    let status = place.aosctl("golden status gold -o json").exits(0).json();
    assert_eq!(
        (number(&status, "archives"), number(&status, "older")),
        (3, 2)
    );
    // Nothing is packed yet: whatever is old is a last copy.
    let said = place.aosctl("golden cleanup gold --force -o json").exits(0);
    assert_eq!(said.json()["deleted"].as_array().unwrap().len(), 0);
    assert!(said.stdout.contains("last copy"), "{}", said.stdout);
    let said = place.aosctl("golden archive gold -o json").exits(0).json();
    let pack = text(&said, "pack");
    place.aosctl(&format!("golden verify {pack}")).exits(0);
    place
        .aosctl("golden cleanup gold")
        .exits(3)
        .fails_with("AOS-G013", &["confirm"]);
    place.write("gold/b.golden.hold", "");
    let said = place.aosctl("golden cleanup gold --force -o json").exits(0);
    assert_eq!(said.json()["deleted"].as_array().unwrap().len(), 1);
    assert!(said.stdout.contains("on hold"), "{}", said.stdout);
    assert!(!place.path("gold/a.golden").exists());
    assert!(place.path("gold/b.golden").exists() && place.path("gold/young.golden").exists());
    std::fs::create_dir(place.path("back")).unwrap();
    place
        .aosctl(&format!("golden restore {pack} a.golden --out back"))
        .exits(0);
    place
        .aosctl("golden verify back/a.golden --key gold.key")
        .exits(0);
    flip(&place, &pack, |bytes| bytes.len() / 2);
    place.aosctl(&format!("golden verify {pack}")).exits(5);
    place
        .aosctl(&format!("golden restore {pack} --out back"))
        .exits(5);
    // A pack that does not verify is no copy.
    std::fs::remove_file(place.path("gold/b.golden.hold")).unwrap();
    place.aosctl("golden cleanup gold --force").exits(5);
    assert!(place.path("gold/b.golden").exists());
}

#[test]
fn an_archive_replays_alone_and_fresh_runs_are_held_against_it() {
    let place = sealed("--key gold.key --with-seeds");
    let said = place.aosctl("replay a.golden -o json").exits(0).json();
    assert_eq!(
        (text(&said, "verdict"), number(&said, "runs")),
        ("match".into(), 2)
    );
    let fresh = |log: &str, greeting: &str| {
        place.write("w.yaml", crate::harness::HELLO.replace("hello ", greeting));
        for name in ["Ada", "Bob"] {
            let command = format!(
                "run w.yaml --log {log} --seed 7 --key {name} --input {{\"name\":\"{name}\"}}"
            );
            place.aosctl(&command).exits(0);
        }
    };
    fresh("same.aos", "hello ");
    let said = place
        .aosctl("replay same.aos --against a.golden -o jsonl")
        .exits(0);
    let summary = said.lines().pop().unwrap();
    assert_eq!(
        (text(&summary, "verdict"), number(&summary, "same")),
        ("same".into(), 2)
    );
    fresh("other.aos", "howdy ");
    let said = place
        .aosctl("replay other.aos --against a.golden -o jsonl")
        .exits(1);
    let summary = said.lines().pop().unwrap();
    assert_eq!(text(&summary, "verdict"), "different");
    let first = &summary["different"][0];
    assert_eq!(
        number(first, "event"),
        1,
        "the workflow is another one: START differs"
    );
    let run = "run hello.yaml --log again.aos --seed 7 --key Ada --input {\"name\":\"Ada\"}";
    // Bob was not run: his history is missing.
    place.aosctl(&format!("{run} --against a.golden")).exits(1);
    // Gold that does not verify is no gold.
    flip(&place, "a.golden", |bytes| {
        bytes.windows(9).position(|w| w == b"hello Bob").unwrap()
    });
    place.aosctl("replay same.aos --against a.golden").exits(5);
}

#[test]
fn a_bundle_verifies_with_the_trust_file_alone_and_not_when_a_file_in_it_was_changed() {
    let place = sealed("--key sign.key");
    place
        .aosctl("evidence pack a.golden --out b.zip --key sign.key --add hello.yaml")
        .exits(0);
    let trust = place.aosctl("key export-public sign.key").exits(0).stdout;
    place.write("trust.json", &trust);
    std::fs::create_dir(place.path("elsewhere")).unwrap();
    for file in ["b.zip", "trust.json"] {
        std::fs::copy(place.path(file), place.path("elsewhere").join(file)).unwrap();
    }
    let said = place
        .aosctl("evidence verify elsewhere/b.zip --trust elsewhere/trust.json -o json")
        .exits(0)
        .json();
    assert_eq!(text(&said, "verdict"), "valid");
    assert!(number(&said, "files") >= 6);
    place
        .aosctl("evidence verify b.zip")
        .exits(3)
        .fails_with("AOS-G004", &[]);
    flip(&place, "b.zip", |bytes| {
        bytes.windows(9).position(|w| w == b"hello Bob").unwrap()
    });
    place
        .aosctl("evidence verify b.zip --trust trust.json")
        .exits(5);
}

#[test]
fn a_bundle_that_can_be_read_in_two_ways_is_tampered_with() {
    let place = sealed("--key sign.key");
    place
        .aosctl("evidence pack a.golden --out b.zip --key sign.key --add hello.yaml")
        .exits(0);
    let trust = place.aosctl("key export-public sign.key").exits(0).stdout;
    place.write("trust.json", &trust);
    let whole = std::fs::read(place.path("b.zip")).unwrap();
    let name = whole
        .windows(16)
        .position(|w| w == b"files/hello.yaml")
        .unwrap();
    type Change = fn(&mut Vec<u8>, usize);
    let changes: [(&str, Change); 5] = [
        ("a file that the end does not count", |bytes, _| {
            let last = bytes.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
            let end = bytes.windows(4).rposition(|w| w == b"PK\x05\x06").unwrap();
            let hidden = bytes[last..end].to_vec();
            let len = u32::from_le_bytes(bytes[end + 12..end + 16].try_into().unwrap());
            let len = len + hidden.len() as u32;
            bytes[end + 12..end + 16].copy_from_slice(&len.to_le_bytes());
            bytes.splice(end..end, hidden);
        }),
        ("something in front", |bytes, _| {
            bytes.splice(0..0, *b"#!/bin/sh\n");
        }),
        ("something behind", |bytes, _| bytes.extend(b"more")),
        ("another name in place", |bytes, name| bytes[name] = b'F'),
        ("a file that the directory does not name", |bytes, _| {
            let first = bytes
                .windows(4)
                .skip(1)
                .position(|w| w == b"PK\x03\x04")
                .unwrap()
                + 1;
            let hidden = bytes[..first].to_vec();
            bytes.splice(0..0, hidden);
        }),
    ];
    for (what, change) in changes {
        let mut bytes = whole.clone();
        change(&mut bytes, name);
        std::fs::remove_file(place.path("b.zip")).unwrap();
        std::fs::write(place.path("b.zip"), bytes).unwrap();
        let said = place
            .aosctl("evidence verify b.zip --trust trust.json")
            .exits(5);
        assert!(
            said.stderr.contains("error[AOS-G0"),
            "{what}: {}",
            said.stderr
        );
    }
}

#[test]
fn archives_of_one_workflow_go_into_one_bundle() {
    let place = sealed("--key sign.key");
    place
        .aosctl("golden seal a.aos --all --key sign.key --sealed-at 2026-01-01T00:00:00Z --out b.golden")
        .exits(0);
    let packed = place
        .aosctl("evidence pack a.golden b.golden --out b.zip --key sign.key -o json")
        .exits(0);
    let files = packed.json()["files"].to_string();
    assert_eq!(files.matches("workflows/").count(), 1, "{files}");
    assert_eq!(files.matches("archives/").count(), 2, "{files}");
    place
        .aosctl("evidence verify b.zip --key sign.key")
        .exits(0);
}

#[test]
fn two_files_of_one_name_do_not_go_into_a_bundle() {
    let place = sealed("--key sign.key");
    for folder in ["x", "y"] {
        std::fs::create_dir(place.path(folder)).unwrap();
        place.write(&format!("{folder}/n.txt"), folder);
    }
    let said = place
        .aosctl("evidence pack a.golden --out b.zip --key sign.key --add x/n.txt --add y/n.txt")
        .exits(2);
    assert!(
        said.stderr.contains("two files would be files/n.txt"),
        "{}",
        said.stderr
    );
    assert!(!place.path("b.zip").exists());
}

#[test]
fn a_key_that_stands_twice_in_a_trust_file_is_refused() {
    let place = sealed("--key sign.key");
    let trust = place.aosctl("key export-public sign.key").exits(0).stdout;
    let mut trust: serde_json::Value = serde_json::from_str(&trust).unwrap();
    let keys = trust["keys"].as_array_mut().unwrap();
    let archive = keys.iter().find(|key| key["purpose"] == "archive").cloned();
    let mut again = archive.unwrap();
    again["name"] = "example.org/another".into();
    keys.push(again);
    trust["threshold"] = 2.into();
    place.write("twice.json", trust.to_string());
    let said = place
        .aosctl("golden verify a.golden --trust twice.json")
        .exits(2);
    assert!(said.stderr.contains("twice"), "{}", said.stderr);

    let threshold = r#""threshold":2,"threshold":1,"#;
    place.write(
        "two.json",
        trust
            .to_string()
            .replace(r#""threshold":2,"#, threshold)
            .replace(r#","threshold":2"#, r#","threshold":2,"threshold":1"#),
    );
    let said = place
        .aosctl("golden verify a.golden --trust two.json")
        .exits(2);
    assert!(said.stderr.contains("given twice"), "{}", said.stderr);
}

#[test]
fn a_key_and_its_next_epoch_are_one_key() {
    let place = sealed("--key sign.key");
    place.aosctl("key new steps.key --forward-secure").exits(0);
    std::fs::copy(place.path("steps.key"), place.path("later.key")).unwrap();
    place.aosctl("key rotate later.key").exits(0);
    let name = place.aosctl("key show steps.key").exits(0).json()["name"].clone();
    let entry = |file: &str| serde_json::json!({"algorithm": "hmac-sha256", "name": name, "key_file": file});
    for order in [["steps.key", "later.key"], ["later.key", "steps.key"]] {
        let keys = order.map(entry);
        let trust = serde_json::json!({"schema": "aos.trust.v1", "threshold": 2, "keys": keys});
        place.write("epochs.json", trust.to_string());
        let said = place
            .aosctl("golden verify a.golden --trust epochs.json")
            .exits(2);
        assert!(said.stderr.contains("twice"), "{}", said.stderr);
        if let Some(said) = verify_golden_py(&place, &["a.golden", "--trust", "epochs.json"]) {
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(said.contains("twice"), "{said}");
        }
    }
}

#[test]
fn the_trust_entry_of_a_mac_key_names_a_file() {
    let place = sealed("--key sign.key");
    place.aosctl("key new mac.key").exits(0);
    let secret = std::fs::read(place.path("mac.key")).unwrap();
    let said = place.aosctl_reads("key export-public -", &secret).exits(2);
    assert!(said.stderr.contains("file"), "{}", said.stderr);
    assert_eq!(said.stdout, "");
}

#[test]
fn cleaning_up_takes_any_number_of_days_and_no_hold_that_holds_nothing() {
    let place = sealed("--key sign.key");
    std::fs::create_dir(place.path("gold")).unwrap();
    std::fs::rename(place.path("a.golden"), place.path("gold/a.golden")).unwrap();
    place.aosctl("golden archive gold --days 0").exits(0);
    let far = u64::MAX;
    let said = place
        .aosctl(&format!(
            "golden cleanup gold --days {far} --dry-run -o json"
        ))
        .exits(0)
        .json();
    assert_eq!(said["deleted"], serde_json::json!([]));
    let said = place
        .aosctl("golden cleanup gold --days 0 --force --hold gold/a.golden")
        .exits(4);
    assert!(said.stderr.contains("gold/a.golden"), "{}", said.stderr);
    assert!(place.path("gold/a.golden").exists());
    let trust = place.aosctl("key export-public sign.key").exits(0).stdout;
    place.write("trust.json", &trust);
    let pack = std::fs::read_dir(place.path("gold"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name != "a.golden")
        .unwrap();
    place.aosctl(&format!("golden verify gold/{pack}")).exits(0);
    let said = place
        .aosctl(&format!("golden verify gold/{pack} --trust trust.json"))
        .exits(7);
    assert!(
        said.stderr.contains("judge archives, not packs"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_name_in_an_anchor_does_nothing_to_the_terminal() {
    let place = sealed("--key sign.key");
    place.write(
        "anchor.txt",
        "a\u{1b}]0;b\n4\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
    );
    let said = place.aosctl("golden verify a.golden --anchor anchor.txt -o table");
    assert!(
        said.stderr.contains("the anchor is of a\\u{1b}]0;b"),
        "{}",
        said.stderr
    );
    assert!(!said.stderr.contains('\u{1b}') && !said.stdout.contains('\u{1b}'));
}
