//! Measurements: figures beside their ceilings, taken in one run.
//!
//! Nothing but `benches/peers` builds on it.
#![forbid(unsafe_code)]

pub mod append;
pub mod bytes;
pub mod contender;
pub mod engine;
pub mod golden;
pub mod language;
pub mod memory;
pub mod parse;
pub mod replay;
pub mod stats;
pub mod verify;
pub mod workload;
