use super::*;
use crate::fault::{Code, Fault};
use aos_format::event::Decision;

/// A world in which the first `failures` calls fail with `code` and each later one echoes its request.
fn failing(failures: usize, code: Code) -> impl FnMut(&Need) -> Given {
    let (mut calls, mut readings) = (0, 0);
    move |need| {
        let wait = match need {
            Need::Waits(waits) => &waits[0],
            other => panic!("needs no answer: {other:?}"),
        };
        if let Waiting::Effect(_) = wait.what {
            calls += 1;
            if calls <= failures {
                let fault = Fault::new(code, format!("call {calls}"));
                return Given::to(wait, Answer::Effect(Err(fault)));
            }
        }
        answer(need, &mut readings)
    }
}

fn story(text: &str, input: &str, failures: usize, code: Code) -> Story {
    let answers = failing(failures, code);
    finish_with(machine(text, input, 7), Vec::new(), 64, answers)
}

fn decisions(story: &Story) -> Vec<Decision> {
    let events = story.decoded().into_iter();
    let decisions = events.filter_map(|event| match event {
        Event::Decision(decision) => Some(decision),
        _ => None,
    });
    decisions.collect()
}

fn timers(story: &Story) -> Vec<u64> {
    let events = story.decoded().into_iter();
    let timers = events.filter_map(|event| match event {
        Event::Intent(intent) if intent.effect == "timer" => intent.duration_ms,
        _ => None,
    });
    timers.collect()
}

const CALL: &str = "call: http, with: { method: get, endpoint: 'http://127.0.0.1:1/' }";

fn with_retry(retry: &str) -> String {
    document(&format!(
        "
  - t:
      try:
        - count: {{ set: '${{ {{n: (.n + 1)}} }}', export: {{ as: '$context + {{n: (($context.n // 0) + 1)}}' }} }}
        - ask: {{ {CALL}, output: {{ as: '{{n: $input.n, context: $context}}' }} }}
      catch:
        errors: {{ with: {{ status: 503 }} }}
        retry: {retry}"
    ))
}

#[test]
fn a_caught_error_gives_the_input_when_there_is_nothing_to_do_about_it() {
    let text = document(
        "
  - t:
      try:
        - bad: { raise: { error: { type: 'https://example.com/e', status: 402 } } }
      catch: {}
  - after: { set: '${ {was: .} }' }",
    );
    let story = run(&text, r#"{"n": 1}"#);
    assert_eq!(story.output(), r#"{"was":{"n":1}}"#);
    assert_eq!(
        story
            .steps()
            .iter()
            .map(|s| s.outcome.as_str())
            .collect::<Vec<_>>(),
        ["faulted", "completed", "completed"]
    );
}

#[test]
fn each_property_of_the_filter_must_be_as_it_says() {
    let text = |filter: &str| {
        document(&format!(
            "
  - t:
      try:
        - bad: {{ raise: {{ error: {{ type: 'https://example.com/e', status: 402, title: Pay, detail: Now }} }} }}
      catch: {{ errors: {{ with: {{ {filter} }} }}, do: [ {{ caught: {{ set: {{ caught: true }} }} }} ] }}"
        ))
    };
    for filter in [
        "type: 'https://example.com/e'",
        "status: 402",
        "title: Pay",
        "detail: Now",
        "details: Now",
        "instance: /do/0/t/try/0/bad",
        "status: 402, title: Pay",
    ] {
        assert_eq!(
            run(&text(filter), "{}").output(),
            r#"{"caught":true}"#,
            "{filter}"
        );
    }
    for filter in [
        "type: 'https://example.com/other'",
        "status: 403",
        "title: Paid",
        "detail: Later",
        "instance: /do/0/t",
        "status: 402, title: Paid",
    ] {
        assert!(
            run(&text(filter), "{}").problem().contains("402"),
            "{filter}"
        );
    }
}

#[test]
fn when_and_except_when_see_the_error_under_its_name() {
    let text = |conditions: &str| {
        document(&format!(
            "
  - t:
      try:
        - bad: {{ raise: {{ error: {{ type: 'https://example.com/e', status: 402 }} }} }}
      catch: {{ as: problem, {conditions}, do: [ {{ caught: {{ set: {{ status: '${{ $problem.status }}' }} }} }} ] }}"
        ))
    };
    let caught = |conditions| match run(&text(conditions), r#"{"limit": 402}"#).ended {
        Ended::Completed(output) => Some(output.to_string()),
        _ => None,
    };
    let yes = Some(r#"{"status":402}"#.to_owned());
    assert_eq!(caught("when: $problem.status == .limit"), yes);
    assert_eq!(caught("when: $problem.status == 500"), None);
    assert_eq!(caught("exceptWhen: $problem.status == 500"), yes);
    assert_eq!(caught("exceptWhen: $problem.status == .limit"), None);
    assert_eq!(caught("when: 'true', exceptWhen: 'true'"), None);
}

#[test]
fn a_condition_that_fails_is_a_fault_of_the_try() {
    let text = document(
        "
  - outer:
      try:
        - t:
            try:
              - bad: { raise: { error: { type: 'https://example.com/e', status: 402 } } }
            catch: { when: .a.b }
      catch: { as: e, do: [ { seen: { set: { at: '${ $e.instance }', type: '${ $e.type }' } } } ] }",
    );
    let story = run(&text, r#"{"a": 1}"#);
    assert!(
        story.output().contains(r#""at":"/do/0/outer/try/0/t""#),
        "{}",
        story.output()
    );
    assert!(
        story.output().contains("errors/expression"),
        "{}",
        story.output()
    );
}

#[test]
fn an_error_that_the_inner_try_does_not_catch_goes_to_the_outer_one() {
    let text = document(
        "
  - outer:
      try:
        - inner:
            try:
              - nested: { do: [ { bad: { raise: { error: { type: 'https://example.com/e', status: 402 } } } } ] }
            catch: { errors: { with: { status: 500 } } }
        - never: { set: { never: true } }
      catch: { do: [ { caught: { set: { by: outer } } } ] }
  - after: { set: '${ . + {after: true} }' }",
    );
    let story = run(&text, "{}");
    assert_eq!(story.output(), r#"{"after":true,"by":"outer"}"#);
    assert_eq!(
        story.activations(),
        [
            "/do/0/outer/try/0/inner/try/0/nested/do/0/bad",
            "/do/0/outer/catch/do/0/caught",
            "/do/0/outer",
            "/do/1/after",
        ]
    );
}

#[test]
fn a_fault_in_the_handler_is_not_caught_by_its_own_try() {
    let text = document(
        "
  - t:
      try:
        - bad: { raise: { error: { type: 'https://example.com/e', status: 402 } } }
      catch: { do: [ { worse: { raise: { error: { type: 'https://example.com/w', status: 500 } } } } ] }",
    );
    assert!(run(&text, "{}").problem().contains("https://example.com/w"));
}

#[test]
fn each_retry_begins_from_the_trys_own_input_and_context() {
    let story = story(
        &with_retry("{ limit: { attempt: { count: 3 } } }"),
        r#"{"n": 0}"#,
        2,
        Code::Http503,
    );
    assert_eq!(
        story.output(),
        r#"{"context":{"n":1},"n":1}"#,
        "not once per attempt"
    );
    assert_eq!(
        story.activations(),
        [
            "/do/0/t/try/0/count;1r1,1",
            "/do/0/t/try/1/ask;1r1,1",
            "/do/0/t/try/0/count;1r2,1",
            "/do/0/t/try/1/ask;1r2,1",
            "/do/0/t/try/0/count;1r3,1",
            "/do/0/t/try/1/ask;1r3,1",
            "/do/0/t",
        ]
    );
    let decisions: Vec<_> = decisions(&story)
        .into_iter()
        .map(|d| (d.activation, d.subject, d.verdict))
        .collect();
    let retried = |n: u64| {
        (
            format!("/do/0/t;1r{n}"),
            "retry".to_owned(),
            "retry".to_owned(),
        )
    };
    assert_eq!(decisions, [retried(1), retried(2)]);
}

#[test]
fn every_attempt_sends_the_same_idempotency_key() {
    let story = story(
        &with_retry("{ limit: { attempt: { count: 3 } } }"),
        r#"{"n": 0}"#,
        2,
        Code::Http503,
    );
    let keys: Vec<_> = story
        .decoded()
        .into_iter()
        .filter_map(|event| match event {
            Event::Intent(intent) => intent.idempotency,
            _ => None,
        })
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[test]
fn waits_grow_as_the_backoff_says() {
    for (backoff, expected) in [
        ("constant", [2000, 2000, 2000]),
        ("linear", [2000, 4000, 6000]),
        ("exponential", [2000, 4000, 8000]),
    ] {
        let retry = format!(
            "{{ delay: PT2S, backoff: {{ {backoff}: {{}} }}, limit: {{ attempt: {{ count: 3 }} }} }}"
        );
        let story = story(&with_retry(&retry), r#"{"n": 0}"#, 3, Code::Http503);
        assert_eq!(timers(&story), expected, "{backoff}");
    }
}

#[test]
fn jitter_is_drawn_within_its_range_and_the_same_for_the_same_seed() {
    let retry = "{ delay: PT1S, jitter: { from: { milliseconds: 10 }, to: { milliseconds: 500 } }, limit: { attempt: { count: 8 } } }";
    let text = with_retry(retry);
    let first = timers(&story(&text, r#"{"n": 0}"#, 8, Code::Http503));
    let again = timers(&story(&text, r#"{"n": 0}"#, 8, Code::Http503));
    assert_eq!(first, again);
    assert!(
        first.iter().all(|ms| (1010..=1500).contains(ms)),
        "{first:?}"
    );
    assert!(
        first.iter().any(|ms| *ms != first[0]),
        "each attempt draws anew: {first:?}"
    );
    let other = finish_with(
        machine(&text, r#"{"n": 0}"#, 8),
        Vec::new(),
        64,
        failing(8, Code::Http503),
    );
    assert_ne!(first, timers(&other), "another seed");
}

#[test]
fn retries_that_are_used_up_leave_the_error_or_call_the_handler() {
    let count = "{ limit: { attempt: { count: 2 } } }";
    let lost = story(&with_retry(count), r#"{"n": 0}"#, 9, Code::Http503);
    assert!(lost.problem().contains("call 3"), "{}", lost.problem());
    let last = decisions(&lost).pop().unwrap();
    assert_eq!(
        (last.rule.as_str(), last.verdict.as_str()),
        ("attempts", "stop")
    );
    let handled =
        with_retry(count) + "\n        do: [ { gaveUp: { set: { last: '${ $error.detail }' } } } ]";
    assert_eq!(
        story(&handled, r#"{"n": 0}"#, 9, Code::Http503).output(),
        r#"{"last":"call 3"}"#
    );
}

#[test]
fn another_error_is_not_retried_and_a_condition_decides_too() {
    let plain = with_retry("{ limit: { attempt: { count: 2 } } }");
    assert!(
        story(&plain, r#"{"n": 0}"#, 9, Code::Http404)
            .problem()
            .contains("call 1")
    );
    let unless = with_retry(
        "{ exceptWhen: '$error.detail == \"call 2\"', limit: { attempt: { count: 5 } } }",
    );
    let story = story(&unless, r#"{"n": 0}"#, 9, Code::Http503);
    assert!(story.problem().contains("call 2"));
    assert_eq!(decisions(&story).last().unwrap().rule, "when");
}

#[test]
fn no_retry_begins_after_the_limit_in_time() {
    // Every reading of the clock is a second later than the one before.
    let text = with_retry("{ limit: { duration: PT3S } }");
    let story = story(&text, r#"{"n": 0}"#, 9, Code::Http503);
    assert!(story.problem().contains("call 3"), "{}", story.problem());
    assert_eq!(decisions(&story).last().unwrap().rule, "duration");
}

#[test]
fn a_reusable_policy_is_found_by_name() {
    let text = with_retry("often").replacen(
        "do:",
        "use: { retries: { often: { limit: { attempt: { count: 2 } } } } }\ndo:",
        1,
    );
    assert_eq!(
        story(&text, r#"{"n": 0}"#, 2, Code::Http503).output(),
        r#"{"context":{"n":1},"n":1}"#
    );
}

#[test]
fn a_function_is_called_with_its_arguments_and_knows_nothing_else() {
    let text = "document: {dsl: '1.0.3', namespace: test, name: t, version: '1.0.0'}
use:
  functions:
    add:
      input: { schema: { document: { type: object, required: [a, b] } } }
      set: '${ .a + .b }'
do:
  - first: { call: add, with: { a: '${ .n }', b: 2 } }
  - second: { call: add, with: { a: '${ . }' } }";
    let story = run(text, r#"{"n": 40}"#);
    let problem = story.problem();
    assert!(
        problem.contains("SCHEMA_ERROR") && problem.contains("/required"),
        "{problem}"
    );
    assert!(
        problem.contains(r#""instance":"/use/functions/add""#),
        "{problem}"
    );
    assert_eq!(
        story.activations(),
        [
            "/do/0/first/call/add",
            "/do/0/first",
            "/do/1/second/call/add"
        ]
    );
}

#[test]
fn data_is_checked_against_schemas_where_the_specification_says() {
    let task = |rest: &str| document(&format!("\n  - a: {{ set: '${{ . }}', {rest} }}"));
    let schema = "schema: { format: json, document: { type: object, required: [ok] } }";
    for (rest, what) in [
        (format!("input: {{ {schema} }}"), "input"),
        (format!("output: {{ {schema} }}"), "output"),
        (format!("export: {{ {schema}, as: . }}"), "export"),
    ] {
        assert_eq!(run(&task(&rest), r#"{"ok": 1}"#).output(), r#"{"ok":1}"#);
        let problem = run(&task(&rest), "{}").problem();
        assert!(problem.contains(&format!("{what} as a whole")), "{problem}");
        assert!(problem.contains("errors/validation"), "{problem}");
    }
    let whole = |section: &str| {
        format!(
            "document: {{dsl: '1.0.3', namespace: test, name: t, version: '1.0.0'}}\n{section}: {{ {schema} }}\ndo:\n  - a: {{ set: '${{ . }}' }}"
        )
    };
    for section in ["input", "output"] {
        assert_eq!(run(&whole(section), r#"{"ok": 1}"#).output(), r#"{"ok":1}"#);
        let problem = run(&whole(section), "{}").problem();
        assert!(problem.contains(&format!("/{section}/schema")), "{problem}");
    }
}
