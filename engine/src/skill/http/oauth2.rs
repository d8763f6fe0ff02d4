//! OAuth 2.0 by client credentials (RFC 6749, section 4.4): the effect that needs a token fetches it.
//!
//! The record has the token's endpoint and references to secrets. The token itself is never recorded: an answer is searched for
//! it as for a secret. As it is fetched before anything is asked of the receiver, a failure here leaves no outcome unknown.

use super::super::arguments::{Arguments, describe};
use super::request::{Auth, Body, HeaderText, Method, Output, Request, check_uri, percent_encode};
use crate::fault::{Code, Fault};
use crate::secret::{Secret, SecretRef};
use crate::value::{Val, Value, as_text, member, object, text};

/// How the client says who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    /// In the body of the request.
    Post,
    /// In its header.
    Basic,
    /// By its id alone.
    Nothing,
}

impl By {
    const ALL: [By; 3] = [By::Post, By::Basic, By::Nothing];

    fn name(self) -> &'static str {
        match self {
            By::Post => "client_secret_post",
            By::Basic => "client_secret_basic",
            By::Nothing => "none",
        }
    }
}

/// What a token is asked for with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Grant {
    endpoint: String,
    id: HeaderText,
    secret: Option<SecretRef>,
    by: By,
    scope: String,
    audience: Vec<String>,
}

impl Grant {
    /// Reads `{"authentication", "audience", "endpoint", "id", "scope", "secret"}`.
    pub(super) fn read(given: &Arguments<'_>, value: &Val) -> Result<Grant, Fault> {
        let place = |name: &str| format!("authentication/oauth2/{name}");
        let wrong = |name: &str, expected: &str| {
            let found = member(value, name).map_or_else(|| "nothing".into(), describe);
            given.wrong(&place(name), expected, &found)
        };
        let known = [
            "audience",
            "authentication",
            "endpoint",
            "id",
            "scope",
            "secret",
        ];
        if let Val::Obj(fields) = value
            && let Some(other) = fields
                .keys()
                .find(|key| as_text(key).is_none_or(|key| !known.contains(&key)))
        {
            let name = as_text(other).unwrap_or_default();
            return Err(wrong(name, "no such field"));
        }
        let part = |name: &str| member(value, name);
        let endpoint = part("endpoint").and_then(as_text);
        let endpoint =
            endpoint.ok_or_else(|| wrong("endpoint", "the URI of the token endpoint"))?;
        check_uri(given, &place("endpoint"), endpoint)?;
        let by = part("authentication")
            .and_then(as_text)
            .unwrap_or(By::Post.name());
        let by = By::ALL.into_iter().find(|one| one.name() == by);
        let by = by.ok_or_else(|| {
            wrong(
                "authentication",
                "client_secret_post, client_secret_basic or none",
            )
        })?;
        let id = match part("id") {
            Some(id) => match (SecretRef::read(id), as_text(id)) {
                (Some(at), _) => HeaderText::Secret(at),
                (None, Some(id)) if !id.contains(':') => HeaderText::Plain(id.into()),
                _ => return Err(wrong("id", "a text without `:`, or a secret")),
            },
            None => return Err(wrong("id", "the id of the client")),
        };
        let secret = match (part("secret"), by) {
            (None | Some(Val::Null), By::Nothing) => None,
            (found, _) => {
                let secret = found.and_then(SecretRef::read);
                let expected = "a secret, as a text would stand in the log";
                Some(secret.ok_or_else(|| wrong("secret", expected))?)
            }
        };
        let scope = match part("scope") {
            None | Some(Val::Null) => "",
            Some(scope) => as_text(scope).ok_or_else(|| wrong("scope", "a text"))?,
        };
        let audience = match part("audience") {
            None | Some(Val::Null) => Some(Vec::new()),
            Some(Val::Arr(items)) => items
                .iter()
                .map(|one| as_text(one).map(str::to_owned))
                .collect(),
            Some(_) => None,
        };
        Ok(Grant {
            endpoint: endpoint.into(),
            id,
            secret,
            by,
            scope: scope.into(),
            audience: audience.ok_or_else(|| wrong("audience", "texts"))?,
        })
    }

    /// As INTENT records it.
    pub(super) fn value(&self) -> Val {
        let id = match &self.id {
            HeaderText::Plain(id) => text(id),
            HeaderText::Secret(at) => at.value(),
        };
        object([
            (
                "audience",
                self.audience.iter().map(|one| text(one)).collect(),
            ),
            ("authentication", text(self.by.name())),
            ("endpoint", text(&self.endpoint)),
            ("id", id),
            ("scope", text(&self.scope)),
            (
                "secret",
                self.secret.as_ref().map_or(Val::Null, SecretRef::value),
            ),
        ])
    }

    /// The secrets that it reads.
    pub(super) fn secrets(&self) -> Vec<SecretRef> {
        let id = match &self.id {
            HeaderText::Secret(at) => Some(at.clone()),
            HeaderText::Plain(_) => None,
        };
        self.secret.clone().into_iter().chain(id).collect()
    }

    /// The request for a token, and the secrets in it.
    pub(super) fn ask(&self) -> Result<(Request, Vec<Secret>), Fault> {
        let (id, known) = self.id.resolve()?;
        let mut secrets: Vec<Secret> = known.into_iter().collect();
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        let mut auth = None;
        match (&self.secret, self.by) {
            (Some(at), By::Post) => {
                let secret = at.resolve()?;
                form.push(("client_id", id));
                form.push(("client_secret", secret.prefixed(&at.prefix)?));
                secrets.push(secret);
            }
            (Some(password), By::Basic) => {
                auth = Some(Auth::Basic {
                    username: self.id.clone(),
                    password: password.clone(),
                });
            }
            _ => form.push(("client_id", id)),
        }
        if !self.scope.is_empty() {
            form.push(("scope", self.scope.clone()));
        }
        form.extend(self.audience.iter().map(|one| ("audience", one.clone())));
        let mut body = String::new();
        for (name, value) in &form {
            if !body.is_empty() {
                body.push('&');
            }
            body.push_str(name);
            body.push('=');
            percent_encode(value, &mut body);
        }
        let typed = HeaderText::Plain("application/x-www-form-urlencoded".into());
        let request = Request {
            method: Method::Post,
            uri: self.endpoint.clone(),
            headers: vec![
                (
                    "accept".into(),
                    HeaderText::Plain("application/json".into()),
                ),
                ("content-type".into(), typed),
            ],
            query: Vec::new(),
            auth,
            body_value: Val::Null,
            body: Some(Body::Text(body)),
            output: Output::Content,
            redirect: false,
            timeout_ms: None,
        };
        Ok((request, secrets))
    }
}

/// The token that an answer has.
pub(super) fn token(body: &[u8]) -> Result<String, Fault> {
    let wrong = |why: &str| Fault::new(Code::SchemaError, format!("no token: {why}"));
    let answer = Value::from_json(body).map_err(|_| wrong("the answer is no JSON"))?;
    let part = |name| member(answer.val(), name).and_then(as_text);
    if part("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(wrong("it is of another type than bearer"));
    }
    let token = part("access_token").ok_or_else(|| wrong("the answer has no `access_token`"))?;
    let visible = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    match visible {
        true => Ok(token.to_owned()),
        false => Err(wrong("it has other characters than visible ASCII")),
    }
}

/// What went wrong on the way to a token: nothing has been asked of the receiver, so the outcome is known.
pub(super) fn refused(fault: Fault) -> Fault {
    let detail = format!("no token: {}", fault.detail);
    match fault.code {
        Code::UnknownOutcome => Fault::new(Code::Http503, detail),
        _ => Fault { detail, ..fault },
    }
}
