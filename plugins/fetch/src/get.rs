//! One GET through wasi:http. The host checks each request against `allow.http` of the manifest.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Fields, IncomingBody, IncomingResponse, OutgoingRequest, Scheme};
use wasip2::io::streams::StreamError;

use crate::journey::{Page, header_text, plain_text};
use crate::url::Url;

/// Bytes of a body read at once.
const READ_BYTES: u64 = 64 << 10;

/// Why a request failed.
#[derive(Debug)]
pub enum GetError {
    /// The manifest does not permit it.
    Denied,
    /// The server could not be reached, or its response was incomplete.
    Unreachable(String),
}

impl From<ErrorCode> for GetError {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => Self::Denied,
            ErrorCode::DestinationNotFound | ErrorCode::DnsError(_) => {
                Self::Unreachable("its name was not found, or leads to no public address".to_owned())
            }
            ErrorCode::ConnectionRefused => Self::Unreachable("connection refused".to_owned()),
            other => Self::Unreachable(format!("{other:?}")),
        }
    }
}

/// Fetches a URL; keeps the first `text_bytes` of the body and counts the rest.
///
/// # Errors
///
/// Fails if there is no complete response; any status counts as one.
pub fn get(url: &Url, text_bytes: usize) -> Result<Page, GetError> {
    let coming = outgoing_handler::handle(request(url)?, None)?;
    // The guest waits here, and the host may stop it at any moment.
    coming.subscribe().block();
    let response = coming.get().expect("it was waited for").expect("it is taken once")?;
    let header = |name: &str| response.headers().get(name).first().map(|value| header_text(value));
    let (location, content_type) = (header("location"), header("content-type"));
    let (bytes, text) = read(&response, text_bytes)?;
    Ok(Page { url: url.to_string(), status: response.status(), location, content_type, bytes, text })
}

fn request(url: &Url) -> Result<OutgoingRequest, GetError> {
    let headers = Fields::from_list(&[("user-agent".to_owned(), b"wasmill-fetch".to_vec())]);
    let request = OutgoingRequest::new(headers.expect("the header is a valid one"));
    let scheme = if url.secure { Scheme::Https } else { Scheme::Http };
    let wrong = |()| GetError::Unreachable("the host refuses such a URL".to_owned());
    request.set_scheme(Some(&scheme)).map_err(wrong)?;
    request.set_authority(Some(&url.authority)).map_err(wrong)?;
    request.set_path_with_query(Some(&url.path_with_query)).map_err(wrong)?;
    Ok(request)
}

fn read(response: &IncomingResponse, text_bytes: usize) -> Result<(u64, String), GetError> {
    let body: IncomingBody = response.consume().expect("it is taken once");
    let stream = body.stream().expect("it is taken once");
    let (mut bytes, mut text) = (0, Vec::new());
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(more) => {
                bytes += more.len() as u64;
                let room = text_bytes - text.len();
                text.extend_from_slice(&more[..more.len().min(room)]);
            }
            Err(StreamError::Closed) => return Ok((bytes, plain_text(&text))),
            Err(error) => return Err(GetError::Unreachable(error.to_string())),
        }
    }
}
