//! The sides of a comparison: what an argument names, and opening it.

use crate::command::golden;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::logs;
use aos_engine::skill::Skills;
use aos_format::digest::RunId;
use aos_golden::Archive;
use aos_replay::diff::{Authenticate, Called, Input, RunAt};
use aos_store::{LogReader, Source};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs that are asked for their names one by one.
const ASKED_MAX: usize = 100;

/// What an argument names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// Log or archive.
    pub path: PathBuf,
    /// Which of its runs.
    pub which: Which,
}

/// Runs of a side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// All.
    All,
    /// One, as it is called.
    One(String),
    /// Those that a file names.
    Listed(PathBuf),
}

impl Named {
    /// Takes an argument apart. A path that is there wins over the same text with a run at its end.
    pub fn parse(text: &str) -> Named {
        let whole = Named {
            path: PathBuf::from(text),
            which: Which::All,
        };
        if whole.path.exists() {
            return whole;
        }
        let there = |left: &str| !left.is_empty() && Path::new(left).exists();
        let cuts = text.match_indices([':', '@']);
        for (at, sign) in cuts.collect::<Vec<_>>().into_iter().rev() {
            let (left, right) = (&text[..at], &text[at + 1..]);
            if there(left) && !right.is_empty() {
                let which = match sign {
                    ":" => Which::One(right.to_owned()),
                    _ => Which::Listed(PathBuf::from(right)),
                };
                return Named {
                    path: PathBuf::from(left),
                    which,
                };
            }
        }
        whole
    }
}

/// A side that is open.
pub struct Opened {
    /// As it was named.
    pub named: Named,
    carrier: Carrier,
}

/// What carries the records.
enum Carrier {
    Log(LogReader),
    Archive(Archive),
}

impl Opened {
    /// The one run that an argument names, or the only one there is.
    ///
    /// # Errors
    /// As [`Opened::find`]; [`failure::AMBIGUOUS`] when there are several.
    pub fn one(&self, input: &Input<'_>) -> Result<RunAt, Failure> {
        match &self.named.which {
            Which::One(name) => self.find(input, name),
            Which::All | Which::Listed(_) => {
                let message = "which run is meant: the log has several";
                self.only(input)?.ok_or_else(|| {
                    let list = failure::argument(&self.named.path);
                    Failure::new(failure::AMBIGUOUS, Exit::Usage, message)
                        .place(failure::shown(&self.named.path))
                        .next(format!("aosctl runs {list}"))
                })
            }
        }
    }

    /// The only run there is; none where there are several.
    ///
    /// # Errors
    /// [`failure::NO_RUN`] when there is none; those of reading.
    pub fn only(&self, input: &Input<'_>) -> Result<Option<RunAt>, Failure> {
        let indexed;
        let all = input.all().map_err(failure::replay(&self.named.path))?;
        let first_two = match all {
            Some(runs) => [runs.first().copied(), runs.get(1).copied()],
            None => {
                indexed = input.index().map_err(failure::store(&self.named.path))?;
                let mut rows = indexed.rows.runs.values().map(RunAt::of);
                [rows.next(), rows.next()]
            }
        };
        match first_two {
            [Some(one), None] => Ok(Some(one)),
            [None, _] => Err(no_runs(&self.named.path)),
            [Some(_), Some(_)] => Ok(None),
        }
    }

    /// Opens what an argument names.
    ///
    /// # Errors
    /// Those of opening a log; what is wrong with an archive, which is verified whole before it is compared.
    pub fn open(text: &str) -> Result<Opened, Failure> {
        let named = Named::parse(text);
        let carrier = if Archive::is_one(&named.path) {
            Carrier::Archive(golden::checked(&named.path)?)
        } else {
            Carrier::Log(logs::reader(&named.path)?)
        };
        Ok(Opened { named, carrier })
    }

    /// The side, checked as far as asked for.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn input(&self, full: bool, workers: usize) -> Result<Input<'_>, Failure> {
        let how = if full {
            Authenticate::Full
        } else {
            Authenticate::Auto
        };
        let name = failure::shown(&self.named.path);
        let input = match &self.carrier {
            Carrier::Log(reader) => Input::log(&name, reader, how, workers)
                .map_err(failure::replay(&self.named.path))?,
            Carrier::Archive(archive) => Input::carrier(&name, archive, Vec::new()),
        };
        Ok(input.with_skills(Arc::new(Skills::builtin())))
    }

    /// The run of `input` that is called `name`.
    ///
    /// # Errors
    /// [`failure::NO_RUN`], [`failure::AMBIGUOUS`]; those of reading.
    pub fn find(&self, input: &Input<'_>, name: &str) -> Result<RunAt, Failure> {
        let path = &self.named.path;
        let failed = failure::replay(path);
        if let Some(run) = RunId::from_hex(&name.to_ascii_lowercase()) {
            match input.run(run) {
                Ok(at) => return Ok(at),
                Err(aos_replay::Error::NoRun { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if let Some(runs) = input
            .all()
            .map_err(&failed)?
            .filter(|r| r.len() <= ASKED_MAX)
        {
            let called = runs.iter().map(|at| input.called(*at));
            let called: Vec<Called> = called.collect::<Result<_, _>>().map_err(&failed)?;
            let known = called.iter().map(|called| logs::Known {
                run: called.run,
                namespace: &called.namespace,
                name: &called.name,
                key: &called.key,
                generation: called.generation,
            });
            let run = logs::choose(path, known, name)?;
            return input.run(run).map_err(failed);
        }
        let index = input.index().map_err(failure::store(path))?;
        let row = logs::find(path, index.rows.runs.values(), name)?;
        Ok(RunAt::of(&row))
    }
}

/// A side without any run.
pub fn no_runs(path: &Path) -> Failure {
    Failure::new(
        failure::NO_RUN,
        Exit::NotFound,
        "there is no run to compare",
    )
    .place(failure::shown(path))
    .next(format!("aosctl runs {}", failure::argument(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_cut_where_a_log_ends() {
        let here = env!("CARGO_MANIFEST_DIR");
        let named = |text: String| Named::parse(&text);
        assert_eq!(named(here.into()).which, Which::All);
        let run = named(format!("{here}:order:7"));
        assert_eq!(
            (run.path, run.which),
            (here.into(), Which::One("order:7".into()))
        );
        let file = named(format!("{here}@runs.txt"));
        assert_eq!(file.which, Which::Listed("runs.txt".into()));
        assert_eq!(named("nowhere:7".into()).which, Which::All);
    }
}
