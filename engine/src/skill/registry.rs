//! Skills by name, with what is checked and charged around each call.

use super::{
    About, AtHand, Effect, HttpCall, Skill, compute, email, exec, http, json_transform, kv, llm,
};
use crate::clock::Clock;
use crate::fault::{Code, Fault};
use crate::schema::{Schema, SchemaError};
use crate::value::{Val, Value, member, text};
use aos_format::digest::Digest;
use aos_format::event::SkillRef;
use crossbeam::channel::{RecvTimeoutError, bounded};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Longest time until a call is left to itself after nobody waits for it any more.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Skills by name.
#[derive(Clone)]
pub struct Skills {
    by_name: BTreeMap<String, Arc<Registered>>,
}

/// A skill with what it says of itself.
pub struct Registered {
    /// Version.
    pub version: String,
    /// The skill.
    pub skill: Skill,
    /// What it says of itself.
    pub about: About,
    input: Result<Schema, SchemaError>,
    output: Result<Schema, SchemaError>,
}

impl Registered {
    /// The compiled schema of its arguments.
    ///
    /// # Errors
    /// The skill's own schema cannot be used.
    pub fn input(&self) -> Result<&Schema, &SchemaError> {
        self.input.as_ref()
    }

    /// The compiled schema of its output.
    ///
    /// # Errors
    /// The skill's own schema cannot be used.
    pub fn output(&self) -> Result<&Schema, &SchemaError> {
        self.output.as_ref()
    }
}

impl Skills {
    /// No skills.
    pub fn none() -> Skills {
        Skills {
            by_name: BTreeMap::new(),
        }
    }

    /// The skills that come with AOS.
    pub fn builtin() -> Skills {
        let mut skills = Skills::none();
        skills.add("compute", "1", Skill::pure(compute::Compute));
        skills.add(
            "json_transform",
            "1",
            Skill::pure(json_transform::JsonTransform::default()),
        );
        skills.add("http_call", "2", Skill::effect(HttpCall::new()));
        skills.add("webhook_send", "1", Skill::effect(http::WebhookSend::new()));
        skills.add("llm_invoke", "1", Skill::effect(llm::LlmInvoke::new()));
        skills.add("kv_get", "1", Skill::effect(kv::KvGet));
        skills.add("kv_put", "1", Skill::effect(kv::KvPut));
        skills.add("exec", "1", Skill::effect(exec::Exec));
        skills.add("email_send", "1", Skill::effect(email::EmailSend));
        skills.add("openapi_call", "1", Skill::effect(http::OpenApiCall::new()));
        #[cfg(feature = "script")]
        skills.add("script", "1", Skill::effect(super::script::Script));
        skills
    }

    /// Adds or replaces a skill. Another behaviour, price or schema needs another version: START records it.
    pub fn add(&mut self, name: &str, version: &str, skill: Skill) {
        let about = skill.about();
        let registered = Registered {
            version: version.into(),
            input: Schema::compile(&about.input),
            output: Schema::compile(&about.output),
            skill,
            about,
        };
        self.by_name.insert(name.into(), Arc::new(registered));
    }

    /// The skill of that name.
    pub fn find(&self, name: &str) -> Option<&Skill> {
        self.entry(name).map(|entry| &entry.skill)
    }

    /// The skill of that name with what it says of itself.
    pub fn entry(&self, name: &str) -> Option<&Registered> {
        self.by_name.get(name).map(|entry| &**entry)
    }

    /// All names, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// What START records of a skill.
    pub fn reference(&self, name: &str) -> Option<SkillRef> {
        self.entry(name).map(|entry| SkillRef {
            name: name.into(),
            version: entry.version.clone(),
            digest: Digest::labelled("aos.skill.v1", &[name.as_bytes(), entry.version.as_bytes()]),
        })
    }

    /// The arguments with the step's input in the place where the skill takes it, when that place was left out.
    pub fn complete(&self, name: &str, arguments: Value, input: &Value) -> Result<Value, Fault> {
        let feeds = self.entry(name).and_then(|entry| entry.about.feeds);
        let (Some(feeds), Val::Obj(given)) = (feeds, arguments.val()) else {
            return Ok(arguments);
        };
        if member(arguments.val(), feeds).is_some() {
            return Ok(arguments);
        }
        let mut given = (**given).clone();
        given.insert(text(feeds), input.val().clone());
        Ok(Value::from_val(&Val::obj(given))?)
    }

    /// Whether the skill's schema allows `arguments`; skills that check them themselves are not asked twice.
    ///
    /// # Errors
    /// [`Code::SchemaError`] with what is wrong and where.
    pub fn check_input(&self, name: &str, arguments: &Value) -> Result<(), Fault> {
        self.check(name, "arguments", |entry| entry.input(), arguments)
    }

    /// Whether the skill's schema allows `output`.
    ///
    /// # Errors
    /// As [`Skills::check_input`].
    pub fn check_output(&self, name: &str, output: &Value) -> Result<(), Fault> {
        self.check(name, "output", |entry| entry.output(), output)
    }

    fn check(
        &self,
        name: &str,
        what: &str,
        schema: impl Fn(&Registered) -> Result<&Schema, &SchemaError>,
        value: &Value,
    ) -> Result<(), Fault> {
        let Some(entry) = self.entry(name).filter(|entry| entry.about.checked) else {
            return Ok(());
        };
        let checked = match schema(entry) {
            Ok(schema) if schema.source().canonical() == b"true" => Ok(()),
            Ok(schema) => schema.check(value),
            Err(error) => Err(error.to_string()),
        };
        checked.map_err(|why| Fault::new(Code::SchemaError, format!("{name}: {what}: {why}")))
    }

    /// Performs an effect, once, and checks what it answers.
    ///
    /// # Errors
    /// The fault that is recorded as the answer.
    pub fn perform(&self, name: &str, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        let Some(Skill::Effect(skill)) = self.find(name) else {
            let why = format!("no effect named {name} is registered");
            return Err(Fault::new(Code::InvalidInput, why));
        };
        if let Some(rate) = self.entry(name).and_then(|entry| entry.about.rate)
            && let Some(shared) = hand.shared
            && !shared.admit(name, rate, Clock::wall_ns())
        {
            let why = format!(
                "{name}: {} calls in {} ms are allowed, and were made",
                rate.calls, rate.window_ms
            );
            return Err(Fault::new(Code::RateLimited, why));
        }
        let answer = match skill.can_be_left() {
            true => left_when(skill, request, hand)?,
            false => skill.perform(request, hand)?,
        };
        self.check_output(name, &answer)?;
        Ok(answer)
    }

    /// Most units that this request of an effect may cost.
    pub fn estimate(&self, name: &str, request: &Value) -> u64 {
        let Some(entry) = self.entry(name) else {
            return 0;
        };
        match &entry.skill {
            Skill::Effect(skill) => skill.estimate(request).unwrap_or(entry.about.cost),
            Skill::Pure(_) => entry.about.cost,
        }
    }

    /// Units that an effect cost. A failure that came before anything was asked for costs nothing; any other is charged like
    /// an answer, as nobody can say that it was free.
    pub fn cost(&self, name: &str, request: &Value, answer: Result<&Value, &Fault>) -> u64 {
        let Some(entry) = self.entry(name) else {
            return 0;
        };
        let Skill::Effect(skill) = &entry.skill else {
            return 0;
        };
        let told = match answer {
            Ok(answer) => skill.cost(request, answer),
            Err(fault) if never_asked(fault.code) => Some(0),
            Err(_) => None,
        };
        told.unwrap_or(entry.about.cost)
    }
}

/// Performs an effect on a thread of its own, which is left to itself once nobody waits for the answer.
fn left_when(skill: &Arc<dyn Effect>, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
    let (skill, request, given_up) = (skill.clone(), request.clone(), &hand.given_up);
    let wire_key = hand.wire_key.to_owned();
    let (done, answer) = bounded(1);
    let begun = std::thread::Builder::new()
        .name("aos-effect".into())
        .spawn(move || {
            let performed = AssertUnwindSafe(|| skill.perform(&request, &AtHand::alone(&wire_key)));
            // Whoever waited may have given up.
            let _ = done.send(catch_unwind(performed));
        });
    if begun.is_err() {
        let why = "the operating system gives no thread for the call";
        return Err(Fault::new(Code::Http503, why));
    }
    loop {
        match answer.recv_timeout(LOOK_EVERY) {
            Ok(Ok(answered)) => return answered,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(RecvTimeoutError::Timeout) if given_up.is_set() => {
                return Err(Fault::new(Code::Timeout, "nobody waits for the answer"));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                unreachable!("the thread sends what it has before it ends")
            }
        }
    }
}

fn never_asked(code: Code) -> bool {
    matches!(
        code,
        Code::DnsFailure
            | Code::ConnectionRefused
            | Code::InvalidInput
            | Code::PermissionDenied
            | Code::RateLimited
    )
}

impl fmt::Debug for Skills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}
