//! The two threads of a log in threaded mode.
//!
//! The **writer** writes what nobody waits for, and the empty group once the log is idle. The **keeper** makes segments ahead
//! and commits the catalogue. Neither sets the pace: whoever waits for a group writes it, if nobody else does.

use crate::shared::Shared;
use aos_format::offset::Offset;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::thread::JoinHandle;
use std::time::Duration;

/// A log that wrote nothing for this long is idle. Records that nobody waits for are written at the latest then.
const IDLE: Duration = Duration::from_millis(20);
/// Records in the queue for which the writer is woken although nobody waits.
const WAKE_AT: usize = 64;

/// How long the writer sleeps without being woken before it looks whether the last group wants its proof.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

const AWAKE: u8 = 0;
/// Asleep, but not for longer than [`IDLE`].
const DOZING: u8 = 1;
const ASLEEP: u8 = 2;

type Job = fn(&Shared, &Threads);

#[derive(Default)]
struct Orders {
    stop: bool,
    wake: bool,
    chores: Chores,
}

/// What the keeper is to do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Chores {
    /// Commit the catalogue.
    pub(crate) commit: bool,
    /// Make the segment that begins there.
    pub(crate) prepare: Option<Offset>,
    /// Write zeros up to there.
    pub(crate) zeros: Option<Offset>,
    /// Seal.
    pub(crate) seal: Option<Seal>,
}

/// How far to seal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Seal {
    /// The segments that have ended.
    Segments,
    /// All that is durable.
    All,
}

#[derive(Default)]
pub(crate) struct Threads {
    orders: Mutex<Orders>,
    for_writer: Condvar,
    for_keeper: Condvar,
    sleep: AtomicU8,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    /// Starts the threads; they end with [`Threads::stop`].
    pub(crate) fn start(&self, shared: &Arc<Shared>) {
        let mut handles = self.handles.lock();
        let jobs: [(&str, Job); 2] = [("aos-writer", write), ("aos-keeper", keep)];
        for (name, job) in jobs {
            let shared = shared.clone();
            let spawned = std::thread::Builder::new()
                .name(name.into())
                .spawn(move || {
                    if let Some(threads) = &shared.threads {
                        job(&shared, threads);
                    }
                });
            // Without a thread the log works as in inline mode, only later.
            handles.extend(spawned.ok());
        }
    }

    /// Ends the threads and waits for them.
    pub(crate) fn stop(&self) {
        self.orders.lock().stop = true;
        self.for_writer.notify_all();
        self.for_keeper.notify_all();
        for handle in self.handles.lock().drain(..) {
            // A panic there has been reported; the log is dropped or closed as after a crash.
            let _reported = handle.join();
        }
    }

    /// A record was queued.
    pub(crate) fn pushed(&self, queued: usize) {
        // Pairs with the fence in `write`: either this sees it asleep, or it sees the record.
        fence(Ordering::SeqCst);
        match self.sleep.load(Ordering::Relaxed) {
            ASLEEP => self.wake(),
            DOZING if queued >= WAKE_AT => self.wake(),
            _ => {}
        }
    }

    /// A group was written, maybe by a caller: the writer must notice when the log is idle.
    pub(crate) fn wrote(&self) {
        if self.sleep.load(Ordering::Relaxed) == ASLEEP {
            self.wake();
        }
    }

    /// Lets the writer look at the queue.
    pub(crate) fn wake(&self) {
        if self.sleep.swap(AWAKE, Ordering::SeqCst) != AWAKE {
            self.orders.lock().wake = true;
            self.for_writer.notify_one();
        }
    }

    /// Orders for the keeper.
    pub(crate) fn keep(&self, chores: Chores) {
        let mut orders = self.orders.lock();
        let known = &mut orders.chores;
        known.seal = known.seal.max(chores.seal);
        known.commit |= chores.commit;
        known.prepare = chores.prepare.or(known.prepare);
        known.zeros = known.zeros.max(chores.zeros);
        self.for_keeper.notify_one();
    }
}

fn write(shared: &Shared, threads: &Threads) {
    // Number of the group that was last when the log was last looked at.
    let mut last = 0;
    loop {
        let idle = shared.look();
        let dozes = idle.is_none_or(|idle| idle.wants_proof || idle.carry);
        threads
            .sleep
            .store(if dozes { DOZING } else { ASLEEP }, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let (mut timed_out, mut idle_long) = (false, false);
        {
            let mut orders = threads.orders.lock();
            if orders.stop {
                return;
            }
            if !orders.wake && (dozes || shared.queue.is_empty()) {
                if dozes {
                    timed_out = threads.for_writer.wait_for(&mut orders, IDLE).timed_out();
                } else {
                    // A caller that wrote just before this thread fell asleep woke nobody: look again now and then.
                    let waited = threads.for_writer.wait_for(&mut orders, LOOK_AGAIN);
                    idle_long = waited.timed_out();
                }
            }
            orders.wake = false;
            if orders.stop {
                return;
            }
        }
        threads.sleep.store(AWAKE, Ordering::SeqCst);
        let mut wrote = false;
        while shared.poison().is_none()
            && (!shared.queue.is_empty() || shared.look().is_some_and(|idle| idle.carry))
        {
            wrote = true;
            let seen = shared.turn();
            if shared.advance(seen).is_err() {
                return;
            }
        }
        if timed_out && !wrote {
            last = shared.prove(last);
        }
        if idle_long && !wrote && shared.sealer.is_some() {
            threads.keep(Chores {
                seal: Some(Seal::All),
                ..Chores::default()
            });
        }
        if shared.poison().is_some() {
            return;
        }
    }
}

fn keep(shared: &Shared, threads: &Threads) {
    loop {
        let chores = {
            let mut orders = threads.orders.lock();
            while !orders.stop && orders.chores == Chores::default() {
                threads.for_keeper.wait(&mut orders);
            }
            if orders.stop {
                return;
            }
            std::mem::take(&mut orders.chores)
        };
        if let Some(end) = chores.zeros {
            shared.fill_ahead(end);
        }
        if let Some(start) = chores.prepare {
            // The writer meets the same failure when it needs the segment, and tells it to whom it concerns.
            let _met_again = shared.prepare(start);
        }
        if chores.commit && shared.catalogue_is_due() {
            shared.keep_catalogue();
        }
        if let Some(how_far) = chores.seal {
            // A log that cannot be read there says so to whoever reads; closing tries again.
            let _met_again = shared.seal(how_far == Seal::All);
        }
    }
}
