//! A router that keeps the specification of each of its routes.
//!
//! `router.rs` uses it like axum's own router. Path and method come from the specification, so a route without one
//! cannot be added, nor can one that does not say what its key needs and how it keeps a key within its reach.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{MethodFilter, on};

use crate::openapi::{Bounds, Needs, Operation, RequestSpecs};
use crate::state::Api;

/// A router, and the specifications of its operations.
pub(crate) struct Routes {
    router: Router<Api>,
    operations: Vec<Operation>,
}

/// A handler of axum without its type.
type ErasedHandler = Arc<dyn Fn(Request, Api) -> Responding + Send + Sync>;

/// What the handlers of axum that are functions return.
type Responding = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The methods of each path, as text.
pub(crate) type AllowedMethods = HashMap<&'static str, String>;

impl Routes {
    pub(crate) fn new() -> Self {
        Self { router: Router::new(), operations: Vec::new() }
    }

    /// Serves an operation, to keys that have what it needs, and within their reach.
    pub(crate) fn add<H: Handler<T, Api, Future = Responding>, T: 'static>(
        self,
        needs: Needs,
        bounds: Bounds,
        operation: Operation,
        handler: H,
    ) -> Self {
        let call = move |request, api| handler.clone().call(request, api);
        self.add_erased(operation.guarded(needs, bounds), Arc::new(call))
    }

    /// Of one type for all operations, since axum compiles some ten functions for each type of handler.
    fn add_erased(mut self, operation: Operation, handler: ErasedHandler) -> Self {
        let filter = match operation.method {
            // Answers HEAD as well.
            "get" => MethodFilter::GET,
            "post" => MethodFilter::POST,
            "put" => MethodFilter::PUT,
            "delete" => MethodFilter::DELETE,
            method => unreachable!("no operation has the method {method}"),
        };
        let handle = async move |State(api): State<Api>, request: Request| handler(request, api).await;
        self.router = self.router.route(operation.path, on(filter, handle));
        self.operations.push(operation);
        self
    }

    /// Returns what each operation accepts.
    pub(crate) fn request_specs(&self) -> RequestSpecs {
        let mut all = RequestSpecs::new();
        for operation in &self.operations {
            all.entry(operation.path).or_default().insert(operation.method, operation.request_spec());
        }
        all
    }

    /// Returns the methods of each path.
    pub(crate) fn allowed_methods(&self) -> AllowedMethods {
        let mut all = AllowedMethods::new();
        for Operation { method, path, .. } in &self.operations {
            let method = if *method == "get" { "GET, HEAD".to_owned() } else { method.to_uppercase() };
            let methods = all.entry(*path).or_default();
            if !methods.is_empty() {
                methods.push_str(", ");
            }
            methods.push_str(&method);
        }
        all
    }

    /// Returns the specifications of the REST interface.
    pub(crate) fn into_operations(self) -> Vec<Operation> {
        self.operations.into_iter().filter(|operation| !operation.is_page).collect()
    }

    pub(crate) fn into_router(self) -> Router<Api> {
        self.router
    }
}
