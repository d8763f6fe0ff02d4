//! What the machine finds after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Policy;
use super::fault::Plan;
use super::node::{Dirs, FileNode, Ino, Part};
use super::rng::Rng;
use super::state::{ROOT, State};

/// A pending change and the parts it can be torn into.
struct Torn {
    sequence: u64,
    what: What,
    parts: Vec<Part>,
}

#[derive(Clone, Copy)]
enum What {
    /// Index into the pending changes of a file.
    File(Ino, usize),
    /// Index into the pending changes of names.
    Names(usize),
}

impl State {
    /// The number of parts that survive a power cut independently now.
    pub(super) fn pending_units(&self) -> usize {
        self.torn().iter().map(|torn| torn.parts.len()).sum()
    }

    /// Every pending change in the order in which they were made. Files that no name can lead to are left out: what
    /// happens to their bytes cannot be seen.
    fn torn(&self) -> Vec<Torn> {
        let named = self.named();
        let mut all = Vec::new();
        for (ino, file) in self.files.iter().filter(|(ino, _)| named.contains(ino)) {
            for (index, pending) in file.pending.iter().enumerate() {
                all.push(Torn {
                    sequence: pending.sequence,
                    what: What::File(*ino, index),
                    parts: pending.change.parts(self.sector),
                });
            }
        }
        for (index, pending) in self.edits.iter().enumerate() {
            all.push(Torn {
                sequence: pending.sequence,
                what: What::Names(index),
                parts: vec![Part::Whole],
            });
        }
        all.sort_by_key(|torn| torn.sequence);
        all
    }

    /// The disk after a power cut.
    pub(super) fn crash_image(&self, policy: Policy) -> State {
        let mut dirs = self.durable.clone();
        let mut files: BTreeMap<Ino, FileNode> = BTreeMap::new();
        for (ino, file) in &self.files {
            let content = match policy {
                Policy::All if !file.diverged => &file.live,
                _ => &file.durable,
            };
            files.insert(*ino, FileNode::at_rest(content.clone()));
        }
        let survives_whole = policy == Policy::All;
        if survives_whole {
            self.keep_all(&mut dirs, &mut files);
        } else if policy != Policy::None {
            self.keep_some(policy, &mut dirs, &mut files);
        }
        let mut image = State::new(self.seed);
        image.next_ino = self.next_ino;
        image.sequence = self.sequence;
        image.capacity = self.capacity;
        image.sector = self.sector;
        image.settle_on(dirs, files);
        image
    }

    fn keep_all(&self, dirs: &mut Dirs, files: &mut BTreeMap<Ino, FileNode>) {
        for pending in &self.edits {
            pending.apply_alone(dirs);
        }
        for (ino, file) in self.files.iter().filter(|(_, file)| file.diverged) {
            if let Some(kept) = files.get_mut(ino) {
                let content = Arc::make_mut(&mut kept.durable);
                for pending in &file.pending {
                    pending.change.apply(Part::Whole, self.sector, content);
                }
            }
        }
    }

    fn keep_some(&self, policy: Policy, dirs: &mut Dirs, files: &mut BTreeMap<Ino, FileNode>) {
        let mut choice = Choice::new(policy);
        // Sectors that survived since the file's length was last set, each with the change it is of.
        let mut loose: BTreeMap<Ino, Vec<(usize, Part)>> = BTreeMap::new();
        for torn in self.torn() {
            let survivors = choice.survivors(&torn.parts);
            match torn.what {
                What::Names(_) if survivors.is_empty() => {}
                What::Names(index) => self.edits[index].apply_alone(dirs),
                What::File(ino, index) => {
                    for part in survivors {
                        let loose = loose.entry(ino).or_default();
                        let is_sector = matches!(part, Part::Sector(_));
                        if !is_sector {
                            self.apply_loose(&mut choice, ino, loose, files);
                        }
                        loose.push((index, part));
                        if !is_sector {
                            self.apply_loose(&mut choice, ino, loose, files);
                        }
                    }
                }
            }
        }
        for (ino, mut loose) in loose {
            self.apply_loose(&mut choice, ino, &mut loose, files);
        }
    }

    /// Applies parts of changes of one file, in their order or any.
    fn apply_loose(
        &self,
        choice: &mut Choice,
        ino: Ino,
        loose: &mut Vec<(usize, Part)>,
        files: &mut BTreeMap<Ino, FileNode>,
    ) {
        let Some(kept) = files.get_mut(&ino).filter(|_| !loose.is_empty()) else {
            return;
        };
        choice.order(loose);
        let content = Arc::make_mut(&mut kept.durable);
        for (index, part) in loose.drain(..) {
            let change = &self.files[&ino].pending[index].change;
            change.apply(part, self.sector, content);
        }
    }

    /// Takes what can be reached from the root as the state of a disk at rest.
    fn settle_on(&mut self, dirs: Dirs, files: BTreeMap<Ino, FileNode>) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(dir) = open.pop() {
            for ino in dirs.get(&dir).into_iter().flat_map(|names| names.values()) {
                if reached.insert(*ino) {
                    open.push(*ino);
                }
            }
        }
        self.live = dirs;
        self.live.retain(|ino, _| reached.contains(ino));
        self.durable = self.live.clone();
        self.files = files;
        self.files.retain(|ino, _| reached.contains(ino));
        for file in self.files.values_mut() {
            file.live = file.durable.clone();
        }
    }

    /// The disk after the process was killed and the machine went on.
    pub(super) fn process_crash_image(&self) -> State {
        let mut image = State {
            files: self.files.clone(),
            live: self.live.clone(),
            durable: self.durable.clone(),
            edits: self.edits.clone(),
            next_ino: self.next_ino,
            sequence: self.sequence,
            capacity: self.capacity,
            sector: self.sector,
            op_faults: Plan::default(),
            ..State::new(self.seed)
        };
        for file in image.files.values_mut() {
            file.handles = 0;
            file.settled.clear();
        }
        image.forget_unreachable();
        image
    }
}

/// Decides for one part after the other whether it survives.
enum Choice {
    Random { rng: Rng, any_order: bool },
    Mask { bits: u64, next: u32 },
}

impl Choice {
    fn new(policy: Policy) -> Self {
        match policy {
            Policy::Subset(seed) => Choice::Random {
                rng: Rng::new(seed, 0),
                any_order: false,
            },
            Policy::Shuffled(seed) => Choice::Random {
                rng: Rng::new(seed, 0),
                any_order: true,
            },
            Policy::Mask(bits) => Choice::Mask { bits, next: 0 },
            // Handled without looking at parts.
            Policy::None => Choice::Mask { bits: 0, next: 0 },
            Policy::All => Choice::Mask {
                bits: u64::MAX,
                next: 0,
            },
        }
    }

    /// The parts of one change that survive.
    ///
    /// At random, whole changes are kept or lost as often as they are torn; otherwise a write of many sectors would
    /// never be seen whole.
    fn survivors(&mut self, parts: &[Part]) -> Vec<Part> {
        match self {
            Choice::Random { rng, .. } => match rng.below(4) {
                0 => Vec::new(),
                1 => parts.to_vec(),
                _ => parts.iter().copied().filter(|_| rng.coin()).collect(),
            },
            Choice::Mask { bits, next } => {
                let mut kept = Vec::new();
                for part in parts {
                    if bits.checked_shr(*next).unwrap_or(0) & 1 == 1 {
                        kept.push(*part);
                    }
                    *next = next.saturating_add(1);
                }
                kept
            }
        }
    }

    /// Puts the survivors into the order in which they reach the medium.
    fn order(&mut self, survivors: &mut [(usize, Part)]) {
        if let Choice::Random {
            rng,
            any_order: true,
        } = self
        {
            for index in (1..survivors.len()).rev() {
                survivors.swap(index, rng.below(index as u64 + 1) as usize);
            }
        }
    }
}
