//! Damage: all of it is found, and the controls show that it would be missed.

use aos_format::controls::{Control, with};
use aos_sim::damage::{Damage, Found, Target, run};
use aos_sim::exhaust::untouched;
use aos_sim::oracle::Violation;
use aos_sim::stale::stale_group;

fn small() -> Target {
    Target::new(1, 12, 13_000).unwrap()
}

#[test]
fn damage_of_every_way_is_found_where_it_is() {
    // One in some of all the damages of a small log, all ways among them; `aos-sim damage` goes through all.
    let target = small();
    let mut found = Found::default();
    for (number, damage) in target.every().enumerate() {
        let rare = !matches!(damage, Damage::Flip { .. } | Damage::Truncate { .. });
        if number % if rare { 7 } else { 61 } == 0 {
            target.judge(damage, number % 5 == 0, &mut found).unwrap();
        }
    }
    assert_eq!(found.by_way.len(), 6, "{found:?}");
    assert!(found.all() > 3000, "{found:?}");
}

#[test]
fn damage_of_a_large_log_is_found() {
    let target = Target::new(2, 16, 300_000).unwrap();
    let found = run(&target, Some(600), 2, 2, None).unwrap();
    assert_eq!(found.by_way.len(), 6, "{found:?}");
}

/// The first damage of some ways that breaks a rule with a control on.
fn missed(control: Control, rule: &str, opens: bool, of: impl Fn(&Damage) -> bool) -> Violation {
    let target = small();
    let mut found = Found::default();
    let broken = with(Some(control), || {
        let damages = target.every().filter(&of);
        let mut judged = damages.filter_map(|damage| target.judge(damage, opens, &mut found).err());
        judged.find(|violation| violation.rule == rule)
    });
    let violation = broken.unwrap_or_else(|| panic!("{} was not caught", control.name()));
    println!("{}: {violation:?}", control.name());
    violation
}

#[test]
fn checksums_that_are_not_compared_miss_a_flipped_bit() {
    let flips = |damage: &Damage| matches!(damage, Damage::Flip { .. });
    missed(Control::CrcOff, "misread", false, flips);
}

#[test]
fn frames_that_may_stand_anywhere_are_read_as_others() {
    let moved = |damage: &Damage| matches!(damage, Damage::Swap { .. } | Damage::Duplicate { .. });
    missed(Control::OwnOffsetOff, "misread", false, moved);
}

#[test]
fn a_recovery_that_cuts_at_the_first_bad_frame_loses_a_log() {
    let zeros = |damage: &Damage| matches!(damage, Damage::Zero { .. });
    missed(Control::CutAtFirstBad, "cut", true, zeros);
}

#[test]
fn a_group_of_an_earlier_epoch_does_not_come_back() {
    assert_eq!(stale_group(1).unwrap(), 0);
    let back = with(Some(Control::StaleFrameLive), || stale_group(1).unwrap());
    assert!(back > 0, "the control is caught");
}

#[test]
fn logs_that_nothing_happened_to_give_no_alarm() {
    let kinds = untouched(400, 1).unwrap();
    assert_eq!(kinds, [100; 4]);
    // The question can be answered with yes: with this control a torn tail is told of as damage.
    let alarm = with(Some(Control::CutAtFirstBad), || untouched(2000, 1));
    assert_eq!(alarm.unwrap_err().rule, "false alarm");
}
