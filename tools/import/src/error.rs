//! What can go wrong with an import, and where.

use aos_format::canonical;
use aos_format::digest::RunId;
use aos_format::offset::Offset;
use std::fmt;
use thiserror::Error as ThisError;

/// A place in a file: where an editor finds it, and where a program does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Name of the file.
    pub file: String,
    /// Byte, from 0.
    pub byte: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// JSON pointer; empty for the whole text.
    pub pointer: String,
}

impl Place {
    /// The place of byte `byte` of `bytes`.
    pub(crate) fn at(file: &str, bytes: &[u8], byte: usize, pointer: impl Into<String>) -> Place {
        let (line, column) = canonical::line_column(bytes, byte);
        Place {
            file: file.to_owned(),
            byte,
            line,
            column,
            pointer: pointer.into(),
        }
    }

    /// The same place, deeper in the value.
    pub(crate) fn inside(&self, pointer: &str) -> Place {
        Place {
            pointer: format!("{}{pointer}", self.pointer),
            ..self.clone()
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, line {}, column {}, byte {}",
            self.file, self.line, self.column, self.byte
        )?;
        if !self.pointer.is_empty() {
            write!(f, ", {}", self.pointer)?;
        }
        Ok(())
    }
}

/// Places in ascending order, without counting from the start of the file each time.
pub(crate) struct Lines<'a> {
    file: &'a str,
    bytes: &'a [u8],
    byte: usize,
    line: usize,
    column: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(file: &'a str, bytes: &'a [u8]) -> Lines<'a> {
        Lines {
            file,
            bytes,
            byte: 0,
            line: 1,
            column: 1,
        }
    }

    /// The place of `byte`, which does not lie before the one asked for last.
    pub(crate) fn place(&mut self, byte: usize, pointer: String) -> Place {
        for value in &self.bytes[self.byte..byte] {
            if *value == b'\n' {
                (self.line, self.column) = (self.line + 1, 1);
            } else if value & 0xc0 != 0x80 {
                self.column += 1;
            }
        }
        self.byte = byte;
        Place {
            file: self.file.to_owned(),
            byte,
            line: self.line,
            column: self.column,
            pointer,
        }
    }
}

/// What kind of failure it is: the part a caller decides by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file is not what it should be.
    BadFile,
    /// The caller must say more.
    Usage,
    /// The log holds something else under this key.
    Conflict,
    /// Beyond a limit.
    TooLarge,
    /// The log refused or failed.
    Store,
}

/// A failed import. Nothing of the file was written, except after [`Error::Store`].
#[derive(Clone, Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// Not JSON, or JSON that cannot be kept exactly.
    #[error("not a JSON text: {source}")]
    Json {
        /// Where.
        place: Box<Place>,
        /// Why.
        source: canonical::Error,
    },
    /// JSON, but not the record of a run.
    #[error("not a recorded history: expected {expected}, found {found}")]
    Shape {
        /// Where.
        place: Box<Place>,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Events are missing, given twice or out of order.
    #[error("the events do not follow one another: expected {expected}, found {found}")]
    Order {
        /// Where.
        place: Box<Place>,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Neither the file nor the caller says which run it is.
    #[error("{file} does not say which run it is: neither a workflow id nor a run id")]
    NoKey {
        /// File.
        file: String,
    },
    /// The log holds another history under this key.
    #[error("key {key:?} holds another history: {differs}")]
    Conflict {
        /// Key.
        key: String,
        /// Run.
        run: RunId,
        /// Where the log's record stands that differs.
        offset: Offset,
        /// What differs, and where in the file.
        differs: String,
    },
    /// A mapping that makes no sense.
    #[error("{what}: expected {expected}, found {found}")]
    Mapping {
        /// Which part of it.
        what: String,
        /// What could stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// An event that the log cannot take.
    #[error("a record of {found} bytes, more than the {limit} that this log takes")]
    TooLarge {
        /// Where the event stands.
        place: Box<Place>,
        /// Bytes of its record.
        found: u64,
        /// Most that the log takes.
        limit: u64,
    },
    /// The log refused or failed.
    #[error(transparent)]
    Store(#[from] aos_store::Error),
}

impl Error {
    /// Code of the error's help page.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Json { .. } => "AOS-I001",
            Error::Shape { .. } => "AOS-I002",
            Error::Order { .. } => "AOS-I003",
            Error::NoKey { .. } => "AOS-I004",
            Error::Conflict { .. } => "AOS-I005",
            Error::Mapping { .. } => "AOS-I006",
            Error::TooLarge { .. } => "AOS-I007",
            Error::Store(error) => error.code(),
        }
    }

    /// What to decide by.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Json { .. } | Error::Shape { .. } | Error::Order { .. } => ErrorKind::BadFile,
            Error::NoKey { .. } | Error::Mapping { .. } => ErrorKind::Usage,
            Error::Conflict { .. } => ErrorKind::Conflict,
            Error::TooLarge { .. } => ErrorKind::TooLarge,
            Error::Store(_) => ErrorKind::Store,
        }
    }

    /// Where in a file, if it is in one.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Error::Json { place, .. }
            | Error::Shape { place, .. }
            | Error::Order { place, .. }
            | Error::TooLarge { place, .. } => Some(place),
            Error::NoKey { .. }
            | Error::Conflict { .. }
            | Error::Mapping { .. }
            | Error::Store(_) => None,
        }
    }

    pub(crate) fn shape(
        place: Place,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Error {
        Error::Shape {
            place: Box::new(place),
            expected: expected.into(),
            found: found.into(),
        }
    }
}
