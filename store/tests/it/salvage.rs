//! Salvage: whatever is done to a log, all that still holds comes out, and nothing else.

use crate::support::{
    Rec, Rng, World, as_disk, contents, open, options, path, reader, try_open, work,
};
use aos_disk::Disk;
use aos_disk::sim::{Fault, Persistence, Policy, SimDisk};
use aos_format::digest::Digest;
use aos_format::frame::{FrameHeader, Kind};
use aos_format::offset::{Offset, segment_file_name};
use aos_format::record::{StreamId, StreamKind};
use aos_store::{Error, ErrorKind, Fate, LogReader, SalvageReport, StoredRecord};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn out() -> &'static Path {
    Path::new("saved.aos")
}

fn salvage(disk: &SimDisk) -> Result<SalvageReport, Error> {
    aos_store::salvage(as_disk(disk), path(), out(), &options())
}

fn image(disk: &SimDisk) -> SimDisk {
    disk.clear_faults();
    disk.crash_image(Policy::All)
}

/// A closed log of several segments and two openings.
fn written(seed: u64) -> SimDisk {
    let (disk, mut world) = (SimDisk::new(), World::default());
    for round in 0..2 {
        let (log, _) = open(&disk);
        world.resume(&log, world.accepted.len());
        work(&log, &mut world, &mut Rng(seed + round), 22).unwrap();
        log.close().unwrap();
    }
    image(&disk)
}

/// The records of a log by stream, with their offsets and frame lengths; openings left out.
type Held = BTreeMap<StreamId, Vec<(Rec, Offset, u64)>>;

fn held(disk: &SimDisk, path: &Path) -> Held {
    let reader = LogReader::open(as_disk(disk), path).unwrap();
    let mut held = Held::new();
    for record in reader.scan(Offset(0)).unwrap() {
        let record = record.unwrap();
        let (offset, len) = (record.offset(), record.header().frame_len());
        if record.kind() != Some(Kind::Open) {
            let stream = record.stream().unwrap();
            held.entry(stream)
                .or_default()
                .push((Rec::of(&record), offset, len));
        }
    }
    held
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let dir = path().join("segments");
    disk.files()
        .into_iter()
        .filter(|file| file.starts_with(&dir))
        .collect()
}

/// The frames beside the new log, which must be frames of the damaged one.
fn beside(disk: &SimDisk) -> Vec<StoredRecord> {
    let identity = LogReader::open(as_disk(disk), out()).unwrap().identity();
    let file = out().join("recovered/salvage.frames");
    let bytes = disk.peek(&file).unwrap();
    let (mut at, mut frames) = (0, Vec::new());
    while at < bytes.len() {
        let header = FrameHeader::decode(&bytes[at..], identity.stride).unwrap();
        let frame = &bytes[at..at + header.frame_len() as usize];
        frames
            .push(StoredRecord::carried(identity, header.offset, frame, "salvage.frames").unwrap());
        at += frame.len();
    }
    frames
}

fn marks_gap(rec: &Rec) -> bool {
    rec.kind == Kind::Mark && rec.det.windows(3).any(|bytes| bytes == b"gap")
}

/// What must hold of a salvage of a log that once held `before`.
fn judge(disk: &SimDisk, before: &Held, report: &SalvageReport, what: &str) {
    let check = aos_store::check(as_disk(disk), out()).unwrap();
    assert_eq!(check.findings, [], "{what}");
    let after = held(disk, out());
    let frames = beside(disk);
    assert_eq!(frames.len() as u64, report.frames, "{what}");
    let beside = |stream: StreamId, seq: u64| {
        frames
            .iter()
            .any(|frame| frame.seq() == seq && frame.stream().is_ok_and(|found| found == stream))
    };
    let lost = |offset: Offset, len: u64| {
        report
            .lost
            .iter()
            .any(|lost| offset < lost.start.plus(lost.len) && lost.start < offset.plus(len))
    };
    let nothing = Vec::new();
    for (stream, records) in before {
        let new = after.get(stream).unwrap_or(&nothing);
        let new: Vec<&Rec> = new
            .iter()
            .map(|(rec, _, _)| rec)
            .filter(|rec| !marks_gap(rec))
            .collect();
        if stream.kind == StreamKind::Control {
            // Written again behind other records: the same content in the same order.
            let fields = |rec: &Rec| (rec.kind, rec.det[rec.det.len().min(37)..].to_vec());
            let mut rest = records.iter().map(|(rec, _, _)| fields(rec));
            for rec in new.iter().take(new.len() - 1) {
                assert!(
                    rest.any(|old| old == fields(rec)),
                    "{what}: {rec:?} was invented"
                );
            }
            assert_eq!(new.last().unwrap().kind, Kind::Decision, "{what}");
            continue;
        }
        let old: Vec<&Rec> = records.iter().map(|(rec, _, _)| rec).collect();
        assert_eq!(
            new[..],
            old[..new.len().min(old.len())],
            "{what}: not a beginning"
        );
        for (rec, offset, len) in &records[new.len()..] {
            let known = beside(*stream, rec.seq) || lost(*offset, *len);
            assert!(known, "{what}: {rec:?} at {offset} is nowhere");
        }
        let found = report.streams.iter().find(|found| found.stream == *stream);
        let Some(found) = found else {
            assert!(new.is_empty(), "{what}");
            continue;
        };
        assert_eq!(found.kept, new.len() as u64, "{what}");
        let whole = new.len() == old.len();
        match found.fate {
            Fate::Whole => assert!(whole, "{what}: {stream:?} is not whole"),
            Fate::EndUnproven => assert!(found.pieces.is_empty(), "{what}"),
            Fate::Gap => assert!(!whole && !found.pieces.is_empty(), "{what}"),
        }
        let marked = after
            .get(stream)
            .is_some_and(|new| new.iter().any(|(rec, _, _)| marks_gap(rec)));
        if found.is_run() && found.kept > 0 {
            assert_eq!(marked, found.fate != Fate::Whole, "{what}: {stream:?}");
        }
        for piece in &found.pieces {
            let at = |seq: u64| &records[seq as usize - 1].0;
            let last = at(piece.seq.1);
            if last.kind.advances() {
                assert_eq!(piece.digest, Digest::of(&last.det), "{what}");
            }
        }
    }
    for stream in after.keys() {
        let known = before.contains_key(stream) || *stream == StreamId::CONTROL;
        assert!(known, "{what}: {stream:?} was invented");
    }
    for frame in &frames {
        let stream = frame.stream().unwrap();
        let same = before.get(&stream).is_some_and(|records| {
            records
                .iter()
                .any(|(rec, offset, _)| *offset == frame.offset() && *rec == Rec::of(frame))
        });
        assert!(
            same || frame.kind() == Some(Kind::Open),
            "{what}: an invented frame"
        );
    }
}

#[test]
fn everything_comes_out_of_a_log_that_is_whole() {
    let disk = written(5);
    let before = held(&disk, path());
    let report = salvage(&disk).unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.unproven, report.stale, report.marked), (0, 0, 0));
    judge(&disk, &before, &report, "whole");
    let kept = before
        .iter()
        .filter(|(stream, _)| **stream != StreamId::CONTROL);
    let kept: usize = kept.map(|(_, records)| records.len()).sum();
    assert_eq!(report.kept, kept as u64);
    let text = String::from_utf8(disk.peek(&out().join("recovered/salvage.txt")).unwrap()).unwrap();
    assert!(text.starts_with("aos.salvage.v1\nlog 0707"), "{text}");
    // It is a log like any other.
    let saved = aos_store::Options {
        create: false,
        ..options()
    };
    let (log, _) = aos_store::Log::open(as_disk(&disk), out(), &saved).unwrap();
    log.close().unwrap();
    assert_eq!(salvage(&disk).unwrap_err().code(), "AOS-B003");
}

#[test]
fn every_byte_that_rots_costs_only_what_it_hits() {
    let disk = written(6);
    let before = held(&disk, path());
    let total: u64 = before.values().map(|records| records.len() as u64).sum();
    let (mut damaged, mut gaps, mut ends, mut behind) = (0, 0, 0, 0);
    for file in segments(&disk) {
        let bytes = disk.peek(&file).unwrap();
        for at in (0..bytes.len()).step_by(37) {
            let what = format!("{} byte {at}", file.display());
            let disk = image(&disk);
            disk.poke_at(&file, &[bytes[at] ^ 0x40], at as u64).unwrap();
            let report = match salvage(&disk) {
                Ok(report) => report,
                Err(error) => {
                    // The version of a header: this build must not judge what a newer one wrote.
                    assert_eq!(error.kind(), ErrorKind::Unsupported, "{what}: {error}");
                    continue;
                }
            };
            judge(&disk, &before, &report, &what);
            let gone = total - (report.kept + report.renewed).min(total);
            let frames = beside(&disk);
            let left = frames
                .iter()
                .filter(|f| f.kind() != Some(Kind::Open))
                .count() as u64;
            assert!(gone - left <= 1, "{what}: one byte is in one frame");
            damaged += 1;
            gaps += report.count(Fate::Gap);
            ends += report.count(Fate::EndUnproven);
            behind += left;
        }
    }
    assert!(
        damaged > 200 && gaps > 20 && ends > 20 && behind > 100,
        "{damaged} {gaps} {ends} {behind}"
    );
}

#[test]
fn what_remains_of_a_mutilated_log_comes_out() {
    let disk = written(7);
    let before = held(&disk, path());
    let files = segments(&disk);
    let mut cases: Vec<(String, SimDisk)> = Vec::new();
    let mut case = |what: String, change: &dyn Fn(&SimDisk)| {
        let disk = image(&disk);
        change(&disk);
        cases.push((what, disk));
    };
    for (index, file) in files.iter().enumerate() {
        let bytes = disk.peek(file).unwrap();
        case(format!("segment {index} is gone"), &|disk| {
            disk.remove(file).unwrap()
        });
        for len in [0, 64, 100, 1000, 2048, 4000] {
            case(format!("segment {index} has {len} bytes"), &|disk| {
                disk.poke(file, &bytes[..len]).unwrap();
            });
        }
        case(format!("segment {index} is too long"), &|disk| {
            disk.poke(file, &[&bytes[..], b"more"].concat()).unwrap();
        });
        for sector in 0..8 {
            case(
                format!("sector {sector} of segment {index} is zeros"),
                &|disk| {
                    disk.poke_at(file, &[0; 512], sector * 512).unwrap();
                },
            );
        }
        let other = &files[(index + 1) % files.len()];
        case(format!("segment {index} is a copy of the next"), &|disk| {
            disk.poke(file, &disk.peek(other).unwrap()).unwrap();
        });
        case(
            format!("segment {index} is exchanged with the next"),
            &|disk| {
                disk.poke(file, &disk.peek(other).unwrap()).unwrap();
                disk.poke(other, &bytes).unwrap();
            },
        );
    }
    case("LOCK is gone".into(), &|disk| {
        disk.remove(&path().join("LOCK")).unwrap()
    });
    case("the catalogue is gone".into(), &|disk| {
        disk.remove(&path().join("catalog.redb")).unwrap();
    });
    case("strangers among the segments".into(), &|disk| {
        disk.poke(&path().join("segments/notes.txt"), b"mine")
            .unwrap();
        disk.poke(
            &path().join("segments").join(segment_file_name(Offset(100))),
            b"x",
        )
        .unwrap();
    });
    assert!(cases.len() > 50, "{}", cases.len());
    for (what, disk) in cases {
        let report = salvage(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        judge(&disk, &before, &report, &what);
        assert!(!what.contains("strangers") || report.strangers.len() == 2);
    }
}

#[test]
fn a_group_that_was_never_acknowledged_is_kept_beside_and_not_in_the_log() {
    let (disk, mut world) = (SimDisk::new(), World::default());
    let (log, _) = open(&disk);
    world.resume(&log, 0);
    work(&log, &mut world, &mut Rng(8), 16).unwrap();
    log.flush().unwrap();
    let before = held(&disk, path());
    let end = reader(&disk).tail().unwrap();
    // The next group: its COMMIT is gone.
    for _ in 0..3 {
        let append = world.any_record(&mut Rng(9), 4);
        log.append(append.draft, append.kind, append.seq).unwrap();
    }
    log.flush().unwrap();
    let after = reader(&disk).tail().unwrap();
    let whole = held(&disk, path());
    drop(log);
    let disk = disk.crash_image(Policy::All);
    let stride = reader(&disk).identity().stride;
    let start = stride.segment_start(end.end);
    assert_eq!(stride.segment_start(after.end), start, "for this seed");
    let file = path().join("segments").join(segment_file_name(start));
    disk.poke_at(&file, &[0; 96], after.end.0 - 96 - start.0)
        .unwrap();
    // With the word, they were acknowledged; without it nothing says so.
    let acknowledged = salvage(&image(&disk)).unwrap();
    assert_eq!(
        (acknowledged.unproven, acknowledged.lost.len()),
        (0, 1),
        "{acknowledged:?}"
    );
    disk.remove(&path().join("LOCK")).unwrap();
    let report = salvage(&disk).unwrap();
    assert_eq!((report.unproven, report.lost.len()), (3, 0), "{report:?}");
    assert!(report.tail.is_none() || report.tail.unwrap().0 >= end.end);
    let saved = held(&disk, out());
    for (stream, records) in &before {
        let new = saved[stream].iter().map(|(rec, _, _)| rec);
        let old = records.iter().map(|(rec, _, _)| rec);
        if *stream != StreamId::CONTROL {
            assert!(new.eq(old), "{stream:?}");
        }
    }
    assert_eq!(
        beside(&disk)
            .iter()
            .filter(|f| f.kind() != Some(Kind::Open))
            .count(),
        3
    );
    assert!(whole != before);
}

#[test]
fn a_segment_of_another_life_is_named_and_its_records_do_not_mix() {
    // Two logs with one id that part after their first opening, as a restored log and its original do.
    let (disk, mut world) = (SimDisk::new(), World::default());
    let (log, _) = open(&disk);
    world.resume(&log, 0);
    work(&log, &mut world, &mut Rng(1), 10).unwrap();
    log.close().unwrap();
    let (one, other) = (image(&disk), image(&disk));
    for (disk, seed) in [(&one, 2), (&other, 3)] {
        let mut world = world.clone();
        let (log, _) = try_open(disk).unwrap();
        world.resume(&log, world.accepted.len());
        work(&log, &mut world, &mut Rng(seed), 60).unwrap();
        log.close().unwrap();
    }
    let (ours, theirs) = (segments(&one), segments(&other));
    let last = ours.len().min(theirs.len()) - 2;
    one.poke(&ours[last], &other.peek(&theirs[last]).unwrap())
        .unwrap();
    let before = held(&disk, path());
    let report = salvage(&one).unwrap();
    assert!(
        !report.breaks.is_empty() && !report.is_whole(),
        "{report:?}"
    );
    assert_eq!(aos_store::check(as_disk(&one), out()).unwrap().findings, []);
    let saved = held(&one, out());
    for (stream, records) in before
        .iter()
        .filter(|(stream, _)| **stream != StreamId::CONTROL)
    {
        let new: Vec<_> = saved[stream]
            .iter()
            .map(|(rec, _, _)| rec)
            .take(records.len())
            .collect();
        assert_eq!(
            new,
            records.iter().map(|(rec, _, _)| rec).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_log_that_is_written_or_newer_is_not_salvaged() {
    let disk = written(5);
    let (log, _) = open(&disk);
    assert_eq!(salvage(&disk).unwrap_err().kind(), ErrorKind::Busy);
    drop(log);
    let first = &segments(&disk)[0];
    let mut header = disk.peek(first).unwrap()[..64].to_vec();
    header[8] = 2;
    let crc = aos_format::wire::crc32(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    disk.poke_at(first, &header, 0).unwrap();
    let error = salvage(&disk).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("version 2"), "{error}");
    assert!(!disk.exists(out()).unwrap());
}

/// A log with damage in its middle.
fn damaged() -> (SimDisk, Held) {
    let disk = written(5);
    let before = held(&disk, path());
    let file = &segments(&disk)[0];
    disk.poke_at(file, &[0xff; 40], 1800).unwrap();
    (disk, before)
}

#[test]
fn a_crash_at_any_operation_of_a_salvage_leaves_no_log_or_all_of_it() {
    let (start, before) = damaged();
    let known = {
        let disk = image(&start);
        salvage(&disk).unwrap();
        (
            disk.ops(),
            contents(&LogReader::open(as_disk(&disk), out()).unwrap()),
        )
    };
    let mut there = 0;
    for at in 1..=known.0 + 1 {
        let disk = image(&start);
        disk.crash_at(at);
        let done = salvage(&disk).is_ok();
        for policy in [Policy::None, Policy::All, Policy::Subset(at)] {
            let what = format!("crash at {at} of {}, {policy:?}", known.0);
            let disk = disk.crash_image(policy);
            for file in segments(&start) {
                assert_eq!(
                    disk.peek(&file),
                    start.peek(&file),
                    "{what}: the damaged log changed"
                );
            }
            if disk.exists(out()).unwrap() {
                there += 1;
            } else {
                assert!(!done, "{what}: a salvaged log was lost");
                let report = salvage(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
                if policy == Policy::None {
                    judge(&disk, &before, &report, &what);
                }
            }
            let reader = LogReader::open(as_disk(&disk), out()).unwrap();
            assert_eq!(contents(&reader), known.1, "{what}");
        }
    }
    assert!(there > 1, "{there}");
}

#[test]
fn a_salvage_whose_disk_fails_or_fills_says_so_and_can_be_done_again() {
    let (start, _) = damaged();
    let (ops, reads, blocks, known) = {
        let disk = image(&start);
        salvage(&disk).unwrap();
        let known = contents(&LogReader::open(as_disk(&disk), out()).unwrap());
        (disk.ops(), disk.reads(), disk.allocated() / 4096, known)
    };
    let again = |disk: &SimDisk, what: &str| {
        let disk = image(disk);
        if !disk.exists(out()).unwrap() {
            salvage(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        let reader = LogReader::open(as_disk(&disk), out()).unwrap();
        assert_eq!(contents(&reader), known, "{what}");
    };
    for (fault, lasts) in [
        (Fault::Io, Persistence::Once),
        (Fault::Io, Persistence::Forever),
        (Fault::Full, Persistence::Forever),
        (Fault::Permission, Persistence::Once),
        (Fault::Interrupted, Persistence::Once),
    ] {
        for at in 1..=ops {
            let what = format!("{fault:?} {lasts:?} at {at} of {ops}");
            let disk = image(&start);
            disk.fail_op(at, fault, lasts);
            let failed = salvage(&disk);
            // Nobody misses what a catalogue that is made again could not do.
            assert!(failed.is_err() || lasts == Persistence::Once, "{what}");
            again(&disk, &what);
        }
    }
    for at in (1..=reads).step_by(3) {
        let disk = image(&start);
        disk.fail_read(at, Fault::Io, Persistence::Once);
        let what = format!("read {at} of {reads}");
        let failed = salvage(&disk);
        assert!(failed.is_err() || disk.exists(out()).unwrap(), "{what}");
        again(&disk, &what);
    }
    let mut full = 0;
    for blocks in start.allocated() / 4096..blocks {
        let what = format!("{blocks} blocks");
        let disk = image(&start);
        disk.set_capacity(Some(blocks * 4096));
        full += usize::from(salvage(&disk).is_err_and(|error| error.kind() == ErrorKind::Full));
        disk.set_capacity(None);
        again(&disk, &what);
    }
    assert!(full > 3, "{full}");
}
