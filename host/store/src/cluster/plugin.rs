//! The plugins that the hosts of a database share. Plain data only.

use wasmill_model::{PluginName, Timestamp};

/// What was published last under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedPlugin {
    /// The name.
    pub name: PluginName,
    /// Grows with each publication of any plugin.
    pub version: i64,
    /// SHA-256 of all its files, in hexadecimal.
    pub bundle: String,
    /// Whether it was removed instead.
    pub is_removed: bool,
    /// The name of the host that published it.
    pub host: String,
    /// When.
    pub at: Timestamp,
}

/// The files of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFiles {
    /// SHA-256 of all of them, in hexadecimal.
    pub bundle: String,
    /// SHA-256 of the plugin file, in hexadecimal.
    pub digest: String,
    /// The plugin file.
    pub wasm: Vec<u8>,
    /// The manifest.
    pub manifest: Option<Vec<u8>>,
    /// The name and the bytes of the schema.
    pub schema: Option<(String, Vec<u8>)>,
    /// The signatures of these files.
    pub signatures: PluginSignatures,
}

/// The signatures of the files of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginSignatures {
    /// Of the plugin file.
    pub wasm: Option<Vec<u8>>,
    /// Of the manifest.
    pub manifest: Option<Vec<u8>>,
    /// Of the schema.
    pub schema: Option<Vec<u8>>,
}
