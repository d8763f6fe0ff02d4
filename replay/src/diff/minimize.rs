//! The smallest input that still shows a difference.
//!
//! Two runs that part because of their code are derived again, both from the same ever smaller input, for as long as what
//! they end in differs. Lists lose elements by delta debugging, objects lose members.

use super::Options;
use super::event::{NormEvent, Same, same_value};
use super::input::{Input, RunAt};
use super::rerun::{Recipe, Stopped};
use super::whatif::recipe_of;
use crate::error::Error;
use aos_engine::value::{Val, Value};
use aos_format::frame::Kind;
use serde::{Deserialize, Serialize};

/// Derivations before the smallest found so far is taken.
const TRIES_MAX: u64 = 20_000;

/// A smaller input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Minimized {
    /// The smallest input found, as canonical JSON.
    pub input: String,
    /// Bytes of the input at first.
    pub bytes_before: u64,
    /// Bytes of the smallest.
    pub bytes_after: u64,
    /// Pairs derived.
    pub tries: u64,
    /// Whether nothing can be taken away any more; false when the tries ran out.
    pub minimal: bool,
}

/// Reduces the input of `runs` for as long as the two sides end differently.
///
/// # Errors
/// [`Error::Unusable`] when a side cannot be derived, or the sides do not differ with the first side's input.
pub fn minimize(
    inputs: [&Input<'_>; 2],
    runs: [RunAt; 2],
    options: &Options<'_>,
) -> Result<Minimized, Error> {
    let (mut a, _) = recipe_of(inputs[0], runs[0], options)?;
    let (mut b, _) = recipe_of(inputs[1], runs[1], options)?;
    // The same seed and answers on both sides: what is left is the code.
    (b.seed, b.run) = (a.seed.clone(), a.run);
    let theirs = b.answers.clone();
    a.answers.complete(&theirs);
    b.answers = a.answers.clone();
    let whole = a.input.clone();
    let mut search = Search {
        recipes: [a, b],
        limit: usize::try_from(options.events_max).unwrap_or(usize::MAX),
        tries: 0,
    };
    if !search.differs(whole.val()) {
        return Err(Error::Unusable {
            what: "a difference to minimize: with the same input both sides end the same".into(),
        });
    }
    let mut smallest = whole.val().clone();
    loop {
        let before = smallest.clone();
        smallest = search.reduce(smallest, &|val| val);
        if search.tries >= TRIES_MAX || before == smallest {
            break;
        }
    }
    let value = Value::from_val(&smallest).map_err(|error| Error::Unusable {
        what: error.to_string(),
    })?;
    Ok(Minimized {
        bytes_before: whole.canonical().len() as u64,
        bytes_after: value.canonical().len() as u64,
        input: value.as_str().to_owned(),
        tries: search.tries,
        minimal: search.tries < TRIES_MAX,
    })
}

struct Search {
    recipes: [Recipe; 2],
    limit: usize,
    tries: u64,
}

impl Search {
    /// Whether the sides end differently with this input; an input that a side cannot be derived from shows nothing.
    fn differs(&mut self, input: &Val) -> bool {
        let Ok(input) = Value::from_val(input) else {
            return false;
        };
        self.tries += 1;
        let mut ends: Vec<Option<NormEvent>> = Vec::new();
        for recipe in &mut self.recipes {
            recipe.input = input.clone();
            let derived = recipe.run(self.limit);
            let ended = derived.stopped == Stopped::Ended;
            let end = derived.events.into_iter().next_back();
            ends.push(end.filter(|end| ended && end.kind == Kind::End));
        }
        let [Some(a), Some(b)] = &ends[..] else {
            return false;
        };
        // A run that fails where the other one does not is another difference than the one looked for, unless both fail.
        a.text("outcome") != b.text("outcome")
            || same_value(a.value("output"), b.value("output")) == Same::No
    }

    /// Makes one place of the input smaller, and everything below it. `whole` puts the place into the input.
    fn reduce(&mut self, val: Val, whole: &dyn Fn(Val) -> Val) -> Val {
        match val {
            Val::Arr(items) => {
                let kept = self.subset((*items).clone(), &|items| whole(Val::Arr(items.into())));
                let mut kept = kept;
                for at in 0..kept.len() {
                    let others = kept.clone();
                    let rebuilt = |item: Val| {
                        let mut items = others.clone();
                        items[at] = item;
                        whole(Val::Arr(items.into()))
                    };
                    kept[at] = self.reduce(kept[at].clone(), &rebuilt);
                }
                Val::Arr(kept.into())
            }
            Val::Obj(map) => {
                let members: Vec<(Val, Val)> =
                    map.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                let object = |members: Vec<(Val, Val)>| Val::obj(members.into_iter().collect());
                let mut kept = self.subset(members, &|members| whole(object(members)));
                for at in 0..kept.len() {
                    let others = kept.clone();
                    let rebuilt = |member: Val| {
                        let mut members = others.clone();
                        members[at].1 = member;
                        whole(object(members))
                    };
                    kept[at].1 = self.reduce(kept[at].1.clone(), &rebuilt);
                }
                object(kept)
            }
            leaf => leaf,
        }
    }

    /// Delta debugging: the smallest sublist found with which the sides still differ.
    fn subset<T: Clone>(&mut self, mut items: Vec<T>, whole: &dyn Fn(Vec<T>) -> Val) -> Vec<T> {
        let mut parts = 2;
        while !items.is_empty() && self.tries < TRIES_MAX {
            let size = items.len().div_ceil(parts);
            let mut smaller = None;
            for from in (0..items.len()).step_by(size) {
                let to = (from + size).min(items.len());
                let part = items[from..to].to_vec();
                let rest = [&items[..from], &items[to..]].concat();
                // One part alone first: it removes most.
                if part.len() < items.len() && parts > 1 && self.differs(&whole(part.clone())) {
                    smaller = Some((part, 2));
                    break;
                }
                if self.differs(&whole(rest.clone())) {
                    smaller = Some((rest, parts.saturating_sub(1).max(2)));
                    break;
                }
            }
            match smaller {
                Some((found, next)) => (items, parts) = (found, next),
                None if size == 1 => break,
                None => parts = (parts * 2).min(items.len()),
            }
        }
        items
    }
}
