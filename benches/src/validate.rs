//! Determinism at scale: how many executions a second are made and compared.

use crate::stats::{Failure, machine, rounded, spread};
use aos_replay::determinism::{Sort, Subject, Trial, skills, validate};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Makes and compares `iterations` executions of each sound sort with each of `seeds` seeds on each number of workers.
///
/// # Errors
/// What the trial said; executions that differ.
pub fn measure(
    workers: &[usize],
    iterations: u64,
    seeds: u64,
    rounds: usize,
) -> Result<Value, Failure> {
    let sorts = Sort::SOUND.iter().map(|sort| sort.subject());
    let subjects = sorts.collect::<Result<Vec<Subject>, _>>()?;
    let mut rows = Vec::new();
    for &workers in workers {
        let trial = Trial {
            workers: workers.max(1),
            iterations,
            seeds,
            stress: 0,
            skills: Arc::new(skills()),
            subjects: &subjects,
        };
        let (mut seconds, mut executions) = (Vec::new(), 0);
        // The first one warms up.
        for round in 0..=rounds {
            let start = Instant::now();
            let tried = validate(&trial)?;
            if !tried.is_deterministic() {
                return Err(format!("{} executions differ", tried.differing).into());
            }
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
            executions = tried.executions;
        }
        let rates = seconds.iter().map(|seconds| executions as f64 / seconds);
        rows.push(json!({
            "workers": workers,
            "executions": executions,
            "executions_per_s": spread(rates.map(rounded).collect()),
            "seconds": spread(seconds),
        }));
    }
    Ok(json!({
        "schema": "aos.bench.validate.v1",
        "machine": machine(),
        "rounds": rounds,
        "iterations": iterations,
        "seeds": seeds,
        "figures": rows,
    }))
}
