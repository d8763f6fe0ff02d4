//! `import`

use aos_import::{Mapping, Outcome, Path as FieldPath, Source};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `import`
#[derive(Args, Debug)]
#[command(arg_required_else_help = true, args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Each event keeps its bytes; what of it is hashed is a table, which --explain prints and the log
keeps. The same file again changes nothing, a longer history of the same run appends what is new,
another history under the same key is refused: exit 3. A run is taken whole or not at all.

  aosctl import temporal history.json --log orders.aos
  aosctl import jsonl traces.jsonl --log traces.aos --type kind --run session --volatile at")]
pub struct Import {
    /// Print the tables of what counts, and import nothing
    #[arg(long)]
    pub explain: bool,
    /// Where the runs come from.
    #[command(subcommand)]
    pub from: Option<From>,
}

/// Where runs come from.
#[derive(Subcommand, Debug)]
pub enum From {
    /// Histories of Temporal, as its command line and web interface export them
    Temporal(Temporal),
    /// JSON lines of anything, one event a line
    Jsonl(Box<Jsonl>),
}

/// What every import needs.
#[derive(Args, Debug)]
pub struct Target {
    /// Log to write to; created when it is missing
    #[arg(long, value_name = "LOG", required_unless_present = "explain")]
    pub log: Option<PathBuf>,
    /// Key of the one run, in place of what the file says
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Length of a segment when the log is created, a power of two; with K, M or G [default: 64M]
    #[arg(long, value_name = "BYTES", value_parser = crate::args::parse_bytes)]
    pub stride: Option<u64>,
    /// Print the tables of what counts, and import nothing
    #[arg(long)]
    pub explain: bool,
}

/// `import temporal`
#[derive(Args, Debug)]
pub struct Temporal {
    /// Histories, JSON, plain or gzip; - for standard input
    #[arg(value_name = "HISTORY", required_unless_present = "explain")]
    pub histories: Vec<PathBuf>,
    /// What every import needs.
    #[command(flatten)]
    pub target: Target,
}

/// `import jsonl`
#[derive(Args, Debug)]
pub struct Jsonl {
    /// Lines, plain or gzip; - for standard input
    #[arg(value_name = "FILE", required_unless_present = "explain")]
    pub file: Option<PathBuf>,
    /// What every import needs.
    #[command(flatten)]
    pub target: Target,
    /// Type of the event: a path into the line, /a/b or a.b
    #[arg(long = "type", value_name = "PATH", default_value = "type", value_parser = path)]
    pub foreign_type: FieldPath,
    /// Run the event belongs to; without it the file is one run, and --key names it
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub run: Option<FieldPath>,
    /// What the source calls the event; not hashed. The number of the line by default
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub id: Option<FieldPath>,
    /// When it happened, RFC 3339; not hashed
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub time: Option<FieldPath>,
    /// What it is about, such as a tool or an activity: events are aligned by it
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub subject: Option<FieldPath>,
    /// An attribute that does not count; may be given several times
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub volatile: Vec<FieldPath>,
    /// A type that ends the run: TYPE, or TYPE=completed, =faulted or =cancelled
    #[arg(long, value_name = "TYPE[=OUTCOME]", value_parser = end)]
    pub end: Vec<(String, Outcome)>,
    /// Name of the engine: the namespace of the runs
    #[arg(long, value_name = "NAME", default_value = "jsonl")]
    pub engine: String,
    /// Name of the workflow
    #[arg(long, value_name = "NAME", default_value = "jsonl")]
    pub workflow: String,
}

impl Jsonl {
    /// The importer that the options describe.
    pub fn importer(&self) -> aos_import::Jsonl {
        let source = Source {
            engine: self.engine.clone(),
            workflow: self.workflow.clone(),
        };
        let mapping = Mapping {
            foreign_type: self.foreign_type.clone(),
            run: self.run.clone(),
            id: self.id.clone(),
            time: self.time.clone(),
            subject: self.subject.clone(),
            volatile: self.volatile.clone(),
            ends: self.end.iter().cloned().collect(),
        };
        aos_import::Jsonl::new(source, mapping)
    }
}

fn path(text: &str) -> Result<FieldPath, String> {
    FieldPath::parse(text).map_err(|error| error.to_string())
}

fn end(text: &str) -> Result<(String, Outcome), String> {
    let (name, outcome) = text.rsplit_once('=').unwrap_or((text, "completed"));
    let outcome =
        Outcome::from_name(outcome).ok_or("expected completed, faulted or cancelled behind =")?;
    if name.is_empty() {
        return Err("expected the name of a type".into());
    }
    Ok((name.to_owned(), outcome))
}
