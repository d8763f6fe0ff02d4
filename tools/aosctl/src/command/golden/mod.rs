//! `aosctl golden` and `aosctl witness`

pub mod args;
mod lifecycle;
mod proofs;
mod seal;
mod verify;

use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::input;
use crate::output::{Output, talk};
use aos_golden::{
    Archive, Container, Error, ErrorKind, Key, KeySource, Manifest, Trust, Verifier, VerifyOptions,
};
use args::{Golden, Trusting};
use std::path::Path;

/// Longest checkpoint or proof read.
const TEXT_BYTES_MAX: u64 = 4 << 20;

pub use proofs::witness;
pub use verify::{exit, report};

/// Does what the command line says.
///
/// # Errors
/// What kept it from being done.
pub fn golden(command: &Golden, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Golden::Seal(args) => seal::seal(args, out),
        Golden::Verify(args) => verify::verify(args, out),
        Golden::Show(args) => seal::show(args, out),
        Golden::Resign(args) => seal::resign(args, out),
        Golden::Redact(args) => seal::redact(args, out),
        Golden::Checkpoint(args) => proofs::checkpoint(args, out),
        Golden::Prove(args) => proofs::prove(args, out),
        Golden::Consistency(args) => proofs::consistency(args, out),
        Golden::CheckProof(args) => proofs::check_proof(args, out),
        Golden::Status(args) => lifecycle::status(args, out),
        Golden::Archive(args) => lifecycle::archive(args, out),
        Golden::Cleanup(args) => lifecycle::cleanup(args, out),
        Golden::Restore(args) => lifecycle::restore(args, out),
    }
}

/// An archive to read records from, verified whole before anything is said of them.
///
/// # Errors
/// The first thing that is wrong with it; those of reading it.
pub fn checked(path: &Path) -> Result<Archive, Failure> {
    let fail = failed(path);
    let options = VerifyOptions {
        workers: host::cores(),
        ..VerifyOptions::default()
    };
    let found = aos_golden::verify(Container::open(path), &options).map_err(&fail)?;
    if let Some(finding) = found.findings.into_iter().next() {
        return Err(fail(finding.error));
    }
    talk("the archive agrees with itself; who vouches for it: aosctl golden verify --trust");
    Archive::open(path).map_err(&fail)
}

/// What an error on an archive, key or proof means to the caller.
pub fn failed(path: &Path) -> impl Fn(Error) -> Failure + '_ {
    move |error| {
        let name = failure::argument(path);
        let exit = match error.kind() {
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Damaged => Exit::Damaged,
            ErrorKind::Refused => Exit::Refused,
            ErrorKind::Incomplete | ErrorKind::Unsupported => Exit::Undecided,
            ErrorKind::Invalid => Exit::Usage,
            _ => Exit::Environment,
        };
        let next = match &error {
            Error::UnsafeKeyFile { path, why } if why.contains("mode") => {
                format!("chmod 600 {}", failure::argument(path))
            }
            Error::UnsafeKeyFile { path, .. } | Error::Exists { path } => {
                format!("ls -l {}", failure::argument(path))
            }
            Error::Io { .. } => format!("ls -ld {name}"),
            Error::Corrupt { .. } | Error::Tampered { .. } => {
                format!("aosctl golden verify {name}")
            }
            error => format!("aosctl explain {}", error.code()),
        };
        let place = match &error {
            Error::Corrupt { at, .. } | Error::Tampered { at, .. } => {
                format!("{}, byte {at}", failure::shown(path))
            }
            _ => failure::shown(path),
        };
        Failure::new(error.code(), exit, error.to_string())
            .place(place)
            .next(next)
    }
}

/// Where a key comes from, in messages.
pub fn shown(source: &KeySource) -> String {
    match source {
        KeySource::File(path) => path.display().to_string(),
        KeySource::Stdin => "standard input".into(),
        KeySource::Descriptor(number) => format!("fd:{number}"),
    }
}

/// Reads a key.
///
/// # Errors
/// An unsafe file, or bytes that are no key.
pub fn key(source: &KeySource) -> Result<Key, Failure> {
    let name = shown(source);
    let fail = failed(Path::new(&name));
    let bytes = aos_golden::read_secret(source).map_err(&fail)?;
    Key::from_file(&bytes, &name).map_err(&fail)
}

/// Which keys count; `None` when the command line names none.
///
/// # Errors
/// Those of reading them.
pub fn trust(args: &Trusting) -> Result<Option<Trust>, Failure> {
    if let Some(path) = &args.trust {
        return Trust::read(path).map(Some).map_err(failed(path));
    }
    match &args.key {
        Some(source) => Ok(Some(Trust::of(vec![Verifier::of_key(&key(source)?)]))),
        None => Ok(None),
    }
}

/// The manifest of an archive, unjudged.
///
/// # Errors
/// A file that is no archive.
pub fn manifest(path: &Path) -> Result<(Container, Manifest), Failure> {
    let container = Container::open(path).map_err(failed(path))?;
    let manifest = Manifest::decode(&container.manifest).map_err(failed(path))?;
    Ok((container, manifest))
}

/// Reads a checkpoint, a proof or another small file whole.
///
/// # Errors
/// When it cannot be read, or has more than 4 MiB.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    input::read(path, TEXT_BYTES_MAX)
}
