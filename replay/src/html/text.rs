//! The page in the making: escaping, values that fold, names.

use crate::diff::{Change, Distance};

/// Characters of a value that are shown without unfolding it.
const VALUE_CHARS: usize = 96;
/// Characters of a value that are kept at all.
const VALUE_CHARS_MAX: usize = 20_000;

const STYLE: &str = include_str!("report.css");

/// HTML being written.
pub(super) struct Page(String);

impl Page {
    pub(super) fn new(title: &str) -> Page {
        let mut page = Page(String::with_capacity(64 << 10));
        page.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>");
        page.text(title);
        page.raw("</title><style>");
        page.raw(STYLE);
        page.raw("</style></head><body>");
        page
    }

    /// Appends HTML of this program's own.
    pub(super) fn raw(&mut self, html: &str) {
        self.0.push_str(html);
    }

    /// Appends text from anywhere. What could change the reading order or hide is shown as its code.
    pub(super) fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                c if is_hidden(c) => self.0.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
                c => self.0.push(c),
            }
        }
    }

    /// Appends an activation, its step first in sight.
    pub(super) fn activation(&mut self, activation: &str) {
        if activation.is_empty() {
            return;
        }
        let step = step_of(activation);
        let at = activation.find(step).unwrap_or(0);
        let (before, rest) = activation.split_at(at);
        let (step, visits) = rest.split_at(step.len());
        self.raw("<code class=\"step\"><span>");
        self.text(before);
        self.raw("</span>");
        self.text(step);
        self.raw("<span>");
        self.text(visits);
        self.raw("</span></code>");
    }

    /// Embeds JSON that a program can take out again: no `<` is left in it, so nothing in it ends the element.
    pub(super) fn embed(&mut self, json: &str) {
        self.raw("<script type=\"application/json\" id=\"report\">");
        for c in json.chars() {
            match c {
                '<' => self.0.push_str("\\u003c"),
                '>' => self.0.push_str("\\u003e"),
                '&' => self.0.push_str("\\u0026"),
                '\u{2028}' => self.0.push_str("\\u2028"),
                '\u{2029}' => self.0.push_str("\\u2029"),
                c => self.0.push(c),
            }
        }
        self.raw("</script>");
    }

    pub(super) fn end(mut self) -> String {
        self.raw("</body></html>\n");
        self.0
    }
}

/// Control characters, and those that turn the direction of text or take no room.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Name of the step in an activation: the last segment of its pointer.
pub(super) fn step_of(activation: &str) -> &str {
    let pointer = activation.split(';').next().unwrap_or_default();
    pointer.rsplit('/').next().unwrap_or_default()
}

pub(super) fn short_digest(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

/// A value: whole where it is short, folded where it is long.
pub(super) fn value(page: &mut Page, value: Option<&str>) {
    let Some(value) = value else {
        page.raw("<i class=\"none\">absent</i>");
        return;
    };
    let Some((at, _)) = value.char_indices().nth(VALUE_CHARS) else {
        page.raw("<code>");
        page.text(value);
        page.raw("</code>");
        return;
    };
    page.raw("<details><summary><code>");
    page.text(&value[..at]);
    page.raw("…</code></summary><pre>");
    match value.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => {
            page.text(&value[..at]);
            page.text(&format!("…\n({} bytes in all)", value.len()));
        }
        None => page.text(value),
    }
    page.raw("</pre></details>");
}

pub(super) fn change_name(change: Change) -> &'static str {
    match change {
        Change::Added => "only in B",
        Change::Removed => "only in A",
        Change::Modified => "another value",
        Change::Reordered => "another order",
        Change::Respelled => "same value, other bytes",
        Change::Unknown => "not stored",
    }
}

pub(super) fn distance_text(distance: &Distance) -> String {
    match distance {
        Distance::Ulp(count) => format!("{count} ULP"),
        Distance::Number(by) if *by >= 0.0 => format!("+{by}"),
        Distance::Number(by) => format!("−{}", -by),
        Distance::Milliseconds(by) => format!("{by} ms"),
        Distance::Edit(1) => "1 character".into(),
        Distance::Edit(count) => format!("{count} characters"),
        Distance::EditAtLeast(count) => format!("more than {count} characters"),
    }
}
