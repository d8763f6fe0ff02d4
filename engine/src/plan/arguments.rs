//! Arguments of a call, checked as far as they are known before the run.

use super::ObstacleKind;
use crate::skill::{Registered, Skill};
use crate::value::{Val, Value, as_text, member, text};
use crate::workflow::{Task, TaskKind};

/// What is wrong with the arguments of a call, if anything; `raw` is what the document says, expressions unevaluated.
///
/// An argument with an expression in it is known only when the step runs: it counts as given, and its form is not judged.
pub(super) fn check(
    name: &str,
    entry: &Registered,
    raw: &Value,
    feeds: bool,
) -> Option<(ObstacleKind, String)> {
    let schema = match entry.input() {
        Ok(schema) => schema,
        Err(error) => return Some((ObstacleKind::BadParameter, format!("{name}: {error}"))),
    };
    let (known, open) = split(raw);
    let fed = entry.about.feeds.filter(|_| feeds);
    let all_known = open.is_empty() && fed.is_none_or(|fed| member(raw.val(), fed).is_some());
    let open: Vec<&str> = open.iter().map(String::as_str).chain(fed).collect();
    let known = Value::from_val(&known).ok()?;
    for violation in schema.violations(&known) {
        let ways = &violation.missing;
        let open = |way: &Vec<String>| way.iter().all(|name| open.contains(&name.as_str()));
        if violation.at.is_empty() && ways.iter().any(open) {
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
    // All of it is known: the skill itself has the last word.
    if let (true, Skill::Effect(skill)) = (all_known, &entry.skill)
        && let Err(fault) = skill.request(raw)
    {
        return Some((ObstacleKind::BadParameter, fault.detail));
    }
    None
}

/// Most units that one call may cost, as far as its arguments are known.
pub(super) fn estimate(entry: &Registered, raw: &Value) -> u64 {
    let (_, open) = split(raw);
    let told = match &entry.skill {
        Skill::Effect(skill) if open.is_empty() => skill
            .request(raw)
            .ok()
            .and_then(|request| skill.estimate(&request)),
        Skill::Effect(_) | Skill::Pure(_) => None,
    };
    told.unwrap_or(entry.about.cost)
}

/// The arguments without those that hold an expression, and the names of those.
fn split(raw: &Value) -> (Val, Vec<String>) {
    let Val::Obj(fields) = raw.val() else {
        return (raw.val().clone(), Vec::new());
    };
    let mut known = Vec::new();
    let mut open = Vec::new();
    for (key, value) in fields.iter() {
        let name = as_text(key).unwrap_or_default();
        if is_open(value) {
            open.push(name.to_owned());
        } else {
            known.push((text(name), value.clone()));
        }
    }
    (Val::obj(known.into_iter().collect()), open)
}

/// Whether there is an expression in it. The depth of a value is bounded.
fn is_open(value: &Val) -> bool {
    match value {
        Val::Arr(items) => items.iter().any(is_open),
        Val::Obj(fields) => fields.iter().any(|(_, value)| is_open(value)),
        _ => as_text(value).is_some_and(|text| text.trim_start().starts_with("${")),
    }
}

/// The arguments in a task's own text: `with`, or `params` in the short form; none where a process has some that are known
/// only when it runs.
pub(super) fn raw(task: &Task) -> Option<Value> {
    if let TaskKind::Run { with, .. } | TaskKind::CallSkill { with, .. } = &task.kind
        && let Some(constant) = with.as_constant()
    {
        return Value::from_val(constant).ok();
    }
    if let TaskKind::Run { .. } = &task.kind {
        return None;
    }
    let given = ["with", "params"]
        .iter()
        .find_map(|name| member(task.definition.val(), name))
        .and_then(|arguments| Value::from_val(arguments).ok());
    given.or_else(|| Value::from_json(b"{}").ok())
}
