//! The next frames of a chunk, hashed several at a time.
//!
//! A digest on its own waits for the CPU most of the time, so the deterministic parts and values of a few hundred records
//! are hashed together, before any of them is judged.

use aos_format::digest::Digest;
use aos_format::event::VALUE_LABEL;
use aos_format::frame::{FrameHeader, Kind};
use aos_format::record::{RecordView, ValueEntry};
use aos_format::sha_wide::{Message, Width, digest_messages};
use std::ops::Range;

/// Most frames at a time; bodies stay in the CPU's cache.
const FRAMES_MAX: usize = 256;

/// A frame whose CRCs hold.
pub(crate) struct Frame<'a> {
    pub(crate) header: FrameHeader,
    /// The body with its padding.
    pub(crate) body: &'a [u8],
    /// Its record, or why it is none; absent for frames that hold none.
    pub(crate) record: Option<Result<RecordView<'a>, String>>,
    /// Where its digests are: of the deterministic part, then of each value stored in it.
    digests: Range<usize>,
    /// Where its values are listed.
    values: Range<usize>,
}

/// What a record holds, hashed.
#[derive(Clone, Copy)]
pub(crate) struct Hashed<'a> {
    /// Of the deterministic part.
    pub(crate) digest: Digest,
    /// The record's values, in ascending order of slot.
    pub(crate) values: &'a [ValueEntry],
    /// Digests of those that are stored here, in the same order.
    pub(crate) digests: &'a [Digest],
}

/// Frames that follow each other.
#[derive(Default)]
pub(crate) struct Window<'a> {
    pub(crate) frames: Vec<Frame<'a>>,
    messages: Vec<Message<'a>>,
    digests: Vec<Digest>,
    values: Vec<ValueEntry>,
}

impl<'a> Window<'a> {
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.messages.clear();
        self.values.clear();
    }

    pub(crate) fn is_full(&self) -> bool {
        self.frames.len() == FRAMES_MAX
    }

    pub(crate) fn push(&mut self, header: FrameHeader, body: &'a [u8]) {
        let (from, first) = (self.messages.len(), self.values.len());
        let structural = Kind::from_u8(header.kind).is_some_and(Kind::is_structural);
        let values = &mut self.values;
        let record = (!structural)
            .then(|| RecordView::of_frame_with(&header, body, |value| values.push(value)));
        match &record {
            Some(Ok(view)) => {
                self.messages.push(view.det().into());
                for value in &self.values[first..] {
                    self.messages
                        .extend(view.salted_bytes(value).map(|bytes| Message {
                            label: Some(VALUE_LABEL),
                            bytes,
                        }));
                }
            }
            Some(Err(_)) => self.values.truncate(first),
            None => {}
        }
        self.frames.push(Frame {
            header,
            body,
            record: record.map(|record| record.map_err(|error| error.to_string())),
            digests: from..self.messages.len(),
            values: first..self.values.len(),
        });
    }

    /// Hashes all that was pushed.
    pub(crate) fn hash(&mut self, width: Width) {
        self.digests.resize(self.messages.len(), Digest::ZERO);
        digest_messages(width, &self.messages, &mut self.digests);
    }

    /// What a frame's record holds, after [`Window::hash`]; nothing where there is none.
    pub(crate) fn hashed(&self, frame: &Frame<'a>) -> Option<Hashed<'_>> {
        let (digest, digests) = self.digests[frame.digests.clone()].split_first()?;
        Some(Hashed {
            digest: *digest,
            values: &self.values[frame.values.clone()],
            digests,
        })
    }
}
