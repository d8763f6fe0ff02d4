//! The operations that the loops go through, and the logs that they are done to.

use crate::dice::Dice;
use crate::oracle::{as_disk, log_path, open};
use crate::world::World;
use aos_disk::sim::{Policy, SimDisk};
use aos_store::{Error, Log, LogReader, check, rebuild_catalogue};

/// Makes a log of some shape.
pub(crate) type Make = fn() -> Result<(SimDisk, World), Error>;
/// Does one thing to a log, which it opens itself or is given.
pub(crate) type Act = fn(&SimDisk, Option<Log>, &mut World) -> Result<(), Error>;

/// A public operation, on a log where it has something to do.
pub struct Operation {
    /// Name in reports.
    pub name: &'static str,
    pub(crate) make: Make,
    /// Whether the log is open when the operation begins.
    pub(crate) opened: bool,
    pub(crate) act: Act,
}

/// Every public operation that writes, and those that only read.
pub fn operations() -> Vec<Operation> {
    let op = |name, make, opened, act| Operation {
        name,
        make,
        opened,
        act,
    };
    vec![
        op("create", empty, false, act_open),
        op("open, closed", closed, false, act_open),
        op("open, killed", killed, false, act_open),
        op("open, torn tail", torn, false, act_open),
        op("open, no catalogue", without_catalogue, false, act_open),
        op("open, no LOCK", without_lock, false, act_open),
        op("append and wait", closed, true, act_append),
        op("append_batch and wait", closed, true, act_batch),
        op("flush", closed, true, act_flush),
        op("end a segment", nearly_full, true, act_roll),
        op("commit the catalogue", closed, true, act_commit),
        op("look up", killed, true, act_look_up),
        op("close", killed, true, act_close),
        op("rebuild_catalogue", closed, false, act_rebuild),
        op("read", killed, false, act_read),
        op("check", closed, false, act_check),
    ]
}

pub(crate) const STRIDE_LOG2: u32 = 12;

pub(crate) fn empty() -> Result<(SimDisk, World), Error> {
    Ok((SimDisk::with_seed(1), World::default()))
}

/// A log of two segments that is open, all of it acknowledged.
pub(crate) fn written(records: u64) -> Result<(SimDisk, World, Log), Error> {
    let (disk, mut world) = empty()?;
    let (log, _) = open(&disk, STRIDE_LOG2)?;
    world.resume(&log, Vec::new())?;
    let mut dice = Dice::new(1, "exhaust", &[]);
    for number in 0..records {
        let item = world.any_record(&mut dice, 120);
        log.append(item.draft, item.kind, item.seq)?;
        if number % 3 == 2 {
            log.flush()?;
        }
    }
    log.flush()?;
    world.acknowledge_all();
    Ok((disk, world, log))
}

fn closed() -> Result<(SimDisk, World), Error> {
    let (disk, world, log) = written(14)?;
    log.close()?;
    Ok((disk.crash_image(Policy::None), world))
}

fn killed() -> Result<(SimDisk, World), Error> {
    let (disk, world, log) = written(14)?;
    drop(log);
    Ok((disk.process_crash_image(), world))
}

fn torn() -> Result<(SimDisk, World), Error> {
    let (disk, world) = killed()?;
    torn_image(&disk, world)
}

/// The log with the end of a group that never became whole.
fn torn_image(disk: &SimDisk, world: World) -> Result<(SimDisk, World), Error> {
    let (log, _) = open(disk, STRIDE_LOG2)?;
    let mut more = world.clone();
    let known = world.accepted.iter().map(|(rec, _)| rec.clone()).collect();
    more.resume(&log, known)?;
    let before = disk.crash_image(Policy::All);
    let at = log.durable().0;
    let item = more.step_record(1, vec![9; 200]);
    let ticket = log.append(item.draft, item.kind, item.seq)?;
    let end = log.wait(ticket)?.0;
    drop(log);
    let segment = at & !((1 << STRIDE_LOG2) - 1);
    if end - segment <= 1 << STRIDE_LOG2 {
        let file = crate::damage::segment_file(segment);
        let bytes = disk.peek(&file).unwrap_or_default();
        let group = &bytes[(at - segment) as usize..(end - segment) as usize - 48];
        before.poke_at(&file, group, at - segment)?;
    }
    Ok((before, world))
}

fn without_catalogue() -> Result<(SimDisk, World), Error> {
    let (disk, world) = closed()?;
    aos_disk::Disk::remove(&disk, &log_path().join("catalog.redb"))?;
    Ok((disk.crash_image(Policy::All), world))
}

fn without_lock() -> Result<(SimDisk, World), Error> {
    let (disk, world) = closed()?;
    aos_disk::Disk::remove(&disk, &log_path().join("LOCK"))?;
    Ok((disk.crash_image(Policy::All), world))
}

/// A log whose active segment has no room for a record of 900 bytes.
fn nearly_full() -> Result<(SimDisk, World), Error> {
    let (disk, mut world) = killed()?;
    let (log, _) = open(&disk, STRIDE_LOG2)?;
    let known = world.accepted.iter().map(|(rec, _)| rec.clone()).collect();
    world.resume(&log, known)?;
    while log.durable().0 % (1 << STRIDE_LOG2) < (1 << STRIDE_LOG2) - 700 {
        let item = world.step_record(1, vec![9; 100]);
        log.append(item.draft, item.kind, item.seq)?;
        log.flush()?;
    }
    world.acknowledge_all();
    drop(log);
    Ok((disk.crash_image(Policy::All), world))
}

fn given(log: Option<Log>, disk: &SimDisk) -> Result<Log, Error> {
    match log {
        Some(log) => Ok(log),
        None => open(disk, STRIDE_LOG2).map(|(log, _)| log),
    }
}

fn act_open(disk: &SimDisk, _: Option<Log>, _: &mut World) -> Result<(), Error> {
    open(disk, STRIDE_LOG2).map(drop)
}

fn append_one(log: &Log, world: &mut World, len: usize) -> Result<(), Error> {
    let item = world.step_record(1, vec![8; len]);
    let ticket = log.append(item.draft, item.kind, item.seq)?;
    log.wait(ticket)?;
    world.acknowledge_all();
    Ok(())
}

fn act_append(disk: &SimDisk, log: Option<Log>, world: &mut World) -> Result<(), Error> {
    append_one(&given(log, disk)?, world, 100)
}

fn act_batch(disk: &SimDisk, log: Option<Log>, world: &mut World) -> Result<(), Error> {
    let log = given(log, disk)?;
    let items = (1..5).map(|n| world.step_record(n, vec![8; 300])).collect();
    log.wait(log.append_batch(items)?)?;
    world.acknowledge_all();
    Ok(())
}

fn act_flush(disk: &SimDisk, log: Option<Log>, world: &mut World) -> Result<(), Error> {
    let log = given(log, disk)?;
    for n in 1..3 {
        let item = world.step_record(n, vec![8; 50]);
        log.append(item.draft, item.kind, item.seq)?;
    }
    log.flush()?;
    world.acknowledge_all();
    Ok(())
}

fn act_roll(disk: &SimDisk, log: Option<Log>, world: &mut World) -> Result<(), Error> {
    append_one(&given(log, disk)?, world, 800)
}

fn act_commit(disk: &SimDisk, log: Option<Log>, world: &mut World) -> Result<(), Error> {
    let log = given(log, disk)?;
    // More than the catalogue lets lie.
    for _ in 0..22 {
        let item = world.step_record(2, Vec::new());
        log.append(item.draft, item.kind, item.seq)?;
    }
    log.flush()?;
    world.acknowledge_all();
    log.rows().map(drop)
}

fn act_look_up(disk: &SimDisk, log: Option<Log>, world: &mut World) -> Result<(), Error> {
    let log = given(log, disk)?;
    for (stream, ..) in world.heads() {
        log.head(stream)?;
        for record in log.stream(stream, 1)? {
            log.read(record.offset())?;
        }
    }
    log.open_runs()?;
    log.runs(None, 10)?;
    log.rows().map(drop)
}

fn act_close(disk: &SimDisk, log: Option<Log>, world: &mut World) -> Result<(), Error> {
    let log = given(log, disk)?;
    let item = world.step_record(1, vec![8; 60]);
    log.append(item.draft, item.kind, item.seq)?;
    log.close()?;
    world.acknowledge_all();
    Ok(())
}

fn act_rebuild(disk: &SimDisk, _: Option<Log>, _: &mut World) -> Result<(), Error> {
    rebuild_catalogue(as_disk(disk), log_path()).map(drop)
}

fn act_read(disk: &SimDisk, _: Option<Log>, _: &mut World) -> Result<(), Error> {
    let reader = LogReader::open(as_disk(disk), log_path())?;
    for record in reader.scan(aos_format::offset::Offset(0))? {
        reader.read(record?.offset())?;
    }
    reader.tail()?;
    reader.index().map(drop)
}

fn act_check(disk: &SimDisk, _: Option<Log>, _: &mut World) -> Result<(), Error> {
    let report = check(as_disk(disk), log_path())?;
    // Without any fault of the bytes none may be found, whatever the disk answers.
    match report.findings.into_iter().next() {
        Some(finding) => Err(Error::Finding(Box::new(finding))),
        None => Ok(()),
    }
}
