//! A running guest that any thread can kill, whether or not another thread is polling it.
//!
//! Owned by one run. It never touches the store or the slot.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};

use wasmill_model::{BoxFuture, Cause, Failure, RunStep};

/// What a guest returned, or why it failed.
pub(crate) type GuestResult = Result<RunStep, Failure>;

/// The future of a run behind a lock, so that it can be dropped from outside.
///
/// An aborted tokio task is only dropped when its executor reaches it. Behind many CPU-bound guests that takes one
/// epoch tick per guest. Here the killer drops the future itself.
pub(crate) struct Guest {
    state: Mutex<GuestState>,
    killed: AtomicBool,
}

struct GuestState {
    future: Option<BoxFuture<'static, GuestResult>>,
    waker: Option<Waker>,
}

/// The outcome of one poll.
#[derive(Debug, PartialEq)]
pub(crate) enum GuestPoll {
    /// The guest ended on its own.
    Returned(GuestResult),
    /// The guest was killed and this poll dropped it; the poller must end the run.
    Dropped,
    /// The guest was killed; its killer dropped it and ends the run.
    Gone,
}

/// The outcome of [`Guest::kill`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// The guest is dropped; the caller must end the run.
    Dead,
    /// Another thread is polling the guest; it will drop the guest or take its result, and end the run.
    Deferred,
}

impl Guest {
    pub(crate) fn new(future: BoxFuture<'static, GuestResult>) -> Self {
        Self {
            state: Mutex::new(GuestState { future: Some(future), waker: None }),
            killed: AtomicBool::new(false),
        }
    }

    /// Polls the guest on this thread until it waits, is interrupted or ends. A frozen guest is not polled: it waits
    /// until somebody [wakes](Guest::wake) it.
    ///
    /// A panic in the runner becomes a [`Cause::HostFault`].
    pub(crate) fn poll(&self, context: &mut Context<'_>, is_frozen: bool) -> Poll<GuestPoll> {
        let mut state = self.lock();
        let GuestState { future: Some(future), waker } = &mut *state else {
            return Poll::Ready(GuestPoll::Gone);
        };
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        let polled = if is_frozen {
            Poll::Pending
        } else {
            let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
            polled.unwrap_or_else(|_| Poll::Ready(Err(panicked())))
        };
        match polled {
            Poll::Ready(answer) => {
                state.future = None;
                Poll::Ready(GuestPoll::Returned(answer))
            }
            Poll::Pending => {
                drop(state);
                // Pairs with the fence in `kill`, as in Dekker's algorithm: either the killer finds the lock free, or
                // this thread, which held it, sees the flag.
                fence(Ordering::SeqCst);
                if self.killed.load(Ordering::SeqCst) {
                    return Poll::Ready(if self.drop_future() {
                        GuestPoll::Dropped
                    } else {
                        GuestPoll::Gone
                    });
                }
                Poll::Pending
            }
        }
    }

    /// Drops the guest on this thread unless another thread is polling it.
    ///
    /// `interrupt` makes a CPU-bound guest yield its thread, so the poller returns within one loop iteration of the
    /// guest.
    pub(crate) fn kill(&self, interrupt: impl FnOnce()) -> Kill {
        self.killed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        interrupt();
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Kill::Deferred,
        };
        if state.future.take().is_none() {
            return Kill::Deferred;
        }
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        Kill::Dead
    }

    /// Has a guest that was frozen polled again.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.lock().waker {
            waker.wake_by_ref();
        }
    }

    /// Drops the guest after any poll in progress; returns false if it was already gone.
    pub(crate) fn drop_future(&self) -> bool {
        self.lock().future.take().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, GuestState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panicked() -> Failure {
    Failure::new(Cause::HostFault, "the host panicked while running the plugin; see the server log")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;

    struct CountsDrops(Arc<AtomicU32>);

    impl Drop for CountsDrops {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn pending_guest(drops: &Arc<AtomicU32>) -> Guest {
        let guard = CountsDrops(drops.clone());
        Guest::new(Box::pin(async move {
            let _guard = guard;
            std::future::pending().await
        }))
    }

    fn poll(guest: &Guest) -> Poll<GuestPoll> {
        guest.poll(&mut Context::from_waker(Waker::noop()), false)
    }

    #[test]
    fn a_frozen_guest_is_not_polled_and_can_be_killed() {
        let polls = Arc::new(AtomicU32::new(0));
        let counted = polls.clone();
        let guest = Guest::new(Box::pin(std::future::poll_fn(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Poll::Pending
        })));
        let frozen = || guest.poll(&mut Context::from_waker(Waker::noop()), true);
        assert!(frozen().is_pending());
        assert_eq!(polls.load(Ordering::SeqCst), 0);
        assert!(poll(&guest).is_pending());
        assert_eq!(polls.load(Ordering::SeqCst), 1);
        assert_eq!(guest.kill(|| ()), Kill::Dead);
        assert_eq!(frozen(), Poll::Ready(GuestPoll::Gone));
    }

    #[test]
    fn a_waiting_guest_is_dropped_by_its_killer() {
        let drops = Arc::default();
        let guest = pending_guest(&drops);
        assert!(poll(&guest).is_pending());
        assert_eq!(guest.kill(|| ()), Kill::Dead);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        assert_eq!(poll(&guest), Poll::Ready(GuestPoll::Gone));
        assert_eq!(guest.kill(|| ()), Kill::Deferred);
    }

    #[test]
    fn a_guest_that_never_started_is_dropped_by_its_killer() {
        let drops = Arc::default();
        assert_eq!(pending_guest(&drops).kill(|| ()), Kill::Dead);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_guest_that_computes_is_dropped_by_its_poller() {
        let (entered, wait_entered) = std::sync::mpsc::channel();
        let (leave, wait_leave) = std::sync::mpsc::channel::<()>();
        let guest = Arc::new(Guest::new(Box::pin(std::future::poll_fn(move |_| {
            entered.send(()).expect("the test listens");
            wait_leave.recv().expect("the test sends");
            Poll::Pending
        }))));
        let poller = std::thread::spawn({
            let guest = guest.clone();
            move || poll(&guest)
        });
        wait_entered.recv().expect("the guest is polled");
        assert_eq!(guest.kill(|| leave.send(()).expect("the guest listens")), Kill::Deferred);
        assert_eq!(poller.join().expect("no panic"), Poll::Ready(GuestPoll::Dropped));
    }

    #[test]
    fn a_panic_is_a_host_fault() {
        let guest = Guest::new(Box::pin(async { panic!("boom") }));
        let Poll::Ready(GuestPoll::Returned(Err(failure))) = poll(&guest) else { panic!("it ended") };
        assert_eq!(failure.cause, Cause::HostFault);
    }
}
