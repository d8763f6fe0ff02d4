//! What of a Temporal event counts, in one spelling.

use super::table::{EVENT, INSIDE, attributes};
use crate::json::Json;
use crate::rules::{Attribute, Rule};
use aos_format::canonical::MAX_DEPTH;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Levels that decoded payloads leave free, so that the whole never nests deeper than the format takes.
const DEPTH_SPARE: usize = 8;

/// Suffix of the member that holds an event's attributes.
const ATTRIBUTES: &str = "EventAttributes";

/// What earlier events of the run are called, and what went not quite as it should.
#[derive(Default)]
pub(super) struct Context {
    /// Activations by event id, from 1.
    pub(super) activations: Vec<String>,
    /// Payloads that say they are JSON and are not.
    pub(super) undecoded: u64,
    /// References to events that do not come before.
    pub(super) dangling: u64,
}

/// `EVENT_TYPE_TIMER_FIRED` and `TimerFired` are one type.
pub(super) fn one_spelling(name: &str, prefix: &str) -> String {
    let Some(rest) = name.strip_prefix(prefix).filter(|rest| !rest.is_empty()) else {
        return name.to_owned();
    };
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first
            .into_iter()
            .chain(letters.map(|letter| letter.to_ascii_lowercase()))
            .collect::<String>()
    };
    rest.split('_').map(word).collect()
}

/// The attributes of an event and the type that their member names.
pub(super) fn attributes_of(event: &Json) -> Option<(String, &Json)> {
    let (name, value) = event
        .members()
        .iter()
        .find(|(name, _)| name.ends_with(ATTRIBUTES))?;
    Some((type_of_member(name)?, value))
}

fn type_of_member(name: &str) -> Option<String> {
    let base = name.strip_suffix(ATTRIBUTES)?;
    let first = base.chars().next()?;
    Some(format!(
        "{}{}",
        first.to_ascii_uppercase(),
        &base[first.len_utf8()..]
    ))
}

/// The part of an event that is hashed.
pub(super) fn data(event: &Json, foreign_type: &str, context: &mut Context) -> Json {
    let mut members = Vec::new();
    for (name, value) in event.members() {
        if name == "eventId" || name == "eventType" {
            continue;
        }
        let of = type_of_member(name).filter(|_| matches!(value, Json::Object(_)));
        let kept = match of {
            Some(of) => Some(table(value, attributes(&of), 1, context)),
            None => apply(rule(EVENT, name), value, 1, context),
        };
        let Some(kept) = kept.filter(|kept| *kept != Json::Object(Vec::new())) else {
            continue;
        };
        // The attributes that belong to the type have one short name; those of another type keep theirs.
        let own = type_of_member(name).is_some_and(|of| of == foreign_type);
        let name = if own { "attributes" } else { name };
        members.push((name.to_owned(), kept));
    }
    Json::Object(members)
}

fn rule(table: &[Attribute], name: &str) -> Option<Rule> {
    table
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, rule)| *rule)
}

/// The members of `value` by the rules of `known`; what it does not name is kept as it stands.
fn table(value: &Json, known: &[Attribute], depth: usize, context: &mut Context) -> Json {
    let members = value.members().iter().filter_map(|(name, value)| {
        let kept = apply(rule(known, name), value, depth + 1, context)?;
        Some((name.clone(), kept))
    });
    Json::Object(members.collect())
}

/// What is hashed of a value under its rule; `None` where that is nothing.
fn apply(rule: Option<Rule>, value: &Json, depth: usize, context: &mut Context) -> Option<Json> {
    let Some(rule) = rule else {
        return Some(as_it_stands(value, depth, context));
    };
    match rule {
        Rule::Volatile => None,
        Rule::Hashed => Some(inside(value, depth, context)).filter(|kept| !is_default(kept)),
        Rule::Open => Some(as_it_stands(value, depth, context)).filter(|kept| !is_default(kept)),
        Rule::Integer => match value.number() {
            Some(0) => None,
            Some(number) => Some(Json::Number(number.to_string())),
            None => Some(inside(value, depth, context)).filter(|kept| !is_default(kept)),
        },
        Rule::Count => match value.number() {
            Some(0 | 1) => None,
            Some(number) => Some(Json::Number(number.to_string())),
            None => Some(inside(value, depth, context)).filter(|kept| !is_default(kept)),
        },
        Rule::Reference => match value.number() {
            Some(0) => None,
            Some(number) => Some(referred(number, context)),
            None => Some(inside(value, depth, context)).filter(|kept| !is_default(kept)),
        },
        Rule::Name(prefix, default) => match value.text() {
            Some(text) => {
                let name = one_spelling(text, prefix);
                let is_default = name.is_empty() || name == default;
                (!is_default).then_some(Json::Text(name))
            }
            None => Some(inside(value, depth, context)).filter(|kept| !is_default(kept)),
        },
    }
}

/// The event that an id names, by its activation.
fn referred(number: u64, context: &mut Context) -> Json {
    let earlier = usize::try_from(number - 1)
        .ok()
        .and_then(|index| context.activations.get(index));
    match earlier {
        Some(activation) => Json::Text(activation.clone()),
        None => {
            context.dangling += 1;
            Json::Number(number.to_string())
        }
    }
}

/// Whether a value is what its absence means too.
fn is_default(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::Number(text) => text == "0",
        Json::Text(text) => text.is_empty() || text == "0s",
        Json::Array(items) => items.is_empty(),
        Json::Object(members) => members.is_empty(),
        Json::Bool(true) => false,
    }
}

/// A known value: payloads decoded, defaults left out, the rules inside applied.
fn inside(value: &Json, depth: usize, context: &mut Context) -> Json {
    match value {
        Json::Object(members) => {
            if let Some(payload) = payload(value, depth, context) {
                return payload;
            }
            let kept = members.iter().filter_map(|(name, value)| {
                let rule = rule(INSIDE, name).unwrap_or(Rule::Hashed);
                Some((name.clone(), apply(Some(rule), value, depth + 1, context)?))
            });
            Json::Object(kept.collect())
        }
        Json::Array(items) => {
            let kept = items.iter().map(|item| inside(item, depth + 1, context));
            Json::Array(kept.collect())
        }
        other => other.clone(),
    }
}

/// An unknown value: everything of it, payloads decoded.
fn as_it_stands(value: &Json, depth: usize, context: &mut Context) -> Json {
    match value {
        Json::Object(members) => {
            if let Some(payload) = payload(value, depth, context) {
                return payload;
            }
            let kept = members
                .iter()
                .map(|(name, value)| (name.clone(), as_it_stands(value, depth + 1, context)));
            Json::Object(kept.collect())
        }
        Json::Array(items) => {
            let kept = items
                .iter()
                .map(|item| as_it_stands(item, depth + 1, context));
            Json::Array(kept.collect())
        }
        other => other.clone(),
    }
}

/// A payload with its encoding in clear and, where that says JSON, its value; `None` for what is no payload.
fn payload(value: &Json, depth: usize, context: &mut Context) -> Option<Json> {
    let metadata = value.member("metadata")?;
    let encoding = decoded_text(metadata.member("encoding")?)?;
    let data = match value.member("data") {
        None => None,
        Some(data) => Some(data.text()?),
    };
    let mut members = vec![("encoding".to_owned(), Json::Text(encoding.clone()))];
    let rest: Vec<(String, Json)> = metadata
        .members()
        .iter()
        .filter(|(name, _)| name != "encoding")
        .map(|(name, value)| {
            let text = decoded_text(value).map_or_else(|| value.clone(), Json::Text);
            (name.clone(), text)
        })
        .collect();
    if !rest.is_empty() {
        members.push(("metadata".to_owned(), Json::Object(rest)));
    }
    if let Some(data) = data {
        let decoded = encoding
            .starts_with("json/")
            .then(|| decoded_json(data, depth));
        if decoded == Some(None) {
            context.undecoded += 1;
        }
        members.push(match decoded.flatten() {
            Some(value) => ("value".to_owned(), value),
            None => ("data".to_owned(), Json::Text(data.to_owned())),
        });
    }
    for (name, value) in value.members() {
        if name != "metadata" && name != "data" {
            members.push((format!("payload.{name}"), value.clone()));
        }
    }
    Some(Json::Object(members))
}

fn decoded_text(value: &Json) -> Option<String> {
    String::from_utf8(STANDARD.decode(value.text()?).ok()?).ok()
}

fn decoded_json(data: &str, depth: usize) -> Option<Json> {
    let value = Json::parse(&STANDARD.decode(data).ok()?).ok()?;
    (depth + value.depth() + DEPTH_SPARE <= MAX_DEPTH).then_some(value)
}

/// What an event is about: an activity, marker, signal, child or operation.
pub(super) fn subject(attributes: &Json, subjects: &[Option<String>]) -> Option<String> {
    let name_of = |member: &str| attributes.member(member)?.member("name")?.text();
    let own = name_of("activityType")
        .or_else(|| name_of("workflowType"))
        .or_else(|| attributes.member("markerName")?.text())
        .or_else(|| attributes.member("signalName")?.text())
        .or_else(|| attributes.member("operation")?.text())
        .filter(|name| !name.is_empty());
    if let Some(own) = own {
        return Some(own.to_owned());
    }
    let of = ["scheduledEventId", "initiatedEventId", "startedEventId"]
        .into_iter()
        .find_map(|name| attributes.member(name)?.number())?;
    subjects
        .get(usize::try_from(of.checked_sub(1)?).ok()?)?
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(event: &str, foreign_type: &str) -> String {
        let event = Json::parse(event.as_bytes()).unwrap();
        let mut context = Context::default();
        String::from_utf8(data(&event, foreign_type, &mut context).canonical()).unwrap()
    }

    #[test]
    fn both_spellings_of_a_name_are_one() {
        for (long, short) in [
            (
                "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED",
                "WorkflowExecutionStarted",
            ),
            (
                "EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
                "UpsertWorkflowSearchAttributes",
            ),
        ] {
            assert_eq!(one_spelling(long, "EVENT_TYPE_"), short);
            assert_eq!(one_spelling(short, "EVENT_TYPE_"), short);
        }
        assert_eq!(one_spelling("EVENT_TYPE_", "EVENT_TYPE_"), "EVENT_TYPE_");
    }

    #[test]
    fn absent_default_and_null_are_alike_and_numbers_have_one_spelling() {
        let bare = hashed(
            r#"{"activityTaskStartedEventAttributes": {}}"#,
            "ActivityTaskStarted",
        );
        for same in [
            r#"{"activityTaskStartedEventAttributes": {"attempt": 1}}"#,
            r#"{"activityTaskStartedEventAttributes": {"attempt": "1", "lastFailure": null, "scheduledEventId": "0"}}"#,
        ] {
            assert_eq!(hashed(same, "ActivityTaskStarted"), bare);
        }
        let second = r#"{"activityTaskStartedEventAttributes": {"attempt": "2"}}"#;
        assert_eq!(
            hashed(second, "ActivityTaskStarted"),
            r#"{"attributes":{"attempt":2}}"#
        );
    }

    #[test]
    fn what_no_table_knows_counts_as_it_stands() {
        let event =
            r#"{"novel": null, "timerFiredEventAttributes": {"novel": [0, ""], "timerId": "5"}}"#;
        assert_eq!(
            hashed(event, "TimerFired"),
            r#"{"attributes":{"novel":[0,""],"timerId":"5"},"novel":null}"#
        );
        assert_eq!(
            hashed(event, "Novel"),
            r#"{"novel":null,"timerFiredEventAttributes":{"novel":[0,""],"timerId":"5"}}"#
        );
    }

    #[test]
    fn names_that_the_workflow_chose_are_under_no_rule() {
        let event = r#"{"markerRecordedEventAttributes": {"details": {"identity": {"payloads": [
            {"metadata": {"encoding": "anNvbi9wbGFpbg==", "k": "dg=="}, "data": "MQ=="}]}}}}"#;
        assert_eq!(
            hashed(event, "MarkerRecorded"),
            r#"{"attributes":{"details":{"identity":{"payloads":[{"encoding":"json/plain","metadata":{"k":"v"},"value":1}]}}}}"#
        );
    }

    #[test]
    fn a_payload_that_is_no_json_although_it_says_so_is_kept_and_counted() {
        for data in ["bm90IGpzb24=", "%%%", "eyJhIjoxLCJhIjoyfQ=="] {
            let text = format!(
                r#"{{"payloads": [{{"metadata": {{"encoding": "anNvbi9wbGFpbg=="}}, "data": "{data}"}}]}}"#
            );
            let mut context = Context::default();
            let kept = inside(&Json::parse(text.as_bytes()).unwrap(), 0, &mut context);
            assert_eq!(context.undecoded, 1, "{data}");
            assert!(String::from_utf8(kept.canonical()).unwrap().contains(data));
        }
    }

    #[test]
    fn a_payload_nested_too_deeply_is_not_unfolded() {
        let deep = STANDARD.encode(format!("{}{}", "[".repeat(125), "]".repeat(125)));
        assert_eq!(decoded_json(&deep, 4), None);
        assert!(decoded_json(&STANDARD.encode("[[]]"), 4).is_some());
    }
}
