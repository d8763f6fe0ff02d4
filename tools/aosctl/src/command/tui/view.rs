//! Drawing.

use super::app::{App, Place, Screen};
use super::data::{Compared, EventLine, From, Line as Side, Mark};
use crate::output::printable;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

/// From this width on the event stands beside the timeline.
const WIDE: u16 = 110;

const SOFT: Style = Style::new().fg(Color::DarkGray);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);
const SIDE_A: Style = Style::new().fg(Color::Blue);
const SIDE_B: Style = Style::new().fg(Color::Yellow);

/// Draws what there is to see, whatever the size of the terminal.
pub fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let [title, body, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(heading(app), title);
    match app.screen {
        Screen::Runs => runs(frame, app, body),
        Screen::Timeline if body.width >= WIDE && !app.data.is_pair() => {
            let [left, right] =
                Layout::horizontal([Constraint::Percentage(52), Constraint::Fill(1)]).areas(body);
            timeline(frame, app, left);
            detail(frame, app, right, Borders::LEFT);
        }
        Screen::Timeline if app.data.is_pair() && body.height >= 16 => {
            let [top, bottom] =
                Layout::vertical([Constraint::Percentage(60), Constraint::Fill(1)]).areas(body);
            timeline(frame, app, top);
            detail(frame, app, bottom, Borders::TOP);
        }
        Screen::Timeline => timeline(frame, app, body),
        Screen::Event => detail(frame, app, body, Borders::NONE),
    }
    frame.render_widget(key_line(app), keys);
    if app.is_help {
        help(frame);
    }
}

fn heading(app: &App) -> Paragraph<'static> {
    let mut spans = vec![
        Span::styled(" aos ", BOLD.add_modifier(Modifier::REVERSED)),
        Span::raw(" "),
        Span::styled(printable(&app.data.title()), BOLD),
    ];
    match (&app.screen, &app.run) {
        (Screen::Runs, _) | (_, None) => {
            let count = match app.shown.len() == app.runs.len() {
                true => format!("  {} runs", app.runs.len()),
                false => format!("  {} of {} runs", app.shown.len(), app.runs.len()),
            };
            spans.push(Span::styled(count, SOFT));
        }
        (_, Some(run)) => {
            let text = format!("  {}  {}  {}", run.key, run.workflow, run.status);
            spans.push(Span::styled(printable(&text), SOFT));
        }
    }
    Paragraph::new(Line::from(spans))
}

fn key_line(app: &App) -> Paragraph<'static> {
    if app.is_filtering {
        let text = format!(" /{}▏", printable(&app.filter));
        return Paragraph::new(Line::from(Span::styled(text, BOLD)));
    }
    if let Some(message) = &app.message {
        let style = Style::new().fg(Color::Red);
        return Paragraph::new(Line::from(Span::styled(
            format!(" {}", printable(message)),
            style,
        )));
    }
    let mut spans = vec![Span::raw(" ")];
    for (key, what) in app.keys() {
        spans.push(Span::styled(*key, BOLD));
        spans.push(Span::styled(format!(" {what}   "), SOFT));
    }
    if let Some(finding) = app.data.finding() {
        spans.push(Span::styled(
            printable(&finding),
            Style::new().fg(Color::Red),
        ));
    }
    Paragraph::new(Line::from(spans))
}

/// Moves the first line in sight so that the selected one is.
fn in_sight(place: &mut Place, height: usize) {
    let height = height.max(1);
    place.top = place
        .top
        .clamp((place.selected + 1).saturating_sub(height), place.selected);
}

fn runs(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let is_pair = app.data.is_pair();
    let columns = |run: &str, key: &str, status: &str, events: &str, workflow: &str, pair: &str| {
        let pair = if is_pair {
            format!("{pair:<11}")
        } else {
            String::new()
        };
        format!(" {pair}{run:<14}{key:<28}{status:<11}{events:>9}  {workflow}")
    };
    let titles = columns("RUN", "KEY", "STATUS", "EVENTS", "WORKFLOW", "");
    frame.render_widget(Paragraph::new(Line::from(Span::styled(titles, SOFT))), head);
    app.page = body.height.into();
    in_sight(&mut app.runs_place, body.height.into());
    let place = app.runs_place;
    let shown = app.shown.iter().enumerate().skip(place.top);
    let lines: Vec<Line<'_>> = shown
        .take(body.height.into())
        .map(|(at, index)| {
            let run = &app.runs[*index];
            let text = columns(
                &run.id.to_string()[..12],
                &short(&run.key, 26),
                run.status,
                &run.events.to_string(),
                &printable(&run.workflow),
                run.compared.map_or("", Compared::name),
            );
            let colour = match run.compared {
                Some(Compared::Differs) => Style::new().fg(Color::Red),
                Some(Compared::OnlyA) => SIDE_A,
                Some(Compared::OnlyB) => SIDE_B,
                _ => status(run.status),
            };
            Line::styled(
                text,
                if at == place.selected {
                    SELECTED
                } else {
                    colour
                },
            )
        })
        .collect();
    let nothing = lines.is_empty();
    frame.render_widget(Paragraph::new(lines), body);
    if nothing {
        frame.render_widget(Paragraph::new(Span::styled(" no runs", SOFT)), body);
    }
}

fn status(name: &str) -> Style {
    match name {
        "faulted" | "cancelled" => Style::new().fg(Color::Red),
        "held" => Style::new().fg(Color::Yellow),
        "open" | "waiting" => Style::new().fg(Color::Cyan),
        _ => Style::new(),
    }
}

/// At most `width` characters, of what can be shown.
fn short(text: &str, width: usize) -> String {
    let text = printable(text);
    match text.char_indices().nth(width) {
        None => text,
        Some(_) => {
            let kept: String = text.chars().take(width.saturating_sub(1)).collect();
            format!("{kept}…")
        }
    }
}

fn timeline(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    app.page = area.height.into();
    in_sight(&mut app.events_place, area.height.into());
    let place = app.events_place;
    let width = usize::from(area.width);
    let is_pair = app.data.is_pair();
    let shown = app.events.iter().enumerate().skip(place.top);
    let lines: Vec<Line<'_>> = shown
        .take(area.height.into())
        .map(|(at, event)| {
            let line = if is_pair {
                pair_line(event, width)
            } else {
                single_line(event, width)
            };
            if at == place.selected {
                line.style(SELECTED)
            } else {
                line
            }
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn single_line(event: &EventLine, width: usize) -> Line<'static> {
    let Some(side) = &event.a else {
        return Line::default();
    };
    let digest = side
        .digest
        .map_or(String::new(), |d| d.hex()[..8].to_owned());
    let head = format!("{:>7}  {:<10} {digest:<8}  ", side.seq, side.kind);
    let rest = width.saturating_sub(head.chars().count() + 1);
    Line::from(vec![
        Span::styled(head, kind(side.kind)),
        Span::raw(short(&told(side), rest)),
    ])
}

/// Step and what happened.
fn told(side: &Side) -> String {
    match side.activation.as_str() {
        "" => side.what.clone(),
        activation => format!("{activation}  {}", side.what),
    }
}

fn kind(name: &str) -> Style {
    match name {
        "START" | "END" => BOLD,
        "INTENT" | "RESULT" | "SIGNAL" | "DECISION" => Style::new().fg(Color::Cyan),
        "CHECKPOINT" | "MARK" => SOFT,
        _ => Style::new(),
    }
}

fn pair_line(event: &EventLine, width: usize) -> Line<'static> {
    let (sign, style) = match event.mark {
        Mark::Single | Mark::Equal => (" ", Style::new()),
        Mark::Follows => ("·", SOFT),
        Mark::Modified => ("≠", Style::new().fg(Color::Red)),
        Mark::OnlyA => ("−", SIDE_A),
        Mark::OnlyB => ("+", SIDE_B),
    };
    let half = width.saturating_sub(3) / 2;
    let cell = |side: &Option<Side>| {
        let text = side.as_ref().map_or(String::new(), |side| {
            format!("{:>6} {:<10} {}", side.seq, side.kind, told(side))
        });
        format!("{:<half$}", short(&text, half.saturating_sub(1)))
    };
    Line::from(vec![
        Span::styled(format!("{sign} "), style.add_modifier(Modifier::BOLD)),
        Span::styled(cell(&event.a), style),
        Span::styled("│", SOFT),
        Span::styled(cell(&event.b), style),
    ])
}

fn detail(frame: &mut Frame<'_>, app: &mut App, area: Rect, borders: Borders) {
    let block = Block::new().borders(borders).border_style(SOFT);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if app.screen == Screen::Event {
        app.page = inner.height.into();
    }
    let lines: Vec<Line<'_>> = app
        .detail
        .lines
        .iter()
        .skip(app.detail_top)
        .take(inner.height.into())
        .map(|line| {
            let (sign, style) = match line.from {
                From::Both => (" ", Style::new()),
                From::A => ("A", SIDE_A),
                From::B => ("B", SIDE_B),
            };
            let text = printable(&line.text);
            match text
                .split_once(": ")
                .filter(|(name, _)| !name.starts_with(' '))
            {
                Some((name, rest)) if line.from == From::Both => Line::from(vec![
                    Span::raw("  "),
                    Span::styled(format!("{name}: "), SOFT),
                    Span::raw(rest.to_owned()),
                ]),
                _ => Line::styled(format!("{sign} {text}"), style),
            }
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}

fn help(frame: &mut Frame<'_>) {
    let text = [
        ("↑ ↓  j k", "one line"),
        ("page up, page down, space", "one page"),
        ("home g, end G", "first, last"),
        ("enter → l", "open: run, event"),
        ("esc ← h", "back"),
        ("/", "filter runs by key, id, workflow, status"),
        ("n p", "next and previous difference of two logs"),
        ("q, ctrl-c", "quit"),
    ];
    let lines: Vec<Line<'_>> = text
        .into_iter()
        .map(|(key, what)| {
            Line::from(vec![
                Span::styled(format!(" {key:<26}"), BOLD),
                Span::raw(what),
            ])
        })
        .collect();
    let area = frame.area();
    let [row] = Layout::vertical([Constraint::Length(text.len() as u16 + 2)])
        .flex(ratatui::layout::Flex::Center)
        .areas(area);
    let [middle] = Layout::horizontal([Constraint::Length(72)])
        .flex(ratatui::layout::Flex::Center)
        .areas(row);
    frame.render_widget(Clear, middle);
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" keys ")),
        middle,
    );
}
