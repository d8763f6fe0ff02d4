//! What can be wrong with a backup.

use crate::error::ErrorKind;
use aos_format::offset::Offset;
use std::path::PathBuf;
use thiserror::Error as ThisError;

/// Why a backup was not made, continued or restored. Nothing that counted before has changed.
#[derive(Clone, PartialEq, Eq, Debug, ThisError)]
#[non_exhaustive]
pub enum BackupFault {
    /// Its bytes are not those that were copied.
    #[error("backup {} is damaged in {file}: expected {expected}, found {found}", path.display())]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// File in it, relative to it.
        file: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The log is not the one, or no longer the one, that the backup was made from.
    #[error("backup {} cannot continue: {why}", path.display())]
    OtherHistory {
        /// The backup.
        path: PathBuf,
        /// Which log, or where they part.
        why: String,
    },
    /// Something stands where a backup or a log is to be made.
    #[error("{} is in the way: {what}", path.display())]
    InTheWay {
        /// The target.
        path: PathBuf,
        /// What stands there.
        what: String,
    },
    /// There is no finished backup.
    #[error("there is no finished backup at {}", path.display())]
    Missing {
        /// Path given.
        path: PathBuf,
    },
    /// An offset that the backup does not reach.
    #[error("the backup ends at offset {end}, before {asked}")]
    Beyond {
        /// Offset asked for.
        asked: Offset,
        /// Where the backup ends.
        end: Offset,
    },
    /// A newer version made it.
    #[error("backup {} is of form {found:?}; this build reads aos.backup.v1", path.display())]
    Newer {
        /// The backup.
        path: PathBuf,
        /// What its manifest says.
        found: String,
    },
}

impl BackupFault {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            BackupFault::Damaged { .. } => ErrorKind::Damaged,
            BackupFault::OtherHistory { .. } | BackupFault::InTheWay { .. } => ErrorKind::Refused,
            BackupFault::Missing { .. } | BackupFault::Beyond { .. } => ErrorKind::NotFound,
            BackupFault::Newer { .. } => ErrorKind::Unsupported,
        }
    }

    /// Code of the help page.
    pub fn code(&self) -> &'static str {
        match self {
            BackupFault::Damaged { .. } => "AOS-B001",
            BackupFault::OtherHistory { .. } => "AOS-B002",
            BackupFault::InTheWay { .. } => "AOS-B003",
            BackupFault::Missing { .. } => "AOS-B004",
            BackupFault::Beyond { .. } => "AOS-B005",
            BackupFault::Newer { .. } => "AOS-B006",
        }
    }
}
