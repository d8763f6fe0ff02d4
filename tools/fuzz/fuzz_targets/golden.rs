//! Golden archives, signed notes, checkpoints and proofs: any bytes. Nothing that nobody signed is valid.
#![no_main]

use aos_golden::{Checkpoint, Container, Input, Note, Trust, Verdict, VerifyOptions, check, verify};
use libfuzzer_sys::fuzz_target;
use std::io;
use std::sync::Arc;

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl Input for Bytes {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        let from = usize::try_from(at).ok().and_then(|at| self.0.get(at..));
        let from = from.and_then(|from| from.get(..buf.len()));
        buf.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = Note::parse(bytes) {
        let again = Note::parse(note.encode().as_bytes()).expect("what a note wrote");
        assert_eq!(again.encode(), note.encode());
        if let Ok(checkpoint) = Checkpoint::parse(&note.text) {
            assert_eq!(checkpoint.text(), note.text, "one checkpoint has one text");
        }
    }
    let _ = check(bytes, None);
    let nobody = Trust::of(Vec::new());
    for anchor in [None, Some(bytes)] {
        let options = VerifyOptions {
            trust: Some(&nobody),
            anchor,
            workers: 1,
        };
        let container = Container::read(Arc::new(Bytes(bytes.to_vec())), "fuzz");
        if let Ok(found) = verify(container, &options) {
            assert_ne!(found.verdict, Verdict::Valid);
        }
    }
});
