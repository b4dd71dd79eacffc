//! `wasmill health`: the health check of a container, by the binary itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use hyper::Method;

use crate::cli::HealthArgs;
use crate::client::{Ask, Client, block_on};
use crate::environment;
use crate::output::say;
use crate::screen::text::clipped;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Columns that are shown of an answer, which may be that of another program.
const ANSWER_COLUMNS: usize = 1_000;

/// Asks the server whether it takes tasks.
pub(crate) fn health(args: &HealthArgs) -> Result<()> {
    let server =
        if names_server() { Client::new(&args.server) } else { Ok(Client::at(reachable(args.listen.0))) };
    let server = server.map_err(|error| anyhow!("{error:#}"))?;
    let ask = Ask { patience: PATIENCE, ..Ask::new(Method::GET, "/readyz") };
    let answer = block_on(server.send(ask));
    // Whoever asks for the health of a container knows two codes only.
    let answer = answer.map_err(|error| anyhow!("{error:#}"))?;
    if answer.status.is_success() {
        say!("ready");
        return Ok(());
    }
    let why = clipped(&format!("{:#}", answer.refusal()), ANSWER_COLUMNS);
    bail!("{server} is not ready ({}): {why}", answer.status)
}

/// Says whether a server is named: by a flag, or by the variable unless a flag says where one listens.
fn names_server() -> bool {
    environment::is_given("--server")
        || (!environment::is_given("--listen")
            && std::env::var_os("WASMILL_SERVER").is_some_and(|server| !server.is_empty()))
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
