//! Rules for differences behind START, in the order in which causes are tested.
//!
//! A rule looks at the first pair of events that differs and says what to exchange; whether that was it, the experiment says.

use super::align::align;
use super::classify::{Case, How, Try};
use super::event::{NormEvent, key, names};
use super::report::{Change, Class, Distance, FieldDiff, Op};
use super::rerun::{Recipe, answer_of, at_checkpoint, clock_key, effect_key, graft_of};
use super::world::World;
use crate::error::Error;
use crate::finding::pointer;
use aos_engine::fault::{Class as FaultClass, Code, Fault};
use aos_engine::skill::Skill;
use aos_engine::value::Value;
use aos_engine::workflow::TaskKind;
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_store::{Source, StoredRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Largest distance of two numbers that are taken for the same computation, in ULP: what sums of some dozen terms come to in
/// another order. A cent in a hundred million is 671,088.
const FLOAT_ULPS_MAX: u64 = 64;
/// Repetitions of a frozen history.
const REPEATS: usize = 6;

/// A pair of events that differs, seen from all rules.
pub(crate) struct Scene<'s> {
    pub at: usize,
    pub a: Option<&'s NormEvent>,
    pub b: Option<&'s NormEvent>,
    pub diffs: Vec<FieldDiff>,
}

impl Scene<'_> {
    /// Both sides, when the same step stands on both.
    fn both(&self) -> Option<(&NormEvent, &NormEvent)> {
        let (a, b) = (self.a?, self.b?);
        (key(a) == key(b)).then_some((a, b))
    }

    fn differs(&self, field: &str) -> bool {
        self.diffs
            .iter()
            .any(|diff| super::slice::field_of(&diff.path) == field)
    }

    /// Differences of what a step gives: its output and context.
    fn given(&self) -> Vec<&FieldDiff> {
        let of = |diff: &&FieldDiff| {
            matches!(
                super::slice::field_of(&diff.path),
                "output" | "context" | "response" | "data" | "request"
            )
        };
        self.diffs.iter().filter(of).collect()
    }

    fn paths(&self) -> String {
        let paths: Vec<&str> = self.diffs.iter().map(|d| d.path.as_str()).take(5).collect();
        paths.join(", ")
    }

    /// Both sides of a step that completed on the same input.
    fn completed(&self) -> Option<(&NormEvent, &NormEvent)> {
        let (a, b) = self.both()?;
        let done =
            |event: &NormEvent| event.kind == Kind::Step && event.text("outcome") == "completed";
        (done(a) && done(b) && !self.differs("input")).then_some((a, b))
    }
}

/// What could be behind the difference at `at`.
///
/// # Errors
/// [`Error::Store`] when a disk fails.
pub(crate) fn tries(case: &mut Case<'_, '_, '_>, at: usize) -> Result<Vec<Try>, Error> {
    let (base, target) = (case.base.clone(), case.target.clone());
    let (a, b) = (base.get(at), target.get(at));
    let diffs = match (a, b) {
        (Some(a), Some(b)) => case.differences(a, b),
        _ => Vec::new(),
    };
    let scene = Scene { at, a, b, diffs };
    let mut tries = Vec::new();
    tries.extend(other_key(case, &scene));
    tries.extend(checkpoint(case, &scene)?);
    tries.extend(attempts(case, &scene));
    tries.extend(duplicate(case, &scene));
    tries.extend(answer(case, &scene));
    if let Some((a, b)) = scene.both() {
        tries.extend(super::foreign::differs(a, b, &scene.diffs));
    }
    tries.extend(draws(case, &scene));
    tries.extend(decision(case, &scene));
    tries.extend(respelled(case, &scene));
    tries.extend(reordered(case, &scene));
    tries.extend(schedule(case, &scene));
    tries.extend(floats(case, &scene));
    tries.extend(impure(case, &scene));
    tries.extend(limit(case, &scene));
    tries.extend(missing(case, &scene));
    tries.extend(anything(case, &scene));
    // Stable: of several that fit, the one that is tested first comes first.
    tries.sort_by_key(|attempt| attempt.class);
    Ok(tries)
}

/// The recipe with a change, or what is missing for one.
fn with(case: &Case<'_, '_, '_>, change: impl FnOnce(&mut Recipe)) -> How {
    match &case.recipe {
        Some(recipe) => {
            let mut recipe = recipe.clone();
            change(&mut recipe);
            How::Recipe(Box::new(recipe))
        }
        None => How::Missing(lacking(case)),
    }
}

fn lacking(case: &Case<'_, '_, '_>) -> String {
    match case
        .kitchens
        .iter()
        .find_map(|kitchen| kitchen.recipe.as_ref().err())
    {
        Some(why) => why.clone(),
        None => "a history that can be derived again".into(),
    }
}

/// The result of a step, taken from the second side.
fn grafted(case: &Case<'_, '_, '_>, b: &NormEvent) -> How {
    match graft_of(b) {
        Some(graft) => with(case, |recipe| {
            recipe.substitutes.insert(b.activation(), graft);
        }),
        None => How::Missing("the bytes of the step's result".into()),
    }
}

const RESULT: &str = "the second side's result of this step";

/// Runs of different keys have different seeds: whoever draws sees it.
fn other_key(case: &Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    let theirs = case.kitchens[1].recipe.as_ref().ok()?.clone();
    let ours = case.recipe.as_ref()?;
    let event = scene.b.or(scene.a)?;
    if case.compared.lens.same_run
        || ours.seed.commitment() == theirs.seed.commitment()
        || event.number("draws").unwrap_or_default() == 0
    {
        return None;
    }
    Some(Try {
        class: Class::SeedMismatch,
        rule: "keys differ, and a step that draws gives something else",
        subject: scene.paths(),
        evidence: vec![format!(
            "a run's seed follows from its key: {} and {}",
            case.compared.halves[0].key, case.compared.halves[1].key
        )],
        exchanged: "the second side's key and seed".into(),
        how: with(case, |recipe| {
            recipe.seed = theirs.seed;
            recipe.run = theirs.run;
            recipe.info = theirs.info;
        }),
        benign: false,
    })
}

/// From the start another history than from the checkpoint.
fn checkpoint(case: &mut Case<'_, '_, '_>, scene: &Scene<'_>) -> Result<Option<Try>, Error> {
    let Some(b) = scene.b.or(scene.a) else {
        return Ok(None);
    };
    for side in [1, 0] {
        let half = &case.compared.halves[side];
        let events = if side == 1 { &case.target } else { &case.base };
        let Some(here) = events.get(scene.at) else {
            continue;
        };
        if !half.whole || here.offset.some().is_none() && side == 0 {
            continue;
        }
        let input = case.compared.inputs[side];
        // The newest checkpoint before this event is the one that was resumed from.
        let Some((from, record)) = checkpoint_before(input, half.at.stream(), events, scene.at)?
        else {
            continue;
        };
        let Ok(recipe) = case.kitchens[side]
            .recipe
            .clone()
            .or(case.recipe.clone().ok_or(String::new()))
        else {
            continue;
        };
        let mut by_seq = BTreeMap::new();
        for stored in input.stream(half.at.stream(), 1)? {
            if stored.seq() < record.seq() {
                by_seq.insert(stored.seq(), stored);
            }
        }
        let Some(last) = events[..from].last() else {
            continue;
        };
        let Some(machine) = at_checkpoint(&recipe, input, &record, last, &by_seq) else {
            continue;
        };
        let mut stock = BTreeMap::new();
        for event in &events[..from] {
            for value in &event.values {
                stock.extend(
                    value
                        .bytes
                        .clone()
                        .map(|bytes| (value.at, (value.salt, bytes))),
                );
            }
        }
        // Which answers were used up before the checkpoint is known from the events before it.
        let mut rest = recipe.clone();
        rest.substitutes = BTreeMap::new();
        rest.answers = super::rerun::Answers::of(&events[from..]);
        let derived = rest.drive(machine, stock, events.len() + 1_000);
        case.experiments += 1;
        case.derived += derived.events.len() as u64;
        let gives = derived
            .events
            .first()
            .is_some_and(|first| case.equal(first, here));
        if !gives {
            continue;
        }
        let mut history = events[..scene.at].to_vec();
        history.extend(derived.events);
        let name = ["first", "second"][side];
        let (how, exchanged) = if side == 1 {
            (
                How::Derived(history, "from checkpoint"),
                "the second side's checkpoint",
            )
        } else {
            // The first side went astray: without its checkpoint it gives what the second side has.
            let mut plain = recipe;
            plain.substitutes = BTreeMap::new();
            (
                How::After(Box::new(plain), "from the start"),
                "the start in place of the first side's checkpoint",
            )
        };
        return Ok(Some(Try {
            class: Class::CheckpointIncomplete,
            rule: "from the start the history differs behind a checkpoint; from the checkpoint's state it does not",
            subject: format!("the {name} side's checkpoint at offset {}", record.offset()),
            evidence: vec![format!(
                "the state at offset {} leads to {} as recorded, the events before it do not",
                record.offset(),
                b.activation()
            )],
            exchanged: exchanged.into(),
            how,
            benign: false,
        }));
    }
    Ok(None)
}

/// The newest CHECKPOINT that stands before the event at `at`, and how many events stand before it.
fn checkpoint_before(
    input: &super::input::Input<'_>,
    stream: aos_format::record::StreamId,
    events: &[NormEvent],
    at: usize,
) -> Result<Option<(usize, StoredRecord)>, Error> {
    for from in (1..=at.min(events.len().saturating_sub(1))).rev() {
        // Numbers that no event has are those of checkpoints and marks.
        for seq in (events[from - 1].seq + 1..events[from].seq).rev() {
            let record = input.nth(stream, seq)?;
            if let Some(record) = record.filter(|r| r.kind() == Some(Kind::Checkpoint)) {
                return Ok(Some((from, record)));
            }
        }
    }
    Ok(None)
}

/// Tries of one activation, as its records number or decide them.
fn tries_of(events: &[NormEvent], activation: &str) -> (u64, u64) {
    let mut attempts = 0;
    let mut retried = 0;
    for event in events
        .iter()
        .filter(|event| event.activation() == activation)
    {
        attempts = attempts.max(event.attempt());
        let retry = event.kind == Kind::Decision && event.text("verdict") == "retry";
        retried += u64::from(retry);
    }
    (attempts, retried)
}

/// Whether both sides tried an activation, and not as often.
fn tries_differ(case: &Case<'_, '_, '_>, activation: &str) -> bool {
    let (ours, theirs) = (
        tries_of(&case.base, activation),
        tries_of(&case.target, activation),
    );
    ours.0 > 0 && theirs.0 > 0 && ours != theirs
}

/// Another number of tries of one activation.
fn attempts(case: &Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    let activation = [scene.a, scene.b]
        .into_iter()
        .flatten()
        .find(|event| {
            let named = event.activation();
            !named.is_empty() && tries_differ(case, &named)
        })?
        .activation();
    let (ours, theirs) = (
        tries_of(&case.base, &activation),
        tries_of(&case.target, &activation),
    );
    let decided = ours.1 != theirs.1 && ours.0 == theirs.0;
    let how = if decided {
        let answers = case.their_answers();
        with(case, |recipe| {
            recipe.answers.exchange(&effect_key(&activation), &answers);
        })
    } else {
        let relinked = |events: &[NormEvent], last: u64| last_try(events, &activation, last);
        How::Relink(
            relinked(&case.base, ours.0),
            relinked(&case.target, theirs.0),
        )
    };
    Some(Try {
        class: Class::RetryDivergence,
        rule: "another number of tries of one activation",
        subject: activation,
        evidence: vec![format!(
            "tries: {} and {}",
            ours.0.max(1) + ours.1,
            theirs.0.max(1) + theirs.1
        )],
        exchanged: if decided {
            "the second side's answers to this step".into()
        } else {
            "the last try in place of all tries of this step".into()
        },
        how,
        benign: false,
    })
}

/// A history in which an activation was tried once: its last try, as the first.
fn last_try(events: &[NormEvent], activation: &str, last: u64) -> Vec<NormEvent> {
    let mut kept = Vec::with_capacity(events.len());
    for event in events {
        let mut event = event.clone();
        if event.activation() == activation && event.attempt() > 0 {
            if event.attempt() < last {
                continue;
            }
            renumber(&mut event);
        }
        kept.push(event);
    }
    kept
}

/// Makes an event the first try.
fn renumber(event: &mut NormEvent) {
    let mut typed = event.event();
    match &mut typed {
        Event::Step(step) => step.attempt = 1,
        Event::Intent(intent) => intent.attempt = 1,
        Event::Result(result) => result.attempt = 1,
        _ => return,
    }
    event.det = typed.encode(&event.previous());
}

/// An effect that was begun again although it was done.
fn duplicate(case: &Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    for (side, event) in [(1, scene.b), (0, scene.a)] {
        let Some(event) = event.filter(|event| event.kind == Kind::Intent) else {
            continue;
        };
        let events = if side == 1 { &case.target } else { &case.base };
        let key = event.raw_field("idempotency");
        let again = |known: &&NormEvent| {
            known.kind == Kind::Intent
                && !key.is_empty()
                && known.raw_field("idempotency") == key
                && known.attempt() == event.attempt()
        };
        let Some(first) = events[..scene.at].iter().find(again) else {
            continue;
        };
        let activation = event.activation();
        let mut without = events[..scene.at].to_vec();
        let mut dropping = true;
        let mut dropped = 0;
        for later in &events[scene.at..] {
            let of_it = later.activation() == activation
                && matches!(later.kind, Kind::Intent | Kind::Result | Kind::Decision);
            dropping &= of_it;
            if dropping {
                dropped += 1;
            } else {
                without.push(later.clone());
            }
        }
        let name = ["first", "second"][side];
        let (base, target) = if side == 1 {
            (case.base.clone(), without)
        } else {
            (without, case.target.clone())
        };
        return Some(Try {
            class: Class::DuplicateEffect,
            rule: "an INTENT again with the idempotency key of one before",
            subject: activation,
            evidence: vec![format!(
                "the {name} side has it at event {} and again at event {}, {dropped} records",
                first.lane_seq, event.lane_seq
            )],
            exchanged: format!("the {name} history without the repetition"),
            how: How::Relink(base, target),
            benign: false,
        });
    }
    None
}

/// An answer from outside differs.
fn answer(case: &Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    let (a, b) = (scene.a?, scene.b?);
    let outside = |event: &NormEvent| {
        matches!(
            event.kind,
            Kind::Result | Kind::Decision | Kind::Signal | Kind::Time
        )
    };
    let same_place = names(&a.activation()) == names(&b.activation());
    let same_clock = a.kind != Kind::Time || a.text("subject") == b.text("subject");
    if !outside(a)
        || !outside(b)
        || !same_place
        || !same_clock
        || tries_differ(case, &b.activation())
    {
        return None;
    }
    let activation = b.activation();
    let key = match b.kind {
        Kind::Time => clock_key(&activation, &b.text("subject")),
        _ => effect_key(&activation),
    };
    let spelled = scene
        .diffs
        .iter()
        .all(|diff| diff.change == Change::Respelled);
    if spelled && a.kind == b.kind {
        return None;
    }
    let how = match answer_of(b) {
        None => {
            How::Missing("the bytes of the second side's answer, or code that asks for it".into())
        }
        Some(_) => {
            let answers = case.their_answers();
            with(case, |recipe| recipe.answers.exchange(&key, &answers))
        }
    };
    let what = match b.kind {
        Kind::Time => "another reading of the clock",
        Kind::Decision => "another decision",
        Kind::Signal => "another signal",
        _ => "another answer to the same request",
    };
    Some(Try {
        class: Class::EffectDrift,
        rule: "an answer from outside differs, what asked for it does not",
        subject: format!("{activation}: {what}"),
        evidence: vec![scene.paths()],
        exchanged: "the second side's answer".into(),
        how,
        benign: false,
    })
}

/// A step drew another number of words.
fn draws(case: &Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    let (a, b) = scene.completed()?;
    if !scene.differs("draws") && !scene.differs("words") {
        return None;
    }
    let count = |event: &NormEvent| {
        let number = |name| event.number(name).unwrap_or_default();
        format!("{} draws, {} words", number("draws"), number("words"))
    };
    Some(Try {
        class: Class::RngDrawSkew,
        rule: "a step's draws or words differ, its input does not",
        subject: b.activation(),
        evidence: vec![format!("{} and {}", count(a), count(b))],
        exchanged: RESULT.into(),
        how: grafted(case, b),
        benign: false,
    })
}

/// Control went elsewhere, and no record says why.
fn decision(case: &Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    let (a, b) = scene.both()?;
    if a.kind != Kind::Step || scene.differs("input") || scene.differs("output") {
        return None;
    }
    let (x, y) = (a.text("outcome"), b.text("outcome"));
    let skipped = x != y && x != "faulted" && y != "faulted";
    if !scene.differs("next") && !skipped {
        return None;
    }
    let went = |event: &NormEvent| match event.text("next") {
        next if next.is_empty() => event.text("outcome"),
        next => next,
    };
    Some(Try {
        class: Class::UnrecordedDecision,
        rule: "a step's direction differs, its input and output do not",
        subject: b.activation(),
        evidence: vec![format!("{} and {}", went(a), went(b))],
        exchanged: "the second side's direction".into(),
        how: grafted(case, b),
        benign: false,
    })
}

/// The same value in other bytes.
fn respelled(case: &Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    let (_, b) = scene.both()?;
    let all = !scene.diffs.is_empty()
        && scene
            .diffs
            .iter()
            .all(|diff| diff.change == Change::Respelled);
    all.then(|| Try {
        class: Class::Canonicalisation,
        rule: "bytes differ, the values they spell do not",
        subject: format!("{}: {}", b.activation(), scene.paths()),
        evidence: Vec::new(),
        exchanged: "one spelling for both".into(),
        how: How::Relink(spelled(&case.base), spelled(&case.target)),
        benign: true,
    })
}

/// A history whose values are all canonical.
fn spelled(events: &[NormEvent]) -> Vec<NormEvent> {
    let mut events = events.to_vec();
    for value in events.iter_mut().flat_map(|event| &mut event.values) {
        let canonical = value
            .bytes
            .as_ref()
            .and_then(|bytes| Value::from_json(bytes).ok())
            .map(|value| -> Arc<[u8]> { value.shared() });
        if let Some(canonical) = canonical.filter(|c| Some(c) != value.bytes.as_ref()) {
            value.name.len = canonical.len() as u64;
            value.bytes = Some(canonical);
        }
    }
    events
}

/// The same elements in another order.
fn reordered(case: &Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    let (a, b) = scene.completed()?;
    let given = scene.given();
    let permuted = |diff: &&FieldDiff| {
        diff.change == Change::Reordered
            || matches!((&diff.a, &diff.b), (Some(x), Some(y)) if tokens(x).is_some() && tokens(x) == tokens(y))
    };
    if given.is_empty() || given.len() != scene.diffs.len() || !given.iter().all(permuted) {
        return None;
    }
    // A number whose digits changed places is no list.
    let bytes = |event: &NormEvent| event.bytes("output").map(<[u8]>::len);
    (bytes(a) == bytes(b)).then(|| Try {
        class: Class::IterationOrder,
        rule: "the same elements in another order",
        subject: format!("{}: {}", b.activation(), scene.paths()),
        evidence: Vec::new(),
        exchanged: RESULT.into(),
        how: grafted(case, b),
        benign: false,
    })
}

/// Words of a text that lists several, sorted.
fn tokens(text: &str) -> Option<Vec<&str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut words: Vec<&str> = inner
        .split([',', ';', ' ', '|'])
        .filter(|word| !word.is_empty())
        .collect();
    words.sort_unstable();
    (words.len() > 1).then_some(words)
}

/// The same events in another order, each activation's own order kept.
fn schedule(case: &Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    let (left, right) = (&case.base[scene.at..], &case.target[scene.at..]);
    let (Some(a), Some(b)) = (left.first(), right.first()) else {
        return None;
    };
    if key(a) == key(b) || left.len() != right.len() {
        return None;
    }
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, event) in right.iter().enumerate().rev() {
        places.entry(key(event)).or_default().push(at);
    }
    let mut order = Vec::with_capacity(right.len());
    for event in left {
        order.push(places.get_mut(&key(event))?.pop()?);
    }
    let own_order = |events: &[NormEvent], activation: &str| -> Vec<String> {
        let of = |event: &&NormEvent| event.activation() == activation;
        events.iter().filter(of).map(key).collect()
    };
    let activations: BTreeSet<String> = left.iter().map(NormEvent::activation).collect();
    if activations
        .iter()
        .any(|activation| own_order(left, activation) != own_order(right, activation))
    {
        return None;
    }
    let moved = order
        .iter()
        .enumerate()
        .filter(|(at, to)| at != *to)
        .count();
    let mut target = case.target[..scene.at].to_vec();
    target.extend(order.iter().map(|&at| right[at].clone()));
    let whole = target
        .iter()
        .zip(&case.base)
        .all(|(theirs, ours)| case.equal(ours, theirs));
    Some(Try {
        class: Class::Schedule,
        rule: "the same events in another order, each activation's own order kept",
        subject: format!("{moved} events"),
        evidence: vec![if whole {
            "equal in normal form: the order changed nothing".into()
        } else {
            "in the other order there are further differences".into()
        }],
        exchanged: "the first side's order".into(),
        how: How::Relink(case.base.clone(), target),
        benign: whole,
    })
}

/// The same computation, other last digits.
fn floats(case: &Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    let (_, b) = scene.completed()?;
    let given = scene.given();
    let mut worst = 0;
    for diff in &given {
        match diff.distance {
            Some(Distance::Ulp(ulps)) if ulps <= FLOAT_ULPS_MAX => worst = worst.max(ulps),
            _ => return None,
        }
    }
    (!given.is_empty() && given.len() == scene.diffs.len()).then(|| Try {
        class: Class::FloatDrift,
        rule: "numbers at most 64 ULP apart, the input equal",
        subject: format!("{}: {}", b.activation(), scene.paths()),
        evidence: vec![format!("at most {worst} ULP apart")],
        exchanged: RESULT.into(),
        how: grafted(case, b),
        benign: false,
    })
}

/// Whether a step calls a pure skill.
fn calls_pure(recipe: &Recipe, activation: &str) -> bool {
    let at = pointer(activation);
    let task = recipe
        .definition
        .tasks
        .iter()
        .find(|task| task.pointer == at);
    match task.map(|task| &task.kind) {
        Some(TaskKind::CallSkill { name, .. }) => {
            matches!(recipe.skills.find(name), Some(Skill::Pure(_)))
        }
        _ => false,
    }
}

/// A pure step that is none: repeated it gives several results, or it follows what it must not read.
fn impure(case: &mut Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    let (_, b) = scene.completed()?;
    let activation = b.activation();
    let mut recipe = case.recipe.clone()?;
    if !calls_pure(&recipe, &activation) {
        return None;
    }
    recipe.substitutes.remove(&activation);
    let limit = scene.at + 1;
    let result = |case: &mut Case<'_, '_, '_>, recipe: &Recipe| -> Option<(Vec<u8>, u64)> {
        let derived = recipe.run(limit);
        case.experiments += 1;
        case.derived += derived.events.len() as u64;
        let event = derived.events.get(scene.at)?;
        Some((event.bytes("output")?.to_vec(), event.number("draws")?))
    };
    let world = World::frozen();
    if let Some(probe) = case.options.probe {
        recipe.skills = probe(&world);
    }
    let mut results = Vec::new();
    for _ in 0..REPEATS {
        results.push(result(case, &recipe)?);
    }
    let distinct: BTreeSet<&(Vec<u8>, u64)> = results.iter().collect();
    let subject = format!("{activation}: {}", scene.paths());
    if distinct.len() > 1 {
        let clock = results.windows(2).all(|pair| {
            let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<f64>().ok();
            matches!((number(&pair[0].0), number(&pair[1].0)), (Some(x), Some(y)) if x <= y)
        });
        if clock {
            return Some(Try {
                class: Class::VolatileLeak,
                rule: "a pure step, repeated, gives ever larger numbers",
                subject,
                evidence: vec!["it may read a clock, or count".into()],
                exchanged: RESULT.into(),
                how: How::Missing("skills over a world in which the clock can be held".into()),
                benign: false,
            });
        }
        return Some(Try {
            class: Class::UnseededRng,
            rule: "a pure step, frozen and repeated, gives several results",
            subject,
            evidence: vec![format!(
                "{} results in {REPEATS} repetitions of the same step",
                distinct.len()
            )],
            exchanged: RESULT.into(),
            how: repeated(case, b, "repeat"),
            benign: false,
        });
    }
    let probe = case.options.probe?;
    let frozen = results.pop()?;
    let mut follows = Vec::new();
    for (name, shifted) in world.shifted() {
        recipe.skills = probe(&shifted);
        if result(case, &recipe)? != frozen {
            follows.push(name);
        }
    }
    (!follows.is_empty()).then(|| Try {
        class: Class::VolatileLeak,
        rule: "a pure step's result follows what it must not read",
        subject,
        evidence: vec![format!(
            "it follows {}, and nothing else",
            follows.join(" and ")
        )],
        exchanged: RESULT.into(),
        how: repeated(case, b, "perturb"),
        benign: false,
    })
}

/// As [`grafted`], for an experiment of another name.
fn repeated(case: &Case<'_, '_, '_>, b: &NormEvent, kind: &'static str) -> How {
    match grafted(case, b) {
        How::Recipe(recipe) => How::After(recipe, kind),
        how => how,
    }
}

/// The fault that an event ends in, if it is one of resources.
fn exhausted(event: &NormEvent) -> Option<Fault> {
    let problem = Value::from_json(event.bytes("error")?).ok()?;
    let fault = Fault::from_problem(&problem)?;
    (fault.code.class() == FaultClass::Resource || fault.code == Code::Timeout).then_some(fault)
}

/// One side ended at a limit.
fn limit(case: &Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    let (x, y) = (scene.a.and_then(exhausted), scene.b.and_then(exhausted));
    if x.is_some() == y.is_some() {
        return None;
    }
    let event = if x.is_some() { scene.a? } else { scene.b? };
    if !matches!(event.kind, Kind::Step | Kind::End) {
        return None;
    }
    let fault = x.or(y)?;
    let theirs = case.compared.inputs[1].identity().stride;
    let ours = case.recipe.as_ref().map(|recipe| recipe.stride);
    let (how, exchanged) = if ours.is_some_and(|ours| ours != theirs) {
        (
            with(case, |recipe| recipe.stride = theirs),
            "the second side's stride, which limits its records",
        )
    } else {
        (grafted(case, scene.b?), RESULT)
    };
    Some(Try {
        class: Class::Resource,
        rule: "one side ended at a limit",
        subject: format!("{}: {}", event.activation(), fault.code.name()),
        evidence: vec![fault.detail],
        exchanged: exchanged.into(),
        how,
        benign: false,
    })
}

/// A step stands on one side alone.
fn missing(case: &mut Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    let (left, right) = (
        case.base[scene.at..].to_vec(),
        case.target[scene.at..].to_vec(),
    );
    let lines = align(&left, &right, |x, y| case.equal(&left[x], &right[y]));
    let first = lines.first()?;
    let (alone, events) = match first.op {
        Op::Deleted => (0, &left),
        Op::Inserted => (1, &right),
        Op::Equal | Op::Modified | Op::Moved => return None,
    };
    let activation = events.first()?.activation();
    let count = lines
        .iter()
        .take_while(|line| line.op == first.op)
        .filter(|line| {
            let at = if alone == 0 { line.a } else { line.b };
            at.is_some_and(|at| events[at].activation() == activation)
        })
        .count();
    let known = case.recipe.is_some() || case.kitchens.iter().any(|k| k.recipe.is_ok());
    let (ours, theirs) = (case.control(0), case.control(1));
    // Which side is at fault the code says: it makes the step, or it does not.
    let class = match (alone, ours, theirs) {
        (0, true, _) => Class::MissingStep,
        (0, false, true) => Class::ExtraStep,
        (1, true, _) => Class::ExtraStep,
        (1, false, true) => Class::MissingStep,
        (0, false, false) => Class::MissingStep,
        _ => Class::ExtraStep,
    };
    let without = |events: &[NormEvent]| {
        let mut events = events.to_vec();
        events.drain(scene.at..scene.at + count);
        events
    };
    let how = if !known || !(ours || theirs) {
        How::Missing(lacking(case))
    } else if alone == 0 {
        How::Relink(without(&case.base), case.target.clone())
    } else {
        How::Relink(case.base.clone(), without(&case.target))
    };
    let side = ["first", "second"][alone];
    let mut evidence = format!("on the {side} side alone: {count} events");
    if let Some(follows) = [ours, theirs].iter().position(|own| *own) {
        let follows = ["first", "second"][follows];
        evidence.push_str(&format!("; the {follows} history follows from the code"));
    }
    Some(Try {
        class,
        rule: "a step stands on one side alone, and the code says on which it should",
        subject: activation,
        evidence: vec![evidence],
        exchanged: format!("the {side} history without the step"),
        how,
        benign: false,
    })
}

/// No rule fits: is the difference at least made within this step?
fn anything(case: &Case<'_, '_, '_>, scene: &Scene<'_>) -> Option<Try> {
    let (_, b) = scene.both()?;
    if b.kind != Kind::Step || scene.differs("input") {
        return None;
    }
    Some(Try {
        class: Class::Unknown,
        rule: "no rule fits",
        subject: format!("{}: {}", b.activation(), scene.paths()),
        evidence: vec!["the difference is made within this step, on equal input".into()],
        exchanged: RESULT.into(),
        how: grafted(case, b),
        benign: false,
    })
}
