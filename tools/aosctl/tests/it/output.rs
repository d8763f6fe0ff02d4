//! Forms of the output, pipes, help.

use crate::harness::{AOSCTL, Place};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn a_closed_pipe_is_no_error_and_says_nothing() {
    let place = Place::new();
    for arguments in [
        "sample loan --count 100000",
        "explain",
        "-o json explain",
        "completions bash",
    ] {
        let mut child = place.start(arguments, Stdio::null());
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        assert!(!first.is_empty());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), &b""[..]),
            "{arguments}"
        );
    }
}

#[test]
fn a_run_goes_on_when_nobody_reads_its_rows() {
    let place = Place::new();
    place.applications(50);
    let mut child = place.start(
        "-o jsonl run loan.yaml --log l.aos --inputs applications.jsonl --seed 7",
        Stdio::null(),
    );
    drop(child.stdout.take());
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(
        place
            .aosctl("runs l.aos --status completed")
            .exits(0)
            .lines()
            .len(),
        50
    );
}

#[test]
fn a_full_disk_behind_the_output_is_an_error() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        return;
    };
    let output = Command::new(AOSCTL)
        .arg("explain")
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(6));
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("error[AOS-C012]: cannot write the output")
    );
}

#[test]
fn data_goes_to_stdout_and_talk_to_stderr() {
    let place = Place::new();
    let said = place.aosctl("run hello.yaml --log h.aos").exits(0);
    assert_eq!(
        said.lines().len(),
        2,
        "JSON lines when piped: a row and the summary"
    );
    assert_eq!(said.stderr, "created log h.aos\n");
    assert!(
        !said.stderr.contains('\u{1b}'),
        "no colours where no terminal is"
    );
}

#[test]
fn a_table_can_be_asked_for() {
    let place = Place::new();
    place.aosctl("run hello.yaml --log h.aos --key k").exits(0);
    let table = place.aosctl("-o table runs h.aos").exits(0).stdout;
    let header = table.lines().next().unwrap();
    assert!(
        header.starts_with("RUN") && header.contains("STATUS"),
        "{table}"
    );
    let shown = place.aosctl("-o table show h.aos k").exits(0).stdout;
    assert!(
        shown.contains("output {\"greeting\":\"hello world\"}"),
        "{shown}"
    );
}

#[test]
fn every_code_is_explained() {
    let place = Place::new();
    let codes = place.aosctl("explain").exits(0).lines();
    assert!(codes.len() > 40);
    for row in codes {
        let code = row["code"].as_str().unwrap();
        assert!(
            !row["title"].as_str().unwrap().is_empty(),
            "{code} has no title"
        );
        let page = place
            .aosctl(&format!("explain {}", code.to_lowercase()))
            .exits(0)
            .stdout;
        assert!(page.starts_with(&format!("# {code}: ")), "{page}");
    }
    place
        .aosctl("explain AOS-Z999")
        .exits(4)
        .fails_with("AOS-C011", &[]);
}

#[test]
fn completions_are_written_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(
            place
                .aosctl(&format!("completions {shell}"))
                .exits(0)
                .stdout
                .contains("aosctl"),
            "{shell}"
        );
    }
}

#[test]
fn help_says_what_there_is() {
    let place = Place::new();
    let mut text = String::new();
    let commands = [
        "",
        "demo",
        "run",
        "resume",
        "resolve",
        "replay",
        "verify",
        "runs",
        "show",
        "checkpoint",
        "checkpoint ls",
        "checkpoint take",
        "log",
        "log stat",
        "log cat",
        "log export",
        "log fsck",
        "validate determinism",
        "bench",
        "bench append",
        "bench engine",
        "bench replay",
        "bench open",
        "bench validate",
        "bench report",
        "sample loan",
        "explain",
        "completions",
    ];
    for command in commands {
        text.push_str(&format!("$ aosctl {command} --help\n"));
        text.push_str(&place.aosctl(&format!("{command} --help")).exits(0).stdout);
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}
