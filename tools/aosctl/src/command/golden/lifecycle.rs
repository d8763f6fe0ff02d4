//! `golden status`, `archive`, `cleanup`, `restore`, and packs in `golden verify`

use super::args::{Cleanup, Folder, Pack, Restore};
use super::failed;
use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::output::{Cell, Object, Output, talk};
use aos_engine::clock::Clock;
use aos_golden::{Cleaned, Status};
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Days that growth is measured and projected over.
const GROWTH_DAYS: u64 = 30;

fn now_s() -> u64 {
    u64::try_from(Clock::wall_ns() / 1_000_000_000).unwrap_or_default()
}

fn names(paths: &[PathBuf]) -> Cell {
    Cell::List(
        paths
            .iter()
            .map(|path| path.display().to_string().into())
            .collect(),
    )
}

/// Says what a directory holds and how it grows.
///
/// # Errors
/// A directory or pack that cannot be read.
pub fn status(args: &Folder, out: &mut Output) -> Result<Exit, Failure> {
    let status = aos_golden::status(&args.dir, now_s()).map_err(failed(&args.dir))?;
    let exit = unseen(&status);
    if out.form() == Form::Table {
        let rows: Vec<Object> = status
            .archives
            .iter()
            .map(|item| {
                Object::new()
                    .with("archive", item.path.display().to_string())
                    .with("bytes", item.bytes)
                    .with("days", item.age_s / 86_400)
                    .with("held", item.held)
                    .with(
                        "pack",
                        item.pack.as_ref().map(|pack| pack.display().to_string()),
                    )
            })
            .collect();
        out.table(&rows, "no archives (*.golden) here")?;
    }
    let old = status
        .archives
        .iter()
        .filter(|item| item.is_older_than(args.days));
    for file in &status.unfinished {
        let what = match (file.alive, file.is_left_over()) {
            (true, _) => "a process is writing it",
            (false, true) => "what wrote it is gone; aosctl golden cleanup removes it",
            (false, false) => {
                "nobody holds it; aosctl golden cleanup removes it a day after it was last written to"
            }
        };
        talk(&format!(
            "half-written: {}, {} bytes: {what}",
            failure::shown(&file.path),
            file.bytes
        ));
    }
    let growth = status.bytes_a_day(GROWTH_DAYS);
    let report = Object::new()
        .with("schema", "aos.golden.status.v1")
        .with("archives", status.archives.len())
        .with("packs", status.packs.len())
        .with("bytes", status.bytes())
        .with("older", old.clone().count())
        .with(
            "older_unpacked",
            old.filter(|item| item.pack.is_none()).count(),
        )
        .with(
            "held",
            status.archives.iter().filter(|item| item.held).count(),
        )
        .with("half_written", status.unfinished.len())
        .with("bytes_a_day", growth)
        .with("bytes_in_30_days", status.bytes() + growth * GROWTH_DAYS);
    out.object(&report)?;
    Ok(exit)
}

/// Names what could not be looked at. That not all was seen is told by the exit code where it may be an archive or a pack.
fn unseen(status: &Status) -> Exit {
    let mut exit = Exit::Yes;
    for (path, why) in &status.unseen {
        talk(&format!("not looked at: {}: {why}", failure::shown(path)));
        let archive = path.extension().is_some_and(|ext| ext == "golden");
        if archive || aos_golden::is_pack(path) {
            exit = Exit::Undecided;
        }
    }
    exit
}

/// Packs what is old; the archives stay until they are cleaned up.
///
/// # Errors
/// An archive that is not whole.
pub fn archive(args: &Pack, out: &mut Output) -> Result<Exit, Failure> {
    let dir = &args.folder.dir;
    let fail = failed(dir);
    let status = aos_golden::status(dir, now_s()).map_err(&fail)?;
    let exit = unseen(&status);
    let old: Vec<PathBuf> = status
        .archives
        .into_iter()
        .filter(|item| item.is_older_than(args.folder.days) && item.pack.is_none())
        .map(|item| item.path)
        .collect();
    let pack = match args.dry_run || old.is_empty() {
        true => None,
        false => Some(aos_golden::pack(dir, &old, host::cores()).map_err(&fail)?),
    };
    let report = Object::new()
        .with("schema", "aos.golden.archive.v1")
        .with("pack", pack.map(|pack| pack.display().to_string()))
        .with("archives", names(&old))
        .with("dry_run", args.dry_run);
    out.object(&report)?;
    Ok(exit)
}

/// Deletes what packs hold.
///
/// # Errors
/// A pack that is damaged; nobody to confirm.
pub fn cleanup(args: &Cleanup, out: &mut Output) -> Result<Exit, Failure> {
    let dir = &args.folder.dir;
    let clean = |dry_run| {
        aos_golden::cleanup(dir, now_s(), args.folder.days, &args.hold, dry_run)
            .map_err(failed(dir))
    };
    let mut cleaned = clean(true)?;
    let count = cleaned.deleted.len() + cleaned.left_over.len();
    if !args.dry_run && count > 0 {
        if !args.force {
            confirm(&cleaned)?;
        }
        cleaned = clean(false)?;
    }
    let kept: Vec<Cell> = cleaned
        .kept
        .iter()
        .map(|(path, why)| {
            Object::new()
                .with("archive", path.display().to_string())
                .with("why", *why)
                .into()
        })
        .collect();
    let report = Object::new()
        .with("schema", "aos.golden.cleanup.v1")
        .with("deleted", names(&cleaned.deleted))
        .with("left_over", names(&cleaned.left_over))
        .with("bytes", cleaned.bytes)
        .with("kept", Cell::List(kept))
        .with("dry_run", args.dry_run);
    out.object(&report)?;
    Ok(Exit::Yes)
}

/// Asks on a terminal; elsewhere nobody can answer.
fn confirm(cleaned: &Cleaned) -> Result<(), Failure> {
    let what = match cleaned.left_over.len() {
        0 => format!("{} archives", cleaned.deleted.len()),
        left => format!(
            "{} archives and {left} half-written files",
            cleaned.deleted.len()
        ),
    };
    let refused = |message: &str| {
        Failure::new("AOS-G013", Exit::Refused, message)
            .place(what.clone())
            .next("--dry-run shows them; --force deletes without asking")
    };
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(refused(
            "nobody is there to confirm that archives are deleted",
        ));
    }
    talk(&format!(
        "delete {what}? Packs hold the archives. yes or no"
    ));
    // A prompt that cannot be shown is answered by nobody.
    let _shown = std::io::stderr().flush();
    let mut answer = String::new();
    match stdin.lock().read_line(&mut answer) {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        _ => Err(refused("not confirmed")),
    }
}

/// Brings archives back out of a pack, each proven.
///
/// # Errors
/// A pack or archive that is not what was packed.
pub fn restore(args: &Restore, out: &mut Output) -> Result<Exit, Failure> {
    let restored =
        aos_golden::restore(&args.pack, &args.names, &args.out).map_err(failed(&args.pack))?;
    let report = Object::new()
        .with("schema", "aos.golden.restore.v1")
        .with("pack", args.pack.display().to_string())
        .with("restored", names(&restored))
        .with(
            "proven",
            "digest, structure and root of each are what was packed",
        );
    out.object(&report)?;
    Ok(Exit::Yes)
}

/// Checks a pack without unpacking it.
///
/// # Errors
/// What is wrong with it.
pub fn check(path: &Path, out: &mut Output) -> Result<Exit, Failure> {
    let files = match aos_golden::check_pack(path) {
        Ok(files) => files,
        Err(error) => return Err(failed(path)(error)),
    };
    let report = Object::new()
        .with("schema", "aos.golden.pack.v1")
        .with("file", path.display().to_string())
        .with("verdict", "whole")
        .with("archives", files.len())
        .with("bytes", files.iter().map(|file| file.bytes).sum::<u64>());
    out.object(&report)?;
    talk(&format!(
        "the files are those of its index; to judge one: aosctl golden restore {}",
        failure::argument(path)
    ));
    Ok(Exit::Yes)
}
