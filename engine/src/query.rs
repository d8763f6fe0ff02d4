//! Where the runs of a log stand: what is left of their limits, what they may call, what became of their last steps.

use crate::error::Error;
use crate::history::{HistoryError, Values, read_event};
use crate::machine::StartInfo;
use crate::outcome::{StepOutcome, outcomes};
use aos_format::digest::Digest;
use aos_format::event::{Event, SkillRef};
use aos_format::record::StreamId;
use aos_store::{RunRow, Source};

/// Where a run stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its row.
    pub row: RunRow,
    /// Units that its effects may cost together.
    pub budget: Option<u64>,
    /// Units that they cost so far.
    pub spent: u64,
    /// Most steps it may take.
    pub steps_max: u64,
    /// Skills that its document calls, as START recorded them.
    pub skills: Vec<SkillRef>,
    /// What became of its last steps, the oldest first; those that are pending last.
    pub last: Vec<StepOutcome>,
}

impl Standing {
    /// Units that are left, where there is a budget.
    pub fn remaining(&self) -> Option<u64> {
        self.budget.map(|budget| budget.saturating_sub(self.spent))
    }

    /// Steps that are left.
    pub fn steps_left(&self) -> u64 {
        self.steps_max.saturating_sub(self.row.steps)
    }
}

/// Where the run of `row` stands, with its last `most` outcomes.
///
/// # Errors
/// [`Error::Store`], [`Error::History`], [`Error::Semantics`].
pub fn standing(
    source: &dyn Source,
    values: &dyn Values,
    row: &RunRow,
    most: usize,
) -> Result<Standing, Error> {
    let run = row.run;
    let bad = |source: HistoryError| Error::History { run, source };
    let records = source.stream(StreamId::run(run), 1)?;
    let start = records.first().ok_or_else(|| Error::NoRun {
        what: run.to_string(),
    })?;
    let Event::Start(start) = read_event(start).map_err(bad)? else {
        return Err(Error::NoRun {
            what: format!("{run} with a START"),
        });
    };
    let mut info = StartInfo {
        key: row.key.clone(),
        generation: row.generation,
        root_seed: Digest::ZERO,
        budget: None,
        pins: Default::default(),
    };
    info.read_behaviour(&start.behaviour)
        .map_err(|flag| Error::Semantics {
            run,
            what: format!("behaviour flag {flag}"),
        })?;
    let mut last = outcomes(&records, values).map_err(bad)?;
    let spent = last
        .iter()
        .fold(0u64, |spent, outcome| spent.saturating_add(outcome.cost));
    last.drain(..last.len().saturating_sub(most));
    Ok(Standing {
        row: row.clone(),
        budget: info.budget,
        spent,
        steps_max: start.steps_max,
        skills: start.skills,
        last,
    })
}
