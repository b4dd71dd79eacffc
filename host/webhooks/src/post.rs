//! Sends one delivery attempt over HTTP.
//!
//! It uses the same guarded connector as the requests of guests, and of the response only the status and
//! `Retry-After`.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use tokio::time::{Instant, timeout};
use wasmill_egress::{
    AllowedDestination, ConnectError, Connector, Endpoint, RequestError, Route, USER_AGENT,
};

/// How much of a response body is read and discarded, and for how long. A receiver that is cut off while it
/// writes may log a failure.
const BODY_BYTES_MAX: usize = 4 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Response of a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReceiverResponse {
    pub(crate) status: StatusCode,
    /// The time until it arrived.
    pub(crate) time: Duration,
    /// Its `Retry-After`.
    pub(crate) retry_after: Option<String>,
}

/// Sends a JSON body to a receiver, which has to respond in time.
///
/// # Errors
///
/// Fails with a description if there is no response.
pub(crate) async fn post(
    connector: &Connector,
    allowed: &[AllowedDestination],
    url: &str,
    headers: HeaderMap,
    body: Bytes,
    response_timeout: Duration,
) -> Result<ReceiverResponse, String> {
    let uri: Uri = url.parse().map_err(|error| format!("the URL is not valid: {error}"))?;
    let endpoint = Endpoint::of(&uri).ok_or("the URL has no host")?;
    let mut request = Request::post(uri).body(Full::new(body)).map_err(|error| error.to_string())?;
    let all = request.headers_mut();
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    all.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    all.extend(headers);
    let route = Route {
        endpoint: &endpoint,
        is_allowed: &|address| allowed.iter().any(|allowed| allowed.allows(&endpoint.host, address)),
        connect_timeout: response_timeout,
        head_timeout: response_timeout,
        meter: None,
        finish_headers: None,
    };
    let start = Instant::now();
    let no_response = || format!("no response within {}", humantime::format_duration(response_timeout));
    let sent = timeout(response_timeout, connector.send(route, request)).await.map_err(|_| no_response())?;
    let (response, _driver) = sent.map_err(|error| match error {
        RequestError::Connect(why) => connect_error(&endpoint, &why),
        RequestError::ConnectTimeout(_) | RequestError::HeadTimeout(_) => no_response(),
        RequestError::Http(why) => format!("no response: {why}"),
    })?;
    let time = start.elapsed();
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = response.status();
    // Only the head matters; a slow body is not an error.
    let _ = timeout(BODY_TIMEOUT, Limited::new(response.into_body(), BODY_BYTES_MAX).collect()).await;
    Ok(ReceiverResponse { status, time, retry_after })
}

/// Describes a failed connection for the submitter, without internal names; the log has the details.
fn connect_error(endpoint: &Endpoint, why: &ConnectError) -> String {
    tracing::info!(origin = endpoint.origin(), %why, "webhook connection failed");
    match why {
        ConnectError::Prohibited(_) if endpoint.host.parse::<IpAddr>().is_ok() => {
            format!("{} is not a public address; the setting webhook_allow can allow it", endpoint.host)
        }
        ConnectError::NotFound(_) | ConnectError::NoAddress | ConnectError::Prohibited(_) => format!(
            "{}; the setting webhook_allow can allow other destinations, and the server's log has details",
            why.redacted()
        ),
        ConnectError::Busy { .. }
        | ConnectError::Refused(_)
        | ConnectError::InvalidName
        | ConnectError::Tls(_) => why.redacted(),
    }
}
