//! Parts of the workflow language that need more than one process or document.

use crate::harness::Place;

const INNER: &str = "
document: {dsl: '1.0.3', namespace: tests, name: inner, version: '1.2.0'}
do:
  - twice: {set: {n: '${ .n * 2 }'}}
";

const OUTER: &str = "
document: {dsl: '1.0.3', namespace: tests, name: outer, version: '1.0.0'}
do:
  - run: {run: {workflow: {namespace: tests, name: inner, input: {n: 4}}}}
  - script:
      run:
        script:
          language: js
          arguments: ['${ .n | tostring }']
          code: console.log(Number(process.argv[2]) + 1)
  - shell:
      run: {shell: {command: 'read n; echo $((n * 10))', stdin: '${ . }'}}
";

#[test]
fn processes_run_and_are_replayed_without_running_again() {
    let place = Place::new();
    place.write("inner.yaml", INNER);
    place.write("outer.yaml", OUTER);
    place
        .aosctl("run outer.yaml --log l.aos --key k --seed 1")
        .exits(7)
        .fails_with("AOS-E004", &["the workflow tests/inner/latest"]);
    place
        .aosctl("run outer.yaml --with inner.yaml --log l.aos --key k --seed 1")
        .exits(0);
    let said = place.aosctl("-o json query l.aos k").exits(0).json();
    assert_eq!(said["runs"][0]["last"][2]["output"], "90\n");
    let report = place.aosctl("-o json replay l.aos").exits(0).json();
    assert_eq!(report["verdict"], "match");
    assert_eq!(report["runs"], 2);
}

const EVERY: &str = "
document: {dsl: '1.0.3', namespace: tests, name: backup, version: '1.0.0'}
schedule: {cron: '*/30 * * * *'}
do:
  - count: {call: kv_put, with: {key: last, value: '${ .n }'}}
";

#[test]
fn a_schedule_begins_one_run_for_each_nominal_time_however_often_it_is_asked() {
    let place = Place::new();
    place.write("s.yaml", EVERY);
    let next = place
        .aosctl("schedule next s.yaml --from 2026-01-01T00:10:00Z --count 2")
        .exits(0)
        .lines();
    assert_eq!(next[0]["time"], "2026-01-01T00:30:00Z");
    assert_eq!(next[1]["key"], "schedule/2026-01-01T01:00:00Z");
    let window = "schedule run s.yaml --log s.aos --seed 1 --from 2026-01-01T00:00:00Z";
    let lines = place
        .aosctl(&format!("{window} --until 2026-01-01T01:00:00Z"))
        .exits(0)
        .lines();
    assert_eq!(lines.last().unwrap()["begun"], 3);
    let runs = |place: &Place| place.aosctl("runs s.aos").exits(0).lines().len();
    assert_eq!(runs(&place), 3);
    // Again, and further: what was begun is found.
    place
        .aosctl(&format!("{window} --until 2026-01-01T02:00:00Z"))
        .exits(0);
    assert_eq!(runs(&place), 5);
    // From the last one in the log on: of all the times since, one is made up for, the others are counted.
    let said = place
        .aosctl("-o json schedule run s.yaml --log s.aos --until 2026-01-01T12:00:00Z")
        .exits(0)
        .json();
    assert_eq!((&said["begun"], &said["skipped"]), (&1.into(), &19.into()));
    let said = place
        .aosctl("-o json schedule run s.yaml --log s.aos --until 2026-01-01T13:00:00Z --missed all")
        .exits(0)
        .json();
    assert_eq!((&said["begun"], &said["skipped"]), (&2.into(), &0.into()));
    let said = place
        .aosctl(
            "-o json schedule run s.yaml --log s.aos --until 2026-01-01T14:00:00Z --missed none",
        )
        .exits(0)
        .json();
    assert_eq!((&said["begun"], &said["skipped"]), (&0.into(), &2.into()));
    let report = place.aosctl("-o json replay s.aos").exits(0).json();
    assert_eq!(report["verdict"], "match");
    place.aosctl("schedule run hello.yaml --log s.aos").exits(2);
}

#[test]
fn a_schedule_waits_for_its_time_and_after_the_end_of_the_run_before() {
    let place = Place::new();
    for (name, schedule) in [
        ("e.yaml", "every: {milliseconds: 20}"),
        ("a.yaml", "after: {milliseconds: 20}"),
    ] {
        place.write(name, EVERY.replace("cron: '*/30 * * * *'", schedule));
        let said = place
            .aosctl(&format!(
                "-o json schedule run {name} --log {name}.aos --seed 1 --count 3 --missed all"
            ))
            .exits(0)
            .json();
        assert_eq!(said["completed"], 3, "{name}");
    }
}

#[test]
fn a_drawing_has_the_form_that_is_asked_for() {
    let place = Place::new();
    place.write(
        "w.yaml",
        "document: {dsl: '1.0.3', namespace: t, name: t, version: '1.0.0'}\ndo: [{a: {set: {x: 1}}}]",
    );
    for (asked, begins) in [
        ("graph w.yaml", "flowchart TD\n"),
        ("graph w.yaml -o mermaid", "flowchart TD\n"),
        ("graph w.yaml -o dot", "digraph "),
        ("graph -osvg w.yaml", "<svg "),
        ("-o svg graph w.yaml", "<svg "),
        ("graph --output=dot w.yaml", "digraph "),
        ("graph w.yaml --form svg", "<svg "),
    ] {
        let said = place.aosctl(asked).exits(0);
        assert!(said.stdout.starts_with(begins), "{asked}: {}", said.stdout);
    }
    place.aosctl("graph w.yaml -o png").exits(2);
    place.aosctl("check w.yaml -o svg").exits(2);
}

#[test]
fn events_of_one_thing_begin_a_run_of_their_own_when_the_last_one_came() {
    let place = Place::new();
    place.write(
        "on.yaml",
        "
document: {dsl: '1.0.3', namespace: tests, name: orders, version: '1.0.0'}
schedule:
  on:
    any: [{with: {type: item}, correlate: {order: {from: .data.o}}}]
    until: {one: {with: {type: sent}, correlate: {order: {from: .data.o}}}}
do:
  - ids: {set: {ids: '${ [$workflow.input[].id] }'}}
",
    );
    let event = |id: u64, kind: &str, o: u64| {
        format!(r#"{{"id":"{id}","source":"here","type":"{kind}","data":{{"o":{o}}}}}"#)
    };
    let events = [
        event(1, "item", 1),
        event(2, "item", 2),
        event(3, "item", 1),
        event(4, "sent", 1),
        event(5, "sent", 7),
    ];
    place.write("events.jsonl", events.join("\n"));
    let command = "schedule run on.yaml --log on.aos --seed 1 --events events.jsonl";
    let lines = place.aosctl(command).exits(0).lines();
    assert_eq!(lines[0]["key"], "event/here/4");
    let counts = ["begun", "skipped", "gathering"].map(|name| lines[1][name].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 1]);
    let said = place
        .aosctl("-o json query on.aos event/here/4")
        .exits(0)
        .json();
    let output = &said["runs"][0]["last"][0]["output"]["ids"];
    assert_eq!(*output, serde_json::json!(["1", "3"]));
    place.aosctl("replay on.aos").exits(0);
}

#[test]
fn events_begin_runs_with_themselves_as_input() {
    let place = Place::new();
    place.write(
        "on.yaml",
        "
document: {dsl: '1.0.3', namespace: tests, name: alert, version: '1.0.0'}
schedule: {on: {all: [{with: {type: low}}, {with: {type: ok, data: '${ .n > 1 }'}}]}}
do:
  - both: {set: {ids: '${ [$workflow.input[].id] }'}}
",
    );
    let event = |id: u64, kind: &str, n: u64| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"here","type":"{kind}","data":{{"n":{n}}}}}"#
        )
    };
    let events = [
        event(1, "ok", 1),
        event(2, "ok", 2),
        event(3, "other", 9),
        event(4, "low", 0),
    ];
    place.write("events.jsonl", events.join("\n"));
    for begun in [1, 1] {
        let lines = place
            .aosctl("schedule run on.yaml --log on.aos --seed 1 --events events.jsonl")
            .exits(0)
            .lines();
        assert_eq!(lines[0]["key"], "event/here/4");
        assert_eq!(
            (&lines[1]["begun"], &lines[1]["skipped"]),
            (&begun.into(), &2.into())
        );
    }
    let said = place
        .aosctl("-o json query on.aos event/here/4")
        .exits(0)
        .json();
    assert_eq!(
        said["runs"][0]["last"][0]["output"]["ids"],
        serde_json::json!(["2", "4"])
    );
    place.aosctl("schedule run on.yaml --log on.aos").exits(2);
}

#[test]
fn what_happened_to_a_run_is_told_in_the_events_of_the_specification() {
    let place = Place::new();
    place.write(
        "w.yaml",
        "
document: {dsl: '1.0.3', namespace: tests, name: told, version: '1.0.0'}
do:
  - say: {emit: {event: {with: {source: 'http://x', type: said, data: {n: 1}}}}}
  - race: {fork: {compete: true, branches: [{quick: {set: {a: 1}}}, {slow: {wait: PT9S}}]}}
  - again:
      try: [{bad: {raise: {error: {type: 'http://x/e', status: 503}}}}]
      catch: {retry: {limit: {attempt: {count: 1}}}}
  - hear: {listen: {to: {one: {with: {type: heard}}}}}
",
    );
    place.aosctl("run w.yaml --log w.aos --key k --seed 1");
    let events = place.aosctl("event ls w.aos").exits(0).lines();
    let types: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    let count = |what: &str| {
        let full = format!("io.serverlessworkflow.{what}.v1");
        types.iter().filter(|found| **found == full).count()
    };
    assert_eq!(types[0], "io.serverlessworkflow.workflow.started.v1");
    assert_eq!(events[0]["data"]["definition"]["name"], "told");
    assert_eq!(
        events.iter().find(|event| event["type"] == "said").unwrap()["data"]["n"],
        1
    );
    assert_eq!(count("task.cancelled"), 1, "{types:?}");
    assert_eq!(count("task.retried"), 1);
    assert_eq!(count("task.faulted"), 2);
    assert_eq!(count("workflow.faulted"), 1);
    assert_eq!(count("task.created"), count("task.started"));
    let mut ids: Vec<&str> = events
        .iter()
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "each has an id of its own");
}

#[test]
fn a_listening_run_hears_what_is_correlated_and_nothing_else() {
    let place = Place::new();
    place.write(
        "w.yaml",
        "
document: {dsl: '1.0.3', namespace: tests, name: hears, version: '1.0.0'}
do:
  - hear:
      listen:
        to:
          all:
            - {with: {type: paid}, correlate: {order: {from: .data.order}}}
            - {with: {type: packed}, correlate: {order: {from: .data.order}}}
",
    );
    place.aosctl("run w.yaml --log w.aos --key k --seed 1");
    let send = |kind: &str, order: u64| {
        let data = format!(r#"{{"order":{order}}}"#);
        let mut command = place.command(&format!("event send w.aos k --type {kind} --data"));
        crate::harness::Said::new("event send", command.arg(data).output().unwrap())
    };
    send("lost", 1).exits(1);
    send("paid", 1).exits(0);
    // Another order is not the one that was heard first; the process that heard it is gone.
    send("packed", 2).exits(1);
    send("packed", 1).exits(0);
    place.aosctl("resume w.aos").exits(0);
    let said = place.aosctl("-o json query w.aos k").exits(0).json();
    assert_eq!(
        said["runs"][0]["last"][0]["output"],
        serde_json::json!([{"order": 1}, {"order": 1}])
    );
    let events = place.aosctl("event ls w.aos k").exits(0).lines();
    for what in ["correlation-started", "correlation-completed", "completed"] {
        let full = format!("io.serverlessworkflow.workflow.{what}.v1");
        assert!(
            events.iter().any(|event| event["type"] == full.as_str()),
            "{what}"
        );
    }
}

/// Examples of the specification that need no network.
const OFFLINE: [&str; 14] = [
    "emit",
    "for",
    "listen-to-any",
    "raise-inline",
    "raise-reusable",
    "run-script-with-stdin-and-arguments",
    "run-shell-stdin-and-arguments",
    "run-subflow",
    "set",
    "set-expression",
    "switch-then-string",
    "wait-duration-inline",
    "wait-duration-iso8601",
    "listen-to-all",
];

#[test]
fn examples_of_the_specification_that_need_no_network_run_and_replay() {
    let place = Place::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../engine/tests/data/spec");
    place.write(
        "inner.yaml",
        INNER
            .replace(
                "namespace: tests, name: inner, version: '1.2.0'",
                "namespace: test, name: register-customer, version: '0.1.0'",
            )
            .replace(".n * 2", ".customer"),
    );
    for name in OFFLINE {
        place.aosctl(&format!(
            "run {folder}/{name}.yaml --with inner.yaml --log e.aos --clock virtual --key {name} --seed 1"
        ));
    }
    let runs = place.aosctl("runs e.aos").exits(0).lines();
    let status = |key: &str| {
        let run = runs.iter().find(|run| run["key"] == key).unwrap();
        run["status"].as_str().unwrap().to_owned()
    };
    for name in OFFLINE {
        let expected = match name {
            // `for` has no pets here.
            "for" | "raise-inline" | "raise-reusable" => "faulted",
            "listen-to-any" | "listen-to-all" => "open",
            _ => "completed",
        };
        assert_eq!(status(name), expected, "{name}");
    }
    assert_eq!(runs.len(), OFFLINE.len() + 1, "and the subflow's");
    for workers in [1, 2] {
        let report = place
            .aosctl(&format!("-o json replay e.aos --workers {workers}"))
            .exits(0)
            .json();
        assert_eq!(report["verdict"], "match");
    }
}

#[test]
fn an_event_is_taken_once_and_a_suspended_run_is_not_suspended_again() {
    let place = Place::new();
    let hear = "{listen: {to: {one: {with: {type: go}}}}}";
    place.write(
        "ear.yaml",
        format!(
            "document: {{dsl: '1.0.3', namespace: t, name: ear, version: '1.0.0'}}\n\
             do:\n  - first: {hear}\n  - second: {hear}\n"
        ),
    );
    place
        .aosctl("run ear.yaml --log e.aos --key k --input {}")
        .exits(0);
    let send = |id: &str| {
        let said = place
            .aosctl(&format!("event send e.aos k --type go --id {id}"))
            .exits(0)
            .json();
        (said["taken"].clone(), said["already"].clone())
    };
    assert_eq!(send("1"), (true.into(), false.into()));
    place.aosctl("resume e.aos").exits(0);
    // The second step listens for the same; it is the same event, so it is not another one.
    assert_eq!(send("1"), (false.into(), true.into()));
    let events = || place.aosctl("runs e.aos").exits(0).json()["events"].clone();
    let before = events();
    let said = place.aosctl("suspend e.aos k").exits(0).json();
    assert_eq!(said["taken"], true);
    let suspended = events();
    assert_ne!(before, suspended);
    let said = place.aosctl("suspend e.aos k").exits(0).json();
    assert_eq!(
        (&said["taken"], &said["already"]),
        (&false.into(), &true.into())
    );
    assert_eq!(events(), suspended);
    place.aosctl("resume e.aos k").exits(0);
    assert_eq!(send("2"), (true.into(), false.into()));
    place.aosctl("resume e.aos").exits(0);
    let done = place.aosctl("runs e.aos").exits(0).json();
    assert_eq!(done["status"], "completed");
    // A run that has ended still knows what it took.
    assert_eq!(send("2"), (false.into(), true.into()));
}
