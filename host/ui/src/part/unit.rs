//! Numbers with units, for people.

/// Returns a count with a thin comma between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Returns a size in bytes, KiB, MiB, GiB or TiB.
pub fn bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1_024.0 {
            break;
        }
        (value, unit) = (value / 1_024.0, next);
    }
    format!("{} {unit}", short(value))
}

/// Returns a duration such as `4.2 s` or `3 h 12 min`.
pub fn millis(millis: u64) -> String {
    let seconds = millis / 1_000;
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{} s", short(millis as f64 / 1_000.0)),
        60_000..3_600_000 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600_000..172_800_000 => two(seconds / 3_600, "h", seconds / 60 % 60, "min"),
        _ => two(seconds / 86_400, "d", seconds / 3_600 % 24, "h"),
    }
}

/// Returns a duration given in microseconds.
pub fn micros(micros: u64) -> String {
    if micros < 1_000 { format!("{micros} µs") } else { millis(micros / 1_000) }
}

/// Returns a rate or another measured number with at most three digits that mean something.
pub fn short(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value.abs() >= 1_000.0 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", count(value.abs().round() as u64));
    }
    let digits = if value.abs() >= 100.0 { 0 } else { usize::from(value.abs() < 10.0) + 1 };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn two(first: u64, unit: &str, second: u64, smaller: &str) -> String {
    if second == 0 { format!("{first} {unit}") } else { format!("{first} {unit} {second} {smaller}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_units() {
        assert_eq!((count(0), count(999), count(1_000_412)), ("0".into(), "999".into(), "1,000,412".into()));
        assert_eq!(
            (bytes(0), bytes(1_536), bytes(64 << 20)),
            ("0 B".into(), "1.5 KiB".into(), "64 MiB".into())
        );
        assert_eq!(bytes(u64::MAX), "16,777,216 TiB");
        assert_eq!(
            (millis(12), millis(9_100), millis(60_000)),
            ("12 ms".into(), "9.1 s".into(), "1 min".into())
        );
        assert_eq!((millis(3_725_000), millis(200_000_000)), ("1 h 2 min".into(), "2 d 7 h".into()));
        assert_eq!((micros(180), micros(2_500)), ("180 µs".into(), "2 ms".into()));
        assert_eq!(
            (short(0.0), short(1.234), short(12.34), short(123.4)),
            ("0".into(), "1.23".into(), "12.3".into(), "123".into())
        );
        assert_eq!(
            (short(18_736.4), short(f64::NAN), short(f64::INFINITY)),
            ("18,736".into(), "–".into(), "–".into())
        );
    }
}
