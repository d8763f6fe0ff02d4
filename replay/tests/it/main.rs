//! Integration tests of `aos-replay`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod determinism;
mod diff;
mod export;
mod forge;
mod prune;
mod recording;
mod replay;
mod seals;
mod verify;
