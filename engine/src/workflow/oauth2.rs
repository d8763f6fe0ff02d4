//! `authentication` by `oauth2` and `oidc`, as `http_call` takes it.

use super::authentication::word;
use super::error::{DocumentError, Problem};
use super::fields::Fields;
use super::node::{Data, Entry, Node, Place, short};
use super::secrets::{Named, Secrets};
use crate::skill::oauth2::{TOKEN, endpoint};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What `oauth2` or `oidc` says. Grants that need somebody in front of the process are not among them.
pub(super) fn grant(entry: &Entry, secrets: Option<&Secrets>) -> Result<Node, DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    let at = entry.value.at;
    if let Some(named) = fields.maybe("use") {
        fields.end()?;
        let name = named.value.text("use")?;
        let kept = match secrets {
            Some(secrets) => secrets.reference(named.value.at, Named::whole(name, ""))?,
            None => crate::value::Val::Null,
        };
        let value = Node::of(named.value.at, &kept);
        let data = Data::Map(vec![Entry {
            value,
            ..named.clone()
        }]);
        return Ok(Node { at, data });
    }
    fields.refuse(&["issuers"])?;
    let authority = fields.need("authority")?;
    let base = absolute(authority)?;
    let mut parts = vec![match entry.key.as_str() {
        "oidc" => own("authority", authority.value.at, base.to_owned()),
        _ => own(
            "endpoint",
            authority.value.at,
            endpoint(base, path(&mut fields)?),
        ),
    }];
    let grant = fields.need("grant")?;
    one_of(grant, &["client_credentials", "password", EXCHANGE])?;
    parts.push(grant.clone());
    if let Some(request) = fields.maybe("request") {
        let mut request = Fields::of_entry(request)?;
        if let Some(encoding) = request.maybe("encoding") {
            one_of(
                encoding,
                &["application/x-www-form-urlencoded", "application/json"],
            )?;
            parts.push(encoding.clone());
        }
        request.end()?;
    }
    parts.extend(client(fields.need("client")?)?);
    match grant.value.text("grant")? {
        "password" => {
            parts.push(fields.need("username")?.clone());
            parts.push(word(fields.need("password")?, "password")?);
        }
        EXCHANGE => {
            parts.push(token(fields.need("subject")?)?);
            parts.extend(fields.maybe("actor").map(token).transpose()?);
        }
        _ => {}
    }
    if let Some(scopes) = fields.maybe("scopes") {
        parts.push(own("scope", at, texts(scopes)?.join(" ")));
    }
    if let Some(audiences) = fields.maybe("audiences") {
        texts(audiences)?;
        parts.push(Entry {
            key: "audience".into(),
            ..audiences.clone()
        });
    }
    fields.end()?;
    Ok(Node {
        at,
        data: Data::Map(parts),
    })
}

/// The path of the token's endpoint.
fn path<'f>(fields: &mut Fields<'f>) -> Result<&'f str, DocumentError> {
    let Some(endpoints) = fields.maybe("endpoints") else {
        return Ok(TOKEN);
    };
    let mut endpoints = Fields::of_entry(endpoints)?;
    let token = endpoints.maybe("token").map(|named| {
        let path = named.value.text("token")?;
        fixed(named, path).map(|()| path)
    });
    // Nothing is revoked and nothing is looked into.
    endpoints.maybe("revocation");
    endpoints.maybe("introspection");
    endpoints.end()?;
    token.unwrap_or(Ok(TOKEN))
}

/// Who the client is.
fn client(entry: &Entry) -> Result<Vec<Entry>, DocumentError> {
    let mut client = Fields::of_entry(entry)?;
    client.refuse(&["assertion"])?;
    let mut parts = vec![client.need("id")?.clone()];
    if let Some(by) = client.maybe("authentication") {
        one_of(by, &["client_secret_post", "client_secret_basic", "none"])?;
        parts.push(by.clone());
    }
    if let Some(secret) = client.maybe("secret") {
        parts.push(word(secret, "client's secret")?);
    }
    client.end()?;
    Ok(parts)
}

/// A token of somebody.
fn token(entry: &Entry) -> Result<Entry, DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    let token = word(fields.need("token")?, "token")?;
    let kind = fields.need("type")?;
    kind.value.text("type")?;
    fields.end()?;
    let data = Data::Map(vec![token, kind.clone()]);
    let value = Node {
        at: entry.value.at,
        data,
    };
    Ok(Entry {
        value,
        ..entry.clone()
    })
}

fn own(key: &str, at: Place, value: String) -> Entry {
    Entry {
        key: key.into(),
        at,
        value: Node {
            at,
            data: Data::Text(value),
        },
    }
}

/// What is computed is refused: data would say where a secret goes.
fn fixed(entry: &Entry, text: &str) -> Result<(), DocumentError> {
    if text.contains(['$', '{']) {
        let what = "an authority that is computed";
        return Err(DocumentError::not_supported(entry.value.at, what));
    }
    Ok(())
}

fn absolute(authority: &Entry) -> Result<&str, DocumentError> {
    let base = authority.value.text("authority")?;
    fixed(authority, base)?;
    if !base.starts_with("http://") && !base.starts_with("https://") {
        let message = "an authority is an absolute URI of http or https";
        return Err(
            DocumentError::new(Problem::Form, authority.value.at, message)
                .found(format!("`{}`", short(base))),
        );
    }
    Ok(base)
}

fn one_of(entry: &Entry, supported: &[&str]) -> Result<(), DocumentError> {
    let found = entry.value.text(&entry.key)?;
    if supported.contains(&found) {
        return Ok(());
    }
    let what = format!("`{}: {}`", entry.key, short(found));
    Err(DocumentError::not_supported(entry.value.at, what).expected(supported.join(", ")))
}

fn texts(entry: &Entry) -> Result<Vec<&str>, DocumentError> {
    let items = entry.value.list(&entry.key)?.iter();
    items.map(|item| item.text(&entry.key)).collect()
}
