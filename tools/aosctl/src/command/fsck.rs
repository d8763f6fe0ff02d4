//! `aosctl log fsck`

use crate::args::{Form, Fsck};
use crate::command::replay::lines;
use crate::command::salvage;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::output::{Object, Output, talk};
use crate::{host, logs};
use aos_disk::RealDisk;
use aos_replay::{Finding, FindingKind, verify};
use aos_store::{CatalogueCheck, check, rebuild_catalogue};
use std::sync::Arc;

/// Checks everything that can be checked without executing anything: frames, groups, links, histories, values and
/// checkpoints, and the catalogue against the log. Makes the catalogue again first when asked to.
///
/// # Errors
/// Those of opening the log; what is wrong with it is in the report and the exit code.
pub fn fsck(args: &Fsck, out: &mut Output) -> Result<Exit, Failure> {
    let failed = failure::store(&args.log);
    let repaired = match args.repair {
        true => salvage::repair(&args.log)?,
        false => None,
    };
    let mut rebuilt = None;
    if args.rebuild_catalog {
        let end = rebuild_catalogue(Arc::new(RealDisk), &args.log).map_err(&failed)?;
        rebuilt = Some(end.0);
    }
    let report = check(Arc::new(RealDisk), &args.log).map_err(&failed)?;
    let reader = logs::reader(&args.log)?;
    let verified = verify(&reader, host::cores()).map_err(failure::replay(&args.log))?;
    let mut findings: Vec<Finding> = report.findings.iter().map(Finding::from).collect();
    // Where both say something, the one that names run and step is kept.
    findings.retain(|known| {
        verified
            .findings
            .iter()
            .all(|finding| finding.offset != known.offset)
    });
    findings.extend(verified.findings);
    findings.sort_by_key(|finding| finding.offset);

    let (catalogue, catalogue_exit) = catalogue(&report.catalogue);
    let exit = findings
        .iter()
        .map(|finding| exit_of(finding.kind))
        .fold(catalogue_exit, Exit::worst);
    let summary = Object::new()
        .with("schema", "aos.fsck.v1")
        .with("log", args.log.display().to_string())
        .with("whole", exit == Exit::Yes)
        .with("integrity", verified.integrity.name())
        .with("segments", report.segments)
        .with("groups", report.groups)
        .with("records", report.records)
        .with("runs", report.rows.runs.len())
        .with("bytes", report.bytes)
        .with("end_offset", report.tail.end.0)
        .with("durable_offset", report.tail.durable.0)
        .with("catalogue", catalogue.as_str())
        .with("catalogue_rebuilt_to", rebuilt)
        .with("strangers", report.strangers.clone());
    let summary = match report.pruned {
        Some(end) => summary
            .with("pruned_below", end.0)
            .with("left_over", report.left_over.clone()),
        None => summary,
    };
    if !report.left_over.is_empty() {
        talk(&format!(
            "{} segments below the pruned point were left by a prune that was broken off; the next `aosctl log prune` removes them",
            report.left_over.len()
        ));
    }
    let summary = match repaired {
        Some(repaired) => summary.with("repaired", repaired),
        None => summary,
    };
    if out.form() == Form::Table {
        out.object(&summary)?;
        for finding in &findings {
            out.line("")?;
            for line in lines(finding) {
                out.line(&line)?;
            }
        }
    } else {
        out.object(&summary.with("findings", findings.iter().map(object).collect::<Vec<_>>()))?;
    }
    let name = failure::argument(&args.log);
    if let Some(first) = findings.first() {
        talk(&format!(
            "try: aosctl explain {}; aosctl replay {name}, which says which runs still hold; aosctl log salvage {name} --out NEW",
            first.code
        ));
    } else if catalogue_exit != Exit::Yes {
        let message = format!("the catalogue {catalogue}");
        Failure::new(failure::CATALOGUE, catalogue_exit, message)
            .place(format!("{name}/catalog.redb"))
            .next(format!(
                "aosctl log fsck {name} --rebuild-catalog; nothing is lost"
            ))
            .print();
    }
    Ok(exit)
}

fn exit_of(kind: FindingKind) -> Exit {
    match kind {
        FindingKind::Corruption => Exit::Damaged,
        FindingKind::Mismatch => Exit::No,
        FindingKind::Gap
        | FindingKind::TailUnproven
        | FindingKind::Unsupported
        | FindingKind::NotChecked => Exit::Undecided,
    }
}

/// What is said of the catalogue. It can always be made again, so a missing one is no damage.
fn catalogue(check: &CatalogueCheck) -> (String, Exit) {
    match check {
        CatalogueCheck::Missing => (
            "is missing; the next opening for writing makes it again".into(),
            Exit::Yes,
        ),
        CatalogueCheck::Matches { folded } => {
            (format!("matches the log up to offset {folded}"), Exit::Yes)
        }
        CatalogueCheck::InUse => (
            "is in use by a writer, and was not looked at".into(),
            Exit::Yes,
        ),
        CatalogueCheck::Unusable(why) => (format!("cannot be used: {why}"), Exit::Damaged),
        CatalogueCheck::Differs(tables) => (
            format!("differs from the log in {}", tables.join(", ")),
            Exit::Damaged,
        ),
        CatalogueCheck::NotCompared => (
            "was not compared: the log cannot be read so far".into(),
            Exit::Undecided,
        ),
    }
}

fn object(finding: &Finding) -> Object {
    Object::new()
        .with("code", finding.code)
        .with("kind", finding.kind.name())
        .with("run", finding.run().map(|run| run.to_string()))
        .with("step", finding.step())
        .with("offset", finding.offset.map(|offset| offset.0))
        .with("length", finding.length)
        .with("file", finding.file.clone())
        .with("field", finding.field.clone())
        .with("expected", finding.expected.as_str())
        .with("found", finding.found.as_str())
}
