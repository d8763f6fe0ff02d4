//! Resources: what runs of a log share. Each is a stream of DECISION records with a chain of its own.
//!
//! A key-value space is one. A put is appended to it and durable before the run that asked for it is told; the run's RESULT
//! names the record by its number. A get is answered from the fold of the stream, and what it answered is in the run's RESULT
//! too: replay reads that and never the stream.
//!
//! ```text
//! DECISION in stream SHA-256("aos.resource.v1" ‖ lp("kv") ‖ lp(space))[..16]
//!   subject "kv" · rule "kv.put" · version 1 · verdict "put" or "delete" · actor: wire key of the effect, without its log
//!   inputs {"key"} · value: what is put
//! ```
//!
//! The wire key makes a put that a crash left unanswered happen once: made again, it finds its own record. Salts are derived
//! from the log, the stream and the number: they keep equal values apart, but hide nothing from somebody who has the log's id.

use crate::clock::Clock;
use crate::error::Error;
use crate::history::{HistoryError, read_event};
use crate::run::LogValues;
use crate::skill::Rate;
use crate::value::{Value, as_text, member, object, text};
use aos_format::digest::{Digest, LogId, RunId};
use aos_format::event::{Decision, Event, VALUE_JSON, ValueRef, slot_of};
use aos_format::frame::Kind;
use aos_format::record::{Draft, DraftValue, Stored, StreamId, StreamKind};
use aos_store::{Append, Log, StoredRecord};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The resources of one log.
#[derive(Debug)]
pub struct Resources {
    log: Arc<Log>,
    log_id: LogId,
    spaces: Mutex<BTreeMap<String, Space>>,
    /// When calls of skills that have a rate began, of those that still count; oldest first.
    calls: Mutex<BTreeMap<String, VecDeque<i64>>>,
}

/// The fold of a key-value space, and the end of its chain.
#[derive(Debug, Default)]
struct Space {
    head: Digest,
    lane_seq: u64,
    seq: u64,
    entries: BTreeMap<String, Entry>,
    /// Numbers of the records by the wire keys that made them.
    made: BTreeMap<String, u64>,
}

/// A value in a key-value space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// Number of its record in the stream of the space.
    pub version: u64,
}

/// The stream of a key-value space.
pub fn kv_stream(space: &str) -> StreamId {
    let digest = Digest::labelled("aos.resource.v1", &[b"kv", space.as_bytes()]);
    let mut id = [0; 16];
    id.copy_from_slice(&digest.0[..16]);
    StreamId {
        kind: StreamKind::Resource,
        id,
    }
}

impl Resources {
    /// The resources of `log`.
    pub fn new(log: Arc<Log>) -> Resources {
        Resources {
            log_id: log.identity().log_id,
            log,
            spaces: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    /// Whether a call of `skill` that begins at `now_ns` keeps to its rate; it then counts.
    ///
    /// A log has one writer, so what this process began is all there is, but for what an earlier one began just before. That
    /// a call was refused is in the RESULT of its step, so replay need not know.
    pub(crate) fn admit(&self, skill: &str, rate: Rate, now_ns: i64) -> bool {
        let window = i64::try_from(rate.window_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        let mut calls = self.calls.lock();
        let calls = calls.entry(skill.to_owned()).or_default();
        // A clock that was set back lets nothing stay for ever.
        calls.retain(|begun| (0..window).contains(&now_ns.saturating_sub(*begun)));
        let fits = (calls.len() as u64) < rate.calls;
        if fits {
            calls.push_back(now_ns);
        }
        fits
    }

    /// What a space holds under `key`.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::History`] when the stream cannot be read.
    pub fn kv_get(&self, space: &str, key: &str) -> Result<Option<Entry>, Error> {
        self.with(space, |_, state| Ok(state.entries.get(key).cloned()))
    }

    /// Puts `value` under `key`, or takes it away; returns the number of the record. The same `wire_key` does it once.
    ///
    /// # Errors
    /// As [`Resources::kv_get`].
    pub fn kv_put(
        &self,
        space: &str,
        key: &str,
        value: Option<&Value>,
        wire_key: &str,
    ) -> Result<u64, Error> {
        // The log is this one: its id adds nothing, and would differ in a copy.
        let actor = wire_key.split('@').next().unwrap_or_default();
        self.with(space, |resources, state| {
            if let Some(version) = state.made.get(actor) {
                return Ok(*version);
            }
            resources.append(space, state, key, value, actor)
        })
    }

    /// Does `work` with the fold of a space, read from its stream the first time. A space whose append failed is read again.
    fn with<T>(
        &self,
        space: &str,
        work: impl FnOnce(&Resources, &mut Space) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut spaces = self.spaces.lock();
        if !spaces.contains_key(space) {
            spaces.insert(space.to_owned(), self.fold(space)?);
        }
        let state = spaces.entry(space.to_owned()).or_default();
        let done = work(self, state);
        if done.is_err() {
            spaces.remove(space);
        }
        done
    }

    fn fold(&self, space: &str) -> Result<Space, Error> {
        let mut state = Space::default();
        for record in self.log.stream(kv_stream(space), 1)? {
            self.take(&mut state, &record)
                .map_err(|source| Error::History {
                    run: RunId([0; 16]),
                    source,
                })?;
        }
        Ok(state)
    }

    fn take(&self, state: &mut Space, record: &StoredRecord) -> Result<(), HistoryError> {
        let view = record.view()?;
        state.seq = record.seq();
        state.lane_seq = view.lane_seq();
        state.head = view.digest();
        let Event::Decision(decision) = read_event(record)? else {
            return Ok(());
        };
        let values = LogValues(&self.log);
        let value = |field| crate::history::recorded_value(&values, record, Kind::Decision, field);
        let inputs = value("inputs")?;
        let key = member(inputs.val(), "key")
            .and_then(as_text)
            .unwrap_or_default();
        let version = record.seq();
        match decision.verdict.as_str() {
            "put" => {
                let value = value("value")?;
                state
                    .entries
                    .insert(key.to_owned(), Entry { value, version });
            }
            _ => {
                state.entries.remove(key);
            }
        }
        state.made.insert(decision.actor, version);
        Ok(())
    }

    fn append(
        &self,
        space: &str,
        state: &mut Space,
        key: &str,
        value: Option<&Value>,
        actor: &str,
    ) -> Result<u64, Error> {
        let stream = kv_stream(space);
        let seq = state.seq + 1;
        let inputs =
            Value::from_val(&object([("key", text(key))])).map_err(|e| Error::TooLarge {
                run: RunId([0; 16]),
                step: format!("kv_put: {e}"),
                len: key.len() as u64,
                limit: crate::machine::value_limit(self.log.identity().stride),
            })?;
        let mut values = Vec::new();
        let mut name = |field: &str, value: &Value| {
            let slot = slot_of(Kind::Decision, field).expect("the kind's table has this slot");
            let salt = self.salt(stream, seq, slot);
            values.push(DraftValue {
                slot,
                len: value.canonical().len() as u32,
                salt,
                stored: Stored::Here(value.shared()),
            });
            ValueRef::of(VALUE_JSON, &salt, value.canonical())
        };
        let (inputs, put) = (
            name("inputs", &inputs),
            value.map(|value| name("value", value)),
        );
        let event = Event::Decision(Decision {
            activation: String::new(),
            subject: "kv".into(),
            rule: "kv.put".into(),
            rule_version: 1,
            inputs: Some(inputs),
            verdict: if put.is_some() { "put" } else { "delete" }.into(),
            value: put,
            actor: actor.into(),
            key_id: String::new(),
        });
        let det = event.encode(&state.head);
        let head = Digest::of(&det);
        let draft = Draft {
            lane_seq: state.lane_seq + 1,
            wall_ns: Clock::wall_ns(),
            values,
            ..Draft::new(stream, det)
        };
        let append = Append {
            draft,
            kind: Kind::Decision,
            seq,
        };
        let ticket = self.log.append_batch(vec![append])?;
        self.log.wait(ticket)?;
        (state.head, state.lane_seq, state.seq) = (head, state.lane_seq + 1, seq);
        match value {
            Some(value) => {
                let entry = Entry {
                    value: value.clone(),
                    version: seq,
                };
                state.entries.insert(key.to_owned(), entry);
            }
            None => {
                state.entries.remove(key);
            }
        }
        state.made.insert(actor.to_owned(), seq);
        Ok(seq)
    }

    fn salt(&self, stream: StreamId, seq: u64, slot: u8) -> [u8; 16] {
        let digest = Digest::labelled(
            "aos.resource-salt.v1",
            &[&self.log_id.0, &stream.id, &seq.to_le_bytes(), &[slot]],
        );
        let mut salt = [0; 16];
        salt.copy_from_slice(&digest.0[..16]);
        salt
    }
}
