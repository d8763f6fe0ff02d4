//! `aosctl tui`: runs, timelines, events and the difference of two runs, on a terminal.
//!
//! [`app`] is what is shown and what keys do, without a terminal; [`view`] draws it; this file reads keys. Nothing is written.

pub mod app;
mod data;
mod view;

use crate::exit::Exit;
use crate::failure::{self, Failure};
use app::{App, Key};
use clap::Args;
use data::Data;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::io::{self, IsTerminal};
use std::path::PathBuf;

/// `tui`
#[derive(Args, Debug)]
#[command(after_help = "\
Keys stand on the last line; q ends it. Nothing is written to either log.

  aosctl tui orders.aos
  aosctl tui good.aos bad.aos --run 173702")]
pub struct Tui {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Another log: the same run in both, side by side
    #[arg(value_name = "OTHER")]
    pub other: Option<PathBuf>,
    /// Begin with this run: its id, the first 6 or more digits of it, or its key
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
}

/// Shows a log, or two, until somebody quits.
///
/// # Errors
/// [`failure::NO_TERMINAL`]; those of reading the logs.
pub fn tui(args: &Tui) -> Result<Exit, Failure> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::new(
            failure::NO_TERMINAL,
            Exit::Usage,
            "standard input and output must be a terminal",
        )
        .next(format!("aosctl runs {}", failure::argument(&args.log))));
    }
    // Everything that can be wrong with the logs is said before the screen changes.
    let mut app = App::new(Data::open(&args.log, args.other.as_deref())?);
    if let Some(run) = &args.run {
        app.begin_with(run)?;
    }
    // Also gives the terminal back when something panics.
    let mut terminal = ratatui::try_init().map_err(|error| screen(&error))?;
    let ended = show(&mut terminal, &mut app);
    let restored = ratatui::try_restore().map_err(|error| screen(&error));
    ended.and(restored).map(|()| Exit::Yes)
}

fn show(terminal: &mut DefaultTerminal, app: &mut App) -> Result<(), Failure> {
    while !app.is_over() {
        terminal
            .draw(|frame| view::draw(frame, app))
            .map_err(|error| screen(&error))?;
        // A change of size is an event too, and draws again.
        if let Event::Key(pressed) = event::read().map_err(|error| screen(&error))?
            && let Some(key) = key(pressed)
        {
            app.press(key);
        }
    }
    Ok(())
}

fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    let control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char('c' | 'd') if control => Key::Quit,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Back,
        KeyCode::Right | KeyCode::Enter => Key::Open,
        KeyCode::Esc => Key::Back,
        KeyCode::Backspace => Key::Erase,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::First,
        KeyCode::End => Key::Last,
        _ => return None,
    })
}

fn screen(error: &io::Error) -> Failure {
    Failure::new(
        failure::OUTPUT,
        Exit::Environment,
        format!("the terminal failed: {error}"),
    )
    .place("the terminal")
}

#[cfg(test)]
mod tests;
