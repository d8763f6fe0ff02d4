//! Changes an archive in every way that somebody might, and counts what verifying misses and what it accuses for nothing.
//!
//! ```sh
//! cargo run --release -p aos-golden --example damage -- --samples N [--untouched N] [--threads N] [--seed N] [--runs N] [--seconds N]
//! ```
//!
//! One archive of many runs is sealed. Each sample does one kind of change to a copy. All but flips, truncations and bytes
//! behind the end have their checksums made to hold again, as somebody would who knows the format. A sample is *missed* when
//! the changed archive is still valid, *unplaced* when nothing says where the fault is. Exit code 1 when anything is missed,
//! unplaced or accused. After so many seconds no further sample is begun, and what was done until then is what is counted.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // its output is what it is for
#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on ends here"
)]

#[path = "../tests/it/support.rs"]
#[allow(dead_code)]
mod support;

use aos_format::frame::FRAME_HEADER_LEN;
use aos_format::offset::Offset;
use aos_format::wire::crc32;
use aos_golden::{
    Algorithm, Checkpoint, Header, Key, SealOptions, Selection, Trust, Verdict, VerifyOptions,
    verify,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{container, judged, key, log, options, sealed, trust};

/// splitmix64.
struct Dice(u64);

impl Dice {
    /// The dice of sample `number`.
    fn of(seed: u64, number: u64) -> Dice {
        Dice(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// What is done to an archive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Change {
    Flip,
    FlipMended,
    Truncated,
    Longer,
    RecordsSwapped,
    RecordDoubled,
    RecordLeftOut,
    RecordSplicedIn,
    BlockSplicedIn,
    ManifestEdited,
    SignatureStripped,
    NoteEdited,
    WrongKey,
    RolledBack,
}

const CHANGES: [Change; 14] = [
    Change::Flip,
    Change::FlipMended,
    Change::Truncated,
    Change::Longer,
    Change::RecordsSwapped,
    Change::RecordDoubled,
    Change::RecordLeftOut,
    Change::RecordSplicedIn,
    Change::BlockSplicedIn,
    Change::ManifestEdited,
    Change::SignatureStripped,
    Change::NoteEdited,
    Change::WrongKey,
    Change::RolledBack,
];

/// An archive taken apart.
struct Archive {
    bytes: Vec<u8>,
    /// Where each block stands, and each of its frames.
    blocks: Vec<(usize, Vec<Range<usize>>)>,
    manifest: Range<usize>,
    notes: usize,
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn header(bytes: &[u8]) -> Header {
    Header::decode(bytes[..64].try_into().unwrap()).unwrap()
}

impl Archive {
    fn new(bytes: Vec<u8>) -> Archive {
        let header = header(&bytes);
        let end = 64 + header.payload_len as usize;
        let (mut blocks, mut at) = (Vec::new(), 64);
        while at < end {
            let (mut frames, last) = (Vec::new(), at + 32 + word(&bytes, at + 4));
            let mut frame = at + 32;
            while frame < last {
                let len = 64 + word(&bytes, frame + 8).next_multiple_of(16);
                frames.push(frame..frame + len);
                frame += len;
            }
            blocks.push((at, frames));
            at = last;
        }
        let manifest = end + 32 * header.records as usize;
        let notes = manifest + header.manifest_len as usize;
        Archive {
            bytes,
            blocks,
            manifest: manifest..notes,
            notes,
        }
    }

    fn frames(&self, block: usize) -> Vec<&[u8]> {
        let frames = self.blocks[block].1.iter();
        frames.map(|frame| &self.bytes[frame.clone()]).collect()
    }

    /// The archive with the frames of one block exchanged and its checksums made to hold.
    fn with_frames(&self, block: usize, frames: &[&[u8]]) -> Vec<u8> {
        let (at, old) = &self.blocks[block];
        let (raw, count) = (frames.concat(), frames.len() as u32);
        let mut bytes = self.bytes[..at + 32].to_vec();
        for place in [4, 8] {
            bytes[at + place..at + place + 4].copy_from_slice(&(raw.len() as u32).to_le_bytes());
        }
        bytes[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
        let crc = crc32(&bytes[*at..at + 28]);
        bytes[at + 28..at + 32].copy_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&raw);
        let end = old.last().unwrap().end;
        bytes.extend_from_slice(&self.bytes[end..]);
        let header = header(&bytes);
        let header = Header {
            payload_len: header.payload_len + raw.len() as u64 - (end - at - 32) as u64,
            records: header.records + u64::from(count) - old.len() as u64,
            ..header
        };
        bytes[..64].copy_from_slice(&header.encode());
        bytes
    }

    /// Makes the checksums of the manifest and the first note hold.
    fn mend(&self, bytes: &mut [u8]) {
        let header = Header {
            manifest_crc: crc32(&bytes[self.manifest.clone()]),
            ..header(bytes)
        };
        bytes[..64].copy_from_slice(&header.encode());
        let crc = crc32(&bytes[self.notes + 16..]);
        bytes[self.notes + 12..self.notes + 16].copy_from_slice(&crc.to_le_bytes());
    }
}

/// What samples are made of.
struct World {
    good: Archive,
    /// Of another log with the same id.
    other: Archive,
    /// Of the log before it grew.
    earlier: Vec<Vec<u8>>,
    /// The same records by a key that does not count.
    stranger: Archive,
    anchor: Vec<u8>,
    trust: Trust,
}

impl World {
    fn new(runs: u64) -> World {
        let (good, stranger) = (key(Algorithm::Ed25519, 1), key(Algorithm::Ed25519, 2));
        let seal = |count: u64, key: &Key| {
            let keys = std::slice::from_ref(key);
            sealed(&log(count), &options(Selection::All, keys))
        };
        let (made, bytes) = seal(runs, &good);
        let anchor = Checkpoint {
            origin: made.manifest.origin.clone(),
            size: made.manifest.size,
            root: made.manifest.root,
            lines: Vec::new(),
        };
        World {
            good: Archive::new(bytes),
            other: Archive::new(seal(runs / 2 + 1, &good).1),
            earlier: (1..9).map(|part| seal(part * runs / 10, &good).1).collect(),
            stranger: Archive::new(seal(runs, &stranger).1),
            anchor: anchor.text().into_bytes(),
            trust: trust(&[&good]),
        }
    }

    /// A changed archive.
    fn sample(&self, change: Change, dice: &mut Dice) -> Vec<u8> {
        let good = &self.good;
        let block = dice.below(good.blocks.len());
        let count = good.blocks[block].1.len();
        let (one, two) = (dice.below(count), dice.below(count - 1));
        let two = if two >= one { two + 1 } else { two };
        match change {
            Change::RecordsSwapped
            | Change::RecordDoubled
            | Change::RecordLeftOut
            | Change::RecordSplicedIn
            | Change::BlockSplicedIn => {
                let frames = self.records(change, dice, block, (one, two));
                good.with_frames(block, &frames)
            }
            Change::RolledBack => self.earlier[dice.below(self.earlier.len())].clone(),
            Change::WrongKey => self.wrong_key(dice),
            _ => self.bytes(change, dice, good.blocks[block].1[one].clone()),
        }
    }

    /// The frames of a block, changed.
    fn records(
        &self,
        change: Change,
        dice: &mut Dice,
        block: usize,
        (one, two): (usize, usize),
    ) -> Vec<&[u8]> {
        let mut frames = self.good.frames(block);
        let theirs = self.other.frames(dice.below(self.other.blocks.len()));
        match change {
            Change::RecordDoubled => frames.insert(two, frames[one]),
            Change::RecordLeftOut => drop(frames.remove(one)),
            Change::RecordSplicedIn => {
                let foreign = |frame: &&[u8]| !frames.contains(frame);
                let theirs: Vec<&[u8]> = theirs.into_iter().filter(foreign).collect();
                frames[one] = theirs[dice.below(theirs.len())];
            }
            Change::BlockSplicedIn => {
                frames.truncate(one);
                frames.extend(theirs.into_iter().skip(one));
                if frames.is_empty() || frames == self.good.frames(block) {
                    frames = self.good.frames(block);
                    frames.swap(one, two);
                }
            }
            _ => frames.swap(one, two),
        }
        frames
    }

    /// Bytes changed; `frame` is where a record stands.
    fn bytes(&self, change: Change, dice: &mut Dice, frame: Range<usize>) -> Vec<u8> {
        let good = &self.good;
        let mut bytes = good.bytes.clone();
        match change {
            Change::Flip => {
                let bit = dice.below(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Change::FlipMended => {
                // In the body of a record, with both checksums of its frame made to hold.
                let start = frame.start + FRAME_HEADER_LEN as usize;
                let bit = dice.below((frame.end - start) * 8);
                bytes[start + bit / 8] ^= 1 << (bit % 8);
                let crc = crc32(&bytes[start..frame.end]);
                bytes[frame.start + 4..frame.start + 8].copy_from_slice(&crc.to_le_bytes());
                let crc = crc32(&bytes[frame.start + 4..start]);
                bytes[frame.start..frame.start + 4].copy_from_slice(&crc.to_le_bytes());
            }
            Change::Truncated => bytes.truncate(dice.below(bytes.len())),
            Change::Longer => {
                let more = 1 + dice.below(200);
                bytes.extend((0..more).map(|_| dice.next() as u8));
            }
            Change::ManifestEdited => {
                let at = good.manifest.start + dice.below(good.manifest.len());
                bytes[at] = another(bytes[at], dice);
                good.mend(&mut bytes);
            }
            Change::NoteEdited => {
                let at = good.notes + 16 + dice.below(bytes.len() - good.notes - 16);
                bytes[at] = another(bytes[at], dice);
                good.mend(&mut bytes);
            }
            _ => {
                // The note with its signature, or a part of its end that begins with the signature or inside it.
                let text = good.notes + 16;
                let dash = "\u{2014}".as_bytes();
                let line = bytes[text..].windows(3).position(|w| w == dash).unwrap();
                let keep = match dice.below(3) {
                    0 => good.notes,
                    1 => text + line,
                    _ => text + line + dice.below(bytes.len() - text - line),
                };
                bytes.truncate(keep);
                if keep > text {
                    let len = ((keep - text) as u32).to_le_bytes();
                    bytes[good.notes + 8..good.notes + 12].copy_from_slice(&len);
                    good.mend(&mut bytes);
                }
            }
        }
        bytes
    }

    /// A signature by another key, as it stands, or under the id of the key that counts, with a bit of it changed or not.
    fn wrong_key(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.stranger.bytes.clone();
        let signature = |bytes: &[u8]| bytes.windows(5).rposition(|w| w == b"gold ").unwrap() + 5;
        let (mine, theirs) = (signature(&self.good.bytes), signature(&bytes));
        let choice = dice.below(3);
        if choice > 0 {
            // Five characters of base64, and a part of the sixth, are the key id.
            bytes[theirs..theirs + 5].copy_from_slice(&self.good.bytes[mine..mine + 5]);
        }
        if choice > 1 {
            let at = theirs + 6 + dice.below(80);
            bytes[at] = another(bytes[at], dice);
        }
        self.stranger.mend(&mut bytes);
        bytes
    }
}

/// Another byte of the same sort: a digit for a digit, a letter for a letter, anything for anything else.
fn another(byte: u8, dice: &mut Dice) -> u8 {
    let sort: Vec<u8> = match byte {
        b'0'..=b'9' => (b'0'..=b'9').collect(),
        b'a'..=b'z' | b'A'..=b'Z' => (b'a'..=b'z').chain(b'A'..=b'Z').collect(),
        _ => (0..=255).collect(),
    };
    let sort: Vec<u8> = sort.into_iter().filter(|found| *found != byte).collect();
    sort[dice.below(sort.len())]
}

/// What came of the samples of one kind.
#[derive(Default)]
struct Tally {
    tried: u64,
    missed: u64,
    unplaced: u64,
    verdicts: BTreeMap<&'static str, u64>,
}

/// Runs `work` for each number below `count` on some threads, until `end`. Returns how many were done.
fn spread(count: u64, threads: u64, end: Instant, work: &(dyn Fn(u64) + Sync)) -> u64 {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || Instant::now() >= end {
                        return;
                    }
                    work(number);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner()
}

fn mutate(
    world: &World,
    samples: u64,
    threads: u64,
    seed: u64,
    end: Instant,
) -> BTreeMap<Change, Tally> {
    let tallies: Mutex<BTreeMap<Change, Tally>> = Mutex::default();
    spread(samples, threads, end, &|number| {
        let change = CHANGES[number as usize % CHANGES.len()];
        let bytes = world.sample(change, &mut Dice::of(seed, number));
        let options = VerifyOptions {
            trust: Some(&world.trust),
            anchor: (change == Change::RolledBack).then_some(&world.anchor[..]),
            workers: 1,
        };
        let found = verify(container(bytes), &options).unwrap();
        // Whose signature does not count stands in the list of signatures, what was rolled back in the anchor.
        let placed = !found.findings.is_empty()
            || matches!(found.verdict, Verdict::Untrusted | Verdict::Incomplete);
        if found.verdict == Verdict::Valid {
            println!("missed: {change:?}, sample {number} of seed {seed}");
        }
        let mut tallies = tallies.lock().unwrap();
        let tally = tallies.entry(change).or_default();
        tally.tried += 1;
        tally.missed += u64::from(found.verdict == Verdict::Valid);
        tally.unplaced += u64::from(!placed);
        *tally.verdicts.entry(found.verdict.name()).or_default() += 1;
    });
    tallies.into_inner().unwrap()
}

/// Seals and verifies `count` archives that nobody touched: other logs, selections, keys and forms. Returns how many were
/// accused, and of how many.
fn untouched(count: u64, threads: u64, seed: u64, end: Instant) -> (u64, u64) {
    let readers: Vec<_> = (1..=64).map(log).collect();
    let keys = [
        vec![key(Algorithm::HmacSha256, 1)],
        vec![key(Algorithm::Ed25519, 1)],
        vec![key(Algorithm::Ed25519, 1), key(Algorithm::HmacSha256, 2)],
    ];
    let accused = AtomicU64::new(0);
    let done = spread(count, threads, end, &|number| {
        let mut dice = Dice::of(seed, number);
        let reader = &readers[dice.below(readers.len())];
        let rows = &reader.index().unwrap().rows;
        let selection = match dice.below(3) {
            0 => Selection::All,
            1 => Selection::Segments([Offset(0)].into()),
            _ => {
                let (skip, take) = (dice.below(rows.runs.len()), 1 + dice.below(5));
                Selection::Runs(rows.runs.keys().skip(skip).take(take).copied().collect())
            }
        };
        let keys = &keys[dice.below(keys.len())];
        let build = number.to_string();
        let how = SealOptions {
            compress: dice.below(2) == 0,
            seeds: dice.below(2) == 0,
            build: &build,
            ..options(selection, keys)
        };
        let (_, bytes) = sealed(reader, &how);
        let found = judged(bytes, &trust(&keys.iter().collect::<Vec<_>>()), None);
        if found.verdict != Verdict::Valid {
            println!("accused: archive {number} of seed {seed}: {found:?}");
            accused.fetch_add(1, Ordering::Relaxed);
        }
    });
    (accused.into_inner(), done)
}

fn main() -> ExitCode {
    let (mut samples, mut clean, mut threads, mut seed, mut runs) = (14_000, 100, 2, 1, 800);
    let mut seconds = 1 << 30;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value: u64 = arguments
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("{name} takes a number"));
        match name.as_str() {
            "--samples" => samples = value,
            "--untouched" => clean = value,
            "--threads" => threads = value,
            "--seed" => seed = value,
            "--runs" => runs = value,
            "--seconds" => seconds = value,
            _ => panic!("--samples, --untouched, --threads, --seed, --runs or --seconds"),
        }
    }
    let world = World::new(runs);
    let good = &world.good;
    println!(
        "archive: {} bytes, {} blocks, {} records; seed {seed}",
        good.bytes.len(),
        good.blocks.len(),
        header(&good.bytes).records
    );
    let whole = judged(good.bytes.clone(), &world.trust, Some(&world.anchor));
    assert_eq!(whole.verdict, Verdict::Valid, "{whole:?}");
    // Untouched ones first: they are fewer.
    let begun = Instant::now();
    let end = begun + Duration::from_secs(seconds);
    let (accused, sealed) = untouched(clean, threads, seed, end);
    println!(
        "untouched: {sealed} archives of {clean}, {accused} accused, {} s",
        begun.elapsed().as_secs()
    );
    let tallies = mutate(&world, samples, threads, seed, end);
    let mut all = Tally::default();
    for (change, tally) in &tallies {
        println!(
            "{:<18} tried {:>7}  missed {}  unplaced {}  {:?}",
            format!("{change:?}"),
            tally.tried,
            tally.missed,
            tally.unplaced,
            tally.verdicts
        );
        all.tried += tally.tried;
        all.missed += tally.missed;
        all.unplaced += tally.unplaced;
    }
    let Tally {
        tried,
        missed,
        unplaced,
        ..
    } = all;
    println!(
        "changed: {tried} samples of {samples}, {missed} missed, {unplaced} unplaced, {} s in all",
        begun.elapsed().as_secs()
    );
    match missed + unplaced + accused {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
