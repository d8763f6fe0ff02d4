//! What single operations cost, by criterion: `cargo bench -p aos-bench`.
//!
//! Names are `area::operation/key=value`. Inputs are those of the real job where one is said to be `loan`, else made up.
//! Nothing here is durable; what waits for a disk is measured by `aos-bench`.
#![forbid(unsafe_code)]

use aos_bench::contender::{Chaining, EVENT_LEN, Stream};
use aos_bench::workload::skills;
use aos_disk::sim::SimDisk;
use aos_engine::chain::{Chain, Recording};
use aos_engine::clock::Clock;
use aos_engine::engine::{Begun, Engine, OnConflict, Request};
use aos_engine::expr::{EVAL_STACK_BYTES, Expr};
use aos_engine::machine::{Machine, Need, StartInfo};
use aos_engine::seed::RootSeed;
use aos_engine::value::{Val, Value};
use aos_engine::workflow::Definition;
use aos_format::canonical;
use aos_format::digest::{Digest, LogId, RunId};
use aos_format::merkle;
use aos_format::offset::{Offset, Stride};
use aos_format::record::{Draft, RecordView};
use aos_format::sha_wide::{Message, Width, digest_messages};
use aos_format::wire::crc32;
use aos_replay::diff::{Authenticate, Input, Options as DiffOptions, diff};
use aos_replay::{Options as ReplayOptions, replay, verify};
use aos_store::{Log, LogReader, Options};
use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

const LOAN: &str = include_str!("../../docs/examples/loan.yaml");

/// One application of the size of the real ones, as `aosctl sample loan` makes them.
fn application() -> Vec<u8> {
    aos_engine::sample::loan_applications(7, 1)
        .next()
        .expect("one was asked for")
}

/// A workflow of `steps` steps that add 1 to a number, or the same around a list.
fn counting(steps: usize) -> Definition {
    let text = format!(
        "document: {{dsl: '1.0.3', namespace: bench, name: counting, version: '1.0.0'}}\ndo:\n  - walk:\n      for: {{ in: '[range({steps})]' }}\n      do:\n        - s: {{ set: {{ n: '${{ .n + 1 }}' }} }}\n"
    );
    Definition::load(text.as_bytes()).expect("the document is right")
}

fn format(c: &mut Criterion) {
    let mut group = c.benchmark_group("format::sha256");
    let bytes = vec![7; EVENT_LEN];
    let messages = vec![Message::from(bytes.as_slice()); 64];
    let mut digests = vec![Digest::ZERO; messages.len()];
    group.throughput(Throughput::Bytes((EVENT_LEN * messages.len()) as u64));
    for width in Width::found() {
        let name = format!("len={EVENT_LEN},lanes={}", width.lanes());
        group.bench_function(name, |b| {
            b.iter(|| digest_messages(width, black_box(&messages), &mut digests));
        });
    }
    group.finish();
    for len in [64, 256, 4096] {
        let bytes = vec![7; len];
        c.bench_function(&format!("format::crc32/len={len}"), |b| {
            b.iter(|| crc32(black_box(&bytes)));
        });
    }
    let application = application();
    c.bench_function("format::canonicalize/json=loan", |b| {
        b.iter(|| canonical::canonicalize(black_box(&application)));
    });
    c.bench_function("format::check_canonical/json=loan", |b| {
        let text = canonical::canonicalize(&application).expect("it is JSON");
        b.iter(|| canonical::check(black_box(&text)));
    });
    let mut stream = Stream::new(1, Chaining::Opaque);
    let draft: Draft = stream.make(EVENT_LEN).draft;
    c.bench_function(&format!("format::encode_record/len={EVENT_LEN}"), |b| {
        b.iter(|| black_box(&draft).encode());
    });
    let body = draft.encode();
    c.bench_function(&format!("format::open_record/len={EVENT_LEN}"), |b| {
        b.iter(|| RecordView::open(black_box(&body.bytes), body.record_len).is_ok());
    });
    let leaves: Vec<Digest> = (0..1024_u64)
        .map(|n| Digest::of(&n.to_le_bytes()))
        .collect();
    c.bench_function("format::merkle_root/leaves=1024", |b| {
        b.iter(|| merkle::root(black_box(&leaves)));
    });
}

fn store(c: &mut Criterion) {
    let disk = Arc::new(SimDisk::new());
    let options = Options {
        create: true,
        ..Options::new(LogId([7; 16]))
    };
    let (log, _) = Log::open(disk, Path::new("/bench.aos"), &options).expect("a log in memory");
    let mut stream = Stream::new(1, Chaining::Opaque);
    let batch = (0..1000).map(|_| stream.make(EVENT_LEN)).collect();
    let ticket = log.append_batch(batch).expect("there is room");
    log.wait(ticket).expect("the disk holds");
    let reader = log.reader().expect("the log is open");
    let records = reader.scan(Offset(0)).expect("the log is whole");
    let offsets: Vec<Offset> = records.flatten().map(|record| record.offset()).collect();
    let mut at = 0;
    c.bench_function(&format!("store::read/len={EVENT_LEN}"), |b| {
        b.iter(|| {
            at = (at + 501) % offsets.len();
            log.read(offsets[at])
        });
    });
    c.bench_function("store::scan/records=1000", |b| {
        b.iter(|| reader.scan(Offset(0)).map(Iterator::count));
    });
}

fn machine(definition: &Arc<Definition>, input: &Value) -> Machine {
    let run = RunId::derive("bench", "micro", "k", 0);
    let root = RootSeed::from_number(7);
    let info = StartInfo {
        key: "k".into(),
        generation: 0,
        root_seed: root.commitment(),
        budget: None,
        pins: BTreeMap::new(),
    };
    let chain = Chain::new(run, root.run_seed(run));
    Machine::new(
        definition.clone(),
        skills(),
        chain,
        info,
        input.clone(),
        Stride::DEFAULT,
    )
}

/// Drives a machine that needs nothing from outside; the events it made.
fn driven(mut machine: Machine) -> usize {
    let (mut made, mut events) = (Vec::new(), 0);
    loop {
        let need = machine.advance(None, 256, &mut made);
        events += made.len();
        made.clear();
        match need {
            Need::More => {}
            Need::Ended(_) => return events,
            Need::Waits(_) => unreachable!("nothing here waits"),
        }
    }
}

fn engine(c: &mut Criterion) {
    for (name, source) in [
        ("path", ".a.b"),
        ("add", ".n + 1"),
        ("select", "[.l[] | select(. > 2)] | length"),
    ] {
        let expr = Expr::compile(source, &[]).expect("it compiles");
        let input = Value::from_json(br#"{"a":{"b":1},"l":[1,2,3,4,5],"n":41}"#).expect("JSON");
        c.bench_function(&format!("engine::eval/jq={name}"), |b| {
            b.iter(|| expr.eval(black_box(input.val()), &|_| Val::Null, None));
        });
    }
    c.bench_function("engine::load_document/document=loan", |b| {
        b.iter(|| Definition::load(black_box(LOAN.as_bytes())));
    });
    let counting = Arc::new(counting(1000));
    let zero = Value::from_json(br#"{"n":0}"#).expect("JSON");
    let loan = Arc::new(Definition::load(LOAN.as_bytes()).expect("the example is right"));
    let application = Value::from_json(&application()).expect("JSON");
    for (name, definition, input) in [
        ("counting-1000", &counting, &zero),
        ("loan", &loan, &application),
    ] {
        for (level, recording) in [
            ("values", Recording::Values),
            ("digests", Recording::Digests),
        ] {
            let mut group = c.benchmark_group("engine::machine");
            group.throughput(Throughput::Elements(
                driven(machine(definition, input)) as u64
            ));
            group.bench_function(format!("run={name},record={level}"), |b| {
                let fresh = || {
                    let mut machine = machine(definition, input);
                    machine.set_recording(recording);
                    machine
                };
                b.iter_batched(fresh, driven, BatchSize::SmallInput);
            });
            group.finish();
        }
    }
}

/// A log in memory with `runs` runs of `steps` steps, the last with another input where `differs`.
fn recorded(runs: usize, steps: usize, differs: bool) -> LogReader {
    let disk = Arc::new(SimDisk::new());
    let options = Options {
        create: true,
        ..Options::new(LogId([7; 16]))
    };
    let path = Path::new("/bench.aos");
    let (log, _) = Log::open(disk.clone(), path, &options).expect("a log in memory");
    let log = Arc::new(log);
    let engine = Engine::new(log.clone(), skills(), Clock::default()).expect("a new log");
    let definition = Arc::new(counting(steps));
    for run in 0..runs {
        let n = u8::from(differs && run + 1 == runs);
        let request = Request {
            definition: definition.clone(),
            key: Some(run.to_string()),
            input: Value::from_json(format!("{{\"n\":{n}}}").as_bytes()).expect("JSON"),
            root: RootSeed::from_number(7),
            on_conflict: OnConflict::Refuse,
            budget: None,
        };
        if let Begun::Run(mut run) = engine.start(&request).expect("a new key") {
            engine.drive(&mut run).expect("it needs nothing");
        }
    }
    log.flush().expect("the disk holds");
    drop(engine);
    Arc::into_inner(log)
        .expect("nobody else has it")
        .close()
        .expect("the disk holds");
    LogReader::open(disk, path).expect("the log is there")
}

fn proof(c: &mut Criterion) {
    let (steps, runs) = (100, 20);
    let log = recorded(runs, steps, false);
    let mut group = c.benchmark_group("replay::verify");
    group.throughput(Throughput::Elements((runs * steps) as u64));
    group.bench_function(format!("runs={runs},steps={steps}"), |b| {
        b.iter(|| verify(&log, 1));
    });
    group.finish();
    let mut group = c.benchmark_group("replay::replay");
    group.throughput(Throughput::Elements((runs * steps) as u64));
    let options = ReplayOptions {
        workers: 1,
        ..ReplayOptions::default()
    };
    group.bench_function(format!("runs={runs},steps={steps}"), |b| {
        b.iter(|| replay(&log, &options));
    });
    group.finish();
    let (one, other) = (recorded(1, 2000, false), recorded(1, 2000, true));
    c.bench_function("diff::pair/steps=2000,cause=INPUT_DRIFT", |b| {
        let side = |name, log| Input::log(name, log, Authenticate::Sealed, 1);
        let (one, other) = (side("a", &one), side("b", &other));
        let (Ok(one), Ok(other)) = (one, other) else {
            unreachable!("both logs are whole")
        };
        let run = RunId::derive("bench", "counting", "0", 0);
        let (a, at) = (one.run(run), other.run(run));
        let (Ok(a), Ok(at)) = (a, at) else {
            unreachable!("both have the run")
        };
        b.iter(|| diff([&one, &other], [a, at], &DiffOptions::default()));
    });
}

criterion_group!(all, format, store, engine, proof);

fn main() {
    // Expressions need more stack than a main thread has.
    let builder = std::thread::Builder::new().stack_size(EVAL_STACK_BYTES);
    let thread = builder.spawn(|| {
        all();
        Criterion::default().configure_from_args().final_summary();
    });
    thread
        .expect("a thread")
        .join()
        .expect("no benchmark fails");
}
