//! The end of a log: clean, torn, or damaged.

use crate::error::{Error, Finding, FindingKind, code};
use crate::group::{Group, Position, Step, Stop, Why};
use crate::place::Listing;
use crate::walk::Walker;
use aos_format::controls::{self, Control};
use aos_format::frame::GROUP_LEN_MAX;
use aos_format::offset::{Offset, Stride, segment_file_name};
use aos_format::segment::DurableWord;

/// What stands after the last valid group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TailState {
    /// Nothing.
    Clean,
    /// A group that was not written whole; the next opening for writing cuts it off.
    Torn {
        /// First byte after the last valid group.
        start: Offset,
        /// Bytes up to the last that is not zero.
        length: u64,
        /// What stands there instead of a group.
        finding: Finding,
    },
    /// The log ends cleanly, but without LOCK nothing shows that its last group was synced or is the last.
    Unproven(Finding),
    /// Nothing that a crash can leave: writing is refused.
    Damage(Finding),
    /// An offset is missing: writing is refused.
    Gap(Finding),
}

impl TailState {
    pub(crate) fn of(finding: Finding) -> TailState {
        match finding.kind {
            FindingKind::Gap => TailState::Gap(finding),
            _ => TailState::Damage(finding),
        }
    }

    /// The fault, unless the tail is clean.
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            TailState::Clean => None,
            TailState::Torn { finding, .. }
            | TailState::Unproven(finding)
            | TailState::Damage(finding)
            | TailState::Gap(finding) => Some(finding),
        }
    }
}

/// How far a walk came.
pub(crate) struct End {
    pub(crate) position: Position,
    pub(crate) stop: Stop,
    /// The last two groups seen on the way, newest last.
    pub(crate) last: Vec<Group>,
}

/// Walks from `position` to where no valid group follows.
pub(crate) fn find_end(walker: &mut Walker, mut position: Position) -> Result<End, Error> {
    let mut last = Vec::new();
    loop {
        match walker.next_group(&position)? {
            Step::Group(group) => {
                position = group.position();
                if last.len() == 2 {
                    last.remove(0);
                }
                last.push(group);
            }
            Step::Stop(stop) => {
                return Ok(End {
                    position,
                    stop,
                    last,
                });
            }
        }
    }
}

/// Walks to the end, from the durable word where it can be trusted, else from the start.
///
/// The finding says that the word names a place where no group ends although the log goes on beyond it.
pub(crate) fn find_end_from_word(
    walker: &mut Walker,
    word: Option<&DurableWord>,
) -> Result<(End, Option<Finding>), Error> {
    let start = walker.segments().start();
    // What was pruned was durable, whatever an old word says.
    let Some(word) = word.filter(|word| word.durable > start.end) else {
        return Ok((find_end(walker, start)?, None));
    };
    if start.end > Offset(0)
        && let Step::Stop(stop) = walker.next_group(&start)?
    {
        // Synced, so it must be there: PRUNED is of another history than what stands behind it.
        let finding = stop.finding(walker.identity().stride);
        return Ok((find_end(walker, start)?, Some(finding)));
    }
    if let Some(position) = walker.position_at(word.durable, word.group, word.epoch)? {
        return Ok((find_end(walker, position)?, None));
    }
    let end = find_end(walker, start)?;
    let lies = (end.position.end >= word.durable).then(|| Finding {
        kind: FindingKind::Corruption,
        code: code::DAMAGED,
        offset: word.durable,
        length: None,
        file: "LOCK".into(),
        expected: format!("the end of group {} of epoch {}", word.group, word.epoch),
        found: "no such group ends there".into(),
    });
    Ok((end, lies))
}

/// Judges what stands after the last valid group.
pub(crate) fn judge(
    walker: &mut Walker,
    listing: &Listing,
    stride: Stride,
    word: Option<&DurableWord>,
    end: &End,
) -> Result<TailState, Error> {
    let (position, stop) = (&end.position, &end.stop);
    if controls::on(Control::CutAtFirstBad)
        && let Some(last) = walker.last_nonzero(stop.p)?
    {
        let (start, length) = (stop.p, last.0 + 1 - stop.p.0);
        let finding = stop.finding(stride);
        return Ok(TailState::Torn {
            start,
            length,
            finding,
        });
    }
    let promised = word.map_or(Offset(0), |word| word.durable);
    let tearable = matches!(stop.why, Why::Empty | Why::Torn { .. });
    let empty_log = stop.why == Why::Missing
        && position.end == Offset(0)
        && listing.starts.is_empty()
        && promised == Offset(0);
    if empty_log {
        return Ok(TailState::Clean);
    }
    if !tearable {
        return Ok(TailState::of(stop.finding(stride)));
    }
    if promised > position.end {
        let mut finding = stop.finding(stride);
        finding.length = Some(promised.0.saturating_sub(finding.offset.0));
        finding.expected = format!("{}, synced up to {promised}", finding.expected);
        return Ok(TailState::Damage(finding));
    }
    let segment = stride.segment_start(stop.p);
    if let Some(finding) = behind(walker, listing, stride, stop.p)? {
        return Ok(TailState::Damage(finding));
    }
    let Some(last) = walker.last_nonzero(stop.p)? else {
        return Ok(TailState::Clean);
    };
    let reach = stop.p.0 + GROUP_LEN_MAX.max(stride.record_limit()) + 4096;
    let mut finding = stop.finding(stride);
    if last.0 >= reach {
        finding.expected = format!("zeros from {reach} on behind a torn group");
        finding.found = format!("bytes up to {last}");
        return Ok(TailState::Damage(finding));
    }
    let to = Offset(last.0 + 1);
    let limit = Offset((to.0 + 96).min(stride.segment_end(segment).0));
    if let Some(later) = walker.later_group(position, stop.p, limit)? {
        finding.expected = format!("{} before the group at {later}", finding.expected);
        return Ok(TailState::Damage(finding));
    }
    finding.kind = FindingKind::TailUnproven;
    finding.code = code::UNPROVEN;
    finding.length = Some(to.0 - stop.p.0);
    Ok(TailState::Torn {
        start: stop.p,
        length: to.0 - stop.p.0,
        finding,
    })
}

/// Bytes in segments after the one where the log ends, or more than one spare.
///
/// The segment where it ends may be empty besides: the one behind it is made before a group is written that fills it.
/// Whether groups are gone from it is for the durable word to say.
fn behind(
    walker: &mut Walker,
    listing: &Listing,
    stride: Stride,
    p: Offset,
) -> Result<Option<Finding>, Error> {
    let segment = stride.segment_start(p);
    let mut spares = 0;
    for &later in listing.starts.iter().filter(|&&start| start > segment) {
        let fault = if let Some(last) = walker.last_nonzero(later)? {
            Some(format!("bytes up to {last}"))
        } else {
            spares += 1;
            (spares > 1).then(|| "a second spare segment".to_owned())
        };
        if let Some(found) = fault {
            return Ok(Some(Finding {
                kind: FindingKind::Corruption,
                code: code::DAMAGED,
                offset: later,
                length: Some(stride.bytes()),
                file: segment_file_name(later),
                expected: format!("zeros after the end of the log at {p}"),
                found,
            }));
        }
    }
    Ok(None)
}
