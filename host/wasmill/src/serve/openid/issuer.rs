//! The issuer of the settings: its requests, its secret, and what it says of a person.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result, anyhow, ensure};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use wasmill_access::{Access, AttemptSecrets, NamedPerson, Realm};
use wasmill_api::{IdentityError, IdentityProvider};
use wasmill_egress::{self as egress, BaseUrl, ConnectionQuota, Connector, Endpoint, Route};
use wasmill_model::{BoxFuture, Clock, without_bom};
use wasmill_openid::{
    Algorithm, Attempt, Fetch, FetchFn, Fetched, Person, Provider, ProviderConfig, SignInError, UserClaim,
};
use wasmill_runtime::{connector, read_text};

use crate::exit;
use crate::settings::{self, Settings, SigningAlgorithm};

/// Time limits of a request to the issuer: to connect, to the head of the response, and in all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const HEAD_TIMEOUT: Duration = Duration::from_secs(8);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a response.
const RESPONSE_BYTES_MAX: usize = 1 << 20;

/// Maximum size of the file with the secret.
const SECRET_BYTES_MAX: u64 = 4 << 10;

/// The issuer.
struct Issuer {
    name: String,
    provider: Provider,
}

pub(super) fn start(
    settings: &Settings,
    access: &Access,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn IdentityProvider>> {
    let openid = &settings.openid;
    let issuer = openid.openid_issuer.clone().unwrap_or_default();
    let client_id = openid.openid_client_id.clone().unwrap_or_default();
    access.set_realm(Realm::new(&issuer, &client_id));
    let connector = connector(settings.http_roots.as_deref(), ConnectionQuota::Own)
        .map_err(|reason| anyhow!("failed to read the certificates of http_roots: {reason}"))?;
    let base: BaseUrl = issuer.parse().map_err(Error::msg)?;
    let (redirect_uri, is_email) = (openid.redirect_uri(), openid.openid_user == settings::UserClaim::Email);
    let mut scopes = openid.openid_scopes.clone();
    if scopes.is_empty() && is_email {
        scopes.push("email".to_owned());
    }
    tracing::info!(
        issuer,
        redirect_uri,
        "people sign in with OpenID Connect; the issuer has to allow this redirect"
    );
    let config = ProviderConfig {
        issuer,
        client_id,
        client_secret: secret(settings)?,
        redirect_uri,
        scopes,
        algorithms: openid.openid_algorithms.iter().map(|algorithm| (*algorithm).into()).collect(),
        user: if is_email { UserClaim::Email } else { UserClaim::Sub },
        groups: openid.openid_groups.clone(),
    };
    let provider = Provider::new(config, fetch_fn(connector, base.endpoint.host), Arc::clone(clock));
    Ok(Arc::new(Issuer { name: openid.openid_name.clone(), provider }))
}

/// Reads the secret of this server at the issuer. It has no flag, because command lines are visible in process lists.
fn secret(settings: &Settings) -> Result<Option<String>> {
    let Some(path) = &settings.openid.openid_client_secret_file else { return Ok(None) };
    let shown = format!("openid_client_secret_file {}", path.display());
    let text = read_text(path, SECRET_BYTES_MAX).map_err(|error| exit::read_error(&shown, &error))?;
    let text = without_bom(&text).trim();
    ensure!(!text.is_empty(), "{shown} is empty");
    Ok(Some(text.to_owned()))
}

impl IdentityProvider for Issuer {
    fn name(&self) -> &str {
        &self.name
    }

    fn begin(&self, secrets: AttemptSecrets) -> BoxFuture<'_, Result<String, IdentityError>> {
        Box::pin(async move {
            self.provider.authorization_url(&attempt(secrets)).await.map_err(|error| identity_error(&error))
        })
    }

    fn finish<'a>(
        &'a self,
        secrets: AttemptSecrets,
        query: &'a str,
    ) -> BoxFuture<'a, Result<NamedPerson, IdentityError>> {
        Box::pin(async move {
            let signed_in = self.provider.finish(&attempt(secrets), query).await;
            let Person { user, groups } = signed_in.map_err(|error| identity_error(&error))?;
            Ok(NamedPerson { user, groups })
        })
    }
}

fn attempt(secrets: AttemptSecrets) -> Attempt {
    let AttemptSecrets { state, nonce, verifier } = secrets;
    Attempt { state, nonce, verifier }
}

fn identity_error(error: &SignInError) -> IdentityError {
    match error {
        SignInError::Unavailable(_) => IdentityError::Unavailable(error.to_string()),
        SignInError::Refused(_) | SignInError::Invalid(_) => IdentityError::Refused(error.to_string()),
    }
}

impl From<SigningAlgorithm> for Algorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::Rs256 => Self::Rs256,
            SigningAlgorithm::Rs384 => Self::Rs384,
            SigningAlgorithm::Rs512 => Self::Rs512,
            SigningAlgorithm::Ps256 => Self::Ps256,
            SigningAlgorithm::Es256 => Self::Es256,
            SigningAlgorithm::Es384 => Self::Es384,
            SigningAlgorithm::EdDsa => Self::EdDsa,
        }
    }
}

/// Returns what sends requests to the issuer. Its own host may be inside the network, since the settings name it; what it
/// says leads to public addresses only.
fn fetch_fn(connector: Connector, host: String) -> FetchFn {
    let shared = Arc::new((connector, host));
    Box::new(move |request| {
        let shared = Arc::clone(&shared);
        Box::pin(async move {
            let (connector, host) = &*shared;
            let fetched = tokio::time::timeout(TIMEOUT, fetch(connector, host, request)).await;
            fetched.unwrap_or_else(|_| Err(format!("no response within {TIMEOUT:?}")))
        })
    })
}

async fn fetch(connector: &Connector, issuer: &str, request: Fetch) -> Result<Fetched, String> {
    let Fetch { url, form, authorization } = request;
    let uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
    let endpoint = Endpoint::of(&uri).ok_or("its URL has no plain host and port")?;
    let method = if form.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder().method(method).uri(uri);
    request = request.header(USER_AGENT, egress::USER_AGENT).header(ACCEPT, "application/json");
    if form.is_some() {
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    if let Some(authorization) = authorization {
        let mut value = HeaderValue::try_from(authorization).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let body = Full::new(Bytes::from(form.unwrap_or_default()));
    let request = request.body(body).map_err(|error| error.to_string())?;
    let is_own = endpoint.host == issuer;
    let route = Route {
        endpoint: &endpoint,
        is_allowed: &|_| is_own,
        connect_timeout: CONNECT_TIMEOUT,
        head_timeout: HEAD_TIMEOUT,
        meter: None,
        finish_headers: None,
    };
    let (response, _driver) = connector.send(route, request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await;
    let body = body.map_err(|error| format!("the response broke off: {error}"))?;
    Ok(Fetched { status, body: body.to_bytes().to_vec() })
}
