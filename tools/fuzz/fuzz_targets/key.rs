//! A key file: any bytes. What is taken for a key is written again as the same key.
#![no_main]

use aos_golden::Key;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = Key::from_file(bytes, "fuzzed") {
        let again = Key::from_file(&key.to_file(), "again").expect("a key that was written");
        assert_eq!(again.id(), key.id());
        assert_eq!((again.name(), again.epoch()), (key.name(), key.epoch()));
    }
});
