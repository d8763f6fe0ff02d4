//! A small deterministic world: options, records, and what a log must contain.

use aos_disk::Disk;
use aos_disk::sim::SimDisk;
use aos_format::digest::{Digest, LogId, RunId};
use aos_format::event::{
    Checkpoint, Decision, Definition, End, Event, Intent, LaneHead, Mark, Result as Answer, Seed,
    Start, Step, VALUE_BYTES, ValueRef,
};
use aos_format::frame::Kind;
use aos_format::offset::{Offset, Stride};
use aos_format::record::{
    Draft, DraftValue, Stored, StreamId, StreamKind, VOLATILE_GENERATION, VOLATILE_KEY, Volatile,
};
use aos_store::{Append, Error, Log, LogReader, Mode, Opening, Options, StoredRecord, Ticket};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub fn path() -> &'static Path {
    Path::new("orders.aos")
}

/// Small segments, small queue, everything else as usual.
pub fn options() -> Options {
    Options {
        stride: Stride::MIN,
        create: true,
        queue_records_max: 64,
        catalogue_every_records: 20,
        build: "test".into(),
        target: "here".into(),
        ..Options::new(LogId([7; 16]))
    }
}

pub fn threaded() -> Options {
    Options {
        mode: Mode::Threaded,
        ..options()
    }
}

pub fn open(disk: &SimDisk) -> (Log, Opening) {
    try_open(disk).expect("the log opens")
}

pub fn try_open(disk: &SimDisk) -> Result<(Log, Opening), Error> {
    Log::open(Arc::new(disk.clone()), path(), &options())
}

pub fn reader(disk: &SimDisk) -> LogReader {
    LogReader::open(Arc::new(disk.clone()), path()).expect("the log opens for reading")
}

/// splitmix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// A record as it was handed to the log, or read from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Rec {
    pub stream: StreamId,
    pub seq: u64,
    pub kind: Kind,
    pub det: Vec<u8>,
    pub values: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Rec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Rec {
            stream, seq, kind, ..
        } = self;
        write!(f, "{kind:?} {seq} of {:?}{:02x}", stream.kind, stream.id[0])
    }
}

impl Rec {
    pub fn of(record: &StoredRecord) -> Rec {
        let view = record.view().expect("a record of version 1");
        Rec {
            stream: view.stream(),
            seq: record.seq(),
            kind: record.kind().expect("a known kind"),
            det: view.det().to_vec(),
            values: view
                .values()
                .filter_map(|value| view.value_bytes(&value).map(<[u8]>::to_vec))
                .collect(),
        }
    }
}

pub fn run_id(n: u64) -> RunId {
    RunId::derive("default", "orders", &format!("order-{n}"), 0)
}

pub fn run_stream(n: u64) -> StreamId {
    StreamId::run(run_id(n))
}

pub fn resource(n: u8) -> StreamId {
    StreamId {
        kind: StreamKind::Resource,
        id: [n; 16],
    }
}

#[derive(Clone, Default)]
struct Head {
    seq: u64,
    lane_seq: u64,
    digest: Digest,
    open_intent: bool,
    ended: bool,
}

/// Makes records that continue their streams, and remembers them.
#[derive(Clone, Default)]
pub struct World {
    /// Makes no records of the control stream: the log itself appends there, at moments of its own.
    pub without_control: bool,
    heads: BTreeMap<StreamId, Head>,
    /// Everything accepted, in order.
    pub accepted: Vec<Rec>,
    /// Which of them are known to be durable, by position.
    pub acknowledged: BTreeSet<usize>,
}

impl World {
    /// Puts the world where a log is: knows its control stream and takes back what did not survive.
    pub fn resume(&mut self, log: &Log, survivors: usize) {
        self.accepted.truncate(survivors);
        self.acknowledge_all();
        let streams: Vec<StreamId> = self.heads.keys().copied().collect();
        for stream in streams {
            self.learn(log, stream);
        }
        self.learn(log, StreamId::CONTROL);
        let mut intents = BTreeMap::new();
        for rec in &self.accepted {
            let open = rec.kind == Kind::Intent;
            let ended = rec.kind == Kind::End;
            intents.insert(rec.stream, (open, ended));
        }
        for (stream, head) in &mut self.heads {
            let (open, ended) = intents.get(stream).copied().unwrap_or_default();
            (head.open_intent, head.ended) = (open, ended);
        }
    }

    /// The streams it has appended to.
    pub fn streams(&self) -> impl Iterator<Item = StreamId> {
        self.heads.keys().copied()
    }

    /// Everything accepted is durable.
    pub fn acknowledge_all(&mut self) {
        self.acknowledged = (0..self.accepted.len()).collect();
    }

    /// Takes up a stream where the log has it.
    pub fn learn(&mut self, log: &Log, stream: StreamId) {
        let head = log.head(stream).expect("heads can be looked up");
        let entry = self.heads.entry(stream).or_default();
        *entry = head.map_or_else(Head::default, |head| Head {
            seq: head.seq,
            lane_seq: head.lane_seq,
            digest: head.digest,
            ..Head::default()
        });
    }

    /// A draft that continues `stream` with `event`, and its record.
    pub fn next(&mut self, stream: StreamId, event: Event, values: Vec<(u8, Vec<u8>)>) -> Append {
        let kind = event.kind();
        let head = self.heads.entry(stream).or_default();
        let det = event.encode(&head.digest);
        head.seq += 1;
        if kind.advances() {
            head.lane_seq += 1;
            head.digest = Digest::of(&det);
        }
        head.open_intent = kind == Kind::Intent;
        head.ended |= kind == Kind::End;
        let mut draft = Draft::new(stream, det.clone());
        draft.lane_seq = head.lane_seq;
        draft.wall_ns = head.seq as i64;
        if kind == Kind::Start {
            draft.volatile = vec![
                Volatile {
                    tag: VOLATILE_KEY,
                    bytes: b"order".to_vec(),
                },
                Volatile {
                    tag: VOLATILE_GENERATION,
                    bytes: head.seq.to_le_bytes().to_vec(),
                },
            ];
        }
        draft.values = values
            .iter()
            .map(|(slot, bytes)| DraftValue {
                slot: *slot,
                len: bytes.len() as u32,
                salt: [*slot; 16],
                stored: Stored::Here(bytes.as_slice().into()),
            })
            .collect();
        let seq = head.seq;
        self.accepted.push(Rec {
            stream,
            seq,
            kind,
            det,
            values: values.into_iter().map(|(_, bytes)| bytes).collect(),
        });
        Append { draft, kind, seq }
    }

    /// The next record of a run, as a workflow would write them.
    pub fn run_record(&mut self, rng: &mut Rng, n: u64) -> Append {
        let stream = run_stream(n);
        let head = self.heads.get(&stream).cloned().unwrap_or_default();
        let activation = format!("/do/{}/step", head.seq);
        if head.seq == 0 {
            return self.next(stream, Event::Start(start(n)), Vec::new());
        }
        if head.open_intent {
            return self.next(stream, Event::Result(answer("/do/call")), Vec::new());
        }
        match rng.below(8) {
            0 => self.next(stream, Event::Intent(intent("/do/call")), Vec::new()),
            1 => {
                let lanes = vec![LaneHead {
                    lane: 0,
                    lane_seq: head.lane_seq,
                    digest: head.digest,
                }];
                let checkpoint = Checkpoint {
                    lanes,
                    state: None,
                    steps: head.seq,
                };
                self.next(stream, Event::Checkpoint(checkpoint), Vec::new())
            }
            2 if head.seq > 4 => self.next(stream, Event::End(end()), Vec::new()),
            3 => {
                let mark = Mark {
                    what: "resume".into(),
                    activation,
                };
                self.next(stream, Event::Mark(mark), Vec::new())
            }
            _ => {
                let bytes = vec![n as u8; rng.below(300) as usize];
                let step = step(&activation, &bytes);
                self.next(stream, Event::Step(step), vec![(4, bytes)])
            }
        }
    }

    /// Any record of any stream.
    pub fn any_record(&mut self, rng: &mut Rng, runs: u64) -> Append {
        let choice = rng.below(12);
        match choice {
            0 | 1 if self.without_control => {
                let stream = resource(rng.below(2) as u8);
                self.next(stream, Event::Decision(decision()), Vec::new())
            }
            0 => {
                let n = rng.below(4) as u8;
                let definition = definition(n);
                self.next(StreamId::CONTROL, Event::Definition(definition), Vec::new())
            }
            1 => {
                let seed = Seed {
                    commitment: Digest([rng.below(3) as u8; 32]),
                    scheme: "random".into(),
                    seed: None,
                };
                self.next(StreamId::CONTROL, Event::Seed(seed), Vec::new())
            }
            2 => {
                let stream = resource(rng.below(2) as u8);
                self.next(stream, Event::Decision(decision()), Vec::new())
            }
            _ => {
                let n = rng.below(runs);
                let ended = self.heads.get(&run_stream(n)).is_some_and(|h| h.ended);
                // An ended run gets a generation of its own.
                self.run_record(rng, if ended { n + 1000 } else { n })
            }
        }
    }
}

pub fn start(n: u64) -> Start {
    Start {
        semantics: 1,
        behaviour: Vec::new(),
        namespace: "default".into(),
        name: "orders".into(),
        version: "1.0.0".into(),
        definition: Digest([n as u8; 32]),
        skills: Vec::new(),
        config: None,
        policy: None,
        input: None,
        seed_commitment: Digest([2; 32]),
        rng: "chacha20".into(),
        parent: None,
        continued_from: None,
        steps_max: 0,
        deadline_ms: None,
    }
}

pub fn step(activation: &str, output: &[u8]) -> Step {
    Step {
        activation: activation.into(),
        attempt: 1,
        outcome: "completed".into(),
        input: None,
        output: Some(ValueRef::of(VALUE_BYTES, &[4; 16], output)),
        context: None,
        error: None,
        next: String::new(),
        draws: 0,
        words: 0,
        reads: Vec::new(),
    }
}

pub fn intent(activation: &str) -> Intent {
    Intent {
        activation: activation.into(),
        attempt: 1,
        effect: "http_call".into(),
        request: None,
        idempotency: None,
        policy: "hold".into(),
        duration_ms: None,
        authorised: Vec::new(),
    }
}

pub fn answer(activation: &str) -> Answer {
    Answer {
        activation: activation.into(),
        attempt: 1,
        outcome: "ok".into(),
        response: None,
        error: None,
        cost: None,
    }
}

pub fn end() -> End {
    End {
        outcome: "completed".into(),
        output: None,
        error: None,
        steps: 3,
    }
}

pub fn definition(n: u8) -> Definition {
    Definition {
        digest: Digest([n; 32]),
        namespace: "default".into(),
        name: "orders".into(),
        version: "1.0.0".into(),
        media: "json".into(),
        source: None,
    }
}

pub fn decision() -> Decision {
    Decision {
        activation: String::new(),
        subject: "limiter".into(),
        rule: "bucket".into(),
        rule_version: 1,
        inputs: None,
        verdict: "allow".into(),
        value: None,
        actor: String::new(),
        key_id: String::new(),
    }
}

/// Appends `count` records, some alone, some in batches, and makes them durable now and then. Stops at the first error.
pub fn work(log: &Log, world: &mut World, rng: &mut Rng, count: usize) -> Result<(), Error> {
    let mut tickets: Vec<(Ticket, Range<usize>)> = Vec::new();
    let mut made = 0;
    while made < count {
        let before = world.clone();
        let size = if rng.below(4) == 0 { 3 } else { 1 };
        let mut items: Vec<Append> = (0..size).map(|_| world.any_record(rng, 4)).collect();
        let ticket = if items.len() == 1 {
            let Append { draft, kind, seq } = items.remove(0);
            log.append(draft, kind, seq)
        } else {
            log.append_batch(items)
        };
        let ticket = match ticket {
            Ok(ticket) => ticket,
            Err(error) => {
                *world = before;
                return Err(error);
            }
        };
        made += size;
        tickets.push((ticket, before.accepted.len()..world.accepted.len()));
        match rng.below(6) {
            0 => {
                log.flush()?;
                world.acknowledge_all();
                tickets.clear();
            }
            1 | 2 => {
                let index = rng.below(tickets.len() as u64) as usize;
                let (ticket, records) = tickets.swap_remove(index);
                log.wait(ticket)?;
                world.acknowledged.extend(records);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Every record of the log but the openings, in order; panics on a finding.
pub fn contents(reader: &LogReader) -> Vec<Rec> {
    reader
        .scan(Offset(0))
        .expect("the log can be scanned")
        .map(|record| Rec::of(&record.expect("the log is whole")))
        .filter(|rec| rec.kind != Kind::Open)
        .collect()
}

/// All that must hold of a log that was opened after a crash, given what the world knows: it holds the beginning of what was
/// accepted, everything acknowledged included. Returns how many records survived.
pub fn verify(disk: &SimDisk, log: &Log, world: &World, what: &str) -> usize {
    let found = contents(&reader(disk));
    assert!(found.len() <= world.accepted.len(), "{what}: invented");
    assert_eq!(
        found,
        world.accepted[..found.len()],
        "{what}: other records"
    );
    verify_some(disk, log, world, what)
}

/// The same for a log where single appends may have failed: every record was accepted, in order, and everything
/// acknowledged is there.
pub fn verify_some(disk: &SimDisk, log: &Log, world: &World, what: &str) -> usize {
    let reader = reader(disk);
    let found = contents(&reader);
    let survivors = found.len();
    let mut rest = found.iter().peekable();
    for (index, rec) in world.accepted.iter().enumerate() {
        if rest.next_if_eq(&rec).is_none() {
            let lost = world.acknowledged.contains(&index);
            assert!(!lost, "{what}: {rec:?} was acknowledged and is not there");
        }
    }
    assert_eq!(rest.next(), None, "{what}: invented or out of order");
    let index = reader.index().expect("the log can be indexed");
    assert_eq!(index.finding, None, "{what}");
    assert_eq!(
        log.rows().expect("the catalogue answers"),
        index.rows,
        "{what}: the catalogue differs from the fold"
    );
    for (stream, head) in &index.rows.streams {
        assert_eq!(log.head(*stream).expect("a head"), Some(*head), "{what}");
    }
    for row in index.rows.runs.values() {
        let stream = StreamId::run(row.run);
        let records = log.stream(stream, 1).expect("a stream can be read");
        let expected: Vec<&Rec> = found.iter().filter(|rec| rec.stream == stream).collect();
        let read: Vec<Rec> = records.iter().map(Rec::of).collect();
        assert_eq!(read.iter().collect::<Vec<_>>(), expected, "{what}");
    }
    assert_eq!(disk.broken_promises(), Vec::<String>::new(), "{what}");
    survivors
}

pub fn as_disk(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}
