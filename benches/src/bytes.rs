//! Where the bytes of a log go, counted over all its records.

use crate::stats::{Failure, machine};
use aos_disk::RealDisk;
use aos_format::event::{FIELDS_AT, FieldType, TAG_LEN, fields, raw_fields};
use aos_format::frame::{FRAME_HEADER_LEN, Kind};
use aos_format::offset::Offset;
use aos_format::wire::put_varint;
use aos_store::{LogReader, StoredRecord};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Length of a record's fixed end.
const ROOT_LEN: usize = 40;

/// Bytes of the records of a kind, by what they are for.
#[derive(Default)]
struct Sums {
    records: u64,
    values: u64,
    parts: BTreeMap<&'static str, u64>,
}

impl Sums {
    fn add(&mut self, record: &StoredRecord, kind: Kind) -> Result<(), Failure> {
        let view = record.view()?;
        let parts = view.parts();
        let mut put = |part, bytes: usize| *self.parts.entry(part).or_default() += bytes as u64;
        put("frame header", FRAME_HEADER_LEN as usize);
        put("tag", TAG_LEN);
        put("previous digest", FIELDS_AT - TAG_LEN);
        let (mut present, mut other, mut activation) = (0u64, 0, 0);
        let raw = raw_fields(kind, view.det())?;
        for (number, (field, raw)) in fields(kind).iter().zip(raw).enumerate() {
            present |= u64::from(!raw.is_empty()) << number;
            let len = match field.kind {
                FieldType::Text | FieldType::List if !raw.is_empty() => {
                    varint_len(raw.len() as u64) + raw.len()
                }
                FieldType::Slot => 0,
                _ => raw.len(),
            };
            if field.name == "activation" {
                activation += len;
            } else {
                other += len;
            }
        }
        other += varint_len(present);
        put("activation", activation);
        put("other fields", other);
        put(
            "names of values",
            parts.det.len() - FIELDS_AT - activation - other,
        );
        put("stream, clock, number, links", ROOT_LEN);
        put("extras", parts.record.len() - parts.det.len() - ROOT_LEN);
        for value in &parts.values {
            put("where values are", value.head.len());
            put("salts", value.salt.len());
            self.values += value.bytes.len() as u64;
        }
        let len = record.header().frame_len() - FRAME_HEADER_LEN;
        put("padding", len as usize - view.body_len());
        self.records += 1;
        Ok(())
    }

    fn json(&self) -> Value {
        let each = |bytes: u64| (bytes as f64 / self.records as f64 * 10.0).round() / 10.0;
        let parts: Map<String, Value> = self
            .parts
            .iter()
            .map(|(part, bytes)| ((*part).to_owned(), each(*bytes).into()))
            .collect();
        json!({
            "records": self.records,
            "beyond_values": each(self.parts.values().sum()),
            "values": each(self.values),
            "parts": parts,
        })
    }
}

fn varint_len(value: u64) -> usize {
    let mut bytes = Vec::new();
    put_varint(&mut bytes, value);
    bytes.len()
}

/// Counts the log at `path`.
///
/// # Errors
/// What reading the log says.
pub fn count(path: &Path) -> Result<Value, Failure> {
    let reader = LogReader::open(Arc::new(RealDisk), path)?;
    let mut kinds: BTreeMap<Kind, Sums> = BTreeMap::new();
    for record in reader.scan(Offset(0))? {
        let record = record?;
        if let Some(kind) = record.kind() {
            kinds.entry(kind).or_default().add(&record, kind)?;
        }
    }
    let end = reader.tail()?.end.0;
    let values: u64 = kinds.values().map(|sums| sums.values).sum();
    let steps = kinds.get(&Kind::Step).map_or(0, |sums| sums.records);
    let by_kind: Map<String, Value> = kinds
        .iter()
        .map(|(kind, sums)| (kind.name().to_owned(), sums.json()))
        .collect();
    Ok(json!({
        "schema": "aos.bench.bytes.v1",
        "machine": machine(),
        "log": {
            "bytes": end,
            "value_bytes": values,
            "bytes_to_values": (end as f64 / values.max(1) as f64 * 100.0).round() / 100.0,
            "steps": steps,
            "bytes_a_step": (end as f64 / steps.max(1) as f64).round(),
        },
        "bytes_a_record": by_kind,
    }))
}
