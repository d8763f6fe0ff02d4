//! Writes and syncs that fail, and disks that fill.

use crate::support::{
    Rng, World, as_disk, contents, decision, open, options, path, reader, try_open, verify,
    verify_some, work,
};
use aos_disk::sim::{Fault, OpKind, Persistence, Policy, SimDisk};
use aos_format::event::{Decision, Event};
use aos_format::frame::Kind;
use aos_format::offset::Stride;
use aos_format::record::StreamId;
use aos_store::{Append, Error, ErrorKind, Log, Options};

fn scenario(disk: &SimDisk, world: &mut World) -> Result<(), Error> {
    let (log, _) = try_open(disk)?;
    world.resume(&log, 0);
    let worked = work(&log, world, &mut Rng(31), 40);
    if let Err(error) = worked {
        // Told once; a log that is poisoned stays so, any other goes on.
        let Append { draft, kind, seq } = world.clone().any_record(&mut Rng(1), 4);
        if error.kind() == ErrorKind::Poisoned {
            let again = log.append(draft, kind, seq).and_then(|t| log.wait(t));
            assert_eq!(again.unwrap_err().kind(), ErrorKind::Poisoned);
            assert_eq!(log.flush().unwrap_err().kind(), ErrorKind::Poisoned);
            assert_eq!(log.close().unwrap_err().kind(), ErrorKind::Poisoned);
        }
        return Err(error);
    }
    log.close()?;
    world.acknowledge_all();
    Ok(())
}

#[test]
fn after_any_failing_operation_the_log_opens_with_all_that_was_acknowledged() {
    let whole = SimDisk::new();
    scenario(&whole, &mut World::default()).unwrap();
    let mut poisoned = 0;
    for at in 1..=whole.ops() {
        for (fault, lasts) in [
            (Fault::Io, Persistence::Once),
            (Fault::Interrupted, Persistence::Once),
            (Fault::Io, Persistence::Forever),
        ] {
            let what = format!("{fault:?} {lasts:?} at {at} of {}", whole.ops());
            let disk = SimDisk::with_seed(at);
            disk.fail_op(at, fault, lasts);
            let mut world = World::default();
            let failed = scenario(&disk, &mut world);
            poisoned += usize::from(failed.is_err_and(|e| e.kind() == ErrorKind::Poisoned));
            disk.clear_faults();
            for image in [
                disk.process_crash_image(),
                disk.crash_image(Policy::None),
                disk.crash_image(Policy::Subset(at)),
            ] {
                let (log, _) = try_open(&image).unwrap_or_else(|error| panic!("{what}: {error}"));
                verify_some(&image, &log, &world, &what);
            }
        }
    }
    assert!(poisoned > 100, "failing group writes poison: {poisoned}");
}

/// A sync that fails may drop what it was asked for, names too, and what the next process syncs does not bring it back.
#[test]
fn what_a_process_with_failing_syncs_left_is_made_durable_by_the_next() {
    let whole = SimDisk::new();
    scenario(&whole, &mut World::default()).unwrap();
    let at_start = |at: &u64| *at < 40;
    let dir_sync = |op: &aos_disk::sim::Op| op.kind == OpKind::SyncDir;
    let dir_syncs: Vec<u64> = whole
        .op_log()
        .iter()
        .filter(|op| dir_sync(op))
        .map(|op| op.number)
        .collect();
    assert!(dir_syncs.len() > 5);
    let mut lost_names = 0;
    for at in (1..=whole.ops()).filter(|at| at_start(at) || dir_syncs.contains(at)) {
        for seed in 0..8 {
            let what = format!("sync lost at {at}, seed {seed}");
            let disk = SimDisk::with_seed(seed);
            disk.fail_op(at, Fault::Io, Persistence::Forever);
            let mut world = World::default();
            let failed = scenario(&disk, &mut world);
            lost_names += usize::from(failed.is_err());
            disk.clear_faults();
            let disk = disk.process_crash_image();
            let (log, _) = try_open(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
            let survivors = verify_some(&disk, &log, &world, &what);
            world.resume(&log, survivors);
            work(&log, &mut world, &mut Rng(at), 12).unwrap();
            log.flush().unwrap();
            world.acknowledge_all();
            let disk = disk.crash_image(Policy::None);
            let (log, _) = try_open(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
            verify(&disk, &log, &world, &what);
        }
    }
    assert!(lost_names > 100, "{lost_names}");
}

#[test]
fn a_full_disk_fails_the_append_and_leaves_the_log_usable() {
    let disk = SimDisk::new();
    let (log, _) = open(&disk);
    let mut world = World::default();
    world.resume(&log, 0);
    disk.set_capacity(Some(disk.allocated() + 8192));
    let mut rng = Rng(8);
    let error = loop {
        let before = world.clone();
        let Append { draft, kind, seq } = world.any_record(&mut rng, 4);
        let ticket = log.append(draft, kind, seq).unwrap();
        match log.wait(ticket) {
            Ok(_) => world.acknowledge_all(),
            Err(error) => {
                world = before;
                break error;
            }
        }
    };
    assert_eq!((error.kind(), error.code()), (ErrorKind::Full, "AOS-S008"));
    assert_eq!(
        log.flush().unwrap_err().kind(),
        ErrorKind::Full,
        "told once"
    );
    log.flush().unwrap();
    assert_eq!(contents(&reader(&disk)), world.accepted);
    assert!(
        !log.stream(crate::support::run_stream(1), 1)
            .unwrap()
            .is_empty()
    );
    // Room again: the same log goes on where it was.
    disk.set_capacity(None);
    for _ in 0..30 {
        let Append { draft, kind, seq } = world.any_record(&mut rng, 4);
        log.append(draft, kind, seq).unwrap();
    }
    log.flush().unwrap();
    world.acknowledge_all();
    verify(&disk, &log, &world, "after the disk had room again");
    // The catalogue's file had no room either; that is told, and the next opening makes it again.
    let error = log.close().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Full, "AOS-S017"));
    let (log, _) = open(&disk);
    verify(&disk, &log, &world, "opened again");
    log.close().unwrap();
}

#[test]
fn nothing_overtakes_a_record_that_a_full_disk_refuses() {
    // The first record of the batch needs a new segment, for which there is no room; the second, of another stream, would
    // fit into the old one.
    let disk = SimDisk::new();
    let (log, _) = open(&disk);
    let mut world = World::default();
    world.resume(&log, 0);
    let step = |world: &mut World, n: u64| {
        let bytes = vec![n as u8; 700];
        let event = aos_format::event::Event::Step(crate::support::step("/do/0/a", &bytes));
        world.next(crate::support::run_stream(n), event, vec![(4, bytes)])
    };
    let filler = vec![step(&mut world, 1), step(&mut world, 1)];
    log.append_batch(filler).unwrap();
    log.flush().unwrap();
    let mut batch: Vec<_> = (0..4).map(|_| step(&mut world, 1)).collect();
    let small = {
        let event = aos_format::event::Event::Decision(crate::support::decision());
        world.next(crate::support::resource(1), event, Vec::new())
    };
    batch.push(small);
    disk.set_capacity(Some(disk.allocated()));
    let before = world.accepted.len() - batch.len();
    let ticket = log.append_batch(batch).unwrap();
    let error = log.wait(ticket).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    let found = contents(&reader(&disk));
    assert!(found.len() >= before && found.len() < world.accepted.len());
    assert_eq!(found, world.accepted[..found.len()], "a beginning, no more");
    assert_eq!(
        log.flush().unwrap_err().kind(),
        ErrorKind::Full,
        "told once"
    );
    // Every stream of the batch goes on from what is written.
    disk.set_capacity(None);
    world.resume(&log, found.len());
    let event = aos_format::event::Event::Decision(crate::support::decision());
    let again = world.next(crate::support::resource(1), event, Vec::new());
    let ticket = log.append(again.draft, again.kind, again.seq).unwrap();
    log.wait(ticket).unwrap();
    world.acknowledge_all();
    verify(&disk, &log, &world, "with room again");
}

#[test]
fn a_disk_that_fills_at_any_point_loses_nothing() {
    let whole = SimDisk::new();
    scenario(&whole, &mut World::default()).unwrap();
    let mut full = 0;
    for blocks in 1..=whole.allocated() / 4096 {
        let what = format!("{blocks} blocks");
        let disk = SimDisk::new();
        disk.set_capacity(Some(blocks * 4096));
        let mut world = World::default();
        full +=
            usize::from(scenario(&disk, &mut world).is_err_and(|e| e.kind() == ErrorKind::Full));
        let image = disk.crash_image(Policy::All);
        image.set_capacity(None);
        let (log, _) = try_open(&image).unwrap_or_else(|error| panic!("{what}: {error}"));
        verify_some(&image, &log, &world, &what);
    }
    assert!(full > 0);
}

#[test]
fn a_failing_catalogue_does_not_stop_the_log() {
    let whole = SimDisk::new();
    let every = Options {
        catalogue_every_records: 5,
        ..options()
    };
    let go = |disk: &SimDisk, world: &mut World| -> Result<(), Error> {
        let (log, _) = Log::open(as_disk(disk), path(), &every)?;
        world.resume(&log, 0);
        work(&log, world, &mut Rng(77), 40)?;
        log.flush()?;
        verify_some(disk, &log, world, "whatever became of the catalogue");
        log.close().map(drop)
    };
    go(&whole, &mut World::default()).unwrap();
    let catalogue: Vec<u64> = whole
        .op_log()
        .iter()
        .filter(|op| op.path.to_string_lossy().contains("catalog.redb"))
        .map(|op| op.number)
        .collect();
    let mut told = 0;
    for at in catalogue.iter().step_by(3) {
        let disk = SimDisk::new();
        disk.fail_op(*at, Fault::Io, Persistence::Once);
        let mut world = World::default();
        told += usize::from(go(&disk, &mut world).is_err());
        disk.clear_faults();
        let (log, _) = open(&disk);
        verify(&disk, &log, &world, &format!("catalogue failed at {at}"));
    }
    assert!(told > 0);
}

#[test]
fn reads_that_fail_are_errors_and_nothing_else() {
    let disk = SimDisk::new();
    let mut world = World::default();
    scenario(&disk, &mut world).unwrap();
    let reads = {
        let image = disk.crash_image(Policy::All);
        drop(reader(&image).index().unwrap());
        image.reads()
    };
    for at in 1..=reads {
        let image = disk.crash_image(Policy::All);
        image.fail_read(at, Fault::Io, Persistence::Once);
        let index = aos_store::LogReader::open(as_disk(&image), path()).and_then(|r| r.index());
        if let Err(error) = index {
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        }
    }
}

#[test]
fn a_full_disk_leaves_room_for_a_stop_record_and_for_closing() {
    for stride in [12, 13, 16, 20] {
        let stride = Stride::from_log2(stride).unwrap();
        let options = Options {
            stride,
            ..options()
        };
        for extra in 1..40 {
            let what = format!("stride {}, {extra} blocks", stride.bytes());
            let disk = SimDisk::new();
            let (log, _) = Log::open(as_disk(&disk), path(), &options).unwrap();
            let mut world = World::default();
            world.resume(&log, 0);
            disk.set_capacity(Some(disk.allocated() + extra * 4096));
            let mut rng = Rng(extra);
            let refused = loop {
                let before = world.clone();
                let Append { draft, kind, seq } = world.any_record(&mut rng, 4);
                let control = draft.stream == StreamId::CONTROL;
                match log.append(draft, kind, seq).and_then(|t| log.wait(t)) {
                    Ok(_) => world.acknowledge_all(),
                    Err(error) => {
                        world = before;
                        assert!(!control || kind != Kind::Decision, "{what}");
                        break error;
                    }
                }
            };
            assert_eq!(refused.kind(), ErrorKind::Full, "{what}: {refused}");
            let stop = Decision {
                subject: "emergency_stop".into(),
                actor: "somebody with a longer name".into(),
                ..decision()
            };
            let Append { draft, kind, seq } =
                world.next(StreamId::CONTROL, Event::Decision(stop), Vec::new());
            log.append(draft, kind, seq)
                .and_then(|ticket| log.wait(ticket))
                .unwrap_or_else(|error| panic!("{what}: no room for a stop record: {error}"));
            world.acknowledge_all();
            // The catalogue has no room of its own; the log is closed all the same.
            if let Err(error) = log.close() {
                let told = ["AOS-S017", "AOS-S008"];
                assert!(told.contains(&error.code()), "{what}: {error}");
            }
            assert_eq!(contents(&reader(&disk)), world.accepted, "{what}");
            assert!(
                reader(&disk).tail().unwrap().state.finding().is_none(),
                "{what}"
            );
            // It opens on the full disk too, but for the catalogue.
            let image = disk.crash_image(Policy::All);
            match Log::open(as_disk(&image), path(), &options) {
                Ok((log, _)) => drop(log),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Full, "{what}: {error}"),
            }
            image.set_capacity(None);
            let (log, _) = Log::open(as_disk(&image), path(), &options).unwrap();
            assert_eq!(contents(&log.reader().unwrap()), world.accepted, "{what}");
        }
    }
}
