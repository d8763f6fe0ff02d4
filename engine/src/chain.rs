//! The chain of a run's history: names values, links digests, makes drafts.

use crate::seed::RunSeed;
use crate::value::Value;
use aos_format::digest::{Digest, RunId};
use aos_format::event::{Event, LaneHead, VALUE_JSON, ValueRef, slot_of};
use aos_format::frame::Kind;
use aos_format::record::{Draft, DraftValue, Stored, StreamId, Volatile};
use std::sync::{Arc, OnceLock};

/// Which values a run's records store.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Recording {
    /// All of them.
    #[default]
    Values,
    /// Of a STEP its error alone: what else it names follows from the records before it, and is made again where it is
    /// needed. Inputs, requests, answers, events and the run's output are stored.
    Digests,
}

/// A value in flight and, once it is recorded, its name and place. Clones are the same datum: a step that passes its
/// input on records it once.
#[derive(Clone, Debug)]
pub struct Datum(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    value: Value,
    at: OnceLock<Place>,
}

/// Where a history stores a value, and what it calls it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Number of the record in the run's stream.
    pub seq: u64,
    /// Slot there.
    pub slot: u8,
    /// Salt of the digest.
    pub salt: [u8; 16],
    /// Name.
    pub name: ValueRef,
    /// Whether the bytes stand there too.
    pub kept: bool,
}

impl Datum {
    /// A value not recorded yet.
    pub fn fresh(value: Value) -> Datum {
        Datum(Arc::new(Inner {
            value,
            at: OnceLock::new(),
        }))
    }

    /// A value that the history stores already.
    pub fn recorded(value: Value, place: Place) -> Datum {
        Datum(Arc::new(Inner {
            value,
            at: OnceLock::from(place),
        }))
    }

    /// Its content.
    pub fn value(&self) -> &Value {
        &self.0.value
    }

    /// Where it is recorded, if it is.
    pub fn place(&self) -> Option<&Place> {
        self.0.at.get()
    }

    /// Whether both are the same datum, not merely equal.
    pub fn is(&self, other: &Datum) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// An event with all that a record of it needs but its wall clock and its place in the log.
#[derive(Clone, Debug)]
pub struct Emission {
    /// Kind of frame.
    pub kind: Kind,
    /// Number in the run's stream.
    pub seq: u64,
    /// History digest.
    pub digest: Digest,
    /// The record.
    pub draft: Draft,
}

impl Emission {
    /// The values that its record stores itself, by slot.
    pub fn stored(&self) -> impl Iterator<Item = (u8, Arc<[u8]>)> {
        let values = self.draft.values.iter();
        values.filter_map(|value| match &value.stored {
            Stored::Here(bytes) => Some((value.slot, bytes.clone())),
            Stored::Back { .. } | Stored::Absent => None,
        })
    }
}

/// Names the values of one record about to be made.
#[derive(Debug)]
pub struct Naming {
    kind: Kind,
    values: Vec<DraftValue>,
}

/// Heads of a run's lanes, and what follows from them. One lane is in hand: records are made in it.
#[derive(Clone, Debug)]
pub struct Chain {
    run: RunId,
    seed: RunSeed,
    /// Every lane that has not been joined, lane 0 first.
    lanes: Vec<LaneHead>,
    /// Position of the lane in hand.
    at: usize,
    seq: u64,
    events: u64,
    recording: Recording,
    /// Of a record that is made again: slots whose bytes it does not store, as bits.
    followed: Option<u32>,
}

impl Chain {
    /// A run without history.
    pub fn new(run: RunId, seed: RunSeed) -> Chain {
        let first = LaneHead {
            lane: 0,
            lane_seq: 0,
            digest: Digest::ZERO,
        };
        Chain::resume(run, seed, vec![first], 0, 0)
    }

    /// A run whose history ends in `lanes`, lane 0 among them, after `seq` records of which `events` advance it.
    ///
    /// # Panics
    /// When lane 0 is not the first: the caller's mistake.
    pub fn resume(run: RunId, seed: RunSeed, lanes: Vec<LaneHead>, seq: u64, events: u64) -> Chain {
        assert!(
            lanes.first().is_some_and(|first| first.lane == 0),
            "lane 0 is the first"
        );
        Chain {
            run,
            seed,
            lanes,
            at: 0,
            seq,
            events,
            recording: Recording::Values,
            followed: None,
        }
    }

    /// Stores values in the records made from now on as `recording` says.
    pub fn set_recording(&mut self, recording: Recording) {
        self.recording = recording;
    }

    /// What is stored of values.
    pub fn recording(&self) -> Recording {
        self.recording
    }

    /// Stores the values of the records made from now on where records on hand do: none but those in the slots `absent`, a
    /// bit for each. `None` ends that.
    pub fn follow(&mut self, absent: Option<u32>) {
        self.followed = absent;
    }

    /// Whether a value named first in `slot` of a record of `kind` is stored there.
    fn keeps(&self, kind: Kind, slot: u8) -> bool {
        match (self.followed, self.recording) {
            (Some(absent), _) => absent >> slot & 1 == 0,
            (None, Recording::Values) => true,
            (None, Recording::Digests) => {
                kind != Kind::Step || slot_of(Kind::Step, "error") == Some(slot)
            }
        }
    }

    /// The run.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// Its seed.
    pub fn seed(&self) -> &RunSeed {
        &self.seed
    }

    /// Newest history digest: that of lane 0.
    pub fn head(&self) -> Digest {
        self.lanes[0].digest
    }

    /// Records that advanced lane 0.
    pub fn lane_seq(&self) -> u64 {
        self.lanes[0].lane_seq
    }

    /// Heads of all lanes that have not been joined, lane 0 first.
    pub fn lanes(&self) -> &[LaneHead] {
        &self.lanes
    }

    /// Records in the run's stream.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Records that advanced the history, in all lanes.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Takes `lane` in hand.
    ///
    /// # Panics
    /// When there is no such lane: the caller's mistake.
    pub fn take(&mut self, lane: u64) {
        if self.lanes[self.at].lane != lane {
            let at = self.lanes.iter().position(|head| head.lane == lane);
            self.at = at.expect("a lane that a fork opened and no join closed");
        }
    }

    /// Newest digest of the lane in hand.
    pub fn lane_head(&self) -> Digest {
        self.lanes[self.at].digest
    }

    /// Ids of the lanes that a FORK made next in the lane in hand opens.
    pub fn lane_ids(&self, branches: usize) -> Vec<u64> {
        let parent = &self.lanes[self.at];
        (0..branches as u64)
            .map(|branch| lane_id(parent.lane, &parent.digest, branch))
            .collect()
    }

    /// Opens the lanes that the newest record of the lane in hand, a FORK, names.
    pub fn open(&mut self, lanes: &[u64]) {
        let parent = self.lanes[self.at];
        for (branch, &lane) in (0u64..).zip(lanes) {
            let digest =
                Digest::labelled("aos.lane.v1", &[&parent.digest.0, &branch.to_le_bytes()]);
            self.lanes.push(LaneHead {
                lane,
                lane_seq: 0,
                digest,
            });
        }
    }

    /// Closes a lane.
    ///
    /// # Panics
    /// When it is lane 0, or the lane in hand: the caller's mistake.
    pub fn close(&mut self, lane: u64) {
        let hand = self.lanes[self.at].lane;
        assert!(lane != 0 && lane != hand, "a lane that others stand on");
        self.lanes.retain(|head| head.lane != lane);
        self.take_position(hand);
    }

    fn take_position(&mut self, lane: u64) {
        let at = self.lanes.iter().position(|head| head.lane == lane);
        self.at = at.expect("the lane in hand was kept");
    }

    /// Begins a record of `kind`; values are then named in ascending order of slot.
    pub fn naming(&self, kind: Kind) -> Naming {
        Naming {
            kind,
            values: Vec::new(),
        }
    }

    /// Names `datum` in `slot`: as it is called already, or under a new salt. Its bytes stand where it was named first, in
    /// this record, or nowhere, as [`Recording`] says.
    pub fn name(&self, naming: &mut Naming, slot: u8, datum: &Datum) -> ValueRef {
        assert!(
            naming.values.last().is_none_or(|last| last.slot < slot),
            "slots in ascending order"
        );
        let bytes = datum.value().canonical();
        let kept = self.keeps(naming.kind, slot);
        let (place, named) = match datum.place() {
            Some(place) => (*place, true),
            None => {
                let LaneHead { lane, lane_seq, .. } = self.lanes[self.at];
                let lane_seq = lane_seq + u64::from(naming.kind.advances());
                let salt = self.seed.salt(naming.kind as u8, lane, lane_seq, slot);
                let name = ValueRef::of(VALUE_JSON, &salt, bytes);
                let place = Place {
                    seq: self.seq + 1,
                    slot,
                    salt,
                    name,
                    kept,
                };
                // Only records that advance are certain to be there on another re-execution.
                if naming.kind.advances() {
                    let _ = datum.0.at.set(place);
                }
                (place, false)
            }
        };
        let stored = match named {
            // What is not stored there is not stored here either, but where people look for it.
            true if place.kept || naming.kind == Kind::Step => Stored::Back {
                seq: place.seq,
                slot: place.slot,
            },
            _ if kept => Stored::Here(datum.value().shared()),
            _ => Stored::Absent,
        };
        naming.values.push(DraftValue {
            slot,
            len: bytes.len() as u32,
            salt: place.salt,
            stored,
        });
        place.name
    }

    /// Makes the record, and moves the head if it advances the history.
    pub fn emit(&mut self, naming: Naming, event: &Event, volatile: Vec<Volatile>) -> Emission {
        assert_eq!(naming.kind, event.kind(), "the record that was begun");
        let head = &mut self.lanes[self.at];
        let det = event.encode(&head.digest);
        let digest = Digest::of(&det);
        self.seq += 1;
        if naming.kind.advances() {
            self.events += 1;
            head.lane_seq += 1;
            head.digest = digest;
        }
        let draft = Draft {
            lane: head.lane,
            lane_seq: head.lane_seq,
            volatile,
            values: naming.values,
            ..Draft::new(StreamId::run(self.run), det)
        };
        Emission {
            kind: naming.kind,
            seq: self.seq,
            digest,
            draft,
        }
    }

    /// Takes note of a record of the stream that was not made here and advances nothing: a checkpoint or mark.
    pub fn skip_record(&mut self) {
        self.seq += 1;
    }
}

/// Id of a branch's lane; `before` is the digest that the FORK follows.
pub fn lane_id(parent: u64, before: &Digest, branch: u64) -> u64 {
    let id = Digest::labelled(
        "aos.lane-id.v1",
        &[&parent.to_le_bytes(), &before.0, &branch.to_le_bytes()],
    );
    u64::from_le_bytes(id.0[..8].try_into().expect("eight bytes of thirty-two"))
}
