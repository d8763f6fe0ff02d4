//! The joiner: takes scanned chunks in order of offset and answers the questions that they left open.
//!
//! What it keeps is a fixed small amount for each stream: head, lanes, where the skip links lead, and the values that were
//! referred to last. Whatever is not among those is looked up by following links, so the answer never depends on what was
//! kept.

use super::damage::{Damages, Hit};
use super::grid::{Chunk, Grid};
use super::groups::Groups;
use super::ids::ById;
use super::local::{
    Lane, Lanes, Link, LocalStream, Open, Skips, Stored, differs, lane_name, note_skip, wrong_skip,
};
use super::look::Look;
use super::record::{Started, slot_name};
use super::repair::repair;
use super::scan::{Scanned, scan};
use super::window::Digests;
use crate::finding::{Finding, FindingKind, code};
use aos_format::digest::Digest;
use aos_format::record::StreamId;
use std::collections::{BTreeMap, BTreeSet};

/// Findings kept; all are counted.
pub(crate) const FINDINGS_MAX: usize = 1000;

/// Values kept for each stream.
const VALUES_MAX: usize = 32;

/// What is known of a stream from its first record to the last one joined.
#[derive(Debug)]
pub(crate) struct StreamState {
    pub(crate) head: Link,
    pub(crate) lanes: Lanes<Lane>,
    /// Lanes that are not listed may be anything: records are missing.
    unknown: bool,
    /// Number from which on nothing is missing.
    base: u64,
    skips: Skips,
    values: Vec<Stored>,
    pub(crate) ended: bool,
    pub(crate) events: u64,
    pub(crate) steps: u64,
    pub(crate) started: Option<Started>,
    /// Records are missing or damaged.
    pub(crate) damaged: bool,
}

impl StreamState {
    fn new() -> StreamState {
        StreamState {
            head: Link {
                offset: 0,
                seq: 0,
                prev: 0,
            },
            lanes: Lanes::from_elem(Lane::FIRST, 1),
            unknown: false,
            base: 1,
            skips: Skips::new(),
            values: Vec::new(),
            ended: false,
            events: 0,
            steps: 0,
            started: None,
            damaged: false,
        }
    }

    /// Newest digest of the first lane.
    pub(crate) fn digest(&self) -> Digest {
        self.lanes
            .iter()
            .find(|lane| lane.lane == 0)
            .map_or(Digest::ZERO, |lane| lane.head)
    }

    /// Forgets what missing records may have changed.
    fn cut(&mut self, base: u64) {
        self.lanes.clear();
        self.skips.clear();
        self.values.clear();
        (self.unknown, self.base) = (true, base);
    }
}

/// Everything joined so far.
pub(crate) struct Joiner<'a> {
    grid: Grid,
    look: Look<'a>,
    groups: Groups,
    pub(crate) damages: Damages,
    pub(crate) streams: ById<StreamId, StreamState>,
    pub(crate) definitions: BTreeMap<Digest, u64>,
    pub(crate) seeds: BTreeMap<Digest, u64>,
    pub(crate) records: u64,
    pub(crate) groups_seen: u64,
    kept: Vec<Finding>,
    counted: u64,
    kinds: BTreeSet<FindingKind>,
    fresh: Vec<Finding>,
}

impl<'a> Joiner<'a> {
    /// A joiner that begins behind the group `before`, whose number is 0 before the first.
    pub(crate) fn new(grid: Grid, look: Look<'a>, before: (u64, u32, u32)) -> Joiner<'a> {
        Joiner {
            grid,
            look,
            groups: Groups::new(before),
            damages: Damages::default(),
            streams: ById::default(),
            definitions: BTreeMap::new(),
            seeds: BTreeMap::new(),
            records: 0,
            groups_seen: 0,
            kept: Vec::new(),
            counted: 0,
            kinds: BTreeSet::new(),
            fresh: Vec::new(),
        }
    }

    /// Takes in what the scan of chunk `index` found.
    ///
    /// # Errors
    /// Where the disk failed.
    pub(crate) fn join(
        &mut self,
        index: usize,
        scanned: &mut Scanned,
    ) -> Result<(), aos_store::Error> {
        let chunk = self.grid.chunk(index);
        if let Some(expect) = self.groups.expect
            && !chunk.is_first()
        {
            if expect >= chunk.to {
                // The inside of a frame that began before.
                return Ok(());
            }
            if scanned.error.is_none() && scanned.first != Some(expect) {
                scan(self.look, &chunk, Some(expect), scanned);
            }
        }
        if let Some(error) = scanned.error.take() {
            return self.unreadable(&chunk, error);
        }
        self.groups
            .take(&chunk, scanned, &mut self.damages, &mut self.fresh);
        self.groups_seen += scanned.commits.len() as u64;
        self.records(scanned);
        Ok(())
    }

    /// Takes in records that come before everything else: those that are kept of a pruned beginning.
    pub(crate) fn records(&mut self, scanned: &mut Scanned) {
        self.records += scanned.streams.records;
        self.fresh.append(&mut scanned.streams.findings);
        for local in scanned.streams.all() {
            self.stream(local, &scanned.streams.digests);
        }
        for broken in std::mem::take(&mut scanned.streams.breaks) {
            self.broken(broken.stream, broken.link, broken.had);
        }
        for started in &scanned.streams.started {
            let state = self
                .streams
                .entry(StreamId::run(started.run))
                .or_insert_with(StreamState::new);
            state.started.get_or_insert(*started);
        }
        for &(digest, offset) in &scanned.streams.definitions {
            self.definitions.entry(digest).or_insert(offset);
        }
        for &(commitment, offset) in &scanned.streams.seeds {
            self.seeds.entry(commitment).or_insert(offset);
        }
        self.keep();
    }

    /// A chunk whose bytes the log does not give.
    fn unreadable(
        &mut self,
        chunk: &Chunk,
        error: aos_store::Error,
    ) -> Result<(), aos_store::Error> {
        let Some(finding) = error.finding() else {
            return Err(error);
        };
        self.damages.add_finding(finding, chunk.from, chunk.to);
        self.groups.lose();
        Ok(())
    }

    /// Counts the findings of the chunk, and keeps the first ones of the log.
    fn keep(&mut self) {
        self.counted += self.fresh.len() as u64;
        self.kinds
            .extend(self.fresh.iter().map(|finding| finding.kind));
        for finding in &mut self.fresh {
            if finding.kind == FindingKind::Corruption
                && let Some(state) = finding
                    .stream
                    .and_then(|stream| self.streams.get_mut(&stream))
            {
                state.damaged = true;
            }
        }
        let room = FINDINGS_MAX - self.kept.len();
        self.fresh.sort_by_key(|finding| finding.offset);
        self.fresh.truncate(room);
        for finding in &mut self.fresh {
            if finding.activation.is_none() && finding.stream.is_some() {
                finding.activation = finding
                    .offset
                    .and_then(|offset| self.look.activation(offset.0));
            }
        }
        self.kept.append(&mut self.fresh);
    }

    fn stream(&mut self, local: &LocalStream, digests: &Digests) {
        let state = self
            .streams
            .entry(local.id)
            .or_insert_with(StreamState::new);
        let had = state.head;
        let gap = local.first.seq != had.seq + 1;
        let broken = gap || local.first.prev != had.offset;
        if gap {
            state.cut(local.first.seq);
        }
        if broken {
            self.broken(local.id, local.first, had);
        }
        for (offset, open) in &local.open {
            self.answer(local.id, *offset, open);
        }
        let state = self.streams.get_mut(&local.id).expect("entered above");
        state.take(local, digests);
    }

    /// Answers a question from what came before the chunk.
    fn answer(&mut self, id: StreamId, offset: u64, open: &Open) {
        let state = self
            .streams
            .get_mut(&id)
            .expect("a stream is entered before its questions");
        let fault = |code, field: String, expected: String, found: String| {
            Finding::at(code, offset, expected, found)
                .field(field)
                .stream(id)
        };
        match *open {
            Open::Lane(assumed) => {
                let known = state.lanes.iter().find(|lane| lane.lane == assumed.lane);
                match known {
                    Some(known) if known.head != assumed.head => {
                        let expected = format!("{}, the history digest before it", known.head);
                        self.fresh.push(fault(
                            code::HISTORY,
                            "previous".into(),
                            expected,
                            assumed.head.hex(),
                        ));
                    }
                    Some(known) if known.count != assumed.count => {
                        self.fresh.push(fault(
                            code::HISTORY,
                            "lane_seq".into(),
                            lane_name(known),
                            lane_name(&assumed),
                        ));
                    }
                    None if !state.unknown => {
                        let expected = "a lane that a fork opened".into();
                        self.fresh.push(fault(
                            code::HISTORY,
                            "lane".into(),
                            expected,
                            format!("lane {}", assumed.lane),
                        ));
                    }
                    Some(_) | None => {}
                }
            }
            Open::Skip { seq, at } => {
                let known = state.skips.get(seq.trailing_zeros() as usize).copied();
                if seq >= state.base && known != Some(at) {
                    self.fresh
                        .push(wrong_skip(offset, id, seq, known.unwrap_or(0), at));
                }
            }
            Open::Back {
                slot,
                seq,
                from_slot,
                name,
            } => {
                let kept = state
                    .values
                    .iter_mut()
                    .find(|stored| (stored.seq, stored.slot) == (seq, from_slot));
                let found = match kept {
                    Some(stored) => {
                        stored.used = state.head.seq + 1;
                        Some(*stored)
                    }
                    None => match self.look.stored(id, offset, seq, from_slot) {
                        Ok(found) => found,
                        // Links are checked everywhere: what breaks them on the way is reported where it stands.
                        Err(_) => return,
                    },
                };
                if let Some((expected, found)) = differs(found.as_ref(), &name, seq, from_slot) {
                    let field = self
                        .look
                        .kind(offset)
                        .map_or_else(|| format!("slot {slot}"), |kind| slot_name(kind, slot));
                    self.fresh
                        .push(fault(code::BACK_REFERENCE, field, expected, found));
                }
            }
            Open::Absorbed(digest) => {
                if !state.unknown && !state.lanes.iter().any(|lane| lane.head == digest) {
                    let expected = "the head of a lane".into();
                    self.fresh
                        .push(fault(code::LANES, "digests".into(), expected, digest.hex()));
                }
            }
        }
    }

    /// A record whose links do not lead to the record before it.
    fn broken(&mut self, stream: StreamId, link: Link, had: Link) {
        let look = &self.look;
        let between = || {
            let (before, after) = (look.activation(had.offset), look.activation(link.offset));
            match (before, after) {
                (Some(before), Some(after)) if before == after => Some(before),
                (Some(before), Some(after)) => Some(format!("between {before} and {after}")),
                (Some(before), None) => Some(format!("after {before}")),
                (None, Some(after)) => Some(format!("before {after}")),
                (None, None) => None,
            }
        };
        if self.damages.explain(stream, link, had, between) {
            if let Some(state) = self.streams.get_mut(&stream) {
                state.damaged = true;
            }
            return;
        }
        let (field, expected, found) = if link.seq == had.seq + 1 {
            (
                "prev",
                format!("offset {}", had.offset),
                format!("offset {}", link.prev),
            )
        } else {
            (
                "seq",
                format!("record {}", had.seq + 1),
                format!("record {}", link.seq),
            )
        };
        self.fresh.push(
            Finding::at(code::LINK, link.offset, expected, found)
                .field(field)
                .stream(stream),
        );
    }

    /// All findings in order of offset, and how many there were.
    ///
    /// The kinds that occur are told apart from the list, which is cut.
    pub(crate) fn finish(&mut self, end: u64) -> (Vec<Finding>, u64, BTreeSet<FindingKind>) {
        self.keep();
        self.damages.finish(end);
        self.name_damaged();
        let damaged = self.damages.findings(self.look.identity.stride);
        let count = self.counted + damaged.len() as u64;
        self.kinds
            .extend(damaged.iter().map(|finding| finding.kind));
        let mut all = std::mem::take(&mut self.kept);
        all.extend(damaged);
        all.sort_by_key(|finding| finding.offset);
        all.truncate(FINDINGS_MAX);
        (all, count, std::mem::take(&mut self.kinds))
    }

    /// Names what was damaged where no later record leads over it: one byte set back may show the record, and the damaged
    /// header itself may name the record before.
    fn name_damaged(&mut self) {
        for damage in self.damages.list.iter_mut().take(FINDINGS_MAX) {
            damage.repaired = repair(&self.look, damage.from);
            if let Some((stream, _)) = damage
                .repaired
                .as_ref()
                .and_then(|repaired| repaired.record.as_ref())
                && let Some(state) = self.streams.get_mut(stream)
            {
                state.damaged = true;
            }
            let Some(prev) = damage
                .prev
                .filter(|prev| damage.hits.is_empty() && *prev != 0 && *prev < damage.from)
            else {
                continue;
            };
            let Some((stream, activation)) = self.look.record_of(prev) else {
                continue;
            };
            // Only the newest record of a stream can be followed by one that nothing leads over.
            if let Some(state) = self
                .streams
                .get_mut(&stream)
                .filter(|state| state.head.offset == prev)
            {
                state.damaged = true;
                damage.hits.push(Hit {
                    stream,
                    lost: None,
                    offset: None,
                    activation: activation.map(|activation| format!("after {activation}")),
                });
            }
        }
    }

    /// Number of the last group.
    pub(crate) fn last_group(&self) -> u64 {
        self.groups.number()
    }
}

impl StreamState {
    /// Takes in what a chunk holds of the stream.
    fn take(&mut self, local: &LocalStream, digests: &Digests) {
        if local.cut {
            self.cut(local.base);
        }
        self.head = Link {
            offset: local.offset,
            seq: local.seq,
            prev: 0,
        };
        for lane in &local.lanes {
            let lane = lane.known(digests);
            match self.lanes.iter_mut().find(|known| known.lane == lane.lane) {
                Some(known) => *known = lane,
                None => self.lanes.push(lane),
            }
        }
        for (bit, &offset) in local
            .skips
            .iter()
            .enumerate()
            .filter(|(_, offset)| **offset != 0)
        {
            note_skip(&mut self.skips, 1 << bit, offset);
        }
        self.ended |= local.ended;
        self.events += local.events;
        self.steps += local.steps;
        if self.ended {
            self.values = Vec::new();
            return;
        }
        self.values.extend_from_slice(&local.stored);
        if self.values.len() > VALUES_MAX {
            self.values.sort_unstable_by_key(|stored| {
                (std::cmp::Reverse(stored.used), stored.seq, stored.slot)
            });
            self.values.truncate(VALUES_MAX);
        }
    }
}
