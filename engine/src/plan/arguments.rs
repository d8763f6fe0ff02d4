//! Arguments of a call, checked as far as they are known before the run.

use super::ObstacleKind;
use crate::skill::{Registered, Skill, Skills};
use crate::value::{Val, Value, as_text, member};
use crate::workflow::{Definition, DocumentError, Task, TaskKind};

/// Arguments as far as a document says them: those with an expression are known only when the step runs.
pub(super) struct Said {
    known: Value,
    open: Vec<String>,
}

impl Said {
    /// The arguments of a task that calls a skill.
    pub(super) fn of(task: &Task) -> Option<Said> {
        let (TaskKind::CallHttp(with)
        | TaskKind::CallSkill { with, .. }
        | TaskKind::Run { with, .. }) = &task.kind
        else {
            return None;
        };
        let mut open = Vec::new();
        let mut known = Vec::new();
        for (key, value) in with.members()? {
            match value {
                Some(value) => known.push((key, value)),
                None => open.push(as_text(&key).unwrap_or_default().to_owned()),
            }
        }
        let known = Value::from_val(&Val::obj(known.into_iter().collect())).ok()?;
        Some(Said { known, open })
    }

    /// What is wrong with them, if anything; `feeds` says that the step's input takes the place of what is left out.
    ///
    /// An argument with an expression in it counts as given, and its form is not judged.
    pub(super) fn wrong(
        &self,
        name: &str,
        entry: &Registered,
        feeds: bool,
    ) -> Option<(ObstacleKind, String)> {
        let schema = match entry.input() {
            Ok(schema) => schema,
            Err(error) => return Some((ObstacleKind::BadParameter, format!("{name}: {error}"))),
        };
        let fed = entry.about.feeds.filter(|_| feeds);
        let given = |name: &str| member(self.known.val(), name).is_some();
        let open: Vec<&str> = self.open.iter().map(String::as_str).chain(fed).collect();
        for violation in schema.violations(&self.known) {
            let ways = &violation.missing;
            let filled = |way: &Vec<String>| way.iter().all(|name| open.contains(&name.as_str()));
            if violation.at.is_empty() && ways.iter().any(filled) {
                continue;
            }
            let names: Vec<String> = ways
                .iter()
                .map(|way| format!("`{}`", way.join("` and `")))
                .collect();
            if names.is_empty() {
                return Some((ObstacleKind::BadParameter, format!("{name}: {violation}")));
            }
            let why = format!("{name}: the parameter {} is missing", names.join(" or "));
            return Some((ObstacleKind::MissingParameter, why));
        }
        // The skill itself has the last word: an effect on all of them, a pure skill on what it is told.
        let judged = match &entry.skill {
            Skill::Effect(skill) if open.iter().all(|name| given(name)) => {
                skill.request(&self.known).map(drop)
            }
            Skill::Pure(skill) => skill.check(&self.known),
            Skill::Effect(_) => Ok(()),
        };
        let fault = judged.err()?;
        Some((ObstacleKind::BadParameter, fault.detail))
    }

    /// Most units that one call may cost, as far as its arguments are known.
    pub(super) fn estimate(&self, entry: &Registered) -> u64 {
        let told = match &entry.skill {
            Skill::Effect(skill) if self.open.is_empty() => skill
                .request(&self.known)
                .ok()
                .and_then(|request| skill.estimate(&request)),
            Skill::Effect(_) | Skill::Pure(_) => None,
        };
        told.unwrap_or(entry.about.cost)
    }
}

/// The skill that a task calls, and whether its input takes the place of an argument.
pub(super) fn called(task: &Task) -> Option<(&str, bool)> {
    match &task.kind {
        TaskKind::CallHttp(_) => Some(("http_call", false)),
        TaskKind::CallSkill { name, .. } => Some((name, true)),
        TaskKind::Run { skill, .. } => Some((skill, false)),
        _ => None,
    }
}

/// Reads a document that can call `skills` and no others.
///
/// # Errors
/// Every problem, calls whose arguments can only fail among them.
pub fn check(bytes: &[u8], skills: &Skills) -> Result<Definition, Vec<DocumentError>> {
    let names: Vec<&str> = skills.names().collect();
    Definition::check_judged(bytes, &names, &|task| {
        let (name, feeds) = called(task)?;
        let (_, why) = Said::of(task)?.wrong(name, skills.entry(name)?, feeds)?;
        Some(DocumentError::misgiven(task, why))
    })
}
