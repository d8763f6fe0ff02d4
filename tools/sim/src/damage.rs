//! Bytes of a whole log changed one way at a time: what is wrong is found, typed and located, and nothing is read as
//! something else.

use crate::dice::Dice;
use crate::oracle::{Violation, as_disk, log_path, must, open, options};
use crate::soak::on_threads;
use crate::world::{Rec, World};
use aos_disk::sim::{Policy, SimDisk};
use aos_format::controls::{Control, with};
use aos_format::frame::COMMIT_LEN;
use aos_format::offset::{Offset, segment_file_name};
use aos_store::{Error, Finding, FindingKind, Log, LogReader, check};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a power cut leaves whole, and what is damaged at once at least in some ways.
const SECTOR: u64 = 512;

/// Logs up to this length are read as a whole after each damage.
const WHOLE_MAX: u64 = 64 << 10;

/// A closed log, and everything that is known of it.
pub struct Target {
    disk: SimDisk,
    stride: u64,
    segments: Vec<Vec<u8>>,
    /// Records by offset, openings included.
    recs: BTreeMap<u64, Rec>,
    /// Frames, commits among them: start and length.
    frames: Vec<(u64, u64)>,
    /// First byte of the group, its segment header included, that each frame belongs to.
    groups: BTreeMap<u64, u64>,
    /// The same log as it was earlier, and another log of the same shape.
    others: [Vec<Vec<u8>>; 2],
}

/// A way to damage a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// One bit is turned over.
    Flip {
        /// Which byte of the log.
        at: u64,
        /// Which of its bits.
        bit: u8,
    },
    /// A segment ends too early.
    Truncate {
        /// First offset of the segment.
        segment: u64,
        /// Its length.
        len: u64,
    },
    /// Bytes are zeros.
    Zero {
        /// From where on.
        at: u64,
        /// How many.
        len: u64,
    },
    /// Two frames change places.
    Swap {
        /// One, by number.
        first: usize,
        /// The other.
        second: usize,
    },
    /// A frame stands in the place of another too.
    Duplicate {
        /// Which one, by number.
        from: usize,
        /// In whose place.
        to: usize,
    },
    /// A sector is another one.
    Splice {
        /// Its offset.
        at: u64,
        /// Whose bytes it has.
        from: u64,
        /// Of this log, of what it was earlier, or of another.
        source: Source,
    },
}

/// Where the bytes of a spliced sector come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Another place of the same log.
    Same,
    /// The same log at an earlier time.
    Earlier,
    /// Another log.
    Foreign,
}

impl Damage {
    /// Name of the way.
    pub fn name(&self) -> &'static str {
        match self {
            Damage::Flip { .. } => "flip",
            Damage::Truncate { .. } => "truncate",
            Damage::Zero { .. } => "zero",
            Damage::Swap { .. } => "swap",
            Damage::Duplicate { .. } => "duplicate",
            Damage::Splice { .. } => "splice",
        }
    }
}

/// What damages came to.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Damages of each way that changed something, and how many were found at the frame that they hit.
    pub by_way: BTreeMap<&'static str, (u64, u64)>,
    /// Findings of each kind.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// Damages that left the bytes as they were.
    pub without_effect: u64,
}

impl Found {
    /// Adds other findings.
    pub fn add(&mut self, other: Found) {
        for (way, (all, located)) in other.by_way {
            let sum = self.by_way.entry(way).or_default();
            (sum.0, sum.1) = (sum.0 + all, sum.1 + located);
        }
        for (kind, count) in other.by_kind {
            *self.by_kind.entry(kind).or_default() += count;
        }
        self.without_effect += other.without_effect;
    }

    /// Damages that changed something.
    pub fn all(&self) -> u64 {
        self.by_way.values().map(|(all, _)| all).sum()
    }
}

/// The segments of a log, as they are.
fn segments_of(disk: &SimDisk) -> Vec<Vec<u8>> {
    let in_segments = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "seg");
    let files = disk.files().into_iter().filter(in_segments);
    files.filter_map(|path| disk.peek(&path)).collect()
}

/// The file of the segment that starts there.
pub(crate) fn segment_file(start: u64) -> PathBuf {
    let name = segment_file_name(Offset(start));
    log_path().join("segments").join(name)
}

impl Target {
    /// A closed log of at least `bytes` bytes, in segments of `2^stride_log2`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(seed: u64, stride_log2: u32, bytes: u64) -> Result<Target, Error> {
        let disk = SimDisk::with_seed(seed);
        let mut world = World::default();
        let earlier = {
            let (log, _) = open(&disk, stride_log2)?;
            world.resume(&log, Vec::new())?;
            fill(
                &log,
                &mut world,
                &mut Dice::new(seed, "damage", &[1]),
                bytes * 2 / 3,
            )?;
            drop(log);
            segments_of(&disk)
        };
        let (log, _) = open(&disk, stride_log2)?;
        let known = world.accepted.into_iter().map(|(rec, _)| rec).collect();
        let mut world = World::default();
        world.resume(&log, known)?;
        fill(
            &log,
            &mut world,
            &mut Dice::new(seed, "damage", &[2]),
            bytes,
        )?;
        log.close()?;
        let foreign = {
            let disk = SimDisk::with_seed(seed);
            let options = aos_store::Options {
                log_id: aos_format::digest::LogId([8; 16]),
                ..options(stride_log2)
            };
            let (log, _) = Log::open(as_disk(&disk), log_path(), &options)?;
            let mut world = World::default();
            world.resume(&log, Vec::new())?;
            fill(
                &log,
                &mut world,
                &mut Dice::new(seed, "damage", &[1]),
                bytes,
            )?;
            log.close()?;
            segments_of(&disk)
        };
        Target::of(
            disk.crash_image(Policy::All),
            1 << stride_log2,
            [earlier, foreign],
        )
    }

    fn of(disk: SimDisk, stride: u64, others: [Vec<Vec<u8>>; 2]) -> Result<Target, Error> {
        let reader = LogReader::open(as_disk(&disk), log_path())?;
        let mut target = Target {
            segments: segments_of(&disk),
            disk,
            stride,
            recs: BTreeMap::new(),
            frames: Vec::new(),
            groups: BTreeMap::new(),
            others,
        };
        for segment in reader.segments()? {
            for group in reader.walk(segment.start)?.groups {
                let first = group.start.0 == segment.start.0 + 64;
                let start = if first {
                    segment.start.0
                } else {
                    group.start.0
                };
                let commit = (group.end.0 - COMMIT_LEN, COMMIT_LEN);
                let frames = group.frames.iter().map(|f| (f.offset.0, f.frame_len()));
                for (at, len) in frames.chain([commit]) {
                    target.frames.push((at, len));
                    target.groups.insert(at, start);
                }
            }
        }
        for record in reader.scan(Offset(0))? {
            let record = record?;
            target.recs.insert(record.offset().0, Rec::of(&record)?);
        }
        Ok(target)
    }

    /// Bytes of the log, spares included.
    pub fn len(&self) -> u64 {
        self.segments.len() as u64 * self.stride
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Every damage of a small log.
    pub fn every(&self) -> impl Iterator<Item = Damage> + '_ {
        let len = self.len();
        let flips = (0..len).flat_map(|at| (0..8).map(move |bit| Damage::Flip { at, bit }));
        let truncations = (0..len).map(|at| Damage::Truncate {
            segment: at / self.stride * self.stride,
            len: at % self.stride,
        });
        let sectors = len / SECTOR;
        let zeros = (0..sectors).map(|n| (n * SECTOR, SECTOR));
        let blocks = (0..len / 4096).map(|n| (n * 4096, 4096));
        let zeros = zeros
            .chain(blocks)
            .map(|(at, len)| Damage::Zero { at, len });
        let frames = self.frames.len();
        let pairs = (0..frames).flat_map(move |a| (0..frames).map(move |b| (a, b)));
        let moved = pairs.filter(|(a, b)| a != b).flat_map(|(a, b)| {
            let swap = Damage::Swap {
                first: a,
                second: b,
            };
            let twice = Damage::Duplicate { from: a, to: b };
            (a < b).then_some(swap).into_iter().chain([twice])
        });
        let splices = (0..sectors).flat_map(move |to| {
            (0..sectors).flat_map(move |from| {
                [Source::Same, Source::Earlier, Source::Foreign].map(|source| Damage::Splice {
                    at: to * SECTOR,
                    from: from * SECTOR,
                    source,
                })
            })
        });
        flips
            .chain(truncations)
            .chain(zeros)
            .chain(moved)
            .chain(splices)
    }

    /// Some damage.
    pub fn any(&self, dice: &mut Dice) -> Damage {
        let len = self.len();
        let frame = |dice: &mut Dice| dice.below(self.frames.len() as u64) as usize;
        let sector = |dice: &mut Dice| dice.below(len / SECTOR) * SECTOR;
        match dice.below(8) {
            0 => Damage::Truncate {
                segment: dice.below(len) / self.stride * self.stride,
                len: dice.below(self.stride),
            },
            1 => Damage::Zero {
                at: sector(dice),
                len: SECTOR,
            },
            2 => Damage::Swap {
                first: frame(dice),
                second: frame(dice),
            },
            3 => Damage::Duplicate {
                from: frame(dice),
                to: frame(dice),
            },
            4 => Damage::Splice {
                at: sector(dice),
                from: sector(dice),
                source: dice.pick(&[Source::Same, Source::Earlier, Source::Foreign]),
            },
            _ => Damage::Flip {
                at: dice.below(len),
                bit: dice.below(8) as u8,
            },
        }
    }

    fn bytes(&self, at: u64, len: u64) -> &[u8] {
        let segment = &self.segments[(at / self.stride) as usize];
        let from = (at % self.stride) as usize;
        &segment[from..(from + len as usize).min(segment.len())]
    }

    /// The damaged log, and the first byte that is another; `None` where none is.
    fn damaged(&self, damage: Damage) -> Option<(SimDisk, u64)> {
        let mut changes: Vec<(u64, Vec<u8>)> = Vec::new();
        match damage {
            Damage::Flip { at, bit } => changes.push((at, vec![self.bytes(at, 1)[0] ^ (1 << bit)])),
            Damage::Zero { at, len } => changes.push((at, vec![0; len as usize])),
            Damage::Truncate { segment, len } => {
                let image = self.disk.crash_image(Policy::All);
                image
                    .poke(&segment_file(segment), self.bytes(segment, len))
                    .ok()?;
                return Some((image, segment + len));
            }
            Damage::Swap { first, second } => {
                let (a, b) = (self.frames[first], self.frames[second]);
                changes.push((a.0, self.bytes(b.0, b.1).to_vec()));
                changes.push((b.0, self.bytes(a.0, a.1).to_vec()));
            }
            Damage::Duplicate { from, to } => {
                let (from, to) = (self.frames[from], self.frames[to]);
                changes.push((to.0, self.bytes(from.0, from.1).to_vec()));
            }
            Damage::Splice { at, from, source } => {
                let sector = match source {
                    Source::Same => self.bytes(from, SECTOR),
                    other => {
                        let other = &self.others[usize::from(other == Source::Foreign)];
                        let segment = other.get((from / self.stride) as usize)?;
                        let from = (from % self.stride) as usize;
                        &segment[from..from + SECTOR as usize]
                    }
                };
                changes.push((at, sector.to_vec()));
            }
        }
        let mut first = None;
        let image = self.disk.crash_image(Policy::All);
        for (at, bytes) in changes {
            let room = self.stride - at % self.stride;
            let bytes = &bytes[..bytes.len().min(room as usize)];
            let there = self.bytes(at, bytes.len() as u64);
            let differs = there.iter().zip(bytes).position(|(a, b)| a != b);
            let differs = differs.map(|index| at + index as u64);
            first = first.into_iter().chain(differs).min();
            image
                .poke_at(
                    &segment_file(at / self.stride * self.stride),
                    bytes,
                    at % self.stride,
                )
                .ok()?;
        }
        first.map(|first| (image, first))
    }

    /// Damages the log and looks what is found. `opens`: also opens it for writing.
    ///
    /// # Errors
    /// What goes undetected, is read as something else, or is found elsewhere.
    pub fn judge(&self, damage: Damage, opens: bool, found: &mut Found) -> Result<(), Violation> {
        let Some((disk, first)) = self.damaged(damage) else {
            found.without_effect += 1;
            return Ok(());
        };
        let failed = |error: Error| Violation::new("error", format!("{damage:?}: {error}"));
        let reader = LogReader::open(as_disk(&disk), log_path()).map_err(failed)?;
        let finding = self.read(&reader, damage, first)?;
        let finding = match finding {
            Some(finding) => finding,
            None => {
                let report = check(as_disk(&disk), log_path()).map_err(failed)?;
                let first = report.findings.into_iter().next();
                first.ok_or_else(|| Violation::new("undetected", format!("{damage:?}")))?
            }
        };
        let located = self.locate(damage, first, &finding)?;
        let by_way = found.by_way.entry(damage.name()).or_default();
        (by_way.0, by_way.1) = (by_way.0 + 1, by_way.1 + u64::from(located));
        *found.by_kind.entry(finding.kind.name()).or_default() += 1;
        if opens {
            self.open_damaged(&disk, damage, first)?;
        }
        Ok(())
    }

    /// Reads all that can be read: nothing may be another record than the one that was written there.
    fn read(
        &self,
        reader: &LogReader,
        damage: Damage,
        first: u64,
    ) -> Result<Option<Finding>, Violation> {
        let failed = |error: Error| Violation::new("error", format!("{damage:?}: {error}"));
        // Of a large log the segment that was hit first and the next: what stands before is as it was.
        let from = match self.len() > WHOLE_MAX {
            true => first / self.stride * self.stride,
            false => 0,
        };
        let near = from..from + WHOLE_MAX.max(2 * self.stride);
        let mut expected = self.recs.range(from..);
        let mut finding = None;
        for record in reader.scan(Offset(from)).map_err(failed)? {
            match record {
                Ok(record) => {
                    let rec = Rec::of(&record).map_err(failed)?;
                    let right = expected.next() == Some((&record.offset().0, &rec));
                    must!(
                        right,
                        "misread",
                        "{damage:?}: {rec:?} at {}",
                        record.offset()
                    );
                }
                Err(Error::Finding(found)) => finding = Some(*found),
                Err(error) => return Err(failed(error)),
            }
        }
        for (at, expected) in self.recs.range(near) {
            if let Ok(record) = reader.read(Offset(*at)) {
                let right = Rec::of(&record).is_ok_and(|rec| rec == *expected);
                must!(right, "misread", "{damage:?}: record at {at}");
            }
        }
        Ok(finding)
    }

    /// Whether a finding names the frame that was hit; it must at least name its group or segment.
    fn locate(&self, damage: Damage, first: u64, finding: &Finding) -> Result<bool, Violation> {
        let segment = first / self.stride * self.stride;
        let at = finding.offset.0;
        if let Damage::Truncate { segment, .. } = damage {
            must!(at == segment, "mislocated", "{damage:?}: {finding}");
            return Ok(true);
        }
        let hit = self.frames.iter().rev().find(|(start, _)| *start <= first);
        let frame = match hit {
            Some((start, len)) if first < start + len && *start >= segment => *start,
            // Behind the last group of a segment, or in its header.
            Some((start, len)) if *start >= segment => start + len,
            _ => segment,
        };
        let from = self.groups.get(&frame).copied().unwrap_or(frame);
        must!(
            (from..=first).contains(&at) || at == segment,
            "mislocated",
            "{damage:?}, first at {first}: {finding}"
        );
        must!(
            finding.kind != FindingKind::TailUnproven || self.is_behind(first),
            "mistyped",
            "{damage:?} of a closed log: {finding}"
        );
        Ok(at == frame)
    }

    /// Whether a byte stands behind the last group, where a torn group of a later opening leaves some.
    fn is_behind(&self, at: u64) -> bool {
        self.frames
            .last()
            .is_none_or(|(start, len)| at >= start + len)
    }

    /// A damaged log is refused for writing and left as it is, or opens with all that it had.
    fn open_damaged(&self, disk: &SimDisk, damage: Damage, first: u64) -> Result<(), Violation> {
        // The catalogue is derived, and redb marks it as open.
        let all = |disk: &SimDisk| (segments_of(disk), disk.peek(&log_path().join("LOCK")));
        let before = all(disk);
        match open(disk, self.stride.trailing_zeros()) {
            Err(error) => {
                must!(error.finding().is_some(), "error", "{damage:?}: {error}");
                let same = all(disk) == before;
                must!(
                    same,
                    "changed",
                    "{damage:?}: a refused opening changed the disk"
                );
            }
            Ok((log, opening)) => {
                // Opening walks from the durable word; what is damaged before it is for reading to find.
                let cut = opening.tail_cut.is_some() && !self.is_behind(first);
                must!(!cut, "cut", "{damage:?}: {opening:?}");
                drop(log);
            }
        }
        Ok(())
    }
}

fn fill(log: &Log, world: &mut World, dice: &mut Dice, bytes: u64) -> Result<(), Error> {
    let room = log.identity().stride.record_limit() / 4;
    while log.durable().0 < bytes {
        for _ in 0..=dice.below(4) {
            // Often records of one length, so that frames can take each other's place.
            let item = match dice.one_in(2) {
                true => world.step_record(5, vec![dice.below(250) as u8 + 1; 40]),
                false => world.any_record(dice, room),
            };
            log.append(item.draft, item.kind, item.seq)?;
        }
        log.flush()?;
    }
    Ok(())
}

/// Goes through every damage of a small log, or `samples` random ones of a large one, with a control on or none.
///
/// # Errors
/// The first that is not found, or not as it must be; and logs that cannot be made.
pub fn run(
    target: &Target,
    samples: Option<u64>,
    seed: u64,
    jobs: usize,
    control: Option<Control>,
) -> Result<Found, Violation> {
    let next = AtomicU64::new(0);
    let every: Vec<Damage> = match samples {
        Some(_) => Vec::new(),
        None => target.every().collect(),
    };
    let count = samples.unwrap_or(every.len() as u64);
    let work = || {
        let mut found = Found::default();
        loop {
            // In blocks, so that threads do not meet at every step.
            let from = next.fetch_add(64, Ordering::Relaxed);
            if from >= count {
                return Ok(found);
            }
            for number in from..(from + 64).min(count) {
                let damage = match samples {
                    Some(_) => target.any(&mut Dice::new(seed, "sample", &[number])),
                    None => every[number as usize],
                };
                let opens = number % 64 == 0;
                with(control, || target.judge(damage, opens, &mut found))?;
            }
        }
    };
    let mut all = Found::default();
    for found in on_threads(jobs, &work) {
        all.add(found?);
    }
    Ok(all)
}
