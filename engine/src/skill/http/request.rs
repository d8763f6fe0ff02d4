//! A request as it is recorded: read from arguments, checked, and written in one canonical form.

use super::super::Policy;
use super::super::arguments::{Arguments, describe, short};
use super::TIMEOUT_MS_MAX;
use super::auth::{self, Auth};
use crate::fault::Fault;
use crate::secret::{Secret, SecretRef};
use crate::value::{Val, Value, as_text, object, text};
use ureq::http::{HeaderName, HeaderValue, Uri};

/// Headers that AOS or the connection sets; naming them in arguments would let the two disagree.
const HEADERS_RESERVED: [&str; 8] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Headers whose values let somebody in. Their values come from secrets: a text in a document would stand in the log.
const HEADERS_SECRET: [&str; 8] = [
    "api-key",
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
];

/// JSON Schema of the arguments.
pub(super) const INPUT: &str = r#"{
  "type": "object",
  "properties": {
    "method": {"type": "string", "pattern": "^(?i:DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT|TRACE)$", "description": "GET by default"},
    "endpoint": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["uri"]}]},
    "uri": {"type": "string"},
    "url": {"type": "string"},
    "headers": {"type": ["object", "null"]},
    "query": {"type": ["object", "null"]},
    "authentication": {"type": ["object", "null"], "description": "{\"basic\": {\"username\", \"password\"}}, {\"digest\": {\"username\", \"password\"}}, {\"bearer\": {\"token\"}}, {\"oauth2\": {\"endpoint\", …}} or {\"oidc\": {\"authority\", …}}, the last two with \"id\", \"secret\", \"authentication\", \"grant\", \"scope\", \"audience\", or \"use\" alone; password, token and secret are secrets, or {\"data\": TEXT} that the log may show"},
    "body": {"description": "JSON, or text where the headers say so"},
    "output": {"enum": ["raw", "content", "response"]},
    "redirect": {"type": "boolean"},
    "timeout_ms": {"type": "integer", "minimum": 1, "maximum": 600000}
  },
  "anyOf": [{"required": ["url"]}, {"required": ["endpoint"]}, {"required": ["uri"]}],
  "additionalProperties": false
}"#;

/// Request methods. `CONNECT` is not among them: it makes a tunnel, not an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    Delete,
    Get,
    Head,
    Options,
    Patch,
    Post,
    Put,
    Trace,
}

impl Method {
    const ALL: [Method; 8] = [
        Method::Delete,
        Method::Get,
        Method::Head,
        Method::Options,
        Method::Patch,
        Method::Post,
        Method::Put,
        Method::Trace,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Method::Delete => "DELETE",
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Patch => "PATCH",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Trace => "TRACE",
        }
    }

    /// RFC 9110, section 9.2.2: what is idempotent may be repeated when its outcome is unknown.
    pub(super) fn policy(self) -> Policy {
        match self {
            Method::Delete
            | Method::Get
            | Method::Head
            | Method::Options
            | Method::Put
            | Method::Trace => Policy::Retry,
            Method::Patch | Method::Post => Policy::Hold,
        }
    }

    fn takes_body(self) -> bool {
        !matches!(self, Method::Head | Method::Trace)
    }
}

/// What the step's output is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Output {
    /// Base64 of the body.
    Raw,
    /// The body, decoded.
    Content,
    /// Request, status, headers and decoded body.
    Response,
}

impl Output {
    fn name(self) -> &'static str {
        match self {
            Output::Raw => "raw",
            Output::Content => "content",
            Output::Response => "response",
        }
    }
}

/// A body as it goes onto the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Body {
    /// Canonical JSON.
    Json(Vec<u8>),
    /// A text under a content type of its own.
    Text(String),
}

/// The value of a header.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum HeaderText {
    /// As it is sent.
    Plain(String),
    /// A reference to a secret: its file, and what is put before it.
    Secret(SecretRef),
}

/// A checked request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// As given, without `query`.
    pub(super) uri: String,
    /// Lower-case names, ascending, each once.
    pub(super) headers: Vec<(String, HeaderText)>,
    /// In the order of canonical keys; a key with several values stands several times.
    pub(super) query: Vec<(String, Vec<String>)>,
    pub(super) auth: Option<Auth>,
    pub(super) body_value: Val,
    pub(super) body: Option<Body>,
    pub(super) output: Output,
    pub(super) redirect: bool,
    /// Milliseconds for everything, where it is not the skill's own limit.
    pub(super) timeout_ms: Option<usize>,
}

impl Request {
    /// Reads arguments, of `call: http`, of the flat form, or of a record.
    pub(super) fn read(arguments: &Value) -> Result<Request, Fault> {
        let mut given = Arguments::of("http_call", arguments)?;
        let method = method(&mut given)?;
        let uri = uri(&mut given)?;
        let headers = headers(&mut given)?;
        let query = query(&mut given)?;
        let auth = auth::read(&mut given)?;
        if auth.is_some() && headers.iter().any(|(name, _)| name == "authorization") {
            return Err(given.wrong(
                "authentication",
                "no header `authorization` beside it",
                "one",
            ));
        }
        let body_value = given.maybe("body").cloned().unwrap_or(Val::Null);
        let output = output(&mut given)?;
        let redirect = match given.maybe("redirect") {
            None => false,
            Some(Val::Bool(redirect)) => *redirect,
            Some(other) => return Err(given.wrong("redirect", "true or false", &describe(other))),
        };
        let timeout_ms = given.maybe_count("timeout_ms", TIMEOUT_MS_MAX)?;
        if timeout_ms == Some(0) {
            return Err(given.wrong("timeout_ms", "at least 1", "0"));
        }
        given.end()?;
        let body = body(&given, method, &headers, &body_value)?;
        let request = Request {
            method,
            uri,
            headers,
            query,
            auth,
            body_value,
            body,
            output,
            redirect,
            timeout_ms,
        };
        if request.full_uri().parse::<Uri>().is_err() {
            return Err(given.wrong("query", "parameters that leave the URI valid", "others"));
        }
        Ok(request)
    }

    /// The canonical form that INTENT records.
    pub(super) fn record(&self) -> Result<Value, Fault> {
        let query = self.query.iter().map(|(name, values)| {
            let value = match values.as_slice() {
                [one] => text(one),
                many => many.iter().map(|v| text(v)).collect(),
            };
            (text(name), value)
        });
        let mut fields = vec![
            ("body", self.body_value.clone()),
            ("headers", self.headers_value()),
            ("method", text(self.method.name())),
            ("output", text(self.output.name())),
            ("query", Val::obj(query.collect())),
            ("redirect", Val::Bool(self.redirect)),
            ("uri", text(&self.uri)),
        ];
        if let Some(auth) = &self.auth {
            fields.push(("authentication", auth.value()));
        }
        if let Some(ms) = self.timeout_ms {
            fields.push(("timeout_ms", Val::from(ms)));
        }
        Value::from_val(&object(fields)).map_err(super::answer::not_a_value)
    }

    /// The headers as an object.
    pub(super) fn headers_value(&self) -> Val {
        Val::obj(
            self.headers
                .iter()
                .map(|(name, value)| (text(name), value.value()))
                .collect(),
        )
    }

    /// The secrets that it is sent with.
    pub(super) fn secrets(&self) -> Vec<SecretRef> {
        let texts = self.headers.iter().filter_map(|(_, value)| value.secret());
        let auth = self.auth.iter().flat_map(Auth::secrets);
        texts.cloned().chain(auth).collect()
    }

    /// The URI with the query appended.
    pub(super) fn full_uri(&self) -> String {
        let mut full = self.uri.clone();
        let mut separator = if full.contains('?') { '&' } else { '?' };
        for (name, values) in &self.query {
            for value in values {
                full.push(separator);
                percent_encode(name, &mut full);
                full.push('=');
                percent_encode(value, &mut full);
                separator = '&';
            }
        }
        full
    }

    /// Whether what is sent is for the origin that the document names: a header besides `authorization` holds a secret, or a
    /// challenge is answered.
    pub(super) fn keeps_to_origin(&self) -> bool {
        let mut headers = self.headers.iter();
        matches!(self.auth, Some(Auth::Digest(_)))
            || headers.any(|(name, value)| name != "authorization" && value.secret().is_some())
    }

    pub(super) fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(n, _)| n == name)
    }

    /// The bytes of the body; empty ones where a method is expected to have a body, so that its length is told.
    pub(super) fn wire_body(&self) -> Option<Vec<u8>> {
        match (&self.body, self.method) {
            (Some(Body::Json(bytes)), _) => Some(bytes.clone()),
            (Some(Body::Text(text)), _) => Some(text.clone().into_bytes()),
            (None, Method::Post | Method::Put | Method::Patch) => Some(Vec::new()),
            (None, _) => None,
        }
    }
}

fn method(given: &mut Arguments<'_>) -> Result<Method, Fault> {
    let Some(value) = given.maybe("method") else {
        return Ok(Method::Get);
    };
    let name = as_text(value).ok_or_else(|| given.wrong("method", "text", &describe(value)))?;
    let found = Method::ALL
        .into_iter()
        .find(|m| m.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let known = "one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE";
        given.wrong("method", known, &format!("text `{}`", short(name)))
    })
}

/// `endpoint` (text or `{"uri"}`), `url` or `uri`: one of them.
fn uri(given: &mut Arguments<'_>) -> Result<String, Fault> {
    let mut found = None;
    for name in ["endpoint", "uri", "url"] {
        let Some(value) = given.maybe(name) else {
            continue;
        };
        if found.is_some() {
            return Err(given.wrong(name, "only one of `endpoint`, `uri` and `url`", "another"));
        }
        found = Some((name, value));
    }
    let Some((name, value)) = found else {
        return Err(given.wrong("endpoint", "a URI", "nothing"));
    };
    let uri = match value {
        Val::Obj(fields) if name == "endpoint" => {
            if let Some((key, _)) = fields.iter().find(|(key, _)| as_text(key) != Some("uri")) {
                let key = as_text(key).unwrap_or_default();
                return Err(given.wrong(&format!("endpoint/{key}"), "no such field", "one"));
            }
            fields.get(&text("uri")).and_then(as_text)
        }
        other => as_text(other),
    };
    let uri = uri.ok_or_else(|| given.wrong(name, "a URI as text", &describe(value)))?;
    check_uri(given, name, uri)?;
    Ok(uri.into())
}

pub(super) fn check_uri(given: &Arguments<'_>, name: &str, uri: &str) -> Result<(), Fault> {
    if let Some(start) = uri.find(['{', '}']) {
        let place = short(&uri[start..]);
        return Err(given.wrong(
            name,
            "a URI whose variables are resolved",
            &format!("`{place}`"),
        ));
    }
    if uri.contains('#') {
        return Err(given.wrong(name, "a URI without fragment", "one with `#`"));
    }
    let parsed = uri.parse::<Uri>().ok();
    let scheme = parsed.as_ref().and_then(Uri::scheme_str);
    let authority = parsed.as_ref().and_then(Uri::authority);
    let (Some("http" | "https"), Some(authority)) = (scheme, authority) else {
        return Err(given.wrong(
            name,
            "an absolute URI of http or https",
            &format!("`{}`", short(uri)),
        ));
    };
    // The URI goes into the log: a password in it would be there for ever.
    if authority.as_str().contains('@') {
        return Err(given.wrong(name, "a URI without user and password", "one with `@`"));
    }
    if authority.host().is_empty() {
        return Err(given.wrong(name, "a URI with a host", "one without"));
    }
    Ok(())
}

fn headers(given: &mut Arguments<'_>) -> Result<Vec<(String, HeaderText)>, Fault> {
    let mut headers = Vec::new();
    for (name, value) in map(given, "headers")? {
        let place = format!("headers/{name}");
        let lower = name.to_ascii_lowercase();
        if HeaderName::from_bytes(lower.as_bytes()).is_err() {
            return Err(given.wrong(&place, "the name of a header", "another text"));
        }
        if HEADERS_RESERVED.contains(&lower.as_str()) {
            return Err(given.wrong(&place, "no header that the request sets itself", "one"));
        }
        let value = header_text(given, &place, &lower, value)?;
        headers.push((lower, value));
    }
    headers.sort();
    if let Some(pair) = headers.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(given.wrong(
            &format!("headers/{}", pair[0].0),
            "one value",
            "the name twice, in different case",
        ));
    }
    Ok(headers)
}

impl HeaderText {
    /// The secret that it is.
    pub(super) fn secret(&self) -> Option<&SecretRef> {
        match self {
            HeaderText::Plain(_) => None,
            HeaderText::Secret(at) => Some(at),
        }
    }

    pub(super) fn value(&self) -> Val {
        match self {
            HeaderText::Plain(value) => text(value),
            HeaderText::Secret(at) => at.value(),
        }
    }

    /// As it is sent; the secret comes beside it, so that it can be looked for in the answer.
    pub(super) fn resolve(&self) -> Result<(String, Option<Secret>), Fault> {
        match self {
            HeaderText::Plain(value) => Ok((value.clone(), None)),
            HeaderText::Secret(at) => {
                let secret = at.resolve()?;
                Ok((secret.prefixed(&at.prefix)?, Some(secret)))
            }
        }
    }
}

fn header_text(
    given: &Arguments<'_>,
    place: &str,
    name: &str,
    value: &Val,
) -> Result<HeaderText, Fault> {
    if let Some(at) = SecretRef::read(value) {
        return Ok(HeaderText::Secret(at));
    }
    let plain = scalar(value).ok_or_else(|| {
        let expected = "text, a number, a boolean or a secret {\"file\": PATH}";
        given.wrong(place, expected, &describe(value))
    })?;
    if HEADERS_SECRET.contains(&name) {
        let expected =
            "a secret {\"file\": PATH, \"prefix\": TEXT}, as a text would stand in the log";
        return Err(given.wrong(place, expected, "a text"));
    }
    if HeaderValue::from_str(&plain).is_err() {
        return Err(given.wrong(place, "a value of visible ASCII characters", "others"));
    }
    Ok(HeaderText::Plain(plain))
}

fn query(given: &mut Arguments<'_>) -> Result<Vec<(String, Vec<String>)>, Fault> {
    let mut query = Vec::new();
    for (name, value) in map(given, "query")? {
        let values: Option<Vec<String>> = match value {
            Val::Arr(items) => items.iter().map(scalar).collect(),
            one => scalar(one).map(|one| vec![one]),
        };
        let expected = "text, a number, a boolean or an array of them";
        let values = values
            .ok_or_else(|| given.wrong(&format!("query/{name}"), expected, &describe(value)))?;
        query.push((name.to_owned(), values));
    }
    Ok(query)
}

fn map<'a>(given: &mut Arguments<'a>, name: &str) -> Result<Vec<(&'a str, &'a Val)>, Fault> {
    match given.maybe(name) {
        None | Some(Val::Null) => Ok(Vec::new()),
        Some(Val::Obj(fields)) => fields
            .iter()
            .map(|(key, value)| Some((as_text(key)?, value)))
            .collect::<Option<_>>()
            .ok_or_else(|| given.wrong(name, "names that are text", "others")),
        Some(other) => Err(given.wrong(name, "an object", &describe(other))),
    }
}

/// A scalar as text: numbers in their canonical form.
fn scalar(value: &Val) -> Option<String> {
    match value {
        Val::TStr(_) => as_text(value).map(str::to_owned),
        Val::Bool(b) => Some(b.to_string()),
        Val::Num(_) => {
            let value = Value::from_val(value).ok()?;
            String::from_utf8(value.canonical().to_vec()).ok()
        }
        Val::Null | Val::BStr(_) | Val::Arr(_) | Val::Obj(_) => None,
    }
}

fn output(given: &mut Arguments<'_>) -> Result<Output, Fault> {
    let Some(value) = given.maybe("output") else {
        return Ok(Output::Content);
    };
    let found = [Output::Raw, Output::Content, Output::Response]
        .into_iter()
        .find(|output| as_text(value) == Some(output.name()));
    found.ok_or_else(|| given.wrong("output", "one of content, raw, response", &describe(value)))
}

/// JSON, unless the body is a text and the headers say that it is something else.
fn body(
    given: &Arguments<'_>,
    method: Method,
    headers: &[(String, HeaderText)],
    value: &Val,
) -> Result<Option<Body>, Fault> {
    if matches!(value, Val::Null) {
        return Ok(None);
    }
    if !method.takes_body() {
        return Err(given.wrong(
            "body",
            &format!("nothing, as {} has no body", method.name()),
            &describe(value),
        ));
    }
    let content_type = headers
        .iter()
        .find(|(name, _)| name == "content-type")
        .and_then(|(_, value)| match value {
            HeaderText::Plain(value) => Some(value.as_str()),
            HeaderText::Secret(_) => None,
        });
    match content_type {
        Some(content_type) if !super::answer::is_json(content_type) => match as_text(value) {
            Some(text) => Ok(Some(Body::Text(text.into()))),
            None => Err(given.wrong(
                "body",
                &format!("text, as its type is `{}`", short(content_type)),
                &describe(value),
            )),
        },
        _ => {
            let value = Value::from_val(value)
                .map_err(|e| given.wrong("body", "a JSON value", &e.to_string()))?;
            Ok(Some(Body::Json(value.canonical().to_vec())))
        }
    }
}

/// RFC 3986: everything but unreserved characters as `%XX` of its UTF-8.
pub(super) fn percent_encode(text: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}
