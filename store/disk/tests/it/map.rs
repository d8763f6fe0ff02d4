//! Maps of both disks.

use std::borrow::Cow;
use std::path::Path;

use aos_disk::sim::SimDisk;
use aos_disk::{Disk, Kind, OpenMode, RealDisk};

fn on_both(check: fn(&dyn Disk, &Path, bool)) {
    let dir = tempfile::tempdir().unwrap();
    check(&RealDisk, &dir.path().join("a"), true);
    check(&SimDisk::new(), Path::new("a"), false);
}

#[test]
fn maps_follow_later_writes() {
    on_both(|disk, path, _| {
        let file = disk.open(path, OpenMode::CreateNew).unwrap();
        file.set_len(10_000).unwrap();
        let map = file.map(10_000).unwrap();
        assert_eq!(map.len(), 10_000);
        file.write_all_at(b"later", 6000).unwrap();
        assert_eq!(&*map.bytes(5999..6006).unwrap(), b"\0later\0");
        let mut buf = [0; 5];
        map.read_at(&mut buf, 6000).unwrap();
        assert_eq!(&buf, b"later");
        map.settle(8000);
        assert_eq!(&*map.bytes(5999..6006).unwrap(), b"\0later\0");
    });
}

#[test]
fn only_settled_bytes_are_lent() {
    on_both(|disk, path, real| {
        let file = disk.open(path, OpenMode::CreateNew).unwrap();
        file.write_all_at(b"0123456789", 0).unwrap();
        let map = file.map(10).unwrap();
        let lent = |range| matches!(map.bytes(range).unwrap(), Cow::Borrowed(_));
        assert!(!lent(0..4));
        map.settle(4);
        assert_eq!(lent(0..4), real);
        assert!(!lent(0..5));
        map.settle(2);
        assert_eq!(map.settled(), 4, "the bound only grows");
        map.settle(1000);
        assert_eq!(map.settled(), 10, "and stays inside the view");
        assert_eq!(lent(3..10), real);
        assert_eq!(&*map.bytes(3..10).unwrap(), b"3456789");
    });
}

#[test]
fn ranges_outside_the_view_are_errors() {
    on_both(|disk, path, _| {
        let file = disk.open(path, OpenMode::CreateNew).unwrap();
        file.write_all_at(b"0123456789", 0).unwrap();
        assert_eq!(file.map(11).unwrap_err().kind(), Kind::UnexpectedEnd);
        let map = file.map(8).unwrap();
        for settled in [0, 8] {
            map.settle(settled);
            assert_eq!(map.bytes(8..9).unwrap_err().kind(), Kind::UnexpectedEnd);
            assert_eq!(
                map.bytes(0..u64::MAX).unwrap_err().kind(),
                Kind::UnexpectedEnd
            );
            let (from, to) = (5, 4);
            assert_eq!(map.bytes(from..to).unwrap_err().kind(), Kind::Io);
            assert_eq!(&*map.bytes(8..8).unwrap(), b"");
        }
        let mut buf = [0; 2];
        assert_eq!(
            map.read_at(&mut buf, 7).unwrap_err().kind(),
            Kind::UnexpectedEnd
        );
        assert_eq!(
            map.read_at(&mut buf, u64::MAX).unwrap_err().kind(),
            Kind::UnexpectedEnd
        );
    });
}

#[test]
fn an_empty_file_has_an_empty_map() {
    on_both(|disk, path, _| {
        let file = disk.open(path, OpenMode::CreateNew).unwrap();
        let map = file.map(0).unwrap();
        assert!(map.is_empty());
        map.settle(0);
        assert_eq!(&*map.bytes(0..0).unwrap(), b"");
    });
}

#[test]
fn bytes_cut_off_behind_a_map_are_an_error() {
    on_both(|disk, path, _| {
        let file = disk.open(path, OpenMode::CreateNew).unwrap();
        file.set_len(100_000).unwrap();
        let map = file.map(100_000).unwrap();
        file.set_len(10).unwrap();
        assert_eq!(
            map.bytes(50_000..50_001).unwrap_err().kind(),
            Kind::UnexpectedEnd
        );
    });
}

#[test]
fn changing_settled_bytes_is_found_out() {
    let disk = SimDisk::new();
    let file = disk.open(Path::new("a"), OpenMode::CreateNew).unwrap();
    file.write_all_at(b"0123456789", 0).unwrap();
    let map = file.map(10).unwrap();
    map.settle(5);
    file.write_all_at(b"34", 3).unwrap(); // the same bytes
    file.write_all_at(b"xyz", 5).unwrap(); // not settled
    assert_eq!(disk.broken_promises(), Vec::<String>::new());
    file.write_all_at(b"4X", 4).unwrap(); // the changed byte is not settled
    assert_eq!(disk.broken_promises(), Vec::<String>::new());
    file.write_all_at(b"X", 4).unwrap();
    assert_eq!(disk.broken_promises().len(), 1);
    file.set_len(4).unwrap();
    assert_eq!(disk.broken_promises().len(), 2);
    drop(map);
    file.write_all_at(b"abc", 0).unwrap();
    assert_eq!(disk.broken_promises().len(), 2);
}

#[test]
fn what_a_map_lends_cannot_be_changed_through_any_handle() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a");
    let file = RealDisk.open(&path, OpenMode::CreateNew).unwrap();
    file.write_all_at(&[1; 8192], 0).unwrap();
    let map = file.map(8192).unwrap();
    map.settle(4096);
    let other = RealDisk.open(&path, OpenMode::ReadWrite).unwrap();
    for handle in [&file, &other] {
        for at in [0, 4095] {
            assert_eq!(handle.write_all_at(b"x", at).unwrap_err().kind(), Kind::Io);
        }
        assert!(handle.set_len(4095).is_err());
        handle.write_all_at(&[1; 100], 50).unwrap(); // nothing new
        handle.write_all_at(b"x", 4096).unwrap();
        handle.set_len(8192).unwrap();
    }
    assert!(map.bytes(0..4096).unwrap().iter().all(|byte| *byte == 1));
    drop((file, map));
    // A handle that is still open cannot know that nobody lends any more.
    assert!(other.write_all_at(b"x", 0).is_err());
    drop(other);
    let file = RealDisk.open(&path, OpenMode::ReadWrite).unwrap();
    file.write_all_at(b"x", 0).unwrap();
}
