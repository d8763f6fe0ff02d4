//! What a run will do, all of it decided by the root seed before anything is done.
//!
//! A plan is lives of one log, each with **items**: a power cut, faults, actions. Items have numbers and seeds of their own,
//! so that some can be left out (`--only`) without changing the others; shrinking does that.

use crate::control::Control;
use crate::dice::Dice;
use aos_disk::sim::{Fault, Persistence, Policy};
use std::collections::BTreeSet;
use std::fmt;

/// Something a life does with its log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Appends one record.
    Append,
    /// Appends several in one step.
    Batch(u64),
    /// Waits for one of the records appended.
    Wait,
    /// Waits for all of them.
    Flush,
    /// Looks records, runs and heads up in the log being written.
    LookUp,
    /// Reads the log as another process would.
    Read,
    /// Checks it as another process would.
    Check,
}

/// One item of a life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// The power goes at this operation of the life.
    Power(u64),
    /// An operation fails, or a read.
    Fault {
        /// Whether `at` counts reads.
        read: bool,
        /// Which one of the life.
        at: u64,
        /// How.
        fault: Fault,
        /// For how long.
        lasts: Persistence,
    },
    /// Something is done.
    Act(Action),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Power(at) => write!(f, "power cut at operation {at}"),
            Item::Fault {
                read,
                at,
                fault,
                lasts,
            } => {
                let what = if *read { "read" } else { "operation" };
                let from = match lasts {
                    Persistence::Once => "at",
                    Persistence::Forever => "from",
                };
                write!(f, "{} {from} {what} {at}", fault.name())
            }
            Item::Act(action) => write!(f, "{action:?}"),
        }
    }
}

/// How a life ends if nothing ends it before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The log is closed, and the machine goes on.
    Closed,
    /// The log is closed, and the power goes.
    ClosedThenPower,
    /// The process is killed.
    Killed,
    /// The power goes.
    Power,
}

/// One opening of the log, and what is done until it ends.
#[derive(Clone, Debug)]
pub struct Life {
    /// What happens, each with its number in the plan.
    pub items: Vec<(u64, Item)>,
    /// How it ends.
    pub ending: Ending,
    /// What a power cut leaves; the run goes on with that of the first.
    pub policies: Vec<Policy>,
}

/// What is simulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// A log and its readers.
    Store,
    /// Runs on an engine, replayed.
    System,
}

/// What a run will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The root seed.
    pub seed: u64,
    /// Items that are kept; all where it is `None`.
    pub only: Option<BTreeSet<u64>>,
    /// A planted fault.
    pub control: Option<Control>,
    /// What is simulated.
    pub level: Level,
    /// Bytes that a power cut leaves whole.
    pub sector: u64,
    /// Length of the segments.
    pub stride_log2: u32,
    /// Whether silent faults may strike.
    pub media: bool,
    /// The lives of the log.
    pub lives: Vec<Life>,
}

/// Faults that an operation answers with.
const TOLD: [Fault; 5] = [
    Fault::Io,
    Fault::Full,
    Fault::Permission,
    Fault::Interrupted,
    Fault::Short,
];
/// Faults that nobody tells of.
const SILENT: [Fault; 4] = [
    Fault::SyncLost,
    Fault::SyncLies,
    Fault::Misdirected,
    Fault::Rot,
];

impl Plan {
    /// The plan of a seed, without the items that `only` leaves out.
    pub fn new(seed: u64, only: Option<BTreeSet<u64>>, control: Option<Control>) -> Plan {
        let mut dice = Dice::new(seed, "plan", &[]);
        let level = match dice.below(5) {
            0 => Level::System,
            _ => Level::Store,
        };
        let stride_log2 = match level {
            Level::System => 14,
            Level::Store => 12 + u32::from(dice.one_in(4)),
        };
        // A control is a fault of its own: beside it the disk tells no other lies.
        let media = dice.one_in(4) && control.is_none();
        let mut number = 0;
        let lives = 1 + dice.below(4);
        let lives = (0..lives)
            .map(|life| Life::new(&mut Dice::new(seed, "life", &[life]), media, &mut number))
            .collect();
        let mut plan = Plan {
            seed,
            only,
            control,
            level,
            sector: if dice.one_in(3) { 4096 } else { 512 },
            stride_log2,
            media,
            lives,
        };
        if let Some(only) = &plan.only {
            for life in &mut plan.lives {
                life.items.retain(|(number, _)| only.contains(number));
            }
        }
        plan
    }

    /// A plan without lives, for states that come from elsewhere.
    pub fn bare(level: Level, stride_log2: u32) -> Plan {
        Plan {
            seed: 0,
            only: None,
            control: None,
            level,
            sector: 512,
            stride_log2,
            media: false,
            lives: Vec::new(),
        }
    }

    /// The numbers of all items.
    pub fn numbers(&self) -> Vec<u64> {
        let items = self.lives.iter().flat_map(|life| &life.items);
        items.map(|(number, _)| *number).collect()
    }

    /// The command that repeats the run.
    pub fn command(&self) -> String {
        let mut command = format!("aos-sim --seed {}", self.seed);
        if let Some(only) = &self.only {
            let only: Vec<String> = only.iter().map(u64::to_string).collect();
            command += &format!(" --only {}", only.join(","));
        }
        if let Some(control) = self.control {
            command += &format!(" --control {}", control.name());
        }
        command
    }
}

impl Life {
    fn new(dice: &mut Dice, media: bool, number: &mut u64) -> Life {
        let mut items = Vec::new();
        let mut push = |item| {
            items.push((*number, item));
            *number += 1;
        };
        if dice.one_in(2) {
            push(Item::Power(1 + dice.below(160)));
        }
        if dice.one_in(3) {
            for _ in 0..=dice.below(2) {
                push(fault(dice, &TOLD));
            }
        }
        if media && dice.one_in(2) {
            push(fault(dice, &SILENT));
        }
        for _ in 0..3 + dice.below(30) {
            push(Item::Act(action(dice)));
        }
        let endings = [
            Ending::Closed,
            Ending::ClosedThenPower,
            Ending::Killed,
            Ending::Power,
            Ending::Power,
        ];
        let mut policies = vec![match dice.below(5) {
            0 => Policy::None,
            1 => Policy::All,
            2 => Policy::Shuffled(dice.any()),
            _ => Policy::Subset(dice.any()),
        }];
        policies.extend([
            Policy::None,
            Policy::All,
            Policy::Subset(dice.any()),
            Policy::Subset(dice.any()),
            Policy::Shuffled(dice.any()),
        ]);
        Life {
            items,
            ending: dice.pick(&endings),
            policies,
        }
    }
}

fn fault(dice: &mut Dice, faults: &[Fault]) -> Item {
    let fault = dice.pick(faults);
    let read = match fault {
        Fault::Full | Fault::SyncLost | Fault::SyncLies => false,
        _ => dice.one_in(3),
    };
    // Silent ones hit what they can: from some operation on would be a disk that does nothing right.
    let lasts = match fault.is_silent() || dice.one_in(2) {
        true => Persistence::Once,
        false => Persistence::Forever,
    };
    Item::Fault {
        read,
        at: 1 + dice.below(160),
        fault,
        lasts,
    }
}

fn action(dice: &mut Dice) -> Action {
    match dice.below(16) {
        0..8 => Action::Append,
        8 | 9 => Action::Batch(2 + dice.below(4)),
        10 | 11 => Action::Wait,
        12 | 13 => Action::Flush,
        14 => Action::LookUp,
        _ if dice.one_in(3) => Action::Check,
        _ => Action::Read,
    }
}
