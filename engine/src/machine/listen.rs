//! Events: what a listening step consumes, and what it makes of it.

use super::scope::{Scope, canonical, text};
use super::state::{Current, Doing, Frame, Lane, Listening, Phase};
use super::step::{slot, truth};
use super::{Machine, Waiting};
use crate::chain::{Datum, Emission};
use crate::fault::Fault;
use crate::value::{Val, Value, as_text, member};
use crate::workflow::{Filter, Listen, Matcher, Read, Strategy, TaskKind, TimeReads, Until};
use aos_format::event::{Event, Signal};
use aos_format::frame::Kind;

/// What an event is to a listening step.
#[derive(Clone, PartialEq, Debug)]
enum Match {
    /// Filter number n of those that are listened to.
    Heard(usize, Vec<(String, Val)>),
    /// Filter number n of `until`.
    Until(usize, Vec<(String, Val)>),
}

impl Machine {
    /// Whether the listening step of `lane` consumes this event, in CloudEvents' JSON format.
    ///
    /// A filter whose expression fails on the event does not match it.
    pub fn accepts(&self, lane: u64, event: &Value) -> bool {
        let lane = self.state.lanes.iter().find(|known| known.id == lane);
        lane.is_some_and(|lane| {
            matches!(lane.phase, Phase::Listen)
                && !self.state.suspended
                && self.matches(lane, event).is_some()
        })
    }

    /// The lanes that listen, with the activation of the listening step.
    pub fn listening(&self) -> Vec<(u64, String)> {
        let waits = self.waits().into_iter();
        waits
            .filter_map(|wait| match wait.what {
                Waiting::Event { activation } => Some((wait.lane, activation)),
                _ => None,
            })
            .collect()
    }

    fn listener<'l>(
        &'l self,
        lane: &'l Lane,
    ) -> Option<(&'l Current, &'l Frame, &'l Listen, &'l Listening)> {
        let frame = lane.frames.last()?;
        let owner = frame.owner.as_ref()?;
        match (&self.definition.tasks[owner.task].kind, &frame.doing) {
            (TaskKind::Listen(listen), Doing::Listen(listening)) => {
                Some((owner, frame, listen, listening))
            }
            _ => None,
        }
    }

    fn matches(&self, lane: &Lane, event: &Value) -> Option<Match> {
        let (owner, frame, listen, listening) = self.listener(lane)?;
        let scope = Scope {
            lane: Some(lane),
            current: Some(owner),
            input: Some(frame.input.value().val()),
            now: owner.now,
            ..Scope::default()
        };
        let one = |filter: &Filter| self.filter(filter, event.val(), scope, &listening.expected);
        let first = |filters: &[Filter], met: &[bool]| {
            filters.iter().enumerate().find_map(|(n, filter)| {
                let open = !met.get(n).copied().unwrap_or(false);
                open.then(|| one(filter)).flatten().map(|found| (n, found))
            })
        };
        if let Strategy::Any {
            until: Some(Until::Events(until)),
            ..
        } = &listen.to
            && let Some((n, found)) = first(until.filters(), &listening.until_met)
        {
            return Some(Match::Until(n, found));
        }
        let filters = listen.to.filters();
        if filters.is_empty() {
            return Some(Match::Heard(0, Vec::new()));
        }
        let met: &[bool] = match listen.to {
            Strategy::All(_) => &listening.met,
            Strategy::Any { .. } | Strategy::One(_) => &[],
        };
        first(filters, met).map(|(n, found)| Match::Heard(n, found))
    }

    /// What the filter's correlations found in the event; none when it does not match.
    fn filter(
        &self,
        filter: &Filter,
        event: &Val,
        scope: Scope<'_>,
        expected: &[(String, Val)],
    ) -> Option<Vec<(String, Val)>> {
        for (name, matcher) in &filter.with {
            let found = member(event, name);
            let holds = match matcher {
                Matcher::Equal(value) => found.is_some_and(|found| same(found, value)),
                Matcher::Test(expr) => {
                    let found = found.cloned().unwrap_or_default();
                    let Ok(said) = self.eval(expr, &found, scope) else {
                        return None;
                    };
                    match said {
                        Val::Bool(said) => said,
                        Val::Null => false,
                        said => same(&said, &found),
                    }
                }
            };
            if !holds {
                return None;
            }
        }
        let mut learned = Vec::new();
        for correlation in &filter.correlate {
            let from = self.eval(&correlation.from, event, scope).ok()?;
            if from == Val::Null {
                return None;
            }
            let wanted = match &correlation.expect {
                Some(expect) => {
                    let input = scope.input.cloned().unwrap_or_default();
                    Some(self.fill(expect, &input, scope).ok()?)
                }
                None => expected
                    .iter()
                    .find(|(name, _)| *name == correlation.name)
                    .map(|(_, value)| value.clone()),
            };
            match wanted {
                Some(wanted) if !same(&wanted, &from) => return None,
                Some(_) => {}
                None => learned.push((correlation.name.clone(), from)),
            }
        }
        Some(learned)
    }

    /// A step begins to listen.
    pub(super) fn listen(&self, listen: &Listen) -> Doing {
        let until = match &listen.to {
            Strategy::Any {
                until: Some(Until::Events(until)),
                ..
            } => until.filters().len(),
            _ => 0,
        };
        Doing::Listen(Box::new(Listening {
            met: vec![false; listen.to.filters().len()],
            until_met: vec![false; until],
            ..Listening::default()
        }))
    }

    /// SIGNAL: the lane in hand consumes an event.
    pub(super) fn signalled(&mut self, event: &Value, actor: String) -> Emission {
        let lane = self.state.lane();
        let found = self.matches(lane, event);
        let found = found.expect("whoever drives the machine asks whether it accepts an event");
        let definition = self.definition.clone();
        let (owner, _, _, _) = self.listener(lane).expect("it listens");
        let TaskKind::Listen(listen) = &definition.tasks[owner.task].kind else {
            unreachable!("only a listening step listens")
        };
        let attribute = |name: &str| {
            let found = member(event.val(), name).and_then(as_text);
            found.unwrap_or_default().to_owned()
        };
        let (activation, datum) = (owner.activation.clone(), Datum::fresh(event.clone()));
        let mut naming = self.chain.naming(Kind::Signal);
        let data = self
            .chain
            .name(&mut naming, slot(Kind::Signal, "data"), &datum);
        let signal = Event::Signal(Signal {
            activation,
            source: attribute("source"),
            id: attribute("id"),
            signal_type: attribute("type"),
            data: Some(data),
            actor,
        });
        let lane = self.state.lane_mut();
        lane.phase = Phase::Heard;
        let frame = lane.frames.last_mut().expect("it listens");
        let Doing::Listen(listening) = &mut frame.doing else {
            unreachable!("only a listening step listens")
        };
        match found {
            Match::Until(n, learned) => {
                listening.until_met[n] = true;
                listening.expected.extend(learned);
                let Strategy::Any {
                    until: Some(Until::Events(until)),
                    ..
                } = &listen.to
                else {
                    unreachable!("only `any` has an `until`")
                };
                listening.complete = until.satisfied(&listening.until_met);
            }
            Match::Heard(n, learned) => {
                if let Some(met) = listening.met.get_mut(n) {
                    *met = true;
                }
                listening.expected.extend(learned);
                listening.complete = match &listen.to {
                    Strategy::Any { until, .. } => until.is_none(),
                    to => to.satisfied(&listening.met),
                };
                listening.item = Some(match listen.read {
                    Read::Envelope => event.val().clone(),
                    Read::Data => member(event.val(), "data").cloned().unwrap_or_default(),
                });
            }
        }
        self.chain.emit(naming, &signal, Vec::new())
    }

    /// After an event, and after its `foreach`.
    pub(super) fn heard(&mut self) -> Option<Emission> {
        let definition = self.definition.clone();
        let (owner, frame, _, listening) = self.listener(self.state.lane())?;
        let TaskKind::Listen(listen) = &definition.tasks[owner.task].kind else {
            unreachable!("only a listening step listens")
        };
        let (owner, input) = (owner.clone(), frame.input.clone());
        if let Some(item) = listening.item.clone() {
            let foreach = listen.foreach.as_ref();
            let steps = foreach.map_or(0, |foreach| foreach.block.len());
            if !listening.processed {
                let data = match self.fresh(&item) {
                    Ok(data) => data,
                    Err(fault) => return self.stop_listening(fault),
                };
                let lane = self.state.lane_mut();
                lane.data = data;
                let frame = lane.frames.last_mut().expect("it listens");
                frame.at = 0;
                frame.visits = vec![0; steps];
                if steps > 0 {
                    lane.phase = Phase::Next;
                    return None;
                }
            }
            let reads = TimeReads::union([
                foreach
                    .and_then(|f| f.output_as.as_ref())
                    .map(|t| t.reads_time()),
                foreach
                    .and_then(|f| f.export_as.as_ref())
                    .map(|t| t.reads_time()),
                listen.until_condition().map(|e| e.reads_time()),
            ]);
            if let Some(subject) = self.missing_here(reads) {
                self.listening_mut().processed = true;
                return self.ask(subject, Phase::Heard);
            }
            if let Err(fault) = self.process(&owner, &input, listen) {
                return self.stop_listening(fault);
            }
        }
        let listening = self.listening_mut();
        if !listening.complete {
            self.state.lane_mut().phase = Phase::Listen;
            return None;
        }
        let heard: Val = listening.heard.iter().cloned().collect();
        match self.fresh(&heard) {
            Ok(datum) => {
                let lane = self.state.lane_mut();
                lane.data = datum;
                lane.phase = Phase::Leave;
                None
            }
            Err(fault) => self.stop_listening(fault),
        }
    }

    fn listening_mut(&mut self) -> &mut Listening {
        let frame = self.state.lane_mut().frames.last_mut();
        match frame.map(|frame| &mut frame.doing) {
            Some(Doing::Listen(listening)) => listening,
            _ => unreachable!("only a listening step listens"),
        }
    }

    fn stop_listening(&mut self, fault: Fault) -> Option<Emission> {
        let frame = self.state.lane().frames.last().expect("it listens");
        let owner = frame
            .owner
            .clone()
            .expect("a listening step owns its block");
        let input = self.leave_frame();
        self.fault(owner, input, fault)
    }

    /// The event in hand is done with: what it gave, and whether to go on.
    fn process(&mut self, owner: &Current, input: &Datum, listen: &Listen) -> Result<(), Fault> {
        let now = self.state.lane_mut().now.take();
        let raw = self.state.lane().data.value().clone();
        let scope = Scope {
            current: Some(owner),
            input: Some(input.value().val()),
            now,
            ..Scope::default()
        };
        let foreach = listen.foreach.as_ref();
        let output = match foreach.and_then(|foreach| foreach.output_as.as_ref()) {
            None => raw.clone(),
            Some(transform) => canonical(&self.fill(transform, raw.val(), scope)?)?,
        };
        if let Some(schema) = foreach.and_then(|foreach| foreach.output_schema.as_ref()) {
            schema.check("output of an event", &output)?;
        }
        let context = match foreach.and_then(|foreach| foreach.export_as.as_ref()) {
            None => None,
            Some(export) => {
                let scope = Scope {
                    output: Some(output.val()),
                    ..scope
                };
                Some(self.fresh(&self.fill(export, output.val(), scope)?)?)
            }
        };
        if let (Some(schema), Some(context)) = (
            foreach.and_then(|foreach| foreach.export_schema.as_ref()),
            &context,
        ) {
            schema.check("export of an event", context.value())?;
        }
        if let Some(context) = context {
            self.state.lane_mut().context = context;
        }
        let listening = self.listening_mut();
        listening.heard.push(output.val().clone());
        listening.item = None;
        listening.processed = false;
        listening.index += 1;
        let heard: Val = listening.heard.iter().cloned().collect();
        if let Some(condition) = listen.until_condition() {
            let scope = Scope {
                current: Some(owner),
                input: Some(input.value().val()),
                now,
                ..Scope::default()
            };
            if truth(&self.eval(condition, &heard, scope)?) {
                self.listening_mut().complete = true;
            }
        }
        Ok(())
    }
}

/// Whether two values are one in canonical form.
fn same(a: &Val, b: &Val) -> bool {
    match (Value::from_val(a), Value::from_val(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// The event that `emit` publishes: what its author wrote, with what CloudEvents ask for.
pub(super) fn envelope(with: &Value, id: &str) -> Result<Value, Fault> {
    let Val::Obj(map) = with.val() else {
        unreachable!("`with` is a mapping")
    };
    let mut members: Vec<(Val, Val)> = map
        .iter()
        .map(|(key, val)| (key.clone(), val.clone()))
        .collect();
    let mut default = |name: &str, value: &str| {
        if member(with.val(), name).is_none() {
            members.push((text(name), text(value)));
        }
    };
    default("specversion", "1.0");
    default("id", id);
    canonical(&Val::obj(members.into_iter().collect()))
}
