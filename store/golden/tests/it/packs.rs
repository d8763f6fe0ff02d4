//! Packs from elsewhere: nothing in one is taken into memory whole, and nothing gets a name before it is proven.

use crate::support::*;
use aos_format::digest::Digest;
use aos_golden::{Error, Selection, check_pack, cleanup, pack, pack_index, restore, status};
use std::path::{Path, PathBuf};

/// A pack with an index of these files, and these tar entries behind it: kind, name, content.
fn forged(folder: &Path, files: &[(&str, &[u8])], entries: &[(u8, &str, &[u8])]) -> PathBuf {
    let listed: Vec<String> = files
        .iter()
        .map(|(name, bytes)| {
            let (len, sha256) = (bytes.len(), Digest::of(bytes).hex());
            let root = Digest::ZERO.hex();
            format!("{{\"bytes\":{len},\"name\":\"{name}\",\"root\":\"{root}\",\"sha256\":\"{sha256}\"}}")
        })
        .collect();
    let index = format!(
        "{{\"files\":[{}],\"schema\":\"aos.goldpack.v1\"}}",
        listed.join(",")
    );
    let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    let mut put = |kind: u8, name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_path(name).unwrap();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o444);
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
    };
    put(b'0', "index.json", index.as_bytes());
    for (kind, name, bytes) in entries {
        put(*kind, name, bytes);
    }
    let mut bytes = tar.into_inner().unwrap().finish().unwrap();
    let digest = Digest::of(&bytes);
    bytes.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 32, 0, 0, 0]);
    bytes.extend_from_slice(&digest.0);
    let name = &Digest::of(index.as_bytes()).hex()[..32];
    let path = folder.join(format!("pack-{name}.tar.zst"));
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_name_without_end_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let long = vec![b'a'; 8 << 20];
    let file: (&str, &[u8]) = ("a.golden", b"x");
    let entries: [(u8, &str, &[u8]); 2] = [(b'L', "name", &long), (b'0', "a.golden", b"x")];
    let path = forged(folder.path(), &[file], &entries);
    assert!(std::fs::metadata(&path).unwrap().len() < 4096);
    let error = check_pack(&path).unwrap_err();
    assert!(error.to_string().contains("8388608"), "{error}");
    // Two names for one file, and a name for none.
    let entries: [(u8, &str, &[u8]); 3] = [
        (b'L', "name", b"b.golden"),
        (b'L', "name", b"a.golden"),
        (b'0', "x", b"x"),
    ];
    assert!(check_pack(&forged(folder.path(), &[file], &entries)).is_err());
    let path = forged(folder.path(), &[file], &entries[..1]);
    assert!(check_pack(&path).is_err());
    // One that is as it should be.
    let entries: [(u8, &str, &[u8]); 2] = [(b'L', "name", b"a.golden\0"), (b'0', "x", b"x")];
    check_pack(&forged(folder.path(), &[file], &entries)).unwrap();
}

#[test]
fn what_is_no_archive_gets_no_name_and_leaves_nothing_behind() {
    let (packs, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, good) = sealed(&log(1), &options(Selection::All, &[]));
    let zeros = vec![0; 4 << 20];
    let mut begins = good.clone();
    begins.truncate(good.len() - 1);
    for bytes in [&zeros, &begins] {
        let file: (&str, &[u8]) = ("a.golden", bytes);
        let path = forged(packs.path(), &[file], &[(b'0', "a.golden", bytes)]);
        check_pack(&path).unwrap();
        restore(&path, &[], out.path()).unwrap_err();
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    }
    // An archive whose root is not the one that was packed.
    let file: (&str, &[u8]) = ("a.golden", &good);
    let path = forged(packs.path(), &[file], &[(b'0', "a.golden", &good)]);
    let error = restore(&path, &[], out.path()).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
}

#[test]
fn archives_with_long_names_are_packed_and_restored_whole() {
    let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, good) = sealed(&log(2), &options(Selection::All, &[]));
    let names = [format!("{}.golden", "n".repeat(200)), "b.golden".into()];
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.path().join(name)).collect();
    for path in &paths {
        std::fs::write(path, &good).unwrap();
    }
    let made = pack(folder.path(), &paths, 1).unwrap();
    let held: Vec<String> = pack_index(&made)
        .unwrap()
        .into_iter()
        .map(|f| f.name)
        .collect();
    assert_eq!(held, names);
    let restored = restore(&made, &[], out.path()).unwrap();
    for path in restored {
        assert_eq!(std::fs::read(path).unwrap(), good);
    }
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 2);
}

#[test]
fn a_link_that_leads_nowhere_is_named_and_the_rest_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (_, good) = sealed(&log(1), &options(Selection::All, &[]));
    std::fs::write(folder.path().join("a.golden"), good).unwrap();
    let link = folder.path().join("gone.golden");
    std::os::unix::fs::symlink(folder.path().join("nowhere"), &link).unwrap();
    let found = status(folder.path(), 0).unwrap();
    assert_eq!(found.archives.len(), 1);
    assert_eq!(found.unseen.len(), 1);
    assert_eq!(found.unseen[0].0, link);
}

#[test]
fn what_somebody_killed_left_half_written_is_removed_once_nobody_can_be_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let names = [
        ".a.golden.71.0.tmp",
        "..a.golden.71.0.tmp.71.0.tmp",
        ".pack-00112233445566778899aabbccddeeff.tar.zst.71.3.tmp",
        ".seal.71.0.tmp",
    ];
    // Not ours, whatever they are.
    let others = [
        ".a.golden.tmp",
        ".b.71.0.tmp",
        "a.golden.71.0.tmp",
        ".x.y.golden.0.tmp",
    ];
    let now = std::time::SystemTime::now();
    let now_s = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let old = now - std::time::Duration::from_secs(86_400 + 60);
    for name in names.iter().chain(&others) {
        std::fs::write(at(name), b"half").unwrap();
        let file = std::fs::File::options().write(true).open(at(name)).unwrap();
        file.set_modified(old).unwrap();
    }
    // One is being written now, one was until lately.
    let held = std::fs::File::open(at(names[0])).unwrap();
    held.try_lock().unwrap();
    let lately = std::fs::File::options()
        .write(true)
        .open(at(names[1]))
        .unwrap();
    lately.set_modified(now).unwrap();
    let seen = status(folder.path(), now_s).unwrap().unfinished;
    let alive = |name: &str| seen.iter().find(|f| f.path == at(name)).unwrap().alive;
    assert_eq!(seen.len(), names.len());
    assert!(alive(names[0]) && !alive(names[1]));
    let clean = |dry_run| cleanup(folder.path(), now_s, 7, &[], dry_run).unwrap();
    let mut expected = vec![at(names[2]), at(names[3])];
    expected.sort();
    assert_eq!(clean(true).left_over, expected);
    assert!(at(names[2]).exists());
    assert_eq!(
        (clean(false).left_over, clean(false).left_over),
        (expected, vec![])
    );
    for name in others.iter().chain(&names[..2]) {
        assert!(at(name).exists(), "{name}");
    }
    drop(held);
    assert_eq!(clean(false).left_over, [at(names[0])]);
}

#[test]
fn an_archive_that_is_being_written_counts_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a.golden");
    let watched = std::sync::Mutex::new(Vec::new());
    let reader = log(200);
    std::thread::scope(|scope| {
        let sealing =
            scope.spawn(|| aos_golden::seal(&reader, &out, &options(Selection::All, &[])));
        while !sealing.is_finished() {
            let seen = status(folder.path(), 0).unwrap().unfinished;
            watched.lock().unwrap().extend(seen);
        }
        sealing.join().unwrap().unwrap();
    });
    let watched = watched.into_inner().unwrap();
    assert!(
        !watched.is_empty() && watched.iter().any(|file| file.alive),
        "{watched:?}"
    );
    assert!(status(folder.path(), 0).unwrap().unfinished.is_empty());
}
