//! What of each stream still holds: its beginning, as far as numbers, links and digests chain, and the pieces behind.

use aos_format::digest::Digest;
use aos_format::event;
use aos_format::frame::{FrameHeader, Kind};
use aos_format::offset::Offset;
use aos_format::record::{RecordView, StreamId, StreamKind};
use std::collections::BTreeMap;

/// What a salvage says of one run or resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fate {
    /// Every record that it ever had is there: it has an END, or nothing was lost behind its newest record.
    Whole,
    /// All that is there chains from its first record on, but a range was lost behind it that may have held more.
    EndUnproven,
    /// Records are missing in its middle or at its beginning.
    Gap,
}

impl Fate {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Fate::Whole => "whole",
            Fate::EndUnproven => "end_unproven",
            Fate::Gap => "gap",
        }
    }
}

/// Records of one stream that follow one another but not the beginning of the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Numbers of the first and the last record.
    pub seq: (u64, u64),
    /// Offsets of the first and the last record in the damaged log.
    pub offset: (Offset, Offset),
    /// The digest that the first record names as its predecessor: whoever finds that record can prove this piece.
    pub previous: Digest,
    /// History digest at the end of the piece, in the lane of its last record.
    pub digest: Digest,
    /// Why it does not follow what was there before.
    pub why: &'static str,
}

/// What there is of one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamFound {
    /// The stream.
    pub stream: StreamId,
    /// What is known of it.
    pub fate: Fate,
    /// Valid records found.
    pub found: u64,
    /// Records from the first on that chain: these are in the new log.
    pub kept: u64,
    /// Newest history digest of lane 0 among them.
    pub digest: Digest,
    /// Whether the last of them ends the run.
    pub ended: bool,
    /// The rest.
    pub pieces: Vec<Piece>,
}

/// Newest digest of each lane.
type Lanes = BTreeMap<u64, Digest>;

#[derive(Default)]
struct State {
    seq: u64,
    last: Offset,
    lane_seq: u64,
    lanes: Lanes,
    ended: bool,
    found: u64,
    pieces: Vec<Piece>,
    piece_lanes: Lanes,
}

/// All streams seen so far.
#[derive(Default)]
pub(crate) struct Streams(BTreeMap<StreamId, State>);

/// Why a record does not follow; `None` when it does.
fn misfit(
    (seq, last): (u64, Offset),
    lanes: &Lanes,
    frame: &FrameHeader,
    lane: u64,
    previous: &Digest,
) -> Option<&'static str> {
    if frame.seq <= seq {
        return Some("its number was there before");
    }
    if frame.seq > seq + 1 {
        return Some("records before it are lost");
    }
    if frame.prev != last {
        return Some("it links to another record");
    }
    let head = match lanes.get(&lane) {
        Some(head) => head,
        None if lane == 0 => &Digest::ZERO,
        // A lane begins with a digest of its fork, which verifying the new log checks.
        None => previous,
    };
    (head != previous).then_some("it names another history before it")
}

impl Streams {
    /// Judges the next durable record of a run or resource. `true` when it continues the beginning of its stream.
    pub(crate) fn follows(
        &mut self,
        frame: &FrameHeader,
        kind: Kind,
        view: &RecordView<'_>,
    ) -> bool {
        let state = self.0.entry(view.stream()).or_default();
        state.found += 1;
        let lane = view.lane();
        let Ok(previous) = event::previous(kind, view.det()) else {
            state.strand(
                frame,
                kind,
                view,
                &Digest::ZERO,
                "it is no event of its kind",
            );
            return false;
        };
        let why = if state.pieces.is_empty() {
            misfit(
                (state.seq, state.last),
                &state.lanes,
                frame,
                lane,
                &previous,
            )
        } else {
            Some("records before it are lost")
        };
        let count = state.lane_seq + u64::from(kind.advances());
        let why = why.or((lane == 0 && view.lane_seq() != count).then_some("its count is wrong"));
        if let Some(why) = why {
            state.strand(frame, kind, view, &previous, why);
            return false;
        }
        state.seq = frame.seq;
        state.last = frame.offset;
        if kind.advances() {
            state.lanes.insert(lane, view.digest());
        }
        if lane == 0 {
            state.lane_seq = view.lane_seq();
            state.ended |= kind == Kind::End;
        }
        true
    }

    /// What there is of each stream, given where the last lost range ends; and what a record put behind its beginning has
    /// to continue: number, count and digest of lane 0.
    pub(crate) fn finish(self, lost_to: Offset) -> (Vec<StreamFound>, Vec<(u64, u64, Digest)>) {
        let judged = self.0.into_iter().map(|(stream, state)| {
            let fate = if !state.pieces.is_empty() {
                Fate::Gap
            } else if state.ended || lost_to <= state.last {
                Fate::Whole
            } else {
                Fate::EndUnproven
            };
            let digest = state.lanes.get(&0).copied().unwrap_or_default();
            let found = StreamFound {
                stream,
                fate,
                found: state.found,
                kept: state.seq,
                digest,
                ended: state.ended,
                pieces: state.pieces,
            };
            (found, (state.seq, state.lane_seq, digest))
        });
        judged.unzip()
    }
}

impl State {
    fn strand(
        &mut self,
        frame: &FrameHeader,
        kind: Kind,
        view: &RecordView<'_>,
        previous: &Digest,
        why: &'static str,
    ) {
        let lane = view.lane();
        let goes_on = self.pieces.last().is_some_and(|piece| {
            let end = (piece.seq.1, piece.offset.1);
            // A lane that the piece has not met yet proves nothing against it.
            let lanes = if self.piece_lanes.contains_key(&lane) {
                misfit(end, &self.piece_lanes, frame, lane, previous)
            } else {
                let mut lanes = self.piece_lanes.clone();
                lanes.insert(lane, *previous);
                misfit(end, &lanes, frame, lane, previous)
            };
            lanes.is_none()
        });
        if !goes_on {
            self.piece_lanes = Lanes::new();
        }
        let digest = if kind.advances() {
            view.digest()
        } else {
            *previous
        };
        self.piece_lanes.insert(lane, digest);
        match self.pieces.last_mut() {
            Some(piece) if goes_on => {
                piece.seq.1 = frame.seq;
                piece.offset.1 = frame.offset;
                piece.digest = digest;
            }
            _ => self.pieces.push(Piece {
                seq: (frame.seq, frame.seq),
                offset: (frame.offset, frame.offset),
                previous: *previous,
                digest,
                why,
            }),
        }
    }
}

impl StreamFound {
    /// Whether it is a run.
    pub fn is_run(&self) -> bool {
        self.stream.kind == StreamKind::Run
    }
}
