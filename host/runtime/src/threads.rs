//! Tells that a thread of the runtime has ended, be it that it was asked to or that it panicked.
//!
//! The runtime gives each of its threads a guard; whoever runs it looks whether one is gone.

use tokio::sync::watch;

/// The threads of one runtime. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Threads(watch::Sender<Option<&'static str>>);

/// Held by a thread as long as it lives.
pub(crate) struct Alive {
    threads: Threads,
    name: &'static str,
}

impl Threads {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Counts on a thread of this name from now on.
    pub(crate) fn alive(&self, name: &'static str) -> Alive {
        Alive { threads: self.clone(), name }
    }

    /// Waits until one of them has ended, and returns its name. Does not keep the runtime alive.
    pub(crate) fn ended(&self) -> impl Future<Output = &'static str> + Send + use<> {
        let mut ended = self.0.subscribe();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(name) => (*name).unwrap_or_default(),
                // The runtime itself is gone.
                Err(_) => "runtime",
            }
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.threads.0.send_replace(Some(self.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_panics_is_noticed() {
        let threads = Threads::new();
        let (ended, other) = (threads.ended(), threads.alive("other"));
        let alive = threads.alive("loader");
        let thread = std::thread::spawn(move || {
            let _alive = alive;
            panic!("on purpose");
        });
        assert_eq!(ended.await, "loader");
        assert!(thread.join().is_err());
        drop(other);
    }
}
