//! `aosctl log backup` and `aosctl log restore`

use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::output::{Object, Output, talk};
use aos_disk::RealDisk;
use aos_format::offset::Offset;
use aos_store::{Error, TailState};
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `log backup`
#[derive(Args, Debug)]
#[command(after_help = "\
Copies everything below the durable offset and nothing else; the report names it. The same command
again copies what is new. What was copied is read again before it counts.

  aosctl log backup orders.aos --out /mnt/safe/orders.backup
  aosctl log restore /mnt/safe/orders.backup --log again.aos --upto 65536")]
pub struct Backup {
    /// Log; somebody may be writing it
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Directory of the backup; made when it is missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Read again what earlier backups copied, too
    #[arg(long)]
    pub all: bool,
}

/// `log restore`
#[derive(Args, Debug)]
pub struct Restore {
    /// Directory of the backup
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Log to make; nothing may be there
    #[arg(long, value_name = "LOG")]
    pub log: PathBuf,
    /// Only the groups that end at or below this offset
    #[arg(long, value_name = "OFFSET")]
    pub upto: Option<u64>,
}

/// Brings a backup up to where the log is durable.
///
/// # Errors
/// Those of [`aos_store::backup`].
pub fn backup(args: &Backup, out: &mut Output) -> Result<Exit, Failure> {
    if resolved(&args.out).starts_with(resolved(&args.log)) {
        let fault = aos_store::BackupFault::InTheWay {
            path: args.out.clone(),
            what: "it lies inside the log".into(),
        };
        return Err(failed(fault.into(), &args.log, &args.out));
    }
    let report = aos_store::backup(Arc::new(RealDisk), &args.log, &args.out, args.all)
        .map_err(|error| failed(error, &args.log, &args.out))?;
    let tail = match &report.tail {
        TailState::Clean => "clean",
        TailState::Torn { .. } => "torn",
        _ => "unproven",
    };
    let object = Object::new()
        .with("schema", "aos.backup-report.v1")
        .with("log", args.log.display().to_string())
        .with("log_id", report.identity.log_id.to_string())
        .with("backup", args.out.display().to_string())
        .with("from_offset", report.from.0)
        .with("end_offset", report.end.0)
        .with("group", report.group)
        .with("epoch", report.epoch)
        .with("copied", report.copied)
        .with("checked", report.checked)
        .with("bytes", report.bytes)
        .with("parts", report.parts)
        .with("manifest_sha256", report.digest.hex())
        .with("log_tail", tail);
    out.object(&object)?;
    if let Some(finding) = report.tail.finding() {
        talk(&format!(
            "the log's tail is {tail} and not in the backup: {finding}"
        ));
    }
    Ok(Exit::Yes)
}

/// A path without links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        let there = if ancestor.as_os_str().is_empty() {
            Path::new(".")
        } else {
            ancestor
        };
        if let Ok(real) = there.canonicalize() {
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return real.join(rest);
        }
    }
    path.to_owned()
}

/// Makes a log from a backup.
///
/// # Errors
/// Those of [`aos_store::restore`].
pub fn restore(args: &Restore, out: &mut Output) -> Result<Exit, Failure> {
    let upto = args.upto.map(Offset);
    let report = aos_store::restore(Arc::new(RealDisk), &args.dir, &args.log, upto)
        .map_err(|error| failed(error, &args.log, &args.dir))?;
    let object = Object::new()
        .with("schema", "aos.restore-report.v1")
        .with("backup", args.dir.display().to_string())
        .with("backup_end_offset", report.backup_end.0)
        .with("log", args.log.display().to_string())
        .with("log_id", report.identity.log_id.to_string())
        .with("end_offset", report.end.0)
        .with("group", report.group)
        .with("epoch", report.epoch)
        .with("bytes", report.bytes)
        .with("segments", report.segments);
    out.object(&object)?;
    let name = failure::argument(&args.log);
    talk(&format!(
        "restored; it is the same log as the one backed up: write only one of them on. To check it: aosctl replay {name}"
    ));
    Ok(Exit::Yes)
}

/// What a failure of the backup at `dir` means; anything that is not about the backup is about the log.
fn failed(error: Error, log: &Path, dir: &Path) -> Failure {
    use aos_store::BackupFault as Fault;
    let (name, safe) = (failure::argument(log), failure::argument(dir));
    let (code, message) = (error.code(), error.to_string());
    let Error::Backup(fault) = error else {
        return failure::store(log)(error);
    };
    let (exit, next) = match *fault {
        Fault::Damaged { .. } => (
            Exit::Damaged,
            format!("another backup; the log itself: aosctl log fsck {name}"),
        ),
        Fault::OtherHistory { .. } => (
            Exit::Refused,
            format!("aosctl log backup {name} --out with another directory"),
        ),
        Fault::InTheWay { .. } => (Exit::Refused, "another, empty place".into()),
        Fault::Missing { .. } => (Exit::NotFound, format!("ls -l {safe}")),
        Fault::Beyond { .. } => (
            Exit::NotFound,
            format!("aosctl log restore {safe} --log {name}, without --upto"),
        ),
        _ => (
            Exit::Undecided,
            "aosctl --version; use the version that made the backup, or a newer one".into(),
        ),
    };
    Failure::new(code, exit, message)
        .place(failure::shown(dir))
        .next(next)
}
