//! Verdicts: verify, re-execute, compare.
//!
//! [`verify`] says whether the bytes of a log are what they were when they were written, as far as the log itself can tell.
//! [`replay`] then makes every run again, with the recorded answers from outside, and compares each event byte for byte.
//! This crate never writes into what it reads, never opens the catalogue, touches nothing outside, and reads no clock: a
//! verdict is a function of bytes, the same at any number of workers.
//!
//! ```
//! use aos_disk::sim::SimDisk;
//! use aos_format::digest::LogId;
//! use aos_replay::{Options, Verdict, replay};
//! use aos_store::{Log, LogReader};
//! use std::{path::Path, sync::Arc};
//!
//! let (disk, path) = (Arc::new(SimDisk::new()), Path::new("orders.aos"));
//! let options = aos_store::Options { create: true, ..aos_store::Options::new(LogId([7; 16])) };
//! Log::open(disk.clone(), path, &options)?.0.close()?;
//! let reader = LogReader::open(disk, path)?;
//! let report = replay(&reader, &Options { workers: 2, ..Options::default() })?;
//! assert_eq!(report.verdict, Verdict::Match);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod against;
pub mod determinism;
pub mod diff;
mod error;
mod export;
mod finding;
pub mod html;
mod parted;
mod pool;
mod rederive;
mod reexecute;
mod replay;
mod report;
mod verify;

pub use against::{Compared, PartedAt, Seen, against};
pub use error::Error;
pub use export::{Export, ExportOptions, record_json};
pub use finding::{Finding, FindingKind, code, pointer};
pub use rederive::{RECORDS_MAX, Rederived, Whole};
pub use replay::{Options, Phase, reexecute, replay};
pub use report::{Determinism, PrunedRuns, Report, RunReport, Verdict};
pub use verify::{Integrity, PrunedPart, RunSeen, Verified, verify, verify_at};
