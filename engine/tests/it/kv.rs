//! Key-value spaces: shared by the runs of a log, made once, read again after everything else is lost.

use crate::support::*;
use aos_disk::sim::SimDisk;
use aos_engine::machine::Ended;
use aos_engine::resource::kv_stream;
use aos_engine::value::Value;
use aos_format::frame::Kind;

fn output(ended: Ended) -> String {
    match ended {
        Ended::Completed(value) => value.to_string(),
        Ended::Faulted(problem) | Ended::Cancelled(problem) => panic!("{problem}"),
    }
}

const PUT: &str = "
  - put: { call: kv_put, with: { key: price, value: '${ .n }' } }
";
const GET: &str = "
  - get: { call: kv_get, with: { key: price } }
";

fn value(json: &str) -> Value {
    Value::from_json(json.as_bytes()).unwrap()
}

#[test]
fn what_one_run_puts_another_gets_and_a_new_process_too() {
    let disk = SimDisk::with_seed(1);
    let engine = engine(&disk);
    let (put, get) = (definition(PUT), definition(GET));
    let run = |engine: &_, definition, key, input| {
        output(finish(engine, &request(definition, key, input, 7)).2)
    };
    assert_eq!(
        run(&engine, &get, "before", "{}"),
        r#"{"found":false,"value":null,"version":0}"#
    );
    assert_eq!(run(&engine, &put, "one", r#"{"n":1}"#), r#"{"version":1}"#);
    assert_eq!(
        run(&engine, &put, "two", r#"{"n":[2]}"#),
        r#"{"version":2}"#
    );
    let expected = r#"{"found":true,"value":[2],"version":2}"#;
    assert_eq!(run(&engine, &get, "after", "{}"), expected);
    drop(engine);
    let engine = crate::support::engine(&disk);
    assert_eq!(run(&engine, &get, "later", "{}"), expected);
    assert_eq!(
        run(&engine, &get, "before", "{}"),
        r#"{"found":false,"value":null,"version":0}"#,
        "its record stands"
    );
    assert_eq!(
        run(&engine, &put, "three", r#"{"n":null}"#),
        r#"{"version":3}"#
    );
    assert!(run(&engine, &get, "gone", "{}").contains(r#""found":false"#));
    let records = engine.log().stream(kv_stream("default"), 1).unwrap();
    assert_eq!(records.len(), 3);
    assert!(
        records
            .iter()
            .all(|record| record.kind() == Some(Kind::Decision))
    );
}

#[test]
fn a_put_made_again_is_made_once() {
    let disk = SimDisk::with_seed(1);
    let engine = engine(&disk);
    let shared = engine.resources();
    let put = |wire: &str, n: &str| shared.kv_put("s", "k", Some(&value(n)), wire).unwrap();
    assert_eq!((put("a@log", "1"), put("b@log", "2")), (1, 2));
    assert_eq!(put("a@log", "1"), 1, "the first one's record");
    assert_eq!(shared.kv_get("s", "k").unwrap().unwrap().value, value("2"));
    assert_eq!(
        shared.kv_get("other", "k").unwrap(),
        None,
        "spaces are apart"
    );
    drop(engine);
    let engine = crate::support::engine(&disk);
    let shared = engine.resources();
    assert_eq!(
        shared.kv_put("s", "k", Some(&value("1")), "a@log").unwrap(),
        1
    );
    assert_eq!(shared.kv_get("s", "k").unwrap().unwrap().version, 2);
}

#[test]
fn a_put_that_a_crash_left_unanswered_is_made_once() {
    // At every operation of the disk in turn: afterwards the space has the value once, and the run its answer.
    let mut crashes = 0;
    for op in 1.. {
        let disk = SimDisk::with_seed(2);
        disk.crash_at(op);
        let survived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let engine = engine(&disk);
            finish(&engine, &request(&definition(PUT), "k", r#"{"n":5}"#, 7));
        }));
        if survived.is_ok() {
            break;
        }
        crashes += 1;
        let disk = disk.crash_image(aos_disk::sim::Policy::None);
        let engine = engine(&disk);
        let (.., ended) = finish(&engine, &request(&definition(PUT), "k", r#"{"n":5}"#, 7));
        assert_eq!(output(ended), r#"{"version":1}"#, "crash at {op}");
        let records = engine.log().stream(kv_stream("default"), 1).unwrap();
        assert_eq!(records.len(), 1, "crash at {op}");
    }
    assert!(crashes > 5, "{crashes} crashes are too few to say anything");
}
