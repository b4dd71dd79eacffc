//! The TCP sockets and name look-ups of one guest, for the debug port.
//!
//! `tcp` and `link::sockets` list what is open. Nothing is sent from here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The sockets and look-ups of one guest. The list holds nothing else of it.
#[derive(Debug, Default)]
pub(crate) struct TcpSockets {
    entries: Mutex<Vec<Arc<Entry>>>,
}

/// A TCP socket or a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSocketInfo {
    /// The host as the manifest or the guest names it, with the port; empty for a socket that is not connected.
    pub to: String,
    /// What it is doing.
    pub state: TcpSocketState,
    /// Bytes that the guest has sent.
    pub sent_bytes: u64,
    /// Bytes that it has received.
    pub received_bytes: u64,
    /// When it was opened.
    pub started_at: Instant,
}

/// What a TCP socket is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpSocketState {
    /// A name is being looked up.
    LookingUp,
    /// It was opened, and not connected.
    Open,
    /// It is being connected, or that has failed.
    Connecting,
    /// It was connected, and has not been closed by the guest.
    Connected,
}

impl TcpSocketState {
    /// Returns the machine-readable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LookingUp => "looking-up",
            Self::Open => "open",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
        }
    }
}

#[derive(Debug)]
struct Entry {
    now: Mutex<(String, TcpSocketState)>,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    started_at: Instant,
}

/// A listed socket or look-up. It leaves the list on drop.
#[derive(Debug)]
pub(crate) struct ListedSocket {
    list: Arc<TcpSockets>,
    entry: Arc<Entry>,
}

/// Counts the bytes of a listed socket.
#[derive(Clone, Debug)]
pub(crate) struct SocketBytes(Arc<Entry>);

impl TcpSockets {
    /// Adds a socket or a look-up to the list.
    pub(crate) fn list(self: &Arc<Self>, to: String, state: TcpSocketState) -> ListedSocket {
        let entry = Arc::new(Entry {
            now: Mutex::new((to, state)),
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            started_at: Instant::now(),
        });
        self.lock().push(Arc::clone(&entry));
        ListedSocket { list: Arc::clone(self), entry }
    }

    /// Returns the entries, oldest first.
    pub(crate) fn entries(&self) -> Vec<TcpSocketInfo> {
        self.lock().iter().map(|entry| entry.info()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn info(&self) -> TcpSocketInfo {
        let (to, state) = self.now.lock().unwrap_or_else(PoisonError::into_inner).clone();
        TcpSocketInfo {
            to,
            state,
            sent_bytes: self.sent_bytes.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            started_at: self.started_at,
        }
    }
}

impl ListedSocket {
    /// Records that the socket is being connected.
    pub(crate) fn set_connecting(&self, to: String) {
        *self.entry.now.lock().unwrap_or_else(PoisonError::into_inner) = (to, TcpSocketState::Connecting);
    }

    /// Records that the socket is connected, and returns the counter of its bytes.
    pub(crate) fn set_connected(&self) -> SocketBytes {
        self.entry.now.lock().unwrap_or_else(PoisonError::into_inner).1 = TcpSocketState::Connected;
        SocketBytes(Arc::clone(&self.entry))
    }
}

impl Drop for ListedSocket {
    fn drop(&mut self) {
        self.list.lock().retain(|entry| !Arc::ptr_eq(entry, &self.entry));
    }
}

impl SocketBytes {
    pub(crate) fn sent(&self, bytes: u64) {
        self.0.sent_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.0.received_bytes.fetch_add(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_listed_while_they_are_open() {
        let sockets = Arc::<TcpSockets>::default();
        let first = sockets.list(String::new(), TcpSocketState::Open);
        let second = sockets.list("db".to_owned(), TcpSocketState::LookingUp);
        first.set_connecting("db:5432".to_owned());
        let bytes = first.set_connected();
        bytes.sent(3);
        bytes.received(4);
        let listed = sockets.entries();
        assert_eq!((listed[0].to.as_str(), listed[0].state), ("db:5432", TcpSocketState::Connected));
        assert_eq!((listed[0].sent_bytes, listed[0].received_bytes), (3, 4));
        assert_eq!(listed[1].state, TcpSocketState::LookingUp);
        drop(first);
        assert_eq!(sockets.entries().len(), 1);
        drop(second);
        assert!(sockets.entries().is_empty());
    }
}
