//! Signs deliveries according to Standard Webhooks 1.0: <https://www.standardwebhooks.com>.
//!
//! With the secret, a receiver can verify that a delivery is from this server, unmodified and not replayed.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Optional prefix of a secret.
const PREFIX: &str = "whsec_";

/// Length of a secret in bytes, according to the standard.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The secrets that sign deliveries: none, one, or during a rotation the new and the old one.
#[derive(Clone, Default)]
pub struct SigningSecrets(Vec<Box<[u8]>>);

/// Never prints the secrets.
impl fmt::Debug for SigningSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl FromStr for SigningSecrets {
    type Err = InvalidSecret;

    /// Parses secrets separated by whitespace.
    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let secrets = text.split_whitespace().map(|secret| {
            let secret = secret.strip_prefix(PREFIX).unwrap_or(secret);
            let bytes = BASE64.decode(secret.as_bytes()).map_err(|_| InvalidSecret)?;
            if BYTES.contains(&bytes.len()) { Ok(bytes.into()) } else { Err(InvalidSecret) }
        });
        secrets.collect::<Result<_, _>>().map(Self)
    }
}

/// The text is not a secret. The error omits it, since errors are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a webhook secret must be whsec_ followed by 24 to 64 random bytes in base64; create one with: echo \
     \"whsec_$(head -c 32 /dev/urandom | base64)\""
)]
pub struct InvalidSecret;

impl SigningSecrets {
    /// Returns true if there is no secret.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns a text by which two hosts tell whether they have the same secrets, and nobody the secrets; empty without
    /// any.
    pub fn fingerprint(&self) -> String {
        let signed = self.sign("wasmill", 0, b"fingerprint").unwrap_or_default();
        signed
            .split(' ')
            .map(|signature| signature.trim_start_matches("v1,").get(..8).unwrap_or_default())
            .collect()
    }

    /// Returns the signatures of a delivery, one per secret; `None` without secrets.
    pub(crate) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
        let signatures = self.0.iter().map(|secret| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
        });
        let signatures: Vec<_> = signatures.collect();
        (!signatures.is_empty()).then(|| signatures.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_matches_the_test_vector_of_standard_webhooks() {
        // The test vector of the standard's libraries.
        let secrets: SigningSecrets = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().expect("a secret");
        let body = br#"{"test": 2432232314}"#;
        let signed = secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        assert_eq!((secrets.fingerprint().len(), SigningSecrets::default().fingerprint().len()), (8, 0));
    }

    #[test]
    fn each_secret_adds_a_signature() {
        let two = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx\n";
        let secrets: SigningSecrets = two.parse().expect("secrets");
        let signed = secrets.sign("a", 1, b"").expect("signed");
        let signed: Vec<_> = signed.split(' ').collect();
        assert!(signed.len() == 2 && signed[0] != signed[1], "{signed:?}");
        assert_eq!(SigningSecrets::default().sign("a", 1, b""), None);
        assert_eq!(format!("{secrets:?}"), "2 secrets");
    }

    #[test]
    fn an_invalid_secret_is_refused() {
        let long = BASE64.encode(&[7; 65]);
        for text in ["whsec_", "short", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa==", "not base64 at all!", &long] {
            assert_eq!(text.parse::<SigningSecrets>().err(), Some(InvalidSecret), "{text}");
        }
    }
}
