//! A witness: remembers the last head of each tree, and cosigns only what continues it.

use crate::error::Error;
use crate::file;
use crate::json::{self, Reader, base64, digest_from_base64};
use crate::key::Key;
use crate::note::{Checkpoint, Note};
use crate::proof::{check, older, signers};
use crate::trust::Trust;
use aos_format::digest::Digest;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::Path;

/// What a witness is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The checkpoint: a signed note.
    pub checkpoint: &'a [u8],
    /// Proof that it continues the one last seen; not needed for the first of its tree, or the same again.
    pub proof: Option<&'a [u8]>,
    /// Keys of the logs that are witnessed.
    pub trust: &'a Trust,
    /// The witness's own key, Ed25519.
    pub key: &'a Key,
    /// When, in seconds since 1970.
    pub time: u64,
}

/// Cosigns a checkpoint, after remembering it in the file at `state`. Returns the note with the cosignature.
///
/// # Errors
/// [`Error::Fork`] for a smaller tree, another root of the same size, or one that is not shown to continue the last;
/// [`Error::Untrusted`], [`Error::Proof`] for its signatures; [`Error::Text`], [`Error::KeyUse`], [`Error::Io`]. Nothing is
/// remembered then.
pub fn witness(state: &Path, request: &Request<'_>) -> Result<String, Error> {
    let mut note = Note::parse(request.checkpoint)?;
    let checkpoint = Checkpoint::parse(&note.text)?;
    signers(Some(&note), request.trust)?;
    note.cosign(request.key, request.time)?;
    let folder = file::folder(state);
    let lock = OpenOptions::new()
        .read(true)
        .open(&folder)
        .map_err(Error::io("open", &folder))?;
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|errno| Error::io("lock", &folder)(errno.into()))?;
    let mut seen = read(state)?;
    if let Some(last) = seen.get(&checkpoint.origin) {
        continues(last, &checkpoint, request.proof)?;
    }
    let size = checkpoint.size;
    seen.insert(checkpoint.origin.clone(), (size, checkpoint.root));
    file::replace(state, &write(&seen), 0o600)?;
    Ok(note.encode())
}

fn continues(last: &(u64, Digest), new: &Checkpoint, proof: Option<&[u8]>) -> Result<(), Error> {
    let (size, root) = last;
    let fork = |why: String| Error::Fork {
        origin: new.origin.clone(),
        why,
    };
    if new.size < *size {
        return Err(fork(format!(
            "{} records, {size} were seen: rolled back",
            new.size
        )));
    }
    if new.size == *size {
        return match new.root == *root {
            true => Ok(()),
            false => Err(fork(format!(
                "root {} over {size} records, {root} was seen",
                new.root
            ))),
        };
    }
    let proof = proof.ok_or_else(|| {
        fork(format!(
            "nothing shows that {} records continue the {size} that were seen",
            new.size
        ))
    })?;
    let shown = check(proof, None).map_err(|error| fork(error.to_string()))?;
    let old = older(proof)?;
    let fits = (old.size, old.root) == (*size, *root)
        && (
            &shown.checkpoint.origin,
            shown.checkpoint.size,
            shown.checkpoint.root,
        ) == (&new.origin, new.size, new.root);
    match fits {
        true => Ok(()),
        false => Err(fork("the proof is of other checkpoints".into())),
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, (u64, Digest)>, Error> {
    if !path.try_exists().map_err(Error::io("open", path))? {
        return Ok(BTreeMap::new());
    }
    let bytes = file::read_text(path)?;
    let bad = |why: String| Error::Text {
        what: "witness state",
        why: format!("{}: {why}", path.display()),
    };
    let value: Value = json::parse(&bytes).map_err(bad)?;
    let object = Reader::new(&value).map_err(bad)?;
    if object.text("schema").map_err(bad)? != "aos.witness.v1" {
        return Err(bad("its schema is not aos.witness.v1".into()));
    }
    let trees = object.get("trees").map_err(bad)?;
    let trees = trees.as_object().ok_or_else(|| bad("no trees".into()))?;
    let mut seen = BTreeMap::new();
    for (origin, head) in trees {
        let head = Reader::new(head).map_err(bad)?;
        let root = digest_from_base64(head.text("root").map_err(bad)?)
            .ok_or_else(|| bad("a root that is none".into()))?;
        seen.insert(origin.clone(), (head.number("size").map_err(bad)?, root));
    }
    Ok(seen)
}

fn write(seen: &BTreeMap<String, (u64, Digest)>) -> Vec<u8> {
    let trees: serde_json::Map<String, Value> = seen
        .iter()
        .map(|(origin, (size, root))| {
            let head = json!({"size": size, "root": base64(&root.0)});
            (origin.clone(), head)
        })
        .collect();
    let mut bytes = json::canonical(&json!({"schema": "aos.witness.v1", "trees": trees}));
    bytes.push(b'\n');
    bytes
}
