//! Temporal: histories as its command line and web interface export them.
//!
//! `{"events": [{"eventId", "eventTime", "eventType", "taskId", "…EventAttributes": {…}}, …]}`, or the same under `history`.
//! Ids are numbers in text or bare, types in either spelling, payloads base64 beside metadata that says what they are.

mod meaning;
mod table;

use crate::activation::Activations;
use crate::error::{Error, Lines, Place};
use crate::json::{Json, no_key_twice};
use crate::rules::{Rule, Rules};
use crate::{ForeignEvent, ForeignRun, Importer, Outcome};
use aos_format::canonical::{self, Event, Parser};
use meaning::{Context, attributes_of, data, one_spelling, subject};
use std::ops::Range;

const EVENT_TYPE: &str = "EVENT_TYPE_";
const STARTED: &str = "WorkflowExecutionStarted";

/// Reads histories of Temporal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Temporal;

impl Importer for Temporal {
    fn source(&self) -> &str {
        "temporal"
    }

    fn rules(&self) -> Rules {
        let list = |attributes: &[(&'static str, Rule)]| {
            attributes
                .iter()
                .map(|(name, rule)| ((*name).to_owned(), *rule))
                .collect()
        };
        let mut tables = vec![
            ("event".to_owned(), list(table::EVENT)),
            ("inside attributes".to_owned(), list(table::INSIDE)),
        ];
        tables.extend(
            table::TYPES
                .iter()
                .map(|(name, attributes)| ((*name).to_owned(), list(attributes))),
        );
        Rules {
            source: self.source().to_owned(),
            version: 1,
            unknown: "hashed as it stands",
            tables,
        }
    }

    fn parse(&self, name: &str, bytes: &[u8]) -> Result<Vec<ForeignRun>, Error> {
        let file = read_file(name, bytes)?;
        interpret(name, bytes, file).map(|run| vec![run])
    }
}

/// An event as it stands in the file.
struct Raw {
    span: Range<usize>,
    json: Json,
}

/// A file's events, and what stands beside them.
struct File {
    /// JSON pointer of the list of events.
    pointer: &'static str,
    events: Vec<Raw>,
    beside: Vec<(String, String)>,
}

/// Reads a file without judging its events.
fn read_file(name: &str, bytes: &[u8]) -> Result<File, Error> {
    let mut reader = Reader {
        name,
        bytes,
        parser: Parser::new(bytes),
        pointer: String::new(),
    };
    let mut file = File {
        pointer: "",
        events: Vec::new(),
        beside: Vec::new(),
    };
    let mut found = false;
    reader.object("an object with events", |reader, key| match key {
        "events" => {
            found = true;
            file.pointer = "/events";
            reader.events("/events", &mut file.events)
        }
        "history" => reader.object("an object with events", |reader, key| match key {
            "events" => {
                found = true;
                file.pointer = "/history/events";
                reader.events("/history/events", &mut file.events)
            }
            key => reader.beside(&format!("history.{key}"), &mut file.beside),
        }),
        key => reader.beside(key, &mut file.beside),
    })?;
    let end = reader.parser.finish();
    end.map_err(|source| reader.json(source))?;
    if !found {
        let place = Place::at(name, bytes, 0, "");
        return Err(Error::shape(
            place,
            "a member `events`",
            "an object without it",
        ));
    }
    if file.events.is_empty() {
        let place = Place::at(name, bytes, 0, file.pointer);
        return Err(Error::shape(place, "events", "an empty list"));
    }
    Ok(file)
}

/// Walks a file, keeping where it is.
struct Reader<'a> {
    name: &'a str,
    bytes: &'a [u8],
    parser: Parser<'a>,
    pointer: String,
}

impl<'a> Reader<'a> {
    fn json(&self, source: canonical::Error) -> Error {
        let byte = source.offset().unwrap_or(self.parser.offset());
        Error::Json {
            place: Box::new(Place::at(self.name, self.bytes, byte, self.pointer.clone())),
            source,
        }
    }

    fn next(&mut self) -> Result<Event<'a>, Error> {
        let event = self.parser.expect_event();
        event.map_err(|source| self.json(source))
    }

    /// Where the next value starts.
    fn start(&self) -> usize {
        let at = self.parser.offset();
        let space = |byte: &u8| b" \t\r\n".contains(byte);
        at + self.bytes[at..]
            .iter()
            .take_while(|byte| space(byte))
            .count()
    }

    fn shape(&self, byte: usize, expected: &str, found: &Event<'_>) -> Error {
        let found = match found {
            Event::Null => "null",
            Event::Bool(_) => "true or false",
            Event::Int(_) | Event::Float(_) => "a number",
            Event::String(_) | Event::Key(_) => "text",
            Event::ArrayStart | Event::ArrayEnd => "an array",
            Event::ObjectStart | Event::ObjectEnd => "an object",
        };
        let place = Place::at(self.name, self.bytes, byte, self.pointer.clone());
        Error::shape(place, expected, found)
    }

    /// Walks an object; `each` reads the value of each key.
    fn object(
        &mut self,
        expected: &str,
        mut each: impl FnMut(&mut Reader<'a>, &str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let start = self.start();
        let event = self.next()?;
        if event != Event::ObjectStart {
            return Err(self.shape(start, expected, &event));
        }
        let mut keys: Vec<(String, ())> = Vec::new();
        let len = self.pointer.len();
        while let Event::Key(key) = self.next()? {
            self.pointer
                .push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")));
            each(self, &key)?;
            self.pointer.truncate(len);
            keys.push((key.into_owned(), ()));
        }
        no_key_twice(&keys, self.parser.offset()).map_err(|source| self.json(source))
    }

    /// Keeps a member as it stands.
    fn beside(&mut self, key: &str, beside: &mut Vec<(String, String)>) -> Result<(), Error> {
        let start = self.start();
        let event = self.next()?;
        let read = Json::read(&mut self.parser, event);
        read.map_err(|source| self.json(source))?;
        let text = String::from_utf8_lossy(&self.bytes[start..self.parser.offset()]);
        beside.push((key.to_owned(), text.into_owned()));
        Ok(())
    }

    fn events(&mut self, pointer: &str, events: &mut Vec<Raw>) -> Result<(), Error> {
        let start = self.start();
        let event = self.next()?;
        if event != Event::ArrayStart {
            return Err(self.shape(start, "a list of events", &event));
        }
        loop {
            self.pointer = format!("{pointer}/{}", events.len());
            let before = self.parser.offset();
            let event = self.next()?;
            if event == Event::ArrayEnd {
                self.pointer = pointer.to_owned();
                return Ok(());
            }
            if event != Event::ObjectStart {
                return Err(self.shape(before, "an event", &event));
            }
            let start = self.parser.offset() - 1;
            let read = Json::read(&mut self.parser, event);
            let json = read.map_err(|source| self.json(source))?;
            events.push(Raw {
                span: start..self.parser.offset(),
                json,
            });
        }
    }
}

/// Makes a run of a file's events.
fn interpret(name: &str, bytes: &[u8], file: File) -> Result<ForeignRun, Error> {
    let mut context = Context::default();
    let mut activations = Activations::default();
    let mut subjects: Vec<Option<String>> = Vec::new();
    let mut events: Vec<ForeignEvent> = Vec::new();
    let mut lines = Lines::new(name, bytes);
    let mut ended = None;
    for (index, raw) in file.events.iter().enumerate() {
        let place = lines.place(raw.span.start, format!("{}/{index}", file.pointer));
        let id = event_id(&raw.json, &place)?;
        check_order(index as u64 + 1, id, &place)?;
        let foreign_type = event_type(&raw.json, &place)?;
        if (index == 0) != (foreign_type == STARTED) {
            let expected = if index == 0 {
                STARTED
            } else {
                "one WorkflowExecutionStarted, the first event"
            };
            return Err(Error::shape(
                place.inside("/eventType"),
                expected,
                foreign_type,
            ));
        }
        if ended.is_some() {
            return Err(Error::Order {
                place: Box::new(place),
                expected: "nothing after the event that ends the run".into(),
                found: format!("event {id}, {foreign_type}"),
            });
        }
        ended = outcome(&foreign_type);
        let attributes = attributes_of(&raw.json).map(|(_, attributes)| attributes);
        let about = attributes.and_then(|attributes| subject(attributes, &subjects));
        // Which workflow it is stands in START.
        let shown = about.as_deref().filter(|_| !is_of_the_run(&foreign_type));
        let activation = activations.next(&foreign_type, shown);
        let data = data(&raw.json, &foreign_type, &mut context).canonical();
        context.activations.push(activation.clone());
        subjects.push(about.filter(|_| !is_of_the_run(&foreign_type)));
        events.push(ForeignEvent {
            id: id.to_string(),
            foreign_type,
            activation,
            data,
            original: bytes[raw.span.clone()].to_vec(),
            wall_ns: time(&raw.json),
            place,
        });
    }
    let (first, place) = (&file.events[0].json, &events[0].place);
    Ok(ForeignRun {
        file: name.to_owned(),
        name: workflow(first, place)?,
        key: key(first),
        ended,
        beside: file.beside,
        notes: notes(&context),
        events,
    })
}

/// Types whose subject is the run's own workflow.
fn is_of_the_run(foreign_type: &str) -> bool {
    foreign_type == STARTED || foreign_type == "WorkflowExecutionContinuedAsNew"
}

fn notes(context: &Context) -> Vec<String> {
    let mut notes = Vec::new();
    if context.undecoded > 0 {
        notes.push(format!(
            "{} payloads say that they are JSON and are not, or nest too deeply: hashed as they stand",
            context.undecoded
        ));
    }
    if context.dangling > 0 {
        notes.push(format!(
            "{} references name no earlier event: hashed as numbers",
            context.dangling
        ));
    }
    notes
}

fn event_id(event: &Json, place: &Place) -> Result<u64, Error> {
    let Some(value) = event.member("eventId") else {
        return Err(Error::shape(place.clone(), "an event with eventId", "none"));
    };
    value.number().ok_or_else(|| {
        let found = value
            .text()
            .map_or(value.kind().to_owned(), |text| format!("{text:?}"));
        Error::shape(place.inside("/eventId"), "a whole number", found)
    })
}

fn check_order(expected: u64, found: u64, place: &Place) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    let what = if found < expected {
        "given twice or out of order"
    } else {
        "events before it are missing"
    };
    Err(Error::Order {
        place: Box::new(place.inside("/eventId")),
        expected: format!("event {expected}"),
        found: format!("event {found}: {what}"),
    })
}

fn event_type(event: &Json, place: &Place) -> Result<String, Error> {
    match event.member("eventType") {
        Some(Json::Text(text)) if !text.is_empty() => Ok(one_spelling(text, EVENT_TYPE)),
        // The API has numbers for types too; one that is newer than this table is still a type.
        Some(Json::Number(number)) => Ok(format!("EventType{number}")),
        Some(other) => Err(Error::shape(
            place.inside("/eventType"),
            "the name of a type",
            if other.text().is_some() {
                "empty text"
            } else {
                other.kind()
            },
        )),
        None => Err(Error::shape(
            place.clone(),
            "an event with eventType",
            "none",
        )),
    }
}

fn outcome(foreign_type: &str) -> Option<Outcome> {
    match foreign_type {
        "WorkflowExecutionCompleted" | "WorkflowExecutionContinuedAsNew" => {
            Some(Outcome::Completed)
        }
        "WorkflowExecutionFailed" | "WorkflowExecutionTimedOut" => Some(Outcome::Faulted),
        "WorkflowExecutionCanceled" | "WorkflowExecutionTerminated" => Some(Outcome::Cancelled),
        _ => None,
    }
}

fn workflow(first: &Json, place: &Place) -> Result<String, Error> {
    let name = attributes_of(first)
        .and_then(|(_, attributes)| attributes.member("workflowType")?.member("name")?.text());
    match name.filter(|name| !name.is_empty()) {
        Some(name) => Ok(name.to_owned()),
        None => Err(Error::shape(
            place.inside("/workflowExecutionStartedEventAttributes/workflowType"),
            "the name of the workflow",
            "none",
        )),
    }
}

/// `WORKFLOW/RUN`, or the one of them that the file names.
fn key(first: &Json) -> Option<String> {
    let (_, attributes) = attributes_of(first)?;
    let text = |name: &str| {
        let text = attributes.member(name)?.text()?;
        (!text.is_empty()).then(|| text.to_owned())
    };
    let run = text("originalExecutionRunId").or_else(|| text("firstExecutionRunId"));
    match (text("workflowId"), run) {
        (Some(workflow), Some(run)) => Some(format!("{workflow}/{run}")),
        (workflow, run) => workflow.or(run),
    }
}

/// When an event happened; 0 where that is not said, or beyond what a record holds.
fn time(event: &Json) -> i64 {
    let text = event.member("eventTime").and_then(Json::text);
    text.map_or(0, wall_ns)
}

/// RFC 3339 as nanoseconds since 1970; 0 for anything else.
pub(crate) fn wall_ns(text: &str) -> i64 {
    let time: Option<jiff::Timestamp> = text.parse().ok();
    time.and_then(|time| i64::try_from(time.as_nanosecond()).ok())
        .unwrap_or_default()
}
