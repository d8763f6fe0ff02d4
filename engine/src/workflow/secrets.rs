//! Secrets by name.
//!
//! `${ $secrets.NAME }`, perhaps with a text before it, is not evaluated: it becomes a reference to a file, and the effect
//! reads the file when it happens. So no expression ever sees a secret, and none can copy one into what is recorded.

use super::error::{DocumentError, Problem};
use super::node::{Data, Entry, Node, Place, choice, short};
use crate::secret::SecretRef;
use crate::value::{Val, Value, as_text};
use std::collections::BTreeSet;

/// Where secrets are unless `metadata.aos.secrets` says otherwise.
const FOLDER: &str = "/run/secrets";

pub(super) const EXPECTED: &str = "`${ $secrets.NAME }`, perhaps with a text before it, in a header, an authentication, or what another skill than http is given";

/// `use.secrets`.
#[derive(Clone, Default, Debug)]
pub(super) struct Secrets {
    folder: Option<String>,
    names: BTreeSet<String>,
}

impl Named {
    /// The whole secret of that name, or a member of it.
    pub(super) fn whole(name: &str, field: &str) -> Named {
        Named {
            name: name.to_owned(),
            field: field.to_owned(),
            ..Named::default()
        }
    }

    /// The same with a text before it.
    pub(super) fn behind(self, before: &str) -> Named {
        Named {
            prefix: format!("{before}{}", self.prefix),
            ..self
        }
    }
}

/// `"PREFIX" + $secrets.NAME.FIELD`.
#[derive(Default)]
pub(super) struct Named {
    prefix: String,
    name: String,
    field: String,
}

impl Secrets {
    pub(super) fn within(folder: Option<String>) -> Secrets {
        Secrets {
            folder,
            names: BTreeSet::new(),
        }
    }

    /// Takes the list of `use.secrets`.
    pub(super) fn declare(&mut self, list: &Entry) -> Result<(), DocumentError> {
        for item in list.value.list("secrets")? {
            let name = item.text("secrets")?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
                let message = "the name of a secret is the name of its file";
                return Err(DocumentError::new(Problem::Form, item.at, message)
                    .expected("letters, digits, `-`, `_` and, within, `.`")
                    .found(format!("`{}`", short(name))));
            }
            self.names.insert(name.to_owned());
        }
        Ok(())
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder.as_deref().unwrap_or(FOLDER))
    }

    /// The files of all that are declared.
    pub(super) fn files(&self) -> BTreeSet<String> {
        self.names.iter().map(|name| self.file(name)).collect()
    }

    /// What stands in place of a secret.
    pub(super) fn reference(&self, at: Place, named: Named) -> Result<Val, DocumentError> {
        if !self.names.contains(&named.name) {
            let message = format!("`use.secrets` has no secret `{}`", short(&named.name));
            let names = || self.names.iter().map(String::as_str);
            let error = DocumentError::new(Problem::UnknownReference, at, message)
                .suggest(&named.name, names());
            return Err(match self.names.len() {
                0 => error,
                _ => error.expected(format!("one of {}", choice(names()))),
            });
        }
        let reference = SecretRef {
            file: self.file(&named.name),
            prefix: named.prefix,
            field: named.field,
        };
        Ok(reference.value())
    }
}

/// `metadata.aos.secrets`.
pub(super) fn folder(entry: &Entry) -> Result<String, DocumentError> {
    let folder = entry.value.text("secrets")?;
    if !folder.starts_with('/') {
        let message = "the folder of the secrets is an absolute path";
        return Err(DocumentError::new(Problem::Form, entry.value.at, message)
            .found(format!("`{}`", short(folder))));
    }
    Ok(folder.trim_end_matches('/').to_owned())
}

/// Reads an expression that is nothing but a secret with perhaps a text before it.
pub(super) fn named(expression: &str) -> Option<Named> {
    let expression = expression.trim();
    let (prefix, path) = if expression.starts_with('"') {
        match expression.strip_suffix(")\"") {
            Some(interpolated) => {
                let (prefix, path) = interpolated.split_once("\\(")?;
                (format!("{prefix}\""), path)
            }
            None => {
                let (prefix, path) = expression.rsplit_once('+')?;
                (prefix.trim().to_owned(), path)
            }
        }
    } else {
        ("\"\"".to_owned(), expression)
    };
    let prefix = Value::from_json(prefix.as_bytes()).ok()?;
    let prefix = as_text(prefix.val())?.to_owned();
    let mut rest = path.trim().strip_prefix("$secrets")?;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (part, after) = segment(rest)?;
        parts.push(part);
        rest = after;
    }
    let mut parts = parts.into_iter();
    let name = parts.next()?;
    let field = parts.next().unwrap_or_default();
    parts.next().is_none().then_some(Named {
        prefix,
        name,
        field,
    })
}

/// `.name`, `."name"` or `["name"]`, and what comes after.
fn segment(path: &str) -> Option<(String, &str)> {
    let quoted = |text: &str| {
        let value = Value::from_json(text.as_bytes()).ok()?;
        Some(as_text(value.val())?.to_owned())
    };
    let dotted = path.strip_prefix('.');
    if let Some(inner) = dotted.unwrap_or(path).strip_prefix('[') {
        let (name, after) = inner.split_once(']')?;
        return Some((quoted(name.trim())?, after));
    }
    let rest = dotted?;
    if let Some(inner) = rest.strip_prefix('"') {
        let end = inner.find('"')? + 2;
        return Some((quoted(&rest[..end])?, &rest[end..]));
    }
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let end = rest.find(word).unwrap_or(rest.len());
    let starts = rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts.then(|| (rest[..end].to_owned(), &rest[end..]))
}

pub(super) fn is_secret(node: &Node) -> bool {
    match &node.data {
        Data::Text(s) => super::places::expression(s).is_some_and(|s| named(s).is_some()),
        _ => SecretRef::read(&node.val()).is_some(),
    }
}
