//! Budgets: what effects cost is on record, and what would cost too much is refused before it happens.

use crate::support::*;
use aos_disk::sim::SimDisk;
use aos_engine::Error;
use aos_engine::context::{Context, Finished, Runner, Stop, Workflow};
use aos_engine::engine::{Begun, Engine, Request};
use aos_engine::fault::{Code, Fault};
use aos_engine::history;
use aos_engine::machine::{Answer, Ended, Given, Waiting};
use aos_engine::run::{Run, Turn};
use aos_engine::skill::{About, AtHand, Effect, Policy, Rate, Skill, Skills};
use aos_engine::value::{Value, member};
use aos_format::digest::{Digest, RunId};
use aos_format::event::Event;
use aos_format::record::StreamId;
use aos_store::Log;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Costs at most 10 a call, and what its argument `n` says when it answers; `n` above 10 fails.
struct Dear(Arc<AtomicU64>);

fn n(value: &Value) -> u64 {
    member(value.val(), "n")
        .and_then(|n| n.to_string().parse().ok())
        .unwrap_or_default()
}

impl Effect for Dear {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }
    fn policy(&self, _: &Value) -> Policy {
        Policy::Retry
    }
    fn perform(&self, request: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
        self.0.fetch_add(1, Ordering::SeqCst);
        match n(request) {
            11.. => Err(Fault::new(Code::Http500, "no")),
            _ => Ok(request.clone()),
        }
    }
    fn about(&self) -> About {
        About {
            cost: 10,
            ..About::effect().schemas(
                r#"{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}"#,
                r#"{"properties": {"n": {"not": {"const": 7}}}}"#,
            )
        }
    }
    fn cost(&self, _: &Value, answer: &Value) -> Option<u64> {
        Some(n(answer))
    }
}

fn skills() -> (Skills, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let mut skills = Skills::builtin();
    skills.add("dear", "1", Skill::effect(Dear(calls.clone())));
    (skills, calls)
}

const THREE: &str = "
  - first: { call: dear, with: { n: 4 } }
  - second: { call: dear, with: { n: 6 } }
  - third: { call: dear, with: { n: 1 } }
";

fn with_budget(tasks: &str, budget: Option<u64>) -> Request {
    Request {
        budget,
        ..request(&definition(tasks), "k", "{}", 7)
    }
}

/// Which of several effects under way answers.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Order {
    First,
    Last,
}

/// One turn; performs one effect that is waited for. How the run ended, when it did.
fn answer_one(engine: &Engine, run: &mut Run, order: Order) -> Option<Ended> {
    let pending = match run.turn().unwrap() {
        Turn::Again => return None,
        Turn::Ended(ended) => return Some(ended),
        Turn::Waits(pending) => pending,
        turn => panic!("{turn:?}"),
    };
    let wait = match order {
        Order::First => pending.first(),
        Order::Last => pending.last(),
    };
    let wait = &wait.unwrap().wait;
    let Waiting::Effect(need) = &wait.what else {
        panic!("{wait:?}")
    };
    // An effect waits for its INTENT.
    engine.log().flush().unwrap();
    let skills = engine.skills();
    let answer = skills.perform(
        "dear",
        &need.request,
        &AtHand::alone("k@l").on(engine.resources()),
    );
    run.answer(Given::to(wait, Answer::Effect(answer)));
    None
}

/// The RESULT costs and DECISION verdicts of a run, in order.
fn costs_and_verdicts(log: &Log, run: RunId) -> (Vec<Option<u64>>, Vec<(String, String)>) {
    let (mut costs, mut verdicts) = (Vec::new(), Vec::new());
    for record in log.stream(StreamId::run(run), 1).unwrap() {
        match history::read_event(&record).unwrap() {
            Event::Result(result) => costs.push(result.cost),
            Event::Decision(decision) => verdicts.push((decision.subject, decision.verdict)),
            _ => {}
        }
    }
    (costs, verdicts)
}

fn code(ended: &Ended) -> String {
    let Ended::Faulted(problem) = ended else {
        panic!("{ended:?}")
    };
    let code = member(problem.val(), "code").unwrap();
    aos_engine::value::as_text(code).unwrap().to_owned()
}

#[test]
fn what_would_exceed_the_budget_is_refused_before_it_happens() {
    let disk = SimDisk::with_seed(1);
    let (skills, calls) = skills();
    let engine = engine_with(&disk, skills);
    // 4 and 6 are spent; the third may cost 10, of which 19 - 10 are left.
    let (run, digest, ended) = finish(&engine, &with_budget(THREE, Some(19)));
    assert_eq!(code(&ended), "BUDGET_EXCEEDED");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    let (costs, verdicts) = costs_and_verdicts(engine.log(), run);
    assert_eq!(costs, [Some(4), Some(6)]);
    assert_eq!(verdicts, [("budget".to_owned(), "refused".to_owned())]);
    let again = finish(&engine, &with_budget(THREE, Some(19)));
    assert_eq!((again.1, calls.load(Ordering::SeqCst)), (digest, 2));
}

#[test]
fn a_budget_that_suffices_and_none_at_all_refuse_nothing() {
    for budget in [Some(20), None] {
        let disk = SimDisk::with_seed(1);
        let engine = engine_with(&disk, skills().0);
        let (run, _, ended) = finish(&engine, &with_budget(THREE, budget));
        assert!(
            matches!(ended, Ended::Completed(_)),
            "{budget:?}: {ended:?}"
        );
        let (costs, verdicts) = costs_and_verdicts(engine.log(), run);
        assert_eq!(costs, [Some(4), Some(6), Some(1)]);
        assert!(verdicts.is_empty());
    }
}

#[test]
fn a_failed_call_is_charged_as_estimated() {
    let disk = SimDisk::with_seed(1);
    let engine = engine_with(&disk, skills().0);
    let fails = "\n  - first: { call: dear, with: { n: 11 } }\n";
    let (run, ..) = finish(&engine, &with_budget(fails, None));
    assert_eq!(costs_and_verdicts(engine.log(), run).0, [Some(10)]);
}

#[test]
fn the_smaller_of_two_budgets_holds_and_another_budget_is_a_conflict() {
    let disk = SimDisk::with_seed(1);
    let engine = engine_with(&disk, skills().0);
    let text = format!(
        "document: {{dsl: '1.0.3', namespace: test, name: t, version: '1.0.0', metadata: {{aos: {{budget: 9}}}}}}\ndo:\n{THREE}"
    );
    let definition = Arc::new(aos_engine::workflow::Definition::load(text.as_bytes()).unwrap());
    let asked = |budget| Request {
        budget,
        ..request(&definition, "k", "{}", 7)
    };
    let (run, _, ended) = finish(&engine, &asked(Some(100)));
    assert_eq!(code(&ended), "BUDGET_EXCEEDED");
    let start = &engine.log().stream(StreamId::run(run), 1).unwrap()[0];
    let Event::Start(start) = history::read_event(start).unwrap() else {
        panic!()
    };
    assert_eq!(start.behaviour, ["budget=9"]);
    finish(&engine, &asked(None));
    match engine.start(&asked(Some(8))) {
        Err(Error::Conflict { differs, .. }) => assert_eq!(differs, "budget"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_spent_survives_a_crash_and_a_checkpoint() {
    for checkpoint_every in [1, 1000] {
        let disk = SimDisk::with_seed(3);
        let (skills, calls) = skills();
        let engine = engine_with(&disk, skills.clone()).checkpoint_every(checkpoint_every);
        let Begun::Run(mut run) = engine.start(&with_budget(THREE, Some(19))).unwrap() else {
            panic!()
        };
        // Until two calls were made; then everything but the disk is lost.
        while calls.load(Ordering::SeqCst) < 2 {
            answer_one(&engine, &mut run, Order::First);
        }
        run.turn().unwrap();
        engine.log().flush().unwrap();
        drop((run, engine));
        let engine = engine_with(&disk, skills);
        let (_, _, ended) = finish(&engine, &with_budget(THREE, Some(19)));
        assert_eq!(code(&ended), "BUDGET_EXCEEDED");
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn arguments_and_answers_are_checked_against_the_schemas_of_a_skill() {
    let disk = SimDisk::with_seed(1);
    let (skills, calls) = skills();
    let engine = engine_with(&disk, skills);
    for (tasks, key) in [
        ("\n  - first: { call: dear, with: { n: x } }\n", "a"),
        ("\n  - first: { call: dear, with: { } }\n", "b"),
    ] {
        let asked = request(&definition(tasks), key, "{}", 7);
        assert_eq!(code(&finish(&engine, &asked).2), "SCHEMA_ERROR");
        assert_eq!(calls.load(Ordering::SeqCst), 0, "nothing was called");
    }
    let seven = "\n  - first: { call: dear, with: { n: 7 } }\n";
    let asked = request(&definition(seven), "c", "{}", 7);
    let (run, _, ended) = finish(&engine, &asked);
    assert_eq!(code(&ended), "SCHEMA_ERROR");
    assert_eq!(
        costs_and_verdicts(engine.log(), run).0,
        [Some(10)],
        "it was called, and is charged"
    );
}

const BRANCHES: &str = "
  - both:
      fork:
        branches:
          - dear:
              try: [ { a: { call: dear, with: { n: 4 } } }, { b: { call: dear, with: { n: 6 } } } ]
              catch: { as: e, do: [ { no: { set: '${ $e.detail }' } } ] }
          - cheap: { do: [ { c: { call: dear, with: { n: 1 } } }, { d: { call: dear, with: { n: 1 } } }, { e: { call: dear, with: { n: 1 } } } ] }
  - after: { if: '${ .[1].n == 1 }', call: dear, with: { n: 2 } }
";

/// Runs with a budget; whichever effect answers first.
fn in_order(tasks: &str, budget: u64, order: Order) -> (Ended, Digest, Vec<(String, String)>) {
    let disk = SimDisk::with_seed(1);
    let engine = engine_with(&disk, skills().0);
    let Begun::Run(mut run) = engine.start(&with_budget(tasks, Some(budget))).unwrap() else {
        panic!()
    };
    loop {
        if let Some(ended) = answer_one(&engine, &mut run, order) {
            let (_, verdicts) = costs_and_verdicts(engine.log(), run.id());
            return (ended, run.digest(), verdicts);
        }
    }
}

#[test]
fn branches_have_equal_shares_and_the_order_of_answers_changes_nothing() {
    let refused = ("budget".to_owned(), "refused".to_owned());
    // Each branch may spend 13: after 4, another 10 is too much; 7 are spent in all, so the last step may cost its 10.
    let (ended, digest, verdicts) = in_order(BRANCHES, 26, Order::First);
    assert!(matches!(ended, Ended::Completed(_)), "{ended:?}");
    assert_eq!(verdicts, std::slice::from_ref(&refused));
    let other = in_order(BRANCHES, 26, Order::Last);
    assert_eq!((other.0, other.1), (ended, digest));
    // With 14 each all is done; 13 + 10 of 28 are left for the last step.
    let (_, digest, verdicts) = in_order(BRANCHES, 28, Order::First);
    assert_eq!(verdicts, []);
    assert_eq!(in_order(BRANCHES, 28, Order::Last).1, digest);
}

#[test]
fn the_share_of_a_branch_that_lost_is_gone() {
    let race = |more: &str| {
        format!(
            "
  - race: {{ fork: {{ compete: true, branches: [ {{ a: {{ call: dear, with: {{ n: 4 }} }} }}, {{ b: {{ do: [ {{ c: {{ call: dear, with: {{ n: 1 }} }} }}, {{ d: {{ call: dear, with: {{ n: 1 }} }} }} ] }} }} ] }} }}
  - after: {{ call: dear, with: {{ n: 2 }} }}
{more}"
        )
    };
    // 15 each: 4 and 2 are spent, 15 are gone; 10 more do not fit into the 9 that are left.
    let (ended, _, verdicts) = in_order(&race(""), 30, Order::First);
    assert!(matches!(ended, Ended::Completed(_)), "{ended:?}");
    assert_eq!(verdicts, [("lane".to_owned(), "cancelled".to_owned())]);
    let (ended, _, verdicts) = in_order(
        &race("  - last: { call: dear, with: { n: 1 } }\n"),
        30,
        Order::First,
    );
    assert_eq!(code(&ended), "BUDGET_EXCEEDED");
    assert_eq!(verdicts.len(), 2, "{verdicts:?}");
}

/// Called twice an hour and no more.
struct Rare(Arc<AtomicU64>);

impl Effect for Rare {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }
    fn policy(&self, _: &Value) -> Policy {
        Policy::Retry
    }
    fn perform(&self, request: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(request.clone())
    }
    fn about(&self) -> About {
        About {
            cost: 1,
            rate: Some(Rate {
                calls: 2,
                window_ms: 3_600_000,
            }),
            ..About::effect()
        }
    }
}

#[test]
fn a_skill_is_not_called_more_often_than_its_rate_by_all_runs_together() {
    let disk = SimDisk::with_seed(1);
    let calls = Arc::new(AtomicU64::new(0));
    let mut skills = Skills::builtin();
    skills.add("rare", "1", Skill::effect(Rare(calls.clone())));
    let engine = engine_with(&disk, skills.clone());
    let one = definition("\n  - a: { call: rare, with: { n: 1 } }\n");
    for key in ["a", "b"] {
        let ended = finish(&engine, &request(&one, key, "{}", 7)).2;
        assert!(matches!(ended, Ended::Completed(_)), "{ended:?}");
    }
    let third = request(&one, "c", "{}", 7);
    let (run, digest, ended) = finish(&engine, &third);
    assert_eq!(code(&ended), "RATE_LIMITED");
    assert_eq!(
        costs_and_verdicts(engine.log(), run).0,
        [None],
        "it costs nothing"
    );
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    drop(engine);
    // What was refused stays refused, whatever another process could call.
    let engine = engine_with(&disk, skills);
    assert_eq!(finish(&engine, &third), (run, digest, ended));
}

/// Calls it three times, whatever becomes of the calls.
struct Thrice;

impl Workflow for Thrice {
    fn name(&self) -> (&str, &str, &str) {
        ("test", "thrice", "1.0.0")
    }
    fn run(&self, ctx: &mut Context<'_>, _: &Value) -> Result<Value, Stop> {
        let mut said = Vec::new();
        for spends in [4, 6, 1] {
            let arguments = format!(r#"{{"n":{spends}}}"#);
            let arguments = Value::from_json(arguments.as_bytes()).map_err(Fault::from)?;
            said.push(match ctx.call("spend", "dear", &arguments) {
                Ok(_) => "ok".to_owned(),
                Err(Stop::Fault(fault)) => fault.code.name().to_owned(),
                Err(stop) => return Err(stop),
            });
        }
        Ok(Value::from_text(&said.join(" ")).map_err(Fault::from)?)
    }
}

#[test]
fn a_rust_workflow_keeps_to_its_budget_and_comes_to_the_same_again() {
    let disk = SimDisk::with_seed(1);
    let (skills, calls) = skills();
    let engine = engine_with(&disk, skills);
    let input = Value::null();
    let root = aos_engine::seed::RootSeed::from_number(7);
    let run = |budget: Option<u64>, key: &str| {
        let runner = Runner::new(&engine);
        let runner = match budget {
            Some(units) => runner.budget(units),
            None => runner,
        };
        runner.run(&Thrice, key, &input, &root)
    };
    let spent = |finished: &Finished| match &finished.outcome {
        Ok(Ended::Completed(output)) => output.to_string(),
        other => panic!("{other:?}"),
    };
    let first = run(Some(19), "k").unwrap();
    assert_eq!(spent(&first), r#""ok ok BUDGET_EXCEEDED""#);
    let refused = ("budget".to_owned(), "refused".to_owned());
    let told = costs_and_verdicts(engine.log(), first.run);
    assert_eq!(told, (vec![Some(4), Some(6)], vec![refused]));
    assert_eq!(run(Some(19), "k").unwrap().digest, first.digest);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(spent(&run(Some(20), "more").unwrap()), r#""ok ok ok""#);
    assert_eq!(spent(&run(None, "none").unwrap()), r#""ok ok ok""#);
    match run(Some(20), "k") {
        Err(Error::Conflict { differs, .. }) => assert_eq!(differs, "budget"),
        other => panic!("{other:?}"),
    }
}
