//! The joiner's part for frames: groups follow one another without holes, each as its COMMIT says.

use super::damage::Damages;
use super::grid::Chunk;
use super::scan::{FrameSeen, Note, Scanned};
use crate::finding::{Finding, code};
use aos_format::frame::{Commit, GROUP_LEN_MAX, Kind, SEGMENT_END_GROUP_LEN};
use aos_format::offset::{Offset, segment_file_name};
use aos_format::wire::crc32;

/// Where the frames stand between two chunks.
pub(crate) struct Groups {
    /// Where the next frame begins; none where only zeros may follow, or damage hides it.
    pub(crate) expect: Option<u64>,
    /// The segment has ended.
    pub(crate) ended: bool,
    number: u64,
    commit_crc: u32,
    epoch: u32,
    /// Frames of the present group cannot be told since damage came.
    lost: bool,
    /// First frame of the present group, with its epoch.
    start: Option<(u64, u32)>,
    ends_segment: bool,
    /// Header CRCs of the present group's frames, in bytes.
    crcs: Vec<u8>,
    /// Epoch in the segment's header, until its first frame is seen.
    header_epoch: Option<u32>,
    /// Bytes behind the end of this segment were reported.
    behind: bool,
}

impl Groups {
    /// Before the first group, or behind the last pruned one: number, epoch, CRC of its COMMIT.
    pub(crate) fn new((number, epoch, commit_crc): (u64, u32, u32)) -> Groups {
        Groups {
            expect: None,
            ended: number > 0,
            number,
            commit_crc,
            epoch: epoch.max(1),
            lost: false,
            start: None,
            ends_segment: false,
            crcs: Vec::new(),
            header_epoch: None,
            behind: false,
        }
    }

    /// Number of the last group seen.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of the log could not be read: nothing is known of the groups in them.
    pub(crate) fn lose(&mut self) {
        (self.lost, self.expect, self.start, self.ended) = (true, None, None, false);
        self.crcs.clear();
    }

    /// Takes in the frames of a chunk.
    pub(crate) fn take(
        &mut self,
        chunk: &Chunk,
        scanned: &Scanned,
        damages: &mut Damages,
        findings: &mut Vec<Finding>,
    ) {
        if chunk.is_first() {
            self.enter(chunk, scanned, damages, findings);
        }
        let mut notes = scanned.notes.iter().peekable();
        let mut commits = scanned.commits.iter().peekable();
        for frame in &scanned.frames {
            while let Some((at, note)) = notes.next_if(|(at, _)| *at <= frame.offset) {
                self.note(chunk, *at, note, damages, findings);
            }
            if self.ended {
                self.behind(chunk, frame.offset, findings);
                continue;
            }
            damages.close(frame.offset);
            let commit = commits
                .next_if(|(at, _)| *at == frame.offset)
                .map(|(_, commit)| commit);
            self.frame(chunk, frame, commit, findings);
        }
        for (at, note) in notes {
            self.note(chunk, *at, note, damages, findings);
        }
        self.expect = scanned.end.filter(|_| !self.ended);
    }

    fn enter(
        &mut self,
        chunk: &Chunk,
        scanned: &Scanned,
        damages: &mut Damages,
        findings: &mut Vec<Finding>,
    ) {
        let unended = chunk.from > 0 && !self.ended && !self.lost && !damages.is_open();
        if unended {
            findings.push(self.finding(
                chunk.from,
                "the end of the segment before",
                "frames without one",
                "segment end",
                chunk,
            ));
        }
        (self.ended, self.behind, self.header_epoch) = (false, false, None);
        match &scanned.segment {
            Some(Ok(header)) => self.header_epoch = Some(header.epoch),
            Some(Err(found)) => {
                let finding = Finding::at(code::DAMAGED, chunk.from, "the segment's header", found);
                findings.push(Finding {
                    file: Some(segment_file_name(Offset(chunk.segment))),
                    length: Some(64),
                    ..finding.field("segment header")
                });
            }
            None => {}
        }
    }

    fn note(
        &mut self,
        chunk: &Chunk,
        at: u64,
        note: &Note,
        damages: &mut Damages,
        findings: &mut Vec<Finding>,
    ) {
        match note {
            Note::Zeros if self.ended => {}
            Note::Zeros => {
                damages.hole(at);
                self.lose();
            }
            Note::Bad { .. } if self.ended => self.behind(chunk, at, findings),
            Note::Bad {
                to,
                expected,
                found,
                prev,
                counted,
            } => {
                let open = !*counted && *to >= chunk.to;
                damages.add(at, (!open).then_some(*to), expected, found, *prev);
                if !*counted {
                    self.lose();
                }
            }
        }
    }

    fn behind(&mut self, chunk: &Chunk, at: u64, findings: &mut Vec<Finding>) {
        if !self.behind {
            self.behind = true;
            let finding = Finding::at(
                code::BEHIND_END,
                at,
                "zeros behind the segment's end",
                "other bytes",
            );
            findings.push(Finding {
                file: Some(segment_file_name(Offset(chunk.segment))),
                ..finding.field("segment end")
            });
        }
    }

    fn finding(
        &self,
        at: u64,
        expected: impl ToString,
        found: impl ToString,
        field: &str,
        chunk: &Chunk,
    ) -> Finding {
        let finding = Finding::at(code::GROUP, at, expected.to_string(), found.to_string());
        Finding {
            file: Some(segment_file_name(Offset(chunk.segment))),
            ..finding.field(field)
        }
    }

    /// `commit` is the frame's body, when it is a COMMIT whose body holds.
    fn frame(
        &mut self,
        chunk: &Chunk,
        frame: &FrameSeen,
        commit: Option<&Commit>,
        findings: &mut Vec<Finding>,
    ) {
        let at = frame.offset;
        if let Some(epoch) = self.header_epoch.take()
            && epoch != frame.epoch
        {
            findings.push(self.finding(
                at,
                format!("epoch {epoch} of the segment's header"),
                frame.epoch,
                "epoch",
                chunk,
            ));
        }
        let least = self.start.map_or(self.epoch, |(_, epoch)| epoch);
        if frame.epoch < least || self.start.is_some() && frame.epoch != least {
            findings.push(self.finding(at, format!("epoch {least}"), frame.epoch, "epoch", chunk));
        }
        self.epoch = self.epoch.max(frame.epoch);
        if frame.kind == Kind::Commit as u8 {
            match commit {
                Some(commit) => self.close(chunk, frame, commit, findings),
                // Its damage is noted; what it says of its group is gone.
                None => self.uncommitted(frame),
            }
            return;
        }
        if self.ends_segment || frame.kind == Kind::SegmentEnd as u8 && self.start.is_some() {
            findings.push(self.finding(
                at,
                "a segment end alone in its group",
                "frames beside it",
                "group",
                chunk,
            ));
        }
        self.ends_segment |= frame.kind == Kind::SegmentEnd as u8;
        self.start.get_or_insert((at, frame.epoch));
        self.crcs.extend_from_slice(&frame.header_crc.to_le_bytes());
    }

    /// A COMMIT whose body is damaged: the next one must follow it all the same.
    fn uncommitted(&mut self, frame: &FrameSeen) {
        if !self.lost {
            (self.number, self.commit_crc) = (self.number + 1, frame.header_crc);
        }
        (self.ended, self.ends_segment, self.start) = (self.ends_segment, false, None);
        self.crcs.clear();
    }

    fn close(
        &mut self,
        chunk: &Chunk,
        frame: &FrameSeen,
        commit: &Commit,
        findings: &mut Vec<Finding>,
    ) {
        let at = frame.offset;
        let follows = commit.number == self.number + 1;
        let expected = if self.lost {
            // Groups are missing before this one, or frames of it: only what does not depend on them can be told.
            let prev_commit = if follows {
                self.commit_crc
            } else {
                commit.prev_commit
            };
            Commit {
                number: commit.number.max(self.number + 1),
                prev_commit,
                ..*commit
            }
        } else {
            Commit {
                number: self.number + 1,
                start: Offset(self.start.map_or(at, |(start, _)| start)),
                count: (self.crcs.len() / 4) as u32,
                frames_crc: crc32(&self.crcs),
                prev_commit: self.commit_crc,
            }
        };
        if *commit != expected {
            findings.push(self.finding(at, describe(&expected), describe(commit), "commit", chunk));
        }
        let len = frame.end - commit.start.0.min(at);
        if !self.lost && len > GROUP_LEN_MAX && commit.count != 1 {
            let expected = format!("a group of at most {GROUP_LEN_MAX} bytes, or one record");
            findings.push(self.finding(
                at,
                expected,
                format!("{len} bytes in {} frames", commit.count),
                "group",
                chunk,
            ));
        }
        let room = if self.ends_segment {
            0
        } else {
            SEGMENT_END_GROUP_LEN
        };
        if frame.end + room > chunk.segment_end {
            findings.push(self.finding(
                at,
                "room for the segment's end",
                format!("a group up to {}", frame.end),
                "group",
                chunk,
            ));
        }
        (self.number, self.commit_crc) = (commit.number, frame.header_crc);
        (self.ended, self.ends_segment, self.lost, self.start) =
            (self.ends_segment, false, false, None);
        self.crcs.clear();
    }
}

fn describe(commit: &Commit) -> String {
    format!(
        "commit {} of {} frames from {} (CRC {:08x}) after {:08x}",
        commit.number, commit.count, commit.start, commit.frames_crc, commit.prev_commit
    )
}
