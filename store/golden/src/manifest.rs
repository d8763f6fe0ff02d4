//! The manifest: what an archive says it holds, as canonical JSON that a person can read.

use crate::error::Error;
use crate::json::{self, Reader};
use aos_format::canonical;
use aos_format::digest::{Digest, LogId, RunId};
use aos_format::offset::Offset;
use serde_json::{Value, json};

/// A run whose whole history is carried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunEntry {
    /// Its id.
    pub run: RunId,
    /// Namespace of its workflow.
    pub namespace: String,
    /// Name of its workflow.
    pub name: String,
    /// Version of its workflow.
    pub version: String,
    /// Its key.
    pub key: String,
    /// Generation of the key.
    pub generation: u64,
    /// Digest of its workflow document.
    pub definition: Digest,
    /// Offset of its newest record.
    pub head: Offset,
    /// Number of its newest record.
    pub records: u64,
    /// Records that advance its history.
    pub events: u64,
    /// `open`, `completed`, `faulted` or `cancelled`.
    pub status: String,
    /// Newest history digest.
    pub history_digest: Digest,
}

/// A workflow document that is carried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DefinitionEntry {
    /// Digest of its canonical form.
    pub digest: Digest,
    /// Offset of its record.
    pub offset: Offset,
}

/// What an archive says it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Which tree: `aos.log/ID` where it is the log's own from its beginning.
    pub origin: String,
    /// Name of the log.
    pub log_id: LogId,
    /// Length of its segments in bytes.
    pub stride: u64,
    /// `all`, `segments` or `runs`.
    pub selection: String,
    /// Ranges of offsets that are carried whole.
    pub ranges: Vec<(Offset, Offset)>,
    /// Number of records.
    pub size: u64,
    /// Root of the tree.
    pub root: Digest,
    /// Runs carried whole, by id.
    pub runs: Vec<RunEntry>,
    /// SHA-256 over (run id, history digest) of those runs.
    pub digest: Digest,
    /// Workflow documents, by digest.
    pub definitions: Vec<DefinitionEntry>,
    /// Whether root seeds are carried; otherwise they were cut off.
    pub seeds: bool,
    /// Version of the log format.
    pub format: u64,
    /// Version of the build that sealed.
    pub build: String,
    /// When, as its sealer says; RFC 3339.
    pub sealed_at: Option<String>,
}

const FIELDS: [&str; 15] = [
    "schema",
    "origin",
    "log_id",
    "stride",
    "selection",
    "ranges",
    "size",
    "root",
    "runs",
    "digest",
    "definitions",
    "seeds",
    "format",
    "build",
    "sealed_at",
];

impl Manifest {
    /// Its canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let ranges: Vec<Value> = self
            .ranges
            .iter()
            .map(|(start, end)| json!([start.0, end.0]))
            .collect();
        let mut value = json!({
            "schema": "aos.golden.v1",
            "origin": self.origin,
            "log_id": self.log_id.to_string(),
            "stride": self.stride,
            "selection": self.selection,
            "ranges": ranges,
            "size": self.size,
            "root": self.root.hex(),
            "runs": self.runs.iter().map(RunEntry::json).collect::<Vec<_>>(),
            "digest": self.digest.hex(),
            "definitions": self.definitions.iter().map(|entry| json!({
                "digest": entry.digest.hex(),
                "offset": entry.offset.0,
            })).collect::<Vec<_>>(),
            "seeds": if self.seeds { "included" } else { "withheld" },
            "format": self.format,
            "build": self.build,
        });
        if let Some(at) = &self.sealed_at {
            value["sealed_at"] = at.as_str().into();
        }
        json::canonical(&value)
    }

    /// Reads it; bytes that are not canonical, and unknown fields, are refused.
    ///
    /// # Errors
    /// [`Error::Text`].
    pub fn decode(bytes: &[u8]) -> Result<Manifest, Error> {
        let bad = |why: String| Error::Text {
            what: "manifest",
            why,
        };
        canonical::check(bytes).map_err(|error| bad(error.to_string()))?;
        let value = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        Manifest::read(&value).map_err(bad)
    }

    fn read(value: &Value) -> Result<Manifest, String> {
        let object = Reader::new(value)?;
        object.only(&FIELDS)?;
        if object.text("schema")? != "aos.golden.v1" {
            return Err("its schema is not aos.golden.v1".into());
        }
        let range = |value: &Value| {
            let pair = value.as_array().filter(|pair| pair.len() == 2)?;
            Some((Offset(pair[0].as_u64()?), Offset(pair[1].as_u64()?)))
        };
        let log_id = aos_format::digest::from_hex::<16>(object.text("log_id")?);
        Ok(Manifest {
            origin: object.text("origin")?.into(),
            log_id: LogId(log_id.ok_or("log_id is not 32 hexadecimal characters")?),
            stride: object.number("stride")?,
            selection: object.text("selection")?.into(),
            ranges: object
                .list("ranges")?
                .iter()
                .map(|value| range(value).ok_or("a range is not two numbers".to_owned()))
                .collect::<Result<_, _>>()?,
            size: object.number("size")?,
            root: object.digest("root")?,
            runs: object
                .list("runs")?
                .iter()
                .map(RunEntry::read)
                .collect::<Result<_, _>>()?,
            digest: object.digest("digest")?,
            definitions: object
                .list("definitions")?
                .iter()
                .map(DefinitionEntry::read)
                .collect::<Result<_, _>>()?,
            seeds: match object.text("seeds")? {
                "included" => true,
                "withheld" => false,
                _ => return Err("seeds is neither included nor withheld".into()),
            },
            format: object.number("format")?,
            build: object.text("build")?.into(),
            sealed_at: match object.has("sealed_at") {
                true => Some(object.text("sealed_at")?.into()),
                false => None,
            },
        })
    }
}

impl RunEntry {
    fn json(&self) -> Value {
        json!({
            "run": self.run.to_string(),
            "namespace": self.namespace,
            "name": self.name,
            "version": self.version,
            "key": self.key,
            "generation": self.generation,
            "definition": self.definition.hex(),
            "head": self.head.0,
            "records": self.records,
            "events": self.events,
            "status": self.status,
            "history_digest": self.history_digest.hex(),
        })
    }

    fn read(value: &Value) -> Result<RunEntry, String> {
        let object = Reader::new(value)?;
        object.only(&[
            "run",
            "namespace",
            "name",
            "version",
            "key",
            "generation",
            "definition",
            "head",
            "records",
            "events",
            "status",
            "history_digest",
        ])?;
        Ok(RunEntry {
            run: RunId::from_hex(object.text("run")?).ok_or("run is not a run id")?,
            namespace: object.text("namespace")?.into(),
            name: object.text("name")?.into(),
            version: object.text("version")?.into(),
            key: object.text("key")?.into(),
            generation: object.number("generation")?,
            definition: object.digest("definition")?,
            head: Offset(object.number("head")?),
            records: object.number("records")?,
            events: object.number("events")?,
            status: object.text("status")?.into(),
            history_digest: object.digest("history_digest")?,
        })
    }
}

impl DefinitionEntry {
    fn read(value: &Value) -> Result<DefinitionEntry, String> {
        let object = Reader::new(value)?;
        object.only(&["digest", "offset"])?;
        Ok(DefinitionEntry {
            digest: object.digest("digest")?,
            offset: Offset(object.number("offset")?),
        })
    }
}
