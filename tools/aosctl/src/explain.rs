//! Help pages of error codes, part of the binary.

/// Pages by code, ascending.
pub const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The page of a code; the code may be given in lower case and without `AOS-`.
pub fn page(code: &str) -> Option<&'static str> {
    let code = code.trim().to_ascii_uppercase();
    let code = code.strip_prefix("AOS-").unwrap_or(&code);
    let found = PAGES
        .iter()
        .find(|(known, _)| known.strip_prefix("AOS-") == Some(code));
    found.map(|(_, page)| *page)
}

/// The title of a page: its first line without the code.
pub fn title(page: &str) -> &str {
    let first = page.lines().next().unwrap_or_default();
    first.split_once(": ").map_or(first, |(_, title)| title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    /// Every `"AOS-Xnnn"` in the sources of all crates.
    fn codes_in_sources() -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut dirs: Vec<PathBuf> = ["engine", "store", "replay", "tools"]
            .iter()
            .map(|dir| root.join(dir))
            .collect();
        let mut codes = BTreeSet::new();
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else if path.extension().is_some_and(|e| e == "rs")
                    && path.components().any(|c| c.as_os_str() == "src")
                {
                    let text = std::fs::read_to_string(&path).unwrap();
                    for (at, _) in text.match_indices("\"AOS-") {
                        let code: String = text[at + 1..].chars().take(8).collect();
                        let number = code
                            .get(5..)
                            .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
                        let known = code
                            .as_bytes()
                            .get(4)
                            .is_some_and(|letter| b"FDSERCBIGKX".contains(letter));
                        if known && number && text[at + 9..].starts_with('"') {
                            codes.insert(code);
                        }
                    }
                }
            }
        }
        codes
    }

    #[test]
    fn every_code_of_every_crate_has_a_page() {
        let codes = codes_in_sources();
        assert!(codes.len() > 40, "the scan found only {}", codes.len());
        let missing: Vec<_> = codes.iter().filter(|code| page(code).is_none()).collect();
        assert!(missing.is_empty(), "no page in docs/errors for {missing:?}");
    }

    #[test]
    fn every_page_is_reachable_from_a_code() {
        let codes = codes_in_sources();
        let orphans: Vec<_> = PAGES
            .iter()
            .map(|(code, _)| *code)
            .filter(|code| !codes.contains(*code))
            .collect();
        assert!(orphans.is_empty(), "no source names {orphans:?}");
    }

    #[test]
    fn every_page_has_its_title_and_three_paragraphs() {
        for (code, page) in PAGES {
            assert!(
                page.starts_with(&format!("# {code}: ")),
                "{code} has another title"
            );
            assert_eq!(
                page.trim_end().split("\n\n").count(),
                4,
                "{code}: a title and three paragraphs"
            );
        }
    }

    /// The commands in a page: code spans that begin with the program's name.
    fn commands(page: &str) -> impl Iterator<Item = &str> {
        let spans = page.split('`').skip(1).step_by(2);
        spans.filter(|span| span.starts_with("aosctl "))
    }

    #[test]
    fn every_command_in_a_page_exists() {
        use clap::CommandFactory;
        let mut wrong = Vec::new();
        for (code, page) in PAGES {
            for command in commands(page) {
                let mut known = crate::args::Cli::command();
                known.build();
                for word in command.split_whitespace().skip(1) {
                    if let Some(option) = word.strip_prefix("--") {
                        let name = option.split('=').next().unwrap_or_default();
                        if !known
                            .get_arguments()
                            .any(|arg| arg.get_long() == Some(name))
                        {
                            wrong.push(format!("{code}: {command}: {word}"));
                        }
                    } else if known.has_subcommands()
                        && word.chars().all(|c| c.is_ascii_lowercase())
                    {
                        match known.find_subcommand(word) {
                            Some(next) => known = next.clone(),
                            None => wrong.push(format!("{code}: {command}: {word}")),
                        }
                    }
                }
            }
        }
        assert!(
            wrong.is_empty(),
            "no such command or option:\n{}",
            wrong.join("\n")
        );
    }

    #[test]
    fn a_code_is_found_however_it_is_typed() {
        let first = PAGES[0].0;
        assert_eq!(page(&first.to_lowercase()), Some(PAGES[0].1));
        assert_eq!(page(&first[4..]), Some(PAGES[0].1));
        assert_eq!(page("AOS-Z999"), None);
    }
}
