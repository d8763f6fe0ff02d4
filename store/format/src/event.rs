//! Events: the meaning of a record, and its deterministic bytes.
//!
//! ```text
//! det = tag 16 | previous digest 32 | field 0 | field 1 | …      field = varint length | bytes
//! ```
//!
//! The fields of each kind stand in one table below, which writes, reads and names them. No float, map order, `usize` or
//! volatile content enters.

use crate::Error;
use crate::digest::Digest;
use crate::frame::Kind;
use crate::wire::{put_varint, take_varint};

/// The standard `Result`; here `Result` is the event.
type Outcome<T, E> = std::result::Result<T, E>;

/// Length of the tag in front of a deterministic part.
pub const TAG_LEN: usize = 16;
/// Where the fields begin: after tag and predecessor.
pub const FIELDS_AT: usize = 48;
/// Value kind: canonical JSON.
pub const VALUE_JSON: u8 = 1;
/// Value kind: bytes.
pub const VALUE_BYTES: u8 = 2;

/// Name of a value: what the deterministic part says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValueRef {
    /// [`VALUE_JSON`] or [`VALUE_BYTES`].
    pub kind: u8,
    /// Length in bytes.
    pub len: u64,
    /// SHA-256 of label, salt and bytes.
    pub digest: Digest,
}

impl ValueRef {
    /// Names `bytes` under `salt`.
    pub fn of(kind: u8, salt: &[u8; 16], bytes: &[u8]) -> ValueRef {
        ValueRef {
            kind,
            len: bytes.len() as u64,
            digest: Digest::of_parts([b"aos.value.v1\0\0\0\0".as_slice(), salt, bytes]),
        }
    }

    /// Whether `bytes` under `salt` are what is named.
    pub fn matches(&self, salt: &[u8; 16], bytes: &[u8]) -> bool {
        ValueRef::of(self.kind, salt, bytes) == *self
    }
}

/// Head of one lane, in a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneHead {
    /// Lane.
    pub lane: u64,
    /// Records that advanced it.
    pub lane_seq: u64,
    /// Newest history digest.
    pub digest: Digest,
}

/// A skill bound at the start of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SkillRef {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Digest of its code or description.
    pub digest: Digest,
}

/// How a field's bytes are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldType {
    /// UTF-8.
    Text,
    /// Unsigned LEB128.
    Int,
    /// Empty or 32 bytes.
    Digest,
    /// Items with their lengths.
    List,
    /// Empty or a [`ValueRef`] in 41 bytes.
    Slot,
}

/// One field of a kind's deterministic part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// Name, in tools and exports.
    pub name: &'static str,
    /// How to read it.
    pub kind: FieldType,
}

trait Content: Sized {
    const TYPE: FieldType;
    fn put(&self, out: &mut Vec<u8>);
    fn take(bytes: &[u8]) -> Outcome<Self, &'static str>;
}

impl Content for String {
    const TYPE: FieldType = FieldType::Text;
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    fn take(bytes: &[u8]) -> Outcome<String, &'static str> {
        String::from_utf8(bytes.to_vec()).map_err(|_| "not UTF-8")
    }
}

impl Content for u64 {
    const TYPE: FieldType = FieldType::Int;
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, *self);
    }
    fn take(mut bytes: &[u8]) -> Outcome<u64, &'static str> {
        let value = take_varint(&mut bytes).ok_or("not a number")?;
        if bytes.is_empty() {
            Ok(value)
        } else {
            Err("bytes after a number")
        }
    }
}

impl Content for Option<u64> {
    const TYPE: FieldType = FieldType::Int;
    fn put(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(bytes: &[u8]) -> Outcome<Option<u64>, &'static str> {
        if bytes.is_empty() {
            Ok(None)
        } else {
            u64::take(bytes).map(Some)
        }
    }
}

impl Content for Digest {
    const TYPE: FieldType = FieldType::Digest;
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn take(bytes: &[u8]) -> Outcome<Digest, &'static str> {
        bytes.try_into().map(Digest).map_err(|_| "not 32 bytes")
    }
}

impl Content for Option<Digest> {
    const TYPE: FieldType = FieldType::Digest;
    fn put(&self, out: &mut Vec<u8>) {
        if let Some(digest) = self {
            digest.put(out);
        }
    }
    fn take(bytes: &[u8]) -> Outcome<Option<Digest>, &'static str> {
        if bytes.is_empty() {
            Ok(None)
        } else {
            Digest::take(bytes).map(Some)
        }
    }
}

impl Content for Option<ValueRef> {
    const TYPE: FieldType = FieldType::Slot;
    fn put(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            out.push(value.kind);
            out.extend_from_slice(&value.len.to_le_bytes());
            out.extend_from_slice(&value.digest.0);
        }
    }
    fn take(bytes: &[u8]) -> Outcome<Option<ValueRef>, &'static str> {
        match bytes {
            [] => Ok(None),
            [kind, rest @ ..] if rest.len() == 40 => Ok(Some(ValueRef {
                kind: *kind,
                len: u64::from_le_bytes(rest[..8].try_into().expect("eight bytes")),
                digest: Digest(rest[8..].try_into().expect("thirty-two bytes")),
            })),
            _ => Err("not a slot of 41 bytes"),
        }
    }
}

/// An item of a list field.
trait Item: Sized {
    fn put_item(&self, out: &mut Vec<u8>);
    fn take_item(rest: &mut &[u8]) -> Outcome<Self, &'static str>;
}

impl<T: Item> Content for Vec<T> {
    const TYPE: FieldType = FieldType::List;
    fn put(&self, out: &mut Vec<u8>) {
        for item in self {
            item.put_item(out);
        }
    }
    fn take(mut bytes: &[u8]) -> Outcome<Vec<T>, &'static str> {
        let mut items = Vec::new();
        while !bytes.is_empty() {
            items.push(T::take_item(&mut bytes)?);
        }
        Ok(items)
    }
}

fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_prefixed<'a>(rest: &mut &'a [u8]) -> Outcome<&'a [u8], &'static str> {
    let len = take_varint(rest).ok_or("bad length")?;
    let len = usize::try_from(len).map_err(|_| "bad length")?;
    let (bytes, after) = rest.split_at_checked(len).ok_or("cut")?;
    *rest = after;
    Ok(bytes)
}

impl Item for String {
    fn put_item(&self, out: &mut Vec<u8>) {
        put_prefixed(out, self.as_bytes());
    }
    fn take_item(rest: &mut &[u8]) -> Outcome<String, &'static str> {
        String::take(take_prefixed(rest)?)
    }
}

impl Item for Digest {
    fn put_item(&self, out: &mut Vec<u8>) {
        put_prefixed(out, &self.0);
    }
    fn take_item(rest: &mut &[u8]) -> Outcome<Digest, &'static str> {
        Digest::take(take_prefixed(rest)?)
    }
}

impl Item for u64 {
    fn put_item(&self, out: &mut Vec<u8>) {
        put_prefixed(out, &self.to_le_bytes());
    }
    fn take_item(rest: &mut &[u8]) -> Outcome<u64, &'static str> {
        let bytes = take_prefixed(rest)?;
        bytes
            .try_into()
            .map(u64::from_le_bytes)
            .map_err(|_| "not 8 bytes")
    }
}

impl Item for SkillRef {
    fn put_item(&self, out: &mut Vec<u8>) {
        self.name.put_item(out);
        self.version.put_item(out);
        self.digest.put_item(out);
    }
    fn take_item(rest: &mut &[u8]) -> Outcome<SkillRef, &'static str> {
        Ok(SkillRef {
            name: String::take_item(rest)?,
            version: String::take_item(rest)?,
            digest: Digest::take_item(rest)?,
        })
    }
}

impl Item for LaneHead {
    fn put_item(&self, out: &mut Vec<u8>) {
        self.lane.put_item(out);
        self.lane_seq.put_item(out);
        self.digest.put_item(out);
    }
    fn take_item(rest: &mut &[u8]) -> Outcome<LaneHead, &'static str> {
        Ok(LaneHead {
            lane: u64::take_item(rest)?,
            lane_seq: u64::take_item(rest)?,
            digest: Digest::take_item(rest)?,
        })
    }
}

macro_rules! events {
    ($($(#[$doc:meta])* $kind:ident $tag:literal { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, PartialEq, Eq, Debug)]
            pub struct $kind { $($(#[$fdoc])* pub $field: $type,)* }

            impl $kind {
                const FIELDS: &'static [Field] = &[
                    $(Field { name: stringify!($field), kind: <$type as Content>::TYPE },)*
                ];

                fn put_fields(&self, out: &mut Vec<u8>, scratch: &mut Vec<u8>) {
                    $(
                        scratch.clear();
                        Content::put(&self.$field, scratch);
                        put_prefixed(out, scratch);
                    )*
                }

                #[allow(unused_mut, unused_variables)]
                fn take_fields(mut rest: &[u8]) -> Outcome<$kind, Error> {
                    let event = $kind {
                        $($field: take_prefixed(&mut rest)
                            .and_then(<$type as Content>::take)
                            .map_err(|why| Error::BadField { field: stringify!($field), why })?,)*
                    };
                    if rest.is_empty() {
                        Ok(event)
                    } else {
                        Err(Error::BadField { field: "end", why: "bytes after the last field" })
                    }
                }
            }
        )*

        /// An event of any kind.
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[allow(missing_docs)]
        pub enum Event { $($kind($kind),)* }

        impl Event {
            /// The kind of frame it travels in.
            pub fn kind(&self) -> Kind {
                match self { $(Event::$kind(_) => Kind::$kind,)* }
            }

            fn put_fields(&self, out: &mut Vec<u8>, scratch: &mut Vec<u8>) {
                match self { $(Event::$kind(event) => event.put_fields(out, scratch),)* }
            }

            fn take_fields(kind: Kind, rest: &[u8]) -> Outcome<Event, Error> {
                match kind {
                    $(Kind::$kind => $kind::take_fields(rest).map(Event::$kind),)*
                    Kind::Commit | Kind::SegmentEnd | Kind::Seal => Err(Error::BadField { field: "tag", why: "kind without events" }),
                }
            }
        }

        /// Tag in front of the deterministic part of a kind; empty for kinds that have none.
        pub fn tag(kind: Kind) -> &'static str {
            match kind {
                $(Kind::$kind => $tag,)*
                Kind::Commit | Kind::SegmentEnd | Kind::Seal => "",
            }
        }

        /// Fields of a kind's deterministic part, in order; a slot's number is its position.
        pub fn fields(kind: Kind) -> &'static [Field] {
            match kind {
                $(Kind::$kind => $kind::FIELDS,)*
                Kind::Commit | Kind::SegmentEnd | Kind::Seal => &[],
            }
        }
    };
}

events! {
    /// The log was opened for writing.
    Open "aos.open.v1" {
        /// Epoch of this opening, from 1.
        epoch: u64,
        /// First byte that recovery cut off; 0 when nothing was.
        cut_start: u64,
        /// Bytes cut off.
        cut_len: u64,
        /// SHA-256 of the bytes cut off.
        cut_digest: Option<Digest>,
        /// Version of the writing build.
        build: String,
        /// Target it was compiled for.
        target: String,
    }
    /// A workflow document.
    Definition "aos.def.v1" {
        /// Digest of its canonical form.
        digest: Digest,
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Version.
        version: String,
        /// `yaml`, `json`, `skills`, `rust` or `import`.
        media: String,
        /// The document, verbatim.
        source: Option<ValueRef>,
    }
    /// A root seed.
    Seed "aos.seed.v1" {
        /// Commitment to the seed.
        commitment: Digest,
        /// How it came to be: `random` or `number`.
        scheme: String,
        /// The seed itself; may be cut off.
        seed: Option<ValueRef>,
    }
    /// A point a run can resume from.
    Checkpoint "aos.ckpt.v1" {
        /// Heads of all lanes.
        lanes: Vec<LaneHead>,
        /// Folded state.
        state: Option<ValueRef>,
        /// Steps so far.
        steps: u64,
    }
    /// A run starts.
    Start "aos.start.v1" {
        /// Version of the engine's semantics.
        semantics: u64,
        /// Behaviour flags.
        behaviour: Vec<String>,
        /// Namespace of the workflow.
        namespace: String,
        /// Name of the workflow.
        name: String,
        /// Version of the workflow.
        version: String,
        /// Digest of its definition.
        definition: Digest,
        /// Skills it may call.
        skills: Vec<SkillRef>,
        /// Digest of the configuration.
        config: Option<Digest>,
        /// Digest of the policies.
        policy: Option<Digest>,
        /// Input as given.
        input: Option<ValueRef>,
        /// Commitment to the run's seed.
        seed_commitment: Digest,
        /// How random streams are made.
        rng: String,
        /// Event of the parent run that started this one.
        parent: Option<Digest>,
        /// Last digest of the run this one continues.
        continued_from: Option<Digest>,
        /// Most steps the run may take.
        steps_max: u64,
        /// Longest duration in milliseconds.
        deadline_ms: Option<u64>,
    }
    /// A step ended.
    Step "aos.step.v1" {
        /// Which occurrence of which step.
        activation: String,
        /// Try, from 1.
        attempt: u64,
        /// `completed`, `skipped` or `faulted`.
        outcome: String,
        /// Input.
        input: Option<ValueRef>,
        /// Output.
        output: Option<ValueRef>,
        /// Context, where the step replaced it.
        context: Option<ValueRef>,
        /// Problem details, where it failed.
        error: Option<ValueRef>,
        /// Where control went: empty for the next step, else the directive or name.
        next: String,
        /// Random draws made.
        draws: u64,
        /// 32-bit words taken from the random stream.
        words: u64,
        /// What it read beyond its input.
        reads: Vec<String>,
    }
    /// An effect is about to happen.
    Intent "aos.intent.v1" {
        /// Which occurrence of which step.
        activation: String,
        /// Try, from 1.
        attempt: u64,
        /// Skill, or `timer`.
        effect: String,
        /// Request, without secrets.
        request: Option<ValueRef>,
        /// Idempotency key.
        idempotency: Option<Digest>,
        /// What an unknown outcome leads to: `retry` or `hold`.
        policy: String,
        /// Duration of a timer in milliseconds.
        duration_ms: Option<u64>,
        /// Digests of the decisions that allowed it.
        authorised: Vec<Digest>,
    }
    /// An effect answered.
    Result "aos.result.v1" {
        /// Which occurrence of which step.
        activation: String,
        /// Try, from 1.
        attempt: u64,
        /// `ok` or `error`.
        outcome: String,
        /// Answer, as far as the workflow sees it.
        response: Option<ValueRef>,
        /// Problem details.
        error: Option<ValueRef>,
        /// Cost in units of the policy.
        cost: Option<u64>,
    }
    /// A decision that timing or a person could change.
    Decision "aos.decision.v1" {
        /// Which occurrence of which step.
        activation: String,
        /// What is decided about.
        subject: String,
        /// Rule that decided.
        rule: String,
        /// Version of the rule.
        rule_version: u64,
        /// What the rule looked at.
        inputs: Option<ValueRef>,
        /// The decision.
        verdict: String,
        /// Its value.
        value: Option<ValueRef>,
        /// Who decided.
        actor: String,
        /// Key that vouches for the actor.
        key_id: String,
    }
    /// Something arrived from outside.
    Signal "aos.signal.v1" {
        /// Step that consumed it.
        activation: String,
        /// Source of the event.
        source: String,
        /// Its id there.
        id: String,
        /// Its type. (`type` is a keyword.)
        signal_type: String,
        /// Its data.
        data: Option<ValueRef>,
        /// Who sent it.
        actor: String,
    }
    /// Lanes open.
    Fork "aos.fork.v1" {
        /// Which occurrence of which step.
        activation: String,
        /// Lanes, in definition order.
        lanes: Vec<u64>,
    }
    /// Lanes end.
    Join "aos.join.v1" {
        /// Which occurrence of which step.
        activation: String,
        /// Digests absorbed, in definition order.
        digests: Vec<Digest>,
        /// Winner's position where lanes compete.
        winner: Option<u64>,
    }
    /// A reading of the clock.
    Time "aos.time.v1" {
        /// Which occurrence of which step.
        activation: String,
        /// What was read: `now`, `workflow.startedAt`, `task.startedAt`.
        subject: String,
        /// Nanoseconds since 1970, decimal.
        time_ns: String,
    }
    /// A run ended.
    End "aos.end.v1" {
        /// `completed`, `faulted` or `cancelled`.
        outcome: String,
        /// Output.
        output: Option<ValueRef>,
        /// Problem details.
        error: Option<ValueRef>,
        /// Steps taken.
        steps: u64,
    }
    /// An event of another engine, imported.
    Foreign "aos.foreign.v1" {
        /// Which occurrence of what: `/TYPE` or `/TYPE/SUBJECT`, counted.
        activation: String,
        /// Its type there, in one spelling.
        foreign_type: String,
        /// The attributes that count, as the DEFINITION of the run's START says.
        data: Option<ValueRef>,
    }
    /// A note that advances nothing.
    Mark "aos.mark.v1" {
        /// `resume` or `reissue`.
        what: String,
        /// Step it speaks of.
        activation: String,
    }
}

impl Event {
    /// The deterministic part, following `previous` in its lane. Its SHA-256 is the history digest.
    pub fn encode(&self, previous: &Digest) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(tag(self.kind()).as_bytes());
        out.resize(TAG_LEN, 0);
        out.extend_from_slice(&previous.0);
        self.put_fields(&mut out, &mut Vec::with_capacity(64));
        out
    }

    /// Reads a deterministic part back: the predecessor's digest and the event.
    ///
    /// # Errors
    /// [`Error::BadField`]: another tag, cut, or a field that is not what the kind's table says.
    pub fn decode(kind: Kind, det: &[u8]) -> Outcome<(Digest, Event), Error> {
        let previous = previous(kind, det)?;
        Ok((previous, Event::take_fields(kind, &det[FIELDS_AT..])?))
    }
}

/// The predecessor's digest in a deterministic part, after checking its tag.
///
/// # Errors
/// [`Error::BadField`].
pub fn previous(kind: Kind, det: &[u8]) -> Outcome<Digest, Error> {
    let name = tag(kind).as_bytes();
    let tag_holds = det.len() >= FIELDS_AT
        && !name.is_empty()
        && det[..name.len()] == *name
        && det[name.len()..TAG_LEN].iter().all(|&b| b == 0);
    if !tag_holds {
        return Err(Error::BadField {
            field: "tag",
            why: "not the tag of the frame's kind",
        });
    }
    Ok(Digest(
        det[TAG_LEN..FIELDS_AT]
            .try_into()
            .expect("thirty-two bytes"),
    ))
}

/// The raw fields of a deterministic part, in order, without judging their content.
///
/// # Errors
/// [`Error::BadField`] when a length leaves the bytes or fields are missing or left over.
pub fn raw_fields(kind: Kind, det: &[u8]) -> Outcome<Vec<&[u8]>, Error> {
    previous(kind, det)?;
    let mut rest = &det[FIELDS_AT..];
    let mut raw = Vec::with_capacity(fields(kind).len());
    for field in fields(kind) {
        raw.push(take_prefixed(&mut rest).map_err(|why| Error::BadField {
            field: field.name,
            why,
        })?);
    }
    if rest.is_empty() {
        Ok(raw)
    } else {
        Err(Error::BadField {
            field: "end",
            why: "bytes after the last field",
        })
    }
}

/// The value names in a deterministic part, by slot, ascending.
///
/// # Errors
/// [`Error::BadField`].
pub fn slots(kind: Kind, det: &[u8]) -> Outcome<Vec<(u8, ValueRef)>, Error> {
    let raw = raw_fields(kind, det)?;
    let mut slots = Vec::new();
    for (number, (bytes, field)) in raw.into_iter().zip(fields(kind)).enumerate() {
        if field.kind == FieldType::Slot {
            let value =
                <Option<ValueRef> as Content>::take(bytes).map_err(|why| Error::BadField {
                    field: field.name,
                    why,
                })?;
            slots.extend(value.map(|value| (number as u8, value)));
        }
    }
    Ok(slots)
}

/// The slot's number of a named field.
pub fn slot_of(kind: Kind, field: &str) -> Option<u8> {
    fields(kind)
        .iter()
        .position(|f| f.name == field && f.kind == FieldType::Slot)
        .map(|n| n as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn step() -> Event {
        Event::Step(Step {
            activation: "/do/1/walk/do/0/classify;1.5,1".into(),
            attempt: 1,
            outcome: "completed".into(),
            input: Some(ValueRef::of(VALUE_JSON, &[1; 16], b"1")),
            output: Some(ValueRef::of(VALUE_JSON, &[2; 16], b"2")),
            context: None,
            error: None,
            next: String::new(),
            draws: 3,
            words: 200,
            reads: vec!["a".into(), String::new()],
        })
    }

    #[test]
    fn an_event_round_trips() {
        let previous = Digest::of(b"before");
        let det = step().encode(&previous);
        assert_eq!(Event::decode(Kind::Step, &det).unwrap(), (previous, step()));
        assert_eq!(
            slots(Kind::Step, &det)
                .unwrap()
                .iter()
                .map(|s| s.0)
                .collect::<Vec<_>>(),
            [3, 4]
        );
    }

    #[test]
    fn the_deterministic_bytes_of_version_1_do_not_change() {
        let time = Event::Time(Time {
            activation: "/do/0/a".into(),
            subject: "now".into(),
            time_ns: "7".into(),
        });
        let mut expected = b"aos.time.v1\0\0\0\0\0".to_vec();
        expected.extend_from_slice(&[0; 32]);
        expected.extend_from_slice(b"\x07/do/0/a\x03now\x017");
        assert_eq!(time.encode(&Digest::ZERO), expected);
    }

    #[test]
    fn the_format_page_names_every_field_in_order() {
        let page = include_str!("../../../docs/format/log-v1.md");
        for kind in Kind::ALL.into_iter().filter(|k| !tag(*k).is_empty()) {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| {} |", tag(kind))))
                .unwrap_or_else(|| panic!("the page has no row for {}", tag(kind)));
            let last = fields(kind).len() - 1;
            assert!(
                row.contains(&format!("{last} ")),
                "{row} lacks field {last}"
            );
            assert!(
                !row.contains(&format!("· {} ", last + 1)),
                "{row} has more fields than the code"
            );
        }
    }

    #[test]
    fn every_tag_fits_and_is_unique() {
        for kind in Kind::ALL.into_iter().filter(|k| !tag(*k).is_empty()) {
            assert!(
                tag(kind).len() <= TAG_LEN && tag(kind).ends_with(".v1"),
                "{}",
                tag(kind)
            );
            assert_eq!(
                Kind::ALL.iter().filter(|k| tag(**k) == tag(kind)).count(),
                1
            );
        }
    }

    #[test]
    fn a_tag_of_another_kind_is_refused() {
        let det = step().encode(&Digest::ZERO);
        assert!(Event::decode(Kind::Time, &det).is_err());
        assert!(Event::decode(Kind::Commit, &det).is_err());
    }

    #[test]
    fn every_cut_of_a_deterministic_part_is_refused() {
        let det = step().encode(&Digest::ZERO);
        for len in 0..det.len() {
            assert!(Event::decode(Kind::Step, &det[..len]).is_err(), "{len}");
        }
        assert!(Event::decode(Kind::Step, &[det.as_slice(), &[0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn decoding_gives_back_what_encodes_to_the_same_bytes(at in any::<prop::sample::Index>(), byte: u8) {
            let mut det = step().encode(&Digest::ZERO);
            let at = at.index(det.len());
            det[at] ^= byte;
            if let Ok((previous, event)) = Event::decode(Kind::Step, &det) {
                prop_assert_eq!(event.encode(&previous), det);
            }
        }
    }
}
