//! Tasks: blocks, what every task may have, where control goes.

use super::duration::Wait;
use super::error::{DocumentError, Problem};
use super::fields::Fields;
use super::load::{single, sub, value};
use super::node::{Data, Entry, Node, Place, choice, short};
use super::places::{At, Scope, time};
use super::secrets::Secrets;
use super::{Flow, Task, TaskKind, TimeReads, kind};
use crate::expr::Template;
use crate::value::Val;
use std::collections::{BTreeMap, BTreeSet};

/// The tasks of a document while it is read.
#[derive(Default)]
pub(super) struct Tasks<'d> {
    /// Indices are given out when a block begins, so that its tasks stand together.
    tasks: Vec<Option<Task>>,
    /// Skills that are called, in the document's order.
    pub calls: Vec<(String, Place)>,
    /// `use.errors`.
    pub errors: BTreeMap<&'d str, &'d Entry>,
    /// `use.retries`.
    pub retries: BTreeMap<&'d str, &'d Entry>,
    /// `use.timeouts`.
    pub timeouts: BTreeMap<&'d str, &'d Entry>,
    /// `use.functions`.
    pub functions: BTreeMap<&'d str, &'d Entry>,
    /// `use.authentications`.
    pub authentications: BTreeMap<&'d str, &'d Entry>,
    /// What the call of the task at hand says of who it comes from.
    pub authorization: Option<Template>,
    /// The workflows that it runs.
    pub workflows: BTreeSet<String>,
    /// `use.secrets`.
    pub secrets: Secrets,
    /// Functions whose tasks are being read, outermost first.
    pub calling: Vec<&'d str>,
    /// Variables of the blocks around the current task.
    pub variables: Vec<String>,
    /// What is wrong, as far as it was read.
    pub problems: Vec<DocumentError>,
}

/// Most tasks of a document, those of functions counted at each call.
const TASKS_MAX: usize = 100_000;

/// The names of a block.
pub(super) struct Block<'a> {
    names: Vec<&'a str>,
    places: BTreeMap<&'a str, usize>,
    first: usize,
}

impl<'d> Tasks<'d> {
    pub(super) fn finish(self) -> (Vec<Task>, Vec<(String, Place)>) {
        (self.tasks.into_iter().flatten().collect(), self.calls)
    }

    /// The tasks that could be read.
    pub(super) fn read(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().flatten()
    }

    /// Notes a problem and goes on, so that a reader learns of all of them.
    pub(super) fn problem(&mut self, problem: DocumentError) {
        self.problems.extend(problem.apart());
    }

    /// What was read, or none and a problem noted.
    pub(super) fn keep<T>(&mut self, read: Result<T, DocumentError>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problem(problem);
                None
            }
        }
    }

    /// Notes every property that nobody asked for.
    pub(super) fn end(&mut self, fields: Fields<'_>) {
        self.problems.extend(fields.unknown());
    }

    /// Reads the list of tasks `list`, whose JSON pointer is `pointer`.
    pub(super) fn block(
        &mut self,
        list: &'d Entry,
        pointer: &str,
    ) -> Result<Vec<usize>, DocumentError> {
        self.listed(list, pointer, &|pointer| pointer.to_owned())
    }

    /// The same; `reference` makes the JSON pointer of what `pointer` names in the run.
    fn listed(
        &mut self,
        list: &'d Entry,
        pointer: &str,
        reference: &dyn Fn(&str) -> String,
    ) -> Result<Vec<usize>, DocumentError> {
        let items = list.value.list(&list.key)?;
        let entries: Vec<&Entry> = items
            .iter()
            .filter_map(|item| self.keep(single(item, &list.key)))
            .collect();
        if entries.is_empty() && !items.is_empty() {
            return Ok(Vec::new());
        }
        let block = self.begin(
            list.at,
            &list.key,
            entries.iter().map(|entry| (entry.key.as_str(), entry.at)),
        )?;
        for (i, entry) in entries.into_iter().enumerate() {
            let pointer = format!("{pointer}/{i}/{}", escape(&entry.key));
            let reference = reference(&pointer);
            let task = self.task(entry, pointer, reference, &block);
            if let Some(task) = self.keep(task) {
                self.set(block.first + i, task);
            }
        }
        Ok(block.indices())
    }

    /// Reads the task of the function `name`, called by the task at `pointer`, as a block of its own.
    pub(super) fn function(
        &mut self,
        name: &'d str,
        at: Place,
        pointer: &str,
    ) -> Result<Vec<usize>, DocumentError> {
        let entry = self.functions[name];
        if self.calling.contains(&name) {
            let message = format!("the function `{}` calls itself", short(name));
            return Err(DocumentError::new(Problem::Recursion, at, message));
        }
        self.calling.push(name);
        // A function knows nothing of who calls it.
        let variables = std::mem::take(&mut self.variables);
        let names = [(entry.key.as_str(), entry.at)];
        let read = self.begin(at, name, names.into_iter()).and_then(|block| {
            let place = format!("{pointer}/call/{}", escape(name));
            let reference = format!("/use/functions/{}", escape(name));
            let task = self.task(entry, place, reference, &block)?;
            self.set(block.first, task);
            Ok(block.indices())
        });
        self.variables = variables;
        self.calling.pop();
        read
    }

    /// Gives out the indices of a block; refuses empty blocks and repeated names.
    pub(super) fn begin<'a>(
        &mut self,
        at: Place,
        what: &str,
        entries: impl Iterator<Item = (&'a str, Place)>,
    ) -> Result<Block<'a>, DocumentError> {
        let (mut names, mut places) = (Vec::new(), BTreeMap::new());
        for (index, (name, at)) in entries.enumerate() {
            if let Some(first) = places.insert(name, index) {
                let message = format!(
                    "the tasks {} and {} of one block are both named `{}`",
                    first + 1,
                    index + 1,
                    short(name)
                );
                self.problem(DocumentError::new(Problem::DuplicateName, at, message));
            }
            names.push(name);
        }
        if names.is_empty() {
            let message = format!("`{what}` has no tasks");
            return Err(DocumentError::new(Problem::Empty, at, message));
        }
        let first = self.tasks.len();
        if first + names.len() > TASKS_MAX {
            let message =
                format!("the document and its functions have more than {TASKS_MAX} tasks");
            return Err(DocumentError::new(Problem::TooLarge, at, message));
        }
        self.tasks.extend(names.iter().map(|_| None));
        Ok(Block {
            names,
            places,
            first,
        })
    }

    pub(super) fn set(&mut self, index: usize, task: Task) {
        self.tasks[index] = Some(task);
    }

    /// A problem where the task of a branch leads to another branch: each is a scope of its own.
    pub(super) fn leads_away(&self, branch: usize, list: &Entry) -> Option<DocumentError> {
        let task = self.tasks.get(branch)?.as_ref()?;
        let named = |flow: &Flow| matches!(flow, Flow::Task(_));
        let cases = match &task.kind {
            TaskKind::Switch(cases) => cases.iter().any(|case| named(&case.then)),
            _ => false,
        };
        if !named(&task.then) && !cases {
            return None;
        }
        let at = Place {
            line: task.line,
            column: task.column,
        };
        let message = format!(
            "the branch `{}` of `{}` leads to another branch",
            short(&task.name),
            list.key
        );
        let problem = DocumentError::new(Problem::Target, at, message);
        Some(problem.expected("continue, exit or end"))
    }

    fn task(
        &mut self,
        entry: &'d Entry,
        pointer: String,
        reference: String,
        block: &Block<'_>,
    ) -> Result<Task, DocumentError> {
        let mut fields = Fields::of_entry(entry)?;
        kind::refuse_others(entry)?;
        let variables = self.variables.clone();
        let scope = |at| Scope::at(at, &variables);
        let if_ = fields
            .maybe("if")
            .map(|entry| scope(At::Before).expr("if", &entry.value));
        let if_ = if_.and_then(|if_| self.keep(if_));
        let mut transform = |section: &'static str, key: &'static str, at: At| {
            let read = fields.maybe(section).map(|entry| {
                let found = sub(entry, key)?;
                let compiled = found.value.map(|e| scope(at).transform(key, &e.value));
                Ok((compiled.transpose()?, found.schema))
            });
            read.and_then(|read| self.keep(read)).unwrap_or_default()
        };
        let (input_from, input_schema) = transform("input", "from", At::Before);
        let (output_as, output_schema) = transform("output", "as", At::Output);
        let (export_as, export_schema) = transform("export", "as", At::Export);
        let timeout = fields
            .maybe("timeout")
            .map(|entry| timeout(entry, &self.timeouts, &scope(At::Definition)));
        let timeout = timeout.and_then(|timeout| self.keep(timeout));
        let then = fields.maybe("then").map(|entry| block.flow(&entry.value));
        let then = then
            .and_then(|then| self.keep(then))
            .unwrap_or(Flow::Continue);
        if let Some(metadata) = fields.maybe("metadata") {
            self.keep(metadata.value.map("metadata"));
        }
        let kind = self.kind(entry, &mut fields, &pointer, block);
        // A document with a problem is never run: anything stands in for what could not be read.
        let kind = self
            .keep(kind)
            .unwrap_or_else(|| TaskKind::Set(Template::constant(Val::Null)));
        self.end(fields);
        let authorization = self.authorization.take();
        let mut task = Task {
            name: entry.key.clone(),
            pointer,
            reference,
            line: entry.at.line,
            column: entry.at.column,
            kind,
            if_,
            input_from,
            output_as,
            export_as,
            input_schema,
            output_schema,
            export_schema,
            timeout,
            authorization,
            then,
            definition: value(&entry.value)?,
            reads_time: TimeReads::default(),
        };
        task.reads_time = reads_time(&task);
        Ok(task)
    }
}

/// `timeout`: a duration, or the name of one.
pub(super) fn timeout(
    entry: &Entry,
    known: &BTreeMap<&str, &Entry>,
    scope: &Scope,
) -> Result<Wait, DocumentError> {
    let named = match &entry.value.data {
        Data::Text(name) => match known.get(name.as_str()) {
            Some(timeout) => timeout,
            None => {
                let message = format!("`use.timeouts` has no timeout `{}`", short(name));
                let error = DocumentError::new(Problem::UnknownReference, entry.value.at, message)
                    .suggest(name, known.keys().copied());
                return Err(match known.len() {
                    0 => error,
                    _ => error.expected(format!("one of {}", choice(known.keys().copied()))),
                });
            }
        },
        _ => entry,
    };
    let mut fields = Fields::of_entry(named)?;
    let after = Wait::read(&fields.need("after")?.value, scope)?;
    fields.end()?;
    Ok(after)
}

impl Block<'_> {
    pub(super) fn indices(&self) -> Vec<usize> {
        (self.first..self.first + self.names.len()).collect()
    }

    pub(super) fn index(&self, at: usize) -> usize {
        self.first + at
    }

    /// Where a `then` of this block leads.
    pub(super) fn flow(&self, node: &Node) -> Result<Flow, DocumentError> {
        match node.text("then")? {
            "continue" => Ok(Flow::Continue),
            "exit" => Ok(Flow::Exit),
            "end" => Ok(Flow::End),
            name => match self.places.get(name) {
                Some(at) => Ok(Flow::Task(self.first + at)),
                None => {
                    let message = format!(
                        "`then` leads to `{}`, which is no task of this block",
                        short(name)
                    );
                    let names = choice(self.names.iter().copied());
                    Err(DocumentError::new(Problem::Target, node.at, message)
                        .suggest(
                            name,
                            self.names
                                .iter()
                                .copied()
                                .chain(["continue", "exit", "end"]),
                        )
                        .expected(format!("continue, exit, end or one of {names}")))
                }
            },
        }
    }
}

/// A JSON pointer's reference token.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What of the time a task must know before it begins.
pub(super) fn reads_time(task: &Task) -> TimeReads {
    let before = time([task.if_.as_ref()], [task.input_from.as_ref()]);
    let after = [task.output_as.as_ref(), task.export_as.as_ref()];
    let none = TimeReads::default();
    // A block's own transforms are evaluated at its end, and `while` before each item: `now` is read then.
    let (own, later) = match &task.kind {
        TaskKind::Do(_) | TaskKind::Fork { .. } => (none, time([], after)),
        TaskKind::Try { catch, .. } => {
            let when = time([catch.when.as_ref(), catch.except_when.as_ref()], []);
            let retry = catch.retry.as_ref().map(|retry| retry.reads_time());
            let later = TimeReads::union([Some(when), retry, Some(time([], after))]);
            (none, later)
        }
        TaskKind::Listen(listen) => {
            let foreach = listen.foreach.as_ref();
            let each =
                foreach.map(|each| time([], [each.output_as.as_ref(), each.export_as.as_ref()]));
            let until = time([listen.until_condition()], []);
            let later = TimeReads::union([each, Some(until), Some(time([], after))]);
            (listen.reads_time(), later)
        }
        TaskKind::Function { with, .. } => (time([], [Some(with)]), time([], after)),
        TaskKind::For { in_, while_, .. } => {
            (time([Some(in_)], []), time([while_.as_ref()], after))
        }
        TaskKind::Switch(cases) => (
            time(cases.iter().map(|case| case.when.as_ref()), after),
            none,
        ),
        TaskKind::Wait(wait) => (time([], after.into_iter().chain([wait.template()])), none),
        TaskKind::Set(template)
        | TaskKind::Emit(template)
        | TaskKind::Raise(template)
        | TaskKind::CallHttp(template)
        | TaskKind::Run { with: template, .. }
        | TaskKind::CallSkill { with: template, .. } => {
            (time([], after.into_iter().chain([Some(template)])), none)
        }
    };
    let timeout = task
        .timeout
        .as_ref()
        .map(|wait| time([], [wait.template()]));
    TimeReads::union([
        timeout,
        Some(before),
        Some(own),
        Some(TimeReads {
            now: false,
            ..later
        }),
    ])
}
