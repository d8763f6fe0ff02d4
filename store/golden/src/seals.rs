//! The log's own seals in an archive: does what a SEAL says of a range agree with the records that are carried of it?
//!
//! A SEAL's leaf proves that the archive holds the SEAL that was sealed, not that it is right. Where its range is carried whole,
//! its count and root are computed again, and the tree over everything below from the seal before it. A range that is not
//! carried, and all seals of an archive of runs, which carries none, are counted and cannot be checked.

use crate::block::Block;
use crate::container::Container;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::pool;
use aos_format::digest::Digest;
use aos_format::event::Seal;
use aos_format::merkle::{Peaks, Subtree, subtrees};
use aos_format::offset::{NUMBER_MAX, Offset};

/// Leaves that are read at a time.
const PIECE: u64 = 32 << 10;

/// A SEAL as the archive carries it.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    /// Number of its record.
    pub(crate) number: u64,
    pub(crate) offset: Offset,
    /// Byte of the file its frame begins at.
    pub(crate) at: u64,
    pub(crate) digest: Digest,
    /// What it says; else why that cannot be read.
    pub(crate) seal: Result<Seal, String>,
}

/// What the seals of an archive show.
#[derive(Default)]
pub(crate) struct Checked {
    /// Seals whose range is carried and that agree with it.
    pub(crate) agree: u64,
    /// Seals whose range is not carried.
    pub(crate) beyond: u64,
    /// The first that is not as it must be.
    pub(crate) fault: Option<(Error, u64, Offset)>,
}

/// What is known before a seal.
struct Before {
    end: u64,
    digest: Option<Digest>,
    tree: Peaks,
}

/// Checks seals of an archive whose stored leaves are those of its records.
pub(crate) fn check(
    container: &Container,
    manifest: &Manifest,
    firsts: &[Offset],
    seals: &[Placed],
    workers: usize,
) -> Result<Checked, Error> {
    let mut checked = Checked::default();
    let range_of = |start: u64, end: u64| {
        let mut ranges = manifest.ranges.iter();
        ranges.position(|(from, to)| from.0 <= start && end <= to.0)
    };
    // Where everything from the log's beginning is carried, the first seal is the log's first.
    let mut before = matches!(manifest.ranges.first(), Some((Offset(0), _))).then(|| Before {
        end: 0,
        digest: None,
        tree: Peaks::default(),
    });
    let mut last = None;
    for placed in seals {
        let wrong = |expected: String, found: String| {
            let error = Error::Tampered {
                at: placed.at,
                place: format!("SEAL, record {} at offset {}", placed.number, placed.offset),
                expected,
                found,
            };
            Some((error, placed.number, placed.offset))
        };
        let seal = match &placed.seal {
            Ok(seal) => seal,
            Err(why) => {
                checked.fault = wrong("a SEAL".into(), why.clone());
                return Ok(checked);
            }
        };
        let Some(claimed) = plausible(seal, placed.offset) else {
            checked.fault = wrong("a range before it, and its tree".into(), said(seal));
            return Ok(checked);
        };
        // Between two seals of one range no other was left out.
        let stands_in = range_of(placed.offset.0, placed.offset.0);
        let follows = before
            .as_ref()
            .filter(|before| before.end == seal.start || last.is_none() || last == Some(stands_in));
        let start = follows.map(|before| before.tree.size());
        let chained = follows.is_none_or(|before| {
            let total = before.tree.size().checked_add(seal.count);
            (before.end, before.digest, total) == (seal.start, seal.before, Some(seal.total))
        });
        if !chained {
            let (end, digest) = follows.map_or((0, None), |before| (before.end, before.digest));
            let behind = |digest: Option<Digest>| digest.map_or("none".into(), |d| d.hex());
            checked.fault = wrong(
                format!("a seal from {end} on behind {}", behind(digest)),
                format!("{}, behind {}", said(seal), behind(seal.before)),
            );
            return Ok(checked);
        }
        if range_of(seal.start, seal.end).is_some() {
            let from = number_at(container, firsts, Offset(seal.start))?;
            let to = number_at(container, firsts, Offset(seal.end))?;
            let tree = follows.map(|before| before.tree.clone());
            let (inner, tree) = computed(container, from..to, tree, start.unwrap_or(0), workers)?;
            let tree = tree.unwrap_or_else(|| claimed.clone());
            if (inner.size(), inner.root()) != (seal.count, seal.root) || tree != claimed {
                let right = Seal {
                    count: inner.size(),
                    root: inner.root(),
                    total: tree.size(),
                    peaks: tree.hashes().to_vec(),
                    ..seal.clone()
                };
                checked.fault = wrong(said(&right), said(seal));
                return Ok(checked);
            }
            checked.agree += 1;
        } else {
            checked.beyond += 1;
        }
        before = Some(Before {
            end: seal.end,
            digest: Some(placed.digest),
            tree: claimed,
        });
        last = Some(stands_in);
    }
    Ok(checked)
}

/// The tree a seal speaks of, where the seal can be one at all.
fn plausible(seal: &Seal, offset: Offset) -> Option<Peaks> {
    let possible = seal.start < seal.end
        && seal.end <= offset.0
        && seal.count <= seal.total
        && seal.total <= NUMBER_MAX.min(1 << 62);
    possible.then(|| Peaks::new(seal.total, seal.peaks.clone()))?
}

fn said(seal: &Seal) -> String {
    let peaks: Vec<String> = seal.peaks.iter().map(Digest::hex).collect();
    format!(
        "{} records from {} to {} with root {}, {} in all under {}",
        seal.count,
        seal.start,
        seal.end,
        seal.root,
        seal.total,
        peaks.join(" ")
    )
}

/// The tree over some leaves, and what it makes of the tree before them.
fn computed(
    container: &Container,
    numbers: std::ops::Range<u64>,
    mut tree: Option<Peaks>,
    start: u64,
    workers: usize,
) -> Result<(Peaks, Option<Peaks>), Error> {
    let count = numbers.end.saturating_sub(numbers.start);
    let mut inner = Peaks::default();
    let goes_on = tree.is_some();
    let work = |piece: usize| -> Result<(Vec<Subtree>, Vec<Subtree>), Error> {
        let at = piece as u64 * PIECE;
        let leaves = container.leaves(numbers.start + at, (count - at).min(PIECE) as usize)?;
        let absolute = match goes_on {
            true => subtrees(start + at, &leaves),
            false => Vec::new(),
        };
        Ok((subtrees(at, &leaves), absolute))
    };
    let pieces = count.div_ceil(PIECE) as usize;
    pool::in_order(workers, pieces, &work, |_, found| -> Result<(), Error> {
        let (relative, absolute) = found?;
        relative
            .into_iter()
            .for_each(|subtree| inner.push_subtree(subtree));
        if let Some(tree) = &mut tree {
            absolute
                .into_iter()
                .for_each(|subtree| tree.push_subtree(subtree));
        }
        Ok(())
    })?;
    Ok((inner, tree))
}

/// Number of records that stand before `offset` in the log.
fn number_at(container: &Container, firsts: &[Offset], offset: Offset) -> Result<u64, Error> {
    let Some(index) = firsts
        .partition_point(|first| *first < offset)
        .checked_sub(1)
    else {
        return Ok(0);
    };
    let identity = container.header.identity;
    let block = Block::read(container, index)?;
    let (mut at, mut after) = (0, Offset(0));
    for inside in 0..u64::from(block.head.count) {
        let number = block.head.first + inside;
        let frame = block.frame(at, identity.stride, identity.log_id.salt(), after, number)?;
        if frame.header.offset >= offset {
            return Ok(number);
        }
        (at, after) = (at + frame.bytes.len(), frame.header.offset);
    }
    Ok(block.head.first + u64::from(block.head.count))
}
