use super::*;
use proptest::prelude::*;

/// A byte string that differs from others in every block.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

const LABEL: &[u8; 16] = b"aos.value.v1\0\0\0\0";

fn check(messages: &[(bool, Vec<u8>)]) {
    let messages: Vec<Message<'_>> = messages
        .iter()
        .map(|(labelled, bytes)| Message {
            label: labelled.then_some(LABEL),
            bytes,
        })
        .collect();
    let expected: Vec<Digest> = messages
        .iter()
        .map(|message| {
            let label = message.label.map_or(&[][..], |label| label);
            Digest::of(&[label, message.bytes].concat())
        })
        .collect();
    for width in Width::found() {
        let mut digests = vec![Digest::ZERO; messages.len()];
        digest_messages(width, &messages, &mut digests);
        assert_eq!(digests, expected, "{width:?}");
    }
}

#[test]
fn every_short_length_gives_the_digest_of_sha2_at_every_width() {
    for labelled in [false, true] {
        // In ascending order, so that neighbours differ in length; and each beside itself.
        let all: Vec<_> = (0..=600)
            .map(|len| (labelled, bytes(len as u64, len)))
            .collect();
        check(&all);
        for len in 0..=300 {
            check(&vec![(labelled, bytes(len as u64, len)); 4]);
            check(&[(labelled, bytes(len as u64, len))]);
        }
    }
}

#[test]
fn what_a_longer_message_left_behind_is_not_hashed_with_a_shorter_one() {
    for labelled in [false, true] {
        // In descending order: each is copied to where a longer one of as many blocks was.
        let mut all: Vec<_> = (0..=600)
            .flat_map(|len| vec![(labelled, bytes(len as u64, len)); 5])
            .collect();
        all.reverse();
        check(&all);
    }
}

#[test]
fn long_messages_beside_short_ones_give_the_digests_of_sha2() {
    let lengths = [
        70_001,
        3,
        1 << 16,
        0,
        64,
        448,
        449,
        1_000_000,
        5,
        447,
        432,
        433,
    ];
    let all: Vec<_> = lengths
        .iter()
        .enumerate()
        .map(|(n, len)| (n % 3 == 0, bytes(n as u64, *len)))
        .collect();
    check(&all);
}

#[test]
fn no_messages_give_no_digests() {
    digest_many(&[], &mut []);
}

#[test]
fn without_the_instructions_the_digests_are_the_same() {
    assert_eq!(Width::found()[0], Width::PORTABLE);
    let messages = [Message {
        label: Some(LABEL),
        bytes: b"abc",
    }];
    let mut digests = [Digest::ZERO];
    digest_messages(Width::PORTABLE, &messages, &mut digests);
    assert_eq!(digests[0], Digest::of_parts([&LABEL[..], b"abc"]));
}

#[test]
#[should_panic = "one digest for each message"]
fn digests_must_be_as_many_as_messages() {
    digest_many(&[b"a"], &mut []);
}

proptest! {
    #[test]
    fn any_messages_give_the_digests_of_sha2(
        all in proptest::collection::vec((any::<bool>(), 0usize..3000, any::<u64>()), 0..20),
    ) {
        let all: Vec<_> = all.into_iter().map(|(labelled, len, seed)| (labelled, bytes(seed, len))).collect();
        check(&all);
    }
}
