//! Faults: which operations fail, and how.

use std::path::{Path, PathBuf};

use super::OpKind;
use crate::{Error, Kind};

/// How an operation fails: the first five say so, the others say that all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The medium fails (EIO).
    Io,
    /// No space left (ENOSPC).
    Full,
    /// Not allowed (EACCES).
    Permission,
    /// Broken off by a signal (EINTR).
    Interrupted,
    /// Fewer bytes than asked for: a read gives the beginning, a write leaves it and fails.
    Short,
    /// A sync makes nothing durable; what is pending stays so, for the next sync.
    SyncLost,
    /// A sync makes some parts durable; the others stay visible and are gone after a power cut.
    SyncLies,
    /// A write lands elsewhere on the medium, in this file or another; a read gives the bytes of another place.
    Misdirected,
    /// One bit is wrong: of what a write leaves on the medium, or of what a read gives.
    Rot,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 9] = [
        Fault::Io,
        Fault::Full,
        Fault::Permission,
        Fault::Interrupted,
        Fault::Short,
        Fault::SyncLost,
        Fault::SyncLies,
        Fault::Misdirected,
        Fault::Rot,
    ];

    /// Name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::Io => "EIO",
            Fault::Full => "ENOSPC",
            Fault::Permission => "EACCES",
            Fault::Interrupted => "EINTR",
            Fault::Short => "short",
            Fault::SyncLost => "sync-lost",
            Fault::SyncLies => "sync-lies",
            Fault::Misdirected => "misdirected",
            Fault::Rot => "rot",
        }
    }

    /// Whether the operation that it hits says that all is well.
    #[must_use]
    pub fn is_silent(self) -> bool {
        match self {
            Fault::Io | Fault::Full | Fault::Permission | Fault::Interrupted | Fault::Short => {
                false
            }
            Fault::SyncLost | Fault::SyncLies | Fault::Misdirected | Fault::Rot => true,
        }
    }

    /// Whether it can do anything to an operation of that kind.
    #[must_use]
    pub fn can_hit(self, kind: OpKind) -> bool {
        let syncs = matches!(kind, OpKind::SyncData | OpKind::SyncAll | OpKind::SyncDir);
        let moves_bytes = matches!(kind, OpKind::Write | OpKind::Read);
        match self {
            Fault::Io | Fault::Permission | Fault::Interrupted => true,
            Fault::Full => kind != OpKind::Read,
            Fault::Short | Fault::Misdirected | Fault::Rot => moves_bytes,
            Fault::SyncLost | Fault::SyncLies => syncs,
        }
    }

    pub(super) fn error(self, operation: &'static str, path: &Path) -> Error {
        let (kind, why) = match self {
            Fault::Io => (Kind::Io, "simulated failure of the medium"),
            Fault::Full => (Kind::Full, "simulated full disk"),
            Fault::Permission => (Kind::Permission, "simulated refusal"),
            Fault::Interrupted => (Kind::Interrupted, "simulated signal"),
            Fault::Short => (Kind::Io, "simulated short write"),
            Fault::SyncLost | Fault::SyncLies | Fault::Misdirected | Fault::Rot => {
                (Kind::Io, "simulated fault that is not told")
            }
        };
        Error::new(operation, path, kind, why)
    }
}

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Only the operation of that number fails.
    Once,
    /// That operation and all later ones fail.
    Forever,
}

/// A fault that hit an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struck {
    /// What happened.
    pub fault: Fault,
    /// To what.
    pub kind: OpKind,
    /// Of which file or directory.
    pub path: PathBuf,
}

/// The faults planned for one numbering.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan(Vec<(u64, Fault, Persistence)>);

impl Plan {
    pub(super) fn add(&mut self, number: u64, fault: Fault, persistence: Persistence) {
        self.0.push((number, fault, persistence));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault for the operation of this number; of those that can hit its kind, the one planned first.
    pub(super) fn fault(&self, number: u64, kind: OpKind) -> Option<Fault> {
        let hits = |at: u64, persistence| match persistence {
            Persistence::Once => number == at,
            Persistence::Forever => number >= at,
        };
        self.0
            .iter()
            .find(|(at, fault, persistence)| hits(*at, *persistence) && fault.can_hit(kind))
            .map(|(_, fault, _)| *fault)
    }
}
