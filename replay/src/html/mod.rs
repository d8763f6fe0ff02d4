//! A diff report as one HTML file: nothing is loaded, no script is needed, and it prints.
//!
//! Whatever comes from a log is escaped, also inside the embedded JSON, where no `<` is left. Size is bounded: of long
//! alignments only the rows around differences are shown, and the page says how many are not.

mod bulk;
mod text;
mod timeline;

use crate::diff::{
    Cause, Class, EventRef, FieldDiff, Pair, Report, Side, SliceEvent, Status, Verdict,
};
use text::{Page, change_name, distance_text, short_digest, step_of, value};

pub use bulk::bulk_page;

/// Largest report that is embedded whole; beyond it rows are left out of the embedded JSON, which says so.
const EMBEDDED_BYTES_MAX: usize = 1 << 20;
/// Characters of a value in the sentence under the headline.
const LEAD_CHARS: usize = 48;
/// Field differences shown.
const FIELDS_MAX: usize = 200;
/// Events of a slice shown.
const SLICE_MAX: usize = 40;

/// The report of one pair of runs as a page.
pub fn page(report: &Report) -> String {
    let mut page = Page::new(&title(report));
    header(&mut page, report);
    sides(&mut page, report);
    page.raw("<main>");
    first(&mut page, report);
    causes(&mut page, report);
    slice(&mut page, report);
    timeline::section(&mut page, report);
    let (json, is_cut) = embedded(report);
    footer(&mut page, report, is_cut);
    page.raw("</main>");
    page.embed(&json);
    page.end()
}

fn title(report: &Report) -> String {
    let key = if report.a.key.is_empty() {
        &report.a.source
    } else {
        &report.a.key
    };
    format!("{} · {key}", report.verdict.name())
}

/// The report as JSON, with fewer rows where it would be too long, and whether that is so.
fn embedded(report: &Report) -> (String, bool) {
    let whole = report.json();
    if whole.len() <= EMBEDDED_BYTES_MAX {
        return (whole, false);
    }
    let mut less = report.clone();
    let kept = timeline::shown(&report.alignment.rows);
    let rows = std::mem::take(&mut less.alignment.rows);
    let all = rows.len();
    less.alignment.rows = rows
        .into_iter()
        .enumerate()
        .filter(|(index, _)| kept.binary_search(index).is_ok())
        .map(|(_, row)| row)
        .collect();
    less.alignment.rows_left_out += (all - less.alignment.rows.len()) as u64;
    (less.json(), true)
}

/// The verdict in one sentence.
fn headline(report: &Report) -> String {
    let name = |event: &EventRef| match step_of(&event.activation) {
        // An imported event is known by its type and id.
        _ if event.kind == "FOREIGN" => event.what.clone(),
        "" => event.kind.clone(),
        step => format!("{} {step}", event.kind),
    };
    let place = |pair: &Pair| pair.b.as_ref().or(pair.a.as_ref()).map(name);
    match report.verdict {
        Verdict::Equal => "The two runs are equal.".into(),
        Verdict::Prefix => "One run is the beginning of the other.".into(),
        Verdict::Undecided => "Nothing false was found, but not all could be compared.".into(),
        Verdict::Damaged => "A side is damaged: nothing was compared.".into(),
        Verdict::Differ => match &report.first.event {
            Some(Pair {
                a: Some(a),
                b: Some(b),
            }) if name(a) != name(b) => {
                format!("A has {} where B has {}.", name(a), name(b))
            }
            event => match event.as_ref().and_then(place) {
                Some(first) => {
                    let state = report.first.state.as_ref().and_then(place);
                    match state.filter(|state| *state != first) {
                        Some(state) => {
                            format!("The runs part at {first}, their values at {state}.")
                        }
                        None => format!("The runs part at {first}."),
                    }
                }
                None => "The runs differ.".into(),
            },
        },
    }
}

/// What differs first, in one sentence.
fn lead(report: &Report) -> String {
    if report.verdict != Verdict::Differ {
        return String::new();
    }
    let mut lead = match report.alignment.common {
        0 => "The first event differs".to_owned(),
        1 => "1 equal event comes before".to_owned(),
        common => format!("{common} equal events come before"),
    };
    let short = |value: &Option<String>| match value {
        None => "absent".to_owned(),
        Some(value) => match value.char_indices().nth(LEAD_CHARS) {
            Some((at, _)) => format!("{}…", &value[..at]),
            None => value.clone(),
        },
    };
    // That other events stand there is what the headline says.
    let mut fields = report.fields.iter();
    if let Some(field) = fields.find(|field| !field.volatile && field.path != "activation") {
        lead.push_str(&format!(
            "; {} is {} in A and {} in B",
            field.path,
            short(&field.a),
            short(&field.b)
        ));
    }
    lead.push('.');
    if report.first.state.is_none() {
        lead.push_str(" No value that the workflow computes with differs.");
    }
    lead
}

fn header(page: &mut Page, report: &Report) {
    let verdict = report.verdict.name();
    page.raw("<header><div class=\"wrap\">");
    page.raw(&format!(
        "<p class=\"eyebrow\"><span class=\"verdict {verdict}\">{verdict}</span>"
    ));
    for cause in &report.causes {
        page.raw(&format!(
            "<span class=\"chip {}\">",
            status_class(cause.status)
        ));
        page.text(match cause.class {
            Class::Unknown => "cause",
            class => class.name(),
        });
        page.raw(" <b>");
        page.text(&cause.status.name().to_lowercase());
        page.raw("</b></span>");
    }
    page.raw("</p><h1>");
    page.text(&headline(report));
    page.raw("</h1>");
    let lead = lead(report);
    if !lead.is_empty() {
        page.raw("<p class=\"lead\">");
        page.text(&lead);
        page.raw("</p>");
    }
    page.raw("</div></header>");
}

fn status_class(status: Status) -> &'static str {
    match status {
        Status::Confirmed => "confirmed",
        Status::Consistent => "consistent",
        Status::Unknown => "unknown",
    }
}

fn sides(page: &mut Page, report: &Report) {
    page.raw("<section class=\"sides wrap\">");
    for (name, side) in [("A", &report.a), ("B", &report.b)] {
        page.raw(&format!(
            "<article class=\"side {}\"><h2><span class=\"tag\">{name}</span> ",
            name.to_lowercase()
        ));
        page.text(&side.source);
        page.raw("</h2><dl>");
        side_rows(page, side);
        page.raw("</dl>");
        for finding in &side.findings {
            page.raw("<div class=\"finding\"><b>");
            page.text(&finding.code);
            page.raw("</b> ");
            page.text(&finding.kind);
            if let Some(offset) = finding.offset {
                page.text(&format!(" at offset {offset}"));
            }
            page.raw("<br>expected ");
            page.text(&finding.expected);
            page.raw("<br>found ");
            page.text(&finding.found);
            page.raw("</div>");
        }
        page.raw("</article>");
    }
    page.raw("</section>");
}

fn side_rows(page: &mut Page, side: &Side) {
    let authenticated = match (side.authenticated, side.sealed) {
        (crate::diff::Authenticated::Full, _) => "every byte of the log",
        (crate::diff::Authenticated::Run, true) => "every record of the run, against its seals",
        (crate::diff::Authenticated::Run, false) => "every record of the run",
        (crate::diff::Authenticated::Probes, true) => {
            "the records that were read, against their seals"
        }
        (crate::diff::Authenticated::Probes, false) => "the records that were read",
        (crate::diff::Authenticated::Carrier, _) => "the seals of the archive",
    };
    let rows = [
        ("key", side.key.clone()),
        ("workflow", side.workflow.clone()),
        ("status", side.status.clone()),
        ("events", side.events.to_string()),
        ("run", side.run.clone()),
        ("digest", short_digest(&side.digest).to_owned()),
        ("checked", authenticated.to_owned()),
    ];
    for (name, text) in rows {
        if text.is_empty() {
            continue;
        }
        page.raw(&format!("<div><dt>{name}</dt><dd>"));
        page.text(&text);
        page.raw("</dd></div>");
    }
}

fn first(page: &mut Page, report: &Report) {
    if report.first.event.is_none() && report.fields.is_empty() {
        return;
    }
    page.raw("<section id=\"first\"><h2>Where they part</h2>");
    place(page, "first event", report.first.event.as_ref());
    fields(page, &report.fields);
    if report.first.state != report.first.event {
        place(page, "first state", report.first.state.as_ref());
        fields(page, &report.state_fields);
    }
    if report.first.output != report.first.state && report.first.output != report.first.event {
        place(page, "first output", report.first.output.as_ref());
    }
    if report.ignored_differences > 0 {
        page.raw("<p class=\"note\">");
        page.text(&format!(
            "{} differences are hidden by the rules {}",
            report.ignored_differences,
            report.ignored.join(", ")
        ));
        page.raw("</p>");
    }
    page.raw("</section>");
}

/// A pair of events with its place on each side.
fn place(page: &mut Page, name: &str, pair: Option<&Pair>) {
    let Some(pair) = pair else { return };
    page.raw(&format!("<div class=\"place\"><h3>{name}</h3>"));
    for (side, event) in [("a", &pair.a), ("b", &pair.b)] {
        page.raw(&format!(
            "<p class=\"{side}\"><span class=\"tag\">{}</span> ",
            side.to_uppercase()
        ));
        match event {
            Some(event) => event_line(page, event),
            None => page.raw("<i>nothing there</i>"),
        }
        page.raw("</p>");
    }
    page.raw("</div>");
}

fn event_line(page: &mut Page, event: &EventRef) {
    page.raw("<b class=\"kind\">");
    page.text(&event.kind);
    page.raw("</b> ");
    page.activation(&event.activation);
    page.raw(" <span class=\"what\">");
    page.text(&event.what);
    page.raw("</span> <span class=\"at\">");
    page.text(&format!("record {}, offset {}", event.seq, event.offset));
    page.raw("</span>");
}

fn fields(page: &mut Page, fields: &[FieldDiff]) {
    if fields.is_empty() {
        return;
    }
    page.raw(
        "<table class=\"fields\"><thead><tr><th>field</th><th class=\"a\">A</th><th class=\"b\">B</th><th>change</th></tr></thead><tbody>",
    );
    for field in fields.iter().take(FIELDS_MAX) {
        let volatile = if field.volatile {
            " class=\"volatile\""
        } else {
            ""
        };
        page.raw(&format!("<tr{volatile}><td class=\"path\">"));
        page.text(&field.path);
        page.raw("</td><td class=\"a\">");
        value(page, field.a.as_deref());
        page.raw("</td><td class=\"b\">");
        value(page, field.b.as_deref());
        page.raw("</td><td class=\"change\">");
        page.text(change_name(field.change));
        if let Some(distance) = &field.distance {
            page.raw("<br><span class=\"at\">");
            page.text(&distance_text(distance));
            page.raw("</span>");
        }
        if field.volatile {
            page.raw("<br><span class=\"at\">volatile, decides nothing</span>");
        }
        page.raw("</td></tr>");
    }
    page.raw("</tbody></table>");
    if fields.len() > FIELDS_MAX {
        page.raw("<p class=\"note\">");
        page.text(&format!("{} more fields differ", fields.len() - FIELDS_MAX));
        page.raw("</p>");
    }
}

fn causes(page: &mut Page, report: &Report) {
    if report.causes.is_empty() {
        return;
    }
    page.raw("<section id=\"causes\"><h2>Why</h2>");
    for cause in &report.causes {
        cause_card(page, cause);
    }
    page.raw("</section>");
}

fn cause_card(page: &mut Page, cause: &Cause) {
    let class = status_class(cause.status);
    page.raw(&format!("<article class=\"cause {class}\"><h3>"));
    page.text(cause.class.name());
    page.raw(&format!(" <span class=\"chip {class}\"><b>"));
    page.text(&cause.status.name().to_lowercase());
    page.raw("</b></span>");
    if cause.benign {
        page.raw(" <span class=\"chip benign\">benign</span>");
    }
    page.raw("</h3>");
    if !cause.subject.is_empty() {
        page.raw("<p class=\"subject\">");
        page.text(&cause.subject);
        page.raw("</p>");
    }
    page.raw("<dl class=\"facts\">");
    fact(page, "rule", std::slice::from_ref(&cause.rule));
    fact(page, "evidence", &cause.evidence);
    if let Some(experiment) = &cause.experiment {
        let mut lines = vec![format!(
            "{}: {} exchanged; {}",
            experiment.kind, experiment.exchanged, experiment.outcome
        )];
        if experiment.digest_equal {
            lines.push("the derived history has the other side's digest, byte for byte".into());
        }
        if experiment.events > 0 {
            lines.push(format!("{} events derived again", experiment.events));
        }
        fact(page, "experiment", &lines);
    }
    fact(page, "missing", &cause.missing);
    page.raw("</dl></article>");
}

fn fact(page: &mut Page, name: &str, lines: &[String]) {
    if lines.iter().all(String::is_empty) {
        return;
    }
    page.raw(&format!("<div><dt>{name}</dt><dd>"));
    for line in lines.iter().filter(|line| !line.is_empty()) {
        page.raw("<p>");
        page.text(line);
        page.raw("</p>");
    }
    page.raw("</dd></div>");
}

fn slice(page: &mut Page, report: &Report) {
    let slice = &report.slice;
    if slice.backward.is_empty() && slice.events == 0 {
        return;
    }
    page.raw(
        "<section id=\"slice\"><h2>What led there, and what followed</h2><div class=\"counts\">",
    );
    for (count, name) in [
        (slice.events, "event"),
        (slice.outputs, "step output"),
        (slice.effects, "effect"),
    ] {
        let name = match count {
            1 => name.to_owned(),
            _ => format!("{name}s"),
        };
        page.raw(&format!("<div><b>{count}</b> {name} tainted</div>"));
    }
    let end = if slice.reaches_end {
        "reaches the run’s output"
    } else {
        "does not reach the run’s output"
    };
    page.raw(&format!("<div>{end}</div></div><div class=\"slices\">"));
    slice_list(page, "made from", &slice.backward);
    slice_list(page, "reached", &slice.forward);
    page.raw("</div></section>");
}

fn slice_list(page: &mut Page, name: &str, events: &[SliceEvent]) {
    if events.is_empty() {
        return;
    }
    page.raw(&format!("<div><h3>{name}</h3><ol>"));
    for event in events.iter().take(SLICE_MAX) {
        let class = if event.equal { "same" } else { "differs" };
        page.raw(&format!("<li class=\"{class}\"><span class=\"why\">"));
        page.text(&event.why);
        page.raw("</span> <b class=\"kind\">");
        page.text(&event.event.kind);
        page.raw("</b> ");
        page.activation(&event.event.activation);
        page.raw("</li>");
    }
    page.raw("</ol>");
    if events.len() > SLICE_MAX {
        page.raw(&format!(
            "<p class=\"note\">{} more</p>",
            events.len() - SLICE_MAX
        ));
    }
    page.raw("</div>");
}

fn footer(page: &mut Page, report: &Report, is_cut: bool) {
    let cost = &report.cost;
    page.raw("<footer><p>");
    page.text(&format!(
        "{} records compared to find the place, {} read in all; experiments: {}, events derived again: {}",
        cost.probes, cost.reads, cost.experiments, cost.derived
    ));
    page.raw(
        "</p><p>The report is embedded in this file as JSON, in the element <code>#report</code>",
    );
    if is_cut {
        page.raw("; of the equal rows, only those listed above");
    }
    page.raw(".</p></footer>");
}

#[cfg(test)]
mod tests;
