//! Many runs at once, on worker threads that steal from each other.
//!
//! ```text
//!  jobs ──> injector ──> worker ⇄ worker           a run is on a deque, with a worker, or parked
//!               ^          │  │  └─> results ──> caller, once durable
//!               │          v  v
//!               └─ parked runs <── answers <── timers, effect threads
//! ```
//!
//! Pure work of one run never runs in two places, and its order is the machine's, so the number of workers changes no
//! digest. Only [`PoolOptions::in_flight`] runs are in memory at a time.

use crate::engine::{Begun, Engine, Past, Request, UnderWay};
use crate::error::Error;
use crate::machine::{Answer, EffectNeed, Ended, Given, Wait};
use crate::run::{Run, Turn};
use crate::skill::GivenUp;
use crate::value::Value;
use aos_format::digest::{Digest, RunId};
use aos_store::Ticket;
use crossbeam::channel::{self, Receiver, Sender};
use crossbeam::deque::{Injector, Stealer, Worker};
use parking_lot::{Condvar, Mutex};
use std::any::Any;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Longest time an idle thread sleeps before it looks again whether it should stop.
const IDLE: Duration = Duration::from_millis(50);
/// Tags from here on are those of runs that no job asked for: a step began them and nobody waits for them, or somebody asked
/// this process to go on with them.
pub const TAKEN_ON: u64 = 1 << 63;
/// Least number of such runs that are in memory at a time: they wait for no job, as a job may wait for what never comes.
const TAKEN_ON_MIN: usize = 16;
/// Stack of a worker in bytes: what expressions need at their deepest, see [`crate::expr::EVAL_STACK_BYTES`].
const STACK_BYTES: usize = crate::expr::EVAL_STACK_BYTES;

/// How many runs go at once, on what.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Threads that compute, from 1.
    pub workers: usize,
    /// Runs in memory at a time, from 1.
    pub in_flight: usize,
    /// Effects at a time, from 1.
    pub effects: usize,
    /// Set from outside to stop: runs are left at their next event, resumable.
    pub stop: Arc<AtomicBool>,
}

/// Something for the pool to do. `tag` comes back with the result.
#[derive(Debug)]
pub enum Job {
    /// Start a run, or finish it if it was started before.
    Start {
        /// The caller's number for it.
        tag: u64,
        /// The run.
        request: Box<Request>,
    },
    /// Finish a run that is open.
    Resume {
        /// The caller's number for it.
        tag: u64,
        /// The run.
        run: RunId,
    },
}

/// Where a run stands after the pool is done with it.
#[derive(Debug)]
pub enum Outcome {
    /// It ended.
    Ended(Ended),
    /// It waits for a timer, when the pool was stopped, or for an event.
    Waiting,
    /// It was suspended.
    Suspended,
    /// It waits for somebody to resolve an effect.
    Held(Box<EffectNeed>),
    /// It was left in the middle because the pool was stopped.
    Stopped,
    /// Another job drives the same run.
    Duplicate,
    /// It could not be driven.
    Failed(Box<Error>),
}

/// What became of a job.
#[derive(Debug)]
pub struct Done {
    /// The caller's number for it.
    pub tag: u64,
    /// The run, if there is one.
    pub run: Option<RunId>,
    /// Where it stands.
    pub outcome: Outcome,
    /// Newest history digest.
    pub digest: Digest,
    /// Steps of the run so far.
    pub steps: u64,
    /// Events of the run so far.
    pub events: u64,
    /// Events made in this process; 0 when it had ended before.
    pub events_made: u64,
    ticket: Option<Ticket>,
}

impl Done {
    /// The output, if the run completed.
    pub fn output(&self) -> Option<&Value> {
        match &self.outcome {
            Outcome::Ended(Ended::Completed(output)) => Some(output),
            _ => None,
        }
    }
}

enum Task {
    Job(Job),
    Run(u64, Box<Run>),
}

struct Timer {
    due_ns: i64,
    number: u64,
    tag: u64,
    wait: Wait,
}

/// An effect on its way.
struct Errand {
    tag: u64,
    wait: Wait,
    need: EffectNeed,
    wire_key: String,
    ticket: Option<Ticket>,
    given_up: GivenUp,
}

/// What has come for a run that is in memory.
#[derive(Default)]
struct Slot {
    /// The run, while it waits.
    run: Option<Box<Run>>,
    answers: Vec<Given>,
    /// Effects that were not begun because the pool stops.
    unsent: Vec<(u64, EffectNeed)>,
    failed: Option<Box<Error>>,
    /// Effects on their way.
    in_flight: u64,
    /// The timer that is kept: number of its INTENT.
    timer: Option<u64>,
    under_way: UnderWay,
}

impl Slot {
    /// Whether nothing has come that the run did not take yet.
    fn is_quiet(&self) -> bool {
        self.answers.is_empty() && self.unsent.is_empty() && self.failed.is_none()
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Timer {}
impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due_ns, self.number).cmp(&(other.due_ns, other.number))
    }
}

struct Pool<'a> {
    engine: &'a Engine,
    options: &'a PoolOptions,
    injector: Injector<Task>,
    idle: Mutex<usize>,
    wake: Condvar,
    timers: Mutex<BinaryHeap<Reverse<Timer>>>,
    timer_wake: Condvar,
    timer_number: AtomicUsize,
    finished: AtomicBool,
    results: Sender<Done>,
    effects: Sender<Option<Errand>>,
    effect_threads: usize,
    slots: Mutex<BTreeMap<u64, Slot>>,
}

/// Runs all `jobs`; `on_done` is told of each, in the order they end, once what it tells is durable.
///
/// It is told of runs that no job asked for too, see [`TAKEN_ON`]. Jobs are taken as there is room, so a long iterator costs
/// no memory. After `options.stop` is set no further job is taken,
/// and the runs in memory are left at their next event.
///
/// # Errors
/// [`Error::Store`] when the log failed; runs are then as a crash would leave them. Failures of single jobs are outcomes.
pub fn run_all(
    engine: &Engine,
    jobs: impl Iterator<Item = Job>,
    options: &PoolOptions,
    mut on_done: impl FnMut(Done),
) -> Result<(), Error> {
    assert!(
        options.workers > 0 && options.in_flight > 0 && options.effects > 0,
        "a pool of nothing"
    );
    engine.halt_on(options.stop.clone());
    let (results, done) = channel::unbounded();
    let (effects, effect_jobs) = channel::unbounded();
    let pool = Pool {
        engine,
        options,
        injector: Injector::new(),
        idle: Mutex::new(0),
        wake: Condvar::new(),
        timers: Mutex::new(BinaryHeap::new()),
        timer_wake: Condvar::new(),
        timer_number: AtomicUsize::new(0),
        finished: AtomicBool::new(false),
        results,
        effects,
        effect_threads: options.effects,
        slots: Mutex::default(),
    };
    let deques: Vec<Worker<Task>> = (0..options.workers).map(|_| Worker::new_fifo()).collect();
    let stealers: Vec<Stealer<Task>> = deques.iter().map(Worker::stealer).collect();
    std::thread::scope(|scope| {
        // Threads end however this one does, a panic of `on_done` included.
        let _finish = Finish(&pool);
        for (number, deque) in deques.into_iter().enumerate() {
            let (pool, stealers) = (&pool, &stealers);
            std::thread::Builder::new()
                .name(format!("aos-worker-{number}"))
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, move || pool.work(&deque, stealers))
                .expect("the operating system gives a thread");
        }
        for _ in 0..pool.effect_threads {
            let (pool, jobs) = (&pool, effect_jobs.clone());
            scope.spawn(move || pool.perform(&jobs));
        }
        scope.spawn(|| pool.keep_timers());
        pool.feed(jobs, &done, &mut on_done)
    })
}

/// Tells all threads to end when it is dropped.
struct Finish<'a, 'b>(&'a Pool<'b>);

impl Drop for Finish<'_, '_> {
    fn drop(&mut self) {
        self.0.finished.store(true, Ordering::Release);
        self.0.wake.notify_all();
        self.0.timer_wake.notify_all();
        for _ in 0..self.0.effect_threads {
            // Nobody receives any more only when all of them have ended.
            let _ended = self.0.effects.send(None);
        }
    }
}

impl Pool<'_> {
    /// Hands out jobs as there is room, and results as they become durable.
    fn feed(
        &self,
        mut jobs: impl Iterator<Item = Job>,
        done: &Receiver<Done>,
        on_done: &mut impl FnMut(Done),
    ) -> Result<(), Error> {
        let mut in_flight = 0;
        let mut exhausted = false;
        let (mut taken_on, mut number) = (0, 0);
        let most = self.options.in_flight.max(TAKEN_ON_MIN);
        let mut undurable: VecDeque<Done> = VecDeque::new();
        loop {
            self.carry_letters();
            while !exhausted && in_flight < self.options.in_flight && !self.stopping() {
                match jobs.next() {
                    Some(job) => {
                        in_flight += 1;
                        self.push(Task::Job(job));
                    }
                    None => exhausted = true,
                }
            }
            while taken_on < most
                && !self.stopping()
                && let Some(run) = self.engine.next_taken_on()
            {
                let tag = TAKEN_ON + number;
                (taken_on, number) = (taken_on + 1, number + 1);
                self.push(Task::Job(Job::Resume { tag, run }));
            }
            let over = exhausted && !self.engine.has_taken_on();
            if in_flight + taken_on == 0 && (over || self.stopping()) {
                return self.deliver(&mut undurable, on_done, 0);
            }
            match done.recv_timeout(IDLE) {
                Ok(result) => {
                    for result in std::iter::once(result).chain(done.try_iter()) {
                        match result.tag < TAKEN_ON {
                            true => in_flight -= 1,
                            false => taken_on -= 1,
                        }
                        undurable.push_back(result);
                    }
                    self.deliver(&mut undurable, on_done, self.options.in_flight)?;
                }
                // Nothing ended for a while: what has ended is delivered rather than kept back.
                Err(_) => self.deliver(&mut undurable, on_done, 0)?,
            }
        }
    }

    /// Delivers what is durable; waits only while more than `keep` results are held back.
    fn deliver(
        &self,
        held: &mut VecDeque<Done>,
        on_done: &mut impl FnMut(Done),
        keep: usize,
    ) -> Result<(), Error> {
        while let Some(first) = held.front() {
            if let Some(ticket) = &first.ticket
                && !self.engine.log().is_durable(ticket)
            {
                if held.len() <= keep {
                    return Ok(());
                }
                self.engine.log().wait(ticket.clone())?;
            }
            if let Some(done) = held.pop_front() {
                on_done(done);
            }
        }
        Ok(())
    }

    fn stopping(&self) -> bool {
        self.options.stop.load(Ordering::Acquire)
    }

    fn push(&self, task: Task) {
        self.injector.push(task);
        if *self.idle.lock() > 0 {
            self.wake.notify_one();
        }
    }

    fn work(&self, deque: &Worker<Task>, stealers: &[Stealer<Task>]) {
        while !self.finished.load(Ordering::Acquire) {
            match self.find(deque, stealers) {
                Some(task) => self.guarded(deque, task),
                None => {
                    let mut idle = self.idle.lock();
                    // A task pushed between the search and the lock is seen here: pushers lock too.
                    if self.injector.is_empty() && !self.finished.load(Ordering::Acquire) {
                        *idle += 1;
                        self.wake.wait_for(&mut idle, IDLE);
                        *idle -= 1;
                    }
                }
            }
        }
    }

    /// Works on a task; a panic becomes that job's outcome instead of a thread that is missing.
    fn guarded(&self, deque: &Worker<Task>, task: Task) {
        let (tag, run) = match &task {
            Task::Job(Job::Start { tag, .. }) => (*tag, None),
            Task::Job(Job::Resume { tag, run }) => (*tag, Some(*run)),
            Task::Run(tag, run) => (*tag, Some(run.id())),
        };
        let work = AssertUnwindSafe(|| match task {
            Task::Job(job) => self.begin(deque, job),
            Task::Run(tag, run) => self.turn(deque, tag, run),
        });
        if let Err(panic) = catch_unwind(work) {
            self.panicked(tag, run, &*panic);
        }
    }

    fn find(&self, deque: &Worker<Task>, stealers: &[Stealer<Task>]) -> Option<Task> {
        deque.pop().or_else(|| {
            loop {
                let stolen = self
                    .injector
                    .steal_batch_and_pop(deque)
                    .or_else(|| stealers.iter().map(Stealer::steal).collect());
                if !stolen.is_retry() {
                    return stolen.success();
                }
            }
        })
    }

    fn begin(&self, deque: &Worker<Task>, job: Job) {
        let (tag, begun) = match job {
            Job::Start { tag, request } => (tag, self.engine.start(&request)),
            Job::Resume { tag, run } => (tag, self.engine.resume(run)),
        };
        match begun {
            Ok(Begun::Run(run)) => {
                self.slots.lock().insert(tag, Slot::default());
                self.turn(deque, tag, run);
            }
            Ok(Begun::Ended(past)) => self.report(ended_before(tag, *past)),
            Ok(Begun::InProgress(run)) => self.report(blank(tag, Some(run), Outcome::Duplicate)),
            Err(error) => self.report(blank(tag, None, Outcome::Failed(Box::new(error)))),
        }
    }

    fn turn(&self, deque: &Worker<Task>, tag: u64, mut run: Box<Run>) {
        let (answers, unsent, failed, in_flight) = match self.slots.lock().get_mut(&tag) {
            None => (Vec::new(), Vec::new(), None, 0),
            Some(slot) => (
                std::mem::take(&mut slot.answers),
                std::mem::take(&mut slot.unsent),
                slot.failed.take(),
                slot.in_flight,
            ),
        };
        for given in answers {
            run.answer(given);
        }
        let noted = unsent
            .iter()
            .try_for_each(|(seq, need)| run.unsent(*seq, need));
        if let Some(error) = failed.or_else(|| noted.err().map(Box::new)) {
            return self.leave(tag, &run, Outcome::Failed(error));
        }
        self.engine.read_letters(&mut run);
        if self.stopping() {
            // What effects answered is written down; those still on their way are waited for.
            return match run.record() {
                Err(error) => self.leave(tag, &run, Outcome::Failed(Box::new(error))),
                Ok(()) if in_flight > 0 => self.park(tag, run),
                Ok(()) => self.leave(tag, &run, Outcome::Stopped),
            };
        }
        let turn = run.turn();
        if let (Ok(turn), Some(slot)) = (&turn, self.slots.lock().get_mut(&tag)) {
            slot.under_way.keep(turn);
        }
        match turn {
            Ok(Turn::Again) => deque.push(Task::Run(tag, run)),
            Ok(turn @ Turn::Waits(_)) => self.wait(tag, run, &turn),
            Ok(Turn::Held(need)) => self.leave(tag, &run, Outcome::Held(Box::new(need))),
            Ok(Turn::Suspended) => self.leave(tag, &run, Outcome::Suspended),
            Ok(Turn::Ended(ended)) => self.leave(tag, &run, Outcome::Ended(ended)),
            Err(error) => self.leave(tag, &run, Outcome::Failed(Box::new(error))),
        }
    }

    /// Sends effects on their way, sets the first timer, and puts the run aside until something comes for it.
    fn wait(&self, tag: u64, mut run: Box<Run>, turn: &Turn) {
        let mut in_flight = 0;
        let mut kept = None;
        let mut arrived = false;
        if let Some(slot) = self.slots.lock().get_mut(&tag) {
            slot.in_flight += turn.new_effects().count() as u64;
            (in_flight, kept) = (slot.in_flight, slot.timer);
            arrived = !slot.is_quiet();
        }
        for (wait, need) in turn.new_effects() {
            let mut slots = self.slots.lock();
            let given_up = slots.entry(tag).or_default().under_way.begin(wait.seq);
            drop(slots);
            let errand = Errand {
                tag,
                wait: wait.clone(),
                need: need.clone(),
                wire_key: run.wire_key(need),
                ticket: run.ticket(),
                given_up,
            };
            if self.effects.send(Some(errand)).is_err() {
                unreachable!("the pool holds a receiver as long as workers live");
            }
        }
        if arrived {
            // The last effect may have answered since this turn took what had come: the run waits for nothing.
            return self.park(tag, run);
        }
        match turn.next_timer().filter(|_| self.engine.fires(in_flight)) {
            None if in_flight == 0 => return self.leave(tag, &run, Outcome::Waiting),
            None => {}
            Some(timer) if self.engine.clock().until(timer.due_ns).is_zero() => {
                run.answer(Given::to(&timer.wait, Answer::Fired));
                return self.push(Task::Run(tag, run));
            }
            Some(timer) if kept == Some(timer.wait.seq) => {}
            Some(timer) => {
                if let Some(slot) = self.slots.lock().get_mut(&tag) {
                    slot.timer = Some(timer.wait.seq);
                }
                let number = self.timer_number.fetch_add(1, Ordering::Relaxed) as u64;
                self.timers.lock().push(Reverse(Timer {
                    due_ns: timer.due_ns,
                    number,
                    tag,
                    wait: timer.wait.clone(),
                }));
                self.timer_wake.notify_one();
            }
        }
        self.park(tag, run);
    }

    /// Puts a run aside, unless something has come for it meanwhile.
    fn park(&self, tag: u64, run: Box<Run>) {
        let mut slots = self.slots.lock();
        let slot = slots.entry(tag).or_default();
        if slot.is_quiet() {
            slot.run = Some(run);
        } else {
            drop(slots);
            self.push(Task::Run(tag, run));
        }
    }

    /// Something has come for a run; one that is still in memory goes on.
    fn deliver_to(&self, tag: u64, take: impl FnOnce(&mut Slot)) {
        let run = {
            let mut slots = self.slots.lock();
            let Some(slot) = slots.get_mut(&tag) else {
                return;
            };
            take(slot);
            slot.run.take()
        };
        if let Some(run) = run {
            self.push(Task::Run(tag, run));
        }
    }

    /// Wakes the runs that somebody brings something.
    fn carry_letters(&self) {
        let lettered = self.engine.lettered();
        if lettered.is_empty() {
            return;
        }
        let mut woken = Vec::new();
        for (tag, slot) in self.slots.lock().iter_mut() {
            let run = slot.run.take_if(|run| lettered.contains(&run.id()));
            woken.extend(run.map(|run| Task::Run(*tag, run)));
        }
        woken.into_iter().for_each(|task| self.push(task));
    }

    fn leave(&self, tag: u64, run: &Run, outcome: Outcome) {
        self.slots.lock().remove(&tag);
        self.engine.release(run.id());
        self.report(Done {
            tag,
            run: Some(run.id()),
            outcome,
            digest: run.digest(),
            steps: run.steps(),
            events: run.events(),
            events_made: run.events_made(),
            ticket: run.ticket(),
        });
    }

    fn report(&self, done: Done) {
        if self.results.send(done).is_err() {
            unreachable!("the feeder holds the receiver until every worker has ended");
        }
    }

    /// Performs effects until it is told to end; it sleeps in between, for a pool has many of these threads.
    fn perform(&self, jobs: &Receiver<Option<Errand>>) {
        while let Ok(Some(errand)) = jobs.recv() {
            if self.finished.load(Ordering::Acquire) {
                return;
            }
            let seq = errand.wait.seq;
            if self.stopping() {
                // Its INTENT is on record, but nothing was sent: say so, or it would count as unknown.
                self.deliver_to(errand.tag, |slot| {
                    slot.in_flight -= 1;
                    slot.under_way.end(seq);
                    slot.unsent.push((seq, errand.need));
                });
                continue;
            }
            let performed = catch_unwind(AssertUnwindSafe(|| {
                let (ticket, given_up) = (errand.ticket.clone(), &errand.given_up);
                self.engine
                    .perform(ticket, &errand.wire_key, &errand.need, given_up)
            }));
            let answered = match performed {
                Ok(answered) => answered,
                Err(panic) => Err(bug("an effect", &*panic)),
            };
            self.deliver_to(errand.tag, |slot| {
                slot.in_flight -= 1;
                slot.under_way.end(seq);
                match answered {
                    Ok(answer) => slot.answers.push(Given::to(&errand.wait, answer)),
                    // What it runs was stopped like everything else: the step does it again.
                    Err(Error::RunWithin { .. }) if self.stopping() => {
                        slot.unsent.push((seq, errand.need));
                    }
                    Err(error) => slot.failed = Some(Box::new(error)),
                }
            });
        }
    }

    /// A panic is the outcome of its job, and the run is free to be resumed.
    fn panicked(&self, tag: u64, run: Option<RunId>, panic: &(dyn Any + Send)) {
        let what = run.map_or_else(|| "the start of a run".into(), |run| format!("run {run}"));
        let error = bug(&what, panic);
        self.slots.lock().remove(&tag);
        if let Some(run) = run {
            self.engine.release(run);
        }
        self.report(blank(tag, run, Outcome::Failed(Box::new(error))));
    }

    fn keep_timers(&self) {
        let mut timers = self.timers.lock();
        while !self.finished.load(Ordering::Acquire) {
            if self.stopping() {
                timers.clear();
                self.leave_parked();
            }
            let left = timers
                .peek()
                .map(|Reverse(timer)| self.engine.clock().until(timer.due_ns));
            match left {
                Some(left) if left.is_zero() => {
                    if let Some(Reverse(timer)) = timers.pop() {
                        self.deliver_to(timer.tag, |slot| {
                            slot.timer = None;
                            slot.answers.push(Given::to(&timer.wait, Answer::Fired));
                        });
                    }
                }
                left => {
                    self.timer_wake
                        .wait_for(&mut timers, left.unwrap_or(IDLE).min(IDLE));
                }
            }
        }
    }
}

impl Pool<'_> {
    /// The pool stops: runs that wait for timers are left.
    fn leave_parked(&self) {
        let idle = |slot: &mut Slot| slot.run.take_if(|_| slot.in_flight == 0);
        let parked: Vec<(u64, Box<Run>)> = {
            let mut slots = self.slots.lock();
            let parked = slots.iter_mut();
            parked
                .filter_map(|(tag, slot)| Some((*tag, idle(slot)?)))
                .collect()
        };
        for (tag, run) in parked {
            self.leave(tag, &run, Outcome::Waiting);
        }
    }
}

fn bug(what: &str, panic: &(dyn Any + Send)) -> Error {
    let said = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let why = said.or_else(|| panic.downcast_ref::<String>().cloned());
    Error::Bug {
        what: what.into(),
        why: why.unwrap_or_else(|| "it said nothing".into()),
    }
}

fn ended_before(tag: u64, past: Past) -> Done {
    Done {
        digest: past.row.digest,
        steps: past.row.steps,
        events: past.row.events,
        ..blank(tag, Some(past.row.run), Outcome::Ended(past.ended))
    }
}

fn blank(tag: u64, run: Option<RunId>, outcome: Outcome) -> Done {
    Done {
        tag,
        run,
        outcome,
        digest: Digest::ZERO,
        steps: 0,
        events: 0,
        events_made: 0,
        ticket: None,
    }
}
