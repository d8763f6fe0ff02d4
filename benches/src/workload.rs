//! What engines are measured with: made-up workflows, and the real data set.

use crate::stats::Failure;
use aos_engine::engine::{OnConflict, Request};
use aos_engine::fault::Fault;
use aos_engine::pool::Job;
use aos_engine::seed::RootSeed;
use aos_engine::skill::{AtHand, Effect, Policy, Skill, Skills};
use aos_engine::value::{Value, as_text, member};
use aos_engine::workflow::Definition;
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

/// The example that walks through the events of a loan application.
const LOAN: &str = include_str!("../../docs/examples/loan.yaml");
/// Name of the effect that answers at once.
const ECHO: &str = "echo";
/// Seed of every run.
const SEED: u64 = 7;

/// Runs of one workflow.
pub struct Workload {
    /// Its name in results.
    pub name: String,
    definition: Arc<Definition>,
    /// Key and input of each run.
    runs: Vec<(String, Value)>,
    /// Steps that count: those that the workflow is there for, not the block around them. None counts all.
    steps_a_run: Option<u64>,
}

impl Workload {
    /// `runs` runs of `steps` computing steps each: one adds 1 to a number.
    ///
    /// Up to 64 steps stand in the document one after the other; more are rounds of a loop with one step.
    ///
    /// # Errors
    /// When the document does not load: a bug.
    pub fn computing(runs: usize, steps: usize) -> Result<Workload, Failure> {
        let body = if steps <= 64 {
            let mut tasks = String::new();
            for step in 0..steps {
                tasks.push_str(&format!(
                    "  - s{step}: {{ set: {{ n: '${{ .n + 1 }}' }} }}\n"
                ));
            }
            tasks
        } else {
            format!(
                "  - walk:\n      for: {{ in: '[range({steps})]' }}\n      do:\n        - s: {{ set: {{ n: '${{ .n + 1 }}' }} }}\n"
            )
        };
        Self::made("computing", &body, runs, "{\"n\":0}", steps)
    }

    /// `runs` runs of `steps` steps, each of which makes `bytes` bytes of output.
    ///
    /// # Errors
    /// As [`Workload::computing`].
    pub fn bulky(runs: usize, steps: usize, bytes: usize) -> Result<Workload, Failure> {
        let count = bytes / 2;
        let body = format!(
            "  - walk:\n      for: {{ in: '[range({steps})]' }}\n      do:\n        - s: {{ call: compute, with: {{ op: bytes, count: {count} }} }}\n"
        );
        Self::made("bulky", &body, runs, "{}", steps)
    }

    /// `runs` runs of `steps` effects, each of which answers at once.
    ///
    /// # Errors
    /// As [`Workload::computing`].
    pub fn effects(runs: usize, steps: usize) -> Result<Workload, Failure> {
        let body = format!(
            "  - walk:\n      for: {{ in: '[range({steps})]' }}\n      do:\n        - s: {{ call: {ECHO}, with: {{ n: '${{ .n }}' }} }}\n"
        );
        Self::made("effects", &body, runs, "{\"n\":0}", steps)
    }

    fn made(
        name: &str,
        tasks: &str,
        runs: usize,
        input: &str,
        steps: usize,
    ) -> Result<Workload, Failure> {
        let text = format!(
            "document: {{dsl: '1.0.3', namespace: bench, name: {name}, version: '1.0.0'}}\ndo:\n{tasks}"
        );
        let input = Value::from_json(input.as_bytes())?;
        Ok(Workload {
            name: name.into(),
            definition: Arc::new(Definition::load(text.as_bytes())?),
            runs: (0..runs).map(|n| (n.to_string(), input.clone())).collect(),
            steps_a_run: Some(steps as u64),
        })
    }

    /// The loan example on the data set at `path`: a run for each line, keyed by `concept:name`; JSON lines, plain or gzip.
    ///
    /// # Errors
    /// What reading said, and lines that are not JSON with that key.
    pub fn loans(path: &Path) -> Result<Workload, Failure> {
        let mut plain = BufReader::new(File::open(path)?);
        let gzip = plain.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let mut text = String::new();
        if gzip {
            MultiGzDecoder::new(plain).read_to_string(&mut text)?;
        } else {
            plain.read_to_string(&mut text)?;
        }
        let run = |line: &str| -> Result<(String, Value), Failure> {
            let input = Value::from_json(line.as_bytes())?;
            let key = member(input.val(), "concept:name").and_then(as_text);
            let key = key.ok_or("a line without concept:name")?.to_owned();
            Ok((key, input))
        };
        Ok(Workload {
            name: "bpi2012".into(),
            definition: Arc::new(Definition::load(LOAN.as_bytes())?),
            runs: text.lines().map(run).collect::<Result<_, _>>()?,
            steps_a_run: None,
        })
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Steps that count of a run that took `steps`.
    pub fn counted(&self, steps: u64) -> u64 {
        self.steps_a_run.unwrap_or(steps)
    }

    /// Bytes of all distinct inputs.
    pub fn input_bytes(&self) -> u64 {
        let runs = self.runs.iter();
        runs.map(|(_, input)| input.canonical().len() as u64).sum()
    }

    /// The runs as jobs, numbered from 0.
    pub fn jobs(&self) -> impl Iterator<Item = Job> + '_ {
        let root = RootSeed::from_number(SEED);
        (0u64..)
            .zip(&self.runs)
            .map(move |(tag, (key, input))| Job::Start {
                tag,
                request: Box::new(Request {
                    definition: self.definition.clone(),
                    key: Some(key.clone()),
                    input: input.clone(),
                    root: root.clone(),
                    on_conflict: OnConflict::Refuse,
                    budget: None,
                }),
            })
    }
}

/// An effect that answers with its request, at once.
struct Echo;

impl Effect for Echo {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }

    fn policy(&self, _request: &Value) -> Policy {
        Policy::Retry
    }

    fn perform(&self, request: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
        Ok(request.clone())
    }
}

/// The skills that workloads call.
pub fn skills() -> Arc<Skills> {
    let mut skills = Skills::builtin();
    skills.add(ECHO, "1", Skill::Effect(Arc::new(Echo)));
    Arc::new(skills)
}
