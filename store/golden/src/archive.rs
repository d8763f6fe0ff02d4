//! An archive as something that records are read from.

use crate::block::Block;
use crate::container::Container;
use crate::error::Error;
use crate::manifest::Manifest;
use aos_format::offset::Offset;
use aos_format::segment::Identity;
use aos_store::{Index, Rows, Source, StoredRecord};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;

/// An archive opened for reading. It is not judged: [`crate::verify()`] does that.
///
/// Keeps the offset of every record, 16 bytes each, and one block.
pub struct Archive {
    container: Container,
    manifest: Manifest,
    index: Arc<Index>,
    /// Offset, block and position in the block, by offset.
    places: Vec<(Offset, u32, u32)>,
    kept: Mutex<Option<(u32, Arc<Block>)>>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive")
            .field("container", &self.container)
            .finish_non_exhaustive()
    }
}

impl Archive {
    /// Whether a file begins as archives do.
    pub fn is_one(path: &Path) -> bool {
        // Opening a FIFO would wait for whoever writes it.
        if !path.is_file() {
            return false;
        }
        let mut magic = [0; 8];
        let read = std::fs::File::open(path)
            .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
        read.is_ok() && magic == *crate::container::MAGIC
    }

    /// Opens the archive at `path` and folds what it contains.
    ///
    /// # Errors
    /// Those of [`Container::open`]; [`Error::Corrupt`] and [`Error::Tampered`] where records cannot be read;
    /// [`Error::Text`] for its manifest.
    pub fn open(path: &Path) -> Result<Archive, Error> {
        Archive::of(Container::open(path)?)
    }

    /// The same over what was opened already.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn of(container: Container) -> Result<Archive, Error> {
        let manifest = Manifest::decode(&container.manifest)?;
        let identity = container.header.identity;
        let salt = identity.log_id.salt();
        let mut rows = Rows::default();
        let mut places = Vec::new();
        let (mut last, mut end) = (Offset(0), Offset(0));
        for number in 0..container.heads.len() {
            let block = Block::read(&container, number)?;
            let mut at = 0;
            for inside in 0..block.head.count {
                let record = block.head.first + u64::from(inside);
                let frame = block.frame(at, identity.stride, salt, last, record)?;
                last = frame.header.offset;
                end = frame.header.end();
                places.push((last, number as u32, at as u32));
                let stored = StoredRecord::carried(identity, last, frame.bytes, &container.file)?;
                rows.take(&stored)?;
                at += frame.bytes.len();
            }
        }
        Ok(Archive {
            manifest,
            index: Arc::new(Index {
                rows,
                end,
                finding: None,
            }),
            places,
            kept: Mutex::new(None),
            container,
        })
    }

    /// The file's outline.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// What it says it holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Offsets of its records, in order: the number of a record is its position here.
    pub fn offsets(&self) -> impl ExactSizeIterator<Item = Offset> + '_ {
        self.places.iter().map(|(offset, _, _)| *offset)
    }

    /// Number of the record at `offset`, from 0.
    pub fn number(&self, offset: Offset) -> Option<u64> {
        let found = self.places.binary_search_by_key(&offset, |place| place.0);
        found.ok().map(|number| number as u64)
    }

    fn block(&self, number: u32) -> Result<Arc<Block>, Error> {
        let mut kept = self.kept.lock();
        if let Some((known, block)) = &*kept
            && *known == number
        {
            return Ok(block.clone());
        }
        let block = Arc::new(Block::read(&self.container, number as usize)?);
        *kept = Some((number, block.clone()));
        Ok(block)
    }

    /// The frame at `offset`, header and padded body, verbatim.
    ///
    /// # Errors
    /// [`Error::NoRecord`]; those of reading.
    pub fn frame(&self, offset: Offset) -> Result<Vec<u8>, Error> {
        let identity = self.container.header.identity;
        let number = self.number(offset).ok_or_else(|| Error::NoRecord {
            what: format!("record at offset {offset}"),
        })?;
        let (_, block, at) = self.places[number as usize];
        let block = self.block(block)?;
        let salt = identity.log_id.salt();
        let frame = block.frame(at as usize, identity.stride, salt, Offset(0), number)?;
        Ok(frame.bytes.to_vec())
    }
}

impl Source for Archive {
    fn identity(&self) -> Identity {
        self.container.header.identity
    }

    fn index(&self) -> Result<Arc<Index>, aos_store::Error> {
        Ok(self.index.clone())
    }

    fn read(&self, offset: Offset) -> Result<StoredRecord, aos_store::Error> {
        match self.frame(offset) {
            Ok(frame) => {
                StoredRecord::carried(self.identity(), offset, &frame, &self.container.file)
            }
            Err(Error::NoRecord { .. }) => Err(aos_store::Error::NoRecord {
                what: format!("at offset {offset} in {}", self.container.file),
            }),
            Err(error) => Err(error.into()),
        }
    }
}
