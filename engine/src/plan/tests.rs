use super::*;
use crate::fault::Fault;
use crate::skill::{About, AtHand, Effect, Policy, Rate, Skill};
use crate::value::Value;

fn plan(text: &str) -> Definition {
    Definition::load(text.as_bytes()).unwrap()
}

fn document(tasks: &str) -> Definition {
    plan(&format!(
        "document: {{dsl: '1.0.3', namespace: t, name: t, version: '1.0.0'}}\ndo:\n{tasks}"
    ))
}

fn judged(definition: &Definition, limits: &Limits) -> Forecast {
    simulate(definition, &skills(), limits, &Past::none())
}

fn with_budget(units: u64) -> Limits {
    Limits {
        budget: Some(units),
        ..Limits::default()
    }
}

/// An effect that may be called twice an hour, and panics when it is.
struct Rare;

impl Effect for Rare {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }
    fn policy(&self, _: &Value) -> Policy {
        Policy::Hold
    }
    fn perform(&self, _: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
        panic!("a simulation executes nothing")
    }
    fn about(&self) -> About {
        About {
            cost: 7,
            rate: Some(Rate {
                calls: 2,
                window_ms: 3_600_000,
            }),
            ..About::effect()
        }
    }
}

fn skills() -> Skills {
    let mut skills = Skills::builtin();
    skills.add("rare", "1", Skill::effect(Rare));
    skills
}

fn kinds(forecast: &Forecast) -> Vec<(&'static str, &str)> {
    forecast
        .obstacles
        .iter()
        .map(|obstacle| (obstacle.kind.name(), obstacle.step.as_str()))
        .collect()
}

const TWO: &str = r#"[
  {"skill": "http_call", "params": {"url": "https://example.com/price"}},
  {"skill": "json_transform", "params": {"query": ".bitcoin.usd"}}
]"#;

#[test]
fn a_plan_that_can_be_done_says_what_it_costs_takes_and_risks() {
    let forecast = judged(&plan(TWO), &with_budget(100));
    assert!(forecast.feasible(), "{:?}", forecast.obstacles);
    assert_eq!((forecast.cost.expected, forecast.cost.most), (1, 1));
    assert_eq!(forecast.latency_ms.expected, 200);
    assert!(forecast.latency_ms.most >= 60_000);
    let timeout = forecast.risks.iter().find(|r| r.code == Code::Timeout);
    let timeout = timeout.expect("a request may time out");
    assert_eq!(timeout.steps, ["/0"]);
    assert_eq!(timeout.probability_millionths, None, "there is no past");
}

#[test]
fn plans_that_cannot_be_done_are_refused_for_the_right_reason() {
    let cases = [
        (
            r#"[{"skill": "teleport", "params": {}}]"#,
            &[("unknown-skill", "/0")][..],
        ),
        (
            r#"[{"skill": "http_call", "params": {"method": "GET"}}]"#,
            &[("missing-parameter", "/0")],
        ),
        (
            r#"[{"skill": "compute", "params": {"op": "draw", "min": 1}}]"#,
            &[("missing-parameter", "/0")],
        ),
        (
            r#"[{"skill": "json_transform", "params": {}}]"#,
            &[("missing-parameter", "/0")],
        ),
        (
            r#"[{"skill": "http_call", "params": {"url": "https://a/", "speed": 9}}]"#,
            &[("bad-parameter", "/0")],
        ),
        (
            r#"[{"skill": "http_call", "params": {"url": "ftp://a/"}}]"#,
            &[("bad-parameter", "/0")],
        ),
        (
            r#"[{"skill": "http_call", "params": {"url": 7}}]"#,
            &[("bad-parameter", "/0")],
        ),
        (
            r#"[{"skill": "compute", "params": {"op": "add", "a": 1, "b": 2}}, {"skill": "http_call", "params": {}}]"#,
            &[("missing-parameter", "/1")],
        ),
        (
            r#"[{"skill": "compute", "params": {"op": "draw", "min": 5, "max": 1}}]"#,
            &[("bad-parameter", "/0")],
        ),
        (
            r#"[{"skill": "compute", "params": {"op": "div", "a": "${ .a }", "b": 0}}]"#,
            &[("bad-parameter", "/0")],
        ),
        (
            r#"[{"skill": "compute", "params": {"op": "chance", "numerator": 3, "denominator": 2}}]"#,
            &[("bad-parameter", "/0")],
        ),
        (
            r#"[{"skill": "json_transform", "params": {"query": ".a |"}}]"#,
            &[("bad-parameter", "/0")],
        ),
        (
            r#"[{"skill": "json_transform", "params": {"query": "now", "input": 1}}]"#,
            &[("bad-parameter", "/0")],
        ),
        (
            r#"[{"skill": "http_call", "params": {"method": "FETCH", "url": "${ .u }"}}]"#,
            &[("bad-parameter", "/0")],
        ),
    ];
    for (text, expected) in cases {
        let forecast = judged(&plan(text), &Limits::default());
        assert_eq!(
            kinds(&forecast),
            expected,
            "{text}: {:?}",
            forecast.obstacles
        );
    }
}

#[test]
fn an_argument_that_is_known_only_later_is_no_obstacle() {
    for text in [
        r#"[{"skill": "http_call", "params": {"url": "${ .u }"}}]"#,
        r#"[{"skill": "compute", "params": {"op": "draw", "min": "${ .a }", "max": "${ .b }"}}]"#,
        r#"[{"skill": "compute", "params": {"op": "sha256", "value": "${ . }"}}]"#,
        r#"[{"skill": "http_call", "params": {"url": "http://a/${ .x }/b"}}]"#,
        r#"[{"skill": "compute", "params": {"op": "draw", "min": 5, "max": "${ .b }"}}]"#,
    ] {
        let forecast = judged(&plan(text), &Limits::default());
        assert!(forecast.feasible(), "{text}: {:?}", forecast.obstacles);
    }
}

#[test]
fn a_document_is_told_of_every_call_that_can_only_fail_and_where() {
    const HEAD: &str = "document: {dsl: '1.0.3', namespace: t, name: t, version: '1.0.0'}\n";
    let told = |tasks: &str| {
        let text = format!("{HEAD}do:\n{tasks}");
        let problems = check(text.as_bytes(), &Skills::builtin()).map(drop);
        let problems = problems.err().unwrap_or_default();
        let told = problems.iter().map(|p| {
            let place = p.path().unwrap_or_default().to_owned();
            (p.code(), place, p.message.clone())
        });
        told.collect::<Vec<_>>()
    };
    let wrong = "  - a: {call: compute, with: {op: draw, min: 5, max: 1}}
  - b: {do: [{c: {call: json_transform, with: {query: '.['}}}]}
  - d: {call: http, with: {method: get, endpoint: 'http://a/', headers: {authorization: x}}}
  - e: {call: compute, with: {op: draw, min: 1, max: 5}}
";
    let places = |told: &[(&'static str, String, String)]| {
        let places = told
            .iter()
            .map(|(code, place, _)| format!("{code} {place}"));
        places.collect::<Vec<_>>()
    };
    let problems = told(wrong);
    let all = [
        "AOS-E224 /do/0/a",
        "AOS-E224 /do/1/b/do/0/c",
        "AOS-E224 /do/2/d",
    ];
    assert_eq!(places(&problems), all);
    assert!(problems[0].2.contains("not below `min`"), "{problems:?}");
    // Beside other problems too.
    let beside = told(&format!(
        "{wrong}  - f: {{call: teleport}}\n  - g: {{set: {{}}}}\n"
    ));
    assert_eq!(places(&beside)[..3], all);
    assert_eq!(beside.len(), 5, "{beside:?}");
    let loose = format!(
        "{HEAD}evaluate: {{mode: loose}}\ndo: [{{a: {{call: compute, with: {{op: draw, min: .a, max: .b}}}}}}]"
    );
    assert!(check(loose.as_bytes(), &Skills::builtin()).is_ok());
    let twice = format!(
        "{HEAD}use: {{functions: {{f: {{call: compute, with: {{op: div, a: 1, b: 0}}}}}}}}\ndo: [{{a: {{call: f}}}}, {{b: {{call: f}}}}]"
    );
    let problems = check(twice.as_bytes(), &Skills::builtin()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn budgets_allow_lists_rates_deadlines_and_steps_are_limits() {
    let rare = |n: usize| {
        let calls = vec![r#"{"skill": "rare", "params": {}}"#; n];
        plan(&format!("[{}]", calls.join(",")))
    };
    assert!(judged(&rare(2), &with_budget(14)).feasible());
    let short = judged(&rare(2), &with_budget(13));
    assert_eq!(kinds(&short), [("budget", "/1")]);
    assert_eq!(
        short.obstacles[0].why,
        "rare may cost 7; 7 of 13 are spent by then"
    );
    assert_eq!(kinds(&judged(&rare(3), &Limits::default())), [("rate", "")]);
    let allow = |names: &[&str]| Limits {
        allow: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..Limits::default()
    };
    assert_eq!(
        kinds(&judged(&rare(1), &allow(&["http_call"]))),
        [("not-allowed", "/0")]
    );
    assert!(judged(&rare(1), &allow(&["rare"])).feasible());
    let hurried = |ms| Limits {
        deadline_ms: Some(ms),
        ..Limits::default()
    };
    assert!(judged(&rare(1), &hurried(100)).feasible());
    assert_eq!(kinds(&judged(&rare(1), &hurried(99))), [("deadline", "")]);
    let many = document("  - a: {for: {in: '[range(4)]'}, do: [{b: {set: {x: 1}}}]}\n");
    let mut few = many.clone();
    few.settings.steps_max = 4;
    assert!(judged(&many, &Limits::default()).feasible());
    assert_eq!(kinds(&judged(&few, &Limits::default())), [("steps", "")]);
}

#[test]
fn loops_and_waits_count_as_often_as_is_known() {
    let four = document(
        "  - a: {for: {in: '[range(4)]'}, do: [{b: {call: rare, with: {}}}, {c: {wait: {milliseconds: 50}}}]}\n",
    );
    let forecast = judged(&four, &with_budget(27));
    assert_eq!(forecast.cost.expected, 28);
    assert_eq!(forecast.latency_ms.expected, 4 * (100 + 50));
    assert_eq!(forecast.obstacles[0].kind, ObstacleKind::Budget);
    let unknown = document("  - a: {for: {in: .items}, do: [{b: {call: rare, with: {}}}]}\n");
    let forecast = judged(&unknown, &Limits::default());
    assert_eq!(forecast.cost.expected, 7);
    assert_eq!(forecast.assumptions.len(), 1, "{:?}", forecast.assumptions);
}

#[test]
fn the_least_of_all_lists_and_budgets_holds() {
    let mut own = plan(TWO);
    own.settings.budget = Some(0);
    own.allow = Some(["http_call".to_owned()].into());
    let forecast = judged(&own, &with_budget(100));
    assert_eq!(kinds(&forecast), [("budget", "/0"), ("not-allowed", "/1")]);
    assert_eq!(forecast.budget, Some(0));
}
