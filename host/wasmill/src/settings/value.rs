//! Parsers of values, and the texts of defaults: the same for flags, variables and the settings file.

use std::fmt::Display;
use std::ops::{Bound, RangeBounds};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use wasmill_model::{InvalidDuration, parse_duration};

/// Returns a parser of whole numbers in a range; `otherwise` tells what other numbers would do.
pub(crate) fn count<T: FromStr + PartialOrd + Display>(
    range: impl RangeBounds<T> + Clone,
    otherwise: &'static str,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number =
            text.parse().map_err(|_| "must be a whole number, 0 or more, such as 1000".to_owned())?;
        let is_valid = range.contains(&number);
        let otherwise = if otherwise.is_empty() { String::new() } else { format!(", {otherwise}") };
        if is_valid {
            Ok(number)
        } else {
            Err(format!("must be {}{otherwise}", shown_range(&range, T::to_string)))
        }
    }
}

/// Returns a parser of durations in a range.
pub(super) fn duration(
    range: impl RangeBounds<Duration> + Clone,
) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        let parsed = parse_duration(text).map_err(|error| error.to_string())?;
        let shown = |bound: &Duration| shown_duration(*bound);
        if range.contains(&parsed) {
            Ok(parsed)
        } else {
            Err(format!("must be {}", shown_range(&range, shown)))
        }
    }
}

/// Returns a parser of sizes in a range.
pub(super) fn size(min: ByteSize, max: ByteSize) -> impl Fn(&str) -> Result<ByteSize, String> + Clone {
    move |text| {
        let size = parse_size(text)?;
        let [shown, min_shown, max_shown] = [size, min, max].map(|size| size.display().iec().to_string());
        if (min..=max).contains(&size) {
            Ok(size)
        } else {
            Err(format!("{shown} is out of range; use {min_shown} to {max_shown}"))
        }
    }
}

/// Parses a size.
pub(crate) fn parse_size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "must be a size, such as 64MiB, 1.5GiB or 1048576".to_owned())
}

fn shown_range<T>(range: &impl RangeBounds<T>, shown: impl Fn(&T) -> String) -> String {
    let bound = |bound| match bound {
        Bound::Included(value) | Bound::Excluded(value) => Some(shown(value)),
        Bound::Unbounded => None,
    };
    match (bound(range.start_bound()), bound(range.end_bound())) {
        (Some(min), Some(max)) => format!("from {min} to {max}"),
        (min, max) => format!("at least {}", min.or(max).unwrap_or_default()),
    }
}

/// Parses a retention period; none is zero.
pub(super) fn parse_period(text: &str) -> Result<Duration, InvalidDuration> {
    if text == "forever" { Ok(Duration::ZERO) } else { parse_duration(text) }
}

/// Parses a boolean.
pub(super) fn parse_bool(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err("must be true, yes, on or 1, or false, no, off or 0"),
    }
}

/// Returns the text of a duration, such as `10m`.
pub(super) fn shown_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use wasmill_model::shown_size;

    use super::*;

    #[test]
    fn an_error_shows_the_range() {
        let error = |result: Result<u32, String>| result.unwrap_err();
        assert_eq!(error(count(1.., "or nothing runs")("0")), "must be at least 1, or nothing runs");
        assert_eq!(error(count(1..=9, "or so")("10")), "must be from 1 to 9, or so");
        assert_eq!(error(count(1.., "")("-1")), "must be a whole number, 0 or more, such as 1000");
        assert_eq!(error(count(1..=9, "")("10")), "must be from 1 to 9");
        let (min, max) = (Duration::from_millis(1), Duration::from_secs(120));
        assert_eq!(duration(min..)("0s").unwrap_err(), "must be at least 1ms");
        assert_eq!(duration(min..=max)("1h").unwrap_err(), "must be from 1ms to 2m");
        let error = size(ByteSize::kib(64), ByteSize::gib(4))("8GiB").unwrap_err();
        assert_eq!(error, "8.0 GiB is out of range; use 64.0 KiB to 4.0 GiB");
        assert_eq!(parse_size("big").unwrap_err(), "must be a size, such as 64MiB, 1.5GiB or 1048576");
    }

    #[test]
    fn a_default_is_shown_as_it_would_be_typed() {
        for text in ["64MiB", "1GiB", "1536KiB", "4TiB", "7B"] {
            assert_eq!(shown_size(text.parse::<ByteSize>().unwrap().as_u64()), text);
        }
    }
}
