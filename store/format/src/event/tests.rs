use super::*;
use proptest::prelude::*;

fn step() -> Event {
    Event::Step(Step {
        activation: "/do/1/walk/do/0/classify;1.5,1".into(),
        attempt: 1,
        outcome: "completed".into(),
        input: Some(ValueRef::of(VALUE_JSON, &[1; 16], b"1")),
        output: Some(ValueRef::of(VALUE_JSON, &[2; 16], b"2")),
        context: None,
        error: None,
        next: String::new(),
        draws: 3,
        words: 200,
        reads: vec!["a".into(), String::new()],
    })
}

#[test]
fn an_event_round_trips() {
    let previous = Digest::of(b"before");
    let det = step().encode(&previous);
    assert_eq!(Event::decode(Kind::Step, &det).unwrap(), (previous, step()));
    assert_eq!(
        slots(Kind::Step, &det)
            .unwrap()
            .iter()
            .map(|s| s.0)
            .collect::<Vec<_>>(),
        [3, 4]
    );
}

#[test]
fn the_deterministic_bytes_of_version_1_do_not_change() {
    let time = Event::Time(Time {
        activation: "/do/0/a".into(),
        subject: "now".into(),
        time_ns: "7".into(),
    });
    let mut expected = b"aos1\x0f".to_vec();
    expected.extend_from_slice(&[0; 32]);
    expected.extend_from_slice(b"\x07\x07/do/0/a\x03now\x017");
    assert_eq!(time.encode(&Digest::ZERO), expected);

    let Event::Step(mut step) = step() else {
        unreachable!()
    };
    step.output = step.input;
    (step.attempt, step.outcome) = (2, "faulted".into());
    let mut expected = b"aos1\x08".to_vec();
    expected.extend_from_slice(&[0; 32]);
    expected.extend_from_slice(&[0x9f, 0x0e, 30]);
    expected.extend_from_slice(b"/do/1/walk/do/0/classify;1.5,1\x02\x02\x05");
    expected.extend_from_slice(&step.input.unwrap().digest.0);
    expected.extend_from_slice(b"\x0f\x03\xc8\x01\x03\x01a\0");
    assert_eq!(Event::Step(step).encode(&Digest::ZERO), expected);
}

#[test]
fn the_format_page_names_every_field_in_order() {
    let page = include_str!("../../../../docs/format/log-v1.md");
    for kind in Kind::ALL.into_iter().filter(|k| !fields(*k).is_empty()) {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| {} {} | 0 ", kind as u8, kind.name())))
            .unwrap_or_else(|| panic!("the page has no row for {}", kind.name()));
        let last = fields(kind).len() - 1;
        assert!(
            row.contains(&format!("{last} ")),
            "{row} lacks field {last}"
        );
        assert!(
            !row.contains(&format!("· {} ", last + 1)),
            "{row} has more fields than the code"
        );
    }
}

#[test]
fn slots_fit_where_repetitions_are_looked_for() {
    for kind in Kind::ALL {
        let slots = fields(kind).iter().filter(|f| f.kind == FieldType::Slot);
        assert!(slots.count() <= coding::SLOTS_MAX, "{}", kind.name());
    }
}

/// A STEP whose fields are `fields`, with `present` before them.
fn raw_step(present: &[u8], fields: &[u8]) -> Vec<u8> {
    let mut det = tag(Kind::Step).to_vec();
    det.extend_from_slice(&[0; 32]);
    det.extend_from_slice(present);
    det.extend_from_slice(fields);
    det
}

#[test]
fn what_means_the_same_as_nothing_is_refused() {
    let accepted = |present: &[u8], fields: &[u8]| {
        Event::decode(Kind::Step, &raw_step(present, fields)).is_ok()
    };
    let name = |head: u8, digest: u8| [&[head][..], &[digest; 32]].concat();
    let two = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
    assert!(accepted(&[0], &[]));
    for (why, present, fields) in [
        ("an empty activation", &[1][..], vec![0]),
        ("attempt 1", &[2], vec![1]),
        ("the first outcome", &[4], vec![0]),
        ("an unknown outcome", &[4], vec![3]),
        ("an outcome in a longer form", &[4], vec![0x81, 0]),
        ("no draws", &[0x80, 2], vec![0]),
        ("an empty list", &[0x80, 8], vec![0]),
        ("a field the kind does not have", &[0x80, 16], vec![0]),
        ("present fields in a longer form", &[0x80, 0], vec![]),
        ("a value of kind 0", &[8], name(4, 7)),
        (
            "the same as a slot that is not there",
            &[16],
            vec![3 << 2 | 3],
        ),
        ("the same as itself", &[8], vec![3 << 2 | 3]),
        (
            "the same as no slot",
            &[24],
            two(name(5, 7), vec![2 << 2 | 3]),
        ),
        (
            "a repetition written out",
            &[24],
            two(name(5, 7), name(5, 7)),
        ),
        (
            "a repetition of a repetition",
            &[0x38],
            two(name(5, 7), vec![3 << 2 | 3, 4 << 2 | 3]),
        ),
        ("bytes after the last field", &[2], vec![2, 0]),
    ] {
        assert!(!accepted(present, &fields), "{why}");
    }
    assert!(accepted(&[24], &two(name(5, 7), vec![3 << 2 | 3])));
    assert!(accepted(&[24], &two(name(5, 7), name(5, 8))));
    assert!(accepted(&[24], &two(name(5, 7), name(9, 7))));
}

#[test]
fn a_repeated_value_is_given_by_its_name() {
    let Event::Step(mut step) = step() else {
        unreachable!()
    };
    step.error = step.input;
    let det = Event::Step(step.clone()).encode(&Digest::ZERO);
    let names = slots(Kind::Step, &det).unwrap();
    assert_eq!(names[2], (6, step.input.unwrap()));
    let raw = raw_fields(Kind::Step, &det).unwrap();
    assert_eq!(raw[6], raw[3]);
    assert_eq!(ValueRef::read(raw[6]), Ok(step.input.unwrap()));
}

#[test]
fn fields_that_are_left_out_are_passed_over() {
    let det = step().encode(&Digest::ZERO);
    let all = raw_fields(Kind::Step, &det).unwrap();
    let mut fields = Fields::new(Kind::Step, &det).unwrap();
    let mut present = Vec::new();
    while let Some(Present { number, field, raw }) = fields.next_present().unwrap() {
        assert_eq!(
            (field.name, raw),
            (super::fields(Kind::Step)[number].name, all[number])
        );
        present.push(number);
    }
    assert_eq!(present, [0, 3, 4, 8, 9, 10]);
    let longer = [det.as_slice(), &[0]].concat();
    let mut fields = Fields::new(Kind::Step, &longer).unwrap();
    while let Ok(Some(_)) = fields.next_present() {}
    assert!(
        Fields::new(Kind::Step, &longer)
            .unwrap()
            .any(|field| field.is_err())
    );
    assert!(
        fields.next_present().is_ok_and(|last| last.is_none()),
        "told once"
    );
}

#[test]
fn raw_fields_are_put_together_again() {
    let Event::Step(mut step) = step() else {
        unreachable!()
    };
    step.context = step.output;
    let det = Event::Step(step).encode(&Digest([3; 32]));
    let raw = raw_fields(Kind::Step, &det).unwrap();
    assert_eq!(assemble(Kind::Step, &Digest([3; 32]), &raw), det);
    let none = Event::Mark(Mark {
        what: String::new(),
        activation: String::new(),
    });
    assert_eq!(
        assemble(Kind::Mark, &Digest::ZERO, &[]),
        none.encode(&Digest::ZERO)
    );
}

#[test]
fn a_field_is_read_with_its_meaning_when_left_out() {
    let det = raw_step(&[0], &[]);
    let raw = raw_fields(Kind::Step, &det).unwrap();
    let table = fields(Kind::Step);
    assert_eq!(table[0].text(raw[0]), Some(""));
    assert_eq!(table[1].number(raw[1]), Some(1));
    assert_eq!(table[2].text(raw[2]), Some("completed"));
    assert_eq!(table[8].number(raw[8]), Some(0));
    assert_eq!(fields(Kind::Result)[5].number(&[]), None);
}

#[test]
#[should_panic = "one of the words of the field"]
fn an_outcome_that_is_no_word_is_not_written() {
    let Event::Step(mut step) = step() else {
        unreachable!()
    };
    step.outcome = "perhaps".into();
    Event::Step(step).encode(&Digest::ZERO);
}

#[test]
fn a_tag_of_another_kind_is_refused() {
    let det = step().encode(&Digest::ZERO);
    assert!(Event::decode(Kind::Time, &det).is_err());
    assert!(Event::decode(Kind::Commit, &det).is_err());
}

#[test]
fn every_cut_of_a_deterministic_part_is_refused() {
    let det = step().encode(&Digest::ZERO);
    for len in 0..det.len() {
        assert!(Event::decode(Kind::Step, &det[..len]).is_err(), "{len}");
    }
    assert!(Event::decode(Kind::Step, &[det.as_slice(), &[0]].concat()).is_err());
}

proptest! {
    #[test]
    fn decoding_gives_back_what_encodes_to_the_same_bytes(at in any::<prop::sample::Index>(), byte: u8) {
        let mut det = step().encode(&Digest::ZERO);
        let at = at.index(det.len());
        det[at] ^= byte;
        prop_assert!(raw_fields(Kind::Step, &det).is_ok() || Event::decode(Kind::Step, &det).is_err());
        if let Ok((previous, event)) = Event::decode(Kind::Step, &det) {
            prop_assert_eq!(event.encode(&previous), det);
        }
    }
}
