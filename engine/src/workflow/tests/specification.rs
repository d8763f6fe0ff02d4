//! Examples of the specification: see `tests/data/spec/README.md` for where they come from.

use super::*;
use std::path::Path;

/// What is refused by name; every other example loads.
const REFUSED: &[(&str, &str)] = &[
    ("authentication-oauth2", "`authentication`"),
    ("authentication-oidc", "`authentication`"),
    ("call-asyncapi-publish", "`call: asyncapi`"),
    ("call-asyncapi-subscribe-consume-amount", "`call: asyncapi`"),
    (
        "call-asyncapi-subscribe-consume-forever-foreach",
        "`call: asyncapi`",
    ),
    ("call-asyncapi-subscribe-consume-until", "`call: asyncapi`"),
    ("call-asyncapi-subscribe-consume-while", "`call: asyncapi`"),
    ("call-custom-function-cataloged", "catalog"),
    ("call-grpc", "`call: grpc`"),
    ("call-mcp", "`call: mcp`"),
    ("run-container", "`container`"),
    ("run-container-cleanup-always", "`container`"),
    ("run-container-cleanup-eventually", "`container`"),
    ("run-container-stdin-and-arguments", "`container`"),
    ("run-container-with-name", "`container`"),
    ("run-container-with-pull-policy", "`container`"),
    ("run-return-all", "`container`"),
    ("run-return-code", "`container`"),
    ("run-return-none", "`container`"),
    ("run-return-stderr", "`container`"),
];

#[test]
fn every_example_loads_or_is_refused_by_name_and_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/spec");
    let (mut loaded, mut refused, mut wrong) = (0, Vec::new(), Vec::new());
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        let what = REFUSED.iter().find(|(refused, _)| *refused == name);
        match (Definition::load(&bytes), what) {
            (Ok(_), None) => loaded += 1,
            (Ok(_), Some(_)) => wrong.push(format!("{name} loads")),
            (Err(error), Some((_, what)))
                if error.code() == "AOS-E209"
                    && error.line > 1
                    && error.message.contains(what)
                    && error.message.ends_with("not supported yet") =>
            {
                refused.push(name);
            }
            (Err(error), _) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((loaded, refused.len()), (45, REFUSED.len()));
}
