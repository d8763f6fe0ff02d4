//! `golden seal`, `show`, `resign`, `redact`

use super::args::{Redact, Resign, Seal, Show};
use super::{failed, key, manifest};
use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::output::{Cell, Object, Output, talk};
use crate::{host, logs};
use aos_format::offset::Offset;
use aos_golden::{Archive, Cut, Key, Manifest, SealOptions, Selection, Verifier};
use aos_store::{LogReader, Source};
use std::collections::BTreeSet;

/// Seals what is chosen of a log.
///
/// # Errors
/// A selection that holds nothing, a damaged log, a file that is there already.
pub fn seal(args: &Seal, out: &mut Output) -> Result<Exit, Failure> {
    let keys = args.key.iter().map(key).collect::<Result<Vec<Key>, _>>()?;
    let reader = logs::reader(&args.log)?;
    if let Some(text) = &args.sealed_at {
        text.parse::<jiff::Timestamp>().map_err(|error| {
            Failure::new(
                failure::USAGE,
                Exit::Usage,
                format!("--sealed-at {text}: {error}"),
            )
        })?;
    }
    let options = SealOptions {
        selection: selection(args, &reader)?,
        keys: &keys,
        compress: args.zstd,
        seeds: args.with_seeds,
        build: concat!("aosctl ", env!("CARGO_PKG_VERSION")),
        sealed_at: args.sealed_at.as_deref(),
        workers: args.workers.map_or_else(host::cores, usize::from),
    };
    let sealed = aos_golden::seal(&reader, &args.out, &options).map_err(failed(&args.out))?;
    let report = Object::new()
        .with("schema", "aos.golden.seal.v1")
        .with("file", sealed.path.display().to_string())
        .with("bytes", sealed.bytes)
        .and(summary(&sealed.manifest));
    out.object(&report)?;
    if keys.is_empty() {
        talk("nobody signed it: it can show accidents, not tampering; sign with --key");
    }
    Ok(Exit::Yes)
}

fn selection(args: &Seal, reader: &LogReader) -> Result<Selection, Failure> {
    if args.all {
        return Ok(Selection::All);
    }
    if !args.segments.is_empty() {
        return Ok(Selection::Segments(
            args.segments.iter().copied().map(Offset).collect(),
        ));
    }
    let index = reader.index().map_err(failure::store(&args.log))?;
    let mut runs = BTreeSet::new();
    for name in &args.runs {
        runs.insert(logs::find(&args.log, index.rows.runs.values(), name)?.run);
    }
    Ok(Selection::Runs(runs))
}

/// What a manifest says, in one object.
pub fn summary(manifest: &Manifest) -> Object {
    Object::new()
        .with("origin", manifest.origin.as_str())
        .with("selection", manifest.selection.as_str())
        .with("size", manifest.size)
        .with("root", manifest.root.hex())
        .with("runs", manifest.runs.len())
        .with("digest", manifest.digest.hex())
        .with(
            "seeds",
            if manifest.seeds {
                "included"
            } else {
                "withheld"
            },
        )
}

/// Shows the manifest of an archive and its runs.
///
/// # Errors
/// A file that is no archive.
pub fn show(args: &Show, out: &mut Output) -> Result<Exit, Failure> {
    let (container, manifest) = manifest(&args.file)?;
    if out.form() == Form::Table {
        out.object(&summary(&manifest))?;
        let rows: Vec<Object> = manifest
            .runs
            .iter()
            .map(|run| {
                Object::new()
                    .with("run", run.run.to_string())
                    .with("workflow", format!("{}/{}", run.namespace, run.name))
                    .with("key", run.key.as_str())
                    .with("status", run.status.as_str())
                    .with("events", run.events)
                    .with("history_digest", run.history_digest.hex())
            })
            .collect();
        out.table(&rows, "no run is carried whole")?;
    } else {
        let text = String::from_utf8_lossy(&container.manifest).into_owned();
        out.line(&text)?;
    }
    talk("not judged; to judge it: aosctl golden verify");
    Ok(Exit::Yes)
}

/// Signs an archive again.
///
/// # Errors
/// An archive that is not valid by the old key.
pub fn resign(args: &Resign, out: &mut Output) -> Result<Exit, Failure> {
    let (old, new) = (key(&args.old_key)?, key(&args.new_key)?);
    let verifier = Verifier::of_key(&old);
    let number = aos_golden::resign(&args.file, &verifier, &new, &args.reason, host::cores())
        .map_err(failed(&args.file))?;
    let report = Object::new()
        .with("schema", "aos.golden.resign.v1")
        .with("file", args.file.display().to_string())
        .with("note", number)
        .with("key", new.name())
        .with("key_id", new.id().to_string())
        .with("reason", args.reason.as_str());
    out.object(&report)?;
    Ok(Exit::Yes)
}

/// Writes an archive without chosen values.
///
/// # Errors
/// Nothing is chosen, or the archive cannot be read.
pub fn redact(args: &Redact, out: &mut Output) -> Result<Exit, Failure> {
    let fail = failed(&args.file);
    let archive = Archive::open(&args.file).map_err(&fail)?;
    let index = archive.index().map_err(failure::store(&args.file))?;
    let run = logs::find(&args.file, index.rows.runs.values(), &args.run)?.run;
    drop(archive);
    let slot = args.path.as_deref().map(|path| {
        let name = path.strip_prefix('$').unwrap_or(path);
        name.strip_prefix('.').unwrap_or(name).to_owned()
    });
    let cut = Cut {
        run,
        step: args.step.clone(),
        slot,
    };
    let done = aos_golden::redact(&args.file, &args.out, &[cut]).map_err(&fail)?;
    let still: Vec<Cell> = done
        .still_in
        .iter()
        .map(|(offset, field)| {
            Object::new()
                .with("offset", offset.0)
                .with("field", *field)
                .into()
        })
        .collect();
    if !still.is_empty() {
        talk(&format!(
            "{} other values of the run still contain the bytes of what was cut off: see still_in",
            still.len()
        ));
    }
    let report = Object::new()
        .with("schema", "aos.golden.redact.v1")
        .with("file", args.out.display().to_string())
        .with("run", run.to_string())
        .with("values", done.values)
        .with("records", done.records)
        .with("seeds", done.seeds)
        .with("still_in", Cell::List(still));
    out.object(&report)?;
    Ok(Exit::Yes)
}
