//! Differences at START: document, configuration, seed, input.

use super::classify::Case;
use super::report::{Cause, Class, Pair, Status};
use super::rerun::{Recipe, registry};
use aos_engine::seed::{RootSeed, RunSeed};
use aos_engine::value::{Val, Value, text};
use aos_engine::workflow::Definition;
use aos_format::digest::{Digest, RunId};
use aos_format::event::{Event, Start};
use std::sync::Arc;

/// One thing in which two STARTs differ.
pub(crate) struct Part {
    pub class: Class,
    pub rule: &'static str,
    pub subject: String,
    pub evidence: Vec<String>,
    pub exchanged: String,
    pub exchange: Exchange,
}

/// How it is exchanged.
pub(crate) enum Exchange {
    /// In what the first history follows from.
    Recipe(Box<dyn Fn(&mut Recipe)>),
    /// In the record alone: nothing that this build executes reads it.
    Overlay(Vec<&'static str>),
    /// Not at all, for want of this.
    Missing(String),
}

impl Part {
    pub fn needs_code(&self) -> bool {
        !matches!(self.exchange, Exchange::Overlay(_))
    }

    pub fn cause(&self, place: &Pair) -> Cause {
        Cause {
            class: self.class,
            status: Status::Consistent,
            rule: self.rule.into(),
            place: Some(place.clone()),
            subject: self.subject.clone(),
            evidence: self.evidence.clone(),
            experiment: None,
            missing: Vec::new(),
            benign: false,
        }
    }
}

/// What differs at START, in the order in which causes are tested.
pub(crate) fn parts(case: &Case<'_, '_, '_>) -> Vec<Part> {
    let start = |event: &super::event::NormEvent| match event.event() {
        Event::Start(start) => Some(start),
        _ => None,
    };
    let pair = (start(&case.base[0]), start(&case.target[0]));
    let (Some(a), Some(b)) = pair else {
        return Vec::new();
    };
    let counted: Vec<String> = case
        .differences(&case.base[0], &case.target[0])
        .into_iter()
        .map(|diff| diff.path)
        .collect();
    let differs = |field: &str| {
        counted
            .iter()
            .any(|path| super::slice::field_of(path) == field)
    };
    let mut parts = Vec::new();
    parts.extend(schema(&a, &b, &differs));
    parts.extend(configuration(&a, &b, &differs));
    parts.extend(code(case, &a, &b, &differs));
    parts.extend(seed(case, &a, &b, &differs));
    parts.extend(input(case, &differs));
    parts
}

fn schema(a: &Start, b: &Start, differs: &dyn Fn(&str) -> bool) -> Option<Part> {
    let fields: Vec<&'static str> = ["semantics", "behaviour"]
        .into_iter()
        .filter(|field| differs(field))
        .collect();
    (!fields.is_empty()).then(|| Part {
        class: Class::SchemaDrift,
        rule: "START: semantics version or behaviour flags differ",
        subject: fields.join(", "),
        evidence: vec![format!(
            "semantics {} [{}] and {} [{}]",
            a.semantics,
            a.behaviour.join(", "),
            b.semantics,
            b.behaviour.join(", ")
        )],
        exchanged: fields.join(", "),
        exchange: Exchange::Overlay(fields),
    })
}

fn configuration(a: &Start, b: &Start, differs: &dyn Fn(&str) -> bool) -> Option<Part> {
    let mut fields: Vec<&'static str> = ["config", "policy", "deadline_ms"]
        .into_iter()
        .filter(|field| differs(field))
        .collect();
    if differs("steps_max") && a.definition == b.definition {
        fields.push("steps_max");
    }
    let shown = |digest: &Option<Digest>| digest.map_or("none".into(), |digest| digest.hex());
    (!fields.is_empty()).then(|| Part {
        class: Class::ConfigDrift,
        rule: "START: configuration, policy or limits differ",
        subject: fields.join(", "),
        evidence: vec![format!(
            "config {} and {}, policy {} and {}",
            shown(&a.config),
            shown(&b.config),
            shown(&a.policy),
            shown(&b.policy)
        )],
        exchanged: fields.join(", "),
        exchange: Exchange::Overlay(fields),
    })
}

fn code(
    case: &Case<'_, '_, '_>,
    a: &Start,
    b: &Start,
    differs: &dyn Fn(&str) -> bool,
) -> Option<Part> {
    let document =
        differs("definition") || differs("version") || differs("name") || differs("namespace");
    if !document && !differs("skills") {
        return None;
    }
    let documents = (&case.kitchens[0].definition, &case.kitchens[1].definition);
    let settings_only = match documents {
        (Some(x), Some(y)) => document && without_metadata(x) == without_metadata(y),
        _ => false,
    };
    let (class, rule, subject) = if settings_only {
        (
            Class::ConfigDrift,
            "the documents differ only in document.metadata",
            "settings in document.metadata".to_owned(),
        )
    } else if document {
        (
            Class::CodeDrift,
            "START: the definition differs",
            format!(
                "document {} {} and {} {}",
                a.name, a.version, b.name, b.version
            ),
        )
    } else {
        let other = |skill: &&aos_format::event::SkillRef| !b.skills.contains(skill);
        let named = a.skills.iter().find(other).or(b.skills.first());
        (
            Class::CodeDrift,
            "START: a skill differs",
            named.map_or("skills".into(), |skill| format!("skill {}", skill.name)),
        )
    };
    let skills = registry(b, &case.options.skills);
    let exchange = match (&case.kitchens[1].definition, skills) {
        (_, Err(why)) => Exchange::Missing(why),
        (None, _) if document => Exchange::Missing(
            "the second side's document: it is not recorded, or not in a form that this build runs"
                .into(),
        ),
        (theirs, Ok(skills)) => {
            let (theirs, answers) = (theirs.clone(), case.their_answers());
            Exchange::Recipe(Box::new(move |recipe| {
                if let Some(theirs) = theirs.as_ref().filter(|_| document) {
                    recipe.definition = theirs.clone();
                }
                recipe.skills = skills.clone();
                recipe.answers.complete(&answers);
            }))
        }
    };
    Some(Part {
        class,
        rule,
        subject,
        evidence: vec![
            format!(
                "definition {} and {}",
                short(&a.definition),
                short(&b.definition)
            ),
            changed_steps(documents.0, documents.1),
        ],
        exchanged: if document {
            "the second side's document".into()
        } else {
            "the second side's skills".into()
        },
        exchange,
    })
}

fn short(digest: &Digest) -> String {
    digest.hex()[..16].to_owned()
}

/// A document without its metadata, as canonical JSON.
fn without_metadata(definition: &Definition) -> Option<Value> {
    let Val::Obj(members) = definition.json.val() else {
        return Some(definition.json.clone());
    };
    let mut members = (**members).clone();
    let key = text("document");
    if let Some(Val::Obj(document)) = members.get(&key) {
        let mut document = (**document).clone();
        document.shift_remove(&text("metadata"));
        members.insert(key, Val::obj(document));
    }
    Value::from_val(&Val::obj(members)).ok()
}

/// Which steps of two documents differ, by name.
fn changed_steps(a: &Option<Arc<Definition>>, b: &Option<Arc<Definition>>) -> String {
    let (Some(a), Some(b)) = (a, b) else {
        return "a document is not at hand".into();
    };
    let named = |definition: &Definition| -> Vec<(String, Value)> {
        let leaves = definition.tasks.iter().enumerate();
        leaves
            .filter(|(task, _)| definition.block(*task).is_empty())
            .map(|(_, task)| (super::event::names(&task.pointer), task.definition.clone()))
            .collect()
    };
    let (x, y) = (named(a), named(b));
    let mut changes = Vec::new();
    for (name, task) in &y {
        match x.iter().find(|(known, _)| known == name) {
            None => changes.push(format!("{name} added")),
            Some((_, before)) if before != task => changes.push(format!("{name} changed")),
            Some(_) => {}
        }
    }
    let gone = x
        .iter()
        .filter(|(name, _)| !y.iter().any(|(known, _)| known == name));
    changes.extend(gone.map(|(name, _)| format!("{name} removed")));
    if changes.is_empty() {
        return "the same steps; something outside them or around them changed".into();
    }
    let more = changes.len().saturating_sub(5);
    changes.truncate(5);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("steps: {}{more}", changes.join(", "))
}

/// Ways in which a run's seed has been or could be derived, besides the one that holds.
pub(crate) fn derivations(
    root: &RootSeed,
    run: RunId,
    other: RunId,
    start: &Start,
    key: &str,
) -> Vec<(&'static str, RunSeed)> {
    let derived = |name: &str, generation| {
        root.run_seed(RunId::derive(&start.namespace, name, key, generation))
    };
    vec![
        ("as it is derived now", root.run_seed(run)),
        ("from the other side's run id", root.run_seed(other)),
        ("the root seed itself", RunSeed::new(root.0)),
        (
            "from the first generation of the key",
            derived(&start.name, 0),
        ),
        (
            "from the next generation of the key",
            derived(&start.name, 1),
        ),
        ("without the workflow's name", derived("", 0)),
        (
            "from the root seed's commitment",
            RunSeed::new(root.commitment().0),
        ),
    ]
}

fn seed(
    case: &Case<'_, '_, '_>,
    a: &Start,
    b: &Start,
    differs: &dyn Fn(&str) -> bool,
) -> Option<Part> {
    if !differs("seed_commitment") && !differs("rng") {
        return None;
    }
    let [left, right] = &case.compared.halves;
    let evidence = format!(
        "commitments {} and {}",
        short(&a.seed_commitment),
        short(&b.seed_commitment)
    );
    if left.root != right.root {
        let exchange = match (&case.kitchens[1].recipe, &case.kitchens[1].root) {
            (Ok(theirs), _) => {
                let (seed, root) = (theirs.seed.clone(), theirs.info.root_seed);
                Exchange::Recipe(Box::new(move |recipe| {
                    recipe.seed = seed.clone();
                    recipe.info.root_seed = root;
                }))
            }
            (Err(_), Some(root)) => {
                let seed = root.run_seed(right.at.run);
                Exchange::Recipe(Box::new(move |recipe| recipe.seed = seed.clone()))
            }
            (Err(_), None) => Exchange::Missing("the second side's root seed".into()),
        };
        return Some(Part {
            class: Class::SeedMismatch,
            rule: "START: the seed commitment and the root seed differ",
            subject: "another root seed".into(),
            evidence: vec![evidence],
            exchanged: "the second side's seed".into(),
            exchange,
        });
    }
    let root = case.kitchens[1]
        .root
        .as_ref()
        .or(case.kitchens[0].root.as_ref());
    let found = root.and_then(|root| {
        let ways = derivations(root, right.at.run, left.at.run, b, &right.key);
        ways.into_iter()
            .find(|(_, seed)| seed.commitment() == b.seed_commitment)
    });
    let (named, exchange) = match found {
        Some((way, seed)) if !differs("rng") => (
            way,
            Exchange::Recipe(Box::new(move |recipe: &mut Recipe| {
                recipe.seed = seed.clone()
            })),
        ),
        _ => (
            "in a way that is not known",
            Exchange::Missing(
                "how the second side's seed was derived from the same root seed".into(),
            ),
        ),
    };
    Some(Part {
        class: Class::SeedDerivation,
        rule: "START: the same root seed and run, another seed commitment or scheme",
        subject: format!("the second side's seed is derived {named}"),
        evidence: vec![evidence, format!("schemes {} and {}", a.rng, b.rng)],
        exchanged: format!("the seed derived {named}"),
        exchange,
    })
}

fn input(case: &Case<'_, '_, '_>, differs: &dyn Fn(&str) -> bool) -> Option<Part> {
    if !differs("input") {
        return None;
    }
    let diffs = case.differences(&case.base[0], &case.target[0]);
    // The same value in other bytes is another matter.
    if diffs
        .iter()
        .any(|diff| diff.path == "input" && diff.change == super::report::Change::Respelled)
    {
        return None;
    }
    let paths: Vec<String> = diffs
        .into_iter()
        .filter(|diff| super::slice::field_of(&diff.path) == "input")
        .map(|diff| diff.path)
        .take(5)
        .collect();
    let theirs = case.target[0].bytes("input");
    let exchange = match theirs.and_then(|bytes| Value::from_json(bytes).ok()) {
        Some(theirs) => Exchange::Recipe(Box::new(move |recipe: &mut Recipe| {
            recipe.input = theirs.clone()
        })),
        None => Exchange::Missing("the second side's input: its bytes are not stored".into()),
    };
    Some(Part {
        class: Class::InputDrift,
        rule: "START: the input differs",
        subject: paths.join(", "),
        evidence: Vec::new(),
        exchanged: "the second side's input".into(),
        exchange,
    })
}
