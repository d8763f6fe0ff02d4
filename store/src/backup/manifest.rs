//! MANIFEST: how far a backup counts. Text, one fact a line; see `docs/format/backup-v1.md`.

use crate::backup::fault::BackupFault;
use crate::error::Error;
use crate::group::Position;
use crate::place::Place;
use aos_disk::{Kind as DiskKind, OpenMode};
use aos_format::digest::{Digest, LogId, from_hex};
use aos_format::offset::{Offset, Stride};
use aos_format::segment::Identity;
use std::collections::BTreeMap;

/// Name of the file.
pub(crate) const MANIFEST: &str = "MANIFEST";
const FORM: &str = "aos.backup.v1";
/// Longest manifest that is read: about 600,000 parts.
const LEN_MAX: u64 = 64 << 20;

/// The beginning of one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    pub(crate) len: u64,
    pub(crate) sha256: Digest,
}

/// How far a backup counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Manifest {
    pub(crate) identity: Identity,
    /// End of the last group, as [`Position::end`].
    pub(crate) end: Offset,
    pub(crate) group: u64,
    pub(crate) epoch: u32,
    /// Header CRC of the last COMMIT, which chains all groups before it.
    pub(crate) commit_crc: u32,
    /// PRUNED, of a log that was pruned before the first backup.
    pub(crate) pruned: Option<PrunedPart>,
    /// By first offset of the segment.
    pub(crate) parts: BTreeMap<Offset, Part>,
}

/// PRUNED as it stands in the backup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PrunedPart {
    /// Where the parts begin.
    pub(crate) end: Offset,
    pub(crate) len: u64,
    pub(crate) sha256: Digest,
}

impl Manifest {
    pub(crate) fn new(
        identity: Identity,
        position: &Position,
        pruned: Option<PrunedPart>,
        parts: BTreeMap<Offset, Part>,
    ) -> Manifest {
        Manifest {
            identity,
            end: position.end,
            group: position.group,
            epoch: position.epoch,
            commit_crc: position.commit_crc,
            pruned,
            parts,
        }
    }

    /// How many bytes of each part count.
    pub(crate) fn lengths(&self) -> BTreeMap<Offset, u64> {
        let lengths = self.parts.iter().map(|(start, part)| (*start, part.len));
        lengths.collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.parts.values().map(|part| part.len).sum()
    }

    pub(crate) fn encode(&self) -> String {
        use std::fmt::Write;
        let mut text = format!(
            "{FORM}\nlog {}\nstride {}\nend {} group {} epoch {} commit {:08x}\n",
            self.identity.log_id,
            self.identity.stride.bytes(),
            self.end,
            self.group,
            self.epoch,
            self.commit_crc
        );
        if let Some(pruned) = &self.pruned {
            let (end, len) = (pruned.end, pruned.len);
            let _ = writeln!(text, "pruned {end} {len} {}", pruned.sha256.hex());
        }
        for (start, part) in &self.parts {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "part {start} {} {}", part.len, part.sha256.hex());
        }
        let digest = Digest::of(text.as_bytes());
        let _ = writeln!(text, "sha256 {}", digest.hex());
        text
    }

    /// Reads a manifest; else what was expected and found.
    fn decode(text: &str) -> Result<Manifest, (String, String)> {
        let bad = |expected: &str, found: &str| (expected.to_owned(), format!("{found:?}"));
        let mut lines = text.lines().skip(1).peekable();
        let has_pruned = lines
            .clone()
            .nth(3)
            .is_some_and(|l| l.starts_with("pruned "));
        let mut line = |expected: &'static str| {
            let line = lines.next().unwrap_or_default();
            let words: Vec<&str> = line.split(' ').collect();
            let pattern: Vec<&str> = expected.split(' ').collect();
            let fits = words.len() == pattern.len()
                && words
                    .iter()
                    .zip(&pattern)
                    .all(|(word, pattern)| pattern.starts_with('<') || word == pattern);
            if fits {
                Ok((words, line))
            } else {
                Err(bad(expected, line))
            }
        };
        let (words, found) = line("log <id>")?;
        let log_id = from_hex::<16>(words[1]).ok_or_else(|| bad("a log id", found))?;
        let (words, found) = line("stride <bytes>")?;
        let stride = words[1]
            .parse()
            .ok()
            .and_then(|n| Stride::from_bytes(n).ok());
        let stride = stride.ok_or_else(|| bad("a stride", found))?;
        let (words, found) = line("end <offset> group <n> epoch <n> commit <crc>")?;
        let number = || bad("numbers", found);
        let end = Offset(words[1].parse().map_err(|_| number())?);
        let group = words[3].parse().map_err(|_| number())?;
        let epoch = words[5].parse().map_err(|_| number())?;
        let commit_crc = u32::from_str_radix(words[7], 16).map_err(|_| number())?;
        let mut pruned = None;
        if has_pruned {
            let (words, found) = line("pruned <offset> <bytes> <sha256>")?;
            let number = || bad("numbers", found);
            let end = Offset(words[1].parse().map_err(|_| number())?);
            if end.0 == 0 || !end.0.is_multiple_of(stride.bytes()) {
                return Err(bad("a pruned point where a segment begins", found));
            }
            pruned = Some(PrunedPart {
                end,
                len: words[2].parse().map_err(|_| number())?,
                sha256: Digest::from_hex(words[3]).ok_or_else(number)?,
            });
        }
        let mut parts = BTreeMap::new();
        let mut next = pruned.map_or(Offset(0), |pruned| pruned.end);
        let mut last_end = next;
        while last_end < end {
            let (words, found) = line("part <offset> <bytes> <sha256>")?;
            let number = || bad("numbers", found);
            let start = Offset(words[1].parse().map_err(|_| number())?);
            let len: u64 = words[2].parse().map_err(|_| number())?;
            let sha256 = Digest::from_hex(words[3]).ok_or_else(number)?;
            if start != next || len == 0 || len > stride.bytes() {
                return Err(bad(&format!("the part at {next}"), found));
            }
            last_end = start.plus(len);
            next = start.plus(stride.bytes());
            parts.insert(start, Part { len, sha256 });
        }
        if last_end != end {
            return Err((
                format!("parts up to {end}"),
                format!("parts up to {last_end}"),
            ));
        }
        let manifest = Manifest {
            identity: Identity {
                log_id: LogId(log_id),
                stride,
            },
            end,
            group,
            epoch,
            commit_crc,
            pruned,
            parts,
        };
        // One way to write it, its digest included: nothing else is accepted.
        if manifest.encode() != text {
            return Err((
                "the SHA-256 of the manifest as its last line".into(),
                "another one, or other bytes".into(),
            ));
        }
        Ok(manifest)
    }

    /// The manifest of a backup; `None` when there is none.
    pub(crate) fn read(place: &Place) -> Result<Option<Manifest>, Error> {
        let damaged = |expected: String, found: String| BackupFault::Damaged {
            path: place.root.clone(),
            file: MANIFEST.into(),
            expected,
            found,
        };
        let file = match place.disk.open(&place.root.join(MANIFEST), OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == DiskKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let len = file.len()?;
        if len > LEN_MAX {
            let found = format!("{len} bytes");
            return Err(damaged(format!("at most {LEN_MAX} bytes"), found).into());
        }
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, 0)?;
        let Ok(text) = String::from_utf8(bytes) else {
            return Err(damaged("text".into(), "bytes that are no text".into()).into());
        };
        match text.lines().next().unwrap_or_default() {
            FORM => {}
            newer if newer.starts_with("aos.backup.v") => {
                return Err(BackupFault::Newer {
                    path: place.root.clone(),
                    found: newer.into(),
                }
                .into());
            }
            other => {
                let found: String = other.chars().take(40).collect();
                return Err(damaged(format!("{FORM:?}"), format!("{found:?}")).into());
            }
        }
        Manifest::decode(&text)
            .map(Some)
            .map_err(|(expected, found)| damaged(expected, found).into())
    }
}
