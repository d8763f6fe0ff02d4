//! Bytes of the catalogue's rows. They are derived and may change with the schema version; nothing outside reads them, but
//! for a run's row, which PRUNED carries too (`docs/format/pruned.md`): changing that needs a version of PRUNED of its own.

use crate::fold::{CheckpointRow, Outstanding, RunRow, RunStatus, StreamHead};
use crate::group::Position;
use aos_format::digest::{Digest, LogId, RunId};
use aos_format::offset::Offset;
use aos_format::wire::{put_varint, take_varint};

/// Version of the catalogue's tables and rows; another one is rebuilt.
pub(crate) const SCHEMA: u64 = 2;

/// What a catalogue says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Meta {
    pub(crate) log_id: LogId,
    pub(crate) position: Position,
    pub(crate) first_seed: Option<Offset>,
    pub(crate) unreadable: u64,
    /// The sum over all rows. redb writes a page that it misread again, with a checksum that fits.
    pub(crate) sum: u64,
}

/// What a row adds to the sum: a checksum of its table, key and value, spread over 64 bits.
pub(crate) fn row_sum(table: &str, key: &[u8], value: &[u8]) -> u64 {
    let mut crc = crc32fast::Hasher::new();
    for part in [table.as_bytes(), key, value] {
        crc.update(&(part.len() as u64).to_le_bytes());
        crc.update(part);
    }
    // The finalizer of splitmix64.
    let mut z = u64::from(crc.finalize()).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn int(mut self, value: u64) -> Self {
        put_varint(&mut self.0, value);
        self
    }
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    pub(crate) fn text(self, text: &str) -> Self {
        self.int(text.len() as u64).bytes(text.as_bytes())
    }
    pub(crate) fn wall(self, wall_ns: i64) -> Self {
        self.bytes(&wall_ns.to_le_bytes())
    }
}

pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn int(&mut self) -> Option<u64> {
        take_varint(&mut self.0)
    }
    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }
    pub(crate) fn text(&mut self) -> Option<String> {
        let len = usize::try_from(self.int()?).ok()?;
        String::from_utf8(self.bytes(len)?.to_vec()).ok()
    }
    pub(crate) fn offset(&mut self) -> Option<Offset> {
        self.int().map(Offset)
    }
    pub(crate) fn digest(&mut self) -> Option<Digest> {
        self.array().map(Digest)
    }
    pub(crate) fn wall(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
    fn flag(&mut self) -> Option<bool> {
        match self.int()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
    pub(crate) fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

impl Meta {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let position = &self.position;
        Writer(Vec::new())
            .int(SCHEMA)
            .bytes(&self.log_id.0)
            .int(position.end.0)
            .int(position.group)
            .int(position.epoch.into())
            .int(position.commit_crc.into())
            .int(position.ended.into())
            .int(self.first_seed.unwrap_or(Offset::NONE).0)
            .int(self.unreadable)
            .int(self.sum)
            .0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Meta> {
        let mut reader = Reader(bytes);
        if reader.int()? != SCHEMA {
            return None;
        }
        let meta = Meta {
            log_id: LogId(reader.array()?),
            position: Position {
                end: reader.offset()?,
                group: reader.int()?,
                epoch: reader.int()?.try_into().ok()?,
                commit_crc: reader.int()?.try_into().ok()?,
                ended: reader.flag()?,
                chained: true,
            },
            first_seed: reader.offset()?.some(),
            unreadable: reader.int()?,
            sum: reader.int()?,
        };
        reader.end(meta)
    }
}

pub(crate) fn encode_run(row: &RunRow) -> Vec<u8> {
    let (status, policy) = match &row.status {
        RunStatus::Open => (0, ""),
        RunStatus::Waiting => (1, ""),
        RunStatus::Pending(policy) => (2, policy.as_str()),
        RunStatus::Completed => (3, ""),
        RunStatus::Faulted => (4, ""),
        RunStatus::Cancelled => (5, ""),
    };
    let mut writer = Writer(Vec::with_capacity(256))
        .text(&row.namespace)
        .text(&row.name)
        .text(&row.version)
        .text(&row.key)
        .int(row.generation)
        .int(row.start.0)
        .int(row.head.0)
        .int(row.seq)
        .int(row.lane_seq)
        .bytes(&row.digest.0)
        .int(status)
        .text(policy)
        .bytes(&row.definition.0)
        .bytes(&row.seed_commitment.0)
        .int(row.root_seed.is_some().into())
        .bytes(&row.root_seed.unwrap_or_default().0)
        .int(row.checkpoint.unwrap_or(Offset::NONE).0)
        .int(row.steps)
        .int(row.events)
        .wall(row.started_wall_ns)
        .int(row.ended_wall_ns.is_some().into())
        .wall(row.ended_wall_ns.unwrap_or_default())
        .int(row.outstanding.len() as u64);
    for intent in &row.outstanding {
        writer = writer
            .int(intent.offset.0)
            .text(&intent.activation)
            .text(&intent.effect)
            .text(&intent.policy);
    }
    writer.0
}

pub(crate) fn decode_run(run: RunId, bytes: &[u8]) -> Option<RunRow> {
    let mut r = Reader(bytes);
    let (namespace, name, version, key) = (r.text()?, r.text()?, r.text()?, r.text()?);
    let (generation, start, head) = (r.int()?, r.offset()?, r.offset()?);
    let (seq, lane_seq, digest) = (r.int()?, r.int()?, r.digest()?);
    let (status, policy) = (r.int()?, r.text()?);
    let status = match status {
        2 => RunStatus::Pending(policy),
        _ if !policy.is_empty() => return None,
        0 => RunStatus::Open,
        1 => RunStatus::Waiting,
        3 => RunStatus::Completed,
        4 => RunStatus::Faulted,
        5 => RunStatus::Cancelled,
        _ => return None,
    };
    let (definition, seed_commitment) = (r.digest()?, r.digest()?);
    let (has_root, root) = (r.flag()?, r.digest()?);
    let (checkpoint, steps, events) = (r.offset()?.some(), r.int()?, r.int()?);
    let started_wall_ns = r.wall()?;
    let (has_ended, ended) = (r.flag()?, r.wall()?);
    // What is not there has one form.
    if !has_root && root != Digest::default() || !has_ended && ended != 0 {
        return None;
    }
    let count = r.int()?;
    let mut outstanding = Vec::new();
    for _ in 0..count {
        outstanding.push(Outstanding {
            offset: r.offset()?,
            activation: r.text()?,
            effect: r.text()?,
            policy: r.text()?,
        });
    }
    r.end(RunRow {
        run,
        namespace,
        name,
        version,
        key,
        generation,
        start,
        head,
        seq,
        lane_seq,
        digest,
        status,
        definition,
        seed_commitment,
        root_seed: has_root.then_some(root),
        checkpoint,
        steps,
        events,
        started_wall_ns,
        ended_wall_ns: has_ended.then_some(ended),
        outstanding,
    })
}

pub(crate) fn encode_head(head: &StreamHead) -> Vec<u8> {
    Writer(Vec::with_capacity(64))
        .int(head.offset.0)
        .int(head.seq)
        .bytes(&head.digest.0)
        .int(head.lane_seq)
        .0
}

pub(crate) fn decode_head(bytes: &[u8]) -> Option<StreamHead> {
    let mut r = Reader(bytes);
    let head = StreamHead {
        offset: r.offset()?,
        seq: r.int()?,
        digest: r.digest()?,
        lane_seq: r.int()?,
    };
    r.end(head)
}

pub(crate) fn encode_checkpoint(row: &CheckpointRow) -> Vec<u8> {
    Writer(Vec::new()).int(row.seq).int(row.lane_seq).0
}

pub(crate) fn decode_checkpoint(offset: Offset, bytes: &[u8]) -> Option<CheckpointRow> {
    let mut r = Reader(bytes);
    let row = CheckpointRow {
        offset,
        seq: r.int()?,
        lane_seq: r.int()?,
    };
    r.end(row)
}

pub(crate) fn encode_int(value: u64) -> Vec<u8> {
    Writer(Vec::new()).int(value).0
}

pub(crate) fn decode_int(bytes: &[u8]) -> Option<u64> {
    let mut r = Reader(bytes);
    let value = r.int()?;
    r.end(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip_and_cut_rows_are_refused() {
        let row = RunRow {
            run: RunId([3; 16]),
            namespace: "default".into(),
            name: "orders".into(),
            version: "1.0.0".into(),
            key: "k".into(),
            generation: 300,
            start: Offset(64),
            head: Offset(7000),
            seq: 12,
            lane_seq: 9,
            digest: Digest([1; 32]),
            status: RunStatus::Pending("hold".into()),
            definition: Digest([2; 32]),
            seed_commitment: Digest([4; 32]),
            root_seed: Some(Digest([5; 32])),
            checkpoint: Some(Offset(640)),
            steps: 4,
            events: 11,
            started_wall_ns: -5,
            ended_wall_ns: None,
            outstanding: vec![Outstanding {
                offset: Offset(6000),
                activation: "/do/0/call".into(),
                effect: "http_call".into(),
                policy: "hold".into(),
            }],
        };
        let bytes = encode_run(&row);
        assert_eq!(decode_run(row.run, &bytes), Some(row.clone()));
        for len in 0..bytes.len() {
            assert_eq!(decode_run(row.run, &bytes[..len]), None, "{len}");
        }
        let meta = Meta {
            log_id: LogId([9; 16]),
            position: Position {
                end: Offset(9000),
                group: 4,
                epoch: 2,
                commit_crc: 0xffff_ffff,
                ended: true,
                chained: true,
            },
            first_seed: None,
            unreadable: 1,
            sum: u64::MAX,
        };
        assert_eq!(Meta::decode(&meta.encode()), Some(meta));
    }
}
