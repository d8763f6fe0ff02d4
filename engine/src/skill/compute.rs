//! `compute`: seeded draws, digests and exact arithmetic.
//!
//! | op | arguments | output |
//! |---|---|---|
//! | `draw` | `min`, `max`, `count`? | an integer from `min` to `max`, both included; with `count` an array of them |
//! | `chance` | `numerator`, `denominator` | true that often |
//! | `choose` | `from`: array | one of its items |
//! | `bytes` | `count` | that many random bytes, hexadecimal |
//! | `sha256` | `value` or `text` | digest of the canonical JSON of the value, or of the text's UTF-8; hexadecimal |
//! | `add` `sub` `mul` | `a`, `b`: integers | exact |
//! | `div` `mod` | `a`, `b`: integers, `rounding`? | see [`quotient`] |
//! | `sum` `min` `max` | `values`: array of numbers | see [`reduce`] |
//! | `mean` | `values`, `rounding`? | see [`mean`] |

use super::arguments::{Arguments, describe, integer, short};
use super::{About, Pure};
use crate::fault::{Code, Fault};
use crate::seed::Stream;
use crate::value::{Val, Value, as_text, member};
use aos_format::digest::{Digest, hex};
use jaq_json::Num;
use num_bigint::{BigInt, Sign};

/// Most draws, bytes or values in one call.
const COUNT_MAX: usize = 100_000;

/// The skill.
pub(super) struct Compute;

/// What each op needs.
const INPUT: &str = r#"{
  "type": "object",
  "required": ["op"],
  "properties": {
    "op": {"enum": ["add", "bytes", "chance", "choose", "div", "draw", "max", "mean", "min", "mod", "mul", "sha256", "sub", "sum"]},
    "a": {"type": "integer"}, "b": {"type": "integer"},
    "count": {"type": "integer", "minimum": 0, "maximum": 100000},
    "denominator": {"type": "integer", "minimum": 1}, "numerator": {"type": "integer", "minimum": 0},
    "from": {"type": "array", "minItems": 1, "maxItems": 100000},
    "max": {"type": "integer"}, "min": {"type": "integer"},
    "rounding": {"enum": ["floor", "trunc"]},
    "text": {"type": "string"}, "value": {},
    "values": {"type": "array", "items": {"type": "number"}, "maxItems": 100000}
  },
  "additionalProperties": false,
  "allOf": [
    {"if": {"properties": {"op": {"const": "draw"}}}, "then": {"required": ["min", "max"]}},
    {"if": {"properties": {"op": {"const": "chance"}}}, "then": {"required": ["numerator", "denominator"]}},
    {"if": {"properties": {"op": {"const": "choose"}}}, "then": {"required": ["from"]}},
    {"if": {"properties": {"op": {"const": "bytes"}}}, "then": {"required": ["count"]}},
    {"if": {"properties": {"op": {"const": "sha256"}}}, "then": {"anyOf": [{"required": ["value"]}, {"required": ["text"]}]}},
    {"if": {"properties": {"op": {"enum": ["add", "sub", "mul", "div", "mod"]}}}, "then": {"required": ["a", "b"]}},
    {"if": {"properties": {"op": {"enum": ["sum", "min", "max", "mean"]}}}, "then": {"required": ["values"]}}
  ]
}"#;

impl Pure for Compute {
    fn about(&self) -> About {
        About {
            checked: false,
            ..About::pure()
                .summary("Seeded draws, digests and exact arithmetic")
                .schemas(INPUT, r#"{"type": ["integer", "number", "boolean", "string", "array", "object", "null"]}"#)
        }
    }

    fn check(&self, arguments: &Value) -> Result<(), Fault> {
        let whole = |name: &str| member(arguments.val(), name).and_then(integer);
        let is_zero = |name: &str| whole(name).is_some_and(|n| n.sign() == Sign::NoSign);
        let given = Arguments::of("compute", arguments)?;
        let at_most = |low: &str, high: &str| match (whole(low), whole(high)) {
            (Some(low), Some(high)) => low <= high,
            _ => true,
        };
        match member(arguments.val(), "op").and_then(as_text) {
            Some("draw") if !at_most("min", "max") => {
                Err(given.wrong("max", "an integer not below `min`", "a lower one"))
            }
            Some("chance") if !at_most("numerator", "denominator") => {
                Err(given.wrong("numerator", "an integer from 0 to `denominator`", "another"))
            }
            Some("div" | "mod") if is_zero("b") => {
                Err(given.wrong("b", "an integer other than 0", "0"))
            }
            _ => Ok(()),
        }
    }

    fn run(&self, arguments: &Value, random: &mut Stream) -> Result<Value, Fault> {
        let mut given = Arguments::of("compute", arguments)?;
        let op = given.text("op")?;
        let output = match op {
            "draw" => draw(&mut given, random)?,
            "chance" => chance(&mut given, random)?,
            "choose" => choose(&mut given, random)?,
            "bytes" => bytes(&mut given, random)?,
            "sha256" => sha256(&mut given)?,
            "add" | "sub" | "mul" => arithmetic(op, &mut given)?,
            "div" | "mod" => division(op, &mut given)?,
            "sum" | "min" | "max" => {
                let values = numbers(&mut given)?;
                given.end()?;
                reduce(op, &values, &given)?
            }
            "mean" => mean(&mut given)?,
            _ => {
                let known = "one of add, bytes, chance, choose, div, draw, max, mean, min, mod, mul, sha256, sub, sum";
                return Err(given.wrong("op", known, &format!("text `{}`", short(op))));
            }
        };
        Value::from_val(&output)
            .map_err(|e| Fault::new(Code::InvalidInput, format!("compute: output: {e}")))
    }
}

fn draw(given: &mut Arguments<'_>, random: &mut Stream) -> Result<Val, Fault> {
    let (min, max) = (given.integer("min")?, given.integer("max")?);
    let count = given.maybe_count("count", COUNT_MAX)?;
    given.end()?;
    if min > max {
        return Err(given.wrong("max", "an integer not below `min`", "a lower one"));
    }
    let last = u64::try_from(&max - &min)
        .map_err(|_| given.wrong("max", "at most 2^64 integers from `min` to `max`", "more"))?;
    let mut one = || {
        let offset = match last.checked_add(1) {
            Some(bound) => random.below(bound),
            None => random.u64(),
        };
        integer_value(&min + BigInt::from(offset))
    };
    Ok(match count {
        None => one(),
        Some(count) => (0..count).map(|_| one()).collect(),
    })
}

fn chance(given: &mut Arguments<'_>, random: &mut Stream) -> Result<Val, Fault> {
    let (numerator, denominator) = (given.integer("numerator")?, given.integer("denominator")?);
    given.end()?;
    let denominator = u64::try_from(denominator)
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| given.wrong("denominator", "an integer from 1 to 2^64 - 1", "another"))?;
    let numerator = u64::try_from(numerator)
        .ok()
        .filter(|n| *n <= denominator)
        .ok_or_else(|| given.wrong("numerator", "an integer from 0 to `denominator`", "another"))?;
    Ok(Val::Bool(random.below(denominator) < numerator))
}

fn choose(given: &mut Arguments<'_>, random: &mut Stream) -> Result<Val, Fault> {
    let from = given.array("from", COUNT_MAX)?;
    given.end()?;
    if from.is_empty() {
        return Err(given.wrong("from", "at least one item", "none"));
    }
    let at = random.below(from.len() as u64);
    Ok(from[at as usize].clone())
}

fn bytes(given: &mut Arguments<'_>, random: &mut Stream) -> Result<Val, Fault> {
    let count = given.maybe_count("count", COUNT_MAX)?;
    given.end()?;
    let count = count.ok_or_else(|| given.wrong("count", "an integer", "nothing"))?;
    let mut bytes = vec![0; count];
    random.fill(&mut bytes);
    Ok(Val::utf8_str(hex(&bytes)))
}

fn sha256(given: &mut Arguments<'_>) -> Result<Val, Fault> {
    let (value, text) = (given.maybe("value"), given.maybe("text"));
    given.end()?;
    let digest = match (value, text) {
        (Some(value), None) => {
            let value = Value::from_val(value)
                .map_err(|e| given.wrong("value", "a JSON value", &e.to_string()))?;
            Digest::of(value.canonical())
        }
        (None, Some(text)) => {
            let text = as_text(text).ok_or_else(|| given.wrong("text", "text", &describe(text)))?;
            Digest::of(text.as_bytes())
        }
        (None, None) => return Err(given.wrong("value", "`value` or `text`", "neither")),
        (Some(_), Some(_)) => return Err(given.wrong("text", "`value` or `text`", "both")),
    };
    Ok(Val::utf8_str(digest.hex()))
}

fn arithmetic(op: &str, given: &mut Arguments<'_>) -> Result<Val, Fault> {
    let (a, b) = (given.integer("a")?, given.integer("b")?);
    given.end()?;
    Ok(integer_value(match op {
        "add" => a + b,
        "sub" => a - b,
        _ => a * b,
    }))
}

/// How a quotient that is no integer is made one.
#[derive(Clone, Copy)]
enum Rounding {
    /// Towards minus infinity.
    Floor,
    /// Towards zero.
    Trunc,
}

fn rounding(given: &mut Arguments<'_>) -> Result<Option<Rounding>, Fault> {
    let Some(value) = given.maybe("rounding") else {
        return Ok(None);
    };
    match as_text(value) {
        Some("floor") => Ok(Some(Rounding::Floor)),
        Some("trunc") => Ok(Some(Rounding::Trunc)),
        _ => Err(given.wrong("rounding", "`floor` or `trunc`", &describe(value))),
    }
}

/// `div` without `rounding` is exact or refused; `mod` without it is that of `floor`. For the same rounding always
/// `a = b * div + mod`.
fn division(op: &str, given: &mut Arguments<'_>) -> Result<Val, Fault> {
    let (a, b) = (given.integer("a")?, given.integer("b")?);
    let rounding = rounding(given)?;
    given.end()?;
    if b.sign() == Sign::NoSign {
        return Err(given.wrong("b", "an integer other than 0", "0"));
    }
    if op == "mod" {
        return Ok(integer_value(
            quotient(&a, &b, rounding.unwrap_or(Rounding::Floor)).1,
        ));
    }
    let (quotient, rest) = quotient(&a, &b, rounding.unwrap_or(Rounding::Trunc));
    if rounding.is_none() && rest.sign() != Sign::NoSign {
        return Err(given.wrong(
            "rounding",
            "`floor` or `trunc`, as the division leaves a rest",
            "nothing",
        ));
    }
    Ok(integer_value(quotient))
}

/// Quotient and rest: `trunc` gives a rest with the sign of `a`, `floor` one with the sign of `b`.
fn quotient(a: &BigInt, b: &BigInt, rounding: Rounding) -> (BigInt, BigInt) {
    let (quotient, rest) = (a / b, a % b);
    match rounding {
        Rounding::Floor if rest.sign() != Sign::NoSign && rest.sign() != b.sign() => {
            (quotient - 1, rest + b)
        }
        Rounding::Floor | Rounding::Trunc => (quotient, rest),
    }
}

/// A number among `values`.
#[derive(Clone)]
enum Number {
    Exact(BigInt),
    Float(f64),
}

impl Number {
    /// The nearest float. Through decimal digits where the machine has no exact conversion: the standard library promises
    /// that reading digits rounds to nearest.
    fn float(&self) -> f64 {
        match self {
            Number::Float(x) => *x,
            Number::Exact(n) => match i64::try_from(n) {
                Ok(n) => n as f64,
                Err(_) => n.to_string().parse().unwrap_or(f64::NAN),
            },
        }
    }

    fn value(&self) -> Val {
        match self {
            Number::Exact(n) => integer_value(n.clone()),
            Number::Float(x) => Val::from(*x),
        }
    }
}

fn numbers(given: &mut Arguments<'_>) -> Result<Vec<Number>, Fault> {
    let values = given.array("values", COUNT_MAX)?;
    let mut numbers = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let place = format!("values/{at}");
        numbers.push(match value {
            Val::Num(Num::Float(x)) => Number::Float(*x),
            Val::Num(Num::Dec(digits)) => match digits.parse() {
                Ok(x) => Number::Float(x),
                Err(_) => return Err(given.wrong(&place, "a number", "one that cannot be read")),
            },
            _ => match integer(value) {
                Some(n) => Number::Exact(n),
                None => return Err(given.wrong(&place, "a number", &describe(value))),
            },
        });
    }
    Ok(numbers)
}

/// `sum`, `min` or `max` of `values`. Integers alone: exact. As soon as one is a float, all count as floats (nearest, ties to
/// even), added from left to right; `min` and `max` give the first of equals, unchanged. The sum of nothing is 0.
fn reduce(op: &str, values: &[Number], given: &Arguments<'_>) -> Result<Val, Fault> {
    let exact: Option<Vec<&BigInt>> = values
        .iter()
        .map(|n| match n {
            Number::Exact(n) => Some(n),
            Number::Float(_) => None,
        })
        .collect();
    if op == "sum" {
        return match exact {
            Some(exact) => Ok(integer_value(exact.into_iter().sum())),
            None => finite(values.iter().map(Number::float).fold(0.0, |sum, x| sum + x)),
        };
    }
    let Some(first) = values.first() else {
        return Err(given.wrong("values", "at least one number", "none"));
    };
    let mut best = first;
    for next in &values[1..] {
        let order = match (next, best) {
            (Number::Exact(a), Number::Exact(b)) if exact.is_some() => a.cmp(b),
            _ => next.float().total_cmp(&best.float()),
        };
        if (op == "min" && order.is_lt()) || (op == "max" && order.is_gt()) {
            best = next;
        }
    }
    Ok(best.value())
}

/// Integers: exact where it comes out even, by `rounding` where given, else the nearest float, refused where sum or count are
/// beyond 2^53 and the quotient would be rounded twice. Floats: the sum divided by the count.
fn mean(given: &mut Arguments<'_>) -> Result<Val, Fault> {
    let values = numbers(given)?;
    let rounding = rounding(given)?;
    given.end()?;
    if values.is_empty() {
        return Err(given.wrong("values", "at least one number", "none"));
    }
    let count = values.len();
    let sum: Option<BigInt> = values.iter().try_fold(BigInt::ZERO, |sum, n| match n {
        Number::Exact(n) => Some(sum + n),
        Number::Float(_) => None,
    });
    let Some(sum) = sum else {
        if rounding.is_some() {
            return Err(given.wrong(
                "rounding",
                "nothing, as some of `values` are no integers",
                "one",
            ));
        }
        return finite(values.iter().map(Number::float).fold(0.0, |sum, x| sum + x) / count as f64);
    };
    let (whole, rest) = quotient(
        &sum,
        &BigInt::from(count),
        rounding.unwrap_or(Rounding::Trunc),
    );
    if rounding.is_some() || rest.sign() == Sign::NoSign {
        return Ok(integer_value(whole));
    }
    match i64::try_from(&sum) {
        Ok(sum) if sum.unsigned_abs() <= 1 << 53 => finite(sum as f64 / count as f64),
        _ => Err(given.wrong(
            "rounding",
            "`floor` or `trunc`, as the sum is beyond 2^53",
            "nothing",
        )),
    }
}

fn integer_value(n: BigInt) -> Val {
    match isize::try_from(&n) {
        Ok(n) => Val::from(n),
        Err(_) => Val::Num(Num::big_int(n)),
    }
}

fn finite(x: f64) -> Result<Val, Fault> {
    if x.is_finite() {
        Ok(Val::from(x))
    } else {
        Err(Fault::new(
            Code::InvalidInput,
            "compute: output: expected a finite number, found one beyond the range of floats",
        ))
    }
}

#[cfg(test)]
#[path = "compute_tests.rs"]
mod tests;
