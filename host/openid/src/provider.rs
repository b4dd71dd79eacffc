//! One issuer: what it says of itself, its keys, and the two steps of a sign-in.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use form_urlencoded::{Serializer, byte_serialize};
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore};
use wasmill_model::{Clock, TimeDelta, Timestamp};

use crate::algorithm::Algorithm;
use crate::answer::Answer;
use crate::attempt::Attempt;
use crate::claims::{Claims, Expected, Person, UserClaim};
use crate::discovery::Discovery;
use crate::error::{SignInError, quote, unavailable};
use crate::fetch::{Fetch, FetchFn, Fetched};
use crate::jwks::Keys;
use crate::token::Token;

/// How long what the issuer has said counts.
const KEPT: TimeDelta = TimeDelta::hours(1);

/// How soon keys are fetched anew for a token by an unknown one.
const KEYS_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// How long an issuer that did not answer is left alone.
const PAUSE: TimeDelta = TimeDelta::seconds(3);

/// Codes that are exchanged at once; a stranger can make up codes.
const EXCHANGES_MAX: usize = 16;

/// How long one waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// An issuer, and this server as its client.
pub struct ProviderConfig {
    /// The URL that names the issuer, to the letter.
    pub issuer: String,
    /// The name of this server at the issuer.
    pub client_id: String,
    /// The secret of this server at the issuer, unless it has none.
    pub client_secret: Option<String>,
    /// Where the issuer sends browsers back to.
    pub redirect_uri: String,
    /// Scopes to ask for besides `openid`.
    pub scopes: Vec<String>,
    /// How tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// The claim that names the user.
    pub user: UserClaim,
    /// The claim that names the groups of the user.
    pub groups: Option<String>,
}

/// An issuer that people sign in at.
pub struct Provider {
    config: ProviderConfig,
    fetch: FetchFn,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    exchanges: Semaphore,
}

/// What the issuer has said, each with its time.
#[derive(Default)]
struct Known {
    discovery: Option<(Timestamp, Discovery)>,
    keys: Option<(Timestamp, Keys)>,
    failed_at: Option<Timestamp>,
}

/// The answer of the token endpoint.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

#[derive(Deserialize)]
struct TokenError {
    error: String,
}

impl Provider {
    /// Describes an issuer; asks it nothing.
    pub fn new(config: ProviderConfig, fetch: FetchFn, clock: Arc<dyn Clock>) -> Self {
        Self { config, fetch, clock, known: Mutex::default(), exchanges: Semaphore::new(EXCHANGES_MAX) }
    }

    /// Returns where to send a browser.
    ///
    /// # Errors
    ///
    /// Fails if the issuer does not say where.
    pub async fn authorization_url(&self, attempt: &Attempt) -> Result<String, SignInError> {
        let endpoint = self.discovery().await?.authorization_endpoint;
        let scopes = std::iter::once("openid").chain(self.config.scopes.iter().map(String::as_str));
        let query = Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", &self.config.redirect_uri)
            .append_pair("scope", &scopes.collect::<Vec<_>>().join(" "))
            .append_pair("state", &attempt.state)
            .append_pair("nonce", &attempt.nonce)
            .append_pair("code_challenge", &attempt.challenge())
            .append_pair("code_challenge_method", "S256")
            .finish();
        let separator = if endpoint.contains('?') { '&' } else { '?' };
        Ok(format!("{endpoint}{separator}{query}"))
    }

    /// Finds out who has signed in, from the query that a browser brings back.
    ///
    /// # Errors
    ///
    /// Fails unless it is the answer of the issuer to this attempt, and its token counts.
    pub async fn finish(&self, attempt: &Attempt, query: &str) -> Result<Person, SignInError> {
        let discovery = self.discovery().await?;
        let needs_iss = discovery.authorization_response_iss_parameter_supported;
        let code = Answer::read(query).check(attempt, &self.config.issuer, needs_iss)?;
        let turn = tokio::time::timeout(TURN_TIMEOUT, self.exchanges.acquire()).await;
        let _turn = turn.map_err(|_| unavailable("too many people sign in at once"))?;
        let text = self.exchange(&discovery, attempt, &code).await?;
        let claims = self.verify(&Token::read(&text, &self.config.algorithms)?, &discovery).await?;
        let ProviderConfig { issuer, client_id, user, groups, .. } = &self.config;
        let expected = Expected { issuer, client_id, user: *user, groups: groups.as_deref() };
        claims.check(expected, attempt, self.clock.now())
    }

    /// Returns the request that exchanges a code.
    fn code_request(&self, discovery: &Discovery, attempt: &Attempt, code: &str) -> Fetch {
        let ProviderConfig { client_id, client_secret, redirect_uri, .. } = &self.config;
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("code_verifier", &attempt.verifier);
        let mut authorization = None;
        match client_secret {
            Some(secret) if !discovery.takes_secret_in_form() => {
                // Encoded before they are joined (RFC 6749, section 2.3.1).
                let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encoded(client_id), encoded(secret));
                authorization = Some(format!("Basic {}", BASE64.encode(pair.as_bytes())));
            }
            secret => {
                form.append_pair("client_id", client_id);
                if let Some(secret) = secret {
                    form.append_pair("client_secret", secret);
                }
            }
        }
        Fetch { url: discovery.token_endpoint.clone(), form: Some(form.finish()), authorization }
    }

    /// Exchanges a code for an ID token.
    async fn exchange(
        &self,
        discovery: &Discovery,
        attempt: &Attempt,
        code: &str,
    ) -> Result<String, SignInError> {
        let request = self.code_request(discovery, attempt, code);
        let Fetched { status, body } = (self.fetch)(request).await.map_err(unavailable)?;
        match status {
            200 => serde_json::from_slice::<Tokens>(&body)
                .map(|tokens| tokens.id_token)
                .map_err(|error| unavailable(format!("the token endpoint: {error}"))),
            400..=499 => {
                let said = serde_json::from_slice::<TokenError>(&body).map(|said| quote(&said.error));
                let said = said.unwrap_or_else(|_| format!("status {status}"));
                Err(SignInError::Refused(format!("the code: {said}")))
            }
            _ => Err(unavailable(format!("the token endpoint: status {status}"))),
        }
    }

    /// Returns the claims of a token that the issuer has signed. Keys that change are fetched anew.
    async fn verify(&self, token: &Token<'_>, discovery: &Discovery) -> Result<Claims, SignInError> {
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        if let Some((fetched_at, keys)) = &known.keys
            && !is_over(*fetched_at, KEPT, now)
        {
            let verified = token.verify(keys);
            if let Some(verified) = verified {
                return verified;
            }
            if !is_over(*fetched_at, KEYS_INTERVAL, now) {
                return Err(unknown_key());
            }
        }
        let keys = Keys::fetch(&self.fetch, &discovery.jwks_uri).await?;
        let verified = token.verify(&keys);
        known.keys = Some((now, keys));
        verified.unwrap_or_else(|| Err(unknown_key()))
    }

    /// Returns what the issuer says of itself: fetched an hour ago at most, unless it does not answer now.
    async fn discovery(&self) -> Result<Discovery, SignInError> {
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        if let Some((fetched_at, discovery)) = &known.discovery
            && !is_over(*fetched_at, KEPT, now)
        {
            return Ok(discovery.clone());
        }
        if known.failed_at.is_some_and(|failed_at| !is_over(failed_at, PAUSE, now)) {
            return match &known.discovery {
                Some((_, discovery)) => Ok(discovery.clone()),
                None => Err(unavailable("it did not answer a moment ago")),
            };
        }
        match Discovery::fetch(&self.fetch, &self.config.issuer).await {
            Ok(discovery) => {
                known.discovery = Some((now, discovery.clone()));
                Ok(discovery)
            }
            Err(error) => {
                // By now: those who waited for this one need not try again.
                known.failed_at = Some(self.clock.now());
                match &known.discovery {
                    Some((_, discovery)) => {
                        tracing::warn!(%error, "failed to read what the issuer of OpenID Connect says; the last stays in force");
                        Ok(discovery.clone())
                    }
                    None => Err(error),
                }
            }
        }
    }
}

fn unknown_key() -> SignInError {
    SignInError::Invalid("the issuer has published no key that could have signed the token".to_owned())
}

/// Returns true if a span from a time on is over; a clock that was set back ends it, too.
fn is_over(since: Timestamp, span: TimeDelta, now: Timestamp) -> bool {
    now < since || now - since >= span
}

#[cfg(test)]
mod tests;
