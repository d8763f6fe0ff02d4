//! Merkle trees as RFC 6962 and RFC 9162 define them: SHA-256, 0x00 before a leaf's data, 0x01 before two nodes.
//!
//! Nothing here keeps more than it needs: [`Peaks`] holds one digest for each perfect subtree, so a tree of any size grows
//! in a few hundred bytes.
//!
//! ```
//! use aos_format::merkle::{Peaks, check_inclusion, inclusion, leaf_hash};
//!
//! let leaves: Vec<_> = [b"a", b"b", b"c"].iter().map(|data| leaf_hash(*data)).collect();
//! let mut tree = Peaks::default();
//! leaves.iter().for_each(|leaf| tree.push(*leaf));
//! let proof = inclusion(&leaves, 2).unwrap();
//! assert!(check_inclusion(&leaves[2], 2, 3, &proof, &tree.root()));
//! ```

use crate::digest::Digest;
use crate::sha_wide::digest_many;
use sha2::{Digest as _, Sha256};

/// Hash of a leaf: SHA-256 of 0x00 and its data.
pub fn leaf_hash(data: &[u8]) -> Digest {
    Digest::of_parts([&[0][..], data])
}

/// Hash of an inner node: SHA-256 of 0x01 and its children.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut block = [1; 65];
    block[1..33].copy_from_slice(&left.0);
    block[33..].copy_from_slice(&right.0);
    Digest(Sha256::digest(block).into())
}

/// Root of a tree without leaves.
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

/// A perfect subtree: `2^level` leaves under one hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subtree {
    /// Binary logarithm of its number of leaves.
    pub level: u32,
    /// Its root.
    pub hash: Digest,
}

/// A growing tree: the roots of its perfect subtrees from left to right, one for each set bit of its size.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Peaks {
    size: u64,
    hashes: Vec<Digest>,
}

impl Peaks {
    /// A tree of `size` leaves with those peaks, largest first; `None` when their number is not the one the size asks for.
    pub fn new(size: u64, hashes: Vec<Digest>) -> Option<Peaks> {
        (hashes.len() as u32 == size.count_ones()).then_some(Peaks { size, hashes })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The peaks, largest first.
    pub fn hashes(&self) -> &[Digest] {
        &self.hashes
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Digest) {
        self.push_subtree(Subtree {
            level: 0,
            hash: leaf,
        });
    }

    /// Adds a perfect subtree.
    ///
    /// # Panics
    /// When the size is no multiple of the subtree's, or 2^64 is reached.
    pub fn push_subtree(&mut self, subtree: Subtree) {
        let Subtree { level, mut hash } = subtree;
        assert!(level < 63, "no tree comes near 2^63 leaves");
        let leaves = 1u64 << level;
        assert!(
            self.size.is_multiple_of(leaves),
            "a subtree stands at a multiple of its size"
        );
        let mut carry = leaves;
        while self.size & carry != 0 {
            let left = self.hashes.pop().expect("a peak for each set bit");
            hash = node_hash(&left, &hash);
            carry <<= 1;
        }
        self.hashes.push(hash);
        self.size = self.size.checked_add(leaves).expect("sizes stay far below");
    }

    /// Root of the tree.
    pub fn root(&self) -> Digest {
        let mut from_right = self.hashes.iter().rev();
        let Some(last) = from_right.next() else {
            return empty_root();
        };
        from_right.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The perfect subtrees that leaves number `first` and on fall into, from left to right: what one worker hands over so that
/// the tree is put together in order.
pub fn subtrees(first: u64, leaves: &[Digest]) -> Vec<Subtree> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < leaves.len() {
        let place = first + at as u64;
        let left = (leaves.len() - at) as u64;
        let level = place.trailing_zeros().min(left.ilog2());
        let count = 1usize << level;
        found.push(Subtree {
            level,
            hash: perfect(&leaves[at..at + count]),
        });
        at += count;
    }
    found
}

/// Root over leaf hashes whose number is a power of two: whole levels at a time, which hash independently.
fn perfect(leaves: &[Digest]) -> Digest {
    let (mut level, mut bytes) = (leaves.to_vec(), Vec::with_capacity(leaves.len() / 2 * 65));
    while level.len() > 1 {
        bytes.clear();
        for pair in level.chunks_exact(2) {
            bytes.push(1);
            bytes.extend_from_slice(&pair[0].0);
            bytes.extend_from_slice(&pair[1].0);
        }
        let nodes: Vec<&[u8]> = bytes.chunks_exact(65).collect();
        let mut above = vec![Digest::ZERO; nodes.len()];
        digest_many(&nodes, &mut above);
        level = above;
    }
    level[0]
}

/// Root over leaf hashes.
pub fn root(leaves: &[Digest]) -> Digest {
    let mut peaks = Peaks::default();
    for subtree in subtrees(0, leaves) {
        peaks.push_subtree(subtree);
    }
    peaks.root()
}

/// Largest power of two below `n`, which must be 2 or more.
fn split(n: usize) -> usize {
    1 << (n - 1).ilog2()
}

/// Proof that leaf number `index` is in the tree: siblings from the leaf up; `None` when there is no such leaf.
pub fn inclusion(leaves: &[Digest], index: usize) -> Option<Vec<Digest>> {
    if index >= leaves.len() {
        return None;
    }
    let (mut part, mut index, mut proof) = (leaves, index, Vec::new());
    while part.len() > 1 {
        let (left, right) = part.split_at(split(part.len()));
        if index < left.len() {
            proof.push(root(right));
            part = left;
        } else {
            proof.push(root(left));
            index -= left.len();
            part = right;
        }
    }
    proof.reverse();
    Some(proof)
}

/// Proof that the tree of the first `old` leaves is a beginning of this one; `None` when it is larger than this one.
///
/// Empty when `old` is 0, which proves nothing, or the whole tree.
pub fn consistency(leaves: &[Digest], old: usize) -> Option<Vec<Digest>> {
    if old > leaves.len() {
        return None;
    }
    if old == 0 || old == leaves.len() {
        return Some(Vec::new());
    }
    // Walks to the node where the old tree ends; `whole` as long as the old tree is a left edge that the verifier knows.
    let (mut part, mut old, mut whole, mut proof) = (leaves, old, true, Vec::new());
    while old != part.len() {
        let (left, right) = part.split_at(split(part.len()));
        if old <= left.len() {
            proof.push(root(right));
            part = left;
        } else {
            proof.push(root(left));
            old -= left.len();
            part = right;
            whole = false;
        }
    }
    if !whole {
        proof.push(root(part));
    }
    proof.reverse();
    Some(proof)
}

/// Whether the proof shows that `leaf` is number `index` of the tree with `size` leaves and that root.
pub fn check_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: &Digest,
) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether the proof shows that the tree of `old_size` leaves with `old_root` is a beginning of the other. That a tree continues
/// one without leaves says nothing, and is refused.
pub fn check_consistency(
    old_size: u64,
    old_root: &Digest,
    size: u64,
    root: &Digest,
    proof: &[Digest],
) -> bool {
    if old_size > size || old_size == 0 {
        return false;
    }
    if old_size == size {
        return proof.is_empty() && old_root == root;
    }
    let (mut node, mut last) = (old_size - 1, size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (start, rest) = if node == 0 {
        // The old tree is perfect: its root is where the proof begins.
        (*old_root, proof)
    } else {
        match proof.split_first() {
            Some((first, rest)) => (*first, rest),
            None => return false,
        }
    };
    let (mut old_hash, mut hash) = (start, start);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && hash == *root
}

#[cfg(test)]
mod tests;
