//! `wasmill health`: a container health check by the binary itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use hyper::Method;
use wasmill_api::Listen;

use crate::cli::server::HealthArgs;
use crate::client::{Client, ClientRequest, block_on};
use crate::environment;
use crate::output::out;
use crate::terminal::text::truncated;

/// Time limit for the response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum columns shown of a response, which may come from another program.
const RESPONSE_COLUMNS: usize = 1_000;

/// Checks whether the server accepts tasks.
pub(crate) fn health(args: &HealthArgs) -> Result<()> {
    let server = match is_server_named() {
        true => Client::new(&args.server),
        false => Ok(Client::at(&reachable(&args.listen), args.tls_cert.is_some())),
    };
    let request = ClientRequest { timeout: REQUEST_TIMEOUT, ..ClientRequest::new(Method::GET, "/readyz") };
    // Container health checks know two exit codes only, so errors lose theirs.
    let server = server.map_err(|error| anyhow!("{error:#}"))?;
    let response = block_on(server.send(request)).map_err(|error| anyhow!("{error:#}"))?;
    if response.status.is_success() {
        out!("ready");
        return Ok(());
    }
    let why = truncated(&format!("{:#}", response.to_error()), RESPONSE_COLUMNS);
    bail!("{server} is not ready ({}): {why}", response.status)
}

/// Returns true if a server is named: by the flag, or by the variable unless `--listen` is given.
fn is_server_named() -> bool {
    environment::is_given("--server")
        || (!environment::is_given("--listen")
            && std::env::var_os("WASMILL_SERVER").is_some_and(|server| !server.is_empty()))
}

/// Maps an unspecified address ("every interface") to loopback.
fn reachable(listen: &Listen) -> Listen {
    let Listen::Tcp(address) = listen else { return listen.clone() };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Listen::Tcp(SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_checked_at_loopback() {
        for (listen, server) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("unix:wasmill.sock", "unix:wasmill.sock"),
        ] {
            assert_eq!(reachable(&listen.parse().unwrap()), server.parse().unwrap());
        }
    }
}
