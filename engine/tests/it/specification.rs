//! Every example of the specification that loads is run to its end, and again with a crash at every operation of the disk.
//!
//! What would go out onto a network is answered by a stand-in; commands and scripts are real.

use crate::support::*;
use aos_disk::sim::{Policy as Cut, SimDisk};
use aos_engine::clock::Clock;
use aos_engine::engine::{Begun, Engine, Request};
use aos_engine::fault::{Code, Fault};
use aos_engine::history::read_event;
use aos_engine::machine::{Answer, Control, Ended};
use aos_engine::run::Turn;
use aos_engine::skill::{AtHand, Effect, Policy, Skill, Skills};
use aos_engine::value::{Value, as_text, member};
use aos_engine::workflow::Definition;
use aos_format::digest::Digest;
use aos_format::event::Event;
use aos_format::record::StreamId;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How an example ends, with its output where it says something.
#[derive(Clone, Copy)]
enum End {
    Completed(&'static str),
    Done,
    Faulted(&'static str),
    Cancelled,
}
use End::{Cancelled, Completed, Done, Faulted};

const HOT: (&str, &str) = (
    "com.fake-hospital.vitals.measurements.temperature",
    r#"{"temperature":39}"#,
);
const SLOW: (&str, &str) = ("com.fake-hospital.vitals.measurements.bpm", r#"{"bpm":50}"#);
const OUT: (&str, &str) = ("com.fake-hospital.patient.checked-out", "{}");

type Heard = &'static [(&'static str, &'static str)];

/// Name, input, events that come, end.
#[rustfmt::skip]
const EXAMPLES: &[(&str, &str, Heard, End)] = &[
    // On a virtual clock nobody is in time.
    ("accumulate-room-readings", "{}", &[("my.home.sensors.temperature", r#"{"reading":1}"#), ("my.home.sensors.humidity", r#"{"reading":2}"#)], Faulted("TIMEOUT")),
    ("authentication-bearer", r#"{"token":"t"}"#, &[], Done),
    ("authentication-bearer-uri-format", r#"{"petId":1,"token":"t"}"#, &[], Done),
    ("authentication-oauth2-secret", r#"{"petId":1}"#, &[], Done),
    ("authentication-oidc-secret", r#"{"petId":1}"#, &[], Done),
    ("authentication-reusable", r#"{"petId":1,"token":"t"}"#, &[], Done),
    ("call-custom-function-inline", "{}", &[], Done),
    ("call-http-endpoint-interpolation", r#"{"petId":1}"#, &[], Done),
    ("call-http-endpoint-interpolation-shorthand", r#"{"petId":1}"#, &[], Done),
    ("call-http-query-headers-expressions", r#"{"searchQuery":"x"}"#, &[], Done),
    ("call-http-query-parameters", r#"{"searchQuery":"x"}"#, &[], Done),
    ("call-http-redirect", r#"{"searchQuery":"x"}"#, &[], Done),
    ("call-openapi", "{}", &[], Done),
    ("call-openapi-redirect", "{}", &[], Done),
    ("conditional-task", r#"{"customer":{"age":17}}"#, &[], Faulted("SCHEMA_ERROR")),
    ("do-multiple", "{}", &[], Done),
    ("do-single", r#"{"petId":1}"#, &[], Done),
    ("emit", "{}", &[], Done),
    ("for", r#"{"pets":[{"id":1}]}"#, &[], Completed(r#"{"pets":[{"id":1}]}"#)),
    ("fork", r#"{"patient":{"fullName":"x"},"room":{"number":1}}"#, &[], Done),
    ("listen-to-all", "{}", &[SLOW, HOT], Completed(r#"[{"bpm":50},{"temperature":39}]"#)),
    ("listen-to-any", "{}", &[HOT], Completed(r#"[{"temperature":39}]"#)),
    ("listen-to-any-filter", "{}", &[SLOW], Completed(r#"[{"bpm":50}]"#)),
    // It never ends by itself.
    ("listen-to-any-forever-foreach", r#"{"roomId":1}"#, &[HOT, SLOW], Cancelled),
    ("listen-to-any-until-condition", "{}", &[HOT, SLOW, OUT, HOT], Done),
    ("listen-to-any-until-consumed", "{}", &[HOT, SLOW, OUT], Completed(r#"[{"temperature":39},{"bpm":50}]"#)),
    ("listen-to-one", r#"{"carId":1}"#, &[("com.virtual-wf-powered-race.events.race.started.v1", "{}")], Done),
    // Its `when` asks whether an endpoint that is an object starts with a text.
    ("mock-service-extension", "{}", &[], Faulted("INVALID_INPUT")),
    ("raise-inline", "{}", &[], Faulted("INVALID_INPUT")),
    ("raise-reusable", "{}", &[], Faulted("INVALID_INPUT")),
    ("run-script-with-stdin-and-arguments", "{}", &[], Completed(r#""stdin >  Hello Workflow\narg >  hello\nenv >  bar\n""#)),
    ("run-shell-stdin-and-arguments", "{}", &[], Completed(r#""STDIN was: Hello World\nARGS are Foo Bar\n""#)),
    ("run-subflow", r#"{"user":"x"}"#, &[], Completed(r#"{"registered":".user"}"#)),
    ("schedule-cron", "{}", &[], Done),
    ("schedule-event-driven", r#"[{"data":{"patient":{"id":1}}}]"#, &[], Done),
    ("set", "[{\"a\":1}]", &[], Completed(r#"{"startEvent":{"a":1}}"#)),
    ("set-expression", "[{\"a\":1}]", &[], Completed(r#"{"a":1}"#)),
    ("star-wars-homeworld", r#"{"id":1}"#, &[], Done),
    ("switch-then-string", r#"{"orderType":"electronic"}"#, &[], Completed(r#"{"status":"fulfilled","validate":true}"#)),
    ("try-catch", r#"{"petId":404}"#, &[], Completed(r#"{"petId":404}"#)),
    ("try-catch-retry-inline", r#"{"petId":503}"#, &[], Faulted("HTTP_503")),
    ("try-catch-retry-reusable", r#"{"petId":503}"#, &[], Faulted("HTTP_503")),
    ("try-catch-then", r#"{"petId":404}"#, &[], Done),
    ("wait-duration-inline", "{}", &[], Done),
    ("wait-duration-iso8601", "{}", &[], Done),
];

/// A service whose answer follows from the request; it fails as the last part of the URI says.
struct Service;

impl Effect for Service {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }
    fn policy(&self, _: &Value) -> Policy {
        Policy::Retry
    }
    fn perform(&self, request: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
        for (end, code) in [("/404", Code::Http404), ("/503", Code::Http503)] {
            if request.as_str().contains(end) {
                return Err(Fault::new(code, "as asked"));
            }
        }
        let answer = r#"{"content":{"homeworld":"https://swapi.dev/api/planets/1"},"id":1}"#;
        Ok(Value::from_json(answer.as_bytes()).unwrap())
    }
}

/// The same, done again after a crash: what these commands do may be done twice.
struct Again(Arc<dyn Effect>);

impl Effect for Again {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        self.0.request(arguments)
    }
    fn policy(&self, _: &Value) -> Policy {
        Policy::Retry
    }
    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        self.0.perform(request, hand)
    }
}

fn skills() -> Skills {
    let mut skills = Skills::builtin();
    for name in ["http_call", "openapi_call"] {
        skills.add(name, "1", Skill::effect(Service));
    }
    let Some(Skill::Effect(exec)) = skills.find("exec").cloned() else {
        panic!("exec is an effect")
    };
    skills.add("exec", "1", Skill::effect(Again(exec)));
    skills
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/spec")
}

fn on(disk: &SimDisk) -> Option<Engine> {
    let log = aos_store::Log::open(Arc::new(disk.clone()), Path::new(LOG), &options());
    let clock = Clock {
        fixed_ns: Some(1_700_000_000_000_000_000),
        is_virtual: true,
    };
    let engine = Engine::new(Arc::new(log.ok()?.0), Arc::new(skills()), clock).ok()?;
    let inner = "document: {dsl: '1.0.3', namespace: test, name: register-customer, version: '0.1.0'}\n\
                 do: [{a: {set: {registered: '${ .customer }'}}}]";
    let inner = Definition::load(inner.as_bytes()).unwrap();
    Some(engine.with_workflows([Arc::new(inner)]).checkpoint_every(3))
}

/// Events, each with an id that says which it is.
fn events(heard: Heard) -> Vec<Value> {
    let event = |(n, (kind, data)): (usize, &(&str, &str))| {
        let text = format!(
            r#"{{"specversion":"1.0","id":"{n}","source":"https://my.home.com/sensor","type":"{kind}","roomid":"r","data":{data}}}"#
        );
        Value::from_json(text.as_bytes()).unwrap()
    };
    heard.iter().enumerate().map(event).collect()
}

/// To the end, whatever was done before; none when the disk fails on the way.
fn to_end(engine: &Engine, request: &Request, events: &[Value]) -> Option<(Digest, Ended)> {
    let mut begun = engine.start(request).ok()?;
    loop {
        let mut run = match begun {
            Begun::Run(run) => run,
            Begun::Ended(past) => return Some((past.row.digest, past.ended)),
            Begun::InProgress(run) => panic!("{run} is in progress"),
        };
        match engine.drive(&mut run).ok()? {
            Turn::Ended(ended) => return Some((run.digest(), ended)),
            Turn::Waits(_) => {}
            turn => panic!("{turn:?}"),
        }
        let mut taken = Vec::new();
        for record in engine.log().stream(StreamId::run(run.id()), 1).ok()? {
            if let Event::Signal(signal) = read_event(&record).ok()? {
                taken.push(signal.id);
            }
        }
        let new = |event: &&Value| {
            let id = member(event.val(), "id").and_then(as_text).unwrap();
            !taken.iter().any(|taken| taken == id)
        };
        let answer = match events.iter().find(new) {
            Some(event) => Answer::Event {
                event: event.clone(),
                actor: "test".into(),
            },
            None => Answer::Control(Control::Cancel, "test".into()),
        };
        begun = engine.resume(run.id()).ok()?;
        if let Begun::Run(run) = &mut begun {
            run.answer(answer);
        }
    }
}

/// What is wrong with how an example ended.
fn wrong(ended: &Ended, expected: End) -> Option<String> {
    let fits = match (ended, expected) {
        (Ended::Completed(output), Completed(expected)) => output.as_str() == expected,
        (Ended::Completed(_), Done) | (Ended::Cancelled(_), Cancelled) => true,
        (Ended::Faulted(problem), Faulted(expected)) => {
            member(problem.val(), "code").and_then(as_text) == Some(expected)
        }
        _ => false,
    };
    (!fits).then(|| format!("{ended:?}"))
}

#[test]
fn every_example_that_loads_runs_and_a_crash_anywhere_changes_nothing() {
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml");
        if yaml && Definition::load(&std::fs::read(&path).unwrap()).is_ok() {
            names.push(path.file_stem().unwrap().to_string_lossy().into_owned());
        }
    }
    names.sort();
    let listed: Vec<&str> = EXAMPLES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, listed);
    let (mut cuts, mut odd) = (0, Vec::new());
    for (name, input, heard, expected) in EXAMPLES {
        if *name == "run-script-with-stdin-and-arguments" && cfg!(not(feature = "script")) {
            continue;
        }
        let bytes = std::fs::read(folder().join(format!("{name}.yaml"))).unwrap();
        let definition = Arc::new(Definition::load(&bytes).unwrap());
        let (request, events) = (request(&definition, "k", input, 7), events(heard));
        let whole = SimDisk::with_seed(3);
        let told = to_end(&on(&whole).unwrap(), &request, &events).unwrap();
        if let Some(why) = wrong(&told.1, *expected) {
            odd.push(format!("{name}: {why}"));
            continue;
        }
        for cut in 1..=whole.ops() {
            let disk = SimDisk::with_seed(3);
            disk.crash_at(cut);
            // Whatever fails here fails because of the crash.
            let _ = on(&disk).and_then(|engine| to_end(&engine, &request, &events));
            let after = on(&disk.crash_image(Cut::Subset(cut))).unwrap();
            let resumed = to_end(&after, &request, &events).unwrap();
            assert_eq!(resumed.1, told.1, "{name} cut at {cut}");
            // Which branch of a race answers first is for the outside to say, and another answer is another history.
            if *name != "fork" {
                assert_eq!(resumed.0, told.0, "{name} cut at {cut}");
            }
            cuts += 1;
        }
    }
    assert!(odd.is_empty(), "{}", odd.join("\n"));
    assert!(cuts > 500, "{cuts} cuts are too few to say anything");
}
