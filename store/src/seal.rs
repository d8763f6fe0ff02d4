//! Sealing: records of the log's own that say what the log was up to a point, each continuing the one before.
//!
//! ```text
//! SEAL  [start, end) of offsets, count and root of its records | digest of the SEAL before it
//!       | the tree over all records below `end`: its size and the roots of its perfect subtrees
//! ```
//!
//! The leaves are those of golden archives. Ranges follow one another without holes and none crosses a segment. Sealing
//! reads what is durable and appends like any producer, so that no group waits for it.

use crate::error::{Error, Finding, FindingKind, code};
use crate::queue::{Encoded, Item, Load, Slot};
use crate::reader::LogReader;
use crate::shared::Shared;
use crate::stored::read_frame;
use crate::streams::Tip;
use aos_format::digest::Digest;
use aos_format::event::{Event, Seal};
use aos_format::frame::{FRAME_HEADER_LEN, FrameHeader, Kind};
use aos_format::leaf::put_leaf;
use aos_format::merkle::{Peaks, root};
use aos_format::offset::{Offset, segment_file_name};
use aos_format::record::{Draft, RecordView, StreamId};
use aos_format::segment::{Identity, SEGMENT_HEADER_LEN};
use aos_format::sha_wide::digest_many;
use std::ops::Deref;
use std::sync::Arc;

/// The leaves of a range of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealable {
    /// Leaves of its records, in order of offset.
    pub leaves: Vec<Digest>,
    /// Whether any of them is more than an opening or a seal.
    pub matters: bool,
    /// Where its last group ended, or the end of the segment where that group ended it.
    pub end: Offset,
}

/// Bytes read at a time.
const PIECE: u64 = 1 << 20;

/// Leaves in the making, hashed many at a time.
struct Leaves {
    identity: Identity,
    segment_end: Offset,
    found: Sealable,
    ended: bool,
}

/// A frame's header as it stands, its body, and the record in it.
type Framed<'a> = (
    &'a [u8; FRAME_HEADER_LEN as usize],
    &'a [u8],
    RecordView<'a>,
);

/// Leaves of the records from `start` to `end`, which lie in one segment; `read` gives bytes of it.
fn leaves<B: Deref<Target = [u8]>>(
    identity: Identity,
    start: Offset,
    end: Offset,
    read: impl Fn(Offset, usize) -> Result<B, Error>,
) -> Result<Sealable, Error> {
    let stride = identity.stride;
    let segment_end = stride.segment_end(start);
    let mut at = match start == stride.segment_start(start) {
        true => start.plus(SEGMENT_HEADER_LEN),
        false => start,
    };
    let mut leaves = Leaves {
        identity,
        segment_end,
        found: Sealable {
            leaves: Vec::new(),
            matters: false,
            end: start,
        },
        ended: false,
    };
    let end = end.min(segment_end);
    while at < end && !leaves.is_over() {
        let piece = read(at, PIECE.min(end.0 - at.0) as usize)?;
        let mut next = leaves.take(&piece, at)?;
        if next == at {
            // A frame that reaches beyond the piece.
            let header = leaves.header(&read(at, FRAME_HEADER_LEN as usize)?, at)?;
            next = leaves.take(&read(at, header.frame_len() as usize)?, at)?;
            assert!(next > at, "the whole frame was read");
        }
        at = next;
    }
    Ok(leaves.found)
}

impl Leaves {
    /// Whether the segment's last group was taken in.
    fn is_over(&self) -> bool {
        self.ended && self.found.end == self.segment_end
    }

    fn damaged(&self, at: Offset, error: aos_format::Error) -> Error {
        let stride = self.identity.stride;
        Finding {
            kind: FindingKind::Corruption,
            code: code::DAMAGED,
            offset: at,
            length: None,
            file: segment_file_name(stride.segment_start(at)),
            expected: "a frame".into(),
            found: error.to_string(),
        }
        .into()
    }

    fn header(&self, bytes: &[u8], at: Offset) -> Result<FrameHeader, Error> {
        FrameHeader::decode(bytes, self.identity.stride)
            .and_then(|header| {
                header.belongs(at, self.identity.log_id.salt(), 1)?;
                Ok(header)
            })
            .map_err(|error| self.damaged(at, error))
    }

    /// Takes in the frames that lie wholly in `piece`, which begins at `from`; says where the next one begins.
    fn take(&mut self, piece: &[u8], from: Offset) -> Result<Offset, Error> {
        let mut records: Vec<Framed<'_>> = Vec::new();
        let mut at = from;
        while !self.is_over() {
            let frame = &piece[(at.0 - from.0) as usize..];
            let Some(head) = frame.first_chunk() else {
                break;
            };
            let header = self.header(frame, at)?;
            let Some(body) = frame.get(FRAME_HEADER_LEN as usize..header.frame_len() as usize)
            else {
                break;
            };
            let kind = Kind::from_u8(header.kind);
            if kind.is_some_and(Kind::is_structural) {
                self.ended |= kind == Some(Kind::SegmentEnd);
                if kind == Some(Kind::Commit) {
                    self.found.end = match self.ended {
                        true => self.segment_end,
                        false => header.end(),
                    };
                }
            } else {
                let damaged = |error| self.damaged(at, error);
                header.check_body(body).map_err(damaged)?;
                let body = &body[..header.body_len as usize];
                let view = RecordView::of_frame(&header, body).map_err(damaged)?;
                records.push((head, body, view));
                self.found.matters |= !matches!(kind, Some(Kind::Open | Kind::Seal));
            }
            at = header.end();
        }
        self.hash(&records);
        Ok(at)
    }

    fn hash(&mut self, records: &[Framed<'_>]) {
        let dets: Vec<&[u8]> = records.iter().map(|(_, _, view)| view.det()).collect();
        let mut histories = vec![Digest::ZERO; dets.len()];
        digest_many(&dets, &mut histories);
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(records.len()));
        for ((head, body, view), history) in records.iter().zip(&histories) {
            put_leaf(head, body, view, history, &mut bytes);
            ends.push(bytes.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let messages: Vec<&[u8]> = starts
            .zip(&ends)
            .map(|(from, &to)| &bytes[from..to])
            .collect();
        let first = self.found.leaves.len();
        self.found
            .leaves
            .resize(first + messages.len(), Digest::ZERO);
        digest_many(&messages, &mut self.found.leaves[first..]);
    }
}

impl LogReader {
    /// Leaves of the records from `start` to `end`, which must lie in one segment.
    ///
    /// # Errors
    /// [`Error::Finding`] where a frame is damaged, [`Error::Disk`].
    pub fn leaves(&self, start: Offset, end: Offset) -> Result<Sealable, Error> {
        leaves(self.identity(), start, end, |at, len| {
            self.read_range(at.0..at.0 + len as u64)
        })
    }
}

/// Where the chain of seals stands.
#[derive(Default)]
pub(crate) struct Sealer {
    /// Whether the newest SEAL was looked for.
    loaded: bool,
    /// Everything below is sealed.
    through: Offset,
    /// The tree over everything below.
    tree: Peaks,
    /// Digest of the newest SEAL.
    last: Option<Digest>,
    /// Durable offset at the last look that found nothing to seal.
    looked: Offset,
}

impl Sealer {
    /// Finds the newest SEAL of the log.
    fn load(&mut self, shared: &Shared) -> Result<(), Error> {
        let durable = shared.durable();
        let mut at = {
            let cell = shared.cell(StreamId::CONTROL)?;
            let state = cell.state.lock();
            match state.is_settled(durable) {
                true => state.written.offset(),
                // Not everything is written; the next look finds it.
                false => return Ok(()),
            }
        };
        while let Some(offset) = at.some() {
            let record = read_frame(&shared.segments, shared.salt, offset, durable)?;
            if record.kind() == Some(Kind::Seal) {
                let view = record.view()?;
                if let Ok((_, Event::Seal(seal))) = Event::decode(Kind::Seal, view.det())
                    && let Some(tree) = Peaks::new(seal.total, seal.peaks)
                {
                    (self.through, self.tree) = (Offset(seal.end), tree);
                    self.last = Some(view.digest());
                }
                break;
            }
            at = record.header().prev;
        }
        self.loaded = true;
        Ok(())
    }

    /// Seals the ended segments, and with `tail` what is durable of the last one.
    fn seal(&mut self, shared: &Shared, tail: bool) -> Result<(), Error> {
        if !self.loaded {
            self.load(shared)?;
        }
        let stride = shared.identity.stride;
        while self.loaded {
            let durable = shared.durable();
            let segment_end = stride.segment_end(self.through);
            let ended = durable > segment_end;
            if self.through >= durable || !ended && (!tail || durable == self.looked) {
                return Ok(());
            }
            let found = leaves(shared.identity, self.through, durable, |at, len| {
                shared.segments.durable_bytes(at, len, durable)
            })?;
            if found.end == self.through || !found.matters && found.end != segment_end {
                self.looked = durable;
                return Ok(());
            }
            let mut tree = self.tree.clone();
            found.leaves.iter().for_each(|leaf| tree.push(*leaf));
            let seal = Event::Seal(Seal {
                start: self.through.0,
                end: found.end.0,
                count: found.leaves.len() as u64,
                root: root(&found.leaves),
                before: self.last,
                total: tree.size(),
                peaks: tree.hashes().to_vec(),
            });
            let Some(digest) = append(shared, &seal)? else {
                return Ok(());
            };
            (self.through, self.tree, self.last) = (found.end, tree, Some(digest));
        }
        Ok(())
    }
}

/// Appends a SEAL to the control stream. `None` when its head is not known at this moment.
fn append(shared: &Shared, seal: &Event) -> Result<Option<Digest>, Error> {
    let cell = shared.cell(StreamId::CONTROL)?;
    let charge = shared.queue.charge(std::iter::once(4096));
    loop {
        if let Some(why) = shared.poison() {
            return Err(Error::Poisoned { why });
        }
        let seen = shared.turn();
        if shared.queue.reserve(charge) {
            break;
        }
        shared.advance(seen)?;
    }
    let mut state = cell.state.lock();
    let head = match &state.queued.tip {
        Tip::Digest(digest) => *digest,
        Tip::Bytes(det) => Digest::of(det),
        Tip::InLog => {
            shared.queue.release(charge);
            return Ok(None);
        }
    };
    let det = seal.encode(&head);
    let digest = Digest::of(&det);
    let mut draft = Draft::new(StreamId::CONTROL, det);
    draft.lane_seq = state.queued.lane_seq;
    let body = draft.encode();
    if u64::from(body.body_len) > shared.identity.stride.record_limit() {
        shared.queue.release(charge);
        return Ok(None);
    }
    state.queued.seq += 1;
    let record = Encoded {
        cell: cell.clone(),
        kind: Kind::Seal,
        seq: state.queued.seq,
        lane_seq: state.queued.lane_seq,
        body,
    };
    // Under the lock of the stream: its records stand in the queue in the order of their numbers.
    shared.queue.push(Item {
        load: Load::One(record),
        slot: Arc::new(Slot::default()),
        charge,
    });
    drop(state);
    if let Some(threads) = &shared.threads {
        threads.pushed(shared.queue.len());
    }
    Ok(Some(digest))
}

impl Shared {
    /// Seals what is due; see [`Sealer::seal`]. A failure is met again by whoever reads there.
    pub(crate) fn seal(&self, tail: bool) -> Result<(), Error> {
        match &self.sealer {
            Some(sealer) => sealer.lock().seal(self, tail),
            None => Ok(()),
        }
    }
}
