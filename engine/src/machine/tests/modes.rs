//! Loose mode, and extensions.

use super::*;

const HEAD: &str = "document: {dsl: '1.0.3', namespace: test, name: t, version: '1.0.0'}\n";

fn loose(tasks: &str, input: &str) -> String {
    run(
        &format!("{HEAD}evaluate: {{mode: loose}}\ndo:\n{tasks}"),
        input,
    )
    .output()
}

#[test]
fn in_loose_mode_a_text_that_is_an_expression_is_one() {
    let tasks = "
  - a: {set: {n: '.n + 1', both: '${ .n }', word: hello there, none: '.n.x', several: '1, 2', list: ['.n', yes it is]}}
  - b: {call: compute, with: {op: add, a: '.n', b: 1}, output: {as: {sum: ., name: '$task.name'}}}
  - c: {for: {each: x, in: '[1, 2]'}, do: [{d: {set: {x: '$x * 10'}}}]}
";
    let story = run(
        &format!("{HEAD}evaluate: {{mode: loose}}\ndo:\n{tasks}"),
        r#"{"n":1}"#,
    );
    assert_eq!(story.output(), r#"{"x":20}"#);
    let first = loose(
        &tasks.lines().take(2).collect::<Vec<_>>().join("\n"),
        r#"{"n":1}"#,
    );
    assert_eq!(
        first,
        r#"{"both":1,"list":[1,"yes it is"],"n":2,"none":".n.x","several":"1, 2","word":"hello there"}"#
    );
    let second = loose(
        &tasks.lines().take(3).collect::<Vec<_>>().join("\n"),
        r#"{"n":1}"#,
    );
    assert_eq!(second, r#"{"name":"b","sum":3}"#);
    let strict = run(&document("\n  - a: {set: {n: '.n + 1'}}\n"), r#"{"n":1}"#);
    assert_eq!(strict.output(), r#"{"n":".n + 1"}"#);
}

#[test]
fn in_loose_mode_what_is_not_deterministic_is_refused_and_not_a_text() {
    for (text, code) in [("env.PATH", "AOS-E212"), ("$item", "AOS-E213")] {
        let document =
            format!("{HEAD}evaluate: {{mode: loose}}\ndo: [{{a: {{set: {{x: '{text}'}}}}}}]");
        let error = Definition::load(document.as_bytes()).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
}

fn extending(extensions: &str, tasks: &str, input: &str) -> Story {
    run(
        &format!("{HEAD}use: {{extensions: [{extensions}]}}\ndo:\n{tasks}"),
        input,
    )
}

#[test]
fn extensions_come_before_and_after_and_change_nothing() {
    let log = "{log: {extend: set, \
               before: [{note: {set: {at: '${ $task.name }'}, export: {as: '$context + {before: $output.at, ref: $task.reference}'}}}], \
               after: [{note: {set: {x: 1}, export: {as: '$context + {after: true}'}}}]}}";
    let story = extending(
        log,
        "  - one: {set: {n: '${ .n + 1 }'}}\n  - two: {wait: PT1S}\n  - three: {do: [{deep: {set: {all: '${ {n: .n, c: $context} }'}}}]}\n",
        r#"{"n":1}"#,
    );
    assert_eq!(
        story.output(),
        r#"{"all":{"c":{"after":true,"before":"deep","ref":"/do/2/three/do/0/deep"},"n":2}}"#
    );
    let walked = story.activations();
    assert!(
        walked.contains(&"/do/0/one/do/0/before0.note/do/0/note".to_owned()),
        "{walked:?}"
    );
    assert!(
        walked.contains(&"/do/1/two".to_owned()),
        "a wait is not extended: {walked:?}"
    );
}

#[test]
fn an_extension_that_exits_stands_in_for_the_task() {
    let mock = "{mock: {extend: call, when: '$task.with.op == \"draw\"', before: [{instead: {set: {mocked: true}, then: exit}}]}}";
    let tasks = |op: &str| {
        format!(
            "  - a: {{call: compute, with: {{op: {op}, a: 1, b: 2, min: 1, max: 1}}, then: c}}\n  - b: {{set: {{no: 1}}}}\n  - c: {{set: '${{ {{got: .}} }}'}}\n"
        )
    };
    let mocked = extending(mock, &tasks("draw"), "{}");
    assert_eq!(mocked.output(), r#"{"got":{"mocked":true}}"#);
    let problem = extending(mock, &tasks("unknown"), "{}").problem();
    assert!(problem.contains("compute"), "{problem}");
}

#[test]
fn what_extensions_cannot_do_is_refused_with_its_place() {
    for (extensions, code) in [
        ("{a: {extend: nothing}}", "AOS-E211"),
        ("{a: {extends: all}}", "AOS-E208"),
        ("{a: {extend: all, during: []}}", "AOS-E207"),
    ] {
        let text =
            format!("{HEAD}use: {{extensions: [{extensions}]}}\ndo: [{{a: {{set: {{x: 1}}}}}}]");
        let error = Definition::load(text.as_bytes()).unwrap_err();
        assert_eq!((error.code(), error.line), (code, 2), "{error}");
    }
}
