//! What the workflow language costs over the same steps written in Rust.
//!
//! Each run draws a number and adds it to a total, so many times; a step each, on a log of its own on a simulated disk, so that
//! no sync hides the difference. In Rust the closure does both; in the document a skill draws, and an expression adds.

use crate::stats::{Failure, machine, spread};
use aos_disk::sim::SimDisk;
use aos_engine::clock::Clock;
use aos_engine::context::{Context, Runner, Stop, Workflow};
use aos_engine::engine::{Begun, Engine, OnConflict, Request};
use aos_engine::fault::{Code, Fault};
use aos_engine::run::Turn;
use aos_engine::seed::RootSeed;
use aos_engine::skill::Skills;
use aos_engine::value::{Val, Value, member, object};
use aos_engine::workflow::Definition;
use aos_format::digest::LogId;
use aos_store::{Log, Mode, Options};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The same in Rust.
struct Total(usize);

fn total(value: &Value) -> usize {
    let total = member(value.val(), "total").map(ToString::to_string);
    total
        .and_then(|total| total.parse().ok())
        .unwrap_or_default()
}

impl Workflow for Total {
    fn name(&self) -> (&str, &str, &str) {
        ("bench", "total", "1.0.0")
    }

    fn run(&self, ctx: &mut Context<'_>, input: &Value) -> Result<Value, Stop> {
        let mut value = input.clone();
        for _ in 0..self.0 {
            value = ctx.step("draw", &value.clone(), |random| {
                let drawn = usize::try_from(1 + random.below(1000))
                    .map_err(|_| Fault::new(Code::InvalidInput, "too large"))?;
                let total = Val::from(total(&value) + drawn);
                Ok(Value::from_val(&object([("total", total)]))?)
            })?;
        }
        Ok(value)
    }
}

fn engine() -> Result<Engine, Failure> {
    let options = Options {
        create: true,
        mode: Mode::Inline,
        ..Options::new(LogId([7; 16]))
    };
    let (log, _) = Log::open(Arc::new(SimDisk::new()), Path::new("bench.aos"), &options)?;
    Ok(Engine::new(
        Arc::new(log),
        Arc::new(Skills::builtin()),
        Clock::default(),
    )?)
}

/// Runs both in turn, `rounds` times, `steps` steps each.
///
/// # Errors
/// What keeps a run from ending.
pub fn measure(rounds: usize, steps: usize) -> Result<serde_json::Value, Failure> {
    let text = format!(
        "document: {{dsl: '1.0.3', namespace: bench, name: total, version: '1.0.0'}}\ndo:\n  - all:\n      \
         for: {{in: '[range({steps})]'}}\n      do:\n        - draw:\n            call: compute\n            \
         with: {{op: draw, min: 1, max: 1000}}\n            output: {{as: '{{total: ($input.total + .)}}'}}\n"
    );
    let definition = Arc::new(Definition::load(text.as_bytes())?);
    let input = Value::from_json(br#"{"total":0}"#)?;
    let root = RootSeed::from_number(7);
    let (mut documents, mut rust, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let engine = engine()?;
        let start = Instant::now();
        let request = Request {
            definition: definition.clone(),
            key: Some("k".into()),
            input: input.clone(),
            root: root.clone(),
            on_conflict: OnConflict::Refuse,
            budget: None,
        };
        let Begun::Run(mut run) = engine.start(&request)? else {
            return Err("the key is new".into());
        };
        let turn = engine.drive(&mut run)?;
        let took = start.elapsed().as_secs_f64();
        if !matches!(turn, Turn::Ended(_)) || run.steps() < steps as u64 {
            return Err(format!("the document did not end: {turn:?}").into());
        }
        documents.push(took * 1e9 / steps as f64);
        let engine = self::engine()?;
        let start = Instant::now();
        Runner::new(&engine).run(&Total(steps), "k", &input, &root)?;
        let plain = start.elapsed().as_secs_f64();
        rust.push(plain * 1e9 / steps as f64);
        ratios.push(took / plain);
    }
    Ok(json!({
        "schema": "aos.bench.language.v1",
        "machine": machine(),
        "rounds": rounds,
        "steps": steps,
        "document_ns_per_step": spread(documents),
        "rust_ns_per_step": spread(rust),
        "document_over_rust": spread(ratios),
    }))
}
