//! What expressions see: `$authorization $context $input $output $task $workflow $runtime` and the variables of enclosing loops.

use super::state::{Current, Doing, Frame, Lane};
use super::{Machine, SEMANTICS};
use crate::expr::{Expr, Template};
use crate::fault::{Code, Fault};
use crate::value::{Val, Value};
use crate::workflow::{Task, TaskKind};
use jiff::Timestamp;

/// Expression arguments of one place in a document.
#[derive(Clone, Copy, Default)]
pub(super) struct Scope<'a> {
    /// Step the expression belongs to; none for the workflow's own transforms.
    pub current: Option<&'a Current>,
    /// `$input`.
    pub input: Option<&'a Val>,
    /// `$output`.
    pub output: Option<&'a Val>,
    /// Raw output, `$task.output`.
    pub raw_output: Option<&'a Val>,
    /// Reading of the clock for `now`.
    pub now: Option<i64>,
    /// A caught error and the variable it has.
    pub error: Option<(&'a str, &'a Val)>,
    /// Lane the expression belongs to; none for the one in hand.
    pub lane: Option<&'a Lane>,
}

impl Machine {
    /// Evaluates `expr` on `data`.
    pub(super) fn eval(&self, expr: &Expr, data: &Val, scope: Scope<'_>) -> Result<Val, Fault> {
        expr.eval(data, &|name| self.variable(name, scope), scope.now)
            .map_err(|error| self.expression_fault(&error, scope))
    }

    /// Evaluates a template on `data`.
    pub(super) fn fill(
        &self,
        template: &Template,
        data: &Val,
        scope: Scope<'_>,
    ) -> Result<Val, Fault> {
        template
            .eval(data, &|name| self.variable(name, scope), scope.now)
            .map_err(|error| self.expression_fault(&error, scope))
    }

    fn expression_fault(&self, error: &crate::expr::ExprError, scope: Scope<'_>) -> Fault {
        let fault = Fault::new(Code::InvalidInput, error.to_string());
        match scope.current {
            Some(current) => fault.at(&self.definition.tasks[current.task].reference),
            None => fault.at("/"),
        }
    }

    /// The value of an expression argument; only those that an expression uses are asked for.
    fn variable(&self, name: &str, scope: Scope<'_>) -> Val {
        let lane = scope.lane.unwrap_or_else(|| self.state.lane());
        match name {
            "$context" => lane.context.value().val().clone(),
            "$input" => scope.input.cloned().unwrap_or_default(),
            "$output" => scope.output.cloned().unwrap_or_default(),
            "$runtime" => self.runtime.clone(),
            "$workflow" => self.workflow_descriptor(lane),
            "$task" => scope
                .current
                .map(|current| self.task_descriptor(current, scope))
                .unwrap_or_default(),
            "$authorization" => self.authorization(scope),
            other => {
                let name = other.trim_start_matches('$');
                match scope.error {
                    Some((error, problem)) if error == name => problem.clone(),
                    _ => self.block_variable(lane, name),
                }
            }
        }
    }

    /// Who the step's call comes from: made of the step's input, as it was for the call. Where it cannot be made, neither
    /// could the call.
    fn authorization(&self, scope: Scope<'_>) -> Val {
        let task = scope
            .current
            .map(|current| &self.definition.tasks[current.task]);
        let template = task.and_then(|task| task.authorization.as_ref());
        let input = scope.input.cloned().unwrap_or_default();
        let said = template.map(|template| self.fill(template, &input, scope));
        said.and_then(Result::ok).unwrap_or_default()
    }

    /// The innermost enclosing block's variable of that name.
    fn block_variable(&self, lane: &Lane, name: &str) -> Val {
        for frame in lane.frames.iter().rev() {
            if let Some((_, val)) = self.variables(frame).into_iter().find(|(n, _)| *n == name) {
                return val;
            }
        }
        let outer = lane.vars.iter().rev().find(|(known, _)| known == name);
        outer.map(|(_, val)| val.clone()).unwrap_or_default()
    }

    /// Everything that blocks of `lane` and of those around it have put into variables, innermost last.
    pub(super) fn variables_of(&self, lane: &Lane) -> Vec<(String, Val)> {
        let own = lane.frames.iter().flat_map(|frame| self.variables(frame));
        let own = own.map(|(name, val)| (name.to_owned(), val));
        lane.vars.iter().cloned().chain(own).collect()
    }

    /// The variables of one block.
    fn variables<'f>(&'f self, frame: &'f Frame) -> Vec<(&'f str, Val)> {
        let Some(owner) = &frame.owner else {
            return Vec::new();
        };
        match (&self.definition.tasks[owner.task].kind, &frame.doing) {
            (TaskKind::For { each, at, .. }, Doing::Loop { items, index }) => {
                let item = items.get(*index as usize).cloned().unwrap_or_default();
                vec![(each, item), (at, Val::from(*index as isize))]
            }
            (TaskKind::Try { catch, .. }, Doing::Handler { error }) => {
                vec![(&catch.as_, error.clone())]
            }
            (TaskKind::Listen(listen), Doing::Listen(listening)) => match &listen.foreach {
                None => Vec::new(),
                Some(foreach) => {
                    let item = listening.item.clone().unwrap_or_default();
                    vec![
                        (&foreach.item, item),
                        (&foreach.at, Val::from(listening.index as isize)),
                    ]
                }
            },
            _ => Vec::new(),
        }
    }

    fn workflow_descriptor(&self, lane: &Lane) -> Val {
        let mut fields = vec![
            ("definition", self.definition.json.val().clone()),
            ("id", text(&self.chain.run().to_string())),
            ("input", self.state.input.value().val().clone()),
        ];
        if let Some(ns) = lane.workflow_started {
            fields.push(("startedAt", date_time(ns)));
        }
        object(fields)
    }

    fn task_descriptor(&self, current: &Current, scope: Scope<'_>) -> Val {
        let task: &Task = &self.definition.tasks[current.task];
        let mut fields = vec![
            ("definition", task.definition.val().clone()),
            ("input", current.raw.value().val().clone()),
            ("name", text(&task.name)),
            ("output", scope.raw_output.cloned().unwrap_or_default()),
            ("reference", text(&task.reference)),
        ];
        if let Some(ns) = current.started {
            fields.push(("startedAt", date_time(ns)));
        }
        object(fields)
    }
}

/// `$runtime`: what START binds, so that another build of the same semantics answers the same.
pub(super) fn runtime() -> Val {
    object(vec![
        ("metadata", object(vec![])),
        ("name", text("AOS")),
        ("version", text(&SEMANTICS.to_string())),
    ])
}

pub(super) fn text(s: &str) -> Val {
    Val::utf8_str(s.to_owned())
}

pub(super) fn object(fields: Vec<(&str, Val)>) -> Val {
    Val::obj(
        fields
            .into_iter()
            .map(|(name, value)| (text(name), value))
            .collect(),
    )
}

/// The specification's date-time descriptor.
fn date_time(ns: i64) -> Val {
    let iso = Timestamp::from_nanosecond(ns.into())
        .map(|t| t.to_string())
        .unwrap_or_default();
    object(vec![
        (
            "epoch",
            object(vec![
                ("milliseconds", Val::from(ns.div_euclid(1_000_000) as isize)),
                ("seconds", Val::from(ns.div_euclid(1_000_000_000) as isize)),
            ]),
        ),
        ("iso8601", text(&iso)),
    ])
}

/// A canonical value of `val`, or the fault of the step that made it.
pub(super) fn canonical(val: &Val) -> Result<Value, Fault> {
    Value::from_val(val).map_err(|error| Fault::new(Code::InvalidInput, error.to_string()))
}
