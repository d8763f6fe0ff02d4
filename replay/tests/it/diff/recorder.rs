//! Makes histories with a machine, changes them at will, and writes them with every CRC, link and digest right.

use crate::forge::{Forge, LOG};
use aos_disk::sim::SimDisk;
use aos_engine::chain::{Chain, Emission};
use aos_engine::fault::Fault;
use aos_engine::machine::{Answer, Given, Machine, Need, StartInfo, Substitute, Waiting};
use aos_engine::seed::{RootSeed, RunSeed, Stream};
use aos_engine::skill::{AtHand, Effect, Policy, Pure, Skill, Skills};
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_format::digest::{Digest, RunId};
use aos_format::event::{self, Event, Seal, VALUE_BYTES, ValueRef};
use aos_format::frame::Kind;
use aos_format::merkle::{Peaks, root};
use aos_format::offset::{Offset, Stride};
use aos_format::record::{Draft, DraftValue, Stored, StreamId, Volatile};
use aos_store::LogReader;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What `work` does.
pub type Work = Arc<dyn Fn(&Value, &mut Stream) -> Result<Value, Fault> + Send + Sync>;

struct Working(Work);

impl Pure for Working {
    fn run(&self, arguments: &Value, random: &mut Stream) -> Result<Value, Fault> {
        (self.0)(arguments, random)
    }
}

struct Asking;

impl Effect for Asking {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }
    fn policy(&self, _: &Value) -> Policy {
        Policy::Hold
    }
    fn perform(&self, _: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
        unreachable!("no experiment touches the outside")
    }
}

/// The skills that come with AOS, `ask`, and `work` in that version.
pub fn skills(version: &str, work: Work) -> Arc<Skills> {
    let mut skills = Skills::builtin();
    skills.add("ask", "1", Skill::Effect(Arc::new(Asking)));
    skills.add("work", version, Skill::Pure(Arc::new(Working(work))));
    Arc::new(skills)
}

/// A change of a checkpoint's state.
pub type Changed = fn(&str) -> String;

/// Everything a recorded run is made from.
#[derive(Clone)]
pub struct Make {
    pub document: String,
    pub skills: Arc<Skills>,
    pub key: String,
    pub root: RootSeed,
    /// In place of the seed that follows from the root.
    pub seed: Option<RunSeed>,
    pub input: String,
    pub stride: Stride,
    pub answers: Vec<Answer>,
    pub clock_ns: i64,
    pub substitutes: BTreeMap<String, Substitute>,
    /// After that many events a checkpoint is taken, its state changed by this, and the run goes on from there.
    pub checkpoint: Option<(usize, Changed)>,
}

/// One record, taken apart. Every value is stored where it is named.
#[derive(Clone, Debug)]
pub struct Part {
    pub kind: Kind,
    pub event: Event,
    pub values: Vec<(u8, [u8; 16], Vec<u8>)>,
    pub volatile: Vec<Volatile>,
}

impl Part {
    fn of(emission: &Emission, stock: &mut BTreeMap<(u64, u8), Vec<u8>>) -> Part {
        let (_, event) = Event::decode(emission.kind, &emission.draft.det).unwrap();
        let mut values = Vec::new();
        for value in &emission.draft.values {
            let bytes = match &value.stored {
                Stored::Here(bytes) => bytes.to_vec(),
                Stored::Back { seq, slot } => stock[&(*seq, *slot)].clone(),
                Stored::Absent => unreachable!("a machine stores what it makes"),
            };
            stock.insert((emission.seq, value.slot), bytes.clone());
            values.push((value.slot, value.salt, bytes));
        }
        Part {
            kind: emission.kind,
            event,
            values,
            volatile: emission.draft.volatile.clone(),
        }
    }

    pub fn activation(&self) -> &str {
        match &self.event {
            Event::Step(step) => &step.activation,
            Event::Intent(intent) => &intent.activation,
            Event::Result(result) => &result.activation,
            Event::Time(time) => &time.activation,
            Event::Decision(decision) => &decision.activation,
            _ => "",
        }
    }

    pub fn is(&self, kind: Kind, step: &str) -> bool {
        self.kind == kind && self.activation().ends_with(step)
    }

    /// Gives values other bytes, and the event the names that follow.
    pub fn respell(&mut self, change: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        let mut names = Vec::new();
        for (slot, salt, bytes) in &mut self.values {
            if let Some(other) = change(bytes) {
                *bytes = other;
                names.push((*slot, ValueRef::of(event::VALUE_JSON, salt, bytes)));
            }
        }
        for (slot, name) in names {
            let field = event::fields(self.kind)[usize::from(slot)].name;
            let place = match (&mut self.event, field) {
                (Event::Step(step), "input") => &mut step.input,
                (Event::Step(step), "output") => &mut step.output,
                (Event::End(end), "output") => &mut end.output,
                (Event::Intent(intent), "request") => &mut intent.request,
                (Event::Result(result), "response") => &mut result.response,
                (Event::Start(start), "input") => &mut start.input,
                (event, field) => panic!("no {field} of {event:?}"),
            };
            *place = Some(name);
        }
    }
}

impl Make {
    fn machine(&self) -> Machine {
        let definition = Arc::new(Definition::load(self.document.as_bytes()).unwrap());
        let run = self.run(&definition);
        let seed = self.seed.clone().unwrap_or_else(|| self.root.run_seed(run));
        let info = StartInfo {
            key: self.key.clone(),
            generation: 0,
            root_seed: self.root.commitment(),
            budget: None,
            pins: Default::default(),
        };
        let input = Value::from_json(self.input.as_bytes()).unwrap();
        let chain = Chain::new(run, seed);
        let mut machine = Machine::new(
            definition,
            self.skills.clone(),
            chain,
            info,
            input,
            self.stride,
        );
        machine.substitute(self.substitutes.clone());
        machine
    }

    fn run(&self, definition: &Definition) -> RunId {
        RunId::derive(&definition.namespace, &definition.name, &self.key, 0)
    }

    /// The history.
    pub fn parts(&self) -> Vec<Part> {
        let mut machine = self.machine();
        let mut stock = BTreeMap::new();
        let mut parts = Vec::new();
        let mut made = Vec::new();
        let mut answers = self.answers.iter().cloned();
        let mut answer = None;
        loop {
            let need = machine.advance(answer.take(), 1, &mut made);
            for emission in made.drain(..) {
                parts.push(Part::of(&emission, &mut stock));
                if let Some((after, change)) = self.checkpoint
                    && parts.len() == after
                {
                    machine = self.checkpointed(machine, change, &mut parts, &mut stock);
                }
            }
            let wait = match need {
                Need::More => continue,
                Need::Waits(waits) => waits[0].clone(),
                Need::Ended(_) => return parts,
            };
            let given = match wait.what {
                Waiting::Clock(_) => Answer::Clock(self.clock_ns),
                Waiting::Timer { .. } => Answer::Fired,
                _ => match answers.next() {
                    Some(next) => next,
                    None => return parts,
                },
            };
            answer = Some(Given::to(&wait, given));
        }
    }

    /// A machine that goes on from a checkpoint of `machine`, its state changed.
    fn checkpointed(
        &self,
        mut machine: Machine,
        change: Changed,
        parts: &mut Vec<Part>,
        stock: &mut BTreeMap<(u64, u8), Vec<u8>>,
    ) -> Machine {
        let state = machine.save().unwrap();
        let state = Value::from_json(change(state.as_str()).as_bytes()).unwrap();
        let chain = machine.chain().clone();
        let salt = [9; 16];
        let event = event::Checkpoint {
            lanes: chain.lanes().to_vec(),
            state: Some(ValueRef::of(event::VALUE_JSON, &salt, state.canonical())),
            steps: machine.steps(),
        };
        parts.push(Part {
            kind: Kind::Checkpoint,
            event: Event::Checkpoint(event),
            values: vec![(1, salt, state.canonical().to_vec())],
            volatile: Vec::new(),
        });
        machine.skip_record();
        let resumed = Chain::resume(
            chain.run(),
            chain.seed().clone(),
            chain.lanes().to_vec(),
            chain.seq() + 1,
            chain.events(),
        );
        let mut load = |seq: u64, slot: u8| {
            let bytes = &stock[&(seq, slot)];
            let part = &parts[seq as usize - 1];
            let (_, salt, _) = part.values.iter().find(|value| value.0 == slot).unwrap();
            let place = aos_engine::chain::Place {
                seq,
                slot,
                salt: *salt,
                name: ValueRef::of(event::VALUE_JSON, salt, bytes),
                kept: true,
            };
            Ok((Value::from_json(bytes).unwrap(), place))
        };
        let mut fresh = self.machine();
        fresh.restore(&state, resumed, &mut load).unwrap();
        fresh
    }

    /// A log of that history.
    pub fn log(&self) -> Written {
        self.write(&self.parts())
    }

    /// A log of these parts, linked anew.
    pub fn write(&self, parts: &[Part]) -> Written {
        self.write_with(parts, 3, |_, _| {})
    }

    /// The same with groups of `group` records; `fault` changes drafts after they were linked.
    pub fn write_with(
        &self,
        parts: &[Part],
        group: usize,
        fault: impl Fn(usize, &mut Draft),
    ) -> Written {
        let mut forge = Forge::new(self.stride);
        self.control(&mut forge);
        let mut written = self.append(&mut forge, parts, group, fault);
        written.disk = forge.finish();
        written
    }

    /// The same with a SEAL over all of it, which `change` was done to.
    pub fn sealed(&self, parts: &[Part], change: impl Fn(&mut Seal)) -> Written {
        let write = || {
            let mut forge = Forge::new(self.stride);
            let control = self.control(&mut forge);
            let written = self.append(&mut forge, parts, 3, |_, _| {});
            forge.commit();
            (forge, control, written)
        };
        let (forge, ..) = write();
        let end = Offset(forge.at());
        let plain = LogReader::open(forge.finish(), Path::new(LOG)).unwrap();
        let leaves = plain.leaves(Offset(0), end).unwrap().leaves;
        let mut tree = Peaks::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        let mut seal = Seal {
            start: 0,
            end: end.0,
            count: leaves.len() as u64,
            root: root(&leaves),
            before: None,
            total: tree.size(),
            peaks: tree.hashes().to_vec(),
        };
        change(&mut seal);
        let (mut forge, mut control, mut written) = write();
        forge.record(Kind::Seal, &control.draft(&Event::Seal(seal), &[]));
        forge.commit();
        written.disk = forge.finish();
        written
    }

    /// Writes the document and the root seed.
    fn control(&self, forge: &mut Forge) -> Head {
        let definition = Definition::load(self.document.as_bytes()).unwrap();
        let mut control = Head::new(StreamId::CONTROL);
        let defined = Event::Definition(event::Definition {
            digest: Digest(definition.digest),
            namespace: definition.namespace.clone(),
            name: definition.name.clone(),
            version: definition.version.clone(),
            media: definition.media.into(),
            source: Some(ValueRef::of(VALUE_BYTES, &[0; 16], &definition.source)),
        });
        let source = vec![(5, [0; 16], definition.source.to_vec())];
        forge.record(Kind::Definition, &control.draft(&defined, &source));
        let salt = self.root.salt();
        let seeded = Event::Seed(event::Seed {
            commitment: self.root.commitment(),
            scheme: "root-v1".into(),
            seed: Some(ValueRef::of(VALUE_BYTES, &salt, &self.root.0)),
        });
        let seed = vec![(2, salt, self.root.0.to_vec())];
        forge.record(Kind::Seed, &control.draft(&seeded, &seed));
        forge.commit();
        control
    }

    /// Writes a run.
    fn append(
        &self,
        forge: &mut Forge,
        parts: &[Part],
        group: usize,
        fault: impl Fn(usize, &mut Draft),
    ) -> Written {
        let definition = Definition::load(self.document.as_bytes()).unwrap();
        let mut head = Head::new(StreamId::run(self.run(&definition)));
        let mut written = Written {
            disk: Arc::new(SimDisk::new()),
            run: self.run(&definition),
            offsets: Vec::new(),
            dets: Vec::new(),
            group_ends: vec![forge.at()],
            stride: self.stride,
        };
        for (number, part) in parts.iter().enumerate() {
            let mut draft = head.draft(&part.event, &part.values);
            draft.volatile = part.volatile.clone();
            fault(number, &mut draft);
            let offset = forge.record(part.kind, &draft);
            if part.kind.advances() {
                written.offsets.push(offset);
                written.dets.push(draft.det.clone());
            }
            if number % group == group - 1 {
                forge.commit();
                written.group_ends.push(forge.at());
            }
        }
        written
    }
}

/// A stream being written.
struct Head {
    stream: StreamId,
    digest: Digest,
    lane_seq: u64,
    seq: u64,
    /// Where values are stored, by their names.
    places: BTreeMap<Digest, (u64, u8)>,
}

impl Head {
    fn new(stream: StreamId) -> Head {
        Head {
            stream,
            digest: Digest::ZERO,
            lane_seq: 0,
            seq: 0,
            places: BTreeMap::new(),
        }
    }

    fn draft(&mut self, event: &Event, values: &[(u8, [u8; 16], Vec<u8>)]) -> Draft {
        let det = event.encode(&self.digest);
        if event.kind().advances() {
            self.digest = Digest::of(&det);
            self.lane_seq += 1;
        }
        self.seq += 1;
        let names = event::slots(event.kind(), &det).unwrap();
        let mut drafted = Vec::new();
        for (slot, salt, bytes) in values {
            let name = names.iter().find(|(named, _)| named == slot).unwrap().1;
            let stored = match self.places.get(&name.digest) {
                Some((seq, slot)) => Stored::Back {
                    seq: *seq,
                    slot: *slot,
                },
                None => Stored::Here(bytes.as_slice().into()),
            };
            if event.kind().advances() {
                self.places.entry(name.digest).or_insert((self.seq, *slot));
            }
            drafted.push(DraftValue {
                slot: *slot,
                len: bytes.len() as u32,
                salt: *salt,
                stored,
            });
        }
        Draft {
            lane_seq: self.lane_seq,
            values: drafted,
            ..Draft::new(self.stream, det)
        }
    }
}

/// A log, and what a test knows of it.
pub struct Written {
    pub disk: Arc<SimDisk>,
    pub run: RunId,
    /// Offsets of the events, in order.
    pub offsets: Vec<u64>,
    /// Their deterministic parts.
    pub dets: Vec<Vec<u8>>,
    pub group_ends: Vec<u64>,
    pub stride: Stride,
}

impl Written {
    pub fn reader(&self) -> LogReader {
        LogReader::open(self.disk.clone(), Path::new(LOG)).unwrap()
    }

    /// Position of the first event that is not the other log's.
    pub fn parts_from(&self, other: &Written) -> Option<usize> {
        let shared = self.dets.len().min(other.dets.len());
        let differs = (0..shared).find(|&at| self.dets[at] != other.dets[at]);
        differs.or((self.dets.len() != other.dets.len()).then_some(shared))
    }
}

/// One log of many runs with the same documents and root seed.
pub fn logs(makes: &[Make]) -> Written {
    let first = &makes[0];
    let mut forge = Forge::new(Stride::from_log2(18).unwrap());
    first.control(&mut forge);
    let mut last = None;
    for make in makes {
        last = Some(make.append(&mut forge, &make.parts(), 3, |_, _| {}));
    }
    let mut written = last.unwrap();
    written.disk = forge.finish();
    written
}
