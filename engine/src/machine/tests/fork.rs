use super::*;
use aos_format::event::{Decision, LaneHead};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Answers that depend on nothing but the question, so that every order of them is one world.
fn plain(wait: &Wait) -> Option<Given> {
    let answer = match &wait.what {
        Waiting::Clock(_) => Answer::Clock(1_000_000_000),
        Waiting::Timer { expires: None, .. } => Answer::Fired,
        // Everything is done in time.
        Waiting::Timer { .. } => return None,
        Waiting::Effect(effect) => Answer::Effect(Ok(effect.request.clone())),
        Waiting::Event { .. } | Waiting::Resumption => panic!("nobody sends anything"),
    };
    Some(Given::to(wait, answer))
}

/// Which of several waits is answered first.
#[derive(Clone, Copy)]
enum Order {
    First,
    Last,
    Mixed(u64),
}

impl Order {
    fn answer(&mut self, need: &Need) -> Given {
        let Need::Waits(waits) = need else {
            panic!("needs no answer: {need:?}")
        };
        let mut given: Vec<Given> = waits.iter().filter_map(plain).collect();
        let at = match self {
            Order::First => 0,
            Order::Last => given.len() - 1,
            Order::Mixed(state) => {
                *state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (*state >> 33) as usize % given.len()
            }
        };
        given.swap_remove(at)
    }
}

fn in_order(text: &str, input: &str, mut order: Order, limit: usize) -> Story {
    finish_with(machine(text, input, 7), Vec::new(), limit, |need| {
        order.answer(need)
    })
}

fn last(story: &Story) -> aos_format::digest::Digest {
    story.events.last().unwrap().digest
}

/// Whatever order answers come in, wherever the caller pauses, and from whatever event it is restored: one history.
fn is_one_history(text: &str, input: &str) {
    let whole = in_order(text, input, Order::First, 1_000);
    assert_eq!(whole.events.last().unwrap().kind, Kind::End, "{text}");
    assert_eq!(
        last(&in_order(text, input, Order::First, 1)),
        last(&whole),
        "{text}"
    );
    for order in [Order::Last, Order::Mixed(1), Order::Mixed(2)] {
        let other = in_order(text, input, order, 7);
        assert_eq!(last(&other), last(&whole), "{text}");
        assert_eq!(other.events.len(), whole.events.len(), "{text}");
    }
    for n in 1..whole.events.len() {
        let mut first = machine(text, input, 7);
        let (mut events, mut given, mut order) = (Vec::new(), None, Order::First);
        while events.len() < n {
            match first.advance(given.take(), n - events.len(), &mut events) {
                Need::More => {}
                need => given = Some(order.answer(&need)),
            }
        }
        let saved = Value::from_json(first.save().unwrap().canonical()).unwrap();
        let mut second = machine(text, input, 7);
        second
            .restore(&saved, first.chain().clone(), &mut |seq, slot| {
                Ok(stored(&events, seq, slot))
            })
            .unwrap();
        assert_eq!(second.save().unwrap(), saved, "after event {n} of {text}");
        let resumed = finish_with(second, events, 64, |need| order.answer(need));
        let digests = |story: &Story| story.events.iter().map(|e| e.digest).collect::<Vec<_>>();
        assert_eq!(
            digests(&resumed),
            digests(&whole),
            "after event {n} of {text}"
        );
    }
}

const ALL: &str = "
  - both:
      fork:
        branches:
          - left:
              do:
                - a: { set: '${ {l: .n} }', export: { as: '$context + {left: .l}' } }
                - ask: { call: http, with: { method: get, endpoint: 'http://127.0.0.1:1/' }, output: { as: '$input + {asked: true}' } }
                - draw: { call: compute, with: { op: draw, min: 1, max: 1000000 }, output: { as: '$input + {drawn: .}' } }
          - right:
              do:
                - nap: { wait: PT5S }
                - b: { set: '${ {r: .n, at: now, since: $workflow.startedAt.epoch.seconds} }', export: { as: '$context + {right: .r}' } }
  - after: { set: '${ {out: ., context: $context} }' }";

#[test]
fn branches_give_their_outputs_in_definition_order_and_one_history() {
    let text = document(ALL);
    let story = in_order(&text, r#"{"n": 1}"#, Order::Last, 64);
    let output = story.output();
    assert!(
        output.contains(r#""context":{"left":1,"right":1}"#),
        "{output}"
    );
    assert!(output.contains(r#""out":[{"asked":true"#), "{output}");
    is_one_history(&text, r#"{"n": 1}"#);
}

#[test]
fn lanes_have_chains_of_their_own_that_the_join_absorbs() {
    let story = in_order(&document(ALL), r#"{"n": 1}"#, Order::First, 64);
    let mut heads: BTreeMap<u64, LaneHead> = BTreeMap::new();
    let mut joined = 0;
    for emission in &story.events {
        let draft = &emission.draft;
        let head = heads.get(&draft.lane);
        let (previous, event) = Event::decode(emission.kind, &draft.det).unwrap();
        let before = head.map_or(Digest::ZERO, |head| head.digest);
        assert_eq!(
            previous,
            before,
            "{} in lane {}",
            emission.kind.name(),
            draft.lane
        );
        assert_eq!(draft.lane_seq, head.map_or(0, |head| head.lane_seq) + 1);
        if let Event::Fork(fork) = &event {
            for (branch, lane) in (0u64..).zip(&fork.lanes) {
                assert_eq!(*lane, crate::chain::lane_id(0, &previous, branch));
                let digest =
                    Digest::labelled("aos.lane.v1", &[&emission.digest.0, &branch.to_le_bytes()]);
                heads.insert(
                    *lane,
                    LaneHead {
                        lane: *lane,
                        lane_seq: 0,
                        digest,
                    },
                );
            }
        }
        if let Event::Join(join) = &event {
            let absorbed: Vec<Digest> = heads
                .values()
                .filter(|h| h.lane != 0)
                .map(|h| h.digest)
                .collect();
            assert_eq!(join.digests.len(), 2);
            assert!(join.digests.iter().all(|digest| absorbed.contains(digest)));
            joined += 1;
        }
        let head = LaneHead {
            lane: draft.lane,
            lane_seq: draft.lane_seq,
            digest: emission.digest,
        };
        heads.insert(draft.lane, head);
    }
    assert_eq!((joined, heads.len()), (1, 3));
}

#[test]
fn pure_branches_take_turns_in_definition_order() {
    let text = document(
        "
  - f:
      fork:
        branches:
          - a: { do: [ { a1: { set: 1 } }, { a2: { set: 2 } } ] }
          - b: { do: [ { b1: { set: 1 } }, { b2: { set: 2 } } ] }",
    )
    .replace("set: 1", "set: { x: 1 }")
    .replace("set: 2", "set: { x: 2 }");
    let names: Vec<String> = run(&text, "{}")
        .activations()
        .into_iter()
        .map(|path| path.rsplit('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["a1", "b1", "a2", "b2", "a", "b", "f"]);
}

fn cancelled(story: &Story) -> Vec<Decision> {
    let events = story.decoded().into_iter();
    let cancelled = events.filter_map(|event| match event {
        Event::Decision(decision) if decision.subject == "lane" => Some(decision),
        _ => None,
    });
    cancelled.collect()
}

const RACE: &str = "
  - race:
      fork:
        compete: true
        branches:
          - slow: { do: [ { nap: { wait: PT9S } }, { s: { set: { won: slow } } } ] }
          - quick: { do: [ { nap: { wait: PT1S } }, { q: { set: { won: quick }, export: { as: '{by: .won}' } } } ] }
          - nested: { fork: { branches: [ { deep: { wait: PT9S } }, { deeper: { wait: PT9S } } ] } }
  - after: { set: '${ . + {context: $context} }' }";

/// Answers the wait of that branch only.
fn only(text: &str, branch: &str) -> Story {
    finish_with(machine(text, "{}", 7), Vec::new(), 64, |need| {
        let Need::Waits(waits) = need else {
            panic!("waits")
        };
        let seconds = if branch == "quick" { 1000 } else { 9000 };
        let wait = waits.iter().find(
            |w| matches!(w.what, Waiting::Timer { duration_ms, .. } if duration_ms == seconds),
        );
        Given::to(wait.unwrap(), Answer::Fired)
    })
}

#[test]
fn the_first_branch_to_end_wins_and_the_losers_are_cancelled_on_record() {
    let text = document(RACE);
    let quick = only(&text, "quick");
    assert_eq!(
        quick.output(),
        r#"{"context":{"by":"quick"},"won":"quick"}"#
    );
    let lost = cancelled(&quick);
    assert_eq!(lost.len(), 4, "slow, nested and the two below it");
    assert!(
        lost.iter()
            .all(|d| d.rule == "compete" && d.verdict == "cancelled")
    );
    let join = quick.decoded().into_iter().find_map(|event| match event {
        Event::Join(join) => Some(join),
        _ => None,
    });
    let join = join.unwrap();
    assert_eq!(
        (join.winner, join.digests.len()),
        (Some(1), 1),
        "only the winner is absorbed"
    );
    let slow = only(&text, "slow");
    assert_eq!(slow.output(), r#"{"context":{},"won":"slow"}"#);
    assert_ne!(last(&slow), last(&quick));
    assert_eq!(last(&only(&text, "quick")), last(&quick));
}

#[test]
fn what_computes_wins_against_what_waits_at_any_load() {
    let text = document(
        "
  - race:
      fork:
        compete: true
        branches:
          - ask: { call: http, with: { method: get, endpoint: 'http://127.0.0.1:1/' } }
          - count: { for: { in: '[range(50)]' }, do: [ { c: { set: '${ {n: $item} }' } } ] }",
    );
    let story = run(&text, "{}");
    assert_eq!(story.output(), r#"{"n":49}"#);
    assert_eq!(cancelled(&story).len(), 1);
}

#[test]
fn a_fault_in_a_branch_cancels_its_siblings_and_can_be_caught() {
    for compete in ["true", "false"] {
        let text = document(&format!(
            "
  - t:
      try:
        - f:
            fork:
              compete: {compete}
              branches:
                - waits: {{ wait: PT9S }}
                - fails: {{ raise: {{ error: {{ type: 'https://example.com/e', status: 402 }} }} }}
      catch: {{ do: [ {{ caught: {{ set: {{ at: '${{ $error.instance }}' }} }} }} ] }}"
        ));
        let story = run(&text, "{}");
        assert_eq!(
            story.output(),
            r#"{"at":"/do/0/t/try/0/f/fork/branches/1/fails"}"#
        );
        let lost = cancelled(&story);
        assert_eq!((lost.len(), lost[0].rule.as_str()), (1, "fault"));
    }
}

#[test]
fn end_in_a_branch_ends_the_run_with_its_output() {
    let text = document(
        "
  - f:
      fork:
        branches:
          - waits: { wait: PT9S }
          - ends: { set: { last: true }, then: end }
  - never: { set: { never: true } }",
    );
    let story = run(&text, "{}");
    assert_eq!(story.output(), r#"{"last":true}"#);
    assert_eq!(cancelled(&story).len(), 1);
}

#[test]
fn a_fork_that_times_out_cancels_its_branches_first() {
    let text = document(
        "
  - f:
      timeout: { after: PT5S }
      fork: { branches: [ { a: { wait: PT9S } }, { b: { wait: PT9S } } ] }",
    );
    let story = finish_with(machine(&text, "{}", 7), Vec::new(), 64, |need| {
        let Need::Waits(waits) = need else {
            panic!("waits")
        };
        let wait = waits.iter().find(|w| {
            matches!(
                w.what,
                Waiting::Timer {
                    expires: Some(_),
                    ..
                }
            )
        });
        Given::to(wait.unwrap(), Answer::Fired)
    });
    assert!(story.problem().contains("TIMEOUT"));
    assert_eq!(
        cancelled(&story)
            .iter()
            .filter(|d| d.rule == "timeout")
            .count(),
        2
    );
    assert_eq!(story.activations(), ["/do/0/f"]);
}

#[test]
fn branches_see_the_variables_around_the_fork_and_are_told_apart() {
    let text = document(
        "
  - each:
      for: { in: '[10, 20]', each: x }
      do:
        - f:
            fork:
              branches:
                - a: { set: '${ [$x, $index] }' }
                - b: { for: { in: '[1, 2]', each: y }, do: [ { s: { set: '${ [$x, $y] }' } } ] }",
    );
    let story = run(&text, "{}");
    assert_eq!(story.output(), "[[20,1],[20,2]]");
    assert!(
        story
            .activations()
            .contains(&"/do/0/each/do/0/f/fork/branches/1/b/do/0/s;1.1,1,1.0,1".to_owned()),
        "{:?}",
        story.activations()
    );
    is_one_history(&text, "{}");
}

#[test]
fn a_cancelled_run_says_who_cancelled_it_and_cancels_its_lanes() {
    let mut machine = machine(&document(ALL), r#"{"n": 1}"#, 7);
    let mut events = Vec::new();
    machine.advance(None, 64, &mut events);
    let control = Answer::Control(Control::Cancel, "ada".into());
    let need = machine.advance(Some(control.into()), 64, &mut events);
    let Need::Ended(Ended::Cancelled(problem)) = need else {
        panic!("{need:?}")
    };
    assert!(problem.to_string().contains("cancelled by ada"));
    let story = Story {
        events,
        ended: Ended::Cancelled(problem),
    };
    assert_eq!(cancelled(&story).len(), 2);
    assert!(
        story
            .kinds()
            .ends_with(&["SIGNAL", "DECISION", "DECISION", "END"]),
        "{:?}",
        story.kinds()
    );
}

#[test]
fn a_suspended_run_takes_answers_of_effects_and_nothing_else() {
    let mut machine = machine(&document(ALL), r#"{"n": 1}"#, 7);
    let mut events = Vec::new();
    let mut need = machine.advance(None, 64, &mut events);
    let clock = |need: &Need| match need {
        Need::Waits(waits) => waits
            .iter()
            .find(|w| matches!(w.what, Waiting::Clock(_)))
            .cloned(),
        _ => None,
    };
    while let Some(wait) = clock(&need) {
        need = machine.advance(Some(plain(&wait).unwrap()), 64, &mut events);
    }
    let suspend = Answer::Control(Control::Suspend, "ada".into());
    let need = machine.advance(Some(suspend.into()), 64, &mut events);
    let Need::Waits(waits) = &need else {
        panic!("{need:?}")
    };
    assert!(
        waits
            .iter()
            .all(|w| matches!(w.what, Waiting::Effect(_) | Waiting::Resumption)),
        "{waits:?}"
    );
    let effect = waits
        .iter()
        .find(|w| matches!(w.what, Waiting::Effect(_)))
        .unwrap();
    let before = events.len();
    let need = machine.advance(plain(effect), 64, &mut events);
    assert_eq!(events.len(), before + 1, "RESULT and no further");
    assert!(matches!(need.only().unwrap().what, Waiting::Resumption));
    let resume = Answer::Control(Control::Resume, "ada".into());
    let mut order = Order::First;
    let mut need = machine.advance(Some(resume.into()), 1_000, &mut events);
    loop {
        need = match need {
            Need::Ended(ended) => break assert!(matches!(ended, Ended::Completed(_))),
            Need::More => machine.advance(None, 1_000, &mut events),
            need => machine.advance(Some(order.answer(&need)), 1_000, &mut events),
        };
    }
}

#[test]
fn every_kind_of_block_is_one_history() {
    for tasks in [
        EVERYTHING,
        RACE_OF_COMPUTING,
        "
  - t:
      try:
        - f:
            fork:
              branches:
                - a: { do: [ { nap: { wait: PT1S } }, { s: { set: { a: 1 } } } ] }
                - b: { try: [ { bad: { raise: { error: { type: 'https://example.com/e', status: 400 } } } } ], catch: { retry: { delay: PT1S, limit: { attempt: { count: 2 } } }, do: [ { h: { set: '${ $error.status }' } } ] } }
        - late: { raise: { error: { type: 'https://example.com/late', status: 500 } } }
      catch: { as: e, do: [ { g: { set: '${ {e: $e.status, was: .} }' } } ] }
  - timed: { timeout: { after: PT9S }, do: [ { w: { wait: PT1S } } ] }",
    ] {
        is_one_history(&document(tasks), ITEMS);
    }
}

const RACE_OF_COMPUTING: &str = "
  - race:
      fork:
        compete: true
        branches:
          - two: { do: [ { a: { set: { n: 1 } } }, { b: { set: { n: 2 } } } ] }
          - one: { set: { n: 3 } }";

/// A task list of a random document, `depth` blocks deep at most. Faults stay inside a `try`: which branch fails first is a
/// matter of what arrives first.
fn tasks(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        (0..9u8).prop_map(|n| format!("{{ set: '${{ {{n: {n}, was: (tojson | length)}} }}' }}")),
        (0..9u8).prop_map(|n| format!("{{ set: '${{ . }}', export: {{ as: '$context + {{k{n}: {n}}}' }} }}")),
        Just("{ wait: PT1S }".to_owned()),
        Just("{ call: compute, with: { op: draw, min: 1, max: 100 }, output: { as: '{n: .}' } }".to_owned()),
        Just("{ call: http, with: { method: get, endpoint: 'http://127.0.0.1:1/' }, output: { as: '{n: (tojson | length)}' } }".to_owned()),
        Just("{ set: '${ {at: now} }' }".to_owned()),
        Just("{ if: '(tojson | length) % 2 == 0', set: { even: true } }".to_owned()),
    ];
    let task = if depth == 0 {
        leaf.boxed()
    } else {
        let inner = || tasks(depth - 1);
        prop_oneof![
            3 => leaf,
            1 => inner().prop_map(|list| format!("{{ do: {list} }}")),
            1 => inner().prop_map(|list| format!("{{ for: {{ in: '[1, 2]' }}, do: {list} }}")),
            1 => (inner(), inner()).prop_map(|(a, b)| format!("{{ fork: {{ branches: [ {{ a: {{ do: {a} }} }}, {{ b: {{ do: {b} }} }} ] }} }}")),
            1 => (inner(), 0..3u8).prop_map(|(list, count)| format!(
                "{{ try: [ {{ body: {{ do: {list} }} }}, {{ bad: {{ raise: {{ error: {{ type: 'https://example.com/e', status: 400 }} }} }} }} ], \
                 catch: {{ retry: {{ delay: PT1S, limit: {{ attempt: {{ count: {count} }} }} }}, do: [ {{ handled: {{ set: '${{ {{s: $error.status}} }}' }} }} ] }} }}"
            )),
            1 => inner().prop_map(|list| format!("{{ timeout: {{ after: PT99S }}, do: {list} }}")),
        ]
        .boxed()
    };
    proptest::collection::vec(task, 1..4)
        .prop_map(|tasks| {
            let named = tasks
                .iter()
                .enumerate()
                .map(|(n, task)| format!("{{ t{n}: {task} }}"));
            format!("[ {} ]", named.collect::<Vec<_>>().join(", "))
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_documents_are_one_history_in_any_order_of_answers(list in tasks(2), seed in any::<u64>()) {
        let text = format!("document: {{dsl: '1.0.3', namespace: test, name: t, version: '1.0.0'}}\ndo: {list}");
        let first = in_order(&text, "{}", Order::First, 1_000);
        let mixed = in_order(&text, "{}", Order::Mixed(seed), 3);
        prop_assert_eq!(last(&first), last(&mixed), "{}", text);
        prop_assert!(matches!(first.ended, Ended::Completed(_)), "{:?} of {}", first.ended, text);
    }
}
