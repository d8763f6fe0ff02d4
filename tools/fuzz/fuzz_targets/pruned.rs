//! PRUNED: any bytes, as they are and behind a header and before a digest that fit them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| aos_store::fuzzing::pruned(bytes));
