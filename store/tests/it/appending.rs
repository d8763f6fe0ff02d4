//! What producers may append, and what they are told.

use crate::support::{
    Rng, World, contents, decision, definition, open, options, path, reader, resource, run_stream,
    start, step, verify,
};
use aos_disk::sim::SimDisk;
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_format::record::{Draft, StreamId};
use aos_store::{Append, Error, ErrorKind, Log, Mode, Options};
use std::sync::Arc;

#[test]
fn a_wrong_number_is_refused_and_harms_nothing() {
    let disk = SimDisk::new();
    let (log, _) = open(&disk);
    let mut world = World::default();
    for n in 1..=3 {
        let Append { draft, kind, seq } =
            world.next(resource(1), Event::Decision(decision()), Vec::new());
        for wrong in [0, seq - 1, seq + 1, u64::MAX] {
            let error = log.append(draft.clone(), kind, wrong).unwrap_err();
            assert_eq!(
                (error.kind(), error.code()),
                (ErrorKind::Conflict, "AOS-S013"),
                "record {n}"
            );
        }
        log.append(draft, kind, seq).unwrap();
    }
    log.flush().unwrap();
    assert_eq!(contents(&reader(&disk)), world.accepted);
}

#[test]
fn a_batch_is_accepted_whole_or_not_at_all() {
    let disk = SimDisk::new();
    let (log, _) = open(&disk);
    let mut world = World::default();
    let mut items: Vec<Append> = (0..4)
        .map(|n| world.next(resource(n % 2), Event::Decision(decision()), Vec::new()))
        .collect();
    items[3].seq += 1;
    let error = log.append_batch(items.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    items[3].seq -= 1;
    let ticket = log.append_batch(items).unwrap();
    log.wait(ticket).unwrap();
    assert_eq!(contents(&reader(&disk)), world.accepted);
    assert_eq!(
        log.append_batch(Vec::new()).unwrap_err().kind(),
        ErrorKind::Invalid
    );
}

#[test]
fn records_of_the_wrong_kind_are_refused() {
    let disk = SimDisk::new();
    let (log, _) = open(&disk);
    let det = Event::Definition(definition(1)).encode(&Default::default());
    let refused = |stream, kind, det: &[u8]| {
        let draft = Draft {
            lane_seq: 1,
            ..Draft::new(stream, det.to_vec())
        };
        let error = log.append(draft, kind, 1).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    };
    refused(run_stream(1), Kind::Definition, &det);
    refused(StreamId::CONTROL, Kind::Start, &det);
    refused(StreamId::CONTROL, Kind::Commit, &det);
    refused(StreamId::CONTROL, Kind::Open, &det);
    refused(run_stream(1), Kind::Start, &det);
    refused(run_stream(1), Kind::Start, b"");
    let start = Event::Start(start(1)).encode(&Default::default());
    let draft = Draft {
        lane_seq: 2,
        ..Draft::new(run_stream(1), start)
    };
    let error = log.append(draft, Kind::Start, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("expected 1"), "{error}");
}

#[test]
fn the_record_limit_is_a_quarter_of_the_stride() {
    let disk = SimDisk::new();
    let (log, _) = open(&disk);
    let append = |len: usize| {
        let bytes = vec![7; len];
        let mut world = World::default();
        let event = Event::Step(step("/do/0/a", &bytes));
        let Append { draft, kind, seq } = world.next(run_stream(1), event, vec![(4, bytes)]);
        log.append(draft, kind, seq)
    };
    let mut len = 1024;
    let error = append(len).unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::TooLarge, "AOS-S012")
    );
    let largest = loop {
        len -= 1;
        match append(len) {
            Ok(ticket) => break log.wait(ticket).map(|_| len).unwrap(),
            Err(error) => assert_eq!(error.kind(), ErrorKind::TooLarge),
        }
    };
    let record = &log.stream(run_stream(1), 1).unwrap()[0];
    assert_eq!(record.header().body_len, 1024, "with {largest} bytes");
}

#[test]
fn a_head_counts_what_is_still_queued() {
    let disk = SimDisk::new();
    let (log, _) = open(&disk);
    let mut world = World::default();
    let mut rng = Rng(9);
    assert_eq!(log.head(run_stream(1)).unwrap(), None);
    for n in 1..=20 {
        let Append { draft, kind, seq } = world.run_record(&mut rng, 1);
        let det = draft.det.clone();
        log.append(draft, kind, seq).unwrap();
        let head = log.head(run_stream(1)).unwrap().unwrap();
        assert_eq!(head.seq, n);
        if kind.advances() {
            assert_eq!(head.digest, aos_format::digest::Digest::of(&det));
        }
    }
    log.flush().unwrap();
    let head = log.head(run_stream(1)).unwrap().unwrap();
    assert_eq!(log.read(head.offset).unwrap().seq(), 20);
}

#[test]
fn a_full_queue_is_written_by_whoever_appends() {
    let disk = SimDisk::new();
    let options = Options {
        queue_records_max: 3,
        ..options()
    };
    let (log, _) = Log::open(Arc::new(disk.clone()), path(), &options).unwrap();
    let mut world = World::default();
    world.resume(&log, 0);
    let mut rng = Rng(4);
    for _ in 0..50 {
        let Append { draft, kind, seq } = world.any_record(&mut rng, 3);
        log.append(draft, kind, seq).unwrap();
    }
    assert!(contents(&reader(&disk)).len() >= 47);
}

#[test]
fn memory_for_ended_runs_is_given_back_after_the_fold() {
    let disk = SimDisk::new();
    let options = Options {
        catalogue_every_records: 64,
        stride: aos_format::offset::Stride::from_log2(16).unwrap(),
        ..options()
    };
    let (log, _) = Log::open(Arc::new(disk.clone()), path(), &options).unwrap();
    let mut world = World::default();
    for n in 0..300 {
        let first = world.next(run_stream(n), Event::Start(start(n)), Vec::new());
        let last = world.next(run_stream(n), Event::End(crate::support::end()), Vec::new());
        log.append_batch(vec![first, last]).unwrap();
    }
    log.flush().unwrap();
    assert!(log.streams_in_memory() < 100, "{}", log.streams_in_memory());
    verify(&disk, &log, &world, "after folds");
}

#[test]
fn looking_for_a_run_that_nobody_started_reads_nothing_and_misses_none_that_somebody_did() {
    let disk = SimDisk::new();
    let options = Options {
        catalogue_every_records: 64,
        ..options()
    };
    let (log, _) = Log::open(Arc::new(disk.clone()), path(), &options).unwrap();
    let mut world = World::default();
    let run = |n| run_stream(n).as_run().unwrap();
    for n in 0..300 {
        let first = world.next(run_stream(n), Event::Start(start(n)), Vec::new());
        let last = world.next(run_stream(n), Event::End(crate::support::end()), Vec::new());
        log.append_batch(vec![first, last]).unwrap();
        log.flush().unwrap();
        let before = disk.reads();
        assert_eq!(log.run(run(n + 1)).unwrap(), None);
        assert_eq!(disk.reads(), before, "run {n} need not be folded for that");
        // Written, folded, forgotten: whatever became of it, it is found.
        for earlier in [0, n / 2, n] {
            let found = log.run(run(earlier)).unwrap().unwrap();
            assert_eq!((found.run, found.seq), (run(earlier), 2));
        }
    }
    assert!(log.streams_in_memory() < 100, "{}", log.streams_in_memory());
}

#[test]
fn many_producers_share_a_log_and_each_stream_keeps_its_order() {
    for mode in [Mode::Inline, Mode::Threaded] {
        let disk = SimDisk::new();
        let options = Options {
            mode,
            stride: aos_format::offset::Stride::from_log2(14).unwrap(),
            queue_records_max: 16,
            catalogue_every_records: 50,
            ..options()
        };
        let (log, _) = Log::open(Arc::new(disk.clone()), path(), &options).unwrap();
        std::thread::scope(|scope| {
            for producer in 0..4u64 {
                let log = &log;
                scope.spawn(move || {
                    let (mut world, mut rng) = (World::default(), Rng(producer));
                    let mut last = None;
                    for _ in 0..150 {
                        let Append { draft, kind, seq } = world.run_record(&mut rng, producer);
                        let ticket = log.append(draft, kind, seq).unwrap();
                        if rng.below(5) == 0 {
                            log.wait(ticket).unwrap();
                            last = None;
                        } else {
                            last = Some(ticket);
                        }
                    }
                    if let Some(ticket) = last {
                        log.wait(ticket).unwrap();
                    }
                });
            }
        });
        for producer in 0..4 {
            let records = log.stream(run_stream(producer), 1).unwrap();
            let numbers: Vec<u64> = records.iter().map(|record| record.seq()).collect();
            assert_eq!(numbers, (1..=150).collect::<Vec<_>>(), "{mode:?}");
        }
        let durable = log.close().unwrap();
        let report = aos_store::check(Arc::new(disk.clone()), path()).unwrap();
        assert_eq!(report.findings, []);
        assert_eq!(report.records, 601);
        assert_eq!(report.tail.end, durable);
    }
}

#[test]
fn closing_and_dropping_a_threaded_log_end_its_threads() {
    for close in [true, false] {
        let disk = SimDisk::new();
        let (log, _) =
            Log::open(Arc::new(disk.clone()), path(), &crate::support::threaded()).unwrap();
        let mut world = World::default();
        let Append { draft, kind, seq } = world.run_record(&mut Rng(1), 1);
        let ticket = log.append(draft, kind, seq).unwrap();
        log.wait(ticket.clone()).unwrap();
        assert!(log.is_durable(&ticket));
        if close {
            log.close().unwrap();
        } else {
            drop(log);
        }
        let (log, _) = open(&disk);
        assert_eq!(verify(&disk, &log, &world, "reopened"), 1);
    }
}

#[test]
fn a_threaded_log_writes_what_nobody_waits_for_and_proves_it_when_idle() {
    let disk = SimDisk::new();
    let (log, _) = Log::open(Arc::new(disk.clone()), path(), &crate::support::threaded()).unwrap();
    let mut world = World::default();
    let Append { draft, kind, seq } = world.run_record(&mut Rng(1), 1);
    let ticket = log.append(draft, kind, seq).unwrap();
    let soon = |what: &str, holds: &dyn Fn() -> bool| {
        assert!(
            (0..10_000_000).any(|_| {
                std::thread::yield_now();
                holds()
            }),
            "{what}"
        );
    };
    soon("it is written", &|| log.is_durable(&ticket));
    let last_is_empty = || {
        let walk = reader(&disk).walk(aos_format::offset::Offset(0)).unwrap();
        walk.groups.last().is_some_and(aos_store::Group::is_empty)
    };
    soon("an empty group follows", &last_is_empty);
    let groups = || reader(&disk).tail().unwrap().group;
    assert_eq!(groups(), 3, "OPEN, the record, and one empty group");
    log.close().unwrap();
    assert_eq!(groups(), 3, "never a second empty group");
}

#[test]
fn reading_where_no_durable_record_stands_says_so() {
    let disk = SimDisk::new();
    let (log, _) = open(&disk);
    let durable = log.durable();
    for at in [0, 1, 16, 63, 64 + 8, durable.0, durable.0 + 16, 1 << 40] {
        let offset = aos_format::offset::Offset(at);
        match log.read(offset) {
            Err(Error::NoRecord { .. } | Error::Finding(_)) => {}
            other => panic!("{at}: {other:?}"),
        }
    }
    assert_eq!(log.read(aos_format::offset::Offset(64)).unwrap().seq(), 1);
}
