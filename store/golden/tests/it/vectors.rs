//! Vectors of others: Merkle proofs, good and bad, and signed notes.

use aos_format::digest::Digest;
use aos_format::merkle::{check_consistency, check_inclusion};
use aos_golden::{Note, Trust};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const MERKLE: &[u8] = include_bytes!("../data/merkle-vectors.jsonl.zst");

fn digest(value: &Value) -> Option<Digest> {
    let bytes = STANDARD.decode(value.as_str()?).ok()?;
    bytes.try_into().ok().map(Digest)
}

/// A root of a vector; some are names of no length of a root, which stand for a digest all the same.
fn root(value: &Value) -> Option<Digest> {
    let bytes = STANDARD.decode(value.as_str()?).ok()?;
    match bytes.len() {
        0 => None,
        32 => digest(value),
        _ => Some(Digest::of(&bytes)),
    }
}

/// Whether a vector's proof holds; a hash that is none makes it one that does not.
fn holds(vector: &Value) -> bool {
    let number = |name: &str| vector[name].as_u64().unwrap();
    let proof: Option<Vec<Digest>> = match vector["proof"].as_array() {
        Some(hashes) => hashes.iter().map(digest).collect(),
        None => Some(Vec::new()),
    };
    let Some(proof) = proof else { return false };
    if vector["leafIdx"].is_u64() {
        let (Some(leaf), Some(root)) = (digest(&vector["leafHash"]), digest(&vector["root"]))
        else {
            return false;
        };
        return check_inclusion(&leaf, number("leafIdx"), number("treeSize"), &proof, &root);
    }
    let (Some(old), Some(new)) = (root(&vector["root1"]), root(&vector["root2"])) else {
        return false;
    };
    check_consistency(number("size1"), &old, number("size2"), &new, &proof)
}

#[test]
fn every_public_merkle_vector_is_judged_as_it_says() {
    let text = zstd::decode_all(MERKLE).unwrap();
    let text = String::from_utf8(text).unwrap();
    let (mut good, mut bad) = (0, 0);
    for line in text.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let refused = vector["wantErr"].as_bool().unwrap();
        assert_eq!(!holds(&vector), refused, "{}", vector["file"]);
        match refused {
            true => bad += 1,
            false => good += 1,
        }
    }
    assert_eq!(good + bad, 196);
    assert!(good > 10 && bad > 150, "{good} good, {bad} bad");
}

/// A note signed by another implementation: the example of golang.org/x/mod/sumdb/note (BSD-3-Clause).
const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
then you don't know what your problem is.\n\n\
\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn trusting(public: &str) -> Trust {
    let file = format!(
        "{{\"schema\":\"aos.trust.v1\",\"keys\":[{{\"algorithm\":\"ed25519\",\"name\":\"PeterNeumann\",\"public\":\"{public}\"}}]}}"
    );
    Trust::parse(file.as_bytes(), "trust", &|_| unreachable!("no key file")).unwrap()
}

#[test]
fn a_note_signed_by_another_implementation_holds() {
    let vkey = STANDARD
        .decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
        .unwrap();
    let trust = trusting(&STANDARD.encode(&vkey[1..]));
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    let verifier = &trust.verifiers[0];
    assert_eq!(verifier.holds(&note.text, &note.signatures[0]), Some(true));
    assert_eq!(
        verifier.vkey().unwrap(),
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    );
    let changed = note.text.replace("answer", "Answer");
    assert_eq!(verifier.holds(&changed, &note.signatures[0]), Some(false));
}
