//! Runs: repeatable, and without a finding.

use aos_sim::plan::Plan;
use aos_sim::shrink::run;
use aos_sim::soak::{Until, on_threads, parse_seed, soak};
use std::process::Command;

const AOS_SIM: &str = env!("CARGO_BIN_EXE_aos-sim");

/// Runs in the default suite; a soak runs as many as its time allows.
const RUNS: u64 = 300;

#[test]
fn nothing_is_lost_in_the_first_seeds() {
    let (tally, failure) = soak(0, Until::Runs(RUNS), 2, None);
    if let Some(failure) = failure {
        panic!(
            "{:?}\nrepeat with: {}",
            failure.violation,
            failure.plan.command()
        );
    }
    assert_eq!(tally.runs, RUNS);
    assert!(tally.states > 3000, "{}", tally.summary());
    assert!(tally.crashes_in_recovery > 500, "{}", tally.summary());
    assert!(
        tally.tails_cut > 50 && tally.refused > 0,
        "{}",
        tally.summary()
    );
    assert!(
        tally.replays > 50 && tally.effects > 100,
        "{}",
        tally.summary()
    );
    for fault in aos_disk::sim::Fault::ALL {
        let met = tally.coverage.keys().any(|(name, _)| *name == fault.name());
        assert!(met, "no run met {}:\n{}", fault.name(), tally.table());
    }
}

#[test]
fn a_seed_repeats_byte_for_byte_in_another_process() {
    for seed in ["3", "7", "11", "190"] {
        let output = || {
            Command::new(AOS_SIM)
                .args(["--seed", seed])
                .output()
                .unwrap()
        };
        let (first, second) = (output(), output());
        assert!(first.status.success(), "seed {seed}");
        assert!(first.stdout.len() > 1000, "seed {seed} says what happened");
        assert_eq!(first, second, "seed {seed}");
    }
    let other = Command::new(AOS_SIM)
        .args(["--seed", "4"])
        .output()
        .unwrap();
    let first = Command::new(AOS_SIM)
        .args(["--seed", "3"])
        .output()
        .unwrap();
    assert_ne!(other.stdout, first.stdout);
}

#[test]
fn seeds_that_once_found_something_find_nothing_any_more() {
    let seeds: Vec<_> = include_str!("../../seeds.txt")
        .lines()
        .filter_map(|line| parse_seed(line).unwrap())
        .collect();
    assert!(!seeds.is_empty());
    for (seed, only) in seeds {
        let plan = Plan::new(seed, only, None);
        let outcome = on_threads(1, &|| run(&plan)).pop().unwrap();
        assert_eq!(outcome.violation, None, "{}", plan.command());
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds.txt");
    let output = Command::new(AOS_SIM)
        .args(["seeds", file])
        .output()
        .unwrap();
    assert!(output.status.success());
}

#[test]
fn a_failing_seed_is_made_small_and_its_command_repeats_it() {
    let control = aos_sim::control::Control::SyncNothing;
    let (_, failure) = soak(0, Until::Runs(50), 1, Some(control));
    let failure = failure.expect("a disk that does not sync loses something");
    let plan = &failure.plan;
    let whole = Plan::new(plan.seed, None, plan.control);
    assert!(plan.numbers().len() < whole.numbers().len());
    let command = plan.command();
    let mut words = command.split(' ');
    assert_eq!(words.next(), Some("aos-sim"));
    let output = Command::new(AOS_SIM).args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = format!(
        "VIOLATION {}: {}",
        failure.violation.rule, failure.violation.what
    );
    assert!(said.contains(&expected), "{said}\nexpected {expected}");
}
