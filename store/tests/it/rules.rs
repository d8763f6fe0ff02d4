//! Bytes whose checksums hold and that break a rule: made by hand, one broken rule each.

use crate::support::{as_disk, path, try_open};
use aos_disk::sim::SimDisk;
use aos_format::digest::{Digest, LogId};
use aos_format::event::{Event, Open};
use aos_format::frame::{Commit, FrameHeader, Kind, SegmentEnd};
use aos_format::offset::{Offset, Stride, segment_file_name};
use aos_format::record::{Draft, StreamId};
use aos_format::segment::{DurableWord, Identity, LockHeader, SegmentHeader};
use aos_format::wire::{align16, crc32};
use aos_store::{ErrorKind, Finding, FindingKind, check};

/// A frame to be written, with everything that can be wrong about it.
#[derive(Clone)]
struct Frame {
    kind: u8,
    epoch: u32,
    salt: u32,
    seq: u64,
    prev: Offset,
    skip: Offset,
    body: Vec<u8>,
    record_len: u32,
    shift: u64,
    flags: u8,
}

/// Writes a log by hand into one segment.
struct Maker {
    bytes: Vec<u8>,
    group: u64,
    commit_crc: u32,
    record: Offset,
    seq: u64,
}

fn identity() -> Identity {
    Identity {
        log_id: LogId([7; 16]),
        stride: Stride::MIN,
    }
}

impl Maker {
    fn new() -> Maker {
        let header = SegmentHeader {
            identity: identity(),
            offset: Offset(0),
            epoch: 2,
        };
        let mut maker = Maker {
            bytes: header.encode().to_vec(),
            group: 0,
            commit_crc: 0,
            record: Offset::NONE,
            seq: 0,
        };
        maker.group(|_, _| (), 1);
        maker
    }

    fn record(&self, n: u64) -> Frame {
        let open = Event::Open(Open {
            epoch: n,
            cut_start: 0,
            cut_len: 0,
            cut_digest: None,
            build: "test".into(),
            target: "here".into(),
        });
        let body = Draft::new(StreamId::CONTROL, open.encode(&Digest::ZERO)).encode();
        Frame {
            kind: Kind::Open as u8,
            epoch: 2,
            salt: identity().log_id.salt(),
            seq: n,
            prev: Offset::NONE,
            skip: Offset::NONE,
            body: body.bytes[..body.body_len as usize].to_vec(),
            record_len: body.record_len,
            shift: 0,
            flags: 0,
        }
    }

    fn structural(&self, kind: Kind, body: &[u8]) -> Frame {
        Frame {
            kind: kind as u8,
            seq: 0,
            body: body.to_vec(),
            record_len: 0,
            ..self.record(1)
        }
    }

    /// Appends a frame; its header CRC.
    fn put(&mut self, frame: &Frame) -> u32 {
        let mut body = frame.body.clone();
        body.resize(align16(body.len() as u64) as usize, 0);
        let header = FrameHeader {
            header_crc: 0,
            body_crc: crc32(&body),
            body_len: frame.body.len() as u32,
            kind: frame.kind,
            epoch: frame.epoch,
            salt: frame.salt,
            offset: Offset(self.bytes.len() as u64 + frame.shift),
            prev: frame.prev,
            skip: frame.skip,
            seq: frame.seq,
            record_len: frame.record_len,
        };
        let mut bytes = header.encode();
        bytes[13] = frame.flags;
        let crc = crc32(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        self.bytes.extend_from_slice(&bytes);
        self.bytes.extend_from_slice(&body);
        crc
    }

    /// A group of `count` records, changed before it is written.
    fn group(&mut self, change: impl Fn(&mut Vec<Frame>, &mut Commit), count: u64) {
        let mut frames = Vec::new();
        let start = self.bytes.len() as u64;
        let (mut at, mut prev) = (start, self.record);
        for n in 1..=count {
            let seq = self.seq + n;
            let mut frame = self.record(seq);
            frame.prev = prev;
            // Enough for the first three records.
            frame.skip = if seq == 3 { prev } else { Offset::NONE };
            prev = Offset(at);
            at += 64 + align16(frame.body.len() as u64);
            frames.push(frame);
        }
        let mut commit = Commit {
            number: self.group + 1,
            start: Offset(start),
            count: count as u32,
            frames_crc: 0,
            prev_commit: self.commit_crc,
        };
        self.write(&mut frames, &mut commit, change);
        (self.record, self.seq) = (prev, self.seq + count);
    }

    fn write(
        &mut self,
        frames: &mut Vec<Frame>,
        commit: &mut Commit,
        change: impl Fn(&mut Vec<Frame>, &mut Commit),
    ) {
        // Twice, so that a change can also spoil what is computed: first the frames, then the commit.
        change(frames, commit);
        let crcs: Vec<u8> = frames
            .iter()
            .flat_map(|frame| self.put(frame).to_le_bytes())
            .collect();
        commit.frames_crc = crc32(&crcs);
        commit.count = frames.len() as u32;
        change(&mut frames.clone(), commit);
        let mut last = self.structural(Kind::Commit, &commit.encode());
        last.epoch = frames.last().map_or(2, |frame| frame.epoch);
        self.commit_crc = self.put(&last);
        self.group += 1;
    }

    /// The log on a disk, with a word that covers its first group only.
    fn disk(mut self) -> SimDisk {
        let disk = SimDisk::new();
        let mut lock = LockHeader {
            identity: identity(),
        }
        .encode()
        .to_vec();
        lock.resize(128, 0);
        disk.poke(&path().join("LOCK"), &lock).unwrap();
        self.bytes.resize(4096, 0);
        let name = segment_file_name(Offset(0));
        let file = path().join("segments").join(name);
        disk.poke(&file, &self.bytes).unwrap();
        disk
    }
}

/// What is said of a log whose second group was changed.
fn said(change: impl Fn(&mut Vec<Frame>, &mut Commit)) -> Option<Finding> {
    let mut maker = Maker::new();
    maker.group(change, 2);
    verdict(&maker.disk())
}

fn verdict(disk: &SimDisk) -> Option<Finding> {
    let report = check(as_disk(disk), path()).unwrap();
    let opened = try_open(disk).map(drop);
    match report.findings.first() {
        None => assert!(opened.is_ok(), "{opened:?}"),
        Some(finding) if finding.kind == FindingKind::TailUnproven => {
            assert!(opened.is_ok(), "torn tails are cut: {opened:?}");
        }
        // What records say is looked at by checks, not by every opening.
        Some(finding) if finding.expected.contains("a record of") => {}
        Some(finding) if finding.expected.contains("of its stream") => {}
        Some(finding) if finding.expected.starts_with("a DEFINITION") => {}
        Some(_) => {
            let kind = opened.unwrap_err().kind();
            let expected = [ErrorKind::Damaged, ErrorKind::Unsupported, ErrorKind::Gap];
            assert!(expected.contains(&kind), "{kind:?}");
        }
    }
    report.findings.first().cloned()
}

#[track_caller]
fn damage(found: &str, change: impl Fn(&mut Vec<Frame>, &mut Commit)) {
    let finding = said(change).expect("a finding");
    assert_eq!(finding.kind, FindingKind::Corruption, "{finding}");
    let text = finding.to_string();
    assert!(text.contains(found), "{text}");
}

#[test]
fn a_log_made_by_hand_by_the_rules_is_whole() {
    assert_eq!(said(|_, _| ()), None);
}

#[test]
fn frames_that_belong_elsewhere_are_damage() {
    damage("is stale", |frames, _| frames[0].epoch = 1);
    damage("another log", |frames, _| frames[0].salt ^= 1);
    damage("belongs at offset", |frames, _| frames[0].shift = 16);
    damage("a frame of epoch 2", |frames, _| frames[1].epoch = 3);
}

#[test]
fn links_that_cannot_be_are_damage() {
    damage("links of record number 2", |frames, _| {
        frames[0].prev = Offset::NONE;
    });
    damage("links of record number 2", |frames, _| {
        frames[0].skip = frames[0].prev;
    });
    damage("links of record number 3", |frames, _| {
        frames[1].skip = Offset(64);
    });
    damage("links of record number 0", |frames, _| frames[0].seq = 0);
    damage("a number or an offset that cannot be", |frames, _| {
        frames[0].prev = Offset(4000);
    });
    damage("a number or an offset that cannot be", |frames, _| {
        frames[0].seq = u64::MAX; // nothing could follow it
    });
    damage("a number or an offset that cannot be", |_, commit| {
        commit.number = u64::MAX;
    });
    // A link that could be, and is not the right one: only following the stream shows it.
    damage("record 3 of its stream", |frames, _| {
        frames[1].prev = Offset(64);
        frames[1].skip = Offset(64);
    });
}

#[test]
fn commits_that_do_not_fit_their_group_are_damage() {
    damage("commit 2", |_, commit| commit.number += 1);
    damage("commit 2", |_, commit| commit.start.0 += 16);
    damage("commit 2", |_, commit| commit.prev_commit = 77);
    damage("of 3 frames", |_, commit| commit.count += 1);
    damage("commit 2", |_, commit| commit.frames_crc = 77);
}

#[test]
fn what_a_newer_version_may_write_is_named_as_such() {
    let finding = said(|frames, _| frames[0].kind = 99).unwrap();
    assert_eq!(finding.kind, FindingKind::Unsupported);
    assert!(finding.found.contains("kind 99"), "{finding}");
    let finding = said(|frames, _| frames[0].flags = 1).unwrap();
    assert_eq!(finding.kind, FindingKind::Unsupported);
    assert_eq!(
        said(|frames, _| frames[0].kind = 200),
        None,
        "may be skipped"
    );
}

#[test]
fn a_record_that_is_none_is_damage_although_its_checksum_holds() {
    damage("a record of version 1", |frames, _| {
        frames[0].body = vec![0xff; 48];
        frames[0].record_len = 48;
    });
    damage("a DEFINITION", |frames, _| {
        frames[0].kind = Kind::Definition as u8;
    });
}

#[test]
fn the_end_of_a_segment_stands_alone_and_names_the_next() {
    let end = |next| {
        move |frames: &mut Vec<Frame>, _: &mut Commit| {
            let mut maker = Maker::new();
            maker.seq = 0;
            frames.clear();
            let body = SegmentEnd { next: Offset(next) }.encode();
            frames.push(maker.structural(Kind::SegmentEnd, &body));
        }
    };
    damage("next segment at 4096", end(8192));
    let finding = said(end(4096)).unwrap();
    assert_eq!(
        (finding.kind, finding.offset),
        (FindingKind::Gap, Offset(4096))
    );
    damage("alone in its group", |frames, _| {
        let body = SegmentEnd { next: Offset(4096) }.encode();
        let end = Maker::new().structural(Kind::SegmentEnd, &body);
        frames.push(end);
    });
    damage("without links", |frames, _| {
        let body = SegmentEnd { next: Offset(4096) }.encode();
        frames.clear();
        frames.push(Maker::new().structural(Kind::SegmentEnd, &body));
        frames[0].seq = 1;
    });
}

#[test]
fn a_segment_header_of_another_epoch_than_its_first_group_is_damage() {
    let mut maker = Maker::new();
    let header = SegmentHeader {
        identity: identity(),
        offset: Offset(0),
        epoch: 1,
    };
    maker.bytes[..64].copy_from_slice(&header.encode());
    let finding = verdict(&maker.disk()).unwrap();
    assert!(finding.expected.contains("epoch 2"), "{finding}");
}

#[test]
fn a_group_leaves_room_for_the_end_of_its_segment() {
    let mut maker = Maker::new();
    while maker.bytes.len() <= 4096 - 176 {
        maker.write(
            &mut Vec::new(),
            &mut Commit {
                number: maker.group + 1,
                start: Offset(maker.bytes.len() as u64),
                count: 0,
                frames_crc: 0,
                prev_commit: maker.commit_crc,
            },
            |_, _| (),
        );
    }
    let finding = verdict(&maker.disk()).unwrap();
    assert!(finding.expected.contains("room"), "{finding}");
}

#[test]
fn a_word_that_names_no_group_is_damage() {
    let mut maker = Maker::new();
    maker.group(|_, _| (), 2);
    let disk = maker.disk();
    let word = DurableWord {
        durable: Offset(80),
        group: 1,
        epoch: 2,
    };
    let bytes = word.encode(identity().log_id.salt());
    disk.poke_at(&path().join("LOCK"), &bytes, 64).unwrap();
    let finding = verdict(&disk).unwrap();
    assert_eq!(finding.file, "LOCK");
}
