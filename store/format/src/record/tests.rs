use super::*;
use proptest::prelude::*;

fn draft() -> Draft {
    Draft {
        tenant: 3,
        lane: 5,
        lane_seq: 7,
        wall_ns: -1,
        volatile: vec![Volatile {
            tag: VOLATILE_KEY,
            bytes: b"order-7".to_vec(),
        }],
        values: vec![
            DraftValue {
                slot: 3,
                len: 0,
                salt: [1; 16],
                stored: Stored::Back { seq: 4, slot: 9 },
            },
            DraftValue {
                slot: 4,
                len: 5,
                salt: [2; 16],
                stored: Stored::Here(b"hello"[..].into()),
            },
            DraftValue {
                slot: 5,
                len: 2,
                salt: [3; 16],
                stored: Stored::Here(b"hi"[..].into()),
            },
            DraftValue {
                slot: 6,
                len: 9,
                salt: [4; 16],
                stored: Stored::Absent,
            },
        ],
        ..Draft::new(StreamId::run(RunId([9; 16])), b"deterministic".to_vec())
    }
}

#[test]
fn a_record_round_trips_with_its_values() {
    let body = draft().encode();
    assert_eq!(body.bytes.len() % 16, 0);
    let view = RecordView::open(&body.bytes, body.record_len).unwrap();
    assert_eq!(view.stream(), StreamId::run(RunId([9; 16])));
    assert_eq!(
        (view.tenant(), view.lane(), view.lane_seq(), view.wall_ns()),
        (3, 5, 7, -1)
    );
    assert_eq!(view.det(), b"deterministic");
    assert_eq!(view.volatile_tag(VOLATILE_KEY), Some(b"order-7".as_slice()));
    let values: Vec<_> = view.values().collect();
    let bytes: Vec<_> = values.iter().map(|value| view.value_bytes(value)).collect();
    assert_eq!(
        bytes,
        [
            None,
            Some(b"hello".as_slice()),
            Some(b"hi".as_slice()),
            None
        ]
    );
    assert_eq!((values[0].from_seq, values[0].from_slot), (4, 9));
}

#[test]
fn the_same_draft_gives_the_same_bytes() {
    assert_eq!(
        draft().encode().bytes.as_slice(),
        draft().encode().bytes.as_slice()
    );
}

#[test]
fn every_cut_of_a_body_is_refused() {
    let body = draft().encode();
    let whole = body.body_len as usize;
    assert_eq!(
        RecordView::open(&body.bytes[..whole], body.record_len)
            .unwrap()
            .body_len(),
        whole
    );
    // Where a value ends, another body ends too; that it is another one is seen from its length.
    let ends = RecordView::open(&body.bytes, body.record_len)
        .unwrap()
        .parts()
        .values;
    let ends: Vec<_> = ends.iter().map(|part| part.head.start).collect();
    for len in (0..whole).filter(|len| !ends.contains(len)) {
        assert!(
            RecordView::open(&body.bytes[..len], body.record_len).is_err(),
            "{len}"
        );
    }
}

#[test]
fn what_is_usual_takes_no_room() {
    let usual = Draft {
        lane_seq: 7,
        ..Draft::new(StreamId::run(RunId([9; 16])), vec![1; 100])
    };
    assert_eq!(usual.encode().body_len, 100 + 40);
    for unusual in [
        Draft {
            tenant: 1,
            ..usual.clone()
        },
        Draft {
            lane: 1 << 40,
            ..usual.clone()
        },
        Draft {
            lane_seq: 7 + (1 << 32),
            ..usual.clone()
        },
        Draft {
            stream: StreamId::CONTROL,
            ..usual.clone()
        },
    ] {
        let body = unusual.encode();
        let view = RecordView::open(&body.bytes, body.record_len).unwrap();
        assert_eq!(
            (view.tenant(), view.lane(), view.lane_seq(), view.stream()),
            (
                unusual.tenant,
                unusual.lane,
                unusual.lane_seq,
                unusual.stream
            )
        );
    }
}

#[test]
fn extras_that_say_nothing_are_refused() {
    let mut draft = Draft::new(StreamId::run(RunId([9; 16])), vec![1; 8]);
    draft.tenant = 0x0102_0304;
    let mut body = draft.encode();
    let at = body
        .bytes
        .windows(4)
        .position(|four| four == [4, 3, 2, 1])
        .unwrap();
    body.bytes[at..at + 4].fill(0);
    let error = RecordView::open(&body.bytes, body.record_len).map(drop);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("extras that say nothing")
    );
}

#[test]
fn a_hole_before_the_end_of_a_record_is_refused() {
    let body = Draft::new(StreamId::run(RunId([9; 16])), vec![1; 8]).encode();
    let shift = |at: usize, by: usize| {
        let mut bytes = rkyv::util::AlignedVec::<16>::new();
        bytes.extend_from_slice(&body.bytes[..at]);
        bytes.extend_from_slice(&vec![0; by]);
        bytes.extend_from_slice(&body.bytes[at..body.record_len as usize]);
        RecordView::open(&bytes, body.record_len + by as u32).is_err()
    };
    assert!(!shift(0, 0));
    assert!(shift(8, 1) && shift(0, 1));
}

#[test]
fn values_in_no_form_of_ours_are_refused() {
    let body = Draft::new(StreamId::run(RunId([9; 16])), vec![1; 8]).encode();
    let with = |area: &[u8]| {
        let mut bytes = rkyv::util::AlignedVec::<16>::new();
        bytes.extend_from_slice(&body.bytes[..body.record_len as usize]);
        bytes.extend_from_slice(area);
        RecordView::open(&bytes, body.record_len).map(|view| view.values().count())
    };
    let salt = [7; 16];
    assert_eq!(with(&[]).unwrap(), 0);
    assert_eq!(with(&[8 | 3, 16 | 1, 1, 4]).unwrap(), 2);
    assert_eq!(with(&[&[8, 0][..], &salt].concat()).unwrap(), 1);
    for (why, area) in [
        ("slot 0", vec![1, 1, 4]),
        ("an unknown state", vec![8 | 4]),
        ("the same slot again", vec![8 | 3, 8 | 3]),
        ("record 0", vec![8 | 1, 0, 4]),
        (
            "a length in a longer form",
            [&[8, 0x80, 0][..], &salt].concat(),
        ),
        ("a length beyond the body", [&[8, 1][..], &salt].concat()),
        (
            "a length beyond all memory",
            [
                &[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..],
                &salt,
            ]
            .concat(),
        ),
        ("a cut salt", vec![8 | 2, 1, 1]),
        ("bytes after the padding", vec![0, 8 | 3]),
        ("padding that does not end a body", vec![8 | 3, 0]),
        ("more padding than a body has", vec![0; 24]),
    ] {
        assert!(with(&area).is_err(), "{why}");
    }
}

#[test]
fn parts_cover_a_body_without_holes() {
    let body = draft().encode();
    let view = RecordView::open(&body.bytes, body.record_len).unwrap();
    let parts = view.parts();
    assert_eq!(&body.bytes[parts.det.clone()], view.det());
    let mut at = parts.record.end;
    assert_eq!((parts.record.start, at), (0, body.record_len as usize));
    for (part, value) in parts.values.iter().zip(view.values()) {
        assert_eq!((part.head.start, part.head.end), (at, part.salt.start));
        assert_eq!(part.salt.end, part.bytes.start);
        assert_eq!(
            &body.bytes[part.bytes.clone()],
            view.value_bytes(&value).unwrap_or_default()
        );
        let salted = value.from_seq == 0 && value.start != REDACTED;
        assert_eq!(
            &body.bytes[part.salt.clone()],
            if salted { &value.salt[..] } else { &[] }
        );
        at = part.bytes.end;
    }
    assert_eq!((at, parts.values.len()), (body.body_len as usize, 4));
}

#[test]
fn a_value_is_cut_off_with_its_salt_and_nothing_hashed_changes() {
    let body = draft().encode();
    let cut = redacted(&body.bytes, body.record_len, &[3, 4, 6]).unwrap();
    let (before, after) = (
        RecordView::open(&body.bytes, body.record_len).unwrap(),
        RecordView::open(&cut.bytes, cut.record_len).unwrap(),
    );
    let record = ..body.record_len as usize;
    assert_eq!(body.bytes[record], cut.bytes[record]);
    let values: Vec<_> = after.values().collect();
    assert_eq!((values[0].from_seq, values[0].from_slot), (4, 9));
    for cut in [values[1], values[3]] {
        assert_eq!((cut.start, cut.salt), (REDACTED, [0; 16]));
        assert_eq!(after.value_bytes(&cut), None);
    }
    assert_eq!(after.value_bytes(&values[2]), Some(b"hi".as_slice()));
    assert_eq!(before.det(), after.det());
    assert_eq!(body.body_len - cut.body_len, (1 + 16 + 5) + 16);
    let again = redacted(&cut.bytes, cut.record_len, &[3, 4, 6]).unwrap();
    assert_eq!(again.bytes.as_slice(), cut.bytes.as_slice());
}

/// All that a view says.
fn said(view: &RecordView<'_>) -> impl PartialEq + std::fmt::Debug {
    (
        view.det().to_vec(),
        view.stream(),
        (view.tenant(), view.lane(), view.lane_seq(), view.wall_ns()),
        view.record_len,
        view.volatile().count(),
    )
}

proptest! {
    #[test]
    fn a_usual_record_is_written_and_read_as_rkyv_does(
        det in proptest::collection::vec(any::<u8>(), 1..400), id: [u8; 16], lane_seq: u32, wall_ns: i64,
        flip in proptest::option::of((any::<prop::sample::Index>(), 1u8..)),
    ) {
        let draft = Draft { lane_seq: lane_seq.into(), wall_ns, ..Draft::new(StreamId::run(RunId(id)), det) };
        let mut bytes = draft.archive(None, rkyv::util::AlignedVec::new());
        let mut own = rkyv::util::AlignedVec::new();
        draft.put_usual(&mut own);
        prop_assert_eq!(own.as_slice(), bytes.as_slice());
        if let Some((at, by)) = flip {
            let at = at.index(bytes.len());
            bytes[at] ^= by;
        }
        // What is taken for usual is what rkyv would have found, whatever the bytes.
        match (usual(&bytes), checked(&bytes)) {
            (Some(own), Ok(other)) => prop_assert_eq!(said(&own), said(&other)),
            (Some(_), Err(why)) => prop_assert!(false, "{}", why),
            (None, _) => prop_assert!(flip.is_some()),
        }
    }

    #[test]
    fn no_bytes_make_a_record_panic(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut body = draft().encode();
        for (at, byte) in flips {
            let at = at.index(body.bytes.len());
            body.bytes[at] ^= byte;
        }
        if let Ok(view) = RecordView::open(&body.bytes, body.record_len) {
            let _ = (view.volatile().count(), view.parts());
            for value in view.values() {
                let _ = view.value_bytes(&value);
            }
        }
    }
}
