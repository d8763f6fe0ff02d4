//! A frame of an earlier epoch where the next one belongs.

use crate::damage::segment_file;
use crate::oracle::{as_disk, log_path, options};
use crate::world::World;
use aos_disk::sim::SimDisk;
use aos_format::frame::COMMIT_LEN;
use aos_format::offset::Offset;
use aos_store::{Error, Log, LogReader};

/// A group of an earlier epoch stands, whole and at its own offset, right where the next group belongs: the disk lost the
/// zeros that were written over it. Returns how many of its records a reader gives; must be none.
///
/// # Errors
/// When the logs cannot be made.
pub fn stale_group(seed: u64) -> Result<usize, Error> {
    // An OPEN that is long enough for a step to be made as long.
    let options = aos_store::Options {
        build: "b".repeat(300),
        ..options(12)
    };
    let open = |disk: &SimDisk| Log::open(as_disk(disk), log_path(), &options);
    let disk = SimDisk::with_seed(seed);
    let (log, _) = open(&disk)?;
    let mut world = World::default();
    world.resume(&log, Vec::new())?;
    let first = world.step_record(1, Vec::new());
    log.append(first.draft, first.kind, first.seq)?;
    let start = log.flush()?;
    drop(log);
    // In one future the second epoch writes two groups, the first as long as an OPEN.
    let cut_off = disk.process_crash_image();
    let (log, _) = open(&cut_off)?;
    let open_len = log.durable().0 - start.0;
    let known = world.accepted.iter().map(|(rec, _)| rec.clone()).collect();
    world.resume(&log, known)?;
    let as_long = |len: &usize| {
        let item = world.clone().step_record(1, vec![7; *len]);
        64 + item.draft.encode().bytes.len() as u64 + COMMIT_LEN == open_len
    };
    let len = (0..400).find(as_long).unwrap_or_default();
    for _ in 0..2 {
        let item = world.step_record(1, vec![7; len]);
        log.append(item.draft, item.kind, item.seq)?;
        log.flush()?;
    }
    drop(log);
    // In the other the log is opened again instead, and then the second of those groups is where it was.
    let disk = disk.process_crash_image();
    drop(open(&disk)?);
    drop(open(&disk)?);
    let end = start.0 + 2 * open_len;
    let count = |disk: &SimDisk| -> Result<usize, Error> {
        let reader = LogReader::open(as_disk(disk), log_path())?;
        Ok(reader.scan(Offset(0))?.filter_map(Result::ok).count())
    };
    let before = count(&disk)?;
    let stale = cut_off.peek(&segment_file(0)).unwrap_or_default();
    let back = &stale[end as usize..];
    disk.poke_at(&segment_file(0), back, end)?;
    disk.poke_at(&log_path().join("LOCK"), &[0; 64], 64)?;
    Ok(count(&disk)? - before)
}
