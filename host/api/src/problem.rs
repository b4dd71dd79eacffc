//! Error responses: `application/problem+json` (RFC 9457).
//!
//! Endpoints return a [`Problem`]; the outermost layer serializes it, and converts the errors that libraries
//! produce. What is wrong with one resource stands beside that resource.

mod document;
pub(crate) mod field_errors;
pub(crate) mod kind;
pub(crate) mod layer;
pub(crate) mod store;

pub(crate) use self::document::{NO_RESULT, Problem, ProblemDocument};
