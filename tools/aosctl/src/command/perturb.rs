//! `aosctl perturb`

use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::input;
use crate::output::{Object, Output, talk};
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_replay::diff::{Child, Options, Perturbed, perturb as check, processes, trace};
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// `perturb`
#[derive(Args, Debug)]
#[command(after_help = "\
The workflow is derived again and again with one thing shifted at a time: in this process the recorded
clock, the seed of hash maps and the number of threads; in processes of their own the process id, time
zone, locale, working directory and host name. The fields that follow one of them are named.

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
    /// Derive once and say the steps, for the process that started this one, which writes what to derive to standard input
    #[arg(long, hide = true)]
    pub trace: bool,
}

/// What is derived.
struct Question {
    /// The document, as it stands in its file.
    document: Vec<u8>,
    input: Value,
    answers: BTreeMap<String, Value>,
}

/// Tries a workflow under one shifted circumstance after another.
///
/// # Errors
/// Those of reading the document and its input.
pub fn perturb(args: &Perturb, out: &mut Output) -> Result<Exit, Failure> {
    let question = if args.trace {
        Question::written()?
    } else {
        Question::asked(args)?
    };
    let definition = Definition::load(&question.document);
    let definition = Arc::new(definition.map_err(failure::document(&args.workflow))?);
    let failed = failure::replay(&args.workflow);
    let options = Options::default();
    let Question { input, answers, .. } = &question;
    if args.trace {
        let trace = trace(definition, input.clone(), answers, &options).map_err(failed)?;
        out.line(&trace.line())?;
        return Ok(Exit::Yes);
    }
    let mut found = check(definition, input.clone(), answers, &options).map_err(&failed)?;
    elsewhere(&question, &mut found).map_err(failed)?;
    tell(&found, out)?;
    Ok(match (found.deterministic, found.needs) {
        (false, _) => Exit::No,
        (true, Some(_)) => Exit::Undecided,
        (true, None) => Exit::Yes,
    })
}

/// Tries it in processes of this program.
fn elsewhere(question: &Question, found: &mut Perturbed) -> Result<(), aos_replay::Error> {
    let Ok(program) = std::env::current_exe() else {
        found.skip("processes", "this program does not know where it stands");
        return Ok(());
    };
    let command = || {
        let mut command = Command::new(&program);
        command.args(["perturb", "-", "--trace"]);
        command
    };
    let child = Child {
        command: &command,
        input: &question.bytes(),
        elsewhere: Path::new("/"),
    };
    processes(&child, found)
}

fn tell(found: &Perturbed, out: &mut Output) -> Result<(), Failure> {
    if let Some(needs) = &found.needs {
        talk(&format!(
            "not tried to its end: it waits for an answer to {needs}; give one with --answer"
        ));
    }
    let skipped: Vec<Object> = found
        .skipped
        .iter()
        .map(|skipped| {
            Object::new()
                .with("what", skipped.what.as_str())
                .with("why", skipped.why.as_str())
        })
        .collect();
    if out.form() != Form::Table {
        let follows: Vec<Object> = found
            .follows
            .iter()
            .map(|follows| {
                Object::new()
                    .with("step", follows.step.as_str())
                    .with("follows", follows.what.as_str())
                    .with("fields", follows.paths.clone())
                    .with("declared", follows.declared)
            })
            .collect();
        let object = Object::new()
            .with("deterministic", found.deterministic)
            .with("steps", found.steps)
            .with("runs", found.runs)
            .with("needs", found.needs.clone())
            .with("shifted", found.shifted.clone())
            .with("skipped", skipped)
            .with("follows", follows);
        return out.object(&object);
    }
    let word = match found.deterministic {
        true => "deterministic",
        false => "not deterministic",
    };
    let (steps, runs) = (found.steps, found.runs);
    out.line(&format!("{word}: {steps} steps, derived {runs} times"))?;
    out.line(&format!("shifted: {}", found.shifted.join(", ")))?;
    for skipped in &found.skipped {
        out.line(&format!("skipped: {}: {}", skipped.what, skipped.why))?;
    }
    let follows: Vec<Object> = found
        .follows
        .iter()
        .map(|follows| {
            Object::new()
                .with("step", follows.step.as_str())
                .with("follows", follows.what.as_str())
                .with("fields", follows.paths.join(" "))
                .with("declared", follows.declared)
        })
        .collect();
    out.table(&follows, "no step follows anything")
}

impl Question {
    /// As the arguments put it.
    fn asked(args: &Perturb) -> Result<Question, Failure> {
        let document = input::read(&args.workflow, input::INPUT_BYTES_MAX)?;
        let value = input::argument("--input", &args.input)?;
        let mut question = Question {
            document,
            input: value,
            answers: BTreeMap::new(),
        };
        args.answer
            .iter()
            .try_for_each(|answer| question.answer(answer))?;
        Ok(question)
    }

    /// As another process of this program wrote it: a line for the input, one for each answer, an empty one, the document.
    fn written() -> Result<Question, Failure> {
        let bytes = input::read(Path::new("-"), 3 * input::INPUT_BYTES_MAX)?;
        let mut rest = bytes.as_slice();
        let mut line = || -> Result<String, Failure> {
            let bad = || {
                let message = "standard input is not what perturb writes to its processes";
                Failure::new(failure::USAGE, Exit::Usage, message).next("aosctl perturb WORKFLOW")
            };
            let end = rest
                .iter()
                .position(|byte| *byte == b'\n')
                .ok_or_else(bad)?;
            let text = String::from_utf8(rest[..end].to_vec()).map_err(|_| bad())?;
            rest = &rest[end + 1..];
            Ok(text)
        };
        let mut question = Question {
            document: Vec::new(),
            input: input::argument("--input", &line()?)?,
            answers: BTreeMap::new(),
        };
        loop {
            match line()?.as_str() {
                "" => break,
                answer => question.answer(answer)?,
            }
        }
        question.document = rest.to_vec();
        Ok(question)
    }

    fn answer(&mut self, text: &str) -> Result<(), Failure> {
        let (step, json) = text.split_once('=').ok_or_else(|| {
            let message = format!("--answer takes STEP=JSON, not {text}");
            Failure::new(failure::USAGE, Exit::Usage, message).next("aosctl perturb --help")
        })?;
        let value = input::argument("--answer", json)?;
        self.answers.insert(step.to_owned(), value);
        Ok(())
    }

    /// For [`Question::written`]. Canonical JSON has no line breaks.
    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{}\n", self.input.as_str());
        for (step, answer) in &self.answers {
            head.push_str(&format!("{step}={}\n", answer.as_str()));
        }
        head.push('\n');
        [head.as_bytes(), &self.document].concat()
    }
}
