//! Work on several threads whose results are taken in order.

use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;

struct State<T> {
    /// Next index to work on.
    next: usize,
    /// Next index to take.
    taken: usize,
    done: BTreeMap<usize, T>,
    stop: bool,
}

/// Tells the threads to stop however the taking ends.
struct Stop<'a, T>(&'a Mutex<State<T>>, &'a Condvar);

impl<T> Drop for Stop<'_, T> {
    fn drop(&mut self) {
        self.0.lock().stop = true;
        self.1.notify_all();
    }
}

/// Does `work` for each index below `count` on `workers` threads, the caller's included, and hands the results to `take` in
/// order. At most twice as many results as workers wait at a time. Ends early when `take` fails.
pub(crate) fn in_order<T: Send, E>(
    workers: usize,
    count: usize,
    work: &(impl Fn(usize) -> T + Sync),
    mut take: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    if workers <= 1 {
        return (0..count).try_for_each(|index| take(index, work(index)));
    }
    let state = Mutex::new(State {
        next: 0,
        taken: 0,
        done: BTreeMap::new(),
        stop: false,
    });
    let turned = Condvar::new();
    let ahead = 2 * workers;
    let pick = |state: &mut State<T>| {
        let free = state.next < count && state.next < state.taken + ahead;
        free.then(|| {
            state.next += 1;
            state.next - 1
        })
    };
    std::thread::scope(|scope| {
        for _ in 1..workers.min(count) {
            scope.spawn(|| {
                loop {
                    let mut guard = state.lock();
                    let index = loop {
                        if guard.stop {
                            return;
                        }
                        match pick(&mut guard) {
                            Some(index) => break index,
                            None => turned.wait(&mut guard),
                        }
                    };
                    drop(guard);
                    let result = work(index);
                    state.lock().done.insert(index, result);
                    turned.notify_all();
                }
            });
        }
        let _stop = Stop(&state, &turned);
        for index in 0..count {
            let result = loop {
                let mut guard = state.lock();
                if let Some(result) = guard.done.remove(&index) {
                    break result;
                }
                match pick(&mut guard) {
                    Some(own) => {
                        drop(guard);
                        let result = work(own);
                        state.lock().done.insert(own, result);
                    }
                    None => turned.wait(&mut guard),
                }
            };
            state.lock().taken = index + 1;
            turned.notify_all();
            take(index, result)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_from_any_number_of_threads() {
        for workers in [1, 2, 7] {
            let mut seen = Vec::new();
            let taken: Result<(), ()> =
                in_order(workers, 100, &|index| index * index, |index, square| {
                    assert_eq!(square, index * index);
                    seen.push(index);
                    Ok(())
                });
            assert_eq!(taken, Ok(()));
            assert_eq!(seen, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_failure_ends_it() {
        let taken = in_order(3, 1000, &|index| index, |index, _| {
            if index == 5 { Err(index) } else { Ok(()) }
        });
        assert_eq!(taken, Err(5));
    }
}
