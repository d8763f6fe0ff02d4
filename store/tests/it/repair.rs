//! Repair: a damaged log becomes one that opens, and not a byte of what it was is gone.

use crate::support::{Rng, World, as_disk, open, options, path, reader, try_open, work};
use aos_disk::Disk;
use aos_disk::sim::{Fault, Persistence, Policy, SimDisk};
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_format::offset::{Offset, segment_file_name};
use aos_store::{Error, ErrorKind, LogReader, RepairReport};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn repair(disk: &SimDisk) -> Result<Option<RepairReport>, Error> {
    aos_store::repair(as_disk(disk), path(), &options())
}

fn image(disk: &SimDisk) -> SimDisk {
    disk.clear_faults();
    disk.crash_image(Policy::All)
}

/// A closed log of several segments and two openings.
fn written() -> SimDisk {
    let (disk, mut world) = (SimDisk::new(), World::default());
    for round in 0..2 {
        let (log, _) = open(&disk);
        world.resume(&log, world.accepted.len());
        work(&log, &mut world, &mut Rng(40 + round), 25).unwrap();
        log.close().unwrap();
    }
    image(&disk)
}

/// Every record: where it stands, and its deterministic part.
fn records(disk: &SimDisk) -> Vec<(Offset, Vec<u8>)> {
    let mut found = Vec::new();
    for record in reader(disk).scan(Offset(0)).unwrap() {
        let record = record.unwrap();
        found.push((record.offset(), record.view().unwrap().det().to_vec()));
    }
    found
}

/// Files of the log that hold its bytes.
fn files(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let dir = path().join("segments");
    let ours = |file: &PathBuf| file.starts_with(&dir) || file.ends_with("LOCK");
    let files = disk.files().into_iter().filter(ours);
    files
        .filter(|file| !file.to_string_lossy().contains("recovered"))
        .map(|file| (file.clone(), disk.peek(&file).unwrap()))
        .collect()
}

/// Every file of `damaged` is still there, in its place or among the originals. Only a LOCK that an opening wrote on, and
/// segments that are written on behind what they held, may differ.
fn nothing_is_gone(disk: &SimDisk, damaged: &SimDisk, what: &str) {
    let originals: Vec<Vec<u8>> = disk
        .files()
        .into_iter()
        .filter(|file| file.starts_with(path().join("recovered")))
        .map(|file| disk.peek(&file).unwrap())
        .collect();
    for (file, bytes) in files(damaged) {
        let in_place = disk.peek(&file).is_some_and(|now| {
            let used = bytes
                .iter()
                .rposition(|&b| b != 0)
                .map_or(0, |last| last + 1);
            now == bytes || now.len() == bytes.len() && now[..used] == bytes[..used]
        });
        assert!(
            in_place || originals.contains(&bytes),
            "{what}: {} is gone",
            file.display()
        );
    }
}

/// Ways to damage a log.
fn damages(disk: &SimDisk) -> Vec<(String, SimDisk)> {
    let mut cases: Vec<(String, SimDisk)> = Vec::new();
    let mut case = |what: String, change: &dyn Fn(&SimDisk)| {
        let disk = image(disk);
        change(&disk);
        cases.push((what, disk));
    };
    let all = files(disk);
    let segments: Vec<(&PathBuf, &Vec<u8>)> =
        all.iter().filter(|(f, _)| !f.ends_with("LOCK")).collect();
    for (index, (file, bytes)) in segments.iter().enumerate() {
        for at in (7..bytes.len()).step_by(61) {
            case(format!("byte {at} of segment {index} rots"), &|disk| {
                disk.poke_at(file, &[bytes[at] ^ 0x21], at as u64).unwrap();
            });
        }
        case(format!("segment {index} is gone"), &|disk| {
            disk.remove(file).unwrap()
        });
        for len in [0, 64, 1000, 4000] {
            case(format!("segment {index} has {len} bytes"), &|disk| {
                disk.poke(file, &bytes[..len]).unwrap();
            });
        }
        case(format!("segment {index} is too long"), &|disk| {
            disk.poke(file, &[&bytes[..], b"more"].concat()).unwrap();
        });
        let (other, _) = segments[(index + 1) % segments.len()];
        case(format!("segment {index} is a copy of the next"), &|disk| {
            disk.poke(file, &disk.peek(other).unwrap()).unwrap();
        });
    }
    let beyond = path()
        .join("segments")
        .join(segment_file_name(Offset(segments.len() as u64 * 4096)));
    case("two spares".into(), &|disk| {
        disk.poke(&beyond, &[0; 4096]).unwrap();
        let next = path().join("segments").join(segment_file_name(Offset(
            (segments.len() as u64 + 1) * 4096,
        )));
        disk.poke(&next, &[0; 4096]).unwrap();
    });
    case("a segment of a strange name".into(), &|disk| {
        disk.poke(
            &path().join("segments").join(segment_file_name(Offset(100))),
            b"x",
        )
        .unwrap();
    });
    cases
}

#[test]
fn a_damaged_log_opens_after_its_repair_and_nothing_is_gone() {
    let disk = written();
    let whole = records(&disk);
    let (mut repaired, mut cleaned, mut cut) = (0, 0, 0);
    for (what, damaged) in damages(&disk) {
        let disk = image(&damaged);
        let report = match repair(&disk) {
            Ok(Some(report)) => report,
            Ok(None) => {
                // Not damage: an opening puts it right, or nothing reads it.
                let (log, _) = try_open(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
                log.close().unwrap();
                assert_eq!(
                    aos_store::check(as_disk(&disk), path()).unwrap().findings,
                    [],
                    "{what}"
                );
                continue;
            }
            Err(error) => {
                let known = [ErrorKind::Damaged, ErrorKind::Unsupported];
                assert!(known.contains(&error.kind()), "{what}: {error}");
                assert_eq!(
                    files(&disk),
                    files(&damaged),
                    "{what}: a refused repair changed something"
                );
                let first = what.contains("segment 0") || error.kind() == ErrorKind::Unsupported;
                assert!(first, "{what}: {error}");
                continue;
            }
        };
        repaired += 1;
        cleaned += report.cleaned.len();
        cut += report.cut.len();
        assert_eq!(
            aos_store::check(as_disk(&disk), path()).unwrap().findings,
            [],
            "{what}"
        );
        nothing_is_gone(&disk, &damaged, &what);
        let now = records(&disk);
        let kept = whole.iter().take_while(|(at, _)| *at < report.end).count();
        assert_eq!(now[..kept], whole[..kept], "{what}");
        let added = now.len() - kept;
        assert_eq!(added, 2, "{what}: an OPEN and a DECISION");
        // What was valid behind the damage is counted.
        let behind = whole.len() - kept;
        assert!(report.cut_records as usize <= behind, "{what}: {report:?}");
        assert!(
            !what.contains("rots") || report.cut_records as usize + 1 >= behind,
            "{what}: {report:?}"
        );
        let index = reader(&disk).index().unwrap();
        let head = index
            .rows
            .head(aos_format::record::StreamId::CONTROL)
            .unwrap();
        let decision = reader(&disk).read(head.offset).unwrap();
        let (_, event) = Event::decode(Kind::Decision, decision.view().unwrap().det()).unwrap();
        assert!(
            matches!(event, Event::Decision(decision) if decision.subject == "repair"),
            "{what}"
        );
        // It is written on, and there is nothing left to repair.
        let (log, opening) = try_open(&disk).unwrap();
        assert_eq!(opening.tail_cut, None, "{what}");
        let mut world = World::default();
        world.resume(&log, 0);
        log.close().unwrap();
        assert_eq!(repair(&disk).unwrap(), None, "{what}");
    }
    assert!(
        repaired > 150 && cleaned > 3 && cut > 20,
        "{repaired} {cleaned} {cut}"
    );
}

#[test]
fn what_a_crash_leaves_is_not_repaired() {
    let (disk, mut world) = (SimDisk::new(), World::default());
    let (log, _) = open(&disk);
    world.resume(&log, 0);
    let ops = disk.ops();
    work(&log, &mut world, &mut Rng(3), 20).unwrap();
    drop(log);
    assert_eq!(repair(&image(&disk)).unwrap(), None);
    for at in ops..disk.ops() {
        let disk = SimDisk::new();
        disk.crash_at(at);
        let mut world = World::default();
        if let Ok((log, _)) = try_open(&disk) {
            world.resume(&log, 0);
            let _crashed = work(&log, &mut world, &mut Rng(3), 20);
        }
        let disk = disk.crash_image(Policy::Subset(at));
        let before = files(&disk);
        assert_eq!(repair(&disk).unwrap(), None, "crash at {at}");
        assert_eq!(files(&disk), before, "crash at {at}");
    }
    let (log, _) = try_open(&disk.process_crash_image()).unwrap();
    drop(log);
    let (log, _) = open(&disk);
    assert_eq!(repair(&disk).unwrap_err().kind(), ErrorKind::Busy);
    drop(log);
}

#[test]
fn an_acknowledged_group_that_vanished_is_cut_back_and_told() {
    let disk = written();
    let tail = reader(&disk).tail().unwrap();
    let stride = reader(&disk).identity().stride;
    let start = stride.segment_start(Offset(tail.end.0 - 1));
    let file = path().join("segments").join(segment_file_name(start));
    let at = tail.end.0 - 96 - start.0;
    disk.poke_at(&file, &[0; 96], at).unwrap();
    assert_eq!(try_open(&disk).unwrap_err().kind(), ErrorKind::Damaged);
    let report = repair(&disk).unwrap().unwrap();
    assert_eq!(report.end.0, tail.end.0 - 96, "the empty group at the end");
    let lost = report.lost.last().unwrap();
    assert_eq!(lost.start.plus(lost.len), tail.end);
    assert!(try_open(&disk).is_ok());
}

/// Damage in the second of four segments.
fn damaged() -> SimDisk {
    let disk = written();
    let file = path()
        .join("segments")
        .join(segment_file_name(Offset(4096)));
    disk.poke_at(&file, &[0xff; 40], 1800).unwrap();
    disk
}

#[test]
fn a_repair_that_a_crash_broke_off_ends_the_same() {
    let start = damaged();
    let (ops, known) = {
        let disk = image(&start);
        repair(&disk).unwrap().unwrap();
        (disk.ops(), records(&disk))
    };
    let end = known.len() - 2;
    for at in 1..=ops + 1 {
        let disk = image(&start);
        disk.crash_at(at);
        let done = repair(&disk).is_ok();
        for policy in [
            Policy::None,
            Policy::All,
            Policy::Subset(at),
            Policy::Subset(at + 1000),
        ] {
            let what = format!("crash at {at} of {ops}, {policy:?}");
            let disk = disk.crash_image(policy);
            nothing_is_gone(&disk, &start, &what);
            let again = repair(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(!done || again.is_none(), "{what}");
            nothing_is_gone(&disk, &start, &what);
            let (log, _) = try_open(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
            log.close().unwrap();
            assert_eq!(records(&disk)[..end], known[..end], "{what}");
            assert_eq!(
                aos_store::check(as_disk(&disk), path()).unwrap().findings,
                [],
                "{what}"
            );
        }
    }
}

#[test]
fn a_repair_whose_disk_fails_or_fills_says_so_and_goes_on() {
    let start = damaged();
    let (log, blocks, known) = {
        let disk = image(&start);
        repair(&disk).unwrap().unwrap();
        (disk.op_log(), disk.allocated() / 4096, records(&disk))
    };
    let ops = log.len() as u64;
    // What the catalogue does while it is dropped, nobody is told: the next opening makes it again.
    let of_catalogue = |op: &aos_disk::sim::Op| op.path.to_string_lossy().contains("catalog.redb");
    let told = log.iter().rposition(|op| !of_catalogue(op)).unwrap() as u64 + 1;
    let end = known.len() - 2;
    let again = |disk: &SimDisk, what: &str| {
        nothing_is_gone(disk, &start, what);
        let disk = image(disk);
        repair(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        nothing_is_gone(&disk, &start, what);
        let (log, _) = try_open(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        log.close().unwrap();
        assert_eq!(records(&disk)[..end], known[..end], "{what}");
    };
    for fault in [
        Fault::Io,
        Fault::Full,
        Fault::Permission,
        Fault::Interrupted,
    ] {
        for lasts in [Persistence::Once, Persistence::Forever] {
            for at in 1..=ops {
                let what = format!("{fault:?} {lasts:?} at {at} of {ops}");
                let disk = image(&start);
                disk.fail_op(at, fault, lasts);
                let failed = repair(&disk);
                let must = lasts == Persistence::Forever && at <= told;
                assert!(failed.is_err() || !must, "{what}");
                again(&disk, &what);
            }
        }
    }
    let mut full = 0;
    let least = start.allocated() / 4096;
    for blocks in least..blocks.max(least + 8) {
        let what = format!("{blocks} blocks");
        let disk = image(&start);
        disk.set_capacity(Some(blocks * 4096));
        full += usize::from(repair(&disk).is_err_and(|error| error.kind() == ErrorKind::Full));
        disk.set_capacity(None);
        again(&disk, &what);
    }
    assert!(full > 1, "{full}");
}

#[test]
fn a_log_without_a_first_group_is_left_for_salvage() {
    let disk = written();
    let file = path().join("segments").join(segment_file_name(Offset(0)));
    disk.poke_at(&file, &[0xff; 16], 70).unwrap();
    let error = repair(&disk).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("AOS-B010", ErrorKind::Damaged)
    );
    let out = std::path::Path::new("saved.aos");
    let report = aos_store::salvage(as_disk(&disk), path(), out, &options()).unwrap();
    assert!(report.kept > 20);
    assert!(LogReader::open(as_disk(&disk), out).is_ok() && disk.exists(out).unwrap());
}
