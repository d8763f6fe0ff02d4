//! One file a command.

mod against;
pub mod backup;
pub mod bench;
pub mod bisect;
mod btc;
pub mod check;
mod checkpoint;
mod demo;
pub mod diff;
pub mod evidence;
mod explain;
mod fsck;
pub mod golden;
pub mod import;
pub mod key;
mod log;
pub mod minimize;
mod mock;
pub mod perturb;
pub mod prune;
mod query;
mod replay;
mod resolve;
mod resume;
mod run;
mod runs;
pub mod salvage;
mod sample;
pub mod schedule;
mod show;
mod simulate;
mod skills;
pub mod steer;
pub mod summary;
#[cfg(feature = "tui")]
pub mod tui;
pub mod validate;
pub mod whatif;

pub use mock::Mock;
pub use query::Query;
pub use simulate::Simulate;
pub use skills::SkillsArgs;

use crate::args::{Checkpoint, Command, DemoStory, Log};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use aos_engine::machine::Control;

/// Does what the command line says.
///
/// # Errors
/// What kept it from being done; everything else is in the exit code.
pub fn run(command: &Command, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Command::Demo(args) => match args.story {
            None => demo::demo(args, out),
            Some(DemoStory::Btc) => btc::btc(args, out),
        },
        Command::Run(args) => run::run(args, out),
        Command::Schedule(command) => schedule::schedule(command, out),
        Command::Resume(args) => resume::resume(args, out),
        Command::Resolve(args) => resolve::resolve(args, out),
        Command::Replay(args) => replay::replay(args, out),
        Command::Verify(args) => replay::verify(args, out),
        Command::Diff(args) => diff::diff(args, out),
        Command::Bisect(args) => bisect::bisect(args, out),
        Command::Whatif(args) => whatif::whatif(args, out),
        Command::Minimize(args) => minimize::minimize(args, out),
        Command::Perturb(args) => perturb::perturb(args, out),
        Command::Summary(args) => summary::summary(args, out),
        Command::Runs(args) => runs::runs(args, out),
        Command::Show(args) => show::show(args, out),
        Command::Import(args) => import::import(args, out),
        #[cfg(feature = "tui")]
        Command::Tui(args) => tui::tui(args),
        Command::Checkpoint(Checkpoint::Ls(args)) => checkpoint::list(args, out),
        Command::Checkpoint(Checkpoint::Take(args)) => checkpoint::take(args, out),
        Command::Simulate(args) => simulate::simulate(args, out),
        Command::Query(args) => query::query(args, out),
        Command::Skills(args) => skills::skills(args, out),
        Command::Mock(args) => mock::mock(args, out),
        Command::Capabilities => skills::capabilities(out),
        Command::Log(Log::Stat(args)) => log::stat(args, out),
        Command::Log(Log::Cat(args)) => log::cat(args, out),
        Command::Log(Log::Export(args)) => log::export(args, out),
        Command::Log(Log::Fsck(args)) => fsck::fsck(args, out),
        Command::Log(Log::Backup(args)) => backup::backup(args, out),
        Command::Log(Log::Restore(args)) => backup::restore(args, out),
        Command::Log(Log::Salvage(args)) => salvage::salvage(args, out),
        Command::Log(Log::Prune(args)) => prune::prune(args, out),
        Command::Golden(command) => golden::golden(command, out),
        Command::Key(command) => key::run(command, out),
        Command::Evidence(command) => evidence::run(command, out),
        Command::Witness(args) => golden::witness(args, out),
        Command::Sample(args) => sample::sample(args, out),
        Command::Validate(command) => validate::run(command, out),
        Command::Bench(command) => bench::run(command, out),
        Command::Event(steer::Event::Send(args)) => steer::send(args, out),
        Command::Event(steer::Event::Ls(args)) => steer::list(args, out),
        Command::Cancel(args) => steer::steer(args, Control::Cancel, out),
        Command::Suspend(args) => steer::steer(args, Control::Suspend, out),
        Command::Check(args) => check::check(args, out),
        Command::Graph(args) => check::graph(args, out),
        Command::Explain(args) => explain::explain(args, out),
        Command::Completions(args) => explain::completions(args, out),
    }
}
