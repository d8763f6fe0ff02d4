//! Diffs of planted pairs: what was planted is known, so the answer is.

mod corpus;
mod long;
mod pairs;
mod planted;
mod processes;
mod recorder;
