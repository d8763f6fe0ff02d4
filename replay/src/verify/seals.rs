//! Seals: do the log's own records of what it was agree with what it is?

use crate::error::Error;
use crate::finding::{Finding, code};
use crate::pool::{self, Threads};
use aos_format::digest::Digest;
use aos_format::event::{Event, Seal};
use aos_format::frame::Kind;
use aos_format::merkle::{Peaks, root};
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_store::{LogReader, Pruned, Sealable};

/// What the seals of a log show.
#[derive(Default)]
pub(super) struct Seals {
    /// Everything below agrees with the chain of seals.
    pub(super) through: u64,
    pub(super) findings: Vec<Finding>,
}

/// A SEAL, where it stands, and its digest.
pub(crate) struct Placed {
    pub(crate) at: Offset,
    pub(crate) seal: Seal,
    pub(crate) digest: Digest,
}

/// Where seals do not follow one another: the first whose range does not begin where the one before ends, that names
/// another one before it, or counts otherwise.
pub(crate) fn broken(seals: &[Placed]) -> Option<Finding> {
    let (mut through, mut before, mut total) = (0, None, 0u64);
    for placed in seals {
        let mut right = placed.seal.clone();
        total = total.saturating_add(right.count);
        (right.start, right.before, right.total) = (through, before, total);
        if right != placed.seal {
            let chained = |seal: &Seal| match seal.before {
                Some(digest) => format!(
                    "a seal from {} on behind {}, {} records in all",
                    seal.start,
                    digest.hex(),
                    seal.total
                ),
                None => format!(
                    "the first seal, from {} on, {} records in all",
                    seal.start, seal.total
                ),
            };
            let (expected, found) = (chained(&right), chained(&placed.seal));
            let finding = Finding::at(code::SEAL, placed.at.0, expected, found);
            return Some(finding.field("before").stream(StreamId::CONTROL));
        }
        (through, before) = (placed.seal.end, Some(placed.digest));
    }
    None
}

/// Checks the chain of seals that ends with the control stream, whose newest record stands at `head`.
///
/// A range that is damaged ends what can be said; the damage has findings of its own.
pub(super) fn check(reader: &LogReader, head: Offset, workers: usize) -> Result<Seals, Error> {
    let mut seals = collect(reader, head)?;
    let (mut found, mut tree, mut before) = (Seals::default(), Peaks::default(), None);
    let mut over = false;
    if seals.is_empty() {
        return Ok(found);
    }
    if let Some(base) = reader.pruned() {
        let below = seals.partition_point(|placed| placed.seal.end <= base.end().0);
        let rest = seals.split_off(below);
        if let Some(finding) = below_pruned(&seals, &base) {
            found.findings.push(finding);
            return Ok(found);
        }
        (tree, before) = (base.tree().0.clone(), Some(base.tree().1));
        found.through = base.end().0;
        seals = rest;
    }
    let work = |index: usize, out: &mut Option<Result<Sealable, aos_store::Error>>| {
        *out = seals.get(index).map(|placed| range(reader, &placed.seal));
    };
    pool::in_order(
        Threads::Caller,
        workers,
        seals.len(),
        &work,
        |index, out| -> Result<(), Error> {
            let placed = &seals[index];
            let range = match out.take() {
                Some(Ok(range)) if !over => range,
                Some(Err(error)) if error.finding().is_none() => return Err(error.into()),
                _ => {
                    over = true;
                    return Ok(());
                }
            };
            range.leaves.iter().for_each(|leaf| tree.push(*leaf));
            let computed = Seal {
                start: found.through,
                end: range.end.0,
                count: range.leaves.len() as u64,
                root: root(&range.leaves),
                before,
                total: tree.size(),
                peaks: tree.hashes().to_vec(),
            };
            if computed == placed.seal {
                (found.through, before) = (placed.seal.end, Some(placed.digest));
            } else {
                over = true;
                found.findings.push(fault(placed, &computed));
            }
            Ok(())
        },
    )?;
    Ok(found)
}

/// Checks the seals over what was pruned: a chain without holes up to what PRUNED says of the tree. That their roots are those
/// of the records only the archives can show.
fn below_pruned(seals: &[Placed], base: &Pruned) -> Option<Finding> {
    let (mut through, mut total, mut before) = (0, 0, None);
    for placed in seals {
        let seal = &placed.seal;
        let follows = seal.start == through
            && seal.before == before
            && seal.end > through
            && seal.total == total + seal.count
            && Peaks::new(seal.total, seal.peaks.clone()).is_some();
        if !follows {
            let expected = format!("a seal of {total} records and more, from {through} on");
            return Some(
                Finding::at(code::SEAL, placed.at.0, expected, said(seal))
                    .field("before")
                    .stream(StreamId::CONTROL),
            );
        }
        (through, total, before) = (seal.end, seal.total, Some(placed.digest));
    }
    let (tree, digest) = base.tree();
    let last = seals.last()?;
    let same = before == Some(digest)
        && through == base.end().0
        && (last.seal.total, &last.seal.peaks[..]) == (tree.size(), tree.hashes());
    (!same).then(|| {
        let expected = format!("{} records up to {} in PRUNED", tree.size(), base.end());
        Finding::at(code::SEAL, last.at.0, expected, said(&last.seal))
            .field("root")
            .stream(StreamId::CONTROL)
    })
}

/// The leaves of a seal's range; none of a range that cannot be.
pub(crate) fn range(reader: &LogReader, seal: &Seal) -> Result<Sealable, aos_store::Error> {
    let (start, end) = (Offset(seal.start), Offset(seal.end));
    if start < end && end <= reader.identity().stride.segment_end(start) {
        return reader.leaves(start, end);
    }
    Ok(Sealable {
        leaves: Vec::new(),
        matters: false,
        end: start,
    })
}

fn said(seal: &Seal) -> String {
    format!(
        "{} records from {} to {} with root {}, {} in all",
        seal.count, seal.start, seal.end, seal.root, seal.total
    )
}

pub(crate) fn fault(placed: &Placed, computed: &Seal) -> Finding {
    Finding::at(code::SEAL, placed.at.0, said(&placed.seal), said(computed))
        .field("root")
        .stream(StreamId::CONTROL)
}

/// The seals of the control stream, in order; none where it cannot be followed to its beginning.
pub(crate) fn collect(reader: &LogReader, head: Offset) -> Result<Vec<Placed>, Error> {
    let mut seals = Vec::new();
    let mut at = head;
    while let Some(offset) = at.some() {
        let record = match reader.read(offset) {
            Ok(record) => record,
            // Damage and gaps have findings of their own.
            Err(aos_store::Error::Finding(_) | aos_store::Error::NoRecord { .. }) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        if record.kind() == Some(Kind::Seal)
            && let Ok(view) = record.view()
            && let Ok((_, Event::Seal(seal))) = Event::decode(Kind::Seal, view.det())
        {
            seals.push(Placed {
                at: offset,
                seal,
                digest: view.digest(),
            });
        }
        at = record.header().prev;
    }
    seals.reverse();
    Ok(seals)
}
