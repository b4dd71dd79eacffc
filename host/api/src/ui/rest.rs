//! Requests of pages to the REST interface, within this process.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Request, header};
use axum::response::Response;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::http::authorize::{Peer, Sender};
use crate::http::signature;
use crate::problem::Problem;
use crate::state::Api;
use crate::ui::cache::PageCache;

/// What a segment of a path has to hide.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// The routes of the interface, with the checks of keys, parameters and bodies.
pub(crate) type RestRouter = TowerToHyperService<Router>;

/// What pages share. An extension of every request.
#[derive(Clone)]
pub(crate) struct Dashboard {
    pub(crate) rest: RestRouter,
    pub(crate) cache: PageCache,
}

impl Dashboard {
    /// Serves pages with the records of this router.
    pub(crate) fn new(rest: Router) -> Self {
        Self { rest: TowerToHyperService::new(rest), cache: PageCache::default() }
    }
}

/// Sends requests as the reader of the page.
#[derive(Clone)]
pub(crate) struct Rest {
    router: RestRouter,
    host: Option<HeaderValue>,
    /// Who reads; `None` if the server asks for no keys.
    sender: Option<Sender>,
    peer: Option<Peer>,
}

impl FromRequestParts<Api> for Rest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let dashboard = parts.extensions.get::<Dashboard>();
        let dashboard = dashboard.ok_or_else(|| Problem::internal_error("a page has no routes to ask"))?;
        Ok(Self {
            router: dashboard.rest.clone(),
            host: parts.headers.get(header::HOST).cloned(),
            sender: parts.extensions.get::<Sender>().cloned(),
            peer: parts.extensions.get::<Peer>().copied(),
        })
    }
}

/// A body with its media type.
pub(crate) struct Sent {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Bytes,
    /// Its signature, for an upload.
    pub(crate) signature: Option<Bytes>,
}

impl Sent {
    /// A JSON body.
    pub(crate) fn json(text: String) -> Self {
        Self { media_type: "application/json", bytes: text.into(), signature: None }
    }
}

impl Rest {
    /// Sends a request.
    ///
    /// # Errors
    ///
    /// Fails with the problem that the operation answers.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        sent: Option<Sent>,
        once: Option<&str>,
    ) -> Result<Response, Problem> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(headers) = request.headers_mut() {
            headers.extend(self.host.clone().map(|host| (header::HOST, host)));
            if let Some(sent) = &sent {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(sent.media_type));
                headers.extend(
                    sent.signature
                        .as_deref()
                        .and_then(signature::header)
                        .map(|(name, value)| (HeaderName::from_static(name), value)),
                );
            }
            if let Some(once) = once.and_then(|once| HeaderValue::try_from(once).ok()) {
                headers.insert("idempotency-key", once);
            }
        }
        let body = sent.map_or_else(Body::empty, |sent| Body::from(sent.bytes));
        let mut request =
            request.body(body).map_err(|_| Problem::internal_error("a page asks for an invalid path"))?;
        let extensions = request.extensions_mut();
        self.peer.map(|peer| extensions.insert(peer));
        self.sender.clone().map(|sender| extensions.insert(sender));
        let Ok(mut response) = self.router.call(request).await;
        if response.status().is_success() {
            return Ok(response);
        }
        let problem = response.extensions_mut().remove::<Problem>();
        Err(problem.unwrap_or_else(|| Problem::internal_error("an operation failed without a problem")))
    }

    /// Sends a request, and returns the body of the response.
    pub(crate) async fn bytes(
        &self,
        method: Method,
        path: &str,
        sent: Option<Sent>,
        once: Option<&str>,
    ) -> Result<Bytes, Problem> {
        collect(self.send(method, path, sent, once).await?).await
    }

    /// Gets a record.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        read(&self.bytes(Method::GET, path, None, None).await?)
    }

    /// Posts without a body, and reads the answer.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        once: Option<&str>,
    ) -> Result<T, Problem> {
        read(&self.bytes(Method::POST, path, None, once).await?)
    }
}

/// Returns the body of a response.
pub(crate) async fn collect(response: Response) -> Result<Bytes, Problem> {
    let bytes = to_bytes(response.into_body(), usize::MAX).await;
    bytes.map_err(|_| Problem::internal_error("a response of this process broke off"))
}

/// Reads a record.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        tracing::error!(%error, "a page cannot read a record");
        Problem::internal()
    })
}

/// Encodes a segment of a path.
pub(crate) fn encoded(segment: &str) -> String {
    utf8_percent_encode(segment, SEGMENT).to_string()
}
