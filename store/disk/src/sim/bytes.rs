//! Operations on the bytes of files, and what faults make of them.

use std::path::Path;
use std::sync::Arc;

use super::content::{Content, Data, SECTOR};
use super::fault::Fault;
use super::node::{Change, FileNode, Ino, Pending};
use super::rng::Rng;
use super::state::State;
use super::{OpKind, Syncs};
use crate::{Error, Kind};

fn flip_a_bit(bytes: &mut [u8], rng: &mut Rng) {
    let bit = rng.below(8 * bytes.len() as u64) as usize;
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
}

impl State {
    /// Reads bytes of a file up to its end; the number of bytes read.
    pub(super) fn read(
        &mut self,
        ino: Ino,
        path: &Path,
        buf: &mut [u8],
        at: u64,
    ) -> Result<usize, Error> {
        let fault = self.begin_read("read", path)?;
        let mut rng = Rng::new(self.seed, self.reads);
        let live = self.file(ino).live.clone();
        match fault {
            None => Ok(live.read(buf, at)),
            Some(Fault::Short) => {
                let wanted = rng.below(buf.len() as u64) as usize;
                Ok(live.read(&mut buf[..wanted], at))
            }
            Some(Fault::Misdirected) => {
                let elsewhere = rng.below(live.len().div_ceil(SECTOR)) * SECTOR + at % SECTOR;
                let read = live.read(buf, at);
                let other = live.read(&mut buf[..read], elsewhere);
                buf[other..read].fill(0);
                Ok(read)
            }
            Some(Fault::Rot) => {
                let read = live.read(buf, at);
                flip_a_bit(&mut buf[..read], &mut rng);
                Ok(read)
            }
            Some(fault) => Err(fault.error("read", path)),
        }
    }

    /// A file that a handle keeps alive.
    pub(super) fn file(&mut self, ino: Ino) -> &mut FileNode {
        self.files
            .get_mut(&ino)
            .expect("a handle keeps its file in the table")
    }

    pub(super) fn set_len(&mut self, ino: Ino, path: &Path, len: u64) -> Result<(), Error> {
        self.begin_or_fail(OpKind::SetLen, path)?;
        if i64::try_from(len).is_err() {
            let why = format!("length {len} is beyond what a file can have");
            return Err(Error::new(OpKind::SetLen.verb(), path, Kind::Io, why));
        }
        let sequence = self.next_sequence();
        let file = self.file(ino);
        let settled = file.settled();
        file.change(sequence, Change::SetLen(len));
        if len < settled {
            self.broken_promises.push(format!(
                "{} was cut to {len} while a map had {settled} bytes settled",
                path.display()
            ));
        }
        Ok(())
    }

    pub(super) fn write(
        &mut self,
        ino: Ino,
        path: &Path,
        buf: &[u8],
        at: u64,
    ) -> Result<(), Error> {
        let verb = OpKind::Write.verb();
        let begun = self.begin(OpKind::Write, path)?;
        let len = buf.len() as u64;
        if at
            .checked_add(len)
            .is_none_or(|end| i64::try_from(end).is_err())
        {
            let why = format!("offset {at} is beyond what a file can have");
            return Err(Error::new(verb, path, Kind::Io, why));
        }
        let mut rng = Rng::new(self.seed, begun.number);
        match begun.fault {
            Some(fault @ (Fault::Misdirected | Fault::Rot)) => {
                self.write_wrong(ino, buf, at, fault, &mut rng);
                return Ok(());
            }
            Some(fault) => {
                let written = rng.below(len + 1);
                self.write_bytes(ino, path, &buf[..written as usize], at);
                return Err(fault.error(verb, path));
            }
            None => {}
        }
        let room = self
            .capacity
            .map(|capacity| capacity.saturating_sub(self.allocated()));
        let written = match room {
            Some(room) => self.file(ino).live.writable(at, len, room),
            None => len,
        };
        self.write_bytes(ino, path, &buf[..written as usize], at);
        if written < len {
            let why = format!("no space left after {written} of {len} bytes at offset {at}");
            return Err(Error::new(verb, path, Kind::Full, why));
        }
        Ok(())
    }

    fn write_bytes(&mut self, ino: Ino, path: &Path, buf: &[u8], at: u64) {
        if buf.is_empty() {
            return;
        }
        let sequence = self.next_sequence();
        let file = self.file(ino);
        let settled = file.settled();
        let mut changed = false;
        if at < settled {
            let mut old = vec![0; buf.len().min((settled - at) as usize)];
            file.live.read(&mut old, at);
            changed = old[..] != buf[..old.len()];
        }
        let extends = at + buf.len() as u64 > file.live.len();
        let data = Data::of(buf);
        file.change(sequence, Change::Write { at, data, extends });
        if changed {
            self.broken_promises.push(format!(
                "{} was changed at offset {at} while a map had {settled} bytes settled",
                path.display()
            ));
        }
    }

    /// A write that everybody sees as it was meant, and that leaves something else on the medium.
    fn write_wrong(&mut self, ino: Ino, buf: &[u8], at: u64, fault: Fault, rng: &mut Rng) {
        let sequence = self.next_sequence();
        let extends = at + buf.len() as u64 > self.file(ino).live.len();
        let write = |at, bytes: &[u8], extends| Change::Write {
            at,
            data: Data::of(bytes),
            extends,
        };
        let meant = write(at, buf, extends);
        if fault == Fault::Rot {
            let mut rotten = buf.to_vec();
            flip_a_bit(&mut rotten, rng);
            let kept = Some(write(at, &rotten, extends));
            self.file(ino).change_but_keep(sequence, meant, kept);
            return;
        }
        // Somewhere in this file or another, at the same distance from the start of a sector.
        let others: Vec<Ino> = self.files.keys().copied().collect();
        let elsewhere = others[rng.below(others.len() as u64) as usize];
        let target = if rng.coin() { ino } else { elsewhere };
        let room = self.file(target).durable.len().div_ceil(SECTOR);
        let strayed = write(rng.below(room) * SECTOR + at % SECTOR, buf, false);
        let inside = self.file(target).durable.len();
        let stray = match strayed {
            Change::Write { at, data, .. } if at + data.len() <= inside => {
                Some(write(at, buf, false))
            }
            _ => None, // beyond the end: it is lost
        };
        self.file(ino).change_but_keep(sequence, meant, None);
        let target = self.file(target);
        target.diverged = true;
        let change = stray.map(|change| Pending { sequence, change });
        target.pending.extend(change);
    }

    pub(super) fn sync(&mut self, kind: OpKind, ino: Ino, path: &Path) -> Result<(), Error> {
        let begun = self.begin(kind, path)?;
        let sector = self.sector;
        let mut rng = Rng::new(self.seed, begun.number);
        let sequence = self.sequence;
        let file = self.file(ino);
        match begun.fault {
            Some(Fault::SyncLost) => return Ok(()),
            Some(Fault::SyncLies) => {
                file.sync_and_fail(sector, &mut rng);
                return Ok(());
            }
            Some(fault) => {
                file.sync_and_fail(sector, &mut rng);
                return Err(fault.error(kind.verb(), path));
            }
            None => {}
        }
        match self.syncs {
            Syncs::Honest => self.file(ino).sync(),
            Syncs::Nothing => {}
            Syncs::Lying => self.file(ino).sync_and_fail(sector, &mut rng),
            Syncs::Late => self.file(ino).sync_late(sequence),
        }
        Ok(())
    }

    /// Bytes allocated by all files as they are visible now.
    pub(super) fn allocated(&self) -> u64 {
        self.files.values().map(|file| file.live.allocated()).sum()
    }

    /// The visible content of a path, if it is a file.
    pub(super) fn content(&self, path: &Path) -> Option<&Arc<Content>> {
        self.files.get(&self.find(path)?).map(|file| &file.live)
    }
}
