//! The report: what a replay has to say, the same bytes at any number of workers.

use crate::finding::Finding;
use crate::verify::Integrity;
use aos_format::canonical::write_string;
use aos_format::digest::{Digest, RunId};

/// Whether re-execution gave the recorded histories again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Determinism {
    /// Every event of every run was made again, byte for byte.
    Match,
    /// At least one was not.
    Mismatch,
    /// Not asked for, or not possible for at least one run; nothing false was found.
    NotChecked,
}

impl Determinism {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Determinism::Match => "match",
            Determinism::Mismatch => "mismatch",
            Determinism::NotChecked => "not_checked",
        }
    }
}

/// The verdict about a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Whole, and made again.
    Match,
    /// Whole; re-execution was not asked for.
    Verified,
    /// Whole, but some event made again is another one.
    Mismatch,
    /// Bytes are damaged or tampered with.
    Corrupt,
    /// Nothing false was found, but not all could be checked.
    Undecided,
}

impl Verdict {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Match => "match",
            Verdict::Verified => "verified",
            Verdict::Mismatch => "mismatch",
            Verdict::Corrupt => "corrupt",
            Verdict::Undecided => "undecided",
        }
    }

    /// Exit code of tools.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Match | Verdict::Verified => 0,
            Verdict::Mismatch => 1,
            Verdict::Corrupt => 5,
            Verdict::Undecided => 7,
        }
    }

    /// Both answers in one. `complete` says that this build could read everything it was asked to check.
    pub(crate) fn of(
        integrity: Integrity,
        determinism: Determinism,
        verify_only: bool,
        complete: bool,
    ) -> Verdict {
        match (integrity, determinism) {
            (Integrity::Corrupt, _) => Verdict::Corrupt,
            (_, Determinism::Mismatch) => Verdict::Mismatch,
            (Integrity::Gap | Integrity::TailUnproven, _) => Verdict::Undecided,
            (Integrity::Intact, _) if !complete => Verdict::Undecided,
            (Integrity::Intact, Determinism::Match) => Verdict::Match,
            (Integrity::Intact, Determinism::NotChecked) if verify_only => Verdict::Verified,
            (Integrity::Intact, Determinism::NotChecked) => Verdict::Undecided,
        }
    }
}

/// The verdict about one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// Whether it was made again.
    pub determinism: Determinism,
    /// Whether it has not ended.
    pub open: bool,
    /// Records that advance its histories.
    pub events: u64,
    /// Activations that ended, control steps included.
    pub steps: u64,
    /// Newest history digest.
    pub history_digest: Digest,
}

impl RunReport {
    /// One JSON object, schema `aos.replay.run.v1`.
    pub fn json(&self) -> String {
        let mut object = Object::new();
        object.text("schema", "aos.replay.run.v1");
        object.text("run", &self.run.to_string());
        object.text("determinism", self.determinism.name());
        object.raw("open", if self.open { "true" } else { "false" });
        object.number("events", self.events);
        object.number("steps", self.steps);
        object.text("history_digest", &self.history_digest.hex());
        object.end()
    }
}

/// The pruned beginning of a log, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrunedRuns {
    /// Where the log begins.
    pub below: u64,
    /// Runs that are gone: archives have them.
    pub runs: u64,
}

/// What a replay has to say.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the bytes are whole.
    pub integrity: Integrity,
    /// Whether the histories were made again.
    pub determinism: Determinism,
    /// Up to which offset seals exclude tampering; 0 when nothing is sealed.
    pub sealed_through: u64,
    /// Runs looked at.
    pub runs: u64,
    /// Those that have not ended.
    pub open: u64,
    /// Records that advance histories of these runs.
    pub events: u64,
    /// Activations that ended in these runs, control steps included.
    pub steps: u64,
    /// Bytes verified.
    pub bytes: u64,
    /// Runs of which some event made again is another one.
    pub mismatches: u64,
    /// The first findings, in order of offset.
    pub findings: Vec<Finding>,
    /// Number of all findings.
    pub finding_count: u64,
    /// SHA-256 over (run id, newest digest) of these runs and of pruned ones, by run id.
    pub digest: Digest,
    /// What was pruned and so not looked at.
    pub pruned: Option<PrunedRuns>,
    /// One row a run, by run id.
    pub rows: Vec<RunReport>,
    /// Threads that worked.
    pub workers: usize,
}

impl Report {
    /// The object of `replay -o json`, schema `aos.replay.v1`. `elapsed_s` is the caller's measure: this crate reads no clock.
    ///
    /// All but `workers` and `elapsed_s` is the same at any number of workers.
    pub fn json(&self, elapsed_s: f64) -> String {
        let mut object = Object::new();
        object.text("schema", "aos.replay.v1");
        object.text("verdict", self.verdict.name());
        object.text("integrity", self.integrity.name());
        object.text("determinism", self.determinism.name());
        object.number("sealed_through", self.sealed_through);
        object.number("runs", self.runs);
        object.number("open", self.open);
        object.number("events", self.events);
        object.number("steps", self.steps);
        object.number("bytes", self.bytes);
        object.number("mismatches", self.mismatches);
        let findings: Vec<String> = self.findings.iter().map(finding_json).collect();
        object.raw("findings", &format!("[{}]", findings.join(",")));
        object.number("finding_count", self.finding_count);
        object.text("digest", &self.digest.hex());
        if let Some(pruned) = &self.pruned {
            object.number("pruned_below", pruned.below);
            object.number("pruned_runs", pruned.runs);
        }
        object.number("workers", self.workers as u64);
        object.raw("elapsed_s", &format!("{:.6}", elapsed_s.max(0.0)));
        object.end()
    }
}

/// One finding as a JSON object.
fn finding_json(finding: &Finding) -> String {
    let mut object = Object::new();
    object.text("code", finding.code);
    object.text("kind", finding.kind.name());
    object.maybe("run", finding.run().map(|run| run.to_string()).as_deref());
    object.maybe("step", finding.step().as_deref());
    object.maybe("activation", finding.activation.as_deref());
    match finding.offset {
        Some(offset) => object.number("offset", offset.0),
        None => object.raw("offset", "null"),
    }
    match finding.length {
        Some(length) => object.number("length", length),
        None => object.raw("length", "null"),
    }
    object.maybe("file", finding.file.as_deref());
    object.maybe("field", finding.field.as_deref());
    object.text("expected", &finding.expected);
    object.text("found", &finding.found);
    object.end()
}

/// A JSON object in the making.
struct Object(Vec<u8>);

impl Object {
    fn new() -> Object {
        Object(b"{".to_vec())
    }

    fn raw(&mut self, key: &str, value: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        write_string(&mut self.0, key);
        self.0.push(b':');
        self.0.extend_from_slice(value.as_bytes());
    }

    fn number(&mut self, key: &str, value: u64) {
        self.raw(key, &value.to_string());
    }

    fn text(&mut self, key: &str, value: &str) {
        self.raw(key, "");
        write_string(&mut self.0, value);
    }

    fn maybe(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(key, value),
            None => self.raw(key, "null"),
        }
    }

    fn end(mut self) -> String {
        self.0.push(b'}');
        String::from_utf8(self.0).expect("made of text only")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_answer_decides_the_verdict() {
        let cases = [
            (
                Integrity::Intact,
                Determinism::Match,
                false,
                Verdict::Match,
                0,
            ),
            (
                Integrity::Intact,
                Determinism::NotChecked,
                true,
                Verdict::Verified,
                0,
            ),
            (
                Integrity::Intact,
                Determinism::NotChecked,
                false,
                Verdict::Undecided,
                7,
            ),
            (
                Integrity::Intact,
                Determinism::Mismatch,
                false,
                Verdict::Mismatch,
                1,
            ),
            (
                Integrity::Gap,
                Determinism::Match,
                false,
                Verdict::Undecided,
                7,
            ),
            (
                Integrity::Gap,
                Determinism::Mismatch,
                false,
                Verdict::Mismatch,
                1,
            ),
            (
                Integrity::TailUnproven,
                Determinism::NotChecked,
                true,
                Verdict::Undecided,
                7,
            ),
            (
                Integrity::Corrupt,
                Determinism::Mismatch,
                false,
                Verdict::Corrupt,
                5,
            ),
        ];
        for (integrity, determinism, verify_only, verdict, exit_code) in cases {
            let found = Verdict::of(integrity, determinism, verify_only, true);
            assert_eq!((found, found.exit_code()), (verdict, exit_code));
        }
        let newer = Verdict::of(Integrity::Intact, Determinism::Match, false, false);
        assert_eq!(newer, Verdict::Undecided);
    }
}
