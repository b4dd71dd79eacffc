//! The header `Range` (RFC 9110, section 14): one range of bytes.

use std::ops::Range;

/// Returns the bytes that a header asks for, of `size`. `None` if it asks for all, or for what need not be understood:
/// other units, or several ranges.
///
/// # Errors
///
/// Fails if the range begins after the end.
pub(super) fn parse(header: &str, size: u64) -> Result<Option<Range<u64>>, NoSuchRange> {
    let Some(spec) = header.strip_prefix("bytes=") else { return Ok(None) };
    let Some((first, last)) = spec.trim().split_once('-') else { return Ok(None) };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.trim().is_empty() => first..size,
        (None, Some(count)) if first.trim().is_empty() => size.saturating_sub(count)..size,
        _ => return Ok(None),
    };
    if range.is_empty() { Err(NoSuchRange) } else { Ok(Some(range)) }
}

/// There are no bytes in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoSuchRange;

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A larger number lies behind every end.
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_file() {
        for (header, range) in [
            ("bytes=0-0", Some(0..1)),
            ("bytes=2-5", Some(2..6)),
            ("bytes=2-500", Some(2..10)),
            ("bytes=9-", Some(9..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-30", Some(0..10)),
            ("bytes=0-99999999999999999999999", Some(0..10)),
            ("bytes=0-1,3-4", None),
            ("bytes=5-2", None),
            ("bytes=a-b", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("items=0-1", None),
        ] {
            assert_eq!(parse(header, 10), Ok(range), "{header}");
        }
        for header in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(parse(header, 10), Err(NoSuchRange), "{header}");
        }
        assert_eq!(parse("bytes=0-", 0), Err(NoSuchRange));
    }
}
