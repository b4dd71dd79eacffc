//! `wasmill health`: the health check of a container, by the binary itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use hyper::Method;

use crate::cli::HealthArgs;
use crate::client::{Client, ClientRequest, block_on};
use crate::output::out;
use crate::terminal::text::truncated;

/// How long a server may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Columns that are shown of an answer, which may be that of another program.
const RESPONSE_COLUMNS: usize = 1_000;

/// Asks the server whether it takes tasks.
pub(crate) fn health(args: &HealthArgs) -> Result<()> {
    let server = Client::at(reachable(args.listen.0));
    let request = ClientRequest { timeout: REQUEST_TIMEOUT, ..ClientRequest::new(Method::GET, "/readyz") };
    let response = block_on(server.send(request));
    // Whoever asks for the health of a container knows two codes only.
    let response = response.map_err(|error| anyhow!("{error:#}"))?;
    let said = truncated(response.text().trim(), RESPONSE_COLUMNS);
    ensure!(response.status.is_success(), "{server} answered {}: {said}", response.status);
    out!("ready");
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
