//! Bad input: each a clear error with code, place and what to try next; the log stays readable.

use crate::harness::{Place, number};
use aos_format::wire::crc32;

#[test]
fn a_command_line_that_makes_no_sense_is_exit_2() {
    let place = Place::new();
    for arguments in [
        "frobnicate",
        "run hello.yaml",
        "run hello.yaml --log h.aos --seed x",
        "run hello.yaml --log h.aos --stride 5000",
        "run hello.yaml --log h.aos --now tomorrow",
        "run hello.yaml --log h.aos --workers 0",
        "run hello.yaml --log h.aos --input 1 --inputs x",
        "run hello.yaml --log h.aos --key k --key-by .x",
        "run hello.yaml --log h.aos --input 1 --strict",
        "resolve h.aos r s",
        "resolve h.aos r s --retry --failed",
        "runs h.aos --status lost",
    ] {
        let said = place.aosctl(arguments).exits(2);
        assert!(
            said.stderr.starts_with("error[AOS-C001]: "),
            "{arguments}: {}",
            said.stderr
        );
        assert!(said.stdout.is_empty(), "{arguments}");
    }
    assert!(!place.path("h.aos").exists());
}

#[test]
fn what_is_not_there_is_exit_4() {
    let place = Place::new();
    place
        .aosctl("run none.yaml --log h.aos")
        .exits(4)
        .fails_with("AOS-C002", &["none.yaml"]);
    place
        .aosctl("run hello.yaml --log h.aos --input @none.json")
        .exits(4)
        .fails_with("AOS-C002", &["none.json"]);
    place
        .aosctl("run hello.yaml --log h.aos --inputs none.jsonl")
        .exits(4)
        .fails_with("AOS-C002", &["none.jsonl"]);
    assert!(
        !place.path("h.aos").exists(),
        "nothing was made for a command that cannot work"
    );
    for command in [
        "runs",
        "replay",
        "verify",
        "resume",
        "log stat",
        "log cat",
        "log export",
        "log fsck",
        "checkpoint ls",
        "checkpoint take",
    ] {
        place
            .aosctl(&format!("{command} none.aos"))
            .exits(4)
            .fails_with("AOS-S001", &["none.aos"]);
    }
    assert!(!place.path("none.aos").exists());
    place.aosctl("run hello.yaml --log h.aos").exits(0);
    for command in [
        "show h.aos nobody",
        "replay h.aos --run nobody",
        "resume h.aos nobody",
        "resolve h.aos nobody s --retry",
    ] {
        place
            .aosctl(command)
            .exits(4)
            .fails_with("AOS-C009", &["nobody", "aosctl runs h.aos"]);
    }
}

#[test]
fn a_directory_or_file_that_is_no_log_is_left_alone() {
    let place = Place::new();
    std::fs::create_dir(place.path("dir")).unwrap();
    place.write("dir/notes.txt", "notes");
    for log in ["dir", "hello.yaml"] {
        for command in ["runs", "replay", "log fsck", "resume"] {
            place
                .aosctl(&format!("{command} {log}"))
                .exits(5)
                .fails_with("AOS-S003", &[log]);
        }
        place
            .aosctl(&format!("run hello.yaml --log {log}"))
            .exits(5)
            .fails_with("AOS-S003", &[log]);
    }
    assert_eq!(std::fs::read_dir(place.path("dir")).unwrap().count(), 1);
}

#[test]
fn a_newer_log_or_an_unknown_feature_is_not_touched() {
    let place = Place::new();
    place.aosctl("run hello.yaml --log h.aos").exits(0);
    let newer = |place: &Place, at: usize, byte: u8| {
        place.copy_log("h.aos", "n.aos");
        place.change("n.aos/LOCK", |bytes| {
            bytes[at] = byte;
            let crc = crc32(&bytes[..60]);
            bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        });
    };
    newer(&place, 8, 2);
    for command in ["runs n.aos", "replay n.aos", "run hello.yaml --log n.aos"] {
        place
            .aosctl(command)
            .exits(7)
            .fails_with("AOS-S007", &["version 2"]);
    }
    newer(&place, 32, 4);
    for command in ["runs n.aos", "run hello.yaml --log n.aos"] {
        place
            .aosctl(command)
            .exits(7)
            .fails_with("AOS-S007", &["0x4"]);
    }
}

#[test]
fn a_document_is_refused_with_its_place_before_a_log_is_made() {
    let place = Place::new();
    let head = "document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0'}\ndo:\n";
    let nested = format!(
        "{head}  - x: {{set: {}1{}}}\n",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let cases: [(&str, &str, &str, &str); 10] = [
        ("empty", "", "AOS-E203", ":1:1"),
        ("malformed YAML", "a: [1\n", "AOS-E203", ":2:1"),
        ("malformed JSON", "{\"a\": ]", "AOS-E203", ":1:"),
        ("not a document", "just text", "AOS-", ":1:1"),
        (
            "malformed jq",
            &format!("{head}  - x: {{set: {{a: '${{ .a | }}'}}}}\n"),
            "AOS-E212",
            ":3:",
        ),
        (
            "refused jq",
            &format!("{head}  - x: {{set: {{a: '${{ env }}'}}}}\n"),
            "AOS-",
            ":3:",
        ),
        (
            "a later construct",
            &format!("{head}  - x: {{run: {{container: {{}}}}}}\n"),
            "AOS-E209",
            ":3:15",
        ),
        (
            "an unknown property",
            &format!("{head}  - x: {{set: {{a: 1}}, frob: 2}}\n"),
            "AOS-E207",
            ":3:",
        ),
        (
            "an unknown skill",
            &format!("{head}  - x: {{call: frob, with: {{}}}}\n"),
            "AOS-",
            ":3:",
        ),
        ("absurdly nested", &nested, "AOS-E2", ":3:"),
    ];
    for (what, document, code, at) in cases {
        place.write("w.yaml", document);
        let said = place.aosctl("run w.yaml --log h.aos").exits(2);
        assert!(
            said.stderr.starts_with(&format!("error[{code}")),
            "{what}: {}",
            said.stderr
        );
        assert!(
            said.stderr.contains(&format!("at: w.yaml{at}")),
            "{what}: {}",
            said.stderr
        );
    }
    place.write("w.yaml", vec![b'#'; 3 << 20]);
    place
        .aosctl("run w.yaml --log h.aos")
        .exits(8)
        .fails_with("AOS-C006", &["w.yaml"]);
    place.write("w.yaml", b"do: \xff\xfe");
    place.aosctl("run w.yaml --log h.aos").exits(2);
    assert!(!place.path("h.aos").exists());
}

#[test]
fn an_input_that_is_not_json_is_shown_with_its_place() {
    let place = Place::new();
    for input in [
        r#"{"a":}"#,
        "hello",
        r#"{"a":1,"a":2}"#,
        "01",
        "[1",
        "NaN",
        "",
    ] {
        let said = crate::harness::Said::new(
            input,
            place
                .command("run hello.yaml --log h.aos --input")
                .arg(input)
                .output()
                .unwrap(),
        );
        said.exits(2).fails_with("AOS-C004", &["--input"]);
    }
    place.write("bad.json", "{\n  \"a\": ]\n}");
    place
        .aosctl("run hello.yaml --log h.aos --input @bad.json")
        .exits(2)
        .fails_with("AOS-C004", &["bad.json, line 2, column 8"]);
    place
        .aosctl_reads("run hello.yaml --log h.aos --input -", b"{")
        .exits(2)
        .fails_with("AOS-C004", &["standard input"]);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    place.write("deep.json", deep);
    place
        .aosctl("run hello.yaml --log h.aos --input @deep.json")
        .exits(2)
        .fails_with("AOS-C004", &["deep"]);
    assert!(!place.path("h.aos").exists());
}

#[test]
fn a_line_that_is_not_json_is_named_and_the_others_run() {
    let place = Place::new();
    place.write(
        "lines.jsonl",
        "{\"name\":\"a\"}\nnot json\n\n{\"name\":\"b\"}\n",
    );
    let said = place
        .aosctl("-o json run hello.yaml --log h.aos --inputs lines.jsonl")
        .exits(1);
    let summary = said
        .fails_with("AOS-C005", &["line 2", "lines.jsonl"])
        .json();
    assert_eq!(
        (number(&summary, "completed"), number(&summary, "failed")),
        (2, 1)
    );
    let strict = place
        .aosctl("-o json run hello.yaml --log s.aos --inputs lines.jsonl --strict")
        .exits(1);
    let summary = strict
        .fails_with("AOS-C005", &["line 2", "--strict"])
        .json();
    assert_eq!(
        number(&summary, "completed"),
        1,
        "what stands behind the bad line is not started"
    );
    place.write(
        "lines.jsonl",
        "{\"name\":\"a\"}\n{\"name\":\"mended\"}\n\n{\"name\":\"b\"}\n",
    );
    let again = place
        .aosctl("-o json run hello.yaml --log h.aos --inputs lines.jsonl")
        .exits(0)
        .json();
    assert_eq!(number(&again, "completed"), 3);
}

#[test]
fn many_bad_lines_do_not_drown_the_first_ones() {
    let place = Place::new();
    place.write("lines.jsonl", "x\n".repeat(500));
    let said = place
        .aosctl("-o jsonl run hello.yaml --log h.aos --inputs lines.jsonl")
        .exits(1);
    assert_eq!(said.stderr.matches("error[AOS-C005]").count(), 20);
    assert_eq!(said.lines().len(), 501);
}

#[test]
fn a_key_expression_must_give_a_key() {
    let place = Place::new();
    place.write(
        "lines.jsonl",
        "{\"id\":\"a\"}\n{\"id\":[1]}\n{}\n{\"id\":\"a\"}\n",
    );
    let said = place
        .aosctl("-o json run hello.yaml --log h.aos --inputs lines.jsonl --key-by .id")
        .exits(1);
    let summary = said
        .fails_with("AOS-C007", &["line 2", "[1]", "line 3", "null"])
        .json();
    assert_eq!(
        (number(&summary, "runs"), number(&summary, "failed")),
        (1, 2),
        "the same key and input is the same run"
    );
    place
        .aosctl("run hello.yaml --log n.aos --inputs lines.jsonl --key-by .id|")
        .exits(2)
        .fails_with("AOS-E110", &["--key-by"]);
    place
        .aosctl("run hello.yaml --log n.aos --inputs lines.jsonl --key-by env")
        .exits(2)
        .fails_with("AOS-E112", &["--key-by", "env"]);
    assert!(!place.path("n.aos").exists());
}

#[test]
fn a_value_beyond_the_limit_is_exit_8_and_the_others_run() {
    let place = Place::new();
    let large = |bytes: usize| format!("{{\"name\":\"{}\"}}\n", "x".repeat(bytes));
    place.write(
        "large.jsonl",
        format!("{}{}{}", large(200_000_000), large(17_000_000), large(5)),
    );
    let said = place
        .aosctl("-o json run hello.yaml --log h.aos --inputs large.jsonl")
        .exits(8);
    let summary = said
        .fails_with("AOS-C006", &["line 1", "200000011 bytes"])
        .fails_with("AOS-E102", &["line 2"])
        .json();
    assert_eq!(
        (number(&summary, "completed"), number(&summary, "failed")),
        (1, 2)
    );
    place.write("large.json", large(40_000_000));
    place
        .aosctl("run hello.yaml --log h.aos --input @large.json")
        .exits(8)
        .fails_with("AOS-C006", &["large.json", "limit"]);
    place.write("medium.json", large(3000));
    let small = place
        .aosctl("run hello.yaml --log small.aos --stride 4K --input @medium.json")
        .exits(8);
    small.fails_with("AOS-E007", &["small.aos", "--stride"]);
    place.aosctl("replay h.aos").exits(0);
    place.aosctl("replay small.aos").exits(0);
}

#[test]
fn a_damaged_gzip_stream_says_where_it_broke() {
    use std::io::Write;
    let place = Place::new();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for number in 0..1000 {
        writeln!(encoder, "{{\"name\":\"{number}\"}}").unwrap();
    }
    let mut bytes = encoder.finish().unwrap();
    bytes.truncate(bytes.len() / 2);
    place.write("cut.gz", bytes);
    let said = place
        .aosctl("-o json run hello.yaml --log h.aos --inputs cut.gz")
        .exits(5);
    let summary = said
        .fails_with("AOS-C008", &["cut.gz, after line", "gzip --test"])
        .json();
    assert!(
        number(&summary, "completed") > 0,
        "what came before the damage was run"
    );
    place.aosctl("replay h.aos").exits(0);
}

#[test]
fn a_flipped_bit_is_named_with_its_offset_and_run() {
    let place = Place::new();
    place
        .aosctl("run hello.yaml --log h.aos --seed 1 --key a")
        .exits(0);
    let step = place
        .aosctl("log cat h.aos")
        .exits(0)
        .lines()
        .into_iter()
        .find(|row| row["kind"] == "STEP")
        .unwrap();
    let offset = number(&step, "offset");
    place.change("h.aos/segments/00000000000000000000.seg", |bytes| {
        bytes[offset as usize + 100] ^= 1
    });
    let report = place.aosctl("-o json replay h.aos").exits(5).json();
    assert_eq!(report["verdict"], "corrupt");
    let findings = report["findings"].as_array().unwrap();
    assert!(
        findings
            .iter()
            .any(|f| number(f, "offset") == offset && f["run"] == step["run"]),
        "{findings:?}"
    );
    place.aosctl("log fsck h.aos").exits(5);
    for command in [
        "runs h.aos",
        "log cat h.aos",
        "log export h.aos",
        "log stat h.aos",
    ] {
        place.aosctl(command).exits(5).fails_with(
            "AOS-S004",
            &[&format!("offset {offset}"), "aosctl log fsck"],
        );
    }
    assert!(
        !place.aosctl("log cat h.aos").lines().is_empty(),
        "what stands before the damage is shown"
    );
    place
        .aosctl("run hello.yaml --log h.aos --seed 1 --key a")
        .exits(5)
        .fails_with("AOS-S004", &["aosctl log fsck"]);
    let shown = place.aosctl("-o table replay h.aos").exits(5).stdout;
    assert!(
        shown.starts_with("corrupt: ") && shown.contains("aosctl explain AOS-R"),
        "{shown}"
    );
}

#[test]
fn a_missing_segment_is_a_gap_and_undecided() {
    let place = Place::new();
    place.applications(30);
    place
        .aosctl("run loan.yaml --log l.aos --inputs applications.jsonl --stride 64K --seed 7")
        .exits(0);
    std::fs::remove_file(place.path("l.aos/segments/00000000000000065536.seg")).unwrap();
    let report = place.aosctl("-o json replay l.aos").exits(7).json();
    assert_eq!(
        (&report["verdict"], &report["integrity"]),
        (&"undecided".into(), &"gap".into())
    );
    place
        .aosctl("run loan.yaml --log l.aos --inputs applications.jsonl")
        .exits(5)
        .fails_with("AOS-S005", &["65536"]);
    place.aosctl("log fsck l.aos").exits(7);
}

#[test]
fn a_place_where_nothing_may_be_written_is_exit_6() {
    let place = Place::new();
    let said = place
        .aosctl("run hello.yaml --log /proc/aos-test.aos")
        .exits(6);
    assert!(
        said.stderr.contains("/proc/aos-test.aos") && said.stderr.contains("\n  try: "),
        "{}",
        said.stderr
    );
}

#[test]
fn another_stride_than_the_logs_is_refused() {
    let place = Place::new();
    place.aosctl("run hello.yaml --log h.aos").exits(0);
    place
        .aosctl("run hello.yaml --log h.aos --stride 4K")
        .exits(3)
        .fails_with("AOS-C017", &["67108864", "4096"]);
    place
        .aosctl("run hello.yaml --log h.aos --stride 64M")
        .exits(0);
}
