//! `aosctl log prune`, and every command on a log that was pruned.

use crate::harness::{Place, number, text};

/// A sealed log of loan applications, an archive of everything, and a key.
fn sealed() -> Place {
    let place = Place::new();
    place.applications(60);
    place
        .aosctl("run loan.yaml --log a.aos --inputs applications.jsonl --seed 7 --stride 64K")
        .exits(0);
    place
        .aosctl("key new gold.key --name example.org/gold")
        .exits(0);
    place
        .aosctl("golden seal a.aos --all --out a.golden --key gold.key")
        .exits(0);
    place
}

const PRUNE: &str = "log prune a.aos --archives a.golden --key gold.key --keep 0";

fn segments(place: &Place) -> usize {
    std::fs::read_dir(place.path("a.aos/segments"))
        .unwrap()
        .count()
}

/// The key of a run that is gone, and of one that is there.
fn keys(place: &Place) -> (String, String) {
    let runs = place.aosctl("runs a.aos -o jsonl").exits(0);
    let rows = runs.lines();
    let key = |gone: bool| {
        let row = rows.iter().find(|row| row.get("pruned").is_some() == gone);
        text(row.unwrap(), "key").to_owned()
    };
    (key(true), key(false))
}

#[test]
fn segments_go_only_when_asked_and_only_for_archives_that_verify() {
    let place = sealed();
    let before = segments(&place);
    assert!(before >= 4, "{before}");
    let untrusted = "log prune a.aos --archives a.golden --keep 0 --force";
    place
        .aosctl(untrusted)
        .exits(3)
        .fails_with("AOS-G004", &["--key"]);
    place.aosctl("key new other.key").exits(0);
    let other = "log prune a.aos --archives a.golden --key other.key --keep 0 --force";
    place
        .aosctl(other)
        .exits(3)
        .fails_with("AOS-G004", &["a.golden"]);
    let dry = place.aosctl(&format!("{PRUNE} --dry-run -o json")).exits(0);
    assert!(number(&dry.json(), "segments") >= 3);
    // Nobody is there to confirm.
    place
        .aosctl(PRUNE)
        .exits(3)
        .fails_with("AOS-G013", &["--force"]);
    assert_eq!(segments(&place), before);
    let done = place.aosctl(&format!("{PRUNE} --force -o json")).exits(0);
    assert_eq!(
        number(&done.json(), "segments"),
        number(&dry.json(), "segments")
    );
    assert_eq!(
        segments(&place),
        before - number(&done.json(), "segments") as usize
    );
    assert!(done.stderr.contains("begins at offset"), "{}", done.stderr);
    let again = place.aosctl(&format!("{PRUNE} --force -o json")).exits(0);
    assert_eq!(number(&again.json(), "segments"), 0);
    // The planted fault: an archive with one bit changed holds nothing.
    let place = sealed();
    let before = segments(&place);
    let path = place.path("a.golden");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[500] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    place.aosctl(&format!("{PRUNE} --force")).exits(5);
    assert_eq!(segments(&place), before);
}

#[test]
fn every_command_says_in_words_what_was_pruned_and_names_the_archive() {
    let place = sealed();
    let whole = place.aosctl("replay a.aos -o json").exits(0).json();
    place.aosctl(&format!("{PRUNE} --force")).exits(0);
    let replayed = place.aosctl("replay a.aos -o json").exits(0);
    assert_eq!(text(&replayed.json(), "verdict"), "match");
    assert_eq!(text(&replayed.json(), "digest"), text(&whole, "digest"));
    let gone = number(&replayed.json(), "pruned_runs");
    assert_eq!(
        gone + number(&replayed.json(), "runs"),
        number(&whole, "runs")
    );
    assert!(replayed.stderr.contains("was pruned below offset"));

    let (gone, there) = keys(&place);
    for command in ["show a.aos", "replay a.aos --run", "log export a.aos --run"] {
        place
            .aosctl(&format!("{command} {gone}"))
            .exits(4)
            .fails_with("AOS-S019", &["a.golden"]);
        place.aosctl(&format!("{command} {there}")).exits(0);
    }
    place
        .aosctl(&format!("diff a.aos:{gone} a.aos:{there}"))
        .exits(4)
        .fails_with("AOS-S019", &["a.golden"]);
    let said = place.aosctl(&format!("diff a.aos:{there} a.aos:{there}"));
    let said = said.exits(0).stderr;
    assert_eq!(said.matches("was pruned below").count(), 1, "{said}");
    // The archive answers in its place.
    place
        .aosctl(&format!("replay a.golden --run {gone} --seed 7"))
        .exits(0);
    for command in [
        "verify",
        "runs",
        "log stat",
        "log cat",
        "log export",
        "log fsck",
        "resume",
    ] {
        let said = place.aosctl(&format!("{command} a.aos")).exits(0);
        let silent = command == "resume";
        assert!(
            silent || said.stderr.contains("pruned"),
            "{command}: {}",
            said.stderr
        );
    }
    let fsck = place
        .aosctl("log fsck a.aos --rebuild-catalog -o json")
        .exits(0);
    assert!(number(&fsck.json(), "pruned_below") > 0);
    let ended = format!("run loan.yaml --log a.aos --key {gone} --input {{}} --seed 7");
    place
        .aosctl(&ended)
        .exits(4)
        .fails_with("AOS-S019", &["a.golden"]);
    place
        .aosctl("run hello.yaml --log a.aos --key new --input {\"name\":\"Ada\"}")
        .exits(0);
    place
        .aosctl("golden seal a.aos --all --out b.golden --key gold.key")
        .exits(2)
        .fails_with("AOS-G008", &["a.golden"]);
    place
        .aosctl("golden seal a.aos --runs new --out b.golden --key gold.key")
        .exits(0);
}

#[test]
fn a_pruned_log_is_backed_up_restored_salvaged_and_proven_to_continue() {
    let place = sealed();
    let anchor = place.aosctl("golden checkpoint a.golden").exits(0).stdout;
    place.write("anchor", &anchor);
    place.aosctl(&format!("{PRUNE} --force")).exits(0);
    place
        .aosctl("run hello.yaml --log a.aos --key new --input {\"name\":\"Ada\"}")
        .exits(0);
    place.aosctl("log backup a.aos --out a.backup").exits(0);
    place.aosctl("log restore a.backup --log b.aos").exits(0);
    let digest = |log: &str| {
        let said = place.aosctl(&format!("replay {log} -o json")).exits(0);
        text(&said.json(), "digest").to_owned()
    };
    assert_eq!(digest("a.aos"), digest("b.aos"));
    place.aosctl("log salvage a.aos --out c.aos").exits(0);
    place.aosctl("replay c.aos").exits(0);

    let prove = "golden consistency a.golden --log a.aos --from anchor --key gold.key";
    let proof = place.aosctl(prove).exits(0).stdout;
    place.write("proof", &proof);
    place
        .aosctl("golden check-proof proof --key gold.key")
        .exits(0);
    // Without the archive nothing gives the leaves of what was pruned.
    place
        .aosctl("golden consistency --log a.aos --from anchor")
        .exits(7)
        .fails_with("AOS-G005", &["pruned"]);
    // A bit of PRUNED, and no PRUNED at all.
    place.change("a.aos/PRUNED", |bytes| bytes[90] ^= 1);
    place
        .aosctl("replay a.aos")
        .exits(5)
        .fails_with("AOS-S004", &["PRUNED"]);
    place.aosctl("resume a.aos").exits(5);
    std::fs::remove_file(place.path("a.aos/PRUNED")).unwrap();
    let said = place.aosctl("replay a.aos");
    assert_ne!(said.code, Some(0));
}

#[test]
fn a_backup_inside_the_log_is_refused() {
    let place = sealed();
    std::os::unix::fs::symlink(place.path("a.aos"), place.path("link")).unwrap();
    for out in ["a.aos/x", "a.aos", "./a.aos/segments/x", "link/y/z"] {
        place
            .aosctl(&format!("log backup a.aos --out {out}"))
            .exits(3)
            .fails_with("AOS-B003", &["inside the log"]);
    }
    assert!(!place.path("a.aos/x").exists());
    place.aosctl("log backup a.aos --out a.aos.backup").exits(0);
}
