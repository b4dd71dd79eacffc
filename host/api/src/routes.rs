//! A router that remembers its routes, so that a test can compare them with the OpenAPI document.
//!
//! `app.rs` uses it like axum's own router.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

use crate::app::Api;

/// A router, and the methods and paths in it.
pub(crate) struct Routes {
    router: Router<Api>,
    known: Vec<(&'static str, &'static str)>,
}

impl Routes {
    pub(crate) fn new() -> Self {
        Self { router: Router::new(), known: Vec::new() }
    }

    /// Serves these methods at this path.
    pub(crate) fn route(mut self, path: &'static str, methods: Methods) -> Self {
        self.known.extend(methods.names.into_iter().map(|method| (method, path)));
        self.router = self.router.route(path, methods.router);
        self
    }

    /// Returns method and path of each route, in the order they were added.
    pub(crate) fn known(&self) -> &[(&'static str, &'static str)] {
        &self.known
    }

    pub(crate) fn into_router(self) -> Router<Api> {
        self.router
    }
}

/// The methods of one path.
pub(crate) struct Methods {
    router: MethodRouter<Api>,
    names: Vec<&'static str>,
}

/// Answers GET, and HEAD without the body.
pub(crate) fn get<H: Handler<T, Api>, T: 'static>(handler: H) -> Methods {
    Methods { router: routing::get(handler), names: vec!["get"] }
}

/// Answers POST.
pub(crate) fn post<H: Handler<T, Api>, T: 'static>(handler: H) -> Methods {
    Methods { router: routing::post(handler), names: vec!["post"] }
}

impl Methods {
    /// Answers GET as well, and HEAD without the body.
    pub(crate) fn get<H: Handler<T, Api>, T: 'static>(self, handler: H) -> Self {
        self.and("get", |router| router.get(handler))
    }

    /// Answers PUT as well.
    pub(crate) fn put<H: Handler<T, Api>, T: 'static>(self, handler: H) -> Self {
        self.and("put", |router| router.put(handler))
    }

    /// Answers DELETE as well.
    pub(crate) fn delete<H: Handler<T, Api>, T: 'static>(self, handler: H) -> Self {
        self.and("delete", |router| router.delete(handler))
    }

    fn and(mut self, name: &'static str, add: impl FnOnce(MethodRouter<Api>) -> MethodRouter<Api>) -> Self {
        self.names.push(name);
        self.router = add(self.router);
        self
    }
}
