//! OAuth 2.0 (RFC 6749) and OpenID Connect: the effect that needs a token fetches it.
//!
//! The record has the token's endpoint, or the authority whose configuration names it, and references to secrets. The token
//! itself is never recorded: an answer is searched for it as for a secret. As it is fetched before anything is asked of the
//! receiver, a failure here leaves no outcome unknown. What needs somebody in front (authorization codes) is not here.

use super::super::arguments::{Arguments, describe};
use super::auth::{Auth, Login, name, word, word_value};
use super::request::{Body, HeaderText, Method, Output, Request, check_uri, percent_encode};
use crate::fault::{Code, Fault};
use crate::secret::{Secret, SecretRef};
use crate::value::{Val, Value, as_text, member, object, text};

/// The token's endpoint where none is named.
pub(crate) const TOKEN: &str = "/oauth2/token";

/// Where an authority says what it is (OpenID Connect Discovery 1.0, section 4).
const CONFIGURATION: &str = "/.well-known/openid-configuration";

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// RFC 8693.
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

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
pub(super) enum Grant {
    /// As the request says.
    Said(Box<Terms>),
    /// As a secret says: the JSON object that a document would have there.
    Kept {
        /// The secret.
        at: SecretRef,
        /// Whether it is one of OpenID Connect.
        discovers: bool,
    },
}

/// Whom to ask for a token, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Terms {
    whom: Whom,
    id: HeaderText,
    secret: Option<HeaderText>,
    by: By,
    kind: Kind,
    is_json: bool,
    scope: String,
    audience: Vec<String>,
}

/// Who gives tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Whom {
    /// The token's endpoint.
    Endpoint(String),
    /// The authority, whose configuration names the endpoint.
    Authority(String),
}

/// In whose name.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    /// The client's own.
    Client,
    /// A user's.
    Password(HeaderText, HeaderText),
    /// That of whoever the first token is of; the second says who acts.
    Exchange(Token, Option<Token>),
}

/// A token of somebody, and of which type it is.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Token {
    token: HeaderText,
    kind: String,
}

impl Grant {
    /// Reads what `scheme`, `oauth2` or `oidc`, says.
    pub(super) fn read(given: &Arguments<'_>, scheme: &str, value: &Val) -> Result<Grant, Fault> {
        let discovers = scheme == "oidc";
        if let (Some(kept), Val::Obj(fields)) = (member(value, "use"), value)
            && fields.len() == 1
        {
            let at = SecretRef::read(kept);
            let at = at.ok_or_else(|| {
                let place = format!("authentication/{scheme}/use");
                given.wrong(&place, "a secret", &describe(kept))
            })?;
            return Ok(Grant::Kept { at, discovers });
        }
        let terms = Terms::read(given, scheme, value)?;
        Ok(Grant::Said(Box::new(terms)))
    }

    /// As INTENT records it.
    pub(super) fn value(&self) -> Val {
        let scheme = |discovers| if discovers { "oidc" } else { "oauth2" };
        match self {
            Grant::Kept { at, discovers } => {
                object([(scheme(*discovers), object([("use", at.value())]))])
            }
            Grant::Said(terms) => {
                let discovers = matches!(terms.whom, Whom::Authority(_));
                object([(scheme(discovers), terms.value())])
            }
        }
    }

    /// The secrets that it reads.
    pub(super) fn secrets(&self) -> Vec<SecretRef> {
        match self {
            Grant::Kept { at, .. } => vec![at.clone()],
            Grant::Said(terms) => {
                let texts = terms.texts().into_iter();
                texts.filter_map(|text| text.secret().cloned()).collect()
            }
        }
    }

    /// The terms, and the secrets that are known by now.
    pub(super) fn terms(&self) -> Result<(Terms, Vec<Secret>), Fault> {
        let (at, discovers) = match self {
            Grant::Said(terms) => return Ok(((**terms).clone(), Vec::new())),
            Grant::Kept { at, discovers } => (at, *discovers),
        };
        let kept = at.resolve()?;
        let denied = |why: &str| {
            let why = format!("the secret in {} {why}", at.file);
            Fault::new(Code::PermissionDenied, why)
        };
        let policy = Value::from_json(kept.bytes()).map_err(|_| denied("is no JSON object"))?;
        let said = Value::from_val(&of_policy(policy.val(), discovers))?;
        let scheme = if discovers { "oidc" } else { "oauth2" };
        let nothing = Value::from_json(b"{}")?;
        let given = Arguments::of("http_call", &nothing)?;
        // What is wrong with it would tell what is in it.
        let terms = Terms::read(&given, scheme, said.val())
            .map_err(|_| denied("is no way to get a token that is known"))?;
        let plain = terms.texts().into_iter().filter_map(|text| match text {
            HeaderText::Plain(said) => Some(Secret::of(said.as_bytes())),
            HeaderText::Secret(_) => None,
        });
        let secrets: Vec<Secret> = plain.collect();
        Ok((terms, secrets))
    }
}

/// What a document says of a grant, in the form that the skill takes.
fn of_policy(policy: &Val, discovers: bool) -> Val {
    let part = |name: &str| member(policy, name);
    let client = |name: &str| part("client").and_then(|client| member(client, name));
    let data = |value: Option<&Val>| value.map(|value| object([("data", value.clone())]));
    let token = |name: &str| {
        let token = part(name)?;
        let kind = member(token, "type").cloned().unwrap_or_default();
        Some(object([
            ("token", data(member(token, "token"))?),
            ("type", kind),
        ]))
    };
    let authority = part("authority").and_then(as_text).unwrap_or_default();
    let path = part("endpoints")
        .and_then(|all| member(all, "token"))
        .and_then(as_text);
    let (place, whom) = match discovers {
        true => ("authority", authority.to_owned()),
        false => ("endpoint", endpoint(authority, path.unwrap_or(TOKEN))),
    };
    let scopes = match part("scopes") {
        Some(Val::Arr(items)) => items
            .iter()
            .filter_map(as_text)
            .collect::<Vec<_>>()
            .join(" "),
        _ => String::new(),
    };
    let encoding = part("request").and_then(|request| member(request, "encoding"));
    let parts = [
        (place, Some(text(&whom))),
        ("id", client("id").cloned()),
        ("secret", data(client("secret"))),
        ("authentication", client("authentication").cloned()),
        ("grant", part("grant").cloned()),
        ("encoding", encoding.cloned()),
        ("scope", Some(text(&scopes))),
        ("audience", part("audiences").cloned()),
        ("username", part("username").cloned()),
        ("password", data(part("password"))),
        ("subject", token("subject")),
        ("actor", token("actor")),
    ];
    let given = parts
        .into_iter()
        .filter_map(|(name, value)| Some((text(name), value?)));
    Val::obj(given.collect())
}

/// An authority and a path.
pub(crate) fn endpoint(authority: &str, path: &str) -> String {
    let (base, path) = (
        authority.trim_end_matches('/'),
        path.trim_start_matches('/'),
    );
    format!("{base}/{path}")
}

/// The fields of a scheme, read one by one.
struct Said<'a> {
    given: &'a Arguments<'a>,
    scheme: &'a str,
    value: &'a Val,
}

/// What a text that lets somebody in has to be.
const WORD: &str = "a secret, or {\"data\": TEXT}, as a text would stand in the log";

impl<'a> Said<'a> {
    fn place(&self, name: &str) -> String {
        format!("authentication/{}/{name}", self.scheme)
    }

    fn wrong(&self, name: &str, expected: &str) -> Fault {
        let found = member(self.value, name).map_or_else(|| "nothing".into(), describe);
        self.given.wrong(&self.place(name), expected, &found)
    }

    fn part(&self, name: &str) -> Option<&'a Val> {
        member(self.value, name).filter(|value| **value != Val::Null)
    }

    /// Refuses fields that are not among these.
    fn only(&self, known: &[&str]) -> Result<(), Fault> {
        let Val::Obj(fields) = self.value else {
            return Ok(());
        };
        let mut names = fields.keys().map(|key| as_text(key).unwrap_or_default());
        match names.find(|name| !known.contains(name)) {
            None => Ok(()),
            Some(name) => Err(self.wrong(name, "no such field")),
        }
    }

    /// Which of `all` it is; the first where nothing is said.
    fn chosen(&self, name: &str, all: &[&'static str]) -> Result<usize, Fault> {
        let said = self.part(name).map_or(Some(all[0]), as_text);
        let found = all.iter().position(|one| said == Some(one));
        found.ok_or_else(|| self.wrong(name, &format!("one of {}", all.join(", "))))
    }

    fn word(&self, name: &str) -> Result<HeaderText, Fault> {
        let found = self.part(name).and_then(word);
        found.ok_or_else(|| self.wrong(name, WORD))
    }

    fn name(&self, field: &str) -> Result<HeaderText, Fault> {
        let found = self.part(field).and_then(name);
        found.ok_or_else(|| self.wrong(field, "a text without `:`, or a secret"))
    }

    fn token(&self, name: &str) -> Result<Token, Fault> {
        let said = self.part(name);
        let token = said.and_then(|said| member(said, "token")).and_then(word);
        let kind = said.and_then(|said| member(said, "type")).and_then(as_text);
        match (token, kind) {
            (Some(token), Some(kind)) => Ok(Token {
                token,
                kind: kind.into(),
            }),
            _ => Err(self.wrong(name, "{\"token\": a secret, \"type\": TEXT}")),
        }
    }

    fn kind(&self) -> Result<Kind, Fault> {
        let grants = ["client_credentials", "password", EXCHANGE];
        Ok(match self.chosen("grant", &grants)? {
            0 => Kind::Client,
            1 => Kind::Password(self.name("username")?, self.word("password")?),
            _ => {
                let actor = self.part("actor").map(|_| self.token("actor"));
                Kind::Exchange(self.token("subject")?, actor.transpose()?)
            }
        })
    }

    fn audience(&self) -> Result<Vec<String>, Fault> {
        let texts = match self.part("audience") {
            None => Some(Vec::new()),
            Some(Val::Arr(items)) => {
                let texts = items.iter().map(|one| as_text(one).map(str::to_owned));
                texts.collect()
            }
            Some(_) => None,
        };
        texts.ok_or_else(|| self.wrong("audience", "texts"))
    }
}

impl Terms {
    fn read(given: &Arguments<'_>, scheme: &str, value: &Val) -> Result<Terms, Fault> {
        let said = Said {
            given,
            scheme,
            value,
        };
        let whom = if scheme == "oidc" {
            "authority"
        } else {
            "endpoint"
        };
        said.only(&[
            whom,
            "actor",
            "audience",
            "authentication",
            "encoding",
            "grant",
            "id",
            "password",
            "scope",
            "secret",
            "subject",
            "username",
        ])?;
        let uri = said.part(whom).and_then(as_text);
        let uri = uri.ok_or_else(|| said.wrong(whom, "a URI"))?;
        check_uri(given, &said.place(whom), uri)?;
        let by = By::ALL[said.chosen("authentication", &By::ALL.map(By::name))?];
        let id = said.name("id")?;
        let secret = match (said.part("secret"), by) {
            (None, By::Nothing) => None,
            _ => Some(said.word("secret")?),
        };
        let scope = match said.part("scope") {
            None => "",
            Some(scope) => as_text(scope).ok_or_else(|| said.wrong("scope", "a text"))?,
        };
        Ok(Terms {
            whom: match scheme {
                "oidc" => Whom::Authority(uri.into()),
                _ => Whom::Endpoint(uri.into()),
            },
            id,
            secret,
            by,
            kind: said.kind()?,
            is_json: said.chosen("encoding", &[FORM, JSON])? == 1,
            scope: scope.into(),
            audience: said.audience()?,
        })
    }

    fn value(&self) -> Val {
        let audience = self.audience.iter().map(|one| text(one)).collect();
        let secret = self.secret.as_ref().map_or(Val::Null, word_value);
        let mut parts = vec![
            match &self.whom {
                Whom::Endpoint(uri) => ("endpoint", text(uri)),
                Whom::Authority(uri) => ("authority", text(uri)),
            },
            ("audience", audience),
            ("authentication", text(self.by.name())),
            ("id", self.id.value()),
            ("scope", text(&self.scope)),
            ("secret", secret),
        ];
        if self.is_json {
            parts.push(("encoding", text(JSON)));
        }
        let token = |token: &Token| {
            object([
                ("token", word_value(&token.token)),
                ("type", text(&token.kind)),
            ])
        };
        match &self.kind {
            Kind::Client => {}
            Kind::Password(username, password) => {
                parts.push(("grant", text("password")));
                parts.push(("username", username.value()));
                parts.push(("password", word_value(password)));
            }
            Kind::Exchange(subject, actor) => {
                parts.push(("grant", text(EXCHANGE)));
                parts.push(("subject", token(subject)));
                parts.extend(actor.iter().map(|actor| ("actor", token(actor))));
            }
        }
        object(parts)
    }

    /// All texts in it that may be secrets.
    fn texts(&self) -> Vec<&HeaderText> {
        let mut texts: Vec<&HeaderText> = self.secret.iter().chain([&self.id]).collect();
        match &self.kind {
            Kind::Client => {}
            Kind::Password(username, password) => texts.extend([username, password]),
            Kind::Exchange(subject, actor) => {
                texts.extend(
                    [Some(subject), actor.as_ref()]
                        .into_iter()
                        .flatten()
                        .map(|t| &t.token),
                );
            }
        }
        texts
    }

    /// The endpoint, where it is known; else where to read of it.
    pub(super) fn whom(&self) -> &Whom {
        &self.whom
    }

    /// The request for a token, and the secrets in it.
    pub(super) fn ask(&self, endpoint: &str) -> Result<(Request, Vec<Secret>), Fault> {
        let mut secrets = Vec::new();
        let mut read = |text: &HeaderText| -> Result<String, Fault> {
            let (said, secret) = text.resolve()?;
            secrets.extend(secret);
            Ok(said)
        };
        let mut form = vec![match &self.kind {
            Kind::Client => ("grant_type", "client_credentials".to_owned()),
            Kind::Password(..) => ("grant_type", "password".to_owned()),
            Kind::Exchange(..) => ("grant_type", EXCHANGE.to_owned()),
        }];
        let mut auth = None;
        match (&self.secret, self.by) {
            (Some(secret), By::Basic) => {
                let login = Login::of(self.id.clone(), secret.clone());
                auth = Some(Auth::Basic(login));
            }
            (Some(secret), By::Post) => {
                form.push(("client_id", read(&self.id)?));
                form.push(("client_secret", read(secret)?));
            }
            _ => form.push(("client_id", read(&self.id)?)),
        }
        match &self.kind {
            Kind::Client => {}
            Kind::Password(username, password) => {
                form.push(("username", read(username)?));
                form.push(("password", read(password)?));
            }
            Kind::Exchange(subject, actor) => {
                form.push(("subject_token", read(&subject.token)?));
                form.push(("subject_token_type", subject.kind.clone()));
                if let Some(actor) = actor {
                    form.push(("actor_token", read(&actor.token)?));
                    form.push(("actor_token_type", actor.kind.clone()));
                }
            }
        }
        if !self.scope.is_empty() {
            form.push(("scope", self.scope.clone()));
        }
        form.extend(self.audience.iter().map(|one| ("audience", one.clone())));
        let mut request = bare(Method::Post, endpoint);
        request.auth = auth;
        request.body = Some(if self.is_json {
            as_json(&form)?
        } else {
            as_form(&form)
        });
        let typed = if self.is_json { JSON } else { FORM };
        let typed = HeaderText::Plain(typed.into());
        request.headers.push(("content-type".into(), typed));
        Ok((request, secrets))
    }
}

/// A request that takes JSON.
fn bare(method: Method, uri: &str) -> Request {
    Request {
        method,
        uri: uri.to_owned(),
        headers: vec![("accept".into(), HeaderText::Plain(JSON.into()))],
        query: Vec::new(),
        auth: None,
        body_value: Val::Null,
        body: None,
        output: Output::Content,
        redirect: false,
        timeout_ms: None,
    }
}

fn as_form(form: &[(&str, String)]) -> Body {
    let mut body = String::new();
    for (name, value) in form {
        if !body.is_empty() {
            body.push('&');
        }
        body.push_str(name);
        body.push('=');
        percent_encode(value, &mut body);
    }
    Body::Text(body)
}

/// A name that comes several times has an array.
fn as_json(form: &[(&str, String)]) -> Result<Body, Fault> {
    let all = |name: &str| -> Val {
        let mut values = form
            .iter()
            .filter(|(known, _)| *known == name)
            .map(|(_, v)| text(v));
        match (values.next(), values.next()) {
            (Some(one), None) => one,
            (Some(one), Some(two)) => [one, two].into_iter().chain(values).collect(),
            _ => Val::Null,
        }
    };
    let members = form.iter().map(|(name, _)| (text(name), all(name)));
    let value = Value::from_val(&Val::obj(members.collect()))?;
    Ok(Body::Json(value.canonical().to_vec()))
}

/// The request for an authority's configuration.
pub(super) fn configuration(authority: &str) -> Request {
    let base = authority.trim_end_matches('/');
    match base.ends_with(CONFIGURATION) {
        true => bare(Method::Get, base),
        false => bare(Method::Get, &format!("{base}{CONFIGURATION}")),
    }
}

/// The endpoint that the authority's configuration names: it speaks for this authority, and leads to no less safe a place.
pub(super) fn discovered(authority: &str, body: &[u8]) -> Result<String, Fault> {
    let wrong = |why: &str| Fault::new(Code::SchemaError, format!("no token: {why}"));
    let base = |uri: &str| {
        let uri = uri.trim_end_matches('/');
        uri.strip_suffix(CONFIGURATION)
            .unwrap_or(uri)
            .trim_end_matches('/')
            .to_owned()
    };
    let answer = Value::from_json(body).map_err(|_| wrong("the configuration is no JSON"))?;
    let part = |name| member(answer.val(), name).and_then(as_text);
    if part("issuer").map(base) != Some(base(authority)) {
        return Err(wrong("the configuration is that of another issuer"));
    }
    let endpoint = part("token_endpoint");
    let endpoint = endpoint.ok_or_else(|| wrong("the configuration has no `token_endpoint`"))?;
    let given = Value::from_json(b"{}")?;
    let given = Arguments::of("http_call", &given)?;
    check_uri(&given, "token_endpoint", endpoint)
        .map_err(|_| wrong("the configuration's `token_endpoint` is no URI of http or https"))?;
    let secure = |uri: &str| {
        uri.get(..6)
            .is_some_and(|s| s.eq_ignore_ascii_case("https:"))
    };
    if secure(authority) && !secure(endpoint) {
        return Err(wrong("the configuration leads from https to http"));
    }
    Ok(endpoint.to_owned())
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
