//! `aosctl key`

use super::golden::{failed, key, shown};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::output::{Object, Output, talk};
use aos_golden::{Algorithm, Key, KeySource, Purpose, Verifier};
use clap::{Args, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};

/// `key`
#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Make a key
    New(New),
    /// List the keys in a directory
    Ls(Ls),
    /// Show a key, without its secret
    Show(One),
    /// Replace a key's secret by a new one; the old one is kept beside it, except across epochs
    Rotate(Rotate),
    /// Print a trust file for a key
    ExportPublic(One),
}

/// How a key signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Alg {
    // Whoever can verify can forge.
    HmacSha256,
    // Anybody can verify.
    Ed25519,
}

/// `key new`
#[derive(Args, Debug)]
pub struct New {
    /// File to make
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Name in signatures, such as example.org/gold; the file's name by default
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// How it signs: with hmac-sha256 whoever can verify can forge, with ed25519 anybody can verify
    #[arg(
        long,
        value_enum,
        default_value = "hmac-sha256",
        value_name = "ALGORITHM"
    )]
    pub alg: Alg,
    /// Let the secret step through epochs: whoever takes it cannot forge what earlier epochs signed
    #[arg(long)]
    pub forward_secure: bool,
}

/// `key ls`
#[derive(Args, Debug)]
pub struct Ls {
    /// Directory
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
}

/// A key.
#[derive(Args, Debug)]
pub struct One {
    /// Its file, fd:N, or - for standard input
    #[arg(value_name = "KEY")]
    pub key: KeySource,
}

/// `key rotate`
#[derive(Args, Debug)]
pub struct Rotate {
    /// Its file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Does what the command line says.
///
/// # Errors
/// What kept it from being done.
pub fn run(command: &KeyCommand, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        KeyCommand::New(args) => new(args, out),
        KeyCommand::Ls(args) => list(args, out),
        KeyCommand::Show(args) => {
            let key = key(&args.key)?;
            out.object(&object(&shown(&args.key), &key))?;
            Ok(Exit::Yes)
        }
        KeyCommand::Rotate(args) => rotate(args, out),
        KeyCommand::ExportPublic(args) => export_public(args, out),
    }
}

fn object(file: &str, key: &Key) -> Object {
    let vkey = |purpose| Verifier::for_purpose(key, purpose).vkey();
    Object::new()
        .with("file", file)
        .with("name", key.name())
        .with("algorithm", key.algorithm().name())
        .with("key_id", key.id().to_string())
        .with("generation", key.generation())
        .with("epoch", key.epoch())
        .with("archive", vkey(Purpose::Archive))
        .with("witness", vkey(Purpose::Witness))
}

fn new(args: &New, out: &mut Output) -> Result<Exit, Failure> {
    let fail = failed(&args.file);
    let stem = args.file.file_stem().unwrap_or_default().to_string_lossy();
    let name = args.name.as_deref().unwrap_or(&stem);
    let algorithm = match args.alg {
        Alg::HmacSha256 => Algorithm::HmacSha256,
        Alg::Ed25519 => Algorithm::Ed25519,
    };
    let secret = zeroize::Zeroizing::new(host::random()?);
    let key = Key::new(name, algorithm, args.forward_secure, secret).map_err(&fail)?;
    aos_golden::write_new(&args.file, &key.to_file(), 0o600).map_err(&fail)?;
    out.object(&object(&args.file.display().to_string(), &key))?;
    Ok(Exit::Yes)
}

fn list(args: &Ls, out: &mut Output) -> Result<Exit, Failure> {
    let entries =
        std::fs::read_dir(&args.dir).map_err(|error| failure::file("list", &args.dir, &error))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    paths.sort();
    let (mut rows, mut exit) = (Vec::new(), Exit::Yes);
    for path in paths.iter().filter(|path| is_key(path)) {
        match key(&KeySource::File(path.clone())) {
            Ok(key) => rows.push(object(&path.display().to_string(), &key)),
            Err(failure) => {
                failure.print();
                exit = exit.worst(failure.exit);
            }
        }
    }
    out.list(rows.into_iter(), "no key files (*.key) here")?;
    Ok(exit)
}

/// Key files are recognised by their names: `gold.key`, `gold.key.g1`.
fn is_key(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.split_once(".key") {
        Some((_, rest)) => rest.is_empty() || rest.starts_with(".g"),
        None => false,
    }
}

fn rotate(args: &Rotate, out: &mut Output) -> Result<Exit, Failure> {
    let fail = failed(&args.file);
    let old = key(&KeySource::File(args.file.clone()))?;
    let next = old.rotated(zeroize::Zeroizing::new(host::random()?));
    if old.epoch().is_none() {
        let mut kept = args.file.clone().into_os_string();
        kept.push(format!(".g{}", old.generation()));
        let kept = PathBuf::from(kept);
        aos_golden::write_new(&kept, &old.to_file(), 0o600).map_err(&fail)?;
        talk(&format!("the old key is kept as {}", kept.display()));
    }
    aos_golden::replace_key(&args.file, &next.to_file()).map_err(&fail)?;
    out.object(&object(&args.file.display().to_string(), &next))?;
    Ok(Exit::Yes)
}

fn export_public(args: &One, out: &mut Output) -> Result<Exit, Failure> {
    let key = key(&args.key)?;
    let entries: Vec<_> = [Purpose::Archive, Purpose::Witness, Purpose::Evidence]
        .into_iter()
        .filter_map(|purpose| Verifier::for_purpose(&key, purpose).entry())
        .map(|entry| entry.to_string())
        .collect();
    let entries = if entries.is_empty() {
        let KeySource::File(path) = &args.key else {
            let said = "the trust entry of an hmac-sha256 key names its file, which is not given";
            return Err(Failure::new(failure::USAGE, Exit::Usage, said)
                .next("aosctl key export-public FILE"));
        };
        talk("hmac-sha256 has no public part: whoever verifies needs the key file, and can forge");
        let file = Object::new()
            .with("algorithm", "hmac-sha256")
            .with("name", key.name())
            .with("key_file", path.display().to_string());
        vec![file.to_json()]
    } else {
        entries
    };
    out.line(&format!(
        "{{\"schema\":\"aos.trust.v1\",\"keys\":[{}]}}",
        entries.join(",")
    ))?;
    Ok(Exit::Yes)
}
