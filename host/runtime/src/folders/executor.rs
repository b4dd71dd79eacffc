//! Runs the file calls of a plugin, so that a call that hangs blocks no other plugin.
//!
//! Chosen when the folders of a plugin are opened. On a local disk a call takes microseconds, so it runs on the
//! guest's thread, whose other guests move to another thread meanwhile. A network mount may never answer: its calls
//! run on a few threads of the plugin, and a run can be stopped while its call hangs.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

/// Threads of one plugin that may block on a mount.
const THREADS_MAX: usize = 8;

/// The executor of a plugin's file calls.
#[derive(Clone, Debug)]
pub(crate) enum FileExecutor {
    /// Runs them on the guest's thread.
    Inline,
    /// Runs them on threads of the plugin.
    Dedicated(Arc<FileThreads>),
}

/// The threads of one plugin. A hanging one is left behind when the plugin is dropped.
#[derive(Debug)]
pub(crate) struct FileThreads {
    /// `None` only during drop.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Drop for FileThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl FileExecutor {
    /// Creates an executor with its own threads.
    ///
    /// # Errors
    ///
    /// Fails if the system has no resources for it.
    pub(crate) fn dedicated() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .thread_name("plugin-files")
            .max_blocking_threads(THREADS_MAX)
            .build()?;
        let handle = runtime.handle().clone();
        Ok(Self::Dedicated(Arc::new(FileThreads { runtime: Some(runtime), handle })))
    }

    pub(crate) fn is_inline(&self) -> bool {
        matches!(self, Self::Inline)
    }

    /// Runs a call of wasmtime-wasi, which either blocks in place or spawns on the current tokio runtime.
    pub(crate) async fn run<F: Future>(&self, call: F) -> F::Output {
        let mut call = pin!(call);
        poll_fn(|context| match self {
            Self::Inline => block(|| call.as_mut().poll(context)),
            Self::Dedicated(threads) => {
                let _entered = threads.handle.enter();
                call.as_mut().poll(context)
            }
        })
        .await
    }

    /// Awaits a call that never blocks the calling thread.
    pub(crate) async fn wait<F: Future>(&self, call: F) -> F::Output {
        match self {
            Self::Inline => call.await,
            Self::Dedicated(_) => self.run(call).await,
        }
    }

    /// Starts a call that only spawns a thread.
    pub(crate) fn start<R>(&self, call: impl FnOnce() -> R) -> R {
        match self {
            Self::Inline => call(),
            Self::Dedicated(threads) => {
                let _entered = threads.handle.enter();
                call()
            }
        }
    }

    /// Runs a blocking closure.
    pub(crate) async fn run_blocking<R: Send + 'static>(
        &self,
        call: impl FnOnce() -> R + Send + 'static,
    ) -> R {
        match self {
            Self::Inline => block(call),
            Self::Dedicated(threads) => match threads.handle.spawn_blocking(call).await {
                Ok(done) => done,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The threads outlive the plugin's guests, so this is not reached.
                    Err(_) => std::future::pending().await,
                },
            },
        }
    }
}

/// Blocks this thread, and lets another one take over its other tasks.
pub(crate) fn block<R>(call: impl FnOnce() -> R) -> R {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(call),
        _ => call(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn hanging_calls_block_only_their_own_plugin_and_no_run() {
        let (hung, other) = (FileExecutor::dedicated().unwrap(), FileExecutor::dedicated().unwrap());
        let mut ends = Vec::new();
        for _ in 0..3 * THREADS_MAX {
            let (end, wait) = mpsc::channel::<()>();
            ends.push(end);
            let call = hung.run_blocking(move || wait.recv());
            assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
        }
        assert_eq!(other.run_blocking(|| 7).await, 7);
        drop(ends);
        assert_eq!(hung.run_blocking(|| 7).await, 7);
    }

    #[test]
    fn a_blocking_call_lets_other_guests_of_its_thread_run() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (begun, is_begun) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let hung = runtime.spawn(async move {
            FileExecutor::Inline
                .run(async move {
                    begun.send(()).unwrap();
                    ended.recv().unwrap()
                })
                .await
        });
        is_begun.recv().unwrap();
        assert_eq!(runtime.block_on(runtime.spawn(async { 7 })).unwrap(), 7);
        end.send(8).unwrap();
        assert_eq!(runtime.block_on(hung).unwrap(), 8);
    }
}
