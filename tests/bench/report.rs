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

/// Words a rate with thousands apart.
pub(crate) fn per_second(rate: f64, what: &str) -> String {
    let digits = format!("{rate:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} {what}/s")
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
