//! `aosctl check` and `aosctl graph`

use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::input;
use crate::output::{Object, Output};
use aos_engine::skill::Skills;
use aos_engine::workflow::graph::{Drawing, draw};
use aos_engine::workflow::{DOCUMENT_BYTES_MAX, Definition, DocumentError};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// `check`
#[derive(Args, Debug)]
pub struct Check {
    /// Workflow document
    #[arg(value_name = "WORKFLOW")]
    pub workflow: PathBuf,
}

/// `graph`
#[derive(Args, Debug)]
pub struct Graph {
    /// Workflow document
    #[arg(value_name = "WORKFLOW")]
    pub workflow: PathBuf,
    /// Form of the drawing; -o mermaid, -o dot and -o svg say the same
    #[arg(long, value_enum, default_value = "mermaid", value_name = "FORM")]
    pub form: GraphForm,
}

/// Form of a drawing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum GraphForm {
    // Mermaid flowchart.
    Mermaid,
    // Graphviz.
    Dot,
    // SVG.
    Svg,
}

/// The arguments, with `-o FORM` of a drawing as `--form FORM`: `-o` is a form of output everywhere else.
pub fn form_of_drawing(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let given: Vec<OsString> = given.collect();
    let is_form = |text: &str| GraphForm::from_str(text, false).is_ok();
    if !given.iter().skip(1).any(|one| one == "graph") {
        return given;
    }
    let mut read = Vec::with_capacity(given.len());
    let mut forms = Vec::new();
    let mut given = given.into_iter().peekable();
    while let Some(one) = given.next() {
        let text = one.to_str().unwrap_or_default();
        let apart = matches!(text, "-o" | "--output");
        let joined = text.strip_prefix("--output=").or(text.strip_prefix("-o"));
        let next = given.peek().and_then(|next| next.to_str());
        match (
            joined.filter(|form| is_form(form)),
            next.filter(|next| apart && is_form(next)),
        ) {
            (Some(form), _) => forms.extend(["--form".into(), OsString::from(form)]),
            (None, Some(_)) => {
                forms.push("--form".into());
                forms.extend(given.next());
            }
            (None, None) => read.push(one),
        }
    }
    read.extend(forms);
    read
}

/// Reads a document and tells every problem it has, and nothing but that.
///
/// # Errors
/// When the file cannot be read; problems of the document are the answer, with exit code 1.
pub fn check(args: &Check, out: &mut Output) -> Result<Exit, Failure> {
    let bytes = input::read(&args.workflow, DOCUMENT_BYTES_MAX as u64)?;
    let problems = problems(&bytes);
    let exit = if problems.is_empty() {
        Exit::Yes
    } else {
        Exit::No
    };
    let file = failure::shown(&args.workflow);
    let count = problems.len();
    let rows = problems.into_iter().map(|problem| {
        Object::new()
            .with("schema", "aos.check.v1")
            .with(
                "place",
                format!("{file}:{}:{}", problem.line, problem.column),
            )
            .with("line", problem.line)
            .with("column", problem.column)
            .with("path", problem.path().map(str::to_owned))
            .with("code", problem.code())
            .with("message", message(&problem))
            .with("suggestion", problem.suggestion().map(str::to_owned))
    });
    out.list(rows, "no problems")?;
    if count > 0 {
        let problems = if count == 1 { "problem" } else { "problems" };
        crate::output::talk(&format!(
            "{count} {problems}; what a code means: aosctl explain CODE"
        ));
    }
    Ok(exit)
}

fn problems(bytes: &[u8]) -> Vec<DocumentError> {
    aos_engine::plan::check(bytes, &Skills::builtin())
        .err()
        .unwrap_or_default()
}

/// What is wrong, without the place, which has columns of its own.
fn message(problem: &DocumentError) -> String {
    let text = problem.to_string();
    let place = format!("line {}, column {}: ", problem.line, problem.column);
    text.strip_prefix(&place).unwrap_or(&text).to_owned()
}

/// Draws the tasks of a document.
///
/// # Errors
/// The first problem of the document.
pub fn graph(args: &Graph, out: &mut Output) -> Result<Exit, Failure> {
    let bytes = input::read(&args.workflow, DOCUMENT_BYTES_MAX as u64)?;
    let definition = Definition::load(&bytes).map_err(failure::document(&args.workflow))?;
    let form = match args.form {
        GraphForm::Mermaid => Drawing::Mermaid,
        GraphForm::Dot => Drawing::Dot,
        GraphForm::Svg => Drawing::Svg,
    };
    out.raw(draw(&definition, form).as_bytes())?;
    Ok(Exit::Yes)
}
