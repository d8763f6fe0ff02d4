//! Peers for the engine: the same trivial steps, durable.

use aos_bench::engine::{self, Setting};
use aos_bench::stats::{Failure, machine_at, rounded, spread};
use aos_bench::workload::Workload;
use duroxide::providers::sqlite::SqliteProvider;
use duroxide::runtime::Runtime;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::{
    ActivityContext, Client, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus,
};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What one engine is asked to do.
#[derive(Clone, Copy)]
pub struct Work {
    /// Runs.
    pub runs: usize,
    /// Steps of each.
    pub steps: usize,
    /// Runs at a time.
    pub in_flight: usize,
}

type Contender = (
    &'static str,
    &'static str,
    fn(&Path, Work) -> Result<f64, Failure>,
);

/// Name, how it syncs, and what runs the work and gives the seconds.
const CONTENDERS: [Contender; 3] = [
    (
        "aos",
        "AOS, two workers, runs acknowledged when durable",
        aos,
    ),
    (
        "memable",
        "memable on redb, Durability::Immediate, a transaction a step",
        memable,
    ),
    (
        "duroxide",
        "duroxide on SQLite, WAL, its own settings: no sync at commits",
        duroxide,
    ),
];

/// Measures all engines on the same work, in turn.
///
/// # Errors
/// What an engine said.
pub fn measure(dir: &Path, works: &[Work], rounds: usize) -> Result<Value, Failure> {
    let machine = machine_at(dir);
    let mut rows = Vec::new();
    for work in works {
        let mut rates = vec![Vec::new(); CONTENDERS.len()];
        for round in 0..rounds {
            for turn in 0..CONTENDERS.len() {
                let index = (round + turn) % CONTENDERS.len();
                let place = tempfile::tempdir_in(dir)?;
                let seconds = (CONTENDERS[index].2)(place.path(), *work)?;
                rates[index].push(rounded((work.runs * work.steps) as f64 / seconds));
            }
        }
        let own = rates[0].clone();
        for ((name, what, _), rates) in CONTENDERS.iter().zip(rates) {
            let ratios = own
                .iter()
                .zip(&rates)
                .map(|(own, other)| rounded(own / other));
            rows.push(json!({
                "runs": work.runs,
                "steps": work.steps,
                "in_flight": work.in_flight,
                "contender": name,
                "what": what,
                "aos_is_times_as_fast": spread(ratios.collect()),
                "steps_per_s": spread(rates),
            }));
        }
    }
    Ok(
        json!({"schema": "aos.bench.peers-engine.v1", "machine": machine, "rounds": rounds, "figures": rows}),
    )
}

fn aos(dir: &Path, work: Work) -> Result<f64, Failure> {
    let workload = Workload::computing(work.runs, work.steps)?;
    let setting = Setting {
        workers: 2,
        in_flight: work.in_flight,
    };
    Ok(engine::run(dir, &workload, setting)?.seconds)
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(2).enable_all().build()?)
}

/// Starts all runs, at most so many at a time, and waits for them.
async fn all<F>(work: Work, run: impl Fn(usize) -> F) -> Result<f64, Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let start = Instant::now();
    let (room, mut tasks) = (Arc::new(Semaphore::new(work.in_flight)), JoinSet::new());
    for number in 0..work.runs {
        let permit = room.clone().acquire_owned().await?;
        let run = run(number);
        tasks.spawn(async move {
            let done = run.await;
            drop(permit);
            done
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(start.elapsed().as_secs_f64())
}

async fn add_up(ctx: memable::Context) -> Result<(), memable::EngineError> {
    let steps = ctx.input::<u64>()?.unwrap_or(0);
    let mut n = 0u64;
    for step in 0..steps {
        n = ctx
            .step(&format!("s{step}"))
            .run(async move || Ok(n + 1))
            .await?;
    }
    std::hint::black_box(n);
    Ok(())
}

fn memable(dir: &Path, work: Work) -> Result<f64, Failure> {
    runtime()?.block_on(async {
        let mut engine = memable::Engine::builder()
            .open(dir.join("memable"))?
            .build();
        engine.register("steps", add_up);
        engine.start().await?;
        let engine = Arc::new(engine);
        let seconds = all(work, |_| {
            let engine = engine.clone();
            async move {
                let invoked = engine.invoke("steps").input(work.steps as u64).await?;
                match invoked.wait().await {
                    memable::WorkflowState::Completed(_) => Ok(()),
                    other => Err(format!("memable: {other}").into()),
                }
            }
        })
        .await?;
        engine.stop().await;
        Ok(seconds)
    })
}

async fn add_up_activities(ctx: OrchestrationContext, steps: String) -> Result<String, String> {
    let steps: u64 = steps.parse().map_err(|_| "no number".to_owned())?;
    let mut n = "0".to_owned();
    for _ in 0..steps {
        n = ctx.schedule_activity("add", n).await?;
    }
    Ok(n)
}

fn duroxide(dir: &Path, work: Work) -> Result<f64, Failure> {
    runtime()?.block_on(async {
        let url = format!("sqlite:{}?mode=rwc", dir.join("duroxide.db").display());
        let store = Arc::new(SqliteProvider::new(&url, None).await?);
        let activities = ActivityRegistry::builder()
            .register("add", |_: ActivityContext, n: String| async move {
                let n: u64 = n.parse().map_err(|_| "no number".to_owned())?;
                Ok((n + 1).to_string())
            })
            .build();
        let orchestrations = OrchestrationRegistry::builder()
            .register("steps", add_up_activities)
            .build();
        let runtime = Runtime::start_with_store(store.clone(), activities, orchestrations).await;
        let client = Arc::new(Client::new(store));
        let seconds = all(work, |number| {
            let client = client.clone();
            async move {
                let name = format!("run-{number}");
                client
                    .start_orchestration(&name, "steps", work.steps.to_string())
                    .await?;
                let patience = Duration::from_secs(300);
                match client.wait_for_orchestration(&name, patience).await? {
                    OrchestrationStatus::Completed { .. } => Ok(()),
                    other => Err(format!("duroxide: {other:?}").into()),
                }
            }
        })
        .await?;
        runtime.shutdown(None).await;
        Ok(seconds)
    })
}
