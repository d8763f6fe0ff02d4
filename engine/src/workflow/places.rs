//! Expressions in their places: what is visible where, and compiling with an error that names the place.

use super::TimeReads;
use super::error::{DocumentError, Problem};
use super::node::{Data, Node, Place, short};
use super::secrets::{self, Secrets};
use crate::expr::{Expr, ExprError, Template};
use crate::value::{Val, as_text, text};

/// Names that the specification gives to expressions; loops cannot take them.
pub(super) const ARGUMENTS: [&str; 8] = [
    "authorization",
    "context",
    "input",
    "output",
    "runtime",
    "secrets",
    "task",
    "workflow",
];

/// Where an expression stands: the rows of the specification's table of runtime expression arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum At {
    /// `input.from` of the workflow.
    WorkflowInput,
    /// `output.as` of the workflow.
    WorkflowOutput,
    /// `if` and `input.from` of a task.
    Before,
    /// What the task does.
    Definition,
    /// `output.as` of a task.
    Output,
    /// `export.as` of a task.
    Export,
}

/// Variables at one place.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// With their `$`.
    names: Vec<String>,
    /// Secrets that can be named, where they can.
    secrets: Option<Secrets>,
}

impl Scope {
    /// `loops` are the variables of the enclosing loops.
    pub(super) fn at(at: At, loops: &[String]) -> Scope {
        let arguments: &[&'static str] = match at {
            At::WorkflowInput => &["runtime", "workflow"],
            At::WorkflowOutput => &["context", "runtime", "workflow"],
            At::Before => &["context", "runtime", "task", "workflow"],
            At::Definition | At::Output => &[
                "authorization",
                "context",
                "input",
                "runtime",
                "task",
                "workflow",
            ],
            At::Export => &[
                "authorization",
                "context",
                "input",
                "output",
                "runtime",
                "task",
                "workflow",
            ],
        };
        let names = arguments
            .iter()
            .copied()
            .chain(loops.iter().map(String::as_str));
        let mut names: Vec<String> = names.map(|name| format!("${name}")).collect();
        names.sort_unstable();
        names.dedup();
        Scope {
            names,
            secrets: None,
        }
    }

    /// The same less one, with its `$`.
    pub(super) fn without(&self, name: &str) -> Scope {
        let mut scope = self.clone();
        scope.names.retain(|known| known != name);
        scope
    }

    /// The same, for what an effect is given: secrets can be named in it.
    pub(super) fn with_secrets(&self, secrets: &Secrets) -> Scope {
        Scope {
            names: self.names.clone(),
            secrets: Some(secrets.clone()),
        }
    }

    /// A condition or collection: an expression, bare or in `${ … }`.
    pub(super) fn expr(&self, what: &str, node: &Node) -> Result<Expr, DocumentError> {
        self.compile(node.at, unwrapped(node.text(what)?))
    }

    /// A transform: an expression, bare or in `${ … }`, or a template.
    pub(super) fn transform(&self, what: &str, node: &Node) -> Result<Template, DocumentError> {
        match &node.data {
            Data::Text(s) => Ok(Template::expression(self.compile(node.at, unwrapped(s))?)),
            Data::Map(_) | Data::List(_) => self.template(node),
            _ => Err(node.wrong_type(what, "an expression, a mapping or a list")),
        }
    }

    /// A template: every text in it that is wholly `${ … }` is an expression, all else stands for itself.
    pub(super) fn template(&self, node: &Node) -> Result<Template, DocumentError> {
        let compiled = self.strict(node).and_then(|json| {
            Template::compile(&json, &self.names()).map_err(|error| {
                DocumentError::new(Problem::Expression, node.at, error.to_string())
            })
        });
        compiled.map_err(|error| {
            // Which of the expressions it was, each of them.
            let mut problems = Vec::new();
            self.culprits(node, &mut problems);
            DocumentError::first(problems).unwrap_or(error)
        })
    }

    fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    fn culprits(&self, node: &Node, problems: &mut Vec<DocumentError>) {
        match &node.data {
            Data::Text(s) if s.contains("${") => match self.strict(node) {
                Err(problem) => problems.push(problem),
                // A secret by reference is no expression.
                Ok(json) if as_text(&json).is_none() => {}
                Ok(_) => match parts(s.trim()) {
                    Some(parts) => {
                        problems.extend(parts.into_iter().filter_map(|part| match part {
                            Part::Expression(source) => self.compile(node.at, source).err(),
                            Part::Text(_) => None,
                        }))
                    }
                    None => problems.extend(self.compile(node.at, unwrapped(s)).err()),
                },
            },
            Data::List(items) => items.iter().for_each(|item| self.culprits(item, problems)),
            Data::Map(entries) => {
                for entry in entries {
                    if entry.key.contains("${") {
                        let what = "an expression as a key";
                        problems.push(DocumentError::not_supported(entry.at, what));
                    }
                    self.culprits(&entry.value, problems);
                }
            }
            _ => {}
        }
    }

    fn compile(&self, at: Place, source: &str) -> Result<Expr, DocumentError> {
        Expr::compile(source, &self.names()).map_err(|error| {
            if source.contains("${") {
                return interpolation(at, source);
            }
            let problem = match &error {
                ExprError::Undefined {
                    kind: "variable", ..
                } => Problem::Variable,
                ExprError::Refused { name, .. } if name == "$secrets" => {
                    let message = format!("`{name}` in this expression");
                    return DocumentError::not_supported(at, message).expected(secrets::EXPECTED);
                }
                _ => Problem::Expression,
            };
            DocumentError::new(problem, at, error.to_string())
        })
    }
}

/// Union of what expressions read of the time.
pub(super) fn time<'t>(
    exprs: impl IntoIterator<Item = Option<&'t Expr>>,
    templates: impl IntoIterator<Item = Option<&'t Template>>,
) -> TimeReads {
    let exprs = exprs.into_iter().map(|e| e.map(Expr::reads_time));
    let templates = templates.into_iter().map(|t| t.map(Template::reads_time));
    TimeReads::union(exprs.chain(templates))
}

fn is_expression(s: &str) -> bool {
    let s = s.trim();
    s.starts_with("${") && s.ends_with('}')
}

/// The expression that the text wholly is, as `${ … }`.
pub(super) fn expression(s: &str) -> Option<&str> {
    is_expression(s).then(|| unwrapped(s))
}

/// The expression inside `${ … }`, or the text itself.
fn unwrapped(s: &str) -> &str {
    if is_expression(s) {
        let s = s.trim();
        &s[2..s.len() - 1]
    } else {
        s
    }
}

impl Scope {
    /// The node as JSON, expressions trimmed and secrets by reference; refuses texts that hold `${` without being wholly
    /// `${ … }`.
    fn strict(&self, node: &Node) -> Result<Val, DocumentError> {
        Ok(match &node.data {
            Data::Text(s) if s.contains("${") => {
                let unended = || interpolation(node.at, s);
                // What is wrong with an expression that is all there is, its own reader says best.
                let whole = is_expression(s).then(|| vec![Part::Expression(unwrapped(s))]);
                let taken = parts(s.trim()).or(whole).ok_or_else(unended)?;
                match (self.named(node.at, &taken), taken.as_slice()) {
                    (Some(reference), _) => reference?,
                    (None, [Part::Expression(_)]) => text(s.trim()),
                    // Blanks around it belong to a text.
                    (None, _) => text(&joined(&parts(s).ok_or_else(unended)?)),
                }
            }
            Data::List(items) => items
                .iter()
                .map(|item| self.strict(item))
                .collect::<Result<_, _>>()?,
            Data::Map(entries) => {
                let mut members = Vec::with_capacity(entries.len());
                for entry in entries {
                    if entry.key.contains("${") {
                        return Err(DocumentError::not_supported(
                            entry.at,
                            "an expression as a key",
                        ));
                    }
                    members.push((text(&entry.key), self.strict(&entry.value)?));
                }
                Val::obj(members.into_iter().collect())
            }
            _ => node.val(),
        })
    }
}

impl Scope {
    /// A secret, perhaps with a text before it, where one can be named.
    fn named(&self, at: Place, parts: &[Part<'_>]) -> Option<Result<Val, DocumentError>> {
        let known = self.secrets.as_ref()?;
        match parts {
            [Part::Expression(source)] => Some(known.reference(at, secrets::named(source)?)),
            [Part::Text(before), Part::Expression(source)] => {
                let named = secrets::named(source)?.behind(before);
                Some(known.reference(at, named))
            }
            _ => None,
        }
    }
}

/// A part of a text with expressions in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part<'a> {
    Text(&'a str),
    Expression(&'a str),
}

/// Takes a text with `${ … }` in it apart; none when one of them has no end.
fn parts(s: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = s;
    while let Some(at) = rest.find("${") {
        let (before, from) = (&rest[..at], &rest[at + 2..]);
        let end = closing(from)?;
        if !before.is_empty() {
            parts.push(Part::Text(before));
        }
        parts.push(Part::Expression(&from[..end]));
        rest = &from[end + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Some(parts)
}

/// Where the `}` of an expression is: braces within it have theirs, and those in its texts do not count.
fn closing(source: &str) -> Option<usize> {
    #[derive(PartialEq)]
    enum In {
        Brace,
        Text,
        Parenthesis,
    }
    let mut around = Vec::new();
    let mut escaped = false;
    for (at, c) in source.char_indices() {
        if around.last() == Some(&In::Text) {
            match (escaped, c) {
                (true, '(') => around.push(In::Parenthesis),
                (false, '"') => drop(around.pop()),
                _ => {}
            }
            escaped = !escaped && c == '\\';
            continue;
        }
        escaped = false;
        match c {
            '"' => around.push(In::Text),
            '{' => around.push(In::Brace),
            '(' => around.push(In::Parenthesis),
            ')' if around.last() == Some(&In::Parenthesis) => drop(around.pop()),
            '}' => match around.last() {
                None => return Some(at),
                Some(In::Brace) => drop(around.pop()),
                _ => return None,
            },
            _ => {}
        }
    }
    None
}

/// The source of an expression that gives what a text with perhaps expressions in it says, as text.
pub(super) fn source_of(s: &str) -> Option<String> {
    let parts = parts(s.trim())?;
    let source = joined(&parts);
    Some(format!("({})", unwrapped(&source)))
}

/// One expression of the parts: what they give, as text, one behind the other.
fn joined(parts: &[Part<'_>]) -> String {
    let piece = |part: &Part<'_>| match part {
        Part::Expression(source) => format!("({source} | tostring)"),
        Part::Text(said) => {
            let said = crate::value::Value::from_val(&text(said));
            said.map_or_else(|_| "\"\"".into(), |said| said.to_string())
        }
    };
    let pieces: Vec<String> = parts.iter().map(piece).collect();
    format!("${{{}}}", pieces.join(" + "))
}

fn interpolation(at: Place, s: &str) -> DocumentError {
    DocumentError::not_supported(at, "an expression within a longer text")
        .expected("expressions `${ … }` that end, in a place for data; elsewhere a text that is wholly one")
        .found(format!("`{}`", short(s)))
}
