//! The engine on a log: the simulated disk, so that every crash is exact.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, too, stop at what must not happen"
)]

mod authorization;
mod budget;
mod bulk;
mod crash;
mod effects;
mod examples;
mod given_up;
mod kv;
mod language;
mod process;
mod rust_workflow;
mod specification;
mod support;
