//! Figures and what they were measured on.

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// What went wrong with a measurement.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Minimum, median and maximum, to six significant digits.
///
/// # Panics
/// Without samples.
pub fn spread(mut samples: Vec<f64>) -> Value {
    samples.sort_by(f64::total_cmp);
    assert!(!samples.is_empty(), "at least one round was run");
    json!({
        "min": rounded(samples[0]),
        "median": rounded(samples[samples.len() / 2]),
        "max": rounded(samples[samples.len() - 1]),
    })
}

/// Percentiles of latencies in microseconds.
///
/// # Panics
/// Without samples.
pub fn percentiles(latencies: &mut [Duration]) -> Value {
    latencies.sort_unstable();
    assert!(!latencies.is_empty(), "at least one latency was taken");
    let at = |share: f64| {
        let index = ((latencies.len() as f64 * share).ceil() as usize).clamp(1, latencies.len());
        rounded(latencies[index - 1].as_secs_f64() * 1e6)
    };
    json!({"p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "p99.9": at(0.999), "max": at(1.0)})
}

/// To six significant digits: more would be noise.
pub fn rounded(figure: f64) -> f64 {
    if figure == 0.0 || !figure.is_finite() {
        return figure;
    }
    let scale = 10f64.powi(5 - figure.abs().log10().floor() as i32);
    (figure * scale).round() / scale
}

/// What the figures were measured on, and the file system of `dir`.
pub fn machine_at(dir: &Path) -> Value {
    let mut machine = machine();
    machine["file_system"] = file_system(dir).into();
    machine
}

/// Type of the file system that `dir` is on, as the system mounted it.
fn file_system(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (place, kind) = (words.nth(1)?, words.next()?);
        dir.starts_with(place).then_some((place.len(), kind))
    });
    mounted
        .max_by_key(|(len, _)| *len)
        .map_or_else(String::new, |(_, kind)| kind.to_owned())
}

/// What the figures were measured on.
pub fn machine() -> Value {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
            .unwrap_or_default()
    };
    let flags = field("flags");
    let has = |wanted: &str| flags.split(' ').any(|flag| flag == wanted);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let load = read("/proc/loadavg");
    json!({
        "cpu": field("model name"),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "sha_ni": has("sha_ni"),
        "avx512vl": has("avx512vl"),
        "os": std::env::consts::OS,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "arch": std::env::consts::ARCH,
        "build": env!("CARGO_PKG_VERSION"),
        "load_before": load.split(' ').next().unwrap_or_default(),
    })
}
