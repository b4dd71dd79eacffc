//! What an upload changes: the plugin compared with the version that runs tasks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use wasmill_runtime::{DirRule, HttpRule, InService, Permissions, PluginDetails, ScratchRule, TcpRule};

use super::plugin::{FactsView, PluginView};
use crate::openapi::schema::{AnyJson, DigestSchema};

/// Properties that are compared apart.
const APART: [&str; 6] = ["imports", "import_count", "exports", "export_count", "permissions", "has_schema"];

/// A plugin that was uploaded, or would be.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UploadedPlugin")]
pub(crate) struct UploadedView {
    #[serde(flatten)]
    pub(crate) plugin: PluginView,
    /// Set if nothing was taken; the plugin is as it would be.
    pub(crate) dry_run: bool,
    pub(crate) changes: ChangesView,
}

/// What an upload changes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginChanges")]
pub(crate) struct ChangesView {
    /// Whether there was no file of this name before.
    is_new: bool,
    /// Digest of the version that it replaces, which may be a built-in one; `null` if there was none.
    #[schemars(with = "Option<DigestSchema>")]
    replaces: Option<String>,
    /// Of the first hundred imports.
    imports: NamesView,
    /// Of the first hundred exports.
    exports: NamesView,
    /// Whether the schema of its input is another one.
    schema_changed: bool,
    permissions: PermissionChangesView,
    /// Other properties with different values, such as `kind`, `limits.memory_bytes` and `retry.max_attempts`; empty for a
    /// plugin that replaces none.
    settings: BTreeMap<String, SettingView>,
}

/// Names that come and go.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NameChanges")]
struct NamesView {
    added: Vec<String>,
    removed: Vec<String>,
}

/// Permissions that come and go.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PermissionChanges")]
struct PermissionChangesView {
    http: NamesView,
    tcp: NamesView,
    /// Names only: values may be secrets.
    env: NamesView,
    /// Each as the folder of the host, that of the guest, and whether it is written to.
    dirs: NamesView,
    /// As the folder of the guest, its bytes and its files.
    scratch: NamesView,
    /// Each with the origins that it is sent to, or as revealed.
    secrets: NamesView,
}

/// A property with its values.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SettingChange")]
struct SettingView {
    #[schemars(with = "AnyJson")]
    from: Value,
    #[schemars(with = "AnyJson")]
    to: Value,
}

impl ChangesView {
    pub(crate) fn new(is_new: bool, before: Option<&InService>, after: Option<&PluginDetails>) -> Self {
        let old = before.map(|before| &*before.details);
        let names = |of: fn(&PluginDetails) -> Vec<String>| NamesView::new(old.map(of), after.map(of));
        let schema = |details: &PluginDetails| details.config.schema.clone();
        Self {
            is_new,
            replaces: before.map(|before| before.digest.clone()),
            imports: names(|details| details.imports.first.clone()),
            exports: names(|details| details.exports.first.clone()),
            schema_changed: old.and_then(schema) != after.and_then(schema),
            permissions: PermissionChangesView {
                http: names(|details| http(&details.config.permissions)),
                tcp: names(|details| tcp(&details.config.permissions)),
                env: names(|details| details.config.permissions.env.keys().cloned().collect()),
                dirs: names(|details| dirs(&details.config.permissions)),
                scratch: names(|details| scratch(&details.config.permissions)),
                secrets: names(|details| secrets(&details.config.permissions)),
            },
            settings: old.zip(after).map(|(old, new)| settings(old, new)).unwrap_or_default(),
        }
    }
}

impl NamesView {
    fn new(before: Option<Vec<String>>, after: Option<Vec<String>>) -> Self {
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        Self {
            added: after.iter().filter(|name| !before.contains(name)).cloned().collect(),
            removed: before.iter().filter(|name| !after.contains(name)).cloned().collect(),
        }
    }
}

fn http(permissions: &Permissions) -> Vec<String> {
    permissions.http.iter().map(HttpRule::to_string).collect()
}

fn tcp(permissions: &Permissions) -> Vec<String> {
    permissions.tcp.iter().map(TcpRule::to_string).collect()
}

fn dirs(permissions: &Permissions) -> Vec<String> {
    let dir = |DirRule { host, guest, write }: &DirRule| {
        format!("{} as {guest}, {}", host.display(), if *write { "writable" } else { "read-only" })
    };
    permissions.dirs.iter().map(dir).collect()
}

fn scratch(permissions: &Permissions) -> Vec<String> {
    let scratch = permissions.scratch.iter();
    scratch
        .map(|ScratchRule { guest, bytes_max, files_max }| {
            format!("{guest} of {bytes_max} bytes in {files_max} files")
        })
        .collect()
}

fn secrets(permissions: &Permissions) -> Vec<String> {
    permissions.secrets.iter().map(|(name, rule)| format!("{name} {rule}")).collect()
}

/// Returns the properties with different values, by name. The lists are compared apart.
fn settings(before: &PluginDetails, after: &PluginDetails) -> BTreeMap<String, SettingView> {
    let (before, mut after) = (properties(before), properties(after));
    let changed = before.into_iter().filter_map(|(name, from)| {
        let to = after.remove(&name).unwrap_or_default();
        (from != to).then_some((name, SettingView { from, to }))
    });
    changed.collect()
}

/// Returns the properties as responses show them, those of an object as `object.property`.
fn properties(details: &PluginDetails) -> BTreeMap<String, Value> {
    let facts = serde_json::to_value(FactsView::new(details)).unwrap_or_default();
    let mut properties = BTreeMap::new();
    if let Value::Object(facts) = facts {
        flatten("", facts, &mut properties);
    }
    properties
}

fn flatten(prefix: &str, object: Map<String, Value>, properties: &mut BTreeMap<String, Value>) {
    for (name, value) in object {
        let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            // Compared apart.
            _ if APART.contains(&&*path) => {}
            Value::Object(inner) => flatten(&path, inner, properties),
            value => drop(properties.insert(path, value)),
        }
    }
}

/// Example for the OpenAPI document.
pub(crate) fn example() -> Value {
    let mut example = super::plugin::example();
    let none = json!({"added": [], "removed": []});
    example["dry_run"] = true.into();
    example["changes"] = json!({
        "is_new": false, "replaces": "a1a731842075bd6e1d4ea7d5a9bd8b1ba1ea3e7fbd6a1cb8b0c1c4a8e6c9f1b2",
        "imports": {"added": ["wasi:filesystem/types@0.2.6"], "removed": []}, "exports": none, "schema_changed": false,
        "permissions": {"http": none, "tcp": none, "env": none, "dirs": none, "scratch": none, "secrets": none},
        "settings": {"limits.memory_bytes": {"from": 33_554_432, "to": 67_108_864}},
    });
    example
}
