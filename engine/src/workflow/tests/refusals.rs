//! Each refusal, at its exact place: `§` stands where the error must point.

use super::*;
use crate::workflow::Problem;

/// What follows [`HEAD`], the code, and words of the message.
fn check(cases: &[(&str, &str, &str)]) {
    for (rest, code, words) in cases {
        let error = refused(&format!("{HEAD}{rest}"));
        assert_eq!(error.code(), *code, "{error}\n{rest}");
        assert!(error.to_string().contains(words), "{error}\n{rest}");
        if *code == "AOS-E209" {
            assert!(error.message.ends_with("not supported yet"), "{error}");
        }
    }
}

#[test]
fn what_the_document_says_of_itself_is_checked() {
    for (document, code, words) in [
        ("§document: {}", "AOS-E208", "dsl"),
        ("§document: {dsl: '1.0.3'}", "AOS-E208", "namespace"),
        (
            "§document: {dsl: '1.0.3', namespace: a}",
            "AOS-E208",
            "name",
        ),
        (
            "§document: {dsl: '1.0.3', namespace: a, name: b}",
            "AOS-E208",
            "version",
        ),
        ("document: §[]", "AOS-E210", "a mapping"),
        ("document: {dsl: §1.0}", "AOS-E210", "quotes"),
        ("document: {dsl: §'1.0'}", "AOS-E211", "1.0.3"),
        ("document: {dsl: §1.1.0}", "AOS-E209", "1.0.x"),
        ("document: {dsl: §1.0.0-alpha1}", "AOS-E209", "1.0.x"),
        (
            "document: {dsl: 1.0.3, namespace: §-a}",
            "AOS-E211",
            "letters",
        ),
        (
            "document: {dsl: 1.0.3, namespace: a, name: §a_b}",
            "AOS-E211",
            "letters",
        ),
        (
            "document: {dsl: 1.0.3, namespace: a, name: §''}",
            "AOS-E211",
            "letters",
        ),
        (
            "document: {dsl: 1.0.3, namespace: a, name: b, version: §1.02.3}",
            "AOS-E211",
            "semantic",
        ),
        (
            "document: {dsl: 1.0.3, namespace: a, name: b, version: §1.2.3-01}",
            "AOS-E211",
            "semantic",
        ),
        (
            "document: {dsl: 1.0.3, namespace: a, name: b, version: §1.2}",
            "AOS-E210",
            "quotes",
        ),
        (
            "document: {dsl: 1.0.3, namespace: a, name: b, version: 1.2.3, title: §[]}",
            "AOS-E210",
            "title",
        ),
        (
            "document: {dsl: 1.0.3, namespace: a, name: b, version: 1.2.3, tags: §x}",
            "AOS-E210",
            "tags",
        ),
        (
            "document: {dsl: 1.0.3, namespace: a, name: b, version: 1.2.3, §owner: x}",
            "AOS-E207",
            "summary",
        ),
        (
            "document: {dsl: 1.0.3, namespace: a, name: b, version: 1.2.3, metadata: {aos: {§steps: 1}}}",
            "AOS-E207",
            "steps_max",
        ),
        (
            "document: {dsl: 1.0.3, namespace: a, name: b, version: 1.2.3, metadata: {aos: {steps_max: §0}}}",
            "AOS-E210",
            "from 1",
        ),
        (
            "document: {dsl: 1.0.3, namespace: a, name: b, version: 1.2.3, metadata: {aos: §1}}",
            "AOS-E210",
            "aos",
        ),
    ] {
        let error = refused(&format!("{document}\ndo: [{{a: {{set: {{b: 1}}}}}}]\n"));
        assert_eq!(error.code(), code, "{error}\n{document}");
        assert!(error.to_string().contains(words), "{error}\n{document}");
    }
    assert_eq!(refused("§do: [{a: {set: {b: 1}}}]").code(), "AOS-E208");
    assert_eq!(refused("§hello").code(), "AOS-E210");
}

#[test]
fn what_belongs_to_a_refused_call_is_told_by_no_error_of_its_own() {
    for call in [
        "grpc",
        "mcp",
        "asyncapi",
        "a2a",
        "log:1.0.0@x",
        "https://example.com/f.yaml",
    ] {
        let text = format!("{HEAD}do:\n- a:\n    call: {call}\n    with: {{x: 1}}\n");
        let problems = Definition::check(text.as_bytes()).unwrap_err();
        assert_eq!(problems.len(), 1, "{call}: {problems:?}");
    }
}

#[test]
fn parts_of_the_specification_that_do_not_run_are_refused_by_name() {
    check(&[
        (
            "schedule: {every: §'${ .x }'}\n",
            "AOS-E209",
            "an expression in a schedule",
        ),
        (
            "schedule: {§on: {one: {with: {type: a}, correlate: {b: {from: now}}}}}\n",
            "AOS-E209",
            "reads the clock",
        ),
        ("evaluate: {language: §js}\n", "AOS-E209", "`jq`"),
        ("evaluate: {mode: §lax}\n", "AOS-E209", "`strict`"),
        (
            "use: {authentications: {§a: {certificate: {}}}}\n",
            "AOS-E209",
            "`certificate`",
        ),
        ("use: {§catalogs: {}}\n", "AOS-E209", "`catalogs`"),
        (
            "do:\n- a:\n    run: {§container: {image: a}}\n",
            "AOS-E209",
            "`container`",
        ),
        (
            "do:\n- a:\n    run: {§await: false, shell: {command: a}}\n",
            "AOS-E209",
            "await",
        ),
        (
            "do:\n- a:\n    run: {script: {language: §python, code: a}}\n",
            "AOS-E209",
            "`python`",
        ),
        (
            "do:\n- a:\n    run: {script: {language: js, §source: {endpoint: a}}}\n",
            "AOS-E209",
            "`source`",
        ),
        (
            "do:\n- a:\n    run: {§return: all, workflow: {namespace: a, name: b}}\n",
            "AOS-E209",
            "`return`",
        ),
        ("do:\n- a:\n    call: §grpc\n", "AOS-E209", "grpc"),
        (
            "do:\n- a:\n    call: openapi\n    with: {document: {endpoint: {uri: 'http://a', §authentication: {}}}, operationId: x}\n",
            "AOS-E209",
            "`authentication`",
        ),
        ("do:\n- a:\n    call: §asyncapi\n", "AOS-E209", "asyncapi"),
        ("do:\n- a:\n    call: §mcp\n", "AOS-E209", "mcp"),
        ("do:\n- a:\n    call: §a2a\n", "AOS-E209", "a2a"),
        ("do:\n- a:\n    call: §log@catalog\n", "AOS-E209", "catalog"),
        (
            "do:\n- a:\n    call: §https://example.com/f.yaml\n",
            "AOS-E209",
            "catalog",
        ),
        (
            "do:\n- a:\n    raise: {error: §'${ .e }'}\n",
            "AOS-E209",
            "whole error",
        ),
        (
            "do:\n- a:\n    set: {x: §'Hello ${ .name'}\n",
            "AOS-E209",
            "that end",
        ),
        (
            "do:\n- a:\n    set: {x: §'a ${ \"}\" '}\n",
            "AOS-E209",
            "that end",
        ),
        ("do:\n- a:\n    set: {§'${ .k }': 1}\n", "AOS-E209", "key"),
        (
            "do:\n- a:\n    set: {x: 1}\n    if: §'${ .a } == 1'\n",
            "AOS-E209",
            "wholly",
        ),
        (
            "do:\n- a:\n    input: {from: §$secrets.x}\n    set: {x: 1}\n",
            "AOS-E209",
            "`$secrets`",
        ),
    ]);
}

#[test]
fn unknown_properties_are_refused_with_what_is_allowed() {
    check(&[
        (
            "§dos: []\ndo: [{a: {set: {x: 1}}}]\n",
            "AOS-E207",
            "one of document, schedule, evaluate, use, input, output, timeout, do",
        ),
        (
            "input: {§form: .a}\ndo: [{a: {set: {x: 1}}}]\n",
            "AOS-E207",
            "one of schema, from",
        ),
        (
            "output: {§is: .a}\ndo: [{a: {set: {x: 1}}}]\n",
            "AOS-E207",
            "one of schema, as",
        ),
        (
            "evaluate: {§lang: jq}\n",
            "AOS-E207",
            "one of language, mode",
        ),
        (
            "use: {§error: {}}\n",
            "AOS-E207",
            "one of extensions, errors",
        ),
        (
            "use: {errors: {e: {type: t, status: 400, §code: 1}}}\n",
            "AOS-E207",
            "one of type, status, title, detail, instance",
        ),
        (
            "do:\n- a:\n    §sett: {x: 1}\n",
            "AOS-E207",
            "one of call, do, emit, for, fork, listen, raise, run, set, switch, try, wait, if",
        ),
        (
            "do:\n- a:\n    set: {x: 1}\n    §iff: .x\n",
            "AOS-E207",
            "one of if, input",
        ),
        (
            "do:\n- a:\n    set: {x: 1}\n    §with: {}\n",
            "AOS-E207",
            "`with`",
        ),
        (
            "do:\n- a:\n    §while: .x\n    do: [{b: {set: {x: 1}}}]\n",
            "AOS-E207",
            "`while`",
        ),
        (
            "do:\n- a:\n    for: {in: .x, §by: 2}\n    do: [{b: {set: {x: 1}}}]\n",
            "AOS-E207",
            "one of each, at, in",
        ),
        (
            "do:\n- a:\n    switch:\n    - b: {then: end, §if: .x}\n",
            "AOS-E207",
            "one of when, then",
        ),
        (
            "do:\n- a:\n    raise: {error: {type: t, status: 400}, §x: 1}\n",
            "AOS-E207",
            "one of error",
        ),
        (
            "do:\n- a:\n    call: http\n    with: {method: get, endpoint: 'http://a.b', §json: 1}\n",
            "AOS-E207",
            "one of method",
        ),
        (
            "do:\n- a:\n    call: f\n    §args: {}\n",
            "AOS-E207",
            "with",
        ),
    ]);
}

#[test]
fn missing_properties_are_named_at_what_lacks_them() {
    check(&[
        ("do:\n- §a:\n    for: {in: .x}\n", "AOS-E208", "`do`"),
        (
            "do:\n- a:\n    §for: {each: x}\n    do: [{b: {set: {x: 1}}}]\n",
            "AOS-E208",
            "`in`",
        ),
        (
            "do:\n- a:\n    switch:\n    - §b: {when: .x}\n",
            "AOS-E208",
            "`then`",
        ),
        ("do:\n- a:\n    §raise: {}\n", "AOS-E208", "`error`"),
        (
            "do:\n- a:\n    raise: {§error: {type: t}}\n",
            "AOS-E208",
            "`status`",
        ),
        (
            "do:\n- a:\n    raise: {§error: {status: 400}}\n",
            "AOS-E208",
            "`type`",
        ),
        ("do:\n- §a:\n    call: http\n", "AOS-E208", "`with`"),
        (
            "do:\n- a:\n    call: http\n    §with: {endpoint: 'http://a.b'}\n",
            "AOS-E208",
            "`method`",
        ),
        (
            "do:\n- a:\n    call: http\n    §with: {method: get}\n",
            "AOS-E208",
            "`endpoint`",
        ),
    ]);
    assert_eq!(refused(&format!("§{HEAD}")).code(), "AOS-E208");
}

#[test]
fn values_of_another_type_are_refused_where_they_stand() {
    check(&[
        ("do: §{a: 1}\n", "AOS-E210", "a list"),
        ("do:\n- §a\n", "AOS-E210", "a mapping"),
        ("do:\n- a: §1\n", "AOS-E210", "a mapping"),
        ("do:\n- a:\n    set: §1\n", "AOS-E210", "a mapping or"),
        ("do:\n- a:\n    set: §text\n", "AOS-E210", "a mapping or"),
        ("do:\n- a:\n    set: §[1]\n", "AOS-E210", "a mapping or"),
        (
            "do:\n- a:\n    set: {x: 1}\n    if: §true\n",
            "AOS-E210",
            "text",
        ),
        (
            "do:\n- a:\n    set: {x: 1}\n    then: §[]\n",
            "AOS-E210",
            "text",
        ),
        (
            "do:\n- a:\n    set: {x: 1}\n    input: §.x\n",
            "AOS-E210",
            "a mapping",
        ),
        (
            "do:\n- a:\n    set: {x: 1}\n    input: {from: §1}\n",
            "AOS-E210",
            "an expression",
        ),
        (
            "do:\n- a:\n    set: {x: 1}\n    metadata: §x\n",
            "AOS-E210",
            "a mapping",
        ),
        ("do:\n- a:\n    switch: §{}\n", "AOS-E210", "a list"),
        ("do:\n- a:\n    call: §1\n", "AOS-E210", "text"),
        (
            "do:\n- a:\n    call: f\n    with: §'${ .x }'\n",
            "AOS-E210",
            "a mapping",
        ),
        (
            "do:\n- a:\n    raise: {error: {type: t, status: §'400'}}\n",
            "AOS-E210",
            "a whole number",
        ),
        (
            "do:\n- a:\n    raise: {error: {type: t, status: §99}}\n",
            "AOS-E210",
            "from 100 to 599",
        ),
        (
            "do:\n- a:\n    call: http\n    with: {method: get, endpoint: 'http://a.b', headers: §x}\n",
            "AOS-E210",
            "headers",
        ),
        (
            "do:\n- a:\n    call: http\n    with: {method: get, endpoint: 'http://a.b', redirect: §1}\n",
            "AOS-E210",
            "true",
        ),
        (
            "do:\n- a:\n    call: http\n    with: {method: get, endpoint: 'http://a.b', output: §xml}\n",
            "AOS-E211",
            "raw",
        ),
        (
            "use: {errors: {e: {type: §1, status: 400}}}\ndo: [{a: {set: {x: 1}}}]\n",
            "AOS-E210",
            "text",
        ),
    ]);
}

#[test]
fn expressions_are_compiled_where_they_stand() {
    check(&[
        ("input: {from: §'.a ['}\n", "AOS-E212", "character"),
        (
            "do:\n- a:\n    if: §'1 +'\n    set: {x: 1}\n",
            "AOS-E212",
            "character",
        ),
        (
            "do:\n- a:\n    set:\n      x: ${ .a }\n      y: [1, {z: §'${ nope }'}]\n",
            "AOS-E212",
            "nope",
        ),
        (
            "do:\n- a:\n    for: {in: §'.a |'}\n    do: [{b: {set: {x: 1}}}]\n",
            "AOS-E212",
            "character",
        ),
        (
            "do:\n- a:\n    switch:\n    - b: {when: §'env', then: end}\n",
            "AOS-E212",
            "env",
        ),
        ("do:\n- a:\n    wait: §${ ) }\n", "AOS-E212", "character"),
        (
            "use: {errors: {e: {type: t, status: 400, title: §'${ ( }'}}}\ndo: [{a: {raise: {error: e}}}]\n",
            "AOS-E212",
            "character",
        ),
    ]);
}

#[test]
fn variables_are_seen_only_where_the_specification_shows_them() {
    check(&[
        ("input: {from: §$context}\n", "AOS-E213", "$context"),
        ("input: {from: §$task}\n", "AOS-E213", "$task"),
        (
            "output: {as: §$input}\ndo: [{a: {set: {x: 1}}}]\n",
            "AOS-E213",
            "$input",
        ),
        (
            "do:\n- a:\n    if: §$input\n    set: {x: 1}\n",
            "AOS-E213",
            "$input",
        ),
        (
            "do:\n- a:\n    input: {from: §$output}\n    set: {x: 1}\n",
            "AOS-E213",
            "$output",
        ),
        (
            "do:\n- a:\n    set: {x: §'${ $output }'}\n",
            "AOS-E213",
            "$output",
        ),
        (
            "do:\n- a:\n    output: {as: §$output}\n    set: {x: 1}\n",
            "AOS-E213",
            "$output",
        ),
        (
            "do:\n- a:\n    for: {in: §$item}\n    do: [{b: {set: {x: 1}}}]\n",
            "AOS-E213",
            "$item",
        ),
        (
            "do:\n- a:\n    for: {in: .x}\n    output: {as: §$item}\n    do: [{b: {set: {x: 1}}}]\n",
            "AOS-E213",
            "$item",
        ),
        (
            "do:\n- a:\n    for: {each: x, in: .x}\n    do: [{b: {set: {x: §'${ $item }'}}}]\n",
            "AOS-E213",
            "$item",
        ),
        (
            "do:\n- a:\n    for: {in: .x}\n    do: [{b: {set: {x: 1}}}]\n- c:\n    set: §'${ $index }'\n",
            "AOS-E213",
            "$index",
        ),
    ]);
}

#[test]
fn loop_variables_have_names_of_their_own() {
    check(&[
        (
            "do:\n- a:\n    for: {in: .x, each: §$x}\n    do: [{b: {set: {x: 1}}}]\n",
            "AOS-E211",
            "without `$`",
        ),
        (
            "do:\n- a:\n    for: {in: .x, each: §1x}\n    do: [{b: {set: {x: 1}}}]\n",
            "AOS-E211",
            "letters",
        ),
        (
            "do:\n- a:\n    for: {in: .x, at: §input}\n    do: [{b: {set: {x: 1}}}]\n",
            "AOS-E211",
            "taken",
        ),
        (
            "do:\n- a:\n    for: {in: .x, at: §item}\n    do: [{b: {set: {x: 1}}}]\n",
            "AOS-E211",
            "both",
        ),
    ]);
}

#[test]
fn blocks_and_switches_hold_together() {
    check(&[
        ("§do: []\n", "AOS-E217", "no tasks"),
        ("do:\n- a:\n    §do: []\n", "AOS-E217", "no tasks"),
        ("do:\n- a:\n    §switch: []\n", "AOS-E217", "no cases"),
        ("do:\n- a:\n    set: §{}\n", "AOS-E217", "nothing"),
        ("do:\n- §{}\n", "AOS-E217", "names nothing"),
        (
            "do:\n- a: {set: {x: 1}}\n  §b: {set: {x: 1}}\n",
            "AOS-E207",
            "one name",
        ),
        (
            "do:\n- a: {set: {x: 1}}\n- §a: {set: {x: 1}}\n",
            "AOS-E215",
            "tasks 1 and 2",
        ),
        (
            "do:\n- a:\n    switch:\n    - b: {when: .x, then: end}\n    - §b: {then: end}\n",
            "AOS-E215",
            "`b`",
        ),
        (
            "do:\n- a:\n    switch:\n    - b: {then: end}\n    - §c: {then: end}\n",
            "AOS-E218",
            "`b` and `c`",
        ),
        (
            "do:\n- a:\n    set: {x: 1}\n    §do: [{b: {set: {x: 1}}}]\n",
            "AOS-E216",
            "`set` and `do`",
        ),
        (
            "do:\n- a:\n    for: {in: .x}\n    do: []\n    §set: {x: 1}\n",
            "AOS-E216",
            "`for` and `set`",
        ),
        ("do:\n- §a: {then: end}\n", "AOS-E216", "what to do"),
        ("do:\n- §a: {}\n", "AOS-E216", "one of call"),
        (
            "do:\n- a: {set: {x: 1}, then: §b}\n- c: {set: {x: 1}}\n",
            "AOS-E214",
            "one of a, c",
        ),
        (
            "do:\n- a:\n    switch:\n    - b: {then: §c}\n",
            "AOS-E214",
            "one of a",
        ),
        (
            "do:\n- a:\n    do:\n    - b: {set: {x: 1}, then: §c}\n- c: {set: {x: 1}}\n",
            "AOS-E214",
            "one of b",
        ),
        ("do:\n- a: {raise: {error: §lost}}\n", "AOS-E219", "`lost`"),
        (
            "use: {errors: {e: {type: t, status: 400}}}\ndo:\n- a: {raise: {error: §lost}}\n",
            "AOS-E219",
            "one of e",
        ),
    ]);
}

#[test]
fn the_short_form_takes_nothing_else() {
    for (text, code) in [
        ("§[]", "AOS-E217"),
        ("[§1]", "AOS-E210"),
        ("[§{}]", "AOS-E208"),
        (r#"[{"skill": §1}]"#, "AOS-E210"),
        (r#"[{"skill": "a", §"with": {}}]"#, "AOS-E207"),
        (r#"[{"skill": "a", "params": §[]}]"#, "AOS-E210"),
        (
            r#"[{"skill": "a", "params": {"x": §"a ${ .b"}}]"#,
            "AOS-E209",
        ),
        (
            r#"[{"skill": "a", "params": {"x": §"${ $output }"}}]"#,
            "AOS-E213",
        ),
        (
            r#"[{"skill": "a", "name": "b"}, {"skill": "a", "name": §"b"}]"#,
            "AOS-E215",
        ),
        (
            r#"[{"skill": "a", "name": "step2"}, §{"skill": "a"}]"#,
            "AOS-E215",
        ),
    ] {
        assert_eq!(refused(text).code(), code, "{text}");
    }
}

#[test]
fn every_problem_has_a_code_of_its_own_and_a_page() {
    let mut codes: Vec<&str> = Problem::ALL.iter().map(|problem| problem.code()).collect();
    let docs = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors"));
    for code in &codes {
        let page = std::fs::read_to_string(docs.join(format!("{code}.md")))
            .unwrap_or_else(|e| panic!("{code}: {e}"));
        assert!(page.starts_with(&format!("# {code}: ")), "{code}");
    }
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), Problem::ALL.len());
}

#[test]
fn an_error_reads_as_one_line() {
    let error = refused(&format!("{HEAD}do:\n- a: {{set: {{x: 1}}, then: §b}}\n"));
    assert_eq!(
        error.to_string(),
        "line 3, column 26: `then` leads to `b`, which is no task of this block: expected continue, exit, end or one of a"
    );
}

#[test]
fn what_try_fork_listen_and_emit_say_is_checked() {
    check(&[
        (
            "do:\n- §a:\n    try: [{b: {set: {x: 1}}}]\n",
            "AOS-E208",
            "`catch`",
        ),
        (
            "do:\n- a:\n    §try: []\n    catch: {}\n",
            "AOS-E217",
            "no tasks",
        ),
        (
            "do:\n- a:\n    try: [{b: {set: {x: 1}}}]\n    catch: {retry: §often}\n",
            "AOS-E221",
            "`often`",
        ),
        (
            "do:\n- a:\n    try: [{b: {set: {x: 1}}}]\n    catch: {as: §input}\n",
            "AOS-E211",
            "taken",
        ),
        (
            "do:\n- a:\n    try: [{b: {set: {x: §'${ $error }'}}}]\n    catch: {}\n",
            "AOS-E213",
            "$error",
        ),
        (
            "do:\n- a:\n    try: [{b: {set: {x: 1}}}]\n    catch: {errors: {with: {status: §'${ 1 }'}}}\n",
            "AOS-E210",
            "whole number",
        ),
        (
            "do:\n- a:\n    try: [{b: {set: {x: 1}}}]\n    catch: {retry: {§backoff: {}}}\n",
            "AOS-E211",
            "one of constant",
        ),
        ("do:\n- a:\n    §fork: {}\n", "AOS-E208", "`branches`"),
        (
            "do:\n- a:\n    fork: {branches: [{§b: {set: {x: 1}, then: c}}, {c: {set: {x: 1}}}]}\n",
            "AOS-E214",
            "another branch",
        ),
        ("do:\n- a:\n    §listen: {}\n", "AOS-E208", "`to`"),
        (
            "do:\n- a:\n    listen: {§to: {}}\n",
            "AOS-E211",
            "one of all, any, one",
        ),
        (
            "do:\n- a:\n    listen: {to: {one: {with: {type: x}}, §until: .x}}\n",
            "AOS-E211",
            "`any` only",
        ),
        (
            "do:\n- a:\n    listen: {to: {§all: []}}\n",
            "AOS-E217",
            "no event",
        ),
        (
            "do:\n- a:\n    emit: {event: {§with: {type: x}}}\n",
            "AOS-E208",
            "`source`",
        ),
        (
            "do:\n- a:\n    set: {x: 1}\n    timeout: §brief\n",
            "AOS-E221",
            "`brief`",
        ),
        (
            "do:\n- a:\n    set: {x: 1}\n    input: {schema: {format: §avro, document: {}}}\n",
            "AOS-E209",
            "avro",
        ),
        (
            "do:\n- a:\n    set: {x: 1}\n    input: {schema: {document: §{type: 1}}}\n",
            "AOS-E222",
            "JSON Schema",
        ),
        (
            "use: {functions: {f: {call: §f}}}\ndo: [{a: {call: f}}]\n",
            "AOS-E223",
            "calls itself",
        ),
    ]);
}

#[test]
fn every_problem_of_a_document_is_told_with_its_place_and_path() {
    let text = format!(
        "{HEAD}input: {{form: .a}}\ndo:\n- one:\n    sett: {{x: 1}}\n- two:\n    set: {{x: '${{ $nope }}'}}\n    then: thre\n    iff: .x\n- three:\n    wait: soon\n"
    );
    let problems = Definition::check(text.as_bytes()).unwrap_err();
    let told: Vec<_> = problems
        .iter()
        .map(|p| {
            (
                p.code(),
                p.line,
                p.path().unwrap_or_default(),
                p.suggestion(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("AOS-E207", 2, "/input/form", Some("from")),
            ("AOS-E207", 5, "/do/0/one/sett", Some("set")),
            ("AOS-E213", 7, "/do/1/two/set/x", None),
            ("AOS-E214", 8, "/do/1/two/then", Some("three")),
            ("AOS-E207", 9, "/do/1/two/iff", Some("if")),
            ("AOS-E211", 11, "/do/2/three/wait", None),
        ]
    );
    assert!(Definition::load(text.as_bytes()).is_err());
}

#[test]
fn no_problem_hides_another_one() {
    let told = |text: &str| -> Vec<(&'static str, u32, u32)> {
        let text = format!("{HEAD}{text}");
        let problems =
            Definition::check_judged(text.as_bytes(), &["compute"], &|_| None).unwrap_err();
        let told = problems.iter().map(|p| (p.code(), p.line, p.column));
        told.collect()
    };
    // Two of one name, a key twice, numbers that are none, an anchor, a tag: all of it is read on.
    assert_eq!(
        told(
            "do:\n- a: {set: {x: 1, x: 2}}\n- a: {set: {x: .nan, y: 1e400}}\n- b: {sett: &n 1}\n- c: !t {set: {1: 2, x: 1}}\n- d: {call: computer}\n"
        ),
        [
            ("AOS-E205", 3, 19),
            ("AOS-E215", 4, 3),
            ("AOS-E206", 4, 16),
            ("AOS-E206", 4, 25),
            ("AOS-E207", 5, 7),
            ("AOS-E204", 5, 13),
            ("AOS-E204", 6, 6),
            ("AOS-E204", 6, 16),
            ("AOS-E220", 7, 13),
        ]
    );
    // Each expression of one template, each property that is unknown.
    assert_eq!(
        told(
            "do:\n- a: {set: {x: '${ $no }', y: ['${ | }'], z: '${ .ok }', w: 'so ${ $neither }'}}\n- b: {wait: {second: 1, hour: 2}}\n"
        ),
        [
            ("AOS-E213", 3, 16),
            ("AOS-E212", 3, 32),
            ("AOS-E213", 3, 61),
            ("AOS-E207", 4, 14),
            ("AOS-E207", 4, 25),
        ]
    );
    // What is wrong with a loop's collection says nothing about its block.
    assert_eq!(
        told("do:\n- a: {for: {each: 1, in: .x}, do: [{b: {set: {x: 1}}}]}\n"),
        [("AOS-E210", 3, 19)]
    );
}

#[test]
fn a_process_says_what_it_is() {
    check(&[
        (
            "do:\n- a:\n    §run: {}\n",
            "AOS-E211",
            "one of script, shell, workflow",
        ),
        (
            "do:\n- a:\n    §run: {shell: {command: a}, script: {language: js, code: a}}\n",
            "AOS-E211",
            "one process",
        ),
        (
            "do:\n- a:\n    run: {shell: {command: a}, return: §out}\n",
            "AOS-E211",
            "stdout",
        ),
        (
            "do:\n- a:\n    run: {shell: {command: a, §stdinn: b}}\n",
            "AOS-E207",
            "stdin",
        ),
        (
            "do:\n- a:\n    run: {workflow: {namespace: a, name: §b/c}}\n",
            "AOS-E211",
            "names no workflow",
        ),
        (
            "do:\n- a:\n    run: {workflow: {namespace: a, name: b, version: §'1'}}\n",
            "AOS-E211",
            "latest",
        ),
        (
            "do:\n- a:\n    call: openapi\n    §with: {document: {endpoint: 'http://a'}}\n",
            "AOS-E208",
            "operationId",
        ),
    ]);
}

#[test]
fn a_schedule_says_one_thing() {
    check(&[
        (
            "§schedule: {}\n",
            "AOS-E211",
            "one of after, cron, every, on",
        ),
        (
            "§schedule: {cron: '* * * * *', every: PT1S}\n",
            "AOS-E211",
            "one schedule",
        ),
        ("schedule: {cron: §'* * * *'}\n", "AOS-E211", "4 fields"),
        (
            "schedule: {cron: §'0 0 31 2 *'}\n",
            "AOS-E211",
            "never comes",
        ),
        ("schedule: {every: §PT0S}\n", "AOS-E211", "a millisecond"),
    ]);
}
