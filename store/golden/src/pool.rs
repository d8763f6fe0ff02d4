//! Work on several threads whose results are taken in order.

use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;

struct State<T> {
    /// Jobs handed out.
    given: usize,
    /// Whether a thread is at the source.
    at_source: bool,
    /// Whether the source has no more.
    dry: bool,
    /// Results taken.
    taken: usize,
    done: BTreeMap<usize, T>,
    stop: bool,
}

impl<T> State<T> {
    /// Whether a thread may go to the source now.
    fn may_pick(&self, ahead: usize) -> bool {
        !self.at_source && !self.dry && self.given < self.taken + ahead
    }
}

/// Tells the threads to stop however the taking ends.
struct Stop<'a, T>(&'a Mutex<State<T>>, &'a Condvar);

impl<T> Drop for Stop<'_, T> {
    fn drop(&mut self) {
        self.0.lock().stop = true;
        self.1.notify_all();
    }
}

/// Does `work` on each job that `source` gives, on `workers` threads, the caller's included, and hands the results to `take` in
/// the order of the jobs. One thread at a time is at the source; at most twice as many jobs as workers are under way. Ends
/// early when `take` fails.
pub(crate) fn stream<J, T: Send, E>(
    workers: usize,
    mut source: impl FnMut() -> Option<J> + Send,
    work: &(impl Fn(J) -> T + Sync),
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    if workers <= 1 {
        while let Some(job) = source() {
            take(work(job))?;
        }
        return Ok(());
    }
    let state = Mutex::new(State {
        given: 0,
        at_source: false,
        dry: false,
        taken: 0,
        done: BTreeMap::new(),
        stop: false,
    });
    let turned = Condvar::new();
    let ahead = 2 * workers;
    let source = Mutex::new(source);
    // One job from the source to its result; the caller has set `at_source`.
    let one = || {
        let job = (*source.lock())();
        let number = {
            let mut state = state.lock();
            state.at_source = false;
            match job {
                Some(_) => state.given += 1,
                None => state.dry = true,
            }
            state.given
        };
        turned.notify_all();
        if let Some(job) = job {
            let result = work(job);
            state.lock().done.insert(number - 1, result);
            turned.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(|| {
                loop {
                    let mut guard = state.lock();
                    while !guard.stop && !guard.dry && !guard.may_pick(ahead) {
                        turned.wait(&mut guard);
                    }
                    if guard.stop || guard.dry {
                        return;
                    }
                    guard.at_source = true;
                    drop(guard);
                    one();
                }
            });
        }
        let _stop = Stop(&state, &turned);
        loop {
            let mut guard = state.lock();
            let next = guard.taken;
            if let Some(result) = guard.done.remove(&next) {
                drop(guard);
                // Before its successors may begin: what is under way stays bounded.
                take(result)?;
                state.lock().taken = next + 1;
                turned.notify_all();
            } else if guard.may_pick(ahead) {
                guard.at_source = true;
                drop(guard);
                one();
            } else if guard.dry && guard.given == guard.taken {
                return Ok(());
            } else {
                turned.wait(&mut guard);
            }
        }
    })
}

/// Does `work` for each index below `count` in the same way.
pub(crate) fn in_order<T: Send, E>(
    workers: usize,
    count: usize,
    work: &(impl Fn(usize) -> T + Sync),
    mut take: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    let mut next = 0;
    let source = || {
        let index = next;
        next += usize::from(next < count);
        (index < count).then_some(index)
    };
    let work = |index| (index, work(index));
    let taken = |(index, result)| take(index, result);
    stream(workers.min(count.max(1)), source, &work, taken)
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
    fn no_more_jobs_are_under_way_than_twice_the_workers() {
        let (given, taken) = (Mutex::new(0_usize), Mutex::new(0_usize));
        let source = || {
            let mut given = given.lock();
            *given += 1;
            assert!(*given <= *taken.lock() + 6, "{given} given");
            (*given <= 200).then_some(*given)
        };
        let done: Result<(), ()> = stream(3, source, &|job| job, |job| {
            let mut taken = taken.lock();
            assert_eq!(job, *taken + 1);
            *taken += 1;
            Ok(())
        });
        assert_eq!((done, *taken.lock()), (Ok(()), 200));
    }

    #[test]
    fn a_failure_ends_it() {
        let taken = in_order(3, 1000, &|index| index, |index, _| {
            if index == 5 { Err(index) } else { Ok(()) }
        });
        assert_eq!(taken, Err(5));
    }
}
