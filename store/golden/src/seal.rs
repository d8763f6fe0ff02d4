//! Sealing: from a log to one immutable file.

use crate::block::{self, BLOCK_HEAD_LEN, BLOCK_LEN, Block, BlockHead};
use crate::container::{HEADER_LEN, Header, NoteBlock};
use crate::cut::cut;
use crate::error::Error;
use crate::file::NewFile;
use crate::key::Key;
use crate::manifest::{DefinitionEntry, Manifest, RunEntry};
use crate::note::{Checkpoint, Note};
use crate::prune::refuse_pruned;
use crate::scan::{Scanned, merge, scan};
use aos_format::FORMAT_VERSION;
use aos_format::digest::{Digest, LogId, RunId, log_digest};
use aos_format::event::slot_of;
use aos_format::frame::Kind;
use aos_format::merkle::{Peaks, Subtree, subtrees};
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_format::segment::Identity;
use aos_format::wire::{align16, crc32};
use aos_store::{Aligned, LogReader, Rows, RunRow, RunStatus, StoredRecord, TailState};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// What of a log is sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// Every durable record. The tree is the log's own: later archives of the log continue it.
    All,
    /// The records of these segments, by their first offsets.
    Segments(BTreeSet<Offset>),
    /// These runs, with the workflow documents they follow, the seeds they were made with and the openings they lived in.
    Runs(BTreeSet<RunId>),
}

/// How to seal.
#[derive(Clone, Debug)]
pub struct SealOptions<'a> {
    /// What.
    pub selection: Selection,
    /// Who signs; may be nobody.
    pub keys: &'a [Key],
    /// Whether blocks are compressed with zstd where that makes them smaller.
    pub compress: bool,
    /// Whether root seeds are carried. Whoever has them can compute every salt and draw.
    pub seeds: bool,
    /// Version of the build that seals, for the manifest.
    pub build: &'a str,
    /// When, for the manifest; RFC 3339.
    pub sealed_at: Option<&'a str>,
    /// Threads, from 1.
    pub workers: usize,
}

/// What was sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// What it says it holds.
    pub manifest: Manifest,
}

/// Seals what is chosen of a log into a new file: `out` itself, or a file in the directory `out` whose name is the digest of
/// its manifest.
///
/// Only what is durable is sealed, and only records whose values are what their histories name.
///
/// # Errors
/// [`Error::Selection`] when there is nothing to seal or a run is unknown; [`Error::Exists`]; [`Error::Store`] when the log
/// is damaged; [`Error::Io`]. Nothing is left behind then.
pub fn seal(reader: &LogReader, out: &Path, options: &SealOptions<'_>) -> Result<Sealed, Error> {
    let folder = out.is_dir();
    let identity = reader.identity();
    let mut file = NewFile::create(&if folder {
        out.join("seal")
    } else {
        out.to_owned()
    })?;
    file.write(&[0; HEADER_LEN as usize])?;
    let chosen = Chosen::new(reader, options)?;
    let mut written = write_blocks(reader, &chosen, options, identity, &mut file)?;
    if let Some(mut leaves) = written.leaves.take() {
        leaves.append_to(&mut file)?;
    }
    let manifest = chosen.manifest(identity, options, &written)?;
    let text = manifest.encode();
    let len = u32::try_from(text.len()).map_err(|_| Error::Selection {
        why: "so many runs that their list exceeds 4 GiB".into(),
    })?;
    file.write(&text)?;
    let header = Header {
        identity,
        payload_len: written.bytes,
        manifest_len: len,
        blocks: written.blocks,
        records: written.tree.size(),
        manifest_crc: crc32(&text),
    };
    file.write_at(&header.encode(), 0)?;
    let mut bytes =
        HEADER_LEN + header.payload_len + 32 * header.records + u64::from(header.manifest_len);
    if !options.keys.is_empty() {
        let note = first_note(&manifest, &text, options.keys)?;
        file.write(&note)?;
        bytes += note.len() as u64;
    }
    let path = match folder {
        true => out.join(format!("{}.golden", &Digest::of(&text).hex()[..32])),
        false => out.to_owned(),
    };
    file.finish(&path, 0o444)?;
    Ok(Sealed {
        path,
        bytes,
        manifest,
    })
}

/// The note that a seal is signed with: one for keys without epochs, and one for each that has them.
fn first_note(manifest: &Manifest, text: &[u8], keys: &[Key]) -> Result<Vec<u8>, Error> {
    let mut blocks = Vec::new();
    let mut before = Digest::ZERO;
    let (plain, epochs): (Vec<&Key>, Vec<&Key>) =
        keys.iter().partition(|key| key.epoch().is_none());
    let groups = std::iter::once(plain).chain(epochs.into_iter().map(|key| vec![key]));
    for (number, group) in groups.filter(|group| !group.is_empty()).enumerate() {
        let note = signed(manifest, text, number as u64, &before, None, &group);
        let block = note.encode().into_bytes();
        before = Digest::of(&block);
        blocks.extend(NoteBlock::encode(&block));
    }
    Ok(blocks)
}

/// Note number `number` over an archive, which follows the note with the digest `before`.
pub(crate) fn signed(
    manifest: &Manifest,
    text: &[u8],
    number: u64,
    before: &Digest,
    reason: Option<&str>,
    keys: &[&Key],
) -> Note {
    let mut lines = vec![
        format!("manifest sha256 {}", Digest::of(text)),
        format!("custody {number} {before}"),
    ];
    lines.extend(reason.map(|reason| format!("reason {reason}")));
    let epoch = keys.first().and_then(|key| key.epoch());
    lines.extend(epoch.map(|epoch| format!("epoch {epoch}")));
    let checkpoint = Checkpoint {
        origin: manifest.origin.clone(),
        size: manifest.size,
        root: manifest.root,
        lines,
    };
    let mut note = Note::new(checkpoint.text());
    keys.iter().for_each(|key| note.sign(key));
    note
}

/// Which records go into the archive.
struct Chosen {
    end: Offset,
    selection: Selection,
    /// Of runs: offsets of control records that go with them.
    control: BTreeSet<Offset>,
    ranges: Vec<(Offset, Offset)>,
}

impl Chosen {
    fn new(reader: &LogReader, options: &SealOptions<'_>) -> Result<Chosen, Error> {
        let tail = reader.tail()?;
        if let TailState::Damage(finding) | TailState::Gap(finding) = &tail.state {
            return Err(aos_store::Error::from(finding.clone()).into());
        }
        let stride = reader.identity().stride;
        let mut control = BTreeSet::new();
        let ranges = match &options.selection {
            Selection::All => {
                refuse_pruned(reader, None)?;
                vec![(Offset(0), tail.durable)]
            }
            Selection::Segments(starts) => {
                refuse_pruned(reader, starts.first().copied())?;
                for start in starts {
                    if *start >= tail.durable || *start != stride.segment_start(*start) {
                        return Err(Error::Selection {
                            why: format!("no segment with records begins at offset {start}"),
                        });
                    }
                }
                joined(
                    starts
                        .iter()
                        .map(|start| (*start, stride.segment_end(*start).min(tail.durable))),
                )
            }
            Selection::Runs(runs) => {
                control = with_runs(reader, runs)?;
                Vec::new()
            }
        };
        Ok(Chosen {
            end: tail.durable,
            selection: options.selection.clone(),
            control,
            ranges,
        })
    }

    fn takes(&self, record: &StoredRecord, stream: StreamId) -> bool {
        let at = record.offset();
        if record.is_pending() || at >= self.end {
            return false;
        }
        match &self.selection {
            Selection::All => true,
            Selection::Segments(_) => self
                .ranges
                .iter()
                .any(|(start, end)| *start <= at && at < *end),
            Selection::Runs(runs) => match stream.as_run() {
                Some(run) => runs.contains(&run),
                None => self.control.contains(&at),
            },
        }
    }

    fn first(&self) -> Offset {
        self.ranges.first().map_or(Offset(0), |(start, _)| *start)
    }

    fn manifest(
        &self,
        identity: Identity,
        options: &SealOptions<'_>,
        written: &Written,
    ) -> Result<Manifest, Error> {
        if written.tree.size() == 0 {
            return Err(Error::Selection {
                why: "nothing durable is chosen".into(),
            });
        }
        let whole = |row: &&RunRow| {
            let head = written.heads.get(&StreamId::run(row.run));
            head.is_some_and(|head| head.count == head.seq)
        };
        let runs: Vec<RunEntry> = written
            .rows
            .runs
            .values()
            .filter(whole)
            .map(entry)
            .collect();
        let (selection, origin) = match &self.selection {
            Selection::All => ("all", origin(identity.log_id, "")),
            Selection::Segments(starts) if self.is_prefix() => {
                let _same_tree_as_all = starts;
                ("segments", origin(identity.log_id, ""))
            }
            Selection::Segments(_) => ("segments", origin(identity.log_id, &self.place())),
            Selection::Runs(runs) => ("runs", origin(identity.log_id, &runs_digest(runs))),
        };
        Ok(Manifest {
            origin,
            log_id: identity.log_id,
            stride: identity.stride.bytes(),
            selection: selection.into(),
            ranges: self.ranges.clone(),
            size: written.tree.size(),
            root: written.tree.root(),
            digest: log_digest(runs.iter().map(|run| (&run.run, &run.history_digest))),
            runs,
            definitions: written
                .rows
                .definitions
                .iter()
                .map(|(digest, offset)| DefinitionEntry {
                    digest: *digest,
                    offset: *offset,
                })
                .collect(),
            seeds: options.seeds,
            format: FORMAT_VERSION.into(),
            build: options.build.into(),
            sealed_at: options.sealed_at.map(str::to_owned),
        })
    }

    /// Whether the ranges are the log's beginning: then the tree is the log's.
    fn is_prefix(&self) -> bool {
        matches!(self.ranges[..], [(Offset(0), _)])
    }

    fn place(&self) -> String {
        let ranges: Vec<String> = self
            .ranges
            .iter()
            .map(|(start, end)| format!("{start}-{end}"))
            .collect();
        format!("/segments/{}", ranges.join(","))
    }
}

fn origin(log: LogId, rest: &str) -> String {
    format!("aos.log/{log}{rest}")
}

fn runs_digest(runs: &BTreeSet<RunId>) -> String {
    let digest = Digest::of_parts(runs.iter().map(|run| run.0.as_slice()));
    format!("/runs/{}", &digest.hex()[..32])
}

/// Ranges in order, neighbours put together.
fn joined(ranges: impl Iterator<Item = (Offset, Offset)>) -> Vec<(Offset, Offset)> {
    let mut found: Vec<(Offset, Offset)> = Vec::new();
    for (start, end) in ranges {
        match found.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => found.push((start, end)),
        }
    }
    found
}

/// The control records that runs cannot be made again or understood without.
fn with_runs(reader: &LogReader, runs: &BTreeSet<RunId>) -> Result<BTreeSet<Offset>, Error> {
    let index = reader.index()?;
    let mut control = BTreeSet::new();
    for run in runs {
        let row = index.rows.runs.get(run).ok_or_else(|| Error::Selection {
            why: format!("the log has no run {run}"),
        })?;
        if let Some(base) = reader.pruned().filter(|base| base.gone().contains(run)) {
            return Err(base.refuse(row.head).into());
        }
        control.extend(index.rows.definitions.get(&row.definition));
        control.extend(row.root_seed.and_then(|seed| index.rows.seeds.get(&seed)));
    }
    Ok(control)
}

fn entry(row: &RunRow) -> RunEntry {
    RunEntry {
        run: row.run,
        namespace: row.namespace.clone(),
        name: row.name.clone(),
        version: row.version.clone(),
        key: row.key.clone(),
        generation: row.generation,
        definition: row.definition,
        head: row.head,
        records: row.seq,
        events: row.events,
        status: match &row.status {
            RunStatus::Open | RunStatus::Waiting | RunStatus::Pending(_) => "open",
            RunStatus::Completed => "completed",
            RunStatus::Faulted => "faulted",
            RunStatus::Cancelled => "cancelled",
        }
        .into(),
        history_digest: row.digest,
    }
}

/// What the blocks of an archive became.
#[derive(Default)]
struct Written {
    bytes: u64,
    blocks: u32,
    /// The leaves, in a file beside the archive: they stand behind the blocks, and there may be more than fit in memory.
    leaves: Option<NewFile>,
    tree: Peaks,
    heads: BTreeMap<StreamId, crate::scan::Head>,
    rows: Rows,
}

/// A block on its way to the file.
struct Job {
    raw: Vec<u8>,
    count: u32,
    first: u64,
}

/// A block ready to be written.
struct Done {
    bytes: Result<Vec<u8>, String>,
    scanned: Scanned,
    subtrees: Vec<Subtree>,
}

fn write_blocks(
    reader: &LogReader,
    chosen: &Chosen,
    options: &SealOptions<'_>,
    identity: Identity,
    file: &mut NewFile,
) -> Result<Written, Error> {
    let compress = options.compress;
    std::thread::scope(|scope| {
        let mut lanes = Vec::new();
        for _ in 0..options.workers.max(1) {
            let (jobs, take): (SyncSender<Job>, Receiver<Job>) = sync_channel(1);
            let (give, done) = sync_channel(2);
            scope.spawn(move || {
                for job in take {
                    if give.send(finish(job, identity, compress)).is_err() {
                        return;
                    }
                }
            });
            lanes.push((jobs, done));
        }
        let mut writer = BlockWriter {
            lanes: &lanes,
            sent: VecDeque::new(),
            next: 0,
            file,
            written: Written::default(),
            raw: Vec::with_capacity(BLOCK_LEN + (64 << 10)),
            count: 0,
            first: 0,
        };
        for record in reader.scan(chosen.first())? {
            let record = match record {
                Ok(record) => record,
                // What stands behind the last group is not sealed.
                Err(aos_store::Error::Finding(finding)) if finding.offset >= chosen.end => break,
                Err(error) => return Err(error.into()),
            };
            if record.offset() >= chosen.end {
                break;
            }
            if chosen.takes(&record, record.stream()?) {
                writer.add(&record, options.seeds)?;
            }
        }
        writer.flush()?;
        while writer.take()? {}
        Ok(writer.written)
    })
}

/// Puts records into blocks, hands those to the workers in turn, and writes what comes back in order.
struct BlockWriter<'a> {
    lanes: &'a [(SyncSender<Job>, Receiver<Done>)],
    /// Lanes whose results are still to come, in order.
    sent: VecDeque<usize>,
    next: usize,
    file: &'a mut NewFile,
    written: Written,
    raw: Vec<u8>,
    count: u32,
    first: u64,
}

impl BlockWriter<'_> {
    fn add(&mut self, record: &StoredRecord, seeds: bool) -> Result<(), Error> {
        self.written.rows.take(record)?;
        let header = record.header();
        if record.kind() == Some(Kind::Seed) && !seeds {
            let slot = slot_of(Kind::Seed, "seed").expect("the kind's table has this slot");
            let (frame, _) =
                cut(header, record.body(), &[slot]).map_err(|error| Error::Selection {
                    why: format!("the SEED at offset {}: {error}", record.offset()),
                })?;
            self.raw.extend_from_slice(&frame);
        } else {
            self.raw.extend_from_slice(&header.encode());
            self.raw.extend_from_slice(record.body());
            self.raw.resize(align16(self.raw.len() as u64) as usize, 0);
        }
        self.count += 1;
        if self.raw.len() >= BLOCK_LEN {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.count == 0 {
            return Ok(());
        }
        if self.sent.len() == 2 * self.lanes.len() {
            self.take()?;
        }
        let job = Job {
            raw: std::mem::take(&mut self.raw),
            count: self.count,
            first: self.first,
        };
        self.first += u64::from(self.count);
        self.count = 0;
        let lane = self.next % self.lanes.len();
        self.next += 1;
        let sent = self.lanes[lane].0.send(job);
        assert!(sent.is_ok(), "a worker lives as long as its lane");
        self.sent.push_back(lane);
        Ok(())
    }

    /// Writes the next block that comes back; `false` when none is on its way.
    fn take(&mut self) -> Result<bool, Error> {
        let Some(lane) = self.sent.pop_front() else {
            return Ok(false);
        };
        let done = self.lanes[lane].1.recv();
        let Done {
            bytes,
            scanned,
            subtrees,
        } = done.expect("a worker answers every job");
        if let Some(fault) = scanned.fault {
            return Err(Error::Selection {
                why: format!("a record of the log is not as it must be: {fault}"),
            });
        }
        let bytes = bytes.map_err(|why| Error::Selection { why })?;
        self.file.write(&bytes)?;
        self.written.bytes += bytes.len() as u64;
        self.written.blocks += 1;
        let leaves: Vec<u8> = scanned.leaves.iter().flat_map(|leaf| leaf.0).collect();
        let spill = match &mut self.written.leaves {
            Some(spill) => spill,
            none => none.insert(self.file.beside()?),
        };
        spill.write(&leaves)?;
        for subtree in subtrees {
            self.written.tree.push_subtree(subtree);
        }
        merge(&mut self.written.heads, &scanned.heads);
        Ok(true)
    }
}

fn finish(job: Job, identity: Identity, compress: bool) -> Done {
    let head = BlockHead {
        raw_len: job.raw.len() as u32,
        stored_len: job.raw.len() as u32,
        count: job.count,
        first: job.first,
        crc: 0,
    };
    let block = Block {
        at: BLOCK_HEAD_LEN,
        head,
        raw: Aligned::copy_of(&job.raw),
    };
    let scanned = scan(&block, identity);
    let subtrees = subtrees(job.first, &scanned.leaves);
    Done {
        bytes: block::encode(&job.raw, job.count, job.first, compress),
        scanned,
        subtrees,
    }
}
