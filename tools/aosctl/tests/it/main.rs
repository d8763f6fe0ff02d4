//! The command line as its users see it: the built program, in a directory of its own, without a network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod backup;
mod bad_input;
mod bench;
mod commands;
mod diff;
mod docs;
mod effects;
mod golden;
mod harness;
mod import;
mod kill;
mod language;
mod lifecycle;
mod output;
mod plans;
mod prune;
mod salvage;
mod secrets;
