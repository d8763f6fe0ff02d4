//! Reading a mapping property by property, so that none is overlooked.

use super::error::{DocumentError, Problem};
use super::node::{Entry, Node, Place, short};

pub(super) struct Fields<'a> {
    /// What the mapping is, for messages.
    what: &'a str,
    at: Place,
    entries: &'a [Entry],
    taken: Vec<bool>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The properties of `node`; `at` is where to point when one is missing.
    pub(super) fn of(
        what: &'a str,
        at: Place,
        node: &'a Node,
    ) -> Result<Fields<'a>, DocumentError> {
        let entries = node.map(what)?;
        Ok(Fields {
            what,
            at,
            entries,
            taken: vec![false; entries.len()],
            known: Vec::new(),
        })
    }

    pub(super) fn of_entry(entry: &'a Entry) -> Result<Fields<'a>, DocumentError> {
        Fields::of(&entry.key, entry.at, &entry.value)
    }

    pub(super) fn maybe(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.known.push(key);
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        self.taken[index] = true;
        Some(&self.entries[index])
    }

    pub(super) fn need(&mut self, key: &'static str) -> Result<&'a Entry, DocumentError> {
        let (at, what) = (self.at, self.what);
        self.maybe(key).ok_or_else(|| {
            DocumentError::new(
                Problem::MissingProperty,
                at,
                format!("`{}` lacks the property `{key}`", short(what)),
            )
        })
    }

    /// Passes over a property that was refused.
    pub(super) fn pass(&mut self, key: &str) {
        if let Some(index) = self.entries.iter().position(|entry| entry.key == key) {
            self.taken[index] = true;
        }
    }

    /// Refuses properties that the specification has and this version does not run.
    pub(super) fn refuse(&self, keys: &[&str]) -> Result<(), DocumentError> {
        match self
            .entries
            .iter()
            .find(|entry| keys.contains(&entry.key.as_str()))
        {
            None => Ok(()),
            Some(entry) => Err(DocumentError::not_supported(
                entry.at,
                format!("`{}` in `{}`", entry.key, short(self.what)),
            )),
        }
    }

    /// Refuses what nobody asked for.
    pub(super) fn end(self) -> Result<(), DocumentError> {
        DocumentError::first(self.unknown()).map_or(Ok(()), Err)
    }

    /// Every property that nobody asked for.
    pub(super) fn unknown(&self) -> impl Iterator<Item = DocumentError> {
        let left = self.entries.iter().zip(&self.taken);
        left.filter(|(_, taken)| !**taken)
            .map(|(entry, _)| unknown(entry, self.what, &self.known))
    }
}

pub(super) fn unknown(entry: &Entry, what: &str, known: &[&str]) -> DocumentError {
    let message = format!(
        "unknown property `{}` in `{}`",
        short(&entry.key),
        short(what)
    );
    let error = DocumentError::new(Problem::UnknownProperty, entry.at, message)
        .suggest(&entry.key, known.iter().copied());
    error.expected(if known.is_empty() {
        "nothing".into()
    } else {
        format!("one of {}", known.join(", "))
    })
}
