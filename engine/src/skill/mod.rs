//! Skills: what a step can call.
//!
//! A **pure** skill is a function of its arguments and its random stream; replay runs it again. An **effect** touches the
//! outside; its answer is recorded, and replay uses the record. Either implements one trait and says in `about` what it takes, gives,
//! costs and touches; [`Skills`] holds them by name.

mod about;
mod arguments;
mod compute;
mod email;
mod exec;
mod http;
mod json_transform;
mod kv;
mod llm;
mod registry;
#[cfg(feature = "script")]
mod script;

pub use about::{About, Latency, Rate, Reach, Retry};
pub use http::HttpCall;
pub(crate) use http::oauth2;
pub use registry::{Registered, Skills};

use crate::fault::Fault;
use crate::resource::Resources;
use crate::secret::SecretRef;
use crate::seed::Stream;
use crate::value::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What an effect whose outcome a crash left unknown leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// The same attempt again, with the same idempotency key.
    Retry,
    /// Wait until somebody resolves it.
    Hold,
}

impl Policy {
    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Retry => "retry",
            Policy::Hold => "hold",
        }
    }
}

/// Whether anybody still waits for the answer of an effect.
#[derive(Clone, Debug, Default)]
pub struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    /// Whether nobody waits any more.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Says that nobody waits any more.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What an effect has at hand while it is done.
#[derive(Clone, Debug)]
pub struct AtHand<'a> {
    /// Goes with the request, so that a receiver can tell a repetition.
    pub wire_key: &'a str,
    /// What the runs of its log share; none of a call that can be left to itself.
    pub shared: Option<&'a Resources>,
    /// Whether anybody still waits for the answer: a step that timed out, lost a race or was cancelled does not, and what is
    /// answered then is not recorded. Skills that end by themselves soon need not look.
    pub given_up: GivenUp,
}

impl<'a> AtHand<'a> {
    /// A call with nothing but its key, whose answer somebody waits for.
    pub fn alone(wire_key: &'a str) -> AtHand<'a> {
        AtHand {
            wire_key,
            shared: None,
            given_up: GivenUp::default(),
        }
    }

    /// The same with what the runs of its log share.
    pub fn on(self, shared: &'a Resources) -> AtHand<'a> {
        AtHand {
            shared: Some(shared),
            ..self
        }
    }
}

/// A skill that is a function of its arguments.
///
/// ```
/// use aos_engine::{fault::Fault, seed::Stream, skill::{About, Pure, Skill, Skills}, value::{Value, text}};
///
/// struct Shout;
///
/// impl Pure for Shout {
///     fn about(&self) -> About {
///         About::pure().schemas(r#"{"type": "string"}"#, r#"{"type": "string"}"#).summary("Upper case")
///     }
///     fn run(&self, arguments: &Value, _: &mut Stream) -> Result<Value, Fault> {
///         let said = aos_engine::value::as_text(arguments.val()).unwrap_or_default();
///         Ok(Value::from_val(&text(&said.to_uppercase()))?)
///     }
/// }
///
/// let mut skills = Skills::builtin();
/// skills.add("shout", "1", Skill::pure(Shout));
/// assert!(skills.check_input("shout", &Value::null()).is_err(), "the engine checks what the schema says");
/// ```
pub trait Pure: Send + Sync {
    /// Runs it. The same arguments and the same stream must give the same output, on any machine.
    ///
    /// # Errors
    /// The fault that the step ends in; its detail must be deterministic too.
    fn run(&self, arguments: &Value, random: &mut Stream) -> Result<Value, Fault>;

    /// Whether these arguments can only fail: what the schema of [`Pure::about`] cannot say. Asked before a run, of arguments
    /// that are all known.
    ///
    /// # Errors
    /// The fault that [`Pure::run`] would end in.
    fn check(&self, arguments: &Value) -> Result<(), Fault> {
        let _ = arguments;
        Ok(())
    }

    /// What it says of itself.
    fn about(&self) -> About {
        About::pure()
    }
}

/// A skill that touches the outside.
pub trait Effect: Send + Sync {
    /// The request as it is recorded, made from the arguments; deterministic and without secrets.
    ///
    /// # Errors
    /// [`crate::fault::Code::InvalidInput`] when the arguments make no request.
    fn request(&self, arguments: &Value) -> Result<Value, Fault>;

    /// What an unknown outcome of this request leads to.
    fn policy(&self, request: &Value) -> Policy;

    /// The secrets that it will read for this request. A run may use those that its document names, and no others.
    fn secrets(&self, request: &Value) -> Vec<SecretRef> {
        let _ = request;
        Vec::new()
    }

    /// Does it, once.
    ///
    /// # Errors
    /// The fault that is recorded as the answer.
    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault>;

    /// Whether a call can be left to itself once nobody waits for its answer. Such a skill has nothing at hand that runs
    /// share.
    fn can_be_left(&self) -> bool {
        false
    }

    /// What it says of itself.
    fn about(&self) -> About {
        About::effect()
    }

    /// Most units that this request may cost, where that is not what [`Effect::about`] says. A budget is checked against it
    /// before the request is made.
    fn estimate(&self, request: &Value) -> Option<u64> {
        let _ = request;
        None
    }

    /// Units that an answered request cost, where that is not the estimate: a function of request and answer alone, as replay
    /// computes it again.
    fn cost(&self, request: &Value, answer: &Value) -> Option<u64> {
        let _ = (request, answer);
        None
    }
}

/// Either kind of skill.
#[derive(Clone)]
pub enum Skill {
    /// Re-executed by replay.
    Pure(Arc<dyn Pure>),
    /// Recorded; replay uses the record.
    Effect(Arc<dyn Effect>),
}

impl Skill {
    /// A pure skill.
    pub fn pure(skill: impl Pure + 'static) -> Skill {
        Skill::Pure(Arc::new(skill))
    }

    /// An effect.
    pub fn effect(skill: impl Effect + 'static) -> Skill {
        Skill::Effect(Arc::new(skill))
    }

    /// What it says of itself.
    pub fn about(&self) -> About {
        match self {
            Skill::Pure(skill) => skill.about(),
            Skill::Effect(skill) => skill.about(),
        }
    }

    /// `pure` or `effect`.
    pub fn kind(&self) -> &'static str {
        match self {
            Skill::Pure(_) => "pure",
            Skill::Effect(_) => "effect",
        }
    }
}
