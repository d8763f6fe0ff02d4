//! Errors as the command line tells them: code, message, place, and what to try next.
//!
//! ```text
//! error[AOS-S002]: the log orders.aos is open for writing elsewhere
//!   at: orders.aos
//!   try: wait until it has ended; reading works meanwhile: aosctl runs orders.aos
//! ```

use crate::exit::Exit;
use crate::output::{colours, printable, tell};
use aos_engine::expr::ExprError;
use aos_engine::history::HistoryError;
use aos_engine::value::ValueError;
use aos_engine::workflow::DocumentError;
use aos_store::ErrorKind;
use std::io;
use std::path::Path;

/// The command line makes no sense.
pub const USAGE: &str = "AOS-C001";
/// A file that is not there.
pub const NO_FILE: &str = "AOS-C002";
/// A file that cannot be read or written.
pub const FILE: &str = "AOS-C003";
/// An argument that is not JSON.
pub const NOT_JSON: &str = "AOS-C004";
/// A line that is not JSON.
pub const BAD_LINE: &str = "AOS-C005";
/// An input beyond the limit.
pub const LARGE_INPUT: &str = "AOS-C006";
/// A key expression that gives no key.
pub const KEY: &str = "AOS-C007";
/// A compressed stream that is damaged.
pub const COMPRESSED: &str = "AOS-C008";
/// A run named in a way that fits none.
pub const NO_RUN: &str = "AOS-C009";
/// A run named in a way that fits several.
pub const AMBIGUOUS: &str = "AOS-C010";
/// An error code nobody knows.
pub const NO_CODE: &str = "AOS-C011";
/// The output cannot be written.
pub const OUTPUT: &str = "AOS-C012";
/// The demo saw something else than it should.
pub const DEMO: &str = "AOS-C013";
/// A bug.
pub const BUG: &str = "AOS-C014";
/// The operating system refuses what AOS cannot work without.
pub const SYSTEM: &str = "AOS-C015";
/// Stopped by a signal.
pub const STOPPED: &str = "AOS-C016";
/// A log of another stride than asked for.
pub const STRIDE: &str = "AOS-C017";
/// A catalogue that does not say what the log says.
pub const CATALOGUE: &str = "AOS-C018";
/// A measurement that cannot be made.
pub const MEASURE: &str = "AOS-C060";
/// A skill that nobody has registered.
pub const NO_SKILL: &str = "AOS-C050";

/// A command that needs a terminal and has none.
#[cfg(feature = "tui")]
pub const NO_TERMINAL: &str = "AOS-C030";

/// Why a command failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Code of the help page.
    pub code: &'static str,
    /// Exit code.
    pub exit: Exit,
    /// What is wrong; lower case, no full stop.
    pub message: String,
    /// Where.
    pub place: Option<String>,
    /// A command, or what else to do.
    pub next: Option<String>,
}

impl Failure {
    /// A failure without place.
    pub fn new(code: &'static str, exit: Exit, message: impl Into<String>) -> Failure {
        Failure {
            code,
            exit,
            message: message.into(),
            place: None,
            next: None,
        }
    }

    /// The same, at a place.
    pub fn place(mut self, place: impl Into<String>) -> Failure {
        self.place = Some(place.into());
        self
    }

    /// The same, with what to try.
    pub fn next(mut self, next: impl Into<String>) -> Failure {
        self.next = Some(next.into());
        self
    }

    /// Writes it to stderr.
    pub fn print(&self) {
        let (red, plain) = if colours() {
            ("\u{1b}[1;31m", "\u{1b}[0m")
        } else {
            ("", "")
        };
        let mut text = format!(
            "{red}error[{}]{plain}: {}",
            self.code,
            printable(&self.message)
        );
        for (name, part) in [("at", &self.place), ("try", &self.next)] {
            if let Some(part) = part {
                text.push_str(&format!("\n  {name}: {}", printable(part)));
            }
        }
        tell(&text);
    }
}

/// A path as it is shown.
pub fn shown(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".into()
    } else {
        path.display().to_string()
    }
}

/// A path as an argument of a command to try: quoted where a shell needs it.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A log as an argument of a command to try.
pub fn argument(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// A failed operation on a file.
pub fn file(operation: &str, path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot {operation} {}: {error}", shown(path));
    let (code, exit, next) = match error.kind() {
        io::ErrorKind::NotFound => (
            NO_FILE,
            Exit::NotFound,
            format!("ls -l {}", argument(parent(path))),
        ),
        io::ErrorKind::PermissionDenied => (
            FILE,
            Exit::Environment,
            format!("ls -ld {}", argument(path)),
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (
            FILE,
            Exit::Environment,
            format!("df -h {}", argument(parent(path))),
        ),
        _ => (
            FILE,
            Exit::Environment,
            format!("ls -ld {}", argument(path)),
        ),
    };
    Failure::new(code, exit, message)
        .place(shown(path))
        .next(next)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What a store error on the log at `log` means to the caller.
pub fn store(log: &Path) -> impl Fn(aos_store::Error) -> Failure + '_ {
    move |error| {
        let name = argument(log);
        let (exit, next) = match error.kind() {
            ErrorKind::NotFound => (Exit::NotFound, format!("ls -l {name}")),
            ErrorKind::Pruned => (
                Exit::NotFound,
                "the same command on that archive, or aosctl golden show ARCHIVE".into(),
            ),
            ErrorKind::Busy => (
                Exit::Environment,
                format!(
                    "wait until the other writer has ended; reading works meanwhile: aosctl runs {name}"
                ),
            ),
            ErrorKind::NotALog => (
                Exit::Damaged,
                format!("ls -l {name}; a log is a directory that `aosctl run --log` made"),
            ),
            ErrorKind::Damaged | ErrorKind::Gap => {
                (Exit::Damaged, format!("aosctl log fsck {name}"))
            }
            ErrorKind::Unsupported => (
                Exit::Undecided,
                "aosctl --version; use the version that wrote the log, or a newer one".into(),
            ),
            ErrorKind::Full => (
                Exit::Environment,
                format!("df -h {name}; then the same command again"),
            ),
            ErrorKind::Permission => (Exit::Environment, format!("ls -ld {name} {name}/segments")),
            ErrorKind::Poisoned => (
                Exit::Environment,
                "the same command again: it opens the log anew".into(),
            ),
            ErrorKind::TooLarge => (
                Exit::Limit,
                format!("aosctl log stat {name}; a log with a larger --stride takes larger values"),
            ),
            ErrorKind::Refused => (Exit::Refused, format!("aosctl explain {}", error.code())),
            ErrorKind::Conflict => (Exit::Refused, format!("aosctl log fsck {name}")),
            ErrorKind::Invalid => (Exit::Usage, "aosctl --help".into()),
            ErrorKind::Catalogue => (
                Exit::Environment,
                format!("aosctl log fsck {name} --rebuild-catalog"),
            ),
            _ => (
                Exit::Environment,
                format!("aosctl explain {}", error.code()),
            ),
        };
        let place = match error.finding() {
            Some(finding) => format!(
                "{}, offset {} in {}",
                shown(log),
                finding.offset,
                finding.file
            ),
            None => shown(log),
        };
        Failure::new(error.code(), exit, error.to_string())
            .place(place)
            .next(next)
    }
}

/// What an engine error on the log at `log` means to the caller.
pub fn engine(log: &Path) -> impl Fn(aos_engine::Error) -> Failure + '_ {
    use aos_engine::Error;
    move |error| {
        let name = argument(log);
        let code = error.code();
        let message = error.to_string();
        let (exit, place, next) = match error {
            Error::Store(error) => return store(log)(error),
            Error::Document(error) => return document(log)(error),
            Error::History {
                source: HistoryError::Store(error),
                ..
            } => return store(log)(error),
            Error::History { run, .. } => (
                Exit::Damaged,
                format!("run {run}"),
                format!("aosctl replay {name} --run {run}"),
            ),
            Error::Conflict { run, offset, .. } => (
                Exit::Refused,
                format!("run {run}, offset {offset}"),
                format!(
                    "aosctl show {name} {run}; or --on-conflict existing, or --on-conflict new-generation"
                ),
            ),
            Error::Nondeterminism { run, offset, .. } => (
                Exit::No,
                format!("run {run}, offset {offset}"),
                format!("aosctl replay {name} --run {run}"),
            ),
            Error::NotRegistered { run, .. } => (
                Exit::Undecided,
                format!("run {run}"),
                format!("aosctl show {name} {run}"),
            ),
            Error::NoRun { what } => (
                Exit::NotFound,
                format!("run {what}"),
                format!("aosctl runs {name}"),
            ),
            Error::NotHeld { run, step, .. } => (
                Exit::Refused,
                format!("run {run}, step {step}"),
                format!("aosctl runs {name} --status held"),
            ),
            Error::TooLarge { run, step, .. } => (
                Exit::Limit,
                format!("run {run}, {step}"),
                format!(
                    "aosctl log stat {name}; a log made with a larger --stride takes larger values"
                ),
            ),
            Error::Semantics { run, .. } => (
                Exit::Undecided,
                format!("run {run}"),
                "aosctl --version; use the version that started the run, or a newer one".into(),
            ),
            Error::Imported { run, .. } => (
                Exit::Undecided,
                format!("run {run}"),
                format!("aosctl verify {name}; or aosctl show {name} {run}"),
            ),
            Error::Gap { run, offset } => (
                Exit::Refused,
                format!("run {run}, offset {offset}"),
                format!("aosctl show {name} {run}; to do it anew: --on-conflict new-generation"),
            ),
            Error::InProgress { run } => (
                Exit::Environment,
                format!("run {run}"),
                format!("aosctl show {name} {run}"),
            ),
            Error::RunWithin { run } => (
                Exit::Undecided,
                format!("run {run}"),
                format!("aosctl show {name} {run}; when it has ended: aosctl resume {name}"),
            ),
            Error::Bug { what, .. } => (
                Exit::Bug,
                what,
                format!("aosctl verify {name}; then report this"),
            ),
            _ => (Exit::Damaged, shown(log), format!("aosctl log fsck {name}")),
        };
        Failure::new(code, exit, message)
            .place(format!("{}, {place}", shown(log)))
            .next(next)
    }
}

/// What kept a replay or an export of the log at `log` from going on.
pub fn replay(log: &Path) -> impl Fn(aos_replay::Error) -> Failure + '_ {
    use aos_replay::Error;
    move |error| {
        let code = error.code();
        let name = argument(log);
        let (exit, next) = match error {
            Error::Store(error) => return store(log)(error),
            Error::NoRun { .. } => (Exit::NotFound, format!("aosctl runs {name}")),
            _ => (Exit::Damaged, format!("aosctl replay {name}")),
        };
        Failure::new(code, exit, error.to_string())
            .place(shown(log))
            .next(next)
    }
}

/// What is wrong with a workflow document.
pub fn document(path: &Path) -> impl Fn(DocumentError) -> Failure + '_ {
    move |error| {
        let code = error.code();
        let place = format!("{}:{}:{}", shown(path), error.line, error.column);
        Failure::new(code, Exit::Usage, error.to_string())
            .place(place)
            .next(format!("aosctl explain {code}"))
    }
}

/// A value that is none, or too large; `exit` for the first.
pub fn value(error: &ValueError, code: &'static str, exit: Exit, place: String) -> Failure {
    let (code, exit) = match error {
        ValueError::TooLarge | ValueError::TooDeep => (error.code(), Exit::Limit),
        ValueError::NotJson(_) | ValueError::NotRepresentable { .. } => (code, exit),
        _ => (error.code(), exit),
    };
    Failure::new(code, exit, error.to_string())
        .place(place)
        .next(format!("aosctl explain {code}"))
}

/// A key expression that does not compile.
pub fn key_expression(source: &str, error: &ExprError) -> Failure {
    Failure::new(error.code(), Exit::Usage, format!("--key-by: {error}"))
        .place(format!("--key-by {}", quoted(source)))
        .next("--key-by '.id', any jq expression that gives a string or a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("a/b-1.aos"), "a/b-1.aos");
        assert_eq!(quoted("my log"), "'my log'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn a_missing_file_is_not_found_and_a_locked_one_is_not() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(file("read", Path::new("x"), &missing).exit, Exit::NotFound);
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(
            file("read", Path::new("x"), &denied).exit,
            Exit::Environment
        );
    }
}
