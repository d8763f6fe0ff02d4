//! C2SP signed notes and the checkpoints in them.
//!
//! ```text
//! aos.log/0123…                                origin
//! 109482                                       records
//! sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08= root
//! manifest sha256 …                            further lines: none, or what an archive adds
//!
//! — example.org/gold NnugSzTj…                 key id of 4 bytes and signature, base64
//! ```

use crate::error::Error;
use crate::json::{base64, digest_from_base64, from_base64};
use crate::key::{Algorithm, Key, Purpose, is_key_name};
use aos_format::digest::Digest;

/// Longest note read.
pub(crate) const NOTE_LEN_MAX: usize = 64 << 10;
/// Most signature lines read.
const SIGNATURES_MAX: usize = 64;

/// Type byte of an Ed25519 signature.
const TYPE_ED25519: u8 = 1;
/// Type byte of a witness's cosignature.
const TYPE_COSIGNATURE: u8 = 4;
/// Type of an HMAC: the byte for what has no assigned one, and a longer name.
const TYPE_HMAC: &[u8] = b"\xffaos.hmac-sha256.v1";

/// A signature line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// Name of the key.
    pub name: String,
    /// First four bytes: which key of that name.
    pub key_hash: [u8; 4],
    /// The rest.
    pub bytes: Vec<u8>,
}

/// Text with signatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// What is signed, its last newline included.
    pub text: String,
    /// Who signed.
    pub signatures: Vec<Signature>,
}

/// Which key of a name: SHA-256(name, newline, type, public part)[..4].
pub(crate) fn key_hash(name: &str, kind: &[u8], public: &[u8]) -> [u8; 4] {
    let digest = Digest::of_parts([name.as_bytes(), b"\n", kind, public]);
    [digest.0[0], digest.0[1], digest.0[2], digest.0[3]]
}

/// Key hash of a verifier of notes.
pub(crate) fn note_key_hash(name: &str, algorithm: Algorithm, public: &[u8]) -> [u8; 4] {
    match algorithm {
        Algorithm::Ed25519 => key_hash(name, &[TYPE_ED25519], public),
        Algorithm::HmacSha256 => key_hash(name, TYPE_HMAC, public),
    }
}

/// Key hash of a witness.
pub(crate) fn witness_key_hash(name: &str, public: &[u8; 32]) -> [u8; 4] {
    key_hash(name, &[TYPE_COSIGNATURE], public)
}

/// What a witness signs at `time`, in seconds since 1970.
pub(crate) fn cosigned(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl Note {
    /// A note without signatures.
    pub fn new(text: String) -> Note {
        Note {
            text,
            signatures: Vec::new(),
        }
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`Error::Text`].
    pub fn parse(bytes: &[u8]) -> Result<Note, Error> {
        let bad = |why: &str| Error::Text {
            what: "signed note",
            why: why.into(),
        };
        if bytes.len() > NOTE_LEN_MAX {
            return Err(bad("longer than 64 KiB"));
        }
        let all = std::str::from_utf8(bytes).map_err(|_| bad("not UTF-8"))?;
        if all.chars().any(|c| c < ' ' && c != '\n') {
            return Err(bad("a control character"));
        }
        let split = all
            .rfind("\n\n")
            .ok_or_else(|| bad("no blank line before signatures"))?;
        let (text, lines) = (&all[..=split], &all[split + 2..]);
        let lines = lines
            .strip_suffix('\n')
            .ok_or_else(|| bad("the last line does not end"))?;
        let signatures = lines
            .split('\n')
            .map(|line| Signature::parse(line).ok_or_else(|| bad("a line that is no signature")))
            .collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(bad("more than 64 signatures"));
        }
        Ok(Note {
            text: text.into(),
            signatures,
        })
    }

    /// Signs the text as well.
    pub fn sign(&mut self, key: &Key) {
        let public = match key.public(Purpose::Archive) {
            Some(public) => public.to_vec(),
            None => key.id().0.to_vec(),
        };
        self.signatures.push(Signature {
            name: key.name().into(),
            key_hash: note_key_hash(key.name(), key.algorithm(), &public),
            bytes: key.sign(Purpose::Archive, self.text.as_bytes()),
        });
    }

    /// Cosigns the text as a witness at `time`, in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::KeyUse`] for a key that is not Ed25519.
    pub fn cosign(&mut self, key: &Key, time: u64) -> Result<(), Error> {
        let public = key.public(Purpose::Witness).ok_or_else(|| Error::KeyUse {
            name: key.name().into(),
            why: "a witness signs with ed25519".into(),
        })?;
        let mut bytes = time.to_be_bytes().to_vec();
        bytes.extend(key.sign(Purpose::Witness, cosigned(time, &self.text).as_bytes()));
        self.signatures.push(Signature {
            name: key.name().into(),
            key_hash: witness_key_hash(key.name(), &public),
            bytes,
        });
        Ok(())
    }

    /// The note's bytes.
    pub fn encode(&self) -> String {
        let mut out = format!("{}\n", self.text);
        for signature in &self.signatures {
            let mut bytes = signature.key_hash.to_vec();
            bytes.extend_from_slice(&signature.bytes);
            out.push_str(&format!("\u{2014} {} {}\n", signature.name, base64(&bytes)));
        }
        out
    }
}

impl Signature {
    fn parse(line: &str) -> Option<Signature> {
        let (name, bytes) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let bytes = from_base64(bytes)?;
        let (hash, rest) = bytes.split_first_chunk::<4>()?;
        (is_key_name(name) && !rest.is_empty()).then(|| Signature {
            name: name.into(),
            key_hash: *hash,
            bytes: rest.to_vec(),
        })
    }
}

/// A tree's head: what the text of a note says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Which tree.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root.
    pub root: Digest,
    /// Further lines.
    pub lines: Vec<String>,
}

impl Checkpoint {
    /// Reads the text of a note.
    ///
    /// # Errors
    /// [`Error::Text`].
    pub fn parse(text: &str) -> Result<Checkpoint, Error> {
        let bad = |why: &str| Error::Text {
            what: "checkpoint",
            why: why.into(),
        };
        let text = text
            .strip_suffix('\n')
            .ok_or_else(|| bad("its last line does not end"))?;
        let mut lines = text.split('\n');
        let mut next = |what: &str| {
            lines
                .next()
                .filter(|line| !line.is_empty())
                .ok_or_else(|| bad(&format!("no {what}")))
        };
        let origin = next("origin")?.to_owned();
        let size = next("size")?;
        let number: u64 = size.parse().map_err(|_| bad("its size is no number"))?;
        if number.to_string() != size {
            return Err(bad("its size is not in its shortest form"));
        }
        let root = next("root")?;
        let root = digest_from_base64(root)
            .filter(|digest| base64(&digest.0) == root)
            .ok_or_else(|| bad("its root is not 32 bytes in base64"))?;
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        if lines.iter().any(String::is_empty) {
            return Err(bad("an empty line"));
        }
        Ok(Checkpoint {
            origin,
            size: number,
            root,
            lines,
        })
    }

    /// The text of a note.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n{}\n{}\n", self.origin, self.size, base64(&self.root.0));
        for line in &self.lines {
            out.push_str(line);
            out.push('\n');
        }
        out
    }

    /// What follows `word` and a space in the further lines, where there is exactly one such line.
    pub fn line(&self, word: &str) -> Option<&str> {
        let mut found = self
            .lines
            .iter()
            .filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        match (found.next(), found.next()) {
            (Some(rest), None) => Some(rest),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Verifier;
    use zeroize::Zeroizing;

    /// The example of C2SP signed-note (c2sp.org/signed-note, BSD-1-Clause).
    const EXAMPLE: &str = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
        — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

    #[test]
    fn the_example_of_the_specification_is_read_and_written_alike() {
        let note = Note::parse(EXAMPLE.as_bytes()).unwrap();
        assert!(note.text.ends_with("\n\ned è subito sera.\n"));
        assert_eq!(note.signatures[0].name, "quasimodo.example/salvatore");
        assert_eq!(note.signatures[0].key_hash, [0x36, 0x7b, 0xa0, 0x4b]);
        assert_eq!(note.signatures[0].bytes.len(), 64);
        assert_eq!(note.encode(), EXAMPLE);
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let good = EXAMPLE.to_owned();
        for bad in [
            good.replace("\n\n— ", "\n— "),
            good.replace("— quasi", "- quasi"),
            good.replace("salvatore N", "sal+vatore N"),
            good.replace("Nnug", "N%ug"),
            good.trim_end().to_owned(),
            good.replace("sole", "so\rle"),
            String::new(),
        ] {
            assert!(Note::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_checkpoint_round_trips_and_has_one_form_alone() {
        let checkpoint = Checkpoint {
            origin: "aos.log/00".into(),
            size: 3,
            root: Digest::of(b"r"),
            lines: vec!["manifest sha256 00".into()],
        };
        let text = checkpoint.text();
        assert_eq!(Checkpoint::parse(&text).unwrap(), checkpoint);
        assert_eq!(checkpoint.line("manifest"), Some("sha256 00"));
        for bad in [
            text.replace("\n3\n", "\n03\n"),
            text.replace("aos.log/00", ""),
            text.replace("=\n", "\n"),
            format!("{text}\n"),
        ] {
            assert!(Checkpoint::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_signed_note_holds_and_any_changed_byte_of_it_does_not() {
        for algorithm in [Algorithm::HmacSha256, Algorithm::Ed25519] {
            let key = Key::new("k", algorithm, false, Zeroizing::new([3; 32])).unwrap();
            let verifier = Verifier::of_key(&key);
            let mut note = Note::new("o\n1\nr\n".into());
            note.sign(&key);
            let good = note.encode().into_bytes();
            let holds = |bytes: &[u8]| {
                Note::parse(bytes).is_ok_and(|note| {
                    note.signatures
                        .iter()
                        .any(|signature| verifier.holds(&note.text, signature) == Some(true))
                })
            };
            assert!(holds(&good));
            for at in 0..good.len() {
                for bit in 0..8 {
                    let mut bad = good.clone();
                    bad[at] ^= 1 << bit;
                    assert!(!holds(&bad), "{at}.{bit}");
                }
            }
        }
    }
}
