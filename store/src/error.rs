//! What can go wrong with a log, and what the caller should do about it.

use crate::backup::BackupFault;
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error as ThisError;

/// What kind of failure it is: the part a caller decides by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such log, record or value.
    NotFound,
    /// Another process or handle writes this log.
    Busy,
    /// The path holds something else than a log.
    NotALog,
    /// Bytes are not what they were when they were written.
    Damaged,
    /// An offset that should be there is not.
    Gap,
    /// Written by a newer version, or needs features this build lacks.
    Unsupported,
    /// No space is left; nothing was written, the log stays usable.
    Full,
    /// The process may not do this.
    Permission,
    /// An earlier write or sync failed: open the log again.
    Poisoned,
    /// A record is larger than this log can hold.
    TooLarge,
    /// The number of the record is not the next one of its stream.
    Conflict,
    /// The record or option makes no sense.
    Invalid,
    /// The catalogue could not be read or written; the log itself is whole.
    Catalogue,
    /// What is asked for would harm something else: a target in the way, another history.
    Refused,
    /// It was pruned: an archive has it.
    Pruned,
    /// The disk failed.
    Io,
}

/// What is wrong with the bytes of a log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FindingKind {
    /// Bytes fail a CRC, link or rule.
    Corruption,
    /// An offset that should be there is not.
    Gap,
    /// The last group cannot be shown to be whole, or an acknowledged one may be missing.
    TailUnproven,
    /// Bytes are whole, but this build cannot read them.
    Unsupported,
}

impl FindingKind {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            FindingKind::Corruption => "corruption",
            FindingKind::Gap => "gap",
            FindingKind::TailUnproven => "tail_unproven",
            FindingKind::Unsupported => "unsupported",
        }
    }
}

/// One thing that is wrong with a log: where, what was expected, what was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What kind of fault.
    pub kind: FindingKind,
    /// Code of the help page.
    pub code: &'static str,
    /// First byte concerned.
    pub offset: Offset,
    /// Bytes concerned, where that is known.
    pub length: Option<u64>,
    /// Name of the file.
    pub file: String,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at offset {} in {}: expected {}, found {}",
            self.kind.name(),
            self.offset,
            self.file,
            self.expected,
            self.found
        )
    }
}

/// A failed operation on a log.
#[derive(Clone, Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// No log at this path.
    #[error("there is no log at {}", path.display())]
    NoLog {
        /// Path given.
        path: PathBuf,
    },
    /// Another writer has the log.
    #[error("the log {} is open for writing elsewhere", path.display())]
    Busy {
        /// Path of the log.
        path: PathBuf,
    },
    /// The path holds something else.
    #[error("{} is not a log: {why}", path.display())]
    NotALog {
        /// Path given.
        path: PathBuf,
        /// What was found there.
        why: String,
    },
    /// The log's bytes are not as they must be.
    #[error("{0}")]
    Finding(Box<Finding>),
    /// No space for a segment.
    #[error(
        "no space for {need} bytes more at offset {at}; nothing was written and the log stays usable: {source}"
    )]
    Full {
        /// Where the bytes would have gone.
        at: Offset,
        /// Bytes of the record.
        need: u64,
        /// The disk's answer.
        source: Arc<aos_disk::Error>,
    },
    /// The disk refused or failed.
    #[error("{0}")]
    Disk(Arc<aos_disk::Error>),
    /// Whether records were written durably is not known.
    #[error(
        "it is not known whether the records are durable, because a write or sync failed: {why}; open the log again"
    )]
    OutcomeUnknown {
        /// The failure.
        why: String,
    },
    /// The writer stopped after an earlier failure.
    #[error(
        "nothing was written: the writer stopped after an earlier failure: {why}; open the log again"
    )]
    Poisoned {
        /// The failure.
        why: String,
    },
    /// A record beyond the limit.
    #[error(
        "record of {found} bytes in {stream} exceeds this log's limit of {limit} bytes",
        stream = Shown(stream)
    )]
    TooLarge {
        /// Stream it was meant for.
        stream: StreamId,
        /// Length of its body.
        found: u64,
        /// Record limit.
        limit: u64,
    },
    /// A record whose number is not the next one.
    #[error("record number {found} in {stream}: expected {expected}", stream = Shown(stream))]
    Sequence {
        /// Stream it was meant for.
        stream: StreamId,
        /// Next number of the stream.
        expected: u64,
        /// Number given.
        found: u64,
    },
    /// A record or option that makes no sense.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
    },
    /// No durable record stands at that place.
    #[error("no record {what} in this log")]
    NoRecord {
        /// What was asked for.
        what: String,
    },
    /// A value whose bytes are not in the log.
    #[error("value in slot {slot} of record at offset {offset} is not in the log: {why}")]
    NoValue {
        /// The record.
        offset: Offset,
        /// The slot.
        slot: u8,
        /// Never recorded, redacted, or no such slot.
        why: &'static str,
    },
    /// The catalogue failed.
    #[error(
        "the catalogue cannot be used: {why}; open the log again, it is rebuilt from the segments"
    )]
    Catalogue {
        /// What redb said.
        why: String,
        /// Whether the disk was full.
        full: bool,
    },
    /// A backup that cannot be made, continued or restored.
    #[error("{0}")]
    Backup(Box<BackupFault>),
    /// Damage that cutting cannot put right.
    #[error("the log cannot be repaired: {why}")]
    Irreparable {
        /// What is wrong.
        why: String,
    },
    /// What is asked for was pruned.
    #[error(
        "offset {offset} lies in the pruned part of the log, which goes on at {end}: its records are in {archives}"
    )]
    Pruned {
        /// What was asked for.
        offset: Offset,
        /// The pruned point.
        end: Offset,
        /// Names of the archives that hold it.
        archives: String,
    },
    /// Counters of the log are used up.
    #[error("the log has used up its {what}; copy it into a new one")]
    Exhausted {
        /// Which counter.
        what: &'static str,
    },
}

struct Shown<'a>(&'a StreamId);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} stream {}",
            self.0.kind.name(),
            aos_format::digest::hex(&self.0.id)
        )
    }
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NoLog { .. } | Error::NoRecord { .. } | Error::NoValue { .. } => {
                ErrorKind::NotFound
            }
            Error::Busy { .. } => ErrorKind::Busy,
            Error::NotALog { .. } => ErrorKind::NotALog,
            Error::Finding(finding) => match finding.kind {
                FindingKind::Corruption | FindingKind::TailUnproven => ErrorKind::Damaged,
                FindingKind::Gap => ErrorKind::Gap,
                FindingKind::Unsupported => ErrorKind::Unsupported,
            },
            Error::Full { .. } => ErrorKind::Full,
            Error::Disk(error) => match error.kind() {
                aos_disk::Kind::Full => ErrorKind::Full,
                aos_disk::Kind::Permission | aos_disk::Kind::ReadOnly => ErrorKind::Permission,
                aos_disk::Kind::Locked => ErrorKind::Busy,
                _ => ErrorKind::Io,
            },
            Error::OutcomeUnknown { .. } | Error::Poisoned { .. } => ErrorKind::Poisoned,
            Error::TooLarge { .. } => ErrorKind::TooLarge,
            Error::Sequence { .. } => ErrorKind::Conflict,
            Error::Invalid { .. } => ErrorKind::Invalid,
            Error::Catalogue { full: true, .. } => ErrorKind::Full,
            Error::Catalogue { .. } => ErrorKind::Catalogue,
            Error::Backup(fault) => fault.kind(),
            Error::Irreparable { .. } => ErrorKind::Damaged,
            Error::Pruned { .. } => ErrorKind::Pruned,
            Error::Exhausted { .. } => ErrorKind::Unsupported,
        }
    }

    /// Code of the error's help page.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NoLog { .. } => "AOS-S001",
            Error::Busy { .. } => "AOS-S002",
            Error::NotALog { .. } => "AOS-S003",
            Error::Finding(finding) => finding.code,
            Error::Full { .. } => "AOS-S008",
            Error::Disk(error) => match error.kind() {
                aos_disk::Kind::Permission | aos_disk::Kind::ReadOnly => "AOS-S009",
                _ => error.code(),
            },
            Error::OutcomeUnknown { .. } => "AOS-S010",
            Error::Poisoned { .. } => "AOS-S011",
            Error::TooLarge { .. } => "AOS-S012",
            Error::Sequence { .. } => "AOS-S013",
            Error::Invalid { .. } => "AOS-S014",
            Error::NoRecord { .. } => "AOS-S015",
            Error::NoValue { .. } => "AOS-S016",
            Error::Catalogue { .. } => "AOS-S017",
            Error::Backup(fault) => fault.code(),
            Error::Irreparable { .. } => "AOS-B010",
            Error::Exhausted { .. } => "AOS-S018",
            Error::Pruned { .. } => "AOS-S019",
        }
    }

    /// The fault in the log's bytes, when it is one.
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            Error::Finding(finding) => Some(finding),
            _ => None,
        }
    }

    pub(crate) fn not_a_log(path: &Path, why: impl Into<String>) -> Error {
        Error::NotALog {
            path: path.to_owned(),
            why: why.into(),
        }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Error {
        Error::Invalid { what: what.into() }
    }
}

impl From<aos_disk::Error> for Error {
    fn from(error: aos_disk::Error) -> Error {
        Error::Disk(Arc::new(error))
    }
}

impl From<Finding> for Error {
    fn from(finding: Finding) -> Error {
        Error::Finding(Box::new(finding))
    }
}

impl From<BackupFault> for Error {
    fn from(fault: BackupFault) -> Error {
        Error::Backup(Box::new(fault))
    }
}

/// Codes of findings.
pub(crate) mod code {
    /// Bytes fail a CRC, link or rule.
    pub const DAMAGED: &str = "AOS-S004";
    /// An offset is missing.
    pub const GAP: &str = "AOS-S005";
    /// The tail has no proof.
    pub const UNPROVEN: &str = "AOS-S006";
    /// Newer than this build.
    pub const UNSUPPORTED: &str = "AOS-S007";
}
