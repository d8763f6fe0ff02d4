//! `schedule`: when runs of a workflow begin by themselves.
//!
//! Nothing here reads a clock. Each beginning has a **nominal time**, and that is the key of its run: whoever comes to it a
//! second time finds the run. `every` has its nominal times at multiples of the interval since 1970, `cron` at the minutes it
//! names, in UTC; so they follow from the document alone, whoever asks and whenever.

use super::duration::Wait;
use super::error::{DocumentError, Problem};
use super::fields::Fields;
pub use super::gather::{Gathered, Gathering};
use super::listen::{self, Strategy};
use super::node::{Entry, short};
use super::places::{At, Scope};
use crate::fault::{Code, Fault};
use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

const MS: i64 = 1_000_000;
/// Days that are looked through for the next time: any date comes again within eight years.
const DAYS_MAX: u32 = 8 * 366 + 2;

/// When runs begin.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// At multiples of so many milliseconds since 1970.
    Every(u64),
    /// So many milliseconds after the run before ended.
    After(u64),
    /// At these minutes.
    Cron(Box<Cron>),
    /// When these events came; they are the input, in an array.
    On(Strategy),
}

impl Schedule {
    /// The first nominal time after `ns`, in nanoseconds since 1970; none for what does not follow from the clock alone, and
    /// past the year 2262.
    pub fn next(&self, ns: i64) -> Option<i64> {
        match self {
            Schedule::Every(ms) => {
                let interval = i64::try_from(*ms).ok()?.checked_mul(MS)?;
                ns.div_euclid(interval)
                    .checked_add(1)?
                    .checked_mul(interval)
            }
            Schedule::Cron(cron) => cron.next(ns),
            Schedule::After(_) | Schedule::On(_) => None,
        }
    }

    pub(super) fn read(entry: &Entry) -> Result<Schedule, DocumentError> {
        let mut fields = Fields::of_entry(entry)?;
        let scope = Scope::at(At::WorkflowInput, &[]);
        let kinds = ["after", "cron", "every", "on"];
        let given: Vec<&Entry> = kinds
            .into_iter()
            .filter_map(|kind| fields.maybe(kind))
            .collect();
        fields.end()?;
        let [one] = given.as_slice() else {
            let message = "a workflow has one schedule";
            return Err(DocumentError::new(Problem::Form, entry.at, message)
                .expected(format!("one of {}", kinds.join(", "))));
        };
        match one.key.as_str() {
            "cron" => cron(one).map(|cron| Schedule::Cron(Box::new(cron))),
            "on" => events(one, &scope),
            "after" => duration(one, &scope).map(Schedule::After),
            _ => duration(one, &scope).map(Schedule::Every),
        }
    }
}

/// The key of the run that begins at a nominal time.
pub fn key_at(ns: i64) -> String {
    let at = Timestamp::from_nanosecond(i128::from(ns));
    format!(
        "schedule/{}",
        at.map_or_else(|_| ns.to_string(), |at| at.to_string())
    )
}

/// The nominal time of a key that [`key_at`] made.
pub fn time_of(key: &str) -> Option<i64> {
    let at: Timestamp = key.strip_prefix("schedule/")?.parse().ok()?;
    let ns = i64::try_from(at.as_nanosecond()).ok()?;
    (key_at(ns) == key).then_some(ns)
}

fn duration(entry: &Entry, scope: &Scope) -> Result<u64, DocumentError> {
    let wait = Wait::read(&entry.value, scope)?;
    let computed = |_: &_| Err(Fault::new(Code::InvalidInput, "computed"));
    match wait.milliseconds(computed) {
        Ok(0) => Err(DocumentError::new(
            Problem::Form,
            entry.value.at,
            "a schedule of no time at all",
        )
        .expected("at least a millisecond")),
        Ok(ms) => Ok(ms),
        Err(_) => {
            let what = "an expression in a schedule";
            Err(DocumentError::not_supported(entry.value.at, what))
        }
    }
}

fn events(entry: &Entry, scope: &Scope) -> Result<Schedule, DocumentError> {
    let strategy = listen::strategy(entry, scope)?;
    if strategy.reads_time().any() {
        let what = "an expression of a schedule that reads the clock";
        return Err(DocumentError::not_supported(entry.at, what));
    }
    Ok(Schedule::On(strategy))
}

/// A cron expression of five fields: minute, hour, day of the month, month, day of the week.
///
/// The crates for it bring a second library of dates with them, and what is needed is a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cron {
    /// Bit n: the value n.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// 0 is Sunday.
    weekdays: u64,
    /// Whether either of the days suffices: both are restricted.
    either: bool,
}

impl Cron {
    /// The first minute after `ns` that it names.
    pub fn next(&self, ns: i64) -> Option<i64> {
        let after = Timestamp::from_nanosecond(i128::from(ns)).ok()?;
        let minute = after.to_zoned(TimeZone::UTC).datetime();
        let (mut date, time) = (minute.date(), minute.time());
        let mut from = i64::from(time.hour()) * 60 + i64::from(time.minute()) + 1;
        for _ in 0..DAYS_MAX {
            if self.day(date)
                && let Some(at) = (from..24 * 60).find(|at| self.minute(*at))
            {
                let (hour, minute) = (i8::try_from(at / 60).ok()?, i8::try_from(at % 60).ok()?);
                let at = date.at(hour, minute, 0, 0).to_zoned(TimeZone::UTC).ok()?;
                return i64::try_from(at.timestamp().as_nanosecond()).ok();
            }
            (date, from) = (date.tomorrow().ok()?, 0);
        }
        None
    }

    fn minute(&self, of_day: i64) -> bool {
        self.hours >> (of_day / 60) & 1 == 1 && self.minutes >> (of_day % 60) & 1 == 1
    }

    fn day(&self, date: jiff::civil::Date) -> bool {
        let day = self.days >> date.day() & 1 == 1;
        let weekday = match date.weekday() {
            Weekday::Sunday => 0,
            other => other.to_monday_one_offset(),
        };
        let weekday = self.weekdays >> weekday & 1 == 1;
        let fits = if self.either {
            day || weekday
        } else {
            day && weekday
        };
        fits && self.months >> date.month() & 1 == 1
    }

    /// Reads an expression; what is wrong with it otherwise.
    fn parse(text: &str) -> Result<Cron, String> {
        let text = match text {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts.as_slice() else {
            return Err(format!("{} fields", parts.len()));
        };
        let read = |what, field, least, most, names: &[&str]| {
            values(field, least, most, names)
                .ok_or_else(|| format!("the {what} `{}`", short(field)))
        };
        let week = read("day of the week", weekdays, 0, 7, &WEEKDAYS)?;
        Ok(Cron {
            minutes: read("minute", minutes, 0, 59, &[])?,
            hours: read("hour", hours, 0, 23, &[])?,
            days: read("day", days, 1, 31, &[])?,
            months: read("month", months, 1, 12, &MONTHS)?,
            // 7 is Sunday too.
            weekdays: (week | week >> 7) & 0x7f,
            either: !days.starts_with(['*', '?']) && !weekdays.starts_with(['*', '?']),
        })
    }
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The values of a field: `*`, `a`, `a-b`, each perhaps `/step`, separated by commas. Names count from `least`.
fn values(field: &str, least: u32, most: u32, names: &[&str]) -> Option<u64> {
    let number = |text: &str| {
        let named = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text));
        let named = named
            .and_then(|at| u32::try_from(at).ok())
            .map(|at| at + least);
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let read = named.or_else(|| digits.then(|| text.parse().ok()).flatten())?;
        (least..=most).contains(&read).then_some(read)
    };
    let mut bits = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|n| *n > 0)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from)?, number(to)?),
            None if matches!(range, "*" | "?") => (least, most),
            None => {
                let one = number(range)?;
                (one, if step.is_some() { most } else { one })
            }
        };
        if from > to {
            return None;
        }
        let step = usize::try_from(step.unwrap_or(1)).ok()?;
        (from..=to).step_by(step).for_each(|n| bits |= 1 << n);
    }
    Some(bits)
}

fn cron(entry: &Entry) -> Result<Cron, DocumentError> {
    let text = entry.value.text("cron")?;
    let wrong = |found: String| {
        DocumentError::new(Problem::Form, entry.value.at, "no cron expression")
            .expected("minute, hour, day, month and day of the week in UTC, as in `0 0 * * *`")
            .found(found)
    };
    let cron = Cron::parse(text).map_err(wrong)?;
    match cron.next(0) {
        Some(_) => Ok(cron),
        None => Err(wrong(format!("`{}`, which never comes", short(text)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        i64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
    }

    #[test]
    fn cron_names_minutes_in_utc() {
        for (expression, from, expected) in [
            (
                "* * * * *",
                "2026-01-31T23:59:59.5Z",
                "2026-02-01T00:00:00Z",
            ),
            ("0 0 * * *", "2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z"),
            (
                "*/15 9-17 * * mon-fri",
                "2026-11-27T17:45:00Z",
                "2026-11-30T09:00:00Z",
            ),
            (
                "5,10 0 1 jan *",
                "2026-01-01T00:05:00Z",
                "2026-01-01T00:10:00Z",
            ),
            ("0 0 29 2 *", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"),
            // Either of the days: the 13th, or a Friday.
            ("0 0 13 * 5", "2026-11-10T00:00:00Z", "2026-11-13T00:00:00Z"),
            ("0 0 13 * 5", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"),
            ("0 0 * * 7", "2026-11-25T00:00:00Z", "2026-11-29T00:00:00Z"),
            (
                "30 3/6 ? * ?",
                "2026-11-25T04:00:00Z",
                "2026-11-25T09:30:00Z",
            ),
            ("@weekly", "2026-11-25T00:00:00Z", "2026-11-29T00:00:00Z"),
            ("0 0 1 1 *", "1969-06-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ] {
            let next = Cron::parse(expression).unwrap().next(at(from)).unwrap();
            assert_eq!(
                key_at(next),
                key_at(at(expected)),
                "{expression} after {from}"
            );
        }
        for wrong in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "+5 * * * *",
            "1, * * * *",
            "@never",
        ] {
            assert!(Cron::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Cron::parse("0 0 31 2 *").unwrap().next(0), None);
    }

    #[test]
    fn an_interval_has_its_times_since_1970_whoever_asks() {
        let every = Schedule::Every(90_000);
        assert_eq!(every.next(0), Some(90_000 * MS));
        assert_eq!(every.next(90_000 * MS - 1), Some(90_000 * MS));
        assert_eq!(every.next(90_000 * MS), Some(180_000 * MS));
        assert_eq!(every.next(-1), Some(0));
        assert_eq!(every.next(i64::MAX), None);
    }

    #[test]
    fn a_key_says_its_nominal_time() {
        for text in ["2026-11-25T00:00:00Z", "2026-11-25T04:40:00.25Z"] {
            assert_eq!(key_at(at(text)), format!("schedule/{text}"));
            assert_eq!(time_of(&key_at(at(text))), Some(at(text)));
        }
        for other in [
            "2026-11-25T00:00:00Z",
            "schedule/x",
            "schedule/2026-11-25T01:00:00+01:00",
        ] {
            assert_eq!(time_of(other), None);
        }
    }
}
