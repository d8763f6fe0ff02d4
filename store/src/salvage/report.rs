//! What a salvage found and did, also as text beside the new log.

use crate::salvage::streams::{Fate, StreamFound};
use crate::salvage::survey::Lost;
use aos_format::digest::{Digest, RunId, hex, log_digest};
use aos_format::offset::Offset;
use aos_format::segment::Identity;

/// What a salvage found and did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SalvageReport {
    /// Which log it was; the new one has the same id.
    pub identity: Identity,
    /// Ranges of the damaged log that hold no valid frame although it goes on behind them, or was synced there.
    pub lost: Vec<Lost>,
    /// Bytes behind the last valid frame, start and length: part of a group that nothing proves to have been acknowledged.
    pub tail: Option<(Offset, u64)>,
    /// Starts of groups that do not continue the whole group before them: from there on it may be another history.
    pub breaks: Vec<Offset>,
    /// Names below `segments/` that belong to no segment; they were not read.
    pub strangers: Vec<String>,
    /// Groups of the damaged log that are whole.
    pub groups: u64,
    /// End of its last valid frame.
    pub end: Offset,
    /// Records written into the new log byte for byte.
    pub kept: u64,
    /// Definitions, seeds and decisions of the control stream, written again with the same content.
    pub renewed: u64,
    /// Valid records that nothing proves to have been durable.
    pub unproven: u64,
    /// Valid records of an epoch that had ended before: they were cut off once and mean nothing.
    pub stale: u64,
    /// Runs that got a MARK `gap`.
    pub marked: u64,
    /// Valid frames that are not in the new log but beside it.
    pub frames: u64,
    /// Bytes of them.
    pub frames_len: u64,
    /// SHA-256 of the file that they are in.
    pub frames_sha256: Digest,
    /// Every run and resource.
    pub streams: Vec<StreamFound>,
    /// Where the new log ends.
    pub new_end: Offset,
}

impl SalvageReport {
    /// Whether nothing is missing, as far as anything can tell.
    pub fn is_whole(&self) -> bool {
        self.lost.is_empty()
            && self.breaks.is_empty()
            && self.streams.iter().all(|found| found.fate == Fate::Whole)
    }

    /// The runs, in order of their ids.
    pub fn runs(&self) -> impl Iterator<Item = (RunId, &StreamFound)> {
        self.streams
            .iter()
            .filter_map(|found| Some((found.stream.as_run()?, found)))
    }

    /// How many runs have that fate.
    pub fn count(&self, fate: Fate) -> u64 {
        self.runs().filter(|(_, found)| found.fate == fate).count() as u64
    }

    /// Bytes in lost ranges.
    pub fn lost_bytes(&self) -> u64 {
        self.lost.iter().map(|lost| lost.len).sum()
    }

    /// SHA-256 over (run id, newest digest) of the runs that are whole, by run id: what the damaged log would say of them.
    pub fn digest_of_whole(&self) -> Digest {
        let whole: Vec<(RunId, Digest)> = self
            .runs()
            .filter(|(_, found)| found.fate == Fate::Whole)
            .map(|(run, found)| (run, found.digest))
            .collect();
        log_digest(whole.iter().map(|(run, digest)| (run, digest)))
    }

    /// The report as text, one fact a line; see `docs/recovery.md`.
    pub(crate) fn text(&self) -> String {
        use std::fmt::Write;
        let mut text = format!(
            "aos.salvage.v1\nlog {} stride {} end {} groups {}\nkept {} renewed {} unproven {} stale {} marked {}\nframes {} bytes {} sha256 {}\n",
            self.identity.log_id,
            self.identity.stride.bytes(),
            self.end,
            self.groups,
            self.kept,
            self.renewed,
            self.unproven,
            self.stale,
            self.marked,
            self.frames,
            self.frames_len,
            self.frames_sha256.hex()
        );
        // Writing into a string cannot fail.
        for lost in &self.lost {
            let _ = writeln!(text, "lost {} {} {}", lost.start, lost.len, lost.why);
        }
        if let Some((start, len)) = self.tail {
            let _ = writeln!(text, "tail {start} {len}");
        }
        for at in &self.breaks {
            let _ = writeln!(text, "break {at}");
        }
        for name in &self.strangers {
            let _ = writeln!(text, "stranger {name:?}");
        }
        for found in &self.streams {
            let _ = writeln!(
                text,
                "{} {} {} found {} kept {} digest {}",
                found.stream.kind.name(),
                hex(&found.stream.id),
                found.fate.name(),
                found.found,
                found.kept,
                found.digest.hex()
            );
            for piece in &found.pieces {
                let _ = writeln!(
                    text,
                    "piece {} to {} offsets {} to {} after {} digest {} {}",
                    piece.seq.0,
                    piece.seq.1,
                    piece.offset.0,
                    piece.offset.1,
                    piece.previous.hex(),
                    piece.digest.hex(),
                    piece.why
                );
            }
        }
        text
    }
}
