//! Workflow documents and values: any bytes.
#![no_main]

use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let first = Definition::load(bytes).map(|definition| definition.digest);
    let second = Definition::load(bytes).map(|definition| definition.digest);
    assert_eq!(first.ok(), second.ok(), "one document has one digest");
    if let Ok(value) = Value::from_json(bytes) {
        let again = Value::from_json(value.canonical());
        assert!(again.is_ok_and(|again| again == value), "canonical bytes are read back");
    }
});
