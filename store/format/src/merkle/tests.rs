//! Against the definition of RFC 6962, section 2.1, written out, and the vectors of its test tree.

use super::*;
use proptest::prelude::*;

/// The eight inputs of the test tree that implementations of RFC 6962 share.
const INPUTS: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
/// Its roots for 1 to 8 leaves.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// MTH of section 2.1, as it stands there.
fn mth(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let k = (0..)
                .map(|i| 1 << i)
                .find(|k| 2 * k >= leaves.len())
                .unwrap();
            node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
        }
    }
}

fn leaves(count: usize) -> Vec<Digest> {
    (0..count).map(|i| leaf_hash(&i.to_le_bytes())).collect()
}

#[test]
fn the_shared_test_tree_has_its_published_roots() {
    assert_eq!(
        empty_root().hex(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let leaves: Vec<Digest> = INPUTS.iter().map(|text| leaf_hash(&unhex(text))).collect();
    for (count, expected) in ROOTS.iter().enumerate() {
        assert_eq!(root(&leaves[..=count]).hex(), *expected, "{count}");
    }
}

#[test]
fn roots_follow_the_definition_and_every_proof_holds_for_its_place_alone() {
    for size in 0..20usize {
        let leaves = leaves(size);
        let whole = root(&leaves);
        assert_eq!(whole, mth(&leaves));
        assert_eq!(inclusion(&leaves, size), None);
        assert_eq!(consistency(&leaves, size + 1), None);
        for index in 0..size {
            let proof = inclusion(&leaves, index).unwrap();
            for other in 0..size {
                let holds =
                    check_inclusion(&leaves[index], other as u64, size as u64, &proof, &whole);
                assert_eq!(holds, other == index, "{index} of {size} as {other}");
            }
        }
        assert!(!check_consistency(
            0,
            &empty_root(),
            size as u64,
            &whole,
            &[]
        ));
        for old in 1..=size {
            let (proof, before) = (consistency(&leaves, old).unwrap(), root(&leaves[..old]));
            assert!(check_consistency(
                old as u64,
                &before,
                size as u64,
                &whole,
                &proof
            ));
            if old < size {
                assert!(!check_consistency(
                    old as u64,
                    &whole,
                    size as u64,
                    &whole,
                    &proof
                ));
            }
        }
    }
}

proptest! {
    #[test]
    fn a_tree_put_together_from_subtrees_is_the_same(size in 0usize..300, cuts in proptest::collection::vec(0usize..300, 0..6)) {
        let leaves = leaves(size);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(size)).chain([0, size]).collect();
        cuts.sort_unstable();
        let mut peaks = Peaks::default();
        for pair in cuts.windows(2) {
            for subtree in subtrees(pair[0] as u64, &leaves[pair[0]..pair[1]]) {
                peaks.push_subtree(subtree);
            }
        }
        prop_assert_eq!(peaks.root(), mth(&leaves));
        prop_assert_eq!(Peaks::new(peaks.size(), peaks.hashes().to_vec()), Some(peaks));
    }

    #[test]
    fn a_proof_with_anything_changed_is_refused(size in 2usize..40, index: prop::sample::Index, place: prop::sample::Index, bit in 0usize..256) {
        let leaves = leaves(size);
        let (index, whole) = (index.index(size), root(&leaves));
        let good = inclusion(&leaves, index).unwrap();
        let mut bad = good.clone();
        let at = place.index(bad.len());
        bad[at].0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!check_inclusion(&leaves[index], index as u64, size as u64, &bad, &whole));
        prop_assert!(!check_inclusion(&leaves[index], index as u64, size as u64, &good[1..], &whole));
        let mut long = good;
        long.push(whole);
        prop_assert!(!check_inclusion(&leaves[index], index as u64, size as u64, &long, &whole));
    }
}
