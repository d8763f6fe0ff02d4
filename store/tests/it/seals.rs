//! A log seals itself: the chain of seals covers it without holes, and says what the records give.

use crate::support::*;
use aos_disk::sim::SimDisk;
use aos_format::digest::Digest;
use aos_format::event::{Event, Seal};
use aos_format::frame::Kind;
use aos_format::leaf::leaf;
use aos_format::merkle::{Peaks, root};
use aos_format::offset::{Offset, Stride};
use aos_format::record::StreamId;
use aos_store::{Log, LogReader, Mode, Options, Source};
use std::collections::BTreeMap;
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
    // Every record is a leaf, the one that its bytes give.
    let mut singly = Peaks::default();
    for record in reader.scan(Offset(0)).unwrap() {
        let record = record.unwrap();
        if record.offset().0 < through {
            let view = record.view().unwrap();
            singly.push(leaf(record.header(), record.body(), &view).hash);
        }
    }
    assert_eq!(
        (singly.size(), singly.hashes()),
        (tree.size(), tree.hashes())
    );
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

/// Compares what is found from the end with the index, for ways of many lengths. Returns how often all streams were proven to
/// be met before the log's start was, and how often not.
fn heads_are_true(reader: &LogReader) -> (u64, u64) {
    let (tail, index) = (reader.tail().unwrap(), reader.index().unwrap());
    let runs = index.rows.runs.values();
    let runs = runs.map(|row| (StreamId::run(row.run), (row.head, row.seq)));
    let others = index.rows.streams.iter();
    let others = others.map(|(stream, head)| (*stream, (head.offset, head.seq)));
    let all: BTreeMap<StreamId, (Offset, u64)> = runs.chain(others).collect();
    let (mut proven, mut open) = (0, 0);
    for limit in [1, 300, 1_000, 4_096, 9_000, 20_000, u64::MAX] {
        let heads = reader.heads(&tail, limit).unwrap();
        for (stream, head) in &heads.streams {
            assert_eq!(all.get(stream), Some(head));
        }
        match heads.complete {
            true => assert_eq!(heads.streams, all, "all within {limit} of {}", tail.end),
            false => assert!(limit < tail.end.0, "the whole way shows everything"),
        }
        proven += u64::from(heads.complete && limit < tail.end.0);
        open += u64::from(!heads.complete);
    }
    (proven, open)
}

#[test]
fn heads_found_from_the_end_are_those_of_the_index_and_said_to_be_all_only_where_they_are() {
    let (mut proven, mut open) = (0, 0);
    for seed in 0..60 {
        let disk = SimDisk::new();
        let (mut world, mut rng) = (World::default(), Rng(seed));
        for _ in 0..4 {
            let options = Options {
                seal: rng.below(4) > 0,
                ..sealing(Mode::Inline)
            };
            let (log, _) = Log::open(Arc::new(disk.clone()), path(), &options).unwrap();
            let accepted = world.accepted.len();
            world.resume(&log, accepted);
            let count = 1 + rng.below(40) as usize;
            work(&log, &mut world, &mut rng, count).unwrap();
            log.flush().unwrap();
            let counts = heads_are_true(&reader(&disk));
            (proven, open) = (proven + counts.0, open + counts.1);
            if rng.below(3) > 0 {
                log.close().unwrap();
            } else {
                drop(log);
            }
            let counts = heads_are_true(&reader(&disk));
            (proven, open) = (proven + counts.0, open + counts.1);
        }
    }
    assert!(proven > 100 && open > 100, "{proven} proven, {open} open");
}

/// A log of one long run, behind the first record of another one where that is asked for.
fn long_run(hidden: bool) -> SimDisk {
    let disk = SimDisk::new();
    let options = Options {
        stride: Stride::from_log2(14).unwrap(),
        ..sealing(Mode::Inline)
    };
    let (log, _) = Log::open(Arc::new(disk.clone()), path(), &options).unwrap();
    let mut world = World::default();
    let starts = (1..=2).map(|n| (run_stream(n), Event::Start(start(n))));
    let mut events: Vec<(StreamId, Event)> = starts.skip(usize::from(!hidden)).collect();
    events.extend((0..600).map(|_| (run_stream(2), Event::Step(step("/do/0/step", b"1")))));
    for (stream, event) in events {
        let item = world.next(stream, event, Vec::new());
        log.append(item.draft, item.kind, item.seq).unwrap();
    }
    log.close().unwrap();
    disk
}

#[test]
fn a_long_run_is_known_to_be_alone_from_the_end_of_its_log() {
    let limit = 8_192;
    let found = [false, true].map(|hidden| {
        let reader = reader(&long_run(hidden));
        let tail = reader.tail().unwrap();
        assert!(tail.end.0 > 10 * limit, "{}", tail.end);
        reader.heads(&tail, limit).unwrap()
    });
    for heads in &found {
        assert_eq!(heads.streams.len(), 2, "the run and the control stream");
    }
    assert_eq!(found.map(|heads| heads.complete), [true, false]);
}

#[test]
fn records_longer_than_what_is_read_at_a_time_are_leaves_too() {
    let disk = SimDisk::new();
    let options = Options {
        stride: Stride::from_log2(23).unwrap(),
        queue_bytes_max: 64 << 20,
        ..sealing(Mode::Inline)
    };
    let (log, _) = Log::open(Arc::new(disk.clone()), path(), &options).unwrap();
    let mut world = World::default();
    let mut put = |event, values| {
        let next = world.next(run_stream(1), event, values);
        let ticket = log.append_batch(vec![next]).unwrap();
        log.wait(ticket).unwrap();
    };
    put(Event::Start(start(1)), Vec::new());
    // Around the length of a piece, so that frames begin and end on both sides of its bounds.
    for len in [
        10,
        300_000,
        700_000,
        1 << 20,
        20,
        1_500_000,
        (1 << 20) - 300,
        5,
    ] {
        let output = vec![b'7'; len];
        put(Event::Step(step("/do/0/a", &output)), vec![(4, output)]);
    }
    log.close().unwrap();
    assert!(chain(&reader(&disk)) > 4 << 20);
}
