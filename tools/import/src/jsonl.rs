//! JSON lines of any engine: one event a line, told by a mapping.

use crate::activation::Activations;
use crate::error::{Error, Lines, Place};
use crate::json::Json;
use crate::rules::{Rule, Rules};
use crate::temporal::wall_ns;
use crate::{ForeignEvent, ForeignRun, Importer, Outcome};
use std::collections::BTreeMap;

/// A JSON pointer into a line, or the same with dots: `/event/type` or `event.type`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Path(Vec<String>);

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// [`Error::Mapping`] for an empty one.
    pub fn parse(text: &str) -> Result<Path, Error> {
        let names: Vec<String> = match text.strip_prefix('/') {
            Some(rest) => rest
                .split('/')
                .map(|name| name.replace("~1", "/").replace("~0", "~"))
                .collect(),
            None => text
                .trim_start_matches('.')
                .split('.')
                .map(str::to_owned)
                .collect(),
        };
        if names.iter().any(String::is_empty) {
            return Err(Error::Mapping {
                what: "a path".into(),
                expected: "names between / or .".into(),
                found: format!("{text:?}"),
            });
        }
        Ok(Path(names))
    }

    /// As a JSON pointer.
    pub fn pointer(&self) -> String {
        let escaped = |name: &String| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        self.0.iter().map(escaped).collect()
    }

    fn find<'j>(&self, value: &'j Json) -> Option<&'j Json> {
        self.0
            .iter()
            .try_fold(value, |value, name| value.member(name))
    }

    fn remove(&self, value: &mut Json) {
        let Some((last, parents)) = self.0.split_last() else {
            return;
        };
        let mut at = value;
        for name in parents {
            let Json::Object(members) = at else { return };
            let Some((_, inner)) = members.iter_mut().find(|(known, _)| known == name) else {
                return;
            };
            at = inner;
        }
        if let Json::Object(members) = at {
            members.retain(|(name, _)| name != last);
        }
    }
}

/// What a source of lines is called, where lines and files do not say it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Name of the engine: the namespace of the runs.
    pub engine: String,
    /// Name of the workflow.
    pub workflow: String,
}

impl Default for Source {
    fn default() -> Source {
        Source {
            engine: "jsonl".into(),
            workflow: "jsonl".into(),
        }
    }
}

/// Where in a line things stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Type of the event; every line must have it.
    pub foreign_type: Path,
    /// Run it belongs to; without it a file is one run.
    pub run: Option<Path>,
    /// What the source calls the event; the number of the line otherwise. Not hashed.
    pub id: Option<Path>,
    /// When it happened, RFC 3339. Not hashed.
    pub time: Option<Path>,
    /// What it is about: an activity, a tool.
    pub subject: Option<Path>,
    /// Attributes that do not count.
    pub volatile: Vec<Path>,
    /// Types that end a run, and how.
    pub ends: BTreeMap<String, Outcome>,
}

impl Mapping {
    /// A mapping with nothing but the type.
    pub fn new(foreign_type: Path) -> Mapping {
        Mapping {
            foreign_type,
            run: None,
            id: None,
            time: None,
            subject: None,
            volatile: Vec::new(),
            ends: BTreeMap::new(),
        }
    }
}

/// Reads JSON lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Jsonl {
    source: Source,
    mapping: Mapping,
}

/// What a line says.
struct Line {
    /// Run it belongs to.
    run: Option<String>,
    /// What that is in JSON.
    run_kind: &'static str,
    subject: Option<String>,
    event: ForeignEvent,
}

impl Jsonl {
    /// Reads lines of `source` by `mapping`.
    pub fn new(source: Source, mapping: Mapping) -> Jsonl {
        Jsonl { source, mapping }
    }

    fn event(&self, line: &[u8], number: usize, place: &Place) -> Result<Line, Error> {
        let mut json = Json::parse(line).map_err(|source| Error::Json {
            place: Box::new(Place {
                byte: place.byte + source.offset().unwrap_or(0),
                column: place.column + source.offset().unwrap_or(0),
                ..place.clone()
            }),
            source,
        })?;
        if !matches!(json, Json::Object(_)) {
            return Err(Error::shape(place.clone(), "an object", json.kind()));
        }
        let mapping = &self.mapping;
        let text = |path: &Path| {
            path.find(&json).and_then(|value| match value {
                Json::Text(text) | Json::Number(text) => Some(text.clone()),
                _ => None,
            })
        };
        let needed = |path: &Path| match text(path).filter(|text| !text.is_empty()) {
            Some(text) => Ok(text),
            None => {
                let found = path.find(&json).map_or("nothing", Json::kind);
                let place = place.inside(&path.pointer());
                Err(Error::shape(place, "text or a number", found))
            }
        };
        let run = mapping.run.as_ref().map(needed).transpose()?;
        let run_kind = mapping.run.as_ref().and_then(|path| path.find(&json));
        let run_kind = run_kind.map_or("nothing", Json::kind);
        let foreign_type = needed(&mapping.foreign_type)?;
        let id = match &mapping.id {
            Some(path) => needed(path)?,
            None => number.to_string(),
        };
        let time = mapping.time.as_ref().and_then(text);
        let subject = mapping.subject.as_ref().and_then(text);
        let unhashed = [&mapping.run, &mapping.id, &mapping.time];
        let unhashed = unhashed.into_iter().flatten();
        for path in unhashed
            .chain([&mapping.foreign_type])
            .chain(&mapping.volatile)
        {
            path.remove(&mut json);
        }
        let event = ForeignEvent {
            id,
            foreign_type,
            activation: String::new(),
            data: json.canonical(),
            original: line.to_vec(),
            wall_ns: time.as_deref().map_or(0, wall_ns),
            place: place.clone(),
        };
        Ok(Line {
            run,
            run_kind,
            subject,
            event,
        })
    }
}

impl Importer for Jsonl {
    fn source(&self) -> &str {
        &self.source.engine
    }

    fn rules(&self) -> Rules {
        let mapping = &self.mapping;
        let mut line = vec![(mapping.foreign_type.pointer(), Rule::Name("", ""))];
        let unhashed = [&mapping.run, &mapping.id, &mapping.time];
        let volatile = unhashed.into_iter().flatten().chain(&mapping.volatile);
        line.extend(volatile.map(|path| (path.pointer(), Rule::Volatile)));
        let mut tables = vec![("line".to_owned(), line)];
        if let Some(subject) = &mapping.subject {
            tables.push(("subject".into(), vec![(subject.pointer(), Rule::Hashed)]));
        }
        let ends = mapping
            .ends
            .iter()
            .map(|(name, outcome)| (format!("{name} {}", outcome.name()), Rule::Hashed));
        tables.push(("ends".to_owned(), ends.collect()));
        Rules {
            source: self.source.engine.clone(),
            version: 1,
            unknown: "hashed as it stands",
            tables,
        }
    }

    fn parse(&self, name: &str, bytes: &[u8]) -> Result<Vec<ForeignRun>, Error> {
        let mut lines = Lines::new(name, bytes);
        let mut runs: Vec<(ForeignRun, Activations)> = Vec::new();
        let mut index: BTreeMap<Option<String>, (usize, &'static str)> = BTreeMap::new();
        let mut start = 0;
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let place = lines.place(start, String::new());
            start += line.len() + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let line = self.event(line, number + 1, &place)?;
            let (key, mut event) = (line.run, line.event);
            let known = index.entry(key.clone());
            let (at, kind) = *known.or_insert((runs.len(), line.run_kind));
            if kind != line.run_kind {
                // Which is one run for whoever wrote `1` and `"1"`, and which are two, is not for us to say.
                let mapped = self.mapping.run.as_ref().map(Path::pointer);
                let place = place.inside(&mapped.unwrap_or_default());
                let expected = format!(
                    "{kind}, as run {} has it in lines before",
                    key.unwrap_or_default()
                );
                return Err(Error::shape(place, expected, line.run_kind));
            }
            if at == runs.len() {
                runs.push((self.run(name, key), Activations::default()));
            }
            let (run, activations) = &mut runs[at];
            if run.ended.is_some() {
                return Err(Error::Order {
                    place: Box::new(place),
                    expected: "nothing after the event that ends the run".into(),
                    found: format!("event {}, {}", event.id, event.foreign_type),
                });
            }
            event.activation = activations.next(&event.foreign_type, line.subject.as_deref());
            run.ended = self.mapping.ends.get(&event.foreign_type).copied();
            run.events.push(event);
        }
        if runs.is_empty() {
            let place = Place::at(name, bytes, 0, "");
            return Err(Error::shape(place, "at least one line", "none"));
        }
        Ok(runs.into_iter().map(|(run, _)| run).collect())
    }
}

impl Jsonl {
    fn run(&self, name: &str, key: Option<String>) -> ForeignRun {
        ForeignRun {
            file: name.to_owned(),
            name: self.source.workflow.clone(),
            key,
            events: Vec::new(),
            ended: None,
            beside: Vec::new(),
            notes: Vec::new(),
        }
    }
}
