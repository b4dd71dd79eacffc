//! The HTTP requests of one guest that are in flight, for the debug port.
//!
//! `http::hooks` lists each request while it is in flight. Nothing is sent from here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The requests of one guest. The list can outlive the guest while a request is being torn down, so it holds
/// nothing else of it.
#[derive(Debug, Default)]
pub(crate) struct HttpCalls {
    calls: Mutex<Vec<(u64, HttpCall)>>,
}

/// An HTTP request in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    /// The method.
    pub method: String,
    /// Scheme, host and port. The path is left out, as it may hold secrets.
    pub origin: String,
    /// Whether the response head has arrived and the body is being read.
    pub has_head: bool,
    /// When the request was sent.
    pub started_at: Instant,
}

/// Removes the request from the list on drop.
#[derive(Debug)]
pub(crate) struct HttpCallGuard {
    calls: Arc<HttpCalls>,
    number: u64,
}

impl HttpCalls {
    /// Adds a request to the list.
    pub(crate) fn start(self: &Arc<Self>, method: &str, origin: String) -> HttpCallGuard {
        let mut calls = self.lock();
        let number = calls.last().map_or(0, |(number, _)| number + 1);
        let call =
            HttpCall { method: method.to_owned(), origin, has_head: false, started_at: Instant::now() };
        calls.push((number, call));
        HttpCallGuard { calls: Arc::clone(self), number }
    }

    /// Returns the requests, oldest first.
    pub(crate) fn list(&self) -> Vec<HttpCall> {
        self.lock().iter().map(|(_, call)| call.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, HttpCall)>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpCallGuard {
    /// Records that the response head has arrived.
    pub(crate) fn set_has_head(&self) {
        let mut calls = self.calls.lock();
        if let Some((_, call)) = calls.iter_mut().find(|(number, _)| *number == self.number) {
            call.has_head = true;
        }
    }
}

impl Drop for HttpCallGuard {
    fn drop(&mut self) {
        self.calls.lock().retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_requests_are_listed_while_in_flight() {
        let calls = Arc::<HttpCalls>::default();
        let first = calls.start("GET", "http://a".to_owned());
        let second = calls.start("PUT", "http://b".to_owned());
        second.set_has_head();
        let listed: Vec<_> = calls.list().into_iter().map(|call| (call.method, call.has_head)).collect();
        assert_eq!(listed, [("GET".to_owned(), false), ("PUT".to_owned(), true)]);
        drop(first);
        let third = calls.start("GET", "http://c".to_owned());
        drop(second);
        assert_eq!(calls.list().len(), 1);
        drop(third);
        assert!(calls.list().is_empty());
    }
}
