//! The log and its catalogue on a simulated disk, and beside a live writer on a real one.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod appending;
mod backup;
mod catalogue;
mod crash;
mod damage;
mod faults;
mod flips;
mod hostile;
mod live;
mod model;
mod near;
mod opening;
mod prune;
mod repair;
mod rules;
mod salvage;
mod seals;
mod support;
mod values;
