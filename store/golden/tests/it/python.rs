//! `docs/format/verify_golden.py`, which knows nothing of this crate, comes to the same verdicts.

use crate::support::*;
use aos_disk::sim::SimDisk;
use aos_format::digest::Digest;
use aos_format::offset::Offset;
use aos_golden::{
    Algorithm, Archive, Key, Note, Purpose, Selection, Verifier, WitnessRequest, checkpoint, prove,
    prove_consistency, redact, resign, witness,
};
use aos_store::Source;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Exit code and output of the script; none where there is no Python.
fn verify_py(folder: &Path, arguments: &[&str]) -> Option<(i32, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/format/verify_golden.py");
    let output = Command::new("python3")
        .arg(script)
        .args(arguments)
        .current_dir(folder)
        .output();
    let Ok(output) = output else {
        println!("skipped: there is no python3 here");
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    Some((
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    ))
}

fn trust_file(folder: &Path, key: &Key) {
    let entry = match Verifier::of_key(key).entry() {
        Some(entry) => entry.to_string(),
        None => {
            std::fs::write(folder.join("gold.key"), &*key.to_file()).unwrap();
            "{\"algorithm\":\"hmac-sha256\",\"name\":\"example.org/gold\",\"key_file\":\"gold.key\"}".into()
        }
    };
    let text = format!("{{\"schema\":\"aos.trust.v1\",\"keys\":[{entry}]}}");
    std::fs::write(folder.join("trust.json"), text).unwrap();
}

/// The script says of an archive by that key that it was tampered with, because of a SEAL.
pub fn refuses_a_seal(bytes: &[u8], key: &Key, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    trust_file(folder.path(), key);
    std::fs::write(folder.path().join("a.golden"), bytes).unwrap();
    let Some((code, said)) = verify_py(folder.path(), &["a.golden", "--trust", "trust.json"])
    else {
        return;
    };
    assert_eq!(code, 5, "{what}: {said}");
    assert!(said.contains("SEAL"), "{what}: {said}");
}

#[test]
fn verify_golden_py_agrees_about_seals_of_the_log() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), SimDisk::new());
    grow_with(&disk, 0..24, 8 << 10, true);
    let key = [key(Algorithm::Ed25519, 1)];
    trust_file(folder.path(), &key[0]);
    for (name, selection) in [
        ("all.golden", Selection::All),
        ("first.golden", Selection::Segments([Offset(0)].into())),
        (
            "later.golden",
            Selection::Segments([Offset(8 << 10), Offset(16 << 10)].into()),
        ),
    ] {
        let path = folder.path().join(name);
        aos_golden::seal(&reader(&disk), &path, &options(selection, &key)).unwrap();
        let ours = judged(std::fs::read(&path).unwrap(), &trust(&[&key[0]]), None);
        let Some((code, said)) = verify_py(folder.path(), &[name, "--trust", "trust.json"]) else {
            return;
        };
        assert_eq!(code, 0, "{name}: {said}");
        let seals = format!(
            "{} seals of the log agree, {} of what is not carried",
            ours.seals, ours.seals_beyond
        );
        assert!(said.contains(&seals), "{name}: {said}, not {seals}");
    }
}

#[test]
fn verify_golden_py_knows_what_a_pruned_log_keeps_and_refuses_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["PRUNED", "below.golden", "after.golden"] {
        let from = crate::fixtures::pruned_folder().join(name);
        std::fs::copy(from, folder.path().join(name)).unwrap();
    }
    trust_file(folder.path(), &crate::fixtures::key_of(Algorithm::Ed25519));
    let judge = |files: &[&str]| {
        let all = [&["--trust", "trust.json", "--pruned", "PRUNED"], files].concat();
        verify_py(folder.path(), &all)
    };
    let Some((code, said)) = judge(&["below.golden"]) else {
        return;
    };
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("pruned below offset 8192"), "{said}");
    assert_eq!(judge(&["below.golden", "after.golden"]).unwrap().0, 0);
    let (code, said) = judge(&["after.golden"]).unwrap();
    assert_eq!(code, 7, "{said}");
    assert!(
        said.contains("below.golden"),
        "the one that is missing is named: {said}"
    );
    // Every byte counts, also where the digest at the end was made anew.
    let good = std::fs::read(folder.path().join("PRUNED")).unwrap();
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(folder.path().join("PRUNED"), &bad).unwrap();
        assert_eq!(judge(&["below.golden"]).unwrap().0, 5, "byte {at}");
    }
    // A row that says another history, the file's digest made for it.
    let below = Archive::open(&folder.path().join("below.golden")).unwrap();
    let named = &below.manifest().runs;
    let digests = named.iter().map(|run| run.history_digest);
    let place = |digest: Digest| good.windows(32).position(|bytes| bytes == digest.0);
    let at = digests
        .filter_map(place)
        .next()
        .expect("a run that is gone");
    let mut bad = good.clone();
    bad[at] ^= 1;
    let end = bad.len() - 32;
    let digest = Digest::of(&bad[..end]);
    bad[end..].copy_from_slice(&digest.0);
    std::fs::write(folder.path().join("PRUNED"), &bad).unwrap();
    let (code, said) = judge(&["below.golden"]).unwrap();
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("row of run"), "{said}");
}

#[test]
fn verify_golden_py_agrees_about_archives_whole_redacted_and_changed() {
    let reader = log(3);
    for algorithm in [Algorithm::HmacSha256, Algorithm::Ed25519] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.golden");
        let key = [key(algorithm, 1)];
        trust_file(folder.path(), &key[0]);
        let with_seeds = aos_golden::SealOptions {
            seeds: true,
            ..options(Selection::All, &key)
        };
        aos_golden::seal(&reader, &path, &with_seeds).unwrap();
        let cut = aos_golden::Cut {
            run: run(&reader, "1"),
            step: Some("greet".into()),
            slot: Some("output".into()),
        };
        redact(&path, &folder.path().join("cut.golden"), &[cut]).unwrap();
        let Some((code, said)) = verify_py(folder.path(), &["a.golden", "--trust", "trust.json"])
        else {
            return;
        };
        assert_eq!(code, 0, "{said}");
        let root = judged(std::fs::read(&path).unwrap(), &trust(&[&key[0]]), None);
        assert!(said.contains(&root.manifest.unwrap().root.hex()), "{said}");
        assert_eq!(verify_py(folder.path(), &["a.golden"]).unwrap().0, 3);
        let cut = verify_py(folder.path(), &["cut.golden", "--trust", "trust.json"]).unwrap();
        assert_eq!(cut.0, 0, "{}", cut.1);
        let good = std::fs::read(&path).unwrap();
        for at in (8..good.len()).step_by(good.len() / 25) {
            let mut bad = good.clone();
            bad[at] ^= 4;
            std::fs::write(folder.path().join("bad.golden"), &bad).unwrap();
            let ours = judged(bad, &trust(&[&key[0]]), None);
            let (code, said) =
                verify_py(folder.path(), &["bad.golden", "--trust", "trust.json"]).unwrap();
            let expected = match ours.verdict {
                aos_golden::Verdict::Untrusted => 3,
                _ => 5,
            };
            assert_eq!(code, expected, "byte {at}: {said} {ours:?}");
        }
    }
}

#[test]
fn verify_golden_py_agrees_about_proofs_anchors_and_archives_signed_again() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), SimDisk::new());
    let at = |name: &str| folder.path().join(name);
    let key = [key(Algorithm::Ed25519, 1)];
    trust_file(folder.path(), &key[0]);
    grow(&disk, 0..2);
    aos_golden::seal(
        &reader(&disk),
        &at("a.golden"),
        &options(Selection::All, &key),
    )
    .unwrap();
    grow(&disk, 2..5);
    aos_golden::seal(
        &reader(&disk),
        &at("b.golden"),
        &options(Selection::All, &key),
    )
    .unwrap();
    let (old, new) = (
        Archive::open(&at("a.golden")).unwrap(),
        Archive::open(&at("b.golden")).unwrap(),
    );
    let old_head = checkpoint(old.container()).unwrap();
    std::fs::write(at("old.txt"), &old_head).unwrap();
    let proof = prove_consistency(new.container(), old_head.as_bytes()).unwrap();
    std::fs::write(at("grows.txt"), &proof).unwrap();
    let chosen: Vec<Offset> = new.offsets().collect();
    let Some(_) = verify_py(folder.path(), &["a.golden"]) else {
        return;
    };
    let py = |arguments: &[&str]| {
        let (code, said) = verify_py(folder.path(), arguments).unwrap();
        println!("{said}");
        code
    };
    for offset in [chosen[0], chosen[7], *chosen.last().unwrap()] {
        let proof = prove(&new, offset).unwrap();
        std::fs::write(at("event.txt"), &proof).unwrap();
        assert_eq!(py(&["--proof", "event.txt", "--trust", "trust.json"]), 0);
        let bad = proof.replacen("index ", "index 1", 1);
        std::fs::write(at("event.txt"), bad).unwrap();
        assert_eq!(py(&["--proof", "event.txt", "--trust", "trust.json"]), 5);
    }
    assert_eq!(py(&["--proof", "grows.txt", "--trust", "trust.json"]), 0);
    assert_eq!(py(&["--checkpoint", "old.txt", "--trust", "trust.json"]), 0);
    let anchored = ["b.golden", "--trust", "trust.json", "--anchor", "old.txt"];
    assert_eq!(py(&anchored), 0);
    std::fs::write(at("new.txt"), checkpoint(new.container()).unwrap()).unwrap();
    let rolled_back = ["a.golden", "--trust", "trust.json", "--anchor", "new.txt"];
    assert_eq!(py(&rolled_back), 7);
    let other = crate::support::key(Algorithm::HmacSha256, 9);
    resign(
        &at("a.golden"),
        &Verifier::of_key(&key[0]),
        &other,
        "rotation",
        1,
    )
    .unwrap();
    assert_eq!(py(&["a.golden", "--trust", "trust.json"]), 0);
    trust_file(folder.path(), &other);
    assert_eq!(py(&["a.golden", "--trust", "trust.json"]), 0);
    let _openings = new.index().unwrap();
}

#[test]
fn a_witness_line_holds_for_its_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let log_key = [key(Algorithm::Ed25519, 1)];
    let own = Key::new(
        "example.net/witness",
        Algorithm::Ed25519,
        false,
        zeroize::Zeroizing::new([4; 32]),
    )
    .unwrap();
    let (_, bytes) = sealed(&log(1), &options(Selection::All, &log_key));
    let head = checkpoint(&container(bytes).unwrap()).unwrap();
    let trust = trust(&[&log_key[0]]);
    let request = WitnessRequest {
        checkpoint: head.as_bytes(),
        proof: None,
        trust: &trust,
        key: &own,
        time: 1_700_000_000,
    };
    let signed = witness(&folder.path().join("seen.json"), &request).unwrap();
    let note = Note::parse(signed.as_bytes()).unwrap();
    let line = note.signatures.last().unwrap();
    let verifier = Verifier::for_purpose(&own, Purpose::Witness);
    assert_eq!(verifier.cosigned_at(&note.text, line), Some(1_700_000_000));
    let wrong = Verifier::for_purpose(&own, Purpose::Archive);
    assert_eq!(wrong.cosigned_at(&note.text, line), None);
    assert_eq!(
        verifier.cosigned_at(&format!("{}x\n", note.text), line),
        None
    );
}

#[test]
fn a_redacted_value_of_few_possibilities_cannot_be_guessed_from_what_is_left() {
    let reader = log(2);
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (
        folder.path().join("a.golden"),
        folder.path().join("b.golden"),
    );
    let key = [key(Algorithm::HmacSha256, 1)];
    let with_seeds = aos_golden::SealOptions {
        seeds: true,
        ..options(Selection::All, &key)
    };
    aos_golden::seal(&reader, &path, &with_seeds).unwrap();
    let chosen = run(&reader, "1");
    let cut = aos_golden::Cut {
        run: chosen,
        step: None,
        slot: None,
    };
    let done = redact(&path, &out, &[cut]).unwrap();
    assert!(done.values >= 3 && done.seeds == 1, "{done:?}");
    assert_eq!(done.still_in, []);
    let before = Archive::open(&path).unwrap();
    let stream = aos_format::record::StreamId::run(chosen);
    let after = std::fs::read(&out).unwrap();
    let contains = |part: &[u8]| after.windows(part.len()).any(|window| window == part);
    let mut salts = BTreeSet::new();
    for record in before.stream(stream, 1).unwrap() {
        let view = record.view().unwrap();
        for entry in view
            .values()
            .filter(|entry| view.value_bytes(entry).is_some())
        {
            salts.insert(entry.salt);
            // The negative control: with its salt a guess would be confirmed by the digest that stays.
            let bytes = view.value_bytes(&entry).unwrap();
            let name = aos_format::event::ValueRef::of(1, &entry.salt, bytes);
            assert!(contains(&name.digest.0));
        }
    }
    assert!(salts.len() >= 3);
    assert!(salts.iter().all(|salt| !contains(salt)), "a salt is left");
    assert!(!contains(b"Ada 1") && !contains(b":1001"));
    // The seed that every salt follows from is gone as well.
    let seed = aos_engine::seed::RootSeed::from_number(7);
    assert!(!contains(&seed.0));
    let found = judged(after.clone(), &trust(&[&key[0]]), None);
    assert_eq!(found.verdict, aos_golden::Verdict::Valid);
}
