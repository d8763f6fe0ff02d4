//! `script`: JavaScript in an interpreter that sees nothing of the machine.
//!
//! No file, network, clock or randomness is within reach: `Date` and `Math.random` are not there. The standard streams,
//! arguments and environment are what the step gives. Instructions, memory, stack and output are limited. Since functions like
//! `Math.sin` may differ in their last digit from machine to machine, the outcome is recorded like that of an effect, and
//! replay uses the record; after a crash the script runs again.

use super::arguments::{Arguments, describe};
use super::{About, AtHand, Effect, GivenUp, Latency, Policy, Reach, Retry};
use crate::fault::{Code, Fault};
use crate::value::{Val, Value, as_text, object, text};
use rquickjs::context::intrinsic;
use rquickjs::loader::{BuiltinLoader, BuiltinResolver};
use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Function, Module, Runtime};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

const INPUT: &str = r#"{
  "type": "object",
  "properties": {
    "code": {"type": "string", "description": "a module of ECMAScript"},
    "arguments": {"type": "array", "items": {"type": "string"}, "maxItems": 256},
    "stdin": {"type": "string"},
    "env": {"type": "object", "additionalProperties": {"type": "string"}}
  },
  "required": ["code"],
  "additionalProperties": false
}"#;

const OUTPUT: &str = r#"{
  "type": "object",
  "required": ["exit", "stdout", "stderr", "truncated"],
  "properties": {"exit": {"type": "integer"}, "stdout": {"type": "string"}, "stderr": {"type": "string"}, "truncated": {"type": "boolean"}}
}"#;

const ARGUMENTS_MAX: usize = 256;
const MEMORY_BYTES_MAX: usize = 64 << 20;
const STACK_BYTES_MAX: usize = 256 << 10;
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// How often the interpreter may ask whether to go on; it does after 10,000 jumps and calls.
const QUESTIONS_MAX: u32 = 20_000;

/// What a script finds around it, besides the language.
const PRELUDE: &str = r#"
(() => {
  const write = globalThis.__write, given = JSON.parse(globalThis.__given);
  delete globalThis.__write;
  delete globalThis.__given;
  delete Math.random;
  const show = (part) => {
    if (typeof part === 'string') return part;
    if (part instanceof Error) return String(part.stack ? part + '\n' + part.stack : part);
    if (typeof part === 'object' && part !== null) return JSON.stringify(part) ?? String(part);
    return typeof part === 'bigint' ? part + 'n' : String(part);
  };
  const line = (fd) => (...parts) => write(fd, parts.map(show).join(' ') + '\n');
  const out = line(1), err = line(2);
  globalThis.console = Object.freeze({ log: out, info: out, debug: out, error: err, warn: err });
  class Exit { constructor(code) { this.exit = code; } }
  globalThis.process = {
    argv: ['js', 'script', ...given.arguments],
    env: given.env,
    stdin: { fd: 0 },
    stdout: { fd: 1, write: (text) => (write(1, String(text)), true) },
    stderr: { fd: 2, write: (text) => (write(2, String(text)), true) },
    exitCode: 0,
    exit: (code) => { throw new Exit(code ?? globalThis.process.exitCode); },
  };
  globalThis.__read = (fd) => {
    if (fd !== 0 && fd !== '/dev/stdin') throw new Error('there are no files');
    return given.stdin;
  };
})();
"#;

/// The one module there is: standard input is read through it.
const FS: &str = "export const readFileSync = globalThis.__read; export default { readFileSync };";

/// The skill.
pub(super) struct Script;

/// A script to run, read from arguments or from a record.
struct Program {
    code: String,
    arguments: Vec<String>,
    stdin: String,
    env: Val,
}

/// What was written so far.
#[derive(Default)]
struct Written {
    out: String,
    err: String,
    truncated: bool,
}

impl Written {
    fn write(&mut self, fd: u8, words: &str) {
        let kept = if fd == 2 {
            &mut self.err
        } else {
            &mut self.out
        };
        let room = OUTPUT_BYTES_MAX - kept.len();
        let end = words.floor_char_boundary(room.min(words.len()));
        kept.push_str(&words[..end]);
        self.truncated |= end < words.len();
    }
}

impl Program {
    fn read(arguments: &Value) -> Result<Program, Fault> {
        let mut given = Arguments::of("script", arguments)?;
        let code = given.text("code")?.to_owned();
        let stdin = match given.maybe("stdin") {
            None | Some(Val::Null) => String::new(),
            Some(value) => as_text(value)
                .map(str::to_owned)
                .ok_or_else(|| given.wrong("stdin", "text", &describe(value)))?,
        };
        let env = given.maybe("env").cloned().unwrap_or(Val::Null);
        let env = match env {
            Val::Null => object([]),
            Val::Obj(ref fields) if fields.iter().all(|(_, value)| as_text(value).is_some()) => env,
            other => return Err(given.wrong("env", "an object of texts", &describe(&other))),
        };
        let arguments = match given.maybe("arguments") {
            None | Some(Val::Null) => Vec::new(),
            Some(Val::Arr(items)) if items.len() <= ARGUMENTS_MAX => items
                .iter()
                .map(|item| as_text(item).map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| given.wrong("arguments", "texts", "others"))?,
            Some(other) => {
                return Err(given.wrong("arguments", "at most 256 texts", &describe(other)));
            }
        };
        given.end()?;
        Ok(Program {
            code,
            arguments,
            stdin,
            env,
        })
    }

    fn record(&self) -> Result<Value, Fault> {
        Ok(Value::from_val(&object([
            (
                "arguments",
                self.arguments.iter().map(|a| text(a)).collect(),
            ),
            ("code", text(&self.code)),
            ("env", self.env.clone()),
            ("stdin", text(&self.stdin)),
        ]))?)
    }

    fn run(&self, given_up: &GivenUp) -> Result<Value, Fault> {
        let broken = |_| Fault::new(Code::Http503, "script: the interpreter cannot be started");
        let runtime = Runtime::new().map_err(broken)?;
        runtime.set_memory_limit(MEMORY_BYTES_MAX);
        runtime.set_max_stack_size(STACK_BYTES_MAX);
        runtime.set_loader(
            BuiltinResolver::default()
                .with_module("node:fs")
                .with_module("fs"),
            BuiltinLoader::default()
                .with_module("node:fs", FS)
                .with_module("fs", FS),
        );
        let stopped = Rc::new(Cell::new(false));
        let (mut asked, stop, given_up) = (0, stopped.clone(), given_up.clone());
        runtime.set_interrupt_handler(Some(Box::new(move || {
            asked += 1;
            let over = asked > QUESTIONS_MAX || given_up.is_set();
            stop.set(stop.get() || over);
            over
        })));
        type Parts = (
            intrinsic::Eval,
            intrinsic::RegExpCompiler,
            intrinsic::RegExp,
            intrinsic::Json,
            intrinsic::Proxy,
            intrinsic::MapSet,
            intrinsic::TypedArrays,
            intrinsic::Promise,
        );
        let context = Context::custom::<Parts>(&runtime).map_err(broken)?;
        let written = Rc::new(RefCell::new(Written::default()));
        let exit = context.with(|ctx| self.evaluate(&ctx, &written));
        if stopped.get() {
            let why = "script: it has not ended within the instructions that it may take";
            return Err(Fault::new(Code::BudgetExceeded, why));
        }
        let exit = exit.map_err(broken)?;
        let written = written.borrow();
        Ok(Value::from_val(&object([
            ("exit", Val::from(exit)),
            ("stderr", text(&written.err)),
            ("stdout", text(&written.out)),
            ("truncated", Val::Bool(written.truncated)),
        ]))?)
    }

    /// The exit code: 1 after an error that nobody caught, which is then on standard error.
    fn evaluate(&self, ctx: &Ctx<'_>, written: &Rc<RefCell<Written>>) -> rquickjs::Result<isize> {
        let given = object([
            (
                "arguments",
                self.arguments.iter().map(|a| text(a)).collect(),
            ),
            ("env", self.env.clone()),
            ("stdin", text(&self.stdin)),
        ]);
        let given = Value::from_val(&given).map_err(|_| rquickjs::Error::Unknown)?;
        let to = written.clone();
        let write = move |fd: u8, words: String| to.borrow_mut().write(fd, &words);
        ctx.globals()
            .set("__write", Function::new(ctx.clone(), write)?)?;
        ctx.globals().set("__given", given.as_str())?;
        ctx.eval::<(), _>(PRELUDE)?;
        let ended = Module::evaluate(ctx.clone(), "script", self.code.as_str())
            .and_then(|promise| promise.finish::<()>())
            .catch(ctx);
        let error = match ended {
            Ok(()) => {
                return ctx
                    .eval::<i32, _>("process.exitCode | 0")
                    .map(|n| n as isize);
            }
            Err(error) => error,
        };
        if let CaughtError::Value(value) = &error
            && let Some(code) = value.as_object().and_then(|o| o.get::<_, i32>("exit").ok())
        {
            return Ok(code as isize);
        }
        let mut written = written.borrow_mut();
        match &error {
            CaughtError::Exception(exception) => {
                let name = exception
                    .get::<_, String>("name")
                    .unwrap_or_else(|_| "Error".into());
                let message = exception.message().unwrap_or_default();
                written.write(2, &format!("Uncaught {name}: {message}\n"));
            }
            CaughtError::Value(value) => {
                let said = value.as_string().and_then(|said| said.to_string().ok());
                written.write(2, &format!("Uncaught {}\n", said.unwrap_or_default()));
            }
            CaughtError::Error(error) => written.write(2, &format!("Uncaught {error}\n")),
        }
        Ok(1)
    }
}

impl Effect for Script {
    fn about(&self) -> About {
        About {
            checked: false,
            latency: Latency {
                typical_ms: 5,
                max_ms: 60_000,
            },
            retry: Retry::Useless,
            reach: Reach::Nothing,
            fails: vec![Code::BudgetExceeded],
            feeds: Some("stdin"),
            after: vec!["json_transform".into()],
            ..About::effect()
                .summary("JavaScript, without files, network, clock or randomness")
                .schemas(INPUT, OUTPUT)
        }
    }

    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Program::read(arguments)?.record()
    }

    fn policy(&self, _: &Value) -> Policy {
        Policy::Retry
    }

    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        Program::read(request)?.run(&hand.given_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::member;

    fn run(code: &str) -> Result<(String, String, String), Fault> {
        let arguments = object([
            ("arguments", [text("a"), text("b")].into_iter().collect()),
            ("code", text(code)),
            ("env", object([("foo", text("bar"))])),
            ("stdin", text("in")),
        ]);
        let request = Script.request(&Value::from_val(&arguments).unwrap())?;
        assert_eq!(Script.request(&request).unwrap(), request);
        let said = Script.perform(&request, &AtHand::alone("k"))?;
        let field = |name| {
            let field = member(said.val(), name).unwrap();
            as_text(field).map_or_else(|| field.to_string(), str::to_owned)
        };
        Ok((field("exit"), field("stdout"), field("stderr")))
    }

    fn said(code: &str) -> String {
        let (exit, out, err) = run(code).unwrap();
        assert_eq!((exit.as_str(), err.as_str()), ("0", ""), "{code}");
        out
    }

    #[test]
    fn a_script_has_its_streams_arguments_and_environment() {
        assert_eq!(
            said("console.log('x', 1, {a: [true, null]}, 2n); process.stdout.write('y')"),
            "x 1 {\"a\":[true,null]} 2n\ny"
        );
        assert_eq!(
            said("const [_, __, one] = process.argv; console.log(one)"),
            "a\n"
        );
        assert_eq!(said("console.log(process.env.foo)"), "bar\n");
        assert_eq!(
            said(
                "import { readFileSync } from 'node:fs'; console.log(readFileSync(process.stdin.fd, 'utf8'))"
            ),
            "in\n"
        );
        assert_eq!(
            said("await Promise.resolve(); console.log([3, 1].sort().join())"),
            "1,3\n"
        );
    }

    #[test]
    fn what_a_script_cannot_catch_is_its_exit() {
        let (exit, _, err) = run("null.x").unwrap();
        assert_eq!(exit, "1");
        assert!(err.starts_with("Uncaught TypeError: "), "{err}");
        assert_eq!(run("throw 'no'").unwrap().2, "Uncaught no\n");
        assert_eq!(
            run("console.error('e'); process.exit(3)").unwrap(),
            ("3".into(), String::new(), "e\n".into())
        );
        assert_eq!(run("process.exitCode = 4").unwrap().0, "4");
        assert!(run("let 1").unwrap().2.contains("SyntaxError"));
    }

    #[test]
    fn nothing_of_the_machine_is_within_reach() {
        for name in [
            "Date",
            "performance",
            "fetch",
            "require",
            "setTimeout",
            "WeakRef",
            "std",
            "os",
            "__write",
            "__given",
        ] {
            assert_eq!(
                said(&format!("console.log(typeof {name})")),
                "undefined\n",
                "{name}"
            );
        }
        assert_eq!(said("console.log(typeof Math.random)"), "undefined\n");
        for code in [
            "import * as os from 'os'",
            "import 'node:child_process'",
            "import '/etc/passwd'",
            "import { readFileSync } from 'fs'; readFileSync('/etc/passwd')",
        ] {
            assert_eq!(run(code).unwrap().0, "1", "{code}");
        }
    }

    #[test]
    fn instructions_memory_stack_and_output_are_limited() {
        for code in [
            "for (;;) {}",
            "for (;;) { try { for (;;) {} } catch {} }",
            "await new Promise(() => {}).then(); for (;;) {}",
        ] {
            match run(code) {
                Err(fault) => assert_eq!(fault.code, Code::BudgetExceeded, "{code}"),
                Ok(said) => assert_eq!(said.0, "1", "{code}"),
            }
        }
        assert_eq!(
            run("const a = []; for (;;) a.push(new Array(1e6).fill(1))")
                .unwrap()
                .0,
            "1"
        );
        assert_eq!(run("const f = () => f() + 1; f()").unwrap().0, "1");
        let long = run("for (let i = 0; i < 2000; i++) console.log('x'.repeat(1000))").unwrap();
        assert_eq!(long.1.len(), OUTPUT_BYTES_MAX);
    }
}
