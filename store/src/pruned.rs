//! PRUNED: what a log keeps of a beginning that was pruned. `docs/format/pruned.md` draws it.

use crate::buffer::Aligned;
use crate::error::{Error, Finding, FindingKind, code};
use crate::fold::{CheckpointRow, Nothing, Rows, RunRow, key_digest};
use crate::group::Position;
use crate::place::{Bytes, Place};
use crate::row::{Reader, Writer, decode_run, encode_run};
use crate::stored::{ReadFrom, StoredRecord};
use aos_disk::{Kind as DiskKind, OpenMode};
use aos_format::digest::{Digest, Hasher, LogId, RunId};
use aos_format::frame::{FRAME_HEADER_LEN, FrameHeader, Kind};
use aos_format::merkle::Peaks;
use aos_format::offset::{NUMBER_MAX, Offset, Stride};
use aos_format::record::RecordView;
use aos_format::segment::Identity;
use aos_format::wire::crc32;
use std::collections::BTreeSet;
use std::fmt;

/// Name of the file.
pub(crate) const PRUNED: &str = "PRUNED";
const MAGIC: &[u8; 8] = b"AOSPRUN\n";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 64;
/// Longest file that is written or read.
pub(crate) const LEN_MAX: u64 = 1 << 30;

/// An archive that holds records which a log does not have any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrunedArchive {
    /// Name of its file.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Whose tree it is.
    pub origin: String,
    /// Records in it.
    pub records: u64,
    /// Root of its tree.
    pub root: Digest,
    /// Offset of its first record.
    pub start: Offset,
    /// End of its last record.
    pub end: Offset,
}

/// What a log keeps of its pruned beginning: where it goes on, the records that later ones lean on, and the rows of the runs
/// that are gone.
pub struct Pruned {
    pub(crate) identity: Identity,
    /// The last pruned group.
    pub(crate) position: Position,
    /// The tree over all records below the pruned point.
    pub(crate) tree: Peaks,
    /// Digest of the SEAL that ends at the pruned point.
    pub(crate) seal: Digest,
    pub(crate) archives: Vec<PrunedArchive>,
    /// What the log contained at the pruned point.
    pub(crate) rows: Rows,
    /// Runs whose records are gone.
    pub(crate) gone: BTreeSet<RunId>,
    /// Headers of the kept frames, each with where it stands in `bytes`.
    frames: Vec<(FrameHeader, usize)>,
    bytes: Aligned,
    /// SHA-256 of the file.
    pub(crate) digest: Digest,
    /// Length of the file.
    pub(crate) len: u64,
}

impl fmt::Debug for Pruned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pruned")
            .field("end", &self.position.end)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Pruned {
    /// The pruned point: what stands below is here or gone.
    pub fn end(&self) -> Offset {
        self.identity
            .stride
            .segment_end(Offset(self.position.end.0 - 1))
    }

    /// Number, epoch and CRC of the COMMIT of the last pruned group, which the next one names.
    pub fn group(&self) -> (u64, u32, u32) {
        let Position {
            group,
            epoch,
            commit_crc,
            ..
        } = self.position;
        (group, epoch, commit_crc)
    }

    /// The tree over all records below the pruned point, and the digest of the SEAL that ends there.
    pub fn tree(&self) -> (&Peaks, Digest) {
        (&self.tree, self.seal)
    }

    /// What the log contained at the pruned point.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Runs whose records are gone.
    pub fn gone(&self) -> &BTreeSet<RunId> {
        &self.gone
    }

    /// The archives that hold the records which are gone.
    pub fn archives(&self) -> &[PrunedArchive] {
        &self.archives
    }

    /// SHA-256 and length of the file.
    pub fn file(&self) -> (Digest, u64) {
        (self.digest, self.len)
    }

    /// Headers and padded bodies of the records that are kept, by offset.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = (&FrameHeader, &[u8])> {
        self.frames.iter().map(|(header, at)| {
            let body = *at + FRAME_HEADER_LEN as usize;
            let end = *at + header.frame_len() as usize;
            (header, &self.bytes[body..end])
        })
    }

    /// The records that are kept, by offset.
    pub(crate) fn records(&self, from: Offset) -> impl Iterator<Item = StoredRecord> + '_ {
        let first = self
            .frames
            .partition_point(|(header, _)| header.offset < from);
        self.frames().skip(first).map(|(header, body)| {
            let body = Bytes::Owned(Aligned::copy_of(body));
            StoredRecord::new(*header, body, ReadFrom::Named(PRUNED.into()), false)
        })
    }

    /// Fills `bytes` with those from `at` on, where a kept frame stands.
    pub(crate) fn fill(&self, at: Offset, bytes: &mut [u8]) -> Result<(), Error> {
        let after = self
            .frames
            .partition_point(|(header, _)| header.offset <= at);
        let found = after.checked_sub(1).map(|index| self.frames[index]);
        match found {
            Some((header, place)) if at.0 + bytes.len() as u64 <= header.end().0 => {
                let from = place + (at.0 - header.offset.0) as usize;
                bytes.copy_from_slice(&self.bytes[from..from + bytes.len()]);
                Ok(())
            }
            _ => Err(self.refuse(at)),
        }
    }

    /// The answer to whoever asks for what is gone.
    pub fn refuse(&self, at: Offset) -> Error {
        let covers = |archive: &&PrunedArchive| archive.start <= at && at < archive.end;
        let named = self.archives.iter().filter(covers);
        let mut names: Vec<&str> = named.map(|archive| archive.name.as_str()).collect();
        if names.is_empty() {
            names = self.archives.iter().map(|a| a.name.as_str()).collect();
        }
        let more = names.len().saturating_sub(3);
        names.truncate(3);
        let mut archives = names.join(", ");
        if more > 0 {
            archives.push_str(&format!(" and {more} more"));
        }
        Error::Pruned {
            offset: at,
            end: self.end(),
            archives,
        }
    }

    /// Puts together what is kept: of runs that are `gone` their rows, of the others the frames, whole and by offset.
    pub(crate) fn encode(
        identity: Identity,
        position: &Position,
        (tree, seal): (&Peaks, Digest),
        archives: &[PrunedArchive],
        (gone, rows): (&[&RunRow], &Rows),
        frames: &[Vec<u8>],
    ) -> Vec<u8> {
        let mut body = Writer(vec![0; HEADER_LEN])
            .int(position.end.0)
            .int(position.group)
            .int(position.epoch.into())
            .int(position.commit_crc.into())
            .int(tree.size());
        for peak in tree.hashes() {
            body = body.bytes(&peak.0);
        }
        body = body.bytes(&seal.0).int(archives.len() as u64);
        for archive in archives {
            body = body
                .text(&archive.name)
                .bytes(&archive.sha256.0)
                .text(&archive.origin)
                .int(archive.records)
                .bytes(&archive.root.0)
                .int(archive.start.0)
                .int(archive.end.0);
        }
        body = body.int(gone.len() as u64);
        for row in gone {
            let encoded = encode_run(row);
            let checkpoints: Vec<&CheckpointRow> = rows.checkpoints_of(row.run).collect();
            body = body
                .bytes(&row.run.0)
                .int(encoded.len() as u64)
                .bytes(&encoded)
                .int(checkpoints.len() as u64);
            for checkpoint in checkpoints {
                body = body
                    .int(checkpoint.offset.0)
                    .int(checkpoint.seq)
                    .int(checkpoint.lane_seq);
            }
        }
        body = body.int(frames.len() as u64);
        for frame in frames {
            body = body.bytes(frame);
        }
        enclose(identity, body.0)
    }

    /// Reads what [`Pruned::encode`] made.
    ///
    /// # Errors
    /// What was expected and found.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Pruned, Fault> {
        let (identity, digest) = outline(bytes)?;
        let bad = |expected: &str| Fault::damaged(expected, "something else");
        let body = &bytes[HEADER_LEN..bytes.len() - 32];
        let mut r = Reader(body);
        let position = position(&mut r).ok_or_else(|| bad("the last pruned group"))?;
        let (tree, seal) = tree(&mut r).ok_or_else(|| bad("the tree over what was pruned"))?;
        let archives = archives(&mut r).ok_or_else(|| bad("archives"))?;
        let mut rows = Rows::default();
        runs(&mut r, &mut rows).ok_or_else(|| bad("rows of runs"))?;
        let stride = identity.stride;
        let end = position.end.0.checked_next_multiple_of(stride.bytes());
        let end = end.ok_or_else(|| bad("a pruned point"))?;
        let sound = |at: &Offset| at.0 < end;
        let ended = rows.runs.values().all(|row| {
            row.status.is_ended()
                && row.outstanding.is_empty()
                && sound(&row.start)
                && sound(&row.head)
        });
        if !ended || !rows.checkpoints.values().all(|row| sound(&row.offset)) {
            return Err(bad("runs that ended below the pruned point"));
        }
        for row in rows.runs.values() {
            let key = key_digest(&row.namespace, &row.name, &row.key);
            let known = rows.generations.entry(key).or_insert(row.generation);
            *known = (*known).max(row.generation);
        }
        let gone: BTreeSet<RunId> = rows.runs.keys().copied().collect();
        let count = r.int().ok_or_else(|| bad("kept records"))?;
        let kept = Aligned::copy_of(r.0);
        let frames = frames(&kept, count, identity, end, &gone, &mut rows)?;
        Ok(Pruned {
            identity,
            position,
            tree,
            seal,
            archives,
            rows,
            gone,
            frames,
            bytes: kept,
            digest,
            len: bytes.len() as u64,
        })
    }

    /// PRUNED of the log at `place`; `None` for a log that was never pruned.
    ///
    /// # Errors
    /// [`Error::Finding`] when it is damaged or newer than this build; [`Error::Disk`].
    pub(crate) fn read(place: &Place) -> Result<Option<Pruned>, Error> {
        let Some(bytes) = read_bytes(place)? else {
            return Ok(None);
        };
        match Pruned::decode(&bytes) {
            Ok(pruned) => Ok(Some(pruned)),
            Err(fault) => Err(fault.finding().into()),
        }
    }

    /// The same, which must be of the log `identity`.
    pub(crate) fn of(place: &Place, identity: Identity) -> Result<Option<Pruned>, Error> {
        let pruned = Pruned::read(place)?;
        match &pruned {
            Some(other) if other.identity != identity => {
                let said = |identity: Identity| {
                    format!(
                        "log {} with stride {}",
                        identity.log_id,
                        identity.stride.bytes()
                    )
                };
                let fault = Fault::damaged(said(identity), said(other.identity));
                Err(fault.finding().into())
            }
            _ => Ok(pruned),
        }
    }
}

/// Puts the header in the room before the body, and the digest behind it.
fn enclose(identity: Identity, mut bytes: Vec<u8>) -> Vec<u8> {
    let len = bytes.len() as u64 + 32;
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&identity.stride.log2().to_le_bytes());
    bytes[16..32].copy_from_slice(&identity.log_id.0);
    bytes[40..48].copy_from_slice(&len.to_le_bytes());
    let crc = crc32(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    let digest = Digest::of(&bytes);
    bytes.extend_from_slice(&digest.0);
    bytes
}

/// Any body, enclosed as that of a log.
#[cfg(feature = "fuzzing")]
pub(crate) fn around(body: &[u8]) -> Vec<u8> {
    let identity = Identity {
        log_id: LogId([7; 16]),
        stride: Stride::MIN,
    };
    enclose(identity, [&[0; HEADER_LEN][..], body].concat())
}

/// The bytes of PRUNED.
pub(crate) fn read_bytes(place: &Place) -> Result<Option<Vec<u8>>, Error> {
    let file = match place.disk.open(&place.root.join(PRUNED), OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == DiskKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let len = file.len()?;
    if len > LEN_MAX {
        let expected = format!("at most {LEN_MAX} bytes");
        return Err(Fault::damaged(expected, format!("{len} bytes"))
            .finding()
            .into());
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}

/// What is wrong with the bytes.
#[derive(Debug)]
pub(crate) struct Fault {
    newer: bool,
    expected: String,
    found: String,
}

impl Fault {
    fn damaged(expected: impl Into<String>, found: impl Into<String>) -> Fault {
        Fault {
            newer: false,
            expected: expected.into(),
            found: found.into(),
        }
    }

    pub(crate) fn finding(self) -> Finding {
        let (kind, code) = match self.newer {
            true => (FindingKind::Unsupported, code::UNSUPPORTED),
            false => (FindingKind::Corruption, code::DAMAGED),
        };
        Finding {
            kind,
            code,
            offset: Offset(0),
            length: None,
            file: PRUNED.into(),
            expected: self.expected,
            found: self.found,
        }
    }
}

/// Judges header, length and digest.
fn outline(bytes: &[u8]) -> Result<(Identity, Digest), Fault> {
    let cut = || Fault::damaged("a whole file", format!("{} bytes", bytes.len()));
    let header: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or_else(cut)?;
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if header[..8] != *MAGIC || word(60) != crc32(&header[..60]) {
        return Err(Fault::damaged(
            "the header of PRUNED",
            "bytes that are none, or fail its CRC",
        ));
    }
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version != VERSION || long(32) != 0 {
        return Err(Fault {
            newer: true,
            expected: format!("version {VERSION}"),
            found: format!("version {version}, features {:#x}", long(32)),
        });
    }
    if header[10..12] != [0; 2] || header[48..60] != [0; 12] {
        return Err(Fault::damaged("reserved bytes of 0", "others"));
    }
    if long(40) != bytes.len() as u64 || bytes.len() < HEADER_LEN + 32 {
        return Err(Fault::damaged(
            format!("{} bytes", long(40)),
            format!("{} bytes", bytes.len()),
        ));
    }
    let stride = Stride::from_log2(word(12))
        .map_err(|error| Fault::damaged("a stride", error.to_string()))?;
    let (before, sum) = bytes.split_at(bytes.len() - 32);
    let found = Digest::of(before);
    if found.0 != sum {
        return Err(Fault::damaged(
            "the SHA-256 at its end",
            format!("SHA-256 {found}"),
        ));
    }
    let mut log_id = [0; 16];
    log_id.copy_from_slice(&header[16..32]);
    let mut whole = Hasher::default();
    whole.update(bytes);
    let identity = Identity {
        log_id: LogId(log_id),
        stride,
    };
    Ok((identity, whole.finish()))
}

fn position(r: &mut Reader<'_>) -> Option<Position> {
    let position = Position {
        end: r.offset()?,
        group: r.int()?,
        epoch: r.int()?.try_into().ok()?,
        commit_crc: r.int()?.try_into().ok()?,
        ended: true,
        chained: true,
    };
    let sound = |number: u64| (1..=NUMBER_MAX).contains(&number);
    (sound(position.end.0) && sound(position.group) && position.epoch > 0).then_some(position)
}

fn tree(r: &mut Reader<'_>) -> Option<(Peaks, Digest)> {
    let size = r.int()?;
    let mut peaks = Vec::new();
    for _ in 0..size.count_ones() {
        peaks.push(r.digest()?);
    }
    Some((Peaks::new(size, peaks)?, r.digest()?))
}

fn archives(r: &mut Reader<'_>) -> Option<Vec<PrunedArchive>> {
    let mut archives = Vec::new();
    for _ in 0..r.int()? {
        archives.push(PrunedArchive {
            name: r.text()?,
            sha256: r.digest()?,
            origin: r.text()?,
            records: r.int()?,
            root: r.digest()?,
            start: r.offset()?,
            end: r.offset()?,
        });
    }
    Some(archives)
}

fn runs(r: &mut Reader<'_>, rows: &mut Rows) -> Option<()> {
    for _ in 0..r.int()? {
        let run = RunId(r.array()?);
        let len = usize::try_from(r.int()?).ok()?;
        let row = decode_run(run, r.bytes(len)?)?;
        if rows
            .runs
            .last_key_value()
            .is_some_and(|(last, _)| *last >= run)
        {
            return None;
        }
        rows.runs.insert(run, row);
        for _ in 0..r.int()? {
            let checkpoint = CheckpointRow {
                offset: r.offset()?,
                seq: r.int()?,
                lane_seq: r.int()?,
            };
            rows.checkpoints
                .insert((run, checkpoint.offset), checkpoint);
        }
    }
    Some(())
}

/// The kept frames, each judged, folded into the rows.
fn frames(
    bytes: &[u8],
    count: u64,
    identity: Identity,
    end: u64,
    gone: &BTreeSet<RunId>,
    rows: &mut Rows,
) -> Result<Vec<(FrameHeader, usize)>, Fault> {
    let bad = |at: usize, why: String| {
        Fault::damaged("a kept record", format!("{why}, {at} bytes into them"))
    };
    let (mut frames, mut at, mut last) = (Vec::new(), 0, 0);
    for _ in 0..count {
        let rest = &bytes[at..];
        let error = |error: aos_format::Error| bad(at, error.to_string());
        let header = FrameHeader::decode(rest, identity.stride).map_err(error)?;
        header
            .belongs(header.offset, identity.log_id.salt(), 1)
            .map_err(error)?;
        let whole = rest
            .get(..header.frame_len() as usize)
            .ok_or_else(|| bad(at, "a cut frame".into()))?;
        let body = &whole[FRAME_HEADER_LEN as usize..];
        header.check_body(body).map_err(error)?;
        let structural = Kind::from_u8(header.kind).is_some_and(Kind::is_structural);
        if header.offset.0 <= last || header.end().0 > end || structural {
            return Err(bad(at, format!("a frame at offset {}", header.offset)));
        }
        let view =
            RecordView::of_frame(&header, &body[..header.body_len as usize]).map_err(error)?;
        if view
            .stream()
            .as_run()
            .is_some_and(|run| gone.contains(&run))
        {
            return Err(bad(at, "a record of a run that is gone".into()));
        }
        // Folding a record that can be read cannot fail: nothing is looked up.
        rows.fold(&Nothing, &header, body)
            .map_err(|error| bad(at, error.to_string()))?;
        last = header.offset.0;
        frames.push((header, at));
        at += whole.len();
    }
    if at != bytes.len() {
        return Err(bad(at, "bytes behind the last".into()));
    }
    Ok(frames)
}
