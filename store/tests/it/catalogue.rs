//! A catalogue that is lost, foreign, old, ahead or garbled gives the same answers: it is made again.

use crate::support::{Rng, World, as_disk, open, options, path, reader, try_open, verify, work};
use aos_disk::Disk;
use aos_disk::sim::{Fault, Persistence, Policy, SimDisk};
use aos_format::digest::LogId;
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_store::{CatalogueCheck, CatalogueState, Log, Options, check, rebuild_catalogue};
use std::path::PathBuf;

fn file() -> PathBuf {
    path().join("catalog.redb")
}

fn log_with(seed: u64, records: usize) -> (SimDisk, World) {
    let disk = SimDisk::new();
    let mut world = World::default();
    let (log, _) = open(&disk);
    world.resume(&log, 0);
    work(&log, &mut world, &mut Rng(seed), records).unwrap();
    log.close().unwrap();
    world.acknowledge_all();
    (disk, world)
}

fn rebuilt(disk: &SimDisk, world: &World, what: &str) {
    let (log, opened) = try_open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        matches!(opened.catalogue, CatalogueState::Rebuilt { .. }),
        "{what}: {:?}",
        opened.catalogue
    );
    verify(disk, &log, world, what);
    log.close().unwrap();
    let report = check(as_disk(disk), path()).unwrap();
    assert!(
        matches!(report.catalogue, CatalogueCheck::Matches { .. }),
        "{what}: {:?}",
        report.catalogue
    );
}

#[test]
fn a_lost_or_empty_catalogue_is_made_again() {
    let (disk, world) = log_with(1, 80);
    disk.remove(&file()).unwrap();
    rebuilt(&disk, &world, "removed");
    disk.poke(&file(), b"").unwrap();
    rebuilt(&disk, &world, "emptied");
    disk.poke(&file(), &[0; 8192]).unwrap();
    rebuilt(&disk, &world, "zeros");
    disk.poke(&file(), b"not a database at all").unwrap();
    rebuilt(&disk, &world, "text");
}

#[test]
fn a_catalogue_of_another_log_is_not_believed() {
    let (disk, world) = log_with(1, 80);
    let other = SimDisk::new();
    let options = Options {
        log_id: LogId([8; 16]),
        ..options()
    };
    let (log, _) = Log::open(as_disk(&other), path(), &options).unwrap();
    log.close().unwrap();
    disk.poke(&file(), &other.peek(&file()).unwrap()).unwrap();
    rebuilt(&disk, &world, "foreign");
}

#[test]
fn a_catalogue_from_a_history_that_did_not_happen_is_not_believed() {
    // The same log goes on twice from one point; the catalogue comes from the other continuation.
    let (disk, mut world) = log_with(1, 40);
    let other = disk.crash_image(Policy::All);
    let (log, _) = open(&other);
    let mut elsewhere = world.clone();
    elsewhere.resume(&log, world.accepted.len());
    work(&log, &mut elsewhere, &mut Rng(99), 30).unwrap();
    log.close().unwrap();
    let (log, _) = open(&disk);
    world.resume(&log, world.accepted.len());
    work(&log, &mut world, &mut Rng(7), 90).unwrap();
    log.close().unwrap();
    world.acknowledge_all();
    disk.poke(&file(), &other.peek(&file()).unwrap()).unwrap();
    rebuilt(&disk, &world, "other history");
}

#[test]
fn a_catalogue_ahead_of_the_log_is_not_believed() {
    let (disk, world) = log_with(1, 40);
    let later = disk.crash_image(Policy::All);
    let (log, _) = open(&later);
    let mut further = world.clone();
    further.resume(&log, world.accepted.len());
    work(&log, &mut further, &mut Rng(99), 30).unwrap();
    log.close().unwrap();
    disk.poke(&file(), &later.peek(&file()).unwrap()).unwrap();
    rebuilt(&disk, &world, "ahead");
}

#[test]
fn an_old_catalogue_is_caught_up() {
    let (disk, mut world) = log_with(1, 40);
    let old = disk.peek(&file()).unwrap();
    let (log, _) = open(&disk);
    world.resume(&log, world.accepted.len());
    work(&log, &mut world, &mut Rng(7), 60).unwrap();
    log.close().unwrap();
    world.acknowledge_all();
    disk.poke(&file(), &old).unwrap();
    let report = check(as_disk(&disk), path()).unwrap();
    assert!(matches!(report.catalogue, CatalogueCheck::Matches { .. }));
    let (log, opened) = open(&disk);
    assert!(
        matches!(opened.catalogue, CatalogueState::CaughtUp { records } if records > 60),
        "{:?}",
        opened.catalogue
    );
    verify(&disk, &log, &world, "old catalogue");
}

/// redb panics on pages that make no sense; that must end in an error or a catalogue in memory, also where a log is closed.
#[test]
fn a_misread_page_of_the_catalogue_takes_nobody_down() {
    let (closed, full) = log_with(1, 80);
    // One whose catalogue redb has to repair, and one that is made.
    let cut = SimDisk::new();
    let (log, _) = open(&cut);
    let mut started = World::default();
    started.resume(&log, 0);
    work(&log, &mut started, &mut Rng(1), 8).unwrap();
    log.flush().unwrap();
    let cut = cut.crash_image(Policy::All);
    drop(log);
    let fresh = SimDisk::new();
    let nothing = World::default();
    let life = |disk: &SimDisk, world: &World| -> Result<(), aos_store::Error> {
        let (log, _) = try_open(disk)?;
        let mut world = world.clone();
        // Heads once looked up stay in memory.
        for stream in world.streams().chain([StreamId::CONTROL]) {
            log.head(stream)?;
        }
        world.resume(&log, world.accepted.len());
        work(&log, &mut world, &mut Rng(3), 30)?;
        log.rows()?;
        drop(log);
        Ok(())
    };
    let mut of_the_catalogue = 0;
    let bases = [(&closed, &full), (&cut, &started), (&fresh, &nothing)];
    for (seed, (base, world)) in (0..40).zip(bases.into_iter().cycle()) {
        for fault in [Fault::Misdirected, Fault::Rot] {
            for read in 1.. {
                let disk = SimDisk::with_seed(seed * 1000 + read);
                for path in base.files() {
                    disk.poke(&path, &base.peek(&path).unwrap()).unwrap();
                }
                disk.fail_read(read, fault, Persistence::Once);
                let _told = life(&disk, world);
                let struck = disk.struck();
                of_the_catalogue += struck.iter().filter(|hit| hit.path == file()).count();
                if struck.is_empty() {
                    break;
                }
            }
        }
    }
    assert!(of_the_catalogue > 50, "{of_the_catalogue}");
}

#[test]
fn a_catalogue_garbled_anywhere_gives_the_same_answers() {
    let (disk, world) = log_with(1, 80);
    let good = disk.peek(&file()).unwrap();
    let mut rng = Rng(42);
    for round in 0..60 {
        let mut bad = good.clone();
        let at = rng.below(bad.len() as u64) as usize;
        // The used pages are at the front; hit them more often.
        let at = if round % 2 == 0 { at % 16_384 } else { at };
        let what = format!("round {round}, byte {at}");
        match round % 4 {
            0 => bad[at] ^= 1 << rng.below(8),
            1 => bad[at..].iter_mut().take(512).for_each(|b| *b = 0),
            2 => bad.truncate(at),
            _ => bad[at..]
                .iter_mut()
                .take(64)
                .for_each(|b| *b = rng.next() as u8),
        }
        let image = disk.crash_image(Policy::All);
        image.poke(&file(), &bad).unwrap();
        // A check looks at a copy and never fails for it.
        check(as_disk(&image), path()).unwrap();
        assert_eq!(image.peek(&file()).unwrap(), bad, "{what}");
        let (log, _) = try_open(&image).unwrap_or_else(|error| panic!("{what}: {error}"));
        verify(&image, &log, &world, &what);
        log.close()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

#[test]
fn a_row_that_rotted_to_another_plausible_row_is_noticed() {
    let (disk, world) = log_with(1, 80);
    let good = disk.peek(&file()).unwrap();
    let places: Vec<usize> = good
        .windows(6)
        .enumerate()
        .filter_map(|(at, bytes)| (bytes == b"orders").then_some(at))
        .collect();
    assert!(!places.is_empty(), "rows of runs name their workflow");
    for at in places {
        let image = disk.crash_image(Policy::All);
        image.poke_at(&file(), b"odders", at as u64).unwrap();
        let what = format!("byte {at}");
        let (log, _) = open(&image);
        verify(&image, &log, &world, &what);
    }
}

#[test]
fn rebuilding_needs_the_log_to_itself_and_changes_only_the_catalogue() {
    let (disk, _) = log_with(1, 80);
    let segments = |disk: &SimDisk| -> Vec<_> {
        let files = disk.files().into_iter();
        let others = files.filter(|path| !path.to_string_lossy().contains("catalog"));
        others.map(|path| (disk.peek(&path), path)).collect()
    };
    let before = segments(&disk);
    disk.poke(&file(), b"garbage").unwrap();
    let end = rebuild_catalogue(as_disk(&disk), path()).unwrap();
    assert_eq!(end, reader(&disk).tail().unwrap().end);
    assert_eq!(segments(&disk), before);
    let report = check(as_disk(&disk), path()).unwrap();
    assert_eq!(report.catalogue, CatalogueCheck::Matches { folded: end });
    let (_log, opened) = open(&disk);
    assert_eq!(opened.catalogue, CatalogueState::CaughtUp { records: 0 });
    assert!(rebuild_catalogue(as_disk(&disk), path()).is_err(), "busy");
}

#[test]
fn the_catalogue_never_names_what_is_not_durable() {
    let disk = SimDisk::new();
    let options = Options {
        catalogue_every_records: 3,
        ..options()
    };
    let (log, _) = Log::open(as_disk(&disk), path(), &options).unwrap();
    let mut world = World::default();
    world.resume(&log, 0);
    for round in 0..30 {
        work(&log, &mut world, &mut Rng(round), 3).unwrap();
        let image = disk.crash_image(Policy::None);
        let report = check(as_disk(&image), path()).unwrap();
        match report.catalogue {
            CatalogueCheck::Matches { folded } => assert!(folded <= log.durable()),
            other => panic!("round {round}: {other:?}"),
        }
        assert!(log.durable() > Offset(0));
    }
}
