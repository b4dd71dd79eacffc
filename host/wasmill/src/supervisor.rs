//! Owns the loops that run in the background of a server: nothing of theirs is detached, so none of them ends
//! unseen.
//!
//! A server that lost one of them would go on with a part of its promises, and nobody would restart it.

use std::any::Any;
use std::collections::HashMap;

use anyhow::{Error, anyhow};
use tokio::task::{Id, JoinSet};

/// The loops of one server. Those that are left are aborted when this is dropped.
#[derive(Default)]
pub(crate) struct Supervisor {
    loops: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Supervisor {
    /// Runs a loop in the background.
    pub(crate) fn run(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let handle = self.loops.spawn(work);
        self.names.insert(handle.id(), name);
    }

    /// Waits until a loop has panicked, or has ended though the server is not `stopping`, and says which.
    pub(crate) async fn wait_for_failure(&mut self, stopping: impl Fn() -> bool) -> Error {
        loop {
            match self.loops.join_next_with_id().await {
                Some(Ok((id, ()))) => {
                    let name = self.names.remove(&id).unwrap_or_default();
                    if !stopping() {
                        return anyhow!("the background loop '{name}' ended by itself");
                    }
                }
                Some(Err(error)) => {
                    let name = self.names.remove(&error.id()).unwrap_or_default();
                    let why = error.try_into_panic().map_or("it was cancelled".to_owned(), message);
                    return anyhow!("the background loop '{name}' panicked: {why}");
                }
                None => std::future::pending().await,
            }
        }
    }
}

/// Returns what a panic said.
fn message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or("no message", |text| text).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_panics_is_lost_though_the_server_stops() {
        let mut supervisor = Supervisor::default();
        supervisor.run("idle", std::future::pending());
        supervisor.run("ends", std::future::ready(()));
        supervisor.run("breaks", async { panic!("on {}", "purpose") });
        let wait_for_failure = supervisor.wait_for_failure(|| true).await;
        assert_eq!(wait_for_failure.to_string(), "the background loop 'breaks' panicked: on purpose");
    }

    #[tokio::test]
    async fn a_loop_that_ends_is_lost_unless_the_server_stops() {
        let mut supervisor = Supervisor::default();
        supervisor.run("idle", std::future::pending());
        supervisor.run("ends", std::future::ready(()));
        let wait_for_failure = supervisor.wait_for_failure(|| false).await;
        assert_eq!(wait_for_failure.to_string(), "the background loop 'ends' ended by itself");
    }

    #[tokio::test]
    async fn loops_end_with_their_supervisor() {
        let (held, mut dropped) = tokio::sync::oneshot::channel::<()>();
        let mut supervisor = Supervisor::default();
        supervisor.run("idle", async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(supervisor);
        assert!((&mut dropped).await.is_err());
    }
}
