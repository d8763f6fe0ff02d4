//! Judging a plan before it runs: whether it can be done, what it costs, how long it takes, what may go wrong. Nothing is
//! executed and nothing outside is touched.
//!
//! What skills say of themselves is the first estimate; where a log holds past runs, what happened in them is the better one
//! ([`Past`]), and how far each estimate was off is part of the answer ([`Accuracy`]).
//!
//! ```
//! use aos_engine::plan::{Limits, Past, simulate};
//! use aos_engine::{skill::Skills, workflow::Definition};
//!
//! let plan = Definition::load(br#"[{"skill": "http_call", "params": {"url": "http://localhost/"}}]"#).unwrap();
//! let limits = Limits { budget: Some(100), ..Limits::default() };
//! let forecast = simulate(&plan, &Skills::builtin(), &limits, &Past::none());
//! assert!(forecast.feasible());
//! assert_eq!(forecast.cost.expected, 1);
//!
//! let plan = Definition::load(br#"[{"skill": "teleport", "params": {}}]"#).unwrap();
//! let forecast = simulate(&plan, &Skills::builtin(), &limits, &Past::none());
//! assert_eq!(forecast.obstacles[0].kind.name(), "unknown-skill");
//! ```

mod arguments;
mod past;
mod walk;

pub use arguments::check;
pub use past::{Accuracy, Past, RUNS_MAX, RunPast, SkillPast};

use crate::fault::Code;
use crate::skill::{Retry, Skills};
use crate::workflow::Definition;
use std::collections::BTreeSet;
use walk::Walk;

/// What a plan has to keep to.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Units that its effects may cost together; the document may set less.
    pub budget: Option<u64>,
    /// The skills it may call; all where there is no list.
    pub allow: Option<BTreeSet<String>>,
    /// Milliseconds that it may take.
    pub deadline_ms: Option<u64>,
}

/// What is to be expected of a plan.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// What keeps it from being done; none when it is feasible.
    pub obstacles: Vec<Obstacle>,
    /// The calls and waits it consists of, in their order.
    pub steps: Vec<StepForecast>,
    /// Units.
    pub cost: Range,
    /// Milliseconds.
    pub latency_ms: Range,
    /// What may go wrong in it, the likeliest first.
    pub risks: Vec<Risk>,
    /// The budget that holds.
    pub budget: Option<u64>,
    /// Past runs that the estimates come from; 0 where they come from what skills say alone.
    pub runs: u64,
    /// What had to be assumed.
    pub assumptions: Vec<String>,
}

impl Forecast {
    /// Whether it can be done.
    pub fn feasible(&self) -> bool {
        self.obstacles.is_empty()
    }
}

/// What is to be expected, and the most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Range {
    /// To be expected.
    pub expected: u64,
    /// At most, as far as the skills keep what they promise.
    pub most: u64,
}

impl Range {
    fn add(&mut self, other: Range) {
        self.expected = self.expected.saturating_add(other.expected);
        self.most = self.most.saturating_add(other.most);
    }
}

/// One call or wait of a plan.
#[derive(Clone, Debug)]
pub struct StepForecast {
    /// Pointer of the step.
    pub step: String,
    /// Skill, or `timer`.
    pub skill: String,
    /// How often it is expected to be done, in thousandths: loops and conditions make it another number than 1,000.
    pub times_milli: u64,
    /// Units, all times together.
    pub cost: Range,
    /// Milliseconds, all times together.
    pub latency_ms: Range,
    /// Past calls that the estimate comes from; 0 where it comes from what the skill says.
    pub calls: u64,
}

/// What keeps a plan from being done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Obstacle {
    /// Which kind.
    pub kind: ObstacleKind,
    /// Pointer of the step; empty for the plan as a whole.
    pub step: String,
    /// What is wrong.
    pub why: String,
}

/// Kinds of obstacles. The first that stands in the way of a step is told, not what would follow from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ObstacleKind {
    /// Nobody has registered such a skill.
    UnknownSkill,
    /// The list of allowed skills does not have it.
    NotAllowed,
    /// A parameter that the skill needs is missing.
    MissingParameter,
    /// A parameter that the skill does not take, or not so.
    BadParameter,
    /// The budget does not suffice.
    Budget,
    /// More steps than a run may take.
    Steps,
    /// More calls than a skill may have.
    Rate,
    /// It takes longer than it may.
    Deadline,
}

impl ObstacleKind {
    /// Name in output.
    pub fn name(self) -> &'static str {
        match self {
            ObstacleKind::UnknownSkill => "unknown-skill",
            ObstacleKind::NotAllowed => "not-allowed",
            ObstacleKind::MissingParameter => "missing-parameter",
            ObstacleKind::BadParameter => "bad-parameter",
            ObstacleKind::Budget => "budget",
            ObstacleKind::Steps => "steps",
            ObstacleKind::Rate => "rate",
            ObstacleKind::Deadline => "deadline",
        }
    }

    /// The code that a run would fail with.
    pub fn code(self) -> Code {
        match self {
            ObstacleKind::UnknownSkill => Code::InvalidInput,
            ObstacleKind::NotAllowed => Code::PermissionDenied,
            ObstacleKind::MissingParameter | ObstacleKind::BadParameter => Code::SchemaError,
            ObstacleKind::Budget | ObstacleKind::Steps => Code::BudgetExceeded,
            ObstacleKind::Rate => Code::RateLimited,
            ObstacleKind::Deadline => Code::Timeout,
        }
    }
}

/// What may go wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Risk {
    /// Code of the failure; its class follows from it.
    pub code: Code,
    /// Pointers of the steps it may happen in.
    pub steps: Vec<String>,
    /// How likely it is that the plan meets it at least once, in millionths; none where there is no past to tell.
    pub probability_millionths: Option<u64>,
    /// Whether trying again is safe, at the step where it is least so.
    pub retry: Retry,
}

/// Judges a plan. The same plan, skills, limits and past give the same forecast.
pub fn simulate(
    definition: &Definition,
    skills: &Skills,
    limits: &Limits,
    past: &Past,
) -> Forecast {
    Walk::new(definition, skills, limits, past).forecast()
}

#[cfg(test)]
mod tests;
