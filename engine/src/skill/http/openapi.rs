//! `openapi_call`: one operation of a service that an OpenAPI document describes.
//!
//! The document (OpenAPI 3, or Swagger 2; JSON) is fetched when the call happens, then the operation is looked up by its id and
//! called. What the document says decides the method, and nobody has read it when the intent is recorded: so an unknown
//! outcome is held.

use super::super::arguments::{Arguments, describe, short};
use super::super::{About, AtHand, Effect, Latency, Policy, Retry};
use super::answer;
use super::request::{Request, percent_encode};
use super::{FAILS, HttpCall};
use crate::fault::{Code, Fault};
use crate::secret::SecretRef;
use crate::value::{Val, Value, as_text, member, object, text};

/// JSON Schema of the arguments.
const INPUT: &str = r#"{
  "type": "object",
  "properties": {
    "document": {"type": "string", "description": "URI of the OpenAPI document"},
    "operationId": {"type": "string"},
    "parameters": {"type": ["object", "null"], "description": "by name; `body` is the body of the request"},
    "authentication": {"type": ["object", "null"]},
    "output": {"enum": ["raw", "content", "response"]},
    "redirect": {"type": "boolean"}
  },
  "required": ["document", "operationId"],
  "additionalProperties": false
}"#;

const METHODS: [&str; 8] = [
    "delete", "get", "head", "options", "patch", "post", "put", "trace",
];

/// Most references followed from one place of a document.
const REFERENCES_MAX: usize = 16;

/// The skill.
pub(in crate::skill) struct OpenApiCall(HttpCall);

/// A call, read from arguments or from a record.
struct Call {
    document: String,
    operation: String,
    parameters: Val,
    /// What goes on to `http_call` as it is.
    passed: Vec<(&'static str, Val)>,
}

impl OpenApiCall {
    /// The skill.
    pub(in crate::skill) fn new() -> OpenApiCall {
        OpenApiCall(HttpCall::new())
    }
}

impl Call {
    fn read(arguments: &Value) -> Result<Call, Fault> {
        let mut given = Arguments::of("openapi_call", arguments)?;
        let document = given.text("document")?.to_owned();
        let operation = given.text("operationId")?.to_owned();
        let parameters = match given.maybe("parameters") {
            None | Some(Val::Null) => object([]),
            Some(value @ Val::Obj(_)) => value.clone(),
            Some(other) => return Err(given.wrong("parameters", "an object", &describe(other))),
        };
        let mut passed = Vec::new();
        for name in ["authentication", "output", "redirect"] {
            if let Some(value) = given.maybe(name) {
                passed.push((name, value.clone()));
            }
        }
        given.end()?;
        let call = Call {
            document,
            operation,
            parameters,
            passed,
        };
        // What cannot be sent is refused before anything is recorded.
        call.fetch()?;
        call.request("GET", &call.document, object([]), object([]), Val::Null)?;
        Ok(call)
    }

    fn record(&self) -> Result<Value, Fault> {
        let mut fields = vec![
            ("document", text(&self.document)),
            ("operationId", text(&self.operation)),
            ("parameters", self.parameters.clone()),
        ];
        fields.extend(self.passed.clone());
        Ok(Value::from_val(&object(fields))?)
    }

    /// The request for the document.
    fn fetch(&self) -> Result<Request, Fault> {
        named(Request::read(&Value::from_val(&object([(
            "uri",
            text(&self.document),
        )]))?))
    }

    fn request(
        &self,
        method: &str,
        uri: &str,
        query: Val,
        headers: Val,
        body: Val,
    ) -> Result<Request, Fault> {
        let mut fields = vec![
            ("body", body),
            ("headers", headers),
            ("method", text(method)),
            ("query", query),
            ("uri", text(uri)),
        ];
        fields.extend(self.passed.clone());
        named(Request::read(&Value::from_val(&object(fields))?))
    }

    /// The request that `document` says the operation is.
    fn operation(&self, document: &Val) -> Result<Request, Fault> {
        let wrong = |why: &str| Fault::new(Code::SchemaError, format!("openapi_call: {why}"));
        let Some(Val::Obj(paths)) = member(document, "paths") else {
            return Err(wrong("the document has no paths"));
        };
        let mut found = paths.iter().flat_map(|(path, item)| {
            METHODS.iter().filter_map(move |method| {
                let operation = member(item, method)?;
                let id = member(operation, "operationId").and_then(as_text);
                (id == Some(&self.operation)).then_some((path, item, *method, operation))
            })
        });
        let Some((path, item, method, operation)) = found.next() else {
            let why = format!("the document has no operation `{}`", short(&self.operation));
            return Err(Fault::new(Code::Http404, format!("openapi_call: {why}")));
        };
        let path = as_text(path).unwrap_or_default();
        let mut parts = Parts {
            path: path.to_owned(),
            ..Parts::default()
        };
        let mut given = match &self.parameters {
            Val::Obj(given) => (**given).clone(),
            _ => Default::default(),
        };
        for list in [member(item, "parameters"), member(operation, "parameters")] {
            let Some(Val::Arr(items)) = list else {
                continue;
            };
            for parameter in items.iter() {
                let parameter = resolved(document, parameter)
                    .ok_or_else(|| wrong("a parameter of the document leads nowhere"))?;
                let name = member(parameter, "name")
                    .and_then(as_text)
                    .unwrap_or_default();
                let place = member(parameter, "in")
                    .and_then(as_text)
                    .unwrap_or_default();
                let required = member(parameter, "required") == Some(&Val::Bool(true));
                match given.swap_remove(&text(name)) {
                    Some(value) => parts.put(place, name, value)?,
                    None if required && place != "body" => {
                        let why = format!("the parameter `{}` is missing", short(name));
                        return Err(Fault::new(
                            Code::InvalidInput,
                            format!("openapi_call: {why}"),
                        ));
                    }
                    None => {}
                }
            }
        }
        if let Some(body) = given.swap_remove(&text("body")) {
            parts.body = body;
        }
        if let Some((name, _)) = given.iter().next() {
            let name = short(as_text(name).unwrap_or_default());
            let why = format!("the operation has no parameter `{name}`");
            return Err(Fault::new(
                Code::InvalidInput,
                format!("openapi_call: {why}"),
            ));
        }
        let base = self
            .base(document)
            .ok_or_else(|| wrong("the document names no server"))?;
        let uri = format!("{}{}", base.trim_end_matches('/'), parts.path);
        let (query, headers) = (parts.query.into_iter(), parts.headers.into_iter());
        let (query, headers) = (Val::obj(query.collect()), Val::obj(headers.collect()));
        self.request(&method.to_uppercase(), &uri, query, headers, parts.body)
    }

    /// Where the service is: `servers` or `host`, relative to where the document is.
    fn base(&self, document: &Val) -> Option<String> {
        let (scheme, rest) = self.document.split_once("://")?;
        let host = rest.split(['/', '?']).next()?;
        let path = |name| member(document, name).and_then(as_text);
        if path("swagger").is_some() {
            let schemes = match member(document, "schemes") {
                Some(Val::Arr(items)) => items.iter().filter_map(as_text).collect(),
                _ => Vec::new(),
            };
            let scheme = match schemes.first() {
                Some(first) if !schemes.contains(&scheme) => first,
                _ => scheme,
            };
            let host = path("host").unwrap_or(host);
            return Some(format!(
                "{scheme}://{host}{}",
                path("basePath").unwrap_or_default()
            ));
        }
        let server = match member(document, "servers") {
            Some(Val::Arr(items)) => items.first().and_then(|one| member(one, "url")),
            _ => None,
        };
        let url = server.and_then(as_text).unwrap_or("/");
        if url.contains("://") {
            return Some(url.to_owned());
        }
        if url.starts_with('/') {
            return Some(format!("{scheme}://{host}{url}"));
        }
        let folder = self.document.split('?').next()?.rsplit_once('/')?.0;
        let folder = if folder.ends_with(":/") {
            &self.document
        } else {
            folder
        };
        Some(format!("{folder}/{url}"))
    }
}

/// What parameters make of a request.
#[derive(Default)]
struct Parts {
    path: String,
    query: Vec<(Val, Val)>,
    headers: Vec<(Val, Val)>,
    body: Val,
}

impl Parts {
    fn put(&mut self, place: &str, name: &str, value: Val) -> Result<(), Fault> {
        match place {
            "path" => {
                let mut filled = String::new();
                percent_encode(&plain(&value), &mut filled);
                self.path = self.path.replace(&format!("{{{name}}}"), &filled);
            }
            "query" => self.query.push((text(name), value)),
            "header" => self.headers.push((text(name), value)),
            "body" => self.body = value,
            other => {
                let why = format!("parameters in `{}` are not supported", short(other));
                return Err(Fault::new(
                    Code::InvalidInput,
                    format!("openapi_call: {why}"),
                ));
            }
        }
        Ok(())
    }
}

fn plain(value: &Val) -> String {
    as_text(value).map_or_else(|| value.to_string(), str::to_owned)
}

/// What a place of the document says, references within it followed.
fn resolved<'d>(document: &'d Val, mut place: &'d Val) -> Option<&'d Val> {
    for _ in 0..REFERENCES_MAX {
        let Some(reference) = member(place, "$ref") else {
            return Some(place);
        };
        let path = as_text(reference)?.strip_prefix("#/")?;
        place = path.split('/').try_fold(document, |at, name| {
            member(at, &name.replace("~1", "/").replace("~0", "~"))
        })?;
    }
    None
}

fn named<T>(read: Result<T, Fault>) -> Result<T, Fault> {
    read.map_err(|fault| Fault {
        detail: fault.detail.replacen("http_call", "openapi_call", 1),
        ..fault
    })
}

impl Effect for OpenApiCall {
    fn can_be_left(&self) -> bool {
        true
    }

    fn about(&self) -> About {
        About {
            checked: false,
            cost: 1,
            latency: Latency {
                typical_ms: 400,
                max_ms: 120_000,
            },
            retry: Retry::ByRequest,
            fails: FAILS.to_vec(),
            after: vec!["json_transform".into()],
            ..About::effect()
                .summary("One operation of a service that an OpenAPI document describes")
                .schemas(INPUT, "true")
        }
    }

    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Call::read(arguments)?.record()
    }

    fn policy(&self, _: &Value) -> Policy {
        Policy::Hold
    }

    fn secrets(&self, request: &Value) -> Vec<SecretRef> {
        let sent = Call::read(request).and_then(|call| {
            call.request("GET", &call.document, object([]), object([]), Val::Null)
        });
        sent.map_or_else(|_| Vec::new(), |sent| sent.secrets())
    }

    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        let call = Call::read(request)?;
        let document = self.0.exchange(&call.fetch()?, hand.wire_key, &[])?;
        let document = crate::workflow::tree(&document.body).ok_or_else(|| {
            let why = "openapi_call: the document is neither JSON nor YAML without anchors";
            Fault::new(Code::SchemaError, why)
        })?;
        let request = call.operation(&document)?;
        let answer = self.0.exchange(&request, hand.wire_key, &[])?;
        let output = answer::output(&request, answer.status, &answer.headers, &answer.body);
        output
            .map_err(|fault| answer.scrubber.fault(fault))
            .and_then(|output| answer.scrubber.value(output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::{Reply, Server};

    const V3: &str = r##"{"openapi": "3.0.0", "servers": [{"url": "/v1"}], "paths": {"/pets/{id}": {
        "parameters": [{"$ref": "#/components/parameters/Id"}],
        "get": {"operationId": "one", "parameters": [{"name": "full", "in": "query"}, {"name": "x-trace", "in": "header"}]},
        "put": {"operationId": "change", "requestBody": {}}}},
        "components": {"parameters": {"Id": {"name": "id", "in": "path", "required": true}}}}"##;
    const V2: &str = r#"{"swagger": "2.0", "basePath": "/v2", "schemes": ["http"], "paths": {"/pets": {
        "post": {"operationId": "add", "parameters": [{"name": "pet", "in": "body"}]}}}}"#;

    const YAML: &str = "swagger: '2.0'\nbasePath: /v2\nschemes: [http]\npaths:\n  /pets:\n    post:\n      operationId: add\n      responses: {200: {description: added}}\n      parameters: [{name: pet, in: body}]\n";

    fn server() -> Server {
        Server::start(|asked| match asked.target.as_str() {
            "/v3.json" => Reply::json(200, V3),
            "/v2.json" => Reply::json(200, V2),
            "/v2.yaml" => Reply::json(200, YAML),
            "/none.json" => Reply::json(200, "[]"),
            _ => Reply::json(
                200,
                &format!(r#"{{"asked":"{} {}"}}"#, asked.method, asked.target),
            ),
        })
        .unwrap()
    }

    fn call(
        server: &Server,
        document: &str,
        operation: &str,
        parameters: &str,
    ) -> Result<Value, Fault> {
        let arguments = format!(
            r#"{{"document":"{}/{document}","operationId":"{operation}","parameters":{parameters}}}"#,
            server.base()
        );
        let skill = OpenApiCall::new();
        let request = skill.request(&Value::from_json(arguments.as_bytes()).unwrap())?;
        assert_eq!(skill.request(&request).unwrap(), request);
        skill.perform(&request, &AtHand::alone("k"))
    }

    #[test]
    fn parameters_go_where_the_document_says() {
        let server = server();
        let said = call(
            &server,
            "v3.json",
            "one",
            r#"{"id":"a/b","full":true,"x-trace":"t"}"#,
        )
        .unwrap();
        assert_eq!(said.as_str(), r#"{"asked":"GET /v1/pets/a%2Fb?full=true"}"#);
        assert_eq!(server.seen().last().unwrap().header("x-trace"), Some("t"));
        let said = call(&server, "v3.json", "change", r#"{"id":7,"body":{"n":1}}"#).unwrap();
        assert_eq!(said.as_str(), r#"{"asked":"PUT /v1/pets/7"}"#);
        assert_eq!(server.seen().last().unwrap().body, br#"{"n":1}"#);
        for document in ["v2.json", "v2.yaml"] {
            let said = call(&server, document, "add", r#"{"pet":{"name":"x"}}"#).unwrap();
            assert_eq!(said.as_str(), r#"{"asked":"POST /v2/pets"}"#);
            assert_eq!(server.seen().last().unwrap().body, br#"{"name":"x"}"#);
        }
    }

    #[test]
    fn what_the_document_does_not_say_is_a_fault() {
        let server = server();
        for (document, operation, parameters, code, words) in [
            ("v3.json", "two", "{}", Code::Http404, "no operation `two`"),
            (
                "v3.json",
                "one",
                "{}",
                Code::InvalidInput,
                "`id` is missing",
            ),
            (
                "v3.json",
                "one",
                r#"{"id":1,"x":1}"#,
                Code::InvalidInput,
                "no parameter `x`",
            ),
            ("none.json", "one", "{}", Code::SchemaError, "no paths"),
            ("x}", "one", "{}", Code::InvalidInput, "variables"),
        ] {
            let fault = call(&server, document, operation, parameters).unwrap_err();
            assert_eq!(fault.code, code, "{}", fault.detail);
            assert!(fault.detail.contains(words), "{}", fault.detail);
        }
    }
}
