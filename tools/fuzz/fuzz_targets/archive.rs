//! A golden archive: any bytes, or a header that fits them, with checksums that are taken for right or not. Verifying and
//! reading end, without a panic, and nothing that nobody signed is valid.
#![no_main]

use aos_format::controls::{Control, with};
use aos_format::digest::LogId;
use aos_format::offset::Stride;
use aos_format::segment::Identity;
use aos_format::wire::crc32;
use aos_golden::{Archive, Container, Header, Verdict, VerifyOptions, verify};
use aos_store::Source;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

/// The bytes behind a header that says how long their parts are: the first eight bytes decide.
fn headed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (lengths, rest) = bytes.split_first_chunk::<8>()?;
    let word = |at: usize| u16::from_le_bytes([lengths[at], lengths[at + 1]]);
    let header = Header {
        identity: Identity {
            log_id: LogId([7; 16]),
            stride: Stride::MIN,
        },
        payload_len: word(0).into(),
        manifest_len: word(2).into(),
        blocks: u32::from(lengths[4] % 4),
        records: u64::from(word(6) % 64),
        manifest_crc: 0,
    };
    let at = (header.payload_len + 32 * header.records) as usize;
    let manifest = rest.get(at..at + header.manifest_len as usize).unwrap_or_default();
    let header = Header {
        manifest_crc: crc32(manifest),
        ..header
    };
    Some([&header.encode()[..], rest].concat())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let archive = match choice & 1 {
        0 => headed(rest).unwrap_or_default(),
        _ => rest.to_vec(),
    };
    let control = (choice & 2 == 0).then_some(Control::CrcOff);
    with(control, || {
        let archive = Arc::new(archive);
        let container = Container::read(archive.clone(), "fuzzed");
        if let Ok(found) = verify(container, &VerifyOptions::default()) {
            assert_ne!(found.verdict, Verdict::Valid, "nobody is trusted");
        }
        if let Ok(archive) = Container::read(archive, "fuzzed").and_then(Archive::of) {
            let offsets: Vec<_> = archive.offsets().collect();
            for offset in offsets {
                let _ = archive.read(offset).map(|record| record.view().is_ok());
            }
        }
    });
});
