//! SHA-256 digests and the names built from them.

use sha2::{Digest as _, Sha256};
use std::fmt;

/// SHA-256 of bytes that come in pieces.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The predecessor of the first record of a lane.
    pub const ZERO: Digest = Digest([0; 32]);

    /// SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// SHA-256 of the concatenation of `parts`.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Digest(hasher.finalize().into())
    }

    /// SHA-256 of `label` followed by each part with its length as u32 in front: no two lists of parts give the same bytes.
    ///
    /// # Panics
    /// When a part is 4 GiB or longer; no part that AOS derives from comes near it.
    pub fn labelled(label: &str, parts: &[&[u8]]) -> Digest {
        let mut hasher = Sha256::new();
        hasher.update(label.as_bytes());
        for part in parts {
            let length = u32::try_from(part.len()).expect("derivation inputs are far below 4 GiB");
            hasher.update(length.to_le_bytes());
            hasher.update(part);
        }
        Digest(hasher.finalize().into())
    }

    /// Lower-case hexadecimal, 64 characters.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Reads 64 hexadecimal characters.
    pub fn from_hex(text: &str) -> Option<Digest> {
        from_hex::<32>(text).map(Digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

/// Reads exactly `2 * N` hexadecimal characters.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let high = (pair[0] as char).to_digit(16)?;
        let low = (pair[1] as char).to_digit(16)?;
        *byte = (high * 16 + low) as u8;
    }
    Some(bytes)
}

/// Sixteen random bytes that name a log for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub [u8; 16]);

impl LogId {
    /// The salt in every frame of this log; it makes a frame of another log void.
    pub fn salt(&self) -> u32 {
        let digest = Digest::of_parts([b"aos.salt.v1".as_slice(), &self.0]);
        u32::from_le_bytes(digest.0[..4].try_into().expect("four bytes of thirty-two"))
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Sixteen bytes that name a run: derived from namespace, workflow name, key and generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub [u8; 16]);

impl RunId {
    /// Derives the id; the same names always give the same id, in every log.
    pub fn derive(namespace: &str, name: &str, key: &str, generation: u64) -> RunId {
        let digest = Digest::labelled(
            "aos.run.v1",
            &[
                namespace.as_bytes(),
                name.as_bytes(),
                key.as_bytes(),
                &generation.to_le_bytes(),
            ],
        );
        RunId(
            digest.0[..16]
                .try_into()
                .expect("sixteen bytes of thirty-two"),
        )
    }

    /// Reads 32 hexadecimal characters.
    pub fn from_hex(text: &str) -> Option<RunId> {
        from_hex::<16>(text).map(RunId)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Digest of a log: SHA-256 over (run id, newest history digest), by ascending run id.
///
/// `heads` must come in ascending order without repetition; the function asserts it.
pub fn log_digest<'a>(heads: impl IntoIterator<Item = (&'a RunId, &'a Digest)>) -> Digest {
    let mut hasher = Sha256::new();
    let mut last: Option<RunId> = None;
    for (run, head) in heads {
        assert!(last.is_none_or(|last| last < *run), "runs out of order");
        last = Some(*run);
        hasher.update(run.0);
        hasher.update(head.0);
    }
    Digest(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_gives_the_fips_180_answers() {
        let cases: [(&[u8], &str); 3] = [
            (
                b"",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                b"abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
        ];
        for (message, digest) in cases {
            assert_eq!(Digest::of(message).hex(), digest);
        }
        let million = vec![b'a'; 1_000_000];
        assert_eq!(
            Digest::of(&million).hex(),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        );
    }

    #[test]
    fn labelled_digests_tell_apart_what_concatenation_would_not() {
        assert_ne!(
            Digest::labelled("l", &[b"ab", b"c"]),
            Digest::labelled("l", &[b"a", b"bc"])
        );
    }

    #[test]
    fn hexadecimal_round_trips_and_refuses_other_text() {
        let digest = Digest::of(b"x");
        assert_eq!(Digest::from_hex(&digest.hex()), Some(digest));
        assert_eq!(Digest::from_hex("zz"), None);
        assert_eq!(RunId::from_hex(&"g".repeat(32)), None);
    }
}
