//! Results as one HTML page: plots and tables, nothing loaded, no script.

use crate::export::{figures, machine, table, title};
use crate::plot::{Axis, Line, Scale, escaped, plot};
use serde_json::{Map, Value};

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<meta name=\"viewport\" content=\"width=device-width\"><title>AOS measured</title>
<style>
:root { color-scheme: light dark; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1400px; padding: 0 1rem; }
svg { width: 640px; max-width: 100%; margin: 0 1rem 1rem 0; color: inherit; }
svg text { fill: currentColor; font-size: 11px; } svg .title { font-size: 13px; font-weight: 600; }
svg .grid { stroke: currentColor; stroke-opacity: .15; }
table { border-collapse: collapse; font-size: 12px; display: block; overflow-x: auto; }
td, th { padding: 2px 8px; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
.machine { opacity: .7; }
</style></head><body>
<h1>AOS measured</h1>
";

type Row = Map<String, Value>;

fn number(row: &Row, name: &str) -> Option<f64> {
    let value = row.get(name)?;
    value.get("median").unwrap_or(value).as_f64()
}

fn word<'a>(row: &'a Row, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Lines through the rows that fit, one for each name, in the order of the names.
fn lines<'a>(
    rows: &[&'a Row],
    name: impl Fn(&'a Row) -> String,
    point: impl Fn(&'a Row) -> Option<(f64, f64)>,
) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for &row in rows {
        let (name, Some(point)) = (name(row), point(row)) else {
            continue;
        };
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                name,
                points: vec![point],
            }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

/// Distinct values of a number, ascending.
fn values(rows: &[&Row], name: &str) -> Vec<f64> {
    let mut values: Vec<f64> = rows.iter().filter_map(|row| number(row, name)).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

const fn log(label: &str) -> Axis<'_> {
    Axis {
        label,
        scale: Scale::Log,
    }
}

const fn linear(label: &str) -> Axis<'_> {
    Axis {
        label,
        scale: Scale::Linear,
    }
}

/// Latency against percentile, a line for each row.
fn latencies<'a>(
    rows: &[&'a Row],
    field: &str,
    title: &str,
    name: impl Fn(&'a Row) -> String,
) -> String {
    let drawn = rows.iter().filter_map(|row| {
        let curve = row.get(field)?.get("curve")?.as_array()?;
        let points = curve.iter().filter_map(|point| {
            let pair = point.as_array()?;
            Some((pair.first()?.as_f64()?, pair.get(1)?.as_f64()?))
        });
        Some(Line {
            name: name(row),
            points: points.collect(),
        })
    });
    let x = Axis {
        label: "percentile",
        scale: Scale::Percentile,
    };
    plot(title, x, log("microseconds"), &drawn.collect::<Vec<_>>())
}

fn append(rows: &[&Row]) -> String {
    let contender = |row: &Row| word(row, "contender").to_owned();
    let mut out = String::new();
    let (batches, payloads) = (values(rows, "batch"), values(rows, "payload_bytes"));
    for payload in &payloads {
        let of: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| number(row, "payload_bytes") == Some(*payload))
            .collect();
        let named = format!("Durable events/s against batch size, {payload} bytes each");
        let drawn = lines(&of, contender, |row| {
            Some((number(row, "batch")?, number(row, "events_per_s")?))
        });
        out += &plot(&named, log("events a sync"), log("events/s"), &drawn);
    }
    for batch in &batches {
        let of: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| number(row, "batch") == Some(*batch))
            .collect();
        if payloads.len() > 1 {
            let named = format!("Durable bytes/s against payload size, {batch} events a sync");
            let drawn = lines(&of, contender, |row| {
                let payload = number(row, "payload_bytes")?;
                Some((payload, number(row, "events_per_s")? * payload))
            });
            out += &plot(&named, log("bytes an event"), log("bytes/s"), &drawn);
        }
        let first = payloads.first().copied();
        let of: Vec<&Row> = of
            .into_iter()
            .filter(|row| number(row, "payload_bytes") == first)
            .collect();
        let named = format!("Latency of a durable batch of {batch}");
        out += &latencies(&of, "sync_us", &named, contender);
    }
    out
}

/// Rates against workers: one line for each of `fields`.
fn against_workers(rows: &[&Row], title: &str, fields: &[(&str, &str)]) -> String {
    let drawn: Vec<Line> = fields
        .iter()
        .flat_map(|(field, name)| {
            lines(
                rows,
                |_| (*name).to_owned(),
                |row| {
                    let rate = match field.split_once('.') {
                        Some((outer, inner)) => number(row.get(outer)?.as_object()?, inner)?,
                        None => number(row, field)?,
                    };
                    Some((number(row, "workers")?, rate))
                },
            )
        })
        .collect();
    plot(title, linear("workers"), linear("per second"), &drawn)
}

fn plots(result: &Value) -> String {
    let rows = figures(result);
    let workers = |row: &Row| format!("{} workers", number(row, "workers").unwrap_or_default());
    match title(result) {
        "append" => append(&rows),
        "producers" => latencies(&rows, "durable_us", "Latency of a durable append", |row| {
            format!("{} producers", number(row, "producers").unwrap_or_default())
        }),
        "engine" => {
            against_workers(
                &rows,
                "Steps/s against workers",
                &[
                    ("steps_per_s", "durable"),
                    ("replay_steps_per_s", "replayed"),
                ],
            ) + &latencies(
                &rows,
                "run_durable_us",
                "Latency of a run until it is durable",
                workers,
            )
        }
        "effects" => latencies(&rows, "sync_us", "Latency of a sync alone", |_| {
            "sync".to_owned()
        }),
        "replay" => against_workers(
            &rows,
            "Events/s against workers",
            &[
                ("verify.events_per_s", "verify"),
                ("replay.events_per_s", "replay"),
                ("plain_sha256.events_per_s", "plain SHA-256"),
            ],
        ),
        "validate" => against_workers(
            &rows,
            "Executions/s against workers",
            &[("executions_per_s", "executions")],
        ),
        "open" => latencies(&rows, "latency_us", "Latency of opening", |row| {
            word(row, "what").to_owned()
        }),
        _ => String::new(),
    }
}

/// One page about all results, each with the name it came under.
pub fn html(results: &[(String, Value)]) -> String {
    let mut out = HEAD.to_owned();
    for (name, result) in results {
        out.push_str(&format!("<h2>{}</h2>\n", escaped(title(result))));
        out.push_str(&format!(
            "<p class=\"machine\">{} — {}</p>\n",
            escaped(name),
            escaped(&machine(result))
        ));
        out.push_str(&plots(result));
        let table = table(result);
        out.push_str("<table><tr>");
        for column in &table.columns {
            out.push_str(&format!("<th>{}</th>", escaped(column)));
        }
        out.push_str("</tr>\n");
        for row in &table.rows {
            out.push_str("<tr>");
            for cell in row {
                out.push_str(&format!("<td>{}</td>", escaped(cell)));
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</table>\n");
    }
    out.push_str("</body></html>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn append_row(contender: &str, batch: u64, payload: u64) -> Value {
        json!({"contender": contender, "batch": batch, "payload_bytes": payload, "events_per_s": {"min": 1, "median": 1000 * batch, "max": 9},
            "sync_us": {"p50": 90, "curve": [[0.0, 80.0], [50.0, 90.0], [99.0, 400.0]]}})
    }

    #[test]
    fn a_page_has_the_plots_that_its_results_allow_and_loads_nothing() {
        let rows: Vec<Value> = [1, 100]
            .iter()
            .flat_map(|batch| [64, 256].map(|payload| (*batch, payload)))
            .flat_map(|(batch, payload)| {
                ["aos", "<i>"].map(|name| append_row(name, batch, payload))
            })
            .collect();
        let result =
            json!({"schema": "aos.bench.append.v1", "machine": {"cpu": "x"}, "figures": rows});
        let page = html(&[("a&b.json".into(), result)]);
        // Against batch size for each payload; against payload size and latencies for each batch.
        assert_eq!(page.matches("<svg").count(), 2 + 2 + 2);
        assert!(page.contains("a&amp;b.json") && page.contains("&lt;i&gt;"));
        for never in ["<script", "<i>", "http://", "https://", "src=\""] {
            assert!(!page.contains(never), "{never}");
        }
    }

    #[test]
    fn rates_stand_against_workers() {
        let row = |workers| {
            json!({"workers": workers, "verify": {"events_per_s": workers * 10},
                "replay": {"events_per_s": workers * 2}, "plain_sha256": {"events_per_s": workers * 30}})
        };
        let result = json!({"schema": "aos.bench.replay.v1", "figures": [row(1), row(2)]});
        let page = html(&[("r".into(), result)]);
        assert_eq!(page.matches("<svg").count(), 1);
        assert_eq!(page.matches("<circle").count(), 6);
    }

    #[test]
    fn what_is_no_result_gives_a_page_without_plots() {
        for odd in [
            json!(7),
            json!([]),
            json!({"schema": "aos.bench.append.v1", "figures": [{"batch": "x", "sync_us": {"curve": [[], 1]}}]}),
        ] {
            let page = html(&[("odd".into(), odd)]);
            assert!(!page.contains("<svg") && page.ends_with("</html>\n"));
        }
    }
}
