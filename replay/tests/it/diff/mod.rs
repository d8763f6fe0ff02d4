//! Diffs of planted pairs: what was planted is known, so the answer is.

mod corpus;
mod pairs;
mod planted;
mod recorder;
