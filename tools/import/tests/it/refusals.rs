//! What is no history is refused, with the place; nothing panics.

use crate::support::{fixture, parse};
use aos_import::{Error, Importer, Temporal};
use proptest::prelude::*;

fn refused(text: &str) -> (String, String, String) {
    let error = parse(text.as_bytes()).expect_err(text);
    let place = error.place().expect("a place").to_string();
    (error.code().into(), place, error.to_string())
}

const EVENT_1: &str = r#"{"eventId": "1", "eventType": "WorkflowExecutionStarted", "workflowExecutionStartedEventAttributes": {"workflowType": {"name": "w"}}}"#;

fn history(more: &str) -> String {
    format!("{{\n\"events\": [\n{EVENT_1}{more}\n]}}")
}

#[test]
fn what_is_no_json_is_refused_at_the_byte() {
    let deep = format!("{{\"events\": [{{\"x\": {}", "[".repeat(5000));
    let digits = format!("{{\"a\": {}}}", "9".repeat(5000));
    for (text, code, at) in [
        ("", "AOS-F101", "line 1, column 1, byte 0"),
        (
            "{\"events\": [{\"eventId\": \"1\",",
            "AOS-F101",
            "byte 28, /events/0",
        ),
        ("{\"events\": [],", "AOS-F101", "byte 14"),
        (deep.as_str(), "AOS-F103", "/events/0"),
        (digits.as_str(), "AOS-F104", "byte 6, /a"),
        ("{\"a\": 1e999}", "AOS-F104", "byte 6, /a"),
        (
            "{\"events\": [{\"a\": 1, \"a\": 2}]}",
            "AOS-F102",
            "/events/0",
        ),
        ("{\"events\": [], \"events\": []}", "AOS-F102", "byte 28"),
        ("{\"a\": \"\\ud800\"}", "AOS-F105", "/a"),
        ("{\"events\": []} x", "AOS-F101", "byte 15"),
        ("\u{feff}{}", "AOS-F101", "byte 0"),
    ] {
        let error = parse(text.as_bytes()).expect_err(at);
        assert_eq!(error.code(), "AOS-I001", "{at}");
        let place = error.place().unwrap().to_string();
        assert!(place.ends_with(at), "{place} is not {at}");
        let Error::Json { source, .. } = error else {
            panic!("{text}")
        };
        assert_eq!(source.code(), code, "{text}");
    }
}

#[test]
fn what_is_no_history_is_refused_at_the_value() {
    for (text, at, says) in [
        (
            "[]",
            "byte 0",
            "expected an object with events, found an array",
        ),
        ("{}", "byte 0", "expected a member `events`"),
        (
            "{\"events\": {}}",
            "byte 11, /events",
            "expected a list of events, found an object",
        ),
        (
            "{\"events\": []}",
            "/events",
            "expected events, found an empty list",
        ),
        (
            "{\"events\": [7]}",
            "/events/0",
            "expected an event, found a number",
        ),
        (
            "{\"history\": 7}",
            "/history",
            "expected an object with events, found a number",
        ),
        (
            "{\"events\": [{}]}",
            "/events/0",
            "an event with eventId, found none",
        ),
        (
            "{\"events\": [{\"eventId\": \"x\"}]}",
            "/events/0/eventId",
            "a whole number, found \"x\"",
        ),
        (
            "{\"events\": [{\"eventId\": -1}]}",
            "/events/0/eventId",
            "a whole number",
        ),
        (
            "{\"events\": [{\"eventId\": 1}]}",
            "/events/0",
            "an event with eventType, found none",
        ),
        (
            "{\"events\": [{\"eventId\": 1, \"eventType\": \"\"}]}",
            "/events/0/eventType",
            "found empty text",
        ),
        (
            "{\"events\": [{\"eventId\": 1, \"eventType\": \"TimerFired\"}]}",
            "/events/0/eventType",
            "expected WorkflowExecutionStarted, found TimerFired",
        ),
        (
            "{\"events\": [{\"eventId\": 1, \"eventType\": \"WorkflowExecutionStarted\"}]}",
            "workflowType",
            "the name of the workflow",
        ),
    ] {
        let (code, place, message) = refused(text);
        assert_eq!(code, "AOS-I002", "{text}");
        assert!(place.ends_with(at), "{text}: {place}");
        assert!(message.contains(says), "{text}: {message}");
    }
}

#[test]
fn events_must_follow_one_another() {
    let event =
        |id: &str, kind: &str| format!(",\n{{\"eventId\": {id}, \"eventType\": \"{kind}\"}}");
    for (more, at, says) in [
        (
            event("3", "TimerFired"),
            "line 4, column 1, byte 149, /events/1/eventId",
            "expected event 2, found event 3: events before it are missing",
        ),
        (
            event("1", "TimerFired"),
            "/events/1/eventId",
            "found event 1: given twice or out of order",
        ),
        (
            event("\"0\"", "TimerFired"),
            "/events/1/eventId",
            "found event 0",
        ),
        (
            event("18446744073709551615", "TimerFired"),
            "/events/1/eventId",
            "found event 18446744073709551615",
        ),
        (
            event("2", "WorkflowExecutionCompleted") + &event("3", "TimerFired"),
            "/events/2",
            "found event 3, TimerFired",
        ),
    ] {
        let (code, place, message) = refused(&history(&more));
        assert_eq!(code, "AOS-I003", "{more}");
        assert!(place.ends_with(at), "{more}: {place}");
        assert!(message.contains(says), "{more}: {message}");
    }
    let (code, ..) = refused(&history(&event("2", "WorkflowExecutionStarted")));
    assert_eq!(code, "AOS-I002", "a second start");
}

#[test]
fn huge_numbers_and_other_members_are_kept() {
    let huge = "9".repeat(400);
    let more = format!(
        ",\n{{\"eventId\": 2, \"eventType\": \"Novel\", \"n\": {huge}, \"f\": 1e300, \"s\": \"\\u0000\"}}"
    );
    let text = history(&more).replacen('{', "{\"nextPageToken\": [1 , 2],", 1);
    let run = parse(text.as_bytes()).unwrap();
    let data = String::from_utf8(run.events[1].data.clone()).unwrap();
    assert_eq!(
        data,
        format!("{{\"f\":1e+300,\"n\":{huge},\"s\":\"\\u0000\"}}")
    );
    assert_eq!(run.beside, [("nextPageToken".into(), "[1 , 2]".into())]);
}

#[test]
fn every_truncation_of_a_history_is_refused() {
    let bytes = fixture("go_bad-local-activity");
    let end = bytes.iter().rposition(|byte| *byte == b'}').unwrap();
    for len in 0..=end {
        let error = parse(&bytes[..len]).expect_err("a cut file is no history");
        assert_eq!(error.code(), "AOS-I001", "{len}");
    }
}

proptest! {
    #[test]
    fn a_changed_byte_is_refused_or_read_but_never_a_panic(at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = fixture("go_local-activity");
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(runs) = Temporal.parse("t.json", &bytes) {
            for event in &runs[0].events {
                prop_assert!(aos_format::canonical::check(&event.data).is_ok());
            }
        }
    }
}
