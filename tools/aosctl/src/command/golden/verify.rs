//! `golden verify`

use super::args::Verify;
use super::{failed, read, trust};
use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::output::{Cell, Object, Output, printable, talk};
use aos_golden::{AnchorState, Container, Finding, Verdict, Verification, VerifyOptions};
use std::path::Path;

/// Findings that are shown on a terminal.
const SHOWN_MAX: usize = 20;

/// Verifies archives; the worst verdict decides the exit code.
///
/// # Errors
/// What kept it from a verdict.
pub fn verify(args: &Verify, out: &mut Output) -> Result<Exit, Failure> {
    let trust = trust(&args.trusting)?;
    let anchor = args.anchor.as_deref().map(read).transpose()?;
    let options = VerifyOptions {
        trust: trust.as_ref(),
        anchor: anchor.as_deref(),
        workers: args.workers.map_or_else(host::cores, usize::from),
    };
    let mut worst = Exit::Yes;
    for file in &args.files {
        if aos_golden::is_pack(file) {
            worst = worst.worst(super::lifecycle::check(file, out)?);
            if trust.is_some() || anchor.is_some() {
                // Whether a pack is whole says nothing about who vouches for what is in it.
                let name = failure::argument(file);
                talk(&format!(
                    "keys and anchors judge archives, not packs: aosctl golden restore {name}, then verify them"
                ));
                worst = worst.worst(Exit::Undecided);
            }
            continue;
        }
        let found = aos_golden::verify(Container::open(file), &options).map_err(failed(file))?;
        match out.form() {
            Form::Table => table(file, &found, out)?,
            Form::Json | Form::Jsonl => out.object(&report(file, &found))?,
        }
        say(file, &found, trust.is_some());
        worst = worst.worst(exit(found.verdict));
    }
    Ok(worst)
}

/// What a verdict says by the exit code.
pub fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Valid => Exit::Yes,
        Verdict::Incomplete => Exit::Undecided,
        Verdict::Untrusted => Exit::Refused,
        Verdict::Corrupt | Verdict::Tampered => Exit::Damaged,
    }
}

/// What could not be checked, in words.
fn say(file: &Path, found: &Verification, trusting: bool) {
    let name = failure::argument(file);
    if !trusting {
        talk(&format!(
            "no trust file: nobody vouches for {name}, only accidents can be excluded; give --trust or --key"
        ));
    }
    match &found.anchor {
        AnchorState::NotGiven => talk(
            "truncation and rollback were not checked: no anchor; keep what `aosctl golden checkpoint` prints elsewhere and give it as --anchor",
        ),
        AnchorState::Behind { size } => talk(&format!(
            "the anchor covers {size} records, {name} has fewer: rolled back, truncated, or an older archive"
        )),
        AnchorState::Foreign { origin } => {
            talk(&format!(
                "the anchor is of {origin}: it says nothing about {name}"
            ));
        }
        AnchorState::Holds { .. } | AnchorState::Fork { .. } => {}
    }
}

fn anchor(state: &AnchorState) -> &'static str {
    match state {
        AnchorState::NotGiven => "not_given",
        AnchorState::Holds { .. } => "holds",
        AnchorState::Fork { .. } => "fork",
        AnchorState::Behind { .. } => "behind",
        AnchorState::Foreign { .. } => "foreign",
    }
}

/// The object of `golden verify`.
pub fn report(file: &Path, found: &Verification) -> Object {
    let signatures: Vec<Cell> = found
        .signatures
        .iter()
        .map(|line| {
            Object::new()
                .with("note", line.note)
                .with("name", line.name.as_str())
                .with("key_hash", aos_format::digest::hex(&line.key_hash))
                .with("algorithm", line.algorithm)
                .with("state", line.state.name())
                .with("reason", line.reason.clone())
                .into()
        })
        .collect();
    let findings: Vec<Cell> = found.findings.iter().map(|f| finding(f).into()).collect();
    let manifest = found.manifest.as_ref();
    Object::new()
        .with("schema", "aos.golden.verify.v1")
        .with("file", file.display().to_string())
        .with("verdict", found.verdict.name())
        .with("origin", manifest.map(|m| m.origin.clone()))
        .with("size", manifest.map(|m| m.size))
        .with("root", manifest.map(|m| m.root.hex()))
        .with("runs", manifest.map(|m| m.runs.len()))
        .with("digest", manifest.map(|m| m.digest.hex()))
        .with("redacted", found.redacted)
        .with("seals", found.seals)
        .with("seals_beyond", found.seals_beyond)
        .with("good_records", found.good_records)
        .with("good_through", found.good_through.map(|offset| offset.0))
        .with("signatures", Cell::List(signatures))
        .with("anchor", anchor(&found.anchor))
        .with("bytes", found.bytes)
        .with("findings", Cell::List(findings))
        .with("finding_count", found.finding_count)
}

fn finding(finding: &Finding) -> Object {
    Object::new()
        .with("code", finding.error.code())
        .with("record", finding.record)
        .with("offset", finding.offset.map(|offset| offset.0))
        .with("message", finding.error.to_string())
}

fn meaning(found: &Verification) -> &'static str {
    match found.verdict {
        Verdict::Valid => "it is what was sealed, and keys that count vouch for it",
        Verdict::Incomplete => "what is there holds, but it is not what the anchor tells of",
        Verdict::Untrusted => "it agrees with itself, but no key that counts vouches for it",
        Verdict::Corrupt => "bytes are damaged",
        Verdict::Tampered => "it was changed after it was sealed",
    }
}

fn table(file: &Path, found: &Verification, out: &mut Output) -> Result<(), Failure> {
    out.line(&format!(
        "{}: {}: {}",
        failure::shown(file),
        found.verdict.name(),
        meaning(found)
    ))?;
    let last = found.good_through.map_or(String::new(), |offset| {
        format!(", the last at offset {offset}")
    });
    let mut object = Object::new();
    if let Some(manifest) = &found.manifest {
        object = object.and(super::seal::summary(manifest));
    }
    let object = object
        .with(
            "proven",
            format!("{} records from the first on{last}", found.good_records),
        )
        .with("redacted", format!("{} values", found.redacted))
        .with(
            "seals",
            format!(
                "{} of the log's own agree with their ranges, {} are of ranges not carried",
                found.seals, found.seals_beyond
            ),
        )
        .with("anchor", anchor(&found.anchor));
    out.object(&object)?;
    for line in &found.signatures {
        let reason = line
            .reason
            .as_ref()
            .map_or(String::new(), |r| format!(" ({r})"));
        out.line(&printable(&format!(
            "signature {} of {}: {}{reason}",
            line.note,
            line.name,
            line.state.name()
        )))?;
    }
    for finding in found.findings.iter().take(SHOWN_MAX) {
        out.line("")?;
        let said = format!("{} {}", finding.error.code(), finding.error);
        out.line(&printable(&said))?;
        out.line(&format!("  try  aosctl explain {}", finding.error.code()))?;
    }
    if found.finding_count > SHOWN_MAX as u64 {
        talk(&format!(
            "{} findings; -o json shows more",
            found.finding_count
        ));
    }
    Ok(())
}
