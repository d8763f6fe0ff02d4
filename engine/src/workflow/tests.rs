use super::{Definition, DocumentError, Flow, Task, TaskKind};
use crate::value::{Val, Value, member};

mod endpoint;
mod graph;
mod random;
mod reading;
mod refusals;
mod secrets;
mod specification;
mod supported;
mod wait;

/// The head of a workflow; what follows starts in line 2.
const HEAD: &str = "document: {dsl: '1.0.3', namespace: test, name: demo, version: '1.0.0'}\n";

fn load(text: &str) -> Definition {
    Definition::load(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A workflow with [`HEAD`] in front.
fn workflow(rest: &str) -> Definition {
    load(&format!("{HEAD}{rest}"))
}

fn task<'d>(definition: &'d Definition, pointer: &str) -> &'d Task {
    definition
        .tasks
        .iter()
        .find(|task| task.pointer == pointer)
        .expect("no such task")
}

/// Loads a document in which `§` stands where the error must be found, and returns the error.
fn refused(text: &str) -> DocumentError {
    let (before, _) = text.split_once('§').expect("a document with a mark");
    let line = before.matches('\n').count() as u32 + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count() as u32
        + 1;
    let error = match Definition::load(text.replacen('§', "", 1).as_bytes()) {
        Ok(_) => panic!("loaded:\n{text}"),
        Err(error) => error,
    };
    assert_eq!(
        (error.line, error.column),
        (line, column),
        "{error}\n{text}"
    );
    error
}

fn value(json: &str) -> Value {
    Value::from_json(json.as_bytes()).unwrap()
}

/// Evaluates the template of a task on `input`; variables are null.
fn filled(task: &Task, input: &str) -> Result<String, String> {
    let template = match &task.kind {
        TaskKind::Set(template) | TaskKind::Raise(template) | TaskKind::CallHttp(template) => {
            template
        }
        TaskKind::CallSkill { with, .. } => with,
        _ => panic!("a task without a template"),
    };
    let output = template
        .eval(value(input).val(), &|_| Val::Null, None)
        .map_err(|error| error.to_string())?;
    Ok(Value::from_val(&output).unwrap().to_string())
}
