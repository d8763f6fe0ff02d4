use super::app::{App, Key, Screen};
use super::data::Data;
use super::view;
use aos_disk::RealDisk;
use aos_format::digest::LogId;
use aos_import::{Importer, Jsonl, Mapping, Outcome, Path as FieldPath, Source, write};
use aos_store::{Log, Options};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log with one run a key: its events are the lines.
fn log(dir: &Path, name: &str, runs: &[(&str, &str)]) -> PathBuf {
    let path = dir.join(name);
    let options = Options {
        create: true,
        ..Options::new(LogId([7; 16]))
    };
    let (log, _) = Log::open(Arc::new(RealDisk), &path, &options).unwrap();
    let mapping = Mapping {
        ends: [("stop".to_owned(), Outcome::Completed)].into(),
        ..Mapping::new(FieldPath::parse("t").unwrap())
    };
    let importer = Jsonl::new(Source::default(), mapping);
    for (key, lines) in runs {
        for run in importer.parse("t", lines.as_bytes()).unwrap() {
            write(&log, &importer, &run, Some(key)).unwrap();
        }
    }
    log.close().unwrap();
    path
}

const CALLS: &str =
    "{\"t\":\"ask\",\"q\":1}\n{\"t\":\"answer\",\"a\":{\"x\":[1,2]}}\n{\"t\":\"stop\"}\n";
const OTHERS: &str = "{\"t\":\"ask\",\"q\":1}\n{\"t\":\"answer\",\"a\":{\"x\":[1,3]}}\n{\"t\":\"retry\"}\n{\"t\":\"stop\"}\n";

fn screen(app: &mut App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, app)).unwrap();
    let text = terminal.backend().to_string();
    let lines = text.lines().map(|line| line.trim_matches('"').trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

fn app(logs: &[PathBuf]) -> App {
    let mut app = App::new(Data::open(&logs[0], logs.get(1).map(PathBuf::as_path)).unwrap());
    // Names of temporary directories are different each time.
    app.data.call(&["one.aos", "two.aos"]);
    app
}

#[test]
fn runs_a_timeline_and_an_event_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut app = app(&[log(
        dir.path(),
        "l",
        &[("first", CALLS), ("second", "{\"t\":\"ask\"}\n")],
    )]);
    insta::assert_snapshot!("runs", screen(&mut app, 100, 8));
    app.press(Key::Open);
    assert_eq!(app.screen, Screen::Timeline);
    app.press(Key::Down);
    app.press(Key::Down);
    insta::assert_snapshot!("timeline_narrow", screen(&mut app, 80, 8));
    insta::assert_snapshot!("timeline_wide", screen(&mut app, 130, 12));
    app.press(Key::Open);
    app.press(Key::PageDown);
    let event = screen(&mut app, 60, 12);
    assert!(event.contains("\"x\": [") || app.detail_top > 0, "{event}");
    app.press(Key::Back);
    app.press(Key::Back);
    assert_eq!(app.screen, Screen::Runs);
    app.press(Key::Char('q'));
    assert!(app.is_over());
}

#[test]
fn two_logs_stand_side_by_side_and_differences_are_found_by_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let a = log(
        dir.path(),
        "a",
        &[("same", CALLS), ("k", CALLS), ("gone", CALLS)],
    );
    let b = log(dir.path(), "b", &[("same", CALLS), ("k", OTHERS)]);
    let mut app = app(&[a, b]);
    insta::assert_snapshot!("pair_runs", screen(&mut app, 100, 7));
    app.press(Key::Open);
    assert_eq!(app.events_place.selected, 2, "it begins where they part");
    insta::assert_snapshot!("pair_timeline", screen(&mut app, 110, 24));
    app.press(Key::Char('n'));
    assert_eq!(app.events_place.selected, 3);
    app.press(Key::Char('n'));
    app.press(Key::Char('n'));
    app.press(Key::Char('n'));
    assert_eq!(app.message.as_deref(), Some("no more differences that way"));
    app.press(Key::Char('g'));
    app.press(Key::Char('n'));
    assert_eq!(app.events_place.selected, 2);
}

#[test]
fn the_filter_keeps_what_has_all_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut app = app(&[log(
        dir.path(),
        "l",
        &[("one", CALLS), ("two", "{\"t\":\"ask\"}\n")],
    )]);
    app.press(Key::Char('/'));
    for c in "OPEN t".chars() {
        app.press(Key::Char(c));
    }
    assert_eq!(app.shown.len(), 1);
    app.press(Key::Open);
    assert!(!app.is_filtering);
    app.press(Key::Open);
    assert_eq!(app.run.as_ref().unwrap().key, "two");
    app.press(Key::Back);
    app.press(Key::Back);
    assert_eq!(app.shown.len(), 2, "back clears the filter");
}

#[test]
fn every_size_of_the_terminal_can_be_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let hostile = "{\"t\":\"\\u001b[2J\\u202e\",\"q\":\"\\u001b]0;x\\u0007\"}\n".repeat(50);
    let a = log(dir.path(), "a", &[("k", &hostile)]);
    let b = log(dir.path(), "b", &[("k", OTHERS)]);
    for logs in [vec![a.clone()], vec![a, b]] {
        for (width, height) in [(1, 1), (2, 3), (20, 5), (80, 24), (200, 60), (300, 2)] {
            let mut app = app(&logs);
            for keys in ["", "?", "?l", "G", "l", "G?"] {
                for key in keys.chars() {
                    app.press(Key::Char(key));
                }
                let drawn = screen(&mut app, width, height);
                assert!(!drawn.contains('\u{1b}'), "an escape reaches the terminal");
                app.press(Key::PageDown);
            }
        }
    }
}
