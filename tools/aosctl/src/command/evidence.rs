//! `aosctl evidence`

use super::golden::{args::Trusting, failed, key, trust};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::output::{Cell, Object, Output};
use aos_format::digest::Digest;
use aos_format::event::slot_of;
use aos_format::frame::Kind;
use aos_golden::{
    Archive, Container, KeySource, Piece, Purpose, Trust, Verdict, Verifier, VerifyOptions,
};
use aos_replay::Integrity;
use aos_store::Source;
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `evidence`
#[derive(Subcommand, Debug)]
pub enum Evidence {
    /// Pack archives, reports, workflows and public keys into one signed file
    Pack(Pack),
    /// Verify a bundle and the archives in it
    Verify(Verify),
}

/// `evidence pack`
#[derive(Args, Debug)]
pub struct Pack {
    /// Golden archives
    #[arg(value_name = "FILE", required = true)]
    pub archives: Vec<PathBuf>,
    /// Bundle to make
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Key to sign the bundle with: its file, fd:N, or - for standard input
    #[arg(long, value_name = "KEY")]
    pub key: KeySource,
    /// Trust file to verify the archives with; the key's own by default
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// Another file to put in; may be given several times
    #[arg(long, value_name = "FILE")]
    pub add: Vec<PathBuf>,
}

/// `evidence verify`
#[derive(Args, Debug)]
pub struct Verify {
    /// Bundle
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// Which keys count.
    #[command(flatten)]
    pub trusting: Trusting,
}

/// Does what the command line says.
///
/// # Errors
/// What kept it from being done.
pub fn run(command: &Evidence, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Evidence::Pack(args) => pack(args, out),
        Evidence::Verify(args) => verify(args, out),
    }
}

/// The verifiers of everything that a key signs.
fn all_of(key: &aos_golden::Key) -> Trust {
    let purposes = [Purpose::Archive, Purpose::Evidence];
    Trust::of(
        purposes
            .into_iter()
            .map(|purpose| Verifier::for_purpose(key, purpose))
            .collect(),
    )
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    name.chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect()
}

/// What a bundle holds, by name.
type Pieces = BTreeMap<String, Piece>;

/// Puts a file in, whose name must be free.
fn put(pieces: &mut Pieces, piece: String, content: Piece, path: &Path) -> Result<(), Failure> {
    if pieces.contains_key(&piece) {
        let message = format!("two files would be {piece} in the bundle");
        return Err(Failure::new(failure::USAGE, Exit::Usage, message)
            .place(failure::shown(path))
            .next("give one of them another name first"));
    }
    pieces.insert(piece, content);
    Ok(())
}

fn pack(args: &Pack, out: &mut Output) -> Result<Exit, Failure> {
    let key = key(&args.key)?;
    let trust = match &args.trust {
        Some(path) => Trust::read(path).map_err(failed(path))?,
        None => all_of(&key),
    };
    let mut pieces = Pieces::new();
    for path in &args.archives {
        let name = name_of(path);
        for (piece, bytes) in reports(path, &name, &trust)? {
            put(&mut pieces, piece, Piece::Bytes(bytes), path)?;
        }
        for (digest, source) in workflows(path)? {
            // Several archives may carry one document, and one document may have been written in several ways.
            let usual = format!("workflows/{digest}.yaml");
            let piece = match pieces.get(&usual) {
                Some(Piece::Bytes(there)) if *there == source => continue,
                Some(_) => format!("workflows/{digest}.{name}.yaml"),
                None => usual,
            };
            put(&mut pieces, piece, Piece::Bytes(source), path)?;
        }
        let content = Piece::File(path.clone());
        put(&mut pieces, format!("archives/{name}"), content, path)?;
    }
    for path in &args.add {
        let piece = format!("files/{}", name_of(path));
        put(&mut pieces, piece, Piece::File(path.clone()), path)?;
    }
    let public: Vec<String> = trust
        .verifiers
        .iter()
        .filter_map(|verifier| verifier.entry().map(|entry| entry.to_string()))
        .collect();
    let keys = format!(
        "{{\"schema\":\"aos.trust.v1\",\"keys\":[{}]}}\n",
        public.join(",")
    );
    pieces.insert("keys/public.json".into(), Piece::Bytes(keys.into_bytes()));
    // The arguments as they were given: keys stand in files, never in arguments.
    let command: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let predicate = Object::new()
        .with("build", concat!("aosctl ", env!("CARGO_PKG_VERSION")))
        .with("target", env!("AOS_TARGET"))
        .with("command", command)
        .with(
            "verify",
            "aosctl evidence verify BUNDLE --trust TRUST, with keys from elsewhere than this bundle",
        );
    let predicate = serde_json::from_str(&predicate.to_json()).unwrap_or_default();
    aos_golden::pack_evidence(&args.out, &pieces, &predicate, &key).map_err(failed(&args.out))?;
    let files: Vec<Cell> = pieces.keys().map(|name| name.as_str().into()).collect();
    let report = Object::new()
        .with("schema", "aos.evidence.pack.v1")
        .with("file", args.out.display().to_string())
        .with("key", key.name())
        .with("files", Cell::List(files));
    out.object(&report)?;
    Ok(Exit::Yes)
}

/// Reports about an archive.
fn reports(path: &Path, name: &str, trust: &Trust) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let fail = failed(path);
    let options = VerifyOptions {
        trust: Some(trust),
        anchor: None,
        workers: host::cores(),
    };
    let found = aos_golden::verify(Container::open(path), &options).map_err(&fail)?;
    if let Some(finding) = found.findings.first() {
        return Err(fail(finding.error.clone()));
    }
    let mut reports = vec![(
        format!("reports/{name}.verify.json"),
        super::golden::report(path, &found).to_json().into_bytes(),
    )];
    let archive = Archive::open(path).map_err(&fail)?;
    let options = aos_replay::Options {
        workers: host::cores(),
        ..aos_replay::Options::default()
    };
    let replayed = aos_replay::reexecute(&archive, Integrity::Intact, &options)
        .map_err(crate::failure::replay(path))?;
    reports.push((
        format!("reports/{name}.replay.json"),
        replayed.json(0.0).into_bytes(),
    ));
    Ok(reports)
}

/// The workflow documents in an archive, as they were written, by digest.
fn workflows(path: &Path) -> Result<Vec<(Digest, Vec<u8>)>, Failure> {
    let archive = Archive::open(path).map_err(failed(path))?;
    let slot = slot_of(Kind::Definition, "source").unwrap_or_default();
    let mut found = Vec::new();
    for entry in &archive.manifest().definitions {
        let record = archive
            .read(entry.offset)
            .map_err(crate::failure::store(path))?;
        if let Ok(source) = archive.value(&record, slot) {
            found.push((entry.digest, source));
        }
    }
    Ok(found)
}

fn verify(args: &Verify, out: &mut Output) -> Result<Exit, Failure> {
    let trust = match &args.trusting.key {
        Some(source) => Some(all_of(&key(source)?)),
        None => trust(&args.trusting)?,
    };
    let fail = failed(&args.bundle);
    let trust = trust.unwrap_or_else(|| Trust::of(Vec::new()));
    let found = aos_golden::verify_evidence(&args.bundle, &trust, host::cores()).map_err(&fail)?;
    let mut exit = Exit::Yes;
    let mut archives = Vec::new();
    for (name, verified) in &found.archives {
        exit = exit.worst(super::golden::exit(verified.verdict));
        let row = Object::new()
            .with("archive", name.as_str())
            .with("verdict", verified.verdict.name())
            .with(
                "size",
                verified.manifest.as_ref().map(|manifest| manifest.size),
            )
            .with("digest", verified.manifest.as_ref().map(|m| m.digest.hex()));
        archives.push(Cell::from(row));
    }
    let valid = found
        .archives
        .iter()
        .all(|(_, verified)| verified.verdict == Verdict::Valid);
    let signers: Vec<Cell> = found
        .signers
        .iter()
        .map(|name| name.as_str().into())
        .collect();
    let report = Object::new()
        .with("schema", "aos.evidence.verify.v1")
        .with("bundle", args.bundle.display().to_string())
        .with("verdict", if valid { "valid" } else { "not_valid" })
        .with("signers", Cell::List(signers))
        .with("files", found.files.len())
        .with("archives", Cell::List(archives))
        .with("statement", Cell::Json(found.predicate.clone()));
    out.object(&report)?;
    Ok(exit)
}
