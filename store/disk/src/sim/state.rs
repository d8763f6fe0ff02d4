//! The state behind a simulated disk, and every operation on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::content::SECTOR;
use super::fault::{Fault, Plan, Struck};
use super::node::{Dirs, Edit, FileNode, Ino, PendingEdit};
use super::rng::Rng;
use super::{Op, OpKind, Syncs};
use crate::{Error, Kind, OpenMode};

/// The root directory; it is always durable.
pub(super) const ROOT: Ino = 0;

#[derive(Debug)]
pub(super) struct State {
    pub(super) seed: u64,
    pub(super) files: BTreeMap<Ino, FileNode>,
    /// Names as everybody sees them.
    pub(super) live: Dirs,
    /// Names as they are on the medium. Has every directory that `live` has, reachable or not.
    pub(super) durable: Dirs,
    pub(super) edits: Vec<PendingEdit>,
    pub(super) locks: BTreeSet<Ino>,
    pub(super) next_ino: Ino,
    /// The order of all changes on this disk and its ancestors.
    pub(super) sequence: u64,
    pub(super) capacity: Option<u64>,
    pub(super) ops: Vec<Op>,
    pub(super) reads: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: bool,
    /// The operation that met the power cut, and the locks held then.
    pub(super) crashed_in: Option<(OpKind, PathBuf)>,
    pub(super) locks_then: BTreeSet<Ino>,
    pub(super) op_faults: Plan,
    pub(super) read_faults: Plan,
    pub(super) struck: Vec<Struck>,
    pub(super) syncs: Syncs,
    pub(super) dir_sync_noop: bool,
    /// What a power cut leaves whole, bytes.
    pub(super) sector: u64,
    pub(super) broken_promises: Vec<String>,
}

/// An operation that got its number, and the fault that is planned for it.
pub(super) struct Begun {
    pub(super) number: u64,
    pub(super) fault: Option<Fault>,
}

/// The names of a path from the root on; `.` and `..` are resolved, a leading `/` means nothing.
pub(super) fn names(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => {
                names.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    names
}

fn no_such(operation: &'static str, path: &Path) -> Error {
    Error::new(operation, path, Kind::NotFound, "no such file or directory")
}

fn is_directory(operation: &'static str, path: &Path) -> Error {
    Error::new(operation, path, Kind::Io, "it is a directory")
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        let root = Dirs::from([(ROOT, Arc::default())]);
        State {
            seed,
            files: BTreeMap::new(),
            live: root.clone(),
            durable: root,
            edits: Vec::new(),
            locks: BTreeSet::new(),
            next_ino: ROOT + 1,
            sequence: 0,
            capacity: None,
            ops: Vec::new(),
            reads: 0,
            crash_at: None,
            crashed: false,
            crashed_in: None,
            locks_then: BTreeSet::new(),
            op_faults: Plan::default(),
            read_faults: Plan::default(),
            struck: Vec::new(),
            syncs: Syncs::Honest,
            dir_sync_noop: false,
            sector: SECTOR,
            broken_promises: Vec::new(),
        }
    }

    // --- numbering -------------------------------------------------------------------------------------------------

    /// Fails once the power is gone.
    pub(super) fn alive(&self, operation: &'static str, path: &Path) -> Result<(), Error> {
        if self.crashed {
            let why = "the simulated machine has lost power";
            return Err(Error::new(operation, path, Kind::Crashed, why));
        }
        Ok(())
    }

    /// Gives a mutating operation its number; everything it does comes after this.
    pub(super) fn begin(&mut self, kind: OpKind, path: &Path) -> Result<Begun, Error> {
        let number = self.ops.len() as u64 + 1;
        if self.crash_at.is_some_and(|at| number >= at) && !self.crashed {
            self.crashed = true;
            self.crashed_in = Some((kind, path.to_owned()));
            self.locks_then.clone_from(&self.locks);
        }
        self.alive(kind.verb(), path)?;
        self.ops.push(Op {
            number,
            kind,
            path: path.into(),
        });
        let fault = self.op_faults.fault(number, kind);
        if let Some(fault) = fault {
            self.strike(fault, kind, path);
        }
        Ok(Begun { number, fault })
    }

    fn strike(&mut self, fault: Fault, kind: OpKind, path: &Path) {
        let path = path.to_owned();
        self.struck.push(Struck { fault, kind, path });
    }

    /// The same for operations that leave no trace when they fail.
    pub(super) fn begin_or_fail(&mut self, kind: OpKind, path: &Path) -> Result<(), Error> {
        match self.begin(kind, path)?.fault {
            Some(fault) => Err(fault.error(kind.verb(), path)),
            None => Ok(()),
        }
    }

    /// Gives a read its number; the fault that is planned for it, if it has one.
    pub(super) fn begin_read(
        &mut self,
        operation: &'static str,
        path: &Path,
    ) -> Result<Option<Fault>, Error> {
        self.alive(operation, path)?;
        self.reads += 1;
        let fault = self.read_faults.fault(self.reads, OpKind::Read);
        if let Some(fault) = fault {
            self.strike(fault, OpKind::Read, path);
        }
        Ok(fault)
    }

    /// The same for what fails or does not.
    pub(super) fn begin_look(&mut self, operation: &'static str, path: &Path) -> Result<(), Error> {
        match self.begin_read(operation, path)? {
            Some(fault) if !fault.is_silent() => Err(fault.error(operation, path)),
            _ => Ok(()),
        }
    }

    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    // --- names -----------------------------------------------------------------------------------------------------

    /// What a path names, if anything.
    pub(super) fn find(&self, path: &Path) -> Option<Ino> {
        names(path)
            .iter()
            .try_fold(ROOT, |ino, name| self.live.get(&ino)?.get(name).copied())
    }

    pub(super) fn is_dir(&self, ino: Ino) -> bool {
        self.live.contains_key(&ino)
    }

    fn dir(&self, operation: &'static str, path: &Path) -> Result<Ino, Error> {
        let ino = self.find(path).ok_or_else(|| no_such(operation, path))?;
        if !self.is_dir(ino) {
            return Err(Error::new(
                operation,
                path,
                Kind::Io,
                "it is not a directory",
            ));
        }
        Ok(ino)
    }

    /// The directory that has or would have the last name of a path, and that name.
    fn place(&self, operation: &'static str, path: &Path) -> Result<(Ino, String), Error> {
        let mut names = names(path);
        let Some(last) = names.pop() else {
            return Err(is_directory(operation, path)); // the root
        };
        let mut ino = ROOT;
        for name in &names {
            let entries = self
                .live
                .get(&ino)
                .ok_or_else(|| Error::new(operation, path, Kind::Io, "a file is in the way"))?;
            ino = *entries.get(name).ok_or_else(|| no_such(operation, path))?;
        }
        if !self.is_dir(ino) {
            return Err(Error::new(
                operation,
                path,
                Kind::Io,
                "a file is in the way",
            ));
        }
        Ok((ino, last))
    }

    fn edit(&mut self, edits: Vec<Edit>) {
        let pending = PendingEdit {
            sequence: self.next_sequence(),
            waits_for: edits.iter().map(|edit| edit.dir).collect(),
            edits,
        };
        pending.apply(&mut self.live);
        self.edits.push(pending);
        self.forget_unreachable();
    }

    fn new_ino(&mut self) -> Ino {
        let ino = self.next_ino;
        self.next_ino += 1;
        ino
    }

    pub(super) fn new_dir(&mut self) -> Ino {
        let ino = self.new_ino();
        self.live.insert(ino, Arc::default());
        self.durable.insert(ino, Arc::default());
        ino
    }

    pub(super) fn new_file(&mut self, node: FileNode) -> Ino {
        let ino = self.new_ino();
        self.files.insert(ino, node);
        ino
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> Result<(), Error> {
        let verb = OpKind::CreateDir.verb();
        self.alive(verb, path)?;
        let mut ino = ROOT;
        let names = names(path);
        for (depth, name) in names.iter().enumerate() {
            let entries = self
                .live
                .get(&ino)
                .ok_or_else(|| Error::new(verb, path, Kind::Io, "a file is in the way"))?;
            ino = match entries.get(name) {
                Some(found) => *found,
                None => {
                    let created: std::path::PathBuf = names[..=depth].iter().collect();
                    self.begin_or_fail(OpKind::CreateDir, &created)?;
                    let target = self.new_dir();
                    let name = name.clone();
                    self.edit(vec![Edit {
                        dir: ino,
                        name,
                        target: Some(target),
                    }]);
                    target
                }
            };
        }
        if self.is_dir(ino) {
            Ok(())
        } else {
            Err(Error::new(verb, path, Kind::AlreadyExists, "it is a file"))
        }
    }

    pub(super) fn list(&mut self, dir: &Path) -> Result<Vec<String>, Error> {
        self.begin_look("list", dir)?;
        let ino = self.dir("list", dir)?;
        Ok(self
            .live
            .get(&ino)
            .map(|names| names.keys().cloned().collect())
            .unwrap_or_default())
    }

    /// Finds or creates a file and counts a handle for it.
    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> Result<Ino, Error> {
        self.begin_look("open", path)?;
        let ino = match self.find(path) {
            Some(ino) if self.is_dir(ino) => return Err(is_directory("open", path)),
            Some(_) if mode == OpenMode::CreateNew => {
                let why = "it is there already";
                return Err(Error::new("open", path, Kind::AlreadyExists, why));
            }
            Some(ino) => ino,
            None if !mode.creates() => return Err(no_such("open", path)),
            None => {
                let (dir, name) = self.place("open", path)?;
                self.begin_or_fail(OpKind::Create, path)?;
                let ino = self.new_file(FileNode::default());
                let target = Some(ino);
                self.edit(vec![Edit { dir, name, target }]);
                ino
            }
        };
        if let Some(file) = self.files.get_mut(&ino) {
            file.handles += 1;
        }
        Ok(ino)
    }

    pub(super) fn close(&mut self, ino: Ino) {
        if let Some(file) = self.files.get_mut(&ino) {
            file.handles -= 1;
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Error> {
        let verb = OpKind::Rename.verb();
        self.begin_or_fail(OpKind::Rename, from)?;
        let (from_dir, from_name) = self.place(verb, from)?;
        let (to_dir, to_name) = self.place(verb, to)?;
        let ino = self.find(from).ok_or_else(|| no_such(verb, from))?;
        let replaced = self.find(to);
        if replaced == Some(ino) {
            return Ok(());
        }
        if let Some(replaced) = replaced
            && (self.is_dir(replaced) || self.is_dir(ino))
        {
            let why = "a directory can neither replace nor be replaced";
            return Err(Error::new(verb, to, Kind::Io, why));
        }
        if self.is_dir(ino) && names(to).starts_with(&names(from)) {
            let why = "a directory cannot move into itself";
            return Err(Error::new(verb, to, Kind::Io, why));
        }
        self.edit(vec![
            Edit {
                dir: from_dir,
                name: from_name,
                target: None,
            },
            Edit {
                dir: to_dir,
                name: to_name,
                target: Some(ino),
            },
        ]);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> Result<(), Error> {
        let verb = OpKind::Remove.verb();
        self.begin_or_fail(OpKind::Remove, path)?;
        let (dir, name) = self.place(verb, path)?;
        let ino = self.find(path).ok_or_else(|| no_such(verb, path))?;
        if self.is_dir(ino) {
            return Err(is_directory(verb, path));
        }
        let target = None;
        self.edit(vec![Edit { dir, name, target }]);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> Result<(), Error> {
        let verb = OpKind::SyncDir.verb();
        let begun = self.begin(OpKind::SyncDir, path)?;
        let dir = self.dir(verb, path)?;
        match begun.fault {
            Some(Fault::SyncLost) => return Ok(()),
            Some(fault) => {
                self.lose_some_edits(dir, begun.number);
                return match fault {
                    Fault::SyncLies => Ok(()),
                    fault => Err(fault.error(verb, path)),
                };
            }
            None => {}
        }
        if !self.dir_sync_noop {
            self.sync_edits(dir);
            self.forget_unreachable();
        }
        Ok(())
    }

    /// Makes the changes of a directory's names durable: those that wait for no other directory, and every earlier
    /// change of a name which a durable change touches too, since names cannot become durable out of order.
    fn sync_edits(&mut self, dir: Ino) {
        let mut dragged = BTreeSet::new();
        let mut durable = vec![false; self.edits.len()];
        for (pending, durable) in self.edits.iter_mut().zip(&mut durable).rev() {
            pending.waits_for.remove(&dir);
            let keys = || pending.edits.iter().map(|edit| (edit.dir, &edit.name));
            *durable = pending.waits_for.is_empty()
                || keys().any(|(dir, name)| dragged.contains(&(dir, name.clone())));
            if *durable {
                dragged.extend(keys().map(|(dir, name)| (dir, name.clone())));
            }
        }
        let mut kept = Vec::new();
        for (pending, durable) in std::mem::take(&mut self.edits).into_iter().zip(durable) {
            if durable {
                pending.apply_alone(&mut self.durable);
            } else {
                kept.push(pending);
            }
        }
        self.edits = kept;
    }

    /// A directory sync that fails: some changes became durable, the others never will.
    fn lose_some_edits(&mut self, dir: Ino, number: u64) {
        let mut rng = Rng::new(self.seed, number);
        let mut kept = Vec::new();
        for pending in std::mem::take(&mut self.edits) {
            if !pending.touches(dir) {
                kept.push(pending);
            } else if rng.coin() {
                pending.apply_alone(&mut self.durable);
            }
        }
        self.edits = kept;
    }

    /// Everything that some name leads to: visible, durable or pending.
    pub(super) fn named(&self) -> BTreeSet<Ino> {
        let dirs = self.live.values().chain(self.durable.values());
        let edits = self.edits.iter().flat_map(|pending| &pending.edits);
        dirs.flat_map(|names| names.values().copied())
            .chain(edits.filter_map(|edit| edit.target))
            .collect()
    }

    /// Drops files that no name, handle or pending change refers to.
    pub(super) fn forget_unreachable(&mut self) {
        let named = self.named();
        self.files
            .retain(|ino, file| file.handles > 0 || named.contains(ino));
    }
}
