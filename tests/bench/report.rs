//! Prints measurements: one line each, and the distribution of samples. Keeps what was printed for a page of the book.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The tables that were printed.
static TABLES: Mutex<Vec<Table>> = Mutex::new(Vec::new());

/// A title and what was measured below it.
pub(crate) struct Table {
    pub(crate) title: String,
    /// Names and figures.
    pub(crate) rows: Vec<(String, String)>,
}

/// Prints the title of a part.
pub(crate) fn title(text: &str) {
    println!("\n{text}");
    tables(|tables| tables.push(Table { title: text.to_owned(), rows: Vec::new() }));
}

/// Prints one measurement.
pub(crate) fn row(name: &str, figure: &str) {
    println!("  {name:<44} {figure}");
    tables(|tables| {
        if let Some(table) = tables.last_mut() {
            table.rows.push((name.trim().to_owned(), figure.to_owned()));
        }
    });
}

/// Returns what was printed since the last call.
pub(crate) fn take_tables() -> Vec<Table> {
    tables(std::mem::take)
}

fn tables<T>(change: impl FnOnce(&mut Vec<Table>) -> T) -> T {
    change(&mut TABLES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Formats a number with thousands separators.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Formats a rate with thousands separators.
pub(crate) fn per_second(rate: f64, what: &str) -> String {
    format!("{} {what}/s", thousands(rate.round() as u64))
}

/// Returns the median rate.
pub(crate) fn middle(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// The distribution of a set of durations.
pub(crate) struct Spread {
    sorted: Vec<Duration>,
}

impl Spread {
    /// Sorts the samples.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub(crate) fn of(mut samples: Vec<Duration>) -> Self {
        assert!(!samples.is_empty(), "nothing was measured");
        samples.sort_unstable();
        Self { sorted: samples }
    }

    /// Returns the median.
    pub(crate) fn median(&self) -> Duration {
        self.at(0.5)
    }

    /// Returns the given percentile.
    fn at(&self, share: f64) -> Duration {
        let last = self.sorted.len() - 1;
        self.sorted[(share * last as f64).round() as usize]
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        write!(
            f,
            "p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms ({} samples)",
            ms(self.at(0.5)),
            ms(self.at(0.99)),
            ms(self.at(1.0)),
            self.sorted.len()
        )
    }
}
