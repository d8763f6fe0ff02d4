//! What a diff says: plain data, the same in memory and as JSON. The form stands in `docs/format/diff.md`.

use serde::{Deserialize, Serialize};

/// Name of the form of a [`Report`].
pub const SCHEMA: &str = "aos.diff.v1";
/// Name of the form of a [`Bulk`].
pub const BULK_SCHEMA: &str = "aos.diff.bulk.v1";

/// The answer about one pair of runs, or of logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing that counts differs.
    Equal,
    /// One side ends, still open, where the other goes on; up to there nothing differs.
    Prefix,
    /// Nothing false was found, but not all could be compared.
    Undecided,
    /// Something that counts differs.
    Differ,
    /// A side is damaged, truncated or tampered with; nothing was compared.
    Damaged,
}

impl Verdict {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Equal => "equal",
            Verdict::Prefix => "prefix",
            Verdict::Undecided => "undecided",
            Verdict::Differ => "differ",
            Verdict::Damaged => "damaged",
        }
    }

    /// Exit code of tools.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Equal => 0,
            Verdict::Differ => 1,
            Verdict::Damaged => 5,
            Verdict::Prefix | Verdict::Undecided => 7,
        }
    }
}

/// Everything a diff of two runs has to say.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The answer.
    pub verdict: Verdict,
    /// The first side.
    pub a: Side,
    /// The second side.
    pub b: Side,
    /// Rules of what was ignored, as given.
    pub ignored: Vec<String>,
    /// Differences that those rules hid.
    pub ignored_differences: u64,
    /// Where they part first.
    pub first: First,
    /// The differences of the first pair of events that differs.
    pub fields: Vec<FieldDiff>,
    /// The differences of the first pair whose values differ, where that is a later one.
    pub state_fields: Vec<FieldDiff>,
    /// How the two histories lie side by side.
    pub alignment: Alignment,
    /// What led to the difference, and what followed from it.
    pub slice: Slice,
    /// Root causes, in the order in which they were found.
    pub causes: Vec<Cause>,
    /// What was read to find out.
    pub cost: Cost,
}

/// One side of a comparison.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Side {
    /// Log or archive, as it was named.
    pub source: String,
    /// Run id in hex; empty where no run could be read.
    pub run: String,
    /// Key it was started under.
    pub key: String,
    /// Generation of that key.
    pub generation: u64,
    /// `namespace/name version`.
    pub workflow: String,
    /// Digest of the definition in hex.
    pub definition: String,
    /// Where the run stands: `open`, `waiting`, `pending`, `completed`, `faulted`, `cancelled`.
    pub status: String,
    /// Newest history digest of the first lane in hex.
    pub digest: String,
    /// Records of the run's stream.
    pub records: u64,
    /// Records that advance its history.
    pub events: u64,
    /// What stands behind this side: `full`, `run`, `probes`, `carrier`; see [`Authenticated`].
    pub authenticated: Authenticated,
    /// Whether the records that the verdict rests on stand in sealed ranges of the log whose roots were computed again; of
    /// logs that were not checked whole.
    #[serde(default)]
    pub sealed: bool,
    /// What is wrong with the bytes of this side.
    pub findings: Vec<Fault>,
}

/// How much of a side was checked before anything was compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authenticated {
    /// Every byte of the log.
    Full,
    /// Every record of the run: CRC, links, history digests and values.
    Run,
    /// The records that were read.
    #[default]
    Probes,
    /// The seals of the archive that carries it.
    Carrier,
}

/// A finding about the bytes of a side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Code of the help page.
    pub code: String,
    /// `corruption`, `gap`, `tail_unproven`, …
    pub kind: String,
    /// First byte concerned.
    pub offset: Option<u64>,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// Where two histories part.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct First {
    /// The first event that differs.
    pub event: Option<Pair>,
    /// The first event after which the state differs: output, context, next step, an answer, a reading of the clock.
    pub state: Option<Pair>,
    /// The first step whose output differs.
    pub output: Option<Pair>,
}

/// An event of each side that stand for one another; one of them is missing where the other side has none.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Pair {
    /// Of the first side.
    pub a: Option<EventRef>,
    /// Of the second side.
    pub b: Option<EventRef>,
}

/// An event, by place and in short.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EventRef {
    /// Number in the run's stream, from 1.
    pub seq: u64,
    /// Offset in the log.
    pub offset: u64,
    /// Lane.
    pub lane: u64,
    /// Number in the lane's history, from 1.
    pub lane_seq: u64,
    /// `START`, `STEP`, …
    pub kind: String,
    /// Which occurrence of which step.
    pub activation: String,
    /// Try, from 1; 0 where the kind has none.
    pub attempt: u64,
    /// What happened, in a few words.
    pub what: String,
    /// History digest in hex.
    pub digest: String,
    /// Wall clock, nanoseconds since 1970; never compared.
    pub wall_ns: i64,
}

/// One difference within a pair of events.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FieldDiff {
    /// Field of the event and JSON pointer within its value: `output/amount`, `next`.
    pub path: String,
    /// How it changed.
    pub change: Change,
    /// Value of the first side, as canonical JSON.
    pub a: Option<String>,
    /// Value of the second side.
    pub b: Option<String>,
    /// How far apart they are, where that can be said.
    pub distance: Option<Distance>,
    /// Whether the field never enters a history digest; such differences decide nothing.
    pub volatile: bool,
}

/// How a field changed from the first side to the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The second side has it alone.
    Added,
    /// The first side has it alone.
    Removed,
    /// Another value.
    Modified,
    /// The same elements in another order.
    Reordered,
    /// The same value in other bytes.
    Respelled,
    /// Whether it differs cannot be told, because its bytes are not stored.
    Unknown,
}

/// How far two values are apart.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "unit", content = "value", rename_all = "snake_case")]
pub enum Distance {
    /// Doubles between the two.
    Ulp(u64),
    /// Second less first.
    Number(f64),
    /// Milliseconds from the first to the second.
    Milliseconds(f64),
    /// Characters inserted, deleted and replaced.
    Edit(u64),
    /// More of them than counted.
    EditAtLeast(u64),
}

/// How two histories lie side by side from the first difference on.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Alignment {
    /// Events before the first difference, equal on both sides.
    pub common: u64,
    /// Pairs that are equal after it.
    pub equal: u64,
    /// Pairs that differ.
    pub modified: u64,
    /// Events that the first side has alone.
    pub deleted: u64,
    /// Events that the second side has alone.
    pub inserted: u64,
    /// Pairs that stand in another order.
    pub moved: u64,
    /// Where both are the same again to the end, if they are.
    pub reconverges: Option<Pair>,
    /// The rows in order, from a few before the first difference on.
    pub rows: Vec<Row>,
    /// Rows that are not listed.
    pub rows_left_out: u64,
    /// Whether a side goes on behind the last event compared.
    pub cut: bool,
}

/// One row of an alignment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What the row says.
    pub op: Op,
    /// The events.
    #[serde(flatten)]
    pub pair: Pair,
    /// Paths that differ, the first few.
    pub paths: Vec<String>,
}

/// What a row of an alignment says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Nothing that counts differs.
    Equal,
    /// The same step, other content.
    Modified,
    /// The first side has it alone.
    Deleted,
    /// The second side has it alone.
    Inserted,
    /// Both have it, in another order.
    Moved,
}

/// Where a difference comes from and what it reaches.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Slice {
    /// Events of the second side that the first difference was made from, newest first, up to the last that are equal.
    pub backward: Vec<SliceEvent>,
    /// Later events of the second side that hold something made from it, the first few.
    pub forward: Vec<SliceEvent>,
    /// How many there are.
    pub events: u64,
    /// Step outputs among them.
    pub outputs: u64,
    /// Effects among them.
    pub effects: u64,
    /// Whether the run's own output is among them.
    pub reaches_end: bool,
}

/// An event of a slice.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SliceEvent {
    /// The event.
    pub event: EventRef,
    /// Why it is in the slice: `input`, `context`, `answer`, `output`, `differs`.
    pub why: String,
    /// Whether both sides have it with the same content.
    pub equal: bool,
}

/// A root cause.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cause {
    /// Which.
    pub class: Class,
    /// How sure.
    pub status: Status,
    /// The rule that found it.
    pub rule: String,
    /// The difference it explains.
    pub place: Option<Pair>,
    /// Field or part concerned, in words.
    pub subject: String,
    /// What speaks for it.
    pub evidence: Vec<String>,
    /// The experiment that was made.
    pub experiment: Option<Experiment>,
    /// What would be needed to say more.
    pub missing: Vec<String>,
    /// Whether it changes no value that the workflow computes.
    pub benign: bool,
}

/// How sure a cause is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// An experiment gave equality of what differed.
    Confirmed,
    /// The pattern fits; no experiment was possible, or it did not settle it.
    Consistent,
    /// No rule fits.
    Unknown,
}

impl Status {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Status::Confirmed => "CONFIRMED",
            Status::Consistent => "CONSISTENT",
            Status::Unknown => "UNKNOWN",
        }
    }
}

/// A counterfactual: something was exchanged, and the history derived again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Experiment {
    /// How: `check`, `relink`, `re-execute`, `from checkpoint`, `repeat`, `perturb`.
    pub kind: String,
    /// What was exchanged, in words.
    pub exchanged: String,
    /// What came of it, in words.
    pub outcome: String,
    /// Events derived again.
    pub events: u64,
    /// Where the derived history and the second side part now; none where they are equal to the end.
    pub next: Option<Pair>,
    /// Whether the derived history has the second side's history digest, byte for byte.
    pub digest_equal: bool,
}

macro_rules! classes {
    ($($(#[$doc:meta])* $class:ident $name:literal;)*) => {
        /// Root causes, in the order in which they are tested.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        pub enum Class { $($(#[$doc])* #[serde(rename = $name)] $class,)* }

        impl Class {
            /// All of them.
            pub const ALL: &'static [Class] = &[$(Class::$class,)*];

            /// Name in reports.
            pub fn name(self) -> &'static str {
                match self { $(Class::$class => $name,)* }
            }
        }
    };
}

classes! {
    /// Bytes fail their checksum.
    LogCorruption "LOG_CORRUPTION";
    /// Checksums hold, digests or links do not.
    Tamper "TAMPER";
    /// Bytes that should be there are not.
    Truncated "TRUNCATED";
    /// Semantics version or behaviour flags differ.
    SchemaDrift "SCHEMA_DRIFT";
    /// Configuration, policies, limits or settings differ.
    ConfigDrift "CONFIG_DRIFT";
    /// Workflow or skill differs.
    CodeDrift "CODE_DRIFT";
    /// Another seed.
    SeedMismatch "SEED_MISMATCH";
    /// The run's seed was derived in another way.
    SeedDerivation "SEED_DERIVATION";
    /// Another input.
    InputDrift "INPUT_DRIFT";
    /// An answer from outside differs.
    EffectDrift "EFFECT_DRIFT";
    /// A step drew another number of random words.
    RngDrawSkew "RNG_DRAW_SKEW";
    /// Control went elsewhere, and no record says why.
    UnrecordedDecision "UNRECORDED_DECISION";
    /// Another number of tries.
    RetryDivergence "RETRY_DIVERGENCE";
    /// An effect was done twice.
    DuplicateEffect "DUPLICATE_EFFECT";
    /// The checkpoint that was resumed from lacks part of the state.
    CheckpointIncomplete "CHECKPOINT_INCOMPLETE";
    /// The same value in other bytes.
    Canonicalisation "CANONICALISATION";
    /// The same elements in another order.
    IterationOrder "ITERATION_ORDER";
    /// The same events in another order.
    Schedule "SCHEDULE";
    /// The same computation, other last digits.
    FloatDrift "FLOAT_DRIFT";
    /// Something of the machine or the moment got into a value.
    VolatileLeak "VOLATILE_LEAK";
    /// Randomness that no seed governs.
    UnseededRng "UNSEEDED_RNG";
    /// One side ended at a limit.
    Resource "RESOURCE";
    /// A step is not there.
    MissingStep "MISSING_STEP";
    /// A step too many.
    ExtraStep "EXTRA_STEP";
    /// No rule fits.
    Unknown "UNKNOWN";
}

/// What it took to find out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Records read to find the first difference, both sides.
    pub probes: u64,
    /// Records read in all, both sides.
    pub reads: u64,
    /// Events derived again in experiments.
    pub derived: u64,
    /// Experiments.
    pub experiments: u64,
}

/// What a diff of many pairs has to say.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Bulk {
    /// [`BULK_SCHEMA`].
    pub schema: String,
    /// The worst of all pairs.
    pub verdict: Verdict,
    /// The first log or archive, and what is wrong with it.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// Rules of what was ignored, as given.
    pub ignored: Vec<String>,
    /// Pairs compared.
    pub pairs: u64,
    /// How many pairs came to each verdict.
    pub equal: u64,
    /// As [`Verdict::Prefix`].
    pub prefix: u64,
    /// As [`Verdict::Undecided`].
    pub undecided: u64,
    /// As [`Verdict::Differ`].
    pub differ: u64,
    /// As [`Verdict::Damaged`].
    pub damaged: u64,
    /// Of those that differ, the ones in which no value of the workflow does.
    pub benign: u64,
    /// Keys of runs that the first side has alone, the first few.
    pub only_a: Vec<String>,
    /// How many.
    pub only_a_count: u64,
    /// Keys of runs that the second side has alone, the first few.
    pub only_b: Vec<String>,
    /// How many.
    pub only_b_count: u64,
    /// Pairs that differ, grouped by cause and by the step where values part first; largest group first.
    pub groups: Vec<Group>,
    /// One line a pair that is not equal, in the order of keys, as far as asked for.
    pub rows: Vec<BulkRow>,
    /// Rows that are not listed.
    pub rows_left_out: u64,
}

/// Pairs that differ for the same reason at the same step.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Causes and how sure they are: `CODE_DRIFT CONFIRMED`; several are joined by ` + `.
    pub causes: String,
    /// Step where values part first, without visits; empty where none do.
    pub step: String,
    /// Field there.
    pub path: String,
    /// Pairs.
    pub count: u64,
    /// Whether no value of the workflow differs.
    pub benign: bool,
    /// Keys of the first few.
    pub examples: Vec<String>,
}

/// One pair of a bulk diff.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BulkRow {
    /// Key.
    pub key: String,
    /// Runs in hex.
    pub a: String,
    /// Of the second side.
    pub b: String,
    /// The answer.
    pub verdict: Verdict,
    /// As in [`Group`].
    pub causes: String,
    /// Where the first event differs.
    pub event: Option<Pair>,
    /// Where values part first.
    pub state: Option<Pair>,
    /// The first field that differs there.
    pub path: String,
}

impl Report {
    /// The report as one line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("plain data with text keys is always JSON")
    }

    /// Causes and how sure they are, in one line.
    pub fn causes_line(&self) -> String {
        let named: Vec<String> = self
            .causes
            .iter()
            .map(|cause| format!("{} {}", cause.class.name(), cause.status.name()))
            .collect();
        named.join(" + ")
    }
}

impl Bulk {
    /// The report as one line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("plain data with text keys is always JSON")
    }
}
