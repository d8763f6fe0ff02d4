//! Keys: one secret, a name, and sub-keys by HKDF, one label a purpose.
//!
//! ```text
//! hmac-sha256   id = HKDF(secret, "aos.key-id.v1")[..16]      MAC key = HKDF(secret, PURPOSE)
//! ed25519       id = SHA-256("aos.key-id.v1" | public)[..16]  seed = HKDF(secret, PURPOSE)
//! next epoch    secret = HKDF(secret, "aos.key-epoch.v1")     (hmac-sha256 alone; the old secret is overwritten)
//! ```

use crate::error::Error;
use crate::json::{self, Reader, base64, from_base64};
use aos_format::digest::{Digest, hex};
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

const ID_LABEL: &[u8] = b"aos.key-id.v1";
const EPOCH_LABEL: &[u8] = b"aos.key-epoch.v1";
/// Epochs a verifier derives at most.
pub(crate) const EPOCHS_MAX: u64 = 100_000;

/// How a key signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// A MAC: whoever can verify can forge.
    HmacSha256,
    /// A signature that anybody with the public key can verify.
    Ed25519,
}

impl Algorithm {
    /// Name in files and output.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::HmacSha256 => "hmac-sha256",
            Algorithm::Ed25519 => "ed25519",
        }
    }

    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        [Algorithm::HmacSha256, Algorithm::Ed25519]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// What a sub-key is for. No sub-key serves two purposes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Archives and their checkpoints.
    Archive,
    /// Cosignatures of a witness.
    Witness,
    /// Evidence bundles.
    Evidence,
}

impl Purpose {
    /// Name in files and output.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Archive => "archive",
            Purpose::Witness => "witness",
            Purpose::Evidence => "evidence",
        }
    }

    /// The purpose of that name.
    pub fn from_name(name: &str) -> Option<Purpose> {
        [Purpose::Archive, Purpose::Witness, Purpose::Evidence]
            .into_iter()
            .find(|purpose| purpose.name() == name)
    }

    fn label(self) -> &'static [u8] {
        match self {
            Purpose::Archive => b"aos.golden.sign.v1",
            Purpose::Witness => b"aos.witness.sign.v1",
            Purpose::Evidence => b"aos.evidence.sign.v1",
        }
    }
}

/// Name of a key that says nothing about its secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// A key with its secret, which is wiped from memory when the key is dropped and never shown.
#[derive(Clone)]
pub struct Key {
    name: String,
    algorithm: Algorithm,
    generation: u64,
    /// Of a forward-secure key: how often its secret was replaced by the next.
    epoch: Option<u64>,
    secret: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("name", &self.name)
            .field("algorithm", &self.algorithm.name())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// Whether a name may stand in a signature line: not empty, no spaces, no plus, no control characters.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c == '+' || c.is_control())
}

impl Key {
    /// A key from 32 secret bytes, which must come from the operating system's random source.
    ///
    /// # Errors
    /// [`Error::KeyUse`] for a name that cannot stand in a signature line, or epochs for anything but HMAC.
    pub fn new(
        name: &str,
        algorithm: Algorithm,
        forward_secure: bool,
        secret: Zeroizing<[u8; 32]>,
    ) -> Result<Key, Error> {
        let refuse = |why: &str| Error::KeyUse {
            name: name.into(),
            why: why.into(),
        };
        if !is_key_name(name) {
            return Err(refuse(
                "a name has 1 to 255 bytes, no spaces, plus signs or control characters",
            ));
        }
        if forward_secure && algorithm != Algorithm::HmacSha256 {
            return Err(refuse("epochs are for hmac-sha256"));
        }
        Ok(Key {
            name: name.into(),
            algorithm,
            generation: 1,
            epoch: forward_secure.then_some(0),
            secret,
        })
    }

    /// Name in signature lines.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Counts rotations, from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Of a forward-secure key: its epoch, from 0.
    pub fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    fn derive(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &*self.secret)
            .expand(label, &mut *out)
            .expect("32 bytes are within what HKDF gives");
        out
    }

    /// Names the key; of a forward-secure one, the key and its epoch.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 16];
        match self.algorithm {
            Algorithm::HmacSha256 => id.copy_from_slice(&self.derive(ID_LABEL)[..16]),
            Algorithm::Ed25519 => {
                let public = self.signing(Purpose::Archive).verifying_key().to_bytes();
                let digest = Digest::of_parts([ID_LABEL, &public]);
                id.copy_from_slice(&digest.0[..16]);
            }
        }
        KeyId(id)
    }

    fn signing(&self, purpose: Purpose) -> SigningKey {
        SigningKey::from_bytes(&self.derive(purpose.label()))
    }

    /// The public key of a purpose; `None` for HMAC, which has none.
    pub fn public(&self, purpose: Purpose) -> Option<[u8; 32]> {
        match self.algorithm {
            Algorithm::HmacSha256 => None,
            Algorithm::Ed25519 => Some(self.signing(purpose).verifying_key().to_bytes()),
        }
    }

    /// Signs `message`: 32 bytes of MAC, or 64 of signature.
    pub(crate) fn sign(&self, purpose: Purpose, message: &[u8]) -> Vec<u8> {
        match self.algorithm {
            Algorithm::HmacSha256 => self.mac(purpose, message).finalize().into_bytes().to_vec(),
            Algorithm::Ed25519 => {
                let signature: Signature = self.signing(purpose).sign(message);
                signature.to_bytes().to_vec()
            }
        }
    }

    fn mac(&self, purpose: Purpose, message: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.derive(purpose.label()))
            .expect("HMAC takes keys of any length");
        mac.update(message);
        mac
    }

    /// Whether `tag` is this key's MAC of `message`, compared in constant time.
    pub(crate) fn mac_holds(&self, purpose: Purpose, message: &[u8], tag: &[u8]) -> bool {
        self.mac(purpose, message).verify_slice(tag).is_ok()
    }

    /// The key of the next generation, from 32 new secret bytes; a forward-secure one steps to its next epoch instead.
    pub fn rotated(&self, secret: Zeroizing<[u8; 32]>) -> Key {
        match self.epoch {
            Some(_) => self.next_epoch(),
            None => Key {
                generation: self.generation + 1,
                secret,
                ..self.clone()
            },
        }
    }

    /// The key of the next epoch. Nothing leads back from it.
    fn next_epoch(&self) -> Key {
        Key {
            epoch: self.epoch.map(|epoch| epoch + 1),
            secret: self.derive(EPOCH_LABEL),
            ..self.clone()
        }
    }

    /// The key as it is in epoch `epoch`; `None` for one before this, or out of reach.
    pub(crate) fn at_epoch(&self, epoch: u64) -> Option<Key> {
        let steps = epoch.checked_sub(self.epoch?)?;
        if steps > EPOCHS_MAX {
            return None;
        }
        let mut key = self.clone();
        for _ in 0..steps {
            key = key.next_epoch();
        }
        Some(key)
    }

    /// Whether `other` is this key, in this epoch or in a later one.
    pub(crate) fn becomes(&self, other: &Key) -> bool {
        let then = other.epoch.and_then(|epoch| self.at_epoch(epoch));
        then.as_ref().unwrap_or(self).id() == other.id()
    }

    /// Content of a key file. Secret.
    pub fn to_file(&self) -> Zeroizing<Vec<u8>> {
        let secret = Zeroizing::new(base64(&*self.secret));
        let mut value = json!({
            "schema": "aos.key.v1",
            "algorithm": self.algorithm.name(),
            "name": self.name,
            "generation": self.generation,
            "secret": *secret,
        });
        if let Some(epoch) = self.epoch {
            value["epoch"] = epoch.into();
        }
        let mut bytes = Zeroizing::new(json::canonical(&value));
        bytes.push(b'\n');
        wipe(&mut value);
        bytes
    }

    /// Reads the content of a key file; `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::BadKey`], which never shows the content.
    pub fn from_file(bytes: &[u8], what: &str) -> Result<Key, Error> {
        let bad = |why: String| Error::BadKey {
            what: what.into(),
            why,
        };
        let mut value =
            serde_json::from_slice(bytes).map_err(|_| bad("it is not a key file".into()))?;
        let key = Key::read(&value).map_err(bad);
        wipe(&mut value);
        key
    }

    fn read(value: &serde_json::Value) -> Result<Key, String> {
        let object = Reader::new(value)?;
        object.only(&[
            "schema",
            "algorithm",
            "name",
            "generation",
            "secret",
            "epoch",
        ])?;
        if object.text("schema")? != "aos.key.v1" {
            return Err("its schema is not aos.key.v1".into());
        }
        let algorithm = Algorithm::from_name(object.text("algorithm")?)
            .ok_or("its algorithm is neither hmac-sha256 nor ed25519")?;
        let bytes = Zeroizing::new(from_base64(object.text("secret")?).unwrap_or_default());
        let secret: [u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| "its secret is not 32 bytes in base64")?;
        let epoch = match object.has("epoch") {
            true => Some(object.number("epoch")?),
            false => None,
        };
        let name = object.text("name")?;
        if !is_key_name(name) || epoch.is_some() && algorithm != Algorithm::HmacSha256 {
            return Err("its name or epoch cannot be".into());
        }
        Ok(Key {
            name: name.into(),
            algorithm,
            generation: object.number("generation")?,
            epoch,
            secret: Zeroizing::new(secret),
        })
    }
}

/// Overwrites the secret in a parsed key file.
fn wipe(value: &mut serde_json::Value) {
    if let Some(serde_json::Value::String(text)) = value.get_mut("secret") {
        zeroize::Zeroize::zeroize(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(algorithm: Algorithm) -> Key {
        Key::new(
            "example.org/gold",
            algorithm,
            false,
            Zeroizing::new([7; 32]),
        )
        .unwrap()
    }

    #[test]
    fn a_key_file_round_trips_and_debugging_shows_no_secret() {
        for algorithm in [Algorithm::HmacSha256, Algorithm::Ed25519] {
            let key = key(algorithm);
            let file = key.to_file();
            let read = Key::from_file(&file, "k").unwrap();
            assert_eq!((read.id(), read.name()), (key.id(), key.name()));
            assert_eq!(*read.secret, *key.secret);
            assert!(!format!("{key:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_no_key_file_is_refused_without_showing_it() {
        let good = String::from_utf8(key(Algorithm::Ed25519).to_file().to_vec()).unwrap();
        for bad in [
            good.replace("aos.key.v1", "aos.key.v2"),
            good.replace("ed25519", "none"),
            good.replace("\"generation\"", "\"other\""),
            good.replace("Bw", "B"),
            "{".into(),
        ] {
            let said = Key::from_file(bad.as_bytes(), "k").unwrap_err().to_string();
            assert!(!said.contains("BwcH"), "{said}");
        }
    }

    #[test]
    fn ids_and_sub_keys_differ_from_the_secret_and_from_one_another() {
        let hmac = key(Algorithm::HmacSha256);
        assert_ne!(hmac.id().0, Digest::of(&[7; 32]).0[..16]);
        let tags: Vec<Vec<u8>> = [Purpose::Archive, Purpose::Witness, Purpose::Evidence]
            .map(|purpose| hmac.sign(purpose, b"m"))
            .to_vec();
        assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2]);
        assert!(hmac.mac_holds(Purpose::Archive, b"m", &tags[0]));
        assert!(!hmac.mac_holds(Purpose::Witness, b"m", &tags[0]));
        assert!(!hmac.mac_holds(Purpose::Archive, b"n", &tags[0]));
    }

    #[test]
    fn epochs_lead_forward_only() {
        let first = Key::new("k", Algorithm::HmacSha256, true, Zeroizing::new([1; 32])).unwrap();
        let third = first
            .rotated(Zeroizing::new([0; 32]))
            .rotated(Zeroizing::new([0; 32]));
        assert_eq!(third.epoch(), Some(2));
        assert_eq!(first.at_epoch(2).unwrap().id(), third.id());
        assert!(third.at_epoch(1).is_none());
        assert!(first.at_epoch(EPOCHS_MAX + 1).is_none());
        assert_ne!(first.id(), third.id());
    }
}
