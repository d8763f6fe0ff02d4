//! A diff for people: the answer, the place, the fields, the cause, in at most 40 lines.

use crate::failure;
use crate::output::printable;
use aos_replay::diff::{
    Authenticated, Bulk, Cause, Change, Class, Distance, EventRef, FieldDiff, Op, Pair, Report,
    Row, Side, Status, Verdict,
};
use std::io::IsTerminal;

/// Lines of one report.
pub const LINES_MAX: usize = 40;
/// Characters of a value.
const VALUE_CHARS: usize = 36;
/// Characters that a shorter value is brought to.
const WIDTH: usize = VALUE_CHARS / 2;
/// Rows before the place, and from it on.
const CONTEXT: usize = 3;
/// Fields shown.
const FIELDS_MAX: usize = 6;
/// Causes shown.
const CAUSES_MAX: usize = 3;

/// Colours, where standard output takes them.
#[derive(Clone, Copy, Debug)]
pub struct Paint(bool);

impl Paint {
    /// As standard output and the environment say.
    pub fn stdout() -> Paint {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Paint(!refused && std::io::stdout().is_terminal())
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn a(self, text: &str) -> String {
        self.wrap("31", text)
    }

    fn b(self, text: &str) -> String {
        self.wrap("32", text)
    }

    fn strong(self, text: &str) -> String {
        self.wrap("1", text)
    }

    fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }
}

/// The report in lines.
pub fn lines(report: &Report, paint: Paint) -> Vec<String> {
    let mut lines = vec![headline(report, paint)];
    for (name, side) in [("a", &report.a), ("b", &report.b)] {
        lines.push(side_line(name, side, paint));
    }
    if report.verdict == Verdict::Differ || report.verdict == Verdict::Prefix {
        places(report, paint, &mut lines);
        fields(report, paint, &mut lines);
        context(report, paint, &mut lines);
        slice(report, &mut lines);
    }
    for cause in report.causes.iter().take(CAUSES_MAX) {
        cause_lines(cause, paint, &mut lines);
    }
    if report.causes.len() > CAUSES_MAX {
        lines.push(format!(
            "causes    {} more; -o json shows all",
            report.causes.len() - CAUSES_MAX
        ));
    }
    if !report.ignored.is_empty() {
        lines.push(format!(
            "ignored   {} differences by {}",
            report.ignored_differences,
            report.ignored.join(", ")
        ));
    }
    lines.push(paint.faint(&format!(
        "read      {} records, {} of them to find the place; {} experiments derived {} events again",
        report.cost.reads, report.cost.probes, report.cost.experiments, report.cost.derived
    )));
    let next = format!("next      {}", next(report));
    if lines.len() >= LINES_MAX {
        let over = lines.len() + 2 - LINES_MAX;
        lines.truncate(LINES_MAX - 2);
        lines.push(format!(
            "…         {over} lines more; -o json shows everything"
        ));
    }
    lines.push(next);
    lines
}

fn headline(report: &Report, paint: Paint) -> String {
    let name = paint.strong(report.verdict.name());
    match report.verdict {
        Verdict::Equal if report.ignored_differences > 0 => {
            format!("{name}: nothing differs but what is ignored")
        }
        Verdict::Equal => format!("{name}: the same history, {} events", report.a.events),
        Verdict::Prefix => {
            let open = if report.a.events < report.b.events {
                "a"
            } else {
                "b"
            };
            format!(
                "{name}: {open} is in progress, and equal to the other side as far as it goes, {} events",
                report.alignment.common
            )
        }
        Verdict::Undecided => {
            format!("{name}: nothing false was found, but not all could be compared")
        }
        Verdict::Damaged => format!("{name}: a side cannot be trusted, nothing was compared"),
        Verdict::Differ => {
            let what = match &report.first.state {
                Some(state) => format!("values part at {}", name_of(state)),
                None => "no value of the workflow differs".into(),
            };
            let causes = report.causes_line();
            let causes = if causes.is_empty() {
                String::new()
            } else {
                format!("; {causes}")
            };
            format!("{name}: {what}{causes}")
        }
    }
}

fn side_line(name: &str, side: &Side, paint: Paint) -> String {
    let checked = match (side.authenticated, side.sealed) {
        (Authenticated::Full, _) => "every byte checked",
        (Authenticated::Run, true) => "run checked, against its seals",
        (Authenticated::Run, false) => "run checked",
        (Authenticated::Probes, true) => "records read were checked, against their seals",
        (Authenticated::Probes, false) => "records read were checked",
        (Authenticated::Carrier, _) => "archive checked",
    };
    let run = if side.run.is_empty() {
        String::new()
    } else {
        format!(
            "  run {} key {}  {}  {}, {} events",
            &side.run[..side.run.len().min(12)],
            printable(&side.key),
            printable(&side.workflow),
            side.status,
            side.events
        )
    };
    let line = format!(
        "{name}         {}{run}  ({checked})",
        printable(&side.source)
    );
    if name == "a" {
        paint.a(&line)
    } else {
        paint.b(&line)
    }
}

/// The event that stands for a pair, in words.
fn name_of(pair: &Pair) -> String {
    match pair.b.as_ref().or(pair.a.as_ref()) {
        Some(event) => event_name(event),
        None => "nowhere".into(),
    }
}

fn event_name(event: &EventRef) -> String {
    if event.activation.is_empty() {
        event.kind.clone()
    } else {
        format!("{} {}", event.kind, printable(&event.activation))
    }
}

fn places(report: &Report, paint: Paint, lines: &mut Vec<String>) {
    let mut place = |name: &str, pair: &Option<Pair>| {
        let Some(pair) = pair else { return };
        let at = |event: &Option<EventRef>| match event {
            Some(event) => format!(
                "{} at offset {}, event {}",
                event_name(event),
                event.offset,
                event.lane_seq
            ),
            None => "not there".into(),
        };
        let (a, b) = (at(&pair.a), at(&pair.b));
        lines.push(format!("{name:<9} {} | {}", paint.a(&a), paint.b(&b)));
    };
    place("event", &report.first.event);
    if report.first.state != report.first.event {
        place("state", &report.first.state);
    }
    if report.first.output != report.first.state {
        place("output", &report.first.output);
    }
}

fn fields(report: &Report, paint: Paint, lines: &mut Vec<String>) {
    let own = report.fields.iter().filter(|diff| !diff.volatile);
    let all: Vec<&FieldDiff> = own.chain(&report.state_fields).collect();
    for diff in all.iter().take(FIELDS_MAX) {
        let value = |text: &Option<String>| {
            text.as_ref()
                .map_or_else(|| "nothing".into(), |text| short(text))
        };
        // Colours take no room: values are brought to their width first.
        let (a, b) = (value(&diff.a), value(&diff.b));
        let (a, b) = (format!("{a:>w$}", w = WIDTH), format!("{b:<w$}", w = WIDTH));
        lines.push(format!(
            "  {:<24} {} | {} {}",
            printable(&diff.path),
            paint.a(&a),
            paint.b(&b),
            apart(diff)
        ));
    }
    let volatile = report.fields.iter().filter(|diff| diff.volatile).count();
    let more = all.len().saturating_sub(FIELDS_MAX);
    let rest = match (more, volatile) {
        (0, 0) => return,
        (0, volatile) => format!("  {volatile} more that never count"),
        (more, 0) => format!("  {more} more"),
        (more, volatile) => format!("  {more} more, and {volatile} that never count"),
    };
    lines.push(paint.faint(&rest));
}

fn short(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(VALUE_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn apart(diff: &FieldDiff) -> String {
    let change = match diff.change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Modified => "",
        Change::Reordered => "reordered",
        Change::Respelled => "same value, other bytes",
        Change::Unknown => "not stored",
    };
    match diff.distance {
        None => change.into(),
        Some(Distance::Ulp(n)) => format!("{n} ULP"),
        Some(Distance::Number(n)) => format!("{n:+}"),
        Some(Distance::Milliseconds(n)) => format!("{n:+} ms"),
        Some(Distance::Edit(n)) => format!("{n} characters"),
        Some(Distance::EditAtLeast(n)) => format!("at least {n} characters"),
    }
}

/// Rows around the place where values part, behind the first row that differs where that is another one.
fn context(report: &Report, paint: Paint, lines: &mut Vec<String>) {
    let rows = &report.alignment.rows;
    let first = rows.iter().position(|row| row.op != Op::Equal).unwrap_or(0);
    let is_place = |row: &Row| Some(&row.pair) == report.first.state.as_ref();
    let place = rows.iter().position(is_place).unwrap_or(first);
    let from = place.saturating_sub(CONTEXT);
    if first < from {
        row_line(&rows[first], paint, lines);
        if first + 1 < from {
            lines.push(paint.faint("    …"));
        }
    }
    for row in rows.iter().take(place + CONTEXT).skip(from) {
        row_line(row, paint, lines);
    }
}

fn row_line(row: &Row, paint: Paint, lines: &mut Vec<String>) {
    let Some(event) = row.pair.b.as_ref().or(row.pair.a.as_ref()) else {
        return;
    };
    let sign = match row.op {
        Op::Equal => "=",
        Op::Modified => "≠",
        Op::Deleted => "−",
        Op::Inserted => "+",
        Op::Moved => "↕",
    };
    let paths = if row.paths.is_empty() {
        String::new()
    } else {
        format!("  [{}]", printable(&row.paths.join(", ")))
    };
    let line = format!(
        "  {sign} {:>6}  {}  {}{paths}",
        event.lane_seq,
        event_name(event),
        printable(&event.what)
    );
    lines.push(match row.op {
        Op::Equal => paint.faint(&line),
        Op::Deleted => paint.a(&line),
        Op::Inserted => paint.b(&line),
        Op::Modified | Op::Moved => line,
    });
}

fn slice(report: &Report, lines: &mut Vec<String>) {
    let sources = report
        .slice
        .backward
        .iter()
        .filter(|event| event.why != "differs");
    let sources: Vec<String> = sources
        .take(3)
        .map(|event| {
            let same = if event.equal { "equal" } else { "differs" };
            format!("{} of {} ({same})", event.why, event_name(&event.event))
        })
        .collect();
    if !sources.is_empty() {
        lines.push(format!("made from {}", sources.join("; ")));
    }
    let alignment = &report.alignment;
    let again = match &alignment.reconverges {
        Some(pair) => format!("; the same again from {}", name_of(pair)),
        None => String::new(),
    };
    let end = if report.slice.reaches_end {
        ", and the run's output"
    } else {
        ""
    };
    lines.push(format!(
        "tainted   {} events, {} outputs, {} effects{end}{again}",
        report.slice.events, report.slice.outputs, report.slice.effects
    ));
    lines.push(format!(
        "aligned   {} common, {} equal, {} modified, {} deleted, {} inserted, {} moved{}",
        alignment.common,
        alignment.equal,
        alignment.modified,
        alignment.deleted,
        alignment.inserted,
        alignment.moved,
        if alignment.cut {
            "; cut at --events-max"
        } else {
            ""
        }
    ));
}

fn cause_lines(cause: &Cause, paint: Paint, lines: &mut Vec<String>) {
    let benign = if cause.benign { ", benign" } else { "" };
    let status = match cause.status {
        Status::Confirmed => paint.strong(cause.status.name()),
        _ => cause.status.name().into(),
    };
    lines.push(format!(
        "cause     {} {status}{benign}: {}",
        paint.strong(cause.class.name()),
        printable(&cause.subject)
    ));
    for evidence in cause.evidence.iter().take(3) {
        lines.push(format!("          {}", printable(evidence)));
    }
    if let Some(experiment) = cause.experiment.as_ref().filter(|_| !is_check(cause)) {
        lines.push(format!(
            "          experiment: {} with {}: {}",
            experiment.kind,
            printable(&experiment.exchanged),
            printable(&experiment.outcome)
        ));
    }
    for missing in &cause.missing {
        lines.push(format!("          missing: {}", printable(missing)));
    }
}

fn is_check(cause: &Cause) -> bool {
    matches!(
        cause.class,
        Class::LogCorruption | Class::Tamper | Class::Truncated
    )
}

/// What to do next.
fn next(report: &Report) -> String {
    match report.verdict {
        Verdict::Damaged => {
            let bad = if report.a.findings.is_empty() {
                &report.b
            } else {
                &report.a
            };
            format!("aosctl log fsck {}", failure::quoted(&bad.source))
        }
        _ if report.b.run.is_empty() => "-o json shows everything".into(),
        _ => format!(
            "aosctl show {} {}; -o json shows everything",
            failure::quoted(&report.b.source),
            &report.b.run[..report.b.run.len().min(12)]
        ),
    }
}

/// A comparison of many pairs in lines: counts, groups by cause, and what stands on one side alone.
pub fn bulk_lines(bulk: &Bulk, paint: Paint) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} pairs: {} equal, {} differ ({} of them benign), {} in progress, {} undecided, {} damaged",
        paint.strong(bulk.verdict.name()),
        bulk.pairs,
        bulk.equal,
        bulk.differ,
        bulk.benign,
        bulk.prefix,
        bulk.undecided,
        bulk.damaged
    )];
    for (name, side) in [("a", &bulk.a), ("b", &bulk.b)] {
        lines.push(side_line(name, side, paint));
    }
    for (name, count, keys) in [
        ("only a", bulk.only_a_count, &bulk.only_a),
        ("only b", bulk.only_b_count, &bulk.only_b),
    ] {
        if count > 0 {
            let more = if count > keys.len() as u64 {
                ", …"
            } else {
                ""
            };
            lines.push(format!(
                "{name:<9} {count} runs: {}{more}",
                printable(&keys.join(", "))
            ));
        }
    }
    let room = LINES_MAX - lines.len() - 2;
    for group in bulk.groups.iter().take(room) {
        let place = match (group.benign, group.step.is_empty()) {
            (true, _) => "no value differs".into(),
            (false, true) => printable(&group.path),
            (false, false) => format!(
                "values part at {} {}",
                printable(&group.step),
                printable(&group.path)
            ),
        };
        lines.push(format!(
            "{:>8}  {}: {place}  (keys {})",
            group.count,
            printable(&group.causes),
            printable(&group.examples.join(", "))
        ));
    }
    if bulk.groups.len() > room {
        lines.push(format!(
            "          {} groups more; -o json shows all",
            bulk.groups.len() - room
        ));
    }
    // Where values part there is more to see.
    let told = bulk.groups.iter().find(|group| !group.benign);
    let told = told.or(bulk.groups.first());
    let next = match told.and_then(|group| group.examples.first()) {
        Some(key) if bulk.verdict == Verdict::Differ => format!(
            "aosctl diff {}:{} {}",
            failure::quoted(&bulk.a.source),
            failure::quoted(key),
            failure::quoted(&bulk.b.source)
        ),
        _ => "-o json shows everything".into(),
    };
    lines.push(format!("next      {next}"));
    lines
}
