//! A worker's part, continued: what the records of one chunk say, stream by stream.
//!
//! A stream that began before the chunk is taken up where its first record here says it stands. Everything that rests on
//! such an assumption is written down as an [`Open`] question, which the joiner answers from what came before; everything
//! else is judged here.

use super::fields::{self, Name, Names};
use super::ids::ById;
use super::local::{Lane, Link, LocalLane, LocalStream, Open, Stored, differs, lane_name};
use super::window::{Check, Digests, Number, Pending, What};
use crate::finding::{Finding, FindingKind, code, kind_name, stream_name};
use aos_format::digest::{Digest, RunId};
use aos_format::event::{Event, LaneHead, VALUE_LABEL};
use aos_format::frame::{FrameHeader, Kind};
use aos_format::record::{
    RecordView, StreamId, StreamKind, VOLATILE_GENERATION, VOLATILE_KEY, VOLATILE_ROOT_SEED,
    ValueEntry,
};
use aos_format::sha_wide::{Message, Width};

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
    /// Those of this chunk; behind them others whose memory serves again.
    list: Vec<LocalStream>,
    by_id: ById<StreamId, u32>,
    pub(crate) digests: Digests,
    pub(crate) findings: Vec<Finding>,
    pub(crate) breaks: Vec<Break>,
    pub(crate) started: Vec<Started>,
    pub(crate) definitions: Vec<(Digest, u64)>,
    pub(crate) seeds: Vec<(Digest, u64)>,
    pub(crate) records: u64,
}

/// A record under judgement.
struct Judged<'r, 'a> {
    header: &'r FrameHeader,
    kind: Kind,
    view: &'r RecordView<'a>,
    /// Number of its digest, where it becomes its lane's head.
    digest: Option<Number>,
    previous: &'a [u8; 32],
    activation: Option<&'a str>,
}

impl Judged<'_, '_> {
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
        self.by_id.clear();
        self.digests.clear();
        self.findings.clear();
        self.breaks.clear();
        self.started.clear();
        self.definitions.clear();
        self.seeds.clear();
        self.records = 0;
    }

    /// Takes in a record whose CRC holds; `kind` is none for one that this build may skip. What rests on digests is judged
    /// when they are there: see [`Streams::settle`].
    pub(crate) fn take<'a>(
        &mut self,
        header: &FrameHeader,
        kind: Option<Kind>,
        view: &RecordView<'a>,
        values: &[ValueEntry],
        pending: &mut Pending<'a>,
        width: Width,
    ) {
        self.records += 1;
        let index = self.follow(header, view.stream());
        let Some(kind) = kind else {
            return;
        };
        let mut names = Names::new();
        match fields::read(kind, view.det(), &mut names) {
            Ok(det) => {
                let advances = kind.advances();
                let digest = advances.then(|| pending.hash(view.det().into(), &self.digests));
                let record = Judged {
                    header,
                    kind,
                    view,
                    digest,
                    previous: det.previous,
                    activation: det.activation,
                };
                self.history(index, &record, pending);
                self.values(index, &record, names.all(), values, pending);
                if matches!(kind, Kind::Checkpoint | Kind::Fork | Kind::Join) {
                    // They name heads of lanes.
                    self.settle(pending, width);
                }
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
    }

    /// The streams of which there are records.
    pub(crate) fn all(&self) -> &[LocalStream] {
        &self.list[..self.by_id.len()]
    }

    /// Hashes what is pending, and judges what waited for it.
    pub(crate) fn settle(&mut self, pending: &mut Pending<'_>, width: Width) {
        let (list, findings) = (&self.list, &mut self.findings);
        pending.settle(width, &mut self.digests, |check, found| {
            let (code, field, expected, found) = match check.what {
                What::Previous => (
                    code::HISTORY,
                    "previous".into(),
                    format!("{found}, the history digest before it"),
                    Digest(*check.expected),
                ),
                What::Value(kind, slot) => (
                    code::VALUE,
                    slot_name(kind, slot),
                    Digest(*check.expected).to_string(),
                    *found,
                ),
            };
            let finding = Finding::at(code, check.offset, expected, found.to_string())
                .field(field)
                .stream(list[check.stream as usize].id)
                .activation(check.activation);
            findings.push(finding);
        });
    }

    /// The stream of a record, after following its links.
    fn follow(&mut self, header: &FrameHeader, id: StreamId) -> usize {
        let link = Link {
            offset: header.offset.0,
            seq: header.seq,
            prev: header.prev.0,
        };
        let index = match self.by_id.get(&id) {
            Some(&index) => {
                self.go_on(index as usize, link);
                index as usize
            }
            None => self.begin(id, link),
        };
        let stream = &mut self.list[index];
        stream.follow_skip(header, &mut self.findings);
        stream.begin_values();
        index
    }

    fn begin(&mut self, id: StreamId, link: Link) -> usize {
        let index = self.by_id.len();
        match self.list.get_mut(index) {
            Some(stream) => stream.restart(id, link),
            None => self.list.push(LocalStream::new(id, link)),
        }
        self.by_id.insert(id, index as u32);
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
    fn history<'a>(&mut self, index: usize, record: &Judged<'_, 'a>, pending: &mut Pending<'a>) {
        let (lane, count) = (record.view.lane(), record.view.lane_seq());
        let advances = record.digest.is_some();
        let stream = &mut self.list[index];
        let offset = record.header.offset.0;
        let at = match stream.lanes.iter().position(|known| known.lane == lane) {
            Some(at) => {
                pending.check(Check {
                    digest: stream.lanes[at].head,
                    expected: record.previous,
                    what: What::Previous,
                    offset,
                    stream: index as u32,
                    activation: record.activation,
                });
                at
            }
            None => stream.assume(
                offset,
                Lane {
                    lane,
                    head: Digest(*record.previous),
                    count: count.wrapping_sub(u64::from(advances)),
                },
                &mut self.digests,
            ),
        };
        let known = &mut stream.lanes[at];
        let expected = known.count.wrapping_add(u64::from(advances));
        if count != expected {
            self.findings
                .push(record.fault(code::HISTORY, "lane_seq", expected, count));
        }
        if let Some(head) = record.digest {
            (known.head, known.count) = (head, count);
            stream.events += 1;
            stream.steps += u64::from(record.kind == Kind::Step);
        }
    }

    /// Judges the table of values against the slots of the deterministic part, and the bytes against both.
    fn values<'a>(
        &mut self,
        index: usize,
        record: &Judged<'_, 'a>,
        names: &[Name<'a>],
        entries: &[ValueEntry],
        pending: &mut Pending<'a>,
    ) {
        let (mut entries, mut names) = (entries.iter(), names.iter());
        let (mut entry, mut name) = (entries.next(), names.next());
        loop {
            match (entry, name) {
                (Some(here), Some(named)) if here.slot == named.slot => {
                    self.value(index, record, here, named, pending);
                    (entry, name) = (entries.next(), names.next());
                }
                (Some(extra), next) if next.is_none_or(|name| extra.slot < name.slot) => {
                    self.findings.push(no_slot(record, extra.slot));
                    entry = entries.next();
                }
                (_, Some(missing)) => {
                    self.findings.push(record.fault(
                        code::VALUE_TABLE,
                        slot_name(record.kind, missing.slot),
                        "an entry in the table of values",
                        "none",
                    ));
                    name = names.next();
                }
                (_, None) => return,
            }
        }
    }

    fn value<'a>(
        &mut self,
        index: usize,
        record: &Judged<'_, 'a>,
        entry: &ValueEntry,
        name: &Name<'a>,
        pending: &mut Pending<'a>,
    ) {
        if let Some(bytes) = record.view.salted_bytes(entry) {
            if u64::from(entry.len) != name.len {
                self.findings.push(record.fault(
                    code::VALUE_TABLE,
                    slot_name(record.kind, entry.slot),
                    format!("{} bytes", name.len),
                    format!("{} bytes", entry.len),
                ));
                return;
            }
            let message = Message {
                label: Some(VALUE_LABEL),
                bytes,
            };
            let digest = pending.hash(message, &self.digests);
            pending.check(Check {
                digest,
                expected: name.digest,
                what: What::Value(record.kind, entry.slot),
                offset: record.header.offset.0,
                stream: index as u32,
                activation: record.activation,
            });
        }
        if entry.from_seq == 0 {
            self.list[index]
                .stored
                .push(Stored::new(record.header.seq, entry.slot, name.value()));
        } else {
            self.back_reference(index, record, entry, name);
        }
    }

    fn back_reference(
        &mut self,
        index: usize,
        record: &Judged<'_, '_>,
        entry: &ValueEntry,
        name: &Name<'_>,
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
                name: name.value(),
            };
            stream.open.push((record.header.offset.0, open));
            return;
        }
        let name = name.value();
        let stored = stream.find_stored(seq, from_slot);
        if let Some((expected, found)) = differs(stored.as_deref(), &name, seq, from_slot) {
            self.findings
                .push(record.fault(code::BACK_REFERENCE, field(), expected, found));
        }
        if let Some(stored) = stored {
            stored.used = here;
        }
    }

    /// What single kinds promise.
    fn meaning(&mut self, index: usize, record: &Judged<'_, '_>) {
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

    fn event(&mut self, index: usize, record: &Judged<'_, '_>, event: &Event) {
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
                    let mut heads = stream.lanes.iter().map(|lane| self.digests.get(lane.head));
                    if !heads.any(|head| head == digest) && !stream.cut {
                        stream.open.push((offset, Open::Absorbed(*digest)));
                    }
                }
            }
            _ => {}
        }
    }

    fn checkpoint(&mut self, index: usize, record: &Judged<'_, '_>, heads: &[LaneHead]) {
        let offset = record.header.offset.0;
        for named in heads {
            let named = Lane {
                lane: named.lane,
                head: named.digest,
                count: named.lane_seq,
            };
            let stream = &mut self.list[index];
            let at = stream
                .lanes
                .iter()
                .position(|known| known.lane == named.lane);
            let at = at.unwrap_or_else(|| stream.assume(offset, named, &mut self.digests));
            let known = stream.lanes[at].known(&self.digests);
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

    fn fork(&mut self, index: usize, record: &Judged<'_, '_>, lanes: &[u64]) {
        let forked = record.digest.map(|number| *self.digests.get(number));
        let forked = forked.unwrap_or(Digest::ZERO);
        for (branch, &lane) in lanes.iter().enumerate() {
            let (parent, number) = (
                record.view.lane().to_le_bytes(),
                (branch as u64).to_le_bytes(),
            );
            let id = Digest::labelled("aos.lane-id.v1", &[&parent, record.previous, &number]);
            let id = u64::from_le_bytes(id.0[..8].try_into().expect("eight bytes of thirty-two"));
            if lane != id {
                self.findings
                    .push(record.fault(code::LANES, "lanes", id, lane));
            }
            let head = Digest::labelled("aos.lane.v1", &[&forked.0, &number]);
            self.list[index].lanes.push(LocalLane {
                lane,
                head: self.digests.read(head),
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

fn no_slot(record: &Judged<'_, '_>, slot: u8) -> Finding {
    record.fault(
        code::VALUE_TABLE,
        slot_name(record.kind, slot),
        "no entry for an empty slot",
        format!("an entry for slot {slot}"),
    )
}
