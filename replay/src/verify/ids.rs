//! Streams by their ids.
//!
//! Ids are found once a record, so what finds them is a hash of two multiplications instead of one that keeps secrets. Whoever
//! writes a log chooses ids, but not the key, which differs from process to process. What is found does not depend on it: who goes
//! through all of a map sorts what it makes of it.

#![expect(
    clippy::disallowed_types,
    reason = "the key must not be known beforehand, and no result depends on it or on the order of a map"
)]

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

/// A map from ids.
pub(crate) type ById<K, V> = HashMap<K, V, Key>;

/// What ids are multiplied with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key(u64);

impl Default for Key {
    fn default() -> Key {
        static KEY: OnceLock<u64> = OnceLock::new();
        Key(*KEY.get_or_init(|| RandomState::new().hash_one(0) | 1))
    }
}

impl BuildHasher for Key {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher {
            key: self.0,
            state: self.0,
        }
    }
}

/// Multiplies and folds the product.
pub(crate) struct IdHasher {
    key: u64,
    state: u64,
}

impl Hasher for IdHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.key);
        self.state = (product as u64 ^ (product >> 64) as u64).wrapping_add(self.key);
    }

    #[inline]
    fn write_isize(&mut self, kind: isize) {
        self.write_u64(kind as u64);
    }

    /// Lengths, which are the same in all ids.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aos_format::record::{StreamId, StreamKind};
    use std::collections::BTreeSet;

    #[test]
    fn ids_that_differ_in_one_bit_or_in_kind_have_other_hashes() {
        let key = Key::default();
        let mut seen = BTreeSet::new();
        for kind in [StreamKind::Control, StreamKind::Run, StreamKind::Resource] {
            for bit in 0..=128 {
                let id = (1u128 << 127).rotate_left(bit).to_le_bytes();
                let id = if bit == 128 { [0; 16] } else { id };
                let hash = key.hash_one(StreamId { kind, id });
                assert!(seen.insert(hash), "{kind:?} {bit}");
            }
        }
    }
}
