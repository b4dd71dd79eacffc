//! An ID token: three parts with dots between them (RFC 7515, compact serialization).

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::claims::Claims;
use crate::error::{SignInError, invalid, quote};
use crate::jwks::Keys;

/// Maximum size of a token.
const BYTES_MAX: usize = 64 << 10;

/// A token that nobody has verified yet.
pub(crate) struct Token<'a> {
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that a reader has to understand; there are none here.
    crit: Option<Value>,
}

impl<'a> Token<'a> {
    /// Reads the parts; the algorithm must be one that the settings allow.
    pub(crate) fn read(text: &'a str, allowed: &[Algorithm]) -> Result<Self, SignInError> {
        let not_a_token = || invalid("the ID token is not three parts of base64url");
        if text.len() > BYTES_MAX {
            return Err(invalid("the ID token is too large"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or_else(not_a_token)?;
        let (header, claims) = signed.split_once('.').ok_or_else(not_a_token)?;
        let Header { alg, kid, crit } = part(header)?;
        let algorithm = allowed.iter().copied().find(|allowed| allowed.as_str() == alg);
        let algorithm = algorithm.ok_or_else(|| {
            invalid(format!("the token is signed by '{}', which is not allowed", quote(&alg)))
        })?;
        if crit.is_some() {
            return Err(invalid("the token has critical extensions"));
        }
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| not_a_token())?;
        Ok(Self { signed, claims, signature, algorithm, kid })
    }

    /// Returns the claims if one of the keys has signed them; `None` if there is no such key.
    pub(crate) fn verify(&self, keys: &Keys) -> Option<Result<Claims, SignInError>> {
        let Self { algorithm, kid, signed, .. } = self;
        let is_right = keys.verify(*algorithm, kid.as_deref(), signed.as_bytes(), &self.signature)?;
        Some(if is_right { part(self.claims) } else { Err(invalid("the signature of the token is wrong")) })
    }
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, SignInError> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
    let bytes = bytes.map_err(|_| invalid("the ID token is not three parts of base64url"))?;
    serde_json::from_slice(&bytes).map_err(|error| invalid(format!("the ID token: {error}")))
}
