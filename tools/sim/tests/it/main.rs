//! The simulator itself: it repeats, it finds what is planted, and it finds nothing else.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod controls;
mod damage;
mod exhaust;
mod runs;
