use super::*;

/// Sends `events` one after the other to whatever listens; returns the story and how many were consumed.
fn heard(text: &str, events: &[&str]) -> (Option<Ended>, Vec<Emission>, usize) {
    let mut machine = machine(text, r#"{"room": 7}"#, 7);
    let mut made = Vec::new();
    let mut need = machine.advance(None, 1_000, &mut made);
    let mut consumed = 0;
    for event in events {
        let event = Value::from_json(event.as_bytes()).unwrap();
        let Some((lane, _)) = machine
            .listening()
            .into_iter()
            .find(|(lane, _)| machine.accepts(*lane, &event))
        else {
            continue;
        };
        consumed += 1;
        let given = Given {
            lane: Some(lane),
            seq: None,
            answer: Answer::Event {
                event,
                actor: "ada".into(),
            },
        };
        need = machine.advance(Some(given), 1_000, &mut made);
        while let Need::Waits(waits) = &need {
            let Some(wait) = waits
                .iter()
                .find(|w| !matches!(w.what, Waiting::Event { .. }))
            else {
                break;
            };
            let only = Need::Waits(vec![wait.clone()]);
            need = machine.advance(Some(answer(&only, &mut 0)), 1_000, &mut made);
        }
    }
    let ended = match need {
        Need::Ended(ended) => Some(ended),
        _ => None,
    };
    (ended, made, consumed)
}

fn listening(to: &str) -> String {
    document(&format!("\n  - hear: {{ listen: {{ to: {to} }} }}"))
}

fn output(text: &str, events: &[&str]) -> Option<String> {
    match heard(text, events).0 {
        Some(Ended::Completed(value)) => Some(value.to_string()),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

const HOT: &str =
    r#"{"source": "s", "id": "1", "type": "temperature", "roomid": 7, "data": {"t": 39}}"#;
const COLD: &str =
    r#"{"source": "s", "id": "2", "type": "temperature", "roomid": 7, "data": {"t": 36}}"#;
const BPM: &str = r#"{"source": "s", "id": "3", "type": "bpm", "roomid": 7, "data": {"b": 120}}"#;
const OTHER_ROOM: &str =
    r#"{"source": "s", "id": "4", "type": "bpm", "roomid": 8, "data": {"b": 110}}"#;
const OUT: &str = r#"{"source": "s", "id": "5", "type": "out", "data": {}}"#;

#[test]
fn one_waits_for_the_event_that_its_filter_matches() {
    let text = listening("{ one: { with: { type: temperature, data: '${ .t > 38 }' } } }");
    assert_eq!(output(&text, &[BPM, COLD]), None);
    assert_eq!(
        output(&text, &[BPM, COLD, HOT]),
        Some(r#"[{"t":39}]"#.into())
    );
}

#[test]
fn any_takes_the_first_that_matches_and_an_empty_one_takes_anything() {
    let any = "{ any: [ { with: { type: bpm } }, { with: { type: out } } ] }";
    assert_eq!(output(&listening(any), &[HOT, OUT]), Some("[{}]".into()));
    assert_eq!(
        output(&listening("{ any: [] }"), &[COLD]),
        Some(r#"[{"t":36}]"#.into())
    );
}

#[test]
fn all_takes_one_for_each_filter_in_the_order_they_come() {
    let text = listening("{ all: [ { with: { type: temperature } }, { with: { type: bpm } } ] }");
    let (ended, _, consumed) = heard(&text, &[BPM, BPM, HOT, COLD]);
    assert_eq!(
        ended,
        Some(Ended::Completed(
            Value::from_json(br#"[{"b":120},{"t":39}]"#).unwrap()
        ))
    );
    assert_eq!(consumed, 2);
}

#[test]
fn correlations_expect_what_they_say_or_what_the_first_event_said() {
    let first = "{ all: [ { with: { type: temperature }, correlate: { room: { from: .roomid } } }, { with: { type: bpm }, correlate: { room: { from: .roomid } } } ] }";
    let (_, _, consumed) = heard(&listening(first), &[HOT, OTHER_ROOM]);
    assert_eq!(consumed, 1, "another room");
    assert_eq!(
        output(&listening(first), &[HOT, OTHER_ROOM, BPM]),
        Some(r#"[{"t":39},{"b":120}]"#.into())
    );
    let said = "{ one: { with: { type: bpm }, correlate: { room: { from: .roomid, expect: '${ .room }' } } } }";
    assert_eq!(
        output(&listening(said), &[OTHER_ROOM, BPM]),
        Some(r#"[{"b":120}]"#.into())
    );
}

#[test]
fn until_is_a_condition_on_what_was_consumed_or_an_event_that_is_not_part_of_it() {
    let condition = listening("{ any: [], until: '( . | length ) > 1' }");
    assert_eq!(output(&condition, &[HOT]), None);
    assert_eq!(
        output(&condition, &[HOT, BPM]),
        Some(r#"[{"t":39},{"b":120}]"#.into())
    );
    let event = listening(
        "{ any: [ { with: { type: temperature } } ], until: { one: { with: { type: out } } } }",
    );
    assert_eq!(output(&event, &[HOT, COLD, BPM]), None);
    assert_eq!(
        output(&event, &[HOT, COLD, BPM, OUT]),
        Some(r#"[{"t":39},{"t":36}]"#.into())
    );
}

#[test]
fn an_anchored_text_is_a_regular_expression_and_any_other_is_itself() {
    let regex = listening("{ one: { with: { type: '^temp.*$' } } }");
    assert!(output(&regex, &[BPM, HOT]).is_some());
    let literal = listening("{ one: { with: { type: 'temp.*' } } }");
    assert_eq!(output(&literal, &[HOT]), None);
}

#[test]
fn the_envelope_can_be_read_whole() {
    let text = document(
        "\n  - hear: { listen: { to: { one: { with: { type: out } } }, read: envelope } }",
    );
    assert!(output(&text, &[OUT]).unwrap().contains(r#""id":"5""#));
}

#[test]
fn foreach_works_through_events_one_at_a_time() {
    let text = document(
        "
  - hear:
      listen: { to: { any: [ { with: { type: temperature } } ], until: { one: { with: { type: out } } } } }
      foreach:
        item: reading
        at: i
        do:
          - nap: { wait: PT1S }
          - note: { set: '${ {t: $reading.t, i: $i} }' }
        output: { as: '{t, n: $i}' }
        export: { as: '$context + {last: .t}' }
  - after: { set: '${ {out: ., context: $context} }' }",
    );
    let out = output(&text, &[HOT, COLD, OUT]).unwrap();
    assert_eq!(
        out,
        r#"{"context":{"last":36},"out":[{"n":0,"t":39},{"n":1,"t":36}]}"#
    );
    let (_, made, _) = heard(&text, &[HOT, COLD, OUT]);
    let story = Story {
        events: made,
        ended: Ended::Completed(Value::null()),
    };
    assert!(
        story
            .activations()
            .contains(&"/do/0/hear/foreach/do/1/note;1.1,1".to_owned()),
        "{:?}",
        story.activations()
    );
}

#[test]
fn what_was_consumed_is_on_record_whole_and_with_its_sender() {
    let (_, made, _) = heard(&listening("{ one: { with: { type: out } } }"), &[OUT]);
    let signal = made.iter().find(|e| e.kind == Kind::Signal).unwrap();
    let Event::Signal(event) = Event::decode(signal.kind, &signal.draft.det).unwrap().1 else {
        panic!("a SIGNAL")
    };
    assert_eq!(
        (
            event.activation.as_str(),
            event.source.as_str(),
            event.id.as_str(),
            event.signal_type.as_str(),
            event.actor.as_str()
        ),
        ("/do/0/hear", "s", "5", "out", "ada")
    );
    let slot = event::slot_of(Kind::Signal, "data").unwrap();
    let (value, _) = stored(&made, signal.seq, slot);
    assert_eq!(value, Value::from_json(OUT.as_bytes()).unwrap());
}

#[test]
fn a_listener_restored_between_events_goes_on_to_the_same_digest() {
    let text = listening(
        "{ all: [ { with: { type: temperature }, correlate: { room: { from: .roomid } } }, { with: { type: bpm }, correlate: { room: { from: .roomid } } } ] }",
    );
    let (_, whole, _) = heard(&text, &[HOT, BPM]);
    let mut first = machine(&text, r#"{"room": 7}"#, 7);
    let mut events = Vec::new();
    first.advance(None, 64, &mut events);
    let send = |machine: &mut Machine, events: &mut Vec<Emission>, event: &str| {
        let event = Value::from_json(event.as_bytes()).unwrap();
        machine.advance(
            Some(
                Answer::Event {
                    event,
                    actor: "ada".into(),
                }
                .into(),
            ),
            64,
            events,
        )
    };
    send(&mut first, &mut events, HOT);
    let saved = Value::from_json(first.save().unwrap().canonical()).unwrap();
    let mut second = machine(&text, r#"{"room": 7}"#, 7);
    second
        .restore(&saved, first.chain().clone(), &mut |seq, slot| {
            Ok(stored(&events, seq, slot))
        })
        .unwrap();
    assert!(
        !second.accepts(0, &Value::from_json(OTHER_ROOM.as_bytes()).unwrap()),
        "the room is kept"
    );
    send(&mut second, &mut events, BPM);
    assert_eq!(events.last().unwrap().digest, whole.last().unwrap().digest);
}

#[test]
fn emit_publishes_an_event_with_an_id_of_its_own() {
    let text = document(
        "\n  - tell: { emit: { event: { with: { source: 'https://a.example', type: told, data: '${ .room }' } } } }",
    );
    let story = run(&text, r#"{"room": 7}"#);
    let output = story.output();
    assert!(
        output.contains(r#""data":7"#) && output.contains(r#""specversion":"1.0""#),
        "{output}"
    );
    assert_eq!(story.kinds(), ["START", "INTENT", "RESULT", "STEP", "END"]);
    assert_eq!(
        run(&text, r#"{"room": 7}"#).output(),
        output,
        "the id is the same each time"
    );
}
