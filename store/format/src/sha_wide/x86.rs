//! Several messages at a time with the SHA instructions of x86-64.

use super::{BLOCK, COPIED, LANES_MAX, Message, Width};
use crate::digest::Digest;
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_loadu_si128, _mm_set_epi32, _mm_set_epi64x,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32,
};

/// State of a hash: its words as the instructions want them, a, b, e, f and c, d, g, h, the first one highest.
pub(super) type State = [__m128i; 2];

/// What every hash begins with (FIPS 180-4, 5.3.3).
const START: State = [
    register([0x6a09_e667, 0xbb67_ae85, 0x510e_527f, 0x9b05_688c]),
    register([0x3c6e_f372, 0xa54f_f53a, 0x1f83_d9ab, 0x5be0_cd19]),
];

/// Four words, the first one highest.
const fn register([a, b, c, d]: [u32; 4]) -> __m128i {
    // SAFETY: four words are the 16 bytes of a register, and all of them are values of one.
    unsafe { std::mem::transmute([d, c, b, a]) }
}

/// The words of a register, the highest first.
fn words(register: __m128i) -> [u32; 4] {
    // SAFETY: a register is the 16 bytes of four words, and all of them are values of those.
    let [d, c, b, a]: [u32; 4] = unsafe { std::mem::transmute(register) };
    [a, b, c, d]
}

/// Constants of the rounds (FIPS 180-4, 4.2.2).
#[rustfmt::skip]
#[allow(clippy::unreadable_literal)]
const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// Whether this CPU has the instructions of [`one`] and [`two`].
pub(super) fn has_two() -> bool {
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("ssse3")
}

/// Whether it has those of [`three`] and [`four`] too.
pub(super) fn has_four() -> bool {
    has_two() && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl")
}

/// A message under way in one lane. What is to be hashed lies in up to three runs of whole blocks: its beginning (where a
/// label stands before it) or all of it copied and padded, its middle where it is, its end copied and padded.
struct Lane<'a> {
    number: usize,
    state: State,
    copy: [u8; COPIED + 2 * BLOCK],
    copied: usize,
    at: usize,
    middle: &'a [u8],
    end: &'a [u8],
    stage: Stage,
    bits: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Beginning,
    Middle,
    End,
}

impl<'a> Lane<'a> {
    fn idle() -> Lane<'a> {
        Lane {
            number: 0,
            state: START,
            copy: [0; COPIED + 2 * BLOCK],
            copied: 0,
            at: 0,
            middle: &[],
            end: &[],
            stage: Stage::End,
            bits: 0,
        }
    }

    /// Begins a message.
    fn begin(&mut self, number: usize, message: Message<'a>) {
        (self.number, self.state, self.at) = (number, START, 0);
        self.bits = message.len() as u64 * 8;
        let label = message.label.map_or(&[][..], |label| label);
        self.copy[..label.len()].copy_from_slice(label);
        if message.len() <= COPIED {
            (self.middle, self.end) = (&[], message.bytes);
            self.pad(label.len());
            return;
        }
        // More than a block follows the label, so all that is cut here is there.
        let beginning = (BLOCK - label.len()) % BLOCK;
        let (first, rest) = message.bytes.split_at(beginning);
        self.copy[label.len()..label.len() + beginning].copy_from_slice(first);
        self.copied = if label.is_empty() { 0 } else { BLOCK };
        (self.middle, self.end) = rest.split_at(rest.len() / BLOCK * BLOCK);
        self.stage = Stage::Beginning;
        self.go_on();
    }

    /// Copies the end behind `before` bytes, and pads.
    fn pad(&mut self, before: usize) {
        let len = before + self.end.len();
        self.copy[before..len].copy_from_slice(self.end);
        self.copied = (len + 9).next_multiple_of(BLOCK);
        self.copy[len] = 0x80;
        // As many zeros as padding can have: what is too many is behind the end, or overwritten next.
        self.copy[len + 1..][..BLOCK + 8].fill(0);
        self.copy[self.copied - 8..self.copied].copy_from_slice(&self.bits.to_be_bytes());
        (self.at, self.stage) = (0, Stage::End);
    }

    /// Whole blocks to hash now.
    fn run(&self) -> &[u8] {
        match self.stage {
            Stage::Beginning | Stage::End => &self.copy[self.at..self.copied],
            Stage::Middle => &self.middle[self.at..],
        }
    }

    /// Passes to the next run where one is at its end; `false` when the message is.
    fn go_on(&mut self) -> bool {
        if self.stage == Stage::Beginning && self.at == self.copied {
            (self.stage, self.at) = (Stage::Middle, 0);
        }
        if self.stage == Stage::Middle && self.at == self.middle.len() {
            self.pad(0);
        }
        self.stage != Stage::End || self.at < self.copied
    }

    fn digest(&self) -> Digest {
        let ([a, b, e, f], [c, d, g, h]) = (words(self.state[0]), words(self.state[1]));
        let mut digest = [0; 32];
        let (bytes, _) = digest.as_chunks_mut::<4>();
        for (bytes, word) in bytes.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *bytes = word.to_be_bytes();
        }
        Digest(digest)
    }
}

/// Hashes `count` messages; a lane that is done takes the next one.
pub(super) fn hash<'a>(
    width: Width,
    count: usize,
    message: impl Fn(usize) -> Message<'a>,
    digests: &mut [Digest],
) {
    let mut lanes: [Lane<'a>; LANES_MAX] = std::array::from_fn(|_| Lane::idle());
    let (mut active, mut next) = (0, 0);
    loop {
        while active < width.lanes() && next < count {
            lanes[active].begin(next, message(next));
            (active, next) = (active + 1, next + 1);
        }
        if active == 0 {
            return;
        }
        let blocks = step(width, &mut lanes[..active]);
        let mut lane = 0;
        while lane < active {
            lanes[lane].at += blocks;
            if lanes[lane].go_on() {
                lane += 1;
                continue;
            }
            digests[lanes[lane].number] = lanes[lane].digest();
            if next < count {
                lanes[lane].begin(next, message(next));
                (lane, next) = (lane + 1, next + 1);
            } else {
                active -= 1;
                lanes.swap(lane, active);
            }
        }
    }
}

/// Hashes as many blocks in each lane as the shortest run has; returns their bytes.
fn step(width: Width, lanes: &mut [Lane<'_>]) -> usize {
    let len = lanes.iter().map(|lane| lane.run().len()).min().unwrap_or(0);
    let mut states = [START; LANES_MAX];
    let mut runs: [&[u8]; LANES_MAX] = [&[]; LANES_MAX];
    for ((lane, state), run) in lanes.iter().zip(&mut states).zip(&mut runs) {
        (*state, *run) = (lane.state, &lane.run()[..len]);
    }
    width.compress(&mut states[..lanes.len()], &runs[..lanes.len()]);
    for (lane, state) in lanes.iter_mut().zip(states) {
        lane.state = state;
    }
    len
}

/// Loads 16 bytes.
macro_rules! load {
    ($bytes:expr) => {{
        let bytes: &[u8; 16] = $bytes;
        // SAFETY: the reference covers the 16 bytes that are read; the load asks for no alignment.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }};
}

macro_rules! compress {
    ($(#[$doc:meta])* $name:ident, $features:literal, $count:literal: $($lane:literal)*) => {
        $(#[$doc])*
        #[target_feature(enable = $features)]
        // The last rounds prepare words that no round takes.
        #[allow(unused_assignments)]
        pub(super) fn $name(states: [&mut State; $count], runs: [&[u8]; $count]) {
            let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
            let mut abef = [$(states[$lane][0]),*];
            let mut cdgh = [$(states[$lane][1]),*];
            let blocks = runs[0].len() / BLOCK;
            for at in 0..blocks {
                let block: [&[u8; BLOCK]; $count] = [$(block(runs[$lane], at)),*];
                let before = (abef, cdgh);
                let mut w: [[__m128i; 4]; $count] = [$({
                    let (quarters, _) = block[$lane].as_chunks::<16>();
                    [
                        _mm_shuffle_epi8(load!(&quarters[0]), order),
                        _mm_shuffle_epi8(load!(&quarters[1]), order),
                        _mm_shuffle_epi8(load!(&quarters[2]), order),
                        _mm_shuffle_epi8(load!(&quarters[3]), order),
                    ]
                }),*];
                macro_rules! rounds {
                    ($group:literal) => {
                        let k = constants($group);
                        $(
                            let (now, last) = (w[$lane][$group & 3], w[$lane][($group + 3) & 3]);
                            let wk = _mm_add_epi32(now, k);
                            cdgh[$lane] = _mm_sha256rnds2_epu32(cdgh[$lane], abef[$lane], wk);
                            if $group >= 3 && $group < 15 {
                                let four = _mm_add_epi32(
                                    w[$lane][($group + 1) & 3],
                                    _mm_alignr_epi8::<4>(now, last),
                                );
                                w[$lane][($group + 1) & 3] = _mm_sha256msg2_epu32(four, now);
                            }
                            let wk = _mm_shuffle_epi32::<0x0e>(wk);
                            abef[$lane] = _mm_sha256rnds2_epu32(abef[$lane], cdgh[$lane], wk);
                            if $group >= 1 && $group < 13 {
                                w[$lane][($group + 3) & 3] = _mm_sha256msg1_epu32(last, now);
                            }
                        )*
                    };
                }
                rounds!(0);
                rounds!(1);
                rounds!(2);
                rounds!(3);
                rounds!(4);
                rounds!(5);
                rounds!(6);
                rounds!(7);
                rounds!(8);
                rounds!(9);
                rounds!(10);
                rounds!(11);
                rounds!(12);
                rounds!(13);
                rounds!(14);
                rounds!(15);
                $(
                    abef[$lane] = _mm_add_epi32(abef[$lane], before.0[$lane]);
                    cdgh[$lane] = _mm_add_epi32(cdgh[$lane], before.1[$lane]);
                )*
            }
            $(*states[$lane] = [abef[$lane], cdgh[$lane]];)*
        }
    };
}

compress! {
    /// One message.
    one, "sha,ssse3,sse4.1", 1: 0
}

compress! {
    /// Two messages, in the sixteen registers there are.
    two, "sha,ssse3,sse4.1", 2: 0 1
}

compress! {
    /// Three messages.
    three, "sha,ssse3,sse4.1,avx512f,avx512vl", 3: 0 1 2
}

compress! {
    /// Four messages; what the SHA instructions do not work on just then waits in the upper registers of AVX-512.
    four, "sha,ssse3,sse4.1,avx512f,avx512vl", 4: 0 1 2 3
}

#[inline]
#[target_feature(enable = "sse2")]
fn constants(group: usize) -> __m128i {
    let k = |n: usize| K[4 * group + n] as i32;
    _mm_set_epi32(k(3), k(2), k(1), k(0))
}

#[inline(always)]
fn block(run: &[u8], at: usize) -> &[u8; BLOCK] {
    &run.as_chunks::<BLOCK>().0[at]
}
