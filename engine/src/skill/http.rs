//! `http_call`: one HTTP request and its answer.
//!
//! ```text
//! arguments ──request()──> {"body","headers","method","output","query","redirect","uri"}   recorded in INTENT
//!                           └──perform()──> output, or a fault                              recorded in RESULT
//! ```
//!
//! The record is itself a valid set of arguments and its own record, so that `perform` reads what `request` wrote with the same
//! code and trusts neither. What goes onto the wire besides: `Idempotency-Key`, which differs from log to log and therefore
//! never appears in a record or an output. Connections are kept for methods that may be repeated, and not for others: a kept one
//! that the server has closed meanwhile would leave the outcome of a POST unknown. Proxies named by the environment are not used.
//! Headers that let somebody in are references to secrets; an answer that echoes one is recorded with a mask in its place.

mod answer;
mod auth;
mod digest;
pub(crate) mod oauth2;
mod openapi;
mod request;
mod webhook;

use super::{About, AtHand, Effect, Latency, Policy};
use crate::fault::{Code, Fault};
use crate::secret::{Scrubber, Secret, SecretRef};
use crate::value::Value;
pub(super) use openapi::OpenApiCall;
pub(super) use webhook::WebhookSend;

use auth::{Auth, Known};
use oauth2::{Grant, Whom};
use request::{Body, Request};
use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Most bytes of an answer's body.
const RESPONSE_BYTES_MAX: u64 = 8 << 20;

/// Most redirects followed for one request.
const REDIRECTS_MAX: u32 = 10;

/// Longest time that one request may be given.
pub(super) const TIMEOUT_MS_MAX: usize = 600_000;

/// Most connections that are kept, and how long.
const IDLE_CONNECTIONS_MAX: usize = 16;
const IDLE_MAX: Duration = Duration::from_secs(5);

/// What a request can end in.
pub(super) const FAILS: [Code; 10] = [
    Code::Timeout,
    Code::DnsFailure,
    Code::ConnectionRefused,
    Code::Http500,
    Code::Http503,
    Code::Http400,
    Code::Http404,
    Code::RateLimited,
    Code::SchemaError,
    Code::UnknownOutcome,
];

/// The skill.
pub struct HttpCall {
    /// Opens a connection for each request.
    agent: ureq::Agent,
    /// Keeps connections.
    keeping: ureq::Agent,
    connect_max: Duration,
    total_max: Duration,
}

impl HttpCall {
    /// The skill with 10 seconds to connect and 60 seconds for everything.
    pub fn new() -> HttpCall {
        HttpCall::with_limits(Duration::from_secs(10), Duration::from_secs(60))
    }

    /// The skill with `connect_max` for finding the host and connecting, and `total_max` for everything.
    pub fn with_limits(connect_max: Duration, total_max: Duration) -> HttpCall {
        HttpCall {
            agent: agent(connect_max, total_max, 0),
            keeping: agent(connect_max, total_max, IDLE_CONNECTIONS_MAX),
            connect_max,
            total_max,
        }
    }

    /// Whether these arguments make a request.
    pub(super) fn check(arguments: &Value) -> Result<(), Fault> {
        Request::read(arguments).map(drop)
    }

    /// The longest that this request may take.
    fn limit(&self, request: &Request) -> Duration {
        let asked = request.timeout_ms.and_then(|ms| u64::try_from(ms).ok());
        asked.map_or(self.total_max, Duration::from_millis)
    }

    /// Sends a request with `extra` headers besides its own, once.
    fn exchange(
        &self,
        request: &Request,
        wire_key: &str,
        extra: &[(&str, String)],
    ) -> Result<Answer, Fault> {
        let mut headers = Vec::with_capacity(request.headers.len() + extra.len());
        let mut secrets = Vec::new();
        for (name, value) in &request.headers {
            let (value, secret) = value.resolve()?;
            secrets.extend(secret);
            headers.push((name.as_str(), value));
        }
        let (authorization, login) = match &request.auth {
            Some(Auth::Token(grant)) => (Some(self.token(grant, wire_key)?), None),
            Some(Auth::Digest(login)) => (None, Some(login.resolve()?)),
            Some(auth) => (auth.resolve()?, None),
            None => (None, None),
        };
        if let Some((value, found)) = authorization {
            secrets.extend(found);
            headers.push(("authorization", value));
        }
        headers.extend(extra.iter().map(|(name, value)| (*name, value.clone())));
        let known = login.as_ref().map_or(&[][..], |login| &login.secrets);
        let scrubber = Scrubber::new(secrets.iter().chain(known));
        let sending = Sending {
            request,
            wire_key,
            headers: &headers,
            login,
        };
        let answer = self
            .send(&sending)
            .map_err(|failure| scrubber.fault(self.fault(request, failure)))?;
        Ok(Answer { scrubber, ..answer })
    }

    /// Fetches a token: the value of `authorization`, and the secrets in it.
    fn token(&self, grant: &Grant, wire_key: &str) -> Result<(String, Vec<Secret>), Fault> {
        let (terms, mut secrets) = grant.terms()?;
        let endpoint = match terms.whom() {
            Whom::Endpoint(endpoint) => endpoint.clone(),
            Whom::Authority(authority) => {
                let ask = oauth2::configuration(authority);
                let answer = self
                    .exchange(&ask, wire_key, &[])
                    .map_err(oauth2::refused)?;
                oauth2::discovered(authority, &answer.body)?
            }
        };
        let (ask, found) = terms.ask(&endpoint)?;
        secrets.extend(found);
        let hidden = Scrubber::new(&secrets);
        let told = |fault| hidden.fault(oauth2::refused(fault));
        let answer = self.exchange(&ask, wire_key, &[]).map_err(told)?;
        let token = oauth2::token(&answer.body).map_err(|fault| hidden.fault(fault))?;
        secrets.push(Secret::of(token.as_bytes()));
        Ok((format!("Bearer {token}"), secrets))
    }

    /// Sends a request and follows where it is redirected, if it wants that. A header with a secret, and the answer to a
    /// challenge, are for the origin that the document names, and taken to no other one.
    fn send(&self, sending: &Sending<'_>) -> Result<Answer, Failure> {
        let request = sending.request;
        let mut uri = request.full_uri();
        if !request.redirect || !request.keeps_to_origin() {
            return self.send_answering(&uri, sending);
        }
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.send_answering(&uri, sending)?;
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let location = answer.headers.get("location");
            let location = location.and_then(|value| value.to_str().ok());
            let onward = location.and_then(|to| within_origin(&uri, to));
            uri = match request.method.policy() {
                Policy::Retry => onward.ok_or(Failure::Elsewhere)?,
                Policy::Hold => return Err(Failure::Elsewhere),
            };
        }
        Err(Failure::Elsewhere)
    }

    /// Sends it; where the server challenges whoever asks, once more with the answer. A challenge is a refusal: nothing was
    /// done.
    fn send_answering(&self, uri: &str, sending: &Sending<'_>) -> Result<Answer, Failure> {
        let request = sending.request;
        let challenges = match self.send_to(uri, sending, None) {
            Err(Failure::Challenged(challenges)) => challenges,
            told => return told,
        };
        let body = request.wire_body().unwrap_or_default();
        let parsed = uri.parse::<ureq::http::Uri>();
        let target = parsed.as_ref().ok().and_then(|uri| uri.path_and_query());
        let asked = digest::Asked {
            method: request.method.name(),
            target: target.map_or("/", |target| target.as_str()),
            body: &body,
            wire_key: sending.wire_key,
        };
        let login = sending.login.as_ref();
        let answer = login
            .and_then(|login| digest::answer(challenges.iter().map(String::as_str), &asked, login));
        match self.send_to(uri, sending, Some(&answer.ok_or(Failure::Status(401))?)) {
            Err(Failure::Challenged(_)) => Err(Failure::Status(401)),
            told => told,
        }
    }

    fn send_to(
        &self,
        uri: &str,
        sending: &Sending<'_>,
        authorization: Option<&str>,
    ) -> Result<Answer, Failure> {
        let request = sending.request;
        let mut outgoing = ureq::http::Request::builder()
            .method(request.method.name())
            .uri(uri);
        for (name, value) in sending.headers {
            outgoing = outgoing.header(*name, value);
        }
        if let Some(value) = authorization {
            outgoing = outgoing.header("authorization", value);
        }
        outgoing = outgoing.header("idempotency-key", sending.wire_key);
        if let (Some(Body::Json(_)), false) = (&request.body, request.has_header("content-type")) {
            outgoing = outgoing.header("content-type", "application/json");
        }
        let kept = request.redirect && request.keeps_to_origin();
        let redirects = if request.redirect && !kept {
            REDIRECTS_MAX
        } else {
            0
        };
        let agent = match request.method.policy() {
            Policy::Retry => &self.keeping,
            Policy::Hold => &self.agent,
        };
        let limit = self.limit(request);
        macro_rules! run {
            ($body:expr) => {{
                let outgoing = outgoing.body($body).map_err(|_| Failure::Unsendable)?;
                let configured = agent
                    .configure_request(outgoing)
                    .max_redirects(redirects)
                    .timeout_global(Some(limit));
                agent.run(configured.build())?
            }};
        }
        let mut response = match request.wire_body() {
            Some(body) => run!(body),
            None => run!(()),
        };
        let status = response.status().as_u16();
        if status == 401 && sending.login.is_some() {
            let challenges = response.headers().get_all("www-authenticate").iter();
            let challenges = challenges.filter_map(|value| value.to_str().ok());
            return Err(Failure::Challenged(challenges.map(str::to_owned).collect()));
        }
        let last_good = if request.redirect { 399 } else { 299 };
        if !(200..=last_good).contains(&status) {
            return Err(Failure::Status(status));
        }
        // One more than allowed, as the limit counts as passed once it is reached.
        let body = response
            .body_mut()
            .with_config()
            .limit(RESPONSE_BYTES_MAX + 1)
            .read_to_vec()?;
        Ok(Answer {
            status,
            headers: response.headers().clone(),
            body,
            scrubber: Scrubber::default(),
        })
    }

    fn fault(&self, request: &Request, failure: Failure) -> Fault {
        let method = request.method.name();
        match failure {
            Failure::Status(status) => Fault {
                status,
                ..Fault::new(
                    code_of(status),
                    format!("{method} was answered with status {status}"),
                )
            },
            Failure::Challenged(_) => self.fault(request, Failure::Status(401)),
            Failure::Elsewhere => Fault::new(
                Code::Http400,
                format!("{method}: the answer redirects where a header with a secret does not go"),
            ),
            Failure::Unsendable => Fault::new(
                Code::InvalidInput,
                "http_call: expected a request that can be sent, found another",
            ),
            Failure::Transport(error) => self.transport_fault(request, &error),
        }
    }

    /// Details say what, never the system's own words: those differ between platforms and between versions.
    fn transport_fault(&self, request: &Request, error: &ureq::Error) -> Fault {
        use ureq::{Error, Timeout};
        let method = request.method.name();
        match error {
            Error::Timeout(Timeout::Resolve | Timeout::Connect) => Fault::new(
                Code::Timeout,
                format!(
                    "{method}: no connection within {}",
                    seconds(self.connect_max)
                ),
            ),
            Error::Timeout(_) => Fault::new(
                Code::Timeout,
                format!(
                    "{method}: no complete answer within {}",
                    seconds(self.limit(request))
                ),
            ),
            Error::HostNotFound => Fault::new(
                Code::DnsFailure,
                format!("{method}: the host name did not resolve"),
            ),
            Error::ConnectionFailed => Fault::new(
                Code::ConnectionRefused,
                format!("{method}: the connection was refused"),
            ),
            Error::Io(e) => match e.kind() {
                ErrorKind::ConnectionRefused => Fault::new(
                    Code::ConnectionRefused,
                    format!("{method}: the connection was refused"),
                ),
                ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::AddrNotAvailable => Fault::new(
                    Code::ConnectionRefused,
                    format!("{method}: the host cannot be reached"),
                ),
                ErrorKind::TimedOut => Fault::new(
                    Code::Timeout,
                    format!(
                        "{method}: no connection within {}",
                        seconds(self.connect_max)
                    ),
                ),
                _ => lost(
                    request,
                    "the connection broke before the answer was complete",
                ),
            },
            Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) | Error::TlsRequired => Fault::new(
                Code::ConnectionRefused,
                format!("{method}: no secure connection"),
            ),
            Error::BodyExceedsLimit(_) => Fault::new(
                Code::BudgetExceeded,
                format!("{method}: the answer is longer than {RESPONSE_BYTES_MAX} bytes"),
            ),
            Error::LargeResponseHeader(..) => Fault::new(
                Code::BudgetExceeded,
                format!("{method}: the headers of the answer are too long"),
            ),
            Error::RedirectFailed | Error::TooManyRedirects => Fault::new(
                Code::Http400,
                format!("{method}: the answer redirects in a way that cannot be followed"),
            ),
            _ => lost(request, "the answer is no valid HTTP"),
        }
    }
}

impl Default for HttpCall {
    fn default() -> HttpCall {
        HttpCall::new()
    }
}

impl fmt::Debug for HttpCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCall")
            .field("connect_max", &self.connect_max)
            .field("total_max", &self.total_max)
            .finish_non_exhaustive()
    }
}

impl Effect for HttpCall {
    fn can_be_left(&self) -> bool {
        true
    }

    fn about(&self) -> About {
        About {
            checked: false,
            cost: 1,
            latency: Latency {
                typical_ms: 200,
                max_ms: u64::try_from(self.total_max.as_millis()).unwrap_or(u64::MAX),
            },
            fails: FAILS.to_vec(),
            ..About::effect()
                .summary("One HTTP request and its answer")
                .schemas(request::INPUT, "true")
        }
    }

    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Request::read(arguments)?.record()
    }

    fn secrets(&self, request: &Value) -> Vec<SecretRef> {
        Request::read(request).map_or_else(|_| Vec::new(), |request| request.secrets())
    }

    /// A request that cannot be read is held: nobody can say that repeating it is safe.
    fn policy(&self, request: &Value) -> Policy {
        Request::read(request).map_or(Policy::Hold, |request| request.method.policy())
    }

    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        let request = Request::read(request)?;
        let answer = self.exchange(&request, hand.wire_key, &[])?;
        let output = answer::output(&request, answer.status, &answer.headers, &answer.body);
        output
            .map_err(|fault| answer.scrubber.fault(fault))
            .and_then(|output| answer.scrubber.value(output))
    }
}

/// An answer, and what may not be recorded of it.
struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
    scrubber: Scrubber,
}

fn agent(connect_max: Duration, total_max: Duration, idle_max: usize) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(Some(connect_max))
        .timeout_connect(Some(connect_max))
        .timeout_global(Some(total_max))
        .max_redirects_will_error(false)
        .max_idle_connections(idle_max)
        .max_idle_connections_per_host(idle_max)
        .max_idle_age(IDLE_MAX)
        .accept_encoding("")
        .user_agent(concat!("aos/", env!("CARGO_PKG_VERSION")))
        .proxy(None)
        .build();
    ureq::Agent::with_parts(config, DefaultConnector::default(), Names::default())
}

/// A request on its way.
struct Sending<'a> {
    request: &'a Request,
    wire_key: &'a str,
    headers: &'a [(&'a str, String)],
    /// Who answers a challenge.
    login: Option<Known>,
}

/// Why there is no output.
enum Failure {
    /// The server asks who it is; what it says.
    Challenged(Vec<String>),
    /// The pieces make no request, although they were checked.
    Unsendable,
    /// A redirect that would take a secret to another origin.
    Elsewhere,
    /// No answer, or not a whole one.
    Transport(ureq::Error),
    /// An answer outside the statuses that count as success.
    Status(u16),
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Failure {
        Failure::Transport(error)
    }
}

/// Something went wrong after the request may have been acted on. Where repeating it is safe that is a failure like others;
/// where it is not, nobody knows whether the effect happened.
fn lost(request: &Request, what: &str) -> Fault {
    let method = request.method.name();
    match request.method.policy() {
        Policy::Retry => Fault::new(Code::Http503, format!("{method}: {what}")),
        Policy::Hold => Fault::new(
            Code::UnknownOutcome,
            format!("{method}: {what}; the server may have acted on it"),
        ),
    }
}

/// The URI that a redirect from `uri` leads to, if it stays with scheme, host and port.
fn within_origin(uri: &str, to: &str) -> Option<String> {
    let parsed = uri.parse::<ureq::http::Uri>().ok()?;
    let authority = parsed.authority()?.as_str().to_ascii_lowercase();
    let origin = format!("{}://{authority}", parsed.scheme_str()?);
    if to.starts_with('/') && !to.starts_with("//") {
        return Some(format!("{origin}{to}"));
    }
    let next = to.parse::<ureq::http::Uri>().ok()?;
    let same = next.scheme_str()? == parsed.scheme_str()?
        && next.authority()?.as_str().eq_ignore_ascii_case(&authority);
    same.then(|| to.to_owned())
}

fn code_of(status: u16) -> Code {
    match status {
        404 => Code::Http404,
        429 => Code::RateLimited,
        503 => Code::Http503,
        500..=599 => Code::Http500,
        _ => Code::Http400,
    }
}

fn seconds(limit: Duration) -> String {
    match (limit.as_secs(), limit.subsec_millis()) {
        (seconds, 0) => format!("{seconds} s"),
        (_, _) => format!("{} ms", limit.as_millis()),
    }
}

/// The system's resolver, with every failure of it told apart from failures of a connection.
#[derive(Debug, Default)]
struct Names(DefaultResolver);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &ureq::http::Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0
            .resolve(uri, config, timeout)
            .map_err(|error| match error {
                ureq::Error::Io(_) => ureq::Error::HostNotFound,
                other => other,
            })
    }
}

#[cfg(test)]
mod tests;
