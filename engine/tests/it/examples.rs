//! The documents in `docs/examples`, which users read first: they load, and do what they say.

use aos_engine::chain::{Chain, Emission};
use aos_engine::machine::{Answer, EffectNeed, Ended, Given, Machine, Need, StartInfo, Waiting};
use aos_engine::sample::loan_applications;
use aos_engine::seed::RootSeed;
use aos_engine::skill::{Policy, Skills};
use aos_engine::value::{Val, Value, as_text, member};
use aos_engine::workflow::Definition;
use aos_format::digest::RunId;
use aos_format::frame::Kind;
use aos_format::offset::Stride;
use aos_format::record::Stored;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples")
}

fn load(name: &str) -> Arc<Definition> {
    let bytes = std::fs::read(examples().join(name)).unwrap();
    let definition = Definition::load(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    let skills = Skills::builtin();
    definition
        .check_skills(|skill| skills.find(skill).is_some())
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    Arc::new(definition)
}

/// A run, driven to its end without a log.
struct Ran {
    ended: Ended,
    events: Vec<Emission>,
}

impl Ran {
    fn output(&self) -> &Value {
        match &self.ended {
            Ended::Completed(output) => output,
            Ended::Faulted(fault) | Ended::Cancelled(fault) => panic!("the run faulted: {fault}"),
        }
    }

    fn fault(&self) -> &Value {
        match &self.ended {
            Ended::Completed(output) => panic!("the run completed: {output}"),
            Ended::Faulted(fault) | Ended::Cancelled(fault) => fault,
        }
    }

    fn steps(&self) -> usize {
        self.events
            .iter()
            .filter(|event| event.kind == Kind::Step)
            .count()
    }
}

/// Runs `definition`; `answer` is asked about each effect.
fn run(
    definition: &Arc<Definition>,
    input: &Value,
    key: &str,
    mut answer: impl FnMut(&EffectNeed) -> Value,
) -> Ran {
    let root = RootSeed::from_number(7);
    let id = RunId::derive(&definition.namespace, &definition.name, key, 0);
    let info = StartInfo {
        key: key.into(),
        generation: 0,
        root_seed: root.commitment(),
        budget: None,
        pins: Default::default(),
    };
    let chain = Chain::new(id, root.run_seed(id));
    let stride = Stride::from_log2(26).unwrap();
    let mut machine = Machine::new(
        definition.clone(),
        Arc::new(Skills::builtin()),
        chain,
        info,
        input.clone(),
        stride,
    );
    let (mut events, mut next) = (Vec::new(), None);
    loop {
        next = match machine.advance(next.take(), 1_000, &mut events) {
            Need::More => None,
            Need::Ended(ended) => return Ran { ended, events },
            Need::Waits(waits) => {
                let given = match &waits[0].what {
                    Waiting::Clock(_) => Answer::Clock(0),
                    Waiting::Timer { .. } => Answer::Fired,
                    Waiting::Effect(need) => Answer::Effect(Ok(answer(need))),
                    other => panic!("nobody sends anything: {other:?}"),
                };
                Some(Given::to(&waits[0], given))
            }
        };
    }
}

fn closed(definition: &Arc<Definition>, input: &Value, key: &str) -> Ran {
    run(definition, input, key, |need| {
        panic!("nothing outside is needed, but {}", need.skill)
    })
}

fn json(text: &str) -> Value {
    Value::from_json(text.as_bytes()).unwrap()
}

/// An application with these events: activity, transition, time.
fn application(amount: &str, events: &[(&str, &str, &str)]) -> Value {
    let events: Vec<String> = events
        .iter()
        .map(|(name, transition, time)| {
            format!(r#"{{"concept:name":"{name}","lifecycle:transition":"{transition}","time:timestamp":"{time}"}}"#)
        })
        .collect();
    json(&format!(
        r#"{{"AMOUNT_REQ":{amount},"concept:name":"7","events":[{}]}}"#,
        events.join(",")
    ))
}

fn integer(value: &Value, name: &str) -> i64 {
    member(value.val(), name)
        .unwrap()
        .to_string()
        .parse()
        .unwrap()
}

#[test]
fn every_example_loads_and_calls_only_skills_that_exist() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(examples()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        load(&name);
        names.push(name);
    }
    names.sort();
    assert_eq!(
        names,
        [
            "hello.yaml",
            "http.yaml",
            "loan.yaml",
            "skills.json",
            "wait.yaml"
        ]
    );
}

#[test]
fn hello_greets_whom_it_knows() {
    let hello = load("hello.yaml");
    assert_eq!(
        closed(&hello, &json(r#"{"name":"Ada"}"#), "a")
            .output()
            .as_str(),
        r#"{"greeting":"hello Ada"}"#
    );
    assert_eq!(
        closed(&hello, &json("{}"), "b").output().as_str(),
        r#"{"greeting":"hello world"}"#
    );
}

#[test]
fn wait_waits_between_its_steps() {
    let ran = closed(&load("wait.yaml"), &json("{}"), "a");
    assert_eq!(ran.output().as_str(), r#"{"done":["before","after"]}"#);
    assert!(
        ran.events.iter().any(|event| event.kind == Kind::Intent),
        "the timer is on record"
    );
}

#[test]
fn the_short_form_hands_each_output_to_the_next_skill() {
    let skills = load("skills.json");
    let (first, again) = (
        closed(&skills, &json("null"), "a"),
        closed(&skills, &json("null"), "a"),
    );
    let digest = as_text(first.output().val()).unwrap();
    assert_eq!(digest.len(), 64);
    assert_eq!(
        first.output(),
        again.output(),
        "the same key draws the same"
    );
    assert_ne!(
        first.output(),
        closed(&skills, &json("null"), "b").output(),
        "another key draws anew"
    );
}

#[test]
fn http_gets_then_posts_what_it_got() {
    let mut requests = Vec::new();
    let ran = run(
        &load("http.yaml"),
        &json(r#"{"base":"http://example.com","id":7}"#),
        "a",
        |need| {
            requests.push((need.request.to_string(), need.policy));
            match requests.len() {
                1 => json(r#"{"item":"tea"}"#),
                _ => json(r#"{"statusCode":201,"content":{"number":1}}"#),
            }
        },
    );
    assert_eq!(
        ran.output().as_str(),
        r#"{"invoice":{"number":1},"status":201}"#
    );
    let get = r#"{"body":null,"headers":{"accept":"application/json"},"method":"GET","output":"content","query":{},"redirect":false,"uri":"http://example.com/orders/7"}"#;
    let post = r#"{"body":{"order":{"item":"tea"}},"headers":{},"method":"POST","output":"response","query":{"source":"aos"},"redirect":false,"uri":"http://example.com/invoices"}"#;
    assert_eq!(
        requests,
        [
            (get.to_owned(), Policy::Retry),
            (post.to_owned(), Policy::Hold)
        ]
    );
}

#[test]
fn loan_reports_outcome_times_and_tallies() {
    let input = application(
        "\"20000\"",
        &[
            ("A_SUBMITTED", "COMPLETE", "2011-10-30T02:59:59.999+02:00"),
            // Six minutes and one millisecond later, although the clock on the wall was set back in between.
            (
                "W_Completeren aanvraag",
                "SCHEDULE",
                "2011-10-30T02:06:00.000+01:00",
            ),
            (
                "W_Completeren aanvraag",
                "START",
                "2011-10-30T02:06:01.046+01:00",
            ),
            ("O_SENT", "COMPLETE", "2011-10-30T02:07:00.000+01:00"),
            ("O_SENT", "COMPLETE", "2011-10-30T02:07:00.000+01:00"),
            (
                "W_Completeren aanvraag",
                "COMPLETE",
                "2011-10-30T02:08:00.000+01:00",
            ),
            // Taken up again without having been scheduled again: nothing waited.
            (
                "W_Completeren aanvraag",
                "START",
                "2011-10-30T02:09:00.000+01:00",
            ),
            ("A_APPROVED", "COMPLETE", "2011-10-30T02:10:00.000+01:00"),
            (
                "W_Valideren aanvraag",
                "SCHEDULE",
                "2011-10-30T02:11:00.500+01:00",
            ),
        ],
    );
    let ran = closed(&load("loan.yaml"), &input, "7");
    assert_eq!(
        ran.output().as_str(),
        r#"{"amount":20000,"application":"7","audit":false,"elapsed_ms":660501,"events":9,"first":1319936399999,"kinds":{"A":2,"O":2,"W":5},"last":1319937060500,"offers":{"sent":2},"outcome":"approved","still_waiting":["W_Valideren aanvraag"],"waited_ms":1046}"#
    );
}

#[test]
fn loan_refuses_what_is_no_application() {
    let loan = load("loan.yaml");
    let event = ("A_SUBMITTED", "COMPLETE", "2011-10-01T00:00:00.000+02:00");
    // The later hour is the earlier time.
    let earlier = ("A_DECLINED", "COMPLETE", "2011-10-01T00:30:00.000+03:00");
    let no_events = json(r#"{"AMOUNT_REQ":"1","concept:name":"7"}"#);
    for (input, detail) in [
        (
            application("null", &[event]),
            "AMOUNT_REQ: expected digits, found null",
        ),
        (
            application("\"12x\"", &[event]),
            "AMOUNT_REQ: expected digits, found \"12x\"",
        ),
        (
            application("\"1\"", &[]),
            "events: expected at least one, found array",
        ),
        (no_events, "events: expected at least one, found null"),
        (
            application("\"1\"", &[event, earlier]),
            "events/1: expected a time not before the previous one, found 2011-10-01T00:30:00.000+03:00",
        ),
    ] {
        let ran = closed(&loan, &input, "7");
        let field = |name: &str| {
            as_text(member(ran.fault().val(), name).unwrap())
                .unwrap()
                .to_owned()
        };
        assert_eq!(field("detail"), detail);
        assert_eq!(
            field("type"),
            "https://serverlessworkflow.io/spec/1.0.0/errors/validation"
        );
        assert_eq!(integer(ran.fault(), "status"), 400);
    }
}

#[test]
fn loan_goes_through_every_made_up_application() {
    let loan = load("loan.yaml");
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    let (mut audits, mut largest) = (0, 0);
    for (i, line) in loan_applications(7, 300).enumerate() {
        let input = Value::from_json(&line).unwrap();
        let ran = closed(&loan, &input, &i.to_string());
        let output = ran.output();
        let expected = Told::by(&input);
        assert_eq!(Told::of(output), expected, "{output}");
        assert!(
            ran.steps() as i64 >= 2 * expected.events,
            "{} steps for {} events",
            ran.steps(),
            expected.events
        );
        *outcomes.entry(expected.outcome).or_default() += 1;
        if matches!(member(output.val(), "audit"), Some(Val::Bool(true))) {
            audits += 1;
            assert!(
                member(output.val(), "application_sha256").is_some(),
                "{output}"
            );
        }
        largest = largest.max(largest_step_value(&ran));
    }
    let names: Vec<&str> = outcomes.keys().map(String::as_str).collect();
    assert_eq!(names, ["approved", "cancelled", "declined", "open"]);
    assert!((5..=30).contains(&audits), "{audits} audits among 300");
    assert!(largest < 600, "a step recorded a value of {largest} bytes");
}

/// What the report of an application tells.
#[derive(PartialEq, Debug)]
struct Told {
    events: i64,
    elapsed_ms: i64,
    waited_ms: i64,
    outcome: String,
}

impl Told {
    fn of(report: &Value) -> Told {
        Told {
            events: integer(report, "events"),
            elapsed_ms: integer(report, "elapsed_ms"),
            waited_ms: integer(report, "waited_ms"),
            outcome: as_text(member(report.val(), "outcome").unwrap())
                .unwrap()
                .to_owned(),
        }
    }

    /// The same, told by another program than the document.
    fn by(application: &Value) -> Told {
        let Some(Val::Arr(events)) = member(application.val(), "events") else {
            panic!("no events")
        };
        let (mut times, mut waiting, mut waited_ms, mut outcome) =
            (Vec::new(), BTreeMap::new(), 0, "open".to_owned());
        for event in events.iter() {
            let field = |name: &str| as_text(member(event, name).unwrap()).unwrap();
            let time: jiff::Timestamp = field("time:timestamp").parse().unwrap();
            let (name, ms) = (field("concept:name"), time.as_millisecond());
            times.push(ms);
            match (name, field("lifecycle:transition")) {
                (_, "SCHEDULE") => drop(waiting.insert(name, ms)),
                (_, "START") => waited_ms += waiting.remove(name).map_or(0, |since| ms - since),
                ("A_APPROVED" | "A_DECLINED" | "A_CANCELLED", _) => {
                    outcome = name[2..].to_lowercase()
                }
                _ => {}
            }
        }
        Told {
            events: times.len() as i64,
            elapsed_ms: times[times.len() - 1] - times[0],
            waited_ms,
            outcome,
        }
    }
}

/// Bytes of the largest value that a step recorded, inputs that START holds already not counted.
fn largest_step_value(ran: &Ran) -> usize {
    let steps = ran.events.iter().filter(|event| event.kind == Kind::Step);
    let values = steps.flat_map(|event| &event.draft.values);
    values
        .map(|value| match &value.stored {
            Stored::Here(bytes) => bytes.len(),
            Stored::Back { .. } | Stored::Absent => 0,
        })
        .max()
        .unwrap_or(0)
}
