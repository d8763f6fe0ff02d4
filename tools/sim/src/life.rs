//! Runs of the store alone: lives of one log, and every state that their ends leave.

use crate::dice::Dice;
use crate::oracle::{
    Case, Law, Look, Violation, after_opening, as_disk, compare, log_path, look, must, open,
    options, refusal,
};
use crate::plan::{Action, Ending, Item, Level, Life, Plan};
use crate::system::Promised;
use crate::tally::Tally;
use crate::world::{Fate, Rec, World};
use aos_disk::sim::{OpKind, Policy, SimDisk};
use aos_format::offset::Offset;
use aos_store::{Error, ErrorKind, FindingKind, Log, LogReader, Opening, Ticket, check};
use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

/// A run under way.
pub struct Run<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) disk: SimDisk,
    pub(crate) world: World,
    pub(crate) law: Law,
    /// Counts.
    pub tally: Tally,
    /// One line for each thing that happened.
    pub trace: Vec<String>,
    pub(crate) promised: Promised,
    seen: HashSet<u64>,
    /// Faults of the disk that were counted.
    noted: usize,
}

/// Parts that all subsets are tried of, where a power cut leaves no more.
const UNITS_MAX: usize = 6;

impl<'a> Run<'a> {
    /// A run on an empty disk.
    pub fn new(plan: &'a Plan) -> Run<'a> {
        let disk = SimDisk::with_seed(plan.seed);
        disk.set_sector(plan.sector);
        let mut run = Run {
            plan,
            disk: disk.clone(),
            world: World::default(),
            law: Law::default(),
            tally: Tally {
                runs: 1,
                ..Tally::default()
            },
            trace: Vec::new(),
            promised: Promised::default(),
            seen: HashSet::new(),
            noted: 0,
        };
        run.take(disk);
        run
    }

    /// Goes on with a disk.
    pub(crate) fn take(&mut self, disk: SimDisk) {
        disk.set_sector(self.plan.sector);
        if let Some(control) = self.plan.control {
            control.set_on(&disk);
        }
        self.disk = disk;
        self.noted = 0;
    }

    /// Lives the plan, and closes the log at the end.
    ///
    /// # Errors
    /// The first thing that must not be.
    pub fn go(&mut self) -> Result<(), Violation> {
        for (number, life) in self.plan.lives.iter().enumerate() {
            self.trace.push(format!("life {number}"));
            match self.plan.level {
                Level::Store => self.live(number as u64, life)?,
                Level::System => self.live_system(number as u64, life)?,
            }
            self.end(number as u64, life)?;
        }
        match self.plan.level {
            Level::Store => self.last(),
            Level::System => self.last_system(),
        }
    }

    /// Plans the faults and the power cut of a life.
    pub(crate) fn arm(&self, life: &Life) {
        let (ops, reads) = (self.disk.ops(), self.disk.reads());
        for (_, item) in &life.items {
            match *item {
                Item::Power(at) => self.disk.crash_at(ops + at),
                Item::Fault {
                    read,
                    at,
                    fault,
                    lasts,
                } if read => self.disk.fail_read(reads + at, fault, lasts),
                Item::Fault {
                    at, fault, lasts, ..
                } => self.disk.fail_op(ops + at, fault, lasts),
                Item::Act(_) => {}
            }
        }
    }

    fn live(&mut self, number: u64, life: &Life) -> Result<(), Violation> {
        self.arm(life);
        let before = self.look_before()?;
        let opened = open(&self.disk, self.plan.stride_log2);
        self.note("opening");
        let (log, opening) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.may_fail("opening", &error),
        };
        let trace = format!(
            "opened: epoch {}, cut {:?}",
            opening.epoch, opening.tail_cut
        );
        self.trace.push(trace);
        let disk = self.disk.clone();
        let found = self.judge(&disk, &log, &opening, before.as_ref(), true)?;
        self.note("looking up");
        let Some(found) = found else {
            return Ok(());
        };
        if let Err(error) = self.world.resume(&log, found) {
            self.note("looking up");
            return self.may_fail("looking up", &error);
        }
        self.act(number, life, log)
    }

    fn judge(
        &mut self,
        disk: &SimDisk,
        log: &Log,
        opening: &Opening,
        before: Option<&Look>,
        faults: bool,
    ) -> Result<Option<Vec<Rec>>, Violation> {
        let case = Case {
            disk,
            log,
            opening,
            before,
            world: (self.plan.level == Level::Store).then_some(&self.world),
            law: Law { faults, ..self.law },
        };
        after_opening(&case, &mut self.tally)
    }

    /// What a reader sees before the opening; nothing is planned for its reads.
    fn look_before(&self) -> Result<Option<Look>, Violation> {
        match look(&self.disk.process_crash_image()) {
            Ok(seen) => {
                let finding = seen.as_ref().and_then(|look| look.finding.as_ref());
                if let Some(finding) = finding {
                    must!(
                        self.law.media || finding.kind == FindingKind::TailUnproven,
                        "false alarm",
                        "reading a log that was cut off: {finding}"
                    );
                }
                Ok(seen)
            }
            Err(error) if self.law.media => refusal(&error).map(|()| None),
            Err(error) => Err(Violation::new("unreadable", error.to_string())),
        }
    }

    /// Does the actions of a life on an open log, and ends it.
    fn act(&mut self, number: u64, life: &Life, log: Log) -> Result<(), Violation> {
        let mut tickets = Vec::new();
        for (item, action) in life.items.iter().filter_map(|(item, what)| match what {
            Item::Act(action) => Some((*item, *action)),
            _ => None,
        }) {
            let mut dice = Dice::new(self.plan.seed, "act", &[number, item]);
            let done = self.do_action(&log, action, &mut dice, &mut tickets)?;
            self.note("working");
            if let Err(error) = done {
                self.trace.push(format!("item {item}, {action:?}: {error}"));
                self.world.failed = true;
                drop(log);
                return self.may_fail("working", &error);
            }
        }
        if matches!(life.ending, Ending::Closed | Ending::ClosedThenPower) {
            let closed = log.close();
            self.note("closing");
            match closed {
                Ok(_) => self.world.acknowledge_all(),
                Err(error) => {
                    self.world.failed = true;
                    return self.may_fail("closing", &error);
                }
            }
        }
        Ok(())
    }

    /// One action; the inner error is what the log said.
    fn do_action(
        &mut self,
        log: &Log,
        action: Action,
        dice: &mut Dice,
        tickets: &mut Vec<(Ticket, Range<usize>)>,
    ) -> Result<Result<(), Error>, Violation> {
        let room = log.identity().stride.record_limit() / 4;
        let accepted = self.world.accepted.len();
        Ok(match action {
            Action::Append => {
                let item = self.world.any_record(dice, room);
                let appended = log.append(item.draft, item.kind, item.seq);
                self.accepted(appended, accepted, tickets)
            }
            Action::Batch(size) => {
                let items = (0..size)
                    .map(|_| self.world.any_record(dice, room))
                    .collect();
                let appended = log.append_batch(items);
                self.accepted(appended, accepted, tickets)
            }
            Action::Wait if tickets.is_empty() => Ok(()),
            Action::Wait => {
                let index = dice.below(tickets.len() as u64) as usize;
                let (ticket, records) = tickets.swap_remove(index);
                log.wait(ticket).map(|_| {
                    for (_, fate) in &mut self.world.accepted[records] {
                        *fate = Fate::Acknowledged;
                    }
                })
            }
            Action::Flush => log.flush().map(|_| {
                tickets.clear();
                self.world.acknowledge_all();
            }),
            Action::LookUp => return self.look_up(log, dice, tickets),
            Action::Read => return self.read_beside(),
            Action::Check => return self.check_beside(),
        })
    }

    fn accepted(
        &mut self,
        appended: Result<Ticket, Error>,
        before: usize,
        tickets: &mut Vec<(Ticket, Range<usize>)>,
    ) -> Result<(), Error> {
        match appended {
            Ok(ticket) => {
                tickets.push((ticket, before..self.world.accepted.len()));
                Ok(())
            }
            Err(error) => {
                // Not accepted; a life ends with its first error, so that heads need not be taken back.
                self.world.accepted.truncate(before);
                Err(error)
            }
        }
    }

    /// Looks everything about one stream up and compares it with what was appended.
    fn look_up(
        &self,
        log: &Log,
        dice: &mut Dice,
        tickets: &[(Ticket, Range<usize>)],
    ) -> Result<Result<(), Error>, Violation> {
        let heads: Vec<_> = self.world.heads().collect();
        let (stream, seq, digest) = dice.pick(&heads);
        let asked = (|| {
            let head = log.head(stream)?;
            let records = log.stream(stream, 1)?;
            let read: Vec<Rec> = records.iter().map(Rec::of).collect::<Result<_, _>>()?;
            Ok((head, read))
        })();
        let (head, read) = match asked {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        let found = head.map_or((0, Default::default()), |head| (head.seq, head.digest));
        let read: Vec<&Rec> = read
            .iter()
            .filter(|rec| rec.kind != aos_format::frame::Kind::Open)
            .collect();
        let right = found == (seq, digest) && self.world.stream(stream).eq(read.iter().copied());
        if !right {
            // The look-up had the queued records written, and a fault may have refused them. Who appended them is told.
            for (ticket, _) in tickets {
                if let Err(error) = log.wait(ticket.clone()) {
                    return Ok(Err(error));
                }
            }
        }
        must!(
            right,
            "look-up",
            "{stream:?}: expected {seq} records up to {digest}, found the head {} {} and {} records",
            found.0,
            found.1,
            read.len()
        );
        Ok(Ok(()))
    }

    /// Reads the log as another process does while it is written.
    fn read_beside(&self) -> Result<Result<(), Error>, Violation> {
        match look(&self.disk) {
            Ok(Some(seen)) => {
                if !self.law.media {
                    must!(
                        seen.finding.is_none(),
                        "false alarm",
                        "reading beside the writer: {:?}",
                        seen.finding
                    );
                    compare(&seen.recs, &self.world)?;
                }
                Ok(Ok(()))
            }
            Ok(None) => Err(Violation::new("unreadable", "no log beside its writer")),
            Err(error) => Ok(Err(error)),
        }
    }

    fn check_beside(&self) -> Result<Result<(), Error>, Violation> {
        match check(as_disk(&self.disk), log_path()) {
            Ok(report) => {
                must!(
                    self.law.media || report.findings.is_empty(),
                    "false alarm",
                    "checking beside the writer: {:?}",
                    report.findings
                );
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Whether an error may be: only a fault that struck excuses one, and one that was told never looks like damage.
    pub(crate) fn may_fail(&mut self, doing: &str, error: &Error) -> Result<(), Violation> {
        self.trace.push(format!("{doing}: {error}"));
        self.world.failed = true;
        if self.law.media {
            if error.finding().is_some() {
                self.tally.refused += 1;
            }
            return Ok(());
        }
        let struck = self.disk.is_crashed() || !self.disk.struck().is_empty();
        must!(struck, "refused", "{doing}, without any fault: {error}");
        let damage = matches!(
            error.kind(),
            ErrorKind::Damaged | ErrorKind::Gap | ErrorKind::Unsupported
        );
        must!(!damage, "false alarm", "{doing}: {error}");
        Ok(())
    }

    /// Counts the faults that struck since the last call, by what the store was doing and to which file.
    pub(crate) fn note(&mut self, doing: &str) {
        let struck = self.disk.struck();
        for struck in &struck[self.noted..] {
            let state = format!("{doing}, {}", place(struck.kind, &struck.path));
            self.tally.met(struck.fault.name(), state);
            self.law.media |= struck.fault.is_silent();
            self.world.failed |= !struck.fault.is_silent();
        }
        self.noted = struck.len();
    }

    /// The end of a life: every state that it may leave, and the one that the run goes on with.
    fn end(&mut self, number: u64, life: &Life) -> Result<(), Violation> {
        self.note("ending");
        let power = matches!(life.ending, Ending::Power | Ending::ClosedThenPower);
        if let Some((kind, path)) = self.disk.crashed_in() {
            let state = format!("in an operation, {}", place(kind, &path));
            self.tally.met("power", state);
        } else {
            let fault = if power { "power" } else { "kill" };
            self.tally.met(fault, format!("between, {:?}", life.ending));
        }
        if !power && !self.disk.is_crashed() {
            self.disk.clear_faults();
            let image = self.disk.process_crash_image();
            self.examine(&image, &mut Dice::new(self.plan.seed, "kill", &[number]), 0)?;
            self.take(image);
            return Ok(());
        }
        self.power_states(number, life)
    }

    fn power_states(&mut self, number: u64, life: &Life) -> Result<(), Violation> {
        let claims = match look(&self.disk.frozen_image()) {
            Ok(Some(seen)) if !self.law.media => seen.durable,
            _ => 0,
        };
        let units = self.disk.pending_units();
        self.trace.push(format!("power cut, {units} parts pending"));
        let mut policies = life.policies.clone();
        if units <= UNITS_MAX {
            policies.extend((1..(1u64 << units) - 1).map(Policy::Mask));
        }
        for (index, policy) in policies.iter().enumerate() {
            let image = self.disk.crash_image(*policy);
            let fingerprint = image.fingerprint();
            if !self.seen.insert(fingerprint) && index > 0 {
                continue;
            }
            let mut dice = Dice::new(self.plan.seed, "power", &[number, index as u64]);
            let kept = self.examine(&image, &mut dice, 0)?;
            // Records of a whole system carry the time of day, which differs from run to run.
            let what = match self.plan.level {
                Level::Store => format!("{fingerprint:016x}, {kept:?} records"),
                Level::System => format!("{kept:?} records"),
            };
            self.trace.push(format!("{policy:?}: {what}"));
            if let Some(kept) = kept {
                must!(
                    kept >= claims,
                    "claimed",
                    "a reader called {claims} records durable, {policy:?} leaves {kept}"
                );
            }
        }
        let first = policies.first().copied().unwrap_or(Policy::All);
        self.take(self.disk.crash_image(first));
        Ok(())
    }

    /// Opens a copy of a disk as if nothing ever failed again, checks it, and writes on. Sometimes the power goes again
    /// while it is opened. Returns how many records were there.
    pub(crate) fn examine(
        &mut self,
        image: &SimDisk,
        dice: &mut Dice,
        depth: u64,
    ) -> Result<Option<usize>, Violation> {
        self.tally.states += 1;
        self.tally.distinct.insert(image.fingerprint());
        if depth < 2 && dice.one_in(3) {
            self.crash_again(image, dice, depth)?;
        }
        let image = image.process_crash_image();
        image.set_sector(self.plan.sector);
        let before = match look(&image.process_crash_image()) {
            Ok(seen) => seen,
            Err(error) if self.law.media => {
                refusal(&error)?;
                None
            }
            Err(error) => return Err(Violation::new("unreadable", error.to_string())),
        };
        let (log, opening) = match open(&image, self.plan.stride_log2) {
            Ok(opened) => opened,
            Err(error) if self.law.media => {
                self.tally.refused += 1;
                return refusal(&error).map(|()| None);
            }
            Err(error) => return Err(Violation::new("refused", error.to_string())),
        };
        let found = self.judge(&image, &log, &opening, before.as_ref(), false)?;
        let Some(found) = found else {
            return Ok(None);
        };
        let kept = found.len();
        match self.plan.level {
            Level::Store => self.write_on(&image, log, found, dice)?,
            Level::System => {
                self.keeps_promises(&log)?;
                drop(log);
                if depth == 2 || dice.one_in(2) {
                    self.finish_all(&image)?;
                }
            }
        }
        Ok(Some(kept))
    }

    /// Cuts the power while a copy of the disk is opened, and examines what that leaves.
    fn crash_again(
        &mut self,
        image: &SimDisk,
        dice: &mut Dice,
        depth: u64,
    ) -> Result<(), Violation> {
        let again = image.process_crash_image();
        again.set_sector(self.plan.sector);
        if let Some(control) = self.plan.control {
            control.set_on(&again);
        }
        again.crash_at(1 + dice.below(40));
        drop(open(&again, self.plan.stride_log2));
        let Some((kind, path)) = again.crashed_in() else {
            return Ok(());
        };
        self.tally.crashes_in_recovery += 1;
        let state = format!("recovery {}, {}", depth + 1, place(kind, &path));
        self.tally.met("power", state);
        let policy = match dice.below(4) {
            0 => Policy::None,
            1 => Policy::All,
            2 => Policy::Shuffled(dice.any()),
            _ => Policy::Subset(dice.any()),
        };
        self.examine(&again.crash_image(policy), dice, depth + 1)?;
        Ok(())
    }

    /// Appends to an opened log and closes it; what was there and what came must be there afterwards.
    fn write_on(
        &mut self,
        image: &SimDisk,
        log: Log,
        found: Vec<Rec>,
        dice: &mut Dice,
    ) -> Result<(), Violation> {
        let mut world = World::default();
        let room = log.identity().stride.record_limit() / 4;
        let written = (|| {
            world.resume(&log, found)?;
            for _ in 0..3 {
                let item = world.any_record(dice, room);
                log.append(item.draft, item.kind, item.seq)?;
            }
            log.close()
        })();
        if let Err(error) = written {
            must!(self.law.media, "usable", "after recovery: {error}");
            return Ok(());
        }
        if !self.law.media && dice.one_in(4) {
            world.acknowledge_all();
            let seen = look(image).map_err(|error| Violation::new("usable", error.to_string()))?;
            let seen = seen.unwrap_or_default();
            must!(seen.finding.is_none(), "usable", "{:?}", seen.finding);
            let lost = compare(&seen.recs, &world)?;
            must!(lost == 0, "lost", "{lost} of a closed log");
        }
        Ok(())
    }

    /// The end of a run: the log is opened, closed and checked once more.
    fn last(&mut self) -> Result<(), Violation> {
        let disk = self.disk.clone();
        let kept = self.examine(&disk, &mut Dice::new(self.plan.seed, "last", &[]), 2)?;
        let opened = open(&disk, self.plan.stride_log2);
        let (log, _) = match opened {
            Ok(opened) => opened,
            Err(error) if self.law.media => return refusal(&error),
            Err(error) => return Err(Violation::new("refused", error.to_string())),
        };
        let closed = log.close();
        let report = LogReader::open(as_disk(&disk), log_path())
            .and_then(|_| check(as_disk(&disk), log_path()));
        if self.law.media {
            return Ok(());
        }
        let closed = closed.map_err(|error| Violation::new("usable", error.to_string()))?;
        let report = report.map_err(|error| Violation::new("usable", error.to_string()))?;
        must!(
            report.findings.is_empty() && closed > Offset(0),
            "false alarm",
            "a closed log: {:?}",
            report.findings
        );
        let records = report.records;
        let line = format!("at the end: {records} records, {kept:?} of them appended");
        self.trace.push(line);
        Ok(())
    }
}

/// What a file of a log is for.
pub(crate) fn place(kind: OpKind, path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ends = |end: &str| name.ends_with(end);
    match kind {
        _ if ends(".seg") => "segment",
        _ if ends(".seg.tmp") => "segment being made",
        _ if name == "LOCK" => "LOCK",
        _ if name == "catalog.redb" => "catalogue",
        _ if name == "catalog.redb.tmp" => "catalogue being made",
        _ if ends(".torn") || ends(".torn.tmp") => "torn bytes",
        _ => "directory",
    }
}

/// The options of a plan's logs; for what opens them without [`open`].
pub(crate) fn options_of(plan: &Plan) -> aos_store::Options {
    options(plan.stride_log2)
}
