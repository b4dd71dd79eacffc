//! Charts as SVG, each with its numbers as a table.
//!
//! Everything is an attribute or a class: the content security policy forbids styles in the markup. Series differ by
//! dash and label as well as by colour.

use maud::{Markup, html};

use crate::part::{text, unit};

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 72.0;
/// Space above the highest point, so that its stroke is not cut.
const MARGIN: f64 = 3.0;
/// Rows of the table of a line chart.
const ROWS_MAX: usize = 20;
/// Width of the whole of a bar chart, and height of one bar.
const BAR_WIDTH: f64 = 600.0;
const BAR_HEIGHT: f64 = 14.0;

/// One series of a line chart.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is.
    pub label: &'static str,
    /// Its values, oldest first; those that are not finite are gaps.
    pub values: Vec<f64>,
}

/// A line chart.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    /// Its heading.
    pub title: &'a str,
    /// Its series, all of the same length.
    pub series: &'a [Series],
    /// Time of each value, as text.
    pub times: &'a [String],
    /// Writes a value with its unit.
    pub unit: fn(f64) -> String,
    /// The least value of the top; 0 for that of the data.
    pub top_min: f64,
}

/// One bar of several parts, each with a class that is its label.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it is.
    pub label: String,
    /// Its parts.
    pub parts: Vec<(&'static str, f64)>,
}

/// Draws a line chart.
pub fn lines(chart: &Lines<'_>) -> Markup {
    let finite =
        || chart.series.iter().flat_map(|series| &series.values).copied().filter(|value| value.is_finite());
    let most = finite().fold(0.0, f64::max);
    let top = if most.max(chart.top_min) > 0.0 { most.max(chart.top_min) } else { 1.0 };
    let last = |series: &Series| series.values.iter().rev().find(|value| value.is_finite()).copied();
    let said = match (chart.times.first(), chart.times.last()) {
        (Some(from), Some(until)) => {
            format!("{}, {from} to {until}, at most {}", chart.title, (chart.unit)(most))
        }
        _ => format!("{}, no values yet", chart.title),
    };
    html! {
        figure.chart {
            figcaption {
                span.label { (chart.title) }
                @for (index, series) in chart.series.iter().enumerate() {
                    span class={ "figure s" (index) } {
                        (last(series).map_or_else(|| "–".to_owned(), chart.unit))
                        @if chart.series.len() > 1 { " " span.note { (series.label) } }
                    }
                }
            }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(said) {
                line.axis x1="0" y1=(HEIGHT) x2=(WIDTH) y2=(HEIGHT) {}
                @for (index, series) in chart.series.iter().enumerate() {
                    @for points in points(&series.values, top) { polyline class={ "s" (index) } points=(points) {} }
                }
            }
            @if chart.times.is_empty() { p.note { "no values yet" } } @else { (table(chart)) }
        }
    }
}

/// Returns the points of each run of finite values.
fn points(values: &[f64], top: f64) -> Vec<String> {
    let step = if values.len() > 1 { WIDTH / (values.len() - 1) as f64 } else { WIDTH };
    let mut runs = vec![String::new()];
    for (index, value) in values.iter().enumerate() {
        let Some(run) = runs.last_mut() else { break };
        if !value.is_finite() {
            if !run.is_empty() {
                runs.push(String::new());
            }
            continue;
        }
        let share = (value / top).clamp(0.0, 1.0);
        let y = HEIGHT - share * (HEIGHT - MARGIN);
        if !run.is_empty() {
            run.push(' ');
        }
        run.push_str(&format!("{:.1},{y:.1}", index as f64 * step));
    }
    // A single point has no line; a short one makes it visible.
    for run in &mut runs {
        if !run.is_empty() && !run.contains(' ') {
            let (x, y) = run.split_once(',').map_or(("0", "0"), |(x, y)| (x, y));
            let x: f64 = x.parse().unwrap_or(0.0);
            *run = format!("{:.1},{y} {:.1},{y}", (x - 1.5).max(0.0), (x + 1.5).min(WIDTH));
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn table(chart: &Lines<'_>) -> Markup {
    let skipped = chart.times.len().saturating_sub(ROWS_MAX);
    html! {
        details.data {
            summary { "As a table" span.sr { ": " (chart.title) } }
            div.scroll tabindex="0" role="region" aria-label={ (chart.title) ", values" } {
                table {
                    thead { tr { th scope="col" { "Time" } @for series in chart.series { th.num scope="col" { (series.label) } } } }
                    tbody {
                        @for (index, time) in chart.times.iter().enumerate().skip(skipped).rev() {
                            tr {
                                th scope="row" { (time) }
                                @for series in chart.series {
                                    td.num { (series.values.get(index).filter(|value| value.is_finite()).map_or_else(|| "–".to_owned(), |value| (chart.unit)(*value))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Draws the course of one number without axes, for a cell of a table; `title` says what it is.
pub fn spark(title: &str, values: &[f64], unit: fn(f64) -> String) -> Markup {
    let most = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let said = format!("{title}: at most {}", unit(most));
    html! {
        svg.spark viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(said) {
            line.axis x1="0" y1=(HEIGHT) x2=(WIDTH) y2=(HEIGHT) {}
            @for points in points(values, if most > 0.0 { most } else { 1.0 }) { polyline points=(points) {} }
        }
    }
}

/// Draws bars, one below the other, on one scale. The numbers are in a table beside it for those who do not see it.
pub fn bars(title: &str, bars: &[Bar]) -> Markup {
    let total = |bar: &Bar| bar.parts.iter().map(|(_, value)| finite(*value)).sum::<f64>();
    let top = bars.iter().map(total).fold(0.0, f64::max);
    let said = format!("{title}, {} rows, the longest {}", bars.len(), unit::short(top));
    html! {
        figure.bars {
            figcaption.sr { (title) }
            div.grid {
                @for bar in bars {
                    span.name { (text::brief(&bar.label, 40)) }
                    svg viewBox={ "0 0 " (BAR_WIDTH) " " (BAR_HEIGHT) } preserveAspectRatio="none" role="img"
                        aria-label={ (text::brief(&bar.label, 40)) ": " (words(bar)) } {
                        @for (class, x, width) in boxes(bar, top) {
                            rect class=(class) x={ (format!("{x:.1}")) } y="0" width={ (format!("{width:.1}")) } height=(BAR_HEIGHT) {}
                        }
                    }
                    span.num { (words(bar)) }
                }
            }
            p.sr { (said) }
        }
    }
}

fn words(bar: &Bar) -> String {
    let parts = bar.parts.iter().filter(|(_, value)| finite(*value) > 0.0);
    let words: Vec<_> = parts.map(|(label, value)| format!("{} {label}", unit::short(*value))).collect();
    words.join(", ")
}

fn boxes(bar: &Bar, top: f64) -> Vec<(&'static str, f64, f64)> {
    let mut x = 0.0;
    let mut boxes = Vec::new();
    for (class, value) in &bar.parts {
        let width = if top > 0.0 { finite(*value) / top * BAR_WIDTH } else { 0.0 };
        if width > 0.0 {
            // One that is not empty is seen.
            boxes.push((*class, x, width.max(1.0)));
        }
        x += width;
    }
    boxes
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(values: &[f64]) -> String {
        let series = [Series { label: "ended", values: values.to_vec() }];
        let times: Vec<_> = (0..values.len()).map(|second| format!("12:00:{second:02}")).collect();
        lines(&Lines { title: "Ended", series: &series, times: &times, unit: unit::short, top_min: 0.0 })
            .into_string()
    }

    fn ys(svg: &str) -> Vec<f64> {
        let points = svg.split("points=\"").skip(1).filter_map(|rest| rest.split('"').next());
        points
            .flat_map(|points| points.split(' '))
            .map(|point| point.split_once(',').expect("a point").1.parse().expect("a number"))
            .collect()
    }

    #[test]
    fn every_number_of_values_draws_within_the_box() {
        for values in [
            vec![],
            vec![0.0],
            vec![7.0],
            vec![5.0; 9],
            vec![-3.0, -1.0],
            vec![f64::MAX, 0.0, 1.0],
            vec![f64::NAN, 1.0, f64::INFINITY, 2.0, f64::NEG_INFINITY],
            vec![1e-300, 2e-300],
            vec![0.0; 3_000],
        ] {
            let svg = draw(&values);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{values:?}: {svg}");
            assert!(ys(&svg).iter().all(|y| (0.0..=HEIGHT).contains(y)), "{values:?}");
        }
        assert!(draw(&[]).contains("no values yet"));
        assert_eq!(draw(&[1.0, f64::NAN, 2.0]).matches("<polyline").count(), 2);
        assert_eq!(draw(&[0.0; 3_000]).matches("<tr>").count(), 1 + ROWS_MAX);
    }

    #[test]
    fn equal_values_lie_on_one_line_and_the_highest_touches_the_top() {
        assert_eq!(ys(&draw(&[5.0, 5.0, 5.0])), [MARGIN; 3]);
        assert_eq!(ys(&draw(&[0.0, 10.0])), [HEIGHT, MARGIN]);
    }

    #[test]
    fn a_spark_says_its_highest_value() {
        let svg =
            spark("ended <per> second", &[0.0, f64::NAN, 7.0, f64::INFINITY], unit::short).into_string();
        assert!(svg.contains("aria-label=\"ended &lt;per&gt; second: at most 7\""), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(spark("none", &[], unit::short).into_string().contains("at most 0"));
    }

    #[test]
    fn bars_share_one_scale() {
        let bar = |label: &str, running, waiting| Bar {
            label: label.to_owned(),
            parts: vec![("running", running), ("waiting", waiting)],
        };
        let svg = bars("Queues", &[bar("a", 1.0, 3.0), bar("<b>", 2.0, 0.0), bar("c", 0.0, f64::NAN)])
            .into_string();
        assert!(
            svg.contains("width=\"150.0\"")
                && svg.contains("width=\"450.0\"")
                && svg.contains("width=\"300.0\"")
        );
        assert!(svg.contains("&lt;b&gt;") && !svg.contains("<b>"));
        assert_eq!(svg.matches("<rect").count(), 3);
        let none = bars("Queues", &[bar("a", 0.0, 0.0)]).into_string();
        assert!(!none.contains("<rect") && !none.contains("NaN"));
    }
}
