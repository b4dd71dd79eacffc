//! The HTTP calls of one guest that are under way, for those who look from outside.
//!
//! The gate lists each call while it is carried out. Nothing here sends anything.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The list of one guest. It outlives the guest where the system is still busy with a call, so it holds nothing
/// else of it.
#[derive(Debug, Default)]
pub(crate) struct HttpCalls {
    calls: Mutex<Vec<(u64, HttpCall)>>,
}

/// One HTTP call under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    /// The method.
    pub method: String,
    /// Scheme, host and port; the path may hold what is nobody's business.
    pub origin: String,
    /// Whether the head of the response is here, and its body is being read.
    pub has_head: bool,
    /// When the request was sent.
    pub started_at: Instant,
}

/// Takes the call off the list when it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    calls: Arc<HttpCalls>,
    number: u64,
}

impl HttpCalls {
    /// Puts a call on the list.
    pub(crate) fn begin(self: &Arc<Self>, method: &str, origin: String) -> UnderWay {
        let mut calls = self.lock();
        let number = calls.last().map_or(0, |(number, _)| number + 1);
        let call =
            HttpCall { method: method.to_owned(), origin, has_head: false, started_at: Instant::now() };
        calls.push((number, call));
        UnderWay { calls: Arc::clone(self), number }
    }

    /// Returns the calls, oldest first.
    pub(crate) fn list(&self) -> Vec<HttpCall> {
        self.lock().iter().map(|(_, call)| call.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, HttpCall)>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// Notes that the head of the response is here.
    pub(crate) fn has_head(&self) {
        let mut calls = self.calls.lock();
        if let Some((_, call)) = calls.iter_mut().find(|(number, _)| *number == self.number) {
            call.has_head = true;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.calls.lock().retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_calls_are_listed_while_they_are_under_way() {
        let calls = Arc::<HttpCalls>::default();
        let first = calls.begin("GET", "http://a".to_owned());
        let second = calls.begin("PUT", "http://b".to_owned());
        second.has_head();
        let listed: Vec<_> = calls.list().into_iter().map(|call| (call.method, call.has_head)).collect();
        assert_eq!(listed, [("GET".to_owned(), false), ("PUT".to_owned(), true)]);
        drop(first);
        let third = calls.begin("GET", "http://c".to_owned());
        drop(second);
        assert_eq!(calls.list().len(), 1);
        drop(third);
        assert!(calls.list().is_empty());
    }
}
