//! Following a stream's links, for writers and readers alike.

use crate::error::Error;
use crate::stored::StoredRecord;
use aos_format::frame::skip_distance;
use aos_format::offset::Offset;
use aos_format::record::{REDACTED, StreamId};

/// Reads the record that a link leads to and checks that it is the one meant.
fn follow(
    read: &mut impl FnMut(Offset) -> Result<StoredRecord, Error>,
    at: Offset,
    stream: StreamId,
    seq: u64,
) -> Result<StoredRecord, Error> {
    let record = read(at)?;
    let found = record.stream()?;
    if record.seq() != seq || found != stream {
        let expected = format!("record number {seq} of the stream whose link leads here");
        let found = format!("record number {}", record.seq());
        return Err(record.finding(&expected, found).into());
    }
    Ok(record)
}

/// The records of a stream from number `from_seq` to its head, in order.
pub(crate) fn back(
    mut read: impl FnMut(Offset) -> Result<StoredRecord, Error>,
    stream: StreamId,
    head: Offset,
    seq: u64,
    from_seq: u64,
) -> Result<Vec<StoredRecord>, Error> {
    let mut records = Vec::new();
    let (mut at, mut number) = (head, seq);
    while number >= from_seq.max(1) {
        let record = follow(&mut read, at, stream, number)?;
        at = record.header().prev;
        number -= 1;
        records.push(record);
    }
    records.reverse();
    Ok(records)
}

/// Record number `target` of the stream that `from` belongs to, or `None` when `from` itself is it or comes before.
fn earlier(
    read: &impl Fn(Offset) -> Result<StoredRecord, Error>,
    from: &StoredRecord,
    target: u64,
) -> Result<Option<StoredRecord>, Error> {
    let stream = from.stream()?;
    let mut header = *from.header();
    let mut found = None;
    while header.seq > target && target > 0 {
        let below = header.seq - skip_distance(header.seq);
        let (at, number) = if below >= target {
            (header.skip, below)
        } else {
            (header.prev, header.seq - 1)
        };
        let record = follow(&mut |at| read(at), at, stream, number)?;
        header = *record.header();
        found = Some(record);
    }
    Ok(found.filter(|record| record.seq() == target))
}

/// Record number `seq` of a stream whose newest record is number `head_seq` at `head`; `None` for number 0.
pub(crate) fn nth(
    read: impl Fn(Offset) -> Result<StoredRecord, Error>,
    stream: StreamId,
    head: Offset,
    head_seq: u64,
    seq: u64,
) -> Result<Option<StoredRecord>, Error> {
    let newest = follow(&mut |at| read(at), head, stream, head_seq)?;
    if seq == head_seq {
        return Ok(Some(newest));
    }
    earlier(&read, &newest, seq)
}

/// The bytes of a value, wherever they are stored.
pub(crate) fn value(
    read: impl Fn(Offset) -> Result<StoredRecord, Error>,
    record: &StoredRecord,
    slot: u8,
) -> Result<Vec<u8>, Error> {
    let absent = |why| Error::NoValue {
        offset: record.offset(),
        slot,
        why,
    };
    let view = record.view()?;
    let entry = view
        .values()
        .find(|entry| entry.slot == slot)
        .ok_or_else(|| absent("the record has no such value"))?;
    if entry.from_seq == 0 {
        return match view.value_bytes(&entry) {
            Some(bytes) => Ok(bytes.to_vec()),
            None if entry.start == REDACTED => Err(absent("it was redacted")),
            None => Err(absent("only its digest was recorded")),
        };
    }
    let stored = earlier(&read, record, entry.from_seq)?
        .ok_or_else(|| absent("the record it refers to does not come before"))?;
    let view = stored.view()?;
    let there = view
        .values()
        .find(|there| there.slot == entry.from_slot && there.from_seq == 0)
        .ok_or_else(|| absent("the record it refers to does not store it"))?;
    match view.value_bytes(&there) {
        Some(bytes) => Ok(bytes.to_vec()),
        None if there.start == REDACTED => Err(absent("it was redacted")),
        None => Err(absent("only its digest was recorded")),
    }
}
