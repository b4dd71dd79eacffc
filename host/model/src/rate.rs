//! Rate limits of plugins.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Maximum starts of a rate: each is remembered for its period.
const STARTS_MAX: u32 = 100_000;

/// Maximum period of a rate.
const PER_MAX: Duration = Duration::from_secs(86_400);

/// A rate limit such as `100/s`, `5/m`, `1000/h` or `20/10s`: no period of that length sees more starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Maximum starts per period.
    pub starts: u32,
    /// Length of the period.
    pub per: Duration,
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let (starts, span) = text.split_once('/').ok_or(InvalidRate)?;
        let starts = starts.trim().parse().map_err(|_| InvalidRate)?;
        let span = span.trim();
        let digits = span.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = span.split_at(digits);
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(InvalidRate),
        };
        let number: u64 = if number.is_empty() { 1 } else { number.parse().map_err(|_| InvalidRate)? };
        let per = Duration::from_secs(number.checked_mul(seconds).ok_or(InvalidRate)?);
        let is_sound = (1..=STARTS_MAX).contains(&starts) && !per.is_zero() && per <= PER_MAX;
        if is_sound { Ok(Self { starts, per }) } else { Err(InvalidRate) }
    }
}

/// Writes the rate in seconds, such as `5/60s`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.starts, self.per.as_secs())
    }
}

/// The text is not a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rate is a number from 1 to {STARTS_MAX} and a span of at most a day, such as 100/s, 5/m or 20/10s"
)]
pub struct InvalidRate;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_round_trip() {
        let rate = |starts, seconds| Ok(Rate { starts, per: Duration::from_secs(seconds) });
        assert_eq!("100/s".parse(), rate(100, 1));
        assert_eq!("5/m".parse(), rate(5, 60));
        assert_eq!("20 / 10s".parse(), rate(20, 10));
        assert_eq!("1/d".parse::<Rate>().map(|rate| rate.to_string()), Ok("1/86400s".to_owned()));
        for bad in ["", "100", "0/s", "1/0s", "-1/s", "1/2d", "100001/s", "1/week", "1/99999999999999999999s"]
        {
            assert_eq!(bad.parse::<Rate>(), Err(InvalidRate), "{bad}");
        }
    }
}
