//! Secrets: named in documents and records, read where an effect happens, never written down.
//!
//! A document says `{"file": "/run/secrets/token"}`, with `"prefix": "Bearer "` where one belongs before it. That reference is
//! what INTENT records. The effect reads the file; whatever comes back is searched for the secret in the disguises that
//! servers and tools put on what they echo, and each is replaced by [`MASK`] before it is recorded.

use crate::fault::{Code, Fault};
use crate::value::{Val, Value, as_text, member, text};
use aos_format::digest::hex;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read;

/// What stands in a record in place of a secret.
pub const MASK: &str = "[secret]";

/// Longest secret.
const BYTES_MAX: u64 = 16 << 10;

/// Shortest secret that is searched for: a shorter one would be found everywhere.
const SEARCHED_BYTES_MIN: usize = 4;

/// Shortest part of a secret that is searched for, and shortest secret that is found in spite of what stands between its
/// characters.
const PART_BYTES_MIN: usize = 6;

/// Longest secret whose parts are searched for.
const PARTED_BYTES_MAX: usize = 1 << 10;

/// Where a secret is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct SecretRef {
    /// The file that holds it; a line break at its end does not belong to it.
    pub file: String,
    /// What is put before it.
    pub prefix: String,
    /// The member that it is of the JSON object in the file; the whole file where this is empty.
    pub field: String,
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
    /// Reads `{"file": PATH}`, perhaps with `prefix` and `field`; none when it is something else.
    pub fn read(value: &Val) -> Option<SecretRef> {
        let Val::Obj(fields) = value else {
            return None;
        };
        let mut found = SecretRef::default();
        for (key, value) in fields.iter() {
            let field = match as_text(key)? {
                "file" => &mut found.file,
                "prefix" => &mut found.prefix,
                "field" => &mut found.field,
                _ => return None,
            };
            *field = as_text(value)?.to_owned();
        }
        (!found.file.is_empty()).then_some(found)
    }

    /// As documents and records have it.
    pub fn value(&self) -> Val {
        let members = [
            ("field", &self.field),
            ("file", &self.file),
            ("prefix", &self.prefix),
        ];
        let given = members.into_iter().filter(|(_, value)| !value.is_empty());
        let given: Vec<_> = given
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        Val::obj(given.into_iter().collect())
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
        if !self.field.is_empty() {
            let member = Value::from_json(&bytes).ok().and_then(|value| {
                member(value.val(), &self.field)
                    .and_then(as_text)
                    .map(str::to_owned)
            });
            let why = format!("has no text `{}`", self.field);
            bytes = member.ok_or_else(|| denied(&why))?.into_bytes();
        }
        if bytes.is_empty() {
            return Err(denied("is empty"));
        }
        Ok(Secret(bytes))
    }
}

/// The files of all references in `value`, also of those that only look like one.
pub(crate) fn files_in(value: &Val, found: &mut BTreeSet<String>) {
    if let Some(at) = SecretRef::read(value) {
        found.insert(at.file);
    }
    match value {
        Val::Arr(items) => items.iter().for_each(|item| files_in(item, found)),
        Val::Obj(fields) => fields.iter().for_each(|(_, value)| files_in(value, found)),
        _ => {}
    }
}

impl Secret {
    /// A secret that was made of others.
    pub(crate) fn of(bytes: &[u8]) -> Secret {
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
    /// Secrets in lower case, less what is no letter or digit; forwards and backwards.
    squeezed: Vec<Secret>,
    /// Parts of one length of each secret: a half of it, or more.
    parts: Vec<Parts>,
}

/// All parts of a secret that have one length.
#[derive(Debug)]
struct Parts {
    bytes: usize,
    all: BTreeSet<Vec<u8>>,
}

impl Scrubber {
    /// A scrubber of all of `secrets`.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s Secret>) -> Scrubber {
        let secrets: Vec<&Secret> = secrets.into_iter().collect();
        let squeezed = secrets.iter().flat_map(|secret| {
            let squeezed = squeeze(&secret.0);
            let backwards = squeezed.iter().rev().copied().collect();
            [Secret(squeezed), Secret(backwards)]
        });
        let squeezed = squeezed
            .filter(|squeezed| squeezed.0.len() >= PART_BYTES_MIN)
            .collect();
        let parts = secrets.iter().filter_map(|secret| {
            let bytes = secret
                .0
                .len()
                .div_ceil(2)
                .saturating_sub(1)
                .max(PART_BYTES_MIN);
            let fits = bytes < secret.0.len() && secret.0.len() <= PARTED_BYTES_MAX;
            fits.then(|| Parts {
                bytes,
                all: secret.0.windows(bytes).map(<[u8]>::to_vec).collect(),
            })
        });
        let parts = parts.collect();
        let mut disguises: Vec<Secret> = secrets.into_iter().flat_map(disguises).collect();
        disguises.sort_by_key(|disguise| std::cmp::Reverse(disguise.0.len()));
        disguises.dedup_by(|one, other| one.0 == other.0);
        Scrubber {
            disguises,
            squeezed,
            parts,
        }
    }

    /// `value` with every secret in it masked, in names too.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] when masking made two names of one object the same.
    pub fn value(&self, value: Value) -> Result<Value, Fault> {
        let bytes = value.canonical();
        let clean = self.disguises.iter().all(|d| find(bytes, &d.0).is_none())
            && self.parts.iter().all(|parts| parts.first(bytes).is_none())
            && !self.hidden(bytes);
        if clean && !has_escapes(bytes) {
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
        for parts in &self.parts {
            let mut from = 0;
            while let Some((at, len)) = parts.first(&bytes[from..]) {
                let at = from + at;
                bytes.splice(at..at + len, MASK.bytes());
                from = at + MASK.len();
            }
        }
        if self.hidden(&bytes) {
            return MASK.into();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether a secret is in it whose characters have others between them.
    fn hidden(&self, bytes: &[u8]) -> bool {
        if self.squeezed.is_empty() {
            return false;
        }
        let bytes = squeeze(bytes);
        let mut squeezed = self.squeezed.iter();
        squeezed.any(|secret| find(&bytes, &secret.0).is_some())
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

impl Parts {
    /// Place and length of the first run of parts.
    fn first(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        let is_part = |window: &&[u8]| self.all.contains(*window);
        let at = bytes.windows(self.bytes).position(|w| is_part(&w))?;
        let more = bytes[at + 1..].windows(self.bytes).take_while(is_part);
        Some((at, self.bytes + more.count()))
    }
}

fn squeeze(bytes: &[u8]) -> Vec<u8> {
    let plain = bytes.iter().filter(|byte| byte.is_ascii_alphanumeric());
    plain.map(u8::to_ascii_lowercase).collect()
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
    use crate::value::object;
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
            ..SecretRef::default()
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

    #[test]
    fn a_secret_in_parts_or_with_something_between_is_masked() {
        let spaced: Vec<String> = PLANTED.chars().map(String::from).collect();
        for text in [
            PLANTED[..PLANTED.len() / 2].to_owned(),
            PLANTED[PLANTED.len() / 2..].to_owned(),
            PLANTED[1..].to_owned(),
            spaced.join(" "),
            spaced.join("\",\""),
            PLANTED.to_uppercase().replace(['/', '+', '='], "_"),
        ] {
            let scrubbed = scrubber().text(&format!("it is {text}, see"));
            assert!(scrubbed.contains(MASK), "{text}: {scrubbed}");
            assert!(!scrubbed.contains(&text), "{text}: {scrubbed}");
        }
        let halves = PLANTED.split_at(8);
        let value = Value::from_val(&[text_of(halves.0), text_of(halves.1)].into_iter().collect());
        let scrubbed = scrubber().value(value.unwrap()).unwrap();
        assert_eq!(scrubbed.as_str(), r#"["[secret]","[secret]"]"#);
        for harmless in ["S3cr3", "token", "en-42", "s3cr4t+Tok"] {
            assert_eq!(scrubber().text(harmless), harmless);
        }
    }

    #[test]
    fn a_member_of_the_object_in_a_file_can_be_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        std::fs::write(&path, r#"{"username": "u", "n": 1}"#).unwrap();
        let at = |field: &str| SecretRef {
            file: path.display().to_string(),
            field: field.into(),
            ..SecretRef::default()
        };
        assert_eq!(at("username").resolve().unwrap().bytes(), b"u");
        for field in ["n", "password"] {
            let fault = at(field).resolve().unwrap_err();
            assert!(fault.detail.ends_with(&format!("has no text `{field}`")));
        }
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
