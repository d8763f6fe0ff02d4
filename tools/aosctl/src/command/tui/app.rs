//! What is shown, and what keys do.

use super::data::{Data, Detail, EventLine, RunLine};
use crate::failure::Failure;

/// A key, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Open,
    Back,
    Erase,
    Quit,
}

/// Which screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Screen {
    /// The runs of the log.
    Runs,
    /// The events of a run, one or two sides.
    Timeline,
    /// One event with its fields and values.
    Event,
}

/// A list with a selected line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    pub selected: usize,
    /// First line in sight; the view moves it.
    pub top: usize,
}

impl Place {
    fn to(&mut self, line: usize, count: usize) {
        self.selected = line.min(count.saturating_sub(1));
    }
}

/// The state of the screen.
pub struct App {
    pub data: Data,
    pub screen: Screen,
    pub runs: Vec<RunLine>,
    /// Indices into `runs` that the filter lets pass.
    pub shown: Vec<usize>,
    pub filter: String,
    pub is_filtering: bool,
    pub runs_place: Place,
    pub run: Option<RunLine>,
    pub events: Vec<EventLine>,
    pub events_place: Place,
    pub detail: Detail,
    /// First line of the detail in sight.
    pub detail_top: usize,
    /// Lines that the list and the detail had room for when they were drawn last.
    pub page: usize,
    /// What went wrong last, for the status line.
    pub message: Option<String>,
    pub is_help: bool,
    over: bool,
}

impl App {
    pub fn new(data: Data) -> App {
        let runs = data.runs();
        App {
            data,
            screen: Screen::Runs,
            shown: (0..runs.len()).collect(),
            runs,
            filter: String::new(),
            is_filtering: false,
            runs_place: Place::default(),
            run: None,
            events: Vec::new(),
            events_place: Place::default(),
            detail: Detail::default(),
            detail_top: 0,
            page: 10,
            message: None,
            is_help: false,
            over: false,
        }
    }

    /// Opens the run of that name.
    ///
    /// # Errors
    /// No such run, or several.
    pub fn begin_with(&mut self, name: &str) -> Result<(), Failure> {
        let run = self.data.find(name)?;
        if let Some(at) = self.runs.iter().position(|line| line.id == run) {
            self.runs_place.to(at, self.runs.len());
            self.open_run(at);
        }
        Ok(())
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Does what a key says.
    pub fn press(&mut self, key: Key) {
        self.message = None;
        if self.is_help {
            self.is_help = false;
            self.over |= key == Key::Quit;
            return;
        }
        if self.is_filtering {
            return self.type_filter(key);
        }
        match key {
            Key::Quit | Key::Char('q') => self.over = true,
            Key::Char('?') => self.is_help = true,
            Key::Char('/') if self.screen == Screen::Runs => self.is_filtering = true,
            Key::Char('n') if self.screen == Screen::Timeline => self.difference(true),
            Key::Char('p') if self.screen == Screen::Timeline => self.difference(false),
            Key::Up | Key::Char('k') => self.go(-1),
            Key::Down | Key::Char('j') => self.go(1),
            Key::PageUp => self.go(-(self.page.max(1) as isize)),
            Key::PageDown | Key::Char(' ') => self.go(self.page.max(1) as isize),
            Key::First | Key::Char('g') => self.go(isize::MIN),
            Key::Last | Key::Char('G') => self.go(isize::MAX),
            Key::Open | Key::Char('l') => self.open(),
            Key::Back | Key::Erase | Key::Char('h') => self.back(),
            Key::Char(_) => {}
        }
    }

    fn type_filter(&mut self, key: Key) {
        match key {
            Key::Char(c) => self.filter.push(c),
            Key::Erase => {
                self.filter.pop();
            }
            Key::Back => {
                self.filter.clear();
                self.is_filtering = false;
            }
            Key::Open => self.is_filtering = false,
            Key::Quit => self.over = true,
            _ => {}
        }
        let words = self.filter.to_lowercase();
        self.shown = (0..self.runs.len())
            .filter(|at| self.runs[*at].has(&words))
            .collect();
        let selected = self.runs_place.selected;
        self.runs_place.to(selected, self.shown.len());
    }

    fn go(&mut self, by: isize) {
        match self.screen {
            Screen::Runs => {
                let to = self.runs_place.selected.saturating_add_signed(by);
                self.runs_place.to(to, self.shown.len());
            }
            Screen::Timeline => {
                let to = self.events_place.selected.saturating_add_signed(by);
                self.select_event(to);
            }
            Screen::Event => {
                let last = self.detail.lines.len().saturating_sub(1);
                self.detail_top = self.detail_top.saturating_add_signed(by).min(last);
            }
        }
    }

    fn open(&mut self) {
        match self.screen {
            Screen::Runs => {
                if let Some(at) = self.shown.get(self.runs_place.selected) {
                    self.open_run(*at);
                }
            }
            Screen::Timeline if !self.events.is_empty() => {
                self.screen = Screen::Event;
                self.detail_top = 0;
            }
            Screen::Timeline | Screen::Event => {}
        }
    }

    fn open_run(&mut self, at: usize) {
        let run = self.runs[at].clone();
        match self.data.events(&run) {
            Ok(events) => {
                self.events = events;
                self.run = Some(run);
                self.screen = Screen::Timeline;
                self.events_place = Place::default();
                let first = self.events.iter().position(EventLine::differs);
                self.select_event(first.unwrap_or(0));
            }
            Err(failure) => self.message = Some(failure.message),
        }
    }

    fn back(&mut self) {
        match self.screen {
            Screen::Runs if !self.filter.is_empty() => {
                self.filter.clear();
                self.type_filter(Key::Open);
            }
            Screen::Runs => {}
            Screen::Timeline => self.screen = Screen::Runs,
            Screen::Event => self.screen = Screen::Timeline,
        }
    }

    fn select_event(&mut self, at: usize) {
        self.events_place.to(at, self.events.len());
        self.detail_top = 0;
        let Some(line) = self.events.get(self.events_place.selected) else {
            self.detail = Detail::default();
            return;
        };
        match self.data.detail(line) {
            Ok(detail) => self.detail = detail,
            Err(failure) => {
                self.detail = Detail::default();
                self.message = Some(failure.message);
            }
        }
    }

    /// To the next line that differs, or the one before.
    fn difference(&mut self, forward: bool) {
        let here = self.events_place.selected;
        let found = if forward {
            (here + 1..self.events.len()).find(|at| self.events[*at].differs())
        } else {
            (0..here).rev().find(|at| self.events[*at].differs())
        };
        match found {
            Some(at) => self.select_event(at),
            None => self.message = Some("no more differences that way".into()),
        }
    }

    /// What keys do here, for the last line.
    pub fn keys(&self) -> &'static [(&'static str, &'static str)] {
        if self.is_filtering {
            return &[("type", "filter"), ("enter", "keep"), ("esc", "clear")];
        }
        match self.screen {
            Screen::Runs => &[
                ("↑↓", "move"),
                ("enter", "open"),
                ("/", "filter"),
                ("?", "help"),
                ("q", "quit"),
            ],
            Screen::Timeline if self.data.is_pair() => &[
                ("↑↓", "move"),
                ("n p", "differences"),
                ("enter", "event"),
                ("esc", "runs"),
                ("?", "help"),
                ("q", "quit"),
            ],
            Screen::Timeline => &[
                ("↑↓", "move"),
                ("enter", "event"),
                ("esc", "runs"),
                ("?", "help"),
                ("q", "quit"),
            ],
            Screen::Event => &[("↑↓", "scroll"), ("esc", "timeline"), ("q", "quit")],
        }
    }
}
