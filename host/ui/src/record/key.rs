//! Records of keys.

use serde::Deserialize;

/// `GET /keys`, one entry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Key {
    pub id: String,
    pub name: String,
    pub scopes: Vec<String>,
    pub plugins: Option<Vec<String>>,
    pub groups: Option<Vec<String>>,
    pub tags: Option<Vec<String>>,
    pub rate: Option<String>,
    pub refused: u64,
    pub expires: Option<String>,
    pub expired: bool,
    pub last_used_at: Option<String>,
    pub last_used_from: Option<String>,
    pub this: bool,
}
