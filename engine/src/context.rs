//! Workflows in Rust: ordinary code over a context, re-executed from its history.
//!
//! A workflow is a function of its input and of what the context gives it. After a crash it runs again from the top; every
//! step that is on record returns what it returned, without running, until the record ends. So the code between steps must
//! be deterministic: no clock, no randomness, no I/O but through the context.
//!
//! ```
//! use aos_engine::context::{Context, Stop, Workflow};
//! use aos_engine::value::{Value, object, text};
//!
//! struct Greet;
//!
//! impl Workflow for Greet {
//!     fn name(&self) -> (&str, &str, &str) {
//!         ("example", "greet", "1.0.0")
//!     }
//!     fn run(&self, ctx: &mut Context<'_>, input: &Value) -> Result<Value, Stop> {
//!         let lucky = ctx.step("draw", input, |random| Ok(Value::from_val(&(random.below(100) as isize).into())?))?;
//!         let at = ctx.now("when")?;
//!         let said = object([("lucky", lucky.val().clone()), ("at", text(&at.to_string()))]);
//!         ctx.step("say", input, |_| Ok(Value::from_val(&said)?))
//!     }
//! }
//!
//! # use aos_engine::{clock::Clock, context::Runner, engine::Engine, seed::RootSeed, skill::Skills};
//! # use std::sync::Arc;
//! # let disk = Arc::new(aos_disk::sim::SimDisk::new());
//! # let options = aos_store::Options { create: true, ..aos_store::Options::new(aos_format::digest::LogId([7; 16])) };
//! # let (log, _) = aos_store::Log::open(disk, std::path::Path::new("greet.aos"), &options)?;
//! let engine = Engine::new(Arc::new(log), Arc::new(Skills::builtin()), Clock::default())?;
//! let first = Runner::new(&engine).run(&Greet, "ada", &Value::null(), &RootSeed::from_number(7))?;
//! let again = Runner::new(&engine).run(&Greet, "ada", &Value::null(), &RootSeed::from_number(7))?;
//! assert_eq!(first.digest, again.digest, "the second call finds the first one's record");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod budget;

use crate::chain::{Chain, Datum, Emission};
use crate::clock::Clock;
use crate::engine::{Claimed, Engine};
use crate::error::Error;
use crate::fault::{Code, Fault};
use crate::history::{self, Values};
use crate::machine::{
    EffectNeed, Ended, Resolution, SEMANTICS, STEPS_MAX, Subject, Verdict, budget_flag,
};
use crate::run::{LogValues, stream};
use crate::seed::{RNG_SCHEME, RootSeed, Stream};
use crate::skill::{AtHand, Policy, Skill};
use crate::value::{Value, ValueError};
use aos_format::digest::{Digest, RunId};
use aos_format::event::{
    Decision, Definition, End, Event, Intent, Mark, Result as EffectResult, Start, Step, Time,
    slot_of,
};
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_format::record::{
    VOLATILE_DUE, VOLATILE_GENERATION, VOLATILE_KEY, VOLATILE_ROOT_SEED, VOLATILE_WIRE_KEY,
    Volatile,
};
use aos_store::{Append, StoredRecord, Ticket};
use budget::Purse;
use std::collections::BTreeMap;
use std::time::Duration;

/// A workflow written in Rust.
pub trait Workflow {
    /// Namespace, name and version. Another behaviour needs another version.
    fn name(&self) -> (&str, &str, &str);

    /// Runs it. Errors come back with `?`.
    ///
    /// # Errors
    /// [`Stop`], from the context or made from a [`Fault`].
    fn run(&self, ctx: &mut Context<'_>, input: &Value) -> Result<Value, Stop>;
}

/// Why a workflow's code returned early.
#[derive(Debug)]
pub enum Stop {
    /// A step failed and the workflow did not handle it.
    Fault(Fault),
    /// An effect's outcome is unknown, and somebody must resolve it.
    Held(Box<EffectNeed>),
    /// The run cannot go on here.
    Error(Box<Error>),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(Box::new(error))
    }
}

impl From<aos_store::Error> for Stop {
    fn from(error: aos_store::Error) -> Stop {
        Stop::Error(Box::new(error.into()))
    }
}

impl From<ValueError> for Fault {
    fn from(error: ValueError) -> Fault {
        Fault::new(Code::InvalidInput, error.to_string())
    }
}

/// How a Rust workflow's run stands.
#[derive(Debug)]
pub struct Finished {
    /// The run.
    pub run: RunId,
    /// Newest history digest.
    pub digest: Digest,
    /// How it ended, or the effect it is held at.
    pub outcome: Result<Ended, Box<EffectNeed>>,
}

/// Runs Rust workflows on an engine's log.
#[derive(Debug)]
pub struct Runner<'a> {
    engine: &'a Engine,
    budget: Option<u64>,
}

/// What a workflow's code sees: everything it takes from outside goes through here and is recorded.
#[derive(Debug)]
pub struct Context<'a> {
    engine: &'a Engine,
    chain: Chain,
    records: Vec<StoredRecord>,
    /// Next record to be made again.
    at: usize,
    visits: BTreeMap<String, u64>,
    started_ns: i64,
    waited_ms: u64,
    steps: u64,
    ticket: Option<Ticket>,
    /// What is to be recorded where the run is held.
    resolution: Option<Resolution>,
    /// Whether a MARK says that the pending effect was begun again.
    reissued: bool,
    purse: Purse,
}

/// What a decision about an effect leads to.
enum Settled {
    /// This is its answer.
    Answer(Result<Value, Fault>),
    /// It may happen once more.
    Retry,
}

/// Gives a run back when its driver is done with it, however that ends.
struct Claim<'a>(&'a Engine, RunId);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.release(self.1);
    }
}

impl<'a> Runner<'a> {
    /// A runner on `engine`.
    pub fn new(engine: &'a Engine) -> Runner<'a> {
        Runner {
            engine,
            budget: None,
        }
    }

    /// The same, with units that the effects of a run may cost together. START records it: a run that is finished later is
    /// given the same.
    pub fn budget(self, units: u64) -> Runner<'a> {
        Runner {
            budget: Some(units),
            ..self
        }
    }

    /// Runs `workflow` under `key`, or finishes the run that a crash left open, or finds the one that ended.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the key was started with another input or seed; [`Error::Nondeterminism`] when the code does
    /// not make the recorded events again; [`Error::InProgress`] when another thread drives it; [`Error::Store`].
    pub fn run(
        &self,
        workflow: &dyn Workflow,
        key: &str,
        input: &Value,
        root: &RootSeed,
    ) -> Result<Finished, Error> {
        self.run_with(workflow, key, input, root, None)
    }

    /// Decides about the effect that the run is held at, and goes on with it. Where it is not held, nothing is decided.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub fn resolve(
        &self,
        workflow: &dyn Workflow,
        key: &str,
        input: &Value,
        root: &RootSeed,
        resolution: Resolution,
    ) -> Result<Finished, Error> {
        self.run_with(workflow, key, input, root, Some(resolution))
    }

    fn run_with(
        &self,
        workflow: &dyn Workflow,
        key: &str,
        input: &Value,
        root: &RootSeed,
        resolution: Option<Resolution>,
    ) -> Result<Finished, Error> {
        let (namespace, name, version) = workflow.name();
        let run = RunId::derive(namespace, name, key, 0);
        if self.engine.claim_run(run, Digest::ZERO) != Claimed::Now {
            return Err(Error::InProgress { run });
        }
        let _claim = Claim(self.engine, run);
        let log = self.engine.log();
        let records = log.stream(stream(run), 1)?;
        if let Some(offset) = history::gap(&records) {
            return Err(Error::Gap { run, offset });
        }
        self.engine
            .record_rust_definition(namespace, name, version)?;
        self.engine.record_root_seed(root)?;
        let started_ns = match records.first() {
            Some(start) => start.view()?.wall_ns(),
            None => Clock::wall_ns(),
        };
        let mut ctx = Context {
            engine: self.engine,
            chain: Chain::new(run, root.run_seed(run)),
            records,
            at: 0,
            visits: BTreeMap::new(),
            started_ns,
            waited_ms: 0,
            steps: 0,
            ticket: None,
            resolution,
            reissued: false,
            purse: Purse {
                budget: self.budget,
                spent: 0,
            },
        };
        ctx.start(workflow, key, input, root)?;
        let outcome = match workflow.run(&mut ctx, input) {
            Ok(output) => Ok(ctx.end(Ok(output))?),
            Err(Stop::Fault(fault)) => Ok(ctx.end(Err(fault))?),
            Err(Stop::Held(need)) => Err(need),
            Err(Stop::Error(error)) => return Err(*error),
        };
        if let Some(extra) = ctx.records[ctx.at..]
            .iter()
            .find(|r| r.kind().is_some_and(Kind::advances))
        {
            return Err(ctx.differs(extra.offset(), "the code ended, but its record goes on"));
        }
        if let Some(ticket) = ctx.ticket {
            log.wait(ticket)?;
        }
        Ok(Finished {
            run,
            digest: ctx.chain.head(),
            outcome,
        })
    }
}

impl Context<'_> {
    /// One step: a pure function of what it captures and of a random stream of its own. On re-execution its recorded output
    /// is returned and `work` does not run.
    ///
    /// # Errors
    /// [`Stop::Fault`] with what `work` failed with, now or when it ran first; [`Stop::Error`].
    pub fn step(
        &mut self,
        name: &str,
        input: &Value,
        work: impl FnOnce(&mut Stream) -> Result<Value, Fault>,
    ) -> Result<Value, Stop> {
        let activation = self.activation(name);
        let recorded = self.recorded(Kind::Step)?;
        let mut random = self.chain.seed().stream(&activation, "step");
        let (result, draws, words) = match recorded {
            Some((record, Event::Step(step))) => {
                let field = if step.outcome == "completed" {
                    "output"
                } else {
                    "error"
                };
                let value = self.value(record, Kind::Step, field)?;
                let result = if step.outcome == "completed" {
                    Ok(value)
                } else {
                    Err(self.fault(record, &value)?)
                };
                (result, step.draws, step.words)
            }
            _ => {
                let result = work(&mut random)
                    .and_then(|output| self.fits(input.canonical().len(), output))
                    .map_err(|fault| fault.at(&activation));
                (result, random.draws(), random.words())
            }
        };
        self.steps += 1;
        let mut naming = self.chain.naming(Kind::Step);
        let input = self.chain.name(
            &mut naming,
            slot(Kind::Step, "input"),
            &Datum::fresh(input.clone()),
        );
        let datum = Datum::fresh(match &result {
            Ok(output) => output.clone(),
            Err(fault) => fault.problem(),
        });
        let field = if result.is_ok() { "output" } else { "error" };
        let named = Some(
            self.chain
                .name(&mut naming, slot(Kind::Step, field), &datum),
        );
        let event = Event::Step(Step {
            activation,
            attempt: 1,
            outcome: if result.is_ok() {
                "completed"
            } else {
                "faulted"
            }
            .into(),
            input: Some(input),
            output: named.filter(|_| result.is_ok()),
            context: None,
            error: named.filter(|_| result.is_err()),
            next: String::new(),
            draws,
            words,
            reads: Vec::new(),
        });
        let emission = self.chain.emit(naming, &event, Vec::new());
        self.put(emission)?;
        result.map_err(Stop::Fault)
    }

    /// Calls an effect skill: INTENT, durable; then the effect, once; then RESULT.
    ///
    /// # Errors
    /// [`Stop::Fault`] with what the effect failed with; [`Stop::Held`] when a crash left its outcome unknown and its policy
    /// is to hold; [`Stop::Error`].
    pub fn call(&mut self, name: &str, skill: &str, arguments: &Value) -> Result<Value, Stop> {
        let activation = self.activation(name);
        let Some(Skill::Effect(effect)) = self.engine.skills().find(skill).cloned() else {
            return Err(Fault::new(
                Code::InvalidInput,
                format!("no effect named {skill} is registered"),
            )
            .at(&activation)
            .into());
        };
        self.engine.skills().check_input(skill, arguments)?;
        let request = effect.request(arguments)?;
        if let Some(fault) = self.over_budget(&activation, skill, &request)? {
            return Err(fault.into());
        }
        let idempotency = Digest::labelled(
            "aos.idempotency.v1",
            &[&self.chain.run().0, activation.as_bytes()],
        );
        let need = EffectNeed {
            activation: activation.clone(),
            skill: skill.into(),
            policy: effect.policy(&request),
            request,
            idempotency,
        };
        let was_recorded = self.recorded(Kind::Intent)?.is_some();
        let wire_key = format!(
            "{}@{}",
            idempotency.hex(),
            self.engine.log().identity().log_id
        );
        let mut naming = self.chain.naming(Kind::Intent);
        let named = self.chain.name(
            &mut naming,
            slot(Kind::Intent, "request"),
            &Datum::fresh(need.request.clone()),
        );
        let event = Event::Intent(Intent {
            activation: activation.clone(),
            attempt: 1,
            effect: skill.into(),
            request: Some(named),
            idempotency: Some(idempotency),
            policy: need.policy.name().into(),
            duration_ms: None,
            authorised: Vec::new(),
        });
        let volatile = vec![Volatile {
            tag: VOLATILE_WIRE_KEY,
            bytes: wire_key.clone().into_bytes(),
        }];
        let emission = self.chain.emit(naming, &event, volatile);
        self.put(emission)?;
        let decided_retry = match self.recorded_decisions(&activation)? {
            Some(Settled::Answer(answer)) => return self.settled(&need, answer),
            Some(Settled::Retry) => true,
            None => false,
        };
        if let Some((record, Event::Result(result))) = self.recorded(Kind::Result)? {
            let ok = result.outcome == "ok";
            let value = self.value(record, Kind::Result, if ok { "response" } else { "error" })?;
            let answer = if ok {
                Ok(value)
            } else {
                Err(self.fault(record, &value)?)
            };
            return self.put_result(&need, answer);
        }
        if let Some(record) = self.records.get(self.at) {
            return Err(self
                .differs(
                    record.offset(),
                    "the code waits for an effect's answer here",
                )
                .into());
        }
        let unknown = was_recorded && (!decided_retry || self.reissued);
        if unknown && need.policy == Policy::Hold {
            let Some(resolution) = self.resolution.take() else {
                return Err(Stop::Held(Box::new(need)));
            };
            if let Settled::Answer(answer) = self.decide(&activation, resolution)? {
                return self.settled(&need, answer);
            }
        }
        if was_recorded {
            let mark = Event::Mark(Mark {
                what: "reissue".into(),
                activation: activation.clone(),
            });
            let naming = self.chain.naming(Kind::Mark);
            let emission = self.chain.emit(naming, &mark, Vec::new());
            self.put(emission)?;
        }
        if let Some(ticket) = self.ticket.clone() {
            self.engine.log().wait(ticket)?;
        }
        let skills = self.engine.skills();
        let answer = skills.perform(
            skill,
            &need.request,
            &AtHand::alone(&wire_key).on(self.engine.resources()),
        );
        self.put_result(&need, answer)
    }

    /// Somebody decided what the effect answered: an answer is charged like one that came by itself.
    fn settled(&mut self, need: &EffectNeed, answer: Result<Value, Fault>) -> Result<Value, Stop> {
        if let Ok(value) = &answer {
            self.charge(&need.skill, &need.request, Ok(value));
        }
        answer.map_err(Stop::Fault)
    }

    /// The decisions on record about the effect at `activation`, made again.
    fn recorded_decisions(&mut self, activation: &str) -> Result<Option<Settled>, Error> {
        self.reissued = false;
        let mut settled = None;
        while let Some((record, Event::Decision(decision))) = self.recorded(Kind::Decision)? {
            let verdict = match decision.verdict.as_str() {
                "result" => Verdict::Result(self.value(record, Kind::Decision, "value")?),
                "failed" => Verdict::Failed,
                _ => Verdict::Retry,
            };
            let actor = decision.actor;
            let made = self.decide(activation, Resolution { verdict, actor })?;
            let ends = matches!(made, Settled::Answer(_));
            settled = Some(made);
            if ends {
                break;
            }
            self.reissued = false;
        }
        Ok(settled)
    }

    fn decide(&mut self, activation: &str, resolution: Resolution) -> Result<Settled, Error> {
        let mut naming = self.chain.naming(Kind::Decision);
        let verdict = resolution.verdict.name().to_owned();
        let (value, settled) = match resolution.verdict {
            Verdict::Retry => (None, Settled::Retry),
            Verdict::Failed => {
                let why = "the effect's outcome was unknown and was resolved as failed";
                let fault = Fault::new(Code::UnknownOutcome, why).at(activation);
                (None, Settled::Answer(Err(fault)))
            }
            Verdict::Result(answer) => {
                let datum = Datum::fresh(answer.clone());
                let name = self
                    .chain
                    .name(&mut naming, slot(Kind::Decision, "value"), &datum);
                (Some(name), Settled::Answer(Ok(answer)))
            }
        };
        let event = Event::Decision(Decision {
            activation: activation.into(),
            subject: "unknown-outcome".into(),
            rule: "resolve".into(),
            rule_version: 1,
            inputs: None,
            verdict,
            value,
            actor: resolution.actor,
            key_id: String::new(),
        });
        let emission = self.chain.emit(naming, &event, Vec::new());
        self.put(emission)?;
        Ok(settled)
    }

    /// `value`, unless it does not fit into one record beside `beside` bytes.
    fn fits(&self, beside: usize, value: Value) -> Result<Value, Fault> {
        let limit = crate::machine::value_limit(self.engine.log().identity().stride);
        let len = beside + value.canonical().len();
        if len as u64 > limit {
            let why = format!(
                "values of {len} bytes exceed the {limit} that one record of this log takes"
            );
            return Err(Fault::new(Code::BudgetExceeded, why));
        }
        Ok(value)
    }

    fn put_result(
        &mut self,
        need: &EffectNeed,
        answer: Result<Value, Fault>,
    ) -> Result<Value, Stop> {
        let activation = need.activation.clone();
        let answer = answer
            .and_then(|value| self.fits(0, value))
            .map_err(|fault| fault.at(&activation));
        let cost = self.charge(&need.skill, &need.request, answer.as_ref());
        let mut naming = self.chain.naming(Kind::Result);
        let (datum, field) = match &answer {
            Ok(value) => (Datum::fresh(value.clone()), "response"),
            Err(fault) => (Datum::fresh(fault.problem()), "error"),
        };
        let named = Some(
            self.chain
                .name(&mut naming, slot(Kind::Result, field), &datum),
        );
        let event = Event::Result(EffectResult {
            activation,
            attempt: 1,
            outcome: if answer.is_ok() { "ok" } else { "error" }.into(),
            response: named.filter(|_| answer.is_ok()),
            error: named.filter(|_| answer.is_err()),
            cost: (cost > 0).then_some(cost),
        });
        let emission = self.chain.emit(naming, &event, Vec::new());
        self.put(emission)?;
        answer.map_err(Stop::Fault)
    }

    /// Waits; a virtual clock jumps ahead instead. After a crash only what is left is waited for.
    ///
    /// # Errors
    /// [`Stop::Error`].
    pub fn sleep(&mut self, name: &str, duration: Duration) -> Result<(), Stop> {
        let activation = self.activation(name);
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let due_on_record = match self.recorded(Kind::Intent)? {
            Some((record, _)) => self.records[record]
                .view()?
                .volatile_tag(VOLATILE_DUE)
                .and_then(|b| b.try_into().ok()),
            None => None,
        };
        let due_ns = due_on_record.map_or_else(
            || {
                Clock::wall_ns()
                    .saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
            },
            i64::from_le_bytes,
        );
        let event = Event::Intent(Intent {
            activation,
            attempt: 1,
            effect: "timer".into(),
            request: None,
            idempotency: None,
            policy: "retry".into(),
            duration_ms: Some(duration_ms),
            authorised: Vec::new(),
        });
        let volatile = vec![Volatile {
            tag: VOLATILE_DUE,
            bytes: due_ns.to_le_bytes().to_vec(),
        }];
        let naming = self.chain.naming(Kind::Intent);
        let emission = self.chain.emit(naming, &event, volatile);
        self.put(emission)?;
        // What follows on record shows that the timer fired.
        while self.at == self.records.len() {
            let left = self.engine.clock().until(due_ns);
            if left.is_zero() {
                break;
            }
            std::thread::park_timeout(left);
        }
        self.waited_ms = self.waited_ms.saturating_add(duration_ms);
        Ok(())
    }

    /// Reads the clock: nanoseconds since 1970, the same on every re-execution.
    ///
    /// # Errors
    /// [`Stop::Error`].
    pub fn now(&mut self, name: &str) -> Result<i64, Stop> {
        let activation = self.activation(name);
        let ns = match self.recorded(Kind::Time)? {
            Some((record, Event::Time(time))) => time.time_ns.parse().map_err(|_| {
                self.differs(self.records[record].offset(), "its time is no number")
            })?,
            _ => self.engine.clock().read(self.started_ns, self.waited_ms),
        };
        let event = Event::Time(Time {
            activation,
            subject: Subject::Now.name().into(),
            time_ns: ns.to_string(),
        });
        let naming = self.chain.naming(Kind::Time);
        let emission = self.chain.emit(naming, &event, Vec::new());
        self.put(emission)?;
        Ok(ns)
    }

    /// A random stream of its own for code between steps.
    pub fn random(&mut self, name: &str) -> Stream {
        let activation = self.activation(name);
        self.chain.seed().stream(&activation, "context")
    }

    fn start(
        &mut self,
        workflow: &dyn Workflow,
        key: &str,
        input: &Value,
        root: &RootSeed,
    ) -> Result<(), Error> {
        let (namespace, name, version) = workflow.name();
        let mut naming = self.chain.naming(Kind::Start);
        let named = self.chain.name(
            &mut naming,
            slot(Kind::Start, "input"),
            &Datum::fresh(input.clone()),
        );
        let event = Event::Start(Start {
            semantics: SEMANTICS,
            behaviour: self.purse.budget.map(budget_flag).into_iter().collect(),
            namespace: namespace.into(),
            name: name.into(),
            version: version.into(),
            definition: rust_definition_digest(namespace, name, version),
            // Its version speaks for the skills it calls: which, nobody knows before it ran.
            skills: Vec::new(),
            config: None,
            policy: None,
            input: Some(named),
            seed_commitment: self.chain.seed().commitment(),
            rng: RNG_SCHEME.into(),
            parent: None,
            continued_from: None,
            steps_max: STEPS_MAX,
            deadline_ms: None,
        });
        if let Some((record, Event::Start(recorded))) = self.recorded(Kind::Start)? {
            self.check_start(record, &recorded, &event, key, input)?;
        }
        let volatile = vec![
            Volatile {
                tag: VOLATILE_KEY,
                bytes: key.as_bytes().to_vec(),
            },
            Volatile {
                tag: VOLATILE_GENERATION,
                bytes: 0u64.to_le_bytes().to_vec(),
            },
            Volatile {
                tag: VOLATILE_ROOT_SEED,
                bytes: root.commitment().0.to_vec(),
            },
        ];
        let emission = self.chain.emit(naming, &event, volatile);
        self.put(emission)
    }

    /// The same key with something else is a conflict, not a divergence.
    fn check_start(
        &self,
        record: usize,
        recorded: &Start,
        now: &Event,
        key: &str,
        input: &Value,
    ) -> Result<(), Error> {
        let Event::Start(now) = now else {
            return Ok(());
        };
        let mut differs = Vec::new();
        if recorded.definition != now.definition {
            differs.push("workflow");
        }
        if recorded.seed_commitment != now.seed_commitment {
            differs.push("seed");
        }
        if self.value(record, Kind::Start, "input")? != *input {
            differs.push("input");
        }
        if recorded.behaviour != now.behaviour {
            differs.push("budget");
        }
        if differs.is_empty() {
            return Ok(());
        }
        let offset = self.records[record].offset();
        Err(Error::Conflict {
            key: key.into(),
            run: self.chain.run(),
            offset,
            differs: differs.join(" and "),
        })
    }

    fn end(&mut self, result: Result<Value, Fault>) -> Result<Ended, Error> {
        self.pass_notes();
        let result = result.and_then(|output| self.fits(0, output));
        let mut naming = self.chain.naming(Kind::End);
        let (field, value) = match &result {
            Ok(output) => ("output", output.clone()),
            Err(fault) => ("error", fault.problem()),
        };
        let named = Some(self.chain.name(
            &mut naming,
            slot(Kind::End, field),
            &Datum::fresh(value.clone()),
        ));
        let event = Event::End(End {
            outcome: if result.is_ok() {
                "completed"
            } else {
                "faulted"
            }
            .into(),
            output: named.filter(|_| result.is_ok()),
            error: named.filter(|_| result.is_err()),
            steps: self.steps,
        });
        let emission = self.chain.emit(naming, &event, Vec::new());
        self.put(emission)?;
        Ok(if result.is_ok() {
            Ended::Completed(value)
        } else {
            Ended::Faulted(value)
        })
    }

    /// The recorded event that the next one must equal, if it is of `kind`.
    fn recorded(&mut self, kind: Kind) -> Result<Option<(usize, Event)>, Error> {
        self.pass_notes();
        match self.records.get(self.at) {
            Some(record) if record.kind() == Some(kind) => {
                let event = history::read_event(record).map_err(|source| Error::History {
                    run: self.chain.run(),
                    source,
                })?;
                Ok(Some((self.at, event)))
            }
            _ => Ok(None),
        }
    }

    fn pass_notes(&mut self) {
        while let Some(record) = self.records.get(self.at) {
            if record.kind().is_some_and(Kind::advances) {
                break;
            }
            if let Ok(Event::Mark(mark)) = history::read_event(record) {
                self.reissued |= mark.what == "reissue";
            }
            self.chain.skip_record();
            self.at += 1;
        }
    }

    /// Compares with the record, or appends where it has ended.
    fn put(&mut self, mut emission: Emission) -> Result<(), Error> {
        if let Some(record) = self.records.get(self.at) {
            let same = record.kind() == Some(emission.kind)
                && record.view()?.det() == emission.draft.det.as_slice();
            if !same {
                return Err(self.differs(
                    record.offset(),
                    "the code made another event than the one on record",
                ));
            }
            self.at += 1;
            return Ok(());
        }
        let limit = self.engine.log().identity().stride.record_limit();
        let len = emission.draft.value_bytes();
        if len > crate::machine::value_limit(self.engine.log().identity().stride) {
            return Err(Error::TooLarge {
                run: self.chain.run(),
                step: emission.kind.name().into(),
                len,
                limit,
            });
        }
        emission.draft.wall_ns = Clock::wall_ns();
        let append = Append {
            draft: emission.draft,
            kind: emission.kind,
            seq: emission.seq,
        };
        self.ticket = Some(self.engine.log().append_batch(vec![append])?);
        Ok(())
    }

    /// `/NAME`, with its visit where a name comes again.
    fn activation(&mut self, name: &str) -> String {
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let visit = self.visits.entry(pointer.clone()).or_default();
        *visit += 1;
        if *visit == 1 && !pointer.contains(';') {
            pointer
        } else {
            format!("{pointer};{visit}")
        }
    }

    fn value(&self, record: usize, kind: Kind, field: &'static str) -> Result<Value, Error> {
        let values = LogValues(self.engine.log());
        let values: &dyn Values = &values;
        history::recorded_value(values, &self.records[record], kind, field).map_err(|source| {
            Error::History {
                run: self.chain.run(),
                source,
            }
        })
    }

    fn fault(&self, record: usize, problem: &Value) -> Result<Fault, Error> {
        Fault::from_problem(problem).ok_or_else(|| {
            self.differs(
                self.records[record].offset(),
                "its error is no problem details",
            )
        })
    }

    fn differs(&self, offset: Offset, why: &str) -> Error {
        Error::Nondeterminism {
            run: self.chain.run(),
            offset,
            why: why.into(),
        }
    }
}

/// Digest under which a Rust workflow is bound: of its names, since its code cannot be recorded.
pub(crate) fn rust_definition_digest(namespace: &str, name: &str, version: &str) -> Digest {
    Digest::labelled(
        "aos.definition.rust.v1",
        &[namespace.as_bytes(), name.as_bytes(), version.as_bytes()],
    )
}

/// The DEFINITION of a Rust workflow.
pub(crate) fn rust_definition(namespace: &str, name: &str, version: &str) -> Definition {
    Definition {
        digest: rust_definition_digest(namespace, name, version),
        namespace: namespace.into(),
        name: name.into(),
        version: version.into(),
        media: "rust".into(),
        source: None,
    }
}

fn slot(kind: Kind, field: &str) -> u8 {
    slot_of(kind, field).expect("the kind's table has this slot")
}
