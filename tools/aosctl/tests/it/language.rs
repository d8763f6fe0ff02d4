//! Parts of the workflow language that need more than one process or document.

use crate::harness::Place;

const INNER: &str = "
document: {dsl: '1.0.3', namespace: tests, name: inner, version: '1.2.0'}
do:
  - twice: {set: {n: '${ .n * 2 }'}}
";

const OUTER: &str = "
document: {dsl: '1.0.3', namespace: tests, name: outer, version: '1.0.0'}
do:
  - run: {run: {workflow: {namespace: tests, name: inner, input: {n: 4}}}}
  - script:
      run:
        script:
          language: js
          arguments: ['${ .n | tostring }']
          code: console.log(Number(process.argv[2]) + 1)
  - shell:
      run: {shell: {command: 'read n; echo $((n * 10))', stdin: '${ . }'}}
";

#[test]
fn processes_run_and_are_replayed_without_running_again() {
    let place = Place::new();
    place.write("inner.yaml", INNER);
    place.write("outer.yaml", OUTER);
    place
        .aosctl("run outer.yaml --log l.aos --key k --seed 1")
        .exits(7)
        .fails_with("AOS-E004", &["the workflow tests/inner/latest"]);
    place
        .aosctl("run outer.yaml --with inner.yaml --log l.aos --key k --seed 1")
        .exits(0);
    let said = place.aosctl("-o json query l.aos k").exits(0).json();
    assert_eq!(said["runs"][0]["last"][2]["output"], "90\n");
    let report = place.aosctl("-o json replay l.aos").exits(0).json();
    assert_eq!(report["verdict"], "match");
    assert_eq!(report["runs"], 2);
}
