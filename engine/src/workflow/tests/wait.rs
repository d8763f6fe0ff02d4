use super::*;
use crate::workflow::WAIT_MS_MAX;

/// The duration of `wait: yaml`, or the error's code and text.
fn wait(yaml: &str, input: &str) -> Result<u64, String> {
    let text = format!("{HEAD}do:\n  - a:\n      wait: {yaml}\n");
    let definition = Definition::load(text.as_bytes()).map_err(|error| {
        assert_eq!(error.line, 4, "{error}");
        format!("{} {error}", error.code())
    })?;
    let TaskKind::Wait(wait) = &definition.tasks[0].kind else {
        panic!("not a wait")
    };
    let input = value(input);
    wait.milliseconds(|template| Ok(template.eval(input.val(), &|_| Val::Null, None).unwrap()))
        .map_err(|fault| format!("{} {}", fault.code.name(), fault.detail))
}

#[test]
fn durations_are_read_to_the_millisecond() {
    for (yaml, ms) in [
        ("{seconds: 30}", 30_000),
        (
            "{days: 1, hours: 2, minutes: 3, seconds: 4, milliseconds: 5}",
            93_784_005,
        ),
        ("{milliseconds: 0}", 0),
        ("PT30S", 30_000),
        ("PT0.5S", 500),
        ("PT1,25S", 1250),
        ("P1DT2H3M4.005S", 93_784_005),
        ("P2W", 1_209_600_000),
        ("P0.5D", 43_200_000),
        ("PT0S", 0),
        ("P3653D", WAIT_MS_MAX),
    ] {
        assert_eq!(wait(yaml, "null"), Ok(ms), "{yaml}");
    }
}

#[test]
fn computed_durations_may_be_of_either_form() {
    for (input, ms) in [
        (r#""PT5S""#, 5000),
        (r#"{"seconds":1.5}"#, 1500),
        (r#"{"minutes":1,"milliseconds":1}"#, 60_001),
        (r#"{"days":1e0}"#, 86_400_000),
        (r#"{"days":1e-7,"milliseconds":0}"#, 0),
    ] {
        let found = wait("${ . }", input);
        if input.contains("1e-7") {
            assert!(found.unwrap_err().contains("down to milliseconds"));
        } else {
            assert_eq!(found, Ok(ms), "{input}");
        }
    }
}

#[test]
fn what_is_no_duration_is_a_fault_when_computed() {
    for input in [
        "5",
        "null",
        "[]",
        "{}",
        r#""5s""#,
        r#""""#,
        r#"{"seconds":-1}"#,
        r#"{"seconds":"1"}"#,
        r#"{"seconds":0.0001}"#,
        r#"{"weeks":1}"#,
        r#"{"days":3654}"#,
        r#"{"days":3653,"milliseconds":1}"#,
        r#"{"days":1e300}"#,
        r#"{"seconds":1e-300}"#,
        r#"{"milliseconds":123456789012345678901234567890}"#,
    ] {
        assert!(
            wait("${ . }", input)
                .unwrap_err()
                .starts_with("INVALID_INPUT "),
            "{input}"
        );
    }
}

#[test]
fn literal_durations_are_checked_when_the_document_loads() {
    for (yaml, code) in [
        ("P1Y", "AOS-E211"),
        ("P1M", "AOS-E211"),
        ("P", "AOS-E211"),
        ("PT", "AOS-E211"),
        ("P1DT", "AOS-E211"),
        ("PT1S1M", "AOS-E211"),
        ("PT1S2S", "AOS-E211"),
        ("PT-1S", "AOS-E211"),
        ("-PT1S", "AOS-E211"),
        ("PT1.S", "AOS-E211"),
        ("PT.5S", "AOS-E211"),
        ("PT1.2.3S", "AOS-E211"),
        ("PT1,2.3S", "AOS-E211"),
        ("PT0.0001S", "AOS-E211"),
        ("pt1s", "AOS-E211"),
        ("PTéS", "AOS-E211"),
        ("P3654D", "AOS-E211"),
        ("PT99999999999999999999999999999S", "AOS-E211"),
        ("{days: 3654}", "AOS-E211"),
        ("{}", "AOS-E211"),
        ("{seconds: -1}", "AOS-E210"),
        ("{seconds: 1.5}", "AOS-E210"),
        ("{seconds: '1'}", "AOS-E210"),
        ("{weeks: 1}", "AOS-E207"),
        ("5", "AOS-E210"),
        ("a ${ .b", "AOS-E209"),
    ] {
        let error = wait(yaml, "null").unwrap_err();
        assert!(error.starts_with(code), "{yaml}: {error}");
    }
}

#[test]
fn months_are_refused_in_words_but_minutes_are_not() {
    assert!(wait("P1M", "null").unwrap_err().contains("no fixed length"));
    assert_eq!(wait("PT1M", "null"), Ok(60_000));
    assert_eq!(wait("PT${ .n }M", r#"{"n":2}"#), Ok(120_000));
}
