//! What a log must contain: a model that makes records and remembers what became of them.

use crate::dice::Dice;
use aos_format::digest::{Digest, RunId};
use aos_format::event::{
    Checkpoint, Decision, Definition, End, Event, Intent, LaneHead, Mark, Result as Answer, Start,
    Step, VALUE_BYTES, ValueRef,
};
use aos_format::frame::Kind;
use aos_format::record::{
    Draft, DraftValue, Stored, StreamId, StreamKind, VOLATILE_GENERATION, VOLATILE_KEY, Volatile,
};
use aos_store::{Append, Error, Log, StoredRecord};
use std::collections::BTreeMap;
use std::fmt;

/// A record as it was handed to the log, or read from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Rec {
    /// Stream it extends.
    pub stream: StreamId,
    /// Number in the stream.
    pub seq: u64,
    /// Kind.
    pub kind: Kind,
    /// Deterministic part.
    pub det: Vec<u8>,
    /// Values stored in it.
    pub values: Vec<Vec<u8>>,
}

impl fmt::Debug for Rec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id) = (self.stream.kind.name(), self.stream.id[0]);
        write!(f, "{} {} of {kind} {id:02x}", self.kind.name(), self.seq)
    }
}

impl Rec {
    /// What a record read from a log says.
    ///
    /// # Errors
    /// When its bytes, whose CRCs hold, are no record.
    pub fn of(record: &StoredRecord) -> Result<Rec, Error> {
        let view = record.view()?;
        Ok(Rec {
            stream: view.stream(),
            seq: record.seq(),
            kind: record.kind().unwrap_or(Kind::Mark),
            det: view.det().to_vec(),
            values: view
                .values()
                .filter_map(|value| view.value_bytes(&value).map(<[u8]>::to_vec))
                .collect(),
        })
    }
}

/// What is known of an accepted record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Accepted; it may or may not be durable.
    Accepted,
    /// The log said that it is durable.
    Acknowledged,
}

#[derive(Clone, Default, Debug)]
struct Head {
    seq: u64,
    lane_seq: u64,
    digest: Digest,
    open_intent: bool,
    ended: bool,
}

/// Makes records that continue their streams, and remembers them.
#[derive(Clone, Default, Debug)]
pub struct World {
    heads: BTreeMap<StreamId, Head>,
    /// Everything accepted, in order, and what is known of it.
    pub accepted: Vec<(Rec, Fate)>,
    /// Whether some append failed or may have since the last opening: then what follows it may be there without it.
    pub failed: bool,
}

/// The run number `n`.
pub fn run_id(n: u64) -> RunId {
    RunId::derive("sim", "orders", &format!("order-{n}"), 0)
}

impl World {
    /// Records that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        let fates = self.accepted.iter().map(|(_, fate)| fate);
        fates.filter(|fate| **fate == Fate::Acknowledged).count()
    }

    /// Everything accepted is durable.
    pub fn acknowledge_all(&mut self) {
        for (_, fate) in &mut self.accepted {
            *fate = Fate::Acknowledged;
        }
    }

    /// Records of one stream, in order.
    pub fn stream(&self, stream: StreamId) -> impl Iterator<Item = &Rec> {
        let all = self.accepted.iter().map(|(rec, _)| rec);
        all.filter(move |rec| rec.stream == stream)
    }

    /// Streams with records, and the newest record's number and digest in each.
    pub fn heads(&self) -> impl Iterator<Item = (StreamId, u64, Digest)> {
        let heads = self.heads.iter();
        heads.map(|(stream, head)| (*stream, head.seq, head.digest))
    }

    /// Puts the world where an open log is: `found` is what it holds, all of it durable, and the heads are as it says.
    ///
    /// # Errors
    /// When a head cannot be looked up.
    pub fn resume(&mut self, log: &Log, found: Vec<Rec>) -> Result<(), Error> {
        let with_fate = |rec| (rec, Fate::Acknowledged);
        self.accepted = found.into_iter().map(with_fate).collect();
        self.failed = false;
        let mut heads: BTreeMap<StreamId, Head> = BTreeMap::new();
        for (rec, _) in &self.accepted {
            let head = heads.entry(rec.stream).or_default();
            head.open_intent = rec.kind == Kind::Intent;
            head.ended |= rec.kind == Kind::End;
        }
        heads.entry(StreamId::CONTROL).or_default();
        for (stream, head) in &mut heads {
            if let Some(found) = log.head(*stream)? {
                head.seq = found.seq;
                head.lane_seq = found.lane_seq;
                head.digest = found.digest;
            }
        }
        self.heads = heads;
        Ok(())
    }

    fn next(&mut self, stream: StreamId, event: Event, value: Option<(u8, Vec<u8>)>) -> Append {
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
        draft.wall_ns = head.seq.cast_signed();
        if kind == Kind::Start {
            let volatile = |tag, bytes| Volatile { tag, bytes };
            draft.volatile = vec![
                volatile(VOLATILE_KEY, b"order".to_vec()),
                volatile(VOLATILE_GENERATION, head.seq.to_le_bytes().to_vec()),
            ];
        }
        let values = value.iter().map(|(slot, bytes)| DraftValue {
            slot: *slot,
            len: bytes.len() as u32,
            salt: [*slot; 16],
            stored: Stored::Here(bytes.as_slice().into()),
        });
        draft.values = values.collect();
        let seq = head.seq;
        let rec = Rec {
            stream,
            seq,
            kind,
            det,
            values: value.into_iter().map(|(_, bytes)| bytes).collect(),
        };
        self.accepted.push((rec, Fate::Accepted));
        Append { draft, kind, seq }
    }

    /// A record that may follow what there is, of any stream; `room` is the longest value in bytes.
    pub fn any_record(&mut self, dice: &mut Dice, room: u64) -> Append {
        match dice.below(12) {
            0 => {
                let definition = definition(dice.below(4) as u8);
                self.next(StreamId::CONTROL, Event::Definition(definition), None)
            }
            1 => {
                let kind = StreamKind::Resource;
                let id = [dice.below(2) as u8; 16];
                self.next(StreamId { kind, id }, Event::Decision(decision()), None)
            }
            _ => {
                let n = dice.below(3);
                let ended = |n| {
                    let head = self.heads.get(&StreamId::run(run_id(n)));
                    head.is_some_and(|head| head.ended)
                };
                let n = (0..).map(|times| n + 10 * times).find(|n| !ended(*n));
                self.run_record(dice, n.unwrap_or_default(), room)
            }
        }
    }

    fn run_record(&mut self, dice: &mut Dice, n: u64, room: u64) -> Append {
        let stream = StreamId::run(run_id(n));
        let head = self.heads.get(&stream).cloned().unwrap_or_default();
        let activation = format!("/do/{}/step", head.seq);
        let event = match dice.below(8) {
            _ if head.seq == 0 => Event::Start(start(n)),
            _ if head.open_intent => Event::Result(answer("/do/call")),
            0 => Event::Intent(intent("/do/call")),
            1 => Event::Checkpoint(Checkpoint {
                lanes: vec![LaneHead {
                    lane: 0,
                    lane_seq: head.lane_seq,
                    digest: head.digest,
                }],
                state: None,
                steps: head.seq,
            }),
            2 if head.seq > 4 => Event::End(end()),
            3 => Event::Mark(Mark {
                what: "resume".into(),
                activation,
            }),
            _ => {
                let bytes = vec![n as u8 + 1; dice.below(room) as usize];
                let step = step(&activation, &bytes);
                return self.next(stream, Event::Step(step), Some((4, bytes)));
            }
        };
        self.next(stream, event, None)
    }

    /// A step of run `n` with this value.
    pub fn step_record(&mut self, n: u64, value: Vec<u8>) -> Append {
        let stream = StreamId::run(run_id(n));
        let seq = self.heads.get(&stream).map_or(0, |head| head.seq);
        if seq == 0 {
            return self.next(stream, Event::Start(start(n)), None);
        }
        let step = step(&format!("/do/{seq}/step"), &value);
        self.next(stream, Event::Step(step), Some((4, value)))
    }
}

fn start(n: u64) -> Start {
    Start {
        semantics: 1,
        behaviour: Vec::new(),
        namespace: "sim".into(),
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

fn step(activation: &str, output: &[u8]) -> Step {
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

fn intent(activation: &str) -> Intent {
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

fn answer(activation: &str) -> Answer {
    Answer {
        activation: activation.into(),
        attempt: 1,
        outcome: "ok".into(),
        response: None,
        error: None,
        cost: None,
    }
}

fn end() -> End {
    End {
        outcome: "completed".into(),
        output: None,
        error: None,
        steps: 3,
    }
}

fn definition(n: u8) -> Definition {
    Definition {
        digest: Digest([n; 32]),
        namespace: "sim".into(),
        name: "orders".into(),
        version: "1.0.0".into(),
        media: "json".into(),
        source: None,
    }
}

fn decision() -> Decision {
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
