//! State of a run between two events. `save` gives it the form it has in checkpoints.

use super::save::StateError;
use super::scope::object;
use super::{EffectNeed, Ended, Subject};
use crate::chain::Datum;
use crate::fault::Fault;
use crate::value::{Val, Value};
use crate::workflow::{Definition, TaskKind};
use std::sync::Arc;

/// Everything that changes while a run goes on, but its chain.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// Lanes that have not been joined, in the order of the tree they form; lane 0 is the first.
    pub lanes: Vec<Lane>,
    /// Position of the lane in hand.
    pub at: usize,
    /// Position of the lane whose turn is next.
    pub turn: usize,
    /// The run's input as given.
    pub input: Datum,
    /// Somebody suspended the run.
    pub suspended: bool,
}

/// One line of control: the run's own, or a branch of a fork.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub id: u64,
    /// The fork this is a branch of; none for lane 0.
    pub branch: Option<Branch>,
    /// Levels of the activation path that the enclosing lanes give.
    pub levels: Vec<String>,
    /// Whether those levels say nothing: every visit the first, no loop, no retry.
    pub plain: bool,
    /// Variables of the enclosing lanes' blocks, innermost last.
    pub vars: Vec<(String, Val)>,
    pub phase: Phase,
    /// Enclosing blocks, the lane's own first.
    pub frames: Vec<Frame>,
    /// Raw input of whatever comes next.
    pub data: Datum,
    pub context: Datum,
    /// Steps that ended, those of absorbed lanes included.
    pub steps: u64,
    /// Milliseconds of timers that fired on the way here.
    pub waited_ms: u64,
    /// The most that its effects may cost; none without a budget.
    pub budget: Option<u64>,
    /// Units that its effects cost, those of absorbed lanes included.
    pub spent: u64,
    /// Reading of when the run started. Each lane reads for itself: no lane's history may depend on another one's.
    pub workflow_started: Option<i64>,
    /// Reading of the clock for a phase that has no step of its own.
    pub now: Option<i64>,
    /// Timeouts that are running, outermost first.
    pub deadlines: Vec<Deadline>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Branch {
    /// The lane that forked.
    pub parent: u64,
    /// The task that forked.
    pub task: usize,
    /// Position among its branches.
    pub number: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Phase {
    Start,
    Prepare,
    Next,
    Enter(Current),
    /// The step's input is made, its timeout runs; it is about to do what it is there for.
    Begin {
        current: Current,
        input: Datum,
    },
    Iterate,
    Leave,
    Clock {
        subject: Subject,
        then: Box<Phase>,
    },
    Timer {
        current: Current,
        input: Datum,
        timer: Timer,
    },
    Effect {
        current: Current,
        input: Datum,
        need: EffectNeed,
        /// Number of the INTENT.
        seq: u64,
    },
    /// The answer is recorded; the step is about to complete.
    Answered {
        current: Current,
        input: Datum,
        answer: Result<Datum, Fault>,
    },
    /// Waits for an event; the innermost frame is a listening one.
    Listen,
    /// An event was consumed; the listening frame decides how to go on.
    Heard,
    /// A try's attempt is about to begin.
    Attempt,
    /// A fault looks for a catch.
    Unwind(Fault),
    /// The innermost try caught it: once more, or the handler.
    Caught(Fault),
    /// Waits before another attempt.
    Backoff {
        fault: Fault,
        timer: Timer,
    },
    /// The decision to try again is about to be written.
    Retry {
        fault: Fault,
        delay_ms: u64,
    },
    /// The branches run.
    Join {
        current: Current,
        input: Datum,
    },
    /// Lanes below this one are being cancelled, then `then`.
    Cancel {
        rule: Rule,
        activation: String,
        then: Box<Phase>,
    },
    /// The branches are done; JOIN is about to be written.
    Joined {
        current: Current,
        input: Datum,
        /// The branch that decided, where one did.
        winner: Option<usize>,
    },
    /// JOIN is written; the fork's own step is about to complete.
    Absorbed {
        current: Current,
        input: Datum,
        output: Datum,
        context: Option<Datum>,
    },
    /// A timeout's decision is written.
    Expired {
        deadline: Deadline,
    },
    /// The branch has ended.
    Done(LaneEnd),
    Finish(Finish),
    Ended(Ended),
}

/// How a run is about to end.
#[derive(Clone, Debug)]
pub(super) enum Finish {
    Well,
    Faulted(Fault),
    Cancelled(Fault),
}

/// How a branch ended.
#[derive(Clone, Debug)]
pub(super) enum LaneEnd {
    Well,
    /// By `then: end`: the whole run ends.
    End,
    Faulted(Fault),
}

/// Why lanes are cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    /// Another branch won.
    Compete,
    /// Another branch failed.
    Fault,
    /// The enclosing step timed out.
    Timeout,
    /// The run ends.
    End,
}

impl Timed {
    /// What is timed: an activation, or nothing for the whole run.
    pub fn activation(&self) -> &str {
        match self {
            Timed::Workflow => "",
            Timed::Step { current, .. } => &current.activation,
            Timed::Attempt { activation } => activation,
        }
    }
}

impl Rule {
    pub const ALL: [Rule; 4] = [Rule::Compete, Rule::Fault, Rule::Timeout, Rule::End];

    pub fn name(self) -> &'static str {
        match self {
            Rule::Compete => "compete",
            Rule::Fault => "fault",
            Rule::Timeout => "timeout",
            Rule::End => "end",
        }
    }
}

/// A timer that runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timer {
    /// Number of its INTENT.
    pub seq: u64,
    pub duration_ms: u64,
    /// When it is due, in milliseconds of waiting since the run began.
    pub due_ms: u64,
}

/// A timeout that runs.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    pub timer: Timer,
    /// Enclosing blocks of what is timed.
    pub depth: usize,
    pub timed: Timed,
}

#[derive(Clone, Debug)]
pub(super) enum Timed {
    Workflow,
    Step {
        current: Current,
        input: Datum,
    },
    /// One attempt of the try whose block is the outermost within.
    Attempt {
        activation: String,
    },
}

/// One occurrence of one step.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub task: usize,
    pub visit: u64,
    pub activation: String,
    pub raw: Datum,
    pub now: Option<i64>,
    pub started: Option<i64>,
}

/// An enclosing block being executed.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// The step whose block it is; none for the lane's own.
    pub owner: Option<Current>,
    /// The owner's transformed input.
    pub input: Datum,
    /// Position of the next step in the block.
    pub at: usize,
    /// Visits of each step of the block so far.
    pub visits: Vec<u64>,
    pub doing: Doing,
}

/// What a block is there for.
#[derive(Clone, Debug)]
pub(super) enum Doing {
    /// Steps one after the other.
    Block,
    Loop {
        items: Arc<Vec<Val>>,
        index: u64,
    },
    /// A try's own steps.
    Try {
        attempt: u64,
        /// When the first attempt began, where a limit needs to know.
        since: Option<i64>,
        /// The context then.
        context: Datum,
    },
    /// A try's handler.
    Handler {
        error: Val,
    },
    Listen(Box<Listening>),
}

/// Where a listening step stands.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Listening {
    /// Events consumed, as they are read, and with `foreach` processed.
    pub heard: Vec<Val>,
    /// Which filters of `all` are met, and of `until: all`.
    pub met: Vec<bool>,
    pub until_met: Vec<bool>,
    /// Values that correlations expect because they were the first.
    pub expected: Vec<(String, Val)>,
    /// The event in hand, as it is read; none between events.
    pub item: Option<Val>,
    /// Number of the event in hand.
    pub index: u64,
    /// The event in hand is processed.
    pub processed: bool,
    /// No further event is needed.
    pub complete: bool,
}

impl State {
    pub fn new(input: Datum, budget: Option<u64>) -> State {
        let context =
            Datum::fresh(Value::from_val(&object(vec![])).expect("an empty object is canonical"));
        State {
            lanes: vec![Lane {
                id: 0,
                branch: None,
                levels: Vec::new(),
                plain: true,
                vars: Vec::new(),
                phase: Phase::Start,
                frames: Vec::new(),
                data: input.clone(),
                context,
                steps: 0,
                waited_ms: 0,
                budget,
                spent: 0,
                workflow_started: None,
                now: None,
                deadlines: Vec::new(),
            }],
            at: 0,
            turn: 0,
            input,
            suspended: false,
        }
    }

    /// The lane in hand.
    pub fn lane(&self) -> &Lane {
        &self.lanes[self.at]
    }

    /// The lane in hand.
    pub fn lane_mut(&mut self) -> &mut Lane {
        &mut self.lanes[self.at]
    }

    /// Whether the state is one that a run of `definition` can be in: what was read is never trusted to index anything.
    pub fn check(&self, definition: &Definition) -> Result<(), StateError> {
        let bad = |why: &str| StateError(why.into());
        let first = self
            .lanes
            .first()
            .is_some_and(|lane| lane.id == 0 && lane.branch.is_none());
        if !first || self.at >= self.lanes.len() || self.turn >= self.lanes.len() {
            return Err(bad("lanes that are none"));
        }
        for (number, lane) in self.lanes.iter().enumerate() {
            let branch = lane.branch.is_none_or(|branch| {
                definition
                    .tasks
                    .get(branch.task)
                    .is_some_and(|_| branch.number < definition.branches(branch.task).len())
                    && self.lanes[..number]
                        .iter()
                        .any(|known| known.id == branch.parent)
            });
            let known = self.lanes[..number].iter().any(|known| known.id == lane.id);
            if !branch || known || lane.branch.is_none() != (number == 0) {
                return Err(bad("a lane that no fork opened"));
            }
            lane.check(definition)?;
        }
        Ok(())
    }
}

impl Lane {
    /// The steps of the block of `frame`.
    pub fn block<'d>(&self, definition: &'d Definition, frame: &Frame) -> &'d [usize] {
        match (&frame.owner, self.branch) {
            (None, None) => &definition.root,
            (None, Some(branch)) => {
                &definition.branches(branch.task)[branch.number..=branch.number]
            }
            (Some(owner), _) => match frame.doing {
                Doing::Handler { .. } => definition.handler(owner.task),
                _ => definition.block(owner.task),
            },
        }
    }

    fn check(&self, definition: &Definition) -> Result<(), StateError> {
        let bad = |why: &str| StateError(why.into());
        let known = |current: &Current| {
            (current.task < definition.tasks.len() && current.visit < u64::MAX)
                .then_some(())
                .ok_or_else(|| bad("a step that the document does not have"))
        };
        for (depth, frame) in self.frames.iter().enumerate() {
            let doing = match &frame.owner {
                None => matches!(frame.doing, Doing::Block),
                Some(owner) => {
                    known(owner)?;
                    match (&definition.tasks[owner.task].kind, &frame.doing) {
                        (TaskKind::For { .. }, Doing::Loop { index, .. }) => *index < u64::MAX,
                        (TaskKind::Try { .. }, Doing::Try { attempt, .. }) => *attempt < u64::MAX,
                        (TaskKind::Try { .. }, Doing::Handler { .. }) => true,
                        (TaskKind::Listen(listen), Doing::Listen(listening)) => {
                            listening.index < u64::MAX
                                && listen.fits(&listening.met, &listening.until_met)
                        }
                        (TaskKind::Do(_) | TaskKind::Function { .. }, Doing::Block) => true,
                        _ => false,
                    }
                }
            };
            let block = self.block(definition, frame).len();
            let fits = frame.owner.is_none() == (depth == 0)
                && doing
                && frame.visits.len() == block
                && frame.at <= block
                && frame.visits.iter().all(|&visits| visits < u64::MAX);
            if !fits {
                return Err(bad("a block that is not as in the document"));
            }
        }
        for deadline in &self.deadlines {
            if let Timed::Step { current, .. } = &deadline.timed {
                known(current)?;
            }
            if deadline.depth > self.frames.len() {
                return Err(bad("a timeout of no block"));
            }
        }
        let mut phase = &self.phase;
        while let Phase::Clock { then, .. } | Phase::Cancel { then, .. } = phase {
            phase = then;
        }
        let top = self.frames.last();
        let doing = top.map(|frame| &frame.doing);
        let stands = match phase {
            Phase::Start | Phase::Prepare => self.frames.is_empty(),
            Phase::Finish(_) | Phase::Ended(_) | Phase::Done(_) | Phase::Unwind(_) => true,
            Phase::Next => !self.frames.is_empty(),
            Phase::Iterate => matches!(doing, Some(Doing::Loop { .. })),
            Phase::Listen | Phase::Heard => matches!(doing, Some(Doing::Listen(_))),
            Phase::Attempt | Phase::Caught(_) | Phase::Backoff { .. } | Phase::Retry { .. } => {
                matches!(doing, Some(Doing::Try { .. }))
            }
            Phase::Leave => top.is_some_and(|frame| frame.owner.is_some()),
            Phase::Expired { deadline } => {
                if let Timed::Step { current, .. } = &deadline.timed {
                    known(current)?;
                }
                deadline.depth <= self.frames.len()
            }
            Phase::Enter(current)
            | Phase::Begin { current, .. }
            | Phase::Timer { current, .. }
            | Phase::Effect { current, .. }
            | Phase::Answered { current, .. }
            | Phase::Join { current, .. }
            | Phase::Joined { current, .. }
            | Phase::Absorbed { current, .. } => {
                known(current)?;
                !self.frames.is_empty()
            }
            Phase::Clock { .. } | Phase::Cancel { .. } => false,
        };
        (stands && self.steps < u64::MAX)
            .then_some(())
            .ok_or_else(|| bad("a phase that does not fit its blocks"))
    }
}
