//! Peers for the log: what a program would use in its place.

use aos_bench::contender::{Contender, Opener};
use aos_bench::stats::Failure;
use std::path::Path;

/// All of them.
pub const PEERS: [Opener; 7] = [
    ("redb", |dir| {
        Redb::open(dir).map(|peer| Box::new(peer) as _)
    }),
    ("sqlite-wal-full", |dir| {
        Sqlite::open(dir, "FULL").map(|peer| Box::new(peer) as _)
    }),
    ("sqlite-wal-normal", |dir| {
        Sqlite::open(dir, "NORMAL").map(|peer| Box::new(peer) as _)
    }),
    ("fjall", |dir| {
        Fjall::open(dir).map(|peer| Box::new(peer) as _)
    }),
    ("okaywal", |dir| {
        Okay::open(dir).map(|peer| Box::new(peer) as _)
    }),
    ("raft-engine", |dir| {
        Raft::open(dir).map(|peer| Box::new(peer) as _)
    }),
    ("raft-engine-recycled", |dir| {
        Raft::recycled(dir).map(|peer| Box::new(peer) as _)
    }),
];

const TABLE: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("events");

struct Redb {
    database: redb::Database,
    next: u64,
}

impl Redb {
    fn open(dir: &Path) -> Result<Redb, Failure> {
        Ok(Redb {
            database: redb::Database::create(dir.join("redb"))?,
            next: 0,
        })
    }
}

impl Contender for Redb {
    fn name(&self) -> &str {
        "redb, one write transaction a batch, Durability::Immediate"
    }

    fn append(&mut self, event: &[u8], count: usize) -> Result<(), Failure> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for _ in 0..count {
                table.insert(self.next, event)?;
                self.next += 1;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

struct Sqlite {
    connection: rusqlite::Connection,
    name: String,
}

impl Sqlite {
    fn open(dir: &Path, synchronous: &str) -> Result<Sqlite, Failure> {
        let connection = rusqlite::Connection::open(dir.join("sqlite"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.execute_batch("CREATE TABLE events (n INTEGER PRIMARY KEY, event BLOB)")?;
        let durable = match synchronous {
            "FULL" => "durable",
            _ => "NOT durable at commit, only at checkpoints",
        };
        Ok(Sqlite {
            connection,
            name: format!("SQLite, WAL, synchronous={synchronous}: {durable}"),
        })
    }
}

impl Contender for Sqlite {
    fn name(&self) -> &str {
        &self.name
    }

    fn append(&mut self, event: &[u8], count: usize) -> Result<(), Failure> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO events (event) VALUES (?1)")?;
            for _ in 0..count {
                insert.execute([event])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

struct Fjall {
    database: fjall::Database,
    events: fjall::Keyspace,
    next: u64,
}

impl Fjall {
    fn open(dir: &Path) -> Result<Fjall, Failure> {
        let database = fjall::Database::builder(dir.join("fjall")).open()?;
        let events = database.keyspace("events", fjall::KeyspaceCreateOptions::default)?;
        Ok(Fjall {
            database,
            events,
            next: 0,
        })
    }
}

impl Contender for Fjall {
    fn name(&self) -> &str {
        "fjall, a batch committed, then persist(SyncData)"
    }

    fn append(&mut self, event: &[u8], count: usize) -> Result<(), Failure> {
        let mut batch = self.database.batch();
        for _ in 0..count {
            batch.insert(&self.events, self.next.to_be_bytes(), event);
            self.next += 1;
        }
        batch.commit()?;
        self.database.persist(fjall::PersistMode::SyncData)?;
        Ok(())
    }
}

struct Okay(okaywal::WriteAheadLog);

impl Okay {
    fn open(dir: &Path) -> Result<Okay, Failure> {
        let log = okaywal::WriteAheadLog::recover(dir.join("okaywal"), okaywal::LogVoid)?;
        Ok(Okay(log))
    }
}

impl Contender for Okay {
    fn name(&self) -> &str {
        "okaywal, an entry a batch, a chunk an event, committed"
    }

    fn append(&mut self, event: &[u8], count: usize) -> Result<(), Failure> {
        let mut entry = self.0.begin_entry()?;
        for _ in 0..count {
            entry.write_chunk(event)?;
        }
        entry.commit()?;
        Ok(())
    }
}

struct Raft {
    engine: raft_engine::Engine,
    name: &'static str,
    next: u64,
}

impl Raft {
    fn open(dir: &Path) -> Result<Raft, Failure> {
        Self::with(
            dir,
            raft_engine::Config::default(),
            "raft-engine, a batch written with sync",
        )
    }

    fn recycled(dir: &Path) -> Result<Raft, Failure> {
        let config = raft_engine::Config {
            enable_log_recycle: true,
            prefill_for_recycle: true,
            prefill_limit: Some(raft_engine::ReadableSize::mb(256)),
            ..raft_engine::Config::default()
        };
        Self::with(
            dir,
            config,
            "raft-engine with prefilled files, a batch written with sync",
        )
    }

    fn with(dir: &Path, config: raft_engine::Config, name: &'static str) -> Result<Raft, Failure> {
        let config = raft_engine::Config {
            dir: dir.join("raft").to_string_lossy().into_owned(),
            // As the others: nobody else compresses.
            batch_compression_threshold: raft_engine::ReadableSize(0),
            ..config
        };
        Ok(Raft {
            engine: raft_engine::Engine::open(config)?,
            name,
            next: 0,
        })
    }
}

impl Contender for Raft {
    fn name(&self) -> &str {
        self.name
    }

    fn append(&mut self, event: &[u8], count: usize) -> Result<(), Failure> {
        let mut batch = raft_engine::LogBatch::with_capacity(count);
        for _ in 0..count {
            batch.put(1, self.next.to_be_bytes().to_vec(), event.to_vec())?;
            self.next += 1;
        }
        self.engine.write(&mut batch, true)?;
        Ok(())
    }
}
