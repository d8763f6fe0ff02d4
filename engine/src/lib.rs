//! Workflows, runs, steps, decisions.
//!
//! The engine turns workflow documents and Rust workflows into recorded histories: the same document, seed, input and
//! recorded answers give the same history digest, always. It never reads a clock (but in [`clock`]), randomness, the
//! environment or hash order, never knows that replay exists, and never acts on the outside before the intent to do so is
//! durable.
//!
//! ```
//! use aos_format::digest::LogId;
//! use aos_engine::{clock::Clock, engine::{Begun, Engine, OnConflict, Request}, seed::RootSeed, skill::Skills, value::Value, workflow::Definition};
//! use std::{path::Path, sync::Arc};
//!
//! let options = aos_store::Options { create: true, ..aos_store::Options::new(LogId([7; 16])) };
//! let (log, _) = aos_store::Log::open(Arc::new(aos_disk::sim::SimDisk::new()), Path::new("dice.aos"), &options)?;
//! let engine = Engine::new(Arc::new(log), Arc::new(Skills::builtin()), Clock::default())?;
//! let definition = Definition::load(br#"[{"skill": "compute", "params": {"op": "draw", "min": 1, "max": 6}}]"#)?;
//! let request = Request {
//!     definition: Arc::new(definition),
//!     key: Some("throw-1".into()),
//!     input: Value::null(),
//!     root: RootSeed::from_number(7),
//!     on_conflict: OnConflict::Refuse,
//!     budget: None,
//! };
//! let Begun::Run(mut run) = engine.start(&request)? else { panic!("a new key starts a run") };
//! engine.drive(&mut run)?;
//! assert!(matches!(engine.start(&request)?, Begun::Ended(_)), "the same request again finds the record");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod capabilities;
pub mod chain;
pub mod clock;
pub mod context;
mod control;
pub mod engine;
mod error;
pub mod expr;
pub mod fault;
pub mod history;
pub mod lifecycle;
pub mod machine;
pub mod material;
pub mod mock;
pub mod outcome;
pub mod plan;
pub mod pool;
pub mod query;
pub mod resource;
pub mod run;
pub mod sample;
pub mod schema;
pub mod secret;
pub mod seed;
pub mod skill;
pub mod subflow;
pub mod value;
pub mod workflow;

pub use error::Error;

/// The README's example is compiled with the others.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
