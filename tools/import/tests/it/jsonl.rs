//! JSON lines of any engine.

use aos_import::{Importer, Jsonl, Mapping, Outcome, Path, Source};

fn mapping() -> Mapping {
    let path = |text| Some(Path::parse(text).unwrap());
    Mapping {
        run: path("case"),
        id: path("/meta/id"),
        time: path("meta.at"),
        subject: path("tool"),
        volatile: vec![Path::parse("/meta/host").unwrap()],
        ends: [("stop".to_owned(), Outcome::Completed)].into(),
        ..Mapping::new(Path::parse(".kind").unwrap())
    }
}

fn importer() -> Jsonl {
    Jsonl::new(Source::default(), mapping())
}

const LINES: &str = r#"{"case": "a", "kind": "call", "tool": "search", "meta": {"id": 1, "at": "1970-01-01T00:00:01Z", "host": "x"}, "q": [1.0, null]}
{"case": "b", "kind": "call", "tool": "search", "meta": {"id": 2, "host": "y", "more": true}}

{"case": "a", "kind": "call", "tool": "search", "meta": {"id": 3}}
{"case": "a", "kind": "stop", "meta": {"id": 4}}
"#;

#[test]
fn lines_become_runs_by_the_mapping() {
    let runs = importer().parse("t", LINES.as_bytes()).unwrap();
    let keys: Vec<_> = runs.iter().map(|run| run.key.clone().unwrap()).collect();
    assert_eq!(keys, ["a", "b"]);
    let activations: Vec<_> = runs[0]
        .events
        .iter()
        .map(|e| e.activation.as_str())
        .collect();
    assert_eq!(activations, ["/call/search", "/call/search;2", "/stop"]);
    assert_eq!(
        (runs[0].ended, runs[1].ended),
        (Some(Outcome::Completed), None)
    );
    let first = &runs[0].events[0];
    assert_eq!(first.data, br#"{"meta":{},"q":[1,null],"tool":"search"}"#);
    assert_eq!((first.id.as_str(), first.wall_ns), ("1", 1_000_000_000));
    assert_eq!(first.original, LINES.lines().next().unwrap().as_bytes());
    assert_eq!(
        runs[1].events[0].data,
        br#"{"meta":{"more":true},"tool":"search"}"#
    );
}

#[test]
fn another_mapping_has_other_rules() {
    let mut other = mapping();
    other.volatile.clear();
    let other = Jsonl::new(Source::default(), other);
    assert_ne!(other.rules().digest(), importer().rules().digest());
}

#[test]
fn a_bad_line_is_refused_with_its_place() {
    for (line, code, at) in [
        (
            "{\"case\": \"a\", \"kind\": ",
            "AOS-I001",
            "line 5, column 23",
        ),
        ("7", "AOS-I002", "line 5, column 1"),
        (
            "{\"case\": \"a\", \"meta\": {\"id\": 5}}",
            "AOS-I002",
            "/kind",
        ),
        ("{\"case\": \"b\", \"kind\": \"x\"}", "AOS-I002", "/meta/id"),
        (
            "{\"kind\": \"x\", \"case\": [], \"meta\": {\"id\": 5}}",
            "AOS-I002",
            "/case",
        ),
        (
            "{\"kind\": \"x\", \"case\": \"a\", \"meta\": {\"id\": 5}}",
            "AOS-I003",
            "line 6, column 1, byte 339",
        ),
    ] {
        let lines = LINES.replacen("\n\n", "\n", 1);
        let text = match code {
            "AOS-I003" => format!("{lines}\n{line}"),
            _ => format!("{lines}{line}"),
        };
        let error = importer().parse("t", text.as_bytes()).unwrap_err();
        assert_eq!(error.code(), code, "{line}");
        let place = error.place().unwrap().to_string();
        assert!(place.contains(at), "{line}: {place}");
    }
}

#[test]
fn a_path_needs_names() {
    for bad in ["", "/", "a..b", ".", "/a//b"] {
        assert_eq!(Path::parse(bad).unwrap_err().code(), "AOS-I006", "{bad}");
    }
    assert_eq!(Path::parse("a.b").unwrap(), Path::parse("/a/b").unwrap());
    assert_eq!(Path::parse("/a~1b/c~0d").unwrap().pointer(), "/a~1b/c~0d");
}

#[test]
fn a_run_that_is_a_number_here_and_text_there_is_refused() {
    let numbers = "{\"case\": 1, \"kind\": \"call\", \"meta\": {\"id\": 1}}\n";
    let text = "{\"case\": \"1\", \"kind\": \"call\", \"meta\": {\"id\": 2}}\n";
    let other = "{\"case\": \"2\", \"kind\": \"call\", \"meta\": {\"id\": 3}}\n";
    let runs = importer().parse("t", [numbers, other].concat().as_bytes());
    assert_eq!(runs.unwrap().len(), 2);
    for (first, second) in [(numbers, text), (text, numbers)] {
        let error = importer().parse("t", [first, second].concat().as_bytes());
        let error = error.unwrap_err();
        assert_eq!(error.code(), "AOS-I002");
        let said = error.to_string();
        assert!(said.contains("as run 1 has it in lines before"), "{said}");
    }
}
