//! `aosctl demo`: run, kill, resume, replay, compare, flip one bit.

use crate::args::{Demo, Form};
use crate::command::replay;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::logs;
use crate::output::{Object, Output};
use aos_engine::sample::loan_applications;
use aos_engine::seed::{RunSeed, Stream};
use aos_format::digest::{Digest, RunId, log_digest};
use aos_format::frame::{FRAME_HEADER_LEN, Kind};
use aos_format::offset::{Offset, segment_file_name};
use aos_replay::{Options, Report, Verdict};
use aos_store::{LogReader, RunRow};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const WORKFLOW: &str = include_str!("../../../../docs/examples/loan.yaml");
const APPLICATIONS: usize = 300;
const SEED: u64 = 7;
/// Durable bytes at which the run is killed; the next lower one where a machine is too fast for it.
const KILL_AT: [u64; 3] = [3 << 20, 1 << 20, 128 << 10];
/// How often the log is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Longest that a machine may take to get there.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shows everything once, offline, in a directory of its own.
///
/// # Errors
/// [`failure::DEMO`] when something is not as it should be.
pub fn demo(args: &Demo, out: &mut Output) -> Result<Exit, Failure> {
    let started = Instant::now();
    let (dir, _removed_when_dropped) = directory(args)?;
    let story = Story {
        dir,
        quiet: matches!(out.asked(), Some(Form::Json | Form::Jsonl)),
    };
    story.write_files()?;
    story.say(
        out,
        &format!(
            "{APPLICATIONS} made-up loan applications, one workflow, one log, in {}",
            story.dir.display()
        ),
    )?;

    let killed = story.kill(out)?;
    let (digest, report) = story.finish(out, &killed)?;
    story.compare(out, digest)?;
    let found = story.flip(out, &killed)?;
    let seconds = started.elapsed().as_secs_f64();
    if story.quiet {
        out.object(
            &Object::new()
                .with("schema", "aos.demo.v1")
                .with("runs", report.runs)
                .with("ended_before_kill", killed.ended)
                .with("steps", report.steps)
                .with("events", report.events)
                .with("digest", digest.hex())
                .with("verdict", report.verdict.name())
                .with("flipped_offset", found.offset.0)
                .with("flipped_run", found.run.to_string())
                .with("flipped_step", found.step)
                .with("elapsed_s", crate::output::Cell::Seconds(seconds)),
        )?;
        return Ok(Exit::Yes);
    }
    out.line("")?;
    out.line(&format!("Done in {seconds:.1} s. Three commands to try:"))?;
    for command in story.commands(args, found.run) {
        out.line(&format!("  {command}"))?;
    }
    Ok(Exit::Yes)
}

/// The directory to work in, and what removes it afterwards.
pub fn directory(args: &Demo) -> Result<(PathBuf, Option<tempfile::TempDir>), Failure> {
    let Some(dir) = &args.dir else {
        let temporary = tempfile::Builder::new().prefix("aos-demo-").tempdir();
        let temporary =
            temporary.map_err(|error| failure::file("create", &std::env::temp_dir(), &error))?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    };
    fs::create_dir_all(dir).map_err(|error| failure::file("create", dir, &error))?;
    let mut entries = fs::read_dir(dir).map_err(|error| failure::file("read", dir, &error))?;
    if entries.next().is_some() {
        return Err(Failure::new(
            failure::DEMO,
            Exit::Refused,
            format!("{} is not empty", dir.display()),
        )
        .place(failure::shown(dir))
        .next("aosctl demo --dir DIR with a new directory"));
    }
    Ok((dir.clone(), None))
}

/// What was left when the run was killed.
struct Killed {
    durable: u64,
    ended: usize,
    open: usize,
}

/// Where the flipped bit was found.
struct Found {
    offset: Offset,
    run: RunId,
    step: String,
}

struct Story {
    dir: PathBuf,
    quiet: bool,
}

/// Something is not as it should be.
pub fn wrong(message: impl Into<String>) -> Failure {
    Failure::new(failure::DEMO, Exit::Bug, message)
        .next("aosctl demo --dir DIR, and look at what is left there")
}

fn check(holds: bool, message: impl Into<String>) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(wrong(message)) }
}

impl Story {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn say(&self, out: &mut Output, text: &str) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        out.line(text)?;
        out.flush()
    }

    fn step(&self, out: &mut Output, title: &str) -> Result<(), Failure> {
        self.say(out, "")?;
        self.say(out, title)
    }

    fn write_files(&self) -> Result<(), Failure> {
        let workflow = self.path("loan.yaml");
        fs::write(&workflow, WORKFLOW)
            .map_err(|error| failure::file("write", &workflow, &error))?;
        let inputs = self.path("applications.jsonl");
        let mut lines = Vec::new();
        for line in loan_applications(SEED, APPLICATIONS) {
            lines.extend_from_slice(&line);
            lines.push(b'\n');
        }
        fs::write(&inputs, lines).map_err(|error| failure::file("write", &inputs, &error))
    }

    /// `aosctl run` as a process of its own, as a user would type it.
    fn run(&self, log: &str) -> Result<Child, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| failure::file("find", Path::new("aosctl"), &error))?;
        let seed = SEED.to_string();
        Command::new(&program)
            .current_dir(&self.dir)
            .args([
                "-o",
                "json",
                "run",
                "loan.yaml",
                "--log",
                log,
                "--inputs",
                "applications.jsonl",
                "--seed",
                &seed,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failure::file("start", &program, &error))
    }

    fn run_to_its_end(&self, log: &str) -> Result<Duration, Failure> {
        let started = Instant::now();
        let child = self
            .run(log)?
            .wait_with_output()
            .map_err(|error| failure::file("wait for", &self.path(log), &error))?;
        let said = String::from_utf8_lossy(&child.stderr);
        check(
            child.status.success(),
            format!("the run ended with {}: {}", child.status, said.trim()),
        )?;
        Ok(started.elapsed())
    }

    /// Starts the run and kills it in the middle.
    fn kill(&self, out: &mut Output) -> Result<Killed, Failure> {
        self.step(out, "1. Run, and kill -9 in the middle")?;
        let log = self.path("loans.aos");
        for mark in KILL_AT {
            let mut child = self.run("loans.aos")?;
            let durable = watch(&mut child, &log, mark)?;
            let _ended_already = child.kill();
            child
                .wait()
                .map_err(|error| failure::file("wait for", &log, &error))?;
            let rows = rows(&log)?;
            let ended = rows.iter().filter(|row| row.status.is_ended()).count();
            let killed = Killed {
                durable: durable.unwrap_or_default(),
                ended,
                open: rows.len() - ended,
            };
            if ended < APPLICATIONS {
                self.say(out, "   $ aosctl run loan.yaml --log loans.aos --inputs applications.jsonl --seed 7")?;
                self.say(out, &format!(
                    "   killed when {} bytes were durable: {} runs had ended, {} were in the middle, {} not begun",
                    killed.durable,
                    killed.ended,
                    killed.open,
                    APPLICATIONS - rows.len()
                ))?;
                return Ok(killed);
            }
            fs::remove_dir_all(&log).map_err(|error| failure::file("remove", &log, &error))?;
        }
        Err(wrong(
            "this machine runs everything before it can be killed",
        ))
    }

    /// Types the same command again, and replays.
    fn finish(&self, out: &mut Output, killed: &Killed) -> Result<(Digest, Report), Failure> {
        self.step(
            out,
            "2. The same command again finishes exactly what is missing",
        )?;
        let took = self.run_to_its_end("loans.aos")?;
        let log = self.path("loans.aos");
        let rows = rows(&log)?;
        let ended = rows.iter().filter(|row| row.status.is_ended()).count();
        check(
            ended == APPLICATIONS && rows.len() == APPLICATIONS,
            format!("{ended} of {} runs ended", rows.len()),
        )?;
        let digest = digest(&rows);
        self.say(
            out,
            &format!(
                "   {} runs went on or were begun, in {:.2} s; now {ended} have ended",
                ended - killed.ended,
                took.as_secs_f64()
            ),
        )?;
        self.say(out, &format!("   digest {digest}"))?;

        self.step(
            out,
            "3. Replay makes every run again from the log alone, and compares every byte",
        )?;
        let started = Instant::now();
        let report = verdict(&log)?;
        check(
            report.verdict == Verdict::Match,
            format!("the verdict is {}", report.verdict.name()),
        )?;
        check(
            report.digest == digest,
            format!("replay has digest {}", report.digest),
        )?;
        self.say(
            out,
            &format!(
                "   {}: {} events, {} steps of {} runs, in {:.2} s",
                report.verdict.name(),
                report.events,
                report.steps,
                report.runs,
                started.elapsed().as_secs_f64()
            ),
        )?;
        self.say(out, &format!("   digest {}", report.digest))?;
        Ok((digest, report))
    }

    /// Runs the same in another log without a kill.
    fn compare(&self, out: &mut Output, expected: Digest) -> Result<(), Failure> {
        self.step(
            out,
            "4. Another log, the same seed, never killed: the same digest",
        )?;
        self.run_to_its_end("unkilled.aos")?;
        let found = digest(&rows(&self.path("unkilled.aos"))?);
        check(
            found == expected,
            format!("the log that was never killed has digest {found}, not {expected}"),
        )?;
        self.say(out, &format!("   digest {found}"))
    }

    /// Flips one bit in a step of a copy of the log.
    fn flip(&self, out: &mut Output, killed: &Killed) -> Result<Found, Failure> {
        self.step(
            out,
            "5. One bit of a copy of the log is flipped; replay names the place",
        )?;
        let log = self.path("flipped.aos");
        copy(&self.path("loans.aos"), &log)?;
        // Another place each time, but one that can be told from the printed figures.
        let seed = Digest::labelled("aos.demo.v1", &[&killed.durable.to_le_bytes()]);
        let place = choose(&log, &mut RunSeed::new(seed.0).stream("flip", "demo"))?;
        place.flip(&log)?;
        self.say(
            out,
            &format!(
                "   bit {} of offset {}, in the STEP of run {} at {}",
                place.bit, place.at, place.run, place.activation
            ),
        )?;
        let report = verdict(&log)?;
        check(
            report.verdict == Verdict::Corrupt,
            format!("the verdict is {}", report.verdict.name()),
        )?;
        let meant = report.findings.iter().find(|finding| {
            let start = finding.offset.unwrap_or_default();
            let end = start.plus(finding.length.unwrap_or(1).max(1));
            finding.run() == Some(place.run) && (start..end).contains(&place.at)
        });
        let finding = meant.ok_or_else(|| wrong("no finding names the place"))?;
        self.say(out, &format!("   verdict {}:", report.verdict.name()))?;
        for line in replay::lines(finding) {
            self.say(out, &format!("   {line}"))?;
        }
        let step = finding.step().unwrap_or_default();
        Ok(Found {
            offset: finding.offset.unwrap_or_default(),
            run: place.run,
            step,
        })
    }

    fn commands(&self, args: &Demo, run: RunId) -> [String; 3] {
        let at = |name: &str| failure::argument(&self.path(name));
        match args.dir {
            Some(_) => [
                format!("aosctl replay {}", at("flipped.aos")),
                format!("aosctl show {} {}", at("loans.aos"), &run.to_string()[..12]),
                format!("aosctl log stat {}", at("loans.aos")),
            ],
            None => [
                "aosctl demo --dir aos-demo                    the same, and everything is kept"
                    .into(),
                "aosctl sample loan --count 1                  an application".into(),
                "aosctl explain AOS-R001                       what an error code means".into(),
            ],
        }
    }
}

/// Waits until `mark` bytes of the log are durable; returns how many, or nothing when the process ended before.
fn watch(child: &mut Child, log: &Path, mark: u64) -> Result<Option<u64>, Failure> {
    let started = Instant::now();
    let mut reader: Option<LogReader> = None;
    while started.elapsed() < PATIENCE {
        if child
            .try_wait()
            .map_err(|error| failure::file("wait for", log, &error))?
            .is_some()
        {
            return Ok(None);
        }
        // Until the log is there, opening it fails.
        reader =
            reader.or_else(|| LogReader::open(std::sync::Arc::new(aos_disk::RealDisk), log).ok());
        let word = reader
            .as_ref()
            .and_then(|reader| reader.durable_word().ok().flatten());
        if let Some(word) = word.filter(|word| word.durable.0 >= mark) {
            return Ok(Some(word.durable.0));
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    Err(wrong(format!(
        "the run wrote less than {mark} bytes in {} s",
        PATIENCE.as_secs()
    )))
}

fn rows(log: &Path) -> Result<Vec<RunRow>, Failure> {
    let index = logs::reader(log)?.index().map_err(failure::store(log))?;
    Ok(index.rows.runs.values().cloned().collect())
}

fn digest(rows: &[RunRow]) -> Digest {
    log_digest(rows.iter().map(|row| (&row.run, &row.digest)))
}

fn verdict(log: &Path) -> Result<Report, Failure> {
    replay::report(
        log,
        &logs::reader(log)?,
        &Options {
            workers: host::cores(),
            ..Options::default()
        },
    )
}

/// Copies a log: LOCK first, so that its durable word is not ahead of the segments.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let bad = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| failure::file("copy", &path, &error)
    };
    fs::create_dir_all(to.join("segments")).map_err(bad(to))?;
    fs::copy(from.join("LOCK"), to.join("LOCK")).map_err(bad(to))?;
    for entry in fs::read_dir(from.join("segments")).map_err(bad(from))? {
        let entry = entry.map_err(bad(from))?;
        sparse_copy(&entry.path(), &to.join("segments").join(entry.file_name()))
            .map_err(bad(&entry.path()))?;
    }
    Ok(())
}

/// Copies a file of mostly zeros without writing those.
fn sparse_copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let bytes = fs::read(from)?;
    let file = fs::File::create(to)?;
    file.set_len(bytes.len() as u64)?;
    let used = bytes
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |at| at + 1);
    file.write_all_at(&bytes[..used], 0)
}

/// A bit inside a STEP record.
struct Place {
    at: Offset,
    bit: u64,
    run: RunId,
    activation: String,
    /// First byte of its segment.
    segment: Offset,
}

/// Chooses a STEP, and a bit in its body.
fn choose(log: &Path, random: &mut Stream) -> Result<Place, Failure> {
    let failed = failure::store(log);
    let reader = logs::reader(log)?;
    let mut steps = Vec::new();
    for record in reader.scan(Offset(0)).map_err(&failed)? {
        let record = record.map_err(&failed)?;
        if record.kind() == Some(Kind::Step) {
            steps.push((record.offset(), record.header().body_len));
        }
    }
    check(!steps.is_empty(), "the log has no steps")?;
    let (offset, len) = steps[random.below(steps.len() as u64) as usize];
    let at = offset.plus(FRAME_HEADER_LEN + random.below(len.into()));
    let record = reader.read(offset).map_err(&failed)?;
    let run = record
        .stream()
        .map_err(&failed)?
        .as_run()
        .ok_or_else(|| wrong("a STEP outside a run"))?;
    let activation = crate::record::Shown::new(&record)
        .map_err(&failed)?
        .activation()
        .to_owned();
    let segment = reader.identity().stride.segment_start(offset);
    Ok(Place {
        at,
        bit: random.below(8),
        run,
        activation,
        segment,
    })
}

impl Place {
    fn flip(&self, log: &Path) -> Result<(), Failure> {
        let path = log.join("segments").join(segment_file_name(self.segment));
        let flipped = (|| {
            let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
            let at = self.at.0 - self.segment.0;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at)?;
            file.write_all_at(&[byte[0] ^ 1 << self.bit], at)
        })();
        flipped.map_err(|error| failure::file("change", &path, &error))
    }
}
