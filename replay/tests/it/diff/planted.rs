//! Pairs of logs that differ by a known cause, made from a seed.

use super::recorder::{Make, Part, Work, Written, skills};
use crate::forge::{LOG, flip};
use aos_engine::fault::{Code, Fault};
use aos_engine::machine::{Answer, Resolution, Substitute, Verdict};
use aos_engine::seed::{RootSeed, RunSeed, Stream};
use aos_engine::skill::Skills;
use aos_engine::value::{Value, member, object, text};
use aos_format::digest::{Digest, RunId};
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_format::offset::{Offset, Stride, segment_file_name};
use aos_format::record::Stored;
use aos_replay::diff::{Class, World};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Steps of every kind that a difference can start in.
pub const DOCUMENT: &str = r#"
document: {dsl: '1.0.3', namespace: test, name: planted, version: '1.0.0'}
do:
- first: {set: '${ . + {n: (.n + 1)} }'}
- draw: {call: compute, with: {op: draw, min: 1, max: 1000000}, output: {as: '${ $input + {drawn: .} }'}}
- fetch: {call: ask, with: {q: '${ .n }'}, output: {as: '${ $input + {answer: .} }'}}
- work: {call: work, with: {n: '${ .n }', items: '${ .items }'}, output: {as: '${ $input + {work: .} }'}}
- stamp: {set: '${ . + {at: (now | floor)} }'}
- way: {switch: [{high: {when: '.drawn > 500000', then: up}}, {low: {then: down}}]}
- up: {set: '${ . + {way: "up"} }', then: pause}
- down: {set: '${ . + {way: "down"} }'}
- pause: {wait: {seconds: 1}}
- last: {set: '${ {result: (.n + .answer.value), way, work, drawn, at} }'}
"#;

/// Numbers from a seed: SplitMix64.
#[derive(Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize].clone()
    }
}

/// A pair, what experiments may use, and what is to be found.
pub struct Pair {
    pub a: Written,
    pub b: Written,
    pub skills: Vec<Arc<Skills>>,
    /// What `work` leaks, where its skills can be had in other worlds.
    pub leak: Option<u64>,
    pub planted: Vec<Class>,
}

/// What `work` does when nothing is wrong with it: a number that is no integer, and the items.
pub fn honest() -> Work {
    Arc::new(|arguments: &Value, _: &mut Stream| {
        let items = member(arguments.val(), "items").cloned();
        let n: f64 = member(arguments.val(), "n").map_or(0.0, |n| n.to_string().parse().unwrap());
        let share: Value = Value::from_json(format!("{:?}", (n + 0.5) / 3.0).as_bytes())?;
        let list = items.unwrap_or_else(|| Value::null().val().clone());
        Ok(Value::from_val(&object([
            ("items", list),
            ("share", share.val().clone()),
        ]))?)
    })
}

/// As [`honest`], with one more member.
pub fn with_member(name: &'static str, value: impl Fn() -> String + Send + Sync + 'static) -> Work {
    let honest = honest();
    Arc::new(move |arguments: &Value, random: &mut Stream| {
        let given = honest(arguments, random)?;
        let mut members: Vec<(&str, _)> = ["items", "share"]
            .into_iter()
            .map(|name| (name, member(given.val(), name).unwrap().clone()))
            .collect();
        let value = value();
        members.push((name, text(&value)));
        Ok(Value::from_val(&object(members))?)
    })
}

/// Reads what it must not: the part of the world that `leak` names.
pub fn leaking(leak: u64, world: &World) -> Work {
    let seen = match leak % 6 {
        0 => world.clock_ns.to_string(),
        1 => world.host.clone(),
        2 => format!("process {}", world.process),
        3 => world.time_zone.clone(),
        4 => world.locale.clone(),
        _ => world.directory.clone(),
    };
    with_member("seen", move || seen.clone())
}

/// Draws from a source that no seed governs.
fn unseeded() -> Work {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    with_member("token", || {
        let count = DRAWN.fetch_add(1, Ordering::Relaxed);
        Digest::of(&count.to_le_bytes()).hex()[..12].to_owned()
    })
}

/// A run from a seed, with honest skills.
pub fn make(dice: &mut Dice) -> Make {
    let items: Vec<String> = (0..3 + dice.below(4))
        .map(|i| format!("\"item-{i}-{}\"", dice.below(1000)))
        .collect();
    let input = format!(
        r#"{{"items":[{}],"n":{}}}"#,
        items.join(","),
        dice.below(1_000_000)
    );
    let answer = format!(r#"{{"value":{}}}"#, dice.below(1_000_000));
    Make {
        document: DOCUMENT.into(),
        skills: skills("1", honest()),
        key: format!("run-{}", dice.below(1000)),
        root: RootSeed::from_number(dice.next()),
        seed: None,
        input,
        stride: Stride::from_log2(16).unwrap(),
        answers: vec![Answer::Effect(Ok(
            Value::from_json(answer.as_bytes()).unwrap()
        ))],
        clock_ns: 1_600_000_000_000_000_000 + dice.below(1 << 40) as i64 * 1_000,
        substitutes: BTreeMap::new(),
        checkpoint: None,
    }
}

fn pair(a: Written, b: Written, planted: Class) -> Pair {
    Pair {
        a,
        b,
        skills: vec![skills("1", honest())],
        leak: None,
        planted: vec![planted],
    }
}

/// Output of a step as it was recorded.
fn output(parts: &[Part], step: &str) -> Value {
    let part = parts.iter().find(|part| part.is(Kind::Step, step)).unwrap();
    let (_, _, bytes) = part.values.iter().find(|value| value.0 == 4).unwrap();
    Value::from_json(bytes).unwrap()
}

fn activation(parts: &[Part], step: &str) -> String {
    let part = parts.iter().find(|part| part.is(Kind::Step, step)).unwrap();
    part.activation().to_owned()
}

/// Changes what stands between a text and the next `end`.
fn within(whole: &str, behind: &str, end: char, change: impl Fn(&str) -> String) -> String {
    let from = whole.find(behind).unwrap() + behind.len();
    let to = from + whole[from..].find(end).unwrap();
    format!(
        "{}{}{}",
        &whole[..from],
        change(&whole[from..to]),
        &whole[to..]
    )
}

/// Puts another output in place of a step's.
fn substitute(make: &mut Make, step: &str, change: impl Fn(&str) -> String) {
    let parts = make.parts();
    let changed = change(output(&parts, step).as_str());
    let instead = Substitute {
        output: Some(Value::from_json(changed.as_bytes()).unwrap()),
        ..Substitute::default()
    };
    make.substitutes.insert(activation(&parts, step), instead);
}

/// Changes one thing in what a run is made from. Says whether it could.
pub fn plant(class: Class, make: &mut Make, dice: &mut Dice) -> bool {
    // What is planted in results needs a run that came to its end.
    let ended = |make: &Make| make.parts().iter().any(|part| part.is(Kind::Step, "last"));
    if class > Class::EffectDrift && !ended(make) {
        return false;
    }
    match class {
        Class::ConfigDrift => {
            let settings = format!(
                "metadata: {{aos: {{steps_max: {}}}}}, ",
                1000 + dice.below(1000)
            );
            make.document = make
                .document
                .replacen("dsl:", &format!("{settings}dsl:"), 1);
        }
        Class::CodeDrift => {
            let (from, to) = dice.pick(&[
                ("(.n + 1)", "(.n + 2)"),
                ("min: 1, max: 1000000", "min: 2, max: 1000000"),
                (".n + .answer.value", ".n * .answer.value"),
                ("seconds: 1", "seconds: 2"),
                (
                    "- way:",
                    "- before: {set: '${ . + {extra: true} }'}\n- way:",
                ),
                ("way: \"down\"", "way: \"under\""),
                ("version: '1.0.0'", "version: '1.0.1'"),
            ]);
            make.document = make.document.replacen(from, to, 1);
        }
        Class::SeedMismatch => make.root = RootSeed::from_number(dice.next()),
        Class::SeedDerivation => {
            let seed = match dice.below(3) {
                0 => RunSeed::new(make.root.0),
                1 => make
                    .root
                    .run_seed(RunId::derive("test", "planted", &make.key, 1)),
                _ => make.root.run_seed(RunId::derive("test", "", &make.key, 0)),
            };
            make.seed = Some(seed);
        }
        Class::InputDrift => {
            let other = self::make(dice).input;
            make.input = match dice.below(2) {
                0 => other,
                _ => make.input.replacen("\"n\":", "\"n\":1", 1),
            };
        }
        Class::EffectDrift => match dice.below(3) {
            0 => make.clock_ns += 1_000_000_000 * (1 + dice.below(1000) as i64),
            1 => make.answers = self::make(dice).answers,
            _ => {
                let fault = Fault::new(Code::Http503, "try again later");
                make.answers = vec![Answer::Effect(Err(fault))];
            }
        },
        Class::RngDrawSkew => {
            let parts = make.parts();
            let words = 2 + 2 * dice.below(5);
            let instead = Substitute {
                draws: Some((1 + dice.below(3), 2 + words)),
                ..Substitute::default()
            };
            let step = dice.pick(&["work", "draw"]);
            make.substitutes.insert(activation(&parts, step), instead);
        }
        Class::UnrecordedDecision => {
            let parts = make.parts();
            let way = parts
                .iter()
                .find(|part| part.is(Kind::Step, "way"))
                .unwrap();
            let Event::Step(step) = &way.event else {
                return false;
            };
            let other = if step.next == "high" { "low" } else { "high" };
            let instead = match dice.below(3) {
                0 => Substitute {
                    skipped: Some(true),
                    ..Substitute::default()
                },
                _ => Substitute {
                    next: Some(other.into()),
                    ..Substitute::default()
                },
            };
            make.substitutes.insert(way.activation().into(), instead);
        }
        Class::IterationOrder => substitute(make, "work", |output| {
            within(output, "\"work\":{\"items\":[", ']', |items| {
                let mut items: Vec<&str> = items.split(',').collect();
                items.reverse();
                items.join(",")
            })
        }),
        Class::FloatDrift => {
            let ulps = 1 + dice.below(8);
            substitute(make, "work", |output| {
                within(output, "\"share\":", '}', |share| {
                    let share: f64 = share.parse().unwrap();
                    format!("{:?}", f64::from_bits(share.to_bits() + ulps))
                })
            });
        }
        _ => return false,
    }
    true
}

/// A pair that differs by `class`; `None` where the seed gives none.
pub fn planted(class: Class, dice: &mut Dice) -> Option<Pair> {
    let original = make(dice);
    let mut changed = original.clone();
    if plant(class, &mut changed, dice) {
        return Some(pair(original.log(), changed.log(), class));
    }
    let parts = original.parts();
    match class {
        Class::LogCorruption | Class::Tamper | Class::Truncated => {
            Some(damaged(class, &original, dice))
        }
        Class::SchemaDrift => Some(pair(
            original.log(),
            relinked(&original, |parts| {
                let Event::Start(start) = &mut parts[0].event else {
                    unreachable!("a run begins with START")
                };
                match dice.below(2) {
                    0 => start.behaviour = vec!["strict-numbers".into()],
                    _ => start.semantics = 2,
                }
            }),
            class,
        )),
        Class::RetryDivergence => Some(retried(&original, dice)),
        Class::DuplicateEffect => Some(pair(
            original.log(),
            relinked(&original, |parts| {
                let at = parts
                    .iter()
                    .position(|part| part.kind == Kind::Result)
                    .unwrap();
                let again = [parts[at - 1].clone(), parts[at].clone()];
                parts.splice(at + 1..at + 1, again);
            }),
            class,
        )),
        Class::CheckpointIncomplete => {
            let lost = parts
                .iter()
                .position(|part| part.is(Kind::Step, "fetch"))
                .unwrap()
                + 1;
            changed.checkpoint = Some((lost, without_answer));
            Some(pair(original.log(), changed.log(), class))
        }
        Class::Canonicalisation => Some(respelled(&original, dice)),
        Class::Schedule => Some(pair(
            original.log(),
            relinked(&original, |parts| {
                let at = 1 + dice.below(2) as usize;
                parts.swap(at, at + 1);
            }),
            class,
        )),
        Class::VolatileLeak => {
            let leak = dice.below(6);
            let world = World::frozen();
            let other = world.shifted()[leak as usize].1.clone();
            let mut a = original.clone();
            a.skills = skills("1", leaking(leak, &world));
            let mut b = original;
            b.skills = skills("1", leaking(leak, &other));
            Some(Pair {
                skills: vec![a.skills.clone()],
                leak: Some(leak),
                ..pair(a.log(), b.log(), class)
            })
        }
        Class::UnseededRng => {
            let mut both = original;
            both.skills = skills("1", unseeded());
            Some(Pair {
                skills: vec![both.skills.clone()],
                ..pair(both.log(), both.log(), class)
            })
        }
        Class::Resource => Some(exhausted(original, dice)),
        Class::MissingStep => Some(pair(
            original.log(),
            relinked(&original, |parts| {
                let step = dice.pick(&["way", "pause"]);
                parts.retain(|part| !part.activation().ends_with(step));
            }),
            class,
        )),
        Class::ExtraStep => Some(pair(
            original.log(),
            relinked(&original, |parts| {
                let at = parts
                    .iter()
                    .position(|part| part.is(Kind::Step, "way"))
                    .unwrap();
                let mut ghost = parts[at].clone();
                if let Event::Step(step) = &mut ghost.event {
                    step.activation = "/do/77/ghost".into();
                    step.next.clear();
                }
                parts.insert(at + dice.below(2) as usize, ghost);
            }),
            class,
        )),
        Class::Unknown => {
            substitute(&mut changed, "work", |output| {
                within(output, "\"share\":", '}', |_| "\"lost\"".into())
            });
            Some(pair(original.log(), changed.log(), class))
        }
        _ => None,
    }
}

/// A log whose parts were changed, linked anew.
fn relinked(make: &Make, change: impl FnOnce(&mut Vec<Part>)) -> Written {
    let mut parts = make.parts();
    change(&mut parts);
    make.write(&parts)
}

fn damaged(class: Class, make: &Make, dice: &mut Dice) -> Pair {
    let a = make.log();
    let b = match class {
        Class::Tamper => {
            let parts = make.parts();
            // The last record has no successor that would tell; what it stores does.
            let at = dice.below(parts.len() as u64) as usize;
            let values = dice.below(2) == 0 || at + 1 == parts.len();
            make.write_with(&parts, 3, |number, draft| {
                if number != at {
                    return;
                }
                let stored = draft
                    .values
                    .iter_mut()
                    .find_map(|value| match &mut value.stored {
                        Stored::Here(bytes) => Some(bytes),
                        _ => None,
                    });
                match stored.filter(|_| values) {
                    Some(bytes) => {
                        let mut other = bytes.to_vec();
                        let last = other.len() - 1;
                        other[last] ^= 1;
                        *bytes = other.into();
                    }
                    None => {
                        // Another predecessor: the digest changes, and nothing that stands on it.
                        draft.det[6] ^= 1;
                    }
                }
            })
        }
        _ => make.log(),
    };
    let ends = &b.group_ends;
    match class {
        Class::LogCorruption => {
            let end = *ends.last().unwrap();
            let offset = 64 + dice.below(end - 64);
            flip(&b.disk, b.stride, offset, 1 << dice.below(8));
        }
        Class::Truncated => {
            let from = ends[dice.below(ends.len() as u64 - 1) as usize];
            let start = b.stride.segment_start(Offset(from));
            let path = Path::new(LOG)
                .join("segments")
                .join(segment_file_name(start));
            let length = b.disk.peek(&path).unwrap().len() as u64 - (from - start.0);
            b.disk
                .poke_at(&path, &vec![0; length as usize], from - start.0)
                .unwrap();
        }
        _ => {}
    }
    pair(a, b, class)
}

/// A checkpoint's state without what the effect answered.
fn without_answer(state: &str) -> String {
    let mut state: serde_json::Value = serde_json::from_str(state).unwrap();
    let data: usize = state["state"]["lanes"][0]["data"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    state["values"][data] = serde_json::json!({"json": {
        "n": 1, "items": [], "drawn": 7, "answer": {"value": 0}
    }});
    state.to_string()
}

fn retried(make: &Make, dice: &mut Dice) -> Pair {
    let class = Class::RetryDivergence;
    if dice.below(2) == 0 {
        let mut other = make.clone();
        let again = Resolution {
            verdict: Verdict::Retry,
            actor: "operator".into(),
        };
        other.answers.insert(0, Answer::Resolved(again));
        return pair(make.log(), other.log(), class);
    }
    let failed = Fault::new(Code::Http503, "try again later").problem();
    let b = relinked(make, |parts| {
        let at = parts
            .iter()
            .position(|part| part.kind == Kind::Result)
            .unwrap();
        let (mut first, mut second) = (parts[at].clone(), parts[at - 1].clone());
        let name = aos_format::event::ValueRef::of(1, &[7; 16], failed.canonical());
        if let Event::Result(result) = &mut first.event {
            result.outcome = "error".into();
            (result.response, result.error) = (None, Some(name));
        }
        first.values = vec![(4, [7; 16], failed.canonical().to_vec())];
        if let Event::Intent(intent) = &mut second.event {
            intent.attempt = 2;
        }
        if let Event::Result(result) = &mut parts[at].event {
            result.attempt = 2;
        }
        if let Some(Event::Step(step)) = parts.get_mut(at + 1).map(|part| &mut part.event) {
            step.attempt = 2;
        }
        parts.splice(at..at, [first, second]);
    });
    pair(make.log(), b, class)
}

/// The same values from some step on, spelled in another way.
fn respelled(make: &Make, dice: &mut Dice) -> Pair {
    let step = dice.pick(&["work", "first", "last"]);
    let parts = make.parts();
    let canonical = output(&parts, step).canonical().to_vec();
    let style = dice.below(2);
    let b = relinked(make, |parts| {
        for part in parts.iter_mut() {
            part.respell(|bytes| {
                if bytes != canonical {
                    return None;
                }
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                Some(match style {
                    0 => text.replacen('{', "{ ", 1).into_bytes(),
                    _ => text.replacen("\":", "\": ", 1).into_bytes(),
                })
            });
        }
    });
    pair(make.log(), b, Class::Canonicalisation)
}

/// The second log's segments are too small for what `work` gives.
fn exhausted(mut make: Make, dice: &mut Dice) -> Pair {
    let long = "x".repeat(1000 + dice.below(300) as usize);
    make.skills = skills("1", with_member("long", move || long.clone()));
    let mut other = make.clone();
    other.stride = Stride::from_log2(13).unwrap();
    Pair {
        skills: vec![make.skills.clone()],
        ..pair(make.log(), other.log(), Class::Resource)
    }
}

/// The skills of a leak, in a world.
pub fn in_world(pair: u64) -> impl Fn(&World) -> Arc<Skills> + Sync {
    move |world| skills("1", leaking(pair, world))
}
