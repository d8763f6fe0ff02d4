//! Proofs that leave the archive behind: that an event is in it, and that one checkpoint continues another.
//!
//! An event's proof is a C2SP tlog-proof whose extra data is the event's frame:
//!
//! ```text
//! c2sp.org/tlog-proof@v1        aos.consistency.v1
//! extra BASE64                  old BASE64            the older checkpoint
//! index 5                       HASH …
//! HASH …
//!                               CHECKPOINT            the newer one
//! CHECKPOINT
//! ```

use crate::archive::Archive;
use crate::container::Container;
use crate::error::Error;
use crate::json::{base64, digest_from_base64, from_base64};
use crate::note::{Checkpoint, Note};
use crate::trust::Trust;
use crate::verify::read_anchor;
use aos_format::digest::{Digest, LogId};
use aos_format::frame::{FRAME_HEADER_LEN, FrameHeader, Kind};
use aos_format::leaf::{check_values, leaf};
use aos_format::merkle::{check_consistency, check_inclusion, consistency, inclusion};
use aos_format::offset::{Offset, Stride};
use aos_format::record::{RecordView, StreamId};
use aos_store::Aligned;

const EVENT: &str = "c2sp.org/tlog-proof@v1";
pub(crate) const CONSISTENCY: &str = "aos.consistency.v1";
/// Longest proof read.
const PROOF_LEN_MAX: usize = 64 << 20;

/// What a proof that holds shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The signed head.
    pub checkpoint: Checkpoint,
    /// Keys that count and signed it.
    pub signers: Vec<String>,
    /// Of an event: its number in the tree.
    pub index: Option<u64>,
    /// Of an event: where it stood in the log.
    pub offset: Option<Offset>,
    /// Of an event: its kind.
    pub kind: Option<&'static str>,
    /// Of an event: its stream.
    pub stream: Option<StreamId>,
    /// Of an event: its history digest.
    pub history_digest: Option<Digest>,
    /// Of two checkpoints: records of the older one.
    pub old_size: Option<u64>,
}

/// The newest note of an archive, or its bare checkpoint where nobody signed.
///
/// # Errors
/// [`Error::Text`] for its manifest.
pub fn checkpoint(container: &Container) -> Result<String, Error> {
    if let Some(note) = container.notes.last() {
        return String::from_utf8(note.text.clone()).map_err(|_| Error::Text {
            what: "note",
            why: "not UTF-8".into(),
        });
    }
    let manifest = crate::manifest::Manifest::decode(&container.manifest)?;
    let checkpoint = Checkpoint {
        origin: manifest.origin,
        size: manifest.size,
        root: manifest.root,
        lines: Vec::new(),
    };
    Ok(checkpoint.text())
}

/// Proof that the record at `offset` is in the archive.
///
/// # Errors
/// [`Error::NoRecord`]; [`Error::Untrusted`] for an archive that nobody signed; those of reading.
pub fn prove(archive: &Archive, offset: Offset) -> Result<String, Error> {
    let index = archive.number(offset).ok_or_else(|| Error::NoRecord {
        what: format!("record at offset {offset}"),
    })?;
    let container = archive.container();
    if container.notes.is_empty() {
        return Err(Error::Untrusted {
            why: "nobody signed the archive, so a proof would prove nothing".into(),
        });
    }
    let leaves = container.leaves(0, container.header.records as usize)?;
    let hashes = inclusion(&leaves, index as usize).unwrap_or_default();
    let mut out = format!(
        "{EVENT}\nextra {}\nindex {index}\n",
        base64(&archive.frame(offset)?)
    );
    push_hashes(&mut out, &hashes);
    out.push_str(&checkpoint(container)?);
    Ok(out)
}

/// Proof that the tree of an older checkpoint is the beginning of the archive's.
///
/// # Errors
/// [`Error::Proof`] when the checkpoint is of another tree or of a larger one; those of reading.
pub fn prove_consistency(container: &Container, old: &[u8]) -> Result<String, Error> {
    let (before, _) = read_anchor(old)?;
    let manifest = crate::manifest::Manifest::decode(&container.manifest)?;
    let fail = |why: String| Error::Proof { why };
    if before.origin != manifest.origin {
        return Err(fail(format!(
            "the checkpoint is of {}, the archive of {}",
            before.origin, manifest.origin
        )));
    }
    if before.size > manifest.size || manifest.size != container.header.records {
        return Err(fail(format!(
            "the checkpoint covers {} records, the archive {}",
            before.size, manifest.size
        )));
    }
    let leaves = container.leaves(0, manifest.size as usize)?;
    let hashes = consistency(&leaves, before.size as usize).unwrap_or_default();
    let mut out = format!("{CONSISTENCY}\nold {}\n", base64(old));
    push_hashes(&mut out, &hashes);
    out.push_str(&checkpoint(container)?);
    let shown = check(out.as_bytes(), None)?;
    assert_eq!(shown.old_size, Some(before.size), "the proof was made here");
    Ok(out)
}

pub(crate) fn push_hashes(out: &mut String, hashes: &[Digest]) {
    for hash in hashes {
        out.push_str(&base64(&hash.0));
        out.push('\n');
    }
    out.push('\n');
}

/// A proof taken apart.
struct Parts<'a> {
    kind: &'a str,
    lines: Vec<&'a str>,
    checkpoint: Checkpoint,
    note: Option<Note>,
}

fn parts(bytes: &[u8]) -> Result<Parts<'_>, Error> {
    let bad = |why: &str| Error::Text {
        what: "proof",
        why: why.into(),
    };
    if bytes.len() > PROOF_LEN_MAX {
        return Err(bad("longer than 64 MiB"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| bad("not UTF-8"))?;
    let (head, rest) = text
        .split_once("\n\n")
        .ok_or_else(|| bad("no blank line before the checkpoint"))?;
    let mut lines = head.split('\n');
    let kind = lines.next().unwrap_or_default();
    let (checkpoint, note) = read_anchor(rest.as_bytes())?;
    Ok(Parts {
        kind,
        lines: lines.collect(),
        checkpoint,
        note,
    })
}

/// Checks a proof of either kind. With `trust`, as many keys that count as its threshold asks for must have signed the
/// checkpoint.
///
/// # Errors
/// [`Error::Proof`], [`Error::Text`]; [`Error::Untrusted`] when too few keys that count signed.
pub fn check(bytes: &[u8], trust: Option<&Trust>) -> Result<Shown, Error> {
    let parts = parts(bytes)?;
    let mut shown = match parts.kind {
        EVENT => check_event(&parts)?,
        CONSISTENCY => check_old(&parts)?,
        _ => {
            return Err(Error::Text {
                what: "proof",
                why: format!("its first line is neither {EVENT} nor {CONSISTENCY}"),
            });
        }
    };
    if let Some(trust) = trust {
        shown.signers = signers(parts.note.as_ref(), trust)?;
    }
    Ok(shown)
}

/// The keys that count and signed a note.
///
/// # Errors
/// [`Error::Proof`] for a signature that does not hold; [`Error::Untrusted`] when there are too few.
pub(crate) fn signers(note: Option<&Note>, trust: &Trust) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for verifier in &trust.verifiers {
        let mut holds = false;
        for signature in note.iter().flat_map(|note| &note.signatures) {
            match note.and_then(|note| verifier.holds(&note.text, signature)) {
                Some(false) => {
                    return Err(Error::Proof {
                        why: format!("the signature of {} does not hold", verifier.name()),
                    });
                }
                Some(true) => holds = true,
                None => {}
            }
        }
        found.extend(holds.then(|| verifier.name().to_owned()));
    }
    if found.len() < trust.threshold {
        return Err(Error::Untrusted {
            why: format!(
                "{} keys that count signed the checkpoint, {} must",
                found.len(),
                trust.threshold
            ),
        });
    }
    Ok(found)
}

fn hashes(lines: &[&str]) -> Result<Vec<Digest>, Error> {
    lines
        .iter()
        .map(|line| {
            digest_from_base64(line).ok_or_else(|| Error::Text {
                what: "proof",
                why: "a line that is no hash".into(),
            })
        })
        .collect()
}

fn field<'a>(line: Option<&&'a str>, word: &str) -> Result<&'a str, Error> {
    line.and_then(|line| line.strip_prefix(word)?.strip_prefix(' '))
        .ok_or_else(|| Error::Text {
            what: "proof",
            why: format!("no line {word}"),
        })
}

fn check_event(parts: &Parts<'_>) -> Result<Shown, Error> {
    let fail = |why: String| Error::Proof { why };
    let frame = from_base64(field(parts.lines.first(), "extra")?)
        .ok_or_else(|| fail("its frame is not base64".into()))?;
    let index: u64 = field(parts.lines.get(1), "index")?
        .parse()
        .map_err(|_| fail("its index is no number".into()))?;
    let hashes = hashes(&parts.lines[2..])?;
    // The largest stride: only what the frame says of itself is checked, the tree says the rest.
    let stride = Stride::from_log2(30).map_err(|error| fail(error.to_string()))?;
    let unreadable = |error: aos_format::Error| fail(format!("its frame cannot be read: {error}"));
    let header = FrameHeader::decode(&frame, stride).map_err(unreadable)?;
    let body = Aligned::copy_of(&frame[FRAME_HEADER_LEN as usize..]);
    header.check_body(&body).map_err(unreadable)?;
    let body = &body[..header.body_len as usize];
    let view = RecordView::of_frame(&header, body).map_err(unreadable)?;
    check_values(&header, &view).map_err(unreadable)?;
    let log = parts
        .checkpoint
        .origin
        .strip_prefix("aos.log/")
        .and_then(|rest| aos_format::digest::from_hex::<16>(rest.get(..32)?))
        .ok_or_else(|| fail(format!("{} is no log", parts.checkpoint.origin)))?;
    header
        .belongs(header.offset, LogId(log).salt(), 1)
        .map_err(unreadable)?;
    let leaf = leaf(&header, body, &view);
    let Checkpoint { size, root, .. } = &parts.checkpoint;
    if !check_inclusion(&leaf.hash, index, *size, &hashes, root) {
        return Err(fail(format!(
            "the record at offset {} is not number {index} of the tree with root {root}",
            header.offset
        )));
    }
    Ok(Shown {
        checkpoint: parts.checkpoint.clone(),
        signers: Vec::new(),
        index: Some(index),
        offset: Some(header.offset),
        kind: Kind::from_u8(header.kind).map(Kind::name),
        stream: Some(view.stream()),
        history_digest: Some(leaf.history),
        old_size: None,
    })
}

fn check_old(parts: &Parts<'_>) -> Result<Shown, Error> {
    let fail = |why: String| Error::Proof { why };
    let old = from_base64(field(parts.lines.first(), "old")?)
        .ok_or_else(|| fail("its older checkpoint is not base64".into()))?;
    let (old, _) = read_anchor(&old)?;
    let new = &parts.checkpoint;
    if old.origin != new.origin {
        return Err(fail(format!("{} is not {}", old.origin, new.origin)));
    }
    let hashes = hashes(&parts.lines[1..])?;
    if !check_consistency(old.size, &old.root, new.size, &new.root, &hashes) {
        return Err(fail(format!(
            "the tree of {} records does not continue the one of {}",
            new.size, old.size
        )));
    }
    Ok(Shown {
        checkpoint: new.clone(),
        signers: Vec::new(),
        index: None,
        offset: None,
        kind: None,
        stream: None,
        history_digest: None,
        old_size: Some(old.size),
    })
}

/// The older checkpoint inside a proof that one continues it.
pub(crate) fn older(bytes: &[u8]) -> Result<Checkpoint, Error> {
    let parts = parts(bytes)?;
    let old = from_base64(field(parts.lines.first(), "old")?).unwrap_or_default();
    Ok(read_anchor(&old)?.0)
}
