//! The walk over a plan: what each call costs and takes, and the first thing in its way.

use super::arguments::Said;
use super::past::{Past, SkillPast};
use super::{Forecast, Limits, Obstacle, ObstacleKind, Range, Risk, StepForecast};
use crate::fault::Code;
use crate::machine::RUN_WORKFLOW;
use crate::skill::{Registered, Retry, Skills};
use crate::value::Val;
use crate::workflow::{Definition, Task, TaskKind};
use aos_format::digest::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// Thousandths of once.
const ONCE: u64 = 1_000;

pub(super) struct Walk<'a> {
    definition: &'a Definition,
    skills: &'a Skills,
    limits: &'a Limits,
    past: &'a Past,
    spent: u64,
    calls: BTreeMap<&'a str, u64>,
    risks: BTreeMap<Code, Risky>,
    forecast: Forecast,
}

/// A risk that is being added up.
struct Risky {
    steps: BTreeSet<String>,
    /// How likely it is not to happen in any step so far; none once a step has no past.
    safe: Option<f64>,
    retry: Retry,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        definition: &'a Definition,
        skills: &'a Skills,
        limits: &'a Limits,
        past: &'a Past,
    ) -> Walk<'a> {
        let budget = [limits.budget, definition.settings.budget];
        Walk {
            definition,
            skills,
            limits,
            past,
            spent: 0,
            calls: BTreeMap::new(),
            risks: BTreeMap::new(),
            forecast: Forecast {
                obstacles: Vec::new(),
                steps: Vec::new(),
                cost: Range::default(),
                latency_ms: Range::default(),
                risks: Vec::new(),
                budget: budget.into_iter().flatten().min(),
                runs: past.runs_of(Digest(definition.digest)),
                assumptions: Vec::new(),
            },
        }
    }

    pub(super) fn forecast(mut self) -> Forecast {
        let mut expected_steps = 0u64;
        for task in self.order() {
            let times = self.times(task);
            expected_steps = expected_steps.saturating_add(times.div_ceil(ONCE));
            self.task(task, times);
        }
        self.judge_whole(expected_steps);
        self.forecast.risks = risks(self.risks);
        self.forecast
    }

    /// All tasks, blocks in their order; what no block holds comes last.
    fn order(&self) -> Vec<&'a Task> {
        let mut order = Vec::with_capacity(self.definition.tasks.len());
        let mut seen = vec![false; self.definition.tasks.len()];
        let mut stack: Vec<usize> = self.definition.root.iter().rev().copied().collect();
        let mut rest = 0..self.definition.tasks.len();
        loop {
            while let Some(task) = stack.pop() {
                if !std::mem::replace(&mut seen[task], true) {
                    order.push(&self.definition.tasks[task]);
                    stack.extend(self.definition.block(task).iter().rev());
                }
            }
            match rest.find(|task| !seen[*task]) {
                Some(task) => stack.push(task),
                None => return order,
            }
        }
    }

    /// How often a task is expected to be done, in thousandths: as in the past, or as its loops say.
    fn times(&mut self, task: &Task) -> u64 {
        if let Some(times) = self
            .past
            .times_milli(Digest(self.definition.digest), &task.pointer)
        {
            return times;
        }
        let mut times = ONCE;
        for outer in &self.definition.tasks {
            let TaskKind::For { in_, .. } = &outer.kind else {
                continue;
            };
            if !task.pointer.starts_with(&format!("{}/", outer.pointer)) {
                continue;
            }
            // A collection that needs no input is known now.
            match in_.eval(&Val::Null, &|_| Val::Null, None) {
                Ok(Val::Arr(items)) if !items.is_empty() => {
                    times = times.saturating_mul(items.len() as u64);
                }
                _ => self.assume(format!(
                    "the loop {} is counted once: its length is known when it runs",
                    outer.pointer
                )),
            }
        }
        times
    }

    fn assume(&mut self, what: String) {
        if !self.forecast.assumptions.contains(&what) {
            self.forecast.assumptions.push(what);
        }
    }

    fn task(&mut self, task: &'a Task, times: u64) {
        match &task.kind {
            TaskKind::CallHttp(_) => self.call(task, "http_call", times),
            TaskKind::CallSkill { name, .. } => self.call(task, name, times),
            TaskKind::Run { skill, .. } if skill == RUN_WORKFLOW => self.assume(format!(
                "the workflow that {} runs costs and takes nothing",
                task.pointer
            )),
            TaskKind::Run { skill, .. } => self.call(task, skill, times),
            TaskKind::Wait(wait) => match wait.milliseconds(|template| {
                template.as_constant().cloned().ok_or_else(|| {
                    crate::fault::Fault::new(Code::InvalidInput, "known when it runs")
                })
            }) {
                Ok(ms) => self.add(task, "timer", times, Range::default(), once(ms), 0),
                Err(_) => self.assume(format!(
                    "the wait {} counts as nothing: its length is known when it runs",
                    task.pointer
                )),
            },
            TaskKind::Fork { .. } if self.forecast.budget.is_some() => self.assume(format!(
                "no branch of {} needs more than its equal share of what is left of the budget",
                task.pointer
            )),
            _ => {}
        }
    }

    fn call(&mut self, task: &'a Task, name: &'a str, times: u64) {
        let Some(entry) = self.skills.entry(name) else {
            let why = format!("no skill named {name} is registered");
            return self.obstacle(ObstacleKind::UnknownSkill, &task.pointer, why);
        };
        let lists = [&self.limits.allow, &self.definition.allow];
        if lists
            .into_iter()
            .flatten()
            .any(|allow| !allow.contains(name))
        {
            let why = format!("the skill {name} is not among those allowed");
            self.obstacle(ObstacleKind::NotAllowed, &task.pointer, why);
        }
        let said = Said::of(task);
        let feeds = matches!(task.kind, TaskKind::CallSkill { .. });
        let wrong = said
            .as_ref()
            .and_then(|said| said.wrong(name, entry, feeds));
        if let Some((kind, why)) = wrong {
            self.obstacle(kind, &task.pointer, why);
        }
        let at_most = match &said {
            Some(said) => said.estimate(entry),
            None => entry.about.cost,
        };
        self.budget(task, name, at_most, times);
        let past = self.past.skill(name);
        let (cost, latency) = estimate(entry, at_most, past);
        self.add(
            task,
            name,
            times,
            cost,
            latency,
            past.map_or(0, |p| p.calls),
        );
        *self.calls.entry(name).or_default() += times.div_ceil(ONCE);
        self.risk(task, entry, times, past);
    }

    /// The engine's own rule, call by call: what is spent and the most that the next may cost must fit.
    fn budget(&mut self, task: &Task, name: &str, at_most: u64, times: u64) {
        let calls = times.div_ceil(ONCE);
        let after = self.spent.saturating_add(at_most.saturating_mul(calls));
        if let Some(budget) = self.forecast.budget.filter(|budget| after > *budget)
            && !self.has(ObstacleKind::Budget)
        {
            let why = format!(
                "{name} may cost {}; {} of {budget} are spent by then",
                after - self.spent,
                self.spent
            );
            self.obstacle(ObstacleKind::Budget, &task.pointer, why);
        }
        self.spent = after;
    }

    fn risk(&mut self, task: &Task, entry: &Registered, times: u64, past: Option<&SkillPast>) {
        let mut codes: BTreeSet<Code> = entry.about.fails.iter().copied().collect();
        codes.extend(past.iter().flat_map(|past| past.failures.keys().copied()));
        for code in codes {
            let share = past.map(|past| past.share(code));
            let times = times as f64 / ONCE as f64;
            let risky = self.risks.entry(code).or_insert(Risky {
                steps: BTreeSet::new(),
                safe: Some(1.0),
                retry: entry.about.retry,
            });
            risky.steps.insert(task.pointer.clone());
            risky.safe = risky
                .safe
                .zip(share)
                .map(|(safe, share)| safe * (1.0 - share).powf(times));
            risky.retry = worse(risky.retry, entry.about.retry);
        }
    }

    fn add(
        &mut self,
        task: &Task,
        skill: &str,
        times: u64,
        cost: Range,
        latency_ms: Range,
        calls: u64,
    ) {
        let all = |range: Range| Range {
            expected: range.expected.saturating_mul(times) / ONCE,
            most: range.most.saturating_mul(times.div_ceil(ONCE)),
        };
        let (cost, latency_ms) = (all(cost), all(latency_ms));
        self.forecast.cost.add(cost);
        self.forecast.latency_ms.add(latency_ms);
        self.forecast.steps.push(StepForecast {
            step: task.pointer.clone(),
            skill: skill.into(),
            times_milli: times,
            cost,
            latency_ms,
            calls,
        });
    }

    /// Limits that no single step breaks.
    fn judge_whole(&mut self, steps: u64) {
        let steps_max = self.definition.settings.steps_max;
        if steps > steps_max {
            let why = format!("{steps} steps are more than the {steps_max} that a run may take");
            self.obstacle(ObstacleKind::Steps, "", why);
        }
        let expected_ms = self.forecast.latency_ms.expected;
        if let Some(deadline) = self.limits.deadline_ms.filter(|ms| expected_ms > *ms) {
            let why = format!("{expected_ms} ms are expected, {deadline} are given");
            self.obstacle(ObstacleKind::Deadline, "", why);
        }
        for (name, calls) in std::mem::take(&mut self.calls) {
            let rate = self.skills.entry(name).and_then(|entry| entry.about.rate);
            let Some(rate) = rate else {
                continue;
            };
            let windows = 1 + expected_ms / rate.window_ms.max(1);
            if calls > rate.calls.saturating_mul(windows) {
                let why = format!(
                    "{calls} calls of {name}; {} in {} ms are allowed",
                    rate.calls, rate.window_ms
                );
                self.obstacle(ObstacleKind::Rate, "", why);
            }
        }
    }

    fn has(&self, kind: ObstacleKind) -> bool {
        self.forecast.obstacles.iter().any(|o| o.kind == kind)
    }

    fn obstacle(&mut self, kind: ObstacleKind, step: &str, why: String) {
        self.forecast.obstacles.push(Obstacle {
            kind,
            step: step.into(),
            why,
        });
    }
}

fn once(ms: u64) -> Range {
    Range {
        expected: ms,
        most: ms,
    }
}

/// One call: what the past says, within what the skill promises; without a past what the skill says.
fn estimate(entry: &Registered, at_most: u64, past: Option<&SkillPast>) -> (Range, Range) {
    let about = &entry.about;
    let (cost, latency) = match past {
        Some(past) => (past.mean_cost(), past.typical_ms()),
        None => (at_most, about.latency.typical_ms),
    };
    let cost = Range {
        expected: cost,
        most: at_most.max(cost),
    };
    let latency = Range {
        expected: latency,
        most: about.latency.max_ms.max(latency),
    };
    (cost, latency)
}

fn worse(one: Retry, other: Retry) -> Retry {
    let rank = |retry| match retry {
        Retry::Safe => 0,
        Retry::ByRequest => 1,
        Retry::Hold => 2,
        Retry::Useless => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// The likeliest first; those without a past behind, by their codes.
fn risks(found: BTreeMap<Code, Risky>) -> Vec<Risk> {
    let mut risks: Vec<Risk> = found
        .into_iter()
        .map(|(code, risky)| Risk {
            code,
            steps: risky.steps.into_iter().collect(),
            probability_millionths: risky.safe.map(|safe| ((1.0 - safe) * 1e6).round() as u64),
            retry: risky.retry,
        })
        .collect();
    risks.sort_by_key(|risk| std::cmp::Reverse(risk.probability_millionths));
    risks
}
