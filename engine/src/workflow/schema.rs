//! JSON Schemas of data.
//!
//! The crate `jsonschema` decides; nothing is ever fetched, and `format` is an annotation only, as drafts since 2019-09 have
//! it. Of a failure only places are said, in the data and in the schema: its own words would change with its version, and
//! enter histories.

use super::error::{DocumentError, Problem};
use super::fields::Fields;
use super::node::{Entry, short};
use crate::fault::{Code, Fault};
use crate::value::Value;
use std::fmt;
use std::sync::Arc;

/// A schema, ready to check values.
#[derive(Clone)]
pub struct Schema(Arc<jsonschema::Validator>);

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema")
    }
}

impl Schema {
    /// Checks a value; `what` it is, for the fault.
    ///
    /// # Errors
    /// [`Code::SchemaError`] naming the first place of the value that does not conform, and the rule.
    pub fn check(&self, what: &str, value: &Value) -> Result<(), Fault> {
        let json = serde_json::from_slice(value.canonical())
            .map_err(|error| Fault::new(Code::SchemaError, format!("{what}: {error}")))?;
        if self.0.is_valid(&json) {
            return Ok(());
        }
        let place = |error: jsonschema::ValidationError<'_>| {
            (
                error.instance_path().to_string(),
                error.schema_path().to_string(),
            )
        };
        let first = self.0.iter_errors(&json).map(place).min();
        let (at, rule) = first.unwrap_or_default();
        let at = if at.is_empty() {
            "as a whole".into()
        } else {
            format!("at {at}")
        };
        Err(Fault::new(
            Code::SchemaError,
            format!("{what} {at} does not conform to {rule} of its schema"),
        ))
    }

    /// Reads `schema`.
    pub(super) fn read(entry: &Entry) -> Result<Schema, DocumentError> {
        let mut fields = Fields::of_entry(entry)?;
        if let Some(format) = fields.maybe("format") {
            let name = format.value.text("format")?;
            if name != "json" {
                let what = format!("a schema in the format `{}`", short(name));
                return Err(DocumentError::not_supported(format.value.at, what).expected("`json`"));
            }
        }
        if let Some(resource) = fields.maybe("resource") {
            let what = "a schema that is not in the document";
            return Err(DocumentError::not_supported(resource.at, what));
        }
        let document = fields.need("document")?;
        fields.end()?;
        let value = super::load::value(&document.value)?;
        let at = document.value.at;
        let bad = |why: String| DocumentError::new(Problem::Schema, at, why);
        let json: serde_json::Value =
            serde_json::from_slice(value.canonical()).map_err(|error| bad(error.to_string()))?;
        let validator = jsonschema::options()
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .should_validate_formats(false)
            .build(&json)
            .map_err(|error| {
                bad(format!(
                    "this is no JSON Schema at {}: {error}",
                    error.instance_path()
                ))
            })?;
        Ok(Schema(Arc::new(validator)))
    }
}
