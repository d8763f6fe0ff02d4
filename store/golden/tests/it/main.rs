//! Golden archives from outside: sealed from real runs, attacked, verified.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod faults;
mod fixtures;
mod packs;
mod prune;
mod python;
mod seal;
mod seals;
mod support;
mod vectors;
