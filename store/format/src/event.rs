//! Events: the meaning of a record, and its deterministic bytes.
//!
//! ```text
//! det = tag 5 | previous digest 32 | fields present, varint | field | field | …
//! tag = "aos1" | kind u8
//! ```
//!
//! Bit n of `fields present` says whether field n follows; one that does not has the meaning of "left out" of its type. Each
//! meaning has one encoding: whatever could be left out and is not, is refused, and so are numbers in a longer form. The
//! fields of each kind stand in one table below, which writes, reads and names them. No float, map order, `usize` or volatile
//! content enters.

use crate::Error;
use crate::digest::Digest;
use crate::frame::Kind;
use crate::wire::{put_varint, take_varint};
use coding::{
    Answered, Coding, IfUnknown, Plain, RunEnded, StepEnded, UsuallyOne, Writer, put_prefixed,
    put_same, read,
};

mod coding;

pub use coding::{Field, FieldType, Fields, Present, SLOTS_MAX};

/// The standard `Result`; here `Result` is the event.
type Outcome<T, E> = std::result::Result<T, E>;

/// What every deterministic part of format version 1 begins with; the kind's number follows. Labels of other digests go on
/// with a dot, so that no two hashed messages of different meaning are the same.
const MAGIC: &[u8; 4] = b"aos1";
/// Length of the tag in front of a deterministic part.
pub const TAG_LEN: usize = 5;
/// Where the fields begin: after tag and predecessor.
pub const FIELDS_AT: usize = 37;
/// Value kind: canonical JSON.
pub const VALUE_JSON: u8 = 1;
/// Value kind: bytes.
pub const VALUE_BYTES: u8 = 2;
/// In place of a value kind: the same value as in an earlier slot of this record, whose number stands for the length.
pub const VALUE_SAME: u8 = 3;

/// What the digest of a value begins with; its salt and its bytes follow.
pub const VALUE_LABEL: &[u8; 16] = b"aos.value.v1\0\0\0\0";

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
            digest: Digest::of_parts([VALUE_LABEL.as_slice(), salt, bytes]),
        }
    }

    /// Reads the raw bytes of a slot from [`Fields`] or [`raw_fields`].
    ///
    /// # Errors
    /// In words, when it is no name of a value.
    pub fn read(mut raw: &[u8]) -> Outcome<ValueRef, &'static str> {
        let head = take_varint(&mut raw).ok_or("not a number")?;
        let kind = (head & 3) as u8;
        if !matches!(kind, VALUE_JSON | VALUE_BYTES) {
            return Err("unknown kind of value");
        }
        let digest = raw
            .try_into()
            .map(Digest)
            .map_err(|_| "not a name of a value")?;
        Ok(ValueRef {
            kind,
            len: head >> 2,
            digest,
        })
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

macro_rules! coding {
    ($type:ty) => {
        Plain
    };
    ($type:ty, $coding:ty) => {
        $coding
    };
}

macro_rules! events {
    ($($(#[$doc:meta])* $kind:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty $(as $coding:ty)?,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, PartialEq, Eq, Debug)]
            pub struct $kind { $($(#[$fdoc])* pub $field: $type,)* }

            impl $kind {
                const FIELDS: &'static [Field] = &[
                    $(Field {
                        name: stringify!($field),
                        kind: <coding!($type $(, $coding)?) as Coding<$type>>::TYPE,
                    },)*
                ];

                #[allow(unused_assignments)]
                fn put_fields(&self, out: &mut Writer) {
                    let (mut present, mut number) = (0u64, 0u8);
                    $(
                        let is_left_out = <coding!($type $(, $coding)?) as Coding<$type>>::is_left_out(&self.$field);
                        present |= u64::from(!is_left_out) << number;
                        number += 1;
                    )*
                    put_varint(&mut out.bytes, present);
                    number = 0;
                    $(
                        if present >> number & 1 == 1 {
                            <coding!($type $(, $coding)?) as Coding<$type>>::put(&self.$field, number, out);
                        }
                        number += 1;
                    )*
                }

                fn take_fields(rest: &[u8]) -> Outcome<$kind, Error> {
                    let mut fields = Fields::after($kind::FIELDS, rest)?;
                    let event = $kind {
                        $($field: {
                            let raw = fields.next().map_or(Ok(&[][..]), |taken| taken.map(|(_, raw)| raw))?;
                            read::<$type, coding!($type $(, $coding)?)>(raw)
                                .map_err(|why| Error::BadField { field: stringify!($field), why })?
                        },)*
                    };
                    match fields.next() {
                        None => Ok(event),
                        Some(left) => left.and(Ok(event)),
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

            fn put_fields(&self, out: &mut Writer) {
                match self { $(Event::$kind(event) => event.put_fields(out),)* }
            }

            fn take_fields(kind: Kind, rest: &[u8]) -> Outcome<Event, Error> {
                match kind {
                    $(Kind::$kind => $kind::take_fields(rest).map(Event::$kind),)*
                    Kind::Commit | Kind::SegmentEnd => Err(Error::BadField { field: "tag", why: "kind without events" }),
                }
            }
        }

        /// Fields of a kind's deterministic part, in order; a slot's number is its position. Empty for kinds without events.
        pub fn fields(kind: Kind) -> &'static [Field] {
            match kind {
                $(Kind::$kind => $kind::FIELDS,)*
                Kind::Commit | Kind::SegmentEnd => &[],
            }
        }
    };
}

events! {
    /// The log was opened for writing.
    Open {
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
    Definition {
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
    Seed {
        /// Commitment to the seed.
        commitment: Digest,
        /// How it came to be: `random` or `number`.
        scheme: String,
        /// The seed itself; may be cut off.
        seed: Option<ValueRef>,
    }
    /// A point a run can resume from.
    Checkpoint {
        /// Heads of all lanes.
        lanes: Vec<LaneHead>,
        /// Folded state.
        state: Option<ValueRef>,
        /// Steps so far.
        steps: u64,
    }
    /// A run starts.
    Start {
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
    Step {
        /// Which occurrence of which step.
        activation: String,
        /// Try, from 1.
        attempt: u64 as UsuallyOne,
        /// `completed`, `skipped` or `faulted`.
        outcome: String as StepEnded,
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
    Intent {
        /// Which occurrence of which step.
        activation: String,
        /// Try, from 1.
        attempt: u64 as UsuallyOne,
        /// Skill, or `timer`.
        effect: String,
        /// Request, without secrets.
        request: Option<ValueRef>,
        /// Idempotency key.
        idempotency: Option<Digest>,
        /// What an unknown outcome leads to: `retry` or `hold`.
        policy: String as IfUnknown,
        /// Duration of a timer in milliseconds.
        duration_ms: Option<u64>,
        /// Digests of the decisions that allowed it.
        authorised: Vec<Digest>,
    }
    /// An effect answered.
    Result {
        /// Which occurrence of which step.
        activation: String,
        /// Try, from 1.
        attempt: u64 as UsuallyOne,
        /// `ok` or `error`.
        outcome: String as Answered,
        /// Answer, as far as the workflow sees it.
        response: Option<ValueRef>,
        /// Problem details.
        error: Option<ValueRef>,
        /// Cost in units of the policy.
        cost: Option<u64>,
    }
    /// A decision that timing or a person could change.
    Decision {
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
    Signal {
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
    Fork {
        /// Which occurrence of which step.
        activation: String,
        /// Lanes, in definition order.
        lanes: Vec<u64>,
    }
    /// Lanes end.
    Join {
        /// Which occurrence of which step.
        activation: String,
        /// Digests absorbed, in definition order.
        digests: Vec<Digest>,
        /// Winner's position where lanes compete.
        winner: Option<u64>,
    }
    /// A reading of the clock.
    Time {
        /// Which occurrence of which step.
        activation: String,
        /// What was read: `now`, `workflow.startedAt`, `task.startedAt`.
        subject: String,
        /// Nanoseconds since 1970, decimal.
        time_ns: String,
    }
    /// A run ended.
    End {
        /// `completed`, `faulted` or `cancelled`.
        outcome: String as RunEnded,
        /// Output.
        output: Option<ValueRef>,
        /// Problem details.
        error: Option<ValueRef>,
        /// Steps taken.
        steps: u64,
    }
    /// An event of another engine, imported.
    Foreign {
        /// Which occurrence of what: `/TYPE` or `/TYPE/SUBJECT`, counted.
        activation: String,
        /// Its type there, in one spelling.
        foreign_type: String,
        /// The attributes that count, as the DEFINITION of the run's START says.
        data: Option<ValueRef>,
    }
    /// What the log was up to a point.
    Seal {
        /// First offset of the range.
        start: u64,
        /// First offset after it.
        end: u64,
        /// Records in it.
        count: u64,
        /// Root over their leaves.
        root: Digest,
        /// Digest of the SEAL before it.
        before: Option<Digest>,
        /// Records of the log below `end`.
        total: u64,
        /// Roots of the perfect subtrees over their leaves, largest first.
        peaks: Vec<Digest>,
    }
    /// A note that advances nothing.
    Mark {
        /// `resume` or `reissue`.
        what: String,
        /// Step it speaks of.
        activation: String,
    }
}

impl Event {
    /// The deterministic part, following `previous` in its lane. Its SHA-256 is the history digest.
    ///
    /// # Panics
    /// When a field holds a word that its kind's table does not have, or the name of a value of an unknown kind.
    pub fn encode(&self, previous: &Digest) -> Vec<u8> {
        let mut out = Writer::new();
        out.bytes.extend_from_slice(&tag(self.kind()));
        out.bytes.extend_from_slice(&previous.0);
        self.put_fields(&mut out);
        out.bytes
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

/// Tag in front of the deterministic part of a kind.
pub fn tag(kind: Kind) -> [u8; TAG_LEN] {
    let mut tag = [kind as u8; TAG_LEN];
    tag[..MAGIC.len()].copy_from_slice(MAGIC);
    tag
}

/// The predecessor's digest in a deterministic part, after checking its tag.
///
/// # Errors
/// [`Error::BadField`].
pub fn previous(kind: Kind, det: &[u8]) -> Outcome<Digest, Error> {
    previous_bytes(kind, det).map(|bytes| Digest(*bytes))
}

/// As [`previous`], where it stands.
///
/// # Errors
/// As [`previous`].
#[inline]
pub fn previous_bytes(kind: Kind, det: &[u8]) -> Outcome<&[u8; 32], Error> {
    match det.split_first_chunk() {
        Some((found, rest)) if *found == tag(kind) && !fields(kind).is_empty() => {
            rest.first_chunk().ok_or(OTHER_TAG)
        }
        _ => Err(OTHER_TAG),
    }
}

const OTHER_TAG: Error = Error::BadField {
    field: "tag",
    why: "not the tag of the frame's kind",
};

/// The raw fields of a deterministic part, in order, without judging their content: as [`Fields`] gives them.
///
/// # Errors
/// [`Error::BadField`] when a length leaves the bytes, or bytes are left over.
pub fn raw_fields(kind: Kind, det: &[u8]) -> Outcome<Vec<&[u8]>, Error> {
    Fields::new(kind, det)?
        .map(|field| field.map(|(_, raw)| raw))
        .collect()
}

/// The deterministic part of a kind from raw fields as [`raw_fields`] gives them, whatever they hold. Fields that are missing
/// are left out.
pub fn assemble(kind: Kind, previous: &Digest, raw: &[&[u8]]) -> Vec<u8> {
    let mut out = [&tag(kind)[..], &previous.0].concat();
    let present = raw
        .iter()
        .rev()
        .fold(0, |bits, raw| bits << 1 | u64::from(!raw.is_empty()));
    put_varint(&mut out, present);
    let table = fields(kind).iter().zip(raw).enumerate();
    for (number, (field, bytes)) in table.filter(|(_, (_, bytes))| !bytes.is_empty()) {
        let same = fields(kind)[..number]
            .iter()
            .zip(raw)
            .position(|(earlier, raw)| earlier.kind == FieldType::Slot && raw == bytes);
        match (field.kind, same) {
            (FieldType::Text | FieldType::List, _) => put_prefixed(&mut out, bytes),
            (FieldType::Slot, Some(slot)) => put_same(&mut out, slot as u64),
            _ => out.extend_from_slice(bytes),
        }
    }
    out
}

/// The value names in a deterministic part, by slot, ascending.
///
/// # Errors
/// [`Error::BadField`].
pub fn slots(kind: Kind, det: &[u8]) -> Outcome<Vec<(u8, ValueRef)>, Error> {
    let mut slots = Vec::new();
    each_slot(kind, det, |slot, value| {
        slots.push((slot, value));
        Ok(())
    })?;
    Ok(slots)
}

/// Gives `each` the value names in a deterministic part, by slot, ascending.
///
/// # Errors
/// [`Error::BadField`]; what `each` says.
pub fn each_slot(
    kind: Kind,
    det: &[u8],
    mut each: impl FnMut(u8, ValueRef) -> Outcome<(), Error>,
) -> Outcome<(), Error> {
    let mut fields = Fields::new(kind, det)?;
    while let Some(present) = fields.next_present()? {
        if present.field.kind == FieldType::Slot {
            let value = ValueRef::read(present.raw).map_err(|why| Error::BadField {
                field: present.field.name,
                why,
            })?;
            each(present.number as u8, value)?;
        }
    }
    Ok(())
}

/// The slot's number of a named field.
pub fn slot_of(kind: Kind, field: &str) -> Option<u8> {
    fields(kind)
        .iter()
        .position(|f| f.name == field && f.kind == FieldType::Slot)
        .map(|n| n as u8)
}

#[cfg(test)]
mod tests;
