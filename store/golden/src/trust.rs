//! Which keys count: a verifier's own file, never the archive's word.

use crate::error::Error;
use crate::file::{self, KeySource};
use crate::json::{self, Reader, base64, digest_from_base64};
use crate::key::{Algorithm, Key, KeyId, Purpose, is_key_name};
use crate::note::{Signature, cosigned, note_key_hash, witness_key_hash};
use ed25519_dalek::VerifyingKey;
use serde_json::{Value, json};
use std::path::Path;

/// One key that counts.
#[derive(Clone, Debug)]
pub struct Verifier {
    name: String,
    purpose: Purpose,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Hmac(Box<Key>),
    Ed25519(Box<VerifyingKey>),
}

impl Verifier {
    /// The verifier of archives signed with `key`.
    pub fn of_key(key: &Key) -> Verifier {
        Verifier::for_purpose(key, Purpose::Archive)
    }

    /// The verifier of what `key` signs for a purpose.
    pub fn for_purpose(key: &Key, purpose: Purpose) -> Verifier {
        let public = key
            .public(purpose)
            .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        Verifier {
            name: key.name().into(),
            purpose,
            kind: match public {
                Some(public) => Kind::Ed25519(Box::new(public)),
                None => Kind::Hmac(Box::new(key.clone())),
            },
        }
    }

    /// Name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether both are the same key for the same purpose, whatever they are called.
    fn is_same_key(&self, other: &Verifier) -> bool {
        self.purpose == other.purpose
            && match (&self.kind, &other.kind) {
                (Kind::Ed25519(one), Kind::Ed25519(two)) => one == two,
                (Kind::Hmac(one), Kind::Hmac(two)) => one.becomes(two) || two.becomes(one),
                (Kind::Ed25519(_), Kind::Hmac(_)) | (Kind::Hmac(_), Kind::Ed25519(_)) => false,
            }
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        match &self.kind {
            Kind::Hmac(_) => Algorithm::HmacSha256,
            Kind::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// The id of an HMAC key.
    pub fn key_id(&self) -> Option<KeyId> {
        match &self.kind {
            Kind::Hmac(key) => Some(key.id()),
            Kind::Ed25519(_) => None,
        }
    }

    /// Whether the signature is this key's and holds for the text; `None` when it is by another key.
    ///
    /// A forward-secure key is tried at the epoch that the text names in its line `epoch`.
    pub fn holds(&self, text: &str, signature: &Signature) -> Option<bool> {
        if signature.name != self.name || self.purpose != Purpose::Archive {
            return None;
        }
        match &self.kind {
            Kind::Ed25519(public) => {
                let hash = note_key_hash(&self.name, Algorithm::Ed25519, public.as_bytes());
                (hash == signature.key_hash)
                    .then(|| strict(public, text.as_bytes(), &signature.bytes))
            }
            Kind::Hmac(key) => {
                let at = match key.epoch() {
                    None => key.as_ref().clone(),
                    Some(_) => key.at_epoch(epoch_of(text)?)?,
                };
                let hash = note_key_hash(&self.name, Algorithm::HmacSha256, &at.id().0);
                (hash == signature.key_hash)
                    .then(|| at.mac_holds(Purpose::Archive, text.as_bytes(), &signature.bytes))
            }
        }
    }

    /// When a witness cosigned, in seconds since 1970; `None` when the line is by another key or does not hold.
    pub fn cosigned_at(&self, text: &str, signature: &Signature) -> Option<u64> {
        let Kind::Ed25519(public) = &self.kind else {
            return None;
        };
        let known = self.purpose == Purpose::Witness
            && signature.name == self.name
            && signature.key_hash == witness_key_hash(&self.name, public.as_bytes());
        let (time, rest) = signature.bytes.split_first_chunk::<8>().filter(|_| known)?;
        let time = u64::from_be_bytes(*time);
        strict(public, cosigned(time, text).as_bytes(), rest).then_some(time)
    }

    /// Whether a witness's line holds; `None` when it is by another key.
    pub(crate) fn cosigns(&self, text: &str, signature: &Signature) -> Option<bool> {
        let Kind::Ed25519(public) = &self.kind else {
            return None;
        };
        let mine = self.purpose == Purpose::Witness
            && signature.name == self.name
            && signature.key_hash == witness_key_hash(&self.name, public.as_bytes());
        mine.then(|| self.cosigned_at(text, signature).is_some())
    }

    /// Whether its signature vouches for an archive: a witness only says what it has seen.
    pub(crate) fn vouches(&self) -> bool {
        self.purpose == Purpose::Archive
    }

    /// Whether `bytes` are this key's signature of an evidence statement.
    pub fn evidence_holds(&self, message: &[u8], bytes: &[u8]) -> bool {
        self.purpose == Purpose::Evidence
            && match &self.kind {
                Kind::Ed25519(public) => strict(public, message, bytes),
                Kind::Hmac(key) => key.mac_holds(Purpose::Evidence, message, bytes),
            }
    }

    /// The entry of a trust file; `None` for HMAC, whose entry names a key file.
    pub fn entry(&self) -> Option<Value> {
        match &self.kind {
            Kind::Hmac(_) => None,
            Kind::Ed25519(public) => Some(json!({
                "algorithm": "ed25519",
                "name": self.name,
                "purpose": self.purpose.name(),
                "public": base64(public.as_bytes()),
            })),
        }
    }

    /// The key in the form of C2SP verifier keys, name+hash+key; `None` for HMAC.
    pub fn vkey(&self) -> Option<String> {
        let Kind::Ed25519(public) = &self.kind else {
            return None;
        };
        let (kind, hash) = match self.purpose {
            Purpose::Witness => (4, witness_key_hash(&self.name, public.as_bytes())),
            _ => (
                1,
                note_key_hash(&self.name, Algorithm::Ed25519, public.as_bytes()),
            ),
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(public.as_bytes());
        let hash = aos_format::digest::hex(&hash);
        Some(format!("{}+{hash}+{}", self.name, base64(&bytes)))
    }
}

fn strict(public: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    ed25519_dalek::Signature::from_slice(signature)
        .is_ok_and(|signature| public.verify_strict(message, &signature).is_ok())
}

/// The epoch in the line `epoch N` of a checkpoint.
fn epoch_of(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("epoch "));
    match (lines.next(), lines.next()) {
        (Some(number), None) => number.parse().ok(),
        _ => None,
    }
}

/// The keys that count, and how many of them must have signed.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The keys.
    pub verifiers: Vec<Verifier>,
    /// How many different ones must have signed an archive.
    pub threshold: usize,
}

impl Trust {
    /// Trusts these; one is enough.
    pub fn of(verifiers: Vec<Verifier>) -> Trust {
        Trust {
            verifiers,
            threshold: 1,
        }
    }

    /// Reads a trust file and the key files it names, whose paths are relative to it.
    ///
    /// # Errors
    /// [`Error::BadKey`], [`Error::UnsafeKeyFile`], [`Error::Io`].
    pub fn read(path: &Path) -> Result<Trust, Error> {
        let bytes = file::read_text(path)?;
        let shown = path.display().to_string();
        let folder = path.parent().unwrap_or(Path::new(""));
        Trust::parse(&bytes, &shown, &|name| {
            let bytes = file::read_secret(&KeySource::File(folder.join(name)))?;
            Key::from_file(&bytes, name)
        })
    }

    /// Reads the content of a trust file; `key` opens the key files it names.
    ///
    /// # Errors
    /// [`Error::BadKey`], and those of `key`.
    pub fn parse(
        bytes: &[u8],
        what: &str,
        key: &dyn Fn(&str) -> Result<Key, Error>,
    ) -> Result<Trust, Error> {
        let bad = |why: String| Error::BadKey {
            what: what.into(),
            why,
        };
        let value = json::parse(bytes).map_err(bad)?;
        let object = Reader::new(&value).map_err(bad)?;
        object.only(&["schema", "threshold", "keys"]).map_err(bad)?;
        if object.text("schema").map_err(bad)? != "aos.trust.v1" {
            return Err(bad("its schema is not aos.trust.v1".into()));
        }
        let mut verifiers: Vec<Verifier> = Vec::new();
        for entry in object.list("keys").map_err(bad)? {
            let verifier = entry_of(entry, key, &bad)?;
            if let Some(twice) = verifiers.iter().find(|other| other.is_same_key(&verifier)) {
                return Err(bad(format!(
                    "the key {} stands in it twice, for one purpose",
                    twice.name
                )));
            }
            verifiers.push(verifier);
        }
        let threshold = match object.has("threshold") {
            true => object.number("threshold").map_err(bad)? as usize,
            false => 1,
        };
        if threshold == 0 || threshold > verifiers.len() {
            return Err(bad(format!(
                "a threshold of {threshold} with {} keys",
                verifiers.len()
            )));
        }
        Ok(Trust {
            verifiers,
            threshold,
        })
    }
}

fn entry_of(
    entry: &Value,
    key: &dyn Fn(&str) -> Result<Key, Error>,
    bad: &dyn Fn(String) -> Error,
) -> Result<Verifier, Error> {
    let object = Reader::new(entry).map_err(bad)?;
    let algorithm = object.text("algorithm").map_err(bad)?;
    let name = object.text("name").map_err(bad)?;
    let purpose = match object.has("purpose") {
        true => object.text("purpose").map_err(bad)?,
        false => "archive",
    };
    let purpose =
        Purpose::from_name(purpose).ok_or_else(|| bad(format!("unknown purpose {purpose}")))?;
    if !is_key_name(name) {
        return Err(bad(format!("{name} is no name of a key")));
    }
    match Algorithm::from_name(algorithm) {
        Some(Algorithm::Ed25519) => {
            object
                .only(&["algorithm", "name", "purpose", "public"])
                .map_err(bad)?;
            let public = digest_from_base64(object.text("public").map_err(bad)?)
                .and_then(|bytes| VerifyingKey::from_bytes(&bytes.0).ok())
                .filter(|public| !public.is_weak())
                .ok_or_else(|| bad(format!("the public key of {name} is not one of ed25519")))?;
            Ok(Verifier {
                name: name.into(),
                purpose,
                kind: Kind::Ed25519(Box::new(public)),
            })
        }
        Some(Algorithm::HmacSha256) => {
            object
                .only(&["algorithm", "name", "purpose", "key_file"])
                .map_err(bad)?;
            let key = key(object.text("key_file").map_err(bad)?)?;
            if key.algorithm() != Algorithm::HmacSha256 || key.name() != name {
                return Err(bad(format!("the key file of {name} holds another key")));
            }
            Ok(Verifier::for_purpose(&key, purpose))
        }
        None => Err(bad(format!("unknown algorithm {algorithm}"))),
    }
}
