//! `aosctl log salvage`, and what `log fsck --repair` says

use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::output::{Cell, Object, Output, talk};
use crate::{host, logs};
use aos_disk::RealDisk;
use aos_format::digest::LogId;
use aos_replay::{Integrity, verify};
use aos_store::{Fate, Lost, RepairReport, SalvageReport, StreamFound};
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Lost ranges and runs that are shown in a table; the report beside the new log has all of them.
const SHOWN_MAX: usize = 20;

/// `log salvage`
#[derive(Args, Debug)]
#[command(after_help = "\
The damaged log is only read. The new one has the beginning of every run as far as it chains, byte
for byte; NEW/recovered/salvage.frames has every other valid frame, NEW/recovered/salvage.txt the
account. A run that may have gone on elsewhere is marked and cannot be resumed.

  aosctl log salvage broken.aos --out saved.aos")]
pub struct Salvage {
    /// Damaged log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Log to make; nothing may be there
    #[arg(long, value_name = "NEW")]
    pub out: PathBuf,
}

/// Makes a new log with all that a damaged one still holds, and checks it.
///
/// # Errors
/// Those of [`aos_store::salvage`].
pub fn salvage(args: &Salvage, out: &mut Output) -> Result<Exit, Failure> {
    let report = aos_store::salvage(
        Arc::new(RealDisk),
        &args.log,
        &args.out,
        &logs::opening(LogId([0; 16])),
    )
    .map_err(failure::store(&args.log))?;
    let reader = logs::reader(&args.out)?;
    let verified = verify(&reader, host::cores()).map_err(failure::replay(&args.out))?;
    let object = Object::new()
        .with("schema", "aos.salvage-report.v1")
        .with("log", args.log.display().to_string())
        .with("log_id", report.identity.log_id.to_string())
        .with("new_log", args.out.display().to_string())
        .with("whole", report.is_whole())
        .with("new_integrity", verified.integrity.name())
        .with("runs", report.runs().count())
        .with("runs_whole", report.count(Fate::Whole))
        .with("runs_end_unproven", report.count(Fate::EndUnproven))
        .with("runs_gap", report.count(Fate::Gap))
        .with("digest_of_whole", report.digest_of_whole().hex())
        .with("records_kept", report.kept)
        .with("records_renewed", report.renewed)
        .with("records_unproven", report.unproven)
        .with("records_stale", report.stale)
        .with("frames_beside", report.frames)
        .with("frames_sha256", report.frames_sha256.hex())
        .with("lost_bytes", report.lost_bytes())
        .with("lost_ranges", report.lost.len())
        .with("end_offset", report.end.0)
        .with("new_end_offset", report.new_end.0)
        .with(
            "breaks",
            report.breaks.iter().map(|at| at.0).collect::<Vec<_>>(),
        )
        .with("strangers", report.strangers.clone());
    let runs = report.runs().filter(|(_, found)| found.fate != Fate::Whole);
    if out.form() == Form::Table {
        out.object(&object)?;
        show(&report, out)?;
    } else {
        let runs: Vec<Object> = runs.map(|(_, found)| run(found)).collect();
        let lost: Vec<Object> = report.lost.iter().map(range).collect();
        out.object(&object.with("lost", lost).with("runs_not_whole", runs))?;
    }
    let name = failure::argument(&args.out);
    talk(&format!(
        "every valid frame is in {name} or in {name}/recovered/salvage.frames; the account: {name}/recovered/salvage.txt"
    ));
    // Integrity::Gap is what the marks say.
    let bad = matches!(
        verified.integrity,
        Integrity::Corrupt | Integrity::TailUnproven
    );
    Ok(match (bad, report.is_whole()) {
        (true, _) => Exit::Damaged,
        (false, true) => Exit::Yes,
        (false, false) => Exit::Undecided,
    })
}

fn show(report: &SalvageReport, out: &mut Output) -> Result<(), Failure> {
    let lost: Vec<Object> = report.lost.iter().take(SHOWN_MAX).map(range).collect();
    if !lost.is_empty() {
        out.line("")?;
        out.table(&lost, "nothing")?;
    }
    let runs = report.runs().filter(|(_, found)| found.fate != Fate::Whole);
    let runs: Vec<Object> = runs
        .take(SHOWN_MAX)
        .map(|(_, found)| {
            Object::new()
                .with("run", aos_format::digest::hex(&found.stream.id))
                .with("fate", found.fate.name())
                .with("found", found.found)
                .with("kept", found.kept)
                .with("pieces", found.pieces.len())
        })
        .collect();
    if !runs.is_empty() {
        out.line("")?;
        out.table(&runs, "nothing")?;
    }
    Ok(())
}

fn range(lost: &Lost) -> Object {
    Object::new()
        .with("lost_from", lost.start.0)
        .with("bytes", lost.len)
        .with("why", lost.why.as_str())
}

fn run(found: &StreamFound) -> Object {
    let pieces: Vec<Object> = found
        .pieces
        .iter()
        .map(|piece| {
            Object::new()
                .with("from_seq", piece.seq.0)
                .with("to_seq", piece.seq.1)
                .with("from_offset", piece.offset.0.0)
                .with("to_offset", piece.offset.1.0)
                .with("follows_digest", piece.previous.hex())
                .with("digest", piece.digest.hex())
                .with("why", piece.why)
        })
        .collect();
    Object::new()
        .with("run", aos_format::digest::hex(&found.stream.id))
        .with("fate", found.fate.name())
        .with("found", found.found)
        .with("kept", found.kept)
        .with("kept_digest", found.digest.hex())
        .with("pieces", pieces)
}

/// Repairs the log at `log` and says what was kept, cut and lost; nothing where there is no damage.
///
/// # Errors
/// Those of [`aos_store::repair`].
pub fn repair(log: &Path) -> Result<Option<Object>, Failure> {
    let report = aos_store::repair(Arc::new(RealDisk), log, &logs::opening(LogId([0; 16])))
        .map_err(failure::store(log))?;
    let Some(report) = report else {
        talk("nothing to repair: there is no damage that opening the log does not put right");
        return Ok(None);
    };
    let name = failure::argument(log);
    talk(&format!(
        "repaired {name}: kept everything below offset {}; {} valid records behind the damage are out of the log. The original bytes are in {name}/{}",
        report.end, report.cut_records, report.saved_in
    ));
    if report.cut_records > 0 {
        talk("to get them too: docs/recovery.md, \"After a repair\"");
    }
    Ok(Some(repaired(&report)))
}

fn repaired(report: &RepairReport) -> Object {
    let ranges = |ranges: &[(aos_format::offset::Offset, u64)]| -> Vec<Cell> {
        let pairs = ranges.iter().map(|(at, len)| Cell::from(vec![at.0, *len]));
        pairs.collect()
    };
    Object::new()
        .with("finding", report.finding.to_string())
        .with("kept", vec![0, report.end.0])
        .with("kept_group", report.group)
        .with("cut", ranges(&report.cut))
        .with("cut_records", report.cut_records)
        .with("lost", report.lost.iter().map(range).collect::<Vec<_>>())
        .with("cleaned", ranges(&report.cleaned))
        .with("saved_in", report.saved_in.as_str())
        .with("saved", report.saved.clone())
        .with("new_end_offset", report.new_end.0)
}
