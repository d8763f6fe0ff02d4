//! Records and deterministic parts: any bytes.
#![no_main]

use aos_format::event::{Event, previous, raw_fields, slots};
use aos_format::frame::Kind;
use aos_format::record::RecordView;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, body)) = bytes.split_at_checked(4) else {
        return;
    };
    let record_len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    // Read in place, so at an address as frames have it, and at one that they never have.
    let mut aligned = aos_store::Aligned::zeroed(body.len() + 1);
    for shift in [0, 1] {
        aligned[shift..shift + body.len()].copy_from_slice(body);
        look(&aligned[shift..shift + body.len()], record_len);
    }
    for kind in Kind::ALL {
        let _ = previous(kind, body);
        let _ = raw_fields(kind, body);
        let _ = slots(kind, body);
        if let Ok((before, event)) = Event::decode(kind, body) {
            assert_eq!(event.encode(&before), body, "one event has one encoding");
        }
    }
});

fn look(body: &[u8], record_len: u32) {
    let Ok(view) = RecordView::open(body, record_len) else {
        return;
    };
    assert!(view.lane_seq().checked_add(1).is_some());
    let _ = (view.stream(), view.tenant(), view.lane(), view.wall_ns(), view.digest());
    for value in view.values() {
        let _ = view.value_bytes(&value);
    }
}
