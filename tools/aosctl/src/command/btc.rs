//! `aosctl demo btc`: a plan of three skills, judged, run against servers of its own, and replayed without them.

use crate::args::Demo;
use crate::command::demo::{directory, wrong};
use crate::command::{query, replay};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::logs;
use crate::output::{Cell, Object, Output};
use aos_engine::clock::Clock;
use aos_engine::engine::{Begun, OnConflict, Request};
use aos_engine::machine::Ended;
use aos_engine::mock::{Asked, Reply, Server};
use aos_engine::outcome::{StepOutcome, outcomes};
use aos_engine::plan::{Forecast, Limits, Past, simulate};
use aos_engine::run::Turn;
use aos_engine::seed::RootSeed;
use aos_engine::skill::Skills;
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_format::digest::Digest;
use aos_format::record::StreamId;
use aos_replay::{Options, Verdict};
use base64::Engine as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BUDGET: u64 = 100;
const SEED: u64 = 7;
const PRICE: &str = r#"{"bitcoin":{"usd":67187.34}}"#;

/// The plan as it would stand for the real services.
const PLAN: &str = r#"[{"skill": "http_call", "params": {"url": "https://api.coingecko.com/api/v3/simple/price?ids=bitcoin&vs_currencies=usd"}}, {"skill": "json_transform", "params": {"query": ".bitcoin.usd"}}, {"skill": "webhook_send", "params": {"url": "https://hooks.slack.com/services/T0/B0/x"}}]"#;

struct Story {
    dir: PathBuf,
    quiet: bool,
}

/// Judges the plan, runs it on servers of its own, replays it without them.
///
/// # Errors
/// [`failure::DEMO`] when something is not as it should be.
pub fn btc(args: &Demo, out: &mut Output) -> Result<Exit, Failure> {
    let (dir, _removed_when_dropped) = directory(args)?;
    let story = Story {
        dir,
        quiet: out
            .asked()
            .is_some_and(|form| form != crate::args::Form::Table),
    };
    let forecast = story.judge(out)?;
    let ran = story.run(out)?;
    let digest = story.replay(out, &ran)?;
    let past = story.compare(out, &ran)?;
    if story.quiet {
        out.object(
            &Object::new()
                .with("schema", "aos.demo.btc.v1")
                .with(
                    "verdict",
                    if forecast.feasible() {
                        "FEASIBLE"
                    } else {
                        "NOT FEASIBLE"
                    },
                )
                .with("cost_expected", forecast.cost.expected)
                .with(
                    "cost",
                    ran.outcomes.iter().map(|outcome| outcome.cost).sum::<u64>(),
                )
                .with("latency_ms_expected", forecast.latency_ms.expected)
                .with("latency_ms_from_past", past.latency_ms.expected)
                .with("delivered", Cell::Json(ran.delivered.clone()))
                .with(
                    "outcomes",
                    ran.outcomes.iter().map(query::outcome).collect::<Vec<_>>(),
                )
                .with("digest", digest.hex())
                .with("replay", "match"),
        )?;
    }
    Ok(Exit::Yes)
}

/// What came of the run.
struct Ran {
    definition: Definition,
    outcomes: Vec<StepOutcome>,
    delivered: String,
    digest: Digest,
    secret: String,
}

impl Story {
    fn log(&self) -> PathBuf {
        self.dir.join("btc.aos")
    }

    fn say(&self, out: &mut Output, text: &str) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        out.line(text)?;
        out.flush()
    }

    fn judge(&self, out: &mut Output) -> Result<Forecast, Failure> {
        self.say(out, "1. Judge the plan; nothing is executed")?;
        self.say(
            out,
            &format!("   $ aosctl simulate --plan '{PLAN}' --budget {BUDGET}"),
        )?;
        let plan = load(PLAN)?;
        let limits = Limits {
            budget: Some(BUDGET),
            ..Limits::default()
        };
        let forecast = simulate(&plan, &Skills::builtin(), &limits, &Past::none());
        check(forecast.feasible(), "the plan is not feasible")?;
        self.say(
            out,
            &format!(
                "   FEASIBLE: cost {} of {BUDGET}, latency {} ms, at most {} ms",
                forecast.cost.expected, forecast.latency_ms.expected, forecast.latency_ms.most
            ),
        )?;
        for risk in forecast
            .risks
            .iter()
            .filter(|risk| risk.code.name() == "TIMEOUT")
        {
            let text = format!(
                "   risk {} ({}) in {}",
                risk.code.name(),
                risk.code.class().name(),
                risk.steps.join(" and ")
            );
            self.say(out, &text)?;
        }
        Ok(forecast)
    }

    fn run(&self, out: &mut Output) -> Result<Ran, Failure> {
        self.say(out, "")?;
        self.say(
            out,
            "2. Run it, with local servers in place of the two services",
        )?;
        let prices =
            start(
                |asked: &Asked| match asked.target.starts_with("/api/v3/simple/price") {
                    true => Reply::json(200, PRICE),
                    false => Reply::json(404, "{}"),
                },
            )?;
        let hooks = start(|_: &Asked| Reply::json(200, "{}"))?;
        let key = host::random::<24>()?;
        let secret = format!(
            "whsec_{}",
            base64::engine::general_purpose::STANDARD.encode(key)
        );
        let file = self.dir.join("hook.secret");
        fs::write(&file, &secret).map_err(|error| failure::file("write", &file, &error))?;
        let signed = format!(
            r#"{}/services/T0/B0/x", "secret": {{"file": {}}}"#,
            hooks.base(),
            Value::from_text(&file.display().to_string())
                .map_err(|error| wrong(error.to_string()))?
                .as_str()
        );
        let plan = PLAN
            .replace("https://api.coingecko.com", &prices.base())
            .replace("https://hooks.slack.com/services/T0/B0/x\"", &signed);
        let definition = load(&plan)?;
        let (outcomes, digest) = self.drive(&definition)?;
        for outcome in &outcomes {
            let text = format!(
                "   {}  {}  cost {}  {} ms  {}",
                outcome.activation,
                outcome.status.name(),
                outcome.cost,
                outcome.latency_ms,
                outcome.output.as_ref().map_or("", Value::as_str)
            );
            self.say(out, &text)?;
        }
        let (asked, told) = (prices.seen(), hooks.seen());
        check(
            asked.len() == 1 && told.len() == 1,
            "the servers were not asked once each",
        )?;
        let delivered = String::from_utf8_lossy(&told[0].body).into_owned();
        let signature = told[0].header("webhook-signature").unwrap_or_default();
        check(signature.starts_with("v1,"), "the message was not signed")?;
        self.say(
            out,
            &format!(
                "   delivered {delivered}, webhook-signature {}…",
                &signature[..12.min(signature.len())]
            ),
        )?;
        Ok(Ran {
            definition,
            outcomes,
            delivered,
            digest,
            secret,
        })
    }

    fn drive(&self, definition: &Definition) -> Result<(Vec<StepOutcome>, Digest), Failure> {
        let path = self.log();
        let log = logs::writer(&path, Some(None))?;
        let engine = logs::engine(&path, log, Clock::default())?;
        let request = Request {
            definition: Arc::new(definition.clone()),
            key: Some("btc".into()),
            input: Value::null(),
            root: RootSeed::from_number(SEED),
            on_conflict: OnConflict::Refuse,
            budget: Some(BUDGET),
        };
        let bad = failure::engine(&path);
        let Begun::Run(mut run) = engine.start(&request).map_err(&bad)? else {
            return Err(wrong("the run was there before"));
        };
        let turn = engine.drive(&mut run).map_err(&bad)?;
        check(
            matches!(turn, Turn::Ended(Ended::Completed(_))),
            "the run did not complete",
        )?;
        let (id, digest) = (run.id(), run.digest());
        drop(run);
        logs::close(&path, engine)?;
        let reader = logs::reader(&path)?;
        let records = aos_store::Source::stream(&reader, StreamId::run(id), 1)
            .map_err(failure::store(&path))?;
        let outcomes = outcomes(&records, &logs::Stored(&reader))
            .map_err(|source| bad(aos_engine::Error::History { run: id, source }))?;
        Ok((outcomes, digest))
    }

    /// The servers are gone by now: whoever asked them would fail.
    fn replay(&self, out: &mut Output, ran: &Ran) -> Result<Digest, Failure> {
        self.say(out, "")?;
        self.say(out, "3. Replay it; the servers are gone")?;
        let path = self.log();
        let options = Options {
            workers: host::cores(),
            ..Options::default()
        };
        let report = replay::report(&path, &logs::reader(&path)?, &options)?;
        check(
            report.verdict == Verdict::Match,
            format!("the verdict is {}", report.verdict.name()),
        )?;
        let found = occurrences(&path, ran.secret.as_bytes())?;
        check(found == 0, "the secret stands in the log")?;
        self.say(
            out,
            &format!("   $ aosctl replay {}", failure::argument(&path)),
        )?;
        self.say(
            out,
            &format!("   {}: digest {}", report.verdict.name(), report.digest),
        )?;
        self.say(out, &format!("   history digest of the run {}", ran.digest))?;
        self.say(
            out,
            "   the secret that signed the message stands nowhere in the log",
        )?;
        Ok(ran.digest)
    }

    /// The plan once more, by what happened.
    fn compare(&self, out: &mut Output, ran: &Ran) -> Result<Forecast, Failure> {
        let path = self.log();
        let reader = logs::reader(&path)?;
        let past = Past::read(&reader, &logs::Stored(&reader)).map_err(failure::engine(&path))?;
        let forecast = simulate(
            &ran.definition,
            &Skills::builtin(),
            &Limits::default(),
            &past,
        );
        self.say(out, "")?;
        self.say(out, "4. Judge it again, by the run in the log")?;
        self.say(
            out,
            &format!(
                "   cost {}, latency {} ms, {} run",
                forecast.cost.expected, forecast.latency_ms.expected, forecast.runs
            ),
        )?;
        Ok(forecast)
    }
}

fn load(plan: &str) -> Result<Definition, Failure> {
    Definition::load(plan.as_bytes()).map_err(failure::document(Path::new("--plan")))
}

fn check(holds: bool, message: impl Into<String>) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(wrong(message)) }
}

fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Result<Server, Failure> {
    Server::start(handler)
        .map_err(|error| failure::file("listen on", Path::new("127.0.0.1"), &error))
}

/// How often `wanted` stands in the segments of a log.
fn occurrences(log: &Path, wanted: &[u8]) -> Result<usize, Failure> {
    let dir = log.join("segments");
    let bad = |error: std::io::Error| failure::file("read", &dir, &error);
    let mut found = 0;
    for entry in fs::read_dir(&dir).map_err(bad)? {
        let bytes = fs::read(entry.map_err(bad)?.path()).map_err(bad)?;
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        found += bytes[..used]
            .windows(wanted.len())
            .filter(|window| window == &wanted)
            .count();
    }
    Ok(found)
}
