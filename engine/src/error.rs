use crate::history::HistoryError;
use crate::workflow::DocumentError;
use aos_format::digest::RunId;
use aos_format::offset::Offset;

/// What kept the engine from doing what was asked.
///
/// A workflow that fails is no such error: that is an outcome, and recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log refused or failed.
    #[error(transparent)]
    Store(#[from] aos_store::Error),
    /// A recorded history cannot be read.
    #[error("run {run}: {source}")]
    History {
        /// Run.
        run: RunId,
        /// Why.
        source: HistoryError,
    },
    /// The document cannot be used.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The same key was started before with something else.
    #[error("key {key:?} was started before with another {differs}: run {run} at offset {offset}")]
    Conflict {
        /// Key given.
        key: String,
        /// Run that has it.
        run: RunId,
        /// Its START.
        offset: Offset,
        /// What differs: `workflow`, `input`, `seed` or `budget`, joined by `and`.
        differs: String,
    },
    /// Re-execution of the recorded part gave something else: the run must not go on.
    #[error("run {run} is not deterministic: at offset {offset} {why}")]
    Nondeterminism {
        /// Run.
        run: RunId,
        /// Record where they part.
        offset: Offset,
        /// In which way.
        why: String,
    },
    /// The run was started by code that is not here.
    #[error("run {run} needs {what}, which is not registered here")]
    NotRegistered {
        /// Run.
        run: RunId,
        /// Workflow or skill, with version.
        what: String,
    },
    /// There is no such run.
    #[error("the log has no run {what}")]
    NoRun {
        /// As asked for.
        what: String,
    },
    /// The run does not wait for a decision at this step.
    #[error("run {run} does not wait for a decision about {step}: {why}")]
    NotHeld {
        /// Run.
        run: RunId,
        /// Step named.
        step: String,
        /// What it waits for.
        why: String,
    },
    /// A value is too large for the log.
    #[error(
        "run {run}: a record of {step} has {len} bytes of values, more than the {limit} that this log takes"
    )]
    TooLarge {
        /// Run.
        run: RunId,
        /// Step.
        step: String,
        /// Bytes of its values.
        len: u64,
        /// Limit of the log.
        limit: u64,
    },
    /// The log was written under other semantics, or with behaviour this build does not know.
    #[error("run {run} has {what}, which this build does not know")]
    Semantics {
        /// Run.
        run: RunId,
        /// What is unknown.
        what: String,
    },
    /// The run was imported from another engine: there is nothing here to run it with.
    #[error(
        "run {run} was imported from {source_name}: its events are recorded, what made them is not here"
    )]
    Imported {
        /// Run.
        run: RunId,
        /// Engine it comes from.
        source_name: String,
    },
    /// Records of the run are lost, or may be: going on could do again what was done.
    #[error(
        "run {run} may have gone on: the log was salvaged, and what stood behind offset {offset} of this run is lost or not proven to be all"
    )]
    Gap {
        /// Run.
        run: RunId,
        /// The MARK that says so.
        offset: Offset,
    },
    /// Another thread of this process drives the run.
    #[error("run {run} is being driven by another thread")]
    InProgress {
        /// Run.
        run: RunId,
    },
    /// A run that a step of another runs has not ended; nothing of it is recorded in the other.
    #[error("run {run}, which a step of another runs, has not ended: it waits for somebody")]
    RunWithin {
        /// The run that has not ended.
        run: RunId,
    },
    /// The engine panicked: a bug. The run is as a crash would leave it.
    #[error("a bug in AOS stopped {what}: {why}")]
    Bug {
        /// Which run, or the start of one.
        what: String,
        /// What the panic said.
        why: String,
    },
}

impl Error {
    /// Code of the error's help page.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Store(error) => error.code(),
            Error::History { .. } => "AOS-E001",
            Error::Document(error) => error.code(),
            Error::Conflict { .. } => "AOS-E002",
            Error::Nondeterminism { .. } => "AOS-E003",
            Error::NotRegistered { .. } => "AOS-E004",
            Error::NoRun { .. } => "AOS-E005",
            Error::NotHeld { .. } => "AOS-E006",
            Error::TooLarge { .. } => "AOS-E007",
            Error::Semantics { .. } => "AOS-E008",
            Error::Bug { .. } => "AOS-E009",
            Error::InProgress { .. } => "AOS-E010",
            Error::Imported { .. } => "AOS-E011",
            Error::Gap { .. } => "AOS-E012",
            Error::RunWithin { .. } => "AOS-E013",
        }
    }
}
