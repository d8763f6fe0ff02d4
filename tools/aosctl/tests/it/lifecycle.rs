//! The life of an archive in nine cases, each with the fault that it must catch.

use crate::golden::{age, flip, sealed};
use crate::harness::{Place, number, text};

fn verdict(place: &Place, key: &str, exit: i32) -> String {
    let said = place
        .aosctl(&format!("golden verify a.golden --key {key} -o json"))
        .exits(exit);
    text(&said.json(), "verdict").to_owned()
}

/// An archive that is old enough, packed. Returns the name of the pack.
fn packed(place: &Place) -> String {
    age(place, "a.golden", 30);
    let said = place.aosctl("golden archive . -o json").exits(0).json();
    let pack = text(&said, "pack");
    pack.trim_start_matches("./").to_owned()
}

#[test]
fn case_1_generated_with_a_mac_and_never_from_a_log_that_is_damaged() {
    let place = sealed("--key gold.key");
    assert_eq!(verdict(&place, "gold.key", 0), "valid");
    // The planted fault: a bit of the log.
    place.change("a.aos/segments/00000000000000000000.seg", |bytes| {
        bytes[400] ^= 1;
    });
    place
        .aosctl("golden seal a.aos --all --key gold.key --out b.golden")
        .exits(5);
    assert!(!place.path("b.golden").exists());
}

#[test]
fn case_2_signed_with_a_known_key_and_not_by_one_that_only_has_its_name() {
    let place = sealed("--key sign.key");
    assert_eq!(verdict(&place, "sign.key", 0), "valid");
    // The planted fault: another secret under the same name.
    place
        .aosctl("key new twin.key --name example.org/sign --alg ed25519")
        .exits(0);
    assert_eq!(verdict(&place, "twin.key", 3), "untrusted");
}

#[test]
fn case_3_verified_by_the_trust_file_and_not_by_fewer_keys_than_it_asks_for() {
    let place = sealed("--key sign.key");
    let trust = place.aosctl("key export-public sign.key").exits(0).stdout;
    place.write("trust.json", &trust);
    place
        .aosctl("golden verify a.golden --trust trust.json")
        .exits(0);
    // The planted fault: a second signature is asked for and is not there.
    let trust: serde_json::Value = serde_json::from_str(&trust).unwrap();
    let other = place
        .aosctl("key new other.key --alg ed25519")
        .exits(0)
        .code;
    assert_eq!(other, Some(0));
    let other = place.aosctl("key export-public other.key").exits(0).json();
    let mut both = trust.clone();
    let keys = both["keys"].as_array_mut().unwrap();
    keys.extend(other["keys"].as_array().unwrap().clone());
    both["threshold"] = 2.into();
    place.write("two.json", both.to_string());
    place
        .aosctl("golden verify a.golden --trust two.json")
        .exits(3);
}

#[test]
fn case_4_changed_content_is_found_and_located() {
    let place = sealed("--key gold.key");
    flip(&place, "a.golden", |bytes| {
        bytes.windows(9).position(|w| w == b"hello Bob").unwrap()
    });
    let said = place
        .aosctl("golden verify a.golden --key gold.key -o json")
        .exits(5)
        .json();
    let finding = &said["findings"][0];
    assert!(finding["message"].as_str().unwrap().contains("byte "));
    assert!(number(&said, "good_records") > 0);
}

#[test]
fn case_5_a_changed_signature_is_found() {
    let place = sealed("--key sign.key");
    // In the signature itself, then the checksum of the note made to hold: not damage any more.
    flip(&place, "a.golden", |bytes| bytes.len() - 30);
    assert_eq!(verdict(&place, "sign.key", 5), "corrupt");
    let place = sealed("--key sign.key");
    let path = place.path("a.golden");
    let mut bytes = std::fs::read(&path).unwrap();
    let note = bytes.windows(8).rposition(|w| w == b"AOSNOTE\n").unwrap();
    let at = bytes.len() - 30;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    let crc = aos_format::wire::crc32(&bytes[note + 16..]);
    bytes[note + 12..note + 16].copy_from_slice(&crc.to_le_bytes());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(verdict(&place, "sign.key", 5), "tampered");
}

#[test]
fn case_6_archived_compressed_and_a_flip_in_the_pack_is_found_without_unpacking() {
    let place = sealed("--key gold.key");
    let pack = packed(&place);
    place.aosctl(&format!("golden verify {pack}")).exits(0);
    let len = std::fs::metadata(place.path(&pack)).unwrap().len() as usize;
    flip(&place, &pack, |_| len / 2);
    place.aosctl(&format!("golden verify {pack}")).exits(5);
    // Nothing is deleted for a pack that does not hold what it says.
    place.aosctl("golden cleanup . --force").exits(5);
    assert!(place.path("a.golden").exists());
}

#[test]
fn case_7_extracted_and_verified_and_nothing_comes_out_of_a_damaged_pack() {
    let place = sealed("--key gold.key");
    let before = std::fs::read(place.path("a.golden")).unwrap();
    let pack = packed(&place);
    place.aosctl("golden cleanup . --force").exits(0);
    assert!(!place.path("a.golden").exists());
    place.aosctl(&format!("golden restore {pack}")).exits(0);
    assert_eq!(std::fs::read(place.path("a.golden")).unwrap(), before);
    assert_eq!(verdict(&place, "gold.key", 0), "valid");
    std::fs::create_dir(place.path("out")).unwrap();
    // Behind the archives too, where nothing but zeros and the checksum is packed.
    for back in (1..=200).step_by(7) {
        flip(&place, &pack, |bytes| bytes.len() - back);
        place.aosctl(&format!("golden verify {pack}")).exits(5);
        place
            .aosctl(&format!("golden restore {pack} --out out"))
            .exits(5);
        assert_eq!(std::fs::read_dir(place.path("out")).unwrap().count(), 0);
        flip(&place, &pack, |bytes| bytes.len() - back);
    }
    place
        .aosctl(&format!("golden restore {pack} --out out"))
        .exits(0);
}

const RESIGN: &str =
    "golden resign a.golden --old-key gold.key --new-key sign.key --reason rotation";

#[test]
fn case_8_signed_again_with_a_new_key_and_not_when_it_was_changed() {
    let place = sealed("--key gold.key");
    let before = std::fs::read(place.path("a.golden")).unwrap();
    place.aosctl(RESIGN).exits(0);
    let after = std::fs::read(place.path("a.golden")).unwrap();
    assert!(after.len() > before.len() && after.starts_with(&before));
    let place = sealed("--key gold.key");
    flip(&place, "a.golden", |_| 300);
    let changed = std::fs::read(place.path("a.golden")).unwrap();
    place.aosctl(RESIGN).exits(5);
    assert_eq!(std::fs::read(place.path("a.golden")).unwrap(), changed);
}

#[test]
fn case_9_the_new_signature_verifies_and_a_change_of_it_is_found() {
    let place = sealed("--key gold.key");
    let before = std::fs::read(place.path("a.golden")).unwrap();
    place.aosctl(RESIGN).exits(0);
    assert_eq!(verdict(&place, "sign.key", 0), "valid");
    assert_eq!(verdict(&place, "gold.key", 0), "valid");
    flip(&place, "a.golden", |bytes| bytes.len() - 30);
    assert_eq!(verdict(&place, "sign.key", 5), "corrupt");
    // Without it the archive is what it was before: by the old key, not by the new one.
    std::fs::remove_file(place.path("a.golden")).unwrap();
    std::fs::write(place.path("a.golden"), before).unwrap();
    assert_eq!(verdict(&place, "gold.key", 0), "valid");
    assert_eq!(verdict(&place, "sign.key", 3), "untrusted");
}
