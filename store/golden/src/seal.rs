//! Sealing: from a log to one immutable file.

use crate::block::{self, BLOCK_HEAD_LEN, BLOCK_LEN, Block, BlockHead};
use crate::container::{HEADER_LEN, Header, NoteBlock};
use crate::cut::cut;
use crate::error::Error;
use crate::file::NewFile;
use crate::key::Key;
use crate::manifest::{DefinitionEntry, Manifest, RunEntry};
use crate::note::{Checkpoint, Note};
use crate::pool;
use crate::prune::refuse_pruned;
use crate::scan::{Heads, Scanned, merge, scan_with};
use aos_format::FORMAT_VERSION;
use aos_format::digest::{Digest, LogId, RunId, log_digest};
use aos_format::event::slot_of;
use aos_format::frame::{FrameHeader, Kind};
use aos_format::merkle::{Peaks, Subtree, subtrees};
use aos_format::offset::{Offset, Stride};
use aos_format::record::{RecordView, StreamId};
use aos_format::segment::Identity;
use aos_format::wire::crc32;
use aos_store::{
    Aligned, Batch, Choice, LogReader, Peek, Rows, RunRow, RunStatus, StoredRecord, TailState,
};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
    std::mem::take(&mut written.leaves).append_to(&mut file)?;
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
    stride: Stride,
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
            stride,
        })
    }

    /// What becomes of a record that is durable.
    fn choice(
        &self,
        header: &FrameHeader,
        mut peek: Peek<'_>,
        options: &SealOptions<'_>,
    ) -> Result<Choice, Error> {
        let at = header.offset;
        let is_taken = at < self.end
            && match &self.selection {
                Selection::All => true,
                Selection::Segments(_) => self
                    .ranges
                    .iter()
                    .any(|(start, end)| *start <= at && at < *end),
                Selection::Runs(runs) => {
                    let view = RecordView::of_frame(header, peek.body()?);
                    let view = view.map_err(|error| unlike(at, &error))?;
                    match view.stream().as_run() {
                        Some(run) => runs.contains(&run),
                        None => self.control.contains(&at),
                    }
                }
            };
        if !is_taken {
            return Ok(Choice::Leave);
        }
        if Kind::from_u8(header.kind) != Some(Kind::Seed) || options.seeds {
            return Ok(Choice::Take);
        }
        let body = peek.body()?;
        let whole = header.check_body(body);
        let slot = slot_of(Kind::Seed, "seed").expect("the kind's table has this slot");
        let body = &body[..header.body_len as usize];
        let (frame, _) = whole
            .and_then(|()| cut(header, body, &[slot]))
            .map_err(|error| unlike(at, &error))?;
        let header = FrameHeader::decode(&frame, self.stride);
        Ok(Choice::Instead(
            header.map_err(|error| unlike(at, &error))?,
            frame,
        ))
    }

    /// The error that reading the log in the plain way gives, where it gives one: it says what is wrong with the log.
    fn explained(&self, reader: &LogReader, error: Error) -> Error {
        let first = match self.selection {
            Selection::Runs(_) => Offset(0),
            _ => self.first(),
        };
        let records = match reader.scan(first) {
            Ok(records) => records,
            Err(error) => return error.into(),
        };
        for record in records {
            match record.and_then(|record| Ok((record.offset(), record.stream()?))) {
                Ok((offset, _)) if offset >= self.end => break,
                Ok(_) => {}
                Err(aos_store::Error::Finding(finding)) if finding.offset >= self.end => break,
                Err(error) => return error.into(),
            }
        }
        error
    }

    /// Nothing is read from here on.
    fn last(&self) -> Offset {
        self.ranges.last().map_or(self.end, |(_, end)| *end)
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
            .map(|row| entry(row, &written.heads))
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
        let row = index
            .rows
            .runs
            .get(run)
            .ok_or_else(|| match &index.finding {
                // It may stand behind what could not be read.
                Some(finding) => aos_store::Error::from(finding.clone()).into(),
                None => Error::Selection {
                    why: format!("the log has no run {run}"),
                },
            })?;
        if let Some(base) = reader.pruned().filter(|base| base.gone().contains(run)) {
            return Err(base.refuse(row.head).into());
        }
        control.extend(index.rows.definitions.get(&row.definition));
        control.extend(row.root_seed.and_then(|seed| index.rows.seeds.get(&seed)));
    }
    Ok(control)
}

fn unlike(at: Offset, error: &aos_format::Error) -> Error {
    Error::Selection {
        why: format!("the record at offset {at} is not as it must be: {error}"),
    }
}

fn entry(row: &RunRow, heads: &Heads) -> RunEntry {
    let head = &heads[&StreamId::run(row.run)];
    RunEntry {
        run: row.run,
        namespace: row.namespace.clone(),
        name: row.name.clone(),
        version: row.version.clone(),
        key: row.key.clone(),
        generation: row.generation,
        definition: row.definition,
        head: head.offset,
        records: head.seq,
        events: head.events,
        status: match &row.status {
            RunStatus::Open | RunStatus::Waiting | RunStatus::Pending(_) => "open",
            RunStatus::Completed => "completed",
            RunStatus::Faulted => "faulted",
            RunStatus::Cancelled => "cancelled",
        }
        .into(),
        history_digest: head.digest.unwrap_or_default(),
    }
}

/// What the blocks of an archive became.
#[derive(Default)]
struct Written {
    bytes: u64,
    blocks: u32,
    leaves: Leaves,
    tree: Peaks,
    heads: Heads,
    /// Folded from the first records, starts and ends of runs, and from documents and seeds. What the others change in them
    /// stands in `heads`.
    rows: Rows,
}

/// The leaves, which stand behind the blocks: what exceeds [`Leaves::KEPT`] goes into a file beside the archive.
#[derive(Default)]
struct Leaves {
    kept: Vec<u8>,
    spill: Option<NewFile>,
}

impl Leaves {
    /// Bytes kept in memory.
    const KEPT: usize = 32 << 20;

    fn push(&mut self, leaves: &[Digest], beside: &NewFile) -> Result<(), Error> {
        self.kept.extend(leaves.iter().flat_map(|leaf| leaf.0));
        if self.kept.len() < Leaves::KEPT {
            return Ok(());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(beside.beside()?),
        };
        spill.write(&self.kept)?;
        self.kept.clear();
        Ok(())
    }

    fn append_to(self, file: &mut NewFile) -> Result<(), Error> {
        if let Some(mut spill) = self.spill {
            spill.append_to(file)?;
        }
        file.write(&self.kept)
    }
}

/// A block on its way to the file.
struct Job {
    raw: Aligned,
    headers: Vec<FrameHeader>,
    first: u64,
}

/// A block ready to be written.
struct Done {
    block: Block,
    headers: Vec<FrameHeader>,
    encoded: Result<([u8; 32], Option<Vec<u8>>), String>,
    scanned: Scanned,
    subtrees: Vec<Subtree>,
    /// Records that say what a run, a document or a seed is.
    telling: Vec<StoredRecord>,
}

fn write_blocks(
    reader: &LogReader,
    chosen: &Chosen,
    options: &SealOptions<'_>,
    identity: Identity,
    file: &mut NewFile,
) -> Result<Written, Error> {
    // Where nothing of a run may be missed, a record must be known to be whole before it is left out.
    let bodies = matches!(chosen.selection, Selection::Runs(_));
    let mut frames = reader.frames(chosen.first(), chosen.last(), bodies);
    let used: Mutex<Vec<(Aligned, Vec<FrameHeader>)>> = Mutex::default();
    let (mut first, mut more) = (0, true);
    let source = || -> Option<Result<Job, Error>> {
        let (bytes, headers) = used.lock().pop().unwrap_or_default();
        let mut batch = Batch::reused(bytes, headers);
        if !more {
            return None;
        }
        let mut choose =
            |header: &FrameHeader, peek: Peek<'_>| chosen.choice(header, peek, options);
        match frames.fill(&mut batch, BLOCK_LEN, &mut choose) {
            Ok(go_on) => more = go_on,
            Err(error) => {
                more = false;
                return Some(Err(error));
            }
        }
        if batch.is_empty() {
            return None;
        }
        let (raw, headers) = batch.take();
        let job = Job {
            raw,
            first,
            headers,
        };
        first += job.headers.len() as u64;
        Some(Ok(job))
    };
    let work =
        |job: Result<Job, Error>| job.and_then(|job| finish(job, identity, options.compress));
    let mut written = Written::default();
    let taken = pool::stream(options.workers, source, &work, |done| {
        let (raw, headers) = written.take(done?, file)?;
        used.lock().push((raw, headers));
        Ok(())
    });
    match taken {
        Ok(()) => Ok(written),
        Err(error @ Error::Io { .. }) => Err(error),
        Err(error) => Err(chosen.explained(reader, error)),
    }
}

impl Written {
    /// Writes the next block; gives back its memory.
    fn take(
        &mut self,
        done: Done,
        file: &mut NewFile,
    ) -> Result<(Aligned, Vec<FrameHeader>), Error> {
        if let Some(fault) = done.scanned.fault {
            return Err(Error::Selection {
                why: format!("a record of the log is not as it must be: {fault}"),
            });
        }
        let (head, packed) = done.encoded.map_err(|why| Error::Selection { why })?;
        let stored = packed.as_deref().unwrap_or(&done.block.raw);
        file.write(&head)?;
        file.write(stored)?;
        self.bytes += BLOCK_HEAD_LEN + stored.len() as u64;
        self.blocks += 1;
        self.leaves.push(&done.scanned.leaves, file)?;
        for subtree in done.subtrees {
            self.tree.push_subtree(subtree);
        }
        for record in &done.telling {
            self.rows.take(record)?;
        }
        merge(&mut self.heads, &done.scanned.heads);
        Ok((done.block.raw, done.headers))
    }
}

fn finish(job: Job, identity: Identity, compress: bool) -> Result<Done, Error> {
    let (count, len) = (job.headers.len() as u32, job.raw.len() as u32);
    let block = Block {
        at: BLOCK_HEAD_LEN,
        head: BlockHead {
            raw_len: len,
            stored_len: len,
            count,
            first: job.first,
            crc: 0,
        },
        raw: job.raw,
    };
    let scanned = scan_with(&block, identity, Some(&job.headers));
    let mut telling = Vec::new();
    if scanned.fault.is_none() {
        let mut at = 0;
        for header in &job.headers {
            let end = at + header.frame_len() as usize;
            if tells(header) {
                let frame = &block.raw[at..end];
                let record = StoredRecord::carried(identity, header.offset, frame, "the log")?;
                telling.push(record);
            }
            at = end;
        }
    }
    Ok(Done {
        subtrees: subtrees(job.first, &scanned.leaves),
        encoded: block::packed(&block.raw, count, job.first, compress),
        scanned,
        telling,
        headers: job.headers,
        block,
    })
}

/// Whether rows say more of a record than where it stands and what its history digest is.
fn tells(header: &FrameHeader) -> bool {
    header.seq == 1
        || matches!(
            Kind::from_u8(header.kind),
            Some(Kind::Start | Kind::End | Kind::Definition | Kind::Seed)
        )
}
