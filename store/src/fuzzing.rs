//! What fuzz targets need of this crate's inside; only built for them.

use crate::pruned::{self, Pruned};
use crate::row;
use aos_format::digest::RunId;
use aos_format::offset::Offset;

/// Decodes bytes as every kind of value that a table of the catalogue holds.
///
/// # Panics
/// When what was decoded encodes to other bytes.
pub fn catalogue_values(bytes: &[u8]) {
    if let Some(meta) = row::Meta::decode(bytes) {
        assert_eq!(meta.encode(), bytes);
    }
    if let Some(run) = row::decode_run(RunId([1; 16]), bytes) {
        assert_eq!(row::encode_run(&run), bytes);
    }
    if let Some(head) = row::decode_head(bytes) {
        assert_eq!(row::encode_head(&head), bytes);
    }
    if let Some(checkpoint) = row::decode_checkpoint(Offset(64), bytes) {
        assert_eq!(row::encode_checkpoint(&checkpoint), bytes);
    }
    if let Some(int) = row::decode_int(bytes) {
        assert_eq!(row::encode_int(int), bytes);
    }
}

/// Decodes bytes as PRUNED, and as its body with header and digest that fit.
///
/// # Panics
/// When a kept record cannot be found again.
pub fn pruned(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), pruned::around(bytes)] {
        let Ok(pruned) = Pruned::decode(&bytes) else {
            continue;
        };
        for (header, body) in pruned.frames() {
            let mut found = vec![0; body.len()];
            let at = Offset(header.end().0 - body.len() as u64);
            assert!(pruned.fill(at, &mut found).is_ok() && found == body);
        }
        assert!(pruned.fill(pruned.end(), &mut [0]).is_err());
    }
}
