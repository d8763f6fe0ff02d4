//! Loops that leave nothing out: each operation of a log with each of its disk operations failing, and with the power going
//! at each of them, and again while the log is opened; groups cut at each byte.

use crate::dice::Dice;
use crate::life::Run;
use crate::operations::{Operation, STRIDE_LOG2, empty, operations, written};
use crate::oracle::{Look, Violation, as_disk, log_path, look, must, open};
use crate::plan::{Level, Plan};
use crate::soak::on_threads;
use crate::tally::Tally;
use crate::world::{Rec, World};
use aos_disk::sim::{Fault, OpKind, Persistence, Policy, SimDisk};
use aos_store::{Error, ErrorKind, Log, check};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much of the loops to go through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Depth {
    /// Random choices of what a power cut leaves, where there are too many to try all.
    pub subsets: u64,
    /// Most parts of which all choices are tried.
    pub all_up_to: usize,
    /// Every so many operations the power goes again at every operation of recovery.
    pub again_every: u64,
    /// Every so many of those it goes a third time.
    pub third_every: u64,
    /// Every so many operations and reads fail.
    pub fail_every: u64,
    /// Bytes between two places where a group is cut.
    pub cut_step: usize,
}

impl Depth {
    /// All of it: minutes.
    pub const WHOLE: Depth = Depth {
        subsets: 8,
        all_up_to: 10,
        again_every: 1,
        third_every: 5,
        fail_every: 1,
        cut_step: 1,
    };
    /// What the default test suite has time for.
    pub const SHORT: Depth = Depth {
        subsets: 1,
        all_up_to: 3,
        again_every: 16,
        third_every: 9,
        fail_every: 5,
        cut_step: 37,
    };
}

/// What an operation came to.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Disk operations that it makes when all goes well.
    pub ops: u64,
    /// Reads that it makes.
    pub reads: u64,
    /// Failures that were tried, one or all from one on.
    pub faults: u64,
    /// Power cuts that were tried, in it and in recovery.
    pub cuts: u64,
}

/// An operation on a fresh log: the disk, what is known, and where its numbers begin.
struct Begun {
    disk: SimDisk,
    world: World,
    log: Option<Log>,
    ops: u64,
    reads: u64,
}

impl Operation {
    fn begin(&self, sector: u64) -> Result<Begun, Violation> {
        let failed = |error: Error| Violation::new("simulator", format!("{}: {error}", self.name));
        let (disk, mut world) = (self.make)().map_err(failed)?;
        disk.set_sector(sector);
        let log = match self.opened {
            false => None,
            true => {
                let (log, _) = open(&disk, STRIDE_LOG2).map_err(failed)?;
                let known: Vec<Rec> = world.accepted.iter().map(|(rec, _)| rec.clone()).collect();
                world.resume(&log, known).map_err(failed)?;
                Some(log)
            }
        };
        let (ops, reads) = (disk.ops(), disk.reads());
        Ok(Begun {
            disk,
            world,
            log,
            ops,
            reads,
        })
    }

    /// Fails each operation and each read with each fault, once and for good, until nothing is left to fail.
    ///
    /// # Errors
    /// What must not be.
    pub fn faults(
        &self,
        depth: Depth,
        tally: &mut Tally,
        done: &mut Done,
    ) -> Result<(), Violation> {
        let mut shift = 0;
        let told = Fault::ALL.into_iter().filter(|fault| !fault.is_silent());
        for fault in told {
            for lasts in [Persistence::Once, Persistence::Forever] {
                for read in [false, true] {
                    shift += 1;
                    let first = 1 + shift % depth.fail_every;
                    let numbers = (first..).step_by(depth.fail_every as usize);
                    self.fault(fault, lasts, read, numbers, tally, done)?;
                }
            }
        }
        Ok(())
    }

    fn fault(
        &self,
        fault: Fault,
        lasts: Persistence,
        read: bool,
        numbers: impl Iterator<Item = u64>,
        tally: &mut Tally,
        done: &mut Done,
    ) -> Result<(), Violation> {
        for at in numbers {
            let mut begun = self.begin(512)?;
            match read {
                true => begun.disk.fail_read(begun.reads + at, fault, lasts),
                false => begun.disk.fail_op(begun.ops + at, fault, lasts),
            }
            let acted = (self.act)(&begun.disk, begun.log.take(), &mut begun.world);
            let tried = match read {
                true => begun.disk.reads() - begun.reads,
                false => begun.disk.ops() - begun.ops,
            };
            let what = format!("{}, {} {lasts:?} at {at}", self.name, fault.name());
            if let Err(error) = &acted {
                must!(tried >= at, "failed", "{what}: {error}");
                let damage = matches!(
                    error.kind(),
                    ErrorKind::Damaged | ErrorKind::Gap | ErrorKind::Unsupported
                );
                must!(!damage, "false alarm", "{what}: {error}");
            }
            // It never came to that operation: all of them have been failed.
            if tried < at {
                return Ok(());
            }
            if begun.disk.struck().is_empty() {
                continue; // a fault that this operation cannot have
            }
            done.faults += 1;
            begun.world.failed = true;
            begun.disk.clear_faults();
            for image in [
                begun.disk.process_crash_image(),
                begun.disk.crash_image(Policy::None),
                begun.disk.crash_image(Policy::Subset(at)),
            ] {
                examine(&image, &begun.world, tally).map_err(|v| v.after(&what))?;
            }
        }
        Ok(())
    }

    /// Cuts the power at each operation, and examines what that leaves; then again while that is opened.
    ///
    /// # Errors
    /// What must not be.
    pub fn cuts(&self, depth: Depth, tally: &mut Tally, done: &mut Done) -> Result<(), Violation> {
        let mut whole = self.begin(512)?;
        (self.act)(&whole.disk, whole.log.take(), &mut whole.world)
            .map_err(|error| Violation::new("simulator", format!("{}: {error}", self.name)))?;
        done.ops = whole.disk.ops() - whole.ops;
        done.reads = whole.disk.reads() - whole.reads;
        for at in 1..=done.ops + 1 {
            let sector = if at % 2 == 0 { 4096 } else { 512 };
            let mut begun = self.begin(sector)?;
            begun.disk.crash_at(begun.ops + at);
            // Whatever fails here fails because of the crash.
            let _crashed = (self.act)(&begun.disk, begun.log.take(), &mut begun.world);
            let what = format!("{}, power cut at {at} of {}", self.name, done.ops);
            for policy in policies(&begun.disk, at, depth) {
                let image = begun.disk.crash_image(policy);
                done.cuts += 1;
                let after = |violation: Violation| violation.after(&format!("{what}, {policy:?}"));
                examine(&image, &begun.world, tally).map_err(after)?;
            }
            if at % depth.again_every == 0 {
                let image = begun.disk.crash_image(Policy::Subset(at));
                done.cuts +=
                    again(&image, &begun.world, depth, tally).map_err(|v| v.after(&what))?;
            }
        }
        Ok(())
    }
}

impl Violation {
    fn after(mut self, what: &str) -> Violation {
        self.what = format!("{what}: {}", self.what);
        self
    }
}

/// What may be left of a disk: nothing, all, every choice where there are few, else some.
fn policies(disk: &SimDisk, seed: u64, depth: Depth) -> Vec<Policy> {
    let units = disk.pending_units();
    let mut policies = vec![Policy::None, Policy::All];
    if units <= depth.all_up_to {
        policies.extend((1..(1u64 << units).saturating_sub(1)).map(Policy::Mask));
    } else {
        let some = (0..depth.subsets).map(|n| Policy::Subset(seed * 1000 + n));
        policies.extend(some);
        let any_order = (0..depth.subsets.div_ceil(2)).map(|n| Policy::Shuffled(seed * 1000 + n));
        policies.extend(any_order);
    }
    policies
}

/// Cuts the power at each operation of an opening, and now and then once more in the opening after that.
fn again(
    image: &SimDisk,
    world: &World,
    depth: Depth,
    tally: &mut Tally,
) -> Result<u64, Violation> {
    let mut cuts = 0;
    for second in 1.. {
        let opening = image.process_crash_image();
        opening.crash_at(second);
        drop(open(&opening, STRIDE_LOG2));
        if !opening.is_crashed() {
            return Ok(cuts);
        }
        tally.crashes_in_recovery += 1;
        for policy in [Policy::None, Policy::Subset(second)] {
            let left = opening.crash_image(policy);
            cuts += 1;
            let what = format!("power cut at {second} of the opening, {policy:?}");
            examine(&left, world, tally).map_err(|violation| violation.after(&what))?;
            if second % depth.third_every == 0 && policy != Policy::None {
                let third = left.process_crash_image();
                third.crash_at(second / depth.third_every);
                drop(open(&third, STRIDE_LOG2));
                tally.crashes_in_recovery += 1;
                cuts += 1;
                let left = third.crash_image(Policy::Subset(second));
                examine(&left, world, tally).map_err(|violation| violation.after(&what))?;
            }
        }
    }
    Ok(cuts)
}

/// Opens what is left, and judges it by what is known.
fn examine(image: &SimDisk, world: &World, tally: &mut Tally) -> Result<(), Violation> {
    let plan = Plan::bare(Level::Store, STRIDE_LOG2);
    let mut run = Run::new(&plan);
    run.world = world.clone();
    let examined = run.examine(image, &mut Dice::new(0, "exhaust", &[]), 2);
    run.tally.runs = 0;
    tally.add(run.tally);
    examined.map(drop)
}

/// Cuts every group that a log wrote at every byte: beside its writer that is no finding, after a power cut it is a torn
/// tail, and the groups before it are there. Returns how many cuts that were.
///
/// # Errors
/// What must not be.
pub fn groups_cut_at_every_byte(step: usize, tally: &mut Tally) -> Result<u64, Violation> {
    let failed = |error: Error| Violation::new("simulator", error.to_string());
    let writes: Vec<u64> = {
        let (disk, ..) = written(20).map_err(failed)?;
        let ops = disk.op_log().into_iter();
        let groups = ops.filter(|op| {
            op.kind == OpKind::Write && op.path.extension().is_some_and(|ext| ext == "seg")
        });
        groups.map(|op| op.number).collect()
    };
    let mut cuts = 0;
    for write in writes {
        let (disk, world) = until(write).map_err(failed)?;
        let (before, after) = (disk.frozen_image(), disk_after(write).map_err(failed)?);
        let files = before.files().into_iter();
        for path in files.filter(|path| path.extension().is_some_and(|ext| ext == "seg")) {
            let (old, new) = (before.peek(&path), after.peek(&path));
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            let changed = |index: &usize| old.get(*index) != new.get(*index);
            let (first, last) = ((0..new.len()).find(changed), (0..new.len()).rfind(changed));
            let (Some(first), Some(last)) = (first, last) else {
                continue;
            };
            for cut in (first + 1..=last).step_by(step) {
                let image = before.frozen_image();
                image
                    .poke_at(&path, &new[first..cut], first as u64)
                    .map_err(|error| failed(error.into()))?;
                cuts += 1;
                let what = format!("write {write} of {} cut at byte {cut}", path.display());
                beside(&image).map_err(|violation| violation.after(&what))?;
                let left = image.crash_image(Policy::All);
                examine(&left, &world, tally).map_err(|violation| violation.after(&what))?;
            }
        }
    }
    Ok(cuts)
}

/// A reader beside the writer finds nothing wrong.
fn beside(image: &SimDisk) -> Result<(), Violation> {
    let seen = look(image).map_err(|error| Violation::new("unreadable", error.to_string()))?;
    let Look { finding, .. } = seen.unwrap_or_default();
    must!(
        finding.is_none(),
        "false alarm",
        "beside its writer: {finding:?}"
    );
    Ok(())
}

/// The log right before disk operation `at`, with what was acknowledged until then.
fn until(at: u64) -> Result<(SimDisk, World), Error> {
    let (disk, mut world) = empty()?;
    disk.crash_at(at);
    let mut dice = Dice::new(1, "exhaust", &[]);
    // Ends with the power cut.
    let _crashed = (|| {
        let (log, _) = open(&disk, STRIDE_LOG2)?;
        world.resume(&log, Vec::new())?;
        for number in 0..20 {
            let item = world.any_record(&mut dice, 120);
            log.append(item.draft, item.kind, item.seq)?;
            if number % 3 == 2 {
                log.flush()?;
                world.acknowledge_all();
            }
        }
        log.flush()
    })();
    Ok((disk, world))
}

/// The disk right after that operation.
fn disk_after(at: u64) -> Result<SimDisk, Error> {
    until(at + 1).map(|(disk, _)| disk.frozen_image())
}

/// All loops: what each operation came to, how many groups were cut, and the counts of all states.
pub type Exhausted = (Vec<(&'static str, Done)>, u64, Tally);

/// Goes through all loops.
///
/// # Errors
/// What must not be.
pub fn run(depth: Depth, jobs: usize) -> Result<Exhausted, Violation> {
    let all = operations();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut tally = Tally::default();
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(operation) = all.get(number) else {
                return Ok((done, tally));
            };
            let mut one = Done::default();
            operation.faults(depth, &mut tally, &mut one)?;
            operation.cuts(depth, &mut tally, &mut one)?;
            done.push((number, one));
        }
    };
    let mut tally = Tally::default();
    let mut by_number = BTreeMap::new();
    for worked in on_threads(jobs, &work) {
        let (done, counts): (Vec<(usize, Done)>, Tally) = worked?;
        tally.add(counts);
        by_number.extend(done);
    }
    let cut = groups_cut_at_every_byte(depth.cut_step, &mut tally)?;
    let named = by_number
        .into_iter()
        .map(|(number, done)| (all[number].name, done));
    Ok((named.collect(), cut, tally))
}

/// Logs that nothing happened to but ordinary ends: closed, killed, cut by a power cut, or being written. Checking them must
/// find nothing, but for the torn tail of a power cut. Returns how many of each.
///
/// # Errors
/// A false alarm.
pub fn untouched(count: u64, seed: u64) -> Result<[u64; 4], Violation> {
    let mut kinds = [0; 4];
    for number in 0..count {
        let mut dice = Dice::new(seed, "untouched", &[number]);
        let disk = SimDisk::with_seed(number);
        let kind = (number % 4) as usize;
        if kind >= 2 {
            // Seldom while the log is made.
            disk.crash_at(1 + dice.below(20) * dice.below(20));
        }
        let mut world = World::default();
        // Ends where the power does.
        let _crashed = (|| {
            let (log, _) = open(&disk, STRIDE_LOG2)?;
            world.resume(&log, Vec::new())?;
            for _ in 0..dice.below(40) {
                let item = world.any_record(&mut dice, 120);
                log.append(item.draft, item.kind, item.seq)?;
                if dice.one_in(3) {
                    log.flush()?;
                    world.acknowledge_all();
                }
            }
            match kind {
                0 => log.close().map(drop),
                _ => log.flush().map(drop),
            }
        })();
        let image = match kind {
            0 => disk.crash_image(Policy::None),
            1 => disk.process_crash_image(),
            2 => disk.crash_image(Policy::Subset(number)),
            _ => disk.frozen_image(),
        };
        alarm(&image, kind == 2).map_err(|violation| violation.after(&format!("log {number}")))?;
        kinds[kind] += 1;
    }
    Ok(kinds)
}

fn alarm(image: &SimDisk, torn_tails: bool) -> Result<(), Violation> {
    let report = match check(as_disk(image), log_path()) {
        Ok(report) => report,
        // Cut while it was made.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotALog) => {
            return Ok(());
        }
        Err(error) => return Err(Violation::new("false alarm", error.to_string())),
    };
    let alarm = report.findings.into_iter().find(|finding| {
        let torn = finding.kind == aos_store::FindingKind::TailUnproven;
        !(torn && torn_tails)
    });
    match alarm {
        None => Ok(()),
        Some(finding) => Err(Violation::new("false alarm", finding.to_string())),
    }
}
