//! The cookie of a signed-in browser, and that of one which is away to sign in. Script can read neither, and no other site
//! can have that of a session sent.

use axum::http::{HeaderMap, HeaderValue, header};
use wasmill_access::{ATTEMPT_MAX, SESSION_MAX};

/// The names. Over TLS the prefix keeps other hosts of the domain from setting them.
const SESSION: Name = Name { plain: "wasmill", tls: "__Host-wasmill" };
const ATTEMPT: Name = Name { plain: "wasmill-sign-in", tls: "__Host-wasmill-sign-in" };

/// A cookie of one name or the other.
struct Name {
    plain: &'static str,
    tls: &'static str,
}

impl Name {
    fn of(&self, is_tls: bool) -> &'static str {
        if is_tls { self.tls } else { self.plain }
    }

    /// Returns the value of a request; `None` without one, or with several.
    fn value<'a>(&self, headers: &'a HeaderMap, is_tls: bool) -> Option<&'a [u8]> {
        let given = headers
            .get_all(header::COOKIE)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        let mut found = given.filter_map(|pair| {
            pair.trim_ascii().strip_prefix(self.of(is_tls).as_bytes())?.strip_prefix(b"=")
        });
        let (first, None) = (found.next()?, found.next()) else { return None };
        Some(first)
    }

    /// Returns the header that sets the cookie.
    fn set(&self, value: &str, max_age: i64, same_site: &str, is_tls: bool) -> Option<HeaderValue> {
        let (name, secure) = (self.of(is_tls), if is_tls { "; Secure" } else { "" });
        // What is sealed has only characters that a header may have.
        HeaderValue::try_from(format!(
            "{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite={same_site}{secure}"
        ))
        .ok()
    }
}

/// Returns the session of a request; `None` without one, or with several.
pub(crate) fn session(headers: &HeaderMap, is_tls: bool) -> Option<&[u8]> {
    SESSION.value(headers, is_tls)
}

/// Returns the header that sets the session.
pub(crate) fn set(session: &str, is_tls: bool) -> Option<HeaderValue> {
    SESSION.set(session, SESSION_MAX.num_seconds(), "Strict", is_tls)
}

/// Returns the header that removes the session.
pub(crate) fn clear(is_tls: bool) -> Option<HeaderValue> {
    SESSION.set("", 0, "Strict", is_tls)
}

/// Returns the attempt to sign in of a request.
pub(crate) fn attempt(headers: &HeaderMap, is_tls: bool) -> Option<&[u8]> {
    ATTEMPT.value(headers, is_tls)
}

/// Returns the header that sets the attempt, which has to come back from the site of the issuer.
pub(crate) fn set_attempt(attempt: &str, is_tls: bool) -> Option<HeaderValue> {
    ATTEMPT.set(attempt, ATTEMPT_MAX.num_seconds(), "Lax", is_tls)
}

/// Returns the header that removes the attempt.
pub(crate) fn clear_attempt(is_tls: bool) -> Option<HeaderValue> {
    ATTEMPT.set("", 0, "Lax", is_tls)
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
