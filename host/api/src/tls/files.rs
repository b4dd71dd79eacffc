//! Where a certificate is.

use std::path::{Path, PathBuf};

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM file with the certificate of the server first, then those that link it to a root.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
}

impl TlsFiles {
    pub(super) fn paths(&self) -> [&Path; 2] {
        [&self.certificate, &self.key]
    }
}
