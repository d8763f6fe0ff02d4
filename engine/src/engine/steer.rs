//! Bringing runs events, and steering them: those that nobody drives, and those that this process does.

use super::{Begun, Engine, LOOK_EVERY};
use crate::error::Error;
use crate::history;
use crate::machine::{self, Answer};
use crate::run::{Run, stream};
use crate::value::{self, Value};
use aos_format::digest::RunId;
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_store::Ticket;
use std::collections::BTreeSet;

/// What bringing a run an event, or steering it, led to.
#[derive(Clone, Debug)]
pub enum Signalled {
    /// It is on record; durable when the ticket is.
    Taken(Ticket),
    /// It was on record before, or the run is in that state: nothing was written.
    Already,
    /// The run does not wait for such an event now.
    NotWanted,
}

/// Something for a run that is being driven, and where to say what became of it.
#[derive(Debug)]
pub(super) struct Letter {
    answer: Answer,
    reply: crossbeam::channel::Sender<Result<Signalled, Error>>,
}

impl Engine {
    /// Whether somebody suspended the run, as its records say.
    ///
    /// # Errors
    /// [`Error::History`], [`Error::Store`].
    pub fn is_suspended(&self, run: RunId) -> Result<bool, Error> {
        let records = self.shared.log.stream(stream(run), 1)?;
        let signals = records
            .iter()
            .rev()
            .filter(|r| r.kind() == Some(Kind::Signal));
        for record in signals {
            let event =
                history::read_event(record).map_err(|source| Error::History { run, source })?;
            if let Event::Signal(signal) = event {
                match signal.signal_type.as_str() {
                    "aos.suspend" => return Ok(true),
                    "aos.resume" => return Ok(false),
                    _ => {}
                }
            }
        }
        Ok(false)
    }

    /// Whether a run has an event of this source and id on record, which CloudEvents make one event.
    fn has_event(&self, run: RunId, event: &Value) -> Result<bool, Error> {
        let name = |key| value::member(event.val(), key).and_then(value::as_text);
        let (source, id) = (name("source"), name("id"));
        for record in self.shared.log.stream(stream(run), 1)? {
            if record.kind() != Some(Kind::Signal) {
                continue;
            }
            let signal =
                history::read_event(&record).map_err(|source| Error::History { run, source })?;
            if matches!(&signal, Event::Signal(s) if source == Some(&s.source) && id == Some(&s.id))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Brings a run an event, or steers it: what is taken is on record, and the run goes no further; resume it. What is on
    /// record already is not taken twice: an event of the same source and id, or the suspension of a suspended run. What the
    /// steps of a cancelled run began is cancelled with it.
    ///
    /// # Errors
    /// [`Error::NotHeld`] when the run has ended or is being driven; the errors of [`Engine::resume`].
    pub fn signal(&self, run: RunId, answer: Answer) -> Result<Signalled, Error> {
        let not_held = |why: &str| Error::NotHeld {
            run,
            step: String::new(),
            why: why.into(),
        };
        let mut driven = match self.resume(run)? {
            Begun::Run(driven) => driven,
            Begun::Ended(_) => match &answer {
                // A run that has ended still knows what it took.
                Answer::Event { event, .. } if self.has_event(run, event)? => {
                    return Ok(Signalled::Already);
                }
                _ => return Err(not_held("the run has ended")),
            },
            Begun::InProgress(_) => return Err(not_held("the run is being driven")),
        };
        let within = match answer {
            Answer::Control(machine::Control::Cancel, _) => self.within(&driven)?,
            _ => Vec::new(),
        };
        let taken = self.hand(&mut driven, answer);
        self.release(run);
        if let Ok(Signalled::Taken(ticket)) = &taken
            && !within.is_empty()
        {
            // First the caller: its record says why.
            self.shared.log.wait(ticket.clone())?;
            within
                .into_iter()
                .try_for_each(|run| self.cancel_orphan(run))?;
        }
        taken
    }

    /// Hands a run what somebody brings it.
    fn hand(&self, run: &mut Run, answer: Answer) -> Result<Signalled, Error> {
        if let Answer::Event { event, .. } = &answer {
            if let Some(ticket) = run.ticket() {
                self.shared.log.wait(ticket)?;
            }
            if self.has_event(run.id(), event)? {
                return Ok(Signalled::Already);
            }
        }
        let idle = match answer {
            Answer::Control(machine::Control::Resume, _) => !run.machine().suspended(),
            Answer::Control(machine::Control::Suspend, _) => run.machine().suspended(),
            _ => false,
        };
        if idle {
            return Ok(Signalled::Already);
        }
        Ok(match run.deliver(answer)? {
            Some(ticket) => Signalled::Taken(ticket),
            None => Signalled::NotWanted,
        })
    }

    /// The same as [`Engine::signal`], for a run that this process may be driving: whoever does hands it over and the run
    /// goes on from it.
    ///
    /// # Errors
    /// As [`Engine::signal`].
    pub fn bring(&self, run: RunId, answer: Answer) -> Result<Signalled, Error> {
        loop {
            if !self.is_driven(run) {
                match self.signal(run, answer.clone()) {
                    // Somebody drives it since.
                    Err(Error::NotHeld { .. }) if self.is_driven(run) => {}
                    told => return told,
                }
            }
            let (reply, told) = crossbeam::channel::bounded(1);
            let letter = Letter {
                answer: answer.clone(),
                reply,
            };
            self.letters.lock().entry(run).or_default().push(letter);
            while self.is_driven(run) {
                match told.recv_timeout(LOOK_EVERY) {
                    Ok(told) => return told,
                    Err(crossbeam::channel::RecvTimeoutError::Timeout) => {}
                    Err(crossbeam::channel::RecvTimeoutError::Disconnected) => break,
                }
            }
            // It may have been read at the last moment; else it was left with the run.
            self.letters.lock().remove(&run);
            if let Ok(told) = told.try_recv() {
                return told;
            }
        }
    }

    pub(crate) fn is_driven(&self, run: RunId) -> bool {
        self.active.lock().contains_key(&run)
    }

    /// Runs that somebody brings something.
    pub(crate) fn lettered(&self) -> BTreeSet<RunId> {
        self.letters.lock().keys().copied().collect()
    }

    /// Hands a run what was brought for it.
    pub(crate) fn read_letters(&self, run: &mut Run) {
        let letters = self.letters.lock().remove(&run.id()).unwrap_or_default();
        for letter in letters {
            let told = match run.machine().ended() {
                Some(_) => Err(Error::NotHeld {
                    run: run.id(),
                    step: String::new(),
                    why: "the run has ended".into(),
                }),
                None => self.hand(run, letter.answer),
            };
            // Whoever asked may have gone.
            let _ = letter.reply.send(told);
        }
    }
}
