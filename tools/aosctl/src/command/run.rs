//! `aosctl run`

use crate::args::{OnConflict, Run};
use crate::drive::Drive;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host::{self, Stop, progress};
use crate::input::{self, Line, Lines};
use crate::logs;
use crate::output::Output;
use crate::tally::{Name, Tally};
use aos_engine::engine::{self, Engine, Request};
use aos_engine::expr::Expr;
use aos_engine::pool::Job;
use aos_engine::seed::RootSeed;
use aos_engine::skill::Skills;
use aos_engine::value::{Val, Value, as_text};
use aos_engine::workflow::{DOCUMENT_BYTES_MAX, Definition};
use indicatif::ProgressBar;
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

/// Starts runs, or finishes those that were started before.
///
/// # Errors
/// What keeps the whole from going on; runs that fail are in the exit code.
pub fn run(args: &Run, out: &mut Output) -> Result<Exit, Failure> {
    let exit = drive(args, out)?;
    match &args.against {
        Some(gold) => {
            let reader = logs::reader(&args.log)?;
            Ok(exit.worst(super::against::compare(gold, &reader, None, out)?))
        }
        None => Ok(exit),
    }
}

fn drive(args: &Run, out: &mut Output) -> Result<Exit, Failure> {
    let definition = Arc::new(load(&args.workflow)?);
    let bar = progress::spinner();
    // Everything that can be wrong with the command is found before a log is made.
    let source = match &args.inputs {
        Some(path) => Source::Lines(Lines::open(path, &bar)?),
        None => Source::One(input::argument(
            "--input",
            args.input.as_deref().unwrap_or("{}"),
        )?),
    };
    let key_by = match &args.key_by {
        Some(text) => {
            Some(Expr::compile(text, &[]).map_err(|error| failure::key_expression(text, &error))?)
        }
        None => None,
    };
    let only_key = match (&source, &key_by) {
        (Source::One(value), Some(expr)) => Some(key(expr, value).map_err(|why| {
            let message = format!("--key-by {} {why}", failure::quoted(expr.source()));
            Failure::new(failure::KEY, Exit::Usage, message)
                .place("--input")
                .next(
                    "--key-by needs a jq expression that gives a string or a number; or --key KEY",
                )
        })?),
        _ => args.key.clone(),
    };
    let known = args
        .with
        .iter()
        .map(|path| Ok(Arc::new(load(path)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let stop = Stop::listen()?;
    let log = logs::writer(&args.log, Some(args.stride))?;
    let engine = args.driving.engine(&args.log, log)?.with_workflows(known);
    let template = Request {
        definition,
        key: None,
        input: Value::null(),
        root: root(args, &engine)?,
        on_conflict: match args.on_conflict {
            None => engine::OnConflict::Refuse,
            Some(OnConflict::Existing) => engine::OnConflict::Existing,
            Some(OnConflict::NewGeneration) => engine::OnConflict::NewGeneration,
        },
        budget: args.budget,
    };
    let drive = Drive {
        path: &args.log,
        engine,
        driving: &args.driving,
        single: args.inputs.is_none(),
        stop: &stop,
    };
    match source {
        Source::One(value) => one(
            args,
            out,
            bar,
            drive,
            Request {
                key: only_key,
                input: value,
                ..template
            },
        ),
        Source::Lines(lines) => many(
            args,
            out,
            bar,
            drive,
            &Inputs {
                lines: RefCell::new(lines),
                key_by,
                template,
            },
        ),
    }
}

enum Source {
    One(Value),
    Lines(Lines),
}

/// Reads a document that calls only what this build has.
///
/// # Errors
/// [`failure::FILE`] and what is wrong with the document.
pub fn load(path: &Path) -> Result<Definition, Failure> {
    let bytes = input::read(path, DOCUMENT_BYTES_MAX as u64)?;
    let definition = Definition::load(&bytes).map_err(failure::document(path))?;
    let skills = Skills::builtin();
    definition
        .check_skills(|name| skills.find(name).is_some())
        .map_err(failure::document(path))?;
    Ok(definition)
}

/// The root seed: the one asked for, the log's first, or a new one.
fn root(args: &Run, engine: &Engine) -> Result<RootSeed, Failure> {
    if let Some(number) = args.seed {
        return Ok(RootSeed::from_number(number));
    }
    match engine.first_seed().map_err(failure::engine(&args.log))? {
        Some(seed) => Ok(seed),
        None => Ok(RootSeed(host::random()?)),
    }
}

fn one(
    args: &Run,
    out: &mut Output,
    bar: ProgressBar,
    drive: Drive<'_>,
    request: Request,
) -> Result<Exit, Failure> {
    let stop = drive.stop;
    let mut tally = Tally::new(&args.log, out, bar, true);
    tally.begin(
        0,
        Name {
            line: None,
            key: request.key.clone(),
        },
    );
    let tally = RefCell::new(tally);
    let job = Job::Start {
        tag: 0,
        request: Box::new(request),
    };
    let driven = drive.all(&tally, std::iter::once(job));
    driven.finish(&args.log, tally.into_inner(), None, stop)
}

fn many(
    args: &Run,
    out: &mut Output,
    bar: ProgressBar,
    drive: Drive<'_>,
    inputs: &Inputs,
) -> Result<Exit, Failure> {
    let stop = drive.stop;
    let tally = RefCell::new(Tally::new(&args.log, out, bar, false));
    let mut broken = None;
    let jobs = std::iter::from_fn(|| {
        loop {
            let refused = match inputs.next() {
                Ok(Next::Request(number, request)) => {
                    let name = Name {
                        line: Some(number),
                        key: request.key.clone(),
                    };
                    tally.borrow_mut().begin(number, name);
                    return Some(Job::Start {
                        tag: number,
                        request,
                    });
                }
                Ok(Next::Refused(number, failure)) if !args.strict => {
                    let name = Name {
                        line: Some(number),
                        key: None,
                    };
                    tally.borrow_mut().fail(&name, &failure)
                }
                Ok(Next::Refused(_, failure)) => {
                    Err(failure.next("mend the line, or leave out --strict to run the others"))
                }
                Ok(Next::End) => return None,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = refused {
                broken = Some(failure);
                return None;
            }
        }
    });
    let driven = drive.all(&tally, jobs);
    driven.finish(&args.log, tally.into_inner(), broken, stop)
}

/// Requests from lines.
struct Inputs {
    lines: RefCell<Lines>,
    key_by: Option<Expr>,
    template: Request,
}

enum Next {
    Request(u64, Box<Request>),
    /// A line that makes no request.
    Refused(u64, Failure),
    End,
}

impl Inputs {
    fn next(&self) -> Result<Next, Failure> {
        let mut lines = self.lines.borrow_mut();
        let Some((number, line)) = lines.next_line()? else {
            return Ok(Next::End);
        };
        let place = format!("{}, line {number}", failure::shown(lines.path()));
        Ok(match self.request(number, line, place) {
            Ok(request) => Next::Request(number, Box::new(request)),
            Err(failure) => Next::Refused(number, failure),
        })
    }

    fn request(&self, number: u64, line: Line, place: String) -> Result<Request, Failure> {
        let bytes = match line {
            Line::Text(bytes) => bytes,
            Line::TooLong(len) => {
                let message = format!(
                    "line {number} has {len} bytes, more than the limit of {}",
                    input::INPUT_BYTES_MAX
                );
                let next = "keep large data outside and give its path or digest as the input";
                return Err(Failure::new(failure::LARGE_INPUT, Exit::Limit, message)
                    .place(place)
                    .next(next));
            }
        };
        let input = Value::from_json(&bytes).map_err(|error| {
            let mut failure = failure::value(&error, failure::BAD_LINE, Exit::No, place.clone());
            failure.message = format!("line {number}: {}", failure.message);
            failure
        })?;
        let key = match &self.key_by {
            Some(expr) => key(expr, &input).map_err(|why| {
                let next =
                    "--key-by needs a jq expression that gives a string or a number for every line";
                let message = format!(
                    "line {number}: --key-by {} {why}",
                    failure::quoted(expr.source())
                );
                Failure::new(failure::KEY, Exit::No, message)
                    .place(place)
                    .next(next)
            })?,
            None => number.to_string(),
        };
        Ok(Request {
            key: Some(key),
            input,
            ..self.template.clone()
        })
    }
}

/// The key that an expression gives: a string as it is, a number in its canonical form.
fn key(expr: &Expr, input: &Value) -> Result<String, String> {
    let found = expr
        .eval(input.val(), &|_| Val::Null, None)
        .map_err(|error| format!("failed: {error}"))?;
    if let Some(text) = as_text(&found) {
        return Ok(text.to_owned());
    }
    let found = Value::from_val(&found).map_err(|error| format!("failed: {error}"))?;
    match found.val() {
        Val::Num(_) => Ok(found.to_string()),
        _ => {
            let mut shown: String = found.as_str().chars().take(40).collect();
            if shown.len() < found.as_str().len() {
                shown.push('…');
            }
            Err(format!("gave {shown}, not a string or a number"))
        }
    }
}
