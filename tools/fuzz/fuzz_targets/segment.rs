//! A whole log of one or two segments: any bytes, with checksums that are taken for right or not. Reading, checking and
//! opening end, without a panic, and opening never changes what it refuses.
#![no_main]

use aos_disk::Disk;
use aos_disk::sim::{Policy, SimDisk};
use aos_format::controls::{Control, with};
use aos_format::digest::LogId;
use aos_format::offset::{Offset, Stride, segment_file_name};
use aos_format::segment::{Identity, LockHeader, SegmentHeader};
use aos_store::{Log, LogReader, Options, check};
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::Arc;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let identity = Identity {
        log_id: LogId([7; 16]),
        stride: Stride::MIN,
    };
    let path = Path::new("log");
    let disk = SimDisk::new();
    if choice & 1 == 0 {
        let mut lock = LockHeader { identity }.encode().to_vec();
        lock.resize(128, 0);
        let _ = disk.poke(&path.join("LOCK"), &lock);
    }
    for (index, part) in rest.chunks(4096).take(2).enumerate() {
        let start = Offset(index as u64 * 4096);
        let mut segment = part.to_vec();
        segment.resize(4096, 0);
        if choice & 2 == 0 {
            let offset = start;
            let epoch = 1;
            let header = SegmentHeader { identity, offset, epoch };
            segment[..64].copy_from_slice(&header.encode());
        }
        let _ = disk.poke(&path.join("segments").join(segment_file_name(start)), &segment);
    }
    let control = (choice & 4 == 0).then_some(Control::CrcOff);
    with(control, || read_and_open(&disk, path));
});

fn read_and_open(disk: &SimDisk, path: &Path) {
    let shared = |disk: &SimDisk| -> Arc<dyn Disk> { Arc::new(disk.clone()) };
    if let Ok(reader) = LogReader::open(shared(disk), path) {
        if let Ok(scan) = reader.scan(Offset(0)) {
            for record in scan.flatten() {
                let _ = record.view().map(|view| view.values().count());
                let _ = reader.read(record.offset());
            }
        }
        let _ = reader.tail();
        let _ = reader.index();
        let _ = check(shared(disk), path);
    }
    let image = disk.crash_image(Policy::All);
    let before = image.fingerprint();
    let options = Options {
        stride: Stride::MIN,
        ..Options::new(LogId([7; 16]))
    };
    match Log::open(shared(&image), path, &options) {
        Ok((log, _)) => {
            let _ = log.rows();
            let _ = log.close();
        }
        Err(error) if error.finding().is_some() => {
            assert_eq!(image.fingerprint(), before, "a refused opening changes nothing");
        }
        Err(_) => {}
    }
}
