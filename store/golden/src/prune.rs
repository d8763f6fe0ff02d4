//! Pruning a log whose beginning stands in archives that verify, and what is proven across that cut.

use crate::archive::Archive;
use crate::container::Container;
use crate::error::Error;
use crate::json::base64;
use crate::key::Key;
use crate::note::{Checkpoint, Note};
use crate::proof::{CONSISTENCY, push_hashes};
use crate::trust::Trust;
use crate::verify::{Verdict, VerifyOptions, read_anchor, verify};
use aos_disk::Disk;
use aos_format::digest::{Digest, Hasher};
use aos_format::frame::{FRAME_HEADER_LEN, FrameHeader};
use aos_format::leaf::leaf;
use aos_format::merkle::{Peaks, consistency, root};
use aos_format::offset::Offset;
use aos_format::record::RecordView;
use aos_store::{
    Aligned, LogReader, PruneReport, PrunedArchive, Pruning, Source, StoredRecord,
    prune as prune_log,
};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How to prune.
#[derive(Clone, Debug)]
pub struct PruneOptions<'a> {
    /// Archives that hold what goes.
    pub archives: &'a [PathBuf],
    /// Which keys count; every archive must be valid by them.
    pub trust: &'a Trust,
    /// Bytes at the end of the log that stay at least.
    pub keep: u64,
    /// Says what would be done, and changes nothing.
    pub dry_run: bool,
    /// Threads, from 1.
    pub workers: usize,
}

/// Verifies the archives, then prunes what they hold from the beginning of the log at `path`.
///
/// # Errors
/// [`Error::Untrusted`], or what is wrong with an archive; [`Error::Selection`] for one of another log; [`Error::Store`] from
/// [`aos_store::prune()`].
pub fn prune(
    disk: Arc<dyn Disk>,
    path: &Path,
    options: &PruneOptions<'_>,
) -> Result<PruneReport, Error> {
    let reader = LogReader::open(disk.clone(), path)?;
    let mut archives = Vec::new();
    let mut named = Vec::new();
    for file in options.archives {
        let (archive, name) = admit(file, &reader, options)?;
        named.push(name);
        archives.push(archive);
    }
    let end = reader.tail()?.durable;
    drop(reader);
    let mut holds = |record: &StoredRecord, kept: bool| {
        for archive in &archives {
            if archive.number(record.offset()).is_some() && same(archive, record, kept)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let mut pruning = Pruning {
        upto: Offset(end.0.saturating_sub(options.keep)),
        archives: named,
        holds: &mut holds,
        dry_run: options.dry_run,
    };
    Ok(prune_log(disk, path, &mut pruning)?)
}

/// Verifies an archive of the log, and reads what PRUNED says of it.
fn admit(
    file: &Path,
    log: &LogReader,
    options: &PruneOptions<'_>,
) -> Result<(Archive, PrunedArchive), Error> {
    let judge = VerifyOptions {
        trust: Some(options.trust),
        anchor: None,
        workers: options.workers,
    };
    let container = Container::open(file)?;
    if container.header.identity != log.identity() {
        return Err(Error::Selection {
            why: format!(
                "{} is of log {}, not of {}",
                file.display(),
                container.header.identity.log_id,
                log.identity().log_id
            ),
        });
    }
    let found = verify(Ok(container), &judge)?;
    match found.verdict {
        Verdict::Valid => {}
        Verdict::Untrusted | Verdict::Incomplete => {
            return Err(Error::Untrusted {
                why: format!("no key that counts vouches for {}", file.display()),
            });
        }
        Verdict::Corrupt | Verdict::Tampered => {
            let first = found
                .findings
                .into_iter()
                .next()
                .map(|finding| finding.error);
            return Err(first.unwrap_or(Error::Incomplete {
                why: format!("{} does not verify", file.display()),
            }));
        }
    }
    let archive = Archive::open(file)?;
    let manifest = archive.manifest();
    let name = file.file_name().unwrap_or(file.as_os_str());
    let named = PrunedArchive {
        name: name.to_string_lossy().into_owned(),
        sha256: digest_of(file)?,
        origin: manifest.origin.clone(),
        records: manifest.size,
        root: manifest.root,
        start: archive.offsets().next().unwrap_or_default(),
        end: archive.index()?.end,
    };
    Ok((archive, named))
}

fn digest_of(file: &Path) -> Result<Digest, Error> {
    let fail = Error::io("read", file);
    let mut input = std::fs::File::open(file).map_err(&fail)?;
    let (mut hasher, mut window) = (Hasher::default(), vec![0; 1 << 20]);
    loop {
        match input.read(&mut window).map_err(&fail)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&window[..read]),
        }
    }
}

/// Whether the archive holds the record as it stands; of one that stays in the log its leaf is enough.
fn same(archive: &Archive, record: &StoredRecord, kept: bool) -> Result<bool, aos_store::Error> {
    let frame = archive.frame(record.offset())?;
    let (head, body) = frame.split_at(FRAME_HEADER_LEN as usize);
    let own = record.body();
    let verbatim = head == record.header().encode()
        && body.get(..own.len()) == Some(own)
        && body.len() as u64 == record.header().frame_len() - FRAME_HEADER_LEN;
    if verbatim || !kept {
        return Ok(verbatim);
    }
    let stride = archive.container().header.identity.stride;
    let of = |header: &FrameHeader, body: &[u8]| {
        let body = Aligned::copy_of(&body[..header.body_len as usize]);
        let view = RecordView::of_frame(header, &body).ok()?;
        Some(leaf(header, &body, &view).hash)
    };
    let carried = FrameHeader::decode(head, stride).ok();
    let carried = carried.and_then(|header| of(&header, body));
    Ok(carried.is_some() && carried == of(record.header(), own))
}

/// Proof that the tree of the log at its durable end continues an older checkpoint of it, from the leaves that `archives`
/// carry of its pruned beginning and those of the records that are there. The newer checkpoint is signed with `key`, if there
/// is one.
///
/// # Errors
/// [`Error::Proof`] when the checkpoint is of another tree, or of one that the log does not continue;
/// [`Error::Incomplete`] when the archives do not hold all that was pruned; those of reading.
pub fn prove_log(
    archives: &[Archive],
    log: &LogReader,
    old: &[u8],
    key: Option<&Key>,
) -> Result<String, Error> {
    let (before, _) = read_anchor(old)?;
    let fail = |why: String| Error::Proof { why };
    let origin = format!("aos.log/{}", log.identity().log_id);
    if before.origin != origin {
        let why = format!(
            "the checkpoint is of {}, the log of {origin}",
            before.origin
        );
        return Err(fail(why));
    }
    let mut leaves = pruned_leaves(archives, log)?;
    let stride = log.identity().stride;
    let end = log.tail()?.durable;
    let mut at = log.pruned().map_or(Offset(0), |base| base.end());
    while at < end {
        leaves.extend(log.leaves(at, end.min(stride.segment_end(at)))?.leaves);
        at = stride.segment_end(at);
    }
    let size = leaves.len() as u64;
    if before.size > size {
        let why = format!(
            "the checkpoint covers {} records, the log {size}",
            before.size
        );
        return Err(fail(why));
    }
    let mut note = Note::new(
        Checkpoint {
            origin,
            size,
            root: root(&leaves),
            lines: Vec::new(),
        }
        .text(),
    );
    if let Some(key) = key {
        note.sign(key);
    }
    let hashes = consistency(&leaves, before.size as usize).unwrap_or_default();
    let mut out = format!("{CONSISTENCY}\nold {}\n", base64(old));
    push_hashes(&mut out, &hashes);
    out.push_str(&match key {
        Some(_) => note.encode(),
        None => note.text.clone(),
    });
    crate::proof::check(out.as_bytes(), None)?;
    Ok(out)
}

/// The leaves of what was pruned, which must give the tree that PRUNED names.
fn pruned_leaves(archives: &[Archive], log: &LogReader) -> Result<Vec<Digest>, Error> {
    let Some(base) = log.pruned() else {
        return Ok(Vec::new());
    };
    let mut order: Vec<&Archive> = archives
        .iter()
        .filter(|archive| archive.container().header.identity == log.identity())
        .filter(|archive| archive.manifest().selection != "runs")
        .collect();
    order.sort_by_key(|archive| archive.offsets().next());
    let (mut leaves, mut last, mut tree) = (Vec::new(), Offset(0), Peaks::default());
    for archive in order {
        let stored = archive.container().leaves(0, archive.offsets().len())?;
        for (offset, leaf) in archive.offsets().zip(stored) {
            if offset > last && offset < base.end() {
                leaves.push(leaf);
                tree.push(leaf);
                last = offset;
            }
        }
    }
    let (kept, _) = base.tree();
    if (tree.size(), tree.root()) != (kept.size(), kept.root()) {
        return Err(Error::Incomplete {
            why: format!(
                "the archives give {} of the {} records that were pruned, or others: root {}, PRUNED says {}",
                tree.size(),
                kept.size(),
                tree.root(),
                kept.root()
            ),
        });
    }
    Ok(leaves)
}

/// Refuses to seal what a log does not have any more: all of it, or segments from `first` on below the pruned point.
pub(crate) fn refuse_pruned(log: &LogReader, first: Option<Offset>) -> Result<(), Error> {
    let Some(base) = log.pruned() else {
        return Ok(());
    };
    if first.is_some_and(|first| first >= base.end()) {
        return Ok(());
    }
    let names: Vec<&str> = base.archives().iter().map(|a| a.name.as_str()).collect();
    Err(Error::Selection {
        why: format!(
            "the log was pruned up to offset {}: the records below are in {}; choose runs, or segments from there on",
            base.end(),
            names.join(", ")
        ),
    })
}
