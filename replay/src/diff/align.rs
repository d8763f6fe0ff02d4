//! Laying two histories side by side.
//!
//! Events are named by step, kind, attempt and occurrence, so a name stands at most once on each side. The longest common
//! order of names is then a longest increasing sequence, found in O(n log n). What it leaves out on both sides has moved.

use super::event::{NormEvent, key};
use super::report::Op;
use std::collections::BTreeMap;

/// One row: positions on each side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    pub op: Op,
    pub a: Option<usize>,
    pub b: Option<usize>,
}

/// Names of events, each once.
fn named(events: &[NormEvent]) -> Vec<(String, u64)> {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    events
        .iter()
        .map(|event| {
            let key = key(event);
            let count = seen.entry(key.clone()).or_default();
            *count += 1;
            (key, *count)
        })
        .collect()
}

/// Aligns two sequences of events. `equal` says whether a pair of the same name is equal.
pub(crate) fn align(
    a: &[NormEvent],
    b: &[NormEvent],
    mut equal: impl FnMut(usize, usize) -> bool,
) -> Vec<Line> {
    let (left, right) = (named(a), named(b));
    let places: BTreeMap<&(String, u64), usize> = right
        .iter()
        .enumerate()
        .map(|(at, name)| (name, at))
        .collect();
    let partner: Vec<Option<usize>> = left.iter().map(|name| places.get(name).copied()).collect();
    let in_order = increasing(&partner);
    let mut partner_of_b = vec![None; b.len()];
    for (at, partner) in partner.iter().enumerate() {
        if let Some(partner) = partner {
            partner_of_b[*partner] = Some(at);
        }
    }
    let mut lines = Vec::with_capacity(a.len().max(b.len()));
    let mut next_b = 0;
    let behind = |lines: &mut Vec<Line>, from: usize, to: usize| {
        for (at, partner) in partner_of_b.iter().enumerate().take(to).skip(from) {
            lines.push(match partner {
                Some(partner) => Line {
                    op: Op::Moved,
                    a: Some(*partner),
                    b: Some(at),
                },
                None => Line {
                    op: Op::Inserted,
                    a: None,
                    b: Some(at),
                },
            });
        }
    };
    for (at, partner) in partner.iter().enumerate() {
        match partner {
            None => lines.push(Line {
                op: Op::Deleted,
                a: Some(at),
                b: None,
            }),
            Some(partner) if in_order[at] => {
                behind(&mut lines, next_b, *partner);
                next_b = partner + 1;
                let op = if equal(at, *partner) {
                    Op::Equal
                } else {
                    Op::Modified
                };
                lines.push(Line {
                    op,
                    a: Some(at),
                    b: Some(*partner),
                });
            }
            // Shown where the second side has it.
            Some(_) => {}
        }
    }
    behind(&mut lines, next_b, b.len());
    lines
}

/// Which elements belong to a longest increasing sequence of those that are there.
fn increasing(values: &[Option<usize>]) -> Vec<bool> {
    let mut chosen = vec![false; values.len()];
    // `tails[n]` is where the smallest end of an increasing sequence of n + 1 elements stands.
    let mut tails: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; values.len()];
    for (at, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let length = tails.partition_point(|&end| values[end].is_some_and(|end| end < *value));
        before[at] = length.checked_sub(1).map(|shorter| tails[shorter]);
        if length == tails.len() {
            tails.push(at);
        } else {
            tails[length] = at;
        }
    }
    let mut at = tails.last().copied();
    while let Some(here) = at {
        chosen[here] = true;
        at = before[here];
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_common_order_is_kept() {
        let values = [Some(3), Some(0), None, Some(1), Some(4), Some(2)];
        assert_eq!(increasing(&values), [false, true, false, true, false, true]);
        assert_eq!(increasing(&[]), Vec::<bool>::new());
        assert_eq!(increasing(&[Some(0), Some(1)]), [true, true]);
    }
}
