//! Sends one delivery attempt over HTTP.
//!
//! It uses the same guarded connector as the requests of guests. It follows no redirects, keeps no connection
//! alive, and uses only the status and `Retry-After` of the response. The caller sets the timeout.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use wasmill_egress::{AllowedDestination, ConnectError, Connector, Endpoint};

/// Maximum size of a response head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// How much of a response body is read and discarded, and for how long. A receiver that is cut off while it
/// writes may log a failure.
const BODY_BYTES_MAX: usize = 4 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Response of a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReceiverResponse {
    pub(crate) status: StatusCode,
    /// Its `Retry-After`.
    pub(crate) retry_after: Option<String>,
}

/// Sends a JSON body to a receiver.
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
) -> Result<ReceiverResponse, String> {
    let uri: Uri = url.parse().map_err(|error| format!("the URL is not valid: {error}"))?;
    let endpoint = Endpoint::of(&uri).ok_or("the URL has no host")?;
    let request = request(&uri, &endpoint, headers, body)?;
    let may_be = |address| allowed.iter().any(|allowed| allowed.allows(&endpoint.host, address));
    let connect_error = |why| connect_error(&endpoint, &why);
    let stream = connector.connect(&endpoint, may_be).await.map_err(connect_error)?;
    if endpoint.tls {
        let stream = connector.encrypt(&endpoint, stream).await.map_err(connect_error)?;
        exchange(stream, request).await
    } else {
        exchange(stream, request).await
    }
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

fn request(
    uri: &Uri,
    endpoint: &Endpoint,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, String> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut request = Request::post(path).body(Full::new(body)).map_err(|error| error.to_string())?;
    let host = HeaderValue::try_from(endpoint.authority()).map_err(|error| error.to_string())?;
    let all = request.headers_mut();
    all.insert(header::HOST, host);
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    all.insert(header::USER_AGENT, HeaderValue::from_static(concat!("wasmill/", env!("CARGO_PKG_VERSION"))));
    all.extend(headers);
    Ok(request)
}

async fn exchange<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<ReceiverResponse, String> {
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) =
        http.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // Dropping the set aborts the connection task.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| format!("no response: {error}"))?;
    let retry_after = answer.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let response = ReceiverResponse { status: answer.status(), retry_after };
    // Only the head matters; a slow body is not an error.
    let _ = tokio::time::timeout(BODY_TIMEOUT, read_some(answer)).await;
    Ok(response)
}

async fn read_some(answer: Response<Incoming>) {
    let mut body = answer.into_body();
    let mut bytes = 0;
    while bytes < BODY_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}
