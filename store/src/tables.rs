//! The catalogue's tables in redb, and the guard around redb.
//!
//! redb is trusted with its own files only: a file that rotted must neither take the process down nor give wrong answers.
//! So every call runs under [`guard`], which turns a panic into an error, closing a file included ([`Db`]), and a catalogue is checked page by page when it is
//! opened.

use crate::error::Error;
use crate::fold::{Base, CheckpointRow, Rows, RunRow, StreamHead};
use crate::row::{
    Meta, decode_checkpoint, decode_head, decode_int, decode_run, encode_checkpoint, encode_head,
    encode_int, encode_run, row_sum,
};
use aos_format::digest::{Digest, RunId};
use aos_format::offset::Offset;
use aos_format::record::{StreamId, StreamKind};
use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableHandle, WriteTransaction,
};
use std::cell::{Cell, OnceCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

const META: Definition = TableDefinition::new("meta");
const RUNS: Definition = TableDefinition::new("runs");
const OPEN_RUNS: Definition = TableDefinition::new("open_runs");
const STREAMS: Definition = TableDefinition::new("streams");
const DEFINITIONS: Definition = TableDefinition::new("definitions");
const SEEDS: Definition = TableDefinition::new("seeds");
const CHECKPOINTS: Definition = TableDefinition::new("checkpoints");
const GENERATIONS: Definition = TableDefinition::new("generations");

const META_KEY: &[u8] = b"meta";

/// Runs `work` on redb; its errors and panics become errors of the catalogue.
pub(crate) fn guard<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::Catalogue {
            full: matches!(&error, redb::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull),
            why: error.to_string(),
        }),
        Err(_) => Err(Error::Catalogue {
            why: "redb panicked on its bytes".into(),
            full: false,
        }),
    }
}

/// A database of redb. Closing one reads and writes pages, so that is guarded too.
pub(crate) struct Db(Option<Database>);

impl Db {
    pub(crate) fn new(database: Database) -> Db {
        Db(Some(database))
    }
}

impl std::ops::Deref for Db {
    type Target = Database;
    fn deref(&self) -> &Database {
        match &self.0 {
            Some(database) => database,
            None => unreachable!("only dropping takes it away"),
        }
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        let database = self.0.take();
        // What a failing close leaves is found when the file is opened next; the segments have everything.
        let _closed = guard(|| {
            drop(database);
            Ok(())
        });
    }
}

fn bad_row(table: &str) -> Error {
    Error::Catalogue {
        why: format!("a row of table {table} cannot be read"),
        full: false,
    }
}

/// Reads what the catalogue says of itself; `None` when it was written by another schema or not at all.
pub(crate) fn read_meta(db: &Database) -> Result<Option<Meta>, Error> {
    guard(|| {
        let transaction = db.begin_read()?;
        let table = match transaction.open_table(META) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let meta = table
            .get(META_KEY)?
            .and_then(|row| Meta::decode(row.value()));
        Ok(meta)
    })
}

/// Writes rows and what they bring the catalogue up to, in one transaction.
pub(crate) fn write(db: &Database, rows: &Rows, meta: &Meta) -> Result<(), Error> {
    // One guard around all of it: a transaction that is dropped without a commit reads pages as well.
    guard(|| {
        let transaction = db.begin_write()?;
        fill(&transaction, rows, meta)?;
        Ok(transaction.commit()?)
    })
}

/// A table and the sum over all rows, kept together.
struct Summed<'t> {
    name: String,
    table: redb::Table<'t, &'static [u8], &'static [u8]>,
    sum: &'t Cell<u64>,
}

impl Summed<'_> {
    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), redb::Error> {
        let old = self.table.insert(key, value)?;
        let gone = old.map(|old| row_sum(&self.name, key, old.value()));
        let sum = self.sum.get().wrapping_sub(gone.unwrap_or(0));
        self.sum
            .set(sum.wrapping_add(row_sum(&self.name, key, value)));
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), redb::Error> {
        let old = self.table.remove(key)?;
        let gone = old.map(|old| row_sum(&self.name, key, old.value()));
        self.sum.set(self.sum.get().wrapping_sub(gone.unwrap_or(0)));
        Ok(())
    }
}

fn fill(transaction: &WriteTransaction, rows: &Rows, meta: &Meta) -> Result<(), redb::Error> {
    let mut about = transaction.open_table(META)?;
    let before = about
        .get(META_KEY)?
        .and_then(|row| Meta::decode(row.value()));
    let sum = Cell::new(before.map_or(0, |meta| meta.sum));
    let open = |definition: Definition| -> Result<Summed<'_>, redb::Error> {
        Ok(Summed {
            name: definition.name().to_owned(),
            table: transaction.open_table(definition)?,
            sum: &sum,
        })
    };
    let (mut runs, mut unended) = (open(RUNS)?, open(OPEN_RUNS)?);
    for (run, row) in &rows.runs {
        let id = run.0.as_slice();
        runs.insert(id, &encode_run(row))?;
        if row.status.is_ended() {
            unended.remove(id)?;
        } else {
            unended.insert(id, &[])?;
        }
    }
    let mut streams = open(STREAMS)?;
    for (stream, head) in &rows.streams {
        streams.insert(&stream_key(stream), &encode_head(head))?;
    }
    for (table, offsets) in [(DEFINITIONS, &rows.definitions), (SEEDS, &rows.seeds)] {
        let mut table = open(table)?;
        for (digest, offset) in offsets {
            table.insert(&digest.0, &encode_int(offset.0))?;
        }
    }
    let mut checkpoints = open(CHECKPOINTS)?;
    for ((run, offset), row) in &rows.checkpoints {
        checkpoints.insert(&checkpoint_key(*run, *offset), &encode_checkpoint(row))?;
    }
    let mut generations = open(GENERATIONS)?;
    for (key, generation) in &rows.generations {
        generations.insert(&key.0, &encode_int(*generation))?;
    }
    let meta = Meta {
        sum: sum.get(),
        ..*meta
    };
    about.insert(META_KEY, meta.encode().as_slice())?;
    Ok(())
}

fn stream_key(stream: &StreamId) -> [u8; 17] {
    let mut key = [0; 17];
    key[0] = stream.kind as u8;
    key[1..].copy_from_slice(&stream.id);
    key
}

fn checkpoint_key(run: RunId, offset: Offset) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(&run.0);
    key[16..].copy_from_slice(&offset.0.to_be_bytes());
    key
}

/// One consistent view of a catalogue. Tables are opened when they are first asked for.
pub(crate) struct View {
    runs: OnceCell<Table>,
    open: OnceCell<Table>,
    streams: OnceCell<Table>,
    definitions: OnceCell<Table>,
    seeds: OnceCell<Table>,
    checkpoints: OnceCell<Table>,
    generations: OnceCell<Table>,
    meta: OnceCell<Meta>,
    // Last: tables are read through it.
    transaction: ReadTransaction,
}

impl View {
    /// Opens a view of a catalogue that has been written to before.
    pub(crate) fn open(db: &Database) -> Result<View, Error> {
        Ok(View {
            runs: OnceCell::new(),
            open: OnceCell::new(),
            streams: OnceCell::new(),
            definitions: OnceCell::new(),
            seeds: OnceCell::new(),
            checkpoints: OnceCell::new(),
            generations: OnceCell::new(),
            meta: OnceCell::new(),
            transaction: guard(|| Ok(db.begin_read()?))?,
        })
    }

    fn table<'a>(
        &'a self,
        cell: &'a OnceCell<Table>,
        definition: Definition,
    ) -> Result<&'a Table, Error> {
        if let Some(table) = cell.get() {
            return Ok(table);
        }
        let table = guard(|| Ok(self.transaction.open_table(definition)?))?;
        Ok(cell.get_or_init(|| table))
    }

    /// What the catalogue says of itself.
    pub(crate) fn meta(&self) -> Result<&Meta, Error> {
        if let Some(meta) = self.meta.get() {
            return Ok(meta);
        }
        let cell = OnceCell::new();
        let table = self.table(&cell, META)?;
        let meta = self
            .one(table, "meta", META_KEY, Meta::decode)?
            .ok_or_else(|| bad_row("meta"))?;
        Ok(self.meta.get_or_init(|| meta))
    }

    fn one<T>(
        &self,
        table: &Table,
        name: &str,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let found = guard(|| Ok(table.get(key)?.map(|row| decode(row.value()))))?;
        match found {
            None => Ok(None),
            Some(Some(row)) => Ok(Some(row)),
            Some(None) => Err(bad_row(name)),
        }
    }

    fn many<T>(
        &self,
        table: &Table,
        name: &str,
        range: (&[u8], &[u8]),
        limit: usize,
        mut decode: impl FnMut(&[u8], &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let rows = guard(|| {
            let mut rows = Vec::new();
            for row in table.range(range.0..=range.1)?.take(limit) {
                let (key, value) = row?;
                rows.push(decode(key.value(), value.value()));
            }
            Ok(rows)
        })?;
        rows.into_iter()
            .map(|row| row.ok_or_else(|| bad_row(name)))
            .collect()
    }

    /// Up to `limit` runs from `from` on, by id.
    pub(crate) fn runs(&self, from: RunId, limit: usize) -> Result<Vec<RunRow>, Error> {
        self.many(
            self.table(&self.runs, RUNS)?,
            "runs",
            (&from.0, &[0xff; 16]),
            limit,
            |key, row| decode_run(RunId(key.try_into().ok()?), row),
        )
    }

    /// All runs that have not ended.
    pub(crate) fn open_runs(&self) -> Result<Vec<RunId>, Error> {
        self.many(
            self.table(&self.open, OPEN_RUNS)?,
            "open_runs",
            (&[0; 16], &[0xff; 16]),
            usize::MAX,
            |key, _| Some(RunId(key.try_into().ok()?)),
        )
    }

    /// Checkpoints of a run, oldest first.
    pub(crate) fn checkpoints(&self, run: RunId) -> Result<Vec<CheckpointRow>, Error> {
        let from = checkpoint_key(run, Offset(0));
        let to = checkpoint_key(run, Offset(u64::MAX));
        self.many(
            self.table(&self.checkpoints, CHECKPOINTS)?,
            "checkpoints",
            (&from, &to),
            usize::MAX,
            decode_checkpoint_entry,
        )
    }

    /// The sum over all rows as they are read now; [`Meta::sum`] says what it was when they were written.
    pub(crate) fn sum(&self) -> Result<u64, Error> {
        let tables = [
            (&self.runs, RUNS),
            (&self.open, OPEN_RUNS),
            (&self.streams, STREAMS),
            (&self.definitions, DEFINITIONS),
            (&self.seeds, SEEDS),
            (&self.checkpoints, CHECKPOINTS),
            (&self.generations, GENERATIONS),
        ];
        let mut sum = 0_u64;
        for (cell, definition) in tables {
            let (table, name) = (self.table(cell, definition)?, definition.name().to_owned());
            guard(|| {
                for row in table.iter()? {
                    let (key, value) = row?;
                    sum = sum.wrapping_add(row_sum(&name, key.value(), value.value()));
                }
                Ok(())
            })?;
        }
        Ok(sum)
    }

    /// Everything in the catalogue.
    pub(crate) fn all(&self) -> Result<Rows, Error> {
        let mut rows = Rows {
            first_seed: self.meta()?.first_seed,
            unreadable: self.meta()?.unreadable,
            ..Rows::default()
        };
        let everything: (&[u8], &[u8]) = (&[], &[0xff; 40]);
        for row in self.runs(RunId([0; 16]), usize::MAX)? {
            rows.runs.insert(row.run, row);
        }
        let streams = self.many(
            self.table(&self.streams, STREAMS)?,
            "streams",
            everything,
            usize::MAX,
            |k, v| Some((stream_of_key(k)?, decode_head(v)?)),
        )?;
        rows.streams.extend(streams);
        for (table, name, into) in [
            (
                self.table(&self.definitions, DEFINITIONS)?,
                "definitions",
                &mut rows.definitions,
            ),
            (self.table(&self.seeds, SEEDS)?, "seeds", &mut rows.seeds),
        ] {
            into.extend(self.many(table, name, everything, usize::MAX, |k, v| {
                Some((Digest(k.try_into().ok()?), Offset(decode_int(v)?)))
            })?);
        }
        let checkpoints = self.many(
            self.table(&self.checkpoints, CHECKPOINTS)?,
            "checkpoints",
            everything,
            usize::MAX,
            |k, v| {
                let run = RunId(k.get(..16)?.try_into().ok()?);
                let row = decode_checkpoint_entry(k, v)?;
                Some(((run, row.offset), row))
            },
        )?;
        rows.checkpoints.extend(checkpoints);
        let generations = self.many(
            self.table(&self.generations, GENERATIONS)?,
            "generations",
            everything,
            usize::MAX,
            |k, v| Some((Digest(k.try_into().ok()?), decode_int(v)?)),
        )?;
        rows.generations.extend(generations);
        Ok(rows)
    }
}

fn decode_checkpoint_entry(key: &[u8], row: &[u8]) -> Option<CheckpointRow> {
    let offset = u64::from_be_bytes(key.get(16..)?.try_into().ok()?);
    decode_checkpoint(Offset(offset), row)
}

fn stream_of_key(key: &[u8]) -> Option<StreamId> {
    let kind = match key.first()? {
        0 => StreamKind::Control,
        2 => StreamKind::Resource,
        _ => return None,
    };
    Some(StreamId {
        kind,
        id: key[1..].try_into().ok()?,
    })
}

impl Base for View {
    fn run(&self, run: RunId) -> Result<Option<RunRow>, Error> {
        self.one(self.table(&self.runs, RUNS)?, "runs", &run.0, |row| {
            decode_run(run, row)
        })
    }

    fn stream(&self, stream: StreamId) -> Result<Option<StreamHead>, Error> {
        self.one(
            self.table(&self.streams, STREAMS)?,
            "streams",
            &stream_key(&stream),
            decode_head,
        )
    }

    fn definition(&self, digest: Digest) -> Result<Option<Offset>, Error> {
        let offset = self.one(
            self.table(&self.definitions, DEFINITIONS)?,
            "definitions",
            &digest.0,
            decode_int,
        )?;
        Ok(offset.map(Offset))
    }

    fn seed(&self, commitment: Digest) -> Result<Option<Offset>, Error> {
        let offset = self.one(
            self.table(&self.seeds, SEEDS)?,
            "seeds",
            &commitment.0,
            decode_int,
        )?;
        Ok(offset.map(Offset))
    }

    fn first_seed(&self) -> Result<Option<Offset>, Error> {
        Ok(self.meta()?.first_seed)
    }

    fn generation(&self, key: Digest) -> Result<Option<u64>, Error> {
        self.one(
            self.table(&self.generations, GENERATIONS)?,
            "generations",
            &key.0,
            decode_int,
        )
    }
}
