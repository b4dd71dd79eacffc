//! The cookie of a signed-in browser. Script cannot read it, and no other site can have it sent.

use axum::http::{HeaderMap, HeaderValue, header};
use wasmill_access::SESSION_MAX;

/// Its name. Over TLS the prefix keeps other hosts of the domain from setting it.
const NAME: &str = "wasmill";
const NAME_TLS: &str = "__Host-wasmill";

fn name(is_tls: bool) -> &'static str {
    if is_tls { NAME_TLS } else { NAME }
}

/// Returns the session of a request; `None` without one, or with several.
pub(crate) fn session(headers: &HeaderMap, is_tls: bool) -> Option<&[u8]> {
    let given =
        headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut found =
        given.filter_map(|pair| pair.trim_ascii().strip_prefix(name(is_tls).as_bytes())?.strip_prefix(b"="));
    let (first, None) = (found.next()?, found.next()) else { return None };
    Some(first)
}

/// Returns the header that sets the cookie.
pub(crate) fn set(session: &str, is_tls: bool) -> Option<HeaderValue> {
    cookie(session, SESSION_MAX.num_seconds(), is_tls)
}

/// Returns the header that removes the cookie.
pub(crate) fn clear(is_tls: bool) -> Option<HeaderValue> {
    cookie("", 0, is_tls)
}

fn cookie(value: &str, max_age: i64, is_tls: bool) -> Option<HeaderValue> {
    let secure = if is_tls { "; Secure" } else { "" };
    let name = name(is_tls);
    // A session has only characters that a header may have.
    HeaderValue::try_from(format!(
        "{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}"
    ))
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_the_one_cookie_of_its_name() {
        let found = |values: &[&'static str], is_tls| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::COOKIE, HeaderValue::from_static(value));
            }
            session(&headers, is_tls).map(|text| String::from_utf8_lossy(text).into_owned())
        };
        assert_eq!(found(&["a=1; wasmill=v1~x; b=2"], false).as_deref(), Some("v1~x"));
        assert_eq!(found(&["a=1", "wasmill=v1~x"], false).as_deref(), Some("v1~x"));
        assert_eq!(found(&["__Host-wasmill=v1~y; wasmill=v1~x"], true).as_deref(), Some("v1~y"));
        for none in [&["wasmill=v1~x; wasmill=v1~y"][..], &["xwasmill=v1"], &["wasmill"], &[]] {
            assert_eq!(found(none, false), None, "{none:?}");
        }
        assert_eq!(found(&["wasmill=v1~x"], true), None, "anybody on the way could have set it");
    }

    #[test]
    fn script_and_other_sites_never_get_the_cookie() {
        let plain = set("v1~x", false).expect("a header");
        assert_eq!(plain, "wasmill=v1~x; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
        let secure = clear(true).expect("a header");
        assert_eq!(secure, "__Host-wasmill=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure");
    }
}
