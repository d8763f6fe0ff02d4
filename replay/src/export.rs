//! Export: every record as one JSON object, with the canonical bytes that a stranger needs to check the chain.

use crate::error::Error;
use crate::finding::{Finding, code, pointer};
use crate::verify::activation;
use aos_format::canonical::canonicalize;
use aos_format::digest::{Digest, RunId, hex};
use aos_format::event::{self, Event, FieldType, SkillRef, VALUE_JSON, ValueRef};
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_format::record::{
    REDACTED, RecordView, VOLATILE_DUE, VOLATILE_ENVIRONMENT, VOLATILE_EXTENSION,
    VOLATILE_FOREIGN_ID, VOLATILE_GENERATION, VOLATILE_KEY, VOLATILE_ROOT_SEED, VOLATILE_WIRE_KEY,
    ValueEntry, volatile_name,
};
use aos_store::{LogReader, Scan, StoredRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// What to export.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExportOptions {
    /// First offset.
    pub from: Offset,
    /// This run alone.
    pub run: Option<RunId>,
    /// Root seeds too: whoever has them can compute every salt and random draw.
    pub with_seeds: bool,
}

/// The records of a log as JSON objects, in order of offset.
///
/// Where the log is damaged the last item is [`Error::Store`] with the finding; a record that holds its CRC but cannot be
/// read is an item of its own, [`Error::Unreadable`], and the export goes on behind it.
pub struct Export<'a> {
    scan: Scan<'a>,
    options: ExportOptions,
}

impl<'a> Export<'a> {
    /// Exports the log that `reader` has open.
    ///
    /// # Errors
    /// [`Error::Store`] when the disk fails, or the run was pruned.
    pub fn new(reader: &'a LogReader, options: ExportOptions) -> Result<Export<'a>, Error> {
        if let (Some(run), Some(base)) = (options.run, reader.pruned())
            && base.gone().contains(&run)
        {
            return Err(Error::Store(base.refuse(base.rows().runs[&run].head)));
        }
        Ok(Export {
            scan: reader.scan(options.from)?,
            options,
        })
    }
}

impl std::fmt::Debug for Export<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Iterator for Export<'_> {
    type Item = Result<Value, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = match self.scan.next()? {
                Ok(record) => record,
                Err(error) => return Some(Err(error.into())),
            };
            let view = match record.view() {
                Ok(view) => view,
                Err(error) => return Some(Err(error.into())),
            };
            if self
                .options
                .run
                .is_some_and(|run| view.stream().as_run() != Some(run))
            {
                continue;
            }
            return Some(record_json(&record, self.options.with_seeds));
        }
    }
}

/// One record as a JSON object. The bytes of SEED values are left out unless `with_seeds`.
///
/// # Errors
/// [`Error::Unreadable`] when its fields cannot be read, [`Error::Store`] when it is no record.
pub fn record_json(record: &StoredRecord, with_seeds: bool) -> Result<Value, Error> {
    let view = record.view()?;
    let header = record.header();
    let det = view.det();
    let (fields, values, named) = match record.kind() {
        Some(kind) => {
            let unreadable = |source: aos_format::Error| {
                Error::Unreadable(Box::new(
                    Finding::at(
                        code::UNREADABLE,
                        header.offset.0,
                        format!("the fields of a {}", kind.name()),
                        source,
                    )
                    .stream(view.stream())
                    .field("canonical"),
                ))
            };
            let (_, event) = Event::decode(kind, det).map_err(unreadable)?;
            let raw = event::raw_fields(kind, det).map_err(unreadable)?;
            let names = event::slots(kind, det).map_err(unreadable)?;
            let values = values_json(kind, &view, &names, with_seeds || kind != Kind::Seed);
            (
                fields_json(kind, &event, &raw),
                values,
                activation(kind, det),
            )
        }
        None => (Value::Null, Value::Array(Vec::new()), None),
    };
    let attempt = fields.get("attempt").cloned().unwrap_or(Value::Null);
    let kind = record.kind().map_or_else(
        || format!("KIND_{}", header.kind),
        |kind| kind.name().to_owned(),
    );
    Ok(json!({
        "offset": header.offset.0,
        "stream": view.stream().kind.name(),
        "stream_id": hex(&view.stream().id),
        "run": view.stream().as_run().map(|run| run.to_string()),
        "lane": view.lane(),
        "lane_seq": view.lane_seq(),
        "seq": header.seq,
        "kind": kind,
        "step": named.as_deref().map(pointer),
        "activation": named,
        "attempt": attempt,
        "prev_offset": header.prev.some().map(|prev| prev.0),
        "epoch": header.epoch,
        "tenant": view.tenant(),
        "pending": record.is_pending(),
        "history_digest": view.digest().hex(),
        "canonical": STANDARD.encode(det),
        "fields": fields,
        "values": values,
        "wall_ns": view.wall_ns(),
        "volatile": volatile_json(&view),
    }))
}

/// Fields by name; slots are left to the values.
fn fields_json(kind: Kind, event: &Event, raw: &[&[u8]]) -> Value {
    let mut object = Map::new();
    for (field, bytes) in event::fields(kind).iter().zip(raw) {
        let value = match field.kind {
            FieldType::Slot => continue,
            FieldType::Text => Value::from(String::from_utf8_lossy(bytes)),
            FieldType::Word(_) => Value::from(field.text(bytes)),
            FieldType::Int { .. } => Value::from(field.number(bytes)),
            FieldType::Digest if bytes.is_empty() => Value::Null,
            FieldType::Digest => Value::from(hex(bytes)),
            FieldType::List => list_json(event, field.name),
        };
        object.insert(field.name.to_owned(), value);
    }
    Value::Object(object)
}

fn list_json(event: &Event, field: &str) -> Value {
    let digests = |list: &[Digest]| list.iter().map(Digest::hex).collect::<Vec<_>>();
    let skill = |skill: &SkillRef| json!({"name": skill.name, "version": skill.version, "digest": skill.digest.hex()});
    match (event, field) {
        (Event::Start(start), "behaviour") => json!(start.behaviour),
        (Event::Start(start), "skills") => start.skills.iter().map(skill).collect(),
        (Event::Step(step), "reads") => json!(step.reads),
        (Event::Intent(intent), "authorised") => json!(digests(&intent.authorised)),
        (Event::Fork(fork), "lanes") => json!(fork.lanes),
        (Event::Join(join), "digests") => json!(digests(&join.digests)),
        (Event::Checkpoint(checkpoint), "lanes") => checkpoint
            .lanes
            .iter()
            .map(|head| json!({"lane": head.lane, "lane_seq": head.lane_seq, "digest": head.digest.hex()}))
            .collect(),
        _ => Value::Null,
    }
}

fn values_json(
    kind: Kind,
    view: &RecordView<'_>,
    names: &[(u8, ValueRef)],
    with_bytes: bool,
) -> Value {
    names
        .iter()
        .map(|(slot, name)| {
            let entry = view.values().find(|entry| entry.slot == *slot);
            value_json(kind, view, *slot, name, entry.as_ref(), with_bytes)
        })
        .collect()
}

fn value_json(
    kind: Kind,
    view: &RecordView<'_>,
    slot: u8,
    name: &ValueRef,
    entry: Option<&ValueEntry>,
    with_bytes: bool,
) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("slot", slot.into());
    put("name", event::fields(kind)[usize::from(slot)].name.into());
    put(
        "kind",
        if name.kind == VALUE_JSON {
            "json"
        } else {
            "bytes"
        }
        .into(),
    );
    put("len", name.len.into());
    put("digest", name.digest.hex().into());
    let Some(entry) = entry else {
        put("stored", "absent".into());
        return Value::Object(object);
    };
    if !with_bytes {
        put("stored", "left_out".into());
        return Value::Object(object);
    }
    if entry.from_seq == 0 && entry.start != REDACTED {
        put("salt", hex(&entry.salt).into());
    }
    match view.value_bytes(entry) {
        Some(bytes) => {
            put("stored", "here".into());
            put("bytes", STANDARD.encode(bytes).into());
            if name.kind == VALUE_JSON
                && let Some(parsed) = exact(bytes)
            {
                put("json", parsed);
            }
        }
        None if entry.from_seq != 0 => {
            put("stored", "back".into());
            put("from_seq", entry.from_seq.into());
            put("from_slot", entry.from_slot.into());
        }
        None => {
            put(
                "stored",
                if entry.start == REDACTED {
                    "redacted"
                } else {
                    "absent"
                }
                .into(),
            );
        }
    }
    Value::Object(object)
}

/// Canonical JSON as a value, unless that would lose digits: `bytes` has them in any case.
fn exact(bytes: &[u8]) -> Option<Value> {
    let parsed: Value = serde_json::from_slice(bytes).ok()?;
    let again = canonicalize(&serde_json::to_vec(&parsed).ok()?).ok()?;
    (again == bytes).then_some(parsed)
}

fn volatile_json(view: &RecordView<'_>) -> Value {
    let mut object = Map::new();
    let mut unknown = Vec::new();
    for (tag, bytes) in view.volatile() {
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
        let value = match tag {
            VOLATILE_KEY | VOLATILE_WIRE_KEY | VOLATILE_FOREIGN_ID => {
                Value::from(String::from_utf8_lossy(bytes))
            }
            VOLATILE_GENERATION => number(bytes).map_or(Value::Null, Value::from),
            VOLATILE_DUE => number(bytes).map_or(Value::Null, |ns| Value::from(ns as i64)),
            VOLATILE_ROOT_SEED => Value::from(hex(bytes)),
            VOLATILE_ENVIRONMENT | VOLATILE_EXTENSION => {
                serde_json::from_slice(bytes).unwrap_or(Value::Null)
            }
            _ if volatile_name(tag) == "unknown" => {
                unknown.push(json!({"tag": tag, "bytes": STANDARD.encode(bytes)}));
                continue;
            }
            _ => Value::from(STANDARD.encode(bytes)),
        };
        object.insert(volatile_name(tag).to_owned(), value);
    }
    if !unknown.is_empty() {
        object.insert("unknown".to_owned(), Value::Array(unknown));
    }
    Value::Object(object)
}
