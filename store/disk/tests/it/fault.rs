//! Operations that fail on the simulated disk, and what they leave.

use std::path::Path;
use std::sync::Arc;

use aos_disk::sim::{Fault, Persistence, Policy, SimDisk, Syncs};
use aos_disk::{Disk, File, Kind, OpenMode};

fn path(name: &str) -> &Path {
    Path::new(name)
}

fn with_durable(seed: u64, bytes: &[u8]) -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::with_seed(seed);
    disk.poke(path("a"), bytes).unwrap();
    let file = disk.open(path("a"), OpenMode::ReadWrite).unwrap();
    (disk, file)
}

#[test]
fn a_fault_hits_its_operation_once_or_for_ever() {
    for (persistence, after) in [(Persistence::Once, 2), (Persistence::Forever, 1)] {
        let (disk, file) = with_durable(0, b"");
        disk.fail_op(2, Fault::Io, persistence);
        let good = (0..3).filter(|i| file.write_all_at(b"x", *i).is_ok());
        assert_eq!(good.count(), after);
        disk.clear_faults();
        file.write_all_at(b"x", 0).unwrap();
    }
}

#[test]
fn faults_have_their_kinds() {
    let (disk, file) = with_durable(0, b"");
    let expected = [
        (Fault::Io, Kind::Io),
        (Fault::Full, Kind::Full),
        (Fault::Permission, Kind::Permission),
        (Fault::Interrupted, Kind::Interrupted),
    ];
    for (number, (fault, kind)) in (1..).zip(expected) {
        disk.fail_op(number, fault, Persistence::Once);
        assert_eq!(file.sync_data().unwrap_err().kind(), kind);
    }
}

#[test]
fn a_failed_write_leaves_a_beginning_of_its_bytes() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let (disk, file) = with_durable(seed, b"........");
        disk.fail_op(1, Fault::Io, Persistence::Once);
        assert!(file.write_all_at(b"ABCDEFGH", 0).is_err());
        let bytes = disk.peek(path("a")).unwrap();
        let written = bytes.iter().take_while(|byte| **byte != b'.').count();
        assert_eq!(bytes[..written], b"ABCDEFGH"[..written]);
        assert_eq!(bytes[written..], b"........"[written..]);
        let none = disk.crash_image(Policy::None);
        assert_eq!(none.peek(path("a")).unwrap(), b"........", "only pending");
        lengths.insert(written);
    }
    assert_eq!(lengths.len(), 9, "nothing to everything: {lengths:?}");
}

#[test]
fn failed_operations_on_names_change_nothing() {
    let (disk, _file) = with_durable(0, b"x");
    disk.fail_op(1, Fault::Io, Persistence::Forever);
    assert!(disk.rename(path("a"), path("b")).is_err());
    assert!(disk.remove(path("a")).is_err());
    assert!(disk.create_dir_all(path("d")).is_err());
    assert!(disk.open(path("c"), OpenMode::CreateOrOpen).is_err());
    assert!(disk.lock(path("LOCK")).is_err());
    assert_eq!(disk.list(path("")).unwrap(), ["a"]);
    assert_eq!(disk.pending_units(), 0);
}

#[test]
fn a_good_sync_after_a_failed_one_does_not_resurrect_what_was_lost() {
    let mut lost = 0;
    for seed in 0..100 {
        let (disk, file) = with_durable(seed, b"old");
        file.write_all_at(b"new", 0).unwrap();
        disk.fail_op(2, Fault::Io, Persistence::Once);
        assert!(file.sync_data().is_err());
        assert_eq!(disk.peek(path("a")).unwrap(), b"new", "readers see it");
        file.sync_data().unwrap();
        assert_eq!(disk.pending_units(), 0);
        let after = disk.crash_image(Policy::None).peek(path("a")).unwrap();
        assert!(after == b"old" || after == b"new");
        lost += usize::from(after == b"old");
        for policy in [Policy::All, Policy::Subset(seed), Policy::Mask(u64::MAX)] {
            let other = disk.crash_image(policy).peek(path("a")).unwrap();
            assert_eq!(other, after, "nothing is pending that could still survive");
        }
    }
    assert!((20..80).contains(&lost), "lost in {lost} of 100");
}

#[test]
fn changes_after_a_failed_sync_do_not_carry_along_what_was_lost() {
    for (seed, resized) in (0..60).flat_map(|seed| [(seed, false), (seed, true)]) {
        let (disk, file) = with_durable(seed, b"old.");
        file.write_all_at(b"new", 0).unwrap();
        disk.fail_op(2, Fault::Io, Persistence::Once);
        assert!(file.sync_data().is_err());
        let mut expected = disk.crash_image(Policy::None).peek(path("a")).unwrap();
        if resized {
            file.set_len(5).unwrap();
            expected.push(0);
        } else {
            file.write_all_at(b"!", 3).unwrap(); // in the same page
            expected[3] = b'!';
        }
        file.sync_data().unwrap();
        for policy in [Policy::None, Policy::All] {
            let after = disk.crash_image(policy).peek(path("a")).unwrap();
            assert_eq!(after, expected, "seed {seed}");
        }
    }
}

#[test]
fn bytes_written_again_after_a_failed_sync_become_durable() {
    for seed in 0..50 {
        let (disk, file) = with_durable(seed, b"old");
        file.write_all_at(b"new", 0).unwrap();
        disk.fail_op(2, Fault::Io, Persistence::Once);
        assert!(file.sync_data().is_err());
        file.write_all_at(b"new", 0).unwrap();
        file.sync_data().unwrap();
        let after = disk.crash_image(Policy::None).peek(path("a")).unwrap();
        assert_eq!(after, b"new", "seed {seed}");
    }
}

#[test]
fn a_killed_process_does_not_resurrect_what_a_failed_sync_lost() {
    for seed in 0..50 {
        let (disk, file) = with_durable(seed, b"old");
        file.write_all_at(b"new", 0).unwrap();
        disk.fail_op(2, Fault::Io, Persistence::Once);
        assert!(file.sync_data().is_err());
        let expected = disk.crash_image(Policy::All).peek(path("a"));
        let next = disk.process_crash_image();
        let file = next.open(path("a"), OpenMode::ReadWrite).unwrap();
        file.sync_data().unwrap();
        assert_eq!(next.crash_image(Policy::All).peek(path("a")), expected);
    }
}

#[test]
fn a_failed_directory_sync_loses_some_names_for_good() {
    let mut lost = 0;
    for seed in 0..100 {
        let disk = SimDisk::with_seed(seed);
        disk.open(path("b"), OpenMode::CreateNew).unwrap();
        disk.fail_op(2, Fault::Io, Persistence::Once);
        assert!(disk.sync_dir(path("")).is_err());
        assert!(disk.exists(path("b")).unwrap());
        disk.sync_dir(path("")).unwrap();
        lost += usize::from(disk.crash_image(Policy::All).files().is_empty());
    }
    assert!((20..80).contains(&lost), "lost in {lost} of 100");
}

#[test]
fn reads_fail_by_their_own_numbers() {
    let (disk, file) = with_durable(0, b"0123");
    let map = file.map(4).unwrap();
    disk.fail_read(3, Fault::Io, Persistence::Once);
    disk.fail_read(5, Fault::Permission, Persistence::Forever);
    let mut buf = [0; 4];
    file.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!(map.bytes(0..4).unwrap_err().kind(), Kind::Io);
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 4);
    assert_eq!(disk.list(path("")).unwrap_err().kind(), Kind::Permission);
    assert_eq!(
        map.read_at(&mut buf, 0).unwrap_err().kind(),
        Kind::Permission
    );
    assert_eq!(disk.reads(), 6, "the opening is the first");
    file.write_all_at(b"x", 0).unwrap();
}

#[test]
fn a_full_disk_takes_what_fits_and_overwrites_freely() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(3 * 4096));
    let file = disk.open(path("a"), OpenMode::CreateNew).unwrap();
    file.set_len(1 << 30).unwrap();
    assert_eq!(disk.allocated(), 0, "holes take no space");
    file.write_all_at(&[0; 8192], 0).unwrap();
    assert_eq!(disk.allocated(), 8192, "written zeros do");
    let error = file.write_all_at(&[1; 8192], 8000).unwrap_err();
    assert_eq!(error.kind(), Kind::Full);
    let mut buf = [9; 8192];
    file.read_exact_at(&mut buf, 8000).unwrap();
    let fits = 3 * 4096 - 8000;
    assert!(buf[..fits].iter().all(|b| *b == 1));
    assert!(buf[fits..].iter().all(|b| *b == 0));
    file.write_all_at(&[2; 3 * 4096], 0).unwrap();
    assert_eq!(
        file.write_all_at(b"x", 1 << 20).unwrap_err().kind(),
        Kind::Full
    );
    drop(file);
    disk.remove(path("a")).unwrap();
    disk.sync_dir(path("")).unwrap();
    let file = disk.open(path("b"), OpenMode::CreateNew).unwrap();
    file.write_all_at(b"room again", 0).unwrap();
}

#[test]
fn a_silent_fault_says_that_all_is_well_and_is_counted() {
    const LEN: usize = 32 * 512;
    for (fault, lost) in [
        (Fault::SyncLost, true),
        (Fault::SyncLies, false),
        (Fault::Misdirected, false),
        (Fault::Rot, false),
    ] {
        let (disk, file) = with_durable(3, &[b'.'; LEN]);
        disk.fail_op(1, fault, Persistence::Once);
        disk.fail_op(2, fault, Persistence::Once);
        file.write_all_at(&[b'A'; 8192], 512).unwrap();
        file.sync_data().unwrap();
        let seen = disk.peek(path("a")).unwrap();
        let meant = seen[512..8704].iter().all(|byte| *byte == b'A');
        assert!(meant, "{fault:?}: everybody sees what was meant");
        let struck = disk.struck();
        assert_eq!(struck.len(), 1, "{fault:?} hits one of the two");
        assert_eq!(
            (struck[0].fault, struck[0].path.as_path()),
            (fault, path("a"))
        );
        let after = || disk.crash_image(Policy::None).peek(path("a")).unwrap();
        assert!(after() != seen, "{fault:?}");
        if fault != Fault::Misdirected {
            // Which may also be lost, beyond the end of a file.
            assert_eq!(after() == [b'.'; LEN], lost, "{fault:?}");
        }
        file.sync_data().unwrap();
        assert_eq!(
            after() == seen,
            lost,
            "{fault:?}: mended by an honest sync?"
        );
    }
}

#[test]
fn a_rotten_write_leaves_one_wrong_bit_and_a_rotten_read_gives_one() {
    let (disk, file) = with_durable(5, &[0; 600]);
    disk.fail_op(1, Fault::Rot, Persistence::Once);
    file.write_all_at(&[0xff; 600], 0).unwrap();
    file.sync_data().unwrap();
    let zeros = |bytes: &[u8]| bytes.iter().map(|byte| byte.count_zeros()).sum::<u32>();
    let after = disk.crash_image(Policy::None).peek(path("a")).unwrap();
    assert_eq!(zeros(&after), 1);
    disk.fail_read(disk.reads() + 1, Fault::Rot, Persistence::Once);
    let mut buf = [0; 600];
    file.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!(zeros(&buf), 1);
    file.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!(zeros(&buf), 0, "the medium is as it was");
}

#[test]
fn a_misdirected_read_gives_another_place_and_a_short_one_less() {
    let bytes: Vec<u8> = (0..8).flat_map(|n| [n; 512]).collect();
    let (disk, file) = with_durable(6, &bytes);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        disk.clear_faults();
        disk.fail_read(disk.reads() + 1, Fault::Misdirected, Persistence::Once);
        let mut buf = [9; 512];
        file.read_exact_at(&mut buf, 512).unwrap();
        seen.insert(buf[0]);
    }
    assert_eq!(seen, (0..8).collect());
    disk.clear_faults();
    disk.fail_read(disk.reads() + 1, Fault::Short, Persistence::Forever);
    let mut buf = [9; 512];
    assert!(file.read_at(&mut buf, 0).unwrap() < 512);
    let error = file.read_exact_at(&mut buf, 0).unwrap_err();
    assert_eq!(error.kind(), Kind::UnexpectedEnd);
}

#[test]
fn sectors_of_4096_bytes_survive_as_a_whole() {
    let (disk, file) = with_durable(7, &[b'.'; 16384]);
    disk.set_sector(4096);
    file.write_all_at(&[b'A'; 8192], 2048).unwrap();
    assert_eq!(disk.pending_units(), 3);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let after = disk
            .crash_image(Policy::Subset(seed))
            .peek(path("a"))
            .unwrap();
        let parts = [(2048, 4096), (4096, 8192), (8192, 10240)];
        seen.insert(parts.map(|(from, to)| {
            let part = &after[from..to];
            assert!(part.iter().all(|byte| *byte == part[0]), "torn inside");
            part[0]
        }));
    }
    assert_eq!(seen.len(), 8);
}

#[test]
fn shuffled_survivors_reach_the_medium_in_any_order() {
    let (disk, file) = with_durable(8, b"....");
    file.write_all_at(b"AAA", 0).unwrap();
    file.write_all_at(b"BBB", 1).unwrap();
    let images = |policy: fn(u64) -> Policy| -> std::collections::BTreeSet<Vec<u8>> {
        (0..200)
            .map(|seed| disk.crash_image(policy(seed)).peek(path("a")).unwrap())
            .collect()
    };
    let (ordered, shuffled) = (images(Policy::Subset), images(Policy::Shuffled));
    assert!(shuffled.contains(&b"AAAB"[..]) && !ordered.contains(&b"AAAB"[..]));
    assert!(
        shuffled.is_superset(&ordered) && shuffled.len() == 5,
        "{shuffled:?}"
    );
}

#[test]
fn late_syncs_let_a_later_write_overtake_an_earlier_one() {
    let (disk, file) = with_durable(9, b"....");
    disk.set_syncs(Syncs::Late);
    file.write_all_at(b"A", 0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(b"B", 2).unwrap();
    let images: std::collections::BTreeSet<Vec<u8>> = (0..50)
        .map(|seed| {
            disk.crash_image(Policy::Subset(seed))
                .peek(path("a"))
                .unwrap()
        })
        .collect();
    assert!(images.contains(&b"..B."[..]), "{images:?}");
    file.sync_data().unwrap();
    let after = disk.crash_image(Policy::None).peek(path("a")).unwrap();
    assert_eq!(after, b"A...", "what the sync before was for");
}

#[test]
fn a_fingerprint_tells_disks_apart() {
    let (disk, file) = with_durable(10, b"....");
    let first = disk.fingerprint();
    assert_eq!(disk.crash_image(Policy::None).fingerprint(), first);
    file.write_all_at(b"x", 0).unwrap();
    let written = disk.fingerprint();
    assert_ne!(written, first);
    assert_eq!(disk.crash_image(Policy::All).fingerprint(), written);
    assert_eq!(disk.crash_image(Policy::None).fingerprint(), first);
    disk.rename(path("a"), path("b")).unwrap();
    assert_ne!(disk.fingerprint(), written);
}
