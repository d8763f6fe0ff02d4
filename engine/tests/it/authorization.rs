//! `$authorization`: what a task's call says of who it comes from.

use crate::support::*;
use aos_disk::sim::SimDisk;
use aos_engine::fault::Fault;
use aos_engine::machine::Ended;
use aos_engine::skill::{AtHand, Effect, Policy, Skill, Skills};
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use std::sync::Arc;

/// Answers with the request, as far as it is recorded.
struct Echo;

impl Effect for Echo {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }
    fn policy(&self, _: &Value) -> Policy {
        Policy::Retry
    }
    fn perform(&self, request: &Value, _: &AtHand<'_>) -> Result<Value, Fault> {
        Ok(request.clone())
    }
}

/// The output of a call of `http` that says so of who asks.
fn said(authentication: &str, header: &str) -> String {
    let text = format!(
        "document: {{dsl: '1.0.3', namespace: test, name: t, version: '1.0.0'}}
use: {{secrets: [word]}}
do:
  - a:
      call: http
      with:
        method: get
        endpoint: {{uri: 'http://a/'{authentication}}}
        headers: {{x-who: '{header}'}}
      output: {{as: '{{header: .headers[\"x-who\"], who: $authorization}}'}}
      export: {{as: '$authorization.scheme'}}
  - b: {{set: {{all: '${{ . }}', scheme: '${{ $context }}', none: '${{ $authorization }}'}}}}
"
    );
    let disk = SimDisk::with_seed(1);
    let mut skills = Skills::builtin();
    skills.add("http_call", "2", Skill::effect(Echo));
    let definition = Arc::new(Definition::load(text.as_bytes()).unwrap());
    let asked = request(&definition, "k", r#"{"t":"tok","u":"me"}"#, 7);
    match finish(&engine_with(&disk, skills), &asked).2 {
        Ended::Completed(value) => value.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn authorization_is_what_data_says_and_masks_what_is_secret() {
    let header = "${ $authorization.scheme }";
    for (authentication, scheme, parameter) in [
        ("bearer: {token: '${ .t }'}", "Bearer", "tok"),
        (
            "bearer: {token: 'x-${ .t }-${ $input.u }'}",
            "Bearer",
            "x-tok-me",
        ),
        (
            "basic: {username: '${ .u }', password: '${ .t }'}",
            "Basic",
            "bWU6dG9r",
        ),
        (
            "basic: {username: you, password: '${ .t }'}",
            "Basic",
            "eW91OnRvaw==",
        ),
        (
            "basic: {username: you, password: '${ $secrets.word }'}",
            "Basic",
            "[secret]",
        ),
        (
            "bearer: {token: '${ $secrets.word }'}",
            "Bearer",
            "[secret]",
        ),
        ("bearer: {use: word}", "Bearer", "[secret]"),
        (
            "digest: {username: you, password: '${ .t }'}",
            "Digest",
            "[secret]",
        ),
        ("oidc: {use: word}", "Bearer", "[secret]"),
    ] {
        assert_eq!(
            said(&format!(", authentication: {{{authentication}}}"), header),
            format!(
                r#"{{"all":{{"header":"{scheme}","who":{{"parameter":"{parameter}","scheme":"{scheme}"}}}},"none":null,"scheme":"{scheme}"}}"#
            ),
            "{authentication}"
        );
    }
    assert_eq!(
        said("", "-"),
        r#"{"all":{"header":"-","who":null},"none":null,"scheme":null}"#
    );
}
