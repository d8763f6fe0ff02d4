//! Seals: what agrees is sealed through, and what was changed although every checksum holds is found.

use crate::forge::{Forge, History, LOG, reader};
use aos_disk::Disk;
use aos_format::digest::Digest;
use aos_format::event::{Event, Seal};
use aos_format::frame::Kind;
use aos_format::merkle::{Peaks, root};
use aos_format::offset::{Offset, Stride};
use aos_format::record::{Draft, StreamId};
use aos_replay::{Integrity, Verified, code, verify};
use std::path::Path;

/// A log of one run and a seal over it, which `change` was done to. Returns the offset of the seal.
fn sealed(change: impl Fn(&mut Seal)) -> (Verified, u64, u64) {
    let forge = || {
        let mut forge = Forge::new(Stride::from_log2(16).unwrap());
        let mut run = History::new("a");
        forge.record(Kind::Start, &run.start());
        forge.record(Kind::Step, &run.step("one", "1"));
        forge.record(Kind::End, &run.end());
        forge.commit();
        forge
    };
    let end = forge().at();
    let disk = forge().finish();
    assert!(disk.exists(Path::new(LOG)).unwrap());
    let leaves = reader(&disk).leaves(Offset(0), Offset(end)).unwrap().leaves;
    let mut tree = Peaks::default();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    let mut seal = Seal {
        start: 0,
        end,
        count: 3,
        root: root(&leaves),
        before: None,
        total: 3,
        peaks: tree.hashes().to_vec(),
    };
    change(&mut seal);
    let mut forge = forge();
    let draft = Draft::new(StreamId::CONTROL, Event::Seal(seal).encode(&Digest::ZERO));
    let at = forge.record(Kind::Seal, &draft);
    forge.commit();
    forge.commit();
    let disk = forge.finish();
    let reader = reader(&disk);
    let one = verify(&reader, 1).unwrap();
    assert_eq!(verify(&reader, 4).unwrap(), one);
    (one, at, end)
}

#[test]
fn a_log_whose_seals_hold_is_sealed_through_the_last_one() {
    let (verified, _, end) = sealed(|_| {});
    assert_eq!(verified.integrity, Integrity::Intact, "{verified:?}");
    assert_eq!(verified.sealed_through, Offset(end));
}

#[test]
fn a_seal_that_says_anything_else_is_found() {
    let changes: [fn(&mut Seal); 7] = [
        |seal| seal.root.0[0] ^= 1,
        |seal| seal.count += 1,
        |seal| seal.start = 64,
        |seal| seal.end -= 16,
        |seal| seal.before = Some(Digest::of(b"another log")),
        |seal| seal.peaks[0].0[31] ^= 1,
        |seal| seal.total += 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let (verified, at, _) = sealed(change);
        assert_eq!(verified.sealed_through, Offset(0), "{number}");
        assert_eq!(verified.integrity, Integrity::Corrupt, "{number}");
        let found: Vec<_> = verified
            .findings
            .iter()
            .map(|f| (f.code, f.offset))
            .collect();
        assert_eq!(found, [(code::SEAL, Some(Offset(at)))], "{number}");
    }
}
