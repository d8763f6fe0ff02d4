//! The graph of a document's tasks, as Mermaid, Graphviz or SVG.
//!
//! A node a task, in document order; a `fork` has a second one where its branches meet. An edge is a way that control can
//! take: solid as the document says it, dashed for what a fault leads to.

use super::{Definition, Flow, TaskKind};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Form of a drawing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drawing {
    /// Mermaid flowchart.
    Mermaid,
    /// Graphviz.
    Dot,
    /// SVG, laid out in rows.
    Svg,
}

/// Draws the tasks of `definition`.
pub fn draw(definition: &Definition, form: Drawing) -> String {
    let graph = Graph::of(definition);
    match form {
        Drawing::Mermaid => graph.mermaid(),
        Drawing::Dot => graph.dot(),
        Drawing::Svg => graph.svg(),
    }
}

struct Node {
    id: String,
    name: String,
    kind: &'static str,
    /// Node of the task whose block this one is in.
    within: Option<String>,
}

struct Edge {
    from: String,
    to: String,
    label: String,
    dashed: bool,
}

#[derive(Default)]
struct Graph {
    title: String,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

/// Width of a character of a drawing, about, in pixels.
const CHARACTER: usize = 7;

const START: &str = "start";
/// A node named `end` would close what Mermaid has open.
const END: &str = "finish";

fn id(task: usize) -> String {
    format!("t{task}")
}

impl Graph {
    fn of(definition: &Definition) -> Graph {
        let mut graph = Graph {
            title: format!(
                "{}/{} {}",
                definition.namespace, definition.name, definition.version
            ),
            ..Graph::default()
        };
        graph.node(START, "start", "", None);
        graph.edge(START, &id(definition.root[0]), "", false);
        graph.block(definition, &definition.root, END, None);
        graph.node(END, "end", "", None);
        graph
    }

    fn node(&mut self, id: &str, name: &str, kind: &'static str, within: Option<&str>) {
        self.nodes.push(Node {
            id: id.into(),
            name: name.into(),
            kind,
            within: within.map(str::to_owned),
        });
    }

    fn edge(&mut self, from: &str, to: &str, label: &str, dashed: bool) {
        self.edges.push(Edge {
            from: from.into(),
            to: to.into(),
            label: label.into(),
            dashed,
        });
    }

    /// The tasks of a block, which leads to `exit`.
    fn block(
        &mut self,
        definition: &Definition,
        block: &[usize],
        exit: &str,
        within: Option<&str>,
    ) {
        for (at, &task) in block.iter().enumerate() {
            let next = block
                .get(at + 1)
                .map_or_else(|| exit.to_owned(), |next| id(*next));
            let to = |flow: &Flow| match flow {
                Flow::Continue => next.clone(),
                Flow::Exit => exit.to_owned(),
                Flow::End => END.to_owned(),
                Flow::Task(task) => id(*task),
            };
            let after = to(&definition.tasks[task].then);
            let own = id(task);
            let (name, kind) = (
                &definition.tasks[task].name,
                definition.tasks[task].kind.name(),
            );
            self.node(&own, name, kind, within);
            if definition.tasks[task].if_.is_some() {
                self.edge(&own, &next, "if not", false);
            }
            let inner = definition.block(task);
            match &definition.tasks[task].kind {
                TaskKind::Switch(cases) => {
                    for case in cases {
                        self.edge(&own, &to(&case.then), &case.name, false);
                    }
                    if cases.iter().all(|case| case.when.is_some()) {
                        self.edge(&own, &after, "", false);
                    }
                }
                TaskKind::Raise(_) => {}
                TaskKind::Do(_) | TaskKind::Function { .. } => {
                    self.enter(definition, &own, inner, &after, "");
                }
                TaskKind::For { .. } => {
                    self.enter(definition, &own, inner, &own, "each");
                    self.edge(&own, &after, "done", false);
                }
                TaskKind::Listen(_) => {
                    if !inner.is_empty() {
                        self.enter(definition, &own, inner, &own, "event");
                    }
                    self.edge(&own, &after, "", false);
                }
                TaskKind::Try { catch, .. } => {
                    self.enter(definition, &own, inner, &after, "");
                    if catch.retry.is_some() {
                        self.edge(&own, &own, "retry", true);
                    }
                    if let Some(&first) = catch.handler.first() {
                        self.edge(&own, &id(first), "catch", true);
                        self.block(definition, &catch.handler, &after, Some(&own));
                    } else {
                        self.edge(&own, &after, "catch", true);
                    }
                }
                TaskKind::Fork { branches, compete } => {
                    let join = format!("j{task}");
                    for &branch in branches {
                        self.edge(&own, &id(branch), "", false);
                        self.block(definition, &[branch], &join, Some(&own));
                    }
                    let kind = if *compete { "first" } else { "all" };
                    self.node(&join, name, kind, within);
                    self.edge(&join, &after, "", false);
                }
                TaskKind::Set(_)
                | TaskKind::Wait(_)
                | TaskKind::Emit(_)
                | TaskKind::CallHttp(_)
                | TaskKind::Run { .. }
                | TaskKind::CallSkill { .. } => self.edge(&own, &after, "", false),
            }
        }
    }

    fn enter(
        &mut self,
        definition: &Definition,
        own: &str,
        inner: &[usize],
        exit: &str,
        label: &str,
    ) {
        if let Some(&first) = inner.first() {
            self.edge(own, &id(first), label, false);
            self.block(definition, inner, exit, Some(own));
        }
    }

    fn mermaid(&self) -> String {
        let mut out = String::from("flowchart TD\n");
        self.nest(None, 1, &mut out, &|node, depth, out| {
            let pad = "  ".repeat(depth);
            let label = entity(&label(node));
            let _ = match node.kind {
                "" => writeln!(out, "{pad}{}([\"{label}\"])", node.id),
                "switch" => writeln!(out, "{pad}{}{{\"{label}\"}}", node.id),
                _ => writeln!(out, "{pad}{}[\"{label}\"]", node.id),
            };
        });
        for edge in &self.edges {
            let arrow = if edge.dashed { "-.->" } else { "-->" };
            let label = match edge.label.as_str() {
                "" => String::new(),
                label => format!("|\"{}\"|", entity(label)),
            };
            let _ = writeln!(out, "  {} {arrow}{label} {}", edge.from, edge.to);
        }
        out
    }

    /// Writes the nodes within `within`, each followed by those within it as a subgraph.
    fn nest(
        &self,
        within: Option<&str>,
        depth: usize,
        out: &mut String,
        write: &dyn Fn(&Node, usize, &mut String),
    ) {
        for node in self
            .nodes
            .iter()
            .filter(|node| node.within.as_deref() == within)
        {
            write(node, depth, out);
            if self
                .nodes
                .iter()
                .any(|inner| inner.within.as_deref() == Some(node.id.as_str()))
            {
                let pad = "  ".repeat(depth);
                let _ = writeln!(
                    out,
                    "{pad}subgraph in_{}[\"{}\"]",
                    node.id,
                    entity(&node.name)
                );
                self.nest(Some(&node.id), depth + 1, out, write);
                let _ = writeln!(out, "{pad}end");
            }
        }
    }

    fn dot(&self) -> String {
        let mut out = format!(
            "digraph {} {{\n  node [shape=box, fontname=\"sans-serif\"];\n",
            quoted(&self.title)
        );
        self.clusters(None, 1, &mut out);
        for edge in &self.edges {
            let style = if edge.dashed { ", style=dashed" } else { "" };
            let label = quoted(&edge.label);
            let _ = writeln!(
                out,
                "  {} -> {} [label={label}{style}];",
                edge.from, edge.to
            );
        }
        out.push_str("}\n");
        out
    }

    fn clusters(&self, within: Option<&str>, depth: usize, out: &mut String) {
        let pad = "  ".repeat(depth);
        for node in self
            .nodes
            .iter()
            .filter(|node| node.within.as_deref() == within)
        {
            let shape = match node.kind {
                "" => ", shape=oval",
                "switch" => ", shape=diamond",
                _ => "",
            };
            let _ = writeln!(
                out,
                "{pad}{} [label={}{shape}];",
                node.id,
                quoted(&label(node))
            );
            if self
                .nodes
                .iter()
                .any(|inner| inner.within.as_deref() == Some(node.id.as_str()))
            {
                let _ = writeln!(
                    out,
                    "{pad}subgraph cluster_{} {{ label={};",
                    node.id,
                    quoted(&node.name)
                );
                self.clusters(Some(&node.id), depth + 1, out);
                let _ = writeln!(out, "{pad}}}");
            }
        }
    }

    /// Rows: a node stands below every node before it, in document order, that leads to it.
    fn rows(&self) -> BTreeMap<&str, (usize, usize)> {
        let order: BTreeMap<&str, usize> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(n, node)| (node.id.as_str(), n))
            .collect();
        let mut row = vec![0usize; self.nodes.len()];
        for (n, node) in self.nodes.iter().enumerate() {
            for edge in self.edges.iter().filter(|edge| edge.to == node.id) {
                if let Some(&from) = order.get(edge.from.as_str())
                    && from < n
                {
                    row[n] = row[n].max(row[from] + 1);
                }
            }
        }
        let mut used: BTreeMap<usize, usize> = BTreeMap::new();
        let mut places = BTreeMap::new();
        for (n, node) in self.nodes.iter().enumerate() {
            let column = used.entry(row[n]).or_default();
            places.insert(node.id.as_str(), (row[n], *column));
            *column += 1;
        }
        places
    }

    fn svg(&self) -> String {
        const W: usize = 170;
        const H: usize = 40;
        const GAP_X: usize = 30;
        const GAP_Y: usize = 46;
        let places = self.rows();
        let rows = places.values().map(|(row, _)| row + 1).max().unwrap_or(1);
        let columns = places
            .values()
            .map(|(_, column)| column + 1)
            .max()
            .unwrap_or(1);
        let (width, height) = (columns * (W + GAP_X) + GAP_X, rows * (H + GAP_Y) + GAP_Y);
        let corner = |id: &str| {
            let (row, column) = places.get(id).copied().unwrap_or_default();
            (GAP_X + column * (W + GAP_X), GAP_Y / 2 + row * (H + GAP_Y))
        };
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<title>{}</title>\n\
             <defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
             <path d=\"M0 0 8 4 0 8z\"/></marker></defs>\n",
            xml(&self.title)
        );
        for edge in &self.edges {
            let ((x1, y1), (x2, y2)) = (corner(&edge.from), corner(&edge.to));
            let dash = if edge.dashed {
                " stroke-dasharray=\"5 3\""
            } else {
                ""
            };
            // Down from below to above; anything else goes around on the right.
            let (path, tx, ty) = if y2 > y1 {
                let (x1, y1, x2) = (x1 + W / 2, y1 + H, x2 + W / 2);
                let middle = (y1 + y2) / 2;
                (
                    format!("M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}"),
                    (x1 + x2) / 2,
                    middle,
                )
            } else {
                let (x1, y1, x2, y2) = (x1 + W, y1 + H / 2, x2 + W, y2 + H / 4);
                let out = x1.max(x2) + GAP_X;
                (
                    format!("M{x1} {y1}C{out} {y1} {out} {y2} {x2} {y2}"),
                    out,
                    (y1 + y2) / 2,
                )
            };
            let _ = writeln!(
                out,
                "<path d=\"{path}\" fill=\"none\" stroke=\"black\"{dash} marker-end=\"url(#a)\"/>"
            );
            if !edge.label.is_empty() {
                let _ = writeln!(
                    out,
                    "<text x=\"{tx}\" y=\"{ty}\" fill=\"#555\">{}</text>",
                    xml(&edge.label)
                );
            }
        }
        for node in &self.nodes {
            let (x, y) = corner(&node.id);
            let round = if node.kind.is_empty() { 20 } else { 4 };
            let (cx, cy) = (x + W / 2, y + H / 2 + 4);
            let _ = writeln!(
                out,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{W}\" height=\"{H}\" rx=\"{round}\" fill=\"white\" stroke=\"black\"/>\
                 <text x=\"{cx}\" y=\"{cy}\" text-anchor=\"middle\"{}>{}</text>",
                squeezed(&label(node), W),
                xml(&label(node))
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

impl TaskKind {
    /// Name of the kind, as documents have it.
    pub fn name(&self) -> &'static str {
        match self {
            TaskKind::Set(_) => "set",
            TaskKind::Do(_) => "do",
            TaskKind::For { .. } => "for",
            TaskKind::Switch(_) => "switch",
            TaskKind::Raise(_) => "raise",
            TaskKind::Wait(_) => "wait",
            TaskKind::Try { .. } => "try",
            TaskKind::Fork { .. } => "fork",
            TaskKind::Listen(_) => "listen",
            TaskKind::Emit(_) => "emit",
            TaskKind::Run { .. } => "run",
            TaskKind::CallHttp(_) | TaskKind::CallSkill { .. } | TaskKind::Function { .. } => {
                "call"
            }
        }
    }
}

/// Keeps a long text within its box.
fn squeezed(text: &str, width: usize) -> String {
    match text.chars().count() * CHARACTER > width {
        true => format!(
            " textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\"",
            width - CHARACTER
        ),
        false => String::new(),
    }
}

fn label(node: &Node) -> String {
    match node.kind {
        "" => node.name.clone(),
        kind => format!("{}: {kind}", super::node::short(&node.name)),
    }
}

/// A text in Mermaid's quotes.
fn entity(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' | '#' | '&' | '<' | '>' | '|' | '`' | '\\' => {
                let _ = write!(out, "#{};", u32::from(c));
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A text as Graphviz quotes it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn xml(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // What XML cannot hold at all.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
