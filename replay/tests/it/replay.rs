//! Real runs are made again; a history that was changed with all its digests is not.

use crate::forge::{Forge, LOG, flip, reader};
use aos_disk::sim::SimDisk;
use aos_engine::clock::Clock;
use aos_engine::engine::{Begun, Engine, OnConflict, Request};
use aos_engine::machine::Answer;
use aos_engine::run::Turn;
use aos_engine::seed::RootSeed;
use aos_engine::skill::Skills;
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_format::digest::{Digest, LogId, RunId};
use aos_format::event::{self, FIELDS_AT, TAG_LEN, ValueRef};
use aos_format::frame::Kind;
use aos_format::offset::{Offset, Stride};
use aos_format::record::{Draft, DraftValue, Stored, StreamId, Volatile};
use aos_format::wire::put_varint;
use aos_replay::{Determinism, Finding, FindingKind, Options, Report, Verdict, code, replay};
use aos_store::{Log, StoredRecord};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const DICE: &str = r#"
document: {dsl: '1.0.0', namespace: test, name: dice, version: '1.0.0'}
do:
- first: {set: {n: '${ .n + 1 }'}}
- pause: {wait: {seconds: 1}}
- roll: {call: compute, with: {op: draw, min: 1, max: 1000000}}
- last: {set: {rolled: '${ . }'}}
"#;

pub fn log_options() -> aos_store::Options {
    aos_store::Options {
        create: true,
        stride: Stride::from_log2(16).unwrap(),
        ..aos_store::Options::new(LogId([7; 16]))
    }
}

/// A log of `count` runs, each with a checkpoint in the middle.
pub fn dice(count: usize) -> Arc<SimDisk> {
    dice_with(count, &log_options())
}

/// The same, opened with `options`.
pub fn dice_with(count: usize, options: &aos_store::Options) -> Arc<SimDisk> {
    let disk = Arc::new(SimDisk::new());
    let (log, _) = Log::open(disk.clone(), Path::new(LOG), options).unwrap();
    let log = Arc::new(log);
    let clock = Clock {
        fixed_ns: Some(0),
        is_virtual: true,
    };
    let engine = Engine::new(log.clone(), Arc::new(Skills::builtin()), clock).unwrap();
    let definition = Arc::new(Definition::load(DICE.as_bytes()).unwrap());
    for number in 0..count {
        let request = Request {
            definition: definition.clone(),
            key: Some(number.to_string()),
            input: Value::from_json(format!("{{\"n\":{number}}}").as_bytes()).unwrap(),
            root: RootSeed::from_number(7),
            on_conflict: OnConflict::Refuse,
            budget: None,
        };
        let Begun::Run(mut run) = engine.start(&request).unwrap() else {
            panic!("a new key")
        };
        let Turn::Waits(_) = run.turn().unwrap() else {
            panic!("the workflow waits")
        };
        assert!(run.checkpoint().unwrap());
        run.answer(Answer::Fired);
        engine.drive(&mut run).unwrap();
    }
    log.flush().unwrap();
    drop(engine);
    if let Ok(log) = Arc::try_unwrap(log) {
        log.close().unwrap();
    }
    disk
}

/// Replays at several worker counts, whose reports must be the same bytes.
pub fn replayed(disk: &Arc<SimDisk>) -> Report {
    let reader = reader(disk);
    let report = |workers| {
        replay(
            &reader,
            &Options {
                workers,
                ..Options::default()
            },
        )
        .unwrap()
    };
    let one = report(1);
    for workers in [2, 8] {
        let many = Report {
            workers: 1,
            ..report(workers)
        };
        assert_eq!(many.json(0.0), one.json(0.0), "{workers} workers");
        assert_eq!(many.rows, one.rows);
    }
    one
}

pub const LANES: &str = r#"
document: {dsl: '1.0.0', namespace: test, name: lanes, version: '1.0.0'}
do:
- both:
    fork:
      branches:
      - left: {do: [{roll: {call: compute, with: {op: draw, min: 1, max: 1000000}}}, {nap: {wait: PT2S}}, {a: {set: {l: 1}}}]}
      - right: {do: [{nap: {wait: PT1S}}, {b: {set: {at: '${ now }'}}}]}
- t:
    try: [{bad: {raise: {error: {type: 'https://example.com/e', status: 503}}}}]
    catch: {retry: {delay: PT1S, limit: {attempt: {count: 2}}}, do: [{h: {set: '${ $error }'}}]}
- race: {fork: {compete: true, branches: [{slow: {wait: PT9S}}, {quick: {wait: PT1S}}]}}
- late: {try: [{w: {timeout: {after: PT1S}, wait: PT9S}}], catch: {}}
"#;

#[test]
fn lanes_are_verified_and_made_again_with_their_checkpoints() {
    let disk = Arc::new(SimDisk::new());
    let (log, _) = Log::open(disk.clone(), Path::new(LOG), &log_options()).unwrap();
    let clock = Clock {
        fixed_ns: Some(0),
        is_virtual: true,
    };
    let log = Arc::new(log);
    let engine = Engine::new(log.clone(), Arc::new(Skills::builtin()), clock).unwrap();
    let engine = engine.checkpoint_every(1);
    let request = Request {
        definition: Arc::new(Definition::load(LANES.as_bytes()).unwrap()),
        key: Some("k".into()),
        input: Value::null(),
        root: RootSeed::from_number(7),
        on_conflict: OnConflict::Refuse,
        budget: None,
    };
    let Begun::Run(mut run) = engine.start(&request).unwrap() else {
        panic!("a new key")
    };
    let turn = engine.drive(&mut run).unwrap();
    assert!(matches!(turn, Turn::Ended(_)), "{turn:?}");
    assert!(!log.checkpoints(run.id()).unwrap().is_empty());
    log.flush().unwrap();
    drop(engine);
    if let Ok(log) = Arc::try_unwrap(log) {
        log.close().unwrap();
    }
    let report = replayed(&disk);
    assert_eq!(report.verdict, Verdict::Match, "{}", report.json(0.0));
}

/// A record taken apart.
#[derive(Clone)]
struct Part {
    kind: Kind,
    draft: Draft,
    seq: u64,
}

impl Part {
    fn of(record: &StoredRecord) -> Part {
        let view = record.view().unwrap();
        let values = view.values().map(|entry| DraftValue {
            slot: entry.slot,
            len: entry.len,
            salt: entry.salt,
            stored: match view.value_bytes(&entry) {
                Some(bytes) => Stored::Here(bytes.into()),
                None if entry.from_seq != 0 => Stored::Back {
                    seq: entry.from_seq,
                    slot: entry.from_slot,
                },
                None => Stored::Absent,
            },
        });
        let draft = Draft {
            stream: view.stream(),
            tenant: view.tenant(),
            lane: view.lane(),
            lane_seq: view.lane_seq(),
            wall_ns: view.wall_ns(),
            det: view.det().to_vec(),
            volatile: view
                .volatile()
                .map(|(tag, bytes)| Volatile {
                    tag,
                    bytes: bytes.to_vec(),
                })
                .collect(),
            values: values.collect(),
        };
        Part {
            kind: record.kind().unwrap(),
            draft,
            seq: record.seq(),
        }
    }

    fn is(&self, kind: Kind, activation: &str) -> bool {
        let raw = event::raw_fields(self.kind, &self.draft.det).unwrap();
        self.kind == kind && raw[0] == activation.as_bytes()
    }

    fn set_field(&mut self, name: &str, bytes: &[u8]) {
        let number = event::fields(self.kind)
            .iter()
            .position(|field| field.name == name)
            .unwrap();
        let previous = event::previous(self.kind, &self.draft.det).unwrap();
        let mut raw = event::raw_fields(self.kind, &self.draft.det).unwrap();
        raw[number] = bytes;
        self.draft.det = event::assemble(self.kind, &previous, &raw);
    }

    /// Stores another value in a slot, under the salt that was there.
    fn set_value(&mut self, name: &str, bytes: &[u8]) {
        let slot = event::slot_of(self.kind, name).unwrap();
        let value = self
            .draft
            .values
            .iter_mut()
            .find(|value| value.slot == slot)
            .unwrap();
        (value.len, value.stored) = (bytes.len() as u32, Stored::Here(bytes.into()));
        let named = ValueRef::of(event::VALUE_JSON, &value.salt, bytes);
        self.set_field(name, &slot_bytes(&named));
    }
}

fn slot_bytes(value: &ValueRef) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_varint(&mut bytes, value.len << 2 | u64::from(value.kind));
    bytes.extend_from_slice(&value.digest.0);
    bytes
}

/// Writes the log again with its records changed, and every digest, number, reference, link and CRC made to fit.
fn rewritten(disk: &Arc<SimDisk>, change: impl FnOnce(&mut Vec<Part>)) -> Arc<SimDisk> {
    let reader = reader(disk);
    let records = reader.scan(Offset(0)).unwrap();
    let mut parts: Vec<Part> = records.map(|record| Part::of(&record.unwrap())).collect();
    change(&mut parts);
    let mut forge = Forge::new(Stride::from_log2(16).unwrap());
    let mut heads: BTreeMap<StreamId, (Digest, u64, u64)> = BTreeMap::new();
    let mut numbers: BTreeMap<(StreamId, u64), u64> = BTreeMap::new();
    let mut names: BTreeMap<(StreamId, u64, u8), ValueRef> = BTreeMap::new();
    for mut part in parts {
        let stream = part.draft.stream;
        let (mut head, mut lane_seq, seq) = heads.get(&stream).copied().unwrap_or_default();
        numbers.insert((stream, part.seq), seq + 1);
        for at in 0..part.draft.values.len() {
            let value = part.draft.values[at].clone();
            if let Stored::Back { seq: from, slot } = value.stored {
                let from = numbers[&(stream, from)];
                let named = names[&(stream, from, slot)];
                let field = event::fields(part.kind)[usize::from(value.slot)].name;
                part.set_field(field, &slot_bytes(&named));
                part.draft.values[at].stored = Stored::Back { seq: from, slot };
                part.draft.values[at].len = named.len as u32;
            }
        }
        if part.kind == Kind::Checkpoint {
            let mut lanes = Vec::new();
            for bytes in [
                &0u64.to_le_bytes()[..],
                &lane_seq.to_le_bytes()[..],
                &head.0[..],
            ] {
                put_varint(&mut lanes, bytes.len() as u64);
                lanes.extend_from_slice(bytes);
            }
            part.set_field("lanes", &lanes);
        }
        part.draft.det[TAG_LEN..FIELDS_AT].copy_from_slice(&head.0);
        if part.kind.advances() {
            (head, lane_seq) = (Digest::of(&part.draft.det), lane_seq + 1);
        }
        part.draft.lane_seq = lane_seq;
        for (slot, name) in event::slots(part.kind, &part.draft.det).unwrap() {
            names.insert((stream, seq + 1, slot), name);
        }
        heads.insert(stream, (head, lane_seq, seq + 1));
        forge.record(part.kind, &part.draft);
    }
    forge.finish()
}

fn run(key: &str) -> RunId {
    RunId::derive("test", "dice", key, 0)
}

fn the_finding(report: &Report) -> &Finding {
    let [finding] = report.findings.as_slice() else {
        panic!("{:#?}", report.findings)
    };
    finding
}

#[test]
fn real_runs_match() {
    let report = replayed(&dice(20));
    assert_eq!(report.findings, []);
    assert_eq!(
        (report.verdict, report.runs, report.open, report.mismatches),
        (Verdict::Match, 20, 0, 0)
    );
    assert_eq!(report.steps, 80);
    assert!(
        report
            .rows
            .iter()
            .all(|row| row.determinism == Determinism::Match)
    );
}

#[test]
fn a_rewritten_log_matches_when_nothing_was_changed() {
    let disk = dice(3);
    let report = replayed(&rewritten(&disk, |_| ()));
    assert_eq!(
        (report.verdict, report.findings.as_slice()),
        (Verdict::Match, [].as_slice())
    );
    assert_eq!(report.digest, replayed(&disk).digest);
}

#[test]
fn a_field_changed_with_all_digests_is_a_mismatch_that_names_it() {
    let disk = rewritten(&dice(3), |parts| {
        let at = parts
            .iter()
            .position(|part| part.is(Kind::Step, "/do/2/roll"))
            .unwrap();
        parts[at].set_field("draws", &[9]);
    });
    let report = replayed(&disk);
    assert_eq!((report.verdict, report.mismatches), (Verdict::Mismatch, 1));
    let finding = the_finding(&report);
    assert_eq!(
        (finding.code, finding.kind),
        (code::MISMATCH, FindingKind::Mismatch)
    );
    assert_eq!(finding.run(), Some(run("0")));
    assert_eq!(finding.step().as_deref(), Some("/do/2/roll"));
    assert_eq!(
        (
            finding.field.as_deref(),
            finding.expected.as_str(),
            finding.found.as_str()
        ),
        (Some("draws"), "9", "1")
    );
}

#[test]
fn a_value_changed_with_all_digests_is_a_mismatch_that_shows_both() {
    let disk = rewritten(&dice(3), |parts| {
        let at = parts
            .iter()
            .position(|part| part.is(Kind::Step, "/do/0/first"))
            .unwrap();
        parts[at].set_value("output", br#"{"n":42}"#);
    });
    let report = replayed(&disk);
    assert_eq!((report.verdict, report.mismatches), (Verdict::Mismatch, 1));
    let finding = the_finding(&report);
    assert_eq!(finding.step().as_deref(), Some("/do/0/first"));
    let shown = (
        finding.field.as_deref(),
        finding.expected.as_str(),
        finding.found.as_str(),
    );
    assert_eq!(shown, (Some("output"), r#"{"n":42}"#, r#"{"n":1}"#));
}

#[test]
fn a_record_after_the_end_is_a_mismatch() {
    let disk = rewritten(&dice(2), |parts| {
        let at = parts
            .iter()
            .position(|part| part.kind == Kind::End)
            .unwrap();
        let step = parts
            .iter()
            .find(|part| part.is(Kind::Step, "/do/0/first"))
            .unwrap()
            .clone();
        let stream = parts[at].draft.stream;
        assert_eq!(step.draft.stream, stream);
        parts.insert(at + 1, Part { seq: 1000, ..step });
    });
    let report = replayed(&disk);
    assert_eq!(report.verdict, Verdict::Mismatch);
    let finding = the_finding(&report);
    assert_eq!(
        (finding.code, finding.found.as_str()),
        (code::ORDER, "the run has ended, but its record goes on")
    );
}

#[test]
fn a_record_left_out_is_a_mismatch() {
    let disk = rewritten(&dice(2), |parts| {
        let at = parts
            .iter()
            .position(|part| part.is(Kind::Intent, "/do/1/pause"))
            .unwrap();
        parts.remove(at);
        parts.retain(|part| part.kind != Kind::Checkpoint);
    });
    let report = replayed(&disk);
    let finding = the_finding(&report);
    assert_eq!(
        (report.verdict, finding.code, finding.field.as_deref()),
        (Verdict::Mismatch, code::ORDER, Some("kind"))
    );
    assert_eq!(finding.found, "INTENT of /do/1/pause");
}

#[test]
fn a_checkpoint_of_another_state_is_a_mismatch() {
    let disk = rewritten(&dice(2), |parts| {
        let at = parts
            .iter()
            .position(|part| part.kind == Kind::Checkpoint)
            .unwrap();
        parts[at].set_value("state", b"{}");
    });
    let report = replayed(&disk);
    let finding = the_finding(&report);
    assert_eq!(
        (report.verdict, finding.code, finding.field.as_deref()),
        (Verdict::Mismatch, code::STATE, Some("state"))
    );
}

#[test]
fn a_run_without_its_end_is_open_and_matches() {
    let disk = rewritten(&dice(2), |parts| {
        let at = parts
            .iter()
            .rposition(|part| part.kind == Kind::End)
            .unwrap();
        parts.remove(at);
    });
    let report = replayed(&disk);
    assert_eq!(
        (report.verdict, report.runs, report.open),
        (Verdict::Match, 2, 1)
    );
}

#[test]
fn another_seed_gives_a_mismatch_and_another_run_is_left_alone() {
    let disk = dice(3);
    let reader = reader(&disk);
    let options = Options {
        run: Some(run("1")),
        ..Options::default()
    };
    let one = replay(&reader, &options).unwrap();
    assert_eq!((one.verdict, one.runs), (Verdict::Match, 1));
    let other = replay(
        &reader,
        &Options {
            seed: Some(RootSeed::from_number(8)),
            ..options.clone()
        },
    )
    .unwrap();
    assert_eq!((other.verdict, other.mismatches), (Verdict::Mismatch, 1));
    let same = replay(
        &reader,
        &Options {
            seed: Some(RootSeed::from_number(7)),
            ..options.clone()
        },
    )
    .unwrap();
    assert_eq!(same.verdict, Verdict::Match);
    let absent = replay(
        &reader,
        &Options {
            run: Some(RunId([0; 16])),
            ..options
        },
    )
    .unwrap_err();
    assert_eq!(absent.code(), "AOS-R030");
}

#[test]
fn a_run_whose_skills_are_not_here_is_undecided() {
    let disk = dice(1);
    let options = Options {
        skills: Arc::new(Skills::none()),
        ..Options::default()
    };
    let report = replay(&reader(&disk), &options).unwrap();
    assert_eq!(
        (report.verdict, report.determinism),
        (Verdict::Undecided, Determinism::NotChecked)
    );
    let finding = the_finding(&report);
    assert_eq!(
        (finding.code, finding.kind),
        (code::NOT_REGISTERED, FindingKind::NotChecked)
    );
}

#[test]
fn a_log_without_its_seed_is_undecided() {
    let disk = rewritten(&dice(1), |parts| {
        parts.retain(|part| part.kind != Kind::Seed);
    });
    let report = replayed(&disk);
    assert_eq!(
        (report.verdict, the_finding(&report).code),
        (Verdict::Undecided, code::NO_SEED)
    );
}

#[test]
fn verify_only_says_verified() {
    let disk = dice(1);
    let options = Options {
        verify_only: true,
        ..Options::default()
    };
    let report = replay(&reader(&disk), &options).unwrap();
    assert_eq!(
        (report.verdict, report.determinism),
        (Verdict::Verified, Determinism::NotChecked)
    );
    let json = report.json(1.5);
    for field in [
        "\"schema\":\"aos.replay.v1\"",
        "\"verdict\":\"verified\"",
        "\"integrity\":\"intact\"",
        "\"sealed_through\":0",
        "\"runs\":1",
        "\"open\":0",
        "\"mismatches\":0",
        "\"findings\":[]",
        "\"workers\":1",
        "\"elapsed_s\":1.500000",
    ] {
        assert!(json.contains(field), "{field} in {json}");
    }
}

#[test]
fn a_damaged_run_is_not_made_again_and_the_others_are() {
    let disk = dice(3);
    let damaged = {
        let reader = reader(&disk);
        let mut records = reader.scan(Offset(0)).unwrap().map(Result::unwrap);
        let roll = records
            .find(|record| Part::of(record).is(Kind::Step, "/do/2/roll"))
            .unwrap();
        roll.offset()
    };
    flip(&disk, Stride::from_log2(16).unwrap(), damaged.0 + 200, 1);
    let report = replayed(&disk);
    assert_eq!(
        (report.verdict, report.verdict.exit_code()),
        (Verdict::Corrupt, 5)
    );
    assert_eq!(report.determinism, Determinism::NotChecked);
    let matching = report
        .rows
        .iter()
        .filter(|row| row.determinism == Determinism::Match);
    assert_eq!(matching.count(), 2);
    let codes: Vec<_> = report.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [code::NOT_CHECKED, code::DAMAGED]);
    assert_eq!(report.findings[1].step().as_deref(), Some("/do/2/roll"));
    assert_eq!(report.findings[1].run(), report.findings[0].run());
}
