//! The transitions: how a step of each kind goes from its input to its events.

use super::listen::envelope;
use super::process::returned;
use super::refusal::Refusal;
use super::scope::{Scope, canonical};
use super::state::{Current, Doing, Frame, Phase};
use super::{EMIT, EffectNeed, Machine, RUN_WORKFLOW};
use crate::chain::{Datum, Emission};
use crate::fault::{Code, Fault, TYPES};
use crate::skill::{Policy, Skill};
use crate::value::{Val, Value};
use crate::workflow::{Flow, Returns, Task, TaskKind};
use aos_format::digest::Digest;
use aos_format::event::{Event, Step, slot_of};
use aos_format::frame::Kind;

/// What a step gave, before its output is transformed.
pub(super) struct Done {
    pub input: Datum,
    pub raw: Datum,
    /// Where a switch case sends control; otherwise the step's own `then` does.
    pub flow: Option<Flow>,
    /// Name of the directive taken, where it is not simply the next step.
    pub next: String,
    /// Context that the step gives of itself, before `export`.
    pub context: Option<Datum>,
    pub draws: u64,
    pub words: u64,
}

impl Machine {
    /// One transition of the lane in hand; at most one event.
    pub(super) fn transition(&mut self) -> Option<Emission> {
        match std::mem::replace(&mut self.state.lane_mut().phase, Phase::Next) {
            Phase::Start => Some(self.start()),
            Phase::Prepare => self.prepare(),
            Phase::Next => self.next(),
            Phase::Enter(current) => self.enter(current),
            Phase::Begin { current, input } => self.begin(current, input),
            Phase::Iterate => self.iterate(),
            Phase::Leave => self.leave(),
            Phase::Attempt => self.attempt(),
            Phase::Answered {
                current,
                input,
                answer,
            } => match answer {
                Ok(response) => self.answered_step(current, input, response),
                Err(fault) => self.fault(current, Some(input), fault),
            },
            Phase::Unwind(fault) => self.unwind(fault),
            Phase::Caught(fault) => self.caught(fault),
            Phase::Retry { delay_ms, .. } => Some(self.retry(delay_ms)),
            Phase::Join { current, input } => self.join(current, input),
            Phase::Cancel {
                rule,
                activation,
                then,
            } => self.cancel(rule, activation, then),
            Phase::Joined {
                current,
                input,
                winner,
            } => Some(self.joined(current, input, winner)),
            Phase::Absorbed {
                current,
                input,
                output,
                context,
            } => self.absorbed(current, input, output, context),
            Phase::Heard => self.heard(),
            Phase::Expired { deadline } => self.expired(deadline),
            Phase::Finish(finish) => self.finish(finish),
            waiting @ (Phase::Clock { .. }
            | Phase::Timer { .. }
            | Phase::Effect { .. }
            | Phase::Backoff { .. }
            | Phase::Listen
            | Phase::Done(_)
            | Phase::Ended(_)) => {
                self.state.lane_mut().phase = waiting;
                None
            }
        }
    }

    pub(super) fn enter(&mut self, current: Current) -> Option<Emission> {
        let definition = self.definition.clone();
        let task = &definition.tasks[current.task];
        // What other lanes do does not count: none may depend on how far another one is.
        if self.state.lane().steps >= definition.settings.steps_max {
            let fault = Fault::new(
                Code::BudgetExceeded,
                format!(
                    "the run reached its limit of {} steps",
                    definition.settings.steps_max
                ),
            );
            return self.fault(current, None, fault);
        }
        if let Some(subject) = self.missing(&current, task.reads_time) {
            return self.ask(subject, Phase::Enter(current));
        }
        let raw = current.raw.clone();
        let skipped = self.substituted(&current).and_then(|s| s.skipped);
        if skipped == Some(true) {
            return Some(self.skip(current));
        }
        if let Some(condition) = task.if_.as_ref().filter(|_| skipped.is_none()) {
            let scope = Scope {
                current: Some(&current),
                now: current.now,
                ..Scope::default()
            };
            match self.eval(condition, raw.value().val(), scope) {
                Ok(val) if truth(&val) => {}
                Ok(_) => return Some(self.skip(current)),
                Err(fault) => return self.fault(current, None, fault),
            }
        }
        if let Some(schema) = &task.input_schema
            && let Err(fault) = schema.check("input", raw.value())
        {
            return self.fault(current, None, fault);
        }
        let input = match &task.input_from {
            None => raw,
            Some(from) => {
                let scope = Scope {
                    current: Some(&current),
                    now: current.now,
                    ..Scope::default()
                };
                match self
                    .fill(from, raw.value().val(), scope)
                    .and_then(|val| self.fresh(&val))
                {
                    Ok(datum) => datum,
                    Err(fault) => return self.fault(current, None, fault),
                }
            }
        };
        self.time_step(current, input)
    }

    /// The step does what it is there for.
    pub(super) fn begin(&mut self, mut current: Current, input: Datum) -> Option<Emission> {
        let definition = self.definition.clone();
        let task = &definition.tasks[current.task];
        match self.does(&mut current, &input, task) {
            Ok(Begun::Done(done)) => self.complete(current, done),
            Ok(Begun::Block { doing, data }) => {
                let phase = match &doing {
                    Doing::Loop { .. } => Phase::Iterate,
                    Doing::Try { .. } => Phase::Attempt,
                    Doing::Listen(_) => Phase::Listen,
                    Doing::Block | Doing::Handler { .. } => Phase::Next,
                };
                let lane = self.state.lane_mut();
                lane.phase = phase;
                lane.data = data.unwrap_or_else(|| input.clone());
                lane.frames.push(Frame {
                    visits: vec![0; definition.block(current.task).len()],
                    owner: Some(current),
                    input,
                    at: 0,
                    doing,
                });
                None
            }
            Ok(Begun::Fork) => Some(self.fork(current, input)),
            Ok(Begun::Timer(duration_ms)) => Some(self.set_timer(current, input, duration_ms)),
            Ok(Begun::Effect(need)) => Some(self.intend(current, input, need)),
            Ok(Begun::Refused(refusal)) => Some(self.refuse(current, input, refusal)),
            Err(fault) => self.fault(current, Some(input), fault),
        }
    }

    /// The step's effect answered.
    fn answered_step(
        &mut self,
        current: Current,
        input: Datum,
        response: Datum,
    ) -> Option<Emission> {
        let TaskKind::Run { returns, .. } = self.definition.tasks[current.task].kind else {
            return self.complete(current, Done::plain(input, response));
        };
        let output = match returns {
            Returns::Input => Ok(input.clone()),
            _ => returned(returns, response.value()).map(Datum::fresh),
        };
        match output.and_then(|output| self.fits(&[&output]).map(|()| output)) {
            Ok(output) => self.complete(current, Done::plain(input, output)),
            Err(fault) => self.fault(current, Some(input), fault),
        }
    }

    /// Does what the step is there for.
    fn does(&mut self, current: &mut Current, input: &Datum, task: &Task) -> Result<Begun, Fault> {
        let data = input.value().clone();
        let scope = Scope {
            current: Some(current),
            input: Some(data.val()),
            now: current.now,
            ..Scope::default()
        };
        match &task.kind {
            TaskKind::Set(template) => {
                let value = canonical(&self.fill(template, data.val(), scope)?)?;
                Ok(Begun::Done(Done::plain(input.clone(), Datum::fresh(value))))
            }
            TaskKind::Do(_) => Ok(Begun::block(Doing::Block)),
            TaskKind::Try { .. } => Ok(Begun::block(self.trying())),
            TaskKind::Fork { .. } => Ok(Begun::Fork),
            TaskKind::Listen(listen) => Ok(Begun::block(self.listen(listen))),
            TaskKind::Function { with, .. } => {
                let arguments = self.fresh(&self.fill(with, data.val(), scope)?)?;
                Ok(Begun::Block {
                    doing: Doing::Block,
                    data: Some(arguments),
                })
            }
            TaskKind::Emit(with) => {
                let event = canonical(&self.fill(with, data.val(), scope)?)?;
                let idempotency = self.idempotency(current);
                let request = envelope(&event, &idempotency.hex())?;
                self.fits(&[&Datum::fresh(request.clone())])?;
                Ok(Begun::Effect(EffectNeed {
                    activation: current.activation.clone(),
                    skill: EMIT.into(),
                    policy: Policy::Retry,
                    request,
                    idempotency,
                }))
            }
            TaskKind::For { in_, .. } => match self.eval(in_, data.val(), scope)? {
                Val::Arr(items) => {
                    // In canonical form like every other value: what an item says must not depend on a resume.
                    let Val::Arr(items) = canonical(&Val::Arr(items))?.val().clone() else {
                        unreachable!("an array stays one")
                    };
                    Ok(Begun::block(Doing::Loop { items, index: 0 }))
                }
                other => Err(Fault::new(
                    Code::InvalidInput,
                    format!("for.in must give an array, found {}", type_name(&other)),
                )),
            },
            TaskKind::Switch(cases) => {
                let mut default = None;
                for case in cases {
                    match &case.when {
                        None => default = Some(case),
                        Some(when) => {
                            if truth(&self.eval(when, data.val(), scope)?) {
                                return Ok(Begun::Done(Done::case(
                                    input,
                                    case.name.clone(),
                                    case.then.clone(),
                                )));
                            }
                        }
                    }
                }
                Ok(Begun::Done(match default {
                    Some(case) => Done::case(input, case.name.clone(), case.then.clone()),
                    None => Done::plain(input.clone(), input.clone()),
                }))
            }
            TaskKind::Raise(error) => {
                let val = self.fill(error, data.val(), scope)?;
                Err(raised(&canonical(&val)?, &task.reference))
            }
            TaskKind::Wait(duration) => Ok(Begun::Timer(
                duration.milliseconds(|t| self.fill(t, data.val(), scope))?,
            )),
            TaskKind::CallHttp(with) => {
                let arguments = canonical(&self.fill(with, data.val(), scope)?)?;
                self.call(current, input, "http_call", &arguments)
            }
            TaskKind::Run { skill, with, .. } => {
                let with = canonical(&self.fill(with, data.val(), scope)?)?;
                match skill.as_str() {
                    RUN_WORKFLOW => self.run_workflow(current, &with),
                    skill => self.call(current, input, skill, &with),
                }
            }
            TaskKind::CallSkill { name, with } => {
                let arguments = canonical(&self.fill(with, data.val(), scope)?)?;
                let arguments = self.skills.complete(name, arguments, &data)?;
                self.call(current, input, name, &arguments)
            }
        }
    }

    fn call(
        &self,
        current: &Current,
        input: &Datum,
        name: &str,
        arguments: &Value,
    ) -> Result<Begun, Fault> {
        if let Some(refusal) = self.not_allowed(name) {
            return Ok(Begun::Refused(refusal));
        }
        self.skills.check_input(name, arguments)?;
        match self.skills.find(name) {
            None => Err(Fault::new(
                Code::InvalidInput,
                format!("no skill named {name} is registered"),
            )),
            Some(Skill::Pure(skill)) => {
                let mut random = self.chain.seed().stream(&current.activation, name);
                let output = skill.run(arguments, &mut random)?;
                self.skills.check_output(name, &output)?;
                let mut done = Done::plain(input.clone(), Datum::fresh(output));
                (done.draws, done.words) = (random.draws(), random.words());
                Ok(Begun::Done(done))
            }
            Some(Skill::Effect(skill)) => {
                let request = skill.request(arguments)?;
                self.may_read(name, &skill.secrets(&request))?;
                self.fits(&[&Datum::fresh(request.clone())])?;
                if let Some(refusal) = self.over_budget(name, &request) {
                    return Ok(Begun::Refused(refusal));
                }
                Ok(Begun::Effect(EffectNeed {
                    activation: current.activation.clone(),
                    skill: name.into(),
                    policy: skill.policy(&request),
                    request,
                    idempotency: self.idempotency(current),
                }))
            }
        }
    }

    /// Key of the step's effect: every attempt of an enclosing retry has the same.
    pub(super) fn idempotency(&self, current: &Current) -> Digest {
        Digest::labelled(
            "aos.idempotency.v1",
            &[
                &self.chain.run().0,
                without_attempts(&current.activation).as_bytes(),
            ],
        )
    }

    fn skip(&mut self, current: Current) -> Emission {
        let mut naming = self.chain.naming(Kind::Step);
        let input = self
            .chain
            .name(&mut naming, slot(Kind::Step, "input"), &current.raw);
        let output = self
            .chain
            .name(&mut naming, slot(Kind::Step, "output"), &current.raw);
        let event = Event::Step(Step {
            input: Some(input),
            output: Some(output),
            ..step(&current, "skipped")
        });
        let lane = self.state.lane_mut();
        lane.steps += 1;
        lane.data = current.raw;
        self.take(&Flow::Continue);
        self.chain.emit(naming, &event, Vec::new())
    }

    /// output.as, export.as, STEP, and on to where control goes.
    pub(super) fn complete(&mut self, current: Current, done: Done) -> Option<Emission> {
        let definition = self.definition.clone();
        let task = &definition.tasks[current.task];
        let instead = self.substituted(&current).and_then(|s| s.fault.clone());
        let transformed = match instead {
            Some(fault) => Err(fault),
            None => match self.transforms(task, &current, &done) {
                // What fails only on the way to an output that is replaced does not matter.
                Err(_)
                    if self
                        .substituted(&current)
                        .is_some_and(|s| s.output.is_some()) =>
                {
                    Ok((done.raw.clone(), None))
                }
                transformed => transformed,
            },
        };
        let (output, context) = match transformed {
            Ok((output, context)) => self.exchanged(&current, output, context),
            Err(fault) => return self.fault(current, Some(done.input), fault),
        };
        let mut naming = self.chain.naming(Kind::Step);
        let input_name = self
            .chain
            .name(&mut naming, slot(Kind::Step, "input"), &done.input);
        let output_name = self
            .chain
            .name(&mut naming, slot(Kind::Step, "output"), &output);
        let context_name = context.as_ref().map(|datum| {
            self.chain
                .name(&mut naming, slot(Kind::Step, "context"), datum)
        });
        let flow = done.flow.unwrap_or_else(|| task.then.clone());
        let next = if done.next.is_empty() {
            definition.flow_name(&flow)
        } else {
            done.next
        };
        let (flow, next) = self.diverted(&current).unwrap_or((flow, next));
        let drawn = self.substituted(&current).and_then(|s| s.draws);
        let (draws, words) = drawn.unwrap_or((done.draws, done.words));
        let event = Event::Step(Step {
            input: Some(input_name),
            output: Some(output_name),
            context: context_name,
            next,
            draws,
            words,
            ..step(&current, "completed")
        });
        self.drop_deadlines();
        let lane = self.state.lane_mut();
        lane.steps += 1;
        lane.data = output;
        if let Some(context) = context {
            lane.context = context;
        }
        self.take(&flow);
        Some(self.chain.emit(naming, &event, Vec::new()))
    }

    fn transforms(
        &self,
        task: &Task,
        current: &Current,
        done: &Done,
    ) -> Result<(Datum, Option<Datum>), Fault> {
        let raw = done.raw.value().clone();
        let scope = Scope {
            current: Some(current),
            input: Some(done.input.value().val()),
            raw_output: Some(raw.val()),
            now: current.now,
            ..Scope::default()
        };
        let output = match &task.output_as {
            None => done.raw.clone(),
            Some(transform) => self.fresh(&self.fill(transform, raw.val(), scope)?)?,
        };
        if let Some(schema) = &task.output_schema {
            schema.check("output", output.value())?;
        }
        let context = match &task.export_as {
            None => done.context.clone(),
            Some(export) => {
                let scope = Scope {
                    output: Some(output.value().val()),
                    ..scope
                };
                Some(self.fresh(&self.fill(export, output.value().val(), scope)?)?)
            }
        };
        if let (Some(schema), Some(context)) = (&task.export_schema, &context) {
            schema.check("export", context.value())?;
        }
        let mut data = vec![&done.input];
        data.extend(
            [&output]
                .into_iter()
                .chain(&context)
                .filter(|datum| !datum.is(&done.input)),
        );
        self.fits(&data)?;
        Ok((output, context))
    }

    /// A new value in canonical form that one record can take.
    pub(super) fn fresh(&self, val: &Val) -> Result<Datum, Fault> {
        let datum = Datum::fresh(canonical(val)?);
        self.fits(&[&datum])?;
        Ok(datum)
    }

    /// The step failed: whatever catches it goes on from there.
    pub(super) fn fault(
        &mut self,
        current: Current,
        input: Option<Datum>,
        fault: Fault,
    ) -> Option<Emission> {
        let instead = self.substituted(&current);
        if let Some(input) = input.clone().filter(|_| {
            instead.is_some_and(|instead| instead.output.is_some() && instead.fault.is_none())
        }) {
            return self.complete(current, Done::plain(input.clone(), input));
        }
        let fault = instead.and_then(|i| i.fault.clone()).unwrap_or(fault);
        let fault = fault.at(&self.definition.tasks[current.task].reference);
        let mut naming = self.chain.naming(Kind::Step);
        let problem = Datum::fresh(fault.problem());
        // An input that leaves no room for the problem is not worth losing the run for: what it was made from is on record.
        let input = input
            .filter(|input| self.fits(&[input, &problem]).is_ok())
            .unwrap_or_else(|| current.raw.clone());
        let input = self
            .chain
            .name(&mut naming, slot(Kind::Step, "input"), &input);
        let error = self
            .chain
            .name(&mut naming, slot(Kind::Step, "error"), &problem);
        let event = Event::Step(Step {
            input: Some(input),
            error: Some(error),
            ..step(&current, "faulted")
        });
        self.drop_deadlines();
        let lane = self.state.lane_mut();
        lane.steps += 1;
        lane.phase = Phase::Unwind(fault);
        Some(self.chain.emit(naming, &event, Vec::new()))
    }
}

/// How a step begins.
pub(super) enum Begun {
    Done(Done),
    Block { doing: Doing, data: Option<Datum> },
    Fork,
    Timer(u64),
    Effect(EffectNeed),
    Refused(Refusal),
}

impl Begun {
    fn block(doing: Doing) -> Begun {
        Begun::Block { doing, data: None }
    }
}

impl Done {
    pub(super) fn plain(input: Datum, raw: Datum) -> Done {
        Done {
            input,
            raw,
            flow: None,
            next: String::new(),
            context: None,
            draws: 0,
            words: 0,
        }
    }

    fn case(input: &Datum, name: String, flow: Flow) -> Done {
        Done {
            flow: Some(flow),
            next: name,
            ..Done::plain(input.clone(), input.clone())
        }
    }
}

fn step(current: &Current, outcome: &str) -> Step {
    Step {
        activation: current.activation.clone(),
        attempt: 1,
        outcome: outcome.into(),
        input: None,
        output: None,
        context: None,
        error: None,
        next: String::new(),
        draws: 0,
        words: 0,
        reads: Vec::new(),
    }
}

/// An activation path less the numbers of attempts in it.
fn without_attempts(activation: &str) -> String {
    let Some((pointer, levels)) = activation.rsplit_once(';') else {
        return activation.to_owned();
    };
    let plain = |level: &str| level.split('r').next().unwrap_or_default().to_owned();
    let levels: Vec<String> = levels.split(',').map(plain).collect();
    format!("{pointer};{}", levels.join(","))
}

pub(super) fn slot(kind: Kind, field: &str) -> u8 {
    slot_of(kind, field).expect("the kind's table has this slot")
}

/// jq's truth: everything but `false` and `null`.
pub(super) fn truth(val: &Val) -> bool {
    !matches!(val, Val::Null | Val::Bool(false))
}

fn type_name(val: &Val) -> &'static str {
    match val {
        Val::Null => "null",
        Val::Bool(_) => "a boolean",
        Val::Num(_) => "a number",
        Val::TStr(_) | Val::BStr(_) => "a string",
        Val::Arr(_) => "an array",
        Val::Obj(_) => "an object",
    }
}

/// The fault that a `raise` step describes.
fn raised(error: &Value, pointer: &str) -> Fault {
    let Val::Obj(map) = error.val() else {
        return Fault::new(Code::InvalidInput, "raise.error must be an object").at(pointer);
    };
    let text = |name: &str| match map.get(&super::scope::text(name)) {
        Some(Val::TStr(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let status = match map.get(&super::scope::text("status")) {
        Some(Val::Num(number)) => number.to_string().parse().unwrap_or(500),
        _ => 500,
    };
    let error_type = text("type");
    let mut standard = Code::ALL
        .iter()
        .copied()
        .filter(|code| error_type.strip_prefix(TYPES) == Some(code.problem().0));
    let exact = standard.clone().find(|code| code.problem().1 == status);
    let code = exact.or_else(|| standard.next());
    let code = code.unwrap_or(if status == 400 {
        Code::SchemaError
    } else {
        Code::InvalidInput
    });
    Fault {
        error_type,
        status,
        title: text("title"),
        detail: text("detail"),
        instance: text("instance"),
        code,
    }
    .at(pointer)
}
