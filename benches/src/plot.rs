//! Plots as SVG: lines through points, on straight or logarithmic axes.

/// How an axis is divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// Equal distances are equal differences; it begins at 0.
    Linear,
    /// Equal distances are equal ratios.
    Log,
    /// Of a percentile, how many are slower: 50, 90, 99, 99.9 are equally far apart but for the first.
    Percentile,
}

/// An axis.
#[derive(Clone, Copy, Debug)]
pub struct Axis<'a> {
    /// What it shows, with the unit.
    pub label: &'a str,
    /// How it is divided.
    pub scale: Scale,
}

/// A line with a name.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Points, ascending in x.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;
/// Colours that are told apart also by people who see fewer.
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#a6761d",
];
/// Largest percentile on an axis.
const PERCENTILE_MAX: f64 = 99.99;

/// Where values of an axis stand, from 0 to 1, and which are marked.
struct Spread {
    scale: Scale,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Spread {
    fn of(scale: Scale, values: impl Iterator<Item = f64>) -> Option<Spread> {
        let usable = values.filter(|value| {
            value.is_finite() && (scale != Scale::Log || *value > 0.0) && *value >= 0.0
        });
        let (least, most) = usable.fold((f64::MAX, f64::MIN), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        if least > most {
            return None;
        }
        Some(match scale {
            Scale::Linear => {
                let step = nice(most.max(1e-9) / 5.0);
                let count = (most / step).ceil().max(1.0);
                let ticks = (0..=count as usize).map(|n| n as f64 * step).collect();
                Spread {
                    scale,
                    from: 0.0,
                    to: count * step,
                    ticks,
                }
            }
            Scale::Log => {
                let (low, high) = (least.log10().floor(), most.log10().ceil());
                let high = high.max(low + 1.0);
                let ticks = (low as i32..=high as i32).map(|n| 10f64.powi(n)).collect();
                Spread {
                    scale,
                    from: low,
                    to: high,
                    ticks,
                }
            }
            Scale::Percentile => Spread {
                scale,
                from: 0.0,
                to: slower(PERCENTILE_MAX),
                ticks: vec![0.0, 50.0, 90.0, 99.0, 99.9, PERCENTILE_MAX],
            },
        })
    }

    fn place(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(f64::MIN_POSITIVE).log10(),
            Scale::Percentile => slower(value.min(PERCENTILE_MAX)),
        };
        ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

/// Orders of magnitude of the share that is slower than a percentile.
fn slower(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).log10()
}

/// The next of 1, 2, 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|times| times * power >= step);
    times.unwrap_or(10.0) * power
}

/// A number as people read it: 1.5 M.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, " G"),
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Text that is no markup.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A plot of lines; empty where there is nothing to draw.
pub fn plot(title: &str, x: Axis<'_>, y: Axis<'_>, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let spreads = (
        Spread::of(x.scale, points().map(|(x, _)| x)),
        Spread::of(y.scale, points().map(|(_, y)| y)),
    );
    let (Some(across), Some(up)) = spreads else {
        return String::new();
    };
    let at_x = |value: f64| LEFT + across.place(value) * (WIDTH - LEFT - RIGHT);
    let at_y = |value: f64| HEIGHT - BOTTOM - up.place(value) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\">\n<text class=\"title\" x=\"{LEFT}\" y=\"16\">{0}</text>\n",
        escaped(title)
    );
    for &tick in &across.ticks {
        let (at, low) = (at_x(tick), HEIGHT - BOTTOM);
        svg.push_str(&format!(
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{low}\"/><text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            low + 16.0,
            short(tick)
        ));
    }
    for &tick in &up.ticks {
        let at = at_y(tick);
        svg.push_str(&format!(
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\"/><text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            short(tick)
        ));
    }
    svg.push_str(&format!(
        "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n<text class=\"label\" transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 8.0,
        escaped(x.label),
        (TOP + HEIGHT - BOTTOM) / 2.0,
        escaped(y.label)
    ));
    for (number, line) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let drawn: Vec<String> = line
            .points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", at_x(*x), at_y(*y)))
            .collect();
        svg.push_str(&format!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>\n",
            drawn.join(" ")
        ));
        for ((x, y), at) in line.points.iter().zip(&drawn) {
            let (left, top) = at.split_once(',').unwrap_or_default();
            svg.push_str(&format!(
                "<circle cx=\"{left}\" cy=\"{top}\" r=\"3\" fill=\"{colour}\"><title>{}: {} at {}</title></circle>",
                escaped(&line.name),
                short(*y),
                short(*x)
            ));
        }
        let at = TOP + 14.0 * number as f64 + 4.0;
        svg.push_str(&format!(
            "\n<rect x=\"{0}\" y=\"{1:.1}\" width=\"10\" height=\"3\" fill=\"{colour}\"/><text class=\"tick\" x=\"{2}\" y=\"{3:.1}\">{4}</text>\n",
            WIDTH - RIGHT + 12.0,
            at,
            WIDTH - RIGHT + 28.0,
            at + 6.0,
            escaped(&line.name)
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(scale: Scale, values: &[f64]) -> Spread {
        Spread::of(scale, values.iter().copied()).unwrap()
    }

    #[test]
    fn axes_hold_all_values_and_mark_round_ones() {
        let linear = spread(Scale::Linear, &[3.0, 47.0]);
        assert_eq!(linear.ticks, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(
            (linear.place(0.0), linear.place(25.0), linear.place(50.0)),
            (0.0, 0.5, 1.0)
        );
        let log = spread(Scale::Log, &[1.0, 1000.0]);
        assert_eq!(log.ticks, [1.0, 10.0, 100.0, 1000.0]);
        assert!((log.place(10.0) - 1.0 / 3.0).abs() < 1e-9);
        let share = spread(Scale::Percentile, &[50.0]);
        assert!((share.place(99.0) - 2.0 * share.place(90.0)).abs() < 1e-9);
        assert_eq!(share.place(100.0), 1.0);
        assert!(Spread::of(Scale::Log, [0.0].into_iter()).is_none());
    }

    #[test]
    fn a_plot_marks_every_point_and_escapes_names() {
        let line = Line {
            name: "<b>&".into(),
            points: vec![(1.0, 10.0), (100.0, 1e6)],
        };
        let axis = |label| Axis {
            label,
            scale: Scale::Log,
        };
        let svg = plot("a \"title\"", axis("events"), axis("per second"), &[line]);
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("&lt;b&gt;&amp;: 1 M at 100"), "{svg}");
        assert!(!svg.contains("<b>") && !svg.contains("NaN"));
        assert_eq!(plot("", axis(""), axis(""), &[]), "");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.5, 12.0, 1500.0, 2e6, 3.25e9].map(short),
            ["0.5", "12", "1.5 k", "2 M", "3.25 G"]
        );
    }
}
