//! Reports that a thread of the runtime has ended, regularly or by a panic.
//!
//! Each thread of the runtime holds a guard; the owner of the runtime waits for one to be dropped.

use tokio::sync::watch;

/// The threads of one runtime. Clones share the state.
#[derive(Clone, Debug)]
pub(crate) struct ThreadMonitor(watch::Sender<Option<&'static str>>);

/// Held by a thread while it runs.
pub(crate) struct AliveGuard {
    threads: ThreadMonitor,
    name: &'static str,
}

impl ThreadMonitor {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    pub(crate) fn guard(&self, name: &'static str) -> AliveGuard {
        AliveGuard { threads: self.clone(), name }
    }

    /// Waits until a thread has ended, and returns its name. Does not keep the runtime alive.
    pub(crate) fn ended(&self) -> impl Future<Output = &'static str> + Send + use<> {
        let mut ended = self.0.subscribe();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(name) => (*name).unwrap_or_default(),
                // The runtime itself was dropped.
                Err(_) => "runtime",
            }
        }
    }
}

impl Drop for AliveGuard {
    fn drop(&mut self) {
        self.threads.0.send_replace(Some(self.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_panics_is_reported() {
        let threads = ThreadMonitor::new();
        let (ended, other) = (threads.ended(), threads.guard("other"));
        let guard = threads.guard("loader");
        let thread = std::thread::spawn(move || {
            let _alive = guard;
            panic!("on purpose");
        });
        assert_eq!(ended.await, "loader");
        assert!(thread.join().is_err());
        drop(other);
    }
}
