//! The keys that an issuer signs with (RFC 7517), and the check of a signature.

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

use crate::algorithm::{Algorithm, Verifier};
use crate::error::SignInError;
use crate::fetch::{FetchFn, get};

/// Maximum keys that are looked at.
const KEYS_MAX: usize = 100;

#[derive(Deserialize)]
struct Document {
    /// A key of a kind that nobody here knows must not spoil the others.
    keys: Vec<Value>,
}

/// The keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys(Vec<Jwk>);

/// One key.
#[derive(Clone, Debug, Default, Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    use_for: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// Fetches the keys of an issuer.
    pub(crate) async fn fetch(fetch: &FetchFn, url: &str) -> Result<Self, SignInError> {
        let Document { keys } = get(fetch, url).await?;
        let read = |key| serde_json::from_value(key).ok();
        Ok(Self(keys.into_iter().take(KEYS_MAX).filter_map(read).collect()))
    }

    /// Returns true if a signature by one of the keys is right; `None` if there is no key that could have made it.
    ///
    /// A key makes the signatures of its own kind only, whatever a token says.
    pub(crate) fn verify(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let mut fitting =
            self.0.iter().filter(|key| key.fits(algorithm) && (kid.is_none() || key.kid.as_deref() == kid));
        let key = fitting.next()?;
        // Without a name, it has to be clear whose signature it is.
        if fitting.next().is_some() {
            return Some(false);
        }
        Some(key.verifies(algorithm, message, signature).unwrap_or(false))
    }
}

impl Jwk {
    fn fits(&self, algorithm: Algorithm) -> bool {
        self.kty == algorithm.verifier().0
            && self.use_for.as_deref().is_none_or(|used| used == "sig")
            && self.alg.as_deref().is_none_or(|own| own == algorithm.as_str())
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Option<bool> {
        let is_right = match algorithm.verifier().1 {
            Verifier::Rsa(parameters) => {
                let (n, e) = (number(self.n.as_deref()?)?, number(self.e.as_deref()?)?);
                RsaPublicKeyComponents { n: &n, e: &e }.verify(parameters, message, signature).is_ok()
            }
            Verifier::Curve(curve, verifier) => {
                if self.crv.as_deref() != Some(curve) {
                    return None;
                }
                let mut point = Vec::new();
                match &self.y {
                    // An uncompressed point (SEC 1, section 2.3.3).
                    Some(y) => {
                        point.push(4);
                        point.extend(bytes(self.x.as_deref()?)?);
                        point.extend(bytes(y)?);
                    }
                    None => point.extend(bytes(self.x.as_deref()?)?),
                }
                UnparsedPublicKey::new(verifier, point).verify(message, signature).is_ok()
            }
        };
        Some(is_right)
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

/// Decodes a number; some issuers put zeros before it.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = bytes(text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(bytes[zeros..].to_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Reads a key set.
    #[expect(clippy::needless_pass_by_value, reason = "tests pass literals")]
    fn keys(keys: Value) -> Keys {
        let Document { keys } = serde_json::from_value(json!({ "keys": keys })).unwrap();
        Keys(keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
    }

    /// Verifies a token of the specifications.
    fn verify(keys: &Keys, algorithm: Algorithm, token: &str) -> Option<bool> {
        let (message, signature) = token.rsplit_once('.').unwrap();
        keys.verify(algorithm, None, message.as_bytes(), &bytes(signature).unwrap())
    }

    // RFC 7515, appendix A.2.
    const RS256: &str = concat!(
        "eyJhbGciOiJSUzI1NiJ9.",
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7",
        "t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12",
        "jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUP",
        "QGe77Rw",
    );

    fn rsa() -> Value {
        json!({
            "kty": "RSA",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ\
                  S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2\
                  R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAc\
                  DTW9gb54h4FRWyuXpoQ",
            "e": "AQAB",
        })
    }

    // RFC 7515, appendix A.3.
    const ES256: &str = concat!(
        "eyJhbGciOiJFUzI1NiJ9.",
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );

    fn p256() -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        })
    }

    // RFC 8037, appendix A.4.
    const EDDSA: &str = concat!(
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    );

    fn ed25519() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    #[test]
    fn the_signatures_of_the_specifications_are_right_and_others_are_not() {
        for (algorithm, token, key) in [
            (Algorithm::Rs256, RS256, rsa()),
            (Algorithm::Es256, ES256, p256()),
            (Algorithm::EdDsa, EDDSA, ed25519()),
        ] {
            let keys = keys(json!([key]));
            assert_eq!(verify(&keys, algorithm, token), Some(true), "{algorithm:?}");
            assert_eq!(
                verify(&keys, algorithm, &token.replacen("eyJ", "eyK", 1)),
                Some(false),
                "{algorithm:?}"
            );
            let (message, _) = token.rsplit_once('.').unwrap();
            assert_eq!(verify(&keys, algorithm, &format!("{message}.AAAA")), Some(false), "{algorithm:?}");
            for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
                assert_ne!(verify(&keys, other, token), Some(true), "{algorithm:?} as {other:?}");
            }
        }
    }

    #[test]
    fn a_key_is_used_for_what_it_says_and_found_by_its_name() {
        let with = |name: &str, value: &str| {
            let mut key = rsa();
            key[name] = value.into();
            key
        };
        let verified = |set: Value, kid: Option<&str>| {
            let (message, signature) = RS256.rsplit_once('.').unwrap();
            keys(set).verify(Algorithm::Rs256, kid, message.as_bytes(), &bytes(signature).unwrap())
        };
        assert_eq!(verified(json!([with("use", "enc")]), None), None);
        assert_eq!(verified(json!([with("alg", "RS512")]), None), None);
        assert_eq!(
            verified(json!([with("use", "sig"), p256(), {"kty": "oct", "k": "x"}, 7]), None),
            Some(true)
        );
        assert_eq!(verified(json!([with("kid", "a")]), Some("b")), None, "not the one that is named");
        assert_eq!(verified(json!([with("kid", "a"), with("kid", "b")]), Some("b")), Some(true));
        assert_eq!(verified(json!([with("kid", "a"), with("kid", "b")]), None), Some(false), "whose is it?");
        assert_eq!(verified(json!([]), None), None);
        assert_eq!(verified(json!([with("n", "AA")]), None), Some(false), "a weak key");
    }
}
