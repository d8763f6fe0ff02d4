use super::*;

fn uri(uri: &str, input: &str) -> Result<String, String> {
    let definition = workflow(&format!(
        "do:\n  - a:\n      call: http\n      with:\n        method: get\n        endpoint: {uri}\n"
    ));
    filled(&definition.tasks[0], input)
}

fn filled_with(template: &str, input: &str) -> String {
    let filled = value(&uri(&format!("'{template}'"), input).unwrap());
    crate::value::as_text(member(filled.val(), "endpoint").unwrap())
        .unwrap()
        .to_owned()
}

#[test]
fn variables_of_a_uri_are_properties_of_the_input() {
    for (template, input, expected) in [
        ("https://a.b/{id}", r#"{"id":7}"#, "https://a.b/7"),
        (
            "https://a.b/{id}/x/{id}{n}",
            r#"{"id":"q","n":true}"#,
            "https://a.b/q/x/qtrue",
        ),
        (
            "https://a.b/{pet.id}",
            r#"{"pet.id":1,"pet":{"id":2}}"#,
            "https://a.b/1",
        ),
        (
            "https://a.b/{id}",
            r#"{"id":"a/b c?ü"}"#,
            "https://a.b/a%2Fb%20c%3F%C3%BC",
        ),
        ("https://a.b/{id}", r#"{"id":null}"#, "https://a.b/"),
        ("https://a.b/{id}", r#"{"id":false}"#, "https://a.b/false"),
        ("https://a.b/{id}.", "{}", "https://a.b/."),
        ("https://a.b/{id}", "[1]", "https://a.b/"),
        (
            "https://a.b/\"\\(1)\\{x}",
            r#"{"x":1}"#,
            "https://a.b/\"\\(1)\\1",
        ),
    ] {
        assert_eq!(
            filled_with(template, input),
            expected,
            "{template} with {input}"
        );
    }
}

#[test]
fn a_variable_that_is_no_scalar_is_an_error() {
    for input in [r#"{"id":[1]}"#, r#"{"id":{}}"#] {
        assert!(
            uri("'https://a.b/{id}'", input).unwrap_err().contains("id"),
            "{input}"
        );
    }
}

#[test]
fn a_uri_without_variables_and_an_expression_stay_as_they_are() {
    assert_eq!(filled_with("https://a.b/c", "{}"), "https://a.b/c");
    assert_eq!(
        filled_with("${ \"http://\\(.h)/{x}\" }", r#"{"h":"y"}"#),
        "http://y/{x}"
    );
    let nested = uri("{uri: 'https://a.b/{id}'}", r#"{"id":1}"#).unwrap();
    assert!(
        nested.contains(r#""endpoint":{"uri":"https://a.b/1"}"#),
        "{nested}"
    );
}

#[test]
fn what_is_no_endpoint_is_refused_with_its_place() {
    for (endpoint, code) in [
        ("§'https://a.b/{id'", "AOS-E211"),
        ("§'https://a.b/id}'", "AOS-E211"),
        ("§'https://a.b/{{id}}'", "AOS-E211"),
        ("§'https://a.b/{}'", "AOS-E211"),
        ("§'https://a.b/{a b}'", "AOS-E211"),
        ("§'https://a.b/{+id}'", "AOS-E209"),
        ("§'https://a.b/{id*}'", "AOS-E209"),
        ("§'https://a.b/{id:3}'", "AOS-E209"),
        ("§'https://a.b/{a,b}'", "AOS-E209"),
        ("§'https://a.b/${ .id'", "AOS-E209"),
        ("§ftp://a.b", "AOS-E211"),
        ("§/path", "AOS-E211"),
        ("{uri: §nowhere}", "AOS-E211"),
        (
            "{uri: 'https://a.b', authentication: {use: §x}}",
            "AOS-E221",
        ),
        ("{uri: 'https://a.b', §x: y}", "AOS-E207"),
        ("{uri: §[]}", "AOS-E210"),
        ("§5", "AOS-E210"),
    ] {
        let text = format!(
            "{HEAD}do:\n  - a:\n      call: http\n      with:\n        method: get\n        endpoint: {endpoint}\n"
        );
        let error = refused(&text);
        assert_eq!(error.code(), code, "{error}");
    }
    let missing = format!(
        "{HEAD}do:\n  - a:\n      call: http\n      with:\n        method: get\n        §endpoint: {{}}\n"
    );
    assert_eq!(refused(&missing).code(), "AOS-E208");
}
