//! Backups: what they hold, how they go on, and what no fault can make of them.

use crate::support::{
    Rec, Rng, World, as_disk, contents, open, options, path, reader, try_open, work,
};
use aos_disk::Disk;
use aos_disk::sim::{Fault, OpKind, Persistence, Policy, SimDisk};
use aos_format::digest::LogId;
use aos_format::offset::Offset;
use aos_store::{BackupReport, Error, ErrorKind, Log, LogReader, Options, RestoreReport};
use std::path::Path;

fn out() -> &'static Path {
    Path::new("safe/orders.backup")
}

fn copy() -> &'static Path {
    Path::new("restored.aos")
}

fn backup(disk: &SimDisk) -> Result<BackupReport, Error> {
    aos_store::backup(as_disk(disk), path(), out(), false)
}

fn restore(disk: &SimDisk, upto: Option<u64>) -> Result<RestoreReport, Error> {
    aos_store::restore(as_disk(disk), out(), copy(), upto.map(Offset))
}

/// Everything in the log at `path`, openings included.
fn records(disk: &SimDisk, path: &Path) -> Vec<Rec> {
    let reader = LogReader::open(as_disk(disk), path).expect("the log opens for reading");
    let scan = reader.scan(Offset(0)).expect("the log can be scanned");
    scan.map(|record| Rec::of(&record.expect("the log is whole")))
        .collect()
}

/// A log with three segments or more; it is closed.
fn written(records: usize) -> (SimDisk, World) {
    let (disk, mut world) = (SimDisk::new(), World::default());
    write(&disk, &mut world, records);
    (disk, world)
}

fn write(disk: &SimDisk, world: &mut World, records: usize) {
    let (log, _) = open(disk);
    world.resume(&log, world.accepted.len());
    work(&log, world, &mut Rng(3), records).unwrap();
    log.close().unwrap();
}

/// A crash image keeps everything and has no faults planned.
fn image(disk: &SimDisk) -> SimDisk {
    disk.clear_faults();
    disk.crash_image(Policy::All)
}

/// What can be restored from the backup on `disk`; `None` when there is none.
fn restored(disk: &SimDisk, what: &str) -> Option<Vec<Rec>> {
    let disk = image(disk);
    match restore(&disk, None) {
        Ok(report) => {
            assert_eq!(report.end, report.backup_end, "{what}");
            let report = aos_store::check(as_disk(&disk), copy()).unwrap();
            assert_eq!(report.findings, [], "{what}");
            Some(records(&disk, copy()))
        }
        Err(error) => {
            assert_eq!(error.code(), "AOS-B004", "{what}: {error}");
            None
        }
    }
}

#[test]
fn a_restored_log_holds_the_same_and_goes_on() {
    let (disk, mut world) = written(40);
    let report = backup(&disk).unwrap();
    let tail = reader(&disk).tail().unwrap();
    assert_eq!((report.from, report.end), (Offset(0), tail.durable));
    assert!(report.parts >= 3 && report.copied == report.bytes);
    let back = restore(&disk, None).unwrap();
    assert_eq!((back.end, back.segments), (report.end, report.parts));
    assert_eq!(records(&disk, copy()), records(&disk, path()));
    let restored = LogReader::open(as_disk(&disk), copy()).unwrap();
    let (ours, theirs) = (restored.tail().unwrap(), reader(&disk).tail().unwrap());
    assert_eq!(ours, theirs, "the last group is proven there too");
    assert_eq!(
        *restored.index().unwrap(),
        *reader(&disk).index().unwrap(),
        "offsets and digests are the same"
    );
    let (log, opening) = Log::open(as_disk(&disk), copy(), &options()).unwrap();
    assert_eq!(opening.tail_cut, None);
    world.resume(&log, world.accepted.len());
    work(&log, &mut world, &mut Rng(9), 10).unwrap();
    log.close().unwrap();
    let reader = LogReader::open(as_disk(&disk), copy()).unwrap();
    assert_eq!(contents(&reader), world.accepted);
}

#[test]
fn a_backup_goes_on_with_what_is_new_and_never_writes_what_it_counts_again() {
    let (disk, mut world) = written(20);
    let mut end = backup(&disk).unwrap().end;
    for round in 0..5 {
        write(&disk, &mut world, 12);
        let ops = disk.ops();
        let report = backup(&disk).unwrap();
        assert_eq!(report.from, end, "round {round}");
        let stride = report.identity.stride;
        // Zeros between the end of a segment and the next are not copied.
        assert!(report.copied <= report.end.0 - report.from.0);
        assert!(report.copied > 0 && report.bytes <= report.end.0);
        let first = aos_format::offset::segment_file_name(stride.segment_start(end));
        let older = disk
            .op_log()
            .into_iter()
            .filter(|op| op.number > ops && op.kind == OpKind::Write)
            .filter_map(|op| op.path.file_name()?.to_str().map(str::to_owned))
            .find(|name| name.ends_with(".seg") && *name < first);
        assert_eq!(older, None, "round {round}");
        end = report.end;
        assert_eq!(restored(&disk, "then").unwrap(), records(&disk, path()));
    }
    let report = backup(&disk).unwrap();
    assert_eq!((report.from, report.copied), (end, 0), "nothing is new");
    let report = aos_store::backup(as_disk(&disk), path(), out(), true).unwrap();
    assert_eq!(report.checked, report.bytes, "everything was read again");
}

#[test]
fn a_backup_beside_a_writer_has_what_was_acknowledged() {
    let (disk, mut world) = (SimDisk::new(), World::default());
    let (log, _) = open(&disk);
    world.resume(&log, 0);
    for round in 0..20 {
        work(&log, &mut world, &mut Rng(round), 5).unwrap();
        log.flush().unwrap();
        world.acknowledge_all();
        let acknowledged = world.accepted.len();
        // Accepted, not yet written.
        let append = world.any_record(&mut Rng(round), 4);
        log.append(append.draft, append.kind, append.seq).unwrap();
        let report = backup(&disk).unwrap();
        assert_eq!(report.end, log.durable());
        let image = image(&disk);
        restore(&image, None).unwrap();
        let reader = LogReader::open(as_disk(&image), copy()).unwrap();
        assert_eq!(contents(&reader), world.accepted[..acknowledged]);
        log.flush().unwrap();
    }
}

#[test]
fn the_pending_group_is_never_in_a_backup() {
    let (disk, mut world) = (SimDisk::new(), World::default());
    let (log, _) = open(&disk);
    world.resume(&log, 0);
    work(&log, &mut world, &mut Rng(4), 30).unwrap();
    log.flush().unwrap();
    // The words in LOCK are not synced: after a power cut nothing proves the last group.
    let image = disk.crash_image(Policy::None);
    let tail = reader(&image).tail().unwrap();
    assert!(tail.pending && tail.durable < tail.end);
    let report = backup(&image).unwrap();
    assert_eq!(report.end, tail.durable);
    restore(&image, None).unwrap();
    let (whole, part) = (records(&image, path()), records(&image, copy()));
    assert!(part.len() < whole.len());
    assert_eq!(part, whole[..part.len()]);
}

#[test]
fn a_log_is_restored_up_to_any_offset() {
    let (disk, _) = written(40);
    let end = backup(&disk).unwrap().end;
    let (whole, log) = (records(&disk, path()), reader(&disk));
    let ends: Vec<(u64, usize)> = {
        let (mut ends, mut count) = (vec![(0, 0)], 0);
        for segment in log.segments().unwrap() {
            for group in log.walk(segment.start).unwrap().groups {
                count += group.records().count();
                ends.push((group.end.0, count));
            }
        }
        ends
    };
    for upto in (0..=end.0).step_by(16) {
        let image = image(&disk);
        let report = restore(&image, Some(upto)).unwrap();
        let (at, count) = ends.iter().rev().find(|(end, _)| *end <= upto).unwrap();
        assert_eq!(report.end.0, *at, "up to {upto}");
        if *count > 0 {
            assert_eq!(records(&image, copy()), whole[..*count], "up to {upto}");
        }
        let options = Options {
            create: false,
            ..options()
        };
        let opened = Log::open(as_disk(&image), copy(), &options);
        assert!(opened.is_ok(), "up to {upto}: {:?}", opened.err());
    }
    let error = restore(&disk, Some(end.0 + 1)).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("AOS-B005", ErrorKind::NotFound)
    );
}

#[test]
fn a_log_that_parted_from_its_backup_is_refused_and_says_where() {
    let (disk, mut world) = written(20);
    let first = backup(&disk).unwrap();
    restore(&disk, None).unwrap();
    let mut other = world.clone();
    write(&disk, &mut world, 10);
    backup(&disk).unwrap();
    // The restored log is written on as well, elsewhere.
    let elsewhere = Options {
        build: "other".into(),
        ..options()
    };
    let (log, _) = Log::open(as_disk(&disk), copy(), &elsewhere).unwrap();
    other.resume(&log, other.accepted.len());
    work(&log, &mut other, &mut Rng(77), 40).unwrap();
    log.close().unwrap();
    let error = aos_store::backup(as_disk(&disk), copy(), out(), false).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("AOS-B002", ErrorKind::Refused)
    );
    let place = format!("up to offset {} and then part", first.end);
    assert!(error.to_string().contains(&place), "{error}");
    // The log that was backed up goes on.
    write(&disk, &mut world, 5);
    backup(&disk).unwrap();
}

#[test]
fn a_backup_of_another_log_or_of_a_shorter_one_is_refused() {
    let (disk, _) = written(30);
    let end = backup(&disk).unwrap().end;
    restore(&disk, Some(end.0 / 2)).unwrap();
    let error = aos_store::backup(as_disk(&disk), copy(), out(), false).unwrap_err();
    assert_eq!(error.code(), "AOS-B002");
    assert!(
        error.to_string().contains("before the backup's end"),
        "{error}"
    );
    let other = Options {
        log_id: LogId([8; 16]),
        ..options()
    };
    let (log, _) = Log::open(as_disk(&disk), Path::new("other.aos"), &other).unwrap();
    log.close().unwrap();
    let error = aos_store::backup(as_disk(&disk), Path::new("other.aos"), out(), false);
    let error = error.unwrap_err();
    assert_eq!(error.code(), "AOS-B002");
    assert!(
        error.to_string().contains(&LogId([8; 16]).to_string()),
        "{error}"
    );
}

#[test]
fn what_is_in_the_way_is_left_alone() {
    let (disk, _) = written(10);
    disk.poke(&out().join("holiday.jpg"), b"photo").unwrap();
    let error = backup(&disk).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("AOS-B003", ErrorKind::Refused)
    );
    disk.remove(&out().join("holiday.jpg")).unwrap();
    backup(&disk).unwrap();
    for target in [path(), out(), Path::new("safe")] {
        let error = aos_store::restore(as_disk(&disk), out(), target, None).unwrap_err();
        assert_eq!(error.code(), "AOS-B003", "{}", target.display());
    }
    disk.poke(Path::new("restored.aos.restoring/notes.txt"), b"mine")
        .unwrap();
    assert_eq!(restore(&disk, None).unwrap_err().code(), "AOS-B003");
    let error = aos_store::restore(as_disk(&disk), path(), copy(), None).unwrap_err();
    assert_eq!(error.code(), "AOS-B004", "a log is no backup");
    let error = LogReader::open(as_disk(&disk), out()).unwrap_err();
    assert_eq!(error.code(), "AOS-S003", "a backup is no log");
    // Two at once.
    let lock = disk.lock(&out().join("backup.lock")).unwrap();
    assert_eq!(backup(&disk).unwrap_err().kind(), ErrorKind::Busy);
    drop(lock);
}

#[test]
fn a_damaged_log_is_not_backed_up_and_the_place_is_named() {
    let (disk, mut world) = written(20);
    let before = backup(&disk).unwrap();
    write(&disk, &mut world, 30);
    let groups = reader(&disk).walk(Offset(0)).unwrap().groups;
    let known = restored(&disk, "before").unwrap();
    // In what is new: one byte of each group that follows.
    let tail = reader(&disk).tail().unwrap();
    for at in (before.end.0..tail.durable.0).step_by(97) {
        let image = image(&disk);
        let stride = before.identity.stride;
        let start = stride.segment_start(Offset(at));
        let file = path()
            .join("segments")
            .join(aos_format::offset::segment_file_name(start));
        let byte = image.peek(&file).unwrap()[(at - start.0) as usize];
        image.poke_at(&file, &[byte ^ 0x10], at - start.0).unwrap();
        let error = backup(&image).unwrap_err();
        let finding = error.finding().unwrap_or_else(|| panic!("{at}: {error}"));
        assert!(
            finding.offset.0 <= at && finding.offset >= before.end.min(start),
            "{at}: {error}"
        );
        assert_eq!(restored(&image, "after").unwrap(), known, "{at}");
    }
    assert!(!groups.is_empty());
}

#[test]
fn a_changed_backup_is_found_out() {
    let (disk, _) = written(12);
    backup(&disk).unwrap();
    let mut changed = 0;
    for file in disk.files() {
        if !file.starts_with(out()) || file.ends_with("backup.lock") {
            continue;
        }
        let bytes = disk.peek(&file).unwrap();
        let manifest = file.ends_with("MANIFEST");
        for bit in (0..bytes.len() * 8).step_by(if manifest { 1 } else { 61 }) {
            let image = disk.crash_image(Policy::All);
            image
                .poke_at(&file, &[bytes[bit / 8] ^ 1 << (bit % 8)], bit as u64 / 8)
                .unwrap();
            let error = restore(&image, None).unwrap_err();
            let known = ["AOS-B001", "AOS-B006"];
            assert!(
                known.contains(&error.code()),
                "bit {bit} of {}: {error}",
                file.display()
            );
            assert!(!image.exists(copy()).unwrap());
            let again = aos_store::backup(as_disk(&image), path(), out(), true);
            assert!(again.is_err(), "bit {bit} of {}", file.display());
            changed += 1;
        }
        for len in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let image = disk.crash_image(Policy::All);
            image.poke(&file, &bytes[..len]).unwrap();
            assert_eq!(restore(&image, None).unwrap_err().code(), "AOS-B001");
        }
        let image = disk.crash_image(Policy::All);
        image.remove(&file).unwrap();
        let code = if manifest { "AOS-B004" } else { "AOS-B001" };
        assert_eq!(restore(&image, None).unwrap_err().code(), code);
    }
    assert!(changed > 2000, "{changed}");
}

/// A log with a backup of its beginning, and records that the backup does not have yet.
fn halfway() -> (SimDisk, Vec<Rec>, Vec<Rec>) {
    let (disk, mut world) = written(12);
    backup(&disk).unwrap();
    let before = records(&disk, path());
    write(&disk, &mut world, 14);
    let after = records(&disk, path());
    (image(&disk), before, after)
}

#[test]
fn a_crash_at_any_operation_of_a_backup_leaves_the_one_before() {
    let (start, before, after) = halfway();
    let ops = {
        let disk = image(&start);
        backup(&disk).unwrap();
        disk.ops()
    };
    let (mut old, mut new) = (0, 0);
    for at in 1..=ops + 1 {
        let disk = image(&start);
        disk.crash_at(at);
        let acknowledged = backup(&disk).is_ok();
        for policy in [
            Policy::None,
            Policy::All,
            Policy::Subset(at),
            Policy::Subset(at + 1000),
        ] {
            let what = format!("crash at {at} of {ops}, {policy:?}");
            let disk = disk.crash_image(policy);
            let found = restored(&disk, &what).unwrap();
            assert!(found == before || found == after, "{what}");
            assert!(!acknowledged || found == after, "{what}: a backup was lost");
            old += usize::from(found == before);
            new += usize::from(found == after);
            // The log itself is untouched, and the next backup makes up for it.
            assert_eq!(records(&disk, path()), after, "{what}");
            aos_store::backup(as_disk(&disk), path(), out(), true)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(restored(&disk, &what).unwrap(), after, "{what}");
        }
    }
    assert!(old > 20 && new > 3, "{old} {new}");
}

#[test]
fn a_crash_at_any_operation_of_a_first_backup_leaves_none_or_all() {
    let (start, _) = written(14);
    let whole = records(&start, path());
    let ops = {
        let disk = image(&start);
        backup(&disk).unwrap();
        disk.ops()
    };
    for at in 1..=ops + 1 {
        let disk = image(&start);
        disk.crash_at(at);
        let acknowledged = backup(&disk).is_ok();
        for policy in [Policy::None, Policy::All, Policy::Subset(at)] {
            let what = format!("crash at {at} of {ops}, {policy:?}");
            let disk = disk.crash_image(policy);
            match restored(&disk, &what) {
                Some(found) => assert_eq!(found, whole, "{what}"),
                None => assert!(!acknowledged, "{what}: a backup was lost"),
            }
            backup(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(restored(&disk, &what).unwrap(), whole, "{what}");
        }
    }
}

#[test]
fn a_crash_at_any_operation_of_a_restore_leaves_no_log_or_all_of_it() {
    let (start, _) = written(14);
    backup(&start).unwrap();
    let start = image(&start);
    let whole = records(&start, path());
    let ops = {
        let disk = image(&start);
        restore(&disk, None).unwrap();
        disk.ops()
    };
    let mut there = 0;
    for at in 1..=ops + 1 {
        let disk = image(&start);
        disk.crash_at(at);
        let acknowledged = restore(&disk, None).is_ok();
        for policy in [
            Policy::None,
            Policy::All,
            Policy::Subset(at),
            Policy::Subset(at + 1000),
        ] {
            let what = format!("crash at {at} of {ops}, {policy:?}");
            let disk = disk.crash_image(policy);
            if disk.exists(copy()).unwrap() {
                assert_eq!(records(&disk, copy()), whole, "{what}");
                there += 1;
            } else {
                assert!(!acknowledged, "{what}: a restored log was lost");
                restore(&disk, None).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(records(&disk, copy()), whole, "{what}");
            }
        }
    }
    assert!(there > 2, "{there}");
}

#[test]
fn a_backup_or_restore_whose_disk_fails_says_so_and_can_be_done_again() {
    let (start, before, after) = halfway();
    let both = |disk: &SimDisk| backup(disk).and_then(|_| restore(disk, None));
    let (ops, reads) = {
        let disk = image(&start);
        both(&disk).unwrap();
        (disk.ops(), disk.reads())
    };
    let faults = [
        Fault::Io,
        Fault::Full,
        Fault::Permission,
        Fault::Interrupted,
    ];
    let mut failed = 0;
    for fault in faults {
        for lasts in [Persistence::Once, Persistence::Forever] {
            for at in 1..=ops {
                let what = format!("{fault:?} {lasts:?} at {at} of {ops}");
                let disk = image(&start);
                disk.fail_op(at, fault, lasts);
                failed += usize::from(both(&disk).is_err());
                disk.clear_faults();
                for disk in [disk.crash_image(Policy::None), image(&disk)] {
                    if disk.exists(copy()).unwrap() {
                        assert_eq!(records(&disk, copy()), after, "{what}");
                        continue;
                    }
                    let found = restored(&disk, &what).unwrap();
                    assert!(found == before || found == after, "{what}");
                    both(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_eq!(records(&disk, copy()), after, "{what}");
                }
            }
        }
    }
    assert_eq!(failed as u64, ops * 8, "every failing operation is told");
    for at in 1..=reads {
        let disk = image(&start);
        disk.fail_read(at, Fault::Io, Persistence::Once);
        let error = both(&disk).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "read {at} of {reads}: {error}");
    }
}

#[test]
fn a_full_disk_breaks_a_backup_off_and_harms_nothing() {
    let (start, before, after) = halfway();
    let least = start.allocated() / 4096;
    let most = {
        let disk = image(&start);
        backup(&disk).unwrap();
        restore(&disk, None).unwrap();
        disk.allocated() / 4096
    };
    assert!(most > least + 2, "{least} {most}");
    for blocks in least..most {
        let what = format!("{blocks} of {most} blocks");
        let disk = image(&start);
        disk.set_capacity(Some(blocks * 4096));
        let error = backup(&disk)
            .and_then(|_| restore(&disk, None))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full, "{what}: {error}");
        disk.set_capacity(None);
        let found = restored(&disk, &what).unwrap();
        assert!(found == before || found == after, "{what}");
        let (log, _) = try_open(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        log.close().unwrap();
        backup(&disk).unwrap();
        assert_eq!(
            restored(&disk, &what).unwrap(),
            records(&disk, path()),
            "{what}"
        );
    }
}
