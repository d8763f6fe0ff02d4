//! Deriving a history again, with things exchanged: the counterfactual.
//!
//! A [`Recipe`] is everything a run follows from: document, skills, seed, input, stride, recorded answers. Exchange one
//! part, drive the machine, and what it makes is what would have been. Nothing is written and nothing outside is touched.

use super::event::{NormEvent, Stock, names};
use super::input::Input;
use super::locate::Track;
use crate::error::Error;
use crate::reexecute::LogValues;
use aos_engine::chain::{Chain, Emission, Place};
use aos_engine::fault::Fault;
use aos_engine::history::{self, Values};
use aos_engine::machine::{
    Answer, Given, Machine, Need, Resolution, SEMANTICS, StartInfo, StateError, Substitute,
    Verdict, Waiting,
};
use aos_engine::material::{read_definition, read_seed};
use aos_engine::seed::{RootSeed, RunSeed};
use aos_engine::skill::Skills;
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_format::digest::{Digest, RunId};
use aos_format::event::{Event, LaneHead, Start};
use aos_format::frame::Kind;
use aos_format::offset::Stride;
use aos_store::{Log, Source, StoredRecord};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Everything a run follows from.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub definition: Arc<Definition>,
    pub skills: Arc<Skills>,
    pub run: RunId,
    pub seed: RunSeed,
    pub info: StartInfo,
    pub input: Value,
    pub stride: Stride,
    pub answers: Answers,
    pub substitutes: BTreeMap<String, Substitute>,
    /// Where to begin, if not at START.
    pub resume: Option<Arc<Resume>>,
}

/// A checkpoint that a run is derived from in place of its START, with the values that its state names.
pub(crate) struct Resume {
    state: Value,
    lanes: Vec<LaneHead>,
    /// Number of the CHECKPOINT in the run's stream.
    seq: u64,
    placed: BTreeMap<(u64, u8), (Value, Place)>,
}

/// Recorded answers by what asked for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    by_key: BTreeMap<String, Vec<Recorded>>,
}

#[derive(Clone, Debug)]
struct Recorded {
    /// Request of the effect it answered.
    request: Option<Arc<[u8]>>,
    answer: Answer,
}

/// Key of a reading of the clock.
pub(crate) fn clock_key(activation: &str, subject: &str) -> String {
    format!("{subject} {}", names(activation))
}

/// Key of an effect's answers.
pub(crate) fn effect_key(activation: &str) -> String {
    format!("effect {}", names(activation))
}

impl Answers {
    /// The answers among recorded events.
    pub fn of(events: &[NormEvent]) -> Answers {
        let mut answers = Answers::default();
        let mut requests: BTreeMap<String, Arc<[u8]>> = BTreeMap::new();
        for event in events {
            let activation = event.activation();
            match event.kind {
                Kind::Intent => {
                    let request = event.value("request").and_then(|v| v.bytes.clone());
                    requests.extend(request.map(|request| (activation, request)));
                }
                Kind::Result | Kind::Decision | Kind::Time => {
                    let Some((key, answer)) = answer_of(event) else {
                        continue;
                    };
                    let request = requests.get(&activation).cloned();
                    let recorded = Recorded { request, answer };
                    answers.by_key.entry(key).or_default().push(recorded);
                }
                _ => {}
            }
        }
        answers
    }

    /// Puts an answer where none is recorded.
    pub fn put(&mut self, key: String, answer: Answer) {
        let request = None;
        self.by_key
            .entry(key)
            .or_default()
            .push(Recorded { request, answer });
    }

    /// Takes all answers to `key` from another side.
    pub fn exchange(&mut self, key: &str, other: &Answers) {
        match other.by_key.get(key) {
            Some(theirs) => self.by_key.insert(key.to_owned(), theirs.clone()),
            None => self.by_key.remove(key),
        };
    }

    /// Adds what another side has answers to and this one has not, also to other requests of the same step.
    pub fn complete(&mut self, other: &Answers) {
        for (key, theirs) in &other.by_key {
            let ours = self.by_key.entry(key.clone()).or_default();
            for recorded in theirs {
                let asked = |known: &Recorded| known.request == recorded.request;
                if !ours.iter().any(asked) {
                    ours.push(recorded.clone());
                }
            }
        }
    }

    /// The answer to occurrence `number` of `key`, preferring one that was given to the same request.
    fn pick(&self, key: &str, number: usize, request: Option<&[u8]>) -> Option<Answer> {
        let recorded = self.by_key.get(key)?;
        let same = |known: &&Recorded| request.is_none() || known.request.as_deref() == request;
        let fitting = recorded.iter().filter(same).nth(number);
        fitting
            .or(recorded.get(number))
            .map(|known| known.answer.clone())
    }
}

/// The answer that an event holds, and what it answers.
pub(crate) fn answer_of(event: &NormEvent) -> Option<(String, Answer)> {
    let activation = event.activation();
    let value = |name| Value::from_json(event.bytes(name)?).ok();
    match event.event() {
        Event::Time(time) => {
            let ns = time.time_ns.parse().ok()?;
            Some((clock_key(&activation, &time.subject), Answer::Clock(ns)))
        }
        Event::Result(result) => {
            let answer = if result.outcome == "ok" {
                Ok(value("response")?)
            } else {
                Err(Fault::from_problem(&value("error")?)?)
            };
            Some((effect_key(&activation), Answer::Effect(answer)))
        }
        Event::Decision(decision) if decision.rule == "resolve" => {
            let verdict = match decision.verdict.as_str() {
                "result" => Verdict::Result(value("value")?),
                "failed" => Verdict::Failed,
                "retry" => Verdict::Retry,
                _ => return None,
            };
            let actor = decision.actor;
            Some((
                effect_key(&activation),
                Answer::Resolved(Resolution { verdict, actor }),
            ))
        }
        _ => None,
    }
}

/// How a step of a recorded history ended, to be put in place of what it gives when it is derived again.
pub(crate) fn graft_of(event: &NormEvent) -> Option<Substitute> {
    let value = |name| event.bytes(name).and_then(|b| Value::from_json(b).ok());
    let Event::Step(step) = event.event() else {
        return None;
    };
    Some(match step.outcome.as_str() {
        "skipped" => Substitute {
            skipped: Some(true),
            ..Substitute::default()
        },
        "completed" => Substitute {
            output: Some(value("output")?),
            context: value("context"),
            next: Some(step.next),
            draws: Some((step.draws, step.words)),
            skipped: Some(false),
            fault: None,
        },
        _ => Substitute {
            fault: Some(Fault::from_problem(&value("error")?)?),
            skipped: Some(false),
            ..Substitute::default()
        },
    })
}

/// How a counterfactual run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Stopped {
    /// With END.
    Ended,
    /// At an answer that nobody recorded: the run is as open as that.
    Needs(String),
    /// At the most events asked for.
    Limit,
}

/// A derived history.
#[derive(Debug)]
pub(crate) struct Derived {
    pub events: Vec<NormEvent>,
    pub stopped: Stopped,
}

impl Recipe {
    /// Derives the history, at most `limit` events of it.
    pub fn run(&self, limit: usize) -> Derived {
        let stock = self.resume.as_ref().map(|resume| resume.stock());
        self.drive(self.machine(), stock.unwrap_or_default(), limit)
    }

    /// The machine before START, or as the checkpoint says. A checkpoint that does not fit what was exchanged leaves it before
    /// START: it derives something else then than what stands behind the checkpoint.
    pub fn machine(&self) -> Machine {
        let fresh = || {
            Machine::new(
                self.definition.clone(),
                self.skills.clone(),
                Chain::new(self.run, self.seed.clone()),
                self.info.clone(),
                self.input.clone(),
                self.stride,
            )
        };
        let mut machine = fresh();
        if let Some(resume) = &self.resume {
            let mut load = |seq: u64, slot: u8| {
                let known = resume.placed.get(&(seq, slot)).cloned();
                known.ok_or_else(|| StateError::missing(seq))
            };
            let chain = resume.chain(self);
            if machine.restore(&resume.state, chain, &mut load).is_err() {
                machine = fresh();
            }
        }
        machine.substitute(self.substitutes.clone());
        machine
    }

    /// Derives the history and appends it to a log, at most `limit` events of it. Returns how many there were.
    ///
    /// # Errors
    /// [`Error::Store`] when the log takes no more.
    pub fn record(&self, log: &Log, limit: usize) -> Result<(u64, Stopped), Error> {
        let mut failed = None;
        let mut count = 0;
        let mut machine = self.machine();
        let stopped = self.go(&mut machine, limit, &mut |emission| {
            count += 1;
            let appended = log.append(emission.draft.clone(), emission.kind, emission.seq);
            failed = failed.take().or(appended.err());
        });
        match failed {
            Some(error) => Err(error.into()),
            None => {
                log.flush()?;
                Ok((count, stopped))
            }
        }
    }

    /// Derives the history and hands out its events, at most `limit` of them.
    pub fn emissions(&self, limit: usize, each: &mut dyn FnMut(&Emission)) -> Stopped {
        self.go(&mut self.machine(), limit, each)
    }

    /// Drives a machine on from where it is.
    pub fn drive(&self, mut machine: Machine, mut stock: Stock, limit: usize) -> Derived {
        let mut events = Vec::new();
        let stopped = self.go(&mut machine, limit, &mut |emission| {
            events.push(NormEvent::made(emission, &mut stock));
        });
        Derived { events, stopped }
    }

    /// Drives a machine with the recorded answers and hands out what it makes, at most `limit` events.
    fn go(&self, machine: &mut Machine, limit: usize, each: &mut dyn FnMut(&Emission)) -> Stopped {
        let mut made = Vec::new();
        let mut answer = None;
        let mut left = limit;
        let mut used: BTreeMap<String, usize> = BTreeMap::new();
        loop {
            let need = machine.advance(answer.take(), left.min(64), &mut made);
            for emission in made.drain(..).take(left) {
                each(&emission);
                left -= 1;
            }
            if left == 0 {
                return Stopped::Limit;
            }
            let waits = match &need {
                Need::More => continue,
                Need::Ended(_) => return Stopped::Ended,
                Need::Waits(waits) => waits,
            };
            let mut wanted = None;
            for wait in waits {
                let (key, request) = match &wait.what {
                    // A timer fires when its turn comes; a timeout only where the record says so.
                    Waiting::Timer { expires: None, .. } => {
                        answer = Some(Given::to(wait, Answer::Fired));
                        break;
                    }
                    Waiting::Timer { .. } => continue,
                    Waiting::Clock(subject) => {
                        let at = machine.clock_activation(*subject);
                        (clock_key(&at, subject.name()), None)
                    }
                    Waiting::Effect(effect) => {
                        let request = effect.request.canonical().to_vec();
                        (effect_key(&effect.activation), Some(request))
                    }
                    Waiting::Event { activation } => (format!("event {activation}"), None),
                    Waiting::Resumption => ("somebody who resumes the run".to_owned(), None),
                };
                let number = used.entry(key.clone()).or_default();
                if let Some(found) = self.answers.pick(&key, *number, request.as_deref()) {
                    *number += 1;
                    answer = Some(Given::to(wait, found));
                    break;
                }
                wanted.get_or_insert(key);
            }
            if answer.is_none() {
                return Stopped::Needs(wanted.unwrap_or_else(|| "a timeout".to_owned()));
            }
        }
    }
}

impl Resume {
    /// Reads a CHECKPOINT and the values that its state names; none where no machine of `recipe` can go on from it behind
    /// `before`, the event in front of it.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Unreadable`].
    pub fn read(
        recipe: &Recipe,
        track: &mut Track<'_>,
        checkpoint: &StoredRecord,
        before: &NormEvent,
    ) -> Result<Option<Resume>, Error> {
        let source = track.source();
        let values = LogValues(source);
        let values: &dyn Values = &values;
        let Some((state, lanes)) = saved(values, checkpoint, before) else {
            return Ok(None);
        };
        let mut resume = Resume {
            state,
            lanes,
            seq: checkpoint.seq(),
            placed: BTreeMap::new(),
        };
        let mut failed = None;
        let mut placed = BTreeMap::new();
        let mut load = |seq: u64, slot: u8| {
            let record = match track.nth(seq) {
                Ok(Some(record)) => record,
                Ok(None) => return Err(StateError::missing(seq)),
                Err(error) => {
                    failed = Some(error);
                    return Err(StateError::missing(seq));
                }
            };
            let found =
                history::placed_value(values, &record, slot).map_err(|e| StateError::from(&e))?;
            placed.insert((seq, slot), found.clone());
            Ok(found)
        };
        let mut machine = recipe.machine();
        let restored = machine.restore(&resume.state, resume.chain(recipe), &mut load);
        resume.placed = placed;
        match (failed, restored) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => Ok(Some(resume)),
            (None, Err(_)) => Ok(None),
        }
    }

    fn chain(&self, recipe: &Recipe) -> Chain {
        let events = self.lanes.iter().map(|head| head.lane_seq).sum();
        let lanes = self.lanes.clone();
        Chain::resume(recipe.run, recipe.seed.clone(), lanes, self.seq, events)
    }

    /// The values by where they are stored.
    fn stock(&self) -> Stock {
        let value = |((seq, slot), (value, place)): (&(u64, u8), &(Value, Place))| {
            ((*seq, *slot), (place.salt, value.shared()))
        };
        self.placed.iter().map(value).collect()
    }
}

/// The state of a CHECKPOINT and the heads of its lanes, where it stands right behind `before`.
fn saved(
    values: &dyn Values,
    checkpoint: &StoredRecord,
    before: &NormEvent,
) -> Option<(Value, Vec<LaneHead>)> {
    let state = history::recorded_value(values, checkpoint, Kind::Checkpoint, "state").ok()?;
    let Event::Checkpoint(event) = history::read_event(checkpoint).ok()? else {
        return None;
    };
    let of_before = event.lanes.iter().find(|head| head.lane == before.lane)?;
    let fits = event.lanes.first()?.lane == 0 && of_before.digest == before.digest;
    fits.then_some((state, event.lanes))
}

/// What a side is made again from, or what is missing for that.
pub(crate) struct Kitchen {
    pub recipe: Result<Recipe, String>,
    /// The document, where it is recorded and this build reads it.
    pub definition: Option<Arc<Definition>>,
    pub root: Option<RootSeed>,
}

/// Documents and seeds of a source that were read already.
#[derive(Default)]
pub(crate) struct Pantry {
    definitions: BTreeMap<Digest, Result<Arc<Definition>, String>>,
    seeds: BTreeMap<Digest, Option<RootSeed>>,
}

impl Pantry {
    /// The document of that digest.
    fn definition(
        &mut self,
        input: &Input<'_>,
        digest: Digest,
    ) -> Result<Result<Arc<Definition>, String>, Error> {
        if let Some(known) = self.definitions.get(&digest) {
            return Ok(known.clone());
        }
        let at = input.definition(digest)?;
        let found = match at {
            None => Err("the workflow document is not in the log".into()),
            Some(record) => match read_definition(RunId([0; 16]), &record, &LogValues(input)) {
                Ok(definition) => Ok(Arc::new(definition)),
                Err(error) => Err(error.to_string()),
            },
        };
        self.definitions.insert(digest, found.clone());
        Ok(found)
    }

    fn seed(&mut self, input: &Input<'_>, commitment: Digest) -> Result<Option<RootSeed>, Error> {
        if let Some(known) = self.seeds.get(&commitment) {
            return Ok(known.clone());
        }
        let found = match input.seed(commitment)? {
            Some(record) => read_seed(&record, &LogValues(input)).ok().flatten(),
            None => None,
        };
        self.seeds.insert(commitment, found.clone());
        Ok(found)
    }
}

/// The registry among `skills` that has every skill of a START in the version it names.
pub(crate) fn registry(start: &Start, skills: &[Arc<Skills>]) -> Result<Arc<Skills>, String> {
    let fits = |registry: &&Arc<Skills>| {
        let has = |skill: &aos_format::event::SkillRef| {
            registry.reference(&skill.name).as_ref() == Some(skill)
        };
        start.skills.iter().all(has)
    };
    if let Some(found) = skills.iter().find(fits) {
        return Ok(found.clone());
    }
    let known = |skill: &&aos_format::event::SkillRef| {
        skills
            .iter()
            .any(|registry| registry.reference(&skill.name).as_ref() == Some(*skill))
    };
    let missing = start.skills.iter().find(|skill| !known(skill));
    Err(match missing {
        Some(skill) => format!("the code of skill {} version {}", skill.name, skill.version),
        None => "one registry with all skills of the run".into(),
    })
}

/// Gathers what a side's run follows from: `start` is its START, `events` the ones whose answers count.
///
/// # Errors
/// [`Error::Store`] when the disk fails.
pub(crate) fn kitchen(
    input: &Input<'_>,
    start_record: &StoredRecord,
    first: Option<&NormEvent>,
    events: &[NormEvent],
    pantry: &Mutex<Pantry>,
    skills: &[Arc<Skills>],
) -> Result<Kitchen, Error> {
    let view = start_record.view()?;
    let nothing = |why: &str| Kitchen {
        recipe: Err(why.into()),
        definition: None,
        root: None,
    };
    let Some((first, Event::Start(start))) = first.map(|first| (first, first.event())) else {
        return Ok(nothing(
            "the whole history from its START, or a checkpoint before the difference",
        ));
    };
    let Some(run) = view.stream().as_run() else {
        return Ok(nothing("a run"));
    };
    let info = start_info(start_record);
    let (definition, root) = {
        let mut pantry = pantry.lock().unwrap_or_else(PoisonError::into_inner);
        let definition = pantry.definition(input, start.definition)?;
        (definition, pantry.seed(input, info.root_seed)?)
    };
    let recipe = (|| {
        if start.behaviour.iter().any(|flag| flag == "imported") {
            return Err(format!("the workflow's code, in {}", start.namespace));
        }
        if start.semantics != SEMANTICS || !start.behaviour.is_empty() {
            return Err(format!(
                "a build with semantics version {}",
                start.semantics
            ));
        }
        let definition = definition.clone().map_err(|why| format!("code: {why}"))?;
        let skills = registry(&start, skills)?;
        let root = root.clone().ok_or("the root seed of the run")?;
        let input_bytes = first.bytes("input").ok_or("the input's bytes")?;
        let value = Value::from_json(input_bytes).map_err(|error| error.to_string())?;
        // As it is derived now, or in one of the ways that are known.
        let ways = super::start::derivations(&root, run, run, &start, &info.key);
        let seed = ways
            .into_iter()
            .map(|(_, seed)| seed)
            .find(|seed| seed.commitment() == start.seed_commitment)
            .ok_or("how the run's seed was derived from its root seed")?;
        Ok(Recipe {
            definition,
            skills,
            run,
            seed,
            info,
            input: value,
            stride: input.identity().stride,
            answers: Answers::of(events),
            substitutes: BTreeMap::new(),
            resume: None,
        })
    })();
    Ok(Kitchen {
        recipe,
        definition: definition.ok(),
        root,
    })
}

/// What START says beside the history.
pub(crate) fn start_info(start: &StoredRecord) -> StartInfo {
    use aos_format::record::{VOLATILE_GENERATION, VOLATILE_KEY, VOLATILE_ROOT_SEED};
    let view = start.view().ok();
    let tag = |tag| view.as_ref().and_then(|view| view.volatile_tag(tag));
    let key = tag(VOLATILE_KEY).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let generation = tag(VOLATILE_GENERATION).and_then(|bytes| bytes.try_into().ok());
    let root_seed = tag(VOLATILE_ROOT_SEED).and_then(|bytes| bytes.try_into().ok());
    let mut info = StartInfo {
        key: key.unwrap_or_default(),
        generation: generation.map(u64::from_le_bytes).unwrap_or_default(),
        root_seed: root_seed.map(Digest).unwrap_or_default(),
        budget: None,
        pins: Default::default(),
    };
    if let Ok(Event::Start(event)) = aos_engine::history::read_event(start) {
        // A flag that this build does not know shows as a difference of the START made again.
        let _ = info.read_behaviour(&event.behaviour);
    }
    info
}

/// A machine as a CHECKPOINT of a run says it was, whose chain goes on behind `before`, the last event in front of it.
pub(crate) fn at_checkpoint(
    recipe: &Recipe,
    input: &Input<'_>,
    checkpoint: &StoredRecord,
    before: &NormEvent,
    by_seq: &BTreeMap<u64, StoredRecord>,
) -> Option<Machine> {
    let values = LogValues(input);
    let values: &dyn Values = &values;
    let (state, lanes) = saved(values, checkpoint, before)?;
    let events = lanes.iter().map(|head| head.lane_seq).sum();
    let chain = Chain::resume(
        recipe.run,
        recipe.seed.clone(),
        lanes,
        checkpoint.seq(),
        events,
    );
    let mut machine = recipe.machine();
    let mut load = |seq: u64, slot: u8| {
        let read = by_seq
            .get(&seq)
            .map(|record| history::placed_value(values, record, slot));
        match read {
            Some(Ok(placed)) => Ok(placed),
            Some(Err(error)) => Err((&error).into()),
            None => Err(aos_engine::machine::StateError::missing(seq)),
        }
    };
    machine.restore(&state, chain, &mut load).ok()?;
    Some(machine)
}
