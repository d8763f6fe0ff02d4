//! Secrets by name, and who a request comes from.

use super::*;

const USE: &str = "use:\n  secrets: [token, login]\n  authentications:\n    byName: {basic: {use: login}}\n    byToken: {bearer: {token: '${ $secrets.token }'}}\n";

fn with(http: &str) -> Value {
    let definition = workflow(&format!(
        "{USE}do:\n- a:\n    call: http\n    with: {{method: get, endpoint: {{uri: 'http://a/', {http}}}}}\n"
    ));
    value(&filled(&definition.tasks[0], "{}").unwrap())
}

fn given(expression: &str) -> String {
    let definition = workflow(&format!(
        "{USE}do:\n- a:\n    call: anything\n    with: {{x: '{expression}'}}\n"
    ));
    filled(&definition.tasks[0], "{}").unwrap()
}

#[test]
fn a_secret_is_a_reference_with_perhaps_a_text_before_it() {
    for (expression, reference) in [
        ("${ $secrets.token }", r#"{"file":"/run/secrets/token"}"#),
        (
            "${$secrets.login.password}",
            r#"{"field":"password","file":"/run/secrets/login"}"#,
        ),
        (
            r#"${ $secrets["login"]["user name"] }"#,
            r#"{"field":"user name","file":"/run/secrets/login"}"#,
        ),
        (
            r#"${ $secrets."token" }"#,
            r#"{"file":"/run/secrets/token"}"#,
        ),
        (
            r#"${ "Token " + $secrets.token }"#,
            r#"{"file":"/run/secrets/token","prefix":"Token "}"#,
        ),
        (
            "Token ${ $secrets.token }",
            r#"{"file":"/run/secrets/token","prefix":"Token "}"#,
        ),
        (
            r#"${ "a\"b \($secrets.token)" }"#,
            r#"{"file":"/run/secrets/token","prefix":"a\"b "}"#,
        ),
    ] {
        assert_eq!(given(expression), format!(r#"{{"x":{reference}}}"#));
    }
}

#[test]
fn whoever_derives_something_from_a_secret_is_refused() {
    for place in [
        "input: {from: §'${ $secrets.token }'}\n    set: {x: 1}",
        "set: {x: §'${ $secrets.token }'}",
        "set: {x: 1}\n    output: {as: §'${ $secrets }'}",
        "set: {x: 1}\n    export: {as: {x: §'${ $secrets.token }'}}",
        "if: §$secrets.token\n    set: {x: 1}",
        "call: x\n    with: {x: §'${ $secrets }'}",
        "call: x\n    with: {x: §'${ $secrets.token } behind'}",
        "call: x\n    with: {x: §'${ $secrets.token }${ $secrets.token }'}",
        "call: x\n    with: {x: §'${ $secrets.token | @base64 }'}",
        "call: x\n    with: {x: §'${ $secrets.token + \"x\" }'}",
        "call: x\n    with: {x: §'${ [$secrets.token] }'}",
        "call: x\n    with: {x: §'${ \"a\" + \"b\" | . + $secrets.token }'}",
        "call: x\n    with: {x: §'${ $secrets.login.a.b }'}",
        "call: http\n    with: {method: post, endpoint: 'http://a/', body: {password: §'${ $secrets.token }'}}",
        "call: http\n    with: {method: get, endpoint: 'http://a/', query: {key: §'${ $secrets.token }'}}",
        "emit: {event: {with: {source: 'http://a', type: a, data: §'${ $secrets.token }'}}}",
    ] {
        let error = refused(&format!("{HEAD}{USE}do:\n- a:\n    {place}\n"));
        assert_eq!(error.code(), "AOS-E209", "{error}");
        assert!(error.to_string().contains("`$secrets`"), "{error}");
    }
    let error = refused(&format!(
        "{HEAD}{USE}do:\n- a:\n    call: x\n    with: {{x: §'${{ $secrets.tokn }}'}}\n"
    ));
    assert!(error.to_string().contains("no secret `tokn`"), "{error}");
    assert!(error.to_string().contains("login, token"), "{error}");
    for (list, code) in [
        ("§../x", "AOS-E211"),
        ("§.x", "AOS-E211"),
        ("§''", "AOS-E211"),
    ] {
        let error = refused(&format!(
            "{HEAD}use: {{secrets: [{list}]}}\ndo: [{{a: {{set: {{b: 1}}}}}}]\n"
        ));
        assert_eq!(error.code(), code, "{error}");
    }
}

#[test]
fn an_authentication_is_one_of_the_documents_or_stands_where_it_is_used() {
    let login = |field: &str| format!(r#"{{"field":"{field}","file":"/run/secrets/login"}}"#);
    let basic = format!(
        r#"{{"basic":{{"password":{},"username":{}}}}}"#,
        login("password"),
        login("username")
    );
    let bearer = r#"{"bearer":{"token":{"file":"/run/secrets/token"}}}"#;
    for (http, expected) in [
        ("authentication: {use: byName}", basic.as_str()),
        ("authentication: {basic: {use: login}}", basic.as_str()),
        ("authentication: {use: byToken}", bearer),
        (
            "authentication: {bearer: {token: '${ $secrets.token }'}}",
            bearer,
        ),
        (
            "authentication: {bearer: {token: {file: /run/secrets/token}}}",
            bearer,
        ),
    ] {
        let with = with(http);
        let found = member(with.val(), "authentication").unwrap();
        assert_eq!(Value::from_val(found).unwrap().as_str(), expected);
        assert!(member(member(with.val(), "endpoint").unwrap(), "authentication").is_none());
    }
    let data = with("authentication: {digest: {username: '${ .u }', password: 'x${ .p }'}}");
    let found = member(data.val(), "authentication").unwrap();
    assert_eq!(
        Value::from_val(found).unwrap().as_str(),
        r#"{"digest":{"password":{"data":"xnull"},"username":null}}"#
    );
    let kept = with("authentication: {oidc: {use: login}}");
    let found = member(kept.val(), "authentication").unwrap();
    assert_eq!(
        Value::from_val(found).unwrap().as_str(),
        r#"{"oidc":{"use":{"file":"/run/secrets/login"}}}"#
    );
    let granted = with(
        "authentication: {oauth2: {authority: 'http://a/', grant: client_credentials, client: {id: me, secret: '${ $secrets.token }'}, scopes: [a, b], audiences: [x]}}",
    );
    let found = member(granted.val(), "authentication").unwrap();
    assert_eq!(
        Value::from_val(found).unwrap().as_str(),
        r#"{"oauth2":{"audience":["x"],"endpoint":"http://a/oauth2/token","grant":"client_credentials","id":"me","scope":"a b","secret":{"file":"/run/secrets/token"}}}"#
    );
    for (http, words) in [
        (
            "authentication: {bearer: {token: §abc}}",
            "a token that is no secret",
        ),
        (
            "authentication: {digest: {username: u, password: §p}}",
            "a password that is no secret",
        ),
        (
            "authentication: {§oauth2: {}}",
            "`oauth2` lacks the property `authority`",
        ),
        (
            "authentication: {oauth2: {authority: 'http://a', grant: §authorization_code, client: {id: a}}}",
            "`grant: authorization_code`",
        ),
        (
            "authentication: {oauth2: {authority: 'http://a', grant: client_credentials, client: {id: a, secret: §b}}}",
            "a client's secret that is no secret",
        ),
        (
            "authentication: {oauth2: {authority: §'http://${ .a }', grant: client_credentials, client: {id: a}}}",
            "an authority that is computed",
        ),
        ("authentication: {oidc: {use: §other}}", "no secret `other`"),
        (
            "authentication: {oidc: {authority: 'http://a', grant: password, client: {id: a}, username: u, password: §p}}",
            "a password that is no secret",
        ),
        (
            "authentication: {oauth2: {authority: 'http://a', grant: client_credentials, client: {id: a, §assertion: b}}}",
            "`assertion` in `client`",
        ),
        (
            "authentication: {oidc: {authority: 'http://a', grant: client_credentials, client: {id: a}, §issuers: [x]}}",
            "`issuers` in `oidc`",
        ),
        (
            "authentication: {bearer: {token: §'${ $secrets.token + .x }'}}",
            "`$secrets`",
        ),
        (
            "authentication: {bearer: {token: §'${ $authorization.scheme }'}}",
            "authorization",
        ),
        ("§authentication: {certificate: {}}", "`certificate`"),
        ("authentication: {use: §other}", "no `other`"),
        (
            "authentication: {basic: {use: §other}}",
            "no secret `other`",
        ),
        ("§authentication: {}", "does not say how"),
    ] {
        let error = refused(&format!(
            "{HEAD}{USE}do:\n- a:\n    call: http\n    with: {{method: get, endpoint: {{uri: 'http://a/', {http}}}}}\n"
        ));
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_document_knows_the_files_that_it_names() {
    let definition = load(&format!(
        "document: {{dsl: '1.0.3', namespace: test, name: demo, version: '1.0.0', metadata: {{aos: {{secrets: /s/}}}}}}\n\
         {USE}do:\n- a:\n    call: x\n    with: {{key: {{file: /other}}}}\n"
    ));
    let files: Vec<&str> = definition.secrets.iter().map(String::as_str).collect();
    assert_eq!(files, ["/other", "/s/login", "/s/token"]);
}
