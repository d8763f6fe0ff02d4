//! The differences between two events, field by field, and within values by JSON path.

use super::event::{Lens, NormEvent, NormValue, Same, same_value};
use super::ignore::Rules;
use super::report::{Change, Distance, FieldDiff};
use aos_engine::value::{Val, Value};
use aos_format::digest::hex;
use aos_format::event::{self, Field, FieldType};
use aos_format::frame::Kind;
use jiff::Timestamp;

/// Differences listed for one pair of events.
pub(crate) const DIFFS_MAX: usize = 200;
/// Longest text of a value, in characters.
const SHOWN_MAX: usize = 400;
/// Longest strings whose edit distance is computed, in characters.
const EDIT_MAX: usize = 400;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    /// The differences that count, the first [`DIFFS_MAX`].
    pub diffs: Vec<FieldDiff>,
    /// How many rules hid.
    pub hidden: u64,
}

impl Fields {
    /// Whether nothing that counts differs.
    pub fn is_equal(&self) -> bool {
        self.diffs.iter().all(|diff| diff.volatile)
    }
}

/// Compares two events of one kind.
pub(crate) fn diff(a: &NormEvent, b: &NormEvent, lens: Lens, rules: &Rules) -> Fields {
    let mut out = Out {
        event: b,
        rules,
        fields: Fields::default(),
    };
    if a.kind != b.kind {
        out.push(
            "kind",
            Change::Modified,
            Some(quoted(a.kind.name())),
            Some(quoted(b.kind.name())),
            None,
        );
        return out.fields;
    }
    let (left, right) = (a.raw(), b.raw());
    for (number, (field, (x, y))) in event::fields(a.kind)
        .iter()
        .zip(left.iter().zip(&right))
        .enumerate()
    {
        if field.kind == FieldType::Slot {
            let of = |event: &'_ NormEvent| {
                event
                    .values
                    .iter()
                    .find(|v| v.slot == number as u8)
                    .cloned()
            };
            out.values(field.name, of(a).as_ref(), of(b).as_ref());
        } else if x != y && lens.counts(a.kind, field.name, a, b) {
            let distance = match (a.kind, field.name) {
                (Kind::Time, "time_ns") => nanoseconds(x, y),
                _ => integers(field, x, y),
            };
            let (x, y) = (plain(field, x), plain(field, y));
            out.push(field.name, change(&x, &y), x, y, distance);
        }
    }
    out.fields
}

/// The difference between two events of different steps or kinds.
pub(crate) fn step(a: &NormEvent, b: &NormEvent) -> FieldDiff {
    let name = |event: &NormEvent| Some(quoted(&super::event::key(event)));
    FieldDiff {
        path: "activation".into(),
        change: Change::Modified,
        a: name(a),
        b: name(b),
        distance: None,
        volatile: false,
    }
}

/// The unhashed differences of a pair: shown, never counted.
pub(crate) fn volatile(a: &NormEvent, b: &NormEvent) -> Vec<FieldDiff> {
    let mut diffs = Vec::new();
    let mut push = |path: String, x: Option<String>, y: Option<String>, distance| {
        diffs.push(FieldDiff {
            path,
            change: change(&x, &y),
            a: x,
            b: y,
            distance,
            volatile: true,
        });
    };
    for (name, bytes) in &a.volatile {
        let other = b.volatile.iter().find(|(n, _)| n == name);
        if other.is_some_and(|(_, theirs)| theirs != bytes) {
            push(
                (*name).into(),
                Some(extra(name, bytes)),
                other.map(|(_, theirs)| extra(name, theirs)),
                None,
            );
        }
    }
    if a.activation() != b.activation() {
        push(
            "activation".into(),
            Some(quoted(&a.activation())),
            Some(quoted(&b.activation())),
            None,
        );
    }
    diffs
}

fn extra(name: &str, bytes: &[u8]) -> String {
    match (name, std::str::from_utf8(bytes)) {
        ("key" | "wire_key" | "foreign_id", Ok(text)) => quoted(text),
        ("foreign", Ok(text)) => quoted(&cut(text)),
        ("extension" | "environment", Ok(text)) => cut(text),
        _ => quoted(&cut(&hex(&bytes[..bytes.len().min(64)]))),
    }
}

struct Out<'a> {
    event: &'a NormEvent,
    rules: &'a Rules,
    fields: Fields,
}

impl Out<'_> {
    fn push(
        &mut self,
        path: &str,
        change: Change,
        a: Option<String>,
        b: Option<String>,
        distance: Option<Distance>,
    ) {
        if self.rules.hide(self.event, path) {
            self.fields.hidden += 1;
        } else if self.fields.diffs.len() < DIFFS_MAX {
            self.fields.diffs.push(FieldDiff {
                path: path.to_owned(),
                change,
                a,
                b,
                distance,
                volatile: false,
            });
        }
    }

    fn values(&mut self, name: &str, a: Option<&NormValue>, b: Option<&NormValue>) {
        match same_value(a, b) {
            Same::Yes => {}
            Same::Unknown => {
                let named = |value: Option<&NormValue>| {
                    value.map(|value| quoted(&format!("a value named {}", value.name.digest)))
                };
                self.push(name, Change::Unknown, named(a), named(b), None);
            }
            Same::No => {
                let bytes = |value: Option<&NormValue>| value.and_then(|v| v.bytes.clone());
                let (x, y) = (bytes(a), bytes(b));
                let read = |bytes: &Option<std::sync::Arc<[u8]>>| {
                    bytes
                        .as_ref()
                        .and_then(|bytes| Value::from_json(bytes).ok())
                };
                match (read(&x), read(&y)) {
                    (Some(u), Some(v)) if u == v => {
                        let text = |bytes: &Option<std::sync::Arc<[u8]>>| {
                            bytes.as_ref().map(|b| cut(&String::from_utf8_lossy(b)))
                        };
                        self.push(name, Change::Respelled, text(&x), text(&y), None);
                    }
                    (Some(u), Some(v)) => self.trees(&mut name.to_owned(), u.val(), v.val()),
                    (u, v) => {
                        let text = |value: Option<Value>, slot: Option<&NormValue>| match value {
                            Some(value) => Some(cut(value.as_str())),
                            None => slot.map(|slot| {
                                quoted(&format!(
                                    "{} bytes named {}",
                                    slot.name.len, slot.name.digest
                                ))
                            }),
                        };
                        let (u, v) = (text(u, a), text(v, b));
                        self.push(name, change(&u, &v), u, v, None);
                    }
                }
            }
        }
    }

    fn trees(&mut self, path: &mut String, a: &Val, b: &Val) {
        if self.fields.diffs.len() >= DIFFS_MAX {
            return;
        }
        match (a, b) {
            (Val::Obj(x), Val::Obj(y)) => {
                let depth = path.len();
                for (key, left) in x.iter() {
                    join(path, &key_text(key));
                    match y.get(key) {
                        Some(right) => self.trees(path, left, right),
                        None => self.push(path, Change::Removed, Some(text(left)), None, None),
                    }
                    path.truncate(depth);
                }
                for (key, right) in y.iter().filter(|(key, _)| x.get(*key).is_none()) {
                    join(path, &key_text(key));
                    self.push(path, Change::Added, None, Some(text(right)), None);
                    path.truncate(depth);
                }
            }
            (Val::Arr(x), Val::Arr(y)) => self.arrays(path, x, y),
            _ => {
                let (x, y) = (text(a), text(b));
                if x != y {
                    let distance = distance(a, b);
                    self.push(
                        path,
                        Change::Modified,
                        Some(cut(&x)),
                        Some(cut(&y)),
                        distance,
                    );
                }
            }
        }
    }

    fn arrays(&mut self, path: &mut String, a: &[Val], b: &[Val]) {
        let texts = |items: &[Val]| items.iter().map(text).collect::<Vec<_>>();
        let (x, y) = (texts(a), texts(b));
        if x == y {
            return;
        }
        let sorted = |items: &[String]| {
            let mut items = items.to_vec();
            items.sort_unstable();
            items
        };
        if x.len() == y.len() && sorted(&x) == sorted(&y) {
            let shown = |items: &[Val]| Some(cut(&text(&Val::Arr(items.to_vec().into()))));
            return self.push(path, Change::Reordered, shown(a), shown(b), None);
        }
        let head = x.iter().zip(&y).take_while(|(p, q)| p == q).count();
        let rest = x.len().min(y.len()) - head;
        let tail = x.iter().rev().zip(y.iter().rev()).take(rest);
        let tail = tail.take_while(|(p, q)| p == q).count();
        let (x, y) = (&a[head..a.len() - tail], &b[head..b.len() - tail]);
        let depth = path.len();
        for number in 0..x.len().max(y.len()) {
            join(path, &(head + number).to_string());
            match (x.get(number), y.get(number)) {
                (Some(left), Some(right)) => self.trees(path, left, right),
                (Some(left), None) => {
                    self.push(path, Change::Removed, Some(text(left)), None, None)
                }
                (None, Some(right)) => {
                    self.push(path, Change::Added, None, Some(text(right)), None)
                }
                (None, None) => {}
            }
            path.truncate(depth);
        }
    }
}

/// One step further down a JSON pointer.
fn join(path: &mut String, part: &str) {
    path.push('/');
    for c in part.chars() {
        match c {
            '~' => path.push_str("~0"),
            '/' => path.push_str("~1"),
            c => path.push(c),
        }
    }
}

fn key_text(key: &Val) -> String {
    match key {
        Val::TStr(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => text(other),
    }
}

/// A part of a value as canonical JSON.
fn text(val: &Val) -> String {
    Value::from_val(val).map_or_else(|_| "null".into(), |value| value.as_str().to_owned())
}

fn quoted(text: &str) -> String {
    Value::from_text(text).map_or_else(|_| "\"\"".into(), |value| value.as_str().to_owned())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn change(a: &Option<String>, b: &Option<String>) -> Change {
    match (a, b) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        _ => Change::Modified,
    }
}

fn plain(field: &Field, bytes: &[u8]) -> Option<String> {
    match field.kind {
        FieldType::Text | FieldType::Word(_) => {
            let text = field.text(bytes).filter(|text| !text.is_empty());
            text.map(|text| quoted(&cut(text)))
        }
        FieldType::Int { .. } => field.number(bytes).map(|number| number.to_string()),
        _ if bytes.is_empty() => None,
        FieldType::Digest | FieldType::List | FieldType::Slot => {
            Some(quoted(&hex(&bytes[..bytes.len().min(64)])))
        }
    }
}

fn integers(field: &Field, a: &[u8], b: &[u8]) -> Option<Distance> {
    let (a, b) = (field.number(a)?, field.number(b)?);
    Some(Distance::Number(b as f64 - a as f64))
}

fn nanoseconds(a: &[u8], b: &[u8]) -> Option<Distance> {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<i64>().ok();
    let apart = i128::from(number(b)?) - i128::from(number(a)?);
    Some(Distance::Milliseconds(apart as f64 / 1e6))
}

/// How far two leaves are apart, by what they are.
pub(crate) fn distance(a: &Val, b: &Val) -> Option<Distance> {
    match (a, b) {
        (Val::Num(_), Val::Num(_)) => {
            let (x, y) = (text(a), text(b));
            let whole = |text: &str| !text.contains(['.', 'e', 'E']);
            let (p, q): (f64, f64) = (x.parse().ok()?, y.parse().ok()?);
            if whole(&x) && whole(&y) {
                Some(Distance::Number(q - p))
            } else {
                Some(Distance::Ulp(ulps(p, q)))
            }
        }
        (Val::TStr(x), Val::TStr(y)) => {
            let (x, y) = (std::str::from_utf8(x).ok()?, std::str::from_utf8(y).ok()?);
            if let (Ok(p), Ok(q)) = (x.parse::<Timestamp>(), y.parse::<Timestamp>()) {
                let apart = q.as_nanosecond() - p.as_nanosecond();
                return Some(Distance::Milliseconds(apart as f64 / 1e6));
            }
            Some(edit(x, y))
        }
        _ => None,
    }
}

/// Doubles between two, over zero where their signs differ.
pub(crate) fn ulps(a: f64, b: f64) -> u64 {
    let line = |x: f64| {
        let bits = x.to_bits() as i64;
        i128::from(if bits < 0 { i64::MIN - bits } else { bits })
    };
    u64::try_from((line(b) - line(a)).unsigned_abs()).unwrap_or(u64::MAX)
}

/// Levenshtein's distance, of strings that are not too long.
fn edit(a: &str, b: &str) -> Distance {
    let (x, y): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let head = x.iter().zip(&y).take_while(|(p, q)| p == q).count();
    let rest = x.len().min(y.len()) - head;
    let tail = x.iter().rev().zip(y.iter().rev()).take(rest);
    let tail = tail.take_while(|(p, q)| p == q).count();
    let (x, y) = (&x[head..x.len() - tail], &y[head..y.len() - tail]);
    if x.len().max(y.len()) > EDIT_MAX {
        return Distance::EditAtLeast(x.len().abs_diff(y.len()).max(1) as u64);
    }
    let mut row: Vec<u64> = (0..=y.len() as u64).collect();
    for (i, p) in x.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i as u64 + 1;
        for (j, q) in y.iter().enumerate() {
            let replaced = corner + u64::from(p != q);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    Distance::Edit(row[y.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(a: &str, b: &str) -> Option<Distance> {
        let value = |text: &str| Value::from_json(text.as_bytes()).unwrap();
        distance(value(a).val(), value(b).val())
    }

    #[test]
    fn distances_follow_what_the_values_are() {
        assert_eq!(apart("0.1", "0.10000000000000002"), Some(Distance::Ulp(1)));
        assert_eq!(
            apart("-0.5", "0.5").map(|d| matches!(d, Distance::Ulp(n) if n > 1 << 62)),
            Some(true)
        );
        assert_eq!(apart("3", "10"), Some(Distance::Number(7.0)));
        assert_eq!(
            apart(
                "\"2011-10-01T00:38:44.546+02:00\"",
                "\"2011-09-30T22:38:45.046Z\""
            ),
            Some(Distance::Milliseconds(500.0))
        );
        assert_eq!(apart("\"kitten\"", "\"sitting\""), Some(Distance::Edit(3)));
        assert_eq!(apart("\"a\"", "1"), None);
        let long = |c: &str| format!("\"{}\"", c.repeat(500));
        assert_eq!(
            apart(&long("a"), &long("b")),
            Some(Distance::EditAtLeast(1))
        );
    }

    #[test]
    fn ulps_count_over_zero() {
        assert_eq!(ulps(0.0, -0.0), 0);
        assert_eq!(ulps(f64::from_bits(1), -f64::from_bits(1)), 2);
        assert_eq!(ulps(1.0, 1.0), 0);
    }
}
