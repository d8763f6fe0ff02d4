//! Derivations in processes of their own, each with one thing of a process or its machine shifted.
//!
//! Two processes under the same circumstances show what follows the process id, or anything else that a process draws for
//! itself; what differs between them is left out when the next things are shifted one at a time.

use super::trace::Trace;
use super::{Found, Perturbed};
use crate::error::Error;
use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const PROCESS: &str = "the process id";
const HOST: &str = "the host name";

/// How a process is started that derives the workflow and says its [`Trace`].
pub struct Child<'a> {
    /// The program with its arguments, its working directory, and an environment as it finds it.
    pub command: &'a dyn Fn() -> Command,
    /// What it reads from standard input.
    pub input: &'a [u8],
    /// A directory that exists, other than its working directory.
    pub elsewhere: &'a Path,
}

/// Environment that every process starts with.
const FROZEN: [(&str, &str); 4] = [
    ("TZ", "UTC"),
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
    ("HOSTNAME", "alpha"),
];

/// Derives the workflow in processes, and adds to a verdict what follows them or what they stand in. What cannot be shifted
/// here is said in [`Perturbed::skipped`].
///
/// # Errors
/// [`Error::Unusable`] when the first process cannot be started, or says no trace.
pub fn processes(child: &Child<'_>, perturbed: &mut Perturbed) -> Result<(), Error> {
    let mut found = Found::default();
    for follows in &perturbed.follows {
        for path in &follows.paths {
            found.unsteady.insert((follows.step.clone(), path.clone()));
        }
    }
    let first = said(frozen(child), child.input).map_err(|what| Error::Unusable { what })?;
    // Twice: a process id alone says little of what a process draws for itself.
    for _ in 0..2 {
        match said(frozen(child), child.input) {
            Ok(trace) => found.compare(&first.events, &trace.events, PROCESS),
            Err(why) => found.skip(PROCESS, &why),
        }
    }
    for follows in &found.follows {
        for path in &follows.paths {
            found.unsteady.insert((follows.step.clone(), path.clone()));
        }
    }
    let environment = |shifts: &[(&str, &str)]| {
        let mut command = frozen(child);
        command.envs(shifts.iter().copied());
        command
    };
    let mut elsewhere = frozen(child);
    elsewhere.current_dir(child.elsewhere);
    let shifts = [
        ("the time zone", environment(&[("TZ", "Asia/Tokyo")])),
        (
            "the locale",
            environment(&[("LANG", "tr_TR.UTF-8"), ("LC_ALL", "tr_TR.UTF-8")]),
        ),
        ("the working directory", elsewhere),
    ];
    for (what, command) in shifts {
        match said(command, child.input) {
            Ok(trace) => found.compare(&first.events, &trace.events, what),
            Err(why) => found.skip(what, &why),
        }
    }
    match on_another_host(child) {
        Ok(trace) => found.compare(&first.events, &trace.events, HOST),
        Err(why) => found.skip(HOST, &why),
    }
    found.runs += 1;
    found.settle(perturbed);
    Ok(())
}

fn frozen(child: &Child<'_>) -> Command {
    let mut command = (child.command)();
    command.envs(FROZEN);
    command
}

/// Derives on a host of another name, where this process may make one: in a UTS namespace of its own.
fn on_another_host(child: &Child<'_>) -> Result<Trace, String> {
    const NAME: &str = "alpha-beta";
    let rename = format!("echo {NAME} > /proc/sys/kernel/hostname");
    let ways: [&[&str]; 2] = [&["--uts"], &["--user", "--map-root-user", "--uts"]];
    let mut why = String::new();
    for way in ways {
        let mut probe = Command::new("unshare");
        probe.args(way).args(["sh", "-c"]);
        probe.arg(format!("{rename} && cat /proc/sys/kernel/hostname"));
        match run(probe, &[]) {
            Ok(name) if name.trim() == NAME => {
                let plain = frozen(child);
                let mut command = Command::new("unshare");
                command.args(way).args(["sh", "-c"]);
                command.arg(format!("{rename} && exec \"$0\" \"$@\""));
                command.arg(plain.get_program()).args(plain.get_args());
                let set = |(key, value): (&OsStr, Option<&OsStr>)| {
                    Some((key.to_owned(), value?.to_owned()))
                };
                command.envs(plain.get_envs().filter_map(set));
                command.env("HOSTNAME", NAME);
                if let Some(directory) = plain.get_current_dir() {
                    command.current_dir(directory);
                }
                return said(command, child.input);
            }
            Ok(name) => why = format!("the host is still called {}", name.trim()),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// The trace that a process says.
fn said(command: Command, input: &[u8]) -> Result<Trace, String> {
    let output = run(command, input)?;
    match Trace::find(&output) {
        Ok(Some(trace)) => Ok(trace),
        Ok(None) => Err("the process said no trace".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs a process to its end and returns what it wrote.
fn run(mut command: Command, input: &[u8]) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = command
        .spawn()
        .map_err(|error| format!("{name} cannot be started: {error}"))?;
    let mut stdin = process.stdin.take();
    std::thread::scope(|scope| {
        // It may end before it has read everything, which its exit status tells.
        scope.spawn(move || {
            if let Some(stdin) = &mut stdin {
                let _ = stdin.write_all(input);
            }
        });
        let output = process
            .wait_with_output()
            .map_err(|error| format!("{name}: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("it said nothing");
        Err(format!("{name} ended with {}: {said}", output.status))
    })
}
