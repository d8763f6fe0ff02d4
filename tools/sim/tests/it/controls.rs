//! Negative controls: each planted fault is caught.

use aos_format::controls::{AVAILABLE, Control as Store};
use aos_sim::control::Control;
use aos_sim::soak::{Until, soak};
use std::process::Command;

/// The rule that random runs with a control break.
fn caught(control: Control) -> &'static str {
    let (_, failure) = soak(0, Until::Runs(400), 2, Some(control));
    let failure = failure.unwrap_or_else(|| panic!("{} was not caught", control.name()));
    println!(
        "{}: {:?}\n{}",
        control.name(),
        failure.violation,
        failure.plan.command()
    );
    failure.violation.rule
}

#[test]
fn a_disk_whose_syncs_do_nothing_is_caught() {
    caught(Control::SyncNothing);
}

#[test]
fn a_disk_whose_syncs_lie_is_caught() {
    caught(Control::SyncLies);
}

#[test]
fn writes_reordered_across_a_sync_are_caught() {
    caught(Control::SyncLate);
}

#[test]
fn directory_syncs_that_do_nothing_are_caught() {
    caught(Control::DirSyncNothing);
}

#[test]
fn a_catalogue_committed_ahead_of_the_log_is_caught() {
    assert_eq!(
        caught(Control::Store(Store::CatalogueAhead)),
        "catalogue ahead"
    );
}

#[test]
fn a_commit_frame_taken_for_damage_behind_a_torn_group_is_caught() {
    caught(Control::Store(Store::CommitIsProof));
}

#[test]
fn a_reader_that_trusts_the_last_group_is_caught() {
    assert_eq!(caught(Control::Store(Store::TrustLastGroup)), "claimed");
}

#[test]
fn checksums_that_are_not_compared_are_caught() {
    caught(Control::Store(Store::CrcOff));
}

#[test]
fn nothing_that_is_built_to_be_used_has_controls() {
    const { assert!(AVAILABLE, "tests have them") };
    let features = |edges: &str, more: &[&str]| {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--workspace",
                "--format",
                "{p} [{f}]",
                "--edges",
                edges,
            ])
            .args(more)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let used = features("normal,build", &[]);
    assert!(used.contains("aos-format"), "{used}");
    assert!(!used.contains("controls"), "{used}");
    // And the question is one that can be answered with yes.
    let asked_for = features("normal,build", &["--features", "aos-sim/controls"]);
    assert!(asked_for.contains("[controls]"), "{asked_for}");
}
