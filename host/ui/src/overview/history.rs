//! The last minutes, hours or the last day, as charts.

use maud::{Markup, html};

use crate::part::chart::{Lines, Series, lines, spark};
use crate::part::unit;
use crate::record::{History, ServerColumns};

/// Points of a line; more are averaged.
const POINTS_MAX: usize = 100;

/// Spans that can be chosen: name in the URL, label, step, number of steps.
pub const SPANS: [(&str, &str, &str, usize); 3] =
    [("5min", "5 min", "1s", 300), ("1h", "1 h", "10s", 360), ("24h", "24 h", "60s", 1_440)];

/// Title, series, unit, and the least value of the top.
type Chart = (&'static str, Vec<Series>, fn(f64) -> String, f64);

/// Shows the charts.
pub(super) fn section(history: &History, span: &str, slots: u64, memory_bytes: u64) -> Markup {
    let none = ServerColumns::default();
    let server = history.server.as_ref().unwrap_or(&none);
    let times = times(history);
    let per_second = |values: &[f64]| thin(&rates(history, values));
    let one = |label, values| vec![Series { label, values }];
    let mib: Vec<_> = server.memory_kib.iter().map(|kib| kib / 1_024.0).collect();
    let charts: [Chart; 8] = [
        (
            "Ended per second",
            two(("completed", per_second(&history.completed)), ("failed", per_second(&history.failed))),
            unit::short,
            1.0,
        ),
        ("Accepted per second", one("accepted", per_second(&server.accepted)), unit::short, 1.0),
        ("Waiting", one("waiting", thin(&history.waiting)), unit::short, 1.0),
        ("Slots in use", one("slots", thin(&server.slots_used)), unit::short, slots as f64 / 10.0),
        (
            "Ready to start",
            two(("p50", thin_some(&server.start_p50_ms)), ("p99", thin_some(&server.start_p99_ms))),
            ms,
            0.0,
        ),
        (
            "Run time",
            two(("p50", thin_some(&history.run_p50_ms)), ("p99", thin_some(&history.run_p99_ms))),
            ms,
            0.0,
        ),
        (
            "Memory of guests",
            one("MiB", thin(&mib)),
            mebibytes,
            memory_bytes as f64 / f64::from(1 << 20) / 10.0,
        ),
        ("Commit, p99", one("p99", thin_some(&server.commit_p99_ms)), ms, 0.0),
    ];
    html! {
        section.history id="history" data-live aria-labelledby="history-title" {
            div.row {
                h2 id="history-title" { "History" }
                nav.tabs.spans aria-label="Span" {
                    @for (name, label, ..) in SPANS { a href={ "?span=" (name) } aria-current=[(name == span).then_some("true")] { (label) } }
                }
            }
            div.charts { (drawn(&charts, &times)) }
        }
    }
}

/// Shows the charts of one plugin, whose history has no columns of the server.
pub(crate) fn of_plugin(history: &History) -> Markup {
    let times = times(history);
    let charts: [Chart; 4] = [
        (
            "Ended per second",
            two(
                ("completed", thin(&rates(history, &history.completed))),
                ("failed", thin(&rates(history, &history.failed))),
            ),
            unit::short,
            1.0,
        ),
        (
            "Run time",
            two(("p50", thin_some(&history.run_p50_ms)), ("p99", thin_some(&history.run_p99_ms))),
            ms,
            0.0,
        ),
        ("Waiting", vec![Series { label: "waiting", values: thin(&history.waiting) }], unit::short, 1.0),
        ("Running", vec![Series { label: "running", values: thin(&history.running) }], unit::short, 1.0),
    ];
    html! {
        section.history id="history" data-live aria-labelledby="history-title" {
            h2 id="history-title" { "The last hour" }
            @if times.is_empty() { p.note { "No numbers yet. They are taken every ten seconds, of the 64 plugins that were busy last." } }
            @else { div.charts { (drawn(&charts, &times)) } }
        }
    }
}

/// Draws how many tasks of a plugin ended per second.
pub(crate) fn spark_of_plugin(history: &History) -> Markup {
    let ended: Vec<_> =
        history.completed.iter().zip(&history.failed).map(|(completed, failed)| completed + failed).collect();
    spark("ended per second in the last ten minutes", &rates(history, &ended), unit::short)
}

fn drawn(charts: &[Chart], times: &[String]) -> Markup {
    html! {
        @for (title, series, unit, top_min) in charts {
            (lines(&Lines { title, series, times, unit: *unit, top_min: *top_min }))
        }
    }
}

fn two(first: (&'static str, Vec<f64>), second: (&'static str, Vec<f64>)) -> Vec<Series> {
    [first, second].map(|(label, values)| Series { label, values }).to_vec()
}

/// Returns counts of steps as rates; a gap for a step without a length.
fn rates(history: &History, values: &[f64]) -> Vec<f64> {
    let rate = |(value, seconds): (&f64, &f64)| if *seconds > 0.0 { value / seconds } else { f64::NAN };
    values.iter().zip(&history.seconds).map(rate).collect()
}

fn thin_some(values: &[Option<f64>]) -> Vec<f64> {
    thin(&values.iter().map(|value| value.unwrap_or(f64::NAN)).collect::<Vec<_>>())
}

fn ms(value: f64) -> String {
    if value.abs() >= 10_000.0 {
        format!("{} s", unit::short(value / 1_000.0))
    } else {
        format!("{} ms", unit::short(value))
    }
}

fn mebibytes(value: f64) -> String {
    format!("{} MiB", unit::short(value))
}

/// Returns the mean of each group of values; a gap if the group has none.
fn thin(values: &[f64]) -> Vec<f64> {
    let size = values.len().div_ceil(POINTS_MAX).max(1);
    let mean = |group: &[f64]| {
        let finite: Vec<_> = group.iter().filter(|value| value.is_finite()).collect();
        if finite.is_empty() { f64::NAN } else { finite.iter().copied().sum::<f64>() / finite.len() as f64 }
    };
    // Groups end with the newest value, so that the last one is whole.
    let (rest, whole) = values.split_at(values.len() % size);
    (!rest.is_empty()).then(|| mean(rest)).into_iter().chain(whole.chunks(size).map(mean)).collect()
}

/// Returns the end of each group as a time of day, UTC.
fn times(history: &History) -> Vec<String> {
    let at = &history.at_ms;
    let size = at.len().div_ceil(POINTS_MAX).max(1);
    let (rest, whole) = at.split_at(at.len() % size);
    let ends = rest.last().into_iter().chain(whole.chunks(size).filter_map(<[i64]>::last));
    ends.map(|at| {
        chrono::DateTime::from_timestamp_millis(*at)
            .map_or_else(String::new, |time| time.format("%H:%M:%S").to_string())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_values_become_a_hundred_points_and_gaps_stay() {
        assert_eq!(thin(&[]), Vec::<f64>::new());
        assert_eq!(thin(&[1.0, 2.0]), [1.0, 2.0]);
        let values: Vec<_> = (0..1_440).map(f64::from).collect();
        let thinned = thin(&values);
        assert_eq!((thinned.len(), thinned.last()), (96, Some(&1_432.0)));
        assert!(thin(&[f64::NAN; 300]).iter().all(|value| value.is_nan()));
        let history =
            History { at_ms: (0..1_440).map(|minute| minute * 60_000).collect(), ..History::default() };
        assert_eq!(times(&history).len(), 96);
        assert_eq!(times(&history).last().map(String::as_str), Some("23:59:00"));
    }

    #[test]
    fn a_server_that_has_just_started_has_charts_too() {
        let shown = section(&History::default(), "5min", 0, 0).into_string();
        assert_eq!(shown.matches("no values yet").count(), 2 * 8);
        let odd = History {
            at_ms: vec![i64::MAX, 0],
            seconds: vec![0.0, 1.0],
            completed: vec![1e308, 2.0],
            ..History::default()
        };
        assert!(!section(&odd, "", 1, u64::MAX).into_string().contains("NaN"));
    }
}
