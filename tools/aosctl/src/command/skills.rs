//! `aosctl skills` and `aosctl capabilities`

use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::output::{Cell, Object, Output};
use aos_engine::capabilities as engine;
use aos_engine::fault::Code;
use aos_engine::skill::{Registered, Skills};
use clap::{Args, Subcommand};

/// `skills`
#[derive(Subcommand, Debug)]
pub enum SkillsArgs {
    /// List the skills that steps can call
    Ls,
    /// Show all that a skill says of itself, with the schemas of its arguments and output
    Show(SkillName),
}

/// A skill.
#[derive(Args, Debug)]
pub struct SkillName {
    /// Skill
    #[arg(value_name = "SKILL")]
    pub name: String,
}

/// Lists the skills, or shows one.
///
/// # Errors
/// [`failure::NO_SKILL`].
pub fn skills(args: &SkillsArgs, out: &mut Output) -> Result<Exit, Failure> {
    let skills = Skills::builtin();
    match args {
        SkillsArgs::Ls => {
            let rows = skills
                .names()
                .filter_map(|name| Some((name, skills.entry(name)?)))
                .map(|(name, entry)| line(name, entry));
            out.list(rows, "no skills")?;
        }
        SkillsArgs::Show(SkillName { name }) => {
            let entry = skills.entry(name).ok_or_else(|| {
                Failure::new(
                    failure::NO_SKILL,
                    Exit::NotFound,
                    format!("there is no skill {name}"),
                )
                .next("aosctl skills ls, which lists all skills")
            })?;
            out.object(&whole(name, entry))?;
        }
    }
    Ok(Exit::Yes)
}

fn line(name: &str, entry: &Registered) -> Object {
    Object::new()
        .with("skill", name)
        .with("version", entry.version.as_str())
        .with("kind", entry.skill.kind())
        .with("cost", entry.about.cost)
        .with("typical_ms", entry.about.latency.typical_ms)
        .with("max_ms", entry.about.latency.max_ms)
        .with("retry", entry.about.retry.name())
        .with("reach", entry.about.reach.name())
        .with("summary", entry.about.summary.as_str())
}

fn whole(name: &str, entry: &Registered) -> Object {
    let about = &entry.about;
    let rate = about.rate.map(|rate| {
        Object::new()
            .with("calls", rate.calls)
            .with("window_ms", rate.window_ms)
    });
    line(name, entry)
        .with("rate", rate)
        .with("feeds", about.feeds)
        .with("after", about.after.clone())
        .with("fails", about.fails.iter().map(failed).collect::<Vec<_>>())
        .with("input", Cell::Json(about.input.as_str().to_owned()))
        .with("output", Cell::Json(about.output.as_str().to_owned()))
}

fn failed(code: &Code) -> Object {
    Object::new()
        .with("code", code.name())
        .with("class", code.class().name())
}

/// Says what this build can do.
///
/// # Errors
/// Those of the output.
pub fn capabilities(out: &mut Output) -> Result<Exit, Failure> {
    let skills = Skills::builtin();
    let names: Vec<Object> = skills
        .names()
        .filter_map(|name| Some((name, skills.entry(name)?)))
        .map(|(name, entry)| {
            let short = Object::new()
                .with("skill", name)
                .with("version", entry.version.as_str())
                .with("kind", entry.skill.kind());
            if out.form() == Form::Table {
                return short;
            }
            whole(name, entry)
        })
        .collect();
    let versions = engine::VERSIONS
        .iter()
        .fold(Object::new(), |object, (name, version)| {
            object.with(name, *version)
        })
        .with("semantics", engine::SEMANTICS_VERSION);
    let limits = engine::LIMITS
        .iter()
        .fold(Object::new(), |object, (name, limit)| {
            object.with(name, *limit)
        });
    let settings = engine::SETTINGS
        .iter()
        .fold(Object::new(), |object, (name, what)| {
            object.with(name, *what)
        });
    let list = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>();
    let exits: Vec<Object> = Exit::ALL
        .iter()
        .map(|exit| {
            Object::new()
                .with("exit", exit.number())
                .with("means", exit.means())
        })
        .collect();
    let failures: Vec<Object> = engine::failures()
        .iter()
        .map(|code| {
            let (error_type, status, title) = code.problem();
            failed(code)
                .with("status", status)
                .with("type", format!("{}{error_type}", aos_engine::fault::TYPES))
                .with("title", title)
        })
        .collect();
    out.object(
        &Object::new()
            .with("schema", "aos.capabilities.v1")
            .with("versions", versions)
            .with("skills", names)
            .with(
                "tasks",
                list(&mut engine::TASKS.iter().map(|(name, _)| *name)),
            )
            .with("features", list(&mut engine::FEATURES.iter().copied()))
            .with("settings", settings)
            .with("limits", limits)
            .with("exit_codes", exits)
            .with("failures", failures),
    )?;
    Ok(Exit::Yes)
}
