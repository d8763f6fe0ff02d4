//! `catch` and `retry`.

use super::TimeReads;
use super::duration::Wait;
use super::error::{DocumentError, Problem};
use super::fields::Fields;
use super::node::{Data, Entry, Node, choice, short};
use super::places::{At, Scope};
use super::task::Tasks;
use crate::expr::Expr;
use crate::fault::Fault;

/// Which faults of a `try` are caught, and what then.
#[derive(Clone, Debug)]
pub struct Catch {
    /// What a fault must be like.
    pub filter: ErrorFilter,
    /// Variable of the error.
    pub as_: String,
    /// Condition.
    pub when: Option<Expr>,
    /// Condition that must not hold.
    pub except_when: Option<Expr>,
    /// How often to try again, and when.
    pub retry: Option<Retry>,
    /// Steps to take instead, once there is no more trying.
    pub handler: Vec<usize>,
    /// Whether there are such steps.
    pub has_handler: bool,
}

/// Properties that a fault must have. Those that are not given may be anything.
#[derive(Clone, Default, Debug)]
pub struct ErrorFilter {
    /// Its type.
    pub error_type: Option<String>,
    /// Its status.
    pub status: Option<u16>,
    /// Its title.
    pub title: Option<String>,
    /// Its detail.
    pub detail: Option<String>,
    /// Where it arose.
    pub instance: Option<String>,
}

impl ErrorFilter {
    /// Whether a fault has the properties.
    pub fn fits(&self, fault: &Fault) -> bool {
        let same = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        same(&self.error_type, &fault.error_type)
            && self.status.is_none_or(|status| status == fault.status)
            && same(&self.title, &fault.title)
            && same(&self.detail, &fault.detail)
            && same(&self.instance, &fault.instance)
    }
}

/// How a `try` is done again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Condition.
    pub when: Option<Expr>,
    /// Condition that must not hold.
    pub except_when: Option<Expr>,
    /// Wait before the first retry; none is no wait.
    pub delay: Option<Wait>,
    /// How the wait grows.
    pub backoff: Backoff,
    /// What is added to each wait, at random, from and to.
    pub jitter: Option<(Wait, Wait)>,
    /// Most retries.
    pub count: Option<u64>,
    /// Longest attempt.
    pub attempt_duration: Option<Wait>,
    /// No retry begins later than this after the first attempt did.
    pub duration: Option<Wait>,
}

/// How the wait before a retry grows with the attempts that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backoff {
    /// It does not.
    Constant,
    /// By as much each time.
    Linear,
    /// It doubles.
    Exponential,
}

impl Retry {
    /// What of the time must be known to decide about a retry.
    pub fn reads_time(&self) -> TimeReads {
        let waits = [
            self.delay.as_ref(),
            self.jitter.as_ref().map(|(from, _)| from),
            self.jitter.as_ref().map(|(_, to)| to),
            self.duration.as_ref(),
        ];
        let waits = waits.into_iter().map(|wait| wait?.template());
        let exprs = [self.when.as_ref(), self.except_when.as_ref()];
        let limit = TimeReads {
            now: self.duration.is_some(),
            ..TimeReads::default()
        };
        super::places::time(exprs, waits) | limit
    }
}

impl<'d> Tasks<'d> {
    pub(super) fn catch(
        &mut self,
        entry: &'d Entry,
        pointer: &str,
    ) -> Result<Catch, DocumentError> {
        let mut fields = Fields::of_entry(entry)?;
        let filter = match fields.maybe("errors") {
            None => ErrorFilter::default(),
            Some(errors) => {
                let mut fields = Fields::of_entry(errors)?;
                let with = fields.maybe("with");
                fields.end()?;
                with.map(filter).transpose()?.unwrap_or_default()
            }
        };
        let as_ = super::kind::variable(fields.maybe("as"), "error")?;
        let around = self.variables.len();
        self.variables.push(as_.clone());
        let scope = Scope::at(At::Definition, &self.variables);
        let when = condition(&mut fields, "when", &scope);
        let except_when = condition(&mut fields, "exceptWhen", &scope);
        let retry = fields.maybe("retry").map(|entry| self.retry(entry, &scope));
        let (when, except_when) = (self.keep(when).flatten(), self.keep(except_when).flatten());
        let retry = retry.and_then(|retry| self.keep(retry));
        let handler = match fields.maybe("do") {
            None => None,
            Some(list) => {
                let block = self.block(list, &format!("{pointer}/do"));
                Some(self.keep(block).unwrap_or_default())
            }
        };
        self.variables.truncate(around);
        self.end(fields);
        Ok(Catch {
            filter,
            as_,
            when,
            except_when,
            retry,
            has_handler: handler.is_some(),
            handler: handler.unwrap_or_default(),
        })
    }

    fn retry(&self, entry: &'d Entry, scope: &Scope) -> Result<Retry, DocumentError> {
        let policy = match &entry.value.data {
            Data::Text(name) => match self.retries.get(name.as_str()) {
                Some(policy) => policy,
                None => {
                    let message = format!("`use.retries` has no policy `{}`", short(name));
                    let names = self.retries.keys().copied();
                    let error =
                        DocumentError::new(Problem::UnknownReference, entry.value.at, message)
                            .suggest(name, names.clone());
                    return Err(match self.retries.len() {
                        0 => error,
                        _ => error.expected(format!("one of {}", choice(names))),
                    });
                }
            },
            _ => entry,
        };
        retry(policy, scope)
    }

    /// Checks the reusable policies, used or not.
    pub(super) fn check_retries(&mut self) {
        let scope = Scope::at(At::Definition, &["error".to_owned()]);
        let policies: Vec<&Entry> = self.retries.values().copied().collect();
        for policy in policies {
            // A variable of another name is seen where the policy is used.
            match retry(policy, &scope) {
                Err(error) if error.problem != Problem::Variable => self.problem(error),
                _ => {}
            }
        }
    }
}

fn condition(
    fields: &mut Fields<'_>,
    key: &'static str,
    scope: &Scope,
) -> Result<Option<Expr>, DocumentError> {
    let entry = fields.maybe(key);
    entry.map(|entry| scope.expr(key, &entry.value)).transpose()
}

fn filter(entry: &Entry) -> Result<ErrorFilter, DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    let mut text = |key: &'static str| -> Result<Option<String>, DocumentError> {
        let Some(entry) = fields.maybe(key) else {
            return Ok(None);
        };
        let text = entry.value.text(key)?;
        if text.contains("${") {
            let message = format!("`{key}` of an error filter is a fixed value");
            return Err(DocumentError::new(Problem::Form, entry.value.at, message)
                .expected("text; compare what is computed in `when`"));
        }
        Ok(Some(text.into()))
    };
    let mut filter = ErrorFilter {
        error_type: text("type")?,
        status: None,
        title: text("title")?,
        detail: text("detail")?,
        instance: text("instance")?,
    };
    // The specification's schema writes `details` where its errors have `detail`.
    if let Some(details) = text("details")? {
        filter.detail = Some(details);
    }
    if let Some(status) = fields.maybe("status") {
        let status = status.value.number("status", 100..=599)?;
        filter.status = u16::try_from(status).ok();
    }
    fields.end()?;
    Ok(filter)
}

fn retry(entry: &Entry, scope: &Scope) -> Result<Retry, DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    let when = condition(&mut fields, "when", scope)?;
    let except_when = condition(&mut fields, "exceptWhen", scope)?;
    let wait = |entry: Option<&Entry>| {
        entry
            .map(|entry| Wait::read(&entry.value, scope))
            .transpose()
    };
    let delay = wait(fields.maybe("delay"))?;
    let backoff = match fields.maybe("backoff") {
        None => Backoff::Constant,
        Some(entry) => backoff(entry)?,
    };
    let jitter = match fields.maybe("jitter") {
        None => None,
        Some(entry) => {
            let mut fields = Fields::of_entry(entry)?;
            let from = Wait::read(&fields.need("from")?.value, scope)?;
            let to = Wait::read(&fields.need("to")?.value, scope)?;
            fields.end()?;
            Some((from, to))
        }
    };
    let (mut count, mut attempt_duration, mut duration) = (None, None, None);
    if let Some(limit) = fields.maybe("limit") {
        let mut fields = Fields::of_entry(limit)?;
        duration = wait(fields.maybe("duration"))?;
        if let Some(attempt) = fields.maybe("attempt") {
            let mut fields = Fields::of_entry(attempt)?;
            let number = |entry: &Entry| entry.value.number("count", 0..=1_000_000);
            count = fields.maybe("count").map(number).transpose()?;
            attempt_duration = wait(fields.maybe("duration"))?;
            fields.end()?;
        }
        fields.end()?;
    }
    fields.end()?;
    Ok(Retry {
        when,
        except_when,
        delay,
        backoff,
        jitter,
        count,
        attempt_duration,
        duration,
    })
}

fn backoff(entry: &Entry) -> Result<Backoff, DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    let mut found = Vec::new();
    for (key, backoff) in [
        ("constant", Backoff::Constant),
        ("exponential", Backoff::Exponential),
        ("linear", Backoff::Linear),
    ] {
        if let Some(entry) = fields.maybe(key) {
            empty(key, &entry.value)?;
            found.push(backoff);
        }
    }
    fields.end()?;
    match found.as_slice() {
        [one] => Ok(*one),
        _ => Err(
            DocumentError::new(Problem::Form, entry.at, "a backoff is of one kind")
                .expected("one of constant, exponential, linear"),
        ),
    }
}

/// The specification gives the kinds of backoff no properties.
fn empty(key: &str, node: &Node) -> Result<(), DocumentError> {
    match &node.data {
        Data::Null => Ok(()),
        _ => match node.map(key)?.first() {
            None => Ok(()),
            Some(entry) => Err(super::fields::unknown(entry, key, &[])),
        },
    }
}
