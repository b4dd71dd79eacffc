//! The stack of one guest for readers who ask where it computes.
//!
//! A computing guest yields its thread on each tick. If a reader has asked, its stack is captured there, at most twice a
//! second however many ask; otherwise a yield pays one load. A guest that waits in a host call has no stack to offer: the
//! call says where it is.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

/// How long a stack answers further readers.
const FRESH: Duration = Duration::from_millis(500);
/// How long a reader waits for the next yield: many ticks, and little for a page.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// The requests for the stack of one guest.
#[derive(Debug, Default)]
pub(crate) struct StackRequests {
    is_asked: AtomicBool,
    /// Created by the first request.
    newest: OnceLock<watch::Sender<Option<CapturedStack>>>,
}

/// The functions of a stack, innermost first.
#[derive(Clone, Debug)]
struct CapturedStack {
    functions: Arc<[String]>,
    captured_at: Instant,
}

/// Waits for a stack. Keeps nothing of the run alive.
pub(crate) struct StackRequest(watch::Receiver<Option<CapturedStack>>);

impl StackRequests {
    /// Returns true if the next yield has to capture the stack.
    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked.load(Relaxed)
    }

    /// Stores the stack of the guest, which is yielding.
    pub(crate) fn answer(&self, functions: Vec<String>) {
        self.is_asked.store(false, Relaxed);
        if let Some(newest) = self.newest.get() {
            let captured_at = Instant::now();
            newest.send_replace(Some(CapturedStack { functions: functions.into(), captured_at }));
        }
    }

    /// Asks for the stack, unless it is known.
    pub(crate) fn ask(&self) -> StackRequest {
        let newest = self.newest.get_or_init(watch::Sender::default);
        if !newest.borrow().as_ref().is_some_and(CapturedStack::is_fresh) {
            self.is_asked.store(true, Relaxed);
        }
        StackRequest(newest.subscribe())
    }
}

impl CapturedStack {
    fn is_fresh(&self) -> bool {
        self.captured_at.elapsed() < FRESH
    }
}

impl StackRequest {
    /// Returns the functions; `None` if the guest ends first, or does not compute for a tenth of a second.
    pub(crate) async fn functions(mut self) -> Option<Arc<[String]>> {
        let is_fresh = |newest: &Option<CapturedStack>| newest.as_ref().is_some_and(CapturedStack::is_fresh);
        let newest = timeout(WAIT_MAX, self.0.wait_for(is_fresh)).await.ok()?.ok()?;
        newest.as_ref().map(|stack| Arc::clone(&stack.functions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Makes the newest stack an old one.
    fn age(requests: &StackRequests) {
        requests.newest.get().expect("asked for").send_modify(|newest| {
            let stack = newest.as_mut().expect("captured");
            stack.captured_at = stack.captured_at.checked_sub(FRESH).expect("the machine runs for longer");
        });
    }

    #[tokio::test]
    async fn a_stack_is_captured_once_for_all_who_ask_within_half_a_second() {
        let requests = StackRequests::default();
        assert!(!requests.is_asked(), "nobody asks, nothing is captured");
        let (first, second) = (requests.ask(), requests.ask());
        assert!(requests.is_asked());
        requests.answer(functions(&["inner", "outer"]));
        assert!(!requests.is_asked());
        for request in [first, second, requests.ask()] {
            assert_eq!(request.functions().await.as_deref(), Some(&functions(&["inner", "outer"])[..]));
        }
        assert!(!requests.is_asked(), "it is known");
        age(&requests);
        let later = requests.ask();
        assert!(requests.is_asked());
        requests.answer(functions(&["elsewhere"]));
        assert_eq!(later.functions().await.as_deref(), Some(&functions(&["elsewhere"])[..]));
    }

    #[tokio::test]
    async fn nobody_waits_long_for_a_guest_that_does_not_compute_or_ends() {
        let requests = StackRequests::default();
        assert_eq!(requests.ask().functions().await, None);
        let request = requests.ask();
        drop(requests);
        let started_at = Instant::now();
        assert_eq!(request.functions().await, None);
        assert!(started_at.elapsed() < WAIT_MAX, "its end is known at once");
    }
}
