//! JSON Schema, for what skills take and give and what documents ask of their data.
//!
//! Over the `jsonschema` crate without its resolver: a schema that names another document is refused, nothing is ever fetched.
//! Patterns are matched in linear time, so those that need backtracking are refused too. Without `$schema` a schema is read as
//! draft 2020-12.

use crate::value::Value;
use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use std::fmt;
use std::sync::Arc;

/// Most violations that are told of one value.
pub const VIOLATIONS_MAX: usize = 8;

/// Longest text of one violation, in characters.
const MESSAGE_CHARS_MAX: usize = 200;

/// A compiled schema. Clones share.
#[derive(Clone)]
pub struct Schema {
    source: Value,
    compiled: Arc<Validator>,
}

/// Why a schema cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the schema cannot be used: at {at}: {why}")]
pub struct SchemaError {
    /// JSON pointer into the schema.
    pub at: String,
    /// What is wrong.
    pub why: String,
}

/// One thing about a value that its schema does not allow.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Violation {
    /// JSON pointer into the value; empty for the value itself.
    pub at: String,
    /// What is wrong.
    pub why: String,
    /// Ways to mend it by giving properties that are missing: each names those it takes. None where nothing is missing.
    pub missing: Vec<Vec<String>>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            f.write_str(&self.why)
        } else {
            write!(f, "at {}: {}", self.at, self.why)
        }
    }
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// [`SchemaError`] when it is none, names another document, or has a pattern that needs backtracking.
    pub fn compile(source: &Value) -> Result<Schema, SchemaError> {
        let json = tree(source).map_err(|why| SchemaError {
            at: String::new(),
            why,
        })?;
        let compiled = jsonschema::options()
            .with_pattern_options(PatternOptions::regex())
            .build(&json)
            .map_err(|error| SchemaError {
                at: error.instance_path().to_string(),
                why: short(&error.to_string()),
            })?;
        Ok(Schema {
            source: source.clone(),
            compiled: Arc::new(compiled),
        })
    }

    /// The schema as it was given.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// What of `value` the schema does not allow, at most [`VIOLATIONS_MAX`] things, in the order of their places.
    pub fn violations(&self, value: &Value) -> Vec<Violation> {
        let json = match tree(value) {
            Ok(json) => json,
            Err(why) => {
                return vec![Violation {
                    at: String::new(),
                    why,
                    missing: Vec::new(),
                }];
            }
        };
        let mut found: Vec<Violation> = self.compiled.iter_errors(&json).map(violation).collect();
        found.sort();
        found.truncate(VIOLATIONS_MAX);
        found
    }

    /// Whether the schema allows `value`.
    ///
    /// # Errors
    /// Its violations, in one sentence.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let found = self.violations(value);
        if found.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> = found.iter().map(Violation::to_string).collect();
        Err(texts.join("; "))
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema")
            .field(&self.source.as_str())
            .finish()
    }
}

fn violation(error: ValidationError<'_>) -> Violation {
    let missing = match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            context
                .iter()
                .filter_map(|alternative| {
                    alternative
                        .iter()
                        .map(|nested| required(nested).filter(|_| same_place(nested, &error)))
                        .collect()
                })
                .collect()
        }
        _ => required(&error)
            .map(|name| vec![name])
            .into_iter()
            .collect(),
    };
    Violation {
        at: error.instance_path().to_string(),
        // The value itself stands in the record beside the message; here it would only be a copy, and a leak.
        why: short(&error.masked_with("the value").to_string()),
        missing,
    }
}

fn required(error: &ValidationError<'_>) -> Option<String> {
    match error.kind() {
        ValidationErrorKind::Required { property } => property.as_str().map(str::to_owned),
        _ => None,
    }
}

fn same_place(one: &ValidationError<'_>, other: &ValidationError<'_>) -> bool {
    one.instance_path().as_str() == other.instance_path().as_str()
}

fn tree(value: &Value) -> Result<serde_json::Value, String> {
    serde_json::from_slice(value.canonical()).map_err(|error| short(&error.to_string()))
}

fn short(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        Value::from_json(text.as_bytes()).unwrap()
    }

    fn schema(text: &str) -> Schema {
        Schema::compile(&json(text)).unwrap()
    }

    #[test]
    fn violations_have_their_places_in_order() {
        let schema = schema(
            r#"{"type":"object","properties":{"n":{"type":"integer","minimum":1},"t":{"type":"string"}},"required":["n","t"],"additionalProperties":false}"#,
        );
        assert_eq!(schema.check(&json(r#"{"n":1,"t":""}"#)), Ok(()));
        let found = schema.violations(&json(r#"{"t":3,"x":1,"n":0}"#));
        let places: Vec<&str> = found.iter().map(|v| v.at.as_str()).collect();
        assert_eq!(places, ["", "/n", "/t"]);
        let found = schema.violations(&json(r#"{"t":""}"#));
        assert_eq!(found[0].missing, [["n"]]);
        let schema = self::schema(
            r#"{"anyOf":[{"required":["a","b"]},{"required":["c"]},{"type":"null"}]}"#,
        );
        let found = schema.violations(&json(r#"{"a":1}"#));
        assert_eq!(found[0].missing, [vec!["b"], vec!["c"]]);
    }

    #[test]
    fn a_message_does_not_repeat_the_value() {
        let message = schema(r#"{"type":"integer"}"#)
            .check(&json(r#""hunter2""#))
            .unwrap_err();
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn nothing_is_fetched_and_nothing_backtracks() {
        for bad in [
            r#"{"$ref":"http://127.0.0.1:1/schema.json"}"#,
            r#"{"$ref":"file:///etc/hostname"}"#,
            r#"{"pattern":"^(?=a)b"}"#,
            r#"{"type":"nonsense"}"#,
            r#"{"minimum":"x"}"#,
        ] {
            assert!(Schema::compile(&json(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn many_violations_are_cut() {
        let items: Vec<String> = (0..100).map(|_| "1".to_owned()).collect();
        let value = json(&format!("[{}]", items.join(",")));
        let found = schema(r#"{"items":{"type":"string"}}"#).violations(&value);
        assert_eq!(found.len(), VIOLATIONS_MAX);
    }
}
