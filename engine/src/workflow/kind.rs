//! What each kind of task says.

use super::authentication::{self, Known};
use super::duration::Wait;
use super::endpoint;
use super::error::{DocumentError, Problem};
use super::fields::{Fields, unknown};
use super::load::single;
use super::node::{Data, Entry, Node, choice, short};
use super::places::{ARGUMENTS, At, Scope};
use super::task::{Block, Tasks};
use super::{Case, TaskKind};
use crate::expr::Template;
use std::collections::BTreeSet;

const KINDS: [&str; 12] = [
    "call", "do", "emit", "for", "fork", "listen", "raise", "run", "set", "switch", "try", "wait",
];
const COMMON: [&str; 7] = [
    "if", "input", "output", "export", "timeout", "then", "metadata",
];
const PROTOCOLS: [&str; 4] = ["a2a", "asyncapi", "grpc", "mcp"];

/// Refuses a task that says nothing to do, several things, or something this version does not run.
pub(super) fn refuse_others(entry: &Entry) -> Result<(), DocumentError> {
    let entries = entry.value.map(&entry.key)?;
    let has = |key: &str| entries.iter().any(|entry| entry.key == key);
    let of = |e: &&Entry| KINDS.contains(&e.key.as_str()) && !(e.key == "do" && has("for"));
    let mut kinds = entries.iter().filter(of);
    match (kinds.next(), kinds.next()) {
        (Some(_), None) => Ok(()),
        (Some(first), Some(second)) => {
            let message = format!(
                "the task `{}` has `{}` and `{}`",
                short(&entry.key),
                first.key,
                second.key
            );
            Err(DocumentError::new(Problem::Kind, second.at, message).expected("one of them"))
        }
        (None, _) => {
            let odd = entries.iter().find(|e| !COMMON.contains(&e.key.as_str()));
            if let Some(odd) = odd {
                let known: Vec<&str> = KINDS.into_iter().chain(COMMON).collect();
                return Err(unknown(odd, &entry.key, &known));
            }
            let message = format!("the task `{}` does not say what to do", short(&entry.key));
            Err(DocumentError::new(Problem::Kind, entry.at, message)
                .expected(format!("one of {}", KINDS.join(", "))))
        }
    }
}

impl<'d> Tasks<'d> {
    pub(super) fn kind(
        &mut self,
        task: &'d Entry,
        fields: &mut Fields<'d>,
        pointer: &str,
        block: &Block<'_>,
    ) -> Result<TaskKind, DocumentError> {
        let variables = self.variables.clone();
        let scope = Scope::at(At::Definition, &variables);
        if let Some(list) = fields.maybe("try") {
            return self.trying(list, fields, pointer);
        }
        if let Some(entry) = fields.maybe("fork") {
            return self.fork(entry, pointer);
        }
        if let Some(entry) = fields.maybe("listen") {
            let foreach = fields.maybe("foreach");
            let listen = self.listen(entry, foreach, pointer)?;
            return Ok(TaskKind::Listen(Box::new(listen)));
        }
        if let Some(entry) = fields.maybe("emit") {
            return Ok(TaskKind::Emit(super::listen::emitted(entry, &scope)?));
        }
        if let Some(header) = fields.maybe("for") {
            return self.looping(header, fields, pointer);
        }
        if let Some(list) = fields.maybe("do") {
            return Ok(TaskKind::Do(self.block(list, &format!("{pointer}/do"))?));
        }
        if let Some(entry) = fields.maybe("set") {
            return Ok(TaskKind::Set(set(entry, &scope)?));
        }
        if let Some(entry) = fields.maybe("switch") {
            return switch(entry, block, &scope);
        }
        if let Some(entry) = fields.maybe("raise") {
            return Ok(TaskKind::Raise(self.raise(entry, &scope)?));
        }
        if let Some(entry) = fields.maybe("wait") {
            return Ok(TaskKind::Wait(Wait::read(&entry.value, &scope)?));
        }
        if let Some(entry) = fields.maybe("run") {
            return self.running(entry, &scope);
        }
        match fields.maybe("call") {
            Some(entry) => self.call(task, entry, fields, pointer, &scope),
            None => Err(DocumentError::new(
                Problem::Kind,
                task.at,
                "the task does not say what to do",
            )),
        }
    }

    fn trying(
        &mut self,
        list: &'d Entry,
        fields: &mut Fields<'d>,
        pointer: &str,
    ) -> Result<TaskKind, DocumentError> {
        let catch = fields.need("catch");
        let block = self.block(list, &format!("{pointer}/try"));
        let block = self.keep(block).unwrap_or_default();
        let catch = self.catch(catch?, &format!("{pointer}/catch"))?;
        Ok(TaskKind::Try {
            block,
            catch: Box::new(catch),
        })
    }

    fn fork(&mut self, entry: &'d Entry, pointer: &str) -> Result<TaskKind, DocumentError> {
        let mut fields = Fields::of_entry(entry)?;
        let compete = match fields.maybe("compete") {
            None => false,
            Some(compete) => match compete.value.data {
                Data::Bool(compete) => compete,
                _ => return Err(compete.value.wrong_type("compete", "true or false")),
            },
        };
        let list = fields.need("branches")?;
        self.end(fields);
        let branches = self.block(list, &format!("{pointer}/fork/branches"))?;
        for &branch in &branches {
            if let Some(problem) = self.leads_away(branch, list) {
                self.problem(problem);
            }
        }
        Ok(TaskKind::Fork { branches, compete })
    }

    fn looping(
        &mut self,
        header: &'d Entry,
        fields: &mut Fields<'d>,
        pointer: &str,
    ) -> Result<TaskKind, DocumentError> {
        // What is wrong with the header says nothing about these.
        fields.pass("do");
        fields.pass("while");
        let mut own = Fields::of_entry(header)?;
        let each = variable(own.maybe("each"), "item")?;
        let at_entry = own.maybe("at");
        let at = variable(at_entry, "index")?;
        let collection = own.need("in")?;
        own.end()?;
        if each == at {
            let place = at_entry.map_or(header.at, |entry| entry.value.at);
            return Err(DocumentError::new(
                Problem::Form,
                place,
                format!("`each` and `at` are both named `{each}`"),
            ));
        }
        let in_ = Scope::at(At::Definition, &self.variables).expr("in", &collection.value)?;
        let list = fields.need("do")?;
        let around = self.variables.len();
        self.variables.extend([each.clone(), at.clone()]);
        let while_ = match fields.maybe("while") {
            None => None,
            Some(entry) => {
                let scope = Scope::at(At::Definition, &self.variables);
                let read = scope.expr("while", &entry.value);
                self.keep(read)
            }
        };
        let block = self.block(list, &format!("{pointer}/do"));
        self.variables.truncate(around);
        let block = block?;
        Ok(TaskKind::For {
            each,
            at,
            in_,
            while_,
            block,
        })
    }

    fn raise(&self, entry: &'d Entry, scope: &Scope) -> Result<Template, DocumentError> {
        let mut fields = Fields::of_entry(entry)?;
        let error = fields.need("error")?;
        fields.end()?;
        let Data::Text(name) = &error.value.data else {
            return problem(error, scope);
        };
        if name.contains("${") {
            return Err(DocumentError::not_supported(
                error.value.at,
                "an expression for a whole error",
            ));
        }
        match self.errors.get(name.as_str()) {
            Some(error) => problem(error, scope),
            None => {
                let message = format!("`use.errors` has no error `{}`", short(name));
                let names = self.errors.keys().copied();
                let expected = match self.errors.len() {
                    0 => "an error".into(),
                    _ => format!("one of {}", choice(self.errors.keys().copied())),
                };
                Err(
                    DocumentError::new(Problem::UnknownError, error.value.at, message)
                        .suggest(name, names)
                        .expected(expected),
                )
            }
        }
    }

    /// Checks the reusable errors, raised or not.
    pub(super) fn check_errors(&mut self) {
        let errors: Vec<&Entry> = self.errors.values().copied().collect();
        for error in errors {
            self.keep(check_problem(error));
        }
    }

    /// The template of `with` of `call: http`.
    fn http(&mut self, entry: &'d Entry, scope: &Scope) -> Result<Template, DocumentError> {
        check_http(entry)?;
        let mut with = entry.value.clone();
        if let Data::Map(entries) = &mut with.data {
            let mut found = None;
            for entry in entries.iter_mut().filter(|entry| entry.key == "endpoint") {
                fill_endpoint(entry)?;
                found = take_authentication(entry);
            }
            if let Some(entry) = found {
                let value = self.authentication(&entry, scope)?;
                entries.push(Entry { value, ..entry });
            }
        }
        // Only headers are read for secrets: elsewhere the reference itself would be sent.
        for entry in with.members(&["body", "query", "endpoint"]) {
            scope.template(&entry.value)?;
        }
        scope.with_secrets(&self.secrets).template(&with)
    }

    /// Who the call of the task at hand comes from, as its skill takes it.
    pub(super) fn authentication(
        &mut self,
        entry: &Entry,
        scope: &Scope,
    ) -> Result<Node, DocumentError> {
        let known = Known {
            policies: &self.authentications,
            secrets: &self.secrets,
        };
        let read = authentication::read(entry, Some(known))?;
        // It cannot be made of itself.
        let around = scope.without("$authorization");
        around
            .with_secrets(&self.secrets)
            .template(&read.argument)?;
        self.authorization = Some(around.template(&read.descriptor)?);
        Ok(read.argument)
    }

    fn call(
        &mut self,
        task: &Entry,
        entry: &'d Entry,
        fields: &mut Fields<'d>,
        pointer: &str,
        scope: &Scope,
    ) -> Result<TaskKind, DocumentError> {
        let name = entry.value.text("call")?;
        let at = entry.value.at;
        if PROTOCOLS.contains(&name) {
            fields.pass("with");
            return Err(DocumentError::not_supported(at, format!("`call: {name}`")));
        }
        if name.contains("://") || name.contains('@') {
            fields.pass("with");
            return Err(DocumentError::not_supported(
                at,
                "a function of a catalog or of another document",
            )
            .expected("a function of `use.functions`, as what is fetched when a run begins would be no part of its document"));
        }
        if name == "http" {
            let with = self.http(fields.need("with")?, scope)?;
            self.calls.push(("http_call".into(), at));
            return Ok(TaskKind::CallHttp(with));
        }
        if name == "openapi" {
            let with = self.openapi(fields.need("with")?, scope)?;
            self.calls.push(("openapi_call".into(), at));
            return Ok(TaskKind::CallSkill {
                name: "openapi_call".into(),
                with,
            });
        }
        let given = scope.with_secrets(&self.secrets);
        let scope = match self.functions.contains_key(name) {
            true => scope,
            false => &given,
        };
        let with = arguments(task, fields.maybe("with"), scope)?;
        if self.functions.contains_key(name) {
            let block = self.function(name, at, pointer)?;
            return Ok(TaskKind::Function { with, block });
        }
        self.calls.push((name.into(), at));
        Ok(TaskKind::CallSkill {
            name: name.into(),
            with,
        })
    }
}

/// The arguments of a skill; none are an empty object.
pub(super) fn arguments(
    owner: &Entry,
    with: Option<&Entry>,
    scope: &Scope,
) -> Result<Template, DocumentError> {
    match with {
        None => scope.template(&Node {
            at: owner.at,
            data: Data::Map(Vec::new()),
        }),
        Some(entry) => {
            entry.value.map(&entry.key)?;
            scope.template(&entry.value)
        }
    }
}

fn set(entry: &Entry, scope: &Scope) -> Result<Template, DocumentError> {
    match &entry.value.data {
        Data::Map(entries) if entries.is_empty() => Err(DocumentError::new(
            Problem::Empty,
            entry.value.at,
            "`set` sets nothing",
        )),
        Data::Map(_) => scope.template(&entry.value),
        Data::Text(s) if s.contains("${") => scope.template(&entry.value),
        _ => Err(entry.value.wrong_type("set", "a mapping or `${ … }`")),
    }
}

fn switch(entry: &Entry, block: &Block<'_>, scope: &Scope) -> Result<TaskKind, DocumentError> {
    let items = entry.value.list("switch")?;
    if items.is_empty() {
        return Err(DocumentError::new(
            Problem::Empty,
            entry.at,
            "`switch` has no cases",
        ));
    }
    let mut cases: Vec<Case> = Vec::with_capacity(items.len());
    let mut names = BTreeSet::new();
    for item in items {
        let case = single(item, "switch")?;
        if !names.insert(case.key.as_str()) {
            let message = format!("two cases are named `{}`", short(&case.key));
            return Err(DocumentError::new(Problem::DuplicateName, case.at, message));
        }
        let mut fields = Fields::of_entry(case)?;
        let when = match fields.maybe("when") {
            None => None,
            Some(entry) => Some(scope.expr("when", &entry.value)?),
        };
        let then = block.flow(&fields.need("then")?.value)?;
        fields.end()?;
        let default = cases
            .iter()
            .find(|case| case.when.is_none() && when.is_none());
        if let Some(first) = default {
            let message = format!(
                "the cases `{}` and `{}` have no condition",
                short(&first.name),
                short(&case.key)
            );
            return Err(DocumentError::new(Problem::TwoDefaults, case.at, message)
                .expected("one default case"));
        }
        cases.push(Case {
            name: case.key.clone(),
            when,
            then,
        });
    }
    Ok(TaskKind::Switch(cases))
}

fn check_problem(error: &Entry) -> Result<(), DocumentError> {
    let mut fields = Fields::of_entry(error)?;
    fields.need("type")?.value.text("type")?;
    fields.need("status")?.value.number("status", 100..=599)?;
    for key in ["title", "detail", "instance"] {
        if let Some(entry) = fields.maybe(key) {
            entry.value.text(key)?;
        }
    }
    fields.end()
}

fn problem(error: &Entry, scope: &Scope) -> Result<Template, DocumentError> {
    check_problem(error)?;
    scope.template(&error.value)
}

/// The name of a block's variable.
pub(super) fn variable(entry: Option<&Entry>, default: &str) -> Result<String, DocumentError> {
    let Some(entry) = entry else {
        return Ok(default.into());
    };
    let name = entry.value.text(&entry.key)?;
    let form = |message: &str| {
        Err(DocumentError::new(Problem::Form, entry.value.at, message)
            .found(format!("`{}`", short(name))))
    };
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !word {
        return form("a variable has a name of letters, digits and `_`, without `$`");
    }
    if ARGUMENTS.contains(&name) || matches!(name, "ENV" | "__loc__" | "__prog_args") {
        return form("the name of the variable is taken");
    }
    Ok(name.into())
}

/// Checks `with` of `call: http`.
fn check_http(entry: &Entry) -> Result<(), DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    fields.need("method")?.value.text("method")?;
    fields.need("endpoint")?;
    for key in ["headers", "query"] {
        if let Some(Entry { value, .. }) = fields.maybe(key) {
            match &value.data {
                Data::Map(_) => {}
                Data::Text(s) if s.contains("${") => {}
                _ => return Err(value.wrong_type(key, "a mapping or `${ … }`")),
            }
        }
    }
    fields.maybe("body");
    if let Some(Entry { value, .. }) = fields.maybe("output") {
        let s = value.text("output")?;
        if !s.contains("${") && !["content", "raw", "response"].contains(&s) {
            return Err(DocumentError::new(
                Problem::Form,
                value.at,
                "unknown output of an HTTP call",
            )
            .expected("one of content, raw, response")
            .found(format!("`{}`", short(s))));
        }
    }
    if let Some(Entry { value, .. }) = fields.maybe("redirect") {
        match &value.data {
            Data::Bool(_) => {}
            Data::Text(s) if s.contains("${") => {}
            _ => return Err(value.wrong_type("redirect", "true or false")),
        }
    }
    fields.end()?;
    Ok(())
}

/// Takes `authentication` out of an endpoint.
fn take_authentication(endpoint: &mut Entry) -> Option<Entry> {
    let Data::Map(entries) = &mut endpoint.value.data else {
        return None;
    };
    let at = entries
        .iter()
        .position(|entry| entry.key == "authentication")?;
    Some(entries.remove(at))
}

/// Makes an expression of a URI with variables.
fn fill_endpoint(endpoint: &mut Entry) -> Result<(), DocumentError> {
    if let Data::Map(_) = &endpoint.value.data {
        let mut fields = Fields::of_entry(endpoint)?;
        fields.maybe("authentication");
        fields.need("uri")?;
        fields.end()?;
    }
    let uri = match &mut endpoint.value.data {
        Data::Map(entries) => entries
            .iter_mut()
            .find(|entry| entry.key == "uri")
            .map(|entry| &mut entry.value),
        _ => Some(&mut endpoint.value),
    };
    let Some(uri) = uri else { return Ok(()) };
    let s = uri.text("endpoint")?;
    if s.contains("${") {
        return Ok(());
    }
    if !s.starts_with("http://") && !s.starts_with("https://") {
        return Err(DocumentError::new(
            Problem::Form,
            uri.at,
            "an endpoint is an absolute URI of http or https",
        )
        .found(format!("`{}`", short(s))));
    }
    if let Some(expression) = endpoint::expression(uri.at, s)? {
        uri.data = Data::Text(format!("${{{expression}}}"));
    }
    Ok(())
}
