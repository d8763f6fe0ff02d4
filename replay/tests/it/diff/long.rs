//! Logs that are not read whole: what their seals vouch for, and runs that are derived from a checkpoint.

use super::options;
use super::planted::{Dice, make};
use super::recorder::{Make, Part, Written};
use aos_engine::value::{Val, Value, member};
use aos_format::digest::Digest;
use aos_format::event::{Event, Seal, VALUE_JSON, ValueRef};
use aos_format::frame::Kind;
use aos_format::offset::Stride;
use aos_replay::diff::{
    Authenticate, Authenticated, Class, Input, Options, Report, Status, Verdict, bisect, diff,
};

/// Compares two logs as if they were too large to be verified, each of which has one run.
fn compared(a: &Written, b: &Written, options: &Options<'_>) -> Report {
    let reader = a.reader();
    let side = Input::log("a.aos", &reader, Authenticate::Sealed, 1).unwrap();
    let run = side.run(a.run).unwrap();
    assert_eq!(side.all().unwrap(), Some(&[run][..]));
    super::compared(a, b, Authenticate::Sealed, options)
}

fn good(_: &mut Seal) {}

/// Two runs of which the second read another clock.
fn two() -> (Make, Make) {
    let a = make(&mut Dice(5));
    let mut b = a.clone();
    b.clock_ns += 2_500_000_000;
    (a, b)
}

#[test]
fn seals_vouch_for_the_records_that_a_verdict_rests_on() {
    let (a, b) = two();
    let (x, y) = (a.parts(), b.parts());
    let report = compared(&a.sealed(&x, good), &b.sealed(&y, good), &options());
    assert_eq!(report.verdict, Verdict::Differ);
    assert!(report.a.sealed && report.b.sealed);
    assert_eq!(report.a.authenticated, Authenticated::Run);
    assert_eq!(report.causes[0].class, Class::EffectDrift);
    let report = compared(&a.sealed(&x, good), &b.write(&y), &options());
    assert_eq!(report.verdict, Verdict::Differ);
    assert!(report.a.sealed && !report.b.sealed);
    let report = compared(&a.sealed(&x, good), &a.sealed(&x, good), &options());
    assert_eq!(report.verdict, Verdict::Equal);
    assert!(report.a.sealed && report.b.sealed);
    assert_eq!(report.a.authenticated, Authenticated::Run);
    let report = compared(&a.sealed(&x, good), &a.sealed(&x, good), &briefly(10));
    assert_eq!(report.verdict, Verdict::Equal);
    assert!(report.a.sealed && report.b.sealed);
    assert_eq!(
        report.a.authenticated,
        Authenticated::Probes,
        "nothing of a long run is read where its head says that it is equal"
    );
}

#[test]
fn a_record_that_is_not_what_was_sealed_is_tampering_and_no_difference() {
    let (a, b) = two();
    let (x, y) = (a.parts(), b.parts());
    let changes: [fn(&mut Seal); 4] = [
        |seal| seal.root.0[0] ^= 1,
        |seal| seal.before = Some(Digest::of(b"another log")),
        |seal| seal.count -= 1,
        |seal| seal.total += 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        for swapped in [false, true] {
            let (good, bad) = (a.sealed(&x, good), b.sealed(&y, change));
            let sides = if swapped {
                [&bad, &good]
            } else {
                [&good, &bad]
            };
            let (left, right) = (sides[0].reader(), sides[1].reader());
            let inputs = [
                Input::log("a.aos", &left, Authenticate::Sealed, 1).unwrap(),
                Input::log("b.aos", &right, Authenticate::Sealed, 1).unwrap(),
            ];
            let runs = [
                inputs[0].run(sides[0].run).unwrap(),
                inputs[1].run(sides[1].run).unwrap(),
            ];
            let report = diff([&inputs[0], &inputs[1]], runs, &options()).unwrap();
            assert_eq!(report.verdict, Verdict::Damaged, "change {number}");
            assert_eq!(report.causes[0].class, Class::Tamper);
            let name = if swapped { "a.aos" } else { "b.aos" };
            assert_eq!(report.causes[0].subject, name);
        }
    }
}

/// Many more steps than are read before a difference.
const LOOP: &str = r#"
document: {dsl: '1.0.3', namespace: test, name: long, version: '1.0.0'}
do:
- walk: {for: {each: item, in: '${ [range(1200)] }'}, do: [{count: {set: '${ {n: $item} }'}}]}
- stamp: {set: '${ . + {at: (now | floor)} }'}
- last: {set: '${ {result: .at} }'}
"#;

/// Two long runs of which the second read another clock, a checkpoint before that on the sides that are named.
fn long(checkpoints: [bool; 2]) -> [Make; 2] {
    let (a, b) = two();
    let mut makes = [a, b];
    for (make, checkpoint) in makes.iter_mut().zip(checkpoints) {
        make.document = LOOP.into();
        make.stride = Stride::from_log2(22).unwrap();
        make.checkpoint = checkpoint.then_some((1_190, str::to_owned));
    }
    makes
}

/// Reads so little that runs of more events are long ones.
fn briefly(events: u64) -> Options<'static> {
    Options {
        whole_max: events,
        events_max: events,
        ..options()
    }
}

#[test]
fn a_long_run_is_derived_from_the_checkpoint_before_the_difference() {
    for checkpoints in [[true, true], [true, false], [false, true]] {
        let [a, b] = long(checkpoints).map(|make| make.log());
        let report = compared(&a, &b, &briefly(300));
        assert_eq!(report.verdict, Verdict::Differ);
        assert!(report.cost.reads < 4_000, "{} reads", report.cost.reads);
        let cause = &report.causes[0];
        assert_eq!(
            (cause.class, cause.status),
            (Class::EffectDrift, Status::Confirmed),
            "{checkpoints:?}: {cause:?}"
        );
        let experiment = cause.experiment.as_ref().unwrap();
        assert!(
            experiment.events < 100,
            "derived from the checkpoint: {experiment:?}"
        );
        assert!(experiment.outcome.starts_with("gives the second history"));
        let whole = compared(&a, &b, &options());
        assert_eq!(report.first, whole.first);
        assert_eq!(whole.causes[0].class, cause.class);
        assert!(whole.causes[0].experiment.as_ref().unwrap().events > 1_200);
    }
}

#[test]
fn a_long_run_without_a_checkpoint_is_not_guessed_about() {
    let [a, b] = long([false, false]).map(|make| make.log());
    let report = compared(&a, &b, &briefly(300));
    let cause = &report.causes[0];
    assert_eq!(
        (cause.class, cause.status),
        (Class::EffectDrift, Status::Consistent)
    );
    assert_eq!(
        cause.missing,
        ["the whole history from its START, or a checkpoint before the difference"]
    );
}

#[test]
fn a_run_that_is_not_too_long_is_read_whole_where_no_checkpoint_stands() {
    let events_max = 2_000;
    let options = Options {
        events_max,
        ..briefly(300)
    };
    for (checkpoints, whole) in [([true, false], false), ([false, false], true)] {
        let [a, b] = long(checkpoints).map(|make| make.log());
        let report = compared(&a, &b, &options);
        assert_eq!(report.causes[0].status, Status::Confirmed);
        let derived = report.causes[0].experiment.as_ref().unwrap().events;
        assert_eq!(derived > 1_200, whole, "{derived} events");
    }
}

#[test]
fn a_context_that_was_set_long_ago_is_taken_from_the_checkpoint() {
    let [mut make, _] = long([true, false]);
    let keep = "do:\n- keep: {set: '${ . }', export: {as: '${ {kept: 7} }'}}\n- walk";
    make.document = LOOP.replacen("do:\n- walk", keep, 1);
    let written = make.log();
    let reader = written.reader();
    let input = Input::log("a.aos", &reader, Authenticate::Sealed, 1).unwrap();
    let run = input.run(written.run).unwrap();
    let mut states = 0;
    let mut holds = |state: &Value| {
        let context = member(state.val(), "context").unwrap();
        states += 1;
        Ok(member(context, "kept") == Some(&Val::from(7_isize)))
    };
    let found = bisect(&input, run, &mut holds).unwrap();
    assert_eq!((found.bad, found.tests), (None, 1), "it holds to the end");
    assert_eq!(states, 1);
    assert!(found.reads < 200, "{} reads", found.reads);
}

#[test]
fn a_checkpoint_that_says_something_else_confirms_nothing() {
    let lie = |make: &Make| -> Written {
        let mut parts: Vec<Part> = make.parts();
        let part = parts.iter_mut().find(|part| part.kind == Kind::Checkpoint);
        let part = part.unwrap();
        let (_, salt, bytes) = &mut part.values[0];
        let text = String::from_utf8(bytes.clone()).unwrap();
        let changed = text.replacen("\"steps\":\"", "\"steps\":\"1", 1);
        assert_ne!(changed, text);
        *bytes = changed.into_bytes();
        let name = ValueRef::of(VALUE_JSON, salt, bytes);
        let Event::Checkpoint(event) = &mut part.event else {
            unreachable!("it is one")
        };
        event.state = Some(name);
        make.write(&parts)
    };
    let makes = long([true, true]);
    let report = compared(&lie(&makes[0]), &lie(&makes[1]), &briefly(300));
    assert_eq!(report.verdict, Verdict::Differ);
    for cause in &report.causes {
        assert_ne!(cause.status, Status::Confirmed, "{cause:?}");
    }
}
