//! The good and the bad twins part in what matters, not in ids and times.
//!
//! The expected pairs were found by reading the files. They differ in volatile attributes from event 1 on.

use crate::support::{Imported, imported, reader, run};
use aos_replay::diff::{Authenticate, Input, Options, Report, Status, Verdict, diff};
use serde_json::{Value, json};

/// Bad twin, good twin, event id, then the field with what either has there.
type Pair = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Value,
    Value,
);

fn pairs() -> [Pair; 5] {
    [
        // Both are asked to start anew; the input of event 1 is `false` in one and `true` in the other.
        (
            "go_bad-continue-as-new",
            "go_continue-as-new",
            "1",
            "/data/attributes/input/payloads/0/value",
            json!(false),
            json!(true),
        ),
        // Event 4 differs in a null that the newer server writes; event 5 is the first that is another one.
        (
            "go_bad-local-activity",
            "go_local-activity",
            "5",
            "/foreign_type",
            json!("WorkflowExecutionCompleted"),
            json!("MarkerRecorded"),
        ),
        // Event 9 differs in the sticky queue of another worker; the memo of event 12 is missing in the bad one.
        (
            "go_bad-upsert-memo-workflow",
            "go_upsert-memo-workflow",
            "12",
            "/foreign_type",
            json!("WorkflowExecutionCompleted"),
            json!("WorkflowPropertiesModified"),
        ),
        // Events 1 and 2 differ in attempt, backoff and queue kind, which the older server leaves out at their defaults.
        (
            "go_bad-history",
            "go_workflow1",
            "7",
            "/data/attributes/activityId",
            json!("0"),
            json!("7"),
        ),
        // A type that no table knows; `false` and absent are alike.
        (
            "go_workflow_with_bad_unknown_event",
            "go_workflow_with_unknown_event",
            "23",
            "/data/workerMayIgnore",
            Value::Null,
            json!(true),
        ),
    ]
}

/// What can be said of the causes of [`pairs`] without the workflows' code.
const CLASSES: [&str; 5] = [
    "INPUT_DRIFT",
    "EXTRA_STEP",
    "EXTRA_STEP",
    "CODE_DRIFT",
    "UNKNOWN",
];

/// Index of the first record whose history digests differ.
fn parts(a: &Imported, b: &Imported) -> usize {
    let digest = |side: &Imported, index: usize| {
        let record = side.records.get(index)?;
        Some(record.view().unwrap().digest())
    };
    (0..)
        .find(|index| digest(a, *index) != digest(b, *index))
        .unwrap()
}

#[test]
fn the_first_differing_digest_is_that_of_the_first_meaningful_difference() {
    for (bad, good, id, field, left, right) in pairs() {
        let (a, b) = (
            imported(&run(bad), Some("twin")),
            imported(&run(good), Some("twin")),
        );
        assert_eq!(a.done.run, b.done.run, "one key, one run");
        let at = parts(&a, &b);
        let told = |side: &Imported| {
            let told = side.told(at).unwrap();
            assert_eq!(told.id, id, "{bad}");
            json!({"foreign_type": told.foreign_type, "data": told.data})
        };
        let (a, b) = (told(&a), told(&b));
        let value = |side: &Value| side.pointer(field).cloned().unwrap_or_default();
        assert_eq!((value(&a), value(&b)), (left, right), "{bad} {field}");
    }
}

fn compared(a: &Imported, b: &Imported) -> Report {
    let (left, right) = (reader(&a.disk), reader(&b.disk));
    let a_side = Input::log("a", &left, Authenticate::Auto, 1).unwrap();
    let b_side = Input::log("b", &right, Authenticate::Auto, 1).unwrap();
    let runs = [
        a_side.run(a.done.run).unwrap(),
        b_side.run(b.done.run).unwrap(),
    ];
    diff([&a_side, &b_side], runs, &Options::default()).unwrap()
}

#[test]
fn diff_names_the_event_and_the_field() {
    for ((bad, good, id, field, left, right), class) in pairs().into_iter().zip(CLASSES) {
        let (a, b) = (
            imported(&run(bad), Some("twin")),
            imported(&run(good), Some("twin")),
        );
        let report = compared(&a, &b);
        assert_eq!(report.verdict, Verdict::Differ, "{bad}");
        let pair = report.first.event.as_ref().unwrap();
        let told = pair.a.iter().chain(&pair.b);
        for event in told {
            assert!(
                event.what.ends_with(&format!(" id {id}")),
                "{bad}: {}",
                event.what
            );
        }
        let first = report.fields.iter().find(|found| !found.volatile).unwrap();
        let text = |value: &Value| (!value.is_null()).then(|| value.to_string());
        let cause = &report.causes[0];
        assert_eq!(cause.class.name(), class, "{bad}");
        assert_ne!(
            cause.status,
            Status::Confirmed,
            "{bad}: nothing can be tried"
        );
        assert!(
            cause
                .missing
                .iter()
                .any(|what| what.contains("the workflow's code")),
            "{bad}: {cause:?}"
        );
        match field.strip_prefix('/').unwrap() {
            // Events of other types have other activations, and those name the type.
            "foreign_type" => {
                assert_eq!(first.path, "activation", "{bad}");
                for (found, kind) in [(&first.a, left), (&first.b, right)] {
                    let kind = format!("FOREIGN /{}", kind.as_str().unwrap());
                    assert!(found.as_ref().unwrap().contains(&kind), "{bad}: {found:?}");
                }
            }
            path => {
                assert_eq!(first.path, path, "{bad}");
                assert_eq!((&first.a, &first.b), (&text(&left), &text(&right)), "{bad}");
            }
        }
    }
}

#[test]
fn a_run_without_twin_differences_is_equal_under_any_key() {
    let whole = run("go_workflow1");
    let report = compared(&imported(&whole, Some("a")), &imported(&whole, Some("b")));
    assert_eq!(report.verdict, Verdict::Equal, "{:?}", report.fields);
}

#[test]
fn the_key_does_not_enter_the_digests() {
    let run = run("go_workflow1");
    let (a, b) = (imported(&run, Some("a")), imported(&run, Some("b")));
    assert_ne!(a.done.run, b.done.run);
    assert_eq!(a.done.digest, b.done.digest);
}

#[test]
fn an_event_put_in_does_not_change_the_ones_behind_it() {
    // The two differ in event 23, which one of them has and the other has not: ids and references behind it shift.
    let without = imported(&run("go_workflow1"), None);
    let with = imported(&run("go_workflow_with_unknown_event"), None);
    assert_eq!(parts(&without, &with), 23);
    let told = |side: &Imported, index| side.told(index).unwrap();
    for behind in 23..without.records.len() - 1 {
        let (a, b) = (told(&without, behind), told(&with, behind + 1));
        assert_eq!(a.activation, b.activation);
        let known = [&a.data, &b.data].map(|data| data.to_string().contains("UnknownEvent"));
        if known == [false, false] {
            assert_eq!(a.data, b.data, "{}", a.activation);
        }
    }
}
