//! Both histories side by side, and a strip that shows the whole of them at once.

use super::text::Page;
use crate::diff::{EventRef, Op, Report, Row};

/// Equal rows that are listed on either side of a difference.
const CONTEXT: usize = 3;
/// Rows listed in all.
const ROWS_MAX: usize = 600;
/// Equal rows behind a fold; beyond, the fold says how many there are.
const FOLD_MAX: usize = 40;
/// Parts of the strip.
const STRIP_PARTS: usize = 160;

/// Indices of the rows that the page has, ascending: differences with what stands around them.
pub(super) fn shown(rows: &[Row]) -> Vec<usize> {
    let mut kept = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        if row.op == Op::Equal {
            continue;
        }
        for near in index.saturating_sub(CONTEXT)..(index + CONTEXT + 1).min(rows.len()) {
            if kept.last().is_none_or(|last| *last < near) {
                kept.push(near);
            }
        }
        if kept.len() >= ROWS_MAX {
            break;
        }
    }
    if kept.is_empty() {
        kept = (0..rows.len().min(2 * CONTEXT)).collect();
    }
    kept.truncate(ROWS_MAX);
    kept
}

pub(super) fn section(page: &mut Page, report: &Report) {
    let alignment = &report.alignment;
    if alignment.rows.is_empty() && alignment.common == 0 {
        return;
    }
    page.raw("<section id=\"timeline\"><h2>Side by side</h2><div class=\"counts\">");
    for (count, name, class) in [
        (alignment.common, "equal before", "equal"),
        (alignment.modified, "modified", "modified"),
        (alignment.deleted, "only in A", "deleted"),
        (alignment.inserted, "only in B", "inserted"),
        (alignment.moved, "moved", "moved"),
        (alignment.equal, "equal after", "equal"),
    ] {
        if count > 0 || class == "equal" {
            page.raw(&format!(
                "<div class=\"{class}\"><i class=\"key\"></i><b>{count}</b> {name}</div>"
            ));
        }
    }
    page.raw("</div>");
    strip(page, report);
    rows(page, report);
    match &alignment.reconverges {
        Some(pair) => {
            page.raw("<p class=\"note\">From here on both are the same again: ");
            if let Some(event) = pair.b.as_ref().or(pair.a.as_ref()) {
                page.text(&format!("record {}, ", event.seq));
                page.text(&event.kind);
                page.raw(" ");
                page.activation(&event.activation);
            }
            page.raw("</p>");
        }
        None if alignment.modified + alignment.deleted + alignment.inserted > 0 => {
            page.raw("<p class=\"note\">They are not the same again to the end.</p>");
        }
        None => {}
    }
    if alignment.cut {
        page.raw("<p class=\"note\">A side goes on behind the last event compared.</p>");
    }
    page.raw("</section>");
}

/// The whole of both histories in one line; each part has the colour of the worst that is in it.
fn strip(page: &mut Page, report: &Report) {
    let alignment = &report.alignment;
    // Rows repeat some of what stands before the first difference.
    let repeated = alignment
        .rows
        .iter()
        .take_while(|row| row.op == Op::Equal)
        .count() as u64;
    let before = alignment.common.saturating_sub(repeated);
    let total = (before + alignment.rows.len() as u64 + alignment.rows_left_out).max(1);
    let share = |count: u64| count as f64 * 100.0 / total as f64;
    page.raw("<div class=\"strip\" role=\"img\" aria-label=\"where the histories differ\"><div>");
    if before > 0 {
        page.raw(&format!(
            "<i class=\"equal\" style=\"flex-grow:{:.4}\"></i>",
            share(before)
        ));
    }
    let size = alignment.rows.len().div_ceil(STRIP_PARTS).max(1);
    let worst = |part: &[Row]| part.iter().map(|row| row.op).max_by_key(|op| weight(*op));
    let mut parts: Vec<(Op, u64)> = Vec::new();
    for part in alignment.rows.chunks(size) {
        let Some(op) = worst(part) else { continue };
        match parts.last_mut() {
            Some((last, count)) if *last == op => *count += part.len() as u64,
            _ => parts.push((op, part.len() as u64)),
        }
    }
    for (op, count) in parts {
        page.raw(&format!(
            "<i class=\"{}\" style=\"flex-grow:{:.4}\"></i>",
            class(op),
            share(count)
        ));
    }
    if alignment.rows_left_out > 0 {
        page.raw(&format!(
            "<i class=\"left-out\" style=\"flex-grow:{:.4}\"></i>",
            share(alignment.rows_left_out)
        ));
    }
    page.raw("</div>");
    if alignment.rows.iter().any(|row| row.op != Op::Equal) {
        page.raw(&format!(
            "<span title=\"where they part\" style=\"left:{:.4}%\"></span>",
            share(before + repeated)
        ));
    }
    page.raw("</div>");
}

fn weight(op: Op) -> u8 {
    match op {
        Op::Equal => 0,
        Op::Moved => 1,
        Op::Modified => 2,
        Op::Deleted => 3,
        Op::Inserted => 4,
    }
}

fn class(op: Op) -> &'static str {
    match op {
        Op::Equal => "equal",
        Op::Modified => "modified",
        Op::Deleted => "deleted",
        Op::Inserted => "inserted",
        Op::Moved => "moved",
    }
}

fn mark(op: Op) -> (&'static str, &'static str) {
    match op {
        Op::Equal => ("", "equal"),
        Op::Modified => ("≠", "modified"),
        Op::Deleted => ("−", "only in A"),
        Op::Inserted => ("+", "only in B"),
        Op::Moved => ("↕", "moved"),
    }
}

fn rows(page: &mut Page, report: &Report) {
    let alignment = &report.alignment;
    let rows = &alignment.rows;
    let kept = shown(rows);
    page.raw("<div class=\"rows\"><div class=\"head\"><span></span><span class=\"a\">A</span><span class=\"b\">B</span></div>");
    let repeated = rows.iter().take_while(|row| row.op == Op::Equal).count() as u64;
    let before = alignment.common.saturating_sub(repeated);
    if before > 0 {
        gap(page, before, "equal events before");
    }
    let first = rows.iter().position(|row| row.op != Op::Equal);
    let mut next = 0;
    for index in kept {
        fold(page, &rows[next..index]);
        line(page, &rows[index], first == Some(index));
        next = index + 1;
    }
    let rest = &rows[next..];
    if rest.iter().all(|row| row.op == Op::Equal) {
        fold(page, rest);
    } else {
        gap(page, rest.len() as u64, "more rows, differences among them");
    }
    if alignment.rows_left_out > 0 {
        gap(
            page,
            alignment.rows_left_out,
            "more rows that the report does not list",
        );
    }
    page.raw("</div>");
}

/// Equal rows: behind a fold where they are few, counted where they are many.
fn fold(page: &mut Page, rows: &[Row]) {
    match rows.len() {
        0 => {}
        1 => line(page, &rows[0], false),
        len if len <= FOLD_MAX => {
            page.raw(&format!(
                "<details class=\"fold\"><summary>{len} equal events</summary>"
            ));
            for row in rows {
                line(page, row, false);
            }
            page.raw("</details>");
        }
        len => gap(page, len as u64, "equal events"),
    }
}

fn gap(page: &mut Page, count: u64, what: &str) {
    page.raw(&format!("<p class=\"gap\">{count} {what}</p>"));
}

fn line(page: &mut Page, row: &Row, is_first: bool) {
    let (sign, title) = mark(row.op);
    let first = if is_first { " first" } else { "" };
    page.raw(&format!(
        "<div class=\"row {}{first}\"><span class=\"mark\" title=\"{title}\">{sign}</span>",
        class(row.op)
    ));
    for (side, event) in [("a", &row.pair.a), ("b", &row.pair.b)] {
        page.raw(&format!("<div class=\"{side}\">"));
        if let Some(event) = event {
            cell(page, event);
        }
        page.raw("</div>");
    }
    if !row.paths.is_empty() {
        page.raw("<p class=\"paths\">");
        page.text(&row.paths.join("  "));
        page.raw("</p>");
    }
    page.raw("</div>");
}

fn cell(page: &mut Page, event: &EventRef) {
    page.raw(&format!(
        "<span class=\"seq\">{}</span><b class=\"kind\">",
        event.seq
    ));
    page.text(&event.kind);
    page.raw("</b> ");
    page.activation(&event.activation);
    if event.attempt > 1 {
        page.raw(&format!(" <span class=\"at\">try {}</span>", event.attempt));
    }
    page.raw(" <span class=\"what\">");
    page.text(&event.what);
    page.raw("</span>");
}
