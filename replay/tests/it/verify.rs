//! Every planted fault is caught by the check that is meant for it, and nothing else is reported.

use crate::forge::{Forge, History, flip, here, reader, step_event};
use aos_disk::Disk;
use aos_disk::sim::SimDisk;
use aos_format::digest::Digest;
use aos_format::event::{self, Event, VALUE_JSON, ValueRef};
use aos_format::frame::{FrameHeader, Kind};
use aos_format::offset::{Offset, Stride, segment_file_name};
use aos_format::record::{Draft, DraftValue, Stored};
use aos_format::sha_wide::Width;
use aos_replay::{Finding, Integrity, Verified, code, verify, verify_at};
use std::path::Path;
use std::sync::Arc;

/// Verifies at several worker counts, which must agree.
fn verified(disk: &Arc<SimDisk>) -> Verified {
    let reader = reader(disk);
    let one = verify(&reader, 1).unwrap();
    for workers in [2, 8] {
        assert_eq!(verify(&reader, workers).unwrap(), one, "{workers} workers");
    }
    one
}

/// Codes, offsets and fields of the findings.
fn faults(disk: &Arc<SimDisk>) -> Vec<(&'static str, u64, Option<String>)> {
    let verified = verified(disk);
    assert_eq!(verified.finding_count, verified.findings.len() as u64);
    verified
        .findings
        .iter()
        .map(|finding| {
            (
                finding.code,
                finding.offset.unwrap().0,
                finding.field.clone(),
            )
        })
        .collect()
}

fn fault(code: &'static str, offset: u64, field: &str) -> Vec<(&'static str, u64, Option<String>)> {
    vec![(code, offset, Some(field.into()))]
}

/// A small log of one run, with `change` applied to what is about to be written as record `at`.
fn one_run(at: u64, change: impl Fn(&mut Draft, &mut History)) -> (Arc<SimDisk>, Vec<u64>) {
    one_run_with(at, change, |_| {})
}

fn one_run_with(
    at: u64,
    change: impl Fn(&mut Draft, &mut History),
    header: impl Fn(&mut FrameHeader),
) -> (Arc<SimDisk>, Vec<u64>) {
    let mut forge = Forge::new(Stride::from_log2(16).unwrap());
    let mut run = History::new("a");
    let mut offsets = Vec::new();
    for number in 1..=9 {
        let (kind, mut draft) = match number {
            1 => (Kind::Start, run.start()),
            4 => (Kind::Checkpoint, run.checkpoint()),
            6 => (Kind::Mark, run.mark()),
            9 => (Kind::End, run.end()),
            _ => (
                Kind::Step,
                run.step(&format!("/do/{number}/s"), &format!("{{\"n\":{number}}}")),
            ),
        };
        if number == at {
            change(&mut draft, &mut run);
            offsets.push(forge.record_with(kind, &draft, &header));
        } else {
            offsets.push(forge.record(kind, &draft));
        }
        if number % 3 == 0 {
            forge.commit();
        }
    }
    (forge.finish(), offsets)
}

fn untouched(_: &mut Draft, _: &mut History) {}

#[test]
fn a_whole_log_is_intact() {
    let (disk, offsets) = one_run(0, untouched);
    let verified = verified(&disk);
    assert_eq!(verified.findings, []);
    assert_eq!(verified.integrity, Integrity::Intact);
    assert_eq!(
        (
            verified.records,
            verified.events,
            verified.steps,
            verified.groups
        ),
        (9, 7, 5, 3)
    );
    let run = verified.runs.values().next().unwrap();
    assert_eq!(
        (run.start, run.head, run.seq),
        (Some(Offset(offsets[0])), Offset(offsets[8]), 9)
    );
    assert!(run.ended && !run.damaged);
}

#[test]
fn a_history_changed_with_its_crcs_is_found_by_the_record_behind_it() {
    let (disk, offsets) = one_run(5, |draft, _| {
        draft.det[event::FIELDS_AT + 3] ^= 1;
    });
    assert_eq!(
        faults(&disk)[0],
        fault(code::HISTORY, offsets[5], "previous")[0]
    );
}

#[test]
fn a_value_swapped_with_its_crcs_is_found_by_its_digest() {
    let (disk, offsets) = one_run(5, |draft, _| {
        draft.values[1].stored = Stored::Here(br#"{"n":6}"#[..].into());
    });
    assert_eq!(faults(&disk), fault(code::VALUE, offsets[4], "output"));
}

#[test]
fn a_salt_changed_is_found_by_the_value() {
    let (disk, offsets) = one_run(5, |draft, _| draft.values[1].salt = [0; 16]);
    assert_eq!(faults(&disk), fault(code::VALUE, offsets[4], "output"));
}

#[test]
fn a_back_reference_to_a_later_record_is_refused() {
    let (disk, offsets) = one_run(5, |draft, _| {
        draft.values[0].stored = Stored::Back { seq: 7, slot: 4 }
    });
    assert_eq!(
        faults(&disk),
        fault(code::BACK_REFERENCE, offsets[4], "input")
    );
}

#[test]
fn a_back_reference_to_itself_is_refused() {
    let (disk, offsets) = one_run(5, |draft, _| {
        draft.values[0].stored = Stored::Back { seq: 5, slot: 3 }
    });
    assert_eq!(
        faults(&disk),
        fault(code::BACK_REFERENCE, offsets[4], "input")
    );
}

#[test]
fn a_back_reference_to_another_value_is_found() {
    let (disk, offsets) = one_run(5, |draft, _| {
        draft.values[0].stored = Stored::Back { seq: 2, slot: 4 }
    });
    assert_eq!(
        faults(&disk),
        fault(code::BACK_REFERENCE, offsets[4], "input")
    );
}

#[test]
fn a_back_reference_to_a_back_reference_is_found() {
    let (disk, offsets) = one_run(5, |draft, _| {
        draft.values[0].stored = Stored::Back { seq: 3, slot: 3 }
    });
    assert_eq!(
        faults(&disk),
        fault(code::BACK_REFERENCE, offsets[4], "input")
    );
}

#[test]
fn a_back_reference_inside_one_record_is_fine_when_it_points_back() {
    let (disk, _) = one_run(5, |draft, run| {
        let salt = [3; 16];
        let name = ValueRef::of(VALUE_JSON, &salt, b"1");
        let mut before = run.clone();
        before.head = Digest(
            draft.det[event::TAG_LEN..event::FIELDS_AT]
                .try_into()
                .unwrap(),
        );
        (before.lane_seq, before.seq) = (before.lane_seq - 1, before.seq - 1);
        let back = DraftValue {
            slot: 4,
            len: 1,
            salt,
            stored: Stored::Back { seq: 5, slot: 3 },
        };
        *draft = before.draft(
            &step_event("/do/5/s", Some(name), Some(name)),
            vec![here(3, salt, b"1"), back],
        );
        run.head = before.head;
    });
    // Record 7 still refers to slot 4 of record 5, which is now a back reference itself.
    assert_eq!(
        faults(&disk)
            .iter()
            .map(|fault| fault.0)
            .collect::<Vec<_>>(),
        [code::BACK_REFERENCE]
    );
}

#[test]
fn wrong_links_are_found() {
    let (disk, offsets) = one_run_with(8, untouched, |header| {
        header.prev = Offset(header.prev.0 - 16)
    });
    assert_eq!(faults(&disk), fault(code::LINK, offsets[7], "prev"));
    let (disk, offsets) = one_run_with(7, untouched, |header| {
        header.skip = Offset(header.skip.0 - 16)
    });
    assert_eq!(faults(&disk), fault(code::LINK, offsets[6], "skip"));
    let (disk, offsets) = one_run_with(8, untouched, |header| header.seq = 9);
    assert!(faults(&disk).contains(&fault(code::LINK, offsets[7], "seq")[0]));
}

#[test]
fn a_record_taken_out_leaves_a_hole_in_the_history() {
    let mut forge = Forge::new(Stride::from_log2(16).unwrap());
    let mut run = History::new("a");
    forge.record(Kind::Start, &run.start());
    let _lost = run.step("/do/0/lost", "1");
    let behind = run.step("/do/1/behind", "2");
    // All links are forged as if there had never been a record between.
    let at = forge.record(Kind::Step, &behind);
    let found = faults(&forge.finish());
    assert!(found.contains(&(code::HISTORY, at, Some("previous".into()))));
    assert!(found.contains(&(code::HISTORY, at, Some("lane_seq".into()))));
}

#[test]
fn a_skipped_number_in_the_lane_is_found() {
    let (disk, offsets) = one_run(5, |draft, run| {
        draft.lane_seq += 1;
        run.lane_seq += 1;
    });
    assert_eq!(faults(&disk), fault(code::HISTORY, offsets[4], "lane_seq"));
}

#[test]
fn a_checkpoint_of_other_heads_is_found() {
    let (disk, offsets) = one_run(4, |draft, run| {
        let Ok((previous, Event::Checkpoint(mut checkpoint))) =
            Event::decode(Kind::Checkpoint, &draft.det)
        else {
            panic!("record 4 is a checkpoint");
        };
        checkpoint.lanes[0].digest = Digest([1; 32]);
        draft.det = Event::Checkpoint(checkpoint).encode(&previous);
        let _ = run;
    });
    assert_eq!(faults(&disk), fault(code::LANES, offsets[3], "lanes"));
}

#[test]
fn a_mark_that_does_not_stand_on_the_head_is_found() {
    let (disk, offsets) = one_run(6, |draft, _| draft.det[20] ^= 1);
    assert_eq!(faults(&disk), fault(code::HISTORY, offsets[5], "previous"));
}

#[test]
fn the_table_of_values_must_fit_the_slots() {
    let (disk, offsets) = one_run(5, |draft, _| drop(draft.values.remove(0)));
    assert_eq!(faults(&disk), fault(code::VALUE_TABLE, offsets[4], "input"));
    let (disk, offsets) = one_run(5, |draft, _| draft.values.push(here(5, [0; 16], b"1")));
    assert_eq!(
        faults(&disk),
        fault(code::VALUE_TABLE, offsets[4], "context")
    );
    let (disk, offsets) = one_run(5, |draft, _| {
        draft.values[1] = here(4, draft.values[1].salt, br#"{"n":50}"#);
    });
    assert_eq!(
        faults(&disk)[0],
        fault(code::VALUE_TABLE, offsets[4], "output")[0]
    );
}

#[test]
fn what_is_found_does_not_depend_on_how_digests_are_computed() {
    let (whole, _) = one_run(5, untouched);
    let (swapped, offsets) = one_run(5, |draft, _| {
        draft.values[1].stored = Stored::Here(br#"{"n":6}"#[..].into());
        draft.det[event::FIELDS_AT + 3] ^= 1;
    });
    for width in Width::found() {
        let found = |disk| verify_at(&reader(disk), 1, width).unwrap().findings;
        assert_eq!(found(&whole), []);
        let found: Vec<_> = found(&swapped)
            .iter()
            .map(|finding| (finding.code, finding.offset.unwrap().0))
            .collect();
        assert_eq!(
            found,
            [
                (code::VALUE, offsets[4]),
                (code::HISTORY, offsets[5]),
                (code::HISTORY, offsets[6])
            ],
            "{width:?}"
        );
    }
}

#[test]
fn a_body_that_counts_its_padding_is_no_record() {
    let (disk, offsets) = one_run_with(5, untouched, |header| header.body_len += 1);
    let found = faults(&disk);
    assert_eq!(found[0].1, offsets[4], "{found:?}");
}

#[test]
fn a_record_in_a_stream_of_another_kind_is_found() {
    let (disk, offsets) = one_run_with(6, untouched, |header| header.kind = Kind::Open as u8);
    assert_eq!(
        faults(&disk)[0],
        fault(code::UNREADABLE, offsets[5], "canonical")[0]
    );
}

#[test]
fn a_run_under_another_id_is_found() {
    let (disk, offsets) = one_run(1, |draft, _| draft.volatile[0].bytes = b"b".to_vec());
    assert_eq!(faults(&disk), fault(code::IDENTITY, offsets[0], "run"));
}

#[test]
fn groups_that_do_not_follow_are_found() {
    let faults_of: [fn(&mut aos_format::frame::Commit); 5] = [
        |commit| commit.number += 1,
        |commit| commit.count += 1,
        |commit| commit.frames_crc ^= 1,
        |commit| commit.prev_commit ^= 1,
        |commit| commit.start = Offset(commit.start.0 + 16),
    ];
    for commit_fault in faults_of {
        let mut forge = Forge::new(Stride::from_log2(16).unwrap());
        let mut run = History::new("a");
        forge.record(Kind::Start, &run.start());
        forge.commit();
        forge.record(Kind::Step, &run.step("/do/0/s", "1"));
        forge.commit_fault = Some(commit_fault);
        let at = forge.at();
        forge.commit();
        forge.record(Kind::End, &run.end());
        let found = faults(&forge.finish());
        assert_eq!(found[0], fault(code::GROUP, at, "commit")[0], "{found:?}");
    }
}

#[test]
fn a_kind_this_build_does_not_know_is_unsupported_unless_it_may_be_skipped() {
    for (kind, findings) in [(100, 1), (200, 0)] {
        let mut forge = Forge::new(Stride::from_log2(16).unwrap());
        let mut run = History::new("a");
        forge.record(Kind::Start, &run.start());
        let draft = run.mark();
        forge.record_with(Kind::Mark, &draft, |header| header.kind = kind);
        let verified = verified(&forge.finish());
        assert_eq!(verified.findings.len(), findings, "{:?}", verified.findings);
        assert_eq!(
            (verified.integrity, verified.unsupported),
            (Integrity::Intact, findings == 1)
        );
    }
}

/// A log of several segments of 4 KiB with two runs, interleaved.
fn small_segments() -> (Arc<SimDisk>, u64) {
    let mut forge = Forge::new(Stride::MIN);
    let mut runs = [History::new("a"), History::new("b")];
    for run in &mut runs {
        forge.record(Kind::Start, &run.start());
        forge.commit();
    }
    for number in 0..12 {
        for run in &mut runs {
            forge.record(
                Kind::Step,
                &run.step(&format!("/do/{number}/s"), &number.to_string()),
            );
        }
        forge.commit();
    }
    for run in &mut runs {
        forge.record(Kind::End, &run.end());
    }
    forge.commit();
    let end = forge.at();
    (forge.finish(), end)
}

#[test]
fn bytes_behind_a_segments_end_are_found() {
    let (disk, end) = small_segments();
    assert!(end > 4096, "more than one segment");
    flip(&disk, Stride::MIN, 4095, 1);
    let found = faults(&disk);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, code::BEHIND_END);
}

#[test]
fn a_missing_segment_is_a_gap() {
    let (disk, end) = small_segments();
    assert!(end > 8192, "three segments");
    disk.remove(&Path::new("forged.aos/segments").join(segment_file_name(Offset(4096))))
        .unwrap();
    let verified = verified(&disk);
    assert_eq!(
        verified.integrity,
        Integrity::Gap,
        "{:?}",
        verified.findings
    );
    assert_eq!(verified.findings[0].offset, Some(Offset(4096)));
    assert!(verified.runs.values().all(|run| run.damaged));
}

#[test]
fn a_segment_cut_short_is_damage() {
    let (disk, _) = small_segments();
    let path = Path::new("forged.aos/segments").join(segment_file_name(Offset(4096)));
    let mut bytes = disk.peek(&path).unwrap();
    bytes.truncate(4000);
    disk.poke(&path, &bytes).unwrap();
    let verified = verified(&disk);
    assert_eq!(verified.integrity, Integrity::Corrupt);
    assert_eq!(verified.findings[0].offset, Some(Offset(4096)));
}

#[test]
fn a_damaged_record_is_named_by_its_neighbours() {
    let (disk, _) = small_segments();
    let whole = verified(&disk);
    let run = *whole.runs.keys().next().unwrap();
    // The fourth record of the run, found by its links.
    let mut at = whole.runs[&run].head;
    let reader = reader(&disk);
    while reader.read(at).unwrap().seq() > 4 {
        at = reader.read(at).unwrap().header().prev;
    }
    flip(&disk, Stride::MIN, at.0 + 80, 4);
    let found = verified(&disk);
    assert_eq!(found.integrity, Integrity::Corrupt);
    let [finding] = found.findings.as_slice() else {
        panic!("{:?}", found.findings)
    };
    assert_eq!(
        (finding.code, finding.offset, finding.run()),
        (code::DAMAGED, Some(at), Some(run))
    );
    assert_eq!(
        finding.activation.as_deref(),
        Some("/do/2/s"),
        "the one changed byte is set back in thought"
    );
    assert!(
        finding
            .found
            .contains(&format!("the byte at offset {}", at.0 + 80)),
        "{}",
        finding.found
    );
    assert!(found.runs[&run].damaged);
    assert_eq!(found.runs.values().filter(|run| run.damaged).count(), 1);
}

#[test]
fn a_damaged_newest_record_is_named_by_the_record_before_it() {
    let (disk, end) = small_segments();
    let whole = verified(&disk);
    let (run, seen) = whole.runs.iter().max_by_key(|(_, seen)| seen.head).unwrap();
    assert!(seen.head.0 < end);
    flip(&disk, Stride::MIN, seen.head.0 + 70, 1);
    let found = verified(&disk);
    let [finding] = found.findings.as_slice() else {
        panic!("{:?}", found.findings)
    };
    assert_eq!(
        (finding.offset, finding.run()),
        (Some(seen.head), Some(*run))
    );
    assert_eq!(finding.activation.as_deref(), Some("END"));
}

#[test]
fn records_lost_to_more_than_one_byte_are_placed_between_their_neighbours() {
    let (disk, _) = small_segments();
    let whole = verified(&disk);
    let reader = reader(&disk);
    for (run, seen) in &whole.runs {
        let mut at = seen.head;
        let mut expected = "after /do/11/s";
        if run == whole.runs.keys().next().unwrap() {
            while reader.read(at).unwrap().seq() > 4 {
                at = reader.read(at).unwrap().header().prev;
            }
            expected = "between /do/1/s and /do/3/s";
        }
        for changed in [70, 90, 100] {
            flip(&disk, Stride::MIN, at.0 + changed, 0xff);
        }
        let found = verified(&disk);
        let [finding] = found.findings.as_slice() else {
            panic!("{:?}", found.findings)
        };
        assert_eq!((finding.offset, finding.run()), (Some(at), Some(*run)));
        assert_eq!(finding.activation.as_deref(), Some(expected));
        for changed in [70, 90, 100] {
            flip(&disk, Stride::MIN, at.0 + changed, 0xff);
        }
    }
}

fn covers(finding: &Finding, at: u64) -> bool {
    let from = finding.offset.unwrap().0;
    from <= at && finding.length.is_none_or(|len| at < from + len)
}

#[test]
fn every_flipped_byte_is_found_and_located() {
    let (disk, end) = small_segments();
    let mut located = 0;
    for at in (0..end).step_by(3) {
        flip(&disk, Stride::MIN, at, 1 << (at % 8));
        let verified = verify(&reader(&disk), 1).unwrap();
        flip(&disk, Stride::MIN, at, 1 << (at % 8));
        assert_ne!(verified.integrity, Integrity::Intact, "byte {at}");
        assert!(
            verified.findings.iter().any(|finding| covers(finding, at)),
            "byte {at}: {:?}",
            verified.findings
        );
        located += u64::from(
            verified
                .findings
                .iter()
                .any(|finding| finding.run().is_some()),
        );
    }
    assert!(
        located > end / 3 / 2,
        "only {located} of {} name a run",
        end / 3
    );
}

/// A log of several chunks, in which the records of most runs are far apart.
fn many_chunks(change: impl Fn(usize, usize, &mut Draft)) -> (Arc<SimDisk>, u64) {
    many_chunks_with(change, |_, _, _| {})
}

fn many_chunks_with(
    change: impl Fn(usize, usize, &mut Draft),
    header: impl Fn(usize, usize, &mut FrameHeader),
) -> (Arc<SimDisk>, u64) {
    let mut forge = Forge::new(Stride::from_log2(22).unwrap());
    let mut runs: Vec<History> = (0..300)
        .map(|number| History::new(&number.to_string()))
        .collect();
    for run in &mut runs {
        forge.record(Kind::Start, &run.start());
    }
    let padding = "x".repeat(900);
    for number in 0..20 {
        for (index, run) in runs.iter_mut().enumerate() {
            let mut draft = run.step(&format!("/do/{number}/s"), &format!("\"{padding}\""));
            change(index, number, &mut draft);
            forge.record_with(Kind::Step, &draft, |frame| header(index, number, frame));
        }
    }
    // One record longer than a chunk.
    let long = format!("\"{}\"", "y".repeat(1_000_000));
    forge.commit();
    forge.record(Kind::Step, &runs[0].step("/do/99/long", &long));
    for run in &mut runs {
        forge.record(Kind::End, &run.end());
    }
    forge.commit();
    let end = forge.at();
    (forge.finish(), end)
}

#[test]
fn links_across_chunks_are_followed() {
    let (disk, end) = many_chunks(|_, _, _| {});
    assert!(end > 6 << 20, "several chunks and segments: {end}");
    let verified = verified(&disk);
    assert_eq!(verified.findings, []);
    assert_eq!((verified.runs.len(), verified.steps), (300, 6001));
}

#[test]
fn faults_are_found_across_chunks() {
    let (disk, _) = many_chunks(|index, number, draft| {
        if (index, number) == (7, 5) {
            draft.det[event::FIELDS_AT + 3] ^= 1;
        }
        if (index, number) == (8, 6) {
            draft.values[0].stored = Stored::Back { seq: 2, slot: 4 };
        }
    });
    let found: Vec<_> = verified(&disk)
        .findings
        .iter()
        .map(|f| (f.code, f.field.clone(), f.activation.clone()))
        .collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        found,
        [
            (code::HISTORY, some("previous"), some("/do/6/s")),
            (code::BACK_REFERENCE, some("input"), some("/do/6/s")),
        ]
    );
}

#[test]
fn wrong_links_are_found_across_chunks() {
    let (disk, _) = many_chunks_with(
        |_, _, _| {},
        |index, number, header| match (index, number) {
            // Record 8 has no skip, record 6 leads to record 4.
            (7, 4) => header.skip = Offset(header.skip.0 - 16),
            (9, 6) => header.prev = Offset(header.prev.0 - 16),
            _ => {}
        },
    );
    let found: Vec<_> = verified(&disk)
        .findings
        .iter()
        .map(|f| (f.code, f.field.clone(), f.activation.clone()))
        .collect();
    let some = |text: &str| Some(text.to_owned());
    let expected = [
        (code::LINK, some("skip"), some("/do/4/s")),
        (code::LINK, some("prev"), some("/do/6/s")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_looks_like_a_frame_inside_a_long_value_is_none() {
    let mut forge = Forge::new(Stride::from_log2(24).unwrap());
    let mut run = History::new("a");
    forge.record(Kind::Start, &run.start());
    forge.commit();
    let at = forge.at();
    let mut value = vec![b'v'; 3_500_000];
    let step = |run: &mut History, value: &[u8]| {
        let salt = [9; 16];
        let name = ValueRef::of(event::VALUE_BYTES, &salt, value);
        run.draft(
            &step_event("/do/0/s", None, Some(name)),
            vec![here(4, salt, value)],
        )
    };
    let record_len = step(&mut run.clone(), &value).encode().record_len;
    // Behind the record: head and length of the value, and its salt; then up to where a frame could begin.
    let value_at = at + 64 + u64::from(record_len) + 5 + 16;
    for forged_at in [1u64 << 20, (1 << 20) + 160, 2 << 20, (3 << 20) + 16] {
        let header = FrameHeader {
            header_crc: 0,
            body_crc: 0,
            body_len: 0,
            kind: Kind::Step as u8,
            epoch: 1,
            salt: forge.identity.log_id.salt(),
            offset: Offset(forged_at),
            prev: Offset(64),
            skip: Offset::NONE,
            seq: 2,
            record_len: 0,
        };
        let from = (forged_at - value_at) as usize;
        value[from..from + 64].copy_from_slice(&header.encode());
    }
    forge.record(Kind::Step, &step(&mut run, &value));
    forge.record(Kind::End, &run.end());
    let verified = verified(&forge.finish());
    assert_eq!(verified.findings, []);
    assert_eq!((verified.records, verified.groups), (3, 3));
}
