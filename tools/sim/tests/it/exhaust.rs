//! The loops that leave nothing out, as far as the default suite has time; `aos-sim exhaust` goes through all of them.

use aos_sim::exhaust::{Depth, run};
use aos_sim::operations::operations;

#[test]
fn every_operation_survives_failures_and_power_cuts_at_each_of_its_steps() {
    let (done, cut, tally) = run(Depth::SHORT, 2).unwrap();
    assert_eq!(done.len(), operations().len());
    for (name, done) in &done {
        assert!(done.faults > 0, "{name} was failed: {done:?}");
        let reads_only = ["read", "check", "look up"].contains(name);
        assert!(done.ops > 0 || reads_only, "{name} writes: {done:?}");
        assert!(done.cuts > 0, "{name}: {done:?}");
    }
    assert!(cut > 50, "{cut} groups were cut");
    assert!(tally.states > 1000, "{}", tally.summary());
    assert!(tally.tails_cut > 50, "{}", tally.summary());
}
