//! Reading a deterministic part without keeping it: its fields are judged, its value names collected.

use aos_format::Error;
use aos_format::digest::Digest;
use aos_format::event::{self, Event, Field, FieldType, Fields, Present, ValueRef};
use aos_format::frame::Kind;
use aos_format::wire::take_varint;

/// What a deterministic part says, as far as checks need it.
pub(crate) struct Det<'a> {
    /// Digest it follows.
    pub(crate) previous: Digest,
    /// Which occurrence of which step, for kinds that name one.
    pub(crate) activation: Option<&'a str>,
}

/// Judges every field of `det` and appends the names of its values to `slots`, in ascending order of slot.
///
/// Accepts exactly what [`Event::decode`] accepts; STEPs, by far the most frequent, without an allocation.
pub(crate) fn read<'a>(
    kind: Kind,
    det: &'a [u8],
    slots: &mut Vec<(u8, ValueRef)>,
) -> Result<Det<'a>, Error> {
    let previous = event::previous(kind, det)?;
    let has_activation = event::fields(kind).first().map(|field| field.name) == Some("activation");
    let mut activation = has_activation.then_some("");
    let mut fields = Fields::new(kind, det)?;
    while let Some(Present { number, field, raw }) = fields.next_present()? {
        let bad = |why| Error::BadField {
            field: field.name,
            why,
        };
        if field.kind == FieldType::Slot {
            slots.push((number as u8, ValueRef::read(raw).map_err(bad)?));
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
    use aos_format::event::{Step, VALUE_JSON};
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
    fn a_step_is_read_with_its_activation_and_slots() {
        let det = step().encode(&Digest([7; 32]));
        let mut slots = Vec::new();
        let read = read(Kind::Step, &det, &mut slots).unwrap();
        assert_eq!(read.previous, Digest([7; 32]));
        assert_eq!(read.activation, Some("/do/1/walk/do/0/classify;1.5,1"));
        assert_eq!(slots, event::slots(Kind::Step, &det).unwrap());
    }

    proptest! {
        #[test]
        fn the_same_steps_are_accepted_as_by_the_format(
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cut in any::<Option<prop::sample::Index>>(),
        ) {
            let mut det = step().encode(&Digest::ZERO);
            for (at, byte) in flips {
                let at = at.index(det.len());
                det[at] ^= byte;
            }
            if let Some(cut) = cut {
                det.truncate(cut.index(det.len()));
            }
            prop_assert_eq!(
                read(Kind::Step, &det, &mut Vec::new()).is_ok(),
                Event::decode(Kind::Step, &det).is_ok()
            );
        }
    }
}
