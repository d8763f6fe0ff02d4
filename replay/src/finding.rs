//! What a check found: one place, what should be there, what is there.

use aos_format::digest::{RunId, hex};
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use std::fmt;

/// Codes of findings; each has a page in `docs/errors/`.
pub mod code {
    /// Bytes of a frame are damaged or gone.
    pub const DAMAGED: &str = "AOS-R001";
    /// Groups or segments do not follow one another.
    pub const GROUP: &str = "AOS-R002";
    /// Bytes stand where the log has ended a segment.
    pub const BEHIND_END: &str = "AOS-R003";
    /// A record's links do not lead to its predecessors.
    pub const LINK: &str = "AOS-R004";
    /// A record whose CRC holds cannot be read.
    pub const UNREADABLE: &str = "AOS-R005";
    /// A record does not follow the history digest before it.
    pub const HISTORY: &str = "AOS-R006";
    /// Stored bytes are not the value that the history names.
    pub const VALUE: &str = "AOS-R007";
    /// The table of values does not fit the history's slots.
    pub const VALUE_TABLE: &str = "AOS-R008";
    /// A back reference leads to no such value.
    pub const BACK_REFERENCE: &str = "AOS-R009";
    /// A checkpoint, fork or join names heads that are not the lanes'.
    pub const LANES: &str = "AOS-R010";
    /// A seed, definition or run id is not what its digest says.
    pub const IDENTITY: &str = "AOS-R011";
    /// A record stands in a stream it cannot belong to.
    pub const STREAM: &str = "AOS-R012";
    /// A run of a salvaged log lacks records, or may.
    pub const SALVAGED: &str = "AOS-R019";
    /// A seal does not fit the records before it.
    pub const SEAL: &str = "AOS-R013";
    /// Nothing proves that the last group is durable.
    pub const PENDING: &str = "AOS-R014";
    /// Re-execution made another event.
    pub const MISMATCH: &str = "AOS-R020";
    /// A checkpoint's state is not the state at that point.
    pub const STATE: &str = "AOS-R021";
    /// The history goes on where the run cannot, or lacks what comes next.
    pub const ORDER: &str = "AOS-R022";
    /// Code, skill or semantics of a run are not here.
    pub const NOT_REGISTERED: &str = "AOS-R023";
    /// The root seed of a run is not in the log.
    pub const NO_SEED: &str = "AOS-R024";
    /// A run was not re-executed because its records are damaged.
    pub const NOT_CHECKED: &str = "AOS-R025";
    /// A value needed for re-execution is not stored.
    pub const NO_VALUE: &str = "AOS-R026";
    /// A run was imported: what made its events is not here.
    pub const IMPORTED: &str = "AOS-R027";

    /// All of them.
    pub const ALL: [&str; 23] = [
        DAMAGED,
        GROUP,
        BEHIND_END,
        LINK,
        UNREADABLE,
        HISTORY,
        VALUE,
        VALUE_TABLE,
        BACK_REFERENCE,
        LANES,
        IDENTITY,
        STREAM,
        SALVAGED,
        SEAL,
        PENDING,
        MISMATCH,
        STATE,
        ORDER,
        NOT_REGISTERED,
        NO_SEED,
        NOT_CHECKED,
        NO_VALUE,
        IMPORTED,
    ];
}

/// What kind of fault a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FindingKind {
    /// Bytes fail a CRC, digest, link or rule.
    Corruption,
    /// An offset that should be there is not.
    Gap,
    /// Nothing proves that the log's last bytes are whole.
    TailUnproven,
    /// Bytes are whole, but this build cannot read them.
    Unsupported,
    /// Bytes are whole, but the event made again is another one.
    Mismatch,
    /// Re-execution was not possible.
    NotChecked,
}

impl FindingKind {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            FindingKind::Corruption => "corruption",
            FindingKind::Gap => "gap",
            FindingKind::TailUnproven => "tail_unproven",
            FindingKind::Unsupported => "unsupported",
            FindingKind::Mismatch => "mismatch",
            FindingKind::NotChecked => "not_checked",
        }
    }
}

/// One thing that is wrong, or could not be checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Code of the help page.
    pub code: &'static str,
    /// What kind of fault.
    pub kind: FindingKind,
    /// First byte concerned.
    pub offset: Option<Offset>,
    /// Bytes concerned, where that is known.
    pub length: Option<u64>,
    /// File of the log, where one is concerned.
    pub file: Option<String>,
    /// Stream it stands in, as far as it or a neighbour's link says so.
    pub stream: Option<StreamId>,
    /// Which occurrence of which step; in words where only its neighbours are known.
    pub activation: Option<String>,
    /// Field or structure.
    pub field: Option<String>,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Finding {
    /// A finding at an offset; the rest is added with the methods below.
    pub(crate) fn at(
        code: &'static str,
        offset: u64,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Finding {
        Finding {
            code,
            kind: FindingKind::Corruption,
            offset: Some(Offset(offset)),
            length: None,
            file: None,
            stream: None,
            activation: None,
            field: None,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(crate) fn kind(mut self, kind: FindingKind) -> Finding {
        self.kind = kind;
        self
    }

    pub(crate) fn field(mut self, field: impl Into<String>) -> Finding {
        self.field = Some(field.into());
        self
    }

    pub(crate) fn stream(mut self, stream: StreamId) -> Finding {
        self.stream = Some(stream);
        self
    }

    pub(crate) fn activation(mut self, activation: Option<&str>) -> Finding {
        self.activation = activation.map(str::to_owned);
        self
    }

    /// The run it belongs to.
    pub fn run(&self) -> Option<RunId> {
        self.stream.and_then(|stream| stream.as_run())
    }

    /// Pointer of the step in its document; in words where only its neighbours are known.
    pub fn step(&self) -> Option<String> {
        let named = self.activation.as_deref()?;
        let pointers: Vec<&str> = named.split(' ').map(pointer).collect();
        Some(pointers.join(" "))
    }
}

impl From<&aos_store::Finding> for Finding {
    fn from(finding: &aos_store::Finding) -> Finding {
        Finding {
            code: finding.code,
            kind: match finding.kind {
                aos_store::FindingKind::Corruption => FindingKind::Corruption,
                aos_store::FindingKind::Gap => FindingKind::Gap,
                aos_store::FindingKind::TailUnproven => FindingKind::TailUnproven,
                aos_store::FindingKind::Unsupported => FindingKind::Unsupported,
            },
            offset: Some(finding.offset),
            length: finding.length,
            file: Some(finding.file.clone()),
            stream: None,
            activation: None,
            field: None,
            expected: finding.expected.clone(),
            found: finding.found.clone(),
        }
    }
}

/// Pointer of the step in an activation.
pub fn pointer(activation: &str) -> &str {
    activation
        .rsplit_once(';')
        .map_or(activation, |(pointer, _)| pointer)
}

/// The stream in words.
pub(crate) fn stream_name(stream: &StreamId) -> String {
    match stream.as_run() {
        Some(run) => format!("run {run}"),
        None => format!("{} stream {}", stream.kind.name(), hex(&stream.id)),
    }
}

/// The kind of a frame in words.
pub(crate) fn kind_name(kind: u8) -> String {
    Kind::from_u8(kind).map_or_else(|| format!("kind {kind}"), |kind| kind.name().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_code_has_a_page_that_says_what_to_do() {
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
        for code in code::ALL.into_iter().chain(["AOS-R030"]) {
            let page = std::fs::read_to_string(pages.join(format!("{code}.md"))).expect(code);
            assert!(page.starts_with(&format!("# {code}: ")), "{page}");
            assert_eq!(
                page.trim().split("\n\n").count(),
                4,
                "{code}: a title and three paragraphs"
            );
        }
    }

    #[test]
    fn a_pointer_is_an_activation_without_its_visits() {
        assert_eq!(pointer("/do/1/walk;1.5,1"), "/do/1/walk");
        assert_eq!(pointer("/do/1/walk"), "/do/1/walk");
    }
}
