//! A worker's part, continued: what the records of one chunk say, stream by stream.
//!
//! A stream that began before the chunk is taken up where its first record here says it stands. Everything that rests on
//! such an assumption is written down as an [`Open`] question, which the joiner answers from what came before; everything
//! else is judged here.

use super::fields;
use super::local::{Lane, Link, LocalStream, Open, Stored, differs, lane_name};
use super::window::Hashed;
use crate::finding::{Finding, FindingKind, code, kind_name, stream_name};
use aos_format::digest::{Digest, RunId};
use aos_format::event::{Event, LaneHead, ValueRef};
use aos_format::frame::{FrameHeader, Kind};
use aos_format::record::{
    REDACTED, RecordView, StreamId, StreamKind, VOLATILE_GENERATION, VOLATILE_KEY,
    VOLATILE_ROOT_SEED, ValueEntry,
};
use std::collections::BTreeMap;

/// A START, as far as a report needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    pub(crate) run: RunId,
    pub(crate) offset: u64,
    pub(crate) definition: Digest,
    pub(crate) root_seed: Option<Digest>,
}

/// A link that does not lead to the record before it in the chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Break {
    pub(crate) stream: StreamId,
    pub(crate) link: Link,
    /// The record before it.
    pub(crate) had: Link,
}

/// All streams within a chunk.
#[derive(Default)]
pub(crate) struct Streams {
    pub(crate) list: Vec<LocalStream>,
    by_id: BTreeMap<StreamId, usize>,
    /// Streams seen last, by the last byte of their id: a guess that is checked before it is taken.
    recent: Recent,
    spare: Vec<LocalStream>,
    slots: Vec<(u8, ValueRef)>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) breaks: Vec<Break>,
    pub(crate) started: Vec<Started>,
    pub(crate) definitions: Vec<(Digest, u64)>,
    pub(crate) seeds: Vec<(Digest, u64)>,
    pub(crate) records: u64,
}

/// Positions in a list of streams.
struct Recent([u32; 256]);

impl Default for Recent {
    fn default() -> Recent {
        Recent([0; 256])
    }
}

/// A record under judgement.
struct Judged<'a> {
    header: &'a FrameHeader,
    kind: Kind,
    view: RecordView<'a>,
    digest: Digest,
    previous: Digest,
    activation: Option<&'a str>,
}

impl Judged<'_> {
    fn fault(
        &self,
        code: &'static str,
        field: impl Into<String>,
        expected: impl ToString,
        found: impl ToString,
    ) -> Finding {
        Finding::at(
            code,
            self.header.offset.0,
            expected.to_string(),
            found.to_string(),
        )
        .field(field)
        .stream(self.view.stream())
        .activation(self.activation)
    }
}

impl Streams {
    pub(crate) fn clear(&mut self) {
        self.spare.append(&mut self.list);
        self.by_id.clear();
        self.findings.clear();
        self.breaks.clear();
        self.started.clear();
        self.definitions.clear();
        self.seeds.clear();
        self.records = 0;
    }

    /// Takes in a record whose CRC holds; `kind` is none for one that this build may skip.
    pub(crate) fn take(
        &mut self,
        header: &FrameHeader,
        kind: Option<Kind>,
        view: RecordView<'_>,
        hashed: Hashed<'_>,
    ) {
        self.records += 1;
        let index = self.follow(header, view.stream());
        let Some(kind) = kind else {
            return;
        };
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        let read = fields::read(kind, view.det(), &mut slots);
        match read {
            Ok(det) => {
                let record = Judged {
                    header,
                    kind,
                    view,
                    digest: hashed.digest,
                    previous: det.previous,
                    activation: det.activation,
                };
                self.history(index, &record);
                self.values(index, &record, &slots, hashed);
                self.meaning(index, &record);
            }
            Err(error) => {
                let finding = Finding::at(
                    code::UNREADABLE,
                    header.offset.0,
                    format!("the fields of a {}", kind.name()),
                    error,
                );
                self.findings
                    .push(finding.field("canonical").stream(view.stream()));
                let stream = &mut self.list[index];
                stream.cut_at(header.seq);
                stream.begin_values();
            }
        }
        self.slots = slots;
    }

    /// The stream of a record, after following its links.
    fn follow(&mut self, header: &FrameHeader, id: StreamId) -> usize {
        let link = Link {
            offset: header.offset.0,
            seq: header.seq,
            prev: header.prev.0,
        };
        let guess = usize::from(id.id[15]);
        let recent = self.recent.0[guess] as usize;
        let known = match self.list.get(recent) {
            Some(stream) if stream.id == id => Some(recent),
            _ => self.by_id.get(&id).copied(),
        };
        let index = match known {
            Some(index) => {
                self.go_on(index, link);
                index
            }
            None => self.begin(id, link),
        };
        self.recent.0[guess] = index as u32;
        let stream = &mut self.list[index];
        stream.follow_skip(header, &mut self.findings);
        stream.begin_values();
        index
    }

    fn begin(&mut self, id: StreamId, link: Link) -> usize {
        let mut stream = self
            .spare
            .pop()
            .unwrap_or_else(|| LocalStream::new(id, link));
        stream.restart(id, link);
        let index = self.list.len();
        self.list.push(stream);
        self.by_id.insert(id, index);
        index
    }

    fn go_on(&mut self, index: usize, link: Link) {
        let stream = &mut self.list[index];
        let next = link.seq == stream.seq.wrapping_add(1);
        if !next || link.prev != stream.offset {
            let had = Link {
                offset: stream.offset,
                seq: stream.seq,
                prev: 0,
            };
            self.breaks.push(Break {
                stream: stream.id,
                link,
                had,
            });
        }
        if !next {
            stream.cut_at(link.seq);
            stream.skips.clear();
        }
        (stream.offset, stream.seq) = (link.offset, link.seq);
    }

    /// Judges the record's place in its lane.
    fn history(&mut self, index: usize, record: &Judged<'_>) {
        let (lane, count) = (record.view.lane(), record.view.lane_seq());
        let advances = record.kind.advances();
        let stream = &mut self.list[index];
        let offset = record.header.offset.0;
        let first = Lane {
            lane,
            head: record.previous,
            count: count.wrapping_sub(u64::from(advances)),
        };
        let at = stream.lane(offset, first);
        let known = stream.lanes[at];
        if known.head != record.previous {
            self.findings.push(record.fault(
                code::HISTORY,
                "previous",
                format!("{}, the history digest before it", known.head),
                record.previous,
            ));
        }
        let expected = known.count.wrapping_add(u64::from(advances));
        if count != expected {
            self.findings
                .push(record.fault(code::HISTORY, "lane_seq", expected, count));
        }
        if advances {
            stream.lanes[at] = Lane {
                lane,
                head: record.digest,
                count,
            };
            stream.events += 1;
            stream.steps += u64::from(record.kind == Kind::Step);
        }
    }

    /// Judges the table of values against the slots of the deterministic part, and the bytes against both.
    fn values(
        &mut self,
        index: usize,
        record: &Judged<'_>,
        slots: &[(u8, ValueRef)],
        hashed: Hashed<'_>,
    ) {
        let (mut entries, mut digests) = (hashed.values.iter(), hashed.digests.iter());
        let mut slots = slots.iter();
        let (mut entry, mut slot) = (entries.next(), slots.next());
        loop {
            match (entry, slot) {
                (Some(here), Some((number, name))) if here.slot == *number => {
                    let digest = is_stored(here).then(|| digests.next()).flatten();
                    self.value(index, record, here, name, digest);
                    (entry, slot) = (entries.next(), slots.next());
                }
                (Some(extra), next) if next.is_none_or(|(number, _)| extra.slot < *number) => {
                    self.findings.push(no_slot(record, extra.slot));
                    if is_stored(extra) {
                        digests.next();
                    }
                    entry = entries.next();
                }
                (_, Some((number, _))) => {
                    self.findings.push(record.fault(
                        code::VALUE_TABLE,
                        slot_name(record.kind, *number),
                        "an entry in the table of values",
                        "none",
                    ));
                    slot = slots.next();
                }
                (_, None) => return,
            }
        }
    }

    /// `digest` is that of the value's bytes, where they are stored here.
    fn value(
        &mut self,
        index: usize,
        record: &Judged<'_>,
        entry: &ValueEntry,
        name: &ValueRef,
        digest: Option<&Digest>,
    ) {
        let field = || slot_name(record.kind, entry.slot);
        if let Some(digest) = digest {
            if u64::from(entry.len) != name.len {
                self.findings.push(record.fault(
                    code::VALUE_TABLE,
                    field(),
                    format!("{} bytes", name.len),
                    format!("{} bytes", entry.len),
                ));
                return;
            }
            if *digest != name.digest {
                self.findings
                    .push(record.fault(code::VALUE, field(), name.digest, digest));
            }
        }
        if entry.from_seq == 0 {
            self.list[index]
                .stored
                .push(Stored::new(record.header.seq, entry.slot, *name));
        } else {
            self.back_reference(index, record, entry, name);
        }
    }

    fn back_reference(
        &mut self,
        index: usize,
        record: &Judged<'_>,
        entry: &ValueEntry,
        name: &ValueRef,
    ) {
        let field = || slot_name(record.kind, entry.slot);
        let (seq, from_slot) = (entry.from_seq, entry.from_slot);
        let here = record.header.seq;
        if seq > here || (seq == here && from_slot >= entry.slot) {
            self.findings.push(record.fault(
                code::BACK_REFERENCE,
                field(),
                "a reference to an earlier value",
                format!("slot {from_slot} of record {seq}, from record {here}"),
            ));
            return;
        }
        let stream = &mut self.list[index];
        if seq < stream.base {
            let open = Open::Back {
                slot: entry.slot,
                seq,
                from_slot,
                name: *name,
            };
            stream.open.push((record.header.offset.0, open));
            return;
        }
        let stored = stream.find_stored(seq, from_slot).map(|stored| {
            stored.used = here;
            *stored
        });
        if let Some((expected, found)) = differs(stored.as_ref(), name, seq, from_slot) {
            self.findings
                .push(record.fault(code::BACK_REFERENCE, field(), expected, found));
        }
    }

    /// What single kinds promise.
    fn meaning(&mut self, index: usize, record: &Judged<'_>) {
        let id = record.view.stream();
        let fits = match record.kind {
            Kind::Open | Kind::Definition | Kind::Seed | Kind::Seal => id == StreamId::CONTROL,
            Kind::Decision => true,
            _ => id.kind == StreamKind::Run,
        };
        if !fits {
            self.findings.push(record.fault(
                code::STREAM,
                "stream",
                format!("a stream for {}", kind_name(record.header.kind)),
                stream_name(&id),
            ));
        }
        match record.kind {
            Kind::Step
            | Kind::Intent
            | Kind::Result
            | Kind::Signal
            | Kind::Time
            | Kind::Foreign
            | Kind::Open
            | Kind::Commit
            | Kind::SegmentEnd
            | Kind::Seal => {}
            Kind::Decision => {
                if let Ok((_, Event::Decision(decision))) =
                    Event::decode(record.kind, record.view.det())
                    && id == StreamId::CONTROL
                    && (decision.rule.as_str(), decision.verdict.as_str())
                        == ("aos.salvage", "gaps")
                {
                    let expected = "all records that were ever in the log";
                    let found = "a decision that it was salvaged and some are lost, or may be";
                    let finding = record.fault(code::SALVAGED, "verdict", expected, found);
                    self.findings.push(finding.kind(FindingKind::Gap));
                }
            }
            Kind::Mark => {
                if let Ok((_, Event::Mark(mark))) = Event::decode(record.kind, record.view.det())
                    && mark.what == "gap"
                {
                    let expected = "the run's records, all of them";
                    let found = "a mark that the log was salvaged and records of the run are lost, or may be";
                    let finding = record.fault(code::SALVAGED, "what", expected, found);
                    self.findings.push(finding.kind(FindingKind::Gap));
                }
            }
            Kind::End => self.list[index].ended |= record.view.lane() == 0,
            Kind::Start
            | Kind::Definition
            | Kind::Seed
            | Kind::Checkpoint
            | Kind::Fork
            | Kind::Join => {
                if let Ok((_, event)) = Event::decode(record.kind, record.view.det()) {
                    self.event(index, record, &event);
                }
            }
        }
    }

    fn event(&mut self, index: usize, record: &Judged<'_>, event: &Event) {
        let offset = record.header.offset.0;
        match event {
            Event::Start(start) => {
                let tag = |tag| record.view.volatile_tag(tag);
                let generation = tag(VOLATILE_GENERATION)
                    .and_then(|bytes| bytes.try_into().ok())
                    .map_or(0, u64::from_le_bytes);
                if let Some(Ok(key)) = tag(VOLATILE_KEY).map(std::str::from_utf8) {
                    let run = RunId::derive(&start.namespace, &start.name, key, generation);
                    if record.view.stream() != StreamId::run(run) {
                        self.findings.push(record.fault(
                            code::IDENTITY,
                            "run",
                            run,
                            stream_name(&record.view.stream()),
                        ));
                    }
                }
                if let Some(run) = record.view.stream().as_run() {
                    let root_seed = tag(VOLATILE_ROOT_SEED)
                        .and_then(|bytes| bytes.try_into().ok())
                        .map(Digest);
                    self.started.push(Started {
                        run,
                        offset,
                        definition: start.definition,
                        root_seed,
                    });
                }
            }
            Event::Definition(definition) => self.definitions.push((definition.digest, offset)),
            Event::Seed(seed) => {
                self.seeds.push((seed.commitment, offset));
                let entry = record.view.values().next();
                if let Some(bytes) = entry.and_then(|entry| record.view.value_bytes(&entry)) {
                    let commitment = Digest::labelled("aos.seed-commitment.v1", &[bytes]);
                    if commitment != seed.commitment {
                        self.findings.push(record.fault(
                            code::IDENTITY,
                            "commitment",
                            seed.commitment,
                            commitment,
                        ));
                    }
                }
            }
            Event::Checkpoint(checkpoint) => self.checkpoint(index, record, &checkpoint.lanes),
            Event::Fork(fork) => self.fork(index, record, &fork.lanes),
            Event::Join(join) => {
                let stream = &mut self.list[index];
                for digest in &join.digests {
                    if !stream.lanes.iter().any(|lane| lane.head == *digest) && !stream.cut {
                        stream.open.push((offset, Open::Absorbed(*digest)));
                    }
                }
            }
            _ => {}
        }
    }

    fn checkpoint(&mut self, index: usize, record: &Judged<'_>, heads: &[LaneHead]) {
        let offset = record.header.offset.0;
        for named in heads {
            let named = Lane {
                lane: named.lane,
                head: named.digest,
                count: named.lane_seq,
            };
            let stream = &mut self.list[index];
            let at = stream.lane(offset, named);
            let known = stream.lanes[at];
            if known != named {
                self.findings.push(record.fault(
                    code::LANES,
                    "lanes",
                    lane_name(&known),
                    lane_name(&named),
                ));
            }
        }
        if !heads.iter().any(|head| head.lane == record.view.lane()) {
            self.findings.push(record.fault(
                code::LANES,
                "lanes",
                format!("lane {}", record.view.lane()),
                "no such lane",
            ));
        }
    }

    fn fork(&mut self, index: usize, record: &Judged<'_>, lanes: &[u64]) {
        let forked = record.digest;
        for (branch, &lane) in lanes.iter().enumerate() {
            let (parent, number) = (
                record.view.lane().to_le_bytes(),
                (branch as u64).to_le_bytes(),
            );
            let before = record.previous;
            let id = Digest::labelled("aos.lane-id.v1", &[&parent, &before.0, &number]);
            let id = u64::from_le_bytes(id.0[..8].try_into().expect("eight bytes of thirty-two"));
            if lane != id {
                self.findings
                    .push(record.fault(code::LANES, "lanes", id, lane));
            }
            let head = Digest::labelled("aos.lane.v1", &[&forked.0, &number]);
            self.list[index].lanes.push(Lane {
                lane,
                head,
                count: 0,
            });
        }
    }
}

pub(crate) fn slot_name(kind: Kind, slot: u8) -> String {
    match aos_format::event::fields(kind).get(usize::from(slot)) {
        Some(field) => field.name.into(),
        None => format!("slot {slot}"),
    }
}

/// Whether the bytes of a value stand in the record itself.
fn is_stored(entry: &ValueEntry) -> bool {
    entry.from_seq == 0 && entry.start < REDACTED
}

fn no_slot(record: &Judged<'_>, slot: u8) -> Finding {
    record.fault(
        code::VALUE_TABLE,
        slot_name(record.kind, slot),
        "no entry for an empty slot",
        format!("an entry for slot {slot}"),
    )
}
