//! Which attributes count: data, printed by tools and written into the log.

use crate::json::Json;
use aos_format::digest::Digest;

/// What becomes of one attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Kept with the original bytes, not hashed.
    Volatile,
    /// Hashed: payloads decoded, absent and default values alike, members by the rules inside.
    Hashed,
    /// Hashed: payloads decoded, everything else as it stands, because the names inside are the workflow's own.
    Open,
    /// Hashed as a whole number, however it is spelled; 0 and absent are alike.
    Integer,
    /// Hashed as a number that counts from 1: absent, 0 and 1 are alike.
    Count,
    /// Hashed as the activation of the event whose id it is, so that an event put in does not change all later ones.
    Reference,
    /// Hashed as a name without this prefix, in one spelling; the second is what absent means.
    Name(&'static str, &'static str),
}

impl Rule {
    /// In words.
    pub fn name(self) -> String {
        match self {
            Rule::Volatile => "volatile".into(),
            Rule::Hashed => "hashed".into(),
            Rule::Open => "hashed, names inside are the workflow's".into(),
            Rule::Integer => "hashed, a number".into(),
            Rule::Count => "hashed, a number from 1".into(),
            Rule::Reference => "hashed, as the event it names".into(),
            Rule::Name(prefix, "") => {
                format!("hashed, a name without {prefix}")
            }
            Rule::Name(prefix, default) => {
                format!("hashed, a name without {prefix}, {default} by default")
            }
        }
    }

    /// Whether a change of it changes the history digest.
    pub fn counts(self) -> bool {
        self != Rule::Volatile
    }
}

/// A named attribute and what becomes of it.
pub type Attribute = (&'static str, Rule);

/// The rules of an importer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Importer.
    pub source: String,
    /// Raised when the same file would give other digests.
    pub version: u64,
    /// What becomes of what no table names.
    pub unknown: &'static str,
    /// Tables: where, and the attributes there.
    pub tables: Vec<(String, Vec<(String, Rule)>)>,
}

impl Rules {
    /// The canonical JSON that the log keeps.
    pub fn canonical(&self) -> Vec<u8> {
        let tables = self
            .tables
            .iter()
            .map(|(name, attributes)| {
                let attributes = attributes
                    .iter()
                    .map(|(name, rule)| (name.clone(), Json::Text(rule.name())))
                    .collect();
                (name.clone(), Json::Object(attributes))
            })
            .collect();
        Json::Object(vec![
            ("importer".into(), Json::Text(self.source.clone())),
            ("version".into(), Json::Number(self.version.to_string())),
            ("unknown".into(), Json::Text(self.unknown.into())),
            ("tables".into(), Json::Object(tables)),
        ])
        .canonical()
    }

    /// Digest of the DEFINITION that holds them.
    pub fn digest(&self) -> Digest {
        Digest::labelled("aos.import-rules.v1", &[&self.canonical()])
    }
}
