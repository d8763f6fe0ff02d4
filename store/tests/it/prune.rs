//! A log without its beginning: what is gone is answered for, what is kept is whole, and no crash loses anything.

use crate::support::*;
use aos_disk::sim::{Policy, SimDisk};
use aos_disk::{Disk, OpenMode};
use aos_format::digest::{Digest, LogId};
use aos_format::event::Event;
use aos_format::offset::{Offset, segment_file_name};
use aos_format::record::StreamId;
use aos_store::{
    CatalogueCheck, Error, ErrorKind, FindingKind, Index, Log, LogReader, Options, PruneReport,
    PrunedArchive, Pruning, Source, StoredRecord, TailState, backup, check, prune,
    rebuild_catalogue, repair, restore, salvage,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn sealing() -> Options {
    Options {
        seal: true,
        ..options()
    }
}

fn open_sealing(disk: &SimDisk) -> Log {
    let opened = Log::open(as_disk(disk), path(), &sealing());
    opened.unwrap_or_else(|error| panic!("{error}")).0
}

/// `runs` runs, each beginning before the one before it ends, with records of the log and of resources between them. Those
/// from `open` on do not end.
fn fill(log: &Log, world: &mut World, runs: std::ops::Range<u64>, open: u64) {
    let put = |item: aos_store::Append| {
        log.append(item.draft, item.kind, item.seq).unwrap();
    };
    for n in runs.clone() {
        put(world.next(run_stream(n), Event::Start(start(n)), Vec::new()));
        for number in 0..3 {
            let bytes = vec![n as u8; 200];
            let step = step(&format!("/do/{number}/step"), &bytes);
            put(world.next(run_stream(n), Event::Step(step), vec![(4, bytes)]));
        }
        if n % 3 == 0 {
            put(world.next(resource(1), Event::Decision(decision()), Vec::new()));
            let definition = definition(n as u8);
            put(world.next(StreamId::CONTROL, Event::Definition(definition), Vec::new()));
        }
        if n > runs.start && n - 1 < open {
            put(world.next(run_stream(n - 1), Event::End(end()), Vec::new()));
        }
        log.flush().unwrap();
    }
    let last = runs.end - 1;
    if last < open {
        put(world.next(run_stream(last), Event::End(end()), Vec::new()));
    }
}

/// A sealed log of some segments, all of whose runs have ended.
fn sealed(seed: u64) -> SimDisk {
    let disk = SimDisk::with_seed(seed);
    let mut world = World::default();
    for part in 0..3u64 {
        let log = open_sealing(&disk);
        world.resume(&log, usize::MAX);
        fill(&log, &mut world, part * 8..part * 8 + 8, u64::MAX);
        log.close().unwrap();
    }
    disk
}

fn archive(name: &str) -> PrunedArchive {
    PrunedArchive {
        name: name.into(),
        sha256: Digest::of(name.as_bytes()),
        origin: "aos.log/07".into(),
        records: 9,
        root: Digest([3; 32]),
        start: Offset(64),
        end: Offset(1 << 20),
    }
}

fn try_prune(disk: &SimDisk, upto: Offset, dry_run: bool) -> Result<PruneReport, Error> {
    let mut pruning = Pruning {
        upto,
        archives: vec![archive("one.golden")],
        holds: &mut |_, _| Ok(true),
        dry_run,
    };
    prune(as_disk(disk), path(), &mut pruning)
}

const ALL: Offset = Offset(u64::MAX);

fn pruned(disk: &SimDisk) -> PruneReport {
    try_prune(disk, ALL, false).unwrap_or_else(|error| panic!("{error}"))
}

/// Records by offset, as they stand.
fn records(reader: &LogReader) -> BTreeMap<Offset, (StreamId, Rec)> {
    let read = |record: Result<StoredRecord, Error>| {
        let record = record.unwrap_or_else(|error| panic!("{error}"));
        (
            record.offset(),
            (record.stream().unwrap(), Rec::of(&record)),
        )
    };
    reader.scan(Offset(0)).unwrap().map(read).collect()
}

fn index(disk: &SimDisk) -> Index {
    (*reader(disk).index().unwrap()).clone()
}

/// What must hold of `disk`, pruned up to some point or not at all, given the log as it was before.
fn holds(disk: &SimDisk, whole: &SimDisk, what: &str) -> Offset {
    let (now, then) = (reader(disk), reader(whole));
    let end = now.pruned().map_or(Offset(0), |base| base.end());
    let (rows, before) = (index(disk), index(whole));
    assert_eq!(rows.finding, None, "{what}");
    assert_eq!(rows.rows, before.rows, "{what}: rows");
    let gone = |stream: StreamId| {
        let row = stream.as_run().map(|run| &before.rows.runs[&run]);
        row.is_some_and(|row| row.status.is_ended() && row.head < end)
    };
    let expected: BTreeMap<_, _> = records(&then)
        .into_iter()
        .filter(|(_, (stream, _))| !gone(*stream))
        .collect();
    assert_eq!(records(&now), expected, "{what}: records");
    for (at, (stream, rec)) in records(&then) {
        match now.read(at) {
            Ok(record) => assert_eq!((stream, Rec::of(&record)), (stream, rec), "{what}"),
            Err(error) => {
                assert!(gone(stream), "{what}: {error}");
                assert_eq!(error.kind(), ErrorKind::Pruned, "{what}");
                assert!(error.to_string().contains("one.golden"), "{what}: {error}");
            }
        }
    }
    let runs = before.rows.runs.keys().map(|run| StreamId::run(*run));
    for stream in runs.chain([StreamId::CONTROL, resource(1)]) {
        let (found, expected) = (now.stream(stream, 1), then.stream(stream, 1).unwrap());
        match found {
            Ok(found) => assert_eq!(found.len(), expected.len(), "{what}"),
            Err(error) => assert!(gone(stream), "{what}: {error}"),
        }
    }
    let report = check(as_disk(disk), path()).unwrap();
    assert_eq!(report.findings, Vec::new(), "{what}");
    end
}

/// The log can be written on, closed, and read again.
fn goes_on(disk: &SimDisk, what: &str) {
    let rows = index(disk).rows;
    let log = open_sealing(disk);
    assert_eq!(log.rows().unwrap().runs, rows.runs, "{what}");
    let mut world = World::default();
    world.resume(&log, usize::MAX);
    world.learn(&log, resource(1));
    fill(&log, &mut world, 100..112, u64::MAX);
    log.close().unwrap();
    let report = check(as_disk(disk), path()).unwrap();
    assert_eq!(report.findings, Vec::new(), "{what}");
    let matches = matches!(report.catalogue, CatalogueCheck::Matches { .. });
    assert!(matches, "{what}: {:?}", report.catalogue);
}

#[test]
fn a_pruned_log_answers_as_before_but_for_the_runs_that_are_gone() {
    let (disk, whole) = (sealed(1), sealed(1));
    let dry = try_prune(&disk, ALL, true).unwrap();
    assert_eq!(holds(&disk, &whole, "a dry run"), Offset(0));
    let report = pruned(&disk);
    assert_eq!(report, dry, "a dry run says what is done");
    assert!(
        report.segments.len() >= 3 && report.records > 50,
        "{report:?}"
    );
    assert_eq!(report.end.0, report.segments.len() as u64 * 4096);
    for name in &report.segments {
        assert!(!disk.exists(&path().join("segments").join(name)).unwrap());
    }
    assert_eq!(holds(&disk, &whole, "pruned"), report.end);
    let rows = index(&disk).rows;
    let gone = rows
        .runs
        .values()
        .filter(|row| row.head < report.end)
        .count();
    assert_eq!(gone as u64, report.runs);
    assert!(
        rows.runs
            .values()
            .any(|row| row.start < report.end && row.head > report.end)
    );
    // Nothing is left to do.
    let again = pruned(&disk);
    assert_eq!((again.segments.len(), again.end), (0, report.end));
    goes_on(&disk, "pruned");
}

#[test]
fn what_is_derived_or_lost_is_made_again_from_what_was_kept() {
    let (disk, whole) = (sealed(2), sealed(2));
    let end = pruned(&disk).end;
    rebuild_catalogue(as_disk(&disk), path()).unwrap();
    holds(&disk, &whole, "catalogue built again");
    disk.remove(&path().join("catalog.redb")).unwrap();
    disk.remove(&path().join("LOCK")).unwrap();
    assert_eq!(reader(&disk).pruned().unwrap().end(), end);
    goes_on(&disk, "without LOCK and catalogue");
    assert_eq!(repair(as_disk(&disk), path(), &sealing()).unwrap(), None);
}

#[test]
fn a_log_is_pruned_again_and_keeps_what_the_first_pruning_kept() {
    let (disk, whole) = (sealed(3), sealed(3));
    let first = try_prune(&disk, Offset(9000), false).unwrap();
    assert_eq!(first.end, Offset(8192));
    let stopped = first.stopped.unwrap();
    assert_eq!(
        (stopped.segment, stopped.offset),
        (Offset(8192), Offset(9000))
    );
    assert_eq!(holds(&disk, &whole, "first"), Offset(8192));
    let second = pruned(&disk);
    assert!(second.end > first.end && second.kept > first.kept && second.runs > first.runs);
    assert_eq!(holds(&disk, &whole, "second"), second.end);
    goes_on(&disk, "pruned twice");
    // And a third time, after it was written on.
    let before = index(&disk);
    let third = pruned(&disk);
    assert!(third.end > second.end);
    assert_eq!(index(&disk).rows, before.rows);
}

#[test]
fn nothing_goes_that_a_run_or_a_reader_still_needs() {
    // A run that has not ended is kept whole, and goes on.
    let disk = SimDisk::with_seed(4);
    let mut world = World::default();
    let log = open_sealing(&disk);
    world.resume(&log, usize::MAX);
    fill(&log, &mut world, 0..9, 8);
    fill(&log, &mut world, 20..40, u64::MAX);
    log.close().unwrap();
    let report = pruned(&disk);
    let stopped = report.stopped.map_or(String::new(), |stopped| stopped.why);
    assert!(!stopped.contains("run"), "{stopped}");
    let unended = index(&disk).rows.runs[&run_id(8)].clone();
    assert!(unended.head < report.end && !unended.status.is_ended());
    let stream = StreamId::run(run_id(8));
    assert_eq!(reader(&disk).stream(stream, 1).unwrap().len(), 4);
    let log = open_sealing(&disk);
    assert_eq!(log.open_runs().unwrap().len(), 1);
    let mut world = World::default();
    for stream in [StreamId::CONTROL, stream, resource(1)] {
        world.learn(&log, stream);
    }
    let item = world.next(stream, Event::End(end()), Vec::new());
    log.append(item.draft, item.kind, item.seq).unwrap();
    fill(&log, &mut world, 50..60, u64::MAX);
    log.close().unwrap();
    // It has ended, but no archive holds what was kept of it: it stays.
    let first = unended.start;
    let mut pruning = Pruning {
        upto: ALL,
        archives: vec![archive("two.golden")],
        holds: &mut |record, _| Ok(record.offset() != first),
        dry_run: false,
    };
    let report = prune(as_disk(&disk), path(), &mut pruning).unwrap();
    assert!(report.end > unended.head);
    assert_eq!(reader(&disk).stream(stream, 1).unwrap().len(), 5);
    assert!(reader(&disk).pruned().unwrap().archives().len() == 2);

    // A record that no archive holds.
    let disk = sealed(4);
    let missing = index(&disk).rows.runs[&run_id(10)].start;
    let mut pruning = Pruning {
        upto: ALL,
        archives: vec![archive("one.golden")],
        holds: &mut |record, _| Ok(record.offset() != missing),
        dry_run: false,
    };
    let report = prune(as_disk(&disk), path(), &mut pruning).unwrap();
    assert!(report.end <= missing && report.end > Offset(0));
    let stopped = report.stopped.unwrap();
    assert!(stopped.offset == missing && stopped.why.contains("none of the archives"));

    // A log that is not sealed, and one that somebody writes.
    let disk = SimDisk::new();
    let (log, _) = open(&disk);
    let mut world = World::default();
    world.resume(&log, usize::MAX);
    fill(&log, &mut world, 0..20, u64::MAX);
    assert_eq!(
        try_prune(&disk, ALL, false).unwrap_err().kind(),
        ErrorKind::Busy
    );
    log.close().unwrap();
    let report = pruned(&disk);
    assert_eq!((report.end, report.segments.len()), (Offset(0), 0));
    assert!(report.stopped.unwrap().why.contains("no seal"));
}

#[test]
fn a_seal_that_the_records_do_not_give_stops_pruning() {
    // Two logs of one id whose records differ, and their segments exchanged: the chain of groups says so first.
    let (disk, other) = (sealed(5), sealed(5));
    let segment = path()
        .join("segments")
        .join(segment_file_name(Offset(4096)));
    let mut bytes = vec![0; 4096];
    let file = other.open(&segment, OpenMode::ReadWrite).unwrap();
    file.read_exact_at(&mut bytes, 0).unwrap();
    let spoilt = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[spoilt] ^= 1;
    let file = disk.open(&segment, OpenMode::ReadWrite).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    let error = try_prune(&disk, ALL, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(disk.exists(&segment).unwrap());
    assert!(!disk.exists(&path().join("PRUNED")).unwrap());
}

/// A prune that the power stops at operation `at`.
fn broken_off(seed: u64, at: u64) -> SimDisk {
    let disk = sealed(seed).crash_image(Policy::All);
    disk.crash_at(at);
    let _crashed = try_prune(&disk, ALL, false);
    disk
}

#[test]
fn a_prune_that_breaks_off_anywhere_loses_nothing_and_can_be_run_again_to_its_end() {
    let seed = 6;
    let whole = sealed(seed);
    let target = sealed(seed).crash_image(Policy::All);
    let end = pruned(&target).end;
    let ops = broken_off(seed, u64::MAX).ops();
    assert!(ops > 10, "{ops}");
    let mut seen = [0; 2];
    for at in 1..=ops + 1 {
        let disk = broken_off(seed, at);
        let mut images: Vec<(String, SimDisk)> = [
            Policy::None,
            Policy::All,
            Policy::Subset(2 * at),
            Policy::Subset(2 * at + 1),
        ]
        .into_iter()
        .map(|policy| (format!("{policy:?}"), disk.crash_image(policy)))
        .collect();
        images.push(("killed".into(), disk.process_crash_image()));
        for (policy, image) in images {
            let what = format!("crash at {at} of {ops}, {policy}");
            let found = holds(&image, &whole, &what);
            assert!(found == Offset(0) || found == end, "{what}: {found}");
            seen[usize::from(found == end)] += 1;
            // Once by writing first, once by pruning at once.
            if at % 2 == 0 {
                goes_on(&image, &what);
                let report = pruned(&image);
                assert!(report.end >= end, "{what}");
            } else {
                let report = pruned(&image);
                assert_eq!(report.end, end, "{what}");
                assert_eq!(holds(&image, &whole, &what), end, "{what}");
            }
            let left = image.list(&path().join("segments")).unwrap();
            assert!(
                left.iter().all(|name| *name >= segment_file_name(end)),
                "{what}: {left:?}"
            );
            assert_eq!(image.broken_promises(), Vec::<String>::new(), "{what}");
        }
    }
    assert!(
        seen[0] > 10 && seen[1] > 10,
        "both sides were met: {seen:?}"
    );
}

#[test]
fn a_second_prune_that_breaks_off_anywhere_keeps_what_the_first_kept() {
    let seed = 7;
    let whole = sealed(seed);
    let first = sealed(seed);
    try_prune(&first, Offset(9000), false).unwrap();
    let counting = first.crash_image(Policy::All);
    let before = counting.ops();
    let end = pruned(&counting).end;
    let ops = counting.ops() - before;
    for at in 1..=ops + 1 {
        let disk = first.crash_image(Policy::All);
        disk.crash_at(disk.ops() + at);
        let _crashed = try_prune(&disk, ALL, false);
        for policy in [Policy::None, Policy::All, Policy::Subset(at)] {
            let what = format!("crash at {at} of {ops}, {policy:?}");
            let image = disk.crash_image(policy);
            let found = holds(&image, &whole, &what);
            assert!(found == Offset(8192) || found == end, "{what}: {found}");
            assert_eq!(pruned(&image).end, end, "{what}");
            assert_eq!(holds(&image, &whole, &what), end, "{what}");
        }
    }
}

/// Negative control: where the directory's sync does nothing, segments go before PRUNED is durable, and the loop sees it.
#[test]
fn the_loop_finds_segments_that_were_removed_before_pruned_was_durable() {
    let (mut losses, mut seen) = (0, 0);
    let ops = broken_off(8, u64::MAX).ops();
    for at in 1..=ops + 1 {
        for subset in 0..8 {
            let disk = sealed(8).crash_image(Policy::All);
            disk.set_dir_sync_noop(true);
            disk.crash_at(at);
            let _crashed = try_prune(&disk, ALL, false);
            let image = disk.crash_image(Policy::Subset(at * 8 + subset));
            let there = LogReader::open(as_disk(&image), path()).unwrap();
            let gap = matches!(there.tail().unwrap().state, TailState::Gap(_));
            losses += usize::from(gap);
            seen += 1;
        }
    }
    assert!(losses > 0, "the loop would not notice a loss in {seen}");
}

#[test]
fn every_flipped_bit_and_every_other_length_of_pruned_is_found() {
    let disk = sealed(9);
    pruned(&disk);
    let file = disk
        .open(&path().join("PRUNED"), OpenMode::ReadWrite)
        .unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let fails = |what: &str| {
        for _ in 0..2 {
            let error = LogReader::open(as_disk(&disk), path()).expect_err(what);
            let kind = error
                .finding()
                .unwrap_or_else(|| panic!("{what}: {error}"))
                .kind;
            assert!(matches!(
                kind,
                FindingKind::Corruption | FindingKind::Unsupported
            ));
            assert_eq!(error.finding().unwrap().file, "PRUNED", "{what}");
        }
    };
    for (at, byte) in bytes.iter().enumerate() {
        for bit in 0..8 {
            file.write_all_at(&[byte ^ 1 << bit], at as u64).unwrap();
            fails(&format!("bit {bit} of byte {at}"));
        }
        file.write_all_at(&[*byte], at as u64).unwrap();
    }
    for len in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        file.set_len(len as u64).unwrap();
        fails(&format!("{len} bytes"));
        assert!(Log::open(as_disk(&disk), path(), &sealing()).is_err());
    }
    file.set_len(0).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    LogReader::open(as_disk(&disk), path()).unwrap();
    file.write_all_at(&[0], bytes.len() as u64).unwrap();
    fails("a byte more");
}

#[test]
fn pruned_that_is_missing_older_or_of_another_log_is_never_taken_for_the_log_it_is() {
    let name = path().join("PRUNED");
    let read = |disk: &SimDisk| {
        let file = disk.open(&name, OpenMode::Read).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let put = |disk: &SimDisk, bytes: &[u8]| {
        if disk.exists(&name).unwrap() {
            disk.remove(&name).unwrap();
        }
        let file = disk.open(&name, OpenMode::CreateNew).unwrap();
        file.write_all_at(bytes, 0).unwrap();
    };
    let disk = sealed(10);
    try_prune(&disk, Offset(9000), false).unwrap();
    let older = read(&disk);
    let end = pruned(&disk).end;
    let newest = read(&disk);
    // Older.
    put(&disk, &older);
    let gap = |disk: &SimDisk, at: Offset| match reader(disk).tail().unwrap().state {
        TailState::Gap(finding) => assert_eq!(finding.offset, at),
        other => panic!("{other:?}"),
    };
    gap(&disk, Offset(8192));
    let refused = Log::open(as_disk(&disk), path(), &sealing()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Gap, "{refused}");
    // Missing.
    disk.remove(&name).unwrap();
    gap(&disk, Offset(0));
    assert!(Log::open(as_disk(&disk), path(), &sealing()).is_err());
    // Of another log.
    let other = SimDisk::new();
    let options = Options {
        log_id: LogId([9; 16]),
        ..sealing()
    };
    let (log, _) = Log::open(as_disk(&other), path(), &options).unwrap();
    let mut world = World::default();
    world.resume(&log, usize::MAX);
    fill(&log, &mut world, 0..20, u64::MAX);
    log.close().unwrap();
    assert!(pruned(&other).end > Offset(0));
    put(&disk, &read(&other));
    let error = LogReader::open(as_disk(&disk), path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    // Of this log, where its segments and LOCK are gone: nobody makes a new log there.
    put(&disk, &newest);
    reader(&disk).tail().unwrap();
    for file in disk.list(&path().join("segments")).unwrap() {
        disk.remove(&path().join("segments").join(file)).unwrap();
    }
    disk.remove(&path().join("LOCK")).unwrap();
    let error = Log::open(as_disk(&disk), path(), &sealing()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
    assert_eq!(error.finding().unwrap().offset, end);
    // Put beside a log of the same id that went another way: its groups do not follow.
    let another = SimDisk::with_seed(77);
    let log = open_sealing(&another);
    let mut world = World::default();
    world.resume(&log, usize::MAX);
    fill(&log, &mut world, 50..90, u64::MAX);
    log.close().unwrap();
    put(&another, &older);
    match reader(&another).tail().unwrap().state {
        TailState::Damage(finding) => assert!(finding.offset >= Offset(8192), "{finding}"),
        other => panic!("{other:?}"),
    }
    let error = Log::open(as_disk(&another), path(), &sealing()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
}

#[test]
fn a_backup_takes_pruned_along_and_one_from_before_stays_whole() {
    let (out, again) = (Path::new("safe"), Path::new("again.aos"));
    // From before: it goes on, and restores the whole log.
    let (disk, whole) = (sealed(11), sealed(11));
    backup(as_disk(&disk), path(), out, false).unwrap();
    let end = pruned(&disk).end;
    goes_on(&disk, "pruned");
    backup(as_disk(&disk), path(), out, true).unwrap();
    restore(as_disk(&disk), out, again, None).unwrap();
    let restored = LogReader::open(as_disk(&disk), again).unwrap();
    assert_eq!(restored.pruned().map(|base| base.end()), None);
    let first: Vec<_> = records(&reader(&whole)).into_iter().collect();
    let found: Vec<_> = records(&restored).into_iter().take(first.len()).collect();
    assert_eq!(found, first);

    // A new one has PRUNED, is continued, and restores the pruned log.
    let out = Path::new("newer");
    let again = Path::new("newer.aos");
    backup(as_disk(&disk), path(), out, false).unwrap();
    let log = open_sealing(&disk);
    let mut world = World::default();
    world.resume(&log, usize::MAX);
    world.learn(&log, resource(1));
    fill(&log, &mut world, 200..210, u64::MAX);
    log.close().unwrap();
    let report = backup(as_disk(&disk), path(), out, false).unwrap();
    let error = restore(as_disk(&disk), out, again, Some(Offset(64))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Pruned, "{error}");
    let made = restore(as_disk(&disk), out, again, None).unwrap();
    assert_eq!(made.end, report.end);
    let restored = LogReader::open(as_disk(&disk), again).unwrap();
    assert_eq!(restored.pruned().unwrap().end(), end);
    assert_eq!(records(&restored), records(&reader(&disk)));
    assert_eq!(restored.index().unwrap().rows, index(&disk).rows);
    // A bit of its PRUNED is found when it is read again.
    let file = disk.open(&out.join("PRUNED"), OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 100).unwrap();
    file.write_all_at(&[byte[0] ^ 4], 100).unwrap();
    let error = restore(as_disk(&disk), out, Path::new("third.aos"), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");

    // One that ends before the pruned point cannot go on.
    let disk = SimDisk::with_seed(12);
    let log = open_sealing(&disk);
    let mut world = World::default();
    world.resume(&log, usize::MAX);
    fill(&log, &mut world, 0..2, u64::MAX);
    backup(as_disk(&disk), path(), out, false).unwrap();
    fill(&log, &mut world, 2..30, u64::MAX);
    log.close().unwrap();
    pruned(&disk);
    let error = backup(as_disk(&disk), path(), out, false).unwrap_err();
    assert!(error.to_string().contains("pruned up to"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Refused);
}

#[test]
fn salvage_takes_what_a_pruned_log_keeps_also_where_pruned_is_damaged() {
    let disk = sealed(13);
    let end = pruned(&disk).end;
    let rows = index(&disk).rows;
    let out = Path::new("new.aos");
    let report = salvage(as_disk(&disk), path(), out, &sealing()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let made = LogReader::open(as_disk(&disk), out).unwrap();
    assert!(made.pruned().is_none());
    let found = made.index().unwrap();
    let kept: Vec<_> = rows.runs.values().filter(|row| row.head >= end).collect();
    assert!(!kept.is_empty());
    assert_eq!(found.rows.runs.len(), kept.len());
    for row in kept {
        assert_eq!(found.rows.runs[&row.run].digest, row.digest);
    }
    assert_eq!(
        found.rows.definitions.keys().collect::<Vec<_>>(),
        rows.definitions.keys().collect::<Vec<_>>()
    );

    let file = disk
        .open(&path().join("PRUNED"), OpenMode::ReadWrite)
        .unwrap();
    file.write_all_at(b"x", 70).unwrap();
    let out = Path::new("newer.aos");
    let report = salvage(as_disk(&disk), path(), out, &sealing()).unwrap();
    assert!(!report.is_whole());
    assert!(
        report.strangers.iter().any(|name| name.contains("PRUNED")),
        "{report:?}"
    );
    assert_eq!(report.lost[0].start, Offset(0));
}

#[test]
fn a_reader_that_was_open_before_is_told_that_the_log_was_pruned() {
    let disk = sealed(14);
    let before = reader(&disk);
    let run = index(&disk).rows.runs[&run_id(0)].clone();
    let end = pruned(&disk).end;
    assert_eq!(
        before.read(run.start).unwrap_err().kind(),
        ErrorKind::Pruned
    );
    let control = before.stream(StreamId::CONTROL, 1).unwrap();
    assert!(control.iter().any(|record| record.offset() < end));
    let _dropped: Arc<dyn Disk> = as_disk(&disk);
}
