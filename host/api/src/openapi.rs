//! The OpenAPI 3.1 document, built from the specification of each endpoint.
//!
//! schemars derives the schemas from the request and response types. Each route carries the specification of its
//! operation, so none is missing; the product tests validate every response against the document.

mod document;
mod operation;
mod request;
mod response;
pub(crate) mod schema;
mod schemas;

pub(crate) use self::document::document;
pub(crate) use self::operation::Operation;
pub(crate) use self::request::{Bounds, Needs, Param, RequestSpec, RequestSpecs, is_submit};
pub(crate) use self::response::ResponseSpec;
pub(crate) use self::schemas::Schemas;
