//! Key files and trust files: any bytes. What is read is written back as the same key.
#![no_main]

use aos_golden::{Error, Key, Trust};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = Key::from_file(bytes, "fuzz") {
        let again = Key::from_file(&key.to_file(), "fuzz").expect("what a key wrote");
        assert_eq!((again.id(), again.name()), (key.id(), key.name()));
        assert_eq!((again.epoch(), again.generation()), (key.epoch(), key.generation()));
    }
    // The trust file is in front of the first NUL, the key file that it may name behind it.
    let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (trust, key) = bytes.split_at(cut);
    let open = |name: &str| -> Result<Key, Error> { Key::from_file(key.get(1..).unwrap_or(&[]), name) };
    if let Ok(trust) = Trust::parse(trust, "fuzz", &open) {
        assert!(trust.threshold >= 1 && trust.threshold <= trust.verifiers.len());
    }
});
