//! Many pairs of runs: paired by key, compared in parallel, grouped by cause.

use super::compare::damage_cause;
use super::input::{Input, RunAt, class_of, fault};
use super::report::{BULK_SCHEMA, Bulk, BulkRow, Group, Report, Verdict};
use super::{Options, Shelves, event, one};
use crate::error::Error;
use crate::finding::pointer;
use crate::pool::{self, Threads};
use aos_engine::expr::EVAL_STACK_BYTES;
use aos_format::digest::RunId;
use aos_store::{RunRow, Source};
use std::collections::{BTreeMap, BTreeSet};

/// Keys named where only their number matters.
const NAMED_MAX: usize = 20;
/// Examples of a group.
const EXAMPLES_MAX: usize = 5;

/// Runs of two inputs, paired.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    /// The pairs, with the key that they are known by.
    pub pairs: Vec<(String, [RunAt; 2])>,
    /// Keys that the first input has alone.
    pub only_a: Vec<String>,
    /// Keys that the second input has alone.
    pub only_b: Vec<String>,
}

/// Pairs the runs of two inputs: the same run id, else the same workflow, key and generation, else the same key and
/// generation where that is no question. `only` takes part of the first input.
///
/// # Errors
/// [`Error::Store`].
pub fn pair_by_key(
    a: &Input<'_>,
    b: &Input<'_>,
    only: Option<&BTreeSet<RunId>>,
) -> Result<Pairs, Error> {
    let (left, right) = (a.index()?, b.index()?);
    let theirs = &right.rows.runs;
    let mut by_key: BTreeMap<(&str, u64), Vec<&RunRow>> = BTreeMap::new();
    for row in theirs.values() {
        by_key
            .entry((&row.key, row.generation))
            .or_default()
            .push(row);
    }
    let mut taken = BTreeSet::new();
    let mut pairs = Pairs::default();
    let mut rows: Vec<&RunRow> = left
        .rows
        .runs
        .values()
        .filter(|row| only.is_none_or(|only| only.contains(&row.run)))
        .collect();
    rows.sort_by(|x, y| order(x).cmp(&order(y)));
    for row in rows {
        let named =
            |other: &&&RunRow| (&other.namespace, &other.name) == (&row.namespace, &row.name);
        let alike = by_key.get(&(row.key.as_str(), row.generation));
        let found = theirs.get(&row.run).or_else(|| {
            let alike = alike?;
            let same = alike.iter().find(named).copied();
            same.or((alike.len() == 1).then(|| alike[0]))
        });
        match found.filter(|found| taken.insert(found.run)) {
            Some(found) => pairs
                .pairs
                .push((row.key.clone(), [RunAt::of(row), RunAt::of(found)])),
            None => pairs.only_a.push(row.key.clone()),
        }
    }
    if only.is_none() {
        let mut left_over: Vec<&RunRow> = theirs
            .values()
            .filter(|row| !taken.contains(&row.run))
            .collect();
        left_over.sort_by(|x, y| order(x).cmp(&order(y)));
        pairs.only_b = left_over.iter().map(|row| row.key.clone()).collect();
    }
    Ok(pairs)
}

/// Keys in the order of their numbers, where they end in some.
fn order(row: &RunRow) -> (usize, &str, u64) {
    (row.key.len(), &row.key, row.generation)
}

/// Compares many pairs on `workers` threads. The report is the same for any number of them.
///
/// # Errors
/// As [`super::diff`].
pub fn bulk(
    inputs: [&Input<'_>; 2],
    pairs: &Pairs,
    options: &Options<'_>,
    workers: usize,
) -> Result<Bulk, Error> {
    let mut gather = Gather::new(inputs, pairs, options);
    if gather.damaged(inputs) {
        return Ok(gather.bulk);
    }
    let shelves = Shelves::default();
    let total = pairs.pairs.len();
    let work = |index: usize, out: &mut Option<Result<Report, Error>>| {
        *out = pairs
            .pairs
            .get(index)
            .map(|(_, runs)| one(inputs, *runs, options, &shelves));
    };
    let stack = Threads::Stack(EVAL_STACK_BYTES);
    pool::in_order(
        stack,
        workers,
        total,
        &work,
        |index, out| -> Result<(), Error> {
            if let Some(report) = out.take() {
                gather.add(&pairs.pairs[index].0, &report?, options.rows_max);
            }
            (options.progress)(index as u64 + 1, total as u64);
            Ok(())
        },
    )?;
    Ok(gather.finish())
}

/// A bulk report in the making.
struct Gather {
    bulk: Bulk,
    groups: BTreeMap<(String, String, String), Group>,
}

impl Gather {
    fn new(inputs: [&Input<'_>; 2], pairs: &Pairs, options: &Options<'_>) -> Gather {
        let named = |keys: &[String]| keys.iter().take(NAMED_MAX).cloned().collect();
        Gather {
            bulk: Bulk {
                schema: BULK_SCHEMA.into(),
                verdict: Verdict::Equal,
                a: inputs[0].side(),
                b: inputs[1].side(),
                ignored: options.rules.texts(),
                pairs: pairs.pairs.len() as u64,
                equal: 0,
                prefix: 0,
                undecided: 0,
                differ: 0,
                damaged: 0,
                benign: 0,
                only_a: named(&pairs.only_a),
                only_a_count: pairs.only_a.len() as u64,
                only_b: named(&pairs.only_b),
                only_b_count: pairs.only_b.len() as u64,
                groups: Vec::new(),
                rows: Vec::new(),
                rows_left_out: 0,
            },
            groups: BTreeMap::new(),
        }
    }

    /// Whether an input failed its checks as a whole.
    fn damaged(&mut self, inputs: [&Input<'_>; 2]) -> bool {
        for input in inputs {
            let Some(class) = input.damage() else {
                continue;
            };
            let wrong = input.findings().iter().filter(|f| class_of(f).is_some());
            let faults: Vec<_> = wrong.map(fault).collect();
            let cause = damage_cause(class, input.name(), &faults);
            self.bulk.verdict = Verdict::Damaged;
            self.bulk.groups.push(Group {
                causes: format!("{} {}", cause.class.name(), cause.status.name()),
                step: String::new(),
                path: cause.evidence.first().cloned().unwrap_or_default(),
                count: self.bulk.pairs,
                benign: false,
                examples: vec![input.name().to_owned()],
            });
        }
        self.bulk.verdict == Verdict::Damaged
    }

    fn add(&mut self, key: &str, report: &Report, rows_max: usize) {
        let bulk = &mut self.bulk;
        let count = match report.verdict {
            Verdict::Equal => &mut bulk.equal,
            Verdict::Prefix => &mut bulk.prefix,
            Verdict::Undecided => &mut bulk.undecided,
            Verdict::Differ => &mut bulk.differ,
            Verdict::Damaged => &mut bulk.damaged,
        };
        *count += 1;
        bulk.verdict = bulk.verdict.max(report.verdict);
        if report.verdict == Verdict::Equal {
            return;
        }
        let row = row(key, report);
        if matches!(report.verdict, Verdict::Differ | Verdict::Damaged) {
            let benign = report.verdict == Verdict::Differ && report.first.state.is_none();
            bulk.benign += u64::from(benign);
            let place = row
                .state
                .as_ref()
                .and_then(|pair| pair.b.as_ref().or(pair.a.as_ref()));
            let step = place.map_or_else(String::new, |event| {
                let named = event::names(&event.activation);
                match pointer(&named) {
                    "" => event.kind.clone(),
                    step => step.to_owned(),
                }
            });
            let group = self
                .groups
                .entry((row.causes.clone(), step.clone(), row.path.clone()))
                .or_insert_with(|| Group {
                    causes: row.causes.clone(),
                    step,
                    path: row.path.clone(),
                    count: 0,
                    benign,
                    examples: Vec::new(),
                });
            group.count += 1;
            group.benign &= benign;
            if group.examples.len() < EXAMPLES_MAX {
                group.examples.push(key.to_owned());
            }
        }
        if bulk.rows.len() < rows_max {
            bulk.rows.push(row);
        } else {
            bulk.rows_left_out += 1;
        }
    }

    fn finish(mut self) -> Bulk {
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_by(|x, y| y.count.cmp(&x.count).then_with(|| x.causes.cmp(&y.causes)));
        self.bulk.groups = groups;
        let alone = self.bulk.only_a_count + self.bulk.only_b_count;
        if alone > 0 {
            self.bulk.verdict = self.bulk.verdict.max(Verdict::Differ);
        }
        self.bulk
    }
}

fn row(key: &str, report: &Report) -> BulkRow {
    let fields = if report.first.state == report.first.event {
        &report.fields
    } else {
        &report.state_fields
    };
    let state = fields
        .iter()
        .find(|diff| !diff.volatile && report.first.state.is_some());
    // Positions in lists say which element differs in one run, not what differs in many.
    let path = state.map_or_else(String::new, |diff| {
        let parts: Vec<&str> = diff
            .path
            .split('/')
            .map(|part| {
                let number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                if number { "*" } else { part }
            })
            .collect();
        parts.join("/")
    });
    BulkRow {
        key: key.to_owned(),
        a: report.a.run.clone(),
        b: report.b.run.clone(),
        verdict: report.verdict,
        causes: report.causes_line(),
        event: report.first.event.clone(),
        state: report.first.state.clone(),
        path,
    }
}
