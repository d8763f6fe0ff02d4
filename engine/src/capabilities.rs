//! What this build can do, for programs that decide what to ask of it.

use crate::fault::Code;
use crate::machine::{SEMANTICS, STEPS_MAX};
use crate::seed::RNG_SCHEME;
use crate::value::VALUE_BYTES_MAX;
use crate::workflow::{DOCUMENT_BYTES_MAX, DOCUMENT_DEPTH_MAX, DOCUMENT_NODES_MAX, WAIT_MS_MAX};

/// Versions that documents and logs depend on, by name.
pub const VERSIONS: &[(&str, &str)] = &[
    ("aos", env!("CARGO_PKG_VERSION")),
    ("dsl", "1.0"),
    ("log-format", "1"),
    ("rng", RNG_SCHEME),
];

/// Version of what documents mean.
pub const SEMANTICS_VERSION: u64 = SEMANTICS;

/// Limits that every run keeps to, by name.
pub const LIMITS: &[(&str, u64)] = &[
    ("document_bytes_max", DOCUMENT_BYTES_MAX as u64),
    ("document_depth_max", DOCUMENT_DEPTH_MAX as u64),
    ("document_nodes_max", DOCUMENT_NODES_MAX as u64),
    ("steps_max", STEPS_MAX),
    ("value_bytes_max", VALUE_BYTES_MAX as u64),
    ("wait_ms_max", WAIT_MS_MAX),
];

/// Settings that a document may make in `metadata.aos`, with what they set.
pub const SETTINGS: &[(&str, &str)] = &[
    ("allow", "the skills that a run may call"),
    (
        "budget",
        "units that the effects of a run may cost together",
    ),
    ("checkpoint_every", "steps between two checkpoints"),
    ("secrets", "folder of the secrets that are named"),
    ("steps_max", "most steps of a run"),
];

/// Tasks of the workflow language, each with the least document that has one.
pub const TASKS: &[(&str, &str)] = &[
    (
        "call http",
        "call: http, with: {method: get, endpoint: 'http://localhost/'}",
    ),
    (
        "call openapi",
        "call: openapi, with: {document: {endpoint: 'http://localhost/'}, operationId: x}",
    ),
    ("call skill", "call: compute, with: {op: add, a: 1, b: 2}"),
    ("do", "do: [{b: {set: {x: 1}}}]"),
    (
        "emit",
        "emit: {event: {with: {source: 'http://localhost/', type: x}}}",
    ),
    ("for", "for: {in: '[1]'}, do: [{b: {set: {x: 1}}}]"),
    ("fork", "fork: {branches: [{b: {set: {x: 1}}}]}"),
    ("listen", "listen: {to: {one: {with: {type: x}}}}"),
    (
        "raise",
        "raise: {error: {type: 'https://example.com/e', status: 400}}",
    ),
    (
        "run script",
        "run: {script: {language: javascript, code: ''}}",
    ),
    ("run shell", "run: {shell: {command: 'true'}}"),
    ("run workflow", "run: {workflow: {namespace: x, name: y}}"),
    ("set", "set: {x: 1}"),
    ("switch", "switch: [{c: {then: end}}]"),
    ("try", "try: [{b: {set: {x: 1}}}], catch: {}"),
    ("wait", "wait: {seconds: 1}"),
];

/// What else the language has.
pub const FEATURES: &[&str] = &[
    "authentication: basic, bearer",
    "evaluate.mode: strict, loose",
    "expressions: jq",
    "export.as",
    "extensions",
    "functions, errors, retries, timeouts",
    "if",
    "input.from",
    "output.as",
    "schedule: every, cron, after, on",
    "schemas of input, output and context",
    "secrets, by reference",
    "short form: a list of skills",
    "then: continue, exit, end, names",
];

/// The closed taxonomy of failures.
pub fn failures() -> &'static [Code] {
    Code::ALL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Definition;

    #[test]
    fn every_task_that_is_named_loads() {
        for (name, task) in TASKS {
            let document = format!(
                "document: {{dsl: '1.0.3', namespace: t, name: t, version: '1.0.0'}}\ndo: [{{a: {{{task}}}}}]"
            );
            let loaded = Definition::load(document.as_bytes());
            assert!(loaded.is_ok(), "{name}: {}", loaded.unwrap_err());
        }
    }

    #[test]
    fn every_setting_that_is_named_loads_and_others_do_not() {
        let load = |setting: &str, value: &str| {
            let document = format!(
                "document: {{dsl: '1.0.3', namespace: t, name: t, version: '1.0.0', metadata: {{aos: {{{setting}: {value}}}}}}}\ndo: [{{a: {{set: {{x: 1}}}}}}]"
            );
            Definition::load(document.as_bytes())
        };
        for (name, _) in SETTINGS {
            let value = match *name {
                "allow" => "[compute]",
                "secrets" => "/run/secrets",
                _ => "7",
            };
            assert!(load(name, value).is_ok(), "{name}");
        }
        assert!(load("speed", "7").is_err());
    }
}
