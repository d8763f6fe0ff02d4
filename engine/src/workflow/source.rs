//! From bytes to a tree: YAML 1.2 with its core schema, or JSON.

use super::error::{DocumentError, Problem};
use super::node::{Builder, DOCUMENT_BYTES_MAX, Data, Node, Place, short, too_deep};
use super::scalar;
use aos_format::canonical;
use jaq_json::Num;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

/// A document that was read.
pub(super) struct Source {
    pub root: Node,
    /// Whether it is JSON, which is YAML too.
    pub json: bool,
    /// What is wrong with it already, although it could be read.
    pub problems: Vec<DocumentError>,
}

/// Reads a document within the limits of [`super::node`].
pub(super) fn read(bytes: &[u8]) -> Result<Source, DocumentError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        let message = format!(
            "the document has {} bytes, more than {DOCUMENT_BYTES_MAX}",
            bytes.len()
        );
        return Err(DocumentError::new(Problem::TooLarge, Place::START, message));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = place_of(bytes, error.valid_up_to());
        DocumentError::new(Problem::Encoding, at, "the document is not valid UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // JSON can say a little more than YAML reads: surrogate pairs, tabs anywhere. What is not JSON may still be YAML.
    let mut problems = Vec::new();
    if text.trim_start().starts_with(['{', '[']) && is_json(text) {
        return Ok(Source {
            root: json(text)?,
            json: true,
            problems,
        });
    }
    match yaml(text, &mut problems) {
        Ok(root) => Ok(Source {
            root,
            json: false,
            problems,
        }),
        // What came before it comes first.
        Err(last) => {
            Err(DocumentError::first(problems.into_iter().chain([last.clone()])).unwrap_or(last))
        }
    }
}

/// What can be read on from: noted, and something else stands in.
fn note<T: Default>(problems: &mut Vec<DocumentError>, read: Result<T, DocumentError>) -> T {
    read.unwrap_or_else(|problem| {
        problems.push(problem);
        T::default()
    })
}

fn is_json(text: &str) -> bool {
    let mut parser = canonical::Parser::new(text.as_bytes());
    loop {
        match parser.next_event() {
            Ok(Some(_)) => {}
            Ok(None) => return parser.finish().is_ok(),
            Err(_) => return false,
        }
    }
}

fn json(text: &str) -> Result<Node, DocumentError> {
    use canonical::Event as Json;
    let mut parser = canonical::Parser::new(text.as_bytes());
    let mut builder = Builder::default();
    let mut cursor = Cursor {
        text,
        at: 0,
        place: Place::START,
    };
    loop {
        let at = cursor.next_token(parser.offset());
        // The same bytes were accepted a moment ago.
        let event = parser
            .next_event()
            .map_err(|e| DocumentError::new(Problem::Syntax, at, e.to_string()))?;
        match event {
            None => break,
            Some(Json::Null) => builder.scalar(at, Data::Null)?,
            Some(Json::Bool(b)) => builder.scalar(at, Data::Bool(b))?,
            Some(Json::Int(digits)) => builder.scalar(at, Data::Number(scalar::integer(digits)))?,
            Some(Json::Float(value)) => builder.scalar(at, Data::Number(Num::Float(value)))?,
            Some(Json::String(text)) => builder.scalar(at, Data::Text(text.into_owned()))?,
            // The reader of JSON refuses a key that is given twice.
            Some(Json::Key(key)) => builder.key(at, key.into_owned())??,
            Some(Json::ArrayStart) => builder.open_list(at)?,
            Some(Json::ObjectStart) => builder.open_map(at)?,
            Some(Json::ArrayEnd | Json::ObjectEnd) => builder.close(),
        }
    }
    builder.finish().ok_or_else(empty)
}

fn yaml(text: &str, problems: &mut Vec<DocumentError>) -> Result<Node, DocumentError> {
    let mut builder = Builder::default();
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(text, &error))?;
        let at = place(&span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(feature(at, "a second document in one file"));
                }
            }
            Event::Alias(_) => return Err(feature(at, "an alias (`*name`)")),
            Event::Scalar(value, style, anchor, tag) => {
                note(problems, plain_node(at, anchor, tag.is_some()));
                let plain = style == ScalarStyle::Plain;
                if builder.wants_key() {
                    let name = note(problems, key(at, &value, plain).map(Some));
                    // A key that cannot be one is left out with what it has.
                    match name {
                        Some(name) => note(problems, builder.key(at, name)?),
                        None => builder.no_key(at)?,
                    }
                } else {
                    let data = if plain {
                        let read = scalar::resolve(at, &value);
                        note(problems, read.map(Some)).unwrap_or(Data::Null)
                    } else {
                        Data::Text(value.into_owned())
                    };
                    builder.scalar(at, data)?;
                }
            }
            Event::SequenceStart(anchor, tag) => {
                note(problems, plain_node(at, anchor, tag.is_some()));
                no_collection_as_key(&builder, at)?;
                builder.open_list(at)?;
            }
            Event::MappingStart(anchor, tag) => {
                note(problems, plain_node(at, anchor, tag.is_some()));
                no_collection_as_key(&builder, at)?;
                builder.open_map(at)?;
            }
            Event::SequenceEnd | Event::MappingEnd => builder.close(),
        }
    }
    builder.finish().ok_or_else(empty)
}

fn key(at: Place, value: &str, plain: bool) -> Result<String, DocumentError> {
    if plain && value == "<<" {
        return Err(feature(at, "a merge key (`<<`)"));
    }
    if plain && !matches!(scalar::resolve(at, value), Ok(Data::Text(_))) {
        let what = format!(
            "a key that is not text (`{}`; put it in quotes)",
            short(value)
        );
        return Err(feature(at, &what));
    }
    Ok(value.to_owned())
}

fn plain_node(at: Place, anchor: usize, tagged: bool) -> Result<(), DocumentError> {
    if anchor > 0 {
        return Err(feature(at, "an anchor (`&name`)"));
    }
    if tagged {
        return Err(feature(at, "a tag (`!name`)"));
    }
    Ok(())
}

fn no_collection_as_key(builder: &Builder, at: Place) -> Result<(), DocumentError> {
    if builder.wants_key() {
        Err(feature(at, "a key that is not text"))
    } else {
        Ok(())
    }
}

fn feature(at: Place, what: &str) -> DocumentError {
    DocumentError::new(
        Problem::Feature,
        at,
        format!("{what} is not allowed in a workflow document"),
    )
}

fn syntax(text: &str, error: &ScanError) -> DocumentError {
    let at = place(error.marker());
    // The parser meets an alias of an anchor it does not know before it can tell of the alias.
    if error.info().contains("unknown anchor") {
        return feature(at, "an alias (`*name`)");
    }
    // It looks ahead, and so may reach its own limit before this one's.
    if error.info().contains("recursion limit") {
        return too_deep(at);
    }
    let rest = text.chars().nth(error.marker().index());
    let message = format!("the document is not valid YAML: {}", error.info());
    match rest {
        None => {
            // The parser counts one line more when the last one does not end.
            let at = place_of(text.as_bytes(), text.len());
            DocumentError::new(Problem::Syntax, at, message).found("the end of the document")
        }
        Some(c) => DocumentError::new(Problem::Syntax, at, message)
            .found(format!("`{}`", c.escape_default())),
    }
}

fn empty() -> DocumentError {
    DocumentError::new(Problem::Syntax, Place::START, "the document is empty")
}

fn place(marker: &Marker) -> Place {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place {
        line: number(marker.line()).max(1),
        column: number(marker.col()).saturating_add(1),
    }
}

/// Place of the byte at `offset`, of text that is UTF-8 up to there.
fn place_of(bytes: &[u8], offset: usize) -> Place {
    let before = String::from_utf8_lossy(&bytes[..offset]);
    let mut cursor = Cursor {
        text: &before,
        at: 0,
        place: Place::START,
    };
    cursor.go(before.len());
    cursor.place
}

/// Counts lines and columns while going through a text once.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
    place: Place,
}

impl Cursor<'_> {
    /// Place of the first token of JSON at or after `offset`.
    fn next_token(&mut self, offset: usize) -> Place {
        let rest = &self.text[offset..];
        let skipped = rest.len()
            - rest
                .trim_start_matches([' ', '\t', '\r', '\n', ',', ':'])
                .len();
        self.go(offset + skipped);
        self.place
    }

    fn go(&mut self, to: usize) {
        let mut chars = self.text[self.at..to].chars().peekable();
        while let Some(c) = chars.next() {
            // A line ends with \n, \r\n or \r.
            if c == '\n' || c == '\r' && chars.peek() != Some(&'\n') {
                self.place = Place {
                    line: self.place.line + 1,
                    column: 1,
                };
            } else {
                self.place.column += 1;
            }
        }
        self.at = to;
    }
}
