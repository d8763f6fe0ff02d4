//! How fields are written and read: one encoding for each meaning.

use super::{
    FIELDS_AT, LaneHead, Outcome, SkillRef, VALUE_BYTES, VALUE_JSON, VALUE_SAME, ValueRef, fields,
    previous,
};
use crate::Error;
use crate::digest::Digest;
use crate::frame::Kind;
use crate::wire::{put_varint, take_varint};

/// Most slots that one kind has; a test holds the table to it.
pub const SLOTS_MAX: usize = 4;
/// How a field's bytes are to be read, and what a field that is left out means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldType {
    /// UTF-8 with its length in front; left out when empty.
    Text,
    /// Number of one of these words; left out for the first.
    Word(&'static [&'static str]),
    /// Unsigned LEB128.
    Int {
        /// The number that is left out; none when leaving it out means that there is no number.
        left_out: Option<u64>,
    },
    /// 32 bytes; left out only where there may be none.
    Digest,
    /// Items with their lengths, the length of all in front; left out when empty.
    List,
    /// Name of a value: varint `length << 2 | kind` and 32 bytes of digest; or varint `slot << 2 | 3`, which names the same
    /// value as that earlier slot of the record. Left out when there is none.
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

impl Field {
    /// The text of raw bytes from [`super::raw_fields`]; `None` when the field is neither text nor word, or damaged.
    pub fn text<'a>(&self, raw: &'a [u8]) -> Option<&'a str> {
        match self.kind {
            FieldType::Text => std::str::from_utf8(raw).ok(),
            FieldType::Word(words) => word(words, raw).ok(),
            _ => None,
        }
    }

    /// The number in raw bytes from [`super::raw_fields`]; `None` when there is none.
    pub fn number(&self, raw: &[u8]) -> Option<u64> {
        match self.kind {
            FieldType::Int { left_out } if raw.is_empty() => left_out,
            FieldType::Int { .. } => whole_varint(raw).ok(),
            _ => None,
        }
    }
}

/// A field that is there.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    /// Its number.
    pub number: usize,
    /// What it is.
    pub field: &'static Field,
    /// Its bytes.
    pub raw: &'a [u8],
}

/// Raw fields of a deterministic part, in order, without an allocation: each with its bytes, which are empty when it is left
/// out. A slot that repeats an earlier one is given as that one; lengths in front of texts and lists are cut off.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    table: &'static [Field],
    number: usize,
    present: u64,
    rest: &'a [u8],
    seen: [(u8, &'a [u8]); SLOTS_MAX],
    slots: usize,
}

impl<'a> Fields<'a> {
    /// The fields of a deterministic part of a kind.
    ///
    /// # Errors
    /// [`Error::BadField`]: another tag, or fields that the kind does not have.
    pub fn new(kind: Kind, det: &'a [u8]) -> Outcome<Fields<'a>, Error> {
        previous(kind, det)?;
        Fields::after(fields(kind), &det[FIELDS_AT..])
    }

    pub(super) fn after(table: &'static [Field], mut rest: &'a [u8]) -> Outcome<Fields<'a>, Error> {
        let bad = |why| Error::BadField {
            field: "present",
            why,
        };
        let present = take_varint(&mut rest).ok_or_else(|| bad("no number"))?;
        if present >> table.len() != 0 {
            return Err(bad("fields that this kind does not have"));
        }
        Ok(Fields {
            table,
            number: 0,
            present,
            rest,
            seen: [(0, &[]); SLOTS_MAX],
            slots: 0,
        })
    }

    /// The next field that is there; passes over those that are left out.
    ///
    /// # Errors
    /// [`Error::BadField`].
    pub fn next_present(&mut self) -> Outcome<Option<Present<'a>>, Error> {
        let ahead = self.present >> self.number;
        if ahead == 0 {
            self.number = self.table.len();
            return match self.next() {
                None => Ok(None),
                Some(left) => left.and(Ok(None)),
            };
        }
        self.number += ahead.trailing_zeros() as usize;
        let (number, field) = (self.number, &self.table[self.number]);
        let raw = self.take(field).map_err(|why| Error::BadField {
            field: field.name,
            why,
        })?;
        self.number += 1;
        Ok(Some(Present { number, field, raw }))
    }

    fn take(&mut self, field: &Field) -> Outcome<&'a [u8], &'static str> {
        let number = self.number as u8;
        if self.present >> self.number & 1 == 0 {
            return Ok(&[]);
        }
        let raw = match field.kind {
            FieldType::Text | FieldType::List => take_prefixed(&mut self.rest)?,
            FieldType::Int { .. } | FieldType::Word(_) => self.take_number()?,
            FieldType::Digest => self.take_bytes(32)?,
            FieldType::Slot => return self.take_slot(number),
        };
        if raw.is_empty() {
            return Err("present, but empty");
        }
        Ok(raw)
    }

    fn take_number(&mut self) -> Outcome<&'a [u8], &'static str> {
        let all = self.rest;
        take_varint(&mut self.rest).ok_or("not a number")?;
        Ok(&all[..all.len() - self.rest.len()])
    }

    fn take_bytes(&mut self, len: usize) -> Outcome<&'a [u8], &'static str> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or("cut")?;
        self.rest = rest;
        Ok(bytes)
    }

    fn take_slot(&mut self, number: u8) -> Outcome<&'a [u8], &'static str> {
        let all = self.rest;
        let head = take_varint(&mut self.rest).ok_or("not a number")?;
        if head & 3 == u64::from(VALUE_SAME) {
            let mut seen = self.seen[..self.slots].iter();
            let same = seen.find(|(slot, _)| u64::from(*slot) == head >> 2);
            return same.map(|(_, raw)| *raw).ok_or("the same as no slot");
        }
        if head & 3 == 0 {
            return Err("unknown kind of value");
        }
        self.take_bytes(32)?;
        let raw = &all[..all.len() - self.rest.len()];
        if self.seen[..self.slots]
            .iter()
            .any(|(_, earlier)| *earlier == raw)
        {
            return Err("the same as an earlier slot");
        }
        self.seen[self.slots] = (number, raw);
        self.slots += 1;
        Ok(raw)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Outcome<(&'static Field, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(field) = self.table.get(self.number) else {
            if std::mem::take(&mut self.rest).is_empty() {
                return None;
            }
            return Some(Err(Error::BadField {
                field: "end",
                why: "bytes after the last field",
            }));
        };
        let taken = self.take(field);
        self.number += 1;
        let bad = |why| Error::BadField {
            field: field.name,
            why,
        };
        Some(taken.map(|raw| (field, raw)).map_err(bad))
    }
}

/// The deterministic part under way.
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    seen: [Option<(u8, ValueRef)>; SLOTS_MAX],
    slots: usize,
}

impl Writer {
    pub(super) fn new() -> Writer {
        Writer {
            bytes: Vec::with_capacity(192),
            seen: [None; SLOTS_MAX],
            slots: 0,
        }
    }

    fn slot(&mut self, number: u8, value: &ValueRef) {
        let seen = self.seen[..self.slots].iter().flatten();
        if let Some((same, _)) = seen.clone().find(|(_, earlier)| earlier == value) {
            put_same(&mut self.bytes, (*same).into());
            return;
        }
        assert!(
            matches!(value.kind, VALUE_JSON | VALUE_BYTES) && value.len < 1 << 62,
            "a name that can be written"
        );
        put_varint(&mut self.bytes, value.len << 2 | u64::from(value.kind));
        self.bytes.extend_from_slice(&value.digest.0);
        self.seen[self.slots] = Some((number, *value));
        self.slots += 1;
    }
}

/// How a field of type `T` is written.
pub(super) trait Coding<T> {
    const TYPE: FieldType;
    /// What the field means when it is left out; none when it never is.
    fn left_out() -> Option<T>;
    fn is_left_out(value: &T) -> bool;
    fn put(value: &T, number: u8, out: &mut Writer);
    /// Reads what is there; what could have been left out is refused.
    fn take(raw: &[u8]) -> Outcome<T, &'static str>;
}

pub(super) fn read<T, C: Coding<T>>(raw: &[u8]) -> Outcome<T, &'static str> {
    if raw.is_empty() {
        return C::left_out().ok_or("missing");
    }
    let value = C::take(raw)?;
    if C::is_left_out(&value) {
        return Err("present, but means the same as left out");
    }
    Ok(value)
}

/// The usual way.
pub(super) struct Plain;

impl Coding<String> for Plain {
    const TYPE: FieldType = FieldType::Text;
    fn left_out() -> Option<String> {
        Some(String::new())
    }
    fn is_left_out(value: &String) -> bool {
        value.is_empty()
    }
    fn put(value: &String, _: u8, out: &mut Writer) {
        put_prefixed(&mut out.bytes, value.as_bytes());
    }
    fn take(raw: &[u8]) -> Outcome<String, &'static str> {
        text(raw).map(str::to_owned)
    }
}

impl Coding<u64> for Plain {
    const TYPE: FieldType = FieldType::Int { left_out: Some(0) };
    fn left_out() -> Option<u64> {
        Some(0)
    }
    fn is_left_out(value: &u64) -> bool {
        *value == 0
    }
    fn put(value: &u64, _: u8, out: &mut Writer) {
        put_varint(&mut out.bytes, *value);
    }
    fn take(raw: &[u8]) -> Outcome<u64, &'static str> {
        whole_varint(raw)
    }
}

/// A number that is usually 1.
pub(super) struct UsuallyOne;

impl Coding<u64> for UsuallyOne {
    const TYPE: FieldType = FieldType::Int { left_out: Some(1) };
    fn left_out() -> Option<u64> {
        Some(1)
    }
    fn is_left_out(value: &u64) -> bool {
        *value == 1
    }
    fn put(value: &u64, _: u8, out: &mut Writer) {
        put_varint(&mut out.bytes, *value);
    }
    fn take(raw: &[u8]) -> Outcome<u64, &'static str> {
        whole_varint(raw)
    }
}

impl Coding<Option<u64>> for Plain {
    const TYPE: FieldType = FieldType::Int { left_out: None };
    fn left_out() -> Option<Option<u64>> {
        Some(None)
    }
    fn is_left_out(value: &Option<u64>) -> bool {
        value.is_none()
    }
    fn put(value: &Option<u64>, _: u8, out: &mut Writer) {
        if let Some(value) = value {
            put_varint(&mut out.bytes, *value);
        }
    }
    fn take(raw: &[u8]) -> Outcome<Option<u64>, &'static str> {
        whole_varint(raw).map(Some)
    }
}

impl Coding<Digest> for Plain {
    const TYPE: FieldType = FieldType::Digest;
    fn left_out() -> Option<Digest> {
        None
    }
    fn is_left_out(_: &Digest) -> bool {
        false
    }
    fn put(value: &Digest, _: u8, out: &mut Writer) {
        out.bytes.extend_from_slice(&value.0);
    }
    fn take(raw: &[u8]) -> Outcome<Digest, &'static str> {
        raw.try_into().map(Digest).map_err(|_| "not 32 bytes")
    }
}

impl Coding<Option<Digest>> for Plain {
    const TYPE: FieldType = FieldType::Digest;
    fn left_out() -> Option<Option<Digest>> {
        Some(None)
    }
    fn is_left_out(value: &Option<Digest>) -> bool {
        value.is_none()
    }
    fn put(value: &Option<Digest>, _: u8, out: &mut Writer) {
        if let Some(value) = value {
            out.bytes.extend_from_slice(&value.0);
        }
    }
    fn take(raw: &[u8]) -> Outcome<Option<Digest>, &'static str> {
        <Plain as Coding<Digest>>::take(raw).map(Some)
    }
}

impl Coding<Option<ValueRef>> for Plain {
    const TYPE: FieldType = FieldType::Slot;
    fn left_out() -> Option<Option<ValueRef>> {
        Some(None)
    }
    fn is_left_out(value: &Option<ValueRef>) -> bool {
        value.is_none()
    }
    fn put(value: &Option<ValueRef>, number: u8, out: &mut Writer) {
        if let Some(value) = value {
            out.slot(number, value);
        }
    }
    fn take(raw: &[u8]) -> Outcome<Option<ValueRef>, &'static str> {
        ValueRef::read(raw).map(Some)
    }
}

impl<T: Item> Coding<Vec<T>> for Plain {
    const TYPE: FieldType = FieldType::List;
    fn left_out() -> Option<Vec<T>> {
        Some(Vec::new())
    }
    fn is_left_out(value: &Vec<T>) -> bool {
        value.is_empty()
    }
    fn put(value: &Vec<T>, _: u8, out: &mut Writer) {
        let mut items = Vec::new();
        for item in value {
            item.put_item(&mut items);
        }
        put_prefixed(&mut out.bytes, &items);
    }
    fn take(mut raw: &[u8]) -> Outcome<Vec<T>, &'static str> {
        let mut items = Vec::new();
        while !raw.is_empty() {
            items.push(T::take_item(&mut raw)?);
        }
        Ok(items)
    }
}

/// A closed set of words, each written as its number.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $words:expr;)*) => {
        $(
            $(#[$doc])*
            pub(super) struct $name;

            impl $name {
                const WORDS: &'static [&'static str] = &$words;
            }

            impl Coding<String> for $name {
                const TYPE: FieldType = FieldType::Word($name::WORDS);
                fn left_out() -> Option<String> {
                    Some($name::WORDS[0].to_owned())
                }
                fn is_left_out(value: &String) -> bool {
                    value == $name::WORDS[0]
                }
                fn put(value: &String, _: u8, out: &mut Writer) {
                    let number = $name::WORDS.iter().position(|word| word == value);
                    put_varint(&mut out.bytes, number.expect("one of the words of the field") as u64);
                }
                fn take(raw: &[u8]) -> Outcome<String, &'static str> {
                    word($name::WORDS, raw).map(str::to_owned)
                }
            }
        )*
    };
}

words! {
    /// How a step ended.
    StepEnded = ["completed", "skipped", "faulted"];
    /// How an effect answered.
    Answered = ["ok", "error"];
    /// How a run ended.
    RunEnded = ["completed", "faulted", "cancelled"];
    /// What an unknown outcome leads to.
    IfUnknown = ["retry", "hold"];
}

fn word(words: &[&'static str], raw: &[u8]) -> Outcome<&'static str, &'static str> {
    if raw.is_empty() {
        return words.first().copied().ok_or("no words");
    }
    let number = usize::try_from(whole_varint(raw)?).map_err(|_| "unknown word")?;
    words.get(number).copied().ok_or("unknown word")
}

fn whole_varint(mut raw: &[u8]) -> Outcome<u64, &'static str> {
    let value = take_varint(&mut raw).ok_or("not a number")?;
    if raw.is_empty() {
        Ok(value)
    } else {
        Err("bytes after a number")
    }
}

fn text(raw: &[u8]) -> Outcome<&str, &'static str> {
    std::str::from_utf8(raw).map_err(|_| "not UTF-8")
}

/// An item of a list field.
pub(super) trait Item: Sized {
    fn put_item(&self, out: &mut Vec<u8>);
    fn take_item(rest: &mut &[u8]) -> Outcome<Self, &'static str>;
}

/// Writes that a slot has the same value as `slot`.
pub(super) fn put_same(out: &mut Vec<u8>, slot: u64) {
    put_varint(out, slot << 2 | u64::from(VALUE_SAME));
}

pub(super) fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
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
        text(take_prefixed(rest)?).map(str::to_owned)
    }
}

impl Item for Digest {
    fn put_item(&self, out: &mut Vec<u8>) {
        put_prefixed(out, &self.0);
    }
    fn take_item(rest: &mut &[u8]) -> Outcome<Digest, &'static str> {
        <Plain as Coding<Digest>>::take(take_prefixed(rest)?)
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
