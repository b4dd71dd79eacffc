//! Draws curves as SVG, readable in light and dark mode: panels side by side, one curve each.

use std::fmt::Write;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 14.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = 44.0;

/// These colors are readable in both modes; text adapts to the mode.
const STYLE: &str = "
text { font: 12px system-ui, sans-serif; fill: #57606a; }
.head { font-weight: 600; font-size: 13px; fill: #1f2328; }
.line { fill: none; stroke: #0969da; stroke-width: 2; }
.dot { fill: #0969da; }
.axis { stroke: #d0d7de; }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1; }
  .head { fill: #f0f6fc; }
  .line { stroke: #4493f8; }
  .dot { fill: #4493f8; }
  .axis { stroke: #3d444d; }
}";

/// A panel with one curve.
pub(super) struct Panel<'a> {
    /// The label of the vertical axis, with its unit.
    pub(super) head: &'a str,
    /// The label of the horizontal axis.
    pub(super) across: &'a str,
    /// The names of the points and their values.
    pub(super) points: Vec<(String, f64)>,
}

/// Draws the panels side by side.
pub(super) fn draw(title: &str, panels: &[Panel<'_>]) -> String {
    let width = WIDTH * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" width=\"{width}\" \
         height=\"{HEIGHT}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}\n</style>\n"
    );
    for (place, panel) in panels.iter().enumerate() {
        draw_panel(&mut svg, WIDTH * place as f64, panel);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, left: f64, panel: &Panel<'_>) {
    // Writing to a string cannot fail.
    let _ = write_panel(svg, left, panel);
}

fn write_panel(svg: &mut String, left: f64, panel: &Panel<'_>) -> std::fmt::Result {
    let (from, to) = (left + LEFT, left + WIDTH - RIGHT);
    let floor = HEIGHT - BOTTOM;
    // The axis starts at zero, so that flat looks flat and double looks double.
    let max = panel.points.iter().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max);
    let steps = panel.points.len().saturating_sub(1).max(1) as f64;
    let x = |place: usize| from + 14.0 + (to - from - 28.0) * place as f64 / steps;
    let y = |value: f64| floor - (floor - TOP) * value / max;
    writeln!(svg, "<text class=\"head\" x=\"{from}\" y=\"24\">{}</text>", panel.head)?;
    writeln!(svg, "<line class=\"axis\" x1=\"{from}\" y1=\"{floor}\" x2=\"{to}\" y2=\"{floor}\"/>")?;
    let across = (from + to) / 2.0;
    let under = HEIGHT - 8.0;
    writeln!(svg, "<text x=\"{across:.0}\" y=\"{under}\" text-anchor=\"middle\">{}</text>", panel.across)?;
    let line: Vec<_> = panel
        .points
        .iter()
        .enumerate()
        .map(|(place, (_, v))| format!("{:.1},{:.1}", x(place), y(*v)))
        .collect();
    writeln!(svg, "<polyline class=\"line\" points=\"{}\"/>", line.join(" "))?;
    for (place, (name, value)) in panel.points.iter().enumerate() {
        let (x, y) = (x(place), y(*value));
        writeln!(svg, "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>")?;
        let (label, above, below) = (figure(*value), y - 9.0, floor + 18.0);
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{above:.1}\" text-anchor=\"middle\">{label}</text>")?;
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{below:.1}\" text-anchor=\"middle\">{name}</text>")?;
    }
    Ok(())
}

/// Formats a value with few digits.
fn figure(value: f64) -> String {
    match value {
        _ if value >= 9_999.5 => format!("{:.0}k", value / 1e3),
        _ if value >= 99.5 => format!("{value:.0}"),
        _ if value >= 9.95 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Formats a power of ten briefly.
pub(super) fn short(number: u64) -> String {
    match number {
        1_000_000.. => format!("{}M", number / 1_000_000),
        1_000.. => format!("{}k", number / 1_000),
        _ => number.to_string(),
    }
}
