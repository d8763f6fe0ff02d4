//! `aosctl schedule run`, `aosctl schedule next`

use super::run::load;
use crate::args::{Driving, Form, parse_time};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host::{self, Stop, progress};
use crate::input::{self, Line, Lines};
use crate::output::{Object, Output};
use crate::{logs, mail};
use aos_engine::clock::Clock;
use aos_engine::engine::{Engine, OnConflict, Request};
use aos_engine::machine::Ended;
use aos_engine::pool::{Done, Job, Outcome, PoolOptions, run_all};
use aos_engine::seed::RootSeed;
use aos_engine::value::{Value, as_text, member};
use aos_engine::workflow::Definition;
use aos_engine::workflow::schedule::{Gathered, Gathering, Schedule as When, key_at, time_of};
use clap::{Args, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;
use std::time::Duration;

/// Runs at a time.
const IN_FLIGHT_MAX: usize = 16;
/// Effects of a run at a time.
const EFFECTS: usize = 8;
/// Longest time until it is seen that somebody wants the process to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Most missed times that are looked at.
const MISSED_MAX: usize = 100_000;

/// `schedule`
#[derive(Subcommand, Debug)]
pub enum Schedule {
    /// Begin a run whenever the workflow's schedule says; the key of a run is its nominal time
    Run(Box<Run>),
    /// Print the nominal times that come
    Next(Next),
}

/// `schedule run`
#[derive(Args, Debug)]
pub struct Run {
    /// Workflow document with a schedule
    #[arg(value_name = "WORKFLOW")]
    pub workflow: PathBuf,
    /// Log to write to; created when it is missing
    #[arg(long, value_name = "LOG")]
    pub log: PathBuf,
    /// Input of each run: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub input: Option<String>,
    /// Events for a schedule `on`: CloudEvents as JSON lines, plain or gzip; - for standard input
    #[arg(long, value_name = "FILE|-")]
    pub events: Option<PathBuf>,
    /// Which of the times that passed while nobody looked are made up for
    #[arg(long, value_enum, default_value = "latest", value_name = "WHICH")]
    pub missed: Missed,
    /// Times count from here: RFC 3339, or seconds since 1970; by default from the last run in the log, else from now
    #[arg(long, value_name = "T", value_parser = parse_time, allow_hyphen_values = true)]
    pub from: Option<i64>,
    /// Begin nothing after this
    #[arg(long, value_name = "T", value_parser = parse_time, allow_hyphen_values = true)]
    pub until: Option<i64>,
    /// End after so many runs
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Seed of all randomness; by default the log's first, else a random one
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// What drives the runs.
    #[command(flatten)]
    pub driving: Driving,
}

/// `schedule next`
#[derive(Args, Debug)]
pub struct Next {
    /// Workflow document with a schedule
    #[arg(value_name = "WORKFLOW")]
    pub workflow: PathBuf,
    /// Times after this: RFC 3339, or seconds since 1970; now by default
    #[arg(long, value_name = "T", value_parser = parse_time, allow_hyphen_values = true)]
    pub from: Option<i64>,
    /// How many
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub count: u16,
}

/// Which of the times that passed while nobody looked are made up for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Missed {
    // Each, in order.
    All,
    // The last one.
    Latest,
    // None.
    None,
}

/// # Errors
/// What keeps the whole from going on; runs that fail are in the exit code.
pub fn schedule(command: &Schedule, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Schedule::Run(args) => run(args, out),
        Schedule::Next(args) => next(args, out),
    }
}

fn scheduled(path: &Path) -> Result<(Arc<Definition>, When), Failure> {
    let definition = load(path)?;
    match definition.schedule.clone() {
        Some(when) => Ok((Arc::new(definition), when)),
        None => {
            let message = format!("{} has no schedule", failure::shown(path));
            Err(Failure::new(failure::USAGE, Exit::Usage, message)
                .next("add `schedule: {every: PT1H}`, or use aosctl run"))
        }
    }
}

fn next(args: &Next, out: &mut Output) -> Result<Exit, Failure> {
    let (_, when) = scheduled(&args.workflow)?;
    let mut at = args.from.unwrap_or_else(Clock::wall_ns);
    let mut rows = Vec::new();
    while rows.len() < usize::from(args.count) {
        let Some(next) = when.next(at) else { break };
        at = next;
        let key = key_at(next);
        let time = key.trim_start_matches("schedule/").to_owned();
        rows.push(Object::new().with("time", time).with("key", key));
    }
    if rows.is_empty() {
        let message = "the schedule follows from events or ends of runs, not from the clock";
        return Err(Failure::new(failure::USAGE, Exit::Usage, message));
    }
    match out.form() {
        Form::Table => out.table(&rows, "")?,
        Form::Json | Form::Jsonl => rows.iter().try_for_each(|row| out.json_line(row))?,
    }
    Ok(Exit::Yes)
}

/// What became of a run.
type Told = (Option<i64>, String, Result<Option<Done>, Failure>);

/// Begins runs and counts what becomes of them.
struct Runs<'a, 'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    engine: &'scope Engine,
    template: &'a Request,
    path: &'scope Path,
    stop: &'a Stop,
    send: Sender<Told>,
    told: Receiver<Told>,
    in_flight: usize,
    begun: u64,
    /// Those of the schedule.
    scheduled: u64,
    completed: u64,
    faulted: u64,
    others: u64,
    skipped: u64,
    /// Events that wait for others.
    held: u64,
    failure: Option<Failure>,
}

impl Runs<'_, '_, '_> {
    fn begin(&mut self, nominal: Option<i64>, key: String, input: Option<Value>) {
        self.begun += 1;
        self.scheduled += 1;
        let request = Request {
            key: Some(key.clone()),
            input: input.unwrap_or_else(|| self.template.input.clone()),
            ..self.template.clone()
        };
        let job = Job::Start {
            tag: 0,
            request: Box::new(request),
        };
        self.spawn(nominal, key, job);
    }

    /// Goes on with the runs that somebody asked this process to drive.
    fn take_on(&mut self) {
        while let Some(run) = self.engine.next_taken_on() {
            self.begun += 1;
            self.spawn(None, run.to_string(), Job::Resume { tag: 0, run });
        }
    }

    fn spawn(&mut self, nominal: Option<i64>, key: String, job: Job) {
        self.in_flight += 1;
        let options = PoolOptions {
            workers: 1,
            in_flight: 1,
            effects: EFFECTS,
            stop: self.stop.flag(),
        };
        let (engine, path, send) = (self.engine, self.path, self.send.clone());
        self.scope.spawn(move || {
            let mut done = None;
            let ran = run_all(engine, std::iter::once(job), &options, |one| {
                // What it began beside itself is another run's story.
                if one.tag == 0 {
                    done = Some(one);
                }
            });
            let told = match (ran, done) {
                (Err(error), _) => Err(failure::engine(path)(error)),
                (Ok(()), done) => Ok(done),
            };
            // The receiver is gone only when the whole failed.
            let _ = send.send((nominal, key, told));
        });
    }

    /// Waits for the end of a run, at most so long.
    fn hear(&mut self, most: Duration, out: &mut Output) -> Result<(), Failure> {
        self.take_on();
        let Ok((nominal, key, told)) = self.told.recv_timeout(most) else {
            return Ok(());
        };
        self.in_flight -= 1;
        let done = match told {
            // Stopped before its first event: nothing of it is in the log.
            Ok(Some(done)) if done.events > 0 || !matches!(done.outcome, Outcome::Stopped) => done,
            Ok(_) => {
                self.begun -= 1;
                return Ok(());
            }
            Err(failed) => {
                self.failure.get_or_insert(failed);
                return Ok(());
            }
        };
        let status = match done.outcome {
            Outcome::Ended(Ended::Completed(_)) => "completed",
            Outcome::Ended(Ended::Faulted(_)) => "faulted",
            Outcome::Ended(Ended::Cancelled(_)) => "cancelled",
            Outcome::Waiting => "waiting",
            Outcome::Suspended => "suspended",
            Outcome::Held(_) => "held",
            Outcome::Stopped | Outcome::Duplicate => "open",
            Outcome::Failed(error) => {
                self.failure
                    .get_or_insert(failure::engine(self.path)(*error));
                "failed"
            }
        };
        match status {
            "completed" => self.completed += 1,
            "faulted" => self.faulted += 1,
            _ => self.others += 1,
        }
        let time = nominal.map(|ns| key_at(ns).trim_start_matches("schedule/").to_owned());
        let row = Object::new()
            .with("nominal", time)
            .with("key", key.clone())
            .with("run", done.run.map(|run| run.to_string()))
            .with("status", status)
            .with("history_digest", done.digest.hex());
        match out.form() {
            Form::Jsonl => out.json_line(&row)?,
            Form::Table => out.line(&format!("{key}  {status}"))?,
            Form::Json => return Ok(()),
        }
        out.flush()
    }

    fn stopped(&self) -> bool {
        self.stop.exit().is_some() || self.failure.is_some()
    }

    fn drain(&mut self, out: &mut Output) -> Result<(), Failure> {
        while self.in_flight > 0 && !self.stopped() {
            self.hear(LOOK_EVERY, out)?;
        }
        Ok(())
    }
}

fn run(args: &Run, out: &mut Output) -> Result<Exit, Failure> {
    let (definition, when) = scheduled(&args.workflow)?;
    let by_events = matches!(when, When::On(_));
    if by_events != args.events.is_some() {
        let message = match by_events {
            true => "the schedule is one of events: --events FILE brings them",
            false => "--events is for a schedule `on`",
        };
        return Err(Failure::new(failure::USAGE, Exit::Usage, message));
    }
    let lines = match &args.events {
        Some(path) => Some(Lines::open(path, &progress::spinner())?),
        None => None,
    };
    let input = input::argument("--input", args.input.as_deref().unwrap_or("{}"))?;
    let stop = Stop::listen()?;
    let log = logs::writer(&args.log, Some(None))?;
    let failed = failure::store(&args.log);
    let rows = log.rows().map_err(&failed)?;
    let mine = rows
        .runs
        .values()
        .filter(|row| row.definition.0 == definition.digest);
    let last = mine.filter_map(|row| time_of(&row.key)).max();
    let engine = args.driving.engine(&args.log, log)?;
    let root = match (
        args.seed,
        engine.first_seed().map_err(failure::engine(&args.log))?,
    ) {
        (Some(number), _) => RootSeed::from_number(number),
        (None, Some(first)) => first,
        (None, None) => RootSeed(host::random()?),
    };
    let template = Request {
        definition,
        key: None,
        input,
        root,
        on_conflict: OnConflict::Existing,
        budget: None,
    };
    let (send, told) = channel();
    let summary = mail::during(&args.log, &engine, || {
        std::thread::scope(|scope| {
            let mut runs = Runs {
                scope,
                engine: &engine,
                template: &template,
                path: &args.log,
                stop: &stop,
                send,
                told,
                in_flight: 0,
                begun: 0,
                scheduled: 0,
                completed: 0,
                faulted: 0,
                others: 0,
                skipped: 0,
                held: 0,
                failure: None,
            };
            match (&when, lines) {
                (When::On(strategy), Some(lines)) => {
                    on_events(args, &mut Gathering::new(strategy), lines, &mut runs, out)?;
                }
                (When::After(ms), _) => after(args, *ms, last, &mut runs, out)?,
                _ => ticks(args, &when, last, &mut runs, out)?,
            }
            // Those under way end soon when somebody stops the process, and are told of too.
            while runs.in_flight > 0 {
                runs.hear(LOOK_EVERY, out)?;
            }
            match runs.failure.take() {
                Some(failure) => Err(failure),
                None => Ok((
                    Object::new()
                        .with("schema", "aos.schedule.v1")
                        .with("log", args.log.display().to_string())
                        .with("begun", runs.begun)
                        .with("completed", runs.completed)
                        .with("faulted", runs.faulted)
                        .with("others", runs.others)
                        .with("skipped", runs.skipped)
                        .with("gathering", runs.held),
                    runs.completed == runs.begun,
                )),
            }
        })
    });
    let durable = logs::close(&args.log, engine);
    let (summary, well) = summary?;
    out.object(&summary.with("durable_offset", durable?.0))?;
    Ok(stop
        .exit()
        .unwrap_or(if well { Exit::Yes } else { Exit::No }))
}

/// Nominal times of the clock.
fn ticks(
    args: &Run,
    when: &When,
    last: Option<i64>,
    runs: &mut Runs<'_, '_, '_>,
    out: &mut Output,
) -> Result<(), Failure> {
    // A time given is to be done from there, whatever passed since.
    let missed = if args.from.is_some() {
        Missed::All
    } else {
        args.missed
    };
    let start = args.from.map(|from| from.saturating_sub(1));
    let mut at = start.or(last).unwrap_or_else(Clock::wall_ns);
    // What passed before is missed; what passes from now on is waited for.
    let mut waiting = false;
    while !runs.stopped() {
        let Some(next) = when.next(at) else {
            return Ok(());
        };
        let past_end = |next: i64| args.until.is_some_and(|until| next > until);
        if past_end(next) || args.count.is_some_and(|count| runs.scheduled >= count) {
            return Ok(());
        }
        let now = Clock::wall_ns();
        if next > now {
            waiting = true;
            let left = Duration::from_nanos(u64::try_from(next - now).unwrap_or(u64::MAX));
            runs.hear(left.min(LOOK_EVERY), out)?;
            continue;
        }
        at = next;
        let later = when
            .next(at)
            .filter(|later| *later <= now && !past_end(*later));
        let wanted = match missed {
            Missed::All => true,
            Missed::Latest => later.is_none(),
            Missed::None => waiting && later.is_none(),
        };
        if !wanted {
            runs.skipped += 1;
            if runs.skipped > MISSED_MAX as u64 {
                let message = format!("more than {MISSED_MAX} times were missed");
                return Err(Failure::new(failure::USAGE, Exit::Usage, message)
                    .next("say with --from where to begin"));
            }
            continue;
        }
        while runs.in_flight >= IN_FLIGHT_MAX && !runs.stopped() {
            runs.hear(LOOK_EVERY, out)?;
        }
        runs.begin(Some(at), key_at(at), None);
    }
    Ok(())
}

/// Each run so long after the one before.
fn after(
    args: &Run,
    ms: u64,
    last: Option<i64>,
    runs: &mut Runs<'_, '_, '_>,
    out: &mut Output,
) -> Result<(), Failure> {
    let delay = i64::try_from(ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
    let first = last.map_or(i64::MIN, |last| last.saturating_add(delay));
    let mut at = args.from.unwrap_or_else(Clock::wall_ns).max(first);
    while !runs.stopped() {
        let over = args.until.is_some_and(|until| at > until);
        if over || args.count.is_some_and(|count| runs.scheduled >= count) {
            return Ok(());
        }
        let left = at.saturating_sub(Clock::wall_ns());
        if left > 0 {
            let left = Duration::from_nanos(left.unsigned_abs());
            runs.hear(left.min(LOOK_EVERY), out)?;
            continue;
        }
        runs.begin(Some(at), key_at(at), None);
        runs.drain(out)?;
        at = Clock::wall_ns().saturating_add(delay);
    }
    Ok(())
}

/// A run for each gathering of events that is whole, one after the other.
fn on_events(
    args: &Run,
    gathering: &mut Gathering<'_>,
    mut lines: Lines,
    runs: &mut Runs<'_, '_, '_>,
    out: &mut Output,
) -> Result<(), Failure> {
    while !runs.stopped() && args.count.is_none_or(|count| runs.scheduled < count) {
        let Some((number, line)) = lines.next_line()? else {
            return Ok(());
        };
        let place = format!("{}, line {number}", failure::shown(lines.path()));
        let bad = |what: &str| {
            let message = format!("line {number}: {what}");
            Failure::new(failure::BAD_LINE, Exit::No, message).place(place.clone())
        };
        let Line::Text(bytes) = line else {
            return Err(bad("an event that is too long"));
        };
        let event = Value::from_json(&bytes).map_err(|error| bad(&error.to_string()))?;
        let attribute = |name| member(event.val(), name).and_then(as_text);
        let (Some(source), Some(id)) = (attribute("source"), attribute("id")) else {
            return Err(bad("an event has a source and an id"));
        };
        match gathering.take(&event) {
            Gathered::Whole(input) => {
                runs.begin(None, format!("event/{source}/{id}"), Some(input));
                runs.drain(out)?;
            }
            Gathered::Held => {}
            Gathered::Left => runs.skipped += 1,
            Gathered::Full => return Err(bad("more events wait for others than can be held")),
        }
        runs.held = gathering.held() as u64;
    }
    Ok(())
}
