//! An issuer of OpenID Connect, which signs with a key of its own and says what a test wants it to say.

use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use wasmill_model::{Clock, SystemClock};

use crate::mock_server::{MockServer, ReceivedRequest, Reply};

/// What the issuer does next.
pub struct IssuerState {
    kid: String,
    pair: EcdsaKeyPair,
    /// The header of the next token.
    pub header: Value,
    /// Claims of the next token, in place of the usual ones; `null` leaves one out.
    pub claims: Value,
    /// Answers with 500 to everything.
    pub is_down: bool,
}

/// An issuer that lives as long as the process.
pub struct Issuer {
    server: MockServer,
    state: Arc<Mutex<IssuerState>>,
}

fn pair() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("randomness");
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("a key")
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

impl IssuerState {
    /// Signs with another key from now on.
    pub fn rotate(&mut self, kid: &str) {
        (self.kid, self.pair) = (kid.to_owned(), pair());
        self.header["kid"] = kid.into();
    }

    fn token(&self, issuer: &str) -> String {
        let now = SystemClock.now().timestamp();
        let mut claims = json!({"iss": issuer, "sub": "ada", "aud": "wasmill", "exp": now + 300, "iat": now});
        for (name, value) in self.claims.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        if let Some(claims) = claims.as_object_mut() {
            claims.retain(|_, value| !value.is_null());
        }
        let part = |value: &Value| encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&self.header), part(&claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("randomness");
        format!("{signed}.{}", encode(signature.as_ref()))
    }

    fn answer(&self, request: &ReceivedRequest) -> Reply {
        let issuer = format!("http://{}", request.header("host").unwrap_or_default());
        match request.path.as_str() {
            _ if self.is_down => Reply::Json(500, json!({})),
            "/.well-known/openid-configuration" => {
                let at = |path: &str| format!("{issuer}{path}");
                let document = json!({
                    "issuer": issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
                    "jwks_uri": at("/keys"),
                });
                Reply::Json(200, document)
            }
            "/keys" => {
                let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
                let key =
                    json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "x": encode(x), "y": encode(y)});
                Reply::Json(200, json!({ "keys": [key] }))
            }
            "/token" if request.body.contains("code=made-up") => {
                Reply::Json(400, json!({"error": "invalid_grant"}))
            }
            "/token" => Reply::Json(200, json!({"token_type": "Bearer", "id_token": self.token(&issuer)})),
            _ => Reply::Json(404, json!({})),
        }
    }
}

impl Issuer {
    /// Starts an issuer on loopback.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        let header = json!({"alg": "ES256", "kid": "one", "typ": "JWT"});
        let state =
            IssuerState { kid: "one".to_owned(), pair: pair(), header, claims: json!({}), is_down: false };
        let state = Arc::new(Mutex::new(state));
        let asked = Arc::clone(&state);
        let server = MockServer::start(move |request| {
            asked.lock().unwrap_or_else(PoisonError::into_inner).answer(request)
        });
        Self { server, state }
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Changes what it does next.
    ///
    /// # Panics
    ///
    /// If another change has panicked.
    pub fn change(&self, change: impl FnOnce(&mut IssuerState)) {
        change(&mut self.state.lock().expect("no change has panicked"));
    }

    /// Returns the requests so far to a path.
    pub fn requests(&self, path: &str) -> Vec<ReceivedRequest> {
        self.server.requests().into_iter().filter(|request| request.path == path).collect()
    }
}
