//! Negative controls: planted faults, of the disk or of the store, that a run must catch.

use aos_disk::sim::{SimDisk, Syncs};
use aos_format::controls;

/// A planted fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// Syncs of files do nothing.
    SyncNothing,
    /// Syncs of files make only some parts durable.
    SyncLies,
    /// Syncs of files come late: writes after one overtake writes before it.
    SyncLate,
    /// Syncs of directories do nothing.
    DirSyncNothing,
    /// A safeguard of the store is off.
    Store(controls::Control),
}

impl Control {
    /// Every control.
    pub fn all() -> Vec<Control> {
        let mut all = vec![
            Control::SyncNothing,
            Control::SyncLies,
            Control::SyncLate,
            Control::DirSyncNothing,
        ];
        all.extend(controls::Control::ALL.map(Control::Store));
        all
    }

    /// Name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Control::SyncNothing => "sync-nothing",
            Control::SyncLies => "sync-lies",
            Control::SyncLate => "sync-late",
            Control::DirSyncNothing => "dir-sync-nothing",
            Control::Store(control) => control.name(),
        }
    }

    /// The control of that name.
    pub fn named(name: &str) -> Option<Control> {
        Control::all().into_iter().find(|c| c.name() == name)
    }

    /// Whether this build can turn it on.
    pub fn is_available(self) -> bool {
        match self {
            Control::Store(_) => controls::AVAILABLE,
            _ => true,
        }
    }

    /// The safeguard of the store that it turns off.
    pub fn in_store(self) -> Option<controls::Control> {
        match self {
            Control::Store(control) => Some(control),
            _ => None,
        }
    }

    /// Makes a disk behave like that.
    pub fn set_on(self, disk: &SimDisk) {
        match self {
            Control::SyncNothing => disk.set_syncs(Syncs::Nothing),
            Control::SyncLies => disk.set_syncs(Syncs::Lying),
            Control::SyncLate => disk.set_syncs(Syncs::Late),
            Control::DirSyncNothing => disk.set_dir_sync_noop(true),
            Control::Store(_) => {}
        }
    }
}
