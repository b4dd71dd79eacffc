//! The certificate of the server, which follows its files while the server runs.
//!
//! New connections get the certificate that is in force; open ones keep theirs, so a change interrupts no request. A
//! pair of files that does not belong together changes nothing: the one before stays in force, and the log says so.

mod files;
mod follow;
mod pair;
mod validity;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use wasmill_model::Timestamp;

pub use self::files::TlsFiles;
use self::pair::Pair;
pub use self::pair::TlsError;

/// The one protocol on encrypted connections, for clients that ask.
const PROTOCOL: &[u8] = b"http/1.1";

/// Encrypts connections. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
}

/// What is in force.
struct Current {
    files: TlsFiles,
    pair: RwLock<Arc<Pair>>,
    /// Whether the files have changed and are no pair, so that an earlier one is in force.
    is_stale: AtomicBool,
    look: Notify,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Fails if one cannot be read, or if they do not belong together.
    pub fn new(files: TlsFiles) -> Result<Self, TlsError> {
        let pair = RwLock::new(Arc::new(Pair::read(&files)?));
        let (is_stale, look) = (AtomicBool::new(false), Notify::new());
        let current = Arc::new(Current { files, pair, is_stale, look });
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks the versions that rustls has by default")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as _);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), current })
    }

    /// Returns when the certificate in force begins to be valid.
    pub fn begins(&self) -> Timestamp {
        self.current.pair().validity.begins
    }

    /// Returns when the certificate in force ends.
    pub fn ends(&self) -> Timestamp {
        self.current.pair().validity.ends
    }

    /// Returns true if the files have changed and are no pair, so that an earlier one is in force.
    pub fn is_stale(&self) -> bool {
        self.current.is_stale.load(Ordering::Relaxed)
    }

    /// Has the files looked at now, rather than within a second.
    pub fn look(&self) {
        self.current.look.notify_one();
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

impl Current {
    fn pair(&self) -> Arc<Pair> {
        Arc::clone(&self.pair.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, pair: Pair) {
        *self.pair.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.pair().certified))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current.fmt(f)
    }
}
