//! Redaction: a new file without chosen values. Digests stay, and everything else still verifies.

use crate::archive::Archive;
use crate::block::{self, Block};
use crate::container::HEADER_LEN;
use crate::container::Header;
use crate::cut::cut;
use crate::error::Error;
use crate::file::NewFile;
use crate::resign::copy;
use aos_format::digest::{Digest, RunId};
use aos_format::event::{fields, raw_fields, slots};
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_store::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Shortest text, in bytes, whose standing elsewhere tells something.
const TELLING_LEN: usize = 3;

/// Values to cut off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Of this run.
    pub run: RunId,
    /// Of this step alone: an activation, a pointer, or the last part of one.
    pub step: Option<String>,
    /// In this slot alone, by its field's name: `input`, `output`, `context`, …
    pub slot: Option<String>,
}

/// What a redaction did.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Redacted {
    /// Values cut off, repetitions included. References to them lead nowhere now.
    pub values: u64,
    /// Records changed.
    pub records: u64,
    /// Root seeds cut off: with one, every salt of a run could be computed.
    pub seeds: u64,
    /// Records that still hold the bytes of a cut value inside another value, with the field's name.
    pub still_in: Vec<(Offset, &'static str)>,
}

/// Writes the archive at `path` without the chosen values to the new file `out`.
///
/// A value is cut off wherever its run names it; the states of the run's checkpoints, which repeat values, and all root
/// seeds go too.
///
/// # Errors
/// [`Error::NoRecord`] when nothing is chosen by one of `cuts`; those of [`Archive::open`]; [`Error::Exists`],
/// [`Error::Io`].
pub fn redact(path: &Path, out: &Path, cuts: &[Cut]) -> Result<Redacted, Error> {
    let archive = Archive::open(path)?;
    let (mut plan, mut done) = (BTreeMap::new(), Redacted::default());
    for cut in cuts {
        plan_of(&archive, cut, &mut plan, &mut done)?;
    }
    write(&archive, out, &plan, &mut done)?;
    Ok(done)
}

type Plan = BTreeMap<Offset, BTreeSet<u8>>;

fn plan_of(
    archive: &Archive,
    cut: &Cut,
    plan: &mut Plan,
    done: &mut Redacted,
) -> Result<(), Error> {
    let none = || Error::NoRecord {
        what: format!(
            "value of run {} in step {} and slot {}",
            cut.run,
            cut.step.as_deref().unwrap_or("(any)"),
            cut.slot.as_deref().unwrap_or("(any)")
        ),
    };
    let stream = StreamId::run(cut.run);
    let records = archive.stream(stream, 1)?;
    let mut gone: BTreeSet<Digest> = BTreeSet::new();
    for record in &records {
        let Some(kind) = record.kind() else { continue };
        let view = record.view()?;
        let raw = raw_fields(kind, view.det()).map_err(unreadable(record.offset()))?;
        let activated = fields(kind).first().is_some_and(|f| f.name == "activation");
        let activation = match activated {
            true => String::from_utf8_lossy(raw[0]).into_owned(),
            false => String::new(),
        };
        if !cut
            .step
            .as_deref()
            .is_none_or(|step| names(&activation, step))
        {
            continue;
        }
        for (slot, value) in slots(kind, view.det()).map_err(unreadable(record.offset()))? {
            let name = fields(kind)[usize::from(slot)].name;
            if cut.slot.as_deref().is_none_or(|wanted| wanted == name) {
                gone.insert(value.digest);
            }
        }
    }
    if gone.is_empty() {
        return Err(none());
    }
    let mut texts = Vec::new();
    for record in &records {
        let Some(kind) = record.kind() else { continue };
        let view = record.view()?;
        for (slot, value) in slots(kind, view.det()).map_err(unreadable(record.offset()))? {
            if gone.contains(&value.digest) {
                texts.extend(archive.value(record, slot).ok());
            }
            if gone.contains(&value.digest) || kind == Kind::Checkpoint {
                plan.entry(record.offset()).or_default().insert(slot);
            }
        }
    }
    // What a value was made of tells as much as the whole of it.
    let parts: Vec<Vec<u8>> = texts.iter().flat_map(|text| leaves(text)).collect();
    texts.extend(parts);
    texts.sort();
    texts.dedup();
    // An empty or tiny text is inside everything and tells nothing.
    texts.retain(|text| text.len() >= TELLING_LEN);
    for record in &records {
        let Some(kind) = record.kind() else { continue };
        let view = record.view()?;
        for entry in view.values() {
            let cut_too = plan
                .get(&record.offset())
                .is_some_and(|slots| slots.contains(&entry.slot));
            let bytes = view.value_bytes(&entry).filter(|_| !cut_too);
            let inside = bytes.is_some_and(|bytes| texts.iter().any(|text| contains(bytes, text)));
            if inside {
                let name = fields(kind)[usize::from(entry.slot)].name;
                done.still_in.push((record.offset(), name));
            }
        }
    }
    Ok(())
}

/// The texts and numbers in a value, as they stand in canonical JSON, without quotes; none when it is no JSON.
fn leaves(value: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut open: Vec<serde_json::Value> = serde_json::from_slice(value).into_iter().collect();
    while let Some(part) = open.pop() {
        match part {
            serde_json::Value::Array(items) => open.extend(items),
            serde_json::Value::Object(fields) => {
                open.extend(fields.into_iter().map(|(_, part)| part))
            }
            serde_json::Value::String(_) => {
                let quoted = part.to_string().into_bytes();
                found.push(quoted[1..quoted.len() - 1].to_vec());
            }
            serde_json::Value::Number(number) => found.push(number.to_string().into_bytes()),
            serde_json::Value::Null | serde_json::Value::Bool(_) => {}
        }
    }
    found
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Whether a step is meant by its activation, its pointer, or the last part of its pointer.
fn names(activation: &str, step: &str) -> bool {
    let pointer = activation.split(';').next().unwrap_or_default();
    activation == step || pointer == step || pointer.rsplit('/').next() == Some(step)
}

fn unreadable(offset: Offset) -> impl Fn(aos_format::Error) -> Error {
    move |error| Error::Tampered {
        at: 0,
        place: format!("record at offset {offset}"),
        expected: "a record that can be read".into(),
        found: error.to_string(),
    }
}

fn write(archive: &Archive, out: &Path, plan: &Plan, done: &mut Redacted) -> Result<(), Error> {
    let container = archive.container();
    let identity = container.header.identity;
    let salt = identity.log_id.salt();
    let mut file = NewFile::create(out)?;
    file.write(&[0; HEADER_LEN as usize])?;
    let mut payload_len = 0;
    for number in 0..container.heads.len() {
        let block = Block::read(container, number)?;
        let mut raw = Vec::with_capacity(block.raw.len());
        let mut at = 0;
        for inside in 0..block.head.count {
            let record = block.head.first + u64::from(inside);
            let frame = block.frame(at, identity.stride, salt, Offset(0), record)?;
            let end = at + frame.bytes.len();
            let planned = plan.get(&frame.header.offset);
            let mut chosen: Vec<u8> = planned.into_iter().flatten().copied().collect();
            let is_seed = frame.header.kind == Kind::Seed as u8;
            if is_seed {
                chosen.extend(aos_format::event::slot_of(Kind::Seed, "seed"));
            }
            if chosen.is_empty() {
                raw.extend_from_slice(frame.bytes);
            } else {
                let (cut, count) = cut(&frame.header, frame.body(), &chosen)
                    .map_err(unreadable(frame.header.offset))?;
                raw.extend_from_slice(&cut);
                match is_seed {
                    true => done.seeds += u64::from(count),
                    false => {
                        done.values += u64::from(count);
                        done.records += u64::from(count > 0);
                    }
                }
            }
            at = end;
        }
        let compress = !block.head.is_plain();
        let bytes = block::encode(&raw, block.head.count, block.head.first, compress)
            .map_err(|why| Error::Selection { why })?;
        payload_len += bytes.len() as u64;
        file.write(&bytes)?;
    }
    copy(container, &mut file, container.tree_at(), container.len)?;
    let header = Header {
        payload_len,
        ..container.header
    };
    file.write_at(&header.encode(), 0)?;
    file.finish(out, 0o444)
}
