//! What the writer, its threads and all callers of a log share, and the baton between them.

use crate::catalogue::Catalogue;
use crate::error::Error;
use crate::log::{Mode, Options};
use crate::place::{Place, Segments};
use crate::prepare::{Ahead, Failure, Filled, prepare, wanted};
use crate::queue::Queue;
use crate::seal::Sealer;
use crate::streams::{Cell, Streams};
use crate::threads::{Chores, Seal, Threads};
use crate::writer::Writer;
use aos_disk::File;
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_format::segment::Identity;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What the writer, its threads and all callers share.
pub(crate) struct Shared {
    pub(crate) place: Place,
    pub(crate) identity: Identity,
    pub(crate) salt: u32,
    pub(crate) segments: Arc<Segments>,
    pub(crate) catalogue: Catalogue,
    pub(crate) queue: Queue,
    pub(crate) streams: Streams,
    /// Whoever holds it writes groups.
    pub(crate) baton: Mutex<Option<Writer>>,
    /// Counts groups and refusals; raised under the lock of whoever sleeps.
    turn: AtomicU64,
    sleep: Mutex<()>,
    turned: Condvar,
    durable: AtomicU64,
    poison: OnceLock<String>,
    /// The first append that failed since somebody was told.
    failure: Mutex<Option<Error>>,
    /// Held while a segment is made ahead.
    preparing: Mutex<()>,
    /// Zeros ahead of the tail. Taken before `preparing`.
    pub(crate) filled: Mutex<Filled>,
    /// Where they end, as far as the keeper knows, or how far it was sent in vain.
    pub(crate) zeros_end: AtomicU64,
    /// Records and bytes written since the catalogue's last commit.
    records_behind: AtomicU64,
    bytes_behind: AtomicU64,
    catalogue_every: (u64, u64),
    catalogue_fault: OnceLock<Error>,
    pub(crate) threads: Option<Threads>,
    pub(crate) sealer: Option<Mutex<Sealer>>,
    /// First offset of the active segment when the keeper was last told to seal.
    sealed_segment: AtomicU64,
}

/// State of a writer that nobody uses at the moment.
#[derive(Clone, Copy)]
pub(crate) struct Idle {
    /// An empty group would prove something.
    pub(crate) wants_proof: bool,
    /// Records left over from the last group.
    pub(crate) carry: bool,
}

impl Shared {
    pub(crate) fn new(
        place: Place,
        identity: Identity,
        segments: Arc<Segments>,
        catalogue: Catalogue,
        (writer, active): (Writer, Ahead),
        durable: Offset,
        options: &Options,
    ) -> Shared {
        Shared {
            place,
            identity,
            salt: identity.log_id.salt(),
            segments,
            catalogue,
            queue: Queue::new(options.queue_records_max, options.queue_bytes_max),
            streams: Streams::default(),
            baton: Mutex::new(Some(writer)),
            turn: AtomicU64::new(0),
            sleep: Mutex::new(()),
            turned: Condvar::new(),
            durable: AtomicU64::new(durable.0),
            poison: OnceLock::new(),
            failure: Mutex::new(None),
            preparing: Mutex::new(()),
            zeros_end: AtomicU64::new(active.end().0),
            filled: Mutex::new(Filled { active, next: None }),
            records_behind: AtomicU64::new(0),
            bytes_behind: AtomicU64::new(0),
            catalogue_every: (
                options.catalogue_every_records,
                options.catalogue_every_bytes,
            ),
            catalogue_fault: OnceLock::new(),
            threads: (options.mode == Mode::Threaded).then(Threads::default),
            sealer: options.seal.then(Mutex::default),
            sealed_segment: AtomicU64::new(0),
        }
    }

    /// Why the catalogue could not be kept, if it could not.
    pub(crate) fn catalogue_fault(&self) -> Option<Error> {
        self.catalogue_fault.get().cloned()
    }

    pub(crate) fn durable(&self) -> Offset {
        Offset(self.durable.load(Ordering::Acquire))
    }

    pub(crate) fn poison(&self) -> Option<String> {
        self.poison.get().cloned()
    }

    pub(crate) fn set_poison(&self, why: &str) {
        let _first_wins = self.poison.set(why.to_owned());
    }

    /// An append failed, the log goes on.
    pub(crate) fn append_failed(&self, error: &Error) {
        self.failure.lock().get_or_insert_with(|| error.clone());
    }

    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().take()
    }

    /// A group is durable up to `end`.
    pub(crate) fn wrote(&self, end: Offset, records: u32, bytes: u64) {
        self.durable.store(end.0, Ordering::Release);
        self.records_behind
            .fetch_add(records.into(), Ordering::Relaxed);
        self.bytes_behind.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn prepare(&self, start: Offset) -> Result<Arc<dyn File>, Failure> {
        let _one_at_a_time = self.preparing.lock();
        if let Some(why) = self.poison() {
            return Err(Failure::Poison(why));
        }
        let prepared = prepare(&self.place, self.identity.stride, start);
        // Before anybody else can find the file: its name may not be durable.
        if let Err(Failure::Poison(why)) = &prepared {
            self.set_poison(why);
        }
        prepared
    }

    /// Zeros end there.
    pub(crate) fn filled_up_to(&self, end: Offset) {
        self.zeros_end.fetch_max(end.0, Ordering::AcqRel);
    }

    pub(crate) fn catalogue_is_due(&self) -> bool {
        let (records, bytes) = self.catalogue_every;
        (self.records_behind.load(Ordering::Relaxed) >= records
            || self.bytes_behind.load(Ordering::Relaxed) >= bytes)
            && self.catalogue_fault.get().is_none()
    }

    /// Brings the catalogue up to what is durable. A failure is kept for `close`: the log itself is whole.
    pub(crate) fn keep_catalogue(&self) {
        self.records_behind.store(0, Ordering::Relaxed);
        self.bytes_behind.store(0, Ordering::Relaxed);
        match self.catalogue.commit(self.durable()) {
            Ok(folded) => self.streams.forget(folded),
            Err(error) => {
                let _first_wins = self.catalogue_fault.set(error);
            }
        }
    }

    /// The count of turns so far: read it before the condition that is waited for.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Acquire)
    }

    /// Gives the baton back and wakes whoever waits for it or for a group.
    fn pass(&self, baton: MutexGuard<'_, Option<Writer>>) {
        drop(baton);
        {
            let _nobody_falls_asleep = self.sleep.lock();
            self.turn.fetch_add(1, Ordering::AcqRel);
        }
        self.turned.notify_all();
    }

    /// Writes a group if nobody else is at it, or waits until somebody has.
    pub(crate) fn advance(&self, seen: u64) -> Result<(), Error> {
        let Some(mut baton) = self.baton.try_lock() else {
            let mut sleep = self.sleep.lock();
            if self.turn() == seen {
                self.turned.wait(&mut sleep);
            }
            return Ok(());
        };
        let writer = baton.as_mut().ok_or_else(|| Error::Poisoned {
            why: "the log is closed".into(),
        })?;
        writer.write_queued(self);
        let active = writer.active();
        self.pass(baton);
        self.after_group(active);
        Ok(())
    }

    /// What is due after a group, off the baton.
    fn after_group(&self, (segment, used): (Offset, u64)) {
        match &self.threads {
            Some(threads) => {
                threads.wrote();
                let due = self.catalogue_is_due();
                let ahead = used > self.identity.stride.bytes() / 2;
                let (least, zeros) = wanted(segment.plus(used));
                let fill = self.zeros_end.load(Ordering::Acquire) < least.0;
                let seal = self.sealer.is_some()
                    && self.sealed_segment.swap(segment.0, Ordering::Relaxed) != segment.0;
                if due || ahead || fill || seal {
                    threads.keep(Chores {
                        commit: due,
                        prepare: ahead.then(|| self.identity.stride.segment_end(segment)),
                        zeros: fill.then_some(zeros),
                        seal: seal.then_some(Seal::Segments),
                    });
                }
            }
            None if self.catalogue_is_due() => self.keep_catalogue(),
            None => {}
        }
    }

    /// Writes an empty group if nobody is writing and group `group` is still the last. Says which group is the last now.
    pub(crate) fn prove(&self, group: u64) -> u64 {
        let Some(mut baton) = self.baton.try_lock() else {
            return group.wrapping_add(1);
        };
        let mut last = group;
        if let Some(writer) = baton.as_mut() {
            if writer.group() == group && !writer.has_carry() && self.queue.is_empty() {
                // A failure is kept as poison and told to the next caller.
                let _kept = writer.write_empty(self);
            }
            last = writer.group();
        }
        self.pass(baton);
        last
    }

    /// What the writer is at; `None` while somebody writes.
    pub(crate) fn look(&self) -> Option<Idle> {
        let baton = self.baton.try_lock()?;
        let writer = baton.as_ref()?;
        let idle = Idle {
            wants_proof: writer.wants_proof(),
            carry: writer.has_carry(),
        };
        self.pass(baton);
        Some(idle)
    }

    pub(crate) fn cell(&self, stream: StreamId) -> Result<Arc<Cell>, Error> {
        let load = || match stream.as_run() {
            Some(run) => Ok(self
                .catalogue
                .run(run)?
                .map(|row| (row.stream_head(), row.status.is_ended()))),
            None => Ok(self.catalogue.head(stream)?.map(|head| (head, false))),
        };
        self.streams.get(stream, load, &self.segments, self.salt)
    }
}
