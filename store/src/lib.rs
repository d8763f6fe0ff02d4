//! Durable log, catalogue, checkpoints.
//!
//! A log is a directory of segments that one writer appends records to and any number of readers, in any process, read.
//! [`Log`] is the writer: it groups what its producers append, makes each group durable with one sync, and keeps a
//! catalogue that answers exact look-ups. [`LogReader`] reads without ever writing, locking or repairing. The crate knows
//! streams and records and must never know what a workflow is.
//!
//! ```
//! use aos_disk::sim::SimDisk;
//! use aos_format::{digest::{Digest, LogId, RunId}, event::{Event, Time}, frame::Kind, record::{Draft, StreamId}};
//! use aos_store::{Log, Options};
//! use std::{path::Path, sync::Arc};
//!
//! let disk = Arc::new(SimDisk::new());
//! let options = Options { create: true, ..Options::new(LogId([7; 16])) };
//! let (log, _opening) = Log::open(disk, Path::new("orders.aos"), &options)?;
//! let run = StreamId::run(RunId::derive("default", "orders", "order-7", 0));
//! let time = Event::Time(Time { activation: String::new(), subject: "now".into(), time_ns: "1".into() });
//! let draft = Draft { lane_seq: 1, ..Draft::new(run, time.encode(&Digest::ZERO)) };
//! let ticket = log.append(draft, Kind::Time, 1)?;
//! log.wait(ticket)?; // durable
//! assert_eq!(log.stream(run, 1)?.len(), 1);
//! log.close()?;
//! # Ok::<(), aos_store::Error>(())
//! ```
#![forbid(unsafe_code)]

mod append;
mod backend;
mod backup;
mod buffer;
mod catalogue;
mod check;
mod error;
mod fold;
mod frames;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod heads;
mod links;
mod lock;
mod log;
mod lookup;
mod near;
mod place;
mod prepare;
mod prune;
mod pruned;
mod queue;
mod reader;
mod rebuild;
mod recovery;
mod renew;
mod repair;
mod row;
mod rules;
mod salvage;
mod scan;
mod seal;
mod shared;
mod source;
mod stored;
mod streams;
mod tables;
mod tail;
mod threads;
mod walk;
mod writer;

pub use backup::{BackupFault, BackupReport, RestoreReport, backup, restore};
pub use buffer::Aligned;
pub use catalogue::CatalogueState;
pub use check::{CatalogueCheck, Report, check, rebuild_catalogue};
pub use error::{Error, ErrorKind, Finding, FindingKind};
pub use fold::{CheckpointRow, Outstanding, Rows, RunRow, RunStatus, StreamHead, key_digest};
pub use frames::{Batch, Choice, Frames, Peek};
pub use group::Group;
pub use heads::Heads;
pub use log::{Append, Log, Mode, Opening, Options};
pub use near::Window;
pub use prune::{PruneReport, Pruning, StoppedBy, prune};
pub use pruned::{Pruned, PrunedArchive};
pub use queue::Ticket;
pub use reader::{Index, LogReader, SegmentInfo, SegmentWalk, Tail};
pub use recovery::TailCut;
pub use repair::{RepairReport, repair};
pub use salvage::{Fate, Lost, Piece, SalvageReport, StreamFound, salvage};
pub use scan::Scan;
pub use seal::Sealable;
pub use source::Source;
pub use stored::StoredRecord;
pub use tail::TailState;
