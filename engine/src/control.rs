//! The control stream: documents and seeds, each written down once, before the first run that needs it.

use crate::clock::Clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::seed::RootSeed;
use crate::workflow::Definition;
use aos_format::digest::Digest;
use aos_format::event::{self, Event, VALUE_BYTES, ValueRef, slot_of};
use aos_format::frame::Kind;
use aos_format::record::{Draft, DraftValue, Stored, StreamId};
use aos_store::Append;
use std::collections::BTreeSet;

/// Head of the control stream.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) head: Digest,
    pub(crate) lane_seq: u64,
    pub(crate) seq: u64,
    /// Digests of definitions and seeds known to be on record.
    pub(crate) recorded: BTreeSet<Digest>,
}

impl Engine {
    /// Writes the document down, unless the log holds it.
    pub(crate) fn record_definition(&self, definition: &Definition) -> Result<(), Error> {
        let event = event::Definition {
            digest: Digest(definition.digest),
            namespace: definition.namespace.clone(),
            name: definition.name.clone(),
            version: definition.version.clone(),
            media: definition.media.into(),
            source: Some(ValueRef::of(VALUE_BYTES, &[0; 16], &definition.source)),
        };
        let source = Stored::Here(definition.source.clone());
        self.record_once(
            event.digest,
            Event::Definition(event),
            "source",
            [0; 16],
            Some(source),
        )
    }

    pub(crate) fn record_rust_definition(
        &self,
        namespace: &str,
        name: &str,
        version: &str,
    ) -> Result<(), Error> {
        let event = crate::context::rust_definition(namespace, name, version);
        self.record_once(
            event.digest,
            Event::Definition(event),
            "source",
            [0; 16],
            None,
        )
    }

    pub(crate) fn record_root_seed(&self, root: &RootSeed) -> Result<(), Error> {
        let salt = root.salt();
        let event = event::Seed {
            commitment: root.commitment(),
            scheme: "root-v1".into(),
            seed: Some(ValueRef::of(VALUE_BYTES, &salt, &root.0)),
        };
        let stored = Stored::Here(root.0.as_slice().into());
        self.record_once(
            event.commitment,
            Event::Seed(event),
            "seed",
            salt,
            Some(stored),
        )
    }

    /// Appends a DEFINITION or SEED to the control stream, unless the log holds the one with this digest.
    fn record_once(
        &self,
        digest: Digest,
        event: Event,
        field: &str,
        salt: [u8; 16],
        stored: Option<Stored>,
    ) -> Result<(), Error> {
        let mut control = self.control.lock();
        let kind = event.kind();
        if control.recorded.contains(&digest) {
            return Ok(());
        }
        let known = match kind {
            Kind::Seed => self.shared.log.seed(digest)?,
            _ => self.shared.log.definition(digest)?,
        };
        if known.is_none() {
            let det = event.encode(&control.head);
            let head = Digest::of(&det);
            let slot = slot_of(kind, field).expect("the kind's table has this slot");
            let value = |stored: Stored| {
                let len = match &stored {
                    Stored::Here(bytes) => bytes.len() as u32,
                    Stored::Back { .. } | Stored::Absent => 0,
                };
                DraftValue {
                    slot,
                    len,
                    salt,
                    stored,
                }
            };
            let draft = Draft {
                lane_seq: control.lane_seq + 1,
                wall_ns: Clock::wall_ns(),
                values: stored.into_iter().map(value).collect(),
                ..Draft::new(StreamId::CONTROL, det)
            };
            let append = Append {
                draft,
                kind,
                seq: control.seq + 1,
            };
            // Durable before any run that needs it: a disk that is full now must not leave runs without their document.
            let (ticket, seq) = self.shared.log.append_control(append)?;
            self.shared.log.wait(ticket)?;
            control.head = head;
            control.lane_seq += 1;
            control.seq = seq;
        }
        control.recorded.insert(digest);
        Ok(())
    }
}
