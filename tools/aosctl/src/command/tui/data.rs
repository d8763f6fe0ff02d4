//! What the screens show, read from the logs when it is asked for.

use crate::failure::{self, Failure};
use crate::logs;
use crate::record::{Shown, values};
use aos_format::digest::{Digest, RunId};
use aos_format::record::StreamId;
use aos_store::{Index, LogReader, RunRow, Source, StoredRecord};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Events of a run in memory at a time; of a longer one the newest.
const EVENTS_MAX: u64 = 100_000;

/// Characters of a line of detail.
const LINE_CHARS: usize = 2_000;

/// A log and its index.
struct Side {
    path: PathBuf,
    reader: LogReader,
    index: Arc<Index>,
}

impl Side {
    fn open(path: &Path) -> Result<Side, Failure> {
        let reader = logs::reader(path)?;
        let index = reader.index().map_err(failure::store(path))?;
        Ok(Side {
            path: path.to_owned(),
            reader,
            index,
        })
    }

    fn row(&self, run: RunId) -> Option<&RunRow> {
        self.index.rows.runs.get(&run)
    }

    fn records(&self, row: &RunRow) -> Result<Vec<StoredRecord>, Failure> {
        let from = row.seq.saturating_sub(EVENTS_MAX) + 1;
        self.reader
            .stream(StreamId::run(row.run), from)
            .map_err(failure::store(&self.path))
    }

    fn line(&self, record: StoredRecord) -> Result<Line, Failure> {
        let shown = Shown::new(&record).map_err(failure::store(&self.path))?;
        let digest = record.view().map_err(failure::store(&self.path))?.digest();
        Ok(Line {
            seq: record.seq(),
            kind: shown.kind(),
            activation: shown.activation().to_owned(),
            what: shown.what(),
            digest: shown.kind_advances().then_some(digest),
            record,
        })
    }

    fn detail(&self, line: &Line) -> Result<Vec<String>, Failure> {
        let failed = failure::store(&self.path);
        let shown = Shown::new(&line.record).map_err(&failed)?;
        let mut lines = vec![format!("{} {}", shown.kind(), shown.activation())];
        for (name, text) in values(&self.reader, &line.record).map_err(&failed)? {
            lines.push(format!("{name}:"));
            match text {
                Some(text) => lines.extend(pretty(&text)),
                None => lines.push("  not stored".into()),
            }
        }
        lines.push(String::new());
        let object = shown.object();
        lines.extend(object.pairs().map(|(name, text)| format!("{name}: {text}")));
        Ok(lines)
    }
}

/// A value over several lines.
fn pretty(text: &str) -> Vec<String> {
    let value: Result<serde_json::Value, _> = serde_json::from_str(text);
    let told = value
        .ok()
        .and_then(|value| serde_json::to_string_pretty(&value).ok());
    let told = told.unwrap_or_else(|| text.to_owned());
    told.lines()
        .map(|line| match line.char_indices().nth(LINE_CHARS) {
            Some((at, _)) => format!("  {}… ({} bytes)", &line[..at], line.len()),
            None => format!("  {line}"),
        })
        .collect()
}

/// One log, or two whose runs are compared.
pub struct Data {
    a: Side,
    b: Option<Side>,
}

/// A run in the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunLine {
    pub id: RunId,
    pub key: String,
    pub status: &'static str,
    pub workflow: String,
    pub events: u64,
    pub digest: Digest,
    /// Of two logs: whether the run is the same in both.
    pub compared: Option<Compared>,
}

/// A run in two logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compared {
    Equal,
    Differs,
    OnlyA,
    OnlyB,
}

impl Compared {
    pub fn name(self) -> &'static str {
        match self {
            Compared::Equal => "equal",
            Compared::Differs => "differs",
            Compared::OnlyA => "only in A",
            Compared::OnlyB => "only in B",
        }
    }
}

impl RunLine {
    /// Whether the filter lets it pass; `words` is lower case.
    pub fn has(&self, words: &str) -> bool {
        let compared = self.compared.map_or("", Compared::name);
        words.split_whitespace().all(|word| {
            [&self.key, &self.workflow, &self.id.to_string()]
                .iter()
                .any(|text| text.to_lowercase().contains(word))
                || self.status.contains(word)
                || compared.contains(word)
        })
    }
}

/// An event of one side.
#[derive(Debug)]
pub struct Line {
    pub seq: u64,
    pub kind: &'static str,
    pub activation: String,
    pub what: String,
    /// History digest, where it advances the history.
    pub digest: Option<Digest>,
    record: StoredRecord,
}

/// A line of the timeline: an event, or what stands side by side.
#[derive(Debug)]
pub struct EventLine {
    pub a: Option<Line>,
    pub b: Option<Line>,
    pub mark: Mark,
}

/// How the sides of a line compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// There is one side only.
    Single,
    /// The history digests are equal: so is all before.
    Equal,
    /// Content is equal, something before it is not.
    Follows,
    /// Content differs.
    Modified,
    OnlyA,
    OnlyB,
}

impl EventLine {
    pub fn differs(&self) -> bool {
        matches!(self.mark, Mark::Modified | Mark::OnlyA | Mark::OnlyB)
    }
}

/// What is to be said of a line, in full.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Detail {
    pub lines: Vec<DetailLine>,
}

/// A line of detail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DetailLine {
    pub text: String,
    pub from: From,
}

/// Which side a line of detail is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    Both,
    A,
    B,
}

impl Data {
    /// Opens one log or two.
    ///
    /// # Errors
    /// Those of reading them.
    pub fn open(a: &Path, b: Option<&Path>) -> Result<Data, Failure> {
        Ok(Data {
            a: Side::open(a)?,
            b: b.map(Side::open).transpose()?,
        })
    }

    /// Names the logs otherwise than by their paths.
    #[cfg(test)]
    pub fn call(&mut self, names: &[&str]) {
        for (side, name) in std::iter::once(&mut self.a).chain(&mut self.b).zip(names) {
            side.path = PathBuf::from(name);
        }
    }

    pub fn is_pair(&self) -> bool {
        self.b.is_some()
    }

    /// What is shown, in short.
    pub fn title(&self) -> String {
        let name = |side: &Side| side.path.display().to_string();
        match &self.b {
            None => name(&self.a),
            Some(b) => format!("{} ⇄ {}", name(&self.a), name(b)),
        }
    }

    /// What is wrong with a log, if anything.
    pub fn finding(&self) -> Option<String> {
        let sides = std::iter::once(&self.a).chain(&self.b);
        sides
            .filter_map(|side| side.index.finding.as_ref())
            .map(ToString::to_string)
            .next()
    }

    /// The run of that name.
    ///
    /// # Errors
    /// None, or several.
    pub fn find(&self, name: &str) -> Result<RunId, Failure> {
        let rows = self.a.index.rows.runs.values();
        match (logs::find(&self.a.path, rows, name), &self.b) {
            (Ok(row), _) => Ok(row.run),
            (Err(_), Some(b)) if logs::find(&b.path, b.index.rows.runs.values(), name).is_ok() => {
                logs::find(&b.path, b.index.rows.runs.values(), name).map(|row| row.run)
            }
            (Err(failure), _) => Err(failure),
        }
    }

    /// All runs in the order in which they were started; of two logs those that differ first.
    pub fn runs(&self) -> Vec<RunLine> {
        let mut rows: Vec<(&RunRow, Option<Compared>)> = Vec::new();
        for row in self.a.index.rows.runs.values() {
            let compared = self.b.as_ref().map(|b| match b.row(row.run) {
                None => Compared::OnlyA,
                Some(other) if other.digest == row.digest => Compared::Equal,
                Some(_) => Compared::Differs,
            });
            rows.push((row, compared));
        }
        if let Some(b) = &self.b {
            let only = b.index.rows.runs.values();
            rows.extend(
                only.filter(|row| self.a.row(row.run).is_none())
                    .map(|row| (row, Some(Compared::OnlyB))),
            );
        }
        rows.sort_by_key(|(row, compared)| {
            let order = match compared {
                Some(Compared::Differs) => 0,
                Some(Compared::OnlyA | Compared::OnlyB) => 1,
                None | Some(Compared::Equal) => 2,
            };
            (order, row.start)
        });
        rows.into_iter()
            .map(|(row, compared)| RunLine {
                id: row.run,
                key: row.key.clone(),
                status: logs::status(row),
                workflow: format!("{}/{} {}", row.namespace, row.name, row.version),
                events: row.events,
                digest: row.digest,
                compared,
            })
            .collect()
    }

    /// The timeline of a run.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn events(&self, run: &RunLine) -> Result<Vec<EventLine>, Failure> {
        let lines = |side: &Side| -> Result<Vec<Line>, Failure> {
            let Some(row) = side.row(run.id) else {
                return Ok(Vec::new());
            };
            let records = side.records(row)?;
            records
                .into_iter()
                .map(|record| side.line(record))
                .collect()
        };
        let a = lines(&self.a)?;
        let Some(b) = &self.b else {
            let single = |line| EventLine {
                a: Some(line),
                b: None,
                mark: Mark::Single,
            };
            return Ok(a.into_iter().map(single).collect());
        };
        Ok(side_by_side(a, lines(b)?))
    }

    /// All that is to be said of a line.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn detail(&self, line: &EventLine) -> Result<Detail, Failure> {
        let told = |side: Option<&Side>, line: &Option<Line>| match (side, line) {
            (Some(side), Some(line)) => side.detail(line),
            _ => Ok(Vec::new()),
        };
        let a = told(Some(&self.a), &line.a)?;
        let b = told(self.b.as_ref(), &line.b)?;
        let lines = if line.b.is_none() && !self.is_pair() {
            let both = |text| DetailLine {
                text,
                from: From::Both,
            };
            a.into_iter().map(both).collect()
        } else {
            lines_apart(a, b)
        };
        Ok(Detail { lines })
    }
}

/// Lays two timelines side by side: by the step, kind and occurrence of each event, in the order of A.
fn side_by_side(a: Vec<Line>, b: Vec<Line>) -> Vec<EventLine> {
    let name = |line: &Line| format!("{} {}", line.kind, line.activation);
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, line) in b.iter().enumerate().rev() {
        places.entry(name(line)).or_default().push(at);
    }
    let mut rows = Vec::with_capacity(a.len().max(b.len()));
    let mut b: Vec<Option<Line>> = b.into_iter().map(Some).collect();
    let mut next = 0;
    let flush = |rows: &mut Vec<EventLine>, b: &mut [Option<Line>], from: usize, to: usize| {
        for line in b[from..to].iter_mut().filter_map(Option::take) {
            rows.push(EventLine {
                a: None,
                b: Some(line),
                mark: Mark::OnlyB,
            });
        }
    };
    for left in a {
        let partner = places.get_mut(&name(&left)).and_then(Vec::pop);
        // Only forward: what stands in another order is shown where it stands.
        match partner
            .filter(|at| *at >= next)
            .and_then(|at| Some((at, b[at].take()?)))
        {
            Some((at, right)) => {
                flush(&mut rows, &mut b, next, at);
                next = at + 1;
                let mark = match (left.digest, right.digest) {
                    (a, b) if a == b => Mark::Equal,
                    _ if left.content() == right.content() => Mark::Follows,
                    _ => Mark::Modified,
                };
                rows.push(EventLine {
                    a: Some(left),
                    b: Some(right),
                    mark,
                });
            }
            None => rows.push(EventLine {
                a: Some(left),
                b: None,
                mark: Mark::OnlyA,
            }),
        }
    }
    let end = b.len();
    flush(&mut rows, &mut b, next, end);
    rows
}

impl Line {
    /// The deterministic part without the digest of the event before it.
    fn content(&self) -> Vec<u8> {
        let Ok(view) = self.record.view() else {
            return Vec::new();
        };
        let det = view.det();
        let (tag, rest) = det.split_at(det.len().min(aos_format::event::TAG_LEN));
        let fields = rest.get(32..).unwrap_or_default();
        [tag, fields].concat()
    }
}

/// Lines of both sides: equal ones once, others with their side.
fn lines_apart(a: Vec<String>, b: Vec<String>) -> Vec<DetailLine> {
    let line = |text: &String, from| DetailLine {
        text: text.clone(),
        from,
    };
    let mut out = Vec::with_capacity(a.len().max(b.len()));
    let mut at = 0;
    for left in &a {
        match b[at..].iter().position(|right| right == left) {
            Some(ahead) => {
                out.extend(b[at..at + ahead].iter().map(|text| line(text, From::B)));
                out.push(line(left, From::Both));
                at += ahead + 1;
            }
            None => out.push(line(left, From::A)),
        }
    }
    out.extend(b[at..].iter().map(|text| line(text, From::B)));
    out
}
