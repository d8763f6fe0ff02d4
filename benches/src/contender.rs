//! Logs that are measured side by side: AOS and the hand-written reference.

use crate::stats::Failure;
use aos_disk::RealDisk;
use aos_format::digest::{Digest, LogId, RunId};
use aos_format::event::{Event, Mark, Signal};
use aos_format::record::{Draft, StreamId};
use aos_store::{Append, Log, Mode, Options};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Bytes of an event, where nothing else is said.
pub const EVENT_LEN: usize = 256;

/// A log that makes batches durable.
pub trait Contender {
    /// Its name and how it syncs, in results.
    fn name(&self) -> &str;

    /// Appends `count` events; durable when it returns.
    ///
    /// # Errors
    /// What the log said.
    fn append(&mut self, event: &[u8], count: usize) -> Result<(), Failure>;
}

/// Opens a contender in an empty directory.
pub type Opener = (
    &'static str,
    fn(&Path) -> Result<Box<dyn Contender>, Failure>,
);

/// Those that need nothing but AOS.
pub const OWN: [Opener; 3] = [
    ("reference", |dir| {
        Reference::open(dir).map(|c| Box::new(c) as _)
    }),
    ("aos", |dir| {
        Aos::open(dir, Chaining::Opaque).map(|c| Box::new(c) as _)
    }),
    ("aos-chained", |dir| {
        Aos::open(dir, Chaining::Chained).map(|c| Box::new(c) as _)
    }),
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
    /// A new one in `dir`.
    ///
    /// # Errors
    /// What the file system said.
    pub fn open(dir: &Path) -> Result<Reference, Failure> {
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

    fn append(&mut self, event: &[u8], count: usize) -> Result<(), Failure> {
        self.buffer.clear();
        for _ in 0..count {
            let crc = crc32fast::hash(event);
            self.buffer
                .extend_from_slice(&(event.len() as u64).to_le_bytes());
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

/// What holds the records of a run together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chaining {
    /// Their links: a MARK, which no history digest covers. The same as others keep.
    Opaque,
    /// Their links and a history digest: a SIGNAL, each with the SHA-256 of the one before.
    Chained,
}

/// AOS: each event a record of a run, whose deterministic part has as many bytes as the event.
pub struct Aos {
    log: Log,
    stream: Stream,
}

/// A run being appended to.
pub struct Stream {
    id: StreamId,
    chaining: Chaining,
    head: Digest,
    seq: u64,
    event: Event,
    len: usize,
}

impl Stream {
    /// The run with that number.
    pub fn new(number: u64, chaining: Chaining) -> Stream {
        let run = RunId::derive("bench", "append", &number.to_string(), 0);
        Stream {
            id: StreamId::run(run),
            chaining,
            head: Digest::ZERO,
            seq: 0,
            event: Self::event(chaining, String::new()),
            len: 0,
        }
    }

    fn event(chaining: Chaining, padding: String) -> Event {
        match chaining {
            Chaining::Opaque => Event::Mark(Mark {
                what: padding,
                activation: String::new(),
            }),
            Chaining::Chained => Event::Signal(Signal {
                activation: String::new(),
                source: padding,
                id: String::new(),
                signal_type: String::new(),
                data: None,
                actor: String::new(),
            }),
        }
    }

    /// Events have `len` bytes from now on, or as few as an event can have.
    fn fit(&mut self, len: usize) {
        if self.len == len {
            return;
        }
        let sized = |padding: usize| Self::event(self.chaining, "x".repeat(padding));
        let bare = sized(0).encode(&self.head).len();
        let mut padding = len.saturating_sub(bare);
        while padding > 0 && sized(padding).encode(&self.head).len() > len {
            padding -= 1;
        }
        (self.event, self.len) = (sized(padding), len);
    }

    /// The next record of the run, of `len` bytes.
    pub fn make(&mut self, len: usize) -> Append {
        self.fit(len);
        let det = self.event.encode(&self.head);
        self.seq += 1;
        let kind = self.event.kind();
        let mut draft = Draft::new(self.id, det);
        if self.chaining == Chaining::Chained {
            self.head = Digest::of(&draft.det);
            draft.lane_seq = self.seq;
        }
        Append {
            draft,
            kind,
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
    fn open(dir: &Path, chaining: Chaining) -> Result<Aos, Failure> {
        Ok(Aos {
            log: open_log(dir)?,
            stream: Stream::new(0, chaining),
        })
    }
}

impl Contender for Aos {
    fn name(&self) -> &str {
        match self.stream.chaining {
            Chaining::Opaque => "AOS store, one fdatasync a group",
            Chaining::Chained => "AOS store, chained by SHA-256, one fdatasync a group",
        }
    }

    fn append(&mut self, event: &[u8], count: usize) -> Result<(), Failure> {
        let ticket = if count == 1 {
            let Append { draft, kind, seq } = self.stream.make(event.len());
            self.log.append(draft, kind, seq)?
        } else {
            let batch = (0..count).map(|_| self.stream.make(event.len())).collect();
            self.log.append_batch(batch)?
        };
        self.log.wait(ticket)?;
        Ok(())
    }
}
