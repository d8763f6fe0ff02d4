//! SHA-256 of many independent messages, two or four at a time on one core.
//!
//! The SHA instructions of a CPU work on one message with long waits between them; the rounds of other messages fill these.
//! Which width there is, is found at run time; without the instructions the `sha2` crate does the work. The digests are the
//! same at every width.
//!
//! # Unsafe
//!
//! This is the only place in the crate with `unsafe`, for three things. Functions compiled for instructions that a CPU may lack
//! are called from `Width::compress` alone, and a [`Width`] that leads to them comes from [`Width::best`] or
//! [`Width::found`], which look whether the CPU has them. 16 bytes at a time are loaded through a pointer that was a
//! reference to 16 bytes just before. And a register is taken for the four words it holds, and the other way round. Nothing
//! is written through a pointer.
#![allow(unsafe_code)]

use crate::digest::Digest;
use sha2::{Digest as _, Sha256};

/// Bytes that SHA-256 takes at a time.
const BLOCK: usize = 64;
/// Longest message that is copied to be padded in one piece.
const COPIED: usize = 7 * BLOCK;
/// Most lanes.
const LANES_MAX: usize = 4;

/// A message: a label of 16 bytes, where there is one, then bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// What comes first.
    pub label: Option<&'a [u8; 16]>,
    /// What follows.
    pub bytes: &'a [u8],
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Message<'a> {
        Message { label: None, bytes }
    }
}

impl Message<'_> {
    fn len(&self) -> usize {
        self.bytes.len() + self.label.map_or(0, |label| label.len())
    }

    fn digest(&self) -> Digest {
        let mut hasher = Sha256::new();
        if let Some(label) = self.label {
            hasher.update(label);
        }
        hasher.update(self.bytes);
        Digest(hasher.finalize().into())
    }
}

/// How many messages are hashed at a time, and with which instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Width(Kind);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Two,
    #[cfg(target_arch = "x86_64")]
    Four,
}

impl Width {
    /// One at a time with the `sha2` crate; on every machine.
    pub const PORTABLE: Width = Width(Kind::Portable);

    /// The fastest width of this machine.
    pub fn best() -> Width {
        #[cfg(target_arch = "x86_64")]
        if x86::has_four() {
            return Width(Kind::Four);
        } else if x86::has_two() {
            return Width(Kind::Two);
        }
        Width::PORTABLE
    }

    /// All widths of this machine, from narrow to wide.
    pub fn found() -> Vec<Width> {
        #[allow(unused_mut)]
        let mut widths = vec![Width::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            widths.extend(x86::has_two().then_some(Width(Kind::Two)));
            widths.extend(x86::has_four().then_some(Width(Kind::Four)));
        }
        widths
    }

    /// Messages at a time.
    pub fn lanes(self) -> usize {
        match self.0 {
            Kind::Portable => 1,
            #[cfg(target_arch = "x86_64")]
            Kind::Two => 2,
            #[cfg(target_arch = "x86_64")]
            Kind::Four => 4,
        }
    }

    /// Takes the same number of whole blocks into each state; `runs` are of one length, at most as many as there are lanes.
    #[cfg(target_arch = "x86_64")]
    fn compress(self, states: &mut [x86::State], runs: &[&[u8]]) {
        // SAFETY: only `best` and `found` make a width that comes here, where `has_two` or `has_four` saw its instructions.
        unsafe {
            match (self.0, states, runs) {
                (_, [a], [x]) => x86::one([a], [x]),
                (_, [a, b], [x, y]) => x86::two([a, b], [x, y]),
                (Kind::Four, [a, b, c], [x, y, z]) => x86::three([a, b, c], [x, y, z]),
                (Kind::Four, [a, b, c, d], [x, y, z, u]) => x86::four([a, b, c, d], [x, y, z, u]),
                _ => unreachable!("as many runs as states, and no more than lanes"),
            }
        }
    }
}

/// SHA-256 of each message, at the fastest width of this machine.
///
/// # Panics
/// When there is not one digest for each message.
pub fn digest_many(messages: &[&[u8]], digests: &mut [Digest]) {
    assert_eq!(messages.len(), digests.len(), "one digest for each message");
    hash(
        Width::best(),
        messages.len(),
        |n| messages[n].into(),
        digests,
    );
}

/// SHA-256 of each message, at `width`.
///
/// # Panics
/// As [`digest_many`].
pub fn digest_messages(width: Width, messages: &[Message<'_>], digests: &mut [Digest]) {
    assert_eq!(messages.len(), digests.len(), "one digest for each message");
    hash(width, messages.len(), |n| messages[n], digests);
}

fn hash<'a>(
    width: Width,
    count: usize,
    message: impl Fn(usize) -> Message<'a>,
    digests: &mut [Digest],
) {
    match width.0 {
        Kind::Portable => {
            for (number, digest) in digests.iter_mut().enumerate() {
                *digest = message(number).digest();
            }
        }
        #[cfg(target_arch = "x86_64")]
        Kind::Two | Kind::Four => x86::hash(width, count, message, digests),
    }
}

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;
