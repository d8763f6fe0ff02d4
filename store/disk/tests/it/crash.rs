//! What the simulated machine finds after losing power.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aos_disk::sim::{OpKind, Policy, SimDisk};
use aos_disk::{Disk, File, Kind, OpenMode};

fn path(name: &str) -> &Path {
    Path::new(name)
}

fn create(disk: &SimDisk, name: &str) -> Arc<dyn File> {
    disk.open(path(name), OpenMode::CreateNew).unwrap()
}

/// A disk with a durable file.
fn with_durable(name: &str, bytes: &[u8]) -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::new();
    disk.poke(path(name), bytes).unwrap();
    let file = disk.open(path(name), OpenMode::ReadWrite).unwrap();
    (disk, file)
}

/// Everything on a disk.
fn state(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let files = disk.files().into_iter();
    files.map(|f| (f.clone(), disk.peek(&f).unwrap())).collect()
}

/// Every disk that a power cut can leave now.
fn every_image(disk: &SimDisk) -> Vec<SimDisk> {
    let units = disk.pending_units();
    assert!(units <= 16, "{units} parts are too many to try all choices");
    (0..1 << units)
        .map(|mask| disk.crash_image(Policy::Mask(mask)))
        .collect()
}

/// Every content that a file can have after a power cut; `None` if it is gone.
fn fates(disk: &SimDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    let images = every_image(disk);
    images.iter().map(|image| image.peek(path(name))).collect()
}

fn set<const N: usize>(contents: [Option<&[u8]>; N]) -> BTreeSet<Option<Vec<u8>>> {
    contents.iter().map(|c| c.map(<[u8]>::to_vec)).collect()
}

#[test]
fn unsynced_write_may_vanish_and_synced_never() {
    let (disk, file) = with_durable("a", b"old");
    file.write_all_at(b"new", 0).unwrap();
    assert_eq!(disk.peek(path("a")).unwrap(), b"new");
    assert_eq!(fates(&disk, "a"), set([Some(b"old"), Some(b"new")]));
    file.sync_data().unwrap();
    assert_eq!(disk.pending_units(), 0);
    assert_eq!(fates(&disk, "a"), set([Some(b"new")]));
}

#[test]
fn policies_none_and_all_are_the_two_ends() {
    let (disk, file) = with_durable("a", b"old");
    file.write_all_at(b"newer", 0).unwrap();
    create(&disk, "b");
    let none = disk.crash_image(Policy::None);
    assert_eq!(state(&none), [("a".into(), b"old".to_vec())]);
    let all = disk.crash_image(Policy::All);
    assert_eq!(state(&all), state(&disk));
    assert_eq!(
        all.pending_units(),
        0,
        "a machine that starts has nothing pending"
    );
}

#[test]
fn an_extending_write_may_leave_its_length_without_its_bytes() {
    let (disk, file) = with_durable("a", b"old");
    file.write_all_at(b"new", 3).unwrap();
    let expected = [&b"old"[..], b"oldnew", b"old\0\0\0"].map(Some);
    assert_eq!(fates(&disk, "a"), set(expected));
}

#[test]
fn a_write_is_torn_at_sectors_that_survive_alone() {
    let (disk, file) = with_durable("a", &[b'o'; 1536]);
    // Touches the end of sector 0, all of sector 1, the start of sector 2.
    file.write_all_at(&[b'n'; 600], 500).unwrap();
    assert_eq!(disk.pending_units(), 3);
    let fates = fates(&disk, "a");
    assert_eq!(fates.len(), 8);
    for bytes in fates.into_iter().flatten() {
        assert_eq!(bytes.len(), 1536);
        assert!(bytes[..500].iter().all(|b| *b == b'o'));
        assert!(bytes[1100..].iter().all(|b| *b == b'o'));
        for sector in [500..512, 512..1024, 1024..1100] {
            let first = bytes[sector.start];
            assert!(bytes[sector].iter().all(|b| *b == first));
        }
    }
}

#[test]
fn later_writes_may_survive_without_earlier_ones() {
    let (disk, file) = with_durable("a", b"....");
    file.write_all_at(b"1", 0).unwrap();
    file.write_all_at(b"2", 1).unwrap();
    file.write_all_at(b"3", 1).unwrap();
    let fates = fates(&disk, "a");
    assert!(fates.contains(&Some(b".2..".to_vec())));
    assert!(fates.contains(&Some(b".3..".to_vec())));
    // Survivors are applied in order: 3 came after 2 (8 choices, where 3 hides 2 in both pairs).
    assert_eq!(fates.len(), 6);
}

#[test]
fn unsynced_set_len_may_vanish() {
    let (disk, file) = with_durable("a", b"old");
    file.set_len(5).unwrap();
    assert_eq!(fates(&disk, "a"), set([Some(b"old"), Some(b"old\0\0")]));
    file.sync_data().unwrap();
    assert_eq!(fates(&disk, "a"), set([Some(b"old\0\0")]));
    file.set_len(1).unwrap();
    assert_eq!(fates(&disk, "a"), set([Some(b"old\0\0"), Some(b"o")]));
    file.sync_data().unwrap();
    assert_eq!(fates(&disk, "a"), set([Some(b"o")]));
}

#[test]
fn new_file_may_vanish_without_dir_sync_although_its_bytes_are_synced() {
    let disk = SimDisk::new();
    let file = create(&disk, "a");
    file.write_all_at(b"bytes", 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(fates(&disk, "a"), set([None, Some(b"bytes")]));
    disk.sync_dir(path("")).unwrap();
    assert_eq!(fates(&disk, "a"), set([Some(b"bytes")]));
}

#[test]
fn new_file_may_be_empty_without_file_sync_although_its_name_is_durable() {
    let disk = SimDisk::new();
    let file = create(&disk, "a");
    file.write_all_at(b"x", 0).unwrap();
    disk.sync_dir(path("")).unwrap();
    assert_eq!(fates(&disk, "a"), set([Some(b""), Some(b"\0"), Some(b"x")]));
}

#[test]
fn unsynced_rename_may_vanish_and_leaves_one_of_the_names() {
    let (disk, _file) = with_durable("new", b"new");
    disk.poke(path("a"), b"old").unwrap();
    disk.rename(path("new"), path("a")).unwrap();
    let images: Vec<_> = every_image(&disk).iter().map(state).collect();
    let before = vec![
        ("a".into(), b"old".to_vec()),
        ("new".into(), b"new".to_vec()),
    ];
    let after: Vec<(PathBuf, _)> = vec![("a".into(), b"new".to_vec())];
    assert_eq!(images, [before, after.clone()]);
    disk.sync_dir(path("")).unwrap();
    let images: Vec<_> = every_image(&disk).iter().map(state).collect();
    assert_eq!(images, [after]);
}

#[test]
fn a_file_never_has_two_names_whatever_renames_survive() {
    let (disk, _file) = with_durable("a", b"x");
    disk.rename(path("a"), path("b")).unwrap();
    disk.rename(path("b"), path("c")).unwrap();
    for image in every_image(&disk) {
        assert_eq!(image.files().len(), 1);
    }
}

#[test]
fn unsynced_remove_may_come_back() {
    let (disk, file) = with_durable("a", b"x");
    drop(file);
    disk.remove(path("a")).unwrap();
    assert_eq!(disk.peek(path("a")), None);
    assert_eq!(fates(&disk, "a"), set([None, Some(b"x")]));
    disk.sync_dir(path("")).unwrap();
    assert_eq!(fates(&disk, "a"), set([None]));
}

#[test]
fn a_directory_must_be_synced_in_its_parent() {
    let disk = SimDisk::new();
    disk.create_dir_all(path("x/y")).unwrap();
    let file = create(&disk, "x/y/a");
    file.write_all_at(b"x", 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(path("x/y")).unwrap();
    assert_eq!(fates(&disk, "x/y/a"), set([None, Some(b"x")]));
    disk.sync_dir(path("x")).unwrap();
    assert_eq!(fates(&disk, "x/y/a"), set([None, Some(b"x")]));
    disk.sync_dir(path("")).unwrap();
    assert_eq!(fates(&disk, "x/y/a"), set([Some(b"x")]));
}

#[test]
fn a_rename_between_directories_waits_for_both() {
    let disk = SimDisk::new();
    disk.poke(path("x/a"), b"1").unwrap();
    disk.poke(path("y/keep"), b"2").unwrap();
    disk.rename(path("x/a"), path("y/a")).unwrap();
    disk.sync_dir(path("y")).unwrap();
    assert_eq!(fates(&disk, "y/a"), set([None, Some(b"1")]));
    disk.sync_dir(path("x")).unwrap();
    assert_eq!(fates(&disk, "y/a"), set([Some(b"1")]));
    assert_eq!(fates(&disk, "x/a"), set([None]));
}

#[test]
fn a_durable_remove_is_not_undone_by_an_older_rename() {
    let disk = SimDisk::new();
    disk.poke(path("x/a"), b"1").unwrap();
    disk.poke(path("y/keep"), b"2").unwrap();
    disk.rename(path("x/a"), path("y/a")).unwrap();
    disk.sync_dir(path("y")).unwrap();
    disk.remove(path("y/a")).unwrap();
    disk.sync_dir(path("y")).unwrap();
    assert_eq!(fates(&disk, "y/a"), set([None]));
    assert_eq!(fates(&disk, "x/a"), set([None]));
}

#[test]
fn the_operation_of_the_crash_and_all_later_ones_fail_and_change_nothing() {
    let (disk, file) = with_durable("a", b"0000");
    disk.crash_at(3);
    file.write_all_at(b"1", 0).unwrap();
    file.write_all_at(b"2", 1).unwrap();
    assert!(!disk.is_crashed());
    assert_eq!(
        file.write_all_at(b"3", 2).unwrap_err().kind(),
        Kind::Crashed
    );
    assert!(disk.is_crashed());
    assert_eq!(file.sync_data().unwrap_err().kind(), Kind::Crashed);
    assert_eq!(disk.sync_dir(path("")).unwrap_err().kind(), Kind::Crashed);
    assert_eq!(disk.remove(path("a")).unwrap_err().kind(), Kind::Crashed);
    let new = disk.open(path("b"), OpenMode::CreateNew);
    assert_eq!(new.unwrap_err().kind(), Kind::Crashed);
    assert_eq!(file.len().unwrap_err().kind(), Kind::Crashed);
    assert_eq!(file.read_at(&mut [0], 0).unwrap_err().kind(), Kind::Crashed);
    assert_eq!(disk.ops(), 2);
    assert_eq!(
        disk.crash_image(Policy::All).peek(path("a")).unwrap(),
        b"1200"
    );
}

#[test]
fn after_the_crash_operation_its_changes_are_pending() {
    let (disk, file) = with_durable("a", b"0000");
    disk.crash_after(1);
    file.write_all_at(b"1", 0).unwrap();
    assert_eq!(file.sync_data().unwrap_err().kind(), Kind::Crashed);
    assert_eq!(fates(&disk, "a"), set([Some(b"0000"), Some(b"1000")]));
}

#[test]
fn operations_are_numbered_and_told() {
    let disk = SimDisk::new();
    disk.create_dir_all(path("x/y")).unwrap();
    disk.create_dir_all(path("x/y")).unwrap();
    let file = create(&disk, "x/a");
    disk.open(path("x/a"), OpenMode::CreateOrOpen).unwrap();
    file.write_all_at(b"1", 0).unwrap();
    file.set_len(9).unwrap();
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    disk.sync_dir(path("x")).unwrap();
    disk.rename(path("x/a"), path("x/b")).unwrap();
    disk.remove(path("x/b")).unwrap();
    let kinds: Vec<_> = disk.op_log().iter().map(|op| op.kind).collect();
    use OpKind::*;
    assert_eq!(
        kinds,
        [
            CreateDir, CreateDir, Create, Write, SetLen, SyncData, SyncAll, SyncDir, Rename, Remove
        ]
    );
    assert_eq!(disk.ops(), 10);
    assert_eq!(disk.op_log()[3].to_string(), "4: Write x/a");
}

#[test]
fn a_killed_process_leaves_everything_visible_but_still_pending() {
    let (disk, file) = with_durable("a", b"old");
    file.write_all_at(b"new", 0).unwrap();
    create(&disk, "b");
    let lock = disk.lock(path("a")).unwrap();
    disk.crash_at(1);
    assert!(file.sync_data().is_err());

    let next = disk.process_crash_image();
    drop(lock);
    assert_eq!(next.peek(path("a")).unwrap(), b"new");
    assert!(next.exists(path("b")).unwrap());
    assert!(!next.is_locked(path("a")).unwrap());
    assert_eq!(fates(&next, "a"), set([Some(b"old"), Some(b"new")]));
    assert_eq!(fates(&next, "b"), set([None, Some(b"")]));
    let file = next.open(path("a"), OpenMode::ReadWrite).unwrap();
    file.sync_data().unwrap();
    assert_eq!(fates(&next, "a"), set([Some(b"new")]));
    assert_eq!(fates(&disk, "a"), set([Some(b"old"), Some(b"new")]));
}

#[test]
fn images_are_disks_of_their_own() {
    let (disk, file) = with_durable("a", b"old");
    let _lock = disk.lock(path("a")).unwrap();
    let image = disk.crash_image(Policy::All);
    assert!(!image.is_locked(path("a")).unwrap());
    assert_eq!(image.ops(), 0);
    file.write_all_at(b"new", 0).unwrap();
    let other = image.open(path("a"), OpenMode::ReadWrite).unwrap();
    other.write_all_at(b"img", 0).unwrap();
    assert_eq!(disk.peek(path("a")).unwrap(), b"new");
    assert_eq!(image.peek(path("a")).unwrap(), b"img");
}

/// A few files with many pending changes.
fn busy() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(path("x")).unwrap();
    for i in 0..6u8 {
        let file = create(&disk, &format!("x/{i}"));
        file.write_all_at(&[i + 1; 3000], 100).unwrap();
        if i % 2 == 0 {
            file.sync_data().unwrap();
        }
        file.write_all_at(&[i + 101; 700], 900).unwrap();
    }
    disk.sync_dir(path("")).unwrap();
    disk
}

#[test]
fn same_seed_gives_the_same_image_and_other_seeds_others() {
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        let first = state(&busy().crash_image(Policy::Subset(seed)));
        let second = state(&busy().crash_image(Policy::Subset(seed)));
        assert_eq!(first, second, "seed {seed}");
        seen.insert(first);
    }
    assert!(seen.len() > 45, "only {} different images", seen.len());
}

#[test]
fn random_images_reach_whole_torn_and_lost_writes() {
    let (disk, file) = with_durable("a", &[b'o'; 2048]);
    file.write_all_at(&[b'n'; 2048], 0).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..500 {
        let bytes = disk.crash_image(Policy::Subset(seed)).peek(path("a"));
        let sectors: Vec<u8> = bytes.unwrap().chunks(512).map(|s| s[0]).collect();
        seen.insert(sectors);
    }
    assert_eq!(seen.len(), 16, "every choice of 4 sectors");
}

#[test]
fn large_writes_are_seen_whole_torn_and_lost() {
    let (disk, file) = with_durable("a", &[b'o'; 64 * 512]);
    file.write_all_at(&[b'n'; 64 * 512], 0).unwrap();
    let mut seen = [0; 3];
    for seed in 0..200 {
        let bytes = disk.crash_image(Policy::Subset(seed)).peek(path("a"));
        let new = bytes.unwrap().iter().filter(|b| **b == b'n').count();
        let fate = match new / 512 {
            0 => 0,
            64 => 1,
            _ => 2,
        };
        seen[fate] += 1;
    }
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}

#[test]
fn mask_bits_follow_the_order_of_operations_and_end_at_64() {
    let disk = SimDisk::new();
    disk.poke(path("a"), b"..").unwrap();
    disk.poke(path("b"), b".").unwrap();
    let a = disk.open(path("a"), OpenMode::ReadWrite).unwrap();
    let b = disk.open(path("b"), OpenMode::ReadWrite).unwrap();
    a.write_all_at(b"0", 0).unwrap();
    b.write_all_at(b"1", 0).unwrap();
    disk.open(path("c"), OpenMode::CreateNew).unwrap();
    a.write_all_at(b"3", 1).unwrap();
    let found = |mask| {
        let image = disk.crash_image(Policy::Mask(mask));
        let texts = ["a", "b"].map(|name| image.peek(path(name)).unwrap());
        (texts.concat(), image.exists(path("c")).unwrap())
    };
    assert_eq!(found(0b0001), (b"0..".to_vec(), false));
    assert_eq!(found(0b0010), (b"..1".to_vec(), false));
    assert_eq!(found(0b0100), (b"...".to_vec(), true));
    assert_eq!(found(0b1000), (b".3.".to_vec(), false));

    let (disk, file) = with_durable("a", &[b'o'; 65 * 512]);
    file.write_all_at(&[b'n'; 65 * 512], 0).unwrap();
    let image = disk.crash_image(Policy::Mask(u64::MAX));
    let bytes = image.peek(path("a")).unwrap();
    assert_eq!(bytes[..64 * 512], [b'n'; 64 * 512]);
    assert_eq!(bytes[64 * 512..], [b'o'; 512]);
}

#[test]
fn files_made_after_a_crash_are_new_files() {
    let (disk, _file) = with_durable("a", b"kept");
    for image in [disk.crash_image(Policy::All), disk.process_crash_image()] {
        let new = create(&image, "b");
        new.write_all_at(b"new", 0).unwrap();
        image.create_dir_all(path("d")).unwrap();
        assert_eq!(image.peek(path("a")).unwrap(), b"kept");
        assert_eq!(image.peek(path("b")).unwrap(), b"new");
        assert_eq!(image.list(path("d")).unwrap(), [""; 0]);
    }
}

#[test]
fn a_crash_frees_the_space_of_what_no_name_leads_to() {
    let disk = SimDisk::new();
    let lost = create(&disk, "lost");
    lost.write_all_at(b"x", 0).unwrap();
    lost.sync_data().unwrap();
    assert_eq!(disk.crash_image(Policy::None).allocated(), 0);
    assert_eq!(disk.crash_image(Policy::All).allocated(), 4096);
    disk.sync_dir(path("")).unwrap();
    disk.remove(path("lost")).unwrap();
    disk.sync_dir(path("")).unwrap();
    assert_eq!(disk.allocated(), 4096, "the handle keeps it");
    assert_eq!(disk.process_crash_image().allocated(), 0);
}

#[test]
fn the_next_process_can_free_what_the_last_one_had_open() {
    let (disk, _file) = with_durable("a", b"x");
    let next = disk.process_crash_image();
    next.remove(path("a")).unwrap();
    next.sync_dir(path("")).unwrap();
    assert_eq!(next.allocated(), 0);
}

#[test]
fn syncs_that_lie_keep_nothing() {
    let (disk, file) = with_durable("a", b"old");
    disk.set_sync_noop(true);
    file.write_all_at(b"new", 0).unwrap();
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    assert_eq!(fates(&disk, "a"), set([Some(b"old"), Some(b"new")]));
    disk.set_sync_noop(false);
    file.sync_data().unwrap();
    assert_eq!(fates(&disk, "a"), set([Some(b"new")]));
}

#[test]
fn directory_syncs_that_lie_keep_nothing() {
    let disk = SimDisk::new();
    disk.set_dir_sync_noop(true);
    create(&disk, "a");
    disk.sync_dir(path("")).unwrap();
    assert_eq!(fates(&disk, "a"), set([None, Some(b"")]));
}

#[test]
fn poke_damages_what_is_at_rest() {
    let (disk, file) = with_durable("d/a", b"0123");
    file.write_all_at(b"x", 3).unwrap();
    disk.poke_at(path("d/a"), b"YY", 0).unwrap();
    assert_eq!(disk.peek(path("d/a")).unwrap(), b"YY2x");
    let none = disk.crash_image(Policy::None);
    assert_eq!(none.peek(path("d/a")).unwrap(), b"YY23");
    disk.poke(path("d/a"), b"z").unwrap();
    assert_eq!(fates(&disk, "d/a"), set([Some(b"z")]));
    assert!(disk.poke(path("d"), b"z").is_err());
    assert!(disk.poke(path("d/a/b"), b"z").is_err());
    assert!(disk.poke_at(path("none"), b"z", 0).is_err());
    assert_eq!(disk.ops(), 1, "poking is no operation");
}

/// An atomic replacement as programs do it: temporary file, sync, rename, directory sync.
fn replace(disk: &SimDisk, sync_file: bool) -> Result<(), aos_disk::Error> {
    let file = disk.open(path("tmp"), OpenMode::CreateOrOpen)?;
    file.write_all_at(&[b'n'; 1000], 0)?;
    if sync_file {
        file.sync_data()?;
    }
    disk.rename(path("tmp"), path("a"))?;
    disk.sync_dir(path(""))
}

/// Every content of the file after a power cut at every operation of `replace`.
fn replaced(sync_file: bool) -> BTreeSet<Option<Vec<u8>>> {
    let mut seen = BTreeSet::new();
    for crash in 1..10 {
        let (disk, _file) = with_durable("a", &[b'o'; 1000]);
        disk.crash_at(crash);
        let done = replace(&disk, sync_file).is_ok();
        seen.extend(fates(&disk, "a"));
        if done {
            break;
        }
        assert!(crash < 9, "replace never came to its end");
    }
    seen
}

#[test]
fn exhaustive_crashes_accept_the_right_way_to_replace_a_file() {
    let (old, new) = ([b'o'; 1000], [b'n'; 1000]);
    assert_eq!(replaced(true), set([Some(&old), Some(&new)]));
}

#[test]
fn exhaustive_crashes_find_the_missing_sync() {
    let seen = replaced(false);
    assert!(seen.contains(&Some(Vec::new())), "an empty file");
    assert!(seen.len() > 2);
}

#[test]
fn a_frozen_image_keeps_the_locks_that_were_held_when_the_power_went() {
    let disk = SimDisk::new();
    let lock = disk.lock(Path::new("LOCK")).unwrap();
    assert!(disk.frozen_image().is_locked(Path::new("LOCK")).unwrap());
    let file = disk.open(Path::new("a"), OpenMode::CreateNew).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    disk.crash_after(disk.ops());
    assert_eq!(disk.crashed_in(), None);
    assert!(file.sync_data().is_err());
    assert_eq!(disk.crashed_in(), Some((OpKind::SyncData, "a".into())));
    drop((file, lock));
    let image = disk.frozen_image();
    assert!(image.is_locked(Path::new("LOCK")).unwrap());
    assert_eq!(image.peek(Path::new("a")).unwrap(), b"x");
    let image = disk.process_crash_image();
    assert!(!image.is_locked(Path::new("LOCK")).unwrap());
}
