//! Refuses undocumented parameters and bodies.
//!
//! The OpenAPI document defines the parameters of each operation and whether it has a body; a layer refuses
//! anything else before the endpoint runs. A typo is therefore never ignored, and a new route cannot forget
//! the check.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::body::{self, BodyConfig};
use crate::http::params::Params;
use crate::openapi::{Bounds, Needs, RequestSpec, RequestSpecs};
use crate::problem::Problem;

/// What the layer compares requests with.
#[derive(Clone)]
pub(crate) struct DocumentedRequests {
    pub(crate) specs: Arc<RequestSpecs>,
    pub(crate) body: BodyConfig,
}

/// Layer around every route: refuses parameters and bodies that the operation does not document.
pub(crate) async fn reject_undocumented(
    State(documented): State<DocumentedRequests>,
    mut request: Request,
    next: Next,
) -> Response {
    let spec = documented.request_spec(&request);
    let query = request.uri().query().filter(|_| !spec.takes_any_query);
    match Params::read(query, &spec.params) {
        Ok(params) => request.extensions_mut().insert(params),
        Err(errors) => return Problem::invalid_request(errors).into_response(),
    };
    if spec.has_body {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match body::require_empty_body(&documented.body, &parts, body).await {
        Ok(body) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

impl DocumentedRequests {
    /// Returns what the document allows for the matched operation; nothing for an undocumented one.
    fn request_spec(&self, request: &Request) -> &RequestSpec {
        static NOTHING: RequestSpec = RequestSpec {
            id: "",
            needs: Needs::Nothing,
            bounds: Bounds::Nothing,
            params: Vec::new(),
            has_body: false,
            takes_any_query: false,
        };
        let method = match *request.method() {
            Method::GET | Method::HEAD => "get",
            Method::POST => "post",
            Method::PUT => "put",
            Method::DELETE => "delete",
            _ => return &NOTHING,
        };
        let path = request.extensions().get::<MatchedPath>();
        let methods = path.and_then(|path| self.specs.get(path.as_str()));
        methods.and_then(|methods| methods.get(method)).unwrap_or(&NOTHING)
    }
}
