//! Values of the catalogue's tables: any bytes. What decodes encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| aos_store::fuzzing::catalogue_values(bytes));
