//! `kv_get` and `kv_put`: values that the runs of a log share, by space and key.
//!
//! Without a log they are called outside a run, and there is nothing to get or put.

use super::arguments::{Arguments, describe};
use super::{About, AtHand, Effect, Latency, Policy, Reach, Retry};
use crate::fault::{Code, Fault};
use crate::value::{Val, Value, as_text, object, text};

/// Longest key and name of a space, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// `kv_get`.
pub(super) struct KvGet;
/// `kv_put`.
pub(super) struct KvPut;

fn name(given: &Arguments<'_>, field: &str, value: &Val) -> Result<String, Fault> {
    as_text(value)
        .filter(|name| (1..=NAME_BYTES_MAX).contains(&name.len()))
        .map(str::to_owned)
        .ok_or_else(|| given.wrong(field, "a text of 1 to 256 bytes", &describe(value)))
}

/// Space and key; `default` is the space of those who name none.
fn place(given: &mut Arguments<'_>) -> Result<(String, String), Fault> {
    let key = given.must("key", "text")?;
    let key = name(given, "key", key)?;
    let space = match given.maybe("space") {
        None => "default".into(),
        Some(space) => name(given, "space", space)?,
    };
    Ok((space, key))
}

fn number(n: u64) -> Val {
    Val::from(usize::try_from(n).unwrap_or(usize::MAX))
}

fn no_log() -> Fault {
    Fault::new(
        Code::PermissionDenied,
        "a key-value space belongs to a log, and there is none",
    )
}

/// What the log says is not for the workflow; that it failed is.
fn failed(error: &crate::Error) -> Fault {
    Fault::new(
        Code::Integrity,
        format!("the key-value space cannot be used: {}", error.code()),
    )
}

fn about(typical_ms: u64) -> About {
    About {
        checked: false,
        latency: Latency {
            typical_ms,
            max_ms: 10_000,
        },
        retry: Retry::Safe,
        reach: Reach::Log,
        fails: vec![Code::Integrity],
        ..About::effect()
    }
}

impl Effect for KvGet {
    fn about(&self) -> About {
        about(1)
            .summary("The value under a key that the runs of a log share")
            .schemas(
                r#"{
  "type": "object",
  "properties": {"key": {"type": "string", "minLength": 1}, "space": {"type": "string", "minLength": 1}},
  "required": ["key"],
  "additionalProperties": false
}"#,
                r#"{"type": "object", "required": ["found", "value", "version"]}"#,
            )
    }

    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        let mut given = Arguments::of("kv_get", arguments)?;
        let (space, key) = place(&mut given)?;
        given.end()?;
        Ok(Value::from_val(&object([
            ("key", text(&key)),
            ("space", text(&space)),
        ]))?)
    }

    fn policy(&self, _: &Value) -> Policy {
        Policy::Retry
    }

    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        let log = hand.shared.ok_or_else(no_log)?;
        let (space, key) = place(&mut Arguments::of("kv_get", request)?)?;
        let entry = log.kv_get(&space, &key).map_err(|error| failed(&error))?;
        let found = Val::Bool(entry.is_some());
        let (value, version) = entry.map_or((Val::Null, 0), |entry| {
            (entry.value.val().clone(), entry.version)
        });
        Ok(Value::from_val(&object([
            ("found", found),
            ("value", value),
            ("version", number(version)),
        ]))?)
    }
}

impl Effect for KvPut {
    fn about(&self) -> About {
        About {
            feeds: Some("value"),
            ..about(5)
                .summary(
                    "Puts a value under a key that the runs of a log share; null takes it away",
                )
                .schemas(
                    r#"{
  "type": "object",
  "properties": {
    "key": {"type": "string", "minLength": 1}, "space": {"type": "string", "minLength": 1},
    "value": {"description": "the step's input by default; null takes away what is there"}
  },
  "required": ["key", "value"],
  "additionalProperties": false
}"#,
                    r#"{"type": "object", "required": ["version"]}"#,
                )
        }
    }

    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        let mut given = Arguments::of("kv_put", arguments)?;
        let (space, key) = place(&mut given)?;
        let value = given.must("value", "a value")?.clone();
        given.end()?;
        Ok(Value::from_val(&object([
            ("key", text(&key)),
            ("space", text(&space)),
            ("value", value),
        ]))?)
    }

    /// Made again it finds its own record.
    fn policy(&self, _: &Value) -> Policy {
        Policy::Retry
    }

    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        let log = hand.shared.ok_or_else(no_log)?;
        let mut given = Arguments::of("kv_put", request)?;
        let (space, key) = place(&mut given)?;
        let value = Value::from_val(given.must("value", "a value")?)?;
        let put = (!matches!(value.val(), Val::Null)).then_some(&value);
        let version = log
            .kv_put(&space, &key, put, hand.wire_key)
            .map_err(|error| failed(&error))?;
        Ok(Value::from_val(&object([("version", number(version))]))?)
    }
}
