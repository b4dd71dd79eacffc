//! Where the file calls of a plugin are carried out, so that one that hangs holds up nobody else.
//!
//! Chosen when the folders of a plugin are opened. On a disk of this machine a call takes microseconds, so it
//! is made on the thread of its guest, whose other guests move to another thread meanwhile. A network mount may
//! never answer: there calls go to a few threads that only this plugin uses, and a run can be ended while a
//! call of it hangs.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

/// Threads of one plugin that may wait for a mount at the same time.
const THREADS_MAX: usize = 8;

/// How the file calls of one plugin are carried out.
#[derive(Clone, Debug)]
pub(crate) enum FileExecutor {
    /// On the thread of the guest.
    Inline,
    /// On threads of the plugin.
    Dedicated(Arc<FileThreads>),
}

/// The threads of one plugin. One that hangs is left behind when the plugin goes.
#[derive(Debug)]
pub(crate) struct FileThreads {
    /// `None` only while it is dropped.
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
    /// Makes a lane with threads of its own.
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

    /// Carries out a call of wasmtime-wasi, which blocks in place if it was told so, and else asks the runtime
    /// that it finds for a thread.
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

    /// Waits for a call that never blocks the thread that asks for it.
    pub(crate) async fn wait<F: Future>(&self, call: F) -> F::Output {
        match self {
            Self::Inline => call.await,
            Self::Dedicated(_) => self.run(call).await,
        }
    }

    /// Begins a call that only starts a thread.
    pub(crate) fn start<R>(&self, call: impl FnOnce() -> R) -> R {
        match self {
            Self::Inline => call(),
            Self::Dedicated(threads) => {
                let _entered = threads.handle.enter();
                call()
            }
        }
    }

    /// Carries out a call of our own that blocks.
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
                    // The threads are gone only with the plugin, which the guest holds on to.
                    Err(_) => std::future::pending().await,
                },
            },
        }
    }
}

/// Blocks this thread, and lets another one take over what else it has to do.
fn block<R>(call: impl FnOnce() -> R) -> R {
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
    async fn calls_that_hang_hold_up_their_own_plugin_only_and_no_run_waits_for_them() {
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
    fn a_call_in_place_lets_the_other_guests_of_its_thread_go_on() {
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
