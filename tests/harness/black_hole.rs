//! A server that accepts connections and never responds, for guests that wait in an HTTP request.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Listens on a free port of loopback until the process ends.
#[derive(Clone)]
pub struct BlackHole {
    address: SocketAddr,
    callers: Arc<Mutex<Vec<TcpStream>>>,
}

impl BlackHole {
    /// Starts to listen.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let callers = Arc::<Mutex<Vec<_>>>::default();
        let kept = Arc::clone(&callers);
        std::thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(caller);
            }
        });
        Self { address, callers }
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of connections so far.
    pub fn calls(&self) -> usize {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
