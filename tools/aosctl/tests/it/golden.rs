//! Golden archives on the command line: sealed, verified, attacked, signed again, proved, witnessed.

use crate::harness::{Place, number, text};
use std::os::unix::fs::PermissionsExt;

/// A log with two runs, two keys and an archive of everything.
fn sealed(seal: &str) -> Place {
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

fn flip(place: &Place, file: &str, at: impl FnOnce(&[u8]) -> usize) {
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
    place
        .aosctl("golden redact a.golden --out no.golden --run Bob --step nowhere")
        .exits(4)
        .fails_with("AOS-G009", &["nowhere"]);
}
