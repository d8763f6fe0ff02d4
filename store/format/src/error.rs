use crate::offset::Offset;
use thiserror::Error as ThisError;

/// Why bytes are not what they should be.
///
/// The place is added by whoever read them: this crate sees bytes, not files.
#[derive(Clone, PartialEq, Eq, Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// Fewer bytes than the structure needs.
    #[error("{what} is cut: expected {expected} bytes, found {found}")]
    Cut {
        /// Structure.
        what: &'static str,
        /// Bytes needed.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// The magic is another one: not a file of AOS, or its first bytes are damaged.
    #[error("{what} does not start with its magic")]
    BadMagic {
        /// Structure.
        what: &'static str,
    },
    /// A CRC does not hold.
    #[error("{what} fails its checksum: stored {expected:08x}, computed {found:08x}")]
    BadCrc {
        /// Structure.
        what: &'static str,
        /// CRC in the bytes.
        expected: u32,
        /// CRC of the bytes.
        found: u32,
    },
    /// Written by another version.
    #[error("{what} has format version {found}, this build reads version 1")]
    NewerVersion {
        /// Structure.
        what: &'static str,
        /// Version in the bytes.
        found: u16,
    },
    /// Needs features this build does not have.
    #[error("the log requires features this build does not know: bits {unknown:#x}")]
    UnknownFeatures {
        /// The unknown bits.
        unknown: u64,
    },
    /// A frame of a kind this build does not know and may not skip.
    #[error("frame of unknown kind {kind} that may not be skipped")]
    UnknownKind {
        /// Number of the kind.
        kind: u8,
    },
    /// A byte that must be zero is not.
    #[error("{what} has a reserved byte that is not zero")]
    Reserved {
        /// Structure.
        what: &'static str,
    },
    /// A stride outside 2^12..=2^30.
    #[error("stride 2^{log2} is outside 2^12 to 2^30")]
    BadStride {
        /// Binary logarithm found.
        log2: u32,
    },
    /// A stride that is no power of two from 4 KiB to 1 GiB.
    #[error("stride of {bytes} bytes is not a power of two from 4096 to 1073741824")]
    BadStrideBytes {
        /// Stride found.
        bytes: u64,
    },
    /// A length that cannot be.
    #[error("{what} of {found} bytes exceeds its limit of {limit}")]
    BadLength {
        /// Structure.
        what: &'static str,
        /// Length found.
        found: u64,
        /// Largest length possible.
        limit: u64,
    },
    /// Links that do not point back, or an offset or number that no frame can have.
    #[error("frame has links, a number or an offset that cannot be")]
    BadLink,
    /// A frame that says it stands elsewhere.
    #[error("frame belongs at offset {found}, not at {expected}")]
    Misplaced {
        /// Where it was found.
        expected: Offset,
        /// Where it says it stands.
        found: Offset,
    },
    /// A frame of another log.
    #[error("frame has the salt of another log: expected {expected:08x}, found {found:08x}")]
    Foreign {
        /// This log's salt.
        expected: u32,
        /// The frame's.
        found: u32,
    },
    /// A frame of an opening before the one that wrote its predecessor.
    #[error("frame is stale: epoch {found} after epoch {expected}")]
    Stale {
        /// Lowest epoch allowed here.
        expected: u32,
        /// The frame's.
        found: u32,
    },
    /// A record that cannot be read.
    #[error("record cannot be read: {why}")]
    BadRecord {
        /// What is wrong.
        why: String,
    },
    /// A deterministic part that cannot be read.
    #[error("deterministic part cannot be read: field {field}: {why}")]
    BadField {
        /// Name of the field.
        field: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// Values that are not the ones the deterministic part names.
    #[error("value in slot {slot}: {why}")]
    BadValue {
        /// The slot.
        slot: u8,
        /// What is wrong.
        why: &'static str,
    },
}

impl Error {
    /// Code of the error's help page.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Cut { .. } => "AOS-F001",
            Error::BadMagic { .. } => "AOS-F002",
            Error::BadCrc { .. } => "AOS-F003",
            Error::NewerVersion { .. } => "AOS-F004",
            Error::UnknownFeatures { .. } => "AOS-F005",
            Error::UnknownKind { .. } => "AOS-F006",
            Error::Reserved { .. } => "AOS-F007",
            Error::BadStride { .. } | Error::BadStrideBytes { .. } => "AOS-F008",
            Error::BadLength { .. } => "AOS-F009",
            Error::BadLink => "AOS-F010",
            Error::Misplaced { .. } => "AOS-F011",
            Error::Foreign { .. } => "AOS-F012",
            Error::Stale { .. } => "AOS-F013",
            Error::BadRecord { .. } => "AOS-F014",
            Error::BadField { .. } => "AOS-F015",
            Error::BadValue { .. } => "AOS-F016",
        }
    }
}
