//! Nothing that can be given as a document panics, and what loads holds together.

use super::*;
use proptest::prelude::*;

fn check(bytes: &[u8]) {
    match Definition::load(bytes) {
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1 && error.code().starts_with("AOS-E2"))
        }
        Ok(definition) => {
            let again = Definition::load(definition.json.canonical()).expect("its own value");
            assert_eq!(again.digest, definition.digest);
            for (index, task) in definition.tasks.iter().enumerate() {
                assert!(definition.block(index).iter().all(|child| *child > index));
                if let Flow::Task(target) = task.then {
                    assert!(target < definition.tasks.len());
                }
            }
        }
    }
}

const SEED_DOCUMENT: &str = "document: {dsl: '1.0.3', namespace: test, name: demo, version: '1.0.0'}\n\
use: {errors: {e: {type: 'https://a.b', status: 400}}}\ninput: {from: .a}\ndo:\n- one:\n    if: .x\n    set:\n      \
y: ${ .z }\n- two:\n    for: {each: i, in: .l}\n    while: $i\n    do:\n    - three: {call: http, with: {method: get, endpoint: \
'https://a.b/{c}'}}\n    then: one\n- four:\n    switch:\n    - c: {when: .q, then: two}\n    - d: {then: end}\n- five:\n    \
raise: {error: e}\n- six:\n    wait: PT5S\n- seven:\n    wait: {days: 1}\n    output:\n      as: |-\n        now\n";

/// Pieces that documents are made of.
fn piece() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "document",
        "dsl",
        "do",
        "for",
        "in",
        "each",
        "while",
        "set",
        "switch",
        "when",
        "then",
        "raise",
        "error",
        "wait",
        "call",
        "with",
        "http",
        "endpoint",
        "uri",
        "skill",
        "params",
        "name",
        "${ .a }",
        "${",
        "}",
        "{",
        "[",
        "]",
        ":",
        ",",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        " ",
        "'",
        "\"",
        "|",
        ">",
        "&a",
        "*a",
        "!t",
        "<<",
        "? ",
        "%",
        "@",
        "---",
        "...",
        "#",
        "~",
        "1",
        "-1.5e3",
        "0x",
        ".inf",
        "PT5S",
        "P1D",
        "é",
        "\t",
        "\r",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "use",
        "extensions",
        "extend",
        "before",
        "after",
        "all",
        "$task",
        "secrets",
        "$secrets.a",
        "authentications",
        "authentication",
        "basic",
        "bearer",
        "token",
        "evaluate",
        "mode",
        "loose",
        "run",
        "shell",
        "script",
        "workflow",
        "command",
        "code",
        "language",
        "js",
        "openapi",
        "document",
        "operationId",
        "schedule",
        "cron",
        "every",
        "on",
        "* * * * *",
        "*/5",
        "fork",
        "branches",
        "try",
        "catch",
        "listen",
        "emit",
        "event",
        "metadata",
        "aos",
        "a${ .b }c",
        "\\(",
        "${ \"",
        "\\",
        "\\u",
        "\\ud83d",
        "\0",
    ];
    prop_oneof![4 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => ".{0,6}"]
}

/// A document of what is written out when it is loaded.
const WRITTEN_DOCUMENT: &str = "document: {dsl: '1.0.3', namespace: test, name: demo, version: '1.0.0', metadata: {aos: {secrets: /s}}}\n\
evaluate: {mode: loose}\nschedule: {cron: '0 0 * * 1-5'}\nuse:\n  secrets: [a]\n  authentications: {b: {basic: {use: a}}}\n  \
extensions: [{x: {extend: all, when: '$task.set.y == 1', before: [{m: {set: {z: 1}, then: exit}}], after: [{n: {set: {z: $task.name}}}]}}]\n\
do:\n- one: {set: {y: 'a ${ .b } c', z: .d, w: no}}\n- two: {call: http, with: {method: get, endpoint: {uri: 'http://a/{b}', \
authentication: {use: b}}, headers: {x-api-key: 'T ${ $secrets.a }'}}}\n- three: {run: {shell: {command: 'x ${ .y }', arguments: [a]}, \
return: all}}\n- four: {run: {script: {language: js, code: '1'}}}\n- five: {run: {workflow: {namespace: a, name: b}}}\n- six: {call: openapi, \
with: {document: {endpoint: 'http://a'}, operationId: x}}\n";

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_refused_not_panicked_on(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn arbitrary_pieces_are_refused_not_panicked_on(pieces in prop::collection::vec(piece(), 0..60)) {
        check(pieces.concat().as_bytes());
    }

    #[test]
    fn a_document_with_a_piece_put_in_anywhere_loads_or_is_refused(at in 0..SEED_DOCUMENT.len(), cut in 0..4usize, piece in piece()) {
        let mut bytes = SEED_DOCUMENT.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, piece.bytes());
        check(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_document_that_is_written_out_loads_or_is_refused_whatever_is_put_in(at in 0..WRITTEN_DOCUMENT.len(), cut in 0..12usize, piece in piece()) {
        let mut bytes = WRITTEN_DOCUMENT.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, piece.bytes());
        check(&bytes);
    }
}

#[test]
fn the_document_that_is_written_out_loads_whole() {
    load(WRITTEN_DOCUMENT);
    for end in 0..WRITTEN_DOCUMENT.len() {
        check(&WRITTEN_DOCUMENT.as_bytes()[..end]);
    }
}

#[test]
fn the_document_that_is_damaged_loads_whole() {
    let definition = load(SEED_DOCUMENT);
    assert_eq!(definition.tasks.len(), 7);
    check(SEED_DOCUMENT.as_bytes());
}

#[test]
fn every_beginning_of_a_document_is_refused_or_loads() {
    for end in 0..SEED_DOCUMENT.len() {
        check(&SEED_DOCUMENT.as_bytes()[..end]);
    }
}
