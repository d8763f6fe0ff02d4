use super::*;
use crate::workflow::graph::{Drawing, draw};

const ALL: &str = "do:
  - first:
      try: [ { ask: { call: compute, with: { op: draw, min: 1, max: 2 } } } ]
      catch: { retry: { limit: { attempt: { count: 1 } } }, do: [ { 'give \"up\" <now>': { set: { x: 1 } } } ] }
  - pick:
      switch: [ { again: { when: .x, then: first } }, { done: { then: end } } ]
  - both:
      fork: { branches: [ { a: { wait: PT1S } }, { b: { for: { in: .l }, do: [ { c: { set: { y: 1 } } } ] } } ] }
";

#[test]
fn every_task_is_a_node_and_every_way_of_control_an_edge() {
    let definition = workflow(ALL);
    let mermaid = draw(&definition, Drawing::Mermaid);
    for line in [
        "  start --> t0",
        "  t0 -.->|\"retry\"| t0",
        "  t0 -.->|\"catch\"|",
        "  t1 -->|\"again\"| t0",
        "  t1 -->|\"done\"| finish",
        "  t2 -->",
        "  j2 --> finish",
    ] {
        assert!(mermaid.contains(line), "{line} in\n{mermaid}");
    }
    // `end` is a word of Mermaid's: a node of that name makes the whole drawing unreadable.
    let words = [
        "end", "graph", "subgraph", "style", "click", "class", "default",
    ];
    for line in mermaid.lines().skip(1).filter(|line| line.trim() != "end") {
        let line = line.trim().strip_prefix("subgraph ").unwrap_or(line.trim());
        let id = line
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .next();
        let to = line.rsplit(' ').next();
        assert!(
            !words
                .iter()
                .any(|word| Some(*word) == id || Some(*word) == to),
            "{line}"
        );
    }
    let dot = draw(&definition, Drawing::Dot);
    for task in 0..definition.tasks.len() {
        assert!(
            dot.contains(&format!("t{task} [label=")),
            "t{task} in\n{dot}"
        );
    }
    assert_eq!(dot.matches('{').count(), dot.matches('}').count());
}

#[test]
fn names_of_any_text_are_quoted_in_every_form() {
    let definition = workflow(ALL);
    let name = "give \"up\" <now>";
    for form in [Drawing::Mermaid, Drawing::Svg] {
        assert!(!draw(&definition, form).contains(name), "{form:?}");
    }
    assert!(draw(&definition, Drawing::Dot).contains(r#"give \"up\" <now>"#));
    let long = workflow(&format!(
        "do: [{{'{}': {{set: {{x: 1}}}}}}]",
        "long ".repeat(9)
    ));
    assert!(draw(&long, Drawing::Svg).contains("textLength=\"163\""));
    let svg = draw(&definition, Drawing::Svg);
    assert!(!svg.contains("textLength"));
    assert!(svg.contains("give &quot;up&quot; &lt;now&gt;") && svg.ends_with("</svg>\n"));
}
