//! What a large log's own seals say of the records that a verdict rests on.
//!
//! Each SEAL has the root of the tree over the records of its range, and the digest of the SEAL before it. The chain is read
//! once; a range is read and its root computed when a record in it matters. Where histories part is proven by two events on
//! each side, the last equal one and the first that differs, since a history digest covers all events before it; so
//! few ranges are read, however large the log is.

use super::input::Recent;
use crate::error::Error;
use crate::finding::Finding;
use crate::verify::seals::{self, Placed};
use aos_format::merkle::root;
use aos_format::offset::Offset;
use aos_store::LogReader;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The seals of a log, and what is known of their ranges.
#[derive(Default)]
pub(crate) struct Sealed {
    chain: OnceLock<Vec<Placed>>,
    ranges: Mutex<BTreeMap<u64, Arc<OnceLock<Option<Finding>>>>>,
}

impl Sealed {
    /// Whether the record at `at` stands in a sealed range that has its root.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when the range has another root, or the seals do not follow one another: tampering.
    pub fn covers(&self, reader: &LogReader, recent: &Recent, at: Offset) -> Result<bool, Error> {
        if self.chain.get().is_none() {
            let chain = match recent.control {
                Some((head, _)) => seals::collect(reader, head)?,
                None => Vec::new(),
            };
            if let Some(finding) = seals::broken(&chain) {
                return Err(Error::Unreadable(Box::new(finding)));
            }
            // Another thread's is the same.
            let _ = self.chain.set(chain);
        }
        let chain = self.chain.get().map_or(&[][..], Vec::as_slice);
        let number = chain.partition_point(|placed| placed.seal.end <= at.0);
        let Some(placed) = chain.get(number).filter(|placed| placed.seal.start <= at.0) else {
            return Ok(false);
        };
        let range = {
            let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
            ranges.entry(placed.seal.start).or_default().clone()
        };
        if range.get().is_none() {
            let found = checked(reader, placed)?;
            let _ = range.set(found);
        }
        match range.get() {
            Some(Some(finding)) => Err(Error::Unreadable(Box::new(finding.clone()))),
            _ => Ok(true),
        }
    }
}

/// What is wrong with the range of a seal.
fn checked(reader: &LogReader, placed: &Placed) -> Result<Option<Finding>, Error> {
    let range = match seals::range(reader, &placed.seal) {
        Ok(range) => range,
        Err(error) => match error.finding() {
            Some(finding) => return Ok(Some(finding.into())),
            None => return Err(error.into()),
        },
    };
    let mut computed = placed.seal.clone();
    computed.end = range.end.0;
    computed.count = range.leaves.len() as u64;
    computed.root = root(&range.leaves);
    Ok((computed != placed.seal).then(|| seals::fault(placed, &computed)))
}
