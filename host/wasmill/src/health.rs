//! `wasmill health`: the health check of a container, by the binary itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, bail};

use crate::cli::HealthArgs;
use crate::client;
use crate::output::say;

/// Asks the server whether it takes tasks.
pub(crate) fn health(args: &HealthArgs) -> Result<()> {
    let server = reachable(args.listen);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime.block_on(client::get(server, "/readyz"))?;
    if !status.is_success() {
        bail!("{server} answered {status}: {}", String::from_utf8_lossy(&body));
    }
    say!("ready");
    Ok(())
}

/// Turns "every interface" into one that can be connected to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_is_asked_at_loopback() {
        for (listen, server) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80")]
        {
            assert_eq!(reachable(listen.parse().unwrap()), server.parse().unwrap());
        }
    }
}
