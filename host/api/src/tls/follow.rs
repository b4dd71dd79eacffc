//! Looks at the files of the certificate every second, and puts a new pair in force.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;
use wasmill_access::FileStamp;
use wasmill_model::{BoxFuture, Clock, TimeDelta, Timestamp};

use super::Tls;
use super::files::TlsFiles;
use super::pair::{Pair, TlsError};

/// As with keys, files are compared rather than watched: a mounted secret is replaced by way of links.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A certificate that ends within this time is warned of once a day.
const SOON: TimeDelta = TimeDelta::days(14);
const WARNING_INTERVAL: TimeDelta = TimeDelta::days(1);

/// What the files were when they were read.
type Stamps = [Option<FileStamp>; 2];

fn stamps(files: &TlsFiles) -> Stamps {
    files.paths().map(FileStamp::of)
}

impl Tls {
    /// Follows the files until the server stops.
    pub fn follow(self, clock: Arc<dyn Clock>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // They may have changed since they were read.
            let mut seen = None;
            let mut warned = None;
            loop {
                warned = self.warn_of_end(clock.now(), warned);
                // It ends early if somebody asks for it.
                let _ = timeout(LOOK_INTERVAL, self.current.look.notified()).await;
                let files = self.current.files.clone();
                // They may be on a mount that hangs.
                let looked = spawn_blocking(move || {
                    let stamps = stamps(&files);
                    (seen != Some(stamps)).then(|| (stamps, Pair::read(&files)))
                });
                // It fails only if it panicked, or if the runtime ends.
                let Ok(looked) = looked.await else { return };
                if let Some((stamps, read)) = looked {
                    self.put_in_force(read);
                    seen = Some(stamps);
                    warned = None;
                }
            }
        })
    }

    fn put_in_force(&self, read: Result<Pair, TlsError>) {
        match read {
            Ok(pair) => {
                let (ends, was_stale) = (pair.validity.ends, self.is_stale());
                let is_other = pair.certified.cert != self.current.pair().certified.cert;
                self.current.replace(pair);
                self.current.is_stale.store(false, Ordering::Relaxed);
                if is_other || was_stale {
                    tracing::info!(%ends, "the certificate has changed");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate before stays in force");
                self.current.is_stale.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Warns of a certificate that is not valid, or will soon not be, and returns when it last did.
    fn warn_of_end(&self, now: Timestamp, warned: Option<Timestamp>) -> Option<Timestamp> {
        let (begins, ends) = (self.begins(), self.ends());
        let is_well = begins <= now && now < ends - SOON;
        if is_well || warned.is_some_and(|warned| now - warned < WARNING_INTERVAL) {
            return warned;
        }
        if now < begins {
            tracing::warn!(%begins, "the certificate is not valid yet, so clients refuse it");
        } else if now >= ends {
            tracing::warn!(%ends, "the certificate has expired, so clients refuse it");
        } else {
            tracing::warn!(%ends, "the certificate expires soon");
        }
        Some(now)
    }
}
