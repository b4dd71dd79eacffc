//! Sign-ins at an issuer in memory, which signs with real keys.

use std::sync::Mutex as StdMutex;
use std::sync::PoisonError;

use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use wasmill_model::BoxFuture;

use super::*;

const ISSUER: &str = "https://id.example.org";
const START: i64 = 1_800_000_000;

struct TestClock(StdMutex<i64>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_timestamp(*self.0.lock().unwrap(), 0).unwrap()
    }
}

impl TestClock {
    fn pass(&self, seconds: i64) {
        *self.0.lock().unwrap() += seconds;
    }
}

/// An issuer: its key, and what it answers next.
struct Issuer {
    kid: String,
    pair: EcdsaKeyPair,
    /// The header and the claims of the next token.
    header: Value,
    claims: Value,
    is_down: bool,
    token_status: u16,
    asked: Vec<Fetch>,
}

fn pair() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap()
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

impl Issuer {
    fn rotate(&mut self, kid: &str) {
        (self.kid, self.pair) = (kid.to_owned(), pair());
        self.header["kid"] = kid.into();
    }

    fn token(&self) -> String {
        let part = |value: &Value| encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&self.header), part(&self.claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature.as_ref()))
    }

    fn answer(&mut self, request: Fetch) -> Result<Fetched, String> {
        let url = request.url.clone();
        self.asked.push(request);
        if self.is_down {
            return Err("connection refused".to_owned());
        }
        let (status, body) = match url.strip_prefix(ISSUER).unwrap_or_default() {
            "/.well-known/openid-configuration" => (
                200,
                json!({
                    "issuer": ISSUER, "authorization_endpoint": format!("{ISSUER}/authorize?tenant=a"),
                    "token_endpoint": format!("{ISSUER}/token"), "jwks_uri": format!("{ISSUER}/keys"),
                }),
            ),
            "/keys" => {
                let point = self.pair.public_key().as_ref();
                let (x, y) = point[1..].split_at(32);
                let key =
                    json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "x": encode(x), "y": encode(y)});
                (200, json!({"keys": [{"kty": "future"}, key]}))
            }
            "/token" if self.token_status != 200 => (self.token_status, json!({"error": "invalid_grant"})),
            "/token" => (200, json!({"access_token": "x", "token_type": "Bearer", "id_token": self.token()})),
            _ => (404, Value::Null),
        };
        Ok(Fetched { status, body: body.to_string().into_bytes() })
    }
}

struct Bench {
    issuer: Arc<StdMutex<Issuer>>,
    clock: Arc<TestClock>,
    provider: Provider,
    attempt: Attempt,
}

fn bench() -> Bench {
    bench_with(|_| {})
}

fn bench_with(change: impl FnOnce(&mut ProviderConfig)) -> Bench {
    let clock = Arc::new(TestClock(StdMutex::new(START)));
    let attempt =
        Attempt { state: "state".to_owned(), nonce: "nonce".to_owned(), verifier: "verifier".to_owned() };
    let claims = json!({
        "iss": ISSUER, "sub": "ada", "aud": "wasmill", "exp": START + 36_000, "iat": START, "nonce": "nonce",
        "roles": ["ops"],
    });
    let issuer = Arc::new(StdMutex::new(Issuer {
        kid: "one".to_owned(),
        pair: pair(),
        header: json!({"alg": "ES256", "kid": "one", "typ": "JWT"}),
        claims,
        is_down: false,
        token_status: 200,
        asked: Vec::new(),
    }));
    let mut config = ProviderConfig {
        issuer: ISSUER.to_owned(),
        client_id: "wasmill".to_owned(),
        client_secret: Some("a:b c".to_owned()),
        redirect_uri: "https://tasks.example.org/ui/login/callback".to_owned(),
        scopes: vec!["groups".to_owned()],
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        user: UserClaim::Sub,
        groups: Some("roles".to_owned()),
    };
    change(&mut config);
    let asked = Arc::clone(&issuer);
    let fetch: FetchFn = Box::new(move |request| {
        let answer = asked.lock().unwrap_or_else(PoisonError::into_inner).answer(request);
        let ready: BoxFuture<'static, _> = Box::pin(std::future::ready(answer));
        ready
    });
    let provider = Provider::new(config, fetch, Arc::clone(&clock) as Arc<dyn Clock>);
    Bench { issuer, clock, provider, attempt }
}

impl Bench {
    async fn finish(&self) -> Result<Person, SignInError> {
        self.provider.finish(&self.attempt, "code=c0de&state=state").await
    }

    /// Changes the issuer, and returns why nobody signs in.
    async fn refused(&self, change: impl FnOnce(&mut Issuer)) -> SignInError {
        change(&mut self.issuer.lock().unwrap());
        self.finish().await.expect_err("nobody signs in")
    }

    fn asked(&self, path: &str) -> Vec<Fetch> {
        let issuer = self.issuer.lock().unwrap();
        issuer.asked.iter().filter(|request| request.url.ends_with(path)).cloned().collect()
    }
}

#[tokio::test]
async fn a_browser_is_sent_away_with_a_challenge_and_a_person_comes_back() {
    let bench = bench();
    let url = bench.provider.authorization_url(&bench.attempt).await.unwrap();
    let query = url.strip_prefix("https://id.example.org/authorize?tenant=a&").expect("the endpoint");
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let expected = [
        ("response_type", "code"),
        ("client_id", "wasmill"),
        ("redirect_uri", "https://tasks.example.org/ui/login/callback"),
        ("scope", "openid groups"),
        ("state", "state"),
        ("nonce", "nonce"),
        ("code_challenge", &bench.attempt.challenge()),
        ("code_challenge_method", "S256"),
    ];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(!url.contains("verifier"), "{url}");
    let person = bench.finish().await.unwrap();
    assert_eq!(person, Person { user: "ada".to_owned(), groups: vec!["ops".to_owned()] });
    let [exchange] = &bench.asked("/token")[..] else { panic!("one exchange") };
    assert_eq!(
        exchange.form.as_deref(),
        Some(
            "grant_type=authorization_code&code=c0de&redirect_uri=https%3A%2F%2Ftasks.example.org%2Fui%2Flogin%2Fcallback&code_verifier=verifier"
        )
    );
    let basic = format!("Basic {}", BASE64.encode(b"wasmill:a%3Ab+c"));
    assert_eq!(exchange.authorization, Some(basic));
    // What the issuer has said is kept.
    bench.finish().await.unwrap();
    assert_eq!((bench.asked("/openid-configuration").len(), bench.asked("/keys").len()), (1, 1));
}

#[tokio::test]
async fn a_client_without_a_secret_names_itself_in_the_form() {
    let bench = bench_with(|config| config.client_secret = None);
    bench.finish().await.unwrap();
    let exchange = &bench.asked("/token")[0];
    assert!(exchange.form.as_deref().is_some_and(|form| form.ends_with("&client_id=wasmill")));
    assert_eq!(exchange.authorization, None);
}

#[tokio::test]
async fn no_token_counts_that_the_issuer_has_not_signed_as_the_settings_say() {
    for (header, why) in [
        (json!({"alg": "none"}), "not allowed"),
        (json!({"alg": "None", "kid": "one"}), "not allowed"),
        (json!({"alg": "HS256", "kid": "one"}), "not allowed"),
        (json!({"alg": "EdDSA", "kid": "one"}), "not allowed"),
        // The key is of another kind.
        (json!({"alg": "RS256", "kid": "one"}), "no key"),
        (json!({"alg": "ES256", "kid": "one", "crit": ["b64"], "b64": false}), "critical"),
        (json!({"kid": "one"}), "alg"),
    ] {
        let refused = bench().refused(|issuer| issuer.header = header.clone()).await.to_string();
        assert!(refused.contains(why), "{header}: {refused}");
    }
    // Signed by somebody else, under the name of the key.
    let bench = bench();
    bench.finish().await.unwrap();
    let refused = bench.refused(|issuer| issuer.pair = pair()).await;
    assert_eq!(refused, SignInError::Invalid("the signature of the token is wrong".to_owned()));
    for token in ["", "a.b", "a.b.c", "e30.e30.", "..", "e30.e30.e30.e30"] {
        assert!(matches!(Token::read(token, &Algorithm::ALL), Err(SignInError::Invalid(_))), "{token}");
    }
}

#[tokio::test]
async fn keys_that_change_are_fetched_anew_but_not_for_each_token() {
    let bench = bench();
    bench.finish().await.unwrap();
    bench.issuer.lock().unwrap().rotate("two");
    let refused = bench.finish().await.unwrap_err();
    assert!(refused.to_string().contains("no key"), "{refused}");
    assert_eq!(bench.asked("/keys").len(), 1, "within a minute");
    bench.clock.pass(60);
    bench.finish().await.unwrap();
    assert_eq!(bench.asked("/keys").len(), 2);
    for _ in 0..10 {
        bench.refused(|issuer| issuer.header["kid"] = "nobody's".into()).await;
    }
    assert_eq!(bench.asked("/keys").len(), 2);
    // A key that is gone counts for an hour at most.
    bench.issuer.lock().unwrap().header["kid"] = "two".into();
    bench.clock.pass(3_600);
    bench.issuer.lock().unwrap().claims["iat"] = (START + 3_660).into();
    bench.finish().await.unwrap();
    assert_eq!(bench.asked("/keys").len(), 3);
}

#[tokio::test]
async fn an_issuer_that_is_down_signs_nobody_in_and_is_left_alone_for_a_moment() {
    let bench = bench();
    bench.issuer.lock().unwrap().is_down = true;
    for _ in 0..5 {
        let refused = bench.provider.authorization_url(&bench.attempt).await.unwrap_err();
        assert!(matches!(refused, SignInError::Unavailable(_)), "{refused}");
    }
    assert_eq!(bench.asked("/openid-configuration").len(), 1);
    bench.issuer.lock().unwrap().is_down = false;
    bench.clock.pass(3);
    bench.finish().await.unwrap();
    // What it said is in force while it is down again, and the exchange says that it is.
    bench.issuer.lock().unwrap().is_down = true;
    bench.clock.pass(3_600);
    bench.provider.authorization_url(&bench.attempt).await.unwrap();
    assert!(matches!(bench.finish().await, Err(SignInError::Unavailable(_))));
}

#[tokio::test]
async fn a_code_that_the_issuer_does_not_know_is_refused_and_nothing_is_asked_for_a_foreign_state() {
    let bench = bench();
    let refused = bench.refused(|issuer| issuer.token_status = 400).await;
    assert_eq!(refused, SignInError::Refused("the code: invalid_grant".to_owned()));
    let broken = bench.refused(|issuer| issuer.token_status = 500).await;
    assert!(matches!(broken, SignInError::Unavailable(_)), "{broken}");
    let before = bench.asked("/token").len();
    let foreign = bench.provider.finish(&bench.attempt, "code=c0de&state=other").await;
    assert!(matches!(foreign, Err(SignInError::Invalid(_))));
    assert_eq!(bench.asked("/token").len(), before);
}

#[tokio::test]
async fn each_claim_is_checked_in_a_token_that_is_signed() {
    for (name, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("other")),
        ("nonce", json!("other")),
        ("exp", json!(START - 60)),
        ("iat", json!(START + 61)),
        ("azp", json!("other")),
    ] {
        let refused = bench().refused(|issuer| issuer.claims[name] = value.clone()).await;
        assert!(matches!(refused, SignInError::Invalid(_)), "{name}: {refused}");
    }
}
