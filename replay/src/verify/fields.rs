//! Reading a deterministic part without keeping it: its fields are judged, its value names collected.

use aos_format::Error;
use aos_format::digest::Digest;
use aos_format::event::{
    self, Event, Field, FieldType, Fields, Present, SLOTS_MAX, VALUE_BYTES, VALUE_JSON, VALUE_SAME,
    ValueRef,
};
use aos_format::frame::Kind;
use aos_format::wire::take_varint;

/// What a deterministic part says, as far as checks need it.
pub(crate) struct Det<'a> {
    /// Digest it follows.
    pub(crate) previous: &'a [u8; 32],
    /// Which occurrence of which step, for kinds that name one.
    pub(crate) activation: Option<&'a str>,
}

/// The name of a value, where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'a> {
    pub(crate) slot: u8,
    kind: u8,
    pub(crate) len: u64,
    pub(crate) digest: &'a [u8; 32],
}

impl Name<'_> {
    const NONE: Name<'static> = Name {
        slot: 0,
        kind: 0,
        len: 0,
        digest: &[0; 32],
    };

    pub(crate) fn value(&self) -> ValueRef {
        ValueRef {
            kind: self.kind,
            len: self.len,
            digest: Digest(*self.digest),
        }
    }

    /// Whether both name the same value, in whatever slots.
    fn same(&self, other: &Name<'_>) -> bool {
        (self.kind, self.len, self.digest) == (other.kind, other.len, other.digest)
    }
}

/// The names of a record's values, in ascending order of slot.
pub(crate) struct Names<'a> {
    list: [Name<'a>; SLOTS_MAX],
    count: usize,
}

impl<'a> Names<'a> {
    pub(crate) fn new() -> Names<'a> {
        Names {
            list: [Name::NONE; SLOTS_MAX],
            count: 0,
        }
    }

    pub(crate) fn all(&self) -> &[Name<'a>] {
        &self.list[..self.count]
    }

    fn push(&mut self, name: Name<'a>) {
        self.list[self.count] = name;
        self.count += 1;
    }
}

/// Judges every field of `det` and gives the names of its values to `names`.
///
/// Accepts exactly what [`Event::decode`] accepts; STEPs, by far the most frequent, without an allocation.
pub(crate) fn read<'a>(kind: Kind, det: &'a [u8], names: &mut Names<'a>) -> Result<Det<'a>, Error> {
    names.count = 0;
    if kind == Kind::Step {
        if let Some(read) = step(det, names) {
            return Ok(read);
        }
        names.count = 0;
    }
    by_table(kind, det, names)
}

/// Number of each field of a STEP; a test holds them to the table.
mod number {
    pub(super) const ACTIVATION: u32 = 0;
    pub(super) const ATTEMPT: u32 = 1;
    pub(super) const OUTCOME: u32 = 2;
    pub(super) const INPUT: u32 = 3;
    pub(super) const ERROR: u32 = 6;
    pub(super) const NEXT: u32 = 7;
    pub(super) const DRAWS: u32 = 8;
    pub(super) const WORDS: u32 = 9;
    pub(super) const READS: u32 = 10;
}

/// Ways in which a STEP ends.
const OUTCOMES: u64 = 3;

/// A sound STEP, read without looking into the table at each field. `None` says nothing: the table finds out what is wrong.
fn step<'a>(det: &'a [u8], names: &mut Names<'a>) -> Option<Det<'a>> {
    let previous = event::previous_bytes(Kind::Step, det).ok()?;
    let mut rest = &det[event::FIELDS_AT..];
    let mut present = take_varint(&mut rest)?;
    if present >> (number::READS + 1) != 0 {
        return None;
    }
    let mut activation = "";
    while present != 0 {
        let field = present.trailing_zeros();
        present &= present - 1;
        match field {
            number::ACTIVATION => activation = prefixed_text(&mut rest)?,
            number::ATTEMPT => _ = take_varint(&mut rest).filter(|attempt| *attempt != 1)?,
            number::OUTCOME => {
                take_varint(&mut rest).filter(|word| (1..OUTCOMES).contains(word))?;
            }
            number::INPUT..=number::ERROR => {
                let head = take_varint(&mut rest)?;
                let kind = (head & 3) as u8;
                let slot = field as u8;
                if kind == VALUE_SAME {
                    let name = same(names.all(), head >> 2)?;
                    names.push(Name { slot, ..name });
                    continue;
                }
                if kind != VALUE_JSON && kind != VALUE_BYTES {
                    return None;
                }
                let (digest, after) = rest.split_first_chunk::<32>()?;
                rest = after;
                let name = Name {
                    slot,
                    kind,
                    len: head >> 2,
                    digest,
                };
                if names.all().iter().any(|earlier| earlier.same(&name)) {
                    return None;
                }
                names.push(name);
            }
            number::NEXT => _ = prefixed_text(&mut rest)?,
            number::DRAWS | number::WORDS => {
                take_varint(&mut rest).filter(|count| *count != 0)?;
            }
            // What it read beyond its input is rare.
            _ => return None,
        }
    }
    rest.is_empty().then_some(Det {
        previous,
        activation: Some(activation),
    })
}

/// The value that slot `number` names, where it is the first to name it: there is one way to say so.
fn same<'a>(names: &[Name<'a>], number: u64) -> Option<Name<'a>> {
    let at = names
        .iter()
        .position(|name| u64::from(name.slot) == number)?;
    let first = !names[..at].iter().any(|earlier| earlier.same(&names[at]));
    first.then_some(names[at])
}

/// A text that is there, so not an empty one.
fn prefixed_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = usize::try_from(take_varint(rest)?)
        .ok()
        .filter(|len| *len > 0)?;
    let (text, after) = rest.split_at_checked(len)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

/// As [`read`], for any kind.
fn by_table<'a>(kind: Kind, det: &'a [u8], names: &mut Names<'a>) -> Result<Det<'a>, Error> {
    let previous = event::previous_bytes(kind, det)?;
    let has_activation = event::fields(kind).first().map(|field| field.name) == Some("activation");
    let mut activation = has_activation.then_some("");
    let mut fields = Fields::new(kind, det)?;
    while let Some(Present { number, field, raw }) = fields.next_present()? {
        let bad = |why| Error::BadField {
            field: field.name,
            why,
        };
        if field.kind == FieldType::Slot {
            let ValueRef { kind, len, .. } = ValueRef::read(raw).map_err(bad)?;
            names.push(Name {
                slot: number as u8,
                kind,
                len,
                digest: raw.last_chunk().ok_or_else(|| bad("cut"))?,
            });
        } else if number == 0 && has_activation {
            activation = Some(std::str::from_utf8(raw).map_err(|_| bad("not UTF-8"))?);
        } else if kind == Kind::Step {
            whole(field, raw).map_err(bad)?;
        }
    }
    if kind != Kind::Step {
        // What may be left out, and what lists hold, is for the event's own table.
        Event::decode(kind, det)?;
    }
    Ok(Det {
        previous,
        activation,
    })
}

/// Judges a field of a STEP that is there.
fn whole(field: &Field, raw: &[u8]) -> Result<(), &'static str> {
    let same = "present, but means the same as left out";
    match field.kind {
        FieldType::Text => field.text(raw).map(drop).ok_or("not UTF-8"),
        FieldType::Word(words) => match field.text(raw) {
            None => Err("unknown word"),
            Some(word) if words.first() == Some(&word) => Err(same),
            Some(_) => Ok(()),
        },
        FieldType::Int { left_out } => match field.number(raw) {
            None => Err("not a number"),
            number if number == left_out => Err(same),
            Some(_) => Ok(()),
        },
        FieldType::List => texts(raw),
        FieldType::Digest | FieldType::Slot => Ok(()),
    }
}

fn texts(mut bytes: &[u8]) -> Result<(), &'static str> {
    while !bytes.is_empty() {
        let len = take_varint(&mut bytes).and_then(|len| usize::try_from(len).ok());
        let (item, rest) = len
            .and_then(|len| bytes.split_at_checked(len))
            .ok_or("cut")?;
        std::str::from_utf8(item).map_err(|_| "not UTF-8")?;
        bytes = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aos_format::event::Step;
    use proptest::prelude::*;

    fn step_event() -> Event {
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

    fn values(names: &Names<'_>) -> Vec<(u8, ValueRef)> {
        let names = names.all().iter();
        names.map(|name| (name.slot, name.value())).collect()
    }

    #[test]
    fn a_step_is_read_with_its_activation_and_slots() {
        let det = step_event().encode(&Digest([7; 32]));
        let mut names = Names::new();
        let read = read(Kind::Step, &det, &mut names).unwrap();
        assert_eq!(*read.previous, [7; 32]);
        assert_eq!(read.activation, Some("/do/1/walk/do/0/classify;1.5,1"));
        assert_eq!(values(&names), event::slots(Kind::Step, &det).unwrap());
    }

    #[test]
    fn usual_steps_are_read_without_the_table() {
        let table = event::fields(Kind::Step);
        let at = |name| table.iter().position(|field| field.name == name).unwrap() as u32;
        assert_eq!(
            [
                "activation",
                "attempt",
                "outcome",
                "input",
                "error",
                "next",
                "draws",
                "words",
                "reads"
            ]
            .map(at),
            [
                number::ACTIVATION,
                number::ATTEMPT,
                number::OUTCOME,
                number::INPUT,
                number::ERROR,
                number::NEXT,
                number::DRAWS,
                number::WORDS,
                number::READS
            ]
        );
        assert_eq!(table.len() as u32, number::READS + 1);
        let outcome = table[number::OUTCOME as usize].kind;
        assert!(matches!(outcome, FieldType::Word(words) if words.len() as u64 == OUTCOMES));
        let Event::Step(mut usual) = step_event() else {
            unreachable!("it is one")
        };
        usual.reads.clear();
        for same in [false, true] {
            if same {
                usual.output = usual.input;
            }
            for outcome in ["completed", "skipped", "faulted"] {
                usual.outcome = outcome.into();
                let det = Event::Step(usual.clone()).encode(&Digest([7; 32]));
                let (mut own, mut others) = (Names::new(), Names::new());
                let fast = step(&det, &mut own).unwrap();
                let slow = by_table(Kind::Step, &det, &mut others).unwrap();
                assert_eq!(
                    (fast.previous, fast.activation),
                    (slow.previous, slow.activation)
                );
                assert_eq!((own.count, values(&own)), (2, values(&others)));
            }
        }
    }

    #[test]
    fn a_step_with_any_byte_changed_is_accepted_as_by_the_format() {
        let Event::Step(mut full) = step_event() else {
            unreachable!("it is one")
        };
        (full.attempt, full.outcome, full.next) = (2, "skipped".into(), "x".into());
        let with_reads = full.clone();
        full.reads.clear();
        let mut alike = full.clone();
        (alike.output, alike.context) = (alike.input, alike.input);
        for step in [full, with_reads, alike] {
            let sound = Event::Step(step).encode(&Digest::ZERO);
            for at in 0..sound.len() {
                for byte in 0..=255 {
                    let mut det = sound.clone();
                    det[at] = byte;
                    assert_eq!(
                        read(Kind::Step, &det, &mut Names::new()).is_ok(),
                        Event::decode(Kind::Step, &det).is_ok(),
                        "byte {at} is {byte}"
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_same_steps_are_accepted_as_by_the_format(
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cut in any::<Option<prop::sample::Index>>(),
        ) {
            let mut det = step_event().encode(&Digest::ZERO);
            for (at, byte) in flips {
                let at = at.index(det.len());
                det[at] ^= byte;
            }
            if let Some(cut) = cut {
                det.truncate(cut.index(det.len()));
            }
            prop_assert_eq!(
                read(Kind::Step, &det, &mut Names::new()).is_ok(),
                Event::decode(Kind::Step, &det).is_ok()
            );
            let (mut own, mut others) = (Names::new(), Names::new());
            if let Some(fast) = step(&det, &mut own) {
                let slow = by_table(Kind::Step, &det, &mut others).unwrap();
                prop_assert_eq!((fast.previous, fast.activation), (slow.previous, slow.activation));
                prop_assert_eq!(values(&own), values(&others));
            }
        }
    }
}
