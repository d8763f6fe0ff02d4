//! The short form: a list of skills to call one after the other, the output of each being the input of the next.

use super::error::DocumentError;
use super::fields::Fields;
use super::kind::arguments;
use super::load::value;
use super::node::{Entry, Node, Place};
use super::places::{At, Scope};
use super::task::{Tasks, reads_time};
use super::{Flow, Task, TaskKind, TimeReads};

/// Reads the entries as calls of skills.
pub(super) fn read(
    tasks: &mut Tasks<'_>,
    at: Place,
    entries: &[Node],
) -> Result<Vec<usize>, DocumentError> {
    let steps = entries
        .iter()
        .enumerate()
        .map(|(i, entry)| step(i, entry))
        .collect::<Result<Vec<_>, _>>()?;
    let block = tasks.begin(
        at,
        "the list",
        steps.iter().map(|step| (step.name.as_str(), step.at)),
    )?;
    let scope = Scope::at(At::Definition, &[]);
    for (i, (step, entry)) in steps.iter().zip(entries).enumerate() {
        let skill = step.skill.value.text("skill")?;
        tasks.calls.push((skill.into(), step.skill.value.at));
        let mut task = Task {
            name: step.name.clone(),
            pointer: format!("/{i}"),
            reference: format!("/{i}"),
            line: step.at.line,
            column: step.at.column,
            kind: TaskKind::CallSkill {
                name: skill.into(),
                with: arguments(step.skill, step.params, &scope)?,
            },
            if_: None,
            input_from: None,
            output_as: None,
            export_as: None,
            input_schema: None,
            output_schema: None,
            export_schema: None,
            timeout: None,
            authorization: None,
            then: Flow::Continue,
            definition: value(entry)?,
            reads_time: TimeReads::default(),
        };
        task.reads_time = reads_time(&task);
        tasks.set(block.index(i), task);
    }
    Ok(block.indices())
}

struct Step<'a> {
    name: String,
    at: Place,
    skill: &'a Entry,
    params: Option<&'a Entry>,
}

fn step(i: usize, entry: &Node) -> Result<Step<'_>, DocumentError> {
    let mut fields = Fields::of("step", entry.at, entry)?;
    let skill = fields.need("skill")?;
    let params = fields.maybe("params");
    let name = fields.maybe("name");
    fields.end()?;
    Ok(match name {
        None => Step {
            name: format!("step{}", i + 1),
            at: entry.at,
            skill,
            params,
        },
        Some(name) => Step {
            name: name.value.text("name")?.into(),
            at: name.value.at,
            skill,
            params,
        },
    })
}
