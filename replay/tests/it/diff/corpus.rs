//! The corpus: thousands of planted pairs, and what the diff says of each.

use super::planted::{Dice, Pair, in_world, make, plant, planted};
use super::recorder::{Make, Part, Written, skills};
use aos_format::offset::Stride;
use aos_replay::diff::{Authenticate, Class, Input, Options, Report, Status, Verdict, World, diff};
use std::collections::{BTreeMap, BTreeSet};

/// Pairs of each class.
const CASES: u64 = 50;

fn report(pair: &Pair) -> Report {
    let (left, right) = (pair.a.reader(), pair.b.reader());
    let a = Input::log("a.aos", &left, Authenticate::Auto, 1).unwrap();
    let b = Input::log("b.aos", &right, Authenticate::Auto, 1).unwrap();
    let world = in_world(pair.leak.unwrap_or_default());
    let probe: &(dyn Fn(&World) -> _ + Sync) = &world;
    let options = Options {
        skills: pair.skills.clone(),
        probe: pair.leak.map(|_| probe),
        rows_max: 4,
        ..Options::default()
    };
    let run = |input: &Input<'_>, written: &Written| match input.damage() {
        // Nothing is read of a side that failed its checks.
        Some(_) => aos_replay::diff::RunAt {
            run: written.run,
            head: aos_format::offset::Offset::NONE,
            records: 0,
        },
        None => input.run(written.run).unwrap(),
    };
    let runs = [run(&a, &pair.a), run(&b, &pair.b)];
    diff([&a, &b], runs, &options).unwrap()
}

/// Whether the first event that differs is the one that was planted, by offset on both sides.
fn exact(pair: &Pair, report: &Report) -> bool {
    let truth = pair.a.parts_from(&pair.b).map(|at| {
        let of = |written: &Written| written.offsets.get(at).copied();
        (of(&pair.a), of(&pair.b))
    });
    let found = report.first.event.as_ref().map(|place| {
        let of = |event: &Option<aos_replay::diff::EventRef>| event.as_ref().map(|e| e.offset);
        (of(&place.a), of(&place.b))
    });
    truth == found
}

/// What each planted class was found to be.
#[derive(Default)]
struct Confusion {
    found: BTreeMap<Class, BTreeMap<String, u64>>,
    pairs: u64,
    /// Causes that were confirmed.
    confirmed: u64,
    /// Pairs that were compared, no side being damaged.
    compared: u64,
    wrong: Vec<String>,
    inexact: Vec<String>,
}

impl Confusion {
    fn note(&mut self, class: Class, seed: u64, pair: &Pair, report: &Report) {
        let damage = matches!(
            class,
            Class::LogCorruption | Class::Tamper | Class::Truncated
        );
        let said = report.causes_line();
        *self
            .found
            .entry(class)
            .or_default()
            .entry(said.clone())
            .or_default() += 1;
        self.pairs += 1;
        self.compared += u64::from(!damage);
        let confirmed = confirmed(report);
        self.confirmed += confirmed.len() as u64;
        if !confirmed.is_subset(&pair.planted.iter().copied().collect()) {
            self.wrong
                .push(format!("{} seed {seed}: {said}", class.name()));
        }
        if damage != (report.verdict == Verdict::Damaged) || !damage && !exact(pair, report) {
            self.inexact.push(format!(
                "{} seed {seed}: {:?}",
                class.name(),
                report.verdict
            ));
        }
    }

    fn print(&self) {
        for (class, found) in &self.found {
            println!("{}", class.name());
            for (said, count) in found {
                println!("    {count:>4}  {said}");
            }
        }
        for line in self.wrong.iter().chain(&self.inexact).take(20) {
            println!("wrong: {line}");
        }
        println!(
            "{} pairs: {} causes confirmed, of {} pairs one that was not planted; {} pairs compared, in {} another place than planted",
            self.pairs,
            self.confirmed,
            self.wrong.len(),
            self.compared,
            self.inexact.len()
        );
    }
}

fn confirmed(report: &Report) -> BTreeSet<Class> {
    report
        .causes
        .iter()
        .filter(|cause| cause.status == Status::Confirmed)
        .map(|cause| cause.class)
        .collect()
}

#[test]
fn planted_causes_are_found_and_no_other_is_confirmed() {
    let mut confusion = Confusion::default();
    let mut recalled: BTreeMap<Class, (u64, u64)> = BTreeMap::new();
    for class in Class::ALL {
        for number in 0..CASES {
            let seed = *class as u64 * 1_000_000 + number;
            let pair = planted(*class, &mut Dice(seed)).expect("every class can be planted");
            let report = report(&pair);
            confusion.note(*class, seed, &pair, &report);
            let (found, all) = recalled.entry(*class).or_default();
            *all += 1;
            let status = match class {
                Class::Unknown => Status::Unknown,
                _ => Status::Confirmed,
            };
            let right =
                |cause: &&aos_replay::diff::Cause| cause.class == *class && cause.status == status;
            *found += u64::from(report.causes.iter().find(right).is_some());
        }
    }
    confusion.print();
    for (class, (found, all)) in &recalled {
        println!("recall {found:>4} of {all}  {}", class.name());
    }
    assert_eq!(confusion.wrong, [""; 0], "confirmed, but not planted");
    assert_eq!(confusion.inexact, [""; 0], "another place than planted");
    for (class, (found, all)) in recalled {
        assert!(found * 10 >= all * 9, "{}: {found} of {all}", class.name());
    }
}

/// Classes that can be planted in what a run is made from, so that two of them meet in one run.
const MEETING: [Class; 10] = [
    Class::ConfigDrift,
    Class::CodeDrift,
    Class::SeedMismatch,
    Class::SeedDerivation,
    Class::InputDrift,
    Class::EffectDrift,
    Class::RngDrawSkew,
    Class::UnrecordedDecision,
    Class::IterationOrder,
    Class::FloatDrift,
];

/// Two causes that hide one another are no pair: both change the document, the seed, or the result of one step.
fn meet(first: Class, second: Class) -> bool {
    let alike = |a: &[Class]| a.contains(&first) && a.contains(&second);
    first != second
        && !alike(&[Class::ConfigDrift, Class::CodeDrift])
        && !alike(&[Class::SeedMismatch, Class::SeedDerivation])
        && !alike(&[Class::RngDrawSkew, Class::IterationOrder, Class::FloatDrift])
}

#[test]
fn causes_that_meet_are_told_apart() {
    let (mut found, mut all) = (0, 0);
    let mut confusion = Confusion::default();
    let mut seed = 7_000_000;
    while all < CASES {
        seed += 1;
        let mut dice = Dice(seed);
        let (first, second) = (dice.pick(&MEETING), dice.pick(&MEETING));
        if first > second || !meet(first, second) {
            continue;
        }
        let original = make(&mut dice);
        let mut changed = original.clone();
        // What follows from results is planted last, so that it is planted in the results as they then are.
        if !plant(first, &mut changed, &mut dice) || !plant(second, &mut changed, &mut dice) {
            continue;
        }
        // An effect that fails ends the run before what else was planted can show.
        let alone = |class: Class| {
            let mut one = changed.clone();
            one.substitutes.clear();
            class <= Class::EffectDrift || one.parts().len() == changed.parts().len()
        };
        if !alone(first) || !alone(second) {
            continue;
        }
        let pair = Pair {
            a: original.log(),
            b: changed.log(),
            skills: vec![skills("1", super::planted::honest())],
            leak: None,
            planted: vec![first, second],
        };
        let report = report(&pair);
        confusion.note(first, seed, &pair, &report);
        all += 1;
        let both = BTreeSet::from([first, second]);
        found += u64::from(confirmed(&report) == both);
    }
    confusion.print();
    println!("both confirmed: {found} of {all}");
    assert_eq!(confusion.wrong, [""; 0], "confirmed, but not planted");
    assert_eq!(confusion.inexact, [""; 0], "another place than planted");
    assert!(found * 10 >= all * 9, "{found} of {all}");
}

/// The same history, recorded in other circumstances: other groups, another stride, checkpoints, marks.
fn again(make: &Make, dice: &mut Dice) -> (Vec<Part>, Written) {
    let mut other = make.clone();
    if dice.below(2) == 0 {
        other.stride = Stride::from_log2(17).unwrap();
    }
    if dice.below(2) == 0 {
        other.checkpoint = Some((1 + dice.below(6) as usize, str::to_owned));
    }
    let parts = other.parts();
    let written = other.write_with(&parts, 1 + dice.below(6) as usize, |_, draft| {
        draft.wall_ns = 1_234_567;
    });
    (parts, written)
}

#[test]
fn equal_runs_and_runs_in_progress_raise_no_alarm() {
    let skills = vec![skills("1", super::planted::honest())];
    let (equal, in_progress) = (CASES * 20, CASES * 5);
    for number in 0..equal + in_progress {
        let mut dice = Dice(9_000_000 + number);
        let make = make(&mut dice);
        let (parts, b) = again(&make, &mut dice);
        let (a, verdict) = if number >= equal {
            let cut = 1 + dice.below(parts.len() as u64 - 1) as usize;
            let open: Vec<Part> = parts[..cut].to_vec();
            (make.write(&open), Verdict::Prefix)
        } else {
            (make.log(), Verdict::Equal)
        };
        let (a, b) = if dice.below(2) == 0 { (a, b) } else { (b, a) };
        let pair = Pair {
            a,
            b,
            skills: skills.clone(),
            leak: None,
            planted: Vec::new(),
        };
        let report = report(&pair);
        assert_eq!(report.verdict, verdict, "seed {}", 9_000_000 + number);
        assert_eq!(report.causes, [], "seed {}", 9_000_000 + number);
    }
    println!("{equal} equal pairs and {in_progress} in progress: no cause named");
}
