//! From foreign runs to records.
//!
//! The whole chain of a run is made first, in memory: it depends on nothing in the log. Then it is held against what the
//! log has under the same key. One is the beginning of the other: what is missing is appended. Anything else is a conflict,
//! and nothing is written. So a crash in the middle of an import leaves a beginning, which the next import completes.

use crate::error::{Error, Place};
use crate::json::Json;
use crate::{ForeignEvent, ForeignRun, Importer};
use aos_format::digest::{Digest, RunId};
use aos_format::event::{self, Event, VALUE_BYTES, VALUE_JSON, ValueRef, slot_of};
use aos_format::frame::Kind;
use aos_format::record::{
    Draft, DraftValue, Stored, StreamId, VOLATILE_EXTENSION, VOLATILE_FOREIGN, VOLATILE_FOREIGN_ID,
    VOLATILE_GENERATION, VOLATILE_KEY, Volatile,
};
use aos_store::{Append, Log, StoredRecord};

/// Media of the DEFINITION that holds an importer's rules.
const MEDIA: &str = "import";
/// Behaviour flag of an imported run: no engine that does not know it will run it.
const FLAG: &str = "imported";
/// Salt of foreign values: two imports of equal events have equal digests.
const SALT: [u8; 16] = [0; 16];

/// What an import of one run did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// The run.
    pub run: RunId,
    /// Its key.
    pub key: String,
    /// Whether it is new.
    pub state: State,
    /// Events in the file.
    pub events: u64,
    /// Records appended.
    pub appended: u64,
    /// Events that count the same but whose bytes differ from those in the log, which are kept.
    pub respelled: u64,
    /// Newest history digest of the run.
    pub digest: Digest,
}

/// What the log had of a run before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing.
    New,
    /// Its beginning.
    Extended,
    /// All of it.
    Unchanged,
}

impl State {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            State::New => "new",
            State::Extended => "extended",
            State::Unchanged => "unchanged",
        }
    }
}

/// Writes a run into a log, under `key` or under what its file says. Returns when it is durable.
///
/// # Errors
/// [`Error::NoKey`], [`Error::Conflict`], [`Error::TooLarge`]: nothing was written. [`Error::Store`]: what was written before
/// is a beginning of the run; import again.
pub fn write(
    log: &Log,
    importer: &dyn Importer,
    run: &ForeignRun,
    key: Option<&str>,
) -> Result<Done, Error> {
    let Some(key) = key.or(run.key.as_deref()) else {
        return Err(Error::NoKey {
            file: run.file.clone(),
        });
    };
    let rules = importer.rules();
    let source = importer.source();
    let id = RunId::derive(source, &run.name, key, 0);
    let planned = plan(source, rules.digest(), run, id, key);
    let limit = log.identity().stride.record_limit();
    for record in &planned {
        let found = u64::from(record.draft.encode().body_len);
        if found > limit {
            return Err(Error::TooLarge {
                place: Box::new(record.place.clone()),
                found,
                limit,
            });
        }
    }
    let had = match log.head(StreamId::run(id))? {
        Some(_) => log.stream(StreamId::run(id), 1)?,
        None => Vec::new(),
    };
    let respelled = compare(&planned, &had, id, key)?;
    let state = match had.len() {
        0 => State::New,
        len if len < planned.len() => State::Extended,
        _ => State::Unchanged,
    };
    let missing = planned.len().saturating_sub(had.len());
    let mut digest = planned.last().map_or(Digest::ZERO, |record| record.digest);
    if let Some(last) = had.last().filter(|_| missing == 0) {
        digest = last.view()?.digest();
    }
    if missing > 0 {
        record_rules(log, &rules.canonical(), rules.digest(), source)?;
    }
    let mut ticket = None;
    for (record, seq) in planned.into_iter().zip(1..).skip(had.len()) {
        ticket = Some(log.append(record.draft, record.kind, seq)?);
    }
    if let Some(ticket) = ticket {
        log.wait(ticket)?;
    }
    Ok(Done {
        run: id,
        key: key.to_owned(),
        state,
        events: run.events.len() as u64,
        appended: missing as u64,
        respelled,
        digest,
    })
}

/// A record about to be written.
struct Planned {
    kind: Kind,
    draft: Draft,
    digest: Digest,
    place: Place,
    /// The event it is made of, in words.
    what: String,
}

/// The whole chain of a run.
fn plan(source: &str, rules: Digest, run: &ForeignRun, id: RunId, key: &str) -> Vec<Planned> {
    let mut chain = Chain {
        stream: StreamId::run(id),
        head: Digest::ZERO,
        planned: Vec::with_capacity(run.events.len() + 2),
    };
    let start = event::Start {
        semantics: 0,
        behaviour: vec![FLAG.into()],
        namespace: source.into(),
        name: run.name.clone(),
        version: String::new(),
        definition: rules,
        skills: Vec::new(),
        config: None,
        policy: None,
        input: None,
        seed_commitment: Digest::ZERO,
        rng: "none".into(),
        parent: None,
        continued_from: None,
        steps_max: 0,
        deadline_ms: None,
    };
    let mut extras = vec![
        volatile(VOLATILE_KEY, key.as_bytes()),
        volatile(VOLATILE_GENERATION, &0u64.to_le_bytes()),
    ];
    extras.push(volatile(VOLATILE_EXTENSION, &beside(run)));
    let first = run.events.first();
    let place = |event: Option<&ForeignEvent>| match event {
        Some(event) => event.place.clone(),
        None => Place::at(&run.file, &[], 0, ""),
    };
    let wall_ns = first.map_or(0, |event| event.wall_ns);
    chain.add(
        Event::Start(start),
        Vec::new(),
        extras,
        wall_ns,
        place(first),
        "START".into(),
    );
    let data = slot_of(Kind::Foreign, "data").expect("the kind's table has this slot");
    for event in &run.events {
        chain.foreign(event, data);
    }
    if let (Some(ended), Some(last)) = (run.ended, run.events.last()) {
        let name = ValueRef::of(VALUE_JSON, &SALT, &last.data);
        let failed = ended == crate::Outcome::Faulted;
        let end = event::End {
            outcome: ended.name().into(),
            output: (!failed).then_some(name),
            error: failed.then_some(name),
            steps: 0,
        };
        let slot = slot_of(Kind::End, if failed { "error" } else { "output" });
        let value = DraftValue {
            slot: slot.expect("the kind's table has this slot"),
            len: last.data.len() as u32,
            salt: SALT,
            stored: Stored::Back {
                seq: chain.planned.len() as u64,
                slot: data,
            },
        };
        chain.add(
            Event::End(end),
            vec![value],
            Vec::new(),
            last.wall_ns,
            last.place.clone(),
            "END".into(),
        );
    }
    chain.planned
}

/// A history in the making.
struct Chain {
    stream: StreamId,
    head: Digest,
    planned: Vec<Planned>,
}

impl Chain {
    fn add(
        &mut self,
        event: Event,
        values: Vec<DraftValue>,
        volatile: Vec<Volatile>,
        wall_ns: i64,
        place: Place,
        what: String,
    ) {
        let det = event.encode(&self.head);
        self.head = Digest::of(&det);
        let draft = Draft {
            lane_seq: self.planned.len() as u64 + 1,
            wall_ns,
            volatile,
            values,
            ..Draft::new(self.stream, det)
        };
        self.planned.push(Planned {
            kind: event.kind(),
            draft,
            digest: self.head,
            place,
            what,
        });
    }

    fn foreign(&mut self, event: &ForeignEvent, slot: u8) {
        let value = DraftValue {
            slot,
            len: event.data.len() as u32,
            salt: SALT,
            stored: Stored::Here(event.data.as_slice().into()),
        };
        let extras = vec![
            volatile(VOLATILE_FOREIGN, &event.original),
            volatile(VOLATILE_FOREIGN_ID, event.id.as_bytes()),
        ];
        let made = Event::Foreign(event::Foreign {
            activation: event.activation.clone(),
            foreign_type: event.foreign_type.clone(),
            data: Some(ValueRef::of(VALUE_JSON, &SALT, &event.data)),
        });
        let what = format!("event {}, {}", event.id, event.foreign_type);
        self.add(
            made,
            vec![value],
            extras,
            event.wall_ns,
            event.place.clone(),
            what,
        );
    }
}

fn volatile(tag: u16, bytes: &[u8]) -> Volatile {
    Volatile {
        tag,
        bytes: bytes.to_vec(),
    }
}

/// The file's name and what stood there beside its events, as canonical JSON.
fn beside(run: &ForeignRun) -> Vec<u8> {
    let text = |text: &String| Json::Text(text.clone());
    let members = run
        .beside
        .iter()
        .map(|(name, value)| (name.clone(), text(value)));
    Json::Object(vec![
        ("beside".into(), Json::Object(members.collect())),
        ("file".into(), text(&run.file)),
    ])
    .canonical()
}

/// Holds the records of the log against those planned: one must be the beginning of the other. Returns how many events have
/// other bytes although they count the same.
fn compare(planned: &[Planned], had: &[StoredRecord], run: RunId, key: &str) -> Result<u64, Error> {
    let mut respelled = 0;
    for (record, stored) in planned.iter().zip(had) {
        let view = stored.view()?;
        if view.digest() != record.digest {
            return Err(Error::Conflict {
                key: key.to_owned(),
                run,
                offset: stored.offset(),
                differs: format!("{} differs, {}", record.what, record.place),
            });
        }
        let new = record
            .draft
            .volatile
            .iter()
            .find(|extra| extra.tag == VOLATILE_FOREIGN)
            .map(|extra| extra.bytes.as_slice());
        respelled += u64::from(view.volatile_tag(VOLATILE_FOREIGN) != new);
    }
    Ok(respelled)
}

/// Writes the rules down, unless the log holds them.
fn record_rules(log: &Log, rules: &[u8], digest: Digest, source: &str) -> Result<(), Error> {
    if log.definition(digest)?.is_some() {
        return Ok(());
    }
    let (previous, lane_seq, seq) = match log.head(StreamId::CONTROL)? {
        Some(head) => (head.digest, head.lane_seq, head.seq),
        None => (Digest::ZERO, 0, 0),
    };
    let definition = event::Definition {
        digest,
        namespace: source.into(),
        name: MEDIA.into(),
        version: String::new(),
        media: MEDIA.into(),
        source: Some(ValueRef::of(VALUE_BYTES, &SALT, rules)),
    };
    let value = DraftValue {
        slot: slot_of(Kind::Definition, "source").expect("the kind's table has this slot"),
        len: rules.len() as u32,
        salt: SALT,
        stored: Stored::Here(rules.into()),
    };
    let draft = Draft {
        lane_seq: lane_seq + 1,
        values: vec![value],
        ..Draft::new(
            StreamId::CONTROL,
            Event::Definition(definition).encode(&previous),
        )
    };
    // Durable before any run that names it.
    let append = Append {
        draft,
        kind: Kind::Definition,
        seq: seq + 1,
    };
    let (ticket, _) = log.append_control(append)?;
    log.wait(ticket)?;
    Ok(())
}
