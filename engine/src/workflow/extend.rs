//! `use.extensions`: tasks before and after others.
//!
//! An extended task stands in a block of its own: first what comes before, then itself, then what comes after. What comes
//! before and after gives its input on, so the task sees its own input and its output is what comes out; unless a task before
//! ends in `then: exit`, which leaves the block with its output and passes the task over. `$task` in an extension is the task
//! that is extended, as far as the document knows it: its name, reference and definition.

use super::error::{DocumentError, Problem};
use super::fields::Fields;
use super::load::single;
use super::node::{Data, Entry, Node, Place, short};
use super::places::expression;
use super::task::escape;
use crate::value::{Val, Value, object, text};

const TYPES: [&str; 13] = [
    "all",
    "call",
    "composite",
    "emit",
    "for",
    "fork",
    "listen",
    "raise",
    "run",
    "set",
    "switch",
    "try",
    "wait",
];

/// An extension.
pub(super) struct Extension<'d> {
    extend: &'d str,
    when: Option<&'d str>,
    before: &'d [Node],
    after: &'d [Node],
}

/// Reads `use.extensions`.
pub(super) fn extensions(root: &Node) -> Result<Vec<Extension<'_>>, DocumentError> {
    let Data::Map(entries) = &root.data else {
        return Ok(Vec::new());
    };
    let within = |entries: &'_ [Entry], key: &str| entries.iter().position(|e| e.key == key);
    let Some(reusable) = within(entries, "use") else {
        return Ok(Vec::new());
    };
    let Data::Map(reusable) = &entries[reusable].value.data else {
        return Ok(Vec::new());
    };
    let Some(list) = within(reusable, "extensions") else {
        return Ok(Vec::new());
    };
    let items = reusable[list].value.list("extensions")?;
    items.iter().map(extension).collect()
}

fn extension(item: &Node) -> Result<Extension<'_>, DocumentError> {
    let entry = single(item, "extensions")?;
    let mut fields = Fields::of_entry(entry)?;
    let extend = fields.need("extend")?;
    let name = extend.value.text("extend")?;
    if !TYPES.contains(&name) {
        let message = "no type of tasks that can be extended";
        return Err(DocumentError::new(Problem::Form, extend.value.at, message)
            .expected(format!("one of {}", TYPES.join(", ")))
            .found(format!("`{}`", short(name))));
    }
    let when = fields
        .maybe("when")
        .map(|e| e.value.text("when"))
        .transpose()?;
    let mut list = |key| match fields.maybe(key) {
        None => Ok(&[][..]),
        Some(entry) => {
            let items = entry.value.list(key)?;
            for item in items {
                single(item, key)?.value.map(key)?;
            }
            Ok(items)
        }
    };
    let (before, after) = (list("before")?, list("after")?);
    fields.end()?;
    Ok(Extension {
        extend: name,
        when: when.map(|when| expression(when).unwrap_or(when)),
        before,
        after,
    })
}

/// The document with every task of its blocks in a block of its own where an extension says so.
pub(super) fn extended(root: &Node, extensions: &[Extension<'_>]) -> Node {
    let Data::Map(entries) = &root.data else {
        return root.clone();
    };
    let entries = entries.iter().map(|entry| match entry.key.as_str() {
        "do" => Entry {
            value: block(&entry.value, "/do", extensions),
            ..entry.clone()
        },
        _ => entry.clone(),
    });
    Node {
        at: root.at,
        data: Data::Map(entries.collect()),
    }
}

fn block(list: &Node, pointer: &str, extensions: &[Extension<'_>]) -> Node {
    let Data::List(items) = &list.data else {
        return list.clone();
    };
    let task = |(n, item): (usize, &Node)| match &item.data {
        Data::Map(entries) if entries.len() == 1 => {
            let place = format!("{pointer}/{n}/{}", escape(&entries[0].key));
            Node {
                at: item.at,
                data: Data::Map(vec![task(&entries[0], &place, extensions)]),
            }
        }
        _ => item.clone(),
    };
    Node {
        at: list.at,
        data: Data::List(items.iter().enumerate().map(task).collect()),
    }
}

/// A task, the tasks within it extended first.
fn task(entry: &Entry, pointer: &str, extensions: &[Extension<'_>]) -> Entry {
    let value = within(&entry.value, pointer, extensions);
    let Data::Map(own) = &value.data else {
        return entry.clone();
    };
    let has = |key: &str| own.iter().any(|e| e.key == key);
    let fits = |extension: &&Extension<'_>| match extension.extend {
        "all" => true,
        "composite" => has("do") && !has("for"),
        kind => has(kind),
    };
    let fitting: Vec<_> = extensions.iter().filter(fits).collect();
    let (then, mut rest): (Vec<Entry>, Vec<Entry>) =
        own.iter().cloned().partition(|e| e.key == "then");
    if fitting.is_empty() {
        return Entry {
            value,
            ..entry.clone()
        };
    }
    // Whether the task is done at all is asked before anything.
    let if_ = rest
        .iter()
        .position(|e| e.key == "if")
        .map(|at| rest.remove(at));
    let known = known(entry, pointer);
    let around = |tasks: fn(&Extension<'_>) -> Vec<Node>, side: &str| {
        let mut all = Vec::new();
        for (n, extension) in fitting.iter().enumerate() {
            for item in tasks(extension) {
                all.push(beside(&item, extension, &known, &format!("{side}{n}")));
            }
        }
        all
    };
    let mut items = around(|extension| extension.before.to_vec(), "before");
    items.push(Node {
        at: entry.at,
        data: Data::Map(vec![Entry {
            key: entry.key.clone(),
            at: entry.at,
            value: Node {
                at: value.at,
                data: Data::Map(rest),
            },
        }]),
    });
    items.extend(around(|extension| extension.after.to_vec(), "after"));
    let mut members = vec![named("do", entry.at, Data::List(items))];
    members.extend(if_);
    members.extend(then);
    Entry {
        key: entry.key.clone(),
        at: entry.at,
        value: Node {
            at: value.at,
            data: Data::Map(members),
        },
    }
}

/// The blocks within a task.
fn within(node: &Node, pointer: &str, extensions: &[Extension<'_>]) -> Node {
    let Data::Map(entries) = &node.data else {
        return node.clone();
    };
    let member = |entry: &Entry| {
        let place = format!("{pointer}/{}", entry.key);
        let value = match entry.key.as_str() {
            "do" | "try" | "branches" => block(&entry.value, &place, extensions),
            "fork" | "catch" | "foreach" => within(&entry.value, &place, extensions),
            _ => entry.value.clone(),
        };
        Entry {
            value,
            ..entry.clone()
        }
    };
    Node {
        at: node.at,
        data: Data::Map(entries.iter().map(member).collect()),
    }
}

/// A task of an extension, named so that it is the only one of its name in the block.
fn beside(item: &Node, extension: &Extension<'_>, known: &str, side: &str) -> Node {
    let Data::Map(entries) = &item.data else {
        return item.clone();
    };
    let tasks = entries.iter().map(|entry| {
        let Data::Map(own) = &entry.value.data else {
            return entry.clone();
        };
        let knowing = |e: &Entry| Entry {
            value: knowing(&e.value, known),
            ..e.clone()
        };
        let mut own: Vec<Entry> = own.iter().map(knowing).collect();
        let when = extension.when.map(|when| substituted(when, known));
        let exits = own.iter().any(|e| {
            e.key == "then"
                && matches!(&e.value.data, Data::Text(then) if then == "exit" || then == "end")
        });
        if exits {
            let asked = own
                .iter()
                .position(|e| e.key == "if")
                .map(|at| own.remove(at));
            own.extend(both(when, asked, entry.at));
        } else {
            // Its output ends here, whatever it exports.
            let inner = Entry {
                value: Node {
                    at: entry.value.at,
                    data: Data::Map(own),
                },
                ..entry.clone()
            };
            let inner = Node {
                at: entry.at,
                data: Data::Map(vec![inner]),
            };
            let input = named("as", entry.at, Data::Text("$input".into()));
            own = vec![
                named("do", entry.at, Data::List(vec![inner])),
                named("output", entry.at, Data::Map(vec![input])),
            ];
            own.extend(both(when, None, entry.at));
        }
        Entry {
            key: format!("{side}.{}", entry.key),
            at: entry.at,
            value: Node {
                at: entry.value.at,
                data: Data::Map(own),
            },
        }
    });
    Node {
        at: item.at,
        data: Data::Map(tasks.collect()),
    }
}

/// `if` of a task that has one of its own and one of its extension.
fn both(when: Option<String>, own: Option<Entry>, at: Place) -> Option<Entry> {
    let Some(when) = when else { return own };
    let said = match own.map(|own| own.value.data) {
        Some(Data::Text(own)) => format!("({when}) and ({})", expression(&own).unwrap_or(&own)),
        _ => when,
    };
    Some(named("if", at, Data::Text(said)))
}

fn named(key: &str, at: Place, data: Data) -> Entry {
    Entry {
        key: key.into(),
        at,
        value: Node { at, data },
    }
}

/// The extended task as an expression: what is known of it, and its properties.
fn known(entry: &Entry, pointer: &str) -> String {
    let definition = entry.value.val();
    let mut members = match &definition {
        Val::Obj(own) => (**own).clone(),
        _ => Default::default(),
    };
    members.insert(text("definition"), definition.clone());
    members.insert(text("name"), text(&entry.key));
    members.insert(text("reference"), text(pointer));
    let value = Value::from_val(&Val::obj(members))
        .or_else(|_| Value::from_val(&object([("name", text(&entry.key))])));
    let json = value.map_or_else(|_| "null".into(), |value| value.to_string());
    // Its texts are no expressions here, and name no secrets.
    format!("({})", json.replace('$', "\\u0024"))
}

/// Every expression in it with the extended task in place of `$task`.
fn knowing(node: &Node, known: &str) -> Node {
    let data = match &node.data {
        Data::Text(said) if said.contains("$task") => Data::Text(substituted(said, known)),
        Data::List(items) => Data::List(items.iter().map(|item| knowing(item, known)).collect()),
        Data::Map(entries) => Data::Map(
            entries
                .iter()
                .map(|entry| Entry {
                    value: knowing(&entry.value, known),
                    ..entry.clone()
                })
                .collect(),
        ),
        other => other.clone(),
    };
    Node { at: node.at, data }
}

fn substituted(said: &str, known: &str) -> String {
    let mut out = String::new();
    let mut rest = said;
    while let Some(at) = rest.find("$task") {
        let (before, after) = (&rest[..at], &rest[at + "$task".len()..]);
        out.push_str(before);
        let word = after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        out.push_str(if word { "$task" } else { known });
        rest = after;
    }
    out + rest
}
