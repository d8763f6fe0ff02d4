//! Golden archives beside their ceiling: plain SHA-256 of the same bytes, at the same number of threads, in turn.

use crate::replay::timed;
use crate::stats::{Failure, machine, spread};
use aos_disk::RealDisk;
use aos_format::digest::Digest;
use aos_golden::{Container, SealOptions, Selection, VerifyOptions, seal, verify};
use aos_store::LogReader;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Hashes `bytes` in pieces of 1 MiB on `workers` threads.
fn plain(bytes: &[u8], workers: usize) {
    let share = bytes.len().div_ceil(workers).max(1);
    std::thread::scope(|scope| {
        for part in bytes.chunks(share) {
            scope.spawn(move || {
                for piece in part.chunks(1 << 20) {
                    std::hint::black_box(Digest::of(piece));
                }
            });
        }
    });
}

/// Seals the log at `path` into a temporary directory below `dir` and verifies what came of it.
///
/// # Errors
/// What reading, sealing or verifying says; an archive that does not agree with itself.
pub fn measure(
    path: &Path,
    dir: &Path,
    rounds: usize,
    workers: &[usize],
) -> Result<Value, Failure> {
    let reader = LogReader::open(Arc::new(RealDisk), path)?;
    let mut figures = Vec::new();
    let mut bytes_of_archive = 0;
    for &workers in workers {
        let (mut sealing, mut verifying, mut hashing) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let folder = tempfile::tempdir_in(dir)?;
            let options = SealOptions {
                selection: Selection::All,
                keys: &[],
                compress: false,
                seeds: false,
                build: "bench",
                sealed_at: None,
                workers,
            };
            let out = folder.path().join("a.golden");
            let mut size = 0;
            sealing.push(timed(|| {
                size = seal(&reader, &out, &options)?.manifest.size;
                Ok(())
            })?);
            let bytes = std::fs::read(&out)?;
            bytes_of_archive = bytes.len();
            hashing.push(timed(|| {
                plain(&bytes, workers);
                Ok(())
            })?);
            let options = VerifyOptions {
                workers,
                ..VerifyOptions::default()
            };
            verifying.push(timed(|| {
                let found = verify(Container::open(&out), &options)?;
                match found.finding_count == 0 && found.good_records == size {
                    true => Ok(()),
                    false => Err("the archive does not agree with itself".into()),
                }
            })?);
        }
        let median = |samples: &[f64]| {
            let mut sorted = samples.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() / 2]
        };
        figures.push(json!({
            "workers": workers,
            "verify_share_of_sha256": median(&hashing) / median(&verifying),
            "seal_passes_of_sha256": median(&sealing) / median(&hashing),
            "seal_s": spread(sealing),
            "verify_s": spread(verifying),
            "plain_sha256_s": spread(hashing),
        }));
    }
    Ok(json!({
        "schema": "aos.bench.golden.v1",
        "machine": machine(),
        "rounds": rounds,
        "archive_bytes": bytes_of_archive,
        "figures": figures,
    }))
}
