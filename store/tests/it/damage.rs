//! Torn tails, gaps and damage: what is cut, what is refused, what is only reported.

use crate::support::{
    Rng, World, as_disk, contents, open, path, reader, try_open, verify, verify_some, work,
};
use aos_disk::Disk;
use aos_disk::sim::{Policy, SimDisk};
use aos_format::offset::{Offset, segment_file_name};
use aos_store::{ErrorKind, FindingKind, Group, LogReader, TailState, check};
use std::path::PathBuf;

fn segment(start: u64) -> PathBuf {
    path()
        .join("segments")
        .join(segment_file_name(Offset(start)))
}

/// A log of some segments that was dropped, not closed: its last group holds records.
fn dropped_log() -> (SimDisk, World) {
    let disk = SimDisk::new();
    let mut world = World::default();
    let (log, _) = open(&disk);
    world.resume(&log, 0);
    work(&log, &mut world, &mut Rng(2), 62).unwrap();
    log.flush().unwrap();
    world.acknowledge_all();
    drop(log);
    (disk.crash_image(Policy::All), world)
}

fn groups(reader: &LogReader) -> Vec<Group> {
    let walks = reader.segments().unwrap().into_iter();
    walks
        .flat_map(|segment| reader.walk(segment.start).unwrap().groups)
        .collect()
}

/// Takes the durable words away, as a power cut does that outruns them.
fn forget_words(disk: &SimDisk) {
    disk.poke_at(&path().join("LOCK"), &[0; 64], 64).unwrap();
}

fn last_group(disk: &SimDisk) -> Group {
    let group = groups(&reader(disk)).pop().unwrap();
    assert!(group.records().count() > 0);
    group
}

/// Overwrites bytes at a log offset.
fn poke(disk: &SimDisk, offset: u64, bytes: &[u8]) {
    let start = offset & !4095;
    disk.poke_at(&segment(start), bytes, offset - start)
        .unwrap();
}

fn flip(disk: &SimDisk, offset: u64) {
    let start = offset & !4095;
    let byte = disk.peek(&segment(start)).unwrap()[(offset - start) as usize];
    poke(disk, offset, &[byte ^ 1]);
}

fn refused(disk: &SimDisk, kind: ErrorKind) -> aos_store::Finding {
    let files = |disk: &SimDisk| -> Vec<_> {
        let names = disk.files().into_iter();
        names.map(|path| (disk.peek(&path), path)).collect()
    };
    let before = files(disk);
    let error = try_open(disk).map(drop).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!(files(disk), before, "a refused opening changes nothing");
    let report = check(as_disk(disk), path()).unwrap();
    assert!(!report.findings.is_empty());
    error.finding().unwrap().clone()
}

#[test]
fn a_torn_tail_is_cut_at_the_last_whole_group_and_kept_aside() {
    let (disk, mut world) = dropped_log();
    forget_words(&disk);
    let last = last_group(&disk);
    let torn_records = last.records().count();
    flip(&disk, last.end.0 - 8);
    let tail = reader(&disk).tail().unwrap();
    assert_eq!(tail.end, last.start);
    let TailState::Torn {
        start,
        length,
        finding,
    } = tail.state
    else {
        panic!("{:?}", tail.state);
    };
    assert_eq!(start, last.start);
    assert_eq!(finding.kind, FindingKind::TailUnproven);
    let torn = reader(&disk)
        .read_range(start.0..start.0 + length)
        .unwrap()
        .to_vec();
    let error = reader(&disk).scan(Offset(0)).unwrap().last().unwrap();
    assert_eq!(
        error.unwrap_err().finding().unwrap().kind,
        FindingKind::TailUnproven
    );
    let (log, opened) = open(&disk);
    let cut = opened.tail_cut.unwrap();
    assert_eq!((cut.start, cut.len), (start, length));
    assert_eq!(disk.peek(&path().join(&cut.saved_as)).unwrap(), torn);
    assert_eq!(cut.sha256, aos_format::digest::Digest::of(&torn));
    world
        .acknowledged
        .retain(|n| n + torn_records < world.accepted.len());
    let survivors = verify(&disk, &log, &world, "cut");
    assert_eq!(survivors, world.accepted.len() - torn_records);
    let opened = log
        .stream(aos_format::record::StreamId::CONTROL, 1)
        .unwrap();
    let opened = opened.last().unwrap();
    let det = opened.view().unwrap().det();
    let (_, event) = aos_format::event::Event::decode(aos_format::frame::Kind::Open, det).unwrap();
    let aos_format::event::Event::Open(opened) = event else {
        panic!("{event:?}");
    };
    assert_eq!(
        (opened.cut_start, opened.cut_len, opened.cut_digest),
        (cut.start.0, cut.len, Some(cut.sha256))
    );
}

#[test]
fn a_damaged_log_without_lock_is_refused_and_gets_none() {
    let (disk, _) = dropped_log();
    as_disk(&disk).remove(&path().join("LOCK")).unwrap();
    flip(&disk, 200);
    refused(&disk, ErrorKind::Damaged);
    assert!(disk.peek(&path().join("LOCK")).is_none());
}

#[test]
fn the_same_bytes_below_the_durable_word_are_damage() {
    let (disk, _) = dropped_log();
    let last = last_group(&disk);
    flip(&disk, last.end.0 - 8);
    let finding = refused(&disk, ErrorKind::Damaged);
    assert_eq!(finding.kind, FindingKind::Corruption);
    assert!(finding.offset >= last.start && finding.offset < last.end);
}

#[test]
fn a_missing_acknowledged_group_is_damage() {
    let (disk, _) = dropped_log();
    let last = last_group(&disk);
    poke(
        &disk,
        last.start.0,
        &vec![0; (last.end.0 - last.start.0) as usize],
    );
    let finding = refused(&disk, ErrorKind::Damaged);
    assert_eq!(
        (finding.offset, finding.found.as_str()),
        (last.start, "zeros")
    );
}

#[test]
fn every_way_to_tear_the_last_group_is_cut_and_not_damage() {
    let (disk, world) = dropped_log();
    forget_words(&disk);
    let last = last_group(&disk);
    let torn_records = last.records().count();
    let blocks = (last.end.0 - last.start.0) / 16;
    // Holes of every place and length, its COMMIT surviving or not.
    for from in (0..blocks).step_by(3) {
        for to in (from + 1..=blocks).step_by(7) {
            let image = disk.crash_image(Policy::All);
            let (at, len) = (last.start.0 + from * 16, (to - from) * 16);
            let start = at & !4095;
            let file = image.peek(&segment(start)).unwrap();
            let bytes = &file[(at - start) as usize..][..len as usize];
            if bytes.iter().all(|&b| b == 0) {
                continue;
            }
            poke(&image, at, &vec![0; len as usize]);
            let what = format!("{len} bytes from {at} of {last:?}");
            let (log, _) = try_open(&image).unwrap_or_else(|e| panic!("{what}: {e}"));
            let mut world = world.clone();
            world
                .acknowledged
                .retain(|n| n + torn_records < world.accepted.len());
            verify(&image, &log, &world, &what);
        }
    }
}

#[test]
fn a_whole_group_behind_a_bad_one_is_damage() {
    let (disk, _) = dropped_log();
    forget_words(&disk);
    let all = groups(&reader(&disk));
    let [.., bad, last] = all.as_slice() else {
        panic!("too few groups");
    };
    flip(&disk, bad.start.0 + 20);
    let finding = refused(&disk, ErrorKind::Damaged);
    assert_eq!(finding.offset, bad.start);
    let said = format!("before the group at {}", last.start);
    assert!(finding.expected.contains(&said), "{finding}");
}

#[test]
fn bytes_far_behind_the_tail_are_damage() {
    let (disk, _) = dropped_log();
    forget_words(&disk);
    let tail = reader(&disk).tail().unwrap();
    let end = (tail.end.0 & !4095) + 4096;
    let spare = segment(end);
    disk.poke(&spare, &[0; 4096]).unwrap();
    assert_eq!(
        reader(&disk).tail().unwrap().state.finding(),
        None,
        "a spare"
    );
    let (log, _) = open(&disk.crash_image(Policy::All));
    log.close().unwrap();
    disk.poke_at(&spare, &[1], 4095).unwrap();
    let finding = refused(&disk, ErrorKind::Damaged);
    assert_eq!(finding.offset, Offset(end));
}

#[test]
fn a_second_spare_is_damage() {
    let (disk, _) = dropped_log();
    let end = (reader(&disk).tail().unwrap().end.0 & !4095) + 4096;
    disk.poke(&segment(end), &[0; 4096]).unwrap();
    disk.poke(&segment(end + 4096), &[0; 4096]).unwrap();
    refused(&disk, ErrorKind::Damaged);
}

/// A log that a power cut ended right behind END: the next segment is there and empty.
fn log_before_an_empty_segment() -> (SimDisk, World, u64) {
    (1..)
        .find_map(|at| {
            let disk = SimDisk::new();
            disk.crash_at(at);
            let mut world = World::default();
            let (log, _) = try_open(&disk).ok()?;
            world.resume(&log, 0);
            let _cut = work(&log, &mut world, &mut Rng(2), 62);
            assert!(disk.is_crashed(), "no power cut behind END");
            let image = disk.crash_image(Policy::None);
            let last = groups(&reader(&image)).pop()?;
            let next = (last.end.0 | 4095) + 1;
            let empty = image.peek(&segment(next))?.iter().all(|byte| *byte == 0);
            (last.records().count() == 0 && empty).then_some((image, world, next))
        })
        .unwrap()
}

#[test]
fn one_more_empty_segment_may_follow_the_one_where_a_log_ends() {
    let (disk, world, next) = log_before_an_empty_segment();
    disk.poke(&segment(next + 4096), &[0; 4096]).unwrap();
    assert_eq!(reader(&disk).tail().unwrap().state.finding(), None);
    let image = disk.crash_image(Policy::All);
    let (log, _) = open(&image);
    verify_some(&image, &log, &world, "two empty segments");

    let third = disk.crash_image(Policy::All);
    third.poke(&segment(next + 8192), &[0; 4096]).unwrap();
    refused(&third, ErrorKind::Damaged);
    let written = disk.crash_image(Policy::All);
    written.poke_at(&segment(next + 4096), &[1], 9).unwrap();
    refused(&written, ErrorKind::Damaged);
}

#[test]
fn a_missing_segment_is_a_gap() {
    let (disk, _) = dropped_log();
    let last = reader(&disk).tail().unwrap().end.0 & !4095;
    for start in [0, 4096, last] {
        let image = disk.crash_image(Policy::All);
        image.remove(&segment(start)).unwrap();
        let finding = refused(&image, ErrorKind::Gap);
        assert_eq!(finding.offset, Offset(start));
        let end = reader(&image).scan(Offset(0)).unwrap().last().unwrap();
        let end = end.unwrap_err();
        assert_eq!(end.finding().unwrap().kind, FindingKind::Gap, "{end}");
        assert_eq!(end.finding().unwrap().offset, Offset(start));
    }
}

#[test]
fn the_end_of_a_segment_without_the_next_is_a_gap_even_without_words() {
    let (disk, _) = dropped_log();
    forget_words(&disk);
    let last = reader(&disk).tail().unwrap().end.0 & !4095;
    disk.remove(&segment(last)).unwrap();
    refused(&disk, ErrorKind::Gap);
}

#[test]
fn a_segment_of_another_length_is_damage() {
    let (disk, _) = dropped_log();
    for len in [0, 4095, 4097, 64] {
        let image = disk.crash_image(Policy::All);
        let mut bytes = image.peek(&segment(4096)).unwrap();
        bytes.resize(len, 0);
        image.poke(&segment(4096), &bytes).unwrap();
        let finding = refused(&image, ErrorKind::Damaged);
        assert_eq!(finding.offset, Offset(4096));
        assert_eq!(finding.found, format!("{len} bytes"));
    }
}

#[test]
fn swapped_and_foreign_segments_are_damage() {
    let (disk, _) = dropped_log();
    let (first, second) = (
        disk.peek(&segment(0)).unwrap(),
        disk.peek(&segment(4096)).unwrap(),
    );
    let swapped = disk.crash_image(Policy::All);
    swapped.poke(&segment(0), &second).unwrap();
    swapped.poke(&segment(4096), &first).unwrap();
    refused(&swapped, ErrorKind::Damaged);

    let other = SimDisk::new();
    let options = aos_store::Options {
        log_id: aos_format::digest::LogId([8; 16]),
        ..crate::support::options()
    };
    let (log, _) = aos_store::Log::open(as_disk(&other), path(), &options).unwrap();
    log.close().unwrap();
    let foreign = disk.crash_image(Policy::All);
    foreign
        .poke(&segment(4096), &other.peek(&segment(0)).unwrap())
        .unwrap();
    refused(&foreign, ErrorKind::Damaged);
}

#[test]
fn a_segment_from_another_continuation_of_the_log_does_not_fit() {
    // A copy of the log is written on separately; its later segment has the right log id, offset and epoch.
    let (disk, world) = dropped_log();
    let grow = |seed: u64| {
        let image = disk.crash_image(Policy::All);
        let mut world = world.clone();
        let (log, _) = open(&image);
        world.resume(&log, world.accepted.len());
        work(&log, &mut world, &mut Rng(seed), 60).unwrap();
        log.close().unwrap();
        image
    };
    let (ours, theirs) = (grow(1), grow(2));
    let segments = reader(&ours).segments().unwrap();
    let middle = segments[segments.len() - 2].start.0;
    ours.poke(&segment(middle), &theirs.peek(&segment(middle)).unwrap())
        .unwrap();
    let report = check(as_disk(&ours), path()).unwrap();
    assert!(!report.findings.is_empty());
    let end = reader(&ours).scan(Offset(0)).unwrap().last().unwrap();
    assert!(end.is_err());
}

#[test]
fn a_segment_from_a_continuation_of_the_same_shape_does_not_fit_either() {
    // Both continuations have the same groups at the same offsets; only the chain of commits tells them apart.
    let (disk, world) = dropped_log();
    let grow = |byte: u8| {
        let image = disk.crash_image(Policy::All);
        let mut world = world.clone();
        let (log, _) = open(&image);
        world.resume(&log, world.accepted.len());
        for _ in 0..40 {
            let bytes = vec![byte; 200];
            let event = aos_format::event::Event::Step(crate::support::step("/do/0/a", &bytes));
            let stream = crate::support::run_stream(77);
            let item = world.next(stream, event, vec![(4, bytes)]);
            let ticket = log.append(item.draft, item.kind, item.seq).unwrap();
            log.wait(ticket).unwrap();
        }
        log.close().unwrap();
        image
    };
    let (ours, theirs) = (grow(1), grow(2));
    let shape = |disk: &SimDisk| -> Vec<_> {
        let groups = groups(&reader(disk)).into_iter();
        groups
            .map(|group| (group.number, group.start, group.end))
            .collect()
    };
    assert_eq!(shape(&ours), shape(&theirs));
    let segments = reader(&ours).segments().unwrap();
    let middle = segments[segments.len() - 2].start.0;
    ours.poke(&segment(middle), &theirs.peek(&segment(middle)).unwrap())
        .unwrap();
    let report = check(as_disk(&ours), path()).unwrap();
    assert_eq!(report.findings[0].kind, FindingKind::Corruption);
    assert!(report.findings[0].expected.starts_with("commit"));
}

#[test]
fn what_was_cut_off_does_not_come_back_when_the_power_goes_while_opening() {
    // A whole frame of the torn group stands exactly where the group after OPEN will begin.
    let (disk, mut world) = dropped_log();
    let open_len = {
        let image = disk.crash_image(Policy::All);
        forget_words(&image);
        flip(&image, last_group(&image).end.0 - 8);
        drop(open(&image));
        let opened = groups(&reader(&image)).pop().unwrap();
        opened.end.0 - opened.start.0
    };
    let (log, _) = open(&disk);
    world.resume(&log, world.accepted.len());
    let mut batch = Vec::new();
    // Room for the group in the segment, whatever the records before it take.
    while log.durable().0 % 4096 > 2048 {
        let event = aos_format::event::Event::Step(crate::support::step("/do/0/a", b"1"));
        let next = world.next(
            crate::support::run_stream(77),
            event,
            vec![(4, b"1".to_vec())],
        );
        let ticket = log.append_batch(vec![next]).unwrap();
        log.wait(ticket).unwrap();
    }
    let start = log.durable();
    // The first frame is as long as the group of OPEN: its value is made to fit.
    let value = (0..1000).rev().find(|len| {
        let bytes = vec![1; *len];
        let event = aos_format::event::Event::Step(crate::support::step("/do/0/a", &bytes));
        let stream = crate::support::run_stream(77);
        let draft = world.clone().next(stream, event, vec![(4, bytes)]).draft;
        64 + draft.encode().bytes.len() as u64 == open_len
    });
    for len in [value, Some(10)] {
        let bytes = vec![1; len.expect("some length fits")];
        let event = aos_format::event::Event::Step(crate::support::step("/do/0/a", &bytes));
        batch.push(world.next(crate::support::run_stream(77), event, vec![(4, bytes)]));
    }
    let ticket = log.append_batch(batch).unwrap();
    log.wait(ticket).unwrap();
    drop(log);
    let disk = disk.crash_image(Policy::All);
    forget_words(&disk);
    let last = last_group(&disk);
    assert_eq!(
        (last.start, last.frames.len()),
        (start, 2),
        "not in a new segment"
    );
    assert_eq!(last.frames[1].offset.0, last.start.0 + open_len);
    flip(&disk, last.start.0 + 100);
    world.accepted.truncate(world.accepted.len() - 2);
    let ops = {
        let image = disk.crash_image(Policy::All);
        drop(open(&image));
        let opened = groups(&reader(&image)).pop().unwrap();
        assert_eq!(
            (opened.start, opened.end),
            (last.start, last.frames[1].offset)
        );
        image.ops()
    };
    for at in 1..=ops {
        for seed in 0..30 {
            let image = disk.crash_image(Policy::All);
            image.crash_at(at);
            drop(try_open(&image));
            let what = format!("crash at {at} of {ops}, seed {seed}");
            let image = image.crash_image(Policy::Subset(seed));
            let (log, _) = try_open(&image).unwrap_or_else(|e| panic!("{what}: {e}"));
            verify(&image, &log, &world, &what);
        }
    }
}

#[test]
fn a_stale_frame_where_the_next_group_belongs_is_not_taken_and_not_cut() {
    // The group that an opening cut off comes back (a misdirected or undone write).
    let (disk, _) = dropped_log();
    forget_words(&disk);
    let last = last_group(&disk);
    let start = last.start.0 & !4095;
    let whole = disk.peek(&segment(start)).unwrap();
    flip(&disk, last.end.0 - 8);
    let (log, opened) = open(&disk);
    assert!(opened.tail_cut.is_some());
    let opened_at = groups(&reader(&disk)).pop().unwrap();
    log.close().unwrap();
    assert_eq!(opened_at.start, last.start);
    let stale = &whole[(last.start.0 - start) as usize..(last.end.0 - start) as usize];
    poke(&disk, last.start.0, stale);
    refused(&disk, ErrorKind::Damaged);
}

#[test]
fn bytes_after_the_end_of_a_segment_are_damage() {
    let (disk, _) = dropped_log();
    let walk = reader(&disk).walk(Offset(0)).unwrap();
    let end = walk.groups.last().unwrap().end.0;
    assert!(end < 4096, "the segment has bytes to spare");
    poke(&disk, 4095, &[1]);
    let report = check(as_disk(&disk), path()).unwrap();
    assert_eq!(report.findings[0].kind, FindingKind::Corruption);
    assert_eq!(report.findings[0].offset, Offset(end));
}

#[test]
fn an_existing_copy_of_torn_bytes_is_never_overwritten() {
    let (disk, _) = dropped_log();
    forget_words(&disk);
    flip(&disk, last_group(&disk).end.0 - 8);
    let first = disk.crash_image(Policy::All);
    let (_, opened) = open(&first);
    let saved = path().join(opened.tail_cut.unwrap().saved_as);
    disk.poke(&saved, b"kept").unwrap();
    drop(open(&disk));
    assert_eq!(disk.peek(&saved).unwrap(), b"kept");
}

#[test]
fn records_before_the_damage_can_still_be_read() {
    let (disk, world) = dropped_log();
    let all = groups(&reader(&disk));
    let bad = &all[all.len() / 2];
    flip(&disk, bad.start.0 + 70);
    let before: Vec<_> = reader(&disk)
        .scan(Offset(0))
        .unwrap()
        .filter_map(Result::ok)
        .map(|record| crate::support::Rec::of(&record))
        .filter(|rec| rec.kind != aos_format::frame::Kind::Open)
        .collect();
    assert!(!before.is_empty() && before.len() < world.accepted.len());
    assert_eq!(before, world.accepted[..before.len()]);
    // And what stands behind it, from the next segment on.
    let next = Offset((bad.start.0 & !4095) + 4096);
    let after: Vec<_> = reader(&disk)
        .scan(next)
        .unwrap()
        .map(|record| crate::support::Rec::of(&record.unwrap()))
        .collect();
    assert!(world.accepted.ends_with(&after));
}

#[test]
fn the_last_group_is_pending_until_something_proves_it() {
    let (disk, _) = dropped_log();
    let last = last_group(&disk);
    assert!(!reader(&disk).tail().unwrap().pending, "the word covers it");
    forget_words(&disk);
    let reader = reader(&disk);
    let tail = reader.tail().unwrap();
    assert_eq!((tail.pending, tail.durable), (true, last.start));
    for record in reader.scan(Offset(0)).unwrap() {
        let record = record.unwrap();
        assert_eq!(record.is_pending(), record.offset() >= last.start);
        let again = reader.read(record.offset()).unwrap();
        assert_eq!(again.is_pending(), record.is_pending());
    }
    assert!(!contents(&reader).is_empty());
}

#[test]
fn a_rotten_header_of_the_segment_in_use_refuses_writing() {
    let (disk, _) = dropped_log();
    let reader = LogReader::open(as_disk(&disk), path()).unwrap();
    let end = reader.tail().unwrap().end;
    let start = end.0 / 4096 * 4096;
    assert!(end.0 > start + 64, "the word lies inside the segment");
    drop(reader);
    flip(&disk, start + 40);
    let finding = refused(&disk, ErrorKind::Damaged);
    assert_eq!(finding.offset.0, start);
}
