//! Records that stand near each other, read through a window.

use crate::support::{Rng, World, as_disk, options, path, run_stream, step};
use aos_disk::sim::SimDisk;
use aos_format::event::Event;
use aos_format::offset::{Offset, Stride, segment_file_name};
use aos_store::{Log, LogReader, Options, StoredRecord, Window};

/// A log of three segments in which two runs alternate, some records of them long, and the offsets of their records.
fn log() -> (SimDisk, Vec<Offset>) {
    let disk = SimDisk::new();
    let options = Options {
        stride: Stride::from_log2(16).unwrap(),
        ..options()
    };
    let (log, _) = Log::open(as_disk(&disk), path(), &options).unwrap();
    let (mut world, mut rng) = (World::default(), Rng(5));
    for n in 0..300 {
        let len = if n % 50 == 0 { 9000 } else { rng.below(300) };
        let bytes = vec![n as u8; len as usize];
        let event = Event::Step(step("/do/0/a", &bytes));
        let next = world.next(run_stream(n % 2), event, vec![(4, bytes)]);
        log.append(next.draft, next.kind, next.seq).unwrap();
    }
    log.close().unwrap();
    let reader = reader(&disk);
    let records = reader.scan(Offset(0)).unwrap();
    let offsets: Vec<Offset> = records.map(|record| record.unwrap().offset()).collect();
    assert!(offsets.last().unwrap().0 > 2 << 16, "three segments");
    (disk, offsets)
}

fn reader(disk: &SimDisk) -> LogReader {
    LogReader::open(as_disk(disk), path()).unwrap()
}

fn read(record: Result<StoredRecord, aos_store::Error>) -> Result<(String, Vec<u8>), String> {
    match record {
        Ok(record) => Ok((format!("{record:?}"), record.body().to_vec())),
        Err(error) => Err(format!("{error:?}")),
    }
}

/// Reads at those offsets through one window and alone, and says how many reads of the disk both took.
fn compare(disk: &SimDisk, offsets: impl Iterator<Item = Offset> + Clone) -> (u64, u64) {
    let reader = reader(disk);
    reader.tail().unwrap();
    let before = disk.reads();
    let mut window = Window::default();
    let near: Vec<_> = offsets
        .clone()
        .map(|at| read(reader.read_near(at, &mut window)))
        .collect();
    let between = disk.reads();
    let alone: Vec<_> = offsets.map(|at| read(reader.read(at))).collect();
    assert_eq!(near, alone);
    (between - before, disk.reads() - between)
}

#[test]
fn records_are_the_same_in_any_order_and_near_ones_take_few_reads() {
    let (disk, offsets) = log();
    for (near, alone) in [
        compare(&disk, offsets.iter().copied()),
        compare(&disk, offsets.iter().rev().copied()),
        compare(&disk, offsets.iter().rev().step_by(2).copied()),
    ] {
        assert!(near * 4 < alone, "{near} reads, {alone} alone");
    }
    let mut rng = Rng(9);
    let any: Vec<Offset> = (0..600)
        .map(|_| offsets[rng.below(offsets.len() as u64) as usize])
        .collect();
    compare(&disk, any.into_iter());
}

#[test]
fn what_is_wrong_is_said_as_for_a_record_that_is_read_alone() {
    let (sound, offsets) = log();
    for (index, at) in offsets.iter().enumerate().step_by(7) {
        // In the header, in the body, and an offset at which nothing stands.
        for byte in [40, 100] {
            let disk = sound.frozen_image();
            let start = at.0 & !0xffff;
            let file = path()
                .join("segments")
                .join(segment_file_name(Offset(start)));
            let place = at.0 - start + byte;
            let old = disk.peek(&file).unwrap()[place as usize];
            disk.poke_at(&file, &[old ^ 4], place).unwrap();
            let around = &offsets[index.saturating_sub(3)..offsets.len().min(index + 3)];
            compare(&disk, around.iter().copied());
            compare(&disk, around.iter().rev().copied());
        }
        compare(&sound, [*at, at.plus(16), at.plus(8), *at].into_iter());
    }
    let end = reader(&sound).tail().unwrap().end;
    let last = *offsets.last().unwrap();
    compare(&sound, [last, end, end.plus(64), last].into_iter());
}
