//! An attempt to sign in elsewhere, while the browser is away: a signed text that the browser keeps in a cookie.
//!
//! Nothing is stored. The text has random bytes, of which this server alone can make the three secrets of the attempt:
//! what comes back with the browser, what comes back in the token, and what shows at the issuer who has asked.

use data_encoding::BASE64URL_NOPAD;
use hmac::Mac as _;
use wasmill_model::{TimeDelta, Timestamp};

use crate::session::{SessionSecret, sealed, unsealed};

/// How long an attempt may take.
pub const ATTEMPT_MAX: TimeDelta = TimeDelta::minutes(10);

/// What the text begins with: no session does.
const KIND: &str = "a1";

/// Bytes that make an attempt unlike any other.
const RANDOM_BYTES: usize = 32;

/// An attempt to sign in elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInAttempt {
    random: String,
    begun: i64,
    /// The path to show afterwards.
    pub next: Option<String>,
}

/// The secrets of an attempt, each of 43 characters of base64url.
#[derive(Clone, PartialEq, Eq)]
pub struct AttemptSecrets {
    /// Comes back with the browser.
    pub state: String,
    /// Comes back in the token.
    pub nonce: String,
    /// Shows at the issuer who has asked.
    pub verifier: String,
}

impl SignInAttempt {
    pub(crate) fn begin(next: Option<&str>, now: Timestamp) -> Self {
        let random = BASE64URL_NOPAD.encode(&rand::random::<[u8; RANDOM_BYTES]>());
        Self { random, begun: now.timestamp(), next: next.map(str::to_owned) }
    }

    /// Reads an attempt; `None` unless this secret has signed it, and it is not too old.
    pub(crate) fn open(text: &[u8], secret: &SessionSecret, now: Timestamp) -> Option<Self> {
        let mut parts = unsealed(text, secret)?.split('~');
        let (KIND, random) = (parts.next()?, parts.next()?) else { return None };
        let (begun, next, None) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()) else {
            return None;
        };
        let next = String::from_utf8(BASE64URL_NOPAD.decode(next.as_bytes()).ok()?).ok()?;
        let age = now.timestamp().checked_sub(begun)?;
        let attempt =
            Self { random: random.to_owned(), begun, next: Some(next).filter(|next| !next.is_empty()) };
        // A clock that was set back does not make it younger than new.
        (-60..ATTEMPT_MAX.num_seconds()).contains(&age).then_some(attempt)
    }

    /// Returns its text, signed.
    pub(crate) fn seal(&self, secret: &SessionSecret) -> String {
        let next = BASE64URL_NOPAD.encode(self.next.as_deref().unwrap_or_default().as_bytes());
        sealed(&format!("{KIND}~{}~{}~{next}", self.random, self.begun), secret)
    }

    /// Returns its secrets, which are the same each time.
    pub(crate) fn secrets(&self, secret: &SessionSecret) -> AttemptSecrets {
        let derive = |purpose: &str| {
            // No text that is signed begins like this.
            let mac = secret.sign(&format!("attempt-{purpose}:{}", self.random)).finalize();
            BASE64URL_NOPAD.encode(&mac.into_bytes())
        };
        AttemptSecrets { state: derive("state"), nonce: derive("nonce"), verifier: derive("verifier") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn an_attempt_is_of_one_server_and_lasts_ten_minutes() {
        let (secret, other) = (SessionSecret::random(), SessionSecret::random());
        for next in [None, Some("/ui/tasks?state=failed")] {
            let attempt = SignInAttempt::begin(next, at(0));
            let text = attempt.seal(&secret);
            let open = |text: &str, seconds| SignInAttempt::open(text.as_bytes(), &secret, at(seconds));
            assert_eq!(open(&text, 599), Some(attempt));
            assert!(open(&text, -60).is_some() && open(&text, 600).is_none() && open(&text, -61).is_none());
            assert_eq!(SignInAttempt::open(text.as_bytes(), &other, at(0)), None);
            for place in 0..text.len() {
                let mut changed = text.clone().into_bytes();
                changed[place] ^= 1;
                assert_eq!(SignInAttempt::open(&changed, &secret, at(0)), None, "byte {place}");
            }
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)), "{text}");
        }
    }

    #[test]
    fn the_secrets_of_an_attempt_are_not_in_its_text_and_are_no_others() {
        let secret = SessionSecret::random();
        let attempt = SignInAttempt::begin(None, at(0));
        let AttemptSecrets { state, nonce, verifier } = attempt.secrets(&secret);
        let text = attempt.seal(&secret);
        for one in [&state, &nonce, &verifier] {
            assert!(one.len() == 43 && !text.contains(one.as_str()), "{text}");
        }
        assert!(state != nonce && nonce != verifier && verifier != state);
        assert!(attempt.secrets(&secret) == AttemptSecrets { state, nonce, verifier });
        assert!(SignInAttempt::begin(None, at(0)).secrets(&secret) != attempt.secrets(&secret));
        assert!(attempt.secrets(&SessionSecret::random()) != attempt.secrets(&secret));
    }
}
