//! Values, wherever they are stored.

use crate::support::{World, open, reader, run_stream, step};
use aos_disk::sim::SimDisk;
use aos_format::event::Event;
use aos_format::record::Stored;
use aos_store::{Append, Error, Source};

#[test]
fn a_back_reference_gives_the_bytes_of_the_earlier_record() {
    let disk = SimDisk::new();
    let (log, _) = open(&disk);
    let mut world = World::default();
    for n in 1u64..=70 {
        let bytes = n.to_le_bytes().to_vec();
        let event = Event::Step(step("/do/0/a", &bytes));
        let Append {
            mut draft,
            kind,
            seq,
        } = world.next(run_stream(1), event, vec![(4, bytes)]);
        if n > 64 {
            // Every earlier record is reached from here.
            draft.values[0].stored = Stored::Back {
                seq: n - 64,
                slot: 4,
            };
        }
        log.append(draft, kind, seq).unwrap();
    }
    log.flush().unwrap();
    let records = log.stream(run_stream(1), 65).unwrap();
    assert_eq!(records.len(), 6);
    let reader = reader(&disk);
    for record in &records {
        let expected = (record.seq() - 64).to_le_bytes();
        assert_eq!(log.value(record, 4).unwrap(), expected);
        let read = reader.read(record.offset()).unwrap();
        assert_eq!(reader.value(&read, 4).unwrap(), expected);
    }
    let first = &log.stream(run_stream(1), 1).unwrap()[0];
    assert_eq!(log.value(first, 4).unwrap(), 1u64.to_le_bytes());
    assert!(matches!(log.value(first, 3), Err(Error::NoValue { .. })));
}

#[test]
fn references_that_lead_nowhere_are_errors() {
    let disk = SimDisk::new();
    let (log, _) = open(&disk);
    let mut world = World::default();
    let stored = [
        Stored::Absent,
        Stored::Back { seq: 2, slot: 4 },
        Stored::Back { seq: 99, slot: 4 },
        Stored::Back { seq: 1, slot: 4 },
    ];
    for stored in stored {
        let event = Event::Step(step("/do/0/a", b"12345678"));
        let Append {
            mut draft,
            kind,
            seq,
        } = world.next(run_stream(1), event, vec![(4, b"12345678".to_vec())]);
        draft.values[0].stored = stored;
        log.append(draft, kind, seq).unwrap();
    }
    for record in log.stream(run_stream(1), 1).unwrap() {
        let error = log.value(&record, 4).unwrap_err();
        assert_eq!(error.code(), "AOS-S016", "record {}", record.seq());
    }
}

#[test]
fn a_record_larger_than_a_group_is_a_group_of_its_own() {
    use crate::support::{as_disk, options, path};
    use aos_format::offset::Stride;
    use aos_store::{LogReader, Options};

    let disk = SimDisk::new();
    let options = Options {
        stride: Stride::from_bytes(16 << 20).unwrap(),
        ..options()
    };
    let (log, _) = aos_store::Log::open(as_disk(&disk), path(), &options).unwrap();
    let mut world = World::default();
    for len in [10, 3 << 20, 20, 2 << 20] {
        let bytes = vec![7; len];
        let event = Event::Step(step("/do/0/a", &bytes));
        let Append { draft, kind, seq } = world.next(run_stream(1), event, vec![(4, bytes)]);
        log.append(draft, kind, seq).unwrap();
    }
    log.close().unwrap();
    let disk = disk.crash_image(aos_disk::sim::Policy::None);
    let reader = LogReader::open(as_disk(&disk), path()).unwrap();
    let records: Vec<_> = reader
        .scan(aos_format::offset::Offset(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(records.len(), 5, "OPEN and four more");
    assert_eq!(reader.value(&records[2], 4).unwrap().len(), 3 << 20);
}
