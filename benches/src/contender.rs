//! Logs that are measured side by side: AOS and the hand-written reference.

use crate::stats::Failure;
use aos_disk::RealDisk;
use aos_format::digest::{Digest, LogId, RunId};
use aos_format::event::{Event, Signal};
use aos_format::frame::Kind;
use aos_format::record::{Draft, StreamId};
use aos_store::{Append, Log, Mode, Options};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Bytes of an event: what every contender is asked to keep.
pub const EVENT_LEN: usize = 256;

/// A log that makes batches durable.
pub trait Contender {
    /// Its name and how it syncs, in results.
    fn name(&self) -> &str;

    /// Appends `count` events of [`EVENT_LEN`] bytes each; durable when it returns.
    ///
    /// # Errors
    /// What the log said.
    fn append(&mut self, event: &[u8; EVENT_LEN], count: usize) -> Result<(), Failure>;
}

/// Opens a contender in an empty directory.
pub type Opener = (
    &'static str,
    fn(&Path) -> Result<Box<dyn Contender>, Failure>,
);

/// Those that need nothing but AOS.
pub const OWN: [Opener; 2] = [
    ("reference", |dir| {
        Reference::open(dir).map(|c| Box::new(c) as _)
    }),
    ("aos", |dir| Aos::open(dir).map(|c| Box::new(c) as _)),
];

/// The ceiling: zeroed segments of 64 MiB, a header of 16 bytes with length and CRC, one pwrite and one fdatasync a batch.
pub struct Reference {
    dir: std::path::PathBuf,
    file: File,
    segment: u64,
    at: u64,
    buffer: Vec<u8>,
}

/// Length of the reference's segments.
const SEGMENT: u64 = 64 << 20;

impl Reference {
    fn open(dir: &Path) -> Result<Reference, Failure> {
        let file = Self::segment(dir, 0)?;
        Ok(Reference {
            dir: dir.into(),
            file,
            segment: 0,
            at: 0,
            buffer: Vec::new(),
        })
    }

    fn segment(dir: &Path, number: u64) -> Result<File, Failure> {
        let path = dir.join(format!("{number:020}"));
        let mut options = OpenOptions::new();
        let file = options.create_new(true).read(true).write(true).open(path)?;
        let zeros = vec![0; 1 << 20];
        for at in (0..SEGMENT).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(file)
    }
}

impl Contender for Reference {
    fn name(&self) -> &str {
        "zeroed segments, pwrite, fdatasync a batch"
    }

    fn append(&mut self, event: &[u8; EVENT_LEN], count: usize) -> Result<(), Failure> {
        self.buffer.clear();
        for _ in 0..count {
            let crc = crc32fast::hash(event);
            self.buffer
                .extend_from_slice(&(EVENT_LEN as u64).to_le_bytes());
            self.buffer.extend_from_slice(&u64::from(crc).to_le_bytes());
            self.buffer.extend_from_slice(event);
        }
        if self.at + self.buffer.len() as u64 > SEGMENT {
            self.segment += 1;
            self.file = Self::segment(&self.dir, self.segment)?;
            self.at = 0;
        }
        self.file.write_all_at(&self.buffer, self.at)?;
        self.file.sync_data()?;
        self.at += self.buffer.len() as u64;
        Ok(())
    }
}

/// AOS: each event a SIGNAL of a run whose deterministic part has [`EVENT_LEN`] bytes, chained by SHA-256.
pub struct Aos {
    log: Log,
    chain: Stream,
}

/// A run being appended to.
pub struct Stream {
    id: StreamId,
    head: Digest,
    seq: u64,
    padding: String,
}

impl Stream {
    /// The run with that number.
    pub fn new(number: u64) -> Stream {
        let run = RunId::derive("bench", "append", &number.to_string(), 0);
        let mut stream = Stream {
            id: StreamId::run(run),
            head: Digest::ZERO,
            seq: 0,
            padding: String::new(),
        };
        let bare = stream.event("").encode(&stream.head).len();
        stream.padding = "x".repeat(EVENT_LEN.saturating_sub(bare + 1));
        let full = stream.event(&stream.padding).encode(&stream.head).len();
        stream
            .padding
            .push_str(&"x".repeat(EVENT_LEN.saturating_sub(full)));
        stream
    }

    fn event(&self, source: &str) -> Event {
        Event::Signal(Signal {
            activation: String::new(),
            source: source.into(),
            id: String::new(),
            signal_type: String::new(),
            data: None,
            actor: String::new(),
        })
    }

    /// The next record of the run.
    pub fn make(&mut self) -> Append {
        let det = self.event(&self.padding).encode(&self.head);
        self.head = Digest::of(&det);
        self.seq += 1;
        Append {
            draft: Draft {
                lane_seq: self.seq,
                ..Draft::new(self.id, det)
            },
            kind: Kind::Signal,
            seq: self.seq,
        }
    }
}

/// A log of AOS as tools open it.
///
/// # Errors
/// What the store said.
pub fn open_log(dir: &Path) -> Result<Log, Failure> {
    let options = Options {
        create: true,
        mode: Mode::Threaded,
        ..Options::new(LogId([7; 16]))
    };
    Ok(Log::open(Arc::new(RealDisk), &dir.join("bench.aos"), &options)?.0)
}

impl Aos {
    fn open(dir: &Path) -> Result<Aos, Failure> {
        Ok(Aos {
            log: open_log(dir)?,
            chain: Stream::new(0),
        })
    }
}

impl Contender for Aos {
    fn name(&self) -> &str {
        "AOS store, chained by SHA-256, one fdatasync a group"
    }

    fn append(&mut self, _event: &[u8; EVENT_LEN], count: usize) -> Result<(), Failure> {
        let ticket = if count == 1 {
            let Append { draft, kind, seq } = self.chain.make();
            self.log.append(draft, kind, seq)?
        } else {
            let batch = (0..count).map(|_| self.chain.make()).collect();
            self.log.append_batch(batch)?
        };
        self.log.wait(ticket)?;
        Ok(())
    }
}
