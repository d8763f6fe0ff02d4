//! Archives made by released versions, and that every later one verifies and reads them.

use crate::support::*;
use aos_disk::sim::SimDisk;
use aos_format::offset::Offset;
use aos_golden::{
    Algorithm, Archive, Key, PruneOptions, Selection, Verdict, check, checkpoint, prune,
};
use aos_store::Source;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name, algorithm of its key, records, values cut off.
const FIXTURES: [(&str, Algorithm, u64, u64); 4] = [
    ("mac", Algorithm::HmacSha256, 19, 1),
    ("signed-zstd", Algorithm::Ed25519, 19, 1),
    ("runs-with-seed", Algorithm::Ed25519, 6, 0),
    ("redacted", Algorithm::HmacSha256, 19, 3),
];
/// Roots, which never change again.
const ROOTS: [&str; 4] = [
    "d95e7d72fa3a025f5c3ebe45f0cf2c4bd79475959cb7699be9a05e3c47c052b6",
    "d95e7d72fa3a025f5c3ebe45f0cf2c4bd79475959cb7699be9a05e3c47c052b6",
    "09e62012afcaabec3c1caec7ee03ca7219e63c1cd8e8423867bccdb2e39a4761",
    "d95e7d72fa3a025f5c3ebe45f0cf2c4bd79475959cb7699be9a05e3c47c052b6",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

pub fn key_of(algorithm: Algorithm) -> Key {
    key(algorithm, 1)
}

/// Makes them anew: only for a version that writes another format, into a folder of its own.
#[test]
fn fixtures_are_made_on_request() {
    if std::env::var_os("AOS_WRITE_FIXTURES").is_none() {
        return;
    }
    let reader = log(4);
    std::fs::create_dir_all(folder()).unwrap();
    for (name, algorithm, _, _) in FIXTURES {
        let keys = [key_of(algorithm)];
        let selection = match name {
            "runs-with-seed" => Selection::Runs([run(&reader, "2")].into()),
            _ => Selection::All,
        };
        let options = aos_golden::SealOptions {
            compress: name == "signed-zstd",
            seeds: name == "runs-with-seed",
            ..options(selection, &keys)
        };
        let path = folder().join(format!("{name}.golden"));
        match name {
            "redacted" => {
                let place = tempfile::tempdir().unwrap();
                let whole = place.path().join("whole.golden");
                aos_golden::seal(&reader, &whole, &options).unwrap();
                let cut = aos_golden::Cut {
                    run: run(&reader, "2"),
                    step: Some("greet".into()),
                    slot: None,
                };
                aos_golden::redact(&whole, &path, &[cut]).unwrap();
            }
            _ => drop(aos_golden::seal(&reader, &path, &options).unwrap()),
        }
    }
}

#[test]
fn archives_of_every_released_version_verify_and_can_be_read() {
    for ((name, algorithm, size, redacted), root) in FIXTURES.into_iter().zip(ROOTS) {
        let bytes = std::fs::read(folder().join(format!("{name}.golden"))).unwrap();
        let trust = trust(&[&key_of(algorithm)]);
        let found = judged(bytes.clone(), &trust, None);
        assert_eq!(found.verdict, Verdict::Valid, "{name}: {found:?}");
        let manifest = found.manifest.unwrap();
        assert_eq!(
            (manifest.size, found.redacted, manifest.root.hex().as_str()),
            (size, redacted, root),
            "{name}"
        );
        let archive = Archive::of(container(bytes).unwrap()).unwrap();
        let index = archive.index().unwrap();
        assert_eq!(index.rows.runs.len(), manifest.runs.len(), "{name}");
        for run in &manifest.runs {
            assert_eq!(index.rows.runs[&run.run].digest, run.history_digest);
        }
        let head = checkpoint(archive.container()).unwrap();
        let proof = aos_golden::prove(&archive, archive.offsets().next().unwrap()).unwrap();
        assert!(proof.ends_with(&head));
        check(proof.as_bytes(), Some(&trust)).unwrap();
    }
}

/// Length of the segments of the log that was pruned.
const STRIDE: u64 = 8 << 10;

/// What a pruned log leaves: PRUNED, the archive of what was pruned, and one of what the log had then.
pub fn pruned_folder() -> PathBuf {
    folder().join("pruned")
}

/// A sealed log without its first segment. Writes the archive of that, and one of the next segment, into `to`.
fn pruned_log(to: &Path) -> SimDisk {
    let disk = SimDisk::new();
    grow_with(&disk, 0..4, STRIDE, true);
    grow_with(&disk, 4..10, STRIDE, true);
    let keys = [key_of(Algorithm::Ed25519)];
    let seal = |name: &str, starts: &[u64]| {
        let starts = starts.iter().map(|number| Offset(number * STRIDE));
        let options = options(Selection::Segments(starts.collect()), &keys);
        let path = to.join(name);
        aos_golden::seal(&reader(&disk), &path, &options).unwrap();
        path
    };
    let below = seal("below.golden", &[0]);
    let how = PruneOptions {
        archives: std::slice::from_ref(&below),
        trust: &trust(&[&keys[0]]),
        keep: 0,
        dry_run: false,
        workers: 1,
    };
    let report = prune(Arc::new(disk.clone()), Path::new(LOG), &how).unwrap();
    assert_eq!(report.end, Offset(STRIDE), "{report:?}");
    seal("after.golden", &[1]);
    disk
}

/// Makes them anew, as above.
#[test]
fn fixtures_of_a_pruned_log_are_made_on_request() {
    if std::env::var_os("AOS_WRITE_FIXTURES").is_none() {
        return;
    }
    std::fs::create_dir_all(pruned_folder()).unwrap();
    let disk = pruned_log(&pruned_folder());
    let pruned = disk.peek(&Path::new(LOG).join("PRUNED")).unwrap();
    std::fs::write(pruned_folder().join("PRUNED"), pruned).unwrap();
}

#[test]
fn what_a_pruned_log_left_verifies_and_is_what_the_log_still_reads() {
    let place = tempfile::tempdir().unwrap();
    let disk = pruned_log(place.path());
    // The log made today goes on with the PRUNED and the archives of then.
    let path = Path::new(LOG).join("PRUNED");
    let kept = std::fs::read(pruned_folder().join("PRUNED")).unwrap();
    disk.poke(&path, &kept).unwrap();
    let log = reader(&disk);
    let base = log.pruned().unwrap();
    assert_eq!(base.end(), Offset(STRIDE));
    assert!(!base.gone().is_empty());
    let trust = trust(&[&key_of(Algorithm::Ed25519)]);
    for name in ["below", "after"] {
        let bytes = std::fs::read(pruned_folder().join(format!("{name}.golden"))).unwrap();
        let found = judged(bytes, &trust, None);
        assert_eq!(found.verdict, Verdict::Valid, "{name}: {found:?}");
    }
    let below = Archive::open(&pruned_folder().join("below.golden")).unwrap();
    for (header, body) in base.frames() {
        // A root seed is withheld from the archive and stays in the log.
        let there = below.read(header.offset).unwrap();
        let is_seed = there.kind() == Some(aos_format::frame::Kind::Seed);
        assert!(
            is_seed || body.starts_with(there.body()),
            "{}",
            header.offset
        );
    }
}
