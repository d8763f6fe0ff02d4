//! What can go wrong with archives and keys, and what the caller should do about it.

use std::path::{Path, PathBuf};
use thiserror::Error as ThisError;

/// What kind of failure it is: the part a caller decides by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No such file, run, record or value.
    NotFound,
    /// Bytes are not what they were when they were written.
    Damaged,
    /// No trusted signature, or a rule forbids it.
    Refused,
    /// Not everything that is needed is there.
    Incomplete,
    /// Written by a newer version.
    Unsupported,
    /// The arguments make no sense.
    Invalid,
    /// The file system failed or refused.
    Io,
}

/// A failed operation on an archive, a key or a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The file is something else.
    #[error("not a golden archive: {why}")]
    NotAnArchive {
        /// What was found.
        why: String,
    },
    /// Bytes fail a checksum, a length or a rule.
    #[error("damaged at byte {at} ({place}): expected {expected}, found {found}")]
    Corrupt {
        /// Byte of the file.
        at: u64,
        /// Which part of it.
        place: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Checksums hold, but digests or signatures do not.
    #[error("tampered with at byte {at} ({place}): expected {expected}, found {found}")]
    Tampered {
        /// Byte of the file.
        at: u64,
        /// Which part of it.
        place: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// No signature by a key that counts.
    #[error("not trusted: {why}")]
    Untrusted {
        /// What is missing.
        why: String,
    },
    /// Whole as far as it goes, but something is missing.
    #[error("incomplete: {why}")]
    Incomplete {
        /// What is missing.
        why: String,
    },
    /// Written by another version.
    #[error("the archive has format version {found}, this build reads version 1")]
    Newer {
        /// Version in the file.
        found: u16,
    },
    /// An archive is never overwritten.
    #[error("{} is there already", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The selection contains nothing, or something that cannot be sealed.
    #[error("cannot seal: {why}")]
    Selection {
        /// What is wrong with it.
        why: String,
    },
    /// There is no such record or value.
    #[error("the archive has no {what}")]
    NoRecord {
        /// What was asked for.
        what: String,
    },
    /// A proof that proves nothing.
    #[error("the proof does not hold: {why}")]
    Proof {
        /// Which part.
        why: String,
    },
    /// Text that is no checkpoint, note or proof.
    #[error("{what} cannot be read: {why}")]
    Text {
        /// Which text.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A checkpoint that contradicts one seen before.
    #[error("fork of {origin}: {why}")]
    Fork {
        /// The log.
        origin: String,
        /// How the two differ.
        why: String,
    },
    /// A rule that protects the last copy forbids it.
    #[error("refused: {why}")]
    Kept {
        /// The rule.
        why: String,
    },
    /// The log could not be read.
    #[error("{said}")]
    Store {
        /// The code of the store's error.
        code: &'static str,
        /// What the store said.
        said: String,
        /// Whether its bytes are at fault.
        damaged: bool,
    },
    /// The file system failed.
    #[error("cannot {operation} {}: {why}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        why: String,
        /// Whether the file is missing.
        missing: bool,
    },
    /// A secret that others could read or replace.
    #[error("the key file {} is not safe: {why}", path.display())]
    UnsafeKeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Bytes that are no key.
    #[error("{what} cannot be read: {why}")]
    BadKey {
        /// Key or trust file.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// The key cannot do that.
    #[error("key {name} cannot be used: {why}")]
    KeyUse {
        /// Name of the key.
        name: String,
        /// Why not.
        why: String,
    },
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NotAnArchive { .. } | Error::Corrupt { .. } | Error::Tampered { .. } => {
                ErrorKind::Damaged
            }
            Error::Untrusted { .. } | Error::Exists { .. } | Error::Fork { .. } => {
                ErrorKind::Refused
            }
            Error::Kept { .. } | Error::UnsafeKeyFile { .. } => ErrorKind::Refused,
            Error::Incomplete { .. } => ErrorKind::Incomplete,
            Error::Newer { .. } => ErrorKind::Unsupported,
            Error::Selection { .. } | Error::Text { .. } => ErrorKind::Invalid,
            Error::BadKey { .. } | Error::KeyUse { .. } => ErrorKind::Invalid,
            Error::NoRecord { .. } => ErrorKind::NotFound,
            Error::Proof { .. } => ErrorKind::Damaged,
            Error::Store { damaged: true, .. } => ErrorKind::Damaged,
            Error::Io { missing: true, .. } => ErrorKind::NotFound,
            Error::Store { .. } | Error::Io { .. } => ErrorKind::Io,
        }
    }

    /// Code of the error's help page.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NotAnArchive { .. } => "AOS-G001",
            Error::Corrupt { .. } => "AOS-G002",
            Error::Tampered { .. } => "AOS-G003",
            Error::Untrusted { .. } => "AOS-G004",
            Error::Incomplete { .. } => "AOS-G005",
            Error::Newer { .. } => "AOS-G006",
            Error::Exists { .. } => "AOS-G007",
            Error::Selection { .. } => "AOS-G008",
            Error::NoRecord { .. } => "AOS-G009",
            Error::Proof { .. } => "AOS-G010",
            Error::Text { .. } => "AOS-G011",
            Error::Fork { .. } => "AOS-G012",
            Error::Kept { .. } => "AOS-G013",
            Error::Store { code, .. } => code,
            Error::Io { .. } => "AOS-G014",
            Error::UnsafeKeyFile { .. } => "AOS-K001",
            Error::BadKey { .. } => "AOS-K002",
            Error::KeyUse { .. } => "AOS-K003",
        }
    }

    pub(crate) fn io<'a>(
        operation: &'static str,
        path: &'a Path,
    ) -> impl Fn(std::io::Error) -> Error + 'a {
        move |error| Error::Io {
            operation,
            path: path.to_owned(),
            missing: error.kind() == std::io::ErrorKind::NotFound,
            why: error.to_string(),
        }
    }
}

impl From<aos_store::Error> for Error {
    fn from(error: aos_store::Error) -> Error {
        use aos_store::ErrorKind as Kind;
        Error::Store {
            code: error.code(),
            damaged: matches!(error.kind(), Kind::Damaged | Kind::Gap | Kind::Unsupported),
            said: error.to_string(),
        }
    }
}

impl From<Error> for aos_store::Error {
    /// An archive's fault as a reader of logs meets it: a finding at the byte of the file.
    fn from(error: Error) -> aos_store::Error {
        let at = match &error {
            Error::Corrupt { at, .. } | Error::Tampered { at, .. } => *at,
            _ => 0,
        };
        aos_store::Finding {
            kind: aos_store::FindingKind::Corruption,
            code: error.code(),
            offset: aos_format::offset::Offset(at),
            length: None,
            file: "golden archive".into(),
            expected: "an archive that can be read".into(),
            found: error.to_string(),
        }
        .into()
    }
}
