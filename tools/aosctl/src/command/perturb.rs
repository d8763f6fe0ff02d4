//! `aosctl perturb`

use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::input;
use crate::output::{Object, Output, talk};
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_replay::diff::{Options, perturb as check};
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// `perturb`
#[derive(Args, Debug)]
#[command(after_help = "\
Nothing is written and nothing outside is touched: effects get the answers given here. Exit code 1 says
that a step follows something that is not recorded, 7 that the workflow could not be tried to its end.

  aosctl perturb loan.yaml --input @application.json --answer fetch='{\"rate\": 3}'")]
pub struct Perturb {
    /// Workflow document
    #[arg(value_name = "WORKFLOW")]
    pub workflow: PathBuf,
    /// Input: JSON, @FILE, or - for standard input
    #[arg(
        long,
        value_name = "JSON|@FILE|-",
        default_value = "{}",
        allow_hyphen_values = true
    )]
    pub input: String,
    /// What the effect of a step answers
    #[arg(long, value_name = "STEP=JSON")]
    pub answer: Vec<String>,
}

/// Tries a workflow under one shifted circumstance after another.
///
/// # Errors
/// Those of reading the document and its input.
pub fn perturb(args: &Perturb, out: &mut Output) -> Result<Exit, Failure> {
    let bytes = input::read(&args.workflow, input::INPUT_BYTES_MAX)?;
    let definition = Definition::load(&bytes).map_err(failure::document(&args.workflow))?;
    let value = input::argument("--input", &args.input)?;
    let mut answers: BTreeMap<String, Value> = BTreeMap::new();
    for answer in &args.answer {
        let (step, json) = answer.split_once('=').ok_or_else(|| {
            let message = format!("--answer takes STEP=JSON, not {answer}");
            Failure::new(failure::USAGE, Exit::Usage, message).next("aosctl perturb --help")
        })?;
        answers.insert(step.to_owned(), input::argument("--answer", json)?);
    }
    let found = check(Arc::new(definition), value, &answers, &Options::default())
        .map_err(failure::replay(&args.workflow))?;
    if let Some(needs) = &found.needs {
        talk(&format!(
            "not tried to its end: it waits for an answer to {needs}; give one with --answer"
        ));
    }
    let follows: Vec<Object> = found
        .follows
        .iter()
        .map(|follows| {
            Object::new()
                .with("step", follows.step.as_str())
                .with("follows", follows.what.as_str())
                .with("declared", follows.declared)
        })
        .collect();
    if out.form() == Form::Table {
        let word = if found.deterministic {
            "deterministic"
        } else {
            "not deterministic"
        };
        out.line(&format!(
            "{word}: {} steps, derived {} times",
            found.steps, found.runs
        ))?;
        out.table(&follows, "no step follows anything")?;
    } else {
        let object = Object::new()
            .with("deterministic", found.deterministic)
            .with("steps", found.steps)
            .with("runs", found.runs)
            .with("needs", found.needs.clone())
            .with("follows", follows);
        out.object(&object)?;
    }
    Ok(match (found.deterministic, found.needs) {
        (false, _) => Exit::No,
        (true, Some(_)) => Exit::Undecided,
        (true, None) => Exit::Yes,
    })
}
