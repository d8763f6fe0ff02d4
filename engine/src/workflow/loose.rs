//! `evaluate.mode: loose`: texts that can be read as expressions are.
//!
//! What loose mode means is written in strict mode: each text of a `set`, of what is called, emitted or raised, and of
//! transforms that are mappings, becomes an expression when it is one, and gives itself when its evaluation fails. All else of
//! the document stays as it is; conditions and transforms that are texts are expressions anyhow.

use super::node::{Data, Entry, Node};
use super::places::expression;
use crate::expr::{Expr, ExprError};
use crate::value::{Value, text};

/// Whether the document asks for it.
pub(super) fn asked_for(root: &Node) -> bool {
    let within = |node: &Node, key: &str| match &node.data {
        Data::Map(entries) => entries.iter().find(|entry| entry.key == key).cloned(),
        _ => None,
    };
    let mode = within(root, "evaluate").and_then(|evaluate| within(&evaluate.value, "mode"));
    mode.is_some_and(|mode| matches!(&mode.value.data, Data::Text(mode) if mode == "loose"))
}

/// The document in strict mode.
pub(super) fn strictly(node: &Node) -> Node {
    let data = match &node.data {
        Data::List(items) => Data::List(items.iter().map(strictly).collect()),
        Data::Map(entries) => {
            let calls = entries.iter().any(|entry| entry.key == "call");
            Data::Map(entries.iter().map(|entry| member(entry, calls)).collect())
        }
        other => other.clone(),
    };
    Node { at: node.at, data }
}

fn member(entry: &Entry, calls: bool) -> Entry {
    let value = &entry.value;
    let is_text = matches!(value.data, Data::Text(_));
    let value = match entry.key.as_str() {
        "set" => texts(value),
        "with" if calls => texts(value),
        "error" | "as" | "from" if !is_text => texts(value),
        "event" => event(value),
        _ => strictly(value),
    };
    Entry {
        value,
        ..entry.clone()
    }
}

/// What `emit` publishes: `with` within `event`.
fn event(node: &Node) -> Node {
    let Data::Map(entries) = &node.data else {
        return node.clone();
    };
    let within = |entry: &Entry| Entry {
        value: match entry.key.as_str() {
            "with" => texts(&entry.value),
            _ => strictly(&entry.value),
        },
        ..entry.clone()
    };
    Node {
        at: node.at,
        data: Data::Map(entries.iter().map(within).collect()),
    }
}

/// Every text in it, as an expression where it is one.
fn texts(node: &Node) -> Node {
    let data = match &node.data {
        Data::List(items) => Data::List(items.iter().map(texts).collect()),
        Data::Map(entries) => Data::Map(
            entries
                .iter()
                .map(|entry| Entry {
                    value: texts(&entry.value),
                    ..entry.clone()
                })
                .collect(),
        ),
        Data::Text(said) => Data::Text(tried(said).unwrap_or_else(|| said.clone())),
        other => other.clone(),
    };
    Node { at: node.at, data }
}

/// The expression that gives what the text says, or the text when that fails; none for a text that is no expression.
fn tried(said: &str) -> Option<String> {
    let source = expression(said).unwrap_or(said).trim();
    // A secret is a reference, not something to evaluate.
    if source.is_empty() || source.contains("$secrets") || source.starts_with('#') {
        return None;
    }
    // Whether its variables are there is asked where it stands.
    let names: Vec<String> = variables(source);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match Expr::compile(source, &names) {
        // What is refused by name is refused, and not taken for a text.
        Ok(_) | Err(ExprError::Refused { .. }) => {}
        Err(_) => return None,
    }
    let itself = Value::from_val(&text(said)).ok()?;
    let itself = itself.as_str();
    Some(format!(
        "${{[try ({source}) catch {itself}] | if length == 1 then .[0] else {itself} end}}"
    ))
}

/// Words behind a `$`.
fn variables(source: &str) -> Vec<String> {
    let word = |part: &str| {
        let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        format!("${}", &part[..end.unwrap_or(part.len())])
    };
    let mut names: Vec<String> = source.split('$').skip(1).map(word).collect();
    names.retain(|name| name.len() > 1 && !matches!(name.as_str(), "$ENV" | "$__loc__"));
    names.sort_unstable();
    names.dedup();
    names
}
