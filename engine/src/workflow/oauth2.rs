//! `authentication` by `oauth2`, as `http_call` takes it.

use super::error::{DocumentError, Problem};
use super::fields::Fields;
use super::node::{Data, Entry, Node, Place, short};
use super::secrets::is_secret;

/// The token's endpoint where none is named.
const TOKEN: &str = "/oauth2/token";

/// What `oauth2` says. Client credentials are what a process has that nobody sits in front of.
pub(super) fn grant(entry: &Entry) -> Result<Node, DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    fields.refuse(&["use", "username", "password", "subject", "actor", "issuers"])?;
    let authority = fields.need("authority")?;
    let mut token = TOKEN;
    if let Some(endpoints) = fields.maybe("endpoints") {
        let mut endpoints = Fields::of_entry(endpoints)?;
        if let Some(named) = endpoints.maybe("token") {
            token = named.value.text("token")?;
        }
        // Nothing is revoked and nothing is looked into.
        endpoints.maybe("revocation");
        endpoints.maybe("introspection");
        endpoints.end()?;
    }
    let grant = fields.need("grant")?;
    one_of(grant, &["client_credentials"])?;
    if let Some(request) = fields.maybe("request") {
        let mut request = Fields::of_entry(request)?;
        if let Some(encoding) = request.maybe("encoding") {
            one_of(encoding, &["application/x-www-form-urlencoded"])?;
        }
        request.end()?;
    }
    let mut client = Fields::of_entry(fields.need("client")?)?;
    client.refuse(&["assertion"])?;
    let mut parts = vec![
        own("endpoint", &authority.value, endpoint(authority, token)?),
        client.need("id")?.clone(),
    ];
    if let Some(by) = client.maybe("authentication") {
        one_of(by, &["client_secret_post", "client_secret_basic", "none"])?;
        parts.push(by.clone());
    }
    if let Some(secret) = client.maybe("secret") {
        if !is_secret(&secret.value) {
            let what = "`authentication` by a client's secret that is no secret";
            return Err(
                DocumentError::not_supported(secret.value.at, what).expected(
                    "`${ $secrets.NAME }` or {file: PATH}, as a text would stand in the log",
                ),
            );
        }
        parts.push(secret.clone());
    }
    client.end()?;
    if let Some(scopes) = fields.maybe("scopes") {
        let scopes = texts(scopes)?.join(" ");
        parts.push(own("scope", &entry.value, scopes));
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
        at: entry.value.at,
        data: Data::Map(parts),
    })
}

fn own(key: &str, at: &Node, value: String) -> Entry {
    let at: Place = at.at;
    Entry {
        key: key.into(),
        at,
        value: Node {
            at,
            data: Data::Text(value),
        },
    }
}

/// Authority and path. What is computed is refused: data would say where a secret goes.
fn endpoint(authority: &Entry, path: &str) -> Result<String, DocumentError> {
    let base = authority.value.text("authority")?;
    if base.contains(['$', '{']) || path.contains(['$', '{']) {
        let what = "an authority that is computed";
        return Err(DocumentError::not_supported(authority.value.at, what));
    }
    if !base.starts_with("http://") && !base.starts_with("https://") {
        let message = "an authority is an absolute URI of http or https";
        return Err(
            DocumentError::new(Problem::Form, authority.value.at, message)
                .found(format!("`{}`", short(base))),
        );
    }
    let (base, path) = (base.trim_end_matches('/'), path.trim_start_matches('/'));
    Ok(format!("{base}/{path}"))
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
