//! `llm_invoke`: one completion by an OpenAI-compatible chat endpoint.
//!
//! Tokens and cost are recorded. The cost follows from the tokens that the server counted and from the price in the arguments,
//! in units for 1,000 tokens, rounded up; before the call a budget is checked against the most that it may be: a token is at
//! least a byte of what is sent, and `max_tokens` of what comes back.

use super::arguments::{Arguments, describe};
use super::http::HttpCall;
use super::{About, AtHand, Effect, Latency, Policy};
use crate::fault::{Code, Fault};
use crate::secret::SecretRef;
use crate::value::{Val, Value, as_text, member, object, text};

/// JSON Schema of the arguments.
const INPUT: &str = r#"{
  "type": "object",
  "properties": {
    "endpoint": {"type": "string", "description": "what /chat/completions is appended to, such as http://localhost:8080/v1"},
    "model": {"type": "string"},
    "prompt": {"type": "string", "description": "one message of a user"},
    "messages": {"type": "array", "minItems": 1, "maxItems": 1000, "items": {
      "type": "object",
      "required": ["role", "content"],
      "properties": {"role": {"enum": ["system", "user", "assistant"]}, "content": {"type": "string"}},
      "additionalProperties": false
    }},
    "system": {"type": "string"},
    "max_tokens": {"type": "integer", "minimum": 1, "maximum": 1000000},
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "seed": {"type": "integer"},
    "key": {"type": "object", "required": ["file"], "description": "a file with the key of the service"},
    "price": {"type": "object", "properties": {
      "input": {"type": "integer", "minimum": 0, "description": "units for 1,000 tokens"},
      "output": {"type": "integer", "minimum": 0}
    }, "additionalProperties": false},
    "timeout_ms": {"type": "integer", "minimum": 1, "maximum": 600000}
  },
  "required": ["endpoint", "model"],
  "anyOf": [{"required": ["prompt"]}, {"required": ["messages"]}],
  "additionalProperties": false
}"#;

const OUTPUT: &str = r#"{
  "type": "object",
  "required": ["text", "model", "finish_reason", "tokens"],
  "properties": {
    "text": {"type": "string"}, "model": {"type": "string"}, "finish_reason": {"type": "string"},
    "tokens": {"type": "object", "required": ["input", "output"]}
  }
}"#;

/// Most tokens of an answer, where the arguments name no limit.
const TOKENS_DEFAULT: usize = 1_024;
const TOKENS_MAX: usize = 1_000_000;
const MESSAGES_MAX: usize = 1_000;
/// Tokens that a message may cost besides its text.
const MESSAGE_TOKENS: u64 = 16;
/// Units for 1,000 tokens, where the arguments name no price.
const PRICE_DEFAULT: usize = 1;
const PRICE_MAX: usize = 1_000_000_000;
const TIMEOUT_MS: usize = 60_000;

/// The skill.
pub(super) struct LlmInvoke(HttpCall);

impl LlmInvoke {
    pub(super) fn new() -> LlmInvoke {
        LlmInvoke(HttpCall::new())
    }
}

/// A call, read from arguments or from a record.
struct Call {
    endpoint: String,
    /// What is posted.
    body: Val,
    key: Option<SecretRef>,
    prices: (u64, u64),
    max_tokens: u64,
    /// Most tokens that what is posted may count as.
    sent_tokens: u64,
    timeout_ms: usize,
    record: Value,
}

impl Call {
    fn read(arguments: &Value) -> Result<Call, Fault> {
        let mut given = Arguments::of("llm_invoke", arguments)?;
        let endpoint = given.text("endpoint")?.trim_end_matches('/').to_owned();
        let model = given.text("model")?;
        let messages = messages(&mut given)?;
        let max_tokens = given
            .maybe_count("max_tokens", TOKENS_MAX)?
            .unwrap_or(TOKENS_DEFAULT);
        let timeout_ms = given
            .maybe_count("timeout_ms", super::http::TIMEOUT_MS_MAX)?
            .unwrap_or(TIMEOUT_MS);
        if max_tokens == 0 || timeout_ms == 0 {
            return Err(given.wrong("max_tokens", "limits of at least 1", "0"));
        }
        let prices = prices(&mut given)?;
        let key = match given.maybe("key") {
            None | Some(Val::Null) => None,
            Some(value) => Some(SecretRef::read(value).ok_or_else(|| {
                given.wrong("key", "a secret {\"file\": PATH}", &describe(value))
            })?),
        };
        let mut body = vec![
            ("max_tokens", Val::from(max_tokens)),
            ("messages", messages.clone()),
            ("model", text(model)),
        ];
        for name in ["seed", "temperature"] {
            if let Some(value) = given.maybe(name) {
                if !matches!(value, Val::Num(_)) {
                    return Err(given.wrong(name, "a number", &describe(value)));
                }
                body.push((name, value.clone()));
            }
        }
        given.end()?;
        let mut record = body.clone();
        record.extend([
            ("endpoint", text(&endpoint)),
            (
                "price",
                object([
                    ("input", Val::from(prices.0)),
                    ("output", Val::from(prices.1)),
                ]),
            ),
            ("timeout_ms", Val::from(timeout_ms)),
        ]);
        if let Some(key) = &key {
            record.push(("key", key.value()));
        }
        let count = match &messages {
            Val::Arr(items) => items.len() as u64,
            _ => 0,
        };
        let bytes = Value::from_val(&messages)?.canonical().len() as u64;
        let call = Call {
            body: object(body),
            key,
            prices: (prices.0 as u64, prices.1 as u64),
            max_tokens: max_tokens as u64,
            sent_tokens: bytes + count * MESSAGE_TOKENS,
            timeout_ms,
            record: Value::from_val(&object(record))?,
            endpoint,
        };
        // What cannot be sent is refused before anything is recorded.
        HttpCall::check(&call.post()?).map_err(|fault| Fault {
            detail: fault.detail.replacen("http_call", "llm_invoke", 1),
            ..fault
        })?;
        Ok(call)
    }

    /// The request as `http_call` takes it.
    fn post(&self) -> Result<Value, Fault> {
        let headers = self.key.as_ref().map(|key| {
            let bearer = SecretRef {
                field: key.field.clone(),
                file: key.file.clone(),
                prefix: if key.prefix.is_empty() {
                    "Bearer ".into()
                } else {
                    key.prefix.clone()
                },
            };
            object([("authorization", bearer.value())])
        });
        Ok(Value::from_val(&object([
            ("body", self.body.clone()),
            ("headers", headers.unwrap_or(Val::Null)),
            ("method", text("POST")),
            ("timeout_ms", Val::from(self.timeout_ms)),
            ("url", text(&format!("{}/chat/completions", self.endpoint))),
        ]))?)
    }

    fn units(&self, sent: u64, came: u64) -> u64 {
        let part = |tokens: u64, price: u64| tokens.saturating_mul(price);
        part(sent, self.prices.0)
            .saturating_add(part(came, self.prices.1))
            .div_ceil(1_000)
    }
}

fn messages(given: &mut Arguments<'_>) -> Result<Val, Fault> {
    let message =
        |role: &str, content: &str| object([("content", text(content)), ("role", text(role))]);
    let mut messages = Vec::new();
    if let Some(system) = given.maybe("system") {
        let content =
            as_text(system).ok_or_else(|| given.wrong("system", "text", &describe(system)))?;
        messages.push(message("system", content));
    }
    match given.maybe("prompt") {
        Some(prompt) => {
            let content =
                as_text(prompt).ok_or_else(|| given.wrong("prompt", "text", &describe(prompt)))?;
            messages.push(message("user", content));
        }
        None => {
            for item in given.array("messages", MESSAGES_MAX)? {
                let field = |name: &str| member(item, name).and_then(as_text);
                let known = |role: &&str| ["system", "user", "assistant"].contains(role);
                let (Some(role), Some(content)) = (field("role").filter(known), field("content"))
                else {
                    let expected = "messages of a role (system, user, assistant) and content";
                    return Err(given.wrong("messages", expected, "another"));
                };
                messages.push(message(role, content));
            }
        }
    }
    if messages.is_empty() {
        return Err(given.wrong("messages", "at least one message", "none"));
    }
    Ok(messages.into_iter().collect())
}

fn prices(given: &mut Arguments<'_>) -> Result<(usize, usize), Fault> {
    let Some(price) = given.maybe("price") else {
        return Ok((PRICE_DEFAULT, PRICE_DEFAULT));
    };
    let price = Value::from_val(price)?;
    let mut prices = Arguments::of("llm_invoke: price", &price)?;
    let input = prices.maybe_count("input", PRICE_MAX)?;
    let output = prices.maybe_count("output", PRICE_MAX)?;
    prices.end()?;
    Ok((
        input.unwrap_or(PRICE_DEFAULT),
        output.unwrap_or(PRICE_DEFAULT),
    ))
}

impl Effect for LlmInvoke {
    fn can_be_left(&self) -> bool {
        true
    }

    fn about(&self) -> About {
        About {
            checked: false,
            cost: 2,
            latency: Latency {
                typical_ms: 2_000,
                max_ms: TIMEOUT_MS as u64,
            },
            fails: super::http::FAILS.to_vec(),
            after: ["http_call", "json_transform", "kv_get"]
                .map(str::to_owned)
                .to_vec(),
            ..About::effect()
                .summary("One completion by an OpenAI-compatible chat endpoint")
                .schemas(INPUT, OUTPUT)
        }
    }

    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(Call::read(arguments)?.record)
    }

    /// A completion changes nothing: the worst that a repetition does is cost twice.
    fn policy(&self, _: &Value) -> Policy {
        Policy::Retry
    }

    fn secrets(&self, request: &Value) -> Vec<SecretRef> {
        let call = Call::read(request);
        call.map_or_else(|_| Vec::new(), |call| call.key.into_iter().collect())
    }

    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        let call = Call::read(request)?;
        let answer = self.0.perform(&call.post()?, hand)?;
        output(&answer).ok_or_else(|| {
            Fault::new(
                Code::SchemaError,
                "llm_invoke: expected a chat completion with usage, found another answer",
            )
        })?
    }

    fn estimate(&self, request: &Value) -> Option<u64> {
        let call = Call::read(request).ok()?;
        Some(call.units(call.sent_tokens, call.max_tokens))
    }

    fn cost(&self, request: &Value, answer: &Value) -> Option<u64> {
        let call = Call::read(request).ok()?;
        let tokens = member(answer.val(), "tokens")?;
        Some(call.units(count(tokens, "input")?, count(tokens, "output")?))
    }
}

fn count(value: &Val, name: &str) -> Option<u64> {
    member(value, name)?.to_string().parse().ok()
}

/// What is kept of an answer; none when it is no completion.
fn output(answer: &Value) -> Option<Result<Value, Fault>> {
    let answer = answer.val();
    let Val::Arr(choices) = member(answer, "choices")? else {
        return None;
    };
    let choice = choices.first()?;
    let said = member(member(choice, "message")?, "content").and_then(as_text)?;
    let usage = member(answer, "usage")?;
    let tokens = object([
        (
            "input",
            member(usage, "prompt_tokens")
                .filter(|_| count(usage, "prompt_tokens").is_some())?
                .clone(),
        ),
        (
            "output",
            member(usage, "completion_tokens")
                .filter(|_| count(usage, "completion_tokens").is_some())?
                .clone(),
        ),
    ]);
    let word = |value: Option<&Val>| text(value.and_then(as_text).unwrap_or_default());
    let output = object([
        ("finish_reason", word(member(choice, "finish_reason"))),
        ("model", word(member(answer, "model"))),
        ("text", text(said)),
        ("tokens", tokens),
    ]);
    Some(Value::from_val(&output).map_err(Fault::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::{Reply, Server, llm};

    fn json(text: &str) -> Value {
        Value::from_json(text.as_bytes()).unwrap()
    }

    fn arguments(base: &str, more: &str) -> Value {
        json(&format!(
            r#"{{"endpoint":"{base}/v1","model":"m","prompt":"what is the price"{more}}}"#
        ))
    }

    #[test]
    fn a_completion_is_recorded_with_its_tokens_and_costs_what_they_cost() {
        let server = Server::start(llm).unwrap();
        let skill = LlmInvoke::new();
        let price = r#","price":{"input":1000,"output":500},"max_tokens":3"#;
        let request = skill.request(&arguments(&server.base(), price)).unwrap();
        assert_eq!(skill.request(&request).unwrap(), request);
        let answer = skill.perform(&request, &AtHand::alone("k")).unwrap();
        let said = member(answer.val(), "text").and_then(as_text).unwrap();
        assert!(
            said.ends_with(" what is") && said.starts_with("mock-"),
            "{said}"
        );
        assert!(answer.as_str().contains(r#""finish_reason":"length""#));
        assert!(
            answer
                .as_str()
                .contains(r#""tokens":{"input":4,"output":3}"#)
        );
        assert_eq!(skill.cost(&request, &answer), Some(4 + 2));
        assert!(
            skill.estimate(&request).unwrap() >= 6,
            "the estimate is the most"
        );
        assert_eq!(
            skill.perform(&request, &AtHand::alone("k")).unwrap(),
            answer,
            "the mock is deterministic"
        );
    }

    #[test]
    fn the_key_of_the_service_goes_out_and_never_into_a_record() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "sk-planted-1234\n").unwrap();
        let server = Server::start(|asked| {
            let key = asked.header("authorization").unwrap_or_default().to_owned();
            let echo = format!(
                r#"{{"choices":[{{"message":{{"content":"you are {key}"}},"finish_reason":"stop"}}],"model":"m","usage":{{"prompt_tokens":1,"completion_tokens":1}}}}"#
            );
            Reply::json(200, &echo)
        })
        .unwrap();
        let skill = LlmInvoke::new();
        let key = format!(r#","key":{{"file":"{}"}}"#, file.display());
        let request = skill.request(&arguments(&server.base(), &key)).unwrap();
        let answer = skill.perform(&request, &AtHand::alone("k")).unwrap();
        assert_eq!(
            server.seen()[0].header("authorization"),
            Some("Bearer sk-planted-1234")
        );
        for recorded in [&request, &answer] {
            assert!(!recorded.as_str().contains("planted"), "{recorded:?}");
        }
        assert!(
            answer.as_str().contains("you are Bearer [secret]"),
            "{answer:?}"
        );
    }

    #[test]
    fn what_is_no_completion_is_a_fault() {
        for (status, body, code) in [
            (200, "{}", Code::SchemaError),
            (200, r#"{"choices":[]}"#, Code::SchemaError),
            (
                200,
                r#"{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":"a","completion_tokens":1}}"#,
                Code::SchemaError,
            ),
            (429, "{}", Code::RateLimited),
            (500, "{}", Code::Http500),
        ] {
            let server = Server::start(move |_| Reply::json(status, body)).unwrap();
            let skill = LlmInvoke::new();
            let request = skill.request(&arguments(&server.base(), "")).unwrap();
            assert_eq!(
                skill
                    .perform(&request, &AtHand::alone("k"))
                    .unwrap_err()
                    .code,
                code,
                "{body}"
            );
        }
    }

    #[test]
    fn refused_arguments_name_the_field() {
        let skill = LlmInvoke::new();
        for (more, field) in [
            (r#","temperature":"hot""#, "temperature"),
            (r#","max_tokens":0"#, "max_tokens"),
            (r#","key":"sk-1""#, "key"),
            (r#","price":{"input":-1}"#, "input"),
            (r#","x":1"#, "x"),
        ] {
            let fault = skill
                .request(&arguments("http://localhost", more))
                .unwrap_err();
            assert!(
                fault.detail.contains(&format!("field `{field}`")),
                "{}",
                fault.detail
            );
        }
        let fault = skill
            .request(&arguments("ftp://localhost", ""))
            .unwrap_err();
        assert!(fault.detail.starts_with("llm_invoke: "), "{}", fault.detail);
        assert!(
            skill
                .request(&json(r#"{"endpoint":"http://a","model":"m"}"#))
                .is_err()
        );
    }
}
