//! What is sealed is what the log holds, and an archive answers as the log did.

use crate::support::*;
use aos_disk::sim::SimDisk;
use aos_format::digest::RunId;
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_golden::{
    Algorithm, AnchorState, Archive, Error, SealOptions, Selection, Verdict, VerifyOptions, seal,
    verify,
};
use aos_store::Source;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn an_archive_of_everything_is_valid_and_says_what_it_holds() {
    let reader = log(3);
    for algorithm in [Algorithm::HmacSha256, Algorithm::Ed25519] {
        let key = [key(algorithm, 1)];
        let (sealed, bytes) = sealed(&reader, &options(Selection::All, &key));
        let found = judged(bytes, &trust(&[&key[0]]), None);
        assert_eq!(found.verdict, Verdict::Valid, "{found:?}");
        assert_eq!(found.good_records, sealed.manifest.size);
        assert_eq!(found.anchor, AnchorState::NotGiven);
        assert_eq!(found.signatures.len(), 1);
        assert_eq!(sealed.manifest.runs.len(), 3);
        assert_eq!(found.manifest, Some(sealed.manifest));
        // The seed was cut off.
        assert_eq!(found.redacted, 1);
    }
}

#[test]
fn an_archive_answers_as_the_log_did() {
    let reader = log(40);
    for compress in [false, true] {
        let options = SealOptions {
            compress,
            seeds: true,
            workers: 3,
            ..options(Selection::All, &[])
        };
        let (_, bytes) = sealed(&reader, &options);
        let archive = Archive::of(container(bytes).unwrap()).unwrap();
        assert_eq!(archive.index().unwrap().rows, reader.index().unwrap().rows);
        for record in reader.scan(Offset(0)).unwrap() {
            let record = record.unwrap();
            let carried = archive.read(record.offset()).unwrap();
            assert_eq!(carried.header(), record.header());
            assert_eq!(carried.body(), record.body());
        }
        let stream = StreamId::run(run(&reader, "7"));
        assert_eq!(
            archive.stream(stream, 2).unwrap().len(),
            reader.stream(stream, 2).unwrap().len()
        );
    }
}

#[test]
fn an_archive_of_runs_carries_them_whole_and_nothing_of_others() {
    let reader = log(5);
    let chosen = BTreeSet::from([run(&reader, "1"), run(&reader, "3")]);
    let (sealed, bytes) = sealed(&reader, &options(Selection::Runs(chosen.clone()), &[]));
    let archive = Archive::of(container(bytes).unwrap()).unwrap();
    let rows = &archive.index().unwrap().rows;
    assert_eq!(rows.runs.keys().copied().collect::<BTreeSet<_>>(), chosen);
    assert_eq!(rows.definitions, reader.index().unwrap().rows.definitions);
    assert_eq!(sealed.manifest.runs.len(), 2);
    let stream = StreamId::run(run(&reader, "1"));
    let last = archive.stream(stream, 1).unwrap().pop().unwrap();
    assert_eq!(last.offset(), rows.runs[&run(&reader, "1")].head);
    assert!(archive.read(Offset(16)).is_err());
}

#[test]
fn the_same_log_gives_the_same_bytes_at_any_number_of_workers() {
    let reader = log(30);
    let of = |workers| {
        let options = SealOptions {
            workers,
            compress: true,
            ..options(Selection::All, &[])
        };
        sealed(&reader, &options).1
    };
    let bytes = of(1);
    assert!(bytes == of(2) && bytes == of(5));
    let verdicts = [1, 2, 9].map(|workers| {
        let options = VerifyOptions {
            workers,
            ..VerifyOptions::default()
        };
        verify(container(bytes.clone()), &options).unwrap()
    });
    assert!(verdicts[0] == verdicts[1] && verdicts[1] == verdicts[2]);
}

#[test]
fn an_archive_is_never_overwritten_and_never_writable() {
    let (reader, folder) = (log(1), tempfile::tempdir().unwrap());
    let path = folder.path().join("a.golden");
    let options = options(Selection::All, &[]);
    seal(&reader, &path, &options).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(
        seal(&reader, &path, &options),
        Err(Error::Exists { .. })
    ));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o444);
    // The failure left nothing behind.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_sealed_is_refused() {
    let reader = log(1);
    let folder = tempfile::tempdir().unwrap();
    for selection in [
        Selection::Runs(BTreeSet::from([RunId([9; 16])])),
        Selection::Runs(BTreeSet::new()),
        Selection::Segments(BTreeSet::from([Offset(1 << 40)])),
        Selection::Segments(BTreeSet::from([Offset(64)])),
    ] {
        let refused = seal(&reader, folder.path(), &options(selection, &[]));
        assert!(matches!(refused, Err(Error::Selection { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_log_with_a_damaged_record_is_not_sealed_and_the_place_is_named() {
    let disk = SimDisk::new();
    grow_with(&disk, 0..60, 16 << 10, true);
    let whole = reader(&disk);
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<(Offset, Option<RunId>)> = whole
        .scan(Offset(0))
        .unwrap()
        .map(|record| record.unwrap())
        .map(|record| (record.offset(), record.stream().unwrap().as_run()))
        .collect();
    let last = whole.tail().unwrap().durable;
    assert!(last.0 > 2 * (16 << 10), "several segments");
    let run = |at: Offset| records.iter().find(|(offset, _)| *offset == at).unwrap().1;
    // Headers are checked where groups are read, bodies where they are hashed.
    let first = records.iter().filter(|(at, _)| at.0 < 16 << 10);
    let bodies = first.filter(|(_, run)| run.is_some());
    for (at, _) in bodies.step_by(7).take(4) {
        for byte in [at.0 + 20, at.0 + 70] {
            let path = Path::new(LOG).join("segments/00000000000000000000.seg");
            let mut damaged = disk.peek(&path).unwrap();
            damaged[byte as usize] ^= 1;
            let other = disk.frozen_image();
            other.poke(&path, &damaged).unwrap();
            let reader = reader(&other);
            for selection in [
                Selection::All,
                Selection::Segments([Offset(0)].into()),
                Selection::Runs([run(*at).unwrap()].into()),
            ] {
                for workers in [1, 3] {
                    let how = SealOptions {
                        workers,
                        ..options(selection.clone(), &[])
                    };
                    let refused = seal(&reader, folder.path(), &how).unwrap_err();
                    assert_eq!(refused.code(), "AOS-S004", "{refused}");
                    assert!(refused.to_string().contains(&at.to_string()), "{refused}");
                    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
                }
            }
        }
    }
}

#[test]
fn a_later_archive_of_a_log_continues_an_earlier_one_and_a_rolled_back_one_does_not() {
    let disk = SimDisk::new();
    let key = [key(Algorithm::Ed25519, 1)];
    let trust = trust(&[&key[0]]);
    grow(&disk, 0..2);
    let (early, early_bytes) = sealed(&reader(&disk), &options(Selection::All, &key));
    grow(&disk, 2..4);
    let (late, late_bytes) = sealed(&reader(&disk), &options(Selection::All, &key));
    let anchor = |of: &aos_golden::Manifest| {
        aos_golden::Checkpoint {
            origin: of.origin.clone(),
            size: of.size,
            root: of.root,
            lines: Vec::new(),
        }
        .text()
        .into_bytes()
    };
    let (old, new) = (anchor(&early.manifest), anchor(&late.manifest));
    let continued = judged(late_bytes.clone(), &trust, Some(&old));
    assert_eq!(continued.verdict, Verdict::Valid);
    assert_eq!(
        continued.anchor,
        AnchorState::Holds {
            size: early.manifest.size
        }
    );
    let rolled_back = judged(early_bytes.clone(), &trust, Some(&new));
    assert_eq!(rolled_back.verdict, Verdict::Incomplete);
    let mut fork = early.manifest.clone();
    fork.root.0[0] ^= 1;
    let forked = judged(late_bytes, &trust, Some(&anchor(&fork)));
    assert_eq!(forked.verdict, Verdict::Tampered);
    fork.origin = "aos.log/other".into();
    let foreign = judged(early_bytes, &trust, Some(&anchor(&fork)));
    assert_eq!(foreign.verdict, Verdict::Incomplete);
}
