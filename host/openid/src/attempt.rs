//! What binds an answer to the browser that asked.

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};

/// One attempt to sign in. The three texts are secrets of the browser and this server, of 256 random bits each, in the
/// characters of base64url.
#[derive(Clone)]
pub struct Attempt {
    /// Comes back with the browser.
    pub state: String,
    /// Comes back in the ID token.
    pub nonce: String,
    /// Shows at the exchange of the code who asked for it.
    pub verifier: String,
}

impl Attempt {
    /// Returns what the issuer remembers of the verifier (S256 of RFC 7636).
    pub(crate) fn challenge(&self) -> String {
        BASE64URL_NOPAD.encode(digest(&SHA256, self.verifier.as_bytes()).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_specification() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let (state, nonce) = (String::new(), String::new());
        let attempt = Attempt { state, nonce, verifier };
        assert_eq!(attempt.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
