use super::*;
use crate::seed::RootSeed;
use aos_format::digest::RunId;
use aos_format::event::{self, Step};
use aos_format::record::Stored;

mod catch;
mod fork;
mod listen;
mod modes;
mod timeout;

/// A run in memory: what it made, and how it ended.
struct Story {
    events: Vec<Emission>,
    ended: Ended,
}

impl Story {
    fn steps(&self) -> Vec<Step> {
        self.decoded()
            .into_iter()
            .filter_map(|event| match event {
                Event::Step(step) => Some(step),
                _ => None,
            })
            .collect()
    }

    fn decoded(&self) -> Vec<Event> {
        self.events
            .iter()
            .map(|e| Event::decode(e.kind, &e.draft.det).unwrap().1)
            .collect()
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.events.iter().map(|e| e.kind.name()).collect()
    }

    fn activations(&self) -> Vec<String> {
        self.steps()
            .into_iter()
            .map(|step| step.activation)
            .collect()
    }

    fn output(&self) -> String {
        match &self.ended {
            Ended::Completed(value) => value.to_string(),
            Ended::Faulted(problem) | Ended::Cancelled(problem) => panic!("faulted: {problem}"),
        }
    }

    fn problem(&self) -> String {
        match &self.ended {
            Ended::Completed(value) => panic!("completed: {value}"),
            Ended::Faulted(problem) | Ended::Cancelled(problem) => problem.to_string(),
        }
    }
}

fn machine(document: &str, input: &str, seed: u64) -> Machine {
    let definition = Definition::load(document.as_bytes()).unwrap();
    let run = RunId::derive(&definition.namespace, &definition.name, "key", 0);
    let root = RootSeed::from_number(seed);
    let info = StartInfo {
        key: "key".into(),
        generation: 0,
        root_seed: root.commitment(),
        budget: None,
        pins: BTreeMap::new(),
    };
    let chain = Chain::new(run, root.run_seed(run));
    let input = Value::from_json(input.as_bytes()).unwrap();
    Machine::new(
        Arc::new(definition),
        Arc::new(Skills::builtin()),
        chain,
        info,
        input,
        Stride::DEFAULT,
    )
}

/// The answer of a world in which effects echo their request and clocks tick a second a reading.
fn answer(need: &Need, readings: &mut i64) -> Given {
    let Need::Waits(waits) = need else {
        panic!("needs no answer: {need:?}")
    };
    let wait = &waits[0];
    let answer = match &wait.what {
        Waiting::Clock(_) => {
            *readings += 1;
            Answer::Clock(*readings * 1_000_000_000)
        }
        Waiting::Timer { .. } => Answer::Fired,
        Waiting::Effect(effect) => Answer::Effect(Ok(effect.request.clone())),
        Waiting::Event { .. } | Waiting::Resumption => panic!("nobody sends anything"),
    };
    Given::to(wait, answer)
}

fn finish(machine: Machine, events: Vec<Emission>, mut readings: i64, limit: usize) -> Story {
    finish_with(machine, events, limit, |need| answer(need, &mut readings))
}

fn finish_with(
    mut machine: Machine,
    mut events: Vec<Emission>,
    limit: usize,
    mut answer: impl FnMut(&Need) -> Given,
) -> Story {
    let mut given = None;
    loop {
        match machine.advance(given.take(), limit, &mut events) {
            Need::More => {}
            Need::Ended(ended) => return Story { events, ended },
            need => given = Some(answer(&need)),
        }
    }
}

fn run(document: &str, input: &str) -> Story {
    finish(machine(document, input, 7), Vec::new(), 0, 64)
}

fn document(tasks: &str) -> String {
    format!("document: {{dsl: '1.0.3', namespace: test, name: t, version: '1.0.0'}}\ndo:\n{tasks}")
}

const EVERYTHING: &str = "
  - setUp:
      set: { total: 0, seen: [], list: '${ .items }' }
      export: { as: '{ items: .list }' }
  - walk:
      for: { each: item, in: '$context.items', at: i }
      while: .total < 100
      do:
        - pick:
            switch:
              - even: { when: '$item % 2 == 0', then: add }
              - odd: { then: draw }
        - add:
            set: '${ {total: (.total + $item), seen: (.seen + [$i])} }'
            then: exit
        - draw:
            call: compute
            with: { op: draw, min: 0, max: 1000000 }
            output: { as: '$input + {total: ($input.total + 1), last: .}' }
  - nap:
      wait: { seconds: 5 }
  - stamp:
      if: .total > 0
      set: '${ . + {at: now, since: $workflow.startedAt.epoch.seconds} }'
  - ask:
      call: http
      with: { method: post, endpoint: 'http://127.0.0.1:1/x', body: '${ {total} }' }
  - never:
      if: 'false'
      raise: { error: { type: 'https://example.com/never', status: 500 } }
";

const ITEMS: &str = r#"{"items": [1, 2, 3, 4, 5, 6]}"#;

#[test]
fn the_same_run_gives_the_same_digests_however_it_is_cut_into_turns() {
    let document = document(EVERYTHING);
    let whole = finish(machine(&document, ITEMS, 7), Vec::new(), 0, 1_000);
    for limit in [1, 2, 3, 7] {
        let cut = finish(machine(&document, ITEMS, 7), Vec::new(), 0, limit);
        let digests = |story: &Story| story.events.iter().map(|e| e.digest).collect::<Vec<_>>();
        assert_eq!(digests(&cut), digests(&whole), "limit {limit}");
    }
    let other_seed = finish(machine(&document, ITEMS, 8), Vec::new(), 0, 64);
    assert_ne!(
        other_seed.events.last().unwrap().digest,
        whole.events.last().unwrap().digest
    );
}

#[test]
fn a_run_restored_after_any_event_goes_on_to_the_same_digests() {
    restored_after_any_event(Recording::Values);
}

#[test]
fn a_run_recorded_as_digests_has_the_same_history_and_stores_no_value_of_a_step() {
    let digests = restored_after_any_event(Recording::Digests);
    let values = restored_after_any_event(Recording::Values);
    let history = |story: &Story| story.events.iter().map(|e| e.digest).collect::<Vec<_>>();
    assert_eq!(history(&digests), history(&values));
    let of_steps = |story: &Story| {
        let steps = story.events.iter().filter(|e| e.kind == Kind::Step);
        steps.flat_map(Emission::stored).count()
    };
    assert!(of_steps(&values) > 0);
    assert_eq!(of_steps(&digests), 0);
    let others = digests.events.iter().filter(|e| e.kind != Kind::Step);
    let mut values = others.flat_map(|e| &e.draft.values);
    assert!(values.all(|value| !matches!(value.stored, Stored::Absent)));
}

#[test]
fn an_error_is_stored_at_any_level() {
    let caught = "
  - attempt:
      try: [{ fail: { raise: { error: { type: 'https://example.com/e', status: 500 } } } }]
      catch: { do: [{ note: { set: { failed: true } } }] }
";
    let mut failing = machine(&document(caught), "{}", 7);
    failing.set_recording(Recording::Digests);
    let story = finish(failing, Vec::new(), 0, 64);
    let errors = story.events.iter().filter(|e| e.kind == Kind::Step);
    let slot = event::slot_of(Kind::Step, "error").unwrap();
    let stored: Vec<u8> = errors
        .flat_map(Emission::stored)
        .map(|(slot, _)| slot)
        .collect();
    assert_eq!(stored, [slot]);
}

/// The whole story, after every event of which a machine was restored that went on the same.
fn restored_after_any_event(recording: Recording) -> Story {
    let document = document(EVERYTHING);
    let machine = |document: &str, input: &str, seed: u64| {
        let mut machine = machine(document, input, seed);
        machine.set_recording(recording);
        machine
    };
    let whole = finish(machine(&document, ITEMS, 7), Vec::new(), 0, 1_000);
    let readings =
        |events: &[Emission]| events.iter().filter(|e| e.kind == Kind::Time).count() as i64;
    for n in 1..whole.events.len() {
        let mut first = machine(&document, ITEMS, 7);
        let mut events = Vec::new();
        let mut given = None;
        let mut clock = 0;
        while events.len() < n {
            match first.advance(given.take(), n - events.len(), &mut events) {
                Need::More => {}
                need => given = Some(answer(&need, &mut clock)),
            }
        }
        let saved = Value::from_json(first.save().unwrap().canonical()).unwrap();
        let mut second = machine(&document, ITEMS, 7);
        let chain = first.chain().clone();
        second
            .restore(&saved, chain, &mut |seq, slot| {
                Ok(stored(&events, seq, slot))
            })
            .unwrap();
        assert_eq!(second.save().unwrap(), saved, "after event {n}");
        let resumed = finish(second, events.clone(), readings(&events), 64);
        let digests = |story: &Story| story.events.iter().map(|e| e.digest).collect::<Vec<_>>();
        assert_eq!(digests(&resumed), digests(&whole), "after event {n}");
    }
    whole
}

/// The value that record `seq` stores in `slot`.
fn stored(events: &[Emission], seq: u64, slot: u8) -> (Value, Place) {
    let emission = &events[seq as usize - 1];
    let value = emission
        .draft
        .values
        .iter()
        .find(|value| value.slot == slot)
        .unwrap();
    let Stored::Here(bytes) = &value.stored else {
        panic!("a place is where the bytes are")
    };
    let name = event::slots(emission.kind, &emission.draft.det)
        .unwrap()
        .iter()
        .find(|s| s.0 == slot)
        .unwrap()
        .1;
    (
        Value::from_json(bytes).unwrap(),
        Place {
            seq,
            slot,
            salt: value.salt,
            name,
            kept: true,
        },
    )
}

#[test]
fn every_value_is_stored_once_and_matches_its_name() {
    let story = run(&document(EVERYTHING), ITEMS);
    for emission in &story.events {
        let names = event::slots(emission.kind, &emission.draft.det).unwrap();
        assert_eq!(names.len(), emission.draft.values.len());
        for ((slot, name), value) in names.iter().zip(&emission.draft.values) {
            assert_eq!(*slot, value.slot);
            let bytes = match &value.stored {
                Stored::Here(bytes) => {
                    let is_input = emission.kind == Kind::Step
                        && *slot == event::slot_of(Kind::Step, "input").unwrap();
                    assert!(
                        !is_input,
                        "what a step takes over is stored where it was made"
                    );
                    bytes.to_vec()
                }
                Stored::Back { seq, slot } => {
                    stored(&story.events, *seq, *slot).0.canonical().to_vec()
                }
                Stored::Absent => panic!("everything is recorded"),
            };
            assert!(name.matches(&value.salt, &bytes));
        }
    }
}

#[test]
fn a_thousand_iterations_draw_a_thousand_numbers() {
    let document = document(
        "
  - many:
      for: { in: '[range(1000)]' }
      do:
        - draw: { call: compute, with: { op: bytes, count: 16 }, output: { as: '$input + [.]' } }
  - count: { set: '${ unique | length }' }",
    );
    assert_eq!(run(&document, "[]").output(), "1000");
}

#[test]
fn activations_name_each_occurrence_of_each_step() {
    let document = document(
        "
  - again: { set: '${ . + 1 }' }
  - loop:
      for: { in: '[1, 2]' }
      do:
        - a: { set: '${ . }' }
  - more:
      switch:
        - yes: { when: . < 3, then: again }
        - no: { then: end }",
    );
    assert_eq!(
        run(&document, "1").activations(),
        [
            "/do/0/again",
            "/do/1/loop/do/0/a;1.0,1",
            "/do/1/loop/do/0/a;1.1,1",
            "/do/1/loop",
            "/do/2/more",
            "/do/0/again;2",
            "/do/1/loop/do/0/a;2.0,1",
            "/do/1/loop/do/0/a;2.1,1",
            "/do/1/loop;2",
            "/do/2/more;2",
        ]
    );
}

#[test]
fn exit_ends_the_iteration_and_end_the_run() {
    let story = run(
        &document(
            "
  - walk:
      for: { in: '[1, 2, 3, 4]' }
      do:
        - check:
            switch:
              - stop: { when: '$item == 3', then: end }
              - skip: { when: '$item == 1', then: exit }
              - go: { then: continue }
        - note: { set: '${ . + [$item] }' }
  - after: { set: { unreachable: true } }",
        ),
        "[]",
    );
    assert_eq!(story.output(), "[2]");
}

#[test]
fn a_case_that_continues_goes_to_the_next_step_whatever_the_switch_says() {
    let document = document(
        "
  - pick:
      switch:
        - on: { when: .on, then: continue }
      then: end
  - next: { set: { reached: true } }",
    );
    assert_eq!(
        run(&document, r#"{"on": true}"#).output(),
        r#"{"reached":true}"#
    );
    assert_eq!(
        run(&document, r#"{"on": false}"#).output(),
        r#"{"on":false}"#,
        "no case: the switch's own then"
    );
}

#[test]
fn no_iterations_give_the_input_and_while_is_asked_before_each() {
    let document = |list: &str, condition: &str| {
        document(&format!(
            "
  - walk:
      for: {{ in: '{list}' }}
      while: '{condition}'
      do:
        - add: {{ set: '${{ . + $item }}' }}"
        ))
    };
    assert_eq!(run(&document("[]", "true"), "5").output(), "5");
    assert_eq!(run(&document("[1, 2, 3]", ". < 7"), "5").output(), "8");
    assert_eq!(run(&document("[1, 2, 3]", "$item < 1"), "5").output(), "5");
}

#[test]
fn a_step_whose_if_is_false_passes_its_input_on() {
    let story = run(
        &document(
            "
  - skipped:
      if: '.x == 2'
      set: { gone: true }
      output: { as: '{lost: true}' }
      export: { as: '{lost: true}' }
      then: end
  - next: { set: '${ {x, context: $context} }' }",
        ),
        r#"{"x": 1}"#,
    );
    assert_eq!(story.output(), r#"{"context":{},"x":1}"#);
    assert_eq!(story.steps()[0].outcome, "skipped");
}

#[test]
fn a_fault_ends_the_run_with_problem_details_and_its_place() {
    let story = run(
        &document(
            "\n  - ok: { set: '${ 1 }' }\n  - bad: { set: '${ .a.b }' }\n  - never: { set: '${ 2 }' }",
        ),
        "{}",
    );
    assert!(
        story.problem().contains(r#""code":"INVALID_INPUT""#),
        "{}",
        story.problem()
    );
    assert!(
        story.problem().contains(r#""instance":"/do/1/bad""#),
        "{}",
        story.problem()
    );
    assert_eq!(story.kinds(), ["START", "STEP", "STEP", "END"]);
    let none = run(&document("\n  - two: { set: '${ 1, 2 }' }"), "{}");
    assert!(none.problem().contains("several"), "{}", none.problem());
}

#[test]
fn a_raised_error_keeps_what_its_author_wrote() {
    let story = run(
        &document(
            "\n  - r: { raise: { error: { type: 'https://example.com/e', status: 402, title: Pay, detail: '${ \"owes \\(.n)\" }' } } }",
        ),
        r#"{"n": 3}"#,
    );
    for part in [
        r#""type":"https://example.com/e""#,
        r#""status":402"#,
        r#""title":"Pay""#,
        r#""detail":"owes 3""#,
    ] {
        assert!(
            story.problem().contains(part),
            "{part} in {}",
            story.problem()
        );
    }
}

#[test]
fn effects_leave_intent_and_result_and_timers_an_intent() {
    let story = run(&document(EVERYTHING), ITEMS);
    let kinds = story.kinds();
    let count = |kind: &str| kinds.iter().filter(|k| **k == kind).count();
    assert_eq!(
        (
            count("INTENT"),
            count("RESULT"),
            count("TIME"),
            count("END")
        ),
        (2, 1, 2, 1)
    );
    let intents: Vec<_> = story
        .decoded()
        .into_iter()
        .filter_map(|event| match event {
            Event::Intent(intent) => Some((intent.effect, intent.policy, intent.duration_ms)),
            _ => None,
        })
        .collect();
    assert_eq!(intents[0], ("timer".into(), "retry".into(), Some(5_000)));
    assert_eq!(intents[1], ("http_call".into(), "hold".into(), None));
}

#[test]
fn a_value_too_large_for_a_record_is_a_fault_of_its_step() {
    let definition = Arc::new(
        Definition::load(document("\n  - big: { set: '${ [range(1000)] }' }").as_bytes()).unwrap(),
    );
    let run = RunId([1; 16]);
    let root = RootSeed::from_number(1);
    let info = StartInfo {
        key: "k".into(),
        generation: 0,
        root_seed: root.commitment(),
        budget: None,
        pins: BTreeMap::new(),
    };
    let chain = Chain::new(run, root.run_seed(run));
    let machine = Machine::new(
        definition,
        Arc::new(Skills::none()),
        chain,
        info,
        Value::null(),
        Stride::MIN,
    );
    let story = finish(machine, Vec::new(), 0, 64);
    assert!(
        story.problem().contains("BUDGET_EXCEEDED"),
        "{}",
        story.problem()
    );
    let limit = value_limit(Stride::MIN);
    assert!(story.events.iter().all(|e| e.draft.value_bytes() <= limit));
}

#[test]
fn a_loop_that_never_ends_stops_at_the_runs_limit_of_steps() {
    let text = "document: {dsl: '1.0.3', namespace: test, name: t, version: '1.0.0', metadata: {aos: {steps_max: 25}}}\ndo:\n  - a: { set: {x: 1}, then: a }";
    let story = run(text, "null");
    assert!(
        story.problem().contains("limit of 25 steps"),
        "{}",
        story.problem()
    );
}

#[test]
fn a_resolution_stands_in_for_the_answer() {
    let document = document(
        "\n  - ask: { call: http, with: { method: post, endpoint: 'http://127.0.0.1:1/' } }",
    );
    for (verdict, kinds) in [
        (
            Verdict::Result(Value::from_text("paid").unwrap()),
            vec!["START", "INTENT", "DECISION", "STEP", "END"],
        ),
        (
            Verdict::Failed,
            vec!["START", "INTENT", "DECISION", "STEP", "END"],
        ),
        (
            Verdict::Retry,
            vec!["START", "INTENT", "DECISION", "RESULT", "STEP", "END"],
        ),
    ] {
        let mut machine = machine(&document, "{}", 7);
        let mut events = Vec::new();
        let need = machine.advance(None, 64, &mut events);
        assert!(matches!(need.only().unwrap().what, Waiting::Effect(_)));
        let resolution = Resolution {
            verdict,
            actor: "ada".into(),
        };
        let answer = Given::from(Answer::Resolved(resolution));
        let mut need = machine.advance(Some(answer), 64, &mut events);
        if need.only().is_some() {
            need = machine.advance(Some(super::tests::answer(&need, &mut 0)), 64, &mut events);
        }
        assert!(matches!(need, Need::Ended(_)));
        assert_eq!(
            events.iter().map(|e| e.kind.name()).collect::<Vec<_>>(),
            kinds
        );
    }
}
