//! Workflows that are typical of what engines run, with an outside that answers differently every time it is asked.

use super::Subject;
use crate::error::Error;
use aos_engine::fault::Fault;
use aos_engine::seed::Stream;
use aos_engine::skill::{AtHand, Effect, Policy, Pure, Skill, Skills};
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A sort of workflow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sort {
    /// Expressions and numbers drawn from the seed.
    Compute,
    /// Reads and writes outside, with a clock.
    Io,
    /// A prompt, an answer in words, and what is made of it.
    Llm,
    /// A skill that says it is pure and is not: what must be found.
    Planted,
}

const COMPUTE: &str = "
  - draw: { call: compute, with: { op: draw, min: 1, max: 1000000 } }
  - keep: { set: { drawn: '${ . }' } }
  - fold: { set: { drawn: '${ .drawn }', total: '${ [range(10)] | map(. * .) | add }' } }
  - say: { set: { text: '${ \"\\(.drawn) and \\(.total)\" }' } }";

const IO: &str = "
  - read: { call: outside, with: { read: orders } }
  - keep: { set: { page: '${ . }', at: '${ now }' } }
  - write: { call: outside, with: { write: '${ .page }' } }
  - say: { set: { written: '${ . }' } }";

const LLM: &str = "
  - prompt: { set: { prompt: 'Say whether the order is late.' } }
  - ask: { call: model, with: { prompt: '${ .prompt }' } }
  - count: { set: { words: '${ .text | split(\" \") | length }', text: '${ .text }' } }
  - decide: { set: { late: '${ .text | contains(\"late\") }', words: '${ .words }' } }";

const PLANTED: &str = "
  - before: { set: { n: 1 } }
  - impure: { call: impure }
  - after: { set: { was: '${ . }' } }";

impl Sort {
    /// Those that are sound.
    pub const SOUND: [Sort; 3] = [Sort::Compute, Sort::Io, Sort::Llm];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Sort::Compute => "compute",
            Sort::Io => "io",
            Sort::Llm => "llm",
            Sort::Planted => "planted",
        }
    }

    /// A workflow of this sort.
    ///
    /// # Errors
    /// [`Error::Unusable`] when it does not load: a bug.
    pub fn subject(self) -> Result<Subject, Error> {
        let name = self.name();
        let tasks = match self {
            Sort::Compute => COMPUTE,
            Sort::Io => IO,
            Sort::Llm => LLM,
            Sort::Planted => PLANTED,
        };
        let text = format!(
            "document: {{dsl: '1.0.3', namespace: validate, name: {name}, version: '1.0.0'}}\ndo:{tasks}\n"
        );
        let unusable = |what: String| Error::Unusable {
            what: format!("the workflow {name}: {what}"),
        };
        Ok(Subject {
            name: name.into(),
            definition: Arc::new(
                Definition::load(text.as_bytes()).map_err(|error| unusable(error.to_string()))?,
            ),
            input: Value::from_json(b"{}").map_err(|error| unusable(error.to_string()))?,
        })
    }
}

/// The skills that these workflows call: those that are built in, an outside, a model, and one that lies.
pub fn skills() -> Skills {
    let mut skills = Skills::builtin();
    let counter = Arc::new(AtomicU64::new(0));
    for (name, in_words) in [("outside", false), ("model", true)] {
        let outside = Outside {
            asked: counter.clone(),
            in_words,
        };
        skills.add(name, "1", Skill::Effect(Arc::new(outside)));
    }
    skills.add("impure", "1", Skill::Pure(Arc::new(Impure::default())));
    skills
}

/// Never answers twice the same.
struct Outside {
    asked: Arc<AtomicU64>,
    in_words: bool,
}

impl Effect for Outside {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }

    fn policy(&self, _request: &Value) -> Policy {
        Policy::Retry
    }

    fn perform(&self, _request: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = match (self.in_words, number % 2) {
            (false, _) => format!("{{\"number\":{number}}}"),
            (true, 0) => format!("{{\"text\":\"answer {number}: the order is late\"}}"),
            (true, _) => format!("{{\"text\":\"answer {number}: in time\"}}"),
        };
        Ok(Value::from_json(answer.as_bytes())?)
    }
}

/// Says it is pure, and counts how often it was called.
#[derive(Default)]
struct Impure(AtomicU64);

impl Pure for Impure {
    fn run(&self, _input: &Value, _draws: &mut Stream) -> Result<Value, Fault> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Value::from_json(number.to_string().as_bytes())?)
    }
}
