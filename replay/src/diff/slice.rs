//! Slices: what a difference was made from, and what was made from it.

use super::compare::{Compared, refer};
use super::event::NormEvent;
use super::report::{Op, Report, SliceEvent};
use aos_format::frame::Kind;
use std::collections::BTreeSet;

/// Events listed of each slice.
const SLICE_MAX: usize = 20;

/// Fields of a kind that hold something the workflow computes with.
pub(crate) fn state_fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Start => &["input"],
        Kind::Step => &["output", "context", "next", "outcome", "error"],
        Kind::Result => &["response", "outcome", "error"],
        Kind::Time => &["time_ns"],
        Kind::Decision => &["verdict", "value"],
        Kind::Signal => &["data", "signal_type"],
        Kind::Join => &["winner"],
        Kind::End => &["output", "outcome", "error"],
        Kind::Foreign => &["foreign_type", "data"],
        _ => &[],
    }
}

/// The field of the event that a path leads into.
pub(crate) fn field_of(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

/// Where state and outputs part first, after the first event that differs.
pub(crate) fn firsts(compared: &Compared<'_, '_>, report: &mut Report) {
    for line in &compared.lines {
        if line.op == Op::Equal {
            continue;
        }
        let (a, b) = compared.pair(line);
        let kind = a.or(b).map(|event| event.kind);
        let (state, output, diffs) = match (a, b) {
            (Some(a), Some(b)) => {
                let diffs = compared.diff(a, b).diffs;
                let within = |fields: &[&str]| {
                    diffs
                        .iter()
                        .any(|diff| !diff.volatile && fields.contains(&field_of(&diff.path)))
                };
                let ordered = line.op == Op::Moved;
                let output = matches!(a.kind, Kind::Step | Kind::End) && within(&["output"]);
                (within(state_fields(a.kind)) || ordered, output, diffs)
            }
            _ => (true, kind == Some(Kind::Step), Vec::new()),
        };
        if state && report.first.state.is_none() {
            report.first.state = Some(refer(a, b));
            if report.first.state != report.first.event {
                report.state_fields = diffs;
            }
        }
        if output && report.first.output.is_none() {
            report.first.output = Some(refer(a, b));
        }
        if report.first.state.is_some() && report.first.output.is_some() {
            return;
        }
    }
}

/// Both slices, on the second side; where it has no event there, on the first.
pub(crate) fn slice(compared: &Compared<'_, '_>, report: &mut Report) {
    forward(compared, report);
    let target = report.first.state.as_ref().or(report.first.event.as_ref());
    let Some(target) = target else { return };
    let side = usize::from(target.b.is_some());
    let seq = match (&target.a, &target.b) {
        (_, Some(b)) => b.seq,
        (Some(a), None) => a.seq,
        (None, None) => return,
    };
    report.slice.backward = backward(compared, side, seq);
}

/// Which events of a side are equal to their partners.
fn equal_seqs(compared: &Compared<'_, '_>, side: usize) -> BTreeSet<u64> {
    let half = &compared.halves[side];
    let before = if side == 0 {
        compared.first.0
    } else {
        compared.first.1
    };
    let mut equal: BTreeSet<u64> = half.events[..before].iter().map(|e| e.seq).collect();
    for line in compared.lines.iter().filter(|line| line.op == Op::Equal) {
        let (a, b) = compared.pair(line);
        equal.extend([a, b][side].map(|event| event.seq));
    }
    equal
}

/// What an event was made from: numbers of earlier records, and what they gave.
pub(crate) fn sources<'e>(
    events: &'e [NormEvent],
    at: usize,
) -> Vec<(&'e NormEvent, &'static str)> {
    let event = &events[at];
    let by_seq = |seq: u64| events.binary_search_by_key(&seq, |event| event.seq).ok();
    let mut found: Vec<(&NormEvent, &'static str)> = Vec::new();
    let mut add = |source: &'e NormEvent, why: &'static str| {
        if source.seq < event.seq && !found.iter().any(|(known, _)| known.seq == source.seq) {
            found.push((source, why));
        }
    };
    for value in &event.values {
        if let Some(source) = by_seq(value.at.0) {
            add(&events[source], "input");
        }
    }
    let activation = event.activation();
    let mut context = false;
    for earlier in events[..at].iter().rev() {
        let same_step = !activation.is_empty() && earlier.activation() == activation;
        if same_step && matches!(earlier.kind, Kind::Result | Kind::Decision | Kind::Signal) {
            add(earlier, "answer");
        } else if same_step && earlier.kind == Kind::Time {
            add(earlier, "clock");
        } else if !context && earlier.kind == Kind::Step && earlier.value("context").is_some() {
            context = true;
            if event.kind == Kind::Step {
                add(earlier, "context");
            }
        }
        if !same_step && context {
            break;
        }
    }
    if matches!(event.kind, Kind::Step | Kind::Intent | Kind::End) && event.seq > 1 {
        // The step before handed over its output, and the document says what is done with it.
        if let Some(before) = events[..at].iter().rev().find(|e| e.kind == Kind::Step) {
            add(before, "output");
        }
        if let Some(start) = events.first().filter(|first| first.kind == Kind::Start) {
            add(start, "document");
        }
    }
    found
}

fn backward(compared: &Compared<'_, '_>, side: usize, seq: u64) -> Vec<SliceEvent> {
    let events = &compared.halves[side].events;
    let equal = equal_seqs(compared, side);
    let mut slice: Vec<SliceEvent> = Vec::new();
    let mut queue: Vec<(u64, &'static str)> = vec![(seq, "differs")];
    let mut seen = BTreeSet::from([seq]);
    while let Some((seq, why)) = queue.pop() {
        let Ok(at) = events.binary_search_by_key(&seq, |event| event.seq) else {
            continue;
        };
        let is_equal = equal.contains(&seq);
        slice.push(SliceEvent {
            event: events[at].reference(),
            why: why.into(),
            equal: is_equal,
        });
        if is_equal || slice.len() >= SLICE_MAX {
            continue;
        }
        for (source, why) in sources(events, at) {
            // The document is worth naming only where it differs.
            let worth = why != "document" || !equal.contains(&source.seq);
            if worth && seen.insert(source.seq) {
                queue.push((source.seq, why));
            }
        }
    }
    slice.sort_by_key(|event| std::cmp::Reverse(event.event.seq));
    slice.truncate(SLICE_MAX);
    slice
}

/// Everything behind the first difference that holds something else than on the other side.
fn forward(compared: &Compared<'_, '_>, report: &mut Report) {
    let slice = &mut report.slice;
    for line in compared.lines.iter().skip(1) {
        if line.op == Op::Equal {
            continue;
        }
        let (a, b) = compared.pair(line);
        let Some(event) = b.or(a) else { continue };
        slice.events += 1;
        slice.effects += u64::from(event.kind == Kind::Intent);
        let output = match (a, b) {
            (Some(a), Some(b)) => compared
                .diff(a, b)
                .diffs
                .iter()
                .any(|diff| field_of(&diff.path) == "output"),
            _ => event.kind == Kind::Step,
        };
        slice.outputs += u64::from(output && event.kind == Kind::Step);
        slice.reaches_end |= event.kind == Kind::End && output;
        if slice.forward.len() < SLICE_MAX {
            slice.forward.push(SliceEvent {
                event: event.reference(),
                why: match line.op {
                    Op::Inserted => "inserted",
                    Op::Deleted => "deleted",
                    Op::Moved => "moved",
                    Op::Modified | Op::Equal => "modified",
                }
                .into(),
                equal: false,
            });
        }
    }
}
