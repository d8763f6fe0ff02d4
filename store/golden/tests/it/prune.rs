//! Only what archives hold that verify is pruned, and what was anchored before is still proven afterwards.

use crate::support::*;
use aos_disk::sim::SimDisk;
use aos_format::offset::Offset;
use aos_golden::{
    Algorithm, Archive, Checkpoint, Cut, Error, Key, PruneOptions, SealOptions, Selection, Trust,
    check, prove_log, prune, redact, seal,
};
use aos_store::{LogReader, PruneReport, Source};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const STRIDE: u64 = 8 << 10;

struct Bench {
    disk: SimDisk,
    folder: tempfile::TempDir,
    key: Key,
    trust: Trust,
}

impl Bench {
    /// A sealed log of several segments, and a key.
    fn new() -> Bench {
        let disk = SimDisk::new();
        grow_with(&disk, 0..12, STRIDE, true);
        grow_with(&disk, 12..24, STRIDE, true);
        let key = key(Algorithm::Ed25519, 1);
        let trust = trust(&[&key]);
        Bench {
            disk,
            folder: tempfile::tempdir().unwrap(),
            key,
            trust,
        }
    }

    fn seal(&self, name: &str, selection: Selection, compress: bool) -> PathBuf {
        let options = SealOptions {
            compress,
            ..options(selection, std::slice::from_ref(&self.key))
        };
        let path = self.folder.path().join(name);
        seal(&reader(&self.disk), &path, &options).unwrap().path
    }

    fn prune(&self, archives: &[PathBuf], trust: &Trust) -> Result<PruneReport, Error> {
        let options = PruneOptions {
            archives,
            trust,
            keep: 0,
            dry_run: false,
            workers: 1,
        };
        prune(Arc::new(self.disk.clone()), Path::new(LOG), &options)
    }

    fn pruned(&self) -> Option<Offset> {
        reader(&self.disk).pruned().map(|base| base.end())
    }
}

fn checkpoint(bench: &Bench, size: usize) -> Vec<u8> {
    let log = reader(&bench.disk);
    let (mut leaves, mut at) = (Vec::new(), Offset(0));
    let end = log.tail().unwrap().durable;
    while at < end {
        let segment = Offset(at.0 + STRIDE);
        leaves.extend(log.leaves(at, end.min(segment)).unwrap().leaves);
        at = segment;
    }
    let head = Checkpoint {
        origin: format!("aos.log/{}", log.identity().log_id),
        size: size as u64,
        root: aos_format::merkle::root(&leaves[..size]),
        lines: Vec::new(),
    };
    head.text().into_bytes()
}

#[test]
fn what_is_pruned_stands_in_the_archives_and_an_anchor_from_before_is_still_proven() {
    let bench = Bench::new();
    let anchors: Vec<Vec<u8>> = [1, 7, 40].map(|size| checkpoint(&bench, size)).into();
    let whole: Vec<_> = {
        let log = reader(&bench.disk);
        let records = log.scan(Offset(0)).unwrap().map(Result::unwrap);
        records.map(|r| (r.offset(), r.body().to_vec())).collect()
    };
    // Two halves, one of them compressed; seeds are withheld.
    let starts = |of: std::ops::Range<u64>| of.map(|n| Offset(n * STRIDE)).collect();
    let first = bench.seal("1.golden", Selection::Segments(starts(0..1)), true);
    let rest = bench.seal("2.golden", Selection::Segments(starts(1..3)), false);
    let report = bench
        .prune(&[rest.clone(), first.clone()], &bench.trust)
        .unwrap();
    assert_eq!(report.end, Offset(3 * STRIDE), "{report:?}");
    assert!(report.stopped.unwrap().why.contains("none of the archives"));
    let log = reader(&bench.disk);
    let archives = [&first, &rest].map(|path| Archive::open(path).unwrap());
    for (offset, body) in &whole {
        let found = log.read(*offset).or_else(|_| {
            let number = usize::from(archives[0].number(*offset).is_none());
            archives[number].read(*offset)
        });
        assert_eq!(found.unwrap().body(), body, "{offset}");
    }

    let old = grow_after(&bench);
    for anchor in anchors.iter().chain([&old]) {
        let log = reader(&bench.disk);
        let proof = prove_log(&archives, &log, anchor, Some(&bench.key)).unwrap();
        let shown = check(proof.as_bytes(), Some(&bench.trust)).unwrap();
        assert_eq!(shown.signers.len(), 1);
        assert!(shown.old_size.unwrap() < shown.checkpoint.size);
    }
    // The planted faults: an archive is missing, the anchor is of another tree.
    let log = reader(&bench.disk);
    let error = prove_log(&archives[..1], &log, &anchors[2], None).unwrap_err();
    assert!(matches!(error, Error::Incomplete { .. }), "{error}");
    let mut fork = String::from_utf8(anchors[2].clone()).unwrap();
    let at = fork.len() - 10;
    fork.replace_range(at..=at, if &fork[at..=at] == "A" { "B" } else { "A" });
    assert!(prove_log(&archives, &log, fork.as_bytes(), None).is_err());
}

/// Writes the pruned log on. Returns a checkpoint of it, from the archive of the rest.
fn grow_after(bench: &Bench) -> Vec<u8> {
    let log = reader(&bench.disk);
    let base = log.pruned().unwrap();
    let head = Checkpoint {
        origin: format!("aos.log/{}", log.identity().log_id),
        size: base.tree().0.size(),
        root: base.tree().0.root(),
        lines: Vec::new(),
    };
    grow_with(&bench.disk, 24..40, STRIDE, true);
    head.text().into_bytes()
}

#[test]
fn nothing_is_pruned_for_archives_that_do_not_verify_or_are_of_another_log() {
    let bench = Bench::new();
    let good = bench.seal("good.golden", Selection::All, false);
    let bytes = std::fs::read(&good).unwrap();
    let stranger = key(Algorithm::Ed25519, 2);
    let refused = bench.prune(std::slice::from_ref(&good), &trust(&[&stranger]));
    assert!(
        matches!(refused, Err(Error::Untrusted { .. })),
        "{refused:?}"
    );
    for at in [100, bytes.len() / 2, bytes.len() - 30] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let path = bench.folder.path().join(format!("{at}.golden"));
        std::fs::write(&path, bad).unwrap();
        let refused = bench.prune(&[good.clone(), path], &bench.trust);
        assert!(refused.is_err(), "a flip at {at}");
    }
    let other = log(3);
    let path = bench.folder.path().join("other.golden");
    let mut foreign = options(Selection::All, std::slice::from_ref(&bench.key));
    foreign.build = "other";
    seal(&other, &path, &foreign).unwrap();
    assert!(
        bench.prune(&[path], &bench.trust).is_err(),
        "another stride"
    );
    // None at all.
    let report = bench.prune(&[], &bench.trust).unwrap();
    assert_eq!((report.segments.len(), bench.pruned()), (0, None));
    // One that holds everything, at last.
    let report = bench.prune(&[good], &bench.trust).unwrap();
    assert_eq!(bench.pruned(), Some(report.end));
    assert!(report.runs > 5);
}

#[test]
fn an_archive_with_a_value_cut_off_does_not_hold_that_record() {
    let bench = Bench::new();
    let good = bench.seal("good.golden", Selection::All, false);
    let out = bench.folder.path().join("cut.golden");
    let log = reader(&bench.disk);
    let cut = Cut {
        run: run(&log, "9"),
        step: None,
        slot: Some("input".into()),
    };
    redact(&good, &out, &[cut]).unwrap();
    let start = log.index().unwrap().rows.runs[&run(&log, "9")].start;
    let report = bench.prune(&[out], &bench.trust).unwrap();
    assert!(report.end <= start, "{report:?}");
    assert_eq!(report.stopped.unwrap().offset, start);
}

#[test]
fn a_pruned_log_is_sealed_by_runs_and_segments_that_it_still_has() {
    let bench = Bench::new();
    let good = bench.seal("good.golden", Selection::All, false);
    let end = bench.prune(&[good], &bench.trust).unwrap().end;
    let log: LogReader = reader(&bench.disk);
    let try_seal = |name: &str, selection: Selection| {
        let options = options(selection, std::slice::from_ref(&bench.key));
        seal(&log, &bench.folder.path().join(name), &options)
    };
    for (name, selection) in [
        ("all", Selection::All),
        ("first", Selection::Segments(BTreeSet::from([Offset(0)]))),
    ] {
        let error = try_seal(name, selection).unwrap_err();
        assert!(error.to_string().contains("good.golden"), "{error}");
    }
    let rest = try_seal("rest", Selection::Segments(BTreeSet::from([end]))).unwrap();
    assert_eq!(rest.manifest.selection, "segments");
    let rows = log.index().unwrap().rows.clone();
    let there: BTreeSet<_> = rows
        .runs
        .values()
        .filter(|row| row.head >= end)
        .map(|row| row.run)
        .collect();
    let runs = try_seal("runs", Selection::Runs(there.clone())).unwrap();
    assert_eq!(runs.manifest.runs.len(), there.len());
    assert_eq!(runs.manifest.definitions.len(), 1);
    // A run that is gone is not sealed as if it had no records.
    let gone = *log.pruned().unwrap().gone().first().unwrap();
    assert!(try_seal("gone", Selection::Runs(BTreeSet::from([gone]))).is_err());
}
