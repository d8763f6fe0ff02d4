//! Workflows in Rust: crash anywhere, run again, same digest.

use crate::support::*;
use aos_disk::sim::{Policy, SimDisk};
use aos_engine::context::{Context, Runner, Stop, Workflow};

use aos_engine::machine::Ended;
use aos_engine::seed::RootSeed;
use aos_engine::value::{Val, Value};
use std::time::Duration;

struct Sum {
    rounds: u64,
}

impl Workflow for Sum {
    fn name(&self) -> (&str, &str, &str) {
        ("test", "sum", "1.0.0")
    }

    fn run(&self, ctx: &mut Context<'_>, input: &Value) -> Result<Value, Stop> {
        let mut total = 0u64;
        for _ in 0..self.rounds {
            let drawn = ctx.step("draw", input, |random| {
                Ok(Value::from_val(&Val::from(random.below(100) as isize))?)
            })?;
            total += drawn.to_string().parse::<u64>().map_err(|_| {
                aos_engine::fault::Fault::new(aos_engine::fault::Code::InvalidInput, "not a number")
            })?;
        }
        ctx.sleep("pause", Duration::from_secs(3600))?;
        let at = ctx.now("stamp")?;
        ctx.step("sum", input, |_| {
            Ok(Value::from_text(&format!("{total} at {at}"))?)
        })
    }
}

fn run_sum(
    disk: &SimDisk,
    rounds: u64,
) -> Result<(aos_format::digest::Digest, Ended), aos_engine::Error> {
    let engine = engine(disk);
    let finished = Runner::new(&engine).run(
        &Sum { rounds },
        "k",
        &Value::null(),
        &RootSeed::from_number(7),
    )?;
    Ok((finished.digest, finished.outcome.expect("no effects")))
}

#[test]
fn a_rust_workflow_cut_at_any_operation_ends_the_same() {
    let whole = SimDisk::with_seed(10);
    let expected = run_sum(&whole, 4).unwrap();
    let opened = {
        let disk = SimDisk::with_seed(10);
        drop(open(&disk));
        disk.ops()
    };
    for cut in opened + 1..=whole.ops() {
        let disk = SimDisk::with_seed(10);
        let engine = engine(&disk);
        disk.crash_at(cut);
        let _ = Runner::new(&engine).run(
            &Sum { rounds: 4 },
            "k",
            &Value::null(),
            &RootSeed::from_number(7),
        );
        let after = disk.crash_image(Policy::Subset(cut));
        assert_eq!(
            run_sum(&after, 4).unwrap(),
            expected,
            "cut at operation {cut}"
        );
    }
}

#[test]
fn changed_code_is_found_out_and_nothing_is_written() {
    let disk = SimDisk::with_seed(11);
    run_sum(&disk, 4).unwrap();
    for rounds in [3, 5] {
        let error = run_sum(&disk, rounds).unwrap_err();
        assert_eq!(error.code(), "AOS-E003", "{error}");
    }
}

mod held {
    use super::*;
    use aos_engine::fault::Fault;
    use aos_engine::machine::{Resolution, Verdict};
    use aos_engine::skill::{AtHand, Effect, Policy as Unknown, Skill, Skills};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Pays {
        calls: AtomicU64,
        crash: Option<SimDisk>,
    }

    impl Effect for Pays {
        fn request(&self, arguments: &Value) -> Result<Value, Fault> {
            Ok(arguments.clone())
        }
        fn policy(&self, _: &Value) -> Unknown {
            Unknown::Hold
        }
        fn perform(&self, request: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            if let Some(disk) = &self.crash {
                disk.crash_at(disk.ops() + 1);
            }
            Ok(request.clone())
        }
    }

    struct Order;

    impl Workflow for Order {
        fn name(&self) -> (&str, &str, &str) {
            ("test", "order", "1.0.0")
        }
        fn run(&self, ctx: &mut Context<'_>, input: &Value) -> Result<Value, Stop> {
            let paid = ctx.call("pay", "pays", input)?;
            ctx.step("receipt", &paid, |_| Ok(paid.clone()))
        }
    }

    fn order(disk: &SimDisk, crash: bool) -> (Arc<Pays>, aos_engine::engine::Engine) {
        let crash = crash.then(|| disk.clone());
        let pays = Arc::new(Pays {
            calls: AtomicU64::new(0),
            crash,
        });
        let mut skills = Skills::builtin();
        skills.add("pays", "1", Skill::Effect(pays.clone()));
        (pays, engine_with(disk, skills))
    }

    #[test]
    fn an_effect_in_doubt_is_held_and_every_decision_about_it_is_carried_out() {
        let (input, root) = (
            Value::from_text("7 euros").unwrap(),
            RootSeed::from_number(7),
        );
        for (verdict, calls, completes) in [
            (
                Verdict::Result(Value::from_text("by hand").unwrap()),
                0,
                true,
            ),
            (Verdict::Failed, 0, false),
            (Verdict::Retry, 1, true),
        ] {
            let disk = SimDisk::with_seed(30);
            let (pays, engine) = order(&disk, true);
            Runner::new(&engine)
                .run(&Order, "k", &input, &root)
                .unwrap_err();
            assert_eq!(pays.calls.load(Ordering::SeqCst), 1);

            let disk = disk.crash_image(Policy::None);
            let (pays, engine) = order(&disk, false);
            let runner = Runner::new(&engine);
            let held = runner.run(&Order, "k", &input, &root).unwrap();
            assert!(held.outcome.is_err(), "held");
            let resolution = Resolution {
                verdict: verdict.clone(),
                actor: "ada".into(),
            };
            let done = runner
                .resolve(&Order, "k", &input, &root, resolution)
                .unwrap();
            let again = runner.run(&Order, "k", &input, &root).unwrap();
            assert_eq!(done.digest, again.digest, "the record is made again");
            let ended = again.outcome.expect("no longer held");
            assert_eq!(matches!(ended, Ended::Completed(_)), completes, "{ended:?}");
            assert_eq!(pays.calls.load(Ordering::SeqCst), calls);
        }
    }
}
