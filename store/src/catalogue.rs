//! The catalogue: a fold of the log that trails it, in redb, with what redb does not have yet in memory.
//!
//! ```text
//! log:        |---- committed to redb ----|-- folded in memory --|-- not folded --| queue
//! look-up:     redb                        rows (they win)        folded first
//! ```
//!
//! Invariants: it never names an offset that is not durable; it ends at a group's end; losing it loses nothing. One code
//! path (walk, fold, commit) serves trailing, catching up at open, and rebuilding.

use crate::error::Error;
use crate::fold::{Base, CheckpointRow, Nothing, Rows, RunRow, StreamHead, Tips, key_digest};
use crate::group::{Position, Step};
use crate::place::{Place, Segments};
use crate::rebuild::{builder, open_existing, rebuild};
use crate::row::Meta;
use crate::tables::{Db, View, guard, read_meta, write};
use crate::walk::Walker;
use aos_format::digest::{Digest, RunId};
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_format::segment::Identity;
use parking_lot::{Mutex, RwLock};
use redb::backends::InMemoryBackend;
use std::sync::Arc;

/// Records folded between two commits of a rebuild.
const REBUILD_RECORDS: u64 = 65_536;

/// What an opening found of the catalogue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CatalogueState {
    /// Made with the log.
    Fresh,
    /// There and right.
    CaughtUp {
        /// Records it had not folded yet.
        records: u64,
    },
    /// Made again from the segments.
    Rebuilt {
        /// What was wrong with the one that was there.
        why: String,
    },
}

/// How far the fold is.
struct Progress {
    walker: Walker,
    folded: Position,
    /// Records and bytes folded since the last commit.
    records: u64,
    bytes: u64,
    /// Records folded since the catalogue was opened.
    records_total: u64,
}

pub(crate) struct Catalogue {
    place: Place,
    identity: Identity,
    /// Changed only together with `rows`, under the lock of those.
    db: RwLock<Arc<Db>>,
    rows: RwLock<Rows>,
    progress: Mutex<Progress>,
    file: Mutex<FileState>,
}

/// What redb's storage is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileState {
    /// The file under its temporary name: not whole yet.
    Unnamed,
    /// The file.
    Named,
    /// Memory, after the file failed. The next opening looks at the file again.
    Memory,
}

/// Rows in memory in front of redb.
struct Overlay<'a> {
    rows: &'a Rows,
    view: &'a View,
}

impl Base for Overlay<'_> {
    fn run(&self, run: RunId) -> Result<Option<RunRow>, Error> {
        match self.rows.runs.get(&run) {
            Some(row) => Ok(Some(row.clone())),
            None => self.view.run(run),
        }
    }
    fn stream(&self, stream: StreamId) -> Result<Option<StreamHead>, Error> {
        match self.rows.streams.get(&stream) {
            Some(head) => Ok(Some(*head)),
            None => self.view.stream(stream),
        }
    }
    fn definition(&self, digest: Digest) -> Result<Option<Offset>, Error> {
        match self.rows.definitions.get(&digest) {
            Some(offset) => Ok(Some(*offset)),
            None => self.view.definition(digest),
        }
    }
    fn seed(&self, commitment: Digest) -> Result<Option<Offset>, Error> {
        match self.rows.seeds.get(&commitment) {
            Some(offset) => Ok(Some(*offset)),
            None => self.view.seed(commitment),
        }
    }
    fn first_seed(&self) -> Result<Option<Offset>, Error> {
        // The older one wins: redb's, where it has one.
        Ok(self.view.first_seed()?.or(self.rows.first_seed))
    }
    fn generation(&self, key: Digest) -> Result<Option<u64>, Error> {
        match self.rows.generations.get(&key) {
            Some(generation) => Ok(Some(*generation)),
            None => self.view.generation(key),
        }
    }
}

impl Catalogue {
    /// Opens the catalogue of a log whose last valid group ends at `end`, or makes it again, and folds the log up to there.
    /// Nothing of it is committed under its name before [`Catalogue::commit`].
    pub(crate) fn open(
        place: &Place,
        segments: Arc<Segments>,
        identity: Identity,
        end: &Position,
        created: bool,
    ) -> Result<(Catalogue, CatalogueState), Error> {
        let mut walker = Walker::new(segments, identity);
        let temporary = place.root.join("catalog.redb.tmp");
        if place.disk.exists(&temporary)? {
            place.disk.remove(&temporary)?;
        }
        match open_existing(place, identity, &mut walker, end)? {
            Ok((db, meta)) => {
                let catalogue =
                    Catalogue::new(place, identity, db, walker, &meta, FileState::Named);
                match catalogue.catch_up(end.end) {
                    Ok(()) => {
                        let records = catalogue.progress.lock().records_total;
                        Ok((catalogue, CatalogueState::CaughtUp { records }))
                    }
                    Err(Error::Catalogue { why, .. }) => {
                        drop(catalogue);
                        rebuild(place, identity, end, why)
                    }
                    Err(error) => Err(error),
                }
            }
            Err(why) => {
                let (catalogue, state) = rebuild(place, identity, end, why)?;
                let state = if created {
                    CatalogueState::Fresh
                } else {
                    state
                };
                Ok((catalogue, state))
            }
        }
    }

    pub(crate) fn new(
        place: &Place,
        identity: Identity,
        db: Db,
        mut walker: Walker,
        meta: &Meta,
        file: FileState,
    ) -> Catalogue {
        // What was read ahead so far may go stale.
        walker.refresh();
        Catalogue {
            place: place.clone(),
            identity,
            db: RwLock::new(Arc::new(db)),
            rows: RwLock::new(Rows {
                unreadable: meta.unreadable,
                ..Rows::default()
            }),
            progress: Mutex::new(Progress {
                walker,
                folded: meta.position,
                records: 0,
                bytes: 0,
                records_total: 0,
            }),
            file: Mutex::new(file),
        }
    }

    /// Folds everything up to `durable`, the end of a durable group, into memory.
    pub(crate) fn catch_up(&self, durable: Offset) -> Result<(), Error> {
        let mut progress = self.progress.lock();
        match self.fold_until(&mut progress, durable, u64::MAX) {
            Err(error @ Error::Catalogue { .. }) => {
                self.move_to_memory(&mut progress, durable, error)
            }
            result => result,
        }
    }

    fn fold_until(
        &self,
        progress: &mut Progress,
        durable: Offset,
        records_max: u64,
    ) -> Result<(), Error> {
        if progress.folded.end >= durable {
            return Ok(());
        }
        let view = View::open(&self.db.read().clone())?;
        let (mut fresh, mut tips) = (Rows::default(), Tips::default());
        let (mut records, mut bytes) = (0, 0);
        let mut position = progress.folded;
        progress.walker.read_ahead_to(durable);
        // Only this thread merges (it holds the progress), so the rows can be read without holding up look-ups.
        let rows = self.rows.read();
        let base = Overlay {
            rows: &rows,
            view: &view,
        };
        while position.end < durable && records < records_max {
            let group = match progress.walker.next_group(&position)? {
                Step::Group(group) => group,
                Step::Stop(stop) => return Err(stop.finding(self.identity.stride).into()),
            };
            for frame in group.records() {
                let body = progress.walker.body(frame)?;
                fresh.fold_many(&base, frame, body, &mut tips)?;
                records += 1;
            }
            bytes += group.end.0 - group.start.0;
            position = group.position();
        }
        drop(rows);
        tips.settle(&mut fresh);
        self.rows.write().merge(fresh);
        progress.folded = position;
        progress.records += records;
        progress.records_total += records;
        progress.bytes += bytes;
        Ok(())
    }

    /// Folds up to `durable` and commits to redb: one transaction, synced; then everything before is looked up there.
    ///
    /// # Errors
    /// When the file failed. Look-ups go on as exact as before, from memory.
    pub(crate) fn commit(&self, durable: Offset) -> Result<Offset, Error> {
        let mut progress = self.progress.lock();
        let committed = self
            .fold_until(&mut progress, durable, u64::MAX)
            .and_then(|()| self.store(&mut progress))
            .and_then(|()| self.name());
        if let Err(error @ (Error::Catalogue { .. } | Error::Disk(_))) = committed {
            self.move_to_memory(&mut progress, durable, error.clone())?;
            return Err(error);
        }
        committed.map(|()| progress.folded.end)
    }

    /// Fills a new catalogue up to `end`, in transactions of some size. It keeps its temporary name.
    pub(crate) fn fill(&self, end: Offset) -> Result<(), Error> {
        let mut progress = self.progress.lock();
        while progress.folded.end < end {
            self.fold_until(&mut progress, end, REBUILD_RECORDS)?;
            if progress.folded.end < end {
                self.store(&mut progress)?;
            }
        }
        Ok(())
    }

    /// Makes the catalogue again in memory because its file failed with `error`, and goes on there.
    fn move_to_memory(
        &self,
        progress: &mut Progress,
        durable: Offset,
        error: Error,
    ) -> Result<(), Error> {
        if *self.file.lock() == FileState::Memory {
            return Err(error);
        }
        let (mut all, mut tips) = (progress.walker.segments().rows(), Tips::default());
        let mut position = progress.walker.segments().start();
        progress.walker.refresh();
        progress.walker.read_ahead_to(durable);
        while position.end < durable {
            let group = match progress.walker.next_group(&position)? {
                Step::Group(group) => group,
                Step::Stop(stop) => return Err(stop.finding(self.identity.stride).into()),
            };
            for frame in group.records() {
                all.fold_many(&Nothing, frame, progress.walker.body(frame)?, &mut tips)?;
            }
            position = group.position();
        }
        tips.settle(&mut all);
        let db = guard(|| {
            Ok(Db::new(
                builder().create_with_backend(InMemoryBackend::new())?,
            ))
        })?;
        let meta = Meta {
            log_id: self.identity.log_id,
            position,
            first_seed: all.first_seed,
            unreadable: all.unreadable,
            sum: 0,
        };
        write(&db, &all, &meta)?;
        *self.file.lock() = FileState::Memory;
        let mut rows = self.rows.write();
        *self.db.write() = Arc::new(db);
        *rows = Rows {
            unreadable: all.unreadable,
            ..Rows::default()
        };
        progress.folded = position;
        (progress.records, progress.bytes) = (0, 0);
        Ok(())
    }

    fn store(&self, progress: &mut Progress) -> Result<(), Error> {
        let db = self.db.read().clone();
        let stored = read_meta(&db)?;
        if stored.is_some_and(|meta| meta.position == progress.folded) {
            return Ok(());
        }
        let rows = self.rows.read();
        let meta = Meta {
            log_id: self.identity.log_id,
            position: progress.folded,
            first_seed: stored.and_then(|meta| meta.first_seed).or(rows.first_seed),
            unreadable: rows.unreadable,
            sum: 0,
        };
        write(&db, &rows, &meta)?;
        let unreadable = rows.unreadable;
        drop(rows);
        *self.rows.write() = Rows {
            unreadable,
            ..Rows::default()
        };
        (progress.records, progress.bytes) = (0, 0);
        Ok(())
    }

    /// Gives a new catalogue its name, now that it is whole.
    fn name(&self) -> Result<(), Error> {
        let mut file = self.file.lock();
        if *file == FileState::Unnamed {
            let temporary = self.place.root.join("catalog.redb.tmp");
            self.place
                .disk
                .rename(&temporary, &self.place.catalogue())?;
            self.place.disk.sync_dir(&self.place.root)?;
            *file = FileState::Named;
        }
        Ok(())
    }

    /// Runs `ask` on the rows as of the last fold: memory in front of redb. Where the file fails it is asked again after the
    /// move to memory.
    fn ask<T>(&self, ask: impl Fn(&Overlay<'_>) -> Result<T, Error>) -> Result<T, Error> {
        match self.ask_once(&ask) {
            Err(error @ Error::Catalogue { .. }) => {
                let mut progress = self.progress.lock();
                let folded = progress.folded.end;
                // Another look-up may have moved it meanwhile.
                if *self.file.lock() != FileState::Memory {
                    self.move_to_memory(&mut progress, folded, error)?;
                }
                drop(progress);
                self.ask_once(&ask)
            }
            result => result,
        }
    }

    fn ask_once<T>(&self, ask: impl Fn(&Overlay<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let rows = self.rows.read();
        // After the rows: what a commit takes from them is in redb before.
        let db = self.db.read().clone();
        let view = View::open(&db)?;
        ask(&Overlay {
            rows: &rows,
            view: &view,
        })
    }

    /// The newest folded record of a stream.
    pub(crate) fn head(&self, stream: StreamId) -> Result<Option<StreamHead>, Error> {
        self.ask(|overlay| match stream.as_run() {
            Some(run) => Ok(overlay.run(run)?.map(|row| row.stream_head())),
            None => overlay.stream(stream),
        })
    }

    /// A run and whether it has ended.
    pub(crate) fn run(&self, run: RunId) -> Result<Option<RunRow>, Error> {
        self.ask(|overlay| overlay.run(run))
    }

    /// Up to `limit` runs after `after`, by id.
    pub(crate) fn runs(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunRow>, Error> {
        let from = match after {
            None => RunId([0; 16]),
            Some(RunId(id)) => match u128::from_be_bytes(id).checked_add(1) {
                Some(next) => RunId(next.to_be_bytes()),
                None => return Ok(Vec::new()),
            },
        };
        self.ask(|overlay| {
            let mut rows: std::collections::BTreeMap<RunId, RunRow> = overlay
                .view
                .runs(from, limit)?
                .into_iter()
                .map(|row| (row.run, row))
                .collect();
            let newer = overlay.rows.runs.range(from..).take(limit);
            rows.extend(newer.map(|(run, row)| (*run, row.clone())));
            // Rows in memory win; those of redb beyond `limit` cannot be among the first `limit`.
            Ok(rows.into_values().take(limit).collect())
        })
    }

    /// All runs that have not ended, by id.
    pub(crate) fn open_runs(&self) -> Result<Vec<RunRow>, Error> {
        self.ask(|overlay| {
            let mut ids = overlay.view.open_runs()?;
            ids.extend(overlay.rows.runs.keys());
            ids.sort_unstable();
            ids.dedup();
            let mut rows = Vec::new();
            for run in ids {
                rows.extend(overlay.run(run)?.filter(|row| !row.status.is_ended()));
            }
            Ok(rows)
        })
    }

    pub(crate) fn generation(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<Option<u64>, Error> {
        self.ask(|overlay| overlay.generation(key_digest(namespace, name, key)))
    }

    pub(crate) fn definition(&self, digest: Digest) -> Result<Option<Offset>, Error> {
        self.ask(|overlay| overlay.definition(digest))
    }

    pub(crate) fn seed(&self, commitment: Digest) -> Result<Option<Offset>, Error> {
        self.ask(|overlay| overlay.seed(commitment))
    }

    pub(crate) fn first_seed(&self) -> Result<Option<Offset>, Error> {
        self.ask(|overlay| overlay.first_seed())
    }

    pub(crate) fn checkpoints(&self, run: RunId) -> Result<Vec<CheckpointRow>, Error> {
        self.ask(|overlay| {
            let mut rows = overlay.view.checkpoints(run)?;
            rows.extend(overlay.rows.checkpoints_of(run));
            rows.sort_unstable_by_key(|row| row.offset);
            rows.dedup_by_key(|row| row.offset);
            Ok(rows)
        })
    }

    /// Everything, as folded so far.
    pub(crate) fn all(&self) -> Result<Rows, Error> {
        self.ask(|overlay| {
            let mut rows = overlay.view.all()?;
            let unreadable = overlay.rows.unreadable;
            rows.merge(overlay.rows.clone());
            rows.unreadable = unreadable;
            Ok(rows)
        })
    }
}
