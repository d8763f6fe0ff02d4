//! Control: how a run begins and ends, and how it goes from step to step and block to block.

use super::scope::Scope;
use super::state::{Current, Doing, Finish, Frame, LaneEnd, Phase, Timed};
use super::step::{Done, slot, truth};
use super::{Ended, Machine, SEMANTICS, Subject};
use crate::chain::{Datum, Emission};
use crate::fault::Fault;
use crate::seed::RNG_SCHEME;
use crate::value::Value;
use crate::workflow::{Flow, TaskKind, TimeReads};
use aos_format::digest::Digest;
use aos_format::event::{End, Event, Start};
use aos_format::frame::Kind;
use aos_format::record::{VOLATILE_GENERATION, VOLATILE_KEY, VOLATILE_ROOT_SEED, Volatile};

impl Machine {
    pub(super) fn start(&mut self) -> Emission {
        let definition = &self.definition;
        let mut naming = self.chain.naming(Kind::Start);
        let input = self
            .chain
            .name(&mut naming, slot(Kind::Start, "input"), &self.state.input);
        let event = Event::Start(Start {
            semantics: SEMANTICS,
            behaviour: self.info.behaviour(),
            namespace: definition.namespace.clone(),
            name: definition.name.clone(),
            version: definition.version.clone(),
            definition: Digest(definition.digest),
            skills: definition
                .skills
                .iter()
                .filter_map(|name| self.skills.reference(name))
                .collect(),
            config: None,
            policy: None,
            input: Some(input),
            seed_commitment: self.chain.seed().commitment(),
            rng: RNG_SCHEME.into(),
            parent: None,
            continued_from: None,
            steps_max: definition.settings.steps_max,
            deadline_ms: None,
        });
        let volatile = vec![
            Volatile {
                tag: VOLATILE_KEY,
                bytes: self.info.key.clone().into_bytes(),
            },
            Volatile {
                tag: VOLATILE_GENERATION,
                bytes: self.info.generation.to_le_bytes().to_vec(),
            },
            Volatile {
                tag: VOLATILE_ROOT_SEED,
                bytes: self.info.root_seed.0.to_vec(),
            },
        ];
        self.state.lane_mut().phase = Phase::Prepare;
        self.chain.emit(naming, &event, volatile)
    }

    pub(super) fn prepare(&mut self) -> Option<Emission> {
        let definition = self.definition.clone();
        let raw = self.state.input.value().clone();
        if let Some(after) = &definition.timeout
            && self.state.lane().deadlines.is_empty()
        {
            match after.milliseconds(|t| self.fill(t, raw.val(), Scope::default())) {
                Ok(duration_ms) => {
                    let emission = self.run_deadline(Timed::Workflow, String::new(), duration_ms);
                    self.state.lane_mut().phase = Phase::Prepare;
                    return Some(emission);
                }
                Err(fault) => return self.unprepared(fault.at("/timeout/after")),
            }
        }
        if let Some(schema) = &definition.input_schema
            && let Err(fault) = schema.check("input", &raw)
        {
            return self.unprepared(fault.at("/input/schema"));
        }
        if let Some(from) = &definition.input_from {
            if let Some(subject) = self.missing_here(from.reads_time()) {
                return self.ask(subject, Phase::Prepare);
            }
            let scope = Scope {
                now: self.state.lane_mut().now.take(),
                ..Scope::default()
            };
            match self
                .fill(from, raw.val(), scope)
                .and_then(|val| self.fresh(&val))
            {
                Ok(datum) => self.state.lane_mut().data = datum,
                Err(fault) => return self.unprepared(fault.at("/input/from")),
            }
        }
        let lane = self.state.lane_mut();
        lane.frames.push(Frame {
            owner: None,
            input: lane.data.clone(),
            at: 0,
            visits: vec![0; definition.root.len()],
            doing: Doing::Block,
        });
        lane.phase = Phase::Next;
        None
    }

    fn unprepared(&mut self, fault: Fault) -> Option<Emission> {
        self.state.lane_mut().phase = Phase::Finish(Finish::Faulted(fault));
        None
    }

    pub(super) fn next(&mut self) -> Option<Emission> {
        let definition = self.definition.clone();
        let lane = self.state.lane();
        let frame = lane
            .frames
            .last()
            .expect("a lane's own block is left only by its end");
        let task = lane.block(&definition, frame).get(frame.at).copied();
        let at = frame.at;
        let frame = self.state.lane_mut().frames.last_mut().expect("as above");
        let Some(task) = task else {
            let phase = match (&frame.owner, &mut frame.doing) {
                (None, _) => match self.state.lane().branch {
                    None => Phase::Finish(Finish::Well),
                    Some(_) => Phase::Done(LaneEnd::Well),
                },
                (Some(_), Doing::Loop { index, .. }) => {
                    *index += 1;
                    Phase::Iterate
                }
                (Some(_), Doing::Listen(listening)) => {
                    listening.processed = true;
                    Phase::Heard
                }
                (Some(_), Doing::Block | Doing::Try { .. } | Doing::Handler { .. }) => Phase::Leave,
            };
            self.state.lane_mut().phase = phase;
            return None;
        };
        frame.visits[at] += 1;
        let visit = frame.visits[at];
        let activation = self.activation(task, visit);
        let lane = self.state.lane_mut();
        lane.phase = Phase::Enter(Current {
            task,
            visit,
            activation,
            raw: lane.data.clone(),
            now: None,
            started: None,
        });
        None
    }

    pub(super) fn iterate(&mut self) -> Option<Emission> {
        let definition = self.definition.clone();
        let frame = self
            .state
            .lane()
            .frames
            .last()
            .expect("iterating inside a loop's block");
        let input = frame.input.value().clone();
        let (owner, over) = match (&frame.owner, &frame.doing) {
            (Some(owner), Doing::Loop { items, index }) => {
                (owner.clone(), *index >= items.len() as u64)
            }
            _ => unreachable!("only a loop iterates"),
        };
        if over {
            self.state.lane_mut().phase = Phase::Leave;
            return None;
        }
        if let TaskKind::For {
            while_: Some(condition),
            ..
        } = &definition.tasks[owner.task].kind
        {
            if let Some(subject) = self.missing_here(condition.reads_time()) {
                return self.ask(subject, Phase::Iterate);
            }
            let now = self.state.lane_mut().now.take();
            let data = self.state.lane().data.clone();
            let scope = Scope {
                current: Some(&owner),
                input: Some(input.val()),
                now,
                ..Scope::default()
            };
            let going_on = match self.eval(condition, data.value().val(), scope) {
                Ok(val) => truth(&val),
                Err(fault) => {
                    let input = self.leave_frame();
                    return self.fault(owner, input, fault);
                }
            };
            if !going_on {
                self.state.lane_mut().phase = Phase::Leave;
                return None;
            }
        }
        let lane = self.state.lane_mut();
        let frame = lane.frames.last_mut().expect("as above");
        frame.at = 0;
        frame.visits.fill(0);
        lane.phase = Phase::Next;
        None
    }

    /// A block has ended: its own step completes.
    pub(super) fn leave(&mut self) -> Option<Emission> {
        let definition = self.definition.clone();
        let frame = self.state.lane().frames.last();
        let owner = frame.and_then(|frame| frame.owner.clone());
        let mut owner = owner.expect("a lane's own block is left only by its end");
        let after = TimeReads::union([
            definition.tasks[owner.task]
                .output_as
                .as_ref()
                .map(|t| t.reads_time()),
            definition.tasks[owner.task]
                .export_as
                .as_ref()
                .map(|t| t.reads_time()),
        ]);
        if after.now && self.state.lane().now.is_none() {
            return self.ask(Subject::Now, Phase::Leave);
        }
        // What a block's own step says of now, it says of its end.
        if let Some(now) = self.state.lane_mut().now.take() {
            owner.now = Some(now);
        }
        let input = self.leave_frame().expect("looked at above");
        let done = Done::plain(input, self.state.lane().data.clone());
        self.complete(owner, done)
    }

    /// Moves control.
    pub(super) fn take(&mut self, flow: &Flow) {
        let definition = self.definition.clone();
        let lane = self.state.lane();
        let frame = lane.frames.last().expect("a step stands in a block");
        let at = match flow {
            Flow::Continue => frame.at + 1,
            Flow::Exit => frame.visits.len(),
            Flow::End => {
                self.state.lane_mut().phase = match lane.branch {
                    None => Phase::Finish(Finish::Well),
                    Some(_) => Phase::Done(LaneEnd::End),
                };
                return;
            }
            Flow::Task(target) => {
                let block = lane.block(&definition, frame);
                let at = block.iter().position(|task| task == target);
                at.expect("names are resolved within the block when the document is loaded")
            }
        };
        let lane = self.state.lane_mut();
        lane.frames.last_mut().expect("as above").at = at;
        lane.phase = Phase::Next;
    }

    pub(super) fn finish(&mut self, finish: Finish) -> Option<Emission> {
        let definition = self.definition.clone();
        let cancelled = matches!(finish, Finish::Cancelled(_));
        let result = match finish {
            Finish::Faulted(fault) | Finish::Cancelled(fault) => Err(fault),
            Finish::Well => {
                let reads = definition.output_as.as_ref().map(|t| t.reads_time());
                if let Some(subject) = self.missing_here(reads.unwrap_or_default()) {
                    return self.ask(subject, Phase::Finish(Finish::Well));
                }
                self.output(&definition)
            }
        };
        let mut naming = self.chain.naming(Kind::End);
        let (outcome, output, error, ended) = match result {
            Ok(output) => {
                let name = self
                    .chain
                    .name(&mut naming, slot(Kind::End, "output"), &output);
                (
                    "completed",
                    Some(name),
                    None,
                    Ended::Completed(output.value().clone()),
                )
            }
            Err(fault) => {
                let problem = Datum::fresh(fault.problem());
                let name = self
                    .chain
                    .name(&mut naming, slot(Kind::End, "error"), &problem);
                let (outcome, ended): (_, fn(Value) -> Ended) = if cancelled {
                    ("cancelled", Ended::Cancelled)
                } else {
                    ("faulted", Ended::Faulted)
                };
                (outcome, None, Some(name), ended(problem.value().clone()))
            }
        };
        let event = Event::End(End {
            outcome: outcome.into(),
            output,
            error,
            steps: self.state.lane().steps,
        });
        let lane = self.state.lane_mut();
        lane.deadlines.clear();
        lane.phase = Phase::Ended(ended);
        Some(self.chain.emit(naming, &event, Vec::new()))
    }

    fn output(&mut self, definition: &crate::workflow::Definition) -> Result<Datum, Fault> {
        let data = self.state.lane().data.clone();
        let now = self.state.lane_mut().now.take();
        let output = match &definition.output_as {
            None => data,
            Some(transform) => {
                let scope = Scope {
                    now,
                    ..Scope::default()
                };
                self.fill(transform, data.value().val(), scope)
                    .and_then(|val| self.fresh(&val))
                    .map_err(|fault| fault.at("/output/as"))?
            }
        };
        if let Some(schema) = &definition.output_schema {
            schema
                .check("output", output.value())
                .map_err(|fault| fault.at("/output/schema"))?;
        }
        Ok(output)
    }

    /// The activation path of the step `task` in the current blocks.
    pub(super) fn activation(&self, task: usize, visit: u64) -> String {
        let pointer = &self.definition.tasks[task].pointer;
        let lane = self.state.lane();
        let simple = visit == 1 && lane.plain && !pointer.contains(';');
        if simple
            && lane.frames.iter().all(|frame| match &frame.owner {
                None => true,
                Some(owner) => owner.visit == 1 && matches!(frame.doing, Doing::Block),
            })
        {
            return pointer.clone();
        }
        let (mut levels, plain) = self.levels(lane);
        if simple && plain {
            return pointer.clone();
        }
        levels.push(visit.to_string());
        format!("{pointer};{}", levels.join(","))
    }
}
