//! SHA-256 of many independent messages, two, four or sixteen at a time on one core.
//!
//! The SHA instructions of a CPU work on one message with long waits between them; the rounds of other messages fill these.
//! Where registers of 512 bits are as fast as shorter ones, sixteen messages side by side in them, without the SHA instructions, are
//! faster still. Which width there is, is found at run time; without the instructions the `sha2` crate does the work. The digests
//! are the same at every width.
//!
//! # Unsafe
//!
//! This is the only place in the crate with `unsafe`, for three things. Functions compiled for instructions that a CPU may lack
//! are called from `Width::compress` and `Width::compress_sixteen` alone, and a [`Width`] that leads to them comes from
//! [`Width::best`] or [`Width::found`], which look whether the CPU has them. 16 or 64 bytes at a time are loaded, and 64 stored,
//! through a pointer that was a reference to as many bytes just before; others are named to the CPU as wanted soon. And registers are taken for the words they hold, and
//! the other way round.
#![allow(unsafe_code)]

use crate::digest::Digest;
use sha2::{Digest as _, Sha256};

/// Bytes that SHA-256 takes at a time.
const BLOCK: usize = 64;
/// Most lanes with the SHA instructions.
const NARROW: usize = 4;

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
    #[cfg(target_arch = "x86_64")]
    Sixteen,
}

impl Width {
    /// One at a time with the `sha2` crate; on every machine.
    pub const PORTABLE: Width = Width(Kind::Portable);

    /// The fastest width of this machine.
    pub fn best() -> Width {
        #[cfg(target_arch = "x86_64")]
        if x86::has_four() && sixteen::has_sixteen() {
            return Width(Kind::Sixteen);
        } else if x86::has_four() {
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
            let has_sixteen = x86::has_four() && sixteen::has_sixteen();
            widths.extend(has_sixteen.then_some(Width(Kind::Sixteen)));
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
            #[cfg(target_arch = "x86_64")]
            Kind::Sixteen => sixteen::LANES,
        }
    }

    /// Takes the next `count` blocks of each lane into its state; there are at most as many lanes as [`Width::lanes`].
    #[cfg(target_arch = "x86_64")]
    fn compress(self, lanes: &mut [x86::Lane<'_>], count: usize) {
        // SAFETY: only `best` and `found` make a width that comes here, where `has_two` or `has_four` saw its instructions.
        unsafe {
            match (self.0, lanes) {
                (_, [a]) => x86::one([a], count),
                (_, [a, b]) => x86::two([a, b], count),
                (Kind::Four | Kind::Sixteen, [a, b, c]) => x86::three([a, b, c], count),
                (Kind::Four | Kind::Sixteen, [a, b, c, d]) => x86::four([a, b, c, d], count),
                _ => unreachable!("no more than lanes"),
            }
        }
    }

    /// As [`Width::compress`], for sixteen.
    #[cfg(target_arch = "x86_64")]
    fn compress_sixteen(
        self,
        states: &mut sixteen::Words,
        lanes: [&x86::Lane<'_>; sixteen::LANES],
        count: usize,
    ) {
        assert_eq!(self.0, Kind::Sixteen, "a CPU with registers of 512 bits");
        // SAFETY: only `best` and `found` make a width of sixteen, where `has_sixteen` saw its instructions.
        unsafe { sixteen::compress(states, lanes, count) }
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
        Kind::Two | Kind::Four | Kind::Sixteen => x86::hash(width, count, message, digests),
    }
}

#[cfg(target_arch = "x86_64")]
mod sixteen;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;
