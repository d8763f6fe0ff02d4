//! What a workflow follows that a process has once: tried in processes of this test program.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the planted skills read what skills must not"
)]

use super::planted::{Dice, honest, make, with_member};
use super::recorder::{Work, skills};
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_replay::diff::{Child, Options, Perturbed, perturb, processes, trace};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Names the leak that a process plants in its skill `work`.
const LEAK: &str = "AOS_TEST_LEAK";

/// A skill that puts into its result what it must not read.
fn leaking(leak: &str) -> Work {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let seen = match leak {
        "process" => std::process::id().to_string(),
        "zone" => variable("TZ"),
        "locale" => variable("LC_ALL"),
        "directory" => std::env::current_dir().unwrap().display().to_string(),
        "host" => read("/proc/sys/kernel/hostname"),
        "hash" => {
            return with_member("seen", || {
                let map: HashMap<u32, ()> = (0..64).map(|n| (n, ())).collect();
                map.keys().map(u32::to_string).collect::<Vec<_>>().join(",")
            });
        }
        _ => return honest(),
    };
    with_member("seen", move || seen.clone())
}

fn options(leak: &str) -> Options<'static> {
    Options {
        skills: vec![skills("1", leaking(leak))],
        ..Options::default()
    }
}

fn question() -> (Arc<Definition>, Value, BTreeMap<String, Value>) {
    let make = make(&mut Dice(13));
    let definition = Definition::load(make.document.as_bytes()).unwrap();
    let value = |json: &[u8]| Value::from_json(json).unwrap();
    let answers = BTreeMap::from([("fetch".to_owned(), value(b"{\"value\":1}"))]);
    (Arc::new(definition), value(make.input.as_bytes()), answers)
}

/// The part of a child: it derives once and says its trace. Without a leak named it has nothing to do.
#[test]
fn a_process_says_what_its_steps_gave() {
    if let Ok(leak) = std::env::var(LEAK) {
        let (definition, input, answers) = question();
        let traced = trace(definition, input, &answers, &options(&leak)).unwrap();
        println!("{}", traced.line());
    }
}

fn perturbed(leak: &'static str) -> Perturbed {
    let (definition, input, answers) = question();
    let mut found = perturb(definition, input, &answers, &options(leak)).unwrap();
    let command = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "diff::processes::a_process_says_what_its_steps_gave",
            "--exact",
        ]);
        command.args(["--nocapture", "--test-threads", "1"]);
        command.env(LEAK, leak);
        command
    };
    let child = Child {
        command: &command,
        input: &[],
        elsewhere: Path::new("/"),
    };
    processes(&child, &mut found).unwrap();
    found
}

#[test]
fn the_field_that_follows_a_process_or_its_surroundings_is_named() {
    let leaks = [
        ("process", "the process id"),
        ("zone", "the time zone"),
        ("locale", "the locale"),
        ("directory", "the working directory"),
        ("host", "the host name"),
    ];
    for (leak, what) in leaks {
        let found = perturbed(leak);
        if let Some(skipped) = found.skipped.iter().find(|skipped| skipped.what == what) {
            // Only the name of the host needs a right that a process may lack, and then the reason is said.
            assert_eq!(what, "the host name");
            assert!(!skipped.why.is_empty());
            continue;
        }
        let leaked: Vec<_> = found.follows.iter().filter(|f| !f.declared).collect();
        assert_eq!(leaked.len(), 1, "{leak}: {leaked:?}");
        assert_eq!(
            (leaked[0].step.as_str(), leaked[0].what.as_str()),
            ("work", what)
        );
        assert_eq!(leaked[0].paths, ["output/work/seen"]);
        assert!(!found.deterministic);
    }
}

#[test]
fn an_order_of_hashes_is_not_taken_for_anything_else() {
    let found = perturbed("hash");
    let leaked: Vec<_> = found.follows.iter().filter(|f| !f.declared).collect();
    assert_eq!(leaked.len(), 1, "{leaked:?}");
    // Each map of a thread has another seed than the one before it, so repeating shows it already.
    assert_eq!(leaked[0].what, "nothing: repeated, it gives something else");
    assert_eq!(leaked[0].paths, ["output/work/seen"]);
}

#[test]
fn honest_steps_follow_nothing_in_any_process() {
    let found = perturbed("none");
    assert!(found.deterministic, "{:?}", found.follows);
    for what in [
        "the process id",
        "the time zone",
        "the locale",
        "the working directory",
    ] {
        assert!(
            found.shifted.iter().any(|known| known == what),
            "{what}: {:?}",
            found.skipped
        );
    }
}
