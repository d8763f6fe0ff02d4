use super::*;
use crate::diff::{
    Alignment, Authenticated, Change, Cost, Distance, Experiment, First, Op, Row, SCHEMA, Slice,
};

const HOSTILE: &str = "</script><img src=x onerror=alert(1)> \u{202e}&\"'";

fn event(seq: u64, activation: &str, what: &str) -> EventRef {
    EventRef {
        seq,
        offset: seq * 304,
        lane: 0,
        lane_seq: seq,
        kind: "STEP".into(),
        activation: activation.into(),
        attempt: 1,
        what: what.into(),
        digest: "ab".repeat(32),
        wall_ns: 0,
    }
}

/// A report of `count` rows, every `every`-th of which differs.
fn report(count: u64, every: u64, text: &str) -> Report {
    let rows: Vec<Row> = (1..=count)
        .map(|seq| {
            let event = event(seq, &format!("/do/0/{text};{seq}"), text);
            Row {
                op: if seq % every == 0 {
                    Op::Modified
                } else {
                    Op::Equal
                },
                pair: Pair {
                    a: Some(event.clone()),
                    b: Some(event),
                },
                paths: vec![text.into()],
            }
        })
        .collect();
    let side = Side {
        source: text.into(),
        key: text.into(),
        workflow: text.into(),
        authenticated: Authenticated::Run,
        sealed: false,
        ..Side::default()
    };
    let pair = rows[every as usize - 1].pair.clone();
    let cause = Cause {
        class: Class::CodeDrift,
        status: Status::Confirmed,
        rule: text.into(),
        place: None,
        subject: text.into(),
        evidence: vec![text.into()],
        experiment: Some(Experiment {
            kind: text.into(),
            exchanged: text.into(),
            outcome: text.into(),
            events: 1,
            next: None,
            digest_equal: true,
        }),
        missing: vec![text.into()],
        benign: true,
    };
    Report {
        schema: SCHEMA.into(),
        verdict: Verdict::Differ,
        a: side.clone(),
        b: side,
        ignored: vec![text.into()],
        ignored_differences: 1,
        first: First {
            event: Some(pair),
            state: None,
            output: None,
        },
        fields: vec![FieldDiff {
            path: text.into(),
            change: Change::Modified,
            a: Some(text.repeat(30)),
            b: None,
            distance: Some(Distance::Edit(1)),
            volatile: false,
        }],
        state_fields: Vec::new(),
        alignment: Alignment {
            common: every - 1,
            modified: count / every,
            rows,
            ..Alignment::default()
        },
        slice: Slice {
            backward: vec![SliceEvent {
                event: event(1, text, text),
                why: text.into(),
                equal: true,
            }],
            ..Slice::default()
        },
        causes: vec![cause],
        cost: Cost::default(),
    }
}

/// The embedded JSON, as a program that knows HTML would take it.
fn taken_out(page: &str) -> Report {
    let (_, rest) = page
        .split_once("<script type=\"application/json\" id=\"report\">")
        .unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}

#[test]
fn nothing_from_a_log_becomes_markup() {
    let report = report(10, 5, HOSTILE);
    let page = page(&report);
    assert!(!page.contains("<img"), "a value became an element");
    assert_eq!(
        page.matches("</script>").count(),
        1,
        "a value ended the embedded JSON"
    );
    assert_eq!(page.matches("<script").count(), 1);
    let shown = page.split("<script").next().unwrap();
    assert!(
        shown.contains("&lt;/script&gt;&lt;img"),
        "values are shown as they are"
    );
    assert!(
        !shown.contains('\u{202e}'),
        "text that turns the reading order is shown as its code"
    );
}

#[test]
fn the_embedded_json_is_the_report() {
    let report = report(10, 5, HOSTILE);
    assert_eq!(taken_out(&page(&report)), report);
}

#[test]
fn nothing_is_loaded_and_nothing_is_run() {
    let page = page(&report(10, 5, "x"));
    let shown = page.split("<script").next().unwrap();
    for loads in [
        "http:",
        "https:",
        "src=",
        "href=",
        "url(",
        "@import",
        "javascript:",
        "onload",
    ] {
        assert!(!shown.contains(loads), "{loads} stands in the page");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn a_long_alignment_is_cut_to_the_rows_around_differences_and_says_so() {
    let report = report(10_000, 2_500, "step");
    let page = page(&report);
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
    assert!(page.contains("<p class=\"gap\">2493 equal events</p>"));
    for seq in [2497, 2500, 2503] {
        assert!(
            page.contains(&format!("<span class=\"seq\">{seq}</span>")),
            "{seq}"
        );
    }
    assert!(!page.contains("<span class=\"seq\">2504</span>"));
    let embedded = taken_out(&page);
    let left = embedded.alignment.rows_left_out + embedded.alignment.rows.len() as u64;
    assert_eq!(left, 10_000, "rows that are not embedded are counted");
}

#[test]
fn a_page_of_differences_alone_is_bounded_too() {
    let report = report(10_000, 1, "step");
    let page = page(&report);
    assert!(page.len() < 3 << 20, "{} bytes", page.len());
    assert!(page.contains("more rows, differences among them"));
}

#[test]
fn the_headline_names_both_events_where_they_are_not_the_same() {
    let mut report = report(3, 2, "step");
    assert!(headline(&report).starts_with("The runs part at STEP"));
    let mut end = event(2, "", "completed");
    end.kind = "END".into();
    if let Some(pair) = &mut report.first.event {
        pair.b = Some(end);
    }
    assert_eq!(headline(&report), "A has STEP step where B has END.");
}
