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

/// Percentiles that a curve goes through.
const CURVE: [f64; 13] = [
    0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 100.0,
];

/// Percentiles of latencies in microseconds, and the curve through many of them.
///
/// # Panics
/// Without samples.
pub fn percentiles(latencies: &mut [Duration]) -> Value {
    latencies.sort_unstable();
    assert!(!latencies.is_empty(), "at least one latency was taken");
    let at = |percentile: f64| {
        let count = latencies.len();
        let index = ((count as f64 * percentile / 100.0).ceil() as usize).clamp(1, count);
        rounded(latencies[index - 1].as_secs_f64() * 1e6)
    };
    let curve: Vec<[f64; 2]> = CURVE.iter().map(|&p| [p, at(p)]).collect();
    json!({"p50": at(50.0), "p95": at(95.0), "p99": at(99.0), "p99.9": at(99.9), "max": at(100.0), "curve": curve})
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_latencies_that_were_taken() {
        let mut taken: Vec<Duration> = (1..=1000).rev().map(Duration::from_micros).collect();
        let found = percentiles(&mut taken);
        let at = |name: &str| found[name].as_f64();
        assert_eq!(
            ["p50", "p95", "p99", "p99.9", "max"].map(at),
            [500.0, 950.0, 990.0, 999.0, 1000.0].map(Some)
        );
        let curve = found["curve"].as_array().expect("a list");
        assert_eq!((&curve[0], curve.len()), (&json!([0.0, 1.0]), CURVE.len()));
    }

    #[test]
    fn figures_keep_six_digits() {
        assert_eq!(rounded(1234567.0), 1234570.0);
        assert_eq!(rounded(0.00123456789), 0.00123457);
        assert_eq!(rounded(0.0), 0.0);
    }
}
