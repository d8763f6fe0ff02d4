//! The same expectations of the real and of the simulated disk.

use std::path::{Path, PathBuf};

use aos_disk::sim::SimDisk;
use aos_disk::{Disk, Kind, OpenMode, RealDisk};

type Check = fn(&dyn Disk, &Path);

fn on_both(check: Check) {
    let dir = tempfile::tempdir().unwrap();
    check(&RealDisk, dir.path());
    let sim = SimDisk::new();
    sim.create_dir_all(Path::new("/base")).unwrap();
    check(&sim, Path::new("/base"));
    assert_eq!(sim.broken_promises(), Vec::<String>::new());
}

fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, OpenMode::CreateOrOpen).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
}

fn read(disk: &dyn Disk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn kind<T>(result: Result<T, aos_disk::Error>) -> Kind {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => error.kind(),
    }
}

#[test]
fn written_bytes_are_read_back() {
    on_both(|disk, base| {
        let file = disk.open(&base.join("a"), OpenMode::CreateNew).unwrap();
        assert!(file.is_empty().unwrap());
        file.write_all_at(b"hello", 3).unwrap();
        file.sync_all().unwrap();
        assert_eq!(read(disk, &base.join("a")), b"\0\0\0hello");
        let mut buf = [9; 10];
        assert_eq!(file.read_at(&mut buf, 5).unwrap(), 3);
        assert_eq!(&buf, b"llo\x09\x09\x09\x09\x09\x09\x09");
        assert_eq!(file.read_at(&mut buf, 8).unwrap(), 0);
        assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
        assert_eq!(kind(file.read_exact_at(&mut buf, 5)), Kind::UnexpectedEnd);
    });
}

#[test]
fn empty_writes_and_reads_do_nothing() {
    on_both(|disk, base| {
        let file = disk.open(&base.join("a"), OpenMode::CreateNew).unwrap();
        file.write_all_at(b"", 100).unwrap();
        assert_eq!(file.len().unwrap(), 0);
        file.read_exact_at(&mut [], 100).unwrap();
    });
}

#[test]
fn length_can_grow_as_a_hole_and_shrink() {
    on_both(|disk, base| {
        let file = disk.open(&base.join("a"), OpenMode::CreateNew).unwrap();
        file.write_all_at(&[7; 5000], 0).unwrap();
        file.set_len(4500).unwrap();
        file.set_len(1 << 30).unwrap();
        assert_eq!(file.len().unwrap(), 1 << 30);
        let mut buf = [1; 1000];
        file.read_exact_at(&mut buf, 4000).unwrap();
        assert_eq!(buf[..500], [7; 500]);
        assert_eq!(buf[500..], [0; 500]);
        file.set_len(0).unwrap();
        assert_eq!(read(disk, &base.join("a")), b"");
    });
}

#[test]
fn what_is_passed_over_as_a_hole_is_zeros_also_before_it_is_synced() {
    on_both(|disk, base| {
        let file = disk.open(&base.join("a"), OpenMode::CreateNew).unwrap();
        let len = 1 << 20;
        file.set_len(len).unwrap();
        for (at, bytes) in [(700_001, b"x".as_slice()), (40_000, b"yz"), (len - 1, b"e")] {
            file.write_all_at(bytes, at).unwrap();
        }
        let mut all = vec![0; len as usize];
        file.read_exact_at(&mut all, 0).unwrap();
        for from in (0..len)
            .step_by(1009)
            .chain([40_000, 40_001, 700_001, 700_002, len - 1])
        {
            let data = file.data_from(from).unwrap().unwrap_or(len);
            assert!(data >= from && data <= len);
            let passed = &all[from as usize..data as usize];
            assert!(
                passed.iter().all(|byte| *byte == 0),
                "from {from} to {data}"
            );
        }
        assert_eq!(file.data_from(len - 1).unwrap(), Some(len - 1));
    });
}

#[test]
fn a_hole_that_was_never_written_is_told_by_the_simulated_disk() {
    let disk = SimDisk::new();
    let file = disk.open(Path::new("/a"), OpenMode::CreateNew).unwrap();
    file.set_len(1 << 20).unwrap();
    assert_eq!(file.data_from(0).unwrap(), None);
    file.write_all_at(&[0], 5 << 12).unwrap();
    assert_eq!(
        file.data_from(0).unwrap(),
        Some(5 << 12),
        "zeros that were written are read"
    );
    assert_eq!(file.data_from(6 << 12).unwrap(), None);
}

#[test]
fn impossible_offsets_are_refused() {
    on_both(|disk, base| {
        let file = disk.open(&base.join("a"), OpenMode::CreateNew).unwrap();
        assert_eq!(kind(file.write_all_at(b"ab", u64::MAX)), Kind::Io);
        assert_eq!(kind(file.write_all_at(b"ab", u64::MAX - 2)), Kind::Io);
        assert_eq!(kind(file.set_len(u64::MAX)), Kind::Io);
        assert_eq!(file.len().unwrap(), 0);
    });
}

#[test]
fn open_modes_create_or_refuse() {
    on_both(|disk, base| {
        let path = base.join("a");
        assert_eq!(kind(disk.open(&path, OpenMode::Read)), Kind::NotFound);
        assert_eq!(kind(disk.open(&path, OpenMode::ReadWrite)), Kind::NotFound);
        assert!(!disk.exists(&path).unwrap());
        disk.open(&path, OpenMode::CreateNew).unwrap();
        assert!(disk.exists(&path).unwrap());
        let again = disk.open(&path, OpenMode::CreateNew);
        assert_eq!(kind(again), Kind::AlreadyExists);
        write(disk, &path, b"kept");
        disk.open(&path, OpenMode::CreateOrOpen).unwrap();
        disk.open(&path, OpenMode::ReadWrite).unwrap();
        assert_eq!(read(disk, &path), b"kept");
        assert_eq!(kind(disk.open(base, OpenMode::Read)), Kind::Io);
        let orphan = disk.open(&base.join("no/a"), OpenMode::CreateNew);
        assert_eq!(kind(orphan), Kind::NotFound);
        let below_a_file = disk.open(&path.join("b"), OpenMode::CreateNew);
        assert_eq!(kind(below_a_file), Kind::Io);
    });
}

#[test]
fn handles_for_reading_refuse_to_write() {
    on_both(|disk, base| {
        write(disk, &base.join("a"), b"kept");
        let file = disk.open(&base.join("a"), OpenMode::Read).unwrap();
        assert_eq!(kind(file.write_all_at(b"x", 0)), Kind::ReadOnly);
        assert_eq!(kind(file.set_len(0)), Kind::ReadOnly);
        assert_eq!(read(disk, &base.join("a")), b"kept");
    });
}

#[test]
fn directories_are_made_with_their_parents_and_listed_sorted() {
    on_both(|disk, base| {
        let deep = base.join("x/y/z");
        disk.create_dir_all(&deep).unwrap();
        disk.create_dir_all(&deep).unwrap();
        disk.sync_dir(&base.join("x/y")).unwrap();
        for name in ["b", "a", "10", "9"] {
            write(disk, &deep.join(name), b"");
        }
        assert_eq!(disk.list(&deep).unwrap(), ["10", "9", "a", "b"]);
        assert_eq!(disk.list(&base.join("x")).unwrap(), ["y"]);
        assert!(disk.exists(&deep).unwrap());
        assert_eq!(kind(disk.list(&base.join("q"))), Kind::NotFound);
        assert_eq!(kind(disk.list(&deep.join("a"))), Kind::Io);
        assert_eq!(kind(disk.sync_dir(&base.join("q"))), Kind::NotFound);
        assert_eq!(kind(disk.sync_dir(&deep.join("a"))), Kind::Io);
        assert_eq!(
            kind(disk.create_dir_all(&deep.join("a"))),
            Kind::AlreadyExists
        );
        assert_eq!(kind(disk.create_dir_all(&deep.join("a/b"))), Kind::Io);
    });
}

#[test]
fn dots_in_paths_are_resolved() {
    on_both(|disk, base| {
        disk.create_dir_all(&base.join("x")).unwrap();
        write(disk, &base.join("./x/../a"), b"here");
        assert_eq!(read(disk, &base.join("a")), b"here");
    });
}

#[test]
fn rename_replaces_and_open_handles_follow_the_file() {
    on_both(|disk, base| {
        let (a, b): (PathBuf, PathBuf) = (base.join("a"), base.join("b"));
        write(disk, &a, b"new");
        write(disk, &b, b"old");
        let old = disk.open(&b, OpenMode::ReadWrite).unwrap();
        disk.rename(&a, &b).unwrap();
        disk.sync_dir(base).unwrap();
        assert!(!disk.exists(&a).unwrap());
        assert_eq!(read(disk, &b), b"new");
        old.write_all_at(b"OLD", 0).unwrap();
        assert_eq!(read(disk, &b), b"new");
        assert_eq!(kind(disk.rename(&a, &b)), Kind::NotFound);
        assert_eq!(kind(disk.rename(&b, &base.join("no/b"))), Kind::NotFound);
        disk.rename(&b, &b).unwrap();
        assert_eq!(read(disk, &b), b"new");
    });
}

#[test]
fn directories_can_be_renamed_with_their_files() {
    on_both(|disk, base| {
        disk.create_dir_all(&base.join("x")).unwrap();
        write(disk, &base.join("x/a"), b"moved");
        write(disk, &base.join("f"), b"");
        assert_eq!(
            kind(disk.rename(&base.join("x"), &base.join("x/y"))),
            Kind::Io
        );
        assert_eq!(
            kind(disk.rename(&base.join("f"), &base.join("x"))),
            Kind::Io
        );
        disk.rename(&base.join("x"), &base.join("y")).unwrap();
        assert_eq!(read(disk, &base.join("y/a")), b"moved");
        assert!(!disk.exists(&base.join("x")).unwrap());
    });
}

#[test]
fn removed_files_stay_readable_through_handles_and_maps() {
    on_both(|disk, base| {
        let path = base.join("a");
        write(disk, &path, b"still here");
        let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
        let map = file.map(10).unwrap();
        disk.remove(&path).unwrap();
        assert_eq!(kind(disk.remove(&path)), Kind::NotFound);
        assert!(!disk.exists(&path).unwrap());
        write(disk, &path, b"another");
        let mut buf = [0; 10];
        file.read_exact_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"still here");
        drop(file);
        assert_eq!(&*map.bytes(0..10).unwrap(), b"still here");
        assert_eq!(kind(disk.remove(base)), Kind::Io);
    });
}

#[test]
fn a_directory_can_be_locked_like_a_file() {
    on_both(|disk, root| {
        let lock = disk.lock(root).unwrap();
        assert_eq!(kind(disk.lock(root)), Kind::Locked);
        assert!(disk.is_locked(root).unwrap());
        drop(lock);
        let _again = disk.lock(root).unwrap();
    });
}

#[test]
fn lock_excludes_other_handles_until_it_is_dropped() {
    on_both(|disk, base| {
        let path = base.join("LOCK");
        assert!(!disk.is_locked(&path).unwrap());
        assert!(!disk.exists(&path).unwrap(), "asking creates nothing");
        let lock = disk.lock(&path).unwrap();
        assert!(disk.is_locked(&path).unwrap());
        assert_eq!(kind(disk.lock(&path)), Kind::Locked);
        // The holder and others use the file itself meanwhile.
        write(disk, &path, b"word");
        assert_eq!(read(disk, &path), b"word");
        assert!(
            disk.is_locked(&path).unwrap(),
            "closing a handle is no unlock"
        );
        drop(lock);
        assert!(!disk.is_locked(&path).unwrap());
        let again = disk.lock(&path).unwrap();
        assert_eq!(read(disk, &path), b"word");
        drop(again);
    });
}

#[test]
fn asking_for_the_lock_does_not_keep_a_writer_out() {
    on_both(|disk, base| {
        let path = base.join("LOCK");
        drop(disk.lock(&path).unwrap());
        let asking = std::sync::atomic::AtomicBool::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while asking.load(std::sync::atomic::Ordering::Relaxed) {
                    disk.is_locked(&path).unwrap();
                }
            });
            let taken = (0..200).filter(|_| disk.lock(&path).is_ok()).count();
            asking.store(false, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(taken, 200);
        });
    });
}

#[test]
fn threads_write_to_one_handle_without_harm() {
    on_both(|disk, base| {
        let file = disk.open(&base.join("a"), OpenMode::CreateNew).unwrap();
        std::thread::scope(|scope| {
            for part in 0..4u8 {
                let file = &file;
                scope.spawn(move || {
                    for i in 0..50 {
                        let at = (i * 4 + u64::from(part)) * 100;
                        file.write_all_at(&[part + 1; 100], at).unwrap();
                    }
                });
            }
        });
        let bytes = read(disk, &base.join("a"));
        assert_eq!(bytes.len(), 20_000);
        for (i, chunk) in bytes.chunks(100).enumerate() {
            assert_eq!(chunk, [i as u8 % 4 + 1; 100]);
        }
    });
}
