//! The writer: who holds it, writes groups.
//!
//! ```text
//! queue -> carry -> group buffer -> pwrite -> fdatasync -> durable word -> waiters
//! ```
//!
//! Before a record is taken, blocks for it and for the reserve behind it have been written with zeros, in the next segment too
//! where this one is nearly full: what must be written when the disk is full overwrites blocks that the log has already.
//!
//! Invariants: group n+1 is not written before the sync of group n has returned and its word is published; a full disk is
//! met while blocks are prepared, never while a group is written; after a failed write or sync nothing is written any more.

use crate::error::Error;
use crate::group::Position;
use crate::lock::LockFile;
use crate::prepare::{Ahead, Failure, poison};
use crate::queue::{Encoded, Item, Load, Slot};
use crate::shared::Shared;
use aos_disk::File;
use aos_format::controls::{self, Control};
use aos_format::frame::{
    COMMIT_LEN, Commit, FRAME_HEADER_LEN, FrameHeader, GROUP_LEN_MAX, Kind, SEGMENT_END_GROUP_LEN,
    SegmentEnd,
};
use aos_format::offset::{Offset, Stride};
use aos_format::record::{Body, StreamId};
use aos_format::segment::{DurableWord, Identity, SEGMENT_HEADER_LEN, SegmentHeader};
use aos_format::wire::{align16, crc32};
use std::collections::VecDeque;
use std::sync::Arc;

/// Taken from the queue, not yet durable.
enum Pending {
    Record {
        record: Encoded,
        slot: Arc<Slot>,
        /// Of the last record of an append: the room it took.
        last: Option<u64>,
    },
    Barrier {
        slot: Arc<Slot>,
        charge: u64,
    },
}

impl Pending {
    fn finish(&self, shared: &Shared, outcome: &Result<Offset, Error>) {
        let (slot, charge) = match self {
            Pending::Record { slot, last, .. } => (slot, *last),
            Pending::Barrier { slot, charge } => (slot, Some(*charge)),
        };
        if let Err(error) = outcome {
            slot.fail(error.clone());
        }
        if let Some(charge) = charge {
            if let Ok(end) = outcome {
                slot.complete(end.0);
            }
            shared.queue.release(charge);
        }
    }
}

/// The frames of the group being built, without its COMMIT.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    header_crcs: Vec<u8>,
    count: u32,
}

pub(crate) struct Writer {
    identity: Identity,
    salt: u32,
    epoch: u32,
    file: Arc<dyn File>,
    /// First offset of the active segment.
    segment: Offset,
    /// Where the next group begins; the segment's start before its first.
    tail: Offset,
    /// Bytes of the segment that were written or zeroed, as far as this writer has looked.
    filled: u64,
    group: u64,
    commit_crc: u32,
    /// Whether the last group was empty.
    last_empty: bool,
    lock_file: LockFile,
    carry: VecDeque<Pending>,
    carry_bytes: u64,
    building: Group,
}

impl Writer {
    /// A writer that goes on after `position`. The segment that the next group belongs to is prepared.
    pub(crate) fn new(
        identity: Identity,
        epoch: u32,
        position: &Position,
        file: Arc<dyn File>,
        lock_file: LockFile,
    ) -> Writer {
        let tail = position.next(identity.stride);
        let segment = identity.stride.segment_start(tail);
        Writer {
            identity,
            salt: identity.log_id.salt(),
            epoch,
            file,
            segment,
            tail,
            filled: tail.0 - segment.0,
            group: position.group,
            commit_crc: position.commit_crc,
            last_empty: false,
            lock_file,
            carry: VecDeque::new(),
            carry_bytes: 0,
            building: Group::default(),
        }
    }

    fn stride(&self) -> Stride {
        self.identity.stride
    }

    /// Number of the last group.
    pub(crate) fn group(&self) -> u64 {
        self.group
    }

    /// Whether an empty group would prove something.
    pub(crate) fn wants_proof(&self) -> bool {
        !self.last_empty
    }

    /// Whether records wait to be written.
    pub(crate) fn has_carry(&self) -> bool {
        !self.carry.is_empty()
    }

    /// First offset of the active segment, and how much of it is used.
    pub(crate) fn active(&self) -> (Offset, u64) {
        (self.segment, self.tail.0 - self.segment.0)
    }

    // --- groups ----------------------------------------------------------------------------------------------------

    /// Writes one group of what is queued, if anything is. Outcomes go to the tickets.
    pub(crate) fn write_queued(&mut self, shared: &Shared) {
        self.collect(shared);
        if shared.poison().is_some() {
            self.refuse_all(shared);
            return;
        }
        let mut placed = Vec::new();
        let result = match self.fill_group(shared, &mut placed) {
            Ok(()) if self.building.count == 0 => Ok(shared.durable()),
            Ok(()) => self.emit(shared),
            Err(why) => Err(why),
        };
        let outcome = match result {
            Ok(end) => Ok(end),
            Err(why) => {
                shared.set_poison(&why);
                Err(Error::OutcomeUnknown { why })
            }
        };
        for pending in &placed {
            pending.finish(shared, &outcome);
        }
        if outcome.is_err() {
            self.refuse_all(shared);
        }
    }

    /// Takes items out of the queue, up to a group's worth.
    fn collect(&mut self, shared: &Shared) {
        while self.carry_bytes < GROUP_LEN_MAX {
            let Some(Item { load, slot, charge }) = shared.queue.pop() else {
                return;
            };
            let records = match load {
                Load::Barrier => {
                    self.carry.push_back(Pending::Barrier { slot, charge });
                    continue;
                }
                Load::One(record) => {
                    self.carry_bytes += frame_len(&record.body);
                    self.carry.push_back(Pending::Record {
                        record,
                        slot,
                        last: Some(charge),
                    });
                    continue;
                }
                Load::Many(records) => records,
            };
            let count = records.len();
            for (index, record) in records.into_iter().enumerate() {
                self.carry_bytes += frame_len(&record.body);
                self.carry.push_back(Pending::Record {
                    record,
                    slot: slot.clone(),
                    last: (index + 1 == count).then_some(charge),
                });
            }
        }
    }

    fn refuse_all(&mut self, shared: &Shared) {
        let why = shared.poison().unwrap_or_default();
        let outcome = Err(Error::Poisoned { why });
        loop {
            for pending in self.carry.drain(..) {
                pending.finish(shared, &outcome);
            }
            self.carry_bytes = 0;
            self.collect(shared);
            if self.carry.is_empty() {
                return;
            }
        }
    }

    /// Fails every record that waits, because the first of them cannot be written: none may overtake it. Their streams go
    /// on from what is written.
    fn fail_queued(&mut self, shared: &Shared, error: &Error) {
        shared.append_failed(error);
        loop {
            for pending in self.carry.drain(..) {
                let outcome = match &pending {
                    Pending::Record { record, .. } => {
                        // What its stream queued before this is in the queue, which is emptied here.
                        record.cell.state.lock().reset();
                        Err(error.clone())
                    }
                    Pending::Barrier { .. } => Ok(shared.durable()),
                };
                pending.finish(shared, &outcome);
            }
            self.carry_bytes = 0;
            self.collect(shared);
            if self.carry.is_empty() {
                return;
            }
        }
    }

    /// Places records from the carry in the group being built, as many as go in. `Err` poisons.
    fn fill_group(&mut self, shared: &Shared, placed: &mut Vec<Pending>) -> Result<(), String> {
        self.begin();
        while let Some(pending) = self.carry.pop_front() {
            let Pending::Record { record, .. } = &pending else {
                placed.push(pending);
                continue;
            };
            let len = frame_len(&record.body);
            if self.building.count > 0 && !self.has_room(len) {
                self.carry.push_front(pending);
                break;
            }
            self.carry_bytes -= len;
            let beyond = reserve_behind(record, self.stride());
            let outcome = match self.make_room(shared, len, beyond) {
                Ok(()) => self.place_record(record),
                // What is placed already is written; this record meets the full disk again in the next group.
                Err(Failure::Clean(_)) if self.building.count > 0 => {
                    self.carry_bytes += len;
                    self.carry.push_front(pending);
                    break;
                }
                Err(Failure::Clean(error)) => {
                    self.carry_bytes += len;
                    self.carry.push_front(pending);
                    self.fail_queued(shared, &error);
                    break;
                }
                Err(Failure::Poison(why)) => {
                    placed.push(pending);
                    return Err(why);
                }
            };
            match outcome {
                Ok(()) => placed.push(pending),
                Err(error) => {
                    shared.append_failed(&error);
                    pending.finish(shared, &Err(error));
                }
            }
        }
        Ok(())
    }

    /// Begins a group at the tail, with the segment's header where it is the first.
    fn begin(&mut self) {
        let group = &mut self.building;
        group.bytes.clear();
        group.header_crcs.clear();
        group.count = 0;
        if self.tail == self.segment {
            let header = SegmentHeader {
                identity: self.identity,
                offset: self.segment,
                epoch: self.epoch,
            };
            group.bytes.extend_from_slice(&header.encode());
        }
    }

    /// Offset of the next frame of the group being built.
    fn next_frame(&self) -> Offset {
        self.tail.plus(self.building.bytes.len() as u64)
    }

    fn group_start(&self) -> Offset {
        if self.tail == self.segment {
            self.tail.plus(SEGMENT_HEADER_LEN)
        } else {
            self.tail
        }
    }

    /// Whether a frame of `len` bytes fits into the segment with what must come after it.
    fn fits_segment(&self, len: u64) -> bool {
        let end = self.next_frame().0 + len + COMMIT_LEN + SEGMENT_END_GROUP_LEN;
        end <= self.segment.0 + self.stride().bytes()
    }

    /// Whether a further frame of `len` bytes may join the group.
    fn has_room(&self, len: u64) -> bool {
        let group_len = self.next_frame().0 + len + COMMIT_LEN - self.group_start().0;
        group_len <= GROUP_LEN_MAX && self.fits_segment(len)
    }

    /// Sees to blocks for a frame of `len` bytes and `beyond` bytes behind it; ends the segment first where the frame does
    /// not fit.
    fn make_room(&mut self, shared: &Shared, len: u64, beyond: u64) -> Result<(), Failure> {
        if !self.fits_segment(len) {
            assert!(self.building.count == 0, "a group never crosses a segment");
            self.roll(shared, len + beyond)?;
            self.begin();
            assert!(self.fits_segment(len), "a new segment holds any record");
        }
        let need = self.next_frame().0 + len + COMMIT_LEN - self.segment.0 + beyond;
        self.fill(shared, need.min(self.stride().bytes()))?;
        if need > self.stride().bytes() {
            self.ready_next(shared, SEGMENT_HEADER_LEN + beyond)?;
        }
        Ok(())
    }

    /// Prepares the next segment, with blocks for its first `need` bytes, before this one is full.
    fn ready_next(&mut self, shared: &Shared, need: u64) -> Result<(), Failure> {
        let next = self.stride().segment_end(self.segment);
        let mut filled = shared.filled.lock();
        if filled.next.is_none() {
            filled.next = Some(shared.next_segment(next)?);
        }
        let ahead = filled.next.as_mut().expect("it was put there");
        assert!(ahead.start == next, "the segment behind the active one");
        ahead.fill(self.stride(), need.min(self.stride().bytes()))
    }

    fn fill(&mut self, shared: &Shared, need: u64) -> Result<(), Failure> {
        if need > self.filled {
            let mut filled = shared.filled.lock();
            assert!(filled.active.start == self.segment, "the active segment");
            let outcome = filled.active.fill(self.stride(), need);
            self.filled = filled.active.filled;
            shared.filled_up_to(filled.active.end());
            outcome?;
        }
        Ok(())
    }

    /// Gives a record its place and links.
    fn place_record(&mut self, record: &Encoded) -> Result<(), Error> {
        let offset = self.next_frame();
        let (prev, skip) = {
            let mut state = record.cell.state.lock();
            let expected = state.written.seq + 1;
            if record.seq != expected {
                return Err(Error::Sequence {
                    stream: record.cell.stream,
                    expected,
                    found: record.seq,
                });
            }
            state.written.place(offset, record.lane_seq)
        };
        self.place_frame(record.kind, &record.body, prev, skip, record.seq);
        Ok(())
    }

    fn place_frame(&mut self, kind: Kind, body: &Body, prev: Offset, skip: Offset, seq: u64) {
        let header = FrameHeader {
            header_crc: 0,
            body_crc: body.body_crc,
            body_len: body.body_len,
            kind: kind as u8,
            epoch: self.epoch,
            salt: self.salt,
            offset: self.next_frame(),
            prev,
            skip,
            seq,
            record_len: body.record_len,
        };
        let bytes = header.encode();
        self.building.header_crcs.extend_from_slice(&bytes[..4]);
        self.building.count += 1;
        self.building.bytes.extend_from_slice(&bytes);
        self.building.bytes.extend_from_slice(&body.bytes);
    }

    fn place_structural(&mut self, kind: Kind, body: &[u8]) -> u32 {
        let header = FrameHeader {
            header_crc: 0,
            body_crc: crc32(body),
            body_len: body.len() as u32,
            kind: kind as u8,
            epoch: self.epoch,
            salt: self.salt,
            offset: self.next_frame(),
            prev: Offset::NONE,
            skip: Offset::NONE,
            seq: 0,
            record_len: 0,
        };
        let bytes = header.encode();
        self.building.bytes.extend_from_slice(&bytes);
        self.building.bytes.extend_from_slice(body);
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// Writes the group that was built, syncs it, and publishes that it is durable.
    fn emit(&mut self, shared: &Shared) -> Result<Offset, String> {
        let commit = Commit {
            number: self.group + 1,
            start: self.group_start(),
            count: self.building.count,
            frames_crc: crc32(&self.building.header_crcs),
            prev_commit: self.commit_crc,
        };
        let commit_crc = self.place_structural(Kind::Commit, &commit.encode());
        let end = self.next_frame();
        assert!(end.0 <= self.segment.0 + self.stride().bytes());
        assert!(
            end.0 - self.segment.0 <= self.filled,
            "blocks were prepared for the group"
        );
        let said = |error: aos_disk::Error| error.to_string();
        self.file
            .write_all_at(&self.building.bytes, self.tail.0 - self.segment.0)
            .map_err(said)?;
        if controls::on(Control::CatalogueAhead) {
            shared.wrote(end, commit.count, end.0 - commit.start.0);
            shared.keep_catalogue();
        }
        self.file.sync_data().map_err(said)?;
        self.lock_file
            .publish(&DurableWord {
                durable: end,
                group: commit.number,
                epoch: self.epoch,
            })
            .map_err(said)?;
        (self.group, self.commit_crc) = (commit.number, commit_crc);
        self.last_empty = commit.count == 0;
        self.tail = end;
        shared.wrote(end, commit.count, end.0 - commit.start.0);
        Ok(end)
    }

    /// Ends the segment and goes on in the next, which is prepared first, with room for a frame of `len` bytes.
    fn roll(&mut self, shared: &Shared, len: u64) -> Result<(), Failure> {
        let stride = self.stride();
        let next = stride.segment_end(self.segment);
        self.ready_next(shared, SEGMENT_HEADER_LEN + len + COMMIT_LEN)?;
        self.fill(shared, self.tail.0 - self.segment.0 + SEGMENT_END_GROUP_LEN)?;
        self.begin();
        assert!(
            self.tail > self.segment,
            "a segment without groups is not ended"
        );
        let header_crc = self.place_structural(Kind::SegmentEnd, &SegmentEnd { next }.encode());
        self.building
            .header_crcs
            .extend_from_slice(&header_crc.to_le_bytes());
        self.building.count = 1;
        self.emit(shared).map_err(Failure::Poison)?;
        self.lock_file.sync().map_err(poison)?;
        let mut filled = shared.filled.lock();
        filled.active = filled.next.take().expect("it was prepared above");
        let Ahead { file, filled, .. } = filled.active.clone();
        (self.file, self.segment, self.tail, self.filled) = (file, next, next, filled);
        Ok(())
    }

    // --- groups of the log's own -----------------------------------------------------------------------------------

    /// Writes a record as a group of its own, ahead of the queue: OPEN.
    pub(crate) fn write_alone(&mut self, shared: &Shared, record: &Encoded) -> Result<(), Error> {
        self.begin();
        let written = match self.make_room(shared, frame_len(&record.body), 0) {
            Ok(()) => {
                self.place_record(record)?;
                self.emit(shared).map_err(Failure::Poison)
            }
            Err(failure) => Err(failure),
        };
        match written {
            Ok(_) => Ok(()),
            Err(Failure::Clean(error)) => Err(error),
            Err(Failure::Poison(why)) => {
                shared.set_poison(&why);
                Err(Error::OutcomeUnknown { why })
            }
        }
    }

    /// Writes an empty group, which proves that the one before was synced; not after another, and not where the segment
    /// has no room.
    pub(crate) fn write_empty(&mut self, shared: &Shared) -> Result<(), Error> {
        if self.last_empty || self.group == 0 || shared.poison().is_some() {
            return Ok(());
        }
        self.begin();
        let need = self.next_frame().0 + COMMIT_LEN - self.segment.0;
        if !self.fits_segment(0) {
            return Ok(());
        }
        let written = self
            .fill(shared, need)
            .and_then(|()| self.emit(shared).map(drop).map_err(Failure::Poison));
        match written {
            // It only proves; a log whose disk is full has its durable word.
            Ok(()) | Err(Failure::Clean(_)) => Ok(()),
            Err(Failure::Poison(why)) => {
                shared.set_poison(&why);
                Err(Error::OutcomeUnknown { why })
            }
        }
    }

    /// Makes the durable word itself durable.
    pub(crate) fn sync_lock(&mut self, shared: &Shared) -> Result<(), Error> {
        if let Some(why) = shared.poison() {
            return Err(Error::Poisoned { why });
        }
        self.lock_file.sync().map_err(|error| {
            let why = error.to_string();
            shared.set_poison(&why);
            Error::OutcomeUnknown { why }
        })
    }
}

/// Most bytes that are kept for what must be written when the disk is full.
const RESERVE_MAX: u64 = 64 << 10;

/// Bytes that must be there behind a record for it to be taken: the reserve, or nothing for what the reserve is for. That is
/// an emergency stop or another decision of the control stream, a seal, and what ends a segment or a log; OPEN too.
fn reserve_behind(record: &Encoded, stride: Stride) -> u64 {
    let control = record.cell.stream == StreamId::CONTROL;
    match record.kind {
        Kind::Seal => 0,
        Kind::Decision if control => 0,
        _ => RESERVE_MAX.min(stride.bytes() / 4),
    }
}

fn frame_len(body: &Body) -> u64 {
    FRAME_HEADER_LEN + align16(body.body_len.into())
}
