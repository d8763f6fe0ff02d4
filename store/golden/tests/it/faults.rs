//! Everything that can be done to an archive is found, and nothing is found where nothing was done.

use crate::support::*;
use aos_format::frame::FRAME_HEADER_LEN;
use aos_format::wire::crc32;
use aos_golden::{Algorithm, Header, Key, Selection, Trust, Verdict};

const BLOCK_AT: usize = 64;
const FRAMES_AT: usize = 96;

fn archive() -> (Vec<u8>, Key) {
    let key = [key(Algorithm::HmacSha256, 1)];
    let (_, bytes) = sealed(&log(1), &options(Selection::All, &key));
    let [key] = key;
    (bytes, key)
}

fn header(bytes: &[u8]) -> Header {
    Header::decode(bytes[..64].try_into().unwrap()).unwrap()
}

/// Where the frames of the only block stand.
pub fn frames(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let end = 64 + header(bytes).payload_len as usize;
    let (mut at, mut found) = (FRAMES_AT, Vec::new());
    while at < end {
        let len = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        let next = at + 64 + len.next_multiple_of(16);
        found.push(at..next);
        at = next;
    }
    found
}

/// Makes every CRC hold again, as somebody would who changes an archive on purpose.
fn mend(bytes: &mut [u8]) {
    let Ok(old) = Header::decode(bytes[..64].try_into().unwrap()) else {
        return;
    };
    for frame in frames(bytes) {
        let start = FRAME_HEADER_LEN as usize;
        let body_crc = crc32(&bytes[frame.start + start..frame.end]);
        bytes[frame.start + 4..frame.start + 8].copy_from_slice(&body_crc.to_le_bytes());
        let crc = crc32(&bytes[frame.start + 4..frame.start + start]);
        bytes[frame.start..frame.start + 4].copy_from_slice(&crc.to_le_bytes());
    }
    let crc = crc32(&bytes[BLOCK_AT..BLOCK_AT + 28]);
    bytes[BLOCK_AT + 28..BLOCK_AT + 32].copy_from_slice(&crc.to_le_bytes());
    let manifest = 64 + old.payload_len as usize + 32 * old.records as usize;
    let notes = manifest + old.manifest_len as usize;
    let new = Header {
        manifest_crc: crc32(&bytes[manifest..notes]),
        ..old
    };
    bytes[..64].copy_from_slice(&new.encode());
    if bytes.len() > notes + 16 {
        let crc = crc32(&bytes[notes + 16..]);
        bytes[notes + 12..notes + 16].copy_from_slice(&crc.to_le_bytes());
    }
}

#[track_caller]
fn refused(bytes: Vec<u8>, trust: &Trust, what: &str) -> aos_golden::Verification {
    let found = judged(bytes, trust, None);
    assert_ne!(found.verdict, Verdict::Valid, "{what}");
    found
}

#[test]
fn every_flipped_bit_is_found_and_located() {
    let (good, key) = archive();
    let trust = trust(&[&key]);
    assert_eq!(judged(good.clone(), &trust, None).verdict, Verdict::Valid);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let found = refused(bad, &trust, &format!("bit {bit}"));
        let located = !found.findings.is_empty() || found.verdict == Verdict::Untrusted;
        assert!(located, "bit {bit}: {found:?}");
    }
}

#[test]
fn every_flipped_bit_is_found_although_every_checksum_was_made_to_hold() {
    let (good, key) = archive();
    let trust = trust(&[&key]);
    let mut mended = good.clone();
    mend(&mut mended);
    assert_eq!(mended, good, "mending changes nothing that holds");
    let frames = frames(&good);
    let end = frames.last().unwrap().end;
    for bit in BLOCK_AT * 8..good.len() * 8 {
        let byte = bit / 8;
        // Flips of the CRCs themselves are mended away; flips of lengths make other frames of the rest.
        let in_crc = frames
            .iter()
            .any(|frame| frame.start <= byte && byte < frame.start + 12)
            || (BLOCK_AT..FRAMES_AT).contains(&byte);
        let note = 64
            + header(&good).payload_len as usize
            + 32 * header(&good).records as usize
            + header(&good).manifest_len as usize;
        if in_crc || (note..note + 16).contains(&byte) {
            continue;
        }
        let mut bad = good.clone();
        bad[byte] ^= 1 << (bit % 8);
        mend(&mut bad);
        let found = refused(bad, &trust, &format!("bit {bit}"));
        if (FRAMES_AT..end).contains(&byte) {
            let number = frames
                .iter()
                .position(|frame| frame.contains(&byte))
                .unwrap() as u64;
            assert_eq!(found.verdict, Verdict::Tampered, "bit {bit}: {found:?}");
            assert_eq!(found.good_records, number, "bit {bit}: {found:?}");
        }
    }
}

#[test]
fn every_truncation_is_found() {
    let (good, key) = archive();
    let trust = trust(&[&key]);
    for len in 0..good.len() {
        let found = refused(good[..len].to_vec(), &trust, &format!("{len} bytes"));
        assert!(found.verdict >= Verdict::Untrusted);
    }
    for extra in [vec![0], vec![0; 64], good.clone()] {
        let mut long = good.clone();
        long.extend(extra);
        refused(long, &trust, "bytes behind the end");
    }
}

/// The archive with other frames, and every length and checksum made to fit them.
pub fn with_frames(good: &[u8], frames: &[&[u8]]) -> Vec<u8> {
    let old = header(good);
    let payload: Vec<u8> = frames.concat();
    let count = frames.len() as u32;
    let mut bad = good[..FRAMES_AT].to_vec();
    bad.extend_from_slice(&payload);
    let tree = 64 + old.payload_len as usize;
    let kept = count.min(old.records as u32) as usize;
    bad.extend_from_slice(&good[tree..tree + 32 * kept]);
    bad.resize(bad.len() + 32 * (count as usize - kept), 0);
    bad.extend_from_slice(&good[tree + 32 * old.records as usize..]);
    for at in [BLOCK_AT + 4, BLOCK_AT + 8] {
        bad[at..at + 4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    }
    bad[BLOCK_AT + 12..BLOCK_AT + 16].copy_from_slice(&count.to_le_bytes());
    let new = Header {
        payload_len: 32 + payload.len() as u64,
        records: count.into(),
        ..old
    };
    bad[..64].copy_from_slice(&new.encode());
    mend(&mut bad);
    bad
}

#[test]
fn records_swapped_left_out_doubled_or_from_elsewhere_are_found() {
    let (good, key) = archive();
    let trust = trust(&[&key]);
    let frames: Vec<&[u8]> = frames(&good)
        .into_iter()
        .map(|frame| &good[frame])
        .collect();
    assert_eq!(with_frames(&good, &frames), good);
    for at in 0..frames.len() {
        let mut left_out = frames.clone();
        left_out.remove(at);
        refused(with_frames(&good, &left_out), &trust, "left out");
        let mut doubled = frames.clone();
        doubled.insert(at, frames[at]);
        refused(with_frames(&good, &doubled), &trust, "doubled");
        for other in 0..at {
            let mut swapped = frames.clone();
            swapped.swap(at, other);
            refused(with_frames(&good, &swapped), &trust, "swapped");
        }
    }
    // A frame of another log, in the place of one of this.
    let (_, other) = sealed(&log(2), &options(Selection::All, &[]));
    let foreign: Vec<Vec<u8>> = self::frames(&other)
        .into_iter()
        .map(|frame| other[frame].to_vec())
        .collect();
    for at in 0..frames.len() {
        if foreign[at] != frames[at] {
            let mut spliced = frames.clone();
            spliced[at] = &foreign[at];
            refused(with_frames(&good, &spliced), &trust, "spliced");
        }
    }
}

/// Replaces a text in the archive by one of the same length and mends the checksums.
fn edited(good: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = good
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap_or_else(|| panic!("{from} is in the archive"));
    let mut bad = good.to_vec();
    bad[at..at + to.len()].copy_from_slice(to.as_bytes());
    mend(&mut bad);
    bad
}

#[test]
fn an_edited_manifest_is_found() {
    let (good, key) = archive();
    let trust = trust(&[&key]);
    for (from, to) in [
        ("\"build\":\"test\"", "\"build\":\"TEST\""),
        ("completed", "cancelled"),
        ("\"name\":\"greet\"", "\"name\":\"Greet\""),
        ("withheld", "included"),
        ("\"size\":", "\"sizE\":"),
    ] {
        let found = refused(edited(&good, from, to), &trust, to);
        assert_eq!(found.verdict, Verdict::Tampered);
    }
}

#[test]
fn signatures_stripped_swapped_or_by_another_key_do_not_count() {
    let (good, hmac) = archive();
    let head = header(&good);
    let notes = 64 + (head.payload_len + 32 * head.records) as usize + head.manifest_len as usize;
    let stripped = refused(good[..notes].to_vec(), &trust(&[&hmac]), "stripped");
    assert_eq!(stripped.verdict, Verdict::Untrusted);
    // The right key id with another secret's MAC, and the other way round.
    let other = key(Algorithm::HmacSha256, 2);
    let reader = log(1);
    let (_, by_other) = sealed(
        &reader,
        &options(Selection::All, std::slice::from_ref(&other)),
    );
    assert_eq!(
        judged(by_other.clone(), &trust(&[&other]), None).verdict,
        Verdict::Valid
    );
    let found = refused(by_other.clone(), &trust(&[&hmac]), "another key");
    assert_eq!(found.verdict, Verdict::Untrusted);
    let line = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text[text.rfind("gold ").unwrap() + 5..]
            .trim_end()
            .to_owned()
    };
    let (mine, theirs) = (line(&good), line(&by_other));
    // Key ids are the first four bytes: five characters of base64 and a part of the sixth.
    let swapped = format!("{}{}", &mine[..5], &theirs[5..]);
    let found = refused(edited(&good, &mine, &swapped), &trust(&[&hmac]), "key id");
    assert_ne!(found.verdict, Verdict::Valid);
}

#[test]
fn the_archive_never_chooses_the_algorithm() {
    // Signed by HMAC with the Ed25519 public key as its secret: the classic confusion.
    let ed25519 = key(Algorithm::Ed25519, 1);
    let public = ed25519.public(aos_golden::Purpose::Archive).unwrap();
    let forged = Key::new(
        "example.org/gold",
        Algorithm::HmacSha256,
        false,
        zeroize::Zeroizing::new(public),
    )
    .unwrap();
    let (_, bytes) = sealed(&log(1), &options(Selection::All, &[forged]));
    let found = refused(bytes, &trust(&[&ed25519]), "downgrade");
    assert_eq!(found.verdict, Verdict::Untrusted);
}

#[test]
fn what_is_untouched_is_never_accused() {
    let key = [key(Algorithm::HmacSha256, 1)];
    let trust = trust(&[&key[0]]);
    for people in 1..40 {
        let options = aos_golden::SealOptions {
            compress: people % 2 == 0,
            seeds: people % 3 == 0,
            workers: 1 + people as usize % 3,
            ..options(Selection::All, &key)
        };
        let (_, bytes) = sealed(&log(people), &options);
        let found = judged(bytes, &trust, None);
        assert_eq!(found.verdict, Verdict::Valid, "{people}: {found:?}");
    }
}

/// splitmix64, so that a sample is named by its seed.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How often a sampled test tries: `AOS_SAMPLES` says how often, 400 times by default.
fn samples() -> u64 {
    let asked = std::env::var("AOS_SAMPLES").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(400)
}

#[test]
fn sampled_flips_of_a_large_archive_are_found() {
    let keys = [key(Algorithm::HmacSha256, 1)];
    let trust = trust(&[&keys[0]]);
    let (sealed, good) = sealed(&log(1200), &options(Selection::All, &keys));
    assert!(good.len() > 1 << 20, "more than one block");
    assert_eq!(judged(good.clone(), &trust, None).verdict, Verdict::Valid);
    let (mut bad, mut state) = (good.clone(), 20_261_125);
    for sample in 0..samples() {
        let bit = random(&mut state) % (good.len() as u64 * 8);
        let (byte, mask) = ((bit / 8) as usize, 1 << (bit % 8));
        bad[byte] ^= mask;
        let found = judged(bad.clone(), &trust, None);
        assert_ne!(found.verdict, Verdict::Valid, "sample {sample}, bit {bit}");
        assert!(found.good_records <= sealed.manifest.size);
        bad[byte] ^= mask;
    }
    assert!(bad == good);
}

#[test]
fn untouched_archives_are_never_accused_however_often_they_are_verified() {
    let keys = [key(Algorithm::Ed25519, 1)];
    let trust = trust(&[&keys[0]]);
    let mut accused = 0;
    for people in 1..=4 {
        let reader = log(people);
        for sample in 0..samples() / 4 {
            let options = aos_golden::SealOptions {
                compress: sample % 2 == 0,
                seeds: sample % 3 == 0,
                ..options(Selection::All, &keys)
            };
            let (_, bytes) = sealed(&reader, &options);
            accused += u64::from(judged(bytes, &trust, None).verdict != Verdict::Valid);
        }
    }
    assert_eq!(accused, 0);
}
