//! Several messages at a time with the SHA instructions of x86-64.

use super::{BLOCK, Message, NARROW, Width, sixteen};
use crate::digest::Digest;
use std::arch::x86_64::{
    __m128i, _MM_HINT_T0, _mm_add_epi32, _mm_alignr_epi8, _mm_loadu_si128, _mm_prefetch,
    _mm_set_epi32, _mm_set_epi64x, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32,
    _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
};

/// Messages that are put in order at a time.
const BATCH: usize = 512;
/// Fewest messages under way for which sixteen lanes, the idle ones included, are faster than four with the SHA instructions.
const WIDE_MIN: usize = 8;

/// State of a hash: its words as the instructions want them, a, b, e, f and c, d, g, h, the first one highest.
type State = [__m128i; 2];

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

/// The words a to h of a state.
fn words(state: State) -> [u32; 8] {
    // SAFETY: two registers are the 32 bytes of eight words, and all of them are values of those.
    let [f, e, b, a, h, g, d, c]: [u32; 8] = unsafe { std::mem::transmute(state) };
    [a, b, c, d, e, f, g, h]
}

/// The state of which those are the words a to h.
fn registers([a, b, c, d, e, f, g, h]: [u32; 8]) -> State {
    [register([a, b, e, f]), register([c, d, g, h])]
}

/// Constants of the rounds (FIPS 180-4, 4.2.2).
#[rustfmt::skip]
#[allow(clippy::unreadable_literal)]
pub(super) const K: [u32; 64] = [
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

/// A message under way in one lane: its whole blocks where they are, its beginning, where a label stands before it, and its end
/// copied.
pub(super) struct Lane<'a> {
    number: usize,
    state: State,
    /// Blocks hashed.
    at: usize,
    /// Blocks there are.
    blocks: usize,
    /// Whether `first` comes first.
    labelled: bool,
    first: [u8; BLOCK],
    middle: &'a [[u8; BLOCK]],
    /// The end with its padding, in one block or two.
    last: [[u8; BLOCK]; 2],
}

impl<'a> Lane<'a> {
    const IDLE: Lane<'a> = Lane {
        number: 0,
        state: START,
        at: 0,
        blocks: 0,
        labelled: false,
        first: [0; BLOCK],
        middle: &[],
        last: [[0; BLOCK]; 2],
    };

    /// Begins a message.
    fn begin(&mut self, number: usize, message: Message<'a>) {
        const LABEL: usize = 16;
        (self.number, self.state, self.at) = (number, START, 0);
        let bits = (message.len() as u64 * 8).to_be_bytes();
        self.last[0] = [0; BLOCK];
        let (mut rest, mut before) = (message.bytes, 0);
        self.labelled = false;
        if let Some(label) = message.label {
            if let Some((bytes, after)) = rest.split_first_chunk::<{ BLOCK - LABEL }>() {
                self.first[..LABEL].copy_from_slice(label);
                self.first[LABEL..].copy_from_slice(bytes);
                (self.labelled, rest) = (true, after);
            } else {
                self.last[0][..LABEL].copy_from_slice(label);
                before = LABEL;
            }
        }
        // Less than a block follows a label that is not in a block of its own.
        let (middle, end) = rest.as_chunks::<BLOCK>();
        self.middle = middle;
        let len = before + end.len();
        self.last[0][before..len].copy_from_slice(end);
        self.last[0][len] = 0x80;
        let whole = usize::from(self.labelled) + middle.len();
        if len < BLOCK - bits.len() {
            self.last[0][BLOCK - bits.len()..].copy_from_slice(&bits);
            self.blocks = whole + 1;
        } else {
            self.last[1] = [0; BLOCK];
            self.last[1][BLOCK - bits.len()..].copy_from_slice(&bits);
            self.blocks = whole + 2;
        }
    }

    /// Blocks still to hash.
    fn left(&self) -> usize {
        self.blocks - self.at
    }

    /// The block that many behind the next.
    #[inline(always)]
    pub(super) fn block(&self, ahead: usize) -> &[u8; BLOCK] {
        let at = self.at + ahead;
        if self.labelled && at == 0 {
            return &self.first;
        }
        let at = at - usize::from(self.labelled);
        match self.middle.get(at) {
            Some(block) => block,
            None => &self.last[(at - self.middle.len()) & 1],
        }
    }
}

/// The digest that a state is in the end.
fn digest(words: [u32; 8]) -> Digest {
    let mut digest = [0; 32];
    let (bytes, _) = digest.as_chunks_mut::<4>();
    for (bytes, word) in bytes.iter_mut().zip(words) {
        *bytes = word.to_be_bytes();
    }
    Digest(digest)
}

/// Messages in the order in which lanes take them.
struct Source<'m, F> {
    message: &'m F,
    /// Number of the first.
    from: usize,
    count: usize,
    /// Their numbers behind `from`, where they are not taken as they come.
    order: Option<&'m [u16]>,
    next: usize,
}

impl<'a, F: Fn(usize) -> Message<'a>> Source<'_, F> {
    fn next(&mut self) -> Option<(usize, Message<'a>)> {
        if self.next == self.count {
            return None;
        }
        let at = self
            .order
            .map_or(self.next, |order| usize::from(order[self.next]));
        self.next += 1;
        Some((self.from + at, (self.message)(self.from + at)))
    }
}

/// Hashes `count` messages.
///
/// The longest come first, so that those under way at a time have about as many blocks each, and lanes rarely wait for a
/// neighbour or for the next message.
pub(super) fn hash<'a>(
    width: Width,
    count: usize,
    message: impl Fn(usize) -> Message<'a>,
    digests: &mut [Digest],
) {
    let mut from = 0;
    while from < count {
        let here = (count - from).min(BATCH);
        let mut order = [0; BATCH];
        let ordered = here > NARROW;
        if ordered {
            longest_first(&mut order[..here], |n| message(from + n));
        }
        let mut source = Source {
            message: &message,
            from,
            count: here,
            order: ordered.then_some(&order[..here]),
            next: 0,
        };
        if width.lanes() > NARROW && here >= WIDE_MIN {
            wide(width, &mut source, digests);
        } else {
            let mut lanes = [Lane::IDLE; NARROW];
            narrow(width, &mut lanes, 0, &mut source, digests);
        }
        from += here;
    }
}

/// Numbers from 0 on, by how many blocks there are to hash of each: those with the most first, else as they come.
fn longest_first<'a>(order: &mut [u16], message: impl Fn(usize) -> Message<'a>) {
    // Behind so many blocks the order matters no more.
    const MOST: usize = 31;
    let mut counts = [0; MOST + 1];
    let mut blocks = [0; BATCH];
    for (n, blocks) in blocks[..order.len()].iter_mut().enumerate() {
        let message = message(n);
        *blocks = ((message.len() + 8) / BLOCK).min(MOST) as u8;
        counts[usize::from(*blocks)] += 1;
        // Taken out of turn, they would not be there when they are wanted.
        for line in message.bytes.chunks(BLOCK).take(MOST) {
            // SAFETY: a hint reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
    }
    let mut at = 0;
    for count in counts.iter_mut().rev() {
        at += std::mem::replace(count, at);
    }
    for (n, blocks) in blocks[..order.len()].iter().enumerate() {
        let place = &mut counts[usize::from(*blocks)];
        order[*place] = n as u16;
        *place += 1;
    }
}

/// Hashes all messages in `lanes`, of which `active` are under way; a lane that is done takes the next one.
fn narrow<'a>(
    width: Width,
    lanes: &mut [Lane<'a>],
    mut active: usize,
    source: &mut Source<'_, impl Fn(usize) -> Message<'a>>,
    digests: &mut [Digest],
) {
    let most = lanes.len().min(width.lanes());
    loop {
        while active < most
            && let Some((number, message)) = source.next()
        {
            lanes[active].begin(number, message);
            active += 1;
        }
        if active == 0 {
            return;
        }
        let count = lanes[..active].iter().map(Lane::left).min().unwrap_or(0);
        width.compress(&mut lanes[..active], count);
        let mut lane = 0;
        while lane < active {
            lanes[lane].at += count;
            if lanes[lane].left() > 0 {
                lane += 1;
                continue;
            }
            digests[lanes[lane].number] = digest(words(lanes[lane].state));
            if let Some((number, message)) = source.next() {
                lanes[lane].begin(number, message);
                lane += 1;
            } else {
                active -= 1;
                lanes.swap(lane, active);
            }
        }
    }
}

/// Hashes all messages sixteen at a time, and the last few with the SHA instructions.
fn wide<'a>(
    width: Width,
    source: &mut Source<'_, impl Fn(usize) -> Message<'a>>,
    digests: &mut [Digest],
) {
    let mut lanes = [Lane::IDLE; sixteen::LANES];
    let mut states = [[0; sixteen::LANES]; 8];
    let mut active = 0;
    while active < lanes.len()
        && let Some((number, message)) = source.next()
    {
        lanes[active].begin(number, message);
        put_state(&mut states, active, words(START));
        active += 1;
    }
    while active >= WIDE_MIN {
        let count = lanes[..active].iter().map(Lane::left).min().unwrap_or(0);
        // What idle lanes hash is of no use to anyone.
        let mut taken = [&lanes[0]; sixteen::LANES];
        for (taken, lane) in taken.iter_mut().zip(&lanes[..active]) {
            *taken = lane;
        }
        width.compress_sixteen(&mut states, taken, count);
        let mut lane = 0;
        while lane < active {
            lanes[lane].at += count;
            if lanes[lane].left() > 0 {
                lane += 1;
                continue;
            }
            digests[lanes[lane].number] = digest(state(&states, lane));
            if let Some((number, message)) = source.next() {
                lanes[lane].begin(number, message);
                put_state(&mut states, lane, words(START));
                lane += 1;
            } else {
                active -= 1;
                lanes.swap(lane, active);
                let last = state(&states, active);
                put_state(&mut states, lane, last);
            }
        }
    }
    for (n, lane) in lanes[..active].iter_mut().enumerate() {
        lane.state = registers(state(&states, n));
    }
    for lanes in lanes[..active].chunks_mut(NARROW) {
        let active = lanes.len();
        narrow(width, lanes, active, source, digests);
    }
}

fn put_state(states: &mut sixteen::Words, lane: usize, words: [u32; 8]) {
    for (state, word) in states.iter_mut().zip(words) {
        state[lane] = word;
    }
}

fn state(states: &sixteen::Words, lane: usize) -> [u32; 8] {
    let [a, b, c, d, e, f, g, h] = states;
    [
        a[lane], b[lane], c[lane], d[lane], e[lane], f[lane], g[lane], h[lane],
    ]
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
        pub(super) fn $name(lanes: [&mut Lane<'_>; $count], count: usize) {
            let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
            let mut abef = [$(lanes[$lane].state[0]),*];
            let mut cdgh = [$(lanes[$lane].state[1]),*];
            for at in 0..count {
                let block: [&[u8; BLOCK]; $count] = [$(lanes[$lane].block(at)),*];
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
            $(lanes[$lane].state = [abef[$lane], cdgh[$lane]];)*
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
