//! Naming the place where a recorded history and the one made again part.

use crate::finding::{Finding, FindingKind, code};
use crate::reexecute::{RunValues, kind_name};
use crate::verify::activation;
use aos_engine::chain::Emission;
use aos_engine::history::{Divergence, Values};
use aos_format::digest::hex;
use aos_format::event::{self, Field, FieldType, ValueRef};
use aos_format::frame::Kind;
use aos_format::record::Stored;
use aos_store::StoredRecord;

/// Longest text of a value in a finding, in characters.
const SHOWN_MAX: usize = 200;

/// The finding for a divergence among `records`: expected is what is recorded, found is what was made again.
pub(crate) fn finding(
    divergence: &Divergence,
    records: &[StoredRecord],
    values: &RunValues<'_>,
) -> Finding {
    let Some(record) = records.get(divergence.at) else {
        let offset = records.last().map_or(0, |last| last.offset().0);
        return Finding::at(code::ORDER, offset, "no further record", &divergence.why)
            .kind(FindingKind::Mismatch);
    };
    let recorded = Recorded::of(record);
    let made = divergence.made.as_ref();
    let named = recorded
        .activation
        .clone()
        .or_else(|| made.and_then(|made| activation(made.kind, &made.draft.det)));
    let finding = match made {
        Some(made) if record.kind() == Some(made.kind) => field(record, made, values),
        Some(made) => {
            let found = describe(
                made.kind.name(),
                activation(made.kind, &made.draft.det).as_deref(),
            );
            Finding::at(code::ORDER, record.offset().0, recorded.describe(), found).field("kind")
        }
        None if record.kind() == Some(Kind::Checkpoint) => {
            let expected = values
                .bytes(record, 1)
                .ok()
                .flatten()
                .map_or_else(|| "the state".into(), |bytes| shown(&bytes));
            Finding::at(code::STATE, record.offset().0, expected, &divergence.why).field("state")
        }
        None => Finding::at(
            code::ORDER,
            record.offset().0,
            recorded.describe(),
            &divergence.why,
        )
        .field("kind"),
    };
    finding
        .kind(FindingKind::Mismatch)
        .activation(named.as_deref())
}

struct Recorded {
    kind: &'static str,
    activation: Option<String>,
}

impl Recorded {
    fn of(record: &StoredRecord) -> Recorded {
        let named = match (record.kind(), record.view()) {
            (Some(kind), Ok(view)) => activation(kind, view.det()),
            _ => None,
        };
        Recorded {
            kind: kind_name(record),
            activation: named,
        }
    }

    fn describe(&self) -> String {
        describe(self.kind, self.activation.as_deref())
    }
}

fn describe(kind: &str, activation: Option<&str>) -> String {
    match activation {
        Some(activation) => format!("{kind} of {activation}"),
        None => kind.into(),
    }
}

/// The first field in which two events of a kind differ.
fn field(record: &StoredRecord, made: &Emission, values: &RunValues<'_>) -> Finding {
    let at = record.offset().0;
    let kind = made.kind;
    let before = |det: &[u8]| {
        det.get(event::TAG_LEN..event::FIELDS_AT)
            .map(hex)
            .unwrap_or_default()
    };
    let Ok(view) = record.view() else {
        return Finding::at(code::MISMATCH, at, "a record", "none that can be read");
    };
    let raw = (
        event::raw_fields(kind, view.det()),
        event::raw_fields(kind, &made.draft.det),
    );
    let (Ok(recorded), Ok(again)) = raw else {
        return Finding::at(code::MISMATCH, at, "fields", "none that can be read");
    };
    let differing = event::fields(kind)
        .iter()
        .zip(recorded.iter().zip(&again))
        .enumerate();
    for (number, (field, (old, new))) in differing {
        if old == new {
            continue;
        }
        let (expected, found) = match field.kind {
            FieldType::Slot => (
                value(
                    old,
                    values.bytes(record, number as u8).ok().flatten().as_deref(),
                ),
                value(new, made_value(made, number as u8, values).as_deref()),
            ),
            _ => (plain(field, old), plain(field, new)),
        };
        return Finding::at(code::MISMATCH, at, expected, found).field(field.name);
    }
    Finding::at(
        code::MISMATCH,
        at,
        before(view.det()),
        before(&made.draft.det),
    )
    .field("previous")
}

/// The bytes of a value that was made again.
fn made_value(made: &Emission, slot: u8, values: &RunValues<'_>) -> Option<Vec<u8>> {
    let value = made.draft.values.iter().find(|value| value.slot == slot)?;
    match &value.stored {
        Stored::Here(bytes) => Some(bytes.to_vec()),
        Stored::Back { seq, slot } if *seq == made.seq => made_value(made, *slot, values),
        Stored::Back { seq, slot } => values.stored(*seq, *slot).map(<[u8]>::to_vec),
        Stored::Absent => None,
    }
}

/// A slot in words: its value where that can be had, else its name.
fn value(name: &[u8], bytes: Option<&[u8]>) -> String {
    match (name, bytes) {
        ([], _) => "no value".into(),
        (_, Some(bytes)) => shown(bytes),
        (name, None) => match ValueRef::read(name) {
            Ok(name) => format!("a value named {}", name.digest),
            Err(_) => format!("a value named {}", hex(name)),
        },
    }
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.chars().count() <= SHOWN_MAX {
        return text.into_owned();
    }
    let cut: String = text.chars().take(SHOWN_MAX).collect();
    format!("{cut}… ({} bytes)", bytes.len())
}

fn plain(field: &Field, bytes: &[u8]) -> String {
    match field.kind {
        FieldType::Text => shown(bytes),
        FieldType::Word(_) => field.text(bytes).unwrap_or("an unknown word").into(),
        FieldType::Int { .. } => match field.number(bytes) {
            Some(number) => number.to_string(),
            None => "none".into(),
        },
        FieldType::Digest | FieldType::List | FieldType::Slot => {
            hex(&bytes[..bytes.len().min(SHOWN_MAX)])
        }
    }
}
