//! `json_transform`: one jq expression over one value, `{"expression": text, "input": any}`.
//!
//! `query` is another name for `expression`. A step that leaves `input` out gives its own input.
//!
//! The expression is held to what expressions in documents are held to: the same functions, the same limits, exactly one output.
//! It sees only its input; `now` and the variables of a workflow are not there, as a pure skill depends on its arguments alone.

use super::arguments::{Arguments, describe};
use super::{About, Pure};
use crate::expr::{Expr, ExprError};
use crate::fault::{Code, Fault};
use crate::seed::Stream;
use crate::value::{Val, Value, as_text, member};
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Most expressions kept compiled, and the most bytes of text that is kept.
const KEPT_MAX: usize = 256;
const KEPT_TEXT_MAX: usize = 16 << 10;

/// The skill. Compiled expressions are kept by their text; when there are too many all are dropped, which costs time only.
#[derive(Default)]
pub(super) struct JsonTransform {
    compiled: Mutex<BTreeMap<String, Expr>>,
}

impl JsonTransform {
    fn compiled(&self, source: &str) -> Result<Expr, ExprError> {
        if let Some(expr) = self.compiled.lock().get(source) {
            return Ok(expr.clone());
        }
        // Compiled outside the lock: another thread may do the same work, none waits for it.
        let expr = Expr::compile(source, &[])?;
        if source.len() <= KEPT_TEXT_MAX {
            let mut compiled = self.compiled.lock();
            if compiled.len() >= KEPT_MAX {
                compiled.clear();
            }
            compiled.insert(source.to_owned(), expr.clone());
        }
        Ok(expr)
    }

    /// The same, of one whose output depends on the arguments alone.
    fn timeless(&self, given: &Arguments<'_>, source: &str) -> Result<Expr, Fault> {
        let expr = self.compiled(source).map_err(failed)?;
        match expr.reads_time().now {
            false => Ok(expr),
            true => Err(given.wrong(
                "expression",
                "no use of `now`, as the output depends on the arguments alone",
                "one",
            )),
        }
    }
}

fn failed(error: ExprError) -> Fault {
    let why = format!("json_transform: field `expression`: {error}");
    Fault::new(Code::InvalidInput, why)
}

const INPUT: &str = r#"{
  "type": "object",
  "properties": {
    "expression": {"type": "string", "description": "a jq expression"},
    "query": {"type": "string", "description": "another name for expression"},
    "input": {"description": "what it is applied to; the step's input by default"}
  },
  "anyOf": [{"required": ["expression"]}, {"required": ["query"]}],
  "required": ["input"],
  "additionalProperties": false
}"#;

impl Pure for JsonTransform {
    fn about(&self) -> About {
        About {
            checked: false,
            feeds: Some("input"),
            after: ["compute", "exec", "http_call", "kv_get", "llm_invoke"]
                .map(str::to_owned)
                .to_vec(),
            ..About::pure()
                .summary("One jq expression over one value")
                .schemas(INPUT, "true")
        }
    }

    fn check(&self, arguments: &Value) -> Result<(), Fault> {
        let given = Arguments::of("json_transform", arguments)?;
        let mut sources = ["query", "expression"].into_iter();
        match sources.find_map(|name| member(arguments.val(), name).and_then(as_text)) {
            Some(source) => self.timeless(&given, source).map(drop),
            None => Ok(()),
        }
    }

    fn run(&self, arguments: &Value, _: &mut Stream) -> Result<Value, Fault> {
        let mut given = Arguments::of("json_transform", arguments)?;
        let source = match given.maybe("query") {
            None => given.text("expression")?,
            Some(query) => {
                as_text(query).ok_or_else(|| given.wrong("query", "text", &describe(query)))?
            }
        };
        let input: &Val = given.must("input", "a value")?;
        given.end()?;
        let expr = self.timeless(&given, source)?;
        let output = expr.eval(input, &|_| Val::Null, None).map_err(failed)?;
        Value::from_val(&output)
            .map_err(|e| Fault::new(Code::InvalidInput, format!("json_transform: output: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::RunSeed;

    fn run_on(skill: &JsonTransform, arguments: &str) -> Result<String, Fault> {
        let arguments = Value::from_json(arguments.as_bytes()).unwrap();
        let mut random = RunSeed::new([1; 32]).stream("/a", "json_transform");
        let output = skill
            .run(&arguments, &mut random)
            .map(|output| output.as_str().to_owned());
        assert_eq!(random.draws(), 0, "nothing is drawn");
        output
    }

    fn run(arguments: &str) -> String {
        run_on(&JsonTransform::default(), arguments).unwrap()
    }

    fn refusal(arguments: &str) -> String {
        let fault = run_on(&JsonTransform::default(), arguments).unwrap_err();
        assert_eq!(fault.code, Code::InvalidInput);
        fault.detail
    }

    #[test]
    fn an_expression_gives_one_canonical_value() {
        assert_eq!(
            run(r#"{"expression":"{b: .x, a: (.x + 0.5)}","input":{"x":1}}"#),
            r#"{"a":1.5,"b":1}"#
        );
        assert_eq!(run(r#"{"expression":".","input":null}"#), "null");
        assert_eq!(
            run(r#"{"expression":"map(select(. > 1)) | add","input":[1,2,3]}"#),
            "5"
        );
    }

    #[test]
    fn query_is_another_name_for_expression() {
        assert_eq!(run(r#"{"query":".x","input":{"x":1}}"#), "1");
        assert_eq!(
            refusal(r#"{"query":".x","expression":".x","input":{"x":1}}"#),
            "json_transform: field `expression`: expected no such field, found one"
        );
        assert_eq!(
            refusal(r#"{"query":1,"input":1}"#),
            "json_transform: field `query`: expected text, found 1"
        );
    }

    #[test]
    fn what_workflows_may_not_do_an_expression_may_not_do_either() {
        for expression in [
            "env",
            "$ENV",
            "input",
            "localtime",
            "$input",
            "halt",
            "nosuch",
            ".a[",
            "{",
        ] {
            let detail = refusal(&format!(r#"{{"expression":"{expression}","input":1}}"#));
            assert!(
                detail.starts_with("json_transform: field `expression`: "),
                "{expression}: {detail}"
            );
        }
        assert_eq!(
            refusal(r#"{"expression":"now","input":1}"#),
            "json_transform: field `expression`: expected no use of `now`, as the output depends on the arguments alone, found one"
        );
    }

    #[test]
    fn no_output_several_outputs_and_endless_work_are_faults() {
        assert!(refusal(r#"{"expression":"empty","input":1}"#).contains("exactly one output"));
        assert!(refusal(r#"{"expression":"1, 2","input":1}"#).contains("exactly one output"));
        assert!(
            refusal(r#"{"expression":"def f: f; f","input":1}"#)
                .starts_with("json_transform: field `expression`: ")
        );
        assert!(refusal(r#"{"expression":"error(\"no\")","input":1}"#).contains("no"));
        assert!(refusal(r#"{"expression":"nan","input":1}"#).starts_with("json_transform: "));
    }

    #[test]
    fn refused_arguments_name_the_field() {
        assert_eq!(
            refusal(r#"{"input":1}"#),
            "json_transform: field `expression`: expected text, found nothing"
        );
        assert_eq!(
            refusal(r#"{"expression":1,"input":1}"#),
            "json_transform: field `expression`: expected text, found 1"
        );
        assert_eq!(
            refusal(r#"{"expression":"."}"#),
            "json_transform: field `input`: expected a value, found nothing"
        );
        assert_eq!(
            refusal(r#"{"expression":".","input":1,"vars":{}}"#),
            "json_transform: field `vars`: expected no such field, found one"
        );
    }

    #[test]
    fn kept_expressions_are_bounded_and_do_not_change_answers() {
        let skill = JsonTransform::default();
        for round in 0..2 {
            for n in 0..KEPT_MAX + 10 {
                let output =
                    run_on(&skill, &format!(r#"{{"expression":". + {n}","input":1}}"#)).unwrap();
                assert_eq!(output, (n + 1).to_string(), "round {round}");
                assert!(skill.compiled.lock().len() <= KEPT_MAX);
            }
        }
        assert!(
            !skill.compiled.lock().is_empty(),
            "something is kept at all"
        );
    }
}
