//! Workflow documents: reading them, checking all of them before anything runs, compiling them.
//!
//! A document is the CNCF Serverless Workflow DSL 1.0 in YAML or JSON, or the short form, a list of skills to call one after
//! the other. What this version does not run is refused when the document is loaded, by name and with its place, so that
//! nothing in a document is ever silently ignored.
//!
//! ```
//! use aos_engine::workflow::Definition;
//!
//! let definition = Definition::load(br#"
//! document: {dsl: '1.0.3', namespace: shop, name: greet, version: '1.0.0'}
//! do:
//!   - greet:
//!       set:
//!         text: ${ "hello " + .name }
//! "#).unwrap();
//! assert_eq!((definition.namespace.as_str(), definition.name.as_str()), ("shop", "greet"));
//!
//! let error = Definition::load(b"document: {dsl: '1.0.3', namespaces: shop}").unwrap_err();
//! assert_eq!((error.code(), error.line, error.column), ("AOS-E208", 1, 1));
//! ```

mod authentication;
mod catch;
mod duration;
mod endpoint;
mod error;
mod extend;
mod fields;
mod gather;
pub mod graph;
mod kind;
mod listen;
mod load;
mod loose;
mod node;
mod oauth2;
mod places;
mod run;
mod scalar;
pub mod schedule;
mod schema;
mod secrets;
mod skills;
mod source;
mod task;

pub use catch::{Backoff, Catch, ErrorFilter, Retry};
pub use duration::{WAIT_MS_MAX, Wait};
pub use error::{DocumentError, Problem};
pub use listen::{Correlation, Filter, Foreach, Listen, Matcher, Read, Strategy, Until};
pub use node::{DOCUMENT_BYTES_MAX, DOCUMENT_DEPTH_MAX, DOCUMENT_NODES_MAX};
pub use schema::Schema;

pub use crate::expr::TimeReads;
use crate::expr::{Expr, Template};
use crate::value::Value;
use node::Place;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A document that was read, checked and compiled.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Namespace; `default` in the short form.
    pub namespace: String,
    /// Name; `skills` in the short form.
    pub name: String,
    /// Semantic version; `0.0.0` in the short form.
    pub version: String,
    /// Version of the DSL the document is written in.
    pub dsl: String,
    /// How it was written: `yaml`, `json`, or `skills` for the short form.
    pub media: &'static str,
    /// The document as it was given, byte for byte.
    pub source: Arc<[u8]>,
    /// The document as a value.
    pub json: Value,
    /// Digest of the value: the same for YAML and JSON that say the same.
    pub digest: [u8; 32],
    /// All tasks; blocks hold indices into it.
    pub tasks: Vec<Task>,
    /// The document's own block.
    pub root: Vec<usize>,
    /// `input.from`.
    pub input_from: Option<Template>,
    /// `output.as`.
    pub output_as: Option<Template>,
    /// `input.schema`.
    pub input_schema: Option<Schema>,
    /// `output.schema`.
    pub output_schema: Option<Schema>,
    /// `timeout`.
    pub timeout: Option<Wait>,
    /// `schedule`.
    pub schedule: Option<schedule::Schedule>,
    /// AOS settings.
    pub settings: Settings,
    /// The skills that its runs may call, as `metadata.aos.allow` lists them; all where there is no list.
    pub allow: Option<BTreeSet<String>>,
    /// Files of the secrets that it names.
    pub secrets: BTreeSet<String>,
    /// The workflows that it runs, as `NAMESPACE/NAME/VERSION`.
    pub workflows: BTreeSet<String>,
    /// Names of the skills that are called, ascending, each once; `call: http` counts as `http_call`.
    pub skills: Vec<String>,
    /// Where each skill is named.
    calls: Vec<(String, Place)>,
}

/// What `document.metadata.aos` sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Most steps of a run.
    pub steps_max: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Most units that the effects of a run may cost together.
    pub budget: Option<u64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            steps_max: crate::machine::STEPS_MAX,
            checkpoint_every: 1000,
            budget: None,
        }
    }
}

/// One task of a document.
#[derive(Clone, Debug)]
pub struct Task {
    /// Name, unique in its block.
    pub name: String,
    /// Its place in the run: `/do/1/walk/do/0/classify`; in the short form `/0`. It is the JSON pointer of the task, but for
    /// the task of a function, which has the pointer of its call in front.
    pub pointer: String,
    /// JSON pointer of the task in its document.
    pub reference: String,
    /// Line of the name, from 1.
    pub line: u32,
    /// Column of the name, from 1.
    pub column: u32,
    /// What it does.
    pub kind: TaskKind,
    /// `if`.
    pub if_: Option<Expr>,
    /// `input.from`.
    pub input_from: Option<Template>,
    /// `output.as`.
    pub output_as: Option<Template>,
    /// `export.as`.
    pub export_as: Option<Template>,
    /// `input.schema`.
    pub input_schema: Option<Schema>,
    /// `output.schema`.
    pub output_schema: Option<Schema>,
    /// `export.schema`.
    pub export_schema: Option<Schema>,
    /// `timeout`.
    pub timeout: Option<Wait>,
    /// `$authorization`, where the task says who its call comes from.
    pub authorization: Option<Template>,
    /// Where control goes afterwards.
    pub then: Flow,
    /// The task as a value.
    pub definition: Value,
    /// What of the time must be known before the task begins.
    ///
    /// For `do` and `for`, `now` in `output.as`, `export.as` and `while` is not in it: it is read when they are evaluated.
    pub reads_time: TimeReads,
}

impl TimeReads {
    /// Everything that any of them reads.
    pub fn union(reads: impl IntoIterator<Item = Option<TimeReads>>) -> TimeReads {
        reads
            .into_iter()
            .flatten()
            .fold(TimeReads::default(), |all, one| all | one)
    }
}

/// What a task does.
#[derive(Clone, Debug)]
pub enum TaskKind {
    /// Its output is this.
    Set(Template),
    /// A block of tasks.
    Do(Vec<usize>),
    /// A block for each item of a collection.
    For {
        /// Variable of the current item.
        each: String,
        /// Variable of its index, from 0.
        at: String,
        /// The collection.
        in_: Expr,
        /// Goes on only as long as this holds; evaluated before each item.
        while_: Option<Expr>,
        /// The block.
        block: Vec<usize>,
    },
    /// The first case that holds.
    Switch(Vec<Case>),
    /// Ends in an error: an object of `type`, `status` and perhaps `title`, `detail`, `instance`.
    Raise(Template),
    /// Waits.
    Wait(Wait),
    /// A request over HTTP: the whole of `with`.
    CallHttp(Template),
    /// Steps whose faults are caught.
    Try {
        /// The steps.
        block: Vec<usize>,
        /// What is caught, and what then.
        catch: Box<Catch>,
    },
    /// Branches that go on side by side.
    Fork {
        /// The branches, a task each.
        branches: Vec<usize>,
        /// The first one to end decides.
        compete: bool,
    },
    /// Waits for events.
    Listen(Box<Listen>),
    /// Publishes an event: its attributes.
    Emit(Template),
    /// A function of `use.functions`.
    Function {
        /// Its arguments: the input of its task.
        with: Template,
        /// Its task, alone in a block.
        block: Vec<usize>,
    },
    /// A process: a command, a script, or another workflow.
    Run {
        /// Skill that runs it; [`crate::machine::RUN_WORKFLOW`] for a workflow.
        skill: String,
        /// What it is given.
        with: Template,
        /// What of its end is the output.
        returns: Returns,
    },
    /// A skill.
    CallSkill {
        /// Name of the skill.
        name: String,
        /// Its arguments: an object.
        with: Template,
    },
}

/// What of the end of a process is a step's output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Returns {
    /// What it wrote on standard output.
    Stdout,
    /// What it wrote on standard error.
    Stderr,
    /// Its exit code.
    Code,
    /// All three.
    All,
    /// Nothing.
    None,
    /// What a workflow gave.
    Output,
    /// What the step was given: nobody waits for the workflow.
    Input,
}

/// A case of a switch.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name.
    pub name: String,
    /// Condition; none for the default case, taken when no other is.
    pub when: Option<Expr>,
    /// Where control goes.
    pub then: Flow,
}

/// Where control goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Flow {
    /// To the next task of the block.
    Continue,
    /// Out of the block.
    Exit,
    /// To the end of the run.
    End,
    /// To that task of the same block.
    Task(usize),
}

impl Definition {
    /// Reads, checks and compiles a document.
    ///
    /// # Errors
    /// The first problem, with its line and column.
    pub fn load(bytes: &[u8]) -> Result<Definition, DocumentError> {
        load::load(bytes)
    }

    /// Every problem of a document, in the order of their places; the definition when there is none.
    ///
    /// # Errors
    /// All problems, at least one. After a problem that leaves no tree to look at, such as broken YAML, that one alone.
    pub fn check(bytes: &[u8]) -> Result<Definition, Vec<DocumentError>> {
        load::check(bytes, None, &|_| None).map_err(in_order)
    }

    /// The same for a document that can call `skills` and no others, and what `judge` says of each task.
    pub(crate) fn check_judged(
        bytes: &[u8],
        skills: &[&str],
        judge: &dyn Fn(&Task) -> Option<DocumentError>,
    ) -> Result<Definition, Vec<DocumentError>> {
        load::check(bytes, Some(skills), judge).map_err(in_order)
    }

    /// The tasks that a task does one after the other: of `do`, `for`, `try`, `foreach`, a function; none within others.
    pub fn block(&self, task: usize) -> &[usize] {
        match &self.tasks[task].kind {
            TaskKind::Do(block)
            | TaskKind::For { block, .. }
            | TaskKind::Try { block, .. }
            | TaskKind::Function { block, .. } => block,
            TaskKind::Listen(listen) => listen.foreach.as_ref().map_or(&[], |each| &each.block),
            TaskKind::Set(_)
            | TaskKind::Switch(_)
            | TaskKind::Raise(_)
            | TaskKind::Wait(_)
            | TaskKind::Fork { .. }
            | TaskKind::Emit(_)
            | TaskKind::CallHttp(_)
            | TaskKind::Run { .. }
            | TaskKind::CallSkill { .. } => &[],
        }
    }

    /// The branches of a `fork`; none of others.
    pub fn branches(&self, task: usize) -> &[usize] {
        match &self.tasks[task].kind {
            TaskKind::Fork { branches, .. } => branches,
            _ => &[],
        }
    }

    /// The handler of a `try`; none of others.
    pub fn handler(&self, task: usize) -> &[usize] {
        match &self.tasks[task].kind {
            TaskKind::Try { catch, .. } => &catch.handler,
            _ => &[],
        }
    }

    /// Name of a flow as records have it: empty for [`Flow::Continue`], else `exit`, `end` or the task's name.
    pub fn flow_name(&self, flow: &Flow) -> String {
        match flow {
            Flow::Continue => String::new(),
            Flow::Exit => "exit".into(),
            Flow::End => "end".into(),
            Flow::Task(task) => self.tasks[*task].name.clone(),
        }
    }

    /// The refusal of a workflow that runs itself.
    pub(crate) fn runs_itself(&self) -> DocumentError {
        let at = self.tasks.iter().find(|task| {
            matches!(&task.kind, TaskKind::Run { skill, .. } if skill == crate::machine::RUN_WORKFLOW)
        });
        let at = at.map_or(Place::START, |task| Place {
            line: task.line,
            column: task.column,
        });
        let message = format!("the workflow {} {} runs itself", self.name, self.version);
        DocumentError::new(Problem::Recursion, at, message)
    }

    /// Checks that every skill that is called is known.
    ///
    /// # Errors
    /// The first call of an unknown one, with its line and column.
    pub fn check_skills(&self, known: impl Fn(&str) -> bool) -> Result<(), DocumentError> {
        match self.calls.iter().find(|(name, _)| !known(name)) {
            None => Ok(()),
            Some((name, at)) => Err(load::unknown_skill(name, *at, &[])),
        }
    }
}

/// A document in JSON or YAML that is no workflow, as one value; none where it is neither, or has what would hide what it says.
pub(crate) fn tree(bytes: &[u8]) -> Option<crate::value::Val> {
    if let Ok(value) = crate::value::Value::from_json(bytes) {
        return Some(value.val().clone());
    }
    let read = source::read(bytes).ok()?;
    // What a number is the key of is left out: OpenAPI has its answers so, by their status.
    let keys = |problem: &DocumentError| problem.message.starts_with("a key that is not text");
    read.problems.iter().all(keys).then(|| read.root.val())
}

fn in_order(mut problems: Vec<DocumentError>) -> Vec<DocumentError> {
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems.dedup();
    problems
}

#[cfg(test)]
mod tests;
