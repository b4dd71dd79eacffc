//! Headers that `--header` and `WASMILL_HEADERS` ask for, such as the token of a proxy before the server.
//!
//! Their values are never shown, not even in the error of one that is wrong.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What the connection and the body decide.
const RESERVED: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
];

/// Reads headers that are written as `Name: value`; empty lines are passed over.
pub(super) fn read(given: &[String]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let lines = given.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
    for (number, line) in (1..).zip(lines) {
        let invalid = |why: &str| format!("header {number} of --header and WASMILL_HEADERS {why}");
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| invalid("has no ':'; one is 'Authorization: Bearer TOKEN'"))?;
        let name: HeaderName =
            name.trim().parse().map_err(|_| invalid("has no valid name before its ':'"))?;
        if RESERVED.contains(&name) {
            return Err(invalid(&format!("is '{name}', which this program sets itself")));
        }
        let mut value: HeaderValue = value
            .trim()
            .parse()
            .map_err(|_| invalid(&format!("'{name}' has a value with characters that no header may have")))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<HeaderMap, String> {
        super::read(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn headers_are_read_and_kept_out_of_sight() {
        let headers = read(&["Authorization: Bearer a:b", "", "x-team:7", "X-Team: 8 "]).unwrap();
        assert_eq!(headers["authorization"], "Bearer a:b");
        assert_eq!(headers.get_all("x-team").iter().collect::<Vec<_>>(), ["7", "8"]);
        assert!(!format!("{headers:?}").contains("Bearer"));
    }

    #[test]
    fn a_header_that_is_wrong_is_refused_without_its_value() {
        for (line, named) in [
            ("Authorization Bearer secret", "has no ':'"),
            ("Author ization: secret", "has no valid name"),
            (": secret", "has no valid name"),
            ("Authorization: secret\u{1}", "'authorization' has a value with characters"),
            ("Host: secret", "'host', which this program sets"),
            ("content-length: secret", "'content-length'"),
        ] {
            let error = read(&["a: b", line]).unwrap_err();
            assert!(error.starts_with("header 2 ") && error.contains(named), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
