//! Names: what may be called, and what is said about the rest.

use std::collections::BTreeSet;

use super::super::library::Library;
use super::super::names::{ALLOWED, INTERNAL, REFUSED, refusal};
use super::*;

#[test]
fn each_function_of_jaq_is_allowed_refused_or_internal() {
    let known: BTreeSet<String> = Library::get()
        .names()
        .filter(|name| !name.starts_with('!'))
        .collect();
    let mut lists: BTreeSet<&str> = BTreeSet::new();
    for name in ALLOWED.iter().chain(INTERNAL) {
        assert!(lists.insert(name), "{name} is listed twice");
        assert!(known.contains(*name), "{name} is listed and does not exist");
    }
    for name in &known {
        let (bare, _) = name.split_once('/').unwrap();
        let decisions = [lists.contains(name.as_str()), refusal(bare).is_some()];
        assert_eq!(
            decisions.iter().filter(|d| **d).count(),
            1,
            "nobody decided, or two did, about {name}"
        );
    }
}

#[test]
fn each_allowed_function_compiles_under_its_own_name() {
    for name in ALLOWED {
        let (bare, arity) = name.split_once('/').unwrap();
        let args = vec!["."; arity.parse().unwrap()].join("; ");
        let source = if args.is_empty() {
            bare.to_owned()
        } else {
            format!("{bare}({args})")
        };
        Expr::compile(&source, &[]).unwrap_or_else(|e| panic!("{source}: {e}"));
    }
}

#[test]
fn functions_that_are_not_deterministic_are_refused_by_name_and_place() {
    for source in [
        "env",
        "$ENV",
        "$ENV.PATH",
        "input",
        "inputs",
        "input_filename",
        "input_line_number",
        "debug",
        "debug(1)",
        "stderr",
        "halt",
        "halt_error",
        "halt_error(1)",
        "localtime",
        "strflocaltime(\"%Y\")",
        "$__loc__",
        "$__prog_args",
        "get_search_list",
        "tobytes",
        "j0",
        "$secrets",
        "modulemeta",
        "builtins",
        // Wherever they hide.
        "[.[] | env.X]",
        "def f: env; f",
        "def f($x): $x; f(env)",
        "path(env)",
        "try env catch .",
        "\"a\\(env)\"",
        "@base64 \"a\\($ENV.PATH)\"",
        "reduce .[] as $i (env; .)",
        "foreach .[] as $i (0; . + 1; env)",
        "{a: $ENV}",
        "{$ENV}",
        "{$__loc__}",
        "{(env.X): 1}",
        ".[env.X]",
        ".a = env.X",
        ".[env.X:]?",
        "if env then 1 else 2 end",
        "label $out | env, break $out",
        "env as $x | 1",
        "env as {a: $x} | 1",
        "[limit(1; repeat(input))]",
        "input_filename // 1",
        "now | localtime",
        "now | strflocaltime(\"%c\")",
        "-env",
        "import \"a\" as a; 1",
        "include \"a\"; 1",
    ] {
        assert_eq!(code(source), "AOS-E112", "{source}");
    }
    let error = Expr::compile("1 + (env | length)", &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "character 6 of the expression: env is not allowed: the environment is not recorded, so a replay could not repeat it"
    );
    assert!(REFUSED.iter().all(|(_, why)| !why.is_empty()));
}

#[test]
fn names_that_are_not_defined_are_refused_with_their_place() {
    for (source, place) in [
        ("nosuch", 1),
        ("1 + nosuch(2)", 5),
        ("$unknown", 1),
        ("é as $x | $y", 1),
        ("[.[] | $item2]", 8),
        ("map(1; 2)", 1),
        ("def f: g; def g: 1; f", 8),
        ("def f($x): 1; $x", 15),
        ("reduce .[] as $x ($x; 1)", 19),
        ("path_value(.)", 1),
        ("error_empty", 1),
        ("break $out", 7),
        ("label $out | $out", 14),
        ("1 as $x | break $x", 17),
        ("a::b", 1),
        ("__main", 1),
        ("@base32", 1),
        ("@nosuch \"\\(1)\"", 1),
    ] {
        match Expr::compile(source, &["$context"]) {
            Err(ExprError::Undefined { at, .. }) => assert_eq!(at, place, "{source}"),
            Err(ExprError::Syntax { .. }) if source.starts_with('é') => {}
            other => panic!("{source}: {other:?}"),
        }
    }
    let hint = Expr::compile("map(1; 2)", &[]).unwrap_err().to_string();
    assert!(hint.contains("map/2") && hint.contains("map/1"), "{hint}");
    let hint = Expr::compile("$output", &["$context", "$input"])
        .unwrap_err()
        .to_string();
    assert!(hint.contains("$context, $input"), "{hint}");
}

#[test]
fn what_an_expression_defines_itself_may_have_any_name() {
    assert_eq!(run_on("def env: 1; env", "null").unwrap(), "1");
    assert_eq!(run_on("def f(input): input; f(2)", "null").unwrap(), "2");
    assert_eq!(run_on("def map(f): 3; map(.)", "null").unwrap(), "3");
    assert_eq!(run_on("1 as $ENV | $ENV", "null").unwrap(), "1");
    assert_eq!(run_on("def f: def g: 4; g; f", "null").unwrap(), "4");
    assert_eq!(run_on("def __main: 5; __main", "null").unwrap(), "5");
}

#[test]
fn what_is_not_jq_is_refused_at_its_character() {
    for (source, place) in [
        ("", 1),
        ("1 +", 4),
        (".a[", 4),
        ("{a b}", 4),
        ("é", 1),
        ("\"a", 3),
        ("1)", 2),
        ("if 1 then 2", 12),
    ] {
        match Expr::compile(source, &[]) {
            Err(ExprError::Syntax { at, .. }) => assert_eq!(at, place, "{source}"),
            other => panic!("{source}: {other:?}"),
        }
    }
}
