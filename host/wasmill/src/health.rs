//! `wasmill health`: a container health check by the binary itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use hyper::Method;

use crate::cli::HealthArgs;
use crate::client::{Client, ClientRequest, block_on};
use crate::output::out;
use crate::terminal::text::truncated;

/// Time limit for the response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum columns shown of a response, which may come from another program.
const RESPONSE_COLUMNS: usize = 1_000;

/// Checks whether the server accepts tasks.
pub(crate) fn health(args: &HealthArgs) -> Result<()> {
    let server = Client::at(reachable(args.listen.0));
    let request = ClientRequest { timeout: REQUEST_TIMEOUT, ..ClientRequest::new(Method::GET, "/readyz") };
    let response = block_on(server.send(request));
    // Container health checks know two exit codes only.
    let response = response.map_err(|error| anyhow!("{error:#}"))?;
    let said = truncated(response.text().trim(), RESPONSE_COLUMNS);
    ensure!(response.status.is_success(), "{server} answered {}: {said}", response.status);
    out!("ready");
    Ok(())
}

/// Maps an unspecified address ("every interface") to loopback.
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
    fn an_unspecified_address_is_checked_at_loopback() {
        for (listen, server) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80")]
        {
            assert_eq!(reachable(listen.parse().unwrap()), server.parse().unwrap());
        }
    }
}
