//! Starts TLS on a connection, and recognises a client that speaks plain HTTP instead.

use std::io;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::either::Either;

use super::socket::{Accepted, Socket, Transport};
use crate::tls::Tls;

/// The first byte of TLS: the type of a record of the handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// A connection that requests can be read from.
pub(super) struct Opened {
    pub(super) transport: Transport,
    /// Whether the client should have encrypted it.
    pub(super) should_be_tls: bool,
}

/// Opens a connection, encrypted if the server has a certificate.
///
/// # Errors
///
/// Fails if the client is gone, does not agree on TLS, or takes longer than this.
pub(super) async fn open(
    stream: Accepted,
    tls: Option<&Tls>,
    handshake_timeout: Duration,
    write_timeout: Duration,
) -> io::Result<Opened> {
    let plain = |stream, should_be_tls| Opened {
        transport: Either::Left(Socket::new(stream, write_timeout)),
        should_be_tls,
    };
    let (tls, tcp) = match (tls, stream) {
        (Some(tls), Either::Left(tcp)) => (tls, tcp),
        (_, stream) => return Ok(plain(stream, false)),
    };
    let handshake = timeout(handshake_timeout, async {
        let mut first = [0];
        if tcp.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let stream = Either::Left(tcp);
        if first != [HANDSHAKE_RECORD] {
            return Ok(plain(stream, true));
        }
        let stream = tls.acceptor().accept(Socket::new(stream, write_timeout)).await?;
        Ok(Opened { transport: Either::Right(Box::new(stream)), should_be_tls: false })
    });
    handshake.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
