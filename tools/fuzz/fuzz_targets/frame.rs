//! Frames, commits, segment ends, headers and words: any bytes, with and without a right checksum.
#![no_main]

use aos_format::controls::{Control, with};
use aos_format::frame::{Commit, FrameHeader, SegmentEnd};
use aos_format::offset::{Offset, Stride};
use aos_format::segment::{DurableWord, LockHeader, SegmentHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for control in [None, Some(Control::CrcOff)] {
        with(control, || read(bytes));
    }
});

fn read(bytes: &[u8]) {
    for log2 in [12, 16, 30] {
        let Ok(stride) = Stride::from_log2(log2) else { return };
        if let Ok(header) = FrameHeader::decode(bytes, stride) {
            // What decodes is a frame that fits into its segment, and encodes to the same bytes but for its checksum.
            assert!(header.end().0 <= stride.segment_end(header.offset).0);
            assert_eq!(header.encode()[4..], bytes[4..64]);
            let _ = header.check_body(&bytes[64..]);
            let _ = header.belongs(header.offset, header.salt, header.epoch);
        }
    }
    if let Ok(commit) = Commit::decode(bytes) {
        assert_eq!(commit.encode(), bytes);
        assert!(commit.number.checked_add(1).is_some());
    }
    if let Ok(end) = SegmentEnd::decode(bytes) {
        assert_eq!(end.encode(), bytes);
    }
    if let Ok(header) = SegmentHeader::decode(bytes) {
        assert_eq!(header.encode(), bytes[..64]);
        let _ = header.identity.stride.segment_end(header.offset);
    }
    if let Ok(header) = LockHeader::decode(bytes) {
        assert_eq!(header.encode(), bytes[..64]);
    }
    if let Some(word) = DurableWord::decode(bytes, 0) {
        assert_eq!(word.encode(0), bytes[..32]);
        let _ = Offset(word.durable.0).plus(word.group);
    }
    let _ = DurableWord::newest(bytes, 0);
}
