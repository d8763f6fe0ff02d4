//! What can be opened, what cannot, and what is said about it.

use crate::support::{Rng, World, as_disk, open, options, path, reader, try_open, verify, work};
use aos_disk::sim::{Fault, Persistence, Policy, SimDisk};
use aos_disk::{Disk, OpenMode};
use aos_format::digest::LogId;
use aos_format::offset::Stride;
use aos_format::segment::{Identity, LockHeader, SegmentHeader};
use aos_store::{Error, ErrorKind, FindingKind, Log, LogReader, Options, TailState};
use std::path::Path;
use std::sync::Arc;

fn kind(result: Result<(Log, aos_store::Opening), Error>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}

fn existing() -> Options {
    Options {
        create: false,
        ..options()
    }
}

#[test]
fn a_second_writer_is_told_that_the_log_is_busy() {
    let disk = SimDisk::new();
    let (log, _) = open(&disk);
    let error = try_open(&disk).map(drop).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Busy, "AOS-S002"));
    log.close().unwrap();
    drop(open(&disk));
    drop(open(&disk));
}

#[test]
fn a_second_writer_is_kept_out_on_a_real_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let disk: Arc<dyn Disk> = Arc::new(aos_disk::RealDisk);
    let (log, _) = Log::open(disk.clone(), &path, &options()).unwrap();
    assert_eq!(
        kind(Log::open(disk.clone(), &path, &options())),
        ErrorKind::Busy
    );
    assert!(log.reader().unwrap().writer_alive().unwrap());
    log.close().unwrap();
    let reader = LogReader::open(disk.clone(), &path).unwrap();
    assert!(!reader.writer_alive().unwrap());
    Log::open(disk, &path, &options())
        .unwrap()
        .0
        .close()
        .unwrap();
}

#[test]
fn a_log_in_a_directory_that_its_dead_maker_never_synced_survives_a_power_cut() {
    let disk = SimDisk::new();
    disk.create_dir_all(path()).unwrap();
    // The maker is killed: the name of the directory is in memory only.
    let disk = disk.process_crash_image();
    let (log, _) = open(&disk);
    let (mut world, mut rng) = (World::default(), Rng(5));
    world.resume(&log, 0);
    work(&log, &mut world, &mut rng, 5).unwrap();
    log.flush().unwrap();
    world.acknowledge_all();
    let disk = disk.crash_image(Policy::None);
    let (log, _) = try_open(&disk).unwrap();
    assert_eq!(
        verify(&disk, &log, &world, "power cut"),
        world.accepted.len()
    );
}

#[test]
fn what_is_no_log_is_refused_and_left_alone() {
    let disk = SimDisk::new();
    let at = |path: &str, options: &Options| Log::open(as_disk(&disk), Path::new(path), options);
    assert_eq!(kind(at("missing", &existing())), ErrorKind::NotFound);
    disk.poke(Path::new("file"), b"x").unwrap();
    assert_eq!(kind(at("file", &options())), ErrorKind::NotALog);
    assert_eq!(kind(at("file", &existing())), ErrorKind::NotALog);
    disk.poke(Path::new("photos/cat.png"), b"x").unwrap();
    assert_eq!(kind(at("photos", &options())), ErrorKind::NotALog);
    assert_eq!(kind(at("photos", &existing())), ErrorKind::NotALog);
    let files: Vec<_> = disk.files();
    assert_eq!(files, [Path::new("file"), Path::new("photos/cat.png")]);
    for path in ["missing", "file", "photos"] {
        let error = LogReader::open(as_disk(&disk), Path::new(path)).unwrap_err();
        let expected = match path {
            "missing" => ErrorKind::NotFound,
            _ => ErrorKind::NotALog,
        };
        assert_eq!(error.kind(), expected, "{path}");
    }
    assert_eq!(disk.files(), files);
}

#[test]
fn an_existing_log_keeps_its_own_identity() {
    let disk = SimDisk::new();
    open(&disk).0.close().unwrap();
    let other = Options {
        log_id: LogId([9; 16]),
        stride: Stride::DEFAULT,
        ..options()
    };
    let (log, opened) = Log::open(as_disk(&disk), path(), &other).unwrap();
    assert!(!opened.created);
    assert_eq!(log.identity().log_id, LogId([7; 16]));
    assert_eq!(log.identity().stride, Stride::MIN);
}

/// A closed log of several segments.
fn closed_log() -> (SimDisk, World) {
    let disk = SimDisk::new();
    let mut world = World::default();
    let (log, _) = open(&disk);
    world.resume(&log, 0);
    work(&log, &mut world, &mut Rng(2), 60).unwrap();
    log.close().unwrap();
    (disk, world)
}

#[test]
fn a_lost_or_garbled_lock_is_made_again() {
    for content in [
        None,
        Some(vec![]),
        Some(vec![0; 128]),
        Some(vec![0xaa; 128]),
    ] {
        let (disk, world) = closed_log();
        match &content {
            None => {
                disk.remove(&path().join("LOCK")).unwrap();
            }
            Some(bytes) => disk.poke(&path().join("LOCK"), bytes).unwrap(),
        }
        let state = reader(&disk).tail().unwrap().state;
        assert!(matches!(state, TailState::Unproven(_)), "{state:?}");
        let (log, _) = Log::open(as_disk(&disk), path(), &existing()).unwrap();
        assert_eq!(log.identity().log_id, LogId([7; 16]));
        crate::support::verify(&disk, &log, &world, "lock made again");
        log.close().unwrap();
        let tail = reader(&disk).tail().unwrap();
        assert_eq!((tail.state, tail.pending), (TailState::Clean, false));
    }
}

#[test]
fn a_lock_of_a_newer_version_is_not_replaced() {
    let (disk, _) = closed_log();
    let identity = Identity {
        log_id: LogId([7; 16]),
        stride: Stride::MIN,
    };
    let mut lock = LockHeader { identity }.encode();
    lock[8] = 2;
    let crc = aos_format::wire::crc32(&lock[..60]);
    lock[60..].copy_from_slice(&crc.to_le_bytes());
    disk.poke_at(&path().join("LOCK"), &lock, 0).unwrap();
    let before = disk.peek(&path().join("LOCK"));
    let error = try_open(&disk).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("format version 2"), "{error}");
    assert_eq!(disk.peek(&path().join("LOCK")), before);
    let error = LogReader::open(as_disk(&disk), path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_segment_of_a_newer_version_is_named_and_not_touched() {
    let (disk, _) = closed_log();
    let name = path().join("segments/00000000000000004096.seg");
    let mut header = SegmentHeader::decode(&disk.peek(&name).unwrap())
        .unwrap()
        .encode();
    header[8] = 3;
    let crc = aos_format::wire::crc32(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    disk.poke_at(&name, &header, 0).unwrap();
    let last = reader(&disk).scan(Default::default()).unwrap().last();
    let error = last.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.finding().unwrap().kind, FindingKind::Unsupported);
    assert!(error.to_string().contains("format version 3"), "{error}");
    assert!(try_open(&disk).is_err());
}

#[test]
fn leftovers_of_a_broken_preparation_are_removed() {
    let (disk, _) = closed_log();
    let leftover = path().join("segments/00000000000000999424.seg.tmp");
    disk.poke(&leftover, b"half").unwrap();
    drop(open(&disk));
    assert_eq!(disk.peek(&leftover), None);
}

#[test]
fn an_opening_that_fails_says_why_and_gives_the_lock_back() {
    let (disk, world) = closed_log();
    let ops = {
        let image = disk.crash_image(aos_disk::sim::Policy::All);
        drop(open(&image));
        image.ops()
    };
    for at in 1..=ops {
        let image = disk.crash_image(aos_disk::sim::Policy::All);
        image.fail_op(at, Fault::Permission, Persistence::Once);
        match try_open(&image) {
            Ok((log, _)) => drop(log),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        image.clear_faults();
        let (log, _) = try_open(&image).unwrap_or_else(|error| panic!("after op {at}: {error}"));
        crate::support::verify(&image, &log, &world, &format!("after op {at}"));
    }
}

#[test]
fn reading_changes_nothing() {
    let (disk, _) = closed_log();
    let (log, _) = open(&disk);
    drop(log);
    let ops = disk.ops();
    let reader = reader(&disk);
    reader.tail().unwrap();
    reader.index().unwrap();
    reader.scan(Default::default()).unwrap().count();
    aos_store::check(as_disk(&disk), path()).unwrap();
    assert_eq!(disk.ops(), ops);
}

#[test]
fn the_environment_is_left_out_where_the_record_limit_is_too_small_for_it() {
    for (len, kept) in [(100, true), (2000, false)] {
        let disk = SimDisk::new();
        let options = Options {
            environment: Some(vec![b'x'; len]),
            ..options()
        };
        let (log, _) = Log::open(as_disk(&disk), path(), &options).unwrap();
        let opened = &log
            .stream(aos_format::record::StreamId::CONTROL, 1)
            .unwrap()[0];
        let volatile = opened.view().unwrap().volatile().count();
        assert_eq!(volatile, usize::from(kept));
    }
}

#[test]
fn a_file_opened_for_reading_is_enough_for_readers() {
    let (disk, _) = closed_log();
    let file = disk
        .open(
            &path().join("segments/00000000000000000000.seg"),
            OpenMode::Read,
        )
        .unwrap();
    assert!(file.write_all_at(b"x", 0).is_err());
    assert!(reader(&disk).index().is_ok());
}

#[test]
fn what_was_never_written_is_not_read_to_know_where_the_log_ends() {
    let disk = SimDisk::new();
    let options = Options {
        stride: Stride::from_log2(28).unwrap(),
        ..options()
    };
    let (log, _) = Log::open(Arc::new(disk.clone()), path(), &options).unwrap();
    log.close().unwrap();
    let before = disk.reads();
    let tail = reader(&disk).tail().unwrap();
    assert_eq!(tail.state, TailState::Clean);
    let reads = disk.reads() - before;
    assert!(reads < 20, "{reads} reads of a segment of 256 MiB");
    // A byte in the middle of it is found as before.
    let segment = path().join("segments").join("00000000000000000000.seg");
    disk.poke_at(&segment, &[1], 200 << 20).unwrap();
    let tail = reader(&disk).tail().unwrap();
    assert!(
        matches!(tail.state, TailState::Damage(_)),
        "{:?}",
        tail.state
    );
    assert_eq!(
        kind(Log::open(Arc::new(disk), path(), &options)),
        ErrorKind::Damaged
    );
}
