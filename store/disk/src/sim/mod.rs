//! A disk that lives in memory, does exactly what a disk may do, and can lose power at any operation.
//!
//! It keeps apart what is **visible** (every reader sees it), what is **pending** (done, but not yet synced) and what
//! is **durable**. A power cut keeps the durable part and any choice of the pending parts:
//!
//! ```text
//! change                       its parts, each surviving on its own        durable after
//! write of bytes               every sector it touches (512 bytes);          sync_data or sync_all of the file
//!                              if it extends the file: the length alone
//! set_len                      one                                         sync_data or sync_all of the file
//! create, create_dir, remove   one                                         sync_dir of the directory
//! rename                       one (never half)                            sync_dir of both directories
//! ```
//!
//! Survivors are applied in the order in which they were made, unless a policy asks for any order. Sectors can be made
//! 4096 bytes long. Bytes outside a write are never harmed by it, not even
//! in the same sector.
//!
//! Everything that changes something is an **operation** and has a number, from 1. A test runs its work once, asks
//! [`SimDisk::ops`], and then runs it again for every number with [`SimDisk::crash_at`] and looks at every
//! [`SimDisk::crash_image`]. All choices come from seeds, so the same work gives the same disk, provided that it does
//! its operations in the same order.

mod bytes;
mod content;
mod fault;
mod file;
mod image;
mod node;
mod rng;
mod state;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

pub use fault::{Fault, Persistence, Struck};
pub(crate) use file::SimMap;

use crate::{Disk, Error, File, Kind, Lock, OpenMode};
use content::{Content, Data};
use file::{DirHolder, Handle, Holder, SimFile};
use node::{Edit, FileNode};
use state::{ROOT, State};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// Bytes are written.
    Write,
    /// A file is cut or extended.
    SetLen,
    /// `sync_data` of a file.
    SyncData,
    /// `sync_all` of a file.
    SyncAll,
    /// A file or directory gets another name.
    Rename,
    /// A name is taken away.
    Remove,
    /// A file is created.
    Create,
    /// A directory is created.
    CreateDir,
    /// The names of a directory are synced.
    SyncDir,
    /// Bytes, names or lengths are read; reads have numbers of their own.
    Read,
}

impl OpKind {
    fn verb(self) -> &'static str {
        match self {
            OpKind::Write => "write",
            OpKind::SetLen => "set the length of",
            OpKind::SyncData | OpKind::SyncAll => "sync",
            OpKind::Rename => "rename",
            OpKind::Remove => "remove",
            OpKind::Create => "create",
            OpKind::CreateDir => "create directory",
            OpKind::SyncDir => "sync directory",
            OpKind::Read => "read",
        }
    }
}

/// An operation that was tried, successfully or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its number, from 1.
    pub number: u64,
    /// What it does.
    pub kind: OpKind,
    /// The file or directory; for a rename the old name.
    pub path: PathBuf,
}

/// Shown as `7: write log/segments/00.seg`.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, kind) = (self.number, self.kind);
        write!(f, "{number}: {kind:?} {}", self.path.display())
    }
}

/// Which pending parts a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Only what is durable.
    None,
    /// Everything pending as well.
    All,
    /// A choice by this seed: of each change everything, nothing, or any of its parts.
    Subset(u64),
    /// A choice as by `Subset`, where the surviving sectors of a file reach the medium in any order.
    Shuffled(u64),
    /// Part number i, counted from 0 in the order of [`SimDisk::pending_units`], if bit i is set. Parts from number 64
    /// on are lost.
    Mask(u64),
}

/// What syncs of files do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Syncs {
    /// What they say.
    #[default]
    Honest,
    /// Nothing.
    Nothing,
    /// Some parts become durable, the others never will.
    Lying,
    /// What was pending at the sync before becomes durable, so that later writes can overtake earlier ones.
    Late,
}

/// A simulated disk. Clones are the same disk. See the [module](self).
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl Default for SimDisk {
    fn default() -> Self {
        SimDisk::new()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("SimDisk")
            .field("seed", &state.seed)
            .field("ops", &state.ops.len())
            .field("crashed", &state.crashed)
            .finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk with seed 0.
    #[must_use]
    pub fn new() -> Self {
        SimDisk::with_seed(0)
    }

    /// An empty disk; the seed decides what failing writes and syncs leave behind.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        SimDisk::of(State::new(seed))
    }

    fn of(state: State) -> Self {
        SimDisk {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// How many operations were tried so far.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.state.lock().ops.len() as u64
    }

    /// The operations tried so far, in order.
    #[must_use]
    pub fn op_log(&self) -> Vec<Op> {
        self.state.lock().ops.clone()
    }

    /// How many reads were tried so far: of bytes, names and lengths.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.state.lock().reads
    }

    /// Cuts the power when operation `number` is tried: it and everything after it, reads included, fails with
    /// [`Kind::Crashed`] and changes nothing. A number that is already past means the next operation.
    pub fn crash_at(&self, number: u64) {
        self.state.lock().crash_at = Some(number);
    }

    /// Cuts the power right after operation `number`, whose changes are pending then.
    pub fn crash_after(&self, number: u64) {
        self.crash_at(number.saturating_add(1));
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// The disk as the machine would find it if the power went out now, or had gone out when it did. It is at rest:
    /// nothing pending, no locks, operations counted from 1, no faults planned; capacity and seed are kept.
    #[must_use]
    pub fn crash_image(&self, policy: Policy) -> SimDisk {
        SimDisk::of(self.state.lock().crash_image(policy))
    }

    /// The disk as the next process would find it if this one were killed now: everything written is visible, and
    /// what is pending stays pending, so that a later power cut may still take it. Otherwise as
    /// [`SimDisk::crash_image`].
    #[must_use]
    pub fn process_crash_image(&self) -> SimDisk {
        SimDisk::of(self.state.lock().process_crash_image())
    }

    /// The disk as another process sees it now, or when the power went: as [`SimDisk::process_crash_image`], but whoever
    /// held a lock holds it still.
    #[must_use]
    pub fn frozen_image(&self) -> SimDisk {
        let state = self.state.lock();
        let mut image = state.process_crash_image();
        image.locks = match state.crashed {
            true => state.locks_then.clone(),
            false => state.locks.clone(),
        };
        SimDisk::of(image)
    }

    /// The operation that met the power cut, and the file or directory it was about.
    #[must_use]
    pub fn crashed_in(&self) -> Option<(OpKind, PathBuf)> {
        self.state.lock().crashed_in.clone()
    }

    /// How many parts of pending changes would survive or be lost independently if the power went out now.
    #[must_use]
    pub fn pending_units(&self) -> usize {
        self.state.lock().pending_units()
    }

    /// Makes operation `number` fail, or all from it on.
    ///
    /// A failing write leaves the beginning of its bytes, of random length, pending. A failing sync leaves some parts
    /// durable and the others visible but clean: no later sync makes them durable. Everything else that fails changes
    /// nothing. A fault that cannot hit the operation ([`Fault::can_hit`]) does nothing.
    pub fn fail_op(&self, number: u64, fault: Fault, persistence: Persistence) {
        let mut state = self.state.lock();
        state.op_faults.add(number, fault, persistence);
    }

    /// Makes read `number` fail, or all from it on; numbered as [`SimDisk::reads`] counts.
    pub fn fail_read(&self, number: u64, fault: Fault, persistence: Persistence) {
        let mut state = self.state.lock();
        state.read_faults.add(number, fault, persistence);
    }

    /// The faults that hit something so far.
    #[must_use]
    pub fn struck(&self) -> Vec<Struck> {
        self.state.lock().struck.clone()
    }

    /// Forgets all planned faults; the damage done stays.
    pub fn clear_faults(&self) {
        let mut state = self.state.lock();
        state.op_faults.clear();
        state.read_faults.clear();
    }

    /// What syncs of files do from now on; anything but honest ones is a negative control.
    pub fn set_syncs(&self, syncs: Syncs) {
        self.state.lock().syncs = syncs;
    }

    /// A negative control: syncs of files say that all is well and make nothing durable.
    pub fn set_sync_noop(&self, noop: bool) {
        self.set_syncs(if noop { Syncs::Nothing } else { Syncs::Honest });
    }

    /// A negative control: syncs of directories say that all is well and make nothing durable.
    pub fn set_dir_sync_noop(&self, noop: bool) {
        self.state.lock().dir_sync_noop = noop;
    }

    /// How many bytes are written as a whole when the power goes: 512, which is usual, or 4096.
    ///
    /// # Panics
    /// For any other number.
    pub fn set_sector(&self, bytes: u64) {
        assert!(matches!(bytes, 512 | 4096), "a sector of 512 or 4096 bytes");
        self.state.lock().sector = bytes;
    }

    /// A hash of everything that can be seen: names, lengths and bytes. Two disks at rest with the same one are the same,
    /// as far as 64 bits can tell.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for path in self.files() {
            path.hash(&mut hasher);
            if let Some(content) = self.state.lock().content(&path) {
                content.hash_into(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// Limits the bytes that files may allocate together, in blocks of 4096; beyond it a write fails with
    /// [`Kind::Full`] after the part that still fits. Holes take no space, so `set_len` never meets the limit; zeros
    /// that were written do take space. `None` is no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// The bytes that files have allocated together.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.state.lock().allocated()
    }

    /// The visible content of a file, `None` if there is none. Works without power.
    #[must_use]
    pub fn peek(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.content(path).map(|content| content.to_vec())
    }

    /// The paths of all visible files, sorted. Works without power.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let state = self.state.lock();
        let mut found = Vec::new();
        let mut open = vec![(ROOT, PathBuf::new())];
        while let Some((dir, path)) = open.pop() {
            for (name, ino) in state.live.get(&dir).into_iter().flat_map(|d| d.iter()) {
                let path = path.join(name);
                if state.is_dir(*ino) {
                    open.push((*ino, path));
                } else {
                    found.push(path);
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Replaces the content of a file at rest: visible and durable at once, no operation, works without power. A
    /// missing file is created, with its directories.
    ///
    /// # Errors
    /// If the path is a directory or a file is in its way.
    pub fn poke(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let mut state = self.state.lock();
        let content = Arc::new(Content::of(bytes));
        let ino = match state.find(path) {
            Some(ino) => ino,
            None => state.create_at_rest(path)?,
        };
        let Some(file) = state.files.get_mut(&ino) else {
            return Err(Error::new("poke", path, Kind::Io, "it is a directory"));
        };
        file.live = content.clone();
        file.durable = content;
        file.pending.clear();
        file.diverged = false;
        Ok(())
    }

    /// Changes bytes of a file at rest, visible and durable, whatever is pending; the file grows if need be.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn poke_at(&self, path: &Path, bytes: &[u8], at: u64) -> Result<(), Error> {
        let mut state = self.state.lock();
        let ino = state.find(path);
        let Some(file) = ino.and_then(|ino| state.files.get_mut(&ino)) else {
            return Err(Error::new("poke", path, Kind::NotFound, "no such file"));
        };
        let data = Data::of(bytes);
        for content in [&mut file.live, &mut file.durable] {
            Arc::make_mut(content).write(at, &data, 0..data.len());
        }
        Ok(())
    }

    /// Every time that bytes which a map in use had been told are settled were changed or cut off; must be empty.
    ///
    /// On a real disk this would be undefined behaviour, see [`Map::settle`](crate::Map::settle).
    #[must_use]
    pub fn broken_promises(&self) -> Vec<String> {
        self.state.lock().broken_promises.clone()
    }
}

impl State {
    /// An empty file with all its directories, durable.
    fn create_at_rest(&mut self, path: &Path) -> Result<u64, Error> {
        let names = state::names(path);
        let mut dir = ROOT;
        for (depth, name) in names.iter().enumerate() {
            let Some(entries) = self.live.get(&dir) else {
                return Err(Error::new("poke", path, Kind::Io, "a file is in the way"));
            };
            let ino = match entries.get(name) {
                Some(found) => *found,
                None if depth + 1 < names.len() => self.new_dir(),
                None => self.new_file(FileNode::default()),
            };
            let edit = Edit {
                dir,
                name: name.clone(),
                target: Some(ino),
            };
            let at_rest = node::PendingEdit {
                sequence: 0,
                edits: vec![edit],
                waits_for: Default::default(),
            };
            at_rest.apply(&mut self.live);
            at_rest.apply(&mut self.durable);
            dir = ino;
        }
        Ok(dir)
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, path: &Path) -> Result<(), Error> {
        self.state.lock().create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, Error> {
        self.state.lock().list(dir)
    }

    fn exists(&self, path: &Path) -> Result<bool, Error> {
        let state = self.state.lock();
        state.alive("look for", path)?;
        Ok(state.find(path).is_some())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>, Error> {
        let ino = self.state.lock().open(path, mode)?;
        Ok(Arc::new(SimFile {
            handle: Handle::new(self.state.clone(), ino, path),
            writes: mode.writes(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.state.lock().rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<(), Error> {
        self.state.lock().remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), Error> {
        self.state.lock().sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> Result<Lock, Error> {
        let taken = |state: &mut State, ino| {
            let why = "another process or handle holds the lock";
            let free = state.locks.insert(ino);
            free.then_some(())
                .ok_or_else(|| Error::new("lock", path, Kind::Locked, why))
        };
        let mut state = self.state.lock();
        state.alive("lock", path)?;
        if let Some(ino) = state.find(path).filter(|ino| state.is_dir(*ino)) {
            taken(&mut state, ino)?;
            return Ok(Lock::new(DirHolder(self.state.clone(), ino)));
        }
        let ino = state.open(path, OpenMode::CreateOrOpen)?;
        drop(state);
        let handle = Handle::new(self.state.clone(), ino, path);
        taken(&mut self.state.lock(), ino)?;
        Ok(Lock::new(Holder(handle)))
    }

    fn is_locked(&self, path: &Path) -> Result<bool, Error> {
        let state = self.state.lock();
        state.alive("ask for the lock of", path)?;
        Ok(state
            .find(path)
            .is_some_and(|ino| state.locks.contains(&ino)))
    }
}
