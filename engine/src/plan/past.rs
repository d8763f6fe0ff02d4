//! What happened in the runs of a log: the better estimate, and the measure of all of them.

use super::{Limits, Range, simulate};
use crate::error::Error;
use crate::fault::Code;
use crate::history::{HistoryError, Values, read_event};
use crate::outcome::{Status, StepOutcome, milliseconds, outcomes};
use crate::skill::Skills;
use crate::workflow::Definition;
use aos_format::digest::{Digest, RunId};
use aos_format::event::Event;
use aos_format::record::StreamId;
use aos_store::{RunStatus, Source};
use std::collections::BTreeMap;

/// Most runs that are looked at, the newest first.
pub const RUNS_MAX: usize = 10_000;

/// What happened in the runs of a log.
#[derive(Clone, Debug, Default)]
pub struct Past {
    skills: BTreeMap<String, SkillPast>,
    runs: Vec<RunPast>,
}

/// What calls of one skill cost, took, and failed of.
#[derive(Clone, Debug, Default)]
pub struct SkillPast {
    /// Calls that were answered.
    pub calls: u64,
    /// Units they cost together.
    pub cost: u64,
    /// Milliseconds each of them took, ascending.
    pub latencies_ms: Vec<u64>,
    /// Those that failed, by code.
    pub failures: BTreeMap<Code, u64>,
}

/// One run that has ended.
#[derive(Clone, Debug)]
pub struct RunPast {
    /// The run.
    pub run: RunId,
    /// Its document.
    pub definition: Digest,
    /// Whether it completed.
    pub completed: bool,
    /// Units it cost.
    pub cost: u64,
    /// From its first record to its last.
    pub latency_ms: u64,
    /// How often each step was done, by its pointer.
    times: BTreeMap<String, u64>,
    calls: Vec<PastCall>,
}

#[derive(Clone, Debug)]
struct PastCall {
    skill: String,
    cost: u64,
    latency_ms: u64,
    code: Option<Code>,
}

/// How far estimates of a document's runs were off, each run judged without its own part in the past.
#[derive(Clone, Debug)]
pub struct Accuracy {
    /// Completed runs of the document.
    pub runs: u64,
    /// What they cost and took on average.
    pub cost: u64,
    /// Milliseconds.
    pub latency_ms: u64,
    /// Mean absolute error of the estimate from what skills say: units.
    pub told_cost_error: u64,
    /// The same in milliseconds.
    pub told_latency_error_ms: u64,
    /// Mean absolute error of the estimate from the other runs: units.
    pub past_cost_error: u64,
    /// The same in milliseconds.
    pub past_latency_error_ms: u64,
}

impl Past {
    /// No past.
    pub fn none() -> Past {
        Past::default()
    }

    /// The newest runs of a log that have ended, at most [`RUNS_MAX`].
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::History`].
    pub fn read(source: &dyn Source, values: &dyn Values) -> Result<Past, Error> {
        let index = source.index()?;
        let ended = |status: &RunStatus| {
            matches!(
                status,
                RunStatus::Completed | RunStatus::Faulted | RunStatus::Cancelled
            )
        };
        let mut rows: Vec<_> = index
            .rows
            .runs
            .values()
            .filter(|row| ended(&row.status))
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.start));
        rows.truncate(RUNS_MAX);
        let mut runs = Vec::with_capacity(rows.len());
        for row in rows {
            let records = source.stream(StreamId::run(row.run), 1)?;
            let bad = |source: HistoryError| Error::History {
                run: row.run,
                source,
            };
            let mut run = RunPast {
                run: row.run,
                definition: row.definition,
                completed: row.status == RunStatus::Completed,
                cost: 0,
                latency_ms: 0,
                times: BTreeMap::new(),
                calls: Vec::new(),
            };
            for outcome in outcomes(&records, values).map_err(bad)? {
                run.take(outcome);
            }
            let mut walls = Vec::with_capacity(2);
            for record in &records {
                if matches!(
                    read_event(record).map_err(bad)?,
                    Event::Start(_) | Event::End(_)
                ) {
                    walls.push(record.view()?.wall_ns());
                }
            }
            if let (Some(first), Some(last)) = (walls.first(), walls.last()) {
                run.latency_ms = milliseconds(*first, *last);
            }
            runs.push(run);
        }
        Ok(Past::of(runs))
    }

    fn of(runs: Vec<RunPast>) -> Past {
        let mut skills: BTreeMap<String, SkillPast> = BTreeMap::new();
        for call in runs.iter().flat_map(|run| &run.calls) {
            let skill = skills.entry(call.skill.clone()).or_default();
            skill.calls += 1;
            skill.cost = skill.cost.saturating_add(call.cost);
            skill.latencies_ms.push(call.latency_ms);
            if let Some(code) = call.code {
                *skill.failures.entry(code).or_default() += 1;
            }
        }
        for skill in skills.values_mut() {
            skill.latencies_ms.sort_unstable();
        }
        Past { skills, runs }
    }

    /// Runs that have ended, the newest first.
    pub fn runs(&self) -> &[RunPast] {
        &self.runs
    }

    /// What is known of a skill's calls; none when there were none.
    pub fn skill(&self, name: &str) -> Option<&SkillPast> {
        self.skills.get(name)
    }

    pub(super) fn runs_of(&self, definition: Digest) -> u64 {
        self.completed(definition).count() as u64
    }

    fn completed(&self, definition: Digest) -> impl Iterator<Item = &RunPast> {
        self.runs
            .iter()
            .filter(move |run| run.definition == definition && run.completed)
    }

    /// How often a step was done in a completed run of the document, in thousandths; none when there were no such runs.
    pub(super) fn times_milli(&self, definition: Digest, pointer: &str) -> Option<u64> {
        let runs = self.runs_of(definition);
        let times: u64 = self
            .completed(definition)
            .map(|run| run.times.get(pointer).copied().unwrap_or_default())
            .sum();
        times.saturating_mul(1_000).checked_div(runs)
    }

    /// How far estimates of this document's runs were off; none when fewer than two of them completed.
    pub fn accuracy(&self, definition: &Definition, skills: &Skills) -> Option<Accuracy> {
        let digest = Digest(definition.digest);
        let runs: Vec<&RunPast> = self.completed(digest).take(ACCURACY_RUNS_MAX).collect();
        if runs.len() < 2 {
            return None;
        }
        let limits = Limits::default();
        let told = simulate(definition, skills, &limits, &Past::none());
        let mut sums = [0u64; 6];
        for run in &runs {
            let others = self
                .runs
                .iter()
                .filter(|other| other.run != run.run)
                .take(ACCURACY_OTHERS_MAX)
                .cloned()
                .collect();
            let past = simulate(definition, skills, &limits, &Past::of(others));
            let off = |range: Range, real: u64| range.expected.abs_diff(real);
            let figures = [
                run.cost,
                run.latency_ms,
                off(told.cost, run.cost),
                off(told.latency_ms, run.latency_ms),
                off(past.cost, run.cost),
                off(past.latency_ms, run.latency_ms),
            ];
            for (sum, figure) in sums.iter_mut().zip(figures) {
                *sum = sum.saturating_add(figure);
            }
        }
        let count = runs.len() as u64;
        let [cost, latency_ms, told_cost, told_ms, past_cost, past_ms] =
            sums.map(|sum| sum.div_ceil(count));
        Some(Accuracy {
            runs: count,
            cost,
            latency_ms,
            told_cost_error: told_cost,
            told_latency_error_ms: told_ms,
            past_cost_error: past_cost,
            past_latency_error_ms: past_ms,
        })
    }
}

/// Most runs that the accuracy is measured on, and most others that each is judged by.
const ACCURACY_RUNS_MAX: usize = 32;
const ACCURACY_OTHERS_MAX: usize = 1_000;

impl RunPast {
    fn take(&mut self, outcome: StepOutcome) {
        if outcome.status == Status::Pending {
            return;
        }
        let pointer = outcome
            .activation
            .rsplit_once(';')
            .map_or(outcome.activation.as_str(), |(pointer, _)| pointer);
        if outcome.status != Status::Skipped {
            *self.times.entry(pointer.to_owned()).or_default() += 1;
        }
        self.cost = self.cost.saturating_add(outcome.cost);
        if let Some(skill) = outcome.effect.filter(|effect| effect != "timer") {
            self.calls.push(PastCall {
                skill,
                cost: outcome.cost,
                latency_ms: outcome.latency_ms,
                code: outcome.code,
            });
        }
    }
}

impl SkillPast {
    /// Units of one call, rounded up.
    pub fn mean_cost(&self) -> u64 {
        self.cost
            .checked_div(self.calls)
            .map_or(0, |_| self.cost.div_ceil(self.calls))
    }

    /// The median of what a call took.
    pub fn typical_ms(&self) -> u64 {
        self.latencies_ms
            .get(self.latencies_ms.len() / 2)
            .copied()
            .unwrap_or_default()
    }

    /// The share of calls that failed with that code.
    pub(super) fn share(&self, code: Code) -> f64 {
        let failed = self.failures.get(&code).copied().unwrap_or_default();
        failed as f64 / self.calls.max(1) as f64
    }
}
