//! Owns the background tasks of a server: none is detached, so none ends unnoticed.
//!
//! A server that lost one would break some of its promises while nobody restarts it.

use std::any::Any;
use std::collections::HashMap;

use anyhow::{Error, anyhow};
use tokio::task::{Id, JoinSet};
use wasmill_model::BoxFuture;

/// The background tasks of one server; dropping it aborts them.
#[derive(Default)]
pub(crate) struct Supervisor {
    loops: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Supervisor {
    /// Runs a background task. It is boxed where it is written, and so compiled, optimised, with that crate.
    pub(crate) fn run(&mut self, name: &'static str, work: BoxFuture<'static, ()>) {
        let handle = self.loops.spawn(work);
        self.names.insert(handle.id(), name);
    }

    /// Runs the background task of a component that may be off, and returns the handle of the component.
    pub(crate) fn run_optional<T>(
        &mut self,
        name: &'static str,
        component: Option<(T, BoxFuture<'static, ()>)>,
    ) -> Option<T> {
        let (handle, work) = component?;
        self.run(name, work);
        Some(handle)
    }

    /// Waits until a task panics, or ends while the server is not `stopping`, and returns an error that names it.
    pub(crate) async fn wait_for_failure(&mut self, stopping: impl Fn() -> bool) -> Error {
        loop {
            match self.loops.join_next_with_id().await {
                Some(Ok((id, ()))) => {
                    let name = self.names.remove(&id).unwrap_or_default();
                    if !stopping() {
                        return anyhow!("background task '{name}' ended unexpectedly");
                    }
                }
                Some(Err(error)) => {
                    let name = self.names.remove(&error.id()).unwrap_or_default();
                    let why = error.try_into_panic().map_or("it was cancelled".to_owned(), message);
                    return anyhow!("background task '{name}' panicked: {why}");
                }
                None => std::future::pending().await,
            }
        }
    }
}

/// Returns the message of a panic.
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
    async fn a_panic_is_reported_even_while_the_server_stops() {
        let mut supervisor = Supervisor::default();
        supervisor.run("idle", Box::pin(std::future::pending()));
        supervisor.run("ends", Box::pin(std::future::ready(())));
        supervisor.run("breaks", Box::pin(async { panic!("on {}", "purpose") }));
        let failure = supervisor.wait_for_failure(|| true).await;
        assert_eq!(failure.to_string(), "background task 'breaks' panicked: on purpose");
    }

    #[tokio::test]
    async fn a_task_that_ends_is_reported_unless_the_server_stops() {
        let mut supervisor = Supervisor::default();
        supervisor.run("idle", Box::pin(std::future::pending()));
        supervisor.run("ends", Box::pin(std::future::ready(())));
        let failure = supervisor.wait_for_failure(|| false).await;
        assert_eq!(failure.to_string(), "background task 'ends' ended unexpectedly");
    }

    #[tokio::test]
    async fn tasks_end_with_their_supervisor() {
        let (held, mut dropped) = tokio::sync::oneshot::channel::<()>();
        let mut supervisor = Supervisor::default();
        let idle = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        supervisor.run("idle", Box::pin(idle));
        drop(supervisor);
        assert!((&mut dropped).await.is_err());
    }
}
