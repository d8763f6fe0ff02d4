//! How a request says who it comes from.

use super::super::arguments::{Arguments, describe};
use super::oauth2::Grant;
use super::request::HeaderText;
use crate::fault::{Code, Fault};
use crate::secret::{Secret, SecretRef};
use crate::value::{Val, as_text, member, object, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::HeaderValue;

const EXPECTED: &str = "one of {\"basic\": {…}}, {\"bearer\": {…}}, {\"digest\": {…}}, {\"oauth2\": {…}}, {\"oidc\": {…}}";

/// How a request says who it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Auth {
    /// RFC 7617.
    Basic(Login),
    /// RFC 6750.
    Bearer {
        /// The token.
        token: HeaderText,
    },
    /// RFC 7616: what the server asks is answered.
    Digest(Login),
    /// RFC 6749: a token that is fetched first.
    Token(Grant),
}

/// Who, and what shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Login {
    username: HeaderText,
    password: HeaderText,
}

/// A login as it is used, not shown by `Debug`.
pub(super) struct Known {
    pub(super) username: String,
    pub(super) password: String,
    /// Those that were read for it.
    pub(super) secrets: Vec<Secret>,
}

/// Reads what lets somebody in: a secret, or `{"data": TEXT}`, by which whoever wrote it says that the log may show it.
pub(super) fn word(value: &Val) -> Option<HeaderText> {
    if let Some(at) = SecretRef::read(value) {
        return Some(HeaderText::Secret(at));
    }
    match value {
        Val::Obj(fields) if fields.len() == 1 => {
            let said = member(value, "data").and_then(as_text)?;
            Some(HeaderText::Plain(said.into()))
        }
        _ => None,
    }
}

/// The same as a record has it.
pub(super) fn word_value(word: &HeaderText) -> Val {
    match word {
        HeaderText::Plain(said) => object([("data", text(said))]),
        HeaderText::Secret(at) => at.value(),
    }
}

/// Reads who somebody is: a text without `:`, or a secret.
pub(super) fn name(value: &Val) -> Option<HeaderText> {
    match (SecretRef::read(value), as_text(value)) {
        (Some(at), _) => Some(HeaderText::Secret(at)),
        (None, Some(name)) if !name.contains(':') => Some(HeaderText::Plain(name.into())),
        _ => None,
    }
}

/// Reads `authentication`; what lets somebody in is no text, as that would stand in the log.
pub(super) fn read(given: &mut Arguments<'_>) -> Result<Option<Auth>, Fault> {
    let value = match given.maybe("authentication") {
        None | Some(Val::Null) => return Ok(None),
        Some(value) => value,
    };
    let wrong = || given.wrong("authentication", EXPECTED, &describe(value));
    let Val::Obj(fields) = value else {
        return Err(wrong());
    };
    let (Some((scheme, parts @ Val::Obj(members))), 1) = (fields.iter().next(), fields.len())
    else {
        return Err(wrong());
    };
    let secret = |name: &str| {
        let place = format!("authentication/{name}");
        let found = member(parts, name).and_then(word);
        found.ok_or_else(|| {
            let expected = "a secret, or {\"data\": TEXT}, as a text would stand in the log";
            given.wrong(&place, expected, "none")
        })
    };
    let login = || -> Result<Login, Fault> {
        Ok(Login {
            username: member(parts, "username").and_then(name).ok_or_else(wrong)?,
            password: secret("password")?,
        })
    };
    Ok(Some(match (as_text(scheme), members.len()) {
        (Some("basic"), 2) => Auth::Basic(login()?),
        (Some("bearer"), 1) => {
            let token = secret("token")?;
            // A login is encoded; a token stands in the header as it is.
            if let HeaderText::Plain(said) = &token
                && HeaderValue::from_str(said).is_err()
            {
                let place = "authentication/token";
                return Err(given.wrong(place, "visible ASCII characters", "others"));
            }
            Auth::Bearer { token }
        }
        (Some("digest"), 2) => Auth::Digest(login()?),
        (Some("oauth2"), _) => Auth::Token(Grant::read(given, "oauth2", parts)?),
        (Some("oidc"), _) => Auth::Token(Grant::read(given, "oidc", parts)?),
        _ => return Err(wrong()),
    }))
}

impl Login {
    pub(super) fn of(username: HeaderText, password: HeaderText) -> Login {
        Login { username, password }
    }

    /// Reads the secrets in it.
    pub(super) fn resolve(&self) -> Result<Known, Fault> {
        let (username, who) = self.username.resolve()?;
        let (password, what) = self.password.resolve()?;
        Ok(Known {
            username,
            password,
            secrets: who.into_iter().chain(what).collect(),
        })
    }

    fn value(&self) -> Val {
        object([
            ("password", word_value(&self.password)),
            ("username", self.username.value()),
        ])
    }
}

impl Auth {
    /// The value of `authorization`, and the secrets in it, where they are known before anything is asked.
    pub(super) fn resolve(&self) -> Result<Option<(String, Vec<Secret>)>, Fault> {
        Ok(match self {
            Auth::Bearer { token } => {
                let (token, secret) = token.resolve()?;
                Some((format!("Bearer {token}"), secret.into_iter().collect()))
            }
            Auth::Basic(login) => {
                let mut known = login.resolve()?;
                let pair = format!("{}:{}", known.username, known.password);
                let header = format!("Basic {}", STANDARD.encode(&pair));
                if !known.secrets.is_empty() {
                    known.secrets.push(Secret::of(pair.as_bytes()));
                }
                Some((header, known.secrets))
            }
            Auth::Digest(_) => None,
            Auth::Token(_) => {
                let why = "a token is fetched by the call that needs it";
                return Err(Fault::new(Code::InvalidInput, why));
            }
        })
    }

    /// As a record has it.
    pub(super) fn value(&self) -> Val {
        match self {
            Auth::Bearer { token } => object([("bearer", object([("token", word_value(token))]))]),
            Auth::Basic(login) => object([("basic", login.value())]),
            Auth::Digest(login) => object([("digest", login.value())]),
            Auth::Token(grant) => grant.value(),
        }
    }

    /// The secrets that it reads.
    pub(super) fn secrets(&self) -> Vec<SecretRef> {
        let texts = match self {
            Auth::Basic(login) | Auth::Digest(login) => vec![&login.username, &login.password],
            Auth::Bearer { token } => vec![token],
            Auth::Token(grant) => return grant.secrets(),
        };
        let secrets = texts.into_iter().filter_map(HeaderText::secret);
        secrets.cloned().collect()
    }
}
