//! Effects: a kill between INTENT and RESULT, and what is done about it.

use crate::harness::{PATIENCE, Place, Said, number, text};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A server on loopback that tells of each request and answers it when it is told to.
struct Server {
    base: String,
    requests: Receiver<(String, TcpStream)>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        std::thread::spawn(move || serve(&listener, &sender));
        Server { base, requests }
    }

    /// The next request: its first line, and the connection to answer on.
    fn next(&self) -> (String, TcpStream) {
        self.requests
            .recv_timeout(PATIENCE)
            .expect("no request came")
    }

    fn nothing_came(&self) -> bool {
        self.requests.try_recv().is_err()
    }
}

fn serve(listener: &TcpListener, sender: &Sender<(String, TcpStream)>) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(read) => request.extend_from_slice(&buffer[..read]),
            }
        }
        let first = String::from_utf8_lossy(&request)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        if sender.send((first, stream)).is_err() {
            return;
        }
    }
}

fn answer(mut stream: TcpStream, body: &str) {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .unwrap();
}

fn document(method: &str) -> String {
    format!(
        "
document: {{dsl: '1.0.3', namespace: tests, name: effect-{method}, version: '1.0.0'}}
do:
  - first: {{set: {{base: '${{ .base }}'}}}}
  - send: {{call: http, with: {{method: {method}, endpoint: '${{ .base + \"/x\" }}'}}}}
  - last: {{set: {{answer: '${{ . }}'}}}}
"
    )
}

/// Starts a run whose request the server has, and kills it before the answer.
fn killed_between(place: &Place, server: &Server, method: &str) {
    place.write("w.yaml", document(method));
    let arguments = format!(
        "run w.yaml --log e.aos --key k --seed 1 --input {{\"base\":\"{}\"}}",
        server.base
    );
    let mut child = place.start(&arguments, Stdio::null());
    let (line, _unanswered) = server.next();
    assert!(line.to_lowercase().starts_with(method), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_get_without_an_answer_is_sent_again_by_resume_and_never_by_replay() {
    let (place, server) = (Place::new(), Server::start());
    killed_between(&place, &server, "get");
    let child = place.start("-o json resume e.aos", Stdio::null());
    let (line, stream) = server.next();
    assert!(line.starts_with("GET /x"), "{line}");
    answer(stream, "{\"n\":1}");
    let said = crate::harness::Said::new("resume", child.wait_with_output().unwrap())
        .exits(0)
        .json();
    assert_eq!(number(&said, "completed"), 1);
    let report = place.aosctl("-o json replay e.aos").exits(0).json();
    assert_eq!(report["verdict"], "match");
    place.aosctl("resume e.aos k").exits(0);
    assert!(
        server.nothing_came(),
        "neither replay nor a completed run sends anything"
    );
    let marks = place.aosctl("show e.aos k").exits(0).lines();
    assert!(
        marks
            .iter()
            .any(|row| row["kind"] == "MARK" && row["what"] == "reissue"),
        "{marks:?}"
    );
}

#[test]
fn a_post_without_an_answer_is_held_until_somebody_resolves_it() {
    let place = Place::new();
    for (resolution, expected) in [
        ("--result {\"n\":2}", "completed"),
        ("--failed", "faulted"),
        ("--retry", "completed"),
    ] {
        let server = Server::start();
        let _ = std::fs::remove_dir_all(place.path("e.aos"));
        killed_between(&place, &server, "post");
        let held = place.aosctl("-o json resume e.aos").exits(0);
        assert!(
            held.stderr.contains("is held") && held.stderr.contains("aosctl resolve e.aos"),
            "{}",
            held.stderr
        );
        assert_eq!(number(&held.json(), "held"), 1);
        assert_eq!(
            place
                .aosctl("runs e.aos --status held")
                .exits(0)
                .lines()
                .len(),
            1
        );
        assert!(server.nothing_came(), "a POST is not repeated by itself");
        place
            .aosctl("resolve e.aos k nosuchstep --retry")
            .exits(3)
            .fails_with("AOS-E006", &["nosuchstep", "--status held"]);
        let resolved = place
            .aosctl(&format!(
                "-o json resolve e.aos k send {resolution} --actor tester"
            ))
            .exits(0)
            .json();
        assert_eq!(
            (text(&resolved, "actor"), text(&resolved, "schema")),
            ("tester".into(), "aos.resolve.v1".into())
        );
        let child = place.start("-o json resume e.aos k", Stdio::null());
        if resolution == "--retry" {
            let (line, stream) = server.next();
            assert!(line.starts_with("POST /x"), "{line}");
            answer(stream, "{\"n\":3}");
        }
        let said = crate::harness::Said::new(resolution, child.wait_with_output().unwrap());
        let said = said.exits(i32::from(expected == "faulted")).json();
        assert_eq!(text(&said, "status"), expected, "{resolution}");
        assert!(server.nothing_came());
        assert_eq!(
            place.aosctl("-o json replay e.aos").exits(0).json()["verdict"],
            "match",
            "{resolution}"
        );
        let decision = place
            .aosctl("show e.aos k")
            .exits(0)
            .lines()
            .into_iter()
            .find(|row| row["kind"] == "DECISION")
            .unwrap();
        assert_eq!(decision["actor"], "tester");
    }
}

#[test]
fn branches_of_the_only_run_have_effects_in_flight_together() {
    let (place, server) = (Place::new(), Server::start());
    let call = |path: &str| {
        format!(
            "{{{path}: {{call: http, with: {{method: get, endpoint: '{}/{path}'}}}}}}",
            server.base
        )
    };
    place.write(
        "par.yaml",
        format!(
            "document: {{dsl: '1.0.3', namespace: t, name: par, version: '1.0.0'}}\n\
             do: [{{both: {{fork: {{branches: [{}, {}]}}}}}}]\n",
            call("a"),
            call("b")
        ),
    );
    let child = place.start("-o json run par.yaml --log p.aos", Stdio::null());
    // The second is asked although the first has no answer.
    let asked = [server.next(), server.next()];
    for (_, stream) in asked {
        answer(stream, "1");
    }
    let said = Said::new("run", child.wait_with_output().unwrap()).exits(0);
    assert_eq!(said.json()["output"], serde_json::json!([1, 1]));
}
