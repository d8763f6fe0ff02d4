use super::*;
use crate::fault::{Code, Fault};

/// A world in which timeouts fire before anything else answers.
fn late(need: &Need) -> Given {
    let Need::Waits(waits) = need else {
        panic!("needs no answer: {need:?}")
    };
    let expires = waits.iter().find(|wait| {
        matches!(
            &wait.what,
            Waiting::Timer {
                expires: Some(_),
                ..
            }
        )
    });
    match expires {
        Some(wait) => Given::to(wait, Answer::Fired),
        None => answer(need, &mut 0),
    }
}

fn late_story(text: &str) -> Story {
    finish_with(machine(text, "{}", 7), Vec::new(), 64, late)
}

const CALL: &str = "call: http, with: { method: get, endpoint: 'http://127.0.0.1:1/' }";

#[test]
fn a_step_that_is_not_done_in_time_fails_and_can_be_caught() {
    let text = document(&format!(
        "
  - t:
      try:
        - slow: {{ {CALL}, timeout: {{ after: PT5S }} }}
      catch: {{ errors: {{ with: {{ type: 'https://serverlessworkflow.io/spec/1.0.0/errors/timeout', status: 408 }} }},
               do: [ {{ late: {{ set: {{ late: '${{ $error.instance }}' }} }} }} ] }}"
    ));
    let story = late_story(&text);
    assert_eq!(story.output(), r#"{"late":"/do/0/t/try/0/slow"}"#);
    assert_eq!(
        story.kinds(),
        [
            "START", "INTENT", "INTENT", "DECISION", "STEP", "STEP", "STEP", "END"
        ]
    );
    let intents: Vec<_> = story
        .decoded()
        .into_iter()
        .filter_map(|event| match event {
            Event::Intent(intent) => Some((intent.effect, intent.duration_ms)),
            _ => None,
        })
        .collect();
    assert_eq!(
        intents,
        [("timeout".into(), Some(5000)), ("http_call".into(), None)]
    );
}

#[test]
fn a_step_that_is_done_in_time_has_no_timeout_left() {
    let text = document(&format!(
        "\n  - quick: {{ {CALL}, timeout: {{ after: PT5S }} }}\n  - nap: {{ wait: PT9S }}"
    ));
    let story = finish_with(machine(&text, "{}", 7), Vec::new(), 64, |need| match need {
        Need::Waits(waits) if matches!(waits[0].what, Waiting::Effect(_)) => answer(need, &mut 0),
        need => late(need),
    });
    assert!(
        matches!(story.ended, Ended::Completed(_)),
        "the timeout of `quick` is over"
    );
}

#[test]
fn a_block_that_is_not_done_in_time_is_left_wherever_it_stands() {
    let text = document(
        "
  - block:
      timeout: { after: PT5S }
      for: { in: '[1, 2, 3]' }
      do:
        - inner: { do: [ { nap: { wait: PT9S } } ] }",
    );
    let story = late_story(&text);
    assert!(
        story.problem().contains(r#""instance":"/do/0/block""#),
        "{}",
        story.problem()
    );
    assert_eq!(story.activations(), ["/do/0/block"]);
}

#[test]
fn the_workflows_timeout_ends_the_run_and_nothing_catches_it() {
    let text = "document: {dsl: '1.0.3', namespace: test, name: t, version: '1.0.0'}
timeout: { after: { minutes: 1 } }
do:
  - t:
      try: [ { nap: { wait: PT9S } } ]
      catch: {}";
    let story = late_story(text);
    assert!(
        story.problem().contains(r#""code":"TIMEOUT""#),
        "{}",
        story.problem()
    );
    assert_eq!(
        story.kinds(),
        ["START", "INTENT", "INTENT", "DECISION", "END"]
    );
    assert!(
        matches!(run(text, "{}").ended, Ended::Completed(_)),
        "in time"
    );
}

#[test]
fn a_named_timeout_is_found_and_one_that_is_computed_too() {
    let text = "document: {dsl: '1.0.3', namespace: test, name: t, version: '1.0.0'}
use: { timeouts: { brief: { after: PT1S } } }
do:
  - a: { wait: PT9S, timeout: brief }";
    assert!(late_story(text).problem().contains("within 1000 ms"));
    let computed = document("\n  - a: { wait: PT9S, timeout: { after: '${ \"PT\\(1 + 1)S\" }' } }");
    assert!(late_story(&computed).problem().contains("within 2000 ms"));
}

#[test]
fn an_attempt_that_takes_too_long_is_retried() {
    let text = document(&format!(
        "
  - t:
      try: [ {{ slow: {{ {CALL} }} }} ]
      catch: {{ retry: {{ limit: {{ attempt: {{ count: 2, duration: PT1S }} }} }} }}"
    ));
    let mut expired = 0;
    let story = finish_with(machine(&text, "{}", 7), Vec::new(), 64, |need| {
        expired += 1;
        if expired <= 2 {
            late(need)
        } else {
            let Need::Waits(waits) = need else {
                panic!("waits")
            };
            let effect = waits
                .iter()
                .find(|w| matches!(w.what, Waiting::Effect(_)))
                .unwrap();
            Given::to(
                effect,
                Answer::Effect(Ok(Value::from_text("done").unwrap())),
            )
        }
    });
    assert_eq!(story.output(), r#""done""#);
    let late = story
        .decoded()
        .into_iter()
        .filter(|event| matches!(event, Event::Decision(d) if d.subject == "timeout"));
    assert_eq!(late.count(), 2);
}

#[test]
fn an_answer_in_time_that_is_a_fault_is_that_fault() {
    let text = document(&format!(
        "\n  - ask: {{ {CALL}, timeout: {{ after: PT5S }} }}"
    ));
    let story = finish_with(machine(&text, "{}", 7), Vec::new(), 64, |need| {
        let Need::Waits(waits) = need else {
            panic!("waits")
        };
        let effect = waits
            .iter()
            .find(|w| matches!(w.what, Waiting::Effect(_)))
            .unwrap();
        Given::to(
            effect,
            Answer::Effect(Err(Fault::new(Code::Http404, "nobody"))),
        )
    });
    assert!(story.problem().contains("HTTP_404"));
}
