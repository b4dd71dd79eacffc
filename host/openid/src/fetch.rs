//! The one way out: a function that sends a request to the issuer.

use serde::de::DeserializeOwned;
use wasmill_model::BoxFuture;

use crate::error::{SignInError, unavailable};

/// A request.
#[derive(Clone)]
pub struct Fetch {
    /// Where to.
    pub url: String,
    /// The form to post (`application/x-www-form-urlencoded`); `None` for a GET.
    pub form: Option<String>,
    /// The value of the header `Authorization`.
    pub authorization: Option<String>,
}

/// A response, with any status.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// The whole body, which the function bounds.
    pub body: Vec<u8>,
}

/// Sends a request and returns the response, or why there is none. It follows no redirects, and ends within seconds.
pub type FetchFn = Box<dyn Fn(Fetch) -> BoxFuture<'static, Result<Fetched, String>> + Send + Sync>;

/// GETs a document.
pub(crate) async fn get<T: DeserializeOwned>(fetch: &FetchFn, url: &str) -> Result<T, SignInError> {
    let request = Fetch { url: url.to_owned(), form: None, authorization: None };
    let Fetched { status, body } =
        fetch(request).await.map_err(|why| unavailable(format!("{url}: {why}")))?;
    if status != 200 {
        return Err(unavailable(format!("{url}: status {status}")));
    }
    serde_json::from_slice(&body).map_err(|error| unavailable(format!("{url}: {error}")))
}
