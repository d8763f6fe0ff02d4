//! What runs did and met, added up.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

/// Counts of one or more runs.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Crash states that were opened and examined.
    pub states: u64,
    /// Different disks among them, by their fingerprints.
    pub distinct: HashSet<u64>,
    /// Openings that a power cut broke off: the second and third crash.
    pub crashes_in_recovery: u64,
    /// Torn tails that an opening cut off.
    pub tails_cut: u64,
    /// Logs that were refused because of a fault of the medium, with place, expected and found.
    pub refused: u64,
    /// Logs that opened after a fault of the medium, which reading then found.
    pub found_by_reading: u64,
    /// Acknowledged ends of a log that a lying disk took, and something said so.
    pub rolled_back_told: u64,
    /// Acknowledged ends that it took without leaving a trace.
    pub rolled_back_unseen: u64,
    /// Acknowledged records found again, counted in each state.
    pub records: u64,
    /// Runs of workflows that ended, and effects done for them.
    pub workflows: u64,
    /// Effects done.
    pub effects: u64,
    /// Replays that said match.
    pub replays: u64,
    /// How often each fault met each state of the store.
    pub coverage: BTreeMap<(&'static str, String), u64>,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: Tally) {
        self.runs += other.runs;
        self.states += other.states;
        self.distinct.extend(other.distinct);
        self.crashes_in_recovery += other.crashes_in_recovery;
        self.tails_cut += other.tails_cut;
        self.refused += other.refused;
        self.found_by_reading += other.found_by_reading;
        self.rolled_back_told += other.rolled_back_told;
        self.rolled_back_unseen += other.rolled_back_unseen;
        self.records += other.records;
        self.workflows += other.workflows;
        self.effects += other.effects;
        self.replays += other.replays;
        for (key, count) in other.coverage {
            *self.coverage.entry(key).or_default() += count;
        }
    }

    /// Counts a fault that met a state of the store.
    pub fn met(&mut self, fault: &'static str, state: String) {
        *self.coverage.entry((fault, state)).or_default() += 1;
    }

    /// The counts, one a line.
    pub fn summary(&self) -> String {
        let rows = [
            ("runs", self.runs),
            ("crash states", self.states),
            ("different states", self.distinct.len() as u64),
            ("crashes in recovery", self.crashes_in_recovery),
            ("torn tails cut", self.tails_cut),
            ("refused, saying why", self.refused),
            ("found by reading", self.found_by_reading),
            ("rolled back by lies, told", self.rolled_back_told),
            ("rolled back by lies, no trace", self.rolled_back_unseen),
            ("acknowledged records found", self.records),
            ("workflows ended", self.workflows),
            ("effects done", self.effects),
            ("replays that match", self.replays),
        ];
        let mut text = String::new();
        for (name, count) in rows {
            let _never_fails = writeln!(text, "{name:<30} {count:>12}");
        }
        text
    }

    /// The table of faults and states of the store.
    pub fn table(&self) -> String {
        let mut faults: Vec<&str> = self.coverage.keys().map(|(fault, _)| *fault).collect();
        faults.dedup();
        let mut states: Vec<&str> = self.coverage.keys().map(|(_, state)| &**state).collect();
        states.sort_unstable();
        states.dedup();
        let mut text = format!("{:<28}", "state of the store");
        for fault in &faults {
            let _never_fails = write!(text, " {fault:>11}");
        }
        text.push('\n');
        for state in states {
            let _never_fails = write!(text, "{state:<28}");
            for fault in &faults {
                let key = (*fault, state.to_owned());
                let count = self.coverage.get(&key).copied().unwrap_or(0);
                let _never_fails = write!(text, " {count:>11}");
            }
            text.push('\n');
        }
        text
    }
}
