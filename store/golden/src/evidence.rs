//! Evidence bundles: archives, reports and keys in one zip, named by an in-toto statement in a DSSE envelope.
//!
//! ```text
//! envelope.json       DSSE: payload (the statement, base64), signatures over "DSSEv1 LEN TYPE LEN PAYLOAD"
//! archives/NAME       golden archives
//! anything else       reports, workflow documents, trust file, command lines
//! ```
//!
//! The statement's subjects are all files but the envelope, each with its SHA-256. Files are stored, not compressed, so that an
//! archive is verified where it lies.

use crate::container::{Container, Input};
use crate::error::Error;
use crate::file::NewFile;
use crate::json::{self, Reader, base64, from_base64};
use crate::key::{Key, Purpose};
use crate::trust::{Trust, Verifier};
use crate::verify::{Verification, VerifyOptions, verify};
use aos_format::digest::Digest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

const ENVELOPE: &str = "envelope.json";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://aos.invalid/evidence/v1";
/// Records of a zip without their names: in front of a file, in the directory, at the end (APPNOTE 4.3.7, 4.3.12, 4.3.14 to
/// 4.3.16), and the one extra field that bundles have (4.5.3).
const LOCAL_HEADER_LEN: usize = 30;
const DIRECTORY_HEADER_LEN: usize = 46;
const ZIP64_END_LEN: usize = 56;
const ZIP64_LOCATOR_LEN: usize = 20;
const END_LEN: usize = 22;
const ZIP64_FIELD: usize = 1;
/// Longest envelope read.
const ENVELOPE_LEN_MAX: u64 = 16 << 20;

/// A file on its way into a bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// A file as it lies.
    File(PathBuf),
    /// Made here.
    Bytes(Vec<u8>),
}

/// What a bundle showed.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Names of the keys that count and signed it.
    pub signers: Vec<String>,
    /// Files, each with its digest.
    pub files: BTreeMap<String, Digest>,
    /// Archives in it, each verified with the same trust.
    pub archives: Vec<(String, Verification)>,
    /// What else the statement says, as JSON.
    pub predicate: String,
}

/// What a DSSE signature is over.
fn pae(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "DSSEv1 {} {PAYLOAD_TYPE} {} ",
        PAYLOAD_TYPE.len(),
        payload.len()
    )
    .into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Packs files into a new bundle at `out`, signed with `key`. `predicate` is what else the statement says.
///
/// # Errors
/// [`Error::Selection`] for no files or a name that cannot be; [`Error::Exists`], [`Error::Io`].
pub fn pack_evidence(
    out: &Path,
    pieces: &BTreeMap<String, Piece>,
    predicate: &Value,
    key: &Key,
) -> Result<(), Error> {
    let wrong = pieces.keys().find(|name| !is_name(name));
    if pieces.is_empty() || wrong.is_some() {
        return Err(Error::Selection {
            why: wrong.map_or("no files".into(), |name| {
                format!("{name} is no name of a file")
            }),
        });
    }
    let mut subjects = Vec::new();
    for (name, piece) in pieces {
        let digest = match piece {
            Piece::Bytes(bytes) => Digest::of(bytes),
            Piece::File(path) => {
                let mut file = File::open(path).map_err(Error::io("open", path))?;
                hash(&mut file).map_err(Error::io("read", path))?
            }
        };
        subjects.push(json!({"name": name, "digest": {"sha256": digest.hex()}}));
    }
    let statement = json::canonical(&json!({
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": predicate,
    }));
    let signature = key.sign(Purpose::Evidence, &pae(&statement));
    let envelope = json::canonical(&json!({
        "payloadType": PAYLOAD_TYPE,
        "payload": base64(&statement),
        "signatures": [{"keyid": key.id().to_string(), "sig": base64(&signature)}],
    }));
    let mut file = NewFile::create(out)?;
    write(&mut file, pieces, &envelope).map_err(Error::io("write", out))?;
    file.finish(out, 0o444)
}

fn write(file: &mut NewFile, pieces: &BTreeMap<String, Piece>, envelope: &[u8]) -> io::Result<()> {
    let mut zip = ZipWriter::new_stream(file);
    let options = || {
        SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o444)
            .large_file(true)
    };
    zip.start_file(ENVELOPE, options())?;
    zip.write_all(envelope)?;
    for (name, piece) in pieces {
        zip.start_file(name.as_str(), options())?;
        match piece {
            Piece::Bytes(bytes) => zip.write_all(bytes)?,
            Piece::File(path) => {
                io::copy(&mut File::open(path)?, &mut zip)?;
            }
        }
    }
    zip.finish()?;
    Ok(())
}

/// Relative, without steps up, and of plain characters.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/+@,=".contains(c);
    name != ENVELOPE
        && !name.is_empty()
        && name.chars().all(plain)
        && name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

fn hash(from: &mut dyn Read) -> io::Result<Digest> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(Digest(hasher.finalize().into())),
            len => hasher.update(&buffer[..len]),
        }
    }
}

/// Verifies a bundle: who signed it, that every file is the one that was signed for and no other is there, and each archive.
///
/// # Errors
/// [`Error::Untrusted`] when no evidence key that counts signed (one is enough: a threshold is for archives);
/// [`Error::Tampered`] for a file that is another, missing or more, or a zip that can be read in two ways;
/// [`Error::Corrupt`] for a zip that cannot be read; [`Error::Io`].
pub fn verify_evidence(path: &Path, trust: &Trust, workers: usize) -> Result<Evidence, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let shared = Arc::new(file);
    let corrupt = |found: String| Error::Corrupt {
        at: 0,
        place: format!("bundle {}", path.display()),
        expected: "a zip of stored files".into(),
        found,
    };
    let again = File::open(path).map_err(Error::io("open", path))?;
    let mut zip = ZipArchive::new(again).map_err(|error| corrupt(error.to_string()))?;
    let mut envelope = Vec::new();
    zip.by_name(ENVELOPE)
        .map_err(|error| corrupt(error.to_string()))?
        .take(ENVELOPE_LEN_MAX)
        .read_to_end(&mut envelope)
        .map_err(|error| corrupt(error.to_string()))?;
    let (statement, signers) = opened(&envelope, trust)?;
    let (expected, predicate) = subjects(&statement)?;
    let mut evidence = Evidence {
        signers,
        files: BTreeMap::new(),
        archives: Vec::new(),
        predicate,
    };
    let tampered = |name: &str, expected: &str, found: &str| Error::Tampered {
        at: 0,
        place: format!("file {name} of the bundle"),
        expected: expected.into(),
        found: found.into(),
    };
    one_reading(&mut zip, &shared, path)?;
    let mut seen = BTreeSet::new();
    for number in 0..zip.len() {
        let mut entry = zip
            .by_index(number)
            .map_err(|error| corrupt(error.to_string()))?;
        let name = entry.name().to_owned();
        seen.insert(name.clone());
        if name == ENVELOPE {
            continue;
        }
        let known = expected
            .get(&name)
            .ok_or_else(|| tampered(&name, "no such file", "one that was not signed for"))?;
        if entry.compression() != CompressionMethod::Stored {
            return Err(corrupt(format!("{name} is compressed")));
        }
        let digest = hash(&mut entry).map_err(|error| corrupt(format!("{name}: {error}")))?;
        if digest != *known {
            return Err(tampered(&name, &known.hex(), &digest.hex()));
        }
        if name.starts_with("archives/") {
            let part = Part {
                file: shared.clone(),
                start: entry
                    .data_start()
                    .ok_or_else(|| corrupt(format!("{name} has no place")))?,
                len: entry.size(),
            };
            let options = VerifyOptions {
                trust: Some(trust),
                anchor: None,
                workers,
            };
            let found = verify(Container::read(Arc::new(part), &name), &options)?;
            evidence.archives.push((name.clone(), found));
        }
        evidence.files.insert(name, digest);
    }
    match expected.keys().find(|name| !seen.contains(*name)) {
        Some(name) => Err(tampered(name, "the file that was signed for", "none")),
        None => Ok(evidence),
    }
}

/// Whether every reader of zip files finds the same files here: they lie one behind the other from the first byte on up to
/// the directory, which names each once, as it is named in its place, and nothing follows.
fn one_reading(zip: &mut ZipArchive<File>, file: &File, path: &Path) -> Result<(), Error> {
    let bad = |found: String| Error::Tampered {
        at: 0,
        place: format!("bundle {}", path.display()),
        expected: "a zip that can be read in one way only".into(),
        found,
    };
    let mut entries = Vec::new();
    for number in 0..zip.len() {
        let entry = zip.by_index(number).map_err(|e| bad(e.to_string()))?;
        let data = entry
            .data_start()
            .ok_or_else(|| bad("a file without a place".into()))?;
        let end = data.checked_add(entry.compressed_size());
        let end = end.ok_or_else(|| bad("a file without an end".into()))?;
        // What may stand behind a file whose header was written before its length was known (4.3.9), in both widths.
        let mut wide = [b"PK\x07\x08".as_slice(), &entry.crc32().to_le_bytes()].concat();
        let mut narrow = wide.clone();
        for size in [entry.compressed_size(), entry.size()] {
            wide.extend(size.to_le_bytes());
            narrow.extend((size as u32).to_le_bytes());
        }
        let name = entry.name_raw().to_vec();
        entries.push((entry.header_start(), end, name, [wide, narrow]));
    }
    entries.sort();
    let mut at = 0;
    for (start, end, name, descriptors) in &entries {
        if *start != at {
            return Err(bad(format!("bytes {at} to {start} belong to no file")));
        }
        let mut header = vec![0; LOCAL_HEADER_LEN + name.len()];
        file.read_exact_at(&mut header, *start)
            .map_err(Error::io("read", path))?;
        let len = usize::from(u16::from_le_bytes([header[26], header[27]]));
        if len != name.len() || header[LOCAL_HEADER_LEN..] != name[..] {
            return Err(bad(format!("the file at byte {start} has two names")));
        }
        at = *end;
        if header[6] & 8 != 0 {
            let stands = |descriptor: &&Vec<u8>| {
                let mut found = vec![0; descriptor.len()];
                file.read_exact_at(&mut found, *end).is_ok() && found == **descriptor
            };
            let descriptor = descriptors.iter().find(stands);
            let descriptor = descriptor.ok_or_else(|| bad(format!("no lengths at byte {end}")))?;
            at += descriptor.len() as u64;
        }
    }
    if zip.offset() != 0 || zip.central_directory_start() != at {
        return Err(bad(format!(
            "no directory at byte {at}, where the files end"
        )));
    }
    let named: BTreeMap<&[u8], u64> = entries.iter().map(|e| (&e.2[..], e.0)).collect();
    directory(file, at, &named).map_err(bad)
}

/// Whether the directory at byte `at` names each file once, where it is, and the end of the zip follows, which counts them.
fn directory(file: &File, mut at: u64, files: &BTreeMap<&[u8], u64>) -> Result<(), String> {
    let len = file.metadata().map_err(|e| e.to_string())?.len();
    let bytes = |at: u64, len: usize| {
        let mut bytes = vec![0; len];
        let read = file.read_exact_at(&mut bytes, at);
        read.map(|()| bytes).map_err(|e| format!("byte {at}: {e}"))
    };
    let u16_at = |b: &[u8], i: usize| usize::from(u16::from_le_bytes([b[i], b[i + 1]]));
    let (first, mut left) = (at, files.clone());
    while !left.is_empty() {
        let head = bytes(at, DIRECTORY_HEADER_LEN)?;
        let (name_len, extra_len) = (u16_at(&head, 28), u16_at(&head, 30));
        let name = bytes(at + DIRECTORY_HEADER_LEN as u64, name_len)?;
        let start = left.remove(&name[..]);
        if !head.starts_with(b"PK\x01\x02") || start.is_none() {
            return Err(format!(
                "what stands in the directory at byte {at} is no file of it"
            ));
        }
        let extra = bytes(at + (DIRECTORY_HEADER_LEN + name_len) as u64, extra_len)?;
        // A second name, of an Info-ZIP Unicode Path field, would be another reader's.
        if extra_len > 0 && u16_at(&extra, 0) != ZIP64_FIELD {
            return Err(format!("a field at byte {at} that no bundle has"));
        }
        at += (DIRECTORY_HEADER_LEN + name_len + extra_len + u16_at(&head, 32)) as u64;
    }
    let directory_len = at - first;
    let mut end = bytes(at, 4)?;
    if end == b"PK\x06\x06" {
        at += (ZIP64_END_LEN + ZIP64_LOCATOR_LEN) as u64;
        end = bytes(at, 4)?;
    }
    if end != b"PK\x05\x06" || at + END_LEN as u64 != len {
        return Err(format!(
            "no end at byte {at}, behind a directory of {} files, or bytes behind it",
            files.len()
        ));
    }
    let end = bytes(at, END_LEN)?;
    let u32_at = |i: usize| u32::from_le_bytes([end[i], end[i + 1], end[i + 2], end[i + 3]]);
    let says = |found: u32, is: u64| found == u32::MAX || u64::from(found) == is;
    let counted = u16_at(&end, 8) == files.len() && u16_at(&end, 10) == files.len();
    match counted && says(u32_at(12), directory_len) && says(u32_at(16), first) {
        true => Ok(()),
        false => Err(format!(
            "an end that tells of another directory than that of {} files at byte {first}",
            files.len()
        )),
    }
}

/// The statement in an envelope, and who signed it.
fn opened(envelope: &[u8], trust: &Trust) -> Result<(Vec<u8>, Vec<String>), Error> {
    let bad = |why: String| Error::Text {
        what: "envelope",
        why,
    };
    let value = json::parse(envelope).map_err(bad)?;
    let object = Reader::new(&value).map_err(bad)?;
    if object.text("payloadType").map_err(bad)? != PAYLOAD_TYPE {
        return Err(bad(format!("its payload is not {PAYLOAD_TYPE}")));
    }
    let statement = from_base64(object.text("payload").map_err(bad)?)
        .ok_or_else(|| bad("its payload is not base64".into()))?;
    let message = pae(&statement);
    let mut signatures: Vec<Vec<u8>> = Vec::new();
    for line in object.list("signatures").map_err(bad)? {
        let line = Reader::new(line).map_err(bad)?;
        signatures.extend(from_base64(line.text("sig").map_err(bad)?));
    }
    let holds = |verifier: &&Verifier| {
        signatures
            .iter()
            .any(|bytes| verifier.evidence_holds(&message, bytes))
    };
    let signers: Vec<String> = trust
        .verifiers
        .iter()
        .filter(holds)
        .map(|verifier| verifier.name().to_owned())
        .collect();
    if signers.is_empty() {
        return Err(Error::Untrusted {
            why: format!(
                "none of its {} signatures is by an evidence key that counts",
                signatures.len()
            ),
        });
    }
    Ok((statement, signers))
}

/// Files and predicate of a statement.
fn subjects(statement: &[u8]) -> Result<(BTreeMap<String, Digest>, String), Error> {
    let bad = |why: String| Error::Text {
        what: "in-toto statement",
        why,
    };
    let value = json::parse(statement).map_err(bad)?;
    let object = Reader::new(&value).map_err(bad)?;
    let types = (
        object.text("_type").map_err(bad)?,
        object.text("predicateType").map_err(bad)?,
    );
    if types != (STATEMENT, PREDICATE) {
        return Err(bad(format!("its types are {} and {}", types.0, types.1)));
    }
    let mut files = BTreeMap::new();
    for subject in object.list("subject").map_err(bad)? {
        let subject = Reader::new(subject).map_err(bad)?;
        let name = subject.text("name").map_err(bad)?;
        let digest = Reader::new(subject.get("digest").map_err(bad)?).map_err(bad)?;
        let digest = digest.digest("sha256").map_err(bad)?;
        if !is_name(name) || files.insert(name.to_owned(), digest).is_some() {
            return Err(bad(format!("{name} is no name, or is given twice")));
        }
    }
    let predicate = object.get("predicate").map_err(bad)?.to_string();
    Ok((files, predicate))
}

/// A file's part, read as if it were a file.
struct Part {
    file: Arc<File>,
    start: u64,
    len: u64,
}

impl Input for Part {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        let end = at.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        std::os::unix::fs::FileExt::read_exact_at(&*self.file, buf, self.start + at)
    }
}
