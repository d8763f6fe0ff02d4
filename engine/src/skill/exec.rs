//! `exec`: one program, without a shell.
//!
//! The program is an absolute path and gets its arguments as they are, an environment that holds only what the arguments name,
//! and a process group of its own, which is killed as a whole when its time is over. Nobody knows what a program does, so an
//! unknown outcome is held.

use super::arguments::{Arguments, describe, short};
use super::{About, AtHand, Effect, GivenUp, Latency, Policy, Reach, Retry};
use crate::fault::{Code, Fault};
use crate::secret::{Scrubber, Secret, SecretRef};
use crate::value::{Val, Value, as_text, object, text};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// JSON Schema of the arguments.
const INPUT: &str = r#"{
  "type": "object",
  "properties": {
    "argv": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 256, "description": "an absolute path, then its arguments"},
    "stdin": {"type": "string"},
    "env": {"type": "object", "additionalProperties": {"type": ["string", "object"]}, "description": "texts, or secrets {\"file\": PATH}"},
    "cwd": {"type": "string"},
    "output_bytes_max": {"type": "integer", "minimum": 0, "maximum": 1048576},
    "timeout_ms": {"type": "integer", "minimum": 1, "maximum": 600000}
  },
  "required": ["argv"],
  "additionalProperties": false
}"#;

const OUTPUT: &str = r#"{
  "type": "object",
  "required": ["exit", "stdout", "stderr", "truncated"],
  "properties": {"exit": {"type": "integer"}, "stdout": {"type": "string"}, "stderr": {"type": "string"}, "truncated": {"type": "boolean"}}
}"#;

const ARGUMENTS_MAX: usize = 256;
const VARIABLES_MAX: usize = 256;
const TIMEOUT_MS_MAX: usize = 600_000;
const TIMEOUT_MS: usize = 10_000;
const OUTPUT_BYTES_MAX: usize = 1 << 20;
const OUTPUT_BYTES: usize = 64 << 10;
/// Longest wait for the rest of the output once the program has ended.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// How often it is looked whether a program whose output has ended has ended too.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The skill.
pub(super) struct Exec;

/// Names and values.
type Environment = Vec<(String, String)>;

/// The value of a variable of the environment.
#[derive(Clone)]
enum Variable {
    Plain(String),
    Secret(SecretRef),
}

impl Variable {
    fn read(value: &Val) -> Option<Variable> {
        match SecretRef::read(value) {
            Some(at) => Some(Variable::Secret(at)),
            None => as_text(value)
                .filter(|value| !value.contains('\0'))
                .map(|value| Variable::Plain(value.into())),
        }
    }

    fn value(&self) -> Val {
        match self {
            Variable::Plain(value) => text(value),
            Variable::Secret(at) => at.value(),
        }
    }
}

/// A program to run, read from arguments or from a record.
struct Program {
    argv: Vec<String>,
    stdin: String,
    env: Vec<(String, Variable)>,
    cwd: String,
    output_bytes_max: usize,
    timeout_ms: usize,
}

impl Program {
    fn read(arguments: &Value) -> Result<Program, Fault> {
        let mut given = Arguments::of("exec", arguments)?;
        let argv = given
            .array("argv", ARGUMENTS_MAX)?
            .iter()
            .map(|item| {
                as_text(item)
                    .filter(|text| !text.contains('\0'))
                    .map(str::to_owned)
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| given.wrong("argv", "texts without NUL", "others"))?;
        let program = argv
            .first()
            .ok_or_else(|| given.wrong("argv", "a program", "nothing"))?;
        if !Path::new(program).is_absolute() {
            let found = format!("`{}`", short(program));
            return Err(given.wrong(
                "argv/0",
                "an absolute path, as nothing is searched for",
                &found,
            ));
        }
        let mut plain = |name: &str| match given.maybe(name) {
            None => Ok(String::new()),
            Some(value) => as_text(value)
                .map(str::to_owned)
                .ok_or_else(|| given.wrong(name, "text", &describe(value))),
        };
        let (stdin, cwd) = (plain("stdin")?, plain("cwd")?);
        let env = match given.maybe("env") {
            None | Some(Val::Null) => Vec::new(),
            Some(Val::Obj(fields)) if fields.len() <= VARIABLES_MAX => fields
                .iter()
                .map(|(key, value)| {
                    let name =
                        as_text(key).filter(|n| !n.is_empty() && !n.contains(['=', '\0']))?;
                    Some((name.to_owned(), Variable::read(value)?))
                })
                .collect::<Option<_>>()
                .ok_or_else(|| given.wrong("env", "names and texts or secrets", "others"))?,
            Some(other) => {
                return Err(given.wrong("env", "an object of at most 256 texts", &describe(other)));
            }
        };
        let output_bytes_max = given
            .maybe_count("output_bytes_max", OUTPUT_BYTES_MAX)?
            .unwrap_or(OUTPUT_BYTES);
        let timeout_ms = given
            .maybe_count("timeout_ms", TIMEOUT_MS_MAX)?
            .unwrap_or(TIMEOUT_MS);
        if timeout_ms == 0 {
            return Err(given.wrong("timeout_ms", "at least 1", "0"));
        }
        given.end()?;
        Ok(Program {
            argv,
            stdin,
            env,
            cwd,
            output_bytes_max,
            timeout_ms,
        })
    }

    fn record(&self) -> Result<Value, Fault> {
        let env = self
            .env
            .iter()
            .map(|(name, value)| (text(name), value.value()));
        Ok(Value::from_val(&object([
            ("argv", self.argv.iter().map(|arg| text(arg)).collect()),
            ("cwd", text(&self.cwd)),
            ("env", Val::obj(env.collect())),
            ("output_bytes_max", Val::from(self.output_bytes_max)),
            ("stdin", text(&self.stdin)),
            ("timeout_ms", Val::from(self.timeout_ms)),
        ]))?)
    }

    /// The environment, and the secrets in it.
    fn environment(&self) -> Result<(Environment, Vec<Secret>), Fault> {
        let mut secrets = Vec::new();
        let mut env = Vec::new();
        for (name, value) in &self.env {
            let value = match value {
                Variable::Plain(value) => value.clone(),
                Variable::Secret(at) => {
                    let secret = at.resolve()?;
                    let value = secret.prefixed(&at.prefix)?;
                    secrets.push(secret);
                    value
                }
            };
            if value.contains('\0') {
                let why = "exec: a secret that goes into the environment has no NUL";
                return Err(Fault::new(Code::PermissionDenied, why));
            }
            env.push((name.clone(), value));
        }
        Ok((env, secrets))
    }

    fn spawn(&self, env: &Environment) -> Result<Child, Fault> {
        let mut command = Command::new(&self.argv[0]);
        command
            .args(&self.argv[1..])
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if !self.cwd.is_empty() {
            command.current_dir(&self.cwd);
        }
        command.spawn().map_err(|error| {
            let (code, why) = match error.kind() {
                std::io::ErrorKind::NotFound => (Code::Http404, "is not there"),
                std::io::ErrorKind::PermissionDenied => (Code::PermissionDenied, "may not be run"),
                _ => (Code::Http503, "cannot be started"),
            };
            Fault::new(code, format!("exec: {} {why}", short(&self.argv[0])))
        })
    }

    fn run(&self, given_up: &GivenUp) -> Result<Value, Fault> {
        let (env, secrets) = self.environment()?;
        let scrubber = Scrubber::new(&secrets);
        let mut child = self.spawn(&env)?;
        if let Some(mut pipe) = child.stdin.take() {
            let bytes = self.stdin.clone().into_bytes();
            // A program that does not read its input is not at fault.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let limit = self.output_bytes_max;
        let stdout = child.stdout.take().map(|pipe| collect(pipe, limit));
        let stderr = child.stderr.take().map(|pipe| collect(pipe, limit));
        let ended = wait(
            &child,
            Duration::from_millis(self.timeout_ms as u64),
            given_up,
        );
        // What it has started goes with it, whether it has ended or not: nothing may hold the pipes.
        kill(&child);
        let status = child.wait();
        let (stdout, stderr) = (received(stdout), received(stderr));
        if !ended {
            let why = format!(
                "exec: {} has not ended within {} ms",
                short(&self.argv[0]),
                self.timeout_ms
            );
            return Err(Fault::new(Code::Timeout, why));
        }
        let status =
            status.map_err(|_| Fault::new(Code::UnknownOutcome, "exec: its end is not known"))?;
        // A program ended by a signal has no code; shells say 128 and the signal.
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        let exit = status.code().unwrap_or(128 + signal.unwrap_or_default());
        scrubber.value(Value::from_val(&object([
            ("exit", Val::from(isize::try_from(exit).unwrap_or_default())),
            ("stderr", text(&stderr.0)),
            ("stdout", text(&stdout.0)),
            ("truncated", Val::Bool(stdout.1 || stderr.1)),
        ]))?)
    }
}

/// What a pipe gave so far: bytes, and whether some were dropped.
type Kept = Arc<Mutex<(Vec<u8>, bool)>>;

/// Reads a pipe to its end, keeping at most `limit` bytes of it; the receiver is told of the end.
fn collect(mut pipe: impl Read + Send + 'static, limit: usize) -> (Kept, Receiver<()>) {
    let (sender, receiver) = channel();
    let kept = Kept::default();
    let keep = kept.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 8 << 10];
        while let Ok(read) = pipe.read(&mut buffer) {
            if read == 0 {
                break;
            }
            let mut kept = keep.lock();
            let room = limit - kept.0.len();
            kept.1 |= read > room;
            kept.0.extend_from_slice(&buffer[..read.min(room)]);
        }
        // Nobody waits any more when the effect was given up.
        let _ = sender.send(());
    });
    (kept, receiver)
}

/// What was read, as text: bytes that are none are replaced. A process that left its group may hold the pipe open; what
/// comes after the end of the program is not waited for.
fn received(pipe: Option<(Kept, Receiver<()>)>) -> (String, bool) {
    let Some((kept, end)) = pipe else {
        return (String::new(), true);
    };
    let ended = end.recv_timeout(DRAIN_MAX).is_ok();
    let kept = kept.lock();
    let text = String::from_utf8_lossy(&kept.0).into_owned();
    (text, kept.1 || !ended)
}

/// Whether the program ended within `limit`, and while somebody waited for it. It is not reaped: its group keeps its number until it was killed.
fn wait(child: &Child, limit: Duration, given_up: &GivenUp) -> bool {
    let Some(pid) = pid(child) else {
        return false;
    };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let mut waited = Duration::ZERO;
    loop {
        // An error means that there is nothing to wait for.
        if !matches!(waitid(WaitId::Pid(pid), options), Ok(None)) {
            return true;
        }
        if waited >= limit || given_up.is_set() {
            return false;
        }
        std::thread::park_timeout(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn kill(child: &Child) {
    if let Some(group) = pid(child) {
        // Gone already is what is wanted.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

impl Effect for Exec {
    fn about(&self) -> About {
        About {
            checked: false,
            cost: 1,
            latency: Latency {
                typical_ms: 50,
                max_ms: TIMEOUT_MS as u64,
            },
            retry: Retry::Hold,
            reach: Reach::Processes,
            fails: vec![
                Code::Timeout,
                Code::Http404,
                Code::PermissionDenied,
                Code::Http503,
            ],
            after: vec!["json_transform".into()],
            ..About::effect()
                .summary("One program, without a shell, in an empty environment")
                .schemas(INPUT, OUTPUT)
        }
    }

    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Program::read(arguments)?.record()
    }

    fn policy(&self, _: &Value) -> Policy {
        Policy::Hold
    }

    fn secrets(&self, request: &Value) -> Vec<SecretRef> {
        let env = Program::read(request).map_or_else(|_| Vec::new(), |program| program.env);
        let secret = |(_, value)| match value {
            Variable::Secret(at) => Some(at),
            Variable::Plain(_) => None,
        };
        env.into_iter().filter_map(secret).collect()
    }

    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        Program::read(request)?.run(&hand.given_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::member;

    fn request(text: &str) -> Value {
        let arguments = Value::from_json(text.as_bytes()).unwrap();
        let request = Exec.request(&arguments).unwrap();
        assert_eq!(Exec.request(&request).unwrap(), request);
        request
    }

    fn run(text: &str) -> Result<Value, Fault> {
        Exec.perform(&request(text), &AtHand::alone("k"))
    }

    fn field(value: &Value, name: &str) -> String {
        let field = member(value.val(), name).unwrap();
        as_text(field).map_or_else(|| field.to_string(), str::to_owned)
    }

    #[test]
    fn arguments_are_passed_as_they_are_and_the_environment_is_empty() {
        let said = run(r#"{"argv":["/bin/echo","$HOME; ls `id`","*"]}"#).unwrap();
        assert_eq!(field(&said, "stdout"), "$HOME; ls `id` *\n");
        assert_eq!(field(&said, "exit"), "0");
        let said = run(r#"{"argv":["/usr/bin/env"],"env":{"A":"1"}}"#).unwrap();
        assert_eq!(field(&said, "stdout"), "A=1\n");
        let said = run(r#"{"argv":["/bin/cat"],"stdin":"in","cwd":"/"}"#).unwrap();
        assert_eq!(field(&said, "stdout"), "in");
        let said = run(r#"{"argv":["/bin/sh","-c","echo no >&2; exit 3"]}"#).unwrap();
        assert_eq!(
            (field(&said, "exit"), field(&said, "stderr")),
            ("3".into(), "no\n".into())
        );
        let said = run(r#"{"argv":["/bin/sh","-c","kill -9 $$"]}"#).unwrap();
        assert_eq!(field(&said, "exit"), "137");
    }

    #[test]
    fn a_secret_goes_into_the_environment_and_comes_back_masked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        std::fs::write(&path, "s3cret-word").unwrap();
        let said = run(&format!(
            r#"{{"argv":["/bin/sh","-c","echo \"$A\"; test \"$A\" = s3cret-word && echo $A | tr a-z A-Z"],"env":{{"A":{{"file":"{}"}}}}}}"#,
            path.display()
        ));
        assert_eq!(field(&said.unwrap(), "stdout"), "[secret]\n[secret]\n");
    }

    #[test]
    fn time_and_output_are_limited_and_children_die_too() {
        let fault = run(r#"{"argv":["/bin/sh","-c","sleep 600 & sleep 600"],"timeout_ms":50}"#)
            .unwrap_err();
        assert_eq!(
            (fault.code, fault.detail.as_str()),
            (Code::Timeout, "exec: /bin/sh has not ended within 50 ms")
        );
        let said = run(r#"{"argv":["/bin/sh","-c","sleep 600 & echo done"]}"#).unwrap();
        assert_eq!(
            field(&said, "stdout"),
            "done\n",
            "what it left behind holds nothing up"
        );
        let said = run(r#"{"argv":["/bin/sh","-c","yes | head -c 100000"],"output_bytes_max":10}"#)
            .unwrap();
        assert_eq!(field(&said, "stdout"), "y\ny\ny\ny\ny\n");
        assert_eq!(field(&said, "truncated"), "true");
    }

    #[test]
    fn what_cannot_be_run_is_a_fault() {
        assert_eq!(
            run(r#"{"argv":["/nowhere/x"]}"#).unwrap_err().code,
            Code::Http404
        );
        assert_eq!(
            run(r#"{"argv":["/etc/passwd"]}"#).unwrap_err().code,
            Code::PermissionDenied
        );
        for (bad, field) in [
            (r#"{"argv":["ls"]}"#, "argv/0"),
            (r#"{"argv":[]}"#, "argv"),
            (r#"{"argv":"ls -l"}"#, "argv"),
            (r#"{"argv":["/bin/ls",1]}"#, "argv"),
            (r#"{"argv":["/bin/ls"],"env":{"A=B":"1"}}"#, "env"),
            (r#"{"argv":["/bin/ls"],"timeout_ms":0}"#, "timeout_ms"),
            (r#"{"argv":["/bin/ls"],"shell":true}"#, "shell"),
        ] {
            let fault = Exec
                .request(&Value::from_json(bad.as_bytes()).unwrap())
                .unwrap_err();
            assert!(
                fault.detail.contains(&format!("field `{field}`")),
                "{bad}: {}",
                fault.detail
            );
        }
        assert_eq!(
            Exec.policy(&request(r#"{"argv":["/bin/true"]}"#)),
            Policy::Hold
        );
    }
}
