//! Events in normal form: what two histories are compared by.
//!
//! An event without the digest of the one before it, each value by its content instead of its salted name. What follows
//! from the identity of a run alone (salts, idempotency keys, lane ids) says nothing and is left out.

use super::report::EventRef;
use crate::error::Error;
use crate::finding::{Finding, code, pointer};
use crate::verify::activation;
use aos_engine::chain::Emission;
use aos_format::digest::Digest;
use aos_format::event::{self, Event, Field, FieldType, ValueRef};
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_format::record::{Stored, StreamId, volatile_name};
use aos_store::{Source, StoredRecord};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A workflow as people call it; an imported one has no version.
pub(crate) fn workflow_name(start: &event::Start) -> String {
    let event::Start {
        namespace,
        name,
        version,
        ..
    } = start;
    format!("{namespace}/{name} {version}")
        .trim_end()
        .to_owned()
}

/// A value of an event.
#[derive(Clone, Debug)]
pub(crate) struct NormValue {
    pub slot: u8,
    pub name: ValueRef,
    pub salt: [u8; 16],
    /// Where its bytes are stored: number of the record in the stream, and slot.
    pub at: (u64, u8),
    /// The bytes, where they are stored at all.
    pub bytes: Option<Arc<[u8]>>,
}

/// An event in normal form, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct NormEvent {
    pub kind: Kind,
    pub seq: u64,
    pub offset: Offset,
    pub lane: u64,
    pub lane_seq: u64,
    pub wall_ns: i64,
    pub det: Vec<u8>,
    pub digest: Digest,
    pub values: Vec<NormValue>,
    /// Unhashed extras, by name.
    pub volatile: Vec<(&'static str, Vec<u8>)>,
}

/// Values, and the salts of their names, by the record and slot that store them.
pub(crate) type Stock = BTreeMap<(u64, u8), ([u8; 16], Arc<[u8]>)>;

impl NormEvent {
    /// The event that a record holds; none for one that advances no history. `stock` learns the values stored here.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when it cannot be read, [`Error::Store`].
    pub fn read(
        source: &dyn Source,
        record: &StoredRecord,
        stock: &mut Stock,
    ) -> Result<Option<NormEvent>, Error> {
        let Some(kind) = record.kind().filter(|kind| kind.advances()) else {
            return Ok(None);
        };
        let view = record.view()?;
        let unreadable = |why: String| {
            let expected = format!("the fields of a {}", kind.name());
            let finding = Finding::at(code::UNREADABLE, record.offset().0, expected, why);
            Error::Unreadable(Box::new(finding.stream(view.stream())))
        };
        Event::decode(kind, view.det()).map_err(|error| unreadable(error.to_string()))?;
        let names = event::slots(kind, view.det()).map_err(|e| unreadable(e.to_string()))?;
        let mut values = Vec::with_capacity(names.len());
        for (slot, name) in names {
            let entry = view.values().find(|entry| entry.slot == slot);
            let at = match &entry {
                Some(entry) if entry.from_seq != 0 => (entry.from_seq, entry.from_slot),
                _ => (record.seq(), slot),
            };
            let here = entry.as_ref().and_then(|entry| view.value_bytes(entry));
            let salt = entry.map_or([0; 16], |entry| entry.salt);
            let (salt, bytes) = match (here, stock.get(&at)) {
                (Some(bytes), _) => {
                    let bytes: Arc<[u8]> = bytes.into();
                    stock.insert(at, (salt, bytes.clone()));
                    (salt, Some(bytes))
                }
                (None, Some((salt, known))) => (*salt, Some(known.clone())),
                // Its salt stands with the bytes, before what was read: not known here.
                (None, None) => match source.value(record, slot) {
                    Ok(bytes) => {
                        let bytes: Arc<[u8]> = bytes.into();
                        stock.insert(at, ([0; 16], bytes.clone()));
                        ([0; 16], Some(bytes))
                    }
                    Err(aos_store::Error::NoValue { .. }) => (salt, None),
                    Err(error) => return Err(error.into()),
                },
            };
            values.push(NormValue {
                slot,
                name,
                salt,
                at,
                bytes,
            });
        }
        Ok(Some(NormEvent {
            kind,
            seq: record.seq(),
            offset: record.offset(),
            lane: view.lane(),
            lane_seq: view.lane_seq(),
            wall_ns: view.wall_ns(),
            det: view.det().to_vec(),
            digest: view.digest(),
            values,
            volatile: view
                .volatile()
                .map(|(tag, bytes)| (volatile_name(tag), bytes.to_vec()))
                .collect(),
        }))
    }

    /// The event that a machine made.
    pub fn made(emission: &Emission, stock: &mut Stock) -> NormEvent {
        let draft = &emission.draft;
        let names = event::slots(emission.kind, &draft.det).unwrap_or_default();
        let value = |(slot, name): (u8, ValueRef)| {
            let drafted = draft.values.iter().find(|value| value.slot == slot);
            let (at, salt, bytes) = match drafted.map(|value| (&value.stored, value.salt)) {
                Some((Stored::Here(bytes), salt)) => {
                    stock.insert((emission.seq, slot), (salt, bytes.clone()));
                    ((emission.seq, slot), salt, Some(bytes.clone()))
                }
                Some((Stored::Back { seq, slot }, salt)) => {
                    let known = stock.get(&(*seq, *slot)).map(|(_, bytes)| bytes.clone());
                    ((*seq, *slot), salt, known)
                }
                Some((Stored::Absent, salt)) => ((emission.seq, slot), salt, None),
                None => ((emission.seq, slot), [0; 16], None),
            };
            NormValue {
                slot,
                name,
                salt,
                at,
                bytes,
            }
        };
        NormEvent {
            kind: emission.kind,
            seq: emission.seq,
            offset: Offset::NONE,
            lane: draft.lane,
            lane_seq: draft.lane_seq,
            wall_ns: 0,
            det: draft.det.clone(),
            digest: emission.digest,
            values: names.into_iter().map(value).collect(),
            volatile: Vec::new(),
        }
    }

    /// The typed event.
    pub fn event(&self) -> Event {
        match Event::decode(self.kind, &self.det) {
            Ok((_, event)) => event,
            Err(error) => unreachable!("it was decoded when it was read: {error}"),
        }
    }

    /// Digest of the event before it in its lane, as it says.
    pub fn previous(&self) -> Digest {
        event::previous(self.kind, &self.det).unwrap_or(Digest::ZERO)
    }

    /// Which occurrence of which step.
    pub fn activation(&self) -> String {
        activation(self.kind, &self.det).unwrap_or_default()
    }

    /// Raw bytes of its fields, in order.
    pub fn raw(&self) -> Vec<&[u8]> {
        event::raw_fields(self.kind, &self.det).unwrap_or_default()
    }

    /// A field and its raw bytes, by name.
    fn field(&self, name: &str) -> Option<(&'static Field, &[u8])> {
        let mut all = event::Fields::new(self.kind, &self.det).ok()?.flatten();
        all.find(|(field, _)| field.name == name)
    }

    /// Raw bytes of one field; empty where it is left out.
    pub fn raw_field(&self, name: &str) -> &[u8] {
        self.field(name).map_or(&[], |(_, raw)| raw)
    }

    /// A text field; empty where the kind has none of that name.
    pub fn text(&self, name: &str) -> String {
        let found = self.field(name).and_then(|(field, raw)| field.text(raw));
        found.unwrap_or_default().to_owned()
    }

    /// A number; none where the field is empty or not there.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.field(name).and_then(|(field, raw)| field.number(raw))
    }

    /// The value in a slot, by its name.
    pub fn value(&self, name: &str) -> Option<&NormValue> {
        let slot = event::slot_of(self.kind, name)?;
        self.values.iter().find(|value| value.slot == slot)
    }

    /// Bytes of the value in a slot.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.value(name).and_then(|value| value.bytes.as_deref())
    }

    /// Try, from 1; 0 where the kind has none.
    pub fn attempt(&self) -> u64 {
        self.number("attempt").unwrap_or_default()
    }

    /// The event in short.
    pub fn reference(&self) -> EventRef {
        EventRef {
            seq: self.seq,
            offset: self.offset.0,
            lane: self.lane,
            lane_seq: self.lane_seq,
            kind: self.kind.name().into(),
            activation: self.activation(),
            attempt: self.attempt(),
            what: self.what(),
            digest: self.digest.hex(),
            wall_ns: self.wall_ns,
        }
    }

    fn what(&self) -> String {
        match self.event() {
            Event::Start(start) => workflow_name(&start),
            Event::Step(step) if step.next.is_empty() => step.outcome,
            Event::Step(step) => format!("{}, then {}", step.outcome, step.next),
            Event::Intent(intent) => match intent.duration_ms {
                Some(ms) => format!("{} {ms} ms", intent.effect),
                None => intent.effect,
            },
            Event::Result(result) => result.outcome,
            Event::Decision(decision) => format!("{} {}", decision.rule, decision.verdict),
            Event::Signal(signal) => format!("{} {}", signal.signal_type, signal.id),
            Event::Fork(fork) => format!("{} lanes", fork.lanes.len()),
            Event::Join(join) => match join.winner {
                Some(winner) => format!("winner {winner}"),
                None => format!("{} lanes", join.digests.len()),
            },
            Event::Time(time) => format!("{} {}", time.subject, time.time_ns),
            Event::End(end) => end.outcome,
            Event::Foreign(foreign) => {
                let id = self.volatile.iter().find(|(name, _)| *name == "foreign_id");
                match id {
                    Some((_, id)) => {
                        format!(
                            "{} id {}",
                            foreign.foreign_type,
                            String::from_utf8_lossy(id)
                        )
                    }
                    None => foreign.foreign_type,
                }
            }
            Event::Open(_)
            | Event::Definition(_)
            | Event::Seed(_)
            | Event::Checkpoint(_)
            | Event::Seal(_)
            | Event::Mark(_) => String::new(),
        }
    }
}

/// Names on an activation's path, without the positions that an inserted step would shift: `/do/2/walk/do/0/read;1.5,1` is
/// `walk/read;1.5,1`. A path without names is left as it is.
pub(crate) fn names(activation: &str) -> String {
    let path = pointer(activation);
    let visits = &activation[path.len()..];
    let mut parts = path.split('/').skip(1);
    let mut named = Vec::new();
    while let Some(part) = parts.next() {
        let position = parts.next();
        let (Some(position), Some(name)) = (position, parts.next()) else {
            return activation.to_owned();
        };
        if position.bytes().any(|b| !b.is_ascii_digit()) || part.is_empty() {
            return activation.to_owned();
        }
        named.push(name);
    }
    if named.is_empty() {
        return activation.to_owned();
    }
    named.join("/") + visits
}

/// What names an event when two histories are aligned, but for its occurrence.
pub(crate) fn key(event: &NormEvent) -> String {
    let mut key = format!(
        "{} {} {}",
        event.kind.name(),
        names(&event.activation()),
        event.attempt()
    );
    let more = match event.kind {
        Kind::Time | Kind::Decision => event.text("subject"),
        Kind::Signal => event.text("id"),
        _ => String::new(),
    };
    if !more.is_empty() {
        key.push(' ');
        key.push_str(&more);
    }
    key
}

/// How a pair of events is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lens {
    /// Whether both are of runs with the same id.
    pub same_run: bool,
}

impl Lens {
    /// Whether a field takes part in the comparison of `a` and `b`.
    pub fn counts(self, kind: Kind, field: &str, a: &NormEvent, b: &NormEvent) -> bool {
        match (kind, field) {
            (Kind::Join, "digests") | (Kind::Fork, "lanes") | (Kind::Intent, "authorised") => false,
            (Kind::Start, "seed_commitment") => self.same_run,
            (Kind::Intent, "idempotency") => self.same_run && a.activation() == b.activation(),
            (_, "activation") => false,
            _ => true,
        }
    }
}

/// Whether two values are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Same {
    Yes,
    No,
    /// Bytes are not stored, and the salted names do not tell.
    Unknown,
}

/// Compares two values by content.
pub(crate) fn same_value(a: Option<&NormValue>, b: Option<&NormValue>) -> Same {
    let (a, b) = match (a, b) {
        (None, None) => return Same::Yes,
        (Some(a), Some(b)) => (a, b),
        _ => return Same::No,
    };
    match (&a.bytes, &b.bytes) {
        (Some(x), Some(y)) if x == y => Same::Yes,
        (Some(_), Some(_)) => Same::No,
        _ if a.name == b.name => Same::Yes,
        _ if a.name.len != b.name.len || a.name.kind != b.name.kind => Same::No,
        _ if a.salt == b.salt && a.salt != [0; 16] => Same::No,
        _ => Same::Unknown,
    }
}

/// Whether two events of the same key are equal in normal form, without ignore rules.
pub(crate) fn same(a: &NormEvent, b: &NormEvent, lens: Lens) -> bool {
    if a.kind != b.kind {
        return false;
    }
    if lens.same_run && a.digest == b.digest {
        return true;
    }
    let (left, right) = (a.raw(), b.raw());
    for (number, (field, (x, y))) in event::fields(a.kind)
        .iter()
        .zip(left.iter().zip(&right))
        .enumerate()
    {
        if field.kind == FieldType::Slot {
            let slot = number as u8;
            let of = |event: &'_ NormEvent| event.values.iter().position(|v| v.slot == slot);
            let pair = (of(a).map(|i| &a.values[i]), of(b).map(|i| &b.values[i]));
            if same_value(pair.0, pair.1) != Same::Yes {
                return false;
            }
        } else if x != y && lens.counts(a.kind, field.name, a, b) {
            return false;
        }
    }
    true
}

/// Reads the events among `records` of a run, in order.
///
/// # Errors
/// As [`NormEvent::read`].
pub(crate) fn read_all(
    source: &dyn Source,
    records: &[StoredRecord],
    stock: &mut Stock,
) -> Result<Vec<NormEvent>, Error> {
    let mut events = Vec::with_capacity(records.len());
    for record in records {
        events.extend(NormEvent::read(source, record, stock)?);
    }
    Ok(events)
}

/// Checks that events follow one another in their lanes, and that stored bytes have the names the history gives them.
/// `heads` are the newest digest and count of each lane before the first event; a lane that is not there yet is taken from
/// its first event.
pub(crate) fn check_chain(
    events: &[NormEvent],
    heads: &mut BTreeMap<u64, (Digest, u64)>,
    stream: StreamId,
) -> Option<Finding> {
    for event in events {
        let previous = event.previous();
        if let Some((head, count)) = heads.get(&event.lane)
            && (previous != *head || event.lane_seq != count + 1)
        {
            let finding = Finding::at(
                code::HISTORY,
                event.offset.0,
                format!("number {} behind {}", count + 1, head.hex()),
                format!("number {} behind {}", event.lane_seq, previous.hex()),
            );
            return Some(finding.field("previous").stream(stream));
        }
        heads.insert(event.lane, (event.digest, event.lane_seq));
        for value in &event.values {
            // A salt of zeros is one that was not read.
            if let Some(bytes) = &value.bytes
                && value.salt != [0; 16]
                && !value.name.matches(&value.salt, bytes)
            {
                let found = ValueRef::of(value.name.kind, &value.salt, bytes).digest;
                let field = event::fields(event.kind)[usize::from(value.slot)].name;
                let finding = Finding::at(
                    code::VALUE,
                    event.offset.0,
                    value.name.digest.hex(),
                    found.hex(),
                );
                return Some(finding.field(field).stream(stream));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_leave_positions_out() {
        assert_eq!(
            names("/do/1/walk/do/0/classify;1.5,1"),
            "walk/classify;1.5,1"
        );
        assert_eq!(names("/do/0/first"), "first");
        assert_eq!(names("/0"), "/0");
        assert_eq!(names("draw"), "draw");
        assert_eq!(names(""), "");
    }
}
