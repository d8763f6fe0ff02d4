//! JSON in memory: numbers as their canonical text, members in the order of the file.

use aos_format::canonical::{self, Event, Parser};

/// A JSON value that loses nothing on the way in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// Canonical text.
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads the one value in `bytes`.
    pub(crate) fn parse(bytes: &[u8]) -> canonical::Result<Json> {
        let mut parser = Parser::new(bytes);
        let first = parser.expect_event()?;
        let value = Json::read(&mut parser, first)?;
        parser.finish()?;
        Ok(value)
    }

    /// Reads the value that `event` begins. Recursion is bounded by the parser's depth.
    pub(crate) fn read(parser: &mut Parser<'_>, event: Event<'_>) -> canonical::Result<Json> {
        Ok(match event {
            Event::Null => Json::Null,
            Event::Bool(value) => Json::Bool(value),
            Event::Int(digits) => Json::Number(digits.to_owned()),
            Event::Float(value) => {
                let mut text = Vec::new();
                canonical::write_f64(&mut text, value)?;
                Json::Number(String::from_utf8_lossy(&text).into_owned())
            }
            Event::String(text) => Json::Text(text.into_owned()),
            Event::ArrayStart => {
                let mut items = Vec::new();
                loop {
                    match parser.expect_event()? {
                        Event::ArrayEnd => break Json::Array(items),
                        event => items.push(Json::read(parser, event)?),
                    }
                }
            }
            Event::ObjectStart => {
                let mut members = Vec::new();
                while let Event::Key(key) = parser.expect_event()? {
                    let event = parser.expect_event()?;
                    members.push((key.into_owned(), Json::read(parser, event)?));
                }
                no_key_twice(&members, parser.offset())?;
                Json::Object(members)
            }
            // The parser gives these only inside the containers that they end or name.
            Event::Key(_) | Event::ArrayEnd | Event::ObjectEnd => Json::Null,
        })
    }

    /// What kind of value it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "true or false",
            Json::Number(_) => "a number",
            Json::Text(_) => "text",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }

    /// The members of an object; none for anything else.
    pub(crate) fn members(&self) -> &[(String, Json)] {
        match self {
            Json::Object(members) => members,
            _ => &[],
        }
    }

    /// A member of an object.
    pub(crate) fn member(&self, key: &str) -> Option<&Json> {
        self.members()
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// The text of a string.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number, given as a number or as its digits.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Json::Number(text) | Json::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Levels of arrays and objects.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Json::Array(items) => 1 + items.iter().map(Json::depth).max().unwrap_or(0),
            Json::Object(members) => {
                1 + members
                    .iter()
                    .map(|(_, value)| value.depth())
                    .max()
                    .unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// The canonical bytes.
    pub(crate) fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(true) => out.extend_from_slice(b"true"),
            Json::Bool(false) => out.extend_from_slice(b"false"),
            Json::Number(text) => out.extend_from_slice(text.as_bytes()),
            Json::Text(text) => canonical::write_string(out, text),
            Json::Array(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Json::Object(members) => {
                let mut order: Vec<&(String, Json)> = members.iter().collect();
                order.sort_by(|a, b| canonical::cmp_keys(&a.0, &b.0));
                out.push(b'{');
                for (i, (key, value)) in order.into_iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    canonical::write_string(out, key);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Refuses an object that names a key twice; `offset` is where it ends.
pub(crate) fn no_key_twice<T>(members: &[(String, T)], offset: usize) -> canonical::Result<()> {
    let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(canonical::Error::DuplicateKey {
            offset,
            key: twice[0].to_owned(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_written_are_canonical() {
        let text =
            br#" {"b": [1.0, 1e2, -0, 12345678901234567890123], "a": {"\u0001": null, "": true}} "#;
        let json = Json::parse(text).unwrap();
        assert_eq!(json.canonical(), canonical::canonicalize(text).unwrap());
        assert_eq!(json.depth(), 2);
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        let error = Json::parse(br#"{"a": {"k": 1, "k": 1}}"#).unwrap_err();
        assert_eq!(error.code(), "AOS-F102");
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_as_the_format_writes_it(bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:0123456789.eE+-truefalsn \\u".as_slice()), 0..40)) {
            match (Json::parse(&bytes), canonical::canonicalize(&bytes)) {
                (Ok(json), Ok(expected)) => prop_assert_eq!(json.canonical(), expected),
                (Err(_), Err(_)) => {}
                (found, expected) => prop_assert!(false, "{:?} {:?}", found, expected),
            }
        }
    }
}
