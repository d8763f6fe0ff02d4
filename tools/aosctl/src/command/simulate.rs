//! `aosctl simulate`: judges a plan, executes nothing.

use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::input;
use crate::logs;
use crate::output::{Cell, Object, Output};
use aos_engine::plan::{Accuracy, Forecast, Limits, Past, Range, simulate as judge};
use aos_engine::skill::Skills;
use aos_engine::workflow::{DOCUMENT_BYTES_MAX, Definition};
use clap::Args;
use std::path::{Path, PathBuf};

/// `simulate`
#[derive(Args, Debug)]
#[command(after_help = "\
Exit code 0: feasible; 1: not, and the output says why.

  aosctl simulate --plan '[{\"skill\": \"http_call\", \"params\": {\"url\": \"http://localhost/\"}}]' --budget 100
  aosctl simulate hello.yaml --log hello.aos")]
#[command(group = clap::ArgGroup::new("what").required(true).args(["workflow", "plan"]))]
pub struct Simulate {
    /// Workflow document
    #[arg(value_name = "WORKFLOW")]
    pub workflow: Option<PathBuf>,
    /// A list of skills, or a document: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub plan: Option<String>,
    /// Units that its effects may cost together
    #[arg(long, value_name = "UNITS")]
    pub budget: Option<u64>,
    /// Milliseconds that it may take
    #[arg(long, value_name = "MS")]
    pub deadline: Option<u64>,
    /// Skills that it may call, separated by commas; all by default
    #[arg(long, value_name = "SKILLS", value_delimiter = ',')]
    pub allow: Option<Vec<String>>,
    /// Log whose past runs the estimates come from
    #[arg(long, value_name = "LOG")]
    pub log: Option<PathBuf>,
}

/// Judges a plan.
///
/// # Errors
/// A document that makes no sense; those of reading the log.
pub fn simulate(args: &Simulate, out: &mut Output) -> Result<Exit, Failure> {
    let (definition, place) = plan(args)?;
    let skills = Skills::builtin();
    let limits = Limits {
        budget: args.budget,
        allow: args
            .allow
            .as_ref()
            .map(|names| names.iter().cloned().collect()),
        deadline_ms: args.deadline,
    };
    let past = match &args.log {
        None => Past::none(),
        Some(log) => {
            let reader = logs::reader(log)?;
            Past::read(&reader, &logs::Stored(&reader)).map_err(failure::engine(log))?
        }
    };
    let forecast = judge(&definition, &skills, &limits, &past);
    let accuracy = past.accuracy(&definition, &skills);
    if out.form() == Form::Table {
        table(&forecast, accuracy.as_ref(), out)?;
    } else {
        out.object(&object(&forecast, accuracy.as_ref(), &place))?;
    }
    Ok(if forecast.feasible() {
        Exit::Yes
    } else {
        Exit::No
    })
}

/// The document to judge, and where it comes from.
fn plan(args: &Simulate) -> Result<(Definition, String), Failure> {
    let (bytes, path) = match (&args.workflow, &args.plan) {
        (Some(path), _) => (input::read(path, DOCUMENT_BYTES_MAX as u64)?, path.clone()),
        (None, Some(text)) => match text.strip_prefix('@') {
            Some(path) => (
                input::read(Path::new(path), DOCUMENT_BYTES_MAX as u64)?,
                PathBuf::from(path),
            ),
            None if text == "-" => (
                input::read(Path::new("-"), DOCUMENT_BYTES_MAX as u64)?,
                PathBuf::from("-"),
            ),
            None => (text.as_bytes().to_vec(), PathBuf::from("--plan")),
        },
        (None, None) => unreachable!("the command line asks for one of them"),
    };
    let definition = Definition::load(&bytes).map_err(failure::document(&path))?;
    Ok((definition, failure::shown(&path)))
}

fn verdict(forecast: &Forecast) -> &'static str {
    if forecast.feasible() {
        "FEASIBLE"
    } else {
        "NOT FEASIBLE"
    }
}

fn object(forecast: &Forecast, accuracy: Option<&Accuracy>, place: &str) -> Object {
    Object::new()
        .with("schema", "aos.forecast.v1")
        .with("plan", place)
        .with("verdict", verdict(forecast))
        .with("feasible", forecast.feasible())
        .with("obstacles", obstacles(forecast))
        .with("cost", range(forecast.cost))
        .with("budget", forecast.budget)
        .with("latency_ms", range(forecast.latency_ms))
        .with("risks", risks(forecast, false))
        .with("steps", steps(forecast, false))
        .with("past_runs", forecast.runs)
        .with("accuracy", accuracy.map(measured))
        .with("assumptions", forecast.assumptions.clone())
}

fn range(range: Range) -> Object {
    Object::new()
        .with("expected", range.expected)
        .with("most", range.most)
}

fn obstacles(forecast: &Forecast) -> Vec<Object> {
    let one = |obstacle: &aos_engine::plan::Obstacle| {
        let code = obstacle.kind.code();
        Object::new()
            .with("kind", obstacle.kind.name())
            .with("step", obstacle.step.as_str())
            .with("code", code.name())
            .with("class", code.class().name())
            .with("why", obstacle.why.as_str())
    };
    forecast.obstacles.iter().map(one).collect()
}

fn risks(forecast: &Forecast, short: bool) -> Vec<Object> {
    let one = |risk: &aos_engine::plan::Risk| {
        let object = Object::new()
            .with("code", risk.code.name())
            .with("class", risk.code.class().name())
            .with("retry", risk.retry.name())
            .with("probability", risk.probability_millionths.map(share));
        if short {
            return object.with("steps", risk.steps.join(" "));
        }
        object.with("steps", risk.steps.clone())
    };
    forecast.risks.iter().map(one).collect()
}

/// Millionths as a decimal fraction.
fn share(millionths: u64) -> Cell {
    let text = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    Cell::Json(text.to_owned())
}

fn steps(forecast: &Forecast, short: bool) -> Vec<Object> {
    let one = |step: &aos_engine::plan::StepForecast| {
        let object = Object::new()
            .with("step", step.step.as_str())
            .with("skill", step.skill.as_str())
            .with("times", share(step.times_milli * 1_000));
        if short {
            return object
                .with("cost", step.cost.expected)
                .with("ms", step.latency_ms.expected)
                .with("ms_most", step.latency_ms.most)
                .with("past_calls", step.calls);
        }
        object
            .with("cost", range(step.cost))
            .with("latency_ms", range(step.latency_ms))
            .with("past_calls", step.calls)
    };
    forecast.steps.iter().map(one).collect()
}

fn measured(accuracy: &Accuracy) -> Object {
    let of = |cost: u64, latency_ms: u64| {
        Object::new()
            .with("cost", cost)
            .with("latency_ms", latency_ms)
    };
    Object::new()
        .with("runs", accuracy.runs)
        .with("real", of(accuracy.cost, accuracy.latency_ms))
        .with(
            "error_from_skills",
            of(accuracy.told_cost_error, accuracy.told_latency_error_ms),
        )
        .with(
            "error_from_past",
            of(accuracy.past_cost_error, accuracy.past_latency_error_ms),
        )
}

fn table(
    forecast: &Forecast,
    accuracy: Option<&Accuracy>,
    out: &mut Output,
) -> Result<(), Failure> {
    let of_budget = forecast
        .budget
        .map_or(String::new(), |budget| format!(" of {budget}"));
    out.line(&format!(
        "{}: cost {}{of_budget}, latency {} ms, at most {} ms",
        verdict(forecast),
        forecast.cost.expected,
        forecast.latency_ms.expected,
        forecast.latency_ms.most
    ))?;
    for (title, rows) in [
        ("In the way", obstacles(forecast)),
        ("Steps", steps(forecast, true)),
        ("Risks", risks(forecast, true)),
    ] {
        if !rows.is_empty() {
            out.line("")?;
            out.line(title)?;
            out.table(&rows, "")?;
        }
    }
    if let Some(accuracy) = accuracy {
        out.line("")?;
        out.line(&format!(
            "Off by {} units and {} ms from what skills say, {} units and {} ms from past runs ({} runs)",
            accuracy.told_cost_error,
            accuracy.told_latency_error_ms,
            accuracy.past_cost_error,
            accuracy.past_latency_error_ms,
            accuracy.runs
        ))?;
    }
    for assumption in &forecast.assumptions {
        out.line(&format!("Assumed: {assumption}"))?;
    }
    Ok(())
}
