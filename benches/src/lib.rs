//! Measurements: figures beside their ceilings, taken in one run.
//!
//! Every measurement is a function that gives a result: JSON with a schema, the machine, and figures in rows. [`export`] and
//! [`report`] show results to people. `aosctl bench` and `benches/peers` build on it, nothing else does.
#![forbid(unsafe_code)]

pub mod append;
pub mod bytes;
pub mod contender;
pub mod engine;
pub mod export;
pub mod golden;
pub mod language;
pub mod memory;
pub mod open;
pub mod parse;
pub mod plot;
pub mod read;
pub mod replay;
pub mod report;
pub mod stats;
pub mod validate;
pub mod verify;
pub mod workload;
