//! A log seals itself: the chain of seals covers it without holes, and says what the records give.

use crate::support::*;
use aos_disk::sim::SimDisk;
use aos_format::digest::Digest;
use aos_format::event::{Event, Seal};
use aos_format::frame::Kind;
use aos_format::merkle::{Peaks, root};
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_store::{Log, LogReader, Mode, Options, Source};
use std::sync::Arc;

fn sealing(mode: Mode) -> Options {
    Options {
        seal: true,
        mode,
        ..options()
    }
}

/// The seals of a log, each with its digest.
fn seals(reader: &LogReader) -> Vec<(Seal, Digest)> {
    let control = reader.stream(StreamId::CONTROL, 1).unwrap();
    control
        .iter()
        .filter(|record| record.kind() == Some(Kind::Seal))
        .map(|record| {
            let view = record.view().unwrap();
            match Event::decode(Kind::Seal, view.det()).unwrap() {
                (_, Event::Seal(seal)) => (seal, view.digest()),
                other => panic!("{other:?}"),
            }
        })
        .collect()
}

/// Asserts that the seals are a chain over the log from its start, and returns where it ends.
fn chain(reader: &LogReader) -> u64 {
    let (mut through, mut before, mut tree) = (0, None, Peaks::default());
    for (seal, digest) in seals(reader) {
        let range = reader.leaves(Offset(seal.start), Offset(seal.end)).unwrap();
        range.leaves.iter().for_each(|leaf| tree.push(*leaf));
        let expected = Seal {
            start: through,
            end: range.end.0,
            count: range.leaves.len() as u64,
            root: root(&range.leaves),
            before,
            total: tree.size(),
            peaks: tree.hashes().to_vec(),
        };
        assert_eq!(seal, expected);
        (through, before) = (seal.end, Some(digest));
    }
    let below = reader.scan(Offset(0)).unwrap().map(Result::unwrap);
    let below = below.filter(|record| record.offset().0 < through);
    assert_eq!(below.count() as u64, tree.size(), "every record is a leaf");
    through
}

#[test]
fn every_segment_and_the_end_of_the_log_are_sealed_in_one_chain() {
    for mode in [Mode::Inline, Mode::Threaded] {
        let disk = SimDisk::new();
        let (mut world, mut rng) = (World::default(), Rng(3));
        // A thread of the log appends its seals to the control stream meanwhile.
        world.without_control = mode == Mode::Threaded;
        let mut last = 0;
        for _ in 0..3 {
            let options = sealing(mode);
            let (log, _) = Log::open(Arc::new(disk.clone()), path(), &options).unwrap();
            let accepted = world.accepted.len();
            world.resume(&log, accepted);
            work(&log, &mut world, &mut rng, 60).unwrap();
            let durable = log.flush().unwrap();
            log.close().unwrap();
            let through = chain(&reader(&disk));
            assert!(through >= durable.0, "{through} of {durable}");
            assert!(through > last);
            last = through;
        }
        assert!(last > 3 * 4096, "several segments");
    }
}

#[test]
fn an_opening_alone_is_not_sealed_and_a_log_that_does_not_seal_goes_on_without() {
    let disk = SimDisk::new();
    let open = |seal| {
        let options = Options {
            seal,
            ..sealing(Mode::Inline)
        };
        Log::open(Arc::new(disk.clone()), path(), &options)
            .unwrap()
            .0
    };
    let (mut world, mut rng) = (World::default(), Rng(4));
    let log = open(true);
    let accepted = world.accepted.len();
    world.resume(&log, accepted);
    work(&log, &mut world, &mut rng, 5).unwrap();
    log.close().unwrap();
    assert_eq!(seals(&reader(&disk)).len(), 1);
    open(true).close().unwrap();
    assert_eq!(seals(&reader(&disk)).len(), 1);
    let log = open(false);
    let accepted = world.accepted.len();
    world.resume(&log, accepted);
    work(&log, &mut world, &mut rng, 5).unwrap();
    log.close().unwrap();
    assert_eq!(seals(&reader(&disk)).len(), 1);
    let log = open(true);
    let accepted = world.accepted.len();
    world.resume(&log, accepted);
    work(&log, &mut world, &mut rng, 5).unwrap();
    log.close().unwrap();
    chain(&reader(&disk));
}

#[test]
fn a_control_record_takes_the_number_that_a_seal_left() {
    let disk = SimDisk::new();
    let (mut world, mut rng) = (World::default(), Rng(5));
    let open = || {
        Log::open(Arc::new(disk.clone()), path(), &sealing(Mode::Inline))
            .unwrap()
            .0
    };
    let log = open();
    let accepted = world.accepted.len();
    world.resume(&log, accepted);
    work(&log, &mut world, &mut rng, 5).unwrap();
    log.close().unwrap();
    let log = open();
    let head = log.head(StreamId::CONTROL).unwrap().unwrap();
    let definition = Event::Definition(definition(9));
    let item = aos_store::Append {
        draft: aos_format::record::Draft {
            lane_seq: head.lane_seq + 1,
            ..aos_format::record::Draft::new(StreamId::CONTROL, definition.encode(&head.digest))
        },
        kind: Kind::Definition,
        // What somebody believes who looked before the seal.
        seq: head.seq,
    };
    assert!(log.append_batch(vec![item.clone()]).is_err());
    let (ticket, seq) = log.append_control(item).unwrap();
    log.wait(ticket).unwrap();
    assert_eq!(seq, head.seq + 1);
}
