//! Records as people and programs read them.

use crate::output::{Cell, Object};
use aos_engine::history;
use aos_format::digest::hex;
use aos_format::event::{Event, FieldType, VALUE_JSON, fields, raw_fields, slots};
use aos_format::frame::Kind;
use aos_format::record::VOLATILE_FOREIGN_ID;
use aos_format::wire::take_varint;
use aos_store::{Source, StoredRecord};

/// A record with its event.
pub struct Shown {
    kind: Kind,
    event: Event,
    head: Object,
    fields: Object,
    digest: Option<String>,
    /// What the source of an imported event calls it.
    foreign_id: Option<String>,
}

impl Shown {
    /// Reads a record.
    ///
    /// # Errors
    /// What the log or the format says.
    pub fn new(record: &StoredRecord) -> Result<Shown, aos_store::Error> {
        let view = record.view()?;
        let stream = view.stream();
        let event = history::read_event(record).map_err(|error| match error {
            history::HistoryError::Store(error) => error,
            other => aos_store::Error::Invalid {
                what: other.to_string(),
            },
        })?;
        let kind = event.kind();
        let digest = kind.advances().then(|| view.digest().hex());
        let head = Object::new()
            .with("offset", record.offset().0)
            .with("stream", stream.kind.name())
            .with("run", stream.as_run().map(|run| run.to_string()))
            .with("seq", record.seq())
            .with("lane", view.lane())
            .with("lane_seq", view.lane_seq())
            .with("kind", kind.name());
        let tail = Object::new()
            .with("history_digest", digest.clone())
            .with("wall_ns", view.wall_ns())
            .with("epoch", record.header().epoch)
            .with(
                "prev_offset",
                record.header().prev.some().map(|offset| offset.0),
            )
            .with("pending", record.is_pending());
        let foreign_id = view
            .volatile_tag(VOLATILE_FOREIGN_ID)
            .map(|id| String::from_utf8_lossy(id).into_owned());
        let tail = match &foreign_id {
            Some(id) => tail.with("foreign_id", id.clone()),
            None => tail,
        };
        let fields = named_fields(kind, view.det()).and(tail);
        Ok(Shown {
            kind,
            event,
            head,
            fields,
            digest,
            foreign_id,
        })
    }

    /// All of it but the values.
    pub fn object(&self) -> Object {
        self.head.clone().and(self.fields.clone())
    }

    /// Whether it advances a history.
    #[cfg(feature = "tui")]
    pub fn kind_advances(&self) -> bool {
        self.kind.advances()
    }

    /// First digits of the history digest.
    pub fn short_digest(&self) -> String {
        self.digest
            .as_deref()
            .map(|digest| digest[..12].to_owned())
            .unwrap_or_default()
    }

    /// Name of the kind.
    pub fn kind(&self) -> &'static str {
        self.kind.name()
    }

    /// Which occurrence of which step it speaks of; empty where it speaks of none.
    pub fn activation(&self) -> &str {
        match &self.event {
            Event::Step(event) => &event.activation,
            Event::Intent(event) => &event.activation,
            Event::Result(event) => &event.activation,
            Event::Decision(event) => &event.activation,
            Event::Signal(event) => &event.activation,
            Event::Fork(event) => &event.activation,
            Event::Join(event) => &event.activation,
            Event::Time(event) => &event.activation,
            Event::Foreign(event) => &event.activation,
            Event::Mark(event) => &event.activation,
            Event::Open(_)
            | Event::Definition(_)
            | Event::Seed(_)
            | Event::Checkpoint(_)
            | Event::Start(_)
            | Event::End(_)
            | Event::Seal(_) => "",
        }
    }

    /// What happened, in a few words.
    pub fn what(&self) -> String {
        match &self.event {
            Event::Open(event) => format!(
                "epoch {}, {}{}",
                event.epoch,
                event.build,
                cut(event.cut_len)
            ),
            Event::Definition(event) => format!(
                "{}/{} {}, {}",
                event.namespace, event.name, event.version, event.media
            ),
            Event::Seed(event) => format!(
                "{}, commitment {}",
                event.scheme,
                &event.commitment.hex()[..12]
            ),
            Event::Checkpoint(event) => format!("{} steps", event.steps),
            Event::Start(event) => format!("{}/{} {}", event.namespace, event.name, event.version),
            Event::Step(event) => {
                let next = if event.next.is_empty() {
                    String::new()
                } else {
                    format!(", then {}", event.next)
                };
                let draws = if event.draws == 0 {
                    String::new()
                } else {
                    format!(", draws {}", event.draws)
                };
                format!("{}{next}{draws}", event.outcome)
            }
            Event::Intent(event) => match event.duration_ms {
                Some(duration) => format!("{} of {duration} ms", event.effect),
                None => format!("{}, {} if unknown", event.effect, event.policy),
            },
            Event::Result(event) => event.outcome.clone(),
            Event::Decision(event) => {
                format!("{}: {} by {}", event.subject, event.verdict, event.actor)
            }
            Event::Signal(event) => {
                format!("{} {} from {}", event.signal_type, event.id, event.source)
            }
            Event::Fork(event) => format!("{} lanes", event.lanes.len()),
            Event::Join(event) => format!("{} lanes", event.digests.len()),
            Event::Time(event) => format!("{} is {}", event.subject, event.time_ns),
            Event::End(event) => format!("{} after {} steps", event.outcome, event.steps),
            // The activation names the type.
            Event::Foreign(event) => match &self.foreign_id {
                Some(id) => format!("event {id}"),
                None => event.foreign_type.clone(),
            },
            Event::Mark(event) => event.what.clone(),
            Event::Seal(event) => format!("{} records up to {}", event.count, event.end),
        }
    }
}

fn cut(bytes: u64) -> String {
    if bytes == 0 {
        String::new()
    } else {
        format!(", cut {bytes} bytes")
    }
}

/// Names of the fields, in the order of the format, values left out.
fn named_fields(kind: Kind, det: &[u8]) -> Object {
    let mut object = Object::new();
    let Ok(raw) = raw_fields(kind, det) else {
        return object;
    };
    for (field, bytes) in fields(kind).iter().zip(raw) {
        object = match field.kind {
            FieldType::Slot => object,
            FieldType::Text => object.with(field.name, String::from_utf8_lossy(bytes).into_owned()),
            FieldType::Word(_) => object.with(field.name, field.text(bytes).map(str::to_owned)),
            FieldType::Int { .. } => object.with(field.name, field.number(bytes)),
            FieldType::Digest => object.with(field.name, (!bytes.is_empty()).then(|| hex(bytes))),
            FieldType::List => object.with(field.name, list(kind, field.name, bytes)),
        };
    }
    object
}

fn list(kind: Kind, name: &str, mut bytes: &[u8]) -> Vec<Cell> {
    let mut items = Vec::new();
    while let Some(len) = take_varint(&mut bytes).and_then(|len| usize::try_from(len).ok()) {
        let Some((item, rest)) = bytes.split_at_checked(len) else {
            break;
        };
        bytes = rest;
        // Which items are text is a matter of the field; everything else is shown as its bytes.
        let text = matches!(
            (kind, name),
            (Kind::Start, "behaviour") | (Kind::Step, "reads")
        ) || (kind == Kind::Start && name == "skills" && item.len() != 32);
        items.push(Cell::Text(if text {
            String::from_utf8_lossy(item).into_owned()
        } else {
            hex(item)
        }));
    }
    items
}

/// Name and content of each value of a record; `None` where the log does not have it.
///
/// # Errors
/// What the log says of a value that it should have.
pub fn values(
    reader: &dyn Source,
    record: &StoredRecord,
) -> Result<Vec<(&'static str, Option<String>)>, aos_store::Error> {
    let Some(kind) = record.kind() else {
        return Ok(Vec::new());
    };
    let named = record
        .view()
        .map(|view| slots(kind, view.det()).unwrap_or_default())?;
    let mut values = Vec::with_capacity(named.len());
    for (slot, name) in named {
        let field = fields(kind)
            .get(usize::from(slot))
            .map_or("value", |field| field.name);
        let bytes = match reader.value(record, slot) {
            Ok(bytes) => Some(bytes),
            Err(aos_store::Error::NoValue { .. }) => None,
            Err(error) => return Err(error),
        };
        let text = bytes.map(|bytes| {
            if name.kind == VALUE_JSON {
                String::from_utf8_lossy(&bytes).into_owned()
            } else {
                format!("\"{}\"", hex(&bytes))
            }
        });
        values.push((field, text));
    }
    Ok(values)
}
