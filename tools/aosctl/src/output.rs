//! Output: data on stdout in one of three forms, talk on stderr.

use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use aos_format::canonical;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

/// One value in the output.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Number(i128),
    /// Seconds, shown with milliseconds.
    Seconds(f64),
    /// Text.
    Text(String),
    /// JSON, shown as it is.
    Json(String),
    /// A list.
    List(Vec<Cell>),
    /// An object.
    Object(Object),
}

macro_rules! numbers {
    ($($number:ty)*) => { $(impl From<$number> for Cell {
        fn from(number: $number) -> Cell {
            Cell::Number(number as i128)
        }
    })* };
}
numbers!(u8 u16 u32 u64 usize i64 i128);

impl From<bool> for Cell {
    fn from(value: bool) -> Cell {
        Cell::Bool(value)
    }
}
impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}
impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}
impl From<Object> for Cell {
    fn from(object: Object) -> Cell {
        Cell::Object(object)
    }
}
impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Null, Into::into)
    }
}
impl<T: Into<Cell>> From<Vec<T>> for Cell {
    fn from(items: Vec<T>) -> Cell {
        Cell::List(items.into_iter().map(Into::into).collect())
    }
}

impl Cell {
    fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Cell::Null => out.extend_from_slice(b"null"),
            Cell::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Cell::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Cell::Seconds(seconds) => out.extend_from_slice(format!("{seconds:.3}").as_bytes()),
            Cell::Text(text) => canonical::write_string(out, text),
            Cell::Json(json) => out.extend_from_slice(json.as_bytes()),
            Cell::List(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write_json(out);
                }
                out.push(b']');
            }
            Cell::Object(object) => object.write_json(out),
        }
    }

    fn text(&self) -> String {
        match self {
            Cell::Null => String::new(),
            Cell::Seconds(seconds) => format!("{seconds:.3}"),
            Cell::Text(text) => printable(text),
            Cell::Json(json) => json.clone(),
            other => {
                let mut out = Vec::new();
                other.write_json(&mut out);
                String::from_utf8_lossy(&out).into_owned()
            }
        }
    }

    fn is_numeric(&self) -> bool {
        matches!(self, Cell::Number(_) | Cell::Seconds(_))
    }
}

/// Text that changes nothing on a terminal: control characters are escaped.
pub fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

/// Named values in order.
#[derive(Clone, Debug, Default)]
pub struct Object(Vec<(&'static str, Cell)>);

impl Object {
    /// Nothing yet.
    pub fn new() -> Object {
        Object::default()
    }

    /// The same with one more.
    pub fn with(mut self, name: &'static str, value: impl Into<Cell>) -> Object {
        self.0.push((name, value.into()));
        self
    }

    /// The same with the values of another behind.
    pub fn and(mut self, other: Object) -> Object {
        self.0.extend(other.0);
        self
    }

    /// Names and what a person reads of each.
    #[cfg(feature = "tui")]
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let told = self
            .0
            .iter()
            .filter(|(_, cell)| !matches!(cell, Cell::Null));
        told.map(|(name, cell)| (*name, cell.text()))
    }

    /// The object as JSON.
    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        self.write_json(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (i, (name, cell)) in self.0.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            canonical::write_string(out, name);
            out.push(b':');
            cell.write_json(out);
        }
        out.push(b'}');
    }

    /// One field a line.
    fn write_pretty(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\n");
        for (i, (name, cell)) in self.0.iter().enumerate() {
            out.extend_from_slice(b"  ");
            canonical::write_string(out, name);
            out.extend_from_slice(b": ");
            cell.write_json(out);
            out.extend_from_slice(if i + 1 < self.0.len() { b",\n" } else { b"\n" });
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Where data goes. After the reader of a pipe has gone, everything is dropped silently.
#[derive(Debug)]
pub struct Output {
    form: Form,
    asked: Option<Form>,
    stdout: BufWriter<Stdout>,
    closed: bool,
}

impl Output {
    /// Output in the form asked for; without one, a table on a terminal and JSON lines elsewhere.
    pub fn new(asked: Option<Form>) -> Output {
        let stdout = io::stdout();
        let form = asked.unwrap_or(if stdout.is_terminal() {
            Form::Table
        } else {
            Form::Jsonl
        });
        Output {
            form,
            asked,
            stdout: BufWriter::with_capacity(64 << 10, stdout),
            closed: false,
        }
    }

    /// The form.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The form that was asked for, if one was.
    pub fn asked(&self) -> Option<Form> {
        self.asked
    }

    /// Whether nobody reads any more.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        let written = self.stdout.write_all(bytes);
        self.settle(written)
    }

    /// Writes a line of text.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.raw(text.as_bytes())?;
        self.raw(b"\n")
    }

    /// Hands over what was written so far.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        let flushed = self.stdout.flush();
        self.settle(flushed)
    }

    fn settle(&mut self, result: io::Result<()>) -> Result<(), Failure> {
        match result {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => {
                self.closed = true;
                let message = format!("cannot write the output: {error}");
                Err(Failure::new(failure::OUTPUT, Exit::Environment, message)
                    .place("standard output"))
            }
        }
    }

    /// Writes one object as a line of JSON.
    pub fn json_line(&mut self, object: &Object) -> Result<(), Failure> {
        let mut bytes = Vec::with_capacity(512);
        object.write_json(&mut bytes);
        bytes.push(b'\n');
        self.raw(&bytes)
    }

    /// Writes one object: as JSON, or as a list of names and values.
    pub fn object(&mut self, object: &Object) -> Result<(), Failure> {
        match self.form {
            Form::Jsonl => self.json_line(object),
            Form::Json => {
                let mut bytes = Vec::with_capacity(512);
                object.write_pretty(&mut bytes);
                self.raw(&bytes)
            }
            Form::Table => {
                let rows: Vec<_> = object
                    .0
                    .iter()
                    .filter(|(_, cell)| !matches!(cell, Cell::Null))
                    .collect();
                let width = rows
                    .iter()
                    .map(|(name, _)| name.len())
                    .max()
                    .unwrap_or_default();
                for (name, cell) in rows {
                    self.line(&format!("{name:width$}  {}", cell.text()))?;
                }
                Ok(())
            }
        }
    }

    /// Writes a list of objects of the same names; `empty` is said on a terminal when there are none.
    pub fn list(
        &mut self,
        objects: impl Iterator<Item = Object>,
        empty: &str,
    ) -> Result<(), Failure> {
        match self.form {
            Form::Table => self.table(&objects.collect::<Vec<_>>(), empty),
            Form::Jsonl => {
                for object in objects {
                    if self.closed {
                        break;
                    }
                    self.json_line(&object)?;
                }
                Ok(())
            }
            Form::Json => {
                let mut before = "[\n";
                for object in objects {
                    if self.closed {
                        break;
                    }
                    let mut bytes = before.as_bytes().to_vec();
                    object.write_json(&mut bytes);
                    self.raw(&bytes)?;
                    before = ",\n";
                }
                self.raw(if before == "[\n" { b"[]\n" } else { b"\n]\n" })
            }
        }
    }

    /// Writes a table.
    pub fn table(&mut self, objects: &[Object], empty: &str) -> Result<(), Failure> {
        let Some(first) = objects.first() else {
            talk(empty);
            return Ok(());
        };
        let mut table = Table::new();
        table
            .load_preset(comfy_table::presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(first.0.iter().map(|(name, _)| name.to_uppercase()));
        for object in objects {
            table.add_row(object.0.iter().map(|(_, cell)| {
                let right = if cell.is_numeric() {
                    CellAlignment::Right
                } else {
                    CellAlignment::Left
                };
                comfy_table::Cell::new(cell.text()).set_alignment(right)
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }
}

/// Says something that is not data. Names from files may stand in it, so nothing in it reaches the terminal as a command.
pub fn talk(text: &str) {
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    tell(&lines.join("\n"));
}

/// Writes to stderr as it stands, colours included.
pub fn tell(text: &str) {
    // Nobody can be told that stderr is closed.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether stderr takes colours.
pub fn colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_written_in_their_order() {
        let object = Object::new()
            .with("b", 1u64)
            .with("a", "tab\t")
            .with("c", Cell::Json("{\"x\":1.0}".into()))
            .with("d", Cell::Seconds(1.5))
            .with("e", None::<u64>)
            .with("f", vec![Object::new().with("g", true)]);
        let mut out = Vec::new();
        object.write_json(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"b":1,"a":"tab\t","c":{"x":1.0},"d":1.500,"e":null,"f":[{"g":true}]}"#
        );
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable("größer"), "größer");
    }
}
