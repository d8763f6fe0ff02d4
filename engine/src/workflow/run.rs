//! `run`: commands, scripts and workflows; and `call: openapi`.

use super::error::{DocumentError, Problem};
use super::fields::Fields;
use super::node::{Data, Entry, Node, Place, short};
use super::places::Scope;
use super::task::Tasks;
use super::{Returns, TaskKind};
use crate::expr::Template;
use crate::machine::RUN_WORKFLOW;
use crate::value::Val;

/// Longest output of a command, in bytes, and longest time that it takes, in milliseconds.
const EXEC_BYTES: usize = 1 << 20;
const EXEC_MS: usize = 600_000;

const RETURNS: [(&str, Returns); 5] = [
    ("all", Returns::All),
    ("code", Returns::Code),
    ("none", Returns::None),
    ("stderr", Returns::Stderr),
    ("stdout", Returns::Stdout),
];

impl<'d> Tasks<'d> {
    pub(super) fn running(
        &mut self,
        entry: &'d Entry,
        scope: &Scope,
    ) -> Result<TaskKind, DocumentError> {
        let mut fields = Fields::of_entry(entry)?;
        fields.refuse(&["container"])?;
        let awaited = fields.maybe("await");
        let detached = match awaited.map(|entry| &entry.value.data) {
            None | Some(Data::Bool(true)) => None,
            Some(Data::Bool(false)) => awaited,
            Some(_) => {
                let wrong = awaited.map(|entry| &entry.value);
                return Err(wrong
                    .unwrap_or(&entry.value)
                    .wrong_type("await", "true or false"));
            }
        };
        let returns = fields.maybe("return").map(returns).transpose()?;
        let kinds = ["script", "shell", "workflow"];
        let given: Vec<&Entry> = kinds
            .into_iter()
            .filter_map(|kind| fields.maybe(kind))
            .collect();
        fields.end()?;
        let [process] = given.as_slice() else {
            let message = "`run` has one process";
            return Err(DocumentError::new(Problem::Form, entry.at, message)
                .expected(format!("one of {}", kinds.join(", "))));
        };
        if let Some(entry) = detached.filter(|_| process.key != "workflow") {
            let what = format!("`await: false` of a {}", process.key);
            let instead = "`run: workflow`, which has a history of its own: of a process that nobody waits for, no outcome would be on record";
            return Err(DocumentError::not_supported(entry.at, what).expected(instead));
        }
        let given = scope.with_secrets(&self.secrets);
        let (skill, with, returns) = match process.key.as_str() {
            "shell" => ("exec", given.template(&shell(process)?)?, returns),
            "script" => ("script", scope.template(&script(process)?)?, returns),
            _ => {
                let mut node = self.workflow(process)?;
                if let (Some(entry), Data::Map(members)) = (detached, &mut node.data) {
                    members.push(entry.clone());
                }
                let with = scope.template(&node)?;
                if let Some(entry) = entry.value.map("run")?.iter().find(|e| e.key == "return") {
                    let what = "`return` of a workflow";
                    return Err(DocumentError::not_supported(entry.at, what));
                }
                let returns = match detached {
                    Some(_) => Returns::Input,
                    None => Returns::Output,
                };
                (RUN_WORKFLOW, with, Some(returns))
            }
        };
        if skill != RUN_WORKFLOW {
            self.calls.push((skill.into(), process.at));
        }
        Ok(TaskKind::Run {
            skill: skill.into(),
            with,
            returns: returns.unwrap_or(Returns::Stdout),
        })
    }

    /// `{"definition": "NAMESPACE/NAME/VERSION", "input": …}`; which document that is, is settled when a run starts.
    fn workflow(&mut self, entry: &Entry) -> Result<Node, DocumentError> {
        let mut fields = Fields::of_entry(entry)?;
        let mut name = |key: &'static str| -> Result<&str, DocumentError> {
            let entry = fields.need(key)?;
            let name = entry.value.text(key)?;
            if name.is_empty() || name.contains(['/', '@', '$']) {
                let message = format!("`{key}` names no workflow");
                return Err(DocumentError::new(Problem::Form, entry.value.at, message)
                    .found(format!("`{}`", short(name))));
            }
            Ok(name)
        };
        let (namespace, name) = (name("namespace")?, name("name")?);
        let version = match fields.maybe("version") {
            None => "latest",
            Some(entry) => {
                let version = entry.value.text("version")?;
                if version != "latest" && semver::Version::parse(version).is_err() {
                    let message = "a version of a workflow";
                    return Err(DocumentError::new(Problem::Form, entry.value.at, message)
                        .expected("a semantic version or latest")
                        .found(format!("`{}`", short(version))));
                }
                version
            }
        };
        let input = fields.maybe("input");
        fields.end()?;
        let reference = format!("{namespace}/{name}/{version}");
        self.workflows.insert(reference.clone());
        let mut members = vec![member("definition", entry.at, Data::Text(reference))];
        if let Some(input) = input {
            members.push(Entry {
                key: "input".into(),
                ..input.clone()
            });
        }
        Ok(Node {
            at: entry.value.at,
            data: Data::Map(members),
        })
    }

    /// The template of `with` of `call: openapi`.
    pub(super) fn openapi(
        &mut self,
        entry: &Entry,
        scope: &Scope,
    ) -> Result<Template, DocumentError> {
        let mut fields = Fields::of_entry(entry)?;
        let document = fields.need("document")?;
        fields.need("operationId")?.value.text("operationId")?;
        for key in ["parameters", "output", "redirect"] {
            fields.maybe(key);
        }
        let auth = fields.maybe("authentication");
        fields.end()?;
        let mut own = Fields::of_entry(document)?;
        own.maybe("name");
        let endpoint = own.need("endpoint")?;
        own.end()?;
        let uri = match &endpoint.value.data {
            Data::Map(_) => {
                let mut fields = Fields::of_entry(endpoint)?;
                fields.refuse(&["authentication"])?;
                let uri = fields.need("uri")?;
                fields.end()?;
                uri
            }
            _ => endpoint,
        };
        uri.value.text("endpoint")?;
        let kept = entry.value.map("with")?.iter();
        let kept = kept.filter(|e| !matches!(e.key.as_str(), "authentication" | "document"));
        let mut members: Vec<Entry> = kept.cloned().collect();
        members.push(Entry {
            key: "document".into(),
            at: document.at,
            value: uri.value.clone(),
        });
        if let Some(auth) = auth {
            members.push(Entry {
                key: auth.key.clone(),
                at: auth.at,
                value: self.authentication(auth, scope)?,
            });
        }
        scope.with_secrets(&self.secrets).template(&Node {
            at: entry.value.at,
            data: Data::Map(members),
        })
    }
}

fn returns(entry: &Entry) -> Result<Returns, DocumentError> {
    let name = entry.value.text("return")?;
    let found = RETURNS.iter().find(|(known, _)| *known == name);
    found.map(|(_, returns)| *returns).ok_or_else(|| {
        let names: Vec<&str> = RETURNS.iter().map(|(name, _)| *name).collect();
        DocumentError::new(
            Problem::Form,
            entry.value.at,
            "unknown `return` of a process",
        )
        .expected(format!("one of {}", names.join(", ")))
        .found(format!("`{}`", short(name)))
    })
}

fn member(key: &str, at: Place, data: Data) -> Entry {
    Entry {
        key: key.into(),
        at,
        value: Node { at, data },
    }
}

/// The arguments of `exec`: a POSIX shell with the command.
fn shell(entry: &Entry) -> Result<Node, DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    let command = fields.need("command")?;
    command.value.text("command")?;
    let text = |s: &str| Node {
        at: entry.at,
        data: Data::Text(s.into()),
    };
    let mut argv = vec![
        text("/bin/sh"),
        text("-c"),
        command.value.clone(),
        text("sh"),
    ];
    if let Some(arguments) = fields.maybe("arguments") {
        argv.extend(arguments.value.list("arguments")?.iter().cloned());
    }
    let mut members = vec![member("argv", entry.at, Data::List(argv))];
    // The most that the skill allows: how long a step may take, its `timeout` says.
    for (name, most) in [("output_bytes_max", EXEC_BYTES), ("timeout_ms", EXEC_MS)] {
        let value = Node::of(entry.at, &Val::from(most));
        members.push(member(name, entry.at, value.data));
    }
    members.extend(streams(&mut fields));
    fields.end()?;
    Ok(Node {
        at: entry.value.at,
        data: Data::Map(members),
    })
}

/// The arguments of `script`.
fn script(entry: &Entry) -> Result<Node, DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    let language = fields.need("language")?;
    let name = language.value.text("language")?;
    if !matches!(name, "js" | "javascript") {
        let what = format!("a script in `{}`", short(name));
        return Err(DocumentError::not_supported(language.value.at, what).expected("javascript"));
    }
    fields.refuse(&["source"])?;
    let code = fields.need("code")?;
    code.value.text("code")?;
    let mut members = vec![code.clone()];
    if let Some(arguments) = fields.maybe("arguments") {
        arguments.value.list("arguments")?;
        members.push(arguments.clone());
    }
    members.extend(streams(&mut fields));
    fields.end()?;
    Ok(Node {
        at: entry.value.at,
        data: Data::Map(members),
    })
}

fn streams(fields: &mut Fields<'_>) -> Vec<Entry> {
    let mut members = Vec::new();
    if let Some(stdin) = fields.maybe("stdin") {
        members.push(stdin.clone());
    }
    if let Some(environment) = fields.maybe("environment") {
        members.push(Entry {
            key: "env".into(),
            ..environment.clone()
        });
    }
    members
}
