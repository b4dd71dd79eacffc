//! Prints the figures: one line each, and the spread of a set of samples.

use std::fmt;
use std::time::Duration;

/// Prints the head of a part.
pub(crate) fn title(text: &str) {
    println!("\n{text}");
}

/// Prints one figure.
pub(crate) fn row(name: &str, figure: &str) {
    println!("  {name:<44} {figure}");
}

/// Words a number with thousands apart.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Words a rate with thousands apart.
pub(crate) fn per_second(rate: f64, what: &str) -> String {
    format!("{} {what}/s", thousands(rate.round() as u64))
}

/// Returns the rate in the middle.
pub(crate) fn middle(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// How a set of durations is spread.
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

    /// Returns the sample in the middle.
    pub(crate) fn median(&self) -> Duration {
        self.at(0.5)
    }

    /// Returns the sample that this share of all does not exceed.
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
