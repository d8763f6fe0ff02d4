//! Activations of foreign events: what happened, and which occurrence of it.

use std::collections::BTreeMap;

/// Counts events of one name within a run.
#[derive(Default)]
pub(crate) struct Activations(BTreeMap<String, u64>);

impl Activations {
    /// The next activation of `foreign_type`, about `subject` where it has one.
    pub(crate) fn next(&mut self, foreign_type: &str, subject: Option<&str>) -> String {
        let mut pointer = format!("/{}", escaped(foreign_type));
        if let Some(subject) = subject {
            pointer.push('/');
            pointer.push_str(&escaped(subject));
        }
        let visit = self.0.entry(pointer.clone()).or_default();
        *visit += 1;
        if *visit > 1 || pointer.contains(';') {
            pointer.push_str(&format!(";{visit}"));
        }
        pointer
    }
}

/// One segment of a JSON pointer.
fn escaped(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_events_of_a_run_have_the_same_activation() {
        let mut activations = Activations::default();
        let mut made = Vec::new();
        for (foreign_type, subject) in [
            ("A", None),
            ("A", None),
            ("A", Some("x")),
            ("A", Some("x")),
            ("A/x", None),
            ("A;2", None),
            ("A", Some("x;2")),
        ] {
            made.push(activations.next(foreign_type, subject));
        }
        assert_eq!(
            made,
            [
                "/A", "/A;2", "/A/x", "/A/x;2", "/A~1x", "/A;2;1", "/A/x;2;1"
            ]
        );
    }
}
