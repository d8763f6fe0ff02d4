//! Recorded runs of other engines, as runs of a log.
//!
//! An [`Importer`] reads a file into [`ForeignRun`]s: events with the attributes that count, each beside the bytes it was
//! read from. [`write()`] makes records of them: START, one FOREIGN an event, END. From then on `verify`, `show`, `diff` and
//! golden archives work on them as on any other run; only re-execution does not, because what made the events is elsewhere.
//!
//! What always holds: **an event is kept byte for byte**, whatever of it is hashed; **nothing is guessed**: what the table
//! of attributes does not know counts, as it stands; **a run is taken whole or not at all**; importing it again changes
//! nothing, and importing a longer history of the same run appends what is new. It knows no clock.
//!
//! ```
//! use aos_import::{Importer, Temporal, write};
//!
//! fn import(log: &aos_store::Log, bytes: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//!     for run in Temporal.parse("history.json", bytes)? {
//!         let done = write(log, &Temporal, &run, None)?;
//!         println!("{} {} {}", done.run, done.state.name(), done.digest);
//!     }
//!     Ok(())
//! }
//! ```
#![forbid(unsafe_code)]

mod activation;
mod error;
mod json;
mod jsonl;
mod rules;
mod temporal;
mod write;

pub use error::{Error, ErrorKind, Place};
pub use jsonl::{Jsonl, Mapping, Path, Source};
pub use rules::{Attribute, Rule, Rules};
pub use temporal::Temporal;
pub use write::{Done, State, write};

/// Largest file that an importer is to be given, in bytes.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// Reads the recorded runs of one engine.
pub trait Importer {
    /// Name of the engine: the namespace of the runs.
    fn source(&self) -> &str;

    /// Which attributes count, and how they are spelled. Goes into the log with the first run that needs it.
    fn rules(&self) -> Rules;

    /// Reads a file. `name` is what messages call it.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Shape`], [`Error::Order`] with the place.
    fn parse(&self, name: &str, bytes: &[u8]) -> Result<Vec<ForeignRun>, Error>;
}

/// A run as another engine recorded it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignRun {
    /// File it was read from.
    pub file: String,
    /// Name of its workflow.
    pub name: String,
    /// What the file says of its identity; `None` where it says nothing.
    pub key: Option<String>,
    /// Its events, in order.
    pub events: Vec<ForeignEvent>,
    /// How it ended, if it did.
    pub ended: Option<Outcome>,
    /// Members of the file beside its events, by name, as they stood there.
    pub beside: Vec<(String, String)>,
    /// What was kept as it stands although it should have been read further, in words.
    pub notes: Vec<String>,
}

/// One event of a foreign run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignEvent {
    /// What its source calls it.
    pub id: String,
    /// Its type, in one spelling.
    pub foreign_type: String,
    /// Which occurrence of what it is; no other event of the run has the same.
    pub activation: String,
    /// The attributes that count, as canonical JSON.
    pub data: Vec<u8>,
    /// Its bytes in the file.
    pub original: Vec<u8>,
    /// When it happened, nanoseconds since 1970; 0 where its source does not say. Not hashed.
    pub wall_ns: i64,
    /// Where it stands.
    pub place: Place,
}

/// How a foreign run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Well, or by starting anew as another run.
    Completed,
    /// With a failure, or out of time.
    Faulted,
    /// On request, or by force.
    Cancelled,
}

impl Outcome {
    /// Name in END.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Faulted => "faulted",
            Outcome::Cancelled => "cancelled",
        }
    }

    /// The outcome of that name.
    pub fn from_name(name: &str) -> Option<Outcome> {
        [Outcome::Completed, Outcome::Faulted, Outcome::Cancelled]
            .into_iter()
            .find(|outcome| outcome.name() == name)
    }
}
