//! A pruned log is verified and made again from its pruned point on, and says what is gone.

use crate::forge::{LOG, reader};
use crate::replay::{dice_with, log_options, replayed};
use aos_disk::sim::SimDisk;
use aos_disk::{Disk, OpenMode};
use aos_format::digest::Digest;
use aos_format::offset::{Offset, Stride};
use aos_format::wire::take_varint;
use aos_replay::{
    Export, ExportOptions, Integrity, Options, Report, Verdict, code, replay, verify,
};
use aos_store::{ErrorKind, PrunedArchive, Pruning, prune};
use std::path::Path;
use std::sync::Arc;

/// A sealed log of several segments.
fn sealed() -> Arc<SimDisk> {
    let options = aos_store::Options {
        seal: true,
        stride: Stride::from_log2(13).unwrap(),
        ..log_options()
    };
    dice_with(30, &options)
}

fn pruned(disk: &Arc<SimDisk>) -> Offset {
    let archive = PrunedArchive {
        name: "gold.golden".into(),
        sha256: Digest::ZERO,
        origin: "aos.log".into(),
        records: 1,
        root: Digest::ZERO,
        start: Offset(64),
        end: Offset(1 << 30),
    };
    let mut pruning = Pruning {
        upto: Offset(u64::MAX),
        archives: vec![archive],
        holds: &mut |_, _| Ok(true),
        dry_run: false,
    };
    prune(disk.clone(), Path::new(LOG), &mut pruning)
        .unwrap()
        .end
}

#[test]
fn a_pruned_log_is_made_again_from_its_pruned_point_on_and_keeps_its_digest() {
    let disk = sealed();
    let before: Report = replayed(&disk);
    assert_eq!(before.verdict, Verdict::Match);
    let end = pruned(&disk);
    let after = replayed(&disk);
    assert_eq!(after.verdict, Verdict::Match, "{:?}", after.findings);
    assert_eq!(after.digest, before.digest);
    assert_eq!(after.sealed_through, before.sealed_through);
    let gone = after.pruned.unwrap();
    assert_eq!(gone.below, end.0);
    assert_eq!(gone.runs + after.runs, before.runs);
    assert!(gone.runs > 5 && after.runs > 0, "{gone:?}");
    assert_eq!(after.bytes, before.bytes - end.0);
    assert!(
        after
            .json(0.0)
            .contains(&format!("\"pruned_runs\":{}", gone.runs))
    );

    // Asked for one that is gone, and for one that is not.
    let reader = reader(&disk);
    let base = reader.pruned().unwrap();
    let run = *base.gone().first().unwrap();
    let asked = |run| Options {
        run: Some(run),
        ..Options::default()
    };
    match replay(&reader, &asked(run)) {
        Err(aos_replay::Error::Store(error)) => {
            assert_eq!(error.kind(), ErrorKind::Pruned);
            assert!(error.to_string().contains("gold.golden"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let options = ExportOptions {
        run: Some(run),
        ..ExportOptions::default()
    };
    assert!(Export::new(&reader, options).is_err());
    assert_eq!(replay(&reader, &asked(after.rows[0].run)).unwrap().runs, 1);
    // What is exported are whole streams: those that are kept, from their first record on.
    let all = Export::new(&reader, ExportOptions::default()).unwrap();
    let firsts = all.map(Result::unwrap).filter(|record| record["seq"] == 1);
    assert_eq!(firsts.count() as u64, after.runs + 1);
}

/// Puts PRUNED back with one bit of its tree changed and every digest made to hold.
fn forge_tree(disk: &Arc<SimDisk>) {
    let path = Path::new(LOG).join("PRUNED");
    let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let mut rest = &bytes[64..];
    for _ in 0..5 {
        take_varint(&mut rest).unwrap();
    }
    let peak = bytes.len() - rest.len();
    bytes[peak] ^= 1;
    let sum = bytes.len() - 32;
    let digest = Digest::of(&bytes[..sum]);
    bytes[sum..].copy_from_slice(&digest.0);
    file.write_all_at(&bytes, 0).unwrap();
}

#[test]
fn a_pruned_tree_that_the_seals_do_not_say_is_found() {
    let disk = sealed();
    pruned(&disk);
    let whole = verify(&reader(&disk), 2).unwrap();
    assert_eq!(whole.integrity, Integrity::Intact);
    forge_tree(&disk);
    let forged = verify(&reader(&disk), 2).unwrap();
    assert_eq!(forged.integrity, Integrity::Corrupt);
    assert_eq!(forged.sealed_through, Offset(0));
    assert_eq!(forged.findings[0].code, code::SEAL, "{:?}", forged.findings);
}
