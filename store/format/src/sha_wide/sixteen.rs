//! Sixteen messages at a time in the registers of AVX-512: no SHA instructions, but every instruction does one step of all.

use super::BLOCK;
use super::x86::{K, Lane};
use std::arch::x86_64::{
    __m512i, _mm_set_epi64x, _mm512_add_epi32, _mm512_broadcast_i32x4, _mm512_loadu_si512,
    _mm512_ror_epi32, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8,
    _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_storeu_si512, _mm512_ternarylogic_epi32,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

/// Messages at a time.
pub(super) const LANES: usize = 16;

/// The states of sixteen hashes: of each of the words a to h, that of every lane.
pub(super) type Words = [[u32; LANES]; 8];

/// Whether this CPU has the instructions of [`compress`].
pub(super) fn has_sixteen() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Sum of two, lane by lane.
macro_rules! add {
    ($a:expr, $b:expr) => {
        _mm512_add_epi32($a, $b)
    };
}

/// Exclusive or of three.
macro_rules! xor {
    ($a:expr, $b:expr, $c:expr) => {
        _mm512_ternarylogic_epi32::<0x96>($a, $b, $c)
    };
}

/// Word `i` of the next sixteen of the message's schedule (FIPS 180-4, 6.2.2, step 1), in place of the one sixteen before it.
macro_rules! schedule {
    ($w:ident, $i:literal) => {
        let (x, y) = ($w[($i + 1) & 15], $w[($i + 14) & 15]);
        let s0 = xor!(
            _mm512_ror_epi32::<7>(x),
            _mm512_ror_epi32::<18>(x),
            _mm512_srli_epi32::<3>(x)
        );
        let s1 = xor!(
            _mm512_ror_epi32::<17>(y),
            _mm512_ror_epi32::<19>(y),
            _mm512_srli_epi32::<10>(y)
        );
        $w[$i] = add!(add!($w[$i], s0), add!($w[($i + 9) & 15], s1));
    };
}

/// One round (FIPS 180-4, 6.2.2, step 3); the next one has its letters one place further.
///
/// What `e` becomes is added up apart from what `a` becomes, though both have terms in common: every round waits for the `e`
/// of the one before, and this way for three instructions instead of four.
macro_rules! round {
    ($w:ident, $k:ident, $i:literal: $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        let hk = add!($h, add!($w[$i], _mm512_set1_epi32($k[$i] as i32)));
        let s1 = xor!(
            _mm512_ror_epi32::<6>($e),
            _mm512_ror_epi32::<11>($e),
            _mm512_ror_epi32::<25>($e)
        );
        let choice = _mm512_ternarylogic_epi32::<0xca>($e, $f, $g);
        $d = add!(add!(add!($d, hk), choice), s1);
        let s0 = xor!(
            _mm512_ror_epi32::<2>($a),
            _mm512_ror_epi32::<13>($a),
            _mm512_ror_epi32::<22>($a)
        );
        let majority = _mm512_ternarylogic_epi32::<0xe8>($a, $b, $c);
        $h = add!(add!(add!(hk, choice), s1), add!(s0, majority));
    };
}

/// Takes the next `count` blocks of each lane into its state.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(words: &mut Words, lanes: [&Lane<'_>; LANES], count: usize) {
    let mut states = [_mm512_setzero_si512(); 8];
    for (state, words) in states.iter_mut().zip(words.iter()) {
        // SAFETY: the reference covers the 64 bytes that are read; the load asks for no alignment.
        *state = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
    }
    for at in 0..count {
        let mut w = transposed(big_endian(&lanes, at));
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = states;
        macro_rules! rounds {
            ($k:ident, $each:ident) => {
                $each!($k, 0: a b c d e f g h);
                $each!($k, 1: h a b c d e f g);
                $each!($k, 2: g h a b c d e f);
                $each!($k, 3: f g h a b c d e);
                $each!($k, 4: e f g h a b c d);
                $each!($k, 5: d e f g h a b c);
                $each!($k, 6: c d e f g h a b);
                $each!($k, 7: b c d e f g h a);
                $each!($k, 8: a b c d e f g h);
                $each!($k, 9: h a b c d e f g);
                $each!($k, 10: g h a b c d e f);
                $each!($k, 11: f g h a b c d e);
                $each!($k, 12: e f g h a b c d);
                $each!($k, 13: d e f g h a b c);
                $each!($k, 14: c d e f g h a b);
                $each!($k, 15: b c d e f g h a);
            };
        }
        macro_rules! first {
            ($k:ident, $i:literal: $($word:ident)*) => { round!(w, $k, $i: $($word)*); };
        }
        macro_rules! later {
            ($k:ident, $i:literal: $($word:ident)*) => {
                schedule!(w, $i);
                round!(w, $k, $i: $($word)*);
            };
        }
        let [k, later_ks @ ..] = K.as_chunks::<16>().0 else {
            unreachable!("sixty-four constants")
        };
        rounds!(k, first);
        for k in later_ks {
            rounds!(k, later);
        }
        for (state, word) in states.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *state = add!(*state, word);
        }
    }
    for (state, words) in states.iter().zip(words.iter_mut()) {
        // SAFETY: the reference covers the 64 bytes that are written; the store asks for no alignment.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), *state) };
    }
}

/// The block of each lane that many behind the next, each word's bytes in the machine's order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn big_endian(lanes: &[&Lane<'_>; LANES], ahead: usize) -> [__m512i; LANES] {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let order = _mm512_broadcast_i32x4(order);
    let mut rows = [_mm512_setzero_si512(); LANES];
    for (row, lane) in rows.iter_mut().zip(lanes) {
        let block: &[u8; BLOCK] = lane.block(ahead);
        // SAFETY: the reference covers the 64 bytes that are read; the load asks for no alignment.
        let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
        *row = _mm512_shuffle_epi8(bytes, order);
    }
    rows
}

/// Of sixteen rows of sixteen words the columns.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    // Within each quarter of a register: pairs of words of two rows, then quarters of four rows.
    let (mut pairs, mut fours) = (rows, rows);
    for i in [0, 2, 4, 6, 8, 10, 12, 14] {
        pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for i in [0, 4, 8, 12] {
        fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    // Quarter q of `fours[4 * n + k]` holds word 4q + k of rows 4n to 4n + 3.
    let mut columns = fours;
    for k in 0..4 {
        let even_low = _mm512_shuffle_i32x4::<0x88>(fours[k], fours[4 + k]);
        let even_high = _mm512_shuffle_i32x4::<0x88>(fours[8 + k], fours[12 + k]);
        let odd_low = _mm512_shuffle_i32x4::<0xdd>(fours[k], fours[4 + k]);
        let odd_high = _mm512_shuffle_i32x4::<0xdd>(fours[8 + k], fours[12 + k]);
        columns[k] = _mm512_shuffle_i32x4::<0x88>(even_low, even_high);
        columns[4 + k] = _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high);
        columns[8 + k] = _mm512_shuffle_i32x4::<0xdd>(even_low, even_high);
        columns[12 + k] = _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high);
    }
    columns
}
