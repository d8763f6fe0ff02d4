//! Durations of `wait`: inline, ISO 8601, or computed.

use super::error::{DocumentError, Problem};
use super::node::{Data, Entry, Node, short};
use super::places::Scope;
use crate::expr::Template;
use crate::fault::{Code, Fault};
use crate::value::{Val, Value, as_text};

/// Longest wait: ten years, leap days included.
pub const WAIT_MS_MAX: u64 = 3653 * DAY_MS;

const DAY_MS: u64 = 86_400_000;
const UNITS: [(&str, u64); 5] = [
    ("days", DAY_MS),
    ("hours", 3_600_000),
    ("minutes", 60_000),
    ("seconds", 1000),
    ("milliseconds", 1),
];

/// How long a `wait` step waits.
#[derive(Clone, Debug)]
pub struct Wait(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Fixed(u64),
    Computed(Template),
}

impl Wait {
    /// The duration in milliseconds, at most [`WAIT_MS_MAX`]. `fill` evaluates the template of a computed one.
    ///
    /// # Errors
    /// [`Code::InvalidInput`] when what was computed is no duration; what `fill` fails with.
    pub fn milliseconds(
        &self,
        fill: impl Fn(&Template) -> Result<Val, Fault>,
    ) -> Result<u64, Fault> {
        match &self.0 {
            Inner::Fixed(ms) => Ok(*ms),
            Inner::Computed(template) => of_val(&fill(template)?)
                .map_err(|why| Fault::new(Code::InvalidInput, format!("wait: {why}"))),
        }
    }

    /// The template of a computed duration.
    pub fn template(&self) -> Option<&Template> {
        match &self.0 {
            Inner::Fixed(_) => None,
            Inner::Computed(template) => Some(template),
        }
    }

    pub(super) fn read(node: &Node, scope: &Scope) -> Result<Wait, DocumentError> {
        match &node.data {
            Data::Text(s) if s.contains("${") => Ok(Wait(Inner::Computed(scope.template(node)?))),
            Data::Text(s) => {
                let form = |why| {
                    DocumentError::new(Problem::Form, node.at, why).found(format!("`{}`", short(s)))
                };
                Ok(Wait(Inner::Fixed(iso(s).map_err(form)?)))
            }
            Data::Map(entries) => {
                let names: Vec<&str> = UNITS.iter().map(|(name, _)| *name).collect();
                let wrong = |entry: &Entry| match names.contains(&entry.key.as_str()) {
                    false => Some(super::fields::unknown(entry, "wait", &names)),
                    true => entry.value.number(&entry.key, 0..=WAIT_MS_MAX).err(),
                };
                if let Some(problem) = DocumentError::first(entries.iter().filter_map(wrong)) {
                    return Err(problem);
                }
                let form = |why| DocumentError::new(Problem::Form, node.at, why);
                Ok(Wait(Inner::Fixed(of_val(&node.val()).map_err(form)?)))
            }
            _ => Err(node.wrong_type("wait", "a duration: a mapping, ISO 8601 text or `${ … }`")),
        }
    }
}

/// A duration from a value: a mapping of units, or ISO 8601 text.
fn of_val(val: &Val) -> Result<u64, String> {
    let Val::Obj(map) = val else {
        return match as_text(val) {
            Some(s) => iso(s),
            None => Err("a duration is a mapping of days, hours, minutes, seconds, milliseconds, or ISO 8601 text".into()),
        };
    };
    if map.is_empty() {
        return Err(
            "a duration needs at least one of days, hours, minutes, seconds, milliseconds".into(),
        );
    }
    let mut sum = 0;
    for (key, val) in map.iter() {
        let unit = UNITS.iter().find(|(name, _)| as_text(key) == Some(name));
        let Some((name, unit)) = unit else {
            let key = short(as_text(key).unwrap_or_default());
            return Err(format!(
                "a duration has no `{key}`, only days, hours, minutes, seconds, milliseconds"
            ));
        };
        let number = match val {
            Val::Num(_) => Value::from_val(val).ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| format!("`{name}` of a duration is a number"))?;
        sum = add(sum, milliseconds(number.as_str(), *unit)?)?;
    }
    Ok(sum)
}

/// `P[nW][nD][T[nH][nM][nS]]`; years and months have no fixed length.
fn iso(s: &str) -> Result<u64, String> {
    let bad = || "a duration in ISO 8601 looks like `PT1H30M` or `P1DT0.5S`".to_owned();
    let (date, time) = match s.strip_prefix('P').ok_or_else(bad)?.split_once('T') {
        Some((_, "")) => return Err(bad()),
        Some((date, time)) => (date, time),
        None => (&s[1..], ""),
    };
    if date.is_empty() && time.is_empty() {
        return Err(bad());
    }
    let mut sum = 0;
    const DATE: [(char, u64); 2] = [('W', 7 * DAY_MS), ('D', DAY_MS)];
    const TIME: [(char, u64); 3] = [('H', 3_600_000), ('M', 60_000), ('S', 1000)];
    for (mut part, units) in [(date, &DATE[..]), (time, &TIME[..])] {
        let in_date = std::ptr::eq(units.as_ptr(), DATE.as_ptr());
        let mut left = units;
        while !part.is_empty() {
            let end = part
                .find(|c: char| c.is_ascii_alphabetic())
                .ok_or_else(bad)?;
            let designator = char::from(part.as_bytes()[end]);
            if in_date && matches!(designator, 'Y' | 'M') {
                return Err("years and months have no fixed length; use weeks or days".into());
            }
            // Each unit at most once, from large to small.
            let at = left
                .iter()
                .position(|(name, _)| *name == designator)
                .ok_or_else(bad)?;
            let number = &part[..end];
            let plain = number.starts_with(|c: char| c.is_ascii_digit())
                && number.ends_with(|c: char| c.is_ascii_digit());
            if !plain {
                return Err(bad());
            }
            sum = add(sum, milliseconds(&number.replace(',', "."), left[at].1)?)?;
            left = &left[at + 1..];
            part = &part[end + 1..];
        }
    }
    Ok(sum)
}

/// Exactly `number` times `unit`; `number` is decimal, with or without fraction or exponent.
fn milliseconds(number: &str, unit: u64) -> Result<u64, String> {
    if number.starts_with('-') {
        return Err(format!(
            "a duration cannot be negative, found {}",
            short(number)
        ));
    }
    let (mantissa, exponent) = number.split_once('e').unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let bad = || {
        format!(
            "a duration has numbers like 1 or 0.5, found {}",
            short(number)
        )
    };
    let digits = format!("{whole}{fraction}");
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let exponent = exponent.parse::<i64>().map_err(|_| bad())?
        - i64::try_from(fraction.len()).map_err(|_| bad())?;
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    let product = if digits.len() > 20 {
        None
    } else {
        digits.parse::<u128>().ok()
    };
    let product = product.and_then(|n| n.checked_mul(u128::from(unit)));
    let exact = match (
        product,
        u32::try_from(exponent.unsigned_abs())
            .ok()
            .and_then(|e| 10u128.checked_pow(e)),
    ) {
        (Some(product), Some(scale)) if exponent < 0 => {
            if product % scale != 0 {
                return Err(format!(
                    "a duration goes down to milliseconds, found {}",
                    short(number)
                ));
            }
            Some(product / scale)
        }
        (Some(product), Some(scale)) => product.checked_mul(scale),
        (Some(_), None) if exponent < 0 => {
            return Err(format!(
                "a duration goes down to milliseconds, found {}",
                short(number)
            ));
        }
        _ => None,
    };
    exact
        .and_then(|ms| u64::try_from(ms).ok())
        .filter(|ms| *ms <= WAIT_MS_MAX)
        .ok_or_else(too_long)
}

fn add(a: u64, b: u64) -> Result<u64, String> {
    a.checked_add(b)
        .filter(|sum| *sum <= WAIT_MS_MAX)
        .ok_or_else(too_long)
}

fn too_long() -> String {
    "a duration is at most 10 years".into()
}
