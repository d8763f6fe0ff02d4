//! Looking up single records: for what the joiner does not keep, and to put a name to findings.

use super::local::Stored;
use super::scan::Read;
use aos_format::event::{self, FieldType};
use aos_format::frame::{FRAME_HEADER_LEN, FrameHeader, Kind, skip_distance};
use aos_format::offset::Offset;
use aos_format::record::{RecordView, StreamId};
use aos_format::segment::Identity;
use aos_format::sha_wide::Width;
use aos_store::Aligned;

/// Reads records by offset.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) identity: Identity,
    pub(crate) read: &'a Read<'a>,
    /// How digests are computed.
    pub(crate) width: Width,
}

/// Why a record cannot be had; the damage itself is reported where it stands.
#[derive(Debug)]
pub(crate) struct Unreadable;

/// A record whose CRCs hold.
pub(crate) struct Found {
    pub(crate) header: FrameHeader,
    body: Aligned,
}

impl Found {
    pub(crate) fn view(&self) -> Result<RecordView<'_>, Unreadable> {
        RecordView::of_frame(&self.header, &self.body).map_err(|_| Unreadable)
    }

    fn activation(&self) -> Option<String> {
        let view = self.view().ok()?;
        let kind = Kind::from_u8(self.header.kind)?;
        let named = activation(kind, view.det());
        Some(named.unwrap_or_else(|| kind.name().to_owned()))
    }
}

/// The activation that a deterministic part names.
pub(crate) fn activation(kind: Kind, det: &[u8]) -> Option<String> {
    let raw = event::raw_fields(kind, det).ok()?;
    let at = event::fields(kind)
        .iter()
        .position(|field| field.name == "activation" && field.kind == FieldType::Text)?;
    let text = std::str::from_utf8(raw.get(at)?).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

impl Look<'_> {
    /// `len` bytes from an offset on, all of one segment.
    pub(crate) fn bytes(&self, at: u64, len: u64) -> Result<Aligned, aos_store::Error> {
        (self.read)(Offset(at), len as usize, Aligned::default())
    }

    /// The record at `offset`.
    pub(crate) fn record(&self, offset: u64) -> Result<Found, Unreadable> {
        let stride = self.identity.stride;
        let room = stride.segment_end(Offset(offset)).0 - offset;
        if !offset.is_multiple_of(16) || room < FRAME_HEADER_LEN {
            return Err(Unreadable);
        }
        let read = |at: u64, len: u64| self.bytes(at, len).map_err(|_| Unreadable);
        let header = FrameHeader::decode(&read(offset, FRAME_HEADER_LEN)?, stride)
            .map_err(|_| Unreadable)?;
        header
            .belongs(Offset(offset), self.identity.log_id.salt(), 1)
            .map_err(|_| Unreadable)?;
        if Kind::from_u8(header.kind).is_some_and(Kind::is_structural) {
            return Err(Unreadable);
        }
        let body = read(
            offset + FRAME_HEADER_LEN,
            header.frame_len() - FRAME_HEADER_LEN,
        )?;
        header.check_body(&body).map_err(|_| Unreadable)?;
        Ok(Found { header, body })
    }

    /// The activation of the record at `offset`, or its kind where it names none.
    pub(crate) fn activation(&self, offset: u64) -> Option<String> {
        self.record(offset).ok()?.activation()
    }

    /// The kind of the record at `offset`.
    pub(crate) fn kind(&self, offset: u64) -> Option<Kind> {
        Kind::from_u8(self.record(offset).ok()?.header.kind)
    }

    /// Stream and activation of the record at `offset`.
    pub(crate) fn record_of(&self, offset: u64) -> Option<(StreamId, Option<String>)> {
        let found = self.record(offset).ok()?;
        let stream = found.view().ok()?.stream();
        Some((stream, found.activation()))
    }

    /// Record `seq` of `stream`, found by the links of the later record at `from`.
    fn seek(&self, stream: StreamId, from: u64, seq: u64) -> Result<Found, Unreadable> {
        let mut found = self.record(from)?;
        loop {
            if found.view()?.stream() != stream {
                return Err(Unreadable);
            }
            let here = found.header.seq;
            if here == seq {
                return Ok(found);
            }
            if here < seq {
                return Err(Unreadable);
            }
            let skipped = here - skip_distance(here);
            let next = if skipped >= seq {
                found.header.skip
            } else {
                found.header.prev
            };
            // Links point back, so this ends.
            if next == Offset::NONE || next >= found.header.offset {
                return Err(Unreadable);
            }
            found = self.record(next.0)?;
        }
    }

    /// The value that record `seq` stores in `slot`.
    pub(crate) fn stored(
        &self,
        stream: StreamId,
        from: u64,
        seq: u64,
        slot: u8,
    ) -> Result<Option<Stored>, Unreadable> {
        let found = self.seek(stream, from, seq)?;
        let view = found.view()?;
        let kind = Kind::from_u8(found.header.kind).ok_or(Unreadable)?;
        let names = event::slots(kind, view.det()).map_err(|_| Unreadable)?;
        let entry = view.values().find(|entry| entry.slot == slot);
        let name = names.iter().find(|(number, _)| *number == slot);
        let (Some(entry), Some((_, name))) = (entry, name) else {
            return Ok(None);
        };
        Ok((entry.from_seq == 0).then(|| Stored::new(seq, slot, *name)))
    }
}
