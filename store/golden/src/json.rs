//! Canonical JSON objects, written and read back.

use aos_format::canonical;
use aos_format::digest::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Canonical bytes of a value made here: RFC 8785, and integers only.
pub(crate) fn canonical(value: &Value) -> Vec<u8> {
    canonical::canonicalize(value.to_string().as_bytes()).expect("JSON made of text and integers")
}

/// Reads JSON that says one thing to every reader: a key given twice is refused.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, String> {
    canonical::canonicalize(bytes).map_err(|error| format!("it is not JSON: {error}"))?;
    serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON: {error}"))
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(crate) fn digest_from_base64(text: &str) -> Option<Digest> {
    from_base64(text)?.try_into().ok().map(Digest)
}

/// An object being read: every access names the field that is missing or of another type.
pub(crate) struct Reader<'a>(&'a Map<String, Value>);

impl<'a> Reader<'a> {
    pub(crate) fn new(value: &'a Value) -> Result<Reader<'a>, String> {
        value
            .as_object()
            .map(Reader)
            .ok_or_else(|| "not an object".into())
    }

    pub(crate) fn get(&self, name: &str) -> Result<&'a Value, String> {
        self.0.get(name).ok_or_else(|| format!("no field {name}"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'a str, String> {
        let value = self.get(name)?;
        value.as_str().ok_or_else(|| format!("{name} is not text"))
    }

    pub(crate) fn number(&self, name: &str) -> Result<u64, String> {
        let value = self.get(name)?;
        value
            .as_u64()
            .ok_or_else(|| format!("{name} is not a whole number"))
    }

    pub(crate) fn digest(&self, name: &str) -> Result<Digest, String> {
        Digest::from_hex(self.text(name)?)
            .ok_or_else(|| format!("{name} is not a digest of 64 hexadecimal characters"))
    }

    pub(crate) fn list(&self, name: &str) -> Result<&'a [Value], String> {
        let value = self.get(name)?;
        value
            .as_array()
            .map(Vec::as_slice)
            .ok_or_else(|| format!("{name} is not a list"))
    }

    /// Refuses fields that nobody reads: a verifier must not pass over what it does not understand.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), String> {
        match self.0.keys().find(|key| !names.contains(&key.as_str())) {
            Some(key) => Err(format!("unknown field {key}")),
            None => Ok(()),
        }
    }
}
