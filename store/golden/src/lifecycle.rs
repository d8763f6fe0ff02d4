//! A directory of archives over the years: what is there, packing what is old, and never deleting a last copy.
//!
//! ```text
//! DIR/NAME.golden            an archive            DIR/NAME.golden.hold   keeps it from being deleted
//! DIR/pack-HEX.tar.zst       a pack: tar, zstd; its first file is index.json, HEX is half of that file's SHA-256; at its end
//!                            is a skippable frame of zstd with the SHA-256 of all bytes before
//! ```

use crate::container::{Container, MAGIC};
use crate::error::Error;
use crate::file::{NewFile, is_unfinished};
use crate::json::{self, Reader};
use crate::manifest::Manifest;
use crate::verify::{VerifyOptions, verify};
use aos_format::digest::{Digest, hex};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const INDEX: &str = "index.json";
/// Longest index read.
const INDEX_LEN_MAX: u64 = 64 << 20;
/// Longest name of an archive in a pack.
const NAME_LEN_MAX: u64 = 4096;
/// How the frame with a pack's digest begins: a skippable frame of zstd with 32 bytes.
const DIGEST_FRAME: [u8; 8] = [0x50, 0x2a, 0x4d, 0x18, 32, 0, 0, 0];

/// An archive in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// Since it was written, in seconds.
    pub age_s: u64,
    /// Whether somebody put a hold on it.
    pub held: bool,
    /// The pack that holds a copy, when one does.
    pub pack: Option<PathBuf>,
}

impl Item {
    /// Whether it was written at least so many days ago.
    pub fn is_older_than(&self, days: u64) -> bool {
        self.age_s / 86_400 >= days
    }
}

/// An archive or pack that was being written, and perhaps still is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfinished {
    /// Its file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// Since something was written to it, in seconds.
    pub age_s: u64,
    /// Whether a process has it open for writing now.
    pub alive: bool,
}

impl Unfinished {
    /// So long nobody may write before it counts as left over, in seconds: a day.
    pub const AGE_S: u64 = 86_400;

    /// Whether whoever wrote it is gone: nobody holds it, and nothing was written for a day.
    pub fn is_left_over(&self) -> bool {
        !self.alive && self.age_s >= Unfinished::AGE_S
    }

    fn of(path: PathBuf, meta: &std::fs::Metadata, now_s: u64) -> Result<Unfinished, Error> {
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let written = u64::try_from(meta.mtime()).unwrap_or_default();
        Ok(Unfinished {
            bytes: meta.len(),
            age_s: now_s.saturating_sub(written),
            alive: matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
            path,
        })
    }
}

/// What a directory holds.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Status {
    /// Archives, by name.
    pub archives: Vec<Item>,
    /// Packs, by name, with their lengths.
    pub packs: Vec<(PathBuf, u64)>,
    /// What was being written when somebody was killed, or is being written now.
    pub unfinished: Vec<Unfinished>,
    /// What could not be looked at, such as links that lead nowhere, and why.
    pub unseen: Vec<(PathBuf, String)>,
}

impl Status {
    /// Bytes of archives and packs.
    pub fn bytes(&self) -> u64 {
        let archives: u64 = self.archives.iter().map(|item| item.bytes).sum();
        archives + self.packs.iter().map(|(_, bytes)| bytes).sum::<u64>()
    }

    /// Bytes of archives that were written within the last `days`, for each day: what the next days will take if they go on
    /// like this.
    pub fn bytes_a_day(&self, days: u64) -> u64 {
        let recent = self.archives.iter().filter(|i| !i.is_older_than(days));
        recent.map(|item| item.bytes).sum::<u64>() / days.max(1)
    }
}

/// One archive in a pack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packed {
    /// Name of its file.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Root of its tree.
    pub root: Digest,
}

/// Looks through a directory; `now_s` is the time in seconds since 1970.
///
/// # Errors
/// [`Error::Io`]; those of reading a pack's index.
pub fn status(folder: &Path, now_s: u64) -> Result<Status, Error> {
    let mut status = Status::default();
    let mut packed = BTreeMap::new();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        names.push(entry.map_err(Error::io("list", folder))?.path());
    }
    names.sort();
    for path in names {
        let meta = match std::fs::metadata(&path) {
            Ok(meta) => meta,
            Err(error) => {
                status.unseen.push((path, error.to_string()));
                continue;
            }
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".golden") && meta.is_file() {
            let written = u64::try_from(meta.mtime()).unwrap_or_default();
            status.archives.push(Item {
                held: hold(&path).exists(),
                bytes: meta.len(),
                age_s: now_s.saturating_sub(written),
                pack: None,
                path,
            });
        } else if is_pack(&path) && meta.is_file() {
            for file in index(&path)? {
                packed.insert(file.name.clone(), (path.clone(), file));
            }
            status.packs.push((path, meta.len()));
        } else if is_unfinished(&name) && meta.is_file() {
            match Unfinished::of(path.clone(), &meta, now_s) {
                Ok(found) => status.unfinished.push(found),
                Err(error) => status.unseen.push((path.clone(), error.to_string())),
            }
        }
    }
    for item in &mut status.archives {
        let name = item.path.file_name().unwrap_or_default().to_string_lossy();
        if let Some((pack, file)) = packed.get(&*name)
            && file.bytes == item.bytes
        {
            item.pack = Some(pack.clone());
        }
    }
    Ok(status)
}

/// The file that keeps an archive from being deleted.
fn hold(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".hold");
    PathBuf::from(name)
}

/// Whether a file is a pack, by its name.
pub fn is_pack(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("pack-") && name.ends_with(".tar.zst")
}

/// Packs archives into a new file in `folder`. The archives stay; [`cleanup`] deletes them. Returns the pack.
///
/// # Errors
/// The first finding of an archive that is damaged or tampered with; [`Error::Selection`] for none;
/// [`Error::Exists`], [`Error::Io`].
pub fn pack(folder: &Path, archives: &[PathBuf], workers: usize) -> Result<PathBuf, Error> {
    if archives.is_empty() {
        return Err(Error::Selection {
            why: "no archive to pack".into(),
        });
    }
    let mut files = Vec::new();
    for path in archives {
        files.push(described(path, workers)?);
    }
    let index = encode(&files);
    let name = format!("pack-{}.tar.zst", &Digest::of(&index).hex()[..32]);
    let target = folder.join(name);
    let mut file = NewFile::create(&target)?;
    write_pack(&mut file, &index, archives, &files).map_err(Error::io("write", &target))?;
    file.finish(&target, 0o444)?;
    // Before anybody relies on it.
    check_pack(&target)?;
    Ok(target)
}

fn write_pack(
    file: &mut NewFile,
    index: &[u8],
    archives: &[PathBuf],
    files: &[Packed],
) -> io::Result<()> {
    let mut hashed = Hashed {
        to: file,
        hasher: Sha256::new(),
    };
    let mut encoder = zstd::Encoder::new(&mut hashed, 3)?;
    encoder.include_checksum(true)?;
    let mut tar = tar::Builder::new(encoder);
    let header = |bytes: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o444);
        header
    };
    tar.append_data(&mut header(index.len() as u64), INDEX, index)?;
    for (path, packed) in archives.iter().zip(files) {
        let content = File::open(path)?;
        tar.append_data(
            &mut header(packed.bytes),
            &packed.name,
            content.take(packed.bytes),
        )?;
    }
    tar.into_inner()?.finish()?;
    let Hashed { mut to, hasher } = hashed;
    to.write_all(&DIGEST_FRAME)?;
    to.write_all(&hasher.finalize())
}

/// Hashes what is written.
struct Hashed<'a> {
    to: &'a mut NewFile,
    hasher: Sha256,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = Write::write(&mut self.to, bytes)?;
        self.hasher.update(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Write::flush(&mut self.to)
    }
}

/// What the index says of an archive, which must be whole.
fn described(path: &Path, workers: usize) -> Result<Packed, Error> {
    let options = VerifyOptions {
        workers,
        ..VerifyOptions::default()
    };
    let found = verify(Container::open(path), &options)?;
    if let Some(finding) = found.findings.into_iter().next() {
        return Err(finding.error);
    }
    let manifest = Manifest::decode(&Container::open(path)?.manifest)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let (sha256, bytes) = hash(&mut file).map_err(Error::io("read", path))?;
    Ok(Packed {
        name: name.into_owned(),
        bytes,
        sha256,
        root: manifest.root,
    })
}

fn hash(from: &mut dyn Read) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 256 << 10]);
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            return Ok((Digest(hasher.finalize().into()), bytes));
        }
        hasher.update(&buffer[..len]);
        bytes += len as u64;
    }
}

fn encode(files: &[Packed]) -> Vec<u8> {
    let files: Vec<Value> = files
        .iter()
        .map(|file| {
            json!({
                "name": file.name,
                "bytes": file.bytes,
                "sha256": file.sha256.hex(),
                "root": file.root.hex(),
            })
        })
        .collect();
    json::canonical(&json!({"schema": "aos.goldpack.v1", "files": files}))
}

fn bad(path: &Path, expected: &str, found: impl Into<String>) -> Error {
    Error::Corrupt {
        at: 0,
        place: format!("pack {}", path.display()),
        expected: expected.into(),
        found: found.into(),
    }
}

type Stream = zstd::Decoder<'static, io::BufReader<File>>;

fn open(path: &Path) -> Result<tar::Archive<Stream>, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let decoder = zstd::Decoder::new(file).map_err(|e| bad(path, "zstd", e.to_string()))?;
    Ok(tar::Archive::new(decoder))
}

/// A file of a pack, and its name.
type Entry<'a> = (String, tar::Entry<'a, Stream>);

/// The next file. Long names are read here: the `tar` crate would take one of any length into memory.
fn next<'a>(
    path: &Path,
    entries: &mut impl Iterator<Item = io::Result<tar::Entry<'a, Stream>>>,
) -> Result<Option<Entry<'a>>, Error> {
    let damaged = |error: io::Error| bad(path, "a tar file", error.to_string());
    let mut long = None;
    loop {
        let Some(entry) = entries.next() else {
            return match long {
                None => Ok(None),
                Some(_) => Err(bad(path, "the file of a long name", "the end of the pack")),
            };
        };
        let mut entry = entry.map_err(damaged)?;
        if !entry.header().entry_type().is_gnu_longname() {
            let name = match long {
                Some(name) => name,
                None => entry.path_bytes().into_owned(),
            };
            return Ok(Some((String::from_utf8_lossy(&name).into_owned(), entry)));
        }
        if entry.size() > NAME_LEN_MAX || long.is_some() {
            let found = format!("one of {} bytes", entry.size());
            return Err(bad(path, "the name of an archive", found));
        }
        let mut name = Vec::new();
        entry.read_to_end(&mut name).map_err(damaged)?;
        while name.last() == Some(&0) {
            name.pop();
        }
        long = Some(name);
    }
}

/// Goes through the files of a pack in order, the index left out: `each` gets what the index says and the content.
fn through(
    path: &Path,
    mut each: impl FnMut(&Packed, &mut dyn Read) -> Result<(), Error>,
) -> Result<Vec<Packed>, Error> {
    bytes_are_whole(path)?;
    let mut tar = open(path)?;
    let damaged = |error: io::Error| bad(path, "a tar file", error.to_string());
    let mut entries = tar.entries().map_err(damaged)?.raw(true);
    let first = next(path, &mut entries)?;
    let (_, mut first) = first.ok_or_else(|| bad(path, "an index", "nothing"))?;
    let files = read_index(path, &mut first)?;
    drop(first);
    let mut expected = files.iter();
    while let Some((name, mut entry)) = next(path, &mut entries)? {
        let packed = expected
            .next()
            .ok_or_else(|| bad(path, "the files of its index", "more"))?;
        let regular = entry.header().entry_type().is_file();
        if name != packed.name || entry.size() != packed.bytes || !regular {
            return Err(bad(path, &packed.name, name));
        }
        each(packed, &mut entry)?;
    }
    if let Some(missing) = expected.next() {
        return Err(bad(path, &missing.name, "the end of the pack"));
    }
    nothing_follows(path, tar.into_inner())?;
    Ok(files)
}

/// Whether a pack's bytes have the digest at its end. Not every change of them changes what is unpacked.
fn bytes_are_whole(path: &Path) -> Result<(), Error> {
    let read = |error: io::Error| bad(path, "its bytes", error.to_string());
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let len = file.metadata().map_err(read)?.len();
    let frame = DIGEST_FRAME.len() as u64 + 32;
    let before = len.checked_sub(frame);
    let before = before.ok_or_else(|| bad(path, "a pack", "too few bytes"))?;
    let (digest, _) = hash(&mut (&mut file).take(before)).map_err(read)?;
    let mut end = Vec::new();
    file.take(frame).read_to_end(&mut end).map_err(read)?;
    match end.strip_prefix(&DIGEST_FRAME) {
        Some(expected) if expected == digest.0 => Ok(()),
        Some(expected) => Err(bad(
            path,
            &format!("bytes of the digest {}", hex(expected)),
            digest.hex(),
        )),
        None => Err(bad(path, "a digest at its end", "other bytes")),
    }
}

/// Reads a pack to its end, where its checksum is: behind a tar are zeros.
fn nothing_follows(path: &Path, mut rest: impl Read) -> Result<(), Error> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = rest.read(&mut buffer);
        match read.map_err(|error| bad(path, "the end of the pack", error.to_string()))? {
            0 => return Ok(()),
            len if buffer[..len].iter().any(|byte| *byte != 0) => {
                return Err(bad(path, "zeros behind the last file", "other bytes"));
            }
            _ => {}
        }
    }
}

fn read_index(path: &Path, entry: &mut dyn Read) -> Result<Vec<Packed>, Error> {
    let mut bytes = Vec::new();
    entry
        .take(INDEX_LEN_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| bad(path, "an index", error.to_string()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name != format!("pack-{}.tar.zst", &Digest::of(&bytes).hex()[..32]) {
        return Err(bad(path, "an index with the digest in its name", "another"));
    }
    let wrong = |why: String| bad(path, "an index", why);
    let value: Value = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
    let object = Reader::new(&value).map_err(wrong)?;
    let mut files = Vec::new();
    for file in object.list("files").map_err(wrong)? {
        let file = Reader::new(file).map_err(wrong)?;
        let name = file.text("name").map_err(wrong)?;
        if name.contains('/') || name.starts_with('.') || !name.ends_with(".golden") {
            return Err(wrong(format!("{name} is no name of an archive")));
        }
        files.push(Packed {
            name: name.into(),
            bytes: file.number("bytes").map_err(wrong)?,
            sha256: file.digest("sha256").map_err(wrong)?,
            root: file.digest("root").map_err(wrong)?,
        });
    }
    Ok(files)
}

/// The index of a pack; nothing behind it is read.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Io`].
pub fn index(path: &Path) -> Result<Vec<Packed>, Error> {
    let mut tar = open(path)?;
    let damaged = |error: io::Error| bad(path, "a tar file", error.to_string());
    let mut entries = tar.entries().map_err(damaged)?.raw(true);
    let first = next(path, &mut entries)?;
    let (_, mut first) = first.ok_or_else(|| bad(path, "an index", "nothing"))?;
    read_index(path, &mut first)
}

/// Checks every file in a pack against its index, in one pass and without writing anything.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Io`].
pub fn check_pack(path: &Path) -> Result<Vec<Packed>, Error> {
    through(path, |packed, content| {
        let (sha256, bytes) = hash(content).map_err(|e| bad(path, "a file", e.to_string()))?;
        match (sha256, bytes) == (packed.sha256, packed.bytes) {
            true => Ok(()),
            false => Err(bad(
                path,
                &format!("{} with SHA-256 {}", packed.name, packed.sha256),
                format!("{bytes} bytes with {sha256}"),
            )),
        }
    })
}

/// Unpacks the archives of a pack, or the ones in `names`, into `folder`, and proves each: its digest is the index's, it
/// verifies, and it has the root that was packed. Returns their paths.
///
/// # Errors
/// [`Error::Corrupt`], the first finding of an archive; [`Error::NoRecord`] for a name the pack does not hold;
/// [`Error::Exists`], [`Error::Io`].
pub fn restore(pack: &Path, names: &[String], folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let held = index(pack)?;
    if let Some(name) = names
        .iter()
        .find(|name| !held.iter().any(|file| file.name == **name))
    {
        return Err(Error::NoRecord {
            what: format!("file {name} in {}", pack.display()),
        });
    }
    let mut proven = Vec::new();
    through(pack, |packed, content| {
        if !names.is_empty() && !names.contains(&packed.name) {
            return Ok(());
        }
        let path = folder.join(&packed.name);
        let mut file = NewFile::create(&path)?;
        let (sha256, bytes) = copy(pack, content, &mut file)?;
        if (sha256, bytes) != (packed.sha256, packed.bytes) {
            return Err(bad(pack, &packed.name, "other bytes"));
        }
        // Judged where it lies, before it has its name.
        let found = verify(Container::open(file.path()), &VerifyOptions::default())?;
        if let Some(finding) = found.findings.into_iter().next() {
            return Err(finding.error);
        }
        if found.manifest.map(|manifest| manifest.root) != Some(packed.root) {
            return Err(bad(pack, "the root that was packed", "another"));
        }
        proven.push((file, path));
        Ok(())
    })?;
    // The pack is whole to its end.
    let named = proven.into_iter().map(|(file, path)| {
        file.finish(&path, 0o444)?;
        Ok(path)
    });
    named.collect()
}

/// Writes a file out of a pack and hashes it, a piece at a time.
fn copy(pack: &Path, from: &mut dyn Read, to: &mut NewFile) -> Result<(Digest, u64), Error> {
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 256 << 10]);
    loop {
        let read = from.read(&mut buffer);
        let len = read.map_err(|error| bad(pack, "a file", error.to_string()))?;
        if len == 0 {
            return Ok((Digest(hasher.finalize().into()), bytes));
        }
        if bytes == 0 && !buffer.starts_with(MAGIC) {
            return Err(bad(pack, "an archive", "a file that begins otherwise"));
        }
        hasher.update(&buffer[..len]);
        to.write(&buffer[..len])?;
        bytes += len as u64;
    }
}

/// What cleaning up deletes, or would.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Cleaned {
    /// Deleted, or to be deleted.
    pub deleted: Vec<PathBuf>,
    /// Old enough, but kept, and why.
    pub kept: Vec<(PathBuf, &'static str)>,
    /// Half-written files of processes that are gone, deleted or to be deleted.
    pub left_over: Vec<PathBuf>,
    /// Bytes of what is deleted.
    pub bytes: u64,
}

/// Deletes archives older than `days` that a pack beside them holds byte for byte. Whatever is on hold, by a file beside it or
/// by its name in `holds`, and whatever is the last copy, stays. Half-written files go when [`Unfinished::is_left_over`]. With
/// `dry_run` nothing is deleted.
///
/// # Errors
/// Those of [`status`], [`check_pack`]; [`Error::Io`].
pub fn cleanup(
    folder: &Path,
    now_s: u64,
    days: u64,
    holds: &[String],
    dry_run: bool,
) -> Result<Cleaned, Error> {
    let mut cleaned = Cleaned::default();
    let mut checked: BTreeMap<PathBuf, Vec<Packed>> = BTreeMap::new();
    let Status {
        archives,
        unfinished,
        ..
    } = status(folder, now_s)?;
    let is_missing = |hold: &&String| {
        let names = archives.iter().map(|item| item.path.file_name());
        !names.flatten().any(|name| name == hold.as_str())
    };
    if let Some(unknown) = holds.iter().find(is_missing) {
        return Err(Error::NoRecord {
            what: format!(
                "archive called {unknown} to hold; give the file name of one in the directory"
            ),
        });
    }
    for file in unfinished.into_iter().filter(Unfinished::is_left_over) {
        if !dry_run {
            std::fs::remove_file(&file.path).map_err(Error::io("remove", &file.path))?;
        }
        cleaned.bytes += file.bytes;
        cleaned.left_over.push(file.path);
    }
    for item in archives {
        if !item.is_older_than(days) {
            continue;
        }
        let name = item
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if item.held || holds.contains(&name) {
            cleaned.kept.push((item.path, "it is on hold"));
            continue;
        }
        let Some(pack) = item.pack else {
            cleaned.kept.push((item.path, "it is the last copy"));
            continue;
        };
        if !checked.contains_key(&pack) {
            checked.insert(pack.clone(), check_pack(&pack)?);
        }
        let mut file = File::open(&item.path).map_err(Error::io("open", &item.path))?;
        let (sha256, _) = hash(&mut file).map_err(Error::io("read", &item.path))?;
        let same = |packed: &Packed| packed.name == name && packed.sha256 == sha256;
        if !checked[&pack].iter().any(same) {
            cleaned
                .kept
                .push((item.path, "the packed copy is another one"));
            continue;
        }
        if !dry_run {
            std::fs::remove_file(&item.path).map_err(Error::io("remove", &item.path))?;
        }
        cleaned.bytes += item.bytes;
        cleaned.deleted.push(item.path);
    }
    Ok(cleaned)
}
