//! Files and directories: what is visible, what is durable, and what lies between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::content::{Content, Data};
use super::rng::Rng;

/// The identity of a file or directory, whatever its name.
pub(super) type Ino = u64;

/// A change of one file's bytes that no sync has covered yet.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// Position in the order of all changes on the disk.
    pub(super) sequence: u64,
    pub(super) change: Change,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write {
        at: u64,
        data: Data,
        /// Whether the write made the file longer when it was done.
        extends: bool,
    },
    SetLen(u64),
}

/// A part of a change which survives a power cut as a whole or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// One sector of a write, counted from the first that the write touches.
    Sector(u64),
    /// The longer length that a write gave the file, without its bytes.
    Length,
    /// A change that has only one part.
    Whole,
}

impl Change {
    /// All parts, in the order in which they are applied; `sector` bytes are written as a whole.
    pub(super) fn parts(&self, sector: u64) -> Vec<Part> {
        match self {
            Change::SetLen(_) => vec![Part::Whole],
            Change::Write { at, data, extends } => {
                let length = extends.then_some(Part::Length);
                let sectors = (at + data.len()).div_ceil(sector) - at / sector;
                length
                    .into_iter()
                    .chain((0..sectors).map(Part::Sector))
                    .collect()
            }
        }
    }

    pub(super) fn apply(&self, part: Part, sector: u64, content: &mut Content) {
        match (self, part) {
            (Change::SetLen(len), _) => content.set_len(*len),
            (Change::Write { at, data, .. }, Part::Length) => {
                content.set_len(content.len().max(at + data.len()));
            }
            (Change::Write { at, data, .. }, Part::Whole) => {
                content.write(*at, data, 0..data.len())
            }
            (Change::Write { at, data, .. }, Part::Sector(number)) => {
                let start = (at / sector + number) * sector;
                let from = start.saturating_sub(*at);
                let to = (start + sector - at).min(data.len());
                content.write(*at, data, from..to);
            }
        }
    }
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    /// What readers see.
    pub(super) live: Arc<Content>,
    /// What a power cut leaves if nothing pending survives.
    pub(super) durable: Arc<Content>,
    pub(super) pending: Vec<Pending>,
    /// A sync has failed or lied, or a write went elsewhere: `live` holds bytes which are neither durable nor pending.
    pub(super) diverged: bool,
    /// Sequence of the last change before the last sync, for syncs that come late.
    pub(super) synced: u64,
    /// Open handles, locks and maps.
    pub(super) handles: usize,
    /// The settled bounds of the maps in use.
    pub(super) settled: Vec<Weak<AtomicU64>>,
}

impl FileNode {
    pub(super) fn at_rest(content: Arc<Content>) -> Self {
        FileNode {
            live: content.clone(),
            durable: content,
            ..FileNode::default()
        }
    }

    /// Changes the visible bytes and remembers the change as pending.
    pub(super) fn change(&mut self, sequence: u64, change: Change) {
        change.apply(Part::Whole, 1, Arc::make_mut(&mut self.live));
        self.pending.push(Pending { sequence, change });
    }

    /// Changes the visible bytes, and what will be on the medium to something else.
    pub(super) fn change_but_keep(&mut self, sequence: u64, change: Change, kept: Option<Change>) {
        change.apply(Part::Whole, 1, Arc::make_mut(&mut self.live));
        self.diverged = true;
        self.pending
            .extend(kept.map(|change| Pending { sequence, change }));
    }

    /// A sync that comes late: makes durable what was pending at the sync before.
    pub(super) fn sync_late(&mut self, sequence: u64) {
        let durable = Arc::make_mut(&mut self.durable);
        let synced = self.synced;
        self.pending.retain(|pending| {
            let late = pending.sequence > synced;
            if !late {
                pending.change.apply(Part::Whole, 1, durable);
            }
            late
        });
        self.synced = sequence;
    }

    /// Makes everything pending durable.
    pub(super) fn sync(&mut self) {
        let resized = self
            .pending
            .iter()
            .any(|pending| matches!(pending.change, Change::SetLen(_)));
        if resized && !self.diverged {
            self.durable = self.live.clone();
            self.pending.clear();
            return;
        }
        if self.pending.is_empty() {
            return;
        }
        let durable = Arc::make_mut(&mut self.durable);
        for pending in self.pending.drain(..) {
            match &pending.change {
                // Without divergence the pages are equal but for what is pending, so sharing them is the same as
                // writing again, and keeps one copy in memory.
                Change::Write { at, data, .. } if !self.diverged => {
                    durable.take_pages(&self.live, *at, data.len());
                }
                change => change.apply(Part::Whole, 1, durable),
            }
        }
    }

    /// A sync that fails: some parts reached the medium, the others never will.
    pub(super) fn sync_and_fail(&mut self, sector: u64, rng: &mut Rng) {
        let durable = Arc::make_mut(&mut self.durable);
        for pending in self.pending.drain(..) {
            for part in pending.change.parts(sector) {
                if rng.coin() {
                    pending.change.apply(part, sector, durable);
                }
            }
        }
        self.diverged = true;
    }

    /// The largest bound below which some map in use lends bytes.
    pub(super) fn settled(&mut self) -> u64 {
        self.settled.retain(|bound| bound.strong_count() > 0);
        let bounds = self.settled.iter().filter_map(Weak::upgrade);
        bounds
            .map(|bound| bound.load(Ordering::Acquire))
            .max()
            .unwrap_or(0)
    }
}

/// A directory: name to identity.
pub(super) type Names = BTreeMap<String, Ino>;

/// All directories, in one of two states: visible or durable.
pub(super) type Dirs = BTreeMap<Ino, Arc<Names>>;

/// One change of one name: what it points to from now on.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    pub(super) dir: Ino,
    pub(super) name: String,
    pub(super) target: Option<Ino>,
}

/// A change of names that is durable as a whole or not at all, and not yet durable.
#[derive(Clone, Debug)]
pub(super) struct PendingEdit {
    pub(super) sequence: u64,
    pub(super) edits: Vec<Edit>,
    /// The directories that still have to be synced for it.
    pub(super) waits_for: BTreeSet<Ino>,
}

impl PendingEdit {
    pub(super) fn touches(&self, dir: Ino) -> bool {
        self.edits.iter().any(|edit| edit.dir == dir)
    }

    /// Applies it to the visible names, which it was made for.
    pub(super) fn apply(&self, dirs: &mut Dirs) {
        for edit in &self.edits {
            if let Some(names) = dirs.get_mut(&edit.dir) {
                let names = Arc::make_mut(names);
                match edit.target {
                    Some(ino) => names.insert(edit.name.clone(), ino),
                    None => names.remove(&edit.name),
                };
            }
        }
    }

    /// Applies it to names that may lack earlier changes. Whatever got lost, nothing may end up with two names: that
    /// would be a hard link, which nobody made.
    pub(super) fn apply_alone(&self, dirs: &mut Dirs) {
        for target in self.edits.iter().filter_map(|edit| edit.target) {
            for names in dirs.values_mut() {
                if names.values().any(|ino| *ino == target) {
                    Arc::make_mut(names).retain(|_, ino| *ino != target);
                }
            }
        }
        self.apply(dirs);
    }
}
