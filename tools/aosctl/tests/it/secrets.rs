//! A planted secret is looked for in every byte of the log, in each disguise that a server can put on it.

use crate::harness::Place;
use aos_engine::mock::{Asked, Reply, Server};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::path::Path;

const PLANTED: &str = "pL4nt3d/S3cret+Tok=en-42";

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn percent(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b if b.is_ascii_alphanumeric() || b == b'-' => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// What the log may hold none of, and the server says all of.
fn disguises() -> Vec<String> {
    let spaced: Vec<String> = PLANTED.chars().map(String::from).collect();
    let (first, second) = PLANTED.split_at(PLANTED.len() / 2);
    vec![
        PLANTED.into(),
        STANDARD.encode(PLANTED),
        STANDARD.encode(format!("user:{PLANTED}")),
        URL_SAFE_NO_PAD.encode(format!("a{PLANTED}")),
        hex(PLANTED),
        hex(PLANTED).to_uppercase(),
        percent(PLANTED),
        PLANTED.chars().rev().collect(),
        PLANTED.to_uppercase(),
        PLANTED.to_lowercase(),
        spaced.join(" "),
        spaced.join("-"),
        first.into(),
        second.into(),
    ]
}

fn list(texts: &[String]) -> String {
    serde_json::to_string(texts).unwrap()
}

/// Which disguises any file below `dir` holds.
fn found(dir: &Path) -> Vec<String> {
    let mut bytes = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => bytes.extend(std::fs::read(path).unwrap()),
            }
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let held = disguises().into_iter();
    held.filter(|disguise| text.contains(disguise.as_str()))
        .collect()
}

fn document(place: &Place, server: &Server, more: &str) -> String {
    format!(
        "document: {{dsl: '1.0.3', namespace: t, name: t, version: '1.0.0', metadata: {{aos: {{secrets: '{}'}}}}}}\n\
         use:\n  secrets: [token, login]\n  authentications:\n    user: {{basic: {{use: login}}}}\n\
         do:\n  - ask:\n      call: http\n      with:\n        method: get\n        endpoint: {{uri: '{}/'{more}}}\n        \
         output: response\n",
        place.path("").display().to_string().trim_end_matches('/'),
        server.base()
    )
}

/// A server that says every disguise, in values, in names and in one long text.
fn server() -> Server {
    let said = |_: &Asked| {
        let all = disguises();
        let name = serde_json::to_string(&all[0]).unwrap();
        let text = serde_json::to_string(&format!("it is {}!", all[1])).unwrap();
        Reply::json(
            200,
            &format!(r#"{{"all":{},{name}:1,"text":{text}}}"#, list(&all)),
        )
    };
    Server::start(said).unwrap()
}

#[test]
fn a_planted_secret_is_nowhere_in_the_log_in_any_disguise() {
    let place = Place::new();
    place.write("token", PLANTED);
    place.write(
        "login",
        format!(r#"{{"username":"user","password":"{PLANTED}"}}"#),
    );
    let server = server();
    for (name, more, header) in [
        (
            "bearer",
            ", authentication: {bearer: {token: '${ $secrets.token }'}}",
            format!("Bearer {PLANTED}"),
        ),
        (
            "basic",
            ", authentication: {use: user}",
            format!("Basic {}", STANDARD.encode(format!("user:{PLANTED}"))),
        ),
    ] {
        place.write("w.yaml", document(&place, &server, more));
        place
            .aosctl(&format!("run w.yaml --log {name}.aos --key k --seed 1"))
            .exits(0);
        let seen = server.seen();
        assert_eq!(
            seen.last().unwrap().header("authorization"),
            Some(header.as_str())
        );
        assert_eq!(
            found(&place.path(&format!("{name}.aos"))),
            Vec::<String>::new()
        );
        let shown = place
            .aosctl(&format!("-o json show {name}.aos k"))
            .exits(0)
            .json();
        let text = shown.to_string();
        assert!(
            text.matches("[secret]").count() >= disguises().len(),
            "{text}"
        );
        let report = place
            .aosctl(&format!("-o json replay {name}.aos"))
            .exits(0)
            .json();
        assert_eq!(report["verdict"], "match");
    }
    // Without a secret in the request nothing is masked: so the search finds what is there.
    place.write("w.yaml", document(&place, &server, ""));
    place
        .aosctl("run w.yaml --log open.aos --key k --seed 1")
        .exits(0);
    assert_eq!(found(&place.path("open.aos")).len(), disguises().len());
}

#[test]
fn data_cannot_name_a_file_that_is_sent() {
    let place = Place::new();
    place.write("token", PLANTED);
    let server = server();
    let text = document(&place, &server, "")
        .replace("output: response", "headers: {x-api-key: '${ .key }'}");
    place.write("w.yaml", text);
    let folder = place.path("").display().to_string();
    let (folder, asked) = (folder.trim_end_matches('/'), |file: &str| {
        place.write("in.json", format!(r#"{{"key":{{"file":"{file}"}}}}"#));
    });
    asked("/etc/hostname");
    place
        .aosctl("run w.yaml --log d.aos --key a --seed 1 --input @in.json")
        .exits(1);
    assert_eq!(server.seen().len(), 0);
    let said = place.aosctl("-o json query d.aos a").exits(0).json();
    assert_eq!(
        said["runs"][0]["last"][0]["error_code"],
        "PERMISSION_DENIED"
    );
    asked(&format!("{folder}/token"));
    place
        .aosctl("run w.yaml --log d.aos --key b --seed 1 --input @in.json")
        .exits(0);
    assert_eq!(server.seen()[0].header("x-api-key"), Some(PLANTED));
}
