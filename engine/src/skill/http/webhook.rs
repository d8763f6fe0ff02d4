//! `webhook_send`: a signed message to a webhook, as the Standard Webhooks specification 1.0 has it.
//!
//! ```text
//! webhook-id         "msg_" and 32 hexadecimal digits of SHA-256 over the wire key: the same for a repetition
//! webhook-timestamp  seconds since 1970 when it is sent
//! webhook-signature  "v1," base64(HMAC-SHA-256(secret, id "." timestamp "." body)), one for each secret, a space between
//! ```
//!
//! A secret is a file of `whsec_` and base64. Nothing of id, time and signature is recorded: they differ from log to log. A
//! message whose outcome is unknown is sent again, as its id tells the receiver that it is the same.

use super::request::Request;
use super::{AtHand, HttpCall, Policy};
use crate::clock::Clock;
use crate::fault::{Code, Fault};
use crate::secret::{Secret, SecretRef};
use crate::skill::arguments::{Arguments, describe};
use crate::skill::{About, Effect, Latency, Retry};
use crate::value::{Val, Value, object, text};
use aos_format::digest::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// JSON Schema of the arguments.
const INPUT: &str = r#"{
  "type": "object",
  "properties": {
    "url": {"type": "string"},
    "payload": {"description": "what is sent; the step's input by default"},
    "secret": {
      "description": "a file of whsec_ and base64, or several while one replaces another; unsigned without",
      "anyOf": [
        {"type": "object", "required": ["file"]},
        {"type": "array", "items": {"type": "object", "required": ["file"]}, "minItems": 1, "maxItems": 4}
      ]
    },
    "timeout_ms": {"type": "integer", "minimum": 1, "maximum": 600000}
  },
  "required": ["url", "payload"],
  "additionalProperties": false
}"#;

/// Longest time for everything, where the arguments name none.
const TIMEOUT_MS: usize = 20_000;

/// Most secrets that sign one message.
const SECRETS_MAX: usize = 4;

/// The skill.
pub(in crate::skill) struct WebhookSend(HttpCall);

/// A message, read from arguments or from a record.
struct Message {
    request: Request,
    record: Value,
    secrets: Vec<SecretRef>,
}

impl WebhookSend {
    /// The skill.
    pub(in crate::skill) fn new() -> WebhookSend {
        WebhookSend(HttpCall::new())
    }
}

impl Message {
    fn read(arguments: &Value) -> Result<Message, Fault> {
        let mut given = Arguments::of("webhook_send", arguments)?;
        let url = given.text("url")?;
        let payload = given.must("payload", "a value")?.clone();
        let secrets = match given.maybe("secret") {
            None | Some(Val::Null) => Vec::new(),
            Some(Val::Arr(items)) if (1..=SECRETS_MAX).contains(&items.len()) => items
                .iter()
                .map(|item| reference(&given, item))
                .collect::<Result<_, _>>()?,
            Some(one) => vec![reference(&given, one)?],
        };
        let asked = given.maybe("timeout_ms").cloned();
        given.end()?;
        let timeout = asked.unwrap_or(Val::from(TIMEOUT_MS));
        let posted = object([
            ("body", payload.clone()),
            ("method", text("POST")),
            ("timeout_ms", timeout.clone()),
            ("url", text(url)),
        ]);
        // The one place that knows what a URL and a limit may be.
        let request = Request::read(&Value::from_val(&posted)?).map_err(|fault| Fault {
            detail: fault.detail.replacen("http_call", "webhook_send", 1),
            ..fault
        })?;
        let record = object([
            ("payload", payload),
            ("secret", secrets.iter().map(SecretRef::value).collect()),
            ("timeout_ms", timeout),
            ("url", text(url)),
        ]);
        let record = match secrets.is_empty() {
            true => without_secret(record),
            false => record,
        };
        Ok(Message {
            request,
            record: Value::from_val(&record)?,
            secrets,
        })
    }
}

fn without_secret(record: Val) -> Val {
    let Val::Obj(fields) = record else {
        return record;
    };
    Val::obj(
        fields
            .iter()
            .filter(|(key, _)| **key != text("secret"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

fn reference(given: &Arguments<'_>, value: &Val) -> Result<SecretRef, Fault> {
    SecretRef::read(value)
        .filter(|at| at.prefix.is_empty())
        .ok_or_else(|| {
            given.wrong(
                "secret",
                "{\"file\": PATH}, or 1 to 4 of them",
                &describe(value),
            )
        })
}

impl Effect for WebhookSend {
    fn can_be_left(&self) -> bool {
        true
    }

    fn about(&self) -> About {
        About {
            checked: false,
            cost: 1,
            latency: Latency {
                typical_ms: 200,
                max_ms: TIMEOUT_MS as u64,
            },
            retry: Retry::Safe,
            fails: super::FAILS
                .iter()
                .copied()
                .filter(|c| *c != Code::UnknownOutcome)
                .collect(),
            feeds: Some("payload"),
            after: ["http_call", "json_transform", "llm_invoke"]
                .map(str::to_owned)
                .to_vec(),
            ..About::effect()
                .summary("A message to a webhook, signed as Standard Webhooks says")
                .schemas(INPUT, r#"{"type": "object", "required": ["status"]}"#)
        }
    }

    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(Message::read(arguments)?.record)
    }

    fn policy(&self, _: &Value) -> Policy {
        Policy::Retry
    }

    fn secrets(&self, request: &Value) -> Vec<SecretRef> {
        Message::read(request).map_or_else(|_| Vec::new(), |message| message.secrets)
    }

    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        let message = Message::read(request)?;
        let body = message.request.wire_body().unwrap_or_default();
        let id = message_id(hand.wire_key);
        let seconds = Clock::wall_ns() / 1_000_000_000;
        let mut headers = vec![
            ("webhook-id", id.clone()),
            ("webhook-timestamp", seconds.to_string()),
        ];
        if !message.secrets.is_empty() {
            let signatures: Vec<String> = message
                .secrets
                .iter()
                .map(|at| Ok(sign(&key(at, &at.resolve()?)?, &id, seconds, &body)))
                .collect::<Result<_, Fault>>()?;
            headers.push(("webhook-signature", signatures.join(" ")));
        }
        let answer = self.0.exchange(&message.request, hand.wire_key, &headers);
        // A repetition has the same id: where HTTP alone would have to hold, it may be sent again.
        let answer = answer.map_err(|fault| match fault.code {
            Code::UnknownOutcome => Fault::new(Code::Http503, fault.detail),
            _ => fault,
        })?;
        Ok(Value::from_val(&object([(
            "status",
            Val::from(usize::from(answer.status)),
        )]))?)
    }
}

fn message_id(wire_key: &str) -> String {
    format!("msg_{}", &Digest::of(wire_key.as_bytes()).hex()[..32])
}

/// The key that `whsec_` and base64 stand for.
fn key(at: &SecretRef, secret: &Secret) -> Result<Vec<u8>, Fault> {
    let encoded = secret.bytes().strip_prefix(b"whsec_");
    encoded
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .filter(|key| !key.is_empty())
        .ok_or_else(|| {
            Fault::new(
                Code::PermissionDenied,
                format!("the secret in {} is not `whsec_` and base64", at.file),
            )
        })
}

fn sign(key: &[u8], id: &str, seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::Server;

    fn json(text: &str) -> Value {
        Value::from_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_signature_is_that_of_the_specification() {
        let secret = Secret::of(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let at = SecretRef {
            file: "f".into(),
            ..SecretRef::default()
        };
        let key = key(&at, &secret).unwrap();
        assert_eq!(
            sign(
                &key,
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        for bad in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_*"] {
            assert!(super::key(&at, &Secret::of(bad.as_bytes())).is_err());
        }
    }

    #[test]
    fn a_message_is_signed_by_each_secret_and_its_id_is_that_of_the_effect() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, key: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("whsec_{}\n", STANDARD.encode(key))).unwrap();
            path.display().to_string()
        };
        let (one, two) = (file("a", b"key one"), file("b", b"key two"));
        let server = Server::start(|_| crate::mock::Reply::json(200, "{}")).unwrap();
        let skill = WebhookSend::new();
        let arguments = format!(
            r#"{{"url":"{}/hook","payload":{{"b":1,"a":2.50}},"secret":[{{"file":"{one}"}},{{"file":"{two}"}}]}}"#,
            server.base()
        );
        let request = skill.request(&json(&arguments)).unwrap();
        assert_eq!(
            skill.request(&request).unwrap(),
            request,
            "a record is its own record"
        );
        assert_eq!(
            skill
                .perform(&request, &AtHand::alone("key@log"))
                .unwrap()
                .as_str(),
            r#"{"status":200}"#
        );
        let seen = server.seen();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].body, br#"{"a":2.5,"b":1}"#);
        let header = |name: &str| seen[0].header(name).unwrap().to_owned();
        let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
        assert_eq!(id, message_id("key@log"));
        let seconds: i64 = time.parse().unwrap();
        let expected =
            [&b"key one"[..], b"key two"].map(|key| sign(key, &id, seconds, &seen[0].body));
        assert_eq!(header("webhook-signature"), expected.join(" "));
        for key in ["key one", "key two", &STANDARD.encode("key one")] {
            assert!(!request.as_str().contains(key), "no secret in the record");
        }
    }

    #[test]
    fn without_secret_nothing_is_signed_and_failures_keep_their_codes() {
        let server = Server::start(|_| crate::mock::Reply::json(503, "{}")).unwrap();
        let skill = WebhookSend::new();
        let arguments = format!(r#"{{"url":"{}/","payload":1}}"#, server.base());
        let request = skill.request(&json(&arguments)).unwrap();
        let fault = skill.perform(&request, &AtHand::alone("k")).unwrap_err();
        assert_eq!(fault.code, Code::Http503);
        assert_eq!(server.seen()[0].header("webhook-signature"), None);
        for (bad, field) in [
            (r#"{"url":"ftp://a","payload":1}"#, "url"),
            (r#"{"url":"http://a"}"#, "payload"),
            (r#"{"url":"http://a","payload":1,"secret":"s"}"#, "secret"),
            (r#"{"url":"http://a","payload":1,"secret":[]}"#, "secret"),
            (r#"{"url":"http://a","payload":1,"x":1}"#, "x"),
            (
                r#"{"url":"http://a","payload":1,"timeout_ms":0}"#,
                "timeout_ms",
            ),
        ] {
            let fault = skill.request(&json(bad)).unwrap_err();
            assert_eq!(fault.code, Code::InvalidInput, "{bad}");
            let start = format!("webhook_send: field `{field}`");
            assert!(fault.detail.starts_with(&start), "{bad}: {}", fault.detail);
        }
        assert_eq!(skill.policy(&request), Policy::Retry);
    }
}
