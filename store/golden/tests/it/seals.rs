//! The log's own seals in an archive are computed again where it carries what they speak of.

use crate::faults::{frames, with_frames};
use crate::support::*;
use aos_disk::sim::SimDisk;
use aos_format::digest::Digest;
use aos_format::event::{Event, Seal};
use aos_format::frame::{FrameHeader, Kind};
use aos_format::leaf::leaf;
use aos_format::merkle::root;
use aos_format::offset::{Offset, Stride};
use aos_format::record::{Draft, RecordView, StreamId};
use aos_format::wire::crc32;
use aos_golden::{
    Algorithm, Checkpoint, Error, Header, Key, Manifest, Note, Selection, SignatureState, Verdict,
    Verification, VerifyOptions, verify,
};
use aos_store::Aligned;

const STRIDE: u64 = 8 << 10;

/// What is made of an honest SEAL.
type Lie = &'static dyn Fn(&mut Seal);

/// A log that sealed itself, of several segments.
fn sealed_log() -> SimDisk {
    let disk = SimDisk::new();
    grow_with(&disk, 0..12, STRIDE, true);
    grow_with(&disk, 12..24, STRIDE, true);
    disk
}

/// An archive whose newest SEAL says something else, made by somebody who has the key: leaf, tree, manifest and signature are
/// those of what it says.
fn lying(good: &[u8], key: &Key, lie: impl FnOnce(&mut Seal)) -> Vec<u8> {
    let mut found: Vec<Vec<u8>> = frames(good)
        .into_iter()
        .map(|range| good[range].to_vec())
        .collect();
    let stride = Stride::from_bytes(STRIDE).unwrap();
    let kind = Kind::Seal as u8;
    let place = found.iter().rposition(|frame| frame[12] == kind).unwrap();
    let header = FrameHeader::decode(&found[place], stride).unwrap();
    let record = Aligned::copy_of(&found[place][64..]);
    let view = RecordView::of_frame(&header, &record).unwrap();
    let (previous, Event::Seal(mut seal)) = Event::decode(Kind::Seal, view.det()).unwrap() else {
        panic!("a SEAL");
    };
    lie(&mut seal);
    let mut draft = Draft::new(StreamId::CONTROL, Event::Seal(seal).encode(&previous));
    (draft.lane_seq, draft.wall_ns) = (view.lane_seq(), view.wall_ns());
    let body = draft.encode();
    let header = FrameHeader {
        body_len: body.body_len,
        body_crc: body.body_crc,
        record_len: body.record_len,
        ..header
    };
    found[place] = [&header.encode()[..], &body.bytes].concat();
    let leaves: Vec<Digest> = found
        .iter()
        .map(|frame| {
            let header = FrameHeader::decode(frame, stride).unwrap();
            let body = Aligned::copy_of(&frame[64..64 + header.body_len as usize]);
            let view = RecordView::of_frame(&header, &body).unwrap();
            leaf(&header, &body, &view).hash
        })
        .collect();
    let found: Vec<&[u8]> = found.iter().map(Vec::as_slice).collect();
    signed(&with_frames(good, &found), &leaves, key)
}

/// The archive with another tree, its manifest for it and a signature over that.
fn signed(bytes: &[u8], leaves: &[Digest], key: &Key) -> Vec<u8> {
    let header = Header::decode(bytes[..64].try_into().unwrap()).unwrap();
    let tree_at = 64 + header.payload_len as usize;
    let manifest_at = tree_at + 32 * leaves.len();
    let text = &bytes[manifest_at..manifest_at + header.manifest_len as usize];
    let manifest = Manifest {
        root: root(leaves),
        ..Manifest::decode(text).unwrap()
    };
    let text = manifest.encode();
    let header = Header {
        manifest_crc: crc32(&text),
        ..header
    };
    let checkpoint = Checkpoint {
        origin: manifest.origin,
        size: manifest.size,
        root: manifest.root,
        lines: vec![
            format!("manifest sha256 {}", Digest::of(&text)),
            format!("custody 0 {}", Digest::ZERO),
        ],
    };
    let mut note = Note::new(checkpoint.text());
    note.sign(key);
    let note = note.encode().into_bytes();
    let tree: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0).collect();
    let (len, crc) = (note.len() as u32, crc32(&note));
    [
        &header.encode()[..],
        &bytes[64..tree_at],
        &tree,
        &text,
        b"AOSNOTE\n",
        &len.to_le_bytes(),
        &crc.to_le_bytes(),
        &note,
    ]
    .concat()
}

/// What verifying with that key's trust says, which is the same at any number of workers.
fn verified(bytes: Vec<u8>, key: &Key) -> Verification {
    let trust = trust(&[key]);
    let one = judged(bytes.clone(), &trust, None);
    let options = VerifyOptions {
        trust: Some(&trust),
        anchor: None,
        workers: 3,
    };
    assert_eq!(verify(container(bytes), &options).unwrap(), one);
    one
}

fn segments(numbers: &[u64]) -> Selection {
    Selection::Segments(numbers.iter().map(|n| Offset(n * STRIDE)).collect())
}

#[test]
fn seals_agree_with_what_is_carried_and_those_of_other_ranges_are_counted() {
    let (disk, key) = (sealed_log(), key(Algorithm::Ed25519, 1));
    let verdict = |selection| {
        let options = options(selection, std::slice::from_ref(&key));
        let found = verified(sealed(&reader(&disk), &options).1, &key);
        assert_eq!(found.verdict, Verdict::Valid, "{:?}", found.findings);
        (found.seals, found.seals_beyond)
    };
    let (all, beyond) = verdict(Selection::All);
    assert!(all >= 4, "{all}");
    assert_eq!(beyond, 0);
    // Without the first segment its seal, which stands in the second, cannot be checked.
    let (later, beyond) = verdict(segments(&[1, 2]));
    assert!(later >= 1 && beyond >= 1, "{later} {beyond}");
    let (holes, beyond) = verdict(segments(&[0, 2]));
    assert!(holes < all && beyond >= 1, "{holes} {beyond}");
    let run = run(&reader(&disk), "3");
    assert_eq!(verdict(Selection::Runs([run].into())), (0, 0));
}

#[test]
fn a_seal_that_is_not_of_the_records_it_speaks_of_is_found_although_every_signature_holds() {
    let key = key(Algorithm::Ed25519, 1);
    let options = options(Selection::All, std::slice::from_ref(&key));
    let (_, good) = sealed(&reader(&sealed_log()), &options);
    let honest = verified(lying(&good, &key, |_| ()), &key);
    assert_eq!(honest.verdict, Verdict::Valid, "{:?}", honest.findings);
    const OTHER: Digest = Digest([7; 32]);
    let lies: [(&str, Lie); 9] = [
        ("root", &|seal| seal.root = OTHER),
        ("count", &|seal| seal.count += 1),
        ("total", &|seal| seal.total += 2),
        ("one peak", &|seal| {
            *seal.peaks.last_mut().unwrap() = OTHER;
        }),
        ("no peaks", &|seal| {
            (seal.total, seal.peaks) = (0, Vec::new())
        }),
        ("before", &|seal| seal.before = Some(OTHER)),
        ("none before", &|seal| seal.before = None),
        ("start", &|seal| seal.start += 16),
        ("end", &|seal| seal.end += 1 << 20),
    ];
    for (what, lie) in lies {
        let bytes = lying(&good, &key, lie);
        let found = verified(bytes.clone(), &key);
        assert_eq!(found.verdict, Verdict::Tampered, "{what}");
        assert_eq!(found.finding_count, 1, "{what}: {:?}", found.findings);
        let finding = &found.findings[0];
        assert!(matches!(finding.error, Error::Tampered { .. }), "{what}");
        assert!(finding.error.to_string().contains("SEAL"), "{finding:?}");
        assert!(finding.record.is_some() && finding.offset.is_some());
        // Every record is nonetheless the one that was sealed, and the signature holds.
        assert_eq!(found.good_records, found.manifest.unwrap().size);
        assert_eq!(found.signatures[0].state, SignatureState::Holds);
        crate::python::refuses_a_seal(&bytes, &key, what);
    }
}
