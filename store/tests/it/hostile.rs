//! Logs made by somebody who means harm, and readers whose timing is as bad as can be.

use crate::support::{Rng, World, as_disk, contents, open, path, reader, try_open, verify, work};
use aos_disk::sim::{Policy, SimDisk};
use aos_disk::{Disk, Error as DiskError, File, Lock, Map, OpenMode};
use aos_format::digest::LogId;
use aos_format::event::Event;
use aos_format::frame::{Commit, FrameHeader, Kind};
use aos_format::offset::{Offset, segment_file_name};
use aos_format::segment::DurableWord;
use aos_format::wire::crc32;
use aos_store::{FindingKind, LogReader, TailState, check};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn words_with_numbers_that_nothing_can_follow_are_no_words() {
    let disk = SimDisk::new();
    let mut world = World::default();
    let (log, _) = open(&disk);
    world.resume(&log, 0);
    work(&log, &mut world, &mut Rng(3), 10).unwrap();
    log.close().unwrap();
    world.acknowledge_all();
    for (durable, group) in [
        (u64::MAX, 1),
        (u64::MAX - 15, 1),
        (u64::MAX - 4095, u64::MAX),
        (1 << 63, 7),
        (4096, u64::MAX),
    ] {
        let image = disk.crash_image(Policy::All);
        let word = DurableWord {
            durable: Offset(durable),
            group,
            epoch: 1,
        };
        let bytes = word.encode(LogId([7; 16]).salt());
        for at in [64, 96] {
            image.poke_at(&path().join("LOCK"), &bytes, at).unwrap();
        }
        let what = format!("durable {durable}, group {group}");
        assert_eq!(reader(&image).durable_word().unwrap(), None, "{what}");
        assert_eq!(contents(&reader(&image)), world.accepted, "{what}");
        check(as_disk(&image), path()).unwrap();
        let (log, _) = open(&image);
        verify(&image, &log, &world, &what);
    }
}

/// The bytes of a whole empty group at `at`.
fn commit_image(at: Offset, number: u64, epoch: u32) -> Vec<u8> {
    let commit = Commit {
        number,
        start: at,
        count: 0,
        frames_crc: crc32(&[]),
        prev_commit: 0,
    };
    let body = commit.encode();
    let header = FrameHeader {
        header_crc: 0,
        body_crc: crc32(&body),
        body_len: 32,
        kind: Kind::Commit as u8,
        epoch,
        salt: LogId([7; 16]).salt(),
        offset: at,
        prev: Offset::NONE,
        skip: Offset::NONE,
        seq: 0,
        record_len: 0,
    };
    [&header.encode()[..], &body].concat()
}

#[test]
fn a_value_that_looks_like_a_commit_does_not_make_a_torn_tail_damage() {
    let disk = SimDisk::new();
    let mut world = World::default();
    let (log, opened) = open(&disk);
    world.resume(&log, 0);
    work(&log, &mut world, &mut Rng(3), 5).unwrap();
    let start = log.flush().unwrap();
    world.acknowledge_all();
    // An image of a commit for each place where it might come to stand; only one of them will be right.
    let group = reader(&disk).tail().unwrap().group;
    let stream = crate::support::run_stream(9);
    let record = |at: Offset, pad: usize| {
        let mut bytes = vec![0; pad];
        bytes.extend(commit_image(at, group + 7, opened.epoch));
        let event = Event::Step(crate::support::step("/do/0/a", &bytes));
        (event, bytes)
    };
    let places = (0..600).step_by(16).map(|n| start.plus(n));
    let mut tries = places.flat_map(|at| (0..16).map(move |pad| (at, pad)));
    let stands = |&(at, pad): &(Offset, usize)| {
        let (event, bytes) = record(at, pad);
        let draft = world
            .clone()
            .next(stream, event, vec![(4, bytes.clone())])
            .draft;
        let body = draft.encode().bytes;
        let found = body.windows(96).position(|window| window == &bytes[pad..]);
        found.is_some_and(|found| start.plus(64 + found as u64) == at)
    };
    let (place, pad) = tries
        .find(stands)
        .expect("a place where it stands at its own offset");
    let (event, bytes) = record(place, pad);
    let item = world.next(stream, event, vec![(4, bytes.clone())]);
    let ticket = log.append(item.draft, item.kind, item.seq).unwrap();
    log.wait(ticket).unwrap();
    drop(log);
    // What a power cut left: the frame's header and the value, but not the end of the group.
    let image = disk.crash_image(Policy::All);
    image.poke_at(&path().join("LOCK"), &[0; 64], 64).unwrap();
    let segment = path().join("segments").join(segment_file_name(Offset(0)));
    let end = reader(&disk).tail().unwrap().end;
    image.poke_at(&segment, &[0; 40], end.0 - 40).unwrap();
    let there = image.peek(&segment).unwrap();
    assert_eq!(
        there[place.0 as usize..][..96],
        bytes[pad..],
        "it stands where it says"
    );
    let tail = reader(&image).tail().unwrap();
    assert!(matches!(tail.state, TailState::Torn { .. }), "{tail:?}");
    let (log, opened) = try_open(&image).unwrap();
    assert_eq!(opened.tail_cut.map(|cut| cut.start), Some(start));
    world.accepted.pop();
    world.acknowledge_all();
    verify(&image, &log, &world, "cut");
}

/// A disk on which something happens right before one of the reads.
#[derive(Clone)]
struct Racing {
    disk: SimDisk,
    left: Arc<AtomicU64>,
    act: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Racing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.disk.fmt(f)
    }
}

impl Racing {
    fn step(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            (self.act)();
        }
    }
}

impl Disk for Racing {
    fn create_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        self.disk.create_dir_all(path)
    }
    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        self.step();
        self.disk.list(dir)
    }
    fn exists(&self, path: &Path) -> Result<bool, DiskError> {
        self.disk.exists(path)
    }
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>, DiskError> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(RacingFile(self.clone(), file)))
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> Result<Lock, DiskError> {
        self.disk.lock(path)
    }
    fn is_locked(&self, path: &Path) -> Result<bool, DiskError> {
        self.step();
        self.disk.is_locked(path)
    }
}

#[derive(Debug)]
struct RacingFile(Racing, Arc<dyn File>);

impl File for RacingFile {
    fn len(&self) -> Result<u64, DiskError> {
        self.1.len()
    }
    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.1.set_len(len)
    }
    fn read_at(&self, buf: &mut [u8], at: u64) -> Result<usize, DiskError> {
        self.0.step();
        self.1.read_at(buf, at)
    }
    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> Result<(), DiskError> {
        self.0.step();
        self.1.read_exact_at(buf, at)
    }
    fn write_all_at(&self, buf: &[u8], at: u64) -> Result<(), DiskError> {
        self.1.write_all_at(buf, at)
    }
    fn sync_data(&self) -> Result<(), DiskError> {
        self.1.sync_data()
    }
    fn sync_all(&self) -> Result<(), DiskError> {
        self.1.sync_all()
    }
    fn map(&self, len: u64) -> Result<Map, DiskError> {
        self.1.map(len)
    }
}

/// A log with a torn tail.
fn torn_log() -> SimDisk {
    let disk = SimDisk::new();
    let mut world = World::default();
    let (log, _) = open(&disk);
    world.resume(&log, 0);
    work(&log, &mut world, &mut Rng(2), 20).unwrap();
    log.flush().unwrap();
    drop(log);
    let disk = disk.crash_image(Policy::All);
    disk.poke_at(&path().join("LOCK"), &[0; 64], 64).unwrap();
    let end = reader(&disk).tail().unwrap().end;
    let start = end.0 & !4095;
    let file = path()
        .join("segments")
        .join(segment_file_name(Offset(start)));
    disk.poke_at(&file, &[0; 20], end.0 - 20 - start).unwrap();
    // A spare, which a reader looks at before it looks at the torn bytes again.
    let spare = path()
        .join("segments")
        .join(segment_file_name(Offset(start + 4096)));
    disk.poke(&spare, &[0; 4096]).unwrap();
    let torn = reader(&disk).tail().unwrap();
    assert!(matches!(torn.state, TailState::Torn { .. }), "{torn:?}");
    disk
}

#[test]
fn a_writer_that_opens_the_log_while_a_reader_judges_its_end_is_no_finding() {
    // The writer cuts the torn tail, writes and either goes on or is gone again, all between two reads of the reader.
    let mut raced = 0;
    for closes in [false, true] {
        for at in 1.. {
            let disk = torn_log();
            let writer = disk.clone();
            let held = Arc::new(std::sync::Mutex::new(None));
            let holds = held.clone();
            let racing = Racing {
                disk: disk.clone(),
                left: Arc::new(AtomicU64::new(at)),
                act: Arc::new(move || {
                    let (log, _) = open(&writer);
                    let mut world = World::default();
                    let event = Event::Decision(crate::support::decision());
                    for _ in 0..2 {
                        let item =
                            world.next(crate::support::resource(9), event.clone(), Vec::new());
                        log.append(item.draft, item.kind, item.seq).unwrap();
                        log.flush().unwrap();
                    }
                    if closes {
                        log.close().unwrap();
                    } else {
                        *holds.lock().unwrap() = Some(log);
                    }
                }),
            };
            let left = racing.left.clone();
            let log = LogReader::open(Arc::new(racing), path()).unwrap();
            let last = log.scan(Offset(0)).unwrap().last().unwrap();
            if let Err(error) = last {
                let kind = error.finding().map(|finding| finding.kind);
                assert_eq!(
                    kind,
                    Some(FindingKind::TailUnproven),
                    "read {at}, {closes}: {error}"
                );
            }
            let over = left.load(Ordering::SeqCst) < u64::MAX / 2;
            if over && left.load(Ordering::SeqCst) > 0 {
                break;
            }
            raced += 1;
        }
    }
    assert!(raced > 20, "{raced}");
}
