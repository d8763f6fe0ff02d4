//! `golden checkpoint`, `prove`, `consistency`, `check-proof`, and `witness`

use super::args::{CheckProof, Consistency, Prove, Show, Witness};
use super::{failed, key, read, trust};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::logs;
use crate::output::{Cell, Object, Output, talk};
use aos_engine::clock::Clock;
use aos_format::offset::Offset;
use aos_golden::{Archive, Container, Trust, WitnessRequest};

/// Prints the head of an archive.
///
/// # Errors
/// A file that is no archive.
pub fn checkpoint(args: &Show, out: &mut Output) -> Result<Exit, Failure> {
    let fail = failed(&args.file);
    let container = Container::open(&args.file).map_err(&fail)?;
    let text = aos_golden::checkpoint(&container).map_err(&fail)?;
    out.raw(text.as_bytes())?;
    if container.notes.is_empty() {
        talk("nobody signed the archive: this checkpoint is bare");
    }
    Ok(Exit::Yes)
}

/// Prints a proof that an event is in an archive.
///
/// # Errors
/// No such event; an archive without signatures.
pub fn prove(args: &Prove, out: &mut Output) -> Result<Exit, Failure> {
    let fail = failed(&args.file);
    let archive = Archive::open(&args.file).map_err(&fail)?;
    let proof = aos_golden::prove(&archive, Offset(args.event)).map_err(&fail)?;
    out.raw(proof.as_bytes())?;
    Ok(Exit::Yes)
}

/// Prints a proof that an archive continues an older checkpoint.
///
/// # Errors
/// It does not.
pub fn consistency(args: &Consistency, out: &mut Output) -> Result<Exit, Failure> {
    let old = read(&args.from)?;
    let proof = match (&args.log, &args.files[..]) {
        (Some(log), files) => {
            let key = args.key.as_ref().map(key).transpose()?;
            let archives = files
                .iter()
                .map(|file| super::checked(file))
                .collect::<Result<Vec<_>, _>>()?;
            let reader = logs::reader(log)?;
            aos_golden::prove_log(&archives, &reader, &old, key.as_ref()).map_err(failed(log))?
        }
        (None, [file]) => {
            let fail = failed(file);
            let container = Container::open(file).map_err(&fail)?;
            aos_golden::prove_consistency(&container, &old).map_err(&fail)?
        }
        (None, _) => {
            let why = "one archive is needed, or --log with those that hold what was pruned of it";
            return Err(Failure::new(failure::USAGE, Exit::Usage, why));
        }
    };
    out.raw(proof.as_bytes())?;
    Ok(Exit::Yes)
}

/// Checks a proof.
///
/// # Errors
/// It does not hold, or nobody who counts signed its checkpoint.
pub fn check_proof(args: &CheckProof, out: &mut Output) -> Result<Exit, Failure> {
    let trust = trust(&args.trusting)?;
    let shown =
        aos_golden::check(&read(&args.proof)?, trust.as_ref()).map_err(failed(&args.proof))?;
    let stream = shown.stream.map(|stream| {
        format!(
            "{} {}",
            stream.kind.name(),
            aos_format::digest::hex(&stream.id)
        )
    });
    let signers: Vec<Cell> = shown
        .signers
        .iter()
        .map(|name| name.as_str().into())
        .collect();
    let report = Object::new()
        .with("schema", "aos.golden.proof.v1")
        .with("holds", true)
        .with("origin", shown.checkpoint.origin.as_str())
        .with("size", shown.checkpoint.size)
        .with("root", shown.checkpoint.root.hex())
        .with("index", shown.index)
        .with("offset", shown.offset.map(|offset| offset.0))
        .with("kind", shown.kind)
        .with("stream", stream)
        .with(
            "history_digest",
            shown.history_digest.map(|digest| digest.hex()),
        )
        .with("old_size", shown.old_size)
        .with("signers", Cell::List(signers));
    out.object(&report)?;
    match trust {
        Some(_) => Ok(Exit::Yes),
        None => {
            talk(
                "the proof fits its checkpoint; who signed that was not checked: give --trust or --key",
            );
            Ok(Exit::Refused)
        }
    }
}

/// Cosigns a checkpoint that continues what the witness has seen.
///
/// # Errors
/// A fork, a rollback, or a signature that does not count.
pub fn witness(args: &Witness, out: &mut Output) -> Result<Exit, Failure> {
    let trust = Trust::read(&args.trust).map_err(failed(&args.trust))?;
    let key = key(&args.key)?;
    let checkpoint = read(&args.checkpoint)?;
    let proof = args.proof.as_deref().map(read).transpose()?;
    let request = WitnessRequest {
        checkpoint: &checkpoint,
        proof: proof.as_deref(),
        trust: &trust,
        key: &key,
        time: u64::try_from(Clock::wall_ns() / 1_000_000_000).unwrap_or_default(),
    };
    let note = aos_golden::witness(&args.state, &request).map_err(failed(&args.checkpoint))?;
    out.raw(note.as_bytes())?;
    Ok(Exit::Yes)
}
