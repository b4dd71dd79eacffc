//! One try: connects, sends the request, and reads how it is answered.
//!
//! It goes through the same door to the outside as the requests of guests. It follows no redirect, keeps no
//! connection, and believes nothing but the status and `Retry-After`. Whoever calls it bounds its time.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use wasmill_egress::{AllowedDestination, ConnectError, Connector, Endpoint};

/// Bytes of the largest head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Bytes of the body of an answer that are read, and how long that may take: nobody wants to know them, but a
/// receiver that is cut off while it writes may take that for a failure.
const BODY_BYTES_MAX: usize = 4 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// How a receiver answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    /// What it said of when to come again.
    pub(super) retry_after: Option<String>,
}

/// Sends this to a receiver, with JSON in its body.
///
/// # Errors
///
/// Says why there is no answer.
pub(super) async fn post(
    connector: &Connector,
    allowed: &[AllowedDestination],
    url: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Answered, String> {
    let uri: Uri = url.parse().map_err(|error| format!("the URL is not valid: {error}"))?;
    let endpoint = Endpoint::of(&uri).ok_or("the URL names no host")?;
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

/// Says to a submitter why there is no connection, and the whole of it to the log.
fn connect_error(endpoint: &Endpoint, why: &ConnectError) -> String {
    tracing::info!(origin = endpoint.origin(), %why, "a webhook found no connection");
    match why {
        ConnectError::Prohibited(_) if endpoint.host.parse::<IpAddr>().is_ok() => {
            format!("{} is no public address; the setting webhook_allow permits others", endpoint.host)
        }
        ConnectError::NotFound(_) | ConnectError::NoAddress | ConnectError::Prohibited(_) => format!(
            "{}; the setting webhook_allow permits others, and the log of the server says more",
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
) -> Result<Answered, String> {
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) =
        http.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // Dropping this ends the connection, however the try ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
    let retry_after = answer.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let answered = Answered { status: answer.status(), retry_after };
    // The head has said it all; a body that comes too slowly changes nothing.
    let _ = tokio::time::timeout(BODY_TIMEOUT, read_some(answer)).await;
    Ok(answered)
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
