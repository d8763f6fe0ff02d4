//! Inputs from files, arguments and standard input: bounded in memory, plain or gzip.

use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host::progress;
use aos_engine::value::{VALUE_BYTES_MAX, Value};
use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Longest line or document that is read: twice the largest value, for the sake of white space.
pub const INPUT_BYTES_MAX: u64 = 2 * VALUE_BYTES_MAX as u64;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BUFFER_BYTES: usize = 256 << 10;

/// Reads a whole file, or standard input for `-`, up to `limit` bytes.
///
/// # Errors
/// [`failure::NO_FILE`], [`failure::FILE`], [`failure::LARGE_INPUT`].
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let bad = |error: io::Error| failure::file("read", path, &error);
    if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(bad)?;
    } else {
        File::open(path)
            .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
            .map_err(bad)?;
    }
    if bytes.len() as u64 > limit {
        return Err(too_large(limit).place(failure::shown(path)));
    }
    Ok(bytes)
}

/// Reads a whole file, or standard input for `-`, plain or gzip, up to `limit` bytes of either form.
///
/// # Errors
/// As [`read`]; [`failure::COMPRESSED`].
pub fn whole(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let bytes = read(path, limit)?;
    if !bytes.starts_with(&GZIP_MAGIC) {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    MultiGzDecoder::new(bytes.as_slice())
        .take(limit + 1)
        .read_to_end(&mut plain)
        .map_err(|error| {
            Failure::new(
                failure::COMPRESSED,
                Exit::Damaged,
                format!("gzip stream is damaged: {error}"),
            )
            .place(failure::shown(path))
            .next(format!("gzip --test {}", failure::argument(path)))
        })?;
    if plain.len() as u64 > limit {
        return Err(too_large(limit).place(failure::shown(path)));
    }
    Ok(plain)
}

fn too_large(limit: u64) -> Failure {
    Failure::new(
        failure::LARGE_INPUT,
        Exit::Limit,
        format!("more than the limit of {limit} bytes"),
    )
    .next("keep large data outside and give its path or digest as the input")
}

/// The value of an argument: JSON, `@FILE`, or `-` for standard input.
///
/// # Errors
/// As [`read`]; [`failure::NOT_JSON`].
pub fn argument(name: &str, text: &str) -> Result<Value, Failure> {
    let from = match text.strip_prefix('@') {
        Some(path) => Some(PathBuf::from(path)),
        None => (text == "-").then(|| PathBuf::from("-")),
    };
    let (bytes, place) = match from {
        Some(path) => (read(&path, INPUT_BYTES_MAX)?, failure::shown(&path)),
        None => (text.as_bytes().to_vec(), name.to_owned()),
    };
    Value::from_json(&bytes).map_err(|error| {
        let place = match &error {
            aos_engine::value::ValueError::NotJson(inner) => at(&bytes, inner.offset(), &place),
            _ => place,
        };
        let failure = failure::value(&error, failure::NOT_JSON, Exit::Usage, place);
        if failure.code != failure::NOT_JSON {
            return failure;
        }
        failure.next(format!(
            "{name} '{{\"name\": \"Ada\"}}', {name} @FILE, or {name} - for standard input"
        ))
    })
}

/// Line and column of a byte, behind the name of what it is in.
fn at(bytes: &[u8], offset: Option<usize>, name: &str) -> String {
    match offset {
        Some(offset) => {
            let (line, column) = aos_format::canonical::line_column(bytes, offset);
            format!("{name}, line {line}, column {column}")
        }
        None => name.to_owned(),
    }
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes, without the end of the line.
    Text(Vec<u8>),
    /// Longer than [`INPUT_BYTES_MAX`]; its length.
    TooLong(u64),
}

/// The lines of a file or of standard input that are not blank, one at a time.
pub struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    compressed: bool,
    limit: u64,
    number: u64,
}

impl Lines {
    /// Opens `path`, or standard input for `-`, plain or gzip; `bar` moves with the bytes read.
    ///
    /// # Errors
    /// [`failure::NO_FILE`], [`failure::FILE`].
    pub fn open(path: &Path, bar: &ProgressBar) -> Result<Lines, Failure> {
        let bad = |error: io::Error| failure::file("read", path, &error);
        let raw: Box<dyn Read> = if path == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(path).map_err(bad)?;
            let meta = file.metadata().map_err(bad)?;
            if meta.is_dir() {
                return Err(bad(io::Error::from(io::ErrorKind::IsADirectory)));
            }
            if meta.is_file() {
                progress::set_total(bar, meta.len());
            }
            Box::new(bar.wrap_read(file))
        };
        Lines::new(path, raw, INPUT_BYTES_MAX).map_err(bad)
    }

    fn new(path: &Path, mut raw: Box<dyn Read>, limit: u64) -> io::Result<Lines> {
        let mut magic = Vec::new();
        raw.by_ref()
            .take(GZIP_MAGIC.len() as u64)
            .read_to_end(&mut magic)?;
        let compressed = magic == GZIP_MAGIC;
        let whole = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(magic).chain(raw));
        let reader: Box<dyn BufRead> = if compressed {
            Box::new(BufReader::with_capacity(
                BUFFER_BYTES,
                MultiGzDecoder::new(whole),
            ))
        } else {
            Box::new(whole)
        };
        Ok(Lines {
            path: path.to_owned(),
            reader,
            compressed,
            limit,
            number: 0,
        })
    }

    /// Where the lines come from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next line that is not blank, and its number from 1.
    ///
    /// # Errors
    /// [`failure::FILE`], [`failure::COMPRESSED`]; nothing comes after an error.
    pub fn next_line(&mut self) -> Result<Option<(u64, Line)>, Failure> {
        loop {
            let mut bytes = Vec::new();
            let read = self
                .reader
                .by_ref()
                .take(self.limit + 1)
                .read_until(b'\n', &mut bytes);
            if read.map_err(|error| self.broken(&error))? == 0 {
                return Ok(None);
            }
            self.number += 1;
            let whole = bytes.ends_with(b"\n");
            if !whole && bytes.len() as u64 > self.limit {
                let rest = skip_line(&mut self.reader).map_err(|error| self.broken(&error))?;
                return Ok(Some((
                    self.number,
                    Line::TooLong(bytes.len() as u64 + rest),
                )));
            }
            if whole {
                bytes.pop();
            }
            if !bytes.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some((self.number, Line::Text(bytes))));
            }
        }
    }

    fn broken(&self, error: &io::Error) -> Failure {
        let place = format!("{}, after line {}", failure::shown(&self.path), self.number);
        let damaged = matches!(
            error.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        );
        if self.compressed && damaged {
            return Failure::new(
                failure::COMPRESSED,
                Exit::Damaged,
                format!("gzip stream is damaged: {error}"),
            )
            .place(place)
            .next(format!("gzip --test {}", failure::argument(&self.path)));
        }
        failure::file("read", &self.path, error).place(place)
    }
}

/// Skips to the end of the line; returns the bytes skipped, the end not counted.
fn skip_line(reader: &mut dyn BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = match reader.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let (len, ends) = match buffer.iter().position(|&byte| byte == b'\n') {
            Some(at) => (at, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        let end = usize::from(ends && len < buffer.len());
        reader.consume(len + end);
        skipped += len as u64;
        if ends {
            return Ok(skipped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(bytes: &[u8], limit: u64) -> Lines {
        Lines::new(
            Path::new("t"),
            Box::new(io::Cursor::new(bytes.to_vec())),
            limit,
        )
        .unwrap()
    }

    fn all(mut lines: Lines) -> Vec<(u64, Line)> {
        std::iter::from_fn(|| lines.next_line().unwrap()).collect()
    }

    #[test]
    fn blank_lines_are_skipped_but_counted() {
        let found = all(lines(b"1\n\n  \r\n2\r\n3", 100));
        let text = |t: &str| Line::Text(t.into());
        assert_eq!(found, [(1, text("1")), (4, text("2\r")), (5, text("3"))]);
    }

    #[test]
    fn a_line_beyond_the_limit_is_skipped_and_the_next_one_read() {
        let found = all(lines(b"12345678\n123456789\n1\n123456789", 8));
        let text = |t: &str| Line::Text(t.into());
        assert_eq!(
            found,
            [
                (1, text("12345678")),
                (2, Line::TooLong(9)),
                (3, text("1")),
                (4, Line::TooLong(9))
            ]
        );
    }

    #[test]
    fn gzip_is_known_by_its_magic_and_damage_is_said() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"1\n2\n").unwrap();
        let mut bytes = encoder.finish().unwrap();
        assert_eq!(all(lines(&bytes, 100)).len(), 2);
        bytes.truncate(bytes.len() - 4);
        let mut cut = lines(&bytes, 100);
        let failure = loop {
            match cut.next_line() {
                Ok(line) => assert!(line.is_some(), "a cut stream never ends well"),
                Err(failure) => break failure,
            }
        };
        assert_eq!(
            (failure.code, failure.exit),
            (failure::COMPRESSED, Exit::Damaged)
        );
    }

    #[test]
    fn empty_input_has_no_lines() {
        assert!(all(lines(b"", 10)).is_empty());
        assert!(all(lines(b"\n\n", 10)).is_empty());
    }
}
