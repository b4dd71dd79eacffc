//! What an issuer says of itself (OpenID Connect Discovery 1.0).

use serde::Deserialize;

use crate::error::{SignInError, quote, unavailable};
use crate::fetch::{FetchFn, get};

/// Where the document is, below the issuer.
const PATH: &str = "/.well-known/openid-configuration";

/// The parts of the document that are used.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Discovery {
    issuer: String,
    pub(crate) authorization_endpoint: String,
    pub(crate) token_endpoint: String,
    pub(crate) jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) authorization_response_iss_parameter_supported: bool,
}

impl Discovery {
    /// Fetches the document of an issuer.
    pub(crate) async fn fetch(fetch: &FetchFn, issuer: &str) -> Result<Self, SignInError> {
        let url = format!("{}{PATH}", issuer.trim_end_matches('/'));
        let found: Self = get(fetch, &url).await?;
        found.checked(issuer)
    }

    /// Checks that it is of this issuer, and that nothing leads over a connection that anybody may read.
    fn checked(self, issuer: &str) -> Result<Self, SignInError> {
        if self.issuer != issuer {
            let said = quote(&self.issuer);
            return Err(unavailable(format!("it calls itself '{said}', and the setting says '{issuer}'")));
        }
        let origin = origin(issuer);
        for url in [&self.authorization_endpoint, &self.token_endpoint, &self.jwks_uri] {
            let is_own = url.strip_prefix(origin).is_some_and(|rest| rest.starts_with('/'));
            let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
            if !is_plain || !(url.starts_with("https://") || is_own) {
                return Err(unavailable(format!("it names '{}', which is no https URL", quote(url))));
            }
        }
        Ok(self)
    }

    /// Returns true if the secret of the client goes into the form, since the issuer takes it nowhere else.
    pub(crate) fn takes_secret_in_form(&self) -> bool {
        let has = |method: &str, known: &[String]| known.iter().any(|known| known == method);
        self.token_endpoint_auth_methods_supported
            .as_deref()
            .is_some_and(|known| has("client_secret_post", known) && !has("client_secret_basic", known))
    }
}

/// Returns scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(issuer: &str, endpoint: &str) -> Discovery {
        let document = json!({
            "issuer": issuer, "authorization_endpoint": endpoint, "token_endpoint": endpoint, "jwks_uri": endpoint,
        });
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn an_issuer_is_who_it_says_to_the_letter() {
        let issuer = "https://id.example.org/a";
        let check = |said: &str| document(said, "https://id.example.org/x").checked(issuer);
        assert!(check(issuer).is_ok());
        for other in ["https://id.example.org/a/", "https://ID.example.org/a", "https://id.example.org", ""] {
            let refused = check(other).unwrap_err();
            assert!(refused.to_string().contains("calls itself"), "{other}");
        }
    }

    #[test]
    fn no_secret_leaves_in_plain_text_but_to_an_issuer_that_has_no_other() {
        let check = |issuer: &str, endpoint: &str| document(issuer, endpoint).checked(issuer).is_ok();
        assert!(check("https://id.example.org", "https://other.example.org/token"));
        assert!(check("http://127.0.0.1:9000", "http://127.0.0.1:9000/token"));
        for (issuer, endpoint) in [
            ("https://id.example.org", "http://id.example.org/token"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:90001/token"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000@evil.example/token"),
            ("http://127.0.0.1:9000", "http://evil.example/token"),
            ("https://id.example.org", "javascript:alert(1)"),
            ("https://id.example.org", "https://id.example.org/a b"),
            ("https://id.example.org", "https://id.example.org/#a"),
            ("https://id.example.org", "/token"),
        ] {
            assert!(!check(issuer, endpoint), "{issuer} {endpoint}");
        }
    }

    #[test]
    fn the_secret_goes_into_the_header_unless_only_the_form_is_taken() {
        let with = |methods: &[&str]| Discovery {
            token_endpoint_auth_methods_supported: Some(
                methods.iter().map(|&method| method.into()).collect(),
            ),
            ..document("a", "b")
        };
        assert!(!document("a", "b").takes_secret_in_form());
        assert!(!with(&["client_secret_basic", "client_secret_post"]).takes_secret_in_form());
        assert!(with(&["client_secret_post", "private_key_jwt"]).takes_secret_in_form());
    }
}
