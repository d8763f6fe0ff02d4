//! `aosctl bisect`

use super::diff::Opened;
use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::output::{Cell, Object, Output};
use aos_engine::expr::Expr;
use aos_engine::value::{Val, Value};
use aos_replay::Error;
use aos_replay::diff::{Bisected, EventRef, bisect as search};
use clap::Args;

/// Characters of a state that a terminal shows.
const STATE_CHARS_MAX: usize = 300;

/// `bisect`
#[derive(Args, Debug)]
#[command(after_help = "\
The expression sees the state folded up to an event: .data (what the last step gave), .context, .input
and .event (kind, activation, number, outcome, response). It is taken to stay false once it is.

  aosctl bisect orders.aos order-7 --test '.data.total >= 0'")]
pub struct Bisect {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: String,
    /// Run: its id, the first 6 or more digits of it, or its key
    #[arg(value_name = "RUN")]
    pub run: String,
    /// What should hold, a jq expression over the state
    #[arg(long, value_name = "JQ")]
    pub test: String,
}

/// Finds the first event of a run after which something no longer holds.
///
/// # Errors
/// Those of reading the log; an expression that cannot be evaluated.
pub fn bisect(args: &Bisect, out: &mut Output) -> Result<Exit, Failure> {
    let test = Expr::compile(&args.test, &[]).map_err(|error| {
        Failure::new(error.code(), Exit::Usage, format!("--test: {error}"))
            .place(format!("--test {}", failure::quoted(&args.test)))
            .next("--test '.data.total >= 0', any jq expression over the state")
    })?;
    let opened = Opened::open(&args.log)?;
    let input = opened.input(false, host::cores())?;
    let run = opened.find(&input, &args.run)?;
    let mut holds = |state: &Value| match test.eval(state.val(), &|_| Val::Null, None) {
        Ok(val) => Ok(!matches!(val, Val::Null | Val::Bool(false))),
        Err(error) => Err(Error::Unusable {
            what: format!("the test: {error}"),
        }),
    };
    let found = search(&input, run, &mut holds).map_err(failure::replay(&opened.named.path))?;
    let mut shown = found.clone();
    if out.form() == Form::Table {
        out.line(&headline(&found))?;
        for state in [&mut shown.good_state, &mut shown.bad_state]
            .into_iter()
            .flatten()
        {
            if let Some((at, _)) = state.char_indices().nth(STATE_CHARS_MAX) {
                state.truncate(at);
                state.push('…');
            }
        }
    }
    out.object(&object(&shown))?;
    Ok(if found.bad.is_some() {
        Exit::No
    } else {
        Exit::Yes
    })
}

fn headline(found: &Bisected) -> String {
    match &found.bad {
        None => format!("holds after all {} events", found.events),
        Some(bad) => format!(
            "no longer holds after {} {}, event {}",
            bad.kind, bad.activation, bad.lane_seq
        ),
    }
}

fn object(found: &Bisected) -> Object {
    let event = |event: &Option<EventRef>| {
        event.as_ref().map(|event| {
            Object::new()
                .with("event", event.lane_seq)
                .with("offset", event.offset)
                .with("kind", event.kind.as_str())
                .with("activation", event.activation.as_str())
        })
    };
    let json = |text: &Option<String>| text.clone().map_or(Cell::Null, Cell::Json);
    Object::new()
        .with("events", found.events)
        .with("good", event(&found.good))
        .with("good_state", json(&found.good_state))
        .with("bad", event(&found.bad))
        .with("bad_state", json(&found.bad_state))
        .with("tests", found.tests)
        .with("reads", found.reads)
}
