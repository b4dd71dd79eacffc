//! Creates connectors that trust further certificates, from a file.
//!
//! Called by the loader for guests, and by the binary for webhooks, traces and commands.

use std::path::Path;

use wasmill_egress::{ConnectionQuota, Connector};

use crate::files::regular_file;

/// Maximum size of the file: a hundred times that of all roots of the web.
const ROOTS_BYTES_MAX: u64 = 16 << 20;

/// Creates a connector that trusts the web's roots, and those in a PEM file if given.
///
/// # Errors
///
/// Fails with the reason if the file cannot be read or contains no valid root certificate.
pub fn connector(extra_roots: Option<&Path>, quota: ConnectionQuota) -> Result<Connector, String> {
    let pem = extra_roots.map(|path| regular_file::read_file(path, ROOTS_BYTES_MAX)).transpose();
    let pem = pem.map_err(|error| format!("it cannot be read: {error}"))?;
    Connector::new(pem.as_deref(), quota)
}
