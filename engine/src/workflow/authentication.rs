//! `authentication`: who a request comes from, as `http_call` takes it, and what `$authorization` says of it.

use super::error::{DocumentError, Problem};
use super::fields::Fields;
use super::node::{Data, Entry, Node, short};
use super::oauth2;
use super::places::source_of;
use super::secrets::{Named, Secrets, is_secret};
use crate::secret::MASK;
use std::collections::BTreeMap;

const NO_TEXT: &str =
    "`${ $secrets.NAME }`, {file: PATH}, or an expression over data; a text would stand in the log";

/// What a document says of who asks.
pub(super) struct Authentication {
    /// For the skill.
    pub argument: Node,
    /// `$authorization`: its secrets are masked.
    pub descriptor: Node,
}

/// Where names lead; nothing is asked of a policy that nobody uses yet.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    pub policies: &'k BTreeMap<&'k str, &'k Entry>,
    pub secrets: &'k Secrets,
}

/// Reads `authentication`, or one of `use.authentications`.
pub(super) fn read(
    entry: &Entry,
    known: Option<Known<'_>>,
) -> Result<Authentication, DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    if fields.maybe("certificate").is_some() {
        let what =
            "`authentication` by `certificate`, of which the specification says nothing more,";
        return Err(DocumentError::not_supported(entry.at, what));
    }
    if let (Some(name), Some(known)) = (fields.maybe("use"), known) {
        fields.end()?;
        let text = name.value.text("use")?;
        let Some(found) = known.policies.get(text) else {
            let message = format!("`use.authentications` has no `{}`", short(text));
            let names = known.policies.keys().copied();
            return Err(
                DocumentError::new(Problem::UnknownReference, name.value.at, message)
                    .suggest(text, names),
            );
        };
        let none = BTreeMap::new();
        return read(
            found,
            Some(Known {
                policies: &none,
                ..known
            }),
        );
    }
    let schemes = ["basic", "bearer", "digest", "oauth2", "oidc"];
    let given: Vec<&Entry> = schemes
        .into_iter()
        .filter_map(|s| fields.maybe(s))
        .collect();
    fields.end()?;
    let [scheme] = given.as_slice() else {
        let message = format!("`{}` does not say how", short(&entry.key));
        return Err(DocumentError::new(Problem::Form, entry.at, message)
            .expected(format!("one of {}, use", schemes.join(", "))));
    };
    let secrets = known.map(|known| known.secrets);
    let value = match scheme.key.as_str() {
        "bearer" => parts(scheme, &["token"], secrets)?,
        "basic" | "digest" => parts(scheme, &["username", "password"], secrets)?,
        _ => oauth2::grant(scheme, secrets)?,
    };
    let descriptor = descriptor(&scheme.key, &value);
    let one = Entry {
        value,
        ..(*scheme).clone()
    };
    let at = entry.value.at;
    Ok(Authentication {
        argument: Node {
            at,
            data: Data::Map(vec![one]),
        },
        descriptor: Node {
            at,
            data: descriptor,
        },
    })
}

/// `{scheme, parameter}`, as it will be in the request's header.
fn descriptor(scheme: &str, value: &Node) -> Data {
    let (name, parameter) = match scheme {
        "bearer" => (
            "Bearer",
            said(value, "token").map(|token| format!("${{{token}}}")),
        ),
        "basic" => {
            let pair = said(value, "username").zip(said(value, "password"));
            let pair = pair.map(|(user, word)| format!("${{{user} + \":\" + {word} | @base64}}"));
            ("Basic", pair)
        }
        "digest" => ("Digest", None),
        _ => ("Bearer", None),
    };
    let text = |s: &str| Node {
        at: value.at,
        data: Data::Text(s.to_owned()),
    };
    let entry = |key: &str, value: &str| Entry {
        key: key.to_owned(),
        at: text(key).at,
        value: text(value),
    };
    let parameter = parameter.unwrap_or_else(|| MASK.to_owned());
    Data::Map(vec![entry("parameter", &parameter), entry("scheme", name)])
}

/// The source of an expression that gives what a part says, where it is no secret.
fn said(value: &Node, part: &str) -> Option<String> {
    let Data::Map(entries) = &value.data else {
        return None;
    };
    let entry = entries.iter().find(|entry| entry.key == part)?;
    match &entry.value.data {
        Data::Text(text) if !is_secret(&entry.value) => source_of(text),
        Data::Map(inner) => match inner.as_slice() {
            [
                Entry {
                    key,
                    value:
                        Node {
                            data: Data::Text(text),
                            ..
                        },
                    ..
                },
            ] if key == "data" => source_of(text),
            _ => None,
        },
        _ => None,
    }
}

/// The parts of a scheme, or those of the secret that it uses.
fn parts(
    scheme: &Entry,
    parts: &[&'static str],
    secrets: Option<&Secrets>,
) -> Result<Node, DocumentError> {
    let mut fields = Fields::of_entry(scheme)?;
    let at = scheme.value.at;
    if let Some(named) = fields.maybe("use") {
        fields.end()?;
        let name = named.value.text("use")?;
        let member = |field: &&'static str| {
            // Whether it is declared is asked where it is used.
            let value = match secrets {
                Some(secrets) => Node::of(
                    named.value.at,
                    &secrets.reference(named.value.at, Named::whole(name, field))?,
                ),
                None => Node {
                    at,
                    data: Data::Null,
                },
            };
            Ok(Entry {
                key: (*field).to_owned(),
                at: named.at,
                value,
            })
        };
        let members = parts
            .iter()
            .map(member)
            .collect::<Result<_, DocumentError>>()?;
        return Ok(Node {
            at,
            data: Data::Map(members),
        });
    }
    let mut members = Vec::new();
    for &part in parts {
        let entry = fields.need(part)?;
        members.push(match part {
            "username" => entry.clone(),
            _ => word(entry, part)?,
        });
    }
    fields.end()?;
    Ok(Node {
        at,
        data: Data::Map(members),
    })
}

/// What lets somebody in: a secret by reference, or what an expression makes of data, which the log has already.
pub(super) fn word(entry: &Entry, what: &str) -> Result<Entry, DocumentError> {
    if is_secret(&entry.value) {
        return Ok(entry.clone());
    }
    let computed = matches!(&entry.value.data, Data::Text(text) if text.contains("${"));
    if !computed {
        let what = format!("`authentication` by a {what} that is no secret");
        return Err(DocumentError::not_supported(entry.value.at, what).expected(NO_TEXT));
    }
    let data = Entry {
        key: "data".into(),
        ..entry.clone()
    };
    let value = Node {
        at: entry.value.at,
        data: Data::Map(vec![data]),
    };
    Ok(Entry {
        value,
        ..entry.clone()
    })
}
