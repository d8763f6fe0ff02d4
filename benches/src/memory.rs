//! How much anonymous memory this process has, at most, while something goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(2);

/// Looks at the memory of the process now and then.
pub struct Watch {
    over: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to look.
    pub fn begin() -> Watch {
        let (over, most) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (ended, seen) = (over.clone(), most.clone());
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                seen.fetch_max(anonymous(), Ordering::Relaxed);
                std::thread::park_timeout(EVERY);
            }
        });
        Watch {
            over,
            most,
            thread: Some(thread),
        }
    }

    /// The most bytes that were seen. 0 where the system does not say.
    pub fn end(mut self) -> u64 {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It only reads a number.
            let _ended = thread.join();
        }
        self.most.load(Ordering::Relaxed).max(anonymous())
    }
}

/// Resident anonymous memory of the process in bytes.
pub fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
