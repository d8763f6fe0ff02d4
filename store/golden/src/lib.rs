//! Golden archives: sealed, signed, provable.
//!
//! An archive is one immutable file that carries frames of a log verbatim, a Merkle tree over them, a manifest and
//! signatures (`docs/format/golden.md` draws it). [`seal()`] makes one from a log, [`verify()`] says whether it still is what
//! was sealed and who vouches for that, and [`Archive`] reads it as a [`aos_store::Source`], so that whatever works on a log
//! works on it. Which keys count is said by the verifier's [`Trust`], never by the archive. This crate never changes a log,
//! never reads a clock or a random source, and never knows what a workflow is.
#![forbid(unsafe_code)]

mod archive;
mod block;
mod container;
mod cut;
mod error;
mod evidence;
mod file;
mod json;
mod key;
mod lifecycle;
mod manifest;
mod note;
mod pool;
mod proof;
mod prune;
mod redact;
mod resign;
mod scan;
mod seal;
mod seals;
mod trust;
mod verify;
mod witness;

pub use archive::Archive;
pub use container::{Container, Header, Input, NoteBlock};
pub use error::{Error, ErrorKind};
pub use evidence::{Evidence, Piece, pack_evidence, verify_evidence};
pub use file::{KeySource, read_secret, replace_key, write_new};
pub use key::{Algorithm, Key, KeyId, Purpose};
pub use lifecycle::{
    Cleaned, Item, Packed, Status, Unfinished, check_pack, cleanup, index as pack_index, is_pack,
    pack, restore, status,
};
pub use manifest::{DefinitionEntry, Manifest, RunEntry};
pub use note::{Checkpoint, Note, Signature};
pub use proof::{Shown, check, checkpoint, prove, prove_consistency};
pub use prune::{PruneOptions, prove_log, prune};
pub use redact::{Cut, Redacted, redact};
pub use resign::resign;
pub use seal::{SealOptions, Sealed, Selection, seal};
pub use trust::{Trust, Verifier};
pub use verify::{
    AnchorState, Finding, SignatureReport, SignatureState, Verdict, Verification, VerifyOptions,
    verify,
};
pub use witness::{Request as WitnessRequest, witness};
