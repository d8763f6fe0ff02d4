//! The rules of groups: what frames, COMMITs and SEGMENT_ENDs must say where they stand.

use crate::group::{Group, Position, Why};
use aos_format::Error as FormatError;
use aos_format::controls::{self, Control};
use aos_format::frame::{
    Commit, FrameHeader, GROUP_LEN_MAX, Kind, SEGMENT_END_GROUP_LEN, SegmentEnd, skip_distance,
};
use aos_format::offset::{Offset, Stride};
use aos_format::wire::crc32;

pub(crate) fn torn(expected: &str, found: impl ToString) -> Why {
    Why::Torn {
        expected: expected.into(),
        found: found.to_string(),
    }
}

pub(crate) fn broken(expected: impl ToString, found: impl ToString) -> Why {
    Why::Broken {
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

/// Tells bytes that were not written whole from bytes that cannot be ours.
pub(crate) fn judge(expected: &'static str, error: FormatError) -> Why {
    match error {
        FormatError::BadCrc { .. } | FormatError::BadMagic { .. } | FormatError::Cut { .. } => {
            torn(expected, error)
        }
        FormatError::NewerVersion { .. }
        | FormatError::UnknownFeatures { .. }
        | FormatError::UnknownKind { .. }
        | FormatError::Reserved { .. } => Why::Unsupported {
            found: error.to_string(),
        },
        _ => broken(expected, error),
    }
}

/// What is wrong with a valid frame at this place of a group, if anything.
pub(crate) fn misfit(
    frame: &FrameHeader,
    epoch: Option<u32>,
    before: &[FrameHeader],
) -> Option<Why> {
    if epoch.is_some_and(|epoch| epoch != frame.epoch) {
        return Some(broken(
            format!("a frame of epoch {}", epoch.unwrap_or_default()),
            format!("epoch {}", frame.epoch),
        ));
    }
    let kind = Kind::from_u8(frame.kind);
    if kind.is_some_and(Kind::is_structural) {
        if frame.seq != 0 || frame.prev != Offset::NONE || frame.record_len != 0 {
            return Some(broken("a structural frame without links", "links"));
        }
    } else {
        let one = frame.seq == 1;
        let first = frame.seq == skip_distance(frame.seq);
        let linked = frame.seq != 0
            && one == (frame.prev == Offset::NONE)
            && first == (frame.skip == Offset::NONE)
            && (frame.seq.is_multiple_of(2) || frame.skip == frame.prev);
        if !linked {
            return Some(broken(
                format!("links of record number {}", frame.seq),
                format!("previous {}, skip {}", frame.prev, frame.skip),
            ));
        }
    }
    let ends = |frame: &FrameHeader| frame.kind == Kind::SegmentEnd as u8;
    // One that is not first was refused when it came, so only the first can be one: a group may have very many frames.
    if kind != Some(Kind::Commit) && before.first().is_some_and(ends)
        || ends(frame) && !before.is_empty()
    {
        return Some(broken(
            "a segment end alone in its group",
            "other frames beside it",
        ));
    }
    None
}

/// Checks a COMMIT against the frames before it and the group before them.
pub(crate) fn close_group(
    position: &Position,
    stride: Stride,
    start: Offset,
    header: &FrameHeader,
    commit: &Commit,
    frames: Vec<FrameHeader>,
) -> Result<Group, Why> {
    let crcs: Vec<u8> = frames
        .iter()
        .flat_map(|frame| frame.header_crc.to_le_bytes())
        .collect();
    let ends_segment = frames
        .first()
        .is_some_and(|frame| frame.kind == Kind::SegmentEnd as u8);
    let expected = Commit {
        number: if position.chained {
            position.group + 1
        } else {
            commit.number
        },
        start,
        count: frames.len() as u32,
        frames_crc: crc32(&crcs),
        prev_commit: if position.chained {
            position.commit_crc
        } else {
            commit.prev_commit
        },
    };
    let chained = *commit == expected || controls::on(Control::StaleFrameLive);
    if !chained {
        return Err(broken(describe(&expected), describe(commit)));
    }
    let end = header.end();
    let room = if ends_segment {
        0
    } else {
        SEGMENT_END_GROUP_LEN
    };
    if end.0 + room > stride.segment_end(start).0 {
        return Err(broken(
            "room for the end of the segment",
            format!("a group up to {end}"),
        ));
    }
    if end.0 - start.0 > GROUP_LEN_MAX && frames.len() != 1 {
        return Err(broken(
            format!("a group of at most {GROUP_LEN_MAX} bytes, or one record"),
            format!("{} bytes in {} frames", end.0 - start.0, frames.len()),
        ));
    }
    Ok(Group {
        number: commit.number,
        epoch: header.epoch,
        start,
        end,
        commit_crc: header.header_crc,
        ends_segment,
        frames,
    })
}

fn describe(commit: &Commit) -> String {
    format!(
        "commit {} of {} frames from {} (CRC {:08x}) after {:08x}",
        commit.number, commit.count, commit.start, commit.frames_crc, commit.prev_commit
    )
}

/// Checks what a SEGMENT_END says.
pub(crate) fn segment_end_fault(stride: Stride, frame: &FrameHeader, body: &[u8]) -> Option<Why> {
    match SegmentEnd::decode(body) {
        Ok(end) if end.next == stride.segment_end(frame.offset) => None,
        Ok(end) => Some(broken(
            format!("next segment at {}", stride.segment_end(frame.offset)),
            format!("next segment at {}", end.next),
        )),
        Err(error) => Some(broken("a segment end", error)),
    }
}
