//! Secrets: named in documents and records, read where an effect happens, never written down.
//!
//! A document says `{"file": "/run/secrets/token"}`, with `"prefix": "Bearer "` where one belongs before it. That reference is
//! what INTENT records. The effect reads the file; whatever comes back is searched for the secret in the disguises that
//! servers and tools put on what they echo, and each is replaced by [`MASK`] before it is recorded.

use crate::fault::{Code, Fault};
use crate::value::{Val, Value, as_text, object, text};
use aos_format::digest::hex;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::fmt;
use std::fs::File;
use std::io::Read;

/// What stands in a record in place of a secret.
pub const MASK: &str = "[secret]";

/// Longest secret.
const BYTES_MAX: u64 = 16 << 10;

/// Shortest secret that is searched for: a shorter one would be found everywhere.
const SEARCHED_BYTES_MIN: usize = 4;

/// Where a secret is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretRef {
    /// The file that holds it; a line break at its end does not belong to it.
    pub file: String,
    /// What is put before it.
    pub prefix: String,
}

/// A secret. Not shown by `Debug`.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl SecretRef {
    /// Reads `{"file": PATH}`, perhaps with `prefix`; none when it is something else.
    pub fn read(value: &Val) -> Option<SecretRef> {
        let Val::Obj(fields) = value else {
            return None;
        };
        let mut found = SecretRef {
            file: String::new(),
            prefix: String::new(),
        };
        for (key, value) in fields.iter() {
            let field = match as_text(key)? {
                "file" => &mut found.file,
                "prefix" => &mut found.prefix,
                _ => return None,
            };
            *field = as_text(value)?.to_owned();
        }
        (!found.file.is_empty()).then_some(found)
    }

    /// As documents and records have it.
    pub fn value(&self) -> Val {
        let file = ("file", text(&self.file));
        if self.prefix.is_empty() {
            object([file])
        } else {
            object([file, ("prefix", text(&self.prefix))])
        }
    }

    /// Fetches the secret.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] when it cannot be read, is empty, or is longer than 16 KiB.
    pub fn resolve(&self) -> Result<Secret, Fault> {
        let denied = |why: &str| {
            Fault::new(
                Code::PermissionDenied,
                format!("the secret in {} {why}", self.file),
            )
        };
        let mut bytes = Vec::new();
        File::open(&self.file)
            .and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|_| denied("cannot be read"))?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(denied("is longer than 16384 bytes"));
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.is_empty() {
            return Err(denied("is empty"));
        }
        Ok(Secret(bytes))
    }
}

impl Secret {
    #[cfg(test)]
    pub(crate) fn for_tests(bytes: &[u8]) -> Secret {
        Secret(bytes.to_vec())
    }

    /// The secret itself.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret as text, with what belongs before it.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] when it is no text.
    pub fn prefixed(&self, prefix: &str) -> Result<String, Fault> {
        match std::str::from_utf8(&self.0) {
            Ok(secret) => Ok(format!("{prefix}{secret}")),
            Err(_) => Err(Fault::new(
                Code::PermissionDenied,
                "a secret that has to be text is none",
            )),
        }
    }
}

/// Finds secrets in what comes back.
#[derive(Debug, Default)]
pub struct Scrubber {
    /// The longest first, so that a shorter disguise does not cut one in two.
    disguises: Vec<Secret>,
}

impl Scrubber {
    /// A scrubber of all of `secrets`.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s Secret>) -> Scrubber {
        let mut disguises: Vec<Secret> = secrets.into_iter().flat_map(disguises).collect();
        disguises.sort_by_key(|disguise| std::cmp::Reverse(disguise.0.len()));
        disguises.dedup_by(|one, other| one.0 == other.0);
        Scrubber { disguises }
    }

    /// `value` with every secret in it masked, in names too.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] when masking made two names of one object the same.
    pub fn value(&self, value: Value) -> Result<Value, Fault> {
        if self
            .disguises
            .iter()
            .all(|d| find(value.canonical(), &d.0).is_none())
            && !has_escapes(value.canonical())
        {
            return Ok(value);
        }
        let clash = || {
            Fault::new(
                Code::PermissionDenied,
                "the answer holds a secret in the names of an object",
            )
        };
        let scrubbed = self.tree(value.val()).ok_or_else(clash)?;
        Ok(Value::from_val(&scrubbed)?)
    }

    /// `fault` with every secret in its words masked.
    pub fn fault(&self, fault: Fault) -> Fault {
        Fault {
            detail: self.text(&fault.detail),
            title: self.text(&fault.title),
            ..fault
        }
    }

    /// `text` with every secret in it masked.
    pub fn text(&self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for disguise in &self.disguises {
            let mut from = 0;
            while let Some(at) = find(&bytes[from..], &disguise.0) {
                let at = from + at;
                bytes.splice(at..at + disguise.0.len(), MASK.bytes());
                from = at + MASK.len();
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The depth of a value is bounded.
    fn tree(&self, val: &Val) -> Option<Val> {
        Some(match val {
            Val::Arr(items) => items
                .iter()
                .map(|item| self.tree(item))
                .collect::<Option<Vec<_>>>()?
                .into_iter()
                .collect(),
            Val::Obj(fields) => {
                let scrubbed: Vec<(Val, Val)> = fields
                    .iter()
                    .map(|(key, value)| Some((self.tree(key)?, self.tree(value)?)))
                    .collect::<Option<_>>()?;
                let count = scrubbed.len();
                let object = Val::obj(scrubbed.into_iter().collect());
                let kept = match &object {
                    Val::Obj(fields) => fields.len(),
                    _ => 0,
                };
                (kept == count).then_some(object)?
            }
            _ => match as_text(val) {
                Some(found) => text(&self.text(found)),
                None => val.clone(),
            },
        })
    }
}

/// Canonical JSON escapes few characters; where it does, a secret may hide behind one.
fn has_escapes(canonical: &[u8]) -> bool {
    canonical.contains(&b'\\')
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() || bytes.len() < wanted.len() {
        return None;
    }
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// The forms in which a secret comes back: as it is, in other case, reversed, percent-encoded, hexadecimal, and in base64 at
/// each of the three places it can begin at within a longer text.
fn disguises(secret: &Secret) -> Vec<Secret> {
    let bytes = &secret.0;
    if bytes.len() < SEARCHED_BYTES_MIN {
        return vec![secret.clone()];
    }
    let percent = |upper: bool| {
        let mut out = String::new();
        for &byte in bytes {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else if upper {
                out.push_str(&format!("%{byte:02X}"));
            } else {
                out.push_str(&format!("%{byte:02x}"));
            }
        }
        out.into_bytes()
    };
    let lower_hex = hex(bytes);
    let mut forms = vec![
        bytes.clone(),
        bytes.to_ascii_lowercase(),
        bytes.to_ascii_uppercase(),
        bytes.iter().rev().copied().collect(),
        percent(true),
        percent(false),
        lower_hex.to_ascii_uppercase().into_bytes(),
        lower_hex.into_bytes(),
    ];
    for shift in 0..3 {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(bytes);
        for encoded in [
            STANDARD_NO_PAD.encode(&shifted),
            URL_SAFE_NO_PAD.encode(&shifted),
        ] {
            // Characters that hold bits of the neighbours say nothing.
            let begin = [0, 2, 3][shift];
            let end = shifted.len() * 8 / 6;
            if end > begin + SEARCHED_BYTES_MIN {
                forms.push(encoded.as_bytes()[begin..end].to_vec());
            }
        }
    }
    forms.into_iter().map(Secret).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    const PLANTED: &str = "S3cr3t/+Tok=en-42";

    fn scrubber() -> Scrubber {
        Scrubber::new([&Secret(PLANTED.into())])
    }

    #[test]
    fn a_reference_is_an_object_of_file_and_prefix() {
        let read = |text: &str| SecretRef::read(Value::from_json(text.as_bytes()).unwrap().val());
        let found = read(r#"{"file":"/a","prefix":"Bearer "}"#).unwrap();
        assert_eq!(
            (found.file.as_str(), found.prefix.as_str()),
            ("/a", "Bearer ")
        );
        assert_eq!(read(r#"{"file":"/a"}"#).unwrap().prefix, "");
        for other in [
            r#""/a""#,
            "{}",
            r#"{"file":1}"#,
            r#"{"file":"/a","x":1}"#,
            r#"{"prefix":"a"}"#,
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_without_its_line_break_is_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let at = SecretRef {
            file: path.display().to_string(),
            prefix: String::new(),
        };
        assert_eq!(at.resolve().unwrap_err().code, Code::PermissionDenied);
        for (bytes, expected) in [
            ("abc\n", "abc"),
            ("abc\r\n", "abc"),
            ("abc", "abc"),
            ("a\n\n", "a\n"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(at.resolve().unwrap().bytes(), expected.as_bytes());
            assert_eq!(format!("{:?}", at.resolve().unwrap()), MASK);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(at.resolve().unwrap_err().detail.ends_with("is empty"));
        std::fs::write(&path, vec![b'x'; BYTES_MAX as usize + 1]).unwrap();
        assert!(at.resolve().is_err());
    }

    #[test]
    fn a_secret_is_masked_in_every_disguise() {
        let bytes = PLANTED.as_bytes();
        let percent: String = bytes
            .iter()
            .map(|b| match b {
                b if b.is_ascii_alphanumeric() || *b == b'-' => char::from(*b).to_string(),
                b => format!("%{b:02X}"),
            })
            .collect();
        let disguised = [
            PLANTED.to_owned(),
            PLANTED.to_lowercase(),
            PLANTED.to_uppercase(),
            PLANTED.chars().rev().collect(),
            percent,
            hex(bytes),
            hex(bytes).to_uppercase(),
            STANDARD.encode(bytes),
            STANDARD.encode(format!("u:{PLANTED}")),
            STANDARD.encode(format!("user:{PLANTED}:more")),
            URL_SAFE_NO_PAD.encode(format!("x{PLANTED}")),
        ];
        for text in disguised {
            for around in [text.clone(), format!("before {text} after {text}")] {
                let scrubbed = scrubber().text(&around);
                assert!(scrubbed.contains(MASK), "{around}: {scrubbed}");
                assert!(!scrubbed.contains(&text), "{around}: {scrubbed}");
                let value =
                    Value::from_val(&object([("a", text_of(&around)), (&around, Val::Null)]));
                let scrubbed = scrubber().value(value.unwrap()).unwrap();
                assert!(!scrubbed.as_str().contains(&text), "{scrubbed:?}");
            }
        }
        assert_eq!(scrubber().text("nothing here"), "nothing here");
    }

    fn text_of(text: &str) -> Val {
        super::text(text)
    }

    #[test]
    fn a_secret_behind_an_escape_is_masked_too() {
        let secret = Secret(b"a\"b\\c\nd".to_vec());
        let value = Value::from_val(&text("x a\"b\\c\nd y")).unwrap();
        let scrubbed = Scrubber::new([&secret]).value(value).unwrap();
        assert_eq!(scrubbed.as_str(), "\"x [secret] y\"");
    }

    #[test]
    fn names_that_masking_makes_the_same_are_refused() {
        let value = Value::from_val(&object([
            (PLANTED, Val::Null),
            (&PLANTED.to_uppercase(), Val::Null),
        ]));
        let fault = scrubber().value(value.unwrap()).unwrap_err();
        assert_eq!(fault.code, Code::PermissionDenied);
    }
}
