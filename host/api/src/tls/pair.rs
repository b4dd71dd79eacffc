//! Reads a certificate and its key, and checks that they belong together.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys};
use wasmill_runtime::read_file;

use super::files::TlsFiles;
use super::validity::Validity;

/// Maximum size of each file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a certificate cannot be used. It never shows what is in the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("failed to read {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// What went wrong.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} {why}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Both are valid, and not a pair.
    #[error(
        "the first certificate of {certificate} does not belong to the key in {key}; the certificate of the server \
         comes first, then those that signed it"
    )]
    NoPair {
        /// The file of the certificate.
        certificate: String,
        /// The file of the key.
        key: String,
    },
}

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) validity: Validity,
}

impl Pair {
    /// Reads the files.
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        let (first, validity) = (chain.first().map(|first| Validity::of(first)), &files.certificate);
        let validity =
            first.flatten().ok_or_else(|| invalid(validity, "has a first certificate that is damaged"))?;
        let key = private_key(&files.key)?;
        let certified =
            CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    TlsError::NoPair { certificate: shown(&files.certificate), key: shown(&files.key) }
                }
                Error::InvalidCertificate(_) => {
                    invalid(&files.certificate, "has a first certificate that is damaged")
                }
                _ => invalid(
                    &files.key,
                    "has a private key of a kind that is not supported; use ECDSA, Ed25519 or RSA",
                ),
            })?;
        Ok(Self { certified: Arc::new(certified), validity })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(invalid(path, "contains no certificate in the PEM format")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(invalid(path, &format!("is not valid PEM: {error}"))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        _ if text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) => invalid(
            path,
            "has a private key that is encrypted; store it without a passphrase, with the mode 0600",
        ),
        pem::Error::NoItemsFound => invalid(path, "contains no private key in the PEM format"),
        // The text of the error may quote the file.
        _ => invalid(path, "is not valid PEM"),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    read_file(path, FILE_BYTES_MAX).map_err(|error| TlsError::Unreadable { path: shown(path), error })
}

fn invalid(path: &Path, why: &str) -> TlsError {
    TlsError::Invalid { path: shown(path), why: why.to_owned() }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
