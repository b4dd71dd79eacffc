//! What an upload changes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Permissions;

/// `PUT /plugins/{name}?dry_run=true`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Upload {
    pub name: String,
    pub digest: Option<String>,
    pub size_bytes: u64,
    pub compile_ms: u64,
    pub kind: Option<String>,
    pub permissions: Option<Permissions>,
    pub changes: Changes,
}

/// What is different from the version in service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Changes {
    pub is_new: bool,
    pub replaces: Option<String>,
    pub imports: Names,
    pub exports: Names,
    pub schema_changed: bool,
    pub permissions: PermissionChanges,
    pub settings: BTreeMap<String, Setting>,
}

/// Names that come and go.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Names {
    pub added: Vec<String>,
    pub removed: Vec<String>,
}

/// Permissions that come and go.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct PermissionChanges {
    pub http: Names,
    pub tcp: Names,
    pub env: Names,
    pub dirs: Names,
    pub scratch: Names,
    pub secrets: Names,
}

/// A property with its values.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Setting {
    pub from: Value,
    pub to: Value,
}
