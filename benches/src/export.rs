//! Results for people: rows of figures as tables.

use serde_json::{Map, Value};

/// Percentiles that tables show.
const PERCENTILES: [&str; 4] = ["p50", "p95", "p99", "p99.9"];

/// Names and cells of the figures of a result, one row each; a cell is empty where a row has no such figure.
pub struct Table {
    /// Names of the columns, in the order in which they were met.
    pub columns: Vec<String>,
    /// As many cells as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// The figures of a result: those it lists, or the result itself where it is one row.
pub fn figures(result: &Value) -> Vec<&Map<String, Value>> {
    match result.get("figures").and_then(Value::as_array) {
        Some(rows) => rows.iter().filter_map(Value::as_object).collect(),
        None => result.as_object().into_iter().collect(),
    }
}

/// The figures of a result as a table.
pub fn table(result: &Value) -> Table {
    let rows: Vec<Vec<(String, String)>> = figures(result)
        .into_iter()
        .map(|row| {
            let mut cells = Vec::new();
            for (name, value) in row {
                if !matches!(name.as_str(), "machine" | "schema" | "figures") {
                    flatten(name, value, &mut cells);
                }
            }
            cells
        })
        .collect();
    let mut columns: Vec<String> = Vec::new();
    for (name, _) in rows.iter().flatten() {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    let cell = |row: &Vec<(String, String)>, column: &String| {
        let found = row.iter().find(|(name, _)| name == column);
        found.map_or_else(String::new, |(_, text)| text.clone())
    };
    Table {
        rows: rows
            .iter()
            .map(|row| columns.iter().map(|column| cell(row, column)).collect())
            .collect(),
        columns,
    }
}

/// A value as one cell or several: a spread is its median with the extremes, percentiles are a cell each.
fn flatten(name: &str, value: &Value, cells: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => match (object.get("median"), object.get("p50")) {
            (Some(median), _) => {
                let extremes = object.get("min").zip(object.get("max"));
                let text = match extremes.filter(|(min, max)| min != max) {
                    Some((min, max)) => format!("{} ({}–{})", text(median), text(min), text(max)),
                    None => text(median),
                };
                cells.push((name.into(), text));
            }
            (None, Some(_)) => {
                for percentile in PERCENTILES {
                    let found = object.get(percentile).map_or_else(String::new, text);
                    cells.push((format!("{name} {percentile}"), found));
                }
            }
            (None, None) => {
                for (inner, value) in object {
                    flatten(&format!("{name}.{inner}"), value, cells);
                }
            }
        },
        Value::Array(_) | Value::Null => {}
        other => cells.push((name.into(), text(other))),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number
            .as_f64()
            .filter(|figure| figure.fract() == 0.0 && figure.abs() < 1e15)
            .map_or_else(|| number.to_string(), |figure| format!("{figure:.0}")),
        other => other.to_string(),
    }
}

/// What a result was measured on, in one line.
pub fn machine(result: &Value) -> String {
    let Some(machine) = result.get("machine").and_then(Value::as_object) else {
        return String::new();
    };
    let parts = machine.iter().filter(|(_, value)| **value != "");
    let parts: Vec<String> = parts
        .map(|(name, value)| format!("{name} {}", text(value)))
        .collect();
    parts.join(" · ")
}

/// Name of the kind of a result: the middle of its schema.
pub fn title(result: &Value) -> &str {
    let schema = result.get("schema").and_then(Value::as_str);
    let name = schema.and_then(|schema| schema.strip_prefix("aos.bench."));
    name.map_or("result", |name| {
        name.rsplit_once(".v").map_or(name, |(name, _)| name)
    })
}

/// A result as Markdown: what it is, the machine, and its figures.
pub fn markdown(result: &Value) -> String {
    let escaped = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    let mut out = format!("## {}\n\n", escaped(title(result)));
    let machine = machine(result);
    if !machine.is_empty() {
        out.push_str(&format!("{}\n\n", escaped(&machine)));
    }
    let Table { columns, rows } = table(result);
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    out.push_str(&line(&columns));
    out.push_str(&format!("|{}\n", " --- |".repeat(columns.len())));
    for row in rows {
        out.push_str(&line(&row));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn spreads_are_one_cell_and_percentiles_one_each() {
        let result = json!({
            "schema": "aos.bench.append.v1",
            "machine": {"cpu": "a|b", "cores": 2, "os": ""},
            "figures": [
                {"batch": 1, "rate": {"min": 1.0, "median": 2.0, "max": 3.5}},
                {"batch": 10, "sync_us": {"p50": 1, "p95": 2, "p99": 3, "p99.9": 4, "max": 5, "curve": [[0, 1]]}},
            ],
        });
        assert_eq!(
            markdown(&result),
            "## append\n\ncpu a\\|b · cores 2\n\n\
             | batch | rate | sync_us p50 | sync_us p95 | sync_us p99 | sync_us p99.9 |\n\
             | --- | --- | --- | --- | --- | --- |\n\
             | 1 | 2 (1–3.5) |  |  |  |  |\n\
             | 10 |  | 1 | 2 | 3 | 4 |\n"
        );
    }

    #[test]
    fn a_result_without_rows_is_one_row() {
        let result = json!({"schema": "aos.bench.producers.v1", "machine": {}, "rate": 7, "nested": {"a": {"b": "x"}}});
        let table = table(&result);
        assert_eq!(table.columns, ["rate", "nested.a.b"]);
        assert_eq!(table.rows, [["7", "x"]]);
    }
}
