//! The socket that a server listens on: an address, or the path of a Unix socket.

mod unix_socket;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio_util::either::Either;

use self::unix_socket::SocketFile;
use super::socket::Accepted;
use crate::tls::Tls;

/// Length of the kernel's accept queue.
const BACKLOG: u32 = 1_024;

/// Kernel send buffer of a connection. The default grows to megabytes per connection, times ten thousand
/// connections, and delays the detection of a client that does not read.
const SEND_BUFFER_BYTES: u32 = 256 << 10;

/// What comes before the path of a Unix socket.
const UNIX: &str = "unix:";

/// The address of clients of a Unix socket: it can only be reached on this machine.
const LOCAL_PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// Returns true if it can be reached from this machine only.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// The text is not where a server may listen.
#[derive(Debug, thiserror::Error)]
#[error(
    "use an address and a port, such as 127.0.0.1:8080, [::1]:8080 or localhost:8080, a loopback port, such as 8080, \
     or the path of a Unix socket, such as unix:/run/wasmill.sock; 0.0.0.0:8080 means every interface"
)]
pub struct InvalidListen;

impl FromStr for Listen {
    type Err = InvalidListen;

    /// Parses `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or `unix:/run/wasmill.sock`. A port alone, such as
    /// `8080` or `:8080`, means loopback, as the default does.
    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return if path.is_empty() { Err(InvalidListen) } else { Ok(Self::Unix(path.into())) };
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        if !(host.is_empty() || host.eq_ignore_ascii_case("localhost"))
            || !port.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(InvalidListen);
        }
        let port = port.parse().map_err(|_| InvalidListen)?;
        Ok(Self::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)))
    }
}

/// A listening socket. Connections queue until a server accepts them.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    listen: Listen,
    pub(super) tls: Option<Tls>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix { socket: UnixListener, _file: SocketFile },
}

impl Listener {
    /// Binds a socket. A Unix socket has the mode 0660 and takes the place of one that nobody listens on.
    ///
    /// # Errors
    ///
    /// Fails if the address or the path is in use, or does not belong to this machine.
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        let socket = match listen {
            Listen::Tcp(address) => Socket::Tcp(listen_tcp(*address)?),
            Listen::Unix(path) => {
                let (socket, _file) = unix_socket::bind(path, BACKLOG).await?;
                Socket::Unix { socket, _file }
            }
        };
        let listen = match &socket {
            Socket::Tcp(socket) => Listen::Tcp(socket.local_addr()?),
            Socket::Unix { .. } => listen.clone(),
        };
        Ok(Self { socket, listen, tls: None })
    }

    /// Encrypts its connections.
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Returns where it listens, with the port that was bound.
    pub fn listen(&self) -> &Listen {
        &self.listen
    }

    /// Waits for the next connection, and returns it with the address of the client.
    pub(super) async fn accept(&self) -> io::Result<(Accepted, IpAddr)> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "failed to set TCP_NODELAY");
                }
                Ok((Either::Left(stream), peer.ip()))
            }
            Socket::Unix { socket, .. } => {
                let (stream, _) = socket.accept().await?;
                Ok((Either::Right(stream), LOCAL_PEER))
            }
        }
    }
}

fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Allows a restart while old connections are still in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_listens_on_an_address_localhost_a_port_or_a_path() {
        for (text, listen) in [
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("LOCALHOST:0", "127.0.0.1:0"),
            (":8080", "127.0.0.1:8080"),
            ("8080", "127.0.0.1:8080"),
            ("unix:/run/wasmill.sock", "unix:/run/wasmill.sock"),
            ("unix:wasmill.sock", "unix:wasmill.sock"),
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), listen, "{text}");
        }
        for text in [
            "",
            ":",
            "localhost",
            "localhost:",
            "host:80",
            "*:80",
            "127.0.0.1",
            "::1",
            ":+80",
            "80000",
            "-1",
            "unix:",
            "/run/wasmill.sock",
        ] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }
}
