//! One pair of runs: authenticate, locate, align, and say what differs.

use super::Options;
use super::align::{Line, align};
use super::event::{Lens, NormEvent, Stock, check_chain, key, read_all, same, workflow_name};
use super::fields::{self, Fields};
use super::ignore::Rules;
use super::input::{Input, RunAt, class_of, fault};
use super::locate::{Parting, Probe, Track, part};
use super::report::{
    Alignment, Authenticated, Cause, Class, Cost, Experiment, First, Op, Pair, Report, Row, SCHEMA,
    Side, Slice, Status, Verdict,
};
use super::slice;
use crate::error::Error;
use crate::finding::Finding;
use aos_format::digest::Digest;
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_format::record::{VOLATILE_GENERATION, VOLATILE_KEY, VOLATILE_ROOT_SEED};
use aos_store::StoredRecord;
use std::collections::BTreeMap;

/// Events before the first difference that a report shows.
pub(crate) const CONTEXT: usize = 3;
/// Paths named in a row.
const ROW_PATHS_MAX: usize = 4;
/// Events before the first difference that are read of a run too long to be read whole.
const BEFORE: u64 = 1_000;
/// Events behind the first difference that are read of such a run.
const BEHIND: u64 = 20_000;
/// Records of two runs beyond which both are read at the same time.
const MUCH: u64 = 10_000;

/// One side of a pair, read as far as the comparison needs it.
pub(crate) struct Half {
    pub at: RunAt,
    pub start: StoredRecord,
    pub key: String,
    pub generation: u64,
    /// Commitment of the root seed, as its START says.
    pub root: Option<Digest>,
    /// Events, in the order of the stream.
    pub events: Vec<NormEvent>,
    /// Number of the first record among those read.
    pub from: u64,
    /// Whether the stream goes on behind them.
    pub cut: bool,
    /// Whether they are all there are.
    pub whole: bool,
    pub ended: bool,
}

/// A checkpoint of one side that stands before the first difference: both histories can be derived from it, since they are
/// equal up to there.
pub(crate) struct Foothold {
    pub side: usize,
    pub record: StoredRecord,
    /// Position of the first event behind it among the events read of each side, at least 1.
    pub at: [usize; 2],
}

/// Two runs side by side.
pub(crate) struct Compared<'a, 'i> {
    pub inputs: [&'a Input<'i>; 2],
    pub halves: [Half; 2],
    pub lens: Lens,
    pub rules: &'a Rules,
    /// Where runs too long to be read from START are derived from.
    pub foothold: Option<Foothold>,
    /// Position of the first difference among the events read of each side.
    pub first: (usize, usize),
    /// The events from there on.
    pub lines: Vec<Line>,
}

impl Compared<'_, '_> {
    /// The events of a line.
    pub fn pair(&self, line: &Line) -> (Option<&NormEvent>, Option<&NormEvent>) {
        let [a, b] = &self.halves;
        (
            line.a.map(|at| &a.events[self.first.0 + at]),
            line.b.map(|at| &b.events[self.first.1 + at]),
        )
    }

    /// What differs between two events, under the rules.
    pub fn diff(&self, a: &NormEvent, b: &NormEvent) -> Fields {
        fields::diff(a, b, self.lens, self.rules)
    }
}

/// A pair of references.
pub(crate) fn refer(a: Option<&NormEvent>, b: Option<&NormEvent>) -> Pair {
    Pair {
        a: a.map(NormEvent::reference),
        b: b.map(NormEvent::reference),
    }
}

/// What comparing came to, before causes are looked for.
pub(crate) enum Outcome<'a, 'i> {
    /// There is nothing to explain.
    Settled(Box<Report>),
    /// Something differs.
    Parted(Box<Report>, Box<Compared<'a, 'i>>),
}

/// Compares two runs.
///
/// # Errors
/// [`Error::NoRun`]; [`Error::Store`] when a disk fails. What is wrong with the bytes of a side is a verdict.
pub(crate) fn compare<'a, 'i>(
    inputs: [&'a Input<'i>; 2],
    runs: [RunAt; 2],
    options: &'a Options<'_>,
) -> Result<Outcome<'a, 'i>, Error> {
    let before = inputs[0].reads() + inputs[1].reads();
    let mut report = empty(inputs, &options.rules);
    if damaged(&mut report, inputs) {
        return Ok(Outcome::Settled(Box::new(report)));
    }
    let mut tracks = [
        Track::new(inputs[0], runs[0]),
        Track::new(inputs[1], runs[1]),
    ];
    let outcome = compare_tracks(inputs, runs, &mut tracks, options, &mut report);
    report.cost.reads = inputs[0].reads() + inputs[1].reads() - before;
    match outcome {
        Ok(None) => Ok(Outcome::Settled(Box::new(report))),
        Ok(Some(compared)) => Ok(Outcome::Parted(Box::new(report), Box::new(compared))),
        Err(error) => {
            let side = usize::from(!tracks[0].failed && tracks[1].failed);
            distrust(&mut report, side, error)?;
            Ok(Outcome::Settled(Box::new(report)))
        }
    }
}

fn empty(inputs: [&Input<'_>; 2], rules: &Rules) -> Report {
    Report {
        schema: SCHEMA.into(),
        verdict: Verdict::Undecided,
        a: inputs[0].side(),
        b: inputs[1].side(),
        ignored: rules.texts(),
        ignored_differences: 0,
        first: First::default(),
        fields: Vec::new(),
        state_fields: Vec::new(),
        alignment: Alignment::default(),
        slice: Slice::default(),
        causes: Vec::new(),
        cost: Cost::default(),
    }
}

/// The verdict about an input that failed its checks.
pub(crate) fn damage_cause(class: Class, name: &str, faults: &[super::report::Fault]) -> Cause {
    let evidence = faults.iter().take(3).map(|fault| {
        let at = fault
            .offset
            .map_or(String::new(), |at| format!(" at offset {at}"));
        format!(
            "{}{at}: expected {}, found {}",
            fault.code, fault.expected, fault.found
        )
    });
    Cause {
        class,
        status: Status::Confirmed,
        rule: "a side fails its checks".into(),
        place: None,
        subject: name.to_owned(),
        evidence: evidence.collect(),
        experiment: Some(Experiment {
            kind: "check".into(),
            exchanged: "nothing".into(),
            outcome: "the checks of the log fail".into(),
            events: 0,
            next: None,
            digest_equal: false,
        }),
        missing: Vec::new(),
        benign: false,
    }
}

fn damaged(report: &mut Report, inputs: [&Input<'_>; 2]) -> bool {
    for (input, side) in inputs.into_iter().zip([&report.a, &report.b]) {
        if let Some(class) = input.damage() {
            let wrong: Vec<Finding> = input
                .findings()
                .iter()
                .filter(|finding| class_of(finding).is_some())
                .cloned()
                .collect();
            let faults: Vec<_> = wrong.iter().map(fault).collect();
            report
                .causes
                .push(damage_cause(class, &side.source, &faults));
        }
    }
    if !report.causes.is_empty() {
        report.verdict = Verdict::Damaged;
    }
    !report.causes.is_empty()
}

/// Turns a failure to read a side into the verdict about it.
fn distrust(report: &mut Report, side: usize, error: Error) -> Result<(), Error> {
    let finding = match error {
        Error::Unreadable(finding) => *finding,
        Error::Store(error) => match error.finding() {
            Some(finding) => finding.into(),
            None => return Err(error.into()),
        },
        error => return Err(error),
    };
    let Some(class) = class_of(&finding) else {
        report.verdict = Verdict::Undecided;
        return Ok(());
    };
    let side = if side == 0 {
        &mut report.a
    } else {
        &mut report.b
    };
    let faults = vec![fault(&finding)];
    report
        .causes
        .push(damage_cause(class, &side.source, &faults));
    side.findings.extend(faults);
    report.verdict = Verdict::Damaged;
    Ok(())
}

fn compare_tracks<'a, 'i>(
    inputs: [&'a Input<'i>; 2],
    runs: [RunAt; 2],
    tracks: &mut [Track<'a>; 2],
    options: &'a Options<'_>,
    report: &mut Report,
) -> Result<Option<Compared<'a, 'i>>, Error> {
    let [a, b] = tracks;
    let parting = part(a, b)?;
    report.cost.probes = a.reads + b.reads;
    let common = match parting {
        Parting::Equal => runs[0].records.max(runs[1].records),
        Parting::Prefix { common } | Parting::After { common } => common,
    };
    let found = checkpoint([&mut *a, &mut *b], runs, parting, options)?;
    // Where there is nothing to derive from but START, and something is to be derived, all is read that may be.
    let from_start = options.causes && found.is_none() && matches!(parting, Parting::After { .. });
    let whole_max = match from_start || !options.rules.is_empty() {
        true => options.events_max.max(options.whole_max),
        false => options.whole_max,
    };
    let from = found.as_ref().map(|(_, _, probe)| probe.lane_seq);
    let (a_half, b_half) = both(
        || {
            side_of(
                a,
                runs[0],
                inputs[0],
                parting,
                (common, from, whole_max),
                options,
            )
        },
        || {
            side_of(
                b,
                runs[1],
                inputs[1],
                parting,
                (common, from, whole_max),
                options,
            )
        },
        runs.iter().all(|run| run.records > MUCH),
    );
    let ((a_half, a_sealed), (b_half, b_sealed)) = (a_half?, b_half?);
    (report.a.sealed, report.b.sealed) = (a_sealed, b_sealed);
    let halves = [a_half, b_half];
    let foothold = found.and_then(|(side, record, _)| foothold(side, record, &halves));
    for (index, half) in halves.iter().enumerate() {
        let side = if index == 0 {
            &mut report.a
        } else {
            &mut report.b
        };
        describe(side, half, &mut tracks[index])?;
        if half.whole && side.authenticated == Authenticated::Probes {
            side.authenticated = Authenticated::Run;
        }
    }
    let lens = Lens {
        same_run: runs[0].run == runs[1].run,
    };
    let mut compared = Compared {
        inputs,
        halves,
        lens,
        rules: &options.rules,
        foothold,
        first: (0, 0),
        lines: Vec::new(),
    };
    if parting == Parting::Equal {
        report.verdict = Verdict::Equal;
        report.alignment.common = report.a.events;
        return Ok(None);
    }
    let (first, hidden) = first_difference(&compared);
    compared.first = first;
    report.ignored_differences = hidden;
    if hidden > 0 {
        // Rules passed over differences: the verdict rests on a later event.
        for (index, at) in [first.0, first.1].into_iter().enumerate() {
            let event = compared.halves[index].events.get(at).map(|e| e.offset);
            let rests: Vec<Offset> = event.into_iter().collect();
            let holds = sealed(inputs[index], &mut tracks[index], &rests)?;
            let side = [&mut report.a, &mut report.b].into_iter().nth(index);
            side.into_iter().for_each(|side| side.sealed &= holds);
        }
    }
    let [left, right] = &compared.halves;
    report.alignment.common = match left.events.get(first.0).or(right.events.get(first.1)) {
        Some(event) => event.lane_seq.saturating_sub(1),
        None => report.a.events,
    };
    let ends = [first.0 == left.events.len(), first.1 == right.events.len()];
    let whole = !left.cut && !right.cut;
    match ends {
        [true, true] => {
            report.verdict = match (whole, report.a.events == report.b.events) {
                (true, true) => Verdict::Equal,
                (true, false) => Verdict::Prefix,
                (false, _) => Verdict::Undecided,
            };
            report.alignment.cut = !whole;
            return Ok(None);
        }
        [true, false] if !left.ended && !left.cut => report.verdict = Verdict::Prefix,
        [false, true] if !right.ended && !right.cut => report.verdict = Verdict::Prefix,
        _ => report.verdict = Verdict::Differ,
    }
    if report.verdict == Verdict::Prefix {
        report.first.event = Some(refer(left.events.get(first.0), right.events.get(first.1)));
        return Ok(None);
    }
    lay_out(&mut compared, report);
    Ok(Some(compared))
}

/// What the two closures give, at the same time where they have much to do.
fn both<T: Send>(a: impl FnOnce() -> T + Send, b: impl FnOnce() -> T + Send, much: bool) -> (T, T) {
    if !much {
        return (a(), b());
    }
    std::thread::scope(|scope| {
        let other = scope.spawn(b);
        let first = a();
        match other.join() {
            Ok(second) => (first, second),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Reads one side, and says whether seals vouch for what the verdict rests on. `reach`: the last equal event, the one before
/// the checkpoint that is derived from, and how long a run is read whole.
fn side_of<'a>(
    track: &mut Track<'a>,
    at: RunAt,
    input: &Input<'_>,
    parting: Parting,
    reach: (u64, Option<u64>, u64),
    options: &Options<'_>,
) -> Result<(Half, bool), Error> {
    let half = half(track, at, input, parting, reach, options)?;
    let rests = rests_on(track, &half, parting, reach.0)?;
    let sealed = sealed(input, track, &rests)?;
    Ok((half, sealed))
}

/// Events behind the first difference that are read of a run too long to be read whole: more where rules may pass over it.
fn behind(options: &Options<'_>) -> u64 {
    if options.rules.is_empty() {
        options.events_max.min(BEHIND)
    } else {
        options.events_max
    }
}

/// Reads one side as far as the comparison needs it, and checks that what was read holds together.
fn half<'a>(
    track: &mut Track<'a>,
    at: RunAt,
    input: &Input<'_>,
    parting: Parting,
    (common, checkpoint, whole_max): (u64, Option<u64>, u64),
    options: &Options<'_>,
) -> Result<Half, Error> {
    let start = track.nth(1)?.ok_or(Error::NoRun { run: at.run })?;
    let view = start.view()?;
    let text = view.volatile_tag(VOLATILE_KEY).map(String::from_utf8_lossy);
    let key = text.unwrap_or_default().into_owned();
    let number = view.volatile_tag(VOLATILE_GENERATION);
    let generation = number.and_then(|bytes| bytes.try_into().ok());
    let root = view.volatile_tag(VOLATILE_ROOT_SEED);
    let root = root.and_then(|bytes| bytes.try_into().ok()).map(Digest);
    let (from, to) = if at.records <= whole_max {
        (1, at.records)
    } else if common == 0 || parting == Parting::Equal {
        (1, behind(options))
    } else {
        let last_equal = track.at(common)?.seq;
        let mut from = last_equal.saturating_sub(BEFORE);
        if let Some(number) = checkpoint {
            let there = track.at(number)?.seq;
            from = from.min(there.saturating_sub(CONTEXT as u64));
        }
        (from.max(1), last_equal + behind(options))
    };
    let proven = input.authenticated() != Authenticated::Probes;
    // What is equal and proven to be whole need not be read.
    let unread = parting == Parting::Equal && (proven || to < at.records);
    let records = if unread {
        Vec::new()
    } else {
        track.range(from, to)?
    };
    let mut stock = Stock::new();
    let events = read_all(input, &records, &mut stock).inspect_err(|_| track.failed = true)?;
    let mut heads = BTreeMap::new();
    if from == 1 {
        heads.insert(0, (Digest::ZERO, 0));
    }
    if let Some(finding) = check_chain(&events, &mut heads, at.stream()) {
        track.failed = true;
        return Err(Error::Unreadable(Box::new(finding)));
    }
    let ended = match events.last() {
        Some(last) => last.kind == Kind::End,
        None => false,
    };
    Ok(Half {
        key,
        generation: generation.map(u64::from_le_bytes).unwrap_or_default(),
        root,
        from,
        cut: !unread && to < at.records,
        whole: !unread && from == 1 && to >= at.records,
        events,
        ended,
        at,
        start,
    })
}

/// The records of a side that a verdict rests on: START, the last equal event and the first that differs, which between them
/// prove all events before; the newest one where no event differs.
fn rests_on(
    track: &mut Track<'_>,
    half: &Half,
    parting: Parting,
    common: u64,
) -> Result<Vec<Offset>, Error> {
    let mut rests = vec![half.start.offset()];
    if let Parting::After { .. } = parting {
        if common > 0 {
            rests.push(track.at(common)?.offset);
        }
        rests.push(track.at(common + 1)?.offset);
    } else {
        rests.push(half.at.head);
    }
    Ok(rests)
}

/// Whether records stand in sealed ranges that have their roots; where one has another, that is the track's fault.
fn sealed(input: &Input<'_>, track: &mut Track<'_>, rests: &[Offset]) -> Result<bool, Error> {
    input.sealed(rests).inspect_err(|_| track.failed = true)
}

/// The newest checkpoint before the difference of histories of which one is too long to be read whole, on the first side that
/// has one; where causes are looked for.
fn checkpoint(
    tracks: [&mut Track<'_>; 2],
    runs: [RunAt; 2],
    parting: Parting,
    options: &Options<'_>,
) -> Result<Option<(usize, StoredRecord, Probe)>, Error> {
    let long = runs.iter().any(|run| run.records > options.whole_max);
    let Parting::After { common } = parting else {
        return Ok(None);
    };
    if !long || !options.causes || common == 0 {
        return Ok(None);
    }
    for (side, track) in tracks.into_iter().enumerate() {
        let last_equal = track.at(common)?.seq;
        let found = track.checkpoint(last_equal, options.whole_max)?;
        if let Some((record, probe)) = found {
            return Ok(Some((side, record, probe)));
        }
    }
    Ok(None)
}

/// Where a checkpoint stands among the events read, if its place was read on both sides.
fn foothold(side: usize, record: StoredRecord, halves: &[Half; 2]) -> Option<Foothold> {
    let own = &halves[side].events;
    let here = own.iter().position(|event| event.seq > record.seq())?;
    let before = own.get(here.checked_sub(1)?)?;
    let other = &halves[1 - side].events;
    let there = other
        .iter()
        .position(|event| event.digest == before.digest)?
        + 1;
    let at = if side == 0 {
        [here, there]
    } else {
        [there, here]
    };
    Some(Foothold { side, record, at })
}

/// What a report says of a side's run.
fn describe(side: &mut Side, half: &Half, track: &mut Track<'_>) -> Result<(), Error> {
    let head = track.head()?;
    side.run = half.at.run.to_string();
    side.key = half.key.clone();
    side.generation = half.generation;
    side.records = half.at.records;
    side.events = head.lane_seq;
    side.digest = head.digest.hex();
    let view = half.start.view()?;
    if let Ok((_, Event::Start(start))) = Event::decode(Kind::Start, view.det()) {
        side.workflow = workflow_name(&start);
        side.definition = start.definition.hex();
    }
    let newest = track.nth(half.at.records)?;
    let ended = newest
        .as_ref()
        .filter(|record| record.kind() == Some(Kind::End))
        .and_then(|record| record.view().ok())
        .and_then(|view| Event::decode(Kind::End, view.det()).ok());
    side.status = match ended {
        Some((_, Event::End(end))) => end.outcome,
        _ => "open".into(),
    };
    Ok(())
}

/// Where the events first differ in a way that counts, and how many differences rules hid before that.
fn first_difference(compared: &Compared<'_, '_>) -> ((usize, usize), u64) {
    let [a, b] = &compared.halves;
    // From the first event of the first lane on that was read of both; numbers of other lanes say nothing here.
    let first_lane = |events: &[NormEvent], number: u64| {
        let there = |event: &NormEvent| event.lane == 0 && event.lane_seq >= number;
        events.iter().position(there)
    };
    let (mut i, mut j) = (0, 0);
    if a.from > 1 || b.from > 1 {
        let number =
            |at: Option<usize>, events: &[NormEvent]| at.map_or(0, |at| events[at].lane_seq);
        let begins = number(first_lane(&a.events, 0), &a.events)
            .max(number(first_lane(&b.events, 0), &b.events));
        i = first_lane(&a.events, begins).unwrap_or(a.events.len());
        j = first_lane(&b.events, begins).unwrap_or(b.events.len());
    }
    let mut hidden = 0;
    while let (Some(x), Some(y)) = (a.events.get(i), b.events.get(j)) {
        if !same(x, y, compared.lens) {
            let found = compared.diff(x, y);
            if !found.is_equal() || key(x) != key(y) {
                break;
            }
            hidden += found.hidden;
        }
        i += 1;
        j += 1;
    }
    ((i, j), hidden)
}

/// Aligns what follows the first difference and fills the report with it.
fn lay_out(compared: &mut Compared<'_, '_>, report: &mut Report) {
    let (i, j) = compared.first;
    let [a, b] = &compared.halves;
    let (left, right) = (&a.events[i..], &b.events[j..]);
    let lines = align(left, right, |x, y| {
        same(&left[x], &right[y], compared.lens) || compared.diff(&left[x], &right[y]).is_equal()
    });
    compared.lines = lines;
    let alignment = &mut report.alignment;
    for line in &compared.lines {
        match line.op {
            Op::Equal => alignment.equal += 1,
            Op::Modified => alignment.modified += 1,
            Op::Deleted => alignment.deleted += 1,
            Op::Inserted => alignment.inserted += 1,
            Op::Moved => alignment.moved += 1,
        }
    }
    alignment.cut = a.cut || b.cut;
    let tail = compared
        .lines
        .iter()
        .rev()
        .take_while(|line| line.op == Op::Equal);
    let tail = tail.count();
    if tail > 0 && tail < compared.lines.len() && !alignment.cut {
        let (x, y) = compared.pair(&compared.lines[compared.lines.len() - tail]);
        alignment.reconverges = Some(refer(x, y));
    }
    let (x, y) = (a.events.get(i), b.events.get(j));
    report.first.event = Some(refer(x, y));
    if let (Some(x), Some(y)) = (x, y) {
        report.fields = compared.diff(x, y).diffs;
        if key(x) == key(y) {
            report.fields.extend(fields::volatile(x, y));
        } else {
            // Two different steps: what differs is which one it is.
            report.fields = vec![fields::step(x, y)];
        }
    }
    slice::firsts(compared, report);
    slice::slice(compared, report);
}

/// The rows of a report: a few before the first difference, then as many as asked for.
pub(crate) fn rows(compared: &Compared<'_, '_>, report: &mut Report, rows_max: usize) {
    let (i, j) = compared.first;
    let [a, b] = &compared.halves;
    let before = CONTEXT.min(i).min(j);
    for back in (1..=before).rev() {
        report.alignment.rows.push(Row {
            op: Op::Equal,
            pair: refer(a.events.get(i - back), b.events.get(j - back)),
            paths: Vec::new(),
        });
    }
    for line in compared.lines.iter().take(rows_max) {
        let (x, y) = compared.pair(line);
        let paths = match (line.op, x, y) {
            (Op::Modified | Op::Moved, Some(x), Some(y)) => {
                let diffs = compared.diff(x, y).diffs;
                let counted = diffs.into_iter().filter(|diff| !diff.volatile);
                counted.map(|diff| diff.path).take(ROW_PATHS_MAX).collect()
            }
            _ => Vec::new(),
        };
        report.alignment.rows.push(Row {
            op: line.op,
            pair: refer(x, y),
            paths,
        });
    }
    report.alignment.rows_left_out = compared.lines.len().saturating_sub(rows_max) as u64;
}
