//! `bench` and `validate`: what they say, and that the page they draw is whole.

use crate::harness::Place;

#[test]
fn determinism_is_the_same_on_every_worker_and_the_planted_skill_is_found_each_time() {
    let place = Place::new();
    let command = "validate determinism --workers 3 --iterations 4 --seeds 2 --types compute,io,llm --stress 1 -o json";
    let said = place.aosctl(command).exits(0).json();
    assert_eq!(said["schema"], "aos.validate.determinism.v1");
    assert_eq!(said["deterministic"], true);
    assert_eq!(
        (&said["executions"], &said["differing"]),
        (&72.into(), &0.into())
    );
    assert_eq!(said["replays"], 36);
    assert_eq!(said["planted_executions"], 3 * 4 * 2);
    assert_eq!(said["planted_found"], said["planted_executions"]);
    assert_eq!(said["rows"].as_array().unwrap().len(), 6);
}

#[test]
fn a_skill_that_is_not_pure_is_named_with_its_step() {
    let place = Place::new();
    let command =
        "validate determinism --workers 2 --iterations 3 --seeds 1 --types compute,planted -o json";
    let said = place.aosctl(command).exits(1).json();
    assert_eq!(said["deterministic"], false);
    assert_eq!(
        (&said["executions"], &said["differing"]),
        (&12.into(), &6.into())
    );
    for found in said["differences"].as_array().unwrap() {
        assert_eq!(
            (&found["type"], &found["activation"]),
            (&"planted".into(), &"/do/1/impure".into())
        );
        assert_ne!(found["expected"], found["found"]);
    }
    let table = place
        .aosctl(&command.replace("json", "table"))
        .exits(1)
        .stdout;
    assert!(table.contains("/do/1/impure"), "{table}");
}

#[test]
fn appends_are_measured_beside_the_reference_and_drawn() {
    let place = Place::new();
    let command = "bench append --batches 1,10 --payloads 64,256 --seconds 0.01 --rounds 1";
    let said = place.aosctl(&format!("{command} --export json")).exits(0);
    place.write("append.json", &said.stdout);
    let result = said.json();
    assert_eq!(result["schema"], "aos.bench.append.v1");
    let rows = result["figures"].as_array().unwrap();
    assert_eq!(
        rows.len(),
        3 * 4,
        "three contenders, two batches, two payloads"
    );
    for row in rows {
        assert!(row["events_per_s"]["median"].as_f64().unwrap() > 0.0);
        assert!(row["sync_us"]["p99.9"].as_f64().unwrap() > 0.0);
        assert!(row["ratio_to_reference"]["median"].as_f64().unwrap() > 0.0);
    }
    assert!(result["machine"]["cores"].as_u64().unwrap() > 0);
    let text = place
        .aosctl(&format!("{command} --export markdown"))
        .exits(0)
        .stdout;
    assert!(
        text.starts_with("## append\n") && text.contains("| sync_us p99.9 |"),
        "{text}"
    );

    place
        .aosctl("bench report append.json --out page.html")
        .exits(0);
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 6);
    assert!(!page.contains("<script") && page.ends_with("</html>\n"));
    place.write("odd.json", "{");
    let said = place
        .aosctl("bench report odd.json --out page.html")
        .exits(5);
    said.fails_with("AOS-C004", &["odd.json"]);
}

#[test]
fn engine_replay_and_opening_are_measured() {
    let place = Place::new();
    let said = place
        .aosctl("bench engine --runs 5 --steps 3 --workers 1 --rounds 1 --export json")
        .exits(0);
    let result = said.json();
    let row = &result["figures"][0];
    assert_eq!((&row["steps"], &row["workers"]), (&15.into(), &1.into()));
    assert!(row["replay_steps_per_s"]["median"].as_f64().unwrap() > 0.0);
    let said = place
        .aosctl("bench engine --effects --steps 5 --rounds 1 --export json")
        .exits(0);
    assert!(said.json()["syncs_a_step"]["median"].as_f64().unwrap() >= 1.0);

    place
        .aosctl("run hello.yaml --log hello.aos --seed 1")
        .exits(0);
    let said = place
        .aosctl("bench replay hello.aos --workers 1 --rounds 2 --export json")
        .exits(0);
    let row = said.json()["figures"][0].clone();
    assert!(row["opened_and_replayed_us"]["p50"].as_f64().unwrap() > 0.0);
    let said = place
        .aosctl("bench open hello.aos --write --rounds 2 --export json")
        .exits(0);
    assert_eq!(said.json()["figures"].as_array().unwrap().len(), 4);
    place.aosctl("replay hello.aos").exits(0);
    let said = place
        .aosctl("bench validate --workers 1 --iterations 2 --seeds 1 --rounds 1 --export json")
        .exits(0);
    assert_eq!(said.json()["figures"][0]["executions"], 6);
}

#[test]
fn what_cannot_be_measured_is_said_with_a_code() {
    let place = Place::new();
    for (command, exit, code) in [
        ("bench append --seconds 0", 2, "AOS-C001"),
        ("bench append --batches 0", 2, "AOS-C001"),
        ("bench replay none.aos", 4, "AOS-S001"),
        ("bench engine --data hello.yaml", 6, "AOS-C060"),
        ("bench append --dir none", 4, "AOS-C002"),
    ] {
        place.aosctl(command).exits(exit).fails_with(code, &[]);
    }
}
