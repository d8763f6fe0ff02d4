//! Load for tests on real machines: writes records and says which are durable, and checks what a log holds against that.
//!
//! ```sh
//! load write LOG --records N [--streams S] [--stride BYTES] [--no-sync]   prints `ack STREAM SEQ OFFSET` for what is durable
//! load check LOG ACKS [--beyond]     exit 1 when an acknowledged record is missing or any record is not as it was made
//! load kill LOG --cycles N --seed S [--no-sync]   starts `write`, kills it after some acknowledgements, checks; again
//! load fill LOG                      writes until the disk is full, then a stop record, then closes
//! load read LOG --rounds N           scans the log again and again
//! load grow LOG --bytes N --no-sync  writes records of 4 KiB until the log is that long
//! load measure LOG [--scan]          opens the log for writing (or scans it as a reader) and prints time and memory
//! ```
//!
//! Record number n of stream s has a content that both can compute, so nothing has to be remembered but the numbers.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // its output is what it is for

use aos_disk::{Disk, Error as DiskError, File, Lock, Map, OpenMode, RealDisk};
use aos_format::digest::{Digest, LogId, RunId};
use aos_format::event::{Decision, Event, Time};
use aos_format::frame::Kind;
use aos_format::offset::{Offset, Stride};
use aos_format::record::{Draft, StreamId};
use aos_store::{Append, Error, ErrorKind, Log, LogReader, Options};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

type Failure = Box<dyn std::error::Error>;

/// splitmix64.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn stream(number: u64) -> StreamId {
    StreamId::run(RunId::derive("load", "load", &number.to_string(), 0))
}

/// Record number `seq` of a stream, following `previous`.
fn event(number: u64, seq: u64) -> Event {
    let random = mix(number << 32 | seq);
    let filler = format!("{random:016x}").repeat((random % 24) as usize);
    Event::Time(Time {
        activation: format!("/{number}/{seq}/{filler}"),
        subject: "now".into(),
        time_ns: seq.to_string(),
    })
}

fn append(number: u64, seq: u64, previous: &mut Digest) -> Append {
    let det = event(number, seq).encode(previous);
    *previous = Digest::of(&det);
    let mut draft = Draft::new(stream(number), det);
    draft.lane_seq = seq;
    Append {
        draft,
        kind: Kind::Time,
        seq,
    }
}

struct Args(Vec<String>);

impl Args {
    fn value(&self, name: &str, default: u64) -> Result<u64, Failure> {
        match self.0.iter().position(|arg| arg == name) {
            Some(at) => Ok(self.0.get(at + 1).ok_or("a value is missing")?.parse()?),
            None => Ok(default),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|arg| arg == name)
    }

    fn path(&self, at: usize) -> Result<&Path, Failure> {
        Ok(Path::new(self.0.get(at).ok_or("a path is missing")?))
    }
}

fn main() -> ExitCode {
    let args = Args(std::env::args().skip(1).collect());
    let done = match args.0.first().map(String::as_str) {
        Some("write") => write(&args),
        Some("check") => check(&args),
        Some("kill") => kill(&args),
        Some("fill") => fill(&args),
        Some("read") => read(&args),
        Some("grow") => grow(&args),
        Some("measure") => measure(&args),
        _ => Err("write, check, kill, fill, read, grow or measure".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn open(args: &Args) -> Result<Log, Failure> {
    let disk: Arc<dyn Disk> = match args.has("--no-sync") {
        true => Arc::new(NoSync(RealDisk)),
        false => Arc::new(RealDisk),
    };
    let options = Options {
        create: true,
        stride: Stride::from_bytes(args.value("--stride", 1 << 20)?)?,
        catalogue_every_records: 500,
        build: "load".into(),
        ..Options::new(LogId([0x10; 16]))
    };
    Ok(Log::open(disk, args.path(1)?, &options)?.0)
}

/// Newest number and digest of each stream.
fn heads(log: &Log, streams: u64) -> Result<Vec<(u64, Digest)>, Failure> {
    let mut heads = Vec::new();
    for number in 0..streams {
        let head = log.head(stream(number))?;
        heads.push(head.map_or((0, Digest::ZERO), |head| (head.seq, head.digest)));
    }
    Ok(heads)
}

fn write(args: &Args) -> Result<(), Failure> {
    let log = open(args)?;
    let streams = args.value("--streams", 4)?;
    let mut heads = heads(&log, streams)?;
    let mut out = std::io::stdout().lock();
    let mut round = mix(heads.iter().map(|(seq, _)| seq).sum());
    let mut left = args.value("--records", u64::MAX)?;
    while left > 0 {
        round = mix(round);
        let count = (1 + round % (2 * streams)).min(left);
        let mut items = Vec::new();
        for n in 0..count {
            let number = mix(round ^ n) % streams;
            let (seq, digest) = &mut heads[number as usize];
            *seq += 1;
            items.push(append(number, *seq, digest));
        }
        let ticket = log.append_batch(items)?;
        let durable = log.wait(ticket)?;
        let acks: String = heads
            .iter()
            .enumerate()
            .map(|(number, (seq, _))| format!("ack {number} {seq} {durable}\n"))
            .collect();
        // One write a group, so that no line is torn by a kill but the last.
        out.write_all(acks.as_bytes())?;
        out.flush()?;
        left -= count;
    }
    log.close()?;
    Ok(())
}

/// The newest acknowledged number of each stream. A last line that is torn is none.
#[derive(Default)]
struct Acks(BTreeMap<u64, u64>);

impl Acks {
    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.trim_end_matches('\n').split(' ').collect();
        if let (true, ["ack", number, seq, _offset]) = (line.ends_with('\n'), &words[..])
            && let (Ok(number), Ok(seq)) = (number.parse::<u64>(), seq.parse::<u64>())
        {
            let newest = self.0.entry(number).or_insert(0);
            *newest = seq.max(*newest);
        }
    }
}

/// Opens the log for writing, reads it from a reader, and compares everything. Returns records and acknowledged ones.
fn compare(args: &Args, acks: &Acks) -> Result<(u64, u64), Failure> {
    let log = open(&Args(vec![
        String::new(),
        args.path(1)?.display().to_string(),
    ]))?;
    log.close()?;
    let reader = LogReader::open(Arc::new(RealDisk), args.path(1)?)?;
    let numbers: BTreeMap<StreamId, u64> = (0..64).map(|number| (stream(number), number)).collect();
    let mut found: BTreeMap<u64, (u64, Digest)> = BTreeMap::new();
    let mut records = 0;
    for record in reader.scan(Offset(0))? {
        let record = record?;
        if record.kind() == Some(Kind::Open) {
            continue;
        }
        let number = *numbers
            .get(&record.stream()?)
            .ok_or("a record of no stream")?;
        let (seq, digest) = found.entry(number).or_default();
        *seq += 1;
        let expected = append(number, *seq, digest);
        if record.seq() != *seq || record.view()?.det() != expected.draft.det {
            return Err(format!(
                "record at {} is not number {seq} of {number}",
                record.offset()
            )
            .into());
        }
        records += 1;
    }
    let mut lost = 0;
    for (number, acknowledged) in &acks.0 {
        let there = found.get(number).map_or(0, |(seq, _)| *seq);
        lost += acknowledged.saturating_sub(there);
    }
    if lost > 0 {
        return Err(format!(
            "{lost} acknowledged records are lost of {}",
            acks.0.values().sum::<u64>()
        )
        .into());
    }
    Ok((records, acks.0.values().sum()))
}

fn check(args: &Args) -> Result<(), Failure> {
    let mut acks = Acks::default();
    let text = std::fs::read(args.path(2)?)?;
    for line in String::from_utf8_lossy(&text).split_inclusive('\n') {
        acks.take(line);
    }
    let (records, acknowledged) = compare(args, &acks)?;
    println!("records {records} acknowledged {acknowledged}");
    Ok(())
}

/// Kills a writer after a random number of acknowledgements, at whatever it is doing then; checks; and again.
fn kill(args: &Args) -> Result<(), Failure> {
    let (cycles, mut seed) = (args.value("--cycles", 1000)?, args.value("--seed", 1)?);
    let mut acks = Acks::default();
    let (mut records, mut acknowledged, mut torn) = (0, 0, 0);
    for cycle in 1..=cycles {
        seed = mix(seed);
        let mut child = Command::new(std::env::current_exe()?)
            .args(["write", &args.path(1)?.display().to_string()])
            .args(["--stride", "65536"])
            .args(args.has("--no-sync").then_some("--no-sync"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut out = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut line = String::new();
        for _ in 0..seed % 40 {
            line.clear();
            if out.read_line(&mut line)? == 0 {
                break;
            }
            acks.take(&line);
        }
        // Somewhere inside what comes next: the time that so many steps take.
        for step in 0..mix(seed) % 200_000 {
            std::hint::black_box(mix(step));
        }
        child.kill()?;
        // What was acknowledged before the kill stands in the pipe.
        loop {
            line.clear();
            if out.read_line(&mut line)? == 0 {
                break;
            }
            acks.take(&line);
        }
        child.wait()?;
        torn += u64::from(torn_tail(args)?);
        (records, acknowledged) =
            compare(args, &acks).map_err(|error| format!("cycle {cycle}: {error}"))?;
    }
    println!(
        "kill -9: {cycles} cycles, {records} records, {acknowledged} acknowledged, 0 lost, {torn} torn tails cut"
    );
    Ok(())
}

fn torn_tail(args: &Args) -> Result<bool, Failure> {
    match LogReader::open(Arc::new(RealDisk), args.path(1)?) {
        Ok(reader) => Ok(matches!(
            reader.tail()?.state,
            aos_store::TailState::Torn { .. }
        )),
        // Killed before there was a log.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes until nothing more is taken; then what must still go: a stop record, the end, and reading it all.
fn fill(args: &Args) -> Result<(), Failure> {
    let log = open(args)?;
    let mut count = 512_u64;
    let (records, error) = loop {
        let (mut seq, mut digest) = heads(&log, 1)?[0];
        let items = (0..count)
            .map(|_| {
                seq += 1;
                append(0, seq, &mut digest)
            })
            .collect();
        match log.append_batch(items).and_then(|ticket| log.wait(ticket)) {
            Ok(_) => {}
            // Not all of these, perhaps one of them.
            Err(_) if count > 1 => count = (count / 4).max(1),
            Err(error) => break (heads(&log, 1)?[0].0, error),
        }
    };
    if error.kind() != ErrorKind::Full {
        return Err(format!("the disk is full and the log says: {error}").into());
    }
    let head = log.head(StreamId::CONTROL)?.ok_or("no OPEN")?;
    let stop = Event::Decision(Decision {
        activation: String::new(),
        subject: "emergency_stop".into(),
        rule: "aos.stop".into(),
        rule_version: 1,
        inputs: None,
        verdict: "stop".into(),
        value: None,
        actor: "load".into(),
        key_id: String::new(),
    });
    let mut draft = Draft::new(StreamId::CONTROL, stop.encode(&head.digest));
    draft.lane_seq = head.lane_seq + 1;
    let ticket = log.append(draft, Kind::Decision, head.seq + 1)?;
    let durable = log.wait(ticket)?;
    let told = log.flush().err();
    let closed = match log.close() {
        Ok(_) => "closed".to_owned(),
        // The catalogue is made again by the next opening.
        Err(error @ Error::Catalogue { .. }) => format!("closed; {error}"),
        Err(error) => return Err(error.into()),
    };
    let reader = LogReader::open(Arc::new(RealDisk), args.path(1)?)?;
    let mut last = None;
    for record in reader.scan(Offset(0))? {
        last = Some(record?.kind());
    }
    if last != Some(Some(Kind::Decision)) {
        return Err("the stop record is not the last one".into());
    }
    println!(
        "full: {records} records, then refused ({}), stop record durable at {durable}, {closed}{}",
        error.code(),
        told.map_or(String::new(), |error| format!(
            "; flush told {}",
            error.code()
        ))
    );
    Ok(())
}

fn read(args: &Args) -> Result<(), Failure> {
    for round in 0..args.value("--rounds", 1)? {
        let reader = LogReader::open(Arc::new(RealDisk), args.path(1)?)?;
        let mut records = 0;
        for record in reader.scan(Offset(0))? {
            record?;
            records += 1;
        }
        println!("round {round} records {records}");
    }
    Ok(())
}

fn grow(args: &Args) -> Result<(), Failure> {
    let log = open(args)?;
    let (mut seq, mut digest) = heads(&log, 1)?[0];
    let bytes = args.value("--bytes", 1 << 20)?;
    while log.durable().0 < bytes {
        let mut items = Vec::new();
        for _ in 0..128 {
            seq += 1;
            let time = Event::Time(Time {
                activation: format!("/{seq}/{}", "x".repeat(4000)),
                subject: "now".into(),
                time_ns: seq.to_string(),
            });
            let det = time.encode(&digest);
            digest = Digest::of(&det);
            let mut draft = Draft::new(stream(0), det);
            draft.lane_seq = seq;
            items.push(Append {
                draft,
                kind: Kind::Time,
                seq,
            });
        }
        let ticket = log.append_batch(items)?;
        log.wait(ticket)?;
    }
    log.close()?;
    Ok(())
}

fn measure(args: &Args) -> Result<(), Failure> {
    let start = std::time::Instant::now();
    let (what, end, records) = if args.has("--scan") {
        let reader = LogReader::open(Arc::new(RealDisk), args.path(1)?)?;
        let mut records = 0u64;
        for record in reader.scan(Offset(0))? {
            record?;
            records += 1;
        }
        ("scan", reader.tail()?.end, records)
    } else {
        let log = open(args)?;
        ("open", log.durable(), 0)
    };
    let elapsed = start.elapsed();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let memory = status.lines().find(|line| line.starts_with("VmHWM:"));
    let memory = memory.and_then(|line| line.split_whitespace().nth(1));
    println!(
        "{{\"what\":\"{what}\",\"end_offset\":{end},\"records\":{records},\"ms\":{:.3},\"peak_kib\":{}}}",
        elapsed.as_secs_f64() * 1e3,
        memory.unwrap_or("null")
    );
    Ok(())
}

/// A negative control: the machine's disk, whose syncs say that all is well and do nothing.
#[derive(Debug)]
struct NoSync(RealDisk);

impl Disk for NoSync {
    fn create_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        self.0.create_dir_all(path)
    }
    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        self.0.list(dir)
    }
    fn exists(&self, path: &Path) -> Result<bool, DiskError> {
        self.0.exists(path)
    }
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>, DiskError> {
        Ok(Arc::new(NoSyncFile(self.0.open(path, mode)?)))
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        self.0.remove(path)
    }
    fn sync_dir(&self, _dir: &Path) -> Result<(), DiskError> {
        Ok(())
    }
    fn lock(&self, path: &Path) -> Result<Lock, DiskError> {
        self.0.lock(path)
    }
    fn is_locked(&self, path: &Path) -> Result<bool, DiskError> {
        self.0.is_locked(path)
    }
}

#[derive(Debug)]
struct NoSyncFile(Arc<dyn File>);

impl File for NoSyncFile {
    fn len(&self) -> Result<u64, DiskError> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.0.set_len(len)
    }
    fn read_at(&self, buf: &mut [u8], at: u64) -> Result<usize, DiskError> {
        self.0.read_at(buf, at)
    }
    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> Result<(), DiskError> {
        self.0.read_exact_at(buf, at)
    }
    fn write_all_at(&self, buf: &[u8], at: u64) -> Result<(), DiskError> {
        self.0.write_all_at(buf, at)
    }
    fn sync_data(&self) -> Result<(), DiskError> {
        Ok(())
    }
    fn sync_all(&self) -> Result<(), DiskError> {
        Ok(())
    }
    fn map(&self, len: u64) -> Result<Map, DiskError> {
        self.0.map(len)
    }
}
