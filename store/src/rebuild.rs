//! Opening a catalogue that may be worth nothing, and making it again from the segments.

use crate::backend::FileBackend;
use crate::catalogue::{Catalogue, CatalogueState, FileState};
use crate::error::Error;
use crate::group::{Position, Step};
use crate::place::{Place, Segments};
use crate::reader::LogReader;
use crate::recovery::take_locks;
use crate::row::Meta;
use crate::tables::{Db, View, guard, read_meta, write};
use crate::tail::{End, TailState, judge};
use crate::walk::Walker;
use aos_disk::{Kind as DiskKind, OpenMode};
use aos_format::offset::Offset;
use aos_format::segment::Identity;
use redb::{Builder, Database};
use std::sync::Arc;

/// Memory redb may use for pages, in bytes.
const CACHE_BYTES: usize = 16 << 20;

pub(crate) fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// The catalogue as it is on the disk, if it is one of this log, whole, and not ahead of it; else why not.
#[allow(clippy::type_complexity)]
pub(crate) fn open_existing(
    place: &Place,
    identity: Identity,
    walker: &mut Walker,
    end: &Position,
) -> Result<Result<(Db, Meta), String>, Error> {
    let file = match place.disk.open(&place.catalogue(), OpenMode::ReadWrite) {
        Ok(file) => file,
        Err(error) if error.kind() == DiskKind::NotFound => return Ok(Err("it is missing".into())),
        Err(error) => return Err(error.into()),
    };
    if file.is_empty()? {
        return Ok(Err("it is empty".into()));
    }
    let opened = guard(|| {
        let mut db = builder().create_with_backend(FileBackend(file))?;
        let whole = db.check_integrity()?;
        Ok((Db::new(db), whole))
    });
    let db = match opened {
        Ok((db, true)) => db,
        Ok((_, false)) => return Ok(Err("its pages failed their checksums".into())),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let meta = match read_meta(&db) {
        Ok(Some(meta)) => meta,
        Ok(None) => return Ok(Err("it is of another schema".into())),
        Err(error) => return Ok(Err(error.to_string())),
    };
    match View::open(&db).and_then(|view| view.sum()) {
        Ok(sum) if sum == meta.sum => {}
        Ok(_) => return Ok(Err("its rows are not those that were written".into())),
        Err(error) => return Ok(Err(error.to_string())),
    }
    Ok(match unfit(&meta, identity, walker, end)? {
        Some(why) => Err(why),
        None => Ok((db, meta)),
    })
}

/// Why a catalogue does not fit the log, if it does not.
pub(crate) fn unfit(
    meta: &Meta,
    identity: Identity,
    walker: &mut Walker,
    end: &Position,
) -> Result<Option<String>, Error> {
    if meta.log_id != identity.log_id {
        return Ok(Some(format!("it is of log {}", meta.log_id)));
    }
    let folded = meta.position;
    let start = walker.segments().start();
    if folded.end < start.end {
        return Ok(Some(format!(
            "it is folded up to {}, and the log was pruned up to {} since",
            folded.end, start.end
        )));
    }
    if folded.end > end.end {
        return Ok(Some(format!(
            "it is ahead of the log: folded up to {}, the log ends at {}",
            folded.end, end.end
        )));
    }
    if folded.end == Offset(0) {
        return Ok((folded != Position::START).then(|| "it starts nowhere".into()));
    }
    let found = walker.position_at(folded.end, folded.group, folded.epoch)?;
    Ok((found != Some(folded)).then(|| {
        format!(
            "the log has no group {} ending at {} as the catalogue knew it",
            folded.group, folded.end
        )
    }))
}

/// Makes the catalogue from the segments, under a temporary name.
pub(crate) fn rebuild(
    place: &Place,
    identity: Identity,
    end: &Position,
    why: String,
) -> Result<(Catalogue, CatalogueState), Error> {
    let temporary = place.root.join("catalog.redb.tmp");
    let file = place.disk.open(&temporary, OpenMode::CreateNew)?;
    let db = guard(|| Ok(Db::new(builder().create_with_backend(FileBackend(file))?)))?;
    let segments = Arc::new(Segments::open(place.clone(), identity, false)?);
    let rows = segments.rows();
    let meta = Meta {
        log_id: identity.log_id,
        position: segments.start(),
        first_seed: rows.first_seed,
        unreadable: rows.unreadable,
        sum: 0,
    };
    write(&db, &rows, &meta)?;
    let walker = Walker::new(segments, identity);
    let catalogue = Catalogue::new(place, identity, db, walker, &meta, FileState::Unnamed);
    catalogue.fill(end.end)?;
    Ok((catalogue, CatalogueState::Rebuilt { why }))
}

/// Makes the catalogue again while nobody has the log, up to what is proven durable.
pub(crate) fn rebuild_alone(place: &Place, reader: &LogReader) -> Result<Offset, Error> {
    let _locks = take_locks(place)?;
    // Our own lock would look like a writer's, so the end is found without asking for it.
    let word = reader.durable_word()?;
    let identity = reader.identity();
    let mut walker = Walker::new(reader.files().clone(), identity);
    let mut position = reader.files().start();
    let mut durable = position;
    loop {
        match walker.next_group(&position)? {
            Step::Group(group) => {
                durable = position;
                position = group.position();
                if word.is_some_and(|word| position.end <= word.durable) {
                    durable = position;
                }
            }
            Step::Stop(stop) => {
                let listing = reader.files().list()?;
                let end = End {
                    position,
                    stop,
                    last: Vec::new(),
                };
                match judge(&mut walker, &listing, identity.stride, word.as_ref(), &end)? {
                    TailState::Damage(finding) | TailState::Gap(finding) => {
                        return Err(finding.into());
                    }
                    TailState::Clean | TailState::Torn { .. } | TailState::Unproven(_) => break,
                }
            }
        }
    }
    let temporary = place.root.join("catalog.redb.tmp");
    if place.disk.exists(&temporary)? {
        place.disk.remove(&temporary)?;
    }
    let (catalogue, _) = rebuild(place, identity, &durable, "asked for".into())?;
    catalogue.commit(durable.end)
}
