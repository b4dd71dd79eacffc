//! Resolves names, a bounded number concurrently, each on its own thread.
//!
//! Called by `connector`. The system's resolver blocks, cannot be cancelled, and takes as long as a name
//! server likes. So it never runs on a shared thread pool, and an abandoned lookup keeps its permit until its
//! thread returns.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::connections::ConnectionQuota;

/// Concurrent lookups of all connectors of a quota.
const LOOKUPS_MAX: usize = 32;
/// The maximum time of a lookup, including the wait for a permit.
const LOOKUP_MAX: Duration = Duration::from_secs(10);

/// Resolves a host; may block. Tests supply their own.
pub type LookupFn = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Resolves names. Clones share the limit.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    resolve: LookupFn,
    lookups: Arc<Semaphore>,
    lookup_max: Duration,
}

impl Resolver {
    /// Returns the system's resolver, with the limit of a quota: names that guests look up delay no webhook.
    pub(crate) fn system(quota: ConnectionQuota) -> Self {
        static GUESTS: LazyLock<Arc<Semaphore>> = LazyLock::new(limit);
        static HOST: LazyLock<Arc<Semaphore>> = LazyLock::new(limit);
        let lookups = match quota {
            ConnectionQuota::Guests => Arc::clone(&GUESTS),
            ConnectionQuota::Host => Arc::clone(&HOST),
            ConnectionQuota::Own => limit(),
        };
        Self { resolve: lookup_blocking, lookups, lookup_max: LOOKUP_MAX }
    }

    /// Returns a resolver that calls this function.
    pub(crate) fn with_lookup(resolve: LookupFn) -> Self {
        Self { resolve, lookups: limit(), lookup_max: LOOKUP_MAX }
    }

    /// Resolves a host.
    ///
    /// # Errors
    ///
    /// Fails with the system's error, or with `TimedOut`.
    pub(crate) async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let (resolve, host) = (self.resolve, host.to_owned());
        let looking_up = async {
            let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
            let (done, answer) = oneshot::channel();
            thread::Builder::new().name("resolver".to_owned()).spawn(move || {
                let found = resolve(&host, port);
                drop(permit);
                // This fails if the lookup was abandoned.
                let _ = done.send(found);
            })?;
            answer.await.map_err(io::Error::other)?
        };
        timeout(self.lookup_max, looking_up).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

fn limit() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LOOKUPS_MAX))
}

fn lookup_blocking(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex};

    use tokio::task::JoinSet;

    use super::*;

    /// Whether lookups may return.
    static MAY_RETURN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    static STARTED: AtomicUsize = AtomicUsize::new(0);

    fn slow(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        STARTED.fetch_add(1, Ordering::SeqCst);
        let (may_return, released) = &MAY_RETURN;
        drop(
            released.wait_while(may_return.lock().expect("nobody panics with it"), |may_return| !*may_return),
        );
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }

    #[test]
    fn guests_and_webhooks_have_lookups_of_their_own() {
        let lookups = |quota| Resolver::system(quota).lookups;
        let guests = lookups(ConnectionQuota::Guests);
        assert!(Arc::ptr_eq(&guests, &lookups(ConnectionQuota::Guests)));
        assert!(!Arc::ptr_eq(&guests, &lookups(ConnectionQuota::Host)));
    }

    #[tokio::test]
    async fn slow_lookups_are_limited_and_keep_their_permits_when_abandoned() {
        let resolver = Resolver { lookup_max: Duration::from_millis(50), ..Resolver::with_lookup(slow) };
        let mut given_up = JoinSet::new();
        for _ in 0..100 {
            let resolver = resolver.clone();
            given_up.spawn(async move { resolver.look_up("example.com", 1).await });
        }
        for ended in given_up.join_all().await {
            assert_eq!(ended.expect_err("nothing answers").kind(), io::ErrorKind::TimedOut);
        }
        assert_eq!(STARTED.load(Ordering::SeqCst), LOOKUPS_MAX);
        *MAY_RETURN.0.lock().expect("nobody panics with it") = true;
        MAY_RETURN.1.notify_all();
        let resolver = Resolver { lookup_max: Duration::from_secs(60), ..resolver };
        assert!(resolver.look_up("example.com", 1).await.is_ok(), "the threads have returned");
    }
}
