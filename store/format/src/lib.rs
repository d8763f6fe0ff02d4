//! Bytes to types and back: frame, record, value, segment, digest.
//!
//! This crate knows how everything in a log is laid out (`docs/format/log-v1.md` draws it) and nothing else: it does no
//! I/O, reads no clock, and never panics on bytes. What it reads it checks; what it refuses it says with place, expected and
//! found.
//!
//! ```
//! use aos_format::{digest::{Digest, RunId}, event::{Event, Time}, offset::Offset, record::{Draft, RecordView, StreamId}};
//!
//! let run = RunId::derive("default", "hello", "order-7", 0);
//! let event = Event::Time(Time { activation: "/do/0/greet".into(), subject: "now".into(), time_ns: "42".into() });
//! let draft = Draft::new(StreamId::run(run), event.encode(&Digest::ZERO));
//! let body = draft.encode();
//! let view = RecordView::open(&body.bytes, body.record_len).unwrap();
//! let (previous, read) = Event::decode(event.kind(), view.det()).unwrap();
//! assert_eq!((previous, read), (Digest::ZERO, event));
//! ```
#![deny(unsafe_code)]

pub mod canonical;
#[doc(hidden)]
pub mod controls;
pub mod digest;
mod error;
pub mod event;
pub mod frame;
pub mod leaf;
pub mod merkle;
pub mod offset;
pub mod record;
pub mod segment;
pub mod sha_wide;
pub mod wire;

pub use error::Error;

/// Version of the format this build writes and reads.
pub const FORMAT_VERSION: u16 = 1;
