//! `listen`: which events, and what is made of them.

use super::TimeReads;
use super::error::{DocumentError, Problem};
use super::fields::Fields;
use super::load::sub;
use super::node::{Data, Entry, short};
use super::places::{At, Scope};
use super::schema::Schema;
use super::task::Tasks;
use crate::expr::{Expr, Template};
use crate::value::{Val, Value};

/// What a `listen` task waits for.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Which events.
    pub to: Strategy,
    /// What of an event the task sees.
    pub read: Read,
    /// What is done with each event.
    pub foreach: Option<Foreach>,
}

/// Which events are consumed, and how many.
#[derive(Clone, Debug)]
pub enum Strategy {
    /// One for each filter.
    All(Vec<Filter>),
    /// One for any filter, or as many as come until something.
    Any {
        /// The filters; none matches everything.
        filters: Vec<Filter>,
        /// Until when.
        until: Option<Until>,
    },
    /// One.
    One(Filter),
}

/// When to stop listening.
#[derive(Clone, Debug)]
pub enum Until {
    /// When this holds of the array of what was consumed; asked after each event.
    Condition(Expr),
    /// When these events were consumed; they are no part of the output.
    Events(Box<Strategy>),
}

/// What an event must be like.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Attributes, with what they must be.
    pub with: Vec<(String, Matcher)>,
    /// Correlations.
    pub correlate: Vec<Correlation>,
}

/// What an attribute must be.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// This.
    Equal(Val),
    /// Something of which this holds, or that equals what this gives.
    Test(Expr),
}

/// A value of the event that must be an expected one.
#[derive(Clone, Debug)]
pub struct Correlation {
    /// Name; correlations of one name expect one value.
    pub name: String,
    /// The value, from the event.
    pub from: Expr,
    /// What it must be; without, what the first event said.
    pub expect: Option<Template>,
}

/// What of an event the task sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// Its data.
    Data,
    /// All of it.
    Envelope,
}

/// What is done with each event.
#[derive(Clone, Debug)]
pub struct Foreach {
    /// Variable of the event.
    pub item: String,
    /// Variable of its number, from 0.
    pub at: String,
    /// The steps.
    pub block: Vec<usize>,
    /// `output.as`.
    pub output_as: Option<Template>,
    /// `output.schema`.
    pub output_schema: Option<Schema>,
    /// `export.as`.
    pub export_as: Option<Template>,
    /// `export.schema`.
    pub export_schema: Option<Schema>,
}

impl Strategy {
    /// Its filters.
    pub fn filters(&self) -> &[Filter] {
        match self {
            Strategy::All(filters) | Strategy::Any { filters, .. } => filters,
            Strategy::One(filter) => std::slice::from_ref(filter),
        }
    }

    /// What of the time it reads, the end of the listening included.
    pub fn reads_time(&self) -> TimeReads {
        let until = match self {
            Strategy::Any {
                until: Some(Until::Condition(condition)),
                ..
            } => condition.reads_time(),
            _ => TimeReads::default(),
        };
        self.filters_read_time() | until
    }

    fn filters_read_time(&self) -> TimeReads {
        let mut all = TimeReads::default();
        for filter in self.filters() {
            for (_, matcher) in &filter.with {
                if let Matcher::Test(expr) = matcher {
                    all = all | expr.reads_time();
                }
            }
            for correlation in &filter.correlate {
                all = all | correlation.from.reads_time();
                if let Some(expect) = &correlation.expect {
                    all = all | expect.reads_time();
                }
            }
        }
        if let Strategy::Any {
            until: Some(Until::Events(until)),
            ..
        } = self
        {
            all = all | until.filters_read_time();
        }
        all
    }

    /// Whether nothing more is needed when these of its filters are met.
    pub fn satisfied(&self, met: &[bool]) -> bool {
        match self {
            Strategy::All(_) => met.iter().all(|&met| met),
            Strategy::Any { .. } | Strategy::One(_) => met.iter().any(|&met| met),
        }
    }
}

impl Listen {
    /// The condition that ends the listening, if it is one.
    pub fn until_condition(&self) -> Option<&Expr> {
        match &self.to {
            Strategy::Any {
                until: Some(Until::Condition(condition)),
                ..
            } => Some(condition),
            _ => None,
        }
    }

    /// Whether a state that says so much of filters is of this listener.
    pub fn fits(&self, met: &[bool], until_met: &[bool]) -> bool {
        let until = match &self.to {
            Strategy::Any {
                until: Some(Until::Events(until)),
                ..
            } => until.filters().len(),
            _ => 0,
        };
        met.len() == self.to.filters().len() && until_met.len() == until
    }

    /// What of the time its filters read.
    pub fn reads_time(&self) -> TimeReads {
        self.to.filters_read_time()
    }
}

impl<'d> Tasks<'d> {
    pub(super) fn listen(
        &mut self,
        entry: &'d Entry,
        foreach: Option<&'d Entry>,
        pointer: &str,
    ) -> Result<Listen, DocumentError> {
        let scope = Scope::at(At::Definition, &self.variables);
        let mut fields = Fields::of_entry(entry)?;
        let to = strategy(fields.need("to")?, &scope)?;
        let read = match fields.maybe("read") {
            None => Read::Data,
            Some(entry) => match entry.value.text("read")? {
                // Events carry JSON: their raw data is their data.
                "data" | "raw" => Read::Data,
                "envelope" => Read::Envelope,
                other => {
                    return Err(DocumentError::new(
                        Problem::Form,
                        entry.value.at,
                        "unknown way to read an event",
                    )
                    .expected("one of data, envelope, raw")
                    .found(format!("`{}`", short(other))));
                }
            },
        };
        self.end(fields);
        let foreach = match foreach {
            None => None,
            Some(entry) => Some(self.foreach(entry, &format!("{pointer}/foreach"))?),
        };
        Ok(Listen { to, read, foreach })
    }

    fn foreach(&mut self, entry: &'d Entry, pointer: &str) -> Result<Foreach, DocumentError> {
        let mut fields = Fields::of_entry(entry)?;
        let item = super::kind::variable(fields.maybe("item"), "item")?;
        let at = super::kind::variable(fields.maybe("at"), "index")?;
        let around = self.variables.len();
        self.variables.extend([item.clone(), at.clone()]);
        let transforms = self.foreach_transforms(&mut fields);
        let block = match fields.maybe("do") {
            None => Ok(Vec::new()),
            Some(list) => self.block(list, &format!("{pointer}/do")),
        };
        self.variables.truncate(around);
        self.end(fields);
        let [(output_as, output_schema), (export_as, export_schema)] = transforms?;
        Ok(Foreach {
            item,
            at,
            block: block?,
            output_as,
            output_schema,
            export_as,
            export_schema,
        })
    }

    /// `output` and `export`, each with its schema.
    fn foreach_transforms(&self, fields: &mut Fields<'d>) -> Result<[Transform; 2], DocumentError> {
        let mut transform = |section: &'static str, at: At| match fields.maybe(section) {
            None => Ok((None, None)),
            Some(entry) => {
                let found = sub(entry, "as")?;
                let scope = Scope::at(at, &self.variables);
                let compiled = found.value.map(|e| scope.transform("as", &e.value));
                Ok::<_, DocumentError>((compiled.transpose()?, found.schema))
            }
        };
        Ok([
            transform("output", At::Output)?,
            transform("export", At::Export)?,
        ])
    }
}

/// A transform and the schema of what it gives.
type Transform = (Option<Template>, Option<Schema>);

/// The attributes of an event and a correlation, by the specification's names.
const ATTRIBUTES: [&str; 8] = [
    "id",
    "source",
    "type",
    "time",
    "subject",
    "datacontenttype",
    "dataschema",
    "data",
];

pub(super) fn strategy(entry: &Entry, scope: &Scope) -> Result<Strategy, DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    let (all, any, one) = (
        fields.maybe("all"),
        fields.maybe("any"),
        fields.maybe("one"),
    );
    let until = fields.maybe("until");
    fields.end()?;
    let list = |entry: &Entry| -> Result<Vec<Filter>, DocumentError> {
        let items = entry.value.list(&entry.key)?;
        let named = |node| Entry {
            key: entry.key.clone(),
            at: entry.at,
            value: Clone::clone(node),
        };
        items
            .iter()
            .map(|node| filter(&named(node), scope))
            .collect()
    };
    let strategy = match (all, any, one) {
        (Some(all), None, None) => {
            let filters = list(all)?;
            if filters.is_empty() {
                return Err(DocumentError::new(
                    Problem::Empty,
                    all.at,
                    "`all` waits for no event",
                ));
            }
            Strategy::All(filters)
        }
        (None, Some(any), None) => Strategy::Any {
            filters: list(any)?,
            until: until.map(|entry| read_until(entry, scope)).transpose()?,
        },
        (None, None, Some(one)) => Strategy::One(filter(one, scope)?),
        _ => {
            return Err(DocumentError::new(
                Problem::Form,
                entry.at,
                format!("`{}` says one way to consume events", entry.key),
            )
            .expected("one of all, any, one"));
        }
    };
    match (&strategy, until) {
        (Strategy::All(_) | Strategy::One(_), Some(until)) => Err(DocumentError::new(
            Problem::Form,
            until.at,
            "`until` goes with `any` only",
        )),
        _ => Ok(strategy),
    }
}

fn read_until(entry: &Entry, scope: &Scope) -> Result<Until, DocumentError> {
    if let Data::Map(_) = &entry.value.data {
        let until = strategy(entry, scope)?;
        if let Strategy::Any { filters, until } = &until
            && (until.is_some() || filters.is_empty())
        {
            let what = "an `until` that listens to everything, or until something else";
            return Err(DocumentError::not_supported(entry.at, what));
        }
        return Ok(Until::Events(Box::new(until)));
    }
    Ok(Until::Condition(scope.expr("until", &entry.value)?))
}

fn filter(entry: &Entry, scope: &Scope) -> Result<Filter, DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    let with = fields.need("with")?;
    let correlate = fields.maybe("correlate");
    fields.end()?;
    let attributes = with.value.map("with")?;
    if attributes.is_empty() {
        return Err(DocumentError::new(
            Problem::Empty,
            with.at,
            "a filter names at least one attribute",
        ));
    }
    let mut read = Filter {
        with: Vec::new(),
        correlate: Vec::new(),
    };
    for attribute in attributes {
        read.with
            .push((attribute.key.clone(), matcher(attribute, scope)?));
    }
    for entry in correlate.map_or(Ok([].as_slice()), |entry| entry.value.map("correlate"))? {
        let mut fields = Fields::of_entry(entry)?;
        let from = scope.expr("from", &fields.need("from")?.value)?;
        let expect = match fields.maybe("expect") {
            None => None,
            Some(expect) => {
                expect.value.text("expect")?;
                Some(scope.template(&expect.value)?)
            }
        };
        fields.end()?;
        read.correlate.push(Correlation {
            name: entry.key.clone(),
            from,
            expect,
        });
    }
    Ok(read)
}

fn matcher(attribute: &Entry, scope: &Scope) -> Result<Matcher, DocumentError> {
    let node = &attribute.value;
    match &node.data {
        Data::Text(s) if s.contains("${") => Ok(Matcher::Test(scope.expr(&attribute.key, node)?)),
        // A text that is anchored at both ends is a regular expression.
        Data::Text(s) if s.len() > 1 && s.starts_with('^') && s.ends_with('$') => {
            let quoted = Value::from_text(s)
                .map_err(|e| DocumentError::new(Problem::Form, node.at, e.to_string()))?;
            let test = format!("type == \"string\" and test({quoted})");
            let node = super::node::Node {
                at: node.at,
                data: Data::Text(test),
            };
            Ok(Matcher::Test(scope.expr(&attribute.key, &node)?))
        }
        _ => {
            let value = super::load::value(node)?;
            Ok(Matcher::Equal(value.val().clone()))
        }
    }
}

/// The attributes of an event to publish.
pub(super) fn emitted(entry: &Entry, scope: &Scope) -> Result<Template, DocumentError> {
    let mut fields = Fields::of_entry(entry)?;
    let event = fields.need("event")?;
    fields.end()?;
    let mut fields = Fields::of_entry(event)?;
    let with = fields.need("with")?;
    fields.end()?;
    let mut fields = Fields::of_entry(with)?;
    for required in ["source", "type"] {
        fields.need(required)?;
    }
    for attribute in with.value.map("with")? {
        let name = &attribute.key;
        let extension = name.len() <= 20
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !ATTRIBUTES.contains(&name.as_str()) && name != "specversion" && !extension {
            return Err(DocumentError::new(
                Problem::Form,
                attribute.at,
                format!("`{}` is no name of an attribute of an event", short(name)),
            )
            .expected("up to 20 lower-case letters and digits"));
        }
        if name != "data"
            && !matches!(
                attribute.value.data,
                Data::Text(_) | Data::Number(_) | Data::Bool(_)
            )
        {
            return Err(attribute.value.wrong_type(name, "a scalar"));
        }
    }
    scope.template(&with.value)
}
