//! Appending: from a draft to an item in the queue, and waiting for it.

use crate::error::Error;
use crate::log::{Append, Log};
use crate::queue::{Encoded, Item, Load, Slot, Ticket};
use crate::shared::Shared;
use crate::streams::{Cell, State, Tip};
use aos_format::event;
use aos_format::frame::{FrameHeader, Kind};
use aos_format::offset::Offset;
use aos_format::record::{Body, Draft, RecordView, SLOT_MAX, Stored, StreamId, StreamKind};
use parking_lot::MutexGuard;
use std::sync::Arc;

impl Log {
    /// Accepts one record, to be written with the next group. `seq` is its number in the stream: the head's plus one.
    ///
    /// Encodes on the caller's thread; waits only while the queue is full. [`Log::wait`] says when it is durable.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooLarge`], [`Error::Sequence`]: nothing was accepted, the log goes on.
    /// [`Error::Poisoned`]: open the log again.
    pub fn append(&self, draft: Draft, kind: Kind, seq: u64) -> Result<Ticket, Error> {
        let prepared = Prepared::new(&self.shared, Append { draft, kind, seq })?;
        self.append_prepared(prepared)
    }

    /// Accepts one record that was checked and encoded.
    pub(crate) fn append_prepared(&self, prepared: Prepared) -> Result<Ticket, Error> {
        let shared = &*self.shared;
        let charge = shared.queue.charge([prepared.body_len()].into_iter());
        self.reserve(charge)?;
        let slot = Arc::new(Slot::default());
        let queued = (|| {
            let cell = shared.cell(prepared.stream)?;
            let mut state = cell.state.lock();
            prepared.check(&state)?;
            let load = Load::One(prepared.register(cell.clone(), &mut state));
            // Under the lock of the stream: its records stand in the queue in the order of their numbers.
            shared.queue.push(Item {
                load,
                slot: slot.clone(),
                charge,
            });
            Ok(())
        })();
        self.queued(queued, charge, slot)
    }

    /// Accepts several records in one step: all or none, in order. They become durable in order, though not necessarily in
    /// one group: after a crash or a full disk a beginning of them may be there.
    ///
    /// # Errors
    /// As [`Log::append`]; [`Error::Invalid`] for no records.
    pub fn append_batch(&self, items: Vec<Append>) -> Result<Ticket, Error> {
        let shared = &*self.shared;
        if items.is_empty() {
            return Err(Error::invalid("a batch without records"));
        }
        let prepared: Vec<Prepared> = items
            .into_iter()
            .map(|item| Prepared::new(shared, item))
            .collect::<Result<_, _>>()?;
        let charge = shared.queue.charge(prepared.iter().map(Prepared::body_len));
        self.reserve(charge)?;
        let slot = Arc::new(Slot::default());
        let queued = self.push_batch(prepared, &slot, charge);
        self.queued(queued, charge, slot)
    }

    /// As [`Log::append_batch`] of one record of the control stream. Its number may have been taken meanwhile by a SEAL, which
    /// the log appends by itself and which changes no head: then it takes the next. Returns the number it got.
    ///
    /// # Errors
    /// As [`Log::append_batch`].
    pub fn append_control(&self, item: Append) -> Result<(Ticket, u64), Error> {
        let mut seq = item.seq;
        loop {
            let item = Append {
                seq,
                ..item.clone()
            };
            match self.append_batch(vec![item]) {
                Ok(ticket) => return Ok((ticket, seq)),
                Err(Error::Sequence { expected, .. })
                    if expected > seq && self.shared.sealer.is_some() =>
                {
                    seq = expected;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn push_batch(
        &self,
        prepared: Vec<Prepared>,
        slot: &Arc<Slot>,
        charge: u64,
    ) -> Result<(), Error> {
        let shared = &*self.shared;
        // All streams locked at once, in one order for everybody.
        let mut streams: Vec<StreamId> = prepared.iter().map(|item| item.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        let cells: Vec<Arc<Cell>> = streams
            .iter()
            .map(|stream| shared.cell(*stream))
            .collect::<Result<_, _>>()?;
        let mut states: Vec<MutexGuard<'_, State>> =
            cells.iter().map(|cell| cell.state.lock()).collect();
        let at = |stream: &StreamId| {
            streams
                .binary_search(stream)
                .expect("every stream of the batch was collected")
        };
        let mut heads: Vec<(u64, u64)> = states
            .iter()
            .map(|state| (state.queued.seq, state.queued.lane_seq))
            .collect();
        for item in &prepared {
            item.check_after(&mut heads[at(&item.stream)])?;
        }
        let records = prepared
            .into_iter()
            .map(|item| {
                let index = at(&item.stream);
                item.register(cells[index].clone(), &mut states[index])
            })
            .collect();
        shared.queue.push(Item {
            load: Load::Many(records),
            slot: slot.clone(),
            charge,
        });
        Ok(())
    }

    fn queued(
        &self,
        queued: Result<(), Error>,
        charge: u64,
        slot: Arc<Slot>,
    ) -> Result<Ticket, Error> {
        match queued {
            Ok(()) => {
                if let Some(threads) = &self.shared.threads {
                    threads.pushed(self.shared.queue.len());
                }
                Ok(Ticket(slot))
            }
            Err(error) => {
                self.shared.queue.release(charge);
                Err(error)
            }
        }
    }

    /// Takes room in the queue; writes, or waits for a group, while there is none.
    fn reserve(&self, charge: u64) -> Result<(), Error> {
        let shared = &*self.shared;
        loop {
            if let Some(why) = shared.poison() {
                return Err(Error::Poisoned { why });
            }
            let seen = shared.turn();
            if shared.queue.reserve(charge) {
                return Ok(());
            }
            shared.advance(seen)?;
        }
    }

    /// Waits until the records of an append are durable, writing them if nobody else does. Returns the durable offset of
    /// their group.
    ///
    /// # Errors
    /// [`Error::Full`] and other failures to prepare space: the records, of a batch those from some one on, were not
    /// written, and neither was anything accepted after them; the log goes on. [`Error::OutcomeUnknown`]:
    /// whether they are durable is not known. [`Error::Poisoned`]: they were not written. Open the log again after either.
    pub fn wait(&self, ticket: Ticket) -> Result<Offset, Error> {
        loop {
            let seen = self.shared.turn();
            if let Some(outcome) = ticket.0.outcome() {
                return outcome.map(Offset);
            }
            self.shared.advance(seen)?;
        }
    }

    /// Whether the records of an append are durable. `false` also when they failed: [`Log::wait`] says why.
    pub fn is_durable(&self, ticket: &Ticket) -> bool {
        let durable = matches!(ticket.0.outcome(), Some(Ok(_)));
        if !durable && let Some(threads) = &self.shared.threads {
            threads.wake();
        }
        durable
    }

    /// Makes everything accepted so far durable. Returns the durable offset.
    ///
    /// # Errors
    /// As [`Log::wait`]. When appends failed since the last call ([`Error::Full`]) their error is told here too, once, so
    /// that a caller who never waits for tickets learns of it; everything accepted before them is durable then, and
    /// nothing of what was accepted after them until the failure.
    pub fn flush(&self) -> Result<Offset, Error> {
        self.drain()?;
        match self.shared.take_failure() {
            Some(error) => Err(error),
            None => Ok(self.durable()),
        }
    }

    /// Waits until everything accepted so far is durable or has failed.
    pub(crate) fn drain(&self) -> Result<(), Error> {
        let charge = self.shared.queue.charge(std::iter::empty());
        self.reserve(charge)?;
        let slot = Arc::new(Slot::default());
        self.shared.queue.push(Item {
            load: Load::Barrier,
            slot: slot.clone(),
            charge,
        });
        self.wait(Ticket(slot)).map(drop)
    }

    /// Every byte below it is durable.
    pub fn durable(&self) -> Offset {
        self.shared.durable()
    }
}

/// A record that was checked and encoded, before it is known whether its number is right.
pub(crate) struct Prepared {
    stream: StreamId,
    kind: Kind,
    seq: u64,
    /// Of lane 0: what its `lane_seq` says.
    lane_seq: Option<u64>,
    /// Deterministic part, if it becomes the newest of lane 0.
    tip: Option<Vec<u8>>,
    body: Body,
}

impl Prepared {
    fn new(shared: &Shared, item: Append) -> Result<Prepared, Error> {
        let Append {
            mut draft,
            kind,
            seq,
        } = item;
        check_kind(kind, draft.stream.kind)?;
        if let Err(error) = event::previous(kind, &draft.det) {
            return Err(Error::invalid(format!("{}: {error}", kind.name())));
        }
        check_values(&draft)?;
        let limit = shared.identity.stride.record_limit();
        let volatile: u64 = draft.volatile.iter().map(|v| v.bytes.len() as u64).sum();
        let at_least = draft.det.len() as u64 + volatile + draft.value_bytes();
        let too_large = |found| Error::TooLarge {
            stream: draft.stream,
            found,
            limit,
        };
        if at_least > limit {
            return Err(too_large(at_least));
        }
        let body = draft.encode();
        if u64::from(body.body_len) > limit {
            return Err(too_large(body.body_len.into()));
        }
        let first_lane = draft.lane == 0;
        Ok(Prepared {
            stream: draft.stream,
            kind,
            seq,
            lane_seq: first_lane.then_some(draft.lane_seq),
            tip: (first_lane && kind.advances()).then(|| std::mem::take(&mut draft.det)),
            body,
        })
    }

    /// A record as it stands in another log of the same stride: its body byte for byte, under its number there. `body` is
    /// the padded body of `header`.
    pub(crate) fn stored(
        header: &FrameHeader,
        kind: Kind,
        view: &RecordView<'_>,
        body: &[u8],
    ) -> Prepared {
        let first_lane = view.lane() == 0;
        Prepared {
            stream: view.stream(),
            kind,
            seq: header.seq,
            lane_seq: first_lane.then(|| view.lane_seq()),
            tip: (first_lane && kind.advances()).then(|| view.det().to_vec()),
            body: Body::stored(header, body),
        }
    }

    fn body_len(&self) -> u64 {
        self.body.bytes.len() as u64
    }

    fn check(&self, state: &State) -> Result<(), Error> {
        self.check_after(&mut (state.queued.seq, state.queued.lane_seq))
    }

    /// Checks the numbers against the newest of the stream and makes them the newest.
    fn check_after(&self, (seq, lane_seq): &mut (u64, u64)) -> Result<(), Error> {
        let expected = *seq + 1;
        if self.seq != expected {
            return Err(Error::Sequence {
                stream: self.stream,
                expected,
                found: self.seq,
            });
        }
        *seq = expected;
        if let Some(found) = self.lane_seq {
            let advances = u64::from(self.kind.advances());
            let expected = lane_seq
                .checked_add(advances)
                .ok_or(Error::Exhausted { what: "numbers" })?;
            if found != expected {
                return Err(Error::invalid(format!(
                    "{} with lane_seq {found} in lane 0: expected {expected}",
                    self.kind.name()
                )));
            }
            *lane_seq = expected;
        }
        Ok(())
    }

    /// Makes it the newest accepted record of its stream.
    fn register(self, cell: Arc<Cell>, state: &mut State) -> Encoded {
        state.queued.seq = self.seq;
        if let Some(lane_seq) = self.lane_seq {
            state.queued.lane_seq = lane_seq;
        }
        if let Some(det) = self.tip {
            state.queued.tip = Tip::Bytes(det);
        }
        state.ended |= self.kind == Kind::End;
        Encoded {
            cell,
            kind: self.kind,
            seq: self.seq,
            lane_seq: state.queued.lane_seq,
            body: self.body,
        }
    }
}

/// Whether a producer may append a record of that kind to such a stream.
pub(crate) fn check_kind(kind: Kind, stream: StreamKind) -> Result<(), Error> {
    let fits = match kind {
        Kind::Commit | Kind::SegmentEnd | Kind::Open | Kind::Seal => false,
        Kind::Definition | Kind::Seed => stream == StreamKind::Control,
        Kind::Decision => true,
        Kind::Checkpoint
        | Kind::Start
        | Kind::Step
        | Kind::Intent
        | Kind::Result
        | Kind::Signal
        | Kind::Fork
        | Kind::Join
        | Kind::Time
        | Kind::End
        | Kind::Foreign
        | Kind::Mark => stream == StreamKind::Run,
    };
    if fits {
        Ok(())
    } else {
        Err(Error::invalid(format!(
            "{} cannot be appended to a {} stream",
            kind.name(),
            stream.name()
        )))
    }
}

/// What encoding a draft takes for granted.
fn check_values(draft: &Draft) -> Result<(), Error> {
    let ascending = draft.values.is_sorted_by(|a, b| a.slot < b.slot);
    let lengths = draft.values.iter().all(|value| match &value.stored {
        Stored::Here(bytes) => bytes.len() == value.len as usize,
        _ => true,
    });
    let slots = draft
        .values
        .iter()
        .all(|value| (1..=SLOT_MAX).contains(&value.slot));
    if ascending && lengths && slots && !draft.det.is_empty() {
        Ok(())
    } else {
        Err(Error::invalid(
            "values must be in ascending order of slot, from 1 to 31, each of the length it says",
        ))
    }
}
