//! Digests to come: messages are hashed many at a time, and what they should be is compared afterwards.
//!
//! A digest on its own waits for the CPU most of the time. So a record is judged without it: its digest has a number, heads of
//! lanes are such numbers, and what must be equal is written down as a [`Check`].

use aos_format::digest::Digest;
use aos_format::frame::Kind;
use aos_format::sha_wide::{Message, Width, digest_messages};

/// Messages at a time, more or less; their bytes stay in the CPU's cache.
const MESSAGES: usize = 384;

/// Number of a digest within a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Number(u32);

/// The digests of a chunk.
#[derive(Default)]
pub(crate) struct Digests {
    /// Of messages, in the order of their numbers, as far as they were hashed.
    hashed: Vec<Digest>,
    /// Those that were read.
    read: Vec<Digest>,
}

/// Set in the number of a digest that was read.
const READ: u32 = 1 << 31;

impl Digests {
    pub(crate) fn clear(&mut self) {
        self.hashed.clear();
        self.read.clear();
    }

    /// Takes in a digest that stands in a record.
    pub(crate) fn read(&mut self, digest: Digest) -> Number {
        self.read.push(digest);
        Number((self.read.len() - 1) as u32 | READ)
    }

    /// The digest with that number, after it was hashed.
    pub(crate) fn get(&self, Number(number): Number) -> &Digest {
        match number & READ {
            0 => &self.hashed[number as usize],
            _ => &self.read[(number & !READ) as usize],
        }
    }
}

/// What a digest must be equal to.
#[derive(Clone, Copy)]
pub(crate) struct Check<'a> {
    pub(crate) digest: Number,
    pub(crate) expected: &'a [u8; 32],
    pub(crate) what: What,
    /// Where, for findings: the record's offset, its stream's position, the activation it names.
    pub(crate) offset: u64,
    pub(crate) stream: u32,
    pub(crate) activation: Option<&'a str>,
}

/// What a [`Check`] is about.
#[derive(Clone, Copy)]
pub(crate) enum What {
    /// The head of the record's lane, which the record says it follows.
    Previous,
    /// A value's bytes, in a slot of a record of a kind.
    Value(Kind, u8),
}

/// Messages not hashed yet, and all that waits for their digests.
#[derive(Default)]
pub(crate) struct Pending<'a> {
    messages: Vec<Message<'a>>,
    checks: Vec<Check<'a>>,
}

impl<'a> Pending<'a> {
    pub(crate) fn is_full(&self) -> bool {
        self.messages.len() >= MESSAGES
    }

    /// Gives the digest of a message its number.
    pub(crate) fn hash(&mut self, message: Message<'a>, digests: &Digests) -> Number {
        self.messages.push(message);
        Number((digests.hashed.len() + self.messages.len() - 1) as u32)
    }

    pub(crate) fn check(&mut self, check: Check<'a>) {
        self.checks.push(check);
    }

    /// Hashes all messages and tells of each check that fails.
    pub(crate) fn settle(
        &mut self,
        width: Width,
        digests: &mut Digests,
        mut failed: impl FnMut(&Check<'a>, &Digest),
    ) {
        let from = digests.hashed.len();
        digests
            .hashed
            .resize(from + self.messages.len(), Digest::ZERO);
        digest_messages(width, &self.messages, &mut digests.hashed[from..]);
        self.messages.clear();
        for check in self.checks.drain(..) {
            let found = digests.get(check.digest);
            if found.0 != *check.expected {
                failed(&check, found);
            }
        }
    }
}
