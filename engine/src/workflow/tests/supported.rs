//! Each construct that loads.

use super::*;

fn kind(rest: &str) -> TaskKind {
    let definition = workflow(&format!(
        "do:\n  - a:\n      {}\n",
        rest.replace('\n', "\n      ")
    ));
    definition.tasks[0].kind.clone()
}

#[test]
fn the_document_says_who_it_is() {
    let definition = load(
        "document:\n  dsl: 1.0.0\n  namespace: shop-1\n  name: order\n  version: 1.2.3-rc.1+build.5\n  title: T\n  \
         summary: S\n  tags: {a: b}\n  metadata: {owner: me, aos: {checkpoint_every: 10, steps_max: 20}}\n\
         evaluate: {language: jq, mode: strict}\ndo: [{a: {set: {b: 1}}}]\n",
    );
    assert_eq!(
        (definition.namespace.as_str(), definition.name.as_str()),
        ("shop-1", "order")
    );
    assert_eq!(
        (definition.version.as_str(), definition.dsl.as_str()),
        ("1.2.3-rc.1+build.5", "1.0.0")
    );
    assert_eq!(
        (
            definition.settings.checkpoint_every,
            definition.settings.steps_max
        ),
        (10, 20)
    );
    assert_eq!(definition.media, "yaml");
    assert_eq!(
        workflow("do: [{a: {set: {b: 1}}}]").settings,
        crate::workflow::Settings::default()
    );
}

#[test]
fn tasks_know_their_place_and_their_block() {
    let definition = workflow(
        "do:\n  - first:\n      set: {x: 1}\n  - walk:\n      do:\n        - a/b~c:\n            set: {x: 1}\n        \
         - classify:\n            set: {x: 1}\n  - last:\n      set: {x: 1}\n",
    );
    let pointers: Vec<&str> = definition
        .root
        .iter()
        .map(|task| definition.tasks[*task].pointer.as_str())
        .collect();
    assert_eq!(pointers, ["/do/0/first", "/do/1/walk", "/do/2/last"]);
    let block = definition.block(definition.root[1]);
    let names: Vec<&str> = block
        .iter()
        .map(|task| definition.tasks[*task].pointer.as_str())
        .collect();
    assert_eq!(
        names,
        ["/do/1/walk/do/0/a~1b~0c", "/do/1/walk/do/1/classify"]
    );
    assert!(definition.block(definition.root[0]).is_empty());
    let classify = task(&definition, "/do/1/walk/do/1/classify");
    assert_eq!(
        (classify.name.as_str(), classify.line, classify.column),
        ("classify", 9, 11)
    );
    assert_eq!(classify.definition.to_string(), r#"{"set":{"x":1}}"#);
}

#[test]
fn set_takes_a_mapping_or_an_expression() {
    assert!(matches!(
        kind("set: {x: '${ .a }', y: [1, ' ${ .b } ']}"),
        TaskKind::Set(_)
    ));
    let definition =
        workflow("do:\n  - a:\n      set:\n        x: ${ .a }\n        y: [1, ' ${ .b } ', .b]\n");
    assert_eq!(
        filled(&definition.tasks[0], r#"{"a":1,"b":2}"#).unwrap(),
        r#"{"x":1,"y":[1,2,".b"]}"#
    );
    let definition = workflow("do:\n  - a:\n      set: ${ .a }\n");
    assert_eq!(filled(&definition.tasks[0], r#"{"a":[1]}"#).unwrap(), "[1]");
}

#[test]
fn then_leads_within_the_block() {
    let definition = workflow(
        "do:\n  - a:\n      set: {x: 1}\n      then: c\n  - b:\n      set: {x: 1}\n      then: exit\n  - c:\n      \
         set: {x: 1}\n      then: end\n  - d:\n      set: {x: 1}\n      then: continue\n  - e:\n      do:\n        \
         - a:\n            set: {x: 1}\n            then: a\n",
    );
    let flow = |pointer: &str| task(&definition, pointer).then.clone();
    assert_eq!(flow("/do/0/a"), Flow::Task(definition.root[2]));
    assert_eq!(definition.flow_name(&flow("/do/0/a")), "c");
    assert_eq!(
        (flow("/do/1/b"), definition.flow_name(&Flow::Exit)),
        (Flow::Exit, "exit".into())
    );
    assert_eq!(
        (flow("/do/2/c"), definition.flow_name(&Flow::End)),
        (Flow::End, "end".into())
    );
    assert_eq!(
        (flow("/do/3/d"), definition.flow_name(&Flow::Continue)),
        (Flow::Continue, String::new())
    );
    // The `a` of its own block, not the outer one.
    assert_eq!(
        flow("/do/4/e/do/0/a"),
        Flow::Task(definition.block(definition.root[4])[0])
    );
}

#[test]
fn for_has_variables_that_are_seen_within() {
    let definition = workflow(
        "do:\n  - outer:\n      for: {each: row, in: .rows, at: y}\n      while: $row != null and $y < 9\n      do:\n        \
         - inner:\n            for: {in: $row}\n            do:\n              - cell:\n                  \
         set: ${ [$row, $y, $item, $index] }\n                  if: $item\n                  \
         input: {from: '{ a: $index }'}\n",
    );
    let TaskKind::For {
        each,
        at,
        while_,
        block,
        ..
    } = &task(&definition, "/do/0/outer").kind
    else {
        panic!()
    };
    assert_eq!(
        (each.as_str(), at.as_str(), while_.is_some(), block.len()),
        ("row", "y", true, 1)
    );
    let TaskKind::For {
        each, at, while_, ..
    } = &task(&definition, "/do/0/outer/do/0/inner").kind
    else {
        panic!()
    };
    assert_eq!(
        (each.as_str(), at.as_str(), while_.is_some()),
        ("item", "index", false)
    );
    let TaskKind::Set(template) = &task(&definition, "/do/0/outer/do/0/inner/do/0/cell").kind
    else {
        panic!()
    };
    for name in ["$row", "$y", "$item", "$index"] {
        assert!(template.uses(name), "{name}");
    }
}

#[test]
fn switch_has_cases_and_one_default() {
    let definition = workflow(
        "do:\n  - pick:\n      switch:\n        - big: {when: .n > 9, then: end}\n        - even: {when: '${ .n % 2 == 0 }', \
         then: other}\n        - rest: {then: exit}\n  - other:\n      set: {x: 1}\n",
    );
    let TaskKind::Switch(cases) = &definition.tasks[0].kind else {
        panic!()
    };
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names, ["big", "even", "rest"]);
    assert_eq!(cases[1].then, Flow::Task(definition.root[1]));
    assert!(cases[0].when.is_some() && cases[2].when.is_none());
}

#[test]
fn raise_takes_an_error_or_the_name_of_one() {
    let definition = workflow(
        "use:\n  errors:\n    lost: {type: https://example.com/lost, status: 404, title: '${ .t }'}\ndo:\n  - a:\n      \
         raise: {error: lost}\n  - b:\n      raise:\n        error: {type: https://example.com/b, status: 500, detail: d, \
         instance: /x}\n",
    );
    let a = r#"{"status":404,"title":"T","type":"https://example.com/lost"}"#;
    assert_eq!(filled(&definition.tasks[0], r#"{"t":"T"}"#).unwrap(), a);
    assert!(matches!(definition.tasks[1].kind, TaskKind::Raise(_)));
}

#[test]
fn calls_are_collected_sorted_and_once() {
    let definition = workflow(
        "do:\n  - a:\n      call: zip\n      with: {n: '${ .n }'}\n  - b:\n      call: http\n      with: {method: get, \
         endpoint: 'https://example.com'}\n  - c:\n      do:\n        - d: {call: compute}\n  - e: {call: zip}\n",
    );
    assert_eq!(definition.skills, ["compute", "http_call", "zip"]);
    assert_eq!(
        filled(&definition.tasks[0], r#"{"n":1}"#).unwrap(),
        r#"{"n":1}"#
    );
    assert_eq!(filled(task(&definition, "/do/3/e"), "null").unwrap(), "{}");
    definition.check_skills(|_| true).unwrap();
    let error = definition
        .check_skills(|name| name != "compute")
        .unwrap_err();
    assert_eq!(
        (error.code(), error.line, error.column),
        ("AOS-E220", 11, 21)
    );
    assert!(error.message.contains("compute"));
}

#[test]
fn the_whole_of_with_of_an_http_call_is_the_template() {
    let definition = workflow(
        "do:\n  - a:\n      call: http\n      with:\n        method: POST\n        endpoint: {uri: 'http://example.com/'}\n        \
         headers: ${ .h }\n        query: {q: '${ .q }'}\n        body: [1]\n        output: response\n        redirect: true\n",
    );
    assert_eq!(
        filled(&definition.tasks[0], r#"{"h":{"a":"b"},"q":"s"}"#).unwrap(),
        r#"{"body":[1],"endpoint":{"uri":"http://example.com/"},"headers":{"a":"b"},"method":"POST","output":"response","query":{"q":"s"},"redirect":true}"#
    );
}

#[test]
fn transforms_take_expressions_bare_or_wrapped_and_templates() {
    let definition = workflow(
        "input: {from: .a}\noutput: {as: {x: '${ $context }'}}\ndo:\n  - a:\n      set: {x: 1}\n      if: ${ .ok }\n      \
         input: {from: '${ .b }'}\n      output: {as: ['${ $input }', .c]}\n      export: {as: '$output + {c: $input}'}\n      \
         metadata: {aos: any, other: 1}\n  - b:\n      set: {x: 1}\n      input: {}\n      output: {}\n      export: {}\n",
    );
    assert!(definition.input_from.is_some() && definition.output_as.is_some());
    let a = &definition.tasks[0];
    assert!(
        a.if_.is_some() && a.input_from.is_some() && a.output_as.is_some() && a.export_as.is_some()
    );
    let out = a
        .output_as
        .as_ref()
        .unwrap()
        .eval(&Val::Null, &|_| Val::from(7isize), None)
        .unwrap();
    assert_eq!(Value::from_val(&out).unwrap().to_string(), r#"[7,".c"]"#);
    let b = &definition.tasks[1];
    assert!(b.input_from.is_none() && b.output_as.is_none() && b.export_as.is_none());
}

#[test]
fn tasks_know_what_of_the_time_they_read_before_they_begin() {
    let definition = workflow(
        "do:\n  - plain:\n      set: {x: 1}\n  - own:\n      set: '${ now }'\n      output: {as: $task.startedAt}\n  - cond:\n      \
         if: now > 0\n      input: {from: $workflow.startedAt}\n      set: {x: 1}\n  - block:\n      export: {as: now}\n      \
         output: {as: '[now, $task.startedAt]'}\n      do: [{a: {set: '${ now }'}}]\n  - loop:\n      for: {in: '[now]'}\n      \
         while: $workflow.startedAt.epoch.seconds > 0\n      do: [{a: {set: {x: 1}}}]\n  - whiles:\n      for: {in: '[1]'}\n      \
         while: now > 0\n      do: [{a: {set: {x: 1}}}]\n  - waits:\n      wait: '${ {seconds: now} }'\n",
    );
    let reads = |pointer: &str| {
        let reads = task(&definition, pointer).reads_time;
        (reads.now, reads.workflow_started, reads.task_started)
    };
    assert_eq!(reads("/do/0/plain"), (false, false, false));
    assert_eq!(reads("/do/1/own"), (true, false, true));
    assert_eq!(reads("/do/2/cond"), (true, true, false));
    assert_eq!(reads("/do/3/block"), (false, false, true));
    assert_eq!(reads("/do/3/block/do/0/a"), (true, false, false));
    assert_eq!(reads("/do/4/loop"), (true, true, false));
    assert_eq!(reads("/do/5/whiles"), (false, false, false));
    assert_eq!(reads("/do/6/waits"), (true, false, false));
}

#[test]
fn the_short_form_is_a_list_of_skills() {
    let definition = load(
        r#"[{"skill": "compute", "params": {"n": "${ .n + 1 }"}},
            {"skill": "http_call", "name": "fetch"},
            {"skill": "compute"}]"#,
    );
    assert_eq!(
        (definition.namespace.as_str(), definition.name.as_str()),
        ("default", "skills")
    );
    assert_eq!(
        (definition.version.as_str(), definition.media),
        ("0.0.0", "skills")
    );
    assert_eq!(definition.skills, ["compute", "http_call"]);
    let names: Vec<(&str, &str)> = definition
        .tasks
        .iter()
        .map(|t| (t.name.as_str(), t.pointer.as_str()))
        .collect();
    assert_eq!(names, [("step1", "/0"), ("fetch", "/1"), ("step3", "/2")]);
    assert_eq!(
        filled(&definition.tasks[0], r#"{"n":1}"#).unwrap(),
        r#"{"n":2}"#
    );
    assert_eq!(definition.root, [0, 1, 2]);
    let error = definition
        .check_skills(|name| name == "compute")
        .unwrap_err();
    assert_eq!((error.line, error.column), (2, 23));
    assert_eq!(load("- skill: compute\n- skill: compute\n").media, "skills");
}

#[test]
fn texts_can_have_expressions_in_them() {
    for (said, expected) in [
        ("Hello, ${ .name }!", r#""Hello, Ada!""#),
        ("${ .name } and ${ .n + 1 }", r#""Ada and 2""#),
        ("${ {a: .n} }", r#"{"a":1}"#),
        ("  ${ .n }  ", "1"),
        ("n=${ {a: .n} }.", r#""n={\"a\":1}.""#),
        (r#"${ "}" }${ "a\(.n | "{\(.)}")b" }"#, r#""}a{1}b""#),
        (r#"q" \(1) ${ .n }"#, r#""q\" \\(1) 1""#),
        ("$ {x} $${ .n }", r#""$ {x} $1""#),
        ("${ .missing }.", r#""null.""#),
    ] {
        let said = Value::from_val(&crate::value::text(said)).unwrap();
        let definition = workflow(&format!("do: [{{a: {{set: {{x: {said}}}}}}}]"));
        let filled = filled(&definition.tasks[0], r#"{"name":"Ada","n":1}"#).unwrap();
        assert_eq!(filled, format!(r#"{{"x":{expected}}}"#), "{said}");
    }
    let http = workflow(
        "do: [{a: {call: http, with: {method: get, endpoint: 'http://a/${ .id }', headers: {x: 'v${ .n }'}}}}]",
    );
    let filled = filled(&http.tasks[0], r#"{"id":7,"n":1}"#).unwrap();
    assert!(
        filled.contains("http://a/7") && filled.contains(r#""v1""#),
        "{filled}"
    );
}
