//! Headers from `--header` and `WASMILL_HEADERS`, such as a token for a proxy in front of the server.
//!
//! Their values are never shown, not even in errors.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use wasmill_egress::is_reserved;

/// Parses headers of the form `Name: value`; empty lines are ignored.
pub(super) fn read(given: &[String]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let lines = given.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
    for (number, line) in (1..).zip(lines) {
        let invalid = |why: &str| format!("header {number} of --header and WASMILL_HEADERS {why}");
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| invalid("has no ':'; use the form 'Authorization: Bearer TOKEN'"))?;
        let name: HeaderName =
            name.trim().parse().map_err(|_| invalid("has no valid name before its ':'"))?;
        if is_reserved(&name) {
            return Err(invalid(&format!("is '{name}', which wasmill sets itself")));
        }
        let mut value: HeaderValue = value.trim().parse().map_err(|_| {
            invalid(&format!("'{name}' has a value with characters that are not allowed in headers"))
        })?;
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
    fn headers_are_parsed_and_marked_sensitive() {
        let headers = read(&["Authorization: Bearer a:b", "", "x-team:7", "X-Team: 8 "]).unwrap();
        assert_eq!(headers["authorization"], "Bearer a:b");
        assert_eq!(headers.get_all("x-team").iter().collect::<Vec<_>>(), ["7", "8"]);
        assert!(!format!("{headers:?}").contains("Bearer"));
    }

    #[test]
    fn an_invalid_header_is_rejected_without_showing_its_value() {
        for (line, named) in [
            ("Authorization Bearer secret", "has no ':'"),
            ("Author ization: secret", "has no valid name"),
            (": secret", "has no valid name"),
            ("Authorization: secret\u{1}", "'authorization' has a value with characters"),
            ("Host: secret", "'host', which wasmill sets"),
            ("content-length: secret", "'content-length'"),
            ("Proxy-Connection: secret", "'proxy-connection'"),
            ("accept-encoding: secret", "'accept-encoding'"),
        ] {
            let error = read(&["a: b", line]).unwrap_err();
            assert!(error.starts_with("header 2 ") && error.contains(named), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
