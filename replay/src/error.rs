use crate::finding::Finding;
use aos_format::digest::RunId;

/// What kept a replay from reaching a verdict. Faults of the log are findings, not errors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] aos_store::Error),
    /// The log has no such run.
    #[error("the log has no run {run}")]
    NoRun {
        /// As asked for.
        run: RunId,
    },
    /// A record whose CRC holds cannot be exported.
    #[error("record at offset {at}: expected {expected}, found {found}", at = .0.offset.unwrap_or_default(), expected = .0.expected, found = .0.found)]
    Unreadable(Box<Finding>),
    /// What was asked for cannot be derived from what is recorded.
    #[error("cannot derive what was asked for: {what}")]
    Unusable {
        /// What is missing, or does not fit.
        what: String,
    },
}

impl Error {
    /// Code of the error's help page.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Store(error) => error.code(),
            Error::NoRun { .. } => "AOS-R030",
            Error::Unreadable(finding) => finding.code,
            Error::Unusable { .. } => "AOS-X001",
        }
    }
}
