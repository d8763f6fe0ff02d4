//! Signing again: verify, then append. Payload and old signatures stay as they are.

use crate::container::{Container, NoteBlock};
use crate::error::Error;
use crate::file::NewFile;
use crate::key::Key;
use crate::manifest::Manifest;
use crate::note::NOTE_LEN_MAX;
use crate::seal::signed;
use crate::trust::{Trust, Verifier};
use crate::verify::{Verdict, VerifyOptions, verify};
use aos_format::digest::Digest;
use std::path::Path;

/// Appends a signature of `new` to the archive at `path`, after verifying it with `old`. Returns the note's number in the
/// chain of custody.
///
/// The file is replaced in one step by one that begins with all its bytes.
///
/// # Errors
/// [`Error::Untrusted`] and the first finding when it is not valid by `old`; [`Error::Text`] for a reason that is not one
/// line; [`Error::Io`]. The file is unchanged then.
pub fn resign(
    path: &Path,
    old: &Verifier,
    new: &Key,
    reason: &str,
    workers: usize,
) -> Result<u64, Error> {
    if reason.trim().is_empty() || reason.chars().any(char::is_control) || reason.len() > 1000 {
        return Err(Error::Text {
            what: "reason",
            why: "it must be one line of 1 to 1000 bytes".into(),
        });
    }
    let trust = Trust::of(vec![old.clone()]);
    let found = verify(
        Container::open(path),
        &VerifyOptions {
            trust: Some(&trust),
            anchor: None,
            workers,
        },
    )?;
    if found.verdict != Verdict::Valid {
        return Err(match found.findings.into_iter().next() {
            Some(finding) => finding.error,
            None => Error::Untrusted {
                why: format!("no signature of the old key {}", old.name()),
            },
        });
    }
    let container = Container::open(path)?;
    let manifest = Manifest::decode(&container.manifest)?;
    let number = container.notes.len() as u64;
    let before = container
        .notes
        .last()
        .map_or(Digest::ZERO, NoteBlock::digest);
    let note = signed(
        &manifest,
        &container.manifest,
        number,
        &before,
        Some(reason),
        &[new],
    );
    let block = NoteBlock::encode(note.encode().as_bytes());
    assert!(block.len() < NOTE_LEN_MAX, "one signature and one reason");
    let mut file = NewFile::create(path)?;
    copy(&container, &mut file, 0, container.len)?;
    file.write(&block)?;
    file.replace(path, 0o444)?;
    Ok(number)
}

/// Copies bytes of an archive.
pub(crate) fn copy(
    container: &Container,
    to: &mut NewFile,
    mut at: u64,
    end: u64,
) -> Result<(), Error> {
    while at < end {
        let len = (end - at).min(1 << 20);
        to.write(&container.bytes(at, len as usize)?)?;
        at += len;
    }
    Ok(())
}
