//! A language model that is none: the same messages give the same answer, in the form of an OpenAI-compatible server.
//!
//! A token is a word. The answer is what the last message of a user says, cut to `max_tokens`, behind a word made from the
//! digest of all messages.

use super::{Asked, Reply};
use crate::value::{Val, Value, as_text, member, object, text};
use aos_format::digest::Digest;

/// Most tokens of an answer where the request names no limit.
const TOKENS_DEFAULT: usize = 64;

/// Answers `POST …/chat/completions`; everything else is not found, and what makes no request is refused.
pub fn llm(asked: &Asked) -> Reply {
    if asked.method != "POST" || !asked.target.ends_with("/chat/completions") {
        return problem(404, "only POST /v1/chat/completions is answered");
    }
    let Ok(request) = Value::from_json(&asked.body) else {
        return problem(400, "the body is not JSON");
    };
    let (Some(model), Some(Val::Arr(messages))) = (
        member(request.val(), "model").and_then(as_text),
        member(request.val(), "messages"),
    ) else {
        return problem(400, "model and messages are needed");
    };
    let content = |message: &Val| {
        member(message, "content")
            .and_then(as_text)
            .unwrap_or_default()
            .to_owned()
    };
    let asked_tokens: usize = messages
        .iter()
        .map(|message| words(&content(message)))
        .sum();
    let last = messages
        .iter()
        .rfind(|message| member(message, "role").and_then(as_text) == Some("user"))
        .map(content)
        .unwrap_or_default();
    let most = member(request.val(), "max_tokens")
        .and_then(|n| n.to_string().parse().ok())
        .unwrap_or(TOKENS_DEFAULT);
    let Ok(all) = Value::from_val(&Val::Arr(messages.clone())) else {
        return problem(400, "messages that are no value");
    };
    let named = format!("mock-{} {last}", &Digest::of(all.canonical()).hex()[..8]);
    let said: Vec<&str> = named.split_whitespace().take(most).collect();
    let finish = if said.len() < words(&named) {
        "length"
    } else {
        "stop"
    };
    let number = |n: usize| Val::from(n);
    let answer = object([
        (
            "choices",
            [object([
                ("finish_reason", text(finish)),
                ("index", number(0)),
                (
                    "message",
                    object([
                        ("content", text(&said.join(" "))),
                        ("role", text("assistant")),
                    ]),
                ),
            ])]
            .into_iter()
            .collect(),
        ),
        (
            "id",
            text(&format!(
                "chatcmpl-{}",
                &Digest::of(request.canonical()).hex()[..16]
            )),
        ),
        ("model", text(model)),
        ("object", text("chat.completion")),
        (
            "usage",
            object([
                ("completion_tokens", number(said.len())),
                ("prompt_tokens", number(asked_tokens)),
                ("total_tokens", number(asked_tokens + said.len())),
            ]),
        ),
    ]);
    match Value::from_val(&answer) {
        Ok(answer) => Reply::value(200, &answer),
        Err(_) => problem(400, "an answer that is no value"),
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn problem(status: u16, why: &str) -> Reply {
    Reply::json(status, &format!(r#"{{"error":{{"message":"{why}"}}}}"#))
}
