//! Connects to one of several addresses in parallel (Happy Eyeballs, RFC 8305), so that an address that does not
//! answer costs a quarter of a second and not the whole timeout.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The delay before the next address is tried in parallel.
const HEAD_START: Duration = Duration::from_millis(250);
/// The maximum number of addresses tried.
const ADDRESSES_MAX: usize = 8;

/// Connects to the address that answers first.
pub(crate) async fn connect_to_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = interleaved(addresses).into_iter();
    let mut attempts = JoinSet::new();
    let mut refusal = io::Error::from(io::ErrorKind::NotFound);
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(TcpStream::connect(address));
        } else if attempts.is_empty() {
            return Err(refusal);
        }
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(stream)) => {
                    // Requests are small and latency matters.
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => refusal = error,
                Err(panicked) => refusal = io::Error::other(panicked),
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

/// Returns the addresses in the resolver's order, alternating between the families.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (same, other): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv4() == first.is_ipv4());
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut mixed = Vec::new();
    while mixed.len() < ADDRESSES_MAX {
        let before = mixed.len();
        mixed.extend(same.next());
        mixed.extend(other.next());
        if mixed.len() == before {
            break;
        }
    }
    mixed
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::timeout;

    use super::*;

    /// Returns an address that accepts connections and never answers, because its backlog is full.
    async fn silent() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let listener = socket.listen(1).expect("it listens");
        let address = listener.local_addr().expect("it is bound");
        let mut held = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            held.push(stream);
        }
        (address, listener, held)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_does_not_delay_the_next() {
        let (dead, _listener, _held) = silent().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let live = listener.local_addr().expect("it is bound");
        // Alone, this address would time out after the two minutes of the kernel.
        let addresses = [dead, live];
        let dialling = connect_to_any(&addresses);
        let stream = timeout(Duration::from_secs(30), dialling).await.expect("soon").expect("a connection");
        assert_eq!(stream.peer_addr().expect("it is connected"), live);
    }

    #[tokio::test]
    async fn a_refused_connection_is_reported() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        let refused = connect_to_any(&[address]).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect_to_any(&[]).await.expect_err("nowhere").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn address_families_alternate_and_their_number_is_limited() {
        let of = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let mixed = interleaved(&[of("[::1]:1"), of("[::1]:2"), of("[::1]:3"), of("1.1.1.1:4")]);
        assert_eq!(mixed, [of("[::1]:1"), of("1.1.1.1:4"), of("[::1]:2"), of("[::1]:3")]);
        assert_eq!(interleaved(&[of("1.1.1.1:4"); 1_000]).len(), ADDRESSES_MAX);
    }
}
