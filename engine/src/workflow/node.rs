//! A document as a tree in which everything still knows its place.

use super::error::{DocumentError, Problem};
use crate::value::{Val, as_text, text};
use jaq_json::Num;
use std::collections::BTreeSet;

/// Largest document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of mappings and sequences.
pub const DOCUMENT_DEPTH_MAX: usize = 64;
/// Most mappings, sequences, scalars and keys together.
pub const DOCUMENT_NODES_MAX: usize = 100_000;

/// A place in the source; line and column count from 1, columns in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub line: u32,
    pub column: u32,
}

impl Place {
    pub(super) const START: Place = Place { line: 1, column: 1 };
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub at: Place,
    pub data: Data,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    Null,
    Bool(bool),
    Number(Num),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    /// Place of the key.
    pub at: Place,
    pub value: Node,
}

impl Node {
    /// A value as if it stood at `at`.
    pub(super) fn of(at: Place, val: &Val) -> Node {
        let data = match val {
            Val::Null => Data::Null,
            Val::Bool(b) => Data::Bool(*b),
            Val::Num(number) => Data::Number(number.clone()),
            Val::TStr(_) | Val::BStr(_) => Data::Text(as_text(val).unwrap_or_default().into()),
            Val::Arr(items) => Data::List(items.iter().map(|item| Node::of(at, item)).collect()),
            Val::Obj(members) => Data::Map(
                members
                    .iter()
                    .map(|(key, value)| Entry {
                        key: as_text(key).unwrap_or_default().into(),
                        at,
                        value: Node::of(at, value),
                    })
                    .collect(),
            ),
        };
        Node { at, data }
    }

    /// Those of its members that have one of these names.
    pub(super) fn members<'n>(&'n self, names: &'n [&str]) -> impl Iterator<Item = &'n Entry> {
        let entries = match &self.data {
            Data::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        let named = |entry: &&Entry| names.contains(&entry.key.as_str());
        entries.iter().filter(named)
    }

    /// The tree as a value.
    pub(super) fn val(&self) -> Val {
        match &self.data {
            Data::Null => Val::Null,
            Data::Bool(b) => Val::Bool(*b),
            Data::Number(number) => Val::Num(number.clone()),
            Data::Text(s) => text(s),
            Data::List(items) => items.iter().map(Node::val).collect(),
            Data::Map(entries) => Val::obj(
                entries
                    .iter()
                    .map(|e| (text(&e.key), e.value.val()))
                    .collect(),
            ),
        }
    }

    /// JSON pointer of the property or value that stands at `at`.
    pub(super) fn pointer_of(&self, at: Place) -> Option<String> {
        match &self.data {
            Data::List(items) => {
                let mut inner = items.iter().enumerate();
                let found = inner.find_map(|(i, item)| Some((i, item.pointer_of(at)?)));
                if let Some((i, rest)) = found {
                    return Some(format!("/{i}{rest}"));
                }
            }
            Data::Map(entries) => {
                for entry in entries {
                    let rest = match entry.at == at {
                        true => Some(String::new()),
                        false => entry.value.pointer_of(at),
                    };
                    if let Some(rest) = rest {
                        return Some(format!("/{}{rest}", super::task::escape(&entry.key)));
                    }
                }
            }
            _ => {}
        }
        (self.at == at).then(String::new)
    }

    /// What it is, for messages.
    pub(super) fn describe(&self) -> String {
        match &self.data {
            Data::Null => "nothing".into(),
            Data::Bool(b) => b.to_string(),
            Data::Number(number) => match number.to_string() {
                digits if digits.len() <= 24 => format!("the number {digits}"),
                _ => "a number".into(),
            },
            Data::Text(s) => format!("the text `{}`", short(s)),
            Data::List(_) => "a list".into(),
            Data::Map(_) => "a mapping".into(),
        }
    }

    fn wrong(&self, what: &str, expected: &str) -> DocumentError {
        DocumentError::new(
            Problem::WrongType,
            self.at,
            format!("`{what}` has the wrong type"),
        )
        .expected(expected)
        .found(self.describe())
    }

    pub(super) fn text(&self, what: &str) -> Result<&str, DocumentError> {
        match &self.data {
            Data::Text(s) => Ok(s),
            Data::Number(_) | Data::Bool(_) => Err(self.wrong(what, "text (put it in quotes)")),
            Data::Null | Data::List(_) | Data::Map(_) => Err(self.wrong(what, "text")),
        }
    }

    pub(super) fn list(&self, what: &str) -> Result<&[Node], DocumentError> {
        match &self.data {
            Data::List(items) => Ok(items),
            _ => Err(self.wrong(what, "a list")),
        }
    }

    pub(super) fn map(&self, what: &str) -> Result<&[Entry], DocumentError> {
        match &self.data {
            Data::Map(entries) => Ok(entries),
            _ => Err(self.wrong(what, "a mapping")),
        }
    }

    /// A whole number within `range`.
    pub(super) fn number(
        &self,
        what: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, DocumentError> {
        let number = match &self.data {
            Data::Number(Num::Int(i)) => u64::try_from(*i).ok(),
            _ => None,
        };
        number.filter(|n| range.contains(n)).ok_or_else(|| {
            self.wrong(
                what,
                &format!("a whole number from {} to {}", range.start(), range.end()),
            )
        })
    }

    pub(super) fn wrong_type(&self, what: &str, expected: &str) -> DocumentError {
        self.wrong(what, expected)
    }
}

pub(super) fn too_deep(at: Place) -> DocumentError {
    let message = format!("the document is nested more than {DOCUMENT_DEPTH_MAX} deep");
    DocumentError::new(Problem::TooLarge, at, message)
}

/// Names to choose from, for messages.
pub(super) fn choice<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let more = names.len().saturating_sub(20);
    let mut text = names.take(20).map(short).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// The beginning of a text, on one line.
pub(super) fn short(s: &str) -> String {
    let mut shown: String = s
        .chars()
        .take(40)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if s.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

/// Builds a tree from events and keeps its limits.
#[derive(Default)]
pub(super) struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

enum Open {
    List {
        at: Place,
        items: Vec<Node>,
    },
    Map {
        at: Place,
        entries: Vec<Entry>,
        keys: BTreeSet<String>,
        /// The key whose value comes next; nothing in it when that is left out.
        key: Option<(Option<String>, Place)>,
    },
}

impl Builder {
    /// Whether the next scalar is a key.
    pub(super) fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Map { key: None, .. }))
    }

    /// A key; one that is given twice is left out with what it has, and told of.
    pub(super) fn key(
        &mut self,
        at: Place,
        name: String,
    ) -> Result<Result<(), DocumentError>, DocumentError> {
        self.count(at)?;
        let mut told = Ok(());
        if let Some(Open::Map { keys, key, .. }) = self.open.last_mut() {
            let is_new = keys.insert(name.clone());
            if !is_new {
                let message = format!("key `{}` is given twice", short(&name));
                told = Err(DocumentError::new(Problem::DuplicateKey, at, message));
            }
            *key = Some((is_new.then_some(name), at));
        }
        Ok(told)
    }

    /// Something that can be no key: left out with what it has.
    pub(super) fn no_key(&mut self, at: Place) -> Result<(), DocumentError> {
        self.count(at)?;
        if let Some(Open::Map { key, .. }) = self.open.last_mut() {
            *key = Some((None, at));
        }
        Ok(())
    }

    pub(super) fn scalar(&mut self, at: Place, data: Data) -> Result<(), DocumentError> {
        self.count(at)?;
        self.add(Node { at, data });
        Ok(())
    }

    pub(super) fn open_list(&mut self, at: Place) -> Result<(), DocumentError> {
        self.open(
            at,
            Open::List {
                at,
                items: Vec::new(),
            },
        )
    }

    pub(super) fn open_map(&mut self, at: Place) -> Result<(), DocumentError> {
        self.open(
            at,
            Open::Map {
                at,
                entries: Vec::new(),
                keys: BTreeSet::new(),
                key: None,
            },
        )
    }

    pub(super) fn close(&mut self) {
        let node = match self.open.pop() {
            Some(Open::List { at, items }) => Node {
                at,
                data: Data::List(items),
            },
            Some(Open::Map { at, entries, .. }) => Node {
                at,
                data: Data::Map(entries),
            },
            None => return,
        };
        self.add(node);
    }

    /// The tree; nothing if there was no event.
    pub(super) fn finish(self) -> Option<Node> {
        self.root
    }

    fn open(&mut self, at: Place, open: Open) -> Result<(), DocumentError> {
        self.count(at)?;
        if self.open.len() == DOCUMENT_DEPTH_MAX {
            return Err(too_deep(at));
        }
        self.open.push(open);
        Ok(())
    }

    fn count(&mut self, at: Place) -> Result<(), DocumentError> {
        self.nodes += 1;
        if self.nodes > DOCUMENT_NODES_MAX {
            let message =
                format!("the document has more than {DOCUMENT_NODES_MAX} keys and values");
            return Err(DocumentError::new(Problem::TooLarge, at, message));
        }
        Ok(())
    }

    fn add(&mut self, value: Node) {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::List { items, .. }) => items.push(value),
            Some(Open::Map { entries, key, .. }) => {
                if let Some((Some(key), at)) = key.take() {
                    entries.push(Entry { key, at, value });
                }
            }
        }
    }
}
