//! `aosctl event send`, `aosctl cancel`, `aosctl suspend`, and `resume` of a run that another process can drive.

use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::output::{Object, Output, talk};
use crate::{host, input, logs, mail};
use aos_engine::clock::Clock;
use aos_engine::engine::Signalled;
use aos_engine::lifecycle;
use aos_engine::machine::{Answer, Control};
use aos_engine::value::{Value, object, text};
use aos_format::record::StreamId;
use aos_store::{RunRow, Source};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `event`
#[derive(Subcommand, Debug)]
pub enum Event {
    /// Bring an event to a run that listens
    Send(Send),
    /// List what happened to runs, and what they published, as CloudEvents, one a line
    Ls(Ls),
}

/// `event send`
#[derive(Args, Debug)]
pub struct Send {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Run: its id, the first 6 or more digits of it, or its key
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Type of the event
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: String,
    /// Source of the event
    #[arg(long, value_name = "URI", default_value = "aosctl")]
    pub source: String,
    /// Id of the event, unique for its source; a random one by default
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Data of the event
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub data: Option<String>,
    /// Another attribute of the event
    #[arg(long = "attribute", value_name = "NAME=TEXT")]
    pub attributes: Vec<String>,
}

/// `event ls`
#[derive(Args, Debug)]
pub struct Ls {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// One run: its id, the first 6 or more digits of it, or its key; all runs by default
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
}

/// `cancel`, `suspend`
#[derive(Args, Debug)]
pub struct Steer {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Run: its id, the first 6 or more digits of it, or its key
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Who does it, for the record; the user's name by default
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,
}

/// Lists the lifecycle events of runs, each run's after the other's.
///
/// # Errors
/// Those of reading the log; no run of that name.
pub fn list(args: &Ls, out: &mut Output) -> Result<Exit, Failure> {
    let failed = failure::store(&args.log);
    let reader = logs::reader(&args.log)?;
    let index = reader.index().map_err(&failed)?;
    let rows: Vec<RunRow> = match &args.run {
        Some(run) => vec![logs::find(&args.log, index.rows.runs.values(), run)?],
        None => index.rows.runs.values().cloned().collect(),
    };
    for row in rows {
        let records = reader.stream(StreamId::run(row.run), 1).map_err(&failed)?;
        let events = lifecycle::events(&row, &records, &logs::Stored(&reader));
        let events = events.map_err(|source| {
            let run = row.run;
            failure::engine(&args.log)(aos_engine::Error::History { run, source })
        })?;
        events
            .iter()
            .try_for_each(|event| out.line(event.as_str()))?;
    }
    super::runs::settle(&args.log, index.finding.as_ref())
}

/// Brings an event to a run.
///
/// # Errors
/// [`failure::USAGE`] for attributes that are none; those of opening the log and of resuming the run.
pub fn send(args: &Send, out: &mut Output) -> Result<Exit, Failure> {
    let id = match &args.id {
        Some(id) => id.clone(),
        None => host::random::<16>()?
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    };
    let mut members = vec![
        ("specversion", text("1.0")),
        ("id", text(&id)),
        ("source", text(&args.source)),
        ("type", text(&args.event_type)),
    ];
    if let Some(data) = &args.data {
        let data = input::argument("--data", data)?;
        members.push(("data", data.val().clone()));
    }
    for attribute in &args.attributes {
        let Some((name, value)) = attribute.split_once('=') else {
            let message = format!("--attribute {attribute}: expected NAME=TEXT");
            return Err(Failure::new(failure::USAGE, Exit::Usage, message));
        };
        members.push((name, text(value)));
    }
    let event = Value::from_val(&object(members))
        .map_err(|error| Failure::new(error.code(), Exit::Usage, format!("the event: {error}")))?;
    let answer = Answer::Event {
        event,
        actor: host::user(),
    };
    let told = bring(&args.log, &args.run, answer, "event", out)?;
    if told.already {
        talk("the run has this event, of the same source and id, on record already");
    } else if !told.taken {
        talk("the run does not listen for such an event now");
        return Ok(Exit::No);
    }
    Ok(Exit::Yes)
}

/// Steers a run.
///
/// # Errors
/// Those of opening the log and of resuming the run.
pub fn steer(args: &Steer, control: Control, out: &mut Output) -> Result<Exit, Failure> {
    let actor = args.actor.clone().unwrap_or_else(host::user);
    let what = control.signal_type();
    let answer = Answer::Control(control, actor);
    if bring(&args.log, &args.run, answer, what, out)?.already {
        talk("the run is suspended already");
    }
    Ok(Exit::Yes)
}

/// Has the process that has the log open go on with a run, suspended or left; whether there was one to do it.
///
/// # Errors
/// No run of that name; that the process does not answer, or that the run has ended.
pub fn go_on(path: &std::path::Path, run: &str, out: &mut Output) -> Result<bool, Failure> {
    let index = logs::reader(path)?.index().map_err(failure::store(path))?;
    let row = logs::find(path, index.rows.runs.values(), run)?;
    let control = Control::Resume;
    let answer = Answer::Control(control, host::user());
    let Some(told) = mail::send(path, row.run, &answer)? else {
        return Ok(false);
    };
    report(path, &row, control.signal_type(), &told, false, out)?;
    talk(match told.taken {
        true => "the process that has the log open goes on with the run",
        false => "the run is not suspended; the process that has the log open drives it",
    });
    Ok(true)
}

fn bring(
    path: &std::path::Path,
    run: &str,
    answer: Answer,
    what: &str,
    out: &mut Output,
) -> Result<mail::Reply, Failure> {
    let failed = failure::store(path);
    // The log may be open for writing elsewhere, and that process drives its runs.
    let log = loop {
        match logs::writer(path, None) {
            Ok(log) => break log,
            Err(busy) if busy.code == "AOS-S002" => {
                let index = logs::reader(path)?.index().map_err(&failed)?;
                let row = logs::find(path, index.rows.runs.values(), run)?;
                if let Some(told) = mail::send(path, row.run, &answer)? {
                    return report(path, &row, what, &told, false, out);
                }
            }
            Err(other) => return Err(other),
        }
    };
    let rows = log.rows().map_err(&failed)?;
    let row = logs::find(path, rows.runs.values(), run)?;
    let engine = logs::engine(path, log, Clock::default())?;
    let taken = engine
        .signal(row.run, answer)
        .map_err(failure::engine(path))?;
    if let Signalled::Taken(ticket) = &taken {
        engine.log().wait(ticket.clone()).map_err(&failed)?;
    }
    let reply = mail::Reply {
        taken: matches!(taken, Signalled::Taken(_)),
        already: matches!(taken, Signalled::Already),
        durable: logs::close(path, engine)?.0,
    };
    report(path, &row, what, &reply, true, out)
}

/// Says what became of it. `left` tells that nobody drives the run.
fn report(
    path: &std::path::Path,
    row: &RunRow,
    what: &str,
    reply: &mail::Reply,
    left: bool,
    out: &mut Output,
) -> Result<mail::Reply, Failure> {
    let report = Object::new()
        .with("schema", "aos.signal.v1")
        .with("log", path.display().to_string())
        .with("run", row.run.to_string())
        .with("signal", what)
        .with("taken", reply.taken)
        .with("already", reply.already)
        .with("durable_offset", reply.durable);
    out.object(&report)?;
    if left && reply.taken && what != Control::Suspend.signal_type() {
        talk(&format!(
            "on record; to go on: aosctl resume {} {}",
            failure::argument(path),
            row.run
        ));
    }
    Ok(*reply)
}
