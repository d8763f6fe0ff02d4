//! `email_send`: one message over SMTP, through a relay that asks for no password.
//!
//! There is no TLS and there are no accounts: the relay is one of this machine or of a network that is trusted. The message id
//! is derived from the wire key, so that a repetition can be told; what became of a message whose outcome is unknown nobody can
//! say, so it is held.

use super::arguments::{Arguments, describe, short};
use super::{About, AtHand, Effect, Latency, Policy, Retry};
use crate::fault::{Code, Fault};
use crate::value::{Val, Value, as_text, object, text};
use aos_format::digest::Digest;
use lettre::message::{Mailbox, header::ContentType};
use lettre::{Message, SmtpTransport, Transport};
use std::time::Duration;

/// JSON Schema of the arguments.
const INPUT: &str = r#"{
  "type": "object",
  "properties": {
    "server": {"type": "string", "description": "HOST:PORT"},
    "from": {"type": "string"},
    "to": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 100},
    "subject": {"type": "string"},
    "text": {"type": "string"},
    "timeout_ms": {"type": "integer", "minimum": 1, "maximum": 600000}
  },
  "required": ["server", "from", "to", "subject", "text"],
  "additionalProperties": false
}"#;

const RECEIVERS_MAX: usize = 100;
const TIMEOUT_MS: usize = 30_000;
const TIMEOUT_MS_MAX: usize = 600_000;

/// The skill.
pub(super) struct EmailSend;

/// A message, read from arguments or from a record.
struct Mail {
    host: String,
    port: u16,
    from: Mailbox,
    to: Vec<Mailbox>,
    subject: String,
    text: String,
    timeout_ms: usize,
    record: Value,
}

impl Mail {
    fn read(arguments: &Value) -> Result<Mail, Fault> {
        let mut given = Arguments::of("email_send", arguments)?;
        let server = given.text("server")?;
        let from = given.text("from")?;
        let receivers = given.array("to", RECEIVERS_MAX)?;
        let (subject, body) = (given.text("subject")?, given.text("text")?);
        let timeout_ms = given
            .maybe_count("timeout_ms", TIMEOUT_MS_MAX)?
            .unwrap_or(TIMEOUT_MS);
        given.end()?;
        if timeout_ms == 0 {
            return Err(given.wrong("timeout_ms", "at least 1", "0"));
        }
        let (host, port) = server
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
            .filter(|(host, port)| !host.is_empty() && *port > 0)
            .ok_or_else(|| given.wrong("server", "HOST:PORT", &format!("`{}`", short(server))))?;
        let mailbox = |field: &str, address: &str| {
            address
                .parse::<Mailbox>()
                .map_err(|_| given.wrong(field, "an address", &format!("`{}`", short(address))))
        };
        let to = receivers
            .iter()
            .map(|item| match as_text(item) {
                Some(address) => mailbox("to", address),
                None => Err(given.wrong("to", "texts", &describe(item))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if to.is_empty() {
            return Err(given.wrong("to", "at least one address", "none"));
        }
        if subject.chars().any(char::is_control) {
            return Err(given.wrong("subject", "one line", "control characters"));
        }
        let record = object([
            ("from", text(from)),
            ("server", text(server)),
            ("subject", text(subject)),
            ("text", text(body)),
            ("timeout_ms", Val::from(timeout_ms)),
            ("to", receivers.iter().cloned().collect()),
        ]);
        Ok(Mail {
            host: host.into(),
            port,
            from: mailbox("from", from)?,
            to,
            subject: subject.into(),
            text: body.into(),
            timeout_ms,
            record: Value::from_val(&record)?,
        })
    }

    fn message(&self, wire_key: &str) -> Result<Message, Fault> {
        let id = format!("<{}@aos>", &Digest::of(wire_key.as_bytes()).hex()[..32]);
        let mut message = Message::builder()
            .message_id(Some(id))
            .from(self.from.clone())
            .subject(&self.subject)
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(to.clone());
        }
        message.body(self.text.clone()).map_err(|_| {
            Fault::new(
                Code::InvalidInput,
                "email_send: expected a message that can be sent, found another",
            )
        })
    }
}

impl Effect for EmailSend {
    fn can_be_left(&self) -> bool {
        true
    }

    fn about(&self) -> About {
        About {
            checked: false,
            cost: 1,
            latency: Latency {
                typical_ms: 500,
                max_ms: TIMEOUT_MS as u64,
            },
            retry: Retry::Hold,
            fails: vec![
                Code::Timeout,
                Code::DnsFailure,
                Code::ConnectionRefused,
                Code::Http503,
                Code::Http400,
                Code::UnknownOutcome,
            ],
            ..About::effect()
                .summary("One message over SMTP, through a relay without accounts")
                .schemas(INPUT, r#"{"type": "object", "required": ["accepted"]}"#)
        }
    }

    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(Mail::read(arguments)?.record)
    }

    fn policy(&self, _: &Value) -> Policy {
        Policy::Hold
    }

    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        let mail = Mail::read(request)?;
        let message = mail.message(hand.wire_key)?;
        let transport = SmtpTransport::builder_dangerous(&mail.host)
            .port(mail.port)
            .timeout(Some(Duration::from_millis(mail.timeout_ms as u64)))
            .build();
        transport.send(&message).map_err(|error| fault(&error))?;
        Ok(Value::from_val(&object([(
            "accepted",
            Val::from(mail.to.len()),
        )]))?)
    }
}

/// Details say what, never the server's own words: those may be anything.
fn fault(error: &lettre::transport::smtp::Error) -> Fault {
    let code = error
        .status()
        .map(|code| code.to_string())
        .unwrap_or_default();
    if error.is_permanent() {
        return Fault::new(
            Code::Http400,
            format!("email_send: the server refused it with {code}"),
        );
    }
    if error.is_transient() {
        return Fault::new(
            Code::Http503,
            format!("email_send: the server put it off with {code}"),
        );
    }
    if error.is_timeout() {
        return Fault::new(Code::Timeout, "email_send: no complete answer in time");
    }
    let source = std::error::Error::source(error).and_then(|e| e.downcast_ref::<std::io::Error>());
    match source.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::ConnectionRefused) => Fault::new(
            Code::ConnectionRefused,
            "email_send: the connection was refused",
        ),
        _ => Fault::new(
            Code::UnknownOutcome,
            "email_send: the conversation broke off; the server may have taken the message",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::MailSink;

    fn arguments(server: &str, to: &str) -> Value {
        Value::from_json(
            format!(
                r#"{{"server":"{server}","from":"AOS <aos@example.com>","to":["{to}","b@example.com"],"subject":"Größe","text":"one\n.two\n"}}"#
            )
            .as_bytes(),
        )
        .unwrap()
    }

    #[test]
    fn a_message_reaches_the_server_whole() {
        let sink = MailSink::start().unwrap();
        let request = EmailSend
            .request(&arguments(&sink.address().to_string(), "a@example.com"))
            .unwrap();
        assert_eq!(EmailSend.request(&request).unwrap(), request);
        let answer = EmailSend.perform(&request, &AtHand::alone("k")).unwrap();
        assert_eq!(answer.as_str(), r#"{"accepted":2}"#);
        let kept = sink.kept();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].from, "aos@example.com");
        assert_eq!(kept[0].to, ["a@example.com", "b@example.com"]);
        assert!(kept[0].data.contains("one\n.two"), "{}", kept[0].data);
        let id = format!("Message-ID: <{}@aos>", &Digest::of(b"k").hex()[..32]);
        assert!(kept[0].data.contains(&id), "{}", kept[0].data);
    }

    #[test]
    fn refusals_and_absent_servers_are_faults() {
        let sink = MailSink::start().unwrap();
        let server = sink.address().to_string();
        let request = EmailSend
            .request(&arguments(&server, "refused@example.com"))
            .unwrap();
        let fault = EmailSend
            .perform(&request, &AtHand::alone("k"))
            .unwrap_err();
        assert_eq!((fault.code, sink.kept().len()), (Code::Http400, 0));
        drop(sink);
        assert_eq!(
            EmailSend
                .perform(&request, &AtHand::alone("k"))
                .unwrap_err()
                .code,
            Code::ConnectionRefused
        );
        for bad in ["nowhere", "host:", ":25", "host:99999"] {
            assert!(
                EmailSend.request(&arguments(bad, "a@example.com")).is_err(),
                "{bad}"
            );
        }
        let fault = EmailSend
            .request(&arguments(&server, "no address"))
            .unwrap_err();
        assert!(fault.detail.contains("field `to`"), "{}", fault.detail);
        let two_lines = Value::from_json(br#"{"server":"h:25","from":"a@b.de","to":["a@b.de"],"subject":"a\r\nBcc: c@d.de","text":""}"#);
        assert!(EmailSend.request(&two_lines.unwrap()).is_err());
        assert_eq!(EmailSend.policy(&request), Policy::Hold);
    }
}
