//! Events on their way to be the input of a run: what a schedule's `on` asks for.
//!
//! ```text
//! event ──> the first open gathering that it fits ──> whole: the input of a run
//!      └──> a gathering of its own, where no open one has its correlations
//!      └──> left
//! ```
//!
//! Nothing here is kept beyond the process: who begins again reads the events again, and a run's key is its last event.

use super::listen::{Filter, Matcher, Strategy, Until};
use crate::value::{Val, Value, member};

/// Most gatherings at a time, and most events in one.
const OPEN_MAX: usize = 10_000;
const EVENTS_MAX: usize = 10_000;

/// Events on their way to be the input of a run.
#[derive(Debug)]
pub struct Gathering<'s> {
    strategy: &'s Strategy,
    open: Vec<Open>,
}

/// What became of an event.
#[derive(Clone, PartialEq, Debug)]
pub enum Gathered {
    /// It was the last one: the input of a run.
    Whole(Value),
    /// It waits for others.
    Held,
    /// No filter takes it.
    Left,
    /// It would be held, and too many are.
    Full,
}

/// What came for one run.
#[derive(Clone, Default, Debug)]
struct Open {
    met: Vec<bool>,
    until_met: Vec<bool>,
    /// What correlations expect.
    expected: Vec<(String, Val)>,
    events: Vec<Val>,
}

/// What an event is to a gathering that takes it.
enum Offered {
    /// Nothing more is needed.
    Complete,
    /// Others are.
    More,
    /// It was not taken: too many are held.
    Full,
}

impl<'s> Gathering<'s> {
    /// None so far.
    pub fn new(strategy: &'s Strategy) -> Gathering<'s> {
        Gathering {
            strategy,
            open: Vec::new(),
        }
    }

    /// Events that wait for others.
    pub fn held(&self) -> usize {
        self.open.iter().map(|open| open.events.len()).sum()
    }

    /// Takes an event, in CloudEvents' JSON format.
    pub fn take(&mut self, event: &Value) -> Gathered {
        for at in 0..self.open.len() {
            match self.open[at].offer(self.strategy, event.val()) {
                None => {}
                Some(Offered::More) => return Gathered::Held,
                Some(Offered::Full) => return Gathered::Full,
                Some(Offered::Complete) => return self.open.remove(at).whole(),
            }
        }
        let mut fresh = Open::of(self.strategy);
        let Some(offered) = fresh.offer(self.strategy, event.val()) else {
            return Gathered::Left;
        };
        // One that is there already has what this one would begin with.
        if self.open.iter().any(|open| !fresh.differs(open)) {
            return Gathered::Left;
        }
        match offered {
            Offered::Complete => fresh.whole(),
            _ if self.open.len() >= OPEN_MAX => Gathered::Full,
            _ => {
                self.open.push(fresh);
                Gathered::Held
            }
        }
    }
}

impl Open {
    fn of(strategy: &Strategy) -> Open {
        let until = match strategy {
            Strategy::Any {
                until: Some(Until::Events(until)),
                ..
            } => until.filters().len(),
            _ => 0,
        };
        Open {
            met: vec![false; strategy.filters().len()],
            until_met: vec![false; until],
            ..Open::default()
        }
    }

    /// Takes an event that fits a filter which is not met yet.
    fn offer(&mut self, strategy: &Strategy, event: &Val) -> Option<Offered> {
        let offered = |complete| match complete {
            true => Offered::Complete,
            false => Offered::More,
        };
        if let Strategy::Any {
            until: Some(Until::Events(until)),
            ..
        } = strategy
            && let Some((n, learned)) = self.first(until.filters(), &self.until_met, event)
        {
            self.until_met[n] = true;
            self.expected.extend(learned);
            return Some(offered(until.satisfied(&self.until_met)));
        }
        let filters = strategy.filters();
        if !filters.is_empty() {
            let met: &[bool] = match strategy {
                Strategy::All(_) => &self.met,
                Strategy::Any { .. } | Strategy::One(_) => &[],
            };
            let (n, learned) = self.first(filters, met, event)?;
            if self.events.len() >= EVENTS_MAX {
                return Some(Offered::Full);
            }
            self.met[n] = true;
            self.expected.extend(learned);
        } else if self.events.len() >= EVENTS_MAX {
            return Some(Offered::Full);
        }
        self.events.push(event.clone());
        Some(offered(match strategy {
            Strategy::All(_) | Strategy::One(_) => strategy.satisfied(&self.met),
            Strategy::Any { until: None, .. } => true,
            Strategy::Any {
                until: Some(Until::Events(_)),
                ..
            } => false,
            Strategy::Any {
                until: Some(Until::Condition(condition)),
                ..
            } => {
                let events: Val = self.events.iter().cloned().collect();
                let said = condition.eval(&events, &|_| Val::Null, None);
                said.is_ok_and(|said| !matches!(said, Val::Null | Val::Bool(false)))
            }
        }))
    }

    /// The first filter, not met yet, that the event fits, and what its correlations learn.
    fn first(
        &self,
        filters: &[Filter],
        met: &[bool],
        event: &Val,
    ) -> Option<(usize, Vec<(String, Val)>)> {
        filters.iter().enumerate().find_map(|(n, filter)| {
            let open = !met.get(n).copied().unwrap_or(false);
            let learned = open.then(|| filter.fits(event, &self.expected)).flatten()?;
            Some((n, learned))
        })
    }

    /// Whether a correlation says that these are about different things.
    fn differs(&self, other: &Open) -> bool {
        self.expected.iter().any(|(name, value)| {
            let known = other.expected.iter().find(|(known, _)| known == name);
            known.is_some_and(|(_, known)| !same(known, value))
        })
    }

    /// The input of a run; an end that nothing came before begins none.
    fn whole(self) -> Gathered {
        if self.events.is_empty() {
            return Gathered::Left;
        }
        match Value::from_val(&self.events.into_iter().collect()) {
            Ok(input) => Gathered::Whole(input),
            Err(_) => Gathered::Full,
        }
    }
}

impl Filter {
    /// What the filter's correlations learn from an event that fits, where no run is there to know more.
    fn fits(&self, event: &Val, expected: &[(String, Val)]) -> Option<Vec<(String, Val)>> {
        let nobody = |_: &str| Val::Null;
        for (name, matcher) in &self.with {
            let found = member(event, name).cloned().unwrap_or_default();
            let fits = match matcher {
                Matcher::Equal(value) => same(value, &found),
                Matcher::Test(expr) => match expr.eval(&found, &nobody, None) {
                    Ok(Val::Bool(said)) => said,
                    Ok(Val::Null) | Err(_) => false,
                    Ok(said) => same(&said, &found),
                },
            };
            if !fits {
                return None;
            }
        }
        let mut learned = Vec::new();
        for correlation in &self.correlate {
            let from = correlation.from.eval(event, &nobody, None).ok()?;
            if from == Val::Null {
                return None;
            }
            let known = expected.iter().find(|(name, _)| *name == correlation.name);
            let wanted = match &correlation.expect {
                Some(expect) => Some(expect.eval(&Val::Null, &nobody, None).ok()?),
                None => known.map(|(_, value)| value.clone()),
            };
            match wanted {
                Some(wanted) if !same(&wanted, &from) => return None,
                Some(_) => {}
                None => learned.push((correlation.name.clone(), from)),
            }
        }
        Some(learned)
    }
}

/// Whether two values are one in canonical form.
fn same(a: &Val, b: &Val) -> bool {
    match (Value::from_val(a), Value::from_val(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Definition;
    use crate::workflow::schedule::Schedule;

    fn strategy(on: &str) -> Strategy {
        let text = format!(
            "document: {{dsl: '1.0.3', namespace: t, name: t, version: '1.0.0'}}\n\
             schedule: {{on: {on}}}\ndo: [{{a: {{set: {{b: 1}}}}}}]\n"
        );
        match Definition::load(text.as_bytes()).unwrap().schedule {
            Some(Schedule::On(strategy)) => strategy,
            other => panic!("{other:?}"),
        }
    }

    /// What becomes of each event, given as its type and data: the data of those that are whole, `+` held, `-` left.
    fn story(on: &str, events: &[(&str, &str)]) -> Vec<String> {
        let strategy = strategy(on);
        let mut gathering = Gathering::new(&strategy);
        let mut take = |(n, (kind, data)): (usize, &(&str, &str))| {
            let event = format!(r#"{{"id":"{n}","source":"s","type":"{kind}","data":{data}}}"#);
            let event = Value::from_json(event.as_bytes()).unwrap();
            match gathering.take(&event) {
                Gathered::Whole(input) => {
                    let Val::Arr(events) = input.val() else {
                        panic!("{input}")
                    };
                    let data = events
                        .iter()
                        .map(|event| member(event, "data").unwrap().to_string());
                    data.collect::<Vec<_>>().join(" ")
                }
                Gathered::Held => "+".into(),
                Gathered::Left => "-".into(),
                Gathered::Full => "full".into(),
            }
        };
        events.iter().enumerate().map(&mut take).collect()
    }

    #[test]
    fn one_any_and_all_gather_what_they_say() {
        let seen = [("a", "1"), ("c", "2"), ("b", "3"), ("a", "4")];
        assert_eq!(
            story("{one: {with: {type: a}}}", &seen),
            ["1", "-", "-", "4"]
        );
        assert_eq!(
            story("{any: [{with: {type: a}}, {with: {type: b}}]}", &seen),
            ["1", "-", "3", "4"]
        );
        assert_eq!(story("{any: []}", &seen), ["1", "2", "3", "4"]);
        let all = "{all: [{with: {type: a}}, {with: {type: b}}]}";
        assert_eq!(story(all, &seen), ["+", "-", "1 3", "+"]);
        // A second one of what is there already is not for this run, and there is no other.
        assert_eq!(
            story(all, &[("a", "1"), ("a", "2"), ("b", "3"), ("b", "4")]),
            ["+", "-", "1 3", "+"]
        );
    }

    #[test]
    fn until_ends_a_gathering_by_what_came_or_by_another_event() {
        let events = [
            ("a", "1"),
            ("a", "2"),
            ("z", "0"),
            ("a", "3"),
            ("z", "0"),
            ("z", "0"),
        ];
        assert_eq!(
            story("{any: [{with: {type: a}}], until: 'length == 2'}", &events),
            ["+", "1 2", "-", "+", "-", "-"]
        );
        // A condition that fails does not hold.
        assert_eq!(
            story(
                "{any: [{with: {type: a}}], until: '.[0].data.x.y'}",
                &events[..2]
            ),
            ["+", "+"]
        );
        // The last one comes when nothing has: it begins nothing.
        assert_eq!(
            story(
                "{any: [{with: {type: a}}], until: {one: {with: {type: z}}}}",
                &events
            ),
            ["+", "+", "1 2", "+", "3", "-"]
        );
        assert_eq!(
            story("{any: [], until: {one: {with: {type: z}}}}", &events),
            ["+", "+", "1 2", "+", "3", "-"]
        );
    }

    #[test]
    fn what_is_correlated_is_gathered_apart() {
        let on = "{all: [{with: {type: a}, correlate: {order: {from: .data.o}}}, {with: {type: b}, correlate: {order: {from: .data.o}}}]}";
        let one = |o: u8| if o == 1 { r#"{"o":1}"# } else { r#"{"o":2}"# };
        let events = [
            ("a", one(1)),
            ("a", one(2)),
            ("b", one(2)),
            ("a", one(1)),
            ("b", one(1)),
            ("b", "{}"),
        ];
        assert_eq!(
            story(on, &events),
            [
                "+",
                "+",
                r#"{"o":2} {"o":2}"#,
                "-",
                r#"{"o":1} {"o":1}"#,
                "-"
            ]
        );
        let expects =
            "{one: {with: {type: a}, correlate: {order: {from: .data.o, expect: '${ 1 + 1 }'}}}}";
        assert_eq!(story(expects, &events[..2]), ["-", r#"{"o":2}"#]);
        let until = "{any: [{with: {type: a}, correlate: {order: {from: .data.o}}}], until: {one: {with: {type: b}, correlate: {order: {from: .data.o}}}}}";
        assert_eq!(
            story(
                until,
                &[
                    ("a", one(1)),
                    ("a", one(2)),
                    ("a", one(1)),
                    ("b", one(1)),
                    ("b", one(2))
                ]
            ),
            ["+", "+", "+", r#"{"o":1} {"o":1}"#, r#"{"o":2}"#]
        );
    }

    #[test]
    fn what_waits_has_a_bound() {
        let strategy = strategy("{any: [], until: 'false'}");
        let mut gathering = Gathering::new(&strategy);
        let event = Value::from_json(br#"{"id":"1"}"#).unwrap();
        gathering.open.push(Open {
            events: vec![Val::Null; EVENTS_MAX - 1],
            ..Open::of(&strategy)
        });
        assert_eq!(gathering.take(&event), Gathered::Held);
        assert_eq!(gathering.held(), EVENTS_MAX);
        assert_eq!(gathering.take(&event), Gathered::Full);
    }
}
