//! Every choice of a run: one random sequence for each purpose, all from the root seed.

use aos_format::digest::Digest;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// A random sequence that is the same for ever for one seed and purpose.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The sequence of `seed` for one purpose: a word and numbers that tell uses of it apart.
    pub fn new(seed: u64, purpose: &str, numbers: &[u64]) -> Dice {
        let mut label = purpose.as_bytes().to_vec();
        for number in numbers {
            label.extend_from_slice(&number.to_le_bytes());
        }
        let key = Digest::labelled("aos.sim.v1", &[&seed.to_le_bytes(), &label]);
        Dice(ChaCha8Rng::from_seed(key.0))
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 when that is 0. The bias is of no matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.any().checked_rem(bound).unwrap_or(0)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `items`.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}
