//! Letters to the process that drives the runs of a log: how `cancel`, `suspend`, `resume` and `event send` reach a run while the log is
//! open for writing elsewhere.
//!
//! ```text
//! LOG/mail/ID.new       a letter being written, or an answer; no reader looks at it
//! LOG/mail/ID.letter    {"actor", "control" or "event", "run", "until_ns"}
//! LOG/mail/ID.taken     the writer of the log has it; its sender cannot take it back any more
//! LOG/mail/ID.answer    what became of it, durable in the log by then
//! ```
//!
//! Each step is a rename, so a letter is delivered once or not at all: a sender that waited in vain takes it back, and a writer
//! leaves one alone that is older than its sender waits. Nothing of the folder is part of the log.

use crate::exit::Exit;
use crate::explain;
use crate::failure::{self, Failure};
use crate::{host, logs};
use aos_engine::clock::Clock;
use aos_engine::engine::{Engine, Signalled};
use aos_engine::machine::{Answer, Control};
use aos_engine::value::{Val, Value, as_text, member, object, text};
use aos_format::digest::RunId;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often either side looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// At which looks a sender sees whether the log is free: seldom, as that keeps it from others for a moment.
const FREE_EVERY: u32 = 10;
/// How long a sender waits before it takes its letter back.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest letter or answer that is read.
const BYTES_MAX: u64 = 16 << 20;

/// What became of a letter.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// It is on record since.
    pub taken: bool,
    /// It was on record before.
    pub already: bool,
    /// Everything before this offset is durable.
    pub durable: u64,
}

fn folder(log: &Path) -> PathBuf {
    log.join("mail")
}

fn write(dir: &Path, id: &str, kind: &str, value: &Value) -> Result<(), Failure> {
    let (new, path) = (
        dir.join(format!("{id}.new")),
        dir.join(format!("{id}.{kind}")),
    );
    fs::write(&new, value.canonical())
        .and_then(|()| fs::rename(&new, &path))
        .map_err(|error| failure::file("write", &path, &error))
}

fn read(path: &Path) -> Option<Value> {
    let size = fs::metadata(path).ok()?.len();
    let bytes = (size <= BYTES_MAX).then(|| fs::read(path).ok())??;
    Value::from_json(&bytes).ok()
}

fn number(val: &Val, name: &str) -> Option<u64> {
    member(val, name)?.to_string().parse().ok()
}

/// Sends a letter to whoever writes the log and waits for the answer; none when that one has ended meanwhile and has not read
/// it.
///
/// # Errors
/// The one that the writer met; that nobody answers, after ten seconds; those of writing the letter.
pub fn send(log: &Path, run: RunId, answer: &Answer) -> Result<Option<Reply>, Failure> {
    let (what, value, actor) = match answer {
        Answer::Control(control, actor) => ("control", text(control.signal_type()), actor),
        Answer::Event { event, actor } => ("event", event.val().clone(), actor),
        _ => return Ok(None),
    };
    let patience = i64::try_from(PATIENCE.as_nanos()).unwrap_or(i64::MAX);
    let until = Clock::wall_ns().saturating_add(patience);
    let letter = Value::from_val(&object([
        ("actor", text(actor)),
        (what, value),
        ("run", text(&run.to_string())),
        ("until_ns", text(&until.to_string())),
    ]));
    let letter = letter
        .map_err(|error| Failure::new(error.code(), Exit::Usage, format!("the letter: {error}")))?;
    let dir = folder(log);
    fs::create_dir_all(&dir).map_err(|error| failure::file("make", &dir, &error))?;
    let id: String = host::random::<16>()?
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    write(&dir, &id, "letter", &letter)?;
    let at = |kind: &str| dir.join(format!("{id}.{kind}"));
    for look in 1u32.. {
        if let Some(answer) = read(&at("answer")) {
            // What is left behind is of no use and does no harm.
            let _ = fs::remove_file(at("answer"));
            let _ = fs::remove_dir(&dir);
            return reply(answer.val()).map(Some);
        }
        let late = Clock::wall_ns() > until;
        let freed = look.is_multiple_of(FREE_EVERY) && logs::is_free(log);
        if (late || freed) && fs::remove_file(at("letter")).is_ok() {
            let _ = fs::remove_dir(&dir);
            return match freed {
                true => Ok(None),
                false => Err(unanswered(log)),
            };
        }
        if freed && at("taken").exists() && !at("answer").exists() {
            // Whoever had it has ended without an answer. The log says whether it is on record.
            let _ = fs::remove_file(at("taken"));
            let _ = fs::remove_dir(&dir);
            return Ok(None);
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    Err(unanswered(log))
}

fn unanswered(log: &Path) -> Failure {
    let name = failure::argument(log);
    let message = format!(
        "the process that writes {name} has not answered within {} s",
        PATIENCE.as_secs()
    );
    Failure::new("AOS-S002", Exit::Environment, message)
        .place(failure::shown(log))
        .next("wait until that process has ended, and then the same command again")
}

fn reply(answer: &Val) -> Result<Reply, Failure> {
    let part = |name| member(answer, name).and_then(as_text);
    if let Some(message) = part("error") {
        let code = part("code").unwrap_or_default();
        let known = explain::PAGES.iter().find(|(page, _)| *page == code);
        let exit = number(answer, "exit").unwrap_or_default();
        let exit = Exit::ALL
            .into_iter()
            .find(|e| u64::from(e.number()) == exit);
        let failure = Failure::new(
            known.map_or("AOS-S002", |(code, _)| code),
            exit.unwrap_or(Exit::Refused),
            message,
        );
        return Err(failure.place(part("place").unwrap_or_default()));
    }
    let flag = |name| matches!(member(answer, name), Some(Val::Bool(true)));
    Ok(Reply {
        taken: flag("taken"),
        already: flag("already"),
        durable: number(answer, "durable_offset").unwrap_or_default(),
    })
}

/// Delivers letters to runs of this process until `over` is set.
pub fn serve(log: &Path, engine: &Engine, over: &AtomicBool) {
    let dir = folder(log);
    while !over.load(Ordering::Acquire) {
        for (id, path) in letters(&dir) {
            let taken = dir.join(format!("{id}.taken"));
            if fs::rename(&path, &taken).is_err() {
                continue; // Its sender was quicker.
            }
            if let Some(answer) = deliver(log, engine, &taken) {
                // A sender that hears nothing looks into the log.
                let _ = write(&dir, &id, "answer", &answer);
            }
            let _ = fs::remove_file(&taken);
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// The letters that wait, in the order of their ids.
fn letters(dir: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut found: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let id = path.file_name()?.to_str()?.strip_suffix(".letter")?;
            Some((id.to_owned(), path.clone()))
        })
        .collect();
    found.sort();
    found
}

/// What becomes of a letter; none of one whose sender has given up, or that is none.
fn deliver(log: &Path, engine: &Engine, path: &Path) -> Option<Value> {
    let letter = read(path)?;
    let part = |name| member(letter.val(), name).and_then(as_text);
    let until: i64 = part("until_ns")?.parse().ok()?;
    if Clock::wall_ns() > until {
        return None;
    }
    let actor = part("actor")?.to_owned();
    let answer = match (part("control"), member(letter.val(), "event")) {
        (Some(control), None) => {
            let mut all = Control::ALL.into_iter();
            let control = all.find(|known| known.signal_type() == control)?;
            Answer::Control(control, actor)
        }
        (None, Some(event)) => Answer::Event {
            event: Value::from_val(event).ok()?,
            actor,
        },
        _ => return None,
    };
    let run = RunId::from_hex(part("run")?)?;
    let goes_on = matches!(answer, Answer::Control(Control::Resume, _));
    let told = engine.bring(run, answer).and_then(|told| {
        if goes_on {
            engine.take_on(run);
        }
        if let Signalled::Taken(ticket) = &told {
            engine.log().wait(ticket.clone())?;
        }
        Ok(told)
    });
    let members = match told {
        Ok(told) => {
            let durable = usize::try_from(engine.log().durable().0).ok()?;
            vec![
                ("taken", Val::Bool(matches!(told, Signalled::Taken(_)))),
                ("already", Val::Bool(matches!(told, Signalled::Already))),
                ("durable_offset", Val::from(durable)),
            ]
        }
        Err(error) => {
            let failure = failure::engine(log)(error);
            vec![
                ("code", text(failure.code)),
                ("error", text(&failure.message)),
                ("exit", Val::from(usize::from(failure.exit.number()))),
                ("place", text(failure.place.as_deref().unwrap_or_default())),
            ]
        }
    };
    Value::from_val(&object(members)).ok()
}

/// Serves letters while `work` goes on.
pub fn during<T>(log: &Path, engine: &Engine, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // However the work ends, a panic included, the postman goes home.
        let _home = Home(&over);
        scope.spawn(|| serve(log, engine, &over));
        work()
    })
}

struct Home<'a>(&'a AtomicBool);

impl Drop for Home<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
