//! The document around the tasks.

use super::authentication;
use super::error::{DocumentError, Problem};
use super::fields::{Fields, unknown};
use super::node::{Data, Entry, Node, Place, short};
use super::places::{At, Scope};
use super::schedule::Schedule;
use super::schema::Schema;
use super::secrets::{self, Secrets};
use super::task::{Tasks, timeout};
use super::{Definition, Settings, skills, source};
use super::{extend, loose};
use crate::value::Value;
use aos_format::digest::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Largest limit or interval in steps: what a double holds exactly.
const STEPS_LIMIT: u64 = 1 << 53;

pub(super) fn load(bytes: &[u8]) -> Result<Definition, DocumentError> {
    check(bytes, None, &|_| None).map_err(|mut problems| problems.swap_remove(0))
}

/// Reads a document; all its problems, the one first that was met first. `skills` are those that can be called; `judge` says
/// what else is wrong with a task that could be read.
pub(super) fn check(
    bytes: &[u8],
    skills: Option<&[&str]>,
    judge: &dyn Fn(&super::Task) -> Option<DocumentError>,
) -> Result<Definition, Vec<DocumentError>> {
    let mut read = source::read(bytes).map_err(DocumentError::apart)?;
    let mut problems = std::mem::take(&mut read.problems);
    let mut written = None;
    match extend::extensions(&read.root) {
        Ok(extensions) if extensions.is_empty() => {}
        Ok(extensions) => written = Some(extend::extended(&read.root, &extensions)),
        Err(problem) => problems.extend(problem.apart()),
    }
    if loose::asked_for(&read.root) {
        written = Some(loose::strictly(written.as_ref().unwrap_or(&read.root)));
    }
    let mut tasks = Tasks::default();
    let loaded = read_root(
        bytes,
        &read,
        written.as_ref().unwrap_or(&read.root),
        &mut tasks,
    );
    problems.append(&mut tasks.problems);
    let unknown = |(name, at): &(String, Place)| match skills {
        Some(skills) if !skills.contains(&name.as_str()) => Some(unknown_skill(name, *at, skills)),
        _ => None,
    };
    problems.extend(tasks.calls.iter().filter_map(unknown));
    for problem in tasks.read().filter_map(judge) {
        // A function is read where it is called, however often that is.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    let loaded = match loaded {
        Ok(definition) if problems.is_empty() => {
            let files = tasks.secrets.files();
            let workflows = std::mem::take(&mut tasks.workflows);
            let definition = Definition {
                workflows,
                ..definition
            };
            let (tasks, calls) = tasks.finish();
            Some(complete(definition, tasks, calls, files))
        }
        Ok(_) => None,
        Err(problem) => {
            problems.extend(problem.apart());
            None
        }
    };
    match loaded {
        Some(definition) => Ok(definition),
        None => {
            for problem in &mut problems {
                let at = Place {
                    line: problem.line,
                    column: problem.column,
                };
                problem.found_at(read.root.pointer_of(at));
            }
            Err(problems)
        }
    }
}

/// A call of a skill that nobody registered.
pub(super) fn unknown_skill(name: &str, at: Place, known: &[&str]) -> DocumentError {
    let message = format!("no skill named `{}` is registered", short(name));
    let calls = known.iter().copied().chain(["http", "openapi"]);
    DocumentError::new(Problem::UnknownSkill, at, message).suggest(name, calls)
}

fn read_root<'d>(
    bytes: &[u8],
    read: &source::Source,
    root: &'d Node,
    tasks: &mut Tasks<'d>,
) -> Result<Definition, DocumentError> {
    let json = value(&read.root)?;
    let mut definition = Definition {
        namespace: "default".into(),
        name: "skills".into(),
        version: "0.0.0".into(),
        dsl: "1.0.3".into(),
        media: if read.json { "json" } else { "yaml" },
        source: Arc::from(bytes),
        digest: Digest::labelled("aos.definition.v1", &[json.canonical()]).0,
        json,
        tasks: Vec::new(),
        root: Vec::new(),
        input_from: None,
        output_as: None,
        input_schema: None,
        output_schema: None,
        timeout: None,
        schedule: None,
        settings: Settings::default(),
        allow: None,
        secrets: BTreeSet::new(),
        workflows: BTreeSet::new(),
        skills: Vec::new(),
        calls: Vec::new(),
    };
    if let Data::List(entries) = &root.data {
        definition.media = "skills";
        definition.root = skills::read(tasks, root.at, entries)?;
    } else {
        workflow(&mut definition, tasks, root)?;
    }
    Ok(definition)
}

fn complete(
    mut definition: Definition,
    tasks: Vec<super::Task>,
    calls: Vec<(String, Place)>,
    files: BTreeSet<String>,
) -> Definition {
    definition.secrets = files;
    crate::secret::files_in(definition.json.val(), &mut definition.secrets);
    (definition.tasks, definition.calls) = (tasks, calls);
    definition.skills = definition
        .calls
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    definition.skills.sort_unstable();
    definition.skills.dedup();
    definition
}

fn workflow<'d>(
    definition: &mut Definition,
    tasks: &mut Tasks<'d>,
    root: &'d Node,
) -> Result<(), DocumentError> {
    let mut fields = Fields::of("workflow", Place::START, root)?;
    let head = fields
        .need("document")
        .map(|entry| document(definition, tasks, entry));
    tasks.keep(head.and_then(|read| read));
    if let Some(entry) = fields.maybe("schedule") {
        definition.schedule = tasks.keep(Schedule::read(entry));
    }
    if let Some(entry) = fields.maybe("evaluate") {
        tasks.keep(evaluate(entry));
    }
    if let Some(entry) = fields.maybe("use") {
        let read = reusable(tasks, entry);
        tasks.keep(read);
        tasks.check_errors();
        tasks.check_retries();
    }
    let transform = |entry: Option<&Entry>, key, at| -> Result<_, DocumentError> {
        let Some(found) = entry.map(|entry| sub(entry, key)).transpose()? else {
            return Ok((None, None));
        };
        let compiled = found
            .value
            .map(|e| Scope::at(at, &[]).transform(key, &e.value));
        Ok((compiled.transpose()?, found.schema))
    };
    let input = transform(fields.maybe("input"), "from", At::WorkflowInput);
    (definition.input_from, definition.input_schema) = tasks.keep(input).unwrap_or_default();
    let output = transform(fields.maybe("output"), "as", At::WorkflowOutput);
    (definition.output_as, definition.output_schema) = tasks.keep(output).unwrap_or_default();
    if let Some(entry) = fields.maybe("timeout") {
        let read = timeout(entry, &tasks.timeouts, &Scope::at(At::WorkflowInput, &[]));
        definition.timeout = tasks.keep(read);
        let template = definition.timeout.as_ref().and_then(|wait| wait.template());
        if template.is_some_and(|template| template.reads_time().any()) {
            let what = "a timeout of the workflow that reads the clock";
            tasks.problem(DocumentError::not_supported(entry.at, what));
        }
    }
    let list = fields.need("do");
    tasks.end(fields);
    definition.root = tasks.block(list?, "/do")?;
    Ok(())
}

/// What `input`, `output` or `export` says.
pub(super) struct Sub<'a> {
    /// `from` or `as`.
    pub value: Option<&'a Entry>,
    pub schema: Option<Schema>,
}

pub(super) fn sub<'a>(entry: &'a Entry, key: &'static str) -> Result<Sub<'a>, DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    let schema = fields.maybe("schema").map(Schema::read).transpose()?;
    let value = fields.maybe(key);
    fields.end()?;
    Ok(Sub { value, schema })
}

/// The node as a canonical value.
pub(super) fn value(node: &Node) -> Result<Value, DocumentError> {
    Value::from_val(&node.val())
        .map_err(|error| DocumentError::new(Problem::Number, node.at, error.to_string()))
}

fn document(
    definition: &mut Definition,
    tasks: &mut Tasks<'_>,
    entry: &Entry,
) -> Result<(), DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    let mut need = |key, read: fn(&Entry) -> Result<String, DocumentError>| {
        let found = fields.need(key).and_then(read);
        tasks.keep(found).unwrap_or_default()
    };
    definition.dsl = need("dsl", dsl);
    definition.namespace = need("namespace", label);
    definition.name = need("name", label);
    definition.version = need("version", version);
    for key in ["title", "summary"] {
        if let Some(entry) = fields.maybe(key) {
            tasks.keep(entry.value.text(key));
        }
    }
    if let Some(tags) = fields.maybe("tags") {
        tasks.keep(tags.value.map("tags"));
    }
    if let Some(metadata) = fields.maybe("metadata") {
        let entries = tasks
            .keep(metadata.value.map("metadata"))
            .unwrap_or_default();
        if let Some(aos) = entries.iter().find(|entry| entry.key == "aos") {
            let read = tasks.keep(settings(aos)).unwrap_or_default();
            (definition.settings, definition.allow) = (read.settings, read.allow);
            tasks.secrets = Secrets::within(read.secrets);
        }
    }
    tasks.end(fields);
    Ok(())
}

/// What `document.metadata.aos` says.
#[derive(Default)]
struct Aos {
    settings: Settings,
    allow: Option<BTreeSet<String>>,
    /// Folder of the secrets.
    secrets: Option<String>,
}

fn settings(entry: &Entry) -> Result<Aos, DocumentError> {
    let mut settings = Settings::default();
    let mut fields = Fields::of_entry(entry)?;
    let allow = match fields.maybe("allow") {
        None => None,
        Some(entry) => Some(
            entry
                .value
                .list("allow")?
                .iter()
                .map(|name| name.text("allow").map(str::to_owned))
                .collect::<Result<_, _>>()?,
        ),
    };
    if let Some(entry) = fields.maybe("budget") {
        settings.budget = Some(entry.value.number("budget", 0..=i64::MAX as u64)?);
    }
    if let Some(entry) = fields.maybe("checkpoint_every") {
        settings.checkpoint_every = entry.value.number("checkpoint_every", 1..=STEPS_LIMIT)?;
    }
    if let Some(entry) = fields.maybe("steps_max") {
        settings.steps_max = entry.value.number("steps_max", 1..=STEPS_LIMIT)?;
    }
    let secrets = fields.maybe("secrets").map(secrets::folder).transpose()?;
    fields.end()?;
    Ok(Aos {
        settings,
        allow,
        secrets,
    })
}

fn form(entry: &Entry, s: &str, expected: &str) -> DocumentError {
    DocumentError::new(
        Problem::Form,
        entry.value.at,
        format!("`{}` does not have the form it must have", entry.key),
    )
    .expected(expected)
    .found(format!("`{}`", short(s)))
}

fn dsl(entry: &Entry) -> Result<String, DocumentError> {
    let s = entry.value.text("dsl")?;
    if !is_semver(s) {
        return Err(form(entry, s, "a version like 1.0.3"));
    }
    match s.strip_prefix("1.0.") {
        Some(patch) if patch.bytes().all(|b| b.is_ascii_digit()) => Ok(s.into()),
        _ => Err(DocumentError::not_supported(
            entry.value.at,
            format!("version {} of the DSL", short(s)),
        )
        .expected("1.0.x")),
    }
}

/// `^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`
fn label(entry: &Entry) -> Result<String, DocumentError> {
    let s = entry.value.text(&entry.key)?;
    let ends = s.starts_with(|c: char| c.is_ascii_alphanumeric())
        && s.ends_with(|c: char| c.is_ascii_alphanumeric());
    if s.len() > 63 || !ends || !s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(form(entry, s, "1 to 63 letters, digits and, within, `-`"));
    }
    Ok(s.into())
}

fn version(entry: &Entry) -> Result<String, DocumentError> {
    let s = entry.value.text("version")?;
    if is_semver(s) {
        Ok(s.into())
    } else {
        Err(form(entry, s, "a semantic version like 1.2.3"))
    }
}

/// Semantic Versioning 2.0.0.
fn is_semver(s: &str) -> bool {
    let numeric = |s: &str| {
        !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) && (s == "0" || !s.starts_with('0'))
    };
    let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let (s, build) = match s.split_once('+') {
        Some((s, build)) => (s, Some(build)),
        None => (s, None),
    };
    let (core, pre) = match s.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (s, None),
    };
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3
        && numbers.into_iter().all(numeric)
        && pre.is_none_or(|pre| {
            pre.split('.').all(|part| {
                word(part) && (numeric(part) || part.bytes().any(|b| !b.is_ascii_digit()))
            })
        })
        && build.is_none_or(|build| build.split('.').all(word))
}

fn evaluate(entry: &Entry) -> Result<(), DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    for (key, supported) in [
        ("language", &["jq"][..]),
        ("mode", &["strict", "loose"][..]),
    ] {
        if let Some(entry) = fields.maybe(key) {
            let s = entry.value.text(key)?;
            if !supported.contains(&s) {
                let what = format!("`{key}: {}`", short(s));
                return Err(DocumentError::not_supported(entry.value.at, what)
                    .expected(format!("`{}`", supported.join("` or `"))));
            }
        }
    }
    fields.end()
}

fn reusable<'d>(tasks: &mut Tasks<'d>, entry: &'d Entry) -> Result<(), DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    tasks.keep(fields.refuse(&["catalogs"]));
    fields.pass("catalogs");
    // Read before anything else.
    fields.maybe("extensions");
    let mut named = |key: &'static str| -> Result<BTreeMap<&'d str, &'d Entry>, DocumentError> {
        let Some(entry) = fields.maybe(key) else {
            return Ok(BTreeMap::new());
        };
        let entries = entry.value.map(key)?.iter();
        Ok(entries.map(|entry| (entry.key.as_str(), entry)).collect())
    };
    let (errors, retries) = (named("errors"), named("retries"));
    let (timeouts, functions) = (named("timeouts"), named("functions"));
    let authentications = named("authentications");
    if let Some(list) = fields.maybe("secrets") {
        let declared = tasks.secrets.declare(list);
        tasks.keep(declared);
    }
    tasks.authentications = tasks.keep(authentications).unwrap_or_default();
    for entry in tasks.authentications.clone().into_values() {
        let read = authentication::read(entry, None);
        tasks.keep(read.map(drop));
    }
    tasks.errors = tasks.keep(errors).unwrap_or_default();
    tasks.retries = tasks.keep(retries).unwrap_or_default();
    tasks.timeouts = tasks.keep(timeouts).unwrap_or_default();
    tasks.functions = tasks.keep(functions).unwrap_or_default();
    tasks.end(fields);
    // Used or not, they are checked; a function is read where it is called.
    let scope = Scope::at(At::Definition, &[]);
    for entry in tasks.timeouts.clone().into_values() {
        let named = Entry {
            key: "timeout".into(),
            at: entry.at,
            value: entry.value.clone(),
        };
        let read = timeout(&named, &BTreeMap::new(), &scope);
        tasks.keep(read.map(drop));
    }
    Ok(())
}

/// Refuses an item of a list that is not a mapping of exactly one key, and returns that.
pub(super) fn single<'a>(item: &'a Node, what: &str) -> Result<&'a Entry, DocumentError> {
    match item.map(what)? {
        [one] => Ok(one),
        [] => Err(DocumentError::new(
            Problem::Empty,
            item.at,
            format!("an item of `{what}` names nothing"),
        )),
        [_, second, ..] => {
            let message = format!("an item of `{what}` has one name; begin another item with `-`");
            let mut error = unknown(second, what, &[]);
            error.message = message;
            Err(error.found(format!("`{}` too", short(&second.key))))
        }
    }
}
