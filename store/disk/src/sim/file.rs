//! Handles on a simulated disk: open files, maps and locks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use super::OpKind;
use super::node::Ino;
use super::state::State;
use crate::{Error, File, Map};

/// A counted reference to a file: as long as one is there, the file outlives its name.
pub(super) struct Handle {
    state: Arc<Mutex<State>>,
    ino: Ino,
    path: PathBuf,
}

impl Handle {
    fn read_exact(&self, buf: &mut [u8], at: u64) -> Result<(), Error> {
        let Handle { state, ino, path } = self;
        let mut state = state.lock();
        let read = state.read(*ino, path, buf, at)?;
        if read < buf.len() {
            let end = at + read as u64;
            return Err(Error::short("read", path, at, buf.len() as u64, end));
        }
        Ok(())
    }

    /// Takes over one count that `State::open` has made.
    pub(super) fn new(state: Arc<Mutex<State>>, ino: Ino, path: &Path) -> Self {
        let path = path.to_owned();
        Handle { state, ino, path }
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.state.lock().file(self.ino).handles += 1;
        Handle::new(self.state.clone(), self.ino, &self.path)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.state.lock().close(self.ino);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (#{})", self.path.display(), self.ino)
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) handle: Handle,
    pub(super) writes: bool,
}

impl SimFile {
    fn must_write(&self, kind: OpKind) -> Result<(), Error> {
        if self.writes {
            Ok(())
        } else {
            Err(Error::read_only(kind.verb(), &self.handle.path))
        }
    }
}

impl File for SimFile {
    fn len(&self) -> Result<u64, Error> {
        let Handle { state, ino, path } = &self.handle;
        let mut state = state.lock();
        state.begin_look("measure", path)?;
        Ok(state.file(*ino).live.len())
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        self.must_write(OpKind::SetLen)?;
        let Handle { state, ino, path } = &self.handle;
        state.lock().set_len(*ino, path, len)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> Result<usize, Error> {
        let Handle { state, ino, path } = &self.handle;
        state.lock().read(*ino, path, buf, at)
    }

    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> Result<(), Error> {
        self.handle.read_exact(buf, at)
    }

    fn write_all_at(&self, buf: &[u8], at: u64) -> Result<(), Error> {
        self.must_write(OpKind::Write)?;
        let Handle { state, ino, path } = &self.handle;
        state.lock().write(*ino, path, buf, at)
    }

    fn data_from(&self, from: u64) -> Result<Option<u64>, Error> {
        let Handle { state, ino, path } = &self.handle;
        let mut state = state.lock();
        state.begin_look("look for data in", path)?;
        Ok(state.file(*ino).live.data_from(from))
    }

    fn sync_data(&self) -> Result<(), Error> {
        let Handle { state, ino, path } = &self.handle;
        state.lock().sync(OpKind::SyncData, *ino, path)
    }

    fn sync_all(&self) -> Result<(), Error> {
        let Handle { state, ino, path } = &self.handle;
        state.lock().sync(OpKind::SyncAll, *ino, path)
    }

    fn map(&self, len: u64) -> Result<Map, Error> {
        let Handle { state, ino, path } = &self.handle;
        let settled = Arc::new(AtomicU64::new(0));
        {
            let mut state = state.lock();
            state.alive("map", path)?;
            let file = state.file(*ino);
            let end = file.live.len();
            if end < len {
                return Err(Error::short("map", path, 0, len, end));
            }
            file.settled.retain(|bound| bound.strong_count() > 0);
            file.settled.push(Arc::downgrade(&settled));
        }
        let handle = self.handle.clone();
        Ok(Map::sim(len, settled, SimMap { handle }))
    }
}

/// What a map of a simulated file reads through.
#[derive(Debug)]
pub(crate) struct SimMap {
    handle: Handle,
}

impl SimMap {
    pub(crate) fn path(&self) -> &Path {
        &self.handle.path
    }

    pub(crate) fn read(&self, buf: &mut [u8], at: u64) -> Result<(), Error> {
        self.handle.read_exact(buf, at)
    }
}

/// Who holds the lock of a file.
pub(super) struct Holder(pub(super) Handle);

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.state.lock().locks.remove(&self.0.ino);
    }
}

/// A lock on a directory, which has no handle.
pub(super) struct DirHolder(pub(super) Arc<Mutex<State>>, pub(super) Ino);

impl Drop for DirHolder {
    fn drop(&mut self) {
        self.0.lock().locks.remove(&self.1);
    }
}
