//! Durations as people write them: `30s`, `1h 30m`, `1.5d`.
//!
//! One parser for requests, manifests, settings and the command line. Months and years are rejected: they
//! have no fixed length, and `5M` is usually a typo of `5m`.

use std::time::Duration;

/// The units and their nanoseconds.
const UNITS: [(&[&str], u128); 8] = [
    (&["ns", "nsec", "nanos"], 1),
    (&["us", "usec"], 1_000),
    (&["ms", "msec", "millis"], 1_000_000),
    (&["s", "sec", "secs", "second", "seconds"], SECOND),
    (&["m", "min", "mins", "minute", "minutes"], 60 * SECOND),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600 * SECOND),
    (&["d", "day", "days"], 86_400 * SECOND),
    (&["w", "week", "weeks"], 604_800 * SECOND),
];

const SECOND: u128 = 1_000_000_000;

/// Maximum digits of the integer and of the fraction; more would not change a duration that fits.
const DIGITS_MAX: usize = 15;

/// Parses one or more numbers with a unit each, such as `90s` or `1h 30m`; `0` needs no unit.
///
/// # Errors
///
/// Fails if a number has no unit or an unknown one, or if the sum exceeds [`Duration`].
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let mut rest = text.trim_matches(is_space);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanos = 0_u128;
    loop {
        let (number, behind) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, behind) = split(behind.trim_start_matches(is_space), |c| c.is_ascii_alphabetic());
        let (_, unit_nanos) =
            UNITS.iter().find(|(names, _)| names.contains(&unit)).ok_or_else(|| unknown(number, unit))?;
        nanos += value(number, *unit_nanos).ok_or(InvalidDuration::Number)?;
        rest = behind.trim_start_matches(is_space);
        if rest.is_empty() {
            break;
        }
    }
    let seconds = u64::try_from(nanos / SECOND).map_err(|_| InvalidDuration::Number)?;
    let nanos = u32::try_from(nanos % SECOND).map_err(|_| InvalidDuration::Number)?;
    Ok(Duration::new(seconds, nanos))
}

/// Returns the JSON Schema pattern of the texts that [`parse_duration`] accepts.
pub fn duration_pattern() -> String {
    let units: Vec<_> = UNITS.iter().flat_map(|(names, _)| names.iter().copied()).collect();
    let (units, digits) = (units.join("|"), DIGITS_MAX);
    format!("^[ \\t]*(0|([0-9]{{1,{digits}}}(\\.[0-9]{{1,{digits}}})?[ \\t]*({units})[ \\t]*)+)[ \\t]*$")
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn split(text: &str, is_in: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_in(c)).unwrap_or(text.len()))
}

/// Multiplies a number by the nanoseconds of its unit; fractions of a nanosecond are dropped.
fn value(number: &str, unit_nanos: u128) -> Option<u128> {
    let (whole, fraction) =
        number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    let digits = |text: &str| -> Option<u128> {
        (1..=DIGITS_MAX).contains(&text.len()).then(|| text.parse().ok()).flatten()
    };
    let mut nanos = digits(whole)? * unit_nanos;
    if let Some(fraction) = fraction {
        nanos += digits(fraction)? * unit_nanos / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    }
    Some(nanos)
}

fn unknown(number: &str, unit: &str) -> InvalidDuration {
    match unit {
        _ if number.is_empty() => InvalidDuration::Number,
        "" => InvalidDuration::NoUnit,
        "M" | "y" | "month" | "months" | "year" | "years" => InvalidDuration::NoFixedLength,
        _ => InvalidDuration::Unit,
    }
}

/// The text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// A number is missing or has too many digits.
    #[error("a duration is a number with a unit, such as 30s or 1h 30m")]
    Number,
    /// A number has no unit.
    #[error("a duration needs a unit, such as 30s or 1h 30m")]
    NoUnit,
    /// The unit is unknown.
    #[error("the units of a duration are ns, us, ms, s, m, h, d and w")]
    Unit,
    /// The unit is a month or a year.
    #[error("a month or a year has no fixed length; write days or weeks, and minutes as a small m")]
    NoFixedLength,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_in_every_spelling() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            (" 7ns", 7),
            ("3us 4usec", 7_000),
            ("250 ms", 250_000_000),
            ("1.5s", 1_500_000_000),
            ("1h 30m", 5_400_000_000_000),
            ("1h30min", 5_400_000_000_000),
            ("2days", 172_800_000_000_000),
            ("1w\t", 604_800_000_000_000),
            ("0.5 weeks 1 d", 388_800_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn a_month_and_a_year_are_no_durations() {
        for text in ["5M", "1month", "2 months", "1y", "1year", "3years", "1s 5M"] {
            assert_eq!(parse_duration(text), Err(InvalidDuration::NoFixedLength), "{text}");
        }
    }

    #[test]
    fn an_invalid_duration_is_refused() {
        for text in [
            "",
            " ",
            "s",
            "soon",
            "5",
            "5 5s",
            "1 0s",
            "-1s",
            "+1s",
            "1,5s",
            ".5s",
            "1.s",
            "1.5.5s",
            "1S",
            "1e3s",
            "1s,2s",
            "00",
            "1s 0",
            "9999999999999999s",
            "999999999999999w",
            "1\u{a0}s",
            "１s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
