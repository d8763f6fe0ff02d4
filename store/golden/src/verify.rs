//! Verify: is the archive what was sealed, and who vouches for that?

use crate::block::Block;
use crate::container::{Container, NoteBlock};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::note::{Checkpoint, Note};
use crate::pool;
use crate::scan::{Heads, Scanned, merge, scan};
use crate::seals::{self, Placed};
use crate::trust::Trust;
use aos_format::digest::Digest;
use aos_format::merkle::{Peaks, Subtree, subtrees};
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_store::Aligned;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Findings kept; more are counted.
const FINDINGS_MAX: usize = 100;

/// The answer. Worse is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// Everything holds, and keys that count vouch for it.
    Valid,
    /// What is there holds, but the anchor tells of more, or of another log.
    Incomplete,
    /// What is there agrees with itself, but nobody who counts vouches for it.
    Untrusted,
    /// Bytes fail a checksum or a length: damage, or a clumsy change.
    Corrupt,
    /// Checksums hold, digests or signatures do not: somebody changed it.
    Tampered,
}

impl Verdict {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::Incomplete => "incomplete",
            Verdict::Untrusted => "untrusted",
            Verdict::Corrupt => "corrupt",
            Verdict::Tampered => "tampered",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What, where, expected and found.
    pub error: Error,
    /// Number of the record concerned, from 0.
    pub record: Option<u64>,
    /// Where that record stands in the log.
    pub offset: Option<Offset>,
}

/// What came of one signature line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignatureState {
    /// By a key that counts, and it holds.
    Holds,
    /// By a key that counts, and it does not hold.
    Fails,
    /// By a key that the trust file does not name.
    Unknown,
}

impl SignatureState {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            SignatureState::Holds => "holds",
            SignatureState::Fails => "fails",
            SignatureState::Unknown => "unknown",
        }
    }
}

/// A signature line of the archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignatureReport {
    /// Number of its note in the chain of custody, from 0.
    pub note: u64,
    /// Name of the key.
    pub name: String,
    /// First bytes of the key's digest.
    pub key_hash: [u8; 4],
    /// What came of it.
    pub state: SignatureState,
    /// Algorithm of the key, when it is known.
    pub algorithm: Option<&'static str>,
    /// Why the archive was signed again.
    pub reason: Option<String>,
}

/// What an anchor showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnchorState {
    /// None was given: truncation and rollback were not checked.
    NotGiven,
    /// The archive continues the anchored tree, or is it.
    Holds {
        /// Records it covers.
        size: u64,
    },
    /// The anchored tree is another one.
    Fork {
        /// Records it covers.
        size: u64,
    },
    /// The anchor covers more records than the archive has.
    Behind {
        /// Records it covers.
        size: u64,
    },
    /// The anchor is of another tree.
    Foreign {
        /// Its origin.
        origin: String,
    },
}

/// How to verify.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions<'a> {
    /// Which keys count; without them nothing is more than untrusted.
    pub trust: Option<&'a Trust>,
    /// A checkpoint kept elsewhere, as signed note or bare text.
    pub anchor: Option<&'a [u8]>,
    /// Threads; 0 counts as 1.
    pub workers: usize,
}

/// What verifying found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verification {
    /// The answer.
    pub verdict: Verdict,
    /// The first findings.
    pub findings: Vec<Finding>,
    /// Number of all findings.
    pub finding_count: u64,
    /// The manifest, when it could be read.
    pub manifest: Option<Manifest>,
    /// Records that are proven to be what was sealed, from the first on, when anything is wrong.
    pub good_records: u64,
    /// Offset of the last of those.
    pub good_through: Option<Offset>,
    /// Signature lines.
    pub signatures: Vec<SignatureReport>,
    /// What the anchor showed.
    pub anchor: AnchorState,
    /// Values that were cut off.
    pub redacted: u64,
    /// SEALs of the log that agree with the records carried of their ranges.
    pub seals: u64,
    /// SEALs whose ranges the archive does not carry.
    pub seals_beyond: u64,
    /// Length of the file in bytes.
    pub bytes: u64,
}

/// Verifies an archive on several threads. The result does not depend on their number.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Newer`]; [`Error::Text`] for an anchor that is no checkpoint. Faults
/// of the archive are findings.
pub fn verify(
    container: Result<Container, Error>,
    options: &VerifyOptions<'_>,
) -> Result<Verification, Error> {
    let anchor = options.anchor.map(read_anchor).transpose()?;
    match container {
        Ok(container) => Checker::new(&container).run(options, anchor.as_ref()),
        Err(error @ (Error::Io { .. } | Error::Newer { .. })) => Err(error),
        Err(error) => {
            let mut found = Found::default();
            found.add(error, None, None);
            Ok(found.verification(0))
        }
    }
}

/// A checkpoint, with signatures or without.
pub(crate) fn read_anchor(bytes: &[u8]) -> Result<(Checkpoint, Option<Note>), Error> {
    match Note::parse(bytes) {
        Ok(note) => Ok((Checkpoint::parse(&note.text)?, Some(note))),
        Err(_) => {
            let text = std::str::from_utf8(bytes).map_err(|_| Error::Text {
                what: "checkpoint",
                why: "not UTF-8".into(),
            })?;
            Ok((Checkpoint::parse(text)?, None))
        }
    }
}

#[derive(Default)]
struct Found {
    findings: Vec<Finding>,
    count: u64,
    tampered: bool,
}

impl Found {
    fn add(&mut self, error: Error, record: Option<u64>, offset: Option<Offset>) {
        self.count += 1;
        self.tampered |= matches!(error, Error::Tampered { .. });
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding {
                error,
                record,
                offset,
            });
        }
    }

    fn tampered(&mut self, at: u64, place: &str, expected: String, found: String) {
        self.add(
            Error::Tampered {
                at,
                place: place.into(),
                expected,
                found,
            },
            None,
            None,
        );
    }

    fn verification(self, bytes: u64) -> Verification {
        Verification {
            verdict: match (self.count, self.tampered) {
                (0, _) => Verdict::Valid,
                (_, true) => Verdict::Tampered,
                (_, false) => Verdict::Corrupt,
            },
            findings: self.findings,
            finding_count: self.count,
            manifest: None,
            good_records: 0,
            good_through: None,
            signatures: Vec::new(),
            anchor: AnchorState::NotGiven,
            redacted: 0,
            seals: 0,
            seals_beyond: 0,
            bytes,
        }
    }
}

/// What a worker hands over of one block.
struct Checked {
    scanned: Scanned,
    subtrees: Vec<Subtree>,
    /// Numbers of records whose leaf is not the stored one.
    differ: Vec<u64>,
    stored: Result<(), Error>,
}

struct Checker<'a> {
    container: &'a Container,
    found: Found,
    tree: Peaks,
    whole: bool,
    heads: Heads,
    differ: Vec<(u64, Offset, u64)>,
    /// Numbers of records that cannot be read.
    unread: Vec<u64>,
    last: Offset,
    redacted: u64,
    seeds: u64,
    seals: Vec<Placed>,
    /// Offset of the first record of each block.
    firsts: Vec<Offset>,
}

impl<'a> Checker<'a> {
    fn new(container: &'a Container) -> Checker<'a> {
        Checker {
            container,
            found: Found::default(),
            tree: Peaks::default(),
            whole: true,
            heads: Heads::new(),
            differ: Vec::new(),
            unread: Vec::new(),
            last: Offset(0),
            redacted: 0,
            seeds: 0,
            seals: Vec::new(),
            firsts: Vec::new(),
        }
    }

    fn run(
        mut self,
        options: &VerifyOptions<'_>,
        anchor: Option<&(Checkpoint, Option<Note>)>,
    ) -> Result<Verification, Error> {
        let container = self.container;
        let manifest = match self.blocks(options.workers)? {
            Ok(manifest) => Some(manifest),
            Err(error) => {
                let at = container.manifest_at();
                self.found
                    .tampered(at, "manifest", "a manifest".into(), error.to_string());
                None
            }
        };
        let mut signatures = Vec::new();
        let mut trusted = false;
        let mut state = AnchorState::NotGiven;
        let mut good = 0;
        let mut seals = (0, 0);
        if let Some(manifest) = &manifest {
            good = self.tree(manifest)?;
            self.manifest(manifest);
            // The stored leaves are those of the records then, and the records are the ones that were sealed.
            if self.found.count == 0 {
                seals = self.seals(manifest, options.workers)?;
            }
            (signatures, trusted) = self.notes(manifest, options.trust);
            if let Some((checkpoint, note)) = anchor {
                self.anchor_note(checkpoint, note.as_ref(), options.trust);
                state = self.anchor(manifest, checkpoint)?;
            }
        }
        let mut result = std::mem::take(&mut self.found).verification(container.len);
        if result.verdict == Verdict::Valid && !trusted {
            result.verdict = Verdict::Untrusted;
        } else if result.verdict == Verdict::Valid
            && matches!(
                state,
                AnchorState::Behind { .. } | AnchorState::Foreign { .. }
            )
        {
            result.verdict = Verdict::Incomplete;
        }
        (result.good_records, result.good_through) = (good, self.offset_before(good)?);
        result.manifest = manifest;
        result.signatures = signatures;
        result.anchor = state;
        result.redacted = self.redacted;
        (result.seals, result.seals_beyond) = seals;
        Ok(result)
    }

    /// Checks the log's own seals. Returns how many agree, and of how many the range is not carried.
    fn seals(&mut self, manifest: &Manifest, workers: usize) -> Result<(u64, u64), Error> {
        let (firsts, seals) = (&self.firsts, &self.seals);
        let checked = seals::check(self.container, manifest, firsts, seals, workers)?;
        if let Some((error, record, offset)) = checked.fault {
            self.found.add(error, Some(record), Some(offset));
        }
        Ok((checked.agree, checked.beyond))
    }

    /// Checks the blocks, and reads the manifest beside them.
    fn blocks(&mut self, workers: usize) -> Result<Result<Manifest, Error>, Error> {
        let container = self.container;
        let used: Mutex<Vec<Aligned>> = Mutex::default();
        let manifest = OnceLock::new();
        let work = |job: usize| -> Result<Option<Checked>, Error> {
            let Some(index) = job.checked_sub(1) else {
                manifest.get_or_init(|| Manifest::decode(&container.manifest));
                return Ok(None);
            };
            let memory = used.lock().pop().unwrap_or_default();
            let block = Block::read_into(container, index, memory)?;
            let scanned = scan(&block, container.header.identity);
            let first = block.head.first;
            let (differ, stored) = match container.leaves(first, scanned.leaves.len()) {
                Ok(stored) if stored == scanned.leaves => (Vec::new(), Ok(())),
                Ok(stored) => {
                    let pairs = scanned.leaves.iter().zip(&stored).enumerate();
                    let differ = pairs
                        .filter(|(_, (computed, stored))| computed != stored)
                        .map(|(number, _)| first + number as u64);
                    (differ.collect(), Ok(()))
                }
                Err(error) => (Vec::new(), Err(error)),
            };
            used.lock().push(block.raw);
            Ok(Some(Checked {
                subtrees: subtrees(first, &scanned.leaves),
                scanned,
                differ,
                stored,
            }))
        };
        let jobs = container.heads.len() + 1;
        pool::in_order(workers, jobs, &work, |job, checked| {
            match (job.checked_sub(1), checked.transpose()) {
                (Some(index), Some(checked)) => self.block(index, checked),
                _ => Ok(()),
            }
        })?;
        Ok(manifest.into_inner().expect("the first job reads it"))
    }

    fn block(&mut self, index: usize, checked: Result<Checked, Error>) -> Result<(), Error> {
        let first = self.container.heads[index].1.first;
        let checked = match checked {
            Ok(checked) => checked,
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => {
                self.fault(error, first);
                return Ok(());
            }
        };
        checked.stored?;
        let Scanned {
            places,
            heads,
            redacted,
            seeds,
            seals,
            fault,
            ..
        } = checked.scanned;
        self.firsts
            .extend(places.first().map(|(offset, _)| *offset));
        self.seals.extend(seals);
        if let Some((offset, at)) = places.first()
            && *offset <= self.last
        {
            let error = Error::Tampered {
                at: *at,
                place: format!("record {first}"),
                expected: format!("an offset above {}", self.last),
                found: format!("offset {offset}"),
            };
            self.fault(error, first);
        }
        self.last = places.last().map_or(self.last, |(offset, _)| *offset);
        for number in checked.differ {
            let (offset, at) = places[(number - first) as usize];
            self.differ.push((number, offset, at));
        }
        if let Some(fault) = fault {
            self.fault(fault, first + places.len() as u64);
        }
        if self.whole {
            for subtree in checked.subtrees {
                self.tree.push_subtree(subtree);
            }
        }
        merge(&mut self.heads, &heads);
        self.redacted += redacted;
        self.seeds += seeds;
        Ok(())
    }

    fn fault(&mut self, error: Error, record: u64) {
        self.whole = false;
        self.unread.push(record);
        self.found.add(error, Some(record), None);
    }

    /// Compares the records with the tree. Returns how many, from the first on, are proven to be what was sealed.
    fn tree(&mut self, manifest: &Manifest) -> Result<u64, Error> {
        let records = self.container.header.records;
        if manifest.size != records {
            let at = self.container.manifest_at();
            self.found.tampered(
                at,
                "manifest",
                format!("{} records", manifest.size),
                format!("{records}"),
            );
            return Ok(0);
        }
        let computed = self.whole.then(|| self.tree.root());
        if computed == Some(manifest.root) {
            if let Some((number, _, _)) = self.differ.first() {
                // The records are proven; what is wrong is the copy of their leaves.
                self.found.add(
                    Error::Corrupt {
                        at: self.container.tree_at() + 32 * number,
                        place: format!("tree, leaf {number}"),
                        expected: "the leaf of that record".into(),
                        found: "another hash".into(),
                    },
                    None,
                    None,
                );
            }
            return Ok(records);
        }
        if self.stored_root(records)? != manifest.root {
            let (expected, found) = (
                format!("root {}", manifest.root),
                computed.map_or("records that cannot be read".into(), |root| {
                    format!("root {root}")
                }),
            );
            let at = self.container.tree_at();
            self.found.tampered(at, "tree", expected, found);
            return Ok(0);
        }
        // The stored leaves are the sealed ones, so they tell which record is not.
        for (number, offset, at) in std::mem::take(&mut self.differ) {
            self.found.add(
                Error::Tampered {
                    at,
                    place: format!("record {number} at offset {offset}"),
                    expected: "the record that was sealed".into(),
                    found: "another one".into(),
                },
                Some(number),
                Some(offset),
            );
            self.unread.push(number);
        }
        Ok(self.unread.iter().min().copied().unwrap_or(records))
    }

    /// Root of the first `size` stored leaves.
    fn stored_root(&self, size: u64) -> Result<Digest, Error> {
        let mut peaks = Peaks::default();
        while peaks.size() < size {
            let count = (size - peaks.size()).min(32 << 10) as usize;
            for leaf in self.container.leaves(peaks.size(), count)? {
                peaks.push(leaf);
            }
        }
        Ok(peaks.root())
    }

    /// Compares what the manifest says with header and records.
    fn manifest(&mut self, manifest: &Manifest) {
        let header = &self.container.header;
        let at = self.container.manifest_at();
        let mut wrong = |what: &str, expected: String, found: String| {
            self.found
                .tampered(at, &format!("manifest, {what}"), expected, found);
        };
        if (manifest.log_id, manifest.stride)
            != (header.identity.log_id, header.identity.stride.bytes())
        {
            wrong(
                "log",
                format!("{} with segments of {}", manifest.log_id, manifest.stride),
                format!(
                    "{} with segments of {}",
                    header.identity.log_id,
                    header.identity.stride.bytes()
                ),
            );
        }
        if !self.whole {
            return;
        }
        if self.seeds > 0 && !manifest.seeds {
            wrong("seeds", "no seed".into(), format!("{}", self.seeds));
        }
        for run in &manifest.runs {
            let head = self.heads.get(&StreamId::run(run.run));
            let as_said = head.is_some_and(|head| {
                head.digest == Some(run.history_digest)
                    && (head.offset, head.seq, head.count) == (run.head, run.records, run.records)
            });
            if !as_said {
                wrong(
                    &format!("run {}", run.run),
                    format!("history {} in {} records", run.history_digest, run.records),
                    head.map_or("no record of it".into(), |head| {
                        let digest = head.digest.unwrap_or_default();
                        format!("history {digest} in {} records", head.count)
                    }),
                );
            }
        }
    }

    /// Judges the notes. Returns their lines, and whether enough keys that count vouch for the archive.
    fn notes(
        &mut self,
        manifest: &Manifest,
        trust: Option<&Trust>,
    ) -> (Vec<SignatureReport>, bool) {
        let mut reports = Vec::new();
        let mut vouching = BTreeSet::new();
        let mut before = Digest::ZERO;
        let digest = Digest::of(&self.container.manifest);
        for (number, block) in self.container.notes.iter().enumerate() {
            let place = format!("note {number}");
            match read_note(block, manifest, &digest, number as u64, &before) {
                Ok((note, checkpoint)) => {
                    for signature in &note.signatures {
                        let (state, who) = judge(&note, signature, trust);
                        match state {
                            SignatureState::Holds => vouching.extend(who.filter(|who| {
                                trust.is_some_and(|trust| trust.verifiers[*who].vouches())
                            })),
                            SignatureState::Fails => self.found.tampered(
                                block.at,
                                &place,
                                format!("a signature of {} that holds", signature.name),
                                "one that does not".into(),
                            ),
                            SignatureState::Unknown => {}
                        }
                        reports.push(SignatureReport {
                            note: number as u64,
                            name: signature.name.clone(),
                            key_hash: signature.key_hash,
                            state,
                            algorithm: who
                                .zip(trust)
                                .map(|(who, trust)| trust.verifiers[who].algorithm().name()),
                            reason: checkpoint.line("reason").map(str::to_owned),
                        });
                    }
                }
                Err((expected, found)) => self.found.tampered(block.at, &place, expected, found),
            }
            before = block.digest();
        }
        let trusted = trust.is_some_and(|trust| vouching.len() >= trust.threshold);
        (reports, trusted)
    }

    fn anchor_note(&mut self, checkpoint: &Checkpoint, note: Option<&Note>, trust: Option<&Trust>) {
        for signature in note.iter().flat_map(|note| &note.signatures) {
            let failed =
                note.is_some_and(|note| judge(note, signature, trust).0 == SignatureState::Fails);
            if failed {
                self.found.tampered(
                    0,
                    "anchor",
                    format!("a signature of {} that holds", signature.name),
                    format!("one that does not, over {} records", checkpoint.size),
                );
            }
        }
    }

    fn anchor(&mut self, manifest: &Manifest, anchor: &Checkpoint) -> Result<AnchorState, Error> {
        let size = anchor.size;
        if anchor.origin != manifest.origin {
            return Ok(AnchorState::Foreign {
                origin: anchor.origin.clone(),
            });
        }
        if size > manifest.size {
            return Ok(AnchorState::Behind { size });
        }
        let root = match size == manifest.size {
            true => manifest.root,
            false if self.container.header.records == manifest.size => self.stored_root(size)?,
            false => return Ok(AnchorState::Fork { size }),
        };
        if root == anchor.root {
            return Ok(AnchorState::Holds { size });
        }
        self.found.tampered(
            self.container.tree_at(),
            "anchor",
            format!("root {} over the first {size} records", anchor.root),
            format!("root {root}"),
        );
        Ok(AnchorState::Fork { size })
    }

    /// Offset of the record before number `count`.
    fn offset_before(&self, count: u64) -> Result<Option<Offset>, Error> {
        let Some(number) = count.checked_sub(1) else {
            return Ok(None);
        };
        let holds = |head: &crate::block::BlockHead| {
            head.first <= number && number < head.first + u64::from(head.count)
        };
        let index = self
            .container
            .heads
            .iter()
            .position(|(_, head)| holds(head));
        let Some(index) = index else { return Ok(None) };
        let block = match Block::read(self.container, index) {
            Ok(block) => block,
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => return Ok(None),
        };
        Ok(block.offset(self.container.header.identity, number - block.head.first))
    }
}

/// Whose signature it is by the trust file, and whether it holds.
fn judge(
    note: &Note,
    signature: &crate::note::Signature,
    trust: Option<&Trust>,
) -> (SignatureState, Option<usize>) {
    let verifiers = trust
        .map(|trust| trust.verifiers.as_slice())
        .unwrap_or_default();
    let mut known = (SignatureState::Unknown, None);
    for (who, verifier) in verifiers.iter().enumerate() {
        let held = verifier.holds(&note.text, signature);
        match held.or_else(|| verifier.cosigns(&note.text, signature)) {
            Some(true) => return (SignatureState::Holds, Some(who)),
            Some(false) => known = (SignatureState::Fails, Some(who)),
            None => {}
        }
    }
    known
}

/// A note of the archive, when it speaks of this archive in its place; else what was expected and found.
fn read_note(
    block: &NoteBlock,
    manifest: &Manifest,
    digest: &Digest,
    number: u64,
    before: &Digest,
) -> Result<(Note, Checkpoint), (String, String)> {
    let note = Note::parse(&block.text).map_err(|error| ("a note".into(), error.to_string()))?;
    let checkpoint = Checkpoint::parse(&note.text)
        .map_err(|error| ("a checkpoint".into(), error.to_string()))?;
    let head = |checkpoint: &Checkpoint| {
        format!(
            "{}, {} records, root {}",
            checkpoint.origin, checkpoint.size, checkpoint.root
        )
    };
    let expected = Checkpoint {
        origin: manifest.origin.clone(),
        size: manifest.size,
        root: manifest.root,
        lines: Vec::new(),
    };
    if head(&checkpoint) != head(&expected) {
        return Err((head(&expected), head(&checkpoint)));
    }
    for (word, line) in [
        ("manifest", format!("sha256 {digest}")),
        ("custody", format!("{number} {before}")),
    ] {
        if checkpoint.line(word) != Some(line.as_str()) {
            return Err((
                format!("{word} {line}"),
                checkpoint.line(word).unwrap_or("none, or several").into(),
            ));
        }
    }
    Ok((note, checkpoint))
}
