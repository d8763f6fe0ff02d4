use super::{Expr, ExprError, TimeReads, expression_in};
use crate::value::{Val, as_text};
use jaq_json::Map;

/// A JSON value in which strings that are wholly `${ … }` are expressions, as in `set`, `with` and `body`.
///
/// Evaluating it gives the same value with each expression replaced by its result; what holds no expression is shared.
#[derive(Clone, Debug)]
pub struct Template(Node);

#[derive(Clone, Debug)]
enum Node {
    Constant(Val),
    Expression(Expr),
    Array(Vec<Template>),
    Object(Vec<(Val, Template)>),
}

impl Template {
    /// Compiles a value; `vars` as for [`Expr::compile`].
    ///
    /// A string with `${` in it that is not wholly one expression is an error: see [`expression_in`].
    pub fn compile(val: &Val, vars: &[&str]) -> Result<Template, ExprError> {
        Ok(match val {
            Val::Arr(items) => Template::array(
                items
                    .iter()
                    .map(|item| Template::compile(item, vars))
                    .collect::<Result<_, _>>()?,
            ),
            Val::Obj(map) => {
                let members = map
                    .iter()
                    .map(|(key, val)| Ok((key.clone(), Template::compile(val, vars)?)));
                Template::object(members.collect::<Result<_, ExprError>>()?)
            }
            val => match as_text(val).map(expression_in).transpose()?.flatten() {
                Some(source) => Template::expression(Expr::compile(source, vars)?),
                None => Template::constant(val.clone()),
            },
        })
    }

    /// A value without expressions.
    pub fn constant(val: Val) -> Template {
        Template(Node::Constant(val))
    }

    /// One expression.
    pub fn expression(expr: Expr) -> Template {
        Template(Node::Expression(expr))
    }

    pub(crate) fn array(items: Vec<Template>) -> Template {
        match items
            .iter()
            .map(Template::as_constant)
            .collect::<Option<Vec<_>>>()
        {
            Some(constants) => Template::constant(constants.into_iter().cloned().collect()),
            None => Template(Node::Array(items)),
        }
    }

    pub(crate) fn object(members: Vec<(Val, Template)>) -> Template {
        let constant =
            |(key, val): &(Val, Template)| Some((key.clone(), val.as_constant()?.clone()));
        match members.iter().map(constant).collect::<Option<Map>>() {
            Some(map) => Template::constant(Val::obj(map)),
            None => Template(Node::Object(members)),
        }
    }

    /// The members, if it is an object, those without an expression with their values.
    pub(crate) fn members(&self) -> Option<Vec<(Val, Option<Val>)>> {
        match &self.0 {
            Node::Constant(Val::Obj(map)) => {
                let members = map.iter();
                Some(members.map(|(k, v)| (k.clone(), Some(v.clone()))).collect())
            }
            Node::Object(members) => {
                let members = members.iter();
                Some(
                    members
                        .map(|(k, t)| (k.clone(), t.as_constant().cloned()))
                        .collect(),
                )
            }
            _ => None,
        }
    }

    /// The value, if it holds no expression.
    pub fn as_constant(&self) -> Option<&Val> {
        match &self.0 {
            Node::Constant(val) => Some(val),
            _ => None,
        }
    }

    /// The value with each expression replaced by its result. Arguments as for [`Expr::eval`].
    pub fn eval(
        &self,
        input: &Val,
        vars: &dyn Fn(&str) -> Val,
        now_ns: Option<i64>,
    ) -> Result<Val, ExprError> {
        Ok(match &self.0 {
            Node::Constant(val) => val.clone(),
            Node::Expression(expr) => expr.eval(input, vars, now_ns)?,
            Node::Array(items) => items
                .iter()
                .map(|item| item.eval(input, vars, now_ns))
                .collect::<Result<Val, ExprError>>()?,
            Node::Object(members) => {
                let members = members
                    .iter()
                    .map(|(key, val)| Ok((key.clone(), val.eval(input, vars, now_ns)?)));
                Val::obj(members.collect::<Result<Map, ExprError>>()?)
            }
        })
    }

    /// What its expressions read of the time, together.
    pub fn reads_time(&self) -> TimeReads {
        match &self.0 {
            Node::Constant(_) => TimeReads::default(),
            Node::Expression(expr) => expr.reads_time(),
            Node::Array(items) => items
                .iter()
                .fold(TimeReads::default(), |all, item| all | item.reads_time()),
            Node::Object(members) => members.iter().fold(TimeReads::default(), |all, (_, item)| {
                all | item.reads_time()
            }),
        }
    }

    /// Whether any of its expressions uses the variable, named with its `$`.
    pub fn uses(&self, var: &str) -> bool {
        match &self.0 {
            Node::Constant(_) => false,
            Node::Expression(expr) => expr.uses(var),
            Node::Array(items) => items.iter().any(|item| item.uses(var)),
            Node::Object(members) => members.iter().any(|(_, item)| item.uses(var)),
        }
    }
}
