//! Single pairs: the search reads little, rules hide, keys pair, a run is bisected, minimized, and what-if is written.

use super::options;
use super::planted::{Dice, honest, make, plant};
use super::recorder::{Make, Written, skills};
use aos_disk::sim::SimDisk;
use aos_engine::value::{Value, member};
use aos_format::digest::LogId;
use aos_format::event::{Event, Step};
use aos_replay::diff::{
    Authenticate, Change, Class, Distance, Exchange, Input, Op, Options, Report, Rules, Status,
    Verdict, bisect, bulk, diff, minimize, pair_by_key, perturb, what_if,
};
use aos_store::LogReader;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn compared(a: &Written, b: &Written, options: &Options<'_>) -> Report {
    super::compared(a, b, Authenticate::Auto, options)
}

/// A run of many steps, the counter of one of them changed.
fn long(steps: usize, changed: Option<usize>) -> Written {
    let mut make = make(&mut Dice(1));
    make.stride = aos_format::offset::Stride::from_log2(20).unwrap();
    let mut parts = make.parts();
    let end = parts.pop().unwrap();
    let template = parts
        .iter()
        .find(|part| part.activation().ends_with("way"))
        .unwrap()
        .clone();
    parts.truncate(1);
    for number in 0..steps {
        let mut part = template.clone();
        let Event::Step(step) = &mut part.event else {
            panic!("a step")
        };
        *step = Step {
            activation: format!("/do/5/way;{}", number + 1),
            next: if changed == Some(number) {
                "low"
            } else {
                "high"
            }
            .into(),
            ..step.clone()
        };
        parts.push(part);
    }
    parts.push(end);
    make.write_with(&parts, 200, |_, _| {})
}

#[test]
fn the_first_difference_of_long_runs_is_found_in_few_reads() {
    let steps = 20_000;
    let a = long(steps, None);
    for changed in [0, 1, 9_999, 12_345, steps - 1] {
        let b = long(steps, Some(changed));
        let options = Options {
            causes: false,
            whole_max: 100,
            events_max: 100,
            ..options()
        };
        let report = compared(&a, &b, &options);
        let event = report.first.event.unwrap();
        let at = changed + 1;
        assert_eq!(event.a.unwrap().offset, a.offsets[at], "step {changed}");
        assert_eq!(event.b.unwrap().offset, b.offsets[at], "step {changed}");
        // 15 halvings; each goes along links that halve too.
        assert!(
            report.cost.probes < 2 * 15 * 15,
            "{} probes",
            report.cost.probes
        );
        assert!(report.cost.reads < 3_500, "{} reads", report.cost.reads);
        assert_eq!(report.fields[0].path, "next");
    }
}

#[test]
fn equal_long_runs_are_told_by_their_heads() {
    let a = long(5_000, None);
    let report = compared(&a, &long(5_000, None), &options());
    assert_eq!(report.verdict, Verdict::Equal);
    assert!(report.cost.reads < 250, "{} reads", report.cost.reads);
}

/// A pair whose clocks differ by half a second.
fn half_a_second() -> (Make, Make) {
    let a = make(&mut Dice(5));
    let mut b = a.clone();
    b.clock_ns += 2_500_000_000;
    (a, b)
}

#[test]
fn fields_are_named_by_path_and_how_far_they_are_apart() {
    let (a, b) = half_a_second();
    let report = compared(&a.log(), &b.log(), &options());
    assert_eq!(report.verdict, Verdict::Differ);
    let time = &report.fields[0];
    assert_eq!(
        (time.path.as_str(), time.change),
        ("time_ns", Change::Modified)
    );
    assert_eq!(time.distance, Some(Distance::Milliseconds(2_500.0)));
    let output = report.first.output.unwrap().b.unwrap();
    assert_eq!(output.activation, "/do/4/stamp");
    assert_eq!(report.causes[0].class, Class::EffectDrift);
    assert_eq!(report.causes[0].status, Status::Confirmed);
    assert!(report.causes[0].experiment.as_ref().unwrap().digest_equal);
    assert!(report.slice.reaches_end);
    let op = report
        .alignment
        .rows
        .iter()
        .find(|row| row.op != Op::Equal)
        .unwrap();
    assert_eq!(op.paths, ["time_ns"]);
}

#[test]
fn rules_hide_differences_and_stand_in_the_verdict() {
    let (a, b) = half_a_second();
    let hide = |rules: &[&str]| Options {
        rules: Rules::parse(rules).unwrap(),
        ..options()
    };
    let all = ["time_ns", "**/at"];
    let report = compared(&a.log(), &b.log(), &hide(&all));
    assert_eq!(report.verdict, Verdict::Equal);
    assert_eq!(report.ignored, all);
    assert!(report.ignored_differences > 5);
    let report = compared(&a.log(), &b.log(), &hide(&["time_ns"]));
    assert_eq!(report.verdict, Verdict::Differ);
    let event = report.first.event.unwrap().b.unwrap();
    assert_eq!(
        event.activation, "/do/4/stamp",
        "the reading itself is hidden"
    );
    let report = compared(
        &a.log(),
        &b.log(),
        &hide(&["time_ns", "stamp:output/at", "last:**"]),
    );
    assert_eq!(
        report.verdict,
        Verdict::Differ,
        "what stamp gives goes on into other steps"
    );
}

#[test]
fn runs_of_other_keys_are_compared_by_content() {
    let a = make(&mut Dice(6));
    let mut b = a.clone();
    b.key = "another".into();
    let report = compared(&a.log(), &b.log(), &options());
    // Another key, another seed: the first that differs is what a step drew.
    let event = report.first.event.unwrap().b.unwrap();
    assert_eq!(event.activation, "/do/1/draw");
    assert_eq!(report.causes[0].class, Class::SeedMismatch);
    assert_eq!(report.causes[0].status, Status::Confirmed);
}

#[test]
fn without_the_code_nothing_is_confirmed() {
    let mut dice = Dice(8);
    let a = make(&mut dice);
    let mut b = a.clone();
    assert!(plant(Class::InputDrift, &mut b, &mut dice));
    let options = Options {
        skills: vec![skills("2", honest())],
        ..options()
    };
    let report = compared(&a.log(), &b.log(), &options);
    assert_eq!(report.causes[0].class, Class::InputDrift);
    assert_eq!(report.causes[0].status, Status::Consistent);
    assert_eq!(
        report.causes[0].missing,
        ["the code of skill work version 1"]
    );
}

#[test]
fn another_version_of_a_skill_is_code_drift() {
    let a = make(&mut Dice(9));
    let mut b = a.clone();
    b.skills = skills(
        "2",
        Arc::new(|_, _| Ok(Value::from_json(b"{\"items\":[],\"share\":1}")?)),
    );
    let both = Options {
        skills: vec![a.skills.clone(), b.skills.clone()],
        ..options()
    };
    let report = compared(&a.log(), &b.log(), &both);
    let cause = &report.causes[0];
    assert_eq!(
        (cause.class, cause.status),
        (Class::CodeDrift, Status::Confirmed)
    );
    assert_eq!(cause.subject, "skill work");
    let report = compared(&a.log(), &b.log(), &options());
    assert_eq!(
        report.causes[0].status,
        Status::Consistent,
        "its code is not at hand"
    );
}

#[test]
fn a_report_survives_its_json() {
    let (a, b) = half_a_second();
    let report = compared(&a.log(), &b.log(), &options());
    let read: Report = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(read, report);
}

#[test]
fn a_run_is_bisected_by_what_holds() {
    let make = make(&mut Dice(10));
    let written = make.log();
    let reader = written.reader();
    let input = Input::log("a.aos", &reader, Authenticate::Auto, 1).unwrap();
    let run = input.run(written.run).unwrap();
    let mut holds = |state: &Value| {
        let data = member(state.val(), "data").unwrap();
        Ok(member(data, "drawn").is_none())
    };
    let found = bisect(&input, run, &mut holds).unwrap();
    assert_eq!(found.bad.unwrap().activation, "/do/1/draw");
    assert_eq!(found.good.unwrap().activation, "/do/0/first");
    assert!(found.tests <= 5, "{} tests", found.tests);
    let never = bisect(&input, run, &mut |_| Ok(true)).unwrap();
    assert_eq!((never.bad, never.tests), (None, 1));
}

#[test]
fn what_would_have_been_is_written_and_compared() {
    let make = make(&mut Dice(11));
    let written = make.log();
    let reader = written.reader();
    let input = Input::log("a.aos", &reader, Authenticate::Auto, 1).unwrap();
    let run = input.run(written.run).unwrap();
    let exchange = Exchange::Output {
        step: "first".into(),
        output: Value::from_json(b"{\"items\":[1,2],\"n\":5}").unwrap(),
    };
    let disk = Arc::new(SimDisk::new());
    let create = aos_store::Options {
        create: true,
        stride: make.stride,
        ..aos_store::Options::new(LogId([8; 16]))
    };
    let (log, _) = aos_store::Log::open(disk.clone(), Path::new("if.aos"), &create).unwrap();
    let done = what_if(&input, run, &[exchange], &options(), &log).unwrap();
    assert_eq!((done.exchanged, done.needs), (1, None));
    log.close().unwrap();
    let reader = LogReader::open(disk, Path::new("if.aos")).unwrap();
    let other = Input::log("if.aos", &reader, Authenticate::Full, 1).unwrap();
    assert_eq!(other.damage(), None);
    let runs = [run, other.run(written.run).unwrap()];
    let report = diff([&input, &other], runs, &options()).unwrap();
    assert_eq!(
        report.first.event.unwrap().b.unwrap().activation,
        "/do/0/first"
    );
    assert_eq!(
        report.causes[0].class,
        Class::Unknown,
        "the record does not follow from the code"
    );
    let none = [Exchange::Output {
        step: "nowhere".into(),
        output: Value::null(),
    }];
    let disk = Arc::new(SimDisk::new());
    let (log, _) = aos_store::Log::open(disk, Path::new("if.aos"), &create).unwrap();
    let error = what_if(&input, run, &none, &options(), &log).unwrap_err();
    assert_eq!(error.code(), "AOS-X001");
}

const SUM: &str = r#"
document: {dsl: '1.0.3', namespace: test, name: sum, version: '1.0.0'}
do:
- total: {set: '${ {total: ([.items[] | LIMIT] | add)} }'}
"#;

#[test]
fn one_planted_among_ten_thousand_is_found() {
    let mut a = make(&mut Dice(12));
    a.document = SUM.replace("LIMIT", ".");
    // All numbers but one are below what the second document cuts at.
    let items: Vec<String> = (0..10_000)
        .map(|n| if n == 7_321 { 5_000 } else { n % 1_000 }.to_string())
        .collect();
    a.input = format!("{{\"items\":[{}]}}", items.join(","));
    a.stride = aos_format::offset::Stride::from_log2(20).unwrap();
    let mut b = a.clone();
    b.document = SUM.replace("LIMIT", "if . > 1000 then 1000 else . end");
    let (left, right) = (a.log(), b.log());
    let (x, y) = (left.reader(), right.reader());
    let inputs = [
        Input::log("a.aos", &x, Authenticate::Auto, 1).unwrap(),
        Input::log("b.aos", &y, Authenticate::Auto, 1).unwrap(),
    ];
    let runs = [
        inputs[0].run(left.run).unwrap(),
        inputs[1].run(right.run).unwrap(),
    ];
    let found = minimize([&inputs[0], &inputs[1]], runs, &options()).unwrap();
    assert_eq!(found.input, "{\"items\":[5000]}");
    assert!(found.minimal && found.tries < 200, "{} tries", found.tries);
}

#[test]
fn runs_are_paired_by_key_and_grouped_by_cause() {
    use crate::diff::recorder::logs;
    let runs = |change: &dyn Fn(u64, &mut Make)| -> Vec<Make> {
        let one = |number: u64| {
            let mut make = make(&mut Dice(100 + number));
            make.key = format!("order-{number}");
            make.root = aos_engine::seed::RootSeed::from_number(3);
            change(number, &mut make);
            make
        };
        (0..12).map(one).collect()
    };
    let a = logs(&runs(&|_, _| {}));
    let b = logs(&runs(&|number, make| match number {
        0 => make.key = "order-99".into(),
        1..5 => make.clock_ns += 1_000_000_000,
        5..7 => make.input = make.input.replace("\"n\":", "\"n\":1"),
        _ => {}
    }));
    let (x, y) = (a.reader(), b.reader());
    let inputs = [
        Input::log("a.aos", &x, Authenticate::Auto, 1).unwrap(),
        Input::log("b.aos", &y, Authenticate::Auto, 1).unwrap(),
    ];
    let pairs = pair_by_key(&inputs[0], &inputs[1], None).unwrap();
    let report = |workers| bulk([&inputs[0], &inputs[1]], &pairs, &options(), workers).unwrap();
    let one = report(1);
    assert_eq!(one, report(3), "the same at any number of workers");
    assert_eq!((one.pairs, one.equal, one.differ), (11, 5, 6));
    assert_eq!(
        (one.only_a, one.only_b),
        (vec!["order-0".to_owned()], vec!["order-99".to_owned()])
    );
    let groups: Vec<(&str, u64)> = one
        .groups
        .iter()
        .map(|g| (g.causes.as_str(), g.count))
        .collect();
    assert_eq!(
        groups,
        [("EFFECT_DRIFT CONFIRMED", 4), ("INPUT_DRIFT CONFIRMED", 2)]
    );
    assert_eq!(one.groups[0].step, "stamp");
}

#[test]
fn a_step_that_follows_the_machine_is_flagged() {
    use super::planted::in_world;
    let make = make(&mut Dice(13));
    let definition = aos_engine::workflow::Definition::load(make.document.as_bytes()).unwrap();
    let answers = BTreeMap::from([(
        "fetch".to_owned(),
        Value::from_json(b"{\"value\":1}").unwrap(),
    )]);
    let input = Value::from_json(make.input.as_bytes()).unwrap();
    let leaky = in_world(1);
    let checked = |options: &Options<'_>| {
        perturb(
            Arc::new(definition.clone()),
            input.clone(),
            &answers,
            options,
        )
        .unwrap()
    };
    let clean = checked(&options());
    assert!(clean.deterministic);
    let declared: Vec<_> = clean
        .follows
        .iter()
        .map(|f| (f.step.as_str(), f.declared))
        .collect();
    assert_eq!(declared, [("stamp", true)]);
    let leaks = checked(&Options {
        probe: Some(&leaky),
        ..options()
    });
    assert!(!leaks.deterministic);
    let found: Vec<_> = leaks
        .follows
        .iter()
        .filter(|follows| !follows.declared)
        .map(|follows| (follows.step.as_str(), follows.what.as_str()))
        .collect();
    assert_eq!(found, [("work", "the host name")]);
}
