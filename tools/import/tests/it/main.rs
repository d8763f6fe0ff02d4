//! Imports as their users see them: files in, records out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod jsonl;
mod refusals;
mod support;
mod twins;
mod writing;
