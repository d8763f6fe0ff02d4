//! A proof, a signed note, a checkpoint: any bytes.
#![no_main]

use aos_golden::{Checkpoint, Note, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = check(bytes, None);
    if let Ok(note) = Note::parse(bytes) {
        let again = Note::parse(note.encode().as_bytes()).expect("a note that was written");
        assert_eq!(again.encode(), note.encode());
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(checkpoint) = Checkpoint::parse(text)
    {
        let again = Checkpoint::parse(&checkpoint.text()).expect("a checkpoint that was written");
        assert_eq!(again, checkpoint);
    }
});
