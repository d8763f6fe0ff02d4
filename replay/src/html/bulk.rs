//! A diff of many pairs as a page.

use super::text::Page;
use crate::diff::{Bulk, Verdict};

/// Rows of pairs shown.
const ROWS_MAX: usize = 500;
/// Keys of runs without a partner shown.
const KEYS_MAX: usize = 50;
/// Largest report that is embedded whole.
const EMBEDDED_BYTES_MAX: usize = 1 << 20;

/// The report of many pairs as a page.
pub fn bulk_page(bulk: &Bulk) -> String {
    let mut page = Page::new(&format!("{} · {} pairs", bulk.verdict.name(), bulk.pairs));
    let verdict = bulk.verdict.name();
    page.raw(&format!("<header><div class=\"wrap\"><p class=\"eyebrow\"><span class=\"verdict {verdict}\">{verdict}</span></p><h1>"));
    let headline = match bulk.verdict {
        Verdict::Equal => format!("All {} pairs are equal.", bulk.pairs),
        _ => format!("{} of {} pairs differ.", bulk.differ, bulk.pairs),
    };
    page.text(&headline);
    page.raw("</h1><p class=\"lead\">");
    page.text(&format!("A {} · B {}", bulk.a.source, bulk.b.source));
    page.raw("</p></div></header><main><section><div class=\"counts\">");
    for (count, name) in [
        (bulk.equal, "equal"),
        (bulk.differ, "differ"),
        (bulk.benign, "of them benign"),
        (bulk.prefix, "still under way"),
        (bulk.undecided, "undecided"),
        (bulk.damaged, "damaged"),
        (bulk.only_a_count, "only in A"),
        (bulk.only_b_count, "only in B"),
    ] {
        page.raw(&format!("<div><b>{count}</b> {name}</div>"));
    }
    page.raw("</div></section>");
    groups(&mut page, bulk);
    pairs(&mut page, bulk);
    keys(&mut page, "Only in A", &bulk.only_a, bulk.only_a_count);
    keys(&mut page, "Only in B", &bulk.only_b, bulk.only_b_count);
    page.raw("</main>");
    page.embed(&embedded(bulk));
    page.end()
}

fn embedded(bulk: &Bulk) -> String {
    let whole = bulk.json();
    if whole.len() <= EMBEDDED_BYTES_MAX {
        return whole;
    }
    let mut less = bulk.clone();
    let all = less.rows.len();
    less.rows.truncate(ROWS_MAX);
    less.rows_left_out += (all - less.rows.len()) as u64;
    less.json()
}

fn groups(page: &mut Page, bulk: &Bulk) {
    if bulk.groups.is_empty() {
        return;
    }
    page.raw("<section><h2>By cause</h2><table class=\"groups\"><thead><tr><th class=\"n\">pairs</th><th>cause</th><th>step</th><th>field</th><th>for example</th></tr></thead><tbody>");
    for group in &bulk.groups {
        page.raw(&format!("<tr><td class=\"n\">{}</td><td>", group.count));
        page.text(&group.causes);
        if group.benign {
            page.raw(" <span class=\"chip benign\">benign</span>");
        }
        for text in [&group.step, &group.path] {
            page.raw("</td><td class=\"path\">");
            page.text(text);
        }
        page.raw("</td><td class=\"path\">");
        page.text(&group.examples.join("  "));
        page.raw("</td></tr>");
    }
    page.raw("</tbody></table></section>");
}

fn pairs(page: &mut Page, bulk: &Bulk) {
    if bulk.rows.is_empty() {
        return;
    }
    page.raw("<section><h2>Pairs</h2><table class=\"groups\"><thead><tr><th>key</th><th>verdict</th><th>cause</th><th>parts at</th><th>field</th></tr></thead><tbody>");
    for row in bulk.rows.iter().take(ROWS_MAX) {
        page.raw("<tr><td class=\"path\">");
        page.text(&row.key);
        page.raw("</td><td>");
        page.text(row.verdict.name());
        page.raw("</td><td>");
        page.text(&row.causes);
        page.raw("</td><td>");
        let pair = row.state.as_ref().or(row.event.as_ref());
        if let Some(event) = pair.and_then(|pair| pair.b.as_ref().or(pair.a.as_ref())) {
            page.raw("<b class=\"kind\">");
            page.text(&event.kind);
            page.raw("</b> ");
            page.activation(&event.activation);
        }
        page.raw("</td><td class=\"path\">");
        page.text(&row.path);
        page.raw("</td></tr>");
    }
    page.raw("</tbody></table>");
    let left_out = bulk.rows_left_out + bulk.rows.len().saturating_sub(ROWS_MAX) as u64;
    if left_out > 0 {
        page.raw(&format!(
            "<p class=\"note\">{left_out} more pairs are not listed</p>"
        ));
    }
    page.raw("</section>");
}

fn keys(page: &mut Page, title: &str, keys: &[String], count: u64) {
    if count == 0 {
        return;
    }
    page.raw(&format!("<section><h2>{title}</h2><p class=\"path\">"));
    let shown: Vec<&str> = keys.iter().take(KEYS_MAX).map(String::as_str).collect();
    page.text(&shown.join("  "));
    page.raw("</p>");
    let rest = count.saturating_sub(shown.len() as u64);
    if rest > 0 {
        page.raw(&format!("<p class=\"note\">{rest} more</p>"));
    }
    page.raw("</section>");
}
