//! Workflows that run other workflows.
//!
//! A run settles which documents its `run: workflow` name when it starts, and START has their digests; so `latest` means the
//! same on every resume and replay. The other workflow is a run of its own in the same log, under a key that follows from the
//! step's: made again after a crash, the step finds it. Replay of the caller reads its RESULT; the other run is replayed by
//! itself. With `await: false` the step only begins the other workflow: its START is durable before the step goes on, and
//! whoever drives the caller drives it too, or whoever resumes the log's runs.

use crate::engine::{Begun, Engine, ITS_CALLER, OnConflict, Request};
use crate::error::Error;
use crate::fault::{Code, Fault};
use crate::history::read_event;
use crate::machine::{Answer, Control, Ended, RUN_WORKFLOW};
use crate::run::{Run, Turn};
use crate::skill::GivenUp;
use crate::value::{Val, Value, as_text, member, object, text};
use crate::workflow::Definition;
use aos_format::digest::{Digest, RunId};
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_format::record::StreamId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Begins the keys of runs that steps of others run.
const WITHIN: &str = "within/";

/// Begins the keys of runs that steps of others begin and nobody waits for.
const BESIDE: &str = "beside/";

/// Whether a run has a key as steps of others give it: whoever resumes many runs leaves it to the one that runs it.
pub fn is_within(key: &str) -> bool {
    key.starts_with(WITHIN)
}

impl Engine {
    /// Makes documents known that `run: workflow` can name, besides those that the log holds.
    pub fn with_workflows(mut self, known: impl IntoIterator<Item = Arc<Definition>>) -> Engine {
        self.workflows.extend(known);
        self
    }

    /// The documents that a run of `definition` may run, each on record.
    pub(crate) fn pins(
        &self,
        definition: &Definition,
        run: RunId,
    ) -> Result<BTreeMap<String, Digest>, Error> {
        let mut pins = BTreeMap::new();
        for reference in &definition.workflows {
            let found = self.find_workflow(reference, run)?;
            let missing = || Error::NotRegistered {
                run,
                what: format!("the workflow {reference}"),
            };
            let found = found.ok_or_else(missing)?;
            self.ends(&found, &mut vec![definition.digest], run)?;
            self.record_definition(&found)?;
            pins.insert(reference.clone(), Digest(found.digest));
        }
        Ok(pins)
    }

    /// Refuses a workflow that runs itself, through others too: nothing would end it.
    fn ends(
        &self,
        definition: &Definition,
        callers: &mut Vec<[u8; 32]>,
        run: RunId,
    ) -> Result<(), Error> {
        if callers.contains(&definition.digest) {
            return Err(definition.runs_itself().into());
        }
        callers.push(definition.digest);
        for reference in &definition.workflows {
            // One that nobody knows is refused when its own caller starts.
            if let Some(inner) = self.find_workflow(reference, run)? {
                self.ends(&inner, callers, run)?;
            }
        }
        callers.pop();
        Ok(())
    }

    /// The document that `NAMESPACE/NAME/VERSION` names: what was made known comes before what is on record, the newest on
    /// record first; `latest` is the highest version of both.
    fn find_workflow(&self, reference: &str, run: RunId) -> Result<Option<Arc<Definition>>, Error> {
        let mut parts = reference.split('/');
        let mut part = || parts.next().unwrap_or_default();
        let (namespace, name, version) = (part(), part(), part());
        let fits = |one: &Definition| {
            one.namespace == namespace
                && one.name == name
                && (version == "latest" || one.version == version)
        };
        let mut found: Vec<Arc<Definition>> = self.workflows.clone();
        found.retain(|one| fits(one));
        let records = self.shared.log.stream(StreamId::CONTROL, 1)?;
        for record in records.iter().rev() {
            let event = read_event(record).map_err(|source| Error::History { run, source })?;
            let Event::Definition(event) = event else {
                continue;
            };
            let document = matches!(event.media.as_str(), "yaml" | "json");
            let same = event.namespace == namespace && event.name == name;
            if document && same && (version == "latest" || event.version == version) {
                found.push(self.definition(run, event.digest)?);
            }
        }
        let version_of = |one: &Definition| semver::Version::parse(&one.version).ok();
        // Of equal ones the first: `max_by_key` takes the last.
        found.reverse();
        Ok(found.into_iter().max_by_key(|one| version_of(one)))
    }

    /// Runs another workflow to its end.
    pub(crate) fn run_workflow(
        &self,
        asked: &Value,
        wire_key: &str,
        given_up: &GivenUp,
    ) -> Result<Answer, Error> {
        let part = |name| member(asked.val(), name).and_then(as_text);
        let digest = |name| part(name).and_then(Digest::from_hex);
        let unread = |what: &str| Error::NotRegistered {
            run: RunId([0; 16]),
            what: format!("{what} of the workflow that a step runs"),
        };
        let document = digest("definition").ok_or_else(|| unread("the document"))?;
        let definition = self.definition(RunId([0; 16]), document)?;
        let commitment = digest("seed").ok_or_else(|| unread("the seed"))?;
        let root = self.seed(commitment)?.ok_or_else(|| unread("the seed"))?;
        let input = member(asked.val(), "input").cloned().unwrap_or(Val::Null);
        let key = wire_key.split('@').next().unwrap_or_default();
        let budget = member(asked.val(), "budget").and_then(|n| n.to_string().parse().ok());
        let request = Request {
            definition,
            key: Some(format!("{WITHIN}{key}")),
            input: Value::from_val(&input).map_err(|_| unread("the input"))?,
            root,
            on_conflict: OnConflict::Existing,
            budget,
        };
        if member(asked.val(), "await") == Some(&Val::Bool(false)) {
            let key = Some(format!("{BESIDE}{key}"));
            let (run, cost) = self.begin_beside(&Request { key, ..request })?;
            let cost = Val::from(usize::try_from(cost).unwrap_or(usize::MAX));
            let answer = object([("cost", cost), ("run", text(&run.to_string()))]);
            return Ok(Answer::Effect(
                Value::from_val(&answer).map_err(Fault::from),
            ));
        }
        // That it has not ended is no outcome: the step is done again when somebody resumes its run.
        let (run, ended) = match self.start(&request)? {
            Begun::Ended(past) => (past.row.run, past.ended),
            Begun::InProgress(run) => return Err(Error::RunWithin { run }),
            Begun::Run(mut run) => match self.drive_until(given_up, &mut run)? {
                Turn::Ended(ended) => (run.id(), ended),
                _ => return Err(Error::RunWithin { run: run.id() }),
            },
        };
        Ok(Answer::Effect(match ended {
            Ended::Completed(output) => self.answer_of(run, &output)?,
            Ended::Faulted(problem) | Ended::Cancelled(problem) => {
                let broken = || Fault::new(Code::Integrity, "the run ended without a problem");
                Err(Fault::from_problem(&problem).unwrap_or_else(broken))
            }
        }))
    }

    /// Begins a workflow that nobody waits for; the run, and what it may spend.
    fn begin_beside(&self, request: &Request) -> Result<(RunId, u64), Error> {
        let run = match self.start(request)? {
            Begun::Ended(past) => past.row.run,
            Begun::InProgress(run) => run,
            Begun::Run(mut run) => {
                let opened = run
                    .open()
                    .and_then(|ticket| Ok(self.shared.log.wait(ticket)?));
                self.release(run.id());
                opened?;
                self.take_on(run.id());
                run.id()
            }
        };
        Ok((run, request.budget.unwrap_or(0)))
    }

    /// Asks whoever drives runs of this process to drive that one too.
    pub fn take_on(&self, run: RunId) {
        self.taken_on.lock().insert(run);
    }

    /// A run that somebody asked to be driven, less those that are.
    pub fn next_taken_on(&self) -> Option<RunId> {
        let mut taken_on = self.taken_on.lock();
        std::iter::from_fn(|| taken_on.pop_first()).find(|run| !self.is_driven(*run))
    }

    pub(crate) fn has_taken_on(&self) -> bool {
        !self.taken_on.lock().is_empty()
    }

    /// The runs that pending steps of a run began.
    pub(crate) fn within(&self, run: &Run) -> Result<Vec<RunId>, Error> {
        let mut runs = Vec::new();
        for (_, need) in run.pending() {
            let document = member(need.request.val(), "definition").and_then(as_text);
            let awaited = member(need.request.val(), "await").is_none();
            if need.skill != RUN_WORKFLOW || !awaited {
                continue;
            }
            if let Some(digest) = document.and_then(Digest::from_hex) {
                let definition = self.definition(run.id(), digest)?;
                let key = format!("{WITHIN}{}", need.idempotency.hex());
                let (namespace, name) = (&definition.namespace, &definition.name);
                runs.push(RunId::derive(namespace, name, &key, 0));
            }
        }
        Ok(runs)
    }

    /// Cancels the open runs that a step of another one began and that no open run's step waits for: their callers have ended.
    /// Returns them, ended.
    ///
    /// # Errors
    /// As [`Engine::resume`].
    pub fn end_orphans(&self) -> Result<Vec<RunId>, Error> {
        let mut ended = Vec::new();
        loop {
            let orphans = self.orphans()?;
            let found = orphans.into_iter().filter(|run| !ended.contains(run));
            let found: Vec<RunId> = found.collect();
            if found.is_empty() {
                return Ok(ended);
            }
            for run in found {
                self.cancel_orphan(run)?;
                if let Begun::Run(mut open) = self.resume(run)? {
                    self.drive(&mut open)?;
                }
                // What it ran within has no caller now.
                ended.push(run);
            }
        }
    }

    fn orphans(&self) -> Result<Vec<RunId>, Error> {
        let open = self.shared.log.open_runs()?;
        if !open.iter().any(|row| is_within(&row.key)) {
            return Ok(Vec::new());
        }
        let mut called = BTreeSet::new();
        for row in &open {
            for record in self.shared.log.stream(StreamId::run(row.run), 1)? {
                if record.kind() != Some(Kind::Intent) {
                    continue;
                }
                let run = row.run;
                let event = read_event(&record).map_err(|source| Error::History { run, source })?;
                if let Event::Intent(intent) = event
                    && intent.effect == RUN_WORKFLOW
                    && let Some(key) = intent.idempotency
                {
                    called.insert(format!("{WITHIN}{}", key.hex()));
                }
            }
        }
        let orphans = open.into_iter();
        let orphans = orphans.filter(|row| is_within(&row.key) && !called.contains(&row.key));
        Ok(orphans.map(|row| row.run).collect())
    }

    /// Cancels a run whose caller waits for it no more, and those within it.
    pub(crate) fn cancel_orphan(&self, run: RunId) -> Result<(), Error> {
        let cancel = Answer::Control(Control::Cancel, ITS_CALLER.into());
        match self.signal(run, cancel) {
            // It was not begun, or it has ended.
            Ok(_) | Err(Error::NoRun { .. } | Error::NotHeld { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn answer_of(&self, run: RunId, output: &Value) -> Result<Result<Value, Fault>, Error> {
        let mut cost = 0u64;
        for record in self.shared.log.stream(StreamId::run(run), 1)? {
            let event = read_event(&record).map_err(|source| Error::History { run, source })?;
            if let Event::Result(result) = event {
                cost = cost.saturating_add(result.cost.unwrap_or_default());
            }
        }
        let cost = Val::from(usize::try_from(cost).unwrap_or(usize::MAX));
        let answer = object([("cost", cost), ("output", output.val().clone())]);
        Ok(Value::from_val(&answer).map_err(Fault::from))
    }
}
