//! Collects the schemas of the document.

use schemars::{Schema, SchemaGenerator};

/// Returns the schema of a type, or a reference to it.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Collects the named schemas of the document.
pub(crate) struct Schemas {
    pub(crate) requests: SchemaGenerator,
    /// Schemas of responses: fields that are always serialized are required.
    pub(crate) responses: SchemaGenerator,
}
