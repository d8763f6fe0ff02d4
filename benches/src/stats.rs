//! Figures and what they were measured on.

use serde_json::{Value, json};
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
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "cpu": field("model name"),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "sha_ni": has("sha_ni"),
        "avx512vl": has("avx512vl"),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "build": env!("CARGO_PKG_VERSION"),
        "load_before": load.split(' ').next().unwrap_or_default(),
    })
}
