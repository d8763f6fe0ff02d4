use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A server on the loopback that reads whole requests, keeps them, and sends prepared answers, one a connection.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// One answer for each connection; afterwards the port is closed. An empty answer closes the connection without one.
    fn new(answers: &[&[u8]]) -> Server {
        Server::with(|_| answers.iter().map(|answer| answer.to_vec()).collect())
    }

    /// The same with answers that know where it is.
    fn with(answers: impl FnOnce(&str) -> Vec<Vec<u8>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (keep, answers) = (seen.clone(), answers(&format!("http://{address}")));
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_request(&stream);
                keep.lock().unwrap().push(request);
                // The client may have given up already.
                let _ = stream.write_all(&answer);
            }
        });
        Server { address, seen }
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        let end = line.trim().is_empty();
        request.push_str(&line);
        if end {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request.push_str(&String::from_utf8(body).unwrap());
    request
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [
        format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
        body,
    ]
    .concat()
}

fn json(text: &str) -> Value {
    Value::from_json(text.as_bytes()).unwrap()
}

fn show(value: &Value) -> String {
    String::from_utf8(value.canonical().to_vec()).unwrap()
}

fn record(arguments: &str) -> String {
    show(&HttpCall::new().request(&json(arguments)).unwrap())
}

fn refusal(arguments: &str) -> String {
    let fault = HttpCall::new().request(&json(arguments)).unwrap_err();
    assert_eq!(fault.code, Code::InvalidInput);
    fault.detail
}

/// Performs `arguments`, in which `$` stands for the server.
fn call(server: &Server, arguments: &str) -> Result<String, Fault> {
    let skill = HttpCall::new();
    let request = skill
        .request(&json(&arguments.replace('$', &server.uri(""))))
        .unwrap();
    skill
        .perform(&request, &AtHand::alone("wire-key-1"))
        .map(|output| show(&output))
}

#[test]
fn both_forms_of_arguments_give_one_record() {
    let expected = r#"{"body":null,"headers":{},"method":"GET","output":"content","query":{},"redirect":false,"uri":"https://example.com/a"}"#;
    assert_eq!(record(r#"{"url":"https://example.com/a"}"#), expected);
    assert_eq!(
        record(r#"{"method":"get","endpoint":"https://example.com/a"}"#),
        expected
    );
    assert_eq!(
        record(
            r#"{"method":"GET","endpoint":{"uri":"https://example.com/a"},"headers":null,"body":null}"#
        ),
        expected
    );
}

#[test]
fn a_record_is_its_own_record() {
    let first = record(
        r#"{"method":"post","endpoint":"http://a/b?x=1","headers":{"X-B":1,"x-a":"t"},
            "query":{"n":1.50,"list":["b","a"],"flag":true},"body":{"z":1,"a":[null]},"output":"response","redirect":true}"#,
    );
    assert_eq!(
        first,
        r#"{"body":{"a":[null],"z":1},"headers":{"x-a":"t","x-b":"1"},"method":"POST","output":"response","query":{"flag":"true","list":["b","a"],"n":"1.5"},"redirect":true,"uri":"http://a/b?x=1"}"#
    );
    assert_eq!(record(&first), first);
}

#[test]
fn refused_arguments_name_the_field() {
    for (arguments, detail) in [
        ("7", "http_call: expected an object of arguments, found 7"),
        (
            "{}",
            "http_call: field `endpoint`: expected a URI, found nothing",
        ),
        (
            r#"{"url":"http://a","uri":"http://b"}"#,
            "http_call: field `url`: expected only one of `endpoint`, `uri` and `url`, found another",
        ),
        (
            r#"{"url":"http://a/{id}/x"}"#,
            "http_call: field `url`: expected a URI whose variables are resolved, found `{id}/x`",
        ),
        (
            r#"{"url":"ftp://a"}"#,
            "http_call: field `url`: expected an absolute URI of http or https, found `ftp://a`",
        ),
        (
            r#"{"url":"/a"}"#,
            "http_call: field `url`: expected an absolute URI of http or https, found `/a`",
        ),
        (
            r#"{"url":"http://a b"}"#,
            "http_call: field `url`: expected an absolute URI of http or https, found `http://a b`",
        ),
        (
            r#"{"url":"http://me:secret@a"}"#,
            "http_call: field `url`: expected a URI without user and password, found one with `@`",
        ),
        (
            r#"{"url":"http://a#b"}"#,
            "http_call: field `url`: expected a URI without fragment, found one with `#`",
        ),
        (
            r#"{"url":5}"#,
            "http_call: field `url`: expected a URI as text, found 5",
        ),
        (
            r#"{"endpoint":{"uri":"http://a","authentication":{}}}"#,
            "http_call: field `endpoint/authentication`: expected no such field, found one",
        ),
        (
            r#"{"url":"http://a","method":"CONNECT"}"#,
            "http_call: field `method`: expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE, found text `CONNECT`",
        ),
        (
            r#"{"url":"http://a","headers":{"Host":"b"}}"#,
            "http_call: field `headers/Host`: expected no header that the request sets itself, found one",
        ),
        (
            r#"{"url":"http://a","headers":{"a b":"c"}}"#,
            "http_call: field `headers/a b`: expected the name of a header, found another text",
        ),
        (
            r#"{"url":"http://a","headers":{"x":"a\r\nb: c"}}"#,
            "http_call: field `headers/x`: expected a value of visible ASCII characters, found others",
        ),
        (
            r#"{"url":"http://a","headers":{"X":"1","X-A":"2","x":"3"}}"#,
            "http_call: field `headers/x`: expected one value, found the name twice, in different case",
        ),
        (
            r#"{"url":"http://a","query":{"q":null}}"#,
            "http_call: field `query/q`: expected text, a number, a boolean or an array of them, found null",
        ),
        (
            r#"{"url":"http://a","output":"xml"}"#,
            "http_call: field `output`: expected one of content, raw, response, found text `xml`",
        ),
        (
            r#"{"url":"http://a","redirect":"yes"}"#,
            "http_call: field `redirect`: expected true or false, found text `yes`",
        ),
        (
            r#"{"url":"http://a","method":"HEAD","body":1}"#,
            "http_call: field `body`: expected nothing, as HEAD has no body, found 1",
        ),
        (
            r#"{"url":"http://a","method":"POST","headers":{"content-type":"text/plain"},"body":{}}"#,
            "http_call: field `body`: expected text, as its type is `text/plain`, found an object",
        ),
        (
            r#"{"url":"http://a","timeout":3}"#,
            "http_call: field `timeout`: expected no such field, found one",
        ),
    ] {
        assert_eq!(refusal(arguments), detail);
    }
}

#[test]
fn only_what_is_idempotent_is_retried_after_an_unknown_outcome() {
    let skill = HttpCall::new();
    for (method, policy) in [
        ("get", Policy::Retry),
        ("head", Policy::Retry),
        ("options", Policy::Retry),
        ("trace", Policy::Retry),
        ("put", Policy::Retry),
        ("delete", Policy::Retry),
        ("post", Policy::Hold),
        ("patch", Policy::Hold),
    ] {
        let request = json(&record(&format!(
            r#"{{"url":"http://a","method":"{method}"}}"#
        )));
        assert_eq!(skill.policy(&request), policy, "{method}");
    }
    assert_eq!(skill.policy(&Value::null()), Policy::Hold);
}

#[test]
fn a_post_carries_canonical_json_and_the_idempotency_key() {
    let server = Server::new(&[&answer(
        "201 Created\r\nContent-Type: application/json; charset=utf-8",
        br#"{"b":1.0,"a":[]}"#,
    )]);
    let output = call(
        &server,
        r#"{"method":"post","endpoint":"$/orders","query":{"b":"x y&ü","a":[1,2]},"body":{"z":1,"a":"é"}}"#,
    );
    assert_eq!(output.unwrap(), r#"{"a":[],"b":1}"#);
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    let lower = seen[0].to_ascii_lowercase();
    assert!(
        seen[0].starts_with("POST /orders?a=1&a=2&b=x%20y%26%C3%BC HTTP/1.1\r\n"),
        "{}",
        seen[0]
    );
    assert!(
        lower.contains("\r\nidempotency-key: wire-key-1\r\n"),
        "{lower}"
    );
    assert!(
        lower.contains("\r\ncontent-type: application/json\r\n"),
        "{lower}"
    );
    assert!(
        seen[0].ends_with("\r\n\r\n{\"a\":\"é\",\"z\":1}"),
        "{}",
        seen[0]
    );
}

#[test]
fn a_text_body_of_its_own_type_is_sent_as_it_is() {
    let server = Server::new(&[&answer("204 No Content", b"")]);
    let output = call(
        &server,
        r#"{"method":"put","url":"$/","headers":{"Content-Type":"text/plain"},"body":"a\nb"}"#,
    );
    assert_eq!(output.unwrap(), "null");
    assert!(
        server.seen()[0].ends_with("\r\n\r\na\nb"),
        "{}",
        server.seen()[0]
    );
}

#[test]
fn content_is_json_then_text_then_base64() {
    for (head, body, output) in [
        (
            "200 OK\r\nContent-Type: application/problem+json",
            &br#"{"b":2,"a":1}"#[..],
            r#"{"a":1,"b":2}"#,
        ),
        (
            "200 OK\r\nContent-Type: text/plain",
            "grün".as_bytes(),
            "\"grün\"",
        ),
        ("200 OK", br#"{"a":1}"#, r#""{\"a\":1}""#),
        (
            "200 OK\r\nContent-Type: application/octet-stream",
            &[0xff, 0, 0xfe],
            "\"/wD+\"",
        ),
        ("200 OK\r\nContent-Type: application/json", b"", "null"),
    ] {
        let server = Server::new(&[&answer(head, body)]);
        assert_eq!(call(&server, r#"{"url":"$/"}"#).unwrap(), output, "{head}");
    }
    let server = Server::new(&[&answer("200 OK\r\nContent-Type: application/json", b"{}")]);
    assert_eq!(
        call(&server, r#"{"url":"$/","output":"raw"}"#).unwrap(),
        "\"e30=\""
    );
}

#[test]
fn an_answer_that_is_not_the_json_it_claims_is_a_fault() {
    let server = Server::new(&[&answer(
        "200 OK\r\nContent-Type: application/json",
        br#"{"a":1,"a":2}"#,
    )]);
    let fault = call(&server, r#"{"url":"$/"}"#).unwrap_err();
    assert_eq!(fault.code, Code::SchemaError);
}

#[test]
fn a_response_tells_request_status_headers_and_content() {
    let server = Server::new(&[&answer("202 Accepted\r\nX-B: 2\r\nX-A: 1\r\nx-b: 3", b"ok")]);
    let output = call(
        &server,
        r#"{"url":"$/p","query":{"q":1},"headers":{"X-C":"d"},"output":"response"}"#,
    )
    .unwrap();
    let uri = server.uri("/p?q=1");
    assert_eq!(
        output,
        format!(
            r#"{{"content":"ok","headers":{{"content-length":"2","x-a":"1","x-b":"2, 3"}},"request":{{"headers":{{"x-c":"d"}},"method":"GET","uri":"{uri}"}},"statusCode":202}}"#
        )
    );
    assert!(
        !output.contains("wire-key-1"),
        "the wire key differs from log to log"
    );
}

#[test]
fn a_status_outside_success_is_a_fault_of_its_code() {
    for (status, code) in [
        (301, Code::Http400),
        (400, Code::Http400),
        (401, Code::Http400),
        (404, Code::Http404),
        (429, Code::RateLimited),
        (500, Code::Http500),
        (502, Code::Http500),
        (503, Code::Http503),
    ] {
        let server = Server::new(&[&answer(&format!("{status} X"), b"why")]);
        let fault = call(&server, r#"{"url":"$/"}"#).unwrap_err();
        assert_eq!((fault.status, fault.code), (status, code));
        assert_eq!(
            fault.detail,
            format!("GET was answered with status {status}")
        );
        assert!(
            fault.error_type.ends_with("/communication"),
            "{}",
            fault.error_type
        );
        assert_eq!(server.seen().len(), 1, "one call, one request");
    }
}

#[test]
fn redirects_are_followed_only_when_asked_for() {
    let target = Server::new(&[&answer("200 OK", b"there")]);
    let hop = |target: &Server| {
        answer(
            &format!("302 Found\r\nLocation: {}", target.uri("/new")),
            b"",
        )
    };
    let server = Server::new(&[&hop(&target), &hop(&target)]);
    let fault = call(&server, r#"{"url":"$/old"}"#).unwrap_err();
    assert_eq!((fault.status, target.seen().len()), (302, 0));
    assert_eq!(
        call(&server, r#"{"url":"$/old","redirect":true}"#).unwrap(),
        "\"there\""
    );
    assert_eq!((server.seen().len(), target.seen().len()), (2, 1));
}

#[test]
fn a_header_with_a_secret_stays_with_the_origin_that_was_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    std::fs::write(&path, "k3y-of-the-house").unwrap();
    let elsewhere = Server::new(&[&answer("200 OK", b"there")]);
    let away = answer(
        &format!("302 Found\r\nLocation: {}", elsewhere.uri("/new")),
        b"",
    );
    let near = answer("307 Temporary\r\nLocation: /new", b"");
    let server = Server::new(&[&away, &near, &answer("200 OK", b"here"), &near]);
    let with = |more: &str| {
        format!(
            r#"{{"url":"$/old","redirect":true,"headers":{{"x-api-key":{{"file":"{}"}}}}{more}}}"#,
            path.display()
        )
    };
    let fault = call(&server, &with("")).unwrap_err();
    assert_eq!(
        (fault.code, fault.detail.as_str()),
        (
            Code::Http400,
            "GET: the answer redirects where a header with a secret does not go"
        )
    );
    assert_eq!(elsewhere.seen().len(), 0);
    assert_eq!(call(&server, &with("")).unwrap(), "\"here\"");
    assert!(server.seen()[2].contains("x-api-key: k3y-of-the-house"));
    // What may not be repeated is not sent somewhere else either.
    let fault = call(&server, &with(r#","method":"post""#)).unwrap_err();
    assert_eq!(fault.code, Code::Http400);
}

#[test]
fn a_token_is_fetched_by_the_call_that_needs_it_and_never_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    std::fs::write(&path, "client-s3cret&=").unwrap();
    let granted = answer(
        "200 OK",
        br#"{"access_token":"t0ken-of-the-day","token_type":"Bearer","expires_in":60}"#,
    );
    let server = Server::new(&[
        &granted,
        &answer("200 OK", b"you are t0ken-of-the-day and client-s3cret&="),
        &granted,
        &answer("200 OK", b"again"),
        &answer("401 No", b"client-s3cret&="),
        &answer("200 OK", b"{}"),
        b"",
    ]);
    let with = |by: &str| {
        let secret = format!(r#"{{"file":"{}"}}"#, path.display());
        format!(
            r#"{{"method":"post","url":"$/pay","authentication":{{"oauth2":{{"endpoint":"$/token","id":"me","secret":{secret},"authentication":"{by}","scope":"a b","audience":["x"]}}}}}}"#
        )
    };
    let post = with("client_secret_post");
    assert_eq!(
        call(&server, &post).unwrap(),
        r#""you are [secret] and [secret]""#
    );
    let seen = server.seen();
    assert!(seen[0].starts_with("POST /token "), "{}", seen[0]);
    assert!(
        seen[0].ends_with("grant_type=client_credentials&client_id=me&client_secret=client-s3cret%26%3D&scope=a%20b&audience=x"),
        "{}",
        seen[0]
    );
    assert!(
        seen[1].contains("authorization: Bearer t0ken-of-the-day\r\n"),
        "{}",
        seen[1]
    );
    let recorded = record(&post.replace('$', "http://a"));
    assert!(!recorded.contains("s3cret"), "{recorded}");
    assert_eq!(record(&recorded), recorded);
    call(&server, &with("client_secret_basic")).unwrap();
    let basic = format!("authorization: Basic {}", "bWU6Y2xpZW50LXMzY3JldCY9");
    assert!(server.seen()[2].contains(&basic), "{}", server.seen()[2]);
    // Without a token nothing was asked of the receiver, so no outcome is unknown.
    for (code, words) in [
        (Code::Http400, "no token: POST was answered with status 401"),
        (
            Code::SchemaError,
            "no token: the answer has no `access_token`",
        ),
        (Code::Http503, "no token: POST: the connection broke"),
    ] {
        let fault = call(&server, &post).unwrap_err();
        assert!(
            fault.code == code && fault.detail.starts_with(words),
            "{fault:?}"
        );
    }
    for (part, field) in [
        (r#""secret":"plain""#, "secret"),
        (r#""id":"a:b""#, "id"),
        (r#""endpoint":"ftp://a""#, "endpoint"),
        (r#""scope":1"#, "scope"),
        (r#""other":1"#, "other"),
    ] {
        let all = format!(
            r#"{{"url":"http://a","authentication":{{"oauth2":{{"endpoint":"http://a","id":"me","secret":{{"file":"/s"}},{part}}}}}}}"#
        );
        let name = format!(r#""{field}":"#);
        let once = match all.matches(&name).count() {
            2 => all.replacen(
                &all[all.find(&name).unwrap()..all.rfind(&name).unwrap()],
                "",
                1,
            ),
            _ => all,
        };
        assert!(
            refusal(&once).contains(&format!("oauth2/{field}")),
            "{once}"
        );
    }
}

#[test]
fn what_a_document_computes_lets_in_too_and_stands_in_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    std::fs::write(&path, "s3cret-word").unwrap();
    let echo = answer("200 OK", b"t0k");
    let server = Server::new(&[
        &echo,
        &answer("200 OK", b"u:s3cret-word dTpzM2NyZXQtd29yZA=="),
    ]);
    let bearer = r#"{"url":"$/","authentication":{"bearer":{"token":{"data":"t0k"}}}}"#;
    // It is data: nobody masks it.
    assert_eq!(call(&server, bearer).unwrap(), "\"t0k\"");
    assert!(server.seen()[0].contains("authorization: Bearer t0k\r\n"));
    let recorded = record(&bearer.replace('$', "http://a"));
    assert!(
        recorded.contains(r#"{"bearer":{"token":{"data":"t0k"}}}"#),
        "{recorded}"
    );
    assert_eq!(record(&recorded), recorded);
    let basic = format!(
        r#"{{"url":"$/","authentication":{{"basic":{{"username":"u","password":{{"file":"{}"}}}}}}}}"#,
        path.display()
    );
    // The last characters hold bits of what may come behind.
    assert_eq!(call(&server, &basic).unwrap(), "\"[secret] [secret]A==\"");
    for wrong in [
        r#"{"bearer":{"token":"t"}}"#,
        r#"{"bearer":{"token":{"data":1}}}"#,
        r#"{"bearer":{"token":{"data":"a","x":1}}}"#,
        r#"{"bearer":{"token":{"data":"a\nb"}}}"#,
        r#"{"digest":{"username":"u"}}"#,
        r#"{"basic":{"username":"a:b","password":{"data":"x"}}}"#,
        r#"{"bearer":{},"basic":{}}"#,
        r#"{"other":{}}"#,
        "{}",
    ] {
        let detail = refusal(&format!(r#"{{"url":"http://a","authentication":{wrong}}}"#));
        assert!(
            detail.contains("field `authentication"),
            "{wrong}: {detail}"
        );
    }
}

#[test]
fn a_challenge_is_answered_once_and_at_its_own_origin() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    std::fs::write(&path, "Circle of Life").unwrap();
    let challenge = answer(
        "401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: Digest realm=\"r\", qop=\"auth\", algorithm=SHA-256, nonce=\"n1\", opaque=\"o\"",
        b"",
    );
    let elsewhere = Server::new(&[&answer("200 OK", b"there")]);
    let away = answer(
        &format!("302 Found\r\nLocation: {}", elsewhere.uri("/")),
        b"",
    );
    let server = Server::new(&[
        &challenge,
        &answer("200 OK", b"Circle of Life, you are in"),
        &challenge,
        &challenge,
        &answer("401 No\r\nWWW-Authenticate: Negotiate", b""),
        &challenge,
        &away,
    ]);
    let with = |more: &str| {
        format!(
            r#"{{"method":"post","body":1,"url":"$/dir?a=b","authentication":{{"digest":{{"username":"Mufasa","password":{{"file":"{}"}}}}}}{more}}}"#,
            path.display()
        )
    };
    assert_eq!(
        call(&server, &with("")).unwrap(),
        "\"[secret], you are in\""
    );
    let seen = server.seen();
    assert!(!seen[0].contains("authorization:"), "{}", seen[0]);
    let said = seen[1]
        .lines()
        .find(|line| line.starts_with("authorization: Digest "))
        .unwrap();
    for part in [
        r#"username="Mufasa""#,
        r#"uri="/dir?a=b""#,
        "qop=auth",
        r#"nonce="n1""#,
        r#"opaque="o""#,
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(
        seen[1].ends_with("\r\n\r\n1"),
        "the body is sent again: {}",
        seen[1]
    );
    let recorded = record(&with("").replace('$', "http://a"));
    assert!(!recorded.contains("Circle"), "{recorded}");
    assert_eq!(record(&recorded), recorded);
    // A wrong password is challenged again: that is the answer. So it is where nobody can answer.
    for _ in 0..2 {
        let fault = call(&server, &with("")).unwrap_err();
        assert_eq!((fault.code, fault.status), (Code::Http400, 401));
    }
    let fault = call(&server, &with(r#","redirect":true"#)).unwrap_err();
    assert!(fault.detail.contains("does not go"), "{fault:?}");
    assert_eq!((server.seen().len(), elsewhere.seen().len()), (7, 0));
}

#[test]
fn an_authority_says_where_it_gives_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    std::fs::write(&path, "client-s3cret").unwrap();
    let granted = answer("200 OK", br#"{"access_token":"t0ken-of-the-day"}"#);
    let tokens = Server::new(&[&granted]);
    let configuration = |issuer: &str, endpoint: &str| {
        let body = format!(r#"{{"issuer":"{issuer}","token_endpoint":"{endpoint}"}}"#);
        answer("200 OK", body.as_bytes())
    };
    let at = tokens.uri("/t");
    // The issuer is the authority that was asked, so its answers are made when its address is known.
    let server = Server::with(|own| {
        vec![
            configuration(&format!("{own}/realm/"), &at),
            answer("200 OK", b"you are t0ken-of-the-day"),
            configuration("http://other", &at),
            answer("200 OK", br#"{"issuer":"x"}"#),
            configuration(&format!("{own}/realm"), "ftp://a"),
            answer("200 OK", b"<html>"),
            answer("404 No", b""),
        ]
    });
    let asked = format!(
        r#"{{"method":"post","url":"$/pay","authentication":{{"oidc":{{"authority":"$/realm","id":"me","secret":{{"file":"{}"}}}}}}}}"#,
        path.display()
    );
    assert_eq!(call(&server, &asked).unwrap(), r#""you are [secret]""#);
    let seen = server.seen();
    assert!(
        seen[0].starts_with("GET /realm/.well-known/openid-configuration "),
        "{}",
        seen[0]
    );
    assert!(tokens.seen()[0].contains("client_secret=client-s3cret"));
    assert!(seen[1].contains("authorization: Bearer t0ken-of-the-day"));
    let recorded = record(&asked.replace('$', "http://a"));
    assert!(!recorded.contains("s3cret"), "{recorded}");
    assert_eq!(record(&recorded), recorded);
    for words in [
        "no token: the configuration is that of another issuer",
        "no token: the configuration is that of another issuer",
        "no token: the configuration's `token_endpoint` is no URI",
        "no token: the configuration is no JSON",
        "no token: GET was answered with status 404",
    ] {
        let fault = call(&server, &asked).unwrap_err();
        assert!(fault.detail.starts_with(words), "{fault:?}");
    }
    let leads = oauth2::discovered(
        "https://a/",
        br#"{"issuer":"https://a","token_endpoint":"http://a/t"}"#,
    );
    assert!(leads.unwrap_err().detail.ends_with("from https to http"));
}

#[test]
fn a_token_is_granted_in_the_name_of_somebody_and_by_a_policy_that_is_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let granted = answer("200 OK", br#"{"access_token":"t0ken-of-the-day"}"#);
    let fine = answer("200 OK", b"fine");
    let server = Server::new(&[
        &granted,
        &fine,
        &granted,
        &fine,
        &granted,
        &answer("200 OK", b"w0rd-of-a-user and t0ken-of-the-day"),
    ]);
    let with = |terms: &str| {
        format!(
            r#"{{"url":"$/","authentication":{{"oauth2":{{"endpoint":"$/t","id":"me",{terms}}}}}}}"#
        )
    };
    let password = with(
        r#""authentication":"none","grant":"password","username":"u","password":{"data":"w"},"encoding":"application/json","audience":["a","b"]"#,
    );
    call(&server, &password).unwrap();
    assert!(
        server.seen()[0].ends_with(r#"{"audience":["a","b"],"client_id":"me","grant_type":"password","password":"w","username":"u"}"#),
        "{}",
        server.seen()[0]
    );
    let exchange = with(
        r#""authentication":"none","grant":"urn:ietf:params:oauth:grant-type:token-exchange","subject":{"token":{"data":"s"},"type":"urn:x"},"actor":{"token":{"data":"a"},"type":"urn:y"}"#,
    );
    call(&server, &exchange).unwrap();
    assert!(
        server.seen()[2].ends_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&client_id=me&subject_token=s&subject_token_type=urn%3Ax&actor_token=a&actor_token_type=urn%3Ay"),
        "{}",
        server.seen()[2]
    );
    for asked in [&password, &exchange] {
        let recorded = record(&asked.replace('$', "http://a"));
        assert_eq!(record(&recorded), recorded);
    }
    let policy = r#"{"authority":"$","endpoints":{"token":"/at"},"grant":"password","client":{"id":"me","secret":"client-s3cret"},"username":"somebody","password":"w0rd-of-a-user","scopes":["x","y"]}"#;
    std::fs::write(&path, policy.replace('$', &server.uri(""))).unwrap();
    let kept = format!(
        r#"{{"url":"$/","authentication":{{"oauth2":{{"use":{{"file":"{}"}}}}}}}}"#,
        path.display()
    );
    assert_eq!(call(&server, &kept).unwrap(), r#""[secret] and [secret]""#);
    let asked = &server.seen()[4];
    assert!(asked.starts_with("POST /at "), "{asked}");
    assert!(
        asked.ends_with(
            "client_secret=client-s3cret&username=somebody&password=w0rd-of-a-user&scope=x%20y"
        ),
        "{asked}"
    );
    let recorded = record(&kept.replace('$', "http://a"));
    assert_eq!(record(&recorded), recorded);
    for wrong in ["no json", "{}", r#"{"authority":"x"}"#] {
        std::fs::write(&path, wrong).unwrap();
        let fault = call(&server, &kept).unwrap_err();
        assert_eq!(fault.code, Code::PermissionDenied);
        assert!(!fault.detail.contains("authority"), "{fault:?}");
    }
}

#[test]
fn a_refused_connection_is_told_without_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let skill = HttpCall::new();
    let request = skill
        .request(&json(&format!(
            r#"{{"method":"post","url":"http://{address}/"}}"#
        )))
        .unwrap();
    let fault = skill.perform(&request, &AtHand::alone("k")).unwrap_err();
    assert_eq!(
        (fault.code, fault.detail.as_str()),
        (Code::ConnectionRefused, "POST: the connection was refused")
    );
}

#[test]
fn a_host_that_does_not_resolve_is_told_as_such() {
    // A label of more than 63 characters is no name (RFC 1035), so no name server is asked.
    let skill = HttpCall::new();
    let request = format!(r#"{{"url":"http://{}.invalid/"}}"#, "a".repeat(64));
    let request = skill.request(&json(&request)).unwrap();
    let fault = skill.perform(&request, &AtHand::alone("k")).unwrap_err();
    assert_eq!(
        (fault.code, fault.detail.as_str()),
        (Code::DnsFailure, "GET: the host name did not resolve")
    );
}

#[test]
fn a_silent_server_is_a_timeout() {
    // The listener's backlog accepts the connection; nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let skill = HttpCall::with_limits(Duration::from_secs(10), Duration::from_millis(50));
    let request = skill
        .request(&json(&format!(
            r#"{{"url":"http://{}/"}}"#,
            listener.local_addr().unwrap()
        )))
        .unwrap();
    let fault = skill.perform(&request, &AtHand::alone("k")).unwrap_err();
    assert_eq!(
        (fault.code, fault.detail.as_str()),
        (Code::Timeout, "GET: no complete answer within 50 ms")
    );
}

#[test]
fn a_lost_connection_leaves_the_outcome_of_a_post_unknown() {
    for (method, body, code) in [
        ("post", &b""[..], Code::UnknownOutcome),
        ("put", b"", Code::Http503),
        (
            "post",
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
            Code::UnknownOutcome,
        ),
        (
            "get",
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
            Code::Http503,
        ),
        ("post", b"not http at all\r\n\r\n", Code::UnknownOutcome),
    ] {
        let server = Server::new(&[body]);
        let fault = call(&server, &format!(r#"{{"method":"{method}","url":"$/"}}"#)).unwrap_err();
        assert_eq!(fault.code, code, "{method}: {}", fault.detail);
        assert_eq!(
            server.seen().len(),
            1,
            "nothing is sent again behind the back of the log"
        );
    }
}

#[test]
fn an_answer_beyond_the_limit_is_refused() {
    let body = vec![b'x'; RESPONSE_BYTES_MAX as usize + 1];
    let server = Server::new(&[&answer("200 OK", &body)]);
    let fault = call(&server, r#"{"url":"$/"}"#).unwrap_err();
    assert_eq!(
        (fault.code, fault.detail.as_str()),
        (
            Code::BudgetExceeded,
            "GET: the answer is longer than 8388608 bytes"
        )
    );
    let server = Server::new(&[&answer("200 OK", &body[1..])]);
    assert_eq!(
        call(&server, r#"{"url":"$/"}"#).unwrap().len(),
        RESPONSE_BYTES_MAX as usize + 2
    );
}

#[test]
fn a_record_from_a_damaged_log_is_refused_and_nothing_is_sent() {
    let server = Server::new(&[]);
    let good = json(&record(&format!(r#"{{"url":"{}"}}"#, server.uri("/"))));
    for bad in ["null", "[]", r#"{"method":"GET"}"#, r#"{"uri":7}"#] {
        assert_eq!(
            HttpCall::new()
                .perform(&json(bad), &AtHand::alone("k"))
                .unwrap_err()
                .code,
            Code::InvalidInput,
            "{bad}"
        );
    }
    let fault = HttpCall::new()
        .perform(&good, &AtHand::alone("bad\r\nkey"))
        .unwrap_err();
    assert_eq!(
        fault.code,
        Code::InvalidInput,
        "a wire key cannot smuggle a header"
    );
    assert!(server.seen().is_empty());
}

#[test]
fn a_header_that_lets_somebody_in_is_a_secret_and_its_echo_is_masked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "t0p-s3cret\n").unwrap();
    let echo = answer(
        "200 OK\r\nContent-Type: application/json\r\nX-Echo: t0p-s3cret",
        br#"{"you":"Bearer t0p-s3cret"}"#,
    );
    let server = Server::new(&[&echo]);
    let header = format!(r#"{{"file":"{}","prefix":"Bearer "}}"#, file.display());
    let arguments =
        format!(r#"{{"url":"$/","output":"response","headers":{{"Authorization":{header}}}}}"#);
    let output = call(&server, &arguments).unwrap();
    assert!(
        server.seen()[0]
            .to_lowercase()
            .contains("authorization: bearer t0p-s3cret")
    );
    assert!(!output.contains("t0p-s3cret"), "{output}");
    assert!(output.contains(r#""you":"Bearer [secret]""#), "{output}");
    assert!(
        output.contains(&format!(r#""authorization":{header}"#)),
        "{output}"
    );
    for name in [
        "authorization",
        "Cookie",
        "X-API-Key",
        "Proxy-Authorization",
    ] {
        let detail = refusal(&format!(
            r#"{{"url":"http://a/","headers":{{"{name}":"Bearer abc"}}}}"#
        ));
        assert!(
            detail.contains("as a text would stand in the log"),
            "{detail}"
        );
        assert!(!detail.contains("abc"), "{detail}");
    }
    std::fs::remove_file(&file).unwrap();
    let fault = call(&server, &arguments).unwrap_err();
    assert_eq!(
        fault.code,
        Code::PermissionDenied,
        "without the secret nothing is sent"
    );
}

#[test]
fn a_request_has_a_limit_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let arguments = format!(
        r#"{{"url":"http://{}/","timeout_ms":40}}"#,
        listener.local_addr().unwrap()
    );
    let skill = HttpCall::new();
    let request = skill.request(&json(&arguments)).unwrap();
    assert!(show(&request).contains(r#""timeout_ms":40"#));
    let fault = skill.perform(&request, &AtHand::alone("k")).unwrap_err();
    assert_eq!(
        (fault.code, fault.detail.as_str()),
        (Code::Timeout, "GET: no complete answer within 40 ms")
    );
    assert!(refusal(r#"{"url":"http://a/","timeout_ms":0}"#).contains("timeout_ms"));
    assert!(refusal(r#"{"url":"http://a/","timeout_ms":600001}"#).contains("timeout_ms"));
}

#[test]
fn connections_are_kept_for_what_may_be_repeated_only() {
    for (method, connections) in [("get", 1), ("post", 3)] {
        let server = crate::mock::Server::start(|_| crate::mock::Reply::json(200, "{}")).unwrap();
        let skill = HttpCall::new();
        let arguments = format!(r#"{{"method":"{method}","url":"{}/"}}"#, server.base());
        let request = skill.request(&json(&arguments)).unwrap();
        for _ in 0..3 {
            skill.perform(&request, &AtHand::alone("k")).unwrap();
        }
        let seen = server.seen();
        let last = seen.iter().map(|asked| asked.connection).max().unwrap();
        assert_eq!((seen.len(), last + 1), (3, connections), "{method}");
    }
}
