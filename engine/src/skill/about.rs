//! What a skill says of itself: enough to check a plan, to estimate it, and to choose among skills, without calling any.

use crate::fault::Code;
use crate::value::Value;

/// What a skill says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// What it does, in one sentence.
    pub summary: String,
    /// JSON Schema of its arguments.
    pub input: Value,
    /// JSON Schema of its output.
    pub output: Value,
    /// Whether the engine checks both; a skill that checks its arguments itself, with better words, need not have it done twice.
    pub checked: bool,
    /// What one call costs, in units of the budget, where the skill does not know better.
    pub cost: u64,
    /// How long one call takes.
    pub latency: Latency,
    /// How often it may be called.
    pub rate: Option<Rate>,
    /// Whether a failed call may be made again.
    pub retry: Retry,
    /// What it touches.
    pub reach: Reach,
    /// Codes of the failures that it can end in, those of its arguments left out.
    pub fails: Vec<Code>,
    /// The argument that is the step's input where it is left out: what lets skills be strung together.
    pub feeds: Option<&'static str>,
    /// Skills whose output makes sense as its input.
    pub after: Vec<String>,
}

/// How long one call takes, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latency {
    /// What is to be expected.
    pub typical_ms: u64,
    /// What it never exceeds: then it ends in TIMEOUT.
    pub max_ms: u64,
}

/// How often a skill may be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Calls, from 1.
    pub calls: u64,
    /// In so many milliseconds, from 1.
    pub window_ms: u64,
}

/// Whether a failed call may be made again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// Nothing to gain: the same arguments give the same failure.
    Useless,
    /// Always.
    Safe,
    /// It depends on the request: its unknown-outcome policy says.
    ByRequest,
    /// Only by somebody who knows what became of the first.
    Hold,
}

impl Retry {
    /// Name in output.
    pub fn name(self) -> &'static str {
        match self {
            Retry::Useless => "useless",
            Retry::Safe => "safe",
            Retry::ByRequest => "by-request",
            Retry::Hold => "hold",
        }
    }
}

/// What a skill touches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Nothing but its arguments.
    Nothing,
    /// The log it is called from.
    Log,
    /// Hosts on a network.
    Network,
    /// Processes of this machine.
    Processes,
}

impl Reach {
    /// Name in output.
    pub fn name(self) -> &'static str {
        match self {
            Reach::Nothing => "nothing",
            Reach::Log => "log",
            Reach::Network => "network",
            Reach::Processes => "processes",
        }
    }
}

impl About {
    /// A pure skill that says nothing: any arguments, any output, no cost, no time.
    pub fn pure() -> About {
        About {
            summary: String::new(),
            input: anything(),
            output: anything(),
            checked: true,
            cost: 0,
            latency: Latency {
                typical_ms: 0,
                max_ms: 1_000,
            },
            rate: None,
            retry: Retry::Useless,
            reach: Reach::Nothing,
            fails: Vec::new(),
            feeds: None,
            after: Vec::new(),
        }
    }

    /// An effect that says nothing: any arguments, any output, no cost; at most a minute a call.
    pub fn effect() -> About {
        About {
            latency: Latency {
                typical_ms: 100,
                max_ms: 60_000,
            },
            retry: Retry::ByRequest,
            reach: Reach::Network,
            fails: vec![Code::Timeout],
            ..About::pure()
        }
    }

    /// The same with a summary.
    pub fn summary(self, summary: &str) -> About {
        About {
            summary: summary.into(),
            ..self
        }
    }

    /// The same with schemas, given as JSON.
    ///
    /// # Panics
    /// When one of them is not JSON: they are part of a program's source.
    pub fn schemas(self, input: &str, output: &str) -> About {
        let value = |text: &str| {
            Value::from_json(text.as_bytes()).expect("a skill's schema is JSON in its source")
        };
        About {
            input: value(input),
            output: value(output),
            ..self
        }
    }
}

/// The schema that allows everything.
fn anything() -> Value {
    Value::from_json(b"true").expect("`true` is JSON")
}
