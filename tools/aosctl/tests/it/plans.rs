//! Plans, budgets, skills: the calls that programs make.

use crate::harness::{Place, number, text};
use serde_json::Value;

/// The plan of the first demonstration, word for word.
const PLAN: &str = r#"[{"skill": "http_call", "params": {"url": "https://api.coingecko.com/..."}}, {"skill": "json_transform", "params": {"query": ".bitcoin.usd"}}, {"skill": "webhook_send", "params": {"url": "https://hooks.slack.com/..."}}]"#;

fn simulate(place: &Place, plan: &str, more: &str) -> crate::harness::Said {
    let output = place
        .command(&format!("-o json simulate {more} --plan"))
        .arg(plan)
        .output()
        .unwrap();
    crate::harness::Said::new("simulate", output)
}

#[test]
fn arguments_that_can_only_fail_are_told_before_a_run() {
    let place = Place::new();
    let plan = r#"[{"skill": "compute", "params": {"op": "draw", "min": 5, "max": 1}}]"#;
    let said = simulate(&place, plan, "").exits(1).json();
    assert_eq!(said["feasible"], false);
    assert_eq!(said["obstacles"][0]["kind"], "bad-parameter");
    place.write(
        "draw.yaml",
        "document: {dsl: '1.0.3', namespace: t, name: t, version: '1.0.0'}\n\
         do:\n  - a: {call: compute, with: {op: draw, min: 5, max: 1}}\n  \
         - b: {call: compute, with: {op: draw, min: '${ .x }', max: 1}}\n",
    );
    let lines = place.aosctl("-o jsonl check draw.yaml").exits(1).lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(
        (&lines[0]["code"], &lines[0]["path"], &lines[0]["line"]),
        (&"AOS-E224".into(), &"/do/0/a".into(), &3.into())
    );
}

#[test]
fn capabilities_name_skills_limits_versions_codes_and_failures() {
    let said = Place::new().aosctl("-o json capabilities").exits(0).json();
    let names: Vec<String> = said["skills"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| text(s, "skill"))
        .collect();
    for skill in [
        "compute",
        "email_send",
        "exec",
        "http_call",
        "json_transform",
        "kv_get",
        "kv_put",
        "llm_invoke",
        "webhook_send",
    ] {
        assert!(names.contains(&skill.to_owned()), "{names:?}");
    }
    assert_eq!(said["versions"]["log-format"], "1");
    assert!(said["limits"]["steps_max"].as_u64().unwrap() > 0);
    let failures = said["failures"].as_array().unwrap();
    assert!(
        failures
            .iter()
            .any(|f| f["code"] == "TIMEOUT" && f["class"] == "TRANSIENT")
    );
    assert!(
        said["exit_codes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|e| e["exit"] == 8)
    );
    assert!(
        said["tasks"]
            .as_array()
            .unwrap()
            .contains(&Value::from("switch"))
    );
}

#[test]
fn skills_are_listed_and_shown_with_their_schemas() {
    let place = Place::new();
    assert!(place.aosctl("skills ls").exits(0).lines().len() >= 9);
    let shown = place
        .aosctl("-o json skills show webhook_send")
        .exits(0)
        .json();
    assert_eq!(shown["feeds"], "payload");
    assert_eq!(
        shown["input"]["required"],
        serde_json::json!(["url", "payload"])
    );
    place
        .aosctl("skills show teleport")
        .exits(4)
        .fails_with("AOS-C050", &["there is no skill teleport"]);
}

#[test]
fn the_first_plan_is_feasible_and_says_what_it_costs_takes_and_risks() {
    let place = Place::new();
    let said = simulate(&place, PLAN, "--budget 100").exits(0).json();
    assert_eq!(said["verdict"], "FEASIBLE");
    assert_eq!(said["cost"]["expected"], 2);
    assert_eq!(said["budget"], 100);
    assert!(number(&said["latency_ms"], "expected") > 0);
    let timeout = said["risks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["code"] == "TIMEOUT");
    assert_eq!(timeout.unwrap()["steps"], serde_json::json!(["/0", "/2"]));
    let table = place
        .command("-o table simulate --budget 100 --plan")
        .arg(PLAN)
        .output()
        .unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("FEASIBLE: cost 2 of 100"), "{table}");
    assert!(table.contains("TIMEOUT"), "{table}");
}

#[test]
fn a_plan_that_cannot_be_done_exits_1_and_says_why() {
    let place = Place::new();
    for (plan, more, kind, code) in [
        (
            r#"[{"skill":"teleport"}]"#,
            "",
            "unknown-skill",
            "INVALID_INPUT",
        ),
        (
            r#"[{"skill":"http_call","params":{}}]"#,
            "",
            "missing-parameter",
            "SCHEMA_ERROR",
        ),
        (PLAN, "--budget 1", "budget", "BUDGET_EXCEEDED"),
        (
            PLAN,
            "--allow http_call,json_transform",
            "not-allowed",
            "PERMISSION_DENIED",
        ),
        (PLAN, "--deadline 1", "deadline", "TIMEOUT"),
    ] {
        let said = simulate(&place, plan, more).exits(1).json();
        assert_eq!(said["feasible"], false);
        assert_eq!(said["obstacles"][0]["kind"], kind, "{said}");
        assert_eq!(said["obstacles"][0]["code"], code, "{said}");
    }
    simulate(&place, r#"[{"skil":"x"}]"#, "").exits(2);
    place.aosctl("simulate").exits(2);
}

#[test]
fn a_budget_refusal_is_recorded_replayed_and_told() {
    let place = Place::new();
    let put = |n: u32| format!(r#"{{"skill":"exec","params":{{"argv":["/bin/echo","{n}"]}}}}"#);
    place.write("w.json", format!("[{},{},{}]", put(1), put(2), put(3)));
    place
        .aosctl("run w.json --log b.aos --key k --seed 1 --budget 2")
        .exits(1);
    let report = place.aosctl("-o json replay b.aos").exits(0).json();
    assert_eq!(report["verdict"], "match");
    let said = place.aosctl("-o json query b.aos k").exits(0).json();
    let run = &said["runs"][0];
    assert_eq!(
        (&run["budget"], &run["spent"], &run["remaining"]),
        (&2.into(), &2.into(), &0.into())
    );
    let last = run["last"].as_array().unwrap();
    assert_eq!(last[2]["error_code"], "BUDGET_EXCEEDED");
    assert_eq!(last[2]["error_class"], "RESOURCE");
    assert_eq!(
        (&last[1]["status"], &last[1]["cost"], &last[1]["attempts"]),
        (&"completed".into(), &1.into(), &1.into())
    );
    let rows = place.aosctl("show b.aos k").exits(0).lines();
    assert!(
        rows.iter()
            .any(|row| row["kind"] == "DECISION" && row["verdict"] == "refused")
    );
    let shown = place.aosctl("-o json show b.aos k").exits(0).json();
    assert_eq!(shown["outcomes"][0]["output"]["stdout"], "1\n");
    place
        .aosctl("run w.json --log b.aos --key k --seed 1 --budget 3")
        .exits(3)
        .fails_with("AOS-E002", &["budget"]);
}

#[test]
fn an_allow_list_of_the_document_is_kept_to() {
    let place = Place::new();
    place.write(
        "w.yaml",
        "
document: {dsl: '1.0.3', namespace: t, name: t, version: '1.0.0', metadata: {aos: {allow: [compute]}}}
do:
  - a: {call: compute, with: {op: add, a: 1, b: 2}}
  - b: {call: exec, with: {argv: [/bin/echo, no]}}
",
    );
    place
        .aosctl("run w.yaml --log a.aos --key k --seed 1")
        .exits(1);
    let said = place.aosctl("-o json query a.aos k").exits(0).json();
    assert_eq!(
        said["runs"][0]["last"][1]["error_code"],
        "PERMISSION_DENIED"
    );
    assert_eq!(
        place.aosctl("-o json replay a.aos").exits(0).json()["verdict"],
        "match"
    );
    assert_eq!(
        place.aosctl("-o json simulate w.yaml").exits(1).json()["obstacles"][0]["kind"],
        "not-allowed"
    );
}

#[test]
fn estimates_from_past_runs_are_better_and_their_error_is_told() {
    let place = Place::new();
    place.write(
        "w.json",
        r#"[{"skill":"exec","params":{"argv":["/bin/true"]}}]"#,
    );
    for key in ["a", "b", "c", "d"] {
        place
            .aosctl(&format!("run w.json --log p.aos --key {key} --seed 1"))
            .exits(0);
    }
    let told = place.aosctl("-o json simulate w.json").exits(0).json();
    assert_eq!(told["past_runs"], 0);
    assert_eq!(told["accuracy"], Value::Null);
    let past = place
        .aosctl("-o json simulate w.json --log p.aos")
        .exits(0)
        .json();
    assert_eq!(past["past_runs"], 4);
    assert_eq!(past["steps"][0]["past_calls"], 4);
    assert_eq!(past["accuracy"]["runs"], 4);
    assert_eq!(past["accuracy"]["error_from_past"]["cost"], 0);
    let timeout = past["risks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["code"] == "TIMEOUT")
        .unwrap();
    assert_eq!(timeout["probability"], 0, "it never happened");
}

#[test]
fn key_value_spaces_replay_and_verify() {
    let place = Place::new();
    place.write(
        "w.json",
        r#"[{"skill":"kv_get","params":{"key":"n"}},
            {"skill":"json_transform","params":{"query":"(.value // 0) + 1"}},
            {"skill":"kv_put","params":{"key":"n"}},
            {"skill":"kv_get","params":{"key":"n"}}]"#,
    );
    for (key, expected) in [("a", 1), ("b", 2), ("c", 3)] {
        place
            .aosctl(&format!("run w.json --log kv.aos --key {key} --seed 1"))
            .exits(0);
        let said = place
            .aosctl(&format!("-o json query kv.aos {key}"))
            .exits(0)
            .json();
        assert_eq!(said["runs"][0]["last"][2]["output"]["value"], expected);
    }
    assert_eq!(
        place.aosctl("-o json replay kv.aos").exits(0).json()["verdict"],
        "match"
    );
    place.aosctl("log fsck kv.aos").exits(0);
    place.aosctl("log fsck kv.aos --rebuild-catalog").exits(0);
    place
        .aosctl("run w.json --log kv.aos --key d --seed 1")
        .exits(0);
}

#[test]
fn the_btc_demo_judges_runs_and_replays_within_a_minute() {
    let place = Place::new();
    let started = std::time::Instant::now();
    let said = place.aosctl("-o json demo btc").exits(0).json();
    assert_eq!(
        (&said["verdict"], &said["replay"]),
        (&"FEASIBLE".into(), &"match".into())
    );
    assert_eq!(said["delivered"], 67187.34);
    assert_eq!(said["outcomes"].as_array().unwrap().len(), 3);
    assert_eq!(text(&said, "digest").len(), 64);
    let shown = place.aosctl("-o table demo btc --dir kept").exits(0).stdout;
    for part in [
        "FEASIBLE: cost 2 of 100",
        "risk TIMEOUT (TRANSIENT) in /0 and /2",
        "match: digest",
        "delivered 67187.34",
    ] {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
    assert!(started.elapsed().as_secs() < 60);
    place.aosctl("replay kept/btc.aos").exits(0);
}

#[test]
fn the_mock_model_answers_llm_invoke_the_same_every_time() {
    let place = Place::new();
    let mut server = place.start("-o jsonl mock llm", std::process::Stdio::null());
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(server.stdout.as_mut().unwrap()),
        &mut line,
    )
    .unwrap();
    let endpoint = text(&serde_json::from_str(&line).unwrap(), "endpoint");
    place.write("w.json", format!(r#"[{{"skill":"llm_invoke","params":{{"endpoint":"{endpoint}","model":"m","prompt":"say hello"}}}}]"#));
    for key in ["a", "b"] {
        place
            .aosctl(&format!("run w.json --log l.aos --key {key} --seed 1"))
            .exits(0);
    }
    server.kill().unwrap();
    server.wait().unwrap();
    let said = place.aosctl("-o json query l.aos").exits(0).json();
    let outcome = |run: usize| &said["runs"][run]["last"][0];
    assert_eq!(outcome(0)["output"], outcome(1)["output"]);
    assert_eq!(outcome(0)["output"]["tokens"]["input"], 2);
    assert_eq!(outcome(0)["cost"], 1);
    assert_eq!(
        place.aosctl("-o json replay l.aos").exits(0).json()["verdict"],
        "match"
    );
}

#[test]
fn budgets_in_branches_are_replayed_to_the_same_refusals() {
    let place = Place::new();
    place.write(
        "w.yaml",
        "
document: {dsl: '1.0.3', namespace: t, name: t, version: '1.0.0'}
do:
  - both:
      fork:
        branches:
          - two:
              try:
                - one: {call: exec, with: {argv: [/bin/echo, a]}}
                - more: {call: exec, with: {argv: [/bin/echo, b]}}
              catch: {as: e, do: [{no: {set: {code: '${ $e.code }', detail: '${ $e.detail }'}}}]}
          - one: {call: exec, with: {argv: [/bin/echo, c]}}
  - last: {call: exec, with: {argv: [/bin/echo, '${ .[0].detail // \"none\" }']}}
",
    );
    for (budget, said) in [(3, "exec may cost 1; 1 of 1 are spent\n"), (4, "none\n")] {
        place
            .aosctl(&format!(
                "run w.yaml --log f.aos --key {budget} --seed 1 --budget {budget}"
            ))
            .exits(0);
        let query = place
            .aosctl(&format!("-o json query f.aos {budget}"))
            .exits(0)
            .json();
        let run = &query["runs"][0];
        let last = run["last"].as_array().unwrap().last().unwrap();
        assert_eq!(last["output"]["stdout"], said);
        assert_eq!(run["spent"], budget.min(4));
    }
    for workers in [1, 2] {
        let report = place
            .aosctl(&format!("-o json replay f.aos --workers {workers}"))
            .exits(0)
            .json();
        assert_eq!(report["verdict"], "match");
    }
    let told = place
        .aosctl("-o json simulate w.yaml --budget 9")
        .exits(0)
        .json();
    let assumed = told["assumptions"].as_array().unwrap();
    assert!(
        assumed
            .iter()
            .any(|a| a.as_str().unwrap().contains("equal share")),
        "{told}"
    );
}
