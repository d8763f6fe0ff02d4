//! Root causes: rules in a fixed order, and an experiment for each.
//!
//! The work goes round: derive the first history again, find where it parts from the second, let the rules say what could
//! be behind it, exchange that one thing, derive again. Where the difference is gone the cause is confirmed, and the
//! derived history takes the place of the first for the next round.

use super::compare::{Compared, refer};
use super::event::{NormEvent, Stock, key, same};
use super::locate::Track;
use super::report::{Cause, Class, Experiment, FieldDiff, Pair, Report, Status};
use super::rerun::{Answers, Derived, Kitchen, Recipe, Resume, Stopped, graft_of, kitchen};
use super::rules;
use super::start;
use super::{Options, Shelves};
use crate::error::Error;
use aos_format::frame::Kind;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// Rounds before the rest is left unexplained.
const ROUNDS_MAX: usize = 8;
/// Steps whose recorded result is taken because they cannot be derived again.
const GRAFTS_MAX: usize = 64;

/// One thing to try: what could be behind a difference, and what to exchange.
pub(crate) struct Try {
    pub class: Class,
    pub rule: &'static str,
    pub subject: String,
    pub evidence: Vec<String>,
    pub exchanged: String,
    pub how: How,
    pub benign: bool,
}

/// How an experiment exchanges something.
pub(crate) enum How {
    /// Derive the history again from this.
    Recipe(Box<Recipe>),
    /// The same with what a step gives taken from the second side; `kind` names the experiment that led there.
    After(Box<Recipe>, &'static str),
    /// Change the histories themselves, first and second.
    Relink(Vec<NormEvent>, Vec<NormEvent>),
    /// The first history was derived already.
    Derived(Vec<NormEvent>, &'static str),
    /// Nothing can be tried, for want of this.
    Missing(String),
}

/// A pair of runs under investigation.
pub(crate) struct Case<'c, 'a, 'i> {
    pub compared: &'c Compared<'a, 'i>,
    pub options: &'c Options<'c>,
    /// What each side is made from.
    pub kitchens: [Kitchen; 2],
    /// What the first history is derived from, as far as things were exchanged.
    pub recipe: Option<Recipe>,
    /// The first history, as far as things were exchanged.
    pub base: Vec<NormEvent>,
    /// The second history.
    pub target: Vec<NormEvent>,
    /// Which of the events read of each side these are.
    pub windows: [Range<usize>; 2],
    /// Fields of START that were explained without deriving anything.
    pub overlay: BTreeSet<&'static str>,
    /// Whether each side's own history can be derived again; none before it was tried.
    pub reproducible: [Option<bool>; 2],
    /// Evidence about sides that cannot.
    pub notes: Vec<String>,
    pub derived: u64,
    pub experiments: u64,
}

/// Looks for the causes of what differs and adds them to the report.
///
/// # Errors
/// [`Error::Store`] when a disk fails.
pub(crate) fn causes(
    compared: &Compared<'_, '_>,
    report: &mut Report,
    shelves: &Shelves,
    options: &Options<'_>,
) -> Result<(), Error> {
    let windows = [window(compared, 0), window(compared, 1)];
    let kitchens = [
        cook(compared, 0, &windows, shelves, options)?,
        cook(compared, 1, &windows, shelves, options)?,
    ];
    let events = |side: usize| compared.halves[side].events[windows[side].clone()].to_vec();
    let mut case = Case {
        compared,
        options,
        recipe: kitchens[0].recipe.clone().ok(),
        kitchens,
        base: events(0),
        target: events(1),
        windows,
        overlay: BTreeSet::new(),
        reproducible: [None, None],
        notes: Vec::new(),
        derived: 0,
        experiments: 0,
    };
    let mut causes = case.start_level(report)?;
    case.rounds(&mut causes)?;
    let state = report.first.state.is_some();
    for cause in &mut causes {
        cause.benign |= !state;
    }
    report.cost.derived = case.derived;
    report.cost.experiments = case.experiments;
    report.causes = causes;
    Ok(())
}

/// The events of a side that experiments have to give: from START, or from the checkpoint on, or from the difference where
/// nothing can be derived; as far as they were read.
fn window(compared: &Compared<'_, '_>, side: usize) -> Range<usize> {
    let first = [compared.first.0, compared.first.1][side];
    let from = match &compared.foothold {
        _ if rooted(compared) => 0,
        Some(foothold) => foothold.at[side].min(first),
        None => first,
    };
    from..compared.halves[side].events.len()
}

/// Whether both histories were read from their STARTs.
fn rooted(compared: &Compared<'_, '_>) -> bool {
    compared.halves.iter().all(|half| half.from == 1)
}

/// Gathers what a side is made again from.
fn cook(
    compared: &Compared<'_, '_>,
    side: usize,
    windows: &[Range<usize>; 2],
    shelves: &Shelves,
    options: &Options<'_>,
) -> Result<Kitchen, Error> {
    let half = &compared.halves[side];
    let input = compared.inputs[side];
    let events = &half.events[windows[side].clone()];
    let start = NormEvent::read(input, &half.start, &mut Stock::new())?;
    let derivable = rooted(compared) || compared.foothold.is_some();
    let first = start.as_ref().filter(|_| derivable);
    let skills = &options.skills;
    let mut kitchen = kitchen(input, &half.start, first, events, &shelves[side], skills)?;
    let foothold = compared.foothold.as_ref().filter(|_| !rooted(compared));
    if let (Some(foothold), Ok(recipe)) = (foothold, &mut kitchen.recipe) {
        let own = &compared.halves[foothold.side];
        let mut track = Track::new(compared.inputs[foothold.side], own.at);
        let before = &own.events[foothold.at[foothold.side] - 1];
        match Resume::read(recipe, &mut track, &foothold.record, before)? {
            Some(resume) => recipe.resume = Some(Arc::new(resume)),
            None => {
                kitchen.recipe = Err(format!(
                    "a build that reads the checkpoint at offset {}",
                    foothold.record.offset()
                ));
            }
        }
    }
    Ok(kitchen)
}

impl Case<'_, '_, '_> {
    /// Whether two events of the histories at hand are equal.
    pub fn equal(&self, a: &NormEvent, b: &NormEvent) -> bool {
        key(a) == key(b) && (same(a, b, self.compared.lens) || self.differences(a, b).is_empty())
    }

    /// What differs between two events and counts.
    pub fn differences(&self, a: &NormEvent, b: &NormEvent) -> Vec<FieldDiff> {
        let mut diffs = self.compared.diff(a, b).diffs;
        diffs.retain(|diff| {
            let explained = a.kind == Kind::Start && self.overlay.contains(diff.path.as_str());
            !diff.volatile && !explained
        });
        diffs
    }

    /// Where a history parts from the second side; none where it does not. A side that is still open is a prefix.
    pub fn parts(&self, history: &[NormEvent], target: &[NormEvent]) -> Option<usize> {
        let shared = history.len().min(target.len());
        let differs = (0..shared).find(|&at| !self.equal(&history[at], &target[at]));
        if differs.is_some() || history.len() == target.len() {
            return differs;
        }
        let open = |events: &[NormEvent]| events.last().is_none_or(|last| last.kind != Kind::End);
        let shorter = if history.len() < target.len() {
            history
        } else {
            target
        };
        (!open(shorter)).then_some(shared)
    }

    /// Derives a history and counts it.
    pub fn derive(&mut self, recipe: &Recipe) -> Derived {
        let limit = self.base.len().max(self.target.len()) + 1_000;
        let derived = recipe.run(limit);
        self.experiments += 1;
        self.derived += derived.events.len() as u64;
        derived
    }

    /// Makes the recipe of a side derive that side's own history: steps that give something else today are taken from the
    /// record. Says whether it does without.
    pub fn control(&mut self, side: usize) -> bool {
        if let Some(known) = self.reproducible[side] {
            return known;
        }
        let recorded = self.recorded(side).to_vec();
        let Ok(mut recipe) = self.kitchens[side].recipe.clone() else {
            self.reproducible[side] = Some(false);
            return false;
        };
        let mut own = true;
        let mut sound = false;
        for _ in 0..GRAFTS_MAX {
            let derived = self.derive(&recipe);
            let Some(at) = self.parts(&derived.events, &recorded) else {
                sound = true;
                break;
            };
            let (Some(made), Some(record)) = (derived.events.get(at), recorded.get(at)) else {
                break;
            };
            own = false;
            let activation = record.activation();
            let graft = (key(made) == key(record))
                .then(|| graft_of(record))
                .flatten();
            let Some(graft) = graft.filter(|_| !recipe.substitutes.contains_key(&activation))
            else {
                break;
            };
            recipe.substitutes.insert(activation, graft);
        }
        if !sound {
            let name = ["first", "second"][side];
            self.notes.push(format!(
                "the {name} history cannot be derived again from what it is said to follow from"
            ));
        }
        self.kitchens[side].recipe = if sound {
            Ok(recipe)
        } else {
            Err(format!(
                "the code that made the {} history: it does not follow from the document and skills at hand",
                ["first", "second"][side]
            ))
        };
        self.reproducible[side] = Some(own);
        own
    }

    /// The differences at START.
    fn start_level(&mut self, report: &Report) -> Result<Vec<Cause>, Error> {
        let both = self.base.first().zip(self.target.first());
        let Some((a, b)) = both.filter(|(a, b)| a.kind == Kind::Start && b.kind == Kind::Start)
        else {
            if self.recipe.is_some() {
                self.control(0);
                self.recipe = self.kitchens[0].recipe.clone().ok();
            }
            return Ok(Vec::new());
        };
        if self.equal(a, b) {
            self.control(0);
            self.recipe = self.kitchens[0].recipe.clone().ok();
            return Ok(Vec::new());
        }
        self.control(0);
        self.recipe = self.kitchens[0].recipe.clone().ok();
        let place = refer(self.base.first(), self.target.first());
        let parts = start::parts(self);
        let mut causes: Vec<Cause> = Vec::new();
        let mut exchanged = self.recipe.clone();
        let mut derives = false;
        for part in &parts {
            let mut cause = part.cause(&place);
            match (&part.exchange, &mut exchanged) {
                (start::Exchange::Overlay(fields), _) => self.overlay.extend(fields),
                (start::Exchange::Recipe(change), Some(recipe)) => {
                    change(recipe);
                    derives = true;
                }
                (start::Exchange::Recipe(_), None) => {
                    let why = self.kitchens[0].recipe.as_ref().err();
                    cause.missing.extend(why.cloned());
                }
                (start::Exchange::Missing(why), _) => {
                    cause.missing.push(why.clone());
                    exchanged = None;
                }
            }
            causes.push(cause);
        }
        let kind = if derives { "re-execute" } else { "relink" };
        if let Some(recipe) = exchanged.filter(|_| derives) {
            let derived = self.derive(&recipe);
            self.base = derived.events;
            self.recipe = Some(recipe);
        } else if derives || parts.iter().any(|part| part.needs_code()) {
            self.recipe = None;
        }
        let next = self.parts(&self.base, &self.target);
        let count = self.base.len() as u64;
        let explained = self.recipe.is_some() || !parts.iter().any(|part| part.needs_code());
        // All of them stand in START itself, so only together do they give the second side's. The experiment says so.
        let together: Vec<&str> = parts.iter().map(|part| &*part.exchanged).collect();
        let together = together.join(", together with ");
        for cause in &mut causes {
            if cause.missing.is_empty() && explained {
                cause.experiment = Some(self.experiment(kind, &together, count, next));
            }
        }
        self.settle_start(report, &mut causes, next);
        Ok(causes)
    }

    /// What START's causes are worth, `next` being where the derived history and the second side part now.
    fn settle_start(&self, report: &Report, causes: &mut [Cause], next: Option<usize>) {
        let first_state = report.first.state.as_ref().and_then(|pair| pair.b.as_ref());
        let reached = match (next, first_state) {
            (None, _) => true,
            (Some(next), Some(state)) => {
                next > 0 && self.target.get(next).is_some_and(|at| at.seq > state.seq)
            }
            (Some(_), None) => false,
        };
        for cause in causes.iter_mut().filter(|cause| cause.experiment.is_some()) {
            if reached {
                cause.status = Status::Confirmed;
            }
        }
    }

    fn experiment(
        &self,
        kind: &str,
        exchanged: &str,
        events: u64,
        next: Option<usize>,
    ) -> Experiment {
        let digest_equal = self.compared.lens.same_run
            && next.is_none()
            && self.base.last().map(|e| e.digest) == self.target.last().map(|e| e.digest);
        let cut = self.compared.halves.iter().any(|half| half.cut);
        let outcome = match next {
            None if cut => format!(
                "gives the second history as far as it was read, up to event {}",
                self.target.last().map_or(0, |event| event.lane_seq)
            ),
            None if digest_equal => "gives the second history, byte for byte".into(),
            None => "gives the second history".into(),
            Some(0) => "the histories still part at START".into(),
            Some(at) => match self.target.get(at).or(self.base.get(at)) {
                Some(event) => format!(
                    "the difference is gone; the next is at {} {}, event {}",
                    event.kind.name(),
                    event.activation(),
                    event.lane_seq
                ),
                None => "the difference is gone; the next is at the end".into(),
            },
        };
        Experiment {
            kind: kind.into(),
            exchanged: exchanged.into(),
            outcome,
            events,
            next: next.map(|at| self.place(at)),
            digest_equal,
        }
    }

    fn place(&self, at: usize) -> Pair {
        refer(self.base.get(at), self.target.get(at))
    }

    /// Explains one difference after another.
    fn rounds(&mut self, causes: &mut Vec<Cause>) -> Result<(), Error> {
        let start_causes = causes.len();
        // Where START could not be exchanged, nothing behind it can be told apart.
        if self.parts(&self.base, &self.target) == Some(0) && start_causes > 0 {
            return Ok(());
        }
        for _ in 0..ROUNDS_MAX {
            let Some(at) = self.parts(&self.base, &self.target) else {
                self.upgrade(causes, start_causes, None);
                return Ok(());
            };
            let confirmed = self.round(at, causes)?;
            if !confirmed {
                self.upgrade(causes, start_causes, Some(at));
                return Ok(());
            }
        }
        let left = self.parts(&self.base, &self.target);
        self.upgrade(causes, start_causes, left);
        Ok(())
    }

    /// START's causes are confirmed when in the end nothing differs, and stay what they are otherwise.
    fn upgrade(&self, causes: &mut [Cause], start_causes: usize, left: Option<usize>) {
        let mut before = causes[..start_causes].iter_mut();
        match left {
            None => before
                .filter(|cause| cause.experiment.is_some())
                .for_each(|cause| cause.status = Status::Confirmed),
            Some(_) => {
                let next = "what the rest of the difference comes from";
                before
                    .by_ref()
                    .filter(|cause| cause.status == Status::Consistent)
                    .for_each(|cause| cause.missing.push(next.into()));
            }
        }
    }

    /// One round: explains the difference at `at`. Says whether it was confirmed.
    fn round(&mut self, at: usize, causes: &mut Vec<Cause>) -> Result<bool, Error> {
        let place = self.place(at);
        let tries = rules::tries(self, at)?;
        let mut best: Option<Cause> = None;
        for attempt in tries {
            let mut cause = Cause {
                class: attempt.class,
                status: Status::Consistent,
                rule: attempt.rule.into(),
                place: Some(place.clone()),
                subject: attempt.subject,
                evidence: attempt.evidence,
                experiment: None,
                missing: Vec::new(),
                benign: attempt.benign,
            };
            let mut lacks = None;
            let (kind, recipe, base, target) = match attempt.how {
                How::Missing(why) => {
                    cause.missing.push(why);
                    best.get_or_insert(cause);
                    continue;
                }
                How::Relink(base, target) => {
                    self.experiments += 1;
                    ("relink", self.recipe.clone(), base, target)
                }
                How::Derived(base, kind) => (kind, None, base, self.target.clone()),
                How::Recipe(recipe) => {
                    let derived = self.derive(&recipe);
                    if let Stopped::Needs(key) = &derived.stopped {
                        lacks = Some(format!("an answer that nobody recorded: {key}"));
                    }
                    (
                        "re-execute",
                        Some(*recipe),
                        derived.events,
                        self.target.clone(),
                    )
                }
                How::After(recipe, kind) => {
                    let derived = self.derive(&recipe);
                    (kind, Some(*recipe), derived.events, self.target.clone())
                }
            };
            let next = self.parts(&base, &target);
            if next.is_none_or(|next| next > at) {
                let count = base.len() as u64;
                self.base = base;
                self.target = target;
                self.recipe = recipe;
                cause.experiment = Some(self.experiment(kind, &attempt.exchanged, count, next));
                if cause.class != Class::Unknown {
                    cause.status = Status::Confirmed;
                } else {
                    cause.status = Status::Unknown;
                }
                cause.evidence.append(&mut self.notes);
                causes.push(cause);
                return Ok(true);
            }
            cause.missing.extend(lacks);
            cause.missing.push(format!(
                "an experiment that settles it: {} with {} did not remove the difference",
                kind, attempt.exchanged
            ));
            best.get_or_insert(cause);
        }
        let mut cause = best.unwrap_or_else(|| self.unknown(place));
        cause.evidence.append(&mut self.notes);
        if cause.missing.is_empty() {
            let why = self.kitchens.iter().find_map(|k| k.recipe.as_ref().err());
            cause.missing.extend(why.cloned());
        }
        causes.push(cause);
        Ok(false)
    }

    fn unknown(&self, place: Pair) -> Cause {
        Cause {
            class: Class::Unknown,
            status: Status::Unknown,
            rule: "no rule fits".into(),
            place: Some(place),
            subject: "no rule fits this difference".into(),
            evidence: Vec::new(),
            experiment: None,
            missing: Vec::new(),
            benign: false,
        }
    }

    /// The events of a side that experiments have to give.
    fn recorded(&self, side: usize) -> &[NormEvent] {
        &self.compared.halves[side].events[self.windows[side].clone()]
    }

    /// Answers of the second side.
    pub fn their_answers(&self) -> Answers {
        Answers::of(self.recorded(1))
    }
}
