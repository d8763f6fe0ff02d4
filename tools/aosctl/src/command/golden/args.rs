//! The command line of `golden` and `witness`.

use aos_golden::KeySource;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `golden`
#[derive(Subcommand, Debug)]
pub enum Golden {
    /// Seal runs, segments or all of a log into one immutable, signed file
    Seal(Seal),
    /// Say whether archives are what was sealed, and who vouches for that
    Verify(Verify),
    /// Show what an archive says it holds
    Show(Show),
    /// Sign an archive again; old signatures stay
    Resign(Resign),
    /// Write an archive without chosen values; everything else still verifies
    Redact(Redact),
    /// Print an archive's head, to be kept elsewhere
    Checkpoint(Show),
    /// Print a proof that an event is in an archive
    Prove(Prove),
    /// Print a proof that an archive continues an older checkpoint
    Consistency(Consistency),
    /// Check a proof
    CheckProof(CheckProof),
    /// Say what a directory of archives holds and how it grows
    Status(Folder),
    /// Pack old archives of a directory into one file; they stay
    Archive(Pack),
    /// Delete old archives that packs hold
    Cleanup(Cleanup),
    /// Bring archives back out of a pack, each proven
    Restore(Restore),
}

/// Which keys count.
#[derive(Args, Debug)]
pub struct Trusting {
    /// Trust file: which keys and algorithms count
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub trust: Option<PathBuf>,
    /// Trust this key alone: its file, fd:N, or - for standard input
    #[arg(long, value_name = "KEY")]
    pub key: Option<KeySource>,
}

/// `golden seal`
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["runs", "segments", "all"]))]
#[command(after_help = "\
  aosctl key new gold.key
  aosctl golden seal orders.aos --all --key gold.key --out golden/
  aosctl golden verify golden/*.golden --key gold.key")]
pub struct Seal {
    /// Log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// These runs: ids, first 6 or more digits, or keys, separated by commas
    #[arg(long, value_name = "RUN,...", value_delimiter = ',')]
    pub runs: Vec<String>,
    /// The segments that begin at these offsets, separated by commas
    #[arg(long, value_name = "OFFSET,...", value_delimiter = ',')]
    pub segments: Vec<u64>,
    /// Everything that is durable
    #[arg(long)]
    pub all: bool,
    /// Sign with this key: its file, fd:N, or - for standard input; may be given several times
    #[arg(long, value_name = "KEY")]
    pub key: Vec<KeySource>,
    /// File to make, or a directory, where its name is the digest of its manifest
    #[arg(long, value_name = "FILE|DIR", default_value = ".")]
    pub out: PathBuf,
    /// Compress with zstd
    #[arg(long)]
    pub zstd: bool,
    /// Include the root seeds: whoever has them can compute every salt and draw
    #[arg(long)]
    pub with_seeds: bool,
    /// When, for the manifest
    #[arg(long, value_name = "RFC3339")]
    pub sealed_at: Option<String>,
    /// Threads; the number of cores by default. The file is the same for any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
}

/// `golden verify`
#[derive(Args, Debug)]
#[command(after_help = "\
Verdicts: valid (exit 0); untrusted, no signature that counts (3); incomplete, the anchor tells of
more or of another log (7); corrupt, a checksum fails (5); tampered, checksums hold but digests or
signatures do not (5).")]
pub struct Verify {
    /// Archives, or packs of them
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Which keys count.
    #[command(flatten)]
    pub trusting: Trusting,
    /// A checkpoint kept elsewhere: without one, truncation and rollback cannot be seen
    #[arg(long, value_name = "CHECKPOINT")]
    pub anchor: Option<PathBuf>,
    /// Threads; the number of cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
}

/// An archive.
#[derive(Args, Debug)]
pub struct Show {
    /// Archive
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `golden resign`
#[derive(Args, Debug)]
pub struct Resign {
    /// Archive
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A key that signed it: its file, fd:N, or - for standard input
    #[arg(long, value_name = "KEY")]
    pub old_key: KeySource,
    /// The key to sign with now
    #[arg(long, value_name = "KEY")]
    pub new_key: KeySource,
    /// Why, in one line
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// `golden redact`
#[derive(Args, Debug)]
pub struct Redact {
    /// Archive
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// File to make
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Of this run: its id, the first 6 or more digits of it, or its key
    #[arg(long, value_name = "RUN")]
    pub run: String,
    /// Of this step alone: its name, pointer or activation
    #[arg(long, value_name = "STEP")]
    pub step: Option<String>,
    /// This value alone: $.input, $.output, $.context, $.error, $.request, $.response, ...
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
}

/// `golden prove`
#[derive(Args, Debug)]
pub struct Prove {
    /// Archive
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Offset of the event in the log
    #[arg(long, value_name = "OFFSET")]
    pub event: u64,
}

/// `golden consistency`
#[derive(Args, Debug)]
#[command(after_help = "\
With --log the newer tree is the log's, as it stands; the archives give what was pruned of it.

  aosctl golden consistency gold/*.golden --log orders.aos --from old.checkpoint --key gold.key")]
pub struct Consistency {
    /// Archive; with --log all that hold what was pruned
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The older checkpoint
    #[arg(long, value_name = "CHECKPOINT")]
    pub from: PathBuf,
    /// Prove it for this log instead of an archive
    #[arg(long, value_name = "LOG")]
    pub log: Option<PathBuf>,
    /// Sign the log's checkpoint with this key: its file, fd:N, or - for standard input
    #[arg(long, value_name = "KEY", requires = "log")]
    pub key: Option<KeySource>,
}

/// `golden check-proof`
#[derive(Args, Debug)]
pub struct CheckProof {
    /// Proof
    #[arg(value_name = "PROOF")]
    pub proof: PathBuf,
    /// Which keys count.
    #[command(flatten)]
    pub trusting: Trusting,
}

/// `witness`
#[derive(Args, Debug)]
pub struct Witness {
    /// Checkpoint, signed by the log's key
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,
    /// What the witness has seen; made when it is missing
    #[arg(long, value_name = "FILE")]
    pub state: PathBuf,
    /// Trust file with the keys of the logs
    #[arg(long, value_name = "FILE")]
    pub trust: PathBuf,
    /// The witness's own ed25519 key: its file, fd:N, or - for standard input
    #[arg(long, value_name = "KEY")]
    pub key: KeySource,
    /// Proof that the checkpoint continues the one last seen, from `golden consistency`
    #[arg(long, value_name = "PROOF")]
    pub proof: Option<PathBuf>,
}

/// A directory of archives.
#[derive(Args, Debug)]
pub struct Folder {
    /// Directory
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Only archives at least so old
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub days: u64,
}

/// `golden archive`
#[derive(Args, Debug)]
pub struct Pack {
    /// The directory.
    #[command(flatten)]
    pub folder: Folder,
    /// Say what would be packed
    #[arg(long)]
    pub dry_run: bool,
}

/// `golden cleanup`
#[derive(Args, Debug)]
#[command(after_help = "\
Only archives that a pack in the directory holds byte for byte are deleted; never a last copy, and
never one with a file NAME.golden.hold beside it.")]
pub struct Cleanup {
    /// The directory.
    #[command(flatten)]
    pub folder: Folder,
    /// Say what would be deleted
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub force: bool,
    /// Keep the archive of this name; may be given several times
    #[arg(long, value_name = "NAME")]
    pub hold: Vec<String>,
}

/// `golden restore`
#[derive(Args, Debug)]
pub struct Restore {
    /// Pack
    #[arg(value_name = "PACK")]
    pub pack: PathBuf,
    /// Only these archives; all by default
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Directory to restore into
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
}
