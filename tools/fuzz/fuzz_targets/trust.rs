//! A trust file: any bytes. No key counts twice, and nothing is vouched for by fewer keys than the file asks for.
#![no_main]

use aos_golden::Trust;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let missing = |_: &str| {
        Err(aos_golden::Error::NoRecord {
            what: "key file".into(),
        })
    };
    if let Ok(trust) = Trust::parse(bytes, "fuzzed", &missing) {
        assert!(trust.threshold > 0);
        let _: Vec<_> = trust.verifiers.iter().map(|v| (v.entry(), v.vkey())).collect();
    }
});
