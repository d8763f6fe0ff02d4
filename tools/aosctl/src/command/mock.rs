//! `aosctl mock`: servers that stand for the outside.

use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host::Stop;
use crate::output::{Object, Output};
use aos_engine::mock::{Server, llm};
use clap::{Args, Subcommand};
use std::path::Path;
use std::time::Duration;

/// How often it is looked whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// `mock`
#[derive(Subcommand, Debug)]
pub enum Mock {
    /// A deterministic OpenAI-compatible chat endpoint on 127.0.0.1, until Ctrl-C
    Llm(Port),
}

/// Where to listen.
#[derive(Args, Debug)]
pub struct Port {
    /// Port; a free one by default
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
}

/// Serves until a signal comes.
///
/// # Errors
/// [`failure::FILE`] when the port cannot be had.
pub fn mock(args: &Mock, out: &mut Output) -> Result<Exit, Failure> {
    let Mock::Llm(Port { port }) = args;
    let stop = Stop::listen()?;
    let server = Server::on(*port, llm).map_err(|error| {
        let place = format!("127.0.0.1:{port}");
        failure::file("listen on", Path::new(&place), &error)
    })?;
    out.object(
        &Object::new()
            .with("schema", "aos.mock.v1")
            .with("endpoint", format!("{}/v1", server.base())),
    )?;
    out.flush()?;
    loop {
        if let Some(exit) = stop.exit() {
            return Ok(exit);
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}
