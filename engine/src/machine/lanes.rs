//! Lanes: whose turn it is, what they wait for, how forks open them and joins close them.

use super::scope::canonical;
use super::state::{Branch, Current, Doing, Finish, Frame, Lane, LaneEnd, Phase, Rule, State};
use super::step::Done;
use super::{Answer, Control, Given, Machine, Wait, Waiting};
use crate::chain::{Datum, Emission};
use crate::fault::{Code, Fault};
use crate::value::Val;
use crate::workflow::TaskKind;
use aos_format::event::{Decision, Event, Fork, Join, Signal};
use aos_format::frame::Kind;

impl Machine {
    /// One lane's turn: up to one event, or until the lane waits.
    pub(super) fn turn(&mut self, out: &mut Vec<Emission>) {
        let count = self.state.lanes.len();
        let next = (0..count)
            .map(|step| (self.state.turn + step) % count)
            .find(|&at| self.can_go(&self.state.lanes[at]));
        let Some(at) = next else { return };
        self.in_hand(at);
        loop {
            if let Some(emission) = self.transition() {
                out.push(emission);
                break;
            }
            if !self.can_go(self.state.lane()) {
                break;
            }
        }
        self.state.turn = (self.state.at + 1) % self.state.lanes.len();
    }

    fn in_hand(&mut self, at: usize) {
        self.state.at = at;
        self.chain.take(self.state.lanes[at].id);
    }

    /// Whether a lane can go on without an answer.
    pub(super) fn can_go(&self, lane: &Lane) -> bool {
        // What is being cancelled goes no further.
        let mut above = lane.branch;
        while let Some(branch) = above {
            let mut lanes = self.state.lanes.iter();
            match lanes.find(|known| known.id == branch.parent) {
                Some(parent) if matches!(parent.phase, Phase::Cancel { .. }) => return false,
                parent => above = parent.and_then(|parent| parent.branch),
            }
        }
        match &lane.phase {
            Phase::Clock { .. }
            | Phase::Timer { .. }
            | Phase::Effect { .. }
            | Phase::Backoff { .. }
            | Phase::Listen
            | Phase::Done(_)
            | Phase::Ended(_) => false,
            Phase::Join { current, .. } => self.decided(lane, current.task).is_some(),
            _ => true,
        }
    }

    /// Everything that can be answered now.
    pub(super) fn waits(&self) -> Vec<Wait> {
        let mut waits = Vec::new();
        for lane in &self.state.lanes {
            let mut wait = |seq, what| {
                waits.push(Wait {
                    lane: lane.id,
                    seq,
                    what,
                });
            };
            let timer = |timer: &super::state::Timer, expires| Waiting::Timer {
                duration_ms: timer.duration_ms,
                due_ms: timer.due_ms,
                expires,
            };
            match &lane.phase {
                Phase::Effect { need, seq, .. } => wait(*seq, Waiting::Effect(need.clone())),
                _ if self.state.suspended => {}
                Phase::Clock { subject, .. } => wait(0, Waiting::Clock(*subject)),
                Phase::Timer { timer: due, .. } | Phase::Backoff { timer: due, .. } => {
                    wait(due.seq, timer(due, None));
                }
                Phase::Listen => wait(
                    0,
                    Waiting::Event {
                        activation: self.owner_activation(lane),
                    },
                ),
                _ => {}
            }
            // A clock is read at once: nothing can expire before.
            if !self.state.suspended && !matches!(lane.phase, Phase::Clock { .. } | Phase::Done(_))
            {
                for deadline in &lane.deadlines {
                    let expires = deadline.timed.activation().to_owned();
                    wait(deadline.timer.seq, timer(&deadline.timer, Some(expires)));
                }
            }
        }
        if self.state.suspended {
            waits.push(Wait {
                lane: 0,
                seq: 0,
                what: Waiting::Resumption,
            });
        }
        waits
    }

    fn owner_activation(&self, lane: &Lane) -> String {
        let owner = lane.frames.last().and_then(|frame| frame.owner.as_ref());
        owner
            .map(|owner| owner.activation.clone())
            .unwrap_or_default()
    }

    /// Takes an answer to one of the waits.
    pub(super) fn take_answer(&mut self, given: Given) -> Option<Emission> {
        let answer = match given.answer {
            Answer::Control(control, actor) => return self.steer(control, actor),
            answer => answer,
        };
        let fits = |wait: &&Wait| {
            given.lane.is_none_or(|lane| lane == wait.lane)
                && given.seq.is_none_or(|seq| seq == wait.seq)
                && match (&wait.what, &answer) {
                    (Waiting::Clock(_), Answer::Clock(_))
                    | (Waiting::Timer { .. }, Answer::Fired)
                    | (Waiting::Effect(_), Answer::Effect(_) | Answer::Resolved(_)) => true,
                    (Waiting::Event { .. }, Answer::Event { event, .. }) => {
                        self.accepts(wait.lane, event)
                    }
                    _ => false,
                }
        };
        assert!(self.need().is_some(), "an answer while lanes can go on");
        let waits = self.waits();
        let Some(wait) = waits.iter().find(fits) else {
            panic!("an answer nobody asked for: {answer:?}")
        };
        let at = self
            .state
            .lanes
            .iter()
            .position(|lane| lane.id == wait.lane);
        self.in_hand(at.expect("a wait is of a lane"));
        let emission = match (&wait.what, answer) {
            (Waiting::Timer { .. }, Answer::Fired) => self.fired(wait.seq),
            (Waiting::Event { .. }, Answer::Event { event, actor }) => {
                Some(self.signalled(&event, actor))
            }
            (_, answer) => self.answered(answer),
        };
        self.state.turn = (self.state.at + 1) % self.state.lanes.len();
        emission
    }

    fn answered(&mut self, answer: Answer) -> Option<Emission> {
        let phase = std::mem::replace(&mut self.state.lane_mut().phase, Phase::Next);
        match (phase, answer) {
            (Phase::Clock { subject, then }, Answer::Clock(ns)) => {
                Some(self.clock_read(subject, *then, ns))
            }
            (
                Phase::Effect {
                    current,
                    input,
                    need,
                    seq,
                },
                answer,
            ) => Some(self.effect_answered(current, input, need, seq, answer)),
            (_, answer) => unreachable!("an answer was matched with its wait: {answer:?}"),
        }
    }

    /// Takes down who steers the run, and steers it.
    fn steer(&mut self, control: Control, actor: String) -> Option<Emission> {
        if self.ended().is_some() {
            return None;
        }
        self.in_hand(0);
        let event = Event::Signal(Signal {
            activation: String::new(),
            source: "aos".into(),
            id: String::new(),
            signal_type: control.signal_type().into(),
            data: None,
            actor: actor.clone(),
        });
        match control {
            Control::Suspend => self.state.suspended = true,
            Control::Resume => self.state.suspended = false,
            Control::Cancel => {
                self.state.suspended = false;
                let who = if actor.is_empty() { "somebody" } else { &actor };
                let fault = Fault::new(Code::Cancelled, format!("cancelled by {who}")).at("/");
                self.end_run(Finish::Cancelled(fault));
            }
        }
        let naming = self.chain.naming(Kind::Signal);
        Some(self.chain.emit(naming, &event, Vec::new()))
    }

    /// Lane 0 is about to end the run, whatever it and the lanes below it are doing.
    pub(super) fn end_run(&mut self, finish: Finish) {
        let lane = &mut self.state.lanes[0];
        lane.deadlines.clear();
        lane.phase = Phase::Cancel {
            rule: Rule::End,
            activation: String::new(),
            then: Box::new(Phase::Finish(finish)),
        };
    }

    /// FORK: a lane for each branch.
    pub(super) fn fork(&mut self, current: Current, input: Datum) -> Emission {
        let definition = self.definition.clone();
        let branches = definition.branches(current.task).len();
        let lanes = self.chain.lane_ids(branches);
        let event = Event::Fork(Fork {
            activation: current.activation.clone(),
            lanes: lanes.clone(),
        });
        let naming = self.chain.naming(Kind::Fork);
        let emission = self.chain.emit(naming, &event, Vec::new());
        self.chain.open(&lanes);
        let parent = self.state.lane();
        let (mut levels, mut plain) = self.levels(parent);
        levels.push(current.visit.to_string());
        plain &= current.visit == 1;
        let vars = self.variables_of(parent);
        let share = parent.share(branches);
        let block = |number: usize, id: u64| {
            // A value that no record has yet is named by each lane for itself: another lane must not be the first to.
            let own = |datum: &Datum| match datum.place() {
                Some(_) => datum.clone(),
                None => Datum::fresh(datum.value().clone()),
            };
            let data = own(&input);
            Lane {
                id,
                branch: Some(Branch {
                    parent: parent.id,
                    task: current.task,
                    number,
                }),
                levels: levels.clone(),
                plain,
                vars: vars.clone(),
                phase: Phase::Next,
                frames: vec![Frame {
                    owner: None,
                    input: data.clone(),
                    at: 0,
                    visits: vec![0],
                    doing: Doing::Block,
                }],
                data,
                context: own(&parent.context),
                steps: 0,
                waited_ms: parent.waited_ms,
                budget: share,
                spent: 0,
                workflow_started: parent.workflow_started,
                now: None,
                deadlines: Vec::new(),
            }
        };
        let opened: Vec<Lane> = (0..).zip(lanes).map(|(n, id)| block(n, id)).collect();
        let at = self.state.at;
        self.state.lanes.splice(at + 1..at + 1, opened);
        self.state.lane_mut().phase = Phase::Join { current, input };
        emission
    }

    /// Whether the branches of the fork that `lane` waits for decide how it goes on; the branch that does, where one does.
    fn decided(&self, lane: &Lane, task: usize) -> Option<Option<usize>> {
        let compete = matches!(
            self.definition.tasks[task].kind,
            TaskKind::Fork { compete: true, .. }
        );
        let mut running = false;
        let mut first = None;
        for (branch, end) in self.state.branches(lane.id) {
            match end {
                None => running = true,
                Some(LaneEnd::Faulted(_) | LaneEnd::End) => return Some(Some(branch)),
                Some(LaneEnd::Well) => first = first.or(Some(branch)),
            }
        }
        match first {
            Some(winner) if compete => Some(Some(winner)),
            _ if running => None,
            _ => Some(None),
        }
    }

    pub(super) fn join(&mut self, current: Current, input: Datum) -> Option<Emission> {
        let winner = self
            .decided(self.state.lane(), current.task)
            .expect("a join goes on only when it is decided");
        let activation = current.activation.clone();
        let faulted = winner.is_some_and(|winner| {
            let mut ends = self.state.branches(self.state.lane().id);
            ends.any(|(branch, end)| branch == winner && matches!(end, Some(LaneEnd::Faulted(_))))
        });
        let then = Box::new(Phase::Joined {
            current,
            input,
            winner,
        });
        self.state.lane_mut().phase = Phase::Cancel {
            rule: if faulted { Rule::Fault } else { Rule::Compete },
            activation,
            then,
        };
        None
    }

    /// Ends the last lane below this one that still runs, with a DECISION in it; goes on when none does.
    pub(super) fn cancel(
        &mut self,
        rule: Rule,
        activation: String,
        then: Box<Phase>,
    ) -> Option<Emission> {
        let at = self.state.at;
        // What was decided between branches leaves those that have ended to the join; what ends the whole leaves nothing.
        let keep = matches!(*then, Phase::Joined { .. });
        let below = self.state.below(at);
        let own = self.state.lane().id;
        let running = below.rev().find(|&n| {
            let lane = &self.state.lanes[n];
            let direct = lane.branch.is_some_and(|branch| branch.parent == own);
            !(keep && direct && matches!(lane.phase, Phase::Done(_)))
        });
        let Some(running) = running else {
            self.state.lane_mut().phase = *then;
            return None;
        };
        let lane = self.state.lanes.remove(running);
        if lane.branch.is_some_and(|branch| branch.parent == own) {
            self.state.lane_mut().forfeit(&lane);
        }
        self.state.lane_mut().phase = Phase::Cancel {
            rule,
            activation: activation.clone(),
            then,
        };
        let event = Event::Decision(Decision {
            activation,
            subject: "lane".into(),
            rule: rule.name().into(),
            rule_version: 1,
            inputs: None,
            verdict: "cancelled".into(),
            value: None,
            actor: String::new(),
            key_id: String::new(),
        });
        self.chain.take(lane.id);
        let naming = self.chain.naming(Kind::Decision);
        let emission = self.chain.emit(naming, &event, Vec::new());
        self.chain.take(own);
        self.chain.close(lane.id);
        Some(emission)
    }

    /// JOIN: absorbs the branches, or the one that decided.
    pub(super) fn joined(
        &mut self,
        current: Current,
        input: Datum,
        winner: Option<usize>,
    ) -> Emission {
        let at = self.state.at;
        let own = self.state.lane().id;
        let below: Vec<usize> = self.state.below(at).collect();
        let lanes: Vec<Lane> = match (below.first(), below.last()) {
            (Some(&first), Some(&last)) => self.state.lanes.drain(first..=last).collect(),
            _ => Vec::new(),
        };
        let number = |lane: &Lane| lane.branch.map(|branch| branch.number);
        let absorbed = |lane: &&Lane| winner.is_none() || number(lane) == winner;
        let heads: Vec<_> = lanes
            .iter()
            .filter(absorbed)
            .filter_map(|lane| self.chain.lanes().iter().find(|head| head.lane == lane.id))
            .map(|head| head.digest)
            .collect();
        let event = Event::Join(Join {
            activation: current.activation.clone(),
            digests: heads,
            winner: winner.map(|winner| winner as u64),
        });
        let naming = self.chain.naming(Kind::Join);
        let emission = self.chain.emit(naming, &event, Vec::new());
        for lane in &lanes {
            self.chain.close(lane.id);
        }
        debug_assert_eq!(self.state.lane().id, own);
        self.absorb(current, input, winner, &lanes);
        emission
    }

    fn absorb(&mut self, current: Current, input: Datum, winner: Option<usize>, lanes: &[Lane]) {
        let number = |lane: &Lane| lane.branch.map(|branch| branch.number);
        let taken: Vec<&Lane> = lanes
            .iter()
            .filter(|lane| winner.is_none() || number(lane) == winner)
            .collect();
        let parent = self.state.lane_mut();
        for lane in &taken {
            parent.steps = parent.steps.saturating_add(lane.steps);
            parent.waited_ms = parent.waited_ms.max(lane.waited_ms);
            parent.spent = parent.spent.saturating_add(lane.spent);
        }
        for lane in lanes {
            if !taken.iter().any(|one| one.id == lane.id) {
                parent.forfeit(lane);
            }
        }
        let base = parent.context.clone();
        match taken.iter().find_map(|lane| match &lane.phase {
            Phase::Done(end @ (LaneEnd::Faulted(_) | LaneEnd::End)) => Some((end, *lane)),
            _ => None,
        }) {
            Some((LaneEnd::Faulted(fault), _)) => parent.phase = Phase::Unwind(fault.clone()),
            Some((_, lane)) => {
                parent.data = lane.data.clone();
                parent.context = lane.context.clone();
                match parent.branch {
                    None => parent.phase = Phase::Finish(Finish::Well),
                    Some(_) => parent.phase = Phase::Done(LaneEnd::End),
                }
            }
            None => {
                let output = match (winner, taken.first()) {
                    (Some(_), Some(lane)) => Ok(lane.data.clone()),
                    _ => {
                        let outputs = taken.iter().map(|lane| lane.data.value().val().clone());
                        canonical(&outputs.collect()).map(Datum::fresh)
                    }
                };
                let context = merged(&base, taken.iter().map(|lane| &lane.context));
                parent.phase = match output.and_then(|output| Ok((output, context?))) {
                    Ok((output, context)) => Phase::Absorbed {
                        current,
                        input,
                        output,
                        context,
                    },
                    Err(fault) => {
                        Phase::Unwind(fault.at(&self.definition.tasks[current.task].reference))
                    }
                };
            }
        }
    }

    pub(super) fn absorbed(
        &mut self,
        current: Current,
        input: Datum,
        output: Datum,
        context: Option<Datum>,
    ) -> Option<Emission> {
        if let Some(context) = &context
            && let Err(fault) = self.fits(&[context, &output])
        {
            return self.fault(current, Some(input), fault);
        }
        let before = self.state.lane().context.clone();
        if let Some(context) = &context {
            self.state.lane_mut().context = context.clone();
        }
        let done = Done {
            context,
            ..Done::plain(input, output)
        };
        let emission = self.complete(current, done);
        // A step that failed after its branches did not: their exports are not taken over.
        if matches!(self.state.lane().phase, Phase::Unwind(_)) {
            self.state.lane_mut().context = before;
        }
        emission
    }

    /// Levels that an enclosed lane's activations begin with, and whether they say nothing.
    pub(super) fn levels(&self, lane: &Lane) -> (Vec<String>, bool) {
        let mut levels = lane.levels.clone();
        let mut plain = lane.plain;
        for frame in &lane.frames {
            let Some(owner) = &frame.owner else { continue };
            let mut level = owner.visit.to_string();
            plain &= owner.visit == 1;
            match &frame.doing {
                Doing::Block | Doing::Handler { .. } => {}
                Doing::Loop { index, .. } => {
                    level.push_str(&format!(".{index}"));
                    plain = false;
                }
                Doing::Listen(listening) => {
                    level.push_str(&format!(".{}", listening.index));
                    plain = false;
                }
                Doing::Try { attempt, .. } => {
                    if self.retries(owner.task) {
                        level.push_str(&format!("r{attempt}"));
                        plain = false;
                    }
                }
            }
            levels.push(level);
        }
        (levels, plain)
    }
}

impl State {
    /// Positions of the lanes below the one at `at`.
    fn below(&self, at: usize) -> std::ops::Range<usize> {
        let mut ids = vec![self.lanes[at].id];
        let mut end = at + 1;
        while let Some(branch) = self.lanes.get(end).and_then(|lane| lane.branch)
            && ids.contains(&branch.parent)
        {
            ids.push(self.lanes[end].id);
            end += 1;
        }
        at + 1..end
    }

    /// Branches of `parent` with how they ended, in definition order.
    fn branches(&self, parent: u64) -> impl Iterator<Item = (usize, Option<&LaneEnd>)> {
        self.lanes.iter().filter_map(move |lane| {
            let branch = lane.branch.filter(|branch| branch.parent == parent)?;
            let end = match &lane.phase {
                Phase::Done(end) => Some(end),
                _ => None,
            };
            Some((branch.number, end))
        })
    }
}

/// The context after a join: what branches changed, taken over in definition order, property by property; none where no
/// branch changed it.
fn merged<'l>(
    base: &Datum,
    contexts: impl Iterator<Item = &'l Datum>,
) -> Result<Option<Datum>, Fault> {
    let changed: Vec<&Datum> = contexts
        .filter(|context| context.value() != base.value())
        .collect();
    let (Some(first), several) = (changed.first(), changed.len() > 1) else {
        return Ok(None);
    };
    if !several {
        return Ok(Some((*first).clone()));
    }
    let mut merged = base.value().val().clone();
    for context in changed {
        merged = match (&merged, base.value().val(), context.value().val()) {
            (Val::Obj(merged), Val::Obj(before), Val::Obj(after)) => {
                let changed = |key: &Val| after.get(key) != before.get(key);
                let kept = merged.iter().filter(|(key, _)| !changed(key));
                let taken = after.iter().filter(|(key, _)| changed(key));
                let members = kept.chain(taken);
                Val::obj(members.map(|(k, v)| (k.clone(), v.clone())).collect())
            }
            (_, _, after) => after.clone(),
        };
    }
    canonical(&merged).map(|value| Some(Datum::fresh(value)))
}
