//! Opening logs, and finding runs in them.

use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::output::talk;
use aos_disk::{Disk as _, RealDisk};
use aos_engine::clock::Clock;
use aos_engine::engine::Engine;
use aos_engine::material::IMPORT_MEDIA;
use aos_engine::skill::Skills;
use aos_format::digest::{LogId, RunId};
use aos_format::event::Event;
use aos_format::offset::{Offset, Stride};
use aos_store::{
    CatalogueState, Log, LogReader, Mode, Opening, Options, RunRow, RunStatus, StoredRecord,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Least digits of a run id that name a run.
const PREFIX_DIGITS_MIN: usize = 6;

/// Opens a log for writing and says what recovery did. `create` makes it where there is none, with that stride.
///
/// # Errors
/// Those of [`Log::open`]; [`failure::STRIDE`] when the log is there with another stride than asked for.
pub fn writer(path: &Path, create: Option<Option<u64>>) -> Result<Arc<Log>, Failure> {
    let mut options = opening(LogId(host::random()?));
    let asked = create.flatten().map(Stride::from_bytes).transpose();
    let asked =
        asked.map_err(|error| Failure::new(failure::USAGE, Exit::Usage, error.to_string()))?;
    options.stride = asked.unwrap_or(Stride::DEFAULT);
    options.create = create.is_some();
    options.mode = Mode::Threaded;
    options.seal = true;
    let (log, opening) =
        Log::open(Arc::new(RealDisk), path, &options).map_err(failure::store(path))?;
    say(path, &opening);
    let stride = log.identity().stride;
    if let Some(asked) = asked.filter(|asked| *asked != stride) {
        let message = format!(
            "the log has segments of {} bytes, not {}: the stride is fixed when a log is created",
            stride.bytes(),
            asked.bytes()
        );
        return Err(Failure::new(failure::STRIDE, Exit::Refused, message)
            .place(failure::shown(path))
            .next("the same command without --stride, or with another --log"));
    }
    Ok(Arc::new(log))
}

/// Whether nobody has the log open for writing, as far as that can be told without opening it.
pub fn is_free(path: &Path) -> bool {
    matches!(RealDisk.is_locked(&path.join("LOCK")), Ok(false))
}

/// Options of an opening by this program; `log_id` names the log if it is created.
pub fn opening(log_id: LogId) -> Options {
    Options {
        environment: Some(host::environment()),
        wall_ns: Clock::wall_ns(),
        build: concat!("aosctl ", env!("CARGO_PKG_VERSION")).into(),
        target: env!("AOS_TARGET").into(),
        ..Options::new(log_id)
    }
}

fn say(path: &Path, opening: &Opening) {
    let name = failure::shown(path);
    if opening.created {
        talk(&format!("created log {name}"));
    }
    if let Some(cut) = &opening.tail_cut {
        talk(&format!(
            "recovered {name}: cut {} bytes of a group that was not written whole at offset {}, kept as {}",
            cut.len, cut.start, cut.saved_as
        ));
    }
    if let CatalogueState::Rebuilt { why, .. } = &opening.catalogue
        && !opening.created
    {
        talk(&format!("rebuilt the catalogue of {name}: {why}"));
    }
}

/// Brings a log to its end: everything durable, the catalogue up to date. Returns the durable offset.
///
/// # Errors
/// Those of [`Log::close`]; a catalogue that failed is only said, because the next opening makes it again.
pub fn close(path: &Path, engine: Engine) -> Result<Offset, Failure> {
    let log = engine.log().clone();
    drop(engine);
    let durable = log.durable();
    match Arc::try_unwrap(log).map(Log::close) {
        Ok(Ok(durable)) => Ok(durable),
        Ok(Err(error @ aos_store::Error::Catalogue { .. })) => {
            talk(&format!("warning[{}]: {error}", error.code()));
            Ok(durable)
        }
        Ok(Err(error)) => Err(failure::store(path)(error)),
        Err(_still_shared) => Ok(durable),
    }
}

/// Logs of which it was said that they were pruned: a command may open one several times.
static SAID_PRUNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Opens a log for reading; works while another process writes.
///
/// # Errors
/// Those of [`LogReader::open`].
pub fn reader(path: &Path) -> Result<LogReader, Failure> {
    let reader = LogReader::open(Arc::new(RealDisk), path).map_err(failure::store(path))?;
    if let Some(base) = reader.pruned()
        && SAID_PRUNED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path.to_owned())
    {
        talk(&format!(
            "the log was pruned below offset {}: of {} runs only the rows are left, archives hold them",
            base.end(),
            base.gone().len()
        ));
    }
    Ok(reader)
}

/// The values of a log as a reader has them.
pub struct Stored<'a>(pub &'a LogReader);

impl aos_engine::history::Values for Stored<'_> {
    fn bytes(
        &self,
        record: &aos_store::StoredRecord,
        slot: u8,
    ) -> Result<Option<Vec<u8>>, aos_store::Error> {
        aos_engine::run::stored(aos_store::Source::value(self.0, record, slot))
    }
}

/// An engine on an open log with the skills that come with AOS.
///
/// # Errors
/// Those of [`Engine::new`].
pub fn engine(path: &Path, log: Arc<Log>, clock: Clock) -> Result<Engine, Failure> {
    Engine::new(log, Arc::new(Skills::builtin()), clock).map_err(failure::engine(path))
}

/// Those of `rows` whose events were made here: an imported run is open as long as it was over there.
///
/// # Errors
/// Those of reading the log.
pub fn not_imported(log: &Log, rows: Vec<RunRow>) -> Result<Vec<RunRow>, aos_store::Error> {
    let mut imports = BTreeMap::new();
    let mut kept = Vec::with_capacity(rows.len());
    for row in rows {
        let known = imports.get(&row.definition).copied();
        let is_import = match known {
            Some(known) => known,
            None => {
                let is_import = match log.definition(row.definition)? {
                    Some(offset) => is_import(&log.read(offset)?),
                    None => false,
                };
                imports.insert(row.definition, is_import);
                is_import
            }
        };
        if !is_import {
            kept.push(row);
        }
    }
    Ok(kept)
}

fn is_import(record: &StoredRecord) -> bool {
    matches!(
        aos_engine::history::read_event(record),
        Ok(Event::Definition(definition)) if definition.media == IMPORT_MEDIA
    )
}

/// What a run's status is called on the command line.
pub fn status(row: &RunRow) -> &'static str {
    match &row.status {
        RunStatus::Open => "open",
        RunStatus::Waiting => "waiting",
        RunStatus::Pending(policy) if policy == "hold" => "held",
        RunStatus::Pending(_) => "open",
        RunStatus::Completed => "completed",
        RunStatus::Faulted => "faulted",
        RunStatus::Cancelled => "cancelled",
    }
}

/// What a run is known by.
#[derive(Clone, Copy)]
pub struct Known<'r> {
    pub run: RunId,
    pub namespace: &'r str,
    pub name: &'r str,
    pub key: &'r str,
    pub generation: u64,
}

impl<'r> Known<'r> {
    fn of(row: &'r RunRow) -> Known<'r> {
        Known {
            run: row.run,
            namespace: &row.namespace,
            name: &row.name,
            key: &row.key,
            generation: row.generation,
        }
    }
}

/// The run that `name` means: its id, its key, or the only one whose id begins so.
///
/// # Errors
/// [`failure::NO_RUN`], [`failure::AMBIGUOUS`].
pub fn find<'r>(
    path: &Path,
    rows: impl Iterator<Item = &'r RunRow> + Clone,
    name: &str,
) -> Result<RunRow, Failure> {
    let run = choose(path, rows.clone().map(Known::of), name)?;
    let row = rows.into_iter().find(|row| row.run == run);
    Ok(row.expect("it was chosen among them").clone())
}

/// As [`find`], among runs of which only that is known.
///
/// # Errors
/// As [`find`].
pub fn choose<'r>(
    path: &Path,
    runs: impl Iterator<Item = Known<'r>> + Clone,
    name: &str,
) -> Result<RunId, Failure> {
    let id = RunId::from_hex(&name.to_ascii_lowercase());
    if let Some(id) = id.filter(|id| runs.clone().any(|known| known.run == *id)) {
        return Ok(id);
    }
    let list = format!("aosctl runs {}", failure::argument(path));
    let mut keyed: Vec<Known> = runs.clone().filter(|known| known.key == name).collect();
    // Of one workflow's generations of a key the newest is meant.
    keyed.sort_by_key(|known| (known.namespace, known.name, known.generation));
    keyed.dedup_by(|later, first| {
        let same = (later.namespace, later.name) == (first.namespace, first.name);
        if same {
            *first = *later;
        }
        same
    });
    let digits = name.to_ascii_lowercase();
    let is_prefix =
        digits.len() >= PREFIX_DIGITS_MIN && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if keyed.is_empty() && is_prefix {
        keyed = runs
            .filter(|known| known.run.to_string().starts_with(&digits))
            .collect();
    }
    match keyed[..] {
        [known] => Ok(known.run),
        [] => Err(Failure::new(
            failure::NO_RUN,
            Exit::NotFound,
            format!("the log has no run {name}"),
        )
        .place(failure::shown(path))
        .next(list)),
        [first, second, ..] => {
            let message = format!(
                "{name} means {} runs, {} and {} among them",
                keyed.len(),
                first.run,
                second.run
            );
            Err(Failure::new(failure::AMBIGUOUS, Exit::Usage, message)
                .place(failure::shown(path))
                .next(list))
        }
    }
}
