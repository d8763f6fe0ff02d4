//! `aosctl minimize`

use super::diff::Opened;
use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host;
use crate::output::{Cell, Object, Output};
use aos_replay::diff::{Options, minimize as reduce};
use clap::Args;

/// `minimize`
#[derive(Args, Debug)]
#[command(after_help = "\
Both sides are derived again from the same ever smaller input, with the same seed and answers, for as
long as they end differently: what is left of the input is what the change of the workflow is about.

  aosctl minimize old.aos:17 new.aos:17 -o json")]
pub struct Minimize {
    /// First side: LOG:RUN, or a log with one run
    #[arg(value_name = "A[:RUN]")]
    pub a: String,
    /// Second side
    #[arg(value_name = "B[:RUN]")]
    pub b: String,
}

/// Finds the smallest input with which two runs still end differently.
///
/// # Errors
/// Those of reading; sides that cannot be derived, or do not differ.
pub fn minimize(args: &Minimize, out: &mut Output) -> Result<Exit, Failure> {
    let opened = [Opened::open(&args.a)?, Opened::open(&args.b)?];
    let inputs = [
        opened[0].input(false, host::cores())?,
        opened[1].input(false, host::cores())?,
    ];
    let runs = [opened[0].one(&inputs[0])?, opened[1].one(&inputs[1])?];
    let found = reduce([&inputs[0], &inputs[1]], runs, &Options::default())
        .map_err(failure::replay(&opened[0].named.path))?;
    if out.form() == Form::Table {
        out.line(&format!(
            "{} bytes of input are left of {}{}",
            found.bytes_after,
            found.bytes_before,
            if found.minimal {
                ": nothing more can be taken away"
            } else {
                "; tries ran out"
            }
        ))?;
    }
    let object = Object::new()
        .with("input", Cell::Json(found.input))
        .with("bytes_before", found.bytes_before)
        .with("bytes_after", found.bytes_after)
        .with("tries", found.tries)
        .with("minimal", found.minimal);
    out.object(&object)?;
    Ok(if found.minimal {
        Exit::Yes
    } else {
        Exit::Undecided
    })
}
