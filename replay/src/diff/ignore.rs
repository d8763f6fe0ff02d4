//! Ignore rules: differences that shall not count, as data.
//!
//! ```text
//! rule    = [ step ":" ] path
//! path    = part *( "/" part )      the field of the event, then the pointer into its value
//! part    = "*" (one)  |  "**" (any number)  |  text, in which "*" stands for any characters
//! step    = name of a step, or a pattern over its names with "*"
//! ```

use super::event::{NormEvent, names};
use crate::finding::pointer;

/// Longest rule, in bytes.
pub const RULE_LEN_MAX: usize = 1024;

/// Rules of what is ignored.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    text: String,
    step: Option<String>,
    path: Vec<String>,
}

/// A rule that makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("ignore rule {rule:?}: {why}")]
pub struct RuleError {
    /// As given, cut where it is long.
    pub rule: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Rules {
    /// Reads rules.
    ///
    /// # Errors
    /// The first that makes no sense.
    pub fn parse<S: AsRef<str>>(rules: impl IntoIterator<Item = S>) -> Result<Rules, RuleError> {
        let rules = rules.into_iter().map(|text| Rule::parse(text.as_ref()));
        Ok(Rules(rules.collect::<Result<_, _>>()?))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules as given.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(|rule| rule.text.clone()).collect()
    }

    /// Whether a difference at `path` of `event` is ignored.
    pub(crate) fn hide(&self, event: &NormEvent, path: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let parts: Vec<&str> = path.split('/').collect();
        let activation = event.activation();
        self.0.iter().any(|rule| {
            let here = rule.step.as_ref().is_none_or(|step| {
                let named = names(&activation);
                let named = pointer(&named);
                let last = named.rsplit('/').next().unwrap_or(named);
                like(step, last) || like(step, named) || like(step, pointer(&activation))
            });
            here && matches(&rule.path, &parts)
        })
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Rule, RuleError> {
        let bad = |why| RuleError {
            rule: text.chars().take(60).collect(),
            why,
        };
        if text.len() > RULE_LEN_MAX {
            return Err(bad("longer than 1024 bytes"));
        }
        let (step, path) = match text.split_once(':') {
            Some((step, path)) => (Some(step), path),
            None => (None, text),
        };
        if step == Some("") {
            return Err(bad("no step before the colon"));
        }
        let path = path.trim_start_matches('/');
        if path.is_empty() {
            return Err(bad("no path"));
        }
        Ok(Rule {
            text: text.to_owned(),
            step: step.map(str::to_owned),
            path: path.split('/').map(str::to_owned).collect(),
        })
    }
}

/// Whether `path` is at or below what the pattern names.
fn matches(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        // What stands below a hidden path is hidden too.
        (None, _) => true,
        (Some((first, rest)), _) if first == "**" => {
            (0..=path.len()).any(|skipped| matches(rest, &path[skipped..]))
        }
        (Some(_), None) => false,
        (Some((first, rest)), Some((part, below))) => like(first, part) && matches(rest, below),
    }
}

/// Whether `text` is as the pattern says; `*` stands for any characters.
fn like(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        let pattern = |text: &str| Rule::parse(text).unwrap().path;
        let path = |text: &'static str| text.split('/').collect::<Vec<_>>();
        assert!(matches(&pattern("output/id"), &path("output/id")));
        assert!(matches(&pattern("output"), &path("output/id/x")), "below");
        assert!(matches(&pattern("output/*/id"), &path("output/3/id")));
        assert!(!matches(&pattern("output/*/id"), &path("output/3/4/id")));
        assert!(matches(&pattern("**/id"), &path("output/3/4/id")));
        assert!(matches(&pattern("output/time*"), &path("output/time_ms")));
        assert!(!matches(&pattern("output/id"), &path("output")));
    }

    #[test]
    fn rules_without_path_or_step_are_refused() {
        for (rule, why) in [
            ("", "no path"),
            (":x", "no step before the colon"),
            ("a:", "no path"),
        ] {
            assert_eq!(Rules::parse([rule]).unwrap_err().why, why, "{rule}");
        }
        assert!(Rules::parse(["x".repeat(2000)]).is_err());
    }
}
